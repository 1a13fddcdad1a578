-- Control database, version 11: new copies of those rows of a table that a condition takes. Run by the owner's account
-- (`tidelock setup`); every statement may run again.

-- As the operator wrote it, in the configuration's names of the columns. NULL: the whole table. (MySQL cannot say IF NOT
-- EXISTS of a column.)
SET @tidelock_add = (SELECT IF(COUNT(*) = 0, 'ALTER TABLE tidelock.resync ADD COLUMN where_text MEDIUMTEXT', 'DO 0')
    FROM information_schema.columns
    WHERE table_schema = 'tidelock' AND table_name = 'resync' AND column_name = 'where_text');

PREPARE tidelock_add FROM @tidelock_add;

EXECUTE tidelock_add;

DEALLOCATE PREPARE tidelock_add;

INSERT IGNORE INTO tidelock.schema_version (version) VALUES (11);
