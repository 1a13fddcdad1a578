//! Rows as JSON texts for conflict records: exact, readable, the same for both engines.
//!
//! Integers and booleans are JSON's own; everything else is a string in its canonical text, because JSON numbers
//! would lose digits. Bytes are `\x` and hexadecimal. A cell that was not sent is left out. A masked cell is a number that tells
//! only which cells of its column are equal.

use crate::model::conflict::{Conflict, ConflictKind, Outcome};
use crate::model::schema::{Table, TableId};
use crate::model::stamp::{Rank, Stamp};
use crate::model::value::{Row, Value};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Stands in the place of a masked cell, with a number that is the same where the column's cells are equal.
pub const MASKED: &str = "masked";

/// Masked columns of a row, each with the number that stands for its cell.
pub type Hidden = BTreeMap<usize, u64>;

pub fn row_json(table: &Table, row: &Row, hidden: &Hidden) -> String {
    let mut object = Map::new();
    for (place, (column, cell)) in table.columns.iter().zip(row.0.iter()).enumerate() {
        let Some(cell) = cell else { continue };
        let told = match hidden.get(&place) {
            Some(number) => json!({ MASKED: number }),
            None => json(cell),
        };
        object.insert(column.name.clone(), told);
    }
    Json::Object(object).to_string()
}

/// One number for each cell of a masked column, counted in the order of the cells; equal cells have one number.
pub fn numbers<const N: usize>(cells: [Option<&Value>; N]) -> [Option<u64>; N] {
    let mut seen: Vec<&Value> = Vec::new();
    cells.map(|cell| {
        let cell = cell?;
        let known = seen.iter().position(|known| *known == cell);
        let place = known.unwrap_or_else(|| {
            seen.push(cell);
            seen.len() - 1
        });
        Some(place as u64 + 1)
    })
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

/// A cell for people.
pub fn cell_text(value: &Value) -> String {
    match json(value) {
        Json::String(text) => text,
        Json::Null => "NULL".to_owned(),
        other => other.to_string(),
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
pub fn conflict_id(table: &str, key: &str, stamps: [Option<Stamp>; 2], extra: &str) -> String {
    let mut stamps: Vec<String> = stamps.iter().flatten().map(ToString::to_string).collect();
    stamps.sort_unstable();
    let text = format!("{table}\0{key}\0{}\0{extra}", stamps.join("\0"));
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(text.as_bytes()))
}

/// The record of a row that stood below the tombstone of its key and was raised above it: nothing came from elsewhere.
/// `key` is JSON that a server made.
pub fn raised(table: &TableId, key: &str, row: Stamp, tombstone: Stamp, me: Rank, at_us: i64) -> Conflict {
    let key = serde_json::from_str::<Json>(key).map_or_else(|_| key.to_owned(), |key| key.to_string());
    let stamps = [Some(tombstone), Some(row)];
    Conflict {
        id: conflict_id(&table.name, &key, stamps, "raised"),
        kind: ConflictKind::UpdateDeleted,
        outcome: Outcome::Applied,
        rule: "newest",
        schema: table.schema.clone(),
        table: table.name.clone(),
        key,
        base: None,
        local: None,
        incoming: None,
        base_stamp: None,
        local_stamp: stamps[0],
        incoming_stamp: stamps[1],
        winner: Some(me),
        operation: "insert",
        source_position: String::new(),
        source_committed_at_us: at_us,
        detail: "the row was written here while the delete of its key arrived, and stood below it: it got a greater \
                 version before the tombstone was dropped"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
