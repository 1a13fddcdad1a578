//! The session that has turned into a dump: its socket, its login, its bytes.
//!
//! Owns: connecting to the very server that the driver's session was on, TLS, the login, the settings that a dump
//! inherits, and reading. What the bytes mean is `wire::framing`'s.
//! Refuses: plugins other than `mysql_native_password` and `caching_sha2_password` (the driver speaks no more).
//! Fails: in its login as `mysql::connect` does; reading, with what the server says, and `Definite` on bytes of no known
//! form. An event that a crash had cut ([`Dump::is_cut`]) is the source's business.

use crate::access::{Access, TlsMode, tls};
use crate::error::{Error, Reason, Result};
use crate::mysql::fail;
use crate::mysql::wire::framing::{Framing, FramingError, Item};
use crate::mysql::wire::kind;
use crate::mysql::wire::login::{self, Answer, Greeting};
use bytes::BytesMut;
use mysql_async::{Opts, ServerError};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// Read at once.
const READ_BYTES: usize = 256 << 10;
/// The first event of a file comes at once.
const FILE_TIME_MAX: Duration = Duration::from_secs(10);
/// Steps of one login; the longest known has five.
const LOGIN_STEPS_MAX: usize = 8;

pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

pub(super) struct Dump<S = Box<dyn Socket>> {
    socket: S,
    framing: Framing,
    /// The server's number of it, as the greeting told.
    session: u32,
    /// Of the next packet we send.
    sequence: u8,
    /// The server met an event that a crash had cut, and ended the dump (MariaDB; MySQL mends its log as it starts).
    is_cut: bool,
}

/// Who else could read what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    Open,
    Tls,
    /// A socket file.
    Local,
}

/// Where the dump begins.
pub(super) enum Start<'a> {
    /// A packed set of what was taken already.
    Gtid(&'a [u8]),
    /// The session's settings say where.
    Session,
    File(&'a str, u32),
}

fn broken(doing: &str, error: io::Error) -> Error {
    fail(doing, mysql_async::Error::Io(mysql_async::IoError::Io(error)))
}

fn refused(doing: &str, code: u16, state: String, message: String) -> Error {
    let error = ServerError { code, message, state };
    fail(doing, mysql_async::Error::Server(error))
}

/// The server took the connection, and says nothing.
pub(super) fn no_answer(doing: &str, limit: Duration) -> Error {
    Error::transient(doing)
        .reason(Reason::Unreachable)
        .why(format!("no answer within {} s", limit.as_secs_f32()))
        .hint("it is tried again; does the server, or a proxy before it, hang? A longer wait: connect_timeout in the URL")
}

fn unknown(doing: &str) -> Error {
    Error::definite(doing)
        .reason(Reason::Unreachable)
        .why("the server's answer is of no known form")
}

impl Dump {
    /// `options`: of the driver's session, which has chosen among the hosts and read the password.
    pub(super) async fn open(access: &Access, options: &Opts) -> Result<Dump> {
        let doing = "open the session that reads the binlog";
        match tokio::time::timeout(access.connect_timeout, Self::log_in(doing, access, options)).await {
            Ok(dump) => dump,
            Err(_) => Err(no_answer(doing, access.connect_timeout)),
        }
    }

    async fn log_in(doing: &str, access: &Access, options: &Opts) -> Result<Dump> {
        let failed = |error| broken(doing, error);
        // Another socket is the driver's own way to TLS (`mysql::relay`).
        if let Some(path) = options.socket().filter(|path| path.starts_with('/')) {
            let mut dump = Dump::over(UnixStream::connect(path).await.map_err(failed)?);
            let greeting = dump.greeting(doing).await?;
            dump.prove(doing, options, &greeting, Channel::Local).await?;
            return Ok(dump.boxed());
        }
        let place = (options.ip_or_hostname(), options.tcp_port());
        let mut socket = TcpStream::connect(place).await.map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        if access.tls == TlsMode::Disable {
            let mut dump = Dump::over(socket);
            let greeting = dump.greeting(doing).await?;
            dump.prove(doing, options, &greeting, Channel::Open).await?;
            return Ok(dump.boxed());
        }
        let mut plain = Dump::over(&mut socket);
        let greeting = plain.greeting(doing).await?;
        if !greeting.has_tls() {
            return Err(Error::definite(doing)
                .reason(Reason::Unreachable)
                .why("the server offers no TLS")
                .hint("give it ssl_cert and ssl_key, or say sslmode=disable in the URL"));
        }
        plain.send(doing, &login::tls_request()).await?;
        let sequence = plain.sequence;
        drop(plain);
        let alone = Access {
            host: options.ip_or_hostname().to_owned(),
            ..access.clone()
        };
        let mut dump = Dump::over(tls::handshake(&alone, doing, socket).await?);
        dump.sequence = sequence;
        dump.prove(doing, options, &greeting, Channel::Tls).await?;
        Ok(dump.boxed())
    }
}

impl<S: Socket> Dump<S> {
    pub(super) fn over(socket: S) -> Self {
        Dump {
            socket,
            framing: Framing::default(),
            session: 0,
            sequence: 0,
            is_cut: false,
        }
    }

    pub(super) fn session(&self) -> u32 {
        self.session
    }

    fn boxed(self) -> Dump
    where
        S: 'static,
    {
        Dump {
            socket: Box::new(self.socket),
            framing: self.framing,
            session: self.session,
            sequence: self.sequence,
            is_cut: self.is_cut,
        }
    }

    async fn greeting(&mut self, doing: &str) -> Result<Greeting> {
        let packet = self.packet(doing).await?;
        match Greeting::parse(&packet) {
            Some(greeting) => Ok(greeting),
            None => Err(answer(doing, &packet).err().unwrap_or_else(|| unknown(doing))),
        }
    }

    async fn prove(
        &mut self,
        doing: &str,
        options: &Opts,
        greeting: &Greeting,
        channel: Channel,
    ) -> Result<()> {
        self.session = greeting.session;
        let password = options.pass().unwrap_or_default();
        let mut nonce = greeting.nonce.clone();
        let (plugin, proof) = match login::proof(&greeting.plugin, password, &nonce) {
            Some(proof) => (greeting.plugin.as_str(), proof),
            // The server switches to what the account needs.
            None => (
                login::NATIVE,
                login::proof(login::NATIVE, password, &nonce).unwrap_or_default(),
            ),
        };
        let user = options.user().unwrap_or_default();
        let response = login::response(user, plugin, &proof, channel == Channel::Tls);
        self.send(doing, &response).await?;
        for _ in 0..LOGIN_STEPS_MAX {
            let packet = self.packet(doing).await?;
            match Answer::parse(&packet) {
                Answer::Ok => return Ok(()),
                Answer::Switch { plugin, nonce: new } => {
                    let proof = login::proof(&plugin, password, &new).ok_or_else(|| {
                        Error::definite(doing)
                            .reason(Reason::Unreachable)
                            .why(format!("the account logs in by {plugin:?}, which is not spoken here"))
                            .hint(
                                "give it a password by caching_sha2_password (MySQL) or mysql_native_password \
                                 (MariaDB)",
                            )
                    })?;
                    nonce = new;
                    self.send(doing, &proof).await?;
                }
                // The server remembers the account's password; OK follows.
                Answer::More([3]) => {}
                Answer::More([4]) if channel != Channel::Open => {
                    let text: Vec<u8> = password.bytes().chain([0]).collect();
                    self.send(doing, &text).await?;
                }
                // Asks for the server's key.
                Answer::More([4]) => self.send(doing, &[2]).await?,
                Answer::More(key) => {
                    let sealed = login::sealed(password, &nonce, key).ok_or_else(|| unknown(doing))?;
                    self.send(doing, &sealed).await?;
                }
                Answer::Refused { code, state, message } => return Err(refused(doing, code, state, message)),
                Answer::Unknown => return Err(unknown(doing)),
            }
        }
        Err(unknown(doing))
    }

    /// A statement without a result.
    pub(super) async fn set(&mut self, doing: &str, statement: &str) -> Result<()> {
        self.command(doing, &login::query(statement)).await
    }

    /// From here on there are only events.
    pub(super) async fn start(
        &mut self,
        doing: &str,
        user: &str,
        server_id: u32,
        start: &Start<'_>,
    ) -> Result<()> {
        self.sequence = 0;
        self.send(doing, &login::register(server_id)).await?;
        let packet = self.packet(doing).await?;
        if let Answer::Refused {
            code: code @ (1045 | 1227),
            state,
            message,
        } = Answer::parse(&packet)
        {
            let error = refused(doing, code, state, message);
            return Err(error.hint(format!("GRANT REPLICATION SLAVE ON *.* TO '{user}'@'...';")));
        }
        answer(doing, &packet)?;
        let request = match start {
            Start::Gtid(set) => login::dump_gtid(server_id, set),
            Start::Session => login::dump(server_id, "", 4),
            Start::File(file, offset) => login::dump(server_id, file, *offset),
        };
        self.sequence = 0;
        self.send(doing, &request).await
    }

    async fn command(&mut self, doing: &str, command: &[u8]) -> Result<()> {
        self.sequence = 0;
        self.send(doing, command).await?;
        let packet = self.packet(doing).await?;
        answer(doing, &packet)
    }

    async fn packet(&mut self, doing: &str) -> Result<BytesMut> {
        loop {
            if let Some(packet) = self.framing.packet() {
                self.sequence = self.sequence.wrapping_add(1);
                return Ok(packet);
            }
            self.read().await.map_err(|error| broken(doing, error))?;
        }
    }

    /// Our packets are far below the size that is cut into frames: the largest is a GTID set.
    async fn send(&mut self, doing: &str, packet: &[u8]) -> Result<()> {
        let len = u32::try_from(packet.len())
            .ok()
            .filter(|len| *len < 0xff_ffff)
            .ok_or_else(|| Error::definite(doing).why("the position is too long for one message"))?;
        let mut frame = len.to_le_bytes()[..3].to_vec();
        frame.push(self.sequence);
        frame.extend(packet);
        self.sequence = self.sequence.wrapping_add(1);
        let sent = async {
            self.socket.write_all(&frame).await?;
            self.socket.flush().await
        };
        sent.await.map_err(|error| broken(doing, error))
    }

    /// When the server began a file, by its first event.
    pub(super) async fn file_time(&mut self, file: &str, user: &str) -> Result<u32> {
        let doing = "read the begin of a binlog file";
        let reading = async {
            self.start(doing, user, super::server_id(), &Start::File(file, 4))
                .await?;
            loop {
                match self.item()? {
                    Some(Item::Event(event)) if event.header.kind == kind::FORMAT_DESCRIPTION => {
                        return Ok(event.header.timestamp);
                    }
                    Some(_) => {}
                    None => self.read().await.map_err(|error| broken(doing, error))?,
                }
            }
        };
        match tokio::time::timeout(FILE_TIME_MAX, reading).await {
            Ok(time) => time,
            Err(_) => Err(no_answer(doing, FILE_TIME_MAX)),
        }
    }

    /// What has come whole; `None`: [`Dump::read`] more.
    pub(super) fn item(&mut self) -> Result<Option<Item>> {
        let doing = "read the binlog";
        self.framing.item().map_err(|error| match error {
            FramingError::Malformed(why) => Error::definite(doing).why(why),
            FramingError::Server { code, state, message } => {
                self.is_cut = code == 1236 && message.contains("truncated in the middle of event");
                refused(doing, code, state, message)
            }
            FramingError::End => Error::transient(doing).why(FramingError::End.to_string()),
        })
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// May be dropped while it waits: what has arrived stays.
    pub(super) async fn read(&mut self) -> io::Result<()> {
        let input = self.framing.input();
        input.reserve(READ_BYTES);
        match self.socket.read_buf(input).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn answer(doing: &str, packet: &[u8]) -> Result<()> {
    match Answer::parse(packet) {
        Answer::Ok => Ok(()),
        Answer::Refused { code, state, message } => Err(refused(doing, code, state, message)),
        Answer::Switch { .. } | Answer::More(_) | Answer::Unknown => Err(unknown(doing)),
    }
}
