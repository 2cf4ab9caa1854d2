CREATE TABLE IF NOT EXISTS attempts
(
    id UUID COMMENT 'Id of the event (AttemptEnded); derived from its cause, so the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the question that it was made for had its answer, or its failure',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    cause UUID COMMENT 'Id of the event that caused it: ModelResponded or ModelFailed',
    session String CODEC(ZSTD(1)) COMMENT 'Conversation that the run belongs to',
    run UUID COMMENT 'Id of the run: the id of its AgentRequested',
    agent LowCardinality(String) COMMENT 'Name of the agent',
    agent_version UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Version of the agent that the run began with',
    step UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Model turn of the run, from 1',
    nth UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Number of the attempt at this question, from 1',
    route LowCardinality(String) COMMENT 'Route that chose the model; empty where the agent names a model',
    model LowCardinality(String) COMMENT 'Name of the model that was asked',
    provider LowCardinality(String) COMMENT 'Its provider',
    reason LowCardinality(String) COMMENT 'Why it gave no answer that could be used (timeout, http_500, check_failed, cancelled, ...); empty where it did',
    after_ms UInt64 CODEC(T64, ZSTD(1)) COMMENT 'How long after the question it began, in milliseconds',
    wait_ms UInt64 CODEC(T64, ZSTD(1)) COMMENT 'How long it took in milliseconds',
    input_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tokens sent, cached ones included; 0 where nobody was told',
    cached_input_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens that the provider read from its cache',
    cache_write_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens that the provider wrote to its cache',
    cache_write_1h_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Those of them that it keeps for an hour',
    output_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tokens generated, reasoning included; 0 where nobody was told',
    reasoning_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens spent on reasoning',
    input_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of sound, cached ones included',
    cached_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of sound that the provider read from its cache',
    output_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens of sound',
    input_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of images, cached ones included',
    cached_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of images that the provider read from its cache',
    output_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens of images',
    cost_usd Nullable(Decimal(38, 12)) COMMENT 'What it cost in US dollars; NULL: nobody knows, it may be on the bill (never: free)',
    wasted Bool COMMENT 'Whether its answer was not the one that was taken',
    hedge Bool COMMENT 'Whether it was made because another was slow to answer',
    user String CODEC(ZSTD(1)) COMMENT 'Who asked; empty where nobody said (personal)',
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
ORDER BY (tenant, toStartOfHour(at), agent, model)
TTL toDateTime(at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}, ttl_only_drop_parts = 0
COMMENT 'One row a request to a model, used or wasted: the ledger of attempts';
