//! Changes that wait are tried again, those left to a person looked at, and rows that stand too low here touched:
//! transactions of a link's own, at the place where it stands.
//!
//! Owns: what is tried, in their order and in bounded batches. Refuses: deciding (see `merge`); a try that changes nothing
//! about what waits is rolled back, and a look locks nothing, so that an idle pair writes nothing and nobody's lock on a row
//! that waits holds up the rest. Fails: as a group does.

use super::bases::{before_of, is_blended};
use super::contested::tradable;
use super::parking::{ABOVE_HERE, is_settled_here, park_key, row_of};
use super::waiting::Waiting;
use super::{Applier, Tally};
use crate::error::{Error, Result};
use crate::flow::planner::Planner;
use crate::merge;
use crate::model::change::{Change, Head, Op};
use crate::model::origin::Segment;
use crate::model::parked::{ParkKind, Parked, ParkedKey};
use crate::model::position::Position;
use crate::model::schema::TableId;
use crate::model::stamp::Stamp;
use crate::model::value::{Row, Value};
use crate::plan::guard::Guarding;
use crate::plan::{Address, Author, Key, Plan, Planned, PlannedOp, Write, WriteOp, Written};
use foldhash::HashSet;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Tried at once, and what their cells may take.
const ROWS_MAX: usize = 200;
/// Looked at in one turn.
const LOOKED_AT_MAX: usize = 1000;
const BYTES_MAX: usize = 4 << 20;

/// Of one table, oldest first.
struct Set {
    plan: Arc<Plan>,
    changes: Vec<Planned>,
}

impl Applier {
    /// Is there anything to try?
    pub(crate) fn has_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Did the last group touch what a waiting change may have waited for?
    pub(crate) fn is_due(&self) -> bool {
        self.is_due && self.has_waits()
    }

    /// Something was noted for the link back.
    pub(crate) fn take_noted(&mut self) -> bool {
        std::mem::take(&mut self.has_noted)
    }

    /// Tables of which a value was refused: they may have been altered since.
    pub(crate) fn has_refused(&self) -> bool {
        self.waiting.has_kind(ParkKind::Refused)
    }

    /// One batch. `None`: nothing changed, and nothing was written.
    pub(crate) async fn try_again(
        &mut self,
        position: &Position,
        planner: &mut Planner,
    ) -> Result<Option<Tally>> {
        self.is_due = false;
        let mut keys = self.waiting.next(ROWS_MAX, BYTES_MAX);
        self.leave_behind(&mut keys).await?;
        if keys.is_empty() {
            return Ok(None);
        }
        let count = keys.len();
        let (sync, link) = (self.spec.sync.clone(), self.spec.id.clone());
        let mut parked = self.target.parked_rows(&sync, &link, &keys).await?;
        // A person's decision takes up what it decides, where columns are merged.
        let found: HashSet<&ParkedKey> = parked.iter().map(|parked| &parked.at).collect();
        let decided = keys.iter().filter(|at| !found.contains(at));
        decided.for_each(|at| drop(self.waiting.remove(at)));
        self.waiting.confirm();
        let mut sets = sets(planner, &parked, self.spec.source.rank)?;
        self.trying = keys.into_iter().filter(|at| self.is_tried(at)).collect();
        // With the parents that they wait for: of rows that refer to each other none goes in alone.
        while self.trying.len() < 2 * ROWS_MAX {
            let parents = self.parents_of(&sets);
            if parents.is_empty() {
                break;
            }
            parked.extend(self.target.parked_rows(&sync, &link, &parents).await?);
            self.trying.extend(parents);
            sets = self::sets(planner, &parked, self.spec.source.rank)?;
        }
        let tried = self.try_sets(position, &sets).await;
        self.trying.clear();
        match &tried {
            Ok(None) => self.waiting.rested(count),
            Ok(Some(_)) => self.waiting.stirred(),
            Err(_) => self.leaves = true,
        }
        tried
    }

    /// Is there something whose turn has not come since anything changed? Deletes that cannot go do not count.
    pub(crate) fn is_restless(&self) -> bool {
        !self.leaves && !self.waiting.is_at_rest()
    }

    /// Without deletes of rows to which such rows may refer as are only not deleted yet.
    async fn leave_behind(&mut self, keys: &mut Vec<ParkedKey>) -> Result<()> {
        let is_delete =
            |waiting: &Waiting, at: &ParkedKey| waiting.get(at).is_some_and(|entry| entry.is_delete);
        let deletes = keys.iter().filter(|at| is_delete(&self.waiting, at));
        let tables: BTreeSet<TableId> = deletes.map(|at| at.table.clone()).collect();
        self.leaves = false;
        for table in tables {
            if self.is_behind(&table).await? {
                keys.retain(|at| at.table != table || !is_delete(&self.waiting, at));
                self.leaves = true;
                // They have not had their turn.
                self.waiting.stirred();
            }
        }
        Ok(())
    }

    /// Parents that wait of those that are tried, without those that are tried too.
    fn parents_of(&self, sets: &[Set]) -> Vec<ParkedKey> {
        let mut parents: Vec<ParkedKey> = Vec::new();
        for set in sets {
            for change in &set.changes {
                let (PlannedOp::Insert { row, .. } | PlannedOp::Update { row, .. }) = &change.op else {
                    continue;
                };
                let parent = self.waiting_parent(&set.plan, row, &park_key(&set.plan, change), true);
                parents.extend(parent.map(|(at, _)| at).filter(|at| !parents.contains(at)));
            }
        }
        parents.retain(|at| self.is_tried(at));
        parents
    }

    fn is_tried(&self, at: &ParkedKey) -> bool {
        let entry = self.waiting.get(at);
        entry.is_some_and(|entry| !entry.kind.is_for_a_person())
    }

    /// Of those that were written because their parent was tried too: whose parent waits on?
    fn disappointed(&mut self, sets: &[Set]) -> bool {
        let mut found = false;
        for set in sets {
            for change in &set.changes {
                let at = park_key(&set.plan, change);
                let (PlannedOp::Insert { row, .. } | PlannedOp::Update { row, .. }) = &change.op else {
                    continue;
                };
                if !self.hoping.contains(&at) {
                    continue;
                }
                if let Some((_, why)) = self.waiting_parent(&set.plan, row, &at, false) {
                    found |= self.foreign.disown(at, why);
                }
            }
        }
        found
    }

    async fn try_sets(&mut self, position: &Position, sets: &[Set]) -> Result<Option<Tally>> {
        loop {
            self.begin(position).await?;
            self.hoping.clear();
            for set in sets {
                self.try_set(set).await?;
            }
            if !self.disappointed(sets) && self.is_sound().await? {
                break;
            }
            self.rollback().await?;
        }
        if !self.ledger.is_altered {
            self.rollback().await?;
            self.foreign.confirm();
            return Ok(None);
        }
        // Children of what has gone on are next.
        self.is_due |= self.has_waits();
        self.commit().await.map(Some)
    }

    async fn try_set(&mut self, set: &Set) -> Result<()> {
        let plan = &set.plan;
        let mut conflicts = Vec::new();
        let (mut again, mut deletes) = (Vec::new(), Vec::new());
        for change in &set.changes {
            if matches!(change.op, PlannedOp::Refused { .. }) {
                continue;
            }
            let is_delete = matches!(change.op, PlannedOp::Delete { .. });
            let is_orphan = self.foreign.orphan(&park_key(plan, change)).is_some();
            if is_delete && is_orphan {
                deletes.push(change);
            } else if !self.must_wait(plan, change, &mut conflicts)? {
                again.push(change.clone());
            }
        }
        let deletes = self.keep_parents(plan, deletes, &mut conflicts).await?;
        again.extend(deletes.into_iter().cloned());
        let rest = again.iter().collect();
        self.settle_contested(plan, rest, &mut conflicts).await?;
        self.conclude(plan, &again, "it was tried again, and its cause was gone");
        self.suspect_again(plan, &again).await?;
        self.keep_record(conflicts).await
    }

    /// What is left to a person is over when somebody wrote the row here above both. Stamps only rise, so they are read
    /// without locks and before any transaction. `None`: nobody did, and nothing was written.
    pub(crate) async fn look_at_personal(
        &mut self,
        position: &Position,
        planner: &mut Planner,
    ) -> Result<Option<Tally>> {
        let keys = self.waiting.next_personal(LOOKED_AT_MAX, BYTES_MAX);
        if keys.is_empty() {
            return Ok(None);
        }
        let (sync, link) = (self.spec.sync.clone(), self.spec.id.clone());
        let parked = self.target.parked_rows(&sync, &link, &keys).await?;
        let mut tables: Vec<&TableId> = parked.iter().map(|parked| &parked.at.table).collect();
        tables.sort();
        tables.dedup();
        let mut settled = Vec::new();
        for table in tables {
            let Some(plan) = planner.of_target(table)? else {
                continue;
            };
            let of_table = parked.iter().filter(|parked| parked.at.table == *table);
            let (ats, keys): (Vec<&ParkedKey>, Vec<Key>) = of_table
                .filter_map(|parked| Some((&parked.at, key_of(&plan, &parked.key_cells)?)))
                .unzip();
            let locals = self.target.stamps(&plan.shape, &keys).await?;
            let over = ats.into_iter().zip(locals).filter(|(at, local)| {
                let entry = self.waiting.get(at);
                entry.is_some_and(|entry| is_settled_here(entry, local))
            });
            settled.extend(over.map(|(at, _)| at.clone()));
        }
        if settled.is_empty() {
            return Ok(None);
        }
        self.begin(position).await?;
        settled.into_iter().for_each(|at| self.end(at, ABOVE_HERE));
        self.write_waits(&[]).await?;
        self.commit().await.map(Some)
    }

    /// Writes above these stamps where the row still stands below them: `flow::missed` says why. Returns how many rows
    /// were touched; none, and nothing was written.
    pub(crate) async fn touch(
        &mut self,
        position: &Position,
        plan: &Plan,
        rows: &[(Key, Stamp)],
    ) -> Result<Option<Tally>> {
        let Some(stamps) = &plan.shape.stamps else {
            return Ok(None);
        };
        self.begin(position).await?;
        let keys: Vec<Key> = rows.iter().map(|(key, _)| key.clone()).collect();
        let locals = self.target.read(&plan.shape, &keys).await?;
        let mut writes = Vec::new();
        for ((key, stood), local) in rows.iter().zip(locals) {
            let raised = local
                .row_stamp
                .and_then(|row| merge::touched(row, local.tombstone, *stood));
            let Some(version) = raised else { continue };
            let mut cells = vec![None; plan.shape.table.columns.len()];
            cells[stamps.version] = Some(Value::Int(version));
            cells[stamps.origin] = Some(Value::Int(i64::from(self.spec.target.rank)));
            let op = WriteOp::Update {
                row: Row(cells.into_boxed_slice()),
                base: None,
                here: local.row.as_ref().and_then(|here| tradable(plan, here)),
            };
            writes.push(Write { key: key.clone(), op });
        }
        if writes.is_empty() {
            self.rollback().await?;
            return Ok(None);
        }
        self.target.segment(&self.movement(Segment::Own)).await?;
        let written = self.target.write(&plan.shape, &writes).await?;
        if let Some(other) = written.into_iter().find(|written| *written != Written::Done) {
            return Err(Error::transient("touch rows that stand too low")
                .table(&plan.shape.table.id)
                .node(&self.spec.target.name)
                .why(match other {
                    Written::Refused(why) => why,
                    Written::Done | Written::Lost | Written::UniqueTaken(_) => {
                        "somebody wrote one of them meanwhile".to_owned()
                    }
                }));
        }
        self.target.segment(&self.movement(Segment::Applied)).await?;
        self.tally.answers += writes.len() as u64;
        self.tally.missed_bumps += writes.len() as u64;
        self.commit().await.map(Some)
    }
}

/// What waits as changes again, by table in the order of their oldest.
fn sets(planner: &mut Planner, parked: &[Parked], source: u16) -> Result<Vec<Set>> {
    let mut sets: Vec<Set> = Vec::new();
    for parked in parked {
        let Some(plan) = planner.of_target(&parked.at.table)? else {
            continue;
        };
        let place = match sets
            .iter()
            .position(|set| set.plan.shape.table.id == parked.at.table)
        {
            Some(place) => place,
            None => {
                sets.push(Set {
                    plan: Arc::clone(&plan),
                    changes: Vec::new(),
                });
                sets.len() - 1
            }
        };
        let set = &mut sets[place];
        if let Some(change) = planned_of(&plan, parked, source)? {
            set.changes.push(change);
        }
    }
    Ok(sets)
}

fn key_of(plan: &Plan, cells: &[u8]) -> Option<Key> {
    let row = row_of(&plan.shape.table, cells)?;
    let key = plan.shape.table.key.iter().map(|place| row.get(*place).cloned());
    key.collect::<Option<Vec<Value>>>().map(Vec::into_boxed_slice)
}

/// The change as it came, for the tables as they are now. `None`: its cells are not there (it was too large to keep).
pub(super) fn planned_of(plan: &Plan, parked: &Parked, source: u16) -> Result<Option<Planned>> {
    let (transaction, ordinal) = parked
        .source_position
        .rsplit_once('#')
        .unwrap_or((&parked.source_position, "0"));
    let address = Address {
        head: Arc::new(Head {
            transaction: transaction.to_owned(),
            past: None,
            committed_at_us: parked.source_committed_us,
        }),
        ordinal: ordinal.parse().unwrap_or_default(),
    };
    let table = if parked.is_source {
        &plan.source
    } else {
        &plan.shape.table
    };
    let Some(row) = row_of(table, &parked.row_cells) else {
        return Ok(None);
    };
    if parked.operation != "delete" && !parked.is_source {
        let Some(key) = key_of(plan, &parked.key_cells) else {
            return Ok(None);
        };
        return Ok(Some(changed(plan, parked, key, row, address)));
    }
    let op = match parked.operation.as_str() {
        "delete" => Op::Delete { old: row },
        _ => Op::Insert { new: row },
    };
    let change = Change {
        table: Arc::clone(&plan.source),
        op,
    };
    let author = Author {
        rank: parked.stamp.map_or(source, |stamp| stamp.origin),
        own: false,
        answers: false,
    };
    let planned = match (&change.op, parked.stamp) {
        // That it passes was decided when it came; what is kept of it need not have the cells that tell.
        (Op::Delete { old }, Some(stamp)) => Some(plan.buried(old, stamp, &address)?),
        _ => {
            let mut planned = Vec::new();
            plan.change(&change, author, &address, &mut planned)?;
            planned.pop()
        }
    };
    let Some(mut change) = planned else {
        return Ok(None);
    };
    match &mut change.op {
        PlannedOp::Insert { row, stamp, .. } if parked.base.is_some() => {
            change.op = PlannedOp::Update {
                row: row.clone(),
                before: before_of(&plan.source, &parked.row_cells),
                base: parked.base,
                stamp: *stamp,
            };
        }
        PlannedOp::Delete { base, stamp, .. } => {
            *base = parked.base.or(*base);
            *stamp = parked.stamp.or(*stamp);
        }
        PlannedOp::Insert { .. } | PlannedOp::Update { .. } | PlannedOp::Refused { .. } => {}
    }
    Ok(Some(change))
}

fn changed(plan: &Plan, parked: &Parked, key: Key, row: Row, address: Address) -> Planned {
    let op = match parked.base {
        Some(_) => PlannedOp::Update {
            row,
            before: before_of(&plan.source, &parked.row_cells),
            base: parked.base,
            stamp: parked.stamp,
        },
        None => PlannedOp::Insert {
            row,
            stamp: parked.stamp,
            fill_from: None,
            own: None,
        },
    };
    let mut key_bytes = Vec::new();
    key.iter().for_each(|value| value.key_bytes(&mut key_bytes));
    Planned {
        key,
        key_bytes,
        op,
        address,
        moves: false,
        is_blended: is_blended(&parked.row_cells),
        guarding: Guarding::No,
        is_own: false,
    }
}
