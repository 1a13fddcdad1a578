//! MySQL and MariaDB: connecting, who the server is, and what its errors mean to us.
//!
//! Owns: [`connect`], so that no statement runs without the pins that make text exact (UTF-8, UTC, no backslash escapes,
//! strict mode); only the session that becomes a dump logs in by itself (`source/dump`). [`server`], and making
//! [`Error`]s of the driver's and the server's (`fault` has the classes).
//! Refuses: statements of its own beyond these; see `sql`, `catalog`, `setup`. Fails: by [`fail`].
//! MariaDB is a flavour of this folder, told apart by [`Flavor`].

mod anew;
pub mod catalog;
pub mod chunk;
pub mod codec;
pub mod definition;
pub mod evidence;
mod fault;
pub mod held;
pub mod log;
pub mod numbers;
pub mod operations;
pub mod parked;
mod relay;
pub mod resync;
pub mod round;
pub mod setup;
pub mod snapshot;
pub mod source;
pub mod sql;
pub mod status;
pub mod target;
pub mod tombstones;
pub mod visible;
pub mod waits;
pub mod wire;

use crate::access::{Access, TlsMode};
use crate::error::{Error, Reason, Result};
use crate::model::sync::Server;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, IoError, OptsBuilder, ServerError};
use relay::Relay;
use secrecy::ExposeSecret;
use std::time::Duration;

/// Row events can be larger than the server's own `max_allowed_packet`; this is the protocol's limit.
const PACKET_BYTES_MAX: usize = 1 << 30;

/// What every session runs with. The SQL mode lets invalid dates, which the source accepted, pass; a value that does not
/// fit is an error and never cut. Backslashes escape as in users' sessions: MySQL keeps the expressions of generated
/// columns, checks and defaults as it prints them and reads them again in the mode of each session that opens the table, so
/// that without escapes a backslash in one becomes two, and a quote an error.
const PINS: [&str; 5] = [
    "SET NAMES utf8mb4",
    // Limits for users' statements would cut a first copy short; each server knows its own.
    "SET SESSION /*!80000 max_execution_time = 0, */ /*M! max_statement_time = 0, idle_transaction_timeout = 0, \
     idle_write_transaction_timeout = 0, idle_readonly_transaction_timeout = 0, */ autocommit = 1",
    "SET SESSION time_zone = '+00:00', net_read_timeout = 3600, net_write_timeout = 3600, \
     wait_timeout = 86400, interactive_timeout = 86400, group_concat_max_len = 1073741824",
    SQL_MODE,
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
];

/// MariaDB's GRANT would make an account that is not there, without a password; MySQL does not know that mode.
const SQL_MODE: &str = "SET SESSION sql_mode = CONCAT('STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,\
     ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION' /*M! , ',NO_AUTO_CREATE_USER' */)";

const IS_IT_THERE: &str = "check host, port and firewall; is the server running?";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    Mysql,
    Mariadb,
}

/// Opens a session with the pins set, on the first host that can be used.
pub async fn connect(access: &Access) -> Result<Conn> {
    let mut failed = Vec::new();
    for host in access.each_host() {
        match connect_in_time(&host).await {
            Ok(conn) => return Ok(conn),
            Err(error) if error.is_transient() => failed.push(error),
            Err(error) => return Err(error),
        }
    }
    Err(access.none_usable(failed))
}

async fn connect_in_time(access: &Access) -> Result<Conn> {
    let outcome = tokio::time::timeout(access.connect_timeout, Box::pin(connect_to(access))).await;
    let outcome = outcome.unwrap_or_else(|_| {
        Err(Error::transient(connecting(access))
            .reason(Reason::Unreachable)
            .why(format!("no answer within {} s", access.connect_timeout.as_secs()))
            .hint(IS_IT_THERE))
    });
    outcome.map_err(|error| error.node(&access.node))
}

async fn connect_to(access: &Access) -> Result<Conn> {
    let doing = connecting(access);
    let options = options(access).await?;
    let mut opened = open(access, &doing, options.clone()).await?;
    // Nothing in that database is granted yet. Every name we write carries its database, and what is missing `check`
    // says with its GRANT.
    if matches!(&opened, Err(mysql_async::Error::Server(error)) if error.code == 1044) {
        opened = open(access, &doing, options.db_name(None::<String>)).await?;
    }
    let mut conn = opened.map_err(|error| refused(&doing, error))?;
    for pin in PINS {
        conn.query_drop(pin)
            .await
            .map_err(|error| refused(&doing, error))?;
    }
    if access.must_write {
        writable(&mut conn, &doing).await?;
    }
    if let Some(name) = &access.session {
        let id = conn.id();
        operations::note_session(&mut conn, id, name).await;
    }
    Ok(conn)
}

/// What the driver says; before that, what stood in the way of TLS.
async fn open(
    access: &Access,
    doing: &str,
    options: OptsBuilder,
) -> Result<Result<Conn, mysql_async::Error>> {
    if access.is_socket() || access.tls == TlsMode::Disable {
        return Ok(Conn::new(options).await);
    }
    let relay = Relay::new(access)?;
    let opening = Conn::new(options.socket(Some(relay.socket.clone())));
    let (opened, relayed) = tokio::join!(opening, relay.log_in(access, doing));
    relayed.map(|()| opened)
}

async fn writable(conn: &mut Conn, doing: &str) -> Result<()> {
    let query = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'innodb_read_only')";
    let found: Vec<(String, String)> = conn.query(query).await.map_err(|error| refused(doing, error))?;
    match found.iter().find(|(_, value)| value != "OFF") {
        None => Ok(()),
        Some((name, value)) => Err(Error::transient(doing)
            .reason(Reason::Unreachable)
            .why(format!("the server is read-only ({name} = {value})"))
            .hint("target_session_attrs=any takes a read-only server too")),
    }
}

/// What connecting is called in messages.
fn connecting(access: &Access) -> String {
    let place = match access.is_socket() {
        true => format!("socket {}", access.host),
        false => format!("{}:{}", access.host, access.port),
    };
    format!(
        "connect to MySQL or MariaDB at {place}, database {:?}, as user {:?}",
        access.database, access.user
    )
}

async fn options(access: &Access) -> Result<OptsBuilder> {
    let password = access.password().await?;
    let database = (!access.database.is_empty()).then(|| access.database.clone());
    let options = OptsBuilder::default()
        .user(Some(access.user.clone()))
        .pass(password.map(|secret| secret.expose_secret().to_owned()))
        .db_name(database)
        // The URL says what to use; the crate's own jump to a local socket would change account and TLS.
        .prefer_socket(false)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(Duration::from_secs(30)))
        .client_found_rows(true)
        .secure_auth(true)
        .max_allowed_packet(Some(PACKET_BYTES_MAX))
        // The server's value is a limit for idle pools, which there are none of.
        .wait_timeout(Some(86_400));
    if access.is_socket() {
        return Ok(options.socket(Some(access.host.clone())));
    }
    Ok(options.ip_or_hostname(access.host.clone()).tcp_port(access.port))
}

/// An error met while connecting: everything about the network or the login means "unreachable".
fn refused(doing: &str, error: mysql_async::Error) -> Error {
    let is_network = matches!(&error, mysql_async::Error::Io(_) | mysql_async::Error::Driver(_));
    let error = fail(doing, error);
    match (is_network, error.hint_text()) {
        // A name that no resolver knows has no kind of its own.
        (true, None) => error.reason(Reason::Unreachable).hint(IS_IT_THERE),
        (true, Some(_)) => error.reason(Reason::Unreachable),
        (false, _) => error,
    }
}

/// Sorts an error of the server, the driver or the network.
pub fn fail(doing: impl Into<String>, error: mysql_async::Error) -> Error {
    let doing = doing.into();
    match error {
        mysql_async::Error::Server(error) => server_error(doing, &error),
        mysql_async::Error::Io(IoError::Io(error)) => io_error(doing, error),
        mysql_async::Error::Driver(error) => driver_error(doing, &error),
        mysql_async::Error::Other(error) => Error::definite(doing).why(error.to_string()),
        mysql_async::Error::Url(error) => Error::definite(doing).reason(Reason::Config).because(error),
    }
}

fn io_error(doing: String, error: std::io::Error) -> Error {
    use std::io::ErrorKind::{ConnectionRefused, InvalidData, NotFound, PermissionDenied};
    // Text of our own wording is better than the bare OS error, which follows as the cause.
    let kind = error.kind();
    let transient = || Error::transient(doing.clone());
    match kind {
        ConnectionRefused => transient().reason(Reason::Unreachable).hint(IS_IT_THERE),
        NotFound => transient()
            .reason(Reason::Unreachable)
            .hint("check the path of the socket file and that the server runs"),
        PermissionDenied => Error::definite(doing).reason(Reason::Unreachable),
        // What arrived is no valid message: the next attempt meets the same bytes.
        InvalidData => Error::definite(doing),
        _ => transient(),
    }
    .because(error)
}

fn driver_error(doing: String, error: &DriverError) -> Error {
    // Debug forms of driver errors hold values and packets; their display texts do not.
    let why = error.to_string();
    match error {
        DriverError::ConnectionClosed => Error::transient(doing),
        DriverError::UnknownAuthPlugin { .. } => Error::definite(doing).reason(Reason::Unreachable).hint(
            "check the user (MySQL asks an unknown one for a plugin at random); the account needs a password by \
             caching_sha2_password (MySQL) or mysql_native_password (MariaDB)",
        ),
        DriverError::MysqlOldPasswordDisabled
        | DriverError::CleartextPluginDisabled => Error::definite(doing).reason(Reason::Unreachable).hint(
            "give the account a password by caching_sha2_password (MySQL) or mysql_native_password (MariaDB)",
        ),
        _ => Error::definite(doing),
    }
    .why(why)
}

fn server_error(doing: String, error: &ServerError) -> Error {
    let fault = fault::of(error.code, &error.message);
    let found = Error::new(fault.class, doing).reason(fault.reason).why(format!(
        "ERROR {} ({}): {}",
        error.code, error.state, error.message
    ));
    match fault.hint {
        Some(hint) => found.hint(hint),
        None => found,
    }
}

pub async fn flavor(conn: &mut Conn) -> Result<Flavor> {
    Ok(flavor_of(&version(conn).await?))
}

fn flavor_of(version: &str) -> Flavor {
    match version.to_ascii_lowercase().contains("mariadb") {
        true => Flavor::Mariadb,
        false => Flavor::Mysql,
    }
}

async fn version(conn: &mut Conn) -> Result<String> {
    let doing = "read the server's version";
    let version: Option<String> = conn
        .query_first("SELECT VERSION()")
        .await
        .map_err(|error| fail(doing, error))?;
    version.ok_or_else(|| Error::definite(doing).why("the server gave no row"))
}

/// The server's clock, in microseconds since 1970.
pub async fn clock_us(conn: &mut Conn) -> Result<i64> {
    let doing = "read the server's clock";
    let sql = "SELECT TIMESTAMPDIFF(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', UTC_TIMESTAMP(6))";
    let clock: Option<i64> = conn.query_first(sql).await.map_err(|error| fail(doing, error))?;
    clock.ok_or_else(|| Error::definite(doing).why("the server gave no row"))
}

/// Which server this is. On MariaDB the identity is empty until `setup` has given it one.
pub async fn server(conn: &mut Conn, flavor: &Flavor) -> Result<Server> {
    let version = version(conn).await?;
    let doing = "read the server's identity";
    let (engine, identity) = match flavor {
        Flavor::Mysql => ("mysql", conn.query_first("SELECT @@GLOBAL.server_uuid").await),
        Flavor::Mariadb => (
            "mariadb",
            conn.query_first("SELECT identity FROM tidelock.server_id WHERE only_row = 1")
                .await,
        ),
    };
    let identity: Option<String> = match identity {
        // No such database or table yet, or none that this account may see, which `check` tells.
        Err(mysql_async::Error::Server(error)) if matches!(error.code, 1146 | 1049 | 1142 | 1044) => None,
        other => other.map_err(|error| fail(doing, error))?,
    };
    Ok(Server {
        engine,
        version,
        identity: identity.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;

    fn from_server(code: u16, message: &str) -> Error {
        fail(
            "read",
            mysql_async::Error::Server(ServerError {
                code,
                message: message.to_owned(),
                state: "HY000".to_owned(),
            }),
        )
    }

    #[test]
    fn errors_are_sorted_and_keep_code_and_text() {
        let error = from_server(1213, "Deadlock found");
        assert_eq!(error.class(), Class::Transient);
        assert_eq!(
            error.to_string(),
            "could not read: ERROR 1213 (HY000): Deadlock found"
        );
        assert_eq!(from_server(1040, "Too many").class(), Class::Transient);
        assert_eq!(from_server(1146, "No table").class(), Class::Definite);
        let login = from_server(1045, "Access denied");
        assert_eq!(
            (login.class(), login.reason_kind()),
            (Class::Definite, Reason::Unreachable)
        );
        assert!(login.hint_text().is_some());
    }

    #[test]
    fn refused_connections_may_be_tried_again() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = fail("connect", mysql_async::Error::Io(IoError::Io(refused)));
        assert_eq!(
            (error.class(), error.reason_kind()),
            (Class::Transient, Reason::Unreachable)
        );
    }

    #[test]
    fn the_version_tells_the_flavor() {
        assert_eq!(flavor_of("10.11.19-MariaDB-0+deb12u1-log"), Flavor::Mariadb);
        assert_eq!(flavor_of("9.7.4"), Flavor::Mysql);
    }
}
