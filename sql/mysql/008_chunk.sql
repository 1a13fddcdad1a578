-- Control database, version 8: how far the first copy of a link is. Run by the owner's account (`tidelock setup`);
-- every statement may run again.

-- One row per chunk of a table of the source (by the source's name), written before the first is copied. Rows of the
-- chunk have keys above `low_key` up to and with `high_key` (JSON lists of texts, one per column of the key; NULL: no
-- bound). `state` becomes `done` in the transaction that writes its rows; `epoch` is the copy's that did.
CREATE TABLE IF NOT EXISTS tidelock.chunk (
    sync            VARCHAR(64)  NOT NULL,
    link            VARCHAR(140) NOT NULL,
    schema_name     VARCHAR(64)  NOT NULL,
    table_name      VARCHAR(64)  NOT NULL,
    number          BIGINT       NOT NULL,
    low_key         LONGTEXT,
    high_key        LONGTEXT,
    state           VARCHAR(8)   NOT NULL DEFAULT 'open',
    estimated_rows  BIGINT,
    estimated_bytes BIGINT       NOT NULL DEFAULT 0,
    copied_rows     BIGINT       NOT NULL DEFAULT 0,
    copied_bytes    BIGINT       NOT NULL DEFAULT 0,
    epoch           BIGINT       NOT NULL DEFAULT 0,
    done_at         DATETIME(6),
    PRIMARY KEY (sync, link, schema_name, table_name, number)
) ENGINE=InnoDB;

INSERT IGNORE INTO tidelock.schema_version (version) VALUES (8);
