//! Connection URLs of both engines, read with one meaning.
//!
//! Owns: scheme, account, hosts, database; the parameters are in `parameter`.
//! Refuses: a password that was not percent-encoded, told apart from other mistakes. No message carries the password.

use super::parameter::Parameters;
use super::problem::Problem;
use crate::access::{Host, Identity, TlsMode};
use crate::model::schema::Engine;
use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;

pub(super) struct Address {
    pub engine: Engine,
    /// Never empty.
    pub hosts: Vec<Host>,
    pub must_write: bool,
    pub connect_timeout: Duration,
    pub user: String,
    pub password: Option<SecretString>,
    pub database: String,
    pub tls: TlsMode,
    pub ca_file: Option<PathBuf>,
    pub identity: Option<Identity>,
}

const ENCODE: &str = "a '@', '/', ':', '?', '#' or '%' in a user name or password must be percent-encoded \
                      (@ is %40, / is %2F, % is %25), or keep the password out of the URL with password_file";

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
    let hosts = hosts(place, engine, parameters.socket.as_deref())?;
    let database = decode(path)?;
    if database.is_empty() || database.contains('/') {
        return Err(Problem::new("the URL names no database").hint(format!(
            "write {scheme}://user@host/DATABASE: a node is one database"
        )));
    }
    let tls = parameters.tls(&hosts)?;
    Ok(Address {
        engine,
        must_write: parameters.must_write(hosts.len()),
        hosts,
        connect_timeout: parameters.connect_timeout(),
        user,
        password: password.map(SecretString::from),
        database,
        tls,
        identity: parameters.identity()?,
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

pub(super) fn decode(text: &str) -> Result<String, Problem> {
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

/// Traffic to it does not leave this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Hosts separated by commas, each with a port of its own; or the socket.
fn hosts(place: &str, engine: Engine, socket: Option<&str>) -> Result<Vec<Host>, Problem> {
    let mut found = Vec::new();
    for one in place.split(',') {
        let host = host(one, engine)?;
        if host.name.is_empty() && place.contains(',') {
            return Err(Problem::new("one of the URL's hosts is empty").hint("write host1:port,host2:port"));
        }
        if found.contains(&host) {
            return Err(Problem::new("the URL names one host twice").hint("each host once"));
        }
        found.push(host);
    }
    let only = (found.len() == 1).then(|| found[0].name.as_str());
    match (socket, only) {
        (Some(socket), Some("" | "localhost")) => found[0].name = socket.to_owned(),
        (Some(_), _) => {
            return Err(Problem::new("the URL names both a host and a unix socket")
                .hint("leave one of them out: user@/database?host=/path or user@host/database"));
        }
        (None, Some("")) => {
            return Err(Problem::new("the URL names no host")
                .hint("write user@host/database, or ?host=/path for a unix socket"));
        }
        (None, _) => {}
    }
    if found.len() > 1 && found.iter().any(|host| host.name.starts_with('/')) {
        return Err(Problem::new("a unix socket is one of several hosts")
            .hint("a socket stands alone; other hosts are reached by TCP"));
    }
    Ok(found)
}

fn host(place: &str, engine: Engine) -> Result<Host, Problem> {
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
    Ok(Host {
        name: decode(host)?,
        port,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use secrecy::ExposeSecret;

    fn good(text: &str) -> Address {
        parse(text).map_err(|problem| problem.what).unwrap()
    }

    /// All hosts with their ports.
    fn at(address: &Address) -> String {
        let hosts = address.hosts.iter();
        let hosts: Vec<String> = hosts.map(|host| format!("{}:{}", host.name, host.port)).collect();
        hosts.join(" ")
    }

    fn bad(text: &str) -> String {
        let problem = parse(text).err().unwrap();
        format!("{} / {}", problem.what, problem.hint.unwrap_or_default())
    }

    #[test]
    fn both_engines_and_both_vocabularies() {
        let pg = good("postgresql://u:p%40%2Fw@db.example:6432/shop?ssl-mode=VERIFY_IDENTITY&ssl-ca=/ca.pem");
        assert_eq!(
            (pg.engine, at(&pg)),
            (Engine::Postgres, "db.example:6432".to_owned())
        );
        assert_eq!(pg.password.unwrap().expose_secret(), "p@/w");
        assert_eq!(pg.tls, TlsMode::VerifyFull);
        assert_eq!(pg.ca_file, Some(PathBuf::from("/ca.pem")));
        let my = good("mariadb://u@db.example/shop?sslmode=verify-ca");
        assert_eq!(
            (my.engine, at(&my), my.tls),
            (Engine::Mysql, "db.example:3306".to_owned(), TlsMode::VerifyCa)
        );
        assert_eq!(my.database, "shop");
    }

    #[test]
    fn sockets_by_parameter_and_by_encoded_host() {
        for (text, expected) in [
            ("postgres://u@/d?host=/run/pg", "/run/pg:5432"),
            ("postgres://u@:5433/d?host=/run/pg", "/run/pg:5433"),
            ("mysql://u@localhost/d?socket=/run/m.sock", "/run/m.sock:3306"),
            ("postgres://u@%2Frun%2Fpg/d", "/run/pg:5432"),
        ] {
            assert_eq!(at(&good(text)), expected, "{text}");
        }
        assert_eq!(good("postgres://u@/d?host=/run/pg").tls, TlsMode::Disable);
    }

    #[test]
    fn several_hosts_must_take_writes_unless_any_will_do() {
        let two = good("postgres://u@a,b:6432/d");
        assert_eq!((at(&two).as_str(), two.must_write), ("a:5432 b:6432", true));
        let any = good("mysql://u@a:1,[::1]:2,c/d?target_session_attrs=any&sslmode=require");
        assert_eq!((at(&any).as_str(), any.must_write), ("a:1 ::1:2 c:3306", false));
        assert!(!good("mysql://u@a/d").must_write);
        assert!(good("mysql://u@a/d?target_session_attrs=read-write").must_write);
    }

    #[test]
    fn client_certificates_and_limits_in_both_vocabularies() {
        for text in [
            "mysql://u@h/d?sslcert=/c.pem&sslkey=/k.pem&connect_timeout=3",
            "postgres://u@h/d?ssl-cert=/c.pem&ssl-key=/k.pem&connect-timeout=3",
        ] {
            let address = good(text);
            let identity = address.identity.unwrap();
            assert_eq!(
                (identity.certificate.to_str(), identity.key.to_str()),
                (Some("/c.pem"), Some("/k.pem"))
            );
            assert_eq!(address.connect_timeout, Duration::from_secs(3));
            assert_eq!(address.tls, TlsMode::Require);
        }
        let system = good("postgres://u@h/d?sslrootcert=system");
        assert_eq!((system.tls, system.ca_file), (TlsMode::VerifyFull, None));
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
            ("postgres://u@a,/d", "hosts is empty"),
            ("postgres://u@a,b,a/d", "one host twice"),
            ("postgres://u@a,%2Fs/d", "a socket stands alone"),
            ("mysql://u@a,b/d?socket=/s", "both a host and a unix socket"),
            (
                "postgres://u@h/d?target_session_attrs=standby",
                "writes on every node",
            ),
            ("postgres://u@h/d?target_session_attrs=x", "known are"),
            ("postgres://u@h/d?connect_timeout=1", "2 to 300"),
            ("postgres://u@h/d?connect_timeout=soon", "2 to 300"),
            ("postgres://u@h/d?sslcert=/c", "without its key"),
            ("postgres://u@h/d?ssl-key=/k", "without its certificate"),
            (
                "postgres://u@h/d?sslcert=/c&sslkey=/k&sslmode=disable",
                "client certificate",
            ),
            (
                "postgres://u@h/d?sslrootcert=system&sslmode=require",
                "verifies no certificate",
            ),
            ("postgres://u@h/d?options=-c%20x=1", "sets its own session"),
            ("postgres://u@h/d?sslcrl=/x", "not supported"),
            ("mysql://u@h/d?charset=latin1", "sets its own session"),
            ("postgres://u@h:0/d", "not a number from 1 to 65535"),
            ("postgres://u@::1/d", "stands in brackets"),
            ("postgres://u@[::1/d", "without its ']'"),
            ("postgres://u@h/d?sslmod=require", "did you mean \"sslmode\"?"),
            ("postgres://u@h/d?application_name=x", "named tidelock"),
            ("postgres://u@h/d?xyz=x", "known are sslmode"),
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
