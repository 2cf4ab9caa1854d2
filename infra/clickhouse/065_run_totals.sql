ALTER TABLE runs
    ADD COLUMN IF NOT EXISTS total_input_tokens UInt64 DEFAULT input_tokens CODEC(T64, ZSTD(1)) COMMENT 'Tokens sent by the run and by the agents that it asked' AFTER unpriced_calls,
    ADD COLUMN IF NOT EXISTS total_output_tokens UInt64 DEFAULT output_tokens CODEC(T64, ZSTD(1)) COMMENT 'Tokens generated for the run and for the agents that it asked' AFTER total_input_tokens,
    ADD COLUMN IF NOT EXISTS total_cost_usd Nullable(Decimal(38, 12)) DEFAULT cost_usd COMMENT 'What the run cost together with the agents that it asked, in US dollars: not to be summed over runs; NULL: nobody knows' AFTER total_output_tokens,
    ADD COLUMN IF NOT EXISTS total_unpriced_calls UInt64 DEFAULT unpriced_calls CODEC(T64, ZSTD(1)) COMMENT 'Model calls of the run and of the agents that it asked whose price nobody knows' AFTER total_cost_usd
