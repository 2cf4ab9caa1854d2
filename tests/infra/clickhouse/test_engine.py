"""The embedded ClickHouse serves an unmodified clickhouse-connect; inserts are durable."""

import datetime as dt
import json
import threading
import time
import urllib.error
import urllib.request
from decimal import Decimal

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.embedded.testing_servers import running_clickhouse
from tests.support.engines import ONE_BLOCK, connect, http, make

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with running_clickhouse(tmp_path_factory.mktemp("clickhouse")) as url:
        yield url


@pytest.fixture
def client(url):
    with connect(url) as client:
        yield client


@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", False])
def test_native_inserts_of_every_compression(url, compress):
    with connect(url, compress=compress) as client:
        make(client, "packed", "id UInt64, text String")
        rows = [[i, "x" * (i % 50)] for i in range(70_000)]
        assert client.insert("packed", rows, column_names=["id", "text"]).written_rows == 70_000
        assert client.query("SELECT count(), sum(length(text)) FROM packed").first_row == (
            70_000,
            sum(len(r[1]) for r in rows),
        )


def test_other_ways_in(client, url):
    make(client, "ways", "id UInt64, text String")
    client.raw_insert("ways", ["id", "text"], b'{"id":1,"text":"json"}\n', fmt="JSONEachRow")
    client.raw_insert("ways", ["id", "text"], "2,csv\n", fmt="CSV")
    client.command("INSERT INTO ways VALUES (3, 'values'), (4, 'it''s')")
    assert http(url, "INSERT INTO ways FORMAT TabSeparated", b"5\ttsv\n").status == 200
    summary = http(url, "INSERT INTO ways SELECT id + 10, text FROM ways", b" ").headers[
        "X-ClickHouse-Summary"
    ]
    assert json.loads(summary)["written_rows"] == "5"
    assert (
        client.command(
            "SELECT groupArray(text) FROM (SELECT text FROM ways WHERE id < 10 ORDER BY id)"
        )
        == "['json','csv','values','it\\'s','tsv']"
    )


def test_ways_out(client, url):
    sql = "SELECT number AS n, toString(number) AS s FROM numbers(5)"
    assert client.query(sql).result_rows == [(i, str(i)) for i in range(5)]
    assert list(client.query_df(sql)["n"]) == list(range(5))
    assert client.query_arrow(sql).num_rows == 5
    assert client.raw_query(sql, fmt="JSONEachRow").count(b"\n") == 5
    with client.query_rows_stream("SELECT number FROM numbers(200000)") as rows:
        assert sum(n for (n,) in rows) == 199_999 * 100_000
    assert json.load(http(url, sql + " FORMAT JSON"))["rows"] == 5
    answer = http(url, "SELECT 1", **{"Authorization": "Basic dTpw"})
    assert answer.read() == b"1\n"
    assert (
        answer.headers["X-ClickHouse-Format"] == "TabSeparated"
        and answer.headers["X-ClickHouse-Query-Id"]
    )


def test_bound_parameters_and_settings(client):
    rows = client.query(
        "SELECT {a:String}, {b:Array(Int32)}, {c:Decimal(38,12)}, getSetting('max_block_size')",
        parameters={"a": "it's\n\\", "b": [1, -2], "c": Decimal("1.5")},
        settings={"max_block_size": 77},
    )
    assert rows.first_row == ("it's\n\\", [1, -2], Decimal("1.5"), 77)
    assert client.query("SELECT getSetting('max_block_size')").first_row[0] != 77
    assert client.query("SELECT {long:String}", parameters={"long": "é" * 90_000}).first_row == (
        "é" * 90_000,
    )


def test_database_is_honoured(url, client):
    client.command("CREATE DATABASE IF NOT EXISTS other")
    client.command("CREATE TABLE IF NOT EXISTS other.here (a Int8) ENGINE = Memory")
    with connect(url, database="other") as there:
        assert there.query("SELECT currentDatabase()").first_row == ("other",)
        assert there.command("EXISTS TABLE here") == 1
    with pytest.raises(DatabaseError, match="UNKNOWN_DATABASE"):
        connect(url, database="nowhere")


def test_a_session_keeps_what_it_was_told(url, client):
    client.command("CREATE TEMPORARY TABLE mine (a Int8)")
    client.command("INSERT INTO mine VALUES (7)")
    client.command("SET max_block_size = 55")
    assert client.query("SELECT a, getSetting('max_block_size') FROM mine").first_row == (7, 55)
    assert client.query(
        "SELECT getSetting('max_block_size')", settings={"max_block_size": 66}
    ).first_row == (66,)
    assert client.query("SELECT getSetting('max_block_size')").first_row == (55,)
    with connect(url) as stranger, pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        stranger.query("SELECT * FROM mine")


@pytest.mark.parametrize(
    "sql, code",
    [
        ("SELECT nope", 47),
        ("SELEC", 62),
        ("INSERT INTO nowhere VALUES (1)", 60),
        ("CREATE TABLE k (a Int8) ENGINE = Kafka('h', 't', 'g', 'CSV')", 48),
        ("SELECT 1 SETTINGS nope = 1", 115),
        ("SELECT throwIf(1, 'boom')", 395),
    ],
)
def test_errors_carry_clickhouses_number(client, sql, code):
    with pytest.raises(DatabaseError) as caught:
        client.command(sql)
    assert caught.value.code == code


def test_a_failing_view_fails_the_insert(client):
    make(client, "source", "id UInt64")
    client.command(
        "CREATE MATERIALIZED VIEW IF NOT EXISTS failing ENGINE = MergeTree ORDER BY x "
        "AS SELECT throwIf(id = 13, 'unlucky') AS x FROM source"
    )
    with pytest.raises(DatabaseError, match="unlucky"):
        client.insert("source", [[13]], column_names=["id"])
    client.command("DROP TABLE failing")


def test_get_is_readonly(url):
    with pytest.raises(urllib.error.HTTPError) as caught:
        http(url, "CREATE TABLE sneaked (a Int8) ENGINE = Memory")
    assert (caught.value.code, caught.value.headers["X-ClickHouse-Exception-Code"]) == (500, "164")
    assert http(url, "SELECT 1 SETTINGS max_threads = 1").read() == b"1\n"


def test_readers_run_at_once_and_ping_is_not_held_up(url):
    failures = []

    def read():
        try:
            with connect(url) as client:
                for n in range(20):
                    assert client.query(
                        "SELECT sum(number) + {n:UInt8} FROM numbers(1000)", parameters={"n": n}
                    ).first_row == (499_500 + n,)
        except Exception as error:
            failures.append(error)

    slow = threading.Thread(target=lambda: http(url, "SELECT sleep(1.5)").read())
    slow.start()
    readers = [threading.Thread(target=read) for _ in range(6)]
    for reader in readers:
        reader.start()
    began = time.monotonic()
    assert urllib.request.urlopen(url + "/ping").read() == b"Ok.\n"
    assert urllib.request.urlopen(url + "/replicas_status").status == 200
    assert time.monotonic() - began < 1
    for thread in (*readers, slow):
        thread.join()
    assert failures == []


def test_a_repeated_token_inserts_nothing(client):
    make(client, "once", "id UInt64")
    for token, expected in (("a", 3), ("a", 3), ("b", 6)):
        client.insert(
            "once",
            [[1], [2], [3]],
            column_names=["id"],
            settings=ONE_BLOCK | {"insert_deduplication_token": token},
        )
        assert client.command("SELECT count() FROM once") == expected


TYPES = {
    "String": st.text(max_size=40),
    "Nullable(String)": st.none() | st.text(max_size=10),
    "LowCardinality(String)": st.sampled_from(["", "a", "é"]),
    "DateTime64(3, 'UTC')": st.datetimes(
        dt.datetime(1970, 1, 2), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC)
    ).map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)),
    "Decimal(38, 12)": st.decimals(-(10**20), 10**20, places=12, allow_nan=False),
    "Map(String, String)": st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4),
    "Array(Int32)": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5),
    "UUID": st.uuids(),
    "Bool": st.booleans(),
    "UInt64": st.integers(0, 2**64 - 1),
    "Int8": st.integers(-128, 127),
    "Float64": st.floats(allow_nan=False),
}


@pytest.fixture(scope="module")
def typed(url):
    """A client that gives aware times, with a table that has one column a type."""
    with connect(url, tz_mode="aware") as client:
        make(
            client,
            "trip",
            "n UInt32, " + ", ".join(f"c{n} {name}" for n, name in enumerate(TYPES)),
            "n",
        )
        yield client


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.tuples(*TYPES.values()), min_size=1, max_size=12))
def test_native_rows_come_back_as_they_went(typed, rows):
    names = [f"c{n}" for n in range(len(TYPES))]
    typed.command("TRUNCATE TABLE trip")
    typed.insert("trip", [(n, *row) for n, row in enumerate(rows)], column_names=["n", *names])
    assert typed.query(f"SELECT {', '.join(names)} FROM trip ORDER BY n").result_rows == rows
