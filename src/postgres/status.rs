//! What `status` and the first start ask of a PostgreSQL database.
//!
//! Owns: reading our own schema and the slot's figures. Refuses: changing anything.
//! A database that was never set up answers with empty results, not with errors.

use super::{fail, operations, sql};
use crate::error::{Error, Result};
use crate::model::position::{Position, parse_lsn};
use crate::model::schema::{Table, TableId};
use crate::model::sync::{Checkpoint, LinkStatus, Retention, slot_name};
use tokio_postgres::{Client, Row};

/// Where the log ends now.
pub async fn position(client: &Client) -> Result<Position> {
    let doing = "read where the log ends";
    let sql = "SELECT pg_current_wal_lsn()::text";
    let row = client
        .query_one(sql, &[])
        .await
        .map_err(|error| fail(doing, error))?;
    lsn(&row, doing)
}

/// A position that lies behind everything committed so far, and that the log is sure to pass without further
/// writes: a message of our own, committed and flushed. (The write position alone may lie before a commit that
/// was not waited for, or at a place no record ends at.)
pub async fn barrier(client: &Client) -> Result<Position> {
    let doing = "write a barrier into the log";
    let sql = "SET synchronous_commit = on";
    client
        .batch_execute(sql)
        .await
        .map_err(|error| fail(doing, error))?;
    let sql = "SELECT pg_logical_emit_message(true, 'tidelock.barrier', '')::text";
    let row = client
        .query_one(sql, &[])
        .await
        .map_err(|error| fail(doing, error))?;
    lsn(&row, doing)
}

fn lsn(row: &Row, doing: &str) -> Result<Position> {
    let text: String = row.try_get(0).map_err(|error| fail(doing, error))?;
    parse_lsn(&text)
        .map(Position::Lsn)
        .ok_or_else(|| Error::bug(doing).why(format!("{text:?} is no LSN")))
}

pub async fn has_rows(client: &Client, table: &Table) -> Result<bool> {
    let rows = client.query(&sql::has_rows(table), &[]).await;
    Ok(!rows
        .map_err(|error| fail("look for rows", error).table(&table.id))?
        .is_empty())
}

/// The tables that were set up for a sync.
pub async fn recorded_tables(client: &Client, sync: &str) -> Result<Vec<TableId>> {
    let doing = "read which tables are set up";
    if !is_set_up(client).await? {
        return Ok(Vec::new());
    }
    let sql = "SELECT schema_name, table_name FROM tidelock.table_state WHERE sync = $1 ORDER BY 1, 2";
    let rows = client
        .query(sql, &[&sync])
        .await
        .map_err(|error| fail(doing, error))?;
    let id = |row: &Row| -> Result<TableId, tokio_postgres::Error> {
        Ok(TableId::new(
            row.try_get::<_, String>(0)?,
            row.try_get::<_, String>(1)?,
        ))
    };
    rows.iter()
        .map(|row| id(row).map_err(|error| fail(doing, error)))
        .collect()
}

pub(super) async fn is_set_up(client: &Client) -> Result<bool> {
    let sql = "SELECT to_regclass('tidelock.conflict') IS NOT NULL AND to_regclass('tidelock.checkpoint') IS NOT NULL";
    let row = client
        .query_one(sql, &[])
        .await
        .map_err(|error| fail("look for the control schema", error))?;
    row.try_get(0)
        .map_err(|error| fail("look for the control schema", error))
}

/// Is the control schema of version 2 or later?
async fn has_operations(client: &Client) -> Result<bool> {
    let doing = "look for the control schema's version";
    let sql = "SELECT to_regclass('tidelock.lease') IS NOT NULL";
    let row = client
        .query_one(sql, &[])
        .await
        .map_err(|error| fail(doing, error))?;
    row.try_get(0).map_err(|error| fail(doing, error))
}

pub async fn link_status(client: &Client, sync: &str, link: &str) -> Result<LinkStatus> {
    let doing = format!("read the status of link {link}");
    if !is_set_up(client).await? {
        return Ok(LinkStatus::default());
    }
    let wrong = |error| fail(&*doing, error);
    let sql = "SELECT (SELECT count(*) FROM tidelock.node WHERE sync = $1),
                      count(*) FILTER (WHERE outcome = 'open'), count(*),
                      (extract(epoch FROM clock_timestamp() - min(recorded_at) FILTER (WHERE outcome = 'open'))
                       * 1000)::bigint
                 FROM tidelock.conflict WHERE sync = $1 AND link = $2";
    let counts = client.query_one(sql, &[&sync, &link]).await.map_err(wrong)?;
    let sql = "SELECT lane::bigint, epoch, seq, position, settle, source_identity,
                      (extract(epoch FROM clock_timestamp() - moved_at) * 1000)::bigint
                 FROM tidelock.checkpoint WHERE sync = $1 AND link = $2 ORDER BY seq DESC LIMIT 1";
    let row = client.query_opt(sql, &[&sync, &link]).await.map_err(wrong)?;
    let checkpoint = row.as_ref().map(|row| checkpoint(row, &doing)).transpose()?;
    let age: Option<i64> = row.map(|row| row.try_get(6)).transpose().map_err(wrong)?;
    let count = |column| {
        counts
            .try_get::<_, i64>(column)
            .map(i64::unsigned_abs)
            .map_err(wrong)
    };
    let oldest: Option<i64> = counts.try_get(3).map_err(wrong)?;
    let mut status = LinkStatus {
        set_up: count(0)? > 0,
        checkpoint,
        checkpoint_age_ms: age.map(|age| age.max(0).unsigned_abs()),
        conflicts_open: count(1)?,
        conflicts_total: count(2)?,
        conflict_oldest_open_ms: oldest.map(|age| age.max(0).unsigned_abs()),
        ..LinkStatus::default()
    };
    if has_operations(client).await? {
        status.lease = operations::lease(client, sync, link).await?;
        status.said = operations::said(client, sync, link).await?;
        (status.pause, status.stop) = operations::link_state(client, sync, link).await?;
        status.out_of_sync = operations::out_of_sync(client, sync, Some(link)).await?;
        status.held = super::held::held(client, sync, Some(link)).await?;
        // What is missing there is told by `check`.
        status.tombstones = super::tombstones::figures(client, sync).await.unwrap_or_default();
        status.parked = super::parked::counts(client, sync, link).await?;
        let strays = super::numbers::strays(client, sync, Some(link)).await?;
        status.strays = strays.iter().map(|strays| strays.count).sum();
        status.round = super::round::last(client, sync, link).await?;
        status.resyncs = super::resync::resyncs(client, sync, Some(link)).await?;
        if status.is_copied() {
            status.copies = super::chunk::progress(client, sync, link).await?;
        }
    }
    Ok(status)
}

fn checkpoint(row: &Row, doing: &str) -> Result<Checkpoint> {
    let wrong = |error| fail(doing, error);
    let (position, settle): (String, Option<String>) =
        (row.try_get(3).map_err(wrong)?, row.try_get(4).map_err(wrong)?);
    let order = (row.try_get(1).map_err(wrong)?, row.try_get(2).map_err(wrong)?);
    let (lane, identity) = (row.try_get(0).map_err(wrong)?, row.try_get(5).map_err(wrong)?);
    Checkpoint::stored(lane, order, &position, settle.as_deref(), identity)
        .map_err(|error| Error::definite(doing).because(error))
}

/// How much log the link's slot holds back.
pub async fn retained(client: &Client, sync: &str, target: &str) -> Result<Retention> {
    let doing = "read the slot's figures";
    let sql = "SELECT active, (pg_current_wal_lsn() - restart_lsn)::bigint, wal_status = 'lost',
                      (SELECT CASE setting WHEN '-1' THEN 'no limit' ELSE setting || ' MB' END
                         FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
                      safe_wal_size, slot.confirmed_flush_lsn::text,
                      (extract(epoch FROM clock_timestamp() - reader.reply_time) * 1000)::bigint
                 FROM pg_replication_slots AS slot
                 LEFT JOIN pg_stat_replication AS reader ON reader.pid = slot.active_pid
                WHERE slot_name = $1";
    let wrong = |error| fail(doing, error);
    let Some(row) = client
        .query_opt(sql, &[&slot_name(sync, target)])
        .await
        .map_err(wrong)?
    else {
        return Ok(Retention {
            reader_active: Some(false),
            lost: true,
            ..Retention::default()
        });
    };
    let bytes: Option<i64> = row.try_get(1).map_err(wrong)?;
    let limit: Option<String> = row.try_get(3).map_err(wrong)?;
    let left: Option<i64> = row.try_get(4).map_err(wrong)?;
    let taken: Option<String> = row.try_get(5).map_err(wrong)?;
    let silent: Option<i64> = row.try_get(6).map_err(wrong)?;
    Ok(Retention {
        reader_active: row.try_get(0).map_err(wrong)?,
        reader_silent_ms: silent.map(|ms| ms.max(0).unsigned_abs()),
        taken: taken.and_then(|text| parse_lsn(&text)).map(Position::Lsn),
        left_bytes: left.map(|left| left.max(0).unsigned_abs()),
        left_seconds: None,
        retained_bytes: bytes.map(|bytes| bytes.max(0).unsigned_abs()),
        limit: limit.unwrap_or_default(),
        lost: row.try_get::<_, Option<bool>>(2).map_err(wrong)?.unwrap_or(false),
    })
}
