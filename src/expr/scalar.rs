//! Values while an expression is evaluated: borrowed from the row and the expression as far as nothing is computed.
//!
//! Owns: reading cells into [`Scalar`], their order, and the way back to a [`Value`]. Pure.

use super::calendar::{self, Clock, Day, Moment};
use super::number::{self, Exact};
use super::{Part, kind::Kind};
use crate::model::schema::ColumnType;
use crate::model::value::Value;
use std::borrow::Cow;
use std::cmp::Ordering;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar<'a> {
    Bool(bool),
    Int(i128),
    /// Digits of a number that is not whole, or too long; and what PostgreSQL has beside numbers.
    Decimal(Cow<'a, str>),
    Text(Cow<'a, str>),
    /// Microseconds.
    Time(i64),
    /// The day and the microseconds of it.
    Moment(Day, i64),
    Uuid([u8; 16]),
}

impl<'a> Scalar<'a> {
    /// A number as it is written.
    pub(super) fn number(digits: Cow<'a, str>) -> Option<Scalar<'a>> {
        match digits.parse::<i128>() {
            Ok(number) => Some(Scalar::Int(number)),
            Err(_) => Exact::of(&digits).is_some().then_some(Scalar::Decimal(digits)),
        }
    }

    /// A cell of a column of this kind; `None` = NULL, or a value that cannot be there.
    pub(super) fn cell(kind: Kind, value: &'a Value) -> Option<Scalar<'a>> {
        match value {
            Value::Bool(known) => Some(Scalar::Bool(*known)),
            Value::Bit(bits) => Some(Scalar::Bool(&**bits == "1")),
            Value::Int(number) => Some(Scalar::Int(i128::from(*number))),
            Value::UInt(number) => Some(Scalar::Int(i128::from(*number))),
            Value::Decimal(digits) => Scalar::number(Cow::Borrowed(digits)),
            Value::Text(text) => {
                let fixed = matches!(kind, Kind::Text { fixed: true, .. });
                Some(Scalar::Text(Cow::Borrowed(trimmed(text, fixed))))
            }
            Value::Date(text) => calendar::date(text).map(|day| Scalar::Moment(day, 0)),
            Value::Time(text) => calendar::time(text).map(Scalar::Time),
            Value::Timestamp(text) | Value::TimestampTz(text) => {
                calendar::moment(text).map(|(day, micros)| Scalar::Moment(day, micros))
            }
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

    /// The same, as long as this one.
    pub(super) fn lent(&self) -> Scalar<'_> {
        match self {
            Scalar::Decimal(digits) => Scalar::Decimal(Cow::Borrowed(digits)),
            Scalar::Text(text) => Scalar::Text(Cow::Borrowed(text)),
            Scalar::Bool(known) => Scalar::Bool(*known),
            Scalar::Int(number) => Scalar::Int(*number),
            Scalar::Time(micros) => Scalar::Time(*micros),
            Scalar::Moment(day, micros) => Scalar::Moment(*day, *micros),
            Scalar::Uuid(uuid) => Scalar::Uuid(*uuid),
        }
    }

    /// As a cell of a column of this type, which is the expression's own.
    pub(super) fn into_value(self, ty: &ColumnType) -> Value {
        match (self, ty) {
            (Scalar::Bool(known), _) => Value::Bool(known),
            (Scalar::Int(number), ColumnType::Int { .. }) => match i64::try_from(number) {
                Ok(number) => Value::Int(number),
                Err(_) => Value::Decimal(number.to_string().into()),
            },
            (Scalar::Int(number), _) => Value::Decimal(number.to_string().into()),
            (Scalar::Decimal(digits), _) => Value::Decimal(digits.into_owned().into()),
            (Scalar::Text(text), _) => Value::Text(text.into_owned().into()),
            (Scalar::Time(micros), _) => Value::Time(Clock(micros).to_string().into()),
            (Scalar::Moment(day, _), ColumnType::Date) => Value::Date(day.to_string().into()),
            (Scalar::Moment(day, micros), ColumnType::TimestampTz { .. }) => {
                Value::TimestampTz(Moment(day, micros).to_string().into())
            }
            (Scalar::Moment(day, micros), _) => Value::Timestamp(Moment(day, micros).to_string().into()),
            (Scalar::Uuid(uuid), _) => Value::Uuid(uuid),
        }
    }

    /// `None`: it has no such part, as an infinite date has no month.
    pub(super) fn part(&self, part: Part) -> Option<Scalar<'static>> {
        let number = match (self, part) {
            (Scalar::Moment(day, _), Part::Hour | Part::Minute) if day.is_infinite() => return None,
            (Scalar::Moment(_, micros) | Scalar::Time(micros), Part::Hour) => calendar::hours(*micros),
            (Scalar::Moment(_, micros) | Scalar::Time(micros), Part::Minute) => calendar::minutes(*micros),
            (Scalar::Moment(day, _), _) => day.part(part)?,
            _ => return None,
        };
        Some(Scalar::Int(i128::from(number)))
    }

    /// `None` between kinds, which binding has refused.
    pub(super) fn order(&self, other: &Scalar<'_>) -> Option<Ordering> {
        Some(match (self, other) {
            (Scalar::Bool(a), Scalar::Bool(b)) => a.cmp(b),
            (Scalar::Int(a), Scalar::Int(b)) => a.cmp(b),
            (Scalar::Int(a), Scalar::Decimal(b)) => number::order_of_int(*a, b)?,
            (Scalar::Decimal(a), Scalar::Int(b)) => number::order_of_int(*b, a)?.reverse(),
            (Scalar::Decimal(a), Scalar::Decimal(b)) => Exact::of(a)?.cmp(&Exact::of(b)?),
            (Scalar::Text(a), Scalar::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Scalar::Time(a), Scalar::Time(b)) => a.cmp(b),
            (Scalar::Moment(a, within), Scalar::Moment(b, then)) => (a, within).cmp(&(b, then)),
            (Scalar::Uuid(a), Scalar::Uuid(b)) => a.cmp(b),
            _ => return None,
        })
    }
}

pub(super) fn trimmed(text: &str, fixed: bool) -> &str {
    match fixed {
        true => text.trim_end_matches(' '),
        false => text,
    }
}

pub(super) fn uuid(text: &str) -> Option<[u8; 16]> {
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
