ALTER TABLE attempts
    ADD COLUMN IF NOT EXISTS after_ms UInt64 CODEC(T64, ZSTD(1)) COMMENT 'How long after the question it began, in milliseconds' AFTER reason
