//! Bytes of MySQL and MariaDB to and from the canonical values.
//!
//! Owns: rows of prepared statements ([`decode_select`]), rows of the log ([`decode_row`]) and SQL literals
//! ([`literal`]).
//! Both ways of reading a row give the same value for the same cell; that is what the canonical texts are for.
//! Refuses: bytes that are not what the column's type says, with the column's name and never the value.

mod binary;
mod cell;
mod charset;
mod json;
mod literal;

pub use cell::{Reader, decode_row, stood};
pub use charset::{Spelling, is_read, spelled};
pub use literal::literal;

use crate::error::{Error, Result};
use crate::model::schema::{Column, ColumnType};
use crate::model::value::Value;
use bytestring::ByteString;
use mysql_async::Value as Cell;
use std::fmt::Write;

/// A cell of a prepared statement's result (the binary protocol; the text protocol rounds FLOAT) in a session
/// with the pins of `mysql::connect`.
pub fn decode_select(column: &Column, cell: Cell) -> Result<Value> {
    if cell == Cell::NULL {
        return Ok(Value::Null);
    }
    from_select(&column.ty, cell).ok_or_else(|| {
        Error::definite(format!(
            "read column {:?} of type {}",
            column.name, column.sql_type
        ))
        .why("the server's value is not of that type")
    })
}

fn from_select(ty: &ColumnType, cell: Cell) -> Option<Value> {
    Some(match ty {
        ColumnType::Bool => Value::Bool(signed(&cell)? != 0),
        ColumnType::Int { unsigned: true, .. } => Value::UInt(match cell {
            Cell::UInt(number) => number,
            Cell::Int(number) => u64::try_from(number).ok()?,
            _ => return None,
        }),
        ColumnType::Int { unsigned: false, .. } | ColumnType::Year => Value::Int(signed(&cell)?),
        ColumnType::Float => match cell {
            Cell::Float(number) => Value::Float(number),
            _ => return None,
        },
        ColumnType::Double => match cell {
            Cell::Double(number) => Value::Double(number),
            _ => return None,
        },
        ColumnType::Decimal { .. } => Value::Decimal(decimal_text(&text(cell)?)?),
        ColumnType::Text { fixed, .. } => {
            let text = text(cell)?;
            Value::Text(if *fixed { trimmed(text) } else { text })
        }
        ColumnType::Bytes { limit, fixed } => Value::Bytes(padded(bytes(cell)?, *limit, *fixed).into()),
        ColumnType::Bit { len, .. } => Value::Bit(bit_text(&bytes(cell)?, *len)?),
        ColumnType::Date => match cell {
            Cell::Date(year, month, day, ..) => Value::Date(date_text(year.into(), month, day)),
            _ => return None,
        },
        ColumnType::Time { .. } => match cell {
            Cell::Time(negative, days, hours, minutes, seconds, micros) => {
                let hours = days.checked_mul(24)?.checked_add(u32::from(hours))?;
                Value::Time(time_text(negative, hours, minutes, seconds, micros))
            }
            _ => return None,
        },
        ColumnType::Timestamp { .. } => Value::Timestamp(moment(cell)?),
        ColumnType::TimestampTz { .. } => Value::TimestampTz(moment(cell)?),
        ColumnType::Uuid => Value::Uuid(parse_uuid(&bytes(cell)?)?),
        ColumnType::Json { .. } => Value::Json(text(cell)?),
        ColumnType::Enum { .. } | ColumnType::Set { .. } => Value::Text(text(cell)?),
        ColumnType::Interval => Value::Interval(text(cell)?),
        ColumnType::Opaque { name } => Value::Opaque(opaque_select(name, bytes(cell)?)?),
    })
}

fn signed(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Int(number) => Some(*number),
        Cell::UInt(number) => i64::try_from(*number).ok(),
        _ => None,
    }
}

fn bytes(cell: Cell) -> Option<Vec<u8>> {
    match cell {
        Cell::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

fn text(cell: Cell) -> Option<ByteString> {
    String::from_utf8(bytes(cell)?).ok().map(ByteString::from)
}

fn moment(cell: Cell) -> Option<ByteString> {
    match cell {
        Cell::Date(year, month, day, hour, minute, second, micros) => Some(timestamp_text(
            [
                year.into(),
                month.into(),
                day.into(),
                hour.into(),
                minute.into(),
                second.into(),
            ],
            micros,
        )),
        _ => None,
    }
}

/// Types that have a text of their own travel as it, all others (geometries, vectors) as `0x` and hex digits.
fn opaque_select(name: &str, bytes: Vec<u8>) -> Option<ByteString> {
    if is_address(name) {
        return String::from_utf8(bytes).ok().map(ByteString::from);
    }
    Some(opaque_bytes(&bytes))
}

/// MariaDB's INET4 and INET6.
fn is_address(name: &str) -> bool {
    name.get(..4)
        .is_some_and(|head| head.eq_ignore_ascii_case("inet"))
}

fn opaque_bytes(bytes: &[u8]) -> ByteString {
    let mut text = String::with_capacity(bytes.len() * 2 + 2);
    text.push_str("0x");
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text.into()
}

/// Trailing blanks of CHAR do not count.
fn trimmed(text: ByteString) -> ByteString {
    let len = text.trim_end_matches(' ').len();
    match len == text.len() {
        true => text,
        false => ByteString::from(&text[..len]),
    }
}

/// BINARY(n) is n bytes, whatever trailing zeros the log left out.
fn padded(mut bytes: Vec<u8>, limit: Option<u64>, fixed: bool) -> Vec<u8> {
    if let (true, Some(limit)) = (fixed, limit.and_then(|limit| usize::try_from(limit).ok()))
        && bytes.len() < limit
        && limit <= 255
    {
        bytes.resize(limit, 0);
    }
    bytes
}

/// Big-endian bytes to as many binary digits as the column has; more bits than that are refused.
fn bit_text(bytes: &[u8], len: Option<u32>) -> Option<ByteString> {
    if bytes.len() > 8 {
        return None;
    }
    let number = bytes
        .iter()
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let width = len.map_or(bytes.len() * 8, |len| len as usize);
    let text = format!("{number:0width$b}");
    (text.len() == width || (width == 0 && number == 0)).then(|| text.into())
}

/// Drops the zeros of ZEROFILL and the sign of a zero; digits and scale stay.
fn decimal_text(text: &str) -> Option<ByteString> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !fraction.is_none_or(|fraction| !fraction.is_empty() && is_number(fraction)) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let is_zero =
        whole.is_empty() && fraction.is_none_or(|fraction| fraction.bytes().all(|byte| byte == b'0'));
    let mut out = String::with_capacity(text.len() + 1);
    if negative && !is_zero {
        out.push('-');
    }
    out.push_str(if whole.is_empty() { "0" } else { whole });
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    Some(out.into())
}

fn date_text(year: u32, month: u8, day: u8) -> ByteString {
    format!("{year:04}-{month:02}-{day:02}").into()
}

fn time_text(negative: bool, hours: u32, minutes: u8, seconds: u8, micros: u32) -> ByteString {
    let sign = if negative { "-" } else { "" };
    let mut text = format!("{sign}{hours:02}:{minutes:02}:{seconds:02}");
    push_fraction(micros, &mut text);
    text.into()
}

/// `[year, month, day, hour, minute, second]`, which may have MySQL's zero parts.
fn timestamp_text([year, month, day, hour, minute, second]: [u32; 6], micros: u32) -> ByteString {
    let mut text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    push_fraction(micros, &mut text);
    text.into()
}

/// Without trailing zeros; nothing for a whole second.
fn push_fraction(micros: u32, text: &mut String) {
    if micros != 0 {
        let _ = write!(text, ".{micros:06}");
        text.truncate(text.trim_end_matches('0').len());
    }
}

pub(super) fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut digits = text
        .iter()
        .filter(|byte| **byte != b'-')
        .map(|byte| char::from(*byte).to_digit(16));
    let mut uuid = [0_u8; 16];
    for byte in &mut uuid {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    digits.next().is_none().then_some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(ty: ColumnType, cell: Cell) -> Result<Value> {
        let column = Column {
            name: "c".to_owned(),
            ty,
            sql_type: "t".to_owned(),
            collation: String::new(),
            nullable: true,
            generated: false,
            has_default: false,
        };
        decode_select(&column, cell)
    }

    fn int(bits: u8, unsigned: bool) -> ColumnType {
        ColumnType::Int { bits, unsigned }
    }

    #[test]
    fn numbers() {
        assert_eq!(decode(int(8, true), Cell::Int(200)).unwrap(), Value::UInt(200));
        assert_eq!(
            decode(int(64, true), Cell::UInt(u64::MAX)).unwrap(),
            Value::UInt(u64::MAX)
        );
        assert_eq!(decode(int(24, false), Cell::Int(-1)).unwrap(), Value::Int(-1));
        assert_eq!(decode(ColumnType::Year, Cell::UInt(0)).unwrap(), Value::Int(0));
        assert_eq!(
            decode(ColumnType::Float, Cell::Float(1.5)).unwrap(),
            Value::Float(1.5)
        );
        assert!(decode(int(8, false), Cell::Double(1.0)).is_err());
        let decimal = |text: &str| {
            let ty = ColumnType::Decimal {
                precision: Some(10),
                scale: 2,
                unsigned: false,
            };
            decode(ty, Cell::Bytes(text.as_bytes().to_vec())).unwrap()
        };
        assert_eq!(decimal("00012.30"), Value::Decimal("12.30".into()));
        assert_eq!(decimal("-0.00"), Value::Decimal("0.00".into()));
        assert_eq!(decimal("-0.10"), Value::Decimal("-0.10".into()));
    }

    #[test]
    fn times_are_canonical() {
        let time = ColumnType::Time {
            fraction: 6,
            span: true,
        };
        let value = decode(time, Cell::Time(true, 34, 22, 59, 59, 500_000)).unwrap();
        assert_eq!(value, Value::Time("-838:59:59.5".into()));
        let value = decode(
            ColumnType::Timestamp { fraction: 6 },
            Cell::Date(2024, 2, 0, 1, 2, 3, 40),
        )
        .unwrap();
        assert_eq!(value, Value::Timestamp("2024-02-00 01:02:03.00004".into()));
        let value = decode(ColumnType::Date, Cell::Date(0, 0, 0, 0, 0, 0, 0)).unwrap();
        assert_eq!(value, Value::Date("0000-00-00".into()));
    }

    #[test]
    fn bytes_bits_and_texts() {
        let bit = |len: u32, bytes: &[u8]| {
            let ty = ColumnType::Bit {
                len: Some(len),
                varying: false,
            };
            decode(ty, Cell::Bytes(bytes.to_vec()))
        };
        assert_eq!(bit(10, &[1, 5]).unwrap(), Value::Bit("0100000101".into()));
        assert!(bit(3, &[8]).is_err());
        let binary = ColumnType::Bytes {
            limit: Some(4),
            fixed: true,
        };
        assert_eq!(
            decode(binary, Cell::Bytes(vec![1])).unwrap(),
            Value::Bytes(vec![1, 0, 0, 0].into())
        );
        let char = ColumnType::Text {
            chars: Some(5),
            bytes: None,
            fixed: true,
            utf8: true,
        };
        assert_eq!(
            decode(char.clone(), Cell::Bytes(b"ab  ".to_vec())).unwrap(),
            Value::Text("ab".into())
        );
        assert!(decode(char, Cell::Bytes(vec![0xff])).is_err());
    }

    #[test]
    fn uuids_and_opaque_types() {
        let text = "00112233-4455-6677-8899-aabbccddeeff";
        let Value::Uuid(uuid) = decode(ColumnType::Uuid, Cell::Bytes(text.as_bytes().to_vec())).unwrap()
        else {
            unreachable!()
        };
        assert_eq!(uuid_text(&uuid), text);
        let opaque = |name: &str, bytes: &[u8]| {
            let ty = ColumnType::Opaque {
                name: name.to_owned(),
            };
            decode(ty, Cell::Bytes(bytes.to_vec())).unwrap()
        };
        assert_eq!(opaque("inet6", b"::1"), Value::Opaque("::1".into()));
        assert_eq!(opaque("point", &[0, 171]), Value::Opaque("0x00ab".into()));
    }

    #[test]
    fn null_is_null_in_every_type() {
        assert_eq!(decode(ColumnType::Date, Cell::NULL).unwrap(), Value::Null);
    }
}
