CREATE TABLE IF NOT EXISTS refused_signals
(
    id UUID COMMENT 'Id of the event (SignalRefused); derived from its cause, so the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the signal was sent',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    cause UUID COMMENT 'Id of the signal',
    session String CODEC(ZSTD(1)) COMMENT 'Conversation that it was sent to',
    name LowCardinality(String) COMMENT 'Name of the signal',
    reason LowCardinality(String) COMMENT 'too_many or too_large',
    detail String CODEC(ZSTD(3)) COMMENT 'The same for people to read, and what to do',
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
ORDER BY (tenant, session, at)
TTL toDateTime(at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}, ttl_only_drop_parts = 0
COMMENT 'One row a signal that a session did not keep';
