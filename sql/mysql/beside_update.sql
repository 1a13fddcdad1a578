-- A change raises the version; an update that changes nothing, compared as the server does that logs it, keeps its
-- stamp. A moved row leaves a tombstone and starts above what its new key has seen. What a stamp was is read where it is
-- written, or under its lock: a transaction's snapshot may be older.
CREATE TRIGGER {trigger} AFTER UPDATE ON {table} FOR EACH ROW {follows}
{mark}: BEGIN
    DECLARE tidelock_stood, tidelock_seen, tidelock_given BIGINT;
    IF @tidelock_apply IS NULL AND NOT ({nothing_changed}) THEN
        IF {same_key} THEN
            INSERT INTO tidelock.{stamps} ({key}, tidelock_version, tidelock_origin)
            VALUES ({new_key}, GREATEST(COALESCE(@tidelock_version, 0), {updated_unwritten}), {rank})
            ON DUPLICATE KEY UPDATE
                tidelock_version = GREATEST(COALESCE(@tidelock_version, 0), tidelock_version + 1, {updated_standing}),
                tidelock_origin = {rank};
        ELSE
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
            SET tidelock_given = GREATEST(COALESCE(@tidelock_version, 0), {updated}),
                tidelock_seen = GREATEST(
                    COALESCE((SELECT s.tidelock_version FROM tidelock.{stamps} s WHERE {stamp_has_new_key}), 0),
                    COALESCE((SELECT d.tidelock_version FROM tidelock.{tombstones} d WHERE {tombstone_has_new_key}), 0),
                    COALESCE((SELECT MAX(f.floor) FROM tidelock.table_state f
                               WHERE f.schema_name = {schema_name} AND f.table_name = {table_name}), 0));
            IF tidelock_seen >= tidelock_given THEN
                SET tidelock_given = {inserted};
            END IF;
            INSERT INTO tidelock.{stamps} ({key}, tidelock_version, tidelock_origin)
            VALUES ({new_key}, tidelock_given, {rank})
            ON DUPLICATE KEY UPDATE {key_anew},
                tidelock_version = GREATEST(VALUES(tidelock_version), tidelock_version + 1),
                tidelock_origin = {rank};
        END IF;
    END IF;
END
