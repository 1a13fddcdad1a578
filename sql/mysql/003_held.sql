-- Control database, version 3: tables that a link holds while its other tables go on. Run by the owner's account
-- (`tidelock setup`); every statement may run again.

-- `position`: up to here the table is applied; what follows is read again when it is taken up. Written in the
-- transactions that move the link's checkpoint, and by operators: `resumed`, and past a transaction that is skipped.
CREATE TABLE IF NOT EXISTS tidelock.held_table (
    sync          VARCHAR(64)  NOT NULL,
    link          VARCHAR(140) NOT NULL,
    schema_name   VARCHAR(64)  NOT NULL,
    table_name    VARCHAR(64)  NOT NULL,
    position      MEDIUMTEXT   NOT NULL,
    stop_position MEDIUMTEXT,
    stop_past     MEDIUMTEXT,
    stop_error    MEDIUMTEXT   NOT NULL,
    stop_hint     MEDIUMTEXT   NOT NULL,
    since         DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    resumed       BOOLEAN      NOT NULL DEFAULT FALSE,
    PRIMARY KEY (sync, link, schema_name, table_name)
) ENGINE=InnoDB;

INSERT IGNORE INTO tidelock.schema_version (version) VALUES (3);
