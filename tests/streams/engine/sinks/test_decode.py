"""Is every record either stored or among the dead letters, with its reason, and the same ones the
next time?
"""

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_NOT_AVAILABLE
from hypothesis import given
from hypothesis import strategies as st

from schemas.catalogue import event_classes
from schemas.events.base import Event
from schemas.events.feedback import FeedbackGiven
from schemas.events.guardrails import VerdictReached
from schemas.events.tracing import SpanEnded
from schemas.events.usage import TokensUsed
from schemas.wire.avro_schema import schema_of
from schemas.wire.codec import HEAD, Codec, LocalIds, from_json, headers_of
from schemas.wire.record_types import RecordTypes
from schemas.wire.writer_schemas import Registered
from sinks.base import EncodedBatch, decoded
from sinks.clickhouse.avro_rows import AvroRows, accepts_encoded, avro_rows
from sinks.clickhouse.rows import column_batch
from streams.engine.sinks.decode import Bad, Reader, seq_of
from streams.topology import VALIDATED

EXAMPLES = Path(__file__).parents[4] / "schemas" / "examples"
CODEC = Codec(LocalIds(event_classes()))
USED = from_json(TokensUsed, (EXAMPLES / "TokensUsed" / "full.json").read_text())
GIVEN = from_json(FeedbackGiven, (EXAMPLES / "FeedbackGiven" / "full.json").read_text())


@dataclass
class Record:
    """As much of a Kafka message as a reader looks at."""

    bytes: bytes | None
    record_key: bytes | None = None
    number: int = 0
    written: datetime = USED.at
    has: list[tuple[str, bytes]] = field(default_factory=list)

    def value(self) -> bytes | None:
        return self.bytes

    def key(self) -> bytes | None:
        return self.record_key

    def offset(self) -> int:
        return self.number

    def partition(self) -> int:
        return 2

    def headers(self) -> list[tuple[str, bytes]]:
        return self.has

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_CREATE_TIME, int(self.written.timestamp() * 1000)


class Sink:
    """Makes rows as the real one does, and has no one to send them to."""

    name, rows_max, epoch = "rows", 1_000, "e"

    def __init__(self, bytes_too: bool = True):
        self._bytes_too = bytes_too

    def accepts_encoded(self, kind: type[Event]) -> bool:
        return self._bytes_too and accepts_encoded(kind)

    def prepare(self, batch: Any) -> Any:
        return avro_rows(batch) if isinstance(batch, EncodedBatch) else column_batch(batch)


def reader(bytes_too: bool = True) -> Reader:
    return Reader(CODEC, Sink(bytes_too), VALIDATED, kept_days=365)


def read(kind, *records: Record) -> tuple[list[int], list[tuple[int, str]]]:
    """Offsets stored, offsets and reasons of the others: whether or not the sink takes bytes, they
    are the same.
    """
    for number, record in enumerate(records):
        record.number = number
    first, second = (
        outcome(*reader(bytes_too).read(kind, "id", list(records))) for bytes_too in (True, False)
    )
    assert first == second
    return first


def outcome(prepared: Any, bad: list[Bad]) -> tuple[list[int], list[tuple[int, str]]]:
    made = column_batch(decoded(prepared.bodies)) if isinstance(prepared, AvroRows) else prepared
    stored = made.values[made.names.index("kafka_offset")] if made else []
    return stored, [(each.message.offset(), each.reason) for each in bad]


def good(event=USED, **more: Any) -> Record:
    return Record(CODEC.encode(event), event.partition_key().encode(), **more)


def unvalidated(kind, **wrong: Any) -> bytes:
    """A record that the class would never have let through, as another program may write it."""
    fields = (USED if kind is TokensUsed else GIVEN).model_dump() | wrong
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema_of(kind)), fields)
    return HEAD.pack(0, LocalIds(event_classes()).id_of(kind)) + body.getvalue()


TOKENS = USED.tokens.model_dump()


@pytest.mark.parametrize(
    "record, reason",
    [
        (Record(b"junk"), "not_avro"),
        (Record(b""), "not_avro"),
        (Record(None), "not_avro"),
        (Record(HEAD.pack(0, 9_999) + b"abc"), "unknown_schema"),
        (Record(CODEC.encode(GIVEN)), "unknown_schema"),
        (Record(CODEC.encode(USED)[:-3]), "not_avro"),
        (Record(CODEC.encode(USED) + b"more"), "not_avro"),
        (Record(unvalidated(TokensUsed, tokens=TOKENS | {"input_tokens": -7})), "invalid"),
        (Record(unvalidated(TokensUsed, agent_version=-1)), "invalid"),
        (good(written=USED.at - timedelta(days=2)), "future"),
        (good(written=USED.at + timedelta(days=366)), "expired"),
        (Record(unvalidated(TokensUsed, at=datetime(1970, 1, 1, tzinfo=UTC))), "expired"),
        (
            Record(
                unvalidated(TokensUsed, at=datetime(2200, 1, 1, tzinfo=UTC)),
                written=datetime(2300, 1, 1, tzinfo=UTC),
            ),
            "future",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_bad_record_goes_alone(record, reason):
    assert read(TokensUsed, good(), record, good()) == ([0, 2], [(1, reason)])


@pytest.mark.parametrize(
    "record, reason",
    [
        (Record(unvalidated(FeedbackGiven, score=7.0)), "invalid"),
        (Record(unvalidated(FeedbackGiven, tenant="")), "invalid"),
        (Record(CODEC.encode(GIVEN), b"another"), "wrong_key"),
    ],
)
def test_what_comes_from_outside_is_validated_whole(record, reason):
    fine = good(GIVEN, written=GIVEN.at)
    record.written = GIVEN.at
    assert read(FeedbackGiven, fine, record) == ([0], [(1, reason)])


def test_a_batch_without_a_bad_record_is_not_read_at_all():
    prepared, bad = reader().read(
        TokensUsed, "id", [good(number=7, has=[("weir_seq", b"5")]), good(number=9)]
    )
    assert isinstance(prepared, AvroRows) and not bad
    assert (prepared.bodies.offsets, prepared.bodies.seqs, prepared.bodies.partitions) == (
        [7, 9],
        [5, 0],
        [2, 2],
    )


def test_a_batch_of_nothing_but_bad_records_has_no_rows():
    assert read(TokensUsed, Record(b"x"), Record(b"y")) == ([], [(0, "not_avro"), (1, "not_avro")])


def test_a_record_without_a_time_stamp_is_taken():
    record = good()
    record.timestamp = lambda: (TIMESTAMP_NOT_AVAILABLE, -1)
    assert read(TokensUsed, record) == ([0], [])


@pytest.mark.parametrize(
    "headers, seq",
    [
        ([], 0),
        ([("weir_seq", b"17")], 17),
        ([("weir_seq", b"-1")], 0),
        ([("weir_seq", b"x")], 0),
        (None, 0),
        ([("weir_seq", b"9" * 5_000)], 0),
    ],
)
def test_the_stage_s_number_is_read_from_its_header(headers, seq):
    assert seq_of(Record(b"", has=headers)) == seq


@pytest.mark.parametrize("kind", [TokensUsed, FeedbackGiven])
@pytest.mark.parametrize("bytes_too", [False, True])
@pytest.mark.parametrize(
    "found",
    [
        Registered("", "PROTOBUF"),
        Registered('"string"'),
        Registered('["null", "string"]'),
        Registered("{"),
        Registered(
            '{"type": "record", "name": "TokensUsed", "fields": [{"name": "x", "type": "acme.Money"}]}'
        ),
    ],
)
def test_a_foreign_schema_is_a_dead_letter_between_good_records(kind, bytes_too, found):
    class Ids(LocalIds):
        def schema_with(self, schema_id: int) -> Registered | None:
            return found if schema_id == 999 else super().schema_with(schema_id)

    event = {TokensUsed: USED, FeedbackGiven: GIVEN}[kind]
    values = [CODEC.encode(event), HEAD.pack(0, 999) + b"\x02a", CODEC.encode(event)]
    reader = Reader(Codec(Ids(event_classes())), Sink(bytes_too), VALIDATED, kept_days=365)
    records = [
        Record(value, event.partition_key().encode(), number, event.at)
        for number, value in enumerate(values)
    ]
    assert outcome(*reader.read(kind, "id", records)) == ([0, 2], [(1, "unknown_schema")])


@given(
    st.lists(
        st.one_of(
            st.just(None),
            st.binary(max_size=60),
            st.builds(
                lambda cut, byte: CODEC.encode(USED)[:cut] + byte,
                st.integers(0, 300),
                st.binary(max_size=3),
            ),
        ),
        max_size=12,
    )
)
def test_whatever_the_bytes_are_nothing_is_lost_and_nothing_raises(values):
    records = [Record(value) for value in values]
    stored, bad = read(TokensUsed, *records)
    assert sorted([*stored, *(number for number, _ in bad)]) == list(range(len(records)))
    assert read(TokensUsed, *records) == (stored, bad)


def test_each_class_of_a_log_is_read_apart_and_what_is_of_none_is_bad():
    """What the sink does not want is left out without a look at its value."""
    types = RecordTypes("", (VerdictReached, SpanEnded))
    verdict, span = (
        from_json(kind, (EXAMPLES / kind.__name__ / "full.json").read_text())
        for kind in (VerdictReached, SpanEnded)
    )
    records = [
        LogRecord(CODEC.encode(verdict), written=verdict.at, has=headers_of(verdict)),
        LogRecord(CODEC.encode(span), written=span.at, has=headers_of(span)),
        LogRecord(b"not looked at", has=[("ce_type", b"weir.agent.RequestCleared")]),
        LogRecord(CODEC.encode(verdict), written=verdict.at, has=headers_of(verdict)),
        LogRecord(CODEC.encode(span), has=[]),
    ]
    for number, record in enumerate(records):
        record.number = number
    found, bad = reader().read_all(types, "id", records)
    assert [(each.kind, each.rows) for each in found] == [(VerdictReached, 2), (SpanEnded, 1)]
    assert [outcome(each.prepared, [])[0] for each in found] == [[0, 3], [1]]
    assert [(each.message.offset(), each.reason) for each in bad] == [(4, "unknown_schema")]


class LogRecord(Record):
    """A record of the log that those classes share."""

    def topic(self) -> str:
        return SpanEnded.topic()
