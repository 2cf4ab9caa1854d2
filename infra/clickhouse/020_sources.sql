-- Spans of other applications stand beside our own. Rows of before are our own.
ALTER TABLE spans
    ADD COLUMN IF NOT EXISTS source LowCardinality(String) DEFAULT 'weir' COMMENT 'Whose span it is: weir, or the conventions of another application (otel, openinference, openllmetry, vercel, openai, plain)' AFTER user,
    ADD COLUMN IF NOT EXISTS attributes String CODEC(ZSTD(3)) COMMENT 'What another application said beyond these columns, as JSON; read with JSONExtractString(attributes, name) (personal)' AFTER source,
    MODIFY COLUMN operation COMMENT 'What it did (gen_ai.operation.name): invoke_agent, chat, execute_tool, retrieval, guardrail, admission; of others also text_completion, generate_content, embeddings, create_agent, invoke_workflow, event, other';

ALTER TABLE token_usage
    ADD COLUMN IF NOT EXISTS source LowCardinality(String) DEFAULT 'weir' COMMENT 'Who made the call: weir, or an application that told of it, in the conventions named here' AFTER currency;
