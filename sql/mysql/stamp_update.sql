-- A change raises the version; an update that changes nothing, compared byte by byte, keeps its stamp. A moved row
-- leaves a tombstone and starts above what its new key has seen.
CREATE TRIGGER {trigger} BEFORE UPDATE ON {table} FOR EACH ROW {follows}
{mark}: BEGIN
    DECLARE tidelock_seen BIGINT;
    IF @tidelock_apply IS NULL AND NOT ({nothing_changed}) THEN
        SET NEW.tidelock_version = GREATEST(COALESCE(NEW.tidelock_version, 0), {updated}),
            NEW.tidelock_origin = {rank};
        IF NOT ({same_key}) THEN
            {if_named}INSERT INTO tidelock.{tombstones} ({key}, tidelock_version, tidelock_origin)
            VALUES ({old_key}, OLD.tidelock_version, {rank})
            ON DUPLICATE KEY UPDATE
                deleted_at = IF({is_greater}, CURRENT_TIMESTAMP(6), deleted_at),
                tidelock_generation = IF({is_greater}, NULL, tidelock_generation),
                tidelock_origin = IF({is_greater}, {rank}, tidelock_origin),
                tidelock_version = GREATEST(tidelock_version, OLD.tidelock_version);{end_if_named}
            SET tidelock_seen = GREATEST(
                COALESCE((SELECT r.tidelock_version FROM {table} r WHERE {row_has_new_key}), 0),
                COALESCE((SELECT d.tidelock_version FROM tidelock.{tombstones} d WHERE {tombstone_has_new_key}), 0),
                COALESCE((SELECT MAX(s.floor) FROM tidelock.table_state s
                           WHERE s.schema_name = {schema_name} AND s.table_name = {table_name}), 0));
            IF tidelock_seen >= NEW.tidelock_version THEN
                SET NEW.tidelock_version = {inserted};
            END IF;
        END IF;
    END IF;
END
