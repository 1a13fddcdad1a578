//! One GET to our own server, for `health` and `status`.
//!
//! Fails: transient, with the address, when nobody listens or the answer does not come in time.

use crate::error::{Error, Reason, Result};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;

/// A status of many links is some hundred kilobytes.
const BODY_BYTES_MAX: usize = 16 << 20;

#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub body: String,
}

/// Where a server that listens on `listen` is reached from this machine.
pub fn reached(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

pub async fn get(listen: SocketAddr, path: &str, limit: Duration) -> Result<Answer> {
    let address = reached(listen);
    let doing = format!("get http://{address}{path}");
    match tokio::time::timeout(limit, ask(address, path)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Error::transient(doing).reason(Reason::Unreachable).because(error)),
        Err(_) => Err(Error::transient(doing)
            .reason(Reason::Unreachable)
            .why(format!("no answer within {} ms", limit.as_millis()))),
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn ask(address: SocketAddr, path: &str) -> Result<Answer, Failed> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = hyper::Request::get(path)
        .header("host", address.to_string())
        .header("connection", "close")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let code = response.status().as_u16();
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX)
        .collect()
        .await?;
    driver.abort();
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Ok(Answer { code, body })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_server_on_all_addresses_is_reached_on_loopback() {
        for (listen, wanted) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:2", "[::1]:2"),
            ("10.1.2.3:3", "10.1.2.3:3"),
        ] {
            assert_eq!(reached(listen.parse().unwrap()).to_string(), wanted);
        }
    }
}
