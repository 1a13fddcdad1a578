//! Days and times as expressions compare them, read from the canonical texts and written again.
//!
//! Owns: the order of days (MySQL's zero parts, years before Christ and infinity included), of times and of moments, and
//! their parts. Refuses: calendars as such: what a server holds is taken as it is. Pure; nothing is allocated to read.

use super::Part;
use std::fmt::{self, Display, Formatter};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
pub const DAY_MICROS: i64 = 24 * HOUR;
const BEFORE_CHRIST: &str = " BC";

/// The order of the variants is the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Day {
    MinusInfinity,
    /// Year, month, day. Before year 1 comes -1 (1 BC); 0 is MySQL's year without a number.
    On(i64, u8, u8),
    Infinity,
}

impl Day {
    /// Is it a day of the calendar that both engines have, in years of four digits?
    pub fn is_common(self) -> bool {
        let Day::On(year @ 1..=9999, month @ 1..=12, day @ 1..) = self else {
            return false;
        };
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        day <= days
    }

    pub fn is_infinite(self) -> bool {
        !matches!(self, Day::On(..))
    }

    /// `None`: an infinite day has no parts.
    pub(super) fn part(self, part: Part) -> Option<i64> {
        let Day::On(year, month, day) = self else {
            return None;
        };
        match part {
            Part::Year => Some(year),
            Part::Quarter => Some((i64::from(month) + 2) / 3),
            Part::Month => Some(i64::from(month)),
            Part::Day => Some(i64::from(day)),
            Part::Hour | Part::Minute => None,
        }
    }

    fn digits(self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Day::Infinity => f.write_str("infinity"),
            Day::MinusInfinity => f.write_str("-infinity"),
            Day::On(year, month, day) => write!(f, "{:04}-{month:02}-{day:02}", year.abs()),
        }
    }

    fn era(self) -> &'static str {
        match self {
            Day::On(..=-1, ..) => BEFORE_CHRIST,
            _ => "",
        }
    }
}

impl Display for Day {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.digits(f)?;
        f.write_str(self.era())
    }
}

/// A moment as its canonical text.
pub struct Moment(pub Day, pub i64);

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.digits(f)?;
        if !self.0.is_infinite() {
            write!(f, " {}", Clock(self.1))?;
        }
        f.write_str(self.0.era())
    }
}

/// Microseconds as the canonical text of a time.
pub struct Clock(pub i64);

impl Display for Clock {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let micros = self.0.unsigned_abs();
        let (second, minute, hour) = (SECOND.unsigned_abs(), MINUTE.unsigned_abs(), HOUR.unsigned_abs());
        let sign = if self.0 < 0 { "-" } else { "" };
        let (hours, minutes, seconds) = (micros / hour, micros / minute % 60, micros / second % 60);
        write!(f, "{sign}{hours:02}:{minutes:02}:{seconds:02}")?;
        match micros % second {
            0 => Ok(()),
            mut fraction => {
                let mut width = 6;
                while fraction % 10 == 0 {
                    fraction /= 10;
                    width -= 1;
                }
                write!(f, ".{fraction:0width$}")
            }
        }
    }
}

/// Of a time.
pub(super) fn hours(micros: i64) -> i64 {
    micros / HOUR
}

pub(super) fn minutes(micros: i64) -> i64 {
    micros / MINUTE % 60
}

/// `YYYY-MM-DD`, `infinity`, `-infinity`, ` BC`.
pub(super) fn date(text: &str) -> Option<Day> {
    match text.strip_suffix(BEFORE_CHRIST) {
        Some(text) => day(text, true),
        None => day(text, false),
    }
}

fn day(text: &str, before_christ: bool) -> Option<Day> {
    match text {
        "infinity" => return Some(Day::Infinity),
        "-infinity" => return Some(Day::MinusInfinity),
        _ => {}
    }
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let two = |part: &str, max: u8| -> Option<u8> {
        let is_good = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        part.parse().ok().filter(|number| is_good && *number <= max)
    };
    if parts.next().is_some() || year.len() < 4 || !year.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let year: i64 = year.parse().ok()?;
    let year = if before_christ { -year } else { year };
    Some(Day::On(year, two(month, 12)?, two(day, 31)?))
}

/// `[-]HH:MM:SS[.ffffff]`, hours may pass 24; in microseconds.
pub(super) fn time(text: &str) -> Option<i64> {
    let (is_negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (clock, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let mut parts = clock.split(':');
    let mut part = || -> Option<i64> {
        let digits = parts.next()?;
        let is_good = (2..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse().ok().filter(|_| is_good)
    };
    let (hours, minutes, seconds) = (part()?, part()?, part()?);
    if parts.next().is_some() || minutes > 59 || seconds > 60 {
        return None;
    }
    let time = hours * HOUR + minutes * MINUTE + seconds * SECOND + micros(fraction)?;
    Some(if is_negative { -time } else { time })
}

/// Digits of a second's fraction.
fn micros(fraction: &str) -> Option<i64> {
    if fraction.len() > 6 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: i64 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    Some((fraction.len()..6).fold(digits, |micros, _| micros * 10))
}

/// A date, one blank or `T`, a time; the time may be left out.
pub(super) fn moment(text: &str) -> Option<(Day, i64)> {
    let (text, before_christ) = match text.strip_suffix(BEFORE_CHRIST) {
        Some(text) => (text, true),
        None => (text, false),
    };
    let Some((days, clock)) = text.split_once([' ', 'T']) else {
        return day(text, before_christ).map(|day| (day, 0));
    };
    Some((day(days, before_christ)?, time(clock).filter(|time| *time >= 0)?))
}
