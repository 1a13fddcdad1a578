//! Values back from the JSON of a conflict's record, and from what a person types.
//!
//! Owns: the inverse of [`super::evidence`] for one table's columns, and the reading of a text as a column's value.
//! Refuses: cells that are masked (they are told apart, never guessed), records of a table that has other columns by
//! now, and every text that is not exactly a value of the column. Fails: with the column and what it takes, never with
//! the value.

use super::evidence::MASKED;
use crate::model::schema::{Column, ColumnType, Engine, Table};
use crate::model::value::{Row, Value};
use crate::typemap;
use bytes::Bytes;
use bytestring::ByteString;
use serde_json::{Map, Value as Json};

/// A recorded cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Value(Value),
    /// Cells of one column in one record with the same number are equal.
    Masked(u64),
}

/// A recorded row in the order of its table's columns; `None`: the record does not have the cell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Image(pub Vec<Option<Cell>>);

impl Image {
    /// `table` is the one whose rows the record holds.
    pub fn parse(text: &str, table: &Table) -> Result<Image, String> {
        let cells: Map<String, Json> =
            serde_json::from_str(text).map_err(|_| "the recorded row is not a JSON object".to_owned())?;
        let mut image = vec![None; table.columns.len()];
        for (name, json) in &cells {
            let place = table
                .column(name)
                .ok_or_else(|| format!("the record has a column {name:?} that {} lacks by now", table.id))?;
            image[place] =
                Some(cell(json, &table.columns[place]).ok_or_else(|| unfit(&table.columns[place]))?);
        }
        Ok(Image(image))
    }

    pub fn cell(&self, place: usize) -> Option<&Cell> {
        self.0.get(place).and_then(Option::as_ref)
    }

    /// The values there are; masked cells are left out.
    pub fn row(&self) -> Row {
        let value = |cell: &Option<Cell>| match cell {
            Some(Cell::Value(value)) => Some(value.clone()),
            Some(Cell::Masked(_)) | None => None,
        };
        self.0.iter().map(value).collect()
    }
}

/// The recorded key, in the order of these columns.
pub fn key<'c>(text: &str, columns: impl Iterator<Item = &'c Column>) -> Result<Vec<Value>, String> {
    let cells: Vec<Json> =
        serde_json::from_str(text).map_err(|_| "the recorded key is not a JSON array".to_owned())?;
    let columns: Vec<&Column> = columns.collect();
    if cells.len() != columns.len() {
        return Err("the table's primary key has other columns by now".to_owned());
    }
    let value = |(json, column): (&Json, &Column)| match cell(json, column) {
        Some(Cell::Value(value)) => Ok(value),
        Some(Cell::Masked(_)) | None => Err(unfit(column)),
    };
    cells.iter().zip(columns).map(value).collect()
}

fn unfit(column: &Column) -> String {
    format!(
        "the record's value of column {:?} is none of its type by now",
        column.name
    )
}

fn cell(json: &Json, column: &Column) -> Option<Cell> {
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => whole(&number.to_string(), &column.ty)?,
        Json::String(text) => told(text, &column.ty)?,
        Json::Object(object) => return Some(Cell::Masked(object.get(MASKED)?.as_u64()?)),
        Json::Array(_) => return None,
    };
    Some(Cell::Value(value))
}

fn whole(digits: &str, ty: &ColumnType) -> Option<Value> {
    match ty {
        ColumnType::Int { unsigned: true, .. } => digits.parse().ok().map(Value::UInt),
        ColumnType::Int { .. } | ColumnType::Year => digits.parse().ok().map(Value::Int),
        _ => None,
    }
}

/// A canonical text as the value it stands for.
fn told(text: &str, ty: &ColumnType) -> Option<Value> {
    let same = || ByteString::from(text);
    Some(match ty {
        ColumnType::Bool | ColumnType::Int { .. } | ColumnType::Year => return None,
        ColumnType::Float => Value::Float(text.parse().ok()?),
        ColumnType::Double => Value::Double(text.parse().ok()?),
        ColumnType::Decimal { .. } => Value::Decimal(same()),
        ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } => Value::Text(same()),
        ColumnType::Bytes { .. } => Value::Bytes(bytes(text)?),
        ColumnType::Bit { .. } => Value::Bit(same()),
        ColumnType::Date => Value::Date(same()),
        ColumnType::Time { .. } => Value::Time(same()),
        ColumnType::Timestamp { .. } => Value::Timestamp(same()),
        ColumnType::TimestampTz { .. } => Value::TimestampTz(same()),
        ColumnType::Uuid => Value::Uuid(uuid(text)?),
        ColumnType::Json { .. } => Value::Json(same()),
        ColumnType::Interval => Value::Interval(same()),
        ColumnType::Opaque { .. } => Value::Opaque(same()),
    })
}

/// `\x` and hexadecimal.
fn bytes(text: &str) -> Option<Bytes> {
    let digits = text.strip_prefix("\\x")?;
    if digits.len() % 2 != 0 || !digits.is_ascii() {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
    (0..digits.len())
        .step_by(2)
        .map(byte)
        .collect::<Option<Vec<u8>>>()
        .map(Bytes::from)
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let bytes = bytes(&format!("\\x{digits}"))?;
    <[u8; 16]>::try_from(&*bytes).ok()
}

/// What a person typed as a value of the column, held against its limits as a value that is carried to it would be.
pub fn typed(text: &str, column: &Column, engine: Engine) -> Result<Value, String> {
    let takes = |what: &str| format!("column {:?} ({}) takes {what}", column.name, column.sql_type);
    let (value, widest) = widest(text, &column.ty).map_err(takes)?;
    let cast = match widest {
        // As the server writes it: nothing is known of its limits.
        None => return Ok(value),
        Some(widest) => typemap::cast(value, &widest, engine, column, engine),
    };
    cast.map_err(|refusal| refusal.to_string())
}

/// A value with the widest type that it is one of; none where nothing is known of a type's limits.
type Wide = (Value, Option<ColumnType>);

/// The value, or what the column takes.
fn widest(text: &str, ty: &ColumnType) -> Result<Wide, &'static str> {
    match ty {
        ColumnType::Bool
        | ColumnType::Int { .. }
        | ColumnType::Year
        | ColumnType::Float
        | ColumnType::Double
        | ColumnType::Decimal { .. } => number(text, ty),
        ColumnType::Date
        | ColumnType::Time { .. }
        | ColumnType::Timestamp { .. }
        | ColumnType::TimestampTz { .. } => time(text, ty),
        ColumnType::Text { .. }
        | ColumnType::Bytes { .. }
        | ColumnType::Bit { .. }
        | ColumnType::Uuid
        | ColumnType::Json { .. }
        | ColumnType::Enum { .. }
        | ColumnType::Set { .. }
        | ColumnType::Interval
        | ColumnType::Opaque { .. } => textual(text, ty),
    }
}

fn number(text: &str, ty: &ColumnType) -> Result<Wide, &'static str> {
    let wide = |bits, unsigned| Some(ColumnType::Int { bits, unsigned });
    Ok(match ty {
        ColumnType::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" | "yes" | "on" => (Value::Bool(true), Some(ColumnType::Bool)),
            "false" | "f" | "0" | "no" | "off" => (Value::Bool(false), Some(ColumnType::Bool)),
            _ => return Err("true or false"),
        },
        ColumnType::Int { unsigned: true, .. } => {
            let number = text.parse().map_err(|_| "a whole number from 0")?;
            (Value::UInt(number), wide(64, true))
        }
        ColumnType::Float => {
            let number = text.parse().map_err(|_| "a number")?;
            (Value::Float(number), Some(ColumnType::Float))
        }
        ColumnType::Double => {
            let number = text.parse().map_err(|_| "a number")?;
            (Value::Double(number), Some(ColumnType::Double))
        }
        ColumnType::Decimal { .. } if is_decimal(text) => {
            let unbounded = ColumnType::Decimal {
                precision: None,
                scale: 0,
                unsigned: false,
            };
            (Value::Decimal(text.into()), Some(unbounded))
        }
        ColumnType::Decimal { .. } => return Err("digits, with a point before the fraction"),
        _ => {
            let number = text.parse().map_err(|_| "a whole number")?;
            (Value::Int(number), wide(64, false))
        }
    })
}

fn time(text: &str, ty: &ColumnType) -> Result<Wide, &'static str> {
    let (fraction, clock) = (6, "%Y-%m-%d %H:%M:%S%.f");
    Ok(match ty {
        ColumnType::Timestamp { .. } => {
            moment(text, clock).ok_or("a time as 2026-01-31 23:59:59")?;
            (
                Value::Timestamp(text.into()),
                Some(ColumnType::Timestamp { fraction }),
            )
        }
        ColumnType::TimestampTz { epoch, .. } => {
            moment(text, clock).ok_or("a time in UTC as 2026-01-31 23:59:59")?;
            let epoch = *epoch;
            let widest = ColumnType::TimestampTz { fraction, epoch };
            (Value::TimestampTz(text.into()), Some(widest))
        }
        ColumnType::Time { span, .. } if is_time(text) => {
            let span = *span;
            let widest = ColumnType::Time { fraction, span };
            (Value::Time(text.into()), Some(widest))
        }
        ColumnType::Time { .. } => return Err("a time as 23:59:59"),
        _ => {
            moment(text, "%Y-%m-%d").ok_or("a date as 2026-01-31")?;
            (Value::Date(text.into()), Some(ColumnType::Date))
        }
    })
}

fn textual(text: &str, ty: &ColumnType) -> Result<Wide, &'static str> {
    Ok(match ty {
        ColumnType::Bytes { .. } => {
            let bytes = bytes(text).ok_or("\\x and hexadecimal digits")?;
            let (limit, fixed) = (None, false);
            (Value::Bytes(bytes), Some(ColumnType::Bytes { limit, fixed }))
        }
        ColumnType::Bit { .. } => {
            if text.is_empty() || !text.bytes().all(|b| matches!(b, b'0' | b'1')) {
                return Err("0 and 1, the highest first");
            }
            let (len, varying) = (None, true);
            (Value::Bit(text.into()), Some(ColumnType::Bit { len, varying }))
        }
        ColumnType::Uuid => {
            let uuid = uuid(text).ok_or("a uuid")?;
            (Value::Uuid(uuid), Some(ColumnType::Uuid))
        }
        ColumnType::Json { .. } => {
            serde_json::from_str::<Json>(text).map_err(|_| "a JSON document")?;
            (Value::Json(text.into()), Some(ty.clone()))
        }
        // A server's own text: it says itself what it takes.
        ColumnType::Interval => (Value::Interval(text.into()), None),
        ColumnType::Opaque { .. } => (Value::Opaque(text.into()), None),
        ColumnType::Enum { labels } if !labels.iter().any(|label| label == text) => {
            return Err("one of its labels");
        }
        ColumnType::Enum { .. } => (Value::Text(text.into()), Some(ty.clone())),
        _ => {
            let unbounded = ColumnType::Text {
                chars: None,
                bytes: None,
                fixed: false,
                utf8: true,
            };
            (Value::Text(text.into()), Some(unbounded))
        }
    })
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    all(whole) && all(fraction)
}

/// Is it a moment of the calendar, written so?
fn moment(text: &str, format: &str) -> Option<()> {
    let broken = jiff::fmt::strtime::parse(format, text).ok()?;
    broken.to_date().ok().map(|_| ())
}

fn is_time(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (clock, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let parts: Vec<&str> = clock.split(':').collect();
    let digits = |part: &str, least: usize| part.len() >= least && part.bytes().all(|b| b.is_ascii_digit());
    let below_60 = |part: &str| digits(part, 2) && part.len() == 2 && part < "60";
    matches!(parts.as_slice(), [hours, minutes, seconds]
        if digits(hours, 2) && below_60(minutes) && below_60(seconds))
        && digits(fraction, 1)
        && fraction.len() <= 6
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::evidence::row_json;
    use super::*;
    use crate::model::schema::TableId;
    use std::collections::BTreeMap;

    fn column(name: &str, ty: ColumnType) -> Column {
        Column {
            name: name.to_owned(),
            ty,
            sql_type: "its type".to_owned(),
            collation: String::new(),
            nullable: true,
            generated: false,
            has_default: false,
        }
    }

    fn text() -> ColumnType {
        ColumnType::Text {
            chars: Some(5),
            bytes: None,
            fixed: false,
            utf8: true,
        }
    }

    fn int(bits: u8, unsigned: bool) -> ColumnType {
        ColumnType::Int { bits, unsigned }
    }

    fn table() -> Table {
        let decimal = ColumnType::Decimal {
            precision: Some(10),
            scale: 2,
            unsigned: false,
        };
        let types = [
            int(32, false),
            int(64, true),
            decimal,
            text(),
            ColumnType::Bytes {
                limit: None,
                fixed: false,
            },
            ColumnType::Uuid,
            ColumnType::Double,
            ColumnType::Bool,
            ColumnType::Timestamp { fraction: 6 },
        ];
        let columns = types.into_iter().enumerate();
        Table {
            id: TableId::new("s", "t"),
            columns: columns.map(|(at, ty)| column(&format!("c{at}"), ty)).collect(),
            key: vec![0],
            uniques: Vec::new(),
            external: None,
        }
    }

    #[test]
    fn a_recorded_row_comes_back_as_it_was() {
        let row: Row = [
            Value::Int(-7),
            Value::UInt(u64::MAX),
            Value::Decimal("12345678.90".into()),
            Value::Text("it's".into()),
            Value::Bytes(vec![0, 255].into()),
            Value::Uuid([0xab; 16]),
            Value::Double(0.1),
            Value::Null,
            Value::Timestamp("2026-01-31 23:59:59.5".into()),
        ]
        .into_iter()
        .map(Some)
        .collect();
        let json = row_json(&table(), &row, &BTreeMap::new());
        assert_eq!(Image::parse(&json, &table()).unwrap().row(), row);
    }

    #[test]
    fn masked_cells_come_back_as_numbers_and_unknown_columns_not_at_all() {
        let row: Row = [Some(Value::Int(1)), None, None, Some(Value::Text("x".into()))]
            .into_iter()
            .chain(std::iter::repeat_n(None, 5))
            .collect();
        let json = row_json(&table(), &row, &BTreeMap::from([(3, 2)]));
        assert!(!json.contains("\"x\""), "{json}");
        let image = Image::parse(&json, &table()).unwrap();
        assert_eq!(image.cell(3), Some(&Cell::Masked(2)));
        assert_eq!((image.row().get(3), image.cell(1)), (None, None));
        assert!(
            Image::parse("{\"gone\": 1}", &table())
                .unwrap_err()
                .contains("gone")
        );
    }

    #[test]
    fn what_is_typed_is_held_against_the_column() {
        let typed = |text: &str, ty: ColumnType| typed(text, &column("c", ty), Engine::Postgres);
        assert_eq!(typed("-5", int(16, false)), Ok(Value::Int(-5)));
        for (text, ty) in [
            ("40000", int(16, false)),
            ("-1", int(32, true)),
            ("1.5", int(32, false)),
            ("toolong", self::text()),
            ("2026-02-30", ColumnType::Date),
            ("tomorrow", ColumnType::Date),
            ("25", ColumnType::Bool),
            (
                "0x00",
                ColumnType::Bytes {
                    limit: None,
                    fixed: false,
                },
            ),
            ("{", ColumnType::Json { normalised: true }),
            (
                "9:99",
                ColumnType::Time {
                    fraction: 6,
                    span: false,
                },
            ),
        ] {
            let refused = typed(text, ty).unwrap_err();
            assert!(!refused.contains(text), "the value is told: {refused}");
        }
        assert_eq!(
            typed("2026-02-28", ColumnType::Date),
            Ok(Value::Date("2026-02-28".into()))
        );
        assert_eq!(
            typed(
                "\\x00ff",
                ColumnType::Bytes {
                    limit: None,
                    fixed: false
                }
            ),
            Ok(Value::Bytes(vec![0, 255].into()))
        );
        assert_eq!(typed("it's", self::text()), Ok(Value::Text("it's".into())));
    }
}
