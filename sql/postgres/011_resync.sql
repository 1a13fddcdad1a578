-- Control schema, version 11: tables that are copied anew while their link goes on. Run by the owner's account
-- (`tidelock setup`); every statement may run again.

-- By the target's name. `state`: asked (by an operator, or by setup for a table that joins), copying (the link holds the
-- table), copied (it is held until the link has passed `settle`, where the log ended when the last row was read), failed.
-- The row goes when the table is level.
CREATE TABLE IF NOT EXISTS tidelock.resync (
    sync        varchar(64)  NOT NULL,
    link        varchar(140) NOT NULL,
    schema_name varchar(64)  NOT NULL,
    table_name  varchar(64)  NOT NULL,
    state       varchar(8)   NOT NULL DEFAULT 'asked',
    settle      text,
    failure     text,
    operator    text         NOT NULL,
    asked_at    timestamptz  NOT NULL DEFAULT now(),
    PRIMARY KEY (sync, link, schema_name, table_name)
);

INSERT INTO tidelock.schema_version (version) VALUES (11) ON CONFLICT DO NOTHING;
