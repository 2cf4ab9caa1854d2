"""The calls that a stage makes itself, beside its transactions.

The stage's own thread polls Kafka, changes the state and commits; an asyncio loop in a second
thread makes the calls. A question stands in the state of the stage until its answer is told, so a
crash loses nothing: whoever has the partition next asks again. That is why only calls are made here
whose repetition harms nobody.

- A call begins while its question is being committed, and its answer is kept until that is
  committed. If the transaction is aborted and the same words are asked again, the answer is
  delivered again, or the call that is still under way is adopted.
- What is asked again after a restart first says so, and is asked when that is committed: how often
  a question was asked is known, and one that ends its process every time is given up. Repetitions
  take at most a third of the places, so new questions do not queue behind them.
- A call of a partition that was lost for good is cancelled; its new owner asks again.
- Asked to end, nothing more begins here, and what runs may end.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from schemas.definitions.kinds import Definitions
from schemas.events.base import Event
from schemas.ports import ChatQuestion, Failure
from streams.engine.calls.asking import Port, Report, answer_of
from streams.engine.calls.cancellation import Endings
from streams.engine.calls.in_flight import Begin, CallKey, Deliver, InFlight
from streams.engine.shapes import Step

log = logging.getLogger(__name__)

REPEATABLE = ("pure", "idempotent")
REPEATED_SHARE = 3
ATTEMPTS_MAX = 25
BEAT_S = 1.0


class Asked(Protocol):
    """A question as the stage's state has it."""

    @property
    def step(self) -> Step: ...
    @property
    def event(self) -> Event: ...
    @property
    def attempt(self) -> int: ...
    @property
    def key(self) -> CallKey: ...


class UnaskableError(Exception):
    """A question cannot be made of its event: a mistake in the step, or in a definition."""


@dataclass(frozen=True)
class Answered:
    """The answer to a question, for the stage's thread."""

    partition: int
    key: CallKey
    answer: Any


@dataclass(frozen=True)
class AskedAgain:
    """A question is about to be asked again, and waits until that is committed."""

    partition: int
    key: CallKey


class StageCalls:
    """The calls of one stage worker. All methods are for the stage's thread, which reads `done`."""

    def __init__(
        self,
        ports: Mapping[str, Port],
        definitions: Callable[[], Definitions],
        at_once: int,
        report: Report,
    ):
        self.done: queue.SimpleQueue[Answered | AskedAgain | BaseException] = queue.SimpleQueue()
        self.running = 0
        self._beat_at = time.monotonic()
        self._ports, self._definitions, self._report = ports, definitions, report
        self._loop = asyncio.new_event_loop()
        self._places = asyncio.Semaphore(at_once)
        self._repeats = asyncio.Semaphore(max(1, at_once // REPEATED_SHARE))
        self._calls = InFlight()
        self._leave: dict[CallKey, asyncio.Future[None]] = {}
        self._endings = Endings()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="stage-calls", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many calls are under way or wait for a place."""
        return len(self._calls)

    def ask(self, partition: int, call: Asked, again: bool = False) -> None:
        """Asks, unless it is being asked or was answered. `again`: by a process before this one."""
        self._soon(self._ask, partition, call, again)

    def committed(self, answered: Iterable[CallKey], repeated: Iterable[CallKey]) -> None:
        """The answers to the first, and that the second are asked again, are committed."""
        self._soon(self._committed, tuple(answered), tuple(repeated))

    def give_up(self, keys: Iterable[CallKey]) -> None:
        """These are not to be made: what would allow them was not committed, or nobody waits."""
        self._soon(lambda: self._cancel(self._calls.give_up(keys)))

    def keep_only(self, partitions: Collection[int]) -> None:
        """Calls of other partitions end."""
        self._soon(lambda: self._cancel(self._calls.keep_only(partitions)))

    def over(self, session: str, run: UUID) -> None:
        """A run has ended: what it still asks is given up, and answered with a failure."""
        self._soon(self._endings.over, session, run)

    def close(self) -> None:
        """From now on nothing begins."""
        self._closed = True

    def stop(self) -> None:
        """Ends the loop, whatever runs."""
        self._soon(self._loop.stop)
        self._thread.join(2)

    def _soon(self, function: Callable[..., Any], *args: Any) -> None:
        self._loop.call_soon_threadsafe(function, *args)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._beat)
        self._loop.run_forever()

    def _beat(self) -> None:
        self._beat_at = time.monotonic()
        self._loop.call_later(BEAT_S, self._beat)

    @property
    def silent_s(self) -> float:
        """How long the loop has not come around: something blocks it."""
        return time.monotonic() - self._beat_at

    def _ask(self, partition: int, call: Asked, again: bool) -> None:
        match self._calls.ask(call.key, partition):
            case Deliver(answer):
                self.done.put(Answered(partition, call.key, answer))
            case Begin() if not self._closed:
                work = self._repeated(partition, call) if again else self._made(partition, call)
                task = self._loop.create_task(work)
                task.add_done_callback(self._fail)
                self._calls.begun(call.key, partition, task)

    def _fail(self, task: asyncio.Task[None]) -> None:
        """A mistake of this module must not leave a question without an answer in silence."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.done.put(error)

    def _committed(self, answered: tuple[CallKey, ...], repeated: tuple[CallKey, ...]) -> None:
        self._calls.committed(answered)
        for key in repeated:
            leave = self._leave.get(key)
            if leave is not None and not leave.done():
                leave.set_result(None)

    @staticmethod
    def _cancel(tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()

    async def _repeated(self, partition: int, call: Asked) -> None:
        async with self._repeats:
            leave = self._leave[call.key] = self._loop.create_future()
            self.done.put(AskedAgain(partition, call.key))
            try:
                await leave
            finally:
                if self._leave.get(call.key) is leave:
                    del self._leave[call.key]
            await self._made(partition, call, again=True)

    async def _made(self, partition: int, call: Asked, again: bool = False) -> None:
        answer = None
        try:
            async with self._places:
                if not self._closed:
                    answer = await self._counted(call, again)
        finally:
            ours = self._calls.ended(call.key, asyncio.current_task(), answer)
        if ours and answer is not None:
            self.done.put(Answered(partition, call.key, answer))

    async def _counted(self, call: Asked, again: bool) -> Any:
        self.running += 1
        try:
            return await self._answer(call, again)
        finally:
            self.running -= 1

    async def _answer(self, call: Asked, again: bool) -> Any:
        by, now = call.step.call, datetime.now(UTC)
        if call.attempt >= ATTEMPTS_MAX:
            detail = f"it was asked {call.attempt} times, and no process lived to hear an answer"
            return Failure("asked_too_often", detail, now, now, call.attempt)
        try:
            asked = by.run_ask(call.event, self._definitions())
            port = self._ports[by.port]
            effect = getattr(asked, "effect", "pure")
            if effect not in REPEATABLE:
                raise TypeError(f"{call.step.name} asks what must not be repeated: {effect}")
        except Exception as error:
            log.exception("a question cannot be made")
            unaskable = UnaskableError(f"{type(error).__name__}: {error}")
            unaskable.__cause__ = error
            return unaskable
        if again and isinstance(asked, ChatQuestion):
            asked = replace(asked, again=True)
        return await answer_of(by.port, port, call.event, asked, self._endings, self._report)
