"""A model call that two spans report is counted once; two calls are two."""

import json
from decimal import Decimal
from typing import Any

import pytest

from processors.tracing.foreign_spans import Seen, map_span
from schemas.definitions.kinds import Definitions
from schemas.events.tracing import SpanEnded, SpanReceived
from schemas.events.usage import TokensUsed
from tests.support.processors import at, ident

INNER = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-haiku-4-5",
    "gen_ai.usage.input_tokens": 5_000,
    "gen_ai.usage.cache_read.input_tokens": 4_500,
    "gen_ai.usage.output_tokens": 40,
}
OUTER = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "claude-haiku-4-5",
    "llm.token_count.prompt": 5_000,
    "llm.token_count.completion": 40,
}
SUMS = OUTER | {"llm.token_count.prompt": 10_000, "llm.token_count.completion": 80}
CHAIN = {"openinference.span.kind": "CHAIN"}
HTTP = {"http.request.method": "POST"}
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "ask"}
ONCE = Decimal("0.00115")


def span(nth: int, parent: int | None, attributes: dict[str, Any]) -> SpanReceived:
    return SpanReceived(
        id=ident(f"nested/{nth}"),
        at=at(5),
        tenant="acme",
        trace="0af7651916cd43dd8448eb211c80319c",
        span=f"{nth:016x}",
        parent=None if parent is None else f"{parent:016x}",
        name="span",
        kind="client",
        started_at=at(0),
        ended_at=at(2),
        wait_ms=2_000,
        status="ok",
        resource="{}",
        events="[]",
        attributes=json.dumps(attributes),
    )


def told(*spans: SpanReceived) -> tuple[list[SpanEnded], list[TokensUsed]]:
    state = Seen()
    said: list[Any] = []
    for one in spans:
        after, events = map_span(state, one, Definitions())
        state = after or Seen()
        said += events
    ended = [event for event in said if isinstance(event, SpanEnded)]
    return ended, [event for event in said if isinstance(event, TokensUsed)]


@pytest.mark.parametrize(
    ("spans", "costs"),
    [
        ([span(2, 1, INNER), span(1, None, OUTER)], [ONCE]),
        ([span(3, 2, INNER), span(2, 1, HTTP), span(1, None, OUTER)], [ONCE]),
        ([span(2, 1, HTTP), span(3, 2, INNER), span(1, None, OUTER)], [ONCE]),
        ([span(2, 1, INNER), span(3, 1, INNER), span(1, None, SUMS)], [ONCE, ONCE]),
        ([span(2, 1, INNER), span(3, 1, INNER), span(1, None, CHAIN)], [ONCE, ONCE]),
        ([span(2, None, INNER), span(1, None, OUTER)], [ONCE, Decimal("0.0052")]),
        ([span(3, 2, INNER), span(2, 1, OUTER), span(1, None, OUTER)], [ONCE]),
        (
            [span(3, 2, INNER), span(2, 1, TOOL), span(1, None, OUTER)],
            [ONCE, Decimal("0.0052")],
        ),
    ],
)
def test_the_innermost_counts(spans: list[SpanReceived], costs: list[Decimal]) -> None:
    ended, used = told(*spans)
    assert [one.cost_usd for one in used] == costs
    assert len(ended) == len(spans)
    assert sum(one.cost_usd for one in ended if one.cost_usd is not None) == sum(costs)


def test_an_outer_one_that_came_first_is_not_counted_again() -> None:
    ended, used = told(span(1, None, OUTER), span(2, 1, INNER))
    assert [one.model for one in used] == ["claude-haiku-4-5"]
    assert [one.operation for one in ended] == ["chat", "other"]
