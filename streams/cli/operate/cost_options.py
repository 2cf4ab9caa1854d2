"""Options and helpers shared by the commands of `weir cost`: the period, the tenant, sums."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import typer

from streams.engine.errors import UserError

From = Annotated[
    str, typer.Option("--from", help="First day or moment, UTC; else the first of this month.")
]
To = Annotated[str, typer.Option("--to", help="Day or moment at which to stop, UTC; else now.")]
TenantOf = Annotated[str, typer.Option("--tenant", help="Only this tenant's.")]


def span(begin: str, end: str) -> tuple[datetime, datetime]:
    """From when to when. A UserError where a moment is none, or the end comes first."""
    now = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    first = moment(begin) if begin else now.replace(day=1, hour=0, minute=0, second=0)
    last = moment(end) if end else now
    if first >= last:
        raise UserError(
            f"--from {first:%Y-%m-%d %H:%M} is not before --to {last:%Y-%m-%d %H:%M}: turn them "
            "round"
        )
    return first, last


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(
            f"{text!r} is no day or moment: write 2026-11-26 or 2026-11-26T12:00"
        ) from error
    if not 1970 < at.year < 2100:  # what ClickHouse has moments for
        raise UserError(
            f"{text!r} is no day on which models were called: write 2026-11-26 or 2026-11-26T12:00"
        )
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def added(amounts: Any) -> Decimal | None:
    """The sum of what is known; None where nothing is."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if known else None


def spelled(names: Iterable[str]) -> list[str]:
    """Names of columns as words, so that a narrow window breaks them where people would."""
    return [name.replace("_", " ") for name in names]
