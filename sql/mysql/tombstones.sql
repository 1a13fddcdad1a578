-- Stamps of deleted rows of {table}: the key as the table has it. `tidelock_generation`: marked to be dropped.
CREATE TABLE IF NOT EXISTS tidelock.{tombstones} (
    {key_definitions},
    tidelock_version BIGINT      NOT NULL,
    tidelock_origin  SMALLINT    NOT NULL,
    deleted_at       DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    tidelock_generation BIGINT,
    PRIMARY KEY ({key}),
    KEY tidelock_version (tidelock_version),
    KEY tidelock_generation (tidelock_generation)
) ENGINE=InnoDB
