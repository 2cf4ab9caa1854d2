-- Every event, whole: the log holds a month, the archive a year and more. Ordered for reading a key's story; by time and
-- by type a month's columns at and type are read, which are small.
CREATE TABLE IF NOT EXISTS events
(
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'Event time: when it happened',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    key String CODEC(ZSTD(1)) COMMENT 'Key of the record: the tenant, or the tenant and the session, document or run, with / between',
    type LowCardinality(String) COMMENT 'Class of the event, e.g. RunFinished',
    id UUID COMMENT 'Id of the event; derived from its cause, so the same after a replay',
    event String CODEC(ZSTD(3)) COMMENT 'The record''s value as it was on the log: a zero byte, the id of its schema in the registry in four bytes, Avro (personal)',
    kafka_topic LowCardinality(String) COMMENT 'Topic of the record that this row was made of',
    kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known',
    kafka_partition UInt32 COMMENT 'Its partition',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Its offset',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Number of the event in the order its stage decided; 0 where no stage made it',
    retention_days UInt16 DEFAULT 365 CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by its class and the definition of its tenant when it landed, or by a legal hold',
    landed_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When the row was written here'
)
ENGINE = ${replicated}MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, key, at, seq)
TTL toDateTime(at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}, ttl_only_drop_parts = 0
COMMENT 'One row an event, as it was on the log: the archive that replays read';
