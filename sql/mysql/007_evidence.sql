-- Control database, version 7: a conflict's record tells who won, where this server stood, and how it was settled
-- later. Run by the owner's account (`tidelock setup`); every statement may run again.

-- `winner`: rank of the node whose version stands. `target_position`: the end of this server's log when the conflict was
-- met. `outcome` becomes `resolved` when one that was open is settled; one that was decided by rule keeps its outcome, and
-- `settled_how` tells by what it was overridden. By the indexes records are settled, and found when they are old.
SET @tidelock_add = (SELECT IF(COUNT(*) = 0,
        'ALTER TABLE tidelock.conflict ADD COLUMN base_version BIGINT, ADD COLUMN base_origin SMALLINT,
         ADD COLUMN local_deleted BOOLEAN, ADD COLUMN incoming_deleted BOOLEAN, ADD COLUMN winner SMALLINT,
         ADD COLUMN target_position LONGTEXT, ADD COLUMN settled_at DATETIME(6), ADD COLUMN settled_by VARCHAR(255),
         ADD COLUMN settled_how LONGTEXT, ADD KEY conflict_id (id), ADD KEY conflict_age (sync, link, recorded_at)',
        'DO 0')
    FROM information_schema.columns
    WHERE table_schema = 'tidelock' AND table_name = 'conflict' AND column_name = 'settled_at');

PREPARE tidelock_add FROM @tidelock_add;

EXECUTE tidelock_add;

DEALLOCATE PREPARE tidelock_add;

INSERT IGNORE INTO tidelock.schema_version (version) VALUES (7);
