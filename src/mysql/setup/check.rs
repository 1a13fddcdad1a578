//! What MySQL and MariaDB must be like, one small function per requirement; all findings at once.
//!
//! Owns: the findings and their codes, which `docs/errors.md` explains. Refuses: stopping at the first finding.

use super::beside;
use super::grants::{ALL, account, holds, lacking, quoted};
use super::numbers;
use super::state::{Control, State, cell, rows};
use super::steps::{self, STAMP_TRIGGERS};
use super::tables;
use super::triggers;
use crate::error::Result;
use crate::install;
use crate::model::round::told;
use crate::model::schema::TableId;
use crate::model::sync::{Finding, Mode, Scope};
use crate::mysql::numbers::strays;
use crate::mysql::source::prepared;
use crate::mysql::sql::{quote, table};
use crate::mysql::{Flavor, catalog, fail, flavor, held, operations};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// The binlog is kept for so many times as long as bursts are apart: they may come late.
const SPARE: u64 = 3;

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
        findings.extend(xa(conn, scope, &server).await?);
        findings.extend(hashed(conn, scope, &server).await?);
    }
    // Before it is set up, setup comes first: it grants what of the rights it can.
    let is_set_up = state.control == Control::Ready;
    if is_set_up {
        accounts(scope, &state, &mut findings);
    }
    let installed = installed(conn, scope, &state, &server).await?;
    // An account that may not even see the tables must not be told to make them.
    let (first, last) = match state.control {
        Control::Closed => (installed, Vec::new()),
        Control::Missing | Control::Ready => (Vec::new(), installed),
    };
    findings.extend(first);
    findings.extend(tables::findings(scope, &state));
    let cascades = state.tables.iter().flatten().flat_map(|catalog| {
        let id = &catalog.table.id;
        catalog
            .cascades
            .iter()
            .map(|cascade| (id.clone(), cascade.clone()))
    });
    let cascades: Vec<(TableId, String)> = cascades.collect();
    findings.extend(tables::cascades(scope, &cascades, server.logs_cascades()));
    findings.extend(numbers::otherwise(conn, scope, &state).await?);
    findings.extend(last);
    if is_set_up {
        findings.extend(beside::findings(conn, scope, &state).await?);
    }
    if !is_set_up {
        accounts(scope, &state, &mut findings);
    }
    if scope.is_target && state.version >= 2 {
        for lacks in operations::out_of_sync(conn, &scope.sync, None).await? {
            findings.push(install::out_of_sync(scope, &lacks));
        }
        for held in held::held(conn, &scope.sync, None).await? {
            findings.push(install::held(&scope.node, &held));
        }
        for strays in strays(conn, &scope.sync, None).await? {
            findings.push(install::strayed(scope, &strays));
        }
    }
    Ok(findings)
}

/// What can change while a link runs: server settings, our triggers, the users' triggers and foreign keys.
pub async fn settings(conn: &mut Conn, scope: &Scope) -> Result<Vec<Finding>> {
    let server = Settings::read(conn).await?;
    let mut findings = server_settings(scope, &server);
    let found = catalog_triggers(conn, scope).await?;
    for (id, name, body) in &found {
        let ours = name.starts_with(catalog::TRIGGER_PREFIX);
        if !ours && scope.is_target && !body.to_ascii_lowercase().contains("@tidelock_apply") {
            findings.push(tables::foreign_trigger(scope, id, name));
        }
    }
    let cascades = catalog::cascading(conn, &scope.tables).await?;
    findings.extend(tables::cascades(scope, &cascades, server.logs_cascades()));
    if scope.mode == Mode::Merge {
        findings.extend(altered(conn, scope).await?);
        for id in &scope.tables {
            let names = triggers::names(id, scope.mapped(id).beside);
            let there = found
                .iter()
                .filter(|(other, name, _)| other == id && names.contains(name));
            if there.count() < names.len() {
                let finding = Finding::blocker(steps::TABLE, &scope.node, "not set up: stamp triggers");
                findings.push(finding.table(id).fix("tidelock setup --execute"));
            }
        }
    }
    Ok(findings)
}

/// A table that was altered so that its triggers, or its tombstones, do not fit it any more.
async fn altered(conn: &mut Conn, scope: &Scope) -> Result<Vec<Finding>> {
    let state = State::read(conn, scope).await?;
    if state.control != Control::Ready {
        return Ok(Vec::new());
    }
    if let Some(what) = state.changed_key() {
        return Ok(vec![install::mismatch(scope, what)]);
    }
    let mut steps = steps::steps(conn, &scope.without_account(), &state, &[]).await?;
    steps.retain(|step| step.what == STAMP_TRIGGERS);
    Ok(install::findings(&scope.node, &steps))
}

async fn catalog_triggers(conn: &mut Conn, scope: &Scope) -> Result<Vec<(TableId, String, String)>> {
    let sql = "SELECT EVENT_OBJECT_TABLE, TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS
                WHERE EVENT_OBJECT_SCHEMA = ?";
    let mut found = Vec::new();
    for schema in catalog::by_schema(&scope.tables).into_keys() {
        for row in rows(conn, sql, &[schema]).await? {
            let id = TableId::new(schema, cell::<String>(&row, 0)?);
            // A body is hidden from who lacks TRIGGER.
            if let (true, Some(body)) = (scope.tables.contains(&id), cell::<Option<String>>(&row, 2)?) {
                found.push((id, cell(&row, 1)?, body));
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
                   'binlog_row_image', 'binlog_expire_logs_seconds', 'binlog_expire_logs_auto_purge', 'binlog_row_metadata', 'binlog_row_value_options', 'gtid_mode',
                   'read_only', 'super_read_only', 'max_allowed_packet', 'log_bin_trust_function_creators', 'innodb_native_foreign_keys')";
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

    /// The server does what foreign keys do by themselves as rows of its log.
    fn logs_cascades(&self) -> bool {
        self.is("innodb_native_foreign_keys", "OFF")
    }

    /// The statement that sets a variable for good.
    fn set(&self, name: &str, value: &str) -> String {
        match self.flavor {
            Flavor::Mysql => format!("SET PERSIST {name} = {value};"),
            Flavor::Mariadb => {
                format!("SET GLOBAL {name} = {value}; the same under [mysqld] in my.cnf;")
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
            [
                value_options(scope, server),
                gtid_mode(scope, server),
                bursts(scope, server),
            ]
            .into_iter()
            .flatten(),
        );
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

/// What is purged before the next burst reads it is lost to the link.
fn bursts(scope: &Scope, server: &Settings) -> Option<Finding> {
    let every = scope.every?;
    // MariaDB has no such switch.
    if server.is("binlog_expire_logs_auto_purge", "OFF") {
        return None;
    }
    let kept: u64 = server.get("binlog_expire_logs_seconds")?.parse().ok()?;
    if kept == 0 || kept >= every.as_secs().saturating_mul(SPARE) {
        return None;
    }
    let what = format!(
        "every = {}, and the binlog is kept for {}: {}",
        told(every),
        told(Duration::from_secs(kept)),
        match kept <= every.as_secs() {
            true => "it is gone before the next burst reads it",
            false => "a burst that comes late finds it gone",
        }
    );
    let seconds = every.as_secs().saturating_mul(SPARE).to_string();
    let fix = format!(
        "{} or make every shorter",
        server.set("binlog_expire_logs_seconds", &seconds)
    );
    let finding = match kept <= every.as_secs() {
        true => Finding::blocker("E215", &scope.node, what),
        false => Finding::warning("W214", &scope.node, what),
    };
    Some(finding.fix(fix))
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
    let what = format!(
        "{name}={found}, needs {}",
        if value.is_empty() { "it empty" } else { value }
    );
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
    let fix = "nothing, if that is meant; else before the first copy: SET PERSIST enforce_gtid_consistency = ON; then \
               one after the other: SET PERSIST gtid_mode = OFF_PERMISSIVE; SET PERSIST gtid_mode = ON_PERMISSIVE; \
               SET PERSIST gtid_mode = ON;";
    let what = format!(
        "gtid_mode={found}: positions are file and offset, which hold on this one server only, and XA in two phases \
         stops the link"
    );
    Some(Finding::warning("W240", &scope.node, what).fix(fix))
}

/// Rows of what stands prepared are in the log already, and their decision is not.
async fn xa(conn: &mut Conn, scope: &Scope, server: &Settings) -> Result<Option<Finding>> {
    let count = match prepared(conn).await? {
        None | Some(0) => return Ok(None),
        Some(count) => count,
    };
    let fix = "XA RECOVER CONVERT XID; then XA COMMIT or XA ROLLBACK each";
    let what = format!("{count} XA transactions are prepared and not decided");
    let finding = match server.flavor == Flavor::Mysql && server.is("gtid_mode", "ON") {
        true => Finding::warning(
            "W242",
            &scope.node,
            format!("{what}: no first copy begins before they are"),
        ),
        false => Finding::blocker(
            "E241",
            &scope.node,
            format!("{what}: positions of this server cannot leave them out, so their rows could be lost"),
        ),
    };
    Ok(Some(finding.fix(fix)))
}

fn writable(scope: &Scope, server: &Settings) -> Finding {
    for name in ["super_read_only", "read_only"] {
        if server
            .get(name)
            .is_some_and(|found| !matches!(found, "OFF" | "0"))
        {
            let finding = Finding::blocker(
                Finding::READ_ONLY,
                &scope.node,
                format!("the server is read-only ({name})"),
            );
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

/// MariaDB keeps such a key in a hidden column, which a row event has and no catalog names.
async fn hashed(conn: &mut Conn, scope: &Scope, server: &Settings) -> Result<Vec<Finding>> {
    if server.flavor == Flavor::Mysql {
        return Ok(Vec::new());
    }
    let sql = "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME FROM information_schema.STATISTICS
                WHERE TABLE_SCHEMA = ? AND INDEX_TYPE = 'HASH' AND NON_UNIQUE = 0";
    let schemas: BTreeSet<&str> = scope.tables.iter().map(|id| id.schema.as_str()).collect();
    let mut keys = Vec::new();
    for schema in schemas {
        keys.extend(rows(conn, sql, &[schema]).await?);
    }
    let mut findings = Vec::new();
    for row in keys {
        let id = TableId::new(cell::<String>(&row, 0)?, cell::<String>(&row, 1)?);
        if !scope.tables.contains(&id) {
            continue;
        }
        let index = quote(&cell::<String>(&row, 2)?);
        let what = format!(
            "unique key {index} is a HASH, whose hidden column stands in the binlog and in no catalog"
        );
        let fix = format!(
            "ALTER TABLE {0} DROP KEY {index}; ALTER TABLE {0} ADD UNIQUE KEY {index} (...); over columns short enough for a BTREE",
            table(&id)
        );
        findings.push(Finding::blocker("E334", &scope.node, what).table(&id).fix(fix));
    }
    Ok(findings)
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
    let lacks = lacking(
        scope,
        (state.flavor, state.has_gtids),
        &state.grants,
        &name,
        &state.tables,
    );
    let is_told = |code: &str| code == "E108" && is_shut_out(state);
    let lacks = lacks.into_iter().filter(|lack| !is_told(lack.code));
    findings.extend(lacks.map(|lack| lack.finding(&scope.node, &name)));
}

/// Has the account no right at all on our database? `installed` tells that, else `accounts` the rights that lack.
fn is_shut_out(state: &State) -> bool {
    let may = |privilege: &&str| holds(&state.grants, &[privilege], Some("tidelock"), Some("checkpoint"));
    state.control == Control::Closed && !ALL.iter().any(may)
}

/// What setup has installed for this node.
async fn installed(conn: &mut Conn, scope: &Scope, state: &State, server: &Settings) -> Result<Vec<Finding>> {
    if state.control == Control::Closed && state.is_run_user(scope) && !is_shut_out(state) {
        return Ok(Vec::new());
    }
    if state.control == Control::Closed {
        let what = format!(
            "{} may not use database tidelock, which setup makes and grants",
            state.current_user
        );
        let finding = Finding::blocker("E108", &scope.node, what);
        return Ok(vec![finding.fix(
            "run `tidelock setup --execute` with the owner's account; it grants what run needs, or says what is missing",
        )]);
    }
    if let Some(what) = state.mismatch(scope, &[]) {
        return Ok(vec![install::mismatch(scope, what)]);
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
    let mut steps = steps::steps(conn, &scope.without_account(), state, &[]).await?;
    numbers::steps(conn, scope, state, &mut steps).await?;
    // Triggers that the account may not see are not missing.
    let sees = |id: &TableId| holds(&state.grants, &["TRIGGER"], Some(&id.schema), Some(&id.name));
    steps.retain(|step| step.what != STAMP_TRIGGERS || step.table.as_ref().is_none_or(sees));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn code(every_s: u64, variables: &[(&str, &str)]) -> Option<&'static str> {
        let scope = Scope {
            sync: "s".to_owned(),
            node: "a".to_owned(),
            rank: 1,
            mode: Mode::Transactional,
            tables: Vec::new(),
            mapped: Vec::new(),
            first_origin: 0,
            is_source: true,
            readers: 1,
            every: Some(Duration::from_secs(every_s)),
            is_target: false,
            is_hub: false,
            config_hash: String::new(),
            run_user: String::new(),
        };
        let values = variables.iter();
        let server = Settings {
            flavor: Flavor::Mysql,
            version: String::new(),
            values: values
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        bursts(&scope, &server).map(|finding| finding.code)
    }

    #[test]
    fn a_binlog_outlasts_the_time_between_two_bursts() {
        let kept = |seconds| [("binlog_expire_logs_seconds", seconds)];
        assert_eq!(code(3_600, &kept("86400")), None);
        assert_eq!(code(3_600, &kept("0")), None);
        assert_eq!(code(3_600, &kept("7200")), Some("W214"));
        assert_eq!(code(3_600, &kept("3600")), Some("E215"));
        let stays = [kept("60")[0], ("binlog_expire_logs_auto_purge", "OFF")];
        assert_eq!(code(3_600, &stays), None);
    }
}
