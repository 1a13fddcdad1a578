//! Rows in COPY's text format: a line per row, in blocks of whole lines.
//!
//! Owns: writing rows as lines where they have no binary form (see `binary`), and finding the cells of lines that a
//! server wrote. Refuses: what a cell means (see `codec`), and I/O.

use super::{binary, codec};
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

    /// What is no line.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
    }

    /// A line that this writes; `None`: it could not, and the blocks are of no use any more.
    pub(super) fn add_with(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<()> {
        let start = self.open.len();
        write(&mut self.open)?;
        self.line_ended(self.open.len() - start);
        Some(())
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

/// The cells at these places of each row, as these columns of the table; `None`: a row does not have them all.
pub fn of_rows(table: &Table, rows: &[Row], cells: (&[usize], &[usize])) -> Option<Lines> {
    binary::of_rows(table, rows, cells).or_else(|| as_text(table, rows, cells))
}

fn as_text(table: &Table, rows: &[Row], (places, cells): (&[usize], &[usize])) -> Option<Lines> {
    let mut blocks = Blocks::default();
    for row in rows {
        blocks.add_with(|out| {
            for (index, (place, cell)) in places.iter().zip(cells).enumerate() {
                if index > 0 {
                    out.push(b'\t');
                }
                write_cell(table, row.get(*place)?, *cell, out);
            }
            out.push(b'\n');
            Some(())
        })?;
    }
    Some(blocks.finish())
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

/// Where the first byte is that is escaped. By the block, which the compiler makes comparisons of many bytes of.
fn special(text: &[u8]) -> Option<usize> {
    const BLOCK: usize = 32;
    let is_special = |byte: &u8| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r');
    let holds = |block: &&[u8]| block.iter().fold(false, |found, byte| found | is_special(byte));
    let plain = BLOCK * text.chunks(BLOCK).take_while(|block| !holds(block)).count();
    let at = text.get(plain..)?.iter().position(is_special)?;
    Some(plain + at)
}

/// What would end the cell or the line, and the escape itself.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = special(rest) {
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
            external: None,
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
        let lines = as_text(&table(3), &rows, (&[0, 1, 2], &[0, 1, 2])).unwrap();
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
        assert!(as_text(&table(2), std::slice::from_ref(&row), (&[0, 1], &[0, 1])).is_none());
        assert_eq!(
            as_text(&table(2), &[row], (&[0], &[0])).unwrap().blocks.concat(),
            b"1\n"
        );
    }

    proptest! {
        #[test]
        fn all_texts_come_back(rows in prop::collection::vec([prop::option::of("\\PC*|[\\\\\t\n\r N.]*"), prop::option::of(".*")], 1..20)) {
            let written: Vec<Row> = rows.iter().map(|row| texts(&[row[0].as_deref(), row[1].as_deref()])).collect();
            let lines = as_text(&table(2), &written, (&[0, 1], &[0, 1])).unwrap();
            let expected: Vec<Vec<Option<String>>> = rows.iter().map(|row| row.to_vec()).collect();
            prop_assert_eq!(read(&lines), expected);
        }
    }
}
