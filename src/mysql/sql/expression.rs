//! Expressions of the configuration in MySQL's and MariaDB's words (see `expr::server`).
//!
//! Owns: what makes the server see a value as we do: texts in one character set, without blanks that only pad them, and
//! compared as bytes; numbers as decimals. Refuses: numbers with more digits than the server calculates with, days that it
//! has no literal for, and on MariaDB the case of letters, of which it has an older table, and the hours of a long time.

use super::{Flavor, quote};
use crate::expr::server::Dialect;
use crate::expr::{Clock, DAY_MICROS, Digits, Filter, Kind, Letters, Moment, Operator, Part, Scalar};
use crate::model::schema::{Column, ColumnType, Table};

/// Of a decimal, and of those the most after the point.
const DIGITS_MAX: u32 = 65;
const SCALE_MAX: u32 = 30;
/// Digits of a word, and the words of a product, which loses what does not fit into them.
const WORD: u32 = 9;
const WORDS_MAX: u32 = 9;
/// 838:59:59, either way.
const TIME_MAX: i64 = 3_020_399_000_000;
const TIME_MIN: i64 = -TIME_MAX;

#[derive(Debug, Clone, Copy)]
pub struct Words {
    pub flavor: Flavor,
}

/// What the server may leave out of the rows `t` for the filter.
pub fn pushed(filter: &Filter, table: &Table, flavor: Flavor) -> Option<String> {
    filter.pushed(table, &Words { flavor })
}

impl Dialect for Words {
    fn column(&self, column: &Column, kind: Kind) -> Option<String> {
        let name = format!("t.{}", quote(&column.name));
        Some(match (kind, &column.ty) {
            (Kind::Text { fixed: true, .. }, _) => {
                format!("TRIM(TRAILING ' ' FROM CONVERT({name} USING utf8mb4))")
            }
            (Kind::Text { .. }, _) => format!("CONVERT({name} USING utf8mb4)"),
            (Kind::Bool, _) => format!("({name} <> 0)"),
            (Kind::Number { .. }, ColumnType::Year) => format!("CAST({name} AS SIGNED)"),
            _ => name,
        })
    }

    fn literal(&self, kind: Kind, scalar: Option<&Scalar<'_>>) -> Option<String> {
        Some(match scalar {
            None => "NULL".to_owned(),
            Some(Scalar::Bool(true)) => "TRUE".to_owned(),
            Some(Scalar::Bool(false)) => "FALSE".to_owned(),
            Some(Scalar::Int(number)) => self.number(&number.to_string())?,
            Some(Scalar::Decimal(digits)) => self.number(digits)?,
            Some(Scalar::Text(text)) => format!("_utf8mb4 X'{}'", hex(text)),
            Some(Scalar::Time(micros @ TIME_MIN..=TIME_MAX)) => format!("TIME'{}'", Clock(*micros)),
            Some(Scalar::Moment(day, 0..DAY_MICROS)) if !day.is_common() => return None,
            Some(Scalar::Moment(day, _)) if kind == Kind::Date => format!("DATE'{day}'"),
            Some(Scalar::Moment(day, micros @ 0..DAY_MICROS)) => {
                format!("TIMESTAMP'{}'", Moment(*day, *micros))
            }
            Some(Scalar::Time(_) | Scalar::Moment(..) | Scalar::Uuid(_)) => return None,
        })
    }

    fn bytes(&self, text: String) -> String {
        format!("CAST({text} AS BINARY)")
    }

    fn chars(&self, text: String) -> String {
        format!("({text} COLLATE utf8mb4_bin)")
    }

    /// In a list with signs, or with decimals, MySQL takes the greatest BIGINT UNSIGNED for -1.
    fn member(&self, number: String, digits: Option<Digits>) -> Option<String> {
        self.exact(number, digits)
    }

    fn exact(&self, number: String, digits: Option<Digits>) -> Option<String> {
        let Digits { whole, scale } = digits.filter(|digits| is_calculated(*digits))?;
        Some(format!(
            "CAST({number} AS DECIMAL({}, {scale}))",
            (whole + scale).max(1)
        ))
    }

    fn calculates(&self, left: Option<Digits>, operator: Operator, right: Option<Digits>) -> bool {
        let Some((left, right)) = left.zip(right) else {
            return false;
        };
        let words = |digits: Digits| digits.whole.div_ceil(WORD) + digits.scale.div_ceil(WORD);
        is_calculated(left.after(operator, right))
            && (operator != Operator::Multiply || words(left) + words(right) <= WORDS_MAX)
    }

    fn concat(&self, left: &str, right: &str) -> String {
        format!("CONCAT({left}, {right})")
    }

    fn letters(&self, letters: Letters, text: &str) -> Option<String> {
        match self.flavor {
            Flavor::Mysql => Some(format!("{letters}({text})")),
            Flavor::Mariadb => None,
        }
    }

    /// Where the text has fewer pieces it has its last one, which is not meant. Of longer texts that part it the last are
    /// found from the end, which is another place where they overlap.
    fn split(&self, text: &str, by: &str, piece: usize) -> Option<String> {
        if by.chars().count() != 1 {
            return None;
        }
        let by = self.literal(Kind::text(None), Some(&Scalar::Text(by.into())))?;
        let pieces = format!("CHAR_LENGTH({text}) - CHAR_LENGTH(REPLACE({text}, {by}, _utf8mb4 ''))");
        Some(format!(
            "CASE WHEN {pieces} < {} THEN _utf8mb4 '' \
             ELSE SUBSTRING_INDEX(SUBSTRING_INDEX({text}, {by}, {piece}), {by}, -1) END",
            piece - 1
        ))
    }

    fn part(&self, part: Part, of: &str, kind: Kind) -> Option<String> {
        match (part, kind, self.flavor) {
            // Of 25 hours MariaDB tells one.
            (Part::Hour, Kind::Time { .. }, Flavor::Mariadb) => None,
            _ => Some(format!("EXTRACT({part} FROM {of})")),
        }
    }

    fn digits(&self, number: &str) -> String {
        format!("CONVERT(CAST({number} AS CHAR) USING utf8mb4)")
    }

    fn is_certain(&self, _: &str) -> bool {
        true
    }
}

impl Words {
    /// In brackets for its sign; an infinite one is none here.
    fn number(self, digits: &str) -> Option<String> {
        let is_known = digits
            .bytes()
            .all(|b| b.is_ascii_digit() || b == b'-' || b == b'.');
        let known = Digits::written(digits).filter(|digits| is_known && is_calculated(*digits));
        known.map(|_| format!("({digits})"))
    }
}

fn is_calculated(digits: Digits) -> bool {
    digits.precision() <= DIGITS_MAX && digits.scale <= SCALE_MAX
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
