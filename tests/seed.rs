//! The first start: filling an empty side, beginning with two equal ones, and refusing what would lose rows.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use scenario::{ITEM, Pair, SHOP, Scene, Side, Way, numbers};

all_pairs! {
    copy_goes_both_ways => copy_goes_both_ways;
    copy_while_users_write => copy_while_users_write;
    equal_sides_start => equal_sides_start;
    unequal_sides_are_refused => unequal_sides_are_refused;
    full_side_is_not_filled => full_side_is_not_filled;
    old_tombstones_do_not_count => old_tombstones_do_not_count;
}

const THREE: &str = "INSERT INTO item VALUES (1, 'a', 1, 'x'); INSERT INTO item VALUES (2, 'b', 2, NULL); INSERT INTO item VALUES (3, 'c', 3, 'é🌊')";

async fn copy_goes_both_ways(pair: Pair) {
    for (seed, from) in [("from:a", Side::A), ("from:b", Side::B)] {
        let mut scene = Scene::new("seed", pair, Way::Merge, &SHOP).await;
        scene.configure(seed, "");
        scene.exec(from, THREE).await;
        scene
            .exec(
                from,
                &format!(
                    "INSERT INTO item SELECT 100 + i, 'many', i, NULL FROM {}",
                    numbers(1000)
                ),
            )
            .await;
        scene.start().await;
        scene.wait_equal().await;
        assert_eq!(scene.a.count("item").await, 1003);
        scene.assert_no_conflicts().await;
    }
}

/// Every row a copy sees half of is seen whole by the stream: nothing is lost between the two, nothing doubled.
async fn copy_while_users_write(pair: Pair) {
    for (seed, from) in [("from:a", Side::A), ("from:b", Side::B)] {
        let mut scene = Scene::new("seedload", pair, Way::Merge, &[ITEM]).await;
        scene.configure(seed, "");
        scene
            .exec(
                from,
                &format!(
                    "INSERT INTO item SELECT i, 'old', 0, NULL FROM {}",
                    numbers(10_000)
                ),
            )
            .await;
        scene.lock.ok(&["setup", "--execute"]).await;
        let mut session = scene.db(from).session().await;
        let writer = tokio::spawn(async move {
            for n in 0..400_i64 {
                session
                    .exec(&format!(
                        "UPDATE item SET n = n + 1 WHERE id = {}",
                        n * 17 % 10_000
                    ))
                    .await;
                session
                    .exec(&format!(
                        "INSERT INTO item VALUES ({}, 'new', 0, NULL)",
                        20_000 + n
                    ))
                    .await;
                session
                    .exec(&format!("DELETE FROM item WHERE id = {}", n * 23 % 10_000))
                    .await;
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        });
        scene.run().await;
        writer.await.unwrap();
        // A probe in a table that is still to be filled would be refused.
        scene.streaming().await;
        scene.wait_equal().await;
        assert_eq!(
            scene.a.one("SELECT count(*) FROM item WHERE name = 'new'").await,
            "400"
        );
        scene.assert_no_conflicts().await;
    }
}

async fn equal_sides_start(pair: Pair) {
    let mut scene = Scene::new("equal", pair, Way::Merge, &[ITEM]).await;
    scene.configure("none", "");
    scene.exec(Side::A, THREE).await;
    scene.exec(Side::B, THREE).await;
    scene.start().await;
    scene.exec(Side::A, "UPDATE item SET n = 10 WHERE id = 1").await;
    scene
        .exec(
            Side::B,
            "DELETE FROM item WHERE id = 2; UPDATE item SET n = 30 WHERE id = 3",
        )
        .await;
    scene.wait_equal().await;
    assert_eq!(scene.a.one("SELECT sum(n) FROM item").await, "40");
    scene.assert_no_conflicts().await;
}

/// A missing row, a row too many, one other cell: each is found, said with its table, and mended by making it equal.
async fn unequal_sides_are_refused(pair: Pair) {
    let scene = {
        let mut scene = Scene::new("unequal", pair, Way::Merge, &[ITEM]).await;
        scene.configure("none", "");
        scene
    };
    scene.exec(Side::A, THREE).await;
    scene.exec(Side::B, THREE).await;
    scene
        .exec(Side::B, "INSERT INTO item VALUES (4, 'd', 4, NULL)")
        .await;
    let output = scene.lock.run(&["check"]).await;
    assert_eq!(output.code, 3, "not set up: {}{}", output.stdout, output.stderr);
    scene.exec(Side::B, "DELETE FROM item WHERE id = 4").await;
    for (spoil, mend) in [
        (
            "DELETE FROM item WHERE id = 2",
            "INSERT INTO item VALUES (2, 'b', 2, NULL)",
        ),
        (
            "UPDATE item SET note = '' WHERE id = 2",
            "UPDATE item SET note = NULL WHERE id = 2",
        ),
    ] {
        scene.lock.ok(&["setup", "--execute"]).await;
        scene.exec(Side::B, spoil).await;
        let output = scene.lock.run(&["run", "--once"]).await;
        assert_eq!(output.code, 5, "{spoil}: {}", output.stderr);
        assert!(
            output.stderr.contains("not the same rows") && output.stderr.contains("item"),
            "{}",
            output.stderr
        );
        assert!(
            output.stderr.contains("hint:") && output.stderr.contains("from:a"),
            "{}",
            output.stderr
        );
        scene.exec(Side::B, mend).await;
        // Equal again for its users, but written after set-up: the stamps differ, and the message says so.
        let output = scene.lock.run(&["run", "--once"]).await;
        assert_eq!(output.code, 5, "{spoil}: {}", output.stderr);
        assert!(
            output.stderr.contains("hold the same rows")
                && output.stderr.contains("DROP COLUMN tidelock_version"),
            "{}",
            output.stderr
        );
        scene.lock.ok(&["teardown", "--execute"]).await;
        for side in [Side::A, Side::B] {
            scene
                .exec(
                    side,
                    "ALTER TABLE item DROP COLUMN tidelock_version, DROP COLUMN tidelock_origin",
                )
                .await;
        }
    }
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.lock.ok(&["run", "--once"]).await;
    scene.assert_equal().await;
}

async fn full_side_is_not_filled(pair: Pair) {
    let scene = Scene::new("full", pair, Way::Merge, &[ITEM]).await;
    scene.exec(Side::A, THREE).await;
    scene
        .exec(Side::B, "INSERT INTO item VALUES (7, 'mine', 7, NULL)")
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let output = scene.lock.run(&["run", "--once"]).await;
    assert_eq!(output.code, 5, "{}", output.stderr);
    assert!(
        output.stderr.contains("already holds rows") && output.stderr.contains("item"),
        "{}",
        output.stderr
    );
    assert_eq!(
        (scene.a.count("item").await, scene.b.count("item").await),
        (3, 1),
        "nothing was touched"
    );
    scene.exec(Side::B, "DELETE FROM item").await;
    scene.lock.ok(&["run", "--once"]).await;
    scene.assert_equal().await;
    // What was deleted before the start is nobody's business any more: its key is free on both sides.
    scene
        .exec(Side::A, "INSERT INTO item VALUES (7, 'of a', 7, NULL)")
        .await;
    scene.lock.ok(&["run", "--once"]).await;
    scene.assert_equal().await;
}

/// The same for rows that came and went between set-up and start where both sides were declared equal.
async fn old_tombstones_do_not_count(pair: Pair) {
    let mut scene = Scene::new("oldtomb", pair, Way::Merge, &[ITEM]).await;
    scene.configure("none", "");
    scene.lock.ok(&["setup", "--execute"]).await;
    scene
        .exec(
            Side::A,
            "INSERT INTO item VALUES (1, 'x', 1, NULL); UPDATE item SET n = 2; DELETE FROM item",
        )
        .await;
    scene
        .exec(
            Side::B,
            "INSERT INTO item VALUES (2, 'x', 1, NULL); UPDATE item SET n = 2; DELETE FROM item",
        )
        .await;
    scene.lock.ok(&["run", "--once"]).await;
    scene
        .exec(Side::A, "INSERT INTO item VALUES (2, 'of a', 1, NULL)")
        .await;
    scene
        .exec(Side::B, "INSERT INTO item VALUES (1, 'of b', 1, NULL)")
        .await;
    scene.lock.ok(&["run", "--once"]).await;
    assert_eq!(scene.a.count("item").await, 2);
    scene.assert_equal().await;
    scene.assert_no_conflicts().await;
}
