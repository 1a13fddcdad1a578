//! Rows of a copy that meet rows: two sides become one set, or a table is copied anew.
//!
//! Owns: what is no conflict then (the same row on both sides, a delete that nobody contradicts). Refuses: in a union, rows
//! whose stamp does not say whose they are. Everything else is decided as if the row had just been inserted at the source,
//! with the same stamps on both sides, so both come to the same; one way, what stands there otherwise is drift.

use super::Applier;
use super::contested::{Contested, Decided, decided_write};
use crate::error::{Error, Reason, Result};
use crate::flow::decision::same_values;
use crate::merge::Decision;
use crate::model;
use crate::model::change::Head;
use crate::model::conflict::{Conflict, ConflictKind};
use crate::model::stamp::Rank;
use crate::plan::layer::Layers;
use crate::plan::{Address, Key, Plan, Planned, PlannedOp};
use std::sync::Arc;

/// Of rows from before Tidelock was enabled, in a sync that was not set up for this.
const NOBODY: Rank = 0;

/// Why rows may stand there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Uniting {
    /// Both sides held rows before they were joined.
    Sides,
    /// The table was copied before.
    Again,
}

impl Applier {
    /// Returns how many rows there were.
    pub(crate) async fn unite(&mut self, layers: &Layers, uniting: Uniting) -> Result<u64> {
        self.uniting = Some(uniting);
        let mut rows = 0;
        for layer in layers.iter() {
            rows += layer.changes.len() as u64;
            let plan = &layer.plan;
            let (refused, changes): (Vec<&Planned>, Vec<&Planned>) = layer
                .changes
                .iter()
                .partition(|change| matches!(change.op, PlannedOp::Refused { .. }));
            let mut conflicts: Vec<Conflict> = Vec::new();
            self.refuse(plan, refused, &mut conflicts)?;
            self.settle_contested(plan, changes, &mut conflicts).await?;
            self.keep_record(conflicts).await?;
        }
        Ok(rows)
    }

    /// One way: deletes what stands here and nowhere else, with a record of it.
    pub(crate) async fn remove(&mut self, plan: &Plan, head: &Arc<Head>, keys: Vec<Key>) -> Result<()> {
        let locals = self.target.read(&plan.shape, &keys).await?;
        let address = |ordinal| Address {
            head: Arc::clone(head),
            ordinal,
        };
        let changes: Vec<Planned> = (0..)
            .zip(keys)
            .map(|(ordinal, key)| Plan::beyond(key, &address(ordinal)))
            .collect();
        let standing = changes
            .iter()
            .zip(locals)
            .filter(|(_, local)| local.row.is_some());
        let decided = standing.filter_map(|(change, local)| {
            let contested = Contested { change, local };
            Some(Decided {
                write: decided_write(plan, &contested)?,
                contested,
                conflict: Some(ConflictKind::DeleteOriginDiffers),
                reason: model::conflict::Reason::Drift,
            })
        });
        let (decided, mut conflicts) = (decided.collect(), Vec::new());
        let lost = self.write_decided(plan, decided, &mut conflicts).await?;
        self.keep_record(conflicts).await?;
        match lost.is_empty() {
            true => Ok(()),
            false => Err(Error::transient("delete rows that the source does not have")
                .node(&self.spec.target.name)
                .table(&plan.shape.table.id)
                .why("others keep changing them")),
        }
    }

    /// Do both sides say the same, whichever stamp stands in the end? A tombstone says nothing that a rule is asked about.
    pub(super) fn is_agreed(&self, plan: &Plan, contested: &Contested<'_>) -> bool {
        self.uniting.is_some()
            && match (&contested.change.op, &contested.local.row) {
                (PlannedOp::Insert { row, .. }, Some(here)) => same_values(plan, row, here),
                (PlannedOp::Insert { .. }, None) => false,
                (PlannedOp::Update { .. } | PlannedOp::Delete { .. } | PlannedOp::Refused { .. }, _) => true,
            }
    }

    /// Is there nothing to do? Where rows have stamps, the greater one must stand on both sides.
    pub(super) fn is_level(&self, plan: &Plan, contested: &Contested<'_>) -> bool {
        plan.shape.stamps.is_none() && self.is_agreed(plan, contested)
    }

    /// Is nothing lost by the decision that anybody would miss?
    pub(super) fn is_quiet(&self, plan: &Plan, contested: &Contested<'_>, decision: &Decision) -> bool {
        let removes = matches!(contested.change.op, PlannedOp::Delete { .. })
            && contested.local.row.is_some()
            && matches!(decision, Decision::Write { .. });
        self.is_agreed(plan, contested) && !removes
    }

    /// A row that does not say whose it is would win or lose by chance.
    pub(super) fn refuse_unclaimed(&self, plan: &Plan, contested: &Contested<'_>) -> Result<()> {
        let incoming = contested.change.op.incoming().map(|incoming| incoming.stamp());
        let stamps = [
            (incoming, &self.spec.source),
            (contested.local.row_stamp, &self.spec.target),
        ];
        let unclaimed = |(stamp, _): &&(Option<_>, _)| {
            stamp.is_some_and(|stamp: crate::model::stamp::Stamp| stamp.origin == NOBODY)
        };
        let Some((_, node)) = stamps
            .iter()
            .find(unclaimed)
            .filter(|_| self.uniting == Some(Uniting::Sides))
        else {
            return Ok(());
        };
        let sync = &self.spec.sync;
        Err(Error::definite("make one set of two sides")
            .node(&node.name)
            .table(&plan.shape.table.id)
            .reason(Reason::Refused)
            .why("it holds rows that were stamped before the sync had seed = \"union\", so they do not say whose they are")
            .hint(format!(
                "tidelock teardown --sync {sync} --execute; drop the table's columns tidelock_version and tidelock_origin on \
                 {}; tidelock setup --sync {sync} --execute",
                node.name
            )))
    }
}
