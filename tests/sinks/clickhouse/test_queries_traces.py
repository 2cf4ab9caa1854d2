"""Do spans of others land beside our own, and do the ready queries add them up?"""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from processors.tracing.foreign_spans import translated
from schemas.definitions.kinds import Definitions
from schemas.events.tracing import SpanReceived
from sinks.clickhouse.queries.catalogue import by_name
from sinks.clickhouse.sink import ClickHouseSink
from streams.engine.client import now
from tests.sinks.clickhouse.test_rows import batch_of

pytestmark = pytest.mark.engine
DIALECTS = Path(__file__).parents[2] / "processors" / "dialects"


def rows(database, name: str, **given) -> list[dict]:
    query = by_name(name)
    return list(database.query(query.sql, parameters=query.parameters | given).named_results())


@pytest.fixture(scope="module")
def landed(database, clickhouse_url):
    """The same conversation in every dialect, each a trace of its own, and of one more tenant."""
    sink = ClickHouseSink(clickhouse_url, database.database)
    at = now()
    spans = []
    used = []
    files = sorted(DIALECTS.glob("*.json"))
    for number, (path, tenant) in enumerate(
        [(path, "acme") for path in files] + [(files[0], "other")]
    ):
        for nth, each in enumerate(json.loads(path.read_text()), 1):
            trace = f"{number % len(files) + 1:032x}"
            received = SpanReceived.about(
                tenant,
                trace,
                nth,
                at=at,
                tenant=tenant,
                trace=trace,
                span=f"{nth:016x}",
                name=each["name"],
                started_at=at,
                ended_at=at,
                wait_ms=7,
                attributes=json.dumps(each["attributes"]),
                events=json.dumps(each.get("events", [])),
                resource="{}",
                scope="acme.llm",
                repaired="no_end" if nth == 1 else "",
            )
            ended, *of_call = translated(received, Definitions())
            spans.append(ended)
            used += of_call
    for events in (spans, used):
        sink.write(sink.prepare(batch_of(*events)), type(events[0]).__name__)
    return database, len(files)


def test_every_dialect_has_the_same_totals_in_the_tables(landed):
    database, dialects = landed
    found = rows(database, "traces", tenant="acme")
    assert len(found) == dialects == 6
    assert {
        (r["steps"], r["sent"], r["generated"], r["spent_usd"], r["without_price"]) for r in found
    } == {(4, 1_712, 76, Decimal("0.0002064"), 0)}
    by_source = rows(database, "usage_by_source", tenant="acme")
    assert sum(r["calls"] for r in by_source) == 2 * dialects
    assert {(r["spent_usd"] / r["calls"], r["without_price"]) for r in by_source} == {
        (Decimal("0.0001032"), 0)
    }


def test_a_trace_id_of_two_tenants_is_kept_apart(landed):
    database, _ = landed
    mine, theirs = (
        rows(database, "trace_spans", trace=f"{1:032x}", tenant=tenant)
        for tenant in ("acme", "other")
    )
    assert len(mine) == len(theirs) == 4 and {r["tenant"] for r in theirs} == {"other"}


def test_what_was_put_right_is_found(landed):
    database, dialects = landed
    found = rows(database, "spans_put_right", tenant="acme")
    assert sum(r["how_many"] for r in found) == dialects
    assert {(r["what"], r["scope"]) for r in found} == {("no_end", "acme.llm")}
    kept = database.query(
        "SELECT uniqExact(JSONExtractString(attributes, 'acme.shop')) FROM spans "
        "WHERE operation = 'chat'"
    ).result_rows
    assert kept == [(1,)]
