//! Everything a user does to rows, in both modes and all directions, on all pairs of engines.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::{Kind, Options};
use scenario::changes::{OF_A, OF_B, OLD, ONCE, changes_of, rows, steps};
use scenario::{ITEM, LIMIT, Pair, Random, SEAT, SHOP, Scene, Side, Table, Way, numbers};
use std::collections::BTreeMap;
use std::time::Duration;

all_pairs! {
    merge => |pair| changes("e2e_merge", pair, Way::Merge);
    transactional_to_b => |pair| changes("e2e_to_b", pair, Way::AToB);
    transactional_to_a => |pair| changes("e2e_to_a", pair, Way::BToA);
    large_transaction_merge => |pair| large("large_merge", pair, Way::Merge);
    large_transaction_to_b => |pair| large("large_to_b", pair, Way::AToB);
    large_transaction_to_a => |pair| large("large_to_a", pair, Way::BToA);
    silent_when_idle => silence;
}

/// Where there is a binlog.
mod compressed_log {
    use super::*;

    pairs! { both_ways => compressed; }
    pair_tests!(mysql_mysql, scenario::MYSQL, #[ignore = "make test-all"] both_ways => compressed;);
    pair_tests!(mariadb_mariadb, scenario::MARIADB, #[ignore = "make test-all"] both_ways => compressed;);
    pair_tests!(mysql_mariadb, scenario::FLAVORS, #[ignore = "make test-all"] both_ways => compressed;);
}

/// From PostgreSQL, whose log leaves out large values that did not change.
mod trades {
    use super::*;

    pairs! { to_b => trading; }
    pair_tests!(postgres18_postgres15, scenario::POSTGRES, to_b => trading;);
}

/// A row that moves to another key takes along what only its own node has of it.
mod moved_keys {
    use super::*;

    pairs! {
        merge => |pair| moving("e2e_moved", pair, Way::Merge);
        to_b => |pair| moving("e2e_moved_b", pair, Way::AToB);
        to_a => |pair| moving("e2e_moved_a", pair, Way::BToA);
    }
}

async fn changes(hint: &str, pair: Pair, way: Way) {
    cross(Scene::new(hint, pair, way, &SHOP).await, pair, way).await;
}

/// Both ways over a log that is compressed: our own writes are too, and must still be told from users'.
async fn compressed(pair: Pair) {
    let extra = match pair.1 {
        Kind::Mysql => vec!["--binlog-transaction-compression=ON"],
        _ => vec!["--log-bin-compress=ON", "--log-bin-compress-min-len=10"],
    };
    let scene = Scene::with_b("e2e_compressed", pair, Way::Merge, &SHOP, &extra).await;
    cross(scene, pair, Way::Merge).await;
}

/// Both ways where positions are files and offsets.
#[tokio::test]
async fn merge_without_gtids() {
    let extra = [
        "--gtid-mode=OFF",
        "--enforce-gtid-consistency=OFF",
        "--max-binlog-size=65536",
    ];
    let scene = Scene::with_b("e2e_files", scenario::NEW, Way::Merge, &SHOP, &extra).await;
    cross(scene, scenario::NEW, Way::Merge).await;
}

async fn cross(mut scene: Scene, pair: Pair, way: Way) {
    let seeder = way.sources()[0];
    scene.exec(seeder, &rows(pair, seeder, OLD)).await;
    scene.start().await;
    scene.wait_equal().await;

    let (on_a, on_b) = (steps(pair, way, Side::A, OF_A), steps(pair, way, Side::B, OF_B));
    tokio::join!(scene.exec(Side::A, &on_a), scene.exec(Side::B, &on_b));
    scene.wait_equal().await;
    // Rows that came with the first copy are as good as others, and as good on the other side.
    let last = *way.sources().last().unwrap();
    scene.exec(last, &changes_of(OLD)).await;
    scene.wait_equal().await;

    scene.stop().await;
    for (side, base) in [(Side::A, OF_A + ONCE), (Side::B, OF_B + ONCE)] {
        scene.exec(side, &steps(pair, way, side, base)).await;
    }
    scene.lock.ok(&["run", "--once"]).await;
    scene.assert_equal().await;
    scene.lock.ok(&["run", "--once"]).await;
    scene.assert_equal().await;
    scene.assert_no_conflicts().await;
}

/// A transaction of 100,000 rows beside small ones, and one that removes most of them.
async fn large(hint: &str, pair: Pair, way: Way) {
    let mut scene = Scene::new(hint, pair, way, &[ITEM]).await;
    scene.start().await;
    for side in way.sources() {
        let base = if *side == Side::A { OF_A } else { OF_B };
        let many = numbers(100_000);
        let steps = format!(
            "INSERT INTO item VALUES ({0}, 'before', 1, NULL);
             BEGIN; INSERT INTO item SELECT {0} + 1000 + i, concat('row ', i), i, NULL FROM {many}; UPDATE item SET n = n + 1 WHERE id = {0} + 1500; COMMIT;
             INSERT INTO item VALUES ({0} + 1, 'after', 1, NULL);
             DELETE FROM item WHERE id BETWEEN {0} + 1010 AND {0} + 90000;
             UPDATE item SET note = 'left' WHERE id > {0} + 1000",
            base
        );
        scene.exec(*side, &steps).await;
    }
    scene.wait_equal().await;
    assert_eq!(scene.a.count("item").await, 11_011 * way.sources().len() as i64);
    scene.assert_no_conflicts().await;
}

/// What the last changes leave to do is done: their tombstones are gone, and the checkpoints that took are written.
async fn at_rest(scene: &Scene) {
    scene.all_collected("item").await;
    let mut before = everything(scene).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(8)).await;
        let now = everything(scene).await;
        if now == before {
            return;
        }
        before = now;
    }
    panic!("the links find no rest: {before:?}");
}

/// Links that have nothing to do write nothing at all, in either mode.
///
/// The stated bound is one checkpoint per link and five minutes (or 16 MiB), for log that was read and held nothing
/// for the other side. So what goes on in other tables writes nothing either, here.
async fn silence(pair: Pair) {
    let mut scene = Scene::private(pair, Way::Merge, &[ITEM, SEAT], &Options::default()).await;
    for side in [Side::A, Side::B] {
        scene.exec(side, "CREATE TABLE ledger (id int PRIMARY KEY, n int); CREATE TABLE elsewhere (id int PRIMARY KEY)").await;
    }
    let second = format!(
        "[[sync]]\nname = \"one_way\"\nnodes = [\"a\", \"b\"]\nmode = \"transactional\"\nfrom = \"{0}\"\ntables = [\"ledger\"]\nseed = \"from:{0}\"",
        if pair.0 == Kind::Postgres18 { "a" } else { "b" }
    );
    // The lease is renewed once in a third of its time: not while the writes are counted.
    scene.configure("from:a", &format!("{second}\n[limits]\nlease_ttl_s = 3600"));
    scene.start().await;
    let rows: Vec<String> = (1..=50)
        .map(|n| format!("INSERT INTO item VALUES ({n}, 'a', {n}, NULL)"))
        .collect();
    scene.exec(Side::A, &rows.join(";")).await;
    scene.wait_equal().await;
    scene
        .exec(
            Side::B,
            "UPDATE item SET n = n + 1; DELETE FROM item WHERE id < 10",
        )
        .await;
    let source = if pair.0 == Kind::Postgres18 {
        Side::A
    } else {
        Side::B
    };
    scene
        .exec(
            source,
            "INSERT INTO ledger VALUES (1, 1); UPDATE ledger SET n = 2",
        )
        .await;
    harness::wait_equal(&scene.a, &scene.b, "ledger", &["id"], &["n"], LIMIT).await;
    scene.wait_equal().await;
    at_rest(&scene).await;
    let checkpoints = checkpoints(&scene).await;
    let rows: Vec<String> = (1..=300)
        .map(|n| format!("INSERT INTO elsewhere VALUES ({n})"))
        .collect();
    scene.exec(Side::A, &rows.join(";")).await;
    scene.exec(Side::B, &rows.join(";")).await;

    let before = everything(&scene).await;
    // Settings are looked at every 5 s, logs' ends every 2 s.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let after = everything(&scene).await;
    assert_eq!(before, after, "somebody wrote while nobody had anything to write");
    assert_eq!(
        checkpoints,
        self::checkpoints(&scene).await,
        "other tables' traffic moved a checkpoint"
    );
    scene.assert_running();
    // The links were silent, not dead, and the measure is not blind.
    scene
        .exec(Side::A, "INSERT INTO item VALUES (1000, 'x', 1, NULL)")
        .await;
    scene
        .exec(Side::B, "INSERT INTO item VALUES (2000, 'x', 1, NULL)")
        .await;
    scene.exec(source, "INSERT INTO ledger VALUES (2, 2)").await;
    harness::wait_equal(&scene.a, &scene.b, "ledger", &["id"], &["n"], LIMIT).await;
    scene.wait_equal().await;
    assert_ne!(written(&scene).await, after.0, "the measure does not see writes");
}

/// Every write on either server, and the stamps of the users' rows.
async fn everything(scene: &Scene) -> ((String, String), Vec<harness::Rows>) {
    let stamps = "SELECT id, tidelock_version, tidelock_origin FROM item ORDER BY id";
    let rows = vec![scene.a.rows(stamps).await, scene.b.rows(stamps).await];
    (written(scene).await, rows)
}

async fn checkpoints(scene: &Scene) -> Vec<harness::Rows> {
    let sql = "SELECT sync, link, seq FROM tidelock.checkpoint ORDER BY sync, link";
    vec![scene.a.rows(sql).await, scene.b.rows(sql).await]
}

/// Everything that was ever written on either server, in any schema: the next transaction number of PostgreSQL, and
/// the transactions in the binlog.
async fn written(scene: &Scene) -> (String, String) {
    let of = async |side: Side| {
        let db = scene.db(side);
        let sql = match db.kind() {
            Kind::Mysql => "SELECT @@global.gtid_executed",
            Kind::Mariadb => "SELECT @@global.gtid_binlog_pos",
            _ => "SELECT pg_snapshot_xmax(pg_current_snapshot())",
        };
        db.one(sql).await
    };
    (of(Side::A).await, of(Side::B).await)
}

const TRADE: Table = Table {
    name: "trade",
    body: "id int NOT NULL PRIMARY KEY, u varchar(100), body {text}, n int, CONSTRAINT trade_u UNIQUE (u)",
    key: &["id"],
    columns: &["u", "body", "n"],
};

/// Large, and not to be compressed into its row.
fn large_text(seed: u64) -> String {
    format!("(SELECT string_agg(md5('{seed}' || g), '') FROM generate_series(1, 600) g)")
}

/// Rows that trade unique values and keys with a temporary one, in one transaction and in several that are applied
/// as one, and whatever else such rows may do.
async fn trading(pair: Pair) {
    let mut scene = Scene::new("e2e_trades", pair, Way::AToB, &[TRADE]).await;
    let rows = [(1, "a"), (2, "b"), (3, "c")].map(|(id, u)| {
        let body = large_text(id);
        format!("INSERT INTO trade VALUES ({id}, '{u}', {body}, {id})")
    });
    scene.exec(Side::A, &rows.join(";")).await;
    scene.start().await;
    let values = |of: [i32; 2], first: &str, second: &str| {
        let [a, b] = of;
        format!(
            "UPDATE trade SET u = 'tmp' WHERE id = {a}; UPDATE trade SET u = '{first}' WHERE id = {b};
             UPDATE trade SET u = '{second}' WHERE id = {a};"
        )
    };
    let keys = "UPDATE trade SET id = 99 WHERE id = 1; UPDATE trade SET id = 1 WHERE id = 2; UPDATE trade SET id = 2 WHERE id = 99;";
    let at_once = |statements: &str| format!("BEGIN; {statements} COMMIT");
    scene.exec(Side::A, &at_once(&values([1, 2], "a", "b"))).await;
    scene.wait_equal().await;
    scene.exec(Side::A, &at_once(keys)).await;
    scene.wait_equal().await;
    scene.apart(&values([3, 2], "c", "b"), "").await;
    scene
        .apart(&format!("{keys} {}", values([1, 3], "tmp2", "c")), "")
        .await;
    scene.assert_no_conflicts().await;

    let mut random = Random::new("trades");
    for _ in 0..2 {
        let transactions = random_trades(&scene, &mut random).await;
        scene.exec(Side::A, &transactions).await;
        scene.wait_equal().await;
        let transactions = random_trades(&scene, &mut random).await;
        scene.apart(&transactions, "").await;
    }
    scene.assert_no_conflicts().await;
}

/// Transactions that are legal statement by statement, from what stands on A.
async fn random_trades(scene: &Scene, random: &mut Random) -> String {
    let rows = scene.a.rows("SELECT id, u FROM trade").await.into_iter();
    let mut rows: BTreeMap<u64, String> = rows
        .map(|row| (row[0].as_ref().unwrap().parse().unwrap(), row[1].clone().unwrap()))
        .collect();
    let mut transactions = String::new();
    for _ in 0..60 {
        transactions.push_str("BEGIN;");
        for _ in 0..=random.below(5) {
            let (id, free) = (random.below(5), random.below(5));
            let u = format!("r{}", random.below(6));
            let is_taken = rows.values().any(|other| *other == u);
            let statement = match (rows.contains_key(&id), random.below(6)) {
                (false, _) if !is_taken => {
                    rows.insert(id, u.clone());
                    format!("INSERT INTO trade VALUES ({id}, '{u}', {}, 0)", large_text(id))
                }
                (true, 0) => {
                    rows.remove(&id);
                    format!("DELETE FROM trade WHERE id = {id}")
                }
                (true, 1 | 2) if !rows.contains_key(&free) => {
                    let u = rows.remove(&id).unwrap();
                    rows.insert(free, u);
                    format!("UPDATE trade SET id = {free} WHERE id = {id}")
                }
                (true, 3 | 4) if !is_taken => {
                    rows.insert(id, u.clone());
                    format!("UPDATE trade SET u = '{u}' WHERE id = {id}")
                }
                (true, _) => format!("UPDATE trade SET n = n + 1 WHERE id = {id}"),
                (false, _) => continue,
            };
            transactions.push_str(&statement);
            transactions.push(';');
        }
        transactions.push_str("COMMIT;");
    }
    transactions
}

const KEYED: Table = Table {
    name: "keyed",
    body: "id int NOT NULL PRIMARY KEY, n int",
    key: &["id"],
    columns: &["n"],
};

async fn moving(hint: &str, pair: Pair, way: Way) {
    let mut scene = Scene::new(hint, pair, way, &[KEYED]).await;
    let own = "ALTER TABLE keyed ADD own varchar(20) DEFAULT 'default'";
    for side in scene.targets() {
        scene.exec(side, own).await;
    }
    if way == Way::Merge {
        scene.configure("from:a", "[sync.table.keyed]\nskip = [\"own\"]");
    }
    let seeder = way.sources()[0];
    let rows = [1, 2, 3, 4].map(|id| format!("INSERT INTO keyed (id, n) VALUES ({id}, {id})"));
    scene.exec(seeder, &rows.join(";")).await;
    scene.start().await;
    scene.wait_equal().await;
    for side in scene.targets() {
        scene
            .exec(side, &format!("UPDATE keyed SET own = concat('{side:?}', n)"))
            .await;
        scene.wait_equal().await;
    }
    let swap = "UPDATE keyed SET id = 99 WHERE n = 3; UPDATE keyed SET id = 3 WHERE n = 4; UPDATE keyed SET id = 4 WHERE n = 3;";
    let back = "UPDATE keyed SET id = 99 WHERE n = 3; UPDATE keyed SET id = 4 WHERE n = 4; UPDATE keyed SET id = 3 WHERE n = 3;";
    for (number, source) in way.sources().iter().enumerate() {
        let base = 10 * (number + 1);
        let moves = format!("UPDATE keyed SET id = {base} + n WHERE n < 3; BEGIN; {swap} COMMIT");
        scene.exec(*source, &moves).await;
        scene.wait_equal().await;
        let apart = format!("UPDATE keyed SET id = id + 5 WHERE n < 3; {back}");
        match source {
            Side::A => scene.apart(&apart, "").await,
            Side::B => scene.apart("", &apart).await,
        }
        for side in scene.targets() {
            let rows = scene.db(side).rows("SELECT own FROM keyed ORDER BY n").await;
            let own: Vec<String> = rows.into_iter().flatten().flatten().collect();
            let kept = [1, 2, 3, 4].map(|n| format!("{side:?}{n}"));
            assert_eq!(own, kept, "of {side:?}, moved by {source:?}");
        }
    }
    scene.assert_no_conflicts().await;
}
