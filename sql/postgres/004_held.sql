-- Control schema, version 4: tables that a link holds while its other tables go on. Run by the owner's account
-- (`tidelock setup`); every statement may run again.

-- `position`: up to here the table is applied; what follows is read again when it is taken up. Written in the
-- transactions that move the link's checkpoint, and by operators: `resumed`, and past a transaction that is skipped.
CREATE TABLE IF NOT EXISTS tidelock.held_table (
    sync          varchar(64)  NOT NULL,
    link          varchar(140) NOT NULL,
    schema_name   varchar(64)  NOT NULL,
    table_name    varchar(64)  NOT NULL,
    position      text         NOT NULL,
    stop_position text,
    stop_past     text,
    stop_error    text         NOT NULL,
    stop_hint     text         NOT NULL,
    since         timestamptz  NOT NULL DEFAULT now(),
    resumed       boolean      NOT NULL DEFAULT false,
    PRIMARY KEY (sync, link, schema_name, table_name)
);

INSERT INTO tidelock.schema_version (version) VALUES (4) ON CONFLICT DO NOTHING;
