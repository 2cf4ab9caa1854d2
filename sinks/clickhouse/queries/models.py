"""Named queries on attempts: which models answer, which fail, and what is wasted."""

from sinks.clickhouse.queries.base import MINE, SINCE, Query, lately

MODELS = (
    Query(
        "waste_by_model",
        "How many requests to each model were for nothing, why, and what they cost",
        f"""
SELECT model, provider, reason, count() AS attempts_wasted, countIf(hedge) AS of_them_hedges,
       sum(input_tokens + output_tokens) AS tokens,
       sum(ifNull(cost_usd, toDecimal128(0, 12))) AS wasted_usd,
       countIf(cost_usd IS NULL) AS may_be_billed
FROM attempts WHERE {MINE} AND {SINCE} AND wasted
GROUP BY model, provider, reason ORDER BY wasted_usd DESC, attempts_wasted DESC, model, reason""",
        lately(),
    ),
    Query(
        "models_health",
        "How often and how fast each model answers, and how many of its answers were used",
        f"""
SELECT model, provider, route, count() AS attempts_made,
       countIf(reason IN ('', 'late', 'check_failed')) AS answered,
       round(answered / attempts_made, 4) AS answered_share, countIf(NOT wasted) AS used,
       round(quantileIfOrNull(0.5)(wait_ms, answered_here)) AS p50_ms,
       round(quantileIfOrNull(0.95)(wait_ms, answered_here)) AS p95_ms,
       topKIf(1)(reason, NOT answered_here)[1] AS fails_most_by
FROM (SELECT *, reason IN ('', 'late', 'check_failed') AS answered_here FROM attempts
       WHERE {MINE} AND {SINCE})
GROUP BY model, provider, route ORDER BY attempts_made DESC, model""",
        lately(),
    ),
    Query(
        "breakers",
        "Which models and tools are not asked because they fail, in how many call runners, and how "
        "often lately",
        """
SELECT kind, provider, name, countIf(state_now = 'open') AS open_in,
       countIf(state_now = 'half_open') AS half_open_in,
       count() AS runners_seen, sum(times_opened) AS opened, max(moved_at) AS last_moved_at,
       maxOrNullIf(moved_at + toIntervalMillisecond(open_for), state_now = 'open') AS open_until
FROM (SELECT kind, provider, name, runner, argMax(state, (at, kafka_offset)) AS state_now,
       countIf(state = 'open') AS times_opened,
             max(at) AS moved_at, argMax(open_ms, (at, kafka_offset)) AS open_for
      FROM breakers WHERE at >= now64(3, 'UTC') - INTERVAL {hours:UInt32} HOUR GROUP BY kind,
      provider, name, runner)
GROUP BY kind, provider, name ORDER BY open_in DESC, opened DESC, kind, name""",
        {"hours": 24},
    ),
    Query(
        "first_token",
        "How soon each model that streams begins to answer, and how soon it ends",
        f"""
SELECT request_model AS model, provider, count() AS answers,
       round(quantile(0.5)(first_token_ms)) AS first_p50_ms,
       round(quantile(0.95)(first_token_ms)) AS first_p95_ms,
       round(quantile(0.95)(wait_ms)) AS whole_p95_ms,
       round(sum(output_tokens) / greatest(sum(toInt64(wait_ms) - toInt64(first_token_ms)),
       1) * 1000, 1)
       AS tokens_per_s
FROM spans WHERE {MINE} AND {SINCE} AND operation = 'chat' AND first_token_ms IS NOT NULL
GROUP BY model, provider ORDER BY first_p95_ms DESC, model""",
        lately(),
    ),
)
