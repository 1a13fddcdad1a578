//! The great trial: first copies of millions of rows while both sides' users write, and while Tidelock, the source and the
//! target are killed in the middle; and a database of 500 tables.
//!
//! usage: make trial     (ROWS=20000: shorter; ARGS=NAME: one of them; STORM=30: so many kills more, at any
//! moment)
//!
//! - `data`: the tables and their rows; `users`: who writes, and their account; `blocks`: the comparison of all rows;
//! - `kills`: who is killed when, and that what was finished stays finished; `many`: 500 tables.
//!
//! Each pair prints its figures: they are for what they say of correctness, times depend on what else the machine does.
#![allow(clippy::unwrap_used)]

mod blocks;
mod data;
#[path = "../harness/mod.rs"]
mod harness;
mod kills;
mod many;
#[path = "../scenario/mod.rs"]
mod scenario;
mod users;

use std::time::{Duration, Instant};

use data::{Sizes, TABLES};
use harness::{Db, Kind, Options, eventually, private};
use kills::Kills;
use scenario::{FLAVORS, MYSQL, NEW, OLD, POSTGRES, Pair, Random, Scene, Side, Way};
use users::{Tally, Users, audit, is_contested};

/// A copy on a busy machine, and what users wrote during it.
const LIMIT: Duration = Duration::from_secs(3600);
/// What users still write after a copy.
const AFTERWARDS: Duration = Duration::from_secs(5);

macro_rules! trials {
    ($($name:ident => $pair:expr, $way:expr, $from:expr, $rows:expr;)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "make trial"]
        async fn $name() {
            let name = stringify!($name);
            copied(&Trial { name, pair: $pair, way: $way, from: $from, rows: rows($rows) }).await;
        })+
    };
}

trials! {
    postgres18_to_mysql => NEW, Way::Merge, Side::A, 5_000_000;
    mysql_to_postgres18 => NEW, Way::Merge, Side::B, 1_000_000;
    postgres15_to_mariadb => OLD, Way::Merge, Side::A, 1_000_000;
    mariadb_to_postgres15 => OLD, Way::Merge, Side::B, 1_000_000;
    postgres18_to_postgres15 => POSTGRES, Way::Merge, Side::A, 1_000_000;
    mysql_to_mysql => MYSQL, Way::Merge, Side::A, 1_000_000;
    mysql_to_mariadb_one_way => FLAVORS, Way::AToB, Side::A, 1_000_000;
}

struct Trial {
    name: &'static str,
    pair: Pair,
    way: Way,
    from: Side,
    rows: u64,
}

fn rows(usual: u64) -> u64 {
    std::env::var("ROWS").map_or(usual, |text| text.parse().expect("ROWS is a number"))
}

/// A server of its own that flushes each commit, with a little more memory than those of small tests.
pub(crate) async fn server(kind: Kind) -> Db {
    let extra: &[&str] = match kind.is_postgres() {
        true => &["shared_buffers=256MB", "max_wal_size=2GB"],
        false => &[
            "--innodb-buffer-pool-size=512M",
            "--loose-innodb-redo-log-capacity=1G",
            "--loose-innodb-log-file-size=512M",
        ],
    };
    let options = Options {
        durable: true,
        extra: extra.iter().map(ToString::to_string).collect(),
        ..Options::default()
    };
    private(kind, &options).await
}

async fn copied(trial: &Trial) {
    let (from, sizes) = (trial.from, Sizes::of(trial.rows));
    let (a, b) = tokio::join!(server(trial.pair.0), server(trial.pair.1));
    let mut scene = Scene::on(a, b, trial.way, &TABLES).await;
    // Fewer rows make smaller chunks, so that there is a middle.
    let chunk = (trial.rows / 40).clamp(100, 50_000);
    scene.copies_from(from, &format!("[limits]\nchunk_rows_max = {chunk}"));
    let begun = Instant::now();
    data::fill(&scene, from, sizes).await;
    let filled = begun.elapsed();
    scene.lock.ok(&["setup", "--execute"]).await;
    println!(
        "\n{}: {} rows, filled in {:.0} s, set up in {:.0} s",
        trial.name,
        sizes.rows(),
        filled.as_secs_f64(),
        (begun.elapsed() - filled).as_secs_f64()
    );

    let mut random = Random::new(trial.name);
    let start = |scene: &Scene, side, random| (side, Users::start(side, scene.db(side), sizes, random));
    let mut users = vec![start(&scene, from, random.fork())];
    let begun = Instant::now();
    scene.run().await;
    let mut kills = Kills::planned(&scene, from).await;
    if trial.way == Way::Merge {
        users.push(start(&scene, from.other(), random.fork()));
    }
    kills.make_all(&mut scene, &mut random).await;
    kills.copied(&mut scene).await;
    let copied = begun.elapsed();
    scene.streaming().await;
    tokio::time::sleep(AFTERWARDS).await;
    let mut tallies = vec![];
    for (side, users) in users {
        tallies.push((side, users.stop().await));
    }
    let begun = Instant::now();
    scene.crossed_within(LIMIT).await;
    let crossed = begun.elapsed();
    kills.print(&scene, copied).await;
    verify(&mut scene, trial, sizes, &tallies, crossed).await;
    scene.stop().await;
}

async fn verify(
    scene: &mut Scene,
    trial: &Trial,
    sizes: Sizes,
    tallies: &[(Side, Tally)],
    crossed: Duration,
) {
    for (side, tally) in tallies {
        println!(
            "  users of {side:?}: {} transactions: {tally:?}",
            tally.values().sum::<u64>()
        );
    }
    println!(
        "  the last of them had crossed {:.0} s after it was written",
        crossed.as_secs_f64()
    );
    explained(scene).await;
    let mut compared = 0;
    for table in TABLES {
        let columns = scene.columns(&table);
        compared += blocks::equal(&scene.a, &scene.b, table.name, table.key, &columns).await;
    }
    println!("  equal: {compared} rows, each cell as its server prints it, stamps too where there are some");
    for side in [Side::A, Side::B] {
        let held = audit(scene.db(side), sizes, tallies).await;
        println!("  on {side:?} {held} sums of what users say they wrote are those of the rows");
    }
    at_rest(scene).await;
    println!("  {}: PASS", trial.name);
}

/// Every conflict is about a row that users of both sides wrote to, and was decided.
async fn explained(scene: &Scene) {
    for side in scene.targets() {
        let mut kinds = std::collections::BTreeMap::new();
        for conflict in scene.conflicts(side).await {
            let key = conflict.key[0].as_u64().unwrap_or_default();
            assert!(
                conflict.table == "bench" && is_contested(key) && conflict.outcome != "open",
                "nobody else wrote to that row: {conflict:?}"
            );
            *kinds.entry((conflict.kind, conflict.outcome)).or_insert(0) += 1;
        }
        println!("  conflicts on {side:?}, all about the rows that both sides' users write to: {kinds:?}");
    }
}

/// Nothing waits for a person, nothing stands still, no table is out of step.
pub(crate) async fn at_rest(scene: &Scene) {
    eventually(
        Duration::from_secs(60),
        "every link streams, and nothing waits",
        async || {
            let status = scene.lock.run(&["status", "--json"]).await;
            let told: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
            let links = told["links"].as_array().unwrap();
            status.code == 0 && links.iter().all(is_well)
        },
    )
    .await;
}

fn is_well(link: &serde_json::Value) -> bool {
    let waits = ["held", "out_of_sync", "to_copy", "copy"]
        .map(|what| link[what].as_array().is_none_or(Vec::is_empty));
    let parked = link["parked"].as_object().is_none_or(serde_json::Map::is_empty);
    ["running", "streaming", "in step"]
        .iter()
        .any(|well| link["state"] == *well)
        && link["conflicts_open"] == 0
        && parked
        && !waits.contains(&false)
}
