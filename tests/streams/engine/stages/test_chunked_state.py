"""Is a state that grows written in parts, each once, and does it come back as it was, whatever was
changed in it?
"""

import random
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from processors.agent.machine import advance
from processors.agent.state import Idle, Session
from schemas.definitions.limits import Limits
from schemas.events.agent.models import ModelAsked
from schemas.events.agent.runs import RunFinished
from streams.engine.shapes import stages
from streams.engine.stages.chunked_state import MARK, WHOLE_BYTES, Parts
from streams.engine.stages.core import Core
from streams.topology import PIPELINE
from tests.support.processors import AGENT, call, cleared, company, heard, told

GIVEN = company(
    AGENT.model_copy(
        update={"limits": Limits(steps=500, tokens=10**9, cost_usd="1000", seconds=10**6)}
    )
)


@dataclass(frozen=True)
class Diary:
    GROWS: ClassVar[str] = "lines"

    lines: tuple[str, ...] = ()
    mood: str = ""


def parts() -> Parts:
    return Parts(Diary, TypeAdapter(Diary))


class Log:
    """A compacted changelog of one key, and how many bytes were ever written to it."""

    def __init__(self):
        self.records, self.bytes, self.writes = {}, 0, 0

    def take(self, written):
        for number, value in written:
            self.bytes, self.writes = self.bytes + len(value or b""), self.writes + 1
            if value is None:
                self.records.pop(number, None)
            else:
                self.records[number] = value

    def restored(self, shuffled: random.Random | None = None):
        into, found = parts(), []
        records = list(self.records.items())
        if shuffled:
            shuffled.shuffle(records)
        for number, value in records:
            found.append(
                into.load("k", value) if number is None else into.load_part("k", number, value)
            )
        assert into.incomplete == []
        return into, [state for state in found if state is not None]


def test_a_small_state_is_one_record_as_it_always_was():
    diary = Diary(("a", "b"), "fine")
    assert [*parts().written("k", diary)] == [(None, TypeAdapter(Diary).dump_json(diary))]


def test_what_was_written_before_there_were_parts_is_read():
    big = Diary(("x" * 50_000,), "old")
    assert parts().load("k", TypeAdapter(Diary).dump_json(big)) == big


def test_bytes_grow_with_what_is_added_and_not_with_what_is_there():
    written, log, sizes = parts(), Log(), []
    diary = Diary()
    for n in range(400):
        diary = replace(diary, lines=(*diary.lines, f"{n}" * 300))
        log.take(written.written("k", diary))
        if n in (199, 399):
            sizes.append(log.bytes)
    assert sizes[1] < 2.5 * sizes[0]
    assert log.restored()[1] == [diary]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_any_change_comes_back(seed):
    choose, log, written = random.Random(seed), Log(), parts()
    diary: Diary | None = Diary()
    log.take(written.written("k", diary))
    for _ in range(choose.randint(1, 40)):
        lines = list(diary.lines) if diary else []
        match choose.choice(["add", "add", "add", "change", "drop", "mood", "end", "restart"]):
            case "add":
                lines += ["x" * choose.choice([1, 500, 9_000, 40_000])] * choose.randint(1, 3)
            case "change" if lines:
                lines[choose.randrange(len(lines))] = f"changed {choose.random()}"
            case "drop":
                lines = lines[choose.randint(0, len(lines)) :]
            case "restart":
                written, found = log.restored(choose)
                assert found == ([diary] if diary else [])
        diary = None if choose.random() < 0.05 else Diary(tuple(lines), str(choose.random()))
        log.take(written.written("k", diary))
        assert log.restored(choose)[1] == ([diary] if diary else [])
        assert (len(log.records) == 0) == (diary is None)


def test_a_part_that_is_gone_is_never_taken_for_nothing():
    steps = stages(PIPELINE)["session"]
    core = Core(steps, lambda: GIVEN)
    core.load(b'["fold","agent","acme/s"]', MARK + b'2,"state":{"messages":[]}}')
    with pytest.raises(ValueError, match="not all parts of agent 'acme/s'"):
        core.check_whole()


def conversation(turns: int, size: int) -> tuple[int, int]:
    """Bytes of changelog, and of questions, that a run of so many results of that size makes."""
    written, log, session, asked = Parts(Session, TypeAdapter(Session)), Log(), Idle(), []

    def on(event):
        nonlocal session
        session, said = advance(session, event, GIVEN)
        log.take(written.written("s", session))
        asked.extend(
            len(event.model_dump_json()) for event in said if isinstance(event, ModelAsked)
        )
        return said

    on(cleared())
    for turn in range(1, turns + 1):
        on(
            heard(
                step=turn,
                calls=(call("lookup", f'{{"order":"A-{turn}"}}', f"c{turn}"),),
                seconds=turn,
            )
        )
        on(told(step=turn, call_=f"c{turn}", content=f"{turn}" + "x" * size, seconds=turn))
    [finished] = on(heard(step=turns + 1, content="done", seconds=turns + 1))
    assert isinstance(finished, RunFinished)
    return log.bytes, sum(asked)


def test_a_hundred_results_of_5_kb_make_a_changelog_that_grows_linearly():
    half, _ = conversation(50, 5_000)
    whole, _ = conversation(100, 5_000)
    assert whole < 2.2 * half
    assert whole < 3_000_000
    assert whole > WHOLE_BYTES
