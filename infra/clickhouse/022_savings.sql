ALTER TABLE token_usage
    ADD COLUMN IF NOT EXISTS uncached_usd Nullable(Decimal(38, 12)) COMMENT 'What the same call would have cost in US dollars without any cache of the provider; NULL: price unknown, or a row of before' AFTER cost_usd;
