"""Do the tables come to be, say what they are, and take each row once?"""

from uuid import UUID, uuid4

import pytest

from schemas.catalogue import landed_classes
from schemas.wire.codec import from_json
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrations import make_tables
from sinks.clickhouse.rows import column_batch
from sinks.clickhouse.sink import ClickHouseSink
from tests.sinks.clickhouse.test_rows import EXAMPLES, batch_of, expected

pytestmark = pytest.mark.engine
TOTALS = {
    "runs": ("runs_by_hour", "runs"),
    "spans": ("steps_by_hour", "steps"),
    "token_usage": ("usage_by_hour", "calls"),
    "feedback": ("feedback_by_day", "given"),
}


def test_every_table_and_every_column_says_what_it_is(database):
    tables = database.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND comment = ''"
    )
    in_tables = database.query("""SELECT table, name FROM system.columns
    WHERE database = currentDatabase()
        AND comment = '' AND NOT endsWith(table, '_view')""")
    assert (tables.result_rows, in_tables.result_rows) == ([], [])


def test_every_table_that_takes_rows_remembers_tokens(database):
    forgetful = database.query("""SELECT name FROM system.tables WHERE database = currentDatabase()
        AND engine LIKE '%MergeTree' AND name != 'schema_migrations'
        AND position(create_table_query, 'non_replicated_deduplication_window = 10000') = 0""")
    assert forgetful.result_rows == []


@pytest.mark.parametrize("name", sorted({kind.table for kind in landed_classes()}))
def test_a_table_has_the_columns_that_its_events_fill_and_no_others(database, name):
    events = [
        from_json(kind, (EXAMPLES / kind.__name__ / "full.json").read_text())
        for kind in landed_classes()
        if kind.table == name
    ]
    described = {row[0] for row in database.query(f"DESCRIBE TABLE {name}").result_rows}
    assert described == {"landed_at"}.union(
        *(column_batch(batch_of(event)).names for event in events)
    )


@pytest.mark.parametrize("kind", landed_classes(), ids=lambda kind: kind.__name__)
def test_an_event_fills_its_table_and_comes_back_as_it_was(database, clickhouse_url, kind):
    events = [
        from_json(kind, path.read_text()).model_copy(update={"id": uuid4()})
        for path in sorted((EXAMPLES / kind.__name__).glob("*.json"))
    ]
    sink = ClickHouseSink(clickhouse_url, database.database)
    table = kind.table
    prepared = sink.prepare(batch_of(*events))
    sink.write(prepared, f"examples:{kind.__name__}")
    for event in events:
        [row] = database.query(
            f"SELECT * EXCEPT landed_at FROM {table} WHERE id = {{id:UUID}}",
            parameters={"id": str(event.id)},
        ).named_results()
        wanted = expected(event)
        got = {name: comparable(row[name], wanted[name]) for name in wanted}
        assert got == wanted


def comparable(got, wanted):
    if isinstance(got, UUID):
        return got.int
    if hasattr(got, "timestamp"):
        return round(got.timestamp() * 1000)
    return got.encode() if isinstance(wanted, bytes) and isinstance(got, str) else got


@pytest.mark.parametrize(
    "deduplicate, times", [(True, 1), (False, 3)], ids=["with tokens", "control without"]
)
def test_a_batch_that_comes_again_is_there_once_and_in_the_totals_once(
    clickhouse_url, deduplicate, times
):
    name = f"t{uuid4().hex[:8]}"
    make_tables(clickhouse_url, name, 3650)
    sink = ClickHouseSink(clickhouse_url, name, deduplicate)
    for kind in landed_classes():
        event = from_json(kind, (EXAMPLES / kind.__name__ / "full.json").read_text())
        for _ in range(3):
            sink.write(column_batch(batch_of(event)), f"{kind.__name__}:3:100-100:e")
            sink.write(column_batch(batch_of(event, first=200)), f"{kind.__name__}:3:200-200:e")
    with connect(clickhouse_url, name) as client:
        for kind in landed_classes():
            rows = client.query(
                f"SELECT count() FROM {kind.table} WHERE kafka_topic = '{kind.topic()}'"
            ).result_rows
            there = [each.topic() for each in landed_classes() if each.table == kind.table]
            assert rows == [(2 * times * there.count(kind.topic()),)], kind.table
        for table, (total, column) in TOTALS.items():
            rows = client.query(f"SELECT count() FROM {table}").result_rows
            assert client.query(f"SELECT sum({column}) FROM {total}").result_rows == rows, total


def test_an_error_of_the_server_is_raised_and_the_same_rows_are_taken_afterwards(clickhouse_url):
    name = f"t{uuid4().hex[:8]}"
    sink = ClickHouseSink(clickhouse_url, name)
    kind = landed_classes()[0]
    prepared = sink.prepare(
        batch_of(from_json(kind, (EXAMPLES / kind.__name__ / "full.json").read_text()))
    )
    with pytest.raises(Exception, match=name):
        sink.write(prepared, "t")
    make_tables(clickhouse_url, name, 3650)
    sink.write(prepared, "t")
    with connect(clickhouse_url, name) as client:
        assert client.query(f"SELECT count() FROM {kind.table}").result_rows == [(1,)]


@pytest.mark.parametrize("url", ["localhost:8123", "ftp://host", ""])
def test_a_url_that_is_none_is_explained(url):
    with pytest.raises(ValueError, match="write http"):
        connect(url, "x")
