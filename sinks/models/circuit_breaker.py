"""Is a model to be asked at all now, or has it failed so often lately that the next one is asked at
once?

A breaker opens where more than half of ten calls or more within half a minute failed. It stays open
for five seconds (the gateways read for this wait 5 s to 30 s, and none of them probes): then one
call goes through as a probe. Where that fails too the breaker opens for twice as long, up to a
minute.

Each call runner measures for itself: of N, each lets ten calls fail before it opens, and each
probes once. They agree without a word between them, as all of them see the same provider. Every
move is a gauge and an event (`BreakerMoved`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from schemas.ports import Moved

WINDOW_S = 30.0
CALLS_MIN = 10
FAILING_SHARE = 0.5
OPEN_S = 5.0
OPEN_MAX_S = 60.0


class State(StrEnum):
    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


@dataclass(frozen=True)
class Breaker:
    """Calls and failures since `since`; `until` is when it may be probed, None while closed;
    `times` it has opened in a row.
    """

    since: float = 0.0
    calls: int = 0
    failed: int = 0
    until: float | None = None
    times: int = 0
    probing: bool = False

    def state(self, now: float) -> State:
        if self.until is None:
            return State.CLOSED
        return State.HALF_OPEN if self.probing or now >= self.until else State.OPEN


def admit(breaker: Breaker, now: float) -> tuple[Breaker, bool]:
    """Whether a call may go out now, and the breaker after it has. Half open, one may at a time."""
    match breaker.state(now):
        case State.CLOSED:
            return breaker, True
        case State.HALF_OPEN if not breaker.probing:
            return replace(breaker, probing=True), True
    return breaker, False


def ended(breaker: Breaker, probe: bool, good: bool | None, now: float) -> Breaker:
    """After a call. `good` None says nothing of the model: it was given up on, or it was our
    mistake.

    What was asked before the breaker opened changes nothing any more when it ends.
    """
    if probe:
        if good is None:
            return replace(breaker, probing=False)
        return Breaker(since=now) if good else _opened(breaker, now)
    if breaker.until is not None or good is None:
        return breaker
    if now - breaker.since >= WINDOW_S:
        breaker = Breaker(since=now)
    breaker = replace(breaker, calls=breaker.calls + 1, failed=breaker.failed + (not good))
    failing = breaker.calls >= CALLS_MIN and breaker.failed > FAILING_SHARE * breaker.calls
    return _opened(breaker, now) if failing else breaker


def _opened(breaker: Breaker, now: float) -> Breaker:
    times = breaker.times + 1
    return Breaker(until=now + min(OPEN_MAX_S, OPEN_S * 2 ** (times - 1)), times=times)


class Meter(Protocol):
    """Where numbers go."""

    def count(self, name: Any, by: float = 1, **labels: str) -> None: ...

    def gauge(self, name: Any, value: float, **labels: str) -> None: ...


Tell = Callable[[str, str, State, float], None]
"""`tell(provider, name, state, open_s)`: a breaker has another state now, and stays open for so
long.
"""


class Moves:
    """What the breakers of one kind did: a gauge at once, and told with the next answer that goes
    out.
    """

    def __init__(
        self, kind: str, now: Callable[[], datetime], meter: Meter | None = None, runner: str = ""
    ):
        self._kind = kind
        self._now = now
        self._meter = meter
        self._runner = runner
        self._untold: list[Moved] = []

    def __call__(self, provider: str, name: str, state: State, open_s: float) -> None:
        if self._meter:
            self._meter.gauge(
                "weir_breaker_open",
                {State.CLOSED: 0, State.HALF_OPEN: 0.5, State.OPEN: 1}[state],
                provider=provider or self._kind,
                model=name,
            )
        self._untold.append(
            Moved(
                self._kind,
                provider,
                name,
                state.value,
                self._now(),
                round(open_s * 1000),
                self._runner,
            )
        )

    def take(self) -> tuple[Moved, ...]:
        """What was not told yet."""
        told = tuple(self._untold)
        self._untold = []
        return told


class Breakers:
    """The breakers of a process, one a provider and model."""

    def __init__(self, moved: Tell = lambda *_: None):
        self._moved = moved
        self._known: dict[tuple[str, str], Breaker] = {}

    def admit(self, provider: str, model: str, now: float) -> bool | None:
        """Whether the call that may go out is a probe; None where none may."""
        before = self._known.get((provider, model), Breaker(since=now))
        after, may = admit(before, now)
        self._keep(provider, model, before, after, now)
        return after.probing if may else None

    def ended(self, provider: str, model: str, probe: bool, good: bool | None, now: float) -> None:
        before = self._known.get((provider, model), Breaker(since=now))
        self._keep(provider, model, before, ended(before, probe, good, now), now)

    def wait_s(self, provider: str, model: str, now: float) -> float:
        """How long the breaker stays open."""
        until = self._known.get((provider, model), Breaker()).until
        return 0.0 if until is None else max(0.0, until - now)

    def _keep(self, provider: str, model: str, before: Breaker, after: Breaker, now: float) -> None:
        self._known[provider, model] = after
        shown = State.OPEN if after.until is not None and not after.probing else after.state(now)
        was = State.OPEN if before.until is not None and not before.probing else before.state(now)
        if shown != was:
            self._moved(provider, model, shown, after.until - now if shown is State.OPEN else 0.0)
