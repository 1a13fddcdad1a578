//! The condition of a new copy: which rows it looks at.
//!
//! A row is looked at where the condition takes it at the source or as it stands at the target, so that a row which only
//! one side has, or of which the sides differ in what the condition reads, is seen either way. Pure.

use super::{Plan, PlannedOp};
use crate::expr::{Filter, Unfit};
use crate::mapping::Passage;
use crate::model::schema::Table;
use crate::model::value::Row;

/// One condition, over the rows of each side.
#[derive(Debug)]
pub(super) struct Asked {
    source: Filter,
    target: Filter,
}

impl Asked {
    pub(super) fn bind(source: &Table, target: &Table, passage: &Passage) -> Result<Option<Asked>, Unfit> {
        let both = passage.asked(source, target)?;
        Ok(both.map(|(source, target)| Asked { source, target }))
    }
}

impl Plan {
    /// The table's filter over the source's rows: a copy reads no others.
    pub fn source_filter(&self) -> Option<&Filter> {
        self.filters.as_ref().map(|filters| filters.of_source())
    }

    /// Are only some rows looked at?
    pub fn asks(&self) -> bool {
        self.asked.is_some()
    }

    /// Does the condition take this row of the source? One that cannot be judged is taken.
    pub fn asks_for(&self, source: &Row) -> bool {
        let asked = self.asked.as_ref();
        asked.is_none_or(|asked| asked.source.matches(source) != Some(false))
    }

    /// The same of a row of the target.
    pub fn asks_for_standing(&self, target: &Row) -> bool {
        let asked = self.asked.as_ref();
        asked.is_none_or(|asked| asked.target.matches(target) != Some(false))
    }

    /// May the copy have looked at the row of this change, of which this stands here? Yes where the condition takes the
    /// row as it was, as it is or as it stands, and where the log does not tell.
    pub fn may_have_asked_for(&self, op: &PlannedOp, standing: Option<&Row>) -> bool {
        if !self.asks() {
            return true;
        }
        let (before, after) = match op {
            PlannedOp::Insert { row, .. } => (None, Some(row)),
            PlannedOp::Update { row, before, .. } => {
                if before.is_none() && standing.is_none() {
                    return true;
                }
                (before.as_ref(), Some(row))
            }
            PlannedOp::Delete { before, .. } => (Some(before), None),
            PlannedOp::Refused { .. } => return true,
        };
        before.is_some_and(|row| self.asks_for(row))
            || after.is_some_and(|row| self.asks_for_standing(row))
            || standing.is_some_and(|row| self.asks_for_standing(row))
    }
}
