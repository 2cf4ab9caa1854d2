-- How the runs of each hour were spread, and what of it moved. Small: one row an hour and agent.
CREATE TABLE IF NOT EXISTS profiles
(
    id UUID COMMENT 'Id of the event (HourProfiled); the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'Start of the hour, UTC',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    cause UUID COMMENT 'Id of the event that caused it; zeros where there is none',
    agent LowCardinality(String) COMMENT 'Agent whose runs are counted',
    until DateTime64(3, 'UTC') COMMENT 'End of the hour',
    runs UInt64 COMMENT 'Runs that ended in the hour',
    question_chars Map(LowCardinality(String), UInt64) COMMENT 'Runs by the length of the question, in buckets by their lower bound: 64 is from 64 to 127 characters',
    answer_chars Map(LowCardinality(String), UInt64) COMMENT 'Runs by the length of the answer, likewise',
    wait_ms Map(LowCardinality(String), UInt64) COMMENT 'Runs by how many milliseconds they took, likewise',
    outcome Map(LowCardinality(String), UInt64) COMMENT 'Runs by outcome',
    model Map(LowCardinality(String), UInt64) COMMENT 'Runs by the model that answered; none where none was asked',
    script Map(LowCardinality(String), UInt64) COMMENT 'Runs by the script of the question: latin, cyrillic, han, arabic, other or none',
    language Map(LowCardinality(String), UInt64) COMMENT 'Runs by the language of the question (de, en, ...); its script where that tells more, other where nobody knows',
    subject Map(LowCardinality(String), UInt64) COMMENT 'Runs by group of questions whose most telling words are hashed alike (w00 to w31); no word is kept',
    kafka_topic LowCardinality(String) COMMENT 'Topic of the record that this row was made of',
    kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known',
    kafka_partition UInt32 COMMENT 'Its partition',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Its offset',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Number of the event in the order its stage decided; 0 where no stage made it',
    retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed',
    landed_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When the row was written here'
)
ENGINE = ${replicated}MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, agent, at)
TTL toDateTime(at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}, ttl_only_drop_parts = 0
COMMENT 'One row an hour and agent: how its runs were spread';

CREATE TABLE IF NOT EXISTS drift
(
    id UUID COMMENT 'Id of the event (DriftFound); the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'Start of the hour, UTC',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    cause UUID COMMENT 'Id of the event that caused it; zeros where there is none',
    agent LowCardinality(String) COMMENT 'Agent whose runs are counted',
    feature LowCardinality(String) COMMENT 'What moved: a column of profiles',
    until DateTime64(3, 'UTC') COMMENT 'End of the hour',
    psi Float64 COMMENT 'Population stability index of the hour against the week before',
    psi_critical Float64 COMMENT 'What it has to reach to be told',
    ks Nullable(Float64) COMMENT 'Greatest distance of the cumulative shares; NULL where the feature has no order',
    ks_critical Nullable(Float64) COMMENT 'What that has to reach to be told',
    reference_runs UInt64 COMMENT 'Runs of the week before',
    runs UInt64 COMMENT 'Runs of the hour',
    reference Map(LowCardinality(String), UInt64) COMMENT 'Runs of the week before, by bucket',
    current Map(LowCardinality(String), UInt64) COMMENT 'Runs of the hour, by bucket',
    kafka_topic LowCardinality(String) COMMENT 'Topic of the record that this row was made of',
    kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known',
    kafka_partition UInt32 COMMENT 'Its partition',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Its offset',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Number of the event in the order its stage decided; 0 where no stage made it',
    retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed',
    landed_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When the row was written here'
)
ENGINE = ${replicated}MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, agent, at)
TTL toDateTime(at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}, ttl_only_drop_parts = 0
COMMENT 'One row for each feature of an agent that was spread otherwise in an hour than in the week before';
