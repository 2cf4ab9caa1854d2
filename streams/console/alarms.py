"""Alerts of the first page: what needs attention, and the page that shows it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from streams.console.page import Tile

BEHIND_MS = 60_000
UNCOUNTED = timedelta(minutes=5)
FAILED_SHARE = 0.1
FAILED_LEAST = 5
Row = dict[str, Any]


@dataclass(frozen=True)
class Alert:
    """One sentence, and the page of the console that shows more."""

    words: str
    path: str
    query: dict[str, str] = field(default_factory=dict)


def many(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def unbalanced_records(balance: Sequence[Row]) -> int:
    return sum(row["lost"] + row["doubled"] for row in balance)


def completeness(balance: Sequence[Row], now: datetime) -> Tile:
    """Whether produced = stored + dead-lettered, for everything that was counted, and when it was
    counted last.
    """
    if not balance:
        return Tile("Completeness", "not counted yet", "counted once a minute")
    produced = sum(row["produced"] for row in balance)
    off = unbalanced_records(balance)
    last = max(row["last_counted"] for row in balance).replace(tzinfo=UTC)
    old = f", last at {last:%H:%M} UTC" if now - last > UNCOUNTED else ""
    return Tile(
        "Completeness",
        f"{off:,} wrong" if off else "balanced",
        f"of {produced:,} records counted{old}",
        bad=bool(off),
    )


def alerts(
    figures: Row, signs: Row, balance: Sequence[Row], delays: Sequence[Row], waiting: int
) -> list[Alert]:
    """What somebody should look at, the most severe first."""
    return [
        *_lost_records(balance),
        *_lag(delays),
        *_failures(figures, signs),
        *_waiting(signs, waiting),
        *_spending(figures, signs),
    ]


def _lost_records(balance: Sequence[Row]) -> Iterator[Alert]:
    if off := unbalanced_records(balance):
        topics = ", ".join(row["topic"] for row in balance if row["lost"] + row["doubled"])
        records = many(off, "record is", "records are")
        yield Alert(f"{records} lost or doubled, in {topics}: `./weir balance` says where", "")


def _lag(delays: Sequence[Row]) -> Iterator[Alert]:
    for row in delays:
        if row["oldest_now_ms"] > BEHIND_MS:
            behind_s = row["oldest_now_ms"] / 1000
            yield Alert(
                f"{row['consumer']} is {behind_s:,.0f} s behind, by {row['behind_now']:,} records",
                "topology",
            )


def _failures(figures: Row, signs: Row) -> Iterator[Alert]:
    failed = {"outcome": "failed"}
    if signs["not_undone"]:
        workflows = many(signs["not_undone"], "failed workflow", "failed workflows")
        yield Alert(
            f"{workflows} did what could not be undone: `./weir query --named not_undone` says what",
            "runs",
            failed,
        )
    if signs["not_asked"]:
        names = ", ".join(sorted(signs["not_asked"]))
        yield Alert(f"the circuit breaker of {names} is open: no calls are made for now", "quality")
    if figures["runs"] >= FAILED_LEAST and signs["failed"] / figures["runs"] >= FAILED_SHARE:
        share = signs["failed"] / figures["runs"]
        yield Alert(f"{share:.0%} of the runs failed or were stopped", "runs", failed)


def _waiting(signs: Row, waiting: int) -> Iterator[Alert]:
    if signs["dead_letters"]:
        records = many(signs["dead_letters"], "record", "records")
        yield Alert(f"{records} could not be processed", "dead-letters")
    if waiting:
        yield Alert(f"{many(waiting, 'call waits', 'calls wait')} for an approval", "approvals")


def _spending(figures: Row, signs: Row) -> Iterator[Alert]:
    if signs["budget_share"]:
        yield Alert(
            f"{signs['budget_of']} has spent {signs['budget_share']:.0%} of a budget",
            "cost",
            {"by": "tenant"},
        )
    if signs["drifted"]:
        features = many(signs["drifted"], "feature", "features")
        yield Alert(f"{features} of agents moved against the week before", "quality")
    if figures["unpriced_calls"]:
        calls = many(figures["unpriced_calls"], "model call has", "model calls have")
        yield Alert(f"{calls} no known price", "cost")
