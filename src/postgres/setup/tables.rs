//! What the users' tables must be like, one small function per requirement.
//!
//! Owns: judging what the catalog shows of a table, and [`more`], which asks for what that view does not have.
//! Refuses: the server's settings and what is installed (see `check`).

use super::state::{State, cell, rows};
use super::versions;
use crate::error::Result;
use crate::install::{stamps_elsewhere, unnamed};
use crate::model::schema::{ColumnType, TableId};
use crate::model::sync::{CatalogTable, Finding, Mode, ORIGIN_COLUMN, Scope, VERSION_COLUMN};
use crate::postgres::catalog::TRIGGER_PREFIX;
use crate::postgres::sql::{quote, table};
use tokio_postgres::Client;

/// What the users' tables must be like, from the catalog.
pub(super) fn findings(scope: &Scope, state: &State) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, catalog) in scope.tables.iter().zip(&state.tables) {
        let Some(catalog) = catalog else {
            let what = "the table does not exist, or lies in another database";
            let finding = Finding::blocker("E302", &scope.node, what).table(id);
            findings.push(
                finding.fix("create it as on the other node, or correct its name in the configuration"),
            );
            continue;
        };
        let before = findings.len();
        kind(scope, catalog, &mut findings);
        if scope.mode != Mode::Snapshot {
            key(scope, catalog, &mut findings);
        }
        foreign_triggers(scope, catalog, &mut findings);
        stamp_columns(scope, catalog, &mut findings);
        versions::findings(scope, catalog, &mut findings);
        other_sync(scope, state, id, &mut findings);
        if findings.len() == before {
            let what = match catalog.table.key.is_empty() {
                true => "plain table without a primary key",
                false => "plain table with a primary key",
            };
            findings.push(Finding::ok(&scope.node, what).table(id));
        }
    }
    findings
}

fn kind(scope: &Scope, catalog: &CatalogTable, findings: &mut Vec<Finding>) {
    let kind = match catalog.storage.as_str() {
        "r" | "p" => return,
        "v" => "a view",
        "m" => "a materialized view",
        _ => "a foreign table",
    };
    let what = format!("it is {kind}; only tables are carried");
    let finding = Finding::blocker("E303", &scope.node, what).table(&catalog.table.id);
    findings.push(finding.fix("name the tables it is made of in the configuration"));
}

fn key(scope: &Scope, catalog: &CatalogTable, findings: &mut Vec<Finding>) {
    if !matches!(catalog.storage.as_str(), "r" | "p") {
        return;
    }
    if let Some(unnamed) = unnamed(scope, &catalog.table, table, quote) {
        findings.push(unnamed);
        return;
    }
    if !catalog.table.key.is_empty() {
        return;
    }
    let candidate = catalog
        .table
        .uniques
        .iter()
        .find(|unique| !unique.is_empty() && unique.iter().all(|&i| !catalog.table.columns[i].nullable));
    let columns = match candidate {
        Some(unique) => unique
            .iter()
            .map(|&i| quote(&catalog.table.columns[i].name))
            .collect::<Vec<_>>()
            .join(", "),
        None => "...".to_owned(),
    };
    let fix = format!(
        "ALTER TABLE {} ADD PRIMARY KEY ({columns})",
        table(&catalog.table.id)
    );
    let finding = Finding::blocker("E301", &scope.node, "it has no primary key");
    findings.push(finding.table(&catalog.table.id).fix(fix));
}

fn foreign_triggers(scope: &Scope, catalog: &CatalogTable, findings: &mut Vec<Finding>) {
    let id = &catalog.table.id;
    for trigger in &catalog.foreign_triggers {
        if scope.is_target && !trigger.guarded {
            findings.push(foreign_trigger(scope, id, &trigger.table, &trigger.name));
        }
        // Triggers fire in the order of their names: what this one changes, ours would not see.
        if scope.mode == Mode::Merge && trigger.name.as_str() > TRIGGER_PREFIX {
            let fix = format!(
                "ALTER TRIGGER {} ON {} RENAME TO {}",
                quote(&trigger.name),
                table(&trigger.table),
                quote(&format!("a_{}", trigger.name))
            );
            let what = format!(
                "trigger {:?} sorts after the stamp triggers, which must be last",
                trigger.name
            );
            findings.push(Finding::blocker("E309", &scope.node, what).table(id).fix(fix));
        }
    }
}

/// `on`: the table itself or a partition of it.
pub(super) fn foreign_trigger(scope: &Scope, id: &TableId, on: &TableId, name: &str) -> Finding {
    let what = format!(
        "trigger {name:?}{} also fires when Tidelock writes (ENABLE ALWAYS or REPLICA)",
        of_partition(id, on)
    );
    let fix = format!("ALTER TABLE {} ENABLE TRIGGER {}", table(on), quote(name));
    Finding::blocker(Finding::UNGUARDED, &scope.node, what)
        .table(id)
        .fix(fix)
}

/// Named where a finding of a table is about one of its partitions.
pub(super) fn of_partition(id: &TableId, on: &TableId) -> String {
    match id == on {
        true => String::new(),
        false => format!(" of its partition {on}"),
    }
}

fn stamp_columns(scope: &Scope, catalog: &CatalogTable, findings: &mut Vec<Finding>) {
    let is_beside = scope.mapped(&catalog.table.id).beside;
    if scope.mode != Mode::Merge || is_beside != catalog.table.is_beside() {
        return findings.extend(stamps_elsewhere(scope, catalog, table));
    }
    for (name, bits, definition) in [(VERSION_COLUMN, 64, "bigint"), (ORIGIN_COLUMN, 16, "smallint")] {
        let Some(column) = catalog.table.column(name).map(|i| &catalog.table.columns[i]) else {
            continue;
        };
        let ty = ColumnType::Int {
            bits,
            unsigned: false,
        };
        if column.ty != ty || column.nullable || column.generated {
            let fix = format!(
                "ALTER TABLE {0} ALTER COLUMN {name} TYPE {definition}, ALTER COLUMN {name} SET NOT NULL",
                table(&catalog.table.id)
            );
            let what = format!(
                "column {name} must be {definition} NOT NULL, and is {}",
                column.sql_type
            );
            findings.push(
                Finding::blocker("E313", &scope.node, what)
                    .table(&catalog.table.id)
                    .fix(fix),
            );
        }
    }
}

fn other_sync(scope: &Scope, state: &State, id: &TableId, findings: &mut Vec<Finding>) {
    let other = state.recorded.other_merge(&scope.sync, id);
    if let Some(other) = other.filter(|_| scope.mode == Mode::Merge) {
        let what = format!(
            "it is in merge sync {:?} already; a row has one stamp",
            other.sync
        );
        let finding = Finding::blocker("E310", &scope.node, what).table(id);
        findings.push(finding.fix("take it out of one of the two syncs"));
    }
}

/// Requirements that the catalog view does not show.
pub(super) async fn more(client: &Client, scope: &Scope) -> Result<Vec<Finding>> {
    let sql = "SELECT n.nspname::text, c.relname::text, c.relpersistence = 'u', coalesce(NOT i.indimmediate, false),
                      con.conname::text,
                      EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated = 'v'),
                      (SELECT min(h.inhrelid)::regclass::text FROM pg_inherits h
                        WHERE h.inhparent = c.oid AND c.relkind = 'r'),
                      (SELECT min(r.rulename::text) FROM pg_rewrite r
                        WHERE r.ev_class = c.oid AND r.ev_type <> '1' AND r.ev_enabled IN ('A', 'R')),
                      c.relreplident IN ('n', 'i')
                 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS want(schema, name, number)
                 JOIN pg_namespace n ON n.nspname = want.schema
                 JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name
                 LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
                 LEFT JOIN pg_constraint con ON con.conindid = i.indexrelid AND con.contype = 'p'
                ORDER BY want.number";
    let schemas: Vec<&str> = scope.tables.iter().map(|id| id.schema.as_str()).collect();
    let names: Vec<&str> = scope.tables.iter().map(|id| id.name.as_str()).collect();
    let mut findings = Vec::new();
    for row in rows(client, sql, &[&schemas, &names]).await? {
        let id = TableId::new(cell::<String>(&row, 0)?, cell::<String>(&row, 1)?);
        if scope.is_source && cell::<bool>(&row, 2)? {
            let finding = Finding::blocker("E304", &scope.node, "it is unlogged: its changes are in no log");
            findings.push(
                finding
                    .table(&id)
                    .fix(format!("ALTER TABLE {} SET LOGGED", table(&id))),
            );
        }
        if scope.whole_rows().contains(&&id) && cell::<bool>(&row, 5)? {
            let what = "it has a virtual generated column, with which PostgreSQL cannot log whole old rows";
            let fix = format!(
                "ALTER TABLE {} DROP COLUMN ..., ADD COLUMN ... GENERATED ALWAYS AS (...) STORED",
                table(&id)
            );
            findings.push(Finding::blocker("E314", &scope.node, what).table(&id).fix(fix));
        }
        if scope.mapped(&id).beside && cell::<bool>(&row, 8)? {
            findings.push(other_identity(scope, &id));
        }
        if scope.is_target {
            let (child, rule) = (cell::<Option<String>>(&row, 6)?, cell::<Option<String>>(&row, 7)?);
            findings.extend(child.map(|child| inherited(scope, &id, &child)));
            findings.extend(rule.map(|rule| always_rule(scope, &id, &rule)));
        }
        if scope.mode != Mode::Snapshot && cell::<bool>(&row, 3)? {
            let name = cell::<Option<String>>(&row, 4)?.unwrap_or_default();
            let fix = format!(
                "ALTER TABLE {0} DROP CONSTRAINT {1}, ADD PRIMARY KEY (...)",
                table(&id),
                quote(&name)
            );
            let what = "its primary key is deferrable, so it identifies no row in the log";
            findings.push(Finding::blocker("E307", &scope.node, what).table(&id).fix(fix));
        }
    }
    Ok(findings)
}

/// Setup needs FULL, and teardown would not know what it was.
fn other_identity(scope: &Scope, id: &TableId) -> Finding {
    let what =
        "its replica identity is NOTHING or an index, and stamps = \"beside\" promises to leave it as it was";
    let fix = format!("ALTER TABLE {} REPLICA IDENTITY FULL", table(id));
    Finding::blocker("E621", &scope.node, what).table(id).fix(fix)
}

/// A statement that names a table reaches the rows of its children too, so one row would stand for several.
fn inherited(scope: &Scope, id: &TableId, child: &str) -> Finding {
    let what = format!(
        "table {child} inherits from it: what Tidelock writes here would reach that table's rows too"
    );
    let fix = format!(
        "ALTER TABLE {child} NO INHERIT {}; or take the parent out of the configuration; partitions are carried",
        table(id)
    );
    Finding::blocker("E331", &scope.node, what).table(id).fix(fix)
}

fn always_rule(scope: &Scope, id: &TableId, rule: &str) -> Finding {
    let what = format!("rule {rule:?} also rewrites what Tidelock writes (ENABLE ALWAYS or REPLICA)");
    let fix = format!("ALTER TABLE {} ENABLE RULE {}", table(id), quote(rule));
    Finding::blocker("E332", &scope.node, what).table(id).fix(fix)
}
