//! Rows in COPY's text format: a line per row, in blocks of whole lines.
//!
//! Owns: writing rows as lines, and finding the cells of lines that a server wrote. Refuses: what a cell means (see
//! `codec`), and I/O.

use super::codec;
use crate::model::schema::Table;
use crate::model::value::{Row, Value};
use crate::plan::Lines;
use bytes::{Bytes, BytesMut};
use std::io::Write as _;

/// A block goes to the server as one message.
const BLOCK_BYTES: usize = 64 << 10;

/// Lines gathered into blocks.
#[derive(Default)]
pub(super) struct Blocks {
    lines: Lines,
    open: Vec<u8>,
}

impl Blocks {
    /// A line as a server wrote it, its end included.
    pub(super) fn add(&mut self, line: &[u8]) {
        self.open.extend_from_slice(line);
        self.line_ended(line.len());
    }

    /// These cells of a row; `false`: it does not have them all.
    fn add_row(&mut self, table: &Table, row: &Row, cells: &[usize]) -> bool {
        let start = self.open.len();
        for (index, cell) in cells.iter().enumerate() {
            let Some(value) = row.get(*cell) else { return false };
            if index > 0 {
                self.open.push(b'\t');
            }
            write_cell(table, value, *cell, &mut self.open);
        }
        self.open.push(b'\n');
        self.line_ended(self.open.len() - start);
        true
    }

    fn line_ended(&mut self, bytes: usize) {
        self.lines.rows += 1;
        self.lines.bytes += bytes;
        if self.open.len() >= BLOCK_BYTES {
            self.close_block();
        }
    }

    fn close_block(&mut self) {
        if !self.open.is_empty() {
            let block = std::mem::replace(&mut self.open, Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 8));
            self.lines.blocks.push(Bytes::from(block));
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.lines.bytes
    }

    pub(super) fn finish(mut self) -> Lines {
        self.close_block();
        self.lines
    }
}

/// These cells of each row; `None`: a row does not have them all.
pub(super) fn of_rows(table: &Table, rows: &[Row], cells: &[usize]) -> Option<Lines> {
    let mut blocks = Blocks::default();
    let is_whole = rows.iter().all(|row| blocks.add_row(table, row, cells));
    is_whole.then(|| blocks.finish())
}

fn write_cell(table: &Table, value: &Value, cell: usize, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"\\N"),
        // Writing into a Vec cannot fail.
        Value::Int(number) => drop(write!(out, "{number}")),
        Value::UInt(number) => drop(write!(out, "{number}")),
        other => match codec::encode(other, &table.columns[cell].ty) {
            Some(text) => escape(text.as_bytes(), out),
            None => out.extend_from_slice(b"\\N"),
        },
    }
}

/// What would end the cell or the line, and the escape itself.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    let is_special = |byte: &u8| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r');
    let mut rest = text;
    while let Some(at) = rest.iter().position(is_special) {
        out.extend_from_slice(&rest[..at]);
        let letter = match rest[at] {
            b'\t' => b't',
            b'\n' => b'n',
            b'\r' => b'r',
            other => other,
        };
        out.extend_from_slice(&[b'\\', letter]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// The cells of a line without its end. `None` = NULL. A cell without escapes shares the line's memory.
pub(super) fn cells(line: Bytes) -> impl Iterator<Item = Option<Bytes>> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let mut cell = rest.take()?;
        if let Some(tab) = cell.iter().position(|byte| *byte == b'\t') {
            let mut after = cell.split_off(tab);
            let _ = after.split_to(1);
            rest = Some(after);
        }
        Some(unescape(cell))
    })
}

fn unescape(cell: Bytes) -> Option<Bytes> {
    if &cell[..] == b"\\N" {
        return None;
    }
    if !cell.contains(&b'\\') {
        return Some(cell);
    }
    let mut plain = BytesMut::with_capacity(cell.len());
    let mut bytes = cell.iter();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'\\' => match bytes.next() {
                Some(b'b') => 8,
                Some(b't') => b'\t',
                Some(b'n') => b'\n',
                Some(b'v') => 11,
                Some(b'f') => 12,
                Some(b'r') => b'\r',
                Some(other) => *other,
                None => b'\\',
            },
            other => *other,
        };
        plain.extend_from_slice(&[byte]);
    }
    Some(plain.freeze())
}

/// The lines of blocks, without their ends. No cell holds an end of line: it is escaped.
pub(super) fn each(lines: &Lines) -> impl Iterator<Item = Bytes> {
    let of_block = |block: &Bytes| {
        let block = block.clone();
        let mut start = 0;
        std::iter::from_fn(move || {
            let end = start + block[start..].iter().position(|byte| *byte == b'\n')?;
            let line = block.slice(start..end);
            start = end + 1;
            Some(line)
        })
    };
    lines.blocks.iter().flat_map(of_block)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::schema::{Column, ColumnType, TableId};
    use proptest::prelude::*;

    fn table(columns: usize) -> Table {
        let column = |index: usize| Column {
            name: format!("c{index}"),
            ty: ColumnType::Text {
                chars: None,
                bytes: None,
                fixed: false,
                utf8: true,
            },
            sql_type: "text".to_owned(),
            collation: String::new(),
            nullable: true,
            generated: false,
            has_default: false,
        };
        Table {
            id: TableId::new("s", "t"),
            columns: (0..columns).map(column).collect(),
            key: vec![0],
            uniques: Vec::new(),
        }
    }

    fn texts(cells: &[Option<&str>]) -> Row {
        let value = |cell: &Option<&str>| Some(cell.map_or(Value::Null, |text| Value::Text(text.into())));
        cells.iter().map(value).collect()
    }

    fn read(lines: &Lines) -> Vec<Vec<Option<String>>> {
        let text = |cell: Option<Bytes>| cell.map(|cell| String::from_utf8(cell.to_vec()).unwrap());
        each(lines).map(|line| cells(line).map(text).collect()).collect()
    }

    #[test]
    fn a_row_is_a_line_as_the_server_reads_it() {
        let rows = [
            texts(&[Some("a\tb"), None, Some("")]),
            texts(&[Some("\\N"), Some("\\."), Some("c:\\x\r\n")]),
        ];
        let lines = of_rows(&table(3), &rows, &[0, 1, 2]).unwrap();
        assert_eq!(lines.rows, 2);
        assert_eq!(
            lines.blocks.concat(),
            b"a\\tb\t\\N\t\n\\\\N\t\\\\.\tc:\\\\x\\r\\n\n"
        );
    }

    #[test]
    fn what_the_server_escapes_is_read_back() {
        let mut blocks = Blocks::default();
        blocks.add(b"\\b\\f\\v\\\\\t\\N\n");
        assert_eq!(
            read(&blocks.finish()),
            [[Some("\u{8}\u{c}\u{b}\\".to_owned()), None]]
        );
    }

    #[test]
    fn a_row_that_lacks_a_cell_is_not_written() {
        let row: Row = [Some(Value::Int(1)), None].into_iter().collect();
        assert!(of_rows(&table(2), std::slice::from_ref(&row), &[0, 1]).is_none());
        assert_eq!(of_rows(&table(2), &[row], &[0]).unwrap().blocks.concat(), b"1\n");
    }

    proptest! {
        #[test]
        fn all_texts_come_back(rows in prop::collection::vec([prop::option::of("\\PC*|[\\\\\t\n\r N.]*"), prop::option::of(".*")], 1..20)) {
            let written: Vec<Row> = rows.iter().map(|row| texts(&[row[0].as_deref(), row[1].as_deref()])).collect();
            let lines = of_rows(&table(2), &written, &[0, 1]).unwrap();
            let expected: Vec<Vec<Option<String>>> = rows.iter().map(|row| row.to_vec()).collect();
            prop_assert_eq!(read(&lines), expected);
        }
    }
}
