//! Compiled plans: how a change of a source table becomes writes to a target table.
//!
//! Owns: the nouns that flow and targets share ([`Shape`], [`Write`], [`Move`]); [`compile`] holds the plan itself,
//! [`formula`] and [`translation`] what its cells are made of, [`guard`] what a target does not let its source write,
//! [`evolve`] whether a plan may follow its source's DDL, [`image`] a table's rows beside it, [`differ`] the words for tables that
//! do not fit, [`layer`] the compaction of a group, [`evidence`] the JSON of rows in conflict records, [`restore`] the way back.
//! Pure: no I/O, no engine.

pub mod compile;
pub mod differ;
pub mod evidence;
pub mod evolve;
pub mod formula;
pub mod guard;
pub mod image;
pub mod layer;
pub mod restore;
pub mod translation;

pub use compile::{Address, Author, Plan, Planned, PlannedOp};

use crate::merge::Incoming;
use crate::model::origin::Marker;
use crate::model::schema::{Column, Table};
use crate::model::stamp::Stamp;
use crate::model::value::{Row, Value};
use bytes::Bytes;
use std::sync::Arc;

/// Where a merge table keeps its stamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampColumns {
    /// Indexes into the target table's columns.
    pub version: usize,
    pub origin: usize,
    /// Tombstone table in the control schema: the key's columns, then `tidelock_version`, `tidelock_origin`.
    pub tombstones: String,
    /// The table may not be altered.
    pub beside: Option<Beside>,
}

/// The stamps of a table that may not be altered stand in a table of their own, under the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// That table, in the control schema.
    pub stamps: String,
    /// Whoever writes is a user, whose rows the triggers stamp.
    pub by_triggers: bool,
}

/// What a target needs to know to write into a table.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The target's table, from its catalog. Rows in writes have a cell per column of it; generated columns
    /// and columns that are not carried are always `None`.
    pub table: Arc<Table>,
    /// Present in merge mode.
    pub stamps: Option<StampColumns>,
    /// Columns that are neither read nor written, so that no right on them is needed: skipped ones of a table without
    /// unique keys whose stamps stand in it. (Where rows can trade unique values, or are to be logged although nothing of
    /// them changes, they are deleted and inserted again, and must come back whole.)
    pub untouched: Vec<usize>,
}

impl Shape {
    /// Where its stamps stand, if not in the table.
    pub fn beside(&self) -> Option<&Beside> {
        self.stamps.as_ref()?.beside.as_ref()
    }

    /// Columns whose cells are read.
    pub fn stored(&self) -> impl Iterator<Item = (usize, &Column)> {
        let columns = self.table.columns.iter().enumerate();
        columns.filter(|(place, column)| !column.generated && !self.untouched.contains(place))
    }
}

/// The key's cells in the order of `Table::key`.
pub type Key = Box<[Value]>;

/// One row to write. Keys are distinct within a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    pub key: Key,
    pub op: WriteOp,
}

#[derive(Debug, Clone, PartialEq)]
pub enum WriteOp {
    Insert {
        row: Row,
    },
    /// Cells that are `None` are left as they are. `base` is the stamp the row must have (merge). `here` is the row as
    /// it was read: with it a row can be taken away and put back whole, while rows trade unique values.
    Update {
        row: Row,
        base: Option<Stamp>,
        here: Option<Row>,
    },
    /// `tombstone` is set in merge mode.
    Delete {
        base: Option<Stamp>,
        tombstone: Option<Stamp>,
    },
    /// The delete of a row that was not there when it was read. One that is there by now was not seen by whoever
    /// decided: it stays, and the write is lost.
    Bury {
        tombstone: Option<Stamp>,
    },
}

/// What became of one unconditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    Done,
    /// The row is no longer as it was read (inserted by somebody else meanwhile): read and decide again.
    Lost,
    /// Another row holds a unique value of this one.
    UniqueTaken(String),
    /// The database refused the row; the text names the constraint or column, never the value.
    Refused(String),
}

/// Rows of a first copy, which are written all or not at all.
#[derive(Debug, Clone, Copy)]
pub enum Load<'a> {
    /// The cells lie there in each row, in the order of the target's columns that are written.
    Rows(&'a [Row], &'a [usize]),
    /// For PostgreSQL, which reads them as they are.
    Lines(&'a Lines),
}

/// Rows as PostgreSQL's COPY reads and writes them, in blocks of whole lines.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    pub blocks: Vec<Bytes>,
    pub rows: u64,
    pub bytes: usize,
    /// Not COPY's text format.
    pub is_binary: bool,
}

/// One transaction's move of the checkpoint, which is also its marker.
#[derive(Debug, Clone)]
pub struct Move {
    /// Names the checkpoint by (sync, link, lane) and holds its new seq and position.
    pub marker: Marker,
    /// The epoch this holder has; another one in the row means that somebody took over.
    pub epoch: i64,
    /// The seq the row must have now.
    pub from_seq: i64,
    /// See [`crate::model::sync::Checkpoint::settle`].
    pub settle: Option<String>,
    pub source_identity: String,
}

impl PlannedOp {
    /// Reduced to its stamps; `None` without them (transactional mode).
    pub fn incoming(&self) -> Option<Incoming> {
        match self {
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

    /// The source wrote over a row that the target alone sends, or deleted it: with which stamp. Nothing of it is to be
    /// written, only answered; its base names no row that the target has.
    pub fn told(&self) -> Option<Stamp> {
        match self {
            PlannedOp::Delete { base, stamp, .. } => stamp.filter(|stamp| *base == Some(*stamp)),
            PlannedOp::Insert { .. } | PlannedOp::Update { .. } | PlannedOp::Refused { .. } => None,
        }
    }

    /// The stamp of an update that kept it: a trigger was off when the row was written.
    pub fn unraised(&self) -> Option<Stamp> {
        match self {
            PlannedOp::Update { base, stamp, .. } | PlannedOp::Refused { base, stamp, .. } => {
                stamp.filter(|stamp| *base == Some(*stamp))
            }
            PlannedOp::Insert { .. } | PlannedOp::Delete { .. } => None,
        }
    }
}
