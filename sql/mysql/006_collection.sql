-- Control database, version 6: tombstones that wait to be dropped. Run by the owner's account (`tidelock setup`);
-- every statement may run again.

-- One row per sync: the generation that was marked last, and, while it waits, how far which logs have to be applied
-- before it goes. Whoever begins a generation raises the number, so that two copies never go on with one.
CREATE TABLE IF NOT EXISTS tidelock.collection (
    sync       VARCHAR(64) NOT NULL PRIMARY KEY,
    generation BIGINT      NOT NULL,
    state      MEDIUMTEXT,
    waits_for  MEDIUMTEXT  NOT NULL,
    marked_at  DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) ENGINE=InnoDB;

INSERT IGNORE INTO tidelock.schema_version (version) VALUES (6);
