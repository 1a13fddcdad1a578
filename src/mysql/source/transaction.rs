//! The transaction that is being read, and what is held of it until it is decided.
//!
//! Owns: [`Open`], its name in the log ([`Id`]), and events as records of a [`Spill`].
//! **Held** are transactions whose end may not come although their rows did: XA transactions, which are decided after
//! their rows, and everything on MariaDB, whose binlog keeps the begin of what a crash cut off.

use super::super::wire::{Gtid, MariaGtid};
use crate::model::change::{Change, Head, Writer};
use crate::model::schema::TableId;
use crate::spill::Spill;
use bytes::{Buf, Bytes};
use std::sync::Arc;

/// One event as it was framed, without header and checksum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event<'a> {
    pub(super) kind: u8,
    pub(super) server_id: u32,
    pub(super) timestamp: u32,
    /// Of the log it takes; 0 inside a compressed transaction, whose size is counted once.
    pub(super) size: u32,
    /// Where it ends in its file, modulo 4 GiB; 0 where it stands in none.
    pub(super) end: u32,
    pub(super) is_artificial: bool,
    pub(super) is_ignorable: bool,
    pub(super) body: &'a [u8],
}

/// The name a transaction has in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Id {
    Gtid(Gtid),
    Maria(MariaGtid, u32),
    /// None; it is known by its place.
    Anonymous,
}

/// How a transaction ends.
#[derive(Debug)]
pub(super) enum Ending {
    Commit,
    /// Its rows are kept until it is decided, under this name.
    Prepared(String),
    /// It decides what was prepared under this name.
    Decided {
        is_commit: bool,
        xid: String,
    },
}

/// An XA transaction that waits for its decision.
pub(super) struct Prepared {
    pub(super) id: Id,
    pub(super) held: Spill,
}

/// The transaction that is being read.
pub(super) struct Open {
    pub(super) head: Arc<Head>,
    pub(super) id: Id,
    /// The one that it decides.
    pub(super) decided: Option<Id>,
    /// Closed by XID or COMMIT; otherwise by its one statement.
    pub(super) has_begun: bool,
    /// Events that wait for the end.
    pub(super) held: Option<Spill>,
    /// A synced table that events which are held write to.
    pub(super) held_table: Option<TableId>,
    pub(super) writer: Writer,
    pub(super) has_marker: bool,
    /// The current segment has been handed on at least once.
    pub(super) has_part: bool,
    /// Changes of interest so far.
    pub(super) count: u64,
    pub(super) changes: Vec<Change>,
    pub(super) bytes: usize,
    pub(super) log_bytes: u64,
}

impl Open {
    pub(super) fn new(head: Head, id: Id, log_bytes: u64) -> Self {
        Open {
            head: Arc::new(head),
            id,
            decided: None,
            has_begun: false,
            held: None,
            held_table: None,
            writer: Writer::User,
            has_marker: false,
            has_part: false,
            count: 0,
            changes: Vec::new(),
            bytes: 0,
            log_bytes,
        }
    }

    /// No row of it was handed on.
    pub(super) fn has_no_rows_told(&self) -> bool {
        self.count == self.changes.len() as u64
    }

    /// Not even that it began was handed on.
    pub(super) fn is_untold(&self) -> bool {
        self.held.is_some() || (self.has_no_rows_told() && !self.has_marker)
    }

    pub(super) fn clear(&mut self) {
        self.changes.clear();
        self.bytes = 0;
        self.count = 0;
        self.held = None;
    }
}

/// An event as a record: kind, server, time, body. Its place and size were counted when it came.
pub(super) fn record(event: &Event<'_>) -> Vec<u8> {
    let mut record = Vec::with_capacity(9 + event.body.len());
    record.push(event.kind);
    record.extend(event.server_id.to_le_bytes());
    record.extend(event.timestamp.to_le_bytes());
    record.extend(event.body);
    record
}

/// What [`record`] wrote. `None`: something else did.
pub(super) fn recorded(record: &mut Bytes) -> Option<Event<'_>> {
    Some(Event {
        kind: record.try_get_u8().ok()?,
        server_id: record.try_get_u32_le().ok()?,
        timestamp: record.try_get_u32_le().ok()?,
        size: 0,
        end: 0,
        is_artificial: false,
        is_ignorable: false,
        body: record,
    })
}
