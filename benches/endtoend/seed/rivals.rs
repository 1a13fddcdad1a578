//! What a user would take instead: PostgreSQL's own subscription, pgloader, `mysqldump | mysql`.
//!
//! Each is run as its handbook says, in one go from server to server. pgloader fills the table that is there, as the others
//! do, and then in its own way a schema named after MySQL's database, where it makes the table and its indexes.

use std::process::Stdio;
use std::time::Duration;

use crate::harness::{Db, Kind, eventually};

const LIMIT: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rival {
    Native,
    Pgloader,
    PgloaderAnew,
    Dump,
}

impl Rival {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "native copy",
            Self::Pgloader => "pgloader",
            Self::PgloaderAnew => "pgloader, new table",
            Self::Dump => "mysqldump | mysql",
        }
    }

    pub(crate) fn kinds(self) -> (Kind, Kind) {
        match self {
            Self::Native => (Kind::Postgres18, Kind::Postgres18),
            Self::Pgloader | Self::PgloaderAnew => (Kind::Mariadb, Kind::Postgres18),
            Self::Dump => (Kind::Mysql, Kind::Mysql),
        }
    }

    /// Where it puts the rows.
    pub(crate) fn table(self, source: &Db) -> String {
        match self {
            Self::Native | Self::Dump | Self::Pgloader => "sbtest".to_owned(),
            Self::PgloaderAnew => format!("{}.sbtest", source.name()),
        }
    }

    pub(crate) async fn prepare(self, source: &Db, _target: &Db) {
        if self == Self::Native {
            source.exec("CREATE PUBLICATION bench FOR TABLE sbtest").await;
        }
    }

    pub(crate) async fn run(self, source: &Db, target: &Db) {
        match self {
            Self::Native => subscribe(source, target).await,
            Self::Pgloader => {
                let into = "data only, include no drop, no truncate, reset no sequences";
                let public = format!("{into} ALTER SCHEMA '{}' RENAME TO 'public'", source.name());
                pgloader(source, target, &public).await;
            }
            Self::PgloaderAnew => pgloader(source, target, "include drop").await,
            Self::Dump => {
                let dump = client("mysqldump", source);
                let fill = client("mysql", target);
                shell(&format!(
                    "{dump} --single-transaction --no-create-info --set-gtid-purged=OFF --no-tablespaces {} sbtest | {fill} {}",
                    source.name(),
                    target.name()
                ))
                .await;
            }
        }
    }

    pub(crate) async fn clean(self, source: &Db, target: &Db) {
        match self {
            Self::Native => {
                target.exec("DROP SUBSCRIPTION bench").await;
                source.exec("DROP PUBLICATION bench").await;
            }
            Self::PgloaderAnew => {
                target
                    .exec(&format!("DROP SCHEMA {} CASCADE", source.name()))
                    .await
            }
            Self::Pgloader | Self::Dump => {}
        }
    }
}

/// Until the table is ready, as the catalog says.
async fn subscribe(source: &Db, target: &Db) {
    let connection = format!(
        "CREATE SUBSCRIPTION bench CONNECTION '{}' PUBLICATION bench WITH (copy_data = true)",
        source.url()
    );
    target.exec(&connection).await;
    let ready = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate = 'r'";
    eventually(LIMIT, "the subscription's copy", async || {
        target.one(ready).await == "1"
    })
    .await;
}

/// With its usual 100,000 rows ahead it runs out of its own memory when the machine is busy.
async fn pgloader(source: &Db, target: &Db, how: &str) {
    let to = target.url().replacen("postgres://", "postgresql://", 1);
    let command = format!(
        "LOAD DATABASE FROM {} INTO {to} WITH prefetch rows = 25000, {how};",
        source.url()
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy.load");
    std::fs::write(&file, command).unwrap();
    let told = shell(&format!("pgloader {}", file.display())).await;
    // It ends with success whatever happened.
    assert!(!told.contains("ERROR"), "{told}");
}

/// A program of the unpacked MySQL, by the server's socket: a password over TCP would want TLS.
fn client(name: &str, db: &Db) -> String {
    let cache = match std::env::var("TIDELOCK_SERVERS") {
        Ok(folder) if !folder.is_empty() => folder,
        _ => "/var/cache/tidelock".to_owned(),
    };
    let libraries = format!("{cache}/mysql/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    format!(
        "$(echo {libraries}/ld-linux-*.so.*) --library-path {libraries} {cache}/mysql/usr/bin/{name} --no-defaults \
         --user=tidelock --password=tidelock --socket={}",
        db.socket().display()
    )
}

async fn shell(line: &str) -> String {
    let mut command = tokio::process::Command::new("bash");
    let command = command.args(["-c", &format!("set -o pipefail; {line}")]);
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    assert!(
        output.status.success(),
        "{line}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    [output.stdout, output.stderr]
        .map(|said| String::from_utf8_lossy(&said).into_owned())
        .concat()
}
