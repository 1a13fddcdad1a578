//! Bytes of a dump to events: packets, headers, checksums, and the transactions inside of compressed payloads.
//!
//! Owns: [`Framing`], which is fed with what the socket gave and asked for what is whole. It does no I/O.
//! **Bounds.** An event is held whole, since a row is; a compressed transaction is not: its bytes are inflated as they
//! come, and what they inflate to is handed on event by event (`payload`).
//! **Checksums.** Each event's is compared before the event is handed on, and a compressed transaction's before its end
//! is ([`Item::PayloadEnd`]), so that a broken one is never committed. What a format description says holds from itself
//! on; the ROTATE before it may have one or not, which its own bytes tell.
//! Fails: [`FramingError`], which names what is wrong and where in the log.

use super::login::Answer;
use super::payload::{Inflated, Payload};
use super::{Cursor, kind};
use bytes::{Buf, Bytes, BytesMut};
use std::fmt;

/// Bytes of an event's header.
pub const HEADER_BYTES: usize = 19;
const CHECKSUM_BYTES: usize = 4;
const FRAME_HEAD_BYTES: usize = 4;
/// A frame of this size is continued by the next one.
const FRAME_BYTES_MAX: usize = 0xff_ffff;
/// A smaller frame is waited for in place; a greater one is moved out as it comes.
const WAITED_BYTES_MAX: usize = 1 << 20;
/// The bit of a format description that says "not closed", which is not in its checksum.
const IN_USE: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    #[error("{0}")]
    Malformed(String),
    /// What the server said instead of an event.
    #[error("ERROR {code} ({state}): {message}")]
    Server {
        code: u16,
        state: String,
        message: String,
    },
    /// The server has no more to send and says so.
    #[error("the server ended the dump")]
    End,
}

type Result<T> = std::result::Result<T, FramingError>;

pub(super) fn malformed(what: impl fmt::Display) -> FramingError {
    FramingError::Malformed(what.to_string())
}

/// What stands before every event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub timestamp: u32,
    pub kind: u8,
    pub server_id: u32,
    /// With header and checksum.
    pub size: u32,
    /// Where it ends in its file, modulo 4 GiB; 0 inside a compressed transaction.
    pub end: u32,
    pub flags: u16,
}

impl Header {
    /// Made for the reader; it stands in no file.
    const ARTIFICIAL: u16 = 0x20;
    /// A reader that does not know the kind may pass it over.
    const IGNORABLE: u16 = 0x80;

    pub fn parse(cursor: &mut Cursor<'_>) -> Option<Header> {
        Some(Header {
            timestamp: cursor.u32()?,
            kind: cursor.u8()?,
            server_id: cursor.u32()?,
            size: cursor.u32()?,
            end: cursor.u32()?,
            flags: cursor.u16()?,
        })
    }

    pub fn is_artificial(&self) -> bool {
        self.flags & Self::ARTIFICIAL != 0
    }

    pub fn is_ignorable(&self) -> bool {
        self.flags & Self::IGNORABLE != 0
    }
}

/// An event without checksum; `body` is what follows the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub header: Header,
    pub body: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Event(Event),
    /// A compressed transaction begins; its events follow.
    PayloadBegin(Header),
    /// An event of it, of which there is no checksum.
    Inner(Event),
    /// It was whole and its checksum right.
    PayloadEnd,
}

/// What is being taken from the packet.
#[derive(Debug)]
enum State {
    Event,
    Payload(Box<Inflating>),
}

#[derive(Debug)]
struct Inflating {
    payload: Payload,
    checksum: Option<crc32fast::Hasher>,
    /// Received, not yet checked and inflated: the last four bytes may be the checksum.
    held: BytesMut,
}

#[derive(Debug)]
pub struct Framing {
    input: BytesMut,
    /// Left of the current frame, and whether another one continues it. `None`: its head has not come.
    frame: Option<(usize, bool)>,
    /// What has been moved out of the input of the current packet.
    packet: BytesMut,
    state: State,
    has_checksums: bool,
}

impl Default for Framing {
    fn default() -> Self {
        Framing {
            input: BytesMut::new(),
            frame: None,
            packet: BytesMut::new(),
            state: State::Event,
            has_checksums: false,
        }
    }
}

impl Framing {
    /// Where the socket's bytes go.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// The next packet of a login or command; `None`: more bytes are needed.
    pub fn packet(&mut self) -> Option<BytesMut> {
        loop {
            let (piece, is_last) = self.piece()?;
            self.append(piece);
            if is_last {
                return Some(std::mem::take(&mut self.packet));
            }
        }
    }

    /// The next item of the dump; `None`: more bytes are needed.
    pub fn item(&mut self) -> Result<Option<Item>> {
        loop {
            if let State::Payload(inflating) = &mut self.state {
                match inflating.payload.inflated()? {
                    Inflated::Event(event) => return Ok(Some(Item::Inner(event))),
                    Inflated::End => {
                        self.state = State::Event;
                        return Ok(Some(Item::PayloadEnd));
                    }
                    Inflated::Starved => {}
                }
            }
            let Some((piece, is_last)) = self.piece() else {
                return Ok(None);
            };
            if let State::Payload(inflating) = &mut self.state {
                inflating.feed(&piece, is_last)?;
                continue;
            }
            self.append(piece);
            if let Some(header) = self.payload_head() {
                self.begin_payload(is_last)?;
                return Ok(Some(Item::PayloadBegin(header)));
            }
            if is_last {
                let packet = std::mem::take(&mut self.packet);
                return self.event(packet.freeze()).map(Some);
            }
        }
    }

    /// What has come of the current packet and whether it is its last.
    fn piece(&mut self) -> Option<(BytesMut, bool)> {
        let (left, is_continued) = match self.frame {
            Some(frame) => frame,
            None => {
                let head = self.input.first_chunk::<FRAME_HEAD_BYTES>()?;
                let len = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
                self.input.advance(FRAME_HEAD_BYTES);
                *self.frame.insert((len, len == FRAME_BYTES_MAX))
            }
        };
        let there = self.input.len().min(left);
        if there < left && (left <= WAITED_BYTES_MAX || there == 0) {
            return None;
        }
        let piece = self.input.split_to(there);
        let is_done = there == left;
        self.frame = (!is_done).then_some((left - there, is_continued));
        Some((piece, is_done && !is_continued))
    }

    fn append(&mut self, piece: BytesMut) {
        match self.packet.is_empty() {
            true => self.packet = piece,
            false => self.packet.unsplit(piece),
        }
    }

    /// The header of a compressed transaction, once it is there.
    fn payload_head(&self) -> Option<Header> {
        let (0, rest) = self.packet.split_first()? else {
            return None;
        };
        let header = Header::parse(&mut Cursor::new(rest))?;
        (header.kind == kind::TRANSACTION_PAYLOAD).then_some(header)
    }

    fn begin_payload(&mut self, is_last: bool) -> Result<()> {
        let mut packet = std::mem::take(&mut self.packet);
        packet.advance(1);
        let head = packet.split_to(HEADER_BYTES);
        let checksum = self.has_checksums.then(|| {
            let mut checksum = crc32fast::Hasher::new();
            checksum.update(&head);
            checksum
        });
        let mut inflating = Box::new(Inflating {
            payload: Payload::default(),
            checksum,
            held: BytesMut::new(),
        });
        inflating.feed(&packet, is_last)?;
        self.state = State::Payload(inflating);
        Ok(())
    }

    fn event(&mut self, packet: Bytes) -> Result<Item> {
        match packet.first() {
            Some(0) => {}
            Some(0xfe) if packet.len() < 9 => return Err(FramingError::End),
            _ => {
                return Err(match Answer::parse(&packet) {
                    Answer::Refused { code, state, message } => FramingError::Server { code, state, message },
                    _ => malformed("the server sent something that is no event"),
                });
            }
        }
        let whole = packet.slice(1..);
        let header = Header::parse(&mut Cursor::new(&whole)).ok_or_else(|| malformed("an event is cut"))?;
        if header.size as usize != whole.len() {
            return Err(malformed(format!(
                "an event of {} bytes came with {}",
                header.size,
                whole.len()
            )));
        }
        let body = match header.kind {
            kind::FORMAT_DESCRIPTION => self.format(&whole)?,
            kind::ROTATE if header.is_artificial() || header.timestamp == 0 => match is_sealed(&whole) {
                true => unsealed(&whole),
                false => whole.slice(HEADER_BYTES..),
            },
            _ if !self.has_checksums => whole.slice(HEADER_BYTES..),
            _ if is_sealed(&whole) => unsealed(&whole),
            _ => return Err(broken(&header)),
        };
        Ok(Item::Event(Event { header, body }))
    }

    /// A format description ends with the kind of checksum of its file, and always a checksum of its own.
    fn format(&mut self, whole: &Bytes) -> Result<Bytes> {
        let body = unsealed(whole);
        let algorithm = body
            .last()
            .filter(|_| whole.len() > HEADER_BYTES + CHECKSUM_BYTES);
        self.has_checksums = match algorithm {
            Some(0) => false,
            Some(1) => true,
            _ => return Err(malformed("the log's checksums are of an unknown kind")),
        };
        if self.has_checksums && !is_sealed(whole) {
            let mut closed = BytesMut::from(&whole[..]);
            closed[HEADER_BYTES - 2] &= !IN_USE;
            if !is_sealed(&closed) {
                return Err(malformed("the checksum of a format description is wrong"));
            }
        }
        Ok(body)
    }
}

/// The body of an event that has a checksum; empty where it is too short for one.
fn unsealed(whole: &Bytes) -> Bytes {
    let end = whole.len().saturating_sub(CHECKSUM_BYTES).max(HEADER_BYTES);
    whole.slice(HEADER_BYTES..end.min(whole.len()))
}

/// Do the last four bytes prove the others?
fn is_sealed(whole: &[u8]) -> bool {
    whole
        .split_last_chunk::<CHECKSUM_BYTES>()
        .is_some_and(|(rest, sum)| {
            rest.len() >= HEADER_BYTES && crc32fast::hash(rest) == u32::from_le_bytes(*sum)
        })
}

fn broken(header: &Header) -> FramingError {
    malformed(format!(
        "the checksum of an event of kind {} that ends at {} is wrong: the log or the connection is damaged",
        header.kind, header.end
    ))
}

impl Inflating {
    /// `is_last`: no more bytes follow, so the last four are the checksum.
    fn feed(&mut self, piece: &[u8], is_last: bool) -> Result<()> {
        self.held.extend_from_slice(piece);
        let tail = if self.checksum.is_some() {
            CHECKSUM_BYTES
        } else {
            0
        };
        let ready = self.held.len().saturating_sub(tail);
        let ready = self.held.split_to(ready).freeze();
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&ready);
        }
        self.payload.feed(&ready);
        if !is_last {
            return Ok(());
        }
        if let Some(checksum) = self.checksum.take() {
            let sum = self.held.first_chunk().copied().map(u32::from_le_bytes);
            if sum != Some(checksum.finalize()) {
                return Err(malformed(
                    "the checksum of a compressed transaction is wrong: the log or the connection is damaged",
                ));
            }
        }
        self.payload.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
