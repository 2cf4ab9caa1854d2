"""How does one partition of one stage take an event: which steps run, what changes, and what
follows from it?

No clock and no Kafka: the stage worker and `Local` both run this. What one step says and another of
the stage reads is taken at once, in order, before anything else. A unit of work (an event with all
that follows from it, a timer, the end of a window) changes everything or nothing. A timer or a
window that raises cannot be given back to anybody, so it is done with, and reported in
`drain_failed`; what else is due goes on.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from schemas.definitions.kinds import Definitions
from schemas.events.base import Event, milliseconds
from streams.engine.calls.in_flight import CallKey
from streams.engine.shapes import Call, Each, Fold, Step, Window, kinds
from streams.engine.stages.fold_state import Folds, Journal
from streams.engine.stages.open_calls import OpenCalls, OpenQuestion
from streams.engine.stages.windows import NEVER, Windows, from_ms

Run = Callable[[Event, str], Iterable[Event]]
Reader = tuple[Run, Step, frozenset[type[Event]]]
Record = tuple[bytes, bytes | None]


@dataclass(frozen=True)
class Failed:
    """A timer or a window that raised.

    `subject` is the wake event, or the window's total, as JSON.
    """

    step: str
    key: str
    at: datetime
    subject: str
    error: Exception


class Core:
    """The steps of a stage on one partition: their states, open windows, timers, and how far time
    has come.

    `seq` counts the events taken, timers included; `watermark` is the greatest event time among
    them.
    """

    def __init__(
        self,
        steps: tuple[Step, ...],
        definitions: Callable[[], Definitions] = Definitions,
        from_outside: Collection[type[Event]] = (),
        by_words: bool = True,
    ):
        self.seq, self.watermark = 0, NEVER
        self._newest, self._definitions = definitions, Definitions()
        self._journal = Journal()
        self._folds = {s.name: Folds(s, self._journal) for s in steps if isinstance(s.by, Fold)}
        self._windows = {
            s.name: Windows(s, self._journal) for s in steps if isinstance(s.by, Window)
        }
        self._calls = {
            s.name: OpenCalls(s, self._journal, by_words) for s in steps if isinstance(s.by, Call)
        }
        self._from_outside = frozenset(from_outside)
        self._asked: list[CallKey] = []
        self._late: list[tuple[str, Event]] = []
        self._failed: list[Failed] = []
        self._changed = False
        self._speaks = {s.name: frozenset(kinds(s.writes)) for s in steps}
        self._readers: dict[type[Event], list[Reader]] = {}
        for step in steps:
            for kind in kinds(step.reads):
                self._readers.setdefault(kind, []).append(
                    (self._runner(step), step, self._speaks[step.name])
                )

    def _runner(self, step: Step) -> Run:
        match step.by:
            case Each(run=run):
                return lambda event, key: run(event, self._definitions)
            case Fold():
                folds = self._folds[step.name]
                return lambda event, key: folds.take(event, key, self._definitions)
            case Window(late_to_dead_letters=wanted):
                return lambda event, key: self._add(step.name, event, key, wanted)
            case Call(repeatable=True):
                calls = self._calls[step.name]
                return lambda event, key: self._ask(calls, event)
        raise TypeError(
            f"{step.name}: this {type(step.by).__name__} does not run in a stage; "
            f"the call runner makes calls that are not repeatable"
        )

    def _ask(self, calls: OpenCalls, event: Event) -> tuple[Event, ...]:
        self._asked.append(calls.open(event).key)
        return ()

    def _add(self, name: str, event: Event, key: str, late_wanted: bool) -> tuple[Event, ...]:
        if not self._windows[name].take(event, key, self._definitions) and late_wanted:
            self._late.append((name, event))
        return ()

    def take(self, event: Event) -> list[Event]:
        """All that the event causes inside this stage, in order. Where a step raises, nothing has
        changed.
        """
        self._definitions = self._newest()
        noted = self._noted()
        try:
            caused = self._follow([event], event.partition_key())
        except BaseException:
            self._undo(noted)
            raise
        self._took(event)
        del caused[0]
        return caused + self._close_windows() if self._windows else caused

    def waiting(self, key: CallKey) -> OpenQuestion | None:
        """The question, where it is still open in just these words."""
        return self._calls[key.step].find(key) if key.step in self._calls else None

    def open_calls(self) -> list[OpenQuestion]:
        """All questions without an answer."""
        return [call for calls in self._calls.values() for call in calls.all()]

    def answer(self, key: CallKey, answer: Any) -> list[Event]:
        """What a call tells of its answer, and all that this causes, in order. The question is open
        no more. Where a step raises, nothing has changed.

        What is also read from outside goes around by its topic: there is one order of it.
        """
        self._definitions = self._newest()
        noted = self._noted()
        calls = self._calls[key.step]
        call = calls.find(key)
        if call is None:
            raise KeyError(f"{key} is not open: ask `waiting` before its answer is taken")
        event = call.event
        try:
            calls.close(key)
            told = self._told(calls.step, event, answer)
            around = [made for made in told if type(made) in self._from_outside]
            queue = [made for made in told if type(made) not in self._from_outside]
            caused = around + self._follow(queue, event.partition_key())
        except BaseException:
            self._undo(noted)
            raise
        self._took(*told)
        return caused + self._close_windows()

    def _told(self, step: Step, event: Event, answer: Any) -> list[Event]:
        told = list(step.call.run_tell(event, answer, self._definitions))
        for made in told:
            if type(made) not in self._speaks[step.name]:
                raise _undeclared(step.name, made)
        return told

    def give_up(self, key: CallKey) -> None:
        """Closes a question of which nothing can be told."""
        self._calls[key.step].close(key)
        self._took()

    def ask_again(self, key: CallKey) -> OpenQuestion:
        """Marks a question as asked once more."""
        call = self._calls[key.step].again(key)
        self._journal.keep()
        self._changed = True
        return call

    def drain_asked(self, trace: str | None = None) -> list[OpenQuestion]:
        """The questions asked since the last call and still open. They belong to this trace."""
        asked, self._asked = self._asked, []
        return [
            self._calls[key.step].trace(key, trace)
            for key in asked
            if self.waiting(key) is not None
        ]

    def _noted(self) -> tuple[int, int]:
        return len(self._late), len(self._asked)

    def _undo(self, noted: tuple[int, int]) -> None:
        """Everything is as it was before the unit of work, late events and questions too."""
        self._journal.undo()
        del self._late[noted[0] :]
        del self._asked[noted[1] :]

    def fire(self, now: datetime) -> list[Event]:
        """The wake events of the timers due at `now`, oldest first, each followed by what it
        causes.
        """
        self._definitions = self._newest()
        made: list[Event] = []
        for wake_at, name, key in sorted(
            timer for folds in self._folds.values() for timer in folds.due(now)
        ):
            if self._folds[name].waits(key, wake_at):
                made += self._wake(self._folds[name], key, wake_at)
        return made + self._close_windows()

    def _wake(self, folds: Folds, key: str, wake_at: datetime) -> list[Event]:
        woke = folds.wake_event(key, wake_at)
        noted = self._noted()
        try:
            caused = self._follow([woke], key)
        except Exception as error:
            self._undo(noted)
            self._failed.append(Failed(folds.name, key, wake_at, woke.model_dump_json(), error))
            caused = [woke]
        self._took(woke)
        folds.woke(key, wake_at)
        return caused

    def pass_time(self, to: datetime) -> list[Event]:
        """Moves the watermark of an idle partition on. The windows that are over by then speak."""
        self._definitions = self._newest()
        self.watermark, self._changed = max(self.watermark, to), True
        for windows in self._windows.values():
            windows.pass_time(milliseconds(to))
        return self._close_windows()

    @property
    def next_wake(self) -> datetime | None:
        """When the next timer is due; None where nothing waits."""
        return min(
            (at for folds in self._folds.values() if (at := folds.next_wake())), default=None
        )

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Of each window step: `watermark` (ms since 1970), `accepted` and `late` events."""
        return {name: dict(windows.counts) for name, windows in self._windows.items()}

    def drain_late(self) -> list[tuple[str, Event]]:
        """Step and event of every late event since the last call that its window wants a dead
        letter of.
        """
        late, self._late = self._late, []
        return late

    def drain_failed(self) -> list[Failed]:
        """The timers and windows that raised since the last call."""
        failed, self._failed = self._failed, []
        return failed

    def _follow(self, queue: list[Event], home: str) -> list[Event]:
        """Runs the steps on every event in the queue, and on what they say, until nothing more
        follows.
        """
        for event in queue:
            readers = self._readers.get(type(event))
            if readers is None:
                continue
            if event.partition_key() != home:
                raise ValueError(
                    f"{type(event).__name__} has the key {event.partition_key()!r} and was made of "
                    f"one with {home!r}: what a stage reads of itself must keep its key; re-key in "
                    "a step of its own"
                )
            for run, step, may_say in readers:
                for made in run(event, home):
                    if type(made) not in may_say:
                        raise _undeclared(step.name, made)
                    queue.append(made)
        return queue

    def _took(self, *events: Event) -> None:
        """Something was taken: an event, or an answer with the events that tell of it."""
        self._journal.keep()
        self.seq += 1
        self._changed = True
        for event in events:
            if event.at > self.watermark:
                self.watermark = event.at

    def _close_windows(self) -> list[Event]:
        made: list[Event] = []
        while over := [
            (cell[2], cell[1], cell[0], windows.name)
            for windows in self._windows.values()
            if (cell := windows.over())
        ]:
            end_ms, start_ms, key, name = min(over)
            made += self._close(self._windows[name], (key, start_ms, end_ms))
        return made

    def _close(self, windows: Windows, cell: tuple[str, int, int]) -> list[Event]:
        noted = self._noted()
        said: list[Event] = []
        try:
            for made in windows.close(cell, self._definitions):
                if type(made) not in self._speaks[windows.name]:
                    raise _undeclared(windows.name, made)
                said.append(made)
            said = self._follow(said, cell[0])
        except Exception as error:
            self._undo(noted)
            total = windows.total_json(cell)
            self._failed.append(Failed(windows.name, cell[0], from_ms(cell[1]), total, error))
            said = []
        windows.forget(cell)
        self._journal.keep()
        return said

    def changes(self) -> list[Record]:
        """The last value of every cell changed since the last call, as records of the changelog."""
        if not self._changed:
            return []
        self._changed = False
        owners = (*self._folds.values(), *self._windows.values(), *self._calls.values())
        records = [
            (orjson.dumps(cell), value) for owner in owners for cell, value in owner.changes()
        ]
        own = {
            "seq": self.seq,
            "watermark": milliseconds(self.watermark),
            "windows": {name: windows.counts for name, windows in self._windows.items()},
        }
        return [*records, (b'["core"]', orjson.dumps(own))]

    def load(self, key: bytes, value: bytes | None) -> None:
        """Takes one record of the changelog back. Cells of steps that are no longer in the table
        are left out.
        """
        what, *place = orjson.loads(key)
        if what == "core" and value is not None:
            own = orjson.loads(value)
            self.seq, self.watermark = own["seq"], from_ms(own["watermark"])
            for name, counts in own["windows"].items():
                if name in self._windows:
                    self._windows[name].counts.update(counts)
        elif what == "fold" and place[0] in self._folds:
            self._folds[place[0]].load(place[1], value)
        elif what == "part" and place[0] in self._folds:
            self._folds[place[0]].load_part(place[1], place[2], value)
        elif what == "woken" and place[0] in self._folds:
            self._folds[place[0]].load_woken(place[1], value)
        elif what == "window" and place[0] in self._windows:
            name, *cell = place
            self._windows[name].load(tuple(cell), value)
        elif what == "call" and place[0] in self._calls:
            self._calls[place[0]].load(place[1], place[2], value)

    def check_whole(self) -> None:
        """Raises where the changelog lacks a part of a state: that must never be taken for an empty
        one.
        """
        lacking = [
            f"{name} {key!r}" for name, folds in self._folds.items() for key in folds.incomplete
        ]
        lacking += [f"{name} {key}" for name, calls in self._calls.items() for key in calls.join()]
        if lacking:
            raise ValueError(
                f"the changelog has not all parts of {lacking[0]} ({len(lacking)} states lack "
                "some): it was changed by hand, or its topic is not compacted but cut off"
            )


def _undeclared(step: str, made: object) -> TypeError:
    return TypeError(
        f"{step} wrote a {type(made).__name__}, which its function does not declare: add it to the "
        f"annotation of what it returns"
    )
