"""What should somebody look at, now, and where?

An alarm says what is wrong in one sentence and leads to the page that shows it. What is merely so
is no alarm.
"""

from collections.abc import Sequence
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
class Alarm:
    """One sentence, and the page of the console that shows more."""

    words: str
    path: str
    query: dict[str, str] = field(default_factory=dict)


def many(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def wrong(balance: Sequence[Row]) -> int:
    return sum(row["lost"] + row["doubled"] for row in balance)


def completeness(balance: Sequence[Row], now: datetime) -> Tile:
    """Does produced = landed + dead-lettered hold, for everything that was counted? And is it
    counted at all?
    """
    if not balance:
        return Tile("Completeness", "not counted yet", "counted once a minute")
    produced = sum(row["produced"] for row in balance)
    off = wrong(balance)
    last = max(row["last_counted"] for row in balance).replace(tzinfo=UTC)
    old = f", last at {last:%H:%M} UTC" if now - last > UNCOUNTED else ""
    return Tile(
        "Completeness",
        f"{off:,} wrong" if off else "balanced",
        f"of {produced:,} records counted{old}",
        bad=bool(off),
    )


def alarms(
    figures: Row, signs: Row, balance: Sequence[Row], delays: Sequence[Row], waiting: int
) -> list[Alarm]:
    """The worst first."""
    told = []
    if off := wrong(balance):
        topics = ", ".join(row["topic"] for row in balance if row["lost"] + row["doubled"])
        told.append(
            Alarm(
                f"{many(off, 'record is', 'records are')} lost or doubled, in {topics}: `./weir balance` says where",
                "",
            )
        )
    told += [
        Alarm(
            f"{row['consumer']} is {row['oldest_now_ms'] / 1000:,.0f} s behind, by {row['behind_now']:,} records",
            "topology",
        )
        for row in delays
        if row["oldest_now_ms"] > BEHIND_MS
    ]
    if signs["not_undone"]:
        told.append(
            Alarm(
                f"{many(signs['not_undone'], 'failed workflow', 'failed workflows')} did what could not be undone: "
                "`./weir query --named not_undone` says what",
                "runs",
                {"outcome": "failed"},
            )
        )
    if signs["not_asked"]:
        told.append(
            Alarm(
                f"{', '.join(sorted(signs['not_asked']))} failed so often that nobody asks for now",
                "quality",
            )
        )
    if figures["runs"] >= FAILED_LEAST and signs["failed"] / figures["runs"] >= FAILED_SHARE:
        told.append(
            Alarm(
                f"{signs['failed'] / figures['runs']:.0%} of the runs failed or were stopped",
                "runs",
                {"outcome": "failed"},
            )
        )
    if signs["dead_letters"]:
        told.append(
            Alarm(
                f"{many(signs['dead_letters'], 'record', 'records')} could not be processed",
                "letters",
            )
        )
    if waiting:
        told.append(
            Alarm(f"{many(waiting, 'call waits', 'calls wait')} for somebody's word", "approvals")
        )
    if signs["budget_share"]:
        told.append(
            Alarm(
                f"{signs['budget_of']} has spent {signs['budget_share']:.0%} of a budget",
                "cost",
                {"by": "tenant"},
            )
        )
    if signs["drifted"]:
        told.append(
            Alarm(
                f"{many(signs['drifted'], 'feature', 'features')} of agents moved against the week before",
                "quality",
            )
        )
    if figures["unpriced_calls"]:
        told.append(
            Alarm(
                f"{many(figures['unpriced_calls'], 'model call has', 'model calls have')} no known price",
                "cost",
            )
        )
    return told
