//! What a hub passes on: the changes that it applied of other nodes, as its own log tells them.
//!
//! Rows that were inserted or updated carry their stamps. A delete does not: its row may have had a lower version than
//! the delete, and there may have been none. So it is the tombstone's row in the same log that tells of a delete, of one
//! that found no row too. A row that is deleted without a tombstone was taken away to be put back (see
//! `plan::WriteOp::Update`), or was never to stay.
//!
//! To those who hold some of its rows it passes on its answers too, to whomever they are, but for rows that it writes only
//! to delete them again: of those it tells the one that is answered that they are gone.
//!
//! Owns: which changes of such a segment are one, while its transaction is read. Refuses: what users wrote.

use crate::model::change::{Change, Op};
use crate::model::schema::{Table, TableId};
use crate::model::stamp::Stamp;
use crate::model::sync::{ORIGIN_COLUMN, VERSION_COLUMN};
use crate::model::value::{Row, Value};
use foldhash::{HashMap, HashSet};

/// Rows taken away and not put back yet take no more than this; beyond it what is put back looks like a row that was
/// inserted, which is decided like one.
const GONE_BYTES_MAX: usize = 16 << 20;

/// By its table and key.
type Name = (TableId, Vec<u8>);

/// Rows that the open transaction took away, and of which nothing was told yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Onward {
    gone: HashMap<Name, Row>,
    bytes: usize,
    /// Likewise, of which no more than their names is kept.
    forgotten: HashSet<Name>,
    /// Rows that are deleted next.
    passing: HashSet<Name>,
}

/// What the target is to be told.
#[derive(Debug)]
pub(super) enum Told {
    Nothing,
    AsItIs,
    Updated(Op),
    /// `old`: as far as it is known; `is_whole`: all of what stood, or that nothing did.
    Deleted {
        old: Row,
        stamp: Stamp,
        is_whole: bool,
    },
}

impl Onward {
    /// Another transaction begins.
    pub(super) fn begin(&mut self) {
        if !self.gone.is_empty() || !self.forgotten.is_empty() || !self.passing.is_empty() {
            *self = Onward::default();
        }
    }

    /// A change of a synced table.
    pub(super) fn change(&mut self, change: &Change) -> Told {
        match &change.op {
            Op::Delete { old } => {
                self.goes(name(&change.table, old), old);
                Told::Nothing
            }
            Op::Insert { new } => match self.take(&name(&change.table, new)) {
                Some(old) => Told::Updated(Op::Update {
                    old: Some(old),
                    new: new.clone(),
                }),
                None => Told::AsItIs,
            },
            Op::Update { .. } | Op::Truncate => Told::AsItIs,
        }
    }

    /// Of an answer, which is meant for the target or for another node. A row that comes by it, and was not taken away
    /// before, is deleted next.
    pub(super) fn answer(&mut self, change: &Change, is_meant: bool) -> Told {
        match &change.op {
            Op::Insert { new } => {
                let name = name(&change.table, new);
                match self.take(&name) {
                    Some(old) => Told::Updated(Op::Update {
                        old: Some(old),
                        new: new.clone(),
                    }),
                    None => {
                        self.passing.insert(name);
                        Told::Nothing
                    }
                }
            }
            Op::Delete { old } => {
                let name = name(&change.table, old);
                match (self.passing.remove(&name), is_meant) {
                    (true, true) => return Told::AsItIs,
                    (true, false) => {}
                    (false, _) => self.goes(name, old),
                }
                Told::Nothing
            }
            Op::Update { .. } | Op::Truncate => Told::AsItIs,
        }
    }

    fn goes(&mut self, name: Name, old: &Row) {
        if self.bytes < GONE_BYTES_MAX {
            self.bytes += old.bytes();
            self.gone.insert(name, old.clone());
        } else {
            self.forgotten.insert(name);
        }
    }

    /// A change of the tombstones of `source`.
    pub(super) fn tombstone(&mut self, source: &Table, change: &Change) -> Told {
        let (Op::Insert { new } | Op::Update { new, .. }) = &change.op else {
            return Told::Nothing;
        };
        let Some((old, stamp)) = buried(source, &change.table, new) else {
            return Told::Nothing;
        };
        let name = name(source, &old);
        let is_whole = !self.forgotten.remove(&name);
        let old = self.take(&name).unwrap_or(old);
        Told::Deleted { old, stamp, is_whole }
    }

    fn take(&mut self, name: &Name) -> Option<Row> {
        let old = self.gone.remove(name)?;
        self.bytes = self.bytes.saturating_sub(old.bytes());
        Some(old)
    }
}

fn name(table: &Table, row: &Row) -> Name {
    let mut key = Vec::new();
    for place in &table.key {
        row.get(*place).unwrap_or(&Value::Null).key_bytes(&mut key);
    }
    (table.id.clone(), key)
}

/// The deleted row, as far as its tombstone knows it: its key, its version, and the node that deleted it.
pub(crate) fn buried(source: &Table, tombstones: &Table, tombstone: &Row) -> Option<(Row, Stamp)> {
    let cell = |name: &str| tombstones.column(name).and_then(|place| tombstone.get(place));
    let number = |name: &str| match cell(name) {
        Some(Value::Int(number)) => Some(*number),
        _ => None,
    };
    let origin = u16::try_from(number(ORIGIN_COLUMN)?).ok()?;
    let stamp = Stamp::delete(number(VERSION_COLUMN)?, origin);
    let is_known = |place: usize, name: &str| {
        source.key.contains(&place) || [VERSION_COLUMN, ORIGIN_COLUMN].contains(&name)
    };
    let columns = source.columns.iter().enumerate();
    let cells = columns.map(|(place, column)| match is_known(place, &column.name) {
        true => cell(&column.name).cloned(),
        false => None,
    });
    Some((cells.collect(), stamp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::{Column, ColumnType};
    use std::sync::Arc;

    fn table(name: &str, columns: &[&str]) -> Arc<Table> {
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
        Arc::new(Table {
            id: TableId::new("s", name),
            columns: columns.iter().map(column).collect(),
            key: vec![0],
            uniques: vec![],
            external: None,
        })
    }

    fn row(cells: &[i64]) -> Row {
        cells.iter().map(|cell| Some(Value::Int(*cell))).collect()
    }

    fn of(table: &Arc<Table>, op: Op) -> Change {
        Change {
            table: Arc::clone(table),
            op,
        }
    }

    #[test]
    fn a_delete_is_told_by_its_tombstone_and_a_row_put_back_is_an_update() {
        let rows = table("t", &["id", "n", VERSION_COLUMN, ORIGIN_COLUMN]);
        let stones = table("stones", &["id", VERSION_COLUMN, ORIGIN_COLUMN]);
        let delete = |id| {
            of(
                &rows,
                Op::Delete {
                    old: row(&[id, 5, 2, 1]),
                },
            )
        };
        let insert = |id| {
            of(
                &rows,
                Op::Insert {
                    new: row(&[id, 6, 3, 2]),
                },
            )
        };
        let stone = |id| {
            of(
                &stones,
                Op::Insert {
                    new: row(&[id, 7, 2]),
                },
            )
        };
        let mut onward = Onward::default();
        assert!(matches!(onward.change(&delete(1)), Told::Nothing));
        assert!(matches!(onward.change(&delete(2)), Told::Nothing));
        // The delete has the version that the tombstone says, and its row the one that it had here.
        let Told::Deleted { old, stamp, .. } = onward.tombstone(&rows, &stone(1)) else {
            panic!("a tombstone is a delete")
        };
        assert_eq!((old, stamp), (row(&[1, 5, 2, 1]), Stamp::delete(7, 2)));
        assert!(matches!(
            onward.change(&insert(2)),
            Told::Updated(Op::Update { old: Some(old), .. }) if old == row(&[2, 5, 2, 1])
        ));
        assert!(
            matches!(onward.change(&insert(2)), Told::AsItIs),
            "it was put back once"
        );
        // No row was there.
        let Told::Deleted { old, stamp, .. } = onward.tombstone(&rows, &stone(3)) else {
            panic!("a tombstone is a delete")
        };
        let known: Row = [Some(3), None, Some(7), Some(2)]
            .map(|cell| cell.map(Value::Int))
            .into_iter()
            .collect();
        assert_eq!((old, stamp), (known, Stamp::delete(7, 2)));
        assert!(matches!(
            onward.tombstone(&rows, &of(&stones, Op::Delete { old: row(&[3, 7, 2]) })),
            Told::Nothing
        ));
        // What another transaction took away is not what this one puts back.
        onward.change(&delete(4));
        onward.begin();
        assert!(matches!(onward.change(&insert(4)), Told::AsItIs));
    }

    #[test]
    fn a_wide_row_that_went_is_known_to_have_stood() {
        let rows = table("t", &["id", "n", VERSION_COLUMN, ORIGIN_COLUMN]);
        let stones = table("stones", &["id", VERSION_COLUMN, ORIGIN_COLUMN]);
        let mut onward = Onward {
            bytes: GONE_BYTES_MAX,
            ..Onward::default()
        };
        onward.change(&of(
            &rows,
            Op::Delete {
                old: row(&[1, 5, 2, 1]),
            },
        ));
        for (id, stood) in [(1, true), (2, false)] {
            let stone = of(
                &stones,
                Op::Insert {
                    new: row(&[id, 7, 2]),
                },
            );
            assert!(matches!(
                onward.tombstone(&rows, &stone),
                Told::Deleted { is_whole, .. } if is_whole != stood
            ));
        }
    }

    #[test]
    fn an_answer_to_another_that_comes_and_goes_is_no_row_that_was_put_back() {
        let rows = table("t", &["id", "n"]);
        let insert = of(&rows, Op::Insert { new: row(&[1, 6]) });
        let delete = of(&rows, Op::Delete { old: row(&[1, 6]) });
        let mut onward = Onward::default();
        for _ in 0..2 {
            assert!(matches!(onward.answer(&insert, false), Told::Nothing));
            assert!(matches!(onward.answer(&delete, false), Told::Nothing));
        }
        assert!(matches!(onward.answer(&insert, true), Told::Nothing));
        assert!(matches!(onward.answer(&delete, true), Told::AsItIs));
        // Nothing is left that a later row of the transaction could be taken for.
        assert!(matches!(onward.change(&insert), Told::AsItIs));
        // One that was taken away and put back.
        assert!(matches!(onward.answer(&delete, false), Told::Nothing));
        assert!(matches!(onward.answer(&insert, false), Told::Updated(_)));
    }
}
