-- A new row starts above what its key has seen: its stamp, its tombstone and the table's floor. It runs after the
-- insert, because a row that INSERT IGNORE leaves out must have no stamp. It reads without locks: what a race lets
-- through is noticed by whoever applies it. @tidelock_version: the version that a person's decision needs at the least.
CREATE TRIGGER {trigger} AFTER INSERT ON {table} FOR EACH ROW {follows}
{mark}: BEGIN
    DECLARE tidelock_seen BIGINT;
    IF @tidelock_apply IS NULL THEN
        SET tidelock_seen = GREATEST(
                COALESCE((SELECT s.tidelock_version FROM tidelock.{stamps} s WHERE {stamp_has_new_key}), 0),
                COALESCE((SELECT d.tidelock_version FROM tidelock.{tombstones} d WHERE {tombstone_has_new_key}), 0),
                COALESCE((SELECT MAX(f.floor) FROM tidelock.table_state f
                           WHERE f.schema_name = {schema_name} AND f.table_name = {table_name}), 0));
        INSERT INTO tidelock.{stamps} ({key}, tidelock_version, tidelock_origin)
        VALUES ({new_key}, GREATEST(COALESCE(@tidelock_version, 0), {inserted}), {rank})
        ON DUPLICATE KEY UPDATE {key_anew},
            tidelock_version = GREATEST(VALUES(tidelock_version), tidelock_version + 1),
            tidelock_origin = {rank};
    END IF;
END
