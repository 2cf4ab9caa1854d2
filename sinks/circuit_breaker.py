"""Circuit breakers: an endpoint that fails too often is not called for a while.

A breaker opens where more than half of ten calls or more within half a minute failed. It stays open
for five seconds: then one call goes through as a probe. Where the probe fails too, the breaker
opens for twice as long, up to a minute.

Each call runner measures for itself: of N, each lets ten calls fail before it opens, and each
probes once. They need no coordination, as all of them see the same provider. Every transition is a
gauge and an event (`BreakerMoved`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from schemas.ports import Moved
from sinks.runtime import Runtime

WINDOW_S = 30.0
CALLS_MIN = 10
FAILING_SHARE = 0.5
OPEN_S = 5.0
OPEN_MAX_S = 60.0


class BreakerState(StrEnum):
    """The three states of a circuit breaker."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


GAUGE = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 0.5, BreakerState.OPEN: 1}


@dataclass(frozen=True)
class CircuitBreaker:
    """Calls and failures since `since`. `until` is when a probe may go out, None while closed;
    `times` counts how often it has opened in a row.
    """

    since: float = 0.0
    calls: int = 0
    failed: int = 0
    until: float | None = None
    times: int = 0
    probing: bool = False

    def state(self, now: float) -> BreakerState:
        """The state at a time."""
        if self.until is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self.probing or now >= self.until else BreakerState.OPEN

    def reported_state(self, now: float) -> BreakerState:
        """The state as it is reported: half open only once a probe is under way."""
        if self.until is not None and not self.probing:
            return BreakerState.OPEN
        return self.state(now)


def admit(breaker: CircuitBreaker, now: float) -> tuple[CircuitBreaker, bool]:
    """Whether a call may go out now, and the breaker after it has. Half open, one may at a time."""
    match breaker.state(now):
        case BreakerState.CLOSED:
            return breaker, True
        case BreakerState.HALF_OPEN if not breaker.probing:
            return replace(breaker, probing=True), True
    return breaker, False


def record(breaker: CircuitBreaker, probe: bool, good: bool | None, now: float) -> CircuitBreaker:
    """The breaker after a call. `good` None says nothing of the endpoint: the call was cancelled,
    or was the caller's mistake.

    A call that began before the breaker opened changes nothing when it ends after that.
    """
    if probe:
        if good is None:
            return replace(breaker, probing=False)
        return CircuitBreaker(since=now) if good else _opened(breaker, now)
    if breaker.until is not None or good is None:
        return breaker
    if now - breaker.since >= WINDOW_S:
        breaker = CircuitBreaker(since=now)
    breaker = replace(breaker, calls=breaker.calls + 1, failed=breaker.failed + (not good))
    failing = breaker.calls >= CALLS_MIN and breaker.failed > FAILING_SHARE * breaker.calls
    return _opened(breaker, now) if failing else breaker


def _opened(breaker: CircuitBreaker, now: float) -> CircuitBreaker:
    times = breaker.times + 1
    open_s = min(OPEN_MAX_S, OPEN_S * 2 ** (times - 1))
    return CircuitBreaker(until=now + open_s, times=times)


OnTransition = Callable[[str, str, BreakerState, float], None]
"""`on_transition(provider, name, state, open_s)`: a breaker changed its state, and stays open for
so long.
"""


class BreakerTransitions:
    """The transitions of one kind of breakers: a gauge at once, an event with the next result."""

    def __init__(self, kind: str, runtime: Runtime):
        self._kind = kind
        self._runtime = runtime
        self._pending: list[Moved] = []

    def __call__(self, provider: str, name: str, state: BreakerState, open_s: float) -> None:
        runtime = self._runtime
        if runtime.meter:
            runtime.meter.gauge(
                "weir_breaker_open", GAUGE[state], provider=provider or self._kind, model=name
            )
        self._pending.append(
            Moved(
                self._kind,
                provider,
                name,
                state.value,
                runtime.now(),
                round(open_s * 1000),
                runtime.worker,
            )
        )

    def take(self) -> tuple[Moved, ...]:
        """The transitions since the last call of this method."""
        pending = tuple(self._pending)
        self._pending = []
        return pending


class CircuitBreakers:
    """The breakers of a process, one a provider and model."""

    def __init__(self, on_transition: OnTransition = lambda *_: None):
        self._on_transition = on_transition
        self._breakers: dict[tuple[str, str], CircuitBreaker] = {}

    def admit(self, provider: str, model: str, now: float) -> bool | None:
        """Whether the call that may go out is a probe; None where none may."""
        before = self._breakers.get((provider, model), CircuitBreaker(since=now))
        after, may = admit(before, now)
        self._store(provider, model, after, now)
        return after.probing if may else None

    def record(self, provider: str, model: str, probe: bool, good: bool | None, now: float) -> None:
        """Notes how a call ended."""
        before = self._breakers.get((provider, model), CircuitBreaker(since=now))
        self._store(provider, model, record(before, probe, good, now), now)

    def wait_s(self, provider: str, model: str, now: float) -> float:
        """How long the breaker stays open."""
        until = self._breakers.get((provider, model), CircuitBreaker()).until
        return 0.0 if until is None else max(0.0, until - now)

    def _store(self, provider: str, model: str, after: CircuitBreaker, now: float) -> None:
        before = self._breakers.get((provider, model), CircuitBreaker(since=now))
        self._breakers[provider, model] = after
        state = after.reported_state(now)
        if state != before.reported_state(now):
            open_s = 0.0 if after.until is None or after.probing else after.until - now
            self._on_transition(provider, model, state, open_s)
