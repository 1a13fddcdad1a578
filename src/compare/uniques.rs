//! Values that are unique on one side only: rows that the other side allows are refused there.
//!
//! Code: W513. Pure.

use super::End;
use crate::ddl;
use crate::mapping::{Passage, Place};
use crate::model::schema::Table;
use crate::model::sync::Finding;
use std::collections::BTreeSet;

/// A unique key that only the target has refuses rows that the source allows. `source` is as the target calls it;
/// `back` says what the source calls the target's columns.
pub(super) fn fit(
    from: &End<'_>,
    source: &Table,
    to: &End<'_>,
    target: &Table,
    back: &Passage,
    findings: &mut Vec<Finding>,
) {
    let named = |table: &Table, key: &[usize]| -> BTreeSet<String> {
        key.iter()
            .filter_map(|index| table.columns.get(*index))
            .map(|column| column.name.clone())
            .collect()
    };
    let mut known: Vec<BTreeSet<String>> = source.uniques.iter().map(|key| named(source, key)).collect();
    known.push(named(source, &source.key));
    for key in target.uniques.iter().filter(|key| !key.is_empty()) {
        let names = named(target, key);
        // A unique key over more columns than a known one can never be the first to refuse.
        if known
            .iter()
            .any(|known| !known.is_empty() && known.is_subset(&names))
        {
            continue;
        }
        let named = |name: &String| match back.place(name) {
            Place::Named(there) => Some(ddl::quote(there, from.engine)),
            Place::Skipped | Place::Taken(_) => None,
        };
        // Over a column that stays behind it is this node's own matter.
        let Some(columns) = names.iter().map(named).collect::<Option<Vec<String>>>() else {
            continue;
        };
        let fix = format!(
            "ALTER TABLE {} ADD UNIQUE ({}); -- on node {}",
            ddl::table_name(from.id, from.engine),
            columns.join(", "),
            from.node
        );
        let names: Vec<String> = names.into_iter().collect();
        let what = format!(
            "({}) is unique here, but not on node {}",
            names.join(", "),
            from.node
        );
        findings.push(to.warning("W513", what, fix));
    }
}
