"""Reads the events of a run from Kafka.

All events of a session have one key, so they are on one partition of each topic. Only those
partitions are read, from the run's beginning. Events past retention are missing.
"""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from schemas.events.base import Event
from schemas.wire.codec import Codec, Undecodable
from schemas.wire.record_types import ForeignType, RecordTypes
from streams.config import Settings
from streams.engine import kafka
from streams.engine.shapes import kinds
from streams.engine.stages.partition import Partitioner
from streams.topology import PIPELINE

EARLIER = timedelta(minutes=5)
"""How much before a run's beginning is read, as clocks of producers differ."""
READ_S = 60


def session_events() -> list[type[Event]]:
    """Every class of a session that a step of the pipeline reads or writes."""
    classes = {kind for step in PIPELINE for kind in (*kinds(step.reads), *kinds(step.writes))}
    return sorted(
        (kind for kind in classes if kind.key == "session"), key=lambda kind: kind.__name__
    )


def of_session(
    settings: Settings, codec: Codec, tenant: str, session: str, since: datetime
) -> list[Event]:
    """A session's events since a moment, by time. Raises ConnectionError."""
    types = RecordTypes(settings.prefix, session_events())
    key = f"{tenant}/{session}".encode()
    found = []
    reader = kafka.consumer(settings, "histories", None, **{"enable.partition.eof": True})
    try:
        unread = _offsets(reader, types.topics, key, since)
        reader.assign([TopicPartition(*partition, offset) for partition, offset in unread.items()])
        deadline = time.monotonic() + READ_S
        while unread:
            for message in reader.consume(10_000, 0.05):
                error = message.error()
                topic = str(message.topic())
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    unread.pop((topic, int(message.partition() or 0)), None)
                elif error is None and message.key() == key:
                    found += _decoded(codec, types, message)
            if time.monotonic() > deadline:
                raise ConnectionError(
                    f"Kafka did not give the history of {session!r} within {READ_S} s: try again, "
                    "and see whether it is up with `./weir status`"
                )
    finally:
        reader.close()
    return sorted(found, key=lambda event: event.at)


def of_run(events: Iterable[Event], run: UUID) -> list[Event]:
    return [event for event in events if getattr(event, "run", None) == run]


def _offsets(
    reader: Consumer, topics: Iterable[str], key: bytes, since: datetime
) -> dict[tuple[str, int], int]:
    """The first offset to read on the key's partition of each topic that has newer records."""
    moment = int((since - EARLIER).timestamp() * 1000)
    known = reader.list_topics(timeout=10).topics
    asked = [
        TopicPartition(topic, Partitioner(len(known[topic].partitions)).of(key), moment)
        for topic in topics
        if topic in known
    ]
    begins = reader.offsets_for_times(asked, timeout=10)
    return {(place.topic, place.partition): place.offset for place in begins if place.offset >= 0}


def _decoded(codec: Codec, types: RecordTypes, message: Message) -> list[Event]:
    try:
        kind = types.of(message)
        return [codec.decode(kind, message.value())] if kind else []
    except ForeignType:
        return []
    except Undecodable as error:
        # There is a dead letter for it; where only a body is missing, the rest is used.
        return [error.event] if error.event else []
