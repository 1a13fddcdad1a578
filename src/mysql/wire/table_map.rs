//! TABLE_MAP: how the log describes a table before its rows.
//!
//! Owns: types, their metadata, and the optional metadata of `binlog_row_metadata = FULL` (signedness, charsets,
//! names, labels, primary key). Bytes only: what they mean as values is `codec`'s.
//! Refuses: nothing; without FULL metadata the names are missing and the source says so.

use super::Cursor;
use super::rows::is_set;

/// MySQL's type numbers, as far as rows carry them.
pub mod column_type {
    pub const TINY: u8 = 1;
    pub const SHORT: u8 = 2;
    pub const LONG: u8 = 3;
    pub const FLOAT: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const LONGLONG: u8 = 8;
    pub const INT24: u8 = 9;
    pub const DATE: u8 = 10;
    pub const YEAR: u8 = 13;
    pub const NEWDATE: u8 = 14;
    pub const VARCHAR: u8 = 15;
    pub const BIT: u8 = 16;
    pub const TIMESTAMP2: u8 = 17;
    pub const DATETIME2: u8 = 18;
    pub const TIME2: u8 = 19;
    /// MariaDB: columns declared COMPRESSED.
    pub const BLOB_COMPRESSED: u8 = 140;
    pub const VARCHAR_COMPRESSED: u8 = 141;
    pub const VECTOR: u8 = 242;
    pub const JSON: u8 = 245;
    pub const NEWDECIMAL: u8 = 246;
    pub const ENUM: u8 = 247;
    pub const SET: u8 = 248;
    pub const TINY_BLOB: u8 = 249;
    pub const MEDIUM_BLOB: u8 = 250;
    pub const LONG_BLOB: u8 = 251;
    pub const BLOB: u8 = 252;
    pub const VAR_STRING: u8 = 253;
    pub const STRING: u8 = 254;
    pub const GEOMETRY: u8 = 255;
}
use column_type as ty;

/// One column as the log has it. `ty` is the real type: ENUM and SET are told from STRING already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogColumn<'a> {
    pub ty: u8,
    /// Width or fraction digits or (precision, scale), as the type has it; see [`Meta`].
    pub meta: Meta,
    pub name: Option<&'a [u8]>,
    pub unsigned: bool,
    pub nullable: bool,
    /// Collation number of character, ENUM and SET columns.
    pub collation: Option<u16>,
    /// Of ENUM and SET, in the column's charset.
    pub labels: Vec<&'a [u8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meta {
    None,
    /// Bytes of a length prefix (BLOB, JSON, GEOMETRY), of a number (ENUM, SET), or digits of a fraction.
    Small(u8),
    /// Maximum bytes of CHAR, VARCHAR and BINARY, bits of BIT.
    Length(u32),
    Decimal {
        precision: u8,
        scale: u8,
    },
}

/// The head of the event, enough to know whether the table is of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableMap<'a> {
    pub table_id: u64,
    pub schema: &'a [u8],
    pub name: &'a [u8],
    /// All that describes the table: equal bytes, equal table.
    pub description: &'a [u8],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description<'a> {
    pub columns: Vec<LogColumn<'a>>,
    /// Column indexes of the primary key, where the log tells it.
    pub primary_key: Option<Vec<usize>>,
}

impl<'a> TableMap<'a> {
    pub fn parse(body: &'a [u8]) -> Option<TableMap<'a>> {
        let mut cursor = Cursor::new(body);
        let table_id = cursor.little(6)?;
        let _flags = cursor.u16()?;
        let schema = name(&mut cursor)?;
        let table = name(&mut cursor)?;
        Some(TableMap {
            table_id,
            schema,
            name: table,
            description: cursor.rest(),
        })
    }

    pub fn describe(&self, is_mariadb: bool) -> Option<Description<'a>> {
        let mut cursor = Cursor::new(self.description);
        let count = cursor.packed_size()?;
        let types = cursor.take(count)?;
        let mut meta = Cursor::new(cursor.packed_bytes()?);
        let mut columns = Vec::with_capacity(count);
        for ty in types {
            columns.push(column(*ty, &mut meta)?);
        }
        let nullable = cursor.take(count.div_ceil(8))?;
        for (index, column) in columns.iter_mut().enumerate() {
            column.nullable = is_set(nullable, index);
        }
        let mut description = Description {
            columns,
            primary_key: None,
        };
        while !cursor.is_empty() {
            let field = cursor.u8()?;
            let mut value = Cursor::new(cursor.packed_bytes()?);
            description.apply(field, &mut value, is_mariadb)?;
        }
        Some(description)
    }
}

fn name<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let len = usize::from(cursor.u8()?);
    let name = cursor.take(len)?;
    cursor.u8()?;
    Some(name)
}

fn column<'a>(ty: u8, meta: &mut Cursor<'a>) -> Option<LogColumn<'a>> {
    let mut real = ty;
    let meta = match ty {
        ty::FLOAT | ty::DOUBLE | ty::TIMESTAMP2 | ty::DATETIME2 | ty::TIME2 => Meta::Small(meta.u8()?),
        ty::TINY_BLOB | ty::BLOB | ty::MEDIUM_BLOB | ty::LONG_BLOB => Meta::Small(meta.u8()?),
        ty::JSON | ty::GEOMETRY | ty::VECTOR | ty::BLOB_COMPRESSED => Meta::Small(meta.u8()?),
        ty::VARCHAR | ty::VAR_STRING | ty::VARCHAR_COMPRESSED => Meta::Length(u32::from(meta.u16()?)),
        ty::NEWDECIMAL => Meta::Decimal {
            precision: meta.u8()?,
            scale: meta.u8()?,
        },
        ty::BIT => {
            let (odd_bits, bytes) = (meta.u8()?, meta.u8()?);
            Meta::Length(u32::from(bytes) * 8 + u32::from(odd_bits))
        }
        ty::ENUM | ty::SET | ty::STRING => {
            let (high, low) = (meta.u8()?, meta.u8()?);
            // Two bits of a long CHAR's length hide, inverted, in the type.
            if high & 0x30 == 0x30 {
                real = high;
                match high {
                    ty::ENUM | ty::SET => Meta::Small(low),
                    _ => Meta::Length(u32::from(low)),
                }
            } else {
                real = high | 0x30;
                Meta::Length(u32::from(low) | u32::from((high & 0x30) ^ 0x30) << 4)
            }
        }
        _ => Meta::None,
    };
    Some(LogColumn {
        ty: real,
        meta,
        name: None,
        unsigned: false,
        nullable: false,
        collation: None,
        labels: Vec::new(),
    })
}

/// The columns that signedness bits are written for; YEAR is among them.
fn is_numeric(ty: u8) -> bool {
    matches!(
        ty,
        ty::TINY
            | ty::SHORT
            | ty::INT24
            | ty::LONG
            | ty::LONGLONG
            | ty::NEWDECIMAL
            | ty::FLOAT
            | ty::DOUBLE
            | ty::YEAR
    )
}

fn is_character(ty: u8) -> bool {
    matches!(
        ty,
        ty::STRING
            | ty::VAR_STRING
            | ty::VARCHAR
            | ty::TINY_BLOB
            | ty::BLOB
            | ty::MEDIUM_BLOB
            | ty::LONG_BLOB
            | ty::BLOB_COMPRESSED
            | ty::VARCHAR_COMPRESSED
    )
}

/// The columns that charsets are written for, which both servers count in their own way.
fn has_charset_on_mysql(ty: u8) -> bool {
    is_character(ty) || ty == ty::VECTOR
}

fn has_charset_on_mariadb(ty: u8) -> bool {
    is_character(ty) || ty == ty::GEOMETRY
}

fn is_labelled(ty: u8) -> bool {
    matches!(ty, ty::ENUM | ty::SET)
}

impl<'a> Description<'a> {
    /// One field of the optional metadata; unknown ones are of no use to us.
    fn apply(&mut self, field: u8, value: &mut Cursor<'a>, is_mariadb: bool) -> Option<()> {
        let has_charset = match is_mariadb {
            true => has_charset_on_mariadb,
            false => has_charset_on_mysql,
        };
        match field {
            1 => self.signedness(value),
            2 => self.default_charset(value, has_charset),
            3 => self.charsets(value, has_charset),
            4 => {
                for column in &mut self.columns {
                    column.name = Some(value.packed_bytes()?);
                }
                Some(())
            }
            5 => self.labels(value, ty::SET),
            6 => self.labels(value, ty::ENUM),
            8 => self.key(value, false),
            9 => self.key(value, true),
            10 => self.default_charset(value, is_labelled),
            11 => self.charsets(value, is_labelled),
            _ => Some(()),
        }
    }

    fn of(&mut self, which: fn(u8) -> bool) -> impl Iterator<Item = &mut LogColumn<'a>> {
        self.columns.iter_mut().filter(move |column| which(column.ty))
    }

    /// One bit per numeric column, the highest first.
    fn signedness(&mut self, value: &mut Cursor<'a>) -> Option<()> {
        let bits = value.rest();
        for (index, column) in self.of(is_numeric).enumerate() {
            column.unsigned = bits.get(index / 8)? & (0x80 >> (index % 8)) != 0;
        }
        Some(())
    }

    /// A collation for all columns of the class, then those that differ.
    fn default_charset(&mut self, value: &mut Cursor<'a>, which: fn(u8) -> bool) -> Option<()> {
        let default = u16::try_from(value.packed()?).ok()?;
        let mut columns: Vec<&mut LogColumn<'a>> = self.of(which).collect();
        for column in &mut columns {
            column.collation = Some(default);
        }
        while !value.is_empty() {
            let index = value.packed_size()?;
            let collation = u16::try_from(value.packed()?).ok()?;
            columns.get_mut(index)?.collation = Some(collation);
        }
        Some(())
    }

    fn charsets(&mut self, value: &mut Cursor<'a>, which: fn(u8) -> bool) -> Option<()> {
        for column in self.of(which) {
            column.collation = Some(u16::try_from(value.packed()?).ok()?);
        }
        Some(())
    }

    fn labels(&mut self, value: &mut Cursor<'a>, ty: u8) -> Option<()> {
        for column in self.columns.iter_mut().filter(|column| column.ty == ty) {
            // Not reserved by what the bytes announce: the bytes that follow bound it.
            for _ in 0..value.packed()? {
                column.labels.push(value.packed_bytes()?);
            }
        }
        Some(())
    }

    fn key(&mut self, value: &mut Cursor<'a>, with_prefix: bool) -> Option<()> {
        let mut key = Vec::new();
        while !value.is_empty() {
            let index = value.packed_size().filter(|index| *index < self.columns.len())?;
            if with_prefix {
                value.packed()?;
            }
            key.push(index);
        }
        self.primary_key = Some(key);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Vec<u8> {
        let mut body = vec![5, 0, 0, 0, 0, 0, 1, 0];
        body.extend(b"\x02db\0\x01t\0");
        // id int unsigned, c char(80) utf8mb4, e enum('a','b'), v varbinary(300), b bit(10), n decimal(10,2)
        let types = [
            ty::LONG,
            ty::STRING,
            ty::STRING,
            ty::VARCHAR,
            ty::BIT,
            ty::NEWDECIMAL,
        ];
        body.push(types.len() as u8);
        body.extend(types);
        let meta = [0xee, 0x40, 0xf7, 1, 0x2c, 1, 2, 1, 10, 2];
        body.push(meta.len() as u8);
        body.extend(meta);
        body.push(0);
        let mut field = |number: u8, value: &[u8]| {
            body.push(number);
            body.push(value.len() as u8);
            body.extend(value);
        };
        field(1, &[0b1000_0000]);
        field(2, &[45, 1, 63]);
        field(4, b"\x02id\x01c\x01e\x01v\x01b\x01n");
        field(6, b"\x02\x01a\x01b");
        field(8, &[0]);
        field(11, &[8]);
        field(77, &[1, 2, 3]);
        body
    }

    #[test]
    fn full_metadata() {
        let body = event();
        let map = TableMap::parse(&body).unwrap();
        assert_eq!((map.table_id, map.schema, map.name), (5, &b"db"[..], &b"t"[..]));
        let description = map.describe(false).unwrap();
        let [id, c, e, v, b, n] = &description.columns[..] else {
            unreachable!()
        };
        assert_eq!((id.ty, id.unsigned, id.name), (ty::LONG, true, Some(&b"id"[..])));
        assert_eq!(
            (c.ty, c.meta, c.collation),
            (ty::STRING, Meta::Length(320), Some(45))
        );
        assert_eq!((e.ty, e.meta, e.collation), (ty::ENUM, Meta::Small(1), Some(8)));
        assert_eq!(e.labels, [b"a", b"b"]);
        assert_eq!((v.meta, v.collation), (Meta::Length(300), Some(63)));
        assert_eq!(b.meta, Meta::Length(10));
        assert_eq!(
            (n.meta, n.unsigned),
            (
                Meta::Decimal {
                    precision: 10,
                    scale: 2
                },
                false
            )
        );
        assert_eq!(description.primary_key, Some(vec![0]));
    }

    #[test]
    fn cut_and_altered_events_never_panic() {
        let body = event();
        for len in 0..body.len() {
            if let Some(map) = TableMap::parse(&body[..len]) {
                let _ = map.describe(false);
            }
        }
        for at in 0..body.len() {
            for value in [0, 1, 0x7f, 0xfb, 0xfc, 0xfe, 0xff] {
                let mut altered = body.clone();
                altered[at] = value;
                if let Some(map) = TableMap::parse(&altered) {
                    let _ = map.describe(false);
                }
            }
        }
    }
}
