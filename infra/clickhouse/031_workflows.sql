ALTER TABLE runs
    ADD COLUMN IF NOT EXISTS not_undone String CODEC(ZSTD(1)) COMMENT 'What a workflow did before it failed and could not undo, and why: a line a node' AFTER detail
