"""Figures for people: percentiles and money."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which a share (0 to 1) of the values lies; None of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def usd(value: Any) -> str:
    """Money for people: unpriced is said, never shown as zero."""
    return "unpriced" if value is None else f"${Decimal(value):.6f}"


def spent(own: Any, total: Any) -> str:
    """What a run cost, and with the agents that it asked where it asked any."""
    return (
        usd(own)
        if total in (None, own)
        else f"{usd(own)}, {usd(total)} with the agents that it asked"
    )
