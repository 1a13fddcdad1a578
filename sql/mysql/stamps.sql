-- Stamps of the rows of {table}, which may not be altered: the key as the table has it. A row without one has (1, 0).
-- `tidelock_touched`: how often a row was stamped anew although nothing else of it needed to change.
CREATE TABLE IF NOT EXISTS tidelock.{stamps} (
    {key_definitions},
    tidelock_version BIGINT   NOT NULL,
    tidelock_origin  SMALLINT NOT NULL,
    tidelock_touched BIGINT   NOT NULL DEFAULT 0,
    PRIMARY KEY ({key})
) ENGINE=InnoDB
