//! Decimals as digits: limits of a column, and the one change that is none (zeros at the end of the scale).
//!
//! Owns: fitting a decimal's text into precision and scale, exactly.
//! Refuses: dropping a digit that counts. No number type is used, because none is wide enough.

use bytestring::ByteString;

/// What a decimal column takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// `None`: any, and the scale of the value is kept.
    pub(super) precision: Option<u32>,
    pub(super) scale: i32,
    pub(super) unsigned: bool,
    pub(super) nan: bool,
    pub(super) infinity: bool,
}

impl Limits {
    /// Can a column with these limits be given every value of `other`?
    pub(super) fn hold(&self, other: &Limits) -> bool {
        let digits = match (other.precision, self.precision) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(from), Some(to)) => {
                let whole = |precision: u32, scale: i32| i64::from(precision) - i64::from(scale);
                other.scale <= self.scale && whole(from, other.scale) <= whole(to, self.scale)
            }
        };
        digits
            && (self.nan || !other.nan)
            && (self.infinity || !other.infinity)
            && (!self.unsigned || other.unsigned)
    }

    pub(super) fn words(&self) -> String {
        let mut words = match self.precision {
            Some(_) if self.scale < 0 => format!(
                "at most {} digits, the last {} of them zero",
                self.whole(),
                -self.scale
            ),
            Some(_) => format!(
                "at most {} digits before the point and {} after it",
                self.whole().max(0),
                self.scale
            ),
            None => "any number of digits".to_owned(),
        };
        if self.unsigned {
            words.push_str(", not negative");
        }
        match (self.nan, self.infinity) {
            (true, true) => {}
            (true, false) => words.push_str(", no Infinity"),
            (false, _) => words.push_str(", no NaN or Infinity"),
        }
        words
    }

    fn whole(&self) -> i64 {
        self.precision
            .map_or(i64::MAX, |p| i64::from(p) - i64::from(self.scale))
    }

    /// The same number, written with the scale of the column; `None` if it does not fit.
    pub(super) fn fit(&self, text: ByteString) -> Option<ByteString> {
        match &*text {
            "NaN" => return self.nan.then_some(text),
            "Infinity" => return self.infinity.then_some(text),
            "-Infinity" => return (self.infinity && !self.unsigned).then_some(text),
            _ => {}
        }
        let number = Digits::of(&text)?;
        if self.unsigned && number.negative && !number.is_zero() {
            return None;
        }
        if self.precision.is_none() {
            return Some(text);
        }
        if !number.is_zero() && (number.top() > self.whole() || number.bottom() < -i64::from(self.scale)) {
            return None;
        }
        let wanted = usize::try_from(self.scale.max(0)).ok()?;
        if number.fraction.len() == wanted {
            return Some(text);
        }
        let sign = if number.negative { "-" } else { "" };
        let kept = number.fraction.get(..wanted).unwrap_or(number.fraction);
        let point = if wanted > 0 { "." } else { "" };
        let zeros = "0".repeat(wanted.saturating_sub(kept.len()));
        Some(format!("{sign}{}{point}{kept}{zeros}", number.whole).into())
    }
}

/// The number rounded to so many digits after the point, halves away from zero as the servers do; NaN and infinities
/// stay.
pub(super) fn rounded(text: ByteString, scale: usize) -> ByteString {
    let Some(number) = Digits::of(&text).filter(|number| number.fraction.len() > scale) else {
        return text;
    };
    let (kept, lost) = number.fraction.split_at(scale);
    let mut digits: Vec<u8> = number.whole.bytes().chain(kept.bytes()).collect();
    if lost.as_bytes()[0] >= b'5' {
        let nines = digits.iter().rev().take_while(|digit| **digit == b'9').count();
        let at = digits.len() - nines;
        digits[at..].fill(b'0');
        match at {
            0 => digits.insert(0, b'1'),
            at => digits[at - 1] += 1,
        }
    }
    let is_zero = digits.iter().all(|digit| *digit == b'0');
    let sign = if number.negative && !is_zero { "-" } else { "" };
    let digits = String::from_utf8_lossy(&digits);
    let (whole, kept) = digits.split_at(digits.len() - scale);
    let point = if scale > 0 { "." } else { "" };
    format!("{sign}{whole}{point}{kept}").into()
}

/// `[-]whole[.fraction]`, cut at the point.
struct Digits<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

impl<'a> Digits<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        (!whole.is_empty() && digits(whole) && digits(fraction)).then_some(Digits {
            negative,
            whole,
            fraction,
        })
    }

    fn is_zero(&self) -> bool {
        self.whole.bytes().chain(self.fraction.bytes()).all(|b| b == b'0')
    }

    /// Place of the first digit that counts, as in 10^(top-1); 0 is the place just after the point.
    fn top(&self) -> i64 {
        let whole = self.whole.trim_start_matches('0').len();
        if whole > 0 {
            return i64::try_from(whole).unwrap_or(i64::MAX);
        }
        let zeros = self.fraction.len() - self.fraction.trim_start_matches('0').len();
        -i64::try_from(zeros).unwrap_or(i64::MAX)
    }

    /// Place of the last digit that counts, as in 10^bottom.
    fn bottom(&self) -> i64 {
        let fraction = self.fraction.trim_end_matches('0').len();
        if fraction > 0 {
            return -i64::try_from(fraction).unwrap_or(i64::MAX);
        }
        let zeros = self.whole.len() - self.whole.trim_end_matches('0').len();
        i64::try_from(zeros).unwrap_or(i64::MAX)
    }
}

/// The whole number a decimal stands for, if it is one and has a machine's size.
pub(super) fn integer(text: &str) -> Option<i128> {
    let number = Digits::of(text)?;
    if number.fraction.bytes().any(|b| b != b'0') {
        return None;
    }
    // Through the sign in one go: -(2^127) has no positive counterpart, but 2^64 is all that is asked for.
    let whole: i128 = number.whole.parse().ok()?;
    Some(if number.negative { -whole } else { whole })
}
