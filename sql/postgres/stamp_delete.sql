-- A delete leaves its row's version and this node's rank under the key; the greater tombstone stays. It runs before
-- the delete, so that a statement which deletes a row and inserts it again finds the tombstone.
CREATE OR REPLACE FUNCTION tidelock.{function}() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {quote}
-- {mark}
#variable_conflict use_column
BEGIN
    {if_named}INSERT INTO tidelock.{tombstones} AS d ({key}, tidelock_version, tidelock_origin)
    VALUES ({old_key}, OLD.tidelock_version, {rank})
    ON CONFLICT ({key}) DO UPDATE
       SET tidelock_version = excluded.tidelock_version, tidelock_origin = excluded.tidelock_origin,
           deleted_at = excluded.deleted_at, tidelock_generation = NULL
     WHERE (d.tidelock_version, d.tidelock_origin) < (excluded.tidelock_version, excluded.tidelock_origin);{end_if_named}
    RETURN OLD;
END
{quote}
