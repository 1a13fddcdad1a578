//! Tables that are copied anew, as one MySQL or MariaDB server keeps them: written in the transactions of their link.
//!
//! Owns: the statements that move `tidelock.resync` on. Refuses: deciding what is copied when (see `seed::resync`). Fails:
//! as the target does; a row that is not in the state before was asked for again meanwhile.

use super::Target;
use crate::error::{Error, Result};
use crate::model::schema::TableId;
use mysql_async::params;

const BEGUN: &str = "UPDATE tidelock.resync SET state = 'copying', settle = :settle WHERE sync = :sync AND link = :link \
    AND schema_name = :schema AND table_name = :name AND state = 'asked'";

const FORGET: &str = "DELETE FROM tidelock.chunk WHERE sync = :sync AND link = :link AND schema_name = :schema \
    AND table_name = :name";

const COPIED: &str = "UPDATE tidelock.resync SET state = 'copied', settle = :settle WHERE sync = :sync AND link = :link \
    AND schema_name = :schema AND table_name = :name AND state = 'copying'";

const STOPPED: &str = "UPDATE tidelock.resync SET state = 'stopped' WHERE sync = :sync AND link = :link \
    AND schema_name = :schema AND table_name = :name AND state IN ('copied', 'stopped')";

/// After a condition's rows alone the table may lack what it lacked.
const LEVEL: [&str; 2] = [
    "DELETE o FROM tidelock.out_of_sync AS o JOIN tidelock.resync AS r USING (sync, link, schema_name, table_name) \
     WHERE o.sync = :sync AND o.link = :link AND o.schema_name = :schema AND o.table_name = :name \
     AND r.state IN ('copied', 'stopped') AND r.where_text IS NULL",
    "DELETE FROM tidelock.resync WHERE sync = :sync AND link = :link AND schema_name = :schema AND table_name = :name \
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
        let (schema, name) = (&source.schema, &source.name);
        let doing = "forget the chunks of the last copy";
        self.chunk_statement(doing, FORGET, params! { sync, link, schema, name })
            .await
    }

    /// In the open transaction: every row is there.
    pub async fn resync_copied(&mut self, link: (&str, &str), table: &TableId, settle: &str) -> Result<()> {
        self.resync_moved("end a new copy", link, table, COPIED, Some(settle))
            .await
    }

    /// In the open transaction, which holds the table again: it could not catch up.
    pub async fn resync_stopped(&mut self, (sync, link): (&str, &str), table: &TableId) -> Result<()> {
        let (schema, name) = (&table.schema, &table.name);
        let doing = "note that a table could not catch up";
        self.chunk_statement(doing, STOPPED, params! { sync, link, schema, name })
            .await
    }

    /// In the open transaction, which lets the table go: it is level, and nothing is known to be missing of what was asked for.
    pub async fn resync_level(&mut self, (sync, link): (&str, &str), table: &TableId) -> Result<()> {
        let (schema, name) = (&table.schema, &table.name);
        for statement in LEVEL {
            let values = params! { sync, link, schema, name };
            self.chunk_statement("note that a table is level", statement, values)
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
        self.chunk_statement(doing, statement, params! { sync, link, schema, name, settle })
            .await?;
        match self.conn.affected_rows() {
            1 => Ok(()),
            _ => Err(self.broken(
                Error::transient(doing)
                    .table(table)
                    .why("it was asked for again meanwhile"),
            )),
        }
    }
}
