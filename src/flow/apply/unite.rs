//! Rows of a copy that meet rows: two sides that held data before they were joined become one set.
//!
//! Owns: what is no conflict then (the same row on both sides, a delete that nobody contradicts). Refuses: rows whose stamp
//! does not say whose they are. Everything else is decided as if the row had just been inserted on the other side, with
//! the same stamps on both, so both come to the same.

use super::Applier;
use super::contested::Contested;
use crate::error::{Error, Reason, Result};
use crate::flow::decision::same_values;
use crate::merge::Decision;
use crate::model::conflict::Conflict;
use crate::model::stamp::Rank;
use crate::plan::layer::Layers;
use crate::plan::{Plan, Planned, PlannedOp};

/// Of rows from before Tidelock was enabled, in a sync that was not set up for this.
const NOBODY: Rank = 0;

impl Applier {
    /// Returns how many rows there were.
    pub(crate) async fn unite(&mut self, layers: &Layers) -> Result<u64> {
        self.unites = true;
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

    /// Do both sides say the same, whichever stamp stands in the end? A tombstone says nothing that a rule is asked about.
    pub(super) fn is_agreed(&self, plan: &Plan, contested: &Contested<'_>) -> bool {
        self.unites
            && match (&contested.change.op, &contested.local.row) {
                (PlannedOp::Insert { row, .. }, Some(here)) => same_values(plan, row, here),
                (PlannedOp::Insert { .. }, None) => false,
                (PlannedOp::Update { .. } | PlannedOp::Delete { .. } | PlannedOp::Refused { .. }, _) => true,
            }
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
        let Some((_, node)) = stamps.iter().find(unclaimed).filter(|_| self.unites) else {
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
