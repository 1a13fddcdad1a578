-- Control schema, version 1. Run by the owner's account (`tidelock setup`); every statement may run again.
CREATE SCHEMA IF NOT EXISTS tidelock;

CREATE TABLE IF NOT EXISTS tidelock.schema_version (
    version    integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- Who takes part in each sync. The row with is_self is this database; its identity is what the server said of
-- itself when it was set up.
CREATE TABLE IF NOT EXISTS tidelock.node (
    sync        varchar(64)  NOT NULL,
    rank        smallint     NOT NULL,
    name        varchar(64)  NOT NULL,
    is_self     boolean      NOT NULL,
    identity    varchar(128) NOT NULL,
    config_hash varchar(64)  NOT NULL,
    PRIMARY KEY (sync, rank)
);

-- Where each link that writes into this database stands in its source's log. Moved by the first statement of
-- every apply transaction; seq counts per link, epoch fences whoever held the link before.
CREATE TABLE IF NOT EXISTS tidelock.checkpoint (
    sync            varchar(64)  NOT NULL,
    link            varchar(140) NOT NULL,
    lane            smallint     NOT NULL,
    epoch           bigint       NOT NULL,
    seq             bigint       NOT NULL,
    position        text         NOT NULL,
    settle          text,
    origin          smallint     NOT NULL,
    hop             smallint     NOT NULL,
    segment         smallint     NOT NULL,
    segment_number  integer      NOT NULL,
    config_hash     varchar(64)  NOT NULL,
    source_identity varchar(128) NOT NULL,
    moved_at        timestamptz  NOT NULL DEFAULT now(),
    PRIMARY KEY (sync, link, lane)
);

-- One row per synced table: where its tombstones are, and the version above which inserts start (raised when
-- tombstones are collected).
CREATE TABLE IF NOT EXISTS tidelock.table_state (
    schema_name varchar(64)  NOT NULL,
    table_name  varchar(64)  NOT NULL,
    sync        varchar(64)  NOT NULL,
    tombstones  varchar(64),
    floor       bigint       NOT NULL DEFAULT 0,
    fingerprint varchar(64)  NOT NULL,
    PRIMARY KEY (schema_name, table_name, sync)
);

-- Every conflict, decided or not, written in the transaction that met it.
CREATE TABLE IF NOT EXISTS tidelock.conflict (
    number              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id                  varchar(32)  NOT NULL,
    sync                varchar(64)  NOT NULL,
    link                varchar(140) NOT NULL,
    schema_name         varchar(64)  NOT NULL,
    table_name          varchar(64)  NOT NULL,
    key_json            text         NOT NULL,
    kind                varchar(32)  NOT NULL,
    operation           varchar(8)   NOT NULL,
    rule                varchar(32)  NOT NULL,
    outcome             varchar(8)   NOT NULL,
    detail              text         NOT NULL,
    base_json           text,
    local_json          text,
    incoming_json       text,
    local_version       bigint,
    local_origin        smallint,
    incoming_version    bigint,
    incoming_origin     smallint,
    source_position     text         NOT NULL,
    source_committed_at timestamptz  NOT NULL,
    recorded_at         timestamptz  NOT NULL DEFAULT now(),
    UNIQUE (sync, link, id, schema_name, table_name)
);
-- Counting a link's conflicts must not read them.
CREATE INDEX IF NOT EXISTS conflict_state ON tidelock.conflict (sync, link, outcome);

INSERT INTO tidelock.schema_version (version) VALUES (1) ON CONFLICT DO NOTHING;
