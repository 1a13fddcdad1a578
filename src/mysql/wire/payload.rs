//! Compressed pieces of the log: MySQL's whole transactions (zstd), MariaDB's statements and row images (zlib).
//!
//! Owns: [`Payload`], which is fed with a compressed transaction's bytes as they come and gives its events one by one,
//! and [`inflate`] for MariaDB. A transaction announces sizes up to the protocol's limit: nothing is allocated by what
//! is announced, only by what has come out, and that is never more than a piece and one event.
//! Refuses: kinds of compression that are not known, and compressed transactions inside of one.
//! Fails: with what is wrong; sizes and the stream's own end must be as announced.

use super::framing::{Event, FramingError, HEADER_BYTES, Header, malformed};
use super::{Cursor, kind};
use bytes::{Buf, Bytes, BytesMut};
use flate2::read::ZlibDecoder;
use std::fmt;
use std::io::Read;
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

type Result<T> = std::result::Result<T, FramingError>;

/// Inflated at once.
const PIECE_BYTES: usize = 128 << 10;
/// The fields before the compressed bytes take some dozens of bytes.
const HEAD_BYTES_MAX: usize = 1_000;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Inflated {
    Event(Event),
    /// All that was fed is used up.
    Starved,
    End,
}

/// How the transaction is compressed.
enum Method {
    /// The fields that say so have not come yet.
    Unknown,
    Plain,
    Zstd(Decoder<'static>),
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::Unknown => "Unknown",
            Method::Plain => "Plain",
            Method::Zstd(_) => "Zstd",
        })
    }
}

/// One compressed transaction.
#[derive(Debug)]
pub struct Payload {
    method: Method,
    /// Fed, not yet inflated.
    input: BytesMut,
    /// Inflated, not yet handed on.
    output: BytesMut,
    scratch: Vec<u8>,
    /// Compressed bytes that are still to come.
    left: u64,
    /// What is still to come out, where it is told.
    inflated_left: Option<u64>,
    /// The stream is at an end of its own.
    is_complete: bool,
    /// The decoder may hold more than the last piece had room for.
    is_full: bool,
    is_closed: bool,
}

impl Default for Payload {
    fn default() -> Self {
        Payload {
            method: Method::Unknown,
            input: BytesMut::new(),
            output: BytesMut::new(),
            scratch: Vec::new(),
            left: 0,
            inflated_left: None,
            is_complete: false,
            is_full: false,
            is_closed: false,
        }
    }
}

impl Payload {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Nothing more will be fed.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    pub fn inflated(&mut self) -> Result<Inflated> {
        loop {
            if let Some(event) = self.event()? {
                return Ok(Inflated::Event(event));
            }
            if matches!(self.method, Method::Unknown) {
                if self.head()? {
                    continue;
                }
            } else if self.is_full || !self.input.is_empty() {
                self.inflate()?;
                continue;
            }
            return match self.is_closed {
                true => self.end(),
                false => Ok(Inflated::Starved),
            };
        }
    }

    /// Reads the fields before the compressed bytes; `false`: they are not all there.
    fn head(&mut self) -> Result<bool> {
        match Fields::parse(&self.input) {
            Some((fields, len)) => {
                self.input.advance(len);
                self.left = fields
                    .size
                    .ok_or_else(|| malformed("a compressed transaction does not tell its size"))?;
                self.inflated_left = fields.inflated;
                self.method = match fields.method {
                    Some(Fields::ZSTD) => Method::Zstd(Decoder::new().map_err(failed)?),
                    Some(Fields::NONE) => Method::Plain,
                    other => {
                        return Err(malformed(format!(
                            "a transaction is compressed by the unknown method {other:?}"
                        )));
                    }
                };
                Ok(true)
            }
            None if self.input.len() > HEAD_BYTES_MAX => Err(malformed(
                "the head of a compressed transaction is of no known form",
            )),
            None => Ok(false),
        }
    }

    /// Inflates a piece.
    fn inflate(&mut self) -> Result<()> {
        let allowed = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(self.input.len());
        if allowed == 0 && !self.is_full {
            return Err(malformed("a compressed transaction is longer than it says"));
        }
        let (consumed, produced) = match &mut self.method {
            Method::Unknown => (0, 0),
            Method::Plain => {
                self.output.extend_from_slice(&self.input[..allowed]);
                (allowed, allowed)
            }
            Method::Zstd(decoder) => {
                self.scratch.resize(PIECE_BYTES, 0);
                let mut input = InBuffer::around(&self.input[..allowed]);
                let mut output = OutBuffer::around(&mut self.scratch[..]);
                // 0: the frame is complete and all of it has come out.
                self.is_complete = decoder.run(&mut input, &mut output).map_err(failed)? == 0;
                let (consumed, produced) = (input.pos(), output.pos());
                self.is_full = produced == PIECE_BYTES && !self.is_complete;
                self.output.extend_from_slice(&self.scratch[..produced]);
                (consumed, produced)
            }
        };
        self.input.advance(consumed);
        self.left -= consumed as u64;
        if let Some(left) = &mut self.inflated_left {
            *left = left
                .checked_sub(produced as u64)
                .ok_or_else(|| malformed("a compressed transaction holds more than it says"))?;
        }
        if consumed == 0 && produced == 0 && !self.input.is_empty() {
            return Err(malformed("a compressed transaction cannot be inflated"));
        }
        Ok(())
    }

    fn event(&mut self) -> Result<Option<Event>> {
        let Some(header) = Header::parse(&mut Cursor::new(&self.output)) else {
            return Ok(None);
        };
        let size = header.size as usize;
        let is_foreign = matches!(
            header.kind,
            kind::TRANSACTION_PAYLOAD
                | kind::FORMAT_DESCRIPTION
                | kind::ROTATE
                | kind::GTID
                | kind::GTID_TAGGED
        );
        let is_beyond = self
            .inflated_left
            .is_some_and(|left| size as u64 > self.output.len() as u64 + left);
        if size < HEADER_BYTES || is_foreign || is_beyond {
            return Err(malformed(
                "a compressed transaction holds something that is no event of it",
            ));
        }
        if self.output.len() < size {
            return Ok(None);
        }
        let mut whole = self.output.split_to(size);
        whole.advance(HEADER_BYTES);
        Ok(Some(Event {
            header,
            body: whole.freeze(),
        }))
    }

    fn end(&self) -> Result<Inflated> {
        let is_complete = match self.method {
            Method::Unknown => false,
            Method::Plain => true,
            Method::Zstd(_) => self.is_complete,
        };
        let is_all =
            self.left == 0 && self.output.is_empty() && self.inflated_left.is_none_or(|left| left == 0);
        match is_complete && is_all {
            true => Ok(Inflated::End),
            false => Err(malformed("a compressed transaction is cut")),
        }
    }
}

fn failed(error: std::io::Error) -> FramingError {
    malformed(format!("a compressed transaction cannot be inflated: {error}"))
}

/// What is told before the compressed bytes: `field, length, number`, until field 0.
#[derive(Default)]
struct Fields {
    size: Option<u64>,
    method: Option<u64>,
    inflated: Option<u64>,
}

impl Fields {
    const ZSTD: u64 = 0;
    const NONE: u64 = 255;

    /// With their length. `None`: cut.
    fn parse(bytes: &[u8]) -> Option<(Fields, usize)> {
        let mut cursor = Cursor::new(bytes);
        let mut fields = Fields::default();
        loop {
            let field = cursor.packed()?;
            if field == 0 {
                return Some((fields, bytes.len() - cursor.rest().len()));
            }
            let mut value = Cursor::new(cursor.packed_bytes()?);
            match field {
                1 => fields.size = value.packed(),
                2 => fields.method = value.packed(),
                3 => fields.inflated = value.packed(),
                _ => {}
            }
        }
    }
}

/// What MariaDB compressed: `1, method (3 bits), n (4 bits)`, the length in n bytes, the stream. Only zlib is known.
/// `None`: it is of no known form, cut, or longer or shorter than it says.
pub fn inflate(bytes: &[u8]) -> Option<Bytes> {
    let mut cursor = Cursor::new(bytes);
    let head = cursor.u8()?;
    if head & 0xf0 != 0x80 {
        return None;
    }
    let len = cursor
        .big(usize::from(head & 0x0f))
        .filter(|len| *len <= u64::from(u32::MAX))?;
    let mut inflated = Vec::new();
    // One more than announced, to see that there is no more.
    ZlibDecoder::new(cursor.rest())
        .take(len + 1)
        .read_to_end(&mut inflated)
        .ok()?;
    (inflated.len() as u64 == len).then(|| inflated.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn event(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.push(kind);
        bytes.extend([0; 4]);
        bytes.extend(((HEADER_BYTES + body.len()) as u32).to_le_bytes());
        bytes.extend([0; 6]);
        bytes.extend(body);
        bytes
    }

    fn fields(method: u64, size: usize, inflated: Option<usize>) -> Vec<u8> {
        let number = |field: u8, value: u64| {
            let mut bytes = vec![field, 9, 254];
            bytes.extend(value.to_le_bytes());
            bytes
        };
        let mut head = number(2, method);
        head[1] = 9;
        head.extend(inflated.map_or(Vec::new(), |len| number(3, len as u64)));
        head.extend(number(1, size as u64));
        head.push(0);
        head
    }

    fn all(bytes: &[u8], step: usize) -> Result<Vec<Event>> {
        all_and_most(bytes, step).map(|(events, _)| events)
    }

    /// What comes out when it is fed in pieces of `step` bytes, and the most that was held of it.
    fn all_and_most(bytes: &[u8], step: usize) -> Result<(Vec<Event>, usize)> {
        let mut payload = Payload::default();
        let mut events = Vec::new();
        let mut most = 0;
        let mut rest = bytes;
        loop {
            match payload.inflated()? {
                Inflated::Event(event) => events.push(event),
                Inflated::End => return Ok((events, most)),
                Inflated::Starved if rest.is_empty() => payload.close(),
                Inflated::Starved => {
                    let (piece, more) = rest.split_at(step.min(rest.len()));
                    payload.feed(piece);
                    rest = more;
                }
            }
            most = most.max(payload.output.len());
        }
    }

    fn events() -> Vec<u8> {
        let mut bytes = event(kind::QUERY, b"BEGIN");
        for number in 0..20_000_u32 {
            bytes.extend(event(kind::WRITE_ROWS, &[number as u8; 50]));
        }
        bytes.extend(event(kind::XID, &[0; 8]));
        bytes
    }

    #[test]
    fn a_large_transaction_comes_event_by_event_whatever_the_pieces() {
        let plain = events();
        let packed = zstd::encode_all(&plain[..], 3).unwrap();
        assert!(packed.len() * 20 < plain.len());
        let bytes = [fields(0, packed.len(), Some(plain.len())), packed].concat();
        for step in [1, 7, 1_000, bytes.len()] {
            let (events, most) = all_and_most(&bytes, step).unwrap();
            assert_eq!(events.len(), 20_002);
            assert!(most < 2 * PIECE_BYTES, "{most} bytes at once");
            assert_eq!(events[20_000].body, [19_999_u32 as u8; 50][..]);
        }
        let bytes = [fields(255, plain.len(), None), plain].concat();
        assert_eq!(all(&bytes, 1 << 16).unwrap().len(), 20_002);
    }

    #[test]
    fn whatever_is_wrong_is_an_error_and_never_an_end() {
        let plain = events();
        let packed = zstd::encode_all(&plain[..], 3).unwrap();
        let good = [fields(0, packed.len(), Some(plain.len())), packed.clone()].concat();
        for len in [0, 5, 30, 40, good.len() / 2, good.len() - 1] {
            assert!(all(&good[..len], 100).is_err(), "cut to {len}");
        }
        let wrong = |fields: Vec<u8>| all(&[fields, packed.clone()].concat(), 100);
        assert!(wrong(fields(0, packed.len() - 1, Some(plain.len()))).is_err());
        assert!(wrong(fields(0, packed.len() + 1, Some(plain.len()))).is_err());
        assert!(wrong(fields(0, packed.len(), Some(plain.len() - 1))).is_err());
        assert!(wrong(fields(0, packed.len(), Some(plain.len() + 1))).is_err());
        assert!(wrong(fields(7, packed.len(), Some(plain.len()))).is_err());
        assert!(wrong(vec![0]).is_err());
        let head = good.len() - packed.len();
        for at in (0..packed.len()).step_by(packed.len() / 40) {
            let mut broken = good.clone();
            broken[head + at] ^= 0x10;
            // Where the damage does not show in the stream the checksum has it; the events must still add up.
            if let Ok(events) = all(&broken, 1_000) {
                let bytes: usize = events.iter().map(|event| HEADER_BYTES + event.body.len()).sum();
                assert_eq!(bytes, plain.len());
            }
        }
        let nested = event(kind::TRANSACTION_PAYLOAD, b"x");
        let bytes = [fields(255, nested.len(), None), nested].concat();
        assert!(all(&bytes, 100).is_err());
    }

    #[test]
    fn an_announced_size_is_no_reason_to_allocate() {
        let plain = event(kind::XID, &[0; 8]);
        let bytes = [fields(255, plain.len(), Some(usize::MAX / 2)), plain].concat();
        assert!(all(&bytes, 100).is_err());
        let mut huge = event(kind::WRITE_ROWS, b"");
        huge[9..13].copy_from_slice(&u32::MAX.to_le_bytes());
        let bytes = [fields(255, huge.len(), None), huge].concat();
        assert!(all(&bytes, 100).is_err());
    }

    #[test]
    fn mariadb_pieces() {
        let text = "UPDATE t SET a = 1 ".repeat(50);
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        let stream = encoder.finish().unwrap();
        let with = |head: u8, len: usize| {
            let mut bytes = vec![head];
            bytes.extend(&(len as u32).to_be_bytes()[2..]);
            bytes.extend(&stream);
            bytes
        };
        assert_eq!(inflate(&with(0x82, text.len())).unwrap(), text.as_bytes());
        assert!(inflate(&with(0x82, text.len() - 1)).is_none());
        assert!(inflate(&with(0x82, text.len() + 1)).is_none());
        assert!(inflate(&with(0x92, text.len())).is_none());
        assert!(inflate(&with(0x02, text.len())).is_none());
        let good = with(0x82, text.len());
        for len in 0..good.len() {
            assert!(inflate(&good[..len]).is_none(), "cut to {len}");
        }
    }
}
