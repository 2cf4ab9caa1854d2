"""A batch is what a sink worker writes at once: a range of records of each of several partitions.

Its ranges are recorded in the metadata of the offset commits of all its partitions, in one commit,
before the first insert begins. Whoever owns one of the partitions next replays exactly these
ranges, under tokens that derive from them. Without this, batches form anew after a crash: 90,000
rows became 94,110.
"""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from itertools import accumulate
from typing import Any

from confluent_kafka import Message

from schemas.events.base import Event
from streams.engine.kafka import offset_of

PASSED_S = 1.0
METADATA_MAX = 3_500
"""Bytes of a batch's metadata; the broker takes 4,096 (`offset.metadata.max.bytes`)."""

Partition = tuple[str, int]
"""Topic and partition."""


class RangeLostError(Exception):
    """A recorded range cannot be read again as it was. The message says what to do."""


@dataclass(frozen=True)
class Range:
    """First and last offset of a partition's part of a batch, both of data records, and the id of
    its topic, without which a topic made anew would repeat the tokens of the one before.
    """

    first: int
    last: int
    topic_id: str = ""


@dataclass(frozen=True)
class BatchRanges:
    """What is recorded of a batch: the range of each of its partitions, and the sink's epoch."""

    ranges: Mapping[Partition, Range]
    epoch: str

    def metadata(self) -> str:
        """The same text on every partition of the batch."""
        topics: dict[str, tuple[str, dict[str, list[int]]]] = {}
        for (topic, partition), one in sorted(self.ranges.items()):
            _, partitions = topics.setdefault(topic, (one.topic_id, {}))
            partitions[str(partition)] = [one.first, one.last]
        return _compact({"e": self.epoch, "r": topics})

    def token(self, group: str) -> str:
        """The token of the insert of one group of the batch's classes."""
        return f"{sha256(self.metadata().encode()).hexdigest()[:32]}:{group}"


@dataclass(frozen=True)
class Committed:
    """A partition's commit: its offset, negative where there is none; the batch that it records,
    where one was being written; and the id of the topic that it is of ("" where nobody said it, as
    where an operator has set the offset).
    """

    offset: int
    recorded: BatchRanges | None = None
    topic_id: str = ""

    def is_of_another(self, topic_id: str) -> bool:
        """Whether the commit is of another topic of the same name, so that its offset means nothing
        now.
        """
        return self.topic_id not in ("", topic_id)


def metadata_of(topic_id: str) -> str:
    """The metadata of a commit that records no batch."""
    return _compact({"t": topic_id})


def committed_in(place: Partition, offset: int, metadata: str | None) -> Committed:
    """What a partition's commit says. Raises RangeLostError for foreign metadata."""
    if not metadata:
        return Committed(offset)
    try:
        found = json.loads(metadata)
        if "r" not in found:
            return Committed(offset, None, str(found["t"]))
        ranges = {
            (topic, int(partition)): Range(int(ends[0]), int(ends[1]), str(topic_id))
            for topic, (topic_id, partitions) in found["r"].items()
            for partition, ends in partitions.items()
        }
        return Committed(offset, BatchRanges(ranges, str(found["e"])), ranges[place].topic_id)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise RangeLostError(
            f"the offset commit's metadata {metadata[:100]!r} is not of a sink worker: another "
            "program uses this consumer group. Stop it, or set WEIR_PREFIX."
        ) from error


def _compact(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


class Fate(Enum):
    """What became of a recorded batch whose worker is gone."""

    OPEN = "it may have been written or not: it has to be written under its tokens"
    STORED = "it was written: one of its partitions has gone on"
    VOID = "it was never recorded on all of its partitions, so it was never begun"


def fate_of(batch: BatchRanges, commits: Mapping[Partition, Committed]) -> Fate:
    """Decides from the commits of all partitions of a batch.

    Raises RangeLostError where they do not say.
    """
    if all(commits[place].recorded == batch for place in batch.ranges):
        return Fate.OPEN
    if any(commits[place].offset > one.last for place, one in batch.ranges.items()):
        return Fate.STORED
    gone = [place for place in batch.ranges if commits[place].offset < 0]
    if gone:
        topic, partition = gone[0]
        raise RangeLostError(
            f"{topic}[{partition}]: its offsets are gone, and a batch with records of it was being "
            f"written when a worker stopped. Compare kafka_offset in the tables with "
            f"{batch.metadata()}, then set the group's offsets by hand."
        )
    return Fate.VOID


@dataclass(frozen=True)
class Limits:
    """The size of a batch above which no record waits for others."""

    rows: int
    size: int = 32 * 1024 * 1024


@dataclass
class ClassRows:
    """The records of one class in a batch, as the sink takes them."""

    kind: type[Event]
    prepared: Any
    rows: int


@dataclass
class Lane:
    """One partition: what was read and is in no batch yet, and how far its records are stored."""

    topic: str
    partition: int
    topic_id: str = ""
    buffer: list[Message] = field(default_factory=list)
    size: int = 0
    since: float = 0.0
    """When the oldest record of the buffer was read."""
    new: bool = False
    """No offset was ever committed for it, and the sink was not yet asked whether it has rows."""
    looking: Future[dict[str, int]] | None = None
    newest: int = -1
    """Offset of the last record read: a record that comes again is left."""
    replaying: bool = False
    """A recorded batch with records of it has to be written first."""
    passed_since: float | None = None
    """When a record that the sink does not want was passed over, and no commit has said so."""
    stored: int | None = None
    """Next offset after what is stored, as long as no commit has said so."""

    @property
    def place(self) -> Partition:
        return self.topic, self.partition

    def add(self, message: Message, now: float) -> bool:
        """Takes a record. False where it comes again, or another has its offset: it is left
        then.
        """
        offset = offset_of(message)
        if offset <= self.newest:
            return False
        self.newest = offset
        if not self.buffer:
            self.since = now
        self.buffer.append(message)
        self.size += len(message)
        return True

    def pass_over(self, message: Message, now: float) -> bool:
        """A record of a class that the sink does not want; False as `add`."""
        offset = offset_of(message)
        if offset <= self.newest:
            return False
        self.newest = offset
        self.passed_since = self.passed_since or now
        return True

    def needs_commit(self, now: float) -> bool:
        """Whether a commit should tell how far records are stored. What was passed over while
        records wait is committed with them.
        """
        if self.replaying:
            return False
        if self.stored is not None:
            return True
        passed = self.passed_since is not None and now - self.passed_since >= PASSED_S
        return passed and not self.buffer and not self.new

    @property
    def written_to(self) -> int:
        """The offset before which nothing is left to be written, where no batch is under way."""
        if self.buffer and self.stored is not None:
            return self.stored
        return max(self.stored or 0, self.newest + 1)

    def committed(self) -> None:
        """A commit says how far records are stored."""
        self.stored = self.passed_since = None

    def take(self, rows: int, size: int, now: float) -> list[Message]:
        """The oldest records, as many as fit; they leave the buffer."""
        sizes = accumulate(map(len, self.buffer[:rows]))
        count = sum(1 for total in sizes if total <= size)
        taken = self.buffer[:count]
        del self.buffer[:count]
        self.size -= sum(map(len, taken))
        self.since = now
        return taken


@dataclass
class SinkBatch:
    """The records of one batch. `recorded_there`: its ranges are in the committed metadata.
    `prepared`: by group of classes, what the sink's `write` takes. `bad`: (place, record) pairs for
    the dead letters.
    """

    recorded: BatchRanges
    messages: dict[Partition, list[Message]]
    is_recorded: bool = False
    prepared: dict[str, list[Any]] = field(default_factory=dict)
    landing: dict[type[Event], int] = field(default_factory=dict)
    """How many records of each class are prepared."""
    bad: list[Any] = field(default_factory=list)
    written: set[str] = field(default_factory=set)
    """The groups that are stored."""

    @property
    def rows(self) -> int:
        return sum(map(len, self.messages.values()))

    @property
    def size(self) -> int:
        return sum(len(message) for each in self.messages.values() for message in each)


def next_batch(lanes: Iterable[Lane], limits: Limits, epoch: str, now: float) -> SinkBatch | None:
    """A batch of what waits longest, of as many partitions as its limits and its metadata allow;
    None where nothing waits. One record that is too large alone is a batch.
    """
    messages: dict[Partition, list[Message]] = {}
    ids: dict[Partition, str] = {}
    rows, size, metadata = limits.rows, limits.size, METADATA_MAX - len(epoch) - 20
    for lane in sorted((one for one in lanes if one.buffer), key=lambda one: one.since):
        metadata -= len(lane.topic) + len(lane.topic_id) + 60
        if metadata < 0 or rows <= 0:
            break
        before = lane.since
        taken = lane.take(rows, size if messages else max(size, len(lane.buffer[0])), now)
        if not taken:
            lane.since = before
            break
        messages[lane.place] = taken
        ids[lane.place] = lane.topic_id
        rows, size = rows - len(taken), size - sum(map(len, taken))
    if not messages:
        return None
    ranges = {
        place: Range(offset_of(taken[0]), offset_of(taken[-1]), ids[place])
        for place, taken in messages.items()
    }
    return SinkBatch(BatchRanges(ranges, epoch), messages)


def replayed(recorded: BatchRanges, messages: Mapping[Partition, list[Message]]) -> SinkBatch:
    """A recorded batch, of its records read again; partitions that are not there are left out,
    because their topic is another now. Raises RangeLostError where records are not the same.
    """
    for place, found in messages.items():
        one = recorded.ranges[place]
        if not found or offset_of(found[0]) != one.first or offset_of(found[-1]) != one.last:
            raise RangeLostError(
                f"{place[0]}[{place[1]}]: records {one.first} to {one.last} were being written "
                "when a worker stopped, and are gone from the topic. Compare kafka_offset in the "
                f"tables with that range, then move the group's offset past {one.last} by hand."
            )
    return SinkBatch(recorded, dict(messages), is_recorded=True)
