-- Control schema, version 5: what the copy that holds a lease says of its link. Run by the owner's account
-- (`tidelock setup`); every statement may run again.

-- Written with each renewal: state, lag and position as JSON, so that `status` knows from any machine what the process
-- knows. Nothing is decided by it.
ALTER TABLE tidelock.lease ADD COLUMN IF NOT EXISTS figures text;
ALTER TABLE tidelock.lease ADD COLUMN IF NOT EXISTS renewed_at timestamptz;

INSERT INTO tidelock.schema_version (version) VALUES (5) ON CONFLICT DO NOTHING;
