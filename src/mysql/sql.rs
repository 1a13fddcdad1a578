//! Statement text for MySQL and MariaDB.
//!
//! Owns: quoting and every statement the target builds.
//! Refuses: I/O. Every table is named with its database.
//!
//! Values are literals. Several rows arrive as a derived table `v` with columns `c0`, `c1` ..; its types come from
//! the literals of all rows, which was tried on both servers to lose nothing. A single row is written as a plain
//! statement, which is faster. Rows are found by their key's index and then compared byte by byte, so that a
//! collation never makes one spelling of a key answer for another.

pub mod beside;
pub mod expression;
pub mod foreign;
mod held;
pub mod image;
pub mod parked;
pub mod range;

use super::Flavor;
use super::codec::literal;
use crate::batch::{self, Group, Verb};
use crate::chunk::Range;
use crate::model::origin::CONTROL;
use crate::model::schema::{Column, ColumnType, Table, TableId};
use crate::model::stamp::Stamp;
use crate::model::sync::{GENERATION_COLUMN, ORIGIN_COLUMN, VERSION_COLUMN};
use crate::model::value::{Row, Value};
use crate::plan::{Key, Move, Shape, StampColumns, Write};

pub use held::{held_at, hold};

/// A text as a literal, in sessions where a backslash escapes.
pub fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Text of a statement: bytes, because literals are.
pub type Sql = Vec<u8>;

/// An identifier in backticks.
pub fn quote(ident: &str) -> String {
    format!("`{}`", ident.replace('`', "``"))
}

pub fn table(id: &TableId) -> String {
    format!("{}.{}", quote(&id.schema), quote(&id.name))
}

/// Settings of an apply session beyond the pins: our triggers stay silent, and foreign keys are not checked.
pub const SESSION: &str = "SET @tidelock_apply = 1, SESSION foreign_key_checks = 0";

pub fn checkpoint(sync: &str, link: &str) -> Sql {
    let mut out =
        "SELECT lane, epoch, seq, position, settle, source_identity FROM tidelock.checkpoint".into();
    link_condition(sync, link, &mut out);
    push(&mut out, " ORDER BY seq DESC LIMIT 1");
    out
}

pub fn create_checkpoint(mv: &Move) -> Sql {
    let mut out = Sql::from(
        "INSERT INTO tidelock.checkpoint (segment_number, sync, link, lane, epoch, seq, position, settle, origin, \
         hop, segment, config_hash, source_identity) VALUES (0, ",
    );
    text(&mv.marker.sync, &mut out);
    push(&mut out, ", ");
    text(&mv.marker.link, &mut out);
    push(
        &mut out,
        &format!(", {}, {}, {}, ", mv.marker.lane, mv.epoch, mv.marker.seq),
    );
    text(&mv.marker.position, &mut out);
    push(&mut out, ", ");
    optional(mv.settle.as_deref(), &mut out);
    let (origin, hop, segment) = (mv.marker.origin, mv.marker.hop, mv.marker.segment.code());
    push(&mut out, &format!(", {origin}, {hop}, {segment}, "));
    text(&mv.marker.config_hash, &mut out);
    push(&mut out, ", ");
    text(&mv.source_identity, &mut out);
    out.push(b')');
    out
}

pub fn take_over(sync: &str, link: &str) -> Sql {
    let mut out = "UPDATE tidelock.checkpoint SET epoch = epoch + 1".into();
    link_condition(sync, link, &mut out);
    out
}

/// The first row event of the transaction, which is the marker.
pub fn begin(mv: &Move) -> Sql {
    let mut out = move_cells(mv, "0");
    move_condition(mv, mv.from_seq, &mut out);
    out
}

/// A further marker in that transaction, and where it now goes. The counter makes the row change, because an update
/// that changes nothing is not logged.
pub fn mark(mv: &Move) -> Sql {
    let mut out = move_cells(mv, "segment_number + 1");
    move_condition(mv, mv.marker.seq, &mut out);
    out
}

fn move_cells(mv: &Move, segment_number: &str) -> Sql {
    let marker = &mv.marker;
    let (seq, origin, hop, segment) = (marker.seq, marker.origin, marker.hop, marker.segment.code());
    let mut out = format!(
        "UPDATE tidelock.checkpoint SET seq = {seq}, origin = {origin}, hop = {hop}, segment = {segment}, \
         segment_number = {segment_number}, moved_at = CURRENT_TIMESTAMP(6)"
    )
    .into_bytes();
    for (name, value) in [
        ("position", Some(&marker.position)),
        ("settle", mv.settle.as_ref()),
        ("config_hash", Some(&marker.config_hash)),
        ("source_identity", Some(&mv.source_identity)),
    ] {
        push(&mut out, &format!(", {name} = "));
        optional(value.map(String::as_str), &mut out);
    }
    out
}

fn move_condition(mv: &Move, seq: i64, out: &mut Sql) {
    link_condition(&mv.marker.sync, &mv.marker.link, out);
    let (lane, epoch) = (mv.marker.lane, mv.epoch);
    push(
        out,
        &format!(" AND lane = {lane} AND epoch = {epoch} AND seq = {seq}"),
    );
}

fn link_condition(sync: &str, link: &str, out: &mut Sql) {
    push(out, " WHERE sync = ");
    text(sync, out);
    push(out, " AND link = ");
    text(link, out);
}

pub fn empty(id: &TableId) -> Sql {
    format!("DELETE FROM {}", table(id)).into_bytes()
}

/// With several rows the tombstones are a statement of their own.
pub fn delete(flavor: Flavor, shape: &Shape, writes: &[Write], group: &Group) -> Sql {
    let rows = Rows::of(shape, writes, group, |_, _| {});
    // What is taken away to be put back keeps its stamp.
    if let Some(beside) = beside::of(shape).filter(|_| group.verb != Verb::Clear) {
        return beside::delete(flavor, shape, beside, &rows, group.guarded);
    }
    let mut out = Sql::new();
    if rows.is_single() {
        push(
            &mut out,
            &format!("DELETE FROM {} WHERE ", table(&shape.table.id)),
        );
        rows.condition(shape, group.guarded, "", &mut out);
        return out;
    }
    push(&mut out, "DELETE t FROM ");
    rows.joined(flavor, shape, group.guarded, &mut out);
    out
}

pub fn update(flavor: Flavor, shape: &Shape, writes: &[Write], group: &Group) -> Sql {
    let first = shape.table.key.len() + 2 * usize::from(group.guarded);
    let rows = Rows::of(shape, writes, group, |write, cells| {
        let row = batch::cells(&write.op);
        for cell in &group.cells {
            let value = row.and_then(|row| row.get(*cell)).unwrap_or(&Value::Null);
            cells.add(value, &shape.table.columns[*cell].ty);
        }
    });
    let beside = beside::of(shape);
    let of_table = if rows.is_single() && beside.is_none() {
        ""
    } else {
        "t."
    };
    let mut out = "UPDATE ".into();
    match (beside, rows.is_single()) {
        (Some(of), _) => beside::joined(
            &rows,
            flavor,
            (shape, of),
            group.guarded,
            "STRAIGHT_JOIN",
            &mut out,
        ),
        (None, true) => push(&mut out, &table(&shape.table.id)),
        (None, false) => rows.joined(flavor, shape, group.guarded, &mut out),
    }
    push(&mut out, " SET ");
    let mut sets_own = false;
    for (index, cell) in group.cells.iter().enumerate() {
        let column = &shape.table.columns[*cell];
        let prefix = match (column.is_beside(), beside) {
            (true, Some(_)) => "x.",
            // Its triggers stamp the row.
            (true, None) => continue,
            (false, _) => of_table,
        };
        sets_own |= !column.is_beside();
        push(&mut out, &format!("{prefix}{} = ", quote(&column.name)));
        out.extend_from_slice(&rows.operand(first + index));
        push(&mut out, ", ");
    }
    match sets_own {
        true => out.truncate(out.len() - 2),
        // Nothing to set: the statement only counts the rows.
        false => {
            let key = quote(&shape.table.columns[shape.table.key[0]].name);
            push(&mut out, &format!("{of_table}{key} = {of_table}{key}"));
        }
    }
    match beside {
        Some(_) => beside::only(&rows, shape, &mut out),
        None if rows.is_single() => {
            push(&mut out, " WHERE ");
            rows.condition(shape, group.guarded, "", &mut out);
        }
        None => {}
    }
    out
}

pub fn insert(shape: &Shape, writes: &[Write], group: &Group) -> Sql {
    let columns = &shape.table.columns;
    let cells = group.cells.iter().filter(|cell| !columns[**cell].is_beside());
    let cells: Vec<usize> = cells.copied().collect();
    let rows = group.at.iter().map(|index| batch::cells(&writes[*index].op));
    insert_rows(shape, &cells, (&rows.collect::<Vec<_>>(), &cells))
}

/// These cells of the rows of a first copy, and where they lie in each.
pub fn load(shape: &Shape, cells: &[usize], (rows, places): (&[Row], &[usize])) -> Sql {
    insert_rows(shape, cells, (&rows.iter().map(Some).collect::<Vec<_>>(), places))
}

fn insert_rows(shape: &Shape, cells: &[usize], (rows, places): (&[Option<&Row>], &[usize])) -> Sql {
    let columns = &shape.table.columns;
    let names: Vec<String> = cells.iter().map(|cell| quote(&columns[*cell].name)).collect();
    let mut out = format!(
        "INSERT INTO {} ({}) VALUES ",
        table(&shape.table.id),
        names.join(", ")
    )
    .into_bytes();
    let cells: Vec<(&usize, &usize)> = cells.iter().zip(places).collect();
    separated(rows, ", ", &mut out, |row, out| {
        out.push(b'(');
        separated(&cells, ",", out, |(cell, place), out| {
            let value = row.and_then(|row| row.get(**place)).unwrap_or(&Value::Null);
            literal(value, &columns[**cell].ty, out);
        });
        out.push(b')');
    });
    out
}

/// Finds rows under these writes' keys.
pub fn exists(flavor: Flavor, shape: &Shape, writes: &[Write], at: &[usize]) -> Sql {
    let rows = Rows::by_key(shape, at.iter().map(|index| &writes[*index].key));
    let mut out = Sql::new();
    rows.select(
        flavor,
        &table(&shape.table.id),
        &["1".to_owned()],
        shape,
        &mut out,
    );
    out
}

/// Finds a tombstone that beats one of the inserts (a delete beats a write of its version).
pub fn dominated(
    flavor: Flavor,
    shape: &Shape,
    stamps: &StampColumns,
    writes: &[Write],
    group: &Group,
) -> Sql {
    let keys = shape.table.key.len();
    let rows = Rows::of(shape, writes, group, |write, cells| {
        let row = batch::cells(&write.op);
        let version = row.and_then(|row| row.get(stamps.version));
        cells.add(
            version.unwrap_or(&Value::Null),
            &shape.table.columns[stamps.version].ty,
        );
    });
    let mut out = Sql::new();
    rows.select(flavor, &tombstones(stamps), &["1".to_owned()], shape, &mut out);
    push(&mut out, &format!(" AND t.{VERSION_COLUMN} >= "));
    out.extend_from_slice(&rows.operand(keys));
    push(&mut out, " LIMIT 1");
    out
}

/// The greater stamp stays, and is not of its generation any more when it is raised; all is compared while the old
/// version is still there.
pub fn bury(shape: &Shape, stamps: &StampColumns, writes: &[Write], at: &[usize]) -> Sql {
    let names: Vec<String> = key_columns(&shape.table)
        .map(|column| quote(&column.name))
        .collect();
    let (v, o, g) = (VERSION_COLUMN, ORIGIN_COLUMN, GENERATION_COLUMN);
    let mut out = format!(
        "INSERT INTO {} ({}, {v}, {o}) VALUES ",
        tombstones(stamps),
        names.join(", ")
    )
    .into_bytes();
    separated(at, ", ", &mut out, |index, out| {
        let mut cells = RowText::default();
        cells.add_key(shape, &writes[*index].key);
        cells.add_stamp(batch::tombstone(&writes[*index].op));
        out.push(b'(');
        out.extend_from_slice(&cells.text);
        out.push(b')');
    });
    push(
        &mut out,
        &format!(
            " ON DUPLICATE KEY UPDATE {g} = IF(({v}, {o}) < (VALUES({v}), VALUES({o})), NULL, {g}), \
             {o} = IF(({v}, {o}) < (VALUES({v}), VALUES({o})), VALUES({o}), {o}), {v} = GREATEST({v}, VALUES({v}))"
        ),
    );
    out
}

/// Number of the key, then every column that is not generated; rows are locked in the order of the keys.
pub fn read(flavor: Flavor, shape: &Shape, keys: &[(usize, &Key)]) -> Sql {
    if let Some(beside) = shape.beside() {
        return beside::read(flavor, shape, beside, keys);
    }
    let cells = shape
        .stored()
        .map(|(_, column)| format!("t.{}", quote(&column.name)));
    let mut out = numbered(flavor, shape, keys, &table(&shape.table.id), cells);
    push(&mut out, " FOR UPDATE");
    out
}

/// The same of rows that the server takes for equal, in whatever spelling, as its unique index does; not locked.
pub fn alike(shape: &Shape, key: &Key) -> Sql {
    let cells = shape
        .stored()
        .map(|(_, column)| format!("t.{}", quote(&column.name)));
    let cells: Vec<String> = std::iter::once("0".to_owned()).chain(cells).collect();
    let mut out = Sql::new();
    push(
        &mut out,
        &format!(
            "SELECT {} FROM {} AS t WHERE ",
            cells.join(", "),
            table(&shape.table.id)
        ),
    );
    let mut row = RowText::default();
    row.add_key(shape, key);
    for (index, column) in key_columns(&shape.table).enumerate() {
        if index > 0 {
            push(&mut out, " AND ");
        }
        if !matches_alike(column, "t.", row.cell(index), &mut out) {
            matches(column, "t.", row.cell(index), &mut out);
        }
    }
    out
}

pub fn read_tombstones(flavor: Flavor, shape: &Shape, stamps: &StampColumns, keys: &[(usize, &Key)]) -> Sql {
    stamps_in(flavor, shape, &tombstones(stamps), keys)
}

pub fn read_stamps(flavor: Flavor, shape: &Shape, keys: &[(usize, &Key)]) -> Sql {
    if let Some(beside) = shape.beside() {
        return beside::look(flavor, shape, beside, keys);
    }
    stamps_in(flavor, shape, &table(&shape.table.id), keys)
}

fn stamps_in(flavor: Flavor, shape: &Shape, from: &str, keys: &[(usize, &Key)]) -> Sql {
    let cells = [format!("t.{VERSION_COLUMN}"), format!("t.{ORIGIN_COLUMN}")];
    numbered(flavor, shape, keys, from, cells.into_iter())
}

fn numbered(
    flavor: Flavor,
    shape: &Shape,
    keys: &[(usize, &Key)],
    from: &str,
    cells: impl Iterator<Item = String>,
) -> Sql {
    let (rows, number) = numbered_rows(shape, keys);
    let selected: Vec<String> = std::iter::once(number).chain(cells).collect();
    let mut out = Sql::new();
    rows.select(flavor, from, &selected, shape, &mut out);
    out
}

/// Cells: key, number; and what stands for the number.
fn numbered_rows(shape: &Shape, keys: &[(usize, &Key)]) -> (Rows, String) {
    let mut rows = Rows::default();
    for (number, key) in keys {
        let mut row = RowText::default();
        row.add_key(shape, key);
        row.add_int(*number as i64);
        rows.0.push(row);
    }
    let number = rows.operand(shape.table.key.len());
    let number = String::from_utf8_lossy(&number).into_owned();
    (rows, number)
}

/// One row if there is any.
/// Of those that take part.
pub fn has_rows(of: &Table) -> String {
    let within = range::within(of, &Range::default());
    format!("SELECT 1 FROM {} AS t{within} LIMIT 1", table(&of.id))
}

fn tombstones(stamps: &StampColumns) -> String {
    table(&TableId::new(CONTROL, &stamps.tombstones))
}

/// Of the user's table; ours are found by their primary keys.
pub(super) fn key_index(table: &Table) -> String {
    match &table.external {
        Some(_) => quote(table.key_index()),
        None => table.key_index().to_owned(),
    }
}

fn key_columns(table: &Table) -> impl Iterator<Item = &Column> {
    table.key.iter().map(|index| &table.columns[*index])
}

/// The literals of one row, with commas between, and where each begins.
#[derive(Default)]
struct RowText {
    text: Sql,
    starts: Vec<usize>,
}

impl RowText {
    fn add(&mut self, value: &Value, ty: &ColumnType) {
        if !self.starts.is_empty() {
            self.text.push(b',');
        }
        self.starts.push(self.text.len());
        literal(value, ty, &mut self.text);
    }

    fn add_int(&mut self, number: i64) {
        let ty = ColumnType::Int {
            bits: 64,
            unsigned: false,
        };
        self.add(&Value::Int(number), &ty);
    }

    fn add_key(&mut self, shape: &Shape, key: &Key) {
        for (value, column) in key.iter().zip(key_columns(&shape.table)) {
            self.add(value, &column.ty);
        }
    }

    fn add_stamp(&mut self, stamp: Option<Stamp>) {
        let stamp = stamp.unwrap_or(Stamp::write(0, 0));
        self.add_int(stamp.version);
        self.add_int(i64::from(stamp.origin));
    }

    fn cell(&self, index: usize) -> &[u8] {
        let end = self
            .starts
            .get(index + 1)
            .map_or(self.text.len(), |next| next - 1);
        &self.text[self.starts[index]..end]
    }
}

#[derive(Default)]
struct Rows(Vec<RowText>);

impl Rows {
    /// Cells: key, (guarded) base stamp, then what `more` adds.
    fn of(shape: &Shape, writes: &[Write], group: &Group, more: impl Fn(&Write, &mut RowText)) -> Self {
        let row = |index: &usize| {
            let write = &writes[*index];
            let mut row = RowText::default();
            row.add_key(shape, &write.key);
            if group.guarded {
                row.add_stamp(batch::base(&write.op));
            }
            more(write, &mut row);
            row
        };
        Rows(group.at.iter().map(row).collect())
    }

    fn by_key<'k>(shape: &Shape, keys: impl Iterator<Item = &'k Key>) -> Self {
        let row = |key: &Key| {
            let mut row = RowText::default();
            row.add_key(shape, key);
            row
        };
        Rows(keys.map(row).collect())
    }

    fn is_single(&self) -> bool {
        self.0.len() == 1
    }

    /// What stands for cell `index` of the rows: the literal of the only one, else the column of `v`.
    fn operand(&self, index: usize) -> Sql {
        match self.0.as_slice() {
            [only] => only.cell(index).to_vec(),
            _ => format!("v.c{index}").into_bytes(),
        }
    }

    /// `ROWS AS v STRAIGHT_JOIN table AS t ON ..`: from the list to the table, by its key.
    fn joined(&self, flavor: Flavor, shape: &Shape, guarded: bool, out: &mut Sql) {
        self.source(flavor, out);
        push(
            out,
            &format!(
                " STRAIGHT_JOIN {} AS t FORCE INDEX ({}) ON ",
                table(&shape.table.id),
                key_index(&shape.table)
            ),
        );
        self.condition(shape, guarded, "t.", out);
    }

    fn select(&self, flavor: Flavor, from: &str, cells: &[String], shape: &Shape, out: &mut Sql) {
        push(out, &format!("SELECT {} FROM ", cells.join(", ")));
        if self.is_single() {
            push(out, &format!("{from} AS t WHERE "));
        } else {
            self.source(flavor, out);
            let index = match from == table(&shape.table.id) {
                true => key_index(&shape.table),
                false => "PRIMARY".to_owned(),
            };
            push(
                out,
                &format!(" STRAIGHT_JOIN {from} AS t FORCE INDEX ({index}) ON "),
            );
        }
        self.condition(shape, false, "t.", out);
    }

    /// MariaDB cannot name the columns of VALUES but through a common table expression.
    fn source(&self, flavor: Flavor, out: &mut Sql) {
        let width = self.0.first().map_or(0, |row| row.starts.len());
        let names: Vec<String> = (0..width).map(|index| format!("c{index}")).collect();
        let names = names.join(",");
        let (open, row) = match flavor {
            Flavor::Mysql => ("(VALUES ".to_owned(), "ROW("),
            Flavor::Mariadb => (format!("(WITH v({names}) AS (VALUES "), "("),
        };
        push(out, &open);
        separated(&self.0, ",", out, |cells, out| {
            push(out, row);
            out.extend_from_slice(&cells.text);
            out.push(b')');
        });
        match flavor {
            Flavor::Mysql => push(out, &format!(") AS v({names})")),
            Flavor::Mariadb => push(out, ") SELECT * FROM v) AS v"),
        }
    }

    fn condition(&self, shape: &Shape, guarded: bool, prefix: &str, out: &mut Sql) {
        for (index, column) in key_columns(&shape.table).enumerate() {
            if index > 0 {
                push(out, " AND ");
            }
            matches(column, prefix, &self.operand(index), out);
        }
        if let (true, Some(stamps)) = (guarded, &shape.stamps) {
            let first = shape.table.key.len();
            for (index, column) in [stamps.version, stamps.origin].into_iter().enumerate() {
                let name = quote(&shape.table.columns[column].name);
                push(out, &format!(" AND {prefix}{name} = "));
                out.extend_from_slice(&self.operand(first + index));
            }
        }
    }
}

/// The operand is converted to the column's type and collation, so that the index serves; texts are then compared
/// in the operand's character set, where nothing that the column cannot hold has become a question mark.
fn matches(column: &Column, prefix: &str, operand: &[u8], out: &mut Sql) {
    let name = format!("{prefix}{}", quote(&column.name));
    let target = match &column.ty {
        ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } => {
            if matches_alike(column, prefix, operand, out) {
                push(out, " AND ");
                push(
                    out,
                    &format!("CAST(CONVERT({name} USING utf8mb4) AS BINARY) = CAST("),
                );
                out.extend_from_slice(operand);
                push(out, " AS BINARY)");
                return;
            }
            None
        }
        ColumnType::Int { unsigned: true, .. } | ColumnType::Bit { .. } => Some("UNSIGNED"),
        ColumnType::Int { unsigned: false, .. } | ColumnType::Year | ColumnType::Bool => Some("SIGNED"),
        ColumnType::Date => Some("DATE"),
        ColumnType::Time { .. } => Some("TIME(6)"),
        ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. } => Some("DATETIME(6)"),
        ColumnType::Float
        | ColumnType::Double
        | ColumnType::Decimal { .. }
        | ColumnType::Bytes { .. }
        | ColumnType::Uuid
        | ColumnType::Json { .. }
        | ColumnType::Interval
        | ColumnType::Opaque { .. } => None,
    };
    push(out, &format!("{name} = "));
    match target {
        Some(ty) => {
            push(out, "CAST(");
            out.extend_from_slice(operand);
            push(out, &format!(" AS {ty})"));
        }
        None => out.extend_from_slice(operand),
    }
}

/// As the column's collation compares. `false`: it has none, and nothing was written.
fn matches_alike(column: &Column, prefix: &str, operand: &[u8], out: &mut Sql) -> bool {
    let Some(charset) = charset(&column.collation) else {
        return false;
    };
    push(out, &format!("{prefix}{} = CONVERT(", quote(&column.name)));
    out.extend_from_slice(operand);
    push(out, &format!(" USING {charset}) COLLATE {}", column.collation));
    true
}

/// Every collation's name begins with its character set's.
fn charset(collation: &str) -> Option<&str> {
    let plain = collation.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let charset = collation.split('_').next().unwrap_or_default();
    (plain && !charset.is_empty() && charset != "binary").then_some(charset)
}

pub(super) fn push(out: &mut Sql, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn separated<T>(items: &[T], separator: &str, out: &mut Sql, each: impl Fn(&T, &mut Sql)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            push(out, separator);
        }
        each(item, out);
    }
}

pub(super) fn text(value: &str, out: &mut Sql) {
    optional(Some(value), out);
}

pub(super) fn optional(value: Option<&str>, out: &mut Sql) {
    let value = value.map_or(Value::Null, |text| Value::Text(text.into()));
    let ty = ColumnType::Text {
        chars: None,
        bytes: None,
        fixed: false,
        utf8: true,
    };
    literal(&value, &ty, out);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::value::Row;
    use crate::plan::WriteOp;
    use std::sync::Arc;

    fn column(name: &str, ty: ColumnType, collation: &str) -> Column {
        Column {
            name: name.to_owned(),
            ty,
            sql_type: String::new(),
            collation: collation.to_owned(),
            nullable: true,
            generated: false,
            has_default: false,
        }
    }

    fn shape() -> Shape {
        let int = ColumnType::Int {
            bits: 64,
            unsigned: false,
        };
        let text = ColumnType::Text {
            chars: Some(9),
            bytes: None,
            fixed: false,
            utf8: false,
        };
        Shape {
            table: Arc::new(Table {
                id: TableId::new("d", "t"),
                columns: vec![column("i`d", int, ""), column("k", text, "latin1_swedish_ci")],
                key: vec![0],
                uniques: vec![],
                external: None,
            }),
            stamps: None,
            untouched: vec![],
        }
    }

    fn updates(count: i64) -> (Vec<Write>, Group) {
        let write = |number| Write {
            key: Box::new([Value::Int(number)]),
            op: WriteOp::Update {
                row: Row(Box::new([None, Some(Value::Text("it's".into()))])),
                base: None,
                here: None,
            },
        };
        let writes: Vec<Write> = (0..count).map(write).collect();
        let group = Group {
            verb: Verb::Update,
            cells: vec![1],
            guarded: false,
            buried: false,
            at: (0..writes.len()).collect(),
        };
        (writes, group)
    }

    fn string(sql: Sql) -> String {
        String::from_utf8(sql).unwrap()
    }

    #[test]
    fn identifiers_are_quoted_whatever_they_hold() {
        assert_eq!(quote("a`; drop--"), "`a``; drop--`");
        assert_eq!(table(&TableId::new("My S", "order")), "`My S`.`order`");
    }

    #[test]
    fn one_row_is_a_plain_statement_and_several_are_a_join() {
        let (writes, group) = updates(1);
        assert_eq!(
            string(update(Flavor::Mysql, &shape(), &writes, &group)),
            "UPDATE `d`.`t` SET `k` = 'it''s' WHERE `i``d` = CAST(0 AS SIGNED)"
        );
        let (writes, group) = updates(2);
        assert_eq!(
            string(update(Flavor::Mysql, &shape(), &writes, &group)),
            "UPDATE (VALUES ROW(0,'it''s'),ROW(1,'it''s')) AS v(c0,c1) STRAIGHT_JOIN `d`.`t` AS t \
             FORCE INDEX (PRIMARY) ON t.`i``d` = CAST(v.c0 AS SIGNED) SET t.`k` = v.c1"
        );
        assert!(string(update(Flavor::Mariadb, &shape(), &writes, &group)).starts_with(
            "UPDATE (WITH v(c0,c1) AS (VALUES (0,'it''s'),(1,'it''s')) SELECT * FROM v) AS v STRAIGHT_JOIN"
        ));
    }

    #[test]
    fn text_keys_use_their_index_and_compare_bytes() {
        let mut out = Sql::new();
        matches(&shape().table.columns[1], "t.", b"v.c0", &mut out);
        assert_eq!(
            string(out),
            "t.`k` = CONVERT(v.c0 USING latin1) COLLATE latin1_swedish_ci AND \
             CAST(CONVERT(t.`k` USING utf8mb4) AS BINARY) = CAST(v.c0 AS BINARY)"
        );
    }
}
