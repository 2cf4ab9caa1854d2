"""Which rows does each page of the console show? Every one of them can be taken along as CSV or
Parquet.

Parameters: `tenant` (empty: all that the reader may see), `hours` back from now, `limit` (what a
page has room for; an export takes all), and what a page's filters add. Charts have the columns
time, series, value.
"""

from dataclasses import dataclass, field
from typing import Any

from sinks.clickhouse.queries.catalogue import by_name
from streams.gateway.routes.approvals import OPEN_APPROVALS

MINE = "({tenant:String} = '' OR tenant = {tenant:String})"
SINCE = "at >= now64(3, 'UTC') - INTERVAL {hours:UInt32} HOUR"
LATELY = "at >= now64(3, 'UTC') - INTERVAL least({hours:UInt32}, 48) HOUR"
"""No further back than two days: what waits longer stands under approvals."""
HOURLY = "hour >= toStartOfHour(now('UTC') - INTERVAL {hours:UInt32} HOUR)"
LIMIT = "LIMIT {limit:UInt32}"
BUCKET = "toStartOfInterval(at, INTERVAL {step_s:UInt32} SECOND, 'UTC')"
BUCKETS = ((2, 60), (24, 1_800), (168, 10_800), (10_000, 86_400))
"""Up to so many hours a chart's point stands for so many seconds."""
ROWS_SHOWN = 200
ROWS_TAKEN = 1_000_000
SPANS_SHOWN = 10_000
TEXT_SHOWN = 8_000
OF_ALL = ("completeness", "completeness_minutes", "delays", "rates")
"""Tables of the whole installation: counts of all tenants together."""
QUALITY = (
    "failed_clusters",
    "drift",
    "abandoned_runs",
    "loops",
    "tool_errors",
    "verdict_rates",
    "latency_budget",
    "first_token",
    "models_health",
    "retries_and_fallbacks",
    "breakers",
)
"""The ready queries of the page on quality, what hurts most first."""
MONEY = ("budget_state", "forecast", "savings", "waste")
"""Those below the cost."""
SPLITS = ("model", "agent", "tenant", "feature", "team", "user", "provider")


@dataclass(frozen=True)
class Rows:
    """A table or chart of the console, with what its query is given beyond tenant, hours and
    filters.
    """

    title: str
    sql: str
    given: dict[str, Any] = field(default_factory=dict)


ROWS: dict[str, Rows] = {
    "figures": Rows(
        "Figures",
        f"""
SELECT count() AS runs, countIf(outcome = 'completed') AS completed, countIf(outcome = 'refused') AS refused,
       sum(cost_usd) AS cost_usd, sum(unpriced_calls) AS unpriced_calls,
       quantileIf(0.5)(wait_ms, outcome != 'refused') AS p50_ms, quantileIf(0.95)(wait_ms, outcome != 'refused') AS p95_ms,
       sum(input_tokens + output_tokens) AS tokens
FROM runs WHERE {MINE} AND {SINCE}""",
    ),
    "spent": Rows(
        "Spent",
        f"""
SELECT count() AS calls, countIf(token_usage.cost_usd IS NULL) AS unpriced_calls, sum(token_usage.cost_usd) AS cost_usd,
       sum(token_usage.charged_usd) AS charged_usd, sum(input_tokens) AS input, sum(output_tokens) AS output,
       (SELECT count() FROM attempts WHERE {MINE} AND {SINCE} AND wasted) AS wasted,
       (SELECT sum(cost_usd) FROM attempts WHERE {MINE} AND {SINCE} AND wasted) AS wasted_usd
FROM token_usage WHERE {MINE} AND {SINCE}""",
    ),
    "runs_by_outcome": Rows(
        "Runs by outcome",
        f"""
SELECT {BUCKET} AS time, outcome AS series, count() AS value FROM runs WHERE {MINE} AND {SINCE}
GROUP BY time, series ORDER BY time""",
    ),
    "waits": Rows(
        "How long runs take, ms",
        f"""
SELECT {BUCKET} AS time, arrayJoin([('p50', quantile(0.5)(wait_ms)), ('p95', quantile(0.95)(wait_ms))]) AS pair,
       pair.1 AS series, pair.2 AS value FROM runs WHERE {MINE} AND {SINCE} AND outcome != 'refused'
GROUP BY time ORDER BY time""",
    ),
    "cost_by_model": Rows(
        "Cost by model, USD",
        f"""
SELECT {BUCKET} AS time, model AS series, sum(ifNull(cost_usd, 0)) AS value FROM token_usage
WHERE {MINE} AND {SINCE} GROUP BY time, series ORDER BY time""",
    ),
    "agents": Rows(
        "Agents",
        f"""
SELECT tenant, agent, agent_version, count() AS all_runs, round(countIf(outcome = 'completed') / all_runs, 4) AS completed_share,
       round(quantile(0.95)(wait_ms)) AS p95_ms, sum(cost_usd) AS cost_usd, sum(unpriced_calls) AS unpriced_calls
FROM runs WHERE {MINE} AND {SINCE} GROUP BY tenant, agent, agent_version ORDER BY all_runs DESC {LIMIT}""",
    ),
    "completeness": Rows("Produced = landed + dead-lettered", by_name("completeness").sql),
    "delays": Rows(
        "How far behind",
        """
SELECT consumer, argMax(behind, at) AS behind_now, argMax(oldest_ms, at) AS oldest_now_ms, max(behind) AS behind_at_worst,
       max(oldest_ms) AS oldest_at_worst_ms, max(at) AS looked_at
FROM delays WHERE at >= now64(3, 'UTC') - INTERVAL {hours:UInt32} HOUR
GROUP BY consumer ORDER BY oldest_at_worst_ms DESC, consumer""",
    ),
    "runs": Rows(
        "Runs",
        f"""
SELECT at, run, tenant, agent, user, substringUTF8(question, 1, 160) AS asked, substringUTF8(answer, 1, 160) AS answered, outcome,
       reason, wait_ms, cost_usd, model_calls, tool_calls, agent_version AS version, session
FROM runs WHERE {MINE} AND {SINCE} AND ({{agent:String}} = '' OR agent = {{agent:String}})
  AND ({{outcome:String}} = '' OR outcome = {{outcome:String}})
  AND ({{user:String}} = '' OR user = {{user:String}})
  AND (parseDateTime64BestEffortOrNull({{before:String}}, 3, 'UTC') IS NULL
       OR (at, run) < (parseDateTime64BestEffortOrNull({{before:String}}, 3, 'UTC'), toUUIDOrZero({{below:String}})))
  AND ({{words:String}} = '' OR hasAllTokens(question, lower({{words:String}})) OR hasAllTokens(answer, lower({{words:String}})))
ORDER BY at DESC, run DESC {LIMIT}""",
    ),
    "under_way": Rows(
        "Under way",
        f"""
SELECT min(started_at) AS began, run, tenant, any(agent) AS by_agent, any(session) AS session, count() AS steps,
       argMax(name, at) AS newest_step, max(at) AS newest_at,
       ifNull(sum(cost_usd), toDecimal128(0, 12)) AS so_far_usd
FROM spans WHERE {MINE} AND {LATELY} AND source = 'weir'
  AND run NOT IN (SELECT run FROM runs WHERE {MINE} AND {LATELY})
GROUP BY tenant, run ORDER BY began DESC {LIMIT}""",
    ),
    "spans": Rows(
        "Steps",
        f"""
SELECT started_at, wait_ms, name, operation, status, error_type, span, parent, run, agent, request_model, tool, step, attempts,
       input_tokens, cached_input_tokens, output_tokens, cost_usd, input, output
FROM spans WHERE trace = {{trace:String}} AND {MINE} ORDER BY started_at, at LIMIT 20000""",
    ),
    "spans_shown": Rows(
        "Steps, their texts shortened",
        f"""
SELECT started_at, wait_ms, name, operation, status, error_type, span, parent, run, agent, input_tokens, output_tokens, cost_usd,
       substringUTF8(input, 1, {TEXT_SHOWN // 4}) AS input, substringUTF8(output, 1, {TEXT_SHOWN}) AS output
FROM spans WHERE trace = {{trace:String}} AND {MINE} ORDER BY started_at, at LIMIT {SPANS_SHOWN + 1}""",
    ),
    "alarms": Rows(
        "Alarms",
        f"""
SELECT (SELECT count() FROM dead_letters WHERE {MINE} AND {SINCE}) AS dead_letters,
       (SELECT count() FROM drift WHERE {MINE} AND {SINCE}) AS drifted,
       (SELECT max(share) FROM budget_alerts WHERE {MINE} AND {SINCE}) AS budget_share,
       (SELECT argMax(tenant, share) FROM budget_alerts WHERE {MINE} AND {SINCE}) AS budget_of,
       (SELECT countIf(outcome IN ('failed', 'stopped')) FROM runs WHERE {MINE} AND {SINCE}) AS failed,
       (SELECT groupUniqArrayIf(name, state_now = 'open') FROM (SELECT name, argMax(state, at) AS state_now FROM breakers
        WHERE {MINE} AND {SINCE} GROUP BY kind, name, runner)) AS not_asked,
       (SELECT countIf(not_undone != '') FROM runs WHERE {MINE} AND {SINCE}) AS not_undone""",
    ),
    "run": Rows("Run", f"SELECT * FROM runs WHERE run = {{run:UUID}} AND {MINE} LIMIT 1"),
    "family": Rows(
        "Asked by, and asked in turn",
        f"""
SELECT run, parent_run, agent, agent_version AS version, outcome, reason, wait_ms, cost_usd FROM runs
WHERE {MINE} AND (run = {{run:UUID}} OR parent_run = {{run:UUID}} OR run = {{parent:UUID}}) ORDER BY started_at""",
    ),
    "verdicts_of_run": Rows(
        "Guardrails",
        f"""
SELECT at, stage, policy, policy_version, rule, category, action, enforced, findings FROM verdicts
WHERE run = {{run:UUID}} AND {MINE} ORDER BY at""",
    ),
    "sessions": Rows(
        "Sessions",
        f"""
SELECT tenant, session, user, agents, started_at, ended_at, runs_ended, completed, refused, model_calls, tool_calls,
       input_tokens, output_tokens, cost_usd
FROM sessions WHERE {MINE} AND ended_at >= now64(3, 'UTC') - INTERVAL {{hours:UInt32}} HOUR ORDER BY ended_at DESC {LIMIT}""",
    ),
    "session": Rows(
        "Conversation",
        f"""
SELECT at, run, agent, agent_version AS version, outcome, reason, wait_ms, cost_usd, question, answer FROM runs
WHERE session = {{session:String}} AND {MINE} ORDER BY started_at DESC {LIMIT}""",
    ),
    "verdicts": Rows(
        "What the guardrails found",
        f"""
SELECT policy, policy_version, stage, rule, category, action, countIf(enforced) AS enforced_times,
       countIf(NOT enforced) AS in_shadow, sum(findings) AS found, max(at) AS newest
FROM verdicts WHERE {MINE} AND {SINCE} GROUP BY policy, policy_version, stage, rule, category, action ORDER BY found DESC""",
    ),
    "verdicts_over_time": Rows(
        "Findings by rule",
        f"""
SELECT {BUCKET} AS time, rule AS series, sum(findings) AS value FROM verdicts WHERE {MINE} AND {SINCE}
GROUP BY time, series ORDER BY time""",
    ),
    "not_completed": Rows(
        "Refused, blocked, stopped, failed",
        f"""
SELECT tenant, agent, outcome, reason, count() AS times, any(run) AS run, any(detail) AS example FROM runs
WHERE {MINE} AND {SINCE} AND outcome != 'completed' GROUP BY tenant, agent, outcome, reason ORDER BY times DESC {LIMIT}""",
    ),
    "approvals": Rows("Waiting for a word", OPEN_APPROVALS),
    "traces": Rows("Traces", by_name("traces").sql),
    "decided": Rows(
        "Decided lately",
        f"""
SELECT at, tenant, run, agent, tool, status, by, note FROM approvals WHERE {MINE} AND {SINCE} AND status != 'asked'
ORDER BY at DESC {LIMIT}""",
    ),
    "dead_letters": Rows(
        "Dead letters",
        f"""
SELECT at, tenant, source, consumer, reason, detail, length(record_value) AS bytes,
       toValidUTF8(substring(record_value, 1, 400)) AS begins FROM dead_letters WHERE {MINE} AND {SINCE}
ORDER BY at DESC {LIMIT}""",
    ),
    "rates": Rows(
        "Records a minute, by topic",
        """
SELECT topic, round(sum(made) / 10, 1) AS a_minute, sum(nowhere) AS lost, sum(twice) AS doubled, max(longest) AS landed_after_ms
FROM (SELECT topic, partition, minute, argMax(produced, counted_at) AS made, argMax(lost, counted_at) AS nowhere,
             argMax(doubled, counted_at) AS twice, argMax(landed_after_ms, counted_at) AS longest
      FROM balance WHERE minute >= now('UTC') - INTERVAL 10 MINUTE GROUP BY topic, partition, minute)
GROUP BY topic ORDER BY a_minute DESC""",
    ),
}
for split in SPLITS:
    ROWS[f"cost_by_{split}" if split != "model" else "cost_of_models"] = Rows(
        f"Cost by {split}",
        f"""
SELECT {split}, count() AS model_calls, sum(input_tokens) AS input, sum(cached_input_tokens) AS cached_input,
       sum(output_tokens) AS output, sum(reasoning_tokens) AS reasoning, sum(token_usage.cost_usd) AS cost_usd,
       sum(token_usage.charged_usd) AS charged_usd, countIf(token_usage.cost_usd IS NULL) AS unpriced_calls
FROM token_usage WHERE {MINE} AND {SINCE} GROUP BY {split} ORDER BY cost_usd DESC NULLS LAST {LIMIT}""",
    )
    ROWS[f"cost_over_time_{split}"] = Rows(
        f"Cost by {split}, USD",
        f"""
SELECT {BUCKET} AS time, {split} AS series, sum(ifNull(cost_usd, 0)) AS value FROM token_usage
WHERE {MINE} AND {SINCE} GROUP BY time, series ORDER BY time""",
    )
for ready in map(by_name, (*QUALITY, *MONEY, "completeness_minutes")):
    ROWS[ready.name] = Rows(
        ready.purpose,
        ready.sql,
        {
            name: value
            for name, value in ready.parameters.items()
            if name not in ("tenant", "hours")
        },
    )
