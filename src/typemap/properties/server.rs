//! A model of what the servers do with a value they are given: refuse it, or keep it, or keep something else.
//!
//! Written from their manuals and not from the code under test, so that a check which is forgotten there shows here.

use crate::model::schema::{ColumnType, Engine};
use crate::model::value::Value;
use ColumnType as T;

/// What a later read gives; `None` where the server refuses.
pub(super) fn stored(value: &Value, ty: &ColumnType, engine: Engine) -> Option<Value> {
    let pg = engine.is_postgres();
    let kept = match (ty, value) {
        (T::Text { .. }, Value::Text(text)) => return words(text, ty, pg),
        (
            T::Bytes {
                limit: Some(limit),
                fixed,
            },
            Value::Bytes(bytes),
        ) => {
            let mut bytes = bytes.to_vec();
            if bytes.len() as u64 > *limit {
                return None;
            }
            if *fixed {
                bytes.resize(usize::try_from(*limit).ok()?, 0);
            }
            Value::Bytes(bytes.into())
        }
        (
            T::Bit {
                len: Some(len),
                varying,
            },
            Value::Bit(bits),
        ) => {
            let wrong = if *varying {
                bits.len() > *len as usize
            } else {
                bits.len() != *len as usize
            };
            return (!wrong).then(|| value.clone());
        }
        (T::Date | T::Timestamp { .. } | T::TimestampTz { .. } | T::Time { .. }, value) => {
            return moment(value, ty, engine);
        }
        (T::Enum { labels }, Value::Text(text)) => {
            return labels
                .iter()
                .any(|label| **label == **text)
                .then(|| value.clone());
        }
        (T::Float, Value::Float(f)) if !pg && !f.is_finite() => return None,
        // Adding zero turns minus zero into zero and nothing else.
        (T::Float, Value::Float(f)) if engine == Engine::Mariadb => Value::Float(f + 0.0),
        (T::Double, Value::Double(d)) if engine == Engine::Mariadb && d.is_finite() => Value::Double(d + 0.0),
        (T::Double, Value::Double(d)) if !pg && !d.is_finite() => return None,
        (T::Decimal { .. }, Value::Decimal(text)) if !pg && text.contains('N') | text.contains('I') => {
            return None;
        }
        (T::Year, Value::Int(year)) if *year != 0 && !(1901..=2155).contains(year) => return None,
        (_, _) => value.clone(),
    };
    Some(kept)
}

fn words(text: &str, ty: &ColumnType, pg: bool) -> Option<Value> {
    let T::Text {
        chars,
        bytes,
        fixed,
        utf8,
    } = ty
    else {
        return None;
    };
    let text = if *fixed { text.trim_end_matches(' ') } else { text };
    let long = chars.is_some_and(|n| text.chars().count() > n as usize)
        || bytes.is_some_and(|n| text.len() as u64 > n);
    let foreign = !utf8 && text.chars().any(|c| !c.is_ascii() && c != 'é' && c != '€');
    let refused = long || foreign || (pg && text.contains('\0'));
    (!refused).then(|| Value::Text(text.to_owned().into()))
}

fn moment(value: &Value, ty: &ColumnType, engine: Engine) -> Option<Value> {
    match (ty, value) {
        (T::Date, Value::Date(text))
        | (T::Timestamp { .. }, Value::Timestamp(text))
        | (T::TimestampTz { .. }, Value::TimestampTz(text)) => {
            date(text, ty, engine).then(|| round(value, ty))
        }
        (T::Time { span, .. }, Value::Time(text)) => {
            let hours: i32 = text.trim_start_matches('-').split(':').next()?.parse().ok()?;
            let past = hours >= 24 && text.trim_end_matches(['0', ':', '.']) != "24";
            let sharp = engine == Engine::Mysql && text.contains("838:59:59.");
            let most = if *span {
                hours > 838 || sharp
            } else {
                past || text.starts_with('-')
            };
            (!most).then(|| round(value, ty))
        }
        (_, _) => None,
    }
}

/// Servers round; cutting is enough to tell.
fn round(value: &Value, ty: &ColumnType) -> Value {
    let cut = |text: &str, digits: u8| -> String {
        match text.split_once('.') {
            Some((whole, fraction)) if !fraction.ends_with('C') => {
                let fraction = fraction
                    .get(..usize::from(digits))
                    .unwrap_or(fraction)
                    .trim_end_matches('0');
                if fraction.is_empty() {
                    whole.to_owned()
                } else {
                    format!("{whole}.{fraction}")
                }
            }
            _ => text.to_owned(),
        }
    };
    match (ty, value) {
        (T::Time { fraction, .. }, Value::Time(text)) => Value::Time(cut(text, *fraction).into()),
        (T::Timestamp { fraction }, Value::Timestamp(text)) => Value::Timestamp(cut(text, *fraction).into()),
        (T::TimestampTz { fraction, .. }, Value::TimestampTz(text)) => {
            Value::TimestampTz(cut(text, *fraction).into())
        }
        (_, _) => value.clone(),
    }
}

fn date(text: &str, ty: &ColumnType, engine: Engine) -> bool {
    let year = text.split('-').next().unwrap_or_default();
    let plain = year.len() == 4 && !text.ends_with("BC");
    if !engine.is_postgres() {
        let epoch = matches!(ty, T::TimestampTz { epoch: true, .. });
        return plain
            && (!epoch || text.starts_with("0000-00-00 00:00:00") || ("1970".."2039").contains(&year));
    }
    let missing = ["-00-", "-00 ", "02-30", "2023-02-29"]
        .iter()
        .any(|part| text.contains(part));
    !missing && !text.starts_with("0000-") && !text.ends_with("-00")
}
