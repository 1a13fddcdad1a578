//! The files in which tables lie: the proof that an image from before is still whole.
//!
//! What rewrites a table (`ALTER TABLE`, `TRUNCATE`) gives it a new file with rows that no older snapshot sees: to one
//! the table is empty, without an error. So its files are noted before a snapshot is made, and looked at again under a
//! lock that keeps them before the first row is read.
//!
//! Owns: noting, locking and comparing, for a partitioned table with all its partitions. `VACUUM FULL` and `CLUSTER`
//! keep what old snapshots see, and cannot be told from the others; partitions that came or went meanwhile hold rows
//! that the log tells nothing of. Both count as different.
//! Fails: transient, because a later image is whole again. The lock is not waited for in one piece, so that whoever
//! queues behind us for a stronger one is soon let through.

use super::{fail, sql};
use crate::error::{Error, Result};
use crate::model::schema::TableId;
use crate::model::sync::CatalogTable;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

const DOING: &str = "keep a table from being rewritten while it is copied";
/// Below the default of `deadlock_timeout`: a user's transaction that waits for us is never the victim.
const WAIT: Duration = Duration::from_millis(800);
const PAUSE: Duration = Duration::from_millis(400);
const TRIES_MAX: u32 = 30;

/// By table: of it and each partition the oid and the file.
type Lying = HashMap<TableId, BTreeMap<u32, u32>>;

/// The functions look at the catalog as it is now, whatever snapshot the session reads by.
const FILES: &str = "
    SELECT want.schema, want.name, member.oid, coalesce(pg_relation_filenode(member.oid), 0)
      FROM unnest($1::text[], $2::text[]) AS want(schema, name)
      JOIN pg_namespace n ON n.nspname = want.schema
      JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name
     CROSS JOIN LATERAL (SELECT c.oid UNION SELECT relid::oid FROM pg_partition_tree(c.oid)) AS member(oid)";

pub(super) struct Files(Lying);

impl Files {
    /// To be called before the snapshot is made.
    pub(super) async fn note(client: &Client, tables: &[Arc<CatalogTable>]) -> Result<Files> {
        let ids: Vec<&TableId> = tables.iter().map(|known| &known.table.id).collect();
        // Partitions are locked for a moment to be listed.
        let wait = format!("SET lock_timeout = {}", WAIT.as_millis());
        let noted = async {
            client.batch_execute(&wait).await?;
            let noted = lying(client, &ids).await?;
            client.batch_execute("RESET lock_timeout").await?;
            Ok(noted)
        };
        noted.await.map(Files).map_err(|error| fail(DOING, error))
    }

    /// Locks the table until the transaction ends, and refuses it where the transaction's image of it is not whole.
    /// `only`: see `sql::range::only`.
    pub(super) async fn keep(&self, client: &Client, table: &TableId, only: &str) -> Result<()> {
        let Some(noted) = self.0.get(table) else {
            return Ok(());
        };
        lock(client, table, only).await?;
        let now = lying(client, &[table]).await;
        let now = now.map_err(|error| fail(DOING, error).table(table))?;
        if now.get(table) == Some(noted) {
            return Ok(());
        }
        Err(Error::transient("read a table as it was when the copy began")
            .table(table)
            .why(
                "it was rewritten since (ALTER TABLE, TRUNCATE, VACUUM FULL, CLUSTER), or a partition came or went: \
                 the copy's image of it is not whole, and the rest is copied from a later one",
            ))
    }
}

async fn lying(client: &Client, tables: &[&TableId]) -> Result<Lying, tokio_postgres::Error> {
    let schemas: Vec<&str> = tables.iter().map(|id| id.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|id| id.name.as_str()).collect();
    let mut lying = Lying::new();
    for row in client.query(FILES, &[&schemas, &names]).await? {
        let id = TableId::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
        let files = lying.entry(id).or_default();
        files.insert(row.try_get(2)?, row.try_get(3)?);
    }
    Ok(lying)
}

/// As whoever reads: LOCK TABLE asks for a right on the whole table, where one on some columns is enough.
async fn lock(client: &Client, table: &TableId, only: &str) -> Result<()> {
    let lock = format!(
        "SAVEPOINT tidelock; SET LOCAL lock_timeout = {}; SELECT FROM {only}{} LIMIT 0; \
         SET LOCAL lock_timeout = 0; RELEASE SAVEPOINT tidelock",
        WAIT.as_millis(),
        sql::table(table)
    );
    let wrong = |error| fail(DOING, error).table(table);
    for _ in 1..TRIES_MAX {
        match client.batch_execute(&lock).await {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {}
            other => return other.map_err(wrong),
        }
        let undone = client.batch_execute("ROLLBACK TO SAVEPOINT tidelock").await;
        undone.map_err(wrong)?;
        tokio::time::sleep(PAUSE).await;
    }
    client.batch_execute(&lock).await.map_err(wrong)
}
