-- Control schema, version 9: how far the first copy of a link is. Run by the owner's account (`tidelock setup`); every
-- statement may run again.

-- One row per chunk of a table of the source (by the source's name), written before the first is copied. Rows of the
-- chunk have keys above `low_key` up to and with `high_key` (JSON lists of texts, one per column of the key; NULL: no
-- bound). `state` becomes `done` in the transaction that writes its rows; `epoch` is the copy's that did.
CREATE TABLE IF NOT EXISTS tidelock.chunk (
    sync            varchar(64)  NOT NULL,
    link            varchar(140) NOT NULL,
    schema_name     varchar(64)  NOT NULL,
    table_name      varchar(64)  NOT NULL,
    number          bigint       NOT NULL,
    low_key         text,
    high_key        text,
    state           varchar(8)   NOT NULL DEFAULT 'open',
    estimated_rows  bigint,
    estimated_bytes bigint       NOT NULL DEFAULT 0,
    copied_rows     bigint       NOT NULL DEFAULT 0,
    copied_bytes    bigint       NOT NULL DEFAULT 0,
    epoch           bigint       NOT NULL DEFAULT 0,
    done_at         timestamptz,
    PRIMARY KEY (sync, link, schema_name, table_name, number)
);

INSERT INTO tidelock.schema_version (version) VALUES (9) ON CONFLICT DO NOTHING;
