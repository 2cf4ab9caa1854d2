ALTER TABLE runs
    ADD COLUMN IF NOT EXISTS bodies String COMMENT 'Where question and answer are whole of which these columns have the beginning, as JSON: column of the event to key in the object store (./weir objects show KEY); empty where they are whole' AFTER answer
