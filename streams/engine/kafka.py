"""Kafka clients with the settings that make exactly-once hold and a restart take a second.

Each setting was learned by killing workers. Static members with stable transactional ids came back
in 0.9 s (p50), dynamic ones in 6 to 7 s; a random transactional id hid everything behind the dead
worker's transaction for its whole time-out. `range` keeps one partition number of all topics in one
worker; cooperative-sticky and roundrobin do not. A fetch is answered as soon as there is a record,
so its wait only says how often idle consumers ask: at 20 ms every fifth request to the broker was
such a one, and a fifth of its processor time. A partition that is taken over waits for the fetch
under way: 300 ms at most.
"""

import functools
import logging
import struct
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.wire.codec import Headers
from streams.config import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")
PATIENCE_S, ANSWER_S = 120.0, 3.0
RECONNECT = {"reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 500}
MESSAGE_BYTES = {"message.max.bytes": 8 * 1024 * 1024}
FETCH_BYTES = {
    "fetch.message.max.bytes": 8 * 1024 * 1024,
    "receive.message.max.bytes": 128 * 1024 * 1024,
}


def consumer(settings: Settings, group: str, slot: int | None = None, **more: Any) -> Consumer:
    """A consumer of committed records that commits nothing by itself. With a slot it is a static
    member.
    """
    member = {} if slot is None else {"group.instance.id": f"{settings.prefix}{group}-{slot}"}
    return Consumer(
        settings.kafka_properties()
        | RECONNECT
        | FETCH_BYTES
        | member
        | {
            "group.id": settings.prefix + group,
            "group.protocol": "classic",
            "partition.assignment.strategy": "range",
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 2_000,
            "max.poll.interval.ms": 60_000,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 300,
            "fetch.error.backoff.ms": 50,
            "queued.min.messages": 20_000,
            "topic.metadata.refresh.interval.ms": 30_000,
        }
        | more,
        logger=log,
    )


def producer(settings: Settings, transactional_id: str | None = None, **more: Any) -> Producer:
    """An idempotent producer, and a transactional one where an id is given (`<stage>-<slot>`,
    stable).
    """
    transactions = (
        {}
        if transactional_id is None
        else {
            "transactional.id": settings.prefix + transactional_id,
            "transaction.timeout.ms": 10_000,
        }
    )
    return Producer(
        settings.kafka_properties()
        | RECONNECT
        | MESSAGE_BYTES
        | {
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 0,
            "compression.type": "lz4",
            "partitioner": "murmur2_random",
            "retry.backoff.ms": 20,
            "queue.buffering.max.messages": 500_000,
            "batch.num.messages": 10_000,
        }
        | transactions
        | more,
        logger=log,
    )


def offset_of(message: Message) -> int:
    """The offset of a record, or of the end of a partition. A message of a consumer has one."""
    offset = message.offset()
    assert offset is not None
    return offset


def partition_of(message: Message) -> tuple[str, int]:
    """Topic and partition of a record. A message of a consumer has both."""
    topic = message.topic()
    partition = message.partition()
    assert topic is not None and partition is not None
    return topic, partition


def record_headers(message: Message) -> Headers | None:
    """The headers of a record. A message of a consumer has them as pairs."""
    headers: Any = message.headers()
    return headers


def admin(settings: Settings) -> AdminClient:
    return AdminClient({**settings.kafka_properties(), **RECONNECT}, logger=log)


def topic_ids(client: AdminClient, names: Iterable[str], timeout_s: float = 30) -> dict[str, str]:
    """The id that the broker gave each topic when it was made (KIP-516); topics that are not there
    are left out.

    A topic that was deleted and made anew has another id: its offsets begin at 0 again and name
    other records. Raises KafkaException where the broker does not answer.
    """
    wanted = sorted(set(names))
    found = {}
    for name, answer in (
        client.describe_topics(TopicCollection(wanted), request_timeout=timeout_s).items()
        if wanted
        else ()
    ):
        try:
            found[name] = str(answer.result(timeout_s + 1).topic_id)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    return found


def generation(group_metadata: Any) -> int:
    """The generation in a consumer's group metadata. Negative: not a member now, so nothing may be
    committed.

    The broker accepts generation -1 and then fences nobody (measured); the client only shows the
    number in its opaque bytes: a 7-byte magic, then a native int32.
    """
    return struct.unpack("=i", group_metadata[7:11])[0]


def or_end(callback: Callable[..., None]) -> Callable[..., None]:
    """An exception in a rebalance callback kills the consumer with an opaque error: the process
    ends, saying why.

    For methods of what has a `worker`.
    """

    @functools.wraps(callback)
    def guarded(self: Any, *args: Any) -> None:
        try:
            callback(self, *args)
        except BaseException as error:
            log.exception("rebalance")
            self.worker.end(f"partitions could not be taken over: {error}")

    return guarded


def is_fatal(error: KafkaError) -> bool:
    """A fatal consumer error arrives with code _FATAL and `fatal()` False: test both, or two twins
    fence each other.
    """
    return error.fatal() or error.code() == KafkaError._FATAL


def patiently(ask: Callable[[], T], beat: Callable[[], None], patience_s: float = PATIENCE_S) -> T:
    """The broker's answer, asked again while it is away or still busy with a dead twin's
    transaction.
    """
    deadline = time.monotonic() + patience_s
    while True:
        beat()
        try:
            return ask()
        except KafkaException as error:
            if is_fatal(error.args[0]) or time.monotonic() > deadline:
                raise
            log.warning("asked again: %s", error.args[0].str())
            time.sleep(0.05)


def high_watermark(
    settings: Settings, topic: str, partition: int, timeout_s: float = 30
) -> tuple[int, int]:
    """First and end offset, uncommitted records included: where a restore has to read to."""
    reader = Consumer(
        settings.kafka_properties()
        | RECONNECT
        | {"group.id": settings.prefix + "watermark", "isolation.level": "read_uncommitted"},
        logger=log,
    )
    try:
        return reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=timeout_s)
    finally:
        reader.close()


def read_to(
    settings: Settings,
    topic: str,
    partition: int,
    bounds: tuple[int, int],
    beat: Callable[[], None] = lambda: None,
    timeout_s: float = 300,
) -> Iterator[Message]:
    """The committed records of a partition from the first of `bounds` up to its end, as
    `high_watermark` gives them: the last offset before the end may be a control record's.
    """
    first, end = bounds
    reader = Consumer(
        settings.kafka_properties()
        | RECONNECT
        | FETCH_BYTES
        | {
            "group.id": settings.prefix + "reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20,
            "fetch.error.backoff.ms": 50,
            "queued.min.messages": 200_000,
        },
        logger=log,
    )
    deadline = time.monotonic() + timeout_s
    try:
        reader.assign([TopicPartition(topic, partition, first)])
        done = first >= end
        while not done:
            beat()
            for message in reader.consume(10_000, 0.05):
                if error := message.error():  # only the end of a partition has an offset for sure
                    at_end = error.code() == KafkaError._PARTITION_EOF
                    done = done or (at_end and offset_of(message) >= end)
                    continue
                offset = offset_of(message)
                if offset < end:
                    yield message
                done = done or offset + 1 >= end
            if time.monotonic() > deadline:
                raise KafkaException(
                    KafkaError(KafkaError._TIMED_OUT, f"reading {topic}[{partition}] to {end}")
                )
    finally:
        reader.close()


class TopicSettings(Protocol):
    """What a topic is created with: an event's topic or a changelog."""

    @property
    def name(self) -> str: ...

    @property
    def partitions(self) -> int: ...

    def config(self) -> dict[str, str]: ...


def create_topics(settings: Settings, topics: Sequence[TopicSettings]) -> list[str]:
    """Creates those that are missing and returns their names, when they can be written to. Raises
    where an existing one has other partitions.
    """
    client = admin(settings)
    existing = client.list_topics(timeout=30).topics
    missing = []
    for topic in {topic.name: topic for topic in topics}.values():
        name = settings.prefix + topic.name
        if name not in existing:
            missing.append(
                NewTopic(name, topic.partitions, settings.replication, config=topic.config())
            )
        elif len(existing[name].partitions) != topic.partitions:
            raise SystemExit(
                f"{name} has {len(existing[name].partitions)} partitions and should have "
                f"{topic.partitions}: a key would change its place. Set WEIR_PARTITIONS to what is "
                "there, or use another WEIR_PREFIX. `weir deploy` raises the count where the "
                "topics "
                f"are empty."
            )
    for name, future in client.create_topics(missing).items() if missing else ():
        try:
            future.result(30)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise SystemExit(
                    f"the topic {name} could not be created: {error.args[0].str()}"
                ) from error
    names = [topic.topic for topic in missing]
    _await_leaders(client, names)
    return names


def _await_leaders(client: AdminClient, names: Collection[str], timeout_s: float = 30) -> None:
    """Returns when every partition of the topics has a leader. Raises SystemExit after the time."""
    deadline = time.monotonic() + timeout_s
    while missing := _without_leader(client, names):
        if time.monotonic() > deadline:
            raise SystemExit(f"the topic {missing[0]} has no leader after {timeout_s:.0f} s")
        time.sleep(0.05)


def _without_leader(client: AdminClient, names: Collection[str]) -> list[str]:
    """The topics that the broker does not show yet, or of which a partition has no leader."""
    if not names:
        return []
    shown = client.list_topics(timeout=30).topics
    return [
        name
        for name in names
        if name not in shown
        or not shown[name].partitions
        or any(one.leader < 0 for one in shown[name].partitions.values())
    ]
