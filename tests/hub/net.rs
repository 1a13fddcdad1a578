//! A sync of three fresh databases: config, set-up, run, compare.
//!
//! Owns: the nodes' names, `n0` (the hub, and the seeder) to `n2`; the probes that are behind everything else in a log.

// A part of a test binary.
#![allow(unreachable_pub)]

use crate::harness::{Db, Kind, Options, Tidelock, database, eventually, private, wait_equal};
use crate::scenario::contest::Field;
use crate::scenario::{LIMIT, Table};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

const PROBE: Table = Table {
    name: "probe",
    body: "id bigint NOT NULL PRIMARY KEY",
    key: &["id"],
    columns: &[],
};

#[derive(Clone, Copy, Debug)]
pub enum Shape {
    Hub([Kind; 3]),
    Mesh([Kind; 3]),
}

impl Shape {
    fn kinds(self) -> [Kind; 3] {
        match self {
            Shape::Hub(kinds) | Shape::Mesh(kinds) => kinds,
        }
    }

    fn links(self) -> Vec<(usize, usize)> {
        match self {
            Shape::Hub(_) => vec![(0, 1), (1, 0), (0, 2), (2, 0)],
            Shape::Mesh(_) => vec![(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)],
        }
    }
}

/// The program must be gone before its databases are: fields are dropped in this order.
pub struct Net {
    pub lock: Tidelock,
    pub sync: String,
    nodes: Vec<Db>,
    shape: Shape,
    tables: Vec<Table>,
    probes: AtomicI64,
}

impl Net {
    pub async fn new(hint: &str, shape: Shape, tables: &[Table]) -> Net {
        let [a, b, c] = shape.kinds();
        let (a, b, c) = tokio::join!(database(a, hint), database(b, hint), database(c, hint));
        Self::on([a, b, c], shape, tables).await
    }

    /// These nodes on servers of their own, where nobody else writes.
    pub async fn with_private(hint: &str, shape: Shape, own: &[usize], tables: &[Table]) -> Net {
        let node = async |place: usize| {
            let kind = shape.kinds()[place];
            // What autovacuum writes by itself would look like a write of ours.
            let extra = kind.is_postgres().then(|| "autovacuum=off".to_owned());
            let options = Options {
                extra: extra.into_iter().collect(),
                ..Options::default()
            };
            match own.contains(&place) {
                true => private(kind, &options).await,
                false => database(kind, hint).await,
            }
        };
        let (a, b, c) = tokio::join!(node(0), node(1), node(2));
        Self::on([a, b, c], shape, tables).await
    }

    async fn on(nodes: [Db; 3], shape: Shape, tables: &[Table]) -> Net {
        let [a, b, c] = nodes;
        let (a, b, c) = tokio::join!(a.with_accounts(), b.with_accounts(), c.with_accounts());
        let tables = [tables, &[PROBE]].concat();
        let nodes = vec![a, b, c];
        for db in &nodes {
            for table in &tables {
                db.exec(&table.create(db.kind())).await;
            }
        }
        let mut net = Net {
            lock: Tidelock::new(""),
            sync: nodes[0].name().to_owned(),
            nodes,
            shape,
            tables,
            probes: AtomicI64::new(0),
        };
        net.configure("from:n0", "");
        net
    }

    /// `more` is appended to the sync's keys.
    pub fn configure(&mut self, seed: &str, more: &str) {
        let mut config = "version = 1\n".to_owned();
        for (place, db) in self.nodes.iter().enumerate() {
            config.push_str(&format!("[node.n{place}]\n{}\n", db.node()));
        }
        let names: Vec<String> = self
            .tables
            .iter()
            .map(|table| format!("{:?}", table.name))
            .collect();
        let topology = match self.shape {
            Shape::Hub(_) => "hub:n0",
            Shape::Mesh(_) => "mesh",
        };
        config.push_str(&format!(
            "[[sync]]\nname = \"{}\"\nnodes = [\"n0\", \"n1\", \"n2\"]\nmode = \"merge\"\ntopology = \"{topology}\"\n\
             tables = [{}]\nseed = \"{seed}\"\n{more}\n",
            self.sync,
            names.join(", ")
        ));
        self.lock.configure(&config);
    }

    pub fn db(&self, node: usize) -> &Db {
        &self.nodes[node]
    }

    pub fn db_mut(&mut self, node: usize) -> &mut Db {
        &mut self.nodes[node]
    }

    /// As the program names them.
    pub fn links(&self) -> Vec<String> {
        let links = self.shape.links().into_iter();
        links
            .map(|(source, target)| format!("n{source}->n{target}"))
            .collect()
    }

    /// Set-up and a running program, past the first copies.
    pub async fn start(&mut self) {
        self.lock.ok(&["setup", "--execute"]).await;
        self.run();
        let limit = tokio::time::Instant::now() + LIMIT;
        while self.groups().await.len() < self.shape.links().len() {
            self.assert_running();
            assert!(tokio::time::Instant::now() < limit, "not all links have begun");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    pub fn run(&mut self) {
        self.lock.spawn();
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

    /// Links that rest when this returns.
    pub async fn pause(&self, links: &[&str]) {
        for link in links {
            self.lock.ok(&["pause", &format!("{}/{link}", self.sync)]).await;
        }
        for link in links {
            let rests = format!("\"link\":\"{link}\"");
            eventually(LIMIT, &format!("{link} to rest"), async || {
                let log = self.lock.log();
                let mut lines = log.lines().filter(|line| line.contains(&rests));
                lines.any(|line| line.contains("\"event\":\"paused\""))
            })
            .await;
        }
    }

    pub async fn resume(&self, links: &[&str]) {
        for link in links {
            self.lock.ok(&["resume", &format!("{}/{link}", self.sync)]).await;
        }
    }

    /// Waits until each node has so many of them.
    pub async fn everywhere(&mut self, what: &str, count: i64) {
        for node in 0..3 {
            let limit = tokio::time::Instant::now() + LIMIT;
            while self.db(node).count(what).await != count {
                self.assert_running();
                assert!(
                    tokio::time::Instant::now() < limit,
                    "{count} of {what} on n{node}"
                );
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }

    /// Groups that each link has applied past its first copy, as its target says.
    pub async fn groups(&self) -> BTreeMap<(usize, usize), i64> {
        let mut groups = BTreeMap::new();
        for (source, target) in self.shape.links() {
            let sql = format!(
                "SELECT seq FROM tidelock.checkpoint WHERE sync = '{}' AND link = 'n{source}->n{target}' AND seq >= 0",
                self.sync
            );
            if let Some(row) = self.db(target).rows(&sql).await.into_iter().next() {
                let seq = row[0].as_ref().unwrap().parse().unwrap();
                groups.insert((source, target), seq);
            }
        }
        groups
    }

    pub fn field(&self) -> Field<'_> {
        Field {
            nodes: self.nodes.iter().collect(),
            sync: &self.sync,
        }
    }

    /// Waits until all that was committed so far has been applied, and its conflicts recorded.
    pub async fn crossed(&mut self) {
        for node in 0..3 {
            let id = self.probes.fetch_add(1, Ordering::Relaxed);
            self.exec(node, &format!("INSERT INTO probe VALUES ({id})")).await;
        }
        let all = self.probes.load(Ordering::Relaxed);
        self.everywhere("probe", all).await;
    }

    /// Every table, every column, stamps too, after all that was committed so far has crossed.
    pub async fn wait_equal(&mut self) {
        self.crossed().await;
        for table in self.tables.clone() {
            for node in 1..3 {
                self.assert_running();
                let (one, other) = (self.db(0), self.db(node));
                wait_equal(one, other, table.name, table.key, &columns(&table), LIMIT).await;
            }
        }
    }

    pub async fn assert_equal(&self) {
        for table in &self.tables {
            for node in 1..3 {
                let (one, other) = (self.db(0), self.db(node));
                crate::harness::equal(one, other, table.name, table.key, &columns(table)).await;
            }
        }
    }

    /// Makes every record older.
    pub async fn age(&self, days: u32) {
        for db in &self.nodes {
            let ago = match db.kind().is_postgres() {
                true => format!("recorded_at - interval '{days} days'"),
                false => format!("recorded_at - INTERVAL {days} DAY"),
            };
            let of = format!("WHERE sync = '{}'", self.sync);
            db.exec(&format!("UPDATE tidelock.conflict SET recorded_at = {ago} {of}"))
                .await;
        }
    }

    /// When nobody writes any more, no tombstone is left on any node.
    pub async fn all_collected(&self, table: &str) {
        for (node, db) in self.nodes.iter().enumerate() {
            let sql = format!(
                "SELECT tombstones FROM tidelock.table_state WHERE sync = '{}' AND table_name = '{table}'",
                self.sync
            );
            let stones = format!("tidelock.{}", db.one(&sql).await);
            eventually(LIMIT, &format!("no tombstone on n{node}"), async || {
                db.count(&stones).await == 0
            })
            .await;
        }
    }

    /// How many each node has recorded.
    pub async fn conflicts(&self) -> Vec<i64> {
        let of = format!("tidelock.conflict WHERE sync = '{}'", self.sync);
        let mut counts = Vec::new();
        for db in &self.nodes {
            counts.push(db.count(&of).await);
        }
        counts
    }

    pub async fn assert_no_conflicts(&self) {
        for node in 0..3 {
            let sql = format!(
                "SELECT link, table_name, key_json, kind, detail FROM tidelock.conflict WHERE sync = '{}'",
                self.sync
            );
            let found = self.db(node).rows(&sql).await;
            assert!(found.is_empty(), "conflicts on n{node}: {found:?}");
        }
    }
}

fn columns(table: &Table) -> Vec<&'static str> {
    let mut columns = table.columns.to_vec();
    columns.extend(["tidelock_version", "tidelock_origin"]);
    columns
}
