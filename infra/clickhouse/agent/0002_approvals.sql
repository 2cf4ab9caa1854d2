CREATE TABLE IF NOT EXISTS approvals
(
    id UUID COMMENT 'Id of the event (ApprovalAsked, ApprovalResolved or ApprovalRefused); derived from its cause, so the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When it was asked, resolved or refused',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    cause UUID COMMENT 'Id of the event that caused it; zeros where there is none',
    session String CODEC(ZSTD(1)) COMMENT 'Conversation that the run belongs to',
    run UUID COMMENT 'Id of the run whose call waits; zeros where a word was refused',
    agent LowCardinality(String) COMMENT 'Name of the agent',
    agent_version UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Version of the agent that the run began with',
    step UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Model turn of the run, from 1',
    call String CODEC(ZSTD(1)) COMMENT 'Id of the call, as the model gave it',
    approval UUID COMMENT 'Id of the approval: the id of its ApprovalAsked',
    status LowCardinality(String) COMMENT 'asked; approved, denied, expired or cancelled (its one end); refused (a word that changed nothing)',
    tool LowCardinality(String) COMMENT 'Tool that is to be called (gen_ai.tool.name)',
    tool_version UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Its version',
    arguments String CODEC(ZSTD(3)) COMMENT 'Asked: the arguments of the call. Approved: those that took their place, empty where none did (personal)',
    approvers Array(LowCardinality(String)) COMMENT 'Names and roles, one of which has to agree',
    override Bool COMMENT 'Whether an approver may change the arguments',
    expires_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When silence becomes a no',
    by String CODEC(ZSTD(1)) COMMENT 'Who gave the word; empty where nobody did (personal)',
    decision LowCardinality(String) COMMENT 'A refused word: approve or deny',
    note String CODEC(ZSTD(3)) COMMENT 'What they said to it (personal)',
    reason LowCardinality(String) COMMENT 'Why a word was refused, as a short name',
    detail String CODEC(ZSTD(3)) COMMENT 'The same for people to read',
    wait_ms UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Milliseconds from asked to resolved',
    user String CODEC(ZSTD(1)) COMMENT 'On whose behalf the run works; empty where nobody said (personal)',
    kafka_topic LowCardinality(String) COMMENT 'Topic of the record that this row was made of',
    kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known',
    kafka_partition UInt32 COMMENT 'Its partition',
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Its offset',
    seq UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Number of the event in the order its stage decided; 0 where no stage made it',
    retention_days UInt16 DEFAULT ${retention_days} CODEC(T64, ZSTD(1)) COMMENT 'Days that the row is kept, by the definition of its tenant when it landed',
    landed_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)) COMMENT 'When the row was written here',
    INDEX by_run run TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_approval approval TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ${replicated}MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, toStartOfHour(at), approval)
TTL toDateTime(at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}, ttl_only_drop_parts = 0
COMMENT 'One row an event of an approval: asked, its one end, and each word that was refused';

CREATE TABLE IF NOT EXISTS user_questions
(
    id UUID COMMENT 'Id of the event (UserAsked); derived from its cause, so the same after a replay',
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the user was asked',
    tenant LowCardinality(String) COMMENT 'Tenant that it belongs to',
    cause UUID COMMENT 'Id of the event that caused it; zeros where there is none',
    session String CODEC(ZSTD(1)) COMMENT 'Conversation that the run belongs to',
    run UUID COMMENT 'Id of the run that asks',
    agent LowCardinality(String) COMMENT 'Name of the agent',
    agent_version UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Version of the agent that the run began with',
    step UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Model turn of the run, from 1',
    call String CODEC(ZSTD(1)) COMMENT 'Id of the call, as the model gave it',
    question String CODEC(ZSTD(3)) COMMENT 'What the user is asked (personal)',
    options Array(String) COMMENT 'Answers to choose from; empty where any will do',
    request UUID COMMENT 'Run of the newest request of the conversation: its sender waits for this',
    expires_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the run stops waiting',
    user String CODEC(ZSTD(1)) COMMENT 'Who is asked; empty where nobody said (personal)',
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
ORDER BY (tenant, toStartOfHour(at), run)
TTL toDateTime(at) + toIntervalDay(retention_days)
SETTINGS ${deduplication}, ttl_only_drop_parts = 0
COMMENT 'One row a question that an agent asked its user in the middle of a run';
