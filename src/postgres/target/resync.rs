//! Tables that are copied anew, as one PostgreSQL database keeps them: written in the transactions of their link.
//!
//! Owns: the statements that move `tidelock.resync` on. Refuses: deciding what is copied when (see `seed::resync`). Fails:
//! as the target does; a row that is not in the state before was asked for again meanwhile.

use super::Target;
use crate::error::{Error, Result};
use crate::model::schema::TableId;

const BEGUN: &str = "UPDATE tidelock.resync SET state = 'copying' WHERE sync = $1 AND link = $2 AND schema_name = $3 \
    AND table_name = $4 AND state = 'asked' RETURNING 1";

const FORGET: &str =
    "DELETE FROM tidelock.chunk WHERE sync = $1 AND link = $2 AND schema_name = $3 AND table_name = $4";

const COPIED: &str = "UPDATE tidelock.resync SET state = 'copied', settle = $5 WHERE sync = $1 AND link = $2 \
    AND schema_name = $3 AND table_name = $4 AND state = 'copying' RETURNING 1";

const STOPPED: &str = "UPDATE tidelock.resync SET state = 'stopped' WHERE sync = $1 AND link = $2 AND schema_name = $3 \
    AND table_name = $4 AND state IN ('copied', 'stopped')";

/// After a condition's rows alone the table may lack what it lacked.
const LEVEL: [&str; 2] = [
    "DELETE FROM tidelock.out_of_sync AS o USING tidelock.resync AS r WHERE o.sync = $1 AND o.link = $2 \
     AND o.schema_name = $3 AND o.table_name = $4 AND r.sync = $1 AND r.link = $2 AND r.schema_name = $3 \
     AND r.table_name = $4 AND r.state IN ('copied', 'stopped') AND r.where_text IS NULL",
    "DELETE FROM tidelock.resync WHERE sync = $1 AND link = $2 AND schema_name = $3 AND table_name = $4 \
     AND state IN ('copied', 'stopped')",
];

impl Target {
    /// In the open transaction, which holds the table: its copy begins.
    pub async fn resync_begun(&mut self, link: (&str, &str), table: &TableId) -> Result<()> {
        self.resync_moved("begin a new copy", link, table, BEGUN, None)
            .await
    }

    /// In the open transaction: how far a copy of this table of the source was counts no more.
    pub async fn forget_chunks(&mut self, (sync, link): (&str, &str), source: &TableId) -> Result<()> {
        let doing = "forget the chunks of the last copy";
        self.query(doing, FORGET, &[&sync, &link, &source.schema, &source.name])
            .await
            .map(|_| ())
    }

    /// In the open transaction: every row is there.
    pub async fn resync_copied(&mut self, link: (&str, &str), table: &TableId, settle: &str) -> Result<()> {
        self.resync_moved("end a new copy", link, table, COPIED, Some(settle))
            .await
    }

    /// In the open transaction, which holds the table again: it could not catch up.
    pub async fn resync_stopped(&mut self, (sync, link): (&str, &str), table: &TableId) -> Result<()> {
        let doing = "note that a table could not catch up";
        self.query(doing, STOPPED, &[&sync, &link, &table.schema, &table.name])
            .await
            .map(|_| ())
    }

    /// In the open transaction, which lets the table go: it is level, and nothing is known to be missing of what was asked for.
    pub async fn resync_level(&mut self, (sync, link): (&str, &str), table: &TableId) -> Result<()> {
        for statement in LEVEL {
            self.query(
                "note that a table is level",
                statement,
                &[&sync, &link, &table.schema, &table.name],
            )
            .await?;
        }
        Ok(())
    }

    async fn resync_moved(
        &mut self,
        doing: &str,
        (sync, link): (&str, &str),
        table: &TableId,
        statement: &str,
        settle: Option<&str>,
    ) -> Result<()> {
        let (schema, name) = (&table.schema, &table.name);
        let moved = match &settle {
            Some(settle) => {
                self.query(doing, statement, &[&sync, &link, schema, name, settle])
                    .await?
            }
            None => {
                self.query(doing, statement, &[&sync, &link, schema, name])
                    .await?
            }
        };
        match moved.len() {
            1 => Ok(()),
            _ => Err(Error::transient(doing)
                .node(&self.node)
                .table(table)
                .why("it was asked for again meanwhile")),
        }
    }
}
