-- Control database, version 9: who numbers new rows. Run by the owner's account (`tidelock setup`); every statement may
-- run again.

-- One row per sync with `ids = "split"`: how it has the server's AUTO_INCREMENT count (of all its tables alike), and how
-- that counted before.
CREATE TABLE IF NOT EXISTS tidelock.numbering (
    sync         VARCHAR(64) NOT NULL,
    step         BIGINT      NOT NULL,
    class        BIGINT      NOT NULL,
    step_before  BIGINT      NOT NULL,
    class_before BIGINT      NOT NULL,
    PRIMARY KEY (sync)
) ENGINE=InnoDB;

-- Rows that users inserted on the link's source under numbers of another node, by the source's name of the table.
CREATE TABLE IF NOT EXISTS tidelock.stray_number (
    sync        VARCHAR(64)  NOT NULL,
    link        VARCHAR(140) NOT NULL,
    schema_name VARCHAR(64)  NOT NULL,
    table_name  VARCHAR(64)  NOT NULL,
    strays      BIGINT       NOT NULL,
    last_at     DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (sync, link, schema_name, table_name)
) ENGINE=InnoDB;

INSERT IGNORE INTO tidelock.schema_version (version) VALUES (9);
