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
    operation LowCardinality(String) COMMENT 'invoke_agent, chat, execute_tool, retrieval, guardrail or admission (gen_ai.operation.name)',
    started_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the step began',
    wait_ms UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Milliseconds that it took',
    status LowCardinality(String) COMMENT 'ok or error',
    error_type LowCardinality(String) COMMENT 'Short name of the error; empty when ok (error.type)',
    provider LowCardinality(String) COMMENT 'Provider of the model (gen_ai.provider.name)',
    request_model LowCardinality(String) COMMENT 'Model that was asked for (gen_ai.request.model)',
    response_model LowCardinality(String) COMMENT 'Model that answered, as it calls itself (gen_ai.response.model)',
    finish_reason LowCardinality(String) COMMENT 'Why the model stopped (gen_ai.response.finish_reasons)',
    input_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tokens sent, cached ones included',
    cached_input_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens that the provider read from its cache',
    cache_write_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens that the provider wrote to its cache',
    output_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tokens generated, reasoning included',
    reasoning_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens spent on reasoning',
    cost_usd Nullable(Decimal(38, 12)) COMMENT 'What the step cost in US dollars; NULL: nobody knows the price (never: free)',
    tool LowCardinality(String) COMMENT 'Name of the tool; empty where none (gen_ai.tool.name)',
    step UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Model turn of the run, from 1; 0 outside turns',
    attempts UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Requests sent until it was answered',
    input String CODEC(ZSTD(3)) COMMENT 'What went in, as screened (personal)',
    output String CODEC(ZSTD(3)) COMMENT 'What came out, as screened (personal)',
    user String CODEC(ZSTD(1)) COMMENT 'Who asked; empty where nobody said (personal)',
    kafka_topic LowCardinality(String) COMMENT 'Topic of the record that this row was made of',
    kafka_partition UInt32 COMMENT 'Its partition',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Its offset',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Number of the event in the order its stage decided; 0 where no stage made it',
    landed_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When the row was written here',
    INDEX by_run run TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_trace trace TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_session session TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, toStartOfHour(at), run, started_at)
TTL toDateTime(at) + INTERVAL ${retention_days} DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1
COMMENT 'One row a step of a run, immutable; all rows of a run are its trace';
