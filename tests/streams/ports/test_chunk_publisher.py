"""Does a model's text reach whoever reads along, soon, whole, and never joined to another
attempt's?
"""

import asyncio
import statistics
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.models.call import ask as question_of
from schemas.definitions.kinds import Agent, Definitions, Model, Policy, Rule
from schemas.events.agent.models import ModelAsked, ModelResponded
from schemas.events.agent.runs import RunFinished
from schemas.events.model_chunks import ModelChunk
from schemas.events.values import Message
from schemas.ports import ChatQuestion
from schemas.wire.topics import topic_of
from streams.engine import kafka
from streams.engine.client import OUTCOMES, now
from streams.engine.follow_run import Piece, Place, Reader, follow
from streams.ports.chunk_publisher import ChunkPublisher
from tests.support.calls import PARTITIONS, WORDS, asked, runners
from tests.support.stages import until

RUN = UUID(int=1)
CAUSE = UUID(int=2)
CONTEXT = {"tenant": "acme", "session": "s1", "run": str(RUN), "step": "3", "agent": "a"}
QUESTION = ChatQuestion(
    (),
    (Message(role="user", content="hi"),),
    (),
    None,
    None,
    5_000,
    str(CAUSE),
    context=CONTEXT,
    audible=True,
)
BEGAN = datetime(2026, 3, 2, 9, tzinfo=UTC)


def heard(*texts: str, attempt: int = 1, end: bool = True) -> list[ModelChunk]:
    told: list[ModelChunk] = []

    async def talk() -> None:
        hear = ChunkPublisher(told.append, gap_s=0.005)(QUESTION, attempt)
        for text in texts:
            hear(text, False)
        await asyncio.sleep(0.02)
        if end:
            hear("", True)

    asyncio.run(talk())
    return told


def test_the_first_text_is_told_at_once_and_what_follows_together():
    told = heard("Hel", "lo", " there", "!")
    assert [(chunk.offset, chunk.text, chunk.last) for chunk in told] == [
        (0, "Hel", False),
        (3, "lo there!", False),
        (12, "", True),
    ]
    assert {(c.tenant, c.session, c.run, c.step, c.attempt, c.cause) for c in told} == {
        ("acme", "s1", RUN, 3, 1, CAUSE)
    }
    assert len({chunk.id for chunk in told}) == 3


def test_text_that_no_other_language_can_read_is_mended_and_a_call_of_a_tool_is_no_text():
    assert [chunk.text for chunk in heard("a\ud83d")] == ["a?", ""]
    assert heard() == []


@pytest.mark.parametrize("changes", [{"audible": False}, {"context": {"tenant": "acme"}}])
def test_what_may_not_be_heard_is_not_told(changes):
    told: list[ModelChunk] = []
    ChunkPublisher(told.append)(replace(QUESTION, **changes), 1)("secret", True)
    assert told == []


@pytest.mark.parametrize(
    ("rules", "more", "audible"),
    [
        (None, {}, True),
        ([], {}, True),
        ([("request", "block"), ("result", "redact")], {}, True),
        ([("response", "flag")], {}, True),
        ([("response", "redact")], {}, False),
        ([("response", "block")], {}, False),
        ([("response", "block")], {"shadow": True}, True),
        (None, {"purpose": "summary"}, False),
    ],
)
def test_people_read_along_only_where_no_policy_may_still_change_the_words(rules, more, audible):
    made = [
        Model(name="m", provider="stub", base_url="http://m", upstream="m"),
        Agent(name="a", prompt="p", model="m", policy=None if rules is None else "p"),
    ]
    if rules is not None:
        made.append(
            Policy(
                name="p",
                shadow=more.get("shadow", False),
                rules=tuple(
                    Rule(find="card", at=(stage,), action=action) for stage, action in rules
                ),
            )
        )
    asked = ModelAsked(
        id=CAUSE,
        at=BEGAN,
        tenant="acme",
        session="s1",
        run=RUN,
        agent="a",
        agent_version=1,
        step=1,
        model="m",
        messages=(),
        purpose=more.get("purpose", ""),
    )
    assert question_of(asked, Definitions.of(*made)).audible is audible
    missing = Definitions.of(*[one for one in made if not isinstance(one, Policy)])
    assert question_of(asked, missing).audible is (rules is None and audible)


def chunk(
    text: str,
    offset: int = 0,
    attempt: int = 1,
    last: bool = False,
    run: UUID = RUN,
    step: int = 1,
    later_s: int = 0,
) -> ModelChunk:
    return ModelChunk(
        id=CAUSE,
        at=BEGAN,
        tenant="acme",
        session="s1",
        run=run,
        step=step,
        attempt=attempt,
        started_at=BEGAN + timedelta(seconds=later_s),
        offset=offset,
        text=text,
        last=last,
    )


def shown(pieces: list[Piece | None]) -> str:
    text = ""
    for piece in filter(None, pieces):
        text = ("" if piece.fresh else text) + "…" * bool(piece.missing) + piece.text
    return text


@pytest.mark.parametrize(
    ("chunks", "text"),
    [
        ([chunk("ab"), chunk("cd", 2)], "abcd"),
        ([chunk("ab"), chunk("ab"), chunk("abcd")], "abcd"),
        ([chunk("ab"), chunk("xy", attempt=2), chunk("cd", 2)], "xy"),
        (
            [chunk("ab", attempt=2), chunk("xy", later_s=9)],
            "xy",
        ),  # asked again after a crash: its attempts begin anew
        ([chunk("ab"), chunk("xy", step=2)], "xy"),
        ([chunk("ab"), chunk("ef", 4)], "ab…ef"),
        ([chunk("ab"), chunk("xy", run=CAUSE)], "ab"),
    ],
)
def test_the_newest_attempt_is_shown_and_no_other(chunks, text):
    reader = Reader(RUN)
    assert shown([reader.take(one) for one in chunks]) == text


@given(st.text(min_size=1, max_size=30), st.data())
def test_a_reader_that_comes_back_misses_nothing_and_reads_nothing_twice(text, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    chunks = [chunk(text[a:b], a) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    chunks.append(chunk("", len(text), last=True))
    left = data.draw(st.integers(0, len(chunks) - 1))
    first = Reader(RUN)
    before = [piece for one in chunks[:left] if (piece := first.take(one))]
    place = before[-1].place if before else Place()
    again = Reader(RUN, Place.of(str(place)))
    after = [piece for one in chunks if (piece := again.take(one))]
    assert shown([*before, *after]) == text and after[-1].last
    assert not any(piece.fresh for piece in after[bool(not before) :]) and not any(
        p.missing for p in after
    )


@pytest.mark.parametrize("text", ["", "1-2-3", "a-b-c-d", "1-99999999999999999999-1-1"])
def test_a_place_that_is_none(text):
    with pytest.raises(ValueError, match="is no place"):
        Place.of(text)


@pytest.mark.engine
def test_words_come_within_a_tenth_of_a_second_and_a_killed_runner_leaves_none_behind(own_settings):
    kafka.create_topics(
        own_settings, [topic_of(kind, PARTITIONS) for kind in (ModelChunk, *OUTCOMES)]
    )
    question = asked("s1").model_copy(update={"agent_version": 1, "model": "talker"})
    finished = RunFinished(
        id=CAUSE,
        at=now(),
        tenant="acme",
        session="s1",
        run=RUN,
        agent="a",
        outcome="completed",
        started_at=now(),
        wait_ms=1,
    )
    seen: list[tuple[float, Piece | RunFinished]] = []

    with runners(own_settings) as world:

        def read() -> None:
            for told in follow(own_settings, world.codec, RUN, timeout_s=40):
                seen.append((time.monotonic(), told))

        follower = threading.Thread(target=read, daemon=True)
        follower.start()
        world.start()
        world.publish(question)
        until(lambda: len(seen) > 8, "somebody reads along")
        world.kill()
        world.start()
        until(lambda: world.heard() == 1, "it is answered")
        world.publish(finished)
        follower.join(20)
        [said] = world.events(ModelResponded)

    pieces = [told for _, told in seen[:-1]]
    assert said.content == "".join(WORDS) == shown(pieces) and said.first_token_ms is not None
    assert (seen[-1][1], pieces[-1].last, [piece.fresh for piece in pieces].count(True)) == (
        finished,
        True,
        2,
    )
    assert not any(piece.missing for piece in pieces)
    said_at = [(at, event.decode()) for at, event in world.tool.spoken]
    late_s = [
        at - max(then for then, event in said_at if then < at and told.text[:6] in event)
        for at, told in seen[:-1]
        if told.text
    ]
    assert statistics.median(late_s) < 0.1, sorted(late_s)
