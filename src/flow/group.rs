//! Puts parts together to transactions, and transactions to groups.
//!
//! Owns: what has been received and not yet applied. Refuses: splitting a transaction over two groups; one that
//! is larger than a group comes piece by piece, and nothing else comes before its end.

use super::link::Receiver;
use super::pulse::Ops;
use super::reader::Received;
use crate::error::{Error, Halt, Result};
use crate::model::change::{Part, Step, Writer};
use crate::model::position::Position;
use crate::model::schema::TableId;

/// A whole transaction, or a piece of a large one.
pub(super) struct Transaction {
    received: Vec<Received>,
    /// Where the link stands after it; `None` = more pieces follow.
    pub end: Option<Position>,
}

impl Transaction {
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.received.iter().filter_map(|received| match &received.step {
            Step::Part(part) => Some(part),
            Step::Idle { .. } => None,
        })
    }

    /// What `tidelock skip` has to know of it, when it is what stops the link.
    pub(super) fn halt(&self) -> Option<Halt> {
        let head = &self.parts().next()?.head;
        let changes = self.parts().flat_map(|part| &part.changes);
        let changes = changes.filter(|change| !change.is_tombstone());
        let mut tables: Vec<TableId> = changes.map(|change| change.table.id.clone()).collect();
        tables.sort();
        tables.dedup();
        Some(Halt {
            transaction: head.transaction.clone(),
            past: self.end.as_ref().or(head.past.as_ref()).map(ToString::to_string),
            tables,
            changes: self.changes() as u64,
        })
    }

    /// Memory of its changes.
    pub(super) fn bytes(&self) -> usize {
        self.parts().map(|part| part.bytes).sum()
    }

    /// Log it took, echoes included.
    pub(super) fn log_bytes(&self) -> u64 {
        self.received.iter().map(|received| received.log_bytes).sum()
    }

    /// Its changes by kind, those of Tidelock left out.
    pub(super) fn ops(&self) -> Ops {
        let mut sum = Ops::default();
        self.received.iter().for_each(|received| sum += received.ops);
        sum
    }

    /// By the source's clock.
    pub(super) fn committed_at_us(&self) -> Option<i64> {
        self.parts().next().map(|part| part.head.committed_at_us)
    }

    fn changes(&self) -> usize {
        self.parts().map(|part| part.changes.len()).sum()
    }

    /// Did somebody else than Tidelock write it?
    pub(super) fn is_foreign(&self) -> bool {
        self.parts().any(|part| part.writer == Writer::User)
    }
}

pub(super) enum Unit {
    Idle {
        position: Position,
        foreign: u64,
    },
    Whole(Transaction),
    /// The first piece of a transaction that is larger than a group.
    Open(Transaction),
}

pub(super) struct Collector {
    receiver: Receiver,
    bytes_max: usize,
    /// Parts of the transaction that is being received.
    partial: Vec<Received>,
    partial_bytes: usize,
    /// A unit that did not fit into the last group.
    carried: Option<Unit>,
    /// What the reader died of, met while a group was filled: told when that group has been applied.
    failed: Option<Error>,
}

impl Collector {
    pub(super) fn new(receiver: Receiver, bytes_max: usize) -> Self {
        Collector {
            receiver,
            bytes_max,
            partial: Vec::new(),
            partial_bytes: 0,
            carried: None,
            failed: None,
        }
    }

    /// The next unit. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Unit> {
        if let Some(unit) = self.carried.take() {
            return Ok(unit);
        }
        loop {
            let received = self.receive().await?;
            if let Some(unit) = self.take(received) {
                return Ok(unit);
            }
        }
    }

    /// The next piece of a transaction that came as [`Unit::Open`]. Cancel-safe.
    pub(super) async fn rest(&mut self) -> Result<Transaction> {
        match self.next().await? {
            Unit::Whole(transaction) | Unit::Open(transaction) => Ok(transaction),
            Unit::Idle { .. } => Err(Error::bug("read a transaction").why("the source went idle inside it")),
        }
    }

    /// `first` and whatever else has come, up to the bounds.
    pub(super) fn group(&mut self, first: Transaction, rows_max: usize) -> Vec<Transaction> {
        let (mut rows, mut bytes) = (first.changes(), first.bytes());
        let mut group = vec![first];
        while rows < rows_max && bytes < self.bytes_max && self.carried.is_none() {
            let received = match self.receiver.try_recv() {
                Ok(Ok(received)) => received,
                Ok(Err(error)) => {
                    self.failed = Some(error);
                    break;
                }
                // Nothing has come yet; an end is met by the next `receive`.
                Err(_) => break,
            };
            match self.take(received) {
                None => {}
                Some(Unit::Whole(next)) if bytes + next.bytes() <= self.bytes_max => {
                    rows += next.changes();
                    bytes += next.bytes();
                    group.push(next);
                }
                Some(unit) => self.carried = Some(unit),
            }
        }
        group
    }

    async fn receive(&mut self) -> Result<Received> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        match self.receiver.recv().await {
            Some(received) => received,
            None => Err(Error::bug("read the source").why("its task ended without a word")),
        }
    }

    fn take(&mut self, received: Received) -> Option<Unit> {
        let (end, bytes) = match &received.step {
            Step::Idle {
                position,
                foreign_bytes,
            } => {
                return Some(Unit::Idle {
                    position: position.clone(),
                    foreign: *foreign_bytes,
                });
            }
            Step::Part(part) => (part.end.clone(), part.bytes),
        };
        self.partial.push(received);
        self.partial_bytes += bytes;
        if end.is_none() && self.partial_bytes < self.bytes_max {
            return None;
        }
        self.partial_bytes = 0;
        let transaction = Transaction {
            received: std::mem::take(&mut self.partial),
            end,
        };
        Some(if transaction.end.is_some() {
            Unit::Whole(transaction)
        } else {
            Unit::Open(transaction)
        })
    }
}
