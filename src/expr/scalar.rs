//! Values as an expression sees them: by meaning, exactly, the same for every engine.
//!
//! Owns: which column types have such a meaning ([`Class`]), reading cells and literals into [`Scalar`], their order, and
//! the parts of dates and times. Refuses: types whose order or equality an engine would see otherwise.

use super::number::{Decimal, number};
use super::{Literal, Part};
use crate::model::schema::ColumnType;
use crate::model::value::Value;
use std::cmp::Ordering;

/// A text that is computed.
pub(super) const TEXT: Class = Class::Text {
    fixed: false,
    ordered: true,
};

/// What a value is, and what it can be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Bool,
    Number {
        /// TRUE and FALSE are 1 and 0: MySQL's BOOLEAN.
        small: bool,
    },
    Text {
        /// CHAR: trailing blanks do not count.
        fixed: bool,
        /// ENUM: has an order of its own.
        ordered: bool,
    },
    Date,
    Time,
    Timestamp,
    Uuid,
    /// Only IS NULL is asked; the text says why.
    Opaque(&'static str),
}

impl Class {
    pub(super) fn of(ty: &ColumnType) -> Class {
        match ty {
            ColumnType::Bool => Class::Bool,
            ColumnType::Bit {
                len: Some(1),
                varying: false,
            } => Class::Bool,
            ColumnType::Int { bits, .. } => Class::Number { small: *bits == 8 },
            ColumnType::Year | ColumnType::Decimal { .. } => Class::Number { small: false },
            ColumnType::Text { fixed, .. } => Class::Text {
                fixed: *fixed,
                ordered: true,
            },
            ColumnType::Enum { .. } => Class::Text {
                fixed: false,
                ordered: false,
            },
            ColumnType::Date => Class::Date,
            ColumnType::Time { .. } => Class::Time,
            ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. } => Class::Timestamp,
            ColumnType::Uuid => Class::Uuid,
            ColumnType::Float | ColumnType::Double => Class::Opaque("a float is not compared exactly"),
            ColumnType::Json { .. } => Class::Opaque("a JSON document has many texts"),
            ColumnType::Bytes { .. } | ColumnType::Bit { .. } => {
                Class::Opaque("there are no literals for bytes")
            }
            ColumnType::Set { .. } => Class::Opaque("a SET is a list"),
            ColumnType::Interval => Class::Opaque("an interval has many texts"),
            ColumnType::Opaque { .. } => Class::Opaque("the type is only known as text"),
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Class::Bool => "true or false",
            Class::Number { .. } => "a number",
            Class::Text { .. } => "a text",
            Class::Date => "a date",
            Class::Time => "a time",
            Class::Timestamp => "a timestamp",
            Class::Uuid => "a uuid",
            Class::Opaque(_) => "not to be compared",
        }
    }

    /// Do values of both have one order?
    pub(super) fn meets(self, other: Class) -> bool {
        matches!(
            (self, other),
            (Class::Bool, Class::Bool)
                | (Class::Number { .. }, Class::Number { .. })
                | (Class::Text { .. }, Class::Text { .. })
                | (Class::Date, Class::Date)
                | (Class::Time, Class::Time)
                | (Class::Timestamp, Class::Timestamp)
                | (Class::Uuid, Class::Uuid)
        )
    }

    /// The class of a value that is one or the other.
    pub(super) fn with(self, other: Class) -> Class {
        match (self, other) {
            (Class::Number { small }, Class::Number { small: its }) => Class::Number { small: small && its },
            (
                Class::Text { fixed, ordered },
                Class::Text {
                    fixed: its,
                    ordered: too,
                },
            ) => Class::Text {
                fixed: fixed && its,
                ordered: ordered && too,
            },
            _ => self,
        }
    }

    /// What a literal is that nothing else gives a type. `None`: NULL.
    pub(super) fn of_literal(literal: &Literal) -> Option<Class> {
        Some(match literal {
            Literal::Number(_) => Class::Number { small: false },
            Literal::Text(_) => TEXT,
            Literal::Bool(_) => Class::Bool,
            Literal::Null => return None,
        })
    }

    pub(super) fn has_order(self) -> bool {
        !matches!(
            self,
            Class::Bool | Class::Uuid | Class::Text { ordered: false, .. } | Class::Opaque(_)
        )
    }

    /// The literal as a value of this class. `Err`: what it should look like. `Ok(None)`: NULL.
    pub(super) fn literal(self, literal: &Literal) -> Result<Option<Scalar>, &'static str> {
        let scalar = match (self, literal) {
            (_, Literal::Null) => return Ok(None),
            (Class::Bool, Literal::Bool(known)) => Some(Scalar::Bool(*known)),
            (Class::Number { small: true }, Literal::Bool(known)) => Some(Scalar::Int(i128::from(*known))),
            (Class::Number { .. }, Literal::Number(digits)) => number(digits),
            (Class::Text { fixed, .. }, Literal::Text(text)) => {
                Some(Scalar::Text(trimmed(text, fixed).to_owned()))
            }
            (Class::Date, Literal::Text(text)) => date(text).map(|date| Scalar::Moment(date, 0)),
            (Class::Time, Literal::Text(text)) => time(text).map(Scalar::Time),
            (Class::Timestamp, Literal::Text(text)) => moment(text),
            (Class::Uuid, Literal::Text(text)) => uuid(text).map(Scalar::Uuid),
            _ => None,
        };
        scalar.map(Some).ok_or(match self {
            Class::Bool => "compare it with TRUE or FALSE",
            Class::Number { .. } => "compare it with a number without quotes",
            Class::Text { .. } => "compare it with a 'text'",
            Class::Date => "compare it with a date like '2026-01-31'",
            Class::Time => "compare it with a time like '13:05:00'",
            Class::Timestamp => "compare it with a moment like '2026-01-31 13:05:00' (time zones: UTC)",
            Class::Uuid => "compare it with a uuid like '123e4567-e89b-12d3-a456-426614174000'",
            Class::Opaque(why) => why,
        })
    }

    /// A cell of a column of this class; `None` = NULL, or a value that cannot be there.
    pub(super) fn cell(self, value: &Value) -> Option<Scalar> {
        match value {
            Value::Bool(known) => Some(Scalar::Bool(*known)),
            Value::Bit(bits) => Some(Scalar::Bool(&**bits == "1")),
            Value::Int(number) => Some(Scalar::Int(i128::from(*number))),
            Value::UInt(number) => Some(Scalar::Int(i128::from(*number))),
            Value::Decimal(digits) => number(digits),
            Value::Text(text) => {
                let fixed = matches!(self, Class::Text { fixed: true, .. });
                Some(Scalar::Text(trimmed(text, fixed).to_owned()))
            }
            Value::Date(text) => date(text).map(|date| Scalar::Moment(date, 0)),
            Value::Time(text) => time(text).map(Scalar::Time),
            Value::Timestamp(text) | Value::TimestampTz(text) => moment(text),
            Value::Uuid(uuid) => Some(Scalar::Uuid(*uuid)),
            Value::Null
            | Value::Float(_)
            | Value::Double(_)
            | Value::Bytes(_)
            | Value::Json(_)
            | Value::Interval(_)
            | Value::Opaque(_) => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scalar {
    Bool(bool),
    Int(i128),
    Decimal(Decimal),
    Text(String),
    /// Microseconds.
    Time(i64),
    /// The day and the microseconds of it.
    Moment(Day, i64),
    Uuid([u8; 16]),
}

impl Scalar {
    /// `None`: it has no such part, as an infinite date has no month.
    pub(super) fn part(&self, part: Part) -> Option<Scalar> {
        let (day, micros) = match self {
            Scalar::Moment(day, micros) => (Some(day), *micros),
            Scalar::Time(micros) => (None, *micros),
            _ => return None,
        };
        let number = match (part, day) {
            // There is no year 0: before the first year of our era comes 1 BC.
            (Part::Year, Some(Day::On(year, month, _))) if *year <= 0 && *month > 0 => year - 1,
            (Part::Year, Some(Day::On(year, ..))) => *year,
            (Part::Month, Some(Day::On(_, month, _))) => i64::from(*month),
            (Part::Day, Some(Day::On(_, _, day))) => i64::from(*day),
            (Part::Year, Some(Day::Infinity)) => return Some(Scalar::Decimal(Decimal::Infinity)),
            (Part::Year, Some(Day::MinusInfinity)) => return Some(Scalar::Decimal(Decimal::MinusInfinity)),
            (Part::Hour, None | Some(Day::On(..))) => micros / 3_600_000_000,
            (Part::Minute, None | Some(Day::On(..))) => micros / 60_000_000 % 60,
            (Part::Year | Part::Month | Part::Day, None) | (_, Some(Day::Infinity | Day::MinusInfinity)) => {
                return None;
            }
        };
        Some(Scalar::Int(i128::from(number)))
    }

    /// `None` between classes, which binding has refused.
    pub(super) fn order(&self, other: &Scalar) -> Option<Ordering> {
        Some(match (self, other) {
            (Scalar::Bool(a), Scalar::Bool(b)) => a.cmp(b),
            (Scalar::Int(a), Scalar::Int(b)) => a.cmp(b),
            (Scalar::Int(a), Scalar::Decimal(b)) => Decimal::of(&a.to_string())?.cmp(b),
            (Scalar::Decimal(a), Scalar::Int(b)) => a.cmp(&Decimal::of(&b.to_string())?),
            (Scalar::Decimal(a), Scalar::Decimal(b)) => a.cmp(b),
            (Scalar::Text(a), Scalar::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Scalar::Time(a), Scalar::Time(b)) => a.cmp(b),
            (Scalar::Moment(a, within), Scalar::Moment(b, then)) => (a, within).cmp(&(b, then)),
            (Scalar::Uuid(a), Scalar::Uuid(b)) => a.cmp(b),
            _ => return None,
        })
    }
}

/// A day by the calendar, MySQL's zero parts included. The field order of the variants is the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Day {
    MinusInfinity,
    /// Years before Christ are negative: 1 BC is 0.
    On(i64, u8, u8),
    Infinity,
}

fn trimmed(text: &str, fixed: bool) -> &str {
    match fixed {
        true => text.trim_end_matches(' '),
        false => text,
    }
}

/// `YYYY-MM-DD`, more digits of the year, `infinity`, a trailing ` BC`.
fn date(text: &str) -> Option<Day> {
    match text {
        "infinity" => return Some(Day::Infinity),
        "-infinity" => return Some(Day::MinusInfinity),
        _ => {}
    }
    let (text, christ) = match text.strip_suffix(" BC") {
        Some(text) => (text, false),
        None => (text, true),
    };
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let two = |part: &str, max: u8| -> Option<u8> {
        let good = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        part.parse().ok().filter(|number| good && *number <= max)
    };
    if parts.next().is_some() || year.len() < 4 || !year.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let year: i64 = year.parse().ok()?;
    let year = if christ { year } else { 1 - year };
    Some(Day::On(year, two(month, 12)?, two(day, 31)?))
}

/// `[-]HH:MM:SS[.ffffff]`, hours may pass 24; in microseconds.
fn time(text: &str) -> Option<i64> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (clock, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let mut parts = clock.split(':');
    let mut part = || -> Option<i64> {
        let digits = parts.next()?;
        let good = (2..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse().ok().filter(|_| good)
    };
    let (hours, minutes, seconds) = (part()?, part()?, part()?);
    if parts.next().is_some() || minutes > 59 || seconds > 60 || fraction.len() > 6 {
        return None;
    }
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros: i64 = format!("{fraction:0<6}").parse().ok()?;
    let time = (hours * 3600 + minutes * 60 + seconds) * 1_000_000 + micros;
    Some(if negative { -time } else { time })
}

/// A date, one blank or `T`, a time; the time may be left out.
fn moment(text: &str) -> Option<Scalar> {
    if let Some(day) = date(text) {
        return Some(Scalar::Moment(day, 0));
    }
    let (text, suffix) = match text.strip_suffix(" BC") {
        Some(text) => (text, " BC"),
        None => (text, ""),
    };
    let (day, clock) = text.split_once([' ', 'T'])?;
    Some(Scalar::Moment(
        date(&format!("{day}{suffix}"))?,
        time(clock).filter(|time| *time >= 0)?,
    ))
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let hyphens = [8, 13, 18, 23];
    if text.len() != 36 || !hyphens.iter().all(|at| text.as_bytes()[*at] == b'-') {
        return None;
    }
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
}
