"""Does a program get a trace as it landed, whole, its own tenant's, and in time?"""

import asyncio
import time
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import httpx
import pytest

from schemas.events.tracing import SpanEnded
from sinks.clickhouse.migrations import make_tables
from sinks.clickhouse.sink import ClickHouseSink
from streams.config import Settings
from streams.gateway.clickhouse import ClickHouseReader
from streams.http_app import application
from tests.sinks.clickhouse.test_rows import batch_of

TRACE = "ab" * 16
NOW = datetime.now(UTC).replace(microsecond=0)
MANY = 10_000
QUIET_S = 1.0


def row(nth):
    return {
        "span": f"{nth:016x}",
        "run": uuid4(),
        "started_at": NOW,
        "cost_usd": Decimal("0.000012000000"),
        "attributes": "{}",
    }


def test_spans_come_with_money_as_text_and_a_word_where_there_are_more(http, tables):
    tables.found = [row(1), row(2) | {"cost_usd": None}]
    both = http(lambda client: client.get(f"/v1/traces/{TRACE.upper()}")).json()
    assert (both["trace"], both["more"], [one["cost_usd"] for one in both["spans"]]) == (
        TRACE,
        False,
        ["0.000012", None],
    )
    first = http(lambda client: client.get(f"/v1/traces/{TRACE}?limit=1")).json()
    assert (first["more"], [one["span"] for one in first["spans"]]) == (True, [f"{1:016x}"])


@pytest.mark.parametrize(
    "path, status",
    [(f"/v1/traces/{TRACE}", 404), ("/v1/traces/abc", 422), (f"/v1/traces/{TRACE}?limit=0", 422)],
)
def test_what_is_no_trace_is_said(http, tables, path, status):
    answer = http(lambda client: client.get(path))
    assert answer.status_code == status and answer.json()["detail"]


@pytest.mark.engine
def test_a_trace_of_ten_thousand_spans_opens_within_a_second_and_is_its_tenants_alone(
    link, tmp_path, clickhouse_url
):
    database = f"t{uuid4().hex[:8]}"
    make_tables(clickhouse_url, database, 3650)
    span = SpanEnded(
        id=uuid4(),
        at=NOW,
        tenant="fernweh",
        session="s",
        run=uuid4(),
        agent="a",
        trace=TRACE,
        span="0" * 16,
        name="chat",
        operation="chat",
        started_at=NOW,
        wait_ms=1,
        status="ok",
        input="x" * 200,
        output="y" * 200,
    )
    others = span.model_copy(update={"tenant": "fernweh-outlet"})
    sink = ClickHouseSink(clickhouse_url, database)
    many = (span.model_copy(update={"id": uuid4(), "span": f"{nth:016x}"}) for nth in range(MANY))
    sink.write(sink.prepare(batch_of(others, *many)), "one")
    settings = Settings(home=tmp_path, clickhouse_url=clickhouse_url, clickhouse_database=database)
    app = application(settings, link, ClickHouseReader(settings))

    async def opened():
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://gateway"
        ) as client:
            took = []
            for _ in range(3):
                began = time.thread_time()
                answer = await client.get(f"/v1/traces/{TRACE}", headers={"weir-tenant": "fernweh"})
                took.append(time.thread_time() - began)
            return min(took), answer.json()["spans"]

    took_s, spans = asyncio.run(opened())
    assert len({one["span"] for one in spans}) == MANY and took_s < QUIET_S
