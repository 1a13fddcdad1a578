//! `tidelock resync`: a table is copied anew while everything else goes on.
#![allow(clippy::unwrap_used)]

#[path = "resync/condition.rs"]
mod condition;
mod harness;
mod scenario;

use harness::{Db, Kind, eventually};
use scenario::{ITEM, LIMIT, Pair, Scene, Side, Table, WORD, Way, numbers};

pairs! {
    a_copy_that_drifted_is_level_again => a_copy_that_drifted_is_level_again;
    what_a_merge_missed_is_found => what_a_merge_missed_is_found;
    a_run_that_ends_by_itself_waits_for_it => a_run_that_ends_by_itself_waits_for_it;
    a_new_table_joins => a_new_table_joins;
    rows_that_a_filter_keeps_stay => rows_that_a_filter_keeps_stay;
    differences_are_added_once => differences_are_added_once;
    a_filled_table_does_not_join_unasked => a_filled_table_does_not_join_unasked;
    only_tables_of_started_links_are_copied => only_tables_of_started_links_are_copied;
    rows_of_a_condition_are_level_and_no_others => condition::rows_of_a_condition_are_level_and_no_others;
    the_place_in_the_log_stays => condition::the_place_in_the_log_stays;
    drift_of_others_is_told_in_the_catch_up => condition::drift_of_others_is_told_in_the_catch_up;
    a_merge_makes_up_for_some_rows => condition::a_merge_makes_up_for_some_rows;
    conditions_are_judged_before_they_are_asked => condition::conditions_are_judged_before_they_are_asked;
    from_limits_the_direction => condition::from_limits_the_direction;
    own_numbers_that_come_back_are_not_given_again => own_numbers_that_come_back_are_not_given_again;
}

long_pairs! {
    a_killed_resync_goes_on_under_load => a_killed_resync_goes_on_under_load;
    a_lost_slot_is_made_up_for => a_lost_slot_is_made_up_for;
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

/// What the pattern `late_*` matches once it is there.
async fn create_late(scene: &Scene) {
    for side in [Side::A, Side::B] {
        scene
            .exec(
                side,
                "CREATE TABLE late_word (id int NOT NULL PRIMARY KEY, w varchar(40))",
            )
            .await;
    }
}

/// A table that is created and set up while the links run: its rows are copied, both sides', and its changes cross.
async fn a_new_table_joins(pair: Pair) {
    let mut scene = Scene::new("resync_joins", pair, Way::Merge, &[ITEM]).await;
    scene.more_tables = vec!["late_*".to_owned()];
    scene.configure("from:a", "");
    fill(&scene, Side::A).await;
    scene.start().await;
    scene.wait_equal().await;
    create_late(&scene).await;
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

/// The slot is gone, and both sides were written to: every table is compared, and what was missed made up for.
async fn a_lost_slot_is_made_up_for(pair: Pair) {
    for way in [Way::Merge, Way::AToB] {
        let mut scene = Scene::new("resync_lost", pair, way, &[ITEM, WORD]).await;
        fill(&scene, Side::A).await;
        scene.start().await;
        scene.wait_equal().await;
        scene.stop().await;
        let slot = format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE '%{}%'",
            scene.sync
        );
        scene.exec(Side::A, &slot).await;
        let missed = "UPDATE item SET n = -5 WHERE id < 20; DELETE FROM item WHERE id BETWEEN 20 AND 39;
            INSERT INTO item VALUES (3000, 'missed', 1, NULL); INSERT INTO word VALUES ('missed', 1)";
        scene.exec(Side::A, missed).await;
        if way == Way::Merge {
            scene
                .exec(
                    Side::B,
                    "UPDATE item SET n = -6 WHERE id BETWEEN 15 AND 24; INSERT INTO word VALUES ('b', 2)",
                )
                .await;
        }
        let run = scene.lock.run(&["run", "--once"]).await;
        assert_eq!(run.code, 7, "{run:?}");
        assert!(run.stderr.contains("tidelock resync --all"), "{run:?}");
        scene.lock.ok(&["resync", "--all", "--execute"]).await;
        scene.run().await;
        over(&mut scene).await;
        scene.wait_equal().await;
        assert_eq!(scene.b.count("item WHERE id BETWEEN 25 AND 39").await, 0);
        assert_eq!(scene.b.count("item WHERE id = 3000").await, 1);
    }
}

/// What left a filter that keeps it is no drift.
async fn rows_that_a_filter_keeps_stay(pair: Pair) {
    let mut scene = Scene::new("resync_kept", pair, Way::AToB, &[ITEM]).await;
    let keep = "[sync.table.item]\nwhere = \"n >= 0\"\non_filter_exit = \"keep\"";
    scene.configure("from:a", keep);
    fill(&scene, Side::A).await;
    scene.start().await;
    scene
        .exec(
            Side::A,
            "UPDATE item SET n = -1 WHERE id = 5; UPDATE item SET n = 9 WHERE id = 6",
        )
        .await;
    scene.crossed().await;
    scene.exec(Side::B, "DELETE FROM item WHERE id = 7").await;
    resync(&scene, "item").await;
    over(&mut scene).await;
    scene.crossed().await;
    for (what, count) in [("id = 5 AND n = 5", 1), ("id = 7", 1), ("id > 0 OR id = 0", 1000)] {
        assert_eq!(
            scene.b.count(&format!("item WHERE {what}")).await,
            count,
            "{what}"
        );
    }
    scene.assert_no_conflicts().await;
}

/// A change that is in the image is read again, and added once.
async fn differences_are_added_once(pair: Pair) {
    let mut scene = Scene::new("resync_delta", pair, Way::Merge, &[ITEM]).await;
    let delta = "arbiter = \"b\"\n[sync.table.item]\ncolumn.n = { on_conflict = \"delta\" }";
    scene.configure("none", delta);
    for side in [Side::A, Side::B] {
        scene
            .exec(
                side,
                "INSERT INTO item VALUES (1, 'one', 10, NULL), (2, 'two', 0, NULL)",
            )
            .await;
    }
    scene.start().await;
    // Somebody writes, so the image waits while the table is held.
    let mut writer = scene.a.session().await;
    writer.exec("BEGIN").await;
    writer.exec("UPDATE item SET note = 'x' WHERE id = 2").await;
    scene
        .lock
        .ok(&["resync", "item", "--from", "a", "--execute"])
        .await;
    let held = format!(
        "tidelock.resync WHERE sync = '{}' AND state = 'copying'",
        scene.sync
    );
    eventually(LIMIT, "the table is held", async || {
        scene.b.count(&held).await == 1
    })
    .await;
    scene
        .exec(Side::A, "UPDATE item SET n = n + 5 WHERE id = 1")
        .await;
    writer.exec("COMMIT").await;
    eventually(LIMIT, "the image is there", async || {
        scene.b.count("item WHERE id = 1 AND n = 15").await == 1
    })
    .await;
    scene
        .exec(Side::B, "UPDATE item SET n = n + 3 WHERE id = 1")
        .await;
    over(&mut scene).await;
    scene.wait_equal().await;
    assert_eq!(scene.a.one("SELECT n FROM item WHERE id = 1").await, "18");
}

/// One way, rows of a table that joins are nobody's to take away unasked.
async fn a_filled_table_does_not_join_unasked(pair: Pair) {
    let mut scene = Scene::new("resync_filled", pair, Way::AToB, &[ITEM]).await;
    scene.more_tables = vec!["late_*".to_owned()];
    scene.configure("from:a", "");
    scene.start().await;
    create_late(&scene).await;
    scene.exec(Side::A, "INSERT INTO late_word VALUES (1, 'a')").await;
    scene
        .exec(Side::B, "INSERT INTO late_word VALUES (2, 'mine')")
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let failed = format!(
        "tidelock.resync WHERE sync = '{}' AND state = 'failed'",
        scene.sync
    );
    eventually(LIMIT, "it is told", async || scene.b.count(&failed).await == 1).await;
    let told = scene.lock.run(&["status"]).await.stdout;
    assert!(told.contains("the target holds rows of it already"), "{told}");
    assert_eq!(scene.b.count("late_word WHERE w = 'mine'").await, 1);
    resync(&scene, "late_word").await;
    over(&mut scene).await;
    harness::wait_equal(&scene.a, &scene.b, "late_word", &["id"], &["w"], LIMIT).await;
}

const TICKET: Table = Table {
    name: "ticket",
    body: "",
    key: &["id"],
    columns: &["v"],
};

/// A node that lost rows which it had numbered itself: its sequence goes above them as soon as they are back.
async fn own_numbers_that_come_back_are_not_given_again(pair: Pair) {
    if pair.0 != Kind::Postgres18 {
        // Counters of the other servers are set for a whole server: `--test ids` has two of its own.
        return;
    }
    let pair = scenario::POSTGRES;
    let mut scene = Scene::new("resync_ids", pair, Way::Merge, &[TICKET]).await;
    for side in [Side::A, Side::B] {
        scene
            .exec(side, "CREATE TABLE ticket (id serial PRIMARY KEY, v varchar(20))")
            .await;
    }
    scene.configure("from:a", "ids = \"split\"");
    scene.start().await;
    let insert = format!(
        "INSERT INTO ticket (v) SELECT concat('a', i) FROM {}",
        numbers(10)
    );
    scene.exec(Side::A, &insert).await;
    scene.wait_equal().await;
    scene.stop().await;
    // As from a backup of before.
    let back = "SET session_replication_role = replica; DELETE FROM ticket WHERE id > 20;
        SELECT setval(pg_get_serial_sequence('ticket', 'id'), (SELECT max(id) FROM ticket)); SET session_replication_role = origin";
    scene.a.as_dba(back).await;
    lose(&scene).await;
    scene.run().await;
    scene.crossed().await;
    assert!(scene.a.count("ticket").await < 10, "they are lost");
    scene
        .lock
        .ok(&["resync", "ticket", "--from", "b", "--execute"])
        .await;
    over(&mut scene).await;
    scene.exec(Side::A, &insert).await;
    scene.wait_equal().await;
    assert_eq!(scene.b.count("ticket").await, 20);
}
