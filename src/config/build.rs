//! From the written file to the checked configuration: nodes, accounts, limits.
//!
//! Owns: defaults, environment overrides, the origin of every value. Collects all problems instead of stopping at
//! the first. Syncs are `syncs`' part.

use super::file::{File, HttpFile, LimitsFile, LogFile, NodeFile, Text};
use super::lines::Line;
use super::problem::{self, Problem, nearest};
use super::{Config, Environment, Log, LogFormat, Node, Shown, Warning, syncs, url};
use crate::access::{Access, Host, Identity, Secret, TlsMode};
use crate::flow::spec::Limits;
use crate::model::schema::Engine;
use crate::spill::Space;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use toml::Spanned;

/// A name of a node or a sync: it becomes part of slot, publication and variable names.
pub(super) const NAME_CHARS_MAX: usize = 32;
/// Above this a rank does not fit the origin column.
pub(super) const RANK_MAX: i64 = 32_767;
/// A group is one target transaction in memory: enough to pay for a COMMIT, little enough to hold locks briefly.
const GROUP_ROWS: (usize, usize) = (1, 100_000);
const COPY_WORKERS: (usize, usize) = (1, 64);
const CHUNK_ROWS: (usize, usize) = (1, 50_000);
const COPY_RATE: (usize, usize) = (0, 1 << 40);
const PARKED_ROWS: (usize, usize) = (1, 1_000_000);
const PARKED_BYTES: (usize, usize) = (1 << 20, 4 << 30);
/// Shorter, and a busy machine loses it all the time.
const LEASE_TTL_S: (usize, usize) = (1, 3_600);
const ONCE_WAIT_S: (usize, usize) = (0, 3_600);
/// A link holds some times as much (docs/architecture.md, Memory); targets cut their statements by themselves.
const GROUP_BYTES: (usize, usize) = (65_536, 33_554_432);

/// Less than this would refuse what memory nearly holds.
const SPILL_BYTES: (usize, usize) = (16 << 20, 1 << 50);

/// Where HTTP listens when `[http]` does not say.
const HTTP_LISTEN: &str = "127.0.0.1:8470";

pub(super) struct Builder<'a> {
    pub text: &'a str,
    pub path: &'a Path,
    pub environment: &'a Environment,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Warning>,
    pub values: Vec<Shown>,
    pub lines: Vec<Line>,
}

/// A node with what a sync needs from the file.
pub(super) struct Declared {
    pub node: Arc<Node>,
    pub rank: Option<i64>,
}

pub(super) fn config(
    file: File,
    text: &str,
    path: &Path,
    environment: &Environment,
) -> Result<Config, Vec<Problem>> {
    let mut builder = Builder {
        text,
        path,
        environment,
        problems: Vec::new(),
        warnings: Vec::new(),
        values: Vec::new(),
        lines: Vec::new(),
    };
    builder.show("version", file.version.get_ref(), Some(file.version.span()));
    if *file.version.get_ref() != 1 {
        builder.problem(
            Problem::new(format!("version {} is not known", file.version.get_ref()))
                .hint("this program reads version = 1")
                .at(file.version.span()),
        );
    }
    let nodes = builder.nodes(file.node);
    let limits = builder.limits(file.limits);
    let syncs = syncs::build(&mut builder, file.sync, &nodes, &limits);
    let log = builder.log(file.log);
    let http = file.http.and_then(|http| builder.http(http));
    if !builder.problems.is_empty() {
        builder
            .problems
            .sort_by_key(|problem| problem.span.as_ref().map_or(usize::MAX, |span| span.start));
        // A section for many tables is read for each way in which it is one of several.
        builder.problems.dedup();
        return Err(builder.problems);
    }
    Ok(Config {
        path: path.to_owned(),
        nodes: nodes
            .into_iter()
            .filter_map(|(_, node)| Some(node?.node))
            .collect(),
        syncs,
        log,
        http,
        warnings: builder.warnings,
        values: builder.values,
        lines: builder.lines,
    })
}

impl Builder<'_> {
    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    pub(super) fn show(&mut self, key: &str, value: impl ToString, span: Option<Range<usize>>) {
        let origin = match span {
            Some(span) => {
                let line = problem::line(self.path, self.text, span);
                let place = line.place.clone();
                self.lines.push(Line {
                    key: key.to_owned(),
                    line,
                });
                place
            }
            None => "default".to_owned(),
        };
        self.show_from(key, value, origin);
    }

    /// Where it stands, of what has no value to show.
    pub(super) fn note(&mut self, key: &str, span: Range<usize>) {
        self.lines.push(Line {
            key: key.to_owned(),
            line: problem::line(self.path, self.text, span),
        });
    }

    fn show_from(&mut self, key: &str, value: impl ToString, origin: String) {
        self.values.push(Shown {
            key: key.to_owned(),
            value: value.to_string(),
            origin,
        });
    }

    /// Names are checked here because they reach slot names, SQL comments and variables.
    pub(super) fn check_name(&mut self, what: &str, name: &Spanned<String>) {
        let text = name.get_ref();
        let good = !text.is_empty()
            && text.len() <= NAME_CHARS_MAX
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if !good {
            self.problem(
                Problem::new(format!("\"{text}\" cannot name a {what}"))
                    .hint(format!("1 to {NAME_CHARS_MAX} of a-z, 0-9, '_' and '-'"))
                    .at(name.span()),
            );
        }
    }

    /// Every declared name, with `None` where the node itself is wrong, so that syncs do not complain again.
    fn nodes(&mut self, files: BTreeMap<Spanned<String>, NodeFile>) -> Vec<(String, Option<Declared>)> {
        let mut files: Vec<(Spanned<String>, NodeFile)> = files.into_iter().collect();
        files.sort_by_key(|(name, _)| name.span().start);
        let mut variables: BTreeMap<String, String> = BTreeMap::new();
        let mut nodes = Vec::new();
        for (name, file) in files {
            self.check_name("node", &name);
            let variable = variable(name.get_ref());
            if let Some(other) = variables.insert(variable.clone(), name.get_ref().clone()) {
                self.problem(
                    Problem::new(format!(
                        "nodes \"{other}\" and \"{}\" are too alike",
                        name.get_ref()
                    ))
                    .hint(format!("both would be overridden by {variable}: rename one"))
                    .at(name.span()),
                );
            }
            let node = self.node(&name, file, &variable);
            nodes.push((name.into_inner(), node));
        }
        let strangers: Vec<String> = self
            .environment
            .0
            .keys()
            .filter(|key| key.starts_with("TIDELOCK_NODE_") && !variables.contains_key(*key))
            .cloned()
            .collect();
        for key in strangers {
            self.problem(
                Problem::new(format!(
                    "the environment variable {key} belongs to no node of this file"
                ))
                .hint("the form is TIDELOCK_NODE_<NAME>_URL")
                .nearest(&key, variables.keys().map(String::as_str)),
            );
        }
        nodes
    }

    fn node(&mut self, name: &Spanned<String>, file: NodeFile, variable: &str) -> Option<Declared> {
        let key = |suffix: &str| format!("node.{}.{suffix}", name.get_ref());
        let before = self.problems.len();
        let secrets = [file.password_file, file.password_env, file.password_command];
        let url = match self.environment.get(variable) {
            Some(url) => Some((url.to_owned(), None)),
            None => file.url.map(|url| (url.get_ref().clone(), Some(url.span()))),
        };
        let access = match url {
            Some((url, span)) => self.access(name.get_ref(), &key("url"), &url, span, variable, &secrets),
            None => {
                let problem = Problem::new(format!("node \"{}\" has no url", name.get_ref())).hint(format!(
                    "add url = \"postgres://user@host/database\", or set {variable}"
                ));
                self.problem(problem.at(name.span()));
                None
            }
        };
        let setup_secrets = [
            file.setup_password_file,
            file.setup_password_env,
            file.setup_password_command,
        ];
        let setup = self.setup_access(name.get_ref(), file.setup_url, &setup_secrets, access.as_ref());
        let rank = file.rank.as_ref().map(|rank| *rank.get_ref());
        if let Some(rank) = &file.rank {
            self.show(&key("rank"), rank.get_ref(), Some(rank.span()));
            if !(1..=RANK_MAX).contains(rank.get_ref()) {
                let problem = Problem::new(format!("rank {} is out of bounds", rank.get_ref()));
                self.problem(problem.hint(format!("from 1 to {RANK_MAX}")).at(rank.span()));
            }
        }
        let (engine, access) = access?;
        let schema = match (&file.schema, engine) {
            (Some(schema), Engine::Mysql | Engine::Mariadb) => {
                self.problem(
                    Problem::new("a MySQL node has no schema of its own")
                        .hint("leave schema out: tables without a database are looked for in the URL's database")
                        .at(schema.span()),
                );
                access.database.clone()
            }
            (Some(schema), Engine::Postgres) => {
                self.show(&key("schema"), schema.get_ref(), Some(schema.span()));
                schema.get_ref().clone()
            }
            (None, Engine::Postgres) => {
                self.show(&key("schema"), "public", None);
                "public".to_owned()
            }
            (None, Engine::Mysql | Engine::Mariadb) => access.database.clone(),
        };
        if self.problems.len() > before {
            return None;
        }
        let node = Node {
            name: name.get_ref().clone(),
            engine,
            setup_access: setup.unwrap_or_else(|| access.clone()),
            access,
            schema,
        };
        Some(Declared {
            node: Arc::new(node),
            rank,
        })
    }

    /// `span` is `None` when the URL came from the environment.
    fn access(
        &mut self,
        node: &str,
        key: &str,
        url: &str,
        span: Option<Range<usize>>,
        variable: &str,
        secrets: &[Text; 3],
    ) -> Option<(Engine, Access)> {
        let from_environment = span.is_none();
        let address = self.address(url, span.clone(), variable)?;
        if from_environment {
            self.show_from(key, masked(url), format!("environment {variable}"));
        } else {
            self.show(key, masked(url), span);
        }
        let prefix = key.strip_suffix("url").unwrap_or(key);
        let mut secret = self.secret(node, prefix, secrets);
        if let Some(password) = address.password {
            self.warnings.push(Warning {
                code: "W001",
                node: Some(node.to_owned()),
                what: format!("the password stands in {key}"),
                fix: format!("move it to a file and name that in {prefix}password_file"),
            });
            if let Some(other) = secrets.iter().flatten().next() {
                let problem = Problem::new("the password is given twice: in the URL and here");
                self.problem(problem.hint("take it out of the URL").at(other.span()));
            }
            secret = Secret::Plain(password);
        }
        self.show_tls(node, prefix, &address.hosts, address.tls);
        let identity = address.identity.map(|identity| Identity {
            certificate: self.beside(&identity.certificate),
            key: self.beside(&identity.key),
        });
        if let Some(identity) = &identity {
            self.warn_if_readable_by_all("W110", node, &identity.key);
        }
        let mut hosts = address.hosts.into_iter();
        let first = hosts.next()?;
        let access = Access {
            node: node.to_owned(),
            host: first.name,
            port: first.port,
            other_hosts: hosts.collect(),
            must_write: address.must_write,
            connect_timeout: address.connect_timeout,
            user: address.user,
            secret,
            database: address.database,
            tls: address.tls,
            ca_file: address.ca_file.map(|path| self.beside(&path)),
            session: None,
            identity,
        };
        Some((address.engine, access))
    }

    fn address(&mut self, url: &str, span: Option<Range<usize>>, variable: &str) -> Option<url::Address> {
        let problem = match url::parse(url) {
            Ok(address) => return Some(address),
            Err(problem) => problem,
        };
        self.problem(match span {
            Some(span) => problem.at(span),
            None => Problem {
                what: format!("{variable}: {}", problem.what),
                ..problem
            },
        });
        None
    }

    fn show_tls(&mut self, node: &str, prefix: &str, hosts: &[Host], tls: TlsMode) {
        let local = hosts
            .iter()
            .all(|host| host.name.starts_with('/') || url::is_loopback(&host.name));
        let (name, weak) = match tls {
            TlsMode::Disable => ("disable", (!local).then_some("traffic is not encrypted")),
            TlsMode::Require => (
                "require",
                (!local).then_some("traffic is encrypted, but the server is not verified"),
            ),
            TlsMode::VerifyCa => ("verify-ca", None),
            TlsMode::VerifyFull => ("verify-full", None),
        };
        self.show_from(&format!("{prefix}tls"), name, "url or default".to_owned());
        if let Some(weak) = weak {
            self.warnings.push(Warning {
                code: "W002",
                node: Some(node.to_owned()),
                what: format!("{prefix}url: {weak} (TLS mode {name})"),
                fix: "add ?sslmode=verify-full to the URL, with sslrootcert=FILE where the CA is your own"
                    .to_owned(),
            });
        }
    }

    fn setup_access(
        &mut self,
        name: &str,
        url: Text,
        secrets: &[Text; 3],
        run: Option<&(Engine, Access)>,
    ) -> Option<Access> {
        let Some(url) = url else {
            if let Some(stray) = secrets.iter().flatten().next() {
                let problem = Problem::new("a setup password without a setup_url");
                self.problem(
                    problem
                        .hint("add setup_url with the owner's account")
                        .at(stray.span()),
                );
            }
            return None;
        };
        let key = format!("node.{name}.setup_url");
        let (engine, access) = self.access(name, &key, url.get_ref(), Some(url.span()), "", secrets)?;
        if let Some((run_engine, run)) = run
            && (engine != *run_engine || access.database != run.database)
        {
            self.problem(
                Problem::new("setup_url leads to another database than url")
                    .hint("both name the same database; only the account differs")
                    .at(url.span()),
            );
        }
        Some(access)
    }

    /// At most one of file, variable, command.
    fn secret(&mut self, node: &str, prefix: &str, [file, env, command]: &[Text; 3]) -> Secret {
        let given: Vec<&Spanned<String>> = [file, env, command].into_iter().flatten().collect();
        if let [_, second, ..] = given[..] {
            let problem = Problem::new(format!(
                "node \"{node}\" has more than one source of its password"
            ));
            self.problem(
                problem
                    .hint("keep one of password_file, password_env and password_command")
                    .at(second.span()),
            );
        }
        if let Some(file) = file {
            let path = self.secret_path(Path::new(file.get_ref()));
            self.show(
                &format!("{prefix}password_file"),
                path.display(),
                Some(file.span()),
            );
            self.warn_if_readable_by_all("W003", node, &path);
            return Secret::File(path);
        }
        if let Some(env) = env {
            self.show(&format!("{prefix}password_env"), env.get_ref(), Some(env.span()));
            return Secret::Env(env.get_ref().clone());
        }
        if let Some(command) = command {
            // The command line itself may hold a secret.
            self.show(&format!("{prefix}password_command"), "***", Some(command.span()));
            return Secret::Command(command.get_ref().clone());
        }
        Secret::None
    }

    /// Relative files of systemd's `LoadCredential=` first, then beside the configuration.
    fn secret_path(&self, path: &Path) -> PathBuf {
        if let Some(folder) = self.environment.get("CREDENTIALS_DIRECTORY") {
            let credential = Path::new(folder).join(path);
            if path.is_relative() && credential.exists() {
                return credential;
            }
        }
        self.beside(path)
    }

    fn beside(&self, path: &Path) -> PathBuf {
        // `join` of a full path is that path.
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn warn_if_readable_by_all(&mut self, code: &'static str, node: &str, path: &Path) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let open = std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o004 != 0);
            if open {
                self.warnings.push(Warning {
                    code,
                    node: Some(node.to_owned()),
                    what: format!("everybody on this machine can read {}", path.display()),
                    fix: format!("chmod 600 {}", path.display()),
                });
            }
        }
    }

    fn log(&mut self, file: LogFile) -> Log {
        let levels = ["error", "warn", "info", "debug", "trace"];
        let level = self.choice("log.level", file.level, &levels, "info");
        let format = match self.choice("log.format", file.format, &["auto", "text", "json"], "auto") {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => LogFormat::Auto,
        };
        Log { level, format }
    }

    fn http(&mut self, file: HttpFile) -> Option<SocketAddr> {
        let Some(listen) = file.listen else {
            self.show("http.listen", HTTP_LISTEN, None);
            return HTTP_LISTEN.parse().ok();
        };
        self.show("http.listen", listen.get_ref(), Some(listen.span()));
        let Ok(address) = listen.get_ref().parse::<SocketAddr>() else {
            let problem = Problem::new(format!("\"{}\" is no address to listen on", listen.get_ref()));
            let hint = format!("an IP address and a port, such as \"{HTTP_LISTEN}\" or \"[::1]:8470\"");
            self.problem(problem.hint(hint).at(listen.span()));
            return None;
        };
        if !address.ip().is_loopback() {
            self.warnings.push(Warning {
                code: "W460",
                node: None,
                what: format!(
                    "everybody who reaches {address} can read names, figures and errors of the links"
                ),
                fix: format!("listen on \"{HTTP_LISTEN}\", or let only your monitoring through to it"),
            });
        }
        Some(address)
    }

    fn choice(
        &mut self,
        key: &str,
        given: Text,
        known: &[&'static str],
        default: &'static str,
    ) -> &'static str {
        let Some(given) = given else {
            self.show(key, default, None);
            return default;
        };
        self.show(key, given.get_ref(), Some(given.span()));
        if let Some(word) = known.iter().copied().find(|word| word == given.get_ref()) {
            return word;
        }
        let hint = match nearest(given.get_ref(), known.iter().copied()) {
            Some(word) => format!("did you mean \"{word}\"?"),
            None => format!("known are {}", known.join(", ")),
        };
        self.problem(
            Problem::new(format!("\"{}\" is no value of {key}", given.get_ref()))
                .hint(hint)
                .at(given.span()),
        );
        default
    }

    fn limits(&mut self, file: LimitsFile) -> Limits {
        let usual = Limits::default();
        let (rows, bytes) = (usual.group_rows_max, usual.group_bytes_max);
        let chunk = usize::try_from(usual.chunk_rows_max).unwrap_or(1);
        let usual_ttl = usize::try_from(usual.lease_ttl.as_secs()).unwrap_or(1);
        let ttl = self.bounded("limits.lease_ttl_s", file.lease_ttl_s, usual_ttl, LEASE_TTL_S);
        let usual_wait = usize::try_from(usual.once_wait.as_secs()).unwrap_or(0);
        let wait = self.bounded("limits.once_wait_s", file.once_wait_s, usual_wait, ONCE_WAIT_S);
        Limits {
            lease_ttl: Duration::from_secs(ttl as u64),
            once_wait: Duration::from_secs(wait as u64),
            group_rows_max: self.bounded("limits.group_rows_max", file.group_rows_max, rows, GROUP_ROWS),
            group_bytes_max: self.bounded("limits.group_bytes_max", file.group_bytes_max, bytes, GROUP_BYTES),
            spill: self.spill(file.spill_dir, file.spill_bytes_max),
            stream: self.switch("limits.stream", file.stream, usual.stream),
            copy_workers: self.bounded(
                "limits.copy_workers",
                file.copy_workers,
                usual.copy_workers,
                COPY_WORKERS,
            ),
            chunk_rows_max: self.bounded("limits.chunk_rows_max", file.chunk_rows_max, chunk, CHUNK_ROWS)
                as u64,
            copy_bytes_per_second: self.bounded(
                "limits.copy_bytes_per_second",
                file.copy_bytes_per_second,
                0,
                COPY_RATE,
            ) as u64,
            parked_rows_max: self.bounded(
                "limits.parked_rows_max",
                file.parked_rows_max,
                usual.parked_rows_max,
                PARKED_ROWS,
            ),
            parked_bytes_max: self.bounded(
                "limits.parked_bytes_max",
                file.parked_bytes_max,
                usual.parked_bytes_max,
                PARKED_BYTES,
            ),
        }
    }

    fn bounded(
        &mut self,
        key: &str,
        given: Option<Spanned<i64>>,
        usual: usize,
        (low, high): (usize, usize),
    ) -> usize {
        let Some(given) = given else {
            self.show(key, usual, None);
            return usual;
        };
        self.show(key, given.get_ref(), Some(given.span()));
        match usize::try_from(*given.get_ref()) {
            Ok(value) if (low..=high).contains(&value) => value,
            Ok(_) | Err(_) => {
                let problem = Problem::new(format!("{key} = {} is out of bounds", given.get_ref()));
                let hint = format!("from {low} to {high}; the default is {usual}");
                self.problem(problem.hint(hint).at(given.span()));
                usual
            }
        }
    }

    fn switch(&mut self, key: &str, given: Option<Spanned<bool>>, usual: bool) -> bool {
        let value = given.as_ref().map_or(usual, |given| *given.get_ref());
        self.show(key, value, given.map(|given| given.span()));
        value
    }

    /// One space for the whole process: its cap counts all links.
    fn spill(&mut self, dir: Text, bytes_max: Option<Spanned<i64>>) -> Space {
        const DIR: &str = "limits.spill_dir";
        const BYTES_MAX: &str = "limits.spill_bytes_max";
        let folder = match dir {
            None => {
                let folder = std::env::temp_dir();
                self.show_from(DIR, folder.display(), "the system's temporary folder".to_owned());
                folder
            }
            Some(dir) => {
                let folder = self.beside(Path::new(dir.get_ref()));
                self.show(DIR, folder.display(), Some(dir.span()));
                if !folder.is_dir() {
                    self.problem(
                        Problem::new(format!("{} is no folder", folder.display()))
                            .hint(
                                "limits.spill_dir names a folder that exists and that this user may write to",
                            )
                            .at(dir.span()),
                    );
                }
                folder
            }
        };
        let bytes_max = match bytes_max {
            None => {
                self.show(BYTES_MAX, "no limit", None);
                None
            }
            Some(_) => Some(self.bounded(BYTES_MAX, bytes_max, SPILL_BYTES.1, SPILL_BYTES) as u64),
        };
        Space::new(folder, bytes_max)
    }
}

/// The variable that overrides a node's URL.
fn variable(node: &str) -> String {
    format!(
        "TIDELOCK_NODE_{}_URL",
        node.to_ascii_uppercase().replace('-', "_")
    )
}

/// The URL with `***` in place of a password.
fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    match rest.split_once('@') {
        Some((account, place)) => match account.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:***@{place}"),
            None => url.to_owned(),
        },
        None => url.to_owned(),
    }
}
