//! How a database is reached: addresses, account, secret, TLS. Layer 2: reading a secret is I/O.
//!
//! Owns: [`Access`], which `config` fills; the order of several hosts, and what is said when none can be used; reading
//! the secret anew for each connection; TLS (see `tls`); [`SourceOptions`], what of a log is read.
//! Refuses: opening connections (see `postgres::connect`, `mysql::connect`). Secrets never print.
//! Fails: `Definite`, `Reason::Config`, when a secret cannot be read; `Transient` when no host can be used.

mod der;
pub mod tls;

pub(crate) use der::signature_algorithm;

use crate::error::{Error, Reason, Result};
use crate::model::operation::SessionName;
use secrecy::{ExposeSecret, SecretString};
use std::path::PathBuf;
use std::time::Duration;

/// Name resolution, TCP, TLS and login together. A server that needs longer is as good as away.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    Disable,
    /// Encrypted, certificate not verified.
    Require,
    /// Encrypted, signed by the CA, name not compared.
    VerifyCa,
    /// Encrypted, signed by the CA, name compared.
    VerifyFull,
}

#[derive(Debug, Clone)]
pub enum Secret {
    None,
    Plain(SecretString),
    File(PathBuf),
    Env(String),
    /// Run by `sh -c`; the first line of its output.
    Command(String),
}

/// Files of a client certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub port: u16,
}

#[derive(Debug, Clone)]
pub struct Access {
    /// Name of the node, for messages.
    pub node: String,
    /// Host name or address; or a folder (PostgreSQL) or socket file (MySQL) when it begins with `/`.
    pub host: String,
    pub port: u16,
    /// Tried after it, in this order.
    pub other_hosts: Vec<Host>,
    /// A host that takes no writes is passed over.
    pub must_write: bool,
    /// For each host.
    pub connect_timeout: Duration,
    pub user: String,
    pub secret: Secret,
    pub database: String,
    pub tls: TlsMode,
    /// CA file in PEM; `None` = the system's.
    pub ca_file: Option<PathBuf>,
    pub identity: Option<Identity>,
    /// Whose sessions these are; `None`: nobody else's business.
    pub session: Option<SessionName>,
}

/// A hub's log tells of deletes by the tombstones' rows, and of stamps beside their rows by those.
pub(crate) fn own_missing(id: &crate::model::schema::TableId) -> Error {
    Error::definite("find the tombstones or stamps that the log tells of")
        .table(id)
        .why("the table does not exist")
        .hint("tidelock setup --execute")
}

impl SourceOptions {
    pub fn guard(&self) -> crate::model::origin::Guard {
        crate::model::origin::Guard::new(&self.sync, self.onward)
    }
}

impl Access {
    /// One host, no secret, no TLS.
    pub fn new(node: &str, host: &str, port: u16, user: &str, database: &str) -> Self {
        Access {
            node: node.to_owned(),
            host: host.to_owned(),
            port,
            other_hosts: Vec::new(),
            must_write: false,
            connect_timeout: CONNECT_TIMEOUT,
            user: user.to_owned(),
            secret: Secret::None,
            database: database.to_owned(),
            tls: TlsMode::Disable,
            ca_file: None,
            identity: None,
            session: None,
        }
    }

    /// What a PostgreSQL server calls the session.
    pub fn session_name(&self) -> String {
        let name = self.session.as_ref().map(SessionName::text);
        name.unwrap_or_else(|| "tidelock".to_owned())
    }

    /// The same, one for each host, in the order in which they are tried.
    pub fn each_host(&self) -> Vec<Access> {
        let mut alone = self.clone();
        let others = std::mem::take(&mut alone.other_hosts);
        let others = others.into_iter().map(|host| Access {
            host: host.name,
            port: host.port,
            ..alone.clone()
        });
        std::iter::once(alone.clone()).chain(others).collect()
    }

    /// What is left when no host could be used. One host's error stands for itself.
    pub(crate) fn none_usable(&self, mut failed: Vec<Error>) -> Error {
        if failed.len() == 1
            && let Some(error) = failed.pop()
        {
            return error;
        }
        let whys: Vec<String> = failed.iter().map(Error::to_string).collect();
        let wanted = if self.must_write { " that takes writes" } else { "" };
        Error::transient(format!("connect to any host{wanted}"))
            .node(&self.node)
            .reason(Reason::Unreachable)
            .why(whys.join("; "))
            .hint("one of the URL's hosts must be up and be the primary; target_session_attrs=any takes a read-only one too")
    }

    pub fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    /// The password as it is now: files, variables and commands are read on each connect, so that a rotated
    /// secret needs no restart.
    pub async fn password(&self) -> Result<Option<SecretString>> {
        let failed = |what: &str| {
            Error::definite(format!("read the password of user {:?} from {what}", self.user))
                .node(&self.node)
                .reason(Reason::Config)
        };
        match &self.secret {
            Secret::None => Ok(None),
            Secret::Plain(secret) => Ok(Some(SecretString::from(secret.expose_secret()))),
            Secret::File(path) => {
                let text = tokio::fs::read_to_string(path).await.map_err(|error| {
                    failed(&format!("file {}", path.display()))
                        .because(error)
                        .hint("check password_file in the configuration and that this user may read it")
                })?;
                let word = first_line(&text).ok_or_else(|| {
                    failed(&format!("file {}", path.display()))
                        .why("its first line is empty")
                        .hint("put the password on the first line")
                })?;
                Ok(Some(word))
            }
            Secret::Env(name) => {
                // An empty one is never meant, and the server would only say "denied".
                let text = std::env::var(name).ok().filter(|text| !text.is_empty());
                let text = text.ok_or_else(|| {
                    failed(&format!("environment variable {name}"))
                        .why("it is not set, or empty")
                        .hint(format!("export {name}, or use password_file"))
                })?;
                Ok(Some(SecretString::from(text)))
            }
            Secret::Command(command) => {
                let output = tokio::process::Command::new("sh")
                    .arg("-c")
                    .arg(command)
                    .stdin(std::process::Stdio::null())
                    // One that hangs must not outlive the attempt to connect.
                    .kill_on_drop(true)
                    .output()
                    .await;
                let output = output.map_err(|error| {
                    failed("password_command")
                        .because(error)
                        .hint("it is run by sh, which a container image may not have: use password_file")
                })?;
                if !output.status.success() {
                    return Err(failed("password_command")
                        .why(format!("it ended with {}", output.status))
                        .hint("run the command by hand; it must print the password on one line"));
                }
                let by_hand = "run the command by hand; it must print the password on one line";
                let text = String::from_utf8(output.stdout)
                    .map_err(|_| failed("password_command").why("not UTF-8").hint(by_hand))?;
                let word = first_line(&text)
                    .ok_or_else(|| failed("password_command").why("it printed nothing").hint(by_hand))?;
                Ok(Some(word))
            }
        }
    }
}

/// `None`: there is none, or it is empty. An empty password is never meant: the servers would say "denied" to it, and
/// nobody would look for the cause here.
fn first_line(text: &str) -> Option<SecretString> {
    let line = text.lines().next().filter(|line| !line.is_empty());
    line.map(SecretString::from)
}

/// Which log is read, and what of it.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    pub access: Access,
    pub sync: String,
    /// Name of the target node, which names the slot.
    pub target: String,
    /// This node's tables of the sync, as its catalog shows them.
    pub tables: Vec<std::sync::Arc<crate::model::sync::CatalogTable>>,
    pub mode: crate::model::sync::Mode,
    /// This node is a hub, and what it applied of other nodes than the one of this rank, the target, is read too.
    pub onward: Option<crate::model::stamp::Rank>,
    /// No link from here has begun: what was deleted before reaches nobody, and its tombstones are forgotten when a link
    /// begins.
    pub fresh: bool,
    /// For what is received before its fate is known.
    pub spill: crate::spill::Space,
    /// Large transactions are received while they run. PostgreSQL only: a binlog has none before they commit.
    pub stream: bool,
    /// The log is kept from here on, whatever is confirmed.
    pub keep: Option<crate::model::position::Position>,
}
