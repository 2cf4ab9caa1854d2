"""Batches with recorded boundaries: a successor makes exactly the same insert again.

The first and last offset of a cut are recorded in the offset commit's metadata before anything of
it is written. Whoever owns the partition next replays exactly that range, under the tokens that
follow from what was recorded with it. Without this, batches form anew after a crash: 90,000 rows
became 94,110. A log may hold several classes: a cut is a range of the log, and each class in it is
one insert, with a token of its own.
"""

import json
from bisect import bisect_right
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Message

from schemas.events.base import Event

Place = tuple[str, int]
PASSED_S = 5.0
"""For how long records that are only passed over wait for a commit."""


class RangeLost(Exception):
    """A recorded range cannot be read again as it was. The message says what to do."""


@dataclass(frozen=True)
class Range:
    """First and last offset of an insert, both of data records, and what else is part of its token:
    the epoch, and the id of the topic, without which a topic made anew would repeat the tokens of
    the one before.
    """

    first: int
    last: int
    epoch: str
    topic_id: str

    def metadata(self) -> str:
        return _compact({"f": self.first, "l": self.last, "e": self.epoch, "t": self.topic_id})

    def token(self, topic: str, partition: int, event: str) -> str:
        """The token of the insert that holds the range's records of one class."""
        return f"{topic}:{self.topic_id}:{partition}:{self.first}-{self.last}:{self.epoch}:{event}"


@dataclass(frozen=True)
class CommitMetadata:
    """What a commit's metadata says: of which topic the offset is ("" where nobody said it, as
    where an operator has set the offset), and the range that was being written.
    """

    topic_id: str = ""
    pending: Range | None = None

    def is_of_another(self, topic_id: str) -> bool:
        """Whether the commit is of another topic of the same name, so that its offset means nothing
        now.
        """
        return self.topic_id not in ("", topic_id)


def metadata_of(topic_id: str) -> str:
    """The metadata of a commit that has no range pending."""
    return _compact({"t": topic_id})


def read_metadata(metadata: str | None) -> CommitMetadata:
    """What a commit's metadata says. Raises RangeLost for foreign metadata."""
    if not metadata:
        return CommitMetadata()
    try:
        found = json.loads(metadata)
        topic_id = str(found["t"])
        if "f" not in found:
            return CommitMetadata(topic_id)
        return CommitMetadata(
            topic_id, Range(int(found["f"]), int(found["l"]), str(found["e"]), topic_id)
        )
    except (ValueError, TypeError, KeyError) as error:
        raise RangeLost(
            f"the offset commit's metadata {metadata[:100]!r} is not of a sink worker: another "
            "program "
            "uses this consumer group. Stop it, or set WEIR_PREFIX."
        ) from error


def _compact(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


@dataclass(frozen=True)
class Limits:
    """When a batch is large or old enough."""

    rows: int
    age_s: float
    size: int = 32 * 1024 * 1024


@dataclass
class ClassRows:
    """The records of one class in a cut, as the sink takes them."""

    kind: type[Event]
    prepared: Any
    rows: int
    written: bool = False


@dataclass
class Cut:
    """The records of one range. `recorded`: the range is in the committed metadata. `read`: they
    were made ready to be written, as `inserts` (none where no record of it can be stored).
    """

    range: Range
    messages: list[Message]
    recorded: bool
    read: bool = False
    inserts: list[ClassRows] = field(default_factory=list)


@dataclass
class Lane:
    """One partition: what was read and not yet cut, the cut under way, and how far rows are stored."""

    topic: str
    partition: int
    topic_id: str
    pending: Range | None
    buffer: list[Message] = field(default_factory=list)
    size: int = 0
    since: float = 0.0
    new: bool = False
    """No offset was ever committed for it, and nobody has looked yet whether there are rows of it
    all the same.
    """
    looking: Future[dict[str, int]] | None = None
    newest: int = -1
    """Offset of the last record read: a record that comes again is passed over."""
    passed_since: float | None = None
    """When a record that the sink does not want was passed over, and no commit has said so."""
    cut: Cut | None = None
    stored: int | None = None
    """Next offset after what is stored, as long as no commit has said so."""

    @property
    def place(self) -> Place:
        return self.topic, self.partition

    @property
    def rows(self) -> int:
        """Records in memory."""
        return len(self.buffer) + (len(self.cut.messages) if self.cut else 0)

    def add(self, message: Message, now: float) -> bool:
        """Takes a record; False where it comes again, or another has its offset: then it is left."""
        offset = message.offset()
        if offset <= self.newest:
            return False
        self.newest = offset
        if not self.buffer:
            self.since = now
        self.buffer.append(message)
        self.size += len(message)
        return True

    def pass_over(self, message: Message, now: float) -> bool:
        """A record of a class that the sink does not want; False as `add`. Within a recorded range
        it counts all the same: the range may begin or end with it.
        """
        if self.pending:
            return self.add(message, now)
        if message.offset() <= self.newest:
            return False
        self.newest = message.offset()
        self.passed_since = self.passed_since or now
        return True

    def needs_commit(self, now: float) -> bool:
        """Whether a commit should say how far rows are stored: where records wait, the one that
        records their range says it.
        """
        if self.cut or self.buffer or self.pending or self.new:
            return False
        if self.stored is not None:
            return True
        return self.passed_since is not None and now - self.passed_since >= PASSED_S

    @property
    def written_to(self) -> int:
        """The offset before which nothing is left to be written, where there is no cut."""
        if self.buffer and self.stored is not None:
            return self.stored
        return max(self.stored or 0, self.newest + 1)

    def committed(self) -> None:
        """A commit says how far rows are stored."""
        self.stored = self.passed_since = None

    def make_cut(self, limits: Limits, epoch: str, now: float) -> Cut | None:
        """The next cut, when it is time for one: a recorded range as soon as it is read whole, else
        by size or age.
        """
        if self.cut or not self.buffer:
            return None
        if self.pending:
            return self._replayed(self.pending)
        full = len(self.buffer) >= limits.rows or self.size >= limits.size
        if not full and now - self.since < limits.age_s:
            return None
        taken = self._take(self._count(limits), now)
        self.cut = Cut(
            Range(taken[0].offset(), taken[-1].offset(), epoch, self.topic_id),
            taken,
            recorded=False,
        )
        return self.cut

    def finish(self) -> None:
        """The cut's rows are stored."""
        self.stored = self.cut.range.last + 1
        self.cut = None

    def _replayed(self, pending: Range) -> Cut | None:
        if self.buffer[-1].offset() < pending.last:
            return None
        count = bisect_right(self.buffer, pending.last, key=lambda message: message.offset())
        taken = self._take(count, self.since)
        if not taken or taken[0].offset() != pending.first or taken[-1].offset() != pending.last:
            raise RangeLost(
                f"{self.topic}[{self.partition}]: records {pending.first} to {pending.last} were "
                "being "
                "written when a worker stopped, and are gone from the topic. Compare kafka_offset "
                "in the "
                f"table with that range, then move the group's offset past {pending.last} by hand."
            )
        self.pending = None
        self.cut = Cut(pending, taken, recorded=True)
        return self.cut

    def _count(self, limits: Limits) -> int:
        """How many of the buffer fit into one insert: at least one."""
        if self.size < limits.size:
            return min(len(self.buffer), limits.rows)
        size = 0
        for count, message in enumerate(self.buffer):
            size += len(message)
            if count == limits.rows or size > limits.size:
                return max(count, 1)
        return len(self.buffer)

    def _take(self, count: int, now: float) -> list[Message]:
        taken = self.buffer[:count]
        del self.buffer[:count]
        self.size -= sum(map(len, taken))
        self.since = now
        return taken
