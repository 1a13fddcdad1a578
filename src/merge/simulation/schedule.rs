//! A random schedule: what users, links, restarts and the collection do, and in which order; then everything is
//! delivered and persons settle what waits for them.

use super::node::{Logged, Writer};
use super::oracle::{self, Deleted, Fault};
use super::owned;
use super::script::{KEYS, Script, Statement, Step, What};
use super::setup::Wrong;
use super::table::{self, MAIL, PHONE, REGION, STOCK};
use super::world::World;
use crate::model::change::Op;
use crate::model::rules::Rule;
use crate::model::stamp::Stamp;

/// Far above what a schedule leaves to deliver; a group that answers a group that answers it goes on for ever.
const GROUPS_MAX: usize = 1_500;
const ROUNDS_MAX: usize = 60;

pub fn play(world: &mut World) -> Result<(), Fault> {
    let mut script = Script::draw(&mut world.random);
    world.slow = (
        world.random.below(world.nodes.len()),
        world.random.below(world.nodes.len()),
    );
    if world.setup.wrong.is_of_collection() {
        script = Script {
            steps: 100 + script.steps,
            keeps: false,
            writes: 6,
            delivers: 24,
            collects: 8,
        };
        // What is late is what the wrong collection does not wait for.
        world.slow = match world.setup.wrong {
            Wrong::ThirdNodeUnasked => (1, 2),
            Wrong::PeerNotRead => (1, 0),
            _ => (0, 0),
        };
    }
    for step in 0..script.steps {
        let is_last = step + 1 == script.steps;
        world.change_members(is_last);
        let node = world.any();
        match script.step(&mut world.random) {
            Step::Write => write(world, node, script.keeps),
            Step::Deliver => deliver(world, node),
            Step::Restart => restart(world, node),
            Step::Race => race(world, node, script.keeps),
            Step::Collect => world.collect(node),
            Step::Idle => idle(world, node),
        }
    }
    world.change_members(true);
    world.tell(|| "everything is delivered".to_owned());
    for node in world.present() {
        while !world.nodes[node].inserting.is_empty() {
            commit_insert(world, node);
        }
    }
    drain(world)?;
    for _ in 0..ROUNDS_MAX {
        if !settle(world) {
            return rest(world);
        }
        drain(world)?;
    }
    Err(Fault::NeverSettled)
}

/// The tombstones that are left go, all of them, and nothing is different for it but rows that stood below one.
fn rest(world: &mut World) -> Result<(), Fault> {
    oracle::judge_equal(world, &world.known.late)?;
    for _ in 0..ROUNDS_MAX {
        let present = world.present();
        if present
            .iter()
            .all(|node| world.nodes[*node].tombstones.is_empty())
        {
            return Ok(());
        }
        for node in present {
            world.collect(node);
            for source in world.peers(node) {
                world.idle(source, node);
            }
        }
        drain(world)?;
    }
    Err(Fault::NeverCollected)
}

fn deliver(world: &mut World, target: usize) {
    let peers = world.peers(target);
    let source = peers[world.random.below(peers.len())];
    let count = 1 + world.random.below(5);
    if world.slow != (source, target) || world.random.one_in(12) {
        world.deliver(source, target, count);
    }
}

/// A group that is lost before its COMMIT leaves nothing; the next one is cut otherwise.
fn restart(world: &mut World, target: usize) {
    let before = (world.nodes.clone(), world.written);
    deliver(world, target);
    (world.nodes, world.written) = before;
    let rank = world.nodes[target].rank;
    world.tell(|| format!("  {rank} begins anew: that is rolled back"));
    for source in world.peers(target) {
        world.reopen(source, target);
    }
    deliver(world, target);
}

fn idle(world: &mut World, target: usize) {
    let peers = world.peers(target);
    let source = peers[world.random.below(peers.len())];
    world.idle(source, target);
    world.collect(target);
}

fn drain(world: &mut World) -> Result<(), Fault> {
    let count = world.nodes.len();
    let limit = world.written + GROUPS_MAX;
    loop {
        let links = (0..count).flat_map(|source| (0..count).map(move |target| (source, target)));
        let mut behind: Vec<(usize, usize)> = links
            .filter(|(source, target)| {
                world.links(*source, *target)
                    && world.nodes[*target].read[*source] < world.nodes[*source].log.len()
            })
            .collect();
        if behind.is_empty() {
            return Ok(());
        }
        let (source, target) = behind.swap_remove(world.random.below(behind.len()));
        let count = 1 + world.random.below(4);
        world.deliver(source, target, count);
        if world.written > limit {
            return Err(Fault::NeverRests);
        }
    }
}

fn write(world: &mut World, node: usize, keeps: bool) {
    let mut ops = Vec::new();
    for statement in world.random.transaction() {
        ops.extend(written_by(world, node, &statement, keeps));
    }
    if !ops.is_empty() {
        world.log_by_user(node, ops);
    }
}

fn written_by(world: &mut World, node: usize, statement: &Statement, keeps: bool) -> Option<Op> {
    let key = statement.key;
    let stands = world.nodes[node].rows.contains_key(&key);
    let region = match world.setup.shape {
        // A spoke mostly lets it be.
        shape if shape.is_held && node != 0 && stands && statement.add != 1 => {
            table::cell(&world.nodes[node].rows[&key], REGION)
        }
        shape if shape.is_apart || shape.is_held => statement.side,
        shape => i64::from(!shape.is_filtered || statement.is_within()),
    };
    let op = match (stands, statement.what) {
        (false, _) if keeps => return None,
        (false, _) => {
            let mut below = world.nodes[node].below(key);
            if world.is(Wrong::ReinsertAtOne) {
                below = 0;
            } else if world.is(Wrong::ReinsertBelowFloor) {
                below = world.nodes[node]
                    .tombstones
                    .get(&key)
                    .map_or(0, |stamp| stamp.version);
            }
            insert(world, node, key, below, region)
        }
        (true, What::Delete) if !keeps => {
            deleted(world, node, key);
            world.nodes[node].delete(key)
        }
        (true, What::Move) if !keeps => return moved(world, node, key, statement.to),
        (true, _) => update(world, node, statement, region),
    };
    let rank = world.nodes[node].rank;
    world.tell(|| format!("{rank} writes {}", written(&op)));
    Some(op)
}

fn written(op: &Op) -> String {
    match op {
        Op::Insert { new } | Op::Update { new, .. } => {
            format!("{}: {}", table::cell(new, table::ID), table::text(new))
        }
        Op::Delete { old } => format!(
            "a delete of {}: {}",
            table::cell(old, table::ID),
            table::text(old)
        ),
        Op::Truncate => panic!("{op:?}"),
    }
}

/// A user replaces what stands in these columns, having seen it.
fn saw(world: &mut World, node: usize, key: i64, columns: &[usize]) {
    let row = &world.nodes[node].rows[&key];
    for column in columns {
        world
            .known
            .replaced
            .insert((key, *column, table::cell(row, *column)));
    }
}

fn wrote(world: &mut World, node: usize, key: i64, phone: Option<i64>) {
    let rank = world.nodes[node].rank;
    world.known.writers.extend(phone.map(|phone| (phone, rank)));
    if matches!(world.setup.rules.row, Rule::SourceOfTruth(truth) if truth == rank) {
        world.known.truth.insert(key, phone);
    }
}

fn insert(world: &mut World, node: usize, key: i64, below: i64, region: i64) -> Op {
    let fresh = came(world, node, key);
    world.nodes[node].insert(key, [fresh, fresh, 0, region], below)
}

/// A row comes, over what this node knows to be gone.
fn came(world: &mut World, node: usize, key: i64) -> i64 {
    let fresh = world.known.fresh();
    let here = &world.nodes[node];
    let parent = here.gone.get(&key).copied();
    let over = here.learned.get(&key).cloned().unwrap_or_default();
    world.known.parents.insert(fresh, parent);
    world.known.inserted.insert(fresh, over);
    world.known.written.entry(key).or_default().push(fresh);
    world.known.unsteady.insert(key);
    wrote(world, node, key, Some(fresh));
    fresh
}

/// A row goes, having been seen.
fn deleted(world: &mut World, node: usize, key: i64) {
    saw(world, node, key, &[PHONE, MAIL]);
    let (here, known) = (&world.nodes[node], &mut world.known);
    let (row, rank) = (&here.rows[&key], here.rank);
    known.deleted.entry(key).or_default().push(Deleted {
        seen: table::cell(row, PHONE),
        stamp: Stamp::delete(table::stamp(row).version, rank),
    });
    known.unsteady.insert(key);
    wrote(world, node, key, None);
}

fn moved(world: &mut World, node: usize, key: i64, to: i64) -> Option<Op> {
    if world.nodes[node].rows.contains_key(&to) || to == key {
        return None;
    }
    // The row is another one there: what is looked for afterwards is new.
    deleted(world, node, key);
    let fresh = came(world, node, to);
    let op = world.nodes[node].move_key(key, to, |row| {
        table::set(row, PHONE, fresh);
        table::set(row, MAIL, fresh);
    });
    let rank = world.nodes[node].rank;
    world.tell(|| format!("{rank} moves {key} to {}", written(&op)));
    Some(op)
}

fn update(world: &mut World, node: usize, statement: &Statement, region: i64) -> Op {
    let is_partial = world.setup.is_partial() || world.is(Wrong::PatchOnEqualVersion);
    let (phone, mail, stock) = match is_partial {
        true => statement.columns,
        false => (true, true, world.setup.is_owned && statement.columns.2),
    };
    let key = statement.key;
    let fresh = world.known.fresh();
    let changed = [(PHONE, phone), (MAIL, mail)];
    let columns: Vec<usize> = changed
        .iter()
        .filter(|(_, is)| *is)
        .map(|(column, _)| *column)
        .collect();
    saw(world, node, key, &columns);
    let before = table::cell(&world.nodes[node].rows[&key], PHONE);
    if phone {
        world.known.parents.insert(fresh, Some(before));
        world.known.written.entry(key).or_default().push(fresh);
        wrote(world, node, key, Some(fresh));
    }
    let add = if stock { statement.add } else { 0 };
    *world.known.added.entry(key).or_default() += add;
    if stock && world.nodes[node].rank == owned::OWNER {
        let stands = table::cell(&world.nodes[node].rows[&key], STOCK);
        world.known.owned.insert(key, stands + add);
    }
    let raised = i64::from(!world.is(Wrong::Unraised));
    world.nodes[node].update(key, raised, |row| {
        columns.iter().for_each(|column| table::set(row, *column, fresh));
        let stock = table::cell(row, STOCK);
        table::set(row, STOCK, stock + add);
        table::set(row, REGION, region);
    })
}

/// An insert that has read what it starts above, and is written later.
fn race(world: &mut World, node: usize, keeps: bool) {
    if !world.nodes[node].inserting.is_empty() {
        return commit_insert(world, node);
    }
    let key = world.random.below(KEYS) as i64;
    let stands = world.nodes[node].rows.contains_key(&key);
    // Only these rules tell a missed bump from a conflict; a filter hides it.
    let is_raced = !world.setup.is_filtered && !keeps && !stands;
    let races = [Wrong::Nothing, Wrong::MissedBump, Wrong::TouchedTooSoon];
    if is_raced && races.contains(&world.setup.wrong) {
        let below = world.nodes[node].below(key);
        world.nodes[node].inserting.push((key, below));
    }
}

fn commit_insert(world: &mut World, node: usize) {
    let (key, below) = world.nodes[node].inserting.remove(0);
    if let Some(marked) = &mut world.nodes[node].marked {
        marked.is_raced = false;
    }
    if world.nodes[node].rows.contains_key(&key) {
        return;
    }
    let is_raced = below < world.nodes[node].below(key);
    if world.nodes[node].given.contains(&(key, below + 1)) {
        world.known.given_twice.insert(key);
    }
    let op = insert(world, node, key, below, 1);
    if is_raced {
        world.known.late.insert(key);
        let phone = table::cell(&world.nodes[node].rows[&key], PHONE);
        world.known.raced.insert(phone);
    }
    let rank = world.nodes[node].rank;
    world.tell(|| format!("{rank} writes late {}", written(&op)));
    world.log_by_user(node, vec![op]);
}

/// A person decides one row that waits, by a write above all that any node knows of it, on the node that the change which
/// waits came from: what waits is what it is made on, so nobody is asked again.
fn settle(world: &mut World) -> bool {
    for node in &mut world.nodes {
        let over: Vec<i64> = node
            .parked
            .keys()
            .copied()
            .filter(|key| node.is_settled(*key))
            .collect();
        over.iter().for_each(|key| drop(node.parked.remove(key)));
    }
    let waiting: Vec<(usize, i64)> = world
        .nodes
        .iter()
        .enumerate()
        .filter(|(node, _)| world.members.left != Some(*node))
        .flat_map(|(node, here)| here.parked.keys().map(move |key| (node, *key)))
        .collect();
    if waiting.is_empty() {
        return false;
    }
    let (asked, key) = waiting[world.random.below(waiting.len())];
    let node = world.nodes[asked].parked[&key].source;
    let fresh = world.known.fresh();
    for seen in [asked, node] {
        if world.nodes[seen].rows.contains_key(&key) {
            saw(world, seen, key, &[PHONE, MAIL]);
        }
    }
    world.known.unsteady.insert(key);
    world.known.settled.entry(key).or_default().push(fresh);
    let greatest = world.nodes.iter().map(|node| node.greatest(key)).max();
    let here = &mut world.nodes[node];
    let above = Stamp::write(greatest.unwrap_or_default() + 1, here.rank);
    here.parked.remove(&key);
    let mut ops = vec![here.put(table::row(key, [fresh, fresh, 0, 1], above))];
    if world.random.one_in(4) {
        deleted(world, node, key);
        ops.push(world.nodes[node].delete(key));
    }
    let rank = world.nodes[node].rank;
    world.tell(|| format!("{rank} settles {key} at {above}"));
    let mut entry = super::node::Entry::default();
    ops.into_iter()
        .for_each(|op| entry.push(Writer::User, Logged::Row(op)));
    world.nodes[node].log.push(entry);
    true
}
