CREATE TABLE IF NOT EXISTS token_usage
(
    id UUID COMMENT 'Id of the event (TokensUsed); derived from its cause, so the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the model call ended',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    cause UUID COMMENT 'Id of the event that caused it; zeros where there is none',
    session String CODEC(ZSTD(1)) COMMENT 'Conversation that the run belongs to',
    run UUID COMMENT 'Id of the run: the id of its AgentRequested',
    agent LowCardinality(String) COMMENT 'Name of the agent',
    agent_version UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Version of the agent that the run began with',
    user String CODEC(ZSTD(1)) COMMENT 'Who asked; empty where nobody said (personal)',
    model LowCardinality(String) COMMENT 'Name of the model that answered',
    provider LowCardinality(String) COMMENT 'Its provider',
    input_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tokens sent, cached ones included',
    cached_input_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens that the provider read from its cache',
    cache_write_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens that the provider wrote to its cache',
    output_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tokens generated, reasoning included',
    reasoning_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens spent on reasoning',
    cost_usd Nullable(Decimal(38, 12)) COMMENT 'What the call cost in US dollars; NULL: nobody knows the price (never: free)',
    kafka_topic LowCardinality(String) COMMENT 'Topic of the record that this row was made of',
    kafka_partition UInt32 COMMENT 'Its partition',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Its offset',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Number of the event in the order its stage decided; 0 where no stage made it',
    landed_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When the row was written here',
    INDEX by_run run TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_user user TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, toStartOfHour(at), agent, model)
TTL toDateTime(at) + INTERVAL ${retention_days} DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1
COMMENT 'One row a model call: its tokens and its cost';

CREATE TABLE IF NOT EXISTS usage_by_minute
(
    id UUID COMMENT 'Id of the event (UsageTotalled); derived from its cause, so the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'Start of the minute',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    cause UUID COMMENT 'Id of the event that caused it; zeros where there is none',
    until DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'End of the minute',
    calls UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Model calls in the minute',
    unpriced_calls UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Those of them whose price nobody knows',
    input_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tokens sent, cached ones included',
    cached_input_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens that the provider read from its cache',
    cache_write_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens that the provider wrote to its cache',
    output_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tokens generated, reasoning included',
    reasoning_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens spent on reasoning',
    cost_usd Decimal(38, 12) COMMENT 'Cost in US dollars of the calls whose price is known',
    kafka_topic LowCardinality(String) COMMENT 'Topic of the record that this row was made of',
    kafka_partition UInt32 COMMENT 'Its partition',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Its offset',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Number of the event in the order its stage decided; 0 where no stage made it',
    landed_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When the row was written here'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, at)
TTL toDateTime(at) + INTERVAL ${retention_days} DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1
COMMENT 'One row a tenant and minute, totalled in the stream once the minute was over';
