//! Chunks of a MySQL or MariaDB table, and how far the copies into this server are.
//!
//! Owns: finding a table's bounds, and reading `tidelock.chunk` for whoever goes on with a copy or watches it. Refuses:
//! writing it, which the target does in the transaction of the rows. A server of an older version answers that there
//! are none.

use super::target::take;
use super::{fail, sql};
use crate::chunk::{self, Bound, Chunk, Range, from_json};
use crate::error::{Error, Result};
use crate::model::schema::{Engine, TableId};
use crate::model::sync::{CatalogTable, Size, TableCopy};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, params};

/// The keys that cut the table into chunks of so many rows.
pub async fn bounds(conn: &mut Conn, of: &CatalogTable, rows: u64, size: Option<Size>) -> Result<Vec<Bound>> {
    let (doing, table) = ("cut a table into chunks", &of.table);
    if chunk::is_counted(Engine::Mysql, table) {
        let ends: Option<(Option<String>, Option<String>)> = conn
            .query_first(sql::range::ends(table))
            .await
            .map_err(|error| fail(doing, error).table(&table.id))?;
        if let Some((Some(least), Some(greatest))) = ends
            && let Some(bounds) = chunk::even(&least, &greatest, rows, size)
        {
            return Ok(bounds);
        }
    }
    let mut bounds: Vec<Bound> = Vec::new();
    loop {
        let next = sql::range::bound(table, bounds.last(), rows);
        let found: Option<Row> = conn
            .query_first(next)
            .await
            .map_err(|error| fail(doing, error).table(&table.id))?;
        let Some(mut row) = found else { return Ok(bounds) };
        let bound: Option<Bound> = (0..table.key.len()).map(|place| take(&mut row, place)).collect();
        bounds.push(bound.ok_or_else(|| Error::bug(doing).table(&table.id))?);
    }
}

const DOING: &str = "read how far a copy is";

async fn is_there(conn: &mut Conn) -> Result<bool> {
    let sql = "SELECT COUNT(*) FROM information_schema.tables
                WHERE table_schema = 'tidelock' AND table_name = 'chunk'";
    let count: Option<u64> = conn.query_first(sql).await.map_err(|error| fail(DOING, error))?;
    Ok(count == Some(1))
}

fn unknown() -> Error {
    Error::definite(DOING).why("a row of tidelock.chunk is of another version of Tidelock")
}

pub async fn progress(conn: &mut Conn, sync: &str, link: &str) -> Result<Vec<TableCopy>> {
    if !is_there(conn).await? {
        return Ok(Vec::new());
    }
    let sql = "SELECT CONCAT(schema_name, '.', table_name), COUNT(*), CAST(SUM(state = 'done') AS SIGNED),
                      CAST(SUM(copied_rows) AS SIGNED), CAST(SUM(estimated_rows) AS SIGNED),
                      CAST(SUM(copied_bytes) AS SIGNED), CAST(SUM(estimated_bytes) AS SIGNED)
                 FROM tidelock.chunk WHERE sync = :sync AND link = :link AND schema_name <> 'tidelock' GROUP BY 1 ORDER BY 1";
    let rows: Result<Vec<Row>, _> = conn.exec(sql, params! { sync, link }).await;
    let table = |mut row: Row| {
        Some(TableCopy {
            table: take(&mut row, 0)?,
            chunks: take(&mut row, 1)?,
            chunks_done: take(&mut row, 2)?,
            rows: take(&mut row, 3)?,
            rows_estimated: take(&mut row, 4)?,
            bytes: take(&mut row, 5)?,
            bytes_estimated: take(&mut row, 6)?,
        })
    };
    let rows = rows.map_err(|error| fail(DOING, error))?;
    rows.into_iter()
        .map(|row| table(row).ok_or_else(unknown))
        .collect()
}

pub async fn chunks(conn: &mut Conn, sync: &str, link: &str) -> Result<Vec<Chunk>> {
    if !is_there(conn).await? {
        return Ok(Vec::new());
    }
    let sql = "SELECT schema_name, table_name, number, low_key, high_key, CAST(state = 'done' AS SIGNED),
                      estimated_rows, estimated_bytes, copied_rows, copied_bytes
                 FROM tidelock.chunk WHERE sync = :sync AND link = :link ORDER BY 1, 2, 3";
    let rows: Result<Vec<Row>, _> = conn.exec(sql, params! { sync, link }).await;
    rows.map_err(|error| fail(DOING, error))?
        .into_iter()
        .map(|mut row| chunk(&mut row).ok_or_else(unknown))
        .collect()
}

fn chunk(row: &mut Row) -> Option<Chunk> {
    let mut bound = |place| -> Option<Option<Bound>> {
        let text: Option<String> = take(row, place)?;
        Some(text.and_then(|text| from_json(&text)))
    };
    let range = Range {
        low: bound(3)?,
        high: bound(4)?,
    };
    Some(Chunk {
        table: TableId::new(take::<String>(row, 0)?, take::<String>(row, 1)?),
        number: take(row, 2)?,
        range,
        is_done: take::<i64>(row, 5)? == 1,
        estimated_rows: take(row, 6)?,
        estimated_bytes: take(row, 7)?,
        copied_rows: take(row, 8)?,
        copied_bytes: take(row, 9)?,
    })
}
