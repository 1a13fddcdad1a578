-- Control schema, version 14: the last round of links that run in rounds (`mode = "snapshot"`, and `every`). Run by the
-- owner's account (`tidelock setup`); every statement may run again.

-- Of an image the row is written in the transaction that swaps it in. `position`, `source_at`: where the source stood, and its
-- time then. `tables`: an image's tables with their rows, as JSON. When the next round is due follows from `began_at` and the
-- configuration.
CREATE TABLE IF NOT EXISTS tidelock.round (
    sync      varchar(64)  NOT NULL,
    link      varchar(140) NOT NULL,
    began_at  timestamptz  NOT NULL,
    took_ms   bigint       NOT NULL,
    position  text         NOT NULL,
    source_at timestamptz  NOT NULL,
    tables    text         NOT NULL,
    PRIMARY KEY (sync, link)
);

INSERT INTO tidelock.schema_version (version) VALUES (14) ON CONFLICT DO NOTHING;
