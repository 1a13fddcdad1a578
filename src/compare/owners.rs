//! Do a table's columns allow the owners that the configuration gives them? What only the catalog can tell.
//!
//! Code: E357. Pure.

use super::End;
use crate::ddl;
use crate::mapping::Passage;
use crate::model::schema::Table;
use crate::model::sync::Finding;

/// `passage` is from this node to another one.
pub(super) fn fit(end: &End<'_>, table: &Table, passage: &Passage, findings: &mut Vec<Finding>) {
    let owners = &passage.mapping().owners;
    let section = format!(
        "the section [sync.table] of {} in the configuration",
        passage.table
    );
    for owned in &owners.columns {
        let Some(name) = owned.names.get(passage.source()) else {
            continue;
        };
        let wrong = match table.column(name) {
            // It goes into what is computed for this node.
            None if owned
                .names
                .get(passage.target())
                .is_some_and(|there| passage.back().is_read(there)) =>
            {
                continue;
            }
            // The other node's own, computed of what stands here.
            None if passage.computed().any(|(there, _)| {
                owned
                    .names
                    .get(passage.target())
                    .is_some_and(|name| name == there)
            }) =>
            {
                continue;
            }
            None => "there is no such column",
            Some(place) if table.key.contains(&place) => "it is part of the primary key, which names the row",
            Some(place) if table.columns[place].generated => "the database computes it",
            Some(_) => continue,
        };
        let what = format!("column {name:?} has an owner: {wrong}");
        let fix = format!("correct the column's name, or take owner off it, in {section}");
        let column = format!("column.{}.owner", passage.called(name));
        findings.push(end.blocker("E357", what, fix).setting(column));
    }
    unwritten(end, table, passage, findings);
}

/// A row that another node inserts comes without what it does not own.
fn unwritten(end: &End<'_>, table: &Table, passage: &Passage, findings: &mut Vec<Finding>) {
    let back = passage.back();
    let guarded = back.guarded();
    if guarded.inserts {
        return;
    }
    for name in &guarded.columns {
        let column = table.column(name).map(|place| &table.columns[place]);
        let Some(column) = column.filter(|column| !column.nullable && !column.has_default) else {
            continue;
        };
        let what = format!(
            "column {name:?} takes no NULL and has no default, and rows that the other node inserts come without it: \
             only its owner writes it"
        );
        let fix = format!(
            "{} or give it a default; or let its owner alone insert rows: inserts = \"NODE\" in the section [sync.table] of {}",
            ddl::allow_null(end.id, column, end.engine),
            passage.table
        );
        let column = format!("column.{}.owner", passage.called(name));
        findings.push(end.blocker("E357", what, fix).setting(column));
    }
}
