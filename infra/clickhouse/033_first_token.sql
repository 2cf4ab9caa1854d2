-- How soon a model that streams begins to answer.
ALTER TABLE spans
    ADD COLUMN IF NOT EXISTS first_token_ms Nullable(UInt64) CODEC(ZSTD(1)) COMMENT 'Milliseconds from sending the request that was answered to the first token; NULL where the answer came in one piece (gen_ai.response.time_to_first_chunk)' AFTER wait_ms;
