//! How a database is reached: address, account, secret, TLS. Layer 2: reading a secret is I/O.
//!
//! Owns: [`Access`], which `config` fills, reading the secret anew for each connection, and CA certificates.
//! Refuses: opening connections (see `postgres::mod`, `mysql::mod`). Secrets never print.

use crate::error::{Error, Reason, Result};
use crate::model::operation::SessionName;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use std::path::PathBuf;

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

#[derive(Debug, Clone)]
pub struct Access {
    /// Name of the node, for messages.
    pub node: String,
    /// Host name or address; or a folder (PostgreSQL) or socket file (MySQL) when it begins with `/`.
    pub host: String,
    pub port: u16,
    pub user: String,
    pub secret: Secret,
    pub database: String,
    pub tls: TlsMode,
    /// CA file in PEM; `None` = the system's.
    pub ca_file: Option<PathBuf>,
    /// Whose sessions these are; `None`: nobody else's business.
    pub session: Option<SessionName>,
}

impl Access {
    /// What a PostgreSQL server calls the session.
    pub fn session_name(&self) -> String {
        let name = self.session.as_ref().map(SessionName::text);
        name.unwrap_or_else(|| "tidelock".to_owned())
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
                let text = std::env::var(name).map_err(|_| {
                    failed(&format!("environment variable {name}"))
                        .why("it is not set")
                        .hint(format!("export {name}, or use password_file"))
                })?;
                Ok(Some(SecretString::from(text)))
            }
            Secret::Command(command) => {
                let output = tokio::process::Command::new("sh")
                    .arg("-c")
                    .arg(command)
                    .output()
                    .await;
                let output = output.map_err(|error| failed("password_command").because(error))?;
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

/// The certificates that a server's must be signed by: of the CA file, or the system's.
pub fn ca_certificates(access: &Access) -> Result<Vec<CertificateDer<'static>>> {
    let Some(path) = &access.ca_file else {
        let found = rustls_native_certs::load_native_certs().certs;
        if found.is_empty() {
            return Err(Error::definite("load the system's CA certificates")
                .node(&access.node)
                .reason(Reason::Config)
                .why("there are none")
                .hint("install ca-certificates, or name the CA file with sslrootcert"));
        }
        return Ok(found);
    };
    let failed = |why: String| {
        Error::definite(format!("read the CA certificates of {}", path.display()))
            .node(&access.node)
            .reason(Reason::Config)
            .why(why)
            .hint("sslrootcert must name a PEM file with at least one certificate")
    };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    let found: Vec<_> = found
        .collect::<Result<_, _>>()
        .map_err(|error| failed(error.to_string()))?;
    if found.is_empty() {
        return Err(failed("there is no certificate in it".to_owned()));
    }
    Ok(found)
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
    /// For what is received before its fate is known.
    pub spill: crate::spill::Space,
}
