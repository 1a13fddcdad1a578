//! What becomes of a change that meets something under its key: the two rows as `merge` wants to see them, and what it says.
//!
//! Owns: [`Meeting`], of which the apply loop and `conflicts whatif` make the same decision. Refuses: deciding, which
//! `merge` does, reading and writing. Fails: what cannot be merged exactly is told ([`Merged::Open`]) and stays for a
//! person; nothing is guessed.

use crate::merge::columns::{self, Three, Unmerged};
use crate::merge::{self, Decision, Foreign, Own, Sight, Standing};
use crate::model::conflict::{ConflictKind, Local, Reason};
use crate::model::rules::{ColumnRule, TableRules};
use crate::model::stamp::{Kind, Rank};
use crate::model::value::Row;
use crate::plan::{Plan, PlannedOp};

/// A change, and what stands under its key on the node of this rank.
#[derive(Clone, Copy)]
pub(super) struct Meeting<'a> {
    pub(super) plan: &'a Plan,
    /// With the target's names of columns; `None`: nothing but the order of stamps.
    pub(super) rules: Option<&'a TableRules>,
    pub(super) me: Rank,
    pub(super) op: &'a PlannedOp,
    /// See [`crate::plan::Planned::is_blended`].
    pub(super) is_blended: bool,
    /// See [`crate::plan::Planned::is_own`].
    pub(super) is_own: bool,
    /// The source has to be sent the row anew.
    pub(super) is_raised: bool,
    pub(super) local: &'a Local,
}

/// What came of a merge of columns.
pub(super) enum Merged {
    /// Just what the order of stamps leaves; does the incoming row stand then?
    Ordered(bool),
    /// Something else, to be written above both stamps, and in words whose columns it has.
    Row(Row, String),
    /// It cannot be merged: why.
    Open(String),
}

impl Meeting<'_> {
    pub(super) fn decide(&self) -> Decision {
        let (plan, op, local) = (self.plan, self.op, self.local);
        let Some(incoming) = op.incoming() else {
            // A row that left the filter may have been kept, and comes again.
            if plan.keeps() && matches!(op, PlannedOp::Insert { .. }) {
                return Decision::Write {
                    conflict: None,
                    reason: Reason::Outside,
                };
            }
            return merge::decide_one_way(one_way(op), local.row.is_some());
        };
        let is_same = match (op, &local.row) {
            (PlannedOp::Insert { row, .. } | PlannedOp::Update { row, .. }, Some(here)) => {
                same_cells(row, here)
            }
            _ => false,
        };
        let arbitrates = self
            .rules
            .is_some_and(|rules| rules.arbiter == self.me && rules.is_arbitrated());
        let standing = Standing {
            row: local.row_stamp,
            tombstone: local.tombstone,
            is_same,
            is_base: (arbitrates || op.unraised().is_some()) && self.is_made_on(),
            sight: self.sight(),
            // Who holds a row is asked even where nothing but stamps is.
            foreign: (self.rules.is_some() || self.plan.judges())
                .then(|| self.foreign())
                .flatten(),
        };
        let decision = match self.rules {
            Some(rules) => merge::decide(rules, self.me, incoming, standing),
            None => merge::decide(&TableRules::default(), self.me, incoming, standing),
        };
        match (decision, self.is_blended) {
            (Decision::Write { conflict, .. }, true) => self.above(conflict),
            (decision, _) => decision,
        }
    }

    /// What the change writes of this node's own, or of one that it answers for. A row that the other node's Tidelock
    /// raised or deleted may have been an answer to ours, which no answer follows; its cells are ever this node's.
    fn foreign(&self) -> Option<Foreign> {
        let guards = self.plan.guards();
        let is_user = !self.is_own;
        match (self.op, &self.local.row) {
            (PlannedOp::Delete { stamp, .. }, Some(_)) => {
                let is_delete = stamp.is_some_and(|stamp| stamp.kind == Kind::Delete);
                (guards.deletes && is_user && is_delete).then_some(Foreign::Row)
            }
            (PlannedOp::Insert { .. } | PlannedOp::Update { .. }, None) if guards.inserts && is_user => {
                Some(Foreign::Row)
            }
            (PlannedOp::Insert { row, .. } | PlannedOp::Update { row, .. }, here) => {
                let is_foreign = |place: &usize| {
                    let column = &self.plan.shape.table.columns[*place];
                    match (row.get(*place), here.as_ref()) {
                        (None, _) => false,
                        (Some(comes), Some(here)) => here
                            .get(*place)
                            .is_none_or(|stands| !columns::is_same(stands, comes)),
                        (Some(comes), None) => !comes.is_null() || column.has_default,
                    }
                };
                match guards.columns.iter().any(is_foreign) {
                    true => Some(Foreign::Cells),
                    false => self.is_raised.then_some(Foreign::Computed),
                }
            }
            (PlannedOp::Delete { .. }, None) | (PlannedOp::Refused { .. }, _) => None,
        }
    }

    /// A row that is more than its stamp says is written above it.
    fn above(&self, conflict: Option<ConflictKind>) -> Decision {
        let own = match self.local.row {
            Some(_) => Own::Merge { incoming_wins: true },
            None => Own::Lift,
        };
        Decision::Own {
            own,
            conflict: conflict.unwrap_or(ConflictKind::UpdateOriginDiffers),
            reason: Reason::Merged,
        }
    }

    /// A contested update, column by column.
    pub(super) fn merged(&self, incoming_wins: bool) -> Merged {
        let plan = self.plan;
        let (incoming, before, stamp) = match self.op {
            PlannedOp::Update {
                row,
                before: Some(before),
                stamp: Some(stamp),
                ..
            } => (row, Some(before), stamp),
            // Only what another node owns is taken out of it.
            PlannedOp::Insert {
                row,
                stamp: Some(stamp),
                ..
            } => (row, None, stamp),
            _ => return Merged::Open("the row before the change is not known".to_owned()),
        };
        let (Some(standing), Some(standing_stamp)) = (&self.local.row, self.local.row_stamp) else {
            return Merged::Open("the row that it meets is not known".to_owned());
        };
        let base = match before.map(|before| plan.in_target_terms(before)) {
            Some(Ok(base)) => base,
            Some(Err(why)) => {
                return Merged::Open(format!("column {:?} before the change: {}", why.column, why.why));
            }
            None => Row(vec![None; incoming.0.len()].into_boxed_slice()),
        };
        let rows = Three {
            base: &base,
            incoming,
            standing,
        };
        let rules = column_rules(plan, self.rules);
        let lacking = before.and_then(|_| lacking(plan, &rules, &base, incoming));
        if let Some(place) = lacking {
            let column = &plan.shape.table.columns[place].name;
            return Merged::Open(format!(
                "column {column:?}: what it was before the change is not known"
            ));
        }
        let row = match columns::merge(&rules, rows, incoming_wins) {
            Ok(row) => row,
            Err(Unmerged(place)) => {
                let column = &plan.shape.table.columns[place].name;
                return Merged::Open(format!(
                    "column {column:?}: the difference cannot be added exactly"
                ));
            }
        };
        let rises = *stamp > standing_stamp;
        let leaves = if rises { incoming } else { standing };
        let is_ordered =
            values(plan).all(|place| row.get(place) == leaves.get(place) || incoming.get(place).is_none());
        match is_ordered && !(rises && self.is_blended) {
            true => Merged::Ordered(rises),
            false => {
                let words = told(plan, &rules, rows, &row);
                Merged::Row(row, words)
            }
        }
    }

    /// Was the change made on what stands here, whatever its stamp is by now?
    fn is_made_on(&self) -> bool {
        let before = match self.op {
            PlannedOp::Update { before, .. } => before.as_ref(),
            PlannedOp::Delete { before, .. } => Some(before),
            PlannedOp::Insert { .. } | PlannedOp::Refused { .. } => None,
        };
        let base = before.and_then(|before| self.plan.in_target_terms(before).ok());
        let (Some(base), Some(standing)) = (base, &self.local.row) else {
            return false;
        };
        values(self.plan).all(|place| base.get(place).is_some() && base.get(place) == standing.get(place))
    }

    /// How the standing row is seen, or without one the incoming row.
    fn sight(&self) -> Sight {
        let incoming = match self.op {
            PlannedOp::Insert { row, .. } | PlannedOp::Update { row, .. } => Some(row),
            PlannedOp::Delete { .. } | PlannedOp::Refused { .. } => None,
        };
        self.plan.sight(self.local.row.as_ref(), incoming)
    }
}

/// What two changes of one row come to, the second in place of the first: what `incoming` changed of `base` (which is in
/// the source's columns), carried over to `standing`, as the columns' rules have it. `None`: it cannot be told exactly.
pub(super) fn blended(
    plan: &Plan,
    rules: Option<&TableRules>,
    base: &Row,
    (incoming, standing): (&Row, &Row),
    incoming_wins: bool,
) -> Option<Row> {
    let base = plan.in_target_terms(base).ok()?;
    let rules = column_rules(plan, rules);
    if lacking(plan, &rules, &base, incoming).is_some() {
        return None;
    }
    let rows = Three {
        base: &base,
        incoming,
        standing,
    };
    let row = columns::merge(&rules, rows, incoming_wins).ok()?;
    plan.carried()
        .all(|place| row.get(place).is_some())
        .then_some(row)
}

/// By place; the stamps go with their row.
fn column_rules(plan: &Plan, given: Option<&TableRules>) -> Vec<ColumnRule> {
    let columns = &plan.shape.table.columns;
    let mut rules = vec![ColumnRule::Row; columns.len()];
    if let Some(given) = given {
        for place in values(plan) {
            rules[place] = given.column(&columns[place].name);
        }
    }
    let guards = plan.guards();
    guards
        .columns
        .iter()
        .for_each(|place| rules[*place] = ColumnRule::Standing);
    guards
        .yielded
        .iter()
        .for_each(|place| rules[*place] = ColumnRule::Incoming);
    rules
}

/// A column to be merged of which it is not known what it was before.
fn lacking(plan: &Plan, rules: &[ColumnRule], base: &Row, incoming: &Row) -> Option<usize> {
    values(plan).find(|place| {
        matches!(rules[*place], ColumnRule::Columns | ColumnRule::Delta)
            && incoming.get(*place).is_some()
            && base.get(*place).is_none()
    })
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

/// Is what users write in them the same, as far as the first has it?
pub(super) fn same_values(plan: &Plan, incoming: &Row, here: &Row) -> bool {
    values(plan).all(|place| incoming.get(place).is_none() || incoming.get(place) == here.get(place))
}

/// The places of what users write.
fn values(plan: &Plan) -> impl Iterator<Item = usize> {
    let stamps = plan
        .shape
        .stamps
        .as_ref()
        .map(|stamps| [stamps.version, stamps.origin]);
    plan.carried()
        .filter(move |place| !stamps.iter().flatten().any(|stamp| stamp == place))
}

/// Names, never values.
fn told(plan: &Plan, rules: &[ColumnRule], rows: Three<'_>, merged: &Row) -> String {
    let (mut incoming, mut standing, mut added) = (Vec::new(), Vec::new(), Vec::new());
    for place in values(plan) {
        let name = plan.shape.table.columns[place].name.as_str();
        let (arrives, stands, is) = (
            rows.incoming.get(place),
            rows.standing.get(place),
            merged.get(place),
        );
        if arrives == stands || arrives.is_none() {
            continue;
        }
        match (rules[place], is == arrives, is == stands) {
            (ColumnRule::Delta, false, false) => added.push(name),
            (_, true, _) => incoming.push(name),
            (_, false, _) => standing.push(name),
        }
    }
    let parts = [
        (incoming, "of the incoming row"),
        (standing, "of the standing row"),
        (added, "added"),
    ];
    let parts = parts.iter().filter(|(names, _)| !names.is_empty());
    let parts: Vec<String> = parts
        .map(|(names, of)| format!("{} {of}", names.join(", ")))
        .collect();
    parts.join("; ")
}
