//! Measures the program's memory and processor time, on two servers of its own, and says whether they are within bounds.
//!
//! usage: memory PROGRAM     (`scripts/memory.sh` builds both)
//!
//! One process of PROGRAM runs a two-way sync between PostgreSQL and MySQL through three workloads:
//! 1. one transaction of SIZE_MB (default 1024) of rows of 1 KiB in each direction, one after the other;
//! 2. ROWS (default 3600000: an hour of 1000 rows per second) in transactions of 10 rows, as fast as they go;
//! 3. IDLE_SECONDS (default 60) of silence.
//!
//! CONFIG is appended to the configuration, to compare settings (CONFIG='[limits]' and a line `stream = false`).
//!
//! Prints resident memory and processor time while it runs and a table at the end. Ends with 1 when a peak is not under
//! 128 MiB, or the silence not under 64 MiB and one second of processor time per minute, or when both sides differ.

use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tidelock::playground::{Kind, Options, Server, start};
use tokio_postgres::NoTls;

const PEAK_KIB_MAX: u64 = 128 << 10;
const IDLE_KIB_MAX: u64 = 64 << 10;
const IDLE_CPU_PER_MINUTE: f64 = 1.0;
/// Linux counts processor time in hundredths of a second.
const TICKS: f64 = 100.0;
const SAMPLE: Duration = Duration::from_millis(200);
const PRINT: Duration = Duration::from_secs(5);
/// Nothing here takes as long; a link that stands still shall not be waited for.
const LIMIT: Duration = Duration::from_secs(1200);
/// Writers of the second workload, on the PostgreSQL side.
const WRITERS: u64 = 2;
const ROWS_PER_TRANSACTION: u64 = 10;

fn main() -> Result<()> {
    let program = std::env::args_os().nth(1).context("usage: memory PROGRAM")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let good = runtime.block_on(Box::pin(measure(Path::new(&program))))?;
    if !good {
        std::process::exit(1);
    }
    Ok(())
}

fn number(name: &str, usual: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is no number")),
        Err(_) => Ok(usual),
    }
}

async fn measure(program: &Path) -> Result<bool> {
    let (size_mb, rows, idle) = (
        number("SIZE_MB", 1024)?,
        number("ROWS", 3_600_000)?,
        number("IDLE_SECONDS", 60)?,
    );
    let mut stage = Stage::new(program).await?;
    let large = size_mb * 1024;
    println!(
        "{:<34} {:>7} {:>9} {:>8}",
        "workload", "time s", "RSS MiB", "CPU s"
    );
    let mut lines = Vec::new();
    lines.push(stage.large_from_postgres(large, size_mb).await?);
    lines.push(stage.large_from_mysql(large, size_mb).await?);
    lines.push(stage.small(rows).await?);
    stage.compare().await?;
    lines.push(stage.idle(idle).await?);
    stage.watched.end()?;
    println!();
    println!(
        "{:<34} {:>7} {:>9} {:>9} {:>8} {:>9}  verdict",
        "workload", "time s", "peak MiB", "end MiB", "CPU s", "rows/s"
    );
    for line in &lines {
        println!("{line}");
    }
    Ok(lines.iter().all(|line| line.good))
}

/// A workload's result.
struct Line {
    name: String,
    seconds: f64,
    peak_kib: u64,
    end_kib: u64,
    cpu: f64,
    rows: u64,
    good: bool,
    bound: String,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let speed = if self.rows == 0 {
            0.0
        } else {
            self.rows as f64 / self.seconds
        };
        write!(
            f,
            "{:<34} {:>7.1} {:>9.1} {:>9.1} {:>8.2} {:>9.0}  {} ({})",
            self.name,
            self.seconds,
            self.peak_kib as f64 / 1024.0,
            self.end_kib as f64 / 1024.0,
            self.cpu,
            speed,
            if self.good { "PASS" } else { "FAIL" },
            self.bound
        )
    }
}

/// Two servers, the program between them, and a session on each.
struct Stage {
    // Before the servers: it must be gone first.
    watched: Watched,
    postgres: tokio_postgres::Client,
    mysql: mysql_async::Conn,
    postgres_url: String,
    _servers: (Server, Server),
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn new(program: &Path) -> Result<Stage> {
        let quiet = Options {
            extra: vec!["max_wal_size=8GB".to_owned()],
            ..Options::default()
        };
        let plain = Options::default();
        let (a, b) = tokio::try_join!(start(Kind::Postgres18, &quiet), start(Kind::Mysql, &plain))?;
        let mut mysql = mysql_async::Conn::from_url(b.url("mysql")).await?;
        mysql.query_drop("CREATE DATABASE memory").await?;
        mysql.query_drop("USE memory").await?;
        mysql
            .query_drop("SET cte_max_recursion_depth = 100000000")
            .await?;
        let postgres_url = a.url("");
        let postgres = connect(&postgres_url).await?;
        for table in ["large", "small"] {
            postgres
                .batch_execute(&format!(
                    "CREATE TABLE {table} (id bigint PRIMARY KEY, body text NOT NULL)"
                ))
                .await?;
            mysql
                .query_drop(format!(
                    "CREATE TABLE {table} (id bigint PRIMARY KEY, body longtext NOT NULL)"
                ))
                .await?;
        }
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("tidelock.toml");
        std::fs::write(
            &config,
            format!(
                "version = 1\n[node.a]\nurl = {:?}\n[node.b]\nurl = {:?}\n[[sync]]\nname = \"memory\"\n\
                 nodes = [\"a\", \"b\"]\nmode = \"merge\"\ntables = [\"large\", \"small\"]\nseed = \"none\"\n{}\n",
                format!("{postgres_url}?sslmode=disable"),
                format!("{}?ssl-mode=DISABLED", b.url("memory")),
                std::env::var("CONFIG").unwrap_or_default(),
            ),
        )?;
        let log = folder.path().join("log");
        let command = |arguments: &[&str]| -> Result<Command> {
            let mut command = Command::new(program);
            let log = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
            command.args(arguments).arg("--config").arg(&config);
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            Ok(command)
        };
        if !command(&["setup", "--execute"])?.status()?.success() {
            bail!("setup failed:\n{}", std::fs::read_to_string(&log)?);
        }
        let child = command(&["run"])?.spawn()?;
        let mut stage = Stage {
            watched: Watched::new(child, log),
            postgres,
            mysql,
            postgres_url,
            _servers: (a, b),
            _folder: folder,
        };
        let started = Instant::now();
        while stage.checkpoints().await? < 2 {
            stage.watched.sleep(started).await?;
        }
        Ok(stage)
    }

    async fn checkpoints(&mut self) -> Result<i64> {
        const QUERY: &str = "SELECT count(*) FROM tidelock.checkpoint WHERE seq >= 0";
        let here: i64 = self.postgres.query_one(QUERY, &[]).await?.try_get(0)?;
        let there: Option<i64> = self.mysql.query_first(QUERY).await?;
        Ok(here + there.unwrap_or_default())
    }

    async fn large_from_postgres(&mut self, rows: u64, size_mb: u64) -> Result<Line> {
        self.watched
            .begin(&format!("{size_mb} MB transaction, PG -> MySQL"))?;
        let insert =
            format!("INSERT INTO large SELECT n, repeat(md5(n::text), 32) FROM generate_series(1, {rows}) n");
        let writing = connect(&self.postgres_url).await?;
        let writing = tokio::spawn(async move { writing.batch_execute(&insert).await });
        let started = Instant::now();
        while !self.is_in_mysql("large", rows).await? {
            self.watched.sleep(started).await?;
        }
        writing.await??;
        self.settle().await?;
        self.watched.line(rows, PEAK_KIB_MAX, None)
    }

    async fn large_from_mysql(&mut self, rows: u64, size_mb: u64) -> Result<Line> {
        self.watched
            .begin(&format!("{size_mb} MB transaction, MySQL -> PG"))?;
        let insert = format!(
            "INSERT INTO large WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows}) \
             SELECT {rows} + n, repeat(sha2(n, 256), 16) FROM n"
        );
        let last = i64::try_from(2 * rows)?;
        let started = Instant::now();
        let mysql = &mut self.mysql;
        let watched = &mut self.watched;
        {
            let mut writing = std::pin::pin!(mysql.query_drop(insert));
            loop {
                tokio::select! {
                    written = &mut writing => break written?,
                    slept = watched.sleep(started) => slept?,
                }
            }
        }
        while self
            .postgres
            .query_opt("SELECT 1 FROM large WHERE id = $1", &[&last])
            .await?
            .is_none()
        {
            self.watched.sleep(started).await?;
        }
        self.settle().await?;
        self.watched.line(rows, PEAK_KIB_MAX, None)
    }

    async fn small(&mut self, rows: u64) -> Result<Line> {
        self.watched
            .begin(&format!("{rows} rows in transactions of {ROWS_PER_TRANSACTION}"))?;
        let each = rows / WRITERS / ROWS_PER_TRANSACTION * ROWS_PER_TRANSACTION;
        let mut writing = Vec::new();
        for writer in 0..WRITERS {
            let session = connect(&self.postgres_url).await?;
            // One round trip for all, a COMMIT for each transaction.
            let script = format!(
                "DO $$ BEGIN FOR t IN 0..{transactions} - 1 LOOP \
                   INSERT INTO small SELECT {first} + t * {ROWS_PER_TRANSACTION} + n, repeat(md5(n::text), 3) \
                     FROM generate_series(1, {ROWS_PER_TRANSACTION}) n; \
                   COMMIT; END LOOP; END $$",
                transactions = each / ROWS_PER_TRANSACTION,
                first = writer * each,
            );
            writing.push(tokio::spawn(async move { session.batch_execute(&script).await }));
        }
        let started = Instant::now();
        for writer in 1..=WRITERS {
            while !self.is_in_mysql("small", writer * each).await? {
                self.watched.sleep(started).await?;
            }
        }
        for writer in writing {
            writer.await??;
        }
        self.settle().await?;
        self.watched.line(each * WRITERS, PEAK_KIB_MAX, None)
    }

    async fn idle(&mut self, seconds: u64) -> Result<Line> {
        self.watched.begin(&format!("idle for {seconds} s"))?;
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(seconds) {
            self.watched.sleep(started).await?;
        }
        self.watched
            .line(0, IDLE_KIB_MAX, Some(IDLE_CPU_PER_MINUTE * seconds as f64 / 60.0))
    }

    async fn is_in_mysql(&mut self, table: &str, id: u64) -> Result<bool> {
        let query = format!("SELECT 1 FROM {table} WHERE id = {id}");
        let found: Option<u8> = self.mysql.query_first(query).await?;
        Ok(found.is_some())
    }

    /// What was applied comes back as an echo: waits until the program has read it too.
    async fn settle(&mut self) -> Result<()> {
        let started = Instant::now();
        let mut quiet = 0;
        while quiet < 10 {
            let before = self.watched.cpu()?;
            self.watched.sleep(started).await?;
            quiet = if self.watched.cpu()? - before < 0.02 {
                quiet + 1
            } else {
                0
            };
        }
        Ok(())
    }

    /// Both sides hold the same rows.
    async fn compare(&mut self) -> Result<()> {
        for table in ["large", "small"] {
            let query = "SELECT count(*), CAST(sum(id) AS char(30)), CAST(sum(length(body)) AS char(30)), \
                         CAST(sum(tidelock_version) AS char(30)) FROM ";
            let query = format!("{query}{table}");
            let row = self.postgres.query_one(&query, &[]).await?;
            let cell = |at| -> Result<String> { Ok(row.try_get::<_, String>(at)?.trim().to_owned()) };
            let here = (row.try_get::<_, i64>(0)?, cell(1)?, cell(2)?, cell(3)?);
            let there: Option<(i64, String, String, String)> = self.mysql.query_first(&query).await?;
            if there.as_ref() != Some(&here) {
                bail!("table {table} differs: {here:?} on PostgreSQL, {there:?} on MySQL");
            }
            println!("both sides hold the same {} rows in {table}", here.0);
        }
        Ok(())
    }
}

async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Ends with the client.
    tokio::spawn(connection);
    Ok(client)
}

/// The running program, and what the kernel says of it.
struct Watched {
    child: Child,
    log: PathBuf,
    name: String,
    begun: Instant,
    begun_cpu: f64,
    printed: Instant,
}

impl Watched {
    fn new(child: Child, log: PathBuf) -> Self {
        Watched {
            child,
            log,
            name: String::new(),
            begun: Instant::now(),
            begun_cpu: 0.0,
            printed: Instant::now(),
        }
    }

    /// A workload: the kernel's peak begins anew.
    fn begin(&mut self, name: &str) -> Result<()> {
        name.clone_into(&mut self.name);
        std::fs::write(self.proc("clear_refs"), "5").context("reset the peak")?;
        self.begun = Instant::now();
        self.begun_cpu = self.cpu()?;
        self.print()
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }

    /// A moment, in which the program must not end and its figures are printed when it is time.
    async fn sleep(&mut self, since: Instant) -> Result<()> {
        tokio::time::sleep(SAMPLE).await;
        let ended = self.child.try_wait()?;
        if ended.is_some() || since.elapsed() > LIMIT {
            let what = if ended.is_some() {
                "the program ended"
            } else {
                "it does not get on"
            };
            let log = std::fs::read_to_string(&self.log)?;
            let lines: Vec<&str> = log.lines().collect();
            bail!(
                "{what}; its last words:\n{}",
                lines[lines.len().saturating_sub(20)..].join("\n")
            );
        }
        if self.printed.elapsed() >= PRINT {
            self.print()?;
        }
        Ok(())
    }

    fn print(&mut self) -> Result<()> {
        self.printed = Instant::now();
        println!(
            "{:<34} {:>7.1} {:>9.1} {:>8.2}",
            self.name,
            self.begun.elapsed().as_secs_f64(),
            self.kib("VmRSS")? as f64 / 1024.0,
            self.cpu()? - self.begun_cpu
        );
        Ok(())
    }

    fn line(&mut self, rows: u64, kib_max: u64, cpu_max: Option<f64>) -> Result<Line> {
        self.print()?;
        let (peak_kib, cpu) = (self.kib("VmHWM")?, self.cpu()? - self.begun_cpu);
        let mut bound = format!("under {} MiB", kib_max >> 10);
        if let Some(max) = cpu_max {
            bound.push_str(&format!(", under {max:.2} s"));
        }
        Ok(Line {
            name: self.name.clone(),
            seconds: self.begun.elapsed().as_secs_f64(),
            peak_kib,
            end_kib: self.kib("VmRSS")?,
            cpu,
            rows,
            good: peak_kib < kib_max && cpu_max.is_none_or(|max| cpu < max),
            bound,
        })
    }

    fn kib(&self, field: &str) -> Result<u64> {
        let status = std::fs::read_to_string(self.proc("status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let line = line.with_context(|| format!("the kernel does not tell {field}"))?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Seconds of processor time, of all threads.
    fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(self.proc("stat"))?;
        // The second field is the name in brackets, which may hold anything.
        let (_, fields) = stat.rsplit_once(") ").context("an odd /proc/PID/stat")?;
        let ticks =
            |at: usize| -> Result<f64> { Ok(fields.split(' ').nth(at).context("a short stat")?.parse()?) };
        Ok((ticks(11)? + ticks(12)?) / TICKS)
    }

    fn end(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.end();
    }
}
