//! Waiting until what the log tells is what sessions see.
//!
//! A commit is in the log, and sent to its readers, before its rows are visible: between the two the server may wait for
//! a synchronous standby. And rows do not become visible in the order of the log, so no position says it, and no commit
//! of our own. But whoever has changed a table keeps its lock on it until the change is visible: those who hold one now
//! are waited for, as CREATE INDEX CONCURRENTLY does.
//!
//! Owns: that waiting. On a standby the log is read no further than it is visible, and nobody holds such a lock.
//! Fails: transient when it lasts too long: somebody may have begun a transaction and left it open.

use super::{connect, fail};
use crate::access::Access;
use crate::error::{Error, Result};
use crate::model::schema::TableId;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Client;

const DOING: &str = "wait until what is logged is visible";
/// Whoever asked has locks elsewhere, and asks again.
const WAIT_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// Transactions that have changed the table or a part of it.
const WRITERS: &str = "
    WITH RECURSIVE member(oid) AS (
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = $2
        UNION SELECT i.inhrelid FROM pg_inherits i JOIN member ON i.inhparent = member.oid)
    SELECT DISTINCT l.virtualtransaction FROM pg_locks l JOIN member ON member.oid = l.relation
     WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock' AND l.granted
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";

const STILL_OPEN: &str =
    "SELECT coalesce(string_agg(DISTINCT coalesce(pid::text, 'a prepared transaction'), ', '), '')
     FROM pg_locks WHERE virtualtransaction = ANY($1)";

/// Until sessions that begin to read see all changes of the table that were logged before.
pub async fn wait(access: &Access, table: &TableId) -> Result<()> {
    let wait = async {
        let client = connect(access).await?;
        until(&client, table).await
    };
    wait.await
        .map_err(|error: Error| error.node(&access.node).table(table))
}

async fn until(client: &Client, table: &TableId) -> Result<()> {
    let wrong = |error| fail(DOING, error);
    let found = client.query(WRITERS, &[&table.schema, &table.name]).await;
    let found = found.map_err(wrong)?;
    let writers: Result<Vec<String>, _> = found.iter().map(|row| row.try_get(0)).collect();
    let writers = writers.map_err(wrong)?;
    let end = Instant::now() + WAIT_MAX;
    loop {
        let row = client.query_one(STILL_OPEN, &[&writers]).await;
        let open: String = row.and_then(|row| row.try_get(0)).map_err(wrong)?;
        if open.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(Error::transient(DOING)
                .why(format!(
                    "transactions that changed the table are open for more than {} s, sessions: {open}",
                    WAIT_MAX.as_secs()
                ))
                .hint("let them end, or end them: SELECT pg_terminate_backend(PID); a prepared one: see pg_prepared_xacts"));
        }
        tokio::time::sleep(POLL).await;
    }
}
