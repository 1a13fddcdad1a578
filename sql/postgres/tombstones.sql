-- Stamps of deleted rows of {table}: the key as the table has it. `tidelock_generation`: marked to be dropped.
CREATE TABLE IF NOT EXISTS tidelock.{tombstones} (
    {key_definitions},
    tidelock_version bigint      NOT NULL,
    tidelock_origin  smallint    NOT NULL,
    deleted_at       timestamptz NOT NULL DEFAULT now(),
    tidelock_generation bigint,
    PRIMARY KEY ({key})
)
