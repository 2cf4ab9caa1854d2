"""Named queries on traces of runs and of other applications."""

from sinks.clickhouse.queries.base import MINE, SINCE, Query, lately

OF_TRACE = "trace = {trace:String} AND " + MINE

TRACES = (
    Query(
        "traces",
        "The newest traces of any source: how long, how many steps, errors, tokens and dollars",
        f"""
SELECT min(spans.started_at) AS began, trace, tenant,
       argMinIf(agent, spans.started_at, agent != '') AS by_agent,
       groupUniqArray(source) AS sources, count() AS steps, countIf(status = 'error') AS errors,
       dateDiff('millisecond', min(spans.started_at), max(at)) AS took_ms,
       sum(input_tokens) AS sent,
       sum(output_tokens) AS generated,
       countIf(operation IN ('chat', 'text_completion', 'generate_content', 'embeddings')
       AND cost_usd IS NULL)
           AS without_price, if(without_price = 0, ifNull(sum(cost_usd), toDecimal128(0, 12)),
           sum(cost_usd)) AS spent_usd
FROM spans WHERE {MINE} AND {SINCE}
GROUP BY tenant, trace ORDER BY began DESC LIMIT {{limit:UInt32}}""",
        lately(limit=50),
    ),
    Query(
        "trace_spans",
        "Every step of one trace, in order, whoever told it",
        f"""
SELECT started_at, tenant, span, parent, name, operation, status, error_type, wait_ms,
       request_model, input_tokens,
       output_tokens, cost_usd, source, agent, input, output
FROM spans WHERE {OF_TRACE} ORDER BY started_at, at LIMIT {{limit:UInt32}}""",
        {"trace": "0" * 32, "tenant": "", "limit": 20_000},
    ),
    Query(
        "usage_by_source",
        "Which applications told of calls, in whose conventions, and what these cost",
        f"""
SELECT tenant, source, agent, model, provider, count() AS calls, sum(input_tokens) AS sent,
       sum(output_tokens) AS generated, sum(cost_usd) AS spent_usd,
       countIf(cost_usd IS NULL) AS without_price
FROM token_usage WHERE {MINE} AND {SINCE}
GROUP BY tenant, source, agent, model, provider ORDER BY calls DESC, tenant, source, agent,
       model""",
        lately(),
    ),
    Query(
        "spans_put_right",
        "What was wrong with the spans that others sent, and of whom",
        f"""
SELECT tenant, agent, JSONExtractString(attributes, 'weir.scope') AS scope,
       arrayJoin(JSONExtract(attributes, 'weir.repaired', 'Array(String)')) AS what,
       count() AS how_many, any(trace) AS example
FROM spans WHERE {MINE} AND {SINCE} AND source != 'weir'
GROUP BY tenant, agent, scope, what ORDER BY how_many DESC, tenant, agent, what""",
        lately(),
    ),
)
