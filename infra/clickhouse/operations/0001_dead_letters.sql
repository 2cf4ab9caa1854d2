CREATE TABLE IF NOT EXISTS dead_letters
(
    id UUID COMMENT 'Id of the event (DeadLettered); derived from its cause, so the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When it was given up',
    tenant LowCardinality(String) COMMENT 'Tenant of the record where it could be told',
    cause UUID COMMENT 'Id of the event that caused it; zeros where there is none',
    source String CODEC(ZSTD(1)) COMMENT 'Place of the record: topic, partition and offset in one text',
    topic_name LowCardinality(String) COMMENT 'Topic of the record that could not be processed',
    partition UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Its partition',
    offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Its offset',
    record_key String CODEC(ZSTD(3)) COMMENT 'Its key, byte for byte (may be personal)',
    record_value String CODEC(ZSTD(3)) COMMENT 'Its value, byte for byte (may be personal)',
    headers Map(String, String) COMMENT 'Its headers',
    consumer LowCardinality(String) COMMENT 'Which stage or sink could not take it',
    reason LowCardinality(String) COMMENT 'not_avro, unknown_schema, invalid, wrong_key, future, expired, late, unprocessable, error or rejected',
    detail String CODEC(ZSTD(3)) COMMENT 'The same for people to read',
    topic_id LowCardinality(String) COMMENT 'Id of the topic of the record, where the consumer knew it',
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
ORDER BY (topic_name, toStartOfHour(at), reason)
TTL toDateTime(at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}, ttl_only_drop_parts = 0
COMMENT 'One row a record that could not be processed, whole, so that it can be given back';
