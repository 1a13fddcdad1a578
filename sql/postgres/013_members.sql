-- Control schema, version 13: nodes that leave. Run by the owner's account (`tidelock setup`); every statement may run
-- again.

-- `in`; `leaving`: whoever runs links of the node lets go of them; `left`: they are removed here. The row stays, because
-- rows and tombstones carry the rank of who wrote them, and it is given to nobody else.
ALTER TABLE tidelock.node ADD COLUMN IF NOT EXISTS state varchar(8) NOT NULL DEFAULT 'in';

INSERT INTO tidelock.schema_version (version) VALUES (13) ON CONFLICT DO NOTHING;
