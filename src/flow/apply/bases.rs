//! What a change that waits was made on, kept where columns are merged: a merge needs it whenever its turn comes.
//!
//! Owns: packing that row behind the change's own, finding it again for a change that goes on from the one that waits, the
//! turn of one that a later change does not go on from, and the two in one where neither can be applied. Refuses: deciding,
//! which `merge` does. Elsewhere than at the arbiter of a table whose columns are merged nothing is kept or asked for.
//! Fails: what cannot be carried over to a later change stays an open conflict, and the log says so.

use super::Applier;
use super::again::planned_of;
use super::parking::park_key;
use super::waiting::Entry;
use crate::error::Result;
use crate::flow::decision::blended;
use crate::model::conflict::Conflict;
use crate::model::packed::{append, unpack};
use crate::model::parked::{Parked, ParkedKey};
use crate::model::schema::Table;
use crate::model::stamp::Stamp;
use crate::model::value::{Row, Value};
use crate::plan::{Plan, Planned, PlannedOp};
use foldhash::HashMap;
use tracing::warn;

/// Before the names of cells of the row that a change was made on; no column's name has it.
const WAS: &str = "\0";
/// The name of the cell that marks a change as two in one.
const BLENDED: &str = "\0\0";

impl Applier {
    /// Is this node the one that merges the table's columns?
    fn merges_columns(&self, plan: &Plan) -> bool {
        self.rules(plan)
            .is_some_and(|rules| rules.merges() && rules.arbiter == self.spec.target.rank)
    }

    /// Behind the row's cells those of the row it was made on, where they will be asked for.
    pub(super) fn cells_with(&self, plan: &Plan, mut cells: Vec<u8>, before: Option<&Row>) -> Vec<u8> {
        let Some(before) = before.filter(|_| self.merges_columns(plan)) else {
            return cells;
        };
        let columns = plan.source.columns.iter();
        let names: Vec<String> = columns.map(|column| format!("{WAS}{}", column.name)).collect();
        let were = before.0.iter().map(Option::as_ref);
        append(names.iter().map(String::as_str).zip(were), &mut cells);
        cells
    }

    /// The changes that wait, of which these go on.
    pub(super) async fn gone_on_from(
        &mut self,
        plan: &Plan,
        changes: &[Planned],
    ) -> Result<HashMap<ParkedKey, Planned>> {
        let mut firsts = HashMap::default();
        for parked in self.waiting_under(plan, changes, |is_next| is_next).await? {
            if let Some(first) = planned_of(plan, &parked, self.spec.source.rank)? {
                firsts.insert(parked.at, first);
            }
        }
        Ok(firsts)
    }

    /// A change that stands for both is merged against what both were made on, and holds what both changed.
    pub(super) fn goes_on(
        &mut self,
        plan: &Plan,
        first: Option<Planned>,
        later: &Planned,
        mut chained: Planned,
    ) -> Planned {
        let Some(first) = first else { return chained };
        let made_on = match &first.op {
            PlannedOp::Update { before, .. } | PlannedOp::Refused { before, .. } => before.clone(),
            PlannedOp::Insert { .. } | PlannedOp::Delete { .. } => None,
        };
        match (&mut chained.op, &later.op, &first.op) {
            (
                PlannedOp::Update { row, before, .. },
                PlannedOp::Update {
                    row: is,
                    before: Some(was),
                    ..
                },
                PlannedOp::Update { row: waits, .. },
            ) if first.is_blended => match blended(plan, self.rules(plan), was, (is, waits), true) {
                Some(both) => {
                    (*row, *before) = (both, made_on);
                    chained.is_blended = true;
                }
                None => self.leave_open(&park_key(plan, later)),
            },
            (PlannedOp::Update { before, .. }, ..) => *before = made_on,
            (PlannedOp::Refused { before, .. }, ..) => {
                *before = made_on;
                if first.is_blended {
                    self.leave_open(&park_key(plan, later));
                }
            }
            (PlannedOp::Insert { .. } | PlannedOp::Delete { .. }, ..) => {}
        }
        chained
    }

    /// A later change of a row that waits was made on something else, which this node sent meanwhile: what waits has its turn
    /// first, because the later one does not hold what it changed. One that still cannot be applied waits on, whatever
    /// becomes of the later one.
    pub(super) async fn overtaken(
        &mut self,
        plan: &Plan,
        changes: &[Planned],
        conflicts: &mut Vec<Conflict>,
    ) -> Result<()> {
        let parked = self.waiting_under(plan, changes, |is_next| !is_next).await?;
        let (mut first, mut all) = (Vec::with_capacity(parked.len()), Vec::new());
        for parked in parked.iter().filter(|parked| parked.operation != "delete") {
            let Some(change) = planned_of(plan, parked, self.spec.source.rank)? else {
                continue;
            };
            all.push(change.clone());
            if matches!(change.op, PlannedOp::Refused { .. }) {
                self.ledger.waits.insert(park_key(plan, &change));
            } else if !self.must_wait(plan, &change, conflicts)? {
                first.push(change);
            }
        }
        self.settle_contested(plan, first.iter().collect(), conflicts)
            .await?;
        self.conclude(plan, &first, "it was tried again, and its cause was gone");
        let waits_on = all
            .into_iter()
            .map(|change| (park_key(plan, &change), change))
            .filter(|(at, _)| self.ledger.waits.contains(at));
        self.ledger.overtaken = waits_on.collect();
        Ok(())
    }

    /// A person's decision takes up what it decides in the transaction of its write: that waits no more, and later changes
    /// are not made on it.
    pub(super) async fn decided_meanwhile(&mut self, plan: &Plan, changes: &[Planned]) -> Result<()> {
        let rules = self.rules(plan);
        let me = self.spec.target.rank;
        let arbitrates = rules.is_some_and(|rules| rules.is_arbitrated() && rules.arbiter == me);
        if !arbitrates || !self.waiting.has(&plan.shape.table.id) {
            return Ok(());
        }
        let keys = changes.iter().map(|change| park_key(plan, change));
        let keys: Vec<ParkedKey> = keys.filter(|at| self.waiting.get(at).is_some()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let (sync, link) = (self.spec.sync.clone(), self.spec.id.clone());
        let parked = self.target.parked_rows(&sync, &link, &keys).await?;
        let decided = keys
            .iter()
            .filter(|at| parked.iter().all(|parked| parked.at != **at));
        decided.for_each(|at| drop(self.waiting.remove(at)));
        Ok(())
    }

    /// A change that cannot be applied either, while one of its row waits on that it was not made on: the two in one, or
    /// the record of the first one stays open. `None`: it waits as it came.
    pub(super) fn blended_with_overtaken(&mut self, plan: &Plan, later: &Planned) -> Option<Planned> {
        let at = park_key(plan, later);
        let first = self.ledger.overtaken.remove(&at)?;
        let both = match (&first.op, &later.op) {
            (
                PlannedOp::Update {
                    row: waits,
                    before: Some(was),
                    ..
                },
                PlannedOp::Update { row: is, .. },
            ) => blended(plan, self.rules(plan), was, (waits, is), false),
            (PlannedOp::Update { .. } | PlannedOp::Refused { .. }, PlannedOp::Update { .. })
            | (PlannedOp::Update { .. } | PlannedOp::Refused { .. }, PlannedOp::Refused { .. }) => None,
            // A whole row comes or goes.
            _ => return None,
        };
        let Some(both) = both else {
            self.leave_open(&at);
            return None;
        };
        let mut blended = later.clone();
        if let PlannedOp::Update { row, .. } = &mut blended.op {
            blended.is_blended = later.is_blended || both != *row;
            *row = both;
        }
        Some(blended)
    }

    /// A later change takes the place of this one and cannot hold what it changed: that is left to a person.
    fn leave_open(&mut self, at: &ParkedKey) {
        let Some(entry) = self.waiting.get(at).cloned() else {
            return;
        };
        warn!(
            event = "replaced_while_waiting", link = %self.spec.id, table = %at.table,
            conflict = entry.conflict.as_deref().unwrap_or_default(),
            "a later change of a row waits in place of the first, whose columns cannot be merged with it: its conflict \
             stays open for a person"
        );
        let conflict = None;
        self.waiting.insert(at.clone(), Entry { conflict, ..entry });
    }

    /// What waits under the keys of these changes, of those that are made on it or of the others.
    async fn waiting_under(
        &mut self,
        plan: &Plan,
        changes: &[Planned],
        chosen: fn(bool) -> bool,
    ) -> Result<Vec<Parked>> {
        if !self.merges_columns(plan) || !self.waiting.tries(&plan.shape.table.id) {
            return Ok(Vec::new());
        }
        let is_chosen = |change: &&Planned| {
            let entry = self.waiting.get(&park_key(plan, change));
            let entry = entry.filter(|entry| !entry.kind.is_for_a_person());
            entry.is_some_and(|entry| chosen(entry.stamp.is_some() && base_of(&change.op) == entry.stamp))
        };
        let keys = changes.iter().filter(is_chosen);
        let keys: Vec<ParkedKey> = keys.map(|change| park_key(plan, change)).collect();
        match keys.is_empty() {
            true => Ok(Vec::new()),
            false => {
                let (sync, link) = (self.spec.sync.clone(), self.spec.id.clone());
                self.target.parked_rows(&sync, &link, &keys).await
            }
        }
    }
}

pub(super) fn mark_blended(cells: &mut Vec<u8>) {
    append([(BLENDED, Some(&Value::Int(1)))].into_iter(), cells);
}

pub(super) fn is_blended(cells: &[u8]) -> bool {
    unpack(cells).is_some_and(|cells| cells.iter().any(|(name, _)| name == BLENDED))
}

fn base_of(op: &PlannedOp) -> Option<Stamp> {
    match op {
        PlannedOp::Update { base, .. } | PlannedOp::Delete { base, .. } | PlannedOp::Refused { base, .. } => {
            *base
        }
        PlannedOp::Insert { .. } => None,
    }
}

/// The row that the change was made on, in the source's columns. `None`: it was not kept.
pub(super) fn before_of(source: &Table, cells: &[u8]) -> Option<Row> {
    let cells = unpack(cells)?;
    let was = cells.into_iter().filter_map(|(name, value)| {
        let name = name.strip_prefix(WAS)?.to_owned();
        Some((name, value))
    });
    let mut was: HashMap<String, Option<Value>> = was.collect();
    if was.is_empty() {
        return None;
    }
    let columns = source.columns.iter();
    Some(columns.map(|column| was.remove(&column.name).flatten()).collect())
}
