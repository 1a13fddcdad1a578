//! Types in words: how a user would write one, and which type would do where a pair is refused.

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

/// A type of `engine` that takes every value, or nearly every value, of `ty`; `None` where there is none.
pub(super) fn instead(ty: &ColumnType, engine: Engine) -> Option<String> {
    let pg = engine.is_postgres();
    let name = match ty {
        ColumnType::Bool => if pg { "boolean" } else { "tinyint(1)" }.into(),
        ColumnType::Int { bits, unsigned } if pg => pg_integer(*bits, *unsigned).into(),
        ColumnType::Decimal { precision: None, .. } if !pg => "decimal(65,30)".into(),
        ColumnType::Decimal { precision, scale, .. } if pg => {
            precision.map_or("numeric".into(), |p| format!("numeric({p},{scale})"))
        }
        ColumnType::Text { chars, fixed, .. } => match chars {
            Some(n) if *fixed => format!("char({n})"),
            Some(n) if *n <= 16_383 || pg => format!("varchar({n})"),
            Some(_) | None => if pg { "text" } else { "longtext" }.into(),
        },
        ColumnType::Bytes { limit: None, .. } if !pg => "longblob".into(),
        ColumnType::Bit { len, varying } => match len {
            Some(n) if pg || (!varying && *n <= 64) => name(
                &ColumnType::Bit {
                    len: Some(*n),
                    varying: *varying,
                },
                engine,
            ),
            None if pg => "bit varying".into(),
            Some(_) | None => return None,
        },
        ColumnType::Time { fraction, span } if pg && *span => format!("interval, or time({fraction})"),
        ColumnType::TimestampTz {
            fraction,
            epoch: false,
        } if !pg => format!("datetime({fraction}), which then holds UTC"),
        ColumnType::Year if pg => "smallint".into(),
        ColumnType::Uuid if engine == Engine::Mysql => "binary(16) or char(36)".into(),
        ColumnType::Json { normalised } if engine == Engine::Mysql => {
            if *normalised { "json" } else { "longtext, or json" }.into()
        }
        ColumnType::Enum { .. } if pg => "an enum with the same labels, or text".into(),
        ColumnType::Set { .. } if pg => "text".into(),
        ColumnType::Interval if !pg => "varchar(64)".into(),
        ColumnType::Opaque { .. } => return None,
        ColumnType::Int { .. }
        | ColumnType::Float
        | ColumnType::Double
        | ColumnType::Decimal { .. }
        | ColumnType::Bytes { .. }
        | ColumnType::Date
        | ColumnType::Time { .. }
        | ColumnType::Timestamp { .. }
        | ColumnType::TimestampTz { .. }
        | ColumnType::Year
        | ColumnType::Uuid
        | ColumnType::Json { .. }
        | ColumnType::Enum { .. }
        | ColumnType::Set { .. }
        | ColumnType::Interval => name(ty, engine),
    };
    Some(name)
}

fn pg_integer(bits: u8, unsigned: bool) -> &'static str {
    match (bits, unsigned) {
        (0..=8, _) | (16, false) => "smallint",
        (16 | 24, true) | (24 | 32, false) => "integer",
        (32, true) | (64, false) => "bigint",
        (_, _) => "numeric(20,0)",
    }
}
