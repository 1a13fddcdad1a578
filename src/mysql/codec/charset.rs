//! Text of the log to UTF-8: of row events, which comes in its column's charset, and of statements, which come in their
//! client's.
//!
//! Owns: the charsets every server has and that need no table: UTF-8, Latin-1, ASCII, UCS-2, UTF-16, UTF-32.
//! Refuses: all others (national 8-bit and double-byte sets); the source says how to convert the column.
//! Prepared statements need none of this: the server converts there.

use bytestring::ByteString;
use std::borrow::Cow;

/// Is this character set, by its name, read from the log?
pub fn is_read(charset: &str) -> bool {
    matches!(
        charset,
        "binary"
            | "ascii"
            | "latin1"
            | "utf8"
            | "utf8mb3"
            | "utf8mb4"
            | "ucs2"
            | "utf16"
            | "utf16le"
            | "utf32"
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    Binary,
    Ascii,
    /// MySQL's latin1 is Windows-1252 with the five gaps filled by control characters.
    Latin1,
    /// At most three bytes for a character.
    Utf8Mb3,
    Utf8Mb4,
    Ucs2,
    Utf16,
    Utf16Le,
    Utf32,
    /// Not read: refused with its column (`cell`).
    Other,
}

impl Charset {
    /// By collation number. Numbers never change meaning; MariaDB adds 1024 for the NO PAD twin of a collation
    /// and packs the charset into the numbers from 2048 on.
    pub(super) fn of(collation: u16) -> Charset {
        match collation {
            63 => Charset::Binary,
            11 | 65 => Charset::Ascii,
            5 | 8 | 15 | 31 | 47..=49 | 94 => Charset::Latin1,
            33 | 76 | 83 | 192..=215 | 223 | 576..=578 => Charset::Utf8Mb3,
            45 | 46 | 224..=247 | 255..=323 | 608..=610 => Charset::Utf8Mb4,
            35 | 90 | 128..=151 | 159 | 640..=642 => Charset::Ucs2,
            54 | 55 | 101..=124 | 672..=674 => Charset::Utf16,
            56 | 62 => Charset::Utf16Le,
            60 | 61 | 160..=183 | 736..=738 => Charset::Utf32,
            1024..2048 => Charset::of(collation - 1024),
            2048..4096 => match (collation - 2048) >> 8 {
                0 => Charset::Utf8Mb3,
                1 => Charset::Utf8Mb4,
                2 => Charset::Ucs2,
                3 => Charset::Utf16,
                4 => Charset::Utf32,
                _ => Charset::Other,
            },
            _ => Charset::Other,
        }
    }

    /// As collations begin. `None`: it is not read.
    pub(super) fn name(self) -> Option<&'static str> {
        Some(match self {
            Charset::Binary => "binary",
            Charset::Ascii => "ascii",
            Charset::Latin1 => "latin1",
            Charset::Utf8Mb3 => "utf8mb3",
            Charset::Utf8Mb4 => "utf8mb4",
            Charset::Ucs2 => "ucs2",
            Charset::Utf16 => "utf16",
            Charset::Utf16Le => "utf16le",
            Charset::Utf32 => "utf32",
            Charset::Other => return None,
        })
    }

    /// Can it hold every Unicode character?
    pub(super) fn is_unicode(self) -> bool {
        matches!(
            self,
            Charset::Utf8Mb4 | Charset::Utf16 | Charset::Utf16Le | Charset::Utf32
        )
    }

    /// Bytes of its longest character, by which CHAR(n) lengths are stored.
    pub(super) fn bytes_per_char(self) -> u32 {
        match self {
            Charset::Binary | Charset::Ascii | Charset::Latin1 | Charset::Other => 1,
            Charset::Ucs2 => 2,
            Charset::Utf8Mb3 => 3,
            Charset::Utf8Mb4 | Charset::Utf16 | Charset::Utf16Le | Charset::Utf32 => 4,
        }
    }

    /// `None` for bytes that are no text of this charset.
    pub(super) fn text(self, bytes: &[u8]) -> Option<ByteString> {
        match self {
            Charset::Utf8Mb3 | Charset::Utf8Mb4 => std::str::from_utf8(bytes).ok().map(ByteString::from),
            Charset::Ascii => bytes
                .is_ascii()
                .then_some(())
                .and_then(|()| Charset::Utf8Mb4.text(bytes)),
            Charset::Latin1 => Some(bytes.iter().map(|byte| latin1(*byte)).collect::<String>().into()),
            Charset::Ucs2 | Charset::Utf16 => utf16(bytes, u16::from_be_bytes),
            Charset::Utf16Le => utf16(bytes, u16::from_le_bytes),
            Charset::Utf32 => {
                let (words, rest) = bytes.as_chunks::<4>();
                let text: Option<String> = words
                    .iter()
                    .map(|word| char::from_u32(u32::from_be_bytes(*word)))
                    .collect();
                text.filter(|_| rest.is_empty()).map(ByteString::from)
            }
            Charset::Binary | Charset::Other => None,
        }
    }
}

/// A logged statement as text.
#[derive(Debug, PartialEq, Eq)]
pub enum Spelling<'a> {
    Whole(Cow<'a, str>),
    /// Only its begin: what follows is in a character set that is not read here.
    Begin(&'a str),
}

/// `client`: the collation number that the log tells. Names and words in ASCII are the same in all character sets that a
/// client can have, but for swe7, which has letters in the place of brackets and backticks.
pub fn spelled(bytes: &[u8], client: Option<u16>) -> Spelling<'_> {
    const SWE7: [u16; 2] = [10, 82];
    let is_same = |byte: &u8| match client {
        Some(number) if SWE7.contains(&number) => byte.is_ascii() && !b"@[\\]^`{|}~".contains(byte),
        _ => byte.is_ascii(),
    };
    let len = bytes
        .iter()
        .position(|byte| !is_same(byte))
        .unwrap_or(bytes.len());
    let begin = std::str::from_utf8(&bytes[..len]).unwrap_or_default();
    if len == bytes.len() {
        return Spelling::Whole(begin.into());
    }
    match client.map(Charset::of) {
        // Names are UTF-8 for such clients too. Bytes that are not stand in literals, since no name has them.
        Some(Charset::Utf8Mb3 | Charset::Utf8Mb4 | Charset::Binary) => {
            Spelling::Whole(String::from_utf8_lossy(bytes))
        }
        Some(Charset::Latin1) => Spelling::Whole(bytes.iter().map(|byte| latin1(*byte)).collect()),
        Some(
            Charset::Ascii
            | Charset::Ucs2
            | Charset::Utf16
            | Charset::Utf16Le
            | Charset::Utf32
            | Charset::Other,
        )
        | None => Spelling::Begin(begin),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<ByteString> {
    let (units, rest) = bytes.as_chunks::<2>();
    let text: Option<String> = char::decode_utf16(units.iter().map(|pair| unit(*pair)))
        .map(Result::ok)
        .collect();
    text.filter(|_| rest.is_empty()).map(ByteString::from)
}

fn latin1(byte: u8) -> char {
    /// Windows-1252 from 0x80 to 0x9f.
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let read = |charset: Charset, bytes: &[u8]| charset.text(bytes).map(|text| text.to_string());
        assert_eq!(read(Charset::Latin1, &[0x80, 0xe9, 0x81]).unwrap(), "€é\u{81}");
        assert_eq!(read(Charset::Utf16, &[0xd8, 0x3d, 0xde, 0]).unwrap(), "😀");
        assert_eq!(read(Charset::Utf16Le, &[0x61, 0]).unwrap(), "a");
        assert_eq!(read(Charset::Utf32, &[0, 1, 0xf6, 0]).unwrap(), "😀");
        assert_eq!(read(Charset::Ucs2, &[0, 0x61, 1]), None);
        assert_eq!(read(Charset::Ascii, &[0x80]), None);
        assert_eq!(read(Charset::Utf8Mb4, &[0xff]), None);
        assert_eq!(read(Charset::Other, b"a"), None);
    }

    #[test]
    fn statements() {
        let whole = |text: &'static str| Spelling::Whole(Cow::Borrowed(text));
        for client in [None, Some(8), Some(28), Some(45), Some(51)] {
            assert_eq!(spelled(b"DROP `a`", client), whole("DROP `a`"));
        }
        assert_eq!(spelled(b"DROP `\xe9`", Some(8)), whole("DROP `é`"));
        assert_eq!(spelled("DROP `é`".as_bytes(), Some(255)), whole("DROP `é`"));
        assert_eq!(spelled("DROP `é`".as_bytes(), Some(63)), whole("DROP `é`"));
        assert_eq!(spelled(b"DROP `\x9dh`", Some(28)), Spelling::Begin("DROP `"));
        assert_eq!(spelled(b"DROP `\xe9`", Some(51)), Spelling::Begin("DROP `"));
        assert_eq!(spelled(b"DROP `\xe9`", None), Spelling::Begin("DROP `"));
        assert_eq!(spelled(b"DROP `a`", Some(10)), Spelling::Begin("DROP "));
        assert_eq!(spelled(b"BEGIN", Some(82)), whole("BEGIN"));
    }

    #[test]
    fn collation_numbers() {
        assert_eq!(Charset::of(255), Charset::Utf8Mb4);
        assert_eq!(Charset::of(1024 + 46), Charset::Utf8Mb4);
        assert_eq!(Charset::of(2048 + 256 + 1), Charset::Utf8Mb4);
        assert_eq!(Charset::of(28), Charset::Other);
    }
}
