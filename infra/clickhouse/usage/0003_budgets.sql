CREATE TABLE IF NOT EXISTS budget_alerts
(
    id UUID COMMENT 'Id of the event (BudgetAlerted); derived from its cause, so the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the call ended that reached the share',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    cause UUID COMMENT 'Id of the event that caused it; zeros where there is none',
    period LowCardinality(String) COMMENT 'Month or day of the budget, UTC, e.g. 2026-11 or 2026-11-26',
    budget_usd Decimal(38, 12) COMMENT 'US dollars that the tenant may spend in the period',
    share Decimal(38, 12) COMMENT 'Share of it that was reached, e.g. 0.8',
    spent_usd Decimal(38, 12) COMMENT 'What was spent in the period by then, in US dollars',
    hard Bool COMMENT 'true: at the whole budget requests are refused until the period is over',
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
ORDER BY (tenant, period, share)
TTL toDateTime(at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}, ttl_only_drop_parts = 0
COMMENT 'One row a share of a budget that a tenant has spent';
