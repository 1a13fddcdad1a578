//! Binlog events as bytes: what they are and how they are laid out. Pure, and nothing here trusts a length.
//!
//! Owns: the byte cursor, event kinds, and the events around rows: GTID, QUERY, FORMAT_DESCRIPTION, ROTATE, XA_PREPARE;
//! `table_map` and `rows` hold the two kinds that carry rows, `query` tells what a statement's text does, and
//! `alteration` what an ALTER TABLE leaves of the rows. Before them:
//! `login` has the messages of the dump's session, `framing` makes events of its bytes and takes header and checksum
//! off, `payload` inflates what is compressed.
//! Fails: every parser gives `None` for bytes that are cut or of no known form; the source names event and place.

pub mod alteration;
pub mod framing;
pub mod login;
pub mod payload;
pub mod query;
pub mod rows;
pub mod table_map;

use alteration::SqlMode;

/// Numbers of the event kinds that mean something to a reader of rows.
pub mod kind {
    pub const QUERY: u8 = 2;
    pub const STOP: u8 = 3;
    pub const ROTATE: u8 = 4;
    pub const FORMAT_DESCRIPTION: u8 = 15;
    pub const XID: u8 = 16;
    pub const EXECUTE_LOAD_QUERY: u8 = 18;
    pub const TABLE_MAP: u8 = 19;
    pub const WRITE_ROWS_V1: u8 = 23;
    pub const UPDATE_ROWS_V1: u8 = 24;
    pub const DELETE_ROWS_V1: u8 = 25;
    pub const INCIDENT: u8 = 26;
    pub const HEARTBEAT: u8 = 27;
    pub const WRITE_ROWS: u8 = 30;
    pub const UPDATE_ROWS: u8 = 31;
    pub const DELETE_ROWS: u8 = 32;
    pub const GTID: u8 = 33;
    pub const ANONYMOUS_GTID: u8 = 34;
    pub const XA_PREPARE: u8 = 38;
    pub const PARTIAL_UPDATE_ROWS: u8 = 39;
    pub const TRANSACTION_PAYLOAD: u8 = 40;
    pub const HEARTBEAT_V2: u8 = 41;
    pub const GTID_TAGGED: u8 = 42;
    pub const MARIADB_GTID: u8 = 162;
    pub const MARIADB_QUERY_COMPRESSED: u8 = 165;
    pub const MARIADB_WRITE_ROWS_COMPRESSED: u8 = 166;
    pub const MARIADB_UPDATE_ROWS_COMPRESSED: u8 = 167;
    pub const MARIADB_DELETE_ROWS_COMPRESSED: u8 = 168;
    pub const MARIADB_WRITE_ROWS_V2_COMPRESSED: u8 = 169;
    pub const MARIADB_UPDATE_ROWS_V2_COMPRESSED: u8 = 170;
    pub const MARIADB_DELETE_ROWS_V2_COMPRESSED: u8 = 171;

    /// INTVAR, APPEND_BLOCK, DELETE_FILE, RAND, USER_VAR and BEGIN_LOAD_QUERY, which go with statements;
    /// IGNORABLE, ROWS_QUERY, PREVIOUS_GTIDS, TRANSACTION_CONTEXT, VIEW_CHANGE; MariaDB's ANNOTATE_ROWS, BINLOG_CHECKPOINT, GTID_LIST
    /// and START_ENCRYPTION.
    pub fn says_nothing_of_rows(kind: u8) -> bool {
        matches!(
            kind,
            5 | 9 | 11 | 13 | 14 | 17 | 28 | 29 | 35 | 36 | 37 | 160 | 161 | 163 | 164
        )
    }
}

/// Reads forward through bytes of outside origin; every read is checked.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// `len` (at most 8) bytes, least significant first.
    pub fn little(&mut self, len: usize) -> Option<u64> {
        let bytes = self.take(len).filter(|_| len <= 8)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |number, byte| number << 8 | u64::from(*byte)),
        )
    }

    /// `len` (at most 8) bytes, most significant first.
    pub fn big(&mut self, len: usize) -> Option<u64> {
        let bytes = self.take(len).filter(|_| len <= 8)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte)),
        )
    }

    /// MySQL's packed integer: one byte below 251, else a marker and 2, 3 or 8 bytes.
    pub fn packed(&mut self) -> Option<u64> {
        match self.u8()? {
            byte @ 0..=250 => Some(u64::from(byte)),
            252 => self.little(2),
            253 => self.little(3),
            254 => self.u64(),
            251 | 255 => None,
        }
    }

    /// A packed integer that counts or addresses something in memory.
    pub fn packed_size(&mut self) -> Option<usize> {
        usize::try_from(self.packed()?).ok()
    }

    /// A packed length and that many bytes.
    pub fn packed_bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.packed_size()?;
        self.take(len)
    }

    /// An integer of the serialization library: the ones at the low end of the first byte count the bytes that
    /// follow, the number stands above them.
    fn varlen(&mut self) -> Option<u64> {
        let extra = self.rest.first()?.trailing_ones() as usize;
        if extra == 8 {
            self.take(1)?;
            return self.u64();
        }
        let number = self.little(extra + 1)?;
        Some(number >> (extra + 1))
    }
}

/// The start of a transaction on MySQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gtid {
    /// `uuid` or `uuid:tag`.
    pub source: String,
    pub number: u64,
    /// By this server's clock, microseconds; `None` before 8.0.
    pub committed_at_us: Option<i64>,
}

/// The commit time on the server that is read, with a bit that says whether the first server's time follows.
fn commit_time(raw: u64) -> Option<i64> {
    i64::try_from(raw & !(1 << 55)).ok().filter(|micros| *micros > 0)
}

impl Gtid {
    pub fn parse(body: &[u8]) -> Option<Gtid> {
        let mut cursor = Cursor::new(body);
        let _flags = cursor.u8()?;
        let uuid = cursor.array::<16>()?;
        let number = cursor.u64()?;
        let mut committed_at_us = None;
        // 2 = logical clock follows, then the commit time.
        if cursor.u8() == Some(2) && cursor.take(16).is_some() {
            committed_at_us = cursor.little(7).and_then(commit_time);
        }
        Some(Gtid {
            source: super::codec::uuid_text(&uuid),
            number,
            committed_at_us,
        })
    }

    /// The tagged form, written by the serialization library: `version, size, last mandatory field`, then
    /// `field number, value` pairs in ascending order; later fields that we do not know are left unread.
    pub fn parse_tagged(body: &[u8]) -> Option<Gtid> {
        const VERSION: u64 = 1;
        let mut cursor = Cursor::new(body);
        if cursor.varlen()? != VERSION {
            return None;
        }
        let _size = cursor.varlen()?;
        let _last_mandatory = cursor.varlen()?;
        let mut gtid = Gtid {
            source: String::new(),
            number: 0,
            committed_at_us: None,
        };
        while !cursor.is_empty() {
            match cursor.varlen()? {
                1 => {
                    let mut uuid = [0_u8; 16];
                    for byte in &mut uuid {
                        *byte = u8::try_from(cursor.varlen()?).ok()?;
                    }
                    gtid.source = super::codec::uuid_text(&uuid);
                }
                // Signed: the lowest bit is the sign.
                2 => gtid.number = cursor.varlen()? >> 1,
                3 => {
                    let len = usize::try_from(cursor.varlen()?).ok()?;
                    let tag = std::str::from_utf8(cursor.take(len)?).ok()?;
                    if !tag.is_empty() {
                        gtid.source = format!("{}:{tag}", gtid.source);
                    }
                }
                // Flags and the logical clock.
                0 | 4 | 5 => {
                    cursor.varlen()?;
                }
                6 => {
                    gtid.committed_at_us = commit_time(cursor.varlen()?);
                    break;
                }
                _ => break,
            }
        }
        (gtid.source.len() >= 36 && gtid.number > 0).then_some(gtid)
    }
}

/// The start of a group on MariaDB; the server's id is in the event's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MariaGtid {
    pub sequence: u64,
    pub domain: u32,
    flags: u8,
}

impl MariaGtid {
    pub fn parse(body: &[u8]) -> Option<MariaGtid> {
        let mut cursor = Cursor::new(body);
        Some(MariaGtid {
            sequence: cursor.u64()?,
            domain: cursor.u32()?,
            flags: cursor.u8()?,
        })
    }

    /// One statement and no COMMIT after it.
    pub fn is_standalone(self) -> bool {
        self.flags & 0x01 != 0
    }
}

/// A file's first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatDescription {
    /// The server made this file when it started; what the file before it left open was lost with the process.
    pub is_first: bool,
}

impl FormatDescription {
    pub fn parse(body: &[u8]) -> Option<FormatDescription> {
        let mut cursor = Cursor::new(body);
        let _version_and_server = cursor.take(2 + 50)?;
        Some(FormatDescription {
            is_first: cursor.u32()? != 0,
        })
    }
}

/// What follows stands in another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotate {
    pub offset: u64,
    pub file: String,
}

impl Rotate {
    pub fn parse(body: &[u8]) -> Option<Rotate> {
        let mut cursor = Cursor::new(body);
        let offset = cursor.u64()?;
        let file = std::str::from_utf8(cursor.rest()).ok()?;
        Some(Rotate {
            offset,
            file: file.trim_end_matches('\0').to_owned(),
        })
    }
}

/// The end of an XA transaction's rows, which are decided later unless `is_commit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XaPrepare {
    /// One phase: it is decided already.
    pub is_commit: bool,
    /// As `XA COMMIT` names it in the log, in lower case.
    pub xid: String,
}

impl XaPrepare {
    pub fn parse(body: &[u8]) -> Option<XaPrepare> {
        let mut cursor = Cursor::new(body);
        let is_commit = cursor.u8()? != 0;
        let format = cursor.u32()?;
        let (global, branch) = (cursor.u32()? as usize, cursor.u32()? as usize);
        let mut hex = |len: usize| -> Option<String> {
            Some(
                cursor
                    .take(len)?
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
            )
        };
        let (global, branch) = (hex(global)?, hex(branch)?);
        Some(XaPrepare {
            is_commit,
            xid: format!("x'{global}',x'{branch}',{format}"),
        })
    }
}

/// A logged statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// In UTF-8, as the server keeps names.
    pub database: &'a [u8],
    /// In the character set of its client, except for what the server wrote itself.
    pub text: &'a [u8],
    /// The collation number of its client's character set, where it is told.
    pub client: Option<u16>,
    /// The SQL mode of its session, where it is told.
    pub mode: Option<SqlMode>,
}

impl<'a> Query<'a> {
    pub fn parse(body: &'a [u8]) -> Option<Query<'a>> {
        Self::parse_after(body, 0)
    }

    /// EXECUTE_LOAD_QUERY has the file's number and where its name stands before the status.
    pub fn parse_load(body: &'a [u8]) -> Option<Query<'a>> {
        Self::parse_after(body, 13)
    }

    fn parse_after(body: &'a [u8], extra: usize) -> Option<Query<'a>> {
        let mut cursor = Cursor::new(body);
        let _thread_and_time = cursor.take(8)?;
        let database_len = usize::from(cursor.u8()?);
        let _error = cursor.u16()?;
        let status_len = usize::from(cursor.u16()?);
        let _extra = cursor.take(extra)?;
        let Session { mode, client } = session(cursor.take(status_len)?);
        let database = cursor.take(database_len)?;
        let _nul = cursor.u8()?;
        Some(Query {
            database,
            text: cursor.rest(),
            client,
            mode,
        })
    }
}

/// What is told of the session that a statement came from.
#[derive(Default)]
struct Session {
    mode: Option<SqlMode>,
    client: Option<u16>,
}

/// Of a statement's status variables only these two are read, and passed over what servers write before them: flags,
/// catalog (of two forms) and the steps of AUTO_INCREMENT.
fn session(status: &[u8]) -> Session {
    let mut session = Session::default();
    let _ = read_session(&mut Cursor::new(status), &mut session);
    session
}

fn read_session(cursor: &mut Cursor<'_>, session: &mut Session) -> Option<()> {
    loop {
        match cursor.u8()? {
            0 => drop(cursor.take(4)?),
            1 => session.mode = Some(SqlMode(cursor.little(8)?)),
            2 => {
                let len = usize::from(cursor.u8()?);
                cursor.take(len + 1)?;
            }
            3 => drop(cursor.take(4)?),
            4 => {
                session.client = cursor.u16();
                return Some(());
            }
            6 => {
                let len = usize::from(cursor.u8()?);
                cursor.take(len)?;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_integers() {
        let read = |bytes: &[u8]| Cursor::new(bytes).packed();
        assert_eq!(read(&[250]), Some(250));
        assert_eq!(read(&[252, 1, 2]), Some(0x201));
        assert_eq!(read(&[253, 1, 2, 3]), Some(0x30201));
        assert_eq!(read(&[254, 1, 0, 0, 0, 0, 0, 0, 1]), Some(0x0100_0000_0000_0001));
        assert_eq!(read(&[251]), None);
        assert_eq!(read(&[252, 1]), None);
    }

    #[test]
    fn serialized_integers() {
        let read = |bytes: &[u8]| Cursor::new(bytes).varlen();
        assert_eq!(read(&[0]), Some(0));
        assert_eq!(read(&[0b10]), Some(1));
        assert_eq!(read(&[0b1111_1101, 0b11]), Some(0xff));
        assert_eq!(
            read(&[0xff, 1, 0, 0, 0, 0, 0, 0, 0x80]),
            Some(0x8000_0000_0000_0001)
        );
        assert_eq!(read(&[0b01]), None);
    }

    #[test]
    fn gtid_with_logical_clock_and_commit_time() {
        let mut body = vec![0_u8];
        body.extend([0xab; 16]);
        body.extend(7_u64.to_le_bytes());
        body.push(2);
        body.extend([0; 16]);
        body.extend(&(1_700_000_000_000_000_u64 | 1 << 55).to_le_bytes()[..7]);
        let gtid = Gtid::parse(&body).unwrap();
        assert_eq!(gtid.source, "abababab-abab-abab-abab-abababababab");
        assert_eq!(
            (gtid.number, gtid.committed_at_us),
            (7, Some(1_700_000_000_000_000))
        );
    }

    #[test]
    fn query_skips_its_status() {
        // As MySQL 9.7 writes it: flags, SQL mode, catalog, character sets; then, skipped, the database's.
        let status = [
            &[0, 0, 0, 0, 0, 1][..],
            &[0x20; 8],
            &[6, 3, b's', b't', b'd', 4, 8, 0, 8, 0, 255, 0, 8, 255, 0],
        ]
        .concat();
        for (status, client) in [
            (&status[..], Some(8)),
            (&[9, 9, 9], None),
            (&[4, 8], None),
            (&[], None),
        ] {
            let mut body = vec![0_u8; 8];
            body.extend([2, 0, 0, status.len() as u8, 0]);
            body.extend(status);
            body.extend(b"db\0BEGIN");
            let query = Query::parse(&body).unwrap();
            assert_eq!((query.database, query.text), (&b"db"[..], &b"BEGIN"[..]));
            assert_eq!(query.client, client);
        }
    }

    #[test]
    fn cut_events_are_none_and_nothing_panics() {
        let mut state = 1_u64;
        for len in 0..300 {
            let bytes: Vec<u8> = (0..len)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (state >> 33) as u8
                })
                .collect();
            let _ = (
                Gtid::parse(&bytes),
                Gtid::parse_tagged(&bytes),
                MariaGtid::parse(&bytes),
            );
            let _ = (Query::parse(&bytes), Cursor::new(&bytes).packed_bytes());
        }
        assert_eq!(Gtid::parse(&[0; 10]), None);
    }
}
