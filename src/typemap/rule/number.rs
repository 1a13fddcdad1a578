//! Pairs in which the source is a number, a boolean, a year or a bit string.

use super::{NO_PAIR, Range, Reals, Rule};
use crate::model::schema::{Column, ColumnType, Engine};
use crate::typemap::decimal;

pub(super) fn number<'a>(source: &ColumnType, from: Engine, target: &'a Column, to: Engine) -> Rule<'a> {
    use ColumnType as T;
    match (source, &target.ty) {
        (T::Bool, T::Bool) | (T::Year, T::Year) => Rule::Move,
        (T::Bool, T::Int { bits: 8, unsigned }) => Rule::BoolToInt(Range::of(8, *unsigned)),
        (T::Int { bits: 8, .. }, T::Bool) => Rule::IntToBool,
        (
            T::Bool,
            T::Bit {
                len: Some(1),
                varying: false,
            },
        ) => Rule::BoolToBit,
        (
            T::Bit {
                len: Some(1),
                varying: false,
            },
            T::Bool,
        ) => Rule::BitToBool,
        (
            T::Bit { len, varying },
            T::Bit {
                len: most,
                varying: grows,
            },
        ) => bits((*len, *varying), (*most, *grows)),
        (
            T::Int { bits, unsigned },
            T::Int {
                bits: wide,
                unsigned: positive,
            },
        ) => {
            if unsigned == positive && bits <= wide {
                return Rule::Move;
            }
            Rule::Int(Range::of(*wide, *positive))
        }
        (T::Int { .. }, T::Decimal { .. }) => {
            decimal_limits(&target.ty, to).map_or(Rule::No(NO_PAIR), Rule::IntToDecimal)
        }
        (T::Decimal { .. }, T::Int { bits, unsigned }) => Rule::DecimalToInt(Range::of(*bits, *unsigned)),
        (T::Decimal { .. }, T::Decimal { .. }) => decimals(source, from, &target.ty, to),
        (T::Int { bits: 16.., .. }, T::Year) => Rule::IntToYear,
        (
            T::Year,
            T::Int {
                bits: bits @ 16..,
                unsigned,
            },
        ) => Rule::YearToInt(Range::of(*bits, *unsigned)),
        (T::Float | T::Double, T::Float | T::Double) => float(source, from, target, to),
        (T::Decimal { .. } | T::Int { .. }, T::Float | T::Double)
        | (T::Float | T::Double, T::Decimal { .. } | T::Int { .. }) => {
            Rule::No("binary floating point does not hold decimal numbers exactly")
        }
        (_, T::Text { .. }) => Rule::No("a number as text would not be compared or sorted as a number"),
        (_, T::Opaque { .. }) => Rule::No("the target's type is only known as text"),
        (_, _) => Rule::No(NO_PAIR),
    }
}

pub(in crate::typemap) const ROUNDS: &str =
    "a floating column with a fixed number of digits rounds what it is given";

/// MySQL's deprecated FLOAT(M,D) and DOUBLE(M,D).
pub(in crate::typemap) fn rounds(target: &Column, to: Engine) -> bool {
    let is_float = matches!(target.ty, ColumnType::Float | ColumnType::Double);
    is_float && !to.is_postgres() && target.sql_type.contains('(')
}

fn float<'a>(source: &ColumnType, from: Engine, target: &'a Column, to: Engine) -> Rule<'a> {
    // Between two such columns `verdict` wants the same digits, which change nothing when they round again.
    if from.is_postgres() && rounds(target, to) {
        return Rule::No(ROUNDS);
    }
    let reals = Reals {
        finite: from.is_postgres() && !to.is_postgres(),
        no_minus_zero: from != to && to == Engine::Mariadb,
    };
    let is_double = |ty: &ColumnType| *ty == ColumnType::Double;
    match (is_double(source), is_double(&target.ty)) {
        (false, true) => Rule::Widen(reals),
        (true, false) => Rule::Narrow(reals),
        (_, _) if reals.words().is_some() => Rule::Float(reals),
        (_, _) => Rule::Move,
    }
}

/// What a decimal column of an engine takes; `None` for another type.
pub(in crate::typemap) fn decimal_limits(ty: &ColumnType, engine: Engine) -> Option<decimal::Limits> {
    let ColumnType::Decimal {
        precision,
        scale,
        unsigned,
    } = *ty
    else {
        return None;
    };
    let pg = engine.is_postgres();
    // PostgreSQL takes NaN under any precision, but Infinity only without one.
    Some(decimal::Limits {
        precision,
        scale,
        unsigned,
        nan: pg,
        infinity: pg && precision.is_none(),
    })
}

fn decimals<'a>(source: &ColumnType, from: Engine, target: &ColumnType, to: Engine) -> Rule<'a> {
    let (Some(given), Some(limits)) = (decimal_limits(source, from), decimal_limits(target, to)) else {
        return Rule::No(NO_PAIR);
    };
    let same_scale = limits.precision.is_none() || limits.scale == given.scale;
    if same_scale && limits.hold(&given) {
        Rule::Move
    } else {
        Rule::Decimal(limits)
    }
}

fn bits<'a>((len, varying): (Option<u32>, bool), (most, grows): (Option<u32>, bool)) -> Rule<'a> {
    match (most, grows) {
        (None, true) => Rule::Move,
        (Some(most), true) if len.is_some_and(|len| len <= most) => Rule::Move,
        (Some(most), true) if varying || len.is_none() => Rule::BitsAtMost(most),
        (Some(most), false) if varying => Rule::BitsExactly(most),
        (_, false) if !varying && len == most => Rule::Move,
        (_, _) => Rule::No("bit strings of fixed length must have the same length"),
    }
}
