//! Rows that a copy of several moments has left in each other's way are copied anew, until the stream has settled.
//!
//! Chunks that were read at different moments may hold one unique value twice: in the row that had it first and in the
//! one that has it now. And a row may be gone by then of which the log brings but a part. So such a row, and whoever
//! holds its values here, is read again at its source, by key, and made what it is there by now; what the stream then
//! still tells of them is old news, up to the settle position, which moves behind that moment.
//! Owns: that reading and writing. Refuses: rows that this node's users wrote, and values that two rows hold at the
//! source too; those stay contested as they were. Fails: as target and source do.
//!
//! One way no stamp tells a row that this node's users wrote from one that the copy brought. Where the source has none of
//! that key, it is taken away and recorded; the log tells of every row that the copy brought and the source has no more,
//! and what was recorded of it is withdrawn then.

use super::contested::{Contested, tradable};
use super::{Applier, inserted};
use crate::engine::{self, Target};
use crate::error::{Error, Result};
use crate::flow::spec::LinkSpec;
use crate::model::conflict::{Conflict, ConflictKind, Local, Outcome};
use crate::model::parked::{ParkKind, ParkedKey};
use crate::model::position::Position;
use crate::model::schema::Table;
use crate::model::stamp::Rank;
use crate::model::value::{Row, Value};
use crate::plan::evidence::key_json;
use crate::plan::guard::Guarding;
use crate::plan::{Address, Key, Plan, Planned, PlannedOp, Shape, Write, WriteOp, Written};
use std::sync::Arc;

/// How often rows are read again because one more was found in their way.
const ROUNDS_MAX: usize = 16;

/// Of rows from before Tidelock was enabled.
pub(super) const NOBODY: Rank = 0;

/// Only with this outcome are they of rows that were taken away: see [`Applier::withdraw`].
const TAKEN_AWAY: ConflictKind = ConflictKind::MultipleUniqueConflicts;
const WHY: &str =
    "it held a unique value that a row of the source has, and the source has none of its key: it was deleted";

/// Reads single rows of the source again.
#[derive(Default)]
pub(super) struct Renewer {
    source: Option<Target>,
    /// What is copied is not of the moment of the start.
    is_later: bool,
}

impl Renewer {
    pub(super) fn is_later(&self) -> bool {
        self.is_later
    }
}

/// A change that could not be written, and what it is if that cannot be helped.
pub(super) struct Stuck<'a> {
    pub(super) contested: Contested<'a>,
    pub(super) kinds: (ConflictKind, ParkKind),
    pub(super) why: String,
}

/// What is to become of a row.
enum Renewed {
    Write(Write),
    /// Nothing is here and nothing there.
    Gone,
    /// It is not ours to change.
    Left,
}

impl Applier {
    /// The rows to copy may be of different moments.
    pub(crate) fn copies_later_rows(&mut self) {
        self.renewer.is_later = true;
    }

    /// Does the target hold, or is it given, rows of different moments?
    pub(super) fn is_unsettled(&self) -> bool {
        self.renewer.is_later || self.checkpoint.settle.is_some()
    }

    pub(super) async fn renew(
        &mut self,
        plan: &Plan,
        stuck: Vec<Stuck<'_>>,
        conflicts: &mut Vec<Conflict>,
    ) -> Result<()> {
        let Some(first) = stuck.first() else { return Ok(()) };
        let is_known = self.is_unsettled() && !plan.source.is_beside() && plan.shape.beside().is_none();
        let address = first.contested.change.address.clone();
        let mut left: Vec<Key> = stuck
            .iter()
            .map(|stuck| stuck.contested.change.key.clone())
            .collect();
        if is_known {
            left = self.renew_keys(plan, left, &address, conflicts).await?;
        }
        for stuck in stuck {
            match left.contains(&stuck.contested.change.key) {
                true => self.open(plan, &stuck.contested, stuck.kinds, &stuck.why, conflicts)?,
                false => self.tally.noops += 1,
            }
        }
        Ok(())
    }

    /// Returns those that cannot be made what they are at the source.
    async fn renew_keys(
        &mut self,
        plan: &Plan,
        mut keys: Vec<Key>,
        address: &Address,
        conflicts: &mut Vec<Conflict>,
    ) -> Result<Vec<Key>> {
        self.wait_visible(plan, address).await?;
        for _ in 0..ROUNDS_MAX {
            let there = self.there(plan, &keys, address).await?;
            let locals = self.target.read(&plan.shape, &keys).await?;
            let (mut writes, mut left) = (Vec::new(), Vec::new());
            for (key, (there, local)) in keys.iter().zip(there.into_iter().zip(locals)) {
                match self.renewed_here(plan, key, there, &local) {
                    Renewed::Write(write) => writes.push((write, local)),
                    Renewed::Gone => {}
                    Renewed::Left => left.push(key.clone()),
                }
            }
            let (writes, locals): (Vec<Write>, Vec<Local>) = writes.into_iter().unzip();
            let written = self.target.write(&plan.shape, &writes).await?;
            let mut holders = Vec::new();
            for ((write, local), written) in writes.into_iter().zip(locals).zip(written) {
                match (written, &write.op) {
                    (Written::Done, WriteOp::Delete { .. }) if plan.shape.stamps.is_none() => {
                        conflicts.push(self.taken_away(plan, write.key, local, address));
                        continue;
                    }
                    (Written::Done, WriteOp::Delete { .. }) => {
                        self.went(plan, &write.key, &local);
                        continue;
                    }
                    (Written::Done, _) => continue,
                    (Written::UniqueTaken(_), WriteOp::Insert { row } | WriteOp::Update { row, .. }) => {
                        holders.extend(self.holders(plan, row).await?);
                    }
                    (Written::UniqueTaken(_) | Written::Lost | Written::Refused(_), _) => {}
                }
                left.push(write.key);
            }
            let before = keys.len();
            for holder in holders {
                if !keys.contains(&holder) {
                    keys.push(holder);
                }
            }
            if keys.len() == before {
                self.settle_later().await?;
                return Ok(left);
            }
        }
        Err(Error::transient("copy rows anew that others stand in the way of")
            .table(&plan.shape.table.id)
            .node(&self.spec.target.name))
    }

    /// A row that others refer to is not ours to take away, and of rows that it does not hold a spoke says nothing.
    fn renewed_here(&self, plan: &Plan, key: &Key, there: Option<Planned>, local: &Local) -> Renewed {
        if plan.judges() && !local.row.as_ref().is_some_and(|row| plan.holds(row)) {
            return Renewed::Left;
        }
        let renewed = renewed(plan, &self.spec, key, there, local);
        let deletes = matches!(&renewed, Renewed::Write(write) if matches!(write.op, WriteOp::Delete { .. }));
        let mut bytes = Vec::new();
        key.iter().for_each(|value| value.key_bytes(&mut bytes));
        let at = ParkedKey::of(plan.shape.table.id.clone(), &bytes);
        match deletes && self.foreign.orphan(&at).is_some() {
            true => Renewed::Left,
            false => renewed,
        }
    }

    fn taken_away(&self, plan: &Plan, key: Key, local: Local, address: &Address) -> Conflict {
        let change = Planned {
            key,
            // It is of no layer.
            key_bytes: Vec::new(),
            op: PlannedOp::Delete {
                before: Row(vec![None; plan.source.columns.len()].into_boxed_slice()),
                base: None,
                stamp: None,
            },
            address: address.clone(),
            moves: false,
            is_blended: false,
            guarding: Guarding::No,
            is_own: false,
        };
        let contested = Contested {
            change: &change,
            local,
        };
        let conflict = self.record(plan, &contested, TAKEN_AWAY, Outcome::Applied, WHY);
        Conflict {
            base: None,
            ..conflict
        }
    }

    /// The source had these rows: what was recorded of them when they were taken away was no conflict.
    pub(super) async fn withdraw(&mut self, plan: &Plan, changes: &[Planned], empties: bool) -> Result<()> {
        if !self.is_unsettled() || plan.shape.stamps.is_some() || (changes.is_empty() && !empties) {
            return Ok(());
        }
        let keys: Vec<String> = match empties {
            true => Vec::new(),
            false => changes.iter().map(|change| key_json(&change.key)).collect(),
        };
        let (link, table) = (
            (self.spec.sync.as_str(), self.spec.id.as_str()),
            &plan.shape.table.id,
        );
        self.target.withdraw(link, table, TAKEN_AWAY, &keys).await
    }

    /// What is applied may not be visible at the source yet, and would be undone by a row from before it. What a copy's
    /// lane writes the stream comes past once more.
    async fn wait_visible(&self, plan: &Plan, address: &Address) -> Result<()> {
        if self.checkpoint.settle.is_none() {
            return Ok(());
        }
        let (source, here) = (&self.spec.source, &self.position);
        // The end of a large transaction is not known yet.
        let reached = match here.after(&address.head.transaction) {
            Some(after) if !covers(here, &after)? => after,
            Some(_) | None => here.clone(),
        };
        engine::visible(source.engine, &source.access, &reached, &plan.source.id).await
    }

    /// What was read is of now, so the stream is settled no sooner.
    async fn settle_later(&mut self) -> Result<()> {
        if self.checkpoint.lane > 0 {
            // The end of the copy tells.
            return Ok(());
        }
        let source = &self.spec.source;
        let end = engine::settle_position(source.engine, &source.access).await?;
        self.settle(Some(end)).await
    }

    /// The rows under these keys at the source, in the target's terms.
    async fn there(&mut self, plan: &Plan, keys: &[Key], address: &Address) -> Result<Vec<Option<Planned>>> {
        let back = plan.back(&self.spec.passage(&plan.source.id))?;
        let spec = &self.spec.source;
        let source = match &mut self.renewer.source {
            Some(source) => source,
            none => none.insert(Target::open_to_read(spec.engine, &spec.access).await?),
        };
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let mut cells: Vec<Option<Value>> = vec![None; plan.shape.table.columns.len()];
            for (place, value) in plan.shape.table.key.iter().zip(key.iter()) {
                cells[*place] = Some(value.clone());
            }
            let mut planned = None;
            if let Some(there) = back.key_from(&cells.into_iter().collect())? {
                for row in source.alike(&back.shape, &there).await? {
                    if plan.takes(&row)? {
                        planned = Some(plan.copied(&row, address)?)
                            .filter(|row| row.key == *key)
                            .or(planned);
                    }
                }
            }
            found.push(planned);
        }
        Ok(found)
    }

    /// Keys of the rows here that hold a unique value of this row, as far as unique keys name columns.
    async fn holders(&mut self, plan: &Plan, row: &Row) -> Result<Vec<Key>> {
        let table = &plan.shape.table;
        let mut found = Vec::new();
        for unique in table.uniques.iter().filter(|unique| !unique.is_empty()) {
            let values: Option<Vec<Value>> = unique.iter().map(|place| row.get(*place).cloned()).collect();
            let Some(values) = values.filter(|values| values.iter().all(|value| !value.is_null())) else {
                continue;
            };
            // The same table as if the unique columns were its key: by them the row is found.
            let by_unique = Shape {
                table: Arc::new(Table {
                    key: unique.clone(),
                    ..Table::clone(table)
                }),
                stamps: None,
                untouched: plan.shape.untouched.clone(),
            };
            for holder in self.target.alike(&by_unique, &values.into_boxed_slice()).await? {
                let key = table.key.iter().map(|place| holder.get(*place).cloned());
                let key = key.collect::<Option<Vec<Value>>>().map(Vec::into_boxed_slice);
                // A row without an external id is this node's own.
                found.extend(key.filter(|key| !key.iter().any(Value::is_null)));
            }
        }
        Ok(found)
    }
}

fn covers(one: &Position, other: &Position) -> Result<bool> {
    one.covers(other)
        .map_err(|error| Error::bug("compare positions").because(error))
}

fn renewed(plan: &Plan, link: &LinkSpec, key: &Key, there: Option<Planned>, local: &Local) -> Renewed {
    let standing = local.row_stamp.max(local.tombstone);
    if standing.is_some_and(|stamp| stamp.origin == link.target.rank) {
        return Renewed::Left;
    }
    let write = |op| Renewed::Write(Write { key: key.clone(), op });
    match (there.map(|planned| planned.op), &local.row) {
        (Some(PlannedOp::Insert { stamp, .. }), _) if stamp < standing => Renewed::Left,
        (Some(PlannedOp::Insert { row, .. }), Some(here)) => write(WriteOp::Update {
            row,
            base: None,
            here: tradable(plan, here),
        }),
        (Some(PlannedOp::Insert { row, .. }), None) => write(WriteOp::Insert {
            row: inserted(&row, None),
        }),
        (Some(_), _) => Renewed::Left,
        // It came from a third node, which has not told the source yet.
        (None, Some(_))
            if standing.is_some_and(|stamp| ![link.source.rank, NOBODY].contains(&stamp.origin)) =>
        {
            Renewed::Left
        }
        (None, Some(_)) => write(WriteOp::Delete {
            base: None,
            tombstone: None,
        }),
        (None, None) => Renewed::Gone,
    }
}
