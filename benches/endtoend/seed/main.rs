//! How long the first copy of a table takes, beside what a user would take instead: see `rivals`.
//!
//! usage: make bench-seed     (ROWS=100000 ROUNDS=1: shorter; PAIRS=pp,mp,pm,mm: some of them)
//!
//! Two PostgreSQL 18 and two MySQL servers of its own, each commit flushed. One table like sysbench's, of a million rows
//! and about 270 bytes each, with its second index in place (pgloader makes table and indexes by itself, the indexes
//! last, as it likes best). Tidelock's time is that of `tidelock run --once`: slot or position, chunks, copy, and the end
//! of it. All tools take turns in each round, so that what else the machine does meets all; count and sums of the rows
//! are compared after each run. Prints a line per run, and the ratios of the medians with PASS or BELOW: PostgreSQL to
//! PostgreSQL at least 0.9 of the native copy, MySQL to PostgreSQL at least twice pgloader, the others at least
//! `mysqldump | mysql`.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/harness/mod.rs"]
mod harness;
mod processor;
mod rivals;

use std::time::Instant;

use harness::{Db, Kind, Options, Tidelock, private};
use processor::Usage;
use rivals::Rival;

const TABLE: &str = "id int NOT NULL PRIMARY KEY, k int NOT NULL, c char(120) NOT NULL, pad char(60) NOT NULL, \
    note varchar(80) NOT NULL";
/// Statements that fill it have so many rows.
const FILL: u64 = 50_000;

/// The tables and databases of the bench.
struct Bench {
    postgres: [Db; 2],
    mysql: [Db; 2],
    rows: u64,
}

/// From the first server of one kind to the second of another.
#[derive(Clone, Copy)]
struct Pair {
    name: &'static str,
    from: Kind,
    to: Kind,
    rival: Rival,
    /// So many times the rival's speed is wanted.
    wanted: f64,
}

const PAIRS: [(&str, Pair); 4] = [
    (
        "pp",
        pair(
            "PostgreSQL > PostgreSQL",
            Kind::Postgres18,
            Kind::Postgres18,
            Rival::Native,
            0.9,
        ),
    ),
    (
        "mp",
        pair(
            "MySQL > PostgreSQL",
            Kind::Mysql,
            Kind::Postgres18,
            Rival::Pgloader,
            2.0,
        ),
    ),
    (
        "pm",
        pair(
            "PostgreSQL > MySQL",
            Kind::Postgres18,
            Kind::Mysql,
            Rival::Dump,
            1.0,
        ),
    ),
    (
        "mm",
        pair("MySQL > MySQL", Kind::Mysql, Kind::Mysql, Rival::Dump, 1.0),
    ),
];

const fn pair(name: &'static str, from: Kind, to: Kind, rival: Rival, wanted: f64) -> Pair {
    Pair {
        name,
        from,
        to,
        rival,
        wanted,
    }
}

fn main() {
    // `cargo test --benches` and lists of tests ask for nothing to be measured.
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let number =
        |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(Box::pin(measure(number("ROWS", 1_000_000), number("ROUNDS", 5))));
}

async fn measure(rows: u64, rounds: u64) {
    let wanted = std::env::var("PAIRS").unwrap_or_default();
    let pairs: Vec<Pair> = PAIRS
        .into_iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.split(',').any(|one| one == *name))
        .map(|(_, pair)| pair)
        .collect();
    let mut rivals: Vec<Rival> = pairs.iter().map(|pair| pair.rival).collect();
    rivals.dedup();
    let mut bench = Bench::new(rows).await;
    bench.fill().await;
    println!(
        "{:<26} {:<18} {:>7} {:>9} {:>9} {:>9} {:>9} {:>6}",
        "pair", "tool", "time s", "rows/s", "tool s", "source s", "target s", "load"
    );
    let mut ours: Vec<Vec<f64>> = vec![vec![]; pairs.len()];
    let mut theirs: Vec<Vec<f64>> = vec![vec![]; rivals.len()];
    for _ in 0..rounds {
        for (pair, times) in pairs.iter().zip(&mut ours) {
            times.push(bench.tidelock(*pair).await);
        }
        for (rival, times) in rivals.iter().zip(&mut theirs) {
            times.push(bench.rival(*rival).await);
        }
    }
    println!("\n{rows} rows, medians of {rounds}");
    for (pair, times) in pairs.iter().zip(&ours) {
        let of_rival = rivals.iter().position(|rival| *rival == pair.rival).unwrap();
        let (ours, theirs) = (median(times), median(&theirs[of_rival]));
        let ratio = theirs / ours;
        let verdict = if ratio >= pair.wanted { "PASS" } else { "BELOW" };
        println!(
            "{:<26} {ours:>7.2} s, {:>7.0} rows/s; {} {theirs:.2} s: {ratio:.2} times its speed  {verdict} (at least {})",
            pair.name,
            rows as f64 / ours,
            pair.rival.name(),
            pair.wanted
        );
    }
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

impl Bench {
    async fn new(rows: u64) -> Self {
        let options = |extra: &[&str]| Options {
            durable: true,
            extra: extra.iter().map(ToString::to_string).collect(),
            ..Options::default()
        };
        // Autovacuum would fall into some runs and not into others.
        let (postgres, mysql) = (options(&["autovacuum=off"]), options(&[]));
        let (a, b, c, d) = tokio::join!(
            private(Kind::Postgres18, &postgres),
            private(Kind::Postgres18, &postgres),
            private(Kind::Mysql, &mysql),
            private(Kind::Mysql, &mysql)
        );
        Bench {
            postgres: [a, b],
            mysql: [c, d],
            rows,
        }
    }

    fn dbs(&self, kind: Kind) -> &[Db; 2] {
        if kind.is_postgres() {
            &self.postgres
        } else {
            &self.mysql
        }
    }

    async fn fill(&self) {
        for db in self.postgres.iter().chain(&self.mysql) {
            db.exec(&format!("CREATE TABLE sbtest ({TABLE})")).await;
            db.exec("CREATE INDEX sbtest_k ON sbtest (k)").await;
        }
        for first in (0..self.rows).step_by(FILL as usize) {
            let (from, to) = (first + 1, (first + FILL).min(self.rows));
            let cells = "i, i * 7919 % 1000003, left(concat(h, '-', h), 119), left(h, 59), concat(right(h, 40), right(h, 32))";
            let on_postgres = format!(
                "INSERT INTO sbtest SELECT {cells} FROM (SELECT i, encode(sha256(i::text::bytea), 'hex') AS h \
                 FROM generate_series({from}::bigint, {to}) AS i) AS n"
            );
            let on_mysql = format!(
                "SET SESSION cte_max_recursion_depth = 1000000; INSERT INTO sbtest WITH RECURSIVE n (i) AS \
                 (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {to}) \
                 SELECT {cells} FROM (SELECT i, sha2(i, 256) AS h FROM n) AS n"
            );
            self.postgres[0].exec(&on_postgres).await;
            self.mysql[0].exec(&on_mysql).await;
        }
        self.postgres[0].exec("VACUUM ANALYZE sbtest").await;
        self.mysql[0].exec("ANALYZE TABLE sbtest").await;
    }

    /// The same on both engines when the rows are.
    async fn sums(&self, db: &Db, table: &str) -> Vec<Option<String>> {
        let sql = format!(
            "SELECT count(*), sum(id), sum(k), sum(id % 1009 * ascii(substring(c, id % 119 + 1, 1))), \
             sum(id % 1013 * ascii(substring(pad, id % 59 + 1, 1))), \
             sum(id % 1019 * ascii(substring(note, id % 72 + 1, 1))) FROM {table}"
        );
        db.rows(&sql).await.remove(0)
    }

    async fn empty(&self, kind: Kind) {
        let target = &self.dbs(kind)[1];
        target.exec("TRUNCATE TABLE sbtest").await;
        if kind.is_postgres() {
            target.exec("CHECKPOINT").await;
        }
    }

    async fn tidelock(&mut self, pair: Pair) -> f64 {
        self.empty(pair.to).await;
        let (source, target) = (&self.dbs(pair.from)[0], &self.dbs(pair.to)[1]);
        let program = Tidelock::new(&format!(
            "version = 1\n[node.a]\n{}\n[node.b]\n{}\n[[sync]]\nname = \"bench\"\nnodes = [\"a\", \"b\"]\n\
             mode = \"transactional\"\nfrom = \"a\"\ntables = [\"sbtest\"]\nseed = \"from:a\"\n{}\n",
            source.node(),
            target.node(),
            std::env::var("CONFIG").unwrap_or_default()
        ));
        program.ok(&["setup", "--execute"]).await;
        let usage = self.begin(pair.from, pair.to);
        let start = Instant::now();
        program.ok(&["run", "--once"]).await;
        let seconds = start.elapsed().as_secs_f64();
        self.told(pair.name, "tidelock", seconds, &usage);
        let (source, target) = (&self.dbs(pair.from)[0], &self.dbs(pair.to)[1]);
        assert_eq!(
            self.sums(source, "sbtest").await,
            self.sums(target, "sbtest").await,
            "{}: the rows differ",
            pair.name
        );
        program.ok(&["teardown", "--execute"]).await;
        seconds
    }

    async fn rival(&mut self, rival: Rival) -> f64 {
        let (from, to) = rival.kinds();
        self.empty(to).await;
        let (source, target) = (&self.dbs(from)[0], &self.dbs(to)[1]);
        rival.prepare(source, target).await;
        let folder = |db: usize| self.dbs(Kind::Mysql)[db].socket();
        let sockets = [folder(0), folder(1)];
        let usage = self.begin(from, to);
        let (source, target) = (&self.dbs(from)[0], &self.dbs(to)[1]);
        let start = Instant::now();
        rival.run(source, target, &sockets).await;
        let seconds = start.elapsed().as_secs_f64();
        let name = PAIRS.iter().find(|(_, pair)| pair.from == from && pair.to == to);
        self.told(
            name.map_or("", |(_, pair)| pair.name),
            rival.name(),
            seconds,
            &usage,
        );
        let (source, target) = (&self.dbs(from)[0], &self.dbs(to)[1]);
        assert_eq!(
            self.sums(source, "sbtest").await,
            self.sums(target, &rival.table(source)).await,
            "{}: the rows differ",
            rival.name()
        );
        rival.clean(source, target).await;
        seconds
    }

    fn begin(&mut self, from: Kind, to: Kind) -> Usage {
        let pid = |dbs: &mut [Db; 2], place: usize| dbs[place].server().pid().unwrap();
        let source = pid(
            if from.is_postgres() {
                &mut self.postgres
            } else {
                &mut self.mysql
            },
            0,
        );
        let target = pid(
            if to.is_postgres() {
                &mut self.postgres
            } else {
                &mut self.mysql
            },
            1,
        );
        Usage::begin(source, target)
    }

    fn told(&self, pair: &str, tool: &str, seconds: f64, usage: &Usage) {
        let [program, source, target] = usage.since();
        println!(
            "{pair:<26} {tool:<18} {seconds:>7.2} {:>9.0} {program:>9.2} {source:>9.2} {target:>9.2} {:>6}",
            self.rows as f64 / seconds,
            processor::load()
        );
    }
}
