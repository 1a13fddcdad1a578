-- A new row starts above what its key has seen: its stamp, its tombstone and the table's floor. It runs after the
-- insert, because a row that ON CONFLICT DO NOTHING leaves out must have no stamp. It reads without locks: what a race
-- lets through is noticed by whoever applies it. `asked`: the version that a person's decision needs at the least.
CREATE OR REPLACE FUNCTION tidelock.{function}() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {quote}
-- {mark}
#variable_conflict use_column
DECLARE
    asked bigint := coalesce(nullif(current_setting('tidelock.version', true), '')::bigint, 0);
    seen bigint := greatest(
        0,
        (SELECT s.tidelock_version FROM tidelock.{stamps} s WHERE {stamp_has_new_key}),
        (SELECT d.tidelock_version FROM tidelock.{tombstones} d WHERE {tombstone_has_new_key}),
        (SELECT max(f.floor) FROM tidelock.table_state f
          WHERE f.schema_name = {schema_name} AND f.table_name = {table_name}));
BEGIN
    INSERT INTO tidelock.{stamps} AS s ({key}, tidelock_version, tidelock_origin)
    VALUES ({new_key}, greatest(asked, {inserted}), {rank})
    ON CONFLICT ({key}) DO UPDATE
       SET tidelock_version = greatest(excluded.tidelock_version, s.tidelock_version + 1),
           tidelock_origin = excluded.tidelock_origin;
    RETURN NULL;
END
{quote}
