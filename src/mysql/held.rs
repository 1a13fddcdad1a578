//! Tables that a link holds while its other tables go on, as one MySQL or MariaDB server keeps them.
//!
//! Owns: reading `tidelock.held_table`, and what operators write there; what a link writes is in `sql`. Refuses:
//! deciding what is held, and when it is taken up (see `flow::hold`).

use super::fail;
use super::operations::{AUDIT, left_out};
use crate::error::{Error, Result};
use crate::model::operation::HeldTable;
use crate::model::schema::TableId;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, TxOpts, params};
use std::collections::BTreeSet;

type HeldRow = (
    String,
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    String,
    String,
    i64,
    bool,
);

/// Of one link, or of all that write into this server.
pub async fn held(conn: &mut Conn, sync: &str, link: Option<&str>) -> Result<Vec<HeldTable>> {
    let doing = format!("read which tables of sync {sync} are held");
    let there = "SELECT COUNT(*) FROM information_schema.tables
                  WHERE table_schema = 'tidelock' AND table_name = 'held_table'";
    let there: Option<u64> = conn
        .query_first(there)
        .await
        .map_err(|error| fail(&*doing, error))?;
    if there != Some(1) {
        return Ok(Vec::new());
    }
    let read = "SELECT link, schema_name, table_name, position, stop_position, stop_past, stop_error, stop_hint,
                       TIMESTAMPDIFF(MICROSECOND, '1970-01-01', since), resumed
                  FROM tidelock.held_table WHERE sync = :sync AND (:link IS NULL OR link = :link) ORDER BY 1, 2, 3";
    let rows: Vec<HeldRow> = conn
        .exec(read, params! { sync, link })
        .await
        .map_err(|error| fail(&*doing, error))?;
    let one = |(link, schema, name, position, transaction, past, error, hint, since_us, resumed): HeldRow| {
        Ok(HeldTable {
            link,
            table: TableId::new(schema, name),
            position: position
                .parse()
                .map_err(|error| Error::definite(&*doing).because(error))?,
            transaction,
            past,
            error,
            hint,
            since_us,
            resumed,
            is_anew: false,
            condition: None,
        })
    };
    rows.into_iter().map(one).collect()
}

/// Which of these tables have a foreign key to the first one?
pub async fn referring(conn: &mut Conn, table: &TableId, among: &[TableId]) -> Result<Vec<TableId>> {
    let sql = "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE
                WHERE REFERENCED_TABLE_SCHEMA = ? AND REFERENCED_TABLE_NAME = ?";
    let found: Vec<(String, String)> = conn
        .exec(sql, (&table.schema, &table.name))
        .await
        .map_err(|error| fail(format!("look for foreign keys to {table}"), error))?;
    let is_found = |id: &&TableId| {
        found
            .iter()
            .any(|(schema, name)| *schema == id.schema && *name == id.name)
    };
    Ok(among.iter().filter(is_found).cloned().collect())
}

/// Foreign keys of these tables to others: child, name, parent.
pub async fn unparented(conn: &mut Conn, tables: &[TableId]) -> Result<Vec<(TableId, String, TableId)>> {
    let sql = "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME
                 FROM information_schema.KEY_COLUMN_USAGE
                WHERE TABLE_SCHEMA = ? AND REFERENCED_TABLE_NAME IS NOT NULL ORDER BY 1, 2, 3";
    let schemas: BTreeSet<&str> = tables.iter().map(|id| id.schema.as_str()).collect();
    let mut found = Vec::new();
    for schema in schemas {
        let rows: Vec<(String, String, String, String, String)> = conn
            .exec(sql, (schema,))
            .await
            .map_err(|error| fail("look for foreign keys to other tables", error))?;
        for (schema, name, key, parent_schema, parent) in rows {
            let (child, parent) = (TableId::new(schema, name), TableId::new(parent_schema, parent));
            if tables.contains(&child) && !tables.contains(&parent) {
                found.push((child, key, parent));
            }
        }
    }
    Ok(found)
}

/// Wants a table to be taken up. `false`: it is not held.
pub async fn resume(
    conn: &mut Conn,
    (sync, link): (&str, &str),
    table: &TableId,
    operator: &str,
) -> Result<bool> {
    let doing = format!("resume table {table} of {link}");
    let wrong = |error| fail(&*doing, error);
    let mut transaction = conn.start_transaction(TxOpts::default()).await.map_err(wrong)?;
    let (schema, name) = (&table.schema, &table.name);
    let resume = "UPDATE tidelock.held_table SET resumed = TRUE
                   WHERE sync = :sync AND link = :link AND schema_name = :schema AND table_name = :name";
    transaction
        .exec_drop(resume, params! { sync, link, schema, name })
        .await
        .map_err(wrong)?;
    if transaction.affected_rows() != 1 {
        transaction.rollback().await.map_err(wrong)?;
        return Ok(false);
    }
    let values = params! { sync, link, operator, "action" => "resume", "detail" => table.to_string() };
    transaction.exec_drop(AUDIT, values).await.map_err(wrong)?;
    transaction.commit().await.map_err(wrong)?;
    Ok(true)
}

/// Moves a held table past the transaction it stopped at, marks it as out of sync and wants it to be taken up.
/// `false`: it does not stand there any more, and nothing was written.
pub async fn skip(
    conn: &mut Conn,
    (sync, link): (&str, &str),
    table: &TableId,
    (at, past): (&str, &str),
    operator: &str,
) -> Result<bool> {
    let doing = format!("skip transaction {at} for table {table} of {link}");
    let wrong = |error| fail(&*doing, error);
    let mut transaction = conn.start_transaction(TxOpts::default()).await.map_err(wrong)?;
    let (schema, name) = (&table.schema, &table.name);
    let moved = "UPDATE tidelock.held_table
                    SET position = :past, resumed = TRUE, stop_position = NULL, stop_past = NULL
                  WHERE sync = :sync AND link = :link AND schema_name = :schema AND table_name = :name
                    AND stop_position = :at AND stop_past = :past AND NOT resumed";
    transaction
        .exec_drop(moved, params! { sync, link, schema, name, at, past })
        .await
        .map_err(wrong)?;
    if transaction.affected_rows() != 1 {
        transaction.rollback().await.map_err(wrong)?;
        return Ok(false);
    }
    let tables = std::slice::from_ref(table);
    let detail = format!("{table}: {at} -> {past}");
    left_out(&mut transaction, (sync, link), (at, tables), (detail, operator))
        .await
        .map_err(wrong)?;
    match transaction.commit().await {
        Ok(()) => Ok(true),
        Err(error) => Err(Error::ambiguous(doing)
            .why(error.to_string())
            .hint("`tidelock status` says where the table stands now")),
    }
}
