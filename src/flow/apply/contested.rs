//! Rows that somebody else changed as well: read under lock, decided, written, recorded.
//!
//! Owns: the rounds, the write that follows from a decision, and the words of its record. Refuses: deciding, which
//! `flow::decision` and `merge` do. Fails: `Transient` when others keep changing the rows under us.

use super::parking::park_key;
use super::renew::Stuck;
use super::{Applier, inserted, own_of};
use crate::error::{Error, Result};
use crate::flow::decision::{Meeting, Merged};
use crate::flow::record;
use crate::merge::{Decision, Own};
use crate::model::conflict::{Conflict, ConflictKind, Local, Outcome, Reason};
use crate::model::parked::ParkKind;
use crate::model::rules::{OnDelete, Rule, TableRules};
use crate::model::stamp::{Rank, Stamp};
use crate::model::value::Row;
use crate::plan::guard::Guarding;
use crate::plan::{Key, Plan, Planned, PlannedOp, Write, WriteOp, Written};

/// Rounds in which rows that somebody keeps changing under us are decided again before the group is retried.
const ROUNDS_MAX: usize = 8;

/// A change that was not applied at once, with what stands under its key.
pub(super) struct Contested<'a> {
    pub(super) change: &'a Planned,
    pub(super) local: Local,
}

/// A write that was decided, with what to record of it.
pub(super) struct Decided<'a> {
    pub(super) write: Write,
    pub(super) contested: Contested<'a>,
    pub(super) conflict: Option<ConflictKind>,
    pub(super) reason: Reason,
}

impl<'a> Decided<'a> {
    /// Nothing is recorded of it.
    fn quiet(write: Write, contested: Contested<'a>, reason: Reason) -> Self {
        Decided {
            write,
            contested,
            conflict: None,
            reason,
        }
    }
}

/// What a round of decisions leaves to write.
#[derive(Default)]
struct Sorted<'a> {
    writes: Vec<Decided<'a>>,
    answers: Vec<Answered<'a>>,
    stuck: Vec<Stuck<'a>>,
}

/// A change to be answered by a write of our own.
pub(super) struct Answered<'a> {
    pub(super) own: Own,
    pub(super) contested: Contested<'a>,
    pub(super) conflict: ConflictKind,
    pub(super) why: String,
    /// The row to write, where it is neither the incoming nor the standing one.
    pub(super) merged: Option<Row>,
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
        let mut sorted = Sorted::default();
        for (change, mut local) in rest.into_iter().zip(locals) {
            self.date(plan, change, &mut local);
            let contested = Contested { change, local };
            self.refuse_unclaimed(plan, &contested)?;
            if self.is_level(plan, &contested) {
                self.tally.noops += 1;
                continue;
            }
            if let Some(write) = self.dated_alike(plan, &contested) {
                sorted.writes.push(Decided::quiet(write, contested, Reason::Same));
                continue;
            }
            let decision = self.meeting(plan, &contested).decide();
            self.sort(plan, contested, decision, &mut sorted, conflicts)?;
        }
        let lost = self.write_decided(plan, sorted.writes, conflicts).await?;
        self.renew(plan, sorted.stuck, conflicts).await?;
        self.answer_all(plan, sorted.answers, conflicts).await?;
        Ok(lost)
    }

    /// What follows from a decision: a write, an answer, a wait, or only its record.
    fn sort<'a>(
        &mut self,
        plan: &Plan,
        contested: Contested<'a>,
        decision: Decision,
        sorted: &mut Sorted<'a>,
        conflicts: &mut Vec<Conflict>,
    ) -> Result<()> {
        let overlap = self.is_overlap(plan, &contested) || self.is_quiet(plan, &contested, &decision);
        match decision {
            Decision::Write { conflict, reason } => match decided_write(plan, &contested) {
                Some(write) => {
                    let known = overlap || self.is_of_waiting(plan, contested.change, conflict);
                    sorted.writes.push(Decided {
                        write,
                        contested,
                        conflict: conflict.filter(|_| !known),
                        reason,
                    });
                }
                None => sorted.stuck.push(Stuck {
                    contested,
                    kinds: (ConflictKind::UpdateMissing, ParkKind::NotWhole),
                    why: Reason::Incomplete.text().to_owned(),
                }),
            },
            Decision::Keep { conflict, reason } => {
                self.tally.noops += u64::from(conflict.is_none_or(|_| overlap));
                if let Some(kind) = conflict.filter(|_| !overlap) {
                    conflicts.push(self.record(plan, &contested, kind, Outcome::Kept, reason.text()));
                    self.note_bump(plan, &contested);
                }
                let write = self.restamped(plan, &contested);
                sorted
                    .writes
                    .extend(write.map(|write| Decided::quiet(write, contested, reason)));
            }
            Decision::Own {
                own: own @ Own::Merge { .. },
                conflict,
                reason,
            } => self.sort_merged(plan, contested, (own, conflict, reason), sorted, conflicts)?,
            Decision::Own { own: Own::Delete, .. } if self.is_referred_to(plan, contested.change) => {
                let kinds = (ConflictKind::FkMissing, ParkKind::FkMissing);
                let why = self.foreign.orphan(&park_key(plan, contested.change)).cloned();
                self.open(plan, &contested, kinds, &why.unwrap_or_default(), conflicts)?;
            }
            Decision::Own {
                own,
                conflict,
                reason,
            } => sorted.answers.push(Answered {
                own,
                contested,
                conflict,
                why: reason.text().to_owned(),
                merged: None,
            }),
            Decision::Park { conflict, reason } => {
                let park = match reason {
                    Reason::Asked | Reason::AskedDelete => ParkKind::Ask,
                    _ => ParkKind::EqualStamps,
                };
                self.open(plan, &contested, (conflict, park), reason.text(), conflicts)?;
            }
        }
        Ok(())
    }

    /// Where the columns come to what the order of stamps leaves, that is done.
    fn sort_merged<'a>(
        &mut self,
        plan: &Plan,
        contested: Contested<'a>,
        (own, conflict, reason): (Own, ConflictKind, Reason),
        sorted: &mut Sorted<'a>,
        conflicts: &mut Vec<Conflict>,
    ) -> Result<()> {
        let incoming_wins = matches!(own, Own::Merge { incoming_wins: true });
        let decision = match self.meeting(plan, &contested).merged(incoming_wins) {
            Merged::Ordered(true) => Decision::Write {
                conflict: Some(conflict),
                reason,
            },
            Merged::Ordered(false) => Decision::Keep {
                conflict: Some(conflict),
                reason,
            },
            Merged::Row(row, words) => {
                sorted.answers.push(Answered {
                    own,
                    contested,
                    conflict,
                    why: format!("{}: {words}", reason.text()),
                    merged: Some(row),
                });
                return Ok(());
            }
            Merged::Open(why) => {
                return self.open(plan, &contested, (conflict, ParkKind::Refused), &why, conflicts);
            }
        };
        self.sort(plan, contested, decision, sorted, conflicts)
    }

    pub(super) async fn write_decided<'a>(
        &mut self,
        plan: &Plan,
        decided: Vec<Decided<'a>>,
        conflicts: &mut Vec<Conflict>,
    ) -> Result<Vec<&'a Planned>> {
        if decided.is_empty() {
            return Ok(Vec::new());
        }
        let writes: Vec<Write> = decided.iter().map(|decided| decided.write.clone()).collect();
        let written = self.target.write(&plan.shape, &writes).await?;
        let (mut lost, mut stuck) = (Vec::new(), Vec::new());
        for (decided, written) in decided.into_iter().zip(written) {
            let Decided {
                contested,
                conflict,
                reason,
                ..
            } = decided;
            if written == Written::Done {
                self.written_over(plan, &contested);
            }
            match (written, conflict) {
                (Written::Done, None) => {}
                (Written::Done, Some(kind)) => {
                    conflicts.push(self.record(plan, &contested, kind, Outcome::Applied, reason.text()));
                }
                (Written::Lost, _) => lost.push(contested.change),
                (Written::UniqueTaken(key), _) => stuck.push(Stuck {
                    contested,
                    kinds: (ConflictKind::MultipleUniqueConflicts, ParkKind::Unique),
                    why: format!("another row holds a value of unique key {key}"),
                }),
                (Written::Refused(why), _) => {
                    let kinds = (ConflictKind::ValueRefused, ParkKind::Refused);
                    self.open(plan, &contested, kinds, &why, conflicts)?;
                }
            }
        }
        self.renew(plan, stuck, conflicts).await?;
        Ok(lost)
    }

    /// What met under the key, as the rules of its table see it.
    fn meeting<'m>(&'m self, plan: &'m Plan, contested: &'m Contested<'_>) -> Meeting<'m> {
        Meeting {
            plan,
            // What the copy holds already is no conflict to be asked about: the greater stamp is the later one.
            rules: self.rules(plan).filter(|_| {
                !self.is_repeated() && !self.is_overlap(plan, contested) && !self.is_agreed(plan, contested)
            }),
            me: self.spec.target.rank,
            op: &contested.change.op,
            is_blended: contested.change.is_blended,
            is_own: contested.change.is_own,
            is_raised: contested.change.guarding == Guarding::Raise,
            local: &contested.local,
        }
    }

    pub(super) fn rules(&self, plan: &Plan) -> Option<&TableRules> {
        self.spec.rules.get(&plan.shape.table.id)
    }

    /// After a first copy whose snapshot was not exact, changes up to its settle position may be in the copy
    /// already: finding them there is no conflict, unless this node's own users wrote the row.
    fn is_overlap(&self, plan: &Plan, contested: &Contested<'_>) -> bool {
        let me = self.spec.target.rank;
        let op = &contested.change.op;
        let is_one_way = op.incoming().is_none();
        // One way a new copy is compared with what stands, and the difference is drift; so it is of rows that a copy
        // with a condition did not look at.
        let is_compared = is_one_way
            && (self.uniting.is_some() || !plan.may_have_asked_for(op, contested.local.row.as_ref()));
        self.is_unsettled()
            && !is_compared
            && contested.local.row_stamp.is_none_or(|stamp| stamp.origin != me)
            && contested.local.tombstone.is_none_or(|stamp| stamp.origin != me)
    }

    /// Does an own write above the delete of a row that others refer to stay? Where the rule decides by more than
    /// stamps, another node may answer it in turn, and so on.
    pub(super) fn answers_for_children(&self, plan: &Plan) -> bool {
        // What a hub lets its spoke hold the spoke does not answer: the row waits until nothing refers to it.
        if plan.is_held() {
            return false;
        }
        let Some(rules) = self.rules(plan) else {
            return true;
        };
        let is_ordered = match rules.row {
            Rule::Newest | Rule::Columns => true,
            Rule::SourceOfTruth(node) => node == self.spec.target.rank,
            Rule::Ask => false,
        };
        is_ordered && matches!(rules.on_delete, OnDelete::Rule | OnDelete::Update)
    }

    /// Was the row's delete found to leave rows without their parent?
    fn is_referred_to(&self, plan: &Plan, change: &Planned) -> bool {
        self.foreign.orphan(&park_key(plan, change)).is_some()
    }

    /// The record of a change that cannot be applied.
    pub(super) fn opened(
        &self,
        plan: &Plan,
        contested: &Contested<'_>,
        kind: ConflictKind,
        why: &str,
    ) -> Conflict {
        match &contested.change.op {
            PlannedOp::Refused { .. } => record::refusal(plan, contested.change),
            _ => self.record(plan, contested, kind, Outcome::Open, why),
        }
    }

    pub(super) fn record(
        &self,
        plan: &Plan,
        contested: &Contested<'_>,
        kind: ConflictKind,
        outcome: Outcome,
        why: &str,
    ) -> Conflict {
        let rule = match (plan.shape.stamps.is_some(), self.rules(plan)) {
            (true, Some(rules)) => rules.row.name(),
            (true, None) => Rule::Newest.name(),
            (false, _) => "source",
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
                winner: self.winner(contested, outcome),
            },
        )
    }

    /// The node that wrote what stands now; one that wrote before there were stamps is told by the side it is on.
    fn winner(&self, contested: &Contested<'_>, outcome: Outcome) -> Option<Rank> {
        let written_by = |stamp: Option<Stamp>, side: Rank| match stamp.map(|stamp| stamp.origin) {
            Some(origin) if origin != 0 => origin,
            Some(_) | None => side,
        };
        match outcome {
            Outcome::Applied => {
                let incoming = contested.change.op.incoming();
                let stamp = incoming.map(|incoming| incoming.stamp());
                Some(written_by(stamp, self.spec.source.rank))
            }
            Outcome::Kept => {
                let stamp = contested.local.row_stamp.max(contested.local.tombstone);
                Some(written_by(stamp, self.spec.target.rank))
            }
            Outcome::Merged => Some(self.spec.target.rank),
            Outcome::Open => None,
        }
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

/// The row as it was read, where it may have to be taken away and put back: see [`WriteOp::Update`].
pub(super) fn tradable(plan: &Plan, here: &Row) -> Option<Row> {
    (!plan.shape.table.uniques.is_empty() || plan.shape.beside().is_some()).then(|| here.clone())
}
