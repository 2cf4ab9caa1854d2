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
    kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known',
    kafka_partition UInt32 COMMENT 'Its partition',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Its offset',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Number of the event in the order its stage decided; 0 where no stage made it',
    retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed',
    landed_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When the row was written here',
    INDEX by_run run TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ${replicated}MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, toStartOfHour(at), run)
TTL toDateTime(at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}, ttl_only_drop_parts = 0
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
    kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known',
    kafka_partition UInt32 COMMENT 'Its partition',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Its offset',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Number of the event in the order its stage decided; 0 where no stage made it',
    retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed',
    landed_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When the row was written here',
    INDEX by_run run TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ${replicated}MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, agent, agent_version, at)
TTL toDateTime(at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}, ttl_only_drop_parts = 0
COMMENT 'One row a word of a person beside the run that it is about';

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
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (tenant, agent, agent_version, day, model)
TTL toDateTime(day) + INTERVAL ${retention_days} DAY
SETTINGS ${deduplication}, ttl_only_drop_parts = 1
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
