//! The parameters of a connection URL: both engines' names, on both engines, with one meaning.
//!
//! Owns: which are known, what they may say together, and the defaults of TLS.
//! Refuses: unknown ones, those that would change what Tidelock relies on, and TLS modes that fall back to clear text.

use super::problem::Problem;
use super::url::{decode, is_loopback};
use crate::access::{CONNECT_TIMEOUT, Host, Identity, TlsMode};
use crate::model::schema::Engine;
use std::path::PathBuf;
use std::time::Duration;

const KNOWN: [&str; 13] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "socket",
    "connect_timeout",
    "connect-timeout",
    "target_session_attrs",
];

/// Parameters of other programs that have no place here, and why.
const REFUSED: [(&[&str], &str); 4] = [
    (
        &["application_name", "program_name"],
        "its sessions are named tidelock, by which they are found again; leave it out",
    ),
    (
        &[
            "options",
            "charset",
            "collation",
            "time_zone",
            "sql_mode",
            "init_command",
            "search_path",
        ],
        "Tidelock sets its own session: text, times and numbers must not depend on the URL; leave it out",
    ),
    (
        &[
            "sslpassword",
            "passfile",
            "service",
            "password",
            "user",
            "dbname",
            "port",
        ],
        "user, host, port and database stand in the URL itself, and passwords in password_file, password_env or password_command",
    ),
    (
        &[
            "sslcrl",
            "ssl-crl",
            "sslcrldir",
            "ssl-capath",
            "sslnegotiation",
            "gssencmode",
            "channel_binding",
            "requiressl",
        ],
        "it is not supported; leave it out",
    ),
];

#[derive(Default)]
pub(super) struct Parameters {
    tls: Option<TlsMode>,
    pub ca_file: Option<PathBuf>,
    /// `sslrootcert=system`
    system_ca: bool,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    /// Full path of a unix socket.
    pub socket: Option<String>,
    connect_timeout: Option<Duration>,
    any_host: Option<bool>,
}

impl Parameters {
    pub(super) fn parse(query: &str, engine: Engine) -> Result<Self, Problem> {
        let mut found = Parameters::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if value.is_empty() {
                return Err(Problem::new(format!("the URL parameter \"{name}\" has no value")));
            }
            if found.take(&name, value, engine)? {
                return Err(Problem::new(format!("the URL parameter \"{name}\" is given twice"))
                    .hint("sslmode and ssl-mode are one parameter, as are sslrootcert and ssl-ca, host and socket, and so on"));
            }
        }
        Ok(found)
    }

    /// `true`: it was there already.
    fn take(&mut self, name: &str, value: String, engine: Engine) -> Result<bool, Problem> {
        Ok(match name {
            "sslmode" | "ssl-mode" => self.tls.replace(tls_mode(name, &value)?).is_some(),
            "sslrootcert" | "ssl-ca" if value == "system" => {
                std::mem::replace(&mut self.system_ca, true) || self.ca_file.is_some()
            }
            "sslrootcert" | "ssl-ca" => self.ca_file.replace(value.into()).is_some() || self.system_ca,
            "sslcert" | "ssl-cert" => self.certificate.replace(value.into()).is_some(),
            "sslkey" | "ssl-key" => self.key.replace(value.into()).is_some(),
            "host" | "socket" => self.socket.replace(socket(name, value, engine)?).is_some(),
            "connect_timeout" | "connect-timeout" => {
                self.connect_timeout.replace(seconds(name, &value)?).is_some()
            }
            "target_session_attrs" => self.any_host.replace(any_host(&value)?).is_some(),
            _ => return Err(unknown(name)),
        })
    }

    pub(super) fn tls(&self, hosts: &[Host]) -> Result<TlsMode, Problem> {
        let verifies = self.ca_file.is_some() || self.system_ca;
        if hosts.iter().any(|host| host.name.starts_with('/')) {
            return match self.tls {
                None | Some(TlsMode::Disable) if !verifies && self.certificate.is_none() => {
                    Ok(TlsMode::Disable)
                }
                _ => Err(Problem::new("TLS is not used over a unix socket")
                    .hint("leave sslmode, sslrootcert, sslcert and sslkey out")),
            };
        }
        let is_here = hosts.iter().all(|host| is_loopback(&host.name));
        let mode = match self.tls {
            Some(mode) => mode,
            None if self.system_ca => TlsMode::VerifyFull,
            None if is_here && !verifies && self.certificate.is_none() => TlsMode::Disable,
            None => TlsMode::Require,
        };
        match mode {
            TlsMode::Disable | TlsMode::Require if verifies => Err(Problem::new(
                "a CA file is given, but the TLS mode verifies no certificate",
            )
            .hint("add sslmode=verify-full (or verify-ca, which does not compare the host's name)")),
            TlsMode::Disable if self.certificate.is_some() => Err(Problem::new(
                "a client certificate is given, but TLS is switched off",
            )
            .hint("say sslmode=verify-full, verify-ca or require")),
            mode => Ok(mode),
        }
    }

    pub(super) fn identity(&self) -> Result<Option<Identity>, Problem> {
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Ok(Some(Identity {
                certificate: certificate.clone(),
                key: key.clone(),
            })),
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err(Problem::new("sslcert is given without its key").hint("name the key's file with sslkey"))
            }
            (None, Some(_)) => Err(Problem::new("sslkey is given without its certificate")
                .hint("name the certificate's file with sslcert")),
        }
    }

    /// One host is what it is; of several the primary is wanted.
    pub(super) fn must_write(&self, hosts: usize) -> bool {
        self.any_host.map_or(hosts > 1, |any| !any)
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout.unwrap_or(CONNECT_TIMEOUT)
    }
}

fn unknown(name: &str) -> Problem {
    let refused = REFUSED.iter().find(|(names, _)| names.contains(&name));
    if let Some((_, why)) = refused {
        return Problem::new(format!("the URL parameter \"{name}\" has no place here")).hint(*why);
    }
    Problem::new(format!("unknown URL parameter \"{name}\""))
        .hint(format!("known are {}", KNOWN.join(", ")))
        .nearest(name, KNOWN)
}

fn socket(name: &str, value: String, engine: Engine) -> Result<String, Problem> {
    if value.starts_with('/') {
        return Ok(value);
    }
    let expected = match engine {
        Engine::Postgres => "the folder of a unix socket, e.g. host=/var/run/postgresql",
        Engine::Mysql | Engine::Mariadb => "a unix socket file, e.g. socket=/run/mysqld/mysqld.sock",
    };
    Err(
        Problem::new(format!("the URL parameter \"{name}\" is not a full path"))
            .hint(format!("it names {expected}")),
    )
}

fn seconds(name: &str, value: &str) -> Result<Duration, Problem> {
    let seconds = value.parse().ok().filter(|seconds| (2..=300).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        Problem::new(format!("{name}={value} is not a number of seconds"))
            .hint("2 to 300, for each host; the default is 10")
    })
}

fn any_host(value: &str) -> Result<bool, Problem> {
    match value {
        "any" => Ok(true),
        "read-write" | "primary" => Ok(false),
        "read-only" | "standby" | "prefer-standby" => Err(Problem::new(format!(
            "target_session_attrs={value} asks for a server that takes no writes"
        ))
        .hint("Tidelock writes on every node, its own positions at least: read-write or any")),
        _ => Err(
            Problem::new(format!("unknown value target_session_attrs={value}"))
                .hint("known are read-write (also primary), and any"),
        ),
    }
}

fn tls_mode(name: &str, value: &str) -> Result<TlsMode, Problem> {
    match value.to_ascii_lowercase().replace('_', "-").as_str() {
        "disable" | "disabled" => Ok(TlsMode::Disable),
        "require" | "required" => Ok(TlsMode::Require),
        "verify-ca" => Ok(TlsMode::VerifyCa),
        "verify-full" | "verify-identity" => Ok(TlsMode::VerifyFull),
        "allow" | "prefer" | "preferred" => Err(Problem::new(format!(
            "{name}={value} would fall back to clear text without a word"
        ))
        .hint("say require (encrypted), verify-full (encrypted and verified) or disable")),
        _ => Err(Problem::new(format!("unknown value {name}={value}"))
            .hint("known are disable, require, verify-ca, verify-full; DISABLED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY")),
    }
}
