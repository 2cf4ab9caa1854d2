"""Measures the dashboards' queries over millions of spans, on a ClickHouse of its own.

Thirty days of spans, calls and runs are generated inside ClickHouse, in batches like the sink
worker's, so that materialized views make the totals. Then every query of every Grafana dashboard is
run for all tenants and all thirty days.
"""

import shutil
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from clickhouse_connect.driver.client import Client

from infra.embedded.testing_servers import running_clickhouse
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrations import make_tables
from streams.config import Settings
from streams.docs.dashboards import plain
from streams.docs.panels import DASHBOARDS
from streams.lab.bench_engine.broker import MeasurementError, measured

DATABASE = "bench"
BATCH = 500_000
A_RUN = 4
LARGE = 10_000
TARGETS = {"p95_s": 1.0, "trace_s": 1.0, "parts_most": 200}
LARGE_TRACE = UUID(int=1)
FACTS = """
    toDateTime64(now() - 30 * 86400 + (number / {spans}) * 30 * 86400, 3, 'UTC') AS at,
    cityHash64(intDiv(number, 4)) AS hash,
    concat('tenant-', toString(hash % 100 < 60 ? 0 : hash % 20)) AS tenant,
    concat('agent-', toString(cityHash64(intDiv(number, 4), 1) % 10)) AS agent,
    1 + cityHash64(intDiv(number, 4), 2) % 5 AS agent_version,
    reinterpretAsUUID(sipHash128(intDiv(number, 4))) AS run, generateUUIDv4(number) AS id,
    concat('session-', toString(intDiv(number, 12))) AS session,
    ['small', 'medium', 'large', 'reasoning'][1 + cityHash64(intDiv(number, 4), 3) % 4] AS model,
    20 + toUInt64(exp(4 + 2 * (cityHash64(number, 4) % 1000) / 1000)) AS wait_ms,
    500 + cityHash64(number, 5) % 4000 AS input_tokens,
    20 + cityHash64(number, 6) % 600 AS output_tokens,
    toDecimal128(input_tokens * 0.0000004 + output_tokens * 0.0000016, 12) AS cost_usd"""
SPANS = """INSERT INTO spans (id, at, tenant, session, run, agent, agent_version, trace, span, name,
    operation, started_at, wait_ms, status, error_type, provider, request_model, input_tokens,
    output_tokens, cost_usd, tool, step, attempts, first_token_ms, input, output)
SELECT id, at, tenant, session, run, agent, agent_version, lower(hex(toString(run))),
    lower(hex(number)),
    ['invoke_agent ' || agent, 'chat ' || model, 'execute_tool look_up', 'chat ' || model]
        [1 + number % 4],
    ['invoke_agent', 'chat', 'execute_tool', 'chat'][1 + number % 4] AS operation,
    at - wait_ms / 1000, wait_ms,
    cityHash64(number, 7) % 50 = 0 ? 'error' : 'ok' AS status,
    status = 'error' ? 'timeout' : '', 'openai', operation = 'chat' ? model : '',
    operation = 'chat' ? input_tokens : 0, operation = 'chat' ? output_tokens : 0,
    operation = 'chat' ? cost_usd : NULL,
    operation = 'execute_tool' ? 'look_up' : '', 1, 1,
    operation = 'chat' ? intDiv(wait_ms, 3) : 0,
    'Where is order ' || toString(number),
    'It is on its way, and comes on day ' || toString(number % 30)
FROM (SELECT number, {facts} FROM numbers({first}, {count}))"""
USAGE = """INSERT INTO token_usage (id, at, tenant, session, run, agent, agent_version, model,
    provider, input_tokens, output_tokens, cost_usd)
SELECT id, at, tenant, session, run, agent, agent_version, model, 'openai', input_tokens,
    output_tokens, cost_usd
FROM (SELECT number, {facts} FROM numbers({first}, {count})) WHERE number % 2 = 1"""
RUNS = """INSERT INTO runs (id, at, tenant, session, run, agent, agent_version, outcome, reason,
    question, answer, model, model_calls, tool_calls, input_tokens, output_tokens, cost_usd,
    started_at, wait_ms)
SELECT id, at, tenant, session, run, agent, agent_version,
    cityHash64(number, 8) % 25 = 0 ? 'failed' : 'completed' AS outcome,
    outcome = 'failed' ? 'timeout' : '', 'Where is order ' || toString(number),
    'It is on its way', model, 2, 1, input_tokens, output_tokens, cost_usd,
    at - wait_ms / 500, 2 * wait_ms
FROM (SELECT number, {facts} FROM numbers({first}, {count})) WHERE number % 4 = 0"""

PARTS_MOST = """SELECT max(n) FROM (
    SELECT count() AS n FROM system.parts WHERE active AND database = currentDatabase()
    GROUP BY table, partition)"""
BYTES_A_SPAN = """SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts
    WHERE active AND table = 'spans' AND database = currentDatabase()"""


def run(
    settings: Settings, spans: int, repeats: int, say: Callable[[float, str], None]
) -> dict[str, Any]:
    """Seconds of each query, the overall 95th percentile, and an estimate for 10^8 spans."""
    home = settings.home.resolve() / "bench-analytics"
    shutil.rmtree(home, ignore_errors=True)
    with running_clickhouse(home) as url:
        make_tables(url, DATABASE, 3650)
        with connect(url, DATABASE, send_receive_timeout=600) as client:
            made_s = fill(client, spans, say)
            queries = measure(client, repeats, say)
            found = {
                "spans": rows_in(client, "spans"),
                "runs": rows_in(client, "runs"),
                "calls": rows_in(client, "token_usage"),
                "made_s": round(made_s, 1),
                "queries": queries,
                "trace_s": large_trace(client),
                "p50_s": measured([s for one in queries for s in one["seconds"]], 0.5),
                "p95_s": measured([s for one in queries for s in one["seconds"]], 0.95),
                "parts_most": client.query(PARTS_MOST).result_rows[0][0],
                "bytes_a_span": client.query(BYTES_A_SPAN).result_rows[0][0],
            }
    slowest = max(queries, key=lambda one: one["p95_s"])
    return found | {
        "extrapolated_100m_p95_s": round(found["p95_s"] * max(1.0, 1e8 / spans), 2),
        "slowest": slowest["title"],
        "met": {name: found[name] <= most for name, most in TARGETS.items()},
        "targets": TARGETS,
    }


def fill(client: Client, spans: int, say: Callable[[float, str], None]) -> float:
    """Generate the rows; returns the seconds that it took."""
    began = time.monotonic()
    for first in range(0, spans, BATCH):
        count = min(BATCH, spans - first)
        for statement in (SPANS, USAGE, RUNS):
            client.command(
                statement.format(facts=FACTS.format(spans=spans), first=first, count=count)
            )
        say((first + count) / spans * 0.8, f"{first + count:,} spans made")
    client.command(
        SPANS.format(facts=FACTS.format(spans=LARGE), first=0, count=LARGE).replace(
            "lower(hex(toString(run)))", f"'{LARGE_TRACE.hex}'"
        )
    )
    return time.monotonic() - began


def measure(
    client: Client, repeats: int, say: Callable[[float, str], None]
) -> list[dict[str, Any]]:
    """Seconds of each dashboard query, run `repeats` times in turn, so that no cache helps."""
    panels = [(name, panel) for name, panels in DASHBOARDS.items() for panel in panels]
    taken: dict[str, list[float]] = {f"{name}: {panel.title}": [] for name, panel in panels}
    for turn in range(repeats):
        for nth, (name, panel) in enumerate(panels):
            if "JOIN" in panel.sql or "FINAL" in panel.sql:
                raise MeasurementError(
                    f"the query of {panel.title!r} needs FINAL or a join: "
                    "rewrite it in streams/docs/panels.py"
                )
            began = time.perf_counter()
            client.query(plain(panel.sql))
            taken[f"{name}: {panel.title}"].append(time.perf_counter() - began)
            say(
                0.8 + 0.2 * (turn + nth / len(panels)) / repeats,
                f"asking, turn {turn + 1} of {repeats}",
            )
    return [
        {
            "title": title,
            "seconds": [round(s, 4) for s in seconds],
            "p95_s": round(measured(seconds, 0.95), 4),
        }
        for title, seconds in taken.items()
    ]


def large_trace(client: Client) -> float:
    """Seconds to read a trace of ten thousand spans."""
    began = time.perf_counter()
    rows = client.query(
        "SELECT started_at, name, operation, status, wait_ms, input, output FROM spans "
        "WHERE trace = {t:String} ORDER BY started_at",
        parameters={"t": LARGE_TRACE.hex},
    ).result_rows
    if len(rows) != LARGE:
        raise MeasurementError(f"the large trace has {len(rows)} of {LARGE} spans")
    return round(time.perf_counter() - began, 3)


def rows_in(client: Client, table: str) -> int:
    return client.query(f"SELECT count() FROM {table}").result_rows[0][0]
