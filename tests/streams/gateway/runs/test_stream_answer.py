"""Is an answer that is shown while it is written always the beginning of the one that is given?"""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.definitions.kinds import Agent, Definitions, Model, Policy, Route, Rule
from schemas.events.agent.models import ResponseCleared
from schemas.events.model_chunks import ModelChunk
from schemas.events.values import Tokens
from streams.gateway.errors import ProblemError
from streams.gateway.runs.stream_answer import BETWEEN, StreamedAnswer, may_stream

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
RUN = UUID(int=1)


def chunk(text, offset, step=1, attempt=1):
    return ModelChunk(
        id=UUID(int=2),
        at=NOON,
        tenant="t",
        session="s",
        run=RUN,
        step=step,
        attempt=attempt,
        started_at=NOON + timedelta(seconds=step * 10 + attempt),
        offset=offset,
        text=text,
    )


def cleared(content, step=1):
    return ResponseCleared(
        id=UUID(int=3),
        at=NOON,
        tenant="t",
        session="s",
        run=RUN,
        agent="a",
        step=step,
        content=content,
        finish_reason="stop",
        tokens=Tokens(),
    )


def told(events, answer):
    words = StreamedAnswer()
    return "".join([*(words.take(event) for event in events), words.end(answer)])


@pytest.mark.parametrize(
    "events, answer, shown",
    [
        ([], "All.", "All."),
        ([chunk("Al", 0), chunk("l.", 2)], "All.", "All."),
        ([chunk("Al", 0), cleared("All."), chunk("l.", 2)], "All.", "All."),
        ([chunk("Al", 0), chunk(".", 3), cleared("All.")], "All.", "All."),
        ([cleared("All."), chunk("Al", 0), chunk("l.", 2)], "All.", "All."),
        ([chunk("Al", 0), chunk("All", 0, attempt=2), chunk("?", 0)], "All.", "All."),
        (
            [chunk("Wait", 0), cleared("Wait."), chunk("All", 0, 2), cleared("All.", 2)],
            "All.",
            "Wait." + BETWEEN + "All.",
        ),
        ([cleared(None), cleared("All.", 2)], "All.", "All."),
        ([chunk("Wait.", 0), cleared("Wait.")], '{"tool": 1}', "Wait." + BETWEEN + '{"tool": 1}'),
        (
            [chunk("late", 0, 1), cleared("One.", 1), cleared("All.", 2), chunk("One", 0, 1)],
            "All.",
            None,
        ),
    ],
)
def test_what_is_shown_is_the_answer(events, answer, shown):
    if shown is None:
        shown = "late" + BETWEEN + "All."
    assert told(events, answer) == shown


def test_an_attempt_that_was_given_up_is_never_joined_to_another():
    words = StreamedAnswer()
    assert [
        words.take(chunk("It is r", 0)),
        words.take(chunk("It was", 0, attempt=2)),
        words.take(chunk(" sunny", 6, attempt=2)),
    ] == ["It is r", "", ""]
    with pytest.raises(ProblemError, match="given up"):
        words.end("It was sunny")


@given(st.text(min_size=1, max_size=40), st.data())
def test_however_chunks_are_lost_or_doubled_the_answer_comes_whole(answer, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(answer)), max_size=6)) | {0, len(answer)})
    parts = [chunk(answer[a:b], a) for a, b in pairwise(cuts)]
    heard = [part for part in parts for _ in range(data.draw(st.sampled_from([0, 1, 1, 2])))]
    if data.draw(st.booleans()):
        heard.insert(data.draw(st.integers(0, len(heard))), cleared(answer))
    assert told(heard, answer) == answer


@pytest.mark.parametrize(
    "agent, routes, shown",
    [
        (
            {"model": "r"},
            [Route(name="r", candidates=({"model": "whole"}, {"model": "streams"}))],
            True,
        ),
        (
            {"model": "r"},
            [Route(name="r", candidates=({"model": "whole"},), fallback=("streams",))],
            True,
        ),
        (
            {"model": "r"},
            [Route(name="r", cascade=("whole", "streams"), check={"min_chars": 1})],
            True,
        ),
        ({"model": "r"}, [Route(name="r", candidates=({"model": "whole"},))], False),
        ({"model": "r"}, [], False),
        ({"model": "whole", "fallback": ("streams",)}, [], True),
    ],
)
def test_answers_that_come_over_a_route_are_shown_while_they_are_written_too(agent, routes, shown):
    models = [
        Model(name=name, provider="x", base_url="http://x", upstream="x", stream=name == "streams")
        for name in ("whole", "streams")
    ]
    assert (
        may_stream(Definitions.of(Agent(name="a", prompt="x", **agent), *models, *routes), "a")
        is shown
    )


@pytest.mark.parametrize(
    "agent, model, policy, shown",
    [
        ({}, {"stream": True}, None, True),
        ({}, {}, None, False),
        ({"output": {"type": "object"}}, {"stream": True}, None, False),
        ({"policy": "p"}, {"stream": True}, None, False),
        ({"policy": "p"}, {"stream": True}, {"at": ("request",), "action": "block"}, True),
        ({"policy": "p"}, {"stream": True}, {"at": ("response",), "action": "redact"}, False),
        ({"policy": "p"}, {"stream": True}, {"at": ("response",), "action": "flag"}, True),
    ],
)
def test_nothing_is_shown_that_somebody_has_to_look_at_first(agent, model, policy, shown):
    rules = [Policy(name="p", rules=(Rule(find="card", **policy),))] if policy else []
    known = Definitions.of(
        Agent(name="a", prompt="x", model="m", **agent),
        *rules,
        Model(name="m", provider="x", base_url="http://x", upstream="x", **model),
    )
    assert may_stream(known, "a") is shown and not may_stream(known, "nobody")
