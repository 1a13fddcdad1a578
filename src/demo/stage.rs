//! What the demo plays on: two throw-away servers, the shop on both, a configuration file, the running links.
//!
//! Owns: making and clearing away all of it. Setting up goes through the same calls as `tidelock setup --execute`,
//! and the configuration is a real file, so that every command can be run beside the demo.
//! Fails: naming the command that installs a missing server; a link's own error comes out of [`Links::failed`].

use super::shop;
use super::side::Side;
use crate::config::{self, Environment};
use crate::engine::Node;
use crate::error::{Error, Result};
use crate::flow;
use crate::flow::pulse::Live;
use crate::playground::{self, ACCOUNT, Kind, Server};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Two hundred rows need a second; this is a hanging link.
const COPY_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// Links drain within ten seconds.
const LEAVE_MAX: Duration = Duration::from_secs(12);

pub(super) struct Stage {
    pub sync: config::Sync,
    pub config_path: PathBuf,
    /// Of the shop, with the account that may do everything.
    pub urls: [String; 2],
    /// `postgres 18.4`, `mysql 9.7.4`.
    pub titles: [String; 2],
    pub servers: [Server; 2],
    _folder: Folder,
}

impl Stage {
    pub(super) async fn build(say: impl Fn(&str)) -> Result<Stage> {
        let (postgres, other) = tokio::join!(start(Kind::Postgres18), mysql_or_mariadb(&say));
        let servers = [postgres?, other?];
        let urls = [servers[0].url(shop::DATABASE), servers[1].url(shop::DATABASE)];
        for (server, url) in servers.iter().zip(&urls) {
            shop::create_database(&mut Side::open(&server.url("")).await?).await?;
            shop::create_tables(&mut Side::open(url).await?).await?;
        }
        shop::fill(&mut Side::open(&urls[0]).await?).await?;
        let folder = Folder::create()?;
        let config_path = folder.0.join("tidelock.toml");
        write_private(&folder.0.join("password"), ACCOUNT)?;
        write_private(&config_path, &config_text(&servers))?;
        let config = config::load(Some(&config_path), &Environment::default())?;
        let [sync] = <[config::Sync; 1]>::try_from(config.syncs)
            .map_err(|_| Error::bug("read the demo's own configuration"))?;
        let mut titles = [String::new(), String::new()];
        for (index, title) in titles.iter_mut().enumerate() {
            let declared = &sync.nodes[index];
            let server = Node::connect(&declared.access, declared.engine)
                .await?
                .server()
                .await?;
            *title = format!("{} {}", server.engine, number(&server.version));
        }
        Ok(Stage {
            sync,
            config_path,
            urls,
            titles,
            servers,
            _folder: folder,
        })
    }

    /// What `tidelock setup --execute` does. Returns the number of statements.
    pub(super) async fn set_up(&self) -> Result<usize> {
        let mut count = 0;
        for (index, declared) in self.sync.nodes.iter().enumerate() {
            let mut node = Node::connect(&declared.setup_access, declared.engine).await?;
            let scope = self.sync.spec.scope(index);
            count += node.setup(&scope, &self.sync.peers(index)).await?.len();
        }
        Ok(count)
    }

    /// One session on each side.
    pub(super) async fn sides(&self) -> Result<[Side; 2]> {
        let [a, b] = &self.urls;
        Ok([Side::open(a).await?, Side::open(b).await?])
    }

    /// Waits until the first rows are on the second side; returns how many they are.
    pub(super) async fn copied(&self) -> Result<u64> {
        let [mut a, mut b] = self.sides().await?;
        let begin = Instant::now();
        loop {
            let (mut ours, mut theirs) = (0, 0);
            for table in shop::tables() {
                let sql = format!("SELECT count(*) FROM {table}");
                ours += a.number(&sql).await?;
                theirs += b.number(&sql).await?;
            }
            if ours == theirs {
                return Ok(ours);
            }
            if begin.elapsed() > COPY_MAX {
                return Err(Error::definite("make the first copy")
                    .why(format!("{theirs} of {ours} rows after {} s", COPY_MAX.as_secs()))
                    .hint("run the demo with -v to see what the links say"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(super) async fn close(mut self) {
        for server in &mut self.servers {
            // Nothing on it is kept: no need to wait for a clean stop.
            server.kill().await;
        }
    }
}

/// The links, run in this process as `tidelock run` would.
pub(super) struct Links {
    task: JoinHandle<Result<()>>,
    stop: CancellationToken,
}

impl Links {
    pub(super) fn start(sync: &config::Sync) -> Links {
        let stop = CancellationToken::new();
        let (syncs, token) = ([sync.spec.clone()], stop.clone());
        let live = Arc::new(Live::new(&syncs));
        let task = tokio::spawn(async move { flow::run(&syncs, false, &token, &live).await });
        Links { task, stop }
    }

    /// Returns only when the links ended by themselves, which is a failure.
    pub(super) async fn failed(&mut self) -> Error {
        match (&mut self.task).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) => Error::bug("keep the links running").why("they ended by themselves"),
            Err(error) => Error::bug("keep the links running").because(error),
        }
    }

    /// Drains and ends them, if they have not ended yet.
    pub(super) async fn close(mut self) {
        self.stop.cancel();
        if !self.task.is_finished() && tokio::time::timeout(LEAVE_MAX, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

async fn start(kind: Kind) -> Result<Server> {
    // Every commit is flushed, as in production: the latencies are honest.
    let mut options = playground::Options {
        durable: true,
        ..Default::default()
    };
    if !kind.is_postgres() {
        options.extra = ["--auto-increment-increment=2", "--auto-increment-offset=2"]
            .map(str::to_owned)
            .into();
    }
    playground::start(kind, &options).await.map_err(|error| {
        Error::definite(format!("start a throw-away {kind} server"))
            .why(format!("{error:#}"))
            .hint(format!("scripts/servers.sh {kind}"))
    })
}

async fn mysql_or_mariadb(say: impl Fn(&str)) -> Result<Server> {
    let error = match start(Kind::Mysql).await {
        Ok(server) => return Ok(server),
        Err(error) => error,
    };
    let server = start(Kind::Mariadb).await;
    match server {
        Ok(server) => {
            say(&format!("MariaDB takes MySQL's part here: {error}"));
            Ok(server)
        }
        // What was wanted first is what the reader should mend.
        Err(_) => Err(error),
    }
}

fn config_text(servers: &[Server; 2]) -> String {
    let url = |server: &Server| {
        server
            .url(shop::DATABASE)
            .replacen(&format!("{ACCOUNT}:{ACCOUNT}@"), &format!("{ACCOUNT}@"), 1)
    };
    let tables: Vec<String> = shop::tables().map(|table| format!("\"{table}\"")).collect();
    format!(
        "version = 1\n\n[node.pg]\nurl = \"{}\"\npassword_file = \"password\"\n\n\
         [node.my]\nurl = \"{}\"\npassword_file = \"password\"\n\n\
         [[sync]]\nname = \"shop\"\nnodes = [\"pg\", \"my\"]\nmode = \"merge\"\ntables = [{}]\n\
         seed = \"from:pg\"\non_conflict = \"newest\"\n",
        url(&servers[0]),
        url(&servers[1]),
        tables.join(", ")
    )
}

/// `18.4 (Debian 18.4-1)` and `10.11.19-MariaDB-log` by their numbers.
fn number(version: &str) -> &str {
    let end = version
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(version.len());
    version[..end].trim_end_matches('.')
}

/// A folder for the configuration, removed with the demo.
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Folder> {
        let path = std::env::temp_dir().join(format!("tidelock-demo-{}", std::process::id()));
        // Left behind by a process that was killed and had our number.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| Error::definite(format!("make the folder {}", path.display())).because(error))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    let file = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Error::definite(format!("write {}", path.display())).because(error))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn versions_are_told_by_their_numbers() {
        assert_eq!(number("18.4 (Debian 18.4-1.pgdg12+1)"), "18.4");
        assert_eq!(number("10.11.19-MariaDB-log"), "10.11.19");
        assert_eq!(number("9.7.4"), "9.7.4");
    }
}
