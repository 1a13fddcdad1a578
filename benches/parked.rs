//! How fast the rest flows while rows wait for a person (`on_conflict = "ask"`): the same updates of other rows of the
//! table, with none, one, a thousand and ten thousand rows that wait on each side. Ten thousand is the default of
//! `limits.parked_rows_max`, beyond which the link stops.
//!
//! usage: make bench-parked     (ROWS=5000 ROUNDS=3)
//!
//! PostgreSQL 18 and MySQL, servers of its own. The clock starts with the first update on the PostgreSQL side and stops when
//! the last one is on the other. Prints a line per run, and the medians' ratio to those of the runs in which nothing waits.
#![allow(clippy::unwrap_used)]

#[path = "../tests/harness/mod.rs"]
mod harness;
#[path = "../tests/scenario/mod.rs"]
mod scenario;

use std::time::{Duration, Instant};

use harness::Options;
use scenario::{NEW, Scene, Side, Table, Way};

const ROW: Table = Table {
    name: "bench",
    body: "id bigint NOT NULL PRIMARY KEY, n int NOT NULL, note varchar(100)",
    key: &["id"],
    columns: &["n", "note"],
};

const WAITING: [u64; 4] = [0, 1, 1_000, 10_000];
const PER_TRANSACTION: u64 = 10;
/// Rows from here on are updated, those below wait.
const FIRST: u64 = 100_000;
const AT_ONCE: usize = 1_000;

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
    runtime.block_on(Box::pin(measure(number("ROWS", 5_000), number("ROUNDS", 3))));
}

async fn measure(rows: u64, rounds: u64) {
    let mut times: [Vec<f64>; WAITING.len()] = Default::default();
    println!("{:>8} {:>8} {:>12}", "waiting", "time s", "rows/s");
    for _ in 0..rounds {
        // In turn, so that what else the machine does meets all.
        for (waiting, times) in WAITING.into_iter().zip(&mut times) {
            let time = one(waiting, rows).await;
            println!("{waiting:>8} {time:>8.2} {:>12.0}", rows as f64 / time);
            times.push(time);
        }
    }
    let medians = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    println!("\ntime for {rows} updates of other rows, medians of {rounds}, against none waiting");
    for (waiting, time) in WAITING.iter().zip(medians) {
        println!("{waiting:>8} waiting {:.2}", time / medians[0]);
    }
}

async fn one(waiting: u64, rows: u64) -> f64 {
    let mut scene = Scene::private(NEW, Way::Merge, &[ROW], &Options::default()).await;
    scene.configure("from:a", "on_conflict = \"ask\"");
    let ids: Vec<u64> = (0..waiting).chain(FIRST..FIRST + rows).collect();
    for ids in ids.chunks(AT_ONCE) {
        let values: Vec<String> = ids.iter().map(|id| format!("({id}, 0, 'row {id}')")).collect();
        let insert = format!("INSERT INTO bench VALUES {}", values.join(", "));
        scene.exec(Side::A, &insert).await;
    }
    scene.start().await;
    scene.wait_equal().await;
    scene.stop().await;
    for side in [Side::A, Side::B] {
        let update = format!("UPDATE bench SET note = 'of {side:?}' WHERE id < {FIRST}");
        scene.exec(side, &update).await;
    }
    scene.run().await;
    scene.crossed().await;
    let parked = format!("tidelock.parked WHERE sync = '{}'", scene.sync);
    for side in [Side::A, Side::B] {
        let found = scene.db(side).count(&parked).await;
        assert_eq!(found, i64::try_from(waiting).unwrap(), "{side:?}");
    }
    let start = Instant::now();
    let mut session = scene.a.session().await;
    for first in (0..rows).step_by(PER_TRANSACTION as usize) {
        let ids = first..(first + PER_TRANSACTION).min(rows);
        let updates = ids.map(|id| format!("UPDATE bench SET n = 1 WHERE id = {}", FIRST + id));
        let updates: Vec<String> = updates.collect();
        session
            .exec(&format!("BEGIN; {}; COMMIT", updates.join("; ")))
            .await;
    }
    let last = format!("bench WHERE id = {} AND n = 1", FIRST + rows - 1);
    harness::eventually(
        Duration::from_secs(600),
        "the last row on the other side",
        async || scene.b.count(&last).await == 1,
    )
    .await;
    let time = start.elapsed().as_secs_f64();
    scene.stop().await;
    time
}
