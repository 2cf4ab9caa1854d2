"""Consumer lag: how far behind each part of the pipeline is, in records and by age."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, TopicPartition

from schemas.events.base import Event
from sinks.spec import sink_specs
from streams.config import Settings
from streams.engine import kafka
from streams.engine.shapes import calls, inputs, kinds, stages
from streams.engine.sinks.offset_commits import is_of_another
from streams.topology import PIPELINE

ANSWER_S = 10


@dataclass
class Delay:
    """The lag of one consumer: unfinished records, at most, and the age of the oldest."""

    consumer: str
    behind: int
    oldest_ms: int


def consumers() -> dict[str, list[str]]:
    """Every part of the pipeline that reads Kafka, with its topics."""
    read: dict[str, Iterable[type[Event]]] = {
        f"stage-{key}": inputs(steps, PIPELINE) for key, steps in stages(PIPELINE).items()
    }
    read["calls"] = [kind for step in calls(PIPELINE) for kind in kinds(step.reads)]
    read |= {f"sink-{name}": spec.events for name, spec in sink_specs().items()}
    return {name: sorted({kind.topic() for kind in those}) for name, those in read.items()}


def delays(settings: Settings, only: set[str] | None = None) -> list[Delay]:
    """The lag of each consumer that has ever committed."""
    return [
        found
        for name, topics in consumers().items()
        if only is None or name in only
        if (found := _delay(settings, name, [settings.prefix + topic for topic in topics]))
    ]


def _delay(settings: Settings, name: str, topics: list[str]) -> Delay | None:
    reader = kafka.consumer(settings, name)
    try:
        existing = reader.list_topics(timeout=ANSWER_S).topics
        places = [
            TopicPartition(topic, number)
            for topic in topics
            if topic in existing
            for number in existing[topic].partitions
        ]
        committed = [
            each for each in reader.committed(places, timeout=ANSWER_S) if each.offset >= 0
        ]
        if name.startswith("sink-"):
            _begin_anew(settings, reader, committed)
        if not committed:
            return None
        ends = {
            (each.topic, each.partition): reader.get_watermark_offsets(each, timeout=ANSWER_S)[1]
            for each in committed
        }
        late = {
            (each.topic, each.partition): each.offset
            for each in committed
            if ends[each.topic, each.partition] > each.offset
        }
        return Delay(name, *(_oldest(settings, late, ends) if late else (0, 0)))
    finally:
        reader.close()


def _begin_anew(settings: Settings, reader: Consumer, committed: list[TopicPartition]) -> None:
    """Puts offsets that are of a topic of the same name, deleted since, to the beginning of the one
    there is.
    """
    ids = kafka.topic_ids(kafka.admin(settings), {each.topic for each in committed}, ANSWER_S)
    for each in committed:
        if is_of_another(each, ids.get(each.topic, "")):
            each.offset = reader.get_watermark_offsets(each, timeout=ANSWER_S)[0]


def _oldest(
    settings: Settings, late: dict[tuple[str, int], int], ends: dict[tuple[str, int], int]
) -> tuple[int, int]:
    """Unfinished records, at most, and the age of the oldest.

    Offsets of transaction markers are no records, so the first record is looked for: where there is
    none, nothing is left to do.
    """
    behind = 0
    oldest_ms = 0
    now_ms = int(time.time() * 1000)
    deadline = time.monotonic() + ANSWER_S
    reader = kafka.consumer(
        settings, "delays", None, **{"enable.partition.eof": True, "queued.min.messages": 1}
    )
    try:
        reader.assign([TopicPartition(*place, offset) for place, offset in late.items()])
        left = dict(late)
        while left and time.monotonic() < deadline:
            for message in reader.consume(1_000, 0.2):
                partition = str(message.topic()), int(message.partition() or 0)
                error = message.error()
                if partition not in left:
                    continue
                if error is None:
                    behind += ends[partition] - left.pop(partition)
                    oldest_ms = max(oldest_ms, now_ms - message.timestamp()[1])
                    reader.pause([TopicPartition(*partition)])
                elif error.code() == KafkaError._PARTITION_EOF:
                    del left[partition]
        return behind + sum(ends[place] - offset for place, offset in left.items()), oldest_ms
    finally:
        reader.close()
