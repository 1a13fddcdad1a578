//! TRUNCATE and DDL in mid-stream: carried where that is safe, else the link stops and goes on after what it printed.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use scenario::{ITEM, LIMIT, ORDER_HEAD, ORDER_LINE, Pair, SEAT, Scene, Side, Way, numbers};

pairs! {
    truncate_from_postgres => |pair| truncate("truncate_to_b", pair, Way::AToB);
    truncate_to_postgres => |pair| truncate("truncate_to_a", pair, Way::BToA);
    truncate_in_a_merge_stops_right_before_it => truncate_merge;
    a_reader_never_sees_a_refilled_table_empty => refilled;
}

fn rows(from: i64, to: i64) -> String {
    let rows: Vec<String> = (from..=to)
        .map(|n| format!("({n}, 'item {n}', {n}, NULL)"))
        .collect();
    format!("INSERT INTO item VALUES {}", rows.join(", "))
}

async fn truncate(hint: &str, pair: Pair, way: Way) {
    let tables = [ITEM, SEAT, ORDER_HEAD, ORDER_LINE];
    let mut scene = Scene::new(hint, pair, way, &tables).await;
    let source = way.sources()[0];
    scene.exec(source, &rows(1, 20)).await;
    scene.start().await;
    let orders = "INSERT INTO order_head VALUES (1, 'c'), (2, 'd'); INSERT INTO order_line VALUES (1, 1, 5), (2, 2, 6)";
    scene.exec(source, orders).await;
    scene.wait_equal().await;

    scene.exec(source, "TRUNCATE TABLE item").await;
    scene.wait_equal().await;
    assert_eq!(scene.db(scene.targets()[0]).count("item").await, 0);
    // Before, after and between, all in the log at once.
    let steps = |base: i64| {
        let (one, two) = (base + 1, base + 2);
        [
            rows(base, base + 9),
            format!("UPDATE item SET n = 0 WHERE id = {one}"),
            "TRUNCATE item".to_owned(),
            "TRUNCATE TABLE item".to_owned(),
            rows(base + 5, base + 20),
            format!("DELETE FROM item WHERE id = {}", base + 6),
            "INSERT INTO seat VALUES (1, 'x'), (2, 'y')".to_owned(),
            "TRUNCATE TABLE seat".to_owned(),
            format!("INSERT INTO item VALUES ({one}, 'again', 1, NULL), ({two}, 'again', 1, NULL)"),
        ]
        .join(";")
    };
    scene.exec(source, &steps(100)).await;
    scene.wait_equal().await;
    assert_eq!(scene.db(scene.targets()[0]).count("item").await, 17);
    scene.stop().await;
    scene.exec(source, &steps(200)).await;
    scene.exec(source, &several(pair, source)).await;
    scene.lock.ok(&["run", "--once"]).await;
    scene.assert_equal().await;
    // A row that only the target has goes too: the source's rows are all there are.
    scene
        .exec(
            scene.targets()[0],
            "INSERT INTO item VALUES (9999, 'stray', 1, NULL)",
        )
        .await;
    scene.exec(source, "TRUNCATE TABLE item").await;
    scene.exec(source, &rows(300, 310)).await;
    scene.lock.ok(&["run", "--once"]).await;
    scene.assert_equal().await;
    assert_eq!(scene.b.count("item").await, 11);
    scene.assert_no_conflicts().await;
}

/// Several tables at once, those that others point to, and within transactions larger than a group.
fn several(pair: Pair, source: Side) -> String {
    let many = numbers(20_000);
    let fill =
        |base: i64| format!("INSERT INTO item SELECT {base} + i, concat('row ', i), i, NULL FROM {many}");
    let kind = if source == Side::A { pair.0 } else { pair.1 };
    if kind.is_postgres() {
        [
            "BEGIN; INSERT INTO seat VALUES (7, 'kept'); TRUNCATE item; ROLLBACK".to_owned(),
            "TRUNCATE order_head RESTART IDENTITY CASCADE".to_owned(),
            "INSERT INTO order_head VALUES (3, 'e'); INSERT INTO order_line VALUES (3, 3, 7)".to_owned(),
            "BEGIN; INSERT INTO seat VALUES (8, 'gone'); TRUNCATE seat, order_line; INSERT INTO seat VALUES (9, 'stays'); COMMIT".to_owned(),
            format!("BEGIN; {}; TRUNCATE item; {}; UPDATE item SET n = 7 WHERE id < 50100; COMMIT", fill(10_000), fill(50_000)),
            "BEGIN; INSERT INTO item VALUES (1, 'a', 1, NULL); SAVEPOINT s; TRUNCATE item; ROLLBACK TO SAVEPOINT s; INSERT INTO item VALUES (2, 'b', 1, NULL); COMMIT".to_owned(),
        ]
        .join(";")
    } else {
        [
            "SET foreign_key_checks = 0; TRUNCATE TABLE order_head; TRUNCATE order_line; SET foreign_key_checks = 1".to_owned(),
            "INSERT INTO order_head VALUES (3, 'e'); INSERT INTO order_line VALUES (3, 3, 7)".to_owned(),
            fill(10_000),
            "TRUNCATE /* all */ `item`".to_owned(),
            fill(50_000),
        ]
        .join(";")
    }
}

/// Two ways nothing is emptied: what came before is applied, and the other side keeps its rows.
async fn truncate_merge(pair: Pair) {
    let mut scene = Scene::new("truncate_merge", pair, Way::Merge, &[ITEM]).await;
    scene.start().await;
    scene.exec(Side::A, &rows(1, 5)).await;
    scene.wait_equal().await;
    for (source, target, node) in [(Side::A, Side::B, "a"), (Side::B, Side::A, "b")] {
        scene.stop().await;
        let before = scene.db(target).count("item").await;
        let base = if source == Side::A { 50 } else { 60 };
        scene
            .exec(
                source,
                &format!(
                    "{}; TRUNCATE TABLE item; {}",
                    rows(base, base),
                    rows(base + 1, base + 1)
                ),
            )
            .await;
        let said = scene.lock.run(&["run", "--once"]).await;
        assert_eq!(said.code, 1, "{}", said.stderr);
        for word in [
            "item",
            "TRUNCATE",
            &format!("tidelock skip '{node}->"),
            "--at '",
            "--execute",
        ] {
            assert!(said.stderr.contains(word), "{word} is not in {}", said.stderr);
        }
        let found = scene.db(target).count("item").await;
        assert_eq!(
            found,
            before + 1,
            "what came before the TRUNCATE is applied, and nothing removed"
        );
        // The rest of the way is a new copy.
        scene.lock.ok(&["teardown", "--execute"]).await;
        for side in [Side::A, Side::B] {
            scene.exec(side, "DELETE FROM item; DELETE FROM probe").await;
        }
        scene.exec(Side::A, &rows(1, 5)).await;
        scene.start().await;
        scene.wait_equal().await;
    }
}

/// TRUNCATE and new rows in one transaction of PostgreSQL are one moment on the target.
async fn refilled(pair: Pair) {
    let mut scene = Scene::new("refilled", pair, Way::AToB, &[ITEM]).await;
    scene.exec(Side::A, &rows(1, 10)).await;
    scene.start().await;
    scene.wait_equal().await;
    let mut reader = scene.b.session().await;
    let over = tokio_util::sync::CancellationToken::new();
    let stop = over.clone();
    let reading = tokio::spawn(async move {
        let mut looks = 0_u32;
        while !stop.is_cancelled() {
            let found = reader.one("SELECT count(*) FROM item").await;
            assert_eq!(found, "10");
            looks += 1;
        }
        looks
    });
    for _ in 0..50 {
        scene
            .exec(Side::A, &format!("BEGIN; TRUNCATE item; {}; COMMIT", rows(1, 10)))
            .await;
    }
    scene.wait_equal().await;
    over.cancel();
    let looks = tokio::time::timeout(LIMIT, reading).await.unwrap().unwrap();
    assert!(looks > 20, "{looks}");
    scene.assert_no_conflicts().await;
}
