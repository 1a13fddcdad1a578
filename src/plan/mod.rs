//! Compiled plans: how a change of a source table becomes writes to a target table.
//!
//! Owns: the nouns that flow and targets share ([`Shape`], [`Write`], [`Move`]); [`compile`] holds the plan itself,
//! [`evolve`] whether a plan may follow its source's DDL, [`differ`] the words for tables that do not fit, [`layer`] the
//! compaction of a group, [`evidence`] the JSON of rows in conflict records. Pure: no I/O, no engine.

pub mod compile;
pub mod differ;
pub mod evidence;
pub mod evolve;
pub mod layer;

pub use compile::{Address, Author, Plan, Planned, PlannedOp};

use crate::model::origin::Marker;
use crate::model::schema::{Column, Table};
use crate::model::stamp::Stamp;
use crate::model::value::{Row, Value};
use std::sync::Arc;

/// Where a merge table keeps its stamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampColumns {
    /// Indexes into the target table's columns.
    pub version: usize,
    pub origin: usize,
    /// Tombstone table in the control schema: the key's columns, then `tidelock_version`, `tidelock_origin`.
    pub tombstones: String,
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
    /// unique keys. (Where rows can trade unique values they are deleted and inserted again, and must come back whole.)
    pub untouched: Vec<usize>,
}

impl Shape {
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
