ALTER TABLE runs
    ADD COLUMN IF NOT EXISTS prompt_version UInt64 COMMENT 'Version of the prompt that the run got; 0 where the prompt stands in the agent' AFTER agent_version
