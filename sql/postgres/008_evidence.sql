-- Control schema, version 8: a conflict's record tells who won, where this database stood, and how it was settled
-- later. Run by the owner's account (`tidelock setup`); every statement may run again.

-- `winner`: rank of the node whose version stands. `target_position`: the end of this database's log when the conflict
-- was met. `outcome` becomes `resolved` when one that was open is settled; one that was decided by rule keeps its outcome,
-- and `settled_how` tells by what it was overridden.
ALTER TABLE tidelock.conflict
    ADD COLUMN IF NOT EXISTS base_version bigint,
    ADD COLUMN IF NOT EXISTS base_origin smallint,
    ADD COLUMN IF NOT EXISTS local_deleted boolean,
    ADD COLUMN IF NOT EXISTS incoming_deleted boolean,
    ADD COLUMN IF NOT EXISTS winner smallint,
    ADD COLUMN IF NOT EXISTS target_position text,
    ADD COLUMN IF NOT EXISTS settled_at timestamptz,
    ADD COLUMN IF NOT EXISTS settled_by varchar(255),
    ADD COLUMN IF NOT EXISTS settled_how text;
-- By these records are settled, and found when they are old.
CREATE INDEX IF NOT EXISTS conflict_id ON tidelock.conflict (id);
CREATE INDEX IF NOT EXISTS conflict_age ON tidelock.conflict (sync, link, recorded_at);

INSERT INTO tidelock.schema_version (version) VALUES (8) ON CONFLICT DO NOTHING;
