-- Control schema, version 3: what the log does not tell. Run by the owner's account (`tidelock setup`); every statement
-- may run again.

-- The source's tables as they were when a running link last looked: each table's own row (parent = 0) with what
-- publishes it, and one for each of its partitions. To accept what changed since: delete the rows of the table.
CREATE TABLE IF NOT EXISTS tidelock.published (
    sync        varchar(64) NOT NULL,
    schema_name varchar(64) NOT NULL,
    table_name  varchar(64) NOT NULL,
    member      oid         NOT NULL,
    parent      oid         NOT NULL,
    member_name text        NOT NULL,
    entry       text        NOT NULL,
    filenode    oid         NOT NULL,
    filled      boolean     NOT NULL,
    horizon     bigint      NOT NULL,
    bound       text        NOT NULL,
    PRIMARY KEY (sync, schema_name, table_name, member)
);

INSERT INTO tidelock.schema_version (version) VALUES (3) ON CONFLICT DO NOTHING;
