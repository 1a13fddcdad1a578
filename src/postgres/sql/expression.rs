//! Expressions of the configuration in PostgreSQL's words (see `expr::server`).
//!
//! Owns: what makes the server see a value as we do: texts without blanks that only pad them and without a collation,
//! numbers as numeric. Refuses: days that its calendar does not have.

use super::quote;
use crate::expr::server::Dialect;
use crate::expr::{Clock, DAY_MICROS, Digits, Filter, Kind, Letters, Moment, Operator, Part, Scalar};
use crate::model::schema::{Column, ColumnType, Table};
use crate::postgres::codec::uuid_text;

#[derive(Debug, Clone, Copy)]
pub struct Words;

/// What the server may leave out of the rows `t` for the filter.
pub fn pushed(filter: &Filter, table: &Table) -> Option<String> {
    filter.pushed(table, &Words)
}

impl Dialect for Words {
    fn column(&self, column: &Column, kind: Kind) -> Option<String> {
        let name = format!("t.{}", quote(&column.name));
        Some(match (kind, &column.ty) {
            (Kind::Text { .. }, _) => format!("{name}::text"),
            (Kind::Bool, ColumnType::Bit { .. }) => format!("({name} = B'1')"),
            _ => name,
        })
    }

    fn literal(&self, kind: Kind, scalar: Option<&Scalar<'_>>) -> Option<String> {
        let ty = match kind {
            Kind::Bool => "boolean",
            Kind::Number { .. } => "numeric",
            Kind::Text { .. } => "text",
            Kind::Date => "date",
            Kind::Time { .. } => "time",
            Kind::Timestamp { zone: false, .. } => "timestamp",
            Kind::Timestamp { .. } => "timestamptz",
            Kind::Uuid => "uuid",
            Kind::Opaque(_) => return None,
        };
        let text = match scalar {
            None => return Some(format!("NULL::{ty}")),
            Some(Scalar::Bool(true)) => return Some("TRUE".to_owned()),
            Some(Scalar::Bool(false)) => return Some("FALSE".to_owned()),
            Some(Scalar::Int(number)) => return Some(format!("({number})")),
            Some(Scalar::Decimal(digits)) => return Some(format!("({digits})")),
            Some(Scalar::Text(text)) if text.contains('\0') => return None,
            Some(Scalar::Text(text)) => text.replace('\'', "''"),
            Some(Scalar::Time(micros @ 0..=DAY_MICROS)) => Clock(*micros).to_string(),
            Some(Scalar::Moment(day, 0..DAY_MICROS)) if !(day.is_common() || day.is_infinite()) => {
                return None;
            }
            Some(Scalar::Moment(day, _)) if kind == Kind::Date => day.to_string(),
            Some(Scalar::Moment(day, micros @ 0..DAY_MICROS)) => Moment(*day, *micros).to_string(),
            Some(Scalar::Time(_) | Scalar::Moment(..)) => return None,
            Some(Scalar::Uuid(uuid)) => uuid_text(uuid),
        };
        Some(format!("'{text}'::{ty}"))
    }

    fn bytes(&self, text: String) -> String {
        format!("({text} COLLATE \"C\")")
    }

    fn chars(&self, text: String) -> String {
        format!("({text} COLLATE \"C\")")
    }

    fn member(&self, number: String, _: Option<Digits>) -> Option<String> {
        Some(number)
    }

    fn exact(&self, number: String, _: Option<Digits>) -> Option<String> {
        Some(format!("{number}::numeric"))
    }

    fn calculates(&self, _: Option<Digits>, _: Operator, _: Option<Digits>) -> bool {
        true
    }

    fn concat(&self, left: &str, right: &str) -> String {
        format!("({left} || {right})")
    }

    /// By a collation that 17 has and no earlier one; what comes of it meets others that have `C`.
    fn letters(&self, letters: Letters, text: &str) -> Option<String> {
        Some(format!("({letters}({text} COLLATE \"pg_c_utf8\") COLLATE \"C\")"))
    }

    fn split(&self, text: &str, by: &str, piece: usize) -> Option<String> {
        let by = self.literal(Kind::text(None), Some(&Scalar::Text(by.into())))?;
        Some(format!("split_part({text} COLLATE \"C\", {by}, {piece})"))
    }

    fn part(&self, part: Part, of: &str, kind: Kind) -> Option<String> {
        Some(match kind {
            Kind::Time { .. } => format!("EXTRACT({part} FROM {of})"),
            _ => format!("(CASE WHEN isfinite({of}) THEN EXTRACT({part} FROM {of}) END)"),
        })
    }

    fn digits(&self, number: &str) -> String {
        format!("{number}::text")
    }

    /// A database in another encoding may not have the others, and would end with an error.
    fn is_certain(&self, text: &str) -> bool {
        text.is_ascii() && !text.contains('\0')
    }
}
