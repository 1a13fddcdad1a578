//! What a column of one engine means in a column of another, and the only place where a value changes its type.
//!
//! Owns: the table of pairs (`rule`), its words (`verdict`) and its work on values (`cast`). Words and work come
//! from one rule, so they cannot disagree: a pair that is refused at `check` refuses every value, and a pair that is
//! called exact refuses none but NULL into NOT NULL.
//! Refuses: every value that the target could not give back. A value is never rounded, cut, padded or folded, but in a
//! column whose owner has consented (`loss`).
//! Fails: with a [`Refusal`], which names the column, both types and the limit, and never holds the value.

mod address;
mod calendar;
mod cast;
mod decimal;
mod describe;
mod interval;
mod json;
mod literal;
mod loss;
mod rule;
mod text;
mod verdict;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod table;

pub use address::inet6;
pub use cast::{cast, stays};
pub use json::same_json;
pub use loss::{Loss, cast_with_loss, loss};
pub use verdict::verdict;

use crate::model::schema::{ColumnType, Engine};

/// Of a document that MySQL's own functions built. It comes as [`crate::model::value::Value::Opaque`], since it is more
/// than its text.
pub const SQL_IN_JSON: &str = "the document holds a value of SQL (JSON_TYPE tells: DATE, TIME, DATETIME, BLOB, BIT, or a \
                               long DECIMAL), which MySQL would read from its text as another type";

pub const NULL_IN_NOT_NULL: &str = "the target is NOT NULL and the value is NULL";

/// Does reading this JSON as numbers and objects lose nothing of it? 64-bit integers, exact doubles, no key twice.
pub fn is_plain_json(text: &str) -> bool {
    json::check(text, json::MYSQL).is_ok()
}

/// Whether a column's values can be carried into another column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every value the source can hold.
    Exact,
    /// The condition in words; each value is held against it, and one that fails is refused.
    ExactIf(String),
    /// What every value may lose, and none does without the owner's written consent.
    Lossy(String),
    /// Why not, and which type would do.
    Refused(String),
}

/// A value that could not be carried exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the target column.
    pub column: String,
    /// Both types and the limit; never the value.
    pub why: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "column {}: {}", self.column, self.why)
    }
}

/// Types known only as text whose output function gives equal values one text.
fn has_one_text(name: &str, engine: Engine) -> bool {
    match engine {
        Engine::Postgres => match name.strip_suffix("[]") {
            Some(element) => ONE_TEXT_IN_ARRAYS.contains(&element),
            None => ONE_TEXT_POSTGRES.contains(&name),
        },
        Engine::Mariadb => ["inet4", "inet6"].contains(&name),
        Engine::Mysql => false,
    }
}

/// Names as `format_type` writes them. Ranges of numeric are missing: 1.0 and 1.00 are equal bounds.
const ONE_TEXT_POSTGRES: [&str; 13] = [
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "oid",
    "pg_lsn",
    "xid8",
    "int4range",
    "int8range",
    "daterange",
    "int4multirange",
    "int8multirange",
    "datemultirange",
];
const ONE_TEXT_IN_ARRAYS: [&str; 8] = [
    "smallint",
    "integer",
    "bigint",
    "boolean",
    "text",
    "character varying",
    "uuid",
    "date",
];

/// Can rows be told apart by a column of this type? Keys are compared as canonical texts, so a type in which one
/// value has two texts is refused: the server would call two of our keys the same row.
pub fn can_be_key(ty: &ColumnType, engine: Engine) -> Result<(), String> {
    let (why, instead) = match ty {
        ColumnType::Float | ColumnType::Double => {
            ("is not compared exactly", "an integer or a decimal with a scale")
        }
        ColumnType::Json { .. } => (
            "has many texts for one value",
            "the part that identifies the row, in its own column",
        ),
        ColumnType::Opaque { name } if has_one_text(name, engine) => return Ok(()),
        ColumnType::Opaque { .. } => (
            "is only known as text, and nothing says that equal values have equal texts,",
            "an integer, a text or a uuid",
        ),
        ColumnType::Interval => ("has many texts for one value", "an integer in a fixed unit"),
        ColumnType::Decimal { precision: None, .. } => (
            "without a scale has many texts for one value (1.0 and 1.00)",
            "numeric with precision and scale",
        ),
        ColumnType::Bool
        | ColumnType::Int { .. }
        | ColumnType::Decimal { .. }
        | ColumnType::Text { .. }
        | ColumnType::Bytes { .. }
        | ColumnType::Bit { .. }
        | ColumnType::Date
        | ColumnType::Time { .. }
        | ColumnType::Timestamp { .. }
        | ColumnType::TimestampTz { .. }
        | ColumnType::Year
        | ColumnType::Uuid
        | ColumnType::Enum { .. }
        | ColumnType::Set { .. } => return Ok(()),
    };
    Err(format!(
        "{} {why} and cannot be part of a key; use {instead}",
        describe::name(ty, engine)
    ))
}
