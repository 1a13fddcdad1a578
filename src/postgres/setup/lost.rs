//! Changes that nobody will ever send: of a table that left the publication while a slot was reading.
//!
//! What is written meanwhile is passed over for good, since the log is read as of its own time. So setting up again,
//! which would put the table back, is refused: only a new copy makes the two sides equal.

use super::state::{cell, rows, slots};
use crate::error::{NEW_COPY, Result};
use crate::model::sync::{Finding, Scope, publication_name};
use tokio_postgres::Client;

/// The table of the sync that was set up, is read through a slot, and is not published.
pub(super) async fn unpublished(client: &Client, scope: &Scope) -> Result<Option<Finding>> {
    let is_set_up =
        "SELECT to_regclass('tidelock.node') IS NOT NULL AND to_regclass('tidelock.table_state') IS NOT NULL";
    match rows(client, is_set_up, &[]).await?.first() {
        Some(row) if scope.is_source && cell(row, 0)? => {}
        _ => return Ok(None),
    }
    let slots = slots(client, &scope.sync).await?;
    let schemas: Vec<&str> = scope.tables.iter().map(|id| id.schema.as_str()).collect();
    let names: Vec<&str> = scope.tables.iter().map(|id| id.name.as_str()).collect();
    let sql = "SELECT min(format('%I.%I', s.schema_name, s.table_name))
                 FROM tidelock.table_state s
                 JOIN unnest($3::text[], $4::text[]) AS want(schema, name)
                   ON want.schema = s.schema_name AND want.name = s.table_name
                WHERE s.sync = $1
                  AND EXISTS (SELECT FROM pg_replication_slots WHERE slot_name::text = ANY($5::text[]))
                  AND NOT EXISTS (SELECT FROM pg_publication_tables p WHERE p.pubname = $2
                                     AND p.schemaname = s.schema_name AND p.tablename = s.table_name)";
    let publication = publication_name(&scope.sync);
    let found = rows(
        client,
        sql,
        &[&scope.sync, &publication, &schemas, &names, &slots],
    )
    .await?;
    let table: Option<String> = match found.first() {
        Some(row) => cell(row, 0)?,
        None => None,
    };
    Ok(table.map(|table| {
        let what =
            format!("{table} was taken out of publication {publication}: what was written since is not sent");
        Finding::blocker(Finding::LOST, &scope.node, what).fix(NEW_COPY)
    }))
}
