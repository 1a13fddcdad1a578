-- Control database, version 4: what the copy that holds a lease says of its link. Run by the owner's account
-- (`tidelock setup`); every statement may run again.

-- Written with each renewal: state, lag and position as JSON, so that `status` knows from any machine what the process
-- knows. Nothing is decided by it. (MySQL cannot say IF NOT EXISTS of a column.)
SET @tidelock_add = (SELECT IF(COUNT(*) = 0,
        'ALTER TABLE tidelock.lease ADD COLUMN figures MEDIUMTEXT, ADD COLUMN renewed_at DATETIME(6)', 'DO 0')
    FROM information_schema.columns
    WHERE table_schema = 'tidelock' AND table_name = 'lease' AND column_name = 'figures');

PREPARE tidelock_add FROM @tidelock_add;

EXECUTE tidelock_add;

DEALLOCATE PREPARE tidelock_add;

INSERT IGNORE INTO tidelock.schema_version (version) VALUES (4);
