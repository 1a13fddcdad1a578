//! Stamps beside their rows: joins the changes of a table that may not be altered with those of its stamp table.
//!
//! Pure. Owns: which row change and which stamp change are one, within one writer's part of a transaction, whatever the
//! order in which an engine logs them. What comes out is what a table with stamp columns would have logged: old rows
//! carry the stamp they had, new rows the one they were given, in the order of the rows' log.
//!
//! A row that stands has a stamp under its key, and what happens to the row happens to the stamp: it is inserted,
//! updated or deleted. A change of the key makes two changes of stamps, a delete and an insert. So the n-th change of a
//! row and the n-th of its stamp belong together. An update that changes nothing has no stamp, unless that says that it
//! is a touch. Where an engine does not log such an update, a touch takes its row away and puts it back, and its stamp
//! stays: these two are the update that they stand for.
//! A stamp that is inserted without an origin is the one that its row counts as anyway.
//! Refuses: a row change without a stamp, a stamp without a row change, and one that says another thing than the row
//! does: a trigger was off, or somebody wrote the stamp table. It refuses too what would wait in more memory than it may.

use crate::error::{Error, Result};
use crate::model::change::{Change, Op};
use crate::model::schema::{Column, Table, TableId};
use crate::model::sync::{ORIGIN_COLUMN, TOUCHED_COLUMN, VERSION_COLUMN};
use crate::model::value::{Row, Value};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The stamp of a row that has none of its own: it stood when Tidelock was enabled, and nobody has changed it since.
const UNWRITTEN: Numbers = Numbers {
    version: 1,
    origin: 0,
};
/// The origin of a stamp that is taken away by hand, because its row is gone without it.
const WITHDRAWN: i64 = -1;

/// A stamp as the two columns hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Numbers {
    version: i64,
    origin: i64,
}

/// A change of one stamp. `before`: what it was; `after`: what it is; `None` where there is none.
#[derive(Debug, Clone, Copy)]
struct Entry {
    before: Option<Numbers>,
    after: Option<Numbers>,
    /// It stands for a change of its row that need not have changed anything.
    touch: bool,
}

/// What a row change asks of the stamp under one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// The row comes to be.
    Comes,
    /// The row stays, changed.
    Stays,
    /// The row goes.
    Goes,
}

#[derive(Debug)]
struct Waiting {
    change: Change,
    /// Keys that lack their stamp's change.
    missing: u8,
    /// What the old row had and what the new one was given.
    base: Option<Numbers>,
    given: Option<Numbers>,
    /// A later one tells of it.
    is_told: bool,
}

type KeyBytes = Vec<u8>;

/// One table's changes of one transaction.
#[derive(Debug)]
pub struct Join {
    table: TableId,
    /// Names of the key's columns, which the stamp table has too.
    key: Vec<String>,
    waiting_bytes_max: usize,
    waiting_bytes: usize,
    waiting: VecDeque<Waiting>,
    /// The number of the first that waits.
    first: u64,
    /// Row changes that lack a stamp's change, the oldest first.
    asking: HashMap<KeyBytes, VecDeque<(u64, Asks)>>,
    /// Stamps' changes that came before their rows.
    early: HashMap<KeyBytes, VecDeque<Entry>>,
    /// The last update that changed nothing: the stamp of a touch may follow it.
    unchanged: Option<(KeyBytes, Change)>,
    /// The table as the log described it, and the same with stamp columns.
    stamped: Option<(Arc<Table>, Arc<Table>)>,
}

impl Join {
    /// `waiting_bytes_max`: bounds what waits for its stamp.
    pub fn new(table: TableId, key: Vec<String>, waiting_bytes_max: usize) -> Self {
        Join {
            table,
            key,
            waiting_bytes_max,
            waiting_bytes: 0,
            waiting: VecDeque::new(),
            first: 0,
            asking: HashMap::new(),
            early: HashMap::new(),
            unchanged: None,
            stamped: None,
        }
    }

    /// What of it is held in memory.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Rows that wait for their stamps.
    pub fn waiting_rows(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing waits for anything.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.early.is_empty()
    }

    /// Of a transaction that came to nothing.
    pub fn forget(&mut self) {
        *self = Join::new(
            self.table.clone(),
            std::mem::take(&mut self.key),
            self.waiting_bytes_max,
        );
    }

    /// The next change of the user's table.
    pub fn row(&mut self, change: Change, out: &mut Vec<Change>) -> Result<()> {
        let asks = match &change.op {
            Op::Insert { new } => vec![(self.key_of(&change.table, new)?, Asks::Comes)],
            Op::Delete { old } => vec![(self.key_of(&change.table, old)?, Asks::Goes)],
            Op::Update { old: Some(old), new } => {
                let (was, is) = (self.key_of(&change.table, old)?, self.key_of(&change.table, new)?);
                if is_same(old, new) && !self.is_touched(&is) {
                    self.unchanged = Some((is, change));
                    return Ok(());
                }
                match was == is {
                    true => vec![(is, Asks::Stays)],
                    false => vec![(was, Asks::Goes), (is, Asks::Comes)],
                }
            }
            Op::Update { old: None, .. } => return Err(self.lacks("an update came without its old row")),
            Op::Truncate => Vec::new(),
        };
        self.waits(change, asks)?;
        self.release(out)?;
        self.bound()
    }

    /// Did the stamp of a touch come before its row?
    fn is_touched(&self, key: &KeyBytes) -> bool {
        let first = self.early.get(key).and_then(VecDeque::front);
        first.is_some_and(|entry| entry.touch)
    }

    fn waits(&mut self, change: Change, asks: Vec<(KeyBytes, Asks)>) -> Result<()> {
        self.waiting_bytes += change.bytes();
        let number = self.first + self.waiting.len() as u64;
        self.waiting.push_back(Waiting {
            change,
            missing: u8::try_from(asks.len()).unwrap_or(u8::MAX),
            base: None,
            given: None,
            is_told: false,
        });
        for (key, asks) in asks {
            match take(&mut self.early, &key) {
                Some(entry) => {
                    self.waiting_bytes = self.waiting_bytes.saturating_sub(entry_bytes(&key));
                    self.settle(number, asks, entry)?;
                }
                None => self.asking.entry(key).or_default().push_back((number, asks)),
            }
        }
        Ok(())
    }

    /// The next change of the stamp table.
    pub fn stamp(&mut self, change: &Change, out: &mut Vec<Change>) -> Result<()> {
        let table = &change.table;
        let (row, entry) = match &change.op {
            Op::Insert { new } => {
                let after = self.numbers(table, new)?;
                if after.origin == UNWRITTEN.origin {
                    return Ok(());
                }
                (new, (None, Some(after), false))
            }
            Op::Update { old: Some(old), new } => {
                if self.key_of(table, old)? != self.key_of(table, new)? {
                    return Err(self.missed("the key of a stamp was changed"));
                }
                let touch =
                    self.number(table, old, TOUCHED_COLUMN)? != self.number(table, new, TOUCHED_COLUMN)?;
                let (before, after) = (self.numbers(table, old)?, self.numbers(table, new)?);
                if after.origin == WITHDRAWN {
                    return Ok(());
                }
                (new, (Some(before), Some(after), touch))
            }
            Op::Delete { old } => {
                let before = self.numbers(table, old)?;
                if before.origin == WITHDRAWN {
                    return Ok(());
                }
                (old, (Some(before), None, false))
            }
            Op::Update { old: None, .. } => return Err(self.lacks("a stamp came without what it was before")),
            Op::Truncate => return Err(self.missed("its stamp table was truncated")),
        };
        let key = self.key_of(table, row)?;
        let (before, after, touch) = entry;
        let entry = Entry { before, after, touch };
        if let Some((number, asks)) = take(&mut self.asking, &key) {
            match (asks, touch) {
                (Asks::Goes, true) => self.put_back(number, &key, entry)?,
                _ => self.settle(number, asks, entry)?,
            }
        } else {
            let is_its = |(unchanged, _): &(KeyBytes, Change)| touch && *unchanged == key;
            let touched = self.unchanged.take_if(|unchanged| is_its(unchanged));
            self.waiting_bytes += entry_bytes(&key);
            self.early.entry(key.clone()).or_default().push_back(entry);
            if let Some((_, change)) = touched {
                self.waits(change, vec![(key, Asks::Stays)])?;
            }
        }
        self.release(out)?;
        self.bound()
    }

    /// The transaction, or a writer's part of it, is over: nothing may be left.
    pub fn end(&mut self) -> Result<()> {
        self.unchanged = None;
        if !self.asking.is_empty() {
            return Err(self.missed("a row was changed and its stamp was not in one transaction"));
        }
        if !self.early.is_empty() {
            return Err(self.missed("a stamp was changed and its row was not in one transaction"));
        }
        self.waiting_bytes = 0;
        Ok(())
    }

    fn settle(&mut self, number: u64, asks: Asks, entry: Entry) -> Result<()> {
        // A stamp that is there already may have been left without its row: it is what a new row's begins from.
        let fits = match asks {
            Asks::Comes | Asks::Stays => entry.after.is_some(),
            Asks::Goes => entry.after.is_none(),
        };
        if !fits {
            return Err(self.missed("a stamp says another thing than its row does"));
        }
        let place = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        let Some(waiting) = self.waiting.get_mut(place) else {
            return Err(Error::bug("join a row with its stamp").table(&self.table));
        };
        let base = Some(entry.before.unwrap_or(UNWRITTEN));
        match asks {
            Asks::Comes => waiting.given = entry.after,
            Asks::Stays => (waiting.base, waiting.given) = (base, entry.after),
            Asks::Goes => waiting.base = base,
        }
        waiting.missing -= 1;
        Ok(())
    }

    /// A row that was taken away, and put back with another stamp.
    fn put_back(&mut self, gone: u64, key: &KeyBytes, entry: Entry) -> Result<()> {
        let Some((back, Asks::Comes)) = take(&mut self.asking, key) else {
            return Err(self.missed("a stamp says another thing than its row does"));
        };
        let place = |number: u64| usize::try_from(number - self.first).unwrap_or(usize::MAX);
        let (gone, back) = (place(gone), place(back));
        let old = match self.waiting.get_mut(gone) {
            Some(Waiting {
                change:
                    Change {
                        op: Op::Delete { old },
                        ..
                    },
                missing,
                is_told,
                ..
            }) => {
                (*missing, *is_told) = (0, true);
                std::mem::take(old)
            }
            _ => return Err(self.missed("a stamp says another thing than its row does")),
        };
        let Some(waiting) = self.waiting.get_mut(back) else {
            return Err(Error::bug("join a row with its stamp").table(&self.table));
        };
        let Op::Insert { new } = &mut waiting.change.op else {
            return Err(self.missed("a stamp says another thing than its row does"));
        };
        let (old, new) = (Some(old), std::mem::take(new));
        waiting.change.op = Op::Update { old, new };
        (waiting.base, waiting.given) = (entry.before, entry.after);
        waiting.missing = 0;
        Ok(())
    }

    /// Hands on what is whole, in the rows' order.
    fn release(&mut self, out: &mut Vec<Change>) -> Result<()> {
        while self.waiting.front().is_some_and(|waiting| waiting.missing == 0) {
            let Some(waiting) = self.waiting.pop_front() else {
                break;
            };
            self.first += 1;
            self.waiting_bytes = self.waiting_bytes.saturating_sub(waiting.change.bytes());
            if waiting.is_told {
                continue;
            }
            let table = self.with_stamps(&waiting.change.table);
            let lacks = || Error::bug("join a row with its stamp").table(&self.table);
            let stamped = |row: Row, stamp: Option<Numbers>| -> Result<Row> {
                let stamp = stamp.ok_or_else(lacks)?;
                let stamp = [Value::Int(stamp.version), Value::Int(stamp.origin)].map(Some);
                Ok(row.0.into_vec().into_iter().chain(stamp).collect())
            };
            let op = match waiting.change.op {
                Op::Insert { new } => Op::Insert {
                    new: stamped(new, waiting.given)?,
                },
                Op::Update { old, new } => Op::Update {
                    old: old.map(|old| stamped(old, waiting.base)).transpose()?,
                    new: stamped(new, waiting.given)?,
                },
                Op::Delete { old } => Op::Delete {
                    old: stamped(old, waiting.base)?,
                },
                Op::Truncate => Op::Truncate,
            };
            out.push(Change { table, op });
        }
        Ok(())
    }

    /// What waits longer than its engine's order of rows and stamps makes it, waits for nothing.
    fn bound(&self) -> Result<()> {
        if self.waiting_bytes <= self.waiting_bytes_max {
            return Ok(());
        }
        let why = format!(
            "rows and stamps of more than {} MiB wait for each other: they come in other orders, or lack each other",
            self.waiting_bytes_max >> 20
        );
        Err(self.missed(&why))
    }

    fn with_stamps(&mut self, table: &Arc<Table>) -> Arc<Table> {
        if let Some((known, stamped)) = &self.stamped
            && Arc::ptr_eq(known, table)
        {
            return Arc::clone(stamped);
        }
        let columns = table.columns.iter().cloned();
        let stamped = Arc::new(Table {
            columns: columns.chain(Column::stamps_beside()).collect(),
            ..(**table).clone()
        });
        self.stamped = Some((Arc::clone(table), Arc::clone(&stamped)));
        stamped
    }

    fn key_of(&self, table: &Table, row: &Row) -> Result<KeyBytes> {
        let mut bytes = Vec::with_capacity(24);
        for name in &self.key {
            let value = table.column(name).and_then(|place| row.get(place));
            value
                .ok_or_else(|| self.lacks("a row came without its key"))?
                .key_bytes(&mut bytes);
        }
        Ok(bytes)
    }

    fn numbers(&self, table: &Table, row: &Row) -> Result<Numbers> {
        Ok(Numbers {
            version: self.number(table, row, VERSION_COLUMN)?,
            origin: self.number(table, row, ORIGIN_COLUMN)?,
        })
    }

    fn number(&self, table: &Table, row: &Row, name: &str) -> Result<i64> {
        match table.column(name).and_then(|place| row.get(place)) {
            Some(Value::Int(number)) => Ok(*number),
            _ => Err(self.lacks("a row of its stamp table is not whole")),
        }
    }

    fn lacks(&self, why: &str) -> Error {
        Error::definite("join rows with their stamps")
            .table(&self.table)
            .why(why)
            .hint("the log must carry whole rows of both tables; run `tidelock check`")
    }

    fn missed(&self, why: &str) -> Error {
        Error::definite("join rows with their stamps")
            .table(&self.table)
            .why(why)
            .hint(
                "its stamp triggers were off, or somebody wrote its stamp table: see `tidelock check`; what the \
                 transaction changed has to be compared on both sides",
            )
    }
}

/// To the bit, as triggers compare: zero has two signs, and what is no number is itself.
fn is_same(old: &Row, new: &Row) -> bool {
    let is_same = |(old, new): (&Option<Value>, &Option<Value>)| match (old, new) {
        (Some(Value::Float(old)), Some(Value::Float(new))) => old.to_bits() == new.to_bits(),
        (Some(Value::Double(old)), Some(Value::Double(new))) => old.to_bits() == new.to_bits(),
        (old, new) => old == new,
    };
    old.0.len() == new.0.len() && old.0.iter().zip(&new.0).all(is_same)
}

/// What a stamp that came before its row takes.
fn entry_bytes(key: &KeyBytes) -> usize {
    key.len() + std::mem::size_of::<Entry>()
}

/// The oldest under a key.
fn take<T>(queues: &mut HashMap<KeyBytes, VecDeque<T>>, key: &KeyBytes) -> Option<T> {
    let queue = queues.get_mut(key)?;
    let oldest = queue.pop_front();
    if queue.is_empty() {
        queues.remove(key);
    }
    oldest
}

#[cfg(test)]
mod tests;
