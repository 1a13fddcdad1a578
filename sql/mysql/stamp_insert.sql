-- A new row starts above what its key has seen: its row, its tombstone and the table's floor. It reads without locks:
-- what a race lets through is noticed by whoever applies it. An AUTO_INCREMENT key is still 0 here, so its row starts
-- above all tombstones: counters begin anew with TRUNCATE, ALTER TABLE and old servers' restarts.
CREATE TRIGGER {trigger} BEFORE INSERT ON {table} FOR EACH ROW {follows}
{mark}: BEGIN
    DECLARE tidelock_seen BIGINT;
    IF @tidelock_apply IS NULL THEN
        SET tidelock_seen = GREATEST(
                COALESCE((SELECT r.tidelock_version FROM {table} r WHERE {row_has_new_key}), 0),
                COALESCE(IF({key_is_to_come}, (SELECT MAX(d.tidelock_version) FROM tidelock.{tombstones} d),
                    (SELECT d.tidelock_version FROM tidelock.{tombstones} d WHERE {tombstone_has_new_key})), 0),
                COALESCE((SELECT MAX(s.floor) FROM tidelock.table_state s
                           WHERE s.schema_name = {schema_name} AND s.table_name = {table_name}), 0)),
            NEW.tidelock_version = GREATEST(COALESCE(NEW.tidelock_version, 0), {inserted}),
            NEW.tidelock_origin = {rank};
    END IF;
END
