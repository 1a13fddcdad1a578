//! Connection URLs of both engines, read with one meaning.
//!
//! Owns: scheme, account, host, database and the parameters that are known on both engines.
//! Refuses: unknown parameters, several hosts, TLS modes that fall back to clear text. A password that was not
//! percent-encoded is told apart from other mistakes. No message carries the password.

use super::problem::Problem;
use crate::access::TlsMode;
use crate::model::schema::Engine;
use secrecy::SecretString;
use std::path::PathBuf;

pub(super) struct Address {
    pub engine: Engine,
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<SecretString>,
    pub database: String,
    pub tls: TlsMode,
    pub ca_file: Option<PathBuf>,
}

const ENCODE: &str = "a '@', '/', ':', '?', '#' or '%' in a user name or password must be percent-encoded \
                      (@ is %40, / is %2F, % is %25), or keep the password out of the URL with password_file";
const PARAMETERS: [&str; 6] = ["sslmode", "ssl-mode", "sslrootcert", "ssl-ca", "host", "socket"];

pub(super) fn parse(text: &str) -> Result<Address, Problem> {
    let (scheme, rest) = text.split_once("://").ok_or_else(|| {
        Problem::new("this is not a URL")
            .hint("write postgres://user@host:5432/database or mysql://user@host:3306/database")
    })?;
    let engine = match scheme {
        "postgres" | "postgresql" => Engine::Postgres,
        "mysql" | "mariadb" => Engine::Mysql,
        other => {
            return Err(Problem::new(format!("unknown URL scheme \"{other}\""))
                .hint("known are postgres, postgresql, mysql and mariadb"));
        }
    };
    let (authority, path, query) = split(rest)?;
    let (account, place) = match authority.rsplit_once('@') {
        Some((account, _)) if account.contains('@') => {
            return Err(Problem::new("the URL has more than one '@'").hint(ENCODE));
        }
        Some((account, place)) => (account, place),
        None => ("", authority),
    };
    let (user, password) = match account.split_once(':') {
        Some((user, password)) => (decode(user)?, Some(decode(password)?)),
        None => (decode(account)?, None),
    };
    if user.is_empty() {
        return Err(
            Problem::new("the URL names no user").hint(format!("write {scheme}://USER@host/database"))
        );
    }
    let parameters = Parameters::parse(query, engine)?;
    let (host, port) = host_and_port(place, engine, &parameters)?;
    let database = decode(path)?;
    if database.is_empty() || database.contains('/') {
        return Err(Problem::new("the URL names no database").hint(format!(
            "write {scheme}://user@host/DATABASE: a node is one database"
        )));
    }
    let tls = parameters.tls(&host)?;
    Ok(Address {
        engine,
        host,
        port,
        user,
        password: password.map(SecretString::from),
        database,
        tls,
        ca_file: parameters.ca_file,
    })
}

/// `(authority, path without its slash, query)`.
fn split(rest: &str) -> Result<(&str, &str, &str), Problem> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let path_end = tail.find('?').unwrap_or(tail.len());
    let path = &tail[..path_end];
    // The account's @ stands behind the first slash: that slash belongs to the password.
    if !authority.contains('@') && path.contains('@') || tail.starts_with(['?', '#']) && tail.contains('@') {
        return Err(Problem::new("the user name or password of the URL is not percent-encoded").hint(ENCODE));
    }
    if tail.contains('#') {
        return Err(Problem::new("a '#' has no meaning in a connection URL").hint(ENCODE));
    }
    let query = tail.get(path_end + 1..).unwrap_or_default();
    Ok((authority, path.strip_prefix('/').unwrap_or(path), query))
}

fn decode(text: &str) -> Result<String, Problem> {
    let bad = || Problem::new("a '%' in the URL is not followed by two hexadecimal digits").hint(ENCODE);
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || {
            bytes
                .next()
                .and_then(|digit| char::from(digit).to_digit(16))
                .ok_or_else(bad)
        };
        let value = digit()? * 16 + digit()?;
        out.push(u8::try_from(value).map_err(|_| bad())?);
    }
    String::from_utf8(out).map_err(|_| Problem::new("the percent-encoded text of the URL is not UTF-8"))
}

#[derive(Default)]
struct Parameters {
    tls: Option<TlsMode>,
    ca_file: Option<PathBuf>,
    host: Option<String>,
}

impl Parameters {
    fn parse(query: &str, engine: Engine) -> Result<Self, Problem> {
        let mut found = Parameters::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if value.is_empty() {
                return Err(Problem::new(format!("the URL parameter \"{name}\" has no value")));
            }
            let twice = match name.as_str() {
                "sslmode" | "ssl-mode" => found.tls.replace(tls_mode(&name, &value)?).is_some(),
                "sslrootcert" | "ssl-ca" => found.ca_file.replace(PathBuf::from(value)).is_some(),
                "host" | "socket" => {
                    if !value.starts_with('/') {
                        let expected = match engine {
                            Engine::Postgres => "the folder of a unix socket, e.g. host=/var/run/postgresql",
                            Engine::Mysql | Engine::Mariadb => {
                                "a unix socket file, e.g. socket=/run/mysqld/mysqld.sock"
                            }
                        };
                        return Err(
                            Problem::new(format!("the URL parameter \"{name}\" is not a full path"))
                                .hint(format!("it names {expected}")),
                        );
                    }
                    found.host.replace(value).is_some()
                }
                _ => {
                    return Err(Problem::new(format!("unknown URL parameter \"{name}\""))
                        .hint(format!("known are {}", PARAMETERS.join(", ")))
                        .nearest(&name, PARAMETERS));
                }
            };
            if twice {
                return Err(Problem::new(format!("the URL parameter \"{name}\" is given twice"))
                    .hint("sslmode and ssl-mode are one parameter, as are sslrootcert and ssl-ca, host and socket"));
            }
        }
        Ok(found)
    }

    fn tls(&self, host: &str) -> Result<TlsMode, Problem> {
        if host.starts_with('/') {
            return match self.tls {
                None | Some(TlsMode::Disable) if self.ca_file.is_none() => Ok(TlsMode::Disable),
                _ => Err(Problem::new("TLS is not used over a unix socket")
                    .hint("leave sslmode and sslrootcert out")),
            };
        }
        let mode = self
            .tls
            .unwrap_or(if is_loopback(host) && self.ca_file.is_none() {
                TlsMode::Disable
            } else {
                TlsMode::Require
            });
        match mode {
            TlsMode::Disable | TlsMode::Require if self.ca_file.is_some() => Err(Problem::new(
                "a CA file is given, but the TLS mode verifies no certificate",
            )
            .hint("add sslmode=verify-full (or verify-ca, which does not compare the host's name)")),
            mode => Ok(mode),
        }
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

/// Traffic to it does not leave this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn host_and_port(place: &str, engine: Engine, parameters: &Parameters) -> Result<(String, u16), Problem> {
    if place.contains(',') {
        return Err(Problem::new("the URL names several hosts").hint("one host for now: name the primary"));
    }
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest
                .split_once(']')
                .ok_or_else(|| Problem::new("the URL has a '[' without its ']'"))?;
            (host, after.strip_prefix(':').unwrap_or(after))
        }
        None => match place.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Err(Problem::new("the host of the URL has more than one ':'")
                    .hint("an IPv6 address stands in brackets: [::1]"));
            }
            Some((host, port)) => (host, port),
            None => (place, ""),
        },
    };
    let port = match (port, engine) {
        ("", Engine::Postgres) => 5432,
        ("", Engine::Mysql | Engine::Mariadb) => 3306,
        (port, _) => port.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            Problem::new("the port of the URL is not a number from 1 to 65535").hint(ENCODE)
        })?,
    };
    let host = decode(host)?;
    match &parameters.host {
        Some(_) if !host.is_empty() && host != "localhost" => {
            Err(Problem::new("the URL names both a host and a unix socket")
                .hint("leave one of them out: user@/database?host=/path or user@host/database"))
        }
        Some(socket) => Ok((socket.clone(), port)),
        None if host.is_empty() => Err(Problem::new("the URL names no host")
            .hint("write user@host/database, or ?host=/path for a unix socket")),
        None => Ok((host, port)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use secrecy::ExposeSecret;

    fn good(text: &str) -> Address {
        parse(text).map_err(|problem| problem.what).unwrap()
    }

    fn bad(text: &str) -> String {
        let problem = parse(text).err().unwrap();
        format!("{} / {}", problem.what, problem.hint.unwrap_or_default())
    }

    #[test]
    fn both_engines_and_both_vocabularies() {
        let pg = good("postgresql://u:p%40%2Fw@db.example:6432/shop?ssl-mode=VERIFY_IDENTITY&ssl-ca=/ca.pem");
        assert_eq!(
            (pg.engine, pg.host.as_str(), pg.port),
            (Engine::Postgres, "db.example", 6432)
        );
        assert_eq!(pg.password.unwrap().expose_secret(), "p@/w");
        assert_eq!(pg.tls, TlsMode::VerifyFull);
        assert_eq!(pg.ca_file, Some(PathBuf::from("/ca.pem")));
        let my = good("mariadb://u@db.example/shop?sslmode=verify-ca");
        assert_eq!(
            (my.engine, my.port, my.tls),
            (Engine::Mysql, 3306, TlsMode::VerifyCa)
        );
        assert_eq!(my.database, "shop");
    }

    #[test]
    fn sockets_by_parameter_and_by_encoded_host() {
        assert_eq!(good("postgres://u@/d?host=/run/pg").host, "/run/pg");
        assert_eq!(good("postgres://u@:5433/d?host=/run/pg").port, 5433);
        assert_eq!(
            good("mysql://u@localhost/d?socket=/run/m.sock").host,
            "/run/m.sock"
        );
        assert_eq!(good("postgres://u@%2Frun%2Fpg/d").host, "/run/pg");
        assert_eq!(good("postgres://u@/d?host=/run/pg").tls, TlsMode::Disable);
    }

    #[test]
    fn tls_is_required_unless_the_host_is_this_machine() {
        for (text, mode) in [
            ("mysql://u@db/d", TlsMode::Require),
            ("mysql://u@10.0.0.1/d", TlsMode::Require),
            ("mysql://u@127.9.0.1/d", TlsMode::Disable),
            ("mysql://u@localhost/d", TlsMode::Disable),
            ("mysql://u@[::1]:3307/d", TlsMode::Disable),
            ("mysql://u@127.0.0.1/d?sslmode=require", TlsMode::Require),
        ] {
            assert_eq!(good(text).tls, mode, "{text}");
        }
    }

    #[test]
    fn every_mistake_has_its_message() {
        for (text, expected) in [
            ("shop", "this is not a URL"),
            ("oracle://u@h/d", "unknown URL scheme \"oracle\""),
            ("postgres://u:a@b@h/d", "more than one '@'"),
            ("postgres://u:a/b@h/d", "not percent-encoded"),
            ("postgres://u:a?b@h/d", "not percent-encoded"),
            ("postgres://u:a#b@h/d", "not percent-encoded"),
            ("postgres://u:a%zz@h/d", "two hexadecimal digits"),
            ("postgres://h/d", "names no user"),
            ("postgres://u@h", "names no database"),
            ("postgres://u@h/", "names no database"),
            ("postgres://u@h/d/e", "names no database"),
            ("postgres://u@/d", "names no host"),
            ("postgres://u@a,b/d", "several hosts"),
            ("postgres://u@h:0/d", "not a number from 1 to 65535"),
            ("postgres://u@::1/d", "stands in brackets"),
            ("postgres://u@[::1/d", "without its ']'"),
            ("postgres://u@h/d?sslmod=require", "did you mean \"sslmode\"?"),
            ("postgres://u@h/d?application_name=x", "known are sslmode"),
            ("postgres://u@h/d?sslmode=prefer", "fall back to clear text"),
            ("postgres://u@h/d?sslmode=yes", "unknown value sslmode=yes"),
            ("postgres://u@h/d?sslmode=", "has no value"),
            (
                "postgres://u@h/d?sslmode=require&ssl-mode=REQUIRED",
                "given twice",
            ),
            ("postgres://u@h/d?sslrootcert=/ca", "verifies no certificate"),
            (
                "postgres://u@/d?host=/s&sslmode=require",
                "not used over a unix socket",
            ),
            ("postgres://u@h/d?host=/s", "both a host and a unix socket"),
            ("mysql://u@/d?socket=s", "a unix socket file"),
        ] {
            let message = bad(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn no_message_carries_the_password() {
        for text in [
            "postgres://u:hunter2@x@h/d",
            "postgres://u:hunter2/@h/d",
            "postgres://u:hunter2@h:x/d",
            "postgres://u:hunter2%@h/d",
        ] {
            assert!(!bad(text).contains("hunter2"));
        }
    }
}
