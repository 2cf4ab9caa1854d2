CREATE TABLE IF NOT EXISTS runs
(
    id UUID COMMENT 'Id of the event (RunFinished or RequestRefused); derived from its cause, so the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the run ended, or was refused',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    cause UUID COMMENT 'Id of the event that caused it; zeros where there is none',
    session String CODEC(ZSTD(1)) COMMENT 'Conversation that the run belongs to',
    run UUID COMMENT 'Id of the run: the id of its AgentRequested',
    parent_run UUID COMMENT 'Run of the agent that asked for this one; zeros where none did',
    agent LowCardinality(String) COMMENT 'Name of the agent',
    agent_version UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Version of the agent that the run began with',
    prompt_version UInt64 COMMENT 'Version of the prompt that the run got; 0 where the prompt stands in the agent',
    outcome LowCardinality(String) COMMENT 'completed, failed, blocked, stopped, cancelled or refused',
    reason LowCardinality(String) COMMENT 'Why it ended so, as a short name; empty when completed',
    detail String CODEC(ZSTD(3)) COMMENT 'The same for people to read',
    not_undone String CODEC(ZSTD(1)) COMMENT 'What a workflow did before it failed and could not undo, and why: a line a node',
    question String CODEC(ZSTD(3)) COMMENT 'What was asked, as the agent saw it (personal)',
    answer String CODEC(ZSTD(3)) COMMENT 'What was answered; empty where there was no answer (personal)',
    bodies String COMMENT 'Where question and answer are whole of which these columns have the beginning, as JSON: column of the event to key in the object store (./weir objects show KEY); empty where they are whole',
    user String CODEC(ZSTD(1)) COMMENT 'Who asked; empty where nobody said (personal)',
    model LowCardinality(String) COMMENT 'Name of the model that the agent used last',
    model_calls UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Model calls that the run made',
    tool_calls UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Tool calls that the run made',
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
    cost_usd Nullable(Decimal(38, 12)) COMMENT 'What the run cost in US dollars; NULL: nobody knows the price (never: free)',
    unpriced_calls UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Model calls whose price nobody knows',
    total_input_tokens UInt64 DEFAULT input_tokens CODEC(T64, ZSTD(1)) COMMENT 'Tokens sent by the run and by the agents that it asked',
    total_output_tokens UInt64 DEFAULT output_tokens CODEC(T64, ZSTD(1)) COMMENT 'Tokens generated for the run and for the agents that it asked',
    total_cost_usd Nullable(Decimal(38, 12)) DEFAULT cost_usd COMMENT 'What the run cost together with the agents that it asked, in US dollars: not to be summed over runs; NULL: nobody knows',
    total_unpriced_calls UInt64 DEFAULT unpriced_calls CODEC(T64, ZSTD(1)) COMMENT 'Model calls of the run and of the agents that it asked whose price nobody knows',
    started_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When it was asked',
    wait_ms UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Milliseconds from asked to ended; 0 when refused',
    traceparent String CODEC(ZSTD(1)) COMMENT 'W3C trace context that the caller gave; empty where none',
    kafka_topic LowCardinality(String) COMMENT 'Topic of the record that this row was made of',
    kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known',
    kafka_partition UInt32 COMMENT 'Its partition',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Its offset',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Number of the event in the order its stage decided; 0 where no stage made it',
    retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed',
    landed_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When the row was written here',
    INDEX by_run run TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_session session TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_user user TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX words_of_question question TYPE text(tokenizer = 'splitByNonAlpha', preprocessor = lower(question)),
    INDEX words_of_answer answer TYPE text(tokenizer = 'splitByNonAlpha', preprocessor = lower(answer))
)
ENGINE = ${replicated}MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, toStartOfHour(at), agent, run)
TTL toDateTime(at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}, ttl_only_drop_parts = 0
COMMENT 'One row a run: its one outcome and what it took; refused requests too';

-- Totals grow with every insert, so that common questions need neither FINAL nor a join. They are as exact as their
-- tables: an insert that is repeated under its token is dropped here too.
CREATE TABLE IF NOT EXISTS runs_by_hour
(
    hour DateTime('UTC') COMMENT 'Start of the hour, UTC',
    tenant LowCardinality(String) COMMENT 'Tenant',
    agent LowCardinality(String) COMMENT 'Name of the agent',
    agent_version UInt64 COMMENT 'Version of the agent',
    outcome LowCardinality(String) COMMENT 'completed, failed, blocked, stopped, cancelled or refused',
    reason LowCardinality(String) COMMENT 'Why it ended so; empty when completed',
    runs SimpleAggregateFunction(sum, UInt64) COMMENT 'Runs that ended so',
    model_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Their model calls',
    tool_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Their tool calls',
    unpriced_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Model calls whose price nobody knows',
    cost_usd SimpleAggregateFunction(sum, Decimal(38, 12)) COMMENT 'What they cost in US dollars, as far as prices are known',
    wait_ms_max SimpleAggregateFunction(max, UInt64) COMMENT 'Longest wait in milliseconds',
    wait_ms AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), UInt64) COMMENT 'Digest of the waits; read with quantilesTDigestMerge(0.5, 0.95, 0.99)(wait_ms)'
)
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (tenant, hour, agent, agent_version, outcome, reason)
TTL hour + INTERVAL ${retention_days} DAY
SETTINGS ${deduplication}, ttl_only_drop_parts = 1
COMMENT 'Runs, outcomes, cost and waits by tenant, agent, version and hour';

CREATE MATERIALIZED VIEW IF NOT EXISTS runs_by_hour_view TO runs_by_hour AS
SELECT
    toStartOfHour(toDateTime(at, 'UTC')) AS hour,
    tenant, agent, agent_version, outcome, reason,
    count() AS runs,
    sum(runs.model_calls) AS model_calls,
    sum(runs.tool_calls) AS tool_calls,
    sum(runs.unpriced_calls) AS unpriced_calls,
    sum(ifNull(runs.cost_usd, toDecimal128(0, 12))) AS cost_usd,
    max(runs.wait_ms) AS wait_ms_max,
    quantilesTDigestState(0.5, 0.95, 0.99)(runs.wait_ms) AS wait_ms
FROM runs
GROUP BY hour, tenant, agent, agent_version, outcome, reason
COMMENT 'Feeds runs_by_hour from runs';

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
    unpriced_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Model calls whose price nobody knows',
    retention_days SimpleAggregateFunction(max, UInt16) DEFAULT ${retention_days} COMMENT 'Days that the row is kept, by the definition of its tenant when its runs landed'
)
ENGINE = ${replicated}AggregatingMergeTree
ORDER BY (tenant, session)
TTL toDateTime(ended_at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}
COMMENT 'Conversations added up, in parts: read the view sessions';

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
    sum(runs.unpriced_calls) AS unpriced_calls,
    max(runs.retention_days) AS retention_days
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
    unpriced_calls SimpleAggregateFunction(sum, UInt64) COMMENT 'Model calls whose price nobody knows',
    retention_days SimpleAggregateFunction(max, UInt16) DEFAULT ${retention_days} COMMENT 'Days that the row is kept, by the definition of its tenant when its runs landed'
)
ENGINE = ${replicated}AggregatingMergeTree
ORDER BY (tenant, user, day)
TTL toDateTime(day) + toIntervalDay(retention_days)
SETTINGS ${deduplication}
COMMENT 'People by day, in parts: read the view users, or add up';

CREATE MATERIALIZED VIEW IF NOT EXISTS user_days_view TO user_days AS
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
