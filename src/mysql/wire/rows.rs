//! Rows events: the head, and which columns the images hold. The images themselves are read by `codec::cell`.

use super::{Cursor, kind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Insert,
    Update,
    Delete,
}

#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    pub verb: Verb,
    pub table_id: u64,
    /// Number of columns in the table.
    pub width: usize,
    /// Whether both images hold every column (`binlog_row_image = FULL`).
    pub is_full: bool,
    /// MariaDB: the images are compressed.
    pub is_compressed: bool,
    /// The images, back to back; of an update the old one first.
    pub images: &'a [u8],
}

impl<'a> Rows<'a> {
    pub fn parse(kind: u8, body: &'a [u8]) -> Option<Rows<'a>> {
        let (verb, is_v2) = match kind {
            kind::WRITE_ROWS_V1 => (Verb::Insert, false),
            kind::UPDATE_ROWS_V1 => (Verb::Update, false),
            kind::DELETE_ROWS_V1 => (Verb::Delete, false),
            kind::WRITE_ROWS => (Verb::Insert, true),
            kind::UPDATE_ROWS => (Verb::Update, true),
            kind::DELETE_ROWS => (Verb::Delete, true),
            kind::MARIADB_WRITE_ROWS_COMPRESSED => (Verb::Insert, false),
            kind::MARIADB_UPDATE_ROWS_COMPRESSED => (Verb::Update, false),
            kind::MARIADB_DELETE_ROWS_COMPRESSED => (Verb::Delete, false),
            kind::MARIADB_WRITE_ROWS_V2_COMPRESSED => (Verb::Insert, true),
            kind::MARIADB_UPDATE_ROWS_V2_COMPRESSED => (Verb::Update, true),
            kind::MARIADB_DELETE_ROWS_V2_COMPRESSED => (Verb::Delete, true),
            _ => return None,
        };
        let mut cursor = Cursor::new(body);
        let table_id = cursor.little(6)?;
        let _flags = cursor.u16()?;
        if is_v2 {
            // The length counts itself.
            let extra = usize::from(cursor.u16()?).checked_sub(2)?;
            cursor.take(extra)?;
        }
        let width = cursor.packed_size()?;
        let mut is_full = is_all_set(cursor.take(width.div_ceil(8))?, width);
        if verb == Verb::Update {
            is_full &= is_all_set(cursor.take(width.div_ceil(8))?, width);
        }
        Some(Rows {
            verb,
            table_id,
            width,
            is_full,
            is_compressed: kind >= kind::MARIADB_WRITE_ROWS_COMPRESSED,
            images: cursor.rest(),
        })
    }
}

/// The table of any event that carries rows, also of the kinds that are not read here.
pub fn table_id(body: &[u8]) -> Option<u64> {
    Cursor::new(body).little(6)
}

fn is_all_set(bits: &[u8], len: usize) -> bool {
    (0..len).all(|index| is_set(bits, index))
}

/// Bit `index`, the lowest of each byte first; false beyond the end.
pub fn is_set(bits: &[u8], index: usize) -> bool {
    bits.get(index / 8)
        .is_some_and(|byte| byte & (1 << (index % 8)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_and_partial_images() {
        let v2 = [9, 0, 0, 0, 0, 0, 1, 0, 4, 0, 7, 7, 3, 0b111, 0b011, 42];
        let rows = Rows::parse(kind::UPDATE_ROWS, &v2).unwrap();
        assert_eq!(
            (rows.verb, rows.table_id, rows.width, rows.is_full),
            (Verb::Update, 9, 3, false)
        );
        assert_eq!(rows.images, [42]);
        let v1 = [9, 0, 0, 0, 0, 0, 1, 0, 3, 0b111, 42, 43];
        let rows = Rows::parse(kind::WRITE_ROWS_V1, &v1).unwrap();
        assert_eq!(
            (rows.verb, rows.is_full, rows.images),
            (Verb::Insert, true, &[42, 43][..])
        );
        for len in 0..11 {
            assert!(Rows::parse(kind::UPDATE_ROWS, &v2[..len]).is_none());
        }
    }

    #[test]
    fn an_announced_width_is_no_reason_to_allocate() {
        let body = [
            9, 0, 0, 0, 0, 0, 1, 0, 254, 255, 255, 255, 255, 255, 255, 255, 255,
        ];
        assert!(Rows::parse(kind::WRITE_ROWS_V1, &body).is_none());
    }
}
