-- Control schema, version 7: tombstones that wait to be dropped. Run by the owner's account (`tidelock setup`); every
-- statement may run again.

-- One row per sync: the generation that was marked last, and, while it waits, how far which logs have to be applied
-- before it goes. Whoever begins a generation raises the number, so that two copies never go on with one.
CREATE TABLE IF NOT EXISTS tidelock.collection (
    sync       varchar(64) PRIMARY KEY,
    generation bigint      NOT NULL,
    state      text,
    waits_for  text        NOT NULL DEFAULT '',
    marked_at  timestamptz NOT NULL DEFAULT now()
);

INSERT INTO tidelock.schema_version (version) VALUES (7) ON CONFLICT DO NOTHING;
