//! Where the programs of each kind of server are, and who may run them.
//!
//! Owns: the search (the cache folder that `scripts/servers.sh` fills, then the system) and the unprivileged user.
//! Refuses: to install anything.
//! Fails: naming the command that installs what is missing.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Kind;

/// A user and group that a server runs as; `None` where we are not root and need no other.
pub(super) type User = Option<(u32, u32)>;

pub(super) struct Programs {
    pub(super) kind: Kind,
    /// The words that start the server: the program, or the loader in front of it.
    pub(super) server: Vec<PathBuf>,
    /// What makes a data folder; empty where the server does it itself.
    pub(super) maker: PathBuf,
    /// MySQL only: the folder it was unpacked to.
    prefix: Option<PathBuf>,
    pub(super) user: User,
}

impl Programs {
    pub(super) fn find(kind: Kind) -> Result<Self> {
        let cache = cache_folder();
        let found = match kind {
            Kind::Postgres18 | Kind::Postgres17 | Kind::Postgres16 => {
                postgres_in(cache.join(kind.name()).join("bin"))
            }
            Kind::Postgres15 => system_postgres(),
            Kind::Mysql => unpacked_mysql(&cache.join("mysql")),
            Kind::Mariadb => (
                vec![PathBuf::from("/usr/sbin/mariadbd")],
                PathBuf::from("/usr/bin/mariadb-install-db"),
                None,
            ),
        };
        let (server, maker, prefix) = found;
        // Relative words are arguments of the loader.
        for program in server.iter().chain([&maker]).filter(|word| word.is_absolute()) {
            if !program.exists() {
                bail!(
                    "{} is missing; install it with: scripts/servers.sh {kind}",
                    program.display()
                );
            }
        }
        if server.is_empty() {
            bail!("no {kind} server is installed; install it with: scripts/servers.sh {kind}");
        }
        Ok(Self {
            kind,
            server,
            maker,
            prefix,
            user: unprivileged_user()?,
        })
    }

    /// Changes when the program changes, so that an old template is not used with it.
    pub(super) fn stamp(&self) -> Result<String> {
        let program = self.server.last().context("a server has a program")?;
        let meta = std::fs::metadata(program).with_context(|| format!("look at {}", program.display()))?;
        Ok(format!(
            "{}-{}-{}",
            meta.len(),
            meta.mtime(),
            self.user.map_or(0, |user| user.0)
        ))
    }

    /// Where an unpacked MySQL finds its own files.
    pub(super) fn base_arguments(&self) -> Vec<String> {
        let Some(prefix) = &self.prefix else { return vec![] };
        let base = prefix.join("usr");
        let base = base.display();
        vec![
            format!("--basedir={base}"),
            format!("--lc-messages-dir={base}/share/mysql"),
            format!("--character-sets-dir={base}/share/mysql/charsets"),
        ]
    }
}

type Found = (Vec<PathBuf>, PathBuf, Option<PathBuf>);

fn postgres_in(folder: PathBuf) -> Found {
    (vec![folder.join("postgres")], folder.join("initdb"), None)
}

/// The newest PostgreSQL of the distribution.
fn system_postgres() -> Found {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = versions
        .map(|entry| entry.path().join("bin"))
        .filter(|folder| folder.join("postgres").exists())
        .max_by_key(|folder| {
            let version = folder.parent().and_then(Path::file_name);
            version
                .and_then(|name| name.to_str())
                .and_then(|name| name.parse::<u32>().ok())
        });
    newest.map_or_else(|| (vec![], PathBuf::new(), None), postgres_in)
}

/// MySQL runs with the libraries it was unpacked with, through their own loader.
fn unpacked_mysql(prefix: &Path) -> Found {
    let libraries = prefix.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    let loader = std::fs::read_dir(&libraries)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .and_then(|n| n.to_str())
                .is_some_and(|n| n.starts_with("ld-linux-"))
        });
    let Some(loader) = loader else {
        return (vec![], PathBuf::new(), None);
    };
    let words = vec![
        loader,
        PathBuf::from("--library-path"),
        libraries,
        prefix.join("usr/sbin/mysqld"),
    ];
    (words, PathBuf::new(), Some(prefix.to_owned()))
}

/// The same folder as in `scripts/servers.sh`.
pub(super) fn cache_folder() -> PathBuf {
    let of = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(folder) = of("TIDELOCK_SERVERS") {
        folder
    } else if we_are_root() {
        PathBuf::from("/var/cache/tidelock")
    } else if let Some(folder) = of("XDG_CACHE_HOME") {
        folder.join("tidelock")
    } else {
        of("HOME").unwrap_or_default().join(".cache/tidelock")
    }
}

fn we_are_root() -> bool {
    // The owner of our own process entry is our effective user; asking the kernel directly needs unsafe code.
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// PostgreSQL and MySQL refuse to run as root; nobody needs to exist for them but in this list.
fn unprivileged_user() -> Result<User> {
    if !we_are_root() {
        return Ok(None);
    }
    let text =
        std::fs::read_to_string("/etc/passwd").context("look for an unprivileged user in /etc/passwd")?;
    let find = |wanted: &str| {
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            (name == wanted).then_some((uid, gid))
        })
    };
    let user = find("postgres").or_else(|| find("nobody"));
    Ok(Some(user.context(
        "servers refuse to run as root, and there is no user postgres or nobody here",
    )?))
}
