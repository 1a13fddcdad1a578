-- Control database, version 13: the last round of links that run in rounds (`mode = "snapshot"`, and `every`). Run by the
-- owner's account (`tidelock setup`); every statement may run again.

-- Of an image the row is written in the transaction that swaps it in. `position`, `source_at`: where the source stood, and its
-- time then. `tables`: an image's tables with their rows, as JSON. When the next round is due follows from `began_at` and the
-- configuration.
CREATE TABLE IF NOT EXISTS tidelock.round (
    sync      VARCHAR(64)  NOT NULL,
    link      VARCHAR(140) NOT NULL,
    began_at  DATETIME(6)  NOT NULL,
    took_ms   BIGINT       NOT NULL,
    position  MEDIUMTEXT   NOT NULL,
    source_at DATETIME(6)  NOT NULL,
    tables    MEDIUMTEXT   NOT NULL,
    PRIMARY KEY (sync, link)
) ENGINE=InnoDB;

INSERT IGNORE INTO tidelock.schema_version (version) VALUES (13);
