"""The example of routes: the cheap model first, the expensive one on need, each paid once."""

from decimal import Decimal

from schemas.definitions.kinds import Model
from schemas.events.agent.models import ModelResponded
from schemas.events.attempts import AttemptEnded
from schemas.events.tracing import SpanEnded
from schemas.events.usage import TokensUsed
from streams.cli.runs import run_story
from tests.support.examples import ends, playing

DOWN = Model(
    name="cheap",
    provider="scripted",
    base_url="http://127.0.0.1:1/nowhere",
    upstream="scripted-small",
)


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def test_a_cheap_answer_that_stands_the_check_is_all_that_is_paid():
    with playing("routing") as (_, ask):
        events = ask("What are gaiters for?", "adviser")
    [end] = ends(events)
    [said] = of(ModelResponded, events)
    assert (end.outcome, end.answer[:7], end.model_calls) == ("completed", "Gaiters", 1)
    assert (said.model, said.route, said.fell_back, said.wasted_usd) == (
        "cheap",
        "cheap_first",
        False,
        None,
    )
    assert [(a.model, a.wasted) for a in of(AttemptEnded, events)] == [("cheap", False)]
    [used] = of(TokensUsed, events)
    assert (used.route, used.unrouted_usd) == (
        "cheap_first",
        10 * used.cost_usd,
    )  # dear asks ten times as much


def test_a_weak_answer_is_paid_too_and_counts_against_the_runs_limits():
    with playing("routing") as (_, ask):
        events = ask("Which crampons fit?", "adviser")
    [end] = ends(events)
    [said] = of(ModelResponded, events)
    used = of(TokensUsed, events)
    assert end.answer.startswith("Semi-rigid") and (said.model, said.fell_back) == ("dear", True)
    assert [(a.model, a.reason, a.wasted) for a in of(AttemptEnded, events)] == [
        ("cheap", "check_failed", True),
        ("dear", "", False),
    ]
    assert {(u.model, u.wasted) for u in used} == {("dear", False), ("cheap", True)}
    assert (
        end.cost_usd
        == sum((u.cost_usd for u in used), Decimal(0))
        == said.cost_usd + said.wasted_usd
    )
    assert end.tokens.output_tokens == sum(u.tokens.output_tokens for u in used)
    assert {(u.route, u.unrouted_usd) for u in used} == {
        ("cheap_first", said.cost_usd),
        ("cheap_first", None),
    }


def test_a_model_that_cannot_be_asked_falls_back_and_wasted_nothing():
    with playing("routing", DOWN) as (_, ask):
        events = ask("Which crampons fit?", "writer")
    [end] = ends(events)
    [said] = of(ModelResponded, events)
    assert end.outcome == "completed" and said.model == "dear"
    lost = [a for a in of(AttemptEnded, events) if a.wasted]
    assert {(a.model, a.cost_usd) for a in lost} <= {("cheap", 0)} and len(
        of(TokensUsed, events)
    ) == 1


def test_a_trace_shows_every_attempt_and_adds_up_to_what_was_paid():
    with playing("routing") as (_, ask):
        events = ask("Which crampons fit?", "adviser")
    spans = [s for s in of(SpanEnded, events) if s.operation == "chat"]
    assert [(s.request_model, s.status, s.error_type) for s in spans] == [
        ("cheap", "error", "check_failed"),
        ("dear", "ok", ""),
    ]
    assert (
        sum(s.cost_usd for s in spans) == ends(events)[0].cost_usd
        and len({s.span for s in spans}) == 2
    )


def test_a_runs_story_tells_what_was_in_vain():
    with playing("routing") as (_, ask):
        told = [
            line
            for event in ask("Which crampons fit?", "adviser")
            if (line := run_story.line(event))
        ]
    assert any(
        line.startswith("in vain    cheap: check_failed after") and "$0.0000" in line
        for line in told
    )
