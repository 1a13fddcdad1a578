//! A table's version source held against its column: what both engines say in the same words.
//!
//! Pure. Owns: the findings E610, E612 and W613. Refuses: the expressions, which are each engine's own
//! (`setup/versions`).

use crate::model::schema::{Column, ColumnType};
use crate::model::sync::{CatalogTable, Finding, Mode, Scope};
use crate::model::version::VersionSource;

/// Digits of a second that a column must have: two writes of one second could not be told apart by it.
pub const DIGITS_MIN: u8 = 3;

/// What is wrong with the column that the versions come from. `finer`: the statement that gives a column milliseconds.
pub fn findings(
    scope: &Scope,
    catalog: &CatalogTable,
    finer: impl FnOnce(&Column) -> String,
    findings: &mut Vec<Finding>,
) {
    let source = scope.mapped(&catalog.table.id).version;
    let Some(name) = source.column().filter(|_| scope.mode == Mode::Merge) else {
        return;
    };
    let blocker = |code: &'static str, what: String| {
        let finding = Finding::blocker(code, &scope.node, what);
        finding.table(&catalog.table.id).setting("version")
    };
    let (code, holds) = match &source {
        VersionSource::Status { .. } => ("E612", "statuses: texts, an ENUM or whole numbers"),
        VersionSource::Counter | VersionSource::Clock | VersionSource::Column(_) => {
            ("E610", "a date and time")
        }
    };
    let Some(column) = catalog
        .table
        .column(name)
        .map(|place| &catalog.table.columns[place])
    else {
        let what = format!("versions come from column {name:?}, and there is no such column");
        let section = format!("[sync.table.{:?}] version = \"counter\"", catalog.table.id.name);
        let fix = format!(
            "correct version in the configuration, where a table may have its own ({section}); or add the column on both nodes"
        );
        findings.push(blocker(code, what).fix(fix));
        return;
    };
    if column.generated || !fits(&source, &column.ty) {
        let is = match column.generated {
            true => "computed by the server, after the triggers".to_owned(),
            false => column.sql_type.clone(),
        };
        let what = format!("versions come from column {name:?}, which must hold {holds}, and is {is}");
        let fix = "name another column in version of the configuration, or use version = \"timestamp\"";
        findings.push(blocker(code, what).fix(fix));
        return;
    }
    match (&source, &column.ty) {
        (
            VersionSource::Column(_),
            ColumnType::Timestamp { fraction } | ColumnType::TimestampTz { fraction, .. },
        ) if *fraction < DIGITS_MIN => {
            let what = format!(
                "versions come from column {name:?}, which is {}: writes of one moment could not be told apart, \
                 it needs milliseconds",
                column.sql_type
            );
            findings.push(blocker(code, what).fix(finer(column)));
        }
        (VersionSource::Status { order, .. }, ColumnType::Enum { labels }) => {
            labelled(scope, catalog, column, (order, labels), findings);
        }
        _ => {}
    }
}

fn fits(source: &VersionSource, ty: &ColumnType) -> bool {
    match source {
        VersionSource::Counter | VersionSource::Clock => true,
        VersionSource::Column(_) => {
            matches!(ty, ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. })
        }
        VersionSource::Status { .. } => matches!(
            ty,
            ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Int { .. }
        ),
    }
}

/// A label that the list lacks keeps the rank that its row had; one that only the list has is a misspelt one.
fn labelled(
    scope: &Scope,
    catalog: &CatalogTable,
    column: &Column,
    (order, labels): (&[String], &[String]),
    findings: &mut Vec<Finding>,
) {
    let lacking = |from: &[String], there: &[String]| -> Vec<String> {
        let lacking = from.iter().filter(|label| !there.contains(label));
        lacking.map(|label| format!("{label:?}")).collect()
    };
    let unknown = lacking(order, labels);
    if !unknown.is_empty() {
        let what = format!(
            "order lists {}, which column {:?} cannot hold",
            unknown.join(", "),
            column.name
        );
        let finding = Finding::blocker("E612", &scope.node, what).table(&catalog.table.id);
        let fix = "correct order in the configuration, or the column's labels";
        findings.push(finding.fix(fix).setting("version"));
    }
    let unranked = lacking(labels, order);
    if !unranked.is_empty() {
        let what = format!(
            "column {:?} can be {}, which order does not list: such a status is neither further nor less far than another",
            column.name,
            unranked.join(", ")
        );
        let finding = Finding::warning("W613", &scope.node, what).table(&catalog.table.id);
        let fix = "list it in order, where it has a place";
        findings.push(finding.fix(fix).setting("version"));
    }
}
