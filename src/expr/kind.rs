//! What the value of an expression is: by meaning, the same for every engine.
//!
//! Owns: which column types have such a meaning ([`Kind`]), which of them meet in a comparison, the kind of a value that is
//! one or the other, what a literal is among them, and the column type that holds what is computed. Refuses: types whose
//! order or equality an engine would see otherwise. Pure.

use super::Literal;
use super::calendar;
use super::number::Digits;
use super::scalar::{Scalar, trimmed};
use crate::model::schema::ColumnType;
use std::borrow::Cow;

/// 18 digits are always a BIGINT.
const BIGINT_DIGITS: u32 = 18;
/// Of a fraction of a second.
const MICROS: u8 = 6;

/// What a value is, and what it can be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Number {
        /// TRUE and FALSE are 1 and 0: MySQL's BOOLEAN.
        small: bool,
        /// `None`: any count of digits, and what PostgreSQL has beside numbers.
        digits: Option<Digits>,
    },
    Text {
        /// CHAR: trailing blanks do not count.
        fixed: bool,
        /// ENUM: has an order of its own.
        ordered: bool,
        /// The most characters, where that is known.
        chars: Option<u32>,
    },
    Date,
    Time {
        fraction: u8,
        span: bool,
    },
    Timestamp {
        fraction: u8,
        /// With time zone: read in UTC.
        zone: bool,
        /// MySQL's TIMESTAMP.
        epoch: bool,
    },
    Uuid,
    /// Only IS NULL is asked; the text says why.
    Opaque(&'static str),
}

impl Kind {
    /// A number that is computed.
    pub(super) fn number(digits: Option<Digits>) -> Kind {
        Kind::Number { small: false, digits }
    }

    /// A text that is computed.
    pub(crate) fn text(chars: Option<u32>) -> Kind {
        Kind::Text {
            fixed: false,
            ordered: true,
            chars,
        }
    }

    pub(super) fn of(ty: &ColumnType) -> Kind {
        let whole = |digits| Kind::number(Some(Digits::whole(digits)));
        match ty {
            ColumnType::Bool => Kind::Bool,
            ColumnType::Bit {
                len: Some(1),
                varying: false,
            } => Kind::Bool,
            ColumnType::Int { bits, .. } => Kind::Number {
                small: *bits == 8,
                digits: Some(Digits::whole(int_digits(*bits))),
            },
            ColumnType::Year => whole(4),
            ColumnType::Decimal { precision, scale, .. } => {
                Kind::number(precision.map(|precision| Digits::of(precision, *scale)))
            }
            ColumnType::Text {
                fixed, chars, bytes, ..
            } => Kind::Text {
                fixed: *fixed,
                ordered: true,
                chars: chars.or_else(|| u32::try_from((*bytes)?).ok()),
            },
            ColumnType::Enum { labels } => Kind::Text {
                fixed: false,
                ordered: false,
                chars: labels.iter().map(|label| length(label)).max(),
            },
            ColumnType::Date => Kind::Date,
            ColumnType::Time { fraction, span } => Kind::Time {
                fraction: *fraction,
                span: *span,
            },
            ColumnType::Timestamp { fraction } => Kind::Timestamp {
                fraction: *fraction,
                zone: false,
                epoch: false,
            },
            ColumnType::TimestampTz { fraction, epoch } => Kind::Timestamp {
                fraction: *fraction,
                zone: true,
                epoch: *epoch,
            },
            ColumnType::Uuid => Kind::Uuid,
            ColumnType::Float | ColumnType::Double => Kind::Opaque("a float is not compared exactly"),
            ColumnType::Json { .. } => Kind::Opaque("a JSON document has many texts"),
            ColumnType::Bytes { .. } | ColumnType::Bit { .. } => {
                Kind::Opaque("there are no literals for bytes")
            }
            ColumnType::Set { .. } => Kind::Opaque("a SET is a list"),
            ColumnType::Interval => Kind::Opaque("an interval has many texts"),
            ColumnType::Opaque { .. } => Kind::Opaque("the type is only known as text"),
        }
    }

    /// A column that holds every value of this kind.
    pub(super) fn ty(self) -> ColumnType {
        match self {
            Kind::Bool => ColumnType::Bool,
            Kind::Number {
                digits: Some(digits), ..
            } if digits.scale == 0 && digits.whole <= BIGINT_DIGITS => ColumnType::Int {
                bits: 64,
                unsigned: false,
            },
            Kind::Number { digits, .. } => ColumnType::Decimal {
                precision: digits.map(Digits::precision),
                scale: digits.map_or(0, |digits| i32::try_from(digits.scale).unwrap_or(i32::MAX)),
                unsigned: false,
            },
            Kind::Text { chars, .. } => ColumnType::Text {
                chars,
                bytes: None,
                fixed: false,
                utf8: true,
            },
            Kind::Date => ColumnType::Date,
            Kind::Time { fraction, span } => ColumnType::Time { fraction, span },
            Kind::Timestamp {
                fraction,
                zone: false,
                ..
            } => ColumnType::Timestamp { fraction },
            Kind::Timestamp { fraction, epoch, .. } => ColumnType::TimestampTz { fraction, epoch },
            Kind::Uuid => ColumnType::Uuid,
            Kind::Opaque(why) => ColumnType::Opaque { name: why.to_owned() },
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Kind::Bool => "true or false",
            Kind::Number { .. } => "a number",
            Kind::Text { .. } => "a text",
            Kind::Date => "a date",
            Kind::Time { .. } => "a time",
            Kind::Timestamp { .. } => "a timestamp",
            Kind::Uuid => "a uuid",
            Kind::Opaque(_) => "not to be compared",
        }
    }

    /// Do values of both have one order?
    pub(super) fn meets(self, other: Kind) -> bool {
        matches!(
            (self, other),
            (Kind::Bool, Kind::Bool)
                | (Kind::Number { .. }, Kind::Number { .. })
                | (Kind::Text { .. }, Kind::Text { .. })
                | (Kind::Date, Kind::Date)
                | (Kind::Time { .. }, Kind::Time { .. })
                | (Kind::Timestamp { .. }, Kind::Timestamp { .. })
                | (Kind::Uuid, Kind::Uuid)
        )
    }

    /// The kind of a value that is one or the other; `None`: they are two things.
    pub(super) fn with(self, other: Kind) -> Option<Kind> {
        Some(match (self, other) {
            (
                Kind::Number { small, digits },
                Kind::Number {
                    small: its,
                    digits: other,
                },
            ) => Kind::Number {
                small: small && its,
                digits: both(digits, other, Digits::hold),
            },
            (
                Kind::Text {
                    fixed,
                    ordered,
                    chars,
                },
                Kind::Text {
                    fixed: its,
                    ordered: too,
                    chars: most,
                },
            ) => Kind::Text {
                fixed: fixed && its,
                ordered: ordered && too,
                chars: both(chars, most, u32::max),
            },
            (
                Kind::Time { fraction, span },
                Kind::Time {
                    fraction: its,
                    span: too,
                },
            ) => Kind::Time {
                fraction: fraction.max(its),
                span: span || too,
            },
            (
                Kind::Timestamp {
                    fraction,
                    zone,
                    epoch,
                },
                Kind::Timestamp {
                    fraction: its,
                    zone: too,
                    epoch: both,
                },
            ) if zone == too => Kind::Timestamp {
                fraction: fraction.max(its),
                zone,
                epoch: epoch && both,
            },
            (Kind::Timestamp { .. }, Kind::Timestamp { .. }) => return None,
            _ if self.meets(other) => self,
            _ => return None,
        })
    }

    /// What a literal is that nothing else gives a kind. `None`: NULL.
    pub(super) fn of_literal(literal: &Literal) -> Option<Kind> {
        Some(match literal {
            Literal::Number(digits) => Kind::number(Digits::written(digits)),
            Literal::Text(text) => Kind::text(Some(length(text))),
            Literal::Bool(_) => Kind::Bool,
            Literal::Null => return None,
        })
    }

    pub(super) fn has_order(self) -> bool {
        !matches!(
            self,
            Kind::Bool | Kind::Uuid | Kind::Text { ordered: false, .. } | Kind::Opaque(_)
        )
    }

    /// The literal as a value of this kind, and its own kind. `Err`: what it should look like. `Ok(None)`: NULL.
    pub(super) fn literal(self, literal: &Literal) -> Result<(Option<Scalar<'static>>, Kind), &'static str> {
        let scalar = match (self, literal) {
            (_, Literal::Null) => return Ok((None, self)),
            (Kind::Bool, Literal::Bool(known)) => Some(Scalar::Bool(*known)),
            (Kind::Number { small: true, .. }, Literal::Bool(known)) => Some(Scalar::Int(i128::from(*known))),
            (Kind::Number { .. }, Literal::Number(digits)) => Scalar::number(Cow::Owned(digits.clone())),
            (Kind::Text { fixed, .. }, Literal::Text(text)) => {
                Some(Scalar::Text(Cow::Owned(trimmed(text, fixed).to_owned())))
            }
            (Kind::Date, Literal::Text(text)) => calendar::date(text).map(|day| Scalar::Moment(day, 0)),
            (Kind::Time { .. }, Literal::Text(text)) => calendar::time(text).map(Scalar::Time),
            (Kind::Timestamp { .. }, Literal::Text(text)) => {
                calendar::moment(text).map(|(day, micros)| Scalar::Moment(day, micros))
            }
            (Kind::Uuid, Literal::Text(text)) => super::scalar::uuid(text).map(Scalar::Uuid),
            _ => None,
        };
        match scalar {
            Some(scalar) => Ok((Some(scalar), self.of_its_literal(literal))),
            None => Err(self.wanted()),
        }
    }

    /// A literal takes the kind of what it meets, and as much room as it needs.
    fn of_its_literal(self, literal: &Literal) -> Kind {
        let fine = |fraction: u8| match literal {
            Literal::Text(text) if text.contains('.') => MICROS,
            _ => fraction,
        };
        match (self, literal) {
            (Kind::Number { small, .. }, Literal::Number(digits)) => Kind::Number {
                small,
                digits: Digits::written(digits),
            },
            (Kind::Text { fixed, ordered, .. }, Literal::Text(text)) => Kind::Text {
                fixed,
                ordered,
                chars: Some(length(text)),
            },
            (Kind::Time { fraction, span }, _) => Kind::Time {
                fraction: fine(fraction),
                span,
            },
            (
                Kind::Timestamp {
                    fraction,
                    zone,
                    epoch,
                },
                _,
            ) => Kind::Timestamp {
                fraction: fine(fraction),
                zone,
                epoch,
            },
            _ => self,
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Kind::Bool => "here it meets TRUE or FALSE",
            Kind::Number { .. } => "here it meets a number without quotes",
            Kind::Text { .. } => "here it meets a 'text'",
            Kind::Date => "here it meets a date like '2026-01-31'",
            Kind::Time { .. } => "here it meets a time like '13:05:00'",
            Kind::Timestamp { .. } => "here it meets a moment like '2026-01-31 13:05:00' (time zones: UTC)",
            Kind::Uuid => "here it meets a uuid like '123e4567-e89b-12d3-a456-426614174000'",
            Kind::Opaque(why) => why,
        }
    }
}

/// `None` where one of them is not known.
fn both<T>(one: Option<T>, other: Option<T>, of: impl Fn(T, T) -> T) -> Option<T> {
    Some(of(one?, other?))
}

pub(super) fn length(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

fn int_digits(bits: u8) -> u32 {
    match bits {
        8 => 3,
        16 => 5,
        24 => 8,
        32 => 10,
        _ => 20,
    }
}
