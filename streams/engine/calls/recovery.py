"""Finds which calls were answered, whatever the committed offsets say.

A broker killed in mid-commit was seen to keep the answers of a transaction and to lose its offsets
(one kill in four). So whoever takes a partition over reads the answer topics, from where the last
commit says that they stood, to their ends. Each answer names its question in the header
`weir_asked`, as `topic/offset`; it stands in the same partition.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.config import Settings
from streams.engine.kafka import (
    ANSWER_S,
    FETCH_BYTES,
    RECONNECT,
    log,
    offset_of,
    partition_of,
    patiently,
    record_headers,
)

HEADER = "weir_asked"
PLACE = re.compile(rb"([a-zA-Z0-9._-]{1,249})/([0-9]{1,18})")
Position = tuple[str, int]


def header(topic: str, offset: int) -> tuple[str, bytes]:
    """What an answer bears of the record that asked."""
    return HEADER, f"{topic}/{offset}".encode()


def question_of(message: Message) -> tuple[Position, int] | None:
    """The partition and offset of the question that a record answers; None where it bears no such
    header.
    """
    for name, value in record_headers(message) or ():
        if name == HEADER and isinstance(value, bytes) and (found := PLACE.fullmatch(value)):
            _, number = partition_of(message)
            return (found[1].decode(), number), int(found[2])
    return None


class Answers:
    """Reads answer topics. One pair of consumers serves all assignments of a worker."""

    def __init__(self, settings: Settings, beat: Callable[[], None]):
        common = (
            settings.kafka_properties()
            | RECONNECT
            | FETCH_BYTES
            | {
                "group.id": settings.prefix + "answers",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
                "fetch.error.backoff.ms": 20,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            }
        )
        self._ends = Consumer(common | {"isolation.level": "read_uncommitted"}, logger=log)
        self._reader = Consumer(common | {"isolation.level": "read_committed"}, logger=log)
        self._beat = beat

    def read(
        self, starts: Mapping[Position, int]
    ) -> tuple[dict[Position, set[int]], dict[Position, int]]:
        """The offsets answered by question partition, and the end of each answer partition that was
        read.

        Call it after `committed()` of the questions: then no transaction of theirs is open.
        """
        ends: dict[Position, int] = {}
        left: dict[Position, int] = {}
        for position, start in starts.items():
            low, high = patiently(
                lambda at=position: self._ends.get_watermark_offsets(
                    TopicPartition(*at), timeout=ANSWER_S
                ),
                self._beat,
            )
            ends[position] = max(start, high)
            if max(start, low) < high:
                left[position] = max(start, low)
        found: dict[Position, set[int]] = defaultdict(set)
        self._reader.assign(
            [TopicPartition(topic, number, offset) for (topic, number), offset in left.items()]
        )
        while left:
            self._beat()
            for message in self._reader.consume(5_000, 0.05):
                passed = 0
                if self._is_answer(message):
                    asked = question_of(message)
                    if asked:
                        found[asked[0]].add(asked[1])
                    passed = 1
                position = partition_of(message)
                if offset_of(message) + passed >= ends[position]:
                    left.pop(position, None)
        self._reader.unassign()
        return found, ends

    def close(self) -> None:
        self._ends.close()
        self._reader.close()

    @staticmethod
    def _is_answer(message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        return False
