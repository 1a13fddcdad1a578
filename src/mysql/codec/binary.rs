//! The packed forms of decimals, dates and times, which row events and binary JSON share.

use super::{date_text, time_text, timestamp_text};
use crate::mysql::wire::Cursor;
use bytestring::ByteString;

/// Bytes that 0 to 9 decimal digits take.
const DIGIT_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// Digits in groups of nine, four bytes each, an odd group at each end; the highest bit is the sign, inverted,
/// and all bits of a negative number are inverted, so that the bytes sort.
pub(super) fn decimal(cursor: &mut Cursor<'_>, precision: u8, scale: u8) -> Option<String> {
    let (precision, scale) = (usize::from(precision), usize::from(scale));
    let whole = precision.checked_sub(scale)?;
    let mut digits = String::with_capacity(precision + 3);
    let first = *cursor.rest().first()?;
    let negative = first & 0x80 == 0;
    let mut is_first = true;
    let mut group = |cursor: &mut Cursor<'_>, len: usize| -> Option<String> {
        let mut bytes = [0_u8; 4];
        let width = DIGIT_BYTES[len];
        bytes[4 - width..].copy_from_slice(cursor.take(width)?);
        if negative {
            bytes[4 - width..].iter_mut().for_each(|byte| *byte = !*byte);
        }
        if is_first && width > 0 {
            bytes[4 - width] ^= 0x80;
            is_first = false;
        }
        let number = u32::from_be_bytes(bytes);
        Some(if len == 0 {
            String::new()
        } else {
            format!("{number:0len$}")
        })
    };
    digits.push_str(&group(cursor, whole % 9)?);
    for _ in 0..whole / 9 {
        digits.push_str(&group(cursor, 9)?);
    }
    let mut fraction = String::with_capacity(scale);
    for _ in 0..scale / 9 {
        fraction.push_str(&group(cursor, 9)?);
    }
    fraction.push_str(&group(cursor, scale % 9)?);
    let significant = digits.trim_start_matches('0');
    let is_zero = significant.is_empty() && fraction.bytes().all(|byte| byte == b'0');
    let mut text = String::with_capacity(digits.len() + fraction.len() + 2);
    if negative && !is_zero {
        text.push('-');
    }
    text.push_str(if significant.is_empty() { "0" } else { significant });
    if scale > 0 {
        text.push('.');
        text.push_str(&fraction);
    }
    Some(text)
}

/// `[year, month, day, hour, minute, second]` of the packed form: 17 bits of time below 5 of the day and, above,
/// year times 13 plus month.
pub(super) fn packed_moment(packed: u64) -> [u32; 6] {
    let (day, time) = (packed >> 17, packed & 0x1_ffff);
    let months = day >> 5;
    // The packed form has at most 40 bits; what is above cannot come from a server.
    [
        u32::try_from(months / 13).unwrap_or(u32::MAX),
        (months % 13) as u32,
        (day & 31) as u32,
        (time >> 12) as u32,
        (time >> 6 & 63) as u32,
        (time & 63) as u32,
    ]
}

/// `(hours, minutes, seconds)`.
pub(super) fn packed_time(packed: u64) -> (u32, u8, u8) {
    (
        (packed >> 12 & 0x3ff) as u32,
        (packed >> 6 & 63) as u8,
        (packed & 63) as u8,
    )
}

fn fraction_bytes(digits: u8) -> Option<usize> {
    (digits <= 6).then_some(usize::from(digits).div_ceil(2))
}

/// The fraction's bytes count in 1/100, 1/10 000 or 1/1 000 000 of a second.
fn micros(fraction: u64, bytes: usize) -> u32 {
    let unit = match bytes {
        1 => 10_000,
        2 => 100,
        _ => 1,
    };
    u32::try_from(fraction).unwrap_or(0).saturating_mul(unit)
}

pub(super) fn date(cursor: &mut Cursor<'_>) -> Option<ByteString> {
    let packed = cursor.little(3)?;
    Some(date_text(
        (packed >> 9) as u32,
        (packed >> 5 & 15) as u8,
        (packed & 31) as u8,
    ))
}

/// TIME: whole and fraction are one number, biased so that it sorts.
pub(super) fn time(cursor: &mut Cursor<'_>, digits: u8) -> Option<ByteString> {
    let len = fraction_bytes(digits)?;
    let bias = 1_i64 << (23 + 8 * len);
    let biased = i64::try_from(cursor.big(3 + len)?).ok()? - bias;
    let magnitude = biased.unsigned_abs();
    let (hours, minutes, seconds) = packed_time(magnitude >> (8 * len));
    let micros = micros(magnitude & ((1 << (8 * len)) - 1), len);
    Some(time_text(biased < 0, hours, minutes, seconds, micros))
}

pub(super) fn datetime(cursor: &mut Cursor<'_>, digits: u8) -> Option<ByteString> {
    let packed = cursor.big(5)?.checked_sub(0x80_0000_0000)?;
    let len = fraction_bytes(digits)?;
    let micros = micros(cursor.big(len)?, len);
    Some(timestamp_text(packed_moment(packed), micros))
}

/// Seconds since 1970 UTC; zero is the zero date.
pub(super) fn timestamp(cursor: &mut Cursor<'_>, digits: u8) -> Option<ByteString> {
    let seconds = u32::try_from(cursor.big(4)?).ok()?;
    let len = fraction_bytes(digits)?;
    let micros = micros(cursor.big(len)?, len);
    if seconds == 0 && micros == 0 {
        return Some(timestamp_text([0; 6], 0));
    }
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    Some(timestamp_text(
        [year, month, day, time / 3600, time / 60 % 60, time % 60],
        micros,
    ))
}

/// The Gregorian date of a day since 1970, counted in years that begin in March, so that the leap day is last.
fn civil(days: u32) -> (u32, u32, u32) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (era * 400 + year_of_era + u32::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        let read = |bytes: &[u8], precision, scale| decimal(&mut Cursor::new(bytes), precision, scale);
        // The manual's example, and its negative.
        let bytes = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        assert_eq!(read(&bytes, 14, 4).unwrap(), "1234567890.1234");
        assert_eq!(read(&bytes.map(|byte| !byte), 14, 4).unwrap(), "-1234567890.1234");
        assert_eq!(read(&[0x80], 2, 2).unwrap(), "0.00");
        assert_eq!(read(&[0x7f], 2, 2).unwrap(), "0.00");
        assert_eq!(read(&[0x80], 14, 4), None);
        assert_eq!(read(&[], 5, 0), None);
    }

    #[test]
    fn times_below_zero_keep_their_fraction() {
        let read = |number: i64, len: usize, digits: u8| {
            let biased = number + (1_i64 << (8 * len - 1));
            time(&mut Cursor::new(&biased.to_be_bytes()[8 - len..]), digits)
                .unwrap()
                .to_string()
        };
        let packed = |h: i64, m: i64, s: i64| h << 12 | m << 6 | s;
        assert_eq!(read(-packed(838, 59, 59), 3, 0), "-838:59:59");
        assert_eq!(read(-(packed(0, 46, 13) << 8 | 60), 4, 1), "-00:46:13.6");
        assert_eq!(read(packed(1, 2, 3) << 24 | 40, 6, 6), "01:02:03.00004");
    }

    #[test]
    fn moments() {
        let read = |seconds: u32| {
            timestamp(&mut Cursor::new(&seconds.to_be_bytes()), 0)
                .unwrap()
                .to_string()
        };
        assert_eq!(read(0), "0000-00-00 00:00:00");
        assert_eq!(read(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(read(u32::MAX), "2106-02-07 06:28:15");
        assert_eq!(read(1), "1970-01-01 00:00:01");
    }

    #[test]
    fn short_bytes_and_wild_widths_are_none() {
        for len in 0..8 {
            let bytes = vec![0xff; len];
            for digits in 0..=255 {
                let _ = time(&mut Cursor::new(&bytes), digits);
                let _ = datetime(&mut Cursor::new(&bytes), digits);
                let _ = timestamp(&mut Cursor::new(&bytes), digits);
                let _ = decimal(&mut Cursor::new(&bytes), digits, 3);
            }
        }
    }
}
