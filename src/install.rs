//! What setup installs, as text: the steps still needed, and the statement templates of `sql/`.
//!
//! Pure. Owns: [`Step`], which `setup` runs and `check` tells; filling templates, cutting files into statements; what
//! both engines' `setup` says in the same words; [`recorded`], what was set up before.
//! A placeholder is `{name}`; what is put in is not looked at again, so names of users' tables may hold braces.
//! A placeholder without a value is a mistake in our own files and stays as it is, which the server refuses.

pub mod config_hash;
pub mod recorded;
pub mod versions;

use crate::error::{Error, NEW_COPY, Reason};
use crate::model::numbers::Strays;
use crate::model::operation::{HeldTable, OutOfSync};
use crate::model::schema::{Table, TableId};
use crate::model::sync::{CatalogTable, Finding, Level, ORIGIN_COLUMN, Scope, VERSION_COLUMN, stamps_of};
use recorded::Mismatch;
use std::borrow::Cow;

/// One statement that setup still has to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The finding's code while it has not run.
    pub code: &'static str,
    pub table: Option<TableId>,
    /// What is missing, in a few words.
    pub what: Cow<'static, str>,
    pub sql: String,
}

impl Step {
    pub fn new(code: &'static str, what: impl Into<Cow<'static, str>>, sql: impl Into<String>) -> Self {
        Step {
            code,
            table: None,
            what: what.into(),
            sql: sql.into(),
        }
    }

    pub fn table(mut self, id: &TableId) -> Self {
        self.table = Some(id.clone());
        self
    }
}

/// A control schema's versions, oldest first, each with its file.
pub type ControlFiles = [(i64, &'static str)];

/// The steps to the newest version of the control schema: of each version that did not run yet. (Not only of those above
/// the last: two programs of one day may have made theirs in either order.)
pub fn control_steps(
    code: &'static str,
    what: &'static str,
    files: &ControlFiles,
    versions: &[i64],
) -> impl Iterator<Item = Step> {
    let missing = files.iter().filter(move |(number, _)| !versions.contains(number));
    missing
        .flat_map(|(_, file)| statements(file))
        .map(move |sql| Step::new(code, what, sql))
}

/// What was set up is not what is configured now, so `setup` refuses.
pub fn mismatched(scope: &Scope, other: Mismatch) -> Error {
    let hint = undone(&other);
    setting_up(scope)
        .reason(Reason::PositionLost)
        .why(other.what)
        .hint(hint)
}

/// The way that harms nobody first.
fn undone(other: &Mismatch) -> String {
    format!("{}; if this is meant, {NEW_COPY}", other.undo)
}

/// The same as a finding.
pub fn mismatch(scope: &Scope, other: Mismatch) -> Finding {
    let fix = undone(&other);
    Finding::blocker(Finding::OTHER, &scope.node, other.what).fix(fix)
}

/// `setup` refuses while there is a blocker; the first one tells.
pub fn blocked(scope: &Scope, findings: &[Finding]) -> Option<Error> {
    let first = findings.iter().find(|finding| finding.level == Level::Blocker)?;
    let error = setting_up(scope)
        .reason(Reason::Blocked)
        .why(format!("{}: {}", first.code, first.what))
        .hint(first.fix.clone().unwrap_or_else(|| "tidelock check".to_owned()));
    Some(match &first.table {
        Some(table) => error.table(table),
        None => error,
    })
}

pub fn setting_up(scope: &Scope) -> Error {
    Error::definite(format!("set up sync {:?}", scope.sync)).node(&scope.node)
}

/// A text literal where backslashes mean themselves: PostgreSQL, and texts without any.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Missing steps as findings, one per code and table.
pub fn findings(node: &str, steps: &[Step]) -> Vec<Finding> {
    let mut groups: Vec<(&Step, Vec<&str>)> = Vec::new();
    for step in steps {
        match groups
            .iter_mut()
            .find(|(first, _)| first.code == step.code && first.table == step.table)
        {
            Some((_, parts)) if parts.contains(&step.what.as_ref()) => {}
            Some((_, parts)) => parts.push(&step.what),
            None => groups.push((step, vec![&step.what])),
        }
    }
    let finding = |(step, parts): (&Step, Vec<&str>)| {
        let what = format!("not set up: {}", parts.join(", "));
        let finding = Finding::blocker(step.code, node, what).fix("tidelock setup --execute");
        match &step.table {
            Some(id) => finding.table(id),
            None => finding,
        }
    };
    groups.into_iter().map(finding).collect()
}

/// The other answer to a missing right on columns: not to carry them.
pub fn or_skip(table: &str, mut columns: Vec<String>) -> String {
    columns.sort();
    columns.dedup();
    if columns.is_empty() {
        return String::new();
    }
    let columns: Vec<String> = columns.iter().map(|name| format!("{name:?}")).collect();
    format!(
        "; or leave them out: skip = [{}] in [sync.table.{table:?}]",
        columns.join(", ")
    )
}

/// A table lacks what skipped transactions changed. `statement` forgets that.
pub fn out_of_sync(scope: &Scope, lacks: &OutOfSync) -> Finding {
    let what = format!(
        "link {} left out transaction {}: the table lacks what it changed",
        lacks.link, lacks.position
    );
    let forget = format!(
        "DELETE FROM tidelock.out_of_sync WHERE sync = {} AND link = {} AND schema_name = {} AND table_name = {}",
        literal(&scope.sync),
        literal(&lacks.link),
        literal(&lacks.table.schema),
        literal(&lacks.table.name)
    );
    let fix = format!("make the two sides equal while nobody writes, then: {forget}; or {NEW_COPY}");
    Finding::warning("W441", &scope.node, what)
        .table(&lacks.table)
        .fix(fix)
}

/// Somebody numbered rows who does not count as the sync's nodes do.
pub fn strayed(scope: &Scope, strays: &Strays) -> Finding {
    let what = format!(
        "by link {} came {} rows of {} that were inserted under numbers of another node, the last at {}: two rows with one \
         number would be one",
        strays.link, strays.count, strays.table, strays.last_at
    );
    let fix = format!(
        "find who inserts them there: let the server count (no number in the INSERT, no auto_increment_increment of its \
         own), and sessions that are older than setup connect anew; then forget it: DELETE FROM tidelock.stray_number \
         WHERE sync = {} AND link = {}",
        literal(&scope.sync),
        literal(&strays.link)
    );
    Finding::warning("W464", &scope.node, what).fix(fix)
}

/// A table waits while the others of its link go on.
pub fn held(node: &str, held: &HeldTable) -> Finding {
    let (what, fix) = match held.resumed {
        true => (
            format!(
                "link {} is to take the table up again, from {} on",
                held.link, held.position
            ),
            "tidelock run".to_owned(),
        ),
        false => (format!("link {}: {}", held.link, held.told()), held.hint.clone()),
    };
    Finding::warning("W451", node, what).table(&held.table).fix(fix)
}

/// Stamps of a table that stand where the sync does not look for them. `quoted`: a table's name in the engine's dialect.
pub fn stamps_elsewhere(
    scope: &Scope,
    catalog: &CatalogTable,
    quoted: impl Fn(&TableId) -> String,
) -> Option<Finding> {
    let id = &catalog.table.id;
    let has_columns = catalog.table.column(VERSION_COLUMN).is_some();
    let (what, fix) = match (catalog.table.is_beside(), scope.mapped(id).beside) {
        (true, false) => (
            "its stamps stand in a table of their own, for a merge sync with stamps = \"beside\"",
            format!(
                "tear that sync down (tidelock teardown), or, if there is none: DROP TABLE {}",
                quoted(&stamps_of(id))
            ),
        ),
        (false, true) if has_columns => (
            "it has stamp columns, and stamps = \"beside\" keeps them in a table of their own",
            format!(
                "ALTER TABLE {} DROP COLUMN {VERSION_COLUMN}, DROP COLUMN {ORIGIN_COLUMN}; or leave stamps out",
                quoted(id)
            ),
        ),
        _ => return None,
    };
    let finding = Finding::blocker("E620", &scope.node, what).table(id);
    Some(finding.fix(fix).setting("stamps"))
}

/// The rows are to be named by another node's keys, and no unique index tells those apart: triggers and tombstones
/// would stand for something else. `quoted` and `quote`: names in the engine's dialect.
pub fn unnamed(
    scope: &Scope,
    table: &Table,
    quoted: impl Fn(&TableId) -> String,
    quote: impl Fn(&str) -> String,
) -> Option<Finding> {
    let external = table
        .external
        .as_ref()
        .filter(|external| external.index.is_none())?;
    let name = &external.column;
    let (what, fix) = match table.column(name) {
        Some(_) => (
            format!("external_id {name:?} has no unique index over it alone, so it does not tell rows apart"),
            format!("ALTER TABLE {} ADD UNIQUE ({});", quoted(&table.id), quote(name)),
        ),
        None => (
            format!("external_id {name:?} is no column of it"),
            "correct external_id in the configuration".to_owned(),
        ),
    };
    let finding = Finding::blocker("E366", &scope.node, what).table(&table.id);
    Some(finding.fix(fix))
}

/// What `teardown` leaves of a sync in a control schema that others use too.
pub fn kept_records(sync: &str) -> String {
    format!(
        "-- kept: conflict records and the audit, which go with: DELETE FROM tidelock.conflict WHERE sync = {0}; \
         DELETE FROM tidelock.audit WHERE sync = {0};",
        literal(sync).replace(['\n', '\r'], " ")
    )
}

/// Puts the values in.
/// Before what a trigger does for a row that was: one without an external id has no tombstone. Empty where all have one.
pub fn if_named(table: &Table, quote: fn(&str) -> String) -> String {
    let named = table
        .unnamed()
        .map(|column| format!("OLD.{} IS NOT NULL", quote(&column.name)));
    let named: Vec<String> = named.collect();
    match named.is_empty() {
        true => String::new(),
        false => format!("IF {} THEN ", named.join(" AND ")),
    }
}

pub fn render(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let (before, after) = rest.split_at(open);
        out.push_str(before);
        let value = after.find('}').and_then(|close| {
            let name = &after[1..close];
            let value = values.iter().find(|(key, _)| *key == name)?.1;
            Some((value, close + 1))
        });
        match value {
            Some((value, used)) => {
                out.push_str(value);
                rest = &after[used..];
            }
            None => {
                out.push('{');
                rest = &after[1..];
            }
        }
    }
    out.push_str(rest);
    out.trim_end().to_owned()
}

/// The statements of a file, each with the comments above it. A statement ends with `;` at the end of a line, and
/// none of our files holds a body with such lines.
pub fn statements(file: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut current = String::new();
    for line in file.lines() {
        if current.is_empty() && line.trim().is_empty() {
            continue;
        }
        let comment = line.trim_start().starts_with("--");
        if !comment && line.ends_with(';') {
            current.push_str(line.trim_end_matches(';'));
            out.push(std::mem::take(&mut current));
        } else {
            current.push_str(line);
            current.push('\n');
        }
    }
    out
}

/// A line that tells something in a list of statements and is not sent to a server.
pub fn is_remark(statement: &str) -> bool {
    statement.lines().all(|line| line.trim_start().starts_with("--"))
}

/// What an error names a statement by.
pub fn first_line(statement: &str) -> &str {
    let is_comment = |line: &&str| line.starts_with("--");
    statement
        .lines()
        .find(|line| !is_comment(line))
        .unwrap_or_default()
}

/// A template that is an expression, without the comment above it.
pub fn expression(template: &str, values: &[(&str, &str)]) -> String {
    let lines = template.lines().skip_while(|line| line.starts_with("--"));
    render(&lines.collect::<Vec<_>>().join("\n"), values)
}

/// Short name of a text's content.
pub fn digest(text: &str) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_expanded_again() {
        assert_eq!(render("a {x} {y} {z", &[("x", "{y}"), ("y", "2")]), "a {y} 2 {z");
        assert_eq!(render("{unknown} {x}", &[("x", "1")]), "{unknown} 1");
    }

    #[test]
    fn files_are_cut_at_line_ends() {
        let file = "-- one; more\nCREATE a (\n  b;c\n);\n\n-- two;\nINSERT b;\n";
        assert_eq!(
            statements(file),
            ["-- one; more\nCREATE a (\n  b;c\n)", "-- two;\nINSERT b"]
        );
    }

    #[test]
    fn remarks_are_told_from_statements() {
        assert!(is_remark("-- kept: x"));
        assert!(!is_remark("-- why\nDROP x"));
    }
}
