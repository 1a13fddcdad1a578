//! Rows in COPY's binary format, which costs the server less to read than text does.
//!
//! Owns: which types have a form that is the same in every version, and writing a cell in it. Refuses: all other types
//! (a user's own, domains, enums, arrays) and values without such a form: those rows go as text (see `lines`). I/O.

use super::lines::Blocks;
use crate::model::schema::Table;
use crate::model::value::{Row, Value};
use crate::plan::Lines;

/// Signature, flags, and the length of an extension.
const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const END: [u8; 2] = (-1_i16).to_be_bytes();

/// How the server's `.._recv` reads a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Bytea,
    Uuid,
    Date,
    Time,
    Timestamp,
    Json,
    Jsonb,
}

impl Form {
    /// By the type's name in DDL. A domain has another.
    fn of(sql_type: &str) -> Option<Form> {
        Some(match sql_type {
            "boolean" => Form::Bool,
            "smallint" => Form::Int2,
            "integer" => Form::Int4,
            "bigint" => Form::Int8,
            "real" => Form::Float4,
            "double precision" => Form::Float8,
            "text" | "character varying" | "bpchar" => Form::Text,
            "bytea" => Form::Bytea,
            "uuid" => Form::Uuid,
            "date" => Form::Date,
            "json" => Form::Json,
            "jsonb" => Form::Jsonb,
            "numeric" => Form::Numeric,
            "time without time zone" => Form::Time,
            "timestamp without time zone" | "timestamp with time zone" => Form::Timestamp,
            other => return Form::of_modified(other),
        })
    }

    fn of_modified(sql_type: &str) -> Option<Form> {
        let (name, rest) = sql_type.split_once('(')?;
        let after = rest.split_once(')')?.1;
        Some(match (name, after) {
            ("character" | "character varying", "") => Form::Text,
            ("numeric", "") => Form::Numeric,
            ("time", " without time zone") => Form::Time,
            ("timestamp", " without time zone" | " with time zone") => Form::Timestamp,
            _ => return None,
        })
    }

    /// `None`: the value has no such form.
    fn write(self, value: &Value, out: &mut Vec<u8>) -> Option<()> {
        match (self, value) {
            (Form::Bool, Value::Bool(is)) => field(&[u8::from(*is)], out),
            (Form::Int2, value) => field(&i16::try_from(whole(value)?).ok()?.to_be_bytes(), out),
            (Form::Int4, value) => field(&i32::try_from(whole(value)?).ok()?.to_be_bytes(), out),
            (Form::Int8, value) => field(&i64::try_from(whole(value)?).ok()?.to_be_bytes(), out),
            (Form::Float4, Value::Float(number)) => field(&number.to_be_bytes(), out),
            (Form::Float8, Value::Double(number)) => field(&number.to_be_bytes(), out),
            (Form::Numeric, Value::Decimal(text)) => field(&numeric(text)?, out),
            (Form::Text, Value::Text(text)) | (Form::Json, Value::Json(text)) => field(text.as_bytes(), out),
            (Form::Jsonb, Value::Json(text)) => field(&[&[1_u8][..], text.as_bytes()].concat(), out),
            (Form::Bytea, Value::Bytes(bytes)) => field(bytes, out),
            (Form::Uuid, Value::Uuid(uuid)) => field(uuid, out),
            (Form::Date, Value::Date(text)) => field(&date(text)?.to_be_bytes(), out),
            (Form::Time, Value::Time(text)) => field(&time(text)?.to_be_bytes(), out),
            (Form::Timestamp, Value::Timestamp(text) | Value::TimestampTz(text)) => {
                field(&timestamp(text)?.to_be_bytes(), out)
            }
            (_, _) => None,
        }
    }
}

/// The cells at these places of each row, as these columns of the table; `None`: they have no such form.
pub(super) fn of_rows(table: &Table, rows: &[Row], (places, cells): (&[usize], &[usize])) -> Option<Lines> {
    let forms: Option<Vec<Form>> = cells
        .iter()
        .map(|cell| Form::of(&table.columns[*cell].sql_type))
        .collect();
    let forms = forms?;
    let count = i16::try_from(forms.len()).ok()?;
    let mut blocks = Blocks::default();
    blocks.put(HEAD);
    for row in rows {
        blocks.add_with(|out| {
            out.extend_from_slice(&count.to_be_bytes());
            places
                .iter()
                .zip(&forms)
                .try_for_each(|(place, form)| match row.get(*place)? {
                    Value::Null => {
                        out.extend_from_slice(&(-1_i32).to_be_bytes());
                        Some(())
                    }
                    value => form.write(value, out),
                })
        })?;
    }
    blocks.put(&END);
    Some(Lines {
        is_binary: true,
        ..blocks.finish()
    })
}

fn field(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(&i32::try_from(bytes.len()).ok()?.to_be_bytes());
    out.extend_from_slice(bytes);
    Some(())
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Int(number) => Some(i128::from(*number)),
        Value::UInt(number) => Some(i128::from(*number)),
        _ => None,
    }
}

/// Digits of four, the place of the first, the sign, and how many decimal digits are shown after the point.
fn numeric(text: &str) -> Option<Vec<u8>> {
    const SCALE_MAX: usize = 0x3fff;
    const WIDTH: usize = 4;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (0x4000_u16, digits),
        None => (0, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) || fraction.len() > SCALE_MAX {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let lead = whole.len().next_multiple_of(WIDTH) - whole.len();
    let padded = format!("{}{whole}{fraction}", "0".repeat(lead));
    let group = |bytes: &[u8]| {
        let digit = |at: usize| bytes.get(at).map_or(0, |byte| i16::from(byte - b'0'));
        (0..WIDTH).fold(0, |number, at| number * 10 + digit(at))
    };
    let mut groups: Vec<i16> = padded.as_bytes().chunks(WIDTH).map(group).collect();
    let mut weight = i16::try_from(whole.len().div_ceil(WIDTH)).ok()? - 1;
    let zeros = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..zeros);
    weight = weight.checked_sub(i16::try_from(zeros).ok()?)?;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let (sign, weight) = if groups.is_empty() { (0, 0) } else { (sign, weight) };
    let mut out = Vec::with_capacity(8 + 2 * groups.len());
    out.extend_from_slice(&i16::try_from(groups.len()).ok()?.to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&u16::try_from(fraction.len()).ok()?.to_be_bytes());
    out.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
    Some(out)
}

/// Days since 2000-01-01. The infinities go as text.
fn date(text: &str) -> Option<i32> {
    let (body, is_bc) = match text.strip_suffix(" BC") {
        Some(body) => (body, true),
        None => (text, false),
    };
    days(body, is_bc)
}

/// Microseconds since 2000-01-01 00:00:00, of UTC where there is a zone.
fn timestamp(text: &str) -> Option<i64> {
    let (body, is_bc) = match text.strip_suffix(" BC") {
        Some(body) => (body, true),
        None => (text, false),
    };
    let (day, clock) = body.split_once(' ')?;
    let micros = time(clock).filter(|micros| *micros < DAY)?;
    i64::from(days(day, is_bc)?).checked_mul(DAY)?.checked_add(micros)
}

const DAY: i64 = 86_400_000_000;

/// Microseconds since midnight, which may be the next one.
fn time(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.split(':').map(|part| number(part, 2));
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || minutes > 59 || seconds > 59 || fraction.len() > 6 {
        return None;
    }
    let zeros = u32::try_from(6 - fraction.len()).ok()?;
    let micros = match fraction {
        "" => 0,
        digits => number(digits, digits.len())? * 10_i64.pow(zeros),
    };
    let micros = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros;
    (micros <= DAY).then_some(micros)
}

/// Only digits, so many at least.
fn number(text: &str, least: usize) -> Option<i64> {
    let is_number = text.len() >= least && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// The Gregorian calendar, also before its time, as PostgreSQL counts.
fn days(text: &str, is_bc: bool) -> Option<i32> {
    const CENTURIES: i64 = 146_097;
    /// From 0000-03-01 to 2000-01-01.
    const EPOCH: i64 = 730_425;
    let mut parts = text.split('-');
    let year = number(parts.next()?, 4).filter(|year| (1..=5_874_897).contains(year))?;
    let month = number(parts.next()?, 2).filter(|month| (1..=12).contains(month))?;
    let day = number(parts.next()?, 2)?;
    let year = if is_bc { 1 - year } else { year };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if parts.next().is_some() || !(1..=longest).contains(&day) {
        return None;
    }
    // Years begin in March, so that the leap day ends one.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * CENTURIES + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    i32::try_from(days - EPOCH).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn types_are_known_by_their_names() {
        for (name, form) in [
            ("character varying(20)", Some(Form::Text)),
            ("character(3)", Some(Form::Text)),
            ("numeric(10,2)", Some(Form::Numeric)),
            ("timestamp(3) with time zone", Some(Form::Timestamp)),
            ("timestamp without time zone", Some(Form::Timestamp)),
            ("time(0) with time zone", None),
            ("integer[]", None),
            ("numeric(10,2)[]", None),
            ("public.word", None),
            ("\"char\"", None),
        ] {
            assert_eq!(Form::of(name), form, "{name}");
        }
    }

    #[test]
    fn days_and_microseconds_are_counted_from_2000() {
        for (text, expected) in [
            ("2000-01-01", Some(0)),
            ("1999-12-31", Some(-1)),
            ("2000-03-01", Some(60)),
            ("2024-02-29", Some(8_825)),
            // As the server counts: SELECT date '..' - date '2000-01-01'.
            ("0001-01-01", Some(-730_119)),
            ("0001-12-31 BC", Some(-730_120)),
            ("0044-03-15 BC", Some(-746_117)),
            ("4713-01-01 BC", Some(-2_451_507)),
            ("9999-12-31", Some(2_921_939)),
            ("2023-02-29", None),
            ("0000-00-00", None),
            ("infinity", None),
        ] {
            assert_eq!(date(text), expected, "{text}");
        }
        for (text, expected) in [
            ("2000-01-01 00:00:00", Some(0)),
            ("1999-12-31 23:59:59.9", Some(-100_000)),
            ("2000-01-02 00:00:00.000001", Some(DAY + 1)),
            ("2000-01-01 24:00:00", None),
            ("2000-01-01 00:00:60", None),
            ("-infinity", None),
        ] {
            assert_eq!(timestamp(text), expected, "{text}");
        }
        assert_eq!(time("24:00:00"), Some(DAY));
        assert_eq!(time("-01:00:00"), None);
        assert_eq!(time("25:00:00"), None);
    }

    #[test]
    fn numbers_are_groups_of_four_digits() {
        let of = |groups: &[i16], weight: i16, sign: u16, scale: u16| {
            let mut bytes = (groups.len() as i16).to_be_bytes().to_vec();
            bytes.extend(weight.to_be_bytes());
            bytes.extend(sign.to_be_bytes());
            bytes.extend(scale.to_be_bytes());
            bytes.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
            Some(bytes)
        };
        for (text, expected) in [
            ("0", of(&[], 0, 0, 0)),
            ("-0.00", of(&[], 0, 0, 2)),
            ("12345.678", of(&[1, 2345, 6780], 1, 0, 3)),
            ("-10000", of(&[1], 1, 0x4000, 0)),
            ("0.00001", of(&[1000], -2, 0, 5)),
            ("0.5000", of(&[5000], -1, 0, 4)),
            ("NaN", None),
            ("-Infinity", None),
            (".5", None),
        ] {
            assert_eq!(numeric(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn dates_are_those_of_a_calendar(days_since in -730_119_i64..2_921_939) {
            let day = jiff::civil::date(2000, 1, 1).checked_add(jiff::Span::new().days(days_since)).unwrap();
            prop_assert_eq!(date(&day.to_string()).map(i64::from), Some(days_since));
        }

        #[test]
        fn any_text_is_a_form_or_none(text in "[-0-9.: BC]{0,30}") {
            let _ = (numeric(&text), date(&text), time(&text), timestamp(&text));
        }
    }
}
