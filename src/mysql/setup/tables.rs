//! What the users' tables must be like, one small function per requirement.
//!
//! Owns: judging what the catalog shows of a table. Refuses: the server's settings and what is installed (see `check`).

use super::state::State;
use super::triggers;
use super::versions;
use crate::install::{stamps_elsewhere, unnamed};
use crate::model::schema::{ColumnType, TableId};
use crate::model::sync::{CatalogTable, Finding, Mode, ORIGIN_COLUMN, Scope, VERSION_COLUMN};
use crate::mysql::Flavor;
use crate::mysql::catalog::holds_all_of_unicode;
use crate::mysql::codec::is_read;
use crate::mysql::sql::{quote, table};

/// What the users' tables must be like, from the catalog.
pub(super) fn findings(scope: &Scope, state: &State) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, catalog) in scope.tables.iter().zip(&state.tables) {
        let Some(catalog) = catalog else {
            let what = "the table does not exist, or this account may not see it";
            let finding = Finding::blocker("E302", &scope.node, what).table(id);
            findings.push(
                finding.fix("create it as on the other node, or correct its name in the configuration"),
            );
            continue;
        };
        let before = findings.len();
        storage(scope, catalog, &mut findings);
        if scope.mode != Mode::Snapshot {
            key(scope, catalog, &mut findings);
            key_collation(scope, state.flavor, catalog, &mut findings);
        }
        compressed(scope, catalog, &mut findings);
        charset(scope, catalog, &mut findings);
        labels(scope, catalog, &mut findings);
        foreign_triggers(scope, catalog, &mut findings);
        stamp_columns(scope, catalog, &mut findings);
        versions::findings(scope, catalog, &mut findings);
        other_sync(scope, state, id, &mut findings);
        if findings.len() == before {
            let what = match catalog.table.key.is_empty() {
                true => "InnoDB table without a primary key",
                false => "InnoDB table with a primary key",
            };
            findings.push(Finding::ok(&scope.node, what).table(id));
        }
    }
    findings
}

fn storage(scope: &Scope, catalog: &CatalogTable, findings: &mut Vec<Finding>) {
    if catalog.storage.eq_ignore_ascii_case("InnoDB") {
        return;
    }
    let id = &catalog.table.id;
    let plain = !catalog.storage.contains(' ') && catalog.storage != "SEQUENCE" && catalog.storage != "VIEW";
    let fix = match plain {
        true => format!("ALTER TABLE {} ENGINE = InnoDB;", table(id)),
        false => "only plain InnoDB tables are carried: take it out of the configuration".to_owned(),
    };
    let what = format!("it is {}, needs to be an InnoDB table", catalog.storage);
    findings.push(Finding::blocker("E303", &scope.node, what).table(id).fix(fix));
}

fn key(scope: &Scope, catalog: &CatalogTable, findings: &mut Vec<Finding>) {
    if catalog.storage == "VIEW" {
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
        "ALTER TABLE {} ADD PRIMARY KEY ({columns});",
        table(&catalog.table.id)
    );
    let finding = Finding::blocker("E301", &scope.node, "it has no primary key over whole columns");
    findings.push(finding.table(&catalog.table.id).fix(fix));
}

/// Where the key's collation takes two texts for one, the other engine does not.
fn key_collation(scope: &Scope, flavor: Flavor, catalog: &CatalogTable, findings: &mut Vec<Finding>) {
    let exact = match flavor {
        Flavor::Mysql => "utf8mb4_0900_bin",
        Flavor::Mariadb => "utf8mb4_nopad_bin",
    };
    for column in triggers::key(catalog) {
        let (ColumnType::Text { fixed, .. }, collation) = (&column.ty, &column.collation) else {
            continue;
        };
        let pads = !collation.contains("_0900_") && !collation.contains("nopad");
        if collation.ends_with("_bin") && (*fixed || !pads) {
            continue;
        }
        let fix = format!(
            "ALTER TABLE {} MODIFY {} {} COLLATE {exact} {};",
            table(&catalog.table.id),
            quote(&column.name),
            column.sql_type,
            if column.nullable { "NULL" } else { "NOT NULL" }
        );
        let what = format!(
            "key column {} has collation {collation}, for which different texts (case, accents or trailing blanks) \
             are one key",
            column.name
        );
        let finding = Finding::warning("W308", &scope.node, what);
        findings.push(finding.table(&catalog.table.id).fix(fix));
    }
}

/// MariaDB logs such columns in a form of their own.
fn compressed(scope: &Scope, catalog: &CatalogTable, findings: &mut Vec<Finding>) {
    for column in &catalog.table.columns {
        if scope.is_source && column.sql_type.contains("COMPRESSED") {
            let fix = format!(
                "ALTER TABLE {} MODIFY {} ...; (its definition without COMPRESSED)",
                table(&catalog.table.id),
                quote(&column.name)
            );
            let what = format!(
                "column {} is COMPRESSED, which the binlog does not describe",
                column.name
            );
            let finding = Finding::blocker("E311", &scope.node, what);
            findings.push(finding.table(&catalog.table.id).fix(fix));
        }
    }
}

/// The log has texts, and the labels of ENUM and SET, in the bytes of their column's character set.
fn charset(scope: &Scope, catalog: &CatalogTable, findings: &mut Vec<Finding>) {
    for column in &catalog.table.columns {
        let charset = column.collation.split('_').next().unwrap_or_default();
        if !scope.is_source || charset.is_empty() || is_read(charset) {
            continue;
        }
        let id = &catalog.table.id;
        let fix = format!("ALTER TABLE {} CONVERT TO CHARACTER SET utf8mb4;", table(id));
        let what = format!(
            "column {} has the character set {charset}, which is not read from the log",
            column.name
        );
        findings.push(Finding::blocker("E333", &scope.node, what).table(id).fix(fix));
    }
}

/// The server keeps a label as it is, and the log has it; but whoever asks for the column's type gets a '?' for each
/// character that utf8mb3 lacks. So the labels of both sides cannot be compared.
fn labels(scope: &Scope, catalog: &CatalogTable, findings: &mut Vec<Finding>) {
    let spared = scope.spared(&catalog.table);
    for column in &catalog.table.columns {
        let (ColumnType::Enum { labels } | ColumnType::Set { labels }) = &column.ty else {
            continue;
        };
        let charset = column.collation.split('_').next().unwrap_or_default();
        let is_hidden = holds_all_of_unicode(charset) && labels.iter().any(|label| label.contains('?'));
        if !is_hidden || spared.contains(&column.name) {
            continue;
        }
        let id = &catalog.table.id;
        let fix = format!(
            "ALTER TABLE {0} MODIFY {1} ...; with other labels; or, where it is a plain '?', in a character set without \
             such characters: ALTER TABLE {0} MODIFY {1} {2} CHARACTER SET utf8mb3 ...;",
            table(id),
            quote(&column.name),
            column.sql_type
        );
        let what = format!(
            "column {} has a label with '?', which the server shows for every character that utf8mb3 lacks (such as \
             emoji), so which label it is cannot be told",
            column.name
        );
        findings.push(Finding::blocker("E220", &scope.node, what).table(id).fix(fix));
    }
}

fn foreign_triggers(scope: &Scope, catalog: &CatalogTable, findings: &mut Vec<Finding>) {
    if !scope.is_target {
        return;
    }
    let unguarded = catalog.foreign_triggers.iter().filter(|trigger| !trigger.guarded);
    findings.extend(unguarded.map(|trigger| foreign_trigger(scope, &catalog.table.id, &trigger.name)));
}

pub(super) fn foreign_trigger(scope: &Scope, id: &TableId, name: &str) -> Finding {
    let what = format!("trigger {name:?} also fires when Tidelock writes");
    let fix = "make its body: IF @tidelock_apply IS NULL THEN ... END IF; or drop it";
    Finding::blocker(Finding::UNGUARDED, &scope.node, what)
        .table(id)
        .fix(fix)
}

fn stamp_columns(scope: &Scope, catalog: &CatalogTable, findings: &mut Vec<Finding>) {
    let is_beside = scope.mapped(&catalog.table.id).beside;
    if scope.mode != Mode::Merge || is_beside != catalog.table.is_beside() {
        return findings.extend(stamps_elsewhere(scope, catalog, table));
    }
    for (name, bits, definition) in [(VERSION_COLUMN, 64, "BIGINT"), (ORIGIN_COLUMN, 16, "SMALLINT")] {
        let Some(column) = catalog.table.column(name).map(|i| &catalog.table.columns[i]) else {
            continue;
        };
        let ty = ColumnType::Int {
            bits,
            unsigned: false,
        };
        if column.ty != ty || column.nullable || column.generated {
            let default = i32::from(name == VERSION_COLUMN);
            let fix = format!(
                "ALTER TABLE {} MODIFY {name} {definition} NOT NULL DEFAULT {default} INVISIBLE;",
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

/// Cascades fire no triggers on either server, so rows change without a stamp. Where InnoDB itself does them (all
/// but MySQL with `innodb_native_foreign_keys=OFF`), the binlog does not have them at all.
pub(super) fn cascades(scope: &Scope, found: &[(TableId, String)], logged: bool) -> Vec<Finding> {
    let why = match (scope.mode, scope.is_source, logged) {
        (Mode::Merge, _, _) => "which fires no triggers, so that rows change without a stamp",
        (Mode::Transactional, true, false) => "which this server does not log",
        (Mode::Transactional | Mode::Snapshot, _, _) => return Vec::new(),
    };
    let finding = |(id, cascade): &(TableId, String)| {
        let name = cascade.split(": ON ").next().unwrap_or_default();
        let fix = format!(
            "ALTER TABLE {0} DROP FOREIGN KEY {1}; ALTER TABLE {0} ADD CONSTRAINT {1} FOREIGN KEY (...) \
             REFERENCES ... ON DELETE RESTRICT ON UPDATE RESTRICT; and let the application delete the children",
            table(id),
            quote(name)
        );
        let finding = Finding::blocker(
            Finding::CASCADES,
            &scope.node,
            format!("foreign key {cascade}, {why}"),
        );
        finding.table(id).fix(fix)
    };
    found.iter().map(finding).collect()
}
