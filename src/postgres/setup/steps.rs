//! The statements that setup still has to run, in their order: control schema, nodes, per table the stamp columns,
//! tombstones, triggers, replica identity and state row, then the publication, then the run account's grants.
//!
//! Owns: the comparison of what is there with what must be. Refuses: judging the user's tables (see `check`).

use super::grants;
use super::members;
use super::numbers;
use super::published;
use super::state::{Control, State, cell, rows};
use super::triggers::{self, KeyColumn};
use crate::error::{Error, Result};
use crate::install::{self, Step, literal, recorded};
use crate::model::schema::TableId;
use crate::model::stamp::Rank;
use crate::model::sync::{
    CatalogTable, GENERATION_COLUMN, Mode, ORIGIN_COLUMN, Scope, VERSION_COLUMN, publication_name, stamps_of,
};
use crate::postgres::sql::{quote, table};
use tokio_postgres::Client;

pub(super) const CONTROL: &str = "E401";
pub(super) const NODES: &str = "E402";
pub(super) const TABLE: &str = "E403";
pub(super) const PUBLICATION: &str = "E404";
pub(super) const GRANTS: &str = "E405";
pub(super) const STAMP_FUNCTIONS: &str = "stamp functions";

/// Of a stamp table: the log of its rows' table held whole old rows before setup.
pub(super) const FULL_BEFORE: &str = "replica identity FULL before setup";
const PUBLISH: &str = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";
/// PostgreSQL 18 refuses updates of a table whose whole old rows are to be logged while its generated columns are not
/// published. Older servers log them and never publish them.
const PUBLISH_GENERATED: &str = ", publish_generated_columns = stored";
/// The control schema's version that brought the collection of tombstones.
pub(super) const COLLECTION: i64 = 7;
/// The control schema's versions, oldest first.
pub const CONTROL_FILES: [(i64, &str); 14] = [
    (1, include_str!("../../../sql/postgres/001_control.sql")),
    (2, include_str!("../../../sql/postgres/002_operations.sql")),
    (
        published::VERSION,
        include_str!("../../../sql/postgres/003_published.sql"),
    ),
    (4, include_str!("../../../sql/postgres/004_held.sql")),
    (5, include_str!("../../../sql/postgres/005_lease_figures.sql")),
    (6, include_str!("../../../sql/postgres/006_parked.sql")),
    (
        COLLECTION,
        include_str!("../../../sql/postgres/007_collection.sql"),
    ),
    (8, include_str!("../../../sql/postgres/008_evidence.sql")),
    (9, include_str!("../../../sql/postgres/009_chunk.sql")),
    (
        numbers::VERSION,
        include_str!("../../../sql/postgres/010_numbers.sql"),
    ),
    (11, include_str!("../../../sql/postgres/011_resync.sql")),
    (12, include_str!("../../../sql/postgres/012_resync_where.sql")),
    (
        members::VERSION,
        include_str!("../../../sql/postgres/013_members.sql"),
    ),
    (14, include_str!("../../../sql/postgres/014_round.sql")),
];

pub(super) async fn steps(
    client: &Client,
    scope: &Scope,
    state: &State,
    peers: &[(Rank, String)],
) -> Result<Vec<Step>> {
    let what = match state.control {
        Control::Ready => "control schema tidelock of this version",
        Control::Missing | Control::Closed => "control schema tidelock",
    };
    let mut steps: Vec<Step> =
        install::control_steps(CONTROL, what, &CONTROL_FILES, &state.versions).collect();
    nodes(scope, state, peers, &mut steps);
    let keys = triggers::keys(client, &scope.tables, &state.tables).await?;
    let own = state.tombstones.iter().zip(&state.stamps);
    for ((catalog, key), (tombstones, stamps)) in state.tables.iter().zip(&keys).zip(own) {
        if let Some(catalog) = catalog {
            let own = (tombstones.as_ref(), stamps.as_ref());
            table_steps(scope, state, (catalog, key), own, &mut steps);
        }
    }
    identities(client, scope, &mut steps).await?;
    super::removal::dropped_tables(scope, state, &mut steps);
    publication(client, scope, false, &mut steps).await?;
    if !state.is_run_user(scope) {
        grants(client, scope, state, &mut steps).await?;
    }
    Ok(steps)
}

fn nodes(scope: &Scope, state: &State, peers: &[(Rank, String)], steps: &mut Vec<Step>) {
    let own = (
        scope.rank,
        scope.node.as_str(),
        true,
        state.server.identity.as_str(),
    );
    let peers = peers.iter().map(|(rank, name)| (*rank, name.as_str(), false, ""));
    for (rank, name, is_self, identity) in std::iter::once(own).chain(peers) {
        if state.recorded.knows(scope, rank, is_self) {
            continue;
        }
        let sql = format!(
            "INSERT INTO tidelock.node (sync, rank, name, is_self, identity, config_hash)\n\
             VALUES ({}, {rank}, {}, {is_self}, {}, {})\n\
             ON CONFLICT (sync, rank) DO UPDATE SET config_hash = excluded.config_hash",
            literal(&scope.sync),
            literal(name),
            literal(identity),
            literal(&scope.config_hash),
        );
        let what = state.recorded.unknown(scope, rank, is_self);
        steps.push(Step::new(NODES, what, sql));
    }
}

/// `own`: its tombstones and its stamps, where those stand in a table of their own.
fn table_steps(
    scope: &Scope,
    state: &State,
    (catalog, key): (&CatalogTable, &[KeyColumn]),
    (tombstones, stamps): (Option<&CatalogTable>, Option<&CatalogTable>),
    steps: &mut Vec<Step>,
) {
    let id = &catalog.table.id;
    let mut tombstones_name = None;
    if scope.mode == Mode::Merge {
        match scope.mapped(id).beside {
            true => stamps_beside(catalog, key, stamps, steps),
            false => stamp_columns(
                state.recorded.first_origin(scope, &catalog.table.id),
                catalog,
                steps,
            ),
        }
        match tombstones {
            Some(found) => key_type(catalog, key, found, "types of the tombstones' key", steps),
            None => {
                let sql = triggers::tombstones_sql(id, key);
                steps.push(Step::new(TABLE, "tombstones", sql).table(id));
            }
        }
        generations(state, id, tombstones, steps);
        trigger_steps(scope, state, catalog, key, steps);
        tombstones_name = Some(triggers::tombstones_name(id));
    }
    table_state(scope, state, catalog, tombstones_name, steps);
}

/// The default stands for the rows that are there; of every later one the triggers tell.
fn stamp_columns(origin: Rank, catalog: &CatalogTable, steps: &mut Vec<Step>) {
    let id = &catalog.table.id;
    let missing: Vec<String> = [
        (VERSION_COLUMN, "bigint NOT NULL DEFAULT 1".to_owned()),
        (ORIGIN_COLUMN, format!("smallint NOT NULL DEFAULT {origin}")),
    ]
    .iter()
    .filter(|(name, _)| catalog.table.column(name).is_none())
    .map(|(name, definition)| format!("ADD COLUMN IF NOT EXISTS {name} {definition}"))
    .collect();
    if !missing.is_empty() {
        let sql = format!("ALTER TABLE {} {}", table(id), missing.join(", "));
        steps.push(Step::new(TABLE, "stamp columns", sql).table(id));
    }
}

/// The log must tell what a stamp was before.
fn stamps_beside(
    catalog: &CatalogTable,
    key: &[KeyColumn],
    found: Option<&CatalogTable>,
    steps: &mut Vec<Step>,
) {
    let id = &catalog.table.id;
    if let Some(found) = found {
        return key_type(catalog, key, found, "types of the stamps' key", steps);
    }
    let whole = format!("ALTER TABLE {} REPLICA IDENTITY FULL", table(&stamps_of(id)));
    // Teardown leaves the table as it was.
    let note = format!(
        "DO $tidelock$ BEGIN\n    IF (SELECT relreplident = 'f' FROM pg_class WHERE oid = {}::regclass) THEN\n        \
         COMMENT ON TABLE {} IS {};\n    END IF;\nEND $tidelock$",
        literal(&table(id)),
        table(&stamps_of(id)),
        literal(FULL_BEFORE)
    );
    for sql in [triggers::stamps_sql(id, key), whole, note] {
        steps.push(Step::new(TABLE, "stamps beside the rows", sql).table(id));
    }
}

/// Tombstones are marked, and found by their mark.
fn generations(state: &State, id: &TableId, found: Option<&CatalogTable>, steps: &mut Vec<Step>) {
    let stones = triggers::tombstones_id(id);
    if found.is_some_and(|found| found.table.column(GENERATION_COLUMN).is_none()) {
        let sql = format!(
            "ALTER TABLE {} ADD COLUMN IF NOT EXISTS {GENERATION_COLUMN} bigint",
            table(&stones)
        );
        steps.push(Step::new(TABLE, "the tombstones' generation", sql).table(id));
    }
    if !state.indexed.contains(&stones.name) {
        let sql = format!("CREATE INDEX ON {} ({GENERATION_COLUMN})", table(&stones));
        steps.push(Step::new(TABLE, "the tombstones' index", sql).table(id));
    }
}

/// The key of tombstones and stamps has the types of the table's key, also after those were altered.
fn key_type(
    catalog: &CatalogTable,
    key: &[KeyColumn],
    found: &CatalogTable,
    what: &'static str,
    steps: &mut Vec<Step>,
) {
    let id = &catalog.table.id;
    for (column, &index) in key.iter().zip(&found.table.key) {
        let there = &found.table.columns[index];
        let wanted = catalog
            .table
            .column(&column.name)
            .map(|i| &catalog.table.columns[i]);
        if wanted.is_some_and(|own| own.sql_type != there.sql_type || own.collation != there.collation) {
            let sql = format!(
                "ALTER TABLE {} ALTER COLUMN {} TYPE {}",
                table(&found.table.id),
                quote(&column.name),
                column.definition
            );
            steps.push(Step::new(TABLE, what, sql).table(id));
        }
    }
}

fn trigger_steps(
    scope: &Scope,
    state: &State,
    catalog: &CatalogTable,
    key: &[KeyColumn],
    steps: &mut Vec<Step>,
) {
    let id = &catalog.table.id;
    let wanted = triggers::triggers(scope, catalog, key);
    for (trigger, function) in
        triggers::names(id).filter(|(name, _)| wanted.iter().all(|w| w.trigger != *name))
    {
        if state
            .installed
            .iter()
            .any(|there| there.table == *id && there.trigger == trigger)
        {
            let what = "removal of stamp triggers for stamps that stood elsewhere";
            let drop = format!("DROP TRIGGER IF EXISTS {} ON {}", quote(&trigger), table(id));
            steps.push(Step::new(TABLE, what, drop).table(id));
            let drop = format!("DROP FUNCTION IF EXISTS tidelock.{function}()");
            steps.push(Step::new(TABLE, what, drop).table(id));
        }
    }
    for trigger in wanted {
        let current = state
            .functions
            .iter()
            .any(|(name, body)| *name == trigger.function && body.contains(&trigger.mark));
        if !current {
            let revoke = format!(
                "REVOKE ALL ON FUNCTION tidelock.{}() FROM PUBLIC",
                trigger.function
            );
            steps.push(Step::new(TABLE, STAMP_FUNCTIONS, trigger.function_sql).table(id));
            steps.push(Step::new(TABLE, STAMP_FUNCTIONS, revoke).table(id));
        }
        let there = state.installed.iter().find(|there| {
            let is_it = there.trigger == trigger.trigger && there.function == trigger.function;
            is_it && there.table == *id && there.whole
        });
        match there {
            None => steps.push(Step::new(TABLE, "stamp triggers", trigger.trigger_sql).table(id)),
            Some(there) if there.enabled != "O" => {
                let sql = format!(
                    "ALTER TABLE {} ENABLE TRIGGER {}",
                    table(id),
                    quote(&trigger.trigger)
                );
                steps.push(Step::new(TABLE, "stamp triggers, which are not enabled", sql).table(id));
            }
            Some(_) => {}
        }
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
            "INSERT INTO tidelock.resync (sync, link, schema_name, table_name, operator)\n\
             SELECT DISTINCT sync, link, {}, {}, 'setup' FROM tidelock.checkpoint WHERE sync = {}\n\
             ON CONFLICT (sync, link, schema_name, table_name) DO UPDATE\n\
                 SET state = 'asked', settle = NULL, where_text = NULL",
            literal(&id.schema),
            literal(&id.name),
            literal(&scope.sync),
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
    let sql = format!(
        "INSERT INTO tidelock.table_state (schema_name, table_name, sync, tombstones, fingerprint)\n\
         VALUES ({}, {}, {}, {}, {})\n\
         ON CONFLICT (schema_name, table_name, sync)\n\
         DO UPDATE SET tombstones = excluded.tombstones, fingerprint = excluded.fingerprint",
        literal(&id.schema),
        literal(&id.name),
        literal(&scope.sync),
        tombstones.map_or("NULL".to_owned(), |name| literal(&name)),
        literal(&fingerprint),
    );
    steps.push(Step::new(TABLE, "state row, or its definition changed", sql).table(id));
}

/// The log must carry whole old rows in merge mode and of filtered tables. Partitions do not take it over from their table.
pub(super) async fn identities(client: &Client, scope: &Scope, steps: &mut Vec<Step>) -> Result<()> {
    let wanted = scope.whole_rows();
    if wanted.is_empty() {
        return Ok(());
    }
    let schemas: Vec<&str> = wanted.iter().map(|id| id.schema.as_str()).collect();
    let names: Vec<&str> = wanted.iter().map(|id| id.name.as_str()).collect();
    let sql = "SELECT want.schema, want.name, n.nspname::text, c.relname::text
                 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS want(schema, name, number)
                 JOIN pg_namespace k ON k.nspname = want.schema
                 JOIN pg_class root ON root.relnamespace = k.oid AND root.relname = want.name
                CROSS JOIN LATERAL (SELECT root.oid AS member
                                    UNION SELECT part.relid::oid FROM pg_partition_tree(root.oid) part) tree
                 JOIN pg_class c ON c.oid = tree.member
                 JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE root.relkind IN ('r', 'p') AND c.relreplident <> 'f'
                ORDER BY want.number, c.oid";
    for row in rows(client, sql, &[&schemas, &names]).await? {
        let id = TableId::new(cell::<String>(&row, 0)?, cell::<String>(&row, 1)?);
        let member = TableId::new(cell::<String>(&row, 2)?, cell::<String>(&row, 3)?);
        let sql = format!("ALTER TABLE {} REPLICA IDENTITY FULL", table(&member));
        steps.push(Step::new(TABLE, "replica identity FULL", sql).table(&id));
    }
    Ok(())
}

/// Exactly the sync's tables, whole, a hub's tombstones, and stamps that stand in tables of their own.
/// `is_running`: a table that joins is published before the links that run know of it.
pub(super) async fn publication(
    client: &Client,
    scope: &Scope,
    is_running: bool,
    steps: &mut Vec<Step>,
) -> Result<()> {
    if !scope.is_source {
        return Ok(());
    }
    let name = publication_name(&scope.sync);
    let sql =
        "SELECT p.puballtables OR EXISTS (SELECT FROM pg_publication_namespace n WHERE n.pnpubid = p.oid),
                      p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AND p.pubviaroot,
                      coalesce(to_jsonb(p)->>'pubgencols', '') = 's'
                 FROM pg_publication p WHERE p.pubname = $1";
    let with_generated = !scope.whole_rows().is_empty() && publishes_generated(client).await?;
    let publish = format!("{PUBLISH}{}", if with_generated { PUBLISH_GENERATED } else { "" });
    let wanted = published_tables(scope);
    let tables: Vec<String> = wanted.iter().map(table).collect();
    let missing = |sql: String| Step::new(PUBLICATION, "publication of the sync's tables", sql);
    let create = format!(
        "CREATE PUBLICATION {} FOR TABLE {} WITH ({publish})",
        quote(&name),
        tables.join(", ")
    );
    let Some(row) = rows(client, sql, &[&name]).await?.into_iter().next() else {
        steps.push(missing(create));
        return Ok(());
    };
    // Of whole schemas or all tables: it cannot be narrowed.
    if cell(&row, 0)? {
        steps.push(missing(format!("DROP PUBLICATION {}", quote(&name))));
        steps.push(missing(create));
        return Ok(());
    }
    if !cell::<bool>(&row, 1)? || (with_generated && !cell::<bool>(&row, 2)?) {
        steps.push(missing(format!(
            "ALTER PUBLICATION {} SET ({publish})",
            quote(&name)
        )));
    }
    let members = "SELECT n.nspname::text, c.relname::text, r.prqual IS NULL AND r.prattrs IS NULL
                     FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                     JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                    WHERE p.pubname = $1";
    let mut there = Vec::new();
    let mut whole = true;
    for row in rows(client, members, &[&name]).await? {
        there.push(TableId::new(cell::<String>(&row, 0)?, cell::<String>(&row, 1)?));
        whole &= cell::<bool>(&row, 2)?;
    }
    let same = (is_running || there.len() == wanted.len()) && wanted.iter().all(|id| there.contains(id));
    if !same || !whole {
        steps.push(missing(format!(
            "ALTER PUBLICATION {} SET TABLE {}",
            quote(&name),
            tables.join(", ")
        )));
    }
    Ok(())
}

/// A hub's tombstones tell the others of what it deleted for one of them; the log of rows has no stamps where those are
/// beside.
fn published_tables(scope: &Scope) -> Vec<TableId> {
    let tombstones = scope.tables.iter().filter(|_| scope.is_hub);
    let tombstones = tombstones.map(triggers::tombstones_id);
    let stamps = scope.beside().map(stamps_of);
    scope
        .tables
        .iter()
        .cloned()
        .chain(tombstones)
        .chain(stamps)
        .collect()
}

async fn publishes_generated(client: &Client) -> Result<bool> {
    let sql = "SELECT current_setting('server_version_num')::int >= 180000";
    let rows = rows(client, sql, &[]).await?;
    rows.first().map_or(Ok(false), |row| cell(row, 0))
}

/// What the run account needs and does not have. Objects that are still to be made count as not granted.
async fn grants(client: &Client, scope: &Scope, state: &State, steps: &mut Vec<Step>) -> Result<()> {
    if !state.run_user_exists {
        return Err(Error::definite("grant to the run account")
            .node(&scope.node)
            .why(format!("role {:?} does not exist", scope.run_user))
            .hint(super::check::create_role(scope)));
    }
    for lack in grants::lacking(client, scope, state, &scope.run_user, true).await? {
        let step = Step::new(GRANTS, "grants of the run account", lack.fix);
        // Several tables may need one and the same.
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    Ok(())
}
