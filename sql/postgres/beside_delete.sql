-- A delete takes the row's stamp away and leaves its version and this node's rank under the key; the greater tombstone
-- stays. A row without a stamp gets the one that it counts as first: the log must tell of one for each row.
CREATE OR REPLACE FUNCTION tidelock.{function}() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {quote}
-- {mark}
#variable_conflict use_column
DECLARE
    stood bigint;
BEGIN
    INSERT INTO tidelock.{stamps} ({key}, tidelock_version, tidelock_origin)
    VALUES ({old_key}, 1, 0) ON CONFLICT DO NOTHING;
    DELETE FROM tidelock.{stamps} s WHERE {stamp_has_old_key} RETURNING s.tidelock_version INTO stood;
    INSERT INTO tidelock.{tombstones} AS d ({key}, tidelock_version, tidelock_origin)
    VALUES ({old_key}, stood, {rank})
    ON CONFLICT ({key}) DO UPDATE
       SET tidelock_version = excluded.tidelock_version, tidelock_origin = excluded.tidelock_origin,
           deleted_at = excluded.deleted_at, tidelock_generation = NULL
     WHERE (d.tidelock_version, d.tidelock_origin) < (excluded.tidelock_version, excluded.tidelock_origin);
    RETURN NULL;
END
{quote}
