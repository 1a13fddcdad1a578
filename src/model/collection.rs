//! What the collection of tombstones asks of a node and keeps on it.
//!
//! A generation is all tombstones that were marked before one look at the logs; it is marked in batches, so that it can
//! be dropped in batches, each with a number of its own: see [`number`].

use super::position::Position;
use super::schema::{Table, TableId};
use super::stamp::Rank;
use std::sync::Arc;

/// Batches in a generation at most.
const BATCHES_MAX: i64 = 1 << 20;

/// The mark of one batch of a generation.
pub fn number(generation: i64, batch: i64) -> i64 {
    generation * BATCHES_MAX + batch.min(BATCHES_MAX - 1)
}

/// The row of `tidelock.collection`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collection {
    /// Marked last; its number is raised before the first of its tombstones is.
    pub generation: i64,
    /// What it waits for, as text that `flow` knows; `None`: nothing waits.
    pub state: Option<String>,
    /// The same for people; empty = nothing.
    pub waits_for: String,
}

/// A table and where its tombstones are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stones {
    pub table: TableId,
    pub name: String,
    pub has_unmarked: bool,
    pub has_marked: bool,
}

/// How far the links into a node have come, and which of its tables are not as far: one look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    pub links: Vec<(String, Position)>,
    /// Held by that link.
    pub held: Vec<(String, TableId)>,
    /// With changes that wait for somebody.
    pub parked: Vec<TableId>,
}

/// Whose lease must be valid for something to be dropped.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    pub sync: &'a str,
    pub link: &'a str,
    pub instance: &'a str,
}

/// Tombstones of one number, to be dropped in one transaction.
#[derive(Debug)]
pub struct Batch {
    pub table: Arc<Table>,
    /// The table that they are in.
    pub stones: String,
    pub number: i64,
    /// The node they are on.
    pub me: Rank,
    /// Now, in microseconds since 1970.
    pub at_us: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// So many; of the rows that stood below theirs so many were raised above it.
    Done { tombstones: u64, raised: u64 },
    /// The lease is not ours any more: nothing was changed.
    Fenced,
}

/// For `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TombstoneFigures {
    /// Counted up to [`COUNT_MAX`] per table.
    pub count: u64,
    /// Since the oldest of these delete was written here, by this node's clock.
    pub oldest_ms: Option<u64>,
    pub waits_for: String,
}

/// Counting more than that would cost more than it tells.
pub const COUNT_MAX: u64 = 1_000_000;
