//! Applies groups: attempt -> read what is contested -> decide -> write -> record -> commit.
//!
//! Owns: the open target transaction of a link, the checkpoint's seq, and every *if* about policy that
//! `merge::decide` answers. Engines offer verbs; nothing here knows SQL.
//! Fails: `Transient` = the group may be tried again from its start; `Ambiguous` = COMMIT's outcome is unknown, the
//! link must start anew from the checkpoint; anything else stops the link.

use super::pulse::Conflicts;
use super::record;
use super::spec::LinkSpec;
use crate::engine::Target;
use crate::error::{Error, Result};
use crate::merge::{self, Decision, Incoming, Standing};
use crate::model::conflict::{Conflict, ConflictKind, Local, Outcome};
use crate::model::operation::HeldTable;
use crate::model::origin::{Marker, Segment};
use crate::model::position::Position;
use crate::model::schema::TableId;
use crate::model::stamp::Stamp;
use crate::model::sync::{Checkpoint, Rule};
use crate::model::value::{Row, Value};
use crate::plan::layer::{Layer, Layers};
use crate::plan::{Key, Move, Plan, Planned, PlannedOp, Shape, Write, WriteOp, Written};
use std::sync::Arc;

#[cfg(test)]
mod trades;

/// Rounds in which rows that somebody keeps changing under us are decided again before the group is retried.
const ROUNDS_MAX: usize = 8;

/// Counts of one group, for status and logs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) changes: u64,
    pub(crate) conflicts: u64,
    /// Changes that were there already.
    pub(crate) noops: u64,
    pub(crate) by_kind: Conflicts,
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
}

/// A change that was not applied at once, with what stands under its key.
struct Contested<'a> {
    change: &'a Planned,
    local: Local,
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

    /// Holds tables at this position, in a transaction of its own.
    pub(crate) async fn hold(&mut self, position: &Position, tables: &[HeldTable]) -> Result<()> {
        self.begin(position).await?;
        for table in tables {
            self.target.hold(&self.spec.sync, table).await?;
        }
        self.commit().await.map(|_| ())
    }

    /// The tables that catch up have come so far, and with `is_level` are held no more.
    pub(crate) async fn caught_up(&mut self, position: &Position, is_level: bool) -> Result<()> {
        self.begin(position).await?;
        if is_level {
            self.held_at(None).await?;
        }
        self.commit().await.map(|_| ())
    }

    /// Writes a group's layers into the open transaction.
    pub(crate) async fn layers(&mut self, layers: &Layers) -> Result<()> {
        for layer in layers.iter() {
            self.layer(layer).await?;
        }
        Ok(())
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
        let (refused, changes): (Vec<&Planned>, Vec<&Planned>) = filled
            .as_ref()
            .unwrap_or(&layer.changes)
            .iter()
            .partition(|change| matches!(change.op, PlannedOp::Refused { .. }));
        let mut conflicts: Vec<Conflict> = refused
            .iter()
            .map(|change| record::refusal(&plan, change))
            .collect();
        // A new row that lacks cells would get its columns' defaults: it is not attempted, only decided.
        let (changes, mut rest): (Vec<&Planned>, Vec<&Planned>) =
            changes.into_iter().partition(|change| is_whole(&plan, change));
        let writes: Vec<Write> = changes.iter().filter_map(|change| write_of(change)).collect();
        let applied = self.target.attempt(&plan.shape, &writes).await?;
        let left = changes.iter().zip(applied).filter(|(_, applied)| !applied);
        rest.extend(left.map(|(change, _)| *change));
        self.settle_contested(&plan, rest, &mut conflicts).await?;
        self.keep_record(conflicts).await
    }

    async fn copied(&mut self, layer: &Layer) -> Result<()> {
        let plan = &layer.plan;
        let (refused, changes): (Vec<&Planned>, Vec<&Planned>) = layer
            .changes
            .iter()
            .partition(|change| matches!(change.op, PlannedOp::Refused { .. }));
        let mut conflicts: Vec<Conflict> = refused
            .iter()
            .map(|change| record::refusal(plan, change))
            .collect();
        let decided = changes.into_iter().filter_map(|change| {
            Some((
                write_of(change)?,
                Contested {
                    change,
                    local: Local::default(),
                },
                None,
            ))
        });
        let decided = decided.collect();
        let lost = self.write_decided(plan, decided, &mut conflicts).await?;
        self.settle_contested(plan, lost, &mut conflicts).await?;
        self.keep_record(conflicts).await
    }

    /// Rounds of reading, deciding and writing until nothing is left.
    async fn settle_contested(
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

    async fn keep_record(&mut self, conflicts: Vec<Conflict>) -> Result<()> {
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

    async fn write_decided<'a>(
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

    /// The source of truth answers a change it does not take: by a touch of its row, or by deleting again. On a table
    /// with a row filter a row outside of it is touched, and an arriving row is lifted over a tombstone. These are
    /// writes on our own account and stand in a segment of their own.
    async fn reassert(
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

    fn record(
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

fn is_whole(plan: &Plan, change: &Planned) -> bool {
    match &change.op {
        PlannedOp::Insert { row, .. } => plan.carried().all(|place| row.get(place).is_some()),
        PlannedOp::Update { .. } | PlannedOp::Delete { .. } | PlannedOp::Refused { .. } => true,
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

/// The write after a decision, for the row as it was read. `None`: a row to insert that lacks cells.
fn decided_write(plan: &Plan, contested: &Contested<'_>) -> Option<Write> {
    let op = match (&contested.change.op, &contested.local.row) {
        (PlannedOp::Delete { stamp, .. }, _) => WriteOp::Delete {
            base: None,
            tombstone: *stamp,
        },
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
fn tradable(plan: &Plan, here: &Row) -> Option<Row> {
    (!plan.shape.table.uniques.is_empty()).then(|| here.clone())
}

/// `None` without stamps (transactional mode).
fn incoming_of(op: &PlannedOp) -> Option<Incoming> {
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

fn one_way(op: &PlannedOp) -> merge::Operation {
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
