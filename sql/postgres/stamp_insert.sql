-- A new row starts above what its key has seen: its row, its tombstone and the table's floor. It reads without locks:
-- what a race lets through is noticed by whoever applies it.
CREATE OR REPLACE FUNCTION tidelock.{function}() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {quote}
-- {mark}
DECLARE
    seen bigint := greatest(
        0,
        (SELECT r.tidelock_version FROM {table} r WHERE {row_has_new_key}),
        (SELECT d.tidelock_version FROM tidelock.{tombstones} d WHERE {tombstone_has_new_key}),
        (SELECT max(s.floor) FROM tidelock.table_state s
          WHERE s.schema_name = {schema_name} AND s.table_name = {table_name}));
BEGIN
    NEW.tidelock_version := greatest(NEW.tidelock_version, {inserted});
    NEW.tidelock_origin := {rank};
    RETURN NEW;
END
{quote}
