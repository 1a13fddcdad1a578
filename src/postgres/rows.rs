//! Groups of writes as statements with their parameters: one array of texts per column.
//!
//! Owns: which columns each statement of `sql` is sent. Refuses: I/O.

use super::sql::beside;
use super::{codec, sql};
use crate::batch::{self, Group, Verb};
use crate::model::stamp::Stamp;
use crate::plan::{Key, Shape, Write, WriteOp};
use std::borrow::Cow;
use tokio_postgres::types::ToSql;

type Texts<'a> = Vec<Option<Cow<'a, str>>>;

/// A statement and what it is sent.
pub(super) struct Step<'a> {
    pub(super) verb: Verb,
    pub(super) sql: String,
    columns: Vec<Texts<'a>>,
    /// The write (or key) that each row of the columns stands for.
    pub(super) at: Vec<usize>,
}

impl Step<'_> {
    pub(super) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.columns
            .iter()
            .map(|column| column as &(dyn ToSql + Sync))
            .collect()
    }
}

/// The statement for a group.
pub(super) fn step<'a>(shape: &Shape, writes: &'a [Write], group: Group) -> Step<'a> {
    let at = group.at;
    let mut columns = match group.verb {
        Verb::Offer | Verb::Insert => Vec::new(),
        Verb::Delete
        | Verb::Remove
        | Verb::Clear
        | Verb::Bury
        | Verb::Vacant
        | Verb::Update
        | Verb::Dominated
        | Verb::Stamp => keys(shape, at.iter().map(|index| &writes[*index].key)),
    };
    columns.extend(group.cells.iter().map(|cell| column(shape, writes, &at, *cell)));
    if group.guarded {
        columns.extend(stamps(writes, &at, batch::base));
    }
    if group.buried {
        columns.extend(stamps(writes, &at, batch::tombstone));
    }
    let sql = match (group.verb, &shape.stamps) {
        (Verb::Delete | Verb::Remove | Verb::Clear, _) => sql::delete(shape, group.guarded, group.buried),
        (Verb::Vacant, _) => sql::places(shape),
        (Verb::Update, _) => sql::update(shape, &group.cells, group.guarded),
        (Verb::Offer, _) => sql::insert(shape, &group.cells, true),
        (Verb::Insert, _) => sql::insert(shape, &group.cells, false),
        (Verb::Bury, Some(of)) => {
            columns.extend(stamps(writes, &at, batch::tombstone));
            sql::bury(shape, of)
        }
        (Verb::Dominated, Some(of)) => {
            columns.push(column(shape, writes, &at, of.version));
            sql::dominated(shape, of)
        }
        (Verb::Stamp, Some(of)) => {
            columns.push(column(shape, writes, &at, of.version));
            columns.push(column(shape, writes, &at, of.origin));
            beside::stamp(shape)
        }
        (Verb::Bury | Verb::Dominated | Verb::Stamp, None) => unreachable!("made for merge tables only"),
    };
    Step {
        verb: group.verb,
        sql,
        columns,
        at,
    }
}

/// Takes the rows of these writes away.
pub(super) fn clear<'a>(shape: &Shape, writes: &'a [Write], at: &[usize]) -> Step<'a> {
    by_key(sql::delete(shape, false, false), shape, writes, at)
}

/// Where the rows of these writes lie.
pub(super) fn places<'a>(shape: &Shape, writes: &'a [Write], at: &[usize]) -> Step<'a> {
    by_key(sql::places(shape), shape, writes, at)
}

fn by_key<'a>(sql: String, shape: &Shape, writes: &'a [Write], at: &[usize]) -> Step<'a> {
    Step {
        verb: Verb::Clear,
        sql,
        columns: keys(shape, at.iter().map(|index| &writes[*index].key)),
        at: at.to_vec(),
    }
}

/// `at` counts from `start`, where `chunk` begins among the keys asked for.
pub(super) fn read<'a>(shape: &Shape, sql: String, chunk: &'a [Key], start: usize) -> Step<'a> {
    Step {
        verb: Verb::Clear,
        sql,
        columns: keys(shape, chunk.iter()),
        at: (start..start + chunk.len()).collect(),
    }
}

fn keys<'a>(shape: &Shape, keys: impl Iterator<Item = &'a Key>) -> Vec<Texts<'a>> {
    let mut columns: Vec<Texts<'a>> = shape.table.key.iter().map(|_| Vec::new()).collect();
    for key in keys {
        for ((column, value), index) in columns.iter_mut().zip(key).zip(&shape.table.key) {
            column.push(codec::encode(value, &shape.table.columns[*index].ty));
        }
    }
    columns
}

fn column<'a>(shape: &Shape, writes: &'a [Write], at: &[usize], cell: usize) -> Texts<'a> {
    let ty = &shape.table.columns[cell].ty;
    let text = |index: &usize| {
        let value = batch::cells(&writes[*index].op).and_then(|row| row.get(cell));
        value.and_then(|value| codec::encode(value, ty))
    };
    at.iter().map(text).collect()
}

/// Version and origin.
fn stamps<'a>(writes: &[Write], at: &[usize], of: fn(&WriteOp) -> Option<Stamp>) -> [Texts<'a>; 2] {
    let texts = |part: fn(Stamp) -> String| {
        let text = |index: &usize| of(&writes[*index].op).map(part).map(Cow::Owned);
        at.iter().map(text).collect()
    };
    [
        texts(|stamp| stamp.version.to_string()),
        texts(|stamp| stamp.origin.to_string()),
    ]
}
