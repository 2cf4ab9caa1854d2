CREATE TABLE IF NOT EXISTS feedback_given
(
    id UUID COMMENT 'Id of the event (FeedbackGiven); derived from its cause, so the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When it was given',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    cause UUID COMMENT 'Id of the event that caused it; zeros where there is none',
    session String CODEC(ZSTD(1)) COMMENT 'Conversation that the run belongs to',
    run UUID COMMENT 'Id of the run: the id of its AgentRequested',
    score Float64 COMMENT 'From -1 (bad) to 1 (good)',
    label LowCardinality(String) COMMENT 'Short name that the giver chose; empty where none',
    comment String CODEC(ZSTD(3)) COMMENT 'In the giver''s words (personal)',
    user String CODEC(ZSTD(1)) COMMENT 'Who gave it; empty where nobody said (personal)',
    source LowCardinality(String) COMMENT 'Where it was given, e.g. widget',
    kafka_topic LowCardinality(String) COMMENT 'Topic of the record that this row was made of',
    kafka_partition UInt32 COMMENT 'Its partition',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Its offset',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Number of the event in the order its stage decided; 0 where no stage made it',
    landed_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When the row was written here',
    INDEX by_run run TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, toStartOfHour(at), run)
TTL toDateTime(at) + INTERVAL ${retention_days} DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1
COMMENT 'One row a word of a person on a run, as it came in, whether or not the run is known';

CREATE TABLE IF NOT EXISTS feedback
(
    id UUID COMMENT 'Id of the event (FeedbackJoined); derived from its cause, so the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When feedback and run had both come',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    cause UUID COMMENT 'Id of the event that caused it; zeros where there is none',
    session String CODEC(ZSTD(1)) COMMENT 'Conversation that the run belongs to',
    run UUID COMMENT 'Id of the run: the id of its AgentRequested',
    agent LowCardinality(String) COMMENT 'Name of the agent',
    agent_version UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Version of the agent that the run began with',
    score Float64 COMMENT 'From -1 (bad) to 1 (good)',
    label LowCardinality(String) COMMENT 'Short name that the giver chose; empty where none',
    comment String CODEC(ZSTD(3)) COMMENT 'In the giver''s words (personal)',
    user String CODEC(ZSTD(1)) COMMENT 'Who gave it; empty where nobody said (personal)',
    source LowCardinality(String) COMMENT 'Where it was given, e.g. widget',
    outcome LowCardinality(String) COMMENT 'How the run ended',
    model LowCardinality(String) COMMENT 'Model that the run used last',
    run_cost_usd Nullable(Decimal(38, 12)) COMMENT 'What the run cost in US dollars; NULL: nobody knows the price',
    delay_ms UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Milliseconds from the end of the run to the feedback',
    kafka_topic LowCardinality(String) COMMENT 'Topic of the record that this row was made of',
    kafka_partition UInt32 COMMENT 'Its partition',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Its offset',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Number of the event in the order its stage decided; 0 where no stage made it',
    landed_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When the row was written here',
    INDEX by_run run TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, agent, agent_version, at)
TTL toDateTime(at) + INTERVAL ${retention_days} DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1
COMMENT 'One row a word of a person beside the run that it is about';
