//! Do the columns of two tables hold the words that the configuration gives their values?
//!
//! Code: E358. Pure.

use super::End;
use crate::mapping::Passage;
use crate::model::schema::Table;
use crate::model::sync::Finding;
use crate::plan::translation::value_of;

/// `passage` is from this node to another one.
pub(super) fn fit(end: &End<'_>, table: &Table, passage: &Passage, findings: &mut Vec<Finding>) {
    let section = format!(
        "the section [sync.table] of {} in the configuration",
        passage.table
    );
    for (name, _, pairs) in passage.translations() {
        let wrong = match table.column(name) {
            None => Some("there is no such column".to_owned()),
            Some(place) if table.key.contains(&place) => {
                Some("it is part of the primary key, which is the same everywhere".to_owned())
            }
            Some(place) if table.columns[place].generated => Some("the database computes it".to_owned()),
            Some(place) => {
                let ty = &table.columns[place].ty;
                let wrong = |(word, _): &(String, String)| {
                    let why = value_of(word, ty).err()?;
                    Some(format!("{word:?}: {why}"))
                };
                pairs.iter().find_map(wrong)
            }
        };
        let Some(wrong) = wrong else { continue };
        let what = format!("column {name:?} has values of its own: {wrong}");
        let finding = end.blocker("E358", what, format!("correct values in {section}"));
        let column = format!("column.{}", passage.called(name));
        findings.push(finding.setting(column));
    }
}
