"""One partition of a stage in a worker's hands, and the partition that a key belongs to.

That is where Java's default partitioner and librdkafka's murmur2_random put it. Every producer of a
topic must agree on this, or the state of a key would be split in two.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime

from confluent_kafka import Message

from streams.engine.kafka import offset_of, partition_of
from streams.engine.stages.changelog import PLACE, Place
from streams.engine.stages.core import Core

KEPT = 100_000
MASK = 0xFFFFFFFF


@dataclass
class Partition:
    """One partition of a stage in a worker's hands: its core, and where it stands."""

    number: int
    core: Core
    place: Place
    moved: set[str] = field(default_factory=set)
    dirty: bool = False
    ends: dict[str, int] = field(default_factory=dict)
    quiet_since: float = field(default_factory=time.monotonic)
    last_event_at: datetime | None = None
    windows_may_be_open: bool = True
    idle: bool = False

    def has_seen(self, topic: str, offset: int) -> bool:
        """Whether the record at that offset of the topic is taken already."""
        return offset < self.place.offsets.get(topic, 0)

    def pass_over(self, message: Message) -> None:
        """The record is taken: the next one of its topic is due."""
        topic, _ = partition_of(message)
        self.place.offsets[topic] = offset_of(message) + 1
        self.moved.add(topic)
        self.is_busy()

    def is_busy(self) -> None:
        """Something happens here: windows stay open."""
        self.quiet_since = time.monotonic()
        self.last_event_at = None
        self.windows_may_be_open = True

    @classmethod
    def restored(cls, number: int, core: Core, cells: dict[bytes, bytes]) -> "Partition":
        """Out of the last values in a changelog, which are used up."""
        place = Place.from_json(cells.pop(PLACE, None))
        for key, value in cells.items():
            core.load(key, value)
        core.check_whole()
        return cls(number, core, place)


class Partitioner:
    """Places of keys among so many partitions; those of the keys seen lately are remembered."""

    def __init__(self, partitions: int):
        self._partitions = partitions
        self._known: dict[bytes, int] = {}

    def of(self, key: bytes) -> int:
        place = self._known.get(key)
        if place is None:
            if len(self._known) >= KEPT:
                self._known.clear()
            place = self._known[key] = (murmur2(key) & 0x7FFFFFFF) % self._partitions
        return place


def murmur2(data: bytes, seed: int = 0x9747B28C, m: int = 0x5BD1E995, r: int = 24) -> int:
    """Murmur2 as Kafka's clients have it: 32 bits, little-endian words, this seed."""
    length = len(data)
    h = (seed ^ length) & MASK
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & MASK
        k = (k ^ k >> r) * m & MASK
        h = (h * m & MASK) ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & MASK
    h = (h ^ h >> 13) * m & MASK
    return h ^ h >> 15
