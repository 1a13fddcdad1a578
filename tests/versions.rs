//! Version sources: what the triggers write, what decides, and what arrives.
#![allow(clippy::unwrap_used)]

mod harness;
#[allow(dead_code, reason = "it belongs to the tests of setup too")]
#[path = "setup/node.rs"]
mod node;
mod scenario;
#[path = "versions/triggers.rs"]
mod triggers;

use scenario::{NEW, Pair, Scene, Side, Table, Way};

pairs! {
    a_further_status_beats_many_writes => a_further_status_beats_many_writes;
    a_step_back_and_a_new_life_beat_what_went_before => a_step_back_and_a_new_life_beat_what_went_before;
    the_later_write_wins_and_keeps_its_version => the_later_write_wins_and_keeps_its_version;
    a_clock_that_is_ahead_wins_and_is_followed => a_clock_that_is_ahead_wins_and_is_followed;
    the_applications_own_time_decides => the_applications_own_time_decides;
    another_source_goes_on_from_where_it_was => another_source_goes_on_from_where_it_was;
}

/// Made by [`scene`], because the two engines say a moment differently.
const CLAIM: Table = Table {
    name: "claim",
    body: "",
    key: &["id"],
    columns: &["state", "note", "changed"],
};

const STATUS: &str =
    "[sync.table.claim]\nversion = { status = \"state\", order = [\"new\", \"paid\", \"shipped\"] }";
const SECOND: i64 = 1_000_000;

/// Both sides hold rows 1 to 6.
async fn scene(hint: &str, pair: Pair, version: &str) -> Scene {
    let mut scene = Scene::new(hint, pair, Way::Merge, &[CLAIM]).await;
    for side in [Side::A, Side::B] {
        let db = scene.db(side);
        // With a time zone in one pair, without in the other.
        let moment = match (pair.0 == NEW.0, db.kind().is_postgres()) {
            (true, true) => "timestamp(6)",
            (true, false) => "datetime(6) NULL",
            (false, true) => "timestamptz(3)",
            (false, false) => "timestamp(3) NULL",
        };
        let sql = format!(
            "CREATE TABLE claim (id bigint PRIMARY KEY, state varchar(20), note varchar(40), changed {moment})"
        );
        db.exec(&sql).await;
    }
    scene.configure("from:a", version);
    let rows: Vec<String> = (1..=6)
        .map(|id| format!("INSERT INTO claim VALUES ({id}, 'new', 'agreed', '2026-01-01 00:00:00.123')"))
        .collect();
    scene.exec(Side::A, &rows.join(";")).await;
    scene.start().await;
    scene.wait_equal().await;
    scene
}

async fn cell(scene: &Scene, side: Side, column: &str, id: i64) -> String {
    let sql = format!("SELECT {column} FROM claim WHERE id = {id}");
    let rows = scene.db(side).rows(&sql).await;
    let mut cells = rows.into_iter().flatten();
    cells
        .next()
        .map_or("(none)".to_owned(), Option::unwrap_or_default)
}

async fn version(scene: &Scene, side: Side, id: i64) -> i64 {
    cell(scene, side, "tidelock_version", id).await.parse().unwrap()
}

/// A's, in microseconds since 1970.
async fn clock(scene: &Scene) -> i64 {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    scene.db(Side::A).one(sql).await.parse().unwrap()
}

/// The same on both sides.
async fn assert_cell(scene: &Scene, column: &str, id: i64, expected: &str) {
    for side in [Side::A, Side::B] {
        assert_eq!(
            cell(scene, side, column, id).await,
            expected,
            "row {id} on {side:?}"
        );
    }
}

fn writes(id: i64, count: u32) -> String {
    let statements = (1..=count).map(|n| format!("UPDATE claim SET note = 'write {n}' WHERE id = {id};"));
    statements.collect()
}

async fn a_further_status_beats_many_writes(pair: Pair) {
    let mut scene = scene("v_status", pair, STATUS).await;
    let step = |state: &str, id: i64| format!("UPDATE claim SET state = '{state}' WHERE id = {id};");
    let busy = format!("{}{}", step("paid", 1), writes(1, 5));
    let unlisted = format!("{}{}", step("lost", 3), writes(3, 2));
    scene
        .apart(
            &format!(
                "{}{}{}DELETE FROM claim WHERE id = 4;",
                step("shipped", 1),
                busy.replace("id = 1", "id = 2"),
                step("paid", 3)
            ),
            &format!("{busy}{}{unlisted}{}", step("shipped", 2), step("paid", 4)),
        )
        .await;
    for (id, state) in [(1, "shipped"), (2, "shipped"), (3, "paid"), (4, "paid")] {
        assert_cell(&scene, "state", id, state).await;
    }
    // Within one status the writes count.
    scene
        .apart(&writes(5, 3), "UPDATE claim SET note = 'once' WHERE id = 5")
        .await;
    assert_cell(&scene, "note", 5, "write 3").await;
}

async fn a_step_back_and_a_new_life_beat_what_went_before(pair: Pair) {
    let mut scene = scene("v_back", pair, STATUS).await;
    scene
        .exec(
            Side::A,
            "UPDATE claim SET state = 'paid' WHERE id <= 3; UPDATE claim SET state = 'shipped' WHERE id = 3",
        )
        .await;
    scene.wait_equal().await;
    scene
        .apart(
            "UPDATE claim SET state = 'shipped' WHERE id = 1;
             DELETE FROM claim WHERE id = 2; INSERT INTO claim VALUES (2, 'new', 'another life', NULL);
             UPDATE claim SET note = 'after all' WHERE id = 3",
            "UPDATE claim SET state = 'new', note = 'cancelled' WHERE id = 1;
             UPDATE claim SET state = 'shipped' WHERE id = 2;
             DELETE FROM claim WHERE id = 3",
        )
        .await;
    assert_cell(&scene, "note", 1, "cancelled").await;
    assert_cell(&scene, "note", 2, "another life").await;
    assert_cell(&scene, "note", 3, "after all").await;
}

/// Three writes of A do not beat the later one of B; what arrives, new or changed, keeps the version that its writer
/// gave it.
async fn the_later_write_wins_and_keeps_its_version(pair: Pair) {
    let mut scene = scene("v_clock", pair, "version = \"timestamp\"").await;
    scene.stop().await;
    let on_a =
        "INSERT INTO claim VALUES (9, 'new', 'mine', NULL); UPDATE claim SET note = 'of a' WHERE id = 2";
    scene.exec(Side::A, &(writes(1, 3) + on_a)).await;
    let on_b = "UPDATE claim SET note = 'later' WHERE id = 1; UPDATE claim SET note = 'of b' WHERE id = 3";
    scene.exec(Side::B, on_b).await;
    let versions = async |scene: &Scene, of: &[(Side, i64)]| {
        let mut versions = Vec::new();
        for (side, id) in of {
            versions.push(version(scene, *side, *id).await);
        }
        versions
    };
    let (a, b) = (Side::A, Side::B);
    let written = versions(&scene, &[(b, 1), (a, 2), (b, 3), (a, 9)]).await;
    let now = clock(&scene).await;
    assert!(
        written.iter().all(|version| (now - version).abs() < 600 * SECOND),
        "{written:?} are not moments near {now}"
    );
    // An update that changes nothing is no write.
    scene.exec(b, "UPDATE claim SET note = note WHERE id = 1").await;
    scene.run().await;
    scene.wait_equal().await;
    assert_cell(&scene, "note", 1, "later").await;
    for side in [a, b] {
        let arrived = versions(&scene, &[(side, 1), (side, 2), (side, 3), (side, 9)]).await;
        assert_eq!(arrived, written, "{side:?}");
    }
}

/// A's clock is an hour ahead: it wins once, and what is written after it has been seen wins again.
async fn a_clock_that_is_ahead_wins_and_is_followed(pair: Pair) {
    let mut scene = scene("v_skew", pair, "version = \"timestamp\"").await;
    let ahead = clock(&scene).await + 3_600 * SECOND;
    let ahead = format!("UPDATE claim SET note = 'ahead', tidelock_version = {ahead} WHERE id = 1");
    scene.apart(&ahead, &writes(1, 3)).await;
    assert_cell(&scene, "note", 1, "ahead").await;
    let before = version(&scene, Side::B, 1).await;
    scene
        .exec(Side::B, "UPDATE claim SET note = 'after it' WHERE id = 1")
        .await;
    scene.wait_equal().await;
    assert_cell(&scene, "note", 1, "after it").await;
    assert_eq!(version(&scene, Side::A, 1).await, before + 1);
    // So does a row of a key that was deleted by such a clock.
    scene.exec(Side::A, "DELETE FROM claim WHERE id = 1").await;
    scene.wait_equal().await;
    scene
        .exec(Side::B, "INSERT INTO claim VALUES (1, 'new', 'again', NULL)")
        .await;
    scene.wait_equal().await;
    assert_cell(&scene, "note", 1, "again").await;
    assert_eq!(version(&scene, Side::A, 1).await, before + 2);
}

async fn the_applications_own_time_decides(pair: Pair) {
    let mut scene = scene(
        "v_column",
        pair,
        "[sync.table.claim]\nversion = \"timestamp:changed\"",
    )
    .await;
    let at = |second: u32, id: i64, note: &str| {
        format!(
            "UPDATE claim SET changed = '2026-05-01 00:00:{second:02}.250', note = '{note}' WHERE id = {id};"
        )
    };
    scene
        .apart(
            // More often, but earlier by the application's clock; and one that leaves the column alone.
            &format!("{}{}{}", at(10, 1, "early"), at(11, 1, "early too"), writes(2, 3)),
            &format!("{}{}", at(12, 1, "late"), at(12, 2, "late")),
        )
        .await;
    assert_cell(&scene, "note", 1, "late").await;
    assert_cell(&scene, "note", 2, "late").await;
    // 2026-05-01 00:00:12.250 UTC.
    let moment = 1_777_593_612_250_000;
    assert_eq!(version(&scene, Side::A, 1).await, moment);
    // An application that goes back in time is still heard once its row is known, and writes without one count on.
    scene.exec(Side::A, &at(1, 1, "back in time")).await;
    scene.wait_equal().await;
    scene
        .exec(
            Side::B,
            "UPDATE claim SET changed = NULL, note = 'without' WHERE id = 1",
        )
        .await;
    scene.wait_equal().await;
    assert_cell(&scene, "note", 1, "without").await;
    assert_eq!(version(&scene, Side::A, 1).await, moment + 2);
}

/// counter -> timestamp -> counter: refused while the triggers are the old ones, and no version goes down.
async fn another_source_goes_on_from_where_it_was(pair: Pair) {
    let mut scene = scene("v_change", pair, "").await;
    let mut last = version(&scene, Side::A, 1).await;
    for (source, least) in [
        ("version = \"timestamp\"", 1_000_000 * SECOND),
        ("version = \"counter\"", 1),
        (STATUS, 1),
    ] {
        scene.stop().await;
        scene.configure("from:a", source);
        let refused = scene.lock.run(&["run", "--once"]).await;
        let text = format!("{refused:?}");
        assert!(
            text.contains("the configuration changed since setup: version"),
            "{text}"
        );
        scene.lock.ok(&["setup", "--execute"]).await;
        scene.run().await;
        for (side, note) in [(Side::A, "one"), (Side::B, "two")] {
            let sql = format!("UPDATE claim SET note = '{note} {}' WHERE id = 1", source.len());
            scene.exec(side, &sql).await;
            scene.wait_equal().await;
            let now = version(&scene, Side::A, 1).await;
            assert!(now > last && now >= least, "{source}: {last} then {now}");
            last = now;
        }
    }
    scene.assert_no_conflicts().await;
}

/// A server whose sessions of accounts without privileges live five seconds ahead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_tells_of_clocks_that_are_apart() {
    let ahead = "--init-connect=SET SESSION timestamp = UNIX_TIMESTAMP() + 5";
    let mut scene = Scene::with_b("v_clocks", NEW, Way::Merge, &[], &[ahead]).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let check = async |scene: &Scene| {
        let output = scene.lock.run(&["check", "--json"]).await;
        format!("{output:?}")
    };
    let text = check(&scene).await;
    assert!(!text.contains("W611"), "counters need no clock: {text}");
    scene.configure("from:a", "version = \"timestamp\"");
    scene.lock.ok(&["setup", "--execute"]).await;
    let text = check(&scene).await;
    assert!(
        text.contains("W611") && text.contains("ahead of node a's"),
        "{text}"
    );
}
