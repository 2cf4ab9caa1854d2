ALTER TABLE spans
    MODIFY COLUMN operation COMMENT 'What it did (gen_ai.operation.name): invoke_agent, chat, execute_tool, retrieval, guardrail, admission, approval; of others also text_completion, generate_content, embeddings, create_agent, invoke_workflow, event, other';
