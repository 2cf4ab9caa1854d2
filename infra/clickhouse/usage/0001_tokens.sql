CREATE TABLE IF NOT EXISTS token_usage
(
    id UUID COMMENT 'Id of the event (TokensUsed); derived from its cause, so the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the model call ended',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    cause UUID COMMENT 'Id of the event that caused it; zeros where there is none',
    session String CODEC(ZSTD(1)) COMMENT 'Conversation that the run belongs to',
    run UUID COMMENT 'Id of the run: the id of its AgentRequested',
    agent LowCardinality(String) COMMENT 'Name of the agent',
    agent_version UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Version of the agent that the run began with',
    user String CODEC(ZSTD(1)) COMMENT 'Who asked; empty where nobody said (personal)',
    feature LowCardinality(String) COMMENT 'Feature that asked, by the metadata of the request; empty where nobody said',
    team LowCardinality(String) COMMENT 'Team that is charged, by the metadata of the request; empty where nobody said',
    model LowCardinality(String) COMMENT 'Name of the model that answered',
    provider LowCardinality(String) COMMENT 'Its provider',
    route LowCardinality(String) COMMENT 'Route that chose the model; empty where the agent names a model',
    response_model LowCardinality(String) COMMENT 'Model that answered, as its provider calls it; empty where nobody said',
    service_tier LowCardinality(String) COMMENT 'Tier at which the provider served it: priority, flex or batch; empty for the usual one',
    input_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tokens sent, cached ones included',
    cached_input_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens that the provider read from its cache',
    cache_write_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens that the provider wrote to its cache',
    cache_write_1h_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Those of the tokens written to a cache that it keeps for an hour',
    output_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tokens generated, reasoning included',
    reasoning_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens spent on reasoning',
    input_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of sound, cached ones included',
    cached_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of sound that the provider read from its cache',
    output_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens of sound',
    input_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of images, cached ones included',
    cached_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of images that the provider read from its cache',
    output_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens of images',
    cost_usd Nullable(Decimal(38, 12)) COMMENT 'What the call cost in US dollars; NULL: nobody knows the price (never: free)',
    uncached_usd Nullable(Decimal(38, 12)) COMMENT 'What the same call would have cost in US dollars without any cache of the provider; NULL: price unknown',
    unrouted_usd Nullable(Decimal(38, 12)) COMMENT 'What the same tokens would have cost in US dollars at the dearest model that the route could have chosen; NULL: no route, a fallback answered, price unknown',
    wasted Bool COMMENT 'Whether the answer that these tokens paid for was not used',
    cache_hit Bool COMMENT 'Whether the answer came from the response cache: nothing was spent',
    saved_input_tokens UInt64 COMMENT 'Input tokens that the cache hit saved',
    saved_output_tokens UInt64 COMMENT 'Output tokens that the cache hit saved',
    saved_usd Nullable(Decimal(38, 12)) COMMENT 'US dollars that the cache hit saved; NULL: none, or nobody knows the price',
    estimated_usd Nullable(Decimal(38, 12)) COMMENT 'What the call may have cost in US dollars where nobody reported its usage; NULL: its cost is known, or its price is not',
    charged_usd Nullable(Decimal(38, 12)) COMMENT 'What the tenant pays for it by its contract, in US dollars; NULL: nobody knows the price',
    charged Nullable(Decimal(38, 12)) COMMENT 'The same in the currency of the contract, at the rate of the day; NULL: price or rate unknown',
    currency LowCardinality(String) DEFAULT 'USD' COMMENT 'Currency of the contract',
    source LowCardinality(String) DEFAULT 'weir' COMMENT 'Who made the call: weir, or an application that told of it, in the conventions named here',
    kafka_topic LowCardinality(String) COMMENT 'Topic of the record that this row was made of',
    kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known',
    kafka_partition UInt32 COMMENT 'Its partition',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Its offset',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Number of the event in the order its stage decided; 0 where no stage made it',
    retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed',
    landed_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When the row was written here',
    INDEX by_run run TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_user user TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ${replicated}MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, toStartOfHour(at), agent, model)
TTL toDateTime(at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}, ttl_only_drop_parts = 0
COMMENT 'One row a model call: its tokens and its cost';

-- Totals grow with every insert, as exact as the calls themselves.
CREATE TABLE IF NOT EXISTS usage_by_hour
(
    hour DateTime('UTC') COMMENT 'Start of the hour, UTC',
    tenant LowCardinality(String) COMMENT 'Tenant',
    agent LowCardinality(String) COMMENT 'Name of the agent',
    agent_version UInt64 COMMENT 'Version of the agent',
    model LowCardinality(String) COMMENT 'Name of the model',
    provider LowCardinality(String) COMMENT 'Its provider',
    calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Model calls',
    unpriced_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them whose price nobody knows',
    input_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Tokens sent, cached ones included',
    cached_input_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them read from a cache',
    cache_write_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them written to a cache',
    output_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Tokens generated, reasoning included',
    reasoning_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them spent on reasoning',
    cost_usd SimpleAggregateFunction(sum, Decimal(38, 12)) COMMENT 'Cost in US dollars of the calls whose price is known',
    cache_write_1h_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of the tokens written to a cache that it keeps for an hour',
    input_audio_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Input tokens of sound',
    cached_audio_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them read from a cache',
    output_audio_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Output tokens of sound',
    input_image_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Input tokens of images',
    cached_image_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them read from a cache',
    output_image_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Output tokens of images',
    charged_usd SimpleAggregateFunction(sum, Decimal(38, 12)) COMMENT 'What tenants pay for them by their contracts, in US dollars',
    feature LowCardinality(String) COMMENT 'Feature that asked; empty where nobody said',
    team LowCardinality(String) COMMENT 'Team that is charged; empty where nobody said'
)
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
PRIMARY KEY (tenant, hour, agent, agent_version, model, provider)
ORDER BY (tenant, hour, agent, agent_version, model, provider, feature, team)
TTL hour + INTERVAL ${retention_days} DAY
SETTINGS ${deduplication}, ttl_only_drop_parts = 1
COMMENT 'Model calls, tokens and cost by tenant, agent, model and hour';

CREATE MATERIALIZED VIEW IF NOT EXISTS usage_by_hour_view TO usage_by_hour AS
SELECT
    toStartOfHour(toDateTime(at, 'UTC')) AS hour,
    tenant, agent, agent_version, model, provider, feature, team,
    count() AS calls,
    countIf(token_usage.cost_usd IS NULL) AS unpriced_calls,
    sum(token_usage.input_tokens) AS input_tokens,
    sum(token_usage.cached_input_tokens) AS cached_input_tokens,
    sum(token_usage.cache_write_tokens) AS cache_write_tokens,
    sum(token_usage.cache_write_1h_tokens) AS cache_write_1h_tokens,
    sum(token_usage.output_tokens) AS output_tokens,
    sum(token_usage.reasoning_tokens) AS reasoning_tokens,
    sum(token_usage.input_audio_tokens) AS input_audio_tokens,
    sum(token_usage.cached_audio_tokens) AS cached_audio_tokens,
    sum(token_usage.output_audio_tokens) AS output_audio_tokens,
    sum(token_usage.input_image_tokens) AS input_image_tokens,
    sum(token_usage.cached_image_tokens) AS cached_image_tokens,
    sum(token_usage.output_image_tokens) AS output_image_tokens,
    sum(ifNull(token_usage.cost_usd, toDecimal128(0, 12))) AS cost_usd,
    sum(ifNull(token_usage.charged_usd, toDecimal128(0, 12))) AS charged_usd
FROM token_usage
GROUP BY hour, tenant, agent, agent_version, model, provider, feature, team
COMMENT 'Feeds usage_by_hour from token_usage';

CREATE TABLE IF NOT EXISTS calls_by_minute
(
    minute DateTime('UTC') COMMENT 'Start of the minute, UTC',
    tenant LowCardinality(String) COMMENT 'Tenant',
    agent LowCardinality(String) COMMENT 'Name of the agent',
    model LowCardinality(String) COMMENT 'Name of the model',
    provider LowCardinality(String) COMMENT 'Its provider',
    feature LowCardinality(String) COMMENT 'Feature that asked; empty where nobody said',
    team LowCardinality(String) COMMENT 'Team that is charged; empty where nobody said',
    calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Model calls',
    unpriced_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them whose price nobody knows',
    input_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Tokens sent, cached ones included',
    cached_input_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them read from a cache',
    cache_write_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them written to a cache',
    cache_write_1h_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of the tokens written to a cache that it keeps for an hour',
    output_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Tokens generated, reasoning included',
    reasoning_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them spent on reasoning',
    input_audio_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Input tokens of sound',
    cached_audio_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them read from a cache',
    output_audio_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Output tokens of sound',
    input_image_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Input tokens of images',
    cached_image_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them read from a cache',
    output_image_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Output tokens of images',
    cost_usd SimpleAggregateFunction(sum, Decimal(38, 12)) COMMENT 'Cost in US dollars of the calls whose price is known',
    charged_usd SimpleAggregateFunction(sum, Decimal(38, 12)) COMMENT 'What tenants pay for them by their contracts, in US dollars'
)
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (tenant, minute, agent, model, provider, feature, team)
TTL minute + INTERVAL least(${retention_days}, 62) DAY
SETTINGS ${deduplication}, ttl_only_drop_parts = 1
COMMENT 'Model calls, tokens and cost by tenant, agent, model, feature, team and minute, of the last two months';

CREATE MATERIALIZED VIEW IF NOT EXISTS calls_by_minute_view TO calls_by_minute AS
SELECT
    toStartOfMinute(toDateTime(at, 'UTC')) AS minute,
    tenant, agent, model, provider, feature, team,
    count() AS calls,
    countIf(token_usage.cost_usd IS NULL) AS unpriced_calls,
    sum(token_usage.input_tokens) AS input_tokens,
    sum(token_usage.cached_input_tokens) AS cached_input_tokens,
    sum(token_usage.cache_write_tokens) AS cache_write_tokens,
    sum(token_usage.cache_write_1h_tokens) AS cache_write_1h_tokens,
    sum(token_usage.output_tokens) AS output_tokens,
    sum(token_usage.reasoning_tokens) AS reasoning_tokens,
    sum(token_usage.input_audio_tokens) AS input_audio_tokens,
    sum(token_usage.cached_audio_tokens) AS cached_audio_tokens,
    sum(token_usage.output_audio_tokens) AS output_audio_tokens,
    sum(token_usage.input_image_tokens) AS input_image_tokens,
    sum(token_usage.cached_image_tokens) AS cached_image_tokens,
    sum(token_usage.output_image_tokens) AS output_image_tokens,
    sum(ifNull(token_usage.cost_usd, toDecimal128(0, 12))) AS cost_usd,
    sum(ifNull(token_usage.charged_usd, toDecimal128(0, 12))) AS charged_usd
FROM token_usage
GROUP BY minute, tenant, agent, model, provider, feature, team
COMMENT 'Feeds calls_by_minute from token_usage';

CREATE TABLE IF NOT EXISTS usage_by_minute
(
    id UUID COMMENT 'Id of the event (UsageTotalled); derived from its cause, so the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'Start of the minute',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    cause UUID COMMENT 'Id of the event that caused it; zeros where there is none',
    until DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'End of the minute',
    calls UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Model calls in the minute',
    unpriced_calls UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Those of them whose price nobody knows',
    input_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tokens sent, cached ones included',
    cached_input_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens that the provider read from its cache',
    cache_write_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens that the provider wrote to its cache',
    cache_write_1h_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Those of the tokens written to a cache that it keeps for an hour',
    output_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tokens generated, reasoning included',
    reasoning_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens spent on reasoning',
    input_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of sound, cached ones included',
    cached_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of sound that the provider read from its cache',
    output_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens of sound',
    input_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of images, cached ones included',
    cached_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of images that the provider read from its cache',
    output_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens of images',
    cost_usd Decimal(38, 12) COMMENT 'Cost in US dollars of the calls whose price is known',
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
ORDER BY (tenant, at)
TTL toDateTime(at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}, ttl_only_drop_parts = 0
COMMENT 'One row a tenant and minute, totalled in the stream once the minute was over';
