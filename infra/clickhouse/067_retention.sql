-- How long a row is kept is its tenant's word, as its definition has it when the row lands: rows go when merges meet
-- them, without a mutation, and a tenant's new word holds for what lands from then on.
ALTER TABLE runs
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq;
ALTER TABLE runs MODIFY TTL toDateTime(at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE runs MODIFY SETTING ttl_only_drop_parts = 0;
ALTER TABLE spans
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq;
ALTER TABLE spans MODIFY TTL toDateTime(at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE spans MODIFY SETTING ttl_only_drop_parts = 0;
ALTER TABLE token_usage
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq;
ALTER TABLE token_usage MODIFY TTL toDateTime(at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE token_usage MODIFY SETTING ttl_only_drop_parts = 0;
ALTER TABLE usage_by_minute
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq;
ALTER TABLE usage_by_minute MODIFY TTL toDateTime(at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE usage_by_minute MODIFY SETTING ttl_only_drop_parts = 0;
ALTER TABLE attempts
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq;
ALTER TABLE attempts MODIFY TTL toDateTime(at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE attempts MODIFY SETTING ttl_only_drop_parts = 0;
ALTER TABLE budget_alerts
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq;
ALTER TABLE budget_alerts MODIFY TTL toDateTime(at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE budget_alerts MODIFY SETTING ttl_only_drop_parts = 0;
ALTER TABLE verdicts
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq;
ALTER TABLE verdicts MODIFY TTL toDateTime(at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE verdicts MODIFY SETTING ttl_only_drop_parts = 0;
ALTER TABLE feedback_given
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq;
ALTER TABLE feedback_given MODIFY TTL toDateTime(at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE feedback_given MODIFY SETTING ttl_only_drop_parts = 0;
ALTER TABLE feedback
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq;
ALTER TABLE feedback MODIFY TTL toDateTime(at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE feedback MODIFY SETTING ttl_only_drop_parts = 0;
ALTER TABLE approvals
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq;
ALTER TABLE approvals MODIFY TTL toDateTime(at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE approvals MODIFY SETTING ttl_only_drop_parts = 0;
ALTER TABLE user_questions
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq;
ALTER TABLE user_questions MODIFY TTL toDateTime(at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE user_questions MODIFY SETTING ttl_only_drop_parts = 0;
ALTER TABLE refused_signals
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq;
ALTER TABLE refused_signals MODIFY TTL toDateTime(at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE refused_signals MODIFY SETTING ttl_only_drop_parts = 0;
ALTER TABLE webhook_deliveries
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq;
ALTER TABLE webhook_deliveries MODIFY TTL toDateTime(at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE webhook_deliveries MODIFY SETTING ttl_only_drop_parts = 0;
ALTER TABLE profiles
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq;
ALTER TABLE profiles MODIFY TTL toDateTime(at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE profiles MODIFY SETTING ttl_only_drop_parts = 0;
ALTER TABLE drift
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq;
ALTER TABLE drift MODIFY TTL toDateTime(at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE drift MODIFY SETTING ttl_only_drop_parts = 0;
ALTER TABLE breakers
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq;
ALTER TABLE breakers MODIFY TTL toDateTime(at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE breakers MODIFY SETTING ttl_only_drop_parts = 0;
ALTER TABLE dead_letters
    ADD COLUMN IF NOT EXISTS retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed' AFTER seq;
ALTER TABLE dead_letters MODIFY TTL toDateTime(at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
ALTER TABLE dead_letters MODIFY SETTING ttl_only_drop_parts = 0;

ALTER TABLE session_totals
    ADD COLUMN IF NOT EXISTS retention_days SimpleAggregateFunction(max, UInt16) DEFAULT ${retention_days} COMMENT 'Days that the row is kept, by the definition of its tenant when its runs landed';
ALTER TABLE session_totals MODIFY TTL toDateTime(ended_at) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
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
    ADD COLUMN IF NOT EXISTS retention_days SimpleAggregateFunction(max, UInt16) DEFAULT ${retention_days} COMMENT 'Days that the row is kept, by the definition of its tenant when its runs landed';
ALTER TABLE user_days MODIFY TTL toDateTime(day) + toIntervalDay(retention_days) SETTINGS materialize_ttl_after_modify = 0;
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
