//! What `status` and the first start ask of a MySQL or MariaDB server.
//!
//! Owns: reading our own database and how long the binlog is kept. Refuses: changing anything.
//! A server that was never set up answers with empty results, not with errors.

use super::log;
use super::source::{current_position, serves};
use super::{fail, flavor, operations, sql};
use crate::error::{Error, Reason, Result};
use crate::model::position::Position;
use crate::model::schema::{Table, TableId};
use crate::model::sync::{Checkpoint, LinkStatus, Retention};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, params};

/// Where the log ends now.
pub async fn position(conn: &mut Conn) -> Result<Position> {
    let flavor = flavor(conn).await?;
    current_position(conn, flavor).await
}

pub async fn has_rows(conn: &mut Conn, table: &Table) -> Result<bool> {
    let row: Result<Option<u8>, _> = conn.query_first(sql::has_rows(table)).await;
    Ok(row
        .map_err(|error| fail("look for rows", error).table(&table.id))?
        .is_some())
}

/// The tables that were set up for a sync.
pub async fn recorded_tables(conn: &mut Conn, sync: &str) -> Result<Vec<TableId>> {
    if !is_set_up(conn).await? {
        return Ok(Vec::new());
    }
    let sql = "SELECT schema_name, table_name FROM tidelock.table_state WHERE sync = :sync ORDER BY 1, 2";
    let rows: Result<Vec<(String, String)>, _> = conn.exec(sql, params! { sync }).await;
    let rows = rows.map_err(|error| fail("read which tables are set up", error))?;
    Ok(rows
        .into_iter()
        .map(|(schema, table)| TableId::new(schema, table))
        .collect())
}

/// lane, epoch, seq, position, settle, source identity, age in milliseconds
type Moved = (i64, i64, i64, String, Option<String>, String, i64);

pub(super) async fn is_set_up(conn: &mut Conn) -> Result<bool> {
    let sql = "SELECT COUNT(*) FROM information_schema.tables
                WHERE table_schema = 'tidelock' AND table_name IN ('conflict', 'checkpoint')";
    let count: Option<u64> = conn
        .query_first(sql)
        .await
        .map_err(|error| fail("look for the control database", error))?;
    Ok(count == Some(2))
}

/// Is the control database of version 2 or later?
async fn has_operations(conn: &mut Conn) -> Result<bool> {
    let sql = "SELECT COUNT(*) FROM information_schema.tables
                WHERE table_schema = 'tidelock' AND table_name = 'lease'";
    let count: Option<u64> = conn
        .query_first(sql)
        .await
        .map_err(|error| fail("look for the control database's version", error))?;
    Ok(count == Some(1))
}

pub async fn link_status(conn: &mut Conn, sync: &str, link: &str) -> Result<LinkStatus> {
    let doing = format!("read the status of link {link}");
    if !is_set_up(conn).await? {
        return Ok(LinkStatus::default());
    }
    let sql = "SELECT (SELECT COUNT(*) FROM tidelock.node WHERE sync = :sync),
                      CAST(COALESCE(SUM(outcome = 'open'), 0) AS SIGNED), COUNT(*),
                      TIMESTAMPDIFF(MICROSECOND, MIN(CASE WHEN outcome = 'open' THEN recorded_at END), NOW(6)) DIV 1000
                 FROM tidelock.conflict WHERE sync = :sync AND link = :link";
    let counts: Option<(u64, u64, u64, Option<i64>)> = conn
        .exec_first(sql, params! { sync, link })
        .await
        .map_err(|error| fail(&*doing, error))?;
    let (nodes, conflicts_open, conflicts_total, oldest) = counts.unwrap_or_default();
    let sql = "SELECT lane, epoch, seq, position, settle, source_identity,
                      TIMESTAMPDIFF(MICROSECOND, moved_at, NOW(6)) DIV 1000
                 FROM tidelock.checkpoint WHERE sync = :sync AND link = :link ORDER BY seq DESC LIMIT 1";
    let row: Option<Moved> = conn
        .exec_first(sql, params! { sync, link })
        .await
        .map_err(|error| fail(&*doing, error))?;
    let mut status = LinkStatus {
        set_up: nodes > 0,
        conflicts_open,
        conflicts_total,
        conflict_oldest_open_ms: oldest.map(|age| age.max(0).unsigned_abs()),
        ..LinkStatus::default()
    };
    if let Some((lane, epoch, seq, position, settle, identity, age)) = row {
        let checkpoint = Checkpoint::stored(lane, (epoch, seq), &position, settle.as_deref(), identity);
        status.checkpoint = Some(checkpoint.map_err(|error| Error::definite(doing).because(error))?);
        status.checkpoint_age_ms = Some(age.max(0).unsigned_abs());
    }
    if has_operations(conn).await? {
        status.lease = operations::lease(conn, sync, link).await?;
        status.said = operations::said(conn, sync, link).await?;
        (status.pause, status.stop) = operations::link_state(conn, sync, link).await?;
        status.out_of_sync = operations::out_of_sync(conn, sync, Some(link)).await?;
        status.held = super::held::held(conn, sync, Some(link)).await?;
        // What is missing there is told by `check`.
        status.tombstones = super::tombstones::figures(conn, sync).await.unwrap_or_default();
        status.parked = super::parked::counts(conn, sync, link).await?;
        let strays = super::numbers::strays(conn, sync, Some(link)).await?;
        status.strays = strays.iter().map(|strays| strays.count).sum();
        status.round = super::round::last(conn, sync, link).await?;
        status.resyncs = super::resync::resyncs(conn, sync, Some(link)).await?;
        if status.is_copied() {
            status.copies = super::chunk::progress(conn, sync, link).await?;
        }
    }
    Ok(status)
}

/// After how many seconds the server purges a file of its binlog. `None`: never by itself.
async fn expires(conn: &mut Conn) -> Result<Option<u64>> {
    let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name IN
               ('binlog_expire_logs_seconds', 'binlog_expire_logs_auto_purge')";
    let rows: Vec<(String, String)> = conn
        .query(sql)
        .await
        .map_err(|error| fail("read how long the binlog is kept", error))?;
    let value = |wanted: &str| {
        rows.iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value)
    };
    // MariaDB has no such switch, nor has MySQL before 8.0.29.
    if value("binlog_expire_logs_auto_purge").is_some_and(|value| value == "OFF") {
        return Ok(None);
    }
    let seconds = value("binlog_expire_logs_seconds").and_then(|value| value.parse().ok());
    Ok(seconds.filter(|seconds| *seconds > 0))
}

/// A binlog is kept by time: whether it still begins before the checkpoint, and for how long it is kept.
pub async fn retained(conn: &mut Conn, checkpoint: &Position) -> Result<Retention> {
    let seconds = expires(conn).await?;
    let limit = match seconds {
        None => "no limit".to_owned(),
        Some(seconds) => format!("kept {:.1} d", seconds as f64 / 86_400.0),
    };
    let flavor = flavor(conn).await?;
    let lost = match serves(conn, flavor, checkpoint).await {
        Ok(()) => false,
        Err(error) if error.reason_kind() == Reason::PositionLost => true,
        // Told when the link starts; the log itself is there.
        Err(error) if error.reason_kind() == Reason::Blocked => false,
        Err(error) => return Err(error),
    };
    let mut kept = Retention {
        limit,
        lost,
        ..Retention::default()
    };
    if !lost && !matches!(checkpoint, Position::Lsn(_)) {
        let found = log::find(conn, checkpoint).await?;
        let files = &found.files.0;
        let older: u64 = files.iter().skip(found.needed).map(|(_, size)| *size).sum();
        kept.retained_bytes = Some(older);
        kept.left_seconds = match (seconds, files.get(found.needed + 1)) {
            (None, _) => None,
            // It is written to yet, so its time has not begun.
            (Some(seconds), None) => Some(seconds),
            (Some(seconds), Some((next, _))) => {
                let written_last = log::began(conn, next).await?;
                let now = log::end(conn).await?.now_us / 1_000_000;
                let age = written_last.map(|at| u64::try_from(now).unwrap_or_default().saturating_sub(at));
                age.map(|age| seconds.saturating_sub(age))
            }
        };
    }
    Ok(kept)
}
