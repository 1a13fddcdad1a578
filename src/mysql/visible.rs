//! Waiting until what the log tells is what sessions see.
//!
//! A transaction is sent to readers of the binlog before its rows are visible: between the two the server flushes the
//! log, and may wait for a semi-synchronous replica. Whoever reads rows as of a position waits here before.
//!
//! - **A set of GTIDs**: the server waits itself; a transaction is in its executed set when its rows are visible.
//! - **A file and an offset**: rows become visible in the order of the log, so when a commit of our own is answered,
//!   all before it are.
//! - **MariaDB**: a consistent snapshot knows its own place in the log.
//!
//! Owns: that waiting. Refuses: servers without GTIDs that commit in another order than they log.
//! Fails: transient when it lasts too long.

use super::snapshot::snapshot_position;
use super::{Flavor, connect, fail, flavor};
use crate::access::Access;
use crate::error::{Error, Reason, Result};
use crate::model::position::Position;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use std::time::Duration;
use tokio::time::Instant;

const DOING: &str = "wait until what is logged is visible";
/// A replica may be waited for this long and longer; whoever asked has locks elsewhere, and asks again.
const WAIT_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// A transaction that the log holds and that changes nothing. No session has this number.
const OWN: [&str; 4] = [
    "START TRANSACTION",
    "REPLACE INTO tidelock.session (id, address, sync, link, instance) VALUES (~CONNECTION_ID(), '', '', '', '')",
    "DELETE FROM tidelock.session WHERE id = ~CONNECTION_ID()",
    "COMMIT",
];

/// Until sessions that begin to read see all that is logged up to the position.
pub async fn wait(access: &Access, position: &Position) -> Result<()> {
    let wait = async {
        let mut conn = connect(access).await?;
        let flavor = flavor(&mut conn).await?;
        until(&mut conn, flavor, position).await?;
        let _ = conn.disconnect().await;
        Ok(())
    };
    wait.await.map_err(|error: Error| error.node(&access.node))
}

/// The same in a session without an open transaction.
pub(super) async fn until(conn: &mut Conn, flavor: Flavor, position: &Position) -> Result<()> {
    let wait = async {
        match (flavor, position) {
            (Flavor::Mysql, Position::Gtid(set)) => executed(conn, &set.to_string()).await,
            (Flavor::Mysql, Position::File(_)) => committed_after(conn).await,
            (Flavor::Mariadb, Position::MariaGtid(_)) => reached(conn, position).await,
            (_, other) => {
                Err(Error::bug(DOING).why(format!("position {other} is of another kind of server")))
            }
        }
    };
    // The server's own limit is the shorter one, and leaves the session usable.
    let waited = tokio::time::timeout(WAIT_MAX + POLL * 20, wait).await;
    waited.unwrap_or_else(|_| Err(too_long()))
}

fn too_long() -> Error {
    Error::transient(DOING)
        .why(format!(
            "transactions that are in the log have not become visible for {} s",
            WAIT_MAX.as_secs()
        ))
        .hint("do commits wait for a semi-synchronous replica? SHOW PROCESSLIST tells")
}

async fn executed(conn: &mut Conn, set: &str) -> Result<()> {
    let sql = "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)";
    let outcome: Option<Option<i64>> = conn
        .exec_first(sql, (set, WAIT_MAX.as_secs()))
        .await
        .map_err(|error| fail(DOING, error))?;
    match outcome.flatten() {
        Some(0) => Ok(()),
        _ => Err(too_long()),
    }
}

async fn committed_after(conn: &mut Conn) -> Result<()> {
    let ordered: Option<i64> = conn
        .query_first("SELECT @@GLOBAL.binlog_order_commits")
        .await
        .map_err(|error| fail(DOING, error))?;
    if ordered != Some(1) {
        return Err(Error::definite(DOING)
            .reason(Reason::Blocked)
            .why("binlog_order_commits is OFF, and without GTIDs nothing else tells what is visible")
            .hint("SET GLOBAL binlog_order_commits = ON; or SET GLOBAL gtid_mode = ON;"));
    }
    for statement in OWN {
        conn.query_drop(statement).await.map_err(own_refused)?;
    }
    Ok(())
}

fn own_refused(error: mysql_async::Error) -> Error {
    let is_read_only =
        matches!(&error, mysql_async::Error::Server(error) if matches!(error.code, 1290 | 1836));
    let error = fail(DOING, error);
    match is_read_only {
        true => error.hint(
            "without GTIDs a row of our own has to be committed there, and the server takes no writes: set \
             gtid_mode = ON, or copy from its primary",
        ),
        false => error,
    }
}

async fn reached(conn: &mut Conn, position: &Position) -> Result<()> {
    let end = Instant::now() + WAIT_MAX;
    loop {
        let sql = "START TRANSACTION WITH CONSISTENT SNAPSHOT";
        conn.query_drop(sql).await.map_err(|error| fail(DOING, error))?;
        let seen = snapshot_position(conn).await?;
        let over = conn.query_drop("COMMIT").await;
        over.map_err(|error| fail(DOING, error))?;
        let covers = seen.covers(position);
        if covers.map_err(|error| Error::bug(DOING).because(error))? {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(too_long());
        }
        tokio::time::sleep(POLL).await;
    }
}
