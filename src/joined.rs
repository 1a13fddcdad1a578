//! Tables whose stamps stand in tables of their own, as one source reads them: rows joined with their stamps.
//!
//! PostgreSQL logs the stamps of a statement behind all its rows, MySQL and MariaDB those of a user's right behind each
//! row. Owns: what of these rows waits in memory, a window in
//! the order of the log, and what waits in a spill behind it; the stamps come in the same order, so the window follows
//! them. Refuses: joining (see `sidecar`), and stamps in another order by more than a window.
//! Fails: as `sidecar` does at what does not belong together; as `spill` does when the disk is full.
//! [`Joined::settle`] may be dropped at any await.

use crate::error::{Error, Result};
use crate::model::change::{Change, Op};
use crate::model::packed::{pack, unpack};
use crate::model::schema::{Table, TableId};
use crate::model::sync::{is_stamps, stamps_of};
use crate::model::value::Row;
use crate::sidecar::Join;
use crate::spill::{Reader, Space, Spill};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Rows of one table that wait in memory.
const WINDOW_BYTES: usize = 4 << 20;
/// And all that waits of it, with stamps that came before their rows.
const WAITING_BYTES_MAX: usize = 64 << 20;

const DOING: &str = "read back rows that wait for their stamps";
const INSERT: u8 = 0;
const UPDATE: u8 = 1;
const DELETE: u8 = 2;
const TRUNCATE: u8 = 3;

/// Of all such tables of a log.
#[derive(Debug, Default)]
pub struct Joined {
    /// By the table's name and by that of its stamps.
    places: HashMap<TableId, usize>,
    queues: Vec<Queue>,
    /// Joined, and not taken yet.
    ready: Vec<Change>,
    space: Space,
    window_bytes: usize,
}

#[derive(Debug)]
struct Queue {
    join: Join,
    /// Rows behind the window, the oldest first.
    late: VecDeque<Late>,
    /// Their tables, by the records' tags.
    tables: Vec<Arc<Table>>,
}

#[derive(Debug)]
enum Late {
    /// Rows are still added.
    Written(Spill),
    Read(Reader),
}

impl Joined {
    /// Of those of a node's tables that may not be altered.
    pub fn new<'a>(tables: impl Iterator<Item = &'a Table>, space: &Space) -> Self {
        let (mut places, mut queues) = (HashMap::new(), Vec::new());
        for table in tables.filter(|table| table.is_beside()) {
            let key = table.key.iter().map(|place| table.columns[*place].name.clone());
            places.insert(table.id.clone(), queues.len());
            places.insert(stamps_of(&table.id), queues.len());
            queues.push(Queue {
                join: Join::new(table.id.clone(), key.collect(), WAITING_BYTES_MAX),
                late: VecDeque::new(),
                tables: Vec::new(),
            });
        }
        Joined {
            places,
            queues,
            ready: Vec::new(),
            space: space.clone(),
            window_bytes: WINDOW_BYTES,
        }
    }

    /// Is the table, or the table of stamps, one of these?
    pub fn has(&self, table: &TableId) -> bool {
        self.places.contains_key(table)
    }

    /// The next change of a table that it has. To be settled before the one after it.
    pub fn change(&mut self, change: Change) -> Result<()> {
        let place = self.places.get(&change.table.id);
        let Some(queue) = place.and_then(|place| self.queues.get_mut(*place)) else {
            return Err(Error::bug("join rows with their stamps").table(&change.table.id));
        };
        if is_stamps(&change.table.id) {
            return queue.join.stamp(&change, &mut self.ready);
        }
        match queue.late.is_empty() && queue.has_room(self.window_bytes) {
            true => queue.join.row(change, &mut self.ready),
            false => {
                queue.put(&change, &self.space);
                Ok(())
            }
        }
    }

    /// Brings the windows up to what was joined.
    pub async fn settle(&mut self) -> Result<()> {
        for queue in &mut self.queues {
            queue.settle(self.window_bytes, &mut self.ready).await?;
        }
        Ok(())
    }

    /// What was joined meanwhile.
    pub fn take(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.ready)
    }

    /// The transaction, or a writer's part of it, is over: nothing may be left.
    pub fn end(&mut self) -> Result<()> {
        // What waits behind a window waits because the window does.
        self.queues.iter_mut().try_for_each(|queue| queue.join.end())
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        let mut queues = self.queues.iter();
        self.ready.is_empty() && queues.all(|queue| queue.late.is_empty() && queue.join.is_empty())
    }

    /// The transaction came to nothing.
    pub fn forget(&mut self) {
        self.ready.clear();
        for queue in &mut self.queues {
            queue.late.clear();
            queue.join.forget();
        }
    }
}

impl Queue {
    /// A row that is taken away and put back is two, whatever its size.
    fn has_room(&self, window_bytes: usize) -> bool {
        self.join.waiting_bytes() < window_bytes || self.join.waiting_rows() < 2
    }

    fn put(&mut self, change: &Change, space: &Space) {
        let known = self
            .tables
            .iter()
            .position(|table| Arc::ptr_eq(table, &change.table));
        let tag = known.unwrap_or_else(|| {
            self.tables.push(Arc::clone(&change.table));
            self.tables.len() - 1
        });
        let record = packed(change);
        if !matches!(self.late.back(), Some(Late::Written(_))) {
            self.late.push_back(Late::Written(Spill::new(space)));
        }
        if let Some(Late::Written(spill)) = self.late.back_mut() {
            spill.push(u32::try_from(tag).unwrap_or(u32::MAX), &record);
        }
    }

    async fn settle(&mut self, window_bytes: usize, ready: &mut Vec<Change>) -> Result<()> {
        if let Some(Late::Written(spill)) = self.late.back_mut() {
            spill.settle().await?;
        }
        while self.has_room(window_bytes) {
            match self.late.pop_front() {
                None => {
                    self.tables.clear();
                    return Ok(());
                }
                Some(Late::Written(spill)) => self.late.push_front(Late::Read(spill.into_reader())),
                Some(Late::Read(reader)) => self.late.push_front(Late::Read(reader)),
            }
            let Some(Late::Read(reader)) = self.late.front_mut() else {
                return Err(Error::bug(DOING));
            };
            match reader.next().await? {
                None => {
                    self.late.pop_front();
                }
                Some((tag, record)) => {
                    let table = usize::try_from(tag).ok().and_then(|tag| self.tables.get(tag));
                    let change = table.and_then(|table| unpacked(table, &record));
                    let change = change.ok_or_else(|| Error::bug(DOING).why("it is none of ours"))?;
                    self.join.row(change, ready)?;
                }
            }
        }
        Ok(())
    }
}

/// The kind, then the old row's cells and the new one's.
fn packed(change: &Change) -> Vec<u8> {
    let (kind, old, new) = match &change.op {
        Op::Insert { new } => (INSERT, None, Some(new)),
        Op::Update { old, new } => (UPDATE, old.as_ref(), Some(new)),
        Op::Delete { old } => (DELETE, Some(old), None),
        Op::Truncate => (TRUNCATE, None, None),
    };
    let rows = old.into_iter().chain(new);
    let cells = rows.flat_map(|row| (0..row.0.len()).map(|place| ("", row.get(place))));
    let mut record = pack(cells);
    record.push(kind);
    record
}

fn unpacked(table: &Arc<Table>, record: &[u8]) -> Option<Change> {
    let (kind, cells) = record.split_last()?;
    let mut cells = unpack(cells)?.into_iter().map(|(_, cell)| cell);
    let width = table.columns.len();
    let mut row = || -> Option<Row> {
        let row: Row = cells.by_ref().take(width).collect();
        (row.0.len() == width).then_some(row)
    };
    let op = match *kind {
        INSERT => Op::Insert { new: row()? },
        UPDATE => Op::Update {
            old: Some(row()?),
            new: row()?,
        },
        DELETE => Op::Delete { old: row()? },
        TRUNCATE => Op::Truncate,
        _ => return None,
    };
    let table = Arc::clone(table);
    Some(Change { table, op })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::schema::{Column, ColumnType};
    use crate::model::sync::{ORIGIN_COLUMN, TOUCHED_COLUMN, VERSION_COLUMN};
    use crate::model::value::Value;

    fn table(id: TableId, names: &[&str]) -> Table {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            ty: ColumnType::Int {
                bits: 64,
                unsigned: false,
            },
            sql_type: String::new(),
            collation: String::new(),
            nullable: false,
            generated: false,
            has_default: false,
        };
        Table {
            id,
            columns: names.iter().map(column).collect(),
            key: vec![0],
            uniques: Vec::new(),
            external: None,
        }
    }

    fn row(cells: &[i64]) -> Row {
        cells.iter().map(|cell| Some(Value::Int(*cell))).collect()
    }

    /// Statements whose stamps come behind all their rows, which are far more than a window.
    #[tokio::test]
    async fn rows_behind_the_window_come_in_their_order() {
        let id = TableId::new("s", "t");
        let mut known = table(id.clone(), &["id", "n"]);
        known.columns.extend(Column::stamps_beside());
        let rows = Arc::new(table(id.clone(), &["id", "n"]));
        let names = ["id", VERSION_COLUMN, ORIGIN_COLUMN, TOUCHED_COLUMN];
        let stamps = Arc::new(table(stamps_of(&id), &names));
        let mut joined = Joined::new(std::iter::once(&known), &Space::default());
        joined.window_bytes = 2_000;
        let mut found = Vec::new();
        let feed = async |joined: &mut Joined, found: &mut Vec<Op>, table: &Arc<Table>, op: Op| {
            let table = Arc::clone(table);
            joined.change(Change { table, op }).unwrap();
            // Dropped halfway, nothing is lost or twice.
            let _ = tokio::time::timeout(std::time::Duration::ZERO, joined.settle()).await;
            joined.settle().await.unwrap();
            found.extend(joined.take().into_iter().map(|change| change.op));
            let waits = joined.queues[0].join.waiting_bytes();
            assert!(waits < 4_000, "{waits} bytes wait in memory");
        };
        for statement in 0..3 {
            for key in 0..1_000 {
                let (old, new) = (row(&[key, statement]), row(&[key, statement + 1]));
                let op = match statement {
                    0 => Op::Insert { new },
                    1 => Op::Update { old: Some(old), new },
                    _ => Op::Delete { old },
                };
                feed(&mut joined, &mut found, &rows, op).await;
            }
            for key in 0..1_000 {
                let (old, new) = (row(&[key, statement + 1, 5, 0]), row(&[key, statement + 2, 5, 0]));
                let op = match statement {
                    0 => Op::Insert { new },
                    1 => Op::Update { old: Some(old), new },
                    _ => Op::Delete { old },
                };
                feed(&mut joined, &mut found, &stamps, op).await;
            }
        }
        joined.end().unwrap();
        assert_eq!(found.len(), 3_000);
        assert_eq!(
            found[999],
            Op::Insert {
                new: row(&[999, 1, 2, 5])
            }
        );
        assert_eq!(
            found[1_999],
            Op::Update {
                old: Some(row(&[999, 1, 2, 5])),
                new: row(&[999, 2, 3, 5])
            }
        );
        assert_eq!(
            found[2_000],
            Op::Delete {
                old: row(&[0, 2, 3, 5])
            }
        );
        // Rows without stamps, of which most wait behind the window.
        for key in 0..1_000 {
            feed(&mut joined, &mut found, &rows, Op::Insert { new: row(&[key, 1]) }).await;
        }
        assert!(joined.end().is_err());
    }
}
