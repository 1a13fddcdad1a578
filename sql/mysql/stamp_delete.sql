-- A delete leaves its row's version and this node's rank under the key; the greater tombstone stays. It runs after
-- the delete, because a row that DELETE IGNORE could not remove must have none. Assignments go from left to right,
-- so the version, which the others compare with, comes last.
CREATE TRIGGER {trigger} AFTER DELETE ON {table} FOR EACH ROW {follows}
{mark}: BEGIN
    IF @tidelock_apply IS NULL THEN
        {if_named}INSERT INTO tidelock.{tombstones} ({key}, tidelock_version, tidelock_origin)
        VALUES ({old_key}, OLD.tidelock_version, {rank})
        ON DUPLICATE KEY UPDATE
            deleted_at = IF({is_greater}, CURRENT_TIMESTAMP(6), deleted_at),
            tidelock_generation = IF({is_greater}, NULL, tidelock_generation),
            tidelock_origin = IF({is_greater}, {rank}, tidelock_origin),
            tidelock_version = GREATEST(tidelock_version, OLD.tidelock_version);{end_if_named}
    END IF;
END
