"""The named queries of the tables, for the console, the CLI and Grafana."""

from sinks.clickhouse.queries.base import LATELY, MINE, SINCE, Query, lately
from sinks.clickhouse.queries.models import MODELS
from sinks.clickhouse.queries.money import MONEY
from sinks.clickhouse.queries.quality import QUALITY
from sinks.clickhouse.queries.traces import TRACES

__all__ = ["QUERIES", "Query"]

QUERIES = (
    *MONEY,
    *MODELS,
    *TRACES,
    *QUALITY,
    Query(
        "cost_over_time",
        "What each tenant, agent and model cost, hour by hour",
        f"""
SELECT hour, tenant, agent, model, sum(calls) AS calls, sum(input_tokens) AS input_tokens,
       sum(output_tokens) AS output_tokens, sum(cost_usd) AS cost_usd,
       sum(unpriced_calls) AS unpriced_calls
FROM usage_by_hour WHERE {MINE} AND {LATELY}
GROUP BY hour, tenant, agent, model ORDER BY hour, cost_usd DESC""",
        lately(),
    ),
    Query(
        "latency_by_step",
        "How long each kind of step takes: median, 95th and 99th percentile, errors",
        f"""
SELECT operation, name, sum(steps) AS steps, sum(errors) AS errors,
       quantilesTDigestMerge(0.5, 0.95, 0.99)(wait_ms) AS waits, round(waits[1]) AS p50_ms,
       round(waits[2]) AS p95_ms,
       round(waits[3]) AS p99_ms, max(wait_ms_max) AS max_ms
FROM steps_by_hour WHERE {MINE} AND {LATELY}
GROUP BY operation, name ORDER BY p95_ms DESC""",
        lately(),
    ),
    Query(
        "outcome_rates",
        "Which share of the runs of each agent failed, was blocked, stopped or refused",
        f"""
SELECT tenant, agent, agent_version, sum(runs) AS all_runs,
       sumIf(runs, outcome = 'completed') AS completed,
       round(sumIf(runs, outcome = 'failed') / all_runs, 4) AS failed_share,
       round(sumIf(runs, outcome = 'blocked') / all_runs, 4) AS blocked_share,
       round(sumIf(runs, outcome = 'stopped') / all_runs, 4) AS stopped_share,
       round(sumIf(runs, outcome = 'refused') / all_runs, 4) AS refused_share
FROM runs_by_hour WHERE {MINE} AND {LATELY}
GROUP BY tenant, agent, agent_version ORDER BY all_runs DESC""",
        lately(),
    ),
    Query(
        "trace",
        "Every step of one run, in order",
        """
SELECT started_at, name, operation, status, error_type, wait_ms, input_tokens, output_tokens,
       cost_usd, attempts, span,
       parent, input, output
FROM spans WHERE run = {run:UUID} ORDER BY started_at, at""",
        {"run": "00000000-0000-0000-0000-000000000000"},
    ),
    Query(
        "top_spenders",
        "Who spent most, by tenant and user",
        f"""
SELECT tenant, user, count() AS calls, sum(input_tokens + output_tokens) AS tokens,
       sum(cost_usd) AS spent_usd,
       countIf(cost_usd IS NULL) AS unpriced_calls
FROM token_usage WHERE {MINE} AND {SINCE}
GROUP BY tenant, user ORDER BY spent_usd DESC LIMIT {{limit:UInt32}}""",
        lately(limit=20),
    ),
    Query(
        "feedback_by_version",
        "How people judge each version of each agent",
        """
SELECT tenant, agent, agent_version, sum(given) AS n, round(sum(score) / n, 3) AS mean_score,
       round(sum(good) / n, 3) AS good_share, round(sum(bad) / n, 3) AS bad_share
FROM feedback_by_day WHERE ({tenant:String} = '' OR tenant = {tenant:String})
  AND day >= toDate(now('UTC') - INTERVAL {days:UInt32} DAY)
GROUP BY tenant, agent, agent_version ORDER BY tenant, agent, agent_version""",
        {"tenant": "", "days": 30},
    ),
    Query(
        "slowest_runs",
        "The runs that took longest",
        f"""
SELECT at, run, tenant, agent, outcome, reason, wait_ms, model_calls, tool_calls, cost_usd
FROM runs WHERE {MINE} AND {SINCE} ORDER BY wait_ms DESC LIMIT {{limit:UInt32}}""",
        lately(limit=20),
    ),
    Query(
        "refused_and_blocked",
        "Why requests were refused, blocked, stopped or failed",
        f"""
SELECT tenant, outcome, reason, sum(runs) AS how_many
FROM runs_by_hour WHERE {MINE} AND {LATELY} AND outcome != 'completed'
GROUP BY tenant, outcome, reason ORDER BY how_many DESC""",
        lately(),
    ),
    Query(
        "verdicts_by_rule",
        "What the guardrails found, and whether it was enforced",
        f"""
SELECT tenant, policy, policy_version, rule, action, stage, enforced, count() AS verdicts,
       sum(findings) AS all_findings
FROM verdicts WHERE {MINE} AND {SINCE}
GROUP BY tenant, policy, policy_version, rule, action, stage, enforced ORDER BY verdicts DESC""",
        lately(),
    ),
    Query(
        "unpriced_usage",
        "Which models' prices nobody knows, and how much was used of them",
        f"""
SELECT model, provider, sum(unpriced_calls) AS calls_without_price, sum(calls) AS all_calls
FROM usage_by_hour WHERE {MINE} AND {LATELY}
GROUP BY model, provider HAVING calls_without_price > 0 ORDER BY calls_without_price DESC""",
        lately(),
    ),
    Query(
        "open_approvals",
        "Which calls wait for somebody's word, the most urgent first",
        f"""
SELECT approval, tenant, max(agent) AS agent, max(run) AS run, max(session) AS session,
       max(tool) AS tool,
       anyIf(arguments, status = 'asked') AS arguments,
       anyIf(approvers, status = 'asked') AS approvers,
       anyIf(override, status = 'asked') AS override, minIf(at, status = 'asked') AS asked_at,
       maxIf(expires_at, status = 'asked') AS expires_at
FROM approvals WHERE {MINE}
GROUP BY tenant, approval HAVING countIf(status = 'asked') > 0
         AND countIf(status IN ('approved', 'denied', 'expired', 'cancelled')) = 0
         AND expires_at > now64(3, 'UTC')
ORDER BY expires_at""",
        {"tenant": ""},
    ),
    Query(
        "not_undone",
        "What failed workflows did and could not undo, newest first: somebody has to look at it",
        f"""
SELECT at, tenant, agent, run, outcome, not_undone, detail
FROM runs WHERE {MINE} AND {SINCE} AND not_undone != '' ORDER BY at DESC""",
        lately(),
    ),
    Query(
        "refused_signals",
        "Which signals no session kept, by name and reason, with an example",
        f"""
SELECT tenant, name, reason, count() AS signals, max(at) AS newest, any(session) AS example,
       any(detail) AS why
FROM refused_signals WHERE {MINE} AND {SINCE}
GROUP BY tenant, name, reason ORDER BY signals DESC""",
        lately(),
    ),
    Query(
        "dead_letters",
        "What could not be processed, by topic, consumer and reason, with an example",
        """
SELECT topic_name, consumer, reason, count() AS letters, max(at) AS newest, any(source) AS example,
       any(detail) AS why
FROM dead_letters WHERE at >= now64(3, 'UTC') - INTERVAL {hours:UInt32} HOUR
GROUP BY topic_name, consumer, reason ORDER BY letters DESC""",
        {"hours": 168},
    ),
    Query(
        "completeness",
        "Whether produced = landed + dead-lettered, by topic: lost and doubled are to be 0",
        """
SELECT topic, sum(made) AS produced, sum(there) AS landed, sum(dead) AS dead_lettered,
       sum(nowhere) AS lost,
       sum(twice) AS doubled, max(longest) AS longest_ms, max(last) AS last_counted
FROM (SELECT topic, partition, minute, argMax(balance.produced, counted_at) AS made,
             argMax(balance.landed, counted_at) AS there,
             argMax(balance.dead_lettered, counted_at) AS dead,
             argMax(balance.lost, counted_at) AS nowhere,
             argMax(balance.doubled, counted_at) AS twice,
             argMax(landed_after_ms, counted_at) AS longest, max(counted_at) AS last
      FROM balance WHERE minute >= now('UTC') - INTERVAL {hours:UInt32} HOUR GROUP BY topic,
      partition, minute)
GROUP BY topic ORDER BY topic""",
        {"hours": 24},
    ),
    Query(
        "completeness_minutes",
        "Whether it balances, by topic, partition and minute: what is off first, then the newest",
        """
SELECT topic, partition, minute, argMax(balance.produced, counted_at) AS made,
       argMax(balance.landed, counted_at) AS there,
       argMax(balance.dead_lettered, counted_at) AS dead,
       argMax(balance.lost, counted_at) AS nowhere,
       argMax(balance.doubled, counted_at) AS twice,
       argMax(landed_after_ms, counted_at) AS longest_ms,
       max(counted_at) AS last_counted
FROM balance WHERE minute >= now('UTC') - INTERVAL {hours:UInt32} HOUR
       AND ({topic:String} = '' OR topic = {topic:String})
GROUP BY topic, partition, minute
ORDER BY nowhere + twice > 0 DESC, minute DESC, topic, partition LIMIT {limit:UInt32}""",
        {"topic": "", "hours": 24, "limit": 200},
    ),
    Query(
        "parts",
        "How many parts each month of each table has: above 200 merges do not keep up",
        """
SELECT table, partition, count() AS parts, sum(rows) AS all_rows,
       sum(bytes_on_disk) AS bytes_on_disk,
       sum(data_uncompressed_bytes) AS bytes_unpacked, parts <= 200 AS is_well
FROM system.parts WHERE database = currentDatabase() AND active
GROUP BY table, partition ORDER BY parts DESC, table, partition""",
    ),
    Query(
        "delays",
        "How far behind each stage, the calls and each sink are, now and at worst",
        """
SELECT consumer, argMax(behind, at) AS behind_now, argMax(oldest_ms, at) AS oldest_now_ms,
       max(behind) AS behind_at_worst, max(oldest_ms) AS oldest_at_worst_ms, max(at) AS looked_at
FROM delays WHERE at >= now64(3, 'UTC') - INTERVAL {minutes:UInt32} MINUTE
GROUP BY consumer ORDER BY oldest_at_worst_ms DESC, consumer""",
        {"minutes": 60},
    ),
    Query(
        "balance",
        "Whether any table holds a row twice, and whether totals equal their tables",
        """
SELECT 'runs' AS checked, count() AS all_rows, all_rows - uniqExact(id) AS doubled,
       (SELECT sum(runs) FROM runs_by_hour) AS in_totals,
       toInt64(in_totals) - toInt64(all_rows) AS off FROM runs
UNION ALL
SELECT 'spans', count() AS all_rows, all_rows - uniqExact(id),
       (SELECT sum(steps) FROM steps_by_hour) AS in_totals,
       toInt64(in_totals) - toInt64(all_rows) FROM spans
UNION ALL
SELECT 'token_usage', count() AS all_rows, all_rows - uniqExact(id),
       (SELECT sum(calls) FROM usage_by_hour) AS in_totals,
       toInt64(in_totals) - toInt64(all_rows) FROM token_usage
UNION ALL
SELECT 'feedback', count() AS all_rows, all_rows - uniqExact(id),
       (SELECT sum(given) FROM feedback_by_day) AS in_totals,
       toInt64(in_totals) - toInt64(all_rows) FROM feedback""",
    ),
    Query(
        "usage_against_stream",
        "Whether the minutes totalled in the stream equal the calls in the table, by tenant",
        f"""
SELECT tenant, sum(calls_in_table) AS calls_here, sum(calls_in_stream) AS calls_streamed,
       sum(cost_in_table) AS cost_here_usd, sum(cost_in_stream) AS cost_streamed_usd
FROM (SELECT tenant, count() AS calls_in_table, 0 AS calls_in_stream, sum(ifNull(cost_usd,
       toDecimal128(0, 12)))
             AS cost_in_table, toDecimal128(0, 12) AS cost_in_stream
      FROM token_usage WHERE {MINE} AND at < {{until:DateTime('UTC')}} GROUP BY tenant
      UNION ALL
      SELECT tenant, 0, sum(calls), toDecimal128(0, 12), sum(cost_usd)
      FROM usage_by_minute WHERE {MINE} AND until <= {{until:DateTime('UTC')}} GROUP BY tenant)
GROUP BY tenant ORDER BY tenant""",
        {"tenant": "", "until": "2100-01-01 00:00:00"},
    ),
)


def by_name(name: str) -> Query:
    """The ready query of that name."""
    return next(query for query in QUERIES if query.name == name)
