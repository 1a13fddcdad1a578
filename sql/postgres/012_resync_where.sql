-- Control schema, version 12: new copies of those rows of a table that a condition takes. Run by the owner's account
-- (`tidelock setup`); every statement may run again.

-- As the operator wrote it, in the configuration's names of the columns. NULL: the whole table.
ALTER TABLE tidelock.resync ADD COLUMN IF NOT EXISTS where_text text;

INSERT INTO tidelock.schema_version (version) VALUES (12) ON CONFLICT DO NOTHING;
