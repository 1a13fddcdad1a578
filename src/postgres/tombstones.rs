//! Tombstones of one PostgreSQL database: marking them, dropping them, and what is kept about that.
//!
//! Owns: the statements on `tidelock.collection`, and on tables of tombstones all that is not a row's own delete or
//! apply. Refuses: deciding when they go (see `merge::collection` and `flow::collect`).
//! Fails: by [`fail`]; a lock that somebody keeps is `Transient`. A batch is dropped whole, with the floor raised, or not
//! at all.

use super::evidence as record;
use super::fail;
use super::sql::{self, quote, table};
use crate::error::{Error, Result};
use crate::model::collection::{
    Batch, COUNT_MAX, Collection, Dropped, Holder, Reach, Stones, TombstoneFigures,
};
use crate::model::origin::CONTROL;
use crate::model::schema::{Table, TableId};
use crate::model::stamp::Stamp;
use crate::model::sync::{GENERATION_COLUMN, ORIGIN_COLUMN, VERSION_COLUMN, stamps_of};
use crate::plan::evidence;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Transaction};

/// Rows are found by their marks whatever the statistics say; nobody is kept waiting, and our raising of a row is no
/// user's: triggers stay silent.
const SESSION: &str =
    "SET enable_seqscan = off; SET lock_timeout = '2s'; SET session_replication_role = replica";
const BATCH_ROWS: i64 = 1_000;
/// Tables asked about in one statement.
const ASK_MAX: usize = 100;

pub async fn open(client: &Client) -> Result<()> {
    let doing = "set up the session that collects tombstones";
    client
        .batch_execute(SESSION)
        .await
        .map_err(|error| fail(doing, error))
}

fn stones(name: &str) -> String {
    table(&TableId::new(CONTROL, name))
}

/// The merge tables of a sync, and whether they have tombstones.
pub async fn tombstones(client: &Client, sync: &str) -> Result<Vec<Stones>> {
    let doing = "look for tombstones";
    let wrong = |error| fail(doing, error);
    let mut found = tables(client, sync).await?;
    for chunk in found.chunks_mut(ASK_MAX) {
        let ask = chunk.iter().enumerate().map(|(index, at)| {
            let from = stones(&at.name);
            format!(
                "SELECT {index}, EXISTS (SELECT FROM {from} WHERE {GENERATION_COLUMN} IS NULL), \
                 EXISTS (SELECT FROM {from} WHERE {GENERATION_COLUMN} IS NOT NULL)"
            )
        });
        let ask: Vec<String> = ask.collect();
        let answers = client.query(&ask.join(" UNION ALL "), &[]).await.map_err(wrong)?;
        for row in &answers {
            let index: i32 = row.try_get(0).map_err(wrong)?;
            if let Some(at) = usize::try_from(index).ok().and_then(|index| chunk.get_mut(index)) {
                at.has_unmarked = row.try_get(1).map_err(wrong)?;
                at.has_marked = row.try_get(2).map_err(wrong)?;
            }
        }
    }
    Ok(found)
}

async fn tables(client: &Client, sync: &str) -> Result<Vec<Stones>> {
    let doing = "look for tables of tombstones";
    let sql = "SELECT schema_name::text, table_name::text, tombstones::text FROM tidelock.table_state
                WHERE sync = $1 AND tombstones IS NOT NULL ORDER BY 1, 2";
    let rows = client
        .query(sql, &[&sync])
        .await
        .map_err(|error| fail(doing, error))?;
    let one = |row: &Row| -> Result<Stones, tokio_postgres::Error> {
        Ok(Stones {
            table: TableId::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?),
            name: row.try_get(2)?,
            has_unmarked: false,
            has_marked: false,
        })
    };
    rows.iter()
        .map(|row| one(row).map_err(|error| fail(doing, error)))
        .collect()
}

/// `None`: nothing was ever marked.
pub async fn collection(client: &Client, sync: &str) -> Result<Option<Collection>> {
    let doing = "read what is collected";
    let sql = "SELECT generation, state, waits_for FROM tidelock.collection WHERE sync = $1";
    let row = client
        .query_opt(sql, &[&sync])
        .await
        .map_err(|error| fail(doing, error))?;
    let one = |row: Row| -> Result<Collection, tokio_postgres::Error> {
        Ok(Collection {
            generation: row.try_get(0)?,
            state: row.try_get(1)?,
            waits_for: row.try_get(2)?,
        })
    };
    row.map(|row| one(row).map_err(|error| fail(doing, error)))
        .transpose()
}

/// Begins the generation after `last`. `false`: somebody else did.
pub async fn begin(client: &Client, sync: &str, last: i64) -> Result<bool> {
    let doing = "begin to collect tombstones";
    let first = "INSERT INTO tidelock.collection (sync, generation) VALUES ($1, 0) ON CONFLICT DO NOTHING";
    client
        .execute(first, &[&sync])
        .await
        .map_err(|error| fail(doing, error))?;
    let begin = "UPDATE tidelock.collection SET generation = generation + 1, state = NULL, waits_for = '',
                        marked_at = clock_timestamp() WHERE sync = $1 AND generation = $2";
    let moved = client.execute(begin, &[&sync, &last]).await;
    Ok(moved.map_err(|error| fail(doing, error))? == 1)
}

/// Keeps what a generation waits for. `false`: somebody has begun another one.
pub async fn keep(client: &Client, sync: &str, row: &Collection) -> Result<bool> {
    let keep =
        "UPDATE tidelock.collection SET state = $3, waits_for = $4 WHERE sync = $1 AND generation = $2";
    let values: [&(dyn ToSql + Sync); 4] = [&sync, &row.generation, &row.state, &row.waits_for];
    let kept = client.execute(keep, &values).await;
    Ok(kept.map_err(|error| fail("keep what tombstones wait for", error))? == 1)
}

/// Marks some tombstones that are not marked; zero = there are none that nobody locks.
pub async fn mark(client: &Client, name: &str, number: i64) -> Result<u64> {
    let from = stones(name);
    let sql = format!(
        "UPDATE {from} SET {GENERATION_COLUMN} = $1 WHERE ctid = ANY (ARRAY(SELECT ctid FROM {from} \
         WHERE {GENERATION_COLUMN} IS NULL LIMIT {BATCH_ROWS} FOR UPDATE SKIP LOCKED))"
    );
    let marked = client.execute(&sql, &[&number]).await;
    marked.map_err(|error| fail("mark tombstones", error))
}

/// Transactions that have written something before it end below it.
pub async fn horizon(client: &Client) -> Result<Option<u64>> {
    snapshot(client, "pg_snapshot_xmax").await.map(Some)
}

/// Is a transaction open that had written something before the horizon?
pub async fn is_open(client: &Client, horizon: u64) -> Result<bool> {
    Ok(snapshot(client, "pg_snapshot_xmin").await? < horizon)
}

async fn snapshot(client: &Client, end: &str) -> Result<u64> {
    let doing = "look for open transactions";
    let sql = format!("SELECT {end}(pg_current_snapshot())::text");
    let row = client
        .query_one(&sql, &[])
        .await
        .map_err(|error| fail(doing, error))?;
    let text: String = row.try_get(0).map_err(|error| fail(doing, error))?;
    text.parse()
        .map_err(|_| Error::bug(doing).why(format!("{text:?} is no transaction's number")))
}

/// Checkpoints and held tables of one moment: a table is as far as its link unless it is held, lacks what was skipped, or is
/// to be copied anew.
pub async fn reach(client: &Client, sync: &str) -> Result<Reach> {
    let doing = "read how far the links are";
    let wrong = |error| fail(doing, error);
    let sql =
        "SELECT link::text, position, seq, NULL::text, NULL::text FROM tidelock.checkpoint WHERE sync = $1
                UNION ALL SELECT link::text, position, 0, schema_name::text, table_name::text
                            FROM tidelock.held_table WHERE sync = $1
                UNION ALL SELECT link::text, '', 0, schema_name::text, table_name::text
                            FROM tidelock.out_of_sync WHERE sync = $1
                UNION ALL SELECT link::text, '', 0, schema_name::text, table_name::text
                            FROM tidelock.resync WHERE sync = $1
                UNION ALL SELECT 'of node ' || n.name || ', which leaves', '', 0, s.schema_name::text, s.table_name::text
                            FROM tidelock.node n JOIN tidelock.table_state s ON s.sync = n.sync
                           WHERE n.sync = $1 AND n.state = 'leaving'
                ORDER BY 3";
    let mut reach = Reach::default();
    for row in client.query(sql, &[&sync]).await.map_err(wrong)? {
        let link: String = row.try_get(0).map_err(wrong)?;
        let schema: Option<String> = row.try_get(3).map_err(wrong)?;
        if let Some(schema) = schema {
            let name: String = row.try_get(4).map_err(wrong)?;
            reach.held.push((link, TableId::new(schema, name)));
            continue;
        }
        let position: String = row.try_get(1).map_err(wrong)?;
        let position = position
            .parse()
            .map_err(|error| Error::definite(doing).because(error))?;
        // The greatest seq of its lanes comes last.
        reach.links.retain(|(known, _)| *known != link);
        reach.links.push((link, position));
    }
    reach.parked = parked(client, sync).await?;
    Ok(reach)
}

/// Tables with parked changes. Without the table that keeps those there are none.
async fn parked(client: &Client, sync: &str) -> Result<Vec<TableId>> {
    let doing = "look for parked changes";
    let wrong = |error| fail(doing, error);
    let there = "SELECT to_regclass('tidelock.parked') IS NOT NULL";
    let there = client.query_one(there, &[]).await.map_err(wrong)?;
    if !there.try_get::<_, bool>(0).map_err(wrong)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT DISTINCT schema_name::text, table_name::text FROM tidelock.parked WHERE sync = $1";
    let found = client.query(sql, &[&sync]).await.map_err(wrong)?;
    let one = |row: &Row| -> Result<TableId, tokio_postgres::Error> {
        Ok(TableId::new(
            row.try_get::<_, String>(0)?,
            row.try_get::<_, String>(1)?,
        ))
    };
    found.iter().map(|row| one(row).map_err(wrong)).collect()
}

/// The least number of marked tombstones below this one.
pub async fn next_batch(client: &Client, name: &str, below: i64) -> Result<Option<i64>> {
    let doing = "look for marked tombstones";
    let sql = format!(
        "SELECT min({GENERATION_COLUMN}) FROM {} WHERE {GENERATION_COLUMN} < $1",
        stones(name)
    );
    let row = client.query_one(&sql, &[&below]).await;
    row.and_then(|row| row.try_get(0))
        .map_err(|error| fail(doing, error))
}

/// Drops a batch and raises the table's floor. A row of this node's own below its tombstone is raised above both:
/// it was written while the delete arrived, and the peers have not taken it.
pub async fn drop_batch(client: &mut Client, batch: &Batch, holder: Holder<'_>) -> Result<Dropped> {
    let doing = "drop tombstones";
    let wrong = |error| fail(doing, error).table(&batch.table.id);
    let from = stones(&batch.stones);
    let transaction = client.transaction().await.map_err(wrong)?;
    let low = low_rows(&transaction, batch, &from).await?;
    let floor = raise_floor(&transaction, batch, &from, holder.sync).await?;
    for row in &low {
        raise(&transaction, batch, row, floor).await?;
        let conflict = evidence::raised(
            &batch.table.id,
            &row.key,
            row.row,
            row.tombstone,
            batch.me,
            batch.at_us,
        );
        let columns = record::columns(std::slice::from_ref(&conflict));
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![&holder.sync, &holder.link];
        for column in &columns {
            values.push(column.as_ref());
        }
        transaction
            .execute(record::RECORD, &values)
            .await
            .map_err(wrong)?;
    }
    let sql = format!(
        "DELETE FROM {from} WHERE {GENERATION_COLUMN} = $1 AND EXISTS (SELECT FROM tidelock.lease WHERE sync = $2 \
         AND link = $3 AND instance = $4 AND expires_at > clock_timestamp())"
    );
    let values: [&(dyn ToSql + Sync); 4] = [&batch.number, &holder.sync, &holder.link, &holder.instance];
    let tombstones = transaction.execute(&sql, &values).await.map_err(wrong)?;
    if tombstones == 0 {
        let sql = format!("SELECT FROM {from} WHERE {GENERATION_COLUMN} = $1 LIMIT 1");
        let left = transaction.query(&sql, &[&batch.number]).await.map_err(wrong)?;
        if !left.is_empty() {
            transaction.rollback().await.map_err(wrong)?;
            return Ok(Dropped::Fenced);
        }
    }
    transaction.commit().await.map_err(wrong)?;
    let raised = low.len() as u64;
    Ok(Dropped::Done { tombstones, raised })
}

/// A row below its tombstone. (A delete beats a write of its version.)
struct Low {
    place: (u32, String),
    key: String,
    row: Stamp,
    tombstone: Stamp,
}

async fn low_rows(transaction: &Transaction<'_>, batch: &Batch, from: &str) -> Result<Vec<Low>> {
    let wrong = |error| fail("look for rows below their tombstones", error).table(&batch.table.id);
    let (version, origin, joined) = match batch.table.is_beside() {
        false => (
            format!("t.{VERSION_COLUMN}"),
            format!("t.{ORIGIN_COLUMN}"),
            String::new(),
        ),
        true => (
            format!("coalesce(s.{VERSION_COLUMN}, 1)"),
            format!("coalesce(s.{ORIGIN_COLUMN}, 0)"),
            format!(
                " LEFT JOIN {} AS s ON {}",
                table(&stamps_of(&batch.table.id)),
                keys(&batch.table, |name, equals| format!("t.{name} {equals} s.{name}")).join(" AND ")
            ),
        ),
    };
    let sql = format!(
        "SELECT t.tableoid, t.ctid::text, json_build_array({})::text, {version}, {origin}, \
         x.{VERSION_COLUMN}, x.{ORIGIN_COLUMN} FROM {from} AS x JOIN {} AS t ON {}{joined} \
         WHERE x.{GENERATION_COLUMN} = $1 AND {version} <= x.{VERSION_COLUMN} \
         AND {origin} IN ($2::int2, 0) FOR UPDATE OF t",
        keys(&batch.table, |name, _| format!("t.{name}")).join(", "),
        table(&batch.table.id),
        keys(&batch.table, |name, equals| format!("t.{name} {equals} x.{name}")).join(" AND "),
    );
    let me = i16::try_from(batch.me).unwrap_or(i16::MAX);
    let found = transaction
        .query(&sql, &[&batch.number, &me])
        .await
        .map_err(wrong)?;
    let rank = |origin: i16| u16::try_from(origin).unwrap_or_default();
    let one = |row: &Row| -> Result<Low, tokio_postgres::Error> {
        Ok(Low {
            place: (row.try_get(0)?, row.try_get(1)?),
            key: row.try_get(2)?,
            row: Stamp::write(row.try_get(3)?, rank(row.try_get(4)?)),
            tombstone: Stamp::delete(row.try_get(5)?, rank(row.try_get(6)?)),
        })
    };
    found.iter().map(|row| one(row).map_err(wrong)).collect()
}

fn keys(table: &Table, each: impl Fn(&str, &str) -> String) -> Vec<String> {
    let columns = table.key.iter().map(|index| &table.columns[*index]);
    columns
        .map(|column| each(&quote(&column.name), &sql::equals(&column.ty)))
        .collect()
}

async fn raise_floor(transaction: &Transaction<'_>, batch: &Batch, from: &str, sync: &str) -> Result<i64> {
    let wrong = |error| fail("raise the floor of inserts", error).table(&batch.table.id);
    let (schema, name) = (&batch.table.id.schema, &batch.table.id.name);
    let sql = format!(
        "UPDATE tidelock.table_state AS s SET floor = most.version FROM (SELECT max({VERSION_COLUMN}) AS version \
         FROM {from} WHERE {GENERATION_COLUMN} = $4) AS most \
         WHERE s.sync = $1 AND s.schema_name = $2 AND s.table_name = $3 AND s.floor < most.version"
    );
    let values: [&(dyn ToSql + Sync); 4] = [&sync, schema, name, &batch.number];
    transaction.execute(&sql, &values).await.map_err(wrong)?;
    let sql =
        "SELECT floor FROM tidelock.table_state WHERE sync = $1 AND schema_name = $2 AND table_name = $3";
    let row = transaction
        .query_one(sql, &[&sync, schema, name])
        .await
        .map_err(wrong)?;
    row.try_get(0).map_err(wrong)
}

async fn raise(transaction: &Transaction<'_>, batch: &Batch, low: &Low, floor: i64) -> Result<()> {
    let doing = "raise a row above its tombstone";
    let sql = match batch.table.is_beside() {
        true => sql::beside::raise(&batch.table),
        false => format!(
            "UPDATE {} SET {VERSION_COLUMN} = $1, {ORIGIN_COLUMN} = $2 WHERE tableoid = $3 AND ctid = $4::text::tid",
            table(&batch.table.id)
        ),
    };
    if batch.table.is_beside() {
        let values: [&(dyn ToSql + Sync); 2] = [&low.place.0, &low.place.1];
        let done = transaction
            .execute(&sql::beside::complete_one(&batch.table), &values)
            .await;
        done.map_err(|error| fail(doing, error).table(&batch.table.id))?;
    }
    let version = low.tombstone.version.max(floor) + 1;
    let me = i16::try_from(batch.me).unwrap_or(i16::MAX);
    let values: [&(dyn ToSql + Sync); 4] = [&version, &me, &low.place.0, &low.place.1];
    let raised = transaction.execute(&sql, &values).await;
    match raised.map_err(|error| fail(doing, error).table(&batch.table.id))? {
        1 => Ok(()),
        _ => Err(Error::bug(doing)
            .table(&batch.table.id)
            .why("a locked row vanished")),
    }
}

pub async fn figures(client: &Client, sync: &str) -> Result<Option<TombstoneFigures>> {
    let doing = "count tombstones";
    let wrong = |error| fail(doing, error);
    let there = "SELECT to_regclass('tidelock.collection') IS NOT NULL";
    let there = client.query_one(there, &[]).await.map_err(wrong)?;
    let found = tables(client, sync).await?;
    if found.is_empty() {
        return Ok(None);
    }
    let mut figures = TombstoneFigures::default();
    for chunk in found.chunks(ASK_MAX) {
        let ask = chunk.iter().map(|at| {
            format!(
                "SELECT count(*), (extract(epoch FROM clock_timestamp() - min(deleted_at)) * 1000)::bigint \
                 FROM (SELECT deleted_at FROM {} LIMIT {COUNT_MAX}) AS counted",
                stones(&at.name)
            )
        });
        let ask: Vec<String> = ask.collect();
        for row in client.query(&ask.join(" UNION ALL "), &[]).await.map_err(wrong)? {
            figures.count += row.try_get::<_, i64>(0).map_err(wrong)?.unsigned_abs();
            let oldest: Option<i64> = row.try_get(1).map_err(wrong)?;
            figures.oldest_ms = figures.oldest_ms.max(oldest.map(|age| age.max(0).unsigned_abs()));
        }
    }
    if there.try_get::<_, bool>(0).map_err(wrong)? {
        let row = collection(client, sync).await?;
        figures.waits_for = row.map(|row| row.waits_for).unwrap_or_default();
    }
    Ok(Some(figures))
}
