//! Hot keys, written from both sides at once with deletes and re-inserts, while tombstones are collected: equal at the
//! end, every payload that is not there any more is accounted for, no column that one side changed alone is lost, and
//! counters are the sum of their increments. `make test-all` writes 200,000 times.
//!
//! In rounds: first both sides write while Tidelock is away, so that hundreds of keys are contested whatever the machine
//! does, then while it catches up.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use std::time::{Duration, Instant};

use harness::Session;
use scenario::account::account;
use scenario::contest::{self, HOT, Load, Log, MERGED, Until};
use scenario::{FLAVORS, NEW, POSTGRES, Pair, Random, SEAT, Scene, Side, Way};

const KEYS: u64 = 500;
const SEATS: u64 = 20;

/// How often both sides write apart and then together, and how many writes each of these has.
#[derive(Clone, Copy)]
struct Rounds {
    count: i64,
    writes: i64,
}

const SHORT: Rounds = Rounds {
    count: 2,
    writes: 1_500,
};

const LONG: Rounds = Rounds {
    count: 20,
    writes: 5_000,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres18_mysql() {
    hot(NEW, SHORT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres18_postgres15() {
    hot(POSTGRES, SHORT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_mariadb() {
    hot(FLAVORS, SHORT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make test-all"]
async fn postgres18_mysql_200000() {
    hot(NEW, LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make test-all"]
async fn postgres18_postgres15_200000() {
    hot(POSTGRES, LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make test-all"]
async fn mysql_mariadb_200000() {
    hot(FLAVORS, LONG).await;
}

async fn hot(pair: Pair, rounds: Rounds) {
    let start = Instant::now();
    let mut scene = Scene::new("hot", pair, Way::Merge, &[HOT, SEAT]).await;
    scene.configure("from:a", MERGED);
    let seats: Vec<String> = (0..SEATS)
        .map(|id| format!("INSERT INTO seat (id, place) VALUES ({id}, 'p{id}')"))
        .collect();
    scene.exec(Side::A, &seats.join(";")).await;
    let mut log = Log::default();
    contest::plant(&(&scene).into(), KEYS, &mut log).await;
    scene.start().await;
    let mut random = Random::new("hot");
    let mut swaps = random.fork();
    let swapper = scene.a.session().await;
    tokio::select! {
        () = fight(&mut scene, rounds, &mut random, &mut log) => {}
        () = swap_seats(swapper, &mut swaps) => unreachable!("it goes on for ever"),
    }
    scene.wait_equal().await;
    let account = account(&(&scene).into(), &log, true).await;
    eprintln!("{} {} s: {account:?}", scene.sync, start.elapsed().as_secs());
    assert!(
        account.written as i64 > rounds.count * rounds.writes && account.recorded > 20 && account.merged > 20,
        "too tame: {account:?}"
    );
    let places = scene.b.rows("SELECT DISTINCT place FROM seat").await;
    assert_eq!(
        places.len() as u64,
        SEATS,
        "a swap of unique values was half applied: {places:?}"
    );
    scene.all_collected("hot").await;
    scene.assert_equal().await;
}

async fn fight(scene: &mut Scene, rounds: Rounds, random: &mut Random, log: &mut Log) {
    let load = Load {
        keys: KEYS,
        until: Until::Written(rounds.writes),
        writers: 3,
        pause_ms: 0,
    };
    for _ in 0..rounds.count {
        scene.stop().await;
        contest::write(&(&*scene).into(), load, random, log).await;
        scene.run().await;
        contest::write(&(&*scene).into(), load, random, log).await;
        scene.crossed().await;
    }
}

/// Two rows trade a unique value, on one side, again and again.
async fn swap_seats(mut session: Session, random: &mut Random) {
    loop {
        let (one, other) = (random.below(SEATS), random.below(SEATS));
        if one != other {
            let place = async |session: &mut Session, id: u64| {
                session
                    .one(&format!("SELECT place FROM seat WHERE id = {id}"))
                    .await
            };
            session.exec("BEGIN").await;
            let (first, second) = (place(&mut session, one).await, place(&mut session, other).await);
            for (id, place) in [(one, "between"), (other, &first), (one, &second)] {
                let sql = format!("UPDATE seat SET place = '{place}' WHERE id = {id}");
                session.exec(&sql).await;
            }
            session.exec("COMMIT").await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
