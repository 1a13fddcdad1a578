//! Sudden death of Tidelock and of the servers, in the middle of a two-way load.
//!
//! Each side has its own keys, so there is one right answer: every counter shows how often it was raised, every
//! inserted row is there once, on both sides, and nothing was contested.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use std::time::Duration;

use harness::Options;
use scenario::{
    COUNTER, DONE, Loader, NEW, OLD, Pair, Random, Scene, Side, Table, Way, assert_counted, base,
    insert_counters, numbers,
};
use tokio::task::JoinHandle;

pairs! {
    tidelock_killed_ten_times => tidelock_killed_ten_times;
}

/// Rows of transactions that are too large for one group.
const BULK: Table = Table {
    name: "bulk",
    body: "id bigint NOT NULL PRIMARY KEY",
    key: &["id"],
    columns: &[],
};

/// Each side runs so many transactions of 50 changes: one insert, single increments, a range of increments.
const TRANSACTIONS: u64 = 500;
const SINGLE: u64 = 10;
const RANGE: u64 = 39;
const COUNTERS: u64 = 200;
const KILLS: u64 = 10;
const SMALL_GROUPS: &str = "[limits]\ngroup_bytes_max = 65536";
/// One in so many transactions inserts so many rows besides.
const LARGE_EVERY: u64 = 180;
const LARGE: u64 = 10_000;

struct Load {
    tasks: Vec<JoinHandle<Vec<u64>>>,
}

impl Load {
    /// Starts a writer on each side.
    async fn start(scene: &Scene, transactions: u64, pause: Duration, random: &mut Random) -> Self {
        let mut tasks = vec![];
        for side in [Side::A, Side::B] {
            let db = scene.db(side);
            let loader = Loader::new(db.kind(), db.owner_url(), "done");
            tasks.push(tokio::spawn(write(
                loader,
                base(side),
                transactions,
                pause,
                random.fork(),
            )));
        }
        Self { tasks }
    }

    fn is_over(&self) -> bool {
        self.tasks.iter().all(JoinHandle::is_finished)
    }

    /// What each counter must show: the counters of one side, then those of the other.
    async fn expected(self) -> Vec<Vec<u64>> {
        let mut all = vec![];
        for task in self.tasks {
            all.push(task.await.unwrap());
        }
        all
    }
}

async fn write(
    mut loader: Loader,
    base: u64,
    transactions: u64,
    pause: Duration,
    mut random: Random,
) -> Vec<u64> {
    let mut counts = vec![0; COUNTERS as usize];
    for number in 0..transactions {
        let single: Vec<u64> = (0..SINGLE).map(|_| random.below(COUNTERS)).collect();
        let first = random.below(COUNTERS - RANGE);
        let one = |n: &u64| format!("UPDATE counter SET n = n + 1 WHERE id = {}", base + n);
        let mut statements: Vec<String> = single.iter().map(one).collect();
        let (from, to) = (base + first, base + first + RANGE);
        statements.push(format!(
            "UPDATE counter SET n = n + 1 WHERE id >= {from} AND id < {to}"
        ));
        if number % LARGE_EVERY == LARGE_EVERY / 2 {
            let first = (base + number) * LARGE;
            statements.push(format!(
                "INSERT INTO bulk SELECT {first} + i FROM {}",
                numbers(LARGE)
            ));
        }
        loader.once(base + number, &statements).await;
        single
            .iter()
            .copied()
            .chain(first..first + RANGE)
            .for_each(|n| counts[n as usize] += 1);
        tokio::time::sleep(pause).await;
    }
    counts
}

async fn verify(scene: &mut Scene, expected: Vec<Vec<u64>>, transactions: u64) {
    scene.wait_equal().await;
    assert_counted(scene, &expected, transactions * 2).await;
    let large = (0..transactions)
        .filter(|number| number % LARGE_EVERY == LARGE_EVERY / 2)
        .count() as i64;
    assert_eq!(scene.a.count("bulk").await, large * 2 * LARGE as i64);
    scene.assert_no_conflicts().await;
}

async fn tidelock_killed_ten_times(pair: Pair) {
    let mut scene = Scene::new("killed", pair, Way::Merge, &[COUNTER, DONE, BULK]).await;
    scene.configure("from:a", SMALL_GROUPS);
    scene.start().await;
    insert_counters(&scene, COUNTERS).await;
    let mut random = Random::new("tidelock_killed_ten_times");
    let load = Load::start(&scene, TRANSACTIONS, Duration::from_millis(12), &mut random).await;
    let mut in_load = 0;
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(100 + random.below(1300))).await;
        in_load += u64::from(!load.is_over());
        scene.assert_running();
        scene.lock.kill9().await;
        scene.run().await;
    }
    assert!(in_load >= 5, "only {in_load} of {KILLS} kills met the load");
    let expected = load.expected().await;
    verify(&mut scene, expected, TRANSACTIONS).await;
}

/// A server dies under load and comes back; the link goes on by itself.
async fn server_killed(pair: Pair, victim: Side) {
    let options = Options {
        durable: true,
        ..Options::default()
    };
    let mut scene = Scene::private(pair, Way::Merge, &[COUNTER, DONE, BULK], &options).await;
    scene.configure("from:a", SMALL_GROUPS);
    scene.start().await;
    insert_counters(&scene, COUNTERS).await;
    let mut random = Random::new("server_killed");
    let transactions = 120;
    let load = Load::start(&scene, transactions, Duration::from_millis(20), &mut random).await;
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(300 + random.below(700))).await;
        assert!(!load.is_over(), "the load ended before the server was killed");
        let db = scene.db_mut(victim);
        db.server().kill().await;
        db.server().restart().await.unwrap();
    }
    let expected = load.expected().await;
    verify(&mut scene, expected, transactions).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres18_killed() {
    server_killed(NEW, Side::A).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_killed() {
    server_killed(NEW, Side::B).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres15_killed() {
    server_killed(OLD, Side::A).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_killed() {
    server_killed(OLD, Side::B).await;
}
