"""The numbered SQL files are applied once and in order, and the dictionary says what is there."""

import string
from pathlib import Path
from uuid import uuid4

import pytest

from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrations import (
    FOLDER,
    REPLICATED,
    MigrationError,
    files_in,
    migrate,
    statements,
)
from streams.docs.dictionary import as_markdown, tables


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "0001_a.sql").write_text(
        "-- first;\nCREATE TABLE IF NOT EXISTS a (x Int8 COMMENT ';') ENGINE = Memory;\n"
    )
    (tmp_path / "b" / "0002_b.sql").write_text(
        "CREATE TABLE IF NOT EXISTS b (x ${type}) ENGINE = Memory;\n"
        "CREATE TABLE IF NOT EXISTS c (x Int8) ENGINE = Memory;\n"
    )
    return tmp_path


@pytest.mark.engine
def test_migrations_are_applied_once_and_in_order(clickhouse_url, folder):
    name = f"t{uuid4().hex[:8]}"
    assert migrate(clickhouse_url, name, folder, {"type": "String"}) == [
        "b/0001_a.sql",
        "b/0002_b.sql",
    ]
    assert migrate(clickhouse_url, name, folder, {"type": "Int64"}) == []
    (folder / "a").mkdir()
    (folder / "a" / "0001_d.sql").write_text(
        "CREATE TABLE IF NOT EXISTS d (x Int8) ENGINE = Memory;\n"
    )
    assert migrate(clickhouse_url, name, folder, {"type": "String"}) == ["a/0001_d.sql"]
    with connect(clickhouse_url, name) as client:
        assert client.query("SHOW TABLES").result_columns == [
            ["a", "b", "c", "d", "schema_migrations"]
        ]


@pytest.mark.engine
def test_a_migration_that_was_cut_off_is_begun_again(clickhouse_url, folder):
    name = f"t{uuid4().hex[:8]}"
    with pytest.raises(Exception, match="Nonsense"):
        migrate(clickhouse_url, name, folder, {"type": "Nonsense"})
    assert migrate(clickhouse_url, name, folder, {"type": "String"}) == ["b/0002_b.sql"]


@pytest.mark.engine
@pytest.mark.parametrize(
    "change, sentence",
    [
        (
            lambda folder: (folder / "b" / "0001_a.sql").write_text("SELECT 1;\n"),
            "b/0001_a.sql was changed after it was applied",
        ),
        (
            lambda folder: (folder / "b" / "0001_a.sql").unlink(),
            "b/0001_a.sql was applied to this database and is gone",
        ),
        (
            lambda folder: (folder / "b" / "0000_z.sql").write_text("SELECT 1;\n"),
            "b/0000_z.sql comes before b/0002_b.sql",
        ),
        (
            lambda folder: (folder / "b" / "0002_c.sql").write_text("SELECT 1;\n"),
            "b/0002_c.sql has the number of b/0002_b.sql",
        ),
        (
            lambda folder: (folder / "003_c.sql").write_text("SELECT 1;\n"),
            "003_c.sql is no name of a migration",
        ),
    ],
    ids=["changed", "gone", "too low a number", "a number twice", "no domain"],
)
def test_files_that_do_not_fit_the_database_are_refused(clickhouse_url, folder, change, sentence):
    name = f"t{uuid4().hex[:8]}"
    migrate(clickhouse_url, name, folder, {"type": "String"})
    change(folder)
    with pytest.raises(MigrationError, match=sentence):
        migrate(clickhouse_url, name, folder, {"type": "String"})


def test_statements_are_cut_at_the_ends_of_lines():
    assert statements("-- note;\nSELECT 1;\n\nSELECT ';'\n  AS x;\n") == [
        "SELECT 1",
        "SELECT ';'\n  AS x",
    ]


@pytest.mark.parametrize("url", ["localhost:8123", "ftp://host", ""])
@pytest.mark.engine
def test_a_url_that_is_none_is_explained(url):
    with pytest.raises(ValueError, match="write http"):
        connect(url, "x")


def test_numbers_go_up_from_one_within_each_domain():
    names = [*files_in(FOLDER)]
    domains = {name.partition("/")[0] for name in names}
    for domain in domains:
        numbers = [
            int(name.partition("/")[2][:4]) for name in names if name.startswith(f"{domain}/")
        ]
        assert numbers == [*range(1, len(numbers) + 1)], domain


@pytest.mark.engine
def test_on_a_cluster_every_table_is_replicated_and_remembers_tokens_as_long_as_the_log(database):
    """The server parses what replicas would be told; it has no Keeper to make the tables with."""
    made = 0
    for text in files_in(FOLDER).values():
        variables = REPLICATED | {"retention_days": 365}
        for statement in statements(string.Template(text).substitute(variables)):
            said = database.query(
                "SELECT formatQuery({statement:String})", parameters={"statement": statement}
            ).result_rows[0][0]
            if "\nENGINE = " in said:
                made += 1
                assert "\nENGINE = Replicated" in said
                assert "replicated_deduplication_window = 10000" in said
                assert "replicated_deduplication_window_seconds = 2592000" in said
    assert made == sum(not table.is_view for table in tables().values()) - 1


@pytest.mark.engine
def test_the_dictionary_is_what_the_server_says(database):
    said = database.query("""SELECT table, name, comment FROM system.columns
    WHERE database = currentDatabase()
        AND NOT endsWith(table, '_view') ORDER BY table, position""").result_rows
    written = [
        (table.name, each.name, each.comment)
        for _, table in sorted(tables().items())
        for each in table.columns
    ]
    assert written == said
    comments = dict(
        database.query("""SELECT name, comment FROM system.tables WHERE database = currentDatabase()
        AND NOT endsWith(name, '_view')""").result_rows
    )
    assert {table.name: table.comment for table in tables().values()} == comments


def test_the_dictionary_is_markdown_with_a_table_for_each_table(tmp_path: Path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "0001_a.sql").write_text(
        "CREATE TABLE IF NOT EXISTS a\n(\n    x Nullable(Decimal(38, 12)) CODEC(Delta, ZSTD(1)) "
        "COMMENT 'The caller''s'\n)\n"
        "ENGINE = Memory\nCOMMENT 'One row an x';\nALTER TABLE a\n    ADD COLUMN IF NOT EXISTS w "
        "DateTime64(3, 'UTC')"
        " DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When' AFTER x;\n"
    )
    text = as_markdown(tables(tmp_path))
    assert "## a\n\nOne row an x.\n" in text
    assert (
        "| `x` | `Nullable(Decimal(38, 12))` | The caller's |\n| `w` | `DateTime64(3, 'UTC')` | "
        "When |" in text
    )
