//! A column's new definition, and whether it holds every value of the one before it unchanged.
//!
//! Refuses: every type and attribute that is not listed here.

use super::words::{Reading, Token};
use super::{Before, Stood};
use crate::model::schema::ColumnType;

const MEDIUM: u64 = (1 << 24) - 1;
const LONG: u64 = (1 << 32) - 1;

/// What a definition says.
struct Definition {
    ty: ColumnType,
    charset: Option<String>,
    collation: Option<String>,
    is_null: bool,
    is_not_null: bool,
    is_counted: bool,
}

/// What the column is afterwards, if every value stays as it is; `Err`: why not. The inner `None`: what it is then is
/// not certain.
pub(super) fn retyped(
    name: &str,
    reading: &mut Reading<'_>,
    before: &Before<'_>,
) -> Result<Option<Stood>, String> {
    let now = definition(reading).ok_or_else(|| {
        format!("the new definition of column {name:?} is not of a kind that is known to keep its values")
    })?;
    let Some(stood) = before.columns.get(name) else {
        return Err(format!(
            "column {name:?} has a new definition, and what it was before is not known"
        ));
    };
    let has_charset = matches!(
        now.ty,
        ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. }
    );
    let (charset, is_certain) = match has_charset {
        true => charset(&now, before),
        false => (None, true),
    };
    let is_strict = before.mode.is_some_and(super::SqlMode::is_strict);
    let is_kept = match (has_charset, &stood.charset, &charset) {
        (true, Some(old), Some(new)) => carries(old, new),
        (true, _, _) => false,
        (false, _, _) => true,
    };
    if !is_kept {
        return Err(format!(
            "the text of column {name:?} is converted to a character set that is not known to hold all of it"
        ));
    }
    if !holds(&stood.ty, &now.ty, is_strict) {
        return Err(format!(
            "column {name:?} has another type, into which not every value fits unchanged"
        ));
    }
    let is_timestamp = matches!(now.ty, ColumnType::TimestampTz { .. });
    let is_nullable = !now.is_not_null && !now.is_counted && (now.is_null || !is_timestamp);
    if stood.nullable && !is_nullable {
        return Err(format!(
            "column {name:?} was made NOT NULL, which may have changed its NULLs"
        ));
    }
    let keeps_zeros = before.mode.is_some_and(super::SqlMode::keeps_zeros);
    if now.is_counted && before.counted != Some(name) && !keeps_zeros {
        return Err(format!(
            "column {name:?} was made AUTO_INCREMENT, which gives numbers to zeros"
        ));
    }
    Ok(is_certain.then_some(Stood {
        ty: now.ty,
        charset,
        nullable: is_nullable,
    }))
}

/// The character set that the definition means; `false`: by a name that servers understand in two ways.
fn charset(now: &Definition, before: &Before<'_>) -> (Option<String>, bool) {
    let of_collation = now.collation.as_deref().map(super::charset_of);
    let named = now.charset.clone().or(of_collation);
    let is_certain = named.as_deref() != Some("utf8");
    let named = named.or_else(|| before.charset.clone());
    let named = named.map(|name| {
        if name == "utf8" {
            "utf8mb3".to_owned()
        } else {
            name
        }
    });
    (named, is_certain)
}

/// Does the one hold every text of the other, character for character?
pub(super) fn carries(old: &str, new: &str) -> bool {
    old == new
        || matches!(
            (old, new),
            ("ascii" | "utf8mb3", "utf8mb4") | ("ascii", "utf8mb3")
        )
}

/// With strict SQL mode a number that does not fit fails the statement, and so does a label that is gone.
fn holds(before: &ColumnType, now: &ColumnType, is_strict: bool) -> bool {
    use ColumnType::{Bytes, Decimal, Enum, Int, Set, Text, Time, Timestamp, TimestampTz};
    match (before, now) {
        (
            Int {
                bits: old,
                unsigned: was,
            },
            Int {
                bits: new,
                unsigned: is,
            },
        ) => is_strict || (was == is && new >= old) || (*was && !is && new > old),
        (
            Decimal {
                precision: Some(p),
                scale: s,
                unsigned: was,
            },
            Decimal {
                precision: Some(q),
                scale: t,
                unsigned: is,
            },
        ) => t >= s && i64::from(*q) - i64::from(*t) >= i64::from(*p) - i64::from(*s) && (was == is || *was),
        (
            Text {
                chars: old,
                bytes: of,
                fixed: was,
                ..
            },
            Text {
                chars: new,
                bytes: to,
                fixed: is,
                ..
            },
        ) => was == is && has_room((*old, *of), (*new, *to)),
        (
            Bytes {
                limit: Some(old),
                fixed: was,
            },
            Bytes {
                limit: Some(new),
                fixed: is,
            },
        ) => was == is && (old == new || (!was && new > old)),
        (Time { fraction: old, .. }, Time { fraction: new, .. })
        | (Timestamp { fraction: old }, Timestamp { fraction: new })
        | (TimestampTz { fraction: old, .. }, TimestampTz { fraction: new, .. }) => new >= old,
        (Enum { labels: old }, Enum { labels: new }) => old == new || (is_strict && has_all(old, new)),
        (Set { labels: old }, Set { labels: new }) => {
            // A set is shown in the order of its labels.
            let mut rest = new.iter();
            old == new || (is_strict && has_all(old, new) && old.iter().all(|label| rest.any(|l| l == label)))
        }
        (old, new) => old == new,
    }
}

/// Limits in characters, or in bytes: no character takes more than four.
fn has_room(old: (Option<u32>, Option<u64>), new: (Option<u32>, Option<u64>)) -> bool {
    match (old, new) {
        ((Some(old), None), (Some(new), None)) => new >= old,
        ((Some(old), None), (None, Some(new))) => new >= u64::from(old) * 4,
        ((None, Some(old)), (None, Some(new))) => new >= old,
        _ => false,
    }
}

/// Labels that differ by case alone may be one to the column's collation.
fn has_all(old: &[String], new: &[String]) -> bool {
    let folded: std::collections::HashSet<String> = new.iter().map(|label| label.to_lowercase()).collect();
    folded.len() == new.len() && old.iter().all(|label| new.contains(label))
}

fn definition(reading: &mut Reading<'_>) -> Option<Definition> {
    let mut ty = base(reading)?;
    while let Some(sign) = [("UNSIGNED", true), ("SIGNED", false)]
        .into_iter()
        .find_map(|(word, sign)| reading.is(&[word]).then_some(sign))
    {
        match &mut ty {
            ColumnType::Int { unsigned, .. } | ColumnType::Decimal { unsigned, .. } => *unsigned = sign,
            _ => return None,
        }
    }
    let mut definition = Definition {
        ty,
        charset: None,
        collation: None,
        is_null: false,
        is_not_null: false,
        is_counted: false,
    };
    while !reading.is_over() {
        attribute(reading, &mut definition)?;
    }
    Some(definition)
}

fn attribute(reading: &mut Reading<'_>, definition: &mut Definition) -> Option<()> {
    if reading.is(&["NOT", "NULL"]) {
        definition.is_not_null = true;
    } else if reading.is(&["NULL"]) {
        definition.is_null = true;
    } else if reading.is(&["AUTO_INCREMENT"]) {
        definition.is_counted = true;
    } else if reading.is(&["DEFAULT"]) {
        value(reading)?;
    } else if reading.is(&["ON", "UPDATE"]) {
        moment(reading)?;
    } else if reading.is(&["CHARACTER", "SET"]) || reading.is(&["CHARSET"]) {
        definition.charset = Some(reading.value()?);
    } else if reading.is(&["COLLATE"]) {
        definition.collation = Some(reading.value()?);
    } else if reading.is_any(&["COMMENT", "COLUMN_FORMAT", "STORAGE"]) {
        reading.value()?;
    } else if reading.is(&["AFTER"]) {
        reading.name()?;
    } else if reading.is(&["CONSTRAINT"]) {
        let _ = reading.comes(&["CHECK"]) || reading.name().is_some();
        reading.comes(&["CHECK"]).then_some(())?;
    } else if reading.is(&["CHECK"]) {
        reading.group()?;
    } else if reading.is(&["UNIQUE"]) {
        reading.is(&["KEY"]);
    } else if !reading.is_any(&["VISIBLE", "INVISIBLE", "FIRST"]) {
        return None;
    }
    Some(())
}

/// A default: a literal, a function or an expression.
fn value(reading: &mut Reading<'_>) -> Option<()> {
    if reading.group().is_some() {
        return Some(());
    }
    let _ = reading.is_sign('-') || reading.is_sign('+');
    match reading.next()? {
        Token::Text(_) => Some(()),
        Token::Sign('.') => reading.number().map(|_| ()),
        Token::Word(_) => {
            if let Some(Token::Text(_)) = reading.0.first() {
                // b'1', x'0f', _utf8mb4'a'
                reading.next();
            } else if reading.is_sign('.') {
                reading.number()?;
            } else {
                reading.group();
            }
            Some(())
        }
        Token::Name(_) | Token::Sign(_) => None,
    }
}

fn moment(reading: &mut Reading<'_>) -> Option<()> {
    let is_now = reading.is_any(&["CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"]);
    reading.group();
    is_now.then_some(())
}

/// The type alone.
fn base(reading: &mut Reading<'_>) -> Option<ColumnType> {
    let Token::Word(word) = reading.next()? else {
        return None;
    };
    let int = |bits| ColumnType::Int {
        bits,
        unsigned: false,
    };
    let word = word.to_ascii_uppercase();
    Some(match word.as_str() {
        "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "INTEGER" | "BIGINT" => {
            // How wide it is shown.
            one(reading);
            int(match word.as_str() {
                "TINYINT" => 8,
                "SMALLINT" => 16,
                "MEDIUMINT" => 24,
                "BIGINT" => 64,
                _ => 32,
            })
        }
        "BOOL" | "BOOLEAN" => int(8),
        "DECIMAL" | "NUMERIC" | "DEC" => decimal(reading)?,
        "CHAR" | "CHARACTER" => text(Some(one(reading).unwrap_or(1)), None, true),
        "VARCHAR" => text(Some(one(reading)?), None, false),
        "TINYTEXT" => text(None, Some(255), false),
        "TEXT" => text(None, Some(65_535), false),
        "MEDIUMTEXT" => text(None, Some(MEDIUM), false),
        "LONGTEXT" => text(None, Some(LONG), false),
        "BINARY" => bytes(one(reading).unwrap_or(1).into(), true),
        "VARBINARY" => bytes(one(reading)?.into(), false),
        "TINYBLOB" => bytes(255, false),
        "BLOB" => bytes(65_535, false),
        "MEDIUMBLOB" => bytes(MEDIUM, false),
        "LONGBLOB" => bytes(LONG, false),
        "FLOAT" => ColumnType::Float,
        "DOUBLE" => {
            reading.is(&["PRECISION"]);
            ColumnType::Double
        }
        "BIT" => ColumnType::Bit {
            len: Some(one(reading).unwrap_or(1)),
            varying: false,
        },
        "DATE" => ColumnType::Date,
        "YEAR" => {
            one(reading);
            ColumnType::Year
        }
        "TIME" => ColumnType::Time {
            fraction: fraction(reading)?,
            span: true,
        },
        "DATETIME" => ColumnType::Timestamp {
            fraction: fraction(reading)?,
        },
        "TIMESTAMP" => ColumnType::TimestampTz {
            fraction: fraction(reading)?,
            epoch: true,
        },
        "JSON" => ColumnType::Json { normalised: true },
        "ENUM" => ColumnType::Enum {
            labels: labels(reading)?,
        },
        "SET" => ColumnType::Set {
            labels: labels(reading)?,
        },
        _ => return None,
    })
}

/// The number in parentheses, if some come next.
fn one(reading: &mut Reading<'_>) -> Option<u32> {
    let mut inside = reading.clone();
    let mut group = inside.group()?;
    let number = group.number().filter(|_| group.is_over())?;
    *reading = inside;
    Some(number)
}

fn fraction(reading: &mut Reading<'_>) -> Option<u8> {
    u8::try_from(one(reading).unwrap_or(0)).ok()
}

fn decimal(reading: &mut Reading<'_>) -> Option<ColumnType> {
    let (mut precision, mut scale) = (10, 0);
    if let Some(mut group) = reading.group() {
        precision = group.number()?;
        if group.is_sign(',') {
            scale = i32::try_from(group.number()?).ok()?;
        }
        if !group.is_over() {
            return None;
        }
    }
    Some(ColumnType::Decimal {
        precision: Some(precision),
        scale,
        unsigned: false,
    })
}

fn text(chars: Option<u32>, bytes: Option<u64>, fixed: bool) -> ColumnType {
    ColumnType::Text {
        chars,
        bytes,
        fixed,
        utf8: true,
    }
}

fn bytes(limit: u64, fixed: bool) -> ColumnType {
    ColumnType::Bytes {
        limit: Some(limit),
        fixed,
    }
}

/// The server cuts off the blanks at their ends.
fn labels(reading: &mut Reading<'_>) -> Option<Vec<String>> {
    let parts = reading.group()?.parts()?;
    let label = |part: &Reading<'_>| match part.0 {
        [Token::Text(label)] => Some(label.trim_end_matches(' ').to_owned()),
        _ => None,
    };
    parts.iter().map(label).collect()
}
