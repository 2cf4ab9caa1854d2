"""Cancels calls whose run is over, so that nobody waits or pays for an answer that nobody reads.

The ends of runs are heard as they are committed, and what such a run still asks of models, of
searches and of `pure` tools is given up. A tool that changes something is let run: what it did is
to be known. All of it is a hint: where an end is not heard, a call ends by its own time, and its
answer is heard by nobody.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from confluent_kafka import KafkaException

from schemas.events.agent.base import RunEvent
from schemas.events.agent.runs import RunFinished
from schemas.events.base import Event
from schemas.ports import RUN_OVER, Failure
from schemas.wire.codec import Codec, DecodeError
from schemas.wire.large_bodies import ObjectStoreError
from streams.config import Settings
from streams.engine import kafka
from streams.engine.client import ends

log = logging.getLogger(__name__)

POLL_S, AGAIN_S = 0.2, 1.0
FEW = {"queued.min.messages": 1_000, "queued.max.messages.kbytes": 8_192}
"""Most ends are of runs that ask nothing here: they are read past, and need no room."""


class Endings:
    """The calls under way that may be given up, by session. All but `waits` is for the loop that
    asks.
    """

    def __init__(self) -> None:
        self._calls: dict[str, dict[asyncio.Future[Any], UUID]] = {}
        self._given_up: set[asyncio.Future[Any]] = set()

    def waits(self, session: str) -> bool:
        """Whether a call of this session is under way, by its partition key."""
        return session in self._calls

    async def answer(self, event: Event, asked: Any, port: Callable[[Any], Any]) -> Any:
        """The port's answer; a failure where the run ends before."""
        if not isinstance(event, RunEvent) or getattr(asked, "effect", "pure") != "pure":
            return await port(asked)
        session, began_at, call = (
            event.partition_key(),
            datetime.now(UTC),
            asyncio.ensure_future(port(asked)),
        )
        self._calls.setdefault(session, {})[call] = event.run
        try:
            return await call
        except asyncio.CancelledError:
            if call not in self._given_up:
                raise
            return Failure("run_over", RUN_OVER, began_at, datetime.now(UTC))
        finally:
            self._given_up.discard(call)
            del self._calls[session][call]
            if not self._calls[session]:
                del self._calls[session]

    def over(self, session: str, run: UUID) -> None:
        """A run has ended: what it still asks is given up."""
        for call, of in self._calls.get(session, {}).items():
            if of == run and not call.done():
                self._given_up.add(call)
                call.cancel(RUN_OVER)


class Hearing:
    """Hears the ends of runs in a thread of its own, and tells those whose calls are under way
    here.
    """

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        waits: Callable[[str], bool],
        tell: Callable[[str, UUID], None],
    ):
        self._codec, self._waits, self._tell = codec, waits, tell
        self._topic = settings.prefix + RunFinished.topic()
        self._consumer = kafka.consumer(settings, f"endings-{uuid4().hex[:12]}", **FEW)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="endings", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._consumer.assign(ends(self._consumer, [self._topic]))
                break
            except (KafkaException, KeyError) as error:
                log.info("the ends of runs are not heard yet: %s", error)
                self._stop.wait(AGAIN_S)
        while not self._stop.is_set():
            first = self._consumer.poll(POLL_S)
            for message in () if first is None else (first, *self._consumer.consume(500, 0)):
                if message.error() is None and self._waits(
                    (message.key() or b"").decode("utf-8", "replace")
                ):
                    self._hear(message)

    def _hear(self, message: Any) -> None:
        try:
            ended = self._codec.decode(RunFinished, message.value(), message.key())
        except (DecodeError, ObjectStoreError) as error:
            ended = getattr(error, "event", None)
            log.info("the end of a run is not whole: %s", error)
        if ended is not None:
            self._tell(ended.partition_key(), ended.run)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(2 * POLL_S)
        self._consumer.close()
