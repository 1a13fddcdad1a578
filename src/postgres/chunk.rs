//! Chunks of a PostgreSQL table, and how far the copies into this database are.
//!
//! Owns: finding a table's bounds, and reading `tidelock.chunk` for whoever goes on with a copy or watches it. Refuses:
//! writing it, which the target does in the transaction of the rows. A database of an older version answers that there
//! are none.

use super::{fail, sql};
use crate::chunk::{self, Bound, Chunk, Range, from_json};
use crate::error::{Error, Result};
use crate::model::schema::{Engine, Table, TableId};
use crate::model::sync::{CatalogTable, Size, TableCopy};
use tokio_postgres::{Client, Row, SimpleQueryMessage, SimpleQueryRow};

const CUTTING: &str = "cut a table into chunks";

/// The keys that cut the table into chunks of so many rows.
pub async fn bounds(client: &Client, of: &CatalogTable, rows: u64, size: Option<Size>) -> Result<Vec<Bound>> {
    let (table, only) = (&of.table, sql::range::only(of));
    if chunk::is_counted(Engine::Postgres, table)
        && let Some(ends) = first(client, table, &sql::range::ends(table, only)).await?
        && let (Some(least), Some(greatest)) = (ends.get(0), ends.get(1))
        && let Some(bounds) = chunk::even(least, greatest, rows, size)
    {
        return Ok(bounds);
    }
    let mut bounds: Vec<Bound> = Vec::new();
    loop {
        let next = sql::range::bound(table, only, bounds.last(), rows);
        let Some(row) = first(client, table, &next).await? else {
            return Ok(bounds);
        };
        let cell = |place| row.get(place).map(str::to_owned);
        let bound: Option<Bound> = (0..table.key.len()).map(cell).collect();
        bounds.push(bound.ok_or_else(|| Error::bug(CUTTING).table(&table.id))?);
    }
}

async fn first(client: &Client, table: &Table, sql: &str) -> Result<Option<SimpleQueryRow>> {
    let found = client.simple_query(sql).await;
    let found = found.map_err(|error| fail(CUTTING, error).table(&table.id))?;
    Ok(found.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    }))
}

const DOING: &str = "read how far a copy is";

async fn is_there(client: &Client) -> Result<bool> {
    let sql = "SELECT to_regclass('tidelock.chunk') IS NOT NULL";
    let row = client.query_one(sql, &[]).await;
    row.and_then(|row| row.try_get(0))
        .map_err(|error| fail(DOING, error))
}

pub async fn progress(client: &Client, sync: &str, link: &str) -> Result<Vec<TableCopy>> {
    if !is_there(client).await? {
        return Ok(Vec::new());
    }
    let sql = "SELECT schema_name || '.' || table_name, count(*), count(*) FILTER (WHERE state = 'done'),
                      sum(copied_rows)::bigint, sum(estimated_rows)::bigint, sum(copied_bytes)::bigint,
                      sum(estimated_bytes)::bigint
                 FROM tidelock.chunk WHERE sync = $1 AND link = $2 AND schema_name <> 'tidelock' GROUP BY 1 ORDER BY 1";
    let rows = client.query(sql, &[&sync, &link]).await;
    let table = |row: &Row| -> Result<TableCopy, tokio_postgres::Error> {
        let count = |place| Ok::<_, tokio_postgres::Error>(row.try_get::<_, i64>(place)?.unsigned_abs());
        Ok(TableCopy {
            table: row.try_get(0)?,
            chunks: count(1)?,
            chunks_done: count(2)?,
            rows: count(3)?,
            rows_estimated: row.try_get::<_, Option<i64>>(4)?.map(i64::unsigned_abs),
            bytes: count(5)?,
            bytes_estimated: count(6)?,
        })
    };
    let rows = rows.map_err(|error| fail(DOING, error))?;
    rows.iter()
        .map(|row| table(row).map_err(|error| fail(DOING, error)))
        .collect()
}

pub async fn chunks(client: &Client, sync: &str, link: &str) -> Result<Vec<Chunk>> {
    if !is_there(client).await? {
        return Ok(Vec::new());
    }
    let sql = "SELECT schema_name, table_name, number, low_key, high_key, state = 'done', estimated_rows,
                      estimated_bytes, copied_rows, copied_bytes
                 FROM tidelock.chunk WHERE sync = $1 AND link = $2 ORDER BY 1, 2, 3";
    let rows = client.query(sql, &[&sync, &link]).await;
    let rows = rows.map_err(|error| fail(DOING, error))?;
    let chunk = |row: &Row| chunk(row).map_err(|error| fail(DOING, error));
    rows.iter().map(chunk).collect()
}

fn chunk(row: &Row) -> Result<Chunk, tokio_postgres::Error> {
    let bound = |place| -> Result<Option<Bound>, tokio_postgres::Error> {
        Ok(row.try_get::<_, Option<&str>>(place)?.and_then(from_json))
    };
    let count = |place| Ok::<_, tokio_postgres::Error>(row.try_get::<_, i64>(place)?.unsigned_abs());
    Ok(Chunk {
        table: TableId::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?),
        number: row.try_get(2)?,
        range: Range {
            low: bound(3)?,
            high: bound(4)?,
        },
        is_done: row.try_get(5)?,
        estimated_rows: row.try_get::<_, Option<i64>>(6)?.map(i64::unsigned_abs),
        estimated_bytes: count(7)?,
        copied_rows: count(8)?,
        copied_bytes: count(9)?,
    })
}
