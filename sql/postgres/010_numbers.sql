-- Control schema, version 10: who numbers new rows. Run by the owner's account (`tidelock setup`); every statement may
-- run again.

-- One row per sequence of a table with `ids = "split"`: what setup made it count by, and what it counted by before.
CREATE TABLE IF NOT EXISTS tidelock.numbering (
    sync        varchar(64)  NOT NULL,
    schema_name varchar(64)  NOT NULL,
    table_name  varchar(64)  NOT NULL,
    sequence    text         NOT NULL,
    step_before bigint       NOT NULL,
    PRIMARY KEY (sync, schema_name, table_name)
);

-- Rows that users inserted on the link's source under numbers of another node, by the source's name of the table.
CREATE TABLE IF NOT EXISTS tidelock.stray_number (
    sync        varchar(64)  NOT NULL,
    link        varchar(140) NOT NULL,
    schema_name varchar(64)  NOT NULL,
    table_name  varchar(64)  NOT NULL,
    strays      bigint       NOT NULL,
    last_at     timestamptz  NOT NULL DEFAULT now(),
    PRIMARY KEY (sync, link, schema_name, table_name)
);

INSERT INTO tidelock.schema_version (version) VALUES (10) ON CONFLICT DO NOTHING;
