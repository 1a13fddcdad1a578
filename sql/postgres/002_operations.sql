-- Control schema, version 2: who runs a link, and what people want of it. Run by the owner's account
-- (`tidelock setup`); every statement may run again.

-- Who runs each link that writes into this database, until when by this server's clock. The row stays when the lease
-- is given back: only its end lies in the past then.
CREATE TABLE IF NOT EXISTS tidelock.lease (
    sync       varchar(64)  NOT NULL,
    link       varchar(140) NOT NULL,
    instance   varchar(32)  NOT NULL,
    holder     varchar(255) NOT NULL,
    process    varchar(255) NOT NULL,
    taken_at   timestamptz  NOT NULL,
    expires_at timestamptz  NOT NULL,
    PRIMARY KEY (sync, link)
);

-- What people want of each link, and what it stopped at last. That is history as soon as the checkpoint has moved
-- past stop_seq.
CREATE TABLE IF NOT EXISTS tidelock.link_state (
    sync          varchar(64)  NOT NULL,
    link          varchar(140) NOT NULL,
    paused        boolean      NOT NULL DEFAULT false,
    changed_by    varchar(255) NOT NULL DEFAULT '',
    changed_at    timestamptz  NOT NULL DEFAULT now(),
    reason        text         NOT NULL DEFAULT '',
    stopped_at    timestamptz,
    stop_error    text,
    stop_hint     text,
    stop_seq      bigint,
    stop_position text,
    stop_past     text,
    stop_tables   text,
    stop_changes  bigint,
    PRIMARY KEY (sync, link)
);

-- Tables that lack what skipped transactions changed, until they are copied anew.
CREATE TABLE IF NOT EXISTS tidelock.out_of_sync (
    sync        varchar(64)  NOT NULL,
    link        varchar(140) NOT NULL,
    schema_name varchar(64)  NOT NULL,
    table_name  varchar(64)  NOT NULL,
    position    text         NOT NULL,
    since       timestamptz  NOT NULL DEFAULT now(),
    PRIMARY KEY (sync, link, schema_name, table_name)
);

-- What operators did.
CREATE TABLE IF NOT EXISTS tidelock.audit (
    number   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz  NOT NULL DEFAULT now(),
    operator varchar(255) NOT NULL,
    action   varchar(32)  NOT NULL,
    sync     varchar(64)  NOT NULL,
    link     varchar(140) NOT NULL,
    detail   text         NOT NULL
);

INSERT INTO tidelock.schema_version (version) VALUES (2) ON CONFLICT DO NOTHING;
