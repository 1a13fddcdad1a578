-- Control database, version 10: tables that are copied anew while their link goes on. Run by the owner's account
-- (`tidelock setup`); every statement may run again.

-- By the target's name. `state`: asked (by an operator, or by setup for a table that joins), copying (the link holds the
-- table), copied (it is held until the link has passed `settle`, where the log ended when the last row was read), failed.
-- The row goes when the table is level.
CREATE TABLE IF NOT EXISTS tidelock.resync (
    sync        VARCHAR(64)  NOT NULL,
    link        VARCHAR(140) NOT NULL,
    schema_name VARCHAR(64)  NOT NULL,
    table_name  VARCHAR(64)  NOT NULL,
    state       VARCHAR(8)   NOT NULL DEFAULT 'asked',
    settle      MEDIUMTEXT,
    failure     MEDIUMTEXT,
    operator    TEXT         NOT NULL,
    asked_at    DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (sync, link, schema_name, table_name)
) ENGINE=InnoDB;

INSERT IGNORE INTO tidelock.schema_version (version) VALUES (10);
