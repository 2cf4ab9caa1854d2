CREATE TABLE IF NOT EXISTS runs
(
    id UUID COMMENT 'Id of the event (RunFinished or RequestRefused); derived from its cause, so the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the run ended, or was refused',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    cause UUID COMMENT 'Id of the event that caused it; zeros where there is none',
    session String CODEC(ZSTD(1)) COMMENT 'Conversation that the run belongs to',
    run UUID COMMENT 'Id of the run: the id of its AgentRequested',
    agent LowCardinality(String) COMMENT 'Name of the agent',
    agent_version UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Version of the agent that the run began with',
    outcome LowCardinality(String) COMMENT 'completed, failed, blocked, stopped, cancelled or refused',
    reason LowCardinality(String) COMMENT 'Why it ended so, as a short name; empty when completed',
    detail String CODEC(ZSTD(3)) COMMENT 'The same for people to read',
    question String CODEC(ZSTD(3)) COMMENT 'What was asked, as the agent saw it (personal)',
    answer String CODEC(ZSTD(3)) COMMENT 'What was answered; empty where there was no answer (personal)',
    user String CODEC(ZSTD(1)) COMMENT 'Who asked; empty where nobody said (personal)',
    model LowCardinality(String) COMMENT 'Name of the model that the agent used last',
    model_calls UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Model calls that the run made',
    tool_calls UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tool calls that the run made',
    input_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tokens sent, cached ones included',
    cached_input_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens that the provider read from its cache',
    cache_write_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens that the provider wrote to its cache',
    output_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tokens generated, reasoning included',
    reasoning_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens spent on reasoning',
    cost_usd Nullable(Decimal(38, 12)) COMMENT 'What the run cost in US dollars; NULL: nobody knows the price (never: free)',
    unpriced_calls UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Model calls whose price nobody knows',
    started_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When it was asked',
    wait_ms UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Milliseconds from asked to ended; 0 when refused',
    traceparent String CODEC(ZSTD(1)) COMMENT 'W3C trace context that the caller gave; empty where none',
    kafka_topic LowCardinality(String) COMMENT 'Topic of the record that this row was made of',
    kafka_partition UInt32 COMMENT 'Its partition',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Its offset',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Number of the event in the order its stage decided; 0 where no stage made it',
    landed_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When the row was written here',
    INDEX by_run run TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_session session TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_user user TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, toStartOfHour(at), agent, run)
TTL toDateTime(at) + INTERVAL ${retention_days} DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1
COMMENT 'One row a run: its one outcome and what it took; refused requests too';
