//! Applies groups: attempt -> read what is contested -> decide -> write -> record -> commit.
//!
//! Owns: the open target transaction of a link, the checkpoint's seq, and the writes that need no decision. What is
//! [`contested`] is decided by `merge`; [`reassert`] is the answer of the source of truth. Engines offer verbs; nothing
//! here knows SQL.
//! Fails: `Transient` = the group may be tried again from its start; `Ambiguous` = COMMIT's outcome is unknown, the
//! link must start anew from the checkpoint; anything else stops the link.

mod again;
mod bases;
mod contested;
mod foreign;
mod image;
mod pairing;
mod parking;
mod reassert;
mod renew;
mod unite;
mod waiting;

use super::pulse::Conflicts;
use super::spec::LinkSpec;
use crate::chunk::Chunk;
use crate::engine::Target;
use crate::error::{Error, Result};
use crate::model::conflict::{Conflict, ConflictKind, Local, Reason};
use crate::model::operation::HeldTable;
use crate::model::origin::{Marker, Segment};
use crate::model::parked::{ParkKind, ParkedKey};
use crate::model::position::Position;
use crate::model::schema::TableId;
use crate::model::sync::{Checkpoint, tombstones_of};
use crate::model::value::Row;
use crate::plan::guard::Guarding;
use crate::plan::layer::{Layer, Layers};
use crate::plan::{Key, Load, Move, Plan, Planned, PlannedOp, Shape, Write, WriteOp};
use contested::{Contested, Decided};
use foldhash::{HashMap, HashSet};
use foreign::Foreign;
use parking::Ledger;
use renew::Renewer;
use std::collections::BTreeMap;
use std::sync::Arc;
pub(crate) use unite::{Uniting, first_stamp};
use waiting::Waiting;

#[cfg(test)]
mod trades;

/// Counts of one group, for status and logs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) changes: u64,
    pub(crate) conflicts: u64,
    /// Changes that were there already.
    pub(crate) noops: u64,
    pub(crate) by_kind: Conflicts,
    /// Changes that were answered by writes of our own, which the other direction has still to carry.
    pub(crate) answers: u64,
    /// Updates that did not raise their version, and rows that stood too low and were touched.
    pub(crate) missed_bumps: u64,
    /// Writes of the source over rows of this node alone that were answered.
    pub(crate) undone: u64,
    /// Rows that users of the source inserted under other nodes' numbers, by its tables.
    pub(crate) strays: BTreeMap<TableId, u64>,
}

pub(crate) struct Applier {
    target: Target,
    spec: Arc<LinkSpec>,
    checkpoint: Checkpoint,
    /// Where the open transaction takes the checkpoint.
    position: Position,
    tally: Tally,
    /// Held tables that catch up, by the target's name: their positions move, and the checkpoint rests.
    catching_up: Vec<TableId>,
    waiting: Waiting,
    ledger: Ledger,
    foreign: Foreign,
    renewer: Renewer,
    /// What is written are rows that may stand there already, and why.
    uniting: Option<Uniting>,
    /// What is tried again in the open transaction.
    trying: HashSet<ParkedKey>,
    /// Of that, what is written although its parent waits, because that is tried too.
    hoping: HashSet<ParkedKey>,
    /// Names of the key's columns, of the tables that foreign keys refer to.
    parent_keys: HashMap<TableId, Vec<String>>,
    /// Of what waits, something cannot be tried as yet.
    leaves: bool,
    /// What waits may go on after the last group; something was noted for the link back.
    is_due: bool,
    has_noted: bool,
}

impl Applier {
    pub(crate) fn new(target: Target, spec: Arc<LinkSpec>, checkpoint: Checkpoint) -> Self {
        let position = checkpoint.position.clone();
        Applier {
            target,
            spec,
            checkpoint,
            position,
            tally: Tally::default(),
            catching_up: Vec::new(),
            waiting: Waiting::default(),
            ledger: Ledger::default(),
            foreign: Foreign::default(),
            renewer: Renewer::default(),
            uniting: None,
            trying: HashSet::default(),
            hoping: HashSet::default(),
            parent_keys: HashMap::default(),
            leaves: false,
            is_due: false,
            has_noted: false,
        }
    }

    /// What is applied from now on is of these held tables alone.
    pub(crate) fn catches_up(&mut self, tables: Vec<TableId>) {
        self.catching_up = tables;
    }

    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Opens the target transaction: checkpoint and marker are its first statement.
    pub(crate) async fn begin(&mut self, position: &Position) -> Result<()> {
        self.position = match self.catching_up.is_empty() {
            true => position.clone(),
            false => self.checkpoint.position.clone(),
        };
        self.tally = Tally::default();
        self.ledger = Ledger::default();
        self.waiting.revert();
        self.foreign.begin();
        self.target.begin(&self.movement(Segment::Applied)).await?;
        self.held_at(Some(position)).await
    }

    /// Where the tables that catch up stand when the open transaction is committed; `None`: they are level.
    async fn held_at(&mut self, position: Option<&Position>) -> Result<()> {
        if self.catching_up.is_empty() {
            return Ok(());
        }
        let link = (self.spec.sync.as_str(), self.spec.id.as_str());
        let position = position.map(ToString::to_string);
        self.target
            .held_at(link, &self.catching_up, position.as_deref())
            .await
    }

    /// Holds tables at this position, in a transaction of its own; also those that were copied anew.
    pub(crate) async fn hold(&mut self, position: &Position, tables: &[HeldTable]) -> Result<()> {
        self.begin(position).await?;
        let link = (self.spec.sync.as_str(), self.spec.id.as_str());
        for held in tables {
            self.target.hold(&self.spec.sync, held).await?;
            if held.is_anew {
                self.target.resync_stopped(link, &held.table).await?;
            }
        }
        self.commit().await.map(|_| ())
    }

    /// Holds tables whose copy begins anew. `tables`: with their source's names.
    pub(crate) async fn hold_anew(&mut self, tables: &[(TableId, HeldTable)]) -> Result<()> {
        let here = self.checkpoint.position.clone();
        self.begin(&here).await?;
        let link = (self.spec.sync.as_str(), self.spec.id.as_str());
        for (source, held) in tables {
            self.target.hold(&self.spec.sync, held).await?;
            self.target.resync_begun(link, &held.table).await?;
            for source in [source, &tombstones_of(source)] {
                self.target.forget_chunks(link, source).await?;
            }
        }
        // What waits of a whole table the copy decides, and what of it still cannot be written waits anew.
        for (_, held) in tables.iter().filter(|(_, held)| held.condition.is_none()) {
            for at in self.waiting.of_table(&held.table) {
                self.end(at, "the table is copied anew");
            }
        }
        self.write_waits(&[]).await?;
        self.commit().await.map(|_| ())
    }

    /// Writes in a transaction of its own what is to be copied.
    pub(crate) async fn plan_chunks(&mut self, position: &Position, chunks: &[Chunk]) -> Result<()> {
        self.begin(position).await?;
        let link = (self.spec.sync.as_str(), self.spec.id.as_str());
        self.target.plan_chunks(link, chunks, false).await?;
        self.commit().await.map(|_| ())
    }

    /// Notes in a transaction of its own that these tables are copied, and where the log ended then.
    pub(crate) async fn resync_copied(
        &mut self,
        position: &Position,
        tables: &[TableId],
        settle: &Position,
    ) -> Result<()> {
        self.begin(position).await?;
        let link = (self.spec.sync.as_str(), self.spec.id.as_str());
        for table in tables {
            self.target
                .resync_copied(link, table, &settle.to_string())
                .await?;
        }
        self.commit().await.map(|_| ())
    }

    /// The tables that catch up have come so far, and with `is_level` are held no more.
    pub(crate) async fn caught_up(
        &mut self,
        position: &Position,
        is_level: bool,
        is_anew: bool,
    ) -> Result<()> {
        self.begin(position).await?;
        if is_level {
            self.held_at(None).await?;
        }
        if is_level && is_anew {
            let link = (self.spec.sync.as_str(), self.spec.id.as_str());
            for table in &self.catching_up {
                self.target.resync_level(link, table).await?;
            }
        }
        self.commit().await.map(|_| ())
    }

    /// Writes a group's layers into the open transaction.
    pub(crate) async fn layers(&mut self, layers: &Layers) -> Result<()> {
        for layer in layers.iter() {
            self.layer(layer).await?;
        }
        if !layers.strays.is_empty() {
            let (sync, link) = (self.spec.sync.clone(), self.spec.id.clone());
            let strays: Vec<(TableId, u64)> = layers.strays.clone().into_iter().collect();
            self.target.note_strays(&sync, &link, &strays).await?;
            for (table, count) in strays {
                *self.tally.strays.entry(table).or_default() += count;
            }
        }
        if self.foreign.keys.is_empty() {
            return Ok(());
        }
        self.suspect(layers).await
    }

    /// Writes rows of a first copy: like inserts, except that old tombstones of tables which were empty when the
    /// copy began do not count. Returns how many rows there were.
    pub(crate) async fn copy(&mut self, layers: &Layers) -> Result<u64> {
        let mut rows = 0;
        for layer in layers.iter() {
            rows += layer.changes.len() as u64;
            self.copied(layer).await?;
        }
        Ok(rows)
    }

    /// The same in one go. `false`: something is in the way of a row, and nothing was written.
    pub(crate) async fn load_rows(&mut self, plan: &Plan, cells: &[usize], load: Load<'_>) -> Result<bool> {
        self.target.load(&plan.shape, cells, load).await
    }

    /// The chunk's rows are those of the open transaction.
    pub(crate) async fn chunk_done(&mut self, chunk: &Chunk) -> Result<()> {
        let link = (self.spec.sync.as_str(), self.spec.id.as_str());
        self.target.chunk_done(link, self.checkpoint.epoch, chunk).await
    }

    /// Ends a first copy in the open transaction: until `settle` the stream may repeat what the copy holds.
    pub(crate) async fn copied_all(&mut self, settle: Option<Position>) -> Result<()> {
        let link = (self.spec.sync.as_str(), self.spec.id.as_str());
        self.target.close_lanes(link).await?;
        self.settle(settle).await
    }

    /// Keeps tombstones of a first copy. Returns how many there were.
    pub(crate) async fn bury(&mut self, layers: &Layers) -> Result<u64> {
        let write = |change: &Planned| match &change.op {
            PlannedOp::Delete { stamp, .. } => Some(Write {
                key: change.key.clone(),
                op: WriteOp::Bury { tombstone: *stamp },
            }),
            // A key that this node cannot hold is one that it cannot insert.
            PlannedOp::Refused { .. } | PlannedOp::Insert { .. } | PlannedOp::Update { .. } => None,
        };
        let mut count = 0;
        for layer in layers.iter() {
            count += layer.changes.len() as u64;
            let writes: Vec<Write> = layer.changes.iter().filter_map(write).collect();
            self.target.write(&layer.plan.shape, &writes).await?;
        }
        Ok(count)
    }

    /// Notes until where the stream may repeat what the copy holds.
    pub(crate) async fn settle(&mut self, settle: Option<Position>) -> Result<()> {
        if settle.is_none() {
            return Ok(());
        }
        self.checkpoint.settle = settle;
        self.target.segment(&self.movement(Segment::Applied)).await
    }

    /// Moves the checkpoint to where the transaction really ends, where that was not known at its begin.
    pub(crate) async fn reposition(&mut self, position: &Position) -> Result<()> {
        if !self.catching_up.is_empty() {
            return self.held_at(Some(position)).await;
        }
        self.position = position.clone();
        self.target.segment(&self.movement(Segment::Applied)).await
    }

    pub(crate) async fn commit(&mut self) -> Result<Tally> {
        self.target.commit().await?;
        self.waiting.confirm();
        self.foreign.confirm();
        self.checkpoint.seq += 1;
        self.checkpoint.position = self.position.clone();
        if let Some(settle) = &self.checkpoint.settle {
            let settled = self.position.covers(settle);
            if settled.map_err(|error| Error::bug("compare positions").because(error))? {
                self.checkpoint.settle = None;
            }
        }
        Ok(std::mem::take(&mut self.tally))
    }

    pub(crate) async fn rollback(&mut self) -> Result<()> {
        self.waiting.revert();
        self.target.rollback().await
    }

    fn movement(&self, segment: Segment) -> Move {
        let origin = match segment {
            Segment::Applied => self.spec.source.rank,
            Segment::Own => self.spec.target.rank,
        };
        Move {
            marker: Marker {
                sync: self.spec.sync.clone(),
                link: self.spec.id.clone(),
                lane: self.checkpoint.lane,
                seq: self.checkpoint.seq + 1,
                position: self.position.to_string(),
                origin,
                hop: 1,
                segment,
                config_hash: self.spec.config_hash.clone(),
            },
            epoch: self.checkpoint.epoch,
            from_seq: self.checkpoint.seq,
            settle: self.checkpoint.settle.as_ref().map(ToString::to_string),
            source_identity: self.checkpoint.source_identity.clone(),
        }
    }

    async fn layer(&mut self, layer: &Layer) -> Result<()> {
        let plan = Arc::clone(&layer.plan);
        if layer.empties {
            self.target.empty(&plan.shape).await?;
            self.tally.changes += 1;
        }
        self.tally.changes += layer.changes.len() as u64;
        let filled = self.filled(&plan, &layer.changes).await?;
        let changes = filled.as_deref().unwrap_or(&layer.changes);
        let mut conflicts: Vec<Conflict> = Vec::new();
        self.withdraw(&plan, changes, layer.empties).await?;
        self.note_unraised(&plan, changes);
        self.decided_meanwhile(&plan, changes).await?;
        self.overtaken(&plan, changes, &mut conflicts).await?;
        let diverted = self.divert(&plan, changes, &mut conflicts).await?;
        let (changes, again): (&[Planned], &[Planned]) = match &diverted {
            Some(diverted) => (&diverted.plain, &diverted.again),
            None => (changes, &[]),
        };
        let (refused, changes): (Vec<&Planned>, Vec<&Planned>) = changes
            .iter()
            .partition(|change| matches!(change.op, PlannedOp::Refused { .. }));
        self.refuse(&plan, refused, &mut conflicts)?;
        // A new row that lacks cells would get its columns' defaults: it is not attempted, only decided.
        let (changes, mut rest): (Vec<&Planned>, Vec<&Planned>) = changes
            .into_iter()
            .partition(|change| is_attempted(&plan, change));
        let writes: Vec<Write> = changes.iter().filter_map(|change| write_of(change)).collect();
        let applied = self.target.attempt(&plan.shape, &writes).await?;
        let (taken, left): (Vec<_>, Vec<_>) = changes.iter().zip(applied).partition(|(_, applied)| *applied);
        rest.extend(left.into_iter().map(|(change, _)| *change));
        self.left_by(&plan, taken.into_iter().map(|(change, _)| *change));
        rest.extend(again);
        self.settle_contested(&plan, rest, &mut conflicts).await?;
        self.conclude(&plan, again, "a later change of the row settled it");
        if !self.waiting.is_empty() {
            let table = &plan.shape.table.id;
            self.is_due |= self.waiting.tries(table)
                || self
                    .foreign
                    .children(table)
                    .any(|child| self.waiting.tries(child));
        }
        self.keep_record(conflicts).await
    }

    /// Values that the target cannot hold.
    fn refuse(&mut self, plan: &Plan, refused: Vec<&Planned>, conflicts: &mut Vec<Conflict>) -> Result<()> {
        for change in refused {
            let contested = Contested {
                change,
                local: Local::default(),
            };
            let kinds = (ConflictKind::ValueRefused, ParkKind::Refused);
            self.open(plan, &contested, kinds, "", conflicts)?;
        }
        Ok(())
    }

    async fn copied(&mut self, layer: &Layer) -> Result<()> {
        let plan = &layer.plan;
        let (refused, changes): (Vec<&Planned>, Vec<&Planned>) = layer
            .changes
            .iter()
            .partition(|change| matches!(change.op, PlannedOp::Refused { .. }));
        let mut conflicts: Vec<Conflict> = Vec::new();
        self.refuse(plan, refused, &mut conflicts)?;
        let decided = changes.into_iter().filter_map(|change| {
            let local = Local::default();
            Some(Decided {
                write: write_of(change)?,
                contested: Contested { change, local },
                conflict: None,
                reason: Reason::Uncontested,
            })
        });
        let decided = decided.collect();
        let lost = self.write_decided(plan, decided, &mut conflicts).await?;
        self.settle_contested(plan, lost, &mut conflicts).await?;
        self.keep_record(conflicts).await
    }

    async fn keep_record(&mut self, conflicts: Vec<Conflict>) -> Result<()> {
        self.write_waits(&conflicts).await?;
        if conflicts.is_empty() {
            return Ok(());
        }
        self.tally.conflicts += conflicts.len() as u64;
        for conflict in &conflicts {
            let table = format!("{}.{}", conflict.schema, conflict.table);
            let what = (table, conflict.kind.name(), conflict.outcome.name());
            *self.tally.by_kind.entry(what).or_default() += 1;
        }
        self.target
            .record(&self.spec.sync, &self.spec.id, &conflicts)
            .await
    }

    /// Completes rows that moved to another key from the row they leave: what did not change and was not sent, and
    /// what only the target has. `None`: there are none.
    async fn filled(&mut self, plan: &Plan, changes: &[Planned]) -> Result<Option<Vec<Planned>>> {
        let from: Vec<Key> = changes
            .iter()
            .filter_map(|change| fill_key(&change.op).cloned())
            .collect();
        if from.is_empty() {
            return Ok(None);
        }
        // The whole row moves, also what is not touched where rows stay in their place.
        let shape = Shape {
            untouched: Vec::new(),
            ..Shape::clone(&plan.shape)
        };
        let mut found = self.target.read(&shape, &from).await?.into_iter();
        let mut changes = changes.to_vec();
        for change in changes.iter_mut().filter(|change| fill_key(&change.op).is_some()) {
            if let Some(left) = found.next().and_then(|local| local.row) {
                take_along(plan, change, &left);
            }
        }
        Ok(Some(changes))
    }
}

fn fill_key(op: &PlannedOp) -> Option<&Key> {
    match op {
        PlannedOp::Insert { fill_from, .. } => fill_from.as_ref(),
        PlannedOp::Update { .. } | PlannedOp::Delete { .. } | PlannedOp::Refused { .. } => None,
    }
}

fn take_along(plan: &Plan, change: &mut Planned, left: &Row) {
    if let PlannedOp::Insert { row, own, .. } = &mut change.op {
        let (carried, beside) = plan.taken_along(left);
        *row = row.over(&carried);
        *own = beside;
    }
}

fn own_of(op: &PlannedOp) -> Option<&Row> {
    match op {
        PlannedOp::Insert { own, .. } => own.as_ref(),
        PlannedOp::Update { .. } | PlannedOp::Delete { .. } | PlannedOp::Refused { .. } => None,
    }
}

/// The row to insert, with what the target has of its own.
fn inserted(row: &Row, own: Option<&Row>) -> Row {
    own.map_or_else(|| row.clone(), |own| row.over(own))
}

/// Do stamps alone tell whether it is contested? Of an update that raised none they do not.
fn is_attempted(plan: &Plan, change: &Planned) -> bool {
    if change.guarding != Guarding::No {
        return false;
    }
    match &change.op {
        PlannedOp::Insert { row, .. } => plan.carried().all(|place| row.get(place).is_some()),
        PlannedOp::Update { .. } => change.op.unraised().is_none(),
        PlannedOp::Delete { .. } => change.op.told().is_none(),
        PlannedOp::Refused { .. } => true,
    }
}

/// The optimistic write: what is right when nobody else changed the row.
fn write_of(change: &Planned) -> Option<Write> {
    let op = match &change.op {
        PlannedOp::Insert { row, .. } => WriteOp::Insert {
            row: inserted(row, own_of(&change.op)),
        },
        PlannedOp::Update { row, base, .. } => WriteOp::Update {
            row: row.clone(),
            base: *base,
            here: None,
        },
        PlannedOp::Delete { base, stamp, .. } => WriteOp::Delete {
            base: *base,
            tombstone: *stamp,
        },
        PlannedOp::Refused { .. } => return None,
    };
    Some(Write {
        key: change.key.clone(),
        op,
    })
}
