//! Whether a text fits a text column: length in characters and bytes, character set, NUL, trailing blanks.
//!
//! Owns: the limits, and what MySQL's narrow character sets hold (known from the column's collation).
//! Refuses: cutting, folding and substituting. A character set that is not known here is trusted with ASCII only.

use crate::model::schema::{ColumnType, Engine};
use bytestring::ByteString;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    Unicode,
    /// MySQL's utf8mb3 and ucs2: the first 65,536 characters.
    Utf8mb3,
    Ucs2,
    Utf16,
    Utf32,
    Latin1,
    Ascii,
    Unknown,
}

impl Charset {
    pub(super) fn of(ty: &ColumnType, collation: &str) -> Charset {
        let utf8 = matches!(ty, ColumnType::Text { utf8: true, .. });
        match collation.split('_').next().unwrap_or_default() {
            "utf8mb3" | "utf8" => Charset::Utf8mb3,
            "ucs2" => Charset::Ucs2,
            "utf16" | "utf16le" => Charset::Utf16,
            "utf32" => Charset::Utf32,
            "latin1" => Charset::Latin1,
            "ascii" => Charset::Ascii,
            _ if utf8 => Charset::Unicode,
            _ => Charset::Unknown,
        }
    }

    fn holds(self, c: char) -> bool {
        match self {
            Charset::Unicode | Charset::Utf16 | Charset::Utf32 => true,
            Charset::Utf8mb3 | Charset::Ucs2 => u32::from(c) < 0x1_0000,
            Charset::Latin1 => is_latin1(c),
            Charset::Ascii | Charset::Unknown => c.is_ascii(),
        }
    }

    fn bytes(self, text: &str) -> usize {
        match self {
            Charset::Unicode | Charset::Utf8mb3 | Charset::Ascii | Charset::Unknown => text.len(),
            Charset::Latin1 => text.chars().count(),
            Charset::Ucs2 | Charset::Utf16 => text.encode_utf16().count() * 2,
            Charset::Utf32 => text.chars().count() * 4,
        }
    }

    /// Are all characters of `other` known to be in this set?
    pub(super) fn includes(self, other: Charset) -> bool {
        match self {
            Charset::Unicode | Charset::Utf16 | Charset::Utf32 => true,
            Charset::Utf8mb3 | Charset::Ucs2 => {
                matches!(
                    other,
                    Charset::Utf8mb3 | Charset::Ucs2 | Charset::Latin1 | Charset::Ascii
                )
            }
            Charset::Latin1 => matches!(other, Charset::Latin1 | Charset::Ascii),
            Charset::Ascii | Charset::Unknown => other == Charset::Ascii,
        }
    }

    /// Most bytes one byte of text in `self` can become in `to`.
    pub(super) fn growth(self, to: Charset) -> u64 {
        match (self, to) {
            (from, to) if from == to => 1,
            (_, Charset::Utf32) => 4,
            (Charset::Unicode | Charset::Utf8mb3 | Charset::Ascii, Charset::Ucs2 | Charset::Utf16) => 2,
            (Charset::Unicode | Charset::Utf8mb3 | Charset::Ascii, _) => 1,
            // The euro sign is one byte in latin1 and three in UTF-8.
            (_, _) => 3,
        }
    }

    fn words(self) -> Option<&'static str> {
        match self {
            Charset::Unicode | Charset::Utf16 | Charset::Utf32 => None,
            Charset::Utf8mb3 => Some("no character beyond U+FFFF (utf8mb3)"),
            Charset::Ucs2 => Some("no character beyond U+FFFF (ucs2)"),
            Charset::Latin1 => Some("only characters of latin1"),
            Charset::Ascii | Charset::Unknown => Some("only ASCII characters (the column is not utf8mb4)"),
        }
    }
}

/// MySQL's latin1 is Windows-1252, with its five unassigned bytes kept as control characters.
fn is_latin1(c: char) -> bool {
    const HIGH: &str = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ\u{81}\u{8d}\u{8f}\u{90}\u{9d}";
    c.is_ascii() || ('\u{a0}'..='\u{ff}').contains(&c) || HIGH.contains(c)
}

/// Most bytes of a cell of PostgreSQL, and of MySQL's and MariaDB's longest text.
pub(super) const CELL_MAX: u64 = (1 << 30) - 1;
const LONGTEXT_MAX: u64 = (1 << 32) - 1;

/// What a text column takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) chars: Option<u32>,
    pub(super) bytes: Option<u64>,
    pub(super) charset: Charset,
    /// Does the column keep blanks at the end?
    pub(super) blanks: bool,
    /// Does it take the character NUL?
    pub(super) nul: bool,
}

impl Limits {
    /// `None` where the type is not text.
    pub(super) fn of(ty: &ColumnType, collation: &str, engine: Engine) -> Option<Limits> {
        let ColumnType::Text {
            chars, bytes, fixed, ..
        } = *ty
        else {
            return None;
        };
        Some(Limits {
            chars,
            bytes,
            charset: Charset::of(ty, collation),
            blanks: !fixed,
            nul: !engine.is_postgres(),
        })
    }

    /// Plain ASCII of so many characters, as a uuid or an interval is written.
    pub(super) fn ascii(chars: u32) -> Limits {
        Limits {
            chars: Some(chars),
            bytes: None,
            charset: Charset::Ascii,
            blanks: false,
            nul: false,
        }
    }

    /// As the limits of a source: a cell of PostgreSQL has less than a gibibyte.
    pub(super) fn as_source(self, engine: Engine) -> Limits {
        let most = if engine.is_postgres() {
            Some(CELL_MAX)
        } else {
            None
        };
        Limits {
            bytes: self.bytes.or(most),
            ..self
        }
    }

    /// The digits of a bit string.
    pub(super) fn bits(ty: &ColumnType) -> Limits {
        let chars = match ty {
            ColumnType::Bit { len, .. } => *len,
            _ => None,
        };
        Limits {
            chars,
            bytes: Some(CELL_MAX),
            ..Limits::ascii(0)
        }
    }

    /// Any text without NUL, as a JSON document is.
    pub(super) const DOCUMENT: Limits = Limits {
        chars: None,
        bytes: Some(LONGTEXT_MAX),
        charset: Charset::Unicode,
        blanks: true,
        nul: false,
    };

    pub(super) fn check(&self, text: &str) -> Result<(), &'static str> {
        if !self.blanks && text.ends_with(' ') {
            return Err("the column does not keep blanks at the end");
        }
        if !self.nul && text.as_bytes().contains(&0) {
            return Err("PostgreSQL does not take the character NUL in text");
        }
        if self.charset.words().is_some() && !text.is_ascii() && !text.chars().all(|c| self.charset.holds(c))
        {
            return Err("the column's character set does not hold every character of the value");
        }
        // Characters are at most as many as bytes, so the count is seldom needed.
        if let Some(limit) = self.chars.and_then(|n| usize::try_from(n).ok())
            && text.len() > limit
            && text.chars().count() > limit
        {
            return Err("the value has more characters than the column takes");
        }
        if let Some(limit) = self.bytes
            && self.charset.bytes(text) as u64 > limit
        {
            return Err("the value has more bytes than the column takes");
        }
        Ok(())
    }

    /// Does every text of a column with limits `source` fit?
    pub(super) fn hold(&self, source: &Limits) -> bool {
        self.holds_chars(source)
            && self.holds_bytes(source)
            && self.charset.includes(source.charset)
            && (self.blanks || !source.blanks)
            && (self.nul || !source.nul)
    }

    /// What `source` does not keep by itself, as phrases.
    pub(super) fn words(&self, source: &Limits) -> Vec<String> {
        let mut words = Vec::new();
        if let (Some(limit), false) = (self.chars, self.holds_chars(source)) {
            words.push(format!("at most {limit} characters"));
        }
        if let (Some(limit), false) = (self.bytes, self.holds_bytes(source)) {
            words.push(format!("at most {limit} bytes"));
        }
        if let (Some(charset), false) = (self.charset.words(), self.charset.includes(source.charset)) {
            words.push(charset.to_owned());
        }
        if !self.blanks && source.blanks {
            words.push("no blanks at the end".to_owned());
        }
        if !self.nul && source.nul {
            words.push("no character NUL".to_owned());
        }
        words
    }

    fn holds_chars(&self, source: &Limits) -> bool {
        self.chars
            .is_none_or(|limit| source.most_chars().is_some_and(|most| most <= u64::from(limit)))
    }

    fn holds_bytes(&self, source: &Limits) -> bool {
        self.bytes
            .is_none_or(|limit| source.most_bytes(self.charset).is_some_and(|most| most <= limit))
    }

    fn most_chars(&self) -> Option<u64> {
        [self.chars.map(u64::from), self.bytes]
            .into_iter()
            .flatten()
            .min()
    }

    /// Most bytes a text of this column needs in `charset`.
    fn most_bytes(&self, charset: Charset) -> Option<u64> {
        let by_chars = self.chars.map(|n| u64::from(n) * 4);
        let by_bytes = self.bytes.map(|n| n.saturating_mul(self.charset.growth(charset)));
        [by_chars, by_bytes].into_iter().flatten().min()
    }
}

/// The form PostgreSQL prints: lower case with hyphens.
pub(super) fn from_uuid(uuid: &[u8; 16]) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(36);
    for (at, byte) in uuid.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
    out
}

/// Only the form of [`from_uuid`]: any other would come back as another text.
pub(super) fn to_uuid(text: &str) -> Option<[u8; 16]> {
    let mut uuid = [0u8; 16];
    let mut digits = text.bytes().filter(|b| *b != b'-');
    for byte in &mut uuid {
        let mut digit = || {
            char::from(digits.next()?)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        *byte = digit()? << 4 | digit()?;
    }
    (from_uuid(&uuid) == text).then_some(uuid)
}

/// A SET's labels in the order of the target's definition, as its engine would print them; `None` where one is
/// missing there or comes twice.
pub(super) fn sorted_set(text: ByteString, labels: &[String]) -> Option<ByteString> {
    if text.is_empty() {
        return Some(text);
    }
    let places: Option<Vec<usize>> = text
        .split(',')
        .map(|label| labels.iter().position(|known| known == label))
        .collect();
    let mut places = places?;
    if places.is_sorted_by(|a, b| a < b) {
        return Some(text);
    }
    places.sort_unstable();
    if places.windows(2).any(|pair| pair[0] == pair[1]) {
        return None;
    }
    let sorted: Vec<&str> = places
        .iter()
        .filter_map(|place| labels.get(*place))
        .map(String::as_str)
        .collect();
    Some(sorted.join(",").into())
}
