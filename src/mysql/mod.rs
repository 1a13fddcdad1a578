//! MySQL and MariaDB: connecting, session pins, error classes, which server this is.
//!
//! Owns: [`connect`], which every part of this folder goes through, so that no session runs without the pins that
//! make text exact (UTF-8, UTC, no backslash escapes, strict mode), and [`fail`], which sorts the servers' errors.
//! Refuses: statements about tables (see `catalog`, `setup`, `source`, `snapshot`, `target`).
//! MariaDB is a flavour of this folder, told apart by [`Flavor`].

pub mod catalog;
pub mod codec;
pub mod log;
pub mod setup;
pub mod snapshot;
pub mod source;
pub mod sql;
pub mod status;
pub mod target;
pub mod waits;
pub mod wire;

use crate::access::{Access, TlsMode, ca_certificates};
use crate::error::{Class, Error, NEW_COPY, Reason, Result, SEE_GRANTS};
use crate::model::sync::Server;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, IoError, OptsBuilder, ServerError, SslOpts};
use secrecy::ExposeSecret;
use std::time::Duration;

/// A server that does not answer within this time is down for us.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Row events can be larger than the server's own `max_allowed_packet`; this is the protocol's limit.
const PACKET_BYTES_MAX: usize = 1 << 30;

/// What every session runs with. The SQL mode keeps strings free of escapes and lets invalid dates, which the
/// source accepted, pass; a value that does not fit is an error and never cut.
const PINS: [&str; 4] = [
    "SET NAMES utf8mb4",
    "SET SESSION time_zone = '+00:00', autocommit = 1, net_read_timeout = 3600, net_write_timeout = 3600, \
     wait_timeout = 86400, interactive_timeout = 86400, group_concat_max_len = 1073741824",
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES,NO_AUTO_VALUE_ON_ZERO,\
     ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
];

const IS_IT_THERE: &str = "check host, port and firewall; is the server running?";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    Mysql,
    Mariadb,
}

/// Opens a session with the pins set.
pub async fn connect(access: &Access) -> Result<Conn> {
    let doing = || connecting(access);
    let options = options(access).await?;
    let opening = async {
        let mut conn = match Conn::new(options.clone()).await {
            // Nothing in that database is granted yet. Every name we write carries its database, and what is missing
            // `check` says with its GRANT.
            Err(mysql_async::Error::Server(error)) if error.code == 1044 => {
                Conn::new(options.db_name(None::<String>)).await?
            }
            opened => opened?,
        };
        for pin in PINS {
            conn.query_drop(pin).await?;
        }
        Ok(conn)
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, opening).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(error)) => Err(refused(doing(), error, access)),
        Err(_) => Err(Error::transient(doing())
            .node(&access.node)
            .reason(Reason::Unreachable)
            .why(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()))
            .hint(IS_IT_THERE)),
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
    Ok(options
        .ip_or_hostname(access.host.clone())
        .tcp_port(access.port)
        .ssl_opts(tls(access)?))
}

/// `verify-ca` compares the name as well: the driver's way to skip that does not work with this TLS library, and
/// being stricter than asked is safe. The error then says so.
fn tls(access: &Access) -> Result<Option<SslOpts>> {
    let roots = || -> Result<SslOpts> {
        // The driver's certificate type is not exported, but its conversions are.
        let certificates: Vec<_> = ca_certificates(access)?
            .into_iter()
            .map(|certificate| certificate.as_ref().to_vec().into())
            .collect();
        Ok(SslOpts::default()
            .with_root_certs(certificates)
            .with_disable_built_in_roots(true))
    };
    Ok(match access.tls {
        TlsMode::Disable => None,
        TlsMode::Require => Some(
            SslOpts::default()
                .with_danger_accept_invalid_certs(true)
                .with_danger_skip_domain_validation(true),
        ),
        TlsMode::VerifyCa => Some(roots()?.with_danger_skip_domain_validation(true)),
        TlsMode::VerifyFull => Some(roots()?),
    })
}

/// An error met while connecting: everything about the network or the login means "unreachable".
fn refused(doing: String, error: mysql_async::Error, access: &Access) -> Error {
    let is_tls = matches!(&error, mysql_async::Error::Io(IoError::Tls(_)))
        || error.to_string().contains("certificate");
    let is_network = matches!(&error, mysql_async::Error::Io(_) | mysql_async::Error::Driver(_));
    let error = fail(doing, error).node(&access.node);
    match (is_tls, is_network) {
        (true, _) => tls_refused(error, access),
        // A name that no resolver knows has no kind of its own.
        (false, true) if error.hint_text().is_none() => error.reason(Reason::Unreachable).hint(IS_IT_THERE),
        (false, true) => error.reason(Reason::Unreachable),
        (false, false) => error,
    }
}

fn tls_refused(error: Error, access: &Access) -> Error {
    let hint = match access.tls {
        TlsMode::VerifyCa => {
            "check sslrootcert; the certificate must also carry the host's name (verify-ca compares it on MySQL and \
             MariaDB); sslmode=require encrypts without checking it"
        }
        TlsMode::VerifyFull => {
            "check sslrootcert; verify-full compares the certificate's names with the host"
        }
        TlsMode::Disable | TlsMode::Require => {
            "check that the server offers TLS 1.2 or newer (have_ssl, ssl_cert)"
        }
    };
    error.reason(Reason::Unreachable).hint(hint)
}

/// Sorts an error of the server, the driver or the network.
pub fn fail(doing: impl Into<String>, error: mysql_async::Error) -> Error {
    let doing = doing.into();
    match error {
        mysql_async::Error::Server(error) => server_error(doing, &error),
        mysql_async::Error::Io(IoError::Io(error)) => io_error(doing, error),
        mysql_async::Error::Io(IoError::Tls(error)) => Error::definite(doing).because(error),
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
        DriverError::NoClientSslFlagFromServer => Error::definite(doing)
            .reason(Reason::Unreachable)
            .hint("the server offers no TLS: give it ssl_cert and ssl_key, or say sslmode=disable in the URL"),
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
    let why = format!("ERROR {} ({}): {}", error.code, error.state, error.message);
    match error.code {
        1049 => Error::definite(doing)
            .reason(Reason::Unreachable)
            .hint("check the database name at the end of the URL"),
        1044 => Error::definite(doing).reason(Reason::Unreachable).hint(
            "check the database name at the end of the URL; if it is right, `tidelock setup --execute` with the \
             owner's account as setup_url grants what this one needs",
        ),
        1045 | 1130 | 1251 | 1524 | 1698 | 1820 | 1862 => {
            Error::definite(doing).reason(Reason::Unreachable).hint(
                "check user, password and database of the URL, the account's host and grants, and whether it \
                 demands TLS; give the password by password_file, password_env or password_command",
            )
        }
        1142 | 1143 | 1227 | 1370 => Error::definite(doing).hint(SEE_GRANTS),
        1236 => log_error(doing, &error.message),
        code => Error::new(class(code), doing),
    }
    .why(why)
}

/// Error 1236 stands for everything that can end a dump.
fn log_error(doing: String, message: &str) -> Error {
    if message.contains("same server") {
        // Somebody drew our random server id: the next attempt draws another.
        return Error::transient(doing);
    }
    if message.contains("max_allowed_packet") {
        return Error::definite(doing).hint("SET GLOBAL max_allowed_packet = 1073741824;");
    }
    Error::definite(doing).reason(Reason::PositionLost).hint(NEW_COPY)
}

fn class(code: u16) -> Class {
    match code {
        // Lock wait, deadlock; too many connections (server, account); shutdown; cut or killed connections;
        // idle session ended; transaction rolled back by group replication.
        1205
        | 1213
        | 1040
        | 1203
        | 1053
        | 1077
        | 1079
        | 1152
        | 1158..=1161
        | 1184
        | 1317
        | 1927
        | 2006
        | 2013
        | 3101
        | 3169
        | 4031 => Class::Transient,
        _ => Class::Definite,
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
        // No such database or table yet, or none that this account may see: not set up.
        Err(mysql_async::Error::Server(error)) if matches!(error.code, 1146 | 1049 | 1142) => None,
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
    fn a_purged_log_is_a_lost_position_but_a_double_server_id_is_not() {
        assert_eq!(from_server(1236, "purged").reason_kind(), Reason::PositionLost);
        let double = from_server(1236, "A replica with the same server_uuid/server_id");
        assert_eq!(
            (double.class(), double.reason_kind()),
            (Class::Transient, Reason::Other)
        );
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
