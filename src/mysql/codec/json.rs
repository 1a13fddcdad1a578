//! MySQL's binary JSON, as row events carry it, to the text the server itself prints.
//!
//! Refuses: bytes that do not hold together, by `None`; depth is bounded as the server bounds it.
//! Numbers, dates and binary values inside a document print as the server's CAST to text does, so that a row
//! read by SELECT and one read from the log are equal. A date, a time or bytes (JSON_TYPE tells: DATE, TIME, DATETIME,
//! BLOB, BIT) print as strings, and reading the text makes strings of them: such a document says so ([`Document`]).

use super::binary;
use crate::mysql::wire::Cursor;
use std::fmt::Write;

/// The server refuses deeper documents.
const DEPTH_MAX: usize = 100;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) text: String,
    /// It holds values of SQL that look like strings in the text.
    pub(super) has_sql: bool,
}

impl Document {
    fn write(&mut self, text: std::fmt::Arguments<'_>) -> Option<()> {
        self.text.write_fmt(text).ok()
    }
}

pub(super) fn document(bytes: &[u8]) -> Option<Document> {
    let mut out = Document::default();
    match bytes.split_first() {
        Some((ty, body)) => {
            out.text.reserve(bytes.len());
            value(*ty, body, 0, &mut out)?;
        }
        // What a column got that was added without a default.
        None => out.text.push_str("null"),
    }
    Some(out)
}

fn value(ty: u8, body: &[u8], depth: usize, out: &mut Document) -> Option<()> {
    if depth > DEPTH_MAX {
        return None;
    }
    let mut cursor = Cursor::new(body);
    match ty {
        0x00 => object(body, Width::Small, depth, out),
        0x01 => object(body, Width::Large, depth, out),
        0x02 => array(body, Width::Small, depth, out),
        0x03 => array(body, Width::Large, depth, out),
        0x04 => {
            out.text.push_str(match cursor.u8()? {
                0 => "null",
                1 => "true",
                2 => "false",
                _ => return None,
            });
            Some(())
        }
        0x05 => out.write(format_args!("{}", cursor.u16()?.cast_signed())),
        0x06 => out.write(format_args!("{}", cursor.u16()?)),
        0x07 => out.write(format_args!("{}", cursor.u32()?.cast_signed())),
        0x08 => out.write(format_args!("{}", cursor.u32()?)),
        0x09 => out.write(format_args!("{}", cursor.u64()?.cast_signed())),
        0x0a => out.write(format_args!("{}", cursor.u64()?)),
        0x0b => {
            double(f64::from_bits(cursor.u64()?), &mut out.text);
            Some(())
        }
        0x0c => {
            let len = length(&mut cursor)?;
            quoted(std::str::from_utf8(cursor.take(len)?).ok()?, &mut out.text);
            Some(())
        }
        0x0f => {
            let field_type = cursor.u8()?;
            let len = length(&mut cursor)?;
            opaque(field_type, cursor.take(len)?, out)
        }
        _ => None,
    }
}

/// Offsets and counts have two or four bytes.
#[derive(Clone, Copy)]
enum Width {
    Small,
    Large,
}

impl Width {
    fn size(self) -> usize {
        match self {
            Width::Small => 2,
            Width::Large => 4,
        }
    }

    fn read(self, cursor: &mut Cursor<'_>) -> Option<usize> {
        usize::try_from(cursor.little(self.size())?).ok()
    }

    /// Values that stand in the entry itself instead of at an offset.
    fn is_inlined(self, ty: u8) -> bool {
        match self {
            Width::Small => matches!(ty, 0x04..=0x06),
            Width::Large => matches!(ty, 0x04..=0x08),
        }
    }
}

/// `count, size` and, of an object, the keys' entries; the value entries follow.
fn object(body: &[u8], width: Width, depth: usize, out: &mut Document) -> Option<()> {
    let mut cursor = Cursor::new(body);
    let count = width.read(&mut cursor)?;
    let body = body.get(..width.read(&mut cursor)?)?;
    let mut keys = Cursor::new(cursor.take(count.checked_mul(width.size() + 2)?)?);
    out.text.push('{');
    for index in 0..count {
        let offset = width.read(&mut keys)?;
        let len = usize::from(keys.u16()?);
        let key = body.get(offset..)?.get(..len)?;
        if index > 0 {
            out.text.push_str(", ");
        }
        quoted(std::str::from_utf8(key).ok()?, &mut out.text);
        out.text.push_str(": ");
        entry(body, &mut cursor, width, depth, out)?;
    }
    out.text.push('}');
    Some(())
}

fn array(body: &[u8], width: Width, depth: usize, out: &mut Document) -> Option<()> {
    let mut cursor = Cursor::new(body);
    let count = width.read(&mut cursor)?;
    let body = body.get(..width.read(&mut cursor)?)?;
    out.text.push('[');
    for index in 0..count {
        if index > 0 {
            out.text.push_str(", ");
        }
        entry(body, &mut cursor, width, depth, out)?;
    }
    out.text.push(']');
    Some(())
}

fn entry(body: &[u8], cursor: &mut Cursor<'_>, width: Width, depth: usize, out: &mut Document) -> Option<()> {
    let ty = cursor.u8()?;
    let slot = cursor.take(width.size())?;
    if width.is_inlined(ty) {
        return value(ty, slot, depth + 1, out);
    }
    let offset = width.read(&mut Cursor::new(slot))?;
    value(ty, body.get(offset..)?, depth + 1, out)
}

/// Seven bits a byte, the low ones first; at most five bytes.
fn length(cursor: &mut Cursor<'_>) -> Option<usize> {
    let mut len = 0_u64;
    for shift in 0..5 {
        let byte = cursor.u8()?;
        len |= u64::from(byte & 0x7f) << (7 * shift);
        if byte & 0x80 == 0 {
            return usize::try_from(len).ok();
        }
    }
    None
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// The shortest digits that read back, as the server lays them out: an exponent only beyond 15 places.
fn double(number: f64, out: &mut String) {
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    if (-14..=15).contains(&point) || number == 0.0 {
        let _ = write!(out, "{number}");
        if number.fract() == 0.0 {
            out.push_str(".0");
        }
    } else {
        let _ = write!(out, "{digits}e{exponent}");
    }
}

/// Values of SQL types inside a document.
fn opaque(field_type: u8, bytes: &[u8], out: &mut Document) -> Option<()> {
    const DECIMAL: u8 = 246;
    let mut cursor = Cursor::new(bytes);
    // A DECIMAL is a number in the text as well, which says whether a double holds it.
    out.has_sql |= field_type != DECIMAL;
    match field_type {
        DECIMAL => {
            let (precision, scale) = (cursor.u8()?, cursor.u8()?);
            out.text
                .push_str(&binary::decimal(&mut cursor, precision, scale)?);
        }
        10 => {
            let [year, month, day, ..] = binary::packed_moment(cursor.u64()? >> 24);
            out.write(format_args!("\"{year:04}-{month:02}-{day:02}\""))?;
        }
        7 | 12 => {
            let packed = cursor.u64()?;
            let [year, month, day, hour, minute, second] = binary::packed_moment(packed >> 24);
            let micros = packed & 0xff_ffff;
            out.write(format_args!(
                "\"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}\""
            ))?;
        }
        11 => {
            let packed = cursor.u64()?.cast_signed();
            let sign = if packed < 0 { "-" } else { "" };
            let packed = packed.unsigned_abs();
            let (hour, minute, second) = binary::packed_time(packed >> 24);
            let micros = packed & 0xff_ffff;
            out.write(format_args!(
                "\"{sign}{hour:02}:{minute:02}:{second:02}.{micros:06}\""
            ))?;
        }
        _ => {
            let mut text = format!("base64:type{field_type}:");
            base64(bytes, &mut text);
            quoted(&text, &mut out.text);
        }
    }
    Some(())
}

/// With a line break after each 76 characters, as the server's own function writes it.
fn base64(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (index, chunk) in bytes.chunks(3).enumerate() {
        if index > 0 && index % 19 == 0 {
            out.push('\n');
        }
        let group = chunk
            .iter()
            .fold(0_u32, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            match place <= chunk.len() {
                true => out.push(char::from(DIGITS[(group >> (18 - 6 * place) & 63) as usize])),
                false => out.push('='),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"a": [1, "x"], "b": null}` in the small form.
    const DOCUMENT: [u8; 37] = [
        0x00, 2, 0, 36, 0, 18, 0, 1, 0, 19, 0, 1, 0, 0x02, 20, 0, 0x04, 0, 0, b'a', b'b', 2, 0, 16, 0, 0x05,
        1, 0, 0x0c, 10, 0, 1, b'x', 0, 0, 0, 0,
    ];

    #[test]
    fn objects_and_arrays_print_as_the_server_does() {
        assert_eq!(document(&DOCUMENT).unwrap().text, r#"{"a": [1, "x"], "b": null}"#);
        assert_eq!(document(&[]).unwrap().text, "null");
    }

    #[test]
    fn cut_altered_and_endless_documents_never_panic() {
        for len in 0..DOCUMENT.len() {
            let _ = document(&DOCUMENT[..len]);
        }
        for at in 0..DOCUMENT.len() {
            for byte in 0..=255 {
                let mut altered = DOCUMENT;
                altered[at] = byte;
                let _ = document(&altered);
            }
        }
        // An array whose element is the array itself.
        assert_eq!(document(&[0x02, 1, 0, 7, 0, 0x02, 0, 0]), None);
    }

    #[test]
    fn values_of_sql_are_told_from_their_text() {
        // DATE '2024-01-02', and DECIMAL 1.5.
        let date = [0x0f, 10, 8, 0, 0, 0, 0, 0, 0x44, 0xb2, 0x19];
        let date = document(&date).unwrap();
        assert_eq!((date.text.as_str(), date.has_sql), ("\"2024-01-02\"", true));
        let number = document(&[0x0f, 246, 4, 2, 1, 0x81, 0x05]).unwrap();
        assert_eq!((number.text.as_str(), number.has_sql), ("1.5", false));
        assert!(!document(&DOCUMENT).unwrap().has_sql);
    }

    #[test]
    fn doubles() {
        let print = |number: f64| {
            let mut out = String::new();
            double(number, &mut out);
            out
        };
        assert_eq!(print(1.0), "1.0");
        assert_eq!(print(-0.1), "-0.1");
        assert_eq!(print(1e15), "1e15");
        assert_eq!(print(123_456_789_012_345.0), "123456789012345.0");
        assert_eq!(print(1.5e-300), "1.5e-300");
    }

    #[test]
    fn base64_pads() {
        let print = |bytes: &[u8]| {
            let mut out = String::new();
            base64(bytes, &mut out);
            out
        };
        assert_eq!(print(b"a"), "YQ==");
        assert_eq!(print(b"ab"), "YWI=");
        assert_eq!(print(b"abc"), "YWJj");
        assert_eq!(print(&[0; 58]).len(), 81);
    }
}
