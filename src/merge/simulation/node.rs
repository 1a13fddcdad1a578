//! One node: its rows, tombstones and log, and what its triggers make of a user's write.

use super::oracle::Deleted;
use super::table::{self, ID, PHONE};
use crate::merge::collection::{self, Place};
use crate::model::change::Op;
use crate::model::stamp::{Rank, Stamp};
use crate::model::value::Row;
use crate::plan::Planned;
use std::collections::{BTreeMap, BTreeSet};

/// What a log holds of one change.
#[derive(Debug, Clone)]
pub enum Logged {
    Row(Op),
    /// Only a tombstone was altered.
    Buried(i64, Stamp),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    User,
    /// On its own account, in answer to this node.
    Own(usize),
    /// Applied for this node.
    Applied(usize),
}

/// One transaction: segments of different writers. An idle checkpoint has none.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    pub segments: Vec<(Writer, Vec<Logged>)>,
}

impl Entry {
    pub fn push(&mut self, writer: Writer, op: Logged) {
        match self.segments.last_mut() {
            Some((last, ops)) if *last == writer => ops.push(op),
            _ => self.segments.push((writer, vec![op])),
        }
    }
}

/// A place in a log: behind so many of its transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At(pub usize);

impl Place for At {
    fn reaches(&self, other: &Self) -> bool {
        self.0 >= other.0
    }
}

/// Tombstones that are to go together.
#[derive(Debug, Clone)]
pub struct Marked {
    pub stones: Vec<(i64, Stamp)>,
    pub generation: collection::Generation<At>,
    /// The table had parked changes when a peer's log was noted.
    pub is_left_out: bool,
    /// An insert was under way that may have read what it starts above before these deletes.
    pub is_raced: bool,
}

/// A row of a peer that was kept out below what stands here, with the end of our log: it is looked at when the peer has
/// come so far.
#[derive(Debug, Clone, Copy)]
pub struct Doubt {
    pub peer: usize,
    pub key: i64,
    pub standing: Stamp,
    pub at: usize,
}

/// Changes of one key that wait for a person, and what stood here when the first of them came.
#[derive(Debug, Clone, Default)]
pub struct Parked {
    pub local: Option<Stamp>,
    /// The node that the last of them came from.
    pub source: usize,
    pub changes: Vec<Planned>,
}

impl Parked {
    /// The greatest that waits.
    pub fn stamp(&self) -> Option<Stamp> {
        self.changes
            .iter()
            .map(|change| table::incoming(&change.op).stamp())
            .max()
    }
}

#[derive(Debug, Clone, Default)]
pub struct Node {
    pub rank: Rank,
    pub rows: BTreeMap<i64, Row>,
    pub tombstones: BTreeMap<i64, Stamp>,
    pub floor: i64,
    pub log: Vec<Entry>,
    /// By source: how far its log is read.
    pub read: Vec<usize>,
    /// Checkpoints, by source: where a restart begins. Reading what is not for this node moves none.
    pub kept: Vec<usize>,
    pub parked: BTreeMap<i64, Parked>,
    pub doubted: Vec<Doubt>,
    /// Inserts under way: the version that their trigger has read.
    pub inserting: Vec<(i64, i64)>,
    pub marked: Option<Marked>,
    /// What was in the row that was deleted here last.
    pub gone: BTreeMap<i64, i64>,
    /// By key: the deletes that this node knows of, whatever became of them.
    pub learned: BTreeMap<i64, BTreeSet<Stamp>>,
    /// Rows that this node deleted on its own account, as their arbiter: what was in `phone`, and the delete.
    pub own_deletes: Vec<(i64, Deleted)>,
    /// Keys of rows that gave way to a change above all that waited for a person.
    pub yielded: BTreeSet<i64>,
    /// The versions that this node has given, by key.
    pub given: BTreeSet<(i64, i64)>,
}

impl Node {
    pub fn new(rank: Rank, nodes: usize) -> Node {
        Node {
            rank,
            read: vec![0; nodes],
            kept: vec![0; nodes],
            ..Node::default()
        }
    }

    pub fn row_stamp(&self, key: i64) -> Option<Stamp> {
        self.rows.get(&key).map(table::stamp)
    }

    /// What an insert starts above, as its trigger reads it now.
    pub fn below(&self, key: i64) -> i64 {
        let tombstone = self.tombstones.get(&key).map_or(0, |stamp| stamp.version);
        tombstone.max(self.floor)
    }

    pub fn insert(&mut self, key: i64, cells: [i64; 4], below: i64) -> Op {
        let new = table::row(key, cells, Stamp::write(below + 1, self.rank));
        self.given.insert((key, below + 1));
        self.rows.insert(key, new.clone());
        Op::Insert { new }
    }

    /// `raised`: by how much the trigger raises the version.
    pub fn update(&mut self, key: i64, raised: i64, write: impl FnOnce(&mut Row)) -> Op {
        let old = self.rows[&key].clone();
        let mut new = old.clone();
        write(&mut new);
        if raised > 0 {
            let version = table::stamp(&old).version + raised;
            self.given.insert((key, version));
            table::set_stamp(&mut new, Stamp::write(version, self.rank));
        }
        self.rows.insert(key, new.clone());
        Op::Update { old: Some(old), new }
    }

    pub fn move_key(&mut self, key: i64, to: i64, write: impl FnOnce(&mut Row)) -> Op {
        let old = self.remove(key);
        let version = table::stamp(&old).version;
        let stamp = Stamp::delete(version, self.rank);
        self.learn(key, stamp);
        self.bury(key, stamp);
        let mut new = old.clone();
        write(&mut new);
        table::set(&mut new, ID, to);
        let version = (version + 1).max(self.below(to) + 1);
        table::set_stamp(&mut new, Stamp::write(version, self.rank));
        self.given.insert((to, version));
        self.rows.insert(to, new.clone());
        Op::Update { old: Some(old), new }
    }

    /// The arbiter's own.
    pub fn delete_itself(&mut self, key: i64) -> Op {
        let row = &self.rows[&key];
        let deleted = Deleted {
            seen: table::cell(row, PHONE),
            stamp: Stamp::delete(table::stamp(row).version, self.rank),
        };
        self.own_deletes.push((key, deleted));
        self.delete(key)
    }

    /// By this node: a user, or the arbiter.
    pub fn delete(&mut self, key: i64) -> Op {
        let old = self.remove(key);
        let stamp = Stamp::delete(table::stamp(&old).version, self.rank);
        self.learn(key, stamp);
        self.bury(key, stamp);
        Op::Delete { old }
    }

    pub fn learn(&mut self, key: i64, delete: Stamp) {
        self.learned.entry(key).or_default().insert(delete);
    }

    pub fn remove(&mut self, key: i64) -> Row {
        let old = self.rows.remove(&key).unwrap();
        self.gone.insert(key, table::cell(&old, PHONE));
        old
    }

    /// Whole, as it comes from elsewhere.
    pub fn put(&mut self, row: Row) -> Op {
        let old = self.rows.insert(table::cell(&row, ID), row.clone());
        match old {
            Some(_) => Op::Update { old, new: row },
            None => Op::Insert { new: row },
        }
    }

    /// Was it altered? Tombstones have no kind: what left a filter is kept like what was deleted.
    pub fn bury(&mut self, key: i64, stamp: Stamp) -> bool {
        let stamp = Stamp::delete(stamp.version, stamp.origin);
        let standing = self.tombstones.get(&key).copied();
        let rises = standing.is_none_or(|standing| standing < stamp);
        if rises {
            self.tombstones.insert(key, stamp);
        }
        rises
    }

    /// The greatest of row and tombstone.
    pub fn stands(&self, key: i64) -> Option<Stamp> {
        self.row_stamp(key).max(self.tombstones.get(&key).copied())
    }

    /// A write of this node is above what stood when the first of them came, and above all that waits: nobody has to decide.
    pub fn is_settled(&self, key: i64) -> bool {
        let stands = self.stands(key);
        self.parked
            .get(&key)
            .is_some_and(|waiting| stands > waiting.local && stands > waiting.stamp())
    }

    pub fn park(&mut self, source: usize, key: i64, change: &Planned) {
        let local = self.stands(key);
        let parked = self.parked.entry(key).or_insert(Parked {
            local,
            source,
            changes: Vec::new(),
        });
        parked.source = source;
        parked.changes.push(change.clone());
    }

    /// The greatest of all that was seen of a key.
    pub fn greatest(&self, key: i64) -> i64 {
        let row = self.row_stamp(key).map_or(0, |stamp| stamp.version);
        let waiting = self.parked.get(&key).and_then(Parked::stamp);
        row.max(self.below(key))
            .max(waiting.map_or(0, |stamp| stamp.version))
    }
}
