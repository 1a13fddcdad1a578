//! How a database is reached: address, account, secret, TLS. Layer 2: reading a secret is I/O.
//!
//! Owns: [`Access`], which `config` fills, and reading the secret anew for each connection.
//! Refuses: opening connections (see `postgres::mod`, `mysql::mod`). Secrets never print.

use crate::error::{Error, Reason, Result};
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
}

impl Access {
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
                Ok(Some(SecretString::from(first_line(&text))))
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
                let text = String::from_utf8(output.stdout)
                    .map_err(|_| failed("password_command").why("not UTF-8"))?;
                Ok(Some(SecretString::from(first_line(&text))))
            }
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
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
}
