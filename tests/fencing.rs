//! Several copies of the program on one sync: one runs, the others stand by, and whoever loses the lease leaves.
//!
//! Each side has its own keys, so there is one right answer: every counter shows how often it was raised, every
//! inserted row is there once, on both sides, and nothing was contested.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use std::time::{Duration, Instant};

use harness::Tidelock;
use scenario::{
    COUNTER, DONE, LIMIT, Loader, Pair, Random, Scene, Side, Way, assert_counted, base, insert_counters,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pairs! {
    twenty_five_take_overs => twenty_five_take_overs;
    a_released_lease_is_taken_at_once => a_released_lease_is_taken_at_once;
    a_lost_row_is_no_loss => a_lost_row_is_no_loss;
}

const COUNTERS: u64 = 50;
const TAKE_OVERS: usize = 25;
const TTL: &str = "[limits]\nlease_ttl_s = 2";

/// A writer on each side, until told to stop.
struct Load {
    over: CancellationToken,
    tasks: Vec<JoinHandle<(u64, Vec<u64>)>>,
}

impl Load {
    async fn start(scene: &Scene, random: &mut Random) -> Self {
        insert_counters(scene, COUNTERS).await;
        let over = CancellationToken::new();
        let mut tasks = vec![];
        for side in [Side::A, Side::B] {
            let db = scene.db(side);
            let loader = Loader::new(db.kind(), db.url(), "done");
            tasks.push(tokio::spawn(write(
                loader,
                base(side),
                random.fork(),
                over.clone(),
            )));
        }
        Self { over, tasks }
    }

    /// Per side: how many transactions there were, and what each counter must show.
    async fn stop(self) -> Vec<(u64, Vec<u64>)> {
        self.over.cancel();
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
    mut random: Random,
    over: CancellationToken,
) -> (u64, Vec<u64>) {
    let mut counts = vec![0; COUNTERS as usize];
    let mut number = 0;
    while !over.is_cancelled() {
        let raised: Vec<u64> = (0..5).map(|_| random.below(COUNTERS)).collect();
        let one = |n: &u64| format!("UPDATE counter SET n = n + 1 WHERE id = {}", base + n);
        let statements: Vec<String> = raised.iter().map(one).collect();
        loader.once(base + number, &statements).await;
        raised.iter().for_each(|n| counts[*n as usize] += 1);
        number += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (number, counts)
}

/// Copies of the program with the scene's configuration.
fn copy(scene: &Scene) -> Tidelock {
    let config = std::fs::read_to_string(scene.lock.config_path()).unwrap();
    let mut copy = Tidelock::new(&config);
    copy.spawn();
    copy
}

async fn signal(name: &str, copy: &Tidelock) {
    let pid = copy.pid().expect("it is not running").to_string();
    let sent = tokio::process::Command::new("kill")
        .args([name, &pid])
        .status()
        .await;
    assert!(sent.unwrap().success());
}

/// The instance that holds each link, while its lease lasts.
async fn holders(scene: &Scene) -> Vec<String> {
    let mut holders = vec![];
    for side in scene.targets() {
        let now = if scene.db(side).kind().is_postgres() {
            "clock_timestamp()"
        } else {
            "UTC_TIMESTAMP(6)"
        };
        let sql = format!(
            "SELECT instance FROM tidelock.lease WHERE sync = '{}' AND expires_at > {now}",
            scene.sync
        );
        let rows = scene.db(side).rows(&sql).await;
        holders.extend(rows.into_iter().flatten().flatten());
    }
    holders
}

/// Waits until one copy other than `before` holds both links, and has moved both checkpoints since.
async fn taken_from(scene: &Scene, before: &str) -> String {
    let limit = Instant::now() + LIMIT;
    loop {
        let found = holders(scene).await;
        if let [one, other] = &found[..]
            && one == other
            && one != before
        {
            return one.clone();
        }
        assert!(
            Instant::now() < limit,
            "nobody took over from {before}: {found:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn seqs(scene: &Scene) -> Vec<i64> {
    let sql = format!(
        "SELECT seq FROM tidelock.checkpoint WHERE sync = '{}'",
        scene.sync
    );
    let (a, b) = (scene.a.one(&sql).await, scene.b.one(&sql).await);
    vec![a.parse().unwrap(), b.parse().unwrap()]
}

/// Waits until both links have applied something.
async fn moving(scene: &Scene) {
    let (before, limit) = (seqs(scene).await, Instant::now() + LIMIT);
    loop {
        let now = seqs(scene).await;
        if now.iter().zip(&before).all(|(now, before)| now > before) {
            return;
        }
        assert!(Instant::now() < limit, "a link does not move: {before:?} {now:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn verify(scene: &mut Scene, expected: Vec<(u64, Vec<u64>)>) {
    scene.wait_equal().await;
    let (transactions, counts): (Vec<u64>, Vec<Vec<u64>>) = expected.into_iter().unzip();
    assert_counted(scene, &counts, transactions.iter().sum()).await;
    scene.assert_no_conflicts().await;
}

/// Half of them by sudden death, half by a freeze that outlasts the lease; the thawed copy must find itself fenced.
async fn twenty_five_take_overs(pair: Pair) {
    let mut scene = Scene::new("fencing", pair, Way::Merge, &[COUNTER, DONE]).await;
    scene.configure("from:a", TTL);
    scene.start().await;
    let mut random = Random::new("twenty_five_take_overs");
    let load = Load::start(&scene, &mut random).await;
    moving(&scene).await;
    let mut holder = taken_from(&scene, "").await;
    let (mut kills, mut freezes) = (0, 0);
    for number in 0..TAKE_OVERS {
        let mut second = copy(&scene);
        // Anywhere in its work, and before or after the other stands by.
        tokio::time::sleep(Duration::from_millis(random.below(700))).await;
        scene.assert_running();
        let is_kill = number % 2 == 0;
        if is_kill {
            scene.lock.kill9().await;
            kills += 1;
        } else {
            signal("-STOP", &scene.lock).await;
            freezes += 1;
        }
        let next = taken_from(&scene, &holder).await;
        assert_ne!(next, holder);
        holder = next;
        moving(&scene).await;
        std::mem::swap(&mut scene.lock, &mut second);
        if !is_kill {
            signal("-CONT", &second).await;
            let code = second.wait(LIMIT).await;
            let log = second.log();
            assert_eq!(code, 8, "the thawed copy: {log}");
            assert!(log.contains("has taken it over"), "{log}");
            moving(&scene).await;
        }
        scene.assert_running();
    }
    let expected = load.stop().await;
    let transactions: u64 = expected.iter().map(|(transactions, _)| transactions).sum();
    verify(&mut scene, expected).await;
    eprintln!("{kills} kills and {freezes} freezes survived, {transactions} transactions");
}

/// A second copy stands by and says so; `run --once` refuses; an orderly end hands the links over at once.
async fn a_released_lease_is_taken_at_once(pair: Pair) {
    let mut scene = Scene::new("release", pair, Way::Merge, &[COUNTER, DONE]).await;
    scene.configure("from:a", "[limits]\nlease_ttl_s = 600");
    scene.start().await;
    let mut random = Random::new("a_released_lease_is_taken_at_once");
    let load = Load::start(&scene, &mut random).await;
    let holder = taken_from(&scene, "").await;
    let mut second = copy(&scene);
    let limit = Instant::now() + LIMIT;
    while !second.log().contains("standing by") {
        assert!(Instant::now() < limit, "{}", second.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let refused = scene.lock.run(&["run", "--once"]).await;
    assert_eq!(refused.code, 8, "{}", refused.stderr);
    assert!(refused.stderr.contains("runs it"), "{}", refused.stderr);
    assert_eq!(taken_from(&scene, "").await, holder);
    scene.stop().await;
    let released = Instant::now();
    taken_from(&scene, &holder).await;
    assert!(
        released.elapsed() < Duration::from_secs(20),
        "{:?}",
        released.elapsed()
    );
    std::mem::swap(&mut scene.lock, &mut second);
    moving(&scene).await;
    let expected = load.stop().await;
    verify(&mut scene, expected).await;
    scene.stop().await;
}

/// Somebody deletes the rows of the lease: the copy that runs goes on, and has them again.
async fn a_lost_row_is_no_loss(pair: Pair) {
    let mut scene = Scene::new("lostrow", pair, Way::Merge, &[COUNTER, DONE]).await;
    scene.configure("from:a", TTL);
    scene.start().await;
    let mut random = Random::new("a_lost_row_is_no_loss");
    let load = Load::start(&scene, &mut random).await;
    let holder = taken_from(&scene, "").await;
    for side in [Side::A, Side::B] {
        let sql = format!("DELETE FROM tidelock.lease WHERE sync = '{}'", scene.sync);
        scene.exec(side, &sql).await;
    }
    assert_eq!(taken_from(&scene, "").await, holder);
    moving(&scene).await;
    let expected = load.stop().await;
    verify(&mut scene, expected).await;
}
