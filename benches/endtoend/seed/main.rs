//! How long the first copy of a table takes, beside what a user would take instead: see `rivals`.
//!
//! usage: make bench-seed     (ROWS=100000 ROUNDS=1: shorter; PAIRS=pp,mp,ap,pm,mm: some of them; POSTGRES=15: another)
//!
//! Servers of its own (PostgreSQL 18, MySQL, MariaDB), each commit flushed. PostgreSQL 15 is the distribution's, compiled
//! for speed as users have it; the 18 of scripts/servers.sh is compiled for size, and needs more time for the same. One table like sysbench's, of a million rows
//! and about 270 bytes each, into an empty one with its second index in place; from MySQL and MariaDB to PostgreSQL also as
//! the tools do it by themselves, beside each other: table and indexes are made, the indexes last (of Tidelock `schema create`
//! before, `run --once` and `schema create --after-copy` measured; pgloader makes the table too). Tidelock's time is that of `tidelock run --once`: slot or position, chunks, copy, and the end
//! of it. All tools take turns in each round, so that what else the machine does meets all; count and sums of the rows
//! are compared after each run. Prints a line per run, and the ratios of the medians with PASS or BELOW: PostgreSQL to
//! PostgreSQL at least 0.9 of the native copy, MySQL to PostgreSQL at least twice pgloader, the others at least
//! `mysqldump | mysql`.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/harness/mod.rs"]
mod harness;
#[path = "../processor.rs"]
mod processor;
mod rivals;
mod usage;

use std::time::Instant;

use harness::{Db, Kind, Options, Tidelock, private};
use rivals::Rival;
use usage::Usage;

const TABLE: &str = "id int NOT NULL PRIMARY KEY, k int NOT NULL, c char(120) NOT NULL, pad char(60) NOT NULL, \
    note varchar(80) NOT NULL";
const INDEXES: &str = "SELECT count(*) FROM pg_indexes WHERE tablename = 'sbtest'";
/// Statements that fill it have so many rows.
const FILL: u64 = 50_000;

/// Which PostgreSQL takes the part of all of them.
fn postgres() -> Kind {
    match std::env::var("POSTGRES").as_deref() {
        Ok("15") => Kind::Postgres15,
        Ok("18") | Err(_) => Kind::Postgres18,
        Ok(other) => panic!("POSTGRES={other}: 15 or 18"),
    }
}

/// The same table on every source, and empty on every target.
struct Bench {
    sources: Vec<Db>,
    targets: Vec<Db>,
    rows: u64,
}

/// From the server of one kind to that of another, beside whom, of whose speed so many times is wanted.
#[derive(Clone, Copy)]
struct Pair {
    name: &'static str,
    from: Kind,
    to: Kind,
    rivals: &'static [Rival],
    /// Tidelock makes the table, as such a rival does.
    anew: bool,
    wanted: f64,
}

/// pgloader cannot log in to MySQL 9, so MySQL's copy is measured beside pgloader's from MariaDB, of the same rows; and
/// PostgreSQL's copy to MySQL beside MySQL's own.
const PAIRS: [(&str, Pair); 7] = [
    (
        "pp",
        Pair {
            name: "PostgreSQL > PostgreSQL",
            from: Kind::Postgres18,
            to: Kind::Postgres18,
            rivals: &[Rival::Native],
            anew: false,
            wanted: 0.9,
        },
    ),
    (
        "mp",
        Pair {
            name: "MySQL > PostgreSQL",
            from: Kind::Mysql,
            to: Kind::Postgres18,
            rivals: &[Rival::Pgloader],
            anew: false,
            wanted: 2.0,
        },
    ),
    (
        "mp",
        Pair {
            name: "MySQL > PostgreSQL, anew",
            from: Kind::Mysql,
            to: Kind::Postgres18,
            rivals: &[Rival::PgloaderAnew],
            anew: true,
            wanted: 2.0,
        },
    ),
    (
        "ap",
        Pair {
            name: "MariaDB > PostgreSQL",
            from: Kind::Mariadb,
            to: Kind::Postgres18,
            rivals: &[Rival::Pgloader],
            anew: false,
            wanted: 2.0,
        },
    ),
    (
        "ap",
        Pair {
            name: "MariaDB > PostgreSQL, anew",
            from: Kind::Mariadb,
            to: Kind::Postgres18,
            rivals: &[Rival::PgloaderAnew],
            anew: true,
            wanted: 2.0,
        },
    ),
    (
        "pm",
        Pair {
            name: "PostgreSQL > MySQL",
            from: Kind::Postgres18,
            to: Kind::Mysql,
            rivals: &[Rival::Dump],
            anew: false,
            wanted: 1.0,
        },
    ),
    (
        "mm",
        Pair {
            name: "MySQL > MySQL",
            from: Kind::Mysql,
            to: Kind::Mysql,
            rivals: &[Rival::Dump],
            anew: false,
            wanted: 1.0,
        },
    ),
];

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
    let mut rivals: Vec<Rival> = vec![];
    for rival in pairs.iter().flat_map(|pair| pair.rivals) {
        if !rivals.contains(rival) {
            rivals.push(*rival);
        }
    }
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
        let ours = median(times);
        println!(
            "{:<26} {ours:>7.2} s, {:>7.0} rows/s",
            pair.name,
            rows as f64 / ours
        );
        for rival in pair.rivals {
            let place = rivals.iter().position(|one| one == rival).unwrap();
            let theirs = median(&theirs[place]);
            let ratio = theirs / ours;
            let verdict = if ratio >= pair.wanted { "PASS" } else { "BELOW" };
            println!(
                "{:<26} {theirs:>7.2} s: {ratio:.2} times its speed  {verdict} (at least {})",
                rival.name(),
                pair.wanted
            );
        }
    }
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

impl Bench {
    async fn new(rows: u64) -> Self {
        let server = async |kind: Kind| {
            // Autovacuum would fall into some runs and not into others.
            let extra = kind.is_postgres().then(|| "autovacuum=off".to_owned());
            let options = Options {
                durable: true,
                extra: extra.into_iter().collect(),
                ..Options::default()
            };
            private(kind, &options).await
        };
        let (mut sources, mut targets) = (vec![], vec![]);
        for kind in [postgres(), Kind::Mysql, Kind::Mariadb] {
            sources.push(server(kind).await);
        }
        for kind in [postgres(), Kind::Mysql] {
            targets.push(server(kind).await);
        }
        Bench {
            sources,
            targets,
            rows,
        }
    }

    fn ends(&self, from: Kind, to: Kind) -> (&Db, &Db) {
        let of = |dbs: &'_ [Db], kind: Kind| dbs.iter().position(|db| is_for(db, kind)).unwrap();
        (
            &self.sources[of(&self.sources, from)],
            &self.targets[of(&self.targets, to)],
        )
    }

    async fn fill(&self) {
        for db in self.sources.iter().chain(&self.targets) {
            make(db).await;
        }
        for source in &self.sources {
            for first in (0..self.rows).step_by(FILL as usize) {
                let (from, to) = (first + 1, (first + FILL).min(self.rows));
                source.exec(&filling(source.kind(), from, to)).await;
            }
            let analyze = if source.kind().is_postgres() {
                "VACUUM ANALYZE"
            } else {
                "ANALYZE TABLE"
            };
            source.exec(&format!("{analyze} sbtest")).await;
        }
    }

    /// The same on both engines when the rows are.
    async fn sums(&self, db: &Db, table: &str) -> Vec<Option<String>> {
        // pgloader makes wider integers.
        let id = if db.kind().is_postgres() { "id::int" } else { "id" };
        let sql = format!(
            "SELECT count(*), sum(id), sum(k), sum(id % 1009 * ascii(substring(c, {id} % 119 + 1, 1))), \
             sum(id % 1013 * ascii(substring(pad, {id} % 59 + 1, 1))), \
             sum(id % 1019 * ascii(substring(note, {id} % 72 + 1, 1))) FROM {table}"
        );
        db.rows(&sql).await.remove(0)
    }

    async fn empty(&self, from: Kind, to: Kind) {
        let (_, target) = self.ends(from, to);
        target.exec("TRUNCATE TABLE sbtest").await;
        if to.is_postgres() {
            target.exec("CHECKPOINT").await;
        }
    }

    async fn tidelock(&mut self, pair: Pair) -> f64 {
        self.empty(pair.from, pair.to).await;
        let (source, target) = self.ends(pair.from, pair.to);
        let program = Tidelock::new(&format!(
            "version = 1\n[node.a]\n{}\n[node.b]\n{}\n[[sync]]\nname = \"bench\"\nnodes = [\"a\", \"b\"]\n\
             mode = \"transactional\"\nfrom = \"a\"\ntables = [\"sbtest\"]\nseed = \"from:a\"\n{}\n",
            source.node(),
            target.node(),
            std::env::var("CONFIG").unwrap_or_default()
        ));
        let create = ["schema", "create", "--on", "b", "--execute"];
        if pair.anew {
            target.exec("DROP TABLE sbtest").await;
            program.ok(&create).await;
        }
        program.ok(&["setup", "--execute"]).await;
        let usage = self.begin(pair.from, pair.to);
        let start = Instant::now();
        program.ok(&["run", "--once"]).await;
        if pair.anew {
            program.ok(&[&create[..], &["--after-copy"]].concat()).await;
        }
        let seconds = start.elapsed().as_secs_f64();
        self.told(pair.name, "tidelock", seconds, &usage);
        let (source, target) = self.ends(pair.from, pair.to);
        assert_eq!(
            self.sums(source, "sbtest").await,
            self.sums(target, "sbtest").await,
            "{}: the rows differ",
            pair.name
        );
        program.ok(&["teardown", "--execute"]).await;
        if pair.anew {
            assert_eq!(target.one(INDEXES).await, "2", "{}", pair.name);
            target.exec("DROP TABLE sbtest").await;
            make(target).await;
        }
        seconds
    }

    async fn rival(&mut self, rival: Rival) -> f64 {
        let (from, to) = rival.kinds();
        self.empty(from, to).await;
        let (source, target) = self.ends(from, to);
        rival.prepare(source, target).await;
        let usage = self.begin(from, to);
        let (source, target) = self.ends(from, to);
        let start = Instant::now();
        rival.run(source, target).await;
        let seconds = start.elapsed().as_secs_f64();
        let name = PAIRS.iter().find(|(_, pair)| pair.from == from && pair.to == to);
        self.told(
            name.map_or("", |(_, pair)| pair.name),
            rival.name(),
            seconds,
            &usage,
        );
        let (source, target) = self.ends(from, to);
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
        let pid = |dbs: &mut [Db], kind: Kind| {
            let db = dbs.iter_mut().find(|db| is_for(db, kind)).unwrap();
            db.server().pid().unwrap()
        };
        Usage::begin(pid(&mut self.sources, from), pid(&mut self.targets, to))
    }

    fn told(&self, pair: &str, tool: &str, seconds: f64, usage: &Usage) {
        let [program, source, target] = usage.since();
        println!(
            "{pair:<26} {tool:<18} {seconds:>7.2} {:>9.0} {program:>9.2} {source:>9.2} {target:>9.2} {:>6}",
            self.rows as f64 / seconds,
            usage::load()
        );
    }
}

async fn make(db: &Db) {
    db.exec(&format!("CREATE TABLE sbtest ({TABLE})")).await;
    db.exec("CREATE INDEX sbtest_k ON sbtest (k)").await;
}

fn is_for(db: &Db, kind: Kind) -> bool {
    db.kind() == kind || db.kind().is_postgres() && kind.is_postgres()
}

fn filling(kind: Kind, from: u64, to: u64) -> String {
    let cells = "i, i * 7919 % 1000003, left(concat(h, '-', h), 119), left(h, 59), concat(right(h, 40), right(h, 32))";
    if kind.is_postgres() {
        return format!(
            "INSERT INTO sbtest SELECT {cells} FROM (SELECT i, encode(sha256(i::text::bytea), 'hex') AS h \
             FROM generate_series({from}::bigint, {to}) AS i) AS n"
        );
    }
    let depth = match kind {
        Kind::Mariadb => "max_recursive_iterations",
        _ => "cte_max_recursion_depth",
    };
    format!(
        "SET SESSION {depth} = 1000000; INSERT INTO sbtest WITH RECURSIVE n (i) AS \
         (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {to}) \
         SELECT {cells} FROM (SELECT i, sha2(i, 256) AS h FROM n) AS n"
    )
}
