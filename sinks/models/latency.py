"""The mean latency of models, and the budget of hedged requests.

Both are measured in this process only: they choose between ways that are right either way. A budget
of hedges is a share of the requests that this process made, so it holds for any number of processes
together, and after any restart.
"""

from dataclasses import dataclass

WEIGHT = 0.3
FORGET_S = 300.0
"""After so long without an answer a model is unknown again, and is tried: no model counts as slow
for ever.
"""
SAVED_MAX = 10.0
ROUNDED = 1e-9
"""Ten times a tenth is a little less than one."""


@dataclass(frozen=True)
class Latency:
    """The mean time to an answer, the newest weighing most, and when the last one came."""

    seconds: float
    at: float


class LatencyTracker:
    """The exponentially weighted mean time to an answer, by model."""

    def __init__(self) -> None:
        self._known: dict[str, Latency] = {}

    def note(self, model: str, seconds: float, now: float) -> None:
        before = self.of(model, now)
        mean = seconds if before is None else before + WEIGHT * (seconds - before)
        self._known[model] = Latency(mean, now)

    def of(self, model: str, now: float) -> float | None:
        """The mean in seconds; None where nothing is known, or nothing recent."""
        pace = self._known.get(model)
        return None if pace is None or now - pace.at > FORGET_S else pace.seconds

    def fastest_first(self, models: list[str], now: float) -> list[str]:
        """The models in the order of their latency. Unknown ones come first: they have to be called
        to be measured.
        """
        return sorted(models, key=lambda model: self.of(model, now) or 0.0)


class HedgeBudgets:
    """How many requests may be hedged: at most a share of those made so far, by route. What is not
    used is kept for a burst of ten.
    """

    def __init__(self) -> None:
        self._left: dict[str, float] = {}

    def asked(self, route: str, share: float) -> None:
        self._left[route] = min(SAVED_MAX, self._left.get(route, 0.0) + share)

    def take(self, route: str) -> bool:
        left = self._left.get(route, 0.0)
        if left < 1.0 - ROUNDED:
            return False
        self._left[route] = left - 1.0
        return True
