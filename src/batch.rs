//! Cuts writes into chunks, and chunks into groups that one statement each can carry.
//!
//! Owns: the order (what frees a key or a unique value first) and the grouping by which cells are present.
//! Refuses: statement text and I/O (see each engine's `sql` and `target`). Pure.

use crate::model::conflict::Conflict;
use crate::model::stamp::Stamp;
use crate::model::value::{Row, Value};
use crate::plan::{Key, Shape, Write, WriteOp, Written};
use std::collections::BTreeMap;
use std::ops::Range;

/// More rows in a statement gain nothing any more (measured on all engines), and less is undone when one is refused.
const ROWS_MAX: usize = 1000;

/// How often rows that were in each other's way are written again. Each time frees at least one; most chains are
/// resolved by the first.
pub const UNTANGLE_MAX: usize = 8;

/// How often rows are put aside that something beyond the rest keeps out. Each time at least one is, and mostly all at
/// once: a second time is for those that wanted the place of one that could not leave.
pub const ASIDE_MAX: usize = 64;

/// What a statement does, in the order in which the statements of a chunk run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Delete of a row that must be there.
    Delete,
    /// Delete of a row if it is there.
    Remove,
    /// Delete of a row that an insert of the same chunk brings back whole.
    Clear,
    Bury,
    /// Finds rows where none was read.
    Vacant,
    Update,
    /// Insert that leaves out rows whose key or unique value is taken, where the engine can tell which.
    Offer,
    Insert,
    /// Finds tombstones that beat the inserts.
    Dominated,
    /// Gives inserted rows their stamps, where those stand in a table of their own.
    Stamp,
}

impl Verb {
    pub fn name(self) -> &'static str {
        match self {
            Verb::Delete | Verb::Remove => "delete",
            Verb::Clear => "replace",
            Verb::Bury => "bury",
            Verb::Vacant => "look up",
            Verb::Update => "update",
            Verb::Offer | Verb::Insert => "insert",
            Verb::Dominated => "look up tombstones of",
            Verb::Stamp => "stamp",
        }
    }
}

/// Writes that one statement carries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    pub verb: Verb,
    /// Columns set; without the key in an update.
    pub cells: Vec<usize>,
    /// The row must have the base stamp.
    pub guarded: bool,
    /// A tombstone is left for each row deleted.
    pub buried: bool,
    /// Indexes of the writes.
    pub at: Vec<usize>,
}

/// Compare and set: nothing raises but what the data itself is refused for.
pub fn attempt(shape: &Shape, writes: &[Write], chunk: &[usize]) -> Vec<Group> {
    let mut groups = Groups::default();
    let merge = shape.stamps.is_some();
    for &index in chunk {
        match &writes[index].op {
            WriteOp::Delete { base, tombstone } => {
                let (guarded, buried) = (merge && base.is_some(), merge && tombstone.is_some());
                groups.add(Verb::Delete, Vec::new(), guarded, buried, index);
            }
            WriteOp::Update { row, base, .. } => {
                let guarded = merge && base.is_some();
                groups.add(Verb::Update, updated(shape, row), guarded, false, index);
            }
            // Nothing is known to be gone before it was read.
            WriteOp::Bury { .. } => {}
            WriteOp::Insert { row } => {
                groups.add(Verb::Offer, present(row), false, false, index);
                if merge {
                    groups.add(Verb::Dominated, Vec::new(), false, false, index);
                }
            }
        }
    }
    groups.finish()
}

/// The stamps of rows that were inserted; `None`: they have them.
pub fn stamp(shape: &Shape, at: Vec<usize>) -> Option<Group> {
    let beside = shape.beside().is_some_and(|beside| !beside.by_triggers);
    (beside && !at.is_empty()).then_some(Group {
        verb: Verb::Stamp,
        cells: Vec::new(),
        guarded: false,
        buried: false,
        at,
    })
}

/// What was decided, without conditions.
pub fn write(shape: &Shape, writes: &[Write], chunk: &[usize]) -> Vec<Group> {
    let mut groups = Groups::default();
    for &index in chunk {
        groups.write(shape, &writes[index].op, index);
    }
    groups.finish()
}

/// Writes with every update as delete and insert.
pub struct Replacement {
    pub writes: Vec<Write>,
    /// In the order of their statements, none larger than a chunk.
    pub groups: Vec<Group>,
}

impl Replacement {
    /// What leaves, and then, one by one, what comes.
    pub fn apart(&self) -> (Vec<Group>, Vec<Group>) {
        let groups = self.groups.iter().cloned();
        let (come, leave): (Vec<Group>, Vec<Group>) = groups.partition(|group| group.verb == Verb::Insert);
        let alone = |group: Group| {
            let at = group.at.clone();
            at.into_iter().map(move |index| Group {
                at: vec![index],
                ..group.clone()
            })
        };
        (leave, come.into_iter().flat_map(alone).collect())
    }
}

/// The same with every update as delete and insert, which lets rows trade unique values: first all are gone that have
/// a place to leave, then each takes the place it has in the end. `None` when a row is not whole, not even with what
/// was read of it, so that it could not be brought back; or when one is not there and may come meanwhile, which is
/// found row by row.
pub fn replace(shape: &Shape, writes: &[Write], chosen: &[usize], bytes_max: usize) -> Option<Replacement> {
    let mut groups = Groups::default();
    let mut replaced = Vec::with_capacity(chosen.len());
    for (number, index) in chosen.iter().enumerate() {
        let write = match &writes[*index].op {
            WriteOp::Update { row, here, .. } => {
                let row = here.as_ref().map_or_else(|| row.clone(), |here| row.over(here));
                if !is_whole(shape, &row) {
                    return None;
                }
                groups.add(Verb::Clear, Vec::new(), false, false, number);
                Write {
                    key: writes[*index].key.clone(),
                    op: WriteOp::Insert { row },
                }
            }
            WriteOp::Insert { .. } | WriteOp::Delete { .. } => writes[*index].clone(),
            WriteOp::Bury { .. } => return None,
        };
        groups.write(shape, &write.op, number);
        replaced.push(write);
    }
    let groups = groups.finish().into_iter().flat_map(|group| {
        let parts = cut(&group.at, bytes_max, |number| write_bytes(&replaced[*number]));
        let part = |range: Range<usize>| Group {
            at: group.at[range].to_vec(),
            ..group.clone()
        };
        parts.into_iter().map(part).collect::<Vec<_>>()
    });
    let groups = groups.collect();
    Some(Replacement {
        writes: replaced,
        groups,
    })
}

fn is_whole(shape: &Shape, row: &Row) -> bool {
    let mut columns = shape.table.columns.iter().enumerate();
    columns.all(|(place, column)| column.generated || row.get(place).is_some())
}

/// Those that could not be written because another row holds a unique value of theirs.
pub fn taken(written: &[Written]) -> Vec<usize> {
    let is_taken = |index: &usize| matches!(written[*index], Written::UniqueTaken(_));
    (0..written.len()).filter(is_taken).collect()
}

#[derive(Default)]
struct Groups(BTreeMap<(Verb, Vec<usize>, bool, bool), Vec<usize>>);

impl Groups {
    fn add(&mut self, verb: Verb, cells: Vec<usize>, guarded: bool, buried: bool, index: usize) {
        self.0
            .entry((verb, cells, guarded, buried))
            .or_default()
            .push(index);
    }

    fn write(&mut self, shape: &Shape, op: &WriteOp, index: usize) {
        match op {
            WriteOp::Delete { tombstone, .. } => {
                self.add(Verb::Remove, Vec::new(), false, false, index);
                self.bury(shape, *tombstone, index);
            }
            WriteOp::Bury { tombstone } => {
                self.add(Verb::Vacant, Vec::new(), false, false, index);
                self.bury(shape, *tombstone, index);
            }
            WriteOp::Update { row, .. } => {
                self.add(Verb::Update, updated(shape, row), false, false, index);
            }
            WriteOp::Insert { row } => {
                self.add(Verb::Insert, present(row), false, false, index);
                if shape.beside().is_some_and(|beside| !beside.by_triggers) {
                    self.add(Verb::Stamp, Vec::new(), false, false, index);
                }
            }
        }
    }

    /// Also where no row is: the tombstone is what the other nodes' writes are compared with.
    fn bury(&mut self, shape: &Shape, tombstone: Option<Stamp>, index: usize) {
        if shape.stamps.is_some() && tombstone.is_some() {
            self.add(Verb::Bury, Vec::new(), false, false, index);
        }
    }

    fn finish(self) -> Vec<Group> {
        let group = |((verb, cells, guarded, buried), at)| Group {
            verb,
            cells,
            guarded,
            buried,
            at,
        };
        self.0.into_iter().map(group).collect()
    }
}

fn present(row: &Row) -> Vec<usize> {
    (0..row.0.len())
        .filter(|index| row.get(*index).is_some())
        .collect()
}

/// The row already has its key.
fn updated(shape: &Shape, row: &Row) -> Vec<usize> {
    let mut cells = present(row);
    cells.retain(|index| !shape.table.key.contains(index));
    cells
}

/// Chunks of at most [`ROWS_MAX`] rows and about `bytes_max`, deletes first and inserts last over all of them.
pub fn chunks(writes: &[Write], bytes_max: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..writes.len()).collect();
    order.sort_by_key(|index| match writes[*index].op {
        WriteOp::Delete { .. } | WriteOp::Bury { .. } => 0,
        WriteOp::Update { .. } => 1,
        WriteOp::Insert { .. } => 2,
    });
    cut(&order, bytes_max, |index| write_bytes(&writes[*index]))
        .into_iter()
        .map(|range| order[range].to_vec())
        .collect()
}

pub fn key_chunks(keys: &[Key], bytes_max: usize) -> Vec<Range<usize>> {
    cut(keys, bytes_max, |key| key.iter().map(Value::bytes).sum())
}

pub fn conflict_chunks(conflicts: &[Conflict], bytes_max: usize) -> Vec<Range<usize>> {
    cut(conflicts, bytes_max, conflict_bytes)
}

pub fn write_bytes(write: &Write) -> usize {
    let key: usize = write.key.iter().map(Value::bytes).sum();
    key + cells(&write.op).map_or(0, Row::bytes)
}

fn conflict_bytes(conflict: &Conflict) -> usize {
    let images = [&conflict.base, &conflict.local, &conflict.incoming];
    let images: usize = images.into_iter().flatten().map(String::len).sum();
    images + conflict.key.len() + conflict.detail.len() + conflict.source_position.len()
}

/// Ranges of at most `ROWS_MAX` items and `bytes_max` bytes; an item beyond that goes alone.
pub fn cut<T>(items: &[T], bytes_max: usize, bytes_of: impl Fn(&T) -> usize) -> Vec<Range<usize>> {
    let (mut ranges, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (index, item) in items.iter().enumerate() {
        let more = bytes_of(item);
        if index > start && (index - start >= ROWS_MAX || bytes + more > bytes_max) {
            ranges.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += more;
    }
    if start < items.len() {
        ranges.push(start..items.len());
    }
    ranges
}

/// The stamp a row must have for the write to apply.
pub fn base(op: &WriteOp) -> Option<Stamp> {
    match op {
        WriteOp::Insert { .. } | WriteOp::Bury { .. } => None,
        WriteOp::Update { base, .. } | WriteOp::Delete { base, .. } => *base,
    }
}

pub fn tombstone(op: &WriteOp) -> Option<Stamp> {
    match op {
        WriteOp::Insert { .. } | WriteOp::Update { .. } => None,
        WriteOp::Delete { tombstone, .. } | WriteOp::Bury { tombstone } => *tombstone,
    }
}

/// The cells of a row to write.
pub fn cells(op: &WriteOp) -> Option<&Row> {
    match op {
        WriteOp::Insert { row } | WriteOp::Update { row, .. } => Some(row),
        WriteOp::Delete { .. } | WriteOp::Bury { .. } => None,
    }
}

/// The stamp a merge row carries in its columns.
pub fn row_stamp(shape: &Shape, row: &Row) -> Option<Stamp> {
    let stamps = shape.stamps.as_ref()?;
    match (row.get(stamps.version), row.get(stamps.origin)) {
        (Some(Value::Int(version)), Some(Value::Int(origin))) => {
            Some(Stamp::write(*version, u16::try_from(*origin).ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::schema::{Column, ColumnType, Table, TableId};
    use crate::plan::StampColumns;
    use std::sync::Arc;

    fn shape(merge: bool) -> Shape {
        let column = |name: &str, generated| Column {
            name: name.to_owned(),
            ty: ColumnType::Double,
            sql_type: "double".to_owned(),
            collation: String::new(),
            nullable: true,
            generated,
            has_default: false,
        };
        Shape {
            table: Arc::new(Table {
                id: TableId::new("s", "t"),
                columns: vec![column("id", false), column("a", false), column("g", true)],
                key: vec![0],
                uniques: vec![],
                external: None,
            }),
            stamps: merge.then(|| StampColumns {
                version: 1,
                origin: 1,
                tombstones: "x".to_owned(),
                beside: None,
            }),
            untouched: vec![],
        }
    }

    fn row(cells: [Option<i64>; 3]) -> Row {
        cells.into_iter().map(|cell| cell.map(Value::Int)).collect()
    }

    fn write_of(op: WriteOp) -> Write {
        Write {
            key: Box::new([Value::Int(1)]),
            op,
        }
    }

    fn verbs(groups: &[Group]) -> Vec<Verb> {
        groups.iter().map(|group| group.verb).collect()
    }

    #[test]
    fn deletes_come_first_and_inserts_last_whatever_the_order() {
        let writes = [
            write_of(WriteOp::Insert {
                row: row([Some(1), Some(2), None]),
            }),
            write_of(WriteOp::Update {
                row: row([Some(1), None, None]),
                base: None,
                here: None,
            }),
            write_of(WriteOp::Delete {
                base: Some(Stamp::write(1, 1)),
                tombstone: Some(Stamp::delete(1, 2)),
            }),
        ];
        assert_eq!(chunks(&writes, 1 << 20), [[2, 1, 0]]);
        let groups = attempt(&shape(true), &writes, &[2, 1, 0]);
        assert_eq!(
            verbs(&groups),
            [Verb::Delete, Verb::Update, Verb::Offer, Verb::Dominated]
        );
        assert!(groups[0].guarded && groups[0].buried && !groups[1].guarded);
        assert!(groups[1].cells.is_empty() && groups[2].cells == [0, 1]);
        let groups = self::write(&shape(true), &writes, &[2, 1, 0]);
        assert_eq!(
            verbs(&groups),
            [Verb::Remove, Verb::Bury, Verb::Update, Verb::Insert]
        );
    }

    #[test]
    fn only_whole_rows_are_replaced_and_generated_cells_do_not_count() {
        let update = |row, here| {
            let base = None;
            [write_of(WriteOp::Update { row, base, here })]
        };
        let replaced = |writes: &[Write]| replace(&shape(false), writes, &[0], 1 << 20);
        let whole = update(row([Some(1), Some(2), None]), None);
        assert_eq!(
            verbs(&replaced(&whole).unwrap().groups),
            [Verb::Clear, Verb::Insert]
        );
        let part = row([Some(1), None, None]);
        assert!(replaced(&update(part.clone(), None)).is_none());
        let here = row([Some(1), Some(7), None]);
        let filled = replaced(&update(part, Some(here.clone()))).unwrap();
        assert_eq!(filled.writes[0].op, WriteOp::Insert { row: here });
        assert_eq!(filled.groups[1].cells, [0, 1]);
    }

    #[test]
    fn what_is_replaced_leaves_together_and_comes_one_by_one() {
        let update = |id| {
            write_of(WriteOp::Update {
                row: row([Some(id), Some(2), None]),
                base: None,
                here: None,
            })
        };
        let writes = [update(1), update(2)];
        let (leave, come) = replace(&shape(false), &writes, &[0, 1], 1 << 20).unwrap().apart();
        assert_eq!(
            (verbs(&leave), verbs(&come)),
            (vec![Verb::Clear], vec![Verb::Insert; 2])
        );
        let at: Vec<&[usize]> = leave.iter().chain(&come).map(|group| &*group.at).collect();
        assert_eq!(at, [&[0, 1][..], &[0], &[1]]);
    }

    #[test]
    fn replaced_rows_are_all_gone_before_the_first_comes_back_however_large_they_are() {
        let update = |_| {
            write_of(WriteOp::Update {
                row: row([Some(1), Some(2), None]),
                base: None,
                here: None,
            })
        };
        let writes: Vec<Write> = (0..3).map(update).collect();
        let groups = replace(&shape(false), &writes, &[0, 1, 2], 1).unwrap().groups;
        assert_eq!(verbs(&groups), [[Verb::Clear; 3], [Verb::Insert; 3]].concat());
    }

    #[test]
    fn cuts_by_rows_and_by_bytes_and_never_to_nothing() {
        assert_eq!(
            cut(&[5; 2500], usize::MAX, |_| 1),
            [0..1000, 1000..2000, 2000..2500]
        );
        assert_eq!(cut(&[10, 90, 1, 500, 1], 100, |n| *n), [0..2, 2..3, 3..4, 4..5]);
        assert!(cut(&[0; 0], 1, |n| *n).is_empty());
    }
}
