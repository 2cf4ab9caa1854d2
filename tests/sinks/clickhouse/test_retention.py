"""The definition of a tenant decides how long its rows are kept, without a mutation."""

from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import uuid4

import pytest
from clickhouse_connect.driver.client import Client

from schemas.catalogue import event_classes, landed_classes
from schemas.definitions.kinds import Definitions, Tenant
from schemas.events.usage import TokensUsed
from schemas.events.values import Tokens
from schemas.wire.avro_schema import schema_of
from schemas.wire.codec import HEAD, Codec, LocalIds
from sinks.base import EncodedBatch
from sinks.clickhouse.retention import days_of, tenant_of
from sinks.clickhouse.sink import ClickHouseSink
from streams.engine.sinks.retention import retention_of

CODEC = Codec(LocalIds(event_classes()))
NOW = datetime.now(UTC).replace(microsecond=0)
KEPT = retention_of(
    lambda: Definitions.of(Tenant(name="brief", retention_days=2), Tenant(name="usual")), 3_650
)
OLD = """INSERT INTO {table} (id, at, tenant, session, run, {more} cost_usd, started_at)
SELECT generateUUIDv4(), now64(3) - INTERVAL 9 DAY, 'brief', 'before', generateUUIDv4(), {values} 1,
       now64(3) FROM numbers(3)"""


def used(tenant: str, days_ago: float, nth: int = 0) -> TokensUsed:
    return TokensUsed.about(
        tenant,
        days_ago,
        nth,
        at=NOW - timedelta(days=days_ago),
        tenant=tenant,
        session="s",
        run=uuid4(),
        agent="a",
        agent_version=1,
        model="m",
        provider="p",
        tokens=Tokens(input_tokens=1),
    )


def bodies_of(*events: TokensUsed) -> EncodedBatch:
    values = [CODEC.encode(event)[HEAD.size :] for event in events]
    return EncodedBatch(
        TokensUsed, [0] * len(values), [*range(len(values))], [0] * len(values), values
    )


@pytest.mark.parametrize("kind", landed_classes(), ids=lambda kind: kind.__name__)
def test_the_tenant_is_the_third_field_of_all_that_lands(kind):
    assert [each["name"] for each in schema_of(kind)["fields"]][:3] == ["id", "at", "tenant"]


@pytest.mark.parametrize(
    "tenant", ["a", "t" * 63, "t" * 64, "t" * 200, "acm\N{LATIN SMALL LETTER E WITH ACUTE}"]
)
def test_whose_a_row_is_stands_in_its_bytes(tenant):
    assert [tenant_of(value).decode() for value in bodies_of(used(tenant, 0)).values] == [tenant]


def test_a_definition_decides_and_else_the_setting():
    assert [KEPT(name) for name in ("brief", "usual", "nobody", "")] == [2, 3_650, 3_650, 3_650]
    assert days_of(
        bodies_of(used("brief", 0), used("usual", 0), used("brief", 1)).values, KEPT
    ) == [2, 3_650, 2]


@pytest.fixture(scope="module")
def filled(database: Client) -> Client:
    """A database with rows that were written without a word on how long they are kept."""
    database.command(OLD.format(table="spans", more="", values=""))
    database.command(OLD.format(table="runs", more="user,", values="'ann',"))
    return database


@pytest.mark.engine
def test_rows_go_when_their_tenant_said_and_no_mutation_is_made(filled, clickhouse_url):
    sink = ClickHouseSink(clickhouse_url, filled.database, kept=KEPT)
    rows = [used(*one) for one in product(("brief", "usual"), (1, 3), range(5))]
    sink.write(sink.prepare(bodies_of(*rows)), "one")
    for table in ("token_usage", "spans", "runs", "user_days"):
        filled.command(f"OPTIMIZE TABLE {table} FINAL")
    asked = (
        "SELECT tenant, toUInt8(dateDiff('day', at, now())) AS days, any(retention_days), "
        "count() FROM {} GROUP BY ALL ORDER BY ALL"
    )
    assert filled.query(asked.format("token_usage")).result_rows == [
        ("brief", 1, 2, 5),
        ("usual", 1, 3_650, 5),
        ("usual", 3, 3_650, 5),
    ]
    assert filled.query(asked.format("spans")).result_rows == [("brief", 9, 3_650, 3)], (
        "by the default of the table"
    )
    assert filled.query("SELECT runs_ended, retention_days FROM user_days").result_rows == [
        (3, 3_650)
    ]
    mutations = "SELECT table, command FROM system.mutations WHERE database = currentDatabase()"
    assert [row for row in filled.query(mutations).result_rows if "INDEX" not in row[1]] == []


@pytest.mark.engine
def test_sums_about_people_go_with_their_rows(filled):
    filled.command("""INSERT INTO runs (id, at, tenant, session, run, user, outcome, cost_usd,
    started_at, retention_days)
        SELECT generateUUIDv4(), now64(3) - INTERVAL 5 DAY, 'brief', concat('of ', name),
        generateUUIDv4(), name, 'completed', 1,
        now64(3), if(name = 'bob', 2, 30) FROM values('name String', 'bob', 'eve')""")
    for table in ("user_days", "session_totals", "runs"):
        filled.command(f"OPTIMIZE TABLE {table} FINAL")
    assert filled.query(
        "SELECT user, retention_days FROM user_days WHERE user != 'ann'"
    ).result_rows == [("eve", 30)]
    assert filled.query("SELECT session FROM sessions WHERE session != 'before'").result_rows == [
        ("of eve",)
    ]
