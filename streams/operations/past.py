"""The past: every event that happened, wherever it lies.

What the archive has comes from there, and what it does not have yet from the log. Nobody who asks
sees the difference: each event comes once, and the order is the same.
"""

import heapq
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from clickhouse_connect.driver.client import Client
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from schemas.catalogue import archived_classes, event_classes
from schemas.events.base import Event
from schemas.wire.codec import Codec, DecodeError
from schemas.wire.record_types import RecordTypes, UnknownRecordTypeError
from sinks.clickhouse.connection import connect
from streams.config import Settings
from streams.engine import kafka
from streams.engine.sinks.batches import Partition
from streams.engine.sinks.decode import seq_of
from streams.engine.sinks.offset_commits import is_of_another
from streams.engine.stages.partition import Partitioner

GROUP = "sink-archive"
READ_S = 120.0
ANSWER_S = 10.0
ROWS = """SELECT type, event, seq, kafka_topic, kafka_topic_id, kafka_partition, kafka_offset
    FROM events
WHERE type IN {{types:Array(String)}} AND {where}
ORDER BY at, seq, kafka_topic, kafka_partition, kafka_offset"""
OF_KEY = "tenant = {tenant:String} AND key = {key:String} AND at >= {start:DateTime64(3, 'UTC')}"
BETWEEN = "at >= {start:DateTime64(3, 'UTC')} AND at < {end:DateTime64(3, 'UTC')}"
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
END = datetime(2200, 1, 1, tzinfo=UTC)
Kinds = Iterable[type[Event]]


class EventArchive(Protocol):
    """Every event of the past. Events come in the order of their time, those of one moment in the
    order in which their stage decided them.
    """

    def story(
        self, tenant: str, key: str, kinds: Kinds | None = None, since: datetime = BEGINNING
    ) -> list[Event]:
        """What happened to one key, e.g. `tenant/session`."""
        ...

    def between(
        self, start: datetime, end: datetime, kinds: Kinds | None = None
    ) -> Iterator[Event]:
        """What happened from `start` until before `end`."""
        ...

    def of(self, kinds: Kinds) -> Iterator[Event]:
        """Everything of some classes that ever happened."""
        ...


@dataclass(frozen=True, order=True)
class Position:
    """The place of an event in the order of all."""

    at: datetime
    seq: int
    topic: str
    partition: int
    offset: int


Positioned = tuple[Position, Event]
Place = tuple[str, int, int]
"""Topic id, partition, offset."""


class ArchiveAndLog:
    """The past of a running stack: the archive in ClickHouse, and the log for what has not landed
    there, or never does. Raises ConnectionError where either does not answer.
    """

    def __init__(self, settings: Settings, codec: Codec):
        self._settings, self._codec = settings, codec

    def story(
        self, tenant: str, key: str, kinds: Kinds | None = None, since: datetime = BEGINNING
    ) -> list[Event]:
        classes = _classes(kinds)
        tail = self._tail(classes, key.encode())
        parameters = {"tenant": tenant, "key": key, "start": since}
        rows = self._archived(classes, OF_KEY, parameters, tail.keys())
        found = [*rows, *(one for one in tail.values() if one[0].at >= since)]
        return [event for _, event in sorted(found, key=lambda one: one[0])]

    def between(
        self, start: datetime, end: datetime, kinds: Kinds | None = None
    ) -> Iterator[Event]:
        classes = _classes(kinds)
        tail = self._tail(classes, None)
        rows = self._archived(classes, BETWEEN, {"start": start, "end": end}, tail.keys())
        newest = sorted(
            (one for one in tail.values() if start <= one[0].at < end), key=lambda one: one[0]
        )
        for _, event in heapq.merge(rows, newest, key=lambda one: one[0]):
            yield event

    def of(self, kinds: Kinds) -> Iterator[Event]:
        return self.between(BEGINNING, END, kinds)

    def _archived(
        self,
        classes: Sequence[type[Event]],
        where: str,
        parameters: Mapping[str, Any],
        known: Iterable[Place],
    ) -> Iterator[Positioned]:
        """The archive's events, in order, without those whose places are known already."""
        kinds = {kind.__name__: kind for kind in classes}
        passed = set(known)
        client = self._connected()
        try:
            with client.query_rows_stream(
                ROWS.format(where=where),
                parameters={**parameters, "types": list(kinds)},
                column_formats={"event": "bytes"},
            ) as rows:
                for name, value, seq, topic, topic_id, partition, offset in rows:
                    if (topic_id, partition, offset) in passed:
                        continue
                    for event in decoded(self._codec, kinds[name], bytes(value)):
                        yield Position(event.at, seq, topic, partition, offset), event
        finally:
            client.close()

    def _connected(self) -> Client:
        try:
            return connect(self._settings.clickhouse(), self._settings.clickhouse_database)
        except Exception as error:
            raise ConnectionError(
                "ClickHouse does not answer, where the archive lies: `./weir status` tells whether "
                f"it is up ({str(error)[:200]})"
            ) from error

    def _tail(self, classes: Sequence[type[Event]], key: bytes | None) -> dict[Place, Positioned]:
        """What is on the log and perhaps not in the archive yet, of one key or of all. It is read
        before the archive: so nothing falls between the two.
        """
        types = RecordTypes(self._settings.prefix, classes)
        reader = kafka.consumer(self._settings, GROUP, None, **{"enable.partition.eof": True})
        found: dict[Place, Positioned] = {}
        try:
            unread, ids = self._begins(reader, types, key)
            reader.assign([TopicPartition(*place, offset) for place, offset in unread.items()])
            deadline = time.monotonic() + READ_S
            while unread:
                for message in reader.consume(10_000, 0.05):
                    place = str(message.topic()), int(message.partition() or 0)
                    error = message.error()
                    if error is not None and error.code() == KafkaError._PARTITION_EOF:
                        unread.pop(place, None)
                    elif error is None and key in (None, message.key()):
                        found |= self._positioned(types, message, ids[place[0]])
                if time.monotonic() > deadline:
                    raise ConnectionError(
                        f"Kafka did not give what is not archived yet within {READ_S:.0f} s: try "
                        "again, and see whether it is up with `./weir status`"
                    )
        except KafkaException as error:
            raise ConnectionError(
                f"Kafka does not tell what is not archived yet ({error.args[0].str()}): see "
                "whether "
                "it is up with `./weir status`"
            ) from error
        finally:
            reader.close()
        return found

    def _begins(
        self, reader: Any, types: RecordTypes, key: bytes | None
    ) -> tuple[dict[Partition, int], dict[str, str]]:
        """Where the archive has stored each partition up to; its beginning where nobody says so, or
        where a class is not archived. And the ids of the topics.
        """
        known = reader.list_topics(timeout=ANSWER_S).topics
        places = [
            TopicPartition(topic, partition)
            for topic in types.topics
            if topic in known
            for partition in known[topic].partitions
            if key is None or partition == Partitioner(len(known[topic].partitions)).of(key)
        ]
        if not places:
            return {}, {}
        ids = kafka.topic_ids(
            kafka.admin(self._settings), {each.topic for each in places}, ANSWER_S
        )
        archived = {*archived_classes()}
        begins = {}
        committed = kafka.patiently(
            lambda: reader.committed(places, timeout=ANSWER_S), lambda: None, ANSWER_S
        )
        for each in committed:
            whole = not archived.issuperset(types.classes_in(each.topic))
            known_from = each.offset < 0 or is_of_another(each, ids.get(each.topic, ""))
            first, _ = reader.get_watermark_offsets(
                TopicPartition(each.topic, each.partition), timeout=ANSWER_S
            )
            begins[each.topic, each.partition] = (
                first if whole or known_from else max(each.offset, first)
            )
        return begins, ids

    def _positioned(
        self, types: RecordTypes, message: Message, topic_id: str
    ) -> dict[Place, Positioned]:
        try:
            kind = types.of(message)
        except UnknownRecordTypeError:
            return {}  # its dead letter tells of it
        if kind is None:
            return {}
        partition = int(message.partition() or 0)
        offset = int(message.offset() or 0)
        found: dict[Place, Positioned] = {}
        for event in decoded(self._codec, kind, message.value()):
            position = Position(event.at, seq_of(message), kind.topic(), partition, offset)
            found[topic_id, partition, offset] = position, event
        return found


def decoded(codec: Codec, kind: type[Event], value: bytes | None) -> list[Event]:
    """The event, or none where its dead letter tells of it; where a body is missing, what is left."""
    try:
        return [codec.decode(kind, value)]
    except DecodeError as error:
        return [error.event] if error.event else []


def _classes(kinds: Kinds | None) -> list[type[Event]]:
    return list(event_classes().values()) if kinds is None else list(kinds)
