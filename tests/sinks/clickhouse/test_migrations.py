"""Does a database of the version before become today's, with its rows, and does the dictionary say
what is there?
"""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
from clickhouse_connect.driver.client import Client

from sinks.clickhouse.sink import connect, migrate, statements
from streams.docs.dictionary import as_markdown, tables
from tests.sinks.conftest import TABLES

VARIABLES = {"retention_days": 3650}
BEFORE = "008"
BEGIN = datetime.now(UTC).replace(hour=10, minute=0, second=0, microsecond=0) - timedelta(days=6)
"""Not long ago: totals by minute are kept for two months."""
USED = f"""INSERT INTO token_usage (id, at, tenant, session, run, agent, user, model, provider, input_tokens, output_tokens, cost_usd)
SELECT generateUUIDv4(), toDateTime64('{BEGIN:%F %T}', 3, 'UTC') + number * 20, 'acme', 's', generateUUIDv4(), 'a', 'ann', 'm',
       'p', 10, 5, if(number % 4 = 0, NULL, 0.25) FROM numbers(40)"""
RUN = f"""INSERT INTO runs (id, at, tenant, session, run, agent, outcome, question, answer, user, cost_usd, started_at)
SELECT generateUUIDv4(), toDateTime64('{BEGIN:%F %T}', 3, 'UTC') + number * 43200, 'acme', concat('s', toString(number % 3)),
       generateUUIDv4(), 'a', if(number = 5, 'refused', 'completed'), concat('Where is Parcel ', toString(number)), 'On its way', 'ann',
       1.5,
       toDateTime64('{BEGIN:%F %T}', 3, 'UTC') - 1 FROM numbers(6)"""


@pytest.fixture(scope="module")
def upgraded(clickhouse_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A database made by the files up to the version before, filled, and migrated by all of them."""
    with filled(clickhouse_url, tmp_path_factory) as client:
        migrate(clickhouse_url, client.database, TABLES, VARIABLES)
        yield client


def filled(clickhouse_url: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A database of the version before, with rows."""
    name = f"t{uuid4().hex[:8]}"
    old = tmp_path_factory.mktemp("before")
    for path in TABLES.glob("*.sql"):
        if path.name[:3] <= BEFORE:
            shutil.copy(path, old)
    migrate(clickhouse_url, name, old, VARIABLES)
    client = connect(clickhouse_url, name)
    client.command(USED)
    client.command(RUN)
    return client


@pytest.mark.engine
@pytest.mark.parametrize(
    "query, rows",
    [
        (
            "SELECT count(), sum(output_audio_tokens), countIf(charged_usd IS NULL), any(currency) FROM token_usage",
            [(40, 0, 40, "USD")],
        ),
        (
            "SELECT sum(calls), sum(unpriced_calls), sum(cost_usd), sum(input_tokens), uniqExact(minute) FROM calls_by_minute",
            [(40, 10, Decimal("7.5"), 400, 14)],
        ),
        (
            "SELECT sum(calls), sum(cost_usd), any(feature) FROM usage_by_hour",
            [(40, Decimal("7.5"), "")],
        ),
        (
            "SELECT session, runs_ended, refused, agents, cost_usd FROM sessions ORDER BY session",
            [("s0", 2, 0, ["a"], 3), ("s1", 2, 0, ["a"], 3), ("s2", 2, 1, ["a"], 3)],
        ),
        (
            "SELECT user, days, runs_ended, toString(last_day) FROM users",
            [("ann", 3, 6, f"{BEGIN + timedelta(days=2):%F}")],
        ),
        ("SELECT count() FROM runs WHERE hasAllTokens(question, ['where', 'parcel', '4'])", [(1,)]),
    ],
)
def test_rows_of_the_version_before_are_there_and_added_up(upgraded, query, rows):
    assert upgraded.query(query).result_rows == rows


@pytest.mark.engine
def test_a_migration_that_is_begun_again_changes_nothing_and_new_rows_are_added_up_once(
    clickhouse_url, tmp_path_factory
):
    upgraded = filled(clickhouse_url, tmp_path_factory)
    sums = "SELECT (SELECT sum(calls) FROM calls_by_minute), (SELECT sum(runs_ended) FROM session_totals)"
    for path in sorted(TABLES.glob("*.sql")):
        if path.name[:3] > BEFORE:
            for statement in statements(path.read_text().replace("${retention_days}", "3650")) * 2:
                upgraded.command(statement)
    assert upgraded.query(sums).result_rows == [(40, 6)]
    upgraded.command(USED)
    assert upgraded.query(sums).result_rows == [(80, 6)]
    assert upgraded.query("SELECT sum(calls) FROM usage_by_hour").result_rows == [(80,)]
    upgraded.close()


@pytest.mark.engine
def test_the_dictionary_is_what_the_server_says(upgraded):
    said = upgraded.query("""SELECT table, name, comment FROM system.columns WHERE database = currentDatabase()
        AND NOT endsWith(table, '_view') ORDER BY table, position""").result_rows
    written = [
        (table.name, each.name, each.comment)
        for _, table in sorted(tables().items())
        for each in table.columns
    ]
    assert written == said
    comments = dict(
        upgraded.query("""SELECT name, comment FROM system.tables WHERE database = currentDatabase()
        AND NOT endsWith(name, '_view')""").result_rows
    )
    assert {table.name: table.comment for table in tables().values()} == comments


def test_the_dictionary_is_markdown_with_a_table_for_each_table(tmp_path: Path):
    (tmp_path / "001_a.sql").write_text(
        "CREATE TABLE IF NOT EXISTS a\n(\n    x Nullable(Decimal(38, 12)) CODEC(Delta, ZSTD(1)) COMMENT 'The caller''s'\n)\n"
        "ENGINE = Memory\nCOMMENT 'One row an x';\nALTER TABLE a\n    ADD COLUMN IF NOT EXISTS w DateTime64(3, 'UTC')"
        " DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When' AFTER x;\n"
    )
    text = as_markdown(tables(tmp_path))
    assert "## a\n\nOne row an x.\n" in text
    assert (
        "| `x` | `Nullable(Decimal(38, 12))` | The caller's |\n| `w` | `DateTime64(3, 'UTC')` | When |"
        in text
    )
