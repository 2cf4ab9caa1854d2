"""Dispatches calls: hundreds at once, and those of one key one after the other where they are
ordered.

A lane is a topic and a key. It asks its questions in order on one asyncio loop, in a thread of its
own; the Kafka thread gives questions and takes outcomes. A call under way outlives the loss of its
partition: when the same process gets the partition back, which every rebalance brings about, the
question is found under way and not asked again.
"""

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from confluent_kafka import Message

from schemas.definitions.kinds import Definitions
from schemas.events.base import Event, UnprocessableError
from schemas.events.operations import Reason
from schemas.ports import ChatQuestion, Failure, Uncertain
from schemas.wire.codec import DecodeError
from streams.engine.calls.asking import Port, Report, answer_of
from streams.engine.calls.cancellation import Endings
from streams.engine.calls.offset_tracker import Tracker
from streams.engine.monitoring.telemetry import Metrics
from streams.engine.shapes import Step

log = logging.getLogger(__name__)

NAME = "calls"
LEASE_PAUSE_S = 0.05
MARKED = ("once", "reconcilable")
"""Effects of which a crash must leave a trace: the one is never begun again, the other first asked
about.
"""


class Place(NamedTuple):
    """Where a question stands."""

    topic: str
    partition: int
    offset: int


@dataclass(eq=False)
class Part:
    """A partition of questions in this worker's hands, until it is not `live`. `draining`: nothing
    new is begun.
    """

    topic: str
    partition: int
    step: Step
    tracker: Tracker
    records: dict[int, Message] = field(default_factory=dict)
    live: bool = True
    draining: bool = False
    running: int = 0
    paused: bool = False
    new: bool = False


@dataclass(frozen=True)
class Question:
    """`started`: it is marked as begun by a predecessor, and must not be begun again. `again`: a
    predecessor had read it, and is likely to have begun it.
    """

    part: Part
    offset: int
    event: Event
    started: bool = False
    again: bool = False

    @property
    def place(self) -> Place:
        return Place(self.part.topic, self.part.partition, self.offset)


@dataclass(frozen=True)
class Outcome:
    """What a question led to: events, or the reason and detail of a dead letter."""

    events: tuple[Event, ...] = ()
    dead: tuple[Reason, str] | None = None


@dataclass(frozen=True)
class Finished:
    part: Part
    offset: int
    outcome: Outcome


@dataclass(frozen=True)
class Mark:
    """A question that may be begun once its mark is committed, and never without: `granted` says
    so.
    """

    part: Part
    offset: int
    granted: Callable[[bool], None]


class Lanes:
    """The asyncio side. `dispatch`, `forget` and `keep` are for the Kafka thread; what ends goes
    into `done`, and so does an error of a lane itself.
    """

    def __init__(
        self,
        ports: Mapping[str, Port],
        definitions: Callable[[], Definitions],
        at_once: int,
        may_begin: Callable[[], bool],
        stopping: threading.Event,
        metrics: Metrics,
    ):
        self.done: queue.SimpleQueue[Finished | Mark | Exception] = queue.SimpleQueue()
        self._ports, self._definitions, self._may_begin = ports, definitions, may_begin
        self._stopping, self._report = stopping, Report(metrics, NAME)
        self._loop = asyncio.new_event_loop()
        self._free = asyncio.Semaphore(at_once)
        self._lanes: dict[tuple[str, str], deque[Question]] = {}
        self._calls: dict[Place, asyncio.Task[Outcome]] = {}
        self._once: set[Place] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.endings = Endings()
        threading.Thread(target=self._run, name="lanes", daemon=True).start()

    def dispatch(self, questions: list[Question]) -> None:
        self._loop.call_soon_threadsafe(self._dispatch, questions)

    def forget(self, places: Iterable[Place]) -> None:
        """These are answered, and it is committed."""
        self._loop.call_soon_threadsafe(self._forget, tuple(places))

    def keep(self, held: set[tuple[str, int]]) -> None:
        """Calls of other partitions end here; one that must not happen twice is let run, for its
        effect.
        """
        self._loop.call_soon_threadsafe(self._keep, held)

    def over(self, session: str, run: UUID) -> None:
        """A run has ended: what of it may be given up is."""
        self._loop.call_soon_threadsafe(self.endings.over, session, run)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _dispatch(self, questions: list[Question]) -> None:
        for question in questions:
            key = question.part.topic, question.event.partition_key()
            if not question.part.step.call.ordered:
                key = question.part.topic, f"{question.part.partition}@{question.offset}"
            lane = self._lanes.get(key)
            if lane is None:
                self._lanes[key] = deque([question])
                self._start(self._lane(key))
            else:
                lane.append(question)

    async def _lane(self, key: tuple[str, str]) -> None:
        lane = self._lanes[key]
        while lane:
            question = lane[0]
            question.part.running += 1
            try:
                await self._one(question)
            except Exception as error:
                # A lane that stopped would keep its key for ever: the Kafka thread raises it.
                self.done.put(error)
            question.part.running -= 1
            lane.popleft()
        del self._lanes[key]

    async def _one(self, question: Question) -> None:
        under_way = self._calls.get(question.place)
        if under_way is None:
            under_way = await self._begun(question)
            if under_way is None:
                return
        else:
            await asyncio.wait([under_way])
        if not under_way.cancelled() and question.part.live:
            self.done.put(Finished(question.part, question.offset, under_way.result()))

    async def _begun(self, question: Question) -> asyncio.Task[Outcome] | None:
        """The call, ended; None where it may not be begun any more."""
        if question.started and not self._may_be_asked(question):
            return await self._ended(
                question, self._told(question, _unknown(question), self._definitions())
            )
        async with self._free:
            while question.part.live and not self._may_begin():
                await asyncio.sleep(LEASE_PAUSE_S)
            if self._is_late(question):
                return None
            definitions = self._definitions()
            try:
                asked: Any = question.part.step.call.run_ask(question.event, definitions)
            except Exception as error:
                return await self._ended(question, _dead(error))
            if question.started:
                asked = replace(asked, begun=True)
            elif question.again and isinstance(asked, ChatQuestion):
                asked = replace(asked, again=True)
            elif getattr(asked, "effect", None) in MARKED and not await self._marked(question):
                return None
            return await self._ended(question, self._answer(question, asked, definitions))

    def _may_be_asked(self, question: Question) -> bool:
        """Whether of a call that was begun before a crash somebody can say if it happened."""
        try:
            asked = question.part.step.call.run_ask(question.event, self._definitions())
        except Exception as error:
            log.error("what was begun before a crash cannot be asked about", exc_info=error)
            return False
        return (
            getattr(asked, "effect", None) == "reconcilable"
            and getattr(asked, "reconcile", None) is not None
        )

    async def _ended(self, question: Question, work: Any) -> asyncio.Task[Outcome]:
        task = self._calls[question.place] = self._start(work)
        await asyncio.wait([task])
        return task

    def _is_late(self, question: Question) -> bool:
        return not question.part.live or question.part.draining or self._stopping.is_set()

    async def _marked(self, question: Question) -> bool:
        """Whether the mark is committed and this process may still act."""
        granted: asyncio.Future[bool] = self._loop.create_future()

        def say(yes: bool) -> None:
            self._loop.call_soon_threadsafe(granted.set_result, yes)

        self._once.add(question.place)
        self.done.put(Mark(question.part, question.offset, say))
        return await granted and self._may_begin() and question.part.live

    async def _answer(self, question: Question, asked: Any, definitions: Definitions) -> Outcome:
        name = question.part.step.call.port
        answer = await answer_of(
            name, self._ports[name], question.event, asked, self.endings, self._report
        )
        return await self._told(question, answer, definitions)

    async def _told(self, question: Question, answer: Any, definitions: Definitions) -> Outcome:
        try:
            told = question.part.step.call.run_tell(question.event, answer, definitions)
            return Outcome(tuple(told))
        except Exception as error:
            return _outcome_of(error)

    def _forget(self, places: tuple[Place, ...]) -> None:
        for place in places:
            self._calls.pop(place, None)
            self._once.discard(place)

    def _keep(self, held: set[tuple[str, int]]) -> None:
        for place in [place for place in self._calls if place[:2] not in held]:
            task = self._calls.pop(place)
            if place not in self._once:
                task.cancel()
        self._once = {place for place in self._once if place[:2] in held}

    def _start(self, work: Any) -> asyncio.Task[Any]:
        task = self._loop.create_task(work)
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)
        return task


def unreadable(step: Step, error: DecodeError, definitions: Definitions) -> Outcome:
    """Of a question that cannot be read. Where all but its body can, whoever asked is told so and
    need not wait.
    """
    if error.event is None:
        return Outcome(dead=(error.reason, str(error)))
    at = datetime.now(UTC)
    try:
        failure = Failure(error.reason, error.detail, at, at)
        return Outcome(tuple(step.call.run_tell(error.event, failure, definitions)))
    except Exception as raised:
        return _outcome_of(raised)


def _unknown(question: Question) -> Uncertain:
    detail = (
        "it was begun before a crash; whether it was done is not known, and it is not begun again"
    )
    return Uncertain(detail, question.event.at, datetime.now(UTC))


async def _dead(error: Exception) -> Outcome:
    return _outcome_of(error)


def _outcome_of(error: Exception) -> Outcome:
    if isinstance(error, UnprocessableError):
        return Outcome(dead=("unprocessable", str(error)))
    log.error("a question could not be processed", exc_info=error)
    return Outcome(dead=("error", f"{type(error).__name__}: {error}"))
