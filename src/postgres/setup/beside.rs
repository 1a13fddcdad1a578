//! Stamp tables of tables that may not be altered: stamps whose rows are gone.
//!
//! Owns: looking for them, within a time. Refuses: rows without stamps, which count as written before Tidelock was
//! enabled; and whatever else does not fit together, which stops the link that reads it.

use super::state::{State, cell};
use super::triggers;
use crate::error::Result;
use crate::model::schema::TableId;
use crate::model::sync::{Finding, ORIGIN_COLUMN, Scope, stamps_of};
use crate::postgres::fail;
use crate::postgres::sql::{quote, table};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// A whole table is read; one that takes longer is not looked at.
const LOOK: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout = '10s'";

pub(super) async fn findings(client: &Client, scope: &Scope, state: &State) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let keys = triggers::keys(client, &scope.tables, &state.tables).await?;
    for (place, id) in scope.tables.iter().enumerate() {
        let key = keys.get(place).filter(|key| !key.is_empty());
        let is_there = state.stamps.get(place).is_some_and(Option::is_some);
        let (Some(key), true) = (key, is_there && scope.mapped(id).beside) else {
            continue;
        };
        let equal = key.iter().map(|column| {
            let name = quote(&column.name);
            format!("t.{name} OPERATOR({}) s.{name}", column.equals)
        });
        let alone = format!(
            "NOT EXISTS (SELECT FROM {} t WHERE {})",
            table(id),
            equal.collect::<Vec<_>>().join(" AND ")
        );
        if has_orphans(client, id, &alone).await? {
            findings.push(orphans(scope, id, &alone));
        }
    }
    Ok(findings)
}

async fn has_orphans(client: &Client, id: &TableId, alone: &str) -> Result<bool> {
    let doing = "look for stamps without rows";
    let wrong = |error| fail(doing, error).table(id);
    client.batch_execute(LOOK).await.map_err(wrong)?;
    let sql = format!(
        "SELECT EXISTS (SELECT FROM {} s WHERE {alone})",
        table(&stamps_of(id))
    );
    let found = client.query_one(&sql, &[]).await;
    client.batch_execute("ROLLBACK").await.map_err(wrong)?;
    match found {
        Ok(row) => cell(&row, 0),
        // No time, or no right to read; that is told elsewhere.
        Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => Ok(false),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(false),
        Err(error) => Err(wrong(error)),
    }
}

/// The log tells the links that nothing happened to a row.
fn orphans(scope: &Scope, id: &TableId, alone: &str) -> Finding {
    let stamps = table(&stamps_of(id));
    let fix = format!(
        "UPDATE {stamps} s SET {ORIGIN_COLUMN} = -1 WHERE {alone}; DELETE FROM {stamps} WHERE {ORIGIN_COLUMN} = -1"
    );
    let what = "its stamp table has stamps of rows that are gone: they were deleted or truncated while its triggers were off";
    Finding::warning("W622", &scope.node, what).table(id).fix(fix)
}
