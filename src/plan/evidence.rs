//! Rows as JSON texts for conflict records: exact, readable, the same for both engines.
//!
//! Integers and booleans are JSON's own; everything else is a string in its canonical text, because JSON numbers
//! would lose digits. Bytes are `\x` and hexadecimal. A cell that was not sent is left out.

use crate::model::schema::Table;
use crate::model::value::{Row, Value};
use serde_json::{Map, Value as Json};
use std::fmt::Write;

pub fn row_json(table: &Table, row: &Row) -> String {
    let cells = table.columns.iter().zip(row.0.iter());
    let object: Map<String, Json> = cells
        .filter_map(|(column, cell)| Some((column.name.clone(), json(cell.as_ref()?))))
        .collect();
    Json::Object(object).to_string()
}

pub fn key_json(key: &[Value]) -> String {
    Json::Array(key.iter().map(json).collect()).to_string()
}

fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(i) => Json::from(*i),
        Value::UInt(u) => Json::from(*u),
        Value::Float(f) => Json::String(f.to_string()),
        Value::Double(f) => Json::String(f.to_string()),
        Value::Bytes(bytes) => Json::String(hex(bytes)),
        Value::Uuid(uuid) => Json::String(uuid_text(uuid)),
        Value::Decimal(s)
        | Value::Text(s)
        | Value::Bit(s)
        | Value::Date(s)
        | Value::Time(s)
        | Value::Timestamp(s)
        | Value::TimestampTz(s)
        | Value::Json(s)
        | Value::Interval(s)
        | Value::Opaque(s) => Json::String(s.to_string()),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// `8-4-4-4-12`, lower case.
pub fn uuid_text(uuid: &[u8; 16]) -> String {
    let digits = &hex(uuid)[2..];
    [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-")
}

/// Names a conflict: equal on every node that sees the same pair of stamps under one key.
pub fn conflict_id(
    table: &str,
    key: &str,
    stamps: [Option<crate::model::stamp::Stamp>; 2],
    extra: &str,
) -> String {
    let mut stamps: Vec<String> = stamps.iter().flatten().map(ToString::to_string).collect();
    stamps.sort_unstable();
    let text = format!("{table}\0{key}\0{}\0{extra}", stamps.join("\0"));
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stamp::Stamp;

    #[test]
    fn exact_values_stay_exact_text() {
        let key = [
            Value::UInt(u64::MAX),
            Value::Decimal("1.10".into()),
            Value::Bytes(vec![0, 255].into()),
        ];
        assert_eq!(key_json(&key), r#"[18446744073709551615,"1.10","\\x00ff"]"#);
        assert_eq!(uuid_text(&[0xab; 16]), "abababab-abab-abab-abab-abababababab");
    }

    #[test]
    fn a_conflict_has_one_name_from_both_sides() {
        let (a, b) = (Some(Stamp::write(5, 1)), Some(Stamp::write(5, 2)));
        assert_eq!(
            conflict_id("t", "[1]", [a, b], ""),
            conflict_id("t", "[1]", [b, a], "")
        );
        assert_ne!(
            conflict_id("t", "[1]", [a, None], ""),
            conflict_id("t", "[1]", [b, a], "")
        );
    }
}
