"""Small events and steps for the engine's tests: counts of pings, and windows of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from schemas.events.base import Event, Instant, SessionEvent, UnprocessableError
from streams.engine.shapes import Fold, Step, Window

# A multiple of 1 to 12 ms since 1970, so that windows of these sizes begin at it.
START = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=27_720 * 64_000_000)


class Ping(SessionEvent):
    """Something happened `n` times. 13 cannot be processed."""

    n: int = 1
    sleep_ms: int = 0


class Counted(SessionEvent):
    total: int


class Doubled(SessionEvent):
    total: int


class Rang(SessionEvent):
    step_name: str


class Grouped(Event):
    """A window that is over, with the numbers in it."""

    who: str
    start: Instant
    end: Instant
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Count:
    total: int = 0
    rung: int = 0
    wake_at: datetime | None = None


def at(ms: int) -> datetime:
    return START + timedelta(milliseconds=ms)


def ping(
    number: int,
    ms: int = 0,
    n: int = 1,
    session: str = "s1",
    tenant: str = "acme",
    sleep_ms: int = 0,
) -> Ping:
    return Ping(
        id=UUID(int=number + 1), at=at(ms), tenant=tenant, session=session, n=n, sleep_ms=sleep_ms
    )


def count(state: Count, event: Ping | Rang) -> tuple[Count | None, list[Counted]]:
    """Counts; sleeps when told; forgets the key at a total of 0."""
    if isinstance(event, Rang):
        return replace(state, rung=state.rung + 1, wake_at=None), [
            event.then(Counted, total=-state.rung - 1)
        ]
    state = replace(state, total=state.total + event.n)
    if event.sleep_ms:
        state = replace(state, wake_at=event.at + timedelta(milliseconds=event.sleep_ms))
    return (state if state.total else None), [event.then(Counted, total=state.total)]


def double(event: Counted) -> Iterator[Doubled]:
    """Reads what `count` says, after it: a poison here must undo what `count` did."""
    if event.total % 13 == 0 and event.total:
        raise UnprocessableError("unlucky")
    yield event.then(Doubled, total=2 * event.total)


def none() -> tuple[int, ...]:
    return ()


def append(numbers: tuple[int, ...], event: Ping) -> tuple[int, ...]:
    return (*numbers, event.n)


def speak(key: str, start: datetime, end: datetime, numbers: tuple[int, ...]) -> Iterator[Grouped]:
    yield Grouped.about(
        key,
        start,
        end,
        at=start,
        tenant=key.partition("/")[0],
        who=key,
        start=start,
        end=end,
        numbers=numbers,
    )


def join(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return one + other


def grouping(spans, grace_ms: int = 0, close=speak) -> Step:
    window = Window(none, append, close, spans, timedelta(milliseconds=grace_ms), merge=join)
    return Step("group", window)


COUNT = Step("count", Fold(Count, count, wakes=Rang))
