//! What must hold in the end, and what has to be known for it.

use super::node::{Logged, Node, Writer};
use super::table::{self, ID, MAIL, NAMES, PHONE, STOCK};
use super::world::World;
use crate::model::change::Op;
use crate::model::rules::{ColumnRule, OnDelete, Rule};
use crate::model::stamp::{Rank, Stamp};
use crate::model::value::Row;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    Differ,
    NeverRests,
    NeverSettled,
    NeverCollected,
    /// A row of a node alone was taken from it by the other.
    Taken,
    /// A row stands where its node sends it no more.
    Left,
    /// A node was told of a row that it never held.
    Leaked,
    /// What stands is what somebody had seen and replaced.
    Lost(&'static str),
    Miscounted,
    TruthLost,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Differ => f.write_str("rows differ"),
            Fault::NeverRests => f.write_str("changes are sent for ever"),
            Fault::NeverSettled => f.write_str("parked rows are never settled"),
            Fault::Taken => f.write_str("a row was taken from its node"),
            Fault::Leaked => f.write_str("a node was told of a row that it never held"),
            Fault::Left => f.write_str("a row was left behind"),
            Fault::NeverCollected => f.write_str("tombstones are never collected"),
            Fault::Lost(what) => write!(f, "{what} was lost to what its writer had seen"),
            Fault::Miscounted => f.write_str("the counter is not the sum of its increments"),
            Fault::TruthLost => f.write_str("what the truth wrote was lost"),
        }
    }
}

/// A delete by a user: of what, and its stamp.
#[derive(Debug, Clone, Copy)]
pub struct Deleted {
    pub seen: i64,
    pub stamp: Stamp,
}

/// What users did.
#[derive(Default)]
pub struct Known {
    last: i64,
    /// Values that a user saw when replacing or deleting them: key, column, value.
    pub replaced: BTreeSet<(i64, usize, i64)>,
    pub added: BTreeMap<i64, i64>,
    /// By key: the stock that its owner wrote last.
    pub owned: BTreeMap<i64, i64>,
    /// Keys that came, went or moved.
    pub unsteady: BTreeSet<i64>,
    /// By value of `phone`: what its writer had seen in its place.
    pub parents: BTreeMap<i64, Option<i64>>,
    /// Keys of inserts that missed a bump: until it is touched, or its tombstone goes, such a row may stand on its node
    /// alone.
    pub late: BTreeSet<i64>,
    /// Values of `phone` that came with an insert that missed a bump.
    pub raced: BTreeSet<i64>,
    /// Keys of which a node gave one stamp to two rows, by an insert that missed a bump. A change that was made on the
    /// first of them and meets the second has the base that stands there: stamps cannot tell that it is another row, so
    /// it is written as uncontested. Who had seen what is then not to be judged; that all nodes are equal is.
    pub given_twice: BTreeSet<i64>,
    /// By key: values of `phone` by which a person ended a wait.
    pub settled: BTreeMap<i64, Vec<i64>>,
    /// Values of `phone` that came with a new row, and the deletes of its key that its writer knew of.
    pub inserted: BTreeMap<i64, BTreeSet<Stamp>>,
    /// By key: what a user of the truth wrote last; `None`: deleted.
    pub truth: BTreeMap<i64, Option<i64>>,
    /// Keys of which a spoke was sent something that its condition may keep from it.
    pub told: BTreeSet<(usize, i64)>,
    /// A row went from its node by what the other node did to it.
    pub is_taken: bool,
    /// By value of `phone`: the node whose user wrote it.
    pub writers: BTreeMap<i64, Rank>,
    pub deleted: BTreeMap<i64, Vec<Deleted>>,
    /// By key: values of `phone`.
    pub written: BTreeMap<i64, Vec<i64>>,
}

impl Known {
    pub fn fresh(&mut self) -> i64 {
        self.last += 1;
        self.last
    }

    /// Was `value` written by somebody who knew of `of`?
    fn descends(&self, value: i64, of: i64) -> bool {
        let mut value = Some(value);
        while let Some(now) = value {
            if now == of {
                return true;
            }
            value = self.parents.get(&now).copied().flatten();
        }
        false
    }
}

impl Known {
    /// Was the value written by somebody who knew of the delete?
    fn outlives(&self, value: i64, delete: &Deleted) -> bool {
        let mut value = Some(value);
        while let Some(now) = value {
            let over = self.inserted.get(&now);
            if over.is_some_and(|over| over.contains(&delete.stamp)) {
                return true;
            }
            value = self.parents.get(&now).copied().flatten();
        }
        false
    }
}

pub fn judge(world: &World) -> Result<(), Fault> {
    judge_equal(world, &BTreeSet::new())?;
    if world.known.is_taken {
        return Err(Fault::Taken);
    }
    // What a node that left had told nobody is lost.
    if world.setup.is_held {
        return judge_leaks(world);
    }
    if world.setup.is_filtered || world.setup.leaves {
        return Ok(());
    }
    if world.setup.is_owned {
        return judge_owned(world);
    }
    let first = &world.nodes[0];
    for (key, row) in &first.rows {
        judge_row(world, *key, row)?;
    }
    for key in world
        .known
        .written
        .keys()
        .filter(|key| !first.rows.contains_key(key))
    {
        judge_gone(world, *key)?;
    }
    judge_truth(world)
}

/// Nobody else's write of what one node owns stands.
fn judge_owned(world: &World) -> Result<(), Fault> {
    let (first, known) = (&world.nodes[0], &world.known);
    let steady = first.rows.iter().filter(|(key, _)| !known.unsteady.contains(key));
    for (key, row) in steady {
        if table::cell(row, STOCK) != known.owned.get(key).copied().unwrap_or(0) {
            return Err(Fault::Lost("the stock"));
        }
    }
    Ok(())
}

/// All nodes have the same rows, but for these keys.
pub fn judge_equal(world: &World, but: &BTreeSet<i64>) -> Result<(), Fault> {
    if world.setup.is_apart {
        return judge_apart(world, but);
    }
    if world.setup.is_held {
        return judge_held(world, but);
    }
    let plan = table::plan(&world.setup, 0, 1);
    let shared = |node: &Node| -> Vec<Row> {
        let rows = node.rows.iter().filter(|(key, _)| !but.contains(key));
        rows.map(|(_, row)| row)
            .filter(|row| plan.holds(row))
            .cloned()
            .collect()
    };
    let first = shared(&world.nodes[0]);
    let mut present = world.present().into_iter().map(|node| &world.nodes[node]);
    match present.all(|node| shared(node) == first) {
        true => Ok(()),
        false => Err(Fault::Differ),
    }
}

/// Each spoke has the hub's rows of its condition, and nothing else.
fn judge_held(world: &World, but: &BTreeSet<i64>) -> Result<(), Fault> {
    let hub = &world.nodes[0];
    for spoke in world.present().into_iter().filter(|node| *node != 0) {
        let plan = table::plan(&world.setup, 0, spoke);
        let is_meant = |(key, row): &(&i64, &Row)| !but.contains(key) && plan.takes(row).unwrap();
        let holds = world.nodes[spoke].rows.iter();
        if !hub
            .rows
            .iter()
            .filter(is_meant)
            .eq(holds.filter(|(key, _)| !but.contains(key)))
        {
            return Err(Fault::Differ);
        }
    }
    Ok(())
}

/// No spoke learns of a row but of those that were once its own to hold, or that it wrote itself.
fn judge_leaks(world: &World) -> Result<(), Fault> {
    for spoke in 1..world.nodes.len() {
        let mut told = world.known.told.iter().filter(|(to, _)| *to == spoke);
        let known = known_to(world, spoke);
        if told.any(|(_, key)| !known.contains(key)) {
            return Err(Fault::Leaked);
        }
    }
    Ok(())
}

fn known_to(world: &World, spoke: usize) -> BTreeSet<i64> {
    let plan = table::plan(&world.setup, 0, spoke);
    let first = [0, 1].map(|key| table::row(key, [0, 0, 0, 1], Stamp::write(1, 1)));
    let mut rows: Vec<&Row> = first.iter().collect();
    for (writer, op) in logged(&world.nodes[0]) {
        // Of what comes and goes in answer to another one it is not told.
        let is_others = matches!(writer, Writer::Own(to) if *to != spoke);
        rows.extend(images(op).filter(|_| !is_others || matches!(op, Op::Update { .. })));
    }
    rows.retain(|row| plan.takes(row).unwrap());
    let own = logged(&world.nodes[spoke]).filter(|(writer, _)| **writer == Writer::User);
    rows.extend(own.flat_map(|(_, op)| images(op)));
    rows.into_iter().map(|row| table::cell(row, ID)).collect()
}

fn logged(node: &Node) -> impl Iterator<Item = (&Writer, &Op)> {
    let segments = node.log.iter().flat_map(|entry| &entry.segments);
    segments.flat_map(|(writer, ops)| {
        ops.iter().filter_map(move |logged| match logged {
            Logged::Row(op) => Some((writer, op)),
            Logged::Buried(..) => None,
        })
    })
}

fn images(op: &Op) -> impl Iterator<Item = &Row> {
    let (old, new) = match op {
        Op::Insert { new } => (None, Some(new)),
        Op::Update { old, new } => (old.as_ref(), Some(new)),
        Op::Delete { old } => (Some(old), None),
        Op::Truncate => (None, None),
    };
    old.into_iter().chain(new)
}

/// What a node sends the other one has as it is; what neither sends of a key is its own node's writing.
fn judge_apart(world: &World, but: &BTreeSet<i64>) -> Result<(), Fault> {
    for (source, target) in [(0, 1), (1, 0)] {
        let (here, there) = (&world.nodes[source], &world.nodes[target]);
        let (forth, back) = (
            table::plan(&world.setup, source, target),
            table::plan(&world.setup, target, source),
        );
        let is_sent = |key: &i64| here.rows.get(key).is_some_and(|row| forth.takes(row).unwrap());
        let keys = here.rows.keys().filter(|key| is_sent(key) && !but.contains(key));
        if keys.clone().any(|key| here.rows.get(key) != there.rows.get(key)) {
            return Err(Fault::Differ);
        }
        let mut unsent = there
            .rows
            .iter()
            .filter(|(key, row)| !is_sent(key) && !back.takes(row).unwrap());
        let is_written_there = |row: &Row| {
            let writer = world.known.writers.get(&table::cell(row, PHONE));
            writer == Some(&there.rank) && table::stamp(row).origin == there.rank
        };
        if unsent.any(|(_, row)| !is_written_there(row)) {
            return Err(Fault::Left);
        }
    }
    Ok(())
}

fn is_exempt(known: &Known, key: i64) -> bool {
    known.given_twice.contains(&key)
}

fn judge_row(world: &World, key: i64, row: &Row) -> Result<(), Fault> {
    let (known, rules) = (&world.known, &world.setup.rules);
    let is_steady = !known.unsteady.contains(&key);
    if is_exempt(known, key) {
        return Ok(());
    }
    for column in [PHONE, MAIL] {
        let is_merged = rules.column(NAMES[column]) == ColumnRule::Columns;
        let is_judged = match world.setup.is_partial() {
            true => is_merged && is_steady,
            false => true,
        };
        if is_judged && known.replaced.contains(&(key, column, table::cell(row, column))) {
            return Err(Fault::Lost(NAMES[column]));
        }
    }
    let added = known.added.get(&key).copied().unwrap_or(0);
    let is_counted = rules.column(NAMES[STOCK]) == ColumnRule::Delta;
    if is_counted && is_steady && table::cell(row, STOCK) != added {
        return Err(Fault::Miscounted);
    }
    Ok(())
}

/// A row that nobody replaced or deleted, and whose writer had seen every delete, is not gone.
fn judge_gone(world: &World, key: i64) -> Result<(), Fault> {
    let known = &world.known;
    if is_exempt(known, key) {
        return Ok(());
    }
    let users = known.deleted.get(&key).map_or(&[][..], Vec::as_slice);
    let own = own_deletes(world, key);
    let is_live = |value: i64| {
        let is_raced = known.raced.iter().any(|raced| known.descends(value, *raced));
        // The arbiter may delete a row that had not seen its delete, and with it what came meanwhile; never one that had
        // seen them all. (An insert that missed a bump had begun before the delete arrived.)
        let is_beside = |delete: &&Deleted| is_raced || !known.descends(delete.seen, value);
        let mut deletes = users.iter().chain(own.iter().copied().filter(is_beside));
        !known.replaced.contains(&(key, PHONE, value)) && deletes.all(|delete| known.outlives(value, delete))
    };
    match known.written[&key].iter().any(|value| is_live(*value)) {
        true => Err(Fault::Lost("a row")),
        false => Ok(()),
    }
}

/// By the arbiter on its own account.
fn own_deletes(world: &World, key: i64) -> Vec<&Deleted> {
    let own = world.nodes.iter().flat_map(|node| &node.own_deletes);
    own.filter(|(of, _)| *of == key)
        .map(|(_, deleted)| deleted)
        .collect()
}

/// What the truth wrote last stands, or what came of it.
fn judge_truth(world: &World) -> Result<(), Fault> {
    let (known, rules) = (&world.known, &world.setup.rules);
    if !matches!(rules.row, Rule::SourceOfTruth(_)) {
        return Ok(());
    }
    for (key, wrote) in &known.truth {
        // Where it deleted last, a row that comes again over the delete cannot be told from one that has seen it.
        let Some(wrote) = wrote.filter(|_| !is_exempt(known, *key)) else {
            continue;
        };
        if !is_kept(world, *key, wrote) {
            return Err(Fault::TruthLost);
        }
    }
    Ok(())
}

fn is_kept(world: &World, key: i64, wrote: i64) -> bool {
    let (known, on_delete) = (&world.known, world.setup.rules.on_delete);
    let row = world.nodes[0].rows.get(&key).map(|row| table::cell(row, PHONE));
    // Somebody who had seen it may have deleted it.
    let deleted = known.deleted.get(&key).into_iter().flatten();
    let seen = deleted.map(|delete| delete.seen);
    if seen.chain(row).any(|value| known.descends(value, wrote)) {
        return true;
    }
    match on_delete {
        OnDelete::Rule | OnDelete::Update => false,
        // It fell to a delete that it had not seen.
        OnDelete::Delete => {
            let users = known.deleted.get(&key).into_iter().flatten();
            let mut deletes = users.chain(own_deletes(world, key));
            deletes.any(|delete| !known.outlives(wrote, delete))
        }
        // A person has decided between it and a delete, not having written it over that decision. Or what came while it
        // was in question was above all that waited, which ends the question: a person's decision on another node looks
        // no different.
        OnDelete::Ask => {
            let settled = known.settled.get(&key).into_iter().flatten();
            let yielded = world.nodes.iter().any(|node| node.yielded.contains(&key));
            yielded || settled.copied().any(|settled| !known.descends(wrote, settled))
        }
    }
}
