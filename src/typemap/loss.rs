//! What a column loses where its owner has consented: `lossy = true` in the configuration.
//!
//! Owns: which pairs can lose something that a DBA may give up, in words, and the losing itself. It depends on the value
//! alone, so the first copy, the stream and a comparison lose the same. Refuses: cutting texts and bytes, and values that
//! are too large even then. Two-way nothing may be lost (see `compare`): it would come back as somebody's change.

use super::rule::{ROUNDS, Rule, rounds, rule};
use super::{Refusal, calendar, cast, decimal};
use crate::model::schema::{Column, ColumnType, Engine};
use crate::model::value::Value;

/// What is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Digits of a second beyond so many.
    Fraction(u8),
    /// Digits after the point beyond so many.
    Scale(usize),
    /// A double becomes the nearest single.
    Single,
    /// A decimal or an integer becomes the nearest floating number.
    Nearest,
    /// The mask of an address.
    Mask,
}

impl Loss {
    pub fn words(self) -> String {
        match self {
            Loss::Fraction(0) => "fractions of a second are cut off".to_owned(),
            Loss::Fraction(digits) => format!("digits of a second are cut off behind the first {digits}"),
            Loss::Scale(0) => "rounded to whole numbers, halves away from zero".to_owned(),
            Loss::Scale(scale) => format!("rounded to {scale} digits after the point, halves away from zero"),
            Loss::Single => "rounded to single precision".to_owned(),
            Loss::Nearest => "rounded to the nearest floating-point number".to_owned(),
            Loss::Mask => "the mask of an address is dropped".to_owned(),
        }
    }
}

/// What the pair loses under consent; `None`: nothing that may be given up.
pub fn loss(source: &ColumnType, from: Engine, target: &Column, to: Engine) -> Option<Loss> {
    use ColumnType as T;
    match rule(source, from, target, to) {
        Rule::Moment {
            fraction: Some(digits),
            ..
        }
        | Rule::Time {
            fraction: Some(digits),
            ..
        } => Some(Loss::Fraction(digits)),
        Rule::Decimal(limits) => scale(source, &limits).map(Loss::Scale),
        Rule::Narrow(_) => Some(Loss::Single),
        Rule::InetToMariadb(_) => Some(Loss::Mask),
        Rule::No(why) if why != ROUNDS && !rounds(target, to) => match (source, &target.ty) {
            (T::Decimal { .. }, T::Float | T::Double) => Some(Loss::Nearest),
            // A shorter one would come whole, and has a type of its own there.
            (T::Int { bits: 64, .. }, T::Float | T::Double) => Some(Loss::Nearest),
            (_, _) => None,
        },
        _ => None,
    }
}

/// The digits that the target keeps, where the source can have more.
fn scale(source: &ColumnType, limits: &decimal::Limits) -> Option<usize> {
    let ColumnType::Decimal { precision, scale, .. } = source else {
        return None;
    };
    let has_more = limits.precision.is_some() && (precision.is_none() || *scale > limits.scale);
    usize::try_from(limits.scale).ok().filter(|_| has_more)
}

/// As [`cast`], after the loss.
pub fn cast_with_loss(
    value: Value,
    source: &ColumnType,
    from: Engine,
    target: &Column,
    to: Engine,
) -> Result<Value, Refusal> {
    match loss(source, from, target, to) {
        None => return cast(value, source, from, target, to),
        Some(Loss::Nearest) if value.is_null() => return cast(value, &ColumnType::Double, from, target, to),
        Some(Loss::Nearest) => {}
        Some(loss) => return cast(lose(value, loss), source, from, target, to),
    }
    let nearest = nearest(&value).ok_or_else(|| Refusal {
        column: target.name.clone(),
        why: "the number is beyond all floating-point numbers".to_owned(),
    })?;
    let rounded = match target.ty {
        ColumnType::Float => lose(Value::Double(nearest), Loss::Single),
        _ => Value::Double(nearest),
    };
    cast(rounded, &ColumnType::Double, from, target, to)
}

/// What cannot be made smaller stays as it is, and is refused.
fn lose(value: Value, loss: Loss) -> Value {
    match (loss, value) {
        (Loss::Fraction(digits), Value::Time(text)) => Value::Time(calendar::cut_fraction(text, digits)),
        (Loss::Fraction(digits), Value::Timestamp(text)) => {
            Value::Timestamp(calendar::cut_fraction(text, digits))
        }
        (Loss::Fraction(digits), Value::TimestampTz(text)) => {
            Value::TimestampTz(calendar::cut_fraction(text, digits))
        }
        (Loss::Scale(scale), Value::Decimal(text)) => Value::Decimal(decimal::rounded(text, scale)),
        (Loss::Single, Value::Double(double)) => {
            #[allow(clippy::cast_possible_truncation)]
            let single = double as f32;
            // A sum with zero is the number itself, but for the minus zero that a tiny one becomes.
            let single = if single == 0.0 && double != 0.0 {
                0.0
            } else {
                single
            };
            match single.is_finite() {
                true => Value::Double(f64::from(single)),
                false => Value::Double(double),
            }
        }
        (Loss::Mask, Value::Opaque(text)) => match text.split_once('/') {
            Some((address, _)) => Value::Opaque(address.into()),
            None => Value::Opaque(text),
        },
        (_, value) => value,
    }
}

/// `None`: no floating number is near.
fn nearest(value: &Value) -> Option<f64> {
    #[allow(clippy::cast_precision_loss)]
    let double = match value {
        Value::Int(number) => *number as f64,
        Value::UInt(number) => *number as f64,
        Value::Decimal(text) => {
            let double: f64 = text.parse().ok()?;
            if double.is_infinite() && !text.ends_with("Infinity") {
                return None;
            }
            // No minus zero of a tiny number.
            if double == 0.0 { 0.0 } else { double }
        }
        _ => return None,
    };
    Some(double)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::typemap::table::column;
    use ColumnType as T;
    use Engine::{Mariadb, Mysql, Postgres};

    fn numeric(precision: Option<u32>, scale: i32) -> T {
        T::Decimal {
            precision,
            scale,
            unsigned: false,
        }
    }

    #[track_caller]
    fn loses(source: &T, (target, to): (T, Engine), value: Value, left: Option<Value>) {
        let column = column(target);
        let done = cast_with_loss(value, source, Postgres, &column, to).ok();
        assert_eq!(done, left);
        // What has lost already loses nothing more.
        if let Some(left) = left {
            let again = cast_with_loss(left.clone(), &column.ty, to, &column, to).unwrap();
            assert_eq!(again, left);
        }
    }

    #[test]
    fn decimals_are_rounded_away_from_zero() {
        let dec = |text: &str| Value::Decimal(text.into());
        for (text, left) in [
            ("1.005", Some("1.01")),
            ("-1.005", Some("-1.01")),
            ("1.004999", Some("1.00")),
            ("9.995", Some("10.00")),
            ("-0.001", Some("0.00")),
            ("0.1", Some("0.10")),
            ("99999999.994", Some("99999999.99")),
            ("99999999.995", None),
            ("NaN", None),
        ] {
            loses(
                &numeric(None, 0),
                (numeric(Some(10), 2), Mysql),
                dec(text),
                left.map(dec),
            );
        }
        loses(
            &numeric(Some(4), 2),
            (numeric(Some(4), 0), Mysql),
            dec("99.50"),
            Some(dec("100")),
        );
    }

    #[test]
    fn fractions_of_a_second_are_cut() {
        let stamp = |text: &str| Value::Timestamp(text.into());
        let (from, to) = (T::Timestamp { fraction: 6 }, |fraction| {
            (T::Timestamp { fraction }, Mysql)
        });
        let last = "9999-12-31 23:59:59";
        loses(
            &from,
            to(0),
            stamp("9999-12-31 23:59:59.999999"),
            Some(stamp(last)),
        );
        loses(
            &from,
            to(3),
            stamp("2024-01-01 00:00:00.1209"),
            Some(stamp("2024-01-01 00:00:00.12")),
        );
        loses(
            &from,
            to(3),
            stamp("2024-01-01 00:00:00.0009"),
            Some(stamp("2024-01-01 00:00:00")),
        );
        loses(&from, to(3), stamp("infinity"), None);
    }

    #[test]
    fn numbers_become_the_nearest_floating_ones() {
        let dec = |text: &str| Value::Decimal(text.into());
        let any = numeric(None, 0);
        loses(&any, (T::Double, Mysql), dec("0.1"), Some(Value::Double(0.1)));
        loses(&any, (T::Float, Mysql), dec("0.1"), Some(Value::Float(0.1)));
        loses(
            &any,
            (T::Double, Mariadb),
            dec(&format!("-0.{}1", "0".repeat(400))),
            Some(Value::Double(0.0)),
        );
        loses(&any, (T::Double, Mysql), dec(&"9".repeat(400)), None);
        loses(&any, (T::Double, Mysql), dec("NaN"), None);
        loses(&T::Double, (T::Float, Mysql), Value::Double(1e300), None);
        loses(
            &T::Double,
            (T::Float, Mysql),
            Value::Double(0.1),
            Some(Value::Float(0.1)),
        );
        let big = T::Int {
            bits: 64,
            unsigned: false,
        };
        loses(
            &big,
            (T::Double, Mysql),
            Value::Int(i64::MAX),
            Some(Value::Double(9_223_372_036_854_775_807.0)),
        );
        loses(&any, (T::Double, Mysql), Value::Null, Some(Value::Null));
    }

    #[test]
    fn masks_are_dropped_and_nothing_else_is_lost() {
        let opaque = |name: &str| T::Opaque { name: name.into() };
        let value = |text: &str| Value::Opaque(text.into());
        loses(
            &opaque("inet"),
            (opaque("inet4"), Mariadb),
            value("10.0.0.1/8"),
            Some(value("10.0.0.1")),
        );
        loses(&opaque("inet"), (opaque("inet4"), Mariadb), value("::1/8"), None);
        let text = |chars| T::Text {
            chars: Some(chars),
            bytes: None,
            fixed: false,
            utf8: true,
        };
        for (source, target) in [
            (text(9), text(3)),
            (T::Date, T::Date),
            (numeric(Some(9), 2), numeric(Some(5), 2)),
            (T::Double, numeric(Some(5), 2)),
        ] {
            assert_eq!(
                loss(&source, Postgres, &column(target), Mysql),
                None,
                "{source:?}"
            );
        }
    }
}
