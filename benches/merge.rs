//! What merge costs beside transactional mode, on a load without conflicts: time, and processor time of all processes,
//! ours and the servers'.
//!
//! usage: make bench-merge     (ROWS=20000 ROUNDS=3)
//!
//! PostgreSQL 18 and MySQL, servers of its own, with and without flushing each commit. The same writes (inserts, an
//! update of every row, a delete of every fourth, in transactions of ten) go to the PostgreSQL side while the program
//! runs; the clock stops when they are on the other side. In merge mode stamps, triggers and tombstones are part of
//! the cost, and so are the other link, which reads the echoes, and the collection. Prints a line per run and the
//! ratios of the medians; a ratio above 1.6 is told, the aim is 1.3.
#![allow(clippy::unwrap_used)]

#[path = "../tests/harness/mod.rs"]
mod harness;
#[path = "endtoend/processor.rs"]
mod processor;
#[path = "../tests/scenario/mod.rs"]
mod scenario;

use std::time::{Duration, Instant};

use harness::Options;
use processor::{alone, family};
use scenario::{NEW, Scene, Side, Table, Way};

const ROW: Table = Table {
    name: "bench",
    body: "id bigint NOT NULL PRIMARY KEY, n int NOT NULL, note varchar(100)",
    key: &["id"],
    columns: &["n", "note"],
};

const PER_TRANSACTION: u64 = 10;
const RATIO_MAX: f64 = 1.6;

/// Seconds.
#[derive(Clone, Copy)]
struct Cost {
    time: f64,
    program: f64,
    source: f64,
    target: f64,
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
    runtime.block_on(Box::pin(measure(number("ROWS", 20_000), number("ROUNDS", 3))));
}

async fn measure(rows: u64, rounds: u64) {
    println!(
        "{:<22} {:<14} {:>8} {:>10} {:>10} {:>10}",
        "durability", "mode", "time s", "program s", "source s", "target s"
    );
    let mut verdicts = vec![];
    for durable in [true, false] {
        let name = if durable {
            "each commit flushed"
        } else {
            "not flushed"
        };
        let mut costs: [Vec<Cost>; 2] = [vec![], vec![]];
        for _ in 0..rounds {
            // In turn, so that what else the machine does meets both.
            for (index, way) in [Way::AToB, Way::Merge].into_iter().enumerate() {
                let cost = one(way, durable, rows).await;
                let mode = if way == Way::Merge {
                    "merge"
                } else {
                    "transactional"
                };
                println!(
                    "{name:<22} {mode:<14} {:>8.2} {:>10.2} {:>10.2} {:>10.2}",
                    cost.time, cost.program, cost.source, cost.target
                );
                costs[index].push(cost);
            }
        }
        let ratio = |of: fn(&Cost) -> f64| median(&costs[1], of) / median(&costs[0], of);
        verdicts.push((
            name,
            ratio(|c| c.time),
            ratio(|c| c.program + c.source + c.target),
            ratio(|c| c.program),
        ));
    }
    println!("\nmerge / transactional, {rows} rows, medians of {rounds}");
    for (name, time, cpu, program) in verdicts {
        let verdict = match time.max(cpu) <= RATIO_MAX {
            true => "PASS",
            false => "ABOVE",
        };
        println!(
            "{name:<22} time {time:.2}, CPU of all processes {cpu:.2} (the program alone {program:.2})  {verdict} (at most {RATIO_MAX})"
        );
    }
}

fn median(costs: &[Cost], of: fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn one(way: Way, durable: bool, rows: u64) -> Cost {
    let options = Options {
        durable,
        ..Options::default()
    };
    let mut scene = Scene::private(NEW, way, &[ROW], &options).await;
    scene.start().await;
    let pids = [scene.a.server().pid().unwrap(), scene.b.server().pid().unwrap()];
    let program = scene.lock.pid().unwrap();
    let before = [alone(program), family(pids[0]), family(pids[1])];
    let start = Instant::now();
    load(&scene, rows).await;
    arrived(&scene, rows).await;
    let time = start.elapsed().as_secs_f64();
    let cost = Cost {
        time,
        program: alone(program) - before[0],
        source: family(pids[0]) - before[1],
        target: family(pids[1]) - before[2],
    };
    scene.assert_no_conflicts().await;
    scene.stop().await;
    cost
}

async fn load(scene: &Scene, rows: u64) {
    let mut session = scene.db(Side::A).session().await;
    for first in (0..rows).step_by(PER_TRANSACTION as usize) {
        let ids = first..(first + PER_TRANSACTION).min(rows);
        let mut statements = vec!["BEGIN".to_owned()];
        statements.extend(
            ids.clone()
                .map(|id| format!("INSERT INTO bench VALUES ({id}, 0, 'row {id}')")),
        );
        statements.push("COMMIT; BEGIN".to_owned());
        statements.extend(
            ids.clone()
                .map(|id| format!("UPDATE bench SET n = n + 1 WHERE id = {id}")),
        );
        let deleted = ids.filter(|id| id % 4 == 0);
        statements.extend(deleted.map(|id| format!("DELETE FROM bench WHERE id = {id}")));
        statements.push("COMMIT".to_owned());
        session.exec(&statements.join("; ")).await;
    }
}

async fn arrived(scene: &Scene, rows: u64) {
    let wanted = i64::try_from(rows - rows.div_ceil(4)).unwrap();
    harness::eventually(
        Duration::from_secs(600),
        "the rows on the other side",
        async || {
            let there = scene.b.count("bench WHERE n = 1").await;
            // Counting is work of the server that is measured: not too often.
            tokio::time::sleep(Duration::from_millis(100)).await;
            there == wanted && scene.b.count("bench").await == wanted
        },
    )
    .await;
}
