-- A change raises the version; an update that changes nothing, compared byte by byte, keeps its stamp. Generated
-- columns are not computed yet. A moved row leaves a tombstone and starts above what its new key has seen.
CREATE OR REPLACE FUNCTION tidelock.{function}() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {quote}
-- {mark}
#variable_conflict use_column
DECLARE
    before record;
    seen bigint;
BEGIN
    before := OLD;{blank_generated}
    IF NEW *= before THEN
        RETURN NEW;
    END IF;
    NEW.tidelock_version := greatest(NEW.tidelock_version, {updated});
    NEW.tidelock_origin := {rank};
    IF ROW({new_key})::record *<> ROW({old_key})::record THEN
        {if_named}INSERT INTO tidelock.{tombstones} AS d ({key}, tidelock_version, tidelock_origin)
        VALUES ({old_key}, OLD.tidelock_version, {rank})
        ON CONFLICT ({key}) DO UPDATE
           SET tidelock_version = excluded.tidelock_version, tidelock_origin = excluded.tidelock_origin,
               deleted_at = excluded.deleted_at, tidelock_generation = NULL
         WHERE (d.tidelock_version, d.tidelock_origin) < (excluded.tidelock_version, excluded.tidelock_origin);{end_if_named}
        seen := greatest(
            0,
            (SELECT r.tidelock_version FROM {table} r WHERE {row_has_new_key}),
            (SELECT d.tidelock_version FROM tidelock.{tombstones} d WHERE {tombstone_has_new_key}),
            (SELECT max(s.floor) FROM tidelock.table_state s
              WHERE s.schema_name = {schema_name} AND s.table_name = {table_name}));
        IF seen >= NEW.tidelock_version THEN
            NEW.tidelock_version := {inserted};
        END IF;
    END IF;
    RETURN NEW;
END
{quote}
