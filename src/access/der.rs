//! As much of DER as is needed to look into a certificate: its signature algorithm and its dates.
//!
//! Refuses: anything that is not definite-length DER of single-byte tags; answers with `None`.

const SEQUENCE: u8 = 0x30;
const OBJECT: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]` in front of the serial number: the version.
const VERSION: u8 = 0xa0;
const INTEGER: u8 = 0x02;

/// The OID in `Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm SEQUENCE { OID, .. }, .. }`.
pub(crate) fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (body, _) = element(certificate, SEQUENCE)?;
    let (_, after) = element(body, SEQUENCE)?;
    let (algorithm, _) = element(after, SEQUENCE)?;
    Some(element(algorithm, OBJECT)?.0)
}

/// First and last second in which the certificate is good, in Unix time.
pub(super) fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    let (body, _) = element(certificate, SEQUENCE)?;
    let (body, _) = element(body, SEQUENCE)?;
    let body = element(body, VERSION).map_or(body, |(_, after)| after);
    let (_, body) = element(body, INTEGER)?;
    // Signature algorithm, issuer.
    let (_, body) = element(body, SEQUENCE)?;
    let (_, body) = element(body, SEQUENCE)?;
    let (dates, _) = element(body, SEQUENCE)?;
    let (first, rest) = time(dates)?;
    Some((first, time(rest)?.0))
}

/// `[YY]YYMMDDHHMMSSZ`; two digits of a year stand for 1950 to 2049.
fn time(input: &[u8]) -> Option<(i64, &[u8])> {
    let (text, rest, digits) = match element(input, UTC_TIME) {
        Some((text, rest)) => (text, rest, 2),
        None => {
            let (text, rest) = element(input, GENERALIZED_TIME)?;
            (text, rest, 4)
        }
    };
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, others) = text.split_at_checked(digits)?;
    let year: i16 = year.parse().ok()?;
    let year = match digits {
        2 if year < 50 => year + 2000,
        2 => year + 1900,
        _ => year,
    };
    let part = |index: usize| -> Option<i8> { others.get(index * 2..index * 2 + 2)?.parse().ok() };
    let at = jiff::civil::DateTime::new(year, part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, 0).ok()?;
    let at = at.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some((at.timestamp().as_second(), rest))
}

/// Contents of the DER element with this tag at the front, and what follows it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = input.split_first()?;
    let (short, rest) = rest.split_first()?;
    if *found != tag {
        return None;
    }
    let (length, rest) = match *short {
        length @ 0..=0x7f => (usize::from(length), rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let length = digits
                .iter()
                .fold(0_usize, |sum, digit| sum << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_forms_of_a_time_are_read() {
        let utc = b"\x17\x0d260102030405Zrest";
        let general = b"\x18\x0f20260102030405Z";
        let expected = "2026-01-02T03:04:05Z"
            .parse::<jiff::Timestamp>()
            .unwrap()
            .as_second();
        assert_eq!(time(utc), Some((expected, &b"rest"[..])));
        assert_eq!(time(general), Some((expected, &b""[..])));
        for wrong in [
            &b"\x17\x0d261302030405Z"[..],
            b"\x17\x0d26010203040Z",
            b"\x17\x0d26",
        ] {
            assert_eq!(time(wrong), None);
        }
    }

    #[test]
    fn cut_certificates_are_no_panic() {
        let certificate = [0x30, 0x82, 0xff, 0xff, 0x30, 0x84, 1, 2, 3];
        for length in 0..certificate.len() {
            assert_eq!(signature_algorithm(&certificate[..length]), None);
            assert_eq!(validity(&certificate[..length]), None);
        }
    }
}
