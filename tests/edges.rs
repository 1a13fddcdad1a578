//! What happens at the edges of a run: a signal in the middle of a large transaction, a first start that was refused
//! or broke off, rows that cannot be written as they came.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::{Kind, eventually};
use scenario::{ITEM, LIMIT, Pair, SEAT, Scene, Side, Way, numbers};
use std::time::Duration;

long_pairs! {
    a_signal_never_splits_a_large_transaction => a_signal_never_splits_a_large_transaction;
}

pairs! {
    a_refused_copy_leaves_nothing_to_replay => a_refused_copy_leaves_nothing_to_replay;
    half_a_proof_is_no_proof => half_a_proof_is_no_proof;
    the_truth_answers_though_its_value_is_taken => the_truth_answers_though_its_value_is_taken;
    a_moved_row_that_is_not_there_is_not_made_up => a_moved_row_that_is_not_there_is_not_made_up;
    an_idle_session_is_kept => an_idle_session_is_kept;
    a_refused_row_does_not_keep_its_neighbours_apart => a_refused_row_does_not_keep_its_neighbours_apart;
    an_update_that_changed_nothing_is_no_conflict => an_update_that_changed_nothing_is_no_conflict;
    a_deferrable_constraint_takes_rows => a_deferrable_constraint_takes_rows;
    a_run_that_ends_carries_its_own_answers_over => a_run_that_ends_carries_its_own_answers_over;
}

/// What the source of truth answers is written while the run goes on, behind where it was to end.
async fn a_run_that_ends_carries_its_own_answers_over(pair: Pair) {
    for truth in ["a", "b"] {
        let mut scene = Scene::new("answers", pair, Way::Merge, &[ITEM]).await;
        scene.configure("from:a", &format!("on_conflict = \"source-of-truth:{truth}\""));
        scene.lock.ok(&["setup", "--execute"]).await;
        scene.lock.ok(&["run", "--once"]).await;
        for (side, word) in [(Side::A, "a"), (Side::B, "b")] {
            let sql = format!(
                "INSERT INTO item SELECT i, '{word}', 0, NULL FROM {}",
                numbers(20)
            );
            scene.exec(side, &sql).await;
            scene.exec(side, &format!("DELETE FROM item WHERE id = 3; UPDATE item SET n = 7 WHERE id = 4 AND '{word}' <> '{truth}'")).await;
        }
        scene.lock.ok(&["run", "--once"]).await;
        scene.assert_equal().await;
        let name = scene.a.one("SELECT name FROM item WHERE id = 4").await;
        assert_eq!(name, truth);
    }
}

/// The target holds a row of the large transaction until the signal has come.
async fn a_signal_never_splits_a_large_transaction(pair: Pair) {
    for way in [Way::AToB, Way::BToA] {
        let (from, to) = if way == Way::AToB {
            (Side::A, Side::B)
        } else {
            (Side::B, Side::A)
        };
        let mut scene = Scene::new("halves", pair, way, &[ITEM]).await;
        let note = "x".repeat(200);
        scene
            .exec(
                from,
                &format!(
                    "INSERT INTO item SELECT i, 'old', 0, '{note}' FROM {}",
                    numbers(100_000)
                ),
            )
            .await;
        scene.start().await;
        for round in 1..=3 {
            let mut holder = scene.db(to).session().await;
            holder.exec("BEGIN").await;
            holder
                .exec("SELECT n FROM item WHERE id = 70000 FOR UPDATE")
                .await;
            scene.exec(from, "UPDATE item SET n = n + 1").await;
            // It waits for the row once the pieces before it are written.
            tokio::time::sleep(Duration::from_secs(6)).await;
            let pid = scene.lock.pid().unwrap();
            assert!(
                std::process::Command::new("kill")
                    .args(["-TERM", &pid.to_string()])
                    .status()
                    .unwrap()
                    .success()
            );
            tokio::time::sleep(Duration::from_millis(300)).await;
            holder.exec("ROLLBACK").await;
            assert_eq!(scene.lock.wait(LIMIT).await, 0);
            scene.run().await;
            scene.crossed().await;
            let behind = scene.db(to).count(&format!("item WHERE n <> {round}")).await;
            assert_eq!(behind, 0, "round {round}: rows without the update");
        }
    }
}

/// Both sides held the same rows before set-up; the copy is refused, one side is emptied as the error says.
async fn a_refused_copy_leaves_nothing_to_replay(pair: Pair) {
    for empty in ["DELETE FROM item", "TRUNCATE TABLE item"] {
        let scene = Scene::new("refused", pair, Way::Merge, &[ITEM]).await;
        let rows = "INSERT INTO item VALUES (1, 'a', 1, 'x'); INSERT INTO item VALUES (2, 'b', 2, NULL)";
        scene.exec(Side::A, rows).await;
        scene.exec(Side::B, rows).await;
        scene.lock.ok(&["setup", "--execute"]).await;
        let output = scene.lock.run(&["run", "--once"]).await;
        assert_eq!(output.code, 5, "{}", output.stderr);
        scene.exec(Side::B, empty).await;
        scene.lock.ok(&["run", "--once"]).await;
        scene.lock.ok(&["run", "--once"]).await;
        assert_eq!(
            (scene.a.count("item").await, scene.b.count("item").await),
            (2, 2),
            "{empty}"
        );
    }
}

/// The second link's start was not written any more when the first start broke off.
async fn half_a_proof_is_no_proof(pair: Pair) {
    let mut scene = Scene::new("halfproof", pair, Way::Merge, &[ITEM]).await;
    scene.configure("none", "");
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.lock.ok(&["run", "--once"]).await;
    scene.exec(Side::A, "DELETE FROM tidelock.checkpoint").await;
    scene
        .exec(Side::B, "INSERT INTO item VALUES (1, 'unseen', 1, NULL)")
        .await;
    let output = scene.lock.run(&["run", "--once"]).await;
    assert_eq!(output.code, 7, "{}", output.stderr);
    assert!(output.stderr.contains("tidelock teardown"), "{}", output.stderr);
}

/// The truth deleted a row and gave its unique value to another; the peer goes on changing the deleted one.
async fn the_truth_answers_though_its_value_is_taken(pair: Pair) {
    let mut scene = Scene::new("taken", pair, Way::Merge, &[ITEM, SEAT]).await;
    scene.configure("from:a", "on_conflict = \"source-of-truth:a\"");
    scene.exec(Side::A, "INSERT INTO seat VALUES (1, 'window')").await;
    scene.start().await;
    scene.wait_equal().await;
    scene.stop().await;
    scene
        .exec(
            Side::A,
            "DELETE FROM seat WHERE id = 1; INSERT INTO seat VALUES (2, 'window')",
        )
        .await;
    scene
        .exec(
            Side::B,
            "UPDATE seat SET place = 'door' WHERE id = 1; UPDATE seat SET place = 'window' WHERE id = 1",
        )
        .await;
    scene.run().await;
    scene.crossed().await;
    let open = scene.conflicts(Side::A).await;
    assert!(open.iter().any(|c| c.outcome == "open"), "{open:?}");
    assert_eq!(scene.a.one("SELECT id FROM seat").await, "2");
}

/// A moved row comes without its unchanged long text, and the row it left is missing here.
async fn a_moved_row_that_is_not_there_is_not_made_up(pair: Pair) {
    let other = Pair(pair.0, Kind::Postgres15);
    for pair in [pair, other] {
        moved_row_is_missing(pair).await;
    }
}

async fn moved_row_is_missing(pair: Pair) {
    let mut scene = Scene::new("madeup", pair, Way::AToB, &[ITEM]).await;
    // Stored out of line, whatever its length compresses to.
    scene
        .exec(Side::A, "ALTER TABLE item ALTER COLUMN note SET STORAGE EXTERNAL")
        .await;
    let note = "x".repeat(5000);
    scene
        .exec(Side::A, &format!("INSERT INTO item VALUES (1, 'a', 1, '{note}')"))
        .await;
    scene.start().await;
    scene.wait_equal().await;
    scene.exec(Side::B, "DELETE FROM item").await;
    scene.exec(Side::A, "UPDATE item SET id = 2").await;
    scene.crossed().await;
    assert_eq!(
        scene.b.count("item").await,
        0,
        "a row without its note was made up"
    );
    let found = scene.conflicts(Side::B).await;
    assert!(
        found
            .iter()
            .any(|c| c.kind == "update_missing" && c.outcome == "open"),
        "{found:?}"
    );
}

/// One row of a batch is refused; the others shift a unique value along a chain, and two trade theirs.
async fn a_refused_row_does_not_keep_its_neighbours_apart(pair: Pair) {
    let mut scene = Scene::new("chain", pair, Way::AToB, &[ITEM, SEAT]).await;
    for (id, place) in [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e"), (6, "free")] {
        scene
            .exec(Side::A, &format!("INSERT INTO seat VALUES ({id}, '{place}')"))
            .await;
    }
    scene.start().await;
    scene.wait_equal().await;
    scene
        .exec(
            Side::B,
            "ALTER TABLE seat ADD CONSTRAINT no_secret CHECK (place <> 'secret')",
        )
        .await;
    scene.stop().await;
    scene
        .exec(
            Side::A,
            "BEGIN; UPDATE seat SET place = 'z' WHERE id = 3; UPDATE seat SET place = 'c' WHERE id = 2; \
             UPDATE seat SET place = 'b' WHERE id = 1; UPDATE seat SET place = 'tmp' WHERE id = 4; \
             UPDATE seat SET place = 'd' WHERE id = 5; UPDATE seat SET place = 'e' WHERE id = 4; \
             UPDATE seat SET place = 'secret' WHERE id = 6; COMMIT",
        )
        .await;
    scene.run().await;
    scene.crossed().await;
    let rows = scene.b.rows("SELECT place FROM seat ORDER BY id").await;
    let places: Vec<String> = rows.into_iter().flatten().flatten().collect();
    let found = scene.conflicts(Side::B).await;
    assert_eq!(places, ["b", "c", "z", "e", "d", "free"], "{found:?}");
    assert_eq!(found.len(), 1, "{found:?}");
}

/// One side saves a row unchanged, as object mappers do, while the other changes it.
async fn an_update_that_changed_nothing_is_no_conflict(pair: Pair) {
    let mut scene = Scene::new("noop", pair, Way::Merge, &[ITEM]).await;
    scene
        .exec(Side::A, "INSERT INTO item VALUES (1, 'a', 1, 'x')")
        .await;
    scene.start().await;
    scene.wait_equal().await;
    scene
        .apart("UPDATE item SET note = note", "UPDATE item SET note = 'changed'")
        .await;
    eventually(LIMIT, "the change", async || {
        scene.a.one("SELECT note FROM item").await == "changed"
    })
    .await;
    scene.assert_no_conflicts().await;
}

/// A server that ends idle sessions of its users does not interrupt links.
async fn an_idle_session_is_kept(pair: Pair) {
    let mut scene = Scene::new("idle", pair, Way::Merge, &[ITEM]).await;
    scene
        .exec(
            Side::A,
            &format!(
                "ALTER DATABASE {} SET idle_session_timeout = '2s'",
                scene.a.name()
            ),
        )
        .await;
    scene.start().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    scene
        .exec(Side::B, "INSERT INTO item VALUES (1, 'a', 1, 'x')")
        .await;
    scene.wait_equal().await;
    assert!(
        !scene.lock.log().contains("interrupted: tried again"),
        "{}",
        scene.lock.log()
    );
}

/// PostgreSQL refuses ON CONFLICT on such a table.
async fn a_deferrable_constraint_takes_rows(pair: Pair) {
    for way in [Way::Merge, Way::BToA] {
        let mut scene = Scene::new("deferrable", pair, way, &[SEAT]).await;
        let defer = "ALTER TABLE seat DROP CONSTRAINT seat_place,
            ADD CONSTRAINT seat_place UNIQUE (place) DEFERRABLE INITIALLY DEFERRED";
        scene.exec(Side::A, defer).await;
        scene.configure("from:b", "");
        scene
            .exec(Side::B, "INSERT INTO seat VALUES (1, 'a'), (2, 'b')")
            .await;
        scene.start().await;
        let trade =
            "INSERT INTO seat VALUES (3, 'c'), (4, 'd'); BEGIN; UPDATE seat SET place = 'x' WHERE id = 1;
            UPDATE seat SET place = 'a' WHERE id = 2; UPDATE seat SET place = 'b' WHERE id = 1;
            DELETE FROM seat WHERE id = 3; INSERT INTO seat VALUES (3, 'again'); COMMIT";
        scene.exec(Side::B, trade).await;
        scene.crossed().await;
        scene.wait_equal().await;
        scene.assert_no_conflicts().await;
    }
}
