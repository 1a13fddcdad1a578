//! The statements that setup still has to run, in their order: control database, nodes, per table the stamp columns,
//! tombstones, triggers and state row, then the run account's grants.
//!
//! Owns: the comparison of what is there with what must be. Refuses: judging the user's tables (see `check`).

use super::grants::{account, lacking, of, quoted};
use super::state::{Control, Installed, State, cell};
use super::{beside, members, numbers, triggers};
use crate::error::{Error, Result};
use crate::install::{self, Step, recorded};
use crate::model::schema::TableId;
use crate::model::stamp::Rank;
use crate::model::sync::{CatalogTable, GENERATION_COLUMN, Mode, ORIGIN_COLUMN, Scope, VERSION_COLUMN};
use crate::mysql::sql::{quote, quote_text, table};
use crate::mysql::{Flavor, fail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error as DriverError, Row};

pub(super) const CONTROL: &str = "E401";
pub(super) const NODES: &str = "E402";
pub(super) const TABLE: &str = "E403";
pub(super) const GRANTS: &str = "E405";
pub(super) const STAMP_TRIGGERS: &str = "stamp triggers";
/// The control database's version that brought the collection of tombstones.
pub(super) const COLLECTION: i64 = 6;
/// The control database's versions, oldest first.
pub const CONTROL_FILES: [(i64, &str); 13] = [
    (1, include_str!("../../../sql/mysql/001_control.sql")),
    (2, include_str!("../../../sql/mysql/002_operations.sql")),
    (3, include_str!("../../../sql/mysql/003_held.sql")),
    (4, include_str!("../../../sql/mysql/004_lease_figures.sql")),
    (5, include_str!("../../../sql/mysql/005_parked.sql")),
    (COLLECTION, include_str!("../../../sql/mysql/006_collection.sql")),
    (7, include_str!("../../../sql/mysql/007_evidence.sql")),
    (8, include_str!("../../../sql/mysql/008_chunk.sql")),
    (
        numbers::VERSION,
        include_str!("../../../sql/mysql/009_numbers.sql"),
    ),
    (10, include_str!("../../../sql/mysql/010_resync.sql")),
    (11, include_str!("../../../sql/mysql/011_resync_where.sql")),
    (
        members::VERSION,
        include_str!("../../../sql/mysql/012_members.sql"),
    ),
    (13, include_str!("../../../sql/mysql/013_round.sql")),
];

pub(super) async fn steps(
    conn: &mut Conn,
    scope: &Scope,
    state: &State,
    peers: &[(Rank, String)],
) -> Result<Vec<Step>> {
    let what = match state.control {
        Control::Ready => "control database tidelock of this version",
        Control::Missing | Control::Closed => "control database tidelock",
    };
    let mut steps: Vec<Step> =
        install::control_steps(CONTROL, what, &CONTROL_FILES, &state.versions).collect();
    nodes(scope, state, peers, &mut steps);
    let own = state.tombstones.iter().zip(&state.stamps);
    for (catalog, (tombstones, stamps)) in state.tables.iter().zip(own) {
        if let Some(catalog) = catalog {
            let own = (tombstones.as_ref(), stamps.as_ref());
            table_steps(scope, state, catalog, own, &mut steps);
        }
    }
    super::removal::dropped_tables(conn, scope, state, &mut steps).await?;
    if !state.is_run_user(scope) {
        grants(conn, scope, state, &mut steps).await?;
    }
    Ok(steps)
}

/// MariaDB's servers have no name of their own, so ours gets one, once.
fn nodes(scope: &Scope, state: &State, peers: &[(Rank, String)], steps: &mut Vec<Step>) {
    let mut identity = quote_text(&state.server.identity);
    if state.flavor == Flavor::Mariadb {
        identity = "(SELECT identity FROM tidelock.server_id WHERE only_row = 1)".to_owned();
        if state.server.identity.is_empty() {
            let sql = "INSERT IGNORE INTO tidelock.server_id (only_row, identity) VALUES (1, UUID())";
            let what = state.recorded.unknown(scope, scope.rank, true);
            steps.push(Step::new(NODES, what, sql));
        }
    }
    let own = (scope.rank, scope.node.as_str(), true, identity);
    let peers = peers
        .iter()
        .map(|(rank, name)| (*rank, name.as_str(), false, "''".to_owned()));
    for (rank, name, is_self, identity) in std::iter::once(own).chain(peers) {
        if state.recorded.knows(scope, rank, is_self) {
            continue;
        }
        let sql = format!(
            "INSERT INTO tidelock.node (sync, `rank`, name, is_self, identity, config_hash)\n\
             VALUES ({sync}, {rank}, {name}, {is_self}, {identity}, {hash})\n\
             ON DUPLICATE KEY UPDATE config_hash = {hash}",
            sync = quote_text(&scope.sync),
            name = quote_text(name),
            hash = quote_text(&scope.config_hash),
        );
        let what = state.recorded.unknown(scope, rank, is_self);
        steps.push(Step::new(NODES, what, sql));
    }
}

/// `own`: its tombstones and its stamps, where those stand in a table of their own.
fn table_steps(
    scope: &Scope,
    state: &State,
    catalog: &CatalogTable,
    (tombstones, stamps): (Option<&CatalogTable>, Option<&CatalogTable>),
    steps: &mut Vec<Step>,
) {
    let id = &catalog.table.id;
    let mut tombstones_name = None;
    if scope.mode == Mode::Merge {
        match scope.mapped(id).beside {
            true => beside::steps(catalog, stamps, steps),
            false => stamp_columns(
                state.recorded.first_origin(scope, &catalog.table.id),
                catalog,
                steps,
            ),
        }
        match tombstones {
            Some(found) => {
                key_type(catalog, found, "types of the tombstones' key", steps);
                tombstones_indexes(state, id, found, steps);
            }
            None => {
                let sql = triggers::tombstones_sql(id, &triggers::key(catalog));
                steps.push(Step::new(TABLE, "tombstones", sql).table(id));
            }
        }
        trigger_steps(scope, state, catalog, steps);
        tombstones_name = Some(triggers::tombstones_name(id));
    }
    table_state(scope, state, catalog, tombstones_name, steps);
}

/// The default stands for the rows that are there; of every later one the triggers tell.
fn stamp_columns(origin: Rank, catalog: &CatalogTable, steps: &mut Vec<Step>) {
    let id = &catalog.table.id;
    let missing: Vec<String> = [
        (VERSION_COLUMN, "BIGINT NOT NULL DEFAULT 1 INVISIBLE".to_owned()),
        (
            ORIGIN_COLUMN,
            format!("SMALLINT NOT NULL DEFAULT {origin} INVISIBLE"),
        ),
    ]
    .iter()
    .filter(|(name, _)| catalog.table.column(name).is_none())
    .map(|(name, definition)| format!("ADD COLUMN {name} {definition}"))
    .collect();
    if !missing.is_empty() {
        let sql = format!("ALTER TABLE {} {}", table(id), missing.join(", "));
        steps.push(Step::new(TABLE, "stamp columns", sql).table(id));
    }
}

/// Tombstones are found by their version and by the mark of their generation.
fn tombstones_indexes(state: &State, id: &TableId, found: &CatalogTable, steps: &mut Vec<Step>) {
    let stones = &found.table.id;
    if found.table.column(GENERATION_COLUMN).is_none() {
        let sql = format!(
            "ALTER TABLE {} ADD COLUMN {GENERATION_COLUMN} BIGINT",
            table(stones)
        );
        steps.push(Step::new(TABLE, "the tombstones' generation", sql).table(id));
    }
    for column in [VERSION_COLUMN, GENERATION_COLUMN] {
        let is_it = |(name, first): &(String, String)| *name == stones.name && first == column;
        if !state.indexed.iter().any(is_it) {
            let sql = format!("CREATE INDEX {column} ON {} ({column})", table(stones));
            steps.push(Step::new(TABLE, "the tombstones' index", sql).table(id));
        }
    }
}

/// The key of tombstones and stamps has the types of the table's key, also after those were altered.
pub(super) fn key_type(
    catalog: &CatalogTable,
    found: &CatalogTable,
    what: &'static str,
    steps: &mut Vec<Step>,
) {
    let id = &catalog.table.id;
    let (key, there) = (triggers::key(catalog), triggers::key(found));
    for (column, there) in key.iter().zip(&there) {
        if column.sql_type != there.sql_type || column.collation != there.collation {
            let sql = format!(
                "ALTER TABLE {} MODIFY COLUMN {} {}",
                table(&found.table.id),
                quote(&column.name),
                triggers::definition(column)
            );
            steps.push(Step::new(TABLE, what, sql).table(id));
        }
    }
}

/// Ours must be what this version would make, and the last of its moment.
fn trigger_steps(scope: &Scope, state: &State, catalog: &CatalogTable, steps: &mut Vec<Step>) {
    let id = &catalog.table.id;
    let wanted = triggers::triggers(scope, catalog, &state.triggers);
    for name in triggers::all_names(id) {
        let is_old = wanted.iter().all(|trigger| trigger.trigger != name);
        let is_it = |there: &Installed| there.table == *id && there.trigger == name;
        if is_old && state.triggers.iter().any(is_it) {
            let what = "removal of stamp triggers for stamps that stood elsewhere";
            let drop = format!("DROP TRIGGER IF EXISTS {}.{}", quote(&id.schema), quote(&name));
            steps.push(Step::new(TABLE, what, drop).table(id));
        }
    }
    for trigger in wanted {
        let of_moment = || {
            state
                .triggers
                .iter()
                .filter(|there| there.table == *id && there.moment == trigger.moment)
        };
        let there = of_moment().find(|there| there.trigger == trigger.trigger);
        let is_last = |own: i64| of_moment().all(|other| other.order <= own);
        match there {
            Some(there) if there.body.starts_with(&trigger.mark) && is_last(there.order) => continue,
            Some(_) => {
                let name = format!("{}.{}", quote(&id.schema), quote(&trigger.trigger));
                let sql = format!("DROP TRIGGER IF EXISTS {name}");
                steps.push(Step::new(TABLE, STAMP_TRIGGERS, sql).table(id));
            }
            None => {}
        }
        steps.push(Step::new(TABLE, STAMP_TRIGGERS, trigger.sql).table(id));
    }
}

fn table_state(
    scope: &Scope,
    state: &State,
    catalog: &CatalogTable,
    tombstones: Option<String>,
    steps: &mut Vec<Step>,
) {
    let id = &catalog.table.id;
    if state.recorded.joins(scope, id) {
        let sql = format!(
            "REPLACE INTO tidelock.resync (sync, link, schema_name, table_name, operator)\n\
             SELECT DISTINCT sync, link, {}, {}, 'setup' FROM tidelock.checkpoint WHERE sync = {}",
            quote_text(&id.schema),
            quote_text(&id.name),
            quote_text(&scope.sync),
        );
        steps.push(Step::new(TABLE, "copy of a table that joins", sql).table(id));
    }
    let mapped = scope.mapped(id);
    let fingerprint = recorded::fingerprint(&catalog.table, &mapped.signature);
    let is_told = |kept: &str| recorded::is_told_by(kept, &catalog.table, &mapped);
    let there = state.recorded.table(&scope.sync, id);
    if there.is_some_and(|there| there.tombstones == tombstones && is_told(&there.fingerprint)) {
        return;
    }
    let (tombstones, fingerprint) = (
        tombstones.map_or("NULL".to_owned(), |name| quote_text(&name)),
        quote_text(&fingerprint),
    );
    let sql = format!(
        "INSERT INTO tidelock.table_state (schema_name, table_name, sync, tombstones, fingerprint)\n\
         VALUES ({}, {}, {}, {tombstones}, {fingerprint})\n\
         ON DUPLICATE KEY UPDATE tombstones = {tombstones}, fingerprint = {fingerprint}",
        quote_text(&id.schema),
        quote_text(&id.name),
        quote_text(&scope.sync),
    );
    steps.push(Step::new(TABLE, "state row, or its definition changed", sql).table(id));
}

async fn grants(conn: &mut Conn, scope: &Scope, state: &State, steps: &mut Vec<Step>) -> Result<()> {
    for account in accounts(conn, scope).await? {
        let held = of(conn, &account).await?;
        let lacks = lacking(
            scope,
            (state.flavor, state.has_gtids),
            &held,
            &account,
            &state.tables,
        );
        steps.extend(
            lacks
                .into_iter()
                .map(|lack| Step::new(GRANTS, "grants of the run account", lack.fix)),
        );
    }
    Ok(())
}

/// The accounts behind the run user's name: a URL tells no host.
async fn accounts(conn: &mut Conn, scope: &Scope) -> Result<Vec<String>> {
    let (user, host) = account(&scope.run_user);
    if let Some(host) = host {
        return Ok(vec![quoted(user, host)]);
    }
    let doing = "find the run account";
    let found: Result<Vec<Row>, DriverError> = conn
        .exec("SELECT Host FROM mysql.user WHERE User = ?", (user,))
        .await;
    let found = match found {
        Ok(found) => found,
        // Who may not look there can still grant; the usual account has no host.
        Err(DriverError::Server(error)) if matches!(error.code, 1142 | 1044) => {
            return Ok(vec![quoted(user, "%")]);
        }
        Err(error) => return Err(fail(doing, error)),
    };
    if found.is_empty() {
        return Err(Error::definite(doing)
            .node(&scope.node)
            .why(format!("there is no account of user {user:?}"))
            .hint(create_user(&quoted(user, "%"))));
    }
    found
        .iter()
        .map(|row| Ok(quoted(user, &cell::<String>(row, 0)?)))
        .collect()
}

/// `account`: quoted, as statements write it.
pub(super) fn create_user(account: &str) -> String {
    format!("CREATE USER {account} IDENTIFIED BY '...'")
}

/// The account that a statement of ours gives rights to.
pub(super) fn grantee(statement: &str) -> Option<&str> {
    let (_, account) = statement.strip_prefix("GRANT ")?.rsplit_once(" TO ")?;
    Some(account)
}
