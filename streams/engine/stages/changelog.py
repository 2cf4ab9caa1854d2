"""How does the state of a stage outlive its worker? In a compacted changelog, written in the same
transaction.

A partition's changelog holds the last value of every cell and one record of its own: where the
partition stands (its turn, which counts transactions, and the next offset of every input topic).
The turn is also the metadata of the committed offsets, so that changelog and offsets are seen to be
of one transaction, a timer's too, which moves no offset. Restoring reads committed records up to
the end of *all* records: asked only after `committed()` has answered, which waits for a dead twin's
transaction; asked before, an old state would meet a new offset.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.wire.topics import MESSAGE_BYTES_MAX
from streams.config import Settings
from streams.engine.kafka import (
    ANSWER_S,
    FETCH_BYTES,
    PATIENCE_S,
    RECONNECT,
    is_fatal,
    offset_of,
    patiently,
)

log = logging.getLogger(__name__)

PLACE = b'["place"]'


@dataclass(frozen=True)
class Changelog:
    """The changelog topic of a stage, in the shape that `kafka.create_topics` takes."""

    name: str
    partitions: int

    def config(self) -> dict[str, str]:
        """Small segments, cleaned soon: a restore reads what is not cleaned yet."""
        return {
            "cleanup.policy": "compact",
            "max.message.bytes": str(MESSAGE_BYTES_MAX),
            "segment.bytes": str(32 * 1024 * 1024),
            "segment.ms": "600000",
            "min.cleanable.dirty.ratio": "0.2",
            "delete.retention.ms": "3600000",
        }


def topic(key: str, partitions: int) -> Changelog:
    """The changelog of the stage with that key."""
    return Changelog(f"weir.state.{key}", partitions)


@dataclass
class Place:
    """Where a partition of a stage stands: how many transactions it has seen, and the next offset
    of each topic.
    """

    turn: int = 0
    offsets: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> bytes:
        return json.dumps({"turn": self.turn, "offsets": self.offsets}).encode()

    @classmethod
    def from_json(cls, text: bytes | None) -> "Place":
        return cls(**json.loads(text)) if text else cls()

    @classmethod
    def committed(cls, positions: Iterable[TopicPartition]) -> "Place":
        """What the group committed: offsets, and the turn out of their metadata."""
        known = [position for position in positions if position.offset >= 0]
        metadata = [position.metadata or "" for position in known]
        turns = [int(text) for text in metadata if text.isdigit()]
        return cls(max(turns, default=0), {position.topic: position.offset for position in known})


class Restorer:
    """Reads changelog partitions. Its clients stay open, so that a rebalance pays for no
    connection.
    """

    def __init__(self, settings: Settings, key: str, beat: Callable[[], None]):
        self._topic, self._beat = settings.prefix + topic(key, 0).name, beat
        common = (
            settings.kafka_properties()
            | RECONNECT
            | FETCH_BYTES
            | {
                "group.id": f"{settings.prefix}restore-{key}",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
                "fetch.error.backoff.ms": 50,
            }
        )
        self._ends = Consumer(common | {"isolation.level": "read_uncommitted"}, logger=log)
        self._reader = Consumer(
            common
            | {
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "queued.min.messages": 200_000,
                "queued.max.messages.kbytes": 131_072,
            },
            logger=log,
        )

    def read(self, partitions: Iterable[int]) -> dict[int, dict[bytes, bytes]]:
        """The last value of every cell, by partition. Raises KafkaException when that takes over
        two minutes.
        """
        cells: dict[int, dict[bytes, bytes]] = {partition: {} for partition in partitions}
        ends = {partition: self._bounds(partition) for partition in cells}
        waiting = {partition: end for partition, (first, end) in ends.items() if first < end}
        if not waiting:
            return cells
        self._reader.assign([TopicPartition(self._topic, p, ends[p][0]) for p in waiting])
        try:
            self._read_to(waiting, cells)
        finally:
            self._reader.unassign()
        return cells

    def _read_to(self, waiting: dict[int, int], cells: dict[int, dict[bytes, bytes]]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while waiting:
            self._beat()
            first = self._reader.poll(0.1)
            for message in () if first is None else (first, *self._reader.consume(20_000, 0)):
                partition = message.partition()
                if partition is None or (end := waiting.get(partition)) is None:
                    continue
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    if is_fatal(error):
                        raise KafkaException(error)
                    continue
                reached = offset_of(message)
                if error is None and reached < end:
                    _set(cells[partition], message.key() or b"", message.value())
                    reached += 1
                if reached >= end:
                    del waiting[partition]
            if waiting and time.monotonic() > deadline:
                raise KafkaException(
                    KafkaError(
                        KafkaError._TIMED_OUT,
                        f"{self._topic}{sorted(waiting)} was not read to its end in "
                        f"{PATIENCE_S:.0f} s: a transaction on it may still be open",
                    )
                )

    def _bounds(self, partition: int) -> tuple[int, int]:
        place = TopicPartition(self._topic, partition)
        return patiently(
            lambda: self._ends.get_watermark_offsets(place, timeout=ANSWER_S), self._beat
        )

    def close(self) -> None:
        self._ends.close()
        self._reader.close()


def _set(cells: dict[bytes, bytes], key: bytes, value: bytes | None) -> None:
    if value is None:
        cells.pop(key, None)
    else:
        cells[key] = value
