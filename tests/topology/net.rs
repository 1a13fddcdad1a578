//! A sync whose nodes come and go: its config, what a running program makes of it, and what is compared and counted.
//!
//! Owns: the nodes' names, `n0` (the hub, and the seeder) to `n3`, and who takes part now.

// A part of a test binary.
#![allow(unreachable_pub)]

use crate::harness::{Db, Kind, Options, Tidelock, database, eventually, private, signal, wait_equal};
use crate::scenario::{LIMIT, Table};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

const PROBE: Table = Table {
    name: "probe",
    body: "id bigint NOT NULL PRIMARY KEY",
    key: &["id"],
    columns: &[],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Hub,
    Mesh,
    /// One way, from `n0`.
    Fan,
}

/// The program must be gone before its databases are: fields are dropped in this order.
pub struct Net {
    pub lock: Tidelock,
    pub sync: String,
    nodes: Vec<Db>,
    way: Way,
    tables: Vec<Table>,
    active: Vec<usize>,
    /// The file says each node's rank.
    pub ranked: bool,
    probes: AtomicI64,
}

impl Net {
    /// `own`: on servers of their own; MySQL and MariaDB then count writes.
    pub async fn new(hint: &str, way: Way, kinds: &[Kind], own: &[usize], tables: &[Table]) -> Net {
        let node = async |place: usize| {
            let kind = kinds[place];
            let counts = match kind {
                Kind::Mysql => Some("--performance-schema=ON"),
                Kind::Mariadb => Some("--userstat=ON"),
                _ => None,
            };
            let options = Options {
                extra: counts.into_iter().map(str::to_owned).collect(),
                ..Options::default()
            };
            let db = match own.contains(&place) {
                true => private(kind, &options).await,
                false => database(kind, hint).await,
            };
            db.with_accounts().await
        };
        let nodes = futures_util::future::join_all((0..kinds.len()).map(node)).await;
        let tables = [tables, &[PROBE]].concat();
        for db in &nodes {
            for table in &tables {
                db.exec(&table.create(db.kind())).await;
            }
        }
        Net {
            lock: Tidelock::new(""),
            sync: format!("{hint}_{}", std::process::id()),
            nodes,
            way,
            tables,
            active: Vec::new(),
            ranked: true,
            probes: AtomicI64::new(0),
        }
    }

    /// These take part from now on; all are declared but `without`. `more` is appended to the sync's keys.
    pub fn configure(&mut self, active: &[usize], without: &[usize], more: &str) {
        self.active = active.to_vec();
        // A copy of some thousand small rows takes a second or two.
        let mut config = "version = 1\n[limits]\nlease_ttl_s = 3\nchunk_rows_max = 500\ncopy_workers = 1\n\
                          copy_bytes_per_second = 100000\n"
            .to_owned();
        let declared = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(place, _)| !without.contains(place));
        for (place, db) in declared {
            let rank = if self.ranked {
                format!("rank = {}\n", place + 1)
            } else {
                String::new()
            };
            config.push_str(&format!("[node.n{place}]\n{rank}{}\n", db.node()));
        }
        let names = |of: Vec<String>| {
            of.iter()
                .map(|name| format!("{name:?}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let topology = match (self.way, active.len()) {
            (Way::Fan, _) => "mode = \"transactional\"\nfrom = \"n0\"\n",
            (_, 2) => "mode = \"merge\"\n",
            (Way::Hub, _) => "mode = \"merge\"\ntopology = \"hub:n0\"\n",
            (Way::Mesh, _) => "mode = \"merge\"\ntopology = \"mesh\"\n",
        };
        config.push_str(&format!(
            "[[sync]]\nname = \"{}\"\nnodes = [{}]\n{topology}tables = [{}]\nseed = \"from:n{}\"\n{more}\n",
            self.sync,
            names(active.iter().map(|node| format!("n{node}")).collect()),
            names(self.tables.iter().map(|table| table.name.to_owned()).collect()),
            active[0],
        ));
        self.lock.configure(&config);
    }

    pub fn db(&self, node: usize) -> &Db {
        &self.nodes[node]
    }

    pub fn db_mut(&mut self, node: usize) -> &mut Db {
        &mut self.nodes[node]
    }

    fn links(&self) -> Vec<(usize, usize)> {
        let nodes = &self.active;
        let pairs = nodes
            .iter()
            .flat_map(|one| nodes.iter().map(move |other| (*one, *other)));
        let is_link = |(one, other): &(usize, usize)| {
            one != other && (self.way == Way::Mesh || *one == 0 || (*other == 0 && self.way == Way::Hub))
        };
        pairs.filter(is_link).collect()
    }

    /// Set-up of these nodes, and a running program past the first copies.
    pub async fn start(&mut self, active: &[usize]) {
        self.configure(active, &[], "");
        self.lock.ok(&["setup", "--execute"]).await;
        self.lock.spawn();
        self.streams().await;
    }

    /// Until every link has begun.
    pub async fn streams(&mut self) {
        for (source, target) in self.links() {
            let sql = format!(
                "SELECT count(*) FROM tidelock.checkpoint WHERE sync = '{}' AND link = 'n{source}->n{target}' AND seq >= 0",
                self.sync
            );
            let limit = tokio::time::Instant::now() + LIMIT;
            while self.db(target).one(&sql).await == "0" {
                self.assert_running();
                assert!(
                    tokio::time::Instant::now() < limit,
                    "n{source}->n{target} has not begun"
                );
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// The running program takes the configuration as it is now.
    pub async fn reload(&mut self) {
        let taken = |net: &Net| net.lock.log().matches("the configuration was taken").count();
        let before = taken(self);
        signal(self.lock.pid().unwrap(), "HUP");
        let limit = tokio::time::Instant::now() + LIMIT;
        while taken(self) == before {
            self.assert_running();
            assert!(
                tokio::time::Instant::now() < limit,
                "the configuration was not taken"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn stop(&mut self) {
        let (code, _) = self.lock.term().await;
        assert_eq!(code, 0, "exit code after SIGTERM");
    }

    pub fn assert_running(&mut self) {
        assert!(self.lock.running(), "tidelock has ended by itself");
    }

    /// Statements one by one, each its own transaction unless it opens one.
    pub async fn exec(&self, node: usize, statements: &str) {
        let mut session = self.db(node).session().await;
        for statement in statements.split(';').map(str::trim).filter(|s| !s.is_empty()) {
            session.exec(statement).await;
        }
    }

    /// Waits until each node that takes part has so many of them.
    pub async fn everywhere(&mut self, what: &str, count: i64) {
        for node in self.active.clone() {
            let limit = tokio::time::Instant::now() + LIMIT;
            while self.db(node).count(what).await != count {
                self.assert_running();
                assert!(
                    tokio::time::Instant::now() < limit,
                    "{count} of {what} on n{node}"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// After all that was committed so far has crossed.
    pub async fn wait_equal(&mut self) {
        self.cross().await;
        self.assert_equal("item").await;
    }

    pub async fn cross(&mut self) {
        for node in self.active.clone() {
            let id = self.probes.fetch_add(1, Ordering::Relaxed);
            self.exec(node, &format!("INSERT INTO probe VALUES ({id})")).await;
        }
        self.everywhere("probe", self.probes.load(Ordering::Relaxed))
            .await;
    }

    /// Every column, stamps too; at once, or soon.
    pub async fn assert_equal(&self, name: &str) {
        let table = self.tables.iter().find(|table| table.name == name).unwrap();
        let mut columns = table.columns.to_vec();
        columns.extend(["tidelock_version", "tidelock_origin"]);
        for node in &self.active[1..] {
            let (one, other) = (self.db(self.active[0]), self.db(*node));
            wait_equal(one, other, table.name, table.key, &columns, LIMIT).await;
        }
    }

    pub async fn says(&mut self, what: &str) {
        eventually(LIMIT, what, async || self.lock.log().contains(what)).await;
    }

    /// So many rows of the table each node's server has inserted, updated and deleted so far (PostgreSQL: logged, since it
    /// was asked first).
    pub async fn writes(&self, table: &str) -> BTreeMap<usize, i64> {
        let mut found = BTreeMap::new();
        for node in &self.active {
            let count = match self.db(*node).kind().is_postgres() {
                true => logged(self.db(*node), table).await,
                false => handled(self.db(*node), table).await,
            };
            found.insert(*node, count);
        }
        found
    }

    /// Nothing of the node is left on those that stay but its name and rank, and nothing of the sync on it.
    pub async fn forgot(&self, gone: usize) {
        for node in &self.active {
            let db = self.db(*node);
            let of = format!("WHERE sync = '{}' AND link LIKE '%n{gone}%'", self.sync);
            for table in ["checkpoint", "lease", "link_state", "parked", "resync"] {
                assert_eq!(
                    db.count(&format!("tidelock.{table} {of}")).await,
                    0,
                    "{table} on n{node}"
                );
            }
            let state = format!(
                "SELECT state FROM tidelock.node WHERE sync = '{}' AND name = 'n{gone}'",
                self.sync
            );
            assert_eq!(db.one(&state).await, "left", "on n{node}");
            if db.kind().is_postgres() {
                let slots = format!(
                    "pg_replication_slots WHERE database = current_database() AND slot_name LIKE '%_n{gone}'"
                );
                assert_eq!(db.count(&slots).await, 0, "slots for n{gone} on n{node}");
            }
        }
        let (db, kind) = (self.db(gone), self.db(gone).kind());
        let schema = match kind.is_postgres() {
            true => "pg_namespace WHERE nspname = 'tidelock'",
            // A shared server has that of others.
            false => "information_schema.schemata WHERE schema_name = 'tidelock'",
        };
        if db.count(schema).await > 0 {
            let nodes = format!("tidelock.node WHERE sync = '{}'", self.sync);
            assert_eq!(db.count(&nodes).await, 0, "nodes of the sync on n{gone}");
        }
    }

    /// When nobody writes any more, no tombstone is left on any node.
    pub async fn all_collected(&self, table: &str) {
        for node in &self.active {
            let sql = format!(
                "SELECT tombstones FROM tidelock.table_state WHERE sync = '{}' AND table_name = '{table}'",
                self.sync
            );
            let stones = format!("tidelock.{}", self.db(*node).one(&sql).await);
            eventually(LIMIT, &format!("no tombstone on n{node}"), async || {
                self.db(*node).count(&stones).await == 0
            })
            .await;
        }
    }
}

/// By the log, as another reader of our publication sees it.
async fn logged(db: &Db, table: &str) -> i64 {
    let mut admin = db.admin().await;
    let slot = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'counter_' || current_database()";
    if admin.one(slot).await == "0" {
        admin
            .rows("SELECT pg_create_logical_replication_slot('counter_' || current_database(), 'pgoutput')")
            .await;
    }
    let sql = format!(
        "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('counter_' || current_database(), NULL, NULL, 'proto_version', \
         '1', 'publication_names', (SELECT pubname::text FROM pg_publication WHERE pubname LIKE 'tidelock%')) \
         WHERE convert_from(substring(data FROM 1 FOR 1), 'SQL_ASCII') IN ('I', 'U', 'D') \
         AND substring(data FROM 2 FOR 4) = int4send('{table}'::regclass::oid::int)"
    );
    admin.one(&sql).await.parse().unwrap()
}

/// By the server's own figures, once it says the same twice.
async fn handled(db: &Db, table: &str) -> i64 {
    let sql = match db.kind() {
        Kind::Mysql => format!(
            "SELECT count_insert + count_update + count_delete FROM performance_schema.table_io_waits_summary_by_table \
             WHERE object_schema = '{}' AND object_name = '{table}'",
            db.name()
        ),
        _ => format!(
            "SELECT CAST(coalesce(sum(rows_changed), 0) AS SIGNED) FROM information_schema.table_statistics \
             WHERE table_schema = '{}' AND table_name = '{table}'",
            db.name()
        ),
    };
    let mut admin = db.admin().await;
    let mut last = String::new();
    eventually(LIMIT, "the server to have counted", async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = admin.one(&sql).await;
        std::mem::replace(&mut last, now.clone()) == now
    })
    .await;
    last.parse().unwrap()
}
