//! `tidelock resync`: a table is copied anew while everything else goes on.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::{Db, eventually};
use scenario::{ITEM, LIMIT, Pair, Scene, Side, WORD, Way, numbers};

pairs! {
    a_copy_that_drifted_is_level_again => a_copy_that_drifted_is_level_again;
    what_a_merge_missed_is_found => what_a_merge_missed_is_found;
    a_killed_resync_goes_on_under_load => a_killed_resync_goes_on_under_load;
    a_run_that_ends_by_itself_waits_for_it => a_run_that_ends_by_itself_waits_for_it;
    a_new_table_joins => a_new_table_joins;
    only_tables_of_started_links_are_copied => only_tables_of_started_links_are_copied;
}

async fn fill(scene: &Scene, side: Side) {
    let rows = format!(
        "INSERT INTO item SELECT i, concat('item ', i), i, NULL FROM {}",
        numbers(1000)
    );
    scene.exec(side, &rows).await;
}

/// Nothing of it is left: the table is taken up.
async fn over(scene: &mut Scene) {
    for side in scene.targets() {
        let limit = tokio::time::Instant::now() + LIMIT;
        loop {
            let left = scene.db(side).count("tidelock.resync").await
                + scene.db(side).count("tidelock.held_table").await;
            if left == 0 || scene.db(side).rows(&left_of(scene)).await.is_empty() {
                break;
            }
            scene.assert_running();
            assert!(
                tokio::time::Instant::now() < limit,
                "a resync on {side:?} does not end"
            );
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

fn left_of(scene: &Scene) -> String {
    format!(
        "SELECT state, failure FROM tidelock.resync WHERE sync = '{}'",
        scene.sync
    )
}

async fn resync(scene: &Scene, table: &str) {
    let said = scene.lock.ok(&["resync", table]).await;
    assert!(said.contains("would copy"), "{said}");
    scene
        .lock
        .ok(&["resync", table, "--sync", &scene.sync, "--execute"])
        .await;
}

/// What somebody did to a read copy behind Tidelock's back is mended, and told.
async fn a_copy_that_drifted_is_level_again(pair: Pair) {
    let mut scene = Scene::new("resync", pair, Way::AToB, &[ITEM, WORD]).await;
    fill(&scene, Side::A).await;
    scene.start().await;
    scene.wait_equal().await;
    let drift = "UPDATE item SET n = -1 WHERE id = 5; DELETE FROM item WHERE id IN (6, 7); INSERT INTO item VALUES (9999, 'no', 1, NULL)";
    scene.exec(Side::B, drift).await;
    resync(&scene, "item").await;
    // The other table goes on, and this one catches up with what happens meanwhile.
    for round in 0..10 {
        let write = format!(
            "INSERT INTO word VALUES ('w{round}', {round}); UPDATE item SET n = n + 1 WHERE id % 10 = {round} AND id > 50;
             DELETE FROM item WHERE id = 100 + {round}; INSERT INTO item VALUES (2000 + {round}, 'new', 1, NULL)"
        );
        scene.exec(Side::A, &write).await;
    }
    over(&mut scene).await;
    scene.wait_equal().await;
    let found = scene.conflicts(Side::B).await;
    let mut kinds: Vec<(&str, String)> = found
        .iter()
        .map(|found| (found.kind.as_str(), found.key.to_string()))
        .collect();
    kinds.sort();
    assert_eq!(
        kinds,
        [
            ("delete_origin_differs", "[9999]".to_owned()),
            ("insert_exists", "[5]".to_owned())
        ]
    );
}

/// Moves the link from A past what A's log holds now, as if the log had been lost.
async fn lose(scene: &Scene) {
    let end = scene.a.one("SELECT pg_current_wal_insert_lsn()").await;
    let lost = format!(
        "UPDATE tidelock.checkpoint SET position = 'lsn:{end}' WHERE sync = '{}'",
        scene.sync
    );
    scene.exec(Side::B, &lost).await;
}

/// Inserts, updates and deletes that never arrived, while the other side wrote too.
async fn what_a_merge_missed_is_found(pair: Pair) {
    let mut scene = Scene::new("resync_missed", pair, Way::Merge, &[ITEM]).await;
    fill(&scene, Side::A).await;
    scene.start().await;
    scene.wait_equal().await;
    scene.stop().await;
    let missed = "UPDATE item SET n = -5 WHERE id < 20; DELETE FROM item WHERE id BETWEEN 20 AND 39;
        INSERT INTO item VALUES (3000, 'missed', 1, NULL); UPDATE item SET id = 4000 WHERE id = 50;
        DELETE FROM item WHERE id = 60; INSERT INTO item VALUES (60, 'again', 60, NULL)";
    scene.exec(Side::A, missed).await;
    lose(&scene).await;
    scene
        .exec(Side::B, "UPDATE item SET n = -6 WHERE id BETWEEN 10 AND 29")
        .await;
    scene.run().await;
    scene.crossed().await;
    assert_eq!(
        scene.b.count("item WHERE id IN (3000, 4000)").await,
        0,
        "it is lost"
    );
    resync(&scene, "item").await;
    over(&mut scene).await;
    scene.wait_equal().await;
    for (what, count) in [
        ("id = 3000", 1),
        ("id = 4000", 1),
        ("id = 50", 0),
        ("id BETWEEN 30 AND 39", 0),
        ("id = 60 AND name = 'again'", 1),
        ("id < 10 AND n = -5", 10),
    ] {
        assert_eq!(
            scene.b.count(&format!("item WHERE {what}")).await,
            count,
            "{what}"
        );
    }
}

async fn chunks_done(db: &Db, sync: &str) -> i64 {
    let done = format!("tidelock.chunk WHERE sync = '{sync}' AND state = 'done' AND table_name = 'item'");
    db.count(&done).await
}

async fn a_killed_resync_goes_on_under_load(pair: Pair) {
    for way in [Way::Merge, Way::AToB] {
        let mut scene = Scene::new("resync_killed", pair, way, &[ITEM]).await;
        let seed = "from:a";
        scene.configure(seed, "[limits]\ncopy_workers = 2\nchunk_rows_max = 20");
        fill(&scene, Side::A).await;
        scene.start().await;
        scene.wait_equal().await;
        if way == Way::AToB {
            scene
                .exec(
                    Side::B,
                    "UPDATE item SET n = -n WHERE id % 3 = 0; DELETE FROM item WHERE id % 5 = 0",
                )
                .await;
        }
        resync(&scene, "item").await;
        let begun = format!(
            "tidelock.resync WHERE sync = '{}' AND state = 'copying'",
            scene.sync
        );
        eventually(LIMIT, "the copy begins", async || scene.b.count(&begun).await > 0).await;
        for round in 1..4 {
            let sync = scene.sync.clone();
            eventually(LIMIT, "chunks are done", async || {
                chunks_done(&scene.b, &sync).await >= 10 * round || scene.b.count(&begun).await == 0
            })
            .await;
            scene.lock.kill9().await;
            let write = format!(
                "UPDATE item SET n = 5{round} WHERE id % 7 = {round}; DELETE FROM item WHERE id % 50 = {round};
                 INSERT INTO item VALUES (70000 + {round}, 'new', 1, NULL); UPDATE item SET id = id + 10000 WHERE id % 60 = {round}"
            );
            for side in way.sources() {
                if *side == Side::A || round == 2 {
                    scene.exec(*side, &write).await;
                }
            }
            scene.run().await;
        }
        over(&mut scene).await;
        scene.wait_equal().await;
    }
}

async fn a_run_that_ends_by_itself_waits_for_it(pair: Pair) {
    let mut scene = Scene::new("resync_once", pair, Way::AToB, &[ITEM]).await;
    fill(&scene, Side::A).await;
    scene.start().await;
    scene.wait_equal().await;
    scene.stop().await;
    scene.exec(Side::B, "DELETE FROM item WHERE id < 500").await;
    resync(&scene, "item").await;
    scene.lock.ok(&["run", "--once"]).await;
    scene.assert_equal().await;
}

async fn only_tables_of_started_links_are_copied(pair: Pair) {
    let scene = Scene::new("resync_refused", pair, Way::AToB, &[ITEM]).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let run = scene.lock.run(&["resync", "item", "--execute"]).await;
    assert_eq!(run.code, 5, "{run:?}");
    let run = scene.lock.run(&["resync", "no_such", "--execute"]).await;
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("has no such table"), "{run:?}");
}

/// A table that is created and set up while the links run: its rows are copied, both sides', and its changes cross.
async fn a_new_table_joins(pair: Pair) {
    let mut scene = Scene::new("resync_joins", pair, Way::Merge, &[ITEM]).await;
    scene.more_tables = vec!["late_*".to_owned()];
    scene.configure("from:a", "");
    fill(&scene, Side::A).await;
    scene.start().await;
    scene.wait_equal().await;
    for side in [Side::A, Side::B] {
        scene
            .exec(
                side,
                "CREATE TABLE late_word (id int NOT NULL PRIMARY KEY, w varchar(40))",
            )
            .await;
    }
    scene
        .exec(Side::A, "INSERT INTO late_word VALUES (1, 'a'), (2, 'both')")
        .await;
    scene
        .exec(Side::B, "INSERT INTO late_word VALUES (3, 'b'), (2, 'both')")
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene
        .exec(Side::A, "INSERT INTO late_word VALUES (4, 'since')")
        .await;
    let columns = ["w", "tidelock_version", "tidelock_origin"];
    harness::wait_equal(&scene.a, &scene.b, "late_word", &["id"], &columns, LIMIT).await;
    over(&mut scene).await;
    scene
        .exec(Side::A, "UPDATE late_word SET w = 'new' WHERE id = 3")
        .await;
    scene
        .exec(
            Side::B,
            "DELETE FROM late_word WHERE id = 1; UPDATE item SET n = 0",
        )
        .await;
    scene.wait_equal().await;
    harness::wait_equal(&scene.a, &scene.b, "late_word", &["id"], &columns, LIMIT).await;
    assert_eq!(scene.b.count("late_word WHERE w = 'new'").await, 1);
    scene.assert_no_conflicts().await;
}
