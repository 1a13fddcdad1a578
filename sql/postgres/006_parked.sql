-- Control schema, version 6: changes that wait. Run by the owner's account (`tidelock setup`); every statement may run
-- again.

-- One row per key of which a change could not be applied: its latest state, what it was based on and why it waits.
-- Written and taken away in the transactions that move the link's checkpoint. Cells are packed exactly (row_cells: of
-- the target's row, or with is_source of the source's). Stamps are texts: version@origin, with `deleted` behind it.
CREATE TABLE IF NOT EXISTS tidelock.parked (
    number              bigint GENERATED ALWAYS AS IDENTITY,
    sync                varchar(64)  NOT NULL,
    link                varchar(140) NOT NULL,
    schema_name         varchar(64)  NOT NULL,
    table_name          varchar(64)  NOT NULL,
    key_hash            varchar(32)  NOT NULL,
    key_json            text         NOT NULL,
    key_cells           bytea        NOT NULL,
    operation           varchar(8)   NOT NULL,
    is_source           boolean      NOT NULL,
    row_cells           bytea        NOT NULL,
    base_stamp          varchar(64),
    stamp               varchar(64),
    local_stamp         varchar(64),
    kind                varchar(32)  NOT NULL,
    reason              text         NOT NULL,
    conflict            varchar(32),
    waits_for           text,
    source_position     text         NOT NULL,
    source_committed_us bigint       NOT NULL,
    parked_at           timestamptz  NOT NULL DEFAULT now(),
    changed_at          timestamptz  NOT NULL DEFAULT now(),
    PRIMARY KEY (sync, link, schema_name, table_name, key_hash)
);

-- Rows that arrived below what stands here, and may stand so on the node that wrote them: when that node has applied
-- this log up to `position` and its row still stands, it is touched there.
CREATE TABLE IF NOT EXISTS tidelock.missed_bump (
    sync        varchar(64)  NOT NULL,
    link        varchar(140) NOT NULL,
    schema_name varchar(64)  NOT NULL,
    table_name  varchar(64)  NOT NULL,
    key_hash    varchar(32)  NOT NULL,
    key_cells   bytea        NOT NULL,
    standing    varchar(64)  NOT NULL,
    stamp       varchar(64)  NOT NULL,
    position    text,
    noted_at    timestamptz  NOT NULL DEFAULT now(),
    PRIMARY KEY (sync, link, schema_name, table_name, key_hash)
);

INSERT INTO tidelock.schema_version (version) VALUES (6) ON CONFLICT DO NOTHING;
