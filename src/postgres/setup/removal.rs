//! The statements of teardown: everything of one sync goes, the users' tables stay usable.
//!
//! Kept: the stamp columns, because dropping a column cannot be undone and a later setup goes on with them; the
//! conflict records, as long as another sync uses our schema. Remarks in the list say so, with the SQL that drops
//! them. Refuses: dropping a slot that somebody reads, and an account that may not look into our schema.

use super::numbers;
use super::published;
use super::state::{Control, State, cell, rows};
use super::steps::{COLLECTION, FULL_BEFORE, TABLE};
use super::triggers;
use crate::error::{Error, Reason, Result};
use crate::install::recorded::{self, TableState};
use crate::install::{self, Step, literal};
use crate::mapping::FILTERED;
use crate::model::schema::TableId;
use crate::model::sync::{ORIGIN_COLUMN, Scope, VERSION_COLUMN, publication_name, slot_name, stamps_of};
use crate::postgres::catalog;
use crate::postgres::sql::{quote, table};
use tokio_postgres::Client;

/// The statements that are still needed, in order; none when nothing of the sync is left.
pub async fn teardown_sql(client: &Client, scope: &Scope) -> Result<Vec<String>> {
    let state = State::read(client, scope).await?;
    if state.control == Control::Closed {
        return Err(may_not_look(scope, &state));
    }
    let mut out = Vec::new();
    let publication = publication_name(&scope.sync);
    let found = "SELECT pubname::text FROM pg_publication WHERE pubname = $1";
    if !rows(client, found, &[&publication]).await?.is_empty() {
        out.push(format!("DROP PUBLICATION IF EXISTS {}", quote(&publication)));
    }
    let merged = merged_tables(scope, &state);
    let whole: Vec<TableId> = merged
        .iter()
        .cloned()
        .chain(filtered_tables(scope, &state, &merged))
        .collect();
    // What it was before is noted on the stamp table, which goes after it.
    identities(client, &whole, &mut out).await?;
    for id in &merged {
        out.extend(table_sql(&state, id));
    }
    out.extend(numbers::back(client, scope, &state).await?);
    slots(client, scope, &state, &mut out).await?;
    stamp_columns(client, &merged, &mut out).await?;
    if state.control == Control::Ready {
        control(scope, &state, &mut out);
    }
    Ok(out)
}

/// Nothing to be seen is not nothing to do.
fn may_not_look(scope: &Scope, state: &State) -> Error {
    Error::definite(format!("tear down sync {:?}", scope.sync))
        .node(&scope.node)
        .reason(Reason::Blocked)
        .why(format!(
            "account {:?} may not look into schema tidelock, so what is left of the sync there cannot be told",
            state.current_user
        ))
        .hint(
            "give the node the account that set it up as `setup_url`; its name: \
             SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'tidelock'",
        )
}

/// Tables that carry our triggers for this sync.
fn merged_tables(scope: &Scope, state: &State) -> Vec<TableId> {
    let has_ours = |id: &TableId| state.installed.iter().any(|there| there.table == *id);
    state.recorded.merged(scope, has_ours)
}

/// Tables whose log holds whole old rows for the sake of a row filter, and of no other sync.
fn filtered_tables(scope: &Scope, state: &State, merged: &[TableId]) -> Vec<TableId> {
    let is_filtered = |there: &TableState| recorded::signature(&there.fingerprint).starts_with(FILTERED);
    let elsewhere = |id: &TableId| {
        let needs = |there: &TableState| there.tombstones.is_some() || is_filtered(there);
        state
            .recorded
            .tables
            .iter()
            .any(|there| there.id == *id && there.sync != scope.sync && needs(there))
    };
    let own = state
        .recorded
        .tables
        .iter()
        .filter(|there| there.sync == scope.sync && is_filtered(there));
    own.map(|there| there.id.clone())
        .filter(|id| !merged.contains(id) && !elsewhere(id))
        .collect()
}

/// Our objects on one table that are there.
fn table_sql(state: &State, id: &TableId) -> Vec<String> {
    let mut out = Vec::new();
    let names: Vec<_> = triggers::names(id).collect();
    for (trigger, _) in &names {
        if state
            .installed
            .iter()
            .any(|there| there.table == *id && there.trigger == *trigger)
        {
            out.push(format!(
                "DROP TRIGGER IF EXISTS {} ON {}",
                quote(trigger),
                table(id)
            ));
        }
    }
    for (_, function) in &names {
        if state.functions.iter().any(|(name, _)| name == function) {
            out.push(format!("DROP FUNCTION IF EXISTS tidelock.{function}()"));
        }
    }
    for own in [triggers::tombstones_name(id), stamps_of(id).name] {
        if state.control_tables.contains(&own) {
            out.push(format!("DROP TABLE IF EXISTS tidelock.{own}"));
        }
    }
    out
}

/// What setup does about tables that have left the sync.
pub(super) fn dropped_tables(scope: &Scope, state: &State, steps: &mut Vec<Step>) {
    for there in state.recorded.left(scope) {
        let mut statements = match there.tombstones {
            Some(_) => table_sql(state, &there.id),
            None => Vec::new(),
        };
        let published = ["published"];
        let published = published.iter().filter(|_| state.version >= published::VERSION);
        let resync = ["resync"];
        let resync = resync.iter().filter(|_| state.versions.contains(&11));
        for name in published.chain(resync).chain(&["table_state"]) {
            statements.push(format!(
                "DELETE FROM tidelock.{name} WHERE schema_name = {} AND table_name = {} AND sync = {}",
                literal(&there.id.schema),
                literal(&there.id.name),
                literal(&scope.sync)
            ));
        }
        let left = |sql| {
            Step::new(TABLE, "removal of what a table that left the sync still has", sql).table(&there.id)
        };
        steps.extend(statements.into_iter().map(left));
    }
}

async fn identities(client: &Client, ids: &[TableId], out: &mut Vec<String>) -> Result<()> {
    let schemas: Vec<&str> = ids.iter().map(|id| id.schema.as_str()).collect();
    let names: Vec<&str> = ids.iter().map(|id| id.name.as_str()).collect();
    let stamps: Vec<String> = ids.iter().map(|id| stamps_of(id).name).collect();
    let sql = "SELECT DISTINCT m.nspname::text, c.relname::text
                 FROM unnest($1::text[], $2::text[], $3::text[]) AS want(schema, name, stamps)
                 JOIN pg_namespace n ON n.nspname = want.schema
                 JOIN pg_class root ON root.relnamespace = n.oid AND root.relname = want.name
                CROSS JOIN LATERAL (SELECT root.oid AS member
                                    UNION SELECT part.relid::oid FROM pg_partition_tree(root.oid) part) tree
                 JOIN pg_class c ON c.oid = tree.member JOIN pg_namespace m ON m.oid = c.relnamespace
                WHERE c.relreplident = 'f'
                  AND NOT EXISTS (SELECT FROM pg_class s JOIN pg_namespace k ON k.oid = s.relnamespace
                                   WHERE k.nspname = 'tidelock' AND s.relname = want.stamps
                                     AND obj_description(s.oid, 'pg_class') = $4)
                ORDER BY 1, 2";
    for row in rows(client, sql, &[&schemas, &names, &stamps, &FULL_BEFORE]).await? {
        let id = TableId::new(cell::<String>(&row, 0)?, cell::<String>(&row, 1)?);
        out.push(format!("ALTER TABLE {} REPLICA IDENTITY DEFAULT", table(&id)));
    }
    Ok(())
}

/// Slots are named by the sync and its other nodes.
async fn slots(client: &Client, scope: &Scope, state: &State, out: &mut Vec<String>) -> Result<()> {
    let names: Vec<String> = state
        .recorded
        .nodes
        .iter()
        .filter(|node| node.sync == scope.sync && !node.is_self)
        .map(|node| slot_name(&scope.sync, &node.name))
        .collect();
    let sql = "SELECT slot_name::text, active FROM pg_replication_slots
                WHERE slot_name::text = ANY($1::text[]) AND database = current_database() ORDER BY 1";
    for row in rows(client, sql, &[&names]).await? {
        let name: String = cell(&row, 0)?;
        if cell(&row, 1)? {
            out.push(format!(
                "-- kept: slot {name} is being read; stop tidelock run, then: SELECT pg_drop_replication_slot({})",
                literal(&name)
            ));
        } else {
            out.push(format!(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots\n \
                 WHERE slot_name = {} AND NOT active",
                literal(&name)
            ));
        }
    }
    Ok(())
}

async fn stamp_columns(client: &Client, ids: &[TableId], out: &mut Vec<String>) -> Result<()> {
    for catalog in catalog::tables(client, ids).await?.into_iter().flatten() {
        let column = |place: usize| &catalog.table.columns[place];
        let version = catalog.table.column(VERSION_COLUMN).map(column);
        if version.is_some_and(|version| !version.is_beside()) {
            out.push(format!(
                "-- kept: stamp columns, which drop with: ALTER TABLE {} DROP COLUMN {VERSION_COLUMN}, DROP COLUMN {ORIGIN_COLUMN};",
                table(&catalog.table.id).replace(['\n', '\r'], " ")
            ));
        }
    }
    Ok(())
}

/// Our rows; and our schema when this was the last sync. That is asked again when it is dropped.
fn control(scope: &Scope, state: &State, out: &mut Vec<String>) {
    if !state.recorded.has_others(&scope.sync) {
        out.push(format!(
            "DELETE FROM tidelock.node WHERE sync = {}",
            literal(&scope.sync)
        ));
        out.push(
            "DO $tidelock$ BEGIN\n    IF NOT EXISTS (SELECT FROM tidelock.node) THEN\n        \
             DROP SCHEMA tidelock CASCADE;\n    END IF;\nEND $tidelock$"
                .to_owned(),
        );
        return;
    }
    if !state.recorded.has(&scope.sync) {
        return;
    }
    let operations = ["lease", "link_state", "out_of_sync"];
    let operations = operations.iter().filter(|_| state.version >= 2);
    let published = ["published"];
    let published = published.iter().filter(|_| state.version >= published::VERSION);
    let held = ["held_table"];
    let held = held.iter().filter(|_| state.version >= 4);
    let collection = ["collection"];
    let collection = collection.iter().filter(|_| state.versions.contains(&COLLECTION));
    let waiting = ["parked", "missed_bump"];
    let waiting = waiting.iter().filter(|_| state.versions.contains(&6));
    let chunk = ["chunk"];
    let chunk = chunk.iter().filter(|_| state.versions.contains(&9));
    let strays = ["stray_number"];
    let strays = strays
        .iter()
        .filter(|_| state.versions.contains(&numbers::VERSION));
    let resync = ["resync"];
    let resync = resync.iter().filter(|_| state.versions.contains(&11));
    let round = ["round"];
    let round = round.iter().filter(|_| state.versions.contains(&14));
    for name in operations
        .chain(published)
        .chain(resync)
        .chain(round)
        .chain(strays)
        .chain(chunk)
        .chain(held)
        .chain(waiting)
        .chain(collection)
        .chain(&["checkpoint", "table_state", "node"])
    {
        out.push(format!(
            "DELETE FROM tidelock.{name} WHERE sync = {}",
            literal(&scope.sync)
        ));
    }
    out.push(install::kept_records(&scope.sync));
}
