//! Everything a user does to rows, in both modes and all directions, on both pairs of engines.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::{Kind, Options};
use scenario::{ITEM, LIMIT, Pair, Random, SEAT, SHOP, Scene, Side, Way, numbers};
use std::time::Duration;

pairs! {
    merge => |pair| changes("e2e_merge", pair, Way::Merge);
    transactional_from_postgres => |pair| changes("e2e_to_b", pair, Way::AToB);
    transactional_to_postgres => |pair| changes("e2e_to_a", pair, Way::BToA);
    large_transaction_merge => |pair| large("large_merge", pair, Way::Merge);
    large_transaction_from_postgres => |pair| large("large_to_b", pair, Way::AToB);
    large_transaction_to_postgres => |pair| large("large_to_a", pair, Way::BToA);
    silent_when_idle => silence;
}

/// Keys of the rows that were there before the first copy.
const OLD: i64 = 0;
const OF_A: i64 = 1_000_000;
const OF_B: i64 = 2_000_000;
const ONCE: i64 = 100_000;

async fn changes(hint: &str, pair: Pair, way: Way) {
    let mut scene = Scene::new(hint, pair, way, &SHOP).await;
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

fn steps(pair: Pair, way: Way, side: Side, base: i64) -> String {
    if way.sources().contains(&side) {
        format!("{};{}", rows(pair, side, base), changes_of(base))
    } else {
        String::new()
    }
}

fn rows(pair: Pair, side: Side, base: i64) -> String {
    let kind = if side == Side::A { pair.0 } else { pair.1 };
    let id = |n: i64| base + n;
    let mut list = vec![];
    for n in 1..=30 {
        let note = if n % 3 == 0 {
            "NULL".to_owned()
        } else {
            format!("'note {n} é 🌊 \"x\" ''y'''")
        };
        list.push(format!(
            "INSERT INTO item VALUES ({}, 'item {n}', {n}, {note})",
            id(n)
        ));
    }
    for n in 1..=6 {
        let (text, bytes) = (
            long_text(id(n) as u64, 60_000),
            long_bytes(kind, id(n) as u64, 20_000),
        );
        list.push(format!(
            "INSERT INTO doc VALUES ({}, 'doc {n}', '{text}', {bytes})",
            id(n)
        ));
    }
    for word in [
        "alpha", "Alpha", "ALPHA", "ä", "Ä", "straße", "日本", "🌊", "it''s", "a b", "%_\"`", "",
    ] {
        list.push(format!("INSERT INTO word VALUES ('{word}{base}', 1)"));
        list.push(format!("INSERT INTO line VALUES ({}, '{word}', 7)", id(1)));
        list.push(format!("INSERT INTO line VALUES ({}, '{word}', 8)", id(2)));
    }
    for n in 1..=9 {
        list.push(format!("INSERT INTO seat VALUES ({}, 'place {}')", id(n), id(n)));
    }
    list.push(format!("INSERT INTO order_head VALUES ({}, 'first')", id(1)));
    list.push(format!("INSERT INTO order_line VALUES ({}, {}, 1)", id(1), id(1)));
    list.join(";")
}

fn changes_of(base: i64) -> String {
    [plain(base), transactions(base), keys(base), uniques(base)].join(";")
}

fn plain(base: i64) -> String {
    let id = |n: i64| base + n;
    [
        format!("UPDATE item SET n = n + 1000, note = NULL WHERE id = {}", id(1)),
        format!("UPDATE item SET note = 'now a note' WHERE id = {}", id(3)),
        format!(
            "UPDATE item SET n = n * 2 WHERE id BETWEEN {} AND {}",
            id(4),
            id(8)
        ),
        // Nothing changes.
        format!("UPDATE item SET n = n WHERE id = {}", id(9)),
        format!("UPDATE item SET n = 0 WHERE id = {} AND n = -1", id(9)),
        format!("DELETE FROM item WHERE id IN ({}, {})", id(10), id(11)),
        // Long values: untouched, touched, gone.
        format!("UPDATE doc SET title = 'only the title' WHERE id = {}", id(1)),
        format!("UPDATE doc SET body = concat(body, 'more') WHERE id = {}", id(2)),
        format!("UPDATE doc SET raw = NULL, title = NULL WHERE id = {}", id(3)),
        format!("DELETE FROM doc WHERE id = {}", id(4)),
    ]
    .join(";")
}

fn transactions(base: i64) -> String {
    let id = |n: i64| base + n;
    let (one, two, three) = (id(40), id(41), id(42));
    [
        // Parents and children, to and fro.
        format!("BEGIN; INSERT INTO order_head VALUES ({one}, 'c'); INSERT INTO order_line VALUES ({one}, {one}, 5); INSERT INTO order_line VALUES ({two}, {one}, 6); UPDATE item SET n = n + 1 WHERE id = {}; COMMIT", id(12)),
        format!("BEGIN; INSERT INTO order_head VALUES ({two}, 'd'); UPDATE order_line SET head = {two} WHERE head = {one}; DELETE FROM order_head WHERE id = {one}; COMMIT"),
        "BEGIN; COMMIT".to_owned(),
        "BEGIN; UPDATE item SET n = 1 WHERE id = -1; COMMIT".to_owned(),
        format!("BEGIN; INSERT INTO item VALUES ({one}, 'never', 0, NULL); DELETE FROM item WHERE id < {one}; ROLLBACK"),
        format!("BEGIN; INSERT INTO item VALUES ({one}, 'kept', 1, NULL); SAVEPOINT s; INSERT INTO item VALUES ({two}, 'dropped', 2, NULL); UPDATE item SET n = -1 WHERE id = {one}; ROLLBACK TO SAVEPOINT s; INSERT INTO item VALUES ({three}, 'kept', 3, NULL); SAVEPOINT t; UPDATE item SET n = 33 WHERE id = {three}; RELEASE SAVEPOINT t; COMMIT"),
        // Everything to one row in one transaction: it comes to nothing.
        format!("BEGIN; INSERT INTO item VALUES ({0}, 'x', 1, 'y'); UPDATE item SET n = 2 WHERE id = {0}; DELETE FROM item WHERE id = {0}; COMMIT", id(43)),
        // Out and in again, in one transaction and apart.
        format!("BEGIN; DELETE FROM item WHERE id = {0}; INSERT INTO item VALUES ({0}, 'again', 7, 'in one'); COMMIT", id(13)),
        format!("DELETE FROM item WHERE id = {0}; INSERT INTO item VALUES ({0}, 'again', 8, 'apart'); UPDATE item SET n = 9 WHERE id = {0}", id(14)),
        format!("DELETE FROM item WHERE id = {0}; INSERT INTO item VALUES ({0}, 'twice', 1, 'a'); DELETE FROM item WHERE id = {0}; INSERT INTO item VALUES ({0}, 'twice', 2, 'b')", id(15)),
    ]
    .join(";")
}

fn keys(base: i64) -> String {
    let id = |n: i64| base + n;
    [
        format!("UPDATE item SET id = {} WHERE id = {}", id(60), id(16)),
        format!("UPDATE item SET id = {}, n = 5, note = 'moved' WHERE id = {}", id(61), id(17)),
        // The long values of this row do not change, so PostgreSQL does not send them.
        format!("UPDATE doc SET id = {} WHERE id = {}", id(60), id(5)),
        format!("BEGIN; UPDATE doc SET title = 'then moved' WHERE id = {0}; UPDATE doc SET id = {1} WHERE id = {0}; UPDATE doc SET title = 'and changed' WHERE id = {1}; COMMIT", id(6), id(61)),
        // Away and back, and round in a circle, within one transaction.
        format!("BEGIN; UPDATE item SET id = {1} WHERE id = {0}; UPDATE item SET id = {0}, n = 77 WHERE id = {1}; COMMIT", id(18), id(62)),
        format!("BEGIN; UPDATE item SET id = {2} WHERE id = {0}; UPDATE item SET id = {0} WHERE id = {1}; UPDATE item SET id = {1} WHERE id = {2}; COMMIT", id(19), id(20), id(63)),
        // A key that somebody has left is free again.
        format!("INSERT INTO item VALUES ({}, 'successor', 1, NULL)", id(16)),
        format!("UPDATE word SET n = n + 1 WHERE w IN ('alpha{base}', 'Ä{base}', '{base}', '🌊{base}')"),
        format!("UPDATE word SET w = 'beta{base}' WHERE w = 'Alpha{base}'"),
        format!("UPDATE word SET w = 'AlPhA{base}' WHERE w = 'ALPHA{base}'"),
        format!("DELETE FROM word WHERE w = 'straße{base}'"),
        format!("UPDATE line SET qty = 9 WHERE ord = {} AND part = 'alpha'", id(1)),
        format!("UPDATE line SET ord = {} WHERE ord = {} AND part = 'ä'", id(3), id(1)),
        format!("UPDATE line SET part = 'other' WHERE ord = {} AND part = '日本'", id(2)),
        format!("DELETE FROM line WHERE ord = {} AND part <> 'ALPHA' AND part <> 'other'", id(2)),
    ]
    .join(";")
}

fn uniques(base: i64) -> String {
    let id = |n: i64| base + n;
    let place = |n: i64| format!("'place {}'", base + n);
    let set = |n: i64, to: String| format!("UPDATE seat SET place = {to} WHERE id = {}", id(n));
    let steps = |list: &[String]| format!("BEGIN; {}; COMMIT", list.join("; "));
    [
        // Two change places, three go round, one takes what a deleted row leaves behind.
        steps(&[set(1, "NULL".into()), set(2, place(1)), set(1, place(2))]),
        steps(&[
            set(3, "'nowhere'".into()),
            set(4, place(3)),
            set(5, place(4)),
            set(3, place(5)),
        ]),
        steps(&[
            format!("DELETE FROM seat WHERE id = {}", id(6)),
            format!("INSERT INTO seat VALUES ({}, {})", id(26), place(6)),
        ]),
        steps(&[
            format!("DELETE FROM seat WHERE id = {}", id(7)),
            set(8, place(7)),
            format!("INSERT INTO seat VALUES ({}, {})", id(7), place(8)),
        ]),
        // The same over several transactions that may be applied as one.
        set(9, "NULL".into()),
        format!("INSERT INTO seat VALUES ({}, {})", id(29), place(9)),
        set(9, place(29)),
    ]
    .join(";")
}

/// Not compressible enough to be kept in its row.
fn long_text(seed: u64, len: usize) -> String {
    let mut random = Random::fixed(seed);
    let mut text = String::with_capacity(len + 16);
    while text.len() < len {
        text.push_str(&format!("{:x}", random.next()));
    }
    text
}

fn long_bytes(kind: Kind, seed: u64, len: usize) -> String {
    let digits = long_text(seed, len * 2);
    let digits = &digits[..len * 2];
    if kind.is_postgres() {
        format!("'\\x{digits}'")
    } else {
        format!("x'{digits}'")
    }
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
    let checkpoints = checkpoints(&scene).await;
    let rows: Vec<String> = (1..=300)
        .map(|n| format!("INSERT INTO elsewhere VALUES ({n})"))
        .collect();
    scene.exec(Side::A, &rows.join(";")).await;
    scene.exec(Side::B, &rows.join(";")).await;

    let before = everything(&scene).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
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
    let log = if scene.b.kind() == Kind::Mysql {
        "SELECT @@global.gtid_executed"
    } else {
        "SELECT @@global.gtid_binlog_pos"
    };
    (
        scene
            .a
            .one("SELECT pg_snapshot_xmax(pg_current_snapshot())")
            .await,
        scene.b.one(log).await,
    )
}
