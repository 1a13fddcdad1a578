//! Rows that somebody else changed as well: read under lock, decided, written, recorded.
//!
//! Owns: the rounds, the write that follows from a decision, and the words of its record. Refuses: deciding, which
//! `merge` does. Fails: `Transient` when others keep changing the rows under us.

use super::{Applier, inserted, own_of};
use crate::error::{Error, Result};
use crate::flow::record;
use crate::merge::{self, Decision, Incoming, Standing};
use crate::model::conflict::{Conflict, ConflictKind, Local, Outcome};
use crate::model::sync::Rule;
use crate::model::value::Row;
use crate::plan::{Key, Plan, Planned, PlannedOp, Write, WriteOp, Written};

/// Rounds in which rows that somebody keeps changing under us are decided again before the group is retried.
const ROUNDS_MAX: usize = 8;

/// A change that was not applied at once, with what stands under its key.
pub(super) struct Contested<'a> {
    pub(super) change: &'a Planned,
    pub(super) local: Local,
}

impl Applier {
    /// Rounds of reading, deciding and writing until nothing is left.
    pub(super) async fn settle_contested(
        &mut self,
        plan: &Plan,
        mut rest: Vec<&Planned>,
        conflicts: &mut Vec<Conflict>,
    ) -> Result<()> {
        for _ in 0..ROUNDS_MAX {
            if rest.is_empty() {
                return Ok(());
            }
            rest = self.contested(plan, rest, conflicts).await?;
        }
        Err(
            Error::transient(format!("write {} rows that others keep changing", rest.len()))
                .table(&plan.shape.table.id)
                .node(&self.spec.target.name),
        )
    }

    /// One round: read under lock, decide, write. Returns what lost a race and must be decided again.
    async fn contested<'a>(
        &mut self,
        plan: &Plan,
        rest: Vec<&'a Planned>,
        conflicts: &mut Vec<Conflict>,
    ) -> Result<Vec<&'a Planned>> {
        let keys: Vec<Key> = rest.iter().map(|change| change.key.clone()).collect();
        let locals = self.target.read(&plan.shape, &keys).await?;
        let mut writes = Vec::new();
        let mut reasserts = Vec::new();
        for (change, local) in rest.into_iter().zip(locals) {
            let contested = Contested { change, local };
            let decision = self.decide(plan, &contested);
            let overlap = self.is_overlap(&contested);
            match decision {
                Decision::Write { conflict } => match decided_write(plan, &contested) {
                    Some(write) => writes.push((write, contested, conflict.filter(|_| !overlap))),
                    None => {
                        let why = "the row is missing and the log did not carry it whole";
                        conflicts.push(self.record(
                            plan,
                            &contested,
                            ConflictKind::UpdateMissing,
                            Outcome::Open,
                            why,
                        ));
                    }
                },
                Decision::Keep { conflict } => {
                    self.tally.noops += u64::from(conflict.is_none_or(|_| overlap));
                    if let Some(kind) = conflict.filter(|_| !overlap) {
                        let why = "what stands here has the greater stamp";
                        conflicts.push(self.record(plan, &contested, kind, Outcome::Kept, why));
                    }
                }
                Decision::Reassert { conflict } | Decision::Lift { conflict } => {
                    reasserts.push((contested, conflict));
                }
                Decision::Park { conflict } => {
                    let why =
                        "equal stamps name different rows: a stamp was set by hand or a trigger was off";
                    conflicts.push(self.record(plan, &contested, conflict, Outcome::Open, why));
                }
            }
        }
        let lost = self.write_decided(plan, writes, conflicts).await?;
        self.reassert(plan, reasserts, conflicts).await?;
        Ok(lost)
    }

    pub(super) async fn write_decided<'a>(
        &mut self,
        plan: &Plan,
        decided: Vec<(Write, Contested<'a>, Option<ConflictKind>)>,
        conflicts: &mut Vec<Conflict>,
    ) -> Result<Vec<&'a Planned>> {
        if decided.is_empty() {
            return Ok(Vec::new());
        }
        let (writes, owners): (Vec<Write>, Vec<_>) = decided
            .into_iter()
            .map(|(write, contested, kind)| (write, (contested, kind)))
            .unzip();
        let written = self.target.write(&plan.shape, &writes).await?;
        let mut lost = Vec::new();
        for ((contested, conflict), written) in owners.into_iter().zip(written) {
            match (written, conflict) {
                (Written::Done, None) => {}
                (Written::Done, Some(kind)) => {
                    let why = match plan.shape.stamps {
                        Some(_) => "the incoming change has the greater stamp",
                        None => "the target had drifted from the source and was mended",
                    };
                    conflicts.push(self.record(plan, &contested, kind, Outcome::Applied, why));
                }
                (Written::Lost, _) => lost.push(contested.change),
                (Written::UniqueTaken(key), _) => {
                    let why = format!("another row holds a value of unique key {key}");
                    let kind = ConflictKind::MultipleUniqueConflicts;
                    conflicts.push(self.record(plan, &contested, kind, Outcome::Open, &why));
                }
                (Written::Refused(why), _) => {
                    conflicts.push(self.record(
                        plan,
                        &contested,
                        ConflictKind::ValueRefused,
                        Outcome::Open,
                        &why,
                    ));
                }
            }
        }
        Ok(lost)
    }

    fn decide(&self, plan: &Plan, contested: &Contested<'_>) -> Decision {
        let (op, local) = (&contested.change.op, &contested.local);
        let Some(incoming) = incoming_of(op) else {
            // A row that left the filter may have been kept, and comes again.
            if plan.keeps() && matches!(op, PlannedOp::Insert { .. }) {
                return Decision::Write { conflict: None };
            }
            return merge::decide_one_way(one_way(op), local.row.is_some());
        };
        let standing = Standing {
            row: local.row_stamp,
            tombstone: local.tombstone,
        };
        let same = match (op, &local.row) {
            (PlannedOp::Insert { row, .. } | PlannedOp::Update { row, .. }, Some(here)) => {
                same_cells(row, here)
            }
            _ => false,
        };
        let me = self.spec.target.rank;
        if plan.is_filtered() {
            let outside = local.row.as_ref().is_some_and(|row| !plan.holds(row));
            return merge::decide_filtered(me, incoming, standing, outside, same);
        }
        merge::decide(self.rule(plan), me, incoming, standing, same)
    }

    fn rule(&self, plan: &Plan) -> &Rule {
        self.spec.rules.get(&plan.shape.table.id).unwrap_or(&Rule::Newest)
    }

    /// After a first copy whose snapshot was not exact, changes up to its settle position may be in the copy
    /// already: finding them there is no conflict, unless this node's own users wrote the row.
    fn is_overlap(&self, contested: &Contested<'_>) -> bool {
        let me = self.spec.target.rank;
        self.checkpoint.settle.is_some()
            && contested.local.row_stamp.is_none_or(|stamp| stamp.origin != me)
            && contested.local.tombstone.is_none_or(|stamp| stamp.origin != me)
    }

    pub(super) fn record(
        &self,
        plan: &Plan,
        contested: &Contested<'_>,
        kind: ConflictKind,
        outcome: Outcome,
        why: &str,
    ) -> Conflict {
        let rule = if plan.shape.stamps.is_some() {
            self.rule(plan).name()
        } else {
            "source"
        };
        record::contested(
            plan,
            contested.change,
            &contested.local,
            record::Verdict {
                kind,
                outcome,
                rule,
                why,
            },
        )
    }
}

/// The write after a decision, for the row as it was read. `None`: a row to insert that lacks cells.
pub(super) fn decided_write(plan: &Plan, contested: &Contested<'_>) -> Option<Write> {
    let op = match (&contested.change.op, &contested.local.row) {
        (PlannedOp::Delete { stamp, .. }, Some(_)) => WriteOp::Delete {
            base: None,
            tombstone: *stamp,
        },
        (PlannedOp::Delete { stamp, .. }, None) => WriteOp::Bury { tombstone: *stamp },
        (PlannedOp::Insert { row, .. } | PlannedOp::Update { row, .. }, Some(here)) => WriteOp::Update {
            row: row.clone(),
            base: None,
            here: tradable(plan, here),
        },
        (PlannedOp::Insert { row, .. } | PlannedOp::Update { row, .. }, None) => {
            if plan.carried().any(|place| row.get(place).is_none()) {
                return None;
            }
            WriteOp::Insert {
                row: inserted(row, own_of(&contested.change.op)),
            }
        }
        (PlannedOp::Refused { .. }, _) => return None,
    };
    Some(Write {
        key: contested.change.key.clone(),
        op,
    })
}

/// The row as it was read, where it may have to trade a unique value: see [`WriteOp::Update`].
pub(super) fn tradable(plan: &Plan, here: &Row) -> Option<Row> {
    (!plan.shape.table.uniques.is_empty()).then(|| here.clone())
}

/// `None` without stamps (transactional mode).
pub(super) fn incoming_of(op: &PlannedOp) -> Option<Incoming> {
    match op {
        PlannedOp::Insert { stamp, .. } => stamp.map(|stamp| Incoming::Insert { stamp }),
        PlannedOp::Update { base, stamp, .. } => base
            .zip(*stamp)
            .map(|(base, stamp)| Incoming::Update { base, stamp }),
        PlannedOp::Delete { base, stamp, .. } => base
            .zip(*stamp)
            .map(|(base, stamp)| Incoming::Delete { base, stamp }),
        PlannedOp::Refused { .. } => None,
    }
}

pub(super) fn one_way(op: &PlannedOp) -> merge::Operation {
    match op {
        PlannedOp::Insert { .. } => merge::Operation::Insert,
        PlannedOp::Update { .. } => merge::Operation::Update,
        PlannedOp::Delete { .. } | PlannedOp::Refused { .. } => merge::Operation::Delete,
    }
}

fn same_cells(incoming: &Row, here: &Row) -> bool {
    incoming
        .0
        .iter()
        .zip(here.0.iter())
        .all(|(a, b)| a.is_none() || a == b)
}
