//! What the target of a link does not let its source write, on the changes of one table.
//!
//! Owns: [`Guards`], and which changes must be decided although nobody else changed their row. Refuses: what is done about
//! them (`merge`); nothing is left out of a change here. Pure.

use super::{Planned, PlannedOp};
use crate::error::Result;
use crate::mapping::Passage;
use crate::model::schema::Table;
use crate::model::value::Row;
use crate::plan::differ::Differing;

/// Places are of the target's columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guards {
    /// This node's own, or of one that it answers for.
    pub columns: Vec<usize>,
    /// The source's own: whatever stands here gives way.
    pub yielded: Vec<usize>,
    pub inserts: bool,
    pub deletes: bool,
}

impl Guards {
    pub(super) fn bind(target: &Table, passage: &Passage, differing: &Differing<'_>) -> Result<Guards> {
        let guarded = passage.guarded();
        let is_computed = |name: &str| {
            let mut computed = passage.computed_back();
            computed.any(|(_, computed)| passage.name_there(&computed.column) == name)
        };
        let absent = guarded.absent(target);
        if let Some(name) = absent.into_iter().find(|name| !is_computed(name)) {
            let why = format!("column {name:?} has an owner in the configuration, and there is none");
            return Err(differing.failed().why(why).hint("correct the column's name"));
        }
        let places = |names: &[&str]| names.iter().filter_map(|name| target.column(name)).collect();
        Ok(Guards {
            columns: places(&guarded.columns),
            yielded: places(&guarded.yielded),
            inserts: guarded.inserts,
            deletes: guarded.deletes,
        })
    }

    /// Must the change be decided, whatever it was made on? `is_altered`: does an update alter the cell of this place of
    /// the target? Where that is not known it may.
    pub(super) fn mind(&self, op: &PlannedOp, is_altered: impl Fn(usize) -> bool) -> bool {
        match op {
            PlannedOp::Insert { .. } => self.inserts || !self.columns.is_empty(),
            PlannedOp::Update { .. } => self.columns.iter().any(|place| is_altered(*place)),
            PlannedOp::Delete { .. } => self.deletes,
            PlannedOp::Refused { .. } => false,
        }
    }

    /// The row of the source without what it does not own.
    pub fn without_foreign(&self, row: &Row) -> Row {
        let mut row = row.clone();
        for place in &self.columns {
            if let Some(cell) = row.0.get_mut(*place) {
                *cell = None;
            }
        }
        row
    }
}

/// What a target that does not let its source write everything has to do about one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Guarding {
    #[default]
    No,
    /// It is decided, whatever it was made on.
    Look,
    /// And raised: the source has to be sent what is computed of it.
    Raise,
}

impl super::Plan {
    pub fn guards(&self) -> &Guards {
        &self.guards
    }

    /// Marks a change of the source that the target may have to undo.
    pub(super) fn minded(&self, mut planned: Planned, rows: Option<(&Row, &Row)>) -> Planned {
        let is_altered = |place: usize| match (self.source_of(place), rows) {
            (Some(source), Some((old, new))) => {
                let (was, is) = (old.get(source), new.get(source));
                // Cells that were not sent did not change.
                is.is_some() && was != is
            }
            (Some(_), None) => true,
            (None, _) => false,
        };
        if planned.guarding == Guarding::No && self.guards.mind(&planned.op, is_altered) {
            planned.guarding = Guarding::Look;
        }
        planned
    }
}
