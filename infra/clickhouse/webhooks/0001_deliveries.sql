CREATE TABLE IF NOT EXISTS webhook_deliveries
(
    id UUID COMMENT 'Id of the event (WebhookDelivered, WebhookFailed or WebhookDropped); derived from its cause, so the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the attempt ended, or the message was given up',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    cause UUID COMMENT 'Id of the event that caused it',
    session String CODEC(ZSTD(1)) COMMENT 'Conversation that the run belongs to',
    run UUID COMMENT 'Run that the message tells of',
    webhook LowCardinality(String) COMMENT 'Name of the webhook',
    webhook_version UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Its version when the message was made',
    message UUID COMMENT 'Id of the message (webhook-id), the same at each attempt',
    type LowCardinality(String) COMMENT 'What it tells: run.finished, request.refused or approval.asked',
    attempt UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Which attempt, from 1',
    status LowCardinality(String) COMMENT 'delivered, failed (it is tried again) or dropped (given up)',
    http_status UInt64 CODEC(T64, ZSTD(1)) COMMENT 'What a receiver that took it answered (http.response.status_code); else 0',
    reason LowCardinality(String) COMMENT 'Why it was not taken, as a short name',
    detail String CODEC(ZSTD(3)) COMMENT 'The same for people to read',
    body String CODEC(ZSTD(3)) COMMENT 'Dropped: the message itself, to be sent by hand; else empty (personal)',
    started_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the attempt began',
    wait_ms UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Milliseconds that it took',
    kafka_topic LowCardinality(String) COMMENT 'Topic of the record that this row was made of',
    kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known',
    kafka_partition UInt32 COMMENT 'Its partition',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Its offset',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Number of the event in the order its stage decided; 0 where no stage made it',
    retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed',
    landed_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When the row was written here',
    INDEX by_run run TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_message message TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ${replicated}MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, webhook, toStartOfHour(at), message)
TTL toDateTime(at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}, ttl_only_drop_parts = 0
COMMENT 'One row an attempt to deliver a message to a webhook, and one for each message that was given up';
