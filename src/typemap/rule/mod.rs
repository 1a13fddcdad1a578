//! The table of pairs: what has to be done, and held, for a value of one type to become a value of another.
//!
//! Owns: every decision about a pair of types. `verdict` puts a rule into words, `cast` carries it out.
//! Refuses: pairs in which a type would lose its meaning (a number as text, a moment as a wall clock), even where
//! single values would survive.
//! Cheap: it is asked for each cell, so it compares and never allocates.

mod number;
mod time;

pub(super) use number::{ROUNDS, decimal_limits, rounds};

use super::address::Family;
use super::calendar::Calendar;
use super::interval::Smallest;
use super::literal::Literal;
use super::{decimal, json, text};
use crate::model::schema::{Column, ColumnType, Engine};

/// Whole numbers a column takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) min: i128,
    pub(super) max: i128,
    pub(super) unsigned: bool,
}

impl Range {
    pub(super) fn of(bits: u8, unsigned: bool) -> Range {
        let bits = u32::from(bits.clamp(1, 64));
        if unsigned {
            return Range {
                min: 0,
                max: (1 << bits) - 1,
                unsigned,
            };
        }
        Range {
            min: -(1 << (bits - 1)),
            max: (1 << (bits - 1)) - 1,
            unsigned,
        }
    }

    pub(super) fn hold(&self, other: &Range) -> bool {
        self.min <= other.min && other.max <= self.max
    }
}

/// What MySQL's YEAR holds besides 0.
pub(super) const YEARS: std::ops::RangeInclusive<i128> = 1901..=2155;

/// Which floating numbers beside the ordinary ones a target keeps, as far as the source has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reals {
    /// MySQL and MariaDB have no NaN and no Infinity.
    pub(super) finite: bool,
    /// MariaDB (10.11 was tried) stores minus zero as zero; PostgreSQL and MySQL keep it.
    pub(super) no_minus_zero: bool,
}

impl Reals {
    pub(super) fn words(self) -> Option<&'static str> {
        match (self.finite, self.no_minus_zero) {
            (true, true) => Some("no NaN, Infinity or minus zero"),
            (true, false) => Some("no NaN or Infinity"),
            (false, true) => Some("no minus zero"),
            (false, false) => None,
        }
    }
}

/// Which spans of time a target takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    Any,
    /// PostgreSQL's time.
    TimeOfDay,
    /// MySQL's TIME (`sharp`) and MariaDB's.
    Hours838 {
        sharp: bool,
    },
}

/// How a value becomes one of the target. `fraction`: digits of a second, where the target keeps fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule<'a> {
    /// As it is; nothing can go wrong.
    Move,
    Int(Range),
    BoolToInt(Range),
    IntToBool,
    BoolToBit,
    BitToBool,
    IntToDecimal(decimal::Limits),
    DecimalToInt(Range),
    Decimal(decimal::Limits),
    IntToYear,
    YearToInt(Range),
    Float(Reals),
    Widen(Reals),
    Narrow(Reals),
    Text(text::Limits),
    BytesAtMost(u64),
    BytesExactly(u64),
    BitsAtMost(u32),
    BitsExactly(u32),
    UuidToBytes,
    BytesToUuid,
    UuidToText(text::Limits),
    TextToUuid,
    Json(json::Limits),
    JsonToText(text::Limits),
    TextToJson(json::Limits),
    Label(&'a [String]),
    LabelToText(text::Limits),
    Set(&'a [String]),
    TextToSet(&'a [String]),
    SetToText(text::Limits),
    Moment {
        calendar: Calendar,
        fraction: Option<u8>,
    },
    Time {
        span: Span,
        fraction: Option<u8>,
    },
    TimeToInterval(Smallest),
    IntervalToTime {
        span: Span,
        fraction: Option<u8>,
    },
    Interval(Smallest),
    IntervalToText(text::Limits),
    TextToInterval(Smallest),
    /// Types only known as text, into text of another engine and back.
    OpaqueToText(text::Limits),
    TextToOpaque(Literal),
    InetToMariadb(Family),
    BitsToText(text::Limits),
    TextToBits {
        len: Option<u32>,
        varying: bool,
    },
    /// The reason; which type would do is `describe`'s to say.
    No(&'static str),
}

const SAME_TYPE: &str =
    "a type that is only known as text passes between the same types of one engine, and as text to another";
const NO_PAIR: &str = "the two types do not mean the same";

pub(super) fn rule<'a>(source: &ColumnType, from: Engine, target: &'a Column, to: Engine) -> Rule<'a> {
    use ColumnType as T;
    match (source, &target.ty) {
        (T::Bool, T::Bool) | (T::Date, T::Date) if from.is_postgres() == to.is_postgres() => Rule::Move,
        (T::Bit { .. }, T::Text { .. }) => into_text(source, from, target, to),
        (T::Bool | T::Int { .. } | T::Decimal { .. } | T::Year | T::Float | T::Double | T::Bit { .. }, _) => {
            number::number(source, from, target, to)
        }
        (
            T::Date | T::Time { .. } | T::Timestamp { .. } | T::TimestampTz { .. } | T::Interval,
            T::Date | T::Time { .. } | T::Timestamp { .. } | T::TimestampTz { .. } | T::Interval,
        ) => time::time(source, from, target, to),
        (_, T::Text { .. }) => into_text(source, from, target, to),
        (T::Text { .. }, _) => from_text(from, target, to),
        (
            T::Bytes { limit, fixed },
            T::Bytes {
                limit: most,
                fixed: padded,
            },
        ) => bytes((*limit, *fixed), (*most, *padded)),
        (T::Uuid, T::Uuid) => Rule::Move,
        (
            T::Uuid,
            T::Bytes {
                limit: Some(16),
                fixed: true,
            },
        ) => Rule::UuidToBytes,
        (
            T::Bytes {
                limit: Some(16),
                fixed: true,
            },
            T::Uuid,
        ) => Rule::BytesToUuid,
        (T::Json { normalised }, T::Json { normalised: changes }) => {
            document((*normalised, from), (*changes, to))
        }
        (T::Enum { .. }, T::Enum { labels }) => Rule::Label(labels),
        (T::Set { .. }, T::Set { labels }) => Rule::Set(labels),
        (T::Opaque { name }, T::Opaque { name: same }) if from == to && name == same => Rule::Move,
        (T::Opaque { name }, T::Opaque { name: other }) if from != to => addresses((name, from), (other, to)),
        (T::Opaque { .. }, _) | (_, T::Opaque { .. }) => Rule::No(SAME_TYPE),
        (_, _) => Rule::No(NO_PAIR),
    }
}

/// PostgreSQL's inet and MariaDB's addresses are the only types of this kind that two engines have.
fn addresses<'a>((name, from): (&str, Engine), (other, to): (&str, Engine)) -> Rule<'a> {
    match (from, Family::of(name), to, Family::of(other)) {
        (Engine::Postgres, _, Engine::Mariadb, Some(family)) if name == "inet" => Rule::InetToMariadb(family),
        (Engine::Mariadb, Some(_), Engine::Postgres, _) if other == "inet" => Rule::Move,
        (_, _, _, _) => Rule::No(NO_PAIR),
    }
}

fn bytes<'a>((limit, fixed): (Option<u64>, bool), (most, padded): (Option<u64>, bool)) -> Rule<'a> {
    match (most, padded) {
        (None, _) => Rule::Move,
        (Some(_), true) if fixed && limit == most => Rule::Move,
        (Some(_), true) if fixed => Rule::No("binary columns of fixed length must have the same length"),
        (Some(most), true) => Rule::BytesExactly(most),
        (Some(most), false) if limit.is_some_and(|limit| limit <= most) => Rule::Move,
        (Some(_), false) if fixed && limit.is_some() => {
            Rule::No("every value is longer than the target takes")
        }
        (Some(most), false) => Rule::BytesAtMost(most),
    }
}

fn document<'a>((normalised, from): (bool, Engine), (changes, to): (bool, Engine)) -> Rule<'a> {
    match (changes, to) {
        // A document that MySQL built may hold a DECIMAL, and as text it would come back as a double.
        (true, Engine::Mysql) => Rule::Json(json::MYSQL),
        _ if from == to && (normalised == changes || normalised) => Rule::Move,
        // Text of another engine's JSON type is valid; MariaDB's is as good as its check constraint was.
        (false, Engine::Postgres | Engine::Mysql) if from != Engine::Mariadb => Rule::Move,
        (false, Engine::Postgres | Engine::Mysql) => Rule::Json(json::JSON),
        (_, Engine::Mariadb) => Rule::Json(json::MARIADB),
        (true, Engine::Postgres) => Rule::Json(json::JSONB),
    }
}

fn into_text<'a>(source: &ColumnType, from: Engine, target: &'a Column, to: Engine) -> Rule<'a> {
    use ColumnType as T;
    let Some(limits) = text::Limits::of(&target.ty, &target.collation, to) else {
        return Rule::No(NO_PAIR);
    };
    match source {
        T::Text { .. } => {
            // Without the source's collation its character set is only known where it is Unicode, and how many bytes a
            // text takes here never.
            match text::Limits::of(source, "", from) {
                Some(given) if limits.hold(&given) && (given.bytes.is_none() || limits.bytes.is_none()) => {
                    Rule::Move
                }
                Some(_) | None => Rule::Text(limits),
            }
        }
        T::Uuid if limits.chars.is_none_or(|n| n >= 36) && limits.bytes.is_none_or(|n| n >= 36) => {
            Rule::UuidToText(limits)
        }
        T::Uuid => Rule::No("a uuid has 36 characters"),
        T::Json { .. } => Rule::JsonToText(limits),
        T::Enum { .. } => Rule::LabelToText(limits),
        T::Set { .. } => Rule::SetToText(limits),
        T::Interval => Rule::IntervalToText(limits),
        T::Date | T::Time { .. } | T::Timestamp { .. } | T::TimestampTz { .. } => {
            Rule::No("a date or time as text would not be compared or checked as one")
        }
        // Between two servers of one engine the type itself is what to use.
        T::Opaque { .. } if from == to => Rule::No(SAME_TYPE),
        T::Opaque { .. } if from.is_postgres() => Rule::OpaqueToText(limits),
        T::Opaque { name } if Family::of(name).is_some() => Rule::OpaqueToText(limits),
        T::Opaque { .. } => Rule::No("the source's type is only known by its bytes, which are no text"),
        T::Bit { .. } => Rule::BitsToText(limits),
        T::Bytes { .. } => Rule::No("bytes need not be text"),
        T::Bool | T::Int { .. } | T::Float | T::Double | T::Decimal { .. } | T::Year => Rule::No(NO_PAIR),
    }
}

fn from_text(from: Engine, target: &Column, to: Engine) -> Rule<'_> {
    use ColumnType as T;
    match &target.ty {
        T::Uuid => Rule::TextToUuid,
        T::Json { normalised: false } if to == Engine::Mariadb => Rule::TextToJson(json::MARIADB),
        T::Json { normalised: false } => Rule::TextToJson(json::JSON),
        T::Json { normalised: true } => Rule::No(
            "the target writes JSON anew (order of keys, blanks, numbers), so the text would come back changed",
        ),
        T::Enum { labels } => Rule::Label(labels),
        T::Set { labels } => Rule::TextToSet(labels),
        T::Interval => Rule::TextToInterval(Smallest::of(&target.sql_type)),
        T::Bit { len, varying } => Rule::TextToBits {
            len: *len,
            varying: *varying,
        },
        T::Opaque { .. } if from == to => Rule::No(SAME_TYPE),
        T::Opaque { name } => {
            let literal = match to {
                Engine::Postgres => Literal::of_postgres(name, &target.sql_type),
                Engine::Mysql | Engine::Mariadb => Family::of(name).map(Literal::Address),
            };
            literal.map_or(
                Rule::No(
                    "nothing tells here whether the server would print the text as it is, and not otherwise",
                ),
                Rule::TextToOpaque,
            )
        }
        T::Bool
        | T::Int { .. }
        | T::Float
        | T::Double
        | T::Decimal { .. }
        | T::Text { .. }
        | T::Bytes { .. }
        | T::Date
        | T::Time { .. }
        | T::Timestamp { .. }
        | T::TimestampTz { .. }
        | T::Year => Rule::No("text need not have the form of the target's type"),
    }
}
