//! PostgreSQL's intervals in their ISO 8601 form, and the spans of MySQL's TIME as such intervals.
//!
//! Owns: reading and writing that form exactly as PostgreSQL prints it, so that text that comes back as an interval
//! is printed as the same text again.
//! Refuses: months and days as spans (their length is not fixed), and forms PostgreSQL would print otherwise.

use std::fmt::Write;

/// Months and years share a sign, hours to microseconds share one: PostgreSQL stores three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Interval {
    months: i64,
    days: i64,
    micros: i64,
}

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;

/// Where a column such as `interval hour to minute` stops: the server drops whatever is smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Smallest {
    /// With so many digits of its fraction.
    Second(u8),
    Minute,
    Hour,
    Day,
    Month,
    Year,
}

impl Smallest {
    /// From the type as DDL writes it, e.g. `interval day to second(3)`.
    pub(super) fn of(sql_type: &str) -> Smallest {
        let (fields, fraction) = match sql_type.split_once('(') {
            Some((fields, rest)) => (fields, rest.trim_end_matches(')').trim().parse().unwrap_or(0)),
            None => (sql_type, 6),
        };
        match fields.trim().rsplit(' ').next() {
            Some("minute") => Smallest::Minute,
            Some("hour") => Smallest::Hour,
            Some("day") => Smallest::Day,
            Some("month") => Smallest::Month,
            Some("year") => Smallest::Year,
            Some(_) | None => Smallest::Second(fraction),
        }
    }

    pub(super) fn takes(self, text: &str) -> bool {
        if self == Smallest::Second(6) || is_infinite(text) {
            return true;
        }
        let Some(interval) = parse(text) else { return false };
        match self {
            Smallest::Second(digits) => interval.micros % 10i64.pow(6 - u32::from(digits.min(6))) == 0,
            Smallest::Minute => interval.micros % MINUTE == 0,
            Smallest::Hour => interval.micros % HOUR == 0,
            Smallest::Day => interval.micros == 0,
            Smallest::Month => interval.micros == 0 && interval.days == 0,
            Smallest::Year => interval.micros == 0 && interval.days == 0 && interval.months % 12 == 0,
        }
    }
}

fn is_infinite(text: &str) -> bool {
    matches!(text, "infinity" | "-infinity")
}

/// Would PostgreSQL print this text for the interval it stands for?
pub(super) fn is_canonical(text: &str) -> bool {
    is_infinite(text) || parse(text).is_some_and(|interval| print(interval) == text)
}

/// A span of TIME as an interval's text.
pub(super) fn from_time(text: &str) -> Option<String> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut fields = rest.splitn(3, ':');
    let hours: i64 = fields.next()?.parse().ok()?;
    let minutes: i64 = fields.next()?.parse().ok()?;
    let seconds = micros(fields.next()?)?;
    let total = hours
        .checked_mul(HOUR)?
        .checked_add(minutes * MINUTE)?
        .checked_add(seconds)?;
    Some(print(Interval {
        micros: sign * total,
        ..Interval::default()
    }))
}

/// An interval's text as a span of TIME; `None` with months, days or infinity.
pub(super) fn to_time(text: &str) -> Option<String> {
    let interval = parse(text)?;
    if interval.months != 0 || interval.days != 0 {
        return None;
    }
    let total = interval.micros.checked_abs()?;
    let sign = if interval.micros < 0 { "-" } else { "" };
    let mut out = format!(
        "{sign}{:02}:{:02}:{:02}",
        total / HOUR,
        total / MINUTE % 60,
        total / 1_000_000 % 60
    );
    push_fraction(&mut out, total % 1_000_000);
    Some(out)
}

fn push_fraction(out: &mut String, micros: i64) {
    if micros != 0 {
        let digits = format!("{micros:06}");
        out.push('.');
        out.push_str(digits.trim_end_matches('0'));
    }
}

/// `SS[.ffffff]` in microseconds.
fn micros(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 6 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction = if fraction.is_empty() {
        0
    } else {
        format!("{fraction:0<6}").parse().ok()?
    };
    let seconds: i64 = seconds.parse().ok()?;
    seconds.checked_mul(1_000_000)?.checked_add(fraction)
}

fn parse(text: &str) -> Option<Interval> {
    let rest = text.strip_prefix('P')?;
    let (date, time) = rest.split_once('T').unwrap_or((rest, ""));
    let mut interval = Interval::default();
    for (number, unit) in fields(date)? {
        let number: i64 = number.parse().ok()?;
        match unit {
            b'Y' => interval.months = interval.months.checked_add(number.checked_mul(12)?)?,
            b'M' => interval.months = interval.months.checked_add(number)?,
            b'D' => interval.days = interval.days.checked_add(number)?,
            _ => return None,
        }
    }
    for (number, unit) in fields(time)? {
        let unsigned = number.strip_prefix('-');
        let sign = if unsigned.is_some() { -1 } else { 1 };
        let number = unsigned.unwrap_or(number);
        let amount = match unit {
            b'H' => number.parse::<i64>().ok()?.checked_mul(HOUR)?,
            b'M' => number.parse::<i64>().ok()?.checked_mul(MINUTE)?,
            b'S' => micros(number)?,
            _ => return None,
        };
        interval.micros = interval.micros.checked_add(sign * amount)?;
    }
    let stored = i32::try_from(interval.months).is_ok() && i32::try_from(interval.days).is_ok();
    stored.then_some(interval)
}

/// `12H-3M` as `("12", 'H'), ("-3", 'M')`.
fn fields(text: &str) -> Option<Vec<(&str, u8)>> {
    let mut fields = Vec::new();
    let mut start = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'0'..=b'9' | b'-' | b'.' => {}
            _ => {
                fields.push((text.get(start..at)?, byte));
                start = at + 1;
            }
        }
    }
    (start == text.len()).then_some(fields)
}

fn print(interval: Interval) -> String {
    if interval == Interval::default() {
        return "PT0S".to_owned();
    }
    let mut out = String::from("P");
    let mut field = |number: i64, unit: char| {
        if number != 0 {
            // Writing to a String cannot fail.
            let _ = write!(out, "{number}{unit}");
        }
    };
    field(interval.months / 12, 'Y');
    field(interval.months % 12, 'M');
    field(interval.days, 'D');
    if interval.micros != 0 {
        out.push('T');
        let mut field = |number: i64, unit: char| {
            if number != 0 {
                let _ = write!(out, "{number}{unit}");
            }
        };
        field(interval.micros / HOUR, 'H');
        field(interval.micros / MINUTE % 60, 'M');
        let rest = interval.micros % MINUTE;
        if rest != 0 {
            if rest < 0 {
                out.push('-');
            }
            let _ = write!(out, "{}", rest.abs() / 1_000_000);
            push_fraction(&mut out, rest.abs() % 1_000_000);
            out.push('S');
        }
    }
    out
}
