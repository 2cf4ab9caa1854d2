-- How long a row is kept is its tenant's word, as its definition has it when the row lands: rows go when merges meet
-- them, without a mutation, and a tenant's new word holds for what lands from then on.
ALTER TABLE runs (
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq
    ),
    (MODIFY SETTING ttl_only_drop_parts = 0),
    (MODIFY TTL toDateTime(at) + toIntervalDay(retention_days)) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE spans (
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq
    ),
    (MODIFY SETTING ttl_only_drop_parts = 0),
    (MODIFY TTL toDateTime(at) + toIntervalDay(retention_days)) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE token_usage (
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq
    ),
    (MODIFY SETTING ttl_only_drop_parts = 0),
    (MODIFY TTL toDateTime(at) + toIntervalDay(retention_days)) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE usage_by_minute (
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq
    ),
    (MODIFY SETTING ttl_only_drop_parts = 0),
    (MODIFY TTL toDateTime(at) + toIntervalDay(retention_days)) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE attempts (
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq
    ),
    (MODIFY SETTING ttl_only_drop_parts = 0),
    (MODIFY TTL toDateTime(at) + toIntervalDay(retention_days)) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE budget_alerts (
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq
    ),
    (MODIFY SETTING ttl_only_drop_parts = 0),
    (MODIFY TTL toDateTime(at) + toIntervalDay(retention_days)) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE verdicts (
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq
    ),
    (MODIFY SETTING ttl_only_drop_parts = 0),
    (MODIFY TTL toDateTime(at) + toIntervalDay(retention_days)) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE feedback_given (
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq
    ),
    (MODIFY SETTING ttl_only_drop_parts = 0),
    (MODIFY TTL toDateTime(at) + toIntervalDay(retention_days)) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE feedback (
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq
    ),
    (MODIFY SETTING ttl_only_drop_parts = 0),
    (MODIFY TTL toDateTime(at) + toIntervalDay(retention_days)) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE approvals (
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq
    ),
    (MODIFY SETTING ttl_only_drop_parts = 0),
    (MODIFY TTL toDateTime(at) + toIntervalDay(retention_days)) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE user_questions (
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq
    ),
    (MODIFY SETTING ttl_only_drop_parts = 0),
    (MODIFY TTL toDateTime(at) + toIntervalDay(retention_days)) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE refused_signals (
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq
    ),
    (MODIFY SETTING ttl_only_drop_parts = 0),
    (MODIFY TTL toDateTime(at) + toIntervalDay(retention_days)) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE webhook_deliveries (
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq
    ),
    (MODIFY SETTING ttl_only_drop_parts = 0),
    (MODIFY TTL toDateTime(at) + toIntervalDay(retention_days)) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE profiles (
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq
    ),
    (MODIFY SETTING ttl_only_drop_parts = 0),
    (MODIFY TTL toDateTime(at) + toIntervalDay(retention_days)) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE drift (
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq
    ),
    (MODIFY SETTING ttl_only_drop_parts = 0),
    (MODIFY TTL toDateTime(at) + toIntervalDay(retention_days)) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE breakers (
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq
    ),
    (MODIFY SETTING ttl_only_drop_parts = 0),
    (MODIFY TTL toDateTime(at) + toIntervalDay(retention_days)) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE dead_letters (
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq
    ),
    (MODIFY SETTING ttl_only_drop_parts = 0),
    (MODIFY TTL toDateTime(at) + toIntervalDay(retention_days)) SETTINGS materialize_ttl_after_modify = 0;

ALTER TABLE session_totals
    ADD COLUMN IF NOT EXISTS retention_days SimpleAggregateFunction(max, UInt16) DEFAULT ${retention_days} COMMENT 'Days that the row is kept, by the definition of its tenant when its runs landed',
    MODIFY TTL toDateTime(ended_at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE session_totals_view MODIFY QUERY
SELECT
    tenant, session,
    groupUniqArray(toString(runs.agent)) AS agents,
    max(runs.user) AS user,
    min(runs.started_at) AS started_at,
    max(runs.at) AS ended_at,
    count() AS runs_ended,
    countIf(runs.outcome = 'completed') AS completed,
    countIf(runs.outcome = 'refused') AS refused,
    sum(runs.model_calls) AS model_calls,
    sum(runs.tool_calls) AS tool_calls,
    sum(runs.input_tokens) AS input_tokens,
    sum(runs.output_tokens) AS output_tokens,
    sum(ifNull(runs.cost_usd, toDecimal128(0, 12))) AS cost_usd,
    sum(runs.unpriced_calls) AS unpriced_calls,
    max(runs.retention_days) AS retention_days
FROM runs
GROUP BY tenant, session;

ALTER TABLE user_days
    ADD COLUMN IF NOT EXISTS retention_days SimpleAggregateFunction(max, UInt16) DEFAULT ${retention_days} COMMENT 'Days that the row is kept, by the definition of its tenant when its runs landed',
    MODIFY TTL toDateTime(day) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE user_days_view MODIFY QUERY
SELECT
    tenant, user, toDate(runs.at, 'UTC') AS day,
    count() AS runs_ended,
    countIf(runs.outcome = 'completed') AS completed,
    countIf(runs.outcome = 'refused') AS refused,
    sum(runs.input_tokens) AS input_tokens,
    sum(runs.output_tokens) AS output_tokens,
    sum(ifNull(runs.cost_usd, toDecimal128(0, 12))) AS cost_usd,
    sum(runs.unpriced_calls) AS unpriced_calls,
    max(runs.retention_days) AS retention_days
FROM runs
WHERE user != ''
GROUP BY tenant, user, day;
