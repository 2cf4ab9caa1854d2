"""Requests of ClickHouse's HTTP protocol are parsed exactly, to the first byte of rows."""

import gzip

import lz4.frame
import pytest
import zstandard

from infra.embedded.clickhouse.engine import infile_sql, quoted, set_sql
from infra.embedded.clickhouse.protocol import (
    Insert,
    StatementRefusedError,
    decompressed,
    form_fields,
    output_format,
    parse,
    split_insert,
)


@pytest.mark.parametrize(
    "query, body, head, settings, form, data",
    [
        (
            b"",
            b"INSERT INTO t FORMAT Native\n\n\x01a",
            "INSERT INTO t ",
            "",
            "Native",
            b"\n\x01a",
        ),  # 10 columns
        (
            b"",
            b"INSERT INTO t (`a`) SETTINGS x=1 FORMAT Native\n\x01",
            "INSERT INTO t (`a`) ",
            "SETTINGS x=1 ",
            "Native",
            b"\x01",
        ),
        (b"insert into t format CSV", b"1,2\n", "insert into t ", "", "CSV", b"1,2\n"),
        (b"INSERT INTO t", b"(1),(2)", "INSERT INTO t", "", "Values", b"(1),(2)"),
        (b"INSERT INTO t VALUES", b"(1)", "INSERT INTO t ", "", "Values", b"(1)"),
        (
            b"",
            b'INSERT INTO t FORMAT JSONEachRow {"a":"x FORMAT y"}',
            "INSERT INTO t ",
            "",
            "JSONEachRow",
            b'{"a":"x FORMAT y"}',
        ),
        (
            b"",
            b"INSERT INTO t (`FORMAT x`, a) -- FORMAT y\nFORMAT TSV\r\n1",
            "INSERT INTO t (`FORMAT x`, a) -- FORMAT y\n",
            "",
            "TSV",
            b"1",
        ),
        (b"INSERT INTO t FORMAT TSV\n1\n", b"2\n", "INSERT INTO t ", "", "TSV", b"1\n2\n"),
    ],
)
def test_an_insert_is_cut_from_its_rows(query, body, head, settings, form, data):
    assert split_insert(query, body) == Insert(head, settings, form, data)


@pytest.mark.parametrize(
    "sql",
    [
        b"INSERT INTO t VALUES (1, 'FORMAT CSV')",
        b"INSERT INTO t SELECT 1",
        b"INSERT INTO t WITH 1 AS x SELECT x",
    ],
)
def test_rows_inside_the_sql_stay_there(sql):
    assert split_insert(b"", sql) is None
    assert parse({}, sql, readonly=False).sql == sql.decode()


def test_settings_bound_values_and_transport_parameters_are_told_apart():
    params = {
        "query_id": "q",
        "database": "weir",
        "max_threads": "1",
        "param_x": "it's",
        "wait_end_of_query": "1",
    }
    request = parse(params, b"SELECT {x:String} FORMAT JSON", readonly=True)
    assert request.settings == {"max_threads": "1", "readonly": "2"}
    assert (request.bound, request.database, request.format) == ({"x": "it's"}, "weir", "JSON")


@pytest.mark.parametrize(
    "sql, keeps",
    [
        ("SET x = 1", True),
        ("use a", True),
        ("-- c\nCREATE TEMPORARY TABLE t (a Int8)", True),
        ("CREATE TABLE t (a Int8) ENGINE=Memory", False),
        ("SELECT 1", False),
    ],
)
def test_only_some_statements_keep_state(sql, keeps):
    assert parse({}, sql.encode(), readonly=False).keeps_state is keeps


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE k (a Int8) ENGINE = Kafka('h', 't')",
        "create table k (a Int8) engine=kafka",
        "ATTACH TABLE k (a Int8) ENGINE /* c */ RabbitMQ",
    ],
)
def test_engines_that_would_lock_the_folder_are_refused(sql):
    with pytest.raises(StatementRefusedError, match="not available in the embedded ClickHouse"):
        parse({}, sql.encode(), readonly=False)


def test_a_table_that_only_mentions_kafka_is_not_refused():
    sql = b"CREATE TABLE kafka (a Int8 COMMENT 'ENGINE = Kafka') ENGINE = MergeTree ORDER BY a"
    assert parse({}, sql, readonly=False).sql == sql.decode()


def test_every_frame_of_a_compressed_body_counts():
    one = b"a" * 5000
    two = b"b" * 70000
    assert decompressed(lz4.frame.compress(one) + lz4.frame.compress(two), "lz4") == one + two
    assert decompressed(zstandard.compress(one) + zstandard.compress(two), "zstd") == one + two
    assert decompressed(gzip.compress(one) + gzip.compress(two), "gzip") == one + two
    assert decompressed(one, "") == one


@pytest.mark.parametrize(
    "body, encoding, says",
    [
        (lz4.frame.compress(b"x" * 999)[:-9], "lz4", "not valid lz4"),
        (b"no", "gzip", "not valid gzip"),
        (zstandard.compress(b"x" * 999)[:-5], "zstd", "not valid zstd"),
        (b"no", "br", "send lz4"),
    ],
)
def test_a_damaged_body_is_refused(body, encoding, says):
    with pytest.raises(StatementRefusedError, match=says):
        decompressed(body, encoding)


def test_native_block_compression_is_refused_in_words():
    with pytest.raises(StatementRefusedError, match="leave out compress=1"):
        parse({"compress": "1"}, b"SELECT 1", readonly=False)


def test_a_form_gives_query_and_parameters_and_refuses_files():
    form = (
        b'--B\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT {x:String}\r\n'
        b'--B\r\nContent-Disposition: form-data; name="param_x"\r\n\r\n\xc3\xa9\r\n--B--\r\n'
    )
    assert form_fields(form, "multipart/form-data; boundary=B") == {
        "query": "SELECT {x:String}",
        "param_x": "é",
    }
    file = b'--B\r\nContent-Disposition: form-data; name="t"; filename="t"\r\n\r\n1\r\n--B--\r\n'
    with pytest.raises(StatementRefusedError, match="insert it into a table first"):
        form_fields(file, "multipart/form-data; boundary=B")


@pytest.mark.parametrize(
    "sql, form",
    [
        ("SELECT 1 FORMAT JSON", "JSON"),
        ("SELECT 1\n format CSV;\n", "CSV"),
        ("SELECT 'FORMAT x'", "TSV"),
        ("SELECT 1 FORMAT CSV SETTINGS a=1", "CSV"),
    ],
)
def test_output_format(sql, form):
    assert output_format(sql, "TSV") == form


def test_sql_that_is_made_here_is_quoted():
    assert quoted("it's \\") == r"'it\'s \\'"
    assert set_sql({"readonly": "2", "a": "1'", "b": None}) == [
        r"SET a = '1\'', b = DEFAULT",
        "SET readonly = '2'",
    ]
    with pytest.raises(StatementRefusedError, match="Unknown setting"):
        set_sql({"a=1; DROP": "x"})
    insert = Insert("INSERT INTO t ", "SETTINGS a=1", "CSV", b"")
    assert (
        infile_sql(insert, "/p")
        == "INSERT INTO t  FROM INFILE '/p' COMPRESSION 'none' SETTINGS a=1 FORMAT CSV"
    )
