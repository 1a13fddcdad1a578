//! Parking: a change that cannot be applied waits, with what comes later of its key; everything else flows.
//!
//! Owns: which arriving changes join those that wait, when a wait is over, and what is written of both in the
//! transaction that would have applied the change. Refuses: deciding between rows, which `merge` does; the cells of what
//! waits lie in `tidelock.parked` alone. Fails: `Refused` when more waits than `limits.parked_rows_max` or
//! `limits.parked_bytes_max` allow: the link stops right before that change.
//!
//! A wait that is left to a person ends by a stamp above both: one that arrives, or a write here. Every other change is
//! decided anew, the usual way, when a later one of its key arrives or its cause may have gone (`super::again`).
//!
//! **One change waits of a key**, and a later one takes its place. Nothing is lost by that. A change carries its whole row,
//! and those of one link come in the order of their source's log, so the later one was made either on the first, and holds
//! all that it changed, or on what another node wrote over the first, which the source has decided by stamps and recorded.
//! So it is based on what the first one was based on, or beats it. Only where columns are merged is there more to keep:
//! what the first one changed still counts after its row was written over. `super::bases` carries it over to the later
//! one, or leaves the record of the first one open for a person.

use super::bases::mark_blended;
use super::contested::{Contested, Decided, decided_write};
use super::waiting::Entry;
use super::{Applier, inserted, own_of};
use crate::error::{Error, Reason as Cause, Result};
use crate::flow::record;
use crate::model::conflict::{Conflict, ConflictKind, Local, Reason, Settling};
use crate::model::packed::{pack, unpack};
use crate::model::parked::{MissedBump, ParkKind, Parked, ParkedKey};
use crate::model::schema::{Table, TableId};
use crate::model::stamp::Stamp;
use crate::model::value::{Row, Value};
use crate::plan::evidence::key_json;
use crate::plan::{Key, Plan, Planned, PlannedOp};
use foldhash::{HashMap, HashSet};
use std::collections::BTreeMap;

/// How a wait ended that was left to a person.
pub(super) const ABOVE_HERE: &str = "a later write on this node is above both";

/// What the open transaction does to changes that wait, until it is written with its layer.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    parked: Vec<Parked>,
    ended: Vec<ParkedKey>,
    /// Open conflicts that are settled, by how they were.
    settled: BTreeMap<&'static str, Vec<String>>,
    pub(super) bumps: Vec<MissedBump>,
    /// Keys that wait, or wait on, after this layer.
    pub(super) waits: HashSet<ParkedKey>,
    /// Changes that wait on beside a later one of their row, which was not made on them.
    pub(super) overtaken: HashMap<ParkedKey, Planned>,
    /// The transaction has changed something about what waits.
    pub(super) is_altered: bool,
}

/// A layer's changes without those that wait.
pub(super) struct Diverted {
    pub(super) plain: Vec<Planned>,
    /// Of keys that waited, or whose delete is in question: decided from a locking read.
    pub(super) again: Vec<Planned>,
}

pub(super) fn park_key(plan: &Plan, change: &Planned) -> ParkedKey {
    ParkedKey::of(plan.shape.table.id.clone(), &change.key_bytes)
}

impl Applier {
    /// What waits for this link, and the foreign keys among its tables. Nothing is forgotten over a restart.
    pub(crate) async fn load(&mut self) -> Result<()> {
        if !self.spec.is_merge() {
            return Ok(());
        }
        for (parked, bytes) in self.target.parked(&self.spec.sync, &self.spec.id).await? {
            let at = parked.at.clone();
            self.waiting.insert(at, entry_of(&parked, bytes));
        }
        self.waiting.confirm();
        self.recall_orphans();
        self.watches_parents().await
    }

    /// Names of the key's columns of each table.
    pub(crate) fn knows(&mut self, keys: HashMap<TableId, Vec<String>>) {
        self.parent_keys = keys;
    }

    /// Takes out of a layer what has to wait. `None`: nothing of it does.
    pub(super) async fn divert(
        &mut self,
        plan: &Plan,
        changes: &[Planned],
        conflicts: &mut Vec<Conflict>,
    ) -> Result<Option<Diverted>> {
        let table = &plan.shape.table.id;
        let keys = changes.iter().map(|change| &*change.key_bytes);
        let concerns =
            self.waiting.meets(table, keys) || self.foreign.concerns(table) || self.has_waiting_parent(table);
        if plan.shape.stamps.is_none() || !concerns {
            return Ok(None);
        }
        let mut diverted = Diverted {
            plain: Vec::with_capacity(changes.len()),
            again: Vec::new(),
        };
        let (mut personal, mut deletes) = (Vec::new(), Vec::new());
        let mut firsts = self.gone_on_from(plan, changes).await?;
        for change in changes {
            let at = park_key(plan, change);
            let waiting = self.waiting.get(&at);
            let waited = waiting.is_some();
            let change = match waiting {
                Some(entry) if matches!(change.op, PlannedOp::Refused { .. }) => {
                    let chained = chained(entry, change);
                    self.goes_on(plan, firsts.remove(&at), change, chained)
                }
                Some(entry) if entry.kind.is_for_a_person() => {
                    personal.push((change.clone(), entry.clone()));
                    continue;
                }
                Some(entry) => {
                    let (kind, conflict) = (entry.kind, entry.conflict.clone());
                    let chained = chained(entry, change);
                    let change = self.goes_on(plan, firsts.remove(&at), change, chained);
                    if change.is_blended {
                        self.waits_on(plan, &change, kind, conflict)?;
                        continue;
                    }
                    change
                }
                None => change.clone(),
            };
            if self.must_wait(plan, &change, conflicts)? {
                continue;
            }
            match (&change.op, self.foreign.orphan(&at).is_some()) {
                (PlannedOp::Delete { .. }, true) => deletes.push(change),
                (PlannedOp::Refused { .. }, _) => diverted.plain.push(change),
                _ if waited => diverted.again.push(change),
                _ => diverted.plain.push(change),
            }
        }
        let personal = self.personal(plan, personal, conflicts).await?;
        diverted.again.extend(personal);
        let deletes = self
            .keep_parents(plan, deletes.iter().collect(), conflicts)
            .await?;
        diverted.again.extend(deletes.into_iter().cloned());
        Ok(Some(diverted))
    }

    /// Does its parent wait, or stand nowhere? Then so does this.
    pub(super) fn must_wait(
        &mut self,
        plan: &Plan,
        change: &Planned,
        conflicts: &mut Vec<Conflict>,
    ) -> Result<bool> {
        let (PlannedOp::Insert { row, .. } | PlannedOp::Update { row, .. }) = &change.op else {
            return Ok(false);
        };
        let at = park_key(plan, change);
        // What waits for a reason of its own keeps it, so that two rows that refer to each other do not wait for ever.
        let is_free = self
            .waiting
            .get(&at)
            .is_none_or(|entry| entry.kind == ParkKind::Waits);
        // Rows that refer to each other are tried together; one that goes in without the other is found again.
        let hopes = self.foreign.orphan(&at).is_none();
        if is_free {
            if let Some((parent, why)) = self.waiting_parent(plan, row, &at, hopes) {
                self.wait_for(plan, change, &parent, why)?;
                return Ok(true);
            }
            if hopes && self.waiting_parent(plan, row, &at, false).is_some() {
                self.hoping.insert(at.clone());
            }
        }
        let Some(why) = self.foreign.orphan(&at).cloned() else {
            return Ok(false);
        };
        let contested = Contested {
            change,
            local: Local::default(),
        };
        self.open(
            plan,
            &contested,
            (ConflictKind::FkMissing, ParkKind::FkMissing),
            &why,
            conflicts,
        )?;
        Ok(true)
    }

    /// A change that cannot be applied: an open conflict, and in a merge it waits.
    pub(super) fn open(
        &mut self,
        plan: &Plan,
        contested: &Contested<'_>,
        (kind, park): (ConflictKind, ParkKind),
        why: &str,
        conflicts: &mut Vec<Conflict>,
    ) -> Result<()> {
        let conflict = self.opened(plan, contested, kind, why);
        if plan.shape.stamps.is_none() {
            conflicts.push(conflict);
            return Ok(());
        }
        let at = park_key(plan, contested.change);
        self.ledger.waits.insert(at.clone());
        let stamp = stamp_of(&contested.change.op);
        let blended = self.blended_with_overtaken(plan, contested.change);
        let waits = Contested {
            change: blended.as_ref().unwrap_or(contested.change),
            local: contested.local.clone(),
        };
        let mut parked = self.parked_of(plan, &waits, park, &conflict.detail);
        parked.conflict = Some(conflict.id.clone());
        match self.waiting.get(&at) {
            Some(before) if before.stamp == stamp && before.conflict.is_some() => {
                // A later change that did not raise its version has the same stamp, and waits in place of the first.
                if before.kind == park && before.position == parked.source_position {
                    return Ok(());
                }
                parked.conflict.clone_from(&before.conflict);
            }
            Some(before) => {
                let settled = self
                    .ledger
                    .settled
                    .entry("a later change of the row waits in its place");
                settled.or_default().extend(before.conflict.clone());
                conflicts.push(conflict);
            }
            None => conflicts.push(conflict),
        }
        self.wait(parked)
    }

    fn wait_for(&mut self, plan: &Plan, change: &Planned, parent: &ParkedKey, why: String) -> Result<()> {
        let at = park_key(plan, change);
        self.ledger.waits.insert(at.clone());
        let blended = self.blended_with_overtaken(plan, change);
        let change = blended.as_ref().unwrap_or(change);
        let stamp = stamp_of(&change.op);
        if let Some(before) = self.waiting.get(&at) {
            let is_it = before.stamp == stamp && before.position == record::address(change);
            if before.kind == ParkKind::Waits && is_it {
                return Ok(());
            }
            let settled = self
                .ledger
                .settled
                .entry("its parent waits, and it waits for that");
            settled.or_default().extend(before.conflict.clone());
        }
        let contested = Contested {
            change,
            local: Local::default(),
        };
        let mut parked = self.parked_of(plan, &contested, ParkKind::Waits, &why);
        parked.waits_for = Some(format!("{}#{}", parent.table, parent.digits()));
        self.wait(parked)
    }

    /// A change that went on from one that waits is more than it says: it waits too, until it is tried again with all that
    /// belongs to that.
    fn waits_on(
        &mut self,
        plan: &Plan,
        change: &Planned,
        kind: ParkKind,
        conflict: Option<String>,
    ) -> Result<()> {
        self.ledger.waits.insert(park_key(plan, change));
        let contested = Contested {
            change,
            local: Local::default(),
        };
        let reason = "it goes on from a change of the row that waits";
        let mut parked = self.parked_of(plan, &contested, kind, reason);
        parked.conflict = conflict;
        self.is_due = true;
        self.wait(parked)
    }

    fn wait(&mut self, parked: Parked) -> Result<()> {
        let entry = entry_of(&parked, parked.bytes());
        self.waiting.insert(parked.at.clone(), entry);
        let limits = &self.spec.limits;
        let (rows, bytes) = (self.waiting.rows(), self.waiting.bytes());
        if rows > limits.parked_rows_max || bytes > limits.parked_bytes_max {
            return Err(Error::definite("let one more change wait")
                .node(&self.spec.target.name)
                .table(&parked.at.table)
                .reason(Cause::Refused)
                .why(format!(
                    "{rows} changes of link {} with {bytes} bytes would wait, more than limits.parked_rows_max = {} or \
                     limits.parked_bytes_max = {} allow; this one: {}",
                    self.spec.id, limits.parked_rows_max, limits.parked_bytes_max, parked.reason
                ))
                .hint(
                    "`tidelock conflicts list --open` says why they wait: mend that, or raise the limit in [limits]; \
                     then `tidelock run`",
                ));
        }
        self.ledger.parked.push(parked);
        Ok(())
    }

    /// Later changes of keys that are left to a person: one above both stamps ends the wait, another replaces what waits.
    /// Returns what is to be decided as if nothing had waited, because a write here was above both before it came.
    async fn personal(
        &mut self,
        plan: &Plan,
        changes: Vec<(Planned, Entry)>,
        conflicts: &mut Vec<Conflict>,
    ) -> Result<Vec<Planned>> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<Key> = changes.iter().map(|(change, _)| change.key.clone()).collect();
        let locals = self.target.read(&plan.shape, &keys).await?;
        let (mut fresh, mut above, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for ((change, entry), local) in changes.iter().zip(locals) {
            let stands = local.row_stamp.max(local.tombstone);
            let came = stamp_of(&change.op);
            if is_settled_here(entry, &local) {
                self.end(park_key(plan, change), ABOVE_HERE);
                fresh.push(change.clone());
            } else if came > entry.stamp && came > stands {
                let contested = Contested { change, local };
                match decided_write(plan, &contested) {
                    Some(write) => above.push(Decided {
                        write,
                        contested,
                        conflict: None,
                        reason: Reason::Greater,
                    }),
                    None => left.push((contested, entry)),
                }
            } else {
                left.push((Contested { change, local }, entry));
            }
        }
        for (contested, entry) in left {
            let kind = match entry.kind {
                ParkKind::NotWhole => ConflictKind::UpdateMissing,
                _ => ConflictKind::UpdateOriginDiffers,
            };
            let why = "a later change of a row that waits for a person";
            let change = chained(entry, contested.change);
            let contested = Contested {
                change: &change,
                local: contested.local,
            };
            self.open(plan, &contested, (kind, entry.kind), why, conflicts)?;
        }
        let ended = above
            .iter()
            .map(|decided: &Decided<'_>| park_key(plan, decided.contested.change));
        let ended: Vec<ParkedKey> = ended.collect();
        let lost = self.write_decided(plan, above, conflicts).await?;
        for at in ended {
            if !self.ledger.waits.contains(&at) {
                self.end(at, "a write above both arrived");
            }
        }
        fresh.extend(lost.into_iter().cloned());
        Ok(fresh)
    }

    /// Waits of these keys are over, except for those that wait anew.
    pub(super) fn conclude(&mut self, plan: &Plan, again: &[Planned], how: &'static str) {
        for change in again {
            let at = park_key(plan, change);
            if self.waiting.get(&at).is_some() && !self.ledger.waits.contains(&at) {
                self.end(at, how);
            }
        }
    }

    pub(super) fn end(&mut self, at: ParkedKey, how: &'static str) {
        // What refers to it may go on.
        self.is_due = true;
        let conflict = self.waiting.remove(&at).and_then(|entry| entry.conflict);
        self.ledger.settled.entry(how).or_default().extend(conflict);
        self.ledger.ended.push(at);
    }

    /// The key waits, and its row was never written here: that it is missing is no news.
    pub(super) fn is_of_waiting(
        &self,
        plan: &Plan,
        change: &Planned,
        conflict: Option<ConflictKind>,
    ) -> bool {
        let missing = [ConflictKind::UpdateMissing, ConflictKind::DeleteMissing];
        conflict.is_some_and(|kind| missing.contains(&kind))
            && !self.waiting.is_empty()
            && self.waiting.get(&park_key(plan, change)).is_some()
    }

    /// A row that a tombstone keeps out here may still stand on its own node: see `flow::aside`.
    pub(super) fn note_bump(&mut self, plan: &Plan, contested: &Contested<'_>) {
        let Contested { change, local } = contested;
        let (Some(incoming), false) = (change.op.incoming(), plan.is_apart()) else {
            return;
        };
        let (None, Some(standing), false) = (local.row_stamp, local.tombstone, incoming.is_delete()) else {
            return;
        };
        self.ledger.bumps.push(MissedBump {
            at: park_key(plan, change),
            key_cells: key_cells(&plan.shape.table, &change.key),
            standing,
            stamp: incoming.stamp(),
            position: None,
        });
    }

    /// Updates that did not raise their version are counted, and noted for the link back: it touches the row where that was
    /// written.
    pub(super) fn note_unraised(&mut self, plan: &Plan, changes: &[Planned]) {
        for change in changes {
            let Some(stamp) = change.op.unraised() else {
                continue;
            };
            self.tally.missed_bumps += 1;
            if !plan.is_apart() {
                self.ledger.bumps.push(MissedBump {
                    at: park_key(plan, change),
                    key_cells: key_cells(&plan.shape.table, &change.key),
                    standing: stamp,
                    stamp,
                    position: None,
                });
            }
        }
    }

    /// Writes what the layer did to changes that wait. Conflicts are closed before new ones are recorded.
    pub(super) async fn write_waits(&mut self, conflicts: &[Conflict]) -> Result<()> {
        let ledger = std::mem::take(&mut self.ledger);
        let (sync, link) = (self.spec.sync.clone(), self.spec.id.clone());
        for (how, ids) in &ledger.settled {
            let settling = Settling {
                by: "tidelock",
                how,
                overrides: false,
            };
            if !ids.is_empty() {
                self.target.settle_conflicts(&sync, ids, settling).await?;
            }
        }
        let ended: HashSet<&ParkedKey> = ledger.ended.iter().collect();
        if !ended.is_empty() && self.target.unpark(&sync, &link, &ledger.ended).await? < ended.len() as u64 {
            return Err(Error::transient("take up changes that waited")
                .node(&self.spec.target.name)
                .why("a person decided one of them meanwhile"));
        }
        if !ledger.parked.is_empty() {
            self.target.park(&sync, &link, &ledger.parked).await?;
        }
        if !ledger.bumps.is_empty() {
            self.target.note_bumps(&sync, &link, &ledger.bumps).await?;
            self.has_noted = true;
        }
        let is_altered = ledger.is_altered
            || !(ledger.ended.is_empty()
                && ledger.parked.is_empty()
                && ledger.bumps.is_empty()
                && conflicts.is_empty());
        self.ledger.is_altered = is_altered;
        Ok(())
    }

    fn parked_of(&self, plan: &Plan, contested: &Contested<'_>, kind: ParkKind, reason: &str) -> Parked {
        let (change, table) = (contested.change, &plan.shape.table);
        let (operation, is_source, row_cells, base) = match &change.op {
            PlannedOp::Insert { row, .. } => {
                let row = inserted(row, own_of(&change.op));
                ("insert", false, row_cells(table, &row), None)
            }
            PlannedOp::Update {
                row, base, before, ..
            } => {
                let mut cells = self.cells_with(plan, row_cells(table, row), before.as_ref());
                if change.is_blended {
                    mark_blended(&mut cells);
                }
                ("update", false, cells, *base)
            }
            PlannedOp::Delete { before, base, .. } => {
                ("delete", true, row_cells(&plan.source, before), *base)
            }
            PlannedOp::Refused {
                incoming,
                before,
                operation,
                base,
                ..
            } => {
                let cells = self.cells_with(plan, row_cells(&plan.source, incoming), before.as_ref());
                (*operation, true, cells, *base)
            }
        };
        Parked {
            at: park_key(plan, change),
            key_json: key_json(&change.key),
            key_cells: key_cells(table, &change.key),
            operation: operation.to_owned(),
            is_source,
            row_cells,
            base,
            stamp: stamp_of(&change.op),
            local: contested.local.row_stamp.max(contested.local.tombstone),
            kind,
            reason: reason.to_owned(),
            conflict: None,
            waits_for: None,
            source_position: record::address(change),
            source_committed_us: change.address.head.committed_at_us,
        }
    }
}

fn entry_of(parked: &Parked, bytes: usize) -> Entry {
    Entry {
        kind: parked.kind,
        base: parked.base,
        stamp: parked.stamp,
        local: parked.local,
        conflict: parked.conflict.clone(),
        position: parked.source_position.clone(),
        is_delete: parked.operation == "delete",
        bytes,
    }
}

/// Somebody wrote the row here since, above what stood here and above what waits.
pub(super) fn is_settled_here(entry: &Entry, local: &Local) -> bool {
    let stands = local.row_stamp.max(local.tombstone);
    stands > entry.local && stands > entry.stamp
}

pub(super) fn stamp_of(op: &PlannedOp) -> Option<Stamp> {
    match op {
        PlannedOp::Insert { stamp, .. }
        | PlannedOp::Update { stamp, .. }
        | PlannedOp::Delete { stamp, .. }
        | PlannedOp::Refused { stamp, .. } => *stamp,
    }
}

/// A later change of a key that waits, based on what the first one was based on, if nothing is missing between them.
fn chained(entry: &Entry, change: &Planned) -> Planned {
    let mut change = change.clone();
    match &mut change.op {
        PlannedOp::Update { row, base, stamp, .. } if *base == entry.stamp => match entry.base {
            Some(first) => *base = Some(first),
            None => {
                change.op = PlannedOp::Insert {
                    row: row.clone(),
                    stamp: *stamp,
                    fill_from: None,
                    own: None,
                }
            }
        },
        PlannedOp::Delete { base, .. } if *base == entry.stamp => *base = entry.base.or(*base),
        PlannedOp::Refused { base, .. } if base.is_some() && *base == entry.stamp => *base = entry.base,
        _ => {}
    }
    change
}

/// Cells by the names of the key's columns; where those do not tell (a key the target cannot hold), by their places.
pub(super) fn key_cells(table: &Table, key: &[Value]) -> Vec<u8> {
    let names = table.key.iter().map(|place| table.columns[*place].name.as_str());
    pack(names.zip(key.iter().map(Some)))
}

fn row_cells(table: &Table, row: &Row) -> Vec<u8> {
    let names = table.columns.iter().map(|column| column.name.as_str());
    pack(names.zip(row.0.iter().map(Option::as_ref)))
}

/// The row in the table's columns as they are now. `None`: these are no cells.
pub(super) fn row_of(table: &Table, cells: &[u8]) -> Option<Row> {
    let cells = unpack(cells)?;
    let cell = |name: &str| cells.iter().find(|(known, _)| known == name);
    let row = table
        .columns
        .iter()
        .map(|column| cell(&column.name).and_then(|(_, value)| value.clone()));
    Some(row.collect())
}
