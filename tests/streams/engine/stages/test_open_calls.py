"""Open questions are a part of the state: undone with it, restored with it, and nothing is asked
that nobody said.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events.agent.models import ModelAsked, ModelFailed, ModelResponded
from schemas.events.base import UnprocessableError
from schemas.events.values import Message
from schemas.ports import Failure, Impossible, Uncertain
from streams.engine.shapes import Call, Each, Step
from streams.engine.stages.core import Core
from streams.engine.stages.open_calls import PART_BYTES, OpenQuestion
from tests.support.talk import request
from tests.support.toy_talk import TALK, Said, Words, ask, reply, tell, words_of

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def said(call: OpenQuestion) -> Said:
    return Said(reply(words_of(call.event)), NOW)


def restored(core: Core, cells: dict[bytes, bytes], **options: object) -> Core:
    """A core from a changelog, to which what changed in the other one is written first."""
    for key, value in core.changes():
        if value is None:
            cells.pop(key, None)
        else:
            cells[key] = value
    made = Core(TALK, **options)
    for key, value in cells.items():
        made.load(key, value)
    made.check_whole()
    return made


def test_a_question_is_open_until_it_is_answered_and_is_answered_once() -> None:
    core = Core(TALK)
    core.take(request("s", 1))
    [call] = core.drain_asked()
    assert core.open_calls() == [call]
    assert [type(event).__name__ for event in core.answer(call.key, said(call))] == [
        "ModelResponded",
        "RunFinished",
    ]
    assert core.open_calls() == [] and core.waiting(call.key) is None


def test_a_question_that_is_answered_before_it_was_written_leaves_no_cell() -> None:
    core = Core(TALK)
    core.take(request("s", 1))
    [call] = core.drain_asked()
    core.answer(call.key, said(call))
    assert not [key for key, _ in core.changes() if key.startswith(b'["call"')]


def test_one_that_was_written_leaves_a_tombstone() -> None:
    core = Core(TALK)
    core.take(request("s", 1))
    [call] = core.drain_asked()
    written = dict(core.changes())
    core.answer(call.key, said(call))
    [cell] = [key for key in written if key.startswith(b'["call"')]
    assert dict(core.changes())[cell] is None


def test_a_question_comes_back_with_its_trace_its_words_and_how_often_it_was_asked() -> None:
    core = Core(TALK)
    core.take(request("s", 1))
    [call] = core.drain_asked("0af7651916cd43dd8448eb211c80319c")
    again = core.ask_again(call.key)
    [back] = restored(core, {}).open_calls()
    assert (back, back.attempt, back.trace) == (again, 2, call.trace)
    assert back.key == call.key


def test_the_same_id_with_other_words_does_not_take_the_answer() -> None:
    core = Core(TALK)
    first, second = request("s", 1), request("s", 1)
    core.take(first)
    [call] = core.drain_asked()
    core = Core(TALK)
    core.take(second)
    [other] = core.drain_asked()
    core.answer(other.key, said(other))
    core.take(first)
    [asked] = core.drain_asked()
    assert asked.event.id == call.event.id and asked.key != call.key
    assert core.waiting(call.key) is None and core.waiting(asked.key) == asked


@pytest.mark.parametrize("size", [10, PART_BYTES - 1, 3 * PART_BYTES])
def test_a_question_of_any_size_is_written_in_records_that_kafka_takes(size: int) -> None:
    core = Core(TALK)
    asked = request("s", 1).then(
        ModelAsked, step=1, model="m", messages=(Message(role="user", content="x" * size),)
    )
    core.take(asked)
    cells: dict[bytes, bytes] = {}
    [back] = restored(core, cells).open_calls()
    assert back.event == asked
    assert all(len(value) < PART_BYTES + 1_000 for value in cells.values())
    again = restored(core, cells)
    again.give_up(back.key)
    assert restored(again, cells).open_calls() == []
    assert not [key for key in cells if key.startswith(b'["call"')]


def test_a_part_that_is_missing_is_never_taken_for_an_empty_state() -> None:
    core = Core(TALK)
    text = "x" * 2 * PART_BYTES
    core.take(
        request("s", 1).then(
            ModelAsked, step=1, model="m", messages=(Message(role="user", content=text),)
        )
    )
    cells = dict(core.changes())
    lost = [key for key in cells if key.endswith(b",1]")]
    for key in lost:
        del cells[key]
    made = Core(TALK)
    for key, value in cells.items():
        made.load(key, value)
    with pytest.raises(ValueError, match="has not all parts"):
        made.check_whole()


def poisoned(event: ModelAsked) -> list[ModelFailed]:
    raise UnprocessableError("unlucky")


def test_a_unit_of_work_that_fails_asks_nothing() -> None:
    core = Core((*TALK, Step("poison", Each(poisoned))))
    with pytest.raises(UnprocessableError):
        core.take(request("s", 1))
    assert core.drain_asked() == [] and core.open_calls() == [] and core.changes() == []


def unlucky(event: ModelResponded) -> list[ModelFailed]:
    raise UnprocessableError("unlucky")


def test_an_answer_that_cannot_be_taken_leaves_its_question_open() -> None:
    core = Core((*TALK, Step("unlucky", Each(unlucky))))
    core.take(request("s", 1))
    [call] = core.drain_asked()
    with pytest.raises(UnprocessableError):
        core.answer(call.key, said(call))
    assert core.open_calls() == [call]
    core.give_up(call.key)
    assert core.open_calls() == []


def test_what_is_also_said_outside_is_not_taken_inside() -> None:
    core = Core(TALK, from_outside=(ModelFailed,))
    core.take(request("s", 1))
    [call] = core.drain_asked()
    failed = core.answer(call.key, Failure("no", "", NOW, NOW))
    assert [type(event).__name__ for event in failed] == ["ModelFailed"]
    assert [type(event).__name__ for event in core.take(failed[0])] == ["RunFinished"]


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("request"), st.sampled_from("abc"), st.integers(1, 3)),
        st.tuples(st.just("answer"), st.integers(0, 5)),
        st.tuples(st.just("restart")),
        st.tuples(st.just("write")),
    ),
    max_size=30,
)


@given(ACTS)
def test_restarts_change_nothing(acts: list[tuple]) -> None:
    """The same story with and without restarts between its acts; every question is answered."""
    steady, restarted, cells = Core(TALK), Core(TALK), {}
    for act in acts:
        if act[0] == "restart":
            restarted = restored(restarted, cells)
        elif act[0] == "write":
            restored(restarted, cells)
        elif act[0] == "request":
            event = request(act[1], *[1] * act[2])
            assert steady.take(event) == restarted.take(event)
        else:
            calls = sorted(steady.open_calls(), key=lambda call: call.event.id)
            assert calls == sorted(restarted.open_calls(), key=lambda call: call.event.id)
            if calls:
                call = calls[act[1] % len(calls)]
                told = steady.answer(call.key, said(call))
                assert told == restarted.answer(call.key, said(call))


@dataclass(frozen=True)
class Effective:
    """A request that says what repeating it does."""

    effect: str = "once"


def ask_effective(asked: ModelAsked) -> Effective | Impossible:
    return Effective()


def ask_unannotated(asked: ModelAsked):
    return Words("", "", 0)


def tell_effective(
    asked: ModelAsked, answer: Said | Failure | Uncertain
) -> list[ModelResponded | ModelFailed]:
    return tell(asked, answer)


@pytest.mark.parametrize(
    ("asks", "ordered", "why"),
    [
        (ask_effective, False, "effect of its own"),
        (ask, True, "unordered"),
        (ask_unannotated, False, "annotate"),
    ],
)
def test_what_may_have_an_effect_cannot_be_called_by_a_stage(asks, ordered, why) -> None:
    with pytest.raises(TypeError, match=why):
        Step("ask", Call(asks, "model", tell_effective, ordered=ordered, repeatable=True))


def test_a_call_that_is_not_repeatable_does_not_run_in_a_stage() -> None:
    with pytest.raises(TypeError, match="does not run in a stage"):
        Core((Step("ask", Call(ask, "model", tell)),))
