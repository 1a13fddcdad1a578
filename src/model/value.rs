//! One cell, by meaning and not by engine.
//!
//! Owns: [`Value`] and [`Row`]. Exact things stay exact: decimals, dates and times are canonical text, because
//! no number or calendar type covers the range of both engines.
//! Refuses: conversion between types (see `typemap`) and engine formats (see `postgres::codec`, `mysql::codec`).

use bytes::Bytes;
use bytestring::ByteString;

/// A cell's value. The canonical texts are those both codecs produce and accept:
///
/// | variant | canonical text |
/// |---|---|
/// | `Decimal` | optional `-`, digits, optional `.digits` with the scale kept; also `NaN`, `Infinity`, `-Infinity` |
/// | `Bit` | `0` and `1`, most significant first, as long as the column says |
/// | `Date` | `YYYY-MM-DD`; also `infinity`, `-infinity`, a trailing ` BC`, and MySQL's zero parts |
/// | `Time` | `[-]HH:MM:SS[.ffffff]`, hours may pass 24, no trailing zeros in the fraction |
/// | `Timestamp` | date, one blank, time; `TimestampTz` the same in UTC without a zone |
/// | `Interval` | PostgreSQL's ISO 8601 form |
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// Every signed integer, and YEAR.
    Int(i64),
    /// Every unsigned integer.
    UInt(u64),
    Float(f32),
    Double(f64),
    Decimal(ByteString),
    /// Text, ENUM (its label) and SET (labels, comma between).
    Text(ByteString),
    Bytes(Bytes),
    Bit(ByteString),
    Date(ByteString),
    Time(ByteString),
    Timestamp(ByteString),
    TimestampTz(ByteString),
    Uuid([u8; 16]),
    Json(ByteString),
    Interval(ByteString),
    /// A type with no meaning of its own here: the server's text, for the same engine at the other end only.
    Opaque(ByteString),
}

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Memory this cell keeps alive, for the byte bounds of parts and groups.
    pub fn bytes(&self) -> usize {
        std::mem::size_of::<Value>()
            + match self {
                Value::Decimal(s)
                | Value::Text(s)
                | Value::Bit(s)
                | Value::Date(s)
                | Value::Time(s)
                | Value::Timestamp(s)
                | Value::TimestampTz(s)
                | Value::Json(s)
                | Value::Interval(s)
                | Value::Opaque(s) => s.len(),
                Value::Bytes(b) => b.len(),
                Value::Null
                | Value::Bool(_)
                | Value::Int(_)
                | Value::UInt(_)
                | Value::Float(_)
                | Value::Double(_)
                | Value::Uuid(_) => 0,
            }
    }

    /// Appends a form in which two cells are equal exactly when their bytes are: the form keys are hashed
    /// and compared in. Floats go by their bits; every form is self-delimiting.
    pub fn key_bytes(&self, out: &mut Vec<u8>) {
        let (tag, body): (u8, &[u8]) = match self {
            Value::Null => (0, &[]),
            Value::Bool(b) => (1, if *b { b"1" } else { b"0" }),
            Value::Int(i) => return push(out, 2, &i128::from(*i).to_be_bytes()),
            Value::UInt(u) => return push(out, 2, &i128::from(*u).to_be_bytes()),
            Value::Float(f) => return push(out, 3, &f.to_bits().to_be_bytes()),
            Value::Double(f) => return push(out, 4, &f.to_bits().to_be_bytes()),
            Value::Decimal(s) => (5, s.as_bytes()),
            Value::Text(s) => (6, s.as_bytes()),
            Value::Bytes(b) => (7, b),
            Value::Bit(s) => (8, s.as_bytes()),
            Value::Date(s) => (9, s.as_bytes()),
            Value::Time(s) => (10, s.as_bytes()),
            Value::Timestamp(s) => (11, s.as_bytes()),
            Value::TimestampTz(s) => (12, s.as_bytes()),
            Value::Uuid(u) => (13, u),
            Value::Json(s) => (14, s.as_bytes()),
            Value::Interval(s) => (15, s.as_bytes()),
            Value::Opaque(s) => (16, s.as_bytes()),
        };
        push(out, tag, body);
    }
}

fn push(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&(body.len() as u64).to_be_bytes());
    out.extend_from_slice(body);
}

/// The cells of one row in the order of its table's columns. `None` = the engine did not send it
/// (unchanged TOAST, key-only image), which is not NULL.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row(pub Box<[Option<Value>]>);

impl Row {
    pub fn get(&self, column: usize) -> Option<&Value> {
        self.0.get(column).and_then(Option::as_ref)
    }

    pub fn is_complete(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    /// This row, with the other's cells where it has none.
    pub fn over(&self, other: &Row) -> Row {
        let cells = self.0.iter().zip(other.0.iter());
        cells
            .map(|(cell, under)| cell.clone().or_else(|| under.clone()))
            .collect()
    }

    pub fn bytes(&self) -> usize {
        self.0
            .iter()
            .map(|cell| cell.as_ref().map_or(std::mem::size_of::<Value>(), Value::bytes))
            .sum()
    }
}

impl FromIterator<Option<Value>> for Row {
    fn from_iter<I: IntoIterator<Item = Option<Value>>>(cells: I) -> Self {
        Row(cells.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        value.key_bytes(&mut out);
        out
    }

    #[test]
    fn signed_and_unsigned_keys_of_one_number_are_one_key() {
        assert_eq!(key(&Value::Int(7)), key(&Value::UInt(7)));
        assert_ne!(key(&Value::Int(-1)), key(&Value::UInt(u64::MAX)));
    }

    #[test]
    fn null_and_empty_text_are_two_keys() {
        assert_ne!(key(&Value::Null), key(&Value::Text("".into())));
    }
}
