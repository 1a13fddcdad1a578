//! PostgreSQL's types that are only known as text, when they come back from a text column of another engine.
//!
//! Owns: for the types whose output has one form, whether a text has it. Only such a text is written: PostgreSQL would
//! take others too, and print them otherwise, so that the two nodes would differ unseen.
//! Refuses: types whose output cannot be foreseen here (composite, geometric, xml, money, tsvector, those somebody made),
//! and arrays whose elements have a limit. They go into text, and not back.

use super::address::{self, Family};
use super::calendar;

/// What a text has to be, for a type to print it again as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Literal {
    /// citext.
    Any,
    Scalar(Scalar),
    Array(Scalar),
    Range(Scalar),
    Multirange(Scalar),
    Cidr,
    Inet,
    /// Of MariaDB.
    Address(Family),
    /// So many bytes.
    Mac(usize),
    Hstore,
}

/// One value: of a column, of an array, or at the end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Whole { min: i128, max: i128 },
    Bool,
    Text,
    Uuid,
    Date,
    Timestamp,
    TimestampTz,
}

const INT2: Scalar = int(16);
const INT4: Scalar = int(32);
const INT8: Scalar = int(64);
const OID: Scalar = Scalar::Whole {
    min: 0,
    max: u32::MAX as i128,
};
const XID8: Scalar = Scalar::Whole {
    min: 0,
    max: u64::MAX as i128,
};

const fn int(bits: u32) -> Scalar {
    Scalar::Whole {
        min: -(1 << (bits - 1)),
        max: (1 << (bits - 1)) - 1,
    }
}

impl Literal {
    /// Of a type by the name that `format_type` writes, and by the whole of it with its limits.
    pub(super) fn of_postgres(name: &str, sql_type: &str) -> Option<Literal> {
        let last = name.rsplit('.').next().unwrap_or(name);
        if let Some(element) = name.strip_suffix("[]") {
            // varchar(3)[] would cut.
            return Scalar::of(element)
                .filter(|_| !sql_type.contains('('))
                .map(Literal::Array);
        }
        Some(match last {
            "citext" => Literal::Any,
            "hstore" => Literal::Hstore,
            _ if last != name => return None,
            "oid" => Literal::Scalar(OID),
            "xid8" => Literal::Scalar(XID8),
            "inet" => Literal::Inet,
            "cidr" => Literal::Cidr,
            "macaddr" => Literal::Mac(6),
            "macaddr8" => Literal::Mac(8),
            _ => match name.strip_suffix("multirange") {
                Some(of) => Literal::Multirange(end(of)?),
                None => Literal::Range(end(name.strip_suffix("range")?)?),
            },
        })
    }

    pub(super) fn is_printed(self, text: &str) -> bool {
        // PostgreSQL has no NUL in any text.
        !text.contains('\0')
            && match self {
                Literal::Any => true,
                Literal::Scalar(scalar) => scalar.is_printed(text),
                Literal::Array(element) => is_array(text, element),
                Literal::Range(end) => text == "empty" || is_range(text, end),
                Literal::Multirange(end) => is_multirange(text, end),
                Literal::Inet => address::is_inet(text),
                Literal::Cidr => address::is_cidr(text),
                Literal::Address(family) => address::is_of_mariadb(text, family),
                Literal::Mac(bytes) => is_mac(text, bytes),
                Literal::Hstore => is_hstore(text),
            }
    }
}

/// What the built-in ranges are of.
fn end(name: &str) -> Option<Scalar> {
    Some(match name {
        "int4" => INT4,
        "int8" => INT8,
        "date" => Scalar::Date,
        "ts" => Scalar::Timestamp,
        "tstz" => Scalar::TimestampTz,
        _ => return None,
    })
}

impl Scalar {
    fn of(name: &str) -> Option<Scalar> {
        Some(match name {
            "smallint" => INT2,
            "integer" => INT4,
            "bigint" => INT8,
            "boolean" => Scalar::Bool,
            "text" | "character varying" => Scalar::Text,
            "uuid" => Scalar::Uuid,
            "date" => Scalar::Date,
            _ => return None,
        })
    }

    fn is_printed(self, text: &str) -> bool {
        match self {
            Scalar::Whole { min, max } => whole(text).is_some_and(|number| (min..=max).contains(&number)),
            Scalar::Bool => matches!(text, "t" | "f"),
            Scalar::Text => true,
            Scalar::Uuid => super::text::to_uuid(text).is_some(),
            Scalar::Date => text.len() == 10 && calendar::Calendar::RealDays.takes(text),
            Scalar::Timestamp => is_timestamp(text),
            Scalar::TimestampTz => text.strip_suffix("+00").is_some_and(is_timestamp),
        }
    }

    /// Ranges of these are printed from the first to behind the last.
    fn is_discrete(self) -> bool {
        matches!(self, Scalar::Whole { .. } | Scalar::Date)
    }

    /// Of two printed ends.
    fn compare(self, a: &str, b: &str) -> std::cmp::Ordering {
        match self {
            Scalar::Whole { .. } => whole(a).cmp(&whole(b)),
            // Four-digit years: the texts compare as what they stand for, but for the zone behind them.
            _ => a.trim_end_matches("+00").cmp(b.trim_end_matches("+00")),
        }
    }
}

/// A whole number without a sign or zeros that nobody prints.
pub(super) fn whole(text: &str) -> Option<i128> {
    let number: i128 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn is_timestamp(text: &str) -> bool {
    let Some((date, time)) = text.split_once(' ') else {
        return false;
    };
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "1"));
    let two = |part: &str, most: u32| {
        part.len() == 2
            && part.bytes().all(|digit| digit.is_ascii_digit())
            && part.parse::<u32>().is_ok_and(|number| number <= most)
    };
    let mut parts = clock.split(':');
    let mut next = |most| parts.next().is_some_and(|part| two(part, most));
    let is_clock = next(23) && next(59) && next(59) && clock.len() == 8;
    let is_fraction = fraction.len() <= 6
        && !fraction.is_empty()
        && fraction.bytes().all(|digit| digit.is_ascii_digit())
        && !fraction.ends_with('0');
    is_clock && is_fraction && Scalar::Date.is_printed(date)
}

/// What is left of a text that is read from its front.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn take(&mut self, word: &str) -> bool {
        match self.0.strip_prefix(word) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// Up to one of these characters, which stays.
    fn until(&mut self, ends: &[char]) -> &'a str {
        let at = self.0.find(ends).unwrap_or(self.0.len());
        let (found, rest) = self.0.split_at(at);
        self.0 = rest;
        found
    }

    /// Between quotes, where `\` stands before a quote and itself and nothing else.
    fn quoted(&mut self) -> Option<String> {
        if !self.take("\"") {
            return None;
        }
        let mut found = String::new();
        loop {
            let mut letters = self.0.chars();
            let letter = letters.next()?;
            self.0 = letters.as_str();
            match letter {
                '"' => return Some(found),
                '\\' => {
                    let escaped = letters.next().filter(|letter| matches!(letter, '"' | '\\'))?;
                    self.0 = letters.as_str();
                    found.push(escaped);
                }
                _ => found.push(letter),
            }
        }
    }
}

/// PostgreSQL has at most six dimensions.
const DIMENSIONS: usize = 6;

/// `{a,"b c",NULL}`, with dimensions inside, and with bounds before it where they do not begin at 1.
fn is_array(text: &str, element: Scalar) -> bool {
    if text == "{}" {
        return true;
    }
    let mut rest = Rest(text);
    let mut bounds = Vec::new();
    while rest.take("[") {
        let low = whole(rest.until(&[':']));
        if !rest.take(":") {
            return false;
        }
        let high = whole(rest.until(&[']']));
        let (Some(low), Some(high), true) = (low, high, rest.take("]")) else {
            return false;
        };
        let in_range = |bound| i32::try_from(bound).is_ok();
        if !in_range(low) || !in_range(high) {
            return false;
        }
        bounds.push((low, high - low + 1));
    }
    if !bounds.is_empty() && (!rest.take("=") || bounds.iter().all(|(low, _)| *low == 1)) {
        return false;
    }
    let mut lengths = Vec::new();
    let read = dimension(&mut rest, element, 0, &mut lengths) && rest.0.is_empty();
    let fit = |(told, found): (&(i128, i128), &Option<i128>)| Some(told.1) == *found;
    read && (bounds.is_empty() || bounds.len() == lengths.len() && bounds.iter().zip(&lengths).all(fit))
}

/// One pair of braces. `lengths`: how many there are in each dimension, which must agree everywhere.
fn dimension(rest: &mut Rest<'_>, element: Scalar, depth: usize, lengths: &mut Vec<Option<i128>>) -> bool {
    if depth == DIMENSIONS || !rest.take("{") {
        return false;
    }
    if lengths.len() == depth {
        lengths.push(None);
    }
    let mut count = 0;
    // Elements stand in the innermost braces only.
    let has_inner = rest.0.starts_with('{');
    if !has_inner && lengths.len() > depth + 1 {
        return false;
    }
    loop {
        let read = match has_inner {
            true => dimension(rest, element, depth + 1, lengths),
            false => array_element(rest, element),
        };
        if !read {
            return false;
        }
        count += 1;
        if !rest.take(",") {
            break;
        }
    }
    let agreed = *lengths[depth].get_or_insert(count) == count;
    agreed && rest.take("}")
}

fn array_element(rest: &mut Rest<'_>, element: Scalar) -> bool {
    if rest.0.starts_with('"') {
        let needs_quotes = |word: &str| {
            word.is_empty()
                || word.eq_ignore_ascii_case("null")
                || word.contains(|c| matches!(c, '"' | '\\' | '{' | '}' | ',') || is_blank(c))
        };
        return rest
            .quoted()
            .is_some_and(|word| needs_quotes(&word) && element.is_printed(&word));
    }
    let word = rest.until(&[',', '}']);
    if word == "NULL" {
        return true;
    }
    let is_bare = !word.is_empty()
        && !word.eq_ignore_ascii_case("null")
        && !word.contains(|c| matches!(c, '"' | '\\' | '{') || is_blank(c));
    is_bare && element.is_printed(word)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

/// `[1,5)`, `(,"2024-01-01 00:00:00"]`: not empty, and of whole things from the first to behind the last.
fn is_range(text: &str, end: Scalar) -> bool {
    let mut rest = Rest(text);
    range(&mut rest, end).is_some() && rest.0.is_empty()
}

/// Its two ends; `None` within: it has none there.
fn range(rest: &mut Rest<'_>, end: Scalar) -> Option<(Option<String>, Option<String>)> {
    let with_low = rest.take("[");
    if !with_low && !rest.take("(") {
        return None;
    }
    let low = range_end(rest, end, ',')?;
    if !rest.take(",") {
        return None;
    }
    let high = range_end(rest, end, ')')?;
    let with_high = rest.take("]");
    if !with_high && !rest.take(")") {
        return None;
    }
    let is_open = (low.is_some() || !with_low) && (high.is_some() || !with_high);
    let is_first_to_behind = !end.is_discrete() || (with_low == low.is_some() && !with_high);
    let is_ordered = match (&low, &high) {
        (Some(low), Some(high)) => match end.compare(low, high) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => with_low && with_high,
            std::cmp::Ordering::Greater => false,
        },
        (_, _) => true,
    };
    (is_open && is_first_to_behind && is_ordered).then_some((low, high))
}

fn range_end(rest: &mut Rest<'_>, end: Scalar, behind: char) -> Option<Option<String>> {
    let word = if rest.0.starts_with('"') {
        rest.quoted().filter(|word| word.contains(is_blank))?
    } else {
        let ends = if behind == ',' { &[','][..] } else { &[')', ']'] };
        let word = rest.until(ends);
        if word.is_empty() {
            return Some(None);
        }
        if word.contains(is_blank) {
            return None;
        }
        word.to_owned()
    };
    end.is_printed(&word).then_some(Some(word))
}

/// `{[1,3),[5,7)}`: in order, with something between each two. Of moments, ranges that touch are not told apart here.
fn is_multirange(text: &str, end: Scalar) -> bool {
    if text == "{}" {
        return true;
    }
    let mut rest = Rest(text);
    if !rest.take("{") {
        return false;
    }
    let mut before: Option<Option<String>> = None;
    loop {
        let Some((low, high)) = range(&mut rest, end) else {
            return false;
        };
        if let Some(before) = before {
            let (Some(before), Some(low)) = (before, low) else {
                return false;
            };
            if end.compare(&before, &low) != std::cmp::Ordering::Less {
                return false;
            }
        }
        before = Some(high);
        if !rest.take(",") {
            return rest.take("}") && rest.0.is_empty();
        }
    }
}

/// `08:00:2b:01:02:03`
fn is_mac(text: &str, bytes: usize) -> bool {
    let is_byte =
        |part: &str| part.len() == 2 && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    text.split(':').count() == bytes && text.split(':').all(is_byte)
}

/// `"k"=>"v", "key"=>NULL`: shorter keys first, then by their bytes; none twice.
fn is_hstore(text: &str) -> bool {
    let mut rest = Rest(text);
    let mut before: Option<String> = None;
    while !rest.0.is_empty() {
        if before.is_some() && !rest.take(", ") {
            return false;
        }
        let Some(key) = rest.quoted() else { return false };
        let is_pair = rest.take("=>") && (rest.take("NULL") || rest.quoted().is_some());
        let rises =
            before.is_none_or(|before| (before.len(), before.as_bytes()) < (key.len(), key.as_bytes()));
        if !is_pair || !rises {
            return false;
        }
        before = Some(key);
    }
    true
}

#[cfg(test)]
mod tests;
