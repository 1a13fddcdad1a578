-- A change raises the version; an update that changes nothing, compared byte by byte, keeps its stamp, unless a person's
-- decision asks for one. A moved row leaves a tombstone and starts above what its new key has seen.
CREATE OR REPLACE FUNCTION tidelock.{function}() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {quote}
-- {mark}
#variable_conflict use_column
DECLARE
    asked bigint := coalesce(nullif(current_setting('tidelock.version', true), '')::bigint, 0);
    stood bigint;
    seen bigint;
    given bigint;
BEGIN
    IF NEW *= OLD AND asked = 0 THEN
        RETURN NULL;
    END IF;
    IF ROW({new_key})::record *= ROW({old_key})::record THEN
        stood := coalesce((SELECT s.tidelock_version FROM tidelock.{stamps} s WHERE {stamp_has_new_key}), 1);
        INSERT INTO tidelock.{stamps} AS s ({key}, tidelock_version, tidelock_origin)
        VALUES ({new_key}, greatest(asked, {updated}), {rank})
        ON CONFLICT ({key}) DO UPDATE
           SET tidelock_version = greatest(excluded.tidelock_version, s.tidelock_version + 1),
               tidelock_origin = excluded.tidelock_origin,
               tidelock_touched = s.tidelock_touched + (NEW *= OLD)::int;
        RETURN NULL;
    END IF;
    INSERT INTO tidelock.{stamps} ({key}, tidelock_version, tidelock_origin)
    VALUES ({old_key}, 1, 0) ON CONFLICT DO NOTHING;
    DELETE FROM tidelock.{stamps} s WHERE {stamp_has_old_key} RETURNING s.tidelock_version INTO stood;
    INSERT INTO tidelock.{tombstones} AS d ({key}, tidelock_version, tidelock_origin)
    VALUES ({old_key}, stood, {rank})
    ON CONFLICT ({key}) DO UPDATE
       SET tidelock_version = excluded.tidelock_version, tidelock_origin = excluded.tidelock_origin,
           deleted_at = excluded.deleted_at, tidelock_generation = NULL
     WHERE (d.tidelock_version, d.tidelock_origin) < (excluded.tidelock_version, excluded.tidelock_origin);
    given := greatest(asked, {updated});
    seen := greatest(
        0,
        (SELECT s.tidelock_version FROM tidelock.{stamps} s WHERE {stamp_has_new_key}),
        (SELECT d.tidelock_version FROM tidelock.{tombstones} d WHERE {tombstone_has_new_key}),
        (SELECT max(f.floor) FROM tidelock.table_state f
          WHERE f.schema_name = {schema_name} AND f.table_name = {table_name}));
    IF seen >= given THEN
        given := {inserted};
    END IF;
    INSERT INTO tidelock.{stamps} AS s ({key}, tidelock_version, tidelock_origin)
    VALUES ({new_key}, given, {rank})
    ON CONFLICT ({key}) DO UPDATE
       SET tidelock_version = greatest(excluded.tidelock_version, s.tidelock_version + 1),
           tidelock_origin = excluded.tidelock_origin;
    RETURN NULL;
END
{quote}
