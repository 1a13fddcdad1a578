//! The statements of teardown: everything of one sync goes, the users' tables stay usable.
//!
//! Kept: the stamp columns, because dropping a column cannot be undone and a later setup goes on with them; the
//! conflict records, as long as another sync uses our database. Remarks in the list say so, with the SQL that drops
//! them. Refuses: an account that may not look into our database.

use super::grants;
use super::numbers;
use super::state::{Control, State};
use super::steps::{COLLECTION, TABLE};
use super::triggers;
use crate::error::{Error, Reason, Result};
use crate::install::{self, Step};
use crate::model::schema::TableId;
use crate::model::sync::{ORIGIN_COLUMN, Scope, VERSION_COLUMN, stamps_of, tombstones_of};
use crate::mysql::catalog;
use crate::mysql::sql::{quote, quote_text, table};
use mysql_async::Conn;

/// The statements that are still needed, in order; none when nothing of the sync is left.
pub async fn teardown_sql(conn: &mut Conn, scope: &Scope) -> Result<Vec<String>> {
    let state = State::read(conn, scope).await?;
    if state.control == Control::Closed {
        return Err(may_not_look(scope, &state));
    }
    let mut out = Vec::new();
    out.extend(numbers::taken_back(conn, scope, &state).await?);
    let merged = merged_tables(scope, &state);
    out.extend(tables_sql(conn, &state, &merged).await?);
    for catalog in catalog::tables(conn, &merged).await?.into_iter().flatten() {
        if catalog.table.column(VERSION_COLUMN).is_some() && !catalog.table.is_beside() {
            out.push(format!(
                "-- kept: stamp columns, which drop with: ALTER TABLE {} DROP COLUMN {VERSION_COLUMN}, DROP COLUMN {ORIGIN_COLUMN};",
                table(&catalog.table.id).replace(['\n', '\r'], " ")
            ));
        }
    }
    if state.control == Control::Ready {
        control(scope, &state, &mut out);
    }
    Ok(out)
}

/// Nothing to be seen is not nothing to do, and the server does not tell such an account whether there is a database.
fn may_not_look(scope: &Scope, state: &State) -> Error {
    let account = &state.current_user;
    let (user, host) = grants::account(account);
    Error::definite(format!("tear down sync {:?}", scope.sync))
        .node(&scope.node)
        .reason(Reason::Blocked)
        .why(format!(
            "account {account} may not look into database tidelock, so whether anything of the sync is left cannot be told"
        ))
        .hint(format!(
            "give the node the account that set it up as `setup_url`, or this one the right: GRANT ALL ON tidelock.* TO {}",
            grants::quoted(user, host.unwrap_or("%"))
        ))
}

/// Tables that carry our triggers for this sync.
fn merged_tables(scope: &Scope, state: &State) -> Vec<TableId> {
    state.recorded.merged(scope, |id| {
        let names = triggers::all_names(id);
        state
            .triggers
            .iter()
            .any(|there| there.table == *id && names.contains(&there.trigger))
    })
}

/// Our objects on the tables that are there. A table outside the scope can lie in another database, whose triggers
/// were not read, so its triggers are dropped without a look.
async fn tables_sql(conn: &mut Conn, state: &State, ids: &[TableId]) -> Result<Vec<String>> {
    let own: Vec<TableId> = ids
        .iter()
        .flat_map(|id| [tombstones_of(id), stamps_of(id)])
        .collect();
    let users = catalog::tables(conn, ids).await?;
    let found = catalog::tables(conn, &own).await?;
    let mut out = Vec::new();
    for ((id, user), own) in ids.iter().zip(&users).zip(found.chunks(2)) {
        let read = state.triggers.iter().any(|there| there.table.schema == id.schema);
        for name in triggers::all_names(id) {
            let there = state
                .triggers
                .iter()
                .any(|there| there.table == *id && there.trigger == name);
            if user.is_some() && (there || !read) {
                out.push(format!(
                    "DROP TRIGGER IF EXISTS {}.{}",
                    quote(&id.schema),
                    quote(&name)
                ));
            }
        }
        for own in own.iter().flatten() {
            out.push(format!("DROP TABLE IF EXISTS {}", table(&own.table.id)));
        }
    }
    Ok(out)
}

/// What setup does about tables that have left the sync.
pub(super) async fn dropped_tables(
    conn: &mut Conn,
    scope: &Scope,
    state: &State,
    steps: &mut Vec<Step>,
) -> Result<()> {
    for there in state.recorded.left(scope) {
        let mut statements = match there.tombstones {
            Some(_) => tables_sql(conn, state, std::slice::from_ref(&there.id)).await?,
            None => Vec::new(),
        };
        let resync = ["resync"];
        let resync = resync.iter().filter(|_| state.versions.contains(&10));
        for name in resync.chain(&["table_state"]) {
            statements.push(format!(
                "DELETE FROM tidelock.{name} WHERE schema_name = {} AND table_name = {} AND sync = {}",
                quote_text(&there.id.schema),
                quote_text(&there.id.name),
                quote_text(&scope.sync)
            ));
        }
        let left = |sql| {
            Step::new(TABLE, "removal of what a table that left the sync still has", sql).table(&there.id)
        };
        steps.extend(statements.into_iter().map(left));
    }
    Ok(())
}

/// Our rows; and our database when this was the last sync. That is asked again when it is dropped.
fn control(scope: &Scope, state: &State, out: &mut Vec<String>) {
    if !state.recorded.has_others(&scope.sync) {
        out.push(format!(
            "DELETE FROM tidelock.node WHERE sync = {}",
            quote_text(&scope.sync)
        ));
        out.extend(
            [
                "SET @tidelock_last = (SELECT IF(COUNT(*) = 0, 'DROP DATABASE tidelock', 'DO 0') FROM tidelock.node)",
                "PREPARE tidelock_last FROM @tidelock_last",
                "EXECUTE tidelock_last",
                "DEALLOCATE PREPARE tidelock_last",
            ]
            .map(str::to_owned),
        );
        return;
    }
    if !state.recorded.has(&scope.sync) {
        return;
    }
    let operations = ["lease", "session", "link_state", "out_of_sync"];
    let operations = operations.iter().filter(|_| state.version >= 2);
    let held = ["held_table"];
    let held = held.iter().filter(|_| state.version >= 3);
    let collection = ["collection"];
    let collection = collection.iter().filter(|_| state.versions.contains(&COLLECTION));
    let waiting = ["parked", "missed_bump"];
    let waiting = waiting.iter().filter(|_| state.versions.contains(&5));
    let chunk = ["chunk"];
    let chunk = chunk.iter().filter(|_| state.versions.contains(&8));
    let strays = ["stray_number"];
    let strays = strays
        .iter()
        .filter(|_| state.versions.contains(&numbers::VERSION));
    let resync = ["resync"];
    let resync = resync.iter().filter(|_| state.versions.contains(&10));
    let round = ["round"];
    let round = round.iter().filter(|_| state.versions.contains(&13));
    for name in operations
        .chain(held)
        .chain(resync)
        .chain(round)
        .chain(strays)
        .chain(chunk)
        .chain(waiting)
        .chain(collection)
        .chain(&["checkpoint", "table_state", "node"])
    {
        out.push(format!(
            "DELETE FROM tidelock.{name} WHERE sync = {}",
            quote_text(&scope.sync)
        ));
    }
    out.push(install::kept_records(&scope.sync));
}
