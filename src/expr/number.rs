//! Exact numbers: any count of digits, and what PostgreSQL has beside them.
//!
//! Owns: their order, and sums, differences and products. Refuses: division, which engines round differently.

use super::Operator;
use super::scalar::Scalar;
use bigdecimal::BigDecimal;
use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};

/// Digits without zeros that do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decimal {
    MinusInfinity,
    Finite {
        negative: bool,
        whole: String,
        fraction: String,
    },
    Infinity,
    NaN,
}

impl Decimal {
    pub(super) fn of(text: &str) -> Option<Decimal> {
        match text {
            "NaN" => return Some(Decimal::NaN),
            "Infinity" => return Some(Decimal::Infinity),
            "-Infinity" => return Some(Decimal::MinusInfinity),
            _ => {}
        }
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return None;
        }
        let whole = whole.trim_start_matches('0').to_owned();
        let fraction = fraction.trim_end_matches('0').to_owned();
        let negative = negative && !(whole.is_empty() && fraction.is_empty());
        Some(Decimal::Finite {
            negative,
            whole,
            fraction,
        })
    }
}

impl Decimal {
    fn finite(&self) -> Option<BigDecimal> {
        match self {
            Decimal::Finite { .. } => self.to_string().parse().ok(),
            Decimal::MinusInfinity | Decimal::Infinity | Decimal::NaN => None,
        }
    }

    fn sign(&self) -> i8 {
        match self {
            Decimal::MinusInfinity => -1,
            Decimal::Infinity => 1,
            Decimal::NaN => 0,
            Decimal::Finite { negative: true, .. } => -1,
            Decimal::Finite { whole, fraction, .. } => i8::from(!whole.is_empty() || !fraction.is_empty()),
        }
    }
}

impl Display for Decimal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Decimal::MinusInfinity => f.write_str("-Infinity"),
            Decimal::Infinity => f.write_str("Infinity"),
            Decimal::NaN => f.write_str("NaN"),
            Decimal::Finite {
                negative,
                whole,
                fraction,
            } => {
                let sign = if *negative { "-" } else { "" };
                let whole = if whole.is_empty() { "0" } else { whole };
                match fraction.as_str() {
                    "" => write!(f, "{sign}{whole}"),
                    _ => write!(f, "{sign}{whole}.{fraction}"),
                }
            }
        }
    }
}

impl Ord for Decimal {
    /// As PostgreSQL orders them: NaN is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        let rank = |decimal: &Decimal| match decimal {
            Decimal::MinusInfinity => 0,
            Decimal::Finite { .. } => 1,
            Decimal::Infinity => 2,
            Decimal::NaN => 3,
        };
        let (
            Decimal::Finite {
                negative,
                whole,
                fraction,
            },
            Decimal::Finite {
                negative: minus,
                whole: other_whole,
                fraction: other_fraction,
            },
        ) = (self, other)
        else {
            return rank(self).cmp(&rank(other));
        };
        let size = (whole.len(), whole.as_str(), fraction.as_str());
        let other_size = (other_whole.len(), other_whole.as_str(), other_fraction.as_str());
        match (negative, minus) {
            (false, false) => size.cmp(&other_size),
            (true, true) => other_size.cmp(&size),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A number as it is written.
pub(super) fn number(digits: &str) -> Option<Scalar> {
    match digits.parse::<i128>() {
        Ok(number) => Some(Scalar::Int(number)),
        Err(_) => Decimal::of(digits).map(Scalar::Decimal),
    }
}

/// `None`: one of them is no number.
pub(super) fn calculate(left: &Scalar, operator: Operator, right: &Scalar) -> Option<Scalar> {
    if let (Scalar::Int(left), Scalar::Int(right)) = (left, right) {
        let exact = match operator {
            Operator::Add => left.checked_add(*right),
            Operator::Subtract => left.checked_sub(*right),
            Operator::Multiply => left.checked_mul(*right),
        };
        if let Some(exact) = exact {
            return Some(Scalar::Int(exact));
        }
    }
    let (left, right) = (decimal(left)?, decimal(right)?);
    let (one, other) = match (left.finite(), right.finite()) {
        (Some(one), Some(other)) => (one, other),
        _ => return Some(Scalar::Decimal(beyond(&left, operator, &right))),
    };
    let exact = match operator {
        Operator::Add => one + other,
        Operator::Subtract => one - other,
        Operator::Multiply => one * other,
    };
    number(&exact.to_plain_string())
}

/// The number with the other sign.
pub(super) fn negative(of: &Scalar) -> Option<Scalar> {
    calculate(&Scalar::Int(0), Operator::Subtract, of)
}

fn decimal(scalar: &Scalar) -> Option<Decimal> {
    match scalar {
        Scalar::Int(number) => Decimal::of(&number.to_string()),
        Scalar::Decimal(decimal) => Some(decimal.clone()),
        Scalar::Bool(_) | Scalar::Text(_) | Scalar::Time(_) | Scalar::Moment(..) | Scalar::Uuid(_) => None,
    }
}

/// Of numbers of which one is not finite, as PostgreSQL has it.
fn beyond(left: &Decimal, operator: Operator, right: &Decimal) -> Decimal {
    let signed = |sign: i8| match sign {
        1 => Decimal::Infinity,
        -1 => Decimal::MinusInfinity,
        _ => Decimal::NaN,
    };
    if *left == Decimal::NaN || *right == Decimal::NaN {
        return Decimal::NaN;
    }
    let infinite = |of: &Decimal| if of.finite().is_none() { of.sign() } else { 0 };
    let (one, mut other) = (infinite(left), infinite(right));
    match operator {
        Operator::Multiply => signed(left.sign() * right.sign()),
        Operator::Add | Operator::Subtract => {
            if operator == Operator::Subtract {
                other = -other;
            }
            match (one, other) {
                (0, sign) | (sign, 0) => signed(sign),
                (sign, its) if sign == its => signed(sign),
                _ => Decimal::NaN,
            }
        }
    }
}
