-- Control database, version 12: nodes that leave. Run by the owner's account (`tidelock setup`); every statement may run
-- again.

-- `in`; `leaving`: whoever runs links of the node lets go of them; `left`: they are removed here. The row stays, because
-- rows and tombstones carry the rank of who wrote them, and it is given to nobody else. (MySQL cannot say IF NOT EXISTS of a column.)
SET @tidelock_add = (SELECT IF(COUNT(*) = 0,
        'ALTER TABLE tidelock.node ADD COLUMN state VARCHAR(8) NOT NULL DEFAULT ''in''', 'DO 0')
    FROM information_schema.columns
    WHERE table_schema = 'tidelock' AND table_name = 'node' AND column_name = 'state');

PREPARE tidelock_add FROM @tidelock_add;

EXECUTE tidelock_add;

DEALLOCATE PREPARE tidelock_add;

INSERT IGNORE INTO tidelock.schema_version (version) VALUES (12);
