-- Tokens by kind, and whom a call is charged to. Rows of before have zeros and empty texts: nobody had said.
ALTER TABLE runs
    ADD COLUMN IF NOT EXISTS cache_write_1h_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Those of the tokens written to a cache that it keeps for an hour' AFTER cache_write_tokens,
    ADD COLUMN IF NOT EXISTS input_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of sound, cached ones included' AFTER reasoning_tokens,
    ADD COLUMN IF NOT EXISTS cached_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of sound that the provider read from its cache' AFTER input_audio_tokens,
    ADD COLUMN IF NOT EXISTS output_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens of sound' AFTER cached_audio_tokens,
    ADD COLUMN IF NOT EXISTS input_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of images, cached ones included' AFTER output_audio_tokens,
    ADD COLUMN IF NOT EXISTS cached_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of images that the provider read from its cache' AFTER input_image_tokens,
    ADD COLUMN IF NOT EXISTS output_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens of images' AFTER cached_image_tokens;

ALTER TABLE spans
    ADD COLUMN IF NOT EXISTS cache_write_1h_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Those of the tokens written to a cache that it keeps for an hour' AFTER cache_write_tokens,
    ADD COLUMN IF NOT EXISTS input_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of sound, cached ones included' AFTER reasoning_tokens,
    ADD COLUMN IF NOT EXISTS cached_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of sound that the provider read from its cache' AFTER input_audio_tokens,
    ADD COLUMN IF NOT EXISTS output_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens of sound' AFTER cached_audio_tokens,
    ADD COLUMN IF NOT EXISTS input_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of images, cached ones included' AFTER output_audio_tokens,
    ADD COLUMN IF NOT EXISTS cached_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of images that the provider read from its cache' AFTER input_image_tokens,
    ADD COLUMN IF NOT EXISTS output_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens of images' AFTER cached_image_tokens;

ALTER TABLE token_usage
    ADD COLUMN IF NOT EXISTS cache_write_1h_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Those of the tokens written to a cache that it keeps for an hour' AFTER cache_write_tokens,
    ADD COLUMN IF NOT EXISTS input_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of sound, cached ones included' AFTER reasoning_tokens,
    ADD COLUMN IF NOT EXISTS cached_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of sound that the provider read from its cache' AFTER input_audio_tokens,
    ADD COLUMN IF NOT EXISTS output_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens of sound' AFTER cached_audio_tokens,
    ADD COLUMN IF NOT EXISTS input_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of images, cached ones included' AFTER output_audio_tokens,
    ADD COLUMN IF NOT EXISTS cached_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of images that the provider read from its cache' AFTER input_image_tokens,
    ADD COLUMN IF NOT EXISTS output_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens of images' AFTER cached_image_tokens,
    ADD COLUMN IF NOT EXISTS response_model LowCardinality(String) COMMENT 'Model that answered, as its provider calls it; empty where nobody said' AFTER provider,
    ADD COLUMN IF NOT EXISTS service_tier LowCardinality(String) COMMENT 'Tier at which the provider served it: priority, flex or batch; empty for the usual one' AFTER response_model,
    ADD COLUMN IF NOT EXISTS feature LowCardinality(String) COMMENT 'Feature that asked, by the metadata of the request; empty where nobody said' AFTER user,
    ADD COLUMN IF NOT EXISTS team LowCardinality(String) COMMENT 'Team that is charged, by the metadata of the request; empty where nobody said' AFTER feature,
    ADD COLUMN IF NOT EXISTS charged_usd Nullable(Decimal(38, 12)) COMMENT 'What the tenant pays for it by its contract, in US dollars; NULL: nobody knows the price' AFTER cost_usd,
    ADD COLUMN IF NOT EXISTS charged Nullable(Decimal(38, 12)) COMMENT 'The same in the currency of the contract, at the rate of the day; NULL: price or rate unknown' AFTER charged_usd,
    ADD COLUMN IF NOT EXISTS currency LowCardinality(String) DEFAULT 'USD' COMMENT 'Currency of the contract' AFTER charged;

ALTER TABLE usage_by_minute
    ADD COLUMN IF NOT EXISTS cache_write_1h_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Those of the tokens written to a cache that it keeps for an hour' AFTER cache_write_tokens,
    ADD COLUMN IF NOT EXISTS input_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of sound, cached ones included' AFTER reasoning_tokens,
    ADD COLUMN IF NOT EXISTS cached_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of sound that the provider read from its cache' AFTER input_audio_tokens,
    ADD COLUMN IF NOT EXISTS output_audio_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens of sound' AFTER cached_audio_tokens,
    ADD COLUMN IF NOT EXISTS input_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of images, cached ones included' AFTER output_audio_tokens,
    ADD COLUMN IF NOT EXISTS cached_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens of images that the provider read from its cache' AFTER input_image_tokens,
    ADD COLUMN IF NOT EXISTS output_image_tokens UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Output tokens of images' AFTER cached_image_tokens;

