"""Tracks how far a partition of calls is answered, when answers come in any order.

Kafka keeps one committed offset a partition; calls end out of order. So the offset committed is the
oldest unfinished question, and its metadata says what is answered beyond it, which `once` calls
were started, and where in the answer topics the next answer will stand. A crash then repeats only
what was in flight.

    1;<answered_to - offset>;<unfinished below answered_to>;<started>;<position>,<position>...

The broker takes at most 4,096 bytes of metadata and a longer one would abort every transaction for
ever, so each part has its budget. Where the unfinished ones do not fit, the last state that fitted
is written again, with the answer positions of that moment: what was answered since is then found by
reading the answer topics from there.
"""

import base64
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

METADATA_CHARS_MAX = 4_095
UNFINISHED_CHARS = 2_200
STARTED_CHARS = 1_300
UNFINISHED_MAX = 1_500


@dataclass
class Tracker:
    """The questions of one partition. `next_offset` is that of the next record to read; `waiting`
    holds those read and not answered, `left` those that a predecessor read and did not answer, and
    that are yet to be read again.
    """

    next_offset: int
    answered_to: int = 0
    waiting: dict[int, None] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)
    started: set[int] = field(default_factory=set)
    positions: list[int] = field(default_factory=list)
    fitted: tuple[int, tuple[int, ...]] = (0, ())
    fits: bool = True

    @classmethod
    def restored(cls, offset: int, metadata: str, answer_topics: int) -> "Tracker":
        """The tracker that a committed offset and its metadata describe. Raises ValueError on
        foreign metadata.
        """
        answered_to, left, started, positions = decode(offset, metadata)
        positions = positions if len(positions) == answer_topics else [0] * answer_topics
        return cls(
            offset, answered_to, {}, left, started, positions, (answered_to, tuple(positions))
        )

    def learn(self, answered: Iterable[int]) -> None:
        """Offsets that the answer topics show as answered, whatever the committed metadata says."""
        found = {offset for offset in answered if offset >= self.next_offset}
        if found:
            further = max(self.answered_to, max(found) + 1)
            unknown = range(max(self.answered_to, self.next_offset), further)
            self.left, self.answered_to = (self.left | set(unknown)) - found, further
            self.started -= found

    def take(self, offset: int) -> bool:
        """Notes a record that was read, and says whether it is still to be answered."""
        self.next_offset = offset + 1
        answered = offset < self.answered_to and offset not in self.left
        self.left.discard(offset)
        if not answered:
            self.waiting[offset] = None
        return not answered

    def has_room(self) -> bool:
        """Whether more may be read: the unfinished ones must fit into the metadata."""
        return self.fits and len(self.waiting) < UNFINISHED_MAX

    def can_start(self, offsets: Iterable[int]) -> bool:
        """Whether these may be marked as started beside those that are."""
        return len(pack(self._relative(self.started | set(offsets)))) <= STARTED_CHARS

    def commit(self, answered: set[int], started: Iterable[int] = ()) -> tuple[int, str]:
        """The offset and metadata to commit with these answers and marks. Changes nothing; `settle`
        does.
        """
        return self._commit(answered, started)[:2]

    def settle(self, answered: set[int], started: Iterable[int] = ()) -> None:
        """The transaction with these answers and marks is committed."""
        self.fits = self._commit(answered, started)[2]
        for offset in answered:
            self.waiting.pop(offset, None)
        self.answered_to = max(self.answered_to, max(answered, default=-1) + 1)
        self.left = {offset for offset in self.left if offset >= self.next_offset}
        still = (self.started | set(started)) - answered
        self.started = {
            offset for offset in still if offset >= self.next_offset or offset in self.waiting
        }
        if self.fits:
            self.fitted = self.answered_to, tuple(self.positions)

    def _commit(self, answered: set[int], started: Iterable[int]) -> tuple[int, str, bool]:
        waiting = [offset for offset in self.waiting if offset not in answered]
        oldest = waiting[0] if waiting else self.next_offset
        marks = pack(
            [
                offset - oldest
                for offset in sorted((self.started | set(started)) - answered)
                if offset >= oldest
            ]
        )
        unfinished = waiting + sorted(offset for offset in self.left if offset >= self.next_offset)
        to = max(self.answered_to, max(answered, default=-1) + 1, oldest)
        packed = pack([offset - oldest for offset in unfinished if offset < to])
        positions: Sequence[int] = self.positions
        fits = len(packed) <= UNFINISHED_CHARS
        if not fits:
            to, positions = max(self.fitted[0], oldest), self.fitted[1]
            packed = pack([offset - oldest for offset in unfinished if offset < to])
        return oldest, f"1;{to - oldest};{packed};{marks};{','.join(map(str, positions))}", fits

    def _relative(self, offsets: set[int]) -> list[int]:
        first = min(
            next(iter(self.waiting), self.next_offset), min(offsets, default=self.next_offset)
        )
        return [offset - first for offset in sorted(offsets)]


def decode(offset: int, metadata: str) -> tuple[int, set[int], set[int], list[int]]:
    """Answered to, unfinished below that, started, positions. Raises ValueError where the metadata
    is not ours.
    """
    if not metadata:
        return offset, set(), set(), []
    parts = metadata.split(";")
    if len(parts) != 5 or parts[0] != "1":
        raise ValueError(
            f"the metadata of the committed offset {offset} was written by something else: "
            f"{metadata[:60]!r}. Commit the offset again without metadata, or use a new "
            "WEIR_PREFIX."
        )
    unfinished, started = ({offset + n for n in unpack(part)} for part in parts[2:4])
    return offset + int(parts[1]), unfinished, started, [int(n) for n in parts[4].split(",") if n]


def pack(numbers: Sequence[int]) -> str:
    """Rising numbers from 0 as short text: deltas, compressed deltas or a compressed bitmap,
    whichever is shortest.
    """
    if not numbers:
        return ""
    deltas = _varints(
        later - earlier for earlier, later in zip((0, *numbers), numbers, strict=False)
    )
    ways = [b"v" + deltas]
    if len(deltas) > 32:
        ways.append(b"z" + zlib.compress(deltas, 6))
        bits = bytearray(numbers[-1] // 8 + 1) if numbers[-1] < 1 << 20 else bytearray()
        if bits:
            for number in numbers:
                bits[number >> 3] |= 1 << (number & 7)
            ways.append(b"b" + zlib.compress(bytes(bits), 6))
    return base64.b64encode(min(ways, key=len)).decode().rstrip("=")


def unpack(text: str) -> list[int]:
    """The numbers that `pack` was given."""
    if not text:
        return []
    packed = base64.b64decode(text + "=" * (-len(text) % 4))
    way, body = packed[:1], packed[1:]
    if way == b"b":
        return [
            nth * 8 + bit
            for nth, byte in enumerate(zlib.decompress(body))
            for bit in range(8)
            if byte >> bit & 1
        ]
    numbers: list[int] = []
    for delta in _from_varints(body if way == b"v" else zlib.decompress(body)):
        numbers.append(delta + (numbers[-1] if numbers else 0))
    return numbers


def _varints(numbers: Iterable[int]) -> bytes:
    out = bytearray()
    for number in numbers:
        while number >= 128:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)
    return bytes(out)


def _from_varints(data: bytes) -> Iterable[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield number
            number = shift = 0
