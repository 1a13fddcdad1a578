-- Control database, version 1. Run by the owner's account (`tidelock setup`); every statement may run again.
CREATE DATABASE IF NOT EXISTS tidelock CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS tidelock.schema_version (
    version    INT         NOT NULL PRIMARY KEY,
    applied_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) ENGINE=InnoDB;

-- Who takes part in each sync. The row with is_self is this server; its identity is what the server said of
-- itself when it was set up (MariaDB has no uuid of its own: there it is the id given below).
CREATE TABLE IF NOT EXISTS tidelock.node (
    sync        VARCHAR(64)  NOT NULL,
    `rank`      SMALLINT     NOT NULL,
    name        VARCHAR(64)  NOT NULL,
    is_self     BOOLEAN      NOT NULL,
    identity    VARCHAR(128) NOT NULL,
    config_hash VARCHAR(64)  NOT NULL,
    PRIMARY KEY (sync, `rank`)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS tidelock.server_id (
    only_row TINYINT     NOT NULL PRIMARY KEY,
    identity VARCHAR(64) NOT NULL
) ENGINE=InnoDB;

-- Where each link that writes into this server stands in its source's log. Moved by the first statement of every
-- apply transaction; that row event is also the marker that a reader of this binlog goes by.
CREATE TABLE IF NOT EXISTS tidelock.checkpoint (
    sync            VARCHAR(64)  NOT NULL,
    link            VARCHAR(140) NOT NULL,
    lane            SMALLINT     NOT NULL,
    epoch           BIGINT       NOT NULL,
    seq             BIGINT       NOT NULL,
    position        MEDIUMTEXT   NOT NULL,
    settle          MEDIUMTEXT,
    origin          SMALLINT     NOT NULL,
    hop             SMALLINT     NOT NULL,
    segment         SMALLINT     NOT NULL,
    segment_number  INT          NOT NULL,
    config_hash     VARCHAR(64)  NOT NULL,
    source_identity VARCHAR(128) NOT NULL,
    moved_at        DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (sync, link, lane)
) ENGINE=InnoDB;

-- One row per synced table: where its tombstones are, and the version above which inserts start (raised when
-- tombstones are collected).
CREATE TABLE IF NOT EXISTS tidelock.table_state (
    schema_name VARCHAR(64) NOT NULL,
    table_name  VARCHAR(64) NOT NULL,
    sync        VARCHAR(64) NOT NULL,
    tombstones  VARCHAR(64),
    floor       BIGINT      NOT NULL DEFAULT 0,
    fingerprint VARCHAR(64) NOT NULL,
    PRIMARY KEY (schema_name, table_name, sync)
) ENGINE=InnoDB;

-- Every conflict, decided or not, written in the transaction that met it.
CREATE TABLE IF NOT EXISTS tidelock.conflict (
    number              BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id                  VARCHAR(32)  NOT NULL,
    sync                VARCHAR(64)  NOT NULL,
    link                VARCHAR(140) NOT NULL,
    schema_name         VARCHAR(64)  NOT NULL,
    table_name          VARCHAR(64)  NOT NULL,
    key_json            LONGTEXT     NOT NULL,
    kind                VARCHAR(32)  NOT NULL,
    operation           VARCHAR(8)   NOT NULL,
    rule                VARCHAR(32)  NOT NULL,
    outcome             VARCHAR(8)   NOT NULL,
    detail              LONGTEXT     NOT NULL,
    base_json           LONGTEXT,
    local_json          LONGTEXT,
    incoming_json       LONGTEXT,
    local_version       BIGINT,
    local_origin        SMALLINT,
    incoming_version    BIGINT,
    incoming_origin     SMALLINT,
    source_position     LONGTEXT     NOT NULL,
    source_committed_at DATETIME(6)  NOT NULL,
    recorded_at         DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UNIQUE KEY conflict_once (sync, link, id, schema_name, table_name),
    -- Counting a link's conflicts must not read them.
    KEY conflict_state (sync, link, outcome)
) ENGINE=InnoDB;

INSERT IGNORE INTO tidelock.schema_version (version) VALUES (1);
