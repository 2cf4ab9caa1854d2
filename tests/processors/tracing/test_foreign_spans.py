"""Do spans of every dialect tell the same conversation with the same totals, and does nothing
absurd become money?
"""

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.tracing import foreign_spans
from processors.tracing.conventions import DIALECTS
from processors.tracing.foreign_spans import (
    RESTS_AFTER,
    SEEN_MAX,
    Seen,
    map_span,
    run_of,
    translated,
)
from schemas.definitions.kinds import Definitions
from schemas.events.base import UnprocessableError
from schemas.events.tracing import SpanEnded, SpanReceived, TraceRested
from schemas.events.usage import TokensUsed
from schemas.events.values import Tokens
from schemas.vendors.usage import TOKENS_MAX
from tests.support.processors import NOON, TENANT, at, company, ident

TRACE = "0af7651916cd43dd8448eb211c80319c"
CONVERSATIONS = sorted((Path(__file__).parents[1] / "dialects").glob("*.json"))
BOOK = Definitions()
CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
}


def span(
    nth: int = 1, attributes: dict[str, Any] | str | None = None, **fields: Any
) -> SpanReceived:
    said = attributes if isinstance(attributes, str) else json.dumps(attributes or {})
    return SpanReceived(
        **(
            {
                "id": ident(f"span/{nth}"),
                "at": at(5),
                "tenant": "acme",
                "trace": TRACE,
                "span": f"{nth:016x}",
                "name": "span",
                "kind": "client",
                "started_at": at(0),
                "ended_at": at(2),
                "wait_ms": 2_000,
                "attributes": said,
                "resource": "{}",
            }
            | fields
        )
    )


def told(
    attributes: dict[str, Any], given_: Definitions = BOOK, **fields: Any
) -> tuple[SpanEnded, TokensUsed | None]:
    ended, *used = translated(span(1, attributes, **fields), given_)
    return ended, used[0] if used else None


def conversation(path: Path) -> tuple[list[SpanEnded], list[TokensUsed]]:
    said = [
        event
        for nth, each in enumerate(json.loads(path.read_text()), 1)
        for event in translated(
            span(
                nth,
                each["attributes"],
                name=each["name"],
                events=json.dumps(each.get("events", [])),
            ),
            BOOK,
        )
    ]
    return [e for e in said if isinstance(e, SpanEnded)], [
        e for e in said if isinstance(e, TokensUsed)
    ]


@pytest.mark.parametrize("path", CONVERSATIONS, ids=lambda path: path.stem)
def test_every_dialect_tells_the_same_conversation(path):
    spans, used = conversation(path)
    asks, tool, answers, around = spans
    assert [s.operation for s in spans[:3]] == ["chat", "execute_tool", "chat"]
    assert around.operation == ("other" if path.stem == "openai" else "invoke_agent")
    for chat in (asks, answers):
        assert (
            chat.provider,
            chat.request_model,
            chat.response_model,
            chat.session,
            chat.user,
        ) == ("openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "chat-8841", "u-204")
        assert json.loads(chat.attributes)["acme.shop"] == "berlin", "what nobody knows is kept"
    assert asks.tokens == Tokens(
        input_tokens=812, cached_input_tokens=640, output_tokens=46, reasoning_tokens=12
    )
    assert answers.tokens == Tokens(input_tokens=900, cached_input_tokens=640, output_tokens=30)
    assert (asks.input, asks.output) == (
        "Where is order A-1001?",
        'lookup_order({"order":"A-1001"})',
    )
    assert (answers.input, answers.output) == ('{"status":"sent"}', "It was sent on 1 March.")
    assert (tool.tool, tool.input, tool.output) == (
        "lookup_order",
        '{"order":"A-1001"}',
        '{"status":"sent"}',
    )
    assert (asks.finish_reason, answers.finish_reason) == ("tool_calls", "stop")
    assert {s.source for s in (asks, answers)} == {path.stem.removesuffix("_before")}
    # 0.15 and 0.60 dollars a million, cached input at half: (172 + 320) x 0.15 + 46 x 0.60; the
    # same of the second
    assert [(u.cost_usd, u.charged_usd) for u in used] == [
        (Decimal("0.0001014"),) * 2,
        (Decimal("0.000105"),) * 2,
    ]
    assert used[0].uncached_usd == Decimal("0.0001494")  # (812 x 0.15 + 46 x 0.60) a million
    assert (
        around.tokens == tool.tokens == Tokens()
    )  # what a span around them adds up is counted once
    assert [(u.model, u.source, u.at) for u in used] == [("gpt-4o-mini", asks.source, at(5))] * 2


def test_there_is_a_conversation_in_each_dialect():
    assert {path.stem.removesuffix("_before") for path in CONVERSATIONS} == {
        dialect.name for dialect in DIALECTS
    }


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (
            {
                "gen_ai.usage.input_tokens": 10,
                "gen_ai.usage.cache_read.input_tokens": 90,
                "gen_ai.usage.cache_creation.input_tokens": 5,
            },
            Tokens(input_tokens=105, cached_input_tokens=90, cache_write_tokens=5),
        ),
        (
            {"gen_ai.usage.output_tokens": 5, "gen_ai.usage.reasoning_tokens": 20},
            Tokens(output_tokens=25, reasoning_tokens=20),
        ),
        (
            {"gen_ai.usage.cache_write.input_tokens": 3, "gen_ai.usage.input_tokens": 9},
            Tokens(input_tokens=9, cache_write_tokens=3),
        ),
        (
            {"gen_ai.usage.input_tokens": "12", "gen_ai.usage.output_tokens": 3.0},
            Tokens(input_tokens=12, output_tokens=3),
        ),
    ],
)
def test_input_includes_cached_and_output_reasoning_whoever_counts(usage, tokens):
    assert told(CHAT | usage)[0].tokens == tokens


@pytest.mark.parametrize(
    "absurd", [-1, "many", 1.5, TOKENS_MAX + 1, 2**70, True, [3], {"a": 1}], ids=str
)
def test_a_count_that_cannot_be_true_is_unknown_and_unpriced_and_kept(absurd):
    ended, used = told(
        CHAT | {"gen_ai.usage.input_tokens": absurd, "gen_ai.usage.output_tokens": 5}
    )
    assert (ended.tokens, ended.cost_usd, used.cost_usd) == (Tokens(output_tokens=5), None, None)
    kept = json.loads(ended.attributes)
    assert (kept["gen_ai.usage.input_tokens"], kept["weir.repaired"]) == (absurd, ["input_tokens"])


@pytest.mark.parametrize(
    ("attributes", "priced"),
    [
        ({"gen_ai.request.model": "no-such-model"}, False),
        ({"gen_ai.provider.name": "nobody"}, False),
        ({"gen_ai.provider.name": ""}, True),  # the maker of a gpt- is known
        ({"gen_ai.provider.name": "az.ai.openai"}, True),
        ({"gen_ai.request.model": "small"}, True),  # a definition's own price
    ],
)
def test_a_price_that_nobody_knows_is_none_and_never_zero(attributes, priced):
    ended, used = told(CHAT | {"gen_ai.usage.input_tokens": 1_000} | attributes, company())
    assert (ended.cost_usd is not None) == (used.cost_usd is not None) == priced
    assert not priced or ended.cost_usd > 0


def test_a_call_without_counts_is_a_call_without_a_price():
    ended, used = told(CHAT)
    assert (ended.cost_usd, used.cost_usd, used.tokens) == (None, None, Tokens())
    assert told(CHAT, status="error", message="refused")[1] is None, (
        "one that failed and counted nothing used nothing"
    )


def test_a_tenants_contract_holds_for_foreign_calls_too():
    contract = TENANT.model_validate(TENANT.model_dump() | {"contract": {"discount": "0.25"}})
    _, used = told(CHAT | {"gen_ai.usage.output_tokens": 1_000_000}, company(contract))
    assert (used.cost_usd, used.charged_usd) == (Decimal("0.6"), Decimal("0.45"))


@pytest.mark.parametrize(
    ("attributes", "operation", "counts"),
    [
        ({"gen_ai.operation.name": "responses"}, "chat", True),
        ({"gen_ai.operation.name": "generate_content"}, "generate_content", True),
        (
            {"gen_ai.operation.name": "something new"},
            "other",
            False,
        ),  # it may add up what stands inside it
        ({"gen_ai.operation.name": "invoke_agent"}, "invoke_agent", False),
        ({}, "chat", True),
        (
            {"openinference.span.kind": "CHAIN", "llm.token_count.prompt": 9},
            "invoke_workflow",
            False,
        ),
        ({"openinference.span.kind": "EVALUATOR", "llm.token_count.prompt": 9}, "other", False),
        ({"ai.operationId": "ai.generateText", "ai.usage.inputTokens": 9}, "invoke_agent", False),
        ({"traceloop.span.kind": "task"}, "other", False),
    ],
    ids=str,
)
def test_only_a_models_own_call_is_counted(attributes, operation, counts):
    ended, used = told(
        {"gen_ai.request.model": "gpt-4o-mini", "gen_ai.usage.input_tokens": 5} | attributes
    )
    assert (ended.operation, used is not None, ended.tokens.input_tokens > 0) == (
        operation,
        counts,
        counts,
    )


def test_new_messages_are_found_beside_a_dialects_own_words():
    said = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Where?"}]}])
    ended, _ = told(
        {
            "traceloop.workflow.name": "support",
            "gen_ai.operation.name": "chat",
            "gen_ai.input.messages": said,
        }
    )
    assert (ended.source, ended.input, ended.agent) == ("openllmetry", "Where?", "support")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"attributes": {"error.type": "timeout"}, "message": "slow"}, "timeout"),
        (
            {
                "events": json.dumps(
                    [{"name": "exception", "attributes": {"exception.type": "ValueError"}}]
                )
            },
            "ValueError",
        ),
        ({"message": "broken"}, "broken"),
        ({}, "error"),
    ],
)
def test_an_error_has_a_name(fields, error):
    attributes = fields.pop("attributes", {})
    assert told(attributes, status="error", **fields)[0].error_type == error


def test_two_tenants_that_use_one_trace_id_share_no_run():
    mine, theirs = span(), span(tenant="other")
    assert run_of(mine) != run_of(theirs) and mine.partition_key() != theirs.partition_key()


def test_a_span_that_comes_again_is_told_once_until_its_trace_rests():
    state, first = map_span(Seen(), span(1), BOOK)
    state, other = map_span(state, span(2), BOOK)
    state, again = map_span(state, span(1, at=at(60)), BOOK)
    assert (len(first), len(other), again) == (1, 1, [])
    assert RESTS_AFTER <= state.wake_at - NOON <= 2 * RESTS_AFTER + timedelta(seconds=5)
    rested = TraceRested(id=ident("rest"), at=state.wake_at, tenant="acme", trace=TRACE)
    assert map_span(state, rested, BOOK) == (None, [])


def test_ids_are_compared_whole():
    state = Seen(",00000000000000aa,bb00000000000000")
    assert len(map_span(state, span(span="0000000000aabb00"), BOOK)[1]) == 1
    assert map_span(state, span(span="bb00000000000000"), BOOK)[1] == []


def test_a_trace_of_ten_thousand_spans_is_taken_span_by_span(monkeypatch):
    monkeypatch.setattr(foreign_spans, "translated", lambda event, given: [event.span])
    state, told_ = Seen(), []
    for nth in [*range(1, 10_001), 1, 5_000, 10_000]:
        state, said = map_span(state, SimpleNamespace(span=f"{nth:016x}", at=NOON), BOOK)
        told_ += said
    assert (len(told_), len(set(told_)), len(state.spans)) == (10_000, 10_000, 170_000)
    full = Seen(",".join(["", *["f" * 16] * SEEN_MAX]))
    assert len(map_span(full, span(), BOOK)[0].spans) == len(full.spans)


@pytest.mark.parametrize(
    "broken",
    [
        {"attributes": "{"},
        {"attributes": "[]"},
        {"events": "{}"},
        {"events": "[1]"},
        {"resource": "nope"},
        {"events": '[{"attributes": 5}]'},
    ],
    ids=str,
)
def test_what_is_no_json_is_a_dead_letter(broken):
    with pytest.raises(UnprocessableError, match=next(iter(broken))):
        translated(span().model_copy(update=broken), BOOK)


names = st.sampled_from(
    [name for dialect in DIALECTS for names in dialect.fields.values() for name in names]
    + [
        f"{name}{more}"
        for dialect in DIALECTS
        for name in dialect.said + dialect.answered
        for more in ("", ".0.role", ".0.content", ".0.message.tool_calls.0.tool_call.function.name")
    ]
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(
        [
            '[{"role":"user","content":[{"type":"text"}]}]',
            '{"messages":{}}',
            "[[[]]]",
            '[{"parts":{"0":"x"}}]',
            "{",
        ]
    )
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "parts", "message", "0"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(names, values, max_size=8))
def test_whatever_stands_in_the_attributes_is_taken(attributes):
    ended, _ = told(attributes)
    assert (ended.cost_usd is None) or ended.operation in (
        "chat",
        "text_completion",
        "generate_content",
        "embeddings",
    )
