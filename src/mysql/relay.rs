//! TLS for a driver that cannot be told whom to trust.
//!
//! mysql_async compares the host's name in every mode that verifies anything, and takes no verifier of ours. So it
//! speaks plainly over a unix socket inside this process, and the other end of that socket is here: it asks the server
//! for TLS, verifies it as on PostgreSQL (`access::tls`), and passes bytes on.
//!
//! Owns: the socket, which has a random name, no file, and one client: this very process; the request for TLS; the
//! packet numbers of the login, which that request shifts by one. To the driver a unix socket is as safe as TLS, so
//! passwords that need either are sent as over TLS.
//! Fails: with the handshake's error, which is better than what the driver then makes of a closed socket.

use crate::access::{Access, tls};
use crate::error::{Error, Reason, Result};
use std::hash::{BuildHasher, Hasher};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio_rustls::client::TlsStream;

/// `CLIENT_SSL` of the capability flags.
const CLIENT_SSL: u8 = 0x08;
/// The byte of the flags that holds it.
const SSL_BYTE: usize = 1;
/// Capabilities, packet size, character set, filler: the request for TLS is the login's first part.
const REQUEST_BYTES: usize = 32;
/// A greeting, or a packet of the login, is a fraction of this.
const PACKET_MAX: usize = 64 << 10;
/// Passed on at once. Large enough that a busy dump costs few system calls.
const COPY_BYTES: usize = 64 << 10;

const OK: u8 = 0x00;
const MORE: u8 = 0x01;
const FAST_AUTH_OK: u8 = 0x03;
const ERR: u8 = 0xff;

pub(super) struct Relay {
    listener: UnixListener,
    /// For the driver: the socket's name.
    pub socket: String,
}

struct Packet {
    number: u8,
    body: Vec<u8>,
}

impl Relay {
    pub(super) fn new(access: &Access) -> Result<Self> {
        let random = || std::hash::RandomState::new().build_hasher().finish();
        // A leading NUL: known to the kernel only, gone with the listener.
        let socket = format!("\0tidelock-{:016x}{:016x}", random(), random());
        let listener = UnixListener::bind(&socket).map_err(|error| {
            Error::definite("open a socket inside this process for TLS")
                .node(&access.node)
                .because(error)
                .hint("TLS to MySQL and MariaDB needs Linux and its abstract unix sockets")
        })?;
        Ok(Relay { listener, socket })
    }

    /// Up to the end of the login; what follows is passed on in the background until either side closes.
    pub(super) async fn log_in(self, access: &Access, doing: &str) -> Result<()> {
        let unreachable = |error: io::Error| {
            Error::transient(doing)
                .reason(Reason::Unreachable)
                .because(error)
                .hint(super::IS_IT_THERE)
        };
        let mut client = self.accept().await.map_err(unreachable)?;
        let mut server = TcpStream::connect((access.host.as_str(), access.port))
            .await
            .map_err(unreachable)?;
        server.set_nodelay(true).map_err(unreachable)?;
        let greeting = receive(&mut server).await.map_err(unreachable)?;
        // When the driver closes, it knows why, and says so itself.
        if send(&mut client, &greeting, 0).await.is_err() || greeting.body.first() == Some(&ERR) {
            return Ok(());
        }
        if !offers_tls(&greeting.body) {
            return Err(Error::definite(doing)
                .reason(Reason::Unreachable)
                .why("the server offers no TLS")
                .hint("give it ssl_cert and ssl_key, or say sslmode=disable in the URL"));
        }
        let Ok(mut login) = receive(&mut client).await else {
            return Ok(());
        };
        request_tls(&mut server, &mut login).await.map_err(unreachable)?;
        let mut server = tls::handshake(access, doing, server).await?;
        let outcome = authenticate(&mut client, &mut server, login).await;
        // A server may refuse our certificate only after the handshake, in place of its answer.
        outcome.map_err(|error| match tls::cause(&error) {
            Some(cause) => tls::refused(access, doing, cause),
            None => unreachable(error),
        })?;
        tokio::spawn(pass_on(client, server));
        Ok(())
    }

    /// Whoever else finds the name is sent away.
    async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (client, _) = self.listener.accept().await?;
            if client.peer_cred()?.pid() == i32::try_from(std::process::id()).ok() {
                return Ok(client);
            }
        }
    }
}

/// Protocol version, server version up to its NUL, connection id, nonce, filler, lower half of the capabilities.
fn offers_tls(greeting: &[u8]) -> bool {
    let version_end = greeting.iter().skip(1).position(|byte| *byte == 0);
    let flags = version_end.and_then(|end| greeting.get(1 + end + 1 + 4 + 8 + 1 + SSL_BYTE));
    flags.is_some_and(|byte| byte & CLIENT_SSL != 0)
}

async fn request_tls(server: &mut TcpStream, login: &mut Packet) -> io::Result<()> {
    let Some(request) = login.body.get_mut(..REQUEST_BYTES) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the login is cut"));
    };
    request[SSL_BYTE] |= CLIENT_SSL;
    let request = Packet {
        number: login.number,
        body: request.to_vec(),
    };
    send(server, &request, 0).await
}

/// The server counts one packet more than the driver does.
async fn authenticate(
    client: &mut UnixStream,
    server: &mut TlsStream<TcpStream>,
    login: Packet,
) -> io::Result<()> {
    send(server, &login, 1).await?;
    loop {
        let answer = receive(server).await?;
        if send(client, &answer, u8::MAX).await.is_err() {
            return Ok(());
        }
        match answer.body.as_slice() {
            [OK | ERR, ..] => return Ok(()),
            [MORE, FAST_AUTH_OK] => {}
            _ => match receive(client).await {
                Ok(more) => send(server, &more, 1).await?,
                Err(_) => return Ok(()),
            },
        }
    }
}

async fn receive(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Packet> {
    let mut head = [0; 4];
    from.read_exact(&mut head).await?;
    let [low, middle, high, number] = head;
    let length = u32::from_le_bytes([low, middle, high, 0]) as usize;
    if length > PACKET_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "what came is no greeting of MySQL or MariaDB",
        ));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    Ok(Packet { number, body })
}

/// `shift` is added to the packet's number; `u8::MAX` takes one away.
async fn send(to: &mut (impl AsyncWrite + Unpin), packet: &Packet, shift: u8) -> io::Result<()> {
    let length = u32::try_from(packet.body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = Vec::with_capacity(4 + packet.body.len());
    bytes.extend_from_slice(&length[..3]);
    bytes.push(packet.number.wrapping_add(shift));
    bytes.extend_from_slice(&packet.body);
    to.write_all(&bytes).await?;
    to.flush().await
}

/// Until one side is done: what the server said before it closed has then been passed on, and what the driver did not
/// wait for is of no use to anybody.
async fn pass_on(client: UnixStream, server: TlsStream<TcpStream>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    tokio::select! {
        _ = copy(&mut from_client, &mut to_server) => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

async fn copy(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_offer_is_read_from_the_greeting() {
        let mut greeting = vec![10];
        greeting.extend_from_slice(b"9.7.4\0");
        greeting.extend_from_slice(&[0; 4 + 8 + 1]);
        greeting.extend_from_slice(&[0xff, 0xff]);
        assert!(offers_tls(&greeting));
        *greeting.last_mut().unwrap() = 0xf7;
        assert!(!offers_tls(&greeting));
        for length in 0..greeting.len() {
            assert!(!offers_tls(&greeting[..length]));
        }
    }

    #[tokio::test]
    async fn packets_keep_their_bytes_and_shift_their_number() {
        let (mut one, mut other) = tokio::io::duplex(1024);
        let packet = Packet {
            number: 2,
            body: vec![7; 300],
        };
        send(&mut one, &packet, u8::MAX).await.unwrap();
        let read = receive(&mut other).await.unwrap();
        assert_eq!((read.number, read.body), (1, packet.body));
        one.write_all(b"HTTP/1.1 400 Bad Request").await.unwrap();
        assert!(receive(&mut other).await.is_err());
    }
}
