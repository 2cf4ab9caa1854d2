"""Are two questions the same exactly where nothing that a model sees, and nothing that decides who
answers, differs?
"""

import pytest

from processors.agent.conversation.messages import error_result
from processors.models import call
from processors.usage.attempts import book
from processors.usage.metering import meter
from schemas.definitions.kinds import Definitions
from schemas.events.agent.models import ModelAsked, ModelFailed, ModelResponded
from schemas.events.usage import TokensUsed
from schemas.events.values import Message, Tokens, ToolSpec
from schemas.ports import ChatAnswer, Failure, Tried
from tests.support.processors import MODEL, NOON, at, company, of_run

SAYS = Message(role="user", content="Where is it?")
TOOL = ToolSpec(name="look", parameters="{}")


def asked(name="q", **fields):
    return of_run(
        ModelAsked,
        name,
        **{"step": 1, "model": "small", "messages": (SAYS,), "cache_ttl_s": 60} | fields,
    )


def key(question, given=None):
    kept = call.ask(question, given or company()).kept
    return kept and kept.key


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "other", "run": "r2", "step": 3},
        {"timeout_ms": 5},
        {"user": "ann"},
        {"cache_ttl_s": 9},
    ],
)
def test_the_same_question_of_another_run_has_the_same_key(fields):
    run = (
        {"run": of_run(ModelAsked, "x", fields.pop("run"), step=1, model="m", messages=()).run}
        if "run" in fields
        else {}
    )
    assert key(asked(**fields).model_copy(update=run)) == key(asked())


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": (SAYS, SAYS)},
        {"tools": (TOOL,)},
        {"temperature": 0.5},
        {"max_output_tokens": 5},
        {"output_schema": "{}"},
        {"fallback": ("small2",)},
        {"tenant": "other"},
    ],
)
def test_anything_that_matters_makes_another_key(fields):
    second = MODEL.model_copy(update={"name": "small2"})
    given = company(second)
    assert key(asked().model_copy(update=fields), given) != key(asked(), given)


def test_a_model_defined_anew_is_another_question():
    assert key(asked()) != key(asked(), company(MODEL.model_copy(update={"upstream": "gpt-5"})))


def told(content):
    return (SAYS, Message(role="tool", content=content, tool_call_id="c"))


@pytest.mark.parametrize(
    ("messages", "ttl_s", "kept"),
    [
        ((SAYS,), 0, False),
        (told('{"status":"sent"}'), 60, True),
        (told(error_result("timeout", "late")), 60, False),
        (told('{"error": "none", "rows": []}'), 60, True),
        (told('{"error": broken'), 60, True),
    ],
)
def test_who_did_not_opt_in_and_what_followed_a_tools_failure_is_not_kept(messages, ttl_s, kept):
    assert (key(asked(messages=messages, cache_ttl_s=ttl_s)) is not None) is kept


ANSWER = ChatAnswer(
    "small",
    "openai",
    "gpt-4o-mini",
    "hi",
    (),
    "stop",
    Tokens(input_tokens=1_000, output_tokens=100),
    NOON,
    at(1),
)


def test_a_hit_costs_nothing_and_says_what_it_saved():
    hit = ChatAnswer(**ANSWER.__dict__ | {"cache_hit": True, "attempts": 0, "preferred": "small"})
    [said] = call.tell(asked(), hit, company())
    assert (said.cache_hit, said.cost_usd, said.tokens, said.attempts) == (True, 0, Tokens(), 0)
    assert (said.saved, str(said.saved_usd.normalize())) == (ANSWER.tokens, "0.0028")
    [used] = meter(said, company())
    assert (
        used.cost_usd,
        used.cache_hit,
        used.saved_input_tokens,
        used.saved_output_tokens,
        used.saved_usd,
    ) == (0, True, 1_000, 100, said.saved_usd)
    assert book(said) == []


TRIED = (
    Tried("spare", "openai", "timeout", 0, 9_000, unsure=True, wasted=True),
    Tried("spare", "openai", "http_500", 9_000, 20, wasted=True),
    Tried(
        "small",
        "openai",
        "check_failed",
        9_020,
        400,
        Tokens(input_tokens=500, output_tokens=50),
        wasted=True,
    ),
)


def test_what_was_wasted_is_known_where_it_can_be_and_open_where_not():
    taken = Tried("small", "openai", "", 9_420, 700, ANSWER.tokens, hedge=True)
    [said] = call.tell(
        asked(), ChatAnswer(**ANSWER.__dict__ | {"tried": (*TRIED, taken)}), company()
    )
    assert [
        None if a.cost_usd is None else f"{a.cost_usd.normalize():f}" for a in said.attempts_made
    ] == [None, "0", "0.0014", "0.0028"]
    assert (said.wasted_tokens, f"{said.wasted_usd.normalize():f}") == (TRIED[2].tokens, "0.0014")
    assert [(u.model, u.wasted, f"{u.cost_usd.normalize():f}") for u in meter(said, company())] == [
        ("small", False, "0.0028"),
        ("small", True, "0.0014"),
    ]
    assert [(e.nth, e.reason, e.wasted, e.hedge) for e in book(said)] == [
        (1, "timeout", True, False),
        (2, "http_500", True, False),
        (3, "check_failed", True, False),
        (4, "", False, True),
    ]


def test_a_failure_tells_what_it_took():
    [said] = call.tell(asked(), Failure("http_500", "x", NOON, at(1), 3, "small", TRIED), company())
    assert isinstance(said, ModelFailed) and said.wasted_tokens == TRIED[2].tokens
    assert [(type(u), u.wasted) for u in meter(said, company())] == [(TokensUsed, True)]
    assert len(book(said)) == 3 and len({e.id for e in book(said)}) == 3
    assert isinstance(call.tell(asked(), ANSWER, Definitions())[0], ModelResponded)
