-- Totals that grow with every insert, so that common questions need neither FINAL nor a join. They are as exact as
-- their tables: an insert that is repeated is dropped here too.
CREATE TABLE IF NOT EXISTS usage_by_hour
(
    hour DateTime('UTC') COMMENT 'Start of the hour, UTC',
    tenant LowCardinality(String) COMMENT 'Tenant',
    agent LowCardinality(String) COMMENT 'Name of the agent',
    agent_version UInt64 COMMENT 'Version of the agent',
    model LowCardinality(String) COMMENT 'Name of the model',
    provider LowCardinality(String) COMMENT 'Its provider',
    calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Model calls',
    unpriced_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them whose price nobody knows',
    input_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Tokens sent, cached ones included',
    cached_input_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them read from a cache',
    cache_write_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them written to a cache',
    output_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Tokens generated, reasoning included',
    reasoning_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them spent on reasoning',
    cost_usd SimpleAggregateFunction(sum, Decimal(38, 12)) COMMENT 'Cost in US dollars of the calls whose price is known'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (tenant, hour, agent, agent_version, model, provider)
TTL hour + INTERVAL ${retention_days} DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1
COMMENT 'Model calls, tokens and cost by tenant, agent, model and hour';

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_by_hour_view TO usage_by_hour AS
SELECT
    toStartOfHour(toDateTime(at, 'UTC')) AS hour,
    tenant, agent, agent_version, model, provider,
    count() AS calls,
    countIf(token_usage.cost_usd IS NULL) AS unpriced_calls,
    sum(token_usage.input_tokens) AS input_tokens,
    sum(token_usage.cached_input_tokens) AS cached_input_tokens,
    sum(token_usage.cache_write_tokens) AS cache_write_tokens,
    sum(token_usage.output_tokens) AS output_tokens,
    sum(token_usage.reasoning_tokens) AS reasoning_tokens,
    sum(ifNull(token_usage.cost_usd, toDecimal128(0, 12))) AS cost_usd
FROM token_usage
GROUP BY hour, tenant, agent, agent_version, model, provider
COMMENT 'Feeds usage_by_hour from token_usage';

CREATE TABLE IF NOT EXISTS steps_by_hour
(
    hour DateTime('UTC') COMMENT 'Start of the hour, UTC',
    tenant LowCardinality(String) COMMENT 'Tenant',
    agent LowCardinality(String) COMMENT 'Name of the agent',
    operation LowCardinality(String) COMMENT 'chat, execute_tool, retrieval, guardrail, admission or invoke_agent',
    name LowCardinality(String) COMMENT 'What the step did',
    steps SimpleAggregateFunction(sum, UInt64) COMMENT 'Steps that ended',
    errors SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them that ended in an error',
    wait_ms_max SimpleAggregateFunction(max, UInt64) COMMENT 'Longest wait in milliseconds',
    wait_ms AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), UInt64) COMMENT 'Digest of the waits; read with quantilesTDigestMerge(0.5, 0.95, 0.99)(wait_ms)'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (tenant, hour, agent, operation, name)
TTL hour + INTERVAL ${retention_days} DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1
COMMENT 'Steps, errors and waits by tenant, agent, step and hour';

CREATE MATERIALIZED VIEW IF NOT EXISTS steps_by_hour_view TO steps_by_hour AS
SELECT
    toStartOfHour(toDateTime(at, 'UTC')) AS hour,
    tenant, agent, operation, name,
    count() AS steps,
    countIf(status = 'error') AS errors,
    max(spans.wait_ms) AS wait_ms_max,
    quantilesTDigestState(0.5, 0.95, 0.99)(spans.wait_ms) AS wait_ms
FROM spans
GROUP BY hour, tenant, agent, operation, name
COMMENT 'Feeds steps_by_hour from spans';

CREATE TABLE IF NOT EXISTS runs_by_hour
(
    hour DateTime('UTC') COMMENT 'Start of the hour, UTC',
    tenant LowCardinality(String) COMMENT 'Tenant',
    agent LowCardinality(String) COMMENT 'Name of the agent',
    agent_version UInt64 COMMENT 'Version of the agent',
    outcome LowCardinality(String) COMMENT 'completed, failed, blocked, stopped, cancelled or refused',
    reason LowCardinality(String) COMMENT 'Why it ended so; empty when completed',
    runs SimpleAggregateFunction(sum, UInt64) COMMENT 'Runs that ended so',
    model_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Their model calls',
    tool_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Their tool calls',
    unpriced_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Model calls whose price nobody knows',
    cost_usd SimpleAggregateFunction(sum, Decimal(38, 12)) COMMENT 'What they cost in US dollars, as far as prices are known',
    wait_ms_max SimpleAggregateFunction(max, UInt64) COMMENT 'Longest wait in milliseconds',
    wait_ms AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), UInt64) COMMENT 'Digest of the waits; read with quantilesTDigestMerge(0.5, 0.95, 0.99)(wait_ms)'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (tenant, hour, agent, agent_version, outcome, reason)
TTL hour + INTERVAL ${retention_days} DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1
COMMENT 'Runs, outcomes, cost and waits by tenant, agent, version and hour';

CREATE MATERIALIZED VIEW IF NOT EXISTS runs_by_hour_view TO runs_by_hour AS
SELECT
    toStartOfHour(toDateTime(at, 'UTC')) AS hour,
    tenant, agent, agent_version, outcome, reason,
    count() AS runs,
    sum(runs.model_calls) AS model_calls,
    sum(runs.tool_calls) AS tool_calls,
    sum(runs.unpriced_calls) AS unpriced_calls,
    sum(ifNull(runs.cost_usd, toDecimal128(0, 12))) AS cost_usd,
    max(runs.wait_ms) AS wait_ms_max,
    quantilesTDigestState(0.5, 0.95, 0.99)(runs.wait_ms) AS wait_ms
FROM runs
GROUP BY hour, tenant, agent, agent_version, outcome, reason
COMMENT 'Feeds runs_by_hour from runs';

CREATE TABLE IF NOT EXISTS feedback_by_day
(
    day Date COMMENT 'Start of the day, UTC',
    tenant LowCardinality(String) COMMENT 'Tenant',
    agent LowCardinality(String) COMMENT 'Name of the agent',
    agent_version UInt64 COMMENT 'Version of the agent',
    model LowCardinality(String) COMMENT 'Model that the runs used last',
    given SimpleAggregateFunction(sum, UInt64) COMMENT 'How often feedback was given',
    good SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of it above 0',
    bad SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of it below 0',
    score SimpleAggregateFunction(sum, Float64) COMMENT 'Sum of the scores'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (tenant, agent, agent_version, day, model)
TTL toDateTime(day) + INTERVAL ${retention_days} DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1
COMMENT 'Feedback by tenant, agent, version and day';

CREATE MATERIALIZED VIEW IF NOT EXISTS feedback_by_day_view TO feedback_by_day AS
SELECT
    toDate(at, 'UTC') AS day,
    tenant, agent, agent_version, model,
    count() AS given,
    countIf(feedback.score > 0) AS good,
    countIf(feedback.score < 0) AS bad,
    sum(feedback.score) AS score
FROM feedback
GROUP BY day, tenant, agent, agent_version, model
COMMENT 'Feeds feedback_by_day from feedback';
