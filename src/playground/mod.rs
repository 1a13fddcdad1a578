//! Throw-away database servers: real ones, private, on a free loopback port, gone with the process that asked.
//!
//! Owns: the life of one server (data folder, port, account, start, stop, kill, restart). `tidelock demo` and the
//! tests stand on it. Every server knows the superuser `tidelock` with the password `tidelock`.
//! Refuses: to download anything (`scripts/servers.sh` does), and to touch a server it did not start.
//! Fails: with the end of the server's own log, or with the command that installs the missing programs.

use std::ffi::OsString;
use std::fmt;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use folder::Folder;
use mysql_async::prelude::Queryable;
use process::Process;
use programs::Programs;

mod folder;
mod process;
mod programs;

/// Name and password of the superuser on every server started here.
pub const ACCOUNT: &str = "tidelock";

/// A cold machine under load needs some seconds; half a minute more means that it hangs.
const START_LIMIT: Duration = Duration::from_secs(60);
/// A clean shutdown writes a checkpoint; beyond this the server is killed instead.
const STOP_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(25);
/// Ports below the kernel's ephemeral range, so that no outgoing connection takes one while its server is down.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Another process may take the port between our look and the server's bind.
const PORT_TRIES: u32 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Postgres18,
    Postgres17,
    Postgres16,
    /// The PostgreSQL of the distribution, 15 on Debian 12.
    Postgres15,
    Mysql,
    Mariadb,
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::Postgres18,
        Self::Postgres17,
        Self::Postgres16,
        Self::Postgres15,
        Self::Mysql,
        Self::Mariadb,
    ];
    /// What `scripts/servers.sh` puts there without being asked for more; the others are for the whole matrix.
    pub const USUAL: [Self; 4] = [Self::Postgres18, Self::Postgres15, Self::Mysql, Self::Mariadb];

    /// The name that `scripts/servers.sh` understands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres18 => "postgres18",
            Self::Postgres17 => "postgres17",
            Self::Postgres16 => "postgres16",
            Self::Postgres15 => "postgres15",
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub fn is_postgres(self) -> bool {
        match self {
            Self::Postgres18 | Self::Postgres17 | Self::Postgres16 | Self::Postgres15 => true,
            Self::Mysql | Self::Mariadb => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Flush every commit to disk, as a production server would; off, a crash of the *machine* loses data.
    pub durable: bool,
    /// Offer TLS with a certificate for `localhost` and `127.0.0.1`, signed by [`Server::ca_file`].
    pub tls: bool,
    /// More server arguments; they win over ours. PostgreSQL: `name=value` settings; the others: `--name=value`.
    pub extra: Vec<String>,
}

/// Starts a server and waits until it answers.
pub async fn start(kind: Kind, options: &Options) -> Result<Server> {
    let wanted = options.clone();
    let (programs, folder) = tokio::task::spawn_blocking(move || prepare(kind, &wanted))
        .await
        .context("prepare a data folder")?
        .with_context(|| format!("prepare a throw-away {kind} server"))?;
    let mut server = Server {
        kind,
        port: 0,
        options: options.clone(),
        programs,
        folder,
        process: None,
    };
    let mut last = anyhow!("no free port between {} and {}", PORTS.start, PORTS.end);
    for _ in 0..PORT_TRIES {
        server.port = free_port()?;
        match server.launch().await {
            Ok(()) => return Ok(server),
            Err(error) if server.log_tail().contains("ddress already in use") => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn prepare(kind: Kind, options: &Options) -> Result<(Programs, Folder)> {
    let programs = Programs::find(kind)?;
    let folder = Folder::create(kind, &programs)?;
    folder.fill(&programs)?;
    if options.tls {
        folder.make_certificates(&programs)?;
    }
    Ok((programs, folder))
}

/// Two processes start at different places, so that they seldom try the same port.
fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = PORTS.end - PORTS.start;
    let first = (std::process::id().wrapping_mul(97) % u32::from(span)) as u16;
    for _ in 0..span {
        let port = PORTS.start + (first + NEXT.fetch_add(1, Ordering::Relaxed) % span) % span;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free loopback port between {} and {}", PORTS.start, PORTS.end)
}

/// A running (or stopped) server. Dropping it kills the server and removes its folder.
pub struct Server {
    kind: Kind,
    port: u16,
    options: Options,
    programs: Programs,
    // Before `folder`: the process must be gone when the folder is removed.
    process: Option<Process>,
    folder: Folder,
}

impl Server {
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database over TCP; an empty name gives the server's URL without a database.
    pub fn url(&self, database: &str) -> String {
        let (scheme, database) = match (self.kind.is_postgres(), database) {
            (true, "") => ("postgres", "postgres"),
            (true, _) => ("postgres", database),
            (false, _) => ("mysql", database),
        };
        format!(
            "{scheme}://{ACCOUNT}:{ACCOUNT}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// Where the unix socket is: the folder for PostgreSQL, holding `mysql.sock` for the others.
    pub fn socket_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The certificate authority to trust, when the server was started with TLS.
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.options.tls.then(|| self.folder.path().join("ca.pem"))
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The end of the server's log, for error messages.
    pub fn log_tail(&self) -> String {
        self.folder.log_tail()
    }

    /// Ends the server at once, as a power cut of its process would.
    pub async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Shuts the server down cleanly; what does not leave in time is killed.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(process) = self.process.take() else {
            return Ok(());
        };
        // PostgreSQL waits for its clients on SIGTERM, not on SIGINT.
        let signal = if self.kind.is_postgres() { "INT" } else { "TERM" };
        process.signal(signal)?;
        if process.exited(STOP_LIMIT).await.is_none() {
            process.kill().await;
            bail!(
                "{} did not stop within {} s and was killed",
                self.kind,
                STOP_LIMIT.as_secs()
            );
        }
        Ok(())
    }

    /// Starts again on the same folder and port, after [`Self::kill`] or instead of a clean stop before it.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        let limit = Instant::now() + START_LIMIT;
        loop {
            match self.launch().await {
                Ok(()) => return Ok(()),
                // Children of a killed PostgreSQL hold its shared memory for a moment.
                Err(_) if self.log_tail().contains("shared memory block") && Instant::now() < limit => {
                    tokio::time::sleep(POLL).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// As [`Self::restart`], with other extra arguments from now on.
    pub async fn restart_with(&mut self, extra: &[&str]) -> Result<()> {
        self.options.extra = extra.iter().map(ToString::to_string).collect();
        self.restart().await
    }

    async fn launch(&mut self) -> Result<()> {
        let mut arguments = self.arguments();
        self.append_extra(&mut arguments);
        let process = Process::spawn(
            &self.programs.server,
            &arguments,
            &self.folder,
            self.programs.user,
        )
        .await?;
        let limit = Instant::now() + START_LIMIT;
        loop {
            let refused = match self.answers().await {
                Ok(()) => {
                    self.process = Some(process);
                    return Ok(());
                }
                Err(error) => error,
            };
            if let Some(status) = process.exited(POLL).await {
                bail!(
                    "{} ended while starting ({status}); its log ends with:\n{}",
                    self.kind,
                    self.log_tail()
                );
            }
            if Instant::now() > limit {
                process.kill().await;
                let seconds = START_LIMIT.as_secs();
                return Err(refused.context(format!("{} did not answer within {seconds} s", self.kind)));
            }
        }
    }

    /// Logs in with the account that users of the server will have, and asks whose data this is: another process may
    /// have taken the port for a server with the same account.
    async fn answers(&self) -> Result<()> {
        let data = if self.kind.is_postgres() {
            let (client, connection) = tokio_postgres::connect(&self.url(""), tokio_postgres::NoTls).await?;
            let driver = tokio::spawn(connection);
            let answer = client
                .query_one("SELECT current_setting('data_directory')", &[])
                .await;
            drop(client);
            let _ = driver.await;
            answer?.try_get(0)?
        } else {
            let options = mysql_async::OptsBuilder::from_opts(mysql_async::Opts::from_url(&self.url(""))?);
            let mut connection = mysql_async::Conn::new(options.prefer_socket(false)).await?;
            let data: Option<String> = connection.query_first("SELECT @@datadir").await?;
            connection.disconnect().await?;
            data.unwrap_or_default()
        };
        let ours = self.folder.path().join("data");
        if Path::new(data.trim_end_matches('/')) != ours {
            bail!("port {} belongs to a server in {data}", self.port);
        }
        Ok(())
    }

    fn arguments(&self) -> Vec<OsString> {
        let folder = self.folder.path().display();
        let mut list = vec![];
        let mut add = |text: String| list.push(OsString::from(text));
        match self.kind {
            Kind::Postgres18 | Kind::Postgres17 | Kind::Postgres16 | Kind::Postgres15 => {
                add(format!("-D{folder}/data"));
                for setting in postgres_settings(self.port, &folder.to_string(), &self.options) {
                    add(format!("-c{setting}"));
                }
            }
            Kind::Mysql | Kind::Mariadb => {
                add("--no-defaults".to_owned());
                for argument in self.programs.base_arguments() {
                    add(argument);
                }
                for setting in mysql_settings(self.kind, self.port, &folder.to_string(), &self.options) {
                    add(format!("--{setting}"));
                }
            }
        }
        list
    }

    fn append_extra(&self, list: &mut Vec<OsString>) {
        let prefix = if self.kind.is_postgres() { "-c" } else { "" };
        list.extend(
            self.options
                .extra
                .iter()
                .map(|extra| OsString::from(format!("{prefix}{extra}"))),
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill_and_wait();
        }
    }
}

fn postgres_settings(port: u16, folder: &str, options: &Options) -> Vec<String> {
    let flush = if options.durable { "on" } else { "off" };
    let mut list = vec![
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        format!("unix_socket_directories={folder}"),
        format!("fsync={flush}"),
        format!("synchronous_commit={flush}"),
        format!("full_page_writes={flush}"),
    ];
    // One shared test server carries the slots of all tests that run at the same time.
    let rest = "wal_level=logical max_replication_slots=200 max_wal_senders=200 max_connections=400 \
                shared_buffers=64MB timezone=UTC log_timezone=UTC log_min_messages=warning";
    list.extend(rest.split_whitespace().map(str::to_owned));
    if options.tls {
        list.push("ssl=on".to_owned());
        list.push(format!("ssl_cert_file={folder}/server.pem"));
        list.push(format!("ssl_key_file={folder}/server.key"));
    }
    list
}

fn mysql_settings(kind: Kind, port: u16, folder: &str, options: &Options) -> Vec<String> {
    let (sync_binlog, at_commit) = if options.durable { (1, 1) } else { (0, 2) };
    let mut list = vec![
        format!("port={port}"),
        // Any two servers that run at the same time have different ports, so different ids.
        format!("server-id={port}"),
        format!("datadir={folder}/data"),
        format!("socket={folder}/mysql.sock"),
        format!("pid-file={folder}/mysql.pid"),
        format!("tmpdir={folder}"),
        format!("sync-binlog={sync_binlog}"),
        format!("innodb-flush-log-at-trx-commit={at_commit}"),
    ];
    // `loose-`: skipped by a server that has removed the setting.
    let common = "bind-address=127.0.0.1 log-bin=binlog loose-binlog-format=ROW binlog-row-image=FULL \
                  binlog-row-metadata=FULL innodb-buffer-pool-size=96M max-connections=400 \
                  performance-schema=OFF default-time-zone=+00:00 character-set-server=utf8mb4 \
                  loose-log-bin-trust-function-creators=1 max-allowed-packet=256M";
    list.extend(common.split_whitespace().map(str::to_owned));
    let own = match kind {
        Kind::Mariadb => "gtid-strict-mode=ON",
        Kind::Mysql | Kind::Postgres18 | Kind::Postgres17 | Kind::Postgres16 | Kind::Postgres15 => {
            "gtid-mode=ON enforce-gtid-consistency=ON mysqlx=OFF secure-file-priv=NULL"
        }
    };
    list.extend(own.split_whitespace().map(str::to_owned));
    if kind == Kind::Mariadb {
        list.push(format!("init-file={folder}/account.sql"));
    }
    if options.tls {
        list.push(format!("ssl-ca={folder}/ca.pem"));
        list.push(format!("ssl-cert={folder}/server.pem"));
        list.push(format!("ssl-key={folder}/server.key"));
    }
    list
}
