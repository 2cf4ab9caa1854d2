"""What the clients of this package take from their process: clock, pauses, randomness, metrics."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol


def now_utc() -> datetime:
    """The current time, in UTC."""
    return datetime.now(UTC)


class Meter(Protocol):
    """A process's counters and gauges."""

    def count(self, name: Any, by: float = 1, **labels: str) -> None: ...

    def gauge(self, name: Any, value: float, **labels: str) -> None: ...


@dataclass(frozen=True)
class Runtime:
    """A client's clock, pauses and jitter, where it counts, and the name of the worker it runs in.

    `chance` returns a number from 0 to 1 and spreads the pauses between attempts.
    """

    now: Callable[[], datetime] = now_utc
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random
    meter: Meter | None = None
    worker: str = ""


DEFAULT_RUNTIME = Runtime()
"""The real clock, and no metrics."""
