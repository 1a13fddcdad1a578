//! How the source of truth answers a change that it does not take: by a write of its own above it.
//!
//! The order of stamps is the only order everywhere (docs/architecture.md), so what stands on the truth must win by its
//! stamp: its row is touched, or a deleted one is deleted again. On a table with a row filter a row outside of it is
//! touched, and an arriving row is lifted over a tombstone.
//! Owns: these writes, and the segment on our own account in which they stand and by which they replicate like a user's.
//! Fails: `Transient` when somebody wrote one of the rows meanwhile; `Definite` when the table refuses the answer.

use super::contested::{Contested, incoming_of, tradable};
use super::{Applier, inserted, own_of};
use crate::error::{Error, Result};
use crate::model::conflict::{Conflict, ConflictKind, Outcome};
use crate::model::origin::Segment;
use crate::model::stamp::Stamp;
use crate::model::value::{Row, Value};
use crate::plan::{Plan, PlannedOp, Write, WriteOp, Written};

impl Applier {
    /// Answers each of them, and closes the segment.
    pub(super) async fn reassert(
        &mut self,
        plan: &Plan,
        contested: Vec<(Contested<'_>, ConflictKind)>,
        conflicts: &mut Vec<Conflict>,
    ) -> Result<()> {
        if contested.is_empty() {
            return Ok(());
        }
        let answers = contested
            .iter()
            .map(|(contested, _)| self.answer(plan, contested));
        let (first, second): (Vec<Write>, Vec<Option<Write>>) =
            answers.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        self.tally.answers += first.len() as u64;
        self.target.segment(&self.movement(Segment::Own)).await?;
        let written = self.target.write(&plan.shape, &first).await?;
        let mut deletes = Vec::new();
        for (((contested, conflict), written), delete) in contested.iter().zip(written).zip(second) {
            let (kind, outcome, why) = match written {
                Written::Done => {
                    deletes.extend(delete);
                    let (outcome, why) = answered(plan, contested);
                    (*conflict, outcome, why.to_owned())
                }
                Written::UniqueTaken(key) => (
                    ConflictKind::MultipleUniqueConflicts,
                    Outcome::Open,
                    format!(
                        "the answer to this row cannot be written while another row holds a value of unique key {key}"
                    ),
                ),
                Written::Refused(why) => (ConflictKind::ValueRefused, Outcome::Open, why),
                Written::Lost => {
                    return Err(Error::transient("answer rows of the other side")
                        .table(&plan.shape.table.id)
                        .why("somebody inserted one of them meanwhile"));
                }
            };
            conflicts.push(self.record(plan, contested, kind, outcome, &why));
        }
        if !deletes.is_empty() {
            let written = self.target.write(&plan.shape, &deletes).await?;
            if let Some(Written::Refused(why)) = written.into_iter().find(|written| *written != Written::Done)
            {
                return Err(
                    Error::definite("delete again a row that the source of truth had deleted")
                        .node(&self.spec.target.name)
                        .table(&plan.shape.table.id)
                        .why(why)
                        .hint("let the trigger that refuses it pass Tidelock's deletes, then `tidelock run`"),
                );
            }
        }
        self.target.segment(&self.movement(Segment::Applied)).await
    }

    /// A standing row gets a stamp above the incoming one. A deleted row is written as it came and deleted again
    /// with its version, because only rows, not tombstones, reach the log of every engine.
    fn answer(&self, plan: &Plan, contested: &Contested<'_>) -> Result<(Write, Option<Write>)> {
        let Contested { change, local } = contested;
        let (Some(stamps), Some(incoming)) = (&plan.shape.stamps, incoming_of(&change.op)) else {
            return Err(Error::bug("reassert a row without stamps"));
        };
        let (me, key) = (self.spec.target.rank, change.key.clone());
        match (local.row_stamp, &change.op) {
            (Some(standing), _) => {
                let mut cells = vec![None; plan.shape.table.columns.len()];
                cells[stamps.version] = Some(Value::Int(standing.version.max(incoming.stamp().version) + 1));
                cells[stamps.origin] = Some(Value::Int(i64::from(me)));
                let row = Row(cells.into_boxed_slice());
                let here = local.row.as_ref().and_then(|here| tradable(plan, here));
                let base = None;
                let op = WriteOp::Update { row, base, here };
                Ok((Write { key, op }, None))
            }
            (None, PlannedOp::Insert { row, .. } | PlannedOp::Update { row, .. }) if plan.is_filtered() => {
                let tombstone = local.tombstone.map_or(0, |stamp| stamp.version);
                let mut row = inserted(row, own_of(&change.op));
                row.0[stamps.version] = Some(Value::Int(tombstone.max(incoming.stamp().version) + 1));
                row.0[stamps.origin] = Some(Value::Int(i64::from(me)));
                let op = WriteOp::Insert { row };
                Ok((Write { key, op }, None))
            }
            (None, PlannedOp::Insert { row, .. } | PlannedOp::Update { row, .. }) => {
                let insert = Write {
                    key: key.clone(),
                    op: WriteOp::Insert { row: row.clone() },
                };
                let op = WriteOp::Delete {
                    base: None,
                    tombstone: Some(Stamp::delete(incoming.stamp().version, me)),
                };
                Ok((insert, Some(Write { key, op })))
            }
            (None, PlannedOp::Delete { .. } | PlannedOp::Refused { .. }) => {
                Err(Error::bug("reassert a row that neither stands nor comes"))
            }
        }
    }
}

/// How a change was answered, for the record.
fn answered(plan: &Plan, contested: &Contested<'_>) -> (Outcome, &'static str) {
    match (plan.is_filtered(), contested.local.row_stamp) {
        (false, _) => (Outcome::Kept, "this node is the source of truth"),
        (true, Some(_)) => (
            Outcome::Kept,
            "a row outside of the filter stands here with the greater stamp: the other node's row leaves it",
        ),
        (true, None) => (
            Outcome::Applied,
            "its key was deleted here while it was outside of the filter: the row got a greater stamp",
        ),
    }
}
