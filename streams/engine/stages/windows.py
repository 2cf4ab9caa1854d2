"""Which windows does an event belong to, when is a window over, and what is late?

All arithmetic is in whole milliseconds since 1970. A window holds the moments from its start up to,
not including, its end. It is over when the watermark (the greatest event time that the step has
taken in this partition) has reached its end plus its grace: then it speaks, once. An event is late
when every window it belongs to is over; late events are counted and reported, so that accepted +
late = taken. A session is a run of events less than `gap` apart; an event that touches open
sessions joins them into one, and it is late only where it touches none and its own would be over.
"""

import heapq
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

from schemas.definitions.kinds import Definitions
from schemas.events.base import EPOCH, MILLISECOND, Event, milliseconds
from streams.engine.shapes import Hopping, SessionGap, Step, Tumbling, Window
from streams.engine.stages.fold_state import GONE, Journal, adapter_of

Span = tuple[int, int]
Cell = tuple[str, int, int]
"""Key, start_ms, end_ms."""


def from_ms(at_ms: int) -> datetime:
    return EPOCH + at_ms * MILLISECOND


NEVER = datetime.min.replace(tzinfo=UTC)
NEVER_MS = milliseconds(NEVER)


def length_ms(name: str, length: timedelta, least_ms: int = 1) -> int:
    """A length in whole milliseconds.

    Raises ValueError where it is below `least_ms` or not whole.
    """
    whole, rest = divmod(length, MILLISECOND)
    if whole < least_ms or rest:
        raise ValueError(
            f"a window's {name} must be whole milliseconds and at least {least_ms}, it is "
            f"{length!r}: give it as e.g. timedelta(minutes=1)"
        )
    return whole


def hops(at_ms: int, size_ms: int, step_ms: int) -> list[Span]:
    """The windows of a moment, oldest first; they start at multiples of the step. None where the
    step leaves gaps.
    """
    first = (at_ms - size_ms) // step_ms * step_ms + step_ms
    return [(start, start + size_ms) for start in range(first, at_ms + 1, step_ms)]


def touched(sessions: tuple[Span, ...], at_ms: int, gap_ms: int) -> tuple[Span, ...]:
    """Those sessions that an event at that moment belongs to, or joins."""
    return tuple(span for span in sessions if at_ms < span[1] and span[0] < at_ms + gap_ms)


class Windows:
    """The open windows of one step in one partition, their totals, and the step's watermark and
    counts.
    """

    def __init__(self, step: Step, journal: Journal):
        window = step.by
        if not isinstance(window, Window):
            raise TypeError(f"{step.name} is no Window")
        self.name, self._window, self._journal = step.name, window, journal
        self._adapter = adapter_of(window.start)
        self._grace_ms = length_ms("grace", window.grace, least_ms=0)
        self._place = self._placing(window)
        self._totals: dict[Cell, Any] = {}
        self._sessions: dict[str, tuple[Span, ...]] = {}
        self._ends: list[tuple[int, int, str]] = []
        self.counts = {"watermark": NEVER_MS, "accepted": 0, "late": 0}
        self._dirty: dict[Cell, None] = {}
        self._stored: set[Cell] = set()

    def _placing(self, window: Window) -> Callable[[Event, str, int, Definitions], bool]:
        match window.spans:
            case Tumbling(size):
                self._size_ms = self._step_ms = length_ms("size", size)
                return self._add_to_each
            case Hopping(size, step):
                self._size_ms, self._step_ms = length_ms("size", size), length_ms("step", step)
                return self._add_to_each
            case SessionGap(gap):
                self._gap_ms = length_ms("gap", gap)
                if window.merge is None:
                    raise ValueError(
                        f"{self.name}: sessions meet, so the window needs merge(total, total)"
                    )
                self._merge = window.merge
                return self._add_to_session
        raise TypeError(f"{self.name}: {window.spans!r} is none of Tumbling, Hopping, SessionGap")

    def take(self, event: Event, key: str, definitions: Definitions) -> bool:
        """Adds the event to its windows and moves the watermark. False: it is late, and was added
        nowhere.
        """
        at_ms = milliseconds(event.at)
        counts, put = self.counts, self._journal.put
        accepted = self._place(event, key, at_ms, definitions)
        name = "accepted" if accepted else "late"
        put(counts, name, counts[name] + 1)
        if at_ms > counts["watermark"]:
            put(counts, "watermark", at_ms)
        return accepted

    def _add_to_each(self, event: Event, key: str, at_ms: int, definitions: Definitions) -> bool:
        watermark_ms, accepted = self.counts["watermark"], True
        for start_ms, end_ms in hops(at_ms, self._size_ms, self._step_ms):
            accepted = end_ms + self._grace_ms > watermark_ms
            if accepted:
                cell = key, start_ms, end_ms
                self._set(cell, self._window.run_add(self._total(cell), event, definitions))
        # The newest window is the last to be over, so it alone says whether the event came too late
        # for all.
        return accepted

    def _add_to_session(self, event: Event, key: str, at_ms: int, definitions: Definitions) -> bool:
        watermark_ms, window, sessions = (
            self.counts["watermark"],
            self._window,
            self._sessions.get(key, ()),
        )
        still_open = tuple(span for span in sessions if span[1] + self._grace_ms > watermark_ms)
        joined = touched(still_open, at_ms, self._gap_ms)
        if not joined and at_ms + self._gap_ms + self._grace_ms <= watermark_ms:
            return False
        span = (
            min([at_ms, *(s for s, _ in joined)]),
            max([at_ms + self._gap_ms, *(e for _, e in joined)]),
        )
        totals = [self._total((key, *old)) for old in joined]
        before = reduce(self._merge, totals) if totals else window.start()
        total = window.run_add(before, event, definitions)
        for old in joined:
            if old != span:
                self._set((key, *old), GONE)
        self._set((key, *span), total)
        rest = [old for old in sessions if old not in joined]
        self._journal.put(self._sessions, key, tuple(sorted([*rest, span])))
        return True

    def _total(self, cell: Cell) -> Any:
        total = self._totals.get(cell, GONE)
        return self._window.start() if total is GONE else total

    def _set(self, cell: Cell, total: Any) -> None:
        if total is not GONE and cell not in self._totals:
            heapq.heappush(self._ends, (cell[2], cell[1], cell[0]))
        self._journal.put(self._totals, cell, total)
        self._dirty[cell] = None

    def over(self) -> Cell | None:
        """The next window that is over, by its end, then its start, then its key."""
        limit_ms = self.counts["watermark"] - self._grace_ms
        while self._ends and self._ends[0][0] <= limit_ms:
            end_ms, start_ms, key = self._ends[0]
            if (key, start_ms, end_ms) in self._totals:
                return key, start_ms, end_ms
            heapq.heappop(self._ends)
        return None

    def close(self, cell: Cell, definitions: Definitions) -> Iterable[Event]:
        """What a window says when it is over. It must then be forgotten by `forget`, whether that
        raised or not.
        """
        key, start_ms, end_ms = cell
        start, end = from_ms(start_ms), from_ms(end_ms)
        return self._window.run_close(key, start, end, self._total(cell), definitions)

    def forget(self, cell: Cell) -> None:
        key, *span = cell
        self._set(cell, GONE)
        if key in self._sessions:
            rest = tuple(old for old in self._sessions[key] if old != tuple(span))
            self._journal.put(self._sessions, key, rest or GONE)

    def pass_time(self, to_ms: int) -> None:
        self.counts["watermark"] = max(self.counts["watermark"], to_ms)

    def total_json(self, cell: Cell) -> str:
        """A window's total as text, for the report of one that could not speak."""
        return self._adapter.dump_json(self._total(cell)).decode()

    def changes(self) -> Iterable[tuple[list, bytes | None]]:
        """Cell and value (None: forgotten) of every window changed since the last call.

        One that came and went in between was never stored, and needs no word.
        """
        for cell in self._dirty:
            if (total := self._totals.get(cell, GONE)) is not GONE:
                self._stored.add(cell)
                yield ["window", self.name, *cell], self._adapter.dump_json(total)
            elif cell in self._stored:
                self._stored.remove(cell)
                yield ["window", self.name, *cell], None
        self._dirty.clear()

    def load(self, cell: Cell, value: bytes | None) -> None:
        key, start_ms, end_ms = cell
        known = cell in self._totals
        if value is None:
            self._totals.pop(cell, None)
            self._stored.discard(cell)
        else:
            self._stored.add(cell)
            self._totals[cell] = self._adapter.validate_json(value)
            heapq.heappush(self._ends, (end_ms, start_ms, key))
        if isinstance(self._window.spans, SessionGap) and known != (value is not None):
            spans = {*self._sessions.pop(key, ())} ^ {(start_ms, end_ms)}
            if spans:
                self._sessions[key] = tuple(sorted(spans))
