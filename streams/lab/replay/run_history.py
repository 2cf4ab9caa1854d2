"""What happened in a run, event by event, as Kafka has it?

All events of a session have one key, so they are on one partition of each topic, from the moment
the run began; that is all that is read. What retention has deleted is not there any more.
"""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from confluent_kafka import Consumer, KafkaError, TopicPartition

from schemas.events.base import Event
from schemas.wire.codec import Codec, Undecodable
from streams.config import Settings
from streams.engine import kafka
from streams.engine.shapes import kinds
from streams.engine.stages.partitioner import Partitioner
from streams.topology import PIPELINE

EARLIER = timedelta(minutes=5)
"""Clocks of producers differ: this much before a run's beginning is read too."""
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
    """The session's events since a moment, in the order in which they happened. Raises
    ConnectionError.
    """
    kinds_of = {settings.prefix + kind.topic(): kind for kind in session_events()}
    key = f"{tenant}/{session}".encode()
    found = []
    reader = kafka.consumer(settings, "histories", **{"enable.partition.eof": True})
    try:
        open_places = _places(reader, kinds_of, key, since)
        reader.assign([TopicPartition(*place, offset) for place, offset in open_places.items()])
        deadline = time.monotonic() + READ_S
        while open_places:
            for message in reader.consume(10_000, 0.05):
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    open_places.pop((message.topic(), message.partition()), None)
                elif error is None and message.key() == key:
                    found += _decoded(codec, kinds_of[message.topic()], message.value())
            if time.monotonic() > deadline:
                raise ConnectionError(
                    f"Kafka did not give the history of {session!r} within {READ_S} s: try again, "
                    "and `./weir status` tells whether it is up"
                )
    finally:
        reader.close()
    return sorted(found, key=lambda event: event.at)


def of_run(events: Iterable[Event], run: UUID) -> list[Event]:
    return [event for event in events if getattr(event, "run", None) == run]


def _places(
    reader: Consumer, topics: Iterable[str], key: bytes, since: datetime
) -> dict[tuple[str, int], int]:
    """Where to begin reading on the key's partition of each topic; a topic with nothing so new is
    left out.
    """
    moment = int((since - EARLIER).timestamp() * 1000)
    known = reader.list_topics(timeout=10).topics
    asked = [
        TopicPartition(topic, Partitioner(len(known[topic].partitions)).of(key), moment)
        for topic in topics
        if topic in known
    ]
    begins = reader.offsets_for_times(asked, timeout=10)
    return {(place.topic, place.partition): place.offset for place in begins if place.offset >= 0}


def _decoded(codec: Codec, kind: type[Event], value: bytes) -> list[Event]:
    try:
        return [codec.decode(kind, value)]
    except Undecodable as error:
        return (
            [error.event] if error.event else []
        )  # its dead letter tells of it; where a body is missing, what is left
