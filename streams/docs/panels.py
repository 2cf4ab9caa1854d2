"""The panels of the Grafana dashboards over ClickHouse, with their SQL.

The SQL uses the macros of Grafana's own ClickHouse data source: `$__timeFilter(column)`,
`$__timeInterval(column)`, `$__fromTime`, `$__toTime`, and the dashboard's variable
`${tenant:singlequote}`, where `All` is every tenant. No query needs FINAL or a join, and none gives
a column that Grafana cannot draw, such as an array.
"""

from dataclasses import dataclass
from typing import Literal

MINE = "(${tenant:singlequote} = 'All' OR tenant = ${tenant:singlequote})"
HOURS = "hour >= toStartOfHour($__fromTime) AND hour <= $__toTime"
DAYS = "day >= toDate($__fromTime) AND day <= toDate($__toTime)"
"""Rows of a whole hour or day belong to a time that begins within it: `$__timeFilter` would leave
them out.
"""
Kind = Literal["timeseries", "bars", "stat", "table"]


@dataclass(frozen=True)
class Panel:
    """A picture: its title, how it is drawn, its query, its unit as Grafana names it, and how many
    of 24 columns it takes.

    `bars` are a time series that adds up. `legend` names a series by its labels, `least` is the
    shortest time between two points, `bad_from` the figure from which a single one is red.
    """

    title: str
    kind: Kind
    sql: str
    unit: str = "short"
    width: int = 12
    legend: str = ""
    least: str = "1h"
    bad_from: float | None = None


def _sums(what: str, table: str) -> str:
    return f"SELECT {what} FROM {table} WHERE {HOURS} AND {MINE}"


def _waits(of: str, kind: str = "", **places: int) -> str:
    """Columns of percentiles: by name, which of 0.5, 0.95 and 0.99."""
    return ", ".join(
        f"round(quantilesTDigest{kind}Merge(0.5, 0.95, 0.99)({of})[{place}]) AS {name}"
        for name, place in places.items()
    )


def _by(split: str, what: str, table: str = "usage_by_hour", moment: str = "hour") -> str:
    return (
        f"SELECT $__timeInterval({moment}) AS time, {split}, {what} FROM {table}\n"
        f"WHERE {HOURS} AND {MINE} GROUP BY time, {split} ORDER BY time"
    )


DASHBOARDS: dict[str, tuple[Panel, ...]] = {
    "overview": (
        Panel("Runs", "stat", _sums("sum(runs)", "runs_by_hour"), width=6),
        Panel(
            "Completed",
            "stat",
            _sums("sumIf(runs, outcome = 'completed') / sum(runs)", "runs_by_hour"),
            "percentunit",
            6,
        ),
        Panel("Cost", "stat", _sums("sum(cost_usd)", "usage_by_hour"), "currencyUSD", 6),
        Panel(
            "Calls without a known price",
            "stat",
            _sums("sum(unpriced_calls)", "usage_by_hour"),
            width=6,
            bad_from=1,
        ),
        Panel(
            "Runs by outcome",
            "bars",
            _by("outcome", "sum(runs) AS runs", "runs_by_hour"),
            legend="outcome",
        ),
        Panel(
            "How long runs take",
            "timeseries",
            "SELECT $__timeInterval(hour) AS time, "
            f"{_waits('wait_ms', p50=1, p95=2, p99=3)}\n"
            f"FROM runs_by_hour WHERE {HOURS} AND {MINE} GROUP BY time ORDER BY time",
            "ms",
        ),
        Panel(
            "Agents",
            "table",
            "SELECT agent, agent_version, sum(runs) AS all_runs, round(sumIf(runs, outcome = "
            "'completed') "
            "/ all_runs, 3) AS completed, sum(cost_usd) AS cost, round(cost / all_runs, 6) AS "
            "cost_a_run\n"
            f"FROM runs_by_hour WHERE {HOURS} AND {MINE} GROUP BY agent, agent_version ORDER BY "
            "all_runs DESC",
        ),
        Panel(
            "What people say of each version",
            "table",
            "SELECT agent, agent_version, sum(given) AS ratings, "
            "round(sum(good) / ratings, 3) AS good_share, round(sum(score) / ratings, 3) AS "
            "mean_score\n"
            f"FROM feedback_by_day WHERE {DAYS} AND {MINE} GROUP BY agent, agent_version ORDER "
            "BY ratings DESC",
        ),
    ),
    "cost": (
        Panel(
            "Cost by model",
            "bars",
            _by("model", "sum(cost_usd) AS cost"),
            "currencyUSD",
            legend="model",
        ),
        Panel(
            "Cost by agent",
            "bars",
            _by("agent", "sum(cost_usd) AS cost"),
            "currencyUSD",
            legend="agent",
        ),
        Panel(
            "Tokens by kind",
            "bars",
            "SELECT $__timeInterval(hour) AS time, sum(input_tokens) - sum(cached_input_tokens) "
            "AS fresh_input, sum(cached_input_tokens) AS cached_input, sum(output_tokens) - "
            "sum(reasoning_tokens) AS output, "
            f"sum(reasoning_tokens) AS reasoning\nFROM usage_by_hour WHERE {HOURS} AND {MINE}\n"
            "GROUP BY time ORDER BY time",
        ),
        Panel(
            "Tenants",
            "table",
            "SELECT tenant, sum(calls) AS model_calls, sum(input_tokens + output_tokens) AS "
            "tokens, "
            "sum(cost_usd) AS cost, sum(charged_usd) AS charged, sum(unpriced_calls) AS unpriced\n"
            f"FROM usage_by_hour WHERE {HOURS} AND {MINE} GROUP BY tenant ORDER BY cost DESC",
        ),
        Panel(
            "Features and teams",
            "table",
            "SELECT feature, team, sum(calls) AS model_calls, sum(cost_usd) AS cost\n"
            f"FROM usage_by_hour WHERE {HOURS} AND {MINE} GROUP BY feature, team "
            "ORDER BY cost DESC",
        ),
        Panel(
            "Paid in vain",
            "table",
            "SELECT model, reason, count() AS attempts, sum(cost_usd) AS cost, "
            "countIf(cost_usd IS NULL) AS without_price\n"
            f"FROM attempts WHERE $__timeFilter(at) AND {MINE} AND reason != '' GROUP BY model, "
            "reason ORDER BY attempts DESC",
        ),
    ),
    "latency": (
        Panel(
            "Steps, 95th percentile",
            "timeseries",
            "SELECT $__timeInterval(hour) AS time, operation, "
            f"{_waits('wait_ms', p95=2)}\n"
            f"FROM operations_by_hour WHERE {HOURS} AND {MINE} GROUP BY time, operation ORDER BY "
            "time",
            "ms",
            legend="operation",
        ),
        Panel(
            "Steps",
            "table",
            "SELECT operation, name, sum(steps) AS all_steps, sum(errors) AS failed, "
            f"{_waits('wait_ms', p50_ms=1, p95_ms=2, p99_ms=3)}\n"
            f"FROM steps_by_day WHERE {DAYS} AND {MINE} GROUP BY operation, name ORDER BY p95_ms "
            "DESC",
        ),
        Panel(
            "Time to first token",
            "timeseries",
            "SELECT $__timeInterval(hour) AS time, request_model, "
            f"{_waits('first_token_ms', 'If', p50=1, p95=2)}\n"
            f"FROM operations_by_hour WHERE {HOURS} AND {MINE} AND operation = 'chat'\n"
            "GROUP BY time, request_model ORDER BY time",
            "ms",
        ),
        Panel(
            "Output tokens a second",
            "timeseries",
            "SELECT $__timeInterval(hour) AS time, request_model, "
            "sum(output_tokens) / greatest(sum(wait_ms_sum), 1) * 1000 AS tokens_s\n"
            f"FROM operations_by_hour WHERE {HOURS} AND {MINE} AND operation = 'chat'\n"
            "GROUP BY time, request_model ORDER BY time",
            "suffix: tokens/s",
            legend="request_model",
        ),
        Panel(
            "Errors by step",
            "bars",
            "SELECT $__timeInterval(hour) AS time, operation, sum(errors) AS errors\n"
            f"FROM operations_by_hour WHERE {HOURS} AND {MINE} GROUP BY time, operation ORDER BY "
            "time",
            legend="operation",
        ),
        Panel(
            "Slowest runs",
            "table",
            "SELECT at, run, agent, outcome, wait_ms, model_calls, tool_calls, cost_usd\n"
            f"FROM runs WHERE $__timeFilter(at) AND {MINE} ORDER BY wait_ms DESC LIMIT 50",
        ),
    ),
    "guardrails": (
        Panel(
            "Findings by rule",
            "bars",
            "SELECT $__timeInterval(at) AS time, rule, sum(findings) AS found\n"
            f"FROM verdicts WHERE $__timeFilter(at) AND {MINE} GROUP BY time, rule ORDER BY time",
            legend="rule",
        ),
        Panel(
            "Rules",
            "table",
            "SELECT policy, policy_version, stage, rule, action, countIf(enforced) AS "
            "enforced_times, "
            "countIf(NOT enforced) AS in_shadow, sum(findings) AS found\n"
            f"FROM verdicts WHERE $__timeFilter(at) AND {MINE}\n"
            "GROUP BY policy, policy_version, stage, rule, action ORDER BY found DESC",
        ),
        Panel(
            "Refused, blocked, stopped, failed",
            "table",
            "SELECT tenant, agent, outcome, reason, sum(runs) AS times\n"
            f"FROM runs_by_hour WHERE {HOURS} AND {MINE} AND outcome != 'completed'\n"
            "GROUP BY tenant, agent, outcome, reason ORDER BY times DESC",
        ),
        Panel(
            "Share that did not complete",
            "timeseries",
            "SELECT $__timeInterval(hour) AS time, agent, "
            "sumIf(runs, outcome != 'completed') / sum(runs) AS share\n"
            f"FROM runs_by_hour WHERE {HOURS} AND {MINE} GROUP BY time, agent ORDER BY time",
            "percentunit",
            legend="agent",
        ),
    ),
    "pipeline": (
        Panel(
            "Lost or doubled",
            "stat",
            "SELECT sum(wrong) FROM (SELECT topic, partition, minute, "
            "argMax(lost, counted_at) + argMax(doubled, counted_at) AS wrong\n"
            "FROM balance WHERE $__timeFilter(minute) GROUP BY topic, partition, minute)",
            width=6,
            bad_from=1,
        ),
        Panel(
            "Dead letters",
            "stat",
            f"SELECT count() FROM dead_letters WHERE $__timeFilter(at) AND {MINE}",
            width=6,
            bad_from=1,
        ),
        Panel(
            "Records by topic",
            "bars",
            "SELECT $__timeInterval(minute) AS time, topic, sum(made) AS produced FROM (\n"
            "SELECT topic, partition, minute, argMax(produced, counted_at) AS made FROM balance\n"
            "WHERE $__timeFilter(minute) GROUP BY topic, partition, minute)\n"
            "GROUP BY time, topic HAVING produced > 0 ORDER BY time",
            legend="topic",
            least="1m",
        ),
        Panel(
            "How far behind, oldest record",
            "timeseries",
            "SELECT $__timeInterval(at) AS time, consumer, "
            "max(oldest_ms) AS oldest\nFROM delays WHERE $__timeFilter(at) GROUP BY time, "
            "consumer ORDER BY time",
            "ms",
            legend="consumer",
            least="1m",
        ),
        Panel(
            "From event to row",
            "timeseries",
            "SELECT $__timeInterval(at) AS time, "
            "quantile(0.5)(dateDiff('millisecond', at, landed_at)) AS p50, "
            "quantile(0.99)(dateDiff('millisecond', at, landed_at)) AS p99\n"
            f"FROM runs WHERE $__timeFilter(at) AND {MINE} GROUP BY time ORDER BY time",
            "ms",
            least="1m",
        ),
        Panel(
            "Models and tools that are not asked, by call runner",
            "table",
            "SELECT kind, provider, name, runner, "
            "argMax(state, at) AS state_now, max(at) AS since, countIf(state = 'open') AS "
            "times_opened\n"
            "FROM breakers WHERE $__timeFilter(at) GROUP BY kind, provider, name, runner ORDER "
            "BY state_now DESC, since DESC",
        ),
        Panel(
            "Dead letters by reason",
            "table",
            "SELECT topic_name, consumer, reason, count() AS letters, max(at) AS newest\n"
            f"FROM dead_letters WHERE $__timeFilter(at) AND {MINE} GROUP BY topic_name, "
            "consumer, reason ORDER BY letters DESC",
        ),
    ),
}
