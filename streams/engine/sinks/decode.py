"""Decodes the records of a batch, and finds those that can never be stored.

What our own steps wrote is not validated again: a sink that takes bytes is given them as they are,
after a walk that lets nothing through that reading would refuse; for the others values are read and
checked by column. Everything else, and everything in doubt, is validated event by event, so that
one bad record never holds up a partition.

Nothing here depends on the clock: a replay must find the same records bad as the first try did.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from schemas.events.base import Event
from schemas.events.operations import Reason
from schemas.wire.codec import HEAD, Codec, DecodeError
from schemas.wire.plain_values import Plain, plain_of, plain_of_value
from schemas.wire.record_types import RecordTypes, UnknownRecordTypeError
from schemas.wire.validator import InvalidRecordError, check, walk_of
from sinks.base import Batch, EncodedBatch, Sink
from streams.engine.sinks.batches import ClassRows

UNWALKABLE = (DecodeError, InvalidRecordError, IndexError, TypeError, UnicodeDecodeError)
UNSTORABLE = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError)
SEQ_DIGITS_MAX = 18
DAY_MS = 86_400_000
EARLIEST_MS = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp() * 1000)
LATEST_MS = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp() * 1000)


@dataclass(frozen=True)
class Bad:
    """A record for the dead letters, and why."""

    message: Message
    reason: Reason
    detail: str


class Reader:
    """Reads batches for one sink. One a thread, as the codec is."""

    def __init__(self, codec: Codec, sink: Sink, ours: Iterable[type[Event]], kept_days: float):
        """`ours`: the classes that only our own steps write. `kept_days`: how long the sink keeps
        an event.
        """
        self._codec, self._sink = codec, sink
        self._ours, self._kept_ms = frozenset(ours), kept_days * DAY_MS
        self._is_own: dict[tuple[type[Event], bytes], bool] = {}

    def read_all(
        self, types: RecordTypes, topic_id: str, messages: list[Message]
    ) -> tuple[list[ClassRows], list[Bad]]:
        """What the sink's `write` takes of each class, in the order of their first records, and the
        records that can never be stored. Raises as `read` does.
        """
        of_class, bad = sorted_by_class(types, messages)
        inserts = []
        for kind, those in of_class.items():
            prepared, rejected = self.read(kind, topic_id, those)
            bad += rejected
            if prepared is not None:
                inserts.append(ClassRows(kind, prepared, len(those) - len(rejected)))
        return inserts, bad

    def read(
        self, kind: type[Event], topic_id: str, messages: list[Message]
    ) -> tuple[Any, list[Bad]]:
        """What the sink's `write` takes (None where no record is left), and the records that can
        never be stored.

        Raises what the registry's client raises while the registry is away.
        """
        whole = self._unread(kind, topic_id, messages)
        if whole is not None:
            return whole, []
        good, bad = self._readable(kind, messages, validate=False)
        try:
            return self._prepared(kind, topic_id, good), bad
        except UNSTORABLE:
            return self._one_by_one(kind, topic_id, messages)

    def _unread(self, kind: type[Event], topic_id: str, messages: list[Message]) -> Any:
        """The batch for a sink that takes bytes; None where they have to be read, as one bad record
        is enough for.
        """
        if not messages or kind not in self._ours or not self._sink.accepts_encoded(kind):
            return None
        walk = walk_of(kind)
        if walk is None:
            return None
        texts: list[bytes] = []
        ids: list[bytes] = []
        values: list[bytes] = []
        begin = HEAD.size
        text = texts.append
        identity = ids.append
        try:
            for message in messages:
                value = message.value() or b""
                if not self._written_with_our_schema(kind, value):
                    return None
                self._check_age(walk(value, begin, text, identity), message)
                values.append(value[begin:])
            check(texts, ids)
        except UNWALKABLE:
            return None
        # The records of a batch have a place: nothing else comes into a lane.
        return self._sink.prepare(
            EncodedBatch(
                kind,
                cast("list[int]", [m.partition() for m in messages]),
                cast("list[int]", [m.offset() for m in messages]),
                list(map(seq_of, messages)),
                values,
                topic_id,
                [m.value() or b"" for m in messages],
                [m.key() or b"" for m in messages],
            )
        )

    def _one_by_one(
        self, kind: type[Event], topic_id: str, messages: list[Message]
    ) -> tuple[Any, list[Bad]]:
        good, bad = self._readable(kind, messages, validate=True)
        stored = []
        for message, fields in good:
            try:
                self._prepared(kind, topic_id, [(message, fields)])
                stored.append((message, fields))
            except UNSTORABLE as error:
                bad.append(Bad(message, "rejected", f"{type(error).__name__}: {error}"))
        return self._prepared(kind, topic_id, stored), bad

    def _prepared(self, kind: type[Event], topic_id: str, good: list[tuple[Message, Plain]]) -> Any:
        if not good:
            return None
        return self._sink.prepare(
            Batch(
                kind,
                cast("list[int]", [m.partition() for m, _ in good]),
                cast("list[int]", [m.offset() for m, _ in good]),
                [seq_of(m) for m, _ in good],
                [fields for _, fields in good],
                topic_id,
                [m.value() or b"" for m, _ in good],
                [m.key() or b"" for m, _ in good],
            )
        )

    def _readable(
        self, kind: type[Event], messages: list[Message], validate: bool
    ) -> tuple[list[tuple[Message, Plain]], list[Bad]]:
        good, bad = [], []
        for message in messages:
            try:
                fields = self._fields(kind, message, validate)
                self._check_age(fields["at"], message)
                good.append((message, fields))
            except DecodeError as error:
                bad.append(Bad(message, error.reason, error.detail))
        return good, bad

    def _fields(self, kind: type[Event], message: Message, validate: bool) -> Plain:
        value = message.value() or b""
        if not validate and kind in self._ours and self._written_with_our_schema(kind, value):
            try:
                return plain_of_value(kind, value)
            except Exception as error:  # fastavro raises whatever its C code meets in foreign bytes
                raise DecodeError("not_avro", f"{type(error).__name__}: {error}") from error
        return plain_of(self._codec.decode(kind, message.value(), message.key()))

    def _written_with_our_schema(self, kind: type[Event], value: bytes | None) -> bool:
        if value is None or len(value) < HEAD.size or value[0] != 0:
            raise DecodeError(
                "not_avro", "the value does not begin with a zero byte and a schema id"
            )
        at = kind, value[: HEAD.size]
        if at not in self._is_own:
            self._is_own[at] = self._codec.is_own(kind, HEAD.unpack_from(value)[1])
        return self._is_own[at]

    def _check_age(self, at_ms: int, message: Message) -> None:
        """Against the record's own time stamp, never the clock. A table's months are bounded by
        this too.
        """
        known, written_ms = message.timestamp()
        earliest_ms, latest_ms = EARLIEST_MS, LATEST_MS
        if known != TIMESTAMP_NOT_AVAILABLE:
            earliest_ms = max(written_ms - self._kept_ms, earliest_ms)
            latest_ms = min(written_ms + DAY_MS, latest_ms)
        if at_ms > latest_ms:
            raise DecodeError(
                "future",
                f"event time {_moment(at_ms)} is more than a day after the record was written",
            )
        if at_ms < earliest_ms:
            raise DecodeError(
                "expired",
                f"event time {_moment(at_ms)} is older than rows are kept "
                f"({self._kept_ms / DAY_MS:.0f} days)",
            )


def is_wanted(types: RecordTypes, message: Message) -> bool:
    """Whether a record is of a class that the sink takes. One of no class becomes a dead letter,
    when it is decoded.
    """
    try:
        return types.of(message) is not None
    except UnknownRecordTypeError:
        return True


def sorted_by_class(
    types: RecordTypes, messages: list[Message]
) -> tuple[dict[type[Event], list[Message]], list[Bad]]:
    """The records of each class that is wanted, and those of no class; the others are left out."""
    found: dict[type[Event], list[Message]] = {}
    bad = []
    for message in messages:
        try:
            kind = types.of(message)
        except UnknownRecordTypeError as error:
            bad.append(Bad(message, "unknown_schema", str(error)))
            continue
        if kind is not None:
            found.setdefault(kind, []).append(message)
    return found, bad


def seq_of(message: Message) -> int:
    """The number that the record's stage gave it; 0 where no stage made it, as one of more digits
    than a stage makes.
    """
    for name, value in message.headers() or ():
        if name == "weir_seq" and value and len(value) <= SEQ_DIGITS_MAX and value.isdigit():
            return int(value)
    return 0


def _moment(at_ms: int) -> str:
    if not 0 <= at_ms <= LATEST_MS:
        return f"{at_ms} ms"
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
