//! Statements for tables whose stamps stand in a table of their own.
//!
//! Owns: what takes the place of the same statement over columns; a row and its stamp are written by one statement, and
//! lock in this order. Both are locked before they are compared: in a statement that waits for a row, PostgreSQL looks
//! again at what the statement locks, and at nothing else. The stamp comes first in the log (see `sidecar`).

use super::{cast, key_columns, list, matches, quote, rows, table};
use crate::chunk::Range;
use crate::model::origin::CONTROL;
use crate::model::schema::{Table, TableId};
use crate::model::sync::{ORIGIN_COLUMN, TOUCHED_COLUMN, VERSION_COLUMN, stamps_of};
use crate::plan::{Beside, Shape};

/// Where we write the stamps; `None`: they are columns, or the triggers do.
pub(super) fn of(shape: &Shape) -> Option<&Beside> {
    shape.beside().filter(|beside| !beside.by_triggers)
}

fn stamps(beside: &Beside) -> String {
    table(&TableId::new(CONTROL, &beside.stamps))
}

/// The stamp of row `t`, as `x`.
pub(super) fn joined(shape: &Shape, beside: &Beside) -> String {
    format!(" JOIN {} AS x ON {}", stamps(beside), matches(&shape.table, "x"))
}

/// The rows that are there, with the base stamp where that is asked for, locked.
fn hit(shape: &Shape, beside: &Beside, base_at: Option<usize>, width: usize) -> String {
    let (joined, locked) = match base_at {
        Some(at) => (
            format!(
                "{} AND x.{VERSION_COLUMN} = v.c{at}::int8 AND x.{ORIGIN_COLUMN} = v.c{}::int2",
                joined(shape, beside),
                at + 1
            ),
            "t, x",
        ),
        None => (String::new(), "t"),
    };
    format!(
        "WITH hit AS MATERIALIZED (SELECT v.* FROM {} JOIN {} AS t ON {}{joined} FOR UPDATE OF {locked})",
        rows(width),
        table(&shape.table.id),
        matches(&shape.table, "t"),
    )
}

/// As in `delete`: the rows that are taken away, with what was sent.
pub(super) fn gone(shape: &Shape, beside: &Beside, guarded: bool, width: usize) -> String {
    let base_at = guarded.then_some(shape.table.key.len());
    format!(
        "{}, withdrawn AS (DELETE FROM {} AS x USING hit AS v WHERE {}), \
         gone AS (DELETE FROM {} AS t USING hit AS v WHERE {} RETURNING v.o, {})",
        hit(shape, beside, base_at, width),
        stamps(beside),
        matches(&shape.table, "x"),
        table(&shape.table.id),
        matches(&shape.table, "t"),
        list((0..width).map(|n| format!("v.c{n}"))),
    )
}

/// As `update`. A row of which nothing but the stamp changes is logged all the same, or nobody would read of it.
pub(super) fn update(shape: &Shape, beside: &Beside, cells: &[usize], guarded: bool) -> String {
    let keys = shape.table.key.len();
    let base_at = guarded.then_some(keys + cells.len());
    let width = keys + cells.len() + 2 * usize::from(guarded);
    let given = cells.iter().enumerate().filter_map(|(index, cell)| {
        let column = &shape.table.columns[*cell];
        let assignment = || format!("{} = {}", quote(&column.name), number(shape, *cell, keys + index));
        column.is_beside().then(assignment)
    });
    let touched = format!("{TOUCHED_COLUMN} = x.{TOUCHED_COLUMN} + 1");
    format!(
        "{}, stamped AS (UPDATE {} AS x SET {} FROM hit AS v WHERE {} RETURNING v.*) \
         UPDATE {} AS t SET {} FROM stamped AS v WHERE {} RETURNING v.o",
        hit(shape, beside, base_at, width),
        stamps(beside),
        list(given.chain([touched])),
        matches(&shape.table, "x"),
        table(&shape.table.id),
        assignments(shape, cells),
        matches(&shape.table, "t"),
    )
}

/// As `update`; the triggers stamp the rows.
pub(super) fn update_as_user(shape: &Shape, cells: &[usize]) -> String {
    format!(
        "UPDATE {} AS t SET {} FROM {} WHERE {} RETURNING v.o",
        table(&shape.table.id),
        assignments(shape, cells),
        rows(shape.table.key.len() + cells.len()),
        matches(&shape.table, "t"),
    )
}

/// Of the user's columns; without any, one of them as it is.
fn assignments(shape: &Shape, cells: &[usize]) -> String {
    let keys = shape.table.key.len();
    let own = cells.iter().enumerate().filter_map(|(index, cell)| {
        let column = &shape.table.columns[*cell];
        let assignment = || format!("{} = {}", quote(&column.name), cast(column, keys + index));
        (!column.is_beside()).then(assignment)
    });
    let own = list(own);
    match own.is_empty() {
        true => unchanged(&shape.table, &shape.untouched),
        false => own,
    }
}

/// Sets one column of row `t` to what it has: no part of the key if it can be, which the server may count by itself.
pub fn unchanged(of: &Table, untouched: &[usize]) -> String {
    let columns = of.columns.iter().enumerate();
    let mut own = columns.filter(|(place, column)| {
        !column.generated && !column.is_beside() && !untouched.contains(place) && !of.key.contains(place)
    });
    let column = own
        .next()
        .map(|(_, column)| column)
        .or_else(|| key_columns(of).next());
    let name = column.map(|column| quote(&column.name)).unwrap_or_default();
    format!("{name} = t.{name}")
}

fn number(shape: &Shape, cell: usize, index: usize) -> String {
    match shape.table.columns[cell].name == VERSION_COLUMN {
        true => format!("v.c{index}::int8"),
        false => format!("v.c{index}::int2"),
    }
}

/// Columns sent: key, version, origin; of rows that were inserted. One that was left without its row is replaced.
pub fn stamp(shape: &Shape) -> String {
    let Some(beside) = shape.beside() else {
        return String::new();
    };
    let keys = shape.table.key.len();
    let names = list(key_columns(&shape.table).map(|column| quote(&column.name)));
    let columns = key_columns(&shape.table).enumerate();
    format!(
        "INSERT INTO {} ({names}, {VERSION_COLUMN}, {ORIGIN_COLUMN}) SELECT {}, v.c{keys}::int8, v.c{}::int2 FROM {} \
         ON CONFLICT ({names}) DO UPDATE SET {VERSION_COLUMN} = excluded.{VERSION_COLUMN}, \
         {ORIGIN_COLUMN} = excluded.{ORIGIN_COLUMN}",
        stamps(beside),
        list(columns.map(|(index, column)| cast(column, index))),
        keys + 1,
        rows(keys + 2),
    )
}

/// Columns sent: key. Of rows that stand: the stamps that they have or count as, without a lock.
pub(super) fn look(shape: &Shape, beside: &Beside) -> String {
    format!(
        "SELECT v.o, coalesce(x.{VERSION_COLUMN}, 1::int8), coalesce(x.{ORIGIN_COLUMN}, 0::int2) FROM {} JOIN {} AS t \
         ON {} LEFT JOIN {} AS x ON {}",
        rows(shape.table.key.len()),
        table(&shape.table.id),
        matches(&shape.table, "t"),
        stamps(beside),
        matches(&shape.table, "x"),
    )
}

/// Columns sent: key. Locks the rows, and gives those without a stamp the one that they count as.
pub fn complete(shape: &Shape, beside: &Beside) -> String {
    let names = || key_columns(&shape.table).map(|column| quote(&column.name));
    let own = list(names().map(|name| format!("t.{name}")));
    format!(
        "WITH hit AS MATERIALIZED (SELECT {own} FROM {} JOIN {} AS t ON {} ORDER BY {own} FOR UPDATE OF t) \
         INSERT INTO {} ({names}, {VERSION_COLUMN}, {ORIGIN_COLUMN}) SELECT {names}, 1, 0 FROM hit \
         ON CONFLICT DO NOTHING",
        rows(shape.table.key.len()),
        table(&shape.table.id),
        matches(&shape.table, "t"),
        stamps(beside),
        names = list(names()),
    )
}

/// Parameters: where a row lies, which is locked. Gives it the stamp that it counts as, if it has none.
pub fn complete_one(of: &Table) -> String {
    let names = || key_columns(of).map(|column| quote(&column.name));
    format!(
        "INSERT INTO {} ({}, {VERSION_COLUMN}, {ORIGIN_COLUMN}) SELECT {}, 1, 0 FROM {} AS t \
         WHERE t.tableoid = $1 AND t.ctid = $2::text::tid ON CONFLICT DO NOTHING",
        table(&stamps_of(&of.id)),
        list(names()),
        list(names().map(|name| format!("t.{name}"))),
        table(&of.id),
    )
}

/// Parameters: version, origin, and where the row lies. Its log tells of the row anew.
pub fn raise(of: &Table) -> String {
    let equal = key_columns(of).map(|column| {
        let name = quote(&column.name);
        format!("t.{name} {} s.{name}", super::equals(&column.ty))
    });
    let equal = equal.collect::<Vec<_>>().join(" AND ");
    format!(
        "WITH stamped AS (UPDATE {} AS s SET {VERSION_COLUMN} = greatest(s.{VERSION_COLUMN} + 1, $1::int8), \
         {ORIGIN_COLUMN} = $2::int2, {TOUCHED_COLUMN} = s.{TOUCHED_COLUMN} + 1 FROM {of} AS t \
         WHERE t.tableoid = $3 AND t.ctid = $4::text::tid AND {equal} RETURNING s.*) \
         UPDATE {of} AS t SET {} FROM stamped AS s WHERE {equal}",
        table(&stamps_of(&of.id)),
        unchanged(of, &[]),
        of = table(&of.id),
    )
}

/// Of a first copy: the rows of a range, of those that the condition takes, with the stamps that they have or count as.
pub fn copied(of: &Table, only: &str, range: &Range, condition: Option<&str>) -> String {
    let columns = of.columns.iter().filter(|column| !column.generated);
    let cells = columns.map(
        |column| match (column.is_beside(), column.name == VERSION_COLUMN) {
            (false, _) => format!("t.{}", quote(&column.name)),
            (true, true) => format!("coalesce(x.{VERSION_COLUMN}, 1)"),
            (true, false) => format!("coalesce(x.{ORIGIN_COLUMN}, 0)"),
        },
    );
    let keys = key_columns(of).map(|column| {
        let name = quote(&column.name);
        format!("x.{name} {} t.{name}", super::equals(&column.ty))
    });
    format!(
        "SELECT {} FROM {only}{} AS t LEFT JOIN {} AS x ON {}{}",
        list(cells),
        table(&of.id),
        table(&stamps_of(&of.id)),
        keys.collect::<Vec<_>>().join(" AND "),
        super::range::rows(of, range, condition),
    )
}
