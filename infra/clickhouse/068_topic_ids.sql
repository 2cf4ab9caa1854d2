-- A topic that was deleted and made anew has the same name and begins at offset 0 again: only its id tells its records
-- from those of the topic before.
ALTER TABLE runs
    ADD COLUMN IF NOT EXISTS kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known' AFTER kafka_topic;
ALTER TABLE spans
    ADD COLUMN IF NOT EXISTS kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known' AFTER kafka_topic;
ALTER TABLE token_usage
    ADD COLUMN IF NOT EXISTS kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known' AFTER kafka_topic;
ALTER TABLE usage_by_minute
    ADD COLUMN IF NOT EXISTS kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known' AFTER kafka_topic;
ALTER TABLE attempts
    ADD COLUMN IF NOT EXISTS kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known' AFTER kafka_topic;
ALTER TABLE budget_alerts
    ADD COLUMN IF NOT EXISTS kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known' AFTER kafka_topic;
ALTER TABLE verdicts
    ADD COLUMN IF NOT EXISTS kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known' AFTER kafka_topic;
ALTER TABLE feedback_given
    ADD COLUMN IF NOT EXISTS kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known' AFTER kafka_topic;
ALTER TABLE feedback
    ADD COLUMN IF NOT EXISTS kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known' AFTER kafka_topic;
ALTER TABLE approvals
    ADD COLUMN IF NOT EXISTS kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known' AFTER kafka_topic;
ALTER TABLE user_questions
    ADD COLUMN IF NOT EXISTS kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known' AFTER kafka_topic;
ALTER TABLE refused_signals
    ADD COLUMN IF NOT EXISTS kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known' AFTER kafka_topic;
ALTER TABLE webhook_deliveries
    ADD COLUMN IF NOT EXISTS kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known' AFTER kafka_topic;
ALTER TABLE profiles
    ADD COLUMN IF NOT EXISTS kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known' AFTER kafka_topic;
ALTER TABLE drift
    ADD COLUMN IF NOT EXISTS kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known' AFTER kafka_topic;
ALTER TABLE breakers
    ADD COLUMN IF NOT EXISTS kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known' AFTER kafka_topic;
ALTER TABLE dead_letters
    ADD COLUMN IF NOT EXISTS kafka_topic_id LowCardinality(String) COMMENT 'Id that the broker gave that topic when it was made; empty where it was not known' AFTER kafka_topic;
ALTER TABLE dead_letters
    ADD COLUMN IF NOT EXISTS topic_id LowCardinality(String) COMMENT 'Id of the topic of the record, where the consumer knew it' AFTER detail;
