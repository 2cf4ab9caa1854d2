"""Are rows made of a record's bytes the same as those made of its values, to the last column?"""

import contextlib
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from schemas.catalogue import event_classes, landed_classes
from schemas.events.base import Event
from schemas.events.usage import TokensUsed
from schemas.events.values import Tokens
from schemas.wire.codec import HEAD, Codec, LocalIds, from_json
from sinks.base import EncodedBatch, decoded
from sinks.clickhouse.avro_rows import AvroRows, accepts_encoded, number
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrations import make_tables
from sinks.clickhouse.rows import ColumnBatch, column_batch
from sinks.clickhouse.sink import ClickHouseSink
from tests.sinks.clickhouse.test_rows import EXAMPLES, batch_of

CODEC = Codec(LocalIds(event_classes()))
TAKEN = [kind for kind in landed_classes() if accepts_encoded(kind)]
COMMON = {
    "at": datetime(2026, 5, 5, 12, 0, 0, 7000, UTC),
    "tenant": "acmé",
    "run": UUID(int=0),
    "agent": "a",
    "agent_version": 2**53,
    "provider": "p",
}
EXTREMES = [
    TokensUsed(
        **COMMON,
        id=UUID(int=2**128 - 1),
        session="s",
        model="m" * 200,
        tokens=Tokens(),
        cost_usd=Decimal("99999999999.999999999999"),
    ),
    TokensUsed(
        **COMMON,
        id=UUID(int=1),
        cause=UUID(int=5),
        session="\N{ROCKET}\n\0'",
        user="x" * 9_000,
        model="m",
        tokens=Tokens(input_tokens=2**53, output_tokens=128),
        cost_usd=Decimal(0),
    ),
    TokensUsed(
        **COMMON, id=UUID(int=2), session="s", user="", model="m", tokens=Tokens(output_tokens=64)
    ),
]


def examples(kind: type[Event]) -> list[Event]:
    found = [
        from_json(kind, path.read_text())
        for path in sorted((EXAMPLES / kind.__name__).glob("*.json"))
    ]
    return found + (EXTREMES if kind is TokensUsed else [])


def bodies_of(*events: Event) -> EncodedBatch:
    same = batch_of(*events)
    return EncodedBatch(
        same.kind,
        same.partitions,
        same.offsets,
        same.seqs,
        [CODEC.encode(e)[HEAD.size :] for e in events],
        same.topic_id,
    )


def test_most_classes_are_taken_as_they_are():
    assert {"RunFinished", "SpanEnded", "TokensUsed", "VerdictReached"} <= {
        kind.__name__ for kind in TAKEN
    }


@pytest.mark.parametrize("kind", TAKEN, ids=lambda kind: kind.__name__)
def test_bodies_are_read_back_as_the_batch_they_are(kind):
    assert column_batch(decoded(bodies_of(*examples(kind)))) == column_batch(
        batch_of(*examples(kind))
    )


@pytest.mark.parametrize(
    "value, written", [(0, b"\0"), (63, b"\x7e"), (64, b"\x80\x01"), (300, b"\xd8\x04")]
)
def test_numbers_are_written_as_avro_writes_them(value, written):
    assert number(value) == written


@pytest.mark.engine
@pytest.mark.parametrize("kind", TAKEN, ids=lambda kind: kind.__name__)
def test_bytes_and_values_make_the_same_rows(clickhouse_url, kind):
    events = examples(kind)
    rows = {}
    for way, batch in {"bytes": bodies_of(*events), "values": batch_of(*events)}.items():
        client = database(clickhouse_url)
        sink = ClickHouseSink(clickhouse_url, client.database)
        prepared = sink.prepare(batch)
        assert isinstance(prepared, AvroRows if way == "bytes" else ColumnBatch)
        for _ in range(2):  # the second is a repeat
            sink.write(prepared, "token")
        table = kind.table
        rows[way] = client.query(
            f"SELECT * EXCEPT landed_at FROM {table} ORDER BY kafka_offset"
        ).result_rows
        assert len(rows[way]) == len(events)
        client.close()
    assert rows["bytes"] == rows["values"]


@pytest.mark.parametrize(
    ("error", "as_columns"),
    [
        (OperationalError("read timed out"), False),
        (DatabaseError("Code: 73. Unknown format Avro"), True),
    ],
)
def test_a_server_that_is_away_has_refused_no_avro(monkeypatch, error, as_columns):
    """Else, after an outage, every batch of the table would go the slower way until the worker is
    started anew.
    """
    said = []

    def refuses(*_, **__):
        raise error

    client = SimpleNamespace(
        raw_insert=refuses, insert=lambda *_, **__: said.append("columns"), close=lambda: None
    )
    monkeypatch.setattr("sinks.clickhouse.sink.connect", lambda *_: client)
    monkeypatch.setattr(ClickHouseSink, "_types_of", lambda *_: defaultdict(str))
    sink = ClickHouseSink("", "")
    with contextlib.suppress(OperationalError):
        sink.write(sink.prepare(bodies_of(*EXTREMES)), "token")
    assert (said == ["columns"]) == as_columns == bool(sink._no_avro)


@pytest.mark.engine
def test_a_repeat_is_dropped_whichever_way_it_comes(clickhouse_url):
    client = database(clickhouse_url)
    event = examples(TokensUsed)[0]
    sink = ClickHouseSink(clickhouse_url, client.database)
    for batch in (bodies_of(event), batch_of(event), bodies_of(event)):
        sink.write(sink.prepare(batch), "token")
    assert client.query("SELECT count() FROM token_usage").result_rows == [(1,)]
    assert client.query("SELECT sum(calls) FROM usage_by_hour").result_rows == [(1,)]


@pytest.mark.engine
def test_a_server_that_refuses_avro_is_given_columns(clickhouse_url, monkeypatch):
    client = database(clickhouse_url)
    asked = []

    def refuse(self: Client, table: str, **_: object) -> None:
        asked.append(table)
        raise DatabaseError("no such format")

    monkeypatch.setattr(type(client), "raw_insert", refuse)
    sink = ClickHouseSink(clickhouse_url, client.database)
    for nth, event in enumerate(examples(TokensUsed)):
        sink.write(sink.prepare(bodies_of(event)), f"token {nth}")
    assert client.query("SELECT count() FROM token_usage").result_rows == [
        (len(examples(TokensUsed)),)
    ]
    assert asked == ["token_usage"], "a server that refused once is not asked again"


@pytest.mark.engine
def test_an_insert_that_neither_way_takes_is_raised(clickhouse_url):
    sink = ClickHouseSink(clickhouse_url, f"t{uuid4().hex[:8]}")
    with pytest.raises(DatabaseError):
        sink.write(sink.prepare(bodies_of(*EXTREMES)), "token")


def database(url: str) -> Client:
    name = f"t{uuid4().hex[:8]}"
    make_tables(url, name, 3650)
    return connect(url, name)
