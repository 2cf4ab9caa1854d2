"""The first page: figures, alarms, runs, cost and latency of the time that is shown."""

from datetime import UTC, datetime
from typing import Any

from fastapi.responses import HTMLResponse

from sinks.clickhouse.queries.catalogue import by_name
from streams.console.alarms import alerts, completeness, unbalanced_records
from streams.console.page import Page, Picture, TableBlock, Tile, link, render, unpriced
from streams.console.queries import (
    BUCKET,
    LIMIT,
    MINE,
    SINCE,
    PageQuery,
    query,
    ready_query,
)
from streams.console.request import PageRequestOf

QUERIES: dict[str, PageQuery] = {
    "figures": PageQuery(
        "Figures",
        f"""
SELECT count() AS runs, countIf(outcome = 'completed') AS completed,
       countIf(outcome = 'refused') AS refused,
       sum(cost_usd) AS cost_usd, sum(unpriced_calls) AS unpriced_calls,
       quantileIf(0.5)(wait_ms, outcome != 'refused') AS p50_ms,
       quantileIf(0.95)(wait_ms, outcome != 'refused') AS p95_ms,
       sum(input_tokens + output_tokens) AS tokens
FROM runs WHERE {MINE} AND {SINCE}""",
    ),
    "completeness": PageQuery("Produced = landed + dead-lettered", by_name("completeness").sql),
    "runs_by_outcome": PageQuery(
        "Runs by outcome",
        f"""
SELECT {BUCKET} AS time, outcome AS series, count() AS value FROM runs WHERE {MINE} AND {SINCE}
GROUP BY time, series ORDER BY time""",
    ),
    "waits": PageQuery(
        "How long runs take, ms",
        f"""
SELECT {BUCKET} AS time, arrayJoin([('p50', quantile(0.5)(wait_ms)), ('p95',
       quantile(0.95)(wait_ms))]) AS pair,
       pair.1 AS series, pair.2 AS value FROM runs WHERE {MINE} AND {SINCE} AND outcome != 'refused'
GROUP BY time ORDER BY time""",
    ),
    "cost_by_model": PageQuery(
        "Cost by model, USD",
        f"""
SELECT {BUCKET} AS time, model AS series, sum(ifNull(cost_usd, 0)) AS value FROM token_usage
WHERE {MINE} AND {SINCE} GROUP BY time, series ORDER BY time""",
    ),
    "agents": PageQuery(
        "Agents",
        f"""
SELECT tenant, agent, agent_version, count() AS all_runs,
       round(countIf(outcome = 'completed') / all_runs, 4) AS completed_share,
       round(quantile(0.95)(wait_ms)) AS p95_ms, sum(cost_usd) AS cost_usd,
       sum(unpriced_calls) AS unpriced_calls
FROM runs WHERE {MINE} AND {SINCE} GROUP BY tenant, agent, agent_version
ORDER BY all_runs DESC {LIMIT}""",
    ),
    "delays": PageQuery(
        "How far behind",
        """
SELECT consumer, argMax(behind, at) AS behind_now, argMax(oldest_ms, at) AS oldest_now_ms,
       max(behind) AS behind_at_worst,
       max(oldest_ms) AS oldest_at_worst_ms, max(at) AS looked_at
FROM delays WHERE at >= now64(3, 'UTC') - INTERVAL {hours:UInt32} HOUR
GROUP BY consumer ORDER BY oldest_at_worst_ms DESC, consumer""",
    ),
    "alarms": PageQuery(
        "Alarms",
        f"""
SELECT (SELECT count() FROM dead_letters WHERE {MINE} AND {SINCE}) AS dead_letters,
       (SELECT count() FROM drift WHERE {MINE} AND {SINCE}) AS drifted,
       (SELECT max(share) FROM budget_alerts WHERE {MINE} AND {SINCE}) AS budget_share,
       (SELECT argMax(tenant, share) FROM budget_alerts WHERE {MINE} AND {SINCE}) AS budget_of,
       (SELECT countIf(outcome IN ('failed', 'stopped')) FROM runs WHERE {MINE}
       AND {SINCE}) AS failed,
       (SELECT groupUniqArrayIf(name, state_now = 'open') FROM (SELECT name, argMax(state,
       at) AS state_now FROM breakers
        WHERE {MINE} AND {SINCE} GROUP BY kind, name, runner)) AS not_asked,
       (SELECT countIf(not_undone != '') FROM runs WHERE {MINE} AND {SINCE}) AS not_undone""",
    ),
}
QUERIES["completeness_minutes"] = ready_query("completeness_minutes")

PAGE = Page("", "Overview", 0, QUERIES)


@PAGE.router.get("")
async def overview(look: PageRequestOf) -> HTMLResponse:
    names = (
        "figures",
        "completeness",
        "runs_by_outcome",
        "waits",
        "cost_by_model",
        "agents",
        "delays",
        "alarms",
        "approvals",
    )
    [figures], balance, outcomes, waits, cost, agents, delays, [signs], waiting = await look.all(
        *names
    )
    whole = [
        TableBlock(
            "How far behind",
            delays,
            "delays",
            empty="Nobody has looked yet: it is done once a minute.",
        ),
        TableBlock(query("completeness").title, balance, "completeness", folded=True),
    ]
    tiles = (
        [*tiles_of(figures), completeness(balance, datetime.now(UTC))]
        if look.sees_all
        else tiles_of(figures)
    )
    if unbalanced_records(balance):
        whole.insert(
            0,
            TableBlock(
                "Minutes that do not balance first",
                await look.rows("completeness_minutes"),
                "completeness_minutes",
            ),
        )
    return render(
        look,
        "blocks.html",
        "Overview",
        live=look.sees_all,
        figures=tiles,
        alarms=[
            (one.words, link(look, one.path, **one.query))
            for one in alerts(figures, signs, balance, delays, len(waiting))
        ],
        pictures=[
            Picture("runs_by_outcome", outcomes),
            Picture("cost_by_model", cost),
            Picture("waits", waits, stacked=False),
        ],
        tables=[TableBlock("Agents", agents, "agents"), *(whole if look.sees_all else ())],
    )


def tiles_of(row: dict[str, Any]) -> list[Tile]:
    """The large figures of a page. What has no price is said beside what has."""
    return [
        Tile("Runs", f"{row['runs']:,}", f"{row['refused']:,} refused"),
        Tile("Completed", f"{row['completed'] / row['runs']:.1%}" if row["runs"] else "–"),
        Tile(
            "Cost", f"${row['cost_usd'] or 0:,.4f}", unpriced(row), bad=bool(row["unpriced_calls"])
        ),
        Tile("Tokens", f"{row['tokens']:,}"),
        Tile(
            "Half of the runs within",
            f"{_whole(row['p50_ms'])} ms",
            f"95 % within {_whole(row['p95_ms'])} ms",
        ),
    ]


def _whole(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:,.0f}"
