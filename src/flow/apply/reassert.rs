//! How the arbiter answers a change that its rules do not take: by a write of its own above it.
//!
//! The order of stamps is the only order everywhere (docs/architecture.md), so what the rules want must win by its
//! stamp: a row that is to stand is touched, one that is to go is deleted, a deleted one that comes again is deleted
//! again or lifted over its tombstone, and of merged columns (`columns`) a row of both is written.
//! Owns: these writes, and the segment on our own account in which they stand and by which they replicate like a user's.
//! Fails: `Transient` when somebody wrote one of the rows meanwhile; `Definite` when the table refuses the answer.

use super::contested::{Answered, Contested, tradable};
use super::{Applier, inserted, own_of};
use crate::error::{Error, Result};
use crate::merge::Own;
use crate::model::conflict::{Conflict, ConflictKind, Outcome};
use crate::model::origin::Segment;
use crate::model::parked::ParkKind;
use crate::model::stamp::Stamp;
use crate::model::value::{Row, Value};
use crate::plan::{Plan, PlannedOp, StampColumns, Write, WriteOp, Written};

impl Applier {
    /// Answers each of them, and closes the segment.
    pub(super) async fn answer_all(
        &mut self,
        plan: &Plan,
        answered: Vec<Answered<'_>>,
        conflicts: &mut Vec<Conflict>,
    ) -> Result<()> {
        if answered.is_empty() {
            return Ok(());
        }
        let answers = answered.iter().map(|answered| self.answer(plan, answered));
        let (first, second): (Vec<Write>, Vec<Option<Write>>) =
            answers.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        self.tally.answers += first.len() as u64;
        let undone = answered.iter().filter(|answered| answered.own == Own::Recall);
        self.tally.undone += undone.count() as u64;
        self.target.segment(&self.movement(Segment::Own)).await?;
        let written = self.target.write(&plan.shape, &first).await?;
        let mut deletes = Vec::new();
        for ((answered, written), delete) in answered.iter().zip(written).zip(second) {
            let (kind, outcome, why) = match written {
                Written::Done => {
                    deletes.extend(delete);
                    if matches!(answered.own, Own::Lift | Own::Merge { .. } | Own::Delete) {
                        self.written_over(plan, &answered.contested);
                    }
                    let outcome = outcome(answered.own);
                    (answered.conflict, outcome, answered.why.clone())
                }
                Written::UniqueTaken(key) => {
                    let why = format!(
                        "the answer to this row cannot be written while another row holds a value of unique key {key}"
                    );
                    let kinds = (ConflictKind::MultipleUniqueConflicts, ParkKind::Unique);
                    self.open(plan, &answered.contested, kinds, &why, conflicts)?;
                    continue;
                }
                Written::Refused(why) => {
                    let kinds = (ConflictKind::ValueRefused, ParkKind::Refused);
                    self.open(plan, &answered.contested, kinds, &why, conflicts)?;
                    continue;
                }
                Written::Lost => {
                    return Err(Error::transient("answer rows of the other side")
                        .table(&plan.shape.table.id)
                        .why("somebody wrote one of them meanwhile"));
                }
            };
            conflicts.push(self.record(plan, &answered.contested, kind, outcome, &why));
        }
        self.delete_again(plan, &deletes).await?;
        self.target.segment(&self.movement(Segment::Applied)).await
    }

    async fn delete_again(&mut self, plan: &Plan, deletes: &[Write]) -> Result<()> {
        if deletes.is_empty() {
            return Ok(());
        }
        let written = self.target.write(&plan.shape, deletes).await?;
        match written.into_iter().find(|written| *written != Written::Done) {
            Some(Written::Refused(why)) => Err(Error::definite(
                "delete again a row that stays deleted by its table's rules",
            )
            .node(&self.spec.target.name)
            .table(&plan.shape.table.id)
            .why(why)
            .hint("let the trigger that refuses it pass Tidelock's deletes, then `tidelock run`")),
            Some(Written::Done | Written::Lost | Written::UniqueTaken(_)) | None => Ok(()),
        }
    }

    /// The write, and the delete that follows it.
    fn answer(&self, plan: &Plan, answered: &Answered<'_>) -> Result<(Write, Option<Write>)> {
        let Contested { change, local } = &answered.contested;
        let (Some(stamps), Some(incoming)) = (&plan.shape.stamps, change.op.incoming()) else {
            return Err(Error::bug("answer a change without stamps"));
        };
        let (me, key) = (self.spec.target.rank, change.key.clone());
        let arriving = match &change.op {
            PlannedOp::Insert { row, .. } | PlannedOp::Update { row, .. } => Some(row),
            PlannedOp::Delete { .. } | PlannedOp::Refused { .. } => None,
        };
        // Of the tombstone too: a row that missed a bump stands below it, where this node gave stamps before.
        let stands = local.row_stamp.max(local.tombstone).max(Some(incoming.stamp()));
        let raised = if answered.own == Own::Recall { 2 } else { 1 };
        let above = Stamp::write(stands.map_or(0, |stamp| stamp.version) + raised, me);
        let replaced = |mut row: Row| {
            stamped(stamps, above, &mut row);
            let here = local.row.as_ref().and_then(|here| tradable(plan, here));
            let base = None;
            WriteOp::Update { row, base, here }
        };
        let deleted = |version| WriteOp::Delete {
            base: None,
            tombstone: Some(Stamp::delete(version, me)),
        };
        let op = match (answered.own, local.row_stamp, arriving) {
            (Own::Touch | Own::Recall, Some(_), _) => {
                let cells = vec![None; plan.shape.table.columns.len()];
                replaced(Row(cells.into_boxed_slice()))
            }
            (Own::Delete, Some(standing), _) => deleted(standing.version),
            (Own::Lift, Some(_), Some(row)) => replaced(row.clone()),
            (Own::Lift, None, Some(row)) => {
                let row = match answered.conflict {
                    ConflictKind::ForeignWrite => plan.guards().without_foreign(row),
                    _ => row.clone(),
                };
                let mut row = inserted(&row, own_of(&change.op));
                stamped(stamps, above, &mut row);
                WriteOp::Insert { row }
            }
            (Own::DeleteAgain | Own::Fetch, None, Some(row)) => {
                let (mut row, mut version) = (row.clone(), incoming.stamp().version);
                if change.is_blended || answered.own == Own::Fetch {
                    stamped(stamps, above, &mut row);
                    version = above.version;
                }
                let op = WriteOp::Insert { row };
                let again = Write { key: key.clone(), op };
                let op = deleted(version);
                return Ok((again, Some(Write { key, op })));
            }
            (Own::Merge { .. }, Some(_), Some(_)) => replaced(answered.merged.clone().unwrap_or_default()),
            (
                Own::Touch
                | Own::Recall
                | Own::Delete
                | Own::Lift
                | Own::DeleteAgain
                | Own::Fetch
                | Own::Merge { .. },
                _,
                _,
            ) => return Err(Error::bug("answer a row that neither stands nor comes")),
        };
        Ok((Write { key, op }, None))
    }
}

fn stamped(stamps: &StampColumns, stamp: Stamp, row: &mut Row) {
    row.0[stamps.version] = Some(Value::Int(stamp.version));
    row.0[stamps.origin] = Some(Value::Int(i64::from(stamp.origin)));
}

fn outcome(own: Own) -> Outcome {
    match own {
        Own::Touch | Own::Recall | Own::DeleteAgain | Own::Fetch => Outcome::Kept,
        Own::Delete | Own::Lift => Outcome::Applied,
        Own::Merge { .. } => Outcome::Merged,
    }
}
