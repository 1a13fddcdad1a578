-- Control database, version 2: who runs a link, and what people want of it. Run by the owner's account
-- (`tidelock setup`); every statement may run again.

-- Who runs each link that writes into this server, until when by this server's clock. The row stays when the lease is
-- given back: only its end lies in the past then.
CREATE TABLE IF NOT EXISTS tidelock.lease (
    sync       VARCHAR(64)  NOT NULL,
    link       VARCHAR(140) NOT NULL,
    instance   VARCHAR(32)  NOT NULL,
    holder     VARCHAR(255) NOT NULL,
    process    VARCHAR(255) NOT NULL,
    taken_at   DATETIME(6)  NOT NULL,
    expires_at DATETIME(6)  NOT NULL,
    PRIMARY KEY (sync, link)
) ENGINE=InnoDB;

-- Sessions of each link on this server, so that whoever takes a link over can end them. The address tells a session
-- from a later one of the same number.
CREATE TABLE IF NOT EXISTS tidelock.session (
    id        BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    address   VARCHAR(255) NOT NULL,
    sync      VARCHAR(64)  NOT NULL,
    link      VARCHAR(140) NOT NULL,
    instance  VARCHAR(32)  NOT NULL,
    opened_at DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) ENGINE=InnoDB;

-- What people want of each link, and what it stopped at last. That is history as soon as the checkpoint has moved
-- past stop_seq.
CREATE TABLE IF NOT EXISTS tidelock.link_state (
    sync          VARCHAR(64)  NOT NULL,
    link          VARCHAR(140) NOT NULL,
    paused        BOOLEAN      NOT NULL DEFAULT FALSE,
    changed_by    VARCHAR(255) NOT NULL DEFAULT '',
    changed_at    DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    reason        VARCHAR(2000) NOT NULL DEFAULT '',
    stopped_at    DATETIME(6),
    stop_error    MEDIUMTEXT,
    stop_hint     MEDIUMTEXT,
    stop_seq      BIGINT,
    stop_position MEDIUMTEXT,
    stop_past     MEDIUMTEXT,
    stop_tables   MEDIUMTEXT,
    stop_changes  BIGINT,
    PRIMARY KEY (sync, link)
) ENGINE=InnoDB;

-- Tables that lack what skipped transactions changed, until they are copied anew.
CREATE TABLE IF NOT EXISTS tidelock.out_of_sync (
    sync        VARCHAR(64)  NOT NULL,
    link        VARCHAR(140) NOT NULL,
    schema_name VARCHAR(64)  NOT NULL,
    table_name  VARCHAR(64)  NOT NULL,
    position    MEDIUMTEXT   NOT NULL,
    since       DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (sync, link, schema_name, table_name)
) ENGINE=InnoDB;

-- What operators did.
CREATE TABLE IF NOT EXISTS tidelock.audit (
    number   BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    at       DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    operator VARCHAR(255) NOT NULL,
    action   VARCHAR(32)  NOT NULL,
    sync     VARCHAR(64)  NOT NULL,
    link     VARCHAR(140) NOT NULL,
    detail   MEDIUMTEXT   NOT NULL
) ENGINE=InnoDB;

INSERT IGNORE INTO tidelock.schema_version (version) VALUES (2);
