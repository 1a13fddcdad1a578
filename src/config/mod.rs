//! What the user declares: nodes and the syncs between them.
//!
//! Owns: finding and reading the file, the order flag > environment > file > default, and the checked result.
//! Refuses: unknown keys, text substitution in the file, passwords as keys. Fails with every problem of the file at
//! once, each with its line, caret and mend ([`Failure`]; exit code 78).

mod build;
mod external;
mod file;
mod filters;
mod formulas;
mod hash;
mod holds;
mod ids;
mod lines;
mod owners;
mod parameter;
mod problem;
mod rounds;
mod rules;
mod sections;
mod syncs;
mod tables;
#[cfg(test)]
mod tests;
mod topology;
mod url;
mod values;
mod versions;

pub use lines::Line;
pub use problem::{Failure, Located, Problem, pointed};

use crate::access::Access;
use crate::flow::spec::{SyncSpec, link_id};
use crate::model::schema::Engine;
use crate::model::stamp::Rank;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct Config {
    pub path: PathBuf,
    pub nodes: Vec<Arc<Node>>,
    pub syncs: Vec<Sync>,
    pub log: Log,
    /// `None`: nothing listens.
    pub http: Option<SocketAddr>,
    /// What works but should be known.
    pub warnings: Vec<Warning>,
    /// Every value with its origin, secrets masked, for `config show`.
    pub values: Vec<Shown>,
    /// Where tables and what is said of them stand: see [`lines`].
    pub lines: Vec<Line>,
}

#[derive(Debug, Clone)]
pub struct Node {
    pub name: String,
    /// `Mysql` also stands for MariaDB: which of them it is, the server says.
    pub engine: Engine,
    /// The account of `run`.
    pub access: Access,
    /// The owner's account of `setup` and `teardown`; the same as `access` unless `setup_url` is given.
    pub setup_access: Access,
    /// Schema of unqualified table names.
    pub schema: String,
}

/// A sync as declared. `spec` is what the flows get; `nodes` are its nodes in the same order.
#[derive(Debug, Clone)]
pub struct Sync {
    pub spec: SyncSpec,
    pub nodes: Vec<Arc<Node>>,
}

/// One running direction: indexes into the sync's nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// `source->target`
    pub id: String,
    pub source: usize,
    pub target: usize,
}

impl Sync {
    pub fn links(&self) -> Vec<Link> {
        let name = |index: usize| self.spec.nodes[index].name.as_str();
        self.spec
            .links
            .iter()
            .map(|&(source, target)| Link {
                id: link_id(name(source), name(target)),
                source,
                target,
            })
            .collect()
    }

    pub fn node(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// The other nodes, as `setup` registers them.
    pub fn peers(&self, node: usize) -> Vec<(Rank, String)> {
        let others = self
            .spec
            .nodes
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != node);
        others.map(|(_, peer)| (peer.rank, peer.name.clone())).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    Text,
    Json,
}

#[derive(Debug, Clone)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
    pub format: LogFormat,
}

/// `config` and `check` print it beside the findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    pub code: &'static str,
    pub node: Option<String>,
    pub what: String,
    pub fix: String,
}

/// One effective value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    pub key: String,
    pub value: String,
    pub origin: String,
}

/// The variables that matter here, taken once so that tests can give their own.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    pub fn of_process() -> Self {
        Environment(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .filter(|(name, _)| {
                    name.starts_with("TIDELOCK_")
                        || ["XDG_CONFIG_HOME", "HOME", "CREDENTIALS_DIRECTORY"].contains(&name.as_str())
                })
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Environment(
            pairs
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }
}

/// Finds, reads and checks the configuration. `flag` is `--config`.
pub fn load(flag: Option<&Path>, environment: &Environment) -> Result<Config, Failure> {
    let path = find(flag, environment)?;
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let problem = Problem::new(format!("the file cannot be read: {error}"))
            .hint("check the path and that this user may read it");
        Failure::without_file(Some(&path), problem)
    })?;
    parse(&text, &path, environment)
}

/// Checks a configuration's text. `path` names it and is where relative files start.
pub fn parse(text: &str, path: &Path, environment: &Environment) -> Result<Config, Failure> {
    file::parse(text)
        .map_err(|problem| vec![problem])
        .and_then(|file| build::config(file, text, path, environment))
        .map_err(|problems| Failure::new(path, text, problems))
}

/// The file named by flag or environment, or the first of the usual places that exists.
fn find(flag: Option<&Path>, environment: &Environment) -> Result<PathBuf, Failure> {
    if let Some(path) = flag {
        return Ok(path.to_owned());
    }
    if let Some(path) = environment.get("TIDELOCK_CONFIG") {
        return Ok(PathBuf::from(path));
    }
    let home = environment.get("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| {
        environment
            .get("HOME")
            .map(|home| Path::new(home).join(".config"))
    });
    let mut places = vec![PathBuf::from("tidelock.toml")];
    places.extend(home.map(|home| home.join("tidelock/tidelock.toml")));
    places.push(PathBuf::from("/etc/tidelock/tidelock.toml"));
    if let Some(path) = places.iter().find(|path| path.exists()) {
        return Ok(path.clone());
    }
    let looked: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
    Err(Failure::without_file(
        None,
        Problem::new(format!("no configuration: looked for {}", looked.join(", ")))
            .hint("name it with --config FILE or TIDELOCK_CONFIG; docs/config.md shows one"),
    ))
}
