//! A sync between two fresh databases, as a test drives it: tables on both sides, config, set-up, run, compare.
//!
//! Owns: the pairs of engines under test, portable table definitions, starting and stopping, reading the record of
//! conflicts. What happens in between is the test's own matter.

// Each test binary uses its part.
#![allow(dead_code, unreachable_pub, unused_imports)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value as Json;

use crate::harness::{Db, Kind, Options, Session, Tidelock, database, eventually, peer, private, wait_equal};

pub use counters::{COUNTER, DONE, assert_counted, base, insert_counters};
pub use load::{Loader, numbers};
pub use random::Random;
pub use shop::{DOC, ITEM, LINE, ORDER_HEAD, ORDER_LINE, SEAT, SHOP, WORD};

pub mod account;
pub mod cases;
pub mod changes;
pub mod contest;
pub mod copying;
mod counters;
mod load;
pub mod own;
mod random;
mod shop;

/// Far above what anything here takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(90);

/// What is behind everything else in a log.
const PROBE: Table = Table {
    name: "probe",
    body: "id bigint NOT NULL PRIMARY KEY",
    key: &["id"],
    columns: &[],
};

#[derive(Clone, Copy, Debug)]
pub struct Pair(pub Kind, pub Kind);

pub const NEW: Pair = Pair(Kind::Postgres18, Kind::Mysql);
pub const OLD: Pair = Pair(Kind::Postgres15, Kind::Mariadb);
pub const POSTGRES: Pair = Pair(Kind::Postgres18, Kind::Postgres15);
/// Two databases of one server.
pub const ONE_SERVER: Pair = Pair(Kind::Postgres18, Kind::Postgres18);
pub const MYSQL: Pair = Pair(Kind::Mysql, Kind::Mysql);
pub const MARIADB: Pair = Pair(Kind::Mariadb, Kind::Mariadb);
pub const FLAVORS: Pair = Pair(Kind::Mysql, Kind::Mariadb);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Merge,
    AToB,
    BToA,
}

impl Way {
    /// Nodes that users may write to.
    pub fn sources(self) -> &'static [Side] {
        match self {
            Self::Merge => &[Side::A, Side::B],
            Self::AToB => &[Side::A],
            Self::BToA => &[Side::B],
        }
    }

    /// The keys of the sync's table in the config, but for nodes and tables.
    fn config(self) -> &'static str {
        match self {
            Self::Merge => "mode = \"merge\"",
            Self::AToB => "mode = \"transactional\"\nfrom = \"a\"",
            Self::BToA => "mode = \"transactional\"\nfrom = \"b\"",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    A,
    B,
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A table that exists on both nodes.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    pub name: &'static str,
    /// Between the brackets of CREATE TABLE; empty where the test makes the table itself. `{text}`, `{word}`, `{bytes}`: the engine's types for long text, for
    /// text that is compared byte by byte, and for long bytes.
    pub body: &'static str,
    pub key: &'static [&'static str],
    pub columns: &'static [&'static str],
}

impl Table {
    pub fn create(&self, kind: Kind) -> String {
        let types = if kind.is_postgres() {
            [
                ("{text}", "text"),
                ("{word}", "varchar(60)"),
                ("{bytes}", "bytea"),
            ]
        } else {
            [
                ("{text}", "longtext"),
                ("{word}", "varchar(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
                ("{bytes}", "longblob"),
            ]
        };
        let body = types.iter().fold(self.body.to_owned(), |body, (mark, name)| {
            body.replace(mark, name)
        });
        format!("CREATE TABLE {} ({body})", self.name)
    }
}

/// One conflict as a node recorded it.
#[derive(Debug, Clone)]
pub struct Conflict {
    pub table: String,
    pub key: Json,
    pub kind: String,
    pub outcome: String,
    pub operation: String,
    pub base: Option<Json>,
    pub local: Option<Json>,
    pub incoming: Option<Json>,
    pub detail: String,
}

/// The fields are dropped in this order: the program must be gone before its databases are.
pub struct Scene {
    pub lock: Tidelock,
    probes: AtomicU64,
    pub a: Db,
    pub b: Db,
    pub sync: String,
    pub way: Way,
    /// Names in the config beside the tables that are compared.
    pub more_tables: Vec<String>,
    tables: Vec<Table>,
}

impl Scene {
    /// Two databases on the shared servers, with the tables and nothing else.
    pub async fn new(hint: &str, pair: Pair, way: Way, tables: &[Table]) -> Self {
        let b = async {
            match pair.0 == pair.1 {
                true => peer(pair.1, hint).await,
                false => database(pair.1, hint).await,
            }
        };
        let (a, b) = tokio::join!(database(pair.0, hint), b);
        Self::on(a, b, way, tables).await
    }

    /// The same on servers of the test's own.
    pub async fn private(pair: Pair, way: Way, tables: &[Table], options: &Options) -> Self {
        let quiet = |kind: Kind| {
            let mut quiet = options.clone();
            // What autovacuum writes by itself would look like a write of ours.
            quiet
                .extra
                .extend(kind.is_postgres().then(|| "autovacuum=off".to_owned()));
            quiet
        };
        let (of_a, of_b) = (quiet(pair.0), quiet(pair.1));
        let (a, b) = tokio::join!(private(pair.0, &of_a), private(pair.1, &of_b));
        Self::on(a, b, way, tables).await
    }

    /// The second database on a server of the test's own, with these arguments.
    pub async fn with_b(hint: &str, pair: Pair, way: Way, tables: &[Table], extra: &[&str]) -> Self {
        let options = Options {
            extra: extra.iter().map(ToString::to_string).collect(),
            ..Options::default()
        };
        let (a, b) = tokio::join!(database(pair.0, hint), private(pair.1, &options));
        Self::on(a, b, way, tables).await
    }

    /// Every account of the program is one that has no more than it must: see `harness::accounts`.
    pub async fn on(a: Db, b: Db, way: Way, tables: &[Table]) -> Self {
        let (a, b) = tokio::join!(a.with_accounts(), b.with_accounts());
        let tables = [tables, &[PROBE]].concat();
        for db in [&a, &b] {
            for table in tables.iter().filter(|table| !table.body.is_empty()) {
                db.exec(&table.create(db.kind())).await;
            }
        }
        let sync = a.name().to_owned();
        let mut scene = Self {
            a,
            b,
            lock: Tidelock::new(""),
            sync,
            way,
            more_tables: Vec::new(),
            tables,
            probes: AtomicU64::new(0),
        };
        let seed = if way == Way::BToA { "from:b" } else { "from:a" };
        scene.configure(seed, "");
        scene
    }

    /// Writes the config file; `more` is appended to the sync's keys.
    pub fn configure(&mut self, seed: &str, more: &str) {
        let names = self.tables.iter().map(|table| table.name);
        let names = names.chain(self.more_tables.iter().map(String::as_str));
        let names: Vec<String> = names.map(|name| toml::Value::from(name).to_string()).collect();
        let config = format!(
            "version = 1\n[node.a]\n{}\n[node.b]\n{}\n\
             [[sync]]\nname = \"{}\"\nnodes = [\"a\", \"b\"]\n{}\ntables = [{}]\nseed = \"{seed}\"\n{more}\n",
            self.a.node(),
            self.b.node(),
            self.sync,
            self.way.config(),
            names.join(", "),
        );
        self.lock.configure(&config);
    }

    /// Set-up and a running program, past the first copy.
    pub async fn start(&mut self) {
        self.lock.ok(&["setup", "--execute"]).await;
        self.run().await;
        self.streaming().await;
    }

    /// Starts the program in the background.
    pub async fn run(&mut self) {
        self.lock.spawn();
    }

    /// Waits until every link has a checkpoint past its first copy: from here on nothing is written unseen.
    pub async fn streaming(&mut self) {
        for target in self.targets() {
            let limit = tokio::time::Instant::now() + LIMIT;
            loop {
                let sql = format!(
                    "SELECT count(*) FROM tidelock.checkpoint WHERE sync = '{}' AND seq >= 0",
                    self.sync
                );
                if self.db(target).one(&sql).await != "0" {
                    break;
                }
                self.assert_running();
                assert!(
                    tokio::time::Instant::now() < limit,
                    "no checkpoint on {target:?} after {LIMIT:?}"
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    pub fn assert_running(&mut self) {
        assert!(self.lock.running(), "tidelock has ended by itself");
    }

    /// Asks the program to end; it must do so in time and without complaint.
    pub async fn stop(&mut self) {
        let (code, seconds) = self.lock.term().await;
        assert_eq!(code, 0, "exit code after SIGTERM");
        assert!(seconds < 10.0, "it took {seconds} s to leave");
    }

    /// Runs what both sides' users do while Tidelock is away, then runs it again until both sides are equal.
    pub async fn apart(&mut self, on_a: &str, on_b: &str) {
        self.stop().await;
        self.exec(Side::A, on_a).await;
        self.exec(Side::B, on_b).await;
        self.run().await;
        self.wait_equal().await;
    }

    /// Statements one by one, each its own transaction unless it opens one.
    pub async fn exec(&self, side: Side, statements: &str) {
        let mut session = self.db(side).session().await;
        for statement in statements.split(';').map(str::trim).filter(|s| !s.is_empty()) {
            session.exec(statement).await;
        }
    }

    pub fn db_mut(&mut self, side: Side) -> &mut Db {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    pub fn db(&self, side: Side) -> &Db {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    pub fn targets(&self) -> Vec<Side> {
        match self.way {
            Way::Merge => vec![Side::A, Side::B],
            Way::AToB => vec![Side::B],
            Way::BToA => vec![Side::A],
        }
    }

    /// Waits until all that was committed so far has been applied, and its conflicts recorded: what is written now
    /// is behind it in the log.
    pub async fn crossed(&mut self) {
        self.crossed_within(LIMIT).await;
    }

    pub async fn crossed_within(&mut self, limit: Duration) {
        let id = self.probes.fetch_add(1, Ordering::Relaxed);
        for source in self.way.sources() {
            let id = if *source == Side::A { id } else { id + 1_000_000 };
            self.exec(*source, &format!("INSERT INTO probe VALUES ({id})"))
                .await;
        }
        for source in self.way.sources() {
            let (id, target) = if *source == Side::A {
                (id, Side::B)
            } else {
                (id + 1_000_000, Side::A)
            };
            let limit = tokio::time::Instant::now() + limit;
            while self.db(target).count(&format!("probe WHERE id = {id}")).await == 0 {
                self.assert_running();
                assert!(
                    tokio::time::Instant::now() < limit,
                    "nothing comes to {target:?} any more"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Every table, every column, after all that was committed so far has crossed.
    pub async fn wait_equal(&mut self) {
        self.crossed().await;
        for table in self.tables.clone() {
            self.assert_running();
            wait_equal(
                &self.a,
                &self.b,
                table.name,
                table.key,
                &self.columns(&table),
                LIMIT,
            )
            .await;
        }
    }

    pub async fn assert_equal(&self) {
        for table in &self.tables {
            crate::harness::equal(&self.a, &self.b, table.name, table.key, &self.columns(table)).await;
        }
    }

    /// Stamps are compared too: equal rows with different stamps decide their next conflict differently.
    pub fn columns(&self, table: &Table) -> Vec<&'static str> {
        let mut columns = table.columns.to_vec();
        if self.way == Way::Merge {
            columns.extend(["tidelock_version", "tidelock_origin"]);
        }
        columns
    }

    /// What a node has recorded, oldest first.
    pub async fn conflicts(&self, side: Side) -> Vec<Conflict> {
        conflicts_of(self.db(side), &self.sync).await
    }

    /// When nobody writes any more, no tombstone is left on either side.
    pub async fn all_collected(&self, table: &str) {
        for side in [Side::A, Side::B] {
            let sql = format!(
                "SELECT tombstones FROM tidelock.table_state WHERE sync = '{}' AND table_name = '{table}'",
                self.sync
            );
            let stones = format!("tidelock.{}", self.db(side).one(&sql).await);
            eventually(LIMIT, &format!("no tombstone on {side:?}"), async || {
                self.db(side).count(&stones).await == 0
            })
            .await;
        }
    }

    /// Panics with what was recorded.
    pub async fn assert_no_conflicts(&self) {
        for side in self.targets() {
            let found = self.conflicts(side).await;
            assert!(
                found.is_empty(),
                "{} conflicts on {side:?}; the first: {:?}",
                found.len(),
                found[0]
            );
        }
    }
}

/// What a node has recorded of a sync, oldest first.
pub async fn conflicts_of(db: &Db, sync: &str) -> Vec<Conflict> {
    let sql = format!(
        "SELECT table_name, key_json, kind, outcome, operation, base_json, local_json, incoming_json, detail \
         FROM tidelock.conflict WHERE sync = '{sync}' ORDER BY number"
    );
    db.rows(&sql).await.into_iter().map(conflict).collect()
}

fn conflict(row: Vec<Option<String>>) -> Conflict {
    let json = |cell: &Option<String>| cell.as_ref().map(|text| serde_json::from_str(text).unwrap());
    let text = |cell: &Option<String>| cell.clone().unwrap_or_default();
    Conflict {
        table: text(&row[0]),
        key: json(&row[1]).unwrap_or_default(),
        kind: text(&row[2]),
        outcome: text(&row[3]),
        operation: text(&row[4]),
        base: json(&row[5]),
        local: json(&row[6]),
        incoming: json(&row[7]),
        detail: text(&row[8]),
    }
}

/// Makes one test per pair of engines: `pairs!(name => scenario;)`.
#[macro_export]
macro_rules! pairs {
    ($($name:ident => $scenario:expr;)+) => {
        $crate::pair_tests!(postgres18_mysql, scenario::NEW, $($name => $scenario;)+);
        $crate::pair_tests!(postgres15_mariadb, scenario::OLD, $($name => $scenario;)+);
    };
}

/// Long ones: on the first pair, and on the second in `make test-all` only.
#[macro_export]
macro_rules! long_pairs {
    ($($name:ident => $scenario:expr;)+) => {
        $crate::pair_tests!(long_postgres18_mysql, scenario::NEW, $($name => $scenario;)+);
        $crate::pair_tests!(long_postgres15_mariadb, scenario::OLD, #[ignore = "make test-all"] $($name => $scenario;)+);
    };
}

/// As `pairs!`, and one test per pair of one kind and of MySQL with MariaDB, which only `make test-all` runs.
#[macro_export]
macro_rules! all_pairs {
    ($($name:ident => $scenario:expr;)+) => {
        $crate::pairs!($($name => $scenario;)+);
        $crate::pair_tests!(postgres18_postgres15, scenario::POSTGRES, #[ignore = "make test-all"] $($name => $scenario;)+);
        $crate::pair_tests!(postgres18_postgres18, scenario::ONE_SERVER, #[ignore = "make test-all"] $($name => $scenario;)+);
        $crate::pair_tests!(mysql_mysql, scenario::MYSQL, #[ignore = "make test-all"] $($name => $scenario;)+);
        $crate::pair_tests!(mariadb_mariadb, scenario::MARIADB, #[ignore = "make test-all"] $($name => $scenario;)+);
        $crate::pair_tests!(mysql_mariadb, scenario::FLAVORS, #[ignore = "make test-all"] $($name => $scenario;)+);
    };
}

#[macro_export]
macro_rules! pair_tests {
    ($module:ident, $pair:expr, #[$all:meta] $($name:ident => $scenario:expr;)+) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[$all]
            async fn $name() {
                use super::*;
                ($scenario)($pair).await;
            })+
        }
    };
    ($module:ident, $pair:expr, $($name:ident => $scenario:expr;)+) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                use super::*;
                ($scenario)($pair).await;
            })+
        }
    };
}
