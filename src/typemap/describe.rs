//! Types in words: how a user would write one.

use crate::model::schema::{ColumnType, Engine};

/// The type as its engine would spell it.
pub(super) fn name(ty: &ColumnType, engine: Engine) -> String {
    let pg = engine.is_postgres();
    match ty {
        ColumnType::Bool => "boolean".into(),
        ColumnType::Int { bits, unsigned } => {
            let width = match (bits, pg) {
                (8, _) => "tinyint",
                (16, _) => "smallint",
                (24, _) => "mediumint",
                (32, true) => "integer",
                (32, false) => "int",
                (_, _) => "bigint",
            };
            format!("{width}{}", if *unsigned { " unsigned" } else { "" })
        }
        ColumnType::Float => if pg { "real" } else { "float" }.into(),
        ColumnType::Double => if pg { "double precision" } else { "double" }.into(),
        ColumnType::Decimal {
            precision,
            scale,
            unsigned,
        } => {
            let word = if pg { "numeric" } else { "decimal" };
            let limits = precision.map(|p| format!("({p},{scale})")).unwrap_or_default();
            format!("{word}{limits}{}", if *unsigned { " unsigned" } else { "" })
        }
        ColumnType::Text {
            chars, bytes, fixed, ..
        } => text(*chars, *bytes, *fixed),
        ColumnType::Bytes { limit, fixed } => match (pg, limit, fixed) {
            (true, _, _) => "bytea".into(),
            (false, Some(n), true) => format!("binary({n})"),
            (false, Some(n), false) => format!("varbinary({n})"),
            (false, None, _) => "longblob".into(),
        },
        ColumnType::Bit { len, varying } => {
            let limit = len.map(|n| format!("({n})")).unwrap_or_default();
            format!("bit{}{limit}", if *varying { " varying" } else { "" })
        }
        ColumnType::Date => "date".into(),
        ColumnType::Time { fraction, .. } => format!("time({fraction})"),
        ColumnType::Timestamp { fraction } => {
            format!("{}({fraction})", if pg { "timestamp" } else { "datetime" })
        }
        ColumnType::TimestampTz { fraction, .. } => {
            format!("{}({fraction})", if pg { "timestamptz" } else { "timestamp" })
        }
        ColumnType::Year => "year".into(),
        ColumnType::Uuid => "uuid".into(),
        ColumnType::Json { normalised } => if pg && *normalised { "jsonb" } else { "json" }.into(),
        ColumnType::Enum { .. } => "enum".into(),
        ColumnType::Set { .. } => "set".into(),
        ColumnType::Interval => "interval".into(),
        ColumnType::Opaque { name } => name.clone(),
    }
}

fn text(chars: Option<u32>, bytes: Option<u64>, fixed: bool) -> String {
    match (chars, bytes, fixed) {
        (Some(n), _, true) => format!("char({n})"),
        (Some(n), _, false) => format!("varchar({n})"),
        (None, Some(n), _) => format!("text of {n} bytes"),
        (None, None, _) => "text".into(),
    }
}
