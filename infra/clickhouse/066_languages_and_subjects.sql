ALTER TABLE profiles
    ADD COLUMN IF NOT EXISTS language Map(LowCardinality(String), UInt64) COMMENT 'Runs by the language of the question (de, en, ...); its script where that tells more, other where nobody knows' AFTER script,
    ADD COLUMN IF NOT EXISTS subject Map(LowCardinality(String), UInt64) COMMENT 'Runs by group of questions whose most telling words are hashed alike (w00 to w31); no word is kept' AFTER language;
