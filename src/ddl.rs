//! The DDL that `check` prints to mend a difference between two tables. Nothing here is ever run by Tidelock.
//!
//! Owns: which type of an engine holds a [`ColumnType`] exactly, and the statements around it.
//! Refuses: naming a type where none of the engine fits (types of one engine only).

use crate::model::schema::{Column, ColumnType, Engine, TableId};

/// A MySQL row holds 65,535 bytes: a longer text or binary column has to be of the TEXT or BLOB family.
const MYSQL_VARYING_MAX: u64 = 16_383;
/// Four bytes a character have to fit the 3,072 bytes of an InnoDB key together with its neighbours.
const MYSQL_KEY_CHARS: u32 = 255;
const MYSQL_DECIMAL_DIGITS: u32 = 65;
const MYSQL_DECIMAL_SCALE: u32 = 30;

/// The type that holds every value of `ty` on `engine`, or the widest that comes near. To be asked for types that have
/// a counterpart there.
pub fn ddl_type(ty: &ColumnType, engine: Engine) -> String {
    match engine {
        Engine::Postgres => postgres_type(ty),
        Engine::Mysql | Engine::Mariadb => mysql_type(ty, engine),
    }
}

/// Where the other engine keeps a type that only one has: as its text, addresses as addresses.
fn opaque_type(name: &str, from: Engine, to: Engine) -> Option<&'static str> {
    let is_address = matches!(name, "inet4" | "inet6");
    match (from, to) {
        (Engine::Postgres, Engine::Mysql | Engine::Mariadb) => Some("longtext"),
        (Engine::Mariadb, Engine::Postgres) if is_address => Some("inet"),
        // The longest is an IPv6 address with an IPv4 address in it.
        (Engine::Mariadb, Engine::Mysql) if is_address => Some("varchar(45)"),
        (_, _) => None,
    }
}

fn postgres_type(ty: &ColumnType) -> String {
    match ty {
        ColumnType::Bool => "boolean".to_owned(),
        ColumnType::Int { bits, unsigned } => match (bits, unsigned) {
            (..=8, _) | (..=16, false) => "smallint",
            (..=16, true) | (..=24, _) | (..=32, false) => "integer",
            (..=32, true) | (_, false) => "bigint",
            (_, true) => "numeric(20,0)",
        }
        .to_owned(),
        ColumnType::Float => "real".to_owned(),
        ColumnType::Double => "double precision".to_owned(),
        ColumnType::Decimal {
            precision: Some(precision),
            scale,
            ..
        } => format!("numeric({precision},{scale})"),
        ColumnType::Decimal { precision: None, .. } => "numeric".to_owned(),
        ColumnType::Text {
            chars: Some(chars),
            fixed,
            ..
        } => format!("{}({chars})", if *fixed { "char" } else { "varchar" }),
        ColumnType::Text { chars: None, .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } => {
            "text".to_owned()
        }
        ColumnType::Bytes { .. } => "bytea".to_owned(),
        ColumnType::Bit { len, varying } => sized(if *varying { "bit varying" } else { "bit" }, *len),
        ColumnType::Date => "date".to_owned(),
        // An interval would hold spans beyond a day; the type map carries TIME to time within it.
        ColumnType::Time { fraction, .. } => format!("time({fraction})"),
        ColumnType::Timestamp { fraction } => format!("timestamp({fraction})"),
        ColumnType::TimestampTz { fraction, .. } => format!("timestamptz({fraction})"),
        ColumnType::Year => "smallint".to_owned(),
        ColumnType::Uuid => "uuid".to_owned(),
        ColumnType::Json { normalised: true } => "jsonb".to_owned(),
        ColumnType::Json { normalised: false } => "json".to_owned(),
        ColumnType::Interval => "interval".to_owned(),
        ColumnType::Opaque { name } => name.clone(),
    }
}

fn mysql_type(ty: &ColumnType, engine: Engine) -> String {
    match ty {
        ColumnType::Bool => "tinyint(1)".to_owned(),
        ColumnType::Int { bits, unsigned } => {
            let name = match bits {
                ..=8 => "tinyint",
                ..=16 => "smallint",
                ..=24 => "mediumint",
                ..=32 => "int",
                _ => "bigint",
            };
            format!("{name}{}", if *unsigned { " unsigned" } else { "" })
        }
        ColumnType::Float => "float".to_owned(),
        ColumnType::Double => "double".to_owned(),
        ColumnType::Decimal {
            precision,
            scale,
            unsigned,
        } => mysql_decimal(*precision, *scale, *unsigned),
        ColumnType::Text {
            chars, bytes, fixed, ..
        } => mysql_text(*chars, *bytes, *fixed),
        ColumnType::Bytes { limit, fixed } => mysql_bytes(*limit, *fixed),
        ColumnType::Bit {
            len: Some(len @ 1..=64),
            varying: false,
        } => format!("bit({len})"),
        ColumnType::Bit { len: Some(len), .. } => mysql_text(Some(*len), None, false),
        ColumnType::Bit { len: None, .. } => "longtext".to_owned(),
        ColumnType::Date => "date".to_owned(),
        ColumnType::Time { fraction, .. } => format!("time({fraction})"),
        ColumnType::Timestamp { fraction }
        | ColumnType::TimestampTz {
            fraction,
            epoch: false,
        } => format!("datetime({fraction})"),
        ColumnType::TimestampTz {
            fraction,
            epoch: true,
        } => format!("timestamp({fraction})"),
        ColumnType::Year => "year".to_owned(),
        ColumnType::Uuid if engine == Engine::Mariadb => "uuid".to_owned(),
        ColumnType::Uuid => "binary(16)".to_owned(),
        ColumnType::Json { normalised: true } => "json".to_owned(),
        ColumnType::Json { normalised: false } => "longtext".to_owned(),
        ColumnType::Enum { labels } => format!("enum({})", quoted(labels)),
        ColumnType::Set { labels } => format!("set({})", quoted(labels)),
        ColumnType::Interval => "varchar(64)".to_owned(),
        ColumnType::Opaque { name } => name.clone(),
    }
}

/// PostgreSQL allows a negative scale and one above the precision; MySQL neither.
fn mysql_decimal(precision: Option<u32>, scale: i32, unsigned: bool) -> String {
    let (precision, scale) = match precision {
        None => (MYSQL_DECIMAL_DIGITS, MYSQL_DECIMAL_SCALE),
        Some(precision) => match u32::try_from(scale) {
            Ok(scale) => (precision.max(scale), scale),
            Err(_) => (precision + scale.unsigned_abs(), 0),
        },
    };
    format!(
        "decimal({},{}){}",
        precision.min(MYSQL_DECIMAL_DIGITS),
        scale.min(MYSQL_DECIMAL_SCALE),
        if unsigned { " unsigned" } else { "" }
    )
}

fn mysql_text(chars: Option<u32>, bytes: Option<u64>, fixed: bool) -> String {
    match (chars, bytes) {
        (Some(chars), _) if fixed && chars <= 255 => format!("char({chars})"),
        (Some(chars), _) if u64::from(chars) <= MYSQL_VARYING_MAX => format!("varchar({chars})"),
        (Some(_), _) | (None, None) => "longtext".to_owned(),
        (None, Some(..=0xff)) => "tinytext".to_owned(),
        (None, Some(..=0xffff)) => "text".to_owned(),
        (None, Some(..=0xff_ffff)) => "mediumtext".to_owned(),
        (None, Some(_)) => "longtext".to_owned(),
    }
}

fn mysql_bytes(limit: Option<u64>, fixed: bool) -> String {
    match limit {
        Some(limit) if fixed && limit <= 255 => format!("binary({limit})"),
        Some(limit) if limit <= MYSQL_VARYING_MAX => format!("varbinary({limit})"),
        Some(..=0xffff) => "blob".to_owned(),
        Some(..=0xff_ffff) => "mediumblob".to_owned(),
        Some(_) | None => "longblob".to_owned(),
    }
}

fn sized(name: &str, len: Option<u32>) -> String {
    match len {
        Some(len) => format!("{name}({len})"),
        None => name.to_owned(),
    }
}

fn quoted(labels: &[String]) -> String {
    let labels: Vec<String> = labels
        .iter()
        .map(|label| format!("'{}'", label.replace('\\', "\\\\").replace('\'', "''")))
        .collect();
    labels.join(",")
}

/// A text as a literal. For MySQL and MariaDB as an ordinary session takes it, in which a backslash escapes.
pub fn literal(text: &str, engine: Engine) -> String {
    let escape = if engine.is_postgres() && text.contains('\\') {
        "E"
    } else {
        ""
    };
    format!("{escape}'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The engines' own quoting is theirs alone; this text is for people to run, and covers both.
pub fn quote(name: &str, engine: Engine) -> String {
    match engine {
        Engine::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
        Engine::Mysql | Engine::Mariadb => format!("`{}`", name.replace('`', "``")),
    }
}

pub fn table_name(id: &TableId, engine: Engine) -> String {
    format!("{}.{}", quote(&id.schema, engine), quote(&id.name, engine))
}

/// A column of one engine as a column of another: name, type, NOT NULL. `None`: `to` has no such type.
fn column(column: &Column, from: Engine, to: Engine) -> Option<String> {
    let ty = whole_type(column, from, to, Distinct::No)?;
    let null = if column.nullable || column.generated {
        ""
    } else {
        " NOT NULL"
    };
    Some(format!("{} {ty}{null}", quote(&column.name, to)))
}

/// Must two texts of a column that differ stay two?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distinct {
    No,
    /// In a comparison of the table's own.
    Compared,
    /// In an index.
    Keyed,
}

/// The type with its character set and collation.
pub fn whole_type(column: &Column, from: Engine, to: Engine, distinct: Distinct) -> Option<String> {
    let mut ty = type_for(column, from, to)?;
    let text = match column.ty {
        ColumnType::Text { .. } => true,
        ColumnType::Opaque { .. } => from != to,
        _ => false,
    };
    if to == Engine::Postgres || !text {
        return Some(ty);
    }
    if from == to {
        ty.push_str(&collate(column));
    } else if distinct != Distinct::No {
        if ty.ends_with("text") && distinct == Distinct::Keyed {
            ty = format!("varchar({MYSQL_KEY_CHARS})");
        }
        // Two keys that differ in case or trailing blanks at home stay two.
        let collation = match is_shared(&column.collation) {
            true => column.collation.as_str(),
            false => exact_collation(to),
        };
        ty = format!("{ty} CHARACTER SET utf8mb4 COLLATE {collation}");
    }
    Some(ty)
}

/// Do MySQL and MariaDB both know this collation?
fn is_shared(collation: &str) -> bool {
    let shared = ["bin", "general_ci", "unicode_ci", "unicode_520_ci"];
    let name = collation.strip_prefix("utf8mb4_");
    name.is_some_and(|name| shared.contains(&name))
}

/// What MySQL's and MariaDB's type text leaves out, and without which a column gets its table's collation.
fn collate(column: &Column) -> String {
    match column.collation.as_str() {
        "" => String::new(),
        collation => format!(" COLLATE {collation}"),
    }
}

/// MODIFY keeps nothing that it does not repeat.
fn default_again(present: &Column) -> &'static str {
    if present.has_default {
        " -- and its DEFAULT again, which MODIFY drops"
    } else {
        ""
    }
}

/// The type as written where both sides speak one dialect, else the one that means the same; `None`: `to` has none.
pub fn type_for(column: &Column, from: Engine, to: Engine) -> Option<String> {
    if from == to && !column.sql_type.is_empty() {
        return Some(column.sql_type.clone());
    }
    match &column.ty {
        ColumnType::Opaque { name } if from != to => opaque_type(name, from, to).map(str::to_owned),
        ty => Some(ddl_type(ty, to)),
    }
}

/// A collation in which two texts are equal only when their bytes are.
pub fn exact_collation(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "\"C\"",
        Engine::Mysql => "utf8mb4_0900_bin",
        Engine::Mariadb => "utf8mb4_nopad_bin",
    }
}

/// `None`: `to` has no type for it.
pub fn add_column(id: &TableId, wanted: &Column, from: Engine, to: Engine) -> Option<String> {
    let nullable = Column {
        nullable: true,
        ..wanted.clone()
    };
    // Without NOT NULL: the table may hold rows.
    let column = column(&nullable, from, to)?;
    Some(format!("ALTER TABLE {} ADD COLUMN {column};", table_name(id, to)))
}

pub fn change_type(id: &TableId, present: &Column, ty: &str, engine: Engine) -> String {
    let (table, name) = (table_name(id, engine), quote(&present.name, engine));
    match engine {
        Engine::Postgres => format!("ALTER TABLE {table} ALTER COLUMN {name} TYPE {ty};"),
        Engine::Mysql | Engine::Mariadb => {
            let null = if present.nullable { "NULL" } else { "NOT NULL" };
            let default = default_again(present);
            format!("ALTER TABLE {table} MODIFY COLUMN {name} {ty} {null};{default}")
        }
    }
}

pub fn allow_null(id: &TableId, present: &Column, engine: Engine) -> String {
    let (table, name) = (table_name(id, engine), quote(&present.name, engine));
    match engine {
        Engine::Postgres => format!("ALTER TABLE {table} ALTER COLUMN {name} DROP NOT NULL;"),
        Engine::Mysql | Engine::Mariadb => {
            let (ty, collate, default) = (&present.sql_type, collate(present), default_again(present));
            format!("ALTER TABLE {table} MODIFY COLUMN {name} {ty}{collate} NULL;{default}")
        }
    }
}

/// Of PostgreSQL: the server goes on numbering rows that bring no number.
pub fn identity_by_default(id: &TableId, column: &str) -> String {
    let engine = Engine::Postgres;
    format!(
        "ALTER TABLE {} ALTER COLUMN {} SET GENERATED BY DEFAULT;",
        table_name(id, engine),
        quote(column, engine)
    )
}

pub fn rename_column(id: &TableId, from: &str, to: &str, engine: Engine) -> String {
    format!(
        "ALTER TABLE {} RENAME COLUMN {} TO {};",
        table_name(id, engine),
        quote(from, engine),
        quote(to, engine)
    )
}

pub fn drop_column(id: &TableId, name: &str, engine: Engine) -> String {
    format!(
        "ALTER TABLE {} DROP COLUMN {};",
        table_name(id, engine),
        quote(name, engine)
    )
}

/// `columns` are names on the table's own side.
pub fn add_primary_key(id: &TableId, columns: &[String], replaces: bool, engine: Engine) -> String {
    let table = table_name(id, engine);
    let columns: Vec<String> = columns.iter().map(|name| quote(name, engine)).collect();
    let columns = columns.join(", ");
    match (engine, replaces) {
        (Engine::Mysql | Engine::Mariadb, true) => {
            format!("ALTER TABLE {table} DROP PRIMARY KEY, ADD PRIMARY KEY ({columns});")
        }
        (Engine::Postgres, true) => {
            let name = quote(&format!("{}_pkey", id.name), engine);
            format!("ALTER TABLE {table} DROP CONSTRAINT {name}, ADD PRIMARY KEY ({columns});")
        }
        (_, false) => format!("ALTER TABLE {table} ADD PRIMARY KEY ({columns});"),
    }
}

#[cfg(test)]
mod tests;
