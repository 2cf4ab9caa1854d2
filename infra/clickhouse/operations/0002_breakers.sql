CREATE TABLE IF NOT EXISTS breakers
(
    id UUID COMMENT 'Id of the event (BreakerMoved); derived from its cause, so the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the breaker moved',
    tenant LowCardinality(String) COMMENT 'Tenant whose call told of it; the breaker serves all tenants',
    cause UUID COMMENT 'Id of the question to the model, or of the call of the tool, whose answer told of it',
    session String CODEC(ZSTD(1)) COMMENT 'Conversation that the run belongs to',
    run UUID COMMENT 'Run whose call told of it',
    agent LowCardinality(String) COMMENT 'Name of the agent',
    agent_version UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Version of the agent that the run began with',
    kind LowCardinality(String) COMMENT 'model or tool',
    provider LowCardinality(String) COMMENT 'The model''s provider; empty for a tool',
    name LowCardinality(String) COMMENT 'Name of the model or tool',
    state LowCardinality(String) COMMENT 'open (it is not asked), half_open (one call probes it) or closed (it is asked)',
    open_ms UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Open: for how many milliseconds, until it may be probed; else 0',
    runner LowCardinality(String) COMMENT 'Call runner that it belongs to: each measures for itself',
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
ORDER BY (kind, provider, name, runner, at)
TTL toDateTime(at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}, ttl_only_drop_parts = 0
COMMENT 'One row each time that the breaker of a model or tool moved in a call runner';
