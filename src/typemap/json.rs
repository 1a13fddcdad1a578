//! JSON documents: valid, and of the kind that the target gives back with the same meaning.
//!
//! Owns: one pass over the text, without recursion, since depth comes from outside.
//! Refuses: what a target would change in silence. jsonb and MySQL's JSON keep one of two equal keys; MySQL's makes a
//! double of every number that is not a 64-bit integer, and jsonb a zero of minus zero. What a server would refuse is refused here, by column.
//! Order of keys, blanks and the spelling of numbers are not meaning.

mod meaning;

use std::borrow::Cow;
use std::collections::HashSet;

pub use meaning::same_json;

/// What the target does not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// The text is kept as it is; only its grammar and depth matter.
    pub(super) kept: bool,
    pub(super) numbers: Numbers,
    /// Does a string take half of a surrogate pair?
    pub(super) halves: bool,
    /// Does a string take `\u0000`?
    pub(super) nul: bool,
    /// Levels of arrays and objects.
    pub(super) depth: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    Any,
    /// PostgreSQL's numeric: 131,072 digits before the point and 16,383 after it.
    Numeric,
    /// MySQL: 64-bit integers, else doubles.
    Double,
}

/// PostgreSQL's json: the text itself.
pub(super) const JSON: Limits = Limits {
    kept: true,
    halves: true,
    numbers: Numbers::Any,
    nul: true,
    depth: None,
};
/// MariaDB's JSON: the text, which `json_valid` accepts to this depth.
pub(super) const MARIADB: Limits = Limits {
    kept: true,
    halves: false,
    numbers: Numbers::Any,
    nul: true,
    depth: Some(31),
};
pub(super) const JSONB: Limits = Limits {
    kept: false,
    halves: false,
    numbers: Numbers::Numeric,
    nul: false,
    depth: None,
};
pub(super) const MYSQL: Limits = Limits {
    kept: false,
    halves: false,
    numbers: Numbers::Double,
    nul: true,
    depth: Some(100),
};

const INVALID: &str = "the value is not valid JSON";
const MINUS_ZERO: &str = "the value has a minus zero, of which the target would make zero";

pub(super) fn check(text: &str, limits: Limits) -> Result<(), &'static str> {
    let mut reader = Reader {
        text,
        at: 0,
        limits,
        open: Vec::new(),
    };
    reader.document()
}

/// An open array or object; keys seen so far where they must differ.
enum Open<'a> {
    Array,
    Object(HashSet<Cow<'a, str>>),
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    limits: Limits,
    open: Vec<Open<'a>>,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<(), &'static str> {
        loop {
            self.blanks();
            let opened = self.value()?;
            if opened && self.first()? {
                continue;
            }
            if self.after()? {
                return Ok(());
            }
        }
    }

    /// Reads a scalar, or opens an array or object (true).
    fn value(&mut self) -> Result<bool, &'static str> {
        match self.peek() {
            Some(b'[') => self.push(Open::Array),
            Some(b'{') => self.push(Open::Object(HashSet::new())),
            Some(b'"') => self.string().map(|_| false),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| false),
            Some(b't') => self.word("true").map(|()| false),
            Some(b'f') => self.word("false").map(|()| false),
            Some(b'n') => self.word("null").map(|()| false),
            Some(_) | None => Err(INVALID),
        }
    }

    fn push(&mut self, open: Open<'a>) -> Result<bool, &'static str> {
        self.at += 1;
        self.open.push(open);
        if self.limits.depth.is_some_and(|limit| self.open.len() > limit) {
            return Err("the value is nested deeper than the target takes");
        }
        Ok(true)
    }

    /// Just inside a container: true if a value follows, false if it was empty and is closed.
    fn first(&mut self) -> Result<bool, &'static str> {
        self.blanks();
        let end = match self.open.last() {
            Some(Open::Array) => b']',
            Some(Open::Object(_)) => b'}',
            None => return Err(INVALID),
        };
        if self.peek() == Some(end) {
            self.at += 1;
            self.open.pop();
            return Ok(false);
        }
        if end == b'}' {
            self.key()?;
        }
        Ok(true)
    }

    /// Behind a value: closes what ends here; true at the end of the document, false if another value follows.
    fn after(&mut self) -> Result<bool, &'static str> {
        loop {
            self.blanks();
            let Some(open) = self.open.last() else {
                return if self.at == self.text.len() {
                    Ok(true)
                } else {
                    Err(INVALID)
                };
            };
            match (self.peek(), matches!(open, Open::Object(_))) {
                (Some(b']'), false) | (Some(b'}'), true) => {
                    self.at += 1;
                    self.open.pop();
                }
                (Some(b','), object) => {
                    self.at += 1;
                    self.blanks();
                    if object {
                        self.key()?;
                    }
                    return Ok(false);
                }
                (_, _) => return Err(INVALID),
            }
        }
    }

    fn key(&mut self) -> Result<(), &'static str> {
        if self.peek() != Some(b'"') {
            return Err(INVALID);
        }
        let key = self.string()?;
        let kept = self.limits.kept;
        if let Some(Open::Object(keys)) = self.open.last_mut()
            && !kept
            && !keys.insert(key)
        {
            return Err("the value has an object with two equal keys, of which the target keeps one");
        }
        self.blanks();
        self.byte(b':')
    }

    /// A string with its escapes resolved where they matter (keys of targets that keep one of two equal ones).
    fn string(&mut self) -> Result<Cow<'a, str>, &'static str> {
        self.at += 1;
        let mut start = self.at;
        let mut resolved: Option<String> = None;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let rest = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(match resolved {
                        Some(resolved) => Cow::Owned(resolved + rest),
                        None => Cow::Borrowed(rest),
                    });
                }
                Some(b'\\') => {
                    let before = &self.text[start..self.at];
                    let escaped = self.escape()?;
                    start = self.at;
                    let resolved = resolved.get_or_insert_default();
                    resolved.push_str(before);
                    resolved.extend(escaped);
                }
                Some(0..=0x1f) | None => return Err(INVALID),
                Some(_) => self.at += 1,
            }
        }
    }

    /// One escape; `None` for half of a surrogate pair, which only PostgreSQL's json takes.
    fn escape(&mut self) -> Result<Option<char>, &'static str> {
        self.at += 1;
        let kind = self.peek().ok_or(INVALID)?;
        self.at += 1;
        Ok(Some(match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(INVALID),
        }))
    }

    fn unicode(&mut self) -> Result<Option<char>, &'static str> {
        let first = self.hex()?;
        if first == 0 && !self.limits.nul {
            return Err("the value has a string with \\u0000, which jsonb does not take");
        }
        let pair = (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u");
        let code = if pair {
            let back = self.at;
            self.at += 2;
            match self.hex()? {
                second @ 0xdc00..0xe000 => 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                _ => {
                    self.at = back;
                    first
                }
            }
        } else {
            first
        };
        match char::from_u32(code) {
            None if !self.limits.halves => Err("the value has a string with half of a surrogate pair"),
            c => Ok(c),
        }
    }

    fn hex(&mut self) -> Result<u32, &'static str> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(INVALID)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(INVALID);
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| INVALID)
    }

    fn number(&mut self) -> Result<(), &'static str> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.digits() {
            0 => return Err(INVALID),
            1 => {}
            _ if self.text[start..].trim_start_matches('-').starts_with('0') => return Err(INVALID),
            _ => {}
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(INVALID);
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(INVALID);
            }
        }
        number_fits(&self.text[start..self.at], self.limits.numbers)
    }

    fn digits(&mut self) -> usize {
        let count = self.text.as_bytes()[self.at..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        self.at += count;
        count
    }

    fn word(&mut self, word: &str) -> Result<(), &'static str> {
        if !self.text[self.at..].starts_with(word) {
            return Err(INVALID);
        }
        self.at += word.len();
        Ok(())
    }

    fn byte(&mut self, wanted: u8) -> Result<(), &'static str> {
        if self.peek() != Some(wanted) {
            return Err(INVALID);
        }
        self.at += 1;
        Ok(())
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

fn number_fits(token: &str, numbers: Numbers) -> Result<(), &'static str> {
    match numbers {
        Numbers::Any => Ok(()),
        Numbers::Numeric if is_minus_zero(token) => Err(MINUS_ZERO),
        // Without a point or an exponent it is an integer to MySQL, and integers have no minus zero.
        Numbers::Double if token == "-0" => Err(MINUS_ZERO),
        Numbers::Numeric => {
            let plain = token.len() < 1_000 && !token.contains(['e', 'E']);
            if plain || is_numeric(token) {
                return Ok(());
            }
            Err("the value has a number beyond PostgreSQL's numeric")
        }
        Numbers::Double => {
            if token.parse::<i64>().is_ok() || token.parse::<u64>().is_ok() {
                return Ok(());
            }
            let double: f64 = token.parse().map_err(|_| INVALID)?;
            // The shortest text of a double is what MySQL prints for it.
            if double.is_finite() && Scientific::of(token) == Scientific::of(&format!("{double:e}")) {
                return Ok(());
            }
            Err("the value has a number that is neither a 64-bit integer nor exact as a double")
        }
    }
}

/// As a double it differs from zero, and a column of doubles that cannot hold it refuses it too.
fn is_minus_zero(token: &str) -> bool {
    let Some(number) = token.strip_prefix('-') else {
        return false;
    };
    let mut mantissa = number.bytes().take_while(|byte| !matches!(byte, b'e' | b'E'));
    mantissa.all(|byte| matches!(byte, b'0' | b'.'))
}

/// The server would refuse the rest as well, but not by the name of the column.
fn is_numeric(token: &str) -> bool {
    let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let Ok(exponent) = exponent.trim_start_matches('+').parse::<i32>() else {
        return false;
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = whole.trim_start_matches('-');
    let after = fraction.len() as i64 - i64::from(exponent);
    let before = whole.len() as i64 + i64::from(exponent);
    after <= 16_383 && before <= 131_072
}

/// A number as its digits that count and the place of the last of them: equal exactly when the numbers are.
#[derive(PartialEq, Eq)]
struct Scientific {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Scientific {
    fn of(token: &str) -> Option<Scientific> {
        let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
        let negative = mantissa.starts_with('-');
        let (whole, fraction) = mantissa
            .trim_start_matches('-')
            .split_once('.')
            .unwrap_or((mantissa.trim_start_matches('-'), ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_end_matches('0');
        let zeros = i64::try_from(all.len() - digits.len()).ok()?;
        let digits = digits.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            // Minus zero is zero by meaning.
            return Some(Scientific {
                negative: false,
                digits,
                exponent: 0,
            });
        }
        let exponent: i64 = exponent.trim_start_matches('+').parse().ok()?;
        let exponent = exponent
            .checked_add(zeros)?
            .checked_sub(i64::try_from(fraction.len()).ok()?)?;
        Some(Scientific {
            negative,
            digits,
            exponent,
        })
    }
}
