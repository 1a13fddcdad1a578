//! What the user declares: nodes and the syncs between them.
//!
//! Owns: finding and reading the file, the order flag > environment > file > default, and the checked result.
//! Refuses: unknown keys, text substitution in the file, passwords as keys. Fails with every problem of the file at
//! once, each with its line, caret and mend ([`Failure`]; exit code 78).

mod build;
mod file;
mod problem;
mod syncs;
#[cfg(test)]
mod tests;
mod url;

pub use problem::{Failure, Located, Problem};

use crate::access::Access;
use crate::model::schema::TableId;
use crate::model::stamp::Rank;
use crate::model::sync::{Mode, Rule, Scope};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Postgres,
    /// MySQL and MariaDB; which of them, the server says.
    Mysql,
}

impl Engine {
    pub fn name(self) -> &'static str {
        match self {
            Engine::Postgres => "postgres",
            Engine::Mysql => "mysql",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Config {
    pub path: PathBuf,
    pub nodes: Vec<Arc<Node>>,
    pub syncs: Vec<Sync>,
    pub log: Log,
    pub limits: Limits,
    /// What works but should be known.
    pub warnings: Vec<Warning>,
    /// Every value with its origin, secrets masked, for `config show`.
    pub values: Vec<Shown>,
}

#[derive(Debug, Clone)]
pub struct Node {
    pub name: String,
    pub engine: Engine,
    /// The account of `run`.
    pub access: Access,
    /// The owner's account of `setup` and `teardown`; the same as `access` unless `setup_url` is given.
    pub setup_access: Access,
    /// Schema of unqualified table names.
    pub schema: String,
}

/// A node's part in a sync.
#[derive(Debug, Clone)]
pub struct Member {
    pub node: Arc<Node>,
    pub rank: Rank,
    /// Names on this node; the same index means the same table on every member.
    pub tables: Vec<TableId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seed {
    /// The named node's rows are copied to the other one.
    From(String),
    None,
}

#[derive(Debug, Clone)]
pub struct Sync {
    pub name: String,
    pub mode: Mode,
    /// Exactly two, in the order of `nodes`.
    pub members: Vec<Arc<Member>>,
    /// `transactional`: the only source.
    pub from: Option<String>,
    pub seed: Seed,
    /// By table index.
    pub rules: Vec<Rule>,
    /// Hash of what both sides must agree on: name, mode, nodes and ranks, tables, rules. No URL, no secret, no seed.
    pub config_hash: String,
}

/// One running direction of a sync.
#[derive(Debug, Clone)]
pub struct Link {
    /// `source->target`
    pub id: String,
    pub source: Arc<Member>,
    pub target: Arc<Member>,
}

impl Sync {
    /// The directions that run.
    pub fn links(&self) -> Vec<Link> {
        let mut links = Vec::new();
        for source in &self.members {
            for target in &self.members {
                let runs = self.from.as_ref().is_none_or(|from| *from == source.node.name);
                if source.node.name != target.node.name && runs {
                    links.push(Link {
                        id: format!("{}->{}", source.node.name, target.node.name),
                        source: source.clone(),
                        target: target.clone(),
                    });
                }
            }
        }
        links
    }

    pub fn member(&self, node: &str) -> Option<&Arc<Member>> {
        self.members.iter().find(|member| member.node.name == node)
    }

    /// What one node does in this sync.
    pub fn scope(&self, member: &Member) -> Scope {
        let is_source = self.from.as_ref().is_none_or(|from| *from == member.node.name);
        Scope {
            sync: self.name.clone(),
            node: member.node.name.clone(),
            rank: member.rank,
            mode: self.mode,
            tables: member.tables.clone(),
            is_source,
            is_target: self.from.is_none() || !is_source,
            config_hash: self.config_hash.clone(),
            run_user: member.node.access.user.clone(),
        }
    }

    /// The other members, as `setup` registers them.
    pub fn peers(&self, member: &Member) -> Vec<(Rank, String)> {
        self.members
            .iter()
            .filter(|peer| peer.node.name != member.node.name)
            .map(|peer| (peer.rank, peer.node.name.clone()))
            .collect()
    }

    /// How contested rows of the table with this index are decided.
    pub fn rule(&self, table: usize) -> &Rule {
        self.rules.get(table).unwrap_or(&Rule::Newest)
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

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// One target transaction holds at most this many row changes (a source transaction is never split).
    pub group_rows_max: usize,
    pub group_bytes_max: usize,
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
