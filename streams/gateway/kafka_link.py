"""How does the gateway speak with Kafka: when is something taken, and how is it told what became of
it?

Taken means that all in-sync replicas have it. Nothing is retried behind the caller's back for
longer than `gateway_accept_s`: what has not been acknowledged by then is given up and said so, and
because a request's id derives from its Idempotency-Key, asking again cannot double it. `Link` is
all that the routes know; tests put the pipeline in memory behind it.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol
from uuid import uuid4

from confluent_kafka import KafkaError, KafkaException, Message

from schemas.definitions.kinds import Definitions
from schemas.events.agent.approvals import (
    ApprovalAsked,
    ApprovalRefused,
    ApprovalResolved,
    UserAsked,
)
from schemas.events.agent.models import ModelFailed, ResponseBlocked, ResponseCleared
from schemas.events.agent.runs import (
    RequestAdmitted,
    RequestBlocked,
    RequestRefused,
    ResultCleared,
    RunCancelled,
    RunFinished,
    ToolCalled,
    ToolFailed,
    ToolUncertain,
)
from schemas.events.base import Event, milliseconds
from schemas.events.guardrails import VerdictReached
from schemas.events.model_chunks import ModelChunk
from schemas.wire.codec import Codec, DecodeError, headers_of
from schemas.wire.large_bodies import ObjectStoreError
from schemas.wire.record_types import RecordTypes, UnknownRecordTypeError
from streams.config import Settings
from streams.engine import kafka
from streams.engine.client import now, places
from streams.engine.monitoring.telemetry import Metrics
from streams.engine.schema_registry import RegistryUnavailableError
from streams.gateway.runs.recent_runs import RecentRuns, SessionRecord

log = logging.getLogger(__name__)
TOLD: tuple[type[Event], ...] = (
    RequestAdmitted,
    RequestRefused,
    RequestBlocked,
    VerdictReached,
    ResponseCleared,
    ResponseBlocked,
    ModelFailed,
    ToolCalled,
    ResultCleared,
    ToolFailed,
    ToolUncertain,
    RunCancelled,
    RunFinished,
    ModelChunk,
    ApprovalAsked,
    ApprovalResolved,
    ApprovalRefused,
    UserAsked,
)
"""What a caller may hear of a run: what was screened, never what screening kept back. Parts of an
answer that is still written (ModelChunk) are screened by nobody:
`streams.gateway.runs.stream_answer` says who may hear them.
"""
REMEMBERED = timedelta(minutes=10)
"""How far back a started gateway reads, so that it knows the runs under way."""
BATCH = 1_000


class KafkaUnavailableError(Exception):
    """Kafka did not take it. The sentence says what to do."""


class Link(Protocol):
    """Kafka, as the routes know it."""

    recent_runs: RecentRuns

    async def publish(self, *events: Event) -> None:
        """Returns when all replicas have the events. Raises KafkaUnavailableError, with nothing
        more to come of them.
        """

    def current_definitions(self) -> Definitions:
        """The definitions in force."""
        ...


class KafkaLink:
    """The real one. Made and used in one event loop; two threads wait on Kafka for it."""

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        definitions: Callable[[], Definitions],
        metrics: Metrics,
    ):
        self._settings, self._codec, self.current_definitions, self._metrics = (
            settings,
            codec,
            definitions,
            metrics,
        )
        self._loop, self._stop = asyncio.get_running_loop(), threading.Event()
        self.recent_runs = RecentRuns(self._decoded, settings.gateway_memory_mb * 1024 * 1024)
        self._producer = kafka.producer(
            settings,
            None,
            **{
                "delivery.timeout.ms": int(settings.gateway_accept_s * 1000),
                "queue.buffering.max.messages": 50_000,
            },
        )
        self._types = RecordTypes(settings.prefix, TOLD)
        self._consumer = kafka.consumer(settings, f"gateway-{uuid4().hex[:12]}")
        since = milliseconds(now() - REMEMBERED)
        self._consumer.assign(
            kafka.patiently(lambda: places(self._consumer, self._types.topics, since), lambda: None)
        )
        self._threads = [
            threading.Thread(target=work, name=work.__name__, daemon=True)
            for work in (self._hear, self._deliver)
        ]
        for thread in self._threads:
            thread.start()

    async def publish(self, *events: Event) -> None:
        if not events:
            return
        taken = Taken(self._loop, len(events))
        with self._metrics.timed("weir_gateway_accept_seconds"):
            for event in events:
                self._produce(event, taken)
            await taken.all

    def _produce(self, event: Event, taken: "Taken") -> None:
        try:
            self._producer.produce(
                self._settings.prefix + event.topic(),
                self._codec.encode(event),
                event.partition_key().encode(),
                headers=headers_of(event, getattr(event, "traceparent", None)),
                on_delivery=taken.tell,
            )
        except ObjectStoreError as away:
            taken.settle(KafkaUnavailableError(f"{away}; ask again, with the same Idempotency-Key"))
        except BufferError:
            taken.settle(
                KafkaUnavailableError("too much waits for Kafka already: ask again in a moment")
            )
        except KafkaException as error:
            taken.tell(error.args[0], None)

    def _deliver(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(0.2)

    def _hear(self) -> None:
        while not self._stop.is_set():
            first = self._consumer.poll(0.2)
            found = () if first is None else (first, *self._consumer.consume(BATCH, 0))
            batch = [known for one in found if not one.error() and (known := self._known(one))]
            if batch:
                self._loop.call_soon_threadsafe(self.recent_runs.take, batch)

    def _known(self, record: Message) -> SessionRecord | None:
        """The record with its class; None where callers are told nothing of it."""
        try:
            kind = self._types.of(record)
        except UnknownRecordTypeError:  # the stage or the sink worker makes a dead letter of it
            return None
        return kind and SessionRecord(kind, record.key() or b"", record.value() or b"")

    def _decoded(self, heard: SessionRecord) -> Event | None:
        try:
            return self._codec.decode(heard.kind, heard.value)
        except (DecodeError, ObjectStoreError, RegistryUnavailableError) as error:
            log.warning("a %s is not whole: %s", heard.kind.__name__, error)
            return getattr(error, "event", None)

    def close(self) -> None:
        """Waits until what was produced is acknowledged, or given up."""
        self._producer.flush(self._settings.gateway_accept_s)
        self._stop.set()
        for thread in self._threads:
            thread.join(5)
        self._consumer.close()


class Taken:
    """What became of records that were produced together. `all` is done when something is known of
    each, so that nothing of what failed is still on its way; the loop is woken once, not once a
    record.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, count: int):
        self._loop, self._left, self._error = loop, count, None
        self._lock = threading.Lock()
        self.all: asyncio.Future[None] = loop.create_future()

    def tell(self, error: KafkaError | None, _: Any) -> None:
        """Kafka's word on one record, in whichever thread."""
        if error is None:
            self.settle(None)
            return
        self.settle(
            KafkaUnavailableError(
                f"Kafka did not take it ({error.str()}): ask again, with the same Idempotency-Key"
            )
        )

    def settle(self, error: KafkaUnavailableError | None) -> None:
        with self._lock:
            self._left -= 1
            self._error = self._error or error
            last = not self._left
        if last:
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self.all.done():  # who asked went away
            return
        if self._error is None:
            self.all.set_result(None)
        else:
            self.all.set_exception(self._error)
