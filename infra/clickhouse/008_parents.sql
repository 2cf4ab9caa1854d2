ALTER TABLE runs
    ADD COLUMN IF NOT EXISTS parent_run UUID COMMENT 'Run of the agent that asked for this one; zeros where none did' AFTER run
