//! Chunks of a MySQL or MariaDB table, and how far the copies into this server are.
//!
//! Owns: finding a table's bounds, and reading `tidelock.chunk` for whoever goes on with a copy or watches it. Refuses:
//! writing it, which the target does in the transaction of the rows. A server of an older version answers that there
//! are none.

use super::target::take;
use super::{fail, sql};
use crate::chunk::{Bound, Chunk, Range, from_json};
use crate::error::{Error, Result};
use crate::model::schema::TableId;
use crate::model::sync::CatalogTable;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, params};

/// The keys that cut the table into chunks of so many rows.
pub async fn bounds(conn: &mut Conn, of: &CatalogTable, rows: u64) -> Result<Vec<Bound>> {
    let (doing, table) = ("cut a table into chunks", &of.table);
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

pub async fn chunks(conn: &mut Conn, sync: &str, link: &str) -> Result<Vec<Chunk>> {
    let doing = "read how far a copy is";
    let there: Result<Option<u64>, _> = conn
        .query_first(
            "SELECT COUNT(*) FROM information_schema.tables
              WHERE table_schema = 'tidelock' AND table_name = 'chunk'",
        )
        .await;
    if there.map_err(|error| fail(doing, error))? != Some(1) {
        return Ok(Vec::new());
    }
    let sql = "SELECT schema_name, table_name, number, low_key, high_key, CAST(state = 'done' AS SIGNED),
                      estimated_rows, estimated_bytes, copied_rows, copied_bytes
                 FROM tidelock.chunk WHERE sync = :sync AND link = :link ORDER BY 1, 2, 3";
    let rows: Result<Vec<Row>, _> = conn.exec(sql, params! { sync, link }).await;
    let unknown = || Error::definite(doing).why("a row of tidelock.chunk is of another version of Tidelock");
    rows.map_err(|error| fail(doing, error))?
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
