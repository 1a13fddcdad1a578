//! PostgreSQL's texts, to and from [`Value`].
//!
//! Owns: [`decode`], [`encode`] and [`column_type`]. The texts are those of a session pinned by `postgres::SESSION`
//! and of pgoutput in text mode, which are the same.
//! Refuses: binary formats, and conversion between types (see `typemap`).
//! Fails: definite, when a text is not one of its type; the text itself is never in the message.

use crate::error::{Error, Result};
use crate::model::schema::ColumnType;
use crate::model::value::Value;
use bytes::Bytes;
use bytestring::ByteString;
use std::borrow::Cow;
use std::fmt::Write as _;

/// The column type of a built-in type; `None` for all others, which the catalog knows.
/// `typmod` as in `pg_attribute.atttypmod`, -1 = none.
pub fn column_type(oid: u32, typmod: i32) -> Option<ColumnType> {
    let limit = u32::try_from(typmod.saturating_sub(4))
        .ok()
        .filter(|_| typmod >= 4);
    let fraction = u8::try_from(typmod).unwrap_or(6);
    Some(match oid {
        16 => ColumnType::Bool,
        17 => ColumnType::Bytes {
            limit: None,
            fixed: false,
        },
        19 => ColumnType::Text {
            chars: None,
            bytes: Some(63),
            fixed: false,
            utf8: true,
        },
        20 => int(64),
        21 => int(16),
        23 => int(32),
        25 => text(None, false),
        114 => ColumnType::Json { normalised: false },
        700 => ColumnType::Float,
        701 => ColumnType::Double,
        1042 => text(limit, true),
        1043 => text(limit, false),
        1082 => ColumnType::Date,
        1083 => ColumnType::Time {
            fraction,
            span: false,
        },
        1114 => ColumnType::Timestamp { fraction },
        1184 => ColumnType::TimestampTz {
            fraction,
            epoch: false,
        },
        1186 => ColumnType::Interval,
        1560 => ColumnType::Bit {
            len: u32::try_from(typmod).ok(),
            varying: false,
        },
        1562 => ColumnType::Bit {
            len: u32::try_from(typmod).ok(),
            varying: true,
        },
        1700 => decimal(typmod),
        2950 => ColumnType::Uuid,
        3802 => ColumnType::Json { normalised: true },
        _ => return None,
    })
}

fn int(bits: u8) -> ColumnType {
    ColumnType::Int {
        bits,
        unsigned: false,
    }
}

fn text(chars: Option<u32>, fixed: bool) -> ColumnType {
    ColumnType::Text {
        chars,
        bytes: None,
        fixed,
        utf8: true,
    }
}

/// `numeric(p,s)` is `(p << 16 | s & 0x7ff) + 4` with an 11-bit signed scale.
fn decimal(typmod: i32) -> ColumnType {
    let bits = u32::try_from(typmod.saturating_sub(4))
        .ok()
        .filter(|_| typmod >= 4);
    ColumnType::Decimal {
        precision: bits.map(|bits| bits >> 16),
        scale: bits.map_or(0, |bits| ((bits & 0x7ff) as i32 ^ 0x400) - 0x400),
        unsigned: false,
    }
}

/// The server's text of a cell of type `ty` as the canonical value.
pub fn decode(ty: &ColumnType, text: ByteString) -> Result<Value> {
    let value = match ty {
        ColumnType::Bool => match &*text {
            "t" | "true" => Some(Value::Bool(true)),
            "f" | "false" => Some(Value::Bool(false)),
            _ => None,
        },
        ColumnType::Int { unsigned: true, .. } => text.parse().ok().map(Value::UInt),
        ColumnType::Int { .. } | ColumnType::Year => text.parse().ok().map(Value::Int),
        ColumnType::Float => text.parse().ok().map(Value::Float),
        ColumnType::Double => text.parse().ok().map(Value::Double),
        ColumnType::Decimal { .. } => is_decimal(&text).then_some(Value::Decimal(text)),
        ColumnType::Text { fixed: true, .. } => Some(Value::Text(text.slice_ref(text.trim_end_matches(' ')))),
        ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } => Some(Value::Text(text)),
        ColumnType::Bytes { .. } => decode_bytes(&text).map(Value::Bytes),
        ColumnType::Bit { .. } => text
            .bytes()
            .all(|digit| digit == b'0' || digit == b'1')
            .then_some(Value::Bit(text)),
        ColumnType::Date => Some(Value::Date(text)),
        ColumnType::Time { .. } => Some(Value::Time(trim_fraction(text))),
        ColumnType::Timestamp { .. } => Some(Value::Timestamp(trim_fraction(text))),
        ColumnType::TimestampTz { .. } => strip_zone(text).map(Value::TimestampTz),
        ColumnType::Uuid => parse_uuid(&text).map(Value::Uuid),
        ColumnType::Json { .. } => Some(Value::Json(text)),
        ColumnType::Interval => Some(Value::Interval(text)),
        ColumnType::Opaque { .. } => Some(Value::Opaque(text)),
    };
    value.ok_or_else(|| {
        Error::definite("decode a cell")
            .why(format!("the server's text is not one of type {ty:?}"))
            .hint("was the column's type changed? Run `tidelock check`")
    })
}

/// The text of a parameter for a column of type `ty`; `None` = NULL.
pub fn encode<'v>(value: &'v Value, ty: &ColumnType) -> Option<Cow<'v, str>> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(true) => Cow::Borrowed("t"),
        Value::Bool(false) => Cow::Borrowed("f"),
        Value::Int(number) => Cow::Owned(number.to_string()),
        Value::UInt(number) => Cow::Owned(number.to_string()),
        Value::Float(number) => float_text(f64::from(*number), || format!("{number:?}")),
        Value::Double(number) => float_text(*number, || format!("{number:?}")),
        Value::Bytes(bytes) => Cow::Owned(encode_bytes(bytes)),
        // A zone would be ignored by `timestamp` and is needed by `timestamptz` only.
        Value::TimestampTz(text) if matches!(ty, ColumnType::TimestampTz { .. }) => {
            Cow::Owned(add_zone(text))
        }
        Value::Uuid(uuid) => Cow::Owned(uuid_text(uuid)),
        Value::Decimal(text)
        | Value::Text(text)
        | Value::Bit(text)
        | Value::Date(text)
        | Value::Time(text)
        | Value::Timestamp(text)
        | Value::TimestampTz(text)
        | Value::Json(text)
        | Value::Interval(text)
        | Value::Opaque(text) => Cow::Borrowed(text),
    })
}

/// Rust's shortest text that reads back to the same bits; only the names of the infinities differ.
fn float_text(number: f64, finite: impl FnOnce() -> String) -> Cow<'static, str> {
    if number.is_nan() {
        Cow::Borrowed("NaN")
    } else if number == f64::INFINITY {
        Cow::Borrowed("Infinity")
    } else if number == f64::NEG_INFINITY {
        Cow::Borrowed("-Infinity")
    } else {
        Cow::Owned(finite())
    }
}

fn is_decimal(text: &str) -> bool {
    if matches!(text, "NaN" | "Infinity" | "-Infinity") {
        return true;
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    all_digits(whole) && all_digits(fraction)
}

/// `\x` and pairs of hexadecimal digits.
fn decode_bytes(text: &str) -> Option<Bytes> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    if digits.len() % 2 != 0 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    for pair in digits.chunks_exact(2) {
        bytes.push(hex(pair[0])? << 4 | hex(pair[1])?);
    }
    Some(Bytes::from(bytes))
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn encode_bytes(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Trailing zeros of a fraction of a second carry no meaning. The server leaves them out already; this keeps the
/// canonical form true for whatever else prints such texts.
fn trim_fraction(text: ByteString) -> ByteString {
    let (body, era) = split_era(&text);
    if !body.ends_with('0') || !body.contains('.') {
        return text;
    }
    let short = body.trim_end_matches('0').trim_end_matches('.');
    if era.is_empty() {
        return text.slice_ref(short);
    }
    ByteString::from(format!("{short}{era}"))
}

/// `2024-01-01 00:00:00.5+00 BC` without its zone, which the pinned session makes `+00`. Infinities have none.
fn strip_zone(text: ByteString) -> Option<ByteString> {
    if text.ends_with("infinity") {
        return Some(text);
    }
    let (body, era) = split_era(&text);
    let bare = body.strip_suffix("+00")?;
    let stripped = if era.is_empty() {
        text.slice_ref(bare)
    } else {
        ByteString::from(format!("{bare}{era}"))
    };
    Some(trim_fraction(stripped))
}

fn add_zone(text: &str) -> String {
    if text.ends_with("infinity") {
        return text.to_owned();
    }
    let (body, era) = split_era(text);
    format!("{body}+00{era}")
}

fn split_era(text: &str) -> (&str, &str) {
    match text.strip_suffix(" BC") {
        Some(body) => (body, " BC"),
        None => (text, ""),
    }
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let mut uuid = [0; 16];
    let mut digits = text.bytes().filter(|digit| *digit != b'-');
    for byte in &mut uuid {
        *byte = hex(digits.next()?)? << 4 | hex(digits.next()?)?;
    }
    digits.next().is_none().then_some(uuid)
}

pub(super) fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const TSTZ: ColumnType = ColumnType::TimestampTz {
        fraction: 6,
        epoch: false,
    };
    const TS: ColumnType = ColumnType::Timestamp { fraction: 6 };
    const BYTES: ColumnType = ColumnType::Bytes {
        limit: None,
        fixed: false,
    };

    fn numeric() -> ColumnType {
        column_type(1700, -1).unwrap()
    }

    fn round_trip(ty: &ColumnType, value: &Value) -> Value {
        decode(ty, ByteString::from(encode(value, ty).unwrap().into_owned())).unwrap()
    }

    #[test]
    fn server_texts_become_canonical_values() {
        let s = ByteString::from_static;
        let cases = [
            (ColumnType::Bool, "t", Value::Bool(true)),
            (ColumnType::Bool, "false", Value::Bool(false)),
            (int(64), "-9223372036854775808", Value::Int(i64::MIN)),
            (ColumnType::Float, "-0", Value::Float(-0.0)),
            (ColumnType::Double, "-Infinity", Value::Double(f64::NEG_INFINITY)),
            (ColumnType::Double, "5e-324", Value::Double(5e-324)),
            (numeric(), "-0.0100", Value::Decimal(s("-0.0100"))),
            (numeric(), "NaN", Value::Decimal(s("NaN"))),
            (text(Some(5), true), "ab   ", Value::Text(s("ab"))),
            (text(Some(5), false), "ab   ", Value::Text(s("ab   "))),
            (BYTES, "\\x00ff", Value::Bytes(Bytes::from_static(&[0, 255]))),
            (BYTES, "\\x", Value::Bytes(Bytes::new())),
            (
                TS,
                "2024-02-29 23:59:59.500000",
                Value::Timestamp(s("2024-02-29 23:59:59.5")),
            ),
            (
                TS,
                "0044-03-15 12:00:00.10 BC",
                Value::Timestamp(s("0044-03-15 12:00:00.1 BC")),
            ),
            (
                TSTZ,
                "2024-02-29 23:59:59.5+00",
                Value::TimestampTz(s("2024-02-29 23:59:59.5")),
            ),
            (
                TSTZ,
                "0044-03-15 12:00:00+00 BC",
                Value::TimestampTz(s("0044-03-15 12:00:00 BC")),
            ),
            (TSTZ, "-infinity", Value::TimestampTz(s("-infinity"))),
        ];
        for (ty, text, expected) in cases {
            let value = decode(&ty, ByteString::from_static(text)).unwrap();
            // By bytes, so that the two zeros differ.
            let (mut found, mut wanted) = (Vec::new(), Vec::new());
            value.key_bytes(&mut found);
            expected.key_bytes(&mut wanted);
            assert_eq!(found, wanted, "{ty:?} {text}");
            assert_eq!(round_trip(&ty, &value), expected, "{ty:?} {text}");
        }
    }

    #[test]
    fn zones_return_before_the_era() {
        let encode =
            |text| encode(&Value::TimestampTz(ByteString::from_static(text)), &TSTZ).map(Cow::into_owned);
        assert_eq!(
            encode("0044-03-15 12:00:00 BC").unwrap(),
            "0044-03-15 12:00:00+00 BC"
        );
        assert_eq!(encode("2024-01-01 00:00:00").unwrap(), "2024-01-01 00:00:00+00");
        assert_eq!(encode("infinity").unwrap(), "infinity");
    }

    #[test]
    fn foreign_texts_are_refused_without_repeating_them() {
        let bad = [
            (ColumnType::Bool, "secret"),
            (int(32), "1.5"),
            (numeric(), "1e5"),
            (numeric(), "."),
            (BYTES, "\\xabc"),
            (BYTES, "\\xzz"),
            (BYTES, "abc"),
            (ColumnType::Uuid, "6ba7b810-9dad-11d1-80b4-00c04fd430"),
            (TSTZ, "2024-01-01 00:00:00"),
            (TSTZ, "2024-01-01 00:00:00+02"),
            (column_type(1560, 3).unwrap(), "012"),
        ];
        for (ty, text) in bad {
            let error = decode(&ty, ByteString::from_static(text)).unwrap_err();
            assert!(!error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn typmods_are_limits() {
        assert_eq!(column_type(1043, 24), Some(text(Some(20), false)));
        assert_eq!(column_type(1043, -1), Some(text(None, false)));
        assert_eq!(
            column_type(1700, (10 << 16 | 2) + 4),
            Some(ColumnType::Decimal {
                precision: Some(10),
                scale: 2,
                unsigned: false
            })
        );
        // numeric(3,-2)
        assert_eq!(
            column_type(1700, (3 << 16 | (-2 & 0x7ff)) + 4),
            Some(ColumnType::Decimal {
                precision: Some(3),
                scale: -2,
                unsigned: false
            })
        );
        assert_eq!(column_type(1114, 0), Some(ColumnType::Timestamp { fraction: 0 }));
        assert_eq!(column_type(1114, -1), Some(ColumnType::Timestamp { fraction: 6 }));
        assert_eq!(column_type(869, -1), None);
        for typmod in [i32::MIN, -5, -1, 0, 3, i32::MAX] {
            for oid in 0..4000 {
                let _ = column_type(oid, typmod);
            }
        }
    }

    proptest! {
        #[test]
        fn doubles_keep_their_bits(bits: u64) {
            let number = f64::from_bits(bits);
            let Value::Double(back) = round_trip(&ColumnType::Double, &Value::Double(number)) else { unreachable!() };
            prop_assert!(back.to_bits() == bits || number.is_nan() && back.is_nan());
        }

        #[test]
        fn floats_keep_their_bits(bits: u32) {
            let number = f32::from_bits(bits);
            let Value::Float(back) = round_trip(&ColumnType::Float, &Value::Float(number)) else { unreachable!() };
            prop_assert!(back.to_bits() == bits || number.is_nan() && back.is_nan());
        }

        #[test]
        fn bytes_and_uuids_round_trip(bytes: Vec<u8>, uuid: [u8; 16]) {
            let value = Value::Bytes(Bytes::from(bytes));
            prop_assert_eq!(round_trip(&BYTES, &value), value.clone());
            prop_assert_eq!(round_trip(&ColumnType::Uuid, &Value::Uuid(uuid)), Value::Uuid(uuid));
        }

        #[test]
        fn any_text_is_a_value_or_an_error(input: String, oid in 16_u32..3900) {
            if let Some(ty) = column_type(oid, -1) {
                let _ = decode(&ty, ByteString::from(input));
            }
        }
    }
}
