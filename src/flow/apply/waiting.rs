//! The keys of which a change waits, in memory: what a link must know of them for every change that arrives.
//!
//! Owns: finding them by hash, their order, their bounds, and undoing what a transaction that is rolled back did to
//! them. Refuses: holding their cells, which stay in `tidelock.parked`. Nothing is asked of it while nothing waits.

use crate::model::parked::{ParkKind, ParkedKey};
use crate::model::schema::TableId;
use crate::model::stamp::Stamp;
use foldhash::{HashMap, HashSet};
use std::collections::VecDeque;

/// What of a change that waits is looked at when another change of its key arrives.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) kind: ParkKind,
    pub(super) base: Option<Stamp>,
    pub(super) stamp: Option<Stamp>,
    pub(super) local: Option<Stamp>,
    pub(super) conflict: Option<String>,
    /// Where the last change that waits is in the source's log: it tells that one, tried again, from another one with its
    /// stamp.
    pub(super) position: String,
    pub(super) is_delete: bool,
    pub(super) bytes: usize,
}

impl Entry {
    fn is_tried(&self) -> bool {
        !self.kind.is_for_a_person()
    }
}

/// What waits of one table.
#[derive(Debug, Default)]
struct Table {
    entries: HashMap<u128, Entry>,
    /// How many of them are tried again by themselves, and how many are deletes.
    tried: usize,
    deletes: usize,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    tables: HashMap<TableId, Table>,
    /// In the order in which they are tried again; one that waits no more is passed over.
    queue: VecDeque<ParkedKey>,
    /// The same of those that are left to a person, and only looked at.
    personal: VecDeque<ParkedKey>,
    rows: usize,
    bytes: usize,
    /// How many were tried since one of them ended, or a delete came.
    in_vain: usize,
    /// What the open transaction found, to be put back.
    undo: Vec<(ParkedKey, Option<Entry>)>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has(&self, table: &TableId) -> bool {
        self.tables.contains_key(table)
    }

    /// Does something of the table wait that is tried again by itself?
    pub(super) fn tries(&self, table: &TableId) -> bool {
        self.tables.get(table).is_some_and(|table| table.tried > 0)
    }

    /// Does a delete of one of the table's rows wait?
    pub(super) fn deletes(&self, table: &TableId) -> bool {
        self.tables.get(table).is_some_and(|table| table.deletes > 0)
    }

    /// Every one that is tried again had its turn since something changed about any.
    pub(super) fn is_at_rest(&self) -> bool {
        self.in_vain >= self.tables.values().map(|table| table.tried).sum()
    }

    /// These were tried, and nothing came of it.
    pub(super) fn rested(&mut self, count: usize) {
        self.in_vain += count;
    }

    pub(super) fn stirred(&mut self) {
        self.in_vain = 0;
    }

    /// All of a table.
    pub(super) fn of_table(&self, table: &TableId) -> Vec<ParkedKey> {
        let hashes = self
            .tables
            .get(table)
            .into_iter()
            .flat_map(|table| table.entries.keys());
        hashes
            .map(|hash| ParkedKey {
                table: table.clone(),
                hash: *hash,
            })
            .collect()
    }

    /// Does something wait of one of these keys? Asked with every layer of a table of which anything waits.
    pub(super) fn meets<'a>(&self, table: &TableId, mut keys: impl Iterator<Item = &'a [u8]>) -> bool {
        let table = self.tables.get(table);
        table.is_some_and(|table| keys.any(|bytes| table.entries.contains_key(&ParkedKey::hash_of(bytes))))
    }

    pub(super) fn has_kind(&self, kind: ParkKind) -> bool {
        let entries = self.tables.values().flat_map(|table| table.entries.values());
        entries.into_iter().any(|entry| entry.kind == kind)
    }

    pub(super) fn get(&self, at: &ParkedKey) -> Option<&Entry> {
        self.tables.get(&at.table)?.entries.get(&at.hash)
    }

    pub(super) fn insert(&mut self, at: ParkedKey, entry: Entry) {
        let (is_tried, is_delete) = (entry.is_tried(), entry.is_delete);
        let before = self.replace(&at, Some(entry));
        if is_delete && before.as_ref().is_none_or(|before| !before.is_delete) {
            self.stirred();
        }
        if before.as_ref().is_none_or(|before| before.is_tried() != is_tried) {
            self.queue(is_tried).push_back(at.clone());
        }
        self.undo.push((at, before));
    }

    fn queue(&mut self, is_tried: bool) -> &mut VecDeque<ParkedKey> {
        match is_tried {
            true => &mut self.queue,
            false => &mut self.personal,
        }
    }

    pub(super) fn remove(&mut self, at: &ParkedKey) -> Option<Entry> {
        let before = self.replace(at, None);
        self.undo.push((at.clone(), before.clone()));
        before
    }

    /// The transaction was rolled back: everything waits as it did before.
    pub(super) fn revert(&mut self) {
        while let Some((at, before)) = self.undo.pop() {
            if let Some(before) = &before {
                self.queue(before.is_tried()).push_back(at.clone());
            }
            self.replace(&at, before);
        }
    }

    /// The transaction was committed.
    pub(super) fn confirm(&mut self) {
        self.undo.clear();
    }

    fn replace(&mut self, at: &ParkedKey, entry: Option<Entry>) -> Option<Entry> {
        let (came, bytes) = (entry.is_some(), entry.as_ref().map_or(0, |entry| entry.bytes));
        let is_tried = entry.as_ref().is_some_and(Entry::is_tried);
        let is_delete = |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| entry.is_delete);
        let deletes = is_delete(&entry);
        let table = self.tables.entry(at.table.clone()).or_default();
        let before = match entry {
            Some(entry) => table.entries.insert(at.hash, entry),
            None => table.entries.remove(&at.hash),
        };
        let was_tried = before.as_ref().is_some_and(Entry::is_tried);
        table.tried = table.tried + usize::from(is_tried) - usize::from(was_tried);
        table.deletes = table.deletes + usize::from(deletes) - usize::from(is_delete(&before));
        if table.entries.is_empty() {
            self.tables.remove(&at.table);
        }
        self.rows = self.rows + usize::from(came) - usize::from(before.is_some());
        self.bytes = self.bytes + bytes - before.as_ref().map_or(0, |entry| entry.bytes);
        before
    }

    /// The next to be tried again, in their order, and behind all others after that.
    pub(super) fn next(&mut self, rows_max: usize, bytes_max: usize) -> Vec<ParkedKey> {
        self.next_of(true, rows_max, bytes_max)
    }

    /// The same of what is left to a person.
    pub(super) fn next_personal(&mut self, rows_max: usize, bytes_max: usize) -> Vec<ParkedKey> {
        self.next_of(false, rows_max, bytes_max)
    }

    fn next_of(&mut self, is_tried: bool, rows_max: usize, bytes_max: usize) -> Vec<ParkedKey> {
        let mut queue = std::mem::take(self.queue(is_tried));
        let (mut chosen, mut bytes) = (Vec::new(), 0);
        let mut seen = HashSet::default();
        for _ in 0..queue.len() {
            let Some(at) = queue.pop_front() else { break };
            let Some(entry) = self.get(&at).filter(|entry| entry.is_tried() == is_tried) else {
                continue;
            };
            let more = entry.bytes;
            if !chosen.is_empty() && bytes + more > bytes_max {
                queue.push_front(at);
                break;
            }
            if seen.insert(at.clone()) {
                bytes += more;
                chosen.push(at);
            }
            if chosen.len() >= rows_max {
                break;
            }
        }
        queue.extend(chosen.iter().cloned());
        *self.queue(is_tried) = queue;
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hash: u128) -> ParkedKey {
        let table = TableId::new("s", "t");
        ParkedKey { table, hash }
    }

    fn entry(bytes: usize) -> Entry {
        Entry {
            kind: ParkKind::Unique,
            base: None,
            stamp: None,
            local: None,
            conflict: None,
            position: String::new(),
            is_delete: false,
            bytes,
        }
    }

    #[test]
    fn what_a_rolled_back_transaction_did_is_undone() {
        let mut waiting = Waiting::default();
        waiting.insert(at(1), entry(10));
        waiting.confirm();
        waiting.insert(at(1), entry(70));
        waiting.insert(at(2), entry(5));
        waiting.remove(&at(1));
        assert_eq!((waiting.rows(), waiting.bytes()), (1, 5));
        waiting.revert();
        assert_eq!((waiting.rows(), waiting.bytes()), (1, 10));
        assert_eq!(waiting.get(&at(1)), Some(&entry(10)));
        assert_eq!(waiting.next(9, 99), [at(1)]);
        waiting.remove(&at(1));
        assert!(waiting.is_empty() && !waiting.has(&at(1).table));
    }

    #[test]
    fn what_is_left_to_a_person_is_not_tried() {
        let mut waiting = Waiting::default();
        let personal = Entry {
            kind: ParkKind::Ask,
            ..entry(10)
        };
        waiting.insert(at(1), personal.clone());
        waiting.insert(at(2), entry(10));
        let table = at(1).table;
        assert_eq!(waiting.next(9, 999), [at(2)]);
        assert_eq!(waiting.next_personal(9, 999), [at(1)]);
        waiting.confirm();
        waiting.insert(at(2), personal);
        assert!(!waiting.tries(&table) && waiting.next(9, 999).is_empty());
        assert_eq!(waiting.next_personal(9, 999).len(), 2);
        waiting.revert();
        assert!(waiting.tries(&table));
        assert_eq!(waiting.next(9, 999), [at(2)]);
        assert_eq!(waiting.next_personal(9, 999), [at(1)]);
        waiting.remove(&at(2));
        assert!(!waiting.tries(&table) && waiting.has(&table));
    }

    #[test]
    fn they_are_at_rest_when_every_one_was_tried_in_vain() {
        let mut waiting = Waiting::default();
        let delete = Entry {
            is_delete: true,
            ..entry(10)
        };
        waiting.insert(at(1), entry(10));
        waiting.insert(at(2), delete.clone());
        let table = at(1).table;
        assert!(waiting.deletes(&table) && !waiting.is_at_rest());
        waiting.rested(1);
        assert!(!waiting.is_at_rest());
        waiting.rested(1);
        assert!(waiting.is_at_rest());
        waiting.insert(at(3), entry(10));
        waiting.rested(1);
        assert!(waiting.is_at_rest());
        waiting.insert(at(4), delete);
        assert!(!waiting.is_at_rest(), "what it may have waited for is new");
        waiting.revert();
        assert!(!waiting.deletes(&table) && waiting.is_empty());
    }

    #[test]
    fn every_one_has_its_turn() {
        let mut waiting = Waiting::default();
        (1..=5).for_each(|hash| waiting.insert(at(hash), entry(10)));
        assert_eq!(waiting.next(2, 1000), [at(1), at(2)]);
        assert_eq!(waiting.next(9, 25), [at(3), at(4)]);
        waiting.remove(&at(5));
        assert_eq!(waiting.next(9, 1000), [at(1), at(2), at(3), at(4)]);
        assert_eq!(
            waiting.next(9, 1),
            [at(1)],
            "one alone may be larger than the bound"
        );
    }
}
