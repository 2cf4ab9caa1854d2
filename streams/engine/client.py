"""How does a program ask an agent and learn the outcome? The producer's and the consumer's side, in
one place.

Every request has exactly one outcome: a RunFinished, or a RequestRefused. `Watch` follows any
topics from where they end now, in its own thread; `Client` publishes requests and waits for their
outcomes.
"""

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

from confluent_kafka import Consumer, Message, TopicPartition

from schemas.events.agent.approvals import UserAsked
from schemas.events.agent.base import RunEvent
from schemas.events.agent.runs import AgentRequested, RequestRefused, RunFinished
from schemas.events.base import Event
from schemas.wire.codec import Codec, DecodeError, headers_of
from schemas.wire.large_bodies import ObjectStoreError
from schemas.wire.record_types import RecordTypes, UnknownRecordTypeError
from streams.config import Settings
from streams.engine import kafka

OUTCOMES: tuple[type[Event], ...] = (RunFinished, RequestRefused)


def now() -> datetime:
    return datetime.now(UTC)


def request(tenant: str, agent: str, text: str, **fields: Any) -> AgentRequested:
    """A request of this moment, with an id of its own."""
    return AgentRequested(id=uuid4(), at=now(), tenant=tenant, agent=agent, text=text, **fields)


class Publisher:
    """Publishes events from outside the pipeline.

    `flush` returns when all are on Kafka, or raises.
    """

    def __init__(self, settings: Settings, codec: Codec):
        self._settings, self._codec = settings, codec
        self._producer = kafka.producer(settings, None, **{"linger.ms": 2})
        self._failed: list[str] = []

    def publish(self, *events: Event) -> None:
        for event in events:
            while True:
                try:
                    self._producer.produce(
                        self._settings.prefix + event.topic(),
                        self._codec.encode(event),
                        event.partition_key().encode(),
                        headers=headers_of(event, getattr(event, "traceparent", None)),
                        on_delivery=self._delivered,
                    )
                    break
                except BufferError:
                    self._producer.poll(0.1)
        self._producer.poll(0)

    def flush(self, timeout_s: float = 30) -> None:
        left = self._producer.flush(timeout_s)
        if left or self._failed:
            why = (
                self._failed[0]
                if self._failed
                else f"Kafka did not answer within {timeout_s:.0f} s"
            )
            raise ConnectionError(
                f"{left + len(self._failed)} events were not published: {why}. "
                f"Is the stack up? `./weir status`"
            )

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failed.append(error.str())


class Watch:
    """Calls `heard(event)` for every event of the given classes from now on, in a thread of its
    own, until closed.
    """

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        classes: Iterable[type[Event]],
        heard: Callable[[Event], None],
    ):
        self._types = RecordTypes(settings.prefix, classes)
        self._codec, self._heard, self._stop = codec, heard, threading.Event()
        self._consumer = kafka.consumer(settings, f"watch-{uuid4().hex[:12]}")
        self._consumer.assign(ends(self._consumer, self._types.topics))
        self._thread = threading.Thread(target=self._follow, name="watch", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._stop.is_set():
            first = self._consumer.poll(0.05)  # consume() with a time to wait waits for all of it
            for message in () if first is None else (first, *self._consumer.consume(1_000, 0)):
                event = None if message.error() else self._event(message)
                if event is not None:
                    self._heard(event)

    def _event(self, message: Message) -> Event | None:
        """The record's event, or what can be read of it where only its body is missing. None for a
        class that is not watched, and for what is no event: the pipeline has made a dead letter of
        that.
        """
        try:
            kind = self._types.of(message)
            return kind and self._codec.decode(kind, message.value())
        except UnknownRecordTypeError:
            return None
        except (DecodeError, ObjectStoreError) as error:
            return getattr(error, "event", None)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._thread.join(5)
        self._consumer.close()


class Client:
    """Publishes requests and waits for their outcomes; a context manager. With `asks`, a question
    that an agent asks its user is what a request waits for too: the answer is a request of its own.
    """

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        heard: Callable[[Event], None] = lambda event: None,
        asks: bool = False,
    ):
        self._settings, self._codec, self._heard, self._asks = settings, codec, heard, asks
        self._changed = threading.Condition()
        self._outcomes: dict[UUID, Event] = {}

    def __enter__(self) -> "Client":
        self._publisher = Publisher(self._settings, self._codec)
        classes = (*OUTCOMES, UserAsked) if self._asks else OUTCOMES
        self._watch = Watch(self._settings, self._codec, classes, self._note)
        return self

    def __exit__(self, *_: Any) -> None:
        self._watch.__exit__()

    def _note(self, event: Event) -> None:
        # All OUTCOMES are events of a run.
        request = event.request if isinstance(event, UserAsked) else cast(RunEvent, event).run
        with self._changed:
            self._outcomes[request] = event
            self._changed.notify_all()
        self._heard(event)

    def publish(self, *requests: Event) -> None:
        self._publisher.publish(*requests)

    def flush(self) -> None:
        self._publisher.flush()

    def wait(self, runs: Iterable[UUID], timeout_s: float) -> dict[UUID, Event]:
        """The outcomes of these runs, or of those that had one in time."""
        runs = set(runs)
        with self._changed:
            self._changed.wait_for(lambda: runs <= self._outcomes.keys(), timeout_s)
            return {run: self._outcomes[run] for run in runs & self._outcomes.keys()}

    def outcomes(self) -> dict[UUID, Event]:
        with self._changed:
            return dict(self._outcomes)

    def ask(self, asked: AgentRequested, timeout_s: float = 120) -> Event | None:
        """Publishes one request and waits for its outcome; None where none came in time."""
        self.publish(asked)
        self.flush()
        return self.wait([asked.id], timeout_s).get(asked.id)


def places(
    consumer: Consumer, topics: Iterable[str], since_ms: int, timeout_s: float = 10
) -> list[TopicPartition]:
    """Where to begin in each partition of the topics to read what is not older than a moment."""
    wanted = [
        TopicPartition(topic, partition, since_ms)
        for topic in topics
        for partition in consumer.list_topics(topic, timeout=timeout_s).topics[topic].partitions
    ]
    found = consumer.offsets_for_times(wanted, timeout=timeout_s)
    quiet = [place for place in found if place.offset < 0]
    for place in (
        quiet
    ):  # "at the end" would be looked up when reading begins, and leave out what came until then
        place.offset = consumer.get_watermark_offsets(place, timeout=timeout_s)[1]
        since = TopicPartition(place.topic, place.partition, since_ms)
        [again] = consumer.offsets_for_times([since], timeout=timeout_s)
        place.offset = again.offset if again.offset >= 0 else place.offset
    return found


def ends(consumer: Consumer, topics: Iterable[str]) -> list[TopicPartition]:
    """Where each partition of the topics ends now, uncommitted records left out."""
    found = []
    for topic in topics:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        for partition in partitions:
            place = TopicPartition(topic, partition)
            place.offset = consumer.get_watermark_offsets(place, timeout=10)[1]
            found.append(place)
    return found
