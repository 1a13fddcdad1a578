//! What mapping costs the stream from MySQL to PostgreSQL: ten renamed columns, a value map and a row filter that takes
//! every row, beside the same load between two tables of one form.
//!
//! usage: make bench-mapped     (CHANGES=50000 ROUNDS=3 ROWS=100000)
//!
//! Servers of its own. A table of about 270 bytes a row; while the program is away a backlog of 60 % updates, 30 % inserts
//! and 10 % deletes is made, each a statement of its own, in transactions of one row or of a thousand. The clock runs from
//! the start of the program until what was written last is on the other side. Nothing is filtered away, so both forms
//! write the same rows. Prints a line per run and the ratios of the medians; one above 1.15 is told.
#![allow(clippy::unwrap_used)]

#[path = "../tests/harness/mod.rs"]
mod harness;
#[path = "endtoend/processor.rs"]
mod processor;
#[path = "../tests/scenario/mod.rs"]
mod scenario;

use std::time::{Duration, Instant};

use harness::{Kind, Options};
use processor::{alone, family};
use scenario::{Pair, Random, Scene, Side, Way};

const FROM_MYSQL: Pair = Pair(Kind::Mysql, Kind::Postgres18);
const SOURCE: &str = "CREATE TABLE bench (id bigint NOT NULL PRIMARY KEY, status varchar(12) NOT NULL, k int NOT NULL, \
     region char(2) NOT NULL, c varchar(120) NOT NULL, pad varchar(60) NOT NULL, made datetime NOT NULL, \
     price decimal(12,2) NOT NULL, n1 int NOT NULL, n2 bigint NOT NULL, t1 varchar(20) NOT NULL, t2 varchar(20) NOT NULL)";
/// The same, as it is.
const PLAIN: &str = "CREATE TABLE bench (id bigint NOT NULL PRIMARY KEY, status varchar(12) NOT NULL, k int NOT NULL, \
     region char(2) NOT NULL, c varchar(120) NOT NULL, pad varchar(60) NOT NULL, made timestamp NOT NULL, \
     price decimal(12,2) NOT NULL, n1 int NOT NULL, n2 bigint NOT NULL, t1 varchar(20) NOT NULL, t2 varchar(20) NOT NULL)";
/// Ten columns of other names, and one of other words.
const MAPPED: &str = "CREATE TABLE bench (id bigint NOT NULL PRIMARY KEY, status smallint NOT NULL, b_k int NOT NULL, \
     b_region char(2) NOT NULL, b_c varchar(120) NOT NULL, b_pad varchar(60) NOT NULL, b_made timestamp NOT NULL, \
     b_price decimal(12,2) NOT NULL, b_n1 int NOT NULL, b_n2 bigint NOT NULL, b_t1 varchar(20) NOT NULL, b_t2 varchar(20) NOT NULL)";
const RENAMED: [&str; 10] = ["k", "region", "c", "pad", "made", "price", "n1", "n2", "t1", "t2"];
const RATIO_MAX: f64 = 1.15;
const AT_ONCE: u64 = 1_000;

/// Seconds.
#[derive(Clone, Copy)]
struct Cost {
    time: f64,
    program: f64,
    servers: f64,
}

#[derive(Clone, Copy)]
struct Size {
    rows: u64,
    changes: u64,
    per_transaction: u64,
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().expect("a number"))
}

fn main() {
    // `cargo test --benches` and lists of tests ask for nothing to be measured.
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(Box::pin(measure(
        number("ROWS", 100_000),
        number("CHANGES", 50_000),
        number("ROUNDS", 3),
    )));
}

async fn measure(rows: u64, changes: u64, rounds: u64) {
    println!(
        "{:>12} {:<8} {:>8} {:>11} {:>10} {:>10}",
        "rows a tx", "form", "time s", "changes/s", "program s", "servers s"
    );
    let mut verdicts = vec![];
    for per_transaction in [1, 1_000] {
        let size = Size {
            rows,
            changes,
            per_transaction,
        };
        let mut costs: [Vec<Cost>; 2] = [vec![], vec![]];
        for _ in 0..rounds {
            // In turn, so that what else the machine does meets both.
            for (costs, is_mapped) in costs.iter_mut().zip([false, true]) {
                let cost = one(is_mapped, size).await;
                let form = if is_mapped { "mapped" } else { "plain" };
                println!(
                    "{per_transaction:>12} {form:<8} {:>8.2} {:>11.0} {:>10.2} {:>10.2}",
                    cost.time,
                    changes as f64 / cost.time,
                    cost.program,
                    cost.servers
                );
                costs.push(cost);
            }
        }
        let ratio = |of: fn(&Cost) -> f64| median(&costs[1], of) / median(&costs[0], of);
        verdicts.push((
            per_transaction,
            ratio(|cost| cost.time),
            ratio(|cost| cost.program),
            ratio(|cost| cost.program + cost.servers),
        ));
    }
    println!("\nmapped / plain, {changes} changes, medians of {rounds}");
    for (per_transaction, time, program, all) in verdicts {
        let verdict = if time <= RATIO_MAX { "PASS" } else { "ABOVE" };
        println!(
            "{per_transaction:>5} rows a transaction: time {time:.2}, CPU of the program {program:.2}, of all processes \
             {all:.2}  {verdict} (at most {RATIO_MAX})"
        );
    }
}

fn median(costs: &[Cost], of: fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn one(is_mapped: bool, size: Size) -> Cost {
    let mut scene = Scene::private(FROM_MYSQL, Way::AToB, &[], &Options::default()).await;
    scene.more_tables.push("bench".to_owned());
    scene.a.exec(SOURCE).await;
    scene.b.exec(if is_mapped { MAPPED } else { PLAIN }).await;
    let renamed: Vec<String> = RENAMED
        .iter()
        .map(|name| format!("column.{name}.b = \"b_{name}\""))
        .collect();
    let mapping = format!(
        "[sync.table.bench]\nwhere = \"region IN ('CA', 'EU', 'US')\"\n{}\n\
         column.status.b = {{ values = {{ active = 1, closed = 0, \"on hold\" = 2 }} }}",
        renamed.join("\n")
    );
    scene.configure("from:a", if is_mapped { &mapping } else { "" });
    fill(&scene, size.rows).await;
    scene.start().await;
    scene.stop().await;
    backlog(&scene, size).await;
    let servers = [scene.a.server().pid().unwrap(), scene.b.server().pid().unwrap()];
    let spent = || servers.into_iter().map(family).sum::<f64>();
    let before = spent();
    let start = Instant::now();
    scene.run().await;
    scene.crossed_within(Duration::from_secs(600)).await;
    let time = start.elapsed().as_secs_f64();
    let cost = Cost {
        time,
        program: alone(scene.lock.pid().unwrap()),
        servers: spent() - before,
    };
    let [here, there] = [scene.a.count("bench").await, scene.b.count("bench").await];
    assert_eq!(here, there, "rows on both sides");
    scene.stop().await;
    cost
}

/// A row's cells behind its key.
fn cells(id: u64) -> String {
    let status = ["active", "closed", "on hold"][(id % 3) as usize];
    let region = ["CA", "EU", "US"][(id / 3 % 3) as usize];
    format!(
        "'{status}', {}, '{region}', '{id:0>110}', '{id:0>50}', '2026-01-02 03:04:05', {}.25, {id}, {id}, 'one {id}', 'two {id}'",
        id % 1000,
        id % 5000
    )
}

async fn fill(scene: &Scene, rows: u64) {
    let mut session = scene.db(Side::A).session().await;
    for first in (0..rows).step_by(AT_ONCE as usize) {
        let rows: Vec<String> = (first..(first + AT_ONCE).min(rows))
            .map(|id| format!("({id}, {})", cells(id)))
            .collect();
        session
            .exec(&format!("INSERT INTO bench VALUES {}", rows.join(", ")))
            .await;
    }
}

/// The same changes for every run.
async fn backlog(scene: &Scene, size: Size) {
    let mut session = scene.db(Side::A).session().await;
    let mut random = Random::fixed(7);
    let mut new = size.rows;
    for first in (0..size.changes).step_by(size.per_transaction as usize) {
        let mut statements = vec![];
        for _ in first..(first + size.per_transaction).min(size.changes) {
            let id = random.below(size.rows);
            statements.push(match random.below(10) {
                0..6 => format!(
                    "UPDATE bench SET k = k + 1, c = '{:0>110}', status = IF(status = 'active', 'closed', 'active') WHERE id = {id}",
                    random.below(1_000_000)
                ),
                6..9 => {
                    new += 1;
                    format!("INSERT INTO bench VALUES ({new}, {})", cells(new))
                }
                _ => format!("DELETE FROM bench WHERE id = {id}"),
            });
        }
        session
            .exec(&format!("BEGIN; {}; COMMIT", statements.join("; ")))
            .await;
    }
}
