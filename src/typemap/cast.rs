//! Carrying one value into the type of its target column.
//!
//! Owns: carrying out a [`Rule`]. Texts and bytes that fit are moved, never copied.
//! Refuses: any value the target would change. The refusal names the limit and never the value.

use super::rule::{Range, Reals, Rule, Span, YEARS, rule};
use super::{Refusal, address, calendar, decimal, describe, interval, json, text};
use crate::model::schema::{Column, ColumnType, Engine};
use crate::model::value::Value;
use bytes::Bytes;
use bytestring::ByteString;

type Fit<T = Value> = Result<T, &'static str>;

const NOT_ITS_TYPE: &str = "the value does not have the form of its source column (was the column altered?)";
const RANGE: &str = "the value is outside the target's range";
const FRACTION: &str = "the value has more digits of a second than the target keeps";

/// Makes `value`, as the column type `source` of engine `from` gives it, the value that `target` takes and gives
/// back; or refuses.
pub fn cast(
    value: Value,
    source: &ColumnType,
    from: Engine,
    target: &Column,
    to: Engine,
) -> Result<Value, Refusal> {
    let rule = rule(source, from, target, to);
    carry(value, rule, source, target).map_err(|limit| Refusal {
        column: target.name.clone(),
        why: format!(
            "{} of {from} does not go into {} of {to}: {limit}",
            describe::name(source, from),
            if target.sql_type.is_empty() {
                describe::name(&target.ty, to)
            } else {
                target.sql_type.clone()
            },
        ),
    })
}

/// Is the value, as it stands, what [`cast`] would make of it? Quicker, and unsure of some that are: then `false`.
pub fn stays(value: &Value, source: &ColumnType, from: Engine, target: &Column, to: Engine) -> bool {
    if value.is_null() {
        return target.nullable && !matches!(rule(source, from, target, to), Rule::No(_));
    }
    if !has_form(value, source) {
        return false;
    }
    match (rule(source, from, target, to), value) {
        (Rule::Move, _) => true,
        (Rule::Int(range), Value::Int(number)) => {
            !range.unsigned && integer(i128::from(*number), range).is_ok()
        }
        (Rule::Int(range), Value::UInt(number)) => {
            range.unsigned && integer(i128::from(*number), range).is_ok()
        }
        (Rule::Float(reals), Value::Float(float)) => real(f64::from(*float), reals).is_ok(),
        (Rule::Float(reals), Value::Double(double)) => real(*double, reals).is_ok(),
        (Rule::Decimal(limits), Value::Decimal(text)) => limits.fit(text.clone()).as_ref() == Some(text),
        (Rule::Text(limits), Value::Text(text)) => limits.check(text).is_ok(),
        (Rule::Label(labels), Value::Text(text)) => labels.iter().any(|label| **label == **text),
        (Rule::Json(limits), Value::Json(text)) => json::check(text, limits).is_ok(),
        (Rule::BytesAtMost(limit), Value::Bytes(bytes)) => bytes.len() as u64 <= limit,
        (
            Rule::Moment {
                calendar,
                fraction: None,
            },
            Value::Date(text),
        ) => target.ty == ColumnType::Date && calendar.takes(text),
        (
            Rule::Moment {
                calendar,
                fraction: None,
            },
            Value::Timestamp(text),
        ) => matches!(target.ty, ColumnType::Timestamp { .. }) && calendar.takes(text),
        (
            Rule::Moment {
                calendar,
                fraction: None,
            },
            Value::TimestampTz(text),
        ) => matches!(target.ty, ColumnType::TimestampTz { .. }) && calendar.takes(text),
        (_, _) => false,
    }
}

fn carry(value: Value, rule: Rule<'_>, source: &ColumnType, target: &Column) -> Fit {
    if let Rule::No(why) = rule {
        return Err(why);
    }
    if value.is_null() {
        return if target.nullable {
            Ok(value)
        } else {
            Err(super::NULL_IN_NOT_NULL)
        };
    }
    let value = match (value, source) {
        (Value::Opaque(_), ColumnType::Json { .. }) if rule == Rule::Json(json::MYSQL) => {
            return Err(super::SQL_IN_JSON);
        }
        (Value::Opaque(text), ColumnType::Json { .. }) => Value::Json(text),
        (value, _) => value,
    };
    if !has_form(&value, source) {
        return Err(NOT_ITS_TYPE);
    }
    match rule {
        Rule::Move => Ok(value),
        Rule::Int(_)
        | Rule::BoolToInt(_)
        | Rule::IntToBool
        | Rule::BoolToBit
        | Rule::BitToBool
        | Rule::IntToDecimal(_)
        | Rule::DecimalToInt(_)
        | Rule::Decimal(_)
        | Rule::IntToYear
        | Rule::YearToInt(_)
        | Rule::Float(_)
        | Rule::Widen(_)
        | Rule::Narrow(_) => number(value, rule),
        Rule::BytesAtMost(_)
        | Rule::BytesExactly(_)
        | Rule::BitsAtMost(_)
        | Rule::BitsExactly(_)
        | Rule::UuidToBytes
        | Rule::BytesToUuid => binary(value, rule),
        Rule::Moment { .. }
        | Rule::Time { .. }
        | Rule::TimeToInterval(_)
        | Rule::IntervalToTime { .. }
        | Rule::Interval(_) => time(value, rule, &target.ty),
        Rule::OpaqueToText(_)
        | Rule::TextToOpaque(_)
        | Rule::InetToMariadb(_)
        | Rule::BitsToText(_)
        | Rule::TextToBits { .. } => only_text(value, rule),
        Rule::Text(_)
        | Rule::UuidToText(_)
        | Rule::TextToUuid
        | Rule::Json(_)
        | Rule::JsonToText(_)
        | Rule::TextToJson(_)
        | Rule::Label(_)
        | Rule::LabelToText(_)
        | Rule::Set(_)
        | Rule::TextToSet(_)
        | Rule::SetToText(_)
        | Rule::IntervalToText(_)
        | Rule::TextToInterval(_) => textual(value, rule),
        Rule::No(why) => Err(why),
    }
}

/// Is the value of the variant that its column type has? A log read against a column altered meanwhile is not.
fn has_form(value: &Value, ty: &ColumnType) -> bool {
    match ty {
        ColumnType::Bool => matches!(value, Value::Bool(_)),
        ColumnType::Int { .. } | ColumnType::Year => matches!(value, Value::Int(_) | Value::UInt(_)),
        ColumnType::Float => matches!(value, Value::Float(_)),
        ColumnType::Double => matches!(value, Value::Double(_)),
        ColumnType::Decimal { .. } => matches!(value, Value::Decimal(_)),
        ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } => {
            matches!(value, Value::Text(_))
        }
        ColumnType::Bytes { .. } => matches!(value, Value::Bytes(_)),
        ColumnType::Bit { .. } => matches!(value, Value::Bit(_)),
        ColumnType::Date => matches!(value, Value::Date(_)),
        ColumnType::Time { .. } => matches!(value, Value::Time(_)),
        ColumnType::Timestamp { .. } => matches!(value, Value::Timestamp(_)),
        ColumnType::TimestampTz { .. } => matches!(value, Value::TimestampTz(_)),
        ColumnType::Uuid => matches!(value, Value::Uuid(_)),
        ColumnType::Json { .. } => matches!(value, Value::Json(_)),
        ColumnType::Interval => matches!(value, Value::Interval(_)),
        ColumnType::Opaque { .. } => matches!(value, Value::Opaque(_)),
    }
}

fn number(value: Value, rule: Rule<'_>) -> Fit {
    match (rule, value) {
        (Rule::Int(range) | Rule::YearToInt(range), value) => integer(whole(&value)?, range),
        (Rule::BoolToInt(range), Value::Bool(b)) => integer(i128::from(b), range),
        (Rule::IntToBool, value) => match whole(&value)? {
            0 => Ok(Value::Bool(false)),
            1 => Ok(Value::Bool(true)),
            _ => Err("only 0 and 1 are boolean"),
        },
        (Rule::BoolToBit, Value::Bool(b)) => Ok(Value::Bit(ByteString::from_static(if b { "1" } else { "0" }))),
        (Rule::BitToBool, Value::Bit(bit)) => Ok(Value::Bool(&*bit == "1")),
        (Rule::IntToDecimal(limits), value) => {
            let text = whole(&value)?.to_string();
            limits.fit(text.into()).map(Value::Decimal).ok_or("the value has more digits than the target takes")
        }
        (Rule::DecimalToInt(range), Value::Decimal(text)) => {
            integer(decimal::integer(&text).ok_or("the value is not a whole number in the target's range")?, range)
        }
        (Rule::Decimal(limits), Value::Decimal(text)) => limits.fit(text).map(Value::Decimal).ok_or(
            "the value does not fit the target's digits, or is negative, NaN or Infinity where the target takes none",
        ),
        (Rule::IntToYear, value) => match whole(&value)? {
            year if year == 0 || YEARS.contains(&year) => integer(year, Range::of(16, false)),
            _ => Err("a year is 0 or 1901 to 2155"),
        },
        (Rule::Float(reals), Value::Float(f)) => real(f64::from(f), reals).map(|_| Value::Float(f)),
        (Rule::Float(reals), Value::Double(d)) => real(d, reals).map(Value::Double),
        (Rule::Widen(reals), Value::Float(f)) => real(f64::from(f), reals).map(Value::Double),
        (Rule::Narrow(reals), Value::Double(d)) => narrow(real(d, reals)?).map(Value::Float),
        (_, _) => Err(NOT_ITS_TYPE),
    }
}

fn whole(value: &Value) -> Fit<i128> {
    if let Value::UInt(number) = value {
        return Ok(i128::from(*number));
    }
    let Value::Int(number) = value else {
        return Err(NOT_ITS_TYPE);
    };
    Ok(i128::from(*number))
}

fn integer(number: i128, range: Range) -> Fit {
    if number < range.min || number > range.max {
        return Err(RANGE);
    }
    if range.unsigned {
        return u64::try_from(number).map(Value::UInt).map_err(|_| RANGE);
    }
    i64::try_from(number).map(Value::Int).map_err(|_| RANGE)
}

fn real(double: f64, reals: Reals) -> Fit<f64> {
    if reals.finite && !double.is_finite() {
        return Err("MySQL and MariaDB have no NaN or Infinity");
    }
    if reals.no_minus_zero && double == 0.0 && double.is_sign_negative() {
        return Err("MariaDB stores minus zero as zero");
    }
    Ok(double)
}

/// Exact means the same bits after widening again; a NaN has no bits worth keeping.
fn narrow(double: f64) -> Fit<f32> {
    #[allow(clippy::cast_possible_truncation)]
    let float = double as f32;
    if double.is_nan() {
        return Ok(f32::NAN);
    }
    if f64::from(float).to_bits() != double.to_bits() {
        return Err("the value has more digits than single precision holds");
    }
    Ok(float)
}

fn binary(value: Value, rule: Rule<'_>) -> Fit {
    match (rule, value) {
        (Rule::BytesAtMost(limit), Value::Bytes(bytes)) if bytes.len() as u64 <= limit => {
            Ok(Value::Bytes(bytes))
        }
        (Rule::BytesAtMost(_), Value::Bytes(_)) => Err("the value has more bytes than the target takes"),
        (Rule::BytesExactly(len), Value::Bytes(bytes)) if bytes.len() as u64 == len => {
            Ok(Value::Bytes(bytes))
        }
        (Rule::BytesExactly(_), Value::Bytes(_)) => Err("the value does not have the target's fixed length"),
        (Rule::BitsAtMost(limit), Value::Bit(bits)) if bits.len() as u64 <= u64::from(limit) => {
            Ok(Value::Bit(bits))
        }
        (Rule::BitsAtMost(_), Value::Bit(_)) => Err("the value has more bits than the target takes"),
        (Rule::BitsExactly(len), Value::Bit(bits)) if bits.len() as u64 == u64::from(len) => {
            Ok(Value::Bit(bits))
        }
        (Rule::BitsExactly(_), Value::Bit(_)) => Err("the value does not have the target's number of bits"),
        (Rule::UuidToBytes, Value::Uuid(uuid)) => Ok(Value::Bytes(Bytes::copy_from_slice(&uuid))),
        (Rule::BytesToUuid, Value::Bytes(bytes)) => <[u8; 16]>::try_from(&*bytes)
            .map(Value::Uuid)
            .map_err(|_| "a uuid has 16 bytes"),
        (_, _) => Err(NOT_ITS_TYPE),
    }
}

fn time(value: Value, rule: Rule<'_>, target: &ColumnType) -> Fit {
    match (rule, value) {
        (
            Rule::Moment { calendar, fraction },
            Value::Date(text) | Value::Timestamp(text) | Value::TimestampTz(text),
        ) => {
            if !calendar.takes(&text) {
                return Err(calendar.words().unwrap_or(RANGE));
            }
            let text = shorter(text, fraction)?;
            if let ColumnType::Date = target {
                return Ok(Value::Date(text));
            }
            let moment = matches!(target, ColumnType::TimestampTz { .. });
            Ok(if moment {
                Value::TimestampTz(text)
            } else {
                Value::Timestamp(text)
            })
        }
        (Rule::Time { span, fraction }, Value::Time(text)) => span_of_time(text, span, fraction),
        (Rule::TimeToInterval(smallest), Value::Time(text)) => {
            let text = interval::from_time(&text).ok_or(NOT_ITS_TYPE)?;
            into_interval(text.into(), smallest)
        }
        (Rule::IntervalToTime { span, fraction }, Value::Interval(text)) => {
            let text =
                interval::to_time(&text).ok_or("a span of time has no months, no days and no infinity")?;
            span_of_time(text.into(), span, fraction)
        }
        (Rule::Interval(smallest), Value::Interval(text)) => into_interval(text, smallest),
        (_, _) => Err(NOT_ITS_TYPE),
    }
}

fn shorter(text: ByteString, fraction: Option<u8>) -> Fit<ByteString> {
    match fraction {
        Some(limit) => calendar::fit_fraction(text, limit).ok_or(FRACTION),
        None => Ok(text),
    }
}

fn span_of_time(text: ByteString, span: Span, fraction: Option<u8>) -> Fit {
    match span {
        Span::TimeOfDay if !calendar::is_time_of_day(&text) => {
            return Err("a time of day is 00:00:00 to 24:00:00");
        }
        Span::Hours838 { sharp } if !calendar::is_within_838_hours(&text, sharp) => {
            return Err("the target takes -838:59:59 to 838:59:59");
        }
        Span::Any | Span::TimeOfDay | Span::Hours838 { .. } => {}
    }
    shorter(text, fraction).map(Value::Time)
}

fn into_interval(text: ByteString, smallest: interval::Smallest) -> Fit {
    if !smallest.takes(&text) {
        return Err("the target drops the smaller units of the value");
    }
    Ok(Value::Interval(text))
}

fn textual(value: Value, rule: Rule<'_>) -> Fit {
    match (rule, value) {
        (Rule::Text(limits) | Rule::LabelToText(limits) | Rule::SetToText(limits), Value::Text(text))
        | (Rule::JsonToText(limits), Value::Json(text))
        | (Rule::IntervalToText(limits), Value::Interval(text)) => {
            limits.check(&text).map(|()| Value::Text(text))
        }
        (Rule::UuidToText(_), Value::Uuid(uuid)) => Ok(Value::Text(text::from_uuid(&uuid).into())),
        (Rule::TextToUuid, Value::Text(text)) => text::to_uuid(&text)
            .map(Value::Uuid)
            .ok_or("the value is not a uuid in lower case with hyphens"),
        (Rule::Json(limits), Value::Json(text)) | (Rule::TextToJson(limits), Value::Text(text)) => {
            json::check(&text, limits).map(|()| Value::Json(text))
        }
        (Rule::Label(labels), Value::Text(text)) => {
            if labels.iter().any(|label| **label == *text) {
                return Ok(Value::Text(text));
            }
            Err("the target has no such label")
        }
        (Rule::Set(labels), Value::Text(text)) => text::sorted_set(text, labels)
            .map(Value::Text)
            .ok_or("the target lacks a label of the value"),
        (Rule::TextToSet(labels), Value::Text(text)) => match text::sorted_set(text.clone(), labels) {
            Some(sorted) if sorted == text => Ok(Value::Text(text)),
            Some(_) | None => Err("the value is not a list of the target's labels in their order"),
        },
        (Rule::TextToInterval(smallest), Value::Text(text)) => {
            if !interval::is_canonical(&text) {
                return Err("the value is not an interval as PostgreSQL prints it (ISO 8601)");
            }
            into_interval(text, smallest)
        }
        (_, _) => Err(NOT_ITS_TYPE),
    }
}

/// Types that the other engine knows as text only.
fn only_text(value: Value, rule: Rule<'_>) -> Fit {
    match (rule, value) {
        (Rule::OpaqueToText(limits), Value::Opaque(text)) | (Rule::BitsToText(limits), Value::Bit(text)) => {
            limits.check(&text).map(|()| Value::Text(text))
        }
        (Rule::TextToOpaque(literal), Value::Text(text)) if literal.is_printed(&text) => {
            Ok(Value::Opaque(text))
        }
        (Rule::TextToOpaque(_), Value::Text(_)) => {
            Err("the value is not a text that the target's type would print as it is")
        }
        (Rule::InetToMariadb(family), Value::Opaque(text)) if address::is_of_mariadb(&text, family) => {
            Ok(Value::Opaque(text))
        }
        (Rule::InetToMariadb(_), Value::Opaque(_)) => {
            Err("the address has a mask, or is of the other family")
        }
        (Rule::TextToBits { len, varying }, Value::Text(text)) => {
            let fits = len.is_none_or(|len| match varying {
                true => text.len() as u64 <= u64::from(len),
                false => text.len() as u64 == u64::from(len),
            });
            match fits && text.bytes().all(|digit| matches!(digit, b'0' | b'1')) {
                true => Ok(Value::Bit(text)),
                false => Err("the value is not a string of 0 and 1 of the target's length"),
            }
        }
        (_, _) => Err(NOT_ITS_TYPE),
    }
}
