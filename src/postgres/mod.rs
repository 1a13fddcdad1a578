//! PostgreSQL 15 to 18: connecting, who the server is, and what its errors mean to us.
//!
//! Owns: [`connect`] with the session settings everything else relies on, [`server`], and making [`Error`]s of the
//! driver's and the server's (`fault` has the classes).
//! Refuses: statements of its own beyond these; see `sql`, `catalog`, `setup`. Fails: by [`fail`].

mod binary;
pub mod catalog;
pub mod chunk;
pub mod codec;
pub mod definition;
pub mod evidence;
mod fault;
mod files;
pub mod folded;
pub mod held;
pub mod lines;
pub mod log;
pub mod numbers;
pub mod operations;
pub mod parked;
mod partitions;
mod relation;
pub mod replication;
pub mod resync;
pub mod round;
mod rows;
pub mod setup;
mod slot;
pub mod snapshot;
pub mod source;
pub mod sql;
pub mod status;
mod stream;
pub mod target;
mod tls;
pub mod tombstones;
pub mod visible;
pub mod waits;
pub mod wire;

use crate::access::{Access, TlsMode, tls as secure};
use crate::error::{Error, Reason, Result};
use crate::model::sync::Server;
use secrecy::ExposeSecret;
use std::error::Error as _;
use std::time::Duration;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// What every session of ours is pinned to, so that the server's texts do not depend on its configuration or
/// on the account's. `search_path` is closed: every name we write carries its schema.
pub const SESSION: &[(&str, &str)] = &[
    ("DateStyle", "ISO,MDY"),
    ("IntervalStyle", "iso_8601"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("array_nulls", "on"),
    ("quote_all_identifiers", "off"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("lock_timeout", "0"),
    ("search_path", "pg_catalog"),
    // Rows that a policy hides from this account are an error and not a shorter answer.
    ("row_security", "off"),
];

/// [`SESSION`] as the `options` of a startup message.
pub fn session_options() -> String {
    let settings: Vec<String> = SESSION
        .iter()
        .map(|(name, value)| format!("-c {name}={value}"))
        .collect();
    settings.join(" ")
}

/// Does the server take writes? And the one limit that older versions do not know, so that it cannot be pinned with
/// the others.
const OPENED: &str = "SELECT pg_is_in_recovery()::text, current_setting('transaction_read_only'), \
    (SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout')";

/// An ordinary session, pinned, on the first host that can be used. Its driver task ends with the client.
pub async fn connect(access: &Access) -> Result<Client> {
    let mut failed = Vec::new();
    for host in access.each_host() {
        let opening = Box::pin(connect_to(&host));
        match in_time(&host, opening).await {
            Ok(client) => return Ok(client),
            Err(error) if error.is_transient() => failed.push(error),
            Err(error) => return Err(error),
        }
    }
    Err(access.none_usable(failed))
}

pub(crate) async fn in_time<T>(access: &Access, opening: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(access.connect_timeout, opening).await {
        Ok(outcome) => outcome.map_err(|error| error.node(&access.node)),
        Err(_) => Err(unreachable_server(connecting(access))
            .node(&access.node)
            .why(format!("no answer within {} s", access.connect_timeout.as_secs()))),
    }
}

async fn connect_to(access: &Access) -> Result<Client> {
    let mut config = Config::new();
    config
        .host(&access.host)
        .port(access.port)
        .user(&access.user)
        .dbname(&access.database)
        .application_name(access.session_name())
        .options(session_options())
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(15))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3);
    if let Some(password) = access.password().await? {
        config.password(password.expose_secret());
    }
    let doing = connecting(access);
    let client = if access.is_socket() || access.tls == TlsMode::Disable {
        config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        let (client, connection) = config.connect(NoTls).await.map_err(|e| fail(&doing, e))?;
        drive(connection);
        client
    } else {
        config.ssl_mode(tokio_postgres::config::SslMode::Require);
        let tls = MakeRustlsConnect::new(secure::client_config(access)?);
        let opened = config
            .connect(tls)
            .await
            .map_err(|error| match secure::cause(&error) {
                Some(tls) => secure::refused(access, &doing, tls),
                None => fail(&doing, error),
            });
        let (client, connection) = opened?;
        drive(connection);
        client
    };
    let row = client.query_one(OPENED, &[]).await.map_err(|e| fail(&doing, e))?;
    let answer = |index| row.try_get::<_, String>(index).map_err(|e| fail(&doing, e));
    usable(access, &doing, &answer(0)?, &answer(1)?)?;
    Ok(client)
}

/// Refuses a host that takes no writes where one is asked for that does.
pub(crate) fn usable(access: &Access, doing: &str, in_recovery: &str, read_only: &str) -> Result<()> {
    let why = match (in_recovery, read_only) {
        _ if !access.must_write => return Ok(()),
        ("true", _) => "the server is a standby",
        (_, "on") => "its transactions are read-only (default_transaction_read_only)",
        _ => return Ok(()),
    };
    Err(unreachable_server(doing)
        .why(why)
        .hint("target_session_attrs=any takes a read-only server too"))
}

fn drive<S, T>(connection: tokio_postgres::Connection<S, T>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        // Whoever uses the client sees that it closed, and says so with what it was doing.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "postgres connection ended");
        }
    });
}

/// What connecting is called in messages.
pub(crate) fn connecting(access: &Access) -> String {
    let place = if access.is_socket() {
        format!("socket {}, port {}", access.host, access.port)
    } else {
        format!("{}:{}", access.host, access.port)
    };
    format!(
        "connect to PostgreSQL at {place}, database {:?}, as user {:?}",
        access.database, access.user
    )
}

/// The server's clock, in microseconds since 1970.
pub async fn clock_us(client: &Client) -> Result<i64> {
    let doing = "read the server's clock";
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let row = client.query_one(sql, &[]).await;
    row.and_then(|row| row.try_get(0))
        .map_err(|error| fail(doing, error))
}

/// Engine, version and identity. The timeline is the one being written, which after a promotion is newer than
/// the last checkpoint's.
pub async fn server(client: &Client) -> Result<Server> {
    let doing = "read the server's version and identity";
    let row = client
        .query_one(
            "SELECT current_setting('server_version'), s.system_identifier::text,
                    CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
                         ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int
                    END::text
               FROM pg_control_system() s",
            &[],
        )
        .await
        .map_err(|error| {
            let refused = error.code().is_some_and(|state| state.code() == "42501");
            let error = fail(doing, error);
            if refused {
                return error.hint(
                    "GRANT EXECUTE ON FUNCTION pg_control_system(), pg_control_checkpoint(), \
                     pg_walfile_name(pg_lsn) TO the account",
                );
            }
            error
        })?;
    let text = |index: usize| -> Result<String> { row.try_get(index).map_err(|e| fail(doing, e)) };
    Ok(Server {
        engine: "postgres",
        version: version_number(&text(0)?),
        identity: format!("{}/{}", text(1)?, text(2)?),
    })
}

/// `15.20 (Debian 15.20-0+deb12u1)` is version 15.20.
fn version_number(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

/// An error of the driver, classed. `doing` completes "could not ...".
pub fn fail(doing: impl Into<String>, error: tokio_postgres::Error) -> Error {
    if let Some(db) = error.as_db_error() {
        let object = [
            ("table", db.table()),
            ("column", db.column()),
            ("constraint", db.constraint()),
        ]
        .into_iter()
        .filter_map(|(what, name)| name.map(|name| format!(", {what} {name}")))
        .collect();
        return server_error(doing, db.code().code(), db.message(), object, db.hint());
    }
    let doing = doing.into();
    if error.is_closed() {
        return Error::transient(doing).why("the connection is closed");
    }
    let text = error.to_string();
    if text.contains("TLS") {
        return tls_failed(doing).because(error);
    }
    match io_kind(&error) {
        Some(_) if text.contains("connecting to server") => unreachable_server(doing).because(error),
        Some(_) => Error::transient(doing).because(error),
        None if text.contains("timeout") => unreachable_server(doing).because(error),
        None if text.contains("configuration") || text.contains("authentication") => Error::definite(doing)
            .reason(Reason::Unreachable)
            .because(error)
            .hint("check user and password; give the password by password_file, password_env or password_command"),
        None => Error::definite(doing).because(error),
    }
}

pub(crate) fn unreachable_server(doing: impl Into<String>) -> Error {
    Error::transient(doing)
        .reason(Reason::Unreachable)
        .hint("check host, port and firewall; is the server running?")
}

pub(crate) fn tls_failed(doing: impl Into<String>) -> Error {
    Error::definite(doing)
        .reason(Reason::Unreachable)
        .hint("give the server a certificate and ssl = on, or say sslmode=disable in the URL")
}

/// An ErrorResponse, whichever connection it came over. DETAIL and WHERE are left out: they quote rows.
pub(crate) fn server_error(
    doing: impl Into<String>,
    state: &str,
    message: &str,
    object: String,
    server_hint: Option<&str>,
) -> Error {
    let fault = fault::of(state);
    let error = Error::new(fault.class, doing).reason(fault.reason).why(format!(
        "{}{object} (SQLSTATE {state})",
        without_values(state, message)
    ));
    // What the server advises on a grant names the very one.
    let own = server_hint.filter(|_| fault.hint.is_none() || state == "42501");
    match own.or(fault.hint) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Messages of class 22 (data) quote the offending value in double quotes, 22003 at the front.
pub(crate) fn without_values(state: &str, message: &str) -> String {
    if !state.starts_with("22") || !message.contains('"') {
        return message.to_owned();
    }
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}(value){}", &message[..first], &message[last + 1..])
        }
        _ => "a value was refused".to_owned(),
    }
}

fn io_kind(error: &tokio_postgres::Error) -> Option<std::io::ErrorKind> {
    let mut cause = error.source();
    while let Some(next) = cause {
        if let Some(io) = next.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        cause = next.source();
    }
    None
}

fn malformed(error: wire::WireError) -> Error {
    Error::definite("read the change stream").because(error)
}

fn out_of_order() -> Error {
    Error::definite("read the change stream")
        .why("messages came in an order that the protocol does not have")
        .hint("is something between Tidelock and the server, such as a proxy?")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn refused_values_are_not_repeated() {
        let message = "value \"12\"34\" is out of range for type smallint";
        assert_eq!(
            without_values("22003", message),
            "value (value) is out of range for type smallint"
        );
        let kept = "duplicate key value violates unique constraint \"a\"";
        assert_eq!(without_values("23505", kept), kept);
    }

    #[test]
    fn version_is_the_number() {
        assert_eq!(version_number("15.20 (Debian 15.20-0+deb12u1)"), "15.20");
        assert_eq!(version_number("18.4"), "18.4");
    }
}
