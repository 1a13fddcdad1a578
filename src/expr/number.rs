//! Exact numbers: any count of digits, and what PostgreSQL has beside them.
//!
//! Owns: their order, sums, differences and products, and how many digits those may have. Refuses: division, which
//! engines round differently. Comparing allocates nothing.

use super::Operator;
use super::scalar::Scalar;
use bigdecimal::BigDecimal;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::io::Write as _;

/// The most digits before and after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digits {
    pub whole: u32,
    pub scale: u32,
}

impl Digits {
    pub(super) fn whole(whole: u32) -> Digits {
        Digits { whole, scale: 0 }
    }

    /// Of a column; a scale below 0 rounds before the point.
    pub(super) fn of(precision: u32, scale: i32) -> Digits {
        let whole = i64::from(precision) - i64::from(scale);
        Digits {
            whole: u32::try_from(whole.max(0)).unwrap_or(u32::MAX),
            scale: u32::try_from(scale).unwrap_or(0),
        }
    }

    /// Of `[-]digits[.digits]`.
    pub fn written(digits: &str) -> Option<Digits> {
        let digits = digits.trim_start_matches('-');
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        Some(Digits {
            whole: u32::try_from(whole.len()).ok()?,
            scale: u32::try_from(fraction.len()).ok()?,
        })
    }

    pub fn precision(self) -> u32 {
        self.whole.saturating_add(self.scale)
    }

    /// Enough for either.
    pub(super) fn hold(self, other: Digits) -> Digits {
        Digits {
            whole: self.whole.max(other.whole),
            scale: self.scale.max(other.scale),
        }
    }

    /// Enough for the result.
    pub fn after(self, operator: Operator, other: Digits) -> Digits {
        match operator {
            Operator::Add | Operator::Subtract => {
                let both = self.hold(other);
                Digits {
                    whole: both.whole.saturating_add(1),
                    scale: both.scale,
                }
            }
            Operator::Multiply => Digits {
                whole: self.whole.saturating_add(other.whole),
                scale: self.scale.saturating_add(other.scale),
            },
        }
    }
}

/// A number as its digits, without zeros that do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exact<'a> {
    MinusInfinity,
    Finite {
        negative: bool,
        whole: &'a str,
        fraction: &'a str,
    },
    Infinity,
    NaN,
}

impl<'a> Exact<'a> {
    pub(super) fn of(text: &'a str) -> Option<Exact<'a>> {
        match text {
            "NaN" => return Some(Exact::NaN),
            "Infinity" => return Some(Exact::Infinity),
            "-Infinity" => return Some(Exact::MinusInfinity),
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
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        Some(Exact::Finite {
            negative: negative && !(whole.is_empty() && fraction.is_empty()),
            whole,
            fraction,
        })
    }

    fn is_finite(self) -> bool {
        matches!(self, Exact::Finite { .. })
    }

    fn sign(self) -> i8 {
        match self {
            Exact::MinusInfinity | Exact::Finite { negative: true, .. } => -1,
            Exact::Infinity => 1,
            Exact::NaN => 0,
            Exact::Finite { whole, fraction, .. } => i8::from(!whole.is_empty() || !fraction.is_empty()),
        }
    }
}

impl Ord for Exact<'_> {
    /// As PostgreSQL orders them: NaN is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        let rank = |exact: &Exact<'_>| match exact {
            Exact::MinusInfinity => 0,
            Exact::Finite { .. } => 1,
            Exact::Infinity => 2,
            Exact::NaN => 3,
        };
        let (
            Exact::Finite {
                negative,
                whole,
                fraction,
            },
            Exact::Finite {
                negative: minus,
                whole: other_whole,
                fraction: other_fraction,
            },
        ) = (self, other)
        else {
            return rank(self).cmp(&rank(other));
        };
        let size = (whole.len(), whole, fraction);
        let other_size = (other_whole.len(), other_whole, other_fraction);
        match (negative, minus) {
            (false, false) => size.cmp(&other_size),
            (true, true) => other_size.cmp(&size),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Exact<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// How the whole number stands to the digits.
pub(super) fn order_of_int(int: i128, digits: &str) -> Option<Ordering> {
    let mut buffer = [0_u8; 40];
    let mut rest = &mut buffer[..];
    write!(rest, "{int}").ok()?;
    let unused = rest.len();
    let written = std::str::from_utf8(&buffer[..40 - unused]).ok()?;
    Some(Exact::of(written)?.cmp(&Exact::of(digits)?))
}

/// `None`: one of them is no number.
pub(super) fn calculate(
    left: &Scalar<'_>,
    operator: Operator,
    right: &Scalar<'_>,
) -> Option<Scalar<'static>> {
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
    let (one, other) = (digits(left)?, digits(right)?);
    let (left, right) = (Exact::of(&one)?, Exact::of(&other)?);
    if !(left.is_finite() && right.is_finite()) {
        return Some(Scalar::Decimal(Cow::Borrowed(beyond(left, operator, right))));
    }
    let (one, other): (BigDecimal, BigDecimal) = (one.parse().ok()?, other.parse().ok()?);
    let exact = match operator {
        Operator::Add => one + other,
        Operator::Subtract => one - other,
        Operator::Multiply => one * other,
    };
    Scalar::number(Cow::Owned(exact.to_plain_string()))
}

/// The number with the other sign.
pub(super) fn negative(of: &Scalar<'_>) -> Option<Scalar<'static>> {
    calculate(&Scalar::Int(0), Operator::Subtract, of)
}

fn digits<'a>(scalar: &'a Scalar<'_>) -> Option<Cow<'a, str>> {
    match scalar {
        Scalar::Int(number) => Some(Cow::Owned(number.to_string())),
        Scalar::Decimal(digits) => Some(Cow::Borrowed(digits)),
        Scalar::Bool(_) | Scalar::Text(_) | Scalar::Time(_) | Scalar::Moment(..) | Scalar::Uuid(_) => None,
    }
}

/// Of numbers of which one is not finite, as PostgreSQL has it.
fn beyond(left: Exact<'_>, operator: Operator, right: Exact<'_>) -> &'static str {
    let signed = |sign: i8| match sign {
        1 => "Infinity",
        -1 => "-Infinity",
        _ => "NaN",
    };
    if left == Exact::NaN || right == Exact::NaN {
        return "NaN";
    }
    let infinite = |of: Exact<'_>| if of.is_finite() { 0 } else { of.sign() };
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
                _ => "NaN",
            }
        }
    }
}
