//! Tombstones of one MySQL or MariaDB server: marking them, dropping them, and what is kept about that.
//!
//! Owns: the statements on `tidelock.collection`, and on tables of tombstones all that is not a row's own delete or
//! apply. Refuses: deciding when they go (see `merge::collection` and `flow::collect`).
//! Fails: by [`fail`]; a lock that somebody keeps is `Transient`. A batch is dropped whole, with the floor raised, or not
//! at all.

use super::evidence as record;
use super::sql::{key_index, quote, table};
use super::{anew, fail, flavor};
use crate::error::{Error, Result};
use crate::model::collection::{
    Batch, COUNT_MAX, Collection, Dropped, Holder, Reach, Stones, TombstoneFigures,
};
use crate::model::origin::CONTROL;
use crate::model::schema::{Table, TableId};
use crate::model::stamp::{Rank, Stamp};
use crate::model::sync::{GENERATION_COLUMN, ORIGIN_COLUMN, VERSION_COLUMN, stamps_of};
use crate::plan::evidence;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Row, Value, params};

/// Nobody is kept waiting, and our raising of a row is no user's: triggers stay silent.
const SESSION: &str =
    "SET @tidelock_apply = 1, SESSION foreign_key_checks = 0, SESSION innodb_lock_wait_timeout = 2";
const BATCH_ROWS: u64 = 1_000;
/// Tables asked about in one statement.
const ASK_MAX: usize = 100;

pub async fn open(conn: &mut Conn) -> Result<()> {
    let doing = "set up the session that collects tombstones";
    conn.query_drop(SESSION).await.map_err(|error| fail(doing, error))
}

fn stones(name: &str) -> String {
    table(&TableId::new(CONTROL, name))
}

async fn execute(conn: &mut Conn, doing: &str, sql: &str, values: Params) -> Result<u64> {
    conn.exec_drop(sql, values)
        .await
        .map_err(|error| fail(doing, error))?;
    Ok(conn.affected_rows())
}

/// The merge tables of a sync, and whether they have tombstones.
pub async fn tombstones(conn: &mut Conn, sync: &str) -> Result<Vec<Stones>> {
    let mut found = tables(conn, sync).await?;
    for chunk in found.chunks_mut(ASK_MAX) {
        let ask = chunk.iter().enumerate().map(|(index, at)| {
            let from = stones(&at.name);
            format!(
                "SELECT {index}, EXISTS (SELECT 1 FROM {from} WHERE {GENERATION_COLUMN} IS NULL), \
                 EXISTS (SELECT 1 FROM {from} WHERE {GENERATION_COLUMN} IS NOT NULL)"
            )
        });
        let ask: Vec<String> = ask.collect();
        let answers: Vec<(usize, bool, bool)> = conn
            .query(ask.join(" UNION ALL "))
            .await
            .map_err(|error| fail("look for tombstones", error))?;
        for (index, has_unmarked, has_marked) in answers {
            if let Some(at) = chunk.get_mut(index) {
                (at.has_unmarked, at.has_marked) = (has_unmarked, has_marked);
            }
        }
    }
    Ok(found)
}

async fn tables(conn: &mut Conn, sync: &str) -> Result<Vec<Stones>> {
    let sql = "SELECT schema_name, table_name, tombstones FROM tidelock.table_state
                WHERE sync = :sync AND tombstones IS NOT NULL ORDER BY 1, 2";
    let rows: Vec<(String, String, String)> = conn
        .exec(sql, params! { sync })
        .await
        .map_err(|error| fail("look for tables of tombstones", error))?;
    let one = |(schema, table, name): (String, String, String)| Stones {
        table: TableId::new(schema, table),
        name,
        has_unmarked: false,
        has_marked: false,
    };
    Ok(rows.into_iter().map(one).collect())
}

/// `None`: nothing was ever marked.
pub async fn collection(conn: &mut Conn, sync: &str) -> Result<Option<Collection>> {
    let sql = "SELECT generation, state, waits_for FROM tidelock.collection WHERE sync = :sync";
    let row: Option<(i64, Option<String>, String)> = conn
        .exec_first(sql, params! { sync })
        .await
        .map_err(|error| fail("read what is collected", error))?;
    Ok(row.map(|(generation, state, waits_for)| Collection {
        generation,
        state,
        waits_for,
    }))
}

/// Begins the generation after `last`. `false`: somebody else did.
pub async fn begin(conn: &mut Conn, sync: &str, last: i64) -> Result<bool> {
    let doing = "begin to collect tombstones";
    let first = "INSERT INTO tidelock.collection (sync, generation, waits_for) VALUES (:sync, 0, '')
                 ON DUPLICATE KEY UPDATE sync = VALUES(sync)";
    execute(conn, doing, first, params! { sync }).await?;
    let begin = "UPDATE tidelock.collection SET generation = generation + 1, state = NULL, waits_for = '',
                        marked_at = NOW(6) WHERE sync = :sync AND generation = :last";
    Ok(execute(conn, doing, begin, params! { sync, last }).await? == 1)
}

/// Keeps what a generation waits for. `false`: somebody has begun another one.
pub async fn keep(conn: &mut Conn, sync: &str, row: &Collection) -> Result<bool> {
    let keep = "UPDATE tidelock.collection SET state = :state, waits_for = :waits_for
                 WHERE sync = :sync AND generation = :generation";
    let (generation, state, waits_for) = (row.generation, &row.state, &row.waits_for);
    let values = params! { sync, generation, state, waits_for };
    Ok(execute(conn, "keep what tombstones wait for", keep, values).await? == 1)
}

/// Marks some tombstones that are not marked; zero = there are none.
pub async fn mark(conn: &mut Conn, name: &str, number: i64) -> Result<u64> {
    let sql = format!(
        "UPDATE {} SET {GENERATION_COLUMN} = :number WHERE {GENERATION_COLUMN} IS NULL LIMIT {BATCH_ROWS}",
        stones(name)
    );
    execute(conn, "mark tombstones", &sql, params! { number }).await
}

/// Checkpoints and held tables of one moment: a table is as far as its link unless it is held, lacks what was skipped, or is
/// to be copied anew.
pub async fn reach(conn: &mut Conn, sync: &str) -> Result<Reach> {
    type Found = (String, String, i64, Option<String>, Option<String>);
    let doing = "read how far the links are";
    let sql = "SELECT link, position, seq, NULL AS s, NULL AS t FROM tidelock.checkpoint WHERE sync = :sync
                UNION ALL SELECT link, position, 0, schema_name, table_name
                            FROM tidelock.held_table WHERE sync = :sync
                UNION ALL SELECT link, '', 0, schema_name, table_name
                            FROM tidelock.out_of_sync WHERE sync = :sync
                UNION ALL SELECT link, '', 0, schema_name, table_name
                            FROM tidelock.resync WHERE sync = :sync
                UNION ALL SELECT CONCAT('of node ', n.name, ', which leaves'), '', 0, s.schema_name, s.table_name
                            FROM tidelock.node n JOIN tidelock.table_state s ON s.sync = n.sync
                           WHERE n.sync = :sync AND n.state = 'leaving'
                ORDER BY 3";
    let rows: Vec<Found> = conn
        .exec(sql, params! { sync })
        .await
        .map_err(|error| fail(doing, error))?;
    let mut reach = Reach::default();
    for (link, position, _, schema, name) in rows {
        if let Some((schema, name)) = schema.zip(name) {
            reach.held.push((link, TableId::new(schema, name)));
            continue;
        }
        let position = position
            .parse()
            .map_err(|error| Error::definite(doing).because(error))?;
        // The greatest seq of its lanes comes last.
        reach.links.retain(|(known, _)| *known != link);
        reach.links.push((link, position));
    }
    reach.parked = parked(conn, sync).await?;
    Ok(reach)
}

/// Tables with parked changes. Without the table that keeps those there are none.
async fn parked(conn: &mut Conn, sync: &str) -> Result<Vec<TableId>> {
    let doing = "look for parked changes";
    let there = "SELECT COUNT(*) FROM information_schema.tables
                  WHERE table_schema = 'tidelock' AND table_name = 'parked'";
    let there: Option<u64> = conn
        .query_first(there)
        .await
        .map_err(|error| fail(doing, error))?;
    if there != Some(1) {
        return Ok(Vec::new());
    }
    let sql = "SELECT DISTINCT schema_name, table_name FROM tidelock.parked WHERE sync = :sync";
    let found: Vec<(String, String)> = conn
        .exec(sql, params! { sync })
        .await
        .map_err(|error| fail(doing, error))?;
    Ok(found
        .into_iter()
        .map(|(schema, name)| TableId::new(schema, name))
        .collect())
}

/// The least number of marked tombstones below this one.
pub async fn next_batch(conn: &mut Conn, name: &str, below: i64) -> Result<Option<i64>> {
    let sql = format!(
        "SELECT MIN({GENERATION_COLUMN}) FROM {} WHERE {GENERATION_COLUMN} < :below",
        stones(name)
    );
    let least: Option<Option<i64>> = conn
        .exec_first(sql, params! { below })
        .await
        .map_err(|error| fail("look for marked tombstones", error))?;
    Ok(least.flatten())
}

/// Drops a batch and raises the table's floor. A row of this node's own below its tombstone is raised above both:
/// it was written while the delete arrived, and the peers have not taken it.
pub async fn drop_batch(conn: &mut Conn, batch: &Batch, holder: Holder<'_>) -> Result<Dropped> {
    let doing = "drop tombstones";
    let wrong = |error| fail(doing, error).table(&batch.table.id);
    conn.query_drop("START TRANSACTION").await.map_err(wrong)?;
    let outcome = dropped(conn, batch, holder).await;
    let end = match &outcome {
        Ok(Dropped::Done { .. }) => "COMMIT",
        Ok(Dropped::Fenced) | Err(_) => "ROLLBACK",
    };
    let ended = conn.query_drop(end).await.map_err(wrong);
    let outcome = outcome?;
    ended.map(|()| outcome)
}

async fn dropped(conn: &mut Conn, batch: &Batch, holder: Holder<'_>) -> Result<Dropped> {
    let doing = "drop tombstones";
    let of_table = |error: Error| error.table(&batch.table.id);
    let from = stones(&batch.stones);
    let low = low_rows(conn, batch, &from).await?;
    let floor = raise_floor(conn, batch, &from, holder.sync)
        .await
        .map_err(of_table)?;
    for row in &low {
        raise(conn, batch, row, floor).await.map_err(of_table)?;
        let conflict = evidence::raised(
            &batch.table.id,
            &row.key,
            row.row,
            row.tombstone,
            batch.me,
            batch.at_us,
        );
        let record = record::record(holder.sync, holder.link, &[conflict], "");
        conn.query_drop(record)
            .await
            .map_err(|error| fail("record a raised row", error))?;
    }
    let sql = format!(
        "DELETE FROM {from} WHERE {GENERATION_COLUMN} = :number AND EXISTS (SELECT 1 FROM tidelock.lease \
         WHERE sync = :sync AND link = :link AND instance = :instance AND expires_at > NOW(6))"
    );
    let (Holder { sync, link, instance }, number) = (holder, batch.number);
    let values = params! { number, sync, link, instance };
    let tombstones = execute(conn, doing, &sql, values).await.map_err(of_table)?;
    let below = batch.number.saturating_add(1);
    if tombstones == 0 && next_batch(conn, &batch.stones, below).await? == Some(batch.number) {
        return Ok(Dropped::Fenced);
    }
    let raised = low.len() as u64;
    Ok(Dropped::Done { tombstones, raised })
}

/// A row below its tombstone. (A delete beats a write of its version.)
struct Low {
    key_values: Vec<Value>,
    key: String,
    row: Stamp,
    tombstone: Stamp,
}

/// The tombstones come from a list of their own, which is read without locks; of the rows under their keys those are
/// waited for that somebody has inserted and not committed.
async fn low_rows(conn: &mut Conn, batch: &Batch, from: &str) -> Result<Vec<Low>> {
    let wrong = |error| fail("look for rows below their tombstones", error).table(&batch.table.id);
    let names = keys(&batch.table);
    let each = |prefix: &str| {
        let names = names.iter().map(|name| format!("{prefix}{name}"));
        names.collect::<Vec<_>>().join(", ")
    };
    let equal = |with: &str| {
        let equal = names.iter().map(|name| format!("t.{name} = {with}.{name}"));
        equal.collect::<Vec<_>>().join(" AND ")
    };
    let (version, origin, stamps) = match batch.table.is_beside() {
        false => (
            format!("t.{VERSION_COLUMN}"),
            format!("t.{ORIGIN_COLUMN}"),
            String::new(),
        ),
        true => (
            format!("COALESCE(s.{VERSION_COLUMN}, 1)"),
            format!("COALESCE(s.{ORIGIN_COLUMN}, 0)"),
            format!(
                " LEFT JOIN {} AS s ON {}",
                table(&stamps_of(&batch.table.id)),
                equal("s")
            ),
        ),
    };
    let sql = format!(
        "SELECT CAST(JSON_ARRAY({own}) AS CHAR), {version}, {origin}, x.v, x.o, {own} \
         FROM (SELECT {keys}, {VERSION_COLUMN} AS v, {ORIGIN_COLUMN} AS o FROM {from} \
         WHERE {GENERATION_COLUMN} = :number LIMIT {COUNT_MAX}) AS x \
         STRAIGHT_JOIN {} AS t FORCE INDEX ({index}) ON {}{stamps} \
         WHERE {version} <= x.v AND {origin} IN (:me, 0) FOR UPDATE",
        table(&batch.table.id),
        equal("x"),
        index = key_index(&batch.table),
        own = each("t."),
        keys = each(""),
    );
    let (number, me) = (batch.number, batch.me);
    let found: Vec<Row> = conn.exec(sql, params! { number, me }).await.map_err(wrong)?;
    found.into_iter().map(|row| low(row, &batch.table)).collect()
}

fn low(row: Row, table: &Table) -> Result<Low> {
    let wrong = || Error::bug("look for rows below their tombstones").table(&table.id);
    let mut cells = row.unwrap().into_iter();
    let mut stamps = [0_i64; 4];
    let key = cells
        .next()
        .and_then(|cell| mysql_async::from_value_opt::<String>(cell).ok());
    for stamp in &mut stamps {
        let cell = cells
            .next()
            .and_then(|cell| mysql_async::from_value_opt(cell).ok());
        *stamp = cell.ok_or_else(wrong)?;
    }
    let rank = |origin: i64| Rank::try_from(origin).unwrap_or_default();
    Ok(Low {
        key: key.ok_or_else(wrong)?,
        row: Stamp::write(stamps[0], rank(stamps[1])),
        tombstone: Stamp::delete(stamps[2], rank(stamps[3])),
        key_values: cells.collect(),
    })
}

fn keys(table: &Table) -> Vec<String> {
    let columns = table.key.iter().map(|index| &table.columns[*index]);
    columns.map(|column| quote(&column.name)).collect()
}

async fn raise_floor(conn: &mut Conn, batch: &Batch, from: &str, sync: &str) -> Result<i64> {
    let doing = "raise the floor of inserts";
    let most = format!("SELECT MAX({VERSION_COLUMN}) FROM {from} WHERE {GENERATION_COLUMN} = :number");
    let number = batch.number;
    let most: Option<Option<i64>> = conn
        .exec_first(most, params! { number })
        .await
        .map_err(|error| fail(doing, error))?;
    let (schema, name) = (&batch.table.id.schema, &batch.table.id.name);
    let most = most.flatten().unwrap_or_default();
    let raise = "UPDATE tidelock.table_state SET floor = :most
                  WHERE sync = :sync AND schema_name = :schema AND table_name = :name AND floor < :most";
    execute(conn, doing, raise, params! { sync, schema, name, most }).await?;
    let floor = "SELECT floor FROM tidelock.table_state
                  WHERE sync = :sync AND schema_name = :schema AND table_name = :name";
    let floor: Option<i64> = conn
        .exec_first(floor, params! { sync, schema, name })
        .await
        .map_err(|error| fail(doing, error))?;
    // Without the row the floor would be lost, and inserts could start below what is dropped.
    floor.ok_or_else(|| {
        Error::definite(doing)
            .why("the table's row in tidelock.table_state is gone")
            .hint("tidelock setup --execute")
    })
}

async fn raise(conn: &mut Conn, batch: &Batch, low: &Low, floor: i64) -> Result<()> {
    let doing = "raise a row above its tombstone";
    let version = low.tombstone.version.max(floor) + 1;
    if batch.table.is_beside() {
        let (flavor, stamp) = (flavor(conn).await?, Stamp::write(version, batch.me));
        return anew::raise(conn, flavor, &batch.table, &low.key_values, stamp).await;
    }
    let is_it: Vec<String> = keys(&batch.table)
        .iter()
        .map(|name| format!("{name} = ?"))
        .collect();
    let sql = format!(
        "UPDATE {} SET {VERSION_COLUMN} = ?, {ORIGIN_COLUMN} = ? WHERE {}",
        table(&batch.table.id),
        is_it.join(" AND ")
    );
    let mut values = vec![Value::from(version), Value::from(batch.me)];
    values.extend(low.key_values.iter().cloned());
    match execute(conn, doing, &sql, Params::Positional(values)).await? {
        1 => Ok(()),
        _ => Err(Error::definite(doing)
            .why("it is not found by its key")
            .hint("UPDATE it by any other condition: its version is raised by that")),
    }
}

pub async fn figures(conn: &mut Conn, sync: &str) -> Result<Option<TombstoneFigures>> {
    let doing = "count tombstones";
    let there = "SELECT COUNT(*) FROM information_schema.tables
                  WHERE table_schema = 'tidelock' AND table_name = 'collection'";
    let there: Option<u64> = conn
        .query_first(there)
        .await
        .map_err(|error| fail(doing, error))?;
    let found = tables(conn, sync).await?;
    if found.is_empty() {
        return Ok(None);
    }
    let mut figures = TombstoneFigures::default();
    for chunk in found.chunks(ASK_MAX) {
        let ask = chunk.iter().map(|at| {
            format!(
                "SELECT COUNT(*), TIMESTAMPDIFF(MICROSECOND, MIN(deleted_at), NOW(6)) DIV 1000 \
                 FROM (SELECT deleted_at FROM {} LIMIT {COUNT_MAX}) AS counted",
                stones(&at.name)
            )
        });
        let ask: Vec<String> = ask.collect();
        let answers: Vec<(u64, Option<i64>)> = conn
            .query(ask.join(" UNION ALL "))
            .await
            .map_err(|error| fail(doing, error))?;
        for (count, oldest) in answers {
            figures.count += count;
            figures.oldest_ms = figures.oldest_ms.max(oldest.map(|age| age.max(0).unsigned_abs()));
        }
    }
    if there == Some(1) {
        let row = collection(conn, sync).await?;
        figures.waits_for = row.map(|row| row.waits_for).unwrap_or_default();
    }
    Ok(Some(figures))
}
