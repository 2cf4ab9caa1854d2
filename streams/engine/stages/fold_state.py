"""What do the folds of a stage remember of each key, when does a state want to be woken, and how is
a take undone?

A cell is one remembered value: the state of a step and a key, or an open window's total. Cells are
plain dict entries; the journal notes the value that each change replaced, so that undoing a take
costs what the take changed.
"""

import heapq
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from schemas.definitions.kinds import Definitions
from schemas.events.base import Event
from streams.engine.shapes import Fold, Step
from streams.engine.stages.chunked_state import Parts

GONE: Any = object()
Timer = tuple[datetime, str, str]
"""When, which step, which key."""


class Journal:
    """The changes of one unit of work, newest last."""

    def __init__(self) -> None:
        self._replaced: list[tuple[dict, Any, Any]] = []

    def put(self, cells: dict, key: Any, value: Any) -> None:
        """Sets a cell, or removes it where the value is GONE."""
        self._replaced.append((cells, key, cells.get(key, GONE)))
        _set(cells, key, value)

    def keep(self) -> None:
        """The unit is done: its changes stay."""
        self._replaced.clear()

    def undo(self) -> None:
        """The unit failed: everything is as it was before it."""
        while self._replaced:
            _set(*self._replaced.pop())


def _set(cells: dict, key: Any, value: Any) -> None:
    if value is GONE:
        cells.pop(key, None)
    else:
        cells[key] = value


class Folds:
    """The states of one Fold, by key, and the times at which they want to be woken.

    A state that still asks for the same `wake_at` after its wake event is not woken for it again:
    `_woken` remembers.
    """

    def __init__(self, step: Step, journal: Journal):
        if not isinstance(step.by, Fold):
            raise TypeError(f"{step.name} is no Fold")
        self.name, self.fold = step.name, step.by
        self._journal = journal
        self._parts = Parts(state_type(step.by.start), adapter_of(step.by.start))
        self._states: dict[str, Any] = {}
        self._woken: dict[str, datetime] = {}
        self._timers: list[Timer] = []
        self._dirty: dict[str, None] = {}
        self._dirty_woken: dict[str, None] = {}

    def take(self, event: Event, key: str, definitions: Definitions) -> Iterable[Event]:
        """The step's function, run on the key's state; returns what it says."""
        before = self._states.get(key)
        state = self.fold.start() if before is None else before
        state, events = self.fold.run(state, event, definitions)
        if state is not before:
            self._journal.put(self._states, key, GONE if state is None else state)
            self._dirty[key] = None
            if self.fold.wakes is not None:
                self._plan(key, before, state)
        return events

    def _plan(self, key: str, before: Any, state: Any) -> None:
        old, new = getattr(before, "wake_at", None), getattr(state, "wake_at", None)
        if new == old:
            return
        if new is not None:
            heapq.heappush(self._timers, (new, self.name, key))
        if key in self._woken:
            self._journal.put(self._woken, key, GONE)
            self._dirty_woken[key] = None

    def waits(self, key: str, wake_at: datetime) -> bool:
        """Whether the key's state asks to be woken at that time, and was not yet."""
        return (
            getattr(self._states.get(key), "wake_at", None) == wake_at
            and self._woken.get(key) != wake_at
        )

    def next_wake(self) -> datetime | None:
        while self._timers and not self.waits(self._timers[0][2], self._timers[0][0]):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def due(self, now: datetime) -> set[Timer]:
        """The timers due at `now`. They leave the heap: each is to be fired and then marked by
        `woke`.
        """
        found = set()
        while (at := self.next_wake()) is not None and at <= now:
            found.add(heapq.heappop(self._timers))
        return found

    def woke(self, key: str, wake_at: datetime) -> None:
        if self.waits(key, wake_at):
            self._woken[key] = wake_at
            self._dirty_woken[key] = None

    def wake_event(self, key: str, wake_at: datetime) -> Event:
        """The event of a timer. Its id derives from the step, the key and the time, so it is the
        same in a replay.
        """
        kind = self.fold.wakes
        if kind is None:
            raise TypeError(f"{self.name} has no timers: its Fold says no event that `wakes` it")
        tenant, _, rest = key.partition("/")
        fields = {"tenant": tenant, "at": wake_at} | (
            {kind.key: rest} if kind.key != "tenant" else {}
        )
        if "step_name" in kind.model_fields:
            fields["step_name"] = self.name
        return kind.about(self.name, key, wake_at.astimezone(UTC), **fields)

    def changes(self) -> Iterable[tuple[list, bytes | None]]:
        """Cell and value (None: forgotten) of everything changed since the last call."""
        for key in self._dirty:
            for part, value in self._parts.written(key, self._states.get(key)):
                yield (
                    (["fold", self.name, key] if part is None else ["part", self.name, key, part]),
                    value,
                )
        for key in self._dirty_woken:
            at = self._woken.get(key)
            yield ["woken", self.name, key], None if at is None else at.isoformat().encode()
        self._dirty.clear()
        self._dirty_woken.clear()

    def load(self, key: str, value: bytes | None) -> None:
        if value is None:
            self._states.pop(key, None)
            return
        self._take_back(key, self._parts.load(key, value))

    def load_part(self, key: str, part: int, value: bytes | None) -> None:
        self._take_back(key, self._parts.load_part(key, part, value))

    def _take_back(self, key: str, state: Any) -> None:
        if state is None:
            return
        self._states[key] = state
        wake_at = getattr(state, "wake_at", None) if self.fold.wakes else None
        if wake_at is not None:
            heapq.heappush(self._timers, (wake_at, self.name, key))

    @property
    def incomplete(self) -> list[str]:
        """The keys whose states were not loaded whole."""
        return self._parts.incomplete

    def load_woken(self, key: str, value: bytes | None) -> None:
        if value is None:
            self._woken.pop(key, None)
        else:
            self._woken[key] = datetime.fromisoformat(value.decode())


@cache
def adapter_of(start: Any) -> TypeAdapter:
    """How the values that begin as `start()` are written as JSON."""
    return TypeAdapter(state_type(start))


def state_type(start: Any) -> Any:
    """The type of the values that begin as `start()`: the class itself, else what the function
    declares that it returns.
    """
    if isinstance(start, type):
        return start
    hints = get_type_hints(start, include_extras=True) if hasattr(start, "__annotations__") else {}
    return hints.get("return") or type(start())
