//! Tables that a link holds while its other tables go on, as one PostgreSQL database keeps them.
//!
//! Owns: the statements on `tidelock.held_table`. Refuses: deciding what is held, and when it is taken up (see
//! `flow::hold`). What a link itself writes there stands in the transaction that moves its checkpoint.

use super::operations::left_out;
use super::{fail, sql};
use crate::error::{Error, Result};
use crate::model::operation::HeldTable;
use crate::model::schema::TableId;
use tokio_postgres::{Client, Row};

/// A table that stops again keeps the time since when it is held.
pub(super) const HOLD: &str = "INSERT INTO tidelock.held_table AS h (sync, link, schema_name, table_name, position, \
    stop_position, stop_past, stop_error, stop_hint) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
    ON CONFLICT (sync, link, schema_name, table_name) DO UPDATE SET position = excluded.position, \
    stop_position = excluded.stop_position, stop_past = excluded.stop_past, stop_error = excluded.stop_error, \
    stop_hint = excluded.stop_hint, resumed = false RETURNING 1";

pub(super) const ADVANCE: &str = "UPDATE tidelock.held_table SET position = $5 WHERE sync = $1 AND link = $2 \
    AND (schema_name::text, table_name::text) IN (SELECT * FROM unnest($3::text[], $4::text[])) RETURNING 1";

pub(super) const RELEASE: &str = "DELETE FROM tidelock.held_table WHERE sync = $1 AND link = $2 \
    AND (schema_name::text, table_name::text) IN (SELECT * FROM unnest($3::text[], $4::text[])) RETURNING 1";

/// Of one link, or of all that write into this database.
pub async fn held(client: &Client, sync: &str, link: Option<&str>) -> Result<Vec<HeldTable>> {
    let doing = format!("read which tables of sync {sync} are held");
    let there = client
        .query_one("SELECT to_regclass('tidelock.held_table') IS NOT NULL", &[])
        .await
        .and_then(|row| row.try_get::<_, bool>(0))
        .map_err(|error| fail(&doing, error))?;
    if !there {
        return Ok(Vec::new());
    }
    let read = "SELECT link, schema_name, table_name, position, stop_position, stop_past, stop_error, stop_hint,
                       (extract(epoch FROM since) * 1000000)::bigint, resumed
                  FROM tidelock.held_table WHERE sync = $1 AND ($2::text IS NULL OR link = $2) ORDER BY 1, 2, 3";
    let rows = client
        .query(read, &[&sync, &link])
        .await
        .map_err(|error| fail(&doing, error))?;
    rows.iter().map(|row| one(row, &doing)).collect()
}

fn one(row: &Row, doing: &str) -> Result<HeldTable> {
    let position: String = row.try_get(3).map_err(|error| fail(doing, error))?;
    let position = position
        .parse()
        .map_err(|error| Error::definite(doing).because(error))?;
    let read = || -> Result<HeldTable, tokio_postgres::Error> {
        Ok(HeldTable {
            link: row.try_get(0)?,
            table: TableId::new(row.try_get::<_, String>(1)?, row.try_get::<_, String>(2)?),
            position,
            transaction: row.try_get(4)?,
            past: row.try_get(5)?,
            error: row.try_get(6)?,
            hint: row.try_get(7)?,
            since_us: row.try_get(8)?,
            resumed: row.try_get(9)?,
            is_anew: false,
            condition: None,
        })
    };
    read().map_err(|error| fail(doing, error))
}

/// Which of these tables have a foreign key to the first one?
pub async fn referring(client: &Client, table: &TableId, among: &[TableId]) -> Result<Vec<TableId>> {
    let sql = "SELECT want.schema, want.name FROM unnest($3::text[], $4::text[]) AS want(schema, name)
                WHERE EXISTS (SELECT FROM pg_constraint k
                                JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                                JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace m ON m.oid = p.relnamespace
                               WHERE k.contype = 'f' AND n.nspname = want.schema AND c.relname = want.name
                                 AND m.nspname = $1 AND p.relname = $2)";
    let doing = format!("look for foreign keys to {table}");
    let schemas: Vec<&str> = among.iter().map(|id| id.schema.as_str()).collect();
    let names: Vec<&str> = among.iter().map(|id| id.name.as_str()).collect();
    let rows = client
        .query(sql, &[&table.schema, &table.name, &schemas, &names])
        .await;
    let rows = rows.map_err(|error| fail(&doing, error))?;
    let one = |row: &Row| {
        Ok(TableId::new(
            row.try_get::<_, String>(0)?,
            row.try_get::<_, String>(1)?,
        ))
    };
    rows.iter()
        .map(|row| one(row).map_err(|error| fail(&doing, error)))
        .collect()
}

/// Foreign keys of these tables to others: child, name, parent.
pub async fn unparented(client: &Client, tables: &[TableId]) -> Result<Vec<(TableId, String, TableId)>> {
    let sql = "SELECT n.nspname::text, c.relname::text, k.conname::text, m.nspname::text, p.relname::text
                 FROM pg_constraint k
                 JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                 JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace m ON m.oid = p.relnamespace
                WHERE k.contype = 'f' AND k.conparentid = 0
                  AND (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[]))
                  AND (m.nspname::text, p.relname::text) NOT IN (SELECT * FROM unnest($1::text[], $2::text[]))
                ORDER BY 1, 2, 3";
    let doing = "look for foreign keys to other tables";
    let schemas: Vec<&str> = tables.iter().map(|id| id.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|id| id.name.as_str()).collect();
    let rows = client.query(sql, &[&schemas, &names]).await;
    let rows = rows.map_err(|error| fail(doing, error))?;
    let one = |row: &Row| -> Result<_, tokio_postgres::Error> {
        let id = |at: usize| {
            Ok(TableId::new(
                row.try_get::<_, String>(at)?,
                row.try_get::<_, String>(at + 1)?,
            ))
        };
        Ok((id(0)?, row.try_get(2)?, id(3)?))
    };
    rows.iter()
        .map(|row| one(row).map_err(|error| fail(doing, error)))
        .collect()
}

/// Wants a table to be taken up. `false`: it is not held.
pub async fn resume(
    client: &mut Client,
    (sync, link): (&str, &str),
    table: &TableId,
    operator: &str,
) -> Result<bool> {
    let doing = format!("resume table {table} of {link}");
    let wrong = |error| fail(&doing, error);
    let transaction = client.transaction().await.map_err(wrong)?;
    let resume = "UPDATE tidelock.held_table SET resumed = true
                   WHERE sync = $1 AND link = $2 AND schema_name = $3 AND table_name = $4";
    let found = transaction
        .execute(resume, &[&sync, &link, &table.schema, &table.name])
        .await
        .map_err(wrong)?;
    if found != 1 {
        return Ok(false);
    }
    let detail = table.to_string();
    transaction
        .execute(sql::AUDIT, &[&operator, &"resume", &sync, &link, &detail])
        .await
        .map_err(wrong)?;
    transaction.commit().await.map_err(wrong)?;
    Ok(true)
}

/// Moves a held table past the transaction it stopped at, marks it as out of sync and wants it to be taken up.
/// `false`: it does not stand there any more, and nothing was written.
pub async fn skip(
    client: &mut Client,
    (sync, link): (&str, &str),
    table: &TableId,
    (at, past): (&str, &str),
    operator: &str,
) -> Result<bool> {
    let doing = format!("skip transaction {at} for table {table} of {link}");
    let wrong = |error| fail(&doing, error);
    let transaction = client.transaction().await.map_err(wrong)?;
    let moved = "UPDATE tidelock.held_table SET position = $6, resumed = true, stop_position = NULL, stop_past = NULL
                  WHERE sync = $1 AND link = $2 AND schema_name = $3 AND table_name = $4 AND stop_position = $5
                    AND stop_past = $6 AND NOT resumed";
    let moved = transaction
        .execute(moved, &[&sync, &link, &table.schema, &table.name, &at, &past])
        .await
        .map_err(wrong)?;
    if moved != 1 {
        return Ok(false);
    }
    let tables = std::slice::from_ref(table);
    let detail = format!("{table}: {at} -> {past}");
    left_out(&transaction, (sync, link), (at, tables), (detail, operator))
        .await
        .map_err(wrong)?;
    match transaction.commit().await {
        Ok(()) => Ok(true),
        Err(error) => Err(Error::ambiguous(doing)
            .because(error)
            .hint("`tidelock status` says where the table stands now")),
    }
}
