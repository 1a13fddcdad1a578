//! Statements for tables whose stamps stand in a table of their own.
//!
//! Owns: what takes the place of the same statement over columns. A row `t` and its stamp `x` are written by one
//! statement over both, which reads what it locks, in this order, as users' triggers do. Which rows an INSERT took is
//! known by its being there, so their stamps are a statement of their own behind it.

use super::{
    Flavor, RowText, Rows, Sql, Verb, batch, key_columns, numbered_rows, push, quote, separated, table,
};
use crate::batch::Group;
use crate::chunk::Range;
use crate::model::origin::CONTROL;
use crate::model::schema::{Table, TableId};
use crate::model::sync::{ORIGIN_COLUMN, TOUCHED_COLUMN, VERSION_COLUMN, stamps_of};
use crate::model::value::Value;
use crate::plan::{Beside, Key, Shape, Write};

/// Where we write the stamps; `None`: they are columns, or the triggers do.
pub(super) fn of(shape: &Shape) -> Option<&Beside> {
    shape.beside().filter(|beside| !beside.by_triggers)
}

/// Rows that a statement over both finds: each of its tables counts.
pub fn found(shape: &Shape, group: &Group) -> u64 {
    let is_of_both = of(shape).is_some() && matches!(group.verb, Verb::Delete | Verb::Update);
    group.at.len() as u64 * if is_of_both { 2 } else { 1 }
}

fn stamps(beside: &Beside) -> String {
    table(&TableId::new(CONTROL, &beside.stamps))
}

fn same_key(of: &Table) -> String {
    let equal = key_columns(of).map(|column| format!("x.{0} = t.{0}", quote(&column.name)));
    equal.collect::<Vec<_>>().join(" AND ")
}

/// From the list, or by the only row's key, which then is the condition that follows.
pub(super) fn joined(
    rows: &Rows,
    flavor: Flavor,
    (shape, beside): (&Shape, &Beside),
    guarded: bool,
    how: &str,
    out: &mut Sql,
) {
    if !rows.is_single() {
        rows.source(flavor, out);
        push(out, " STRAIGHT_JOIN ");
    }
    push(
        out,
        &format!("{} AS t FORCE INDEX (PRIMARY)", table(&shape.table.id)),
    );
    if !rows.is_single() {
        push(out, " ON ");
        rows.condition(shape, false, "t.", out);
    }
    push(
        out,
        &format!(
            " {how} {} AS x FORCE INDEX (PRIMARY) ON {}",
            stamps(beside),
            same_key(&shape.table)
        ),
    );
    if guarded {
        let first = shape.table.key.len();
        for (index, name) in [VERSION_COLUMN, ORIGIN_COLUMN].into_iter().enumerate() {
            push(out, &format!(" AND x.{name} = "));
            out.extend_from_slice(&rows.operand(first + index));
        }
    }
}

/// What follows: the only row's key.
pub(super) fn only(rows: &Rows, shape: &Shape, out: &mut Sql) {
    if rows.is_single() {
        push(out, " WHERE ");
        rows.condition(shape, false, "t.", out);
    }
}

/// A row that goes in any case may have no stamp.
pub(super) fn delete(flavor: Flavor, shape: &Shape, beside: &Beside, rows: &Rows, guarded: bool) -> Sql {
    let how = if guarded { "STRAIGHT_JOIN" } else { "LEFT JOIN" };
    let mut out = "DELETE t, x FROM ".into();
    joined(rows, flavor, (shape, beside), guarded, how, &mut out);
    only(rows, shape, &mut out);
    out
}

/// Gives these rows the stamps that were sent. One that is there stays, and counts a touch: its row was taken away and
/// put back, of which the log tells as of an update (see `sidecar`), or it was left without a row.
pub fn stamp(shape: &Shape, writes: &[Write], at: &[usize]) -> Sql {
    let (Some(beside), Some(columns)) = (shape.beside(), &shape.stamps) else {
        return Sql::new();
    };
    let names: Vec<String> = key_columns(&shape.table)
        .map(|column| quote(&column.name))
        .collect();
    let (v, o) = (VERSION_COLUMN, ORIGIN_COLUMN);
    let mut out = format!(
        "INSERT INTO {} ({}, {v}, {o}) VALUES ",
        stamps(beside),
        names.join(", ")
    )
    .into_bytes();
    separated(at, ", ", &mut out, |index, out| {
        let write = &writes[*index];
        let row = batch::cells(&write.op);
        let mut cells = RowText::default();
        cells.add_key(shape, &write.key);
        for place in [columns.version, columns.origin] {
            let value = row.and_then(|row| row.get(place)).unwrap_or(&Value::Null);
            cells.add(value, &shape.table.columns[place].ty);
        }
        out.push(b'(');
        out.extend_from_slice(&cells.text);
        out.push(b')');
    });
    let anew = names.iter().map(|name| format!("{name} = VALUES({name})"));
    push(
        &mut out,
        &format!(
            " ON DUPLICATE KEY UPDATE {}, {TOUCHED_COLUMN} = {TOUCHED_COLUMN} + 1, {v} = VALUES({v}), {o} = VALUES({o})",
            anew.collect::<Vec<_>>().join(", ")
        ),
    );
    out
}

/// As `read`, with the stamps.
pub(super) fn read(flavor: Flavor, shape: &Shape, beside: &Beside, keys: &[(usize, &Key)]) -> Sql {
    let (rows, number) = numbered_rows(shape, keys);
    let cells = shape.stored().map(|(_, column)| {
        let of = if column.is_beside() { "x" } else { "t" };
        format!("{of}.{}", quote(&column.name))
    });
    let selected: Vec<String> = std::iter::once(number).chain(cells).collect();
    let mut out = format!("SELECT {} FROM ", selected.join(", ")).into_bytes();
    joined(&rows, flavor, (shape, beside), false, "STRAIGHT_JOIN", &mut out);
    only(&rows, shape, &mut out);
    push(&mut out, " FOR UPDATE");
    out
}

/// Of rows that stand: the stamps that they have or count as, without a lock.
pub(super) fn look(flavor: Flavor, shape: &Shape, beside: &Beside, keys: &[(usize, &Key)]) -> Sql {
    let (rows, number) = numbered_rows(shape, keys);
    let (v, o) = (VERSION_COLUMN, ORIGIN_COLUMN);
    let mut out = format!("SELECT {number}, COALESCE(x.{v}, 1), COALESCE(x.{o}, 0) FROM ").into_bytes();
    joined(&rows, flavor, (shape, beside), false, "LEFT JOIN", &mut out);
    only(&rows, shape, &mut out);
    out
}

/// Locks the rows, and gives those without a stamp the one that they count as.
pub fn complete(flavor: Flavor, shape: &Shape, beside: &Beside, keys: &[(usize, &Key)]) -> [Sql; 2] {
    let (rows, number) = numbered_rows(shape, keys);
    let mut lock = Sql::new();
    rows.select(flavor, &table(&shape.table.id), &[number], shape, &mut lock);
    push(&mut lock, " FOR UPDATE");
    let of_row: Vec<String> = key_columns(&shape.table)
        .map(|column| quote(&column.name))
        .collect();
    let mut out = format!(
        "INSERT INTO {} ({}, {VERSION_COLUMN}, {ORIGIN_COLUMN}) SELECT {}, 1, 0 FROM ",
        stamps(beside),
        of_row.join(", "),
        of_row
            .iter()
            .map(|name| format!("t.{name}"))
            .collect::<Vec<_>>()
            .join(", "),
    )
    .into_bytes();
    joined(&rows, flavor, (shape, beside), false, "LEFT JOIN", &mut out);
    match rows.is_single() {
        true => {
            only(&rows, shape, &mut out);
            push(&mut out, " AND ");
        }
        false => push(&mut out, " WHERE "),
    }
    push(&mut out, &format!("x.{VERSION_COLUMN} IS NULL"));
    [lock, out]
}

/// Finds the row's stamp if it is at least this version.
pub fn is_stamped(shape: &Shape, beside: &Beside, key: &Key, version: i64) -> Sql {
    let rows = Rows::by_key(shape, std::iter::once(key));
    let mut out = format!("SELECT 1 FROM {} AS t WHERE ", stamps(beside)).into_bytes();
    rows.condition(shape, false, "t.", &mut out);
    push(&mut out, &format!(" AND t.{VERSION_COLUMN} >= {version}"));
    out
}

/// Of a first copy: the rows of a range, of those that the condition takes, with the stamps that they have or count as.
/// `cells`: of the table's own columns, in its order, and what else is asked of a row `t`.
pub fn copied(of: &Table, cells: &[String], range: &Range, condition: Option<&str>) -> String {
    format!(
        "SELECT {} FROM {} AS t LEFT JOIN {} AS x ON {}{}",
        cells.join(", "),
        table(&of.id),
        table(&stamps_of(&of.id)),
        same_key(of),
        super::range::rows(of, range, condition),
    )
}

/// A cell of a first copy.
pub fn copied_cell(column: &crate::model::schema::Column) -> String {
    match (column.is_beside(), column.name == VERSION_COLUMN) {
        (false, _) => format!("t.{}", quote(&column.name)),
        (true, true) => format!("COALESCE(x.{VERSION_COLUMN}, 1)"),
        (true, false) => format!("COALESCE(x.{ORIGIN_COLUMN}, 0)"),
    }
}
