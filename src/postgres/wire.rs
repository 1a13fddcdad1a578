//! Bytes of a replication stream: the frames inside CopyData, and pgoutput messages of protocols 1 and 2.
//!
//! Owns: [`frame`], [`status_update`], [`message`], [`in_stream`]. Pure: borrows from the received bytes, reads cells raw
//! (UTF-8 is checked by whoever keeps them). Refuses: protocol 3 and later (prepared transactions, parallel streams),
//! binary cells.
//! Fails: [`WireError`] on anything short, long or unknown; never panics, never allocates more than the input's size.

use std::fmt;

/// The server sent what this protocol does not have, or less than it announced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed replication data: {0}")]
pub struct WireError(String);

type Result<T> = std::result::Result<T, WireError>;

/// Microseconds from 1970 to 2000, where PostgreSQL's clock starts.
const EPOCH_US: i64 = 946_684_800_000_000;

/// What a CopyData message of a walsender holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// XLogData. Its header positions are often 0/0 and of no use here.
    Data(&'a [u8]),
    /// `end`: how far the server has read its log for us. `reply`: it wants a status at once.
    Keepalive { end: u64, reply: bool },
}

pub fn frame(bytes: &[u8]) -> Result<Frame<'_>> {
    let mut reader = Reader(bytes);
    match reader.u8()? {
        b'w' => {
            reader.take(24)?;
            Ok(Frame::Data(reader.0))
        }
        b'k' => {
            let end = reader.u64()?;
            reader.u64()?;
            let reply = reader.u8()? != 0;
            reader.finish(Frame::Keepalive { end, reply })
        }
        tag => Err(unknown("frame", tag)),
    }
}

/// A standby status update: everything up to `received` was read, up to `flushed` it need not be kept.
/// `reply`: the server shall answer with a keepalive.
pub fn status_update(received: u64, flushed: u64, now_us_since_1970: i64, reply: bool) -> [u8; 34] {
    let mut out = [0; 34];
    out[0] = b'r';
    out[1..9].copy_from_slice(&received.to_be_bytes());
    out[9..17].copy_from_slice(&flushed.to_be_bytes());
    out[17..25].copy_from_slice(&flushed.to_be_bytes());
    out[25..33].copy_from_slice(&now_us_since_1970.saturating_sub(EPOCH_US).to_be_bytes());
    out[33] = u8::from(reply);
    out
}

#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    Begin(Begin),
    /// `end`: where the log stands after the commit; the only position progress is counted by.
    Commit {
        end: u64,
    },
    /// The transaction came over another subscription; nothing here needs to know.
    Origin,
    Relation(Relation<'a>),
    /// Name of a type that is not built in; looked up by oid instead, when a Relation uses it.
    Type,
    Insert {
        relation: u32,
        new: Tuple<'a>,
    },
    Update {
        relation: u32,
        old: Option<OldTuple<'a>>,
        new: Tuple<'a>,
    },
    Delete {
        relation: u32,
        old: OldTuple<'a>,
    },
    Truncate {
        relations: Vec<u32>,
    },
    /// `pg_logical_emit_message`. Those that are not transactional arrive outside of the order of commits.
    Logical {
        transactional: bool,
        prefix: &'a str,
        content: &'a [u8],
    },
    /// Messages for [`in_stream`] follow, of a transaction that has not committed. `first`: nothing came of it before.
    StreamStart {
        xid: u32,
        first: bool,
    },
    StreamStop,
    /// The end of a transaction all of which was streamed.
    StreamCommit {
        begin: Begin,
        end: u64,
    },
    /// What was streamed of the subtransaction never happened; `subxid` = `xid` means all of it.
    StreamAbort {
        xid: u32,
        subxid: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// Position of the commit record.
    pub commit: u64,
    pub committed_at_us: i64,
    pub xid: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation<'a> {
    pub oid: u32,
    pub schema: &'a str,
    pub name: &'a str,
    /// `d`, `n`, `f` or `i`.
    pub identity: char,
    pub columns: Vec<RelationColumn<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelationColumn<'a> {
    /// Part of the replica identity.
    pub identity: bool,
    pub name: &'a str,
    pub type_oid: u32,
    pub typmod: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    Null,
    /// Stored out of line and not touched by the update.
    Unchanged,
    Text(&'a [u8]),
}

pub type Tuple<'a> = Vec<Cell<'a>>;

#[derive(Debug, PartialEq, Eq)]
pub enum OldTuple<'a> {
    /// Columns of the replica identity; the others are announced as NULL and must not be read.
    Key(Tuple<'a>),
    Full(Tuple<'a>),
}

/// One pgoutput message, the whole of an XLogData's body.
pub fn message(bytes: &[u8]) -> Result<Message<'_>> {
    let mut reader = Reader(bytes);
    let message = match reader.u8()? {
        b'B' => Message::Begin(Begin {
            commit: reader.u64()?,
            committed_at_us: reader.i64()?.saturating_add(EPOCH_US),
            xid: reader.u32()?,
        }),
        b'C' => {
            reader.take(1 + 8)?;
            let end = reader.u64()?;
            reader.take(8)?;
            Message::Commit { end }
        }
        b'S' => Message::StreamStart {
            xid: reader.u32()?,
            first: reader.u8()? == 1,
        },
        b'E' => Message::StreamStop,
        b'c' => {
            let xid = reader.u32()?;
            reader.u8()?;
            let (commit, end) = (reader.u64()?, reader.u64()?);
            let committed_at_us = reader.i64()?.saturating_add(EPOCH_US);
            let begin = Begin {
                commit,
                committed_at_us,
                xid,
            };
            Message::StreamCommit { begin, end }
        }
        b'A' => Message::StreamAbort {
            xid: reader.u32()?,
            subxid: reader.u32()?,
        },
        tag => content(tag, &mut reader)?,
    };
    reader.finish(message)
}

/// One pgoutput message between a stream's start and stop, with the transaction it belongs to: rows, TRUNCATE, RELATION
/// and TYPE name the subtransaction, a logical message the transaction. An ORIGIN names none.
pub fn in_stream(bytes: &[u8]) -> Result<(Option<u32>, Message<'_>)> {
    let mut reader = Reader(bytes);
    let tag = reader.u8()?;
    let xid = match tag {
        b'O' => None,
        _ => Some(reader.u32()?),
    };
    let message = content(tag, &mut reader)?;
    Ok((xid, reader.finish(message)?))
}

/// Subtransaction and table of a row message between a stream's start and stop.
pub fn row_head(bytes: &[u8]) -> Result<(u32, u32)> {
    let mut reader = Reader(bytes);
    reader.u8()?;
    Ok((reader.u32()?, reader.u32()?))
}

/// What a transaction consists of.
fn content<'a>(tag: u8, reader: &mut Reader<'a>) -> Result<Message<'a>> {
    Ok(match tag {
        b'O' => {
            reader.take(8)?;
            reader.text()?;
            Message::Origin
        }
        b'R' => Message::Relation(relation(reader)?),
        b'Y' => {
            reader.take(4)?;
            reader.text()?;
            reader.text()?;
            Message::Type
        }
        b'I' => {
            let relation = reader.u32()?;
            reader.expect(b'N')?;
            let new = tuple(reader)?;
            Message::Insert { relation, new }
        }
        b'U' => update(reader)?,
        b'D' => {
            let relation = reader.u32()?;
            let tag = reader.u8()?;
            let old = old_tuple(tag, reader)?.ok_or_else(|| unknown("old row", tag))?;
            Message::Delete { relation, old }
        }
        b'T' => {
            let count = reader.u32()?;
            reader.u8()?;
            let mut relations = Vec::new();
            for _ in 0..count {
                relations.push(reader.u32()?);
            }
            Message::Truncate { relations }
        }
        b'M' => {
            let transactional = reader.u8()? & 1 != 0;
            reader.take(8)?;
            let prefix = reader.text()?;
            let length = reader.u32()?;
            let content = reader.take(length as usize)?;
            Message::Logical {
                transactional,
                prefix,
                content,
            }
        }
        tag => return Err(unknown("message", tag)),
    })
}

fn relation<'a>(reader: &mut Reader<'a>) -> Result<Relation<'a>> {
    let oid = reader.u32()?;
    // pg_catalog is sent as an empty name.
    let schema = match reader.text()? {
        "" => "pg_catalog",
        schema => schema,
    };
    let name = reader.text()?;
    let identity = char::from(reader.u8()?);
    let count = reader.u16()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        columns.push(RelationColumn {
            identity: reader.u8()? & 1 != 0,
            name: reader.text()?,
            type_oid: reader.u32()?,
            typmod: reader.u32()?.cast_signed(),
        });
    }
    Ok(Relation {
        oid,
        schema,
        name,
        identity,
        columns,
    })
}

fn update<'a>(reader: &mut Reader<'a>) -> Result<Message<'a>> {
    let relation = reader.u32()?;
    let tag = reader.u8()?;
    let old = if tag == b'N' {
        None
    } else {
        let old = old_tuple(tag, reader)?.ok_or_else(|| unknown("row", tag))?;
        reader.expect(b'N')?;
        Some(old)
    };
    let new = tuple(reader)?;
    Ok(Message::Update { relation, old, new })
}

fn old_tuple<'a>(tag: u8, reader: &mut Reader<'a>) -> Result<Option<OldTuple<'a>>> {
    Ok(match tag {
        b'K' => Some(OldTuple::Key(tuple(reader)?)),
        b'O' => Some(OldTuple::Full(tuple(reader)?)),
        _ => None,
    })
}

fn tuple<'a>(reader: &mut Reader<'a>) -> Result<Tuple<'a>> {
    let count = usize::from(reader.u16()?);
    if count > reader.0.len() {
        return Err(short());
    }
    let mut cells = Vec::with_capacity(count);
    for _ in 0..count {
        cells.push(match reader.u8()? {
            b'n' => Cell::Null,
            b'u' => Cell::Unchanged,
            b't' => {
                let length = reader.u32()?;
                Cell::Text(reader.take(length as usize)?)
            }
            tag => return Err(unknown("cell", tag)),
        });
    }
    Ok(cells)
}

/// What is left of the input.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(short)?;
        let text = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(text).map_err(|_| WireError("a name is not UTF-8".to_owned()))
    }

    fn expect(&mut self, tag: u8) -> Result<()> {
        match self.u8()? {
            found if found == tag => Ok(()),
            found => Err(unknown("row", found)),
        }
    }

    fn finish<T>(&self, value: T) -> Result<T> {
        if self.0.is_empty() {
            return Ok(value);
        }
        Err(WireError(format!("{} bytes too many", self.0.len())))
    }
}

fn short() -> WireError {
    WireError("it ends early".to_owned())
}

fn unknown(what: impl fmt::Display, tag: u8) -> WireError {
    WireError(format!("unknown kind of {what} {:?}", char::from(tag)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// Builds messages as the server does.
    #[derive(Default, Clone)]
    struct Writer(Vec<u8>);

    impl Writer {
        fn tag(mut self, tag: u8) -> Self {
            self.0.push(tag);
            self
        }
        fn u16(mut self, number: u16) -> Self {
            self.0.extend(number.to_be_bytes());
            self
        }
        fn u32(mut self, number: u32) -> Self {
            self.0.extend(number.to_be_bytes());
            self
        }
        fn u64(mut self, number: u64) -> Self {
            self.0.extend(number.to_be_bytes());
            self
        }
        fn text(mut self, text: &str) -> Self {
            self.0.extend(text.as_bytes());
            self.tag(0)
        }
        fn cell(self, text: &str) -> Self {
            let mut next = self.tag(b't').u32(u32::try_from(text.len()).unwrap());
            next.0.extend(text.as_bytes());
            next
        }
    }

    fn samples() -> Vec<Writer> {
        let new = |writer: Writer| writer.tag(b'N').u16(2).cell("1").tag(b'u');
        let start = |tag: u8| Writer::default().tag(tag);
        vec![
            start(b'B').u64(7).u64(1_000_000).u32(42),
            start(b'C').tag(0).u64(7).u64(9).u64(1_000_000),
            start(b'O').u64(7).text("elsewhere"),
            start(b'R')
                .u32(5)
                .text("public")
                .text("t")
                .tag(b'f')
                .u16(1)
                .tag(1)
                .text("id")
                .u32(23)
                .u32(u32::MAX),
            start(b'Y').u32(16400).text("public").text("mood"),
            new(start(b'I').u32(5)),
            new(start(b'U').u32(5)),
            new(start(b'U').u32(5).tag(b'K').u16(2).cell("0").tag(b'n')),
            start(b'D').u32(5).tag(b'O').u16(1).cell("é"),
            start(b'T').u32(2).tag(0).u32(5).u32(6),
            start(b'M')
                .tag(1)
                .u64(8)
                .text("tidelock")
                .u32(2)
                .tag(b'{')
                .tag(b'}'),
            start(b'S').u32(42).tag(1),
            start(b'E'),
            start(b'c').u32(42).tag(0).u64(7).u64(9).u64(1_000_000),
            start(b'A').u32(42).u32(43),
        ]
    }

    /// The same as they come between a stream's start and stop, in subtransaction 43.
    fn streamed() -> Vec<Writer> {
        let content = samples()
            .into_iter()
            .filter(|sample| b"ORYIUDTM".contains(&sample.0[0]));
        let tagged = content.map(|Writer(bytes)| match bytes[0] {
            b'O' => Writer(bytes),
            tag => {
                let mut writer = Writer::default().tag(tag).u32(43);
                writer.0.extend(&bytes[1..]);
                writer
            }
        });
        tagged.collect()
    }

    #[test]
    fn messages_are_read() {
        let bytes = samples();
        let messages: Vec<Message<'_>> = bytes.iter().map(|sample| message(&sample.0).unwrap()).collect();
        assert_eq!(
            messages[0],
            Message::Begin(Begin {
                commit: 7,
                committed_at_us: EPOCH_US + 1_000_000,
                xid: 42
            })
        );
        assert_eq!(messages[1], Message::Commit { end: 9 });
        let Message::Relation(relation) = &messages[3] else {
            unreachable!()
        };
        assert_eq!(
            (relation.schema, relation.name, relation.identity),
            ("public", "t", 'f')
        );
        assert_eq!(relation.columns[0].typmod, -1);
        let Message::Update { old, new, .. } = &messages[7] else {
            unreachable!()
        };
        assert_eq!(*old, Some(OldTuple::Key(vec![Cell::Text(b"0"), Cell::Null])));
        assert_eq!(*new, vec![Cell::Text(b"1"), Cell::Unchanged]);
        assert_eq!(
            messages[9],
            Message::Truncate {
                relations: vec![5, 6]
            }
        );
        assert_eq!(
            messages[10],
            Message::Logical {
                transactional: true,
                prefix: "tidelock",
                content: b"{}"
            }
        );
    }

    #[test]
    fn streams_are_read() {
        let bytes = samples();
        let messages: Vec<Message<'_>> = bytes.iter().map(|sample| message(&sample.0).unwrap()).collect();
        assert_eq!(messages[11], Message::StreamStart { xid: 42, first: true });
        assert_eq!(messages[12], Message::StreamStop);
        let begin = Begin {
            commit: 7,
            committed_at_us: EPOCH_US + 1_000_000,
            xid: 42,
        };
        assert_eq!(messages[13], Message::StreamCommit { begin, end: 9 });
        assert_eq!(messages[14], Message::StreamAbort { xid: 42, subxid: 43 });
        let plain = messages.into_iter().filter(|message| {
            !matches!(
                message,
                Message::Begin(_) | Message::Commit { .. } | Message::StreamStop
            ) && !matches!(
                message,
                Message::StreamStart { .. } | Message::StreamCommit { .. }
            ) && !matches!(message, Message::StreamAbort { .. })
        });
        let streamed = streamed();
        assert_eq!(streamed.len(), 9);
        for (sample, plain) in streamed.iter().zip(plain) {
            let xid = (plain != Message::Origin).then_some(43);
            assert_eq!(in_stream(&sample.0).unwrap(), (xid, plain));
        }
    }

    #[test]
    fn every_cut_and_every_extra_byte_is_an_error() {
        for sample in samples() {
            for length in 0..sample.0.len() {
                assert!(message(&sample.0[..length]).is_err());
            }
            assert!(message(&sample.tag(0).0).is_err());
        }
        for sample in streamed() {
            for length in 0..sample.0.len() {
                assert!(in_stream(&sample.0[..length]).is_err());
            }
            assert!(in_stream(&sample.tag(0).0).is_err());
        }
    }

    #[test]
    fn frames_and_status() {
        let data = Writer::default().tag(b'w').u64(1).u64(2).u64(3).tag(b'B').0;
        assert_eq!(frame(&data), Ok(Frame::Data(b"B")));
        let keepalive = Writer::default().tag(b'k').u64(99).u64(0).tag(1).0;
        assert_eq!(frame(&keepalive), Ok(Frame::Keepalive { end: 99, reply: true }));
        assert!(frame(b"k").is_err() && frame(b"").is_err() && frame(b"x").is_err());
        let status = status_update(3, 1, EPOCH_US + 5, true);
        assert_eq!(
            (status[0], status[8], status[16], status[24], status[32]),
            (b'r', 3, 1, 1, 5)
        );
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(tag in prop::sample::select(b"BCORYIUDTMSEcAwk".to_vec()), body: Vec<u8>) {
            let mut bytes = vec![tag];
            bytes.extend(body);
            let _ = message(&bytes);
            let _ = in_stream(&bytes);
            let _ = frame(&bytes);
        }

        #[test]
        fn one_changed_byte_never_panics(which in 0_usize..15, at: prop::sample::Index, byte: u8) {
            let mut bytes = samples()[which].0.clone();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = message(&bytes);
        }
    }
}
