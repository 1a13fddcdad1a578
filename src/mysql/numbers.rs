//! Numbers of keys on one MySQL or MariaDB server, where every node gives its own.
//!
//! Owns: the greatest ones, and what links noted of rows under other nodes' numbers. Refuses: setting counters (see
//! `setup/numbers`). A server of an older version answers with empty results.

use super::sql::{quote, table};
use super::target::take;
use super::{catalog, fail};
use crate::error::{Error, Result};
use crate::model::numbers::Strays;
use crate::model::schema::TableId;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, params};

/// The greatest number among the keys of each table; 0 where there is none, and no such key.
pub async fn greatest(conn: &mut Conn, tables: &[TableId]) -> Result<Vec<i64>> {
    let mut out = Vec::with_capacity(tables.len());
    for found in catalog::tables(conn, tables).await? {
        let numbered = found.as_ref().and_then(|found| Some((found, found.numbered()?)));
        let Some((catalog, column)) = numbered else {
            out.push(0);
            continue;
        };
        let id = &catalog.table.id;
        // Numbers that no signed one follows are not counted by more than one node.
        let sql = format!(
            "SELECT CAST(COALESCE(LEAST(MAX({}), {}), 0) AS SIGNED) FROM {}",
            quote(&column.name),
            i64::MAX,
            table(id)
        );
        let number: Option<i64> = conn
            .query_first(sql)
            .await
            .map_err(|error| fail("find the greatest key", error).table(id))?;
        out.push(number.unwrap_or_default());
    }
    Ok(out)
}

/// What links of a sync, or one of them, noted here.
pub async fn strays(conn: &mut Conn, sync: &str, link: Option<&str>) -> Result<Vec<Strays>> {
    let doing = "read which rows came under other nodes' numbers";
    let sql = "SELECT COUNT(*) FROM information_schema.tables
                WHERE table_schema = 'tidelock' AND table_name = 'stray_number'";
    let count: Option<u64> = conn.query_first(sql).await.map_err(|error| fail(doing, error))?;
    if count != Some(1) {
        return Ok(Vec::new());
    }
    let sql = "SELECT link, schema_name, table_name, strays, DATE_FORMAT(last_at, '%Y-%m-%dT%H:%i:%sZ')
                 FROM tidelock.stray_number WHERE sync = :sync AND link = COALESCE(:link, link) ORDER BY 1, 2, 3";
    let rows: Result<Vec<Row>, _> = conn.exec(sql, params! { sync, link }).await;
    let one = |mut row: Row| {
        Some(Strays {
            link: take(&mut row, 0)?,
            table: TableId::new(take::<String>(&mut row, 1)?, take::<String>(&mut row, 2)?),
            count: take::<i64>(&mut row, 3)?.unsigned_abs(),
            last_at: take(&mut row, 4)?,
        })
    };
    let rows = rows.map_err(|error| fail(doing, error))?;
    rows.into_iter()
        .map(|row| one(row).ok_or_else(|| Error::definite(doing).why("a row is of another version")))
        .collect()
}
