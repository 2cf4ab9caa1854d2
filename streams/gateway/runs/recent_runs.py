"""What has the pipeline said of the runs of the last minutes, and who waits for more of it?

Records are kept as they came, by the Kafka key of their session, and decoded when somebody asks:
hearing costs no decoding, and a reader is a place in a list, so that a slow one takes no memory.
Both the records and the names of runs are bounded; what is older is in ClickHouse. All of it
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
"""Of one session; and the runs whose names are remembered."""
RUNS_MAX = 100_000
OVERHEAD_BYTES = 200
NAMING = (RequestAdmitted, RequestRefused, RunFinished)
OUTCOMES = (RunFinished, RequestRefused)
ENDS = (*OUTCOMES, UserAsked)
"""What whoever asked waits for: the outcome, or a question back, whose answer is the session's next
request.
"""


class SessionRecord(NamedTuple):
    """A record of a session's topic."""

    kind: type[Event]
    key: bytes
    value: bytes


@dataclass(slots=True)
class KnownRun:
    """A run: whose it is, in which session, from which record on something may be said of it.

    `digest` is of the body that asked for it, where it was asked for here; `taken` when Kafka has
    acknowledged it.
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
    """The newest records of a session, each with its number; `gone` is the number of the newest
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
        """Returns when a record has come, or False when none came in time."""
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
    """What was heard, by session. `decode` gives the event of a record, or None where it is none."""

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
        """From now on the run is known; what is said of it later will be found."""
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
        """Whether Kafka has it for certain: it was acknowledged, or something was said of it."""
        known = self._runs.get(run)
        return known is not None and (
            known.taken or next(self.events(known, run, known.since, ANY), None) is not None
        )

    def outcome(self, run: UUID) -> Outcome | None:
        """The run's outcome, where it was heard."""
        known = self._runs.get(run)
        if known is None:
            return None
        return next((event for _, event in self.events(known, run, known.since, OUTCOMES)), None)

    async def wait(self, run: UUID, within_s: float) -> Outcome | UserAsked | None:
        """The run's outcome, or the agent's question to whoever asked; None where none came in
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
        """The session's story, which is not forgotten while somebody reads it."""
        log = self._logs.setdefault(known.key, SessionLog())
        log.readers += 1
        try:
            yield log
        finally:
            log.readers -= 1

    def events(
        self, known: KnownRun, run: UUID, place: int, kinds: tuple[type[E], ...]
    ) -> Iterator[tuple[int, E]]:
        """The run's events of these kinds from a place on, each with the place behind it."""
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
        """A run that somebody else asked for, or an approval."""
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
        """Drops the sessions that were quiet longest, those left out that somebody reads."""
        spared = 0
        while self.size > self._bytes_max and spared < len(self._logs):
            key, log = self._logs.popitem(last=False)
            if log.readers:
                self._logs[key] = log
                spared += 1
            else:
                self.size -= log.size
