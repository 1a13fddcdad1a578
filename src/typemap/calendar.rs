//! Dates and times as canonical text: which of them a column takes, and fractions of a second.
//!
//! Owns: the calendars of the engines. PostgreSQL knows infinity, years before Christ and beyond 9999, and only days
//! that exist; MySQL and MariaDB know four-digit years, zero parts and days that do not exist.
//! Refuses: rounding. A fraction with more digits than the column keeps is refused unless they are zeros.

use bytestring::ByteString;

/// Which dates (alone or with a time behind them) a target takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calendar {
    /// Both ends have the same calendar.
    Any,
    /// PostgreSQL to MySQL: four-digit years of our era.
    FourDigitYears,
    /// MySQL to PostgreSQL: days that exist, no zero parts.
    RealDays,
    /// PostgreSQL to MySQL's TIMESTAMP.
    Epoch,
    /// MariaDB's TIMESTAMP (to 2106 since 11.5) to MySQL's.
    EpochOrZero,
}

const EPOCH_FIRST: &str = "1970-01-01 00:00:01";
/// The last second, so that any fraction of it still compares below.
const EPOCH_LAST: &str = "2038-01-19 03:14:07";
const ZERO: &str = "0000-00-00 00:00:00";

impl Calendar {
    pub(super) fn takes(self, text: &str) -> bool {
        match self {
            Calendar::Any => true,
            Calendar::FourDigitYears => parts(text).is_some_and(|(year, _, _)| year >= 1),
            Calendar::RealDays => parts(text).is_some_and(|(year, month, day)| {
                year >= 1 && (1..=12).contains(&month) && day >= 1 && day <= days(year, month)
            }),
            Calendar::Epoch => parts(text).is_some() && in_epoch(text),
            Calendar::EpochOrZero => parts(text).is_some() && (in_epoch(text) || text.starts_with(ZERO)),
        }
    }

    pub(super) fn words(self) -> Option<&'static str> {
        match self {
            Calendar::Any => None,
            Calendar::FourDigitYears => Some("years 0001 to 9999, no infinity"),
            Calendar::RealDays => Some("no zero date, no zero part, no day that does not exist"),
            Calendar::Epoch => Some("1970-01-01 00:00:01 to 2038-01-19 03:14:07 UTC, no infinity"),
            Calendar::EpochOrZero => Some("not after 2038-01-19 03:14:07 UTC"),
        }
    }
}

/// Year, month and day of `YYYY-MM-DD` with nothing or ` HH:MM:SS[.f]` behind it; infinity, five-digit years and
/// ` BC` do not have that form.
fn parts(text: &str) -> Option<(u32, u32, u32)> {
    let bytes = text.as_bytes();
    let behind = bytes.get(10);
    if bytes.len() < 10 || bytes[4] != b'-' || bytes[7] != b'-' || behind.is_some_and(|b| *b != b' ') {
        return None;
    }
    if text.ends_with('C') {
        return None;
    }
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0u32, |sum, b| {
            b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0'))
        })
    };
    Some((
        number(&bytes[..4])?,
        number(&bytes[5..7])?,
        number(&bytes[8..10])?,
    ))
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Canonical texts of four-digit years compare like the moments they name.
fn in_epoch(text: &str) -> bool {
    text >= EPOCH_FIRST
        && text
            .get(..EPOCH_LAST.len())
            .is_some_and(|second| second <= EPOCH_LAST)
}

/// The text without the digits of a second behind the first `limit`.
pub(super) fn cut_fraction(text: ByteString, limit: u8) -> ByteString {
    let Some(point) = text.find('.') else { return text };
    let digits = text[point + 1..].bytes().take_while(u8::is_ascii_digit).count();
    let (kept, end) = (point + 1 + digits.min(usize::from(limit)), point + 1 + digits);
    if kept == end {
        return text;
    }
    let kept = text[..kept].trim_end_matches('0').trim_end_matches('.');
    format!("{kept}{}", &text[end..]).into()
}

/// The text with no more than `limit` digits of a second; `None` where that would drop one that counts.
pub(super) fn fit_fraction(text: ByteString, limit: u8) -> Option<ByteString> {
    let Some(point) = text.find('.') else {
        return Some(text);
    };
    let digits = text[point + 1..].bytes().take_while(u8::is_ascii_digit).count();
    let limit = usize::from(limit);
    if digits <= limit {
        return Some(text);
    }
    let (kept, end) = (point + 1 + limit, point + 1 + digits);
    if text[kept..end].bytes().any(|b| b != b'0') {
        return None;
    }
    let kept = text[..kept].trim_end_matches('0').trim_end_matches('.');
    Some(format!("{kept}{}", &text[end..]).into())
}

/// Whether a span of MySQL's TIME is also a time of day for PostgreSQL, which knows 24:00:00 but nothing above.
pub(super) fn is_time_of_day(text: &str) -> bool {
    let Some((hours, rest)) = text.split_once(':') else {
        return false;
    };
    match hours.parse::<u32>() {
        Ok(hours) if !text.starts_with(['-', '+']) => {
            hours < 24 || (hours == 24 && rest.bytes().all(|b| matches!(b, b'0' | b':' | b'.')))
        }
        Ok(_) | Err(_) => false,
    }
}

/// Whether MySQL's TIME, which ends at 838:59:59 sharp, takes a span; MariaDB's goes to 838:59:59.999999.
pub(super) fn is_within_838_hours(text: &str, sharp: bool) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let Some((hours, rest)) = text.split_once(':') else {
        return false;
    };
    match hours.parse::<u32>() {
        Ok(hours) if hours < 838 => true,
        Ok(838) => !sharp || !rest.starts_with("59:59.") || rest[6..].bytes().all(|b| b == b'0'),
        Ok(_) | Err(_) => false,
    }
}
