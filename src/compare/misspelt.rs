//! Are two columns one but for the case of their names?
//!
//! Code: E504. Pure.

use super::{End, is_sent};
use crate::ddl;
use crate::mapping::{Passage, Place};
use crate::model::schema::{Engine, Table};
use crate::model::sync::Finding;

/// Columns that are one but for the case of their names: no statement that adds a column helps there. `forth`: the
/// source's table as the target calls it; `back` says what the source calls the target's columns.
pub(super) fn told(
    from: &End<'_>,
    forth: &Table,
    to: &End<'_>,
    target: &Table,
    back: &Passage,
    findings: &mut Vec<Finding>,
) {
    let alone = |own: &Table, other: &Table, engine: Engine| -> Vec<String> {
        let columns = own.columns.iter().filter(|column| is_sent(column, engine));
        let names = columns.map(|column| column.name.clone());
        names.filter(|name| other.column(name).is_none()).collect()
    };
    let left = alone(target, forth, to.engine);
    for name in alone(forth, target, from.engine) {
        let is_same = |there: &&String| there.to_lowercase() == name.to_lowercase();
        let Some(there) = left.iter().find(is_same) else {
            continue;
        };
        let own = match back.place(&name) {
            Place::Named(own) => own,
            Place::Skipped | Place::Taken(_) => &name,
        };
        let section = match back.table.as_str() {
            "" => &from.id.name,
            table => table,
        };
        let what = format!(
            "column {own:?} of node {} is {there:?} here: names that differ by case are two columns",
            from.node
        );
        let fix = format!(
            "in the configuration: [sync.table.{}] column.{} = {{ {} = {there:?} }}; or, where no application minds: {}",
            toml_key(section),
            toml_key(own),
            to.node,
            ddl::rename_column(to.id, there, &name, to.engine)
        );
        let column = format!("column.{}", back.back().called(own));
        findings.push(to.blocker("E504", what, fix).setting(column));
    }
}

/// A key as TOML takes it.
fn toml_key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        false => format!("{name:?}"),
    }
}
