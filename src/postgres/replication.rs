//! A thin replication client: login, simple queries, and the CopyBoth stream of a walsender.
//!
//! Owns: the socket (TCP, TLS, unix), its framing, and both of its buffers, so that [`Replication::next`] may be
//! dropped at any await without losing a byte. Refuses: knowing what the stream means (see `wire`, `source`).
//! Fails: ErrorResponse by `postgres::server_error`; end of stream and socket errors are transient; a frame past
//! [`FRAME_MAX`] or bytes that are no message are definite.

use super::wire::{Reader, WireError};
use super::{
    connecting, in_time, server_error, session_options, tls, tls_failed, unreachable_server, usable,
};
use crate::access::{Access, TlsMode, tls as secure};
use crate::error::{Error, NEW_COPY, Reason, Result};
use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::frontend;
use secrecy::{ExposeSecret, SecretString};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// The server builds a message in memory of at most 1 GiB; more than that is not a message.
const FRAME_MAX: usize = 1 << 30;
/// Read at once. Large enough that a busy stream costs few system calls.
const READ_BYTES: usize = 64 * 1024;
/// A buffer that one large row made greater than this is given back once it is empty.
const READ_BYTES_KEPT: usize = 1024 * 1024;

trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

pub struct Replication {
    node: String,
    socket: Box<dyn Socket>,
    received: BytesMut,
    /// Not yet taken by the socket.
    to_send: BytesMut,
    flushed: bool,
}

/// One row of a simple query's answer.
pub type TextRow = Vec<Option<String>>;

/// What arrived in a running stream.
pub enum Streamed {
    /// Body of a CopyData message. Shares the read buffer: copy what is kept.
    Frame(Bytes),
    /// The server ended the stream by itself.
    End,
}

impl Replication {
    /// Logs in with `replication=database` and the session settings of every other connection.
    pub async fn connect(access: &Access) -> Result<Replication> {
        let mut failed = Vec::new();
        for host in access.each_host() {
            match in_time(&host, Box::pin(open(&host))).await {
                Ok(connection) => return Ok(connection),
                Err(error) if error.is_transient() => failed.push(error),
                Err(error) => return Err(error),
            }
        }
        Err(access.none_usable(failed))
    }

    /// A simple query and all its rows. Not to be dropped halfway: the connection is then of no more use.
    pub async fn query(&mut self, doing: &str, statement: &str) -> Result<Vec<TextRow>> {
        self.send_query(doing, statement).await?;
        let mut rows = Vec::new();
        let mut failure = None;
        loop {
            let (tag, body) = self.message(doing).await?;
            match tag {
                b'D' => rows.push(data_row(&body).map_err(|error| self.malformed(doing, error))?),
                b'E' => failure = Some(self.refused(doing, &body)),
                b'Z' => break,
                _ => {}
            }
        }
        failure.map_or(Ok(rows), Err)
    }

    /// `START_REPLICATION ..`: afterwards only [`Replication::next`], [`Replication::send`] and
    /// [`Replication::flush`] have a meaning.
    pub async fn start(&mut self, doing: &str, statement: &str) -> Result<()> {
        self.send_query(doing, statement).await?;
        loop {
            let (tag, body) = self.message(doing).await?;
            match tag {
                b'W' => return Ok(()),
                b'E' => return Err(self.refused(doing, &body)),
                b'Z' => return Err(self.error(doing).why("the server did not begin to stream")),
                _ => {}
            }
        }
    }

    /// The next frame of the stream. May be dropped at any time; nothing is lost.
    pub async fn next(&mut self) -> Result<Streamed> {
        const DOING: &str = "read the replication stream";
        loop {
            let (tag, body) = self.message(DOING).await?;
            match tag {
                b'd' => return Ok(Streamed::Frame(body)),
                b'E' => return Err(self.refused(DOING, &body)),
                b'c' | b'C' | b'Z' => return Ok(Streamed::End),
                // Notices and parameter changes.
                _ => {}
            }
        }
    }

    /// Is a whole message there without waiting?
    pub fn is_buffered(&self) -> bool {
        match self.received.first_chunk::<5>() {
            Some([_, length @ ..]) => self.received.len() > u32::from_be_bytes(*length) as usize,
            None => false,
        }
    }

    /// Queues a CopyData message; [`Replication::flush`] sends it.
    pub fn send(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        self.to_send.extend_from_slice(b"d");
        self.to_send.extend_from_slice(&length.to_be_bytes());
        self.to_send.extend_from_slice(body);
        self.flushed = false;
    }

    /// Sends what is queued. May be dropped at any time: what the socket did not take stays queued.
    pub async fn flush(&mut self) -> Result<()> {
        const DOING: &str = "write to the replication connection";
        while !self.to_send.is_empty() {
            let written = self.socket.write_buf(&mut self.to_send).await;
            if written.map_err(|error| self.error(DOING).because(error))? == 0 {
                return Err(self.error(DOING).why("the connection is closed"));
            }
        }
        if !self.flushed {
            let outcome = self.socket.flush().await;
            outcome.map_err(|error| self.error(DOING).because(error))?;
            self.flushed = true;
        }
        Ok(())
    }

    async fn send_query(&mut self, doing: &str, statement: &str) -> Result<()> {
        frontend::query(statement, &mut self.to_send).map_err(|error| self.error(doing).because(error))?;
        self.flushed = false;
        self.flush().await
    }

    /// The next whole message of the server, notices excepted.
    async fn message(&mut self, doing: &str) -> Result<(u8, Bytes)> {
        loop {
            if let Some((tag, body)) = self.buffered(doing)? {
                if tag != b'N' {
                    return Ok((tag, body));
                }
                continue;
            }
            if self.received.is_empty() && self.received.capacity() > READ_BYTES_KEPT {
                self.received = BytesMut::new();
            }
            self.received.reserve(READ_BYTES);
            let count = self.socket.read_buf(&mut self.received).await;
            if count.map_err(|error| self.error(doing).because(error))? == 0 {
                return Err(self.error(doing).why("the server closed the connection"));
            }
        }
    }

    fn buffered(&mut self, doing: &str) -> Result<Option<(u8, Bytes)>> {
        let Some([tag, length @ ..]) = self.received.first_chunk::<5>() else {
            return Ok(None);
        };
        let (tag, length) = (*tag, u32::from_be_bytes(*length) as usize);
        if !(4..=FRAME_MAX).contains(&length) {
            return Err(Error::definite(doing)
                .node(&self.node)
                .why(format!("a message announces {length} bytes"))
                .hint("is this a PostgreSQL server?"));
        }
        if self.received.len() <= length {
            self.received.reserve(length + 1 - self.received.len());
            return Ok(None);
        }
        let mut message = self.received.split_to(length + 1);
        message.advance(5);
        Ok(Some((tag, message.freeze())))
    }

    /// Transient: what it is used for are sockets that fail.
    fn error(&self, doing: &str) -> Error {
        Error::transient(doing).node(&self.node)
    }

    fn malformed(&self, doing: &str, error: WireError) -> Error {
        Error::definite(doing).node(&self.node).because(error)
    }

    fn refused(&self, doing: &str, body: &[u8]) -> Error {
        let fields = error_fields(body);
        let field = |tag: u8| {
            fields
                .iter()
                .find(|(found, _)| *found == tag)
                .map(|(_, text)| text.as_str())
        };
        let (state, message) = (
            field(b'C').unwrap_or("XX000"),
            field(b'M').unwrap_or("no message"),
        );
        let error = server_error(doing, state, message, String::new(), field(b'H')).node(&self.node);
        // With whatever SQLSTATE the last system call left behind.
        match message.starts_with("requested WAL segment") {
            true => error.reason(Reason::PositionLost).hint(NEW_COPY),
            false => error,
        }
    }
}

async fn open(access: &Access) -> Result<Replication> {
    let doing = connecting(access);
    let (socket, binding) = open_socket(access, &doing).await?;
    let mut connection = Replication {
        node: access.node.clone(),
        socket,
        received: BytesMut::new(),
        to_send: BytesMut::new(),
        flushed: true,
    };
    let name = access.session_name();
    let parameters = [
        ("user", access.user.as_str()),
        ("database", access.database.as_str()),
        ("replication", "database"),
        ("client_encoding", "UTF8"),
        ("application_name", &name),
        ("options", &session_options()),
    ];
    frontend::startup_message(parameters, &mut connection.to_send)
        .map_err(|error| Error::definite(&doing).because(error))?;
    connection.flushed = false;
    connection.flush().await?;
    let password = access.password().await?;
    // A server may refuse our certificate only after the handshake, in place of its first answer.
    let refused = |error: Error| match std::error::Error::source(&error).and_then(secure::cause) {
        Some(tls) => secure::refused(access, &doing, tls),
        None => error,
    };
    let login = connection.log_in(&doing, &access.user, password, binding).await;
    login.map_err(refused)?;
    let rows = connection.query(&doing, super::OPENED).await?;
    let cell = |index: usize| {
        rows.first()
            .and_then(|row| row.get(index)?.as_deref())
            .unwrap_or("")
    };
    usable(access, &doing, cell(0), cell(1))?;
    Ok(connection)
}

/// The connected socket, and over TLS the hash that binds a login to it.
async fn open_socket(access: &Access, doing: &str) -> Result<(Box<dyn Socket>, Binding)> {
    let unreachable = |error: io::Error| unreachable_server(doing).because(error);
    if access.is_socket() {
        let path = format!("{}/.s.PGSQL.{}", access.host.trim_end_matches('/'), access.port);
        let socket = UnixStream::connect(path).await.map_err(unreachable)?;
        return Ok((Box::new(socket), Binding::NoTls));
    }
    let mut socket = TcpStream::connect((access.host.as_str(), access.port))
        .await
        .map_err(unreachable)?;
    socket.set_nodelay(true).map_err(unreachable)?;
    if access.tls == TlsMode::Disable {
        return Ok((Box::new(socket), Binding::NoTls));
    }
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    socket.write_all(&request).await.map_err(unreachable)?;
    if socket.read_u8().await.map_err(unreachable)? != b'S' {
        return Err(tls_failed(doing).why("the server does not support TLS"));
    }
    let socket = secure::handshake(access, doing, socket).await?;
    let certificate = socket.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let binding = Binding::Tls(certificate.and_then(|certificate| tls::end_point(certificate)));
    Ok((Box::new(socket), binding))
}

enum Binding {
    NoTls,
    /// The end point's hash, where it can be computed.
    Tls(Option<Vec<u8>>),
}

impl Replication {
    async fn log_in(
        &mut self,
        doing: &str,
        user: &str,
        password: Option<SecretString>,
        binding: Binding,
    ) -> Result<()> {
        let needed = || {
            password
                .as_ref()
                .map(|secret| secret.expose_secret().as_bytes())
                .ok_or_else(|| {
                    Error::definite(doing)
                        .reason(Reason::Unreachable)
                        .why("the server asks for a password and none is configured")
                        .hint("give it by password_file, password_env or password_command")
                })
        };
        let mut binding = Some(binding);
        let mut scram = None;
        loop {
            let (tag, body) = self.message(doing).await?;
            match tag {
                b'R' => {}
                b'E' => return Err(self.refused(doing, &body)),
                b'Z' => return Ok(()),
                _ => continue,
            }
            let mut reader = Reader(&body);
            let method = reader.u32().map_err(|error| self.malformed(doing, error))?;
            let broken = |error: io::Error| Error::definite(doing).reason(Reason::Unreachable).because(error);
            match (method, &mut scram) {
                (0, _) => continue,
                (3, _) => frontend::password_message(needed()?, &mut self.to_send),
                (5, _) => {
                    let salt = reader.0.first_chunk::<4>().copied().unwrap_or_default();
                    let hash = md5_hash(user.as_bytes(), needed()?, salt);
                    frontend::password_message(hash.as_bytes(), &mut self.to_send)
                }
                (10, None) => {
                    let (mechanism, binding) = mechanism(reader.0, binding.take())
                        .ok_or_else(|| unsupported(doing, "a SASL mechanism other than SCRAM-SHA-256"))?;
                    let started = ScramSha256::new(needed()?, binding);
                    let outcome =
                        frontend::sasl_initial_response(mechanism, started.message(), &mut self.to_send);
                    scram = Some(started);
                    outcome
                }
                (11, Some(scram)) => {
                    scram.update(reader.0).map_err(broken)?;
                    frontend::sasl_response(scram.message(), &mut self.to_send)
                }
                (12, Some(scram)) => {
                    scram.finish(reader.0).map_err(broken)?;
                    continue;
                }
                (other, _) => return Err(unsupported(doing, &format!("authentication method {other}"))),
            }
            .map_err(broken)?;
            self.flushed = false;
            self.flush().await?;
        }
    }
}

fn unsupported(doing: &str, what: &str) -> Error {
    Error::definite(doing)
        .reason(Reason::Unreachable)
        .why(format!("the server asks for {what}"))
        .hint("use scram-sha-256 for this account in pg_hba.conf")
}

/// The strongest mechanism offered, bound to the channel where both sides can.
fn mechanism(offered: &[u8], binding: Option<Binding>) -> Option<(&'static str, ChannelBinding)> {
    let offers = |name: &str| {
        offered
            .split(|byte| *byte == 0)
            .any(|offer| offer == name.as_bytes())
    };
    match binding? {
        Binding::Tls(Some(hash)) if offers(SCRAM_SHA_256_PLUS) => {
            Some((SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash)))
        }
        // "We could have, but you did not offer": the server notices when somebody between us took the offer out.
        Binding::Tls(Some(_)) if offers(SCRAM_SHA_256) => {
            Some((SCRAM_SHA_256, ChannelBinding::unrequested()))
        }
        Binding::Tls(_) | Binding::NoTls if offers(SCRAM_SHA_256) => {
            Some((SCRAM_SHA_256, ChannelBinding::unsupported()))
        }
        Binding::Tls(_) | Binding::NoTls => None,
    }
}

fn data_row(body: &[u8]) -> Result<TextRow, WireError> {
    let mut reader = Reader(body);
    let mut row = Vec::new();
    for _ in 0..reader.u16()? {
        row.push(match reader.u32()? {
            u32::MAX => None,
            length => Some(String::from_utf8_lossy(reader.take(length as usize)?).into_owned()),
        });
    }
    Ok(row)
}

/// Fields of an ErrorResponse until the first that is malformed: an error about an error helps nobody.
fn error_fields(body: &[u8]) -> Vec<(u8, String)> {
    let mut fields = Vec::new();
    for field in body.split(|byte| *byte == 0) {
        if let Some((tag, text)) = field.split_first() {
            fields.push((*tag, String::from_utf8_lossy(text).into_owned()));
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn over(socket: tokio::io::DuplexStream) -> Replication {
        Replication {
            node: "pg".to_owned(),
            socket: Box::new(socket),
            received: BytesMut::new(),
            to_send: BytesMut::new(),
            flushed: true,
        }
    }

    #[tokio::test]
    async fn a_dropped_next_loses_nothing() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut stream = over(ours);
        let mut bytes = vec![];
        for body in ["first", "second"] {
            bytes.push(b'd');
            bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
            bytes.extend(body.as_bytes());
        }
        let mut seen = vec![];
        for byte in bytes {
            theirs.write_all(&[byte]).await.unwrap();
            let wait = std::time::Duration::from_millis(1);
            if let Ok(streamed) = tokio::time::timeout(wait, stream.next()).await {
                let Streamed::Frame(body) = streamed.unwrap() else {
                    unreachable!()
                };
                seen.push(body);
            }
        }
        assert_eq!(seen, ["first", "second"]);
    }

    #[tokio::test]
    async fn absurd_lengths_and_errors_are_told() {
        let (ours, mut theirs) = tokio::io::duplex(256);
        let mut stream = over(ours);
        theirs
            .write_all(b"E\0\0\0\x28SERROR\0C55006\0Mslot is in use\0D(x)\0\0")
            .await
            .unwrap();
        let error = stream.next().await.err().unwrap();
        assert!(error.is_transient(), "{error}");
        assert!(
            error.to_string().contains("slot is in use (SQLSTATE 55006)"),
            "{error}"
        );
        theirs
            .write_all(b"E\0\0\0\x34SERROR\0CXX000\0Mrequested WAL segment 0 is gone\0\0")
            .await
            .unwrap();
        let error = stream.next().await.err().unwrap();
        assert_eq!(error.reason_kind(), Reason::PositionLost, "{error}");
        theirs.write_all(b"HTTP/1.1 400").await.unwrap();
        assert!(!stream.next().await.err().unwrap().is_transient());
        drop(theirs);
    }

    #[test]
    fn mechanisms_are_chosen_by_what_both_sides_can() {
        let both = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        let chosen = |offered: &[u8], binding| mechanism(offered, Some(binding)).map(|(name, _)| name);
        assert_eq!(
            chosen(both, Binding::Tls(Some(vec![1]))),
            Some(SCRAM_SHA_256_PLUS)
        );
        assert_eq!(chosen(both, Binding::Tls(None)), Some(SCRAM_SHA_256));
        assert_eq!(chosen(both, Binding::NoTls), Some(SCRAM_SHA_256));
        assert_eq!(chosen(b"OAUTHBEARER\0\0", Binding::NoTls), None);
    }
}
