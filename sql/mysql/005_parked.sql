-- Control database, version 5: changes that wait. Run by the owner's account (`tidelock setup`); every statement may
-- run again.

-- One row per key of which a change could not be applied: its latest state, what it was based on and why it waits.
-- Written and taken away in the transactions that move the link's checkpoint. Cells are packed exactly (row_cells: of
-- the target's row, or with is_source of the source's). Stamps are texts: version@origin, with `deleted` behind it.
CREATE TABLE IF NOT EXISTS tidelock.parked (
    number              BIGINT       NOT NULL AUTO_INCREMENT,
    sync                VARCHAR(64)  NOT NULL,
    link                VARCHAR(140) NOT NULL,
    schema_name         VARCHAR(64)  NOT NULL,
    table_name          VARCHAR(64)  NOT NULL,
    key_hash            VARCHAR(32)  NOT NULL,
    key_json            LONGTEXT     NOT NULL,
    key_cells           LONGBLOB     NOT NULL,
    operation           VARCHAR(8)   NOT NULL,
    is_source           BOOLEAN      NOT NULL,
    row_cells           LONGBLOB     NOT NULL,
    base_stamp          VARCHAR(64),
    stamp               VARCHAR(64),
    local_stamp         VARCHAR(64),
    kind                VARCHAR(32)  NOT NULL,
    reason              LONGTEXT     NOT NULL,
    conflict            VARCHAR(32),
    waits_for           LONGTEXT,
    source_position     LONGTEXT     NOT NULL,
    source_committed_us BIGINT       NOT NULL,
    parked_at           DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    changed_at          DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (sync, link, schema_name, table_name, key_hash),
    KEY parked_number (number)
) ENGINE=InnoDB;

-- Rows that arrived below what stands here, and may stand so on the node that wrote them: when that node has applied
-- this log up to `position` and its row still stands, it is touched there.
CREATE TABLE IF NOT EXISTS tidelock.missed_bump (
    sync        VARCHAR(64)  NOT NULL,
    link        VARCHAR(140) NOT NULL,
    schema_name VARCHAR(64)  NOT NULL,
    table_name  VARCHAR(64)  NOT NULL,
    key_hash    VARCHAR(32)  NOT NULL,
    key_cells   LONGBLOB     NOT NULL,
    standing    VARCHAR(64)  NOT NULL,
    stamp       VARCHAR(64)  NOT NULL,
    position    MEDIUMTEXT,
    noted_at    DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (sync, link, schema_name, table_name, key_hash)
) ENGINE=InnoDB;

INSERT IGNORE INTO tidelock.schema_version (version) VALUES (5);
