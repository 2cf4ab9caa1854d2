CREATE TABLE IF NOT EXISTS spans
(
    id UUID COMMENT 'Id of the event (SpanEnded); derived from its cause, so the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the step ended',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    cause UUID COMMENT 'Id of the event that caused it; zeros where there is none',
    session String CODEC(ZSTD(1)) COMMENT 'Conversation that the run belongs to',
    run UUID COMMENT 'Id of the run: the id of its AgentRequested',
    agent LowCardinality(String) COMMENT 'Name of the agent',
    agent_version UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Version of the agent that the run began with',
    trace String CODEC(ZSTD(1)) COMMENT 'Trace id, 32 hex digits: the caller''s, or else the run''s own',
    span String CODEC(ZSTD(1)) COMMENT 'Span id, 16 hex digits',
    parent String CODEC(ZSTD(1)) COMMENT 'Span id of the step around this one; empty at the root',
    name LowCardinality(String) COMMENT 'What the step did, e.g. chat small',
    operation LowCardinality(String) COMMENT 'What it did (gen_ai.operation.name): invoke_agent, chat, execute_tool, retrieval, guardrail, admission, approval; of others also text_completion, generate_content, embeddings, create_agent, invoke_workflow, event, other',
    started_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the step began',
    wait_ms UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Milliseconds that it took',
    first_token_ms Nullable(UInt64) CODEC(ZSTD(1)) COMMENT 'Milliseconds from sending the request that was answered to the first token; NULL where the answer came in one piece (gen_ai.response.time_to_first_chunk)',
    status LowCardinality(String) COMMENT 'ok or error',
    error_type LowCardinality(String) COMMENT 'Short name of the error; empty when ok (error.type)',
    provider LowCardinality(String) COMMENT 'Provider of the model (gen_ai.provider.name)',
    request_model LowCardinality(String) COMMENT 'Model that was asked for (gen_ai.request.model)',
    response_model LowCardinality(String) COMMENT 'Model that answered, as it calls itself (gen_ai.response.model)',
    finish_reason LowCardinality(String) COMMENT 'Why the model stopped (gen_ai.response.finish_reasons)',
    input_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tokens sent, cached ones included',
    cached_input_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens that the provider read from its cache',
    cache_write_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens that the provider wrote to its cache',
    cache_write_1h_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Those of the tokens written to a cache that it keeps for an hour',
    output_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tokens generated, reasoning included',
    reasoning_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens spent on reasoning',
    input_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of sound, cached ones included',
    cached_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of sound that the provider read from its cache',
    output_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens of sound',
    input_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of images, cached ones included',
    cached_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of images that the provider read from its cache',
    output_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens of images',
    cost_usd Nullable(Decimal(38, 12)) COMMENT 'What the step cost in US dollars; NULL: nobody knows the price (never: free)',
    tool LowCardinality(String) COMMENT 'Name of the tool; empty where none (gen_ai.tool.name)',
    step UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Model turn of the run, from 1; 0 outside turns',
    attempts UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Requests sent until it was answered',
    cache_hit Bool COMMENT 'Whether the answer came from the response cache',
    input String CODEC(ZSTD(3)) COMMENT 'What went in, as screened (personal)',
    output String CODEC(ZSTD(3)) COMMENT 'What came out, as screened (personal)',
    user String CODEC(ZSTD(1)) COMMENT 'Who asked; empty where nobody said (personal)',
    source LowCardinality(String) DEFAULT 'weir' COMMENT 'Whose span it is: weir, or the conventions of another application (otel, openinference, openllmetry, vercel, openai, plain)',
    attributes String CODEC(ZSTD(3)) COMMENT 'What another application said beyond these columns, as JSON; read with JSONExtractString(attributes, name) (personal)',
    kafka_topic LowCardinality(String) COMMENT 'Topic of the record that this row was made of',
    kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known',
    kafka_partition UInt32 COMMENT 'Its partition',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Its offset',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Number of the event in the order its stage decided; 0 where no stage made it',
    retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed',
    landed_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When the row was written here',
    INDEX by_run run TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_trace trace TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_session session TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ${replicated}MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, toStartOfHour(at), run, started_at)
TTL toDateTime(at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}, ttl_only_drop_parts = 0
COMMENT 'One row a step of a run, immutable; all rows of a run are its trace';

-- Totals grow with every insert, as exact as the spans themselves. Three of them, because a month has to be drawn within
-- a second: over 20 million spans of 30 days steps_by_hour, which splits by agent and name too, took 2 to 2.6 s.
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
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (tenant, hour, agent, operation, name)
TTL hour + INTERVAL ${retention_days} DAY
SETTINGS ${deduplication}, ttl_only_drop_parts = 1
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

CREATE TABLE IF NOT EXISTS operations_by_hour
(
    hour DateTime('UTC') COMMENT 'Start of the hour, UTC',
    tenant LowCardinality(String) COMMENT 'Tenant',
    operation LowCardinality(String) COMMENT 'chat, execute_tool, retrieval, guardrail, admission or invoke_agent',
    request_model LowCardinality(String) COMMENT 'Model that was asked for; empty where none',
    steps SimpleAggregateFunction(sum, UInt64) COMMENT 'Steps that ended',
    errors SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them that ended in an error',
    output_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Tokens generated in them',
    wait_ms_sum SimpleAggregateFunction(sum, UInt64) COMMENT 'Milliseconds that they took, in sum',
    wait_ms AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), UInt64) COMMENT 'Digest of the waits; read with quantilesTDigestMerge(0.5, 0.95, 0.99)(wait_ms)',
    first_token_ms AggregateFunction(quantilesTDigestIf(0.5, 0.95, 0.99), UInt64, UInt8) COMMENT 'Digest of the times to the first token; read with quantilesTDigestIfMerge(0.5, 0.95, 0.99)(first_token_ms)'
)
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, tenant, operation, request_model)
TTL hour + INTERVAL ${retention_days} DAY
SETTINGS ${deduplication}, ttl_only_drop_parts = 1
COMMENT 'Steps, errors, waits and first tokens by tenant, operation, model and hour';

CREATE MATERIALIZED VIEW IF NOT EXISTS operations_by_hour_view TO operations_by_hour AS
SELECT
    toStartOfHour(toDateTime(at, 'UTC')) AS hour,
    tenant, operation, request_model,
    count() AS steps,
    countIf(spans.status = 'error') AS errors,
    sum(spans.output_tokens) AS output_tokens,
    sum(spans.wait_ms) AS wait_ms_sum,
    quantilesTDigestState(0.5, 0.95, 0.99)(spans.wait_ms) AS wait_ms,
    quantilesTDigestIfState(0.5, 0.95, 0.99)(assumeNotNull(spans.first_token_ms), spans.first_token_ms IS NOT NULL) AS first_token_ms
FROM spans
GROUP BY hour, tenant, operation, request_model
COMMENT 'Feeds operations_by_hour from spans';

CREATE TABLE IF NOT EXISTS steps_by_day
(
    day Date COMMENT 'Start of the day, UTC',
    tenant LowCardinality(String) COMMENT 'Tenant',
    operation LowCardinality(String) COMMENT 'chat, execute_tool, retrieval, guardrail, admission or invoke_agent',
    name LowCardinality(String) COMMENT 'What the step did',
    steps SimpleAggregateFunction(sum, UInt64) COMMENT 'Steps that ended',
    errors SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them that ended in an error',
    output_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Tokens generated in them',
    wait_ms_sum SimpleAggregateFunction(sum, UInt64) COMMENT 'Milliseconds that they took, in sum',
    wait_ms AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), UInt64) COMMENT 'Digest of the waits; read with quantilesTDigestMerge(0.5, 0.95, 0.99)(wait_ms)',
    first_token_ms AggregateFunction(quantilesTDigestIf(0.5, 0.95, 0.99), UInt64, UInt8) COMMENT 'Digest of the times to the first token; read with quantilesTDigestIfMerge(0.5, 0.95, 0.99)(first_token_ms)'
)
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (day, tenant, operation, name)
TTL toDateTime(day) + INTERVAL ${retention_days} DAY
SETTINGS ${deduplication}, ttl_only_drop_parts = 1
COMMENT 'Steps, errors and waits by tenant, step and day';

CREATE MATERIALIZED VIEW IF NOT EXISTS steps_by_day_view TO steps_by_day AS
SELECT
    toDate(at, 'UTC') AS day,
    tenant, operation, name,
    count() AS steps,
    countIf(spans.status = 'error') AS errors,
    sum(spans.output_tokens) AS output_tokens,
    sum(spans.wait_ms) AS wait_ms_sum,
    quantilesTDigestState(0.5, 0.95, 0.99)(spans.wait_ms) AS wait_ms,
    quantilesTDigestIfState(0.5, 0.95, 0.99)(assumeNotNull(spans.first_token_ms), spans.first_token_ms IS NOT NULL) AS first_token_ms
FROM spans
GROUP BY day, tenant, operation, name
COMMENT 'Feeds steps_by_day from spans';
