"""What happened in the last hour, minute by minute: a bounded table in memory, and the JSON that
is made from it.

A cell counts one minute of one series (tenant, agent, model). Costs and tokens are counted when a
model call is metered, so a run that is still going shows what it has spent; runs and their waits
when the run is finished. Waits are kept in buckets 5 % wide, so that minutes and series can be
added up and a percentile is still within 3 %.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from schemas.events.base import Event
from schemas.events.operations import DeadLettered, LiveFigures
from schemas.money import money_text

KEPT_MINUTES = 60
MOST_SERIES = 2_000
OTHERS = ("(others)", "(others)", "(others)")
WIDTH = 1.05
DIMENSIONS = ("tenant", "agent", "model")
Series = tuple[str, str, str]
Minute = int
"""Minutes since 1970: event time, so that reading an hour back fills the minutes that it happened
in.
"""


@dataclass
class Cell:
    """Counts of one minute of one series. `waits` counts finished runs by bucket of their wait."""

    runs: int = 0
    errors: int = 0
    blocked: int = 0
    refused: int = 0
    verdicts: int = 0
    dead_letters: int = 0
    model_calls: int = 0
    unpriced_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    waits: Counter[int] = field(default_factory=Counter)

    def add(self, other: "Cell") -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


SUMMED = [
    one.name for one in fields(Cell) if one.type is int and one.name in LiveFigures.model_fields
]


def bucket(wait_ms: int) -> int:
    return math.ceil(math.log(wait_ms, WIDTH)) if wait_ms > 1 else 0


def percentile_ms(waits: Counter[int], share: float) -> float | None:
    """The wait that `share` of the runs did not exceed: the middle of its bucket. None where no run
    finished.
    """
    rank, seen = share * waits.total(), 0
    for index in sorted(waits):
        seen += waits[index]
        if seen >= rank:
            return round(WIDTH ** (index - 0.5), 1) if index else 1.0
    return None


def series_of(event: Event) -> Series:
    """Whom an event counts for. Where an event does not know its agent or model, that part is
    empty.
    """
    return event.tenant, getattr(event, "agent", ""), getattr(event, "model", "")


def count(cell: Cell, event: Event) -> None:
    """One event into the cell of its minute."""
    match event:
        case LiveFigures():
            for name in SUMMED:
                setattr(cell, name, getattr(cell, name) + getattr(event, name))
            cell.cost_usd += event.cost_usd or 0
            if event.wait_ms is not None:
                cell.waits[bucket(event.wait_ms)] += 1
        case DeadLettered():
            cell.dead_letters += 1


class LiveTable:
    """The cells of the last `KEPT_MINUTES`. Beyond MOST_SERIES series a minute, new ones count
    together as others.
    """

    def __init__(self) -> None:
        self._minutes: dict[Minute, dict[Series, Cell]] = {}

    def add(self, event: Event, now: datetime) -> None:
        minute, oldest = _minute(event.at), _minute(now) - KEPT_MINUTES
        if minute <= oldest:
            return
        cells = self._minutes.get(minute)
        if cells is None:
            for passed in [known for known in self._minutes if known <= oldest]:
                del self._minutes[passed]
            cells = self._minutes[minute] = {}
        series = series_of(event)
        if series not in cells and len(cells) >= MOST_SERIES:
            series = OTHERS
        count(cells.setdefault(series, Cell()), event)

    def view(self, now: datetime, minutes: int = KEPT_MINUTES) -> dict[str, Any]:
        """The last `minutes` (the running one included) as JSON values: `total`, `rows` a series,
        `tenants`, `agents`, `models`, and `by_minute` oldest first. Money is text, so that no digit
        is lost.
        """
        first, last = _minute(now) - minutes + 1, _minute(now)
        chosen = {
            minute: self._minutes[minute]
            for minute in sorted(self._minutes)
            if first <= minute <= last
        }
        every = [(series, cell) for cells in chosen.values() for series, cell in cells.items()]
        return {
            "minutes": minutes,
            "total": _row({}, _together(cell for _, cell in every)),
            "rows": _grouped(every, lambda series: series, DIMENSIONS),
            "tenants": _grouped(every, lambda series: series[:1], DIMENSIONS[:1]),
            "agents": _grouped(every, lambda series: series[1:2], DIMENSIONS[1:2]),
            "models": _grouped(every, lambda series: series[2:], DIMENSIONS[2:]),
            "by_minute": [
                _row({"minute": _at(minute).isoformat()}, _together(cells.values()))
                for minute, cells in chosen.items()
            ],
        }


def _minute(at: datetime) -> Minute:
    return int(at.timestamp() // 60)


def _at(minute: Minute) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(minutes=minute)


def _together(cells: Iterable[Cell]) -> Cell:
    total = Cell()
    for cell in cells:
        total.add(cell)
    return total


def _grouped(
    every: list[tuple[Series, Cell]],
    part: Callable[[Series], tuple[str, ...]],
    names: tuple[str, ...],
) -> list[dict[str, Any]]:
    """One row a group, the most runs first, then the most model calls, then by name."""
    groups: dict[tuple[str, ...], Cell] = {}
    for series, cell in every:
        groups.setdefault(part(series), Cell()).add(cell)
    ordered = sorted(
        groups.items(), key=lambda item: (-item[1].runs, -item[1].model_calls, item[0])
    )
    return [_row(dict(zip(names, group, strict=True)), cell) for group, cell in ordered]


def _row(names: dict[str, str], cell: Cell) -> dict[str, Any]:
    counts = {
        one.name: getattr(cell, one.name)
        for one in fields(cell)
        if one.name not in ("cost_usd", "waits")
    }
    return (
        names
        | counts
        | {
            "cost_usd": money_text(cell.cost_usd),
            "wait_p50_ms": percentile_ms(cell.waits, 0.50),
            "wait_p95_ms": percentile_ms(cell.waits, 0.95),
        }
    )
