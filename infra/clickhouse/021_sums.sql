-- Totals of all kinds of tokens by hour and by minute, conversations, people, and a search in questions and answers.
-- What is in the tables already is added up first, under tokens, so that a migration that was cut off adds nothing
-- twice; a view takes over after it. Sink workers are stopped while this runs: `weir up` begins them after `deploy`.
ALTER TABLE usage_by_hour
    ADD COLUMN IF NOT EXISTS cache_write_1h_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of the tokens written to a cache that it keeps for an hour',
    ADD COLUMN IF NOT EXISTS input_audio_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Input tokens of sound',
    ADD COLUMN IF NOT EXISTS cached_audio_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them read from a cache',
    ADD COLUMN IF NOT EXISTS output_audio_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Output tokens of sound',
    ADD COLUMN IF NOT EXISTS input_image_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Input tokens of images',
    ADD COLUMN IF NOT EXISTS cached_image_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them read from a cache',
    ADD COLUMN IF NOT EXISTS output_image_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Output tokens of images',
    ADD COLUMN IF NOT EXISTS charged_usd SimpleAggregateFunction(sum, Decimal(38, 12)) COMMENT 'What tenants pay for them by their contracts, in US dollars',
    ADD COLUMN IF NOT EXISTS feature LowCardinality(String) COMMENT 'Feature that asked; empty where nobody said',
    ADD COLUMN IF NOT EXISTS team LowCardinality(String) COMMENT 'Team that is charged; empty where nobody said',
    MODIFY ORDER BY (tenant, hour, agent, agent_version, model, provider, feature, team);

ALTER TABLE usage_by_hour_view MODIFY QUERY
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
GROUP BY hour, tenant, agent, agent_version, model, provider, feature, team;

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
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (tenant, minute, agent, model, provider, feature, team)
TTL minute + INTERVAL least(${retention_days}, 62) DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1
COMMENT 'Model calls, tokens and cost by tenant, agent, model, feature, team and minute, of the last two months';

INSERT INTO calls_by_minute
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
WHERE at >= now('UTC') - INTERVAL 62 DAY
GROUP BY minute, tenant, agent, model, provider, feature, team ORDER BY ALL
SETTINGS insert_deduplication_token = '021:calls_by_minute', max_threads = 1;

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

CREATE TABLE IF NOT EXISTS session_totals
(
    tenant LowCardinality(String) COMMENT 'Tenant',
    session String COMMENT 'Conversation',
    agents SimpleAggregateFunction(groupUniqArrayArray, Array(String)) COMMENT 'Agents that ran in it',
    user SimpleAggregateFunction(max, String) COMMENT 'Who asked; empty where nobody said (personal)',
    started_at SimpleAggregateFunction(min, DateTime64(3, 'UTC')) COMMENT 'When its first run was asked',
    ended_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'When its last run ended',
    runs_ended SimpleAggregateFunction(sum, UInt64) COMMENT 'Runs that ended, however they did',
    completed SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them that were completed',
    refused SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them that were not admitted',
    model_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Model calls',
    tool_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Tool calls',
    input_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Tokens sent',
    output_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Tokens generated',
    cost_usd SimpleAggregateFunction(sum, Decimal(38, 12)) COMMENT 'Cost in US dollars, as far as prices are known',
    unpriced_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Model calls whose price nobody knows'
)
ENGINE = AggregatingMergeTree
ORDER BY (tenant, session)
TTL toDateTime(ended_at) + INTERVAL ${retention_days} DAY
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Conversations added up, in parts: read the view sessions';

INSERT INTO session_totals
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
    sum(runs.unpriced_calls) AS unpriced_calls
FROM runs
GROUP BY tenant, session ORDER BY ALL
SETTINGS insert_deduplication_token = '021:session_totals', max_threads = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS session_totals_view TO session_totals AS
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
    sum(runs.unpriced_calls) AS unpriced_calls
FROM runs
GROUP BY tenant, session
COMMENT 'Feeds session_totals from runs';

CREATE VIEW IF NOT EXISTS sessions
(
    tenant LowCardinality(String) COMMENT 'Tenant',
    session String COMMENT 'Conversation',
    agents Array(String) COMMENT 'Agents that ran in it',
    user String COMMENT 'Who asked; empty where nobody said (personal)',
    started_at DateTime64(3, 'UTC') COMMENT 'When its first run was asked',
    ended_at DateTime64(3, 'UTC') COMMENT 'When its last run ended',
    runs_ended UInt64 COMMENT 'Runs that ended, however they did',
    completed UInt64 COMMENT 'Those of them that were completed',
    refused UInt64 COMMENT 'Those of them that were not admitted',
    model_calls UInt64 COMMENT 'Model calls',
    tool_calls UInt64 COMMENT 'Tool calls',
    input_tokens UInt64 COMMENT 'Tokens sent',
    output_tokens UInt64 COMMENT 'Tokens generated',
    cost_usd Decimal(38, 12) COMMENT 'Cost in US dollars, as far as prices are known',
    unpriced_calls UInt64 COMMENT 'Model calls whose price nobody knows'
) AS
SELECT tenant, session,
    groupUniqArrayArray(session_totals.agents) AS agents,
    max(session_totals.user) AS user,
    min(session_totals.started_at) AS started_at,
    max(session_totals.ended_at) AS ended_at,
    sum(session_totals.runs_ended) AS runs_ended,
    sum(session_totals.completed) AS completed,
    sum(session_totals.refused) AS refused,
    sum(session_totals.model_calls) AS model_calls,
    sum(session_totals.tool_calls) AS tool_calls,
    sum(session_totals.input_tokens) AS input_tokens,
    sum(session_totals.output_tokens) AS output_tokens,
    sum(session_totals.cost_usd) AS cost_usd,
    sum(session_totals.unpriced_calls) AS unpriced_calls
FROM session_totals GROUP BY tenant, session
COMMENT 'One row a conversation: its agents, runs, tokens and cost';

CREATE TABLE IF NOT EXISTS user_days
(
    tenant LowCardinality(String) COMMENT 'Tenant',
    user String COMMENT 'Who asked (personal)',
    day Date COMMENT 'Day, UTC',
    runs_ended SimpleAggregateFunction(sum, UInt64) COMMENT 'Runs that ended, however they did',
    completed SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them that were completed',
    refused SimpleAggregateFunction(sum, UInt64) COMMENT 'Those of them that were not admitted',
    input_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Tokens sent',
    output_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Tokens generated',
    cost_usd SimpleAggregateFunction(sum, Decimal(38, 12)) COMMENT 'Cost in US dollars, as far as prices are known',
    unpriced_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Model calls whose price nobody knows'
)
ENGINE = AggregatingMergeTree
ORDER BY (tenant, user, day)
TTL toDateTime(day) + INTERVAL ${retention_days} DAY
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'People by day, in parts: read the view users, or add up';

INSERT INTO user_days
SELECT
    tenant, user, toDate(runs.at, 'UTC') AS day,
    count() AS runs_ended,
    countIf(runs.outcome = 'completed') AS completed,
    countIf(runs.outcome = 'refused') AS refused,
    sum(runs.input_tokens) AS input_tokens,
    sum(runs.output_tokens) AS output_tokens,
    sum(ifNull(runs.cost_usd, toDecimal128(0, 12))) AS cost_usd,
    sum(runs.unpriced_calls) AS unpriced_calls
FROM runs
WHERE user != ''
GROUP BY tenant, user, day ORDER BY ALL
SETTINGS insert_deduplication_token = '021:user_days', max_threads = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS user_days_view TO user_days AS
SELECT
    tenant, user, toDate(runs.at, 'UTC') AS day,
    count() AS runs_ended,
    countIf(runs.outcome = 'completed') AS completed,
    countIf(runs.outcome = 'refused') AS refused,
    sum(runs.input_tokens) AS input_tokens,
    sum(runs.output_tokens) AS output_tokens,
    sum(ifNull(runs.cost_usd, toDecimal128(0, 12))) AS cost_usd,
    sum(runs.unpriced_calls) AS unpriced_calls
FROM runs
WHERE user != ''
GROUP BY tenant, user, day
COMMENT 'Feeds user_days from runs';

CREATE VIEW IF NOT EXISTS users
(
    tenant LowCardinality(String) COMMENT 'Tenant',
    user String COMMENT 'Who asked (personal)',
    first_day Date COMMENT 'First day with a run, UTC',
    last_day Date COMMENT 'Last day with a run, UTC',
    days UInt64 COMMENT 'Days with a run',
    runs_ended UInt64 COMMENT 'Runs that ended, however they did',
    completed UInt64 COMMENT 'Those of them that were completed',
    refused UInt64 COMMENT 'Those of them that were not admitted',
    input_tokens UInt64 COMMENT 'Tokens sent',
    output_tokens UInt64 COMMENT 'Tokens generated',
    cost_usd Decimal(38, 12) COMMENT 'Cost in US dollars, as far as prices are known',
    unpriced_calls UInt64 COMMENT 'Model calls whose price nobody knows'
) AS
SELECT tenant, user, min(day) AS first_day, max(day) AS last_day, uniqExact(day) AS days,
    sum(user_days.runs_ended) AS runs_ended,
    sum(user_days.completed) AS completed,
    sum(user_days.refused) AS refused,
    sum(user_days.input_tokens) AS input_tokens,
    sum(user_days.output_tokens) AS output_tokens,
    sum(user_days.cost_usd) AS cost_usd,
    sum(user_days.unpriced_calls) AS unpriced_calls
FROM user_days GROUP BY tenant, user
COMMENT 'One row a person who asked: days, runs, tokens and cost';

ALTER TABLE runs
    ADD INDEX IF NOT EXISTS words_of_question question TYPE text(tokenizer = 'splitByNonAlpha', preprocessor = lower(question)),
    ADD INDEX IF NOT EXISTS words_of_answer answer TYPE text(tokenizer = 'splitByNonAlpha', preprocessor = lower(answer));

ALTER TABLE runs MATERIALIZE INDEX words_of_question;

ALTER TABLE runs MATERIALIZE INDEX words_of_answer;
