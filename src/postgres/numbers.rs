//! Numbers of keys in one PostgreSQL database, where every node gives its own.
//!
//! Owns: the greatest ones, and what links noted of rows under other nodes' numbers. Refuses: setting counters (see
//! `setup/numbers`). A database of an older version answers with empty results.

use super::sql::{quote, table};
use super::{catalog, fail};
use crate::error::Result;
use crate::model::numbers::Strays;
use crate::model::schema::TableId;
use tokio_postgres::{Client, Row};

/// The greatest number among the keys of each table; 0 where there is none, and no such key.
pub async fn greatest(client: &Client, tables: &[TableId]) -> Result<Vec<i64>> {
    let mut out = Vec::with_capacity(tables.len());
    for found in catalog::tables(client, tables).await? {
        let numbered = found.as_ref().and_then(|found| Some((found, found.numbered()?)));
        let Some((catalog, column)) = numbered else {
            out.push(0);
            continue;
        };
        let id = &catalog.table.id;
        let sql = format!(
            "SELECT coalesce(max({})::bigint, 0) FROM {}",
            quote(&column.name),
            table(id)
        );
        let row = client.query_one(&sql, &[]).await;
        let number = row.and_then(|row| row.try_get(0));
        out.push(number.map_err(|error| fail("find the greatest key", error).table(id))?);
    }
    Ok(out)
}

/// What links of a sync, or one of them, noted here.
pub async fn strays(client: &Client, sync: &str, link: Option<&str>) -> Result<Vec<Strays>> {
    let wrong = |error| fail("read which rows came under other nodes' numbers", error);
    let sql = "SELECT to_regclass('tidelock.stray_number') IS NOT NULL";
    let row = client.query_one(sql, &[]).await.map_err(wrong)?;
    if !row.try_get::<_, bool>(0).map_err(wrong)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT link, schema_name, table_name, strays,
                      to_char(last_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
                 FROM tidelock.stray_number WHERE sync = $1 AND link = coalesce($2, link) ORDER BY 1, 2, 3";
    let rows = client.query(sql, &[&sync, &link]).await.map_err(wrong)?;
    let one = |row: &Row| -> Result<Strays, tokio_postgres::Error> {
        Ok(Strays {
            link: row.try_get(0)?,
            table: TableId::new(row.try_get::<_, String>(1)?, row.try_get::<_, String>(2)?),
            count: row.try_get::<_, i64>(3)?.unsigned_abs(),
            last_at: row.try_get(4)?,
        })
    };
    rows.iter().map(|row| one(row).map_err(wrong)).collect()
}
