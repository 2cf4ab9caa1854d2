CREATE TABLE IF NOT EXISTS balance
(
    minute DateTime('UTC') CODEC(Delta, ZSTD(1)) COMMENT 'Minute in which the records were produced, UTC',
    topic LowCardinality(String) COMMENT 'Topic of the records',
    partition UInt32 COMMENT 'Its partition',
    produced UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Records on the log behind the place to which the sink worker has written',
    landed UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Those of them that stand in their table',
    dead_lettered UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Those of them that are dead letters of the sink worker',
    lost UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Those of them that are in neither: always 0, or there is an alarm',
    doubled UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Rows beyond the first of a record: always 0, or there is an alarm',
    landed_after_ms UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Longest time from the log into the table in milliseconds',
    counted_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When it was counted; of a minute counted twice the later count holds'
)
ENGINE = ${replicated}ReplacingMergeTree(counted_at)
PARTITION BY toYYYYMM(minute)
ORDER BY (topic, partition, minute)
TTL minute + INTERVAL ${retention_days} DAY
SETTINGS ${deduplication}, ttl_only_drop_parts = 1
COMMENT 'Produced = landed + dead-lettered, by topic, partition and minute; read with argMax(..., counted_at)';

CREATE TABLE IF NOT EXISTS delays
(
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When it was looked at',
    consumer LowCardinality(String) COMMENT 'Stage, call runner or sink worker',
    behind UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Records that it had not finished, at most',
    oldest_ms UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Milliseconds since the oldest of them was produced; 0 where none was left'
)
ENGINE = ${replicated}MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (consumer, at)
TTL toDateTime(at) + INTERVAL least(${retention_days}, 62) DAY
SETTINGS ${deduplication}, ttl_only_drop_parts = 1
COMMENT 'How far behind each part of the pipeline was, once a minute, of the last two months';
