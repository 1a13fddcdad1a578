//! What a source yields: committed transactions, cut into bounded parts.

use super::origin::{CONTROL, Marker};
use super::position::Position;
use super::schema::Table;
use super::value::Row;
use std::sync::Arc;

/// One row's change. In merge mode old and new rows are whole; in transactional mode an update may lack
/// cells that did not change, and `old` is there only when the key changed or the log carries it.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    Insert { new: Row },
    Update { old: Option<Row>, new: Row },
    Delete { old: Row },
    Truncate,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The source's table as its log described it. Unchanged tables share one `Arc`: plans are cached by it.
    pub table: Arc<Table>,
    pub op: Op,
}

impl Change {
    /// Of our own tables only a hub's tombstones are read.
    pub fn is_tombstone(&self) -> bool {
        self.table.id.schema == CONTROL
    }

    pub fn bytes(&self) -> usize {
        std::mem::size_of::<Change>()
            + match &self.op {
                Op::Insert { new } => new.bytes(),
                Op::Update { old, new } => old.as_ref().map_or(0, Row::bytes) + new.bytes(),
                Op::Delete { old } => old.bytes(),
                Op::Truncate => 0,
            }
    }
}

/// Who wrote the changes that follow, as the last marker in their transaction says.
#[derive(Debug, Clone, PartialEq)]
pub enum Writer {
    /// No marker: somebody else's write, which replicates.
    User,
    /// Tidelock wrote it, of whatever sync; the guard decides by the marker.
    Tidelock(Arc<Marker>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Names the transaction in its log: commit LSN, GTID, or where it begins. With an ordinal it addresses a change.
    pub transaction: String,
    /// Where the link stands after it, if its name alone does not tell: it also ends what was prepared under another.
    pub past: Option<Position>,
    /// Commit time by the source's clock, microseconds since 1970 UTC. Never used for order.
    pub committed_at_us: i64,
}

/// A piece of one committed transaction, in log order, written by one writer.
#[derive(Debug, Clone)]
pub struct Part {
    pub head: Arc<Head>,
    pub writer: Writer,
    /// Ordinal of `changes[0]` in its transaction, counted over tables of this sync only.
    pub first: u64,
    pub changes: Vec<Change>,
    /// Set on the last part of a transaction (which may be empty): where the link stands after it.
    pub end: Option<Position>,
    /// Memory the changes keep alive.
    pub bytes: usize,
}

#[derive(Debug, Clone)]
pub enum Step {
    Part(Part),
    /// Nothing of interest happened up to here; no transaction is open.
    /// `foreign_bytes`: log written meanwhile that Tidelock did not itself cause, as far as the source can tell.
    Idle {
        position: Position,
        foreign_bytes: u64,
    },
}
