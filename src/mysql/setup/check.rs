//! What MySQL and MariaDB must be like, one small function per requirement; all findings at once.
//!
//! Owns: the findings and their codes, which `docs/errors.md` explains. Refuses: stopping at the first finding.

use super::grants::{account, holds, quoted};
use super::state::{Control, State, cell, rows};
use super::steps::{self, STAMP_TRIGGERS};
use super::triggers;
use crate::error::Result;
use crate::install;
use crate::model::schema::{ColumnType, TableId};
use crate::model::sync::{CatalogTable, Finding, Mode, ORIGIN_COLUMN, Scope, VERSION_COLUMN};
use crate::mysql::sql::{quote, table};
use crate::mysql::{Flavor, catalog, fail, flavor};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use std::collections::HashMap;

/// Rows near this size are met in practice; a smaller limit refuses them when they are written.
const PACKET_BYTES_MIN: u64 = 16 << 20;

/// Every requirement of the node's part in the sync.
pub async fn check(conn: &mut Conn, scope: &Scope) -> Result<Vec<Finding>> {
    let state = State::read(conn, scope).await?;
    let server = Settings::read(conn).await?;
    let mut findings = vec![version(scope, &server)];
    findings.extend(server_settings(scope, &server));
    if scope.is_source && server.is("log_bin", "ON") {
        findings.extend(filters(conn, scope, &server).await?);
    }
    accounts(scope, &state, &mut findings);
    findings.extend(tables(scope, &state));
    findings.extend(cascades(scope, &state, &server));
    findings.extend(installed(conn, scope, &state, &server).await?);
    Ok(findings)
}

/// What can change while a link runs: server settings, our triggers, the users' triggers.
pub async fn settings(conn: &mut Conn, scope: &Scope) -> Result<Vec<Finding>> {
    let server = Settings::read(conn).await?;
    let mut findings = server_settings(scope, &server);
    let found = catalog_triggers(conn, scope).await?;
    for (id, name, body) in &found {
        let ours = name.starts_with(catalog::TRIGGER_PREFIX);
        if !ours && scope.is_target && !body.to_ascii_lowercase().contains("@tidelock_apply") {
            findings.push(foreign_trigger(scope, id, name));
        }
    }
    if scope.mode == Mode::Merge {
        for id in &scope.tables {
            let names = triggers::names(id);
            let there = found
                .iter()
                .filter(|(other, name, _)| other == id && names.contains(name));
            if there.count() < names.len() {
                let finding = Finding::blocker(steps::TABLE, &scope.node, "not set up: stamp triggers");
                findings.push(finding.table(id).fix("tidelock setup"));
            }
        }
    }
    Ok(findings)
}

async fn catalog_triggers(conn: &mut Conn, scope: &Scope) -> Result<Vec<(TableId, String, String)>> {
    let mut schemas: Vec<&str> = scope.tables.iter().map(|id| id.schema.as_str()).collect();
    schemas.sort_unstable();
    schemas.dedup();
    let sql = "SELECT EVENT_OBJECT_TABLE, TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS
                WHERE EVENT_OBJECT_SCHEMA = ?";
    let mut found = Vec::new();
    for schema in schemas {
        for row in rows(conn, sql, &[schema]).await? {
            let id = TableId::new(schema, cell::<String>(&row, 0)?);
            if scope.tables.contains(&id) {
                found.push((id, cell(&row, 1)?, cell(&row, 2)?));
            }
        }
    }
    Ok(found)
}

/// Global variables; one that this server does not know is absent.
struct Settings {
    flavor: Flavor,
    version: String,
    values: HashMap<String, String>,
}

impl Settings {
    async fn read(conn: &mut Conn) -> Result<Settings> {
        let flavor = flavor(conn).await?;
        let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'log_bin', 'binlog_format',
                   'binlog_row_image', 'binlog_row_metadata', 'binlog_row_value_options', 'gtid_mode',
                   'binlog_transaction_compression', 'log_bin_compress', 'read_only', 'super_read_only',
                   'max_allowed_packet', 'log_bin_trust_function_creators', 'innodb_native_foreign_keys')";
        let rows: Vec<(String, String)> = conn
            .query(sql)
            .await
            .map_err(|error| fail("read the server's settings", error))?;
        let values: HashMap<String, String> = rows.into_iter().collect();
        let version = values.get("version").cloned().unwrap_or_default();
        Ok(Settings {
            flavor,
            version,
            values,
        })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.get(name)
            .is_some_and(|found| found.eq_ignore_ascii_case(value))
    }

    /// The statement that sets a variable for good.
    fn set(&self, name: &str, value: &str) -> String {
        match self.flavor {
            Flavor::Mysql => format!("SET PERSIST {name} = {value};"),
            Flavor::Mariadb => {
                format!("SET GLOBAL {name} = {value}; and {name} = {value} under [mysqld] in my.cnf")
            }
        }
    }
}

fn server_settings(scope: &Scope, server: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if scope.is_source {
        findings.extend(log_bin(scope, server));
        findings.extend(
            [
                row_format(scope, server),
                row_image(scope, server),
                row_metadata(scope, server),
            ]
            .into_iter()
            .flatten(),
        );
        findings.extend(
            [value_options(scope, server), gtid_mode(scope, server)]
                .into_iter()
                .flatten(),
        );
        findings.extend(compression(scope, server));
        if findings.is_empty() {
            findings.push(Finding::ok(
                &scope.node,
                "binlog: rows, whole images, full metadata",
            ));
        }
    }
    if scope.is_target {
        findings.push(writable(scope, server));
        findings.extend(packet(scope, server));
    }
    findings
}

fn version(scope: &Scope, server: &Settings) -> Finding {
    let (name, least) = match server.flavor {
        Flavor::Mysql => ("MySQL", (8, 4)),
        Flavor::Mariadb => ("MariaDB", (10, 11)),
    };
    let mut numbers = server
        .version
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found >= least {
        return Finding::ok(&scope.node, format!("{name} {}", server.version));
    }
    let what = format!(
        "{name} {} is too old: {}.{} or newer is needed",
        server.version, least.0, least.1
    );
    Finding::blocker("E101", &scope.node, what).fix("upgrade the server")
}

fn log_bin(scope: &Scope, server: &Settings) -> Option<Finding> {
    if server.is("log_bin", "ON") {
        return None;
    }
    let fix = "log_bin and server_id under [mysqld] in my.cnf, then restart the server";
    Some(Finding::blocker("E201", &scope.node, "the binlog is off (log_bin)").fix(fix))
}

/// A variable that must have one value, where the server knows it.
fn must_be(scope: &Scope, server: &Settings, code: &'static str, name: &str, value: &str) -> Option<Finding> {
    let found = server.get(name)?;
    if found.eq_ignore_ascii_case(value) {
        return None;
    }
    let shown = if value.is_empty() { "''" } else { value };
    let what = format!("{name}={found}, needs {shown}");
    let fix = format!(
        "{} open sessions keep their own value until they reconnect",
        server.set(name, shown)
    );
    Some(Finding::blocker(code, &scope.node, what).fix(fix))
}

fn row_format(scope: &Scope, server: &Settings) -> Option<Finding> {
    must_be(scope, server, "E202", "binlog_format", "ROW")
}

fn row_metadata(scope: &Scope, server: &Settings) -> Option<Finding> {
    must_be(scope, server, "E203", "binlog_row_metadata", "FULL")
}

fn row_image(scope: &Scope, server: &Settings) -> Option<Finding> {
    must_be(scope, server, "E204", "binlog_row_image", "FULL")
}

fn value_options(scope: &Scope, server: &Settings) -> Option<Finding> {
    must_be(scope, server, "E205", "binlog_row_value_options", "")
}

fn gtid_mode(scope: &Scope, server: &Settings) -> Option<Finding> {
    let found = server.get("gtid_mode")?;
    if found == "ON" {
        return None;
    }
    let fix = "SET PERSIST enforce_gtid_consistency = ON; then one after the other: SET PERSIST gtid_mode = \
               OFF_PERMISSIVE; SET PERSIST gtid_mode = ON_PERMISSIVE; SET PERSIST gtid_mode = ON;";
    Some(Finding::blocker("E206", &scope.node, format!("gtid_mode={found}, needs ON")).fix(fix))
}

fn compression(scope: &Scope, server: &Settings) -> Option<Finding> {
    match server.flavor {
        Flavor::Mysql => must_be(scope, server, "E207", "binlog_transaction_compression", "OFF"),
        Flavor::Mariadb => must_be(scope, server, "E207", "log_bin_compress", "OFF"),
    }
}

fn writable(scope: &Scope, server: &Settings) -> Finding {
    for name in ["super_read_only", "read_only"] {
        if server
            .get(name)
            .is_some_and(|found| !matches!(found, "OFF" | "0"))
        {
            let finding = Finding::blocker("E209", &scope.node, format!("the server is read-only ({name})"));
            return finding.fix(format!(
                "SET GLOBAL {name} = OFF; unless this is a replica: connect to its primary"
            ));
        }
    }
    Finding::ok(&scope.node, "the server takes writes")
}

fn packet(scope: &Scope, server: &Settings) -> Option<Finding> {
    let bytes: u64 = server.get("max_allowed_packet")?.parse().ok()?;
    if bytes >= PACKET_BYTES_MIN {
        return None;
    }
    let what = format!("max_allowed_packet={bytes}: a larger row cannot be written");
    let fix = server.set("max_allowed_packet", "67108864");
    Some(Finding::warning("W213", &scope.node, what).fix(fix))
}

/// Our own database carries the markers: without it in the binlog, echoes look like users' writes.
async fn filters(conn: &mut Conn, scope: &Scope, server: &Settings) -> Result<Vec<Finding>> {
    let sql = match server.flavor {
        Flavor::Mysql => "SHOW BINARY LOG STATUS",
        Flavor::Mariadb => "SHOW MASTER STATUS",
    };
    let row: Option<Row> = match conn.query_first(sql).await {
        Ok(row) => row,
        // Told as a missing grant.
        Err(mysql_async::Error::Server(error)) if error.code == 1227 => return Ok(Vec::new()),
        Err(error) => return Err(fail("read the binlog's filters", error)),
    };
    let list = |name: &str| -> Vec<String> {
        let text: Option<String> = row
            .as_ref()
            .and_then(|row| row.get_opt(name))
            .and_then(|cell| cell.ok());
        text.unwrap_or_default()
            .split(',')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let (only, never) = (list("Binlog_Do_DB"), list("Binlog_Ignore_DB"));
    let mut databases: Vec<&str> = scope.tables.iter().map(|id| id.schema.as_str()).collect();
    databases.push("tidelock");
    databases.sort_unstable();
    databases.dedup();
    let left_out = |name: &&str| {
        (!only.is_empty() && !only.iter().any(|n| n == name)) || never.iter().any(|n| n == name)
    };
    Ok(databases
        .into_iter()
        .filter(left_out)
        .map(|name| {
            let what = format!("database {name} is kept out of the binlog (binlog_do_db, binlog_ignore_db)");
            let fix = "take binlog_do_db and binlog_ignore_db out of my.cnf, then restart the server";
            Finding::blocker("E208", &scope.node, what).fix(fix)
        })
        .collect())
}

/// The grants of the session's own account; another account's are what setup gives it.
fn accounts(scope: &Scope, state: &State, findings: &mut Vec<Finding>) {
    if !state.is_run_user(scope) {
        return;
    }
    let (user, host) = account(&state.current_user);
    let name = quoted(user, host.unwrap_or("%"));
    let needs = steps::needs(scope, state.flavor);
    for privilege in &needs.server {
        if !holds(&state.grants, &[privilege], None, None) {
            let code = if *privilege == "REPLICATION SLAVE" {
                "E102"
            } else {
                "E103"
            };
            let finding = Finding::blocker(code, &scope.node, format!("{name} lacks {privilege}"));
            findings.push(finding.fix(format!("GRANT {privilege} ON *.* TO {name};")));
        }
    }
    for id in &scope.tables {
        if !holds(&state.grants, &needs.tables, Some(&id.schema), Some(&id.name)) {
            let list = needs.tables.join(", ");
            let finding = Finding::blocker("E105", &scope.node, format!("{name} lacks some of {list}"));
            findings.push(
                finding
                    .table(id)
                    .fix(format!("GRANT {list} ON {} TO {name};", table(id))),
            );
        }
    }
}

/// What the users' tables must be like, from the catalog.
pub(super) fn tables(scope: &Scope, state: &State) -> Vec<Finding> {
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
        key(scope, catalog, &mut findings);
        key_collation(scope, state.flavor, catalog, &mut findings);
        compressed(scope, catalog, &mut findings);
        foreign_triggers(scope, catalog, &mut findings);
        stamp_columns(scope, catalog, &mut findings);
        other_sync(scope, state, id, &mut findings);
        if findings.len() == before {
            findings.push(Finding::ok(&scope.node, "InnoDB table with a primary key").table(id));
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
    if !catalog.table.key.is_empty() || catalog.storage == "VIEW" {
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
            "ALTER TABLE {} MODIFY {} {} COLLATE {exact} NOT NULL;",
            table(&catalog.table.id),
            quote(&column.name),
            column.sql_type
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
            let plain = column.sql_type.split("/*").next().unwrap_or_default().trim();
            let fix = format!(
                "ALTER TABLE {} MODIFY {} {plain};",
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

fn foreign_triggers(scope: &Scope, catalog: &CatalogTable, findings: &mut Vec<Finding>) {
    if !scope.is_target {
        return;
    }
    let unguarded = catalog.foreign_triggers.iter().filter(|trigger| !trigger.guarded);
    findings.extend(unguarded.map(|trigger| foreign_trigger(scope, &catalog.table.id, &trigger.name)));
}

fn foreign_trigger(scope: &Scope, id: &TableId, name: &str) -> Finding {
    let what = format!("trigger {name:?} also fires when Tidelock writes");
    let fix = "make its body: IF @tidelock_apply IS NULL THEN ... END IF; or drop it";
    Finding::blocker("E306", &scope.node, what).table(id).fix(fix)
}

fn stamp_columns(scope: &Scope, catalog: &CatalogTable, findings: &mut Vec<Finding>) {
    if scope.mode != Mode::Merge {
        return;
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
    let other = state
        .table_states
        .iter()
        .find(|there| there.id == *id && there.sync != scope.sync && there.tombstones.is_some());
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
fn cascades(scope: &Scope, state: &State, server: &Settings) -> Vec<Finding> {
    let logged = server.is("innodb_native_foreign_keys", "OFF");
    let why = match (scope.mode, scope.is_source, logged) {
        (Mode::Merge, _, _) => "which fires no triggers, so that rows change without a stamp",
        (Mode::Transactional, true, false) => "which this server does not log",
        (Mode::Transactional, _, _) => return Vec::new(),
    };
    let mut findings = Vec::new();
    for catalog in state.tables.iter().flatten() {
        for cascade in &catalog.cascades {
            let name = cascade.split(": ON ").next().unwrap_or_default();
            let fix = format!(
                "ALTER TABLE {0} DROP FOREIGN KEY {1}; ALTER TABLE {0} ADD CONSTRAINT {1} FOREIGN KEY (...) \
                 REFERENCES ... ON DELETE RESTRICT ON UPDATE RESTRICT; and let the application delete the children",
                table(&catalog.table.id),
                quote(name)
            );
            let finding = Finding::blocker("E305", &scope.node, format!("foreign key {cascade}, {why}"));
            findings.push(finding.table(&catalog.table.id).fix(fix));
        }
    }
    findings
}

/// What setup has installed for this node.
async fn installed(conn: &mut Conn, scope: &Scope, state: &State, server: &Settings) -> Result<Vec<Finding>> {
    if state.control == Control::Closed {
        let what = format!("{} may not use database tidelock", state.current_user);
        let finding = Finding::blocker("E108", &scope.node, what);
        return Ok(vec![finding.fix(
            "run tidelock setup with the owner's account; it grants what run needs",
        )]);
    }
    if let Some(what) = state.mismatch(scope, &[]) {
        let finding = Finding::blocker("E409", &scope.node, what);
        return Ok(vec![finding.fix(
            "if this is meant: tidelock teardown, then tidelock setup, and a new copy",
        )]);
    }
    // What blocks a table is told above, and setup would refuse.
    if state
        .tables
        .iter()
        .any(|found| found.as_ref().is_none_or(|catalog| catalog.table.key.is_empty()))
    {
        return Ok(Vec::new());
    }
    // The account's own grants are looked at by `accounts`.
    let carried = Scope {
        run_user: String::new(),
        ..scope.clone()
    };
    let steps = steps::steps(conn, &carried, state, &[]).await?;
    if steps.is_empty() {
        return Ok(vec![Finding::ok(&scope.node, "set up")]);
    }
    let mut findings = install::findings(&scope.node, &steps);
    let needs_triggers = steps.iter().any(|step| step.what == STAMP_TRIGGERS);
    let trusted = server.is("log_bin_trust_function_creators", "ON") || !server.is("log_bin", "ON");
    if needs_triggers && !trusted && !holds(&state.grants, &["SUPER"], None, None) {
        let what = "setup has to make triggers, which needs SUPER or log_bin_trust_function_creators while the binlog is on";
        let fix = server.set("log_bin_trust_function_creators", "ON");
        findings.push(Finding::warning("W107", &scope.node, what).fix(fix));
    }
    Ok(findings)
}
