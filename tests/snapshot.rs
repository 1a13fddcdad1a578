//! Images: a target that equals its source as of one moment, swapped under its readers; and links that carry in bursts.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

#[path = "snapshot/bursts.rs"]
mod bursts;
#[path = "snapshot/refused.rs"]
mod refused;
#[path = "snapshot/rows.rs"]
mod rows;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use harness::{Db, Kind, Options, eventually};
use scenario::{FLAVORS, LIMIT, NEW, OLD, POSTGRES, Pair, Random, Scene, Side, Table, Way, numbers};
use tidelock::config;
use tidelock::flow::pulse::Live;
use tokio_util::sync::CancellationToken;

/// Rows move between the two, and amounts with them: what both hold together never changes.
const LEFT: Table = Table {
    name: "left_side",
    body: "id bigint NOT NULL PRIMARY KEY, n bigint NOT NULL, word {word}",
    key: &["id"],
    columns: &["n", "word"],
};

const RIGHT: Table = Table {
    name: "right_side",
    ..LEFT
};

/// Without a key; each row stands there with others of the same kind, and their sum is nothing.
const JOURNAL: Table = Table {
    name: "journal",
    body: "n bigint, word {word}",
    key: &[],
    columns: &["n", "word"],
};

/// The three tables, but for the probe that other tests have.
const NAMES: &str = "\"left_side\", \"right_side\", \"journal\"";
const ROWS: u64 = 100;
/// Between two transactions of the writer, and two looks of the reader.
const PACE: Duration = Duration::from_millis(15);

/// The keys of a sync that makes images, but for its nodes.
fn images(scene: &Scene, tables: &str, every: &str, more: &str) {
    let from = if scene.way == Way::BToA { "b" } else { "a" };
    scene.lock.configure(&format!(
        "version = 1\n[node.a]\n{}\n[node.b]\n{}\n[[sync]]\nname = \"{}\"\nnodes = [\"a\", \"b\"]\nmode = \"snapshot\"\n\
         from = \"{from}\"\nevery = \"{every}\"\ntables = [{tables}]\n{more}\n",
        scene.a.node(),
        scene.b.node(),
        scene.sync,
    ));
}

fn source(scene: &Scene) -> &Db {
    scene.db(scene.way.sources()[0])
}

fn target(scene: &Scene) -> &Db {
    scene.db(scene.way.sources()[0].other())
}

async fn filled(hint: &str, pair: Pair, way: Way) -> Scene {
    let scene = Scene::new(hint, pair, way, &[LEFT, RIGHT, JOURNAL]).await;
    images(&scene, NAMES, "1s", "");
    let from = scene.way.sources()[0];
    let rows = numbers(ROWS);
    scene
        .exec(
            from,
            &format!(
                "INSERT INTO left_side SELECT i, 10, 'x' FROM {rows}; \
                 INSERT INTO right_side SELECT 1000 + i, 10, NULL FROM {rows}; \
                 INSERT INTO journal SELECT 5, 'a' FROM {rows}; INSERT INTO journal SELECT -5, 'A' FROM {rows}"
            ),
        )
        .await;
    scene
}

/// Moves rows and amounts until it is told to stop. Each transaction leaves the sums and the number of rows as they are.
async fn write(db: &Db, stop: Arc<AtomicBool>) {
    let (mut session, mut random) = (db.session().await, Random::new("snapshot"));
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (one, other) = (random.below(ROWS), 1_000 + random.below(ROWS));
        let amount = random.below(20);
        for statement in [
            "BEGIN".to_owned(),
            format!("UPDATE left_side SET n = n - {amount}, word = 'w{number}' WHERE id = {one}"),
            // The row may lie on either side by now: what was not taken is not given.
            format!("UPDATE right_side SET n = n - {amount} WHERE id = {one}"),
            format!("UPDATE left_side SET n = n + {amount} WHERE id = {other}"),
            format!("UPDATE right_side SET n = n + {amount} WHERE id = {other}"),
            format!("INSERT INTO left_side SELECT id, n, word FROM right_side WHERE id = {other}"),
            format!("DELETE FROM right_side WHERE id = {other}"),
            "COMMIT".to_owned(),
            "BEGIN".to_owned(),
            format!("INSERT INTO right_side SELECT id, n, word FROM left_side WHERE id = {other}"),
            format!("DELETE FROM left_side WHERE id = {other}"),
            format!("DELETE FROM journal WHERE n = {amount} OR n = -{amount}"),
            format!(
                "INSERT INTO journal VALUES ({amount}, 'a'), (-{amount}, 'A'), ({amount}, 'a'), (-{amount}, 'A')"
            ),
            "COMMIT".to_owned(),
        ] {
            session.exec(&statement).await;
        }
        // Images need the machine too.
        tokio::time::sleep(PACE).await;
    }
}

const SUMS: &str = "SELECT (SELECT sum(n) FROM left_side) + (SELECT sum(n) FROM right_side), \
    (SELECT count(*) FROM left_side) + (SELECT count(*) FROM right_side), \
    (SELECT sum(n) FROM journal), (SELECT count(*) FROM journal WHERE word = 'a' AND n >= 0)";

/// Looks again and again; counts how often it looked.
async fn read(db: &Db, stop: Arc<AtomicBool>, looks: Arc<AtomicU64>) {
    let mut session = db.session().await;
    while !stop.load(Ordering::Relaxed) {
        let row = session.rows(SUMS).await.remove(0);
        let cell = |place: usize| row[place].clone().unwrap_or_default();
        // Before the first image there is nothing.
        if cell(1) != "0" {
            let whole = [(ROWS * 20).to_string(), (ROWS * 2).to_string(), "0".to_owned()];
            assert_eq!([cell(0), cell(1), cell(2)], whole, "half an image");
            looks.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(PACE).await;
    }
}

/// As many images as come, one after the other, in this process: `every` is a moment.
async fn swaps(hint: &str, pair: Pair, way: Way, count: u64) {
    let scene = filled(hint, pair, way).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let path = scene.lock.config_path();
    let text = std::fs::read_to_string(&path).unwrap();
    let config = config::parse(&text, &path, &config::Environment::default())
        .map_err(|failure| failure.rendered())
        .unwrap();
    let mut spec = config.syncs[0].spec.clone();
    spec.every = Some(Duration::from_millis(1));
    let (stop, over, looks) = (
        CancellationToken::new(),
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let live = Arc::new(Live::new(std::slice::from_ref(&spec)));
    let (token, figures) = (stop.clone(), Arc::clone(&live));
    let run = tokio::spawn(async move { tidelock::flow::run(&[spec], false, &token, &figures).await });
    let pulse = live.links().remove(0);
    let writes = write(source(&scene), Arc::clone(&over));
    let reads = read(target(&scene), Arc::clone(&over), Arc::clone(&looks));
    let watches = async {
        eventually(LIMIT * 3, "so many images", async || {
            assert!(!run.is_finished(), "the run has ended by itself");
            pulse.rounds().count >= count
        })
        .await;
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(writes, reads, watches);
    // The one after the next begins when nobody writes any more.
    let last = pulse.rounds().count + 2;
    eventually(LIMIT, "the last image", async || pulse.rounds().count >= last).await;
    stop.cancel();
    run.await.unwrap().unwrap();
    assert!(
        looks.load(Ordering::Relaxed) >= count / 2,
        "the reader hardly looked"
    );
    let written = pulse.rounds().last.unwrap().written();
    assert_eq!(written, 0, "nothing had changed, and rows were written");
    equal(&scene).await;
}

/// Row by row; of the table without a key, how often each row is there.
async fn equal(scene: &Scene) {
    for table in [LEFT, RIGHT] {
        harness::equal(&scene.a, &scene.b, table.name, table.key, table.columns).await;
    }
    let count =
        "SELECT count(*), n, CASE WHEN word = 'a' THEN 1 ELSE 0 END FROM journal GROUP BY 2, 3 ORDER BY 2, 3";
    assert_eq!(source(scene).rows(count).await, target(scene).rows(count).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres18_to_mysql_100_swaps() {
    swaps("swaps", NEW, Way::AToB, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_to_postgres18_swaps() {
    swaps("swaps", NEW, Way::BToA, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres15_to_mariadb_swaps() {
    swaps("swaps", OLD, Way::AToB, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres18_to_postgres15_swaps() {
    swaps("swaps", POSTGRES, Way::AToB, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_to_mariadb_swaps() {
    swaps("swaps", FLAVORS, Way::AToB, 10).await;
}

/// `kill -9` of the program at any moment of a round: the target has the old image or the new one.
async fn killed(pair: Pair, way: Way) {
    let scene = filled("killed", pair, way).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let (over, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (writing, reading) = (Arc::clone(&over), Arc::clone(&over));
    let (from, to) = (source(&scene), target(&scene));
    let (mut lock, mut random) = (lock_of(&scene), Random::new("killed"));
    let kills = async {
        for _ in 0..8 {
            lock.spawn();
            tokio::time::sleep(Duration::from_millis(150 + random.below(700))).await;
            lock.kill9().await;
        }
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(write(from, writing), read(to, reading, Arc::clone(&looks)), kills);
    lock.ok(&["run", "--once"]).await;
    equal(&scene).await;
}

/// A program of its own with the scene's configuration, so that it can be killed while the scene is read.
fn lock_of(scene: &Scene) -> harness::Tidelock {
    harness::Tidelock::new(&std::fs::read_to_string(scene.lock.config_path()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tidelock_killed_on_the_way_to_mysql() {
    killed(NEW, Way::AToB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tidelock_killed_on_the_way_to_postgres() {
    killed(NEW, Way::BToA).await;
}

/// A server dies in the middle of rounds and comes back; the images go on by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_servers_killed() {
    let options = Options {
        durable: true,
        ..Options::default()
    };
    let mut scene = Scene::private(
        Pair(Kind::Postgres18, Kind::Mysql),
        Way::AToB,
        &[LEFT, RIGHT, JOURNAL],
        &options,
    )
    .await;
    images(&scene, NAMES, "1s", "");
    let rows = numbers(ROWS);
    scene
        .exec(
            Side::A,
            &format!("INSERT INTO left_side SELECT i, 10, 'x' FROM {rows}; INSERT INTO right_side SELECT 1000 + i, 10, NULL FROM {rows}"),
        )
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.run().await;
    let at_target = async |scene: &Scene, n: u64| {
        let sql = format!("SELECT count(*) FROM left_side WHERE n = {n}");
        scene.b.session().await.one(&sql).await == ROWS.to_string()
    };
    eventually(LIMIT, "the first image", async || at_target(&scene, 10).await).await;
    for (side, n) in [(Side::A, 11), (Side::B, 12)] {
        scene
            .exec(Side::A, &format!("UPDATE left_side SET n = {n}"))
            .await;
        let db = scene.db_mut(side);
        db.server().kill().await;
        db.server().restart().await.unwrap();
        eventually(LIMIT, "the image after it", async || at_target(&scene, n).await).await;
        scene.assert_running();
    }
    scene.stop().await;
}
