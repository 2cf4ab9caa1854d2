"""The events of the runs of the last minutes, in memory.

Records are kept encoded, by the Kafka key of their session, and decoded when they are needed:
receiving costs no decoding, and a reader is a position in a list, so that a slow one takes no
memory. Both the records and the names of runs are bounded; older ones are in ClickHouse. All of it
belongs to one event loop.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar
from uuid import UUID

from schemas.events.agent.approvals import ApprovalAsked, UserAsked
from schemas.events.agent.runs import RequestAdmitted, RequestRefused, RunFinished
from schemas.events.base import Event, SessionEvent

E = TypeVar("E", bound=Event)
Outcome = RunFinished | RequestRefused
ANY = (SessionEvent,)
RECORDS_MAX = 2_000
"""The most records of one session."""
RUNS_MAX = 100_000
OVERHEAD_BYTES = 200
NAMING = (RequestAdmitted, RequestRefused, RunFinished)
OUTCOMES = (RunFinished, RequestRefused)
ENDS = (*OUTCOMES, UserAsked)
"""What a caller waits for: the outcome, or a question back, which the session's next request
answers.
"""


class SessionRecord(NamedTuple):
    """A record of a session's topic."""

    kind: type[Event]
    key: bytes
    value: bytes


@dataclass(slots=True)
class KnownRun:
    """A run: its tenant, its session, and the number of the first record that may concern it.

    `digest` is of the body that requested it, where it was requested here; `taken` is set when
    Kafka has acknowledged it.
    """

    tenant: str
    session: str
    since: int
    digest: str = ""
    taken: bool = False

    @property
    def key(self) -> bytes:
        return f"{self.tenant}/{self.session}".encode()


@dataclass(slots=True)
class SessionLog:
    """The newest records of a session, each with its number; `gone` is the number of the newest one
    that was dropped.
    """

    records: deque[tuple[int, SessionRecord]] = field(default_factory=deque)
    size: int = 0
    gone: int = -1
    waiting: set[asyncio.Future] = field(default_factory=set)
    readers: int = 0

    def changed(self) -> None:
        for one in self.waiting:
            if not one.done():
                one.set_result(None)
        self.waiting.clear()

    async def change(self, within_s: float) -> bool:
        """Returns True when a record has come, False when none came in time."""
        one = asyncio.get_running_loop().create_future()
        self.waiting.add(one)
        try:
            await asyncio.wait_for(one, within_s)
        except TimeoutError:
            return False
        finally:
            self.waiting.discard(one)
        return True


class RecentRuns:
    """The recent records, by session. `decode` gives the event of a record, or None where it is
    none.
    """

    def __init__(
        self,
        decode: Callable[[SessionRecord], Event | None],
        bytes_max: int,
        records_max: int = RECORDS_MAX,
        runs_max: int = RUNS_MAX,
    ):
        self._decode = decode
        self._bytes_max = bytes_max
        self._records_max = records_max
        self._runs_max = runs_max
        self._logs: OrderedDict[bytes, SessionLog] = OrderedDict()
        self._runs: OrderedDict[UUID, KnownRun] = OrderedDict()
        self._mine: dict[bytes, int] = {}
        self._next = 0
        self.size = 0

    def take(self, batch: list[SessionRecord]) -> None:
        touched = set()
        for heard in batch:
            if heard.kind is ApprovalAsked or (
                heard.kind in NAMING and heard.key not in self._mine
            ):
                self._name(heard)
            self._append(heard)
            touched.add(heard.key)
        for key in touched:
            if key in self._logs:
                self._logs[key].changed()
        self._forget()

    def expect(self, run: UUID, tenant: str, session: str, digest: str = "") -> KnownRun:
        """Makes the run known before its events come."""
        known = self._runs.get(run)
        if known is None or (not known.taken and known.session != session):
            known = self._runs[run] = KnownRun(tenant, session, self._next, digest)
            self._mine[known.key] = self._mine.get(known.key, 0) + 1
            if len(self._runs) > self._runs_max:
                self._unname()
        if not known.taken:
            known.digest = digest
        return known

    def find(self, run: UUID) -> KnownRun | None:
        return self._runs.get(run)

    def is_acknowledged(self, run: UUID) -> bool:
        """Whether Kafka certainly has the run: it was acknowledged, or an event of it came."""
        known = self._runs.get(run)
        return known is not None and (
            known.taken or next(self.events(known, run, known.since, ANY), None) is not None
        )

    def outcome(self, run: UUID) -> Outcome | None:
        """The run's outcome, if it has come."""
        known = self._runs.get(run)
        if known is None:
            return None
        return next((event for _, event in self.events(known, run, known.since, OUTCOMES)), None)

    async def wait(self, run: UUID, within_s: float) -> Outcome | UserAsked | None:
        """The run's outcome, or the agent's question to the caller; None where neither came in
        time.
        """
        known = self._runs[run]
        loop = asyncio.get_running_loop()
        place = known.since
        until = loop.time() + within_s
        with self.reading(known) as log:
            while True:
                for _, event in self.events(known, run, place, ENDS):
                    if not isinstance(event, UserAsked) or event.request == run:
                        return event
                place = self._next
                if not await log.change(until - loop.time()):
                    return None

    @contextmanager
    def reading(self, known: KnownRun) -> Iterator[SessionLog]:
        """The session's log, which is not dropped while it is read."""
        log = self._logs.setdefault(known.key, SessionLog())
        log.readers += 1
        try:
            yield log
        finally:
            log.readers -= 1

    def events(
        self, known: KnownRun, run: UUID, place: int, kinds: tuple[type[E], ...]
    ) -> Iterator[tuple[int, E]]:
        """The run's events of these kinds from a position on, each with the position after it."""
        log = self._logs.get(known.key)
        for number, heard in list(log.records) if log else ():
            if number >= place and issubclass(heard.kind, kinds):
                event = self._decode(heard)
                if isinstance(event, kinds) and run in (
                    getattr(event, "run", None),
                    getattr(event, "request", None),
                ):
                    yield number + 1, event

    def _append(self, heard: SessionRecord) -> None:
        log = self._logs.get(heard.key)
        if log is None:
            log = self._logs[heard.key] = SessionLog()
        self._logs.move_to_end(heard.key)
        self._grow(log, OVERHEAD_BYTES + len(heard.value))
        log.records.append((self._next, heard))
        self._next += 1
        if len(log.records) > self._records_max:
            log.gone, dropped = log.records.popleft()
            self._grow(log, -OVERHEAD_BYTES - len(dropped.value))

    def _grow(self, log: SessionLog, by: int) -> None:
        log.size += by
        self.size += by

    def _name(self, heard: SessionRecord) -> None:
        """Makes a run known that another gateway requested, or an approval."""
        event = self._decode(heard)
        if isinstance(event, ApprovalAsked):
            name = event.id
        elif isinstance(event, NAMING):
            name = event.run
        else:
            return
        if name is not None and name not in self._runs:
            self._runs[name] = KnownRun(event.tenant, event.session, self._next)
            if len(self._runs) > self._runs_max:
                self._unname()

    def _unname(self) -> None:
        _, known = self._runs.popitem(last=False)
        left = self._mine.get(known.key, 0) - 1
        if left > 0:
            self._mine[known.key] = left
        else:
            self._mine.pop(known.key, None)

    def _forget(self) -> None:
        """Drops the sessions that were quiet longest, except those that are being read."""
        spared = 0
        while self.size > self._bytes_max and spared < len(self._logs):
            key, log = self._logs.popitem(last=False)
            if log.readers:
                self._logs[key] = log
                spared += 1
            else:
                self.size -= log.size
