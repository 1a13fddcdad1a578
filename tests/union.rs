//! `seed = "union"`: two sides that held rows before they met become one set, while their users go on.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::eventually;
use scenario::{ITEM, LIMIT, Pair, SEAT, Scene, Side, Table, Way, numbers};

pairs! {
    rows_of_both_sides_are_one_set => rows_of_both_sides_are_one_set;
    what_happened_since_setup_counts => what_happened_since_setup_counts;
    a_killed_union_goes_on_under_load => a_killed_union_goes_on_under_load;
    values_that_both_sides_hold_wait => values_that_both_sides_hold_wait;
    the_later_by_its_own_column_wins => the_later_by_its_own_column_wins;
    rows_of_nobody_are_refused => rows_of_nobody_are_refused;
}

long_pairs! {
    a_large_union_is_what_was_previewed => a_large_union_is_what_was_previewed;
}

/// 1 to 600 on A and 301 to 900 on B; of those on both, every tenth is not the same.
async fn fill(scene: &Scene) {
    let numbers = numbers(1000);
    let of_a = format!(
        "INSERT INTO item SELECT i, concat('item ', i), i, NULL FROM {numbers} WHERE i BETWEEN 1 AND 600"
    );
    let of_b = format!(
        "INSERT INTO item SELECT i, concat('item ', i), CASE WHEN i % 10 = 0 AND i <= 600 THEN -i ELSE i END, NULL FROM {numbers} \
         WHERE i BETWEEN 301 AND 900"
    );
    scene.exec(Side::A, &of_a).await;
    scene.exec(Side::B, &of_b).await;
}

async fn united(hint: &str, pair: Pair, more: &str) -> Scene {
    let mut scene = Scene::new(hint, pair, Way::Merge, &[ITEM]).await;
    fill(&scene).await;
    scene.configure("union", more);
    scene.lock.ok(&["setup", "--execute"]).await;
    scene
}

/// Of a table: only on A, only on B, same, newer on A, newer on B, tie.
async fn preview(scene: &Scene) -> [u64; 6] {
    preview_of(scene, "item").await
}

async fn preview_of(scene: &Scene, name: &str) -> [u64; 6] {
    let told = scene.lock.ok(&["plan", "--preview", "--json"]).await;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let tables = told["syncs"][0]["preview"].as_array().unwrap();
    let is_item = |table: &&serde_json::Value| table["table"].as_str().unwrap().ends_with(name);
    let item = tables.iter().find(is_item).unwrap();
    [
        "only_here",
        "only_there",
        "same",
        "newer_here",
        "newer_there",
        "tie",
    ]
    .map(|what| item[what].as_u64().unwrap())
}

async fn rows_of_both_sides_are_one_set(pair: Pair) {
    let mut scene = united("union", pair, "").await;
    assert_eq!(preview(&scene).await, [300, 300, 270, 0, 0, 30]);
    let told = scene.lock.ok(&["plan", "--preview"]).await;
    assert!(
        told.contains("only on a 300") && told.contains("tie 30"),
        "{told}"
    );
    scene.run().await;
    scene.streaming().await;
    scene.wait_equal().await;
    assert_eq!(scene.a.count("item").await, 900);
    // Neither version is greater, so the node decides; and only what differs is a conflict, the same on both nodes.
    assert_eq!(scene.a.count("item WHERE n < 0").await, 30);
    for (side, outcome) in [(Side::A, "applied"), (Side::B, "kept")] {
        let found = scene.conflicts(side).await;
        assert_eq!(found.len(), 30, "{side:?}: {:?}", found.first());
        let is_it = |found: &scenario::Conflict| found.kind == "insert_exists" && found.outcome == outcome;
        assert!(found.iter().all(is_it), "{side:?}: {:?}", found.first());
    }
    // What is written now meets the stamp that it knows.
    scene.exec(Side::A, "UPDATE item SET n = n + 1000").await;
    scene
        .exec(Side::B, "INSERT INTO item VALUES (2000, 'new', 1, NULL)")
        .await;
    scene.wait_equal().await;
    assert_eq!(
        scene.conflicts(Side::B).await.len(),
        30,
        "an update of what both know"
    );
}

async fn what_happened_since_setup_counts(pair: Pair) {
    let mut scene = united("union_since", pair, "").await;
    let on_a = "UPDATE item SET n = 1 WHERE id = 310; DELETE FROM item WHERE id = 321; DELETE FROM item WHERE id = 5;
        DELETE FROM item WHERE id = 322; INSERT INTO item VALUES (322, 'again', 1, NULL); UPDATE item SET id = 5000 WHERE id = 323";
    let on_b = "DELETE FROM item WHERE id = 331; UPDATE item SET n = 2 WHERE id = 340; UPDATE item SET n = 3 WHERE id = 340;
        DELETE FROM item WHERE id = 800";
    scene.exec(Side::A, on_a).await;
    scene.exec(Side::B, on_b).await;
    scene.run().await;
    scene.streaming().await;
    scene.wait_equal().await;
    for (what, count) in [
        ("id = 310 AND n = 1", 1),
        ("id IN (321, 5, 323, 331, 800)", 0),
        ("id = 322 AND name = 'again'", 1),
        ("id = 5000", 1),
        ("id = 340 AND n = 3", 1),
    ] {
        assert_eq!(
            scene.b.count(&format!("item WHERE {what}")).await,
            count,
            "{what}"
        );
    }
}

async fn a_killed_union_goes_on_under_load(pair: Pair) {
    let mut scene = united(
        "union_killed",
        pair,
        "[limits]\ncopy_workers = 2\nchunk_rows_max = 20",
    )
    .await;
    for round in 0..4 {
        scene.run().await;
        let wanted = 12 * (round + 1);
        let done = format!("tidelock.chunk WHERE sync = '{}' AND state = 'done'", scene.sync);
        eventually(LIMIT, "chunks are done", async || {
            scene.a.count(&done).await + scene.b.count(&done).await >= wanted
        })
        .await;
        scene.lock.kill9().await;
        let write = |sign: &str| {
            format!(
                "UPDATE item SET n = {sign}{round} WHERE id % 7 = {round}; DELETE FROM item WHERE id % 50 = {round};
                 UPDATE item SET id = id + 10000 WHERE id % 60 = {round}"
            )
        };
        scene.exec(Side::A, &write("1000")).await;
        scene.exec(Side::B, &write("-1000")).await;
    }
    scene.run().await;
    scene.streaming().await;
    scene.wait_equal().await;
}

/// A unique value of two rows: nobody's row is taken away, and a person is told.
async fn values_that_both_sides_hold_wait(pair: Pair) {
    let mut scene = Scene::new("union_unique", pair, Way::Merge, &[SEAT]).await;
    scene
        .exec(Side::A, "INSERT INTO seat VALUES (1, 'window'), (2, 'aisle')")
        .await;
    scene
        .exec(Side::B, "INSERT INTO seat VALUES (3, 'window'), (2, 'aisle')")
        .await;
    scene.configure("union", "");
    scene.start().await;
    scene.crossed().await;
    for (side, own, other) in [(Side::A, 1, 3), (Side::B, 3, 1)] {
        assert_eq!(scene.db(side).count(&format!("seat WHERE id = {own}")).await, 1);
        assert_eq!(scene.db(side).count(&format!("seat WHERE id = {other}")).await, 0);
        let found = scene.conflicts(side).await;
        let kinds: Vec<&str> = found.iter().map(|found| found.kind.as_str()).collect();
        assert_eq!(kinds, ["multiple_unique_conflicts"], "{side:?}");
    }
    scene
        .exec(Side::A, "UPDATE seat SET place = 'door' WHERE id = 1")
        .await;
    scene.wait_equal().await;
    assert_eq!(scene.a.count("seat").await, 3);
}

const DATED: Table = Table {
    name: "dated",
    body: "id int NOT NULL PRIMARY KEY, n int NOT NULL, at {moment} NULL, state varchar(20) NULL",
    key: &["id"],
    columns: &["n", "state"],
};

/// Rows of before `setup` have no versions yet, but a column that tells which is the newer.
async fn the_later_by_its_own_column_wins(pair: Pair) {
    for (version, counted) in [
        ("version = \"timestamp:at\"", [1, 1, 1, 1, 1, 2]),
        (
            "version = { status = \"state\", order = [\"new\", \"paid\"] }",
            [1, 1, 1, 1, 1, 2],
        ),
    ] {
        let mut scene = Scene::new("union_dated", pair, Way::Merge, &[Table { body: "", ..DATED }]).await;
        for side in [Side::A, Side::B] {
            let moment = if scene.db(side).kind().is_postgres() {
                "timestamp(6)"
            } else {
                "datetime(6)"
            };
            let body = DATED.body.replace("{moment}", moment);
            scene.exec(side, &format!("CREATE TABLE dated ({body})")).await;
        }
        // Only here or there, the same, newer on A, newer on B, and twice neither.
        let of_a = "(1, 1, '2020-01-01 00:00:00', 'new'), (3, 3, '2020-01-01 00:00:00', 'new'),
            (4, 4, '2022-01-01 00:00:00.5', 'paid'), (5, 5, '2020-01-01 00:00:00', 'new'),
            (6, 6, NULL, NULL), (7, 7, '2020-01-01 00:00:00', 'new')";
        let of_b = "(2, 2, '2020-01-01 00:00:00', 'new'), (3, 3, '2020-01-01 00:00:00', 'new'),
            (4, -4, '2022-01-01 00:00:00.4', 'new'), (5, -5, '2021-01-01 00:00:00', 'paid'),
            (6, -6, NULL, NULL), (7, -7, '2020-01-01 00:00:00', 'new')";
        scene
            .exec(Side::A, &format!("INSERT INTO dated VALUES {of_a}"))
            .await;
        scene
            .exec(Side::B, &format!("INSERT INTO dated VALUES {of_b}"))
            .await;
        scene.configure(
            "union",
            &format!("{version}\n[sync.table.probe]\nversion = \"counter\""),
        );
        scene.lock.ok(&["setup", "--execute"]).await;
        assert_eq!(preview_of(&scene, "dated").await, counted, "{version}");
        // Later than any of those rows.
        scene
            .exec(Side::A, "INSERT INTO dated VALUES (8, 8, NULL, NULL)")
            .await;
        scene.exec(Side::A, "DELETE FROM dated WHERE id = 3").await;
        scene.run().await;
        scene.streaming().await;
        scene.wait_equal().await;
        let values = scene.a.rows("SELECT n FROM dated ORDER BY id").await;
        let values: Vec<&str> = values.iter().map(|row| row[0].as_deref().unwrap()).collect();
        assert_eq!(values, ["1", "2", "4", "-5", "-6", "-7", "8"], "{version}");
        scene.exec(Side::A, "UPDATE dated SET n = n * 10").await;
        scene.wait_equal().await;
        // The row of A that won had come back by then.
        assert_eq!(scene.conflicts(Side::A).await.len(), 3, "{version}");
        // With the row that was deleted.
        assert_eq!(scene.conflicts(Side::B).await.len(), 5, "{version}");
    }
}

const WIDE: Table = Table {
    name: "wide",
    body: "",
    key: &["id"],
    columns: &["name", "n"],
};

/// Must show: two datasets of 100,000 rows each, of which half are on both sides and a tenth of those differ; each side has
/// a column of its own. What the preview counts is what comes of it.
async fn a_large_union_is_what_was_previewed(pair: Pair) {
    let mut scene = Scene::new("union_large", pair, Way::Merge, &[WIDE]).await;
    let shared = "id int NOT NULL PRIMARY KEY, name varchar(60), n int NOT NULL";
    for (side, own) in [(Side::A, "of_a varchar(20)"), (Side::B, "of_b int")] {
        scene
            .exec(side, &format!("CREATE TABLE wide ({shared}, {own})"))
            .await;
    }
    let many = numbers(100_000);
    let of_a = format!("INSERT INTO wide SELECT i, concat('name ', i), i, 'a' FROM {many}");
    let of_b = format!(
        "INSERT INTO wide SELECT i + 50000, concat('name ', i + 50000), \
         CASE WHEN i < 50000 AND i % 10 = 0 THEN -i - 1 ELSE i + 50000 END, 7 FROM {many}"
    );
    scene.exec(Side::A, &of_a).await;
    scene.exec(Side::B, &of_b).await;
    scene.configure("union", "[sync.table.wide]\nskip = [\"of_a\", \"of_b\"]");
    scene.lock.ok(&["setup", "--execute"]).await;
    assert_eq!(
        preview_of(&scene, "wide").await,
        [50_000, 50_000, 45_000, 0, 0, 5_000]
    );
    scene.run().await;
    scene.streaming().await;
    scene.wait_equal().await;
    assert_eq!(scene.a.count("wide").await, 150_000);
    for side in [Side::A, Side::B] {
        assert_eq!(scene.conflicts(side).await.len(), 5_000, "{side:?}");
    }
    // What only one side has is where it was, and nowhere else.
    for (side, own) in [(Side::A, "of_a = 'a'"), (Side::B, "of_b = 7")] {
        assert_eq!(
            scene.db(side).count(&format!("wide WHERE {own}")).await,
            100_000,
            "{side:?}"
        );
    }
}

/// Rows with stamps of a sync that was not set up for it do not say whose they are.
async fn rows_of_nobody_are_refused(pair: Pair) {
    let mut scene = Scene::new("union_nobody", pair, Way::Merge, &[ITEM]).await;
    fill(&scene).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.configure("union", "");
    scene.lock.ok(&["setup", "--execute"]).await;
    let run = scene.lock.run(&["run", "--once"]).await;
    assert_eq!(run.code, 5, "{run:?}");
    assert!(run.stderr.contains("they do not say whose they are"), "{run:?}");
    assert_eq!(scene.b.count("item WHERE id < 301").await, 0);
}
