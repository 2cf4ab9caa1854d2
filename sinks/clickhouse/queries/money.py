"""Named queries on money: who spends it, on what, how much is wasted, the forecast."""

from sinks.clickhouse.queries.base import LATELY, MINE, SINCE, Query, lately

NONE = "toDecimal128(0, 12)"
SAVED = {
    "saved_by_provider_usd": f"sum(ifNull(token_usage.uncached_usd - token_usage.cost_usd, {NONE}))",
    "saved_by_hits_usd": f"sum(ifNull(token_usage.saved_usd, {NONE}))",
    "saved_by_routing_usd": f"sum(ifNull(token_usage.unrouted_usd - token_usage.cost_usd, {NONE})) "
    "- "
    f"sumIf(ifNull(token_usage.cost_usd, {NONE}), token_usage.wasted AND token_usage.route != '')",
}
"""What was not paid, and why. A provider's cache: the same tokens without it, less the cost. The
response cache: what the answers cost when a model gave them. Routing: the same tokens at the
dearest model that the route could have chosen, less the cost and less what its attempts cost in
vain; so it can be below nothing. What has no price saves nothing.
"""

MONEY = (
    Query(
        "cost_by_feature",
        "What each feature and team cost, for chargeback: asked by providers, and charged",
        f"""
SELECT tenant, feature, team, sum(calls) AS all_calls, sum(input_tokens) AS tokens_sent,
       sum(output_tokens) AS tokens_generated, sum(cost_usd) AS spent_usd,
       sum(charged_usd) AS to_charge_usd,
       sum(unpriced_calls) AS without_price
FROM usage_by_hour WHERE {MINE} AND {LATELY}
GROUP BY tenant, feature, team ORDER BY spent_usd DESC""",
        lately(),
    ),
    Query(
        "cost_by_user",
        "What each person cost: calls, sessions, tokens, days, dollars",
        f"""
SELECT tenant, user, count() AS calls, uniqExact(session) AS sessions_held,
       uniqExact(toDate(at, 'UTC')) AS days,
       sum(input_tokens + output_tokens) AS tokens, sum(cost_usd) AS spent_usd,
       countIf(cost_usd IS NULL) AS without_price
FROM token_usage WHERE {MINE} AND {SINCE} AND user != ''
GROUP BY tenant, user ORDER BY spent_usd DESC LIMIT {{limit:UInt32}}""",
        lately(limit=100),
    ),
    Query(
        "cost_by_minute",
        "What was spent minute by minute, with all that it was spent on",
        f"""
SELECT minute, tenant, agent, model, feature, sum(calls) AS all_calls, sum(cost_usd) AS spent_usd
FROM calls_by_minute WHERE {MINE} AND minute >= now('UTC') - INTERVAL {{minutes:UInt32}} MINUTE
GROUP BY minute, tenant, agent, model, feature ORDER BY minute, spent_usd DESC""",
        {"tenant": "", "minutes": 60},
    ),
    Query(
        "tokens_by_kind",
        "How many tokens of each kind each model took, and what a thousand calls cost",
        f"""
SELECT model, provider, sum(calls) AS all_calls, sum(input_tokens) AS sent,
       sum(cached_input_tokens) AS cached,
       sum(cache_write_tokens) AS written_to_cache,
       sum(cache_write_1h_tokens) AS written_for_an_hour,
       sum(output_tokens) AS generated, sum(reasoning_tokens) AS reasoned,
       sum(input_audio_tokens) + sum(output_audio_tokens) AS sound,
       sum(input_image_tokens) + sum(output_image_tokens) AS images,
       all_calls - sum(unpriced_calls) AS priced,
       if(priced > 0, sum(cost_usd) * 1000 / priced, NULL) AS usd_a_thousand
FROM usage_by_hour WHERE {MINE} AND {LATELY}
GROUP BY model, provider ORDER BY all_calls DESC, model""",
        lately(),
    ),
    Query(
        "cache_savings",
        "What caches saved: the providers' own, and the exact response cache",
        f"""
SELECT tenant, model, count() AS calls, sum(input_tokens) AS sent,
       sum(cached_input_tokens) AS cached,
       round(cached / greatest(sent, 1), 4) AS cached_share,
       sumIf(uncached_usd - cost_usd, uncached_usd IS NOT NULL
       AND cost_usd IS NOT NULL) AS saved_by_provider_usd,
       countIf(cache_hit) AS cache_hits,
       sum(ifNull(token_usage.saved_usd, toDecimal128(0, 12))) AS saved_by_hits_usd
FROM token_usage WHERE {MINE} AND {SINCE}
GROUP BY tenant, model
ORDER BY ifNull(saved_by_provider_usd, toDecimal128(0, 12)) + saved_by_hits_usd DESC, tenant,
       model""",
        lately(hours=720),
    ),
    Query(
        "savings",
        "What was not paid, of what it would have been: thanks to providers' caches, to the "
        "response cache "
        "and to routing, beside each route's dearest model",
        f"""
SELECT tenant, sum(token_usage.cost_usd) AS spent_usd,
       {", ".join(f"{sql} AS {name}" for name, sql in SAVED.items())},
       countIf(token_usage.cache_hit) AS hits,
       countIf(token_usage.unrouted_usd IS NOT NULL) AS routed,
       {" + ".join(SAVED)} AS saved_all_usd,
       round(toFloat64(saved_all_usd) / nullIf(toFloat64(ifNull(spent_usd, {NONE}) + saved_all_usd),
       0), 4) AS saved_share
FROM token_usage WHERE {MINE} AND {SINCE}
GROUP BY tenant ORDER BY saved_all_usd DESC, tenant""",
        lately(hours=720),
    ),
    Query(
        "waste",
        "What was paid in vain: attempts that were not used, and runs that did not complete",
        f"""
SELECT tenant, agent, what, why, sum(times) AS how_often, sum(usd) AS in_vain_usd
FROM (SELECT tenant, agent, 'attempt not used' AS what, model AS why, count() AS times,
             sum(ifNull(cost_usd, toDecimal128(0, 12))) AS usd
      FROM token_usage WHERE {MINE} AND {SINCE} AND wasted GROUP BY tenant, agent, model
      UNION ALL
      SELECT tenant, agent, concat('run ', outcome), reason, sum(runs), sum(cost_usd)
      FROM runs_by_hour WHERE {MINE} AND {LATELY} AND outcome NOT IN ('completed', 'refused')
      GROUP BY tenant, agent, outcome, reason)
GROUP BY tenant, agent, what, why ORDER BY in_vain_usd DESC, how_often DESC""",
        lately(hours=720),
    ),
    Query(
        "forecast",
        "What each tenant will have spent when the month is over, by the mean of full days",
        f"""
WITH ifNull(parseDateTimeBestEffortOrNull({{now:String}}, 'UTC'), now('UTC')) AS moment,
     toDateTime(toStartOfMonth(moment), 'UTC') AS begin,
     toDateTime(addMonths(toStartOfMonth(moment), 1), 'UTC') AS over,
     toStartOfDay(moment) AS today, today - INTERVAL {{days:UInt32}} DAY AS since
SELECT tenant, sumIf(cost_usd, hour >= begin) AS spent_usd,
       sumIf(unpriced_calls, hour >= begin) AS without_price,
       least({{days:UInt32}}, dateDiff('day', toStartOfDay(min(hour)), today)) AS full_days,
       if(full_days > 0, sumIf(cost_usd, hour >= since AND hour < today) / greatest(full_days, 1),
          sumIf(cost_usd, hour >= today) * 86400 / greatest(dateDiff('second', min(hour), moment),
          3600)) AS a_day_usd,
       spent_usd + a_day_usd * dateDiff('second', moment, over) / 86400 AS forecast_usd,
       sumIf(charged_usd, hour >= begin) AS to_charge_usd,
       if(full_days > 0, sumIf(charged_usd, hour >= since AND hour < today) / greatest(full_days,
       1),
          sumIf(charged_usd, hour >= today) * 86400 / greatest(dateDiff('second', min(hour),
          moment), 3600))
       AS to_charge_a_day_usd,
       to_charge_usd + to_charge_a_day_usd * dateDiff('second', moment,
       over) / 86400 AS forecast_to_charge_usd
FROM usage_by_hour WHERE {MINE} AND hour >= least(begin, since) AND hour <= moment
GROUP BY tenant ORDER BY forecast_usd DESC""",
        {"tenant": "", "days": 28, "now": ""},
    ),
    Query(
        "budget_state",
        "How far each tenant's budgets are spent, by the last alert of each month or day",
        f"""
SELECT tenant, period, argMax(budget_usd, (at, share)) AS budget, max(share) AS reached,
       max(spent_usd) AS spent_by_then, argMax(hard, (at, share)) AS stops, reached >= 1 AS used_up,
       max(at) AS told_at
FROM budget_alerts WHERE {MINE} AND at >= now64(3, 'UTC') - INTERVAL {{days:UInt32}} DAY
GROUP BY tenant, period ORDER BY period DESC, tenant""",
        {"tenant": "", "days": 62},
    ),
    Query(
        "sessions",
        "The newest conversations: agents, runs, tokens, cost",
        f"""
SELECT tenant, session, user, agents, started_at, ended_at, runs_ended, completed, refused,
       model_calls, tool_calls,
       input_tokens, output_tokens, cost_usd
FROM sessions WHERE {MINE} AND ended_at >= now64(3, 'UTC') - INTERVAL {{hours:UInt32}} HOUR
ORDER BY ended_at DESC LIMIT {{limit:UInt32}}""",
        lately(limit=50),
    ),
    Query(
        "find_runs",
        "The newest runs whose question or answer has all these words",
        f"""
SELECT at, run, tenant, agent, outcome, substring(question, 1, 200) AS asked,
       substring(answer, 1, 200) AS answered
FROM runs WHERE {MINE}
  AND (hasAllTokens(question, lower({{words:String}})) OR hasAllTokens(answer,
  lower({{words:String}})))
ORDER BY at DESC LIMIT {{limit:UInt32}}""",
        {"tenant": "", "words": "order", "limit": 20},
    ),
)
