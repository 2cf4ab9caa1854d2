-- What routes save, beside what caches do.
ALTER TABLE token_usage
    ADD COLUMN IF NOT EXISTS route LowCardinality(String) COMMENT 'Route that chose the model; empty where the agent names a model' AFTER provider,
    ADD COLUMN IF NOT EXISTS unrouted_usd Nullable(Decimal(38, 12)) COMMENT 'What the same tokens would have cost in US dollars at the dearest model that the route could have chosen; NULL: no route, a fallback answered, price unknown, or a row of before' AFTER uncached_usd;
