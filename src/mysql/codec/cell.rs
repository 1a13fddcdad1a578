//! Cells of row events to values, by what the log says of the column and the catalog of types it does not name.
//!
//! Owns: [`Reader`], made once per table description; [`decode_row`].
//! Refuses: types of servers' former lives (TIME, DATETIME, TIMESTAMP before 5.6), MariaDB's COMPRESSED columns and
//! charsets that are [`Charset::Other`], when the reader is made and not row by row; the error has the ALTER that mends
//! it.

use super::charset::Charset;
use super::{binary, bit_text, json, opaque_bytes, padded, trimmed};
use crate::error::{Error, NEW_COPY, Reason, Result};
use crate::model::schema::{Column, ColumnType, Table, TableId};
use crate::model::value::{Row, Value};
use crate::mysql::sql::{quote, table as quoted_table};
use crate::mysql::wire::Cursor;
use crate::mysql::wire::alteration::Stood;
use crate::mysql::wire::rows::is_set;
use crate::mysql::wire::table_map::{Description, LogColumn, Meta, column_type as ty};
use crate::typemap::inet6;
use bytestring::ByteString;
use std::net::{Ipv4Addr, Ipv6Addr};

/// How one column's bytes are read.
#[derive(Debug, Clone, PartialEq)]
enum Form {
    /// Bytes and signedness.
    Int(usize, bool),
    Year,
    Float,
    Double,
    Decimal(u8, u8),
    /// Bytes of the length prefix.
    Text(usize, Charset, bool),
    Bytes(usize, Option<u64>, bool),
    Json(usize),
    /// The catalog says JSON, which MariaDB keeps as text.
    JsonText(usize, Charset),
    Opaque(usize),
    Uuid,
    /// 4 or 16 bytes.
    Address(usize),
    Bit(u32),
    Date,
    Time(u8),
    DateTime(u8),
    Timestamp(u8),
    Enum(usize, Vec<ByteString>),
    Set(usize, Vec<ByteString>),
}

/// Reads the rows of one table as the log describes it.
#[derive(Debug)]
pub struct Reader {
    pub table: std::sync::Arc<Table>,
    forms: Vec<Form>,
}

impl Reader {
    /// `catalog`: the table as it is now, for what the log does not tell: key, collations, and types that the
    /// log shows as plain bytes.
    pub fn new(id: &TableId, description: &Description<'_>, catalog: &Table) -> Result<Reader> {
        let mut columns = Vec::with_capacity(description.columns.len());
        let mut forms = Vec::with_capacity(description.columns.len());
        for column in &description.columns {
            let name = column.name.and_then(|name| std::str::from_utf8(name).ok());
            let name = name.ok_or_else(|| no_names(id))?;
            let known = catalog.column(name).map(|index| &catalog.columns[index]);
            let (form, ty) = form(column, known).ok_or_else(|| refuse(id, name, column))?;
            columns.push(described(name, ty, known));
            forms.push(form);
        }
        let key = key(id, &columns, description, catalog)?;
        let table = Table {
            id: id.clone(),
            columns,
            key,
            uniques: Vec::new(),
            external: catalog.external.clone(),
        };
        Ok(Reader {
            table: std::sync::Arc::new(table),
            forms,
        })
    }

    pub fn width(&self) -> usize {
        self.forms.len()
    }
}

/// What the log alone says of a column: no catalog stands in for it.
pub fn stood(column: &LogColumn<'_>) -> Option<Stood> {
    let (_, ty) = logged(column)?;
    let has_charset = matches!(
        ty,
        ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. }
    );
    let charset = match has_charset {
        true => Some(Charset::of(column.collation?).name()?.to_owned()),
        false => None,
    };
    Some(Stood {
        ty,
        charset,
        nullable: column.nullable,
    })
}

/// One full image: which cells are NULL, then the others.
pub fn decode_row(reader: &Reader, cursor: &mut Cursor<'_>) -> Result<Row> {
    let unreadable = |what: &str| {
        Error::definite(format!("read {what} of a row event"))
            .table(&reader.table.id)
            .why("the bytes are not what the log's description of the table says")
    };
    let nulls = cursor
        .take(reader.forms.len().div_ceil(8))
        .ok_or_else(|| unreadable("the NULL bits"))?;
    let mut cells = Vec::with_capacity(reader.forms.len());
    for (index, form) in reader.forms.iter().enumerate() {
        let value = match is_set(nulls, index) {
            true => Value::Null,
            false => cell(form, cursor)
                .ok_or_else(|| unreadable(&format!("column {:?}", reader.table.columns[index].name)))?,
        };
        cells.push(Some(value));
    }
    Ok(Row(cells.into_boxed_slice()))
}

fn no_names(id: &TableId) -> Error {
    Error::definite("read a row event")
        .table(id)
        .why("the log does not name the columns")
        .hint("SET GLOBAL binlog_row_metadata = FULL; sessions that were open keep writing the old form until they reconnect")
}

fn refuse(id: &TableId, column: &str, log: &LogColumn<'_>) -> Error {
    let (table, quoted) = (quoted_table(id), quote(column));
    let error = Error::definite(format!("read column {column:?}")).table(id);
    match log.ty {
        ty::BLOB_COMPRESSED | ty::VARCHAR_COMPRESSED => error
            .why("it is COMPRESSED, whose rows this version does not read")
            .hint(format!(
                "ALTER TABLE {table} MODIFY {quoted} ...; (its definition without COMPRESSED)"
            )),
        7 | 11 | 12 => error
            .why("it has the temporal format of before MySQL 5.6")
            .hint(format!("ALTER TABLE {table} FORCE;")),
        _ if log.collation.is_some() => error
            .why(format!(
                "its charset (collation number {}) is not read",
                log.collation.unwrap_or_default()
            ))
            .hint(format!("ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4;")),
        other => error
            .why(format!("type number {other} is not known"))
            .hint("leave the table out of the sync"),
    }
}

fn described(name: &str, ty: ColumnType, known: Option<&Column>) -> Column {
    match known {
        Some(known) => Column { ty, ..known.clone() },
        // Dropped since, or renamed.
        None => Column {
            name: name.to_owned(),
            ty,
            sql_type: String::new(),
            collation: String::new(),
            nullable: true,
            generated: false,
            has_default: false,
        },
    }
}

/// The catalog's key by name. A log that names another key is from before an ALTER, or the catalog is.
fn key(
    id: &TableId,
    columns: &[Column],
    description: &Description<'_>,
    catalog: &Table,
) -> Result<Vec<usize>> {
    let refused = |why: &str| {
        Error::definite("read a row event")
            .table(id)
            .why(why.to_owned())
            .reason(Reason::PositionLost)
            .hint(format!(
                "the primary key was altered while rows of the old form were still to be read: {NEW_COPY}"
            ))
    };
    let mut key = Vec::with_capacity(catalog.key.len());
    for index in &catalog.key {
        let name = &catalog.columns[*index].name;
        let found = columns.iter().position(|column| column.name == *name);
        key.push(found.ok_or_else(|| refused("the log's table lacks a column of the primary key"))?);
    }
    match &description.primary_key {
        // The primary key of a table whose rows another column names is not told to anybody.
        Some(logged) if !key.is_empty() && *logged != key && catalog.external.is_none() => {
            Err(refused("the log's table has another primary key"))
        }
        _ => Ok(key),
    }
}

/// The bytes' form and what they mean. The catalog's type is taken where both agree, since it knows more.
fn form(column: &LogColumn<'_>, known: Option<&Column>) -> Option<(Form, ColumnType)> {
    if let Some(known) = known
        && let Some(form) = overlaid(column, &known.ty)
    {
        return Some((form, known.ty.clone()));
    }
    let (form, ty) = logged(column)?;
    let ty = match known {
        Some(known) if agree(&known.ty, &ty) => known.ty.clone(),
        _ => ty,
    };
    Some((form, ty))
}

/// Types which the log shows as plain bytes or text.
fn overlaid(column: &LogColumn<'_>, catalog: &ColumnType) -> Option<Form> {
    let charset = Charset::of(column.collation?);
    match (catalog, column.ty, column.meta) {
        (ColumnType::Uuid, ty::STRING, Meta::Length(16)) if charset == Charset::Binary => Some(Form::Uuid),
        (ColumnType::Opaque { name }, ty::STRING, Meta::Length(len @ (4 | 16)))
            if charset == Charset::Binary && super::is_address(name) =>
        {
            Some(Form::Address(len as usize))
        }
        (ColumnType::Json { normalised: false }, ty::BLOB, Meta::Small(prefix))
            if charset != Charset::Other =>
        {
            Some(Form::JsonText(usize::from(prefix), charset))
        }
        _ => None,
    }
}

/// Do both mean the same values, so that the catalog's limits may stand for the log's?
fn agree(catalog: &ColumnType, logged: &ColumnType) -> bool {
    match (catalog, logged) {
        (ColumnType::Text { fixed: a, .. }, ColumnType::Text { fixed: b, .. }) => a == b,
        (
            ColumnType::Bytes {
                limit: a,
                fixed: true,
            },
            ColumnType::Bytes {
                limit: b,
                fixed: true,
            },
        ) => a == b,
        (ColumnType::Bytes { fixed: false, .. }, ColumnType::Bytes { fixed: false, .. }) => true,
        (ColumnType::Decimal { .. }, ColumnType::Decimal { .. }) => true,
        (ColumnType::Opaque { .. }, ColumnType::Opaque { .. }) => true,
        _ => catalog == logged,
    }
}

fn logged(column: &LogColumn<'_>) -> Option<(Form, ColumnType)> {
    let unsigned = column.unsigned;
    let int = |bytes: usize| {
        let ty = ColumnType::Int {
            bits: bytes as u8 * 8,
            unsigned,
        };
        Some((Form::Int(bytes, unsigned), ty))
    };
    match (column.ty, column.meta) {
        (ty::TINY, _) => int(1),
        (ty::SHORT, _) => int(2),
        (ty::INT24, _) => int(3),
        (ty::LONG, _) => int(4),
        (ty::LONGLONG, _) => int(8),
        (ty::YEAR, _) => Some((Form::Year, ColumnType::Year)),
        (ty::FLOAT, Meta::Small(4)) => Some((Form::Float, ColumnType::Float)),
        (ty::DOUBLE, Meta::Small(8)) => Some((Form::Double, ColumnType::Double)),
        (ty::NEWDECIMAL, Meta::Decimal { precision, scale }) => Some((
            Form::Decimal(precision, scale),
            ColumnType::Decimal {
                precision: Some(precision.into()),
                scale: scale.into(),
                unsigned,
            },
        )),
        (ty::BIT, Meta::Length(bits)) => Some((
            Form::Bit(bits),
            ColumnType::Bit {
                len: Some(bits),
                varying: false,
            },
        )),
        (ty::DATE | ty::NEWDATE, _) => Some((Form::Date, ColumnType::Date)),
        (ty::TIME2, Meta::Small(fraction)) => {
            Some((Form::Time(fraction), ColumnType::Time { fraction, span: true }))
        }
        (ty::DATETIME2, Meta::Small(fraction)) => {
            Some((Form::DateTime(fraction), ColumnType::Timestamp { fraction }))
        }
        (ty::TIMESTAMP2, Meta::Small(fraction)) => Some((
            Form::Timestamp(fraction),
            ColumnType::TimestampTz {
                fraction,
                epoch: true,
            },
        )),
        (ty::JSON, Meta::Small(prefix)) => {
            Some((Form::Json(prefix.into()), ColumnType::Json { normalised: true }))
        }
        (ty::GEOMETRY, Meta::Small(prefix)) => Some(opaque(prefix, "geometry")),
        (ty::VECTOR, Meta::Small(prefix)) => Some(opaque(prefix, "vector")),
        (ty::ENUM | ty::SET, Meta::Small(bytes)) => labelled(column, bytes.into()),
        _ => character(column),
    }
}

fn opaque(prefix: u8, name: &str) -> (Form, ColumnType) {
    let ty = ColumnType::Opaque {
        name: name.to_owned(),
    };
    (Form::Opaque(prefix.into()), ty)
}

fn labelled(column: &LogColumn<'_>, bytes: usize) -> Option<(Form, ColumnType)> {
    let charset = Charset::of(column.collation?);
    let texts: Option<Vec<ByteString>> = column
        .labels
        .iter()
        .map(|label| match charset {
            Charset::Binary => Charset::Utf8Mb4.text(label),
            _ => charset.text(label),
        })
        .collect();
    let texts = texts?;
    let labels = texts.iter().map(ToString::to_string).collect();
    Some(match column.ty {
        ty::ENUM => (Form::Enum(bytes, texts), ColumnType::Enum { labels }),
        _ => (Form::Set(bytes, texts), ColumnType::Set { labels }),
    })
}

/// CHAR, VARCHAR, TEXT and their binary twins.
fn character(column: &LogColumn<'_>) -> Option<(Form, ColumnType)> {
    let charset = Charset::of(column.collation?);
    if charset == Charset::Other {
        return None;
    }
    let (prefix, limit, fixed, is_blob) = match (column.ty, column.meta) {
        (ty::STRING, Meta::Length(len)) => (if len > 255 { 2 } else { 1 }, u64::from(len), true, false),
        (ty::VARCHAR | ty::VAR_STRING, Meta::Length(len)) => {
            (if len > 255 { 2 } else { 1 }, u64::from(len), false, false)
        }
        (ty::BLOB | ty::TINY_BLOB | ty::MEDIUM_BLOB | ty::LONG_BLOB, Meta::Small(prefix @ 1..=4)) => {
            (usize::from(prefix), (1_u64 << (8 * prefix)) - 1, false, true)
        }
        _ => return None,
    };
    if charset == Charset::Binary {
        let ty = ColumnType::Bytes {
            limit: Some(limit),
            fixed,
        };
        return Some((Form::Bytes(prefix, Some(limit), fixed), ty));
    }
    let ty = ColumnType::Text {
        chars: (!is_blob).then(|| limit as u32 / charset.bytes_per_char()),
        bytes: is_blob.then_some(limit),
        fixed,
        utf8: charset.is_unicode(),
    };
    Some((Form::Text(prefix, charset, fixed), ty))
}

/// A length of `prefix` bytes, and the bytes.
fn prefixed<'a>(cursor: &mut Cursor<'a>, prefix: usize) -> Option<&'a [u8]> {
    let len = usize::try_from(cursor.little(prefix)?).ok()?;
    cursor.take(len)
}

fn cell(form: &Form, cursor: &mut Cursor<'_>) -> Option<Value> {
    Some(match form {
        Form::Int(bytes, true) => Value::UInt(cursor.little(*bytes)?),
        Form::Int(bytes, false) => {
            // The sign bit is the highest of the bytes that are there.
            let unused = 64 - 8 * *bytes as u32;
            Value::Int((cursor.little(*bytes)? << unused).cast_signed() >> unused)
        }
        Form::Year => match cursor.u8()? {
            0 => Value::Int(0),
            year => Value::Int(1900 + i64::from(year)),
        },
        Form::Float => Value::Float(f32::from_bits(cursor.u32()?)),
        Form::Double => Value::Double(f64::from_bits(cursor.u64()?)),
        Form::Decimal(precision, scale) => {
            Value::Decimal(binary::decimal(cursor, *precision, *scale)?.into())
        }
        Form::Text(prefix, charset, fixed) => {
            let text = charset.text(prefixed(cursor, *prefix)?)?;
            Value::Text(if *fixed { trimmed(text) } else { text })
        }
        Form::Bytes(prefix, limit, fixed) => {
            Value::Bytes(padded(prefixed(cursor, *prefix)?.to_vec(), *limit, *fixed).into())
        }
        Form::Json(prefix) => {
            let document = json::document(prefixed(cursor, *prefix)?)?;
            match document.has_sql {
                true => Value::Opaque(document.text.into()),
                false => Value::Json(document.text.into()),
            }
        }
        Form::JsonText(prefix, charset) => Value::Json(charset.text(prefixed(cursor, *prefix)?)?),
        Form::Opaque(prefix) => Value::Opaque(opaque_bytes(prefixed(cursor, *prefix)?)),
        Form::Uuid => Value::Uuid(unpadded(prefixed(cursor, 1)?)?),
        Form::Address(4) => Value::Opaque(
            Ipv4Addr::from(unpadded::<4>(prefixed(cursor, 1)?)?)
                .to_string()
                .into(),
        ),
        Form::Address(_) => {
            Value::Opaque(inet6(Ipv6Addr::from(unpadded::<16>(prefixed(cursor, 1)?)?)).into())
        }
        Form::Bit(bits) => Value::Bit(bit_text(cursor.take(bits.div_ceil(8) as usize)?, Some(*bits))?),
        Form::Date => Value::Date(binary::date(cursor)?),
        Form::Time(digits) => Value::Time(binary::time(cursor, *digits)?),
        Form::DateTime(digits) => Value::Timestamp(binary::datetime(cursor, *digits)?),
        Form::Timestamp(digits) => Value::TimestampTz(binary::timestamp(cursor, *digits)?),
        Form::Enum(bytes, labels) => match usize::try_from(cursor.little(*bytes)?).ok()? {
            // What the server stores for a value it did not accept.
            0 => Value::Text(ByteString::new()),
            index => Value::Text(labels.get(index - 1)?.clone()),
        },
        Form::Set(bytes, labels) => Value::Text(set_text(cursor.little(*bytes)?, labels)?),
    })
}

/// Trailing zero bytes of fixed binary values are not logged.
fn unpadded<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let mut whole = [0; N];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(whole)
}

fn set_text(bits: u64, labels: &[ByteString]) -> Option<ByteString> {
    if labels.len() < 64 && bits >> labels.len() != 0 {
        return None;
    }
    let chosen: Vec<&str> = labels
        .iter()
        .enumerate()
        .filter(|(index, _)| bits >> index & 1 != 0)
        .map(|(_, label)| &**label)
        .collect();
    Some(chosen.join(",").into())
}

#[cfg(test)]
mod tests;
