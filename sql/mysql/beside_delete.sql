-- A delete takes the row's stamp away and leaves its version and this node's rank under the key; the greater tombstone
-- stays. A row without a stamp gets the one that it counts as first: the log must tell of one for each row.
CREATE TRIGGER {trigger} AFTER DELETE ON {table} FOR EACH ROW {follows}
{mark}: BEGIN
    DECLARE tidelock_stood BIGINT;
    IF @tidelock_apply IS NULL THEN
        INSERT INTO tidelock.{stamps} ({key}, tidelock_version, tidelock_origin)
        VALUES ({old_key}, 1, 0) ON DUPLICATE KEY UPDATE tidelock_version = tidelock_version;
        SELECT s.tidelock_version INTO tidelock_stood FROM tidelock.{stamps} s WHERE {stamp_has_old_key} FOR UPDATE;
        DELETE FROM tidelock.{stamps} WHERE {has_old_key};
        INSERT INTO tidelock.{tombstones} ({key}, tidelock_version, tidelock_origin)
        VALUES ({old_key}, tidelock_stood, {rank})
        ON DUPLICATE KEY UPDATE
            deleted_at = IF({is_greater}, CURRENT_TIMESTAMP(6), deleted_at),
            tidelock_generation = IF({is_greater}, NULL, tidelock_generation),
            tidelock_origin = IF({is_greater}, {rank}, tidelock_origin),
            tidelock_version = GREATEST(tidelock_version, tidelock_stood);
    END IF;
END
