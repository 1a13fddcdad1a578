//! Changes that cannot be applied wait, everything else flows, and when the cause is gone both sides end equal.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

#[path = "park/foreign.rs"]
mod foreign;

use scenario::{ITEM, LIMIT, ONE_SERVER, Pair, SEAT, Scene, Side, Table, Way};

pairs! {
    a_unique_clash_ends_when_one_side_gives_the_value_up => unique;
    a_killed_program_forgets_nothing => killed;
    a_value_refused_by_a_constraint_goes_in_when_that_is_gone => constraint;
    a_value_that_did_not_fit_goes_in_after_alter => altered;
    children_of_a_parent_that_waits_follow_it => children;
    a_row_that_refers_to_itself_does_not_wait_for_itself => itself;
    a_deleted_parent_comes_back_with_its_child => parent_deleted;
    a_parent_deleted_by_the_source_of_truth_waits_for_a_person => parent_deleted_by_the_truth;
    a_parent_is_known_by_other_columns_than_its_key => foreign::to_other_columns;
    the_truth_and_a_parent_known_by_other_columns_wait_for_a_person => foreign::to_other_columns_of_the_truth;
    a_parent_moves_while_its_children_wait => foreign::parent_moves;
    a_parent_known_by_other_columns_moves_while_its_children_wait => foreign::known_parent_moves;
    a_foreign_key_that_comes_while_a_link_runs_is_heeded => foreign::added_later;
    rows_that_refer_to_each_other_go_in_together => foreign::in_a_circle;
    a_row_that_is_put_back_to_a_gone_parent_waits => foreign::put_back;
    a_delete_by_the_arbiter_waits_for_the_children => foreign::own_delete;
    what_carries_a_wrong_stamp_waits_and_is_counted => wrong_stamps;
    an_update_that_raised_no_version_is_touched => unraised;
    a_large_transaction_keeps_its_rows_with_their_parents => large;
    an_insert_that_missed_a_delete_is_touched => missed;
    a_delete_that_was_only_later_touches_nothing => not_missed;
    more_than_may_wait_stops_the_link => bounded;
    however_many_wait_for_a_person_the_rest_costs_the_same => many;
    a_lock_on_a_row_that_waits_holds_nothing_up => locked;
    run_once_tries_what_waits => once;
    later_changes_of_what_did_not_fit_lose_none_of_it => refused_again;
    a_later_change_with_the_same_stamp_waits_in_place_of_the_first => same_stamp;
    what_is_left_to_a_person_ends_by_one_write_above_both => ask;
    later_changes_of_what_is_left_to_a_person_are_decided_with_it => ask_again;
    a_delete_that_is_left_to_a_person_ends_either_way => ask_of_deletes;
}

pair_tests!(postgres18_postgres18, ONE_SERVER,
    a_unique_clash_ends_when_one_side_gives_the_value_up => unique;
    a_deleted_parent_comes_back_with_its_child => parent_deleted;
    an_insert_that_missed_a_delete_is_touched => missed;
);

const CREW: Table = Table {
    name: "crew",
    body: "id int NOT NULL PRIMARY KEY, nick {word} NOT NULL UNIQUE, note varchar(40)",
    key: &["id"],
    columns: &["nick", "note"],
};

const SHIFT: Table = Table {
    name: "shift",
    body: "id int NOT NULL PRIMARY KEY, crew int, day varchar(20), CONSTRAINT shift_crew FOREIGN KEY (crew) REFERENCES crew (id)",
    key: &["id"],
    columns: &["crew", "day"],
};

async fn agreed(hint: &str, pair: Pair, tables: &[Table], more: &str, rows: &str) -> Scene {
    let mut scene = Scene::new(hint, pair, Way::Merge, tables).await;
    scene.configure("from:a", more);
    scene.exec(Side::A, rows).await;
    scene.start().await;
    scene.wait_equal().await;
    scene
}

async fn apart(scene: &mut Scene, on_a: &str, on_b: &str) {
    scene.stop().await;
    scene.exec(Side::A, on_a).await;
    scene.exec(Side::B, on_b).await;
    scene.run().await;
    scene.crossed().await;
}

async fn waits(scene: &Scene, side: Side) -> Vec<String> {
    let sql = format!(
        "SELECT kind FROM tidelock.parked WHERE sync = '{}' ORDER BY number",
        scene.sync
    );
    let rows = scene.db(side).rows(&sql).await;
    rows.into_iter().flatten().flatten().collect()
}

async fn open(scene: &Scene, side: Side) -> i64 {
    let open = format!(
        "tidelock.conflict WHERE sync = '{}' AND outcome = 'open'",
        scene.sync
    );
    scene.db(side).count(&open).await
}

async fn count(scene: &Scene, side: Side, rows: &str) -> i64 {
    scene.db(side).count(rows).await
}

async fn until(what: &str, condition: impl AsyncFnMut() -> bool) {
    harness::eventually(LIMIT, what, condition).await;
}

/// Nothing waits, nothing is open, and every table is equal.
async fn settled(scene: &mut Scene) {
    for side in [Side::A, Side::B] {
        until(&format!("nothing waits on {side:?}"), async || {
            waits(scene, side).await.is_empty() && open(scene, side).await == 0
        })
        .await;
    }
    scene.wait_equal().await;
}

async fn clash(hint: &str, pair: Pair) -> Scene {
    let mut scene = agreed(
        hint,
        pair,
        &[ITEM, SEAT],
        "",
        "INSERT INTO item VALUES (1, 'item', 0, '')",
    )
    .await;
    apart(
        &mut scene,
        "INSERT INTO seat VALUES (1, 'window'); UPDATE item SET n = 1 WHERE id = 1",
        "INSERT INTO seat VALUES (2, 'window'); INSERT INTO item VALUES (2, 'y', 1, '')",
    )
    .await;
    for side in [Side::A, Side::B] {
        assert_eq!(waits(&scene, side).await, ["unique"], "{side:?}");
        assert_eq!(open(&scene, side).await, 1, "{side:?}");
        assert_eq!(count(&scene, side, "item").await, 2, "the rest flows to {side:?}");
    }
    scene
}

async fn unique(pair: Pair) {
    let mut scene = clash("p_unique", pair).await;
    scene
        .exec(Side::B, "UPDATE seat SET place = 'aisle' WHERE id = 2")
        .await;
    settled(&mut scene).await;
    assert_eq!(count(&scene, Side::A, "seat").await, 2);
    let sql = format!(
        "SELECT outcome, settled_how FROM tidelock.conflict WHERE sync = '{}'",
        scene.sync
    );
    for side in [Side::A, Side::B] {
        let rows = scene.db(side).rows(&sql).await;
        assert!(
            rows.iter()
                .all(|row| row[0].as_deref() == Some("resolved") && row[1].is_some()),
            "{side:?}: {rows:?}"
        );
    }
}

/// Later changes of the row wait in its place over a crash, and its last state goes in.
async fn killed(pair: Pair) {
    let mut scene = clash("p_killed", pair).await;
    scene.lock.kill9().await;
    scene.run().await;
    scene
        .exec(Side::B, "UPDATE seat SET place = 'Window' WHERE id = 2; UPDATE seat SET place = 'window' WHERE id = 2; INSERT INTO item VALUES (3, 'y', 1, '')")
        .await;
    scene.crossed().await;
    assert_eq!(count(&scene, Side::A, "item").await, 3);
    scene.lock.kill9().await;
    scene.exec(Side::A, "DELETE FROM seat WHERE id = 1").await;
    scene.run().await;
    settled(&mut scene).await;
    assert_eq!(
        count(&scene, Side::A, "seat WHERE id = 2 AND place = 'window'").await,
        1
    );
}

const PRICE: Table = Table {
    name: "price",
    body: "",
    key: &["id"],
    columns: &["n", "note"],
};

async fn priced(hint: &str, pair: Pair, on_a: &str, on_b: &str, more: &str) -> Scene {
    let mut scene = Scene::new(hint, pair, Way::Merge, &[PRICE]).await;
    for (side, n) in [(Side::A, on_a), (Side::B, on_b)] {
        let table = format!("CREATE TABLE price (id int NOT NULL PRIMARY KEY, n {n}, note varchar(40))");
        scene.exec(side, &table).await;
    }
    scene.configure("from:a", more);
    scene.exec(Side::A, "INSERT INTO price VALUES (1, 1, '')").await;
    scene.start().await;
    scene.wait_equal().await;
    scene
}

async fn constraint(pair: Pair) {
    let small = "decimal(10,2), CONSTRAINT price_small CHECK (n < 100)";
    let mut scene = priced("p_check", pair, "decimal(10,2)", small, "").await;
    scene
        .exec(Side::A, "INSERT INTO price VALUES (2, 500, 'new'); UPDATE price SET n = 600 WHERE id = 1; INSERT INTO price VALUES (3, 3, 'flows')")
        .await;
    scene.crossed().await;
    assert_eq!(waits(&scene, Side::B).await, ["value_refused"; 2]);
    assert_eq!(count(&scene, Side::B, "price").await, 2);
    scene.stop().await;
    scene
        .exec(Side::B, "ALTER TABLE price DROP CONSTRAINT price_small")
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.run().await;
    settled(&mut scene).await;
    assert_eq!(count(&scene, Side::B, "price WHERE n IN (500, 600)").await, 2);
}

/// The target's column is widened: what it refused goes in.
async fn altered(pair: Pair) {
    let mut scene = priced("p_alter", pair, "decimal(8,2)", "decimal(10,2)", "").await;
    scene
        .exec(
            Side::B,
            "INSERT INTO price VALUES (2, 99999999.99, 'new'); UPDATE price SET n = 88888888.88 WHERE id = 1",
        )
        .await;
    scene.crossed().await;
    assert_eq!(waits(&scene, Side::A).await, ["value_refused"; 2]);
    scene.stop().await;
    scene
        .exec(Side::A, "ALTER TABLE price ALTER n TYPE decimal(10,2)")
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.run().await;
    settled(&mut scene).await;
    assert_eq!(count(&scene, Side::A, "price WHERE n > 88888888").await, 2);
}

/// Row 1: a second change goes on from the one that was refused. Row 2: one is made on what a sent meanwhile and goes in,
/// and the first waits on. Row 3: such a one that is refused too cannot hold what the first one changed.
async fn refused_again(pair: Pair) {
    let more = "on_conflict = \"columns\"";
    let mut scene = priced("p_again", pair, "decimal(8,2)", "decimal(10,2)", more).await;
    let rows = "INSERT INTO price VALUES (2, 1, ''); INSERT INTO price VALUES (3, 1, '')";
    scene.exec(Side::A, rows).await;
    scene.crossed().await;
    let by_a =
        "UPDATE price SET note = 'a' WHERE id IN (2, 3); UPDATE price SET note = 'aa' WHERE id IN (2, 3)";
    let by_b = "UPDATE price SET n = 11111111.11 WHERE id = 1; UPDATE price SET n = 22222222.22 WHERE id = 2; \
                UPDATE price SET n = 33333333.33 WHERE id = 3";
    apart(&mut scene, by_a, by_b).await;
    assert_eq!(waits(&scene, Side::A).await, ["value_refused"; 3]);
    assert_eq!(
        count(&scene, Side::B, "price WHERE note = 'aa' AND n = 1").await,
        2
    );
    for later in [
        "UPDATE price SET note = 'later' WHERE id = 1",
        "UPDATE price SET note = 'b' WHERE id = 2",
        "UPDATE price SET n = 44444444.44, note = 'b' WHERE id = 3",
    ] {
        scene.exec(Side::B, later).await;
    }
    scene.crossed().await;
    assert_eq!(waits(&scene, Side::A).await, ["value_refused"; 3]);
    assert_eq!(
        count(&scene, Side::A, "price WHERE id = 2 AND n = 1 AND note = 'b'").await,
        1
    );
    assert!(scene.lock.log().contains("replaced_while_waiting"));
    scene.stop().await;
    scene
        .exec(Side::A, "ALTER TABLE price ALTER n TYPE decimal(10,2)")
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.run().await;
    until("nothing to wait", async || {
        waits(&scene, Side::A).await.is_empty()
    })
    .await;
    scene.wait_equal().await;
    for (side, row) in [Side::A, Side::B].into_iter().flat_map(|side| {
        [
            "n = 11111111.11 AND note = 'later'",
            "n = 22222222.22 AND note = 'b'",
            "n = 44444444.44 AND note = 'b'",
        ]
        .map(|row| (side, row))
    }) {
        assert_eq!(
            count(&scene, side, &format!("price WHERE {row}")).await,
            1,
            "{side:?} {row}"
        );
    }
    // What the first change of row 3 was is left to a person.
    let number = format!(
        "SELECT number FROM tidelock.conflict WHERE sync = '{}' AND outcome = 'open'",
        scene.sync
    );
    assert_eq!((open(&scene, Side::A).await, open(&scene, Side::B).await), (1, 0));
    let name = format!("a:{}", scene.a.one(&number).await);
    scene
        .lock
        .ok(&["conflicts", "dismiss", &name, "--reason", "seen", "--execute"])
        .await;
    assert_eq!(open(&scene, Side::A).await, 0);
}

/// An update that raised no version has the stamp of the change that waits: it must not be taken for that.
async fn same_stamp(pair: Pair) {
    let mut scene = agreed(
        "p_same",
        pair,
        &[CREW],
        "",
        "INSERT INTO crew VALUES (9, 'zoe', '')",
    )
    .await;
    apart(
        &mut scene,
        "INSERT INTO crew VALUES (1, 'ann', '')",
        "INSERT INTO crew VALUES (2, 'ann', 'as it came')",
    )
    .await;
    assert_eq!(waits(&scene, Side::A).await, ["unique"]);
    silently(&scene, Side::B, &["UPDATE crew SET note = 'silent' WHERE id = 2"]).await;
    scene.crossed().await;
    assert_eq!(waits(&scene, Side::A).await, ["unique"]);
    scene
        .exec(Side::A, "UPDATE crew SET nick = 'bea' WHERE id = 1")
        .await;
    settled(&mut scene).await;
    assert_eq!(count(&scene, Side::A, "crew WHERE note = 'silent'").await, 1);
}

async fn children(pair: Pair) {
    let mut scene = agreed(
        "p_children",
        pair,
        &[CREW, SHIFT],
        "",
        "INSERT INTO crew VALUES (5, 'five', '')",
    )
    .await;
    apart(
        &mut scene,
        "INSERT INTO crew VALUES (1, 'ann', '')",
        "INSERT INTO crew VALUES (2, 'ann', ''); INSERT INTO shift VALUES (10, 2, 'mon'); INSERT INTO shift VALUES (11, 5, 'tue'); UPDATE shift SET day = 'wed' WHERE id = 10",
    )
    .await;
    assert_eq!(waits(&scene, Side::A).await, ["unique", "waits_for_parent"]);
    assert_eq!(count(&scene, Side::A, "shift WHERE id = 11").await, 1);
    assert_eq!(
        open(&scene, Side::A).await,
        1,
        "what waits for its parent is no conflict of its own"
    );
    scene
        .exec(Side::B, "UPDATE crew SET nick = 'bea' WHERE id = 2")
        .await;
    settled(&mut scene).await;
    assert_eq!(
        count(&scene, Side::A, "shift WHERE crew = 2 AND day = 'wed'").await,
        1
    );
}

const STAFF: Table = Table {
    name: "staff",
    body: "id int NOT NULL PRIMARY KEY, boss int, nick {word} NOT NULL UNIQUE, CONSTRAINT staff_boss FOREIGN KEY (boss) REFERENCES staff (id)",
    key: &["id"],
    columns: &["boss", "nick"],
};

async fn itself(pair: Pair) {
    let rows = "INSERT INTO staff VALUES (9, NULL, 'zoe')";
    let mut scene = agreed("p_itself", pair, &[STAFF], "", rows).await;
    apart(
        &mut scene,
        "INSERT INTO staff VALUES (1, 1, 'ann')",
        "BEGIN; INSERT INTO staff VALUES (2, 2, 'ann'); INSERT INTO staff VALUES (3, 2, 'cas'); COMMIT",
    )
    .await;
    let mut kinds = waits(&scene, Side::A).await;
    kinds.sort();
    // In one table the two are written as one set, so the child was found without its parent.
    assert_eq!(kinds, ["fk_missing", "unique"]);
    scene
        .exec(
            Side::B,
            "UPDATE staff SET boss = 9 WHERE id = 2; UPDATE staff SET boss = 2 WHERE id = 2",
        )
        .await;
    scene.crossed().await;
    scene
        .exec(Side::B, "UPDATE staff SET nick = 'bea' WHERE id = 2")
        .await;
    settled(&mut scene).await;
    assert_eq!(count(&scene, Side::A, "staff WHERE boss = 2").await, 2);
}

async fn parent_deleted(pair: Pair) {
    let rows = "INSERT INTO crew VALUES (1, 'ann', ''); INSERT INTO crew VALUES (2, 'bea', '')";
    let mut scene = agreed("p_orphan", pair, &[CREW, SHIFT], "", rows).await;
    // Both ways, so that each side is once where the parent goes.
    apart(
        &mut scene,
        "DELETE FROM crew WHERE id = 1; INSERT INTO shift VALUES (20, 2, 'mon')",
        "DELETE FROM crew WHERE id = 2; INSERT INTO shift VALUES (10, 1, 'tue')",
    )
    .await;
    settled(&mut scene).await;
    for side in [Side::A, Side::B] {
        assert_eq!(count(&scene, side, "crew").await, 2, "{side:?}");
        assert_eq!(count(&scene, side, "shift").await, 2, "{side:?}");
        let found = scene.conflicts(side).await;
        assert!(
            found.iter().any(|conflict| conflict.kind == "fk_missing"),
            "{side:?}: {found:?}"
        );
    }
}

/// A transaction larger than a group is read again, and then what lacks its parent waits.
async fn large(pair: Pair) {
    let rows = "INSERT INTO crew VALUES (1, 'ann', ''); INSERT INTO crew VALUES (2, 'bea', '')";
    let limits = "\n[limits]\ngroup_bytes_max = 65536";
    let mut scene = agreed("p_large", pair, &[CREW, SHIFT], limits, rows).await;
    // More than the sources hand on at once.
    let mut all = "BEGIN; INSERT INTO shift VALUES (0, 1, 'tue')".to_owned();
    for part in 0..4 {
        let shifts = (1..=3000).map(|n| format!("({}, 2, 'mon')", part * 3000 + n));
        let shifts: Vec<String> = shifts.collect();
        all.push_str(&format!("; INSERT INTO shift VALUES {}", shifts.join(", ")));
    }
    all.push_str("; COMMIT");
    apart(&mut scene, "DELETE FROM crew WHERE id = 1", &all).await;
    settled(&mut scene).await;
    for side in [Side::A, Side::B] {
        assert_eq!(count(&scene, side, "crew").await, 2, "{side:?}");
        assert_eq!(count(&scene, side, "shift").await, 12_001, "{side:?}");
    }
    assert!(
        scene.lock.log().contains("it is read again"),
        "{}",
        scene.lock.log()
    );
}

/// The truth would answer a touch by another delete: nobody decides that but a person.
async fn parent_deleted_by_the_truth(pair: Pair) {
    let rows = "INSERT INTO crew VALUES (1, 'ann', ''); INSERT INTO crew VALUES (2, 'bea', '')";
    let mut scene = agreed(
        "p_truth",
        pair,
        &[CREW, SHIFT],
        "on_conflict = \"source-of-truth:a\"",
        rows,
    )
    .await;
    apart(
        &mut scene,
        "DELETE FROM crew WHERE id = 1; DELETE FROM crew WHERE id = 2",
        "INSERT INTO shift VALUES (10, 1, 'mon'); INSERT INTO shift VALUES (20, 2, 'mon')",
    )
    .await;
    for side in [Side::A, Side::B] {
        assert_eq!(waits(&scene, side).await, ["fk_missing"; 2], "{side:?}");
        assert_eq!(open(&scene, side).await, 2, "{side:?}");
    }
    // One goes, the other comes back.
    scene.exec(Side::B, "DELETE FROM shift WHERE id = 10").await;
    scene
        .exec(Side::A, "INSERT INTO crew VALUES (2, 'bea', 'again')")
        .await;
    settled(&mut scene).await;
    for side in [Side::A, Side::B] {
        assert_eq!(count(&scene, side, "crew WHERE id = 2").await, 1, "{side:?}");
        assert_eq!(count(&scene, side, "crew").await, 1, "{side:?}");
        assert_eq!(count(&scene, side, "shift WHERE id = 20").await, 1, "{side:?}");
    }
}

/// A user of A inserts a row while a delete of its key, greater than anything A knows, is on its way.
async fn missed(pair: Pair) {
    let mut scene = agreed(
        "p_missed",
        pair,
        &[ITEM],
        "",
        "INSERT INTO item VALUES (1, 'x', 0, 'old')",
    )
    .await;
    scene.stop().await;
    scene
        .exec(Side::B, "BEGIN; UPDATE item SET n = 1 WHERE id = 1; UPDATE item SET n = 2 WHERE id = 1; UPDATE item SET n = 3 WHERE id = 1; DELETE FROM item WHERE id = 1; COMMIT")
        .await;
    scene.exec(Side::A, "DELETE FROM item WHERE id = 1").await;
    let mut user = scene.a.session().await;
    user.exec("BEGIN").await;
    user.exec("INSERT INTO item VALUES (1, 'x', 9, 'alive')").await;
    scene.run().await;
    scene.crossed().await;
    user.exec("COMMIT").await;
    for side in [Side::A, Side::B] {
        until(&format!("the row to be on {side:?}"), async || {
            count(&scene, side, "item WHERE id = 1 AND note = 'alive'").await == 1
        })
        .await;
    }
    scene.wait_equal().await;
    let noted = format!("tidelock.missed_bump WHERE sync = '{}'", scene.sync);
    until("the note to be dropped", async || {
        count(&scene, Side::B, &noted).await == 0
    })
    .await;
}

/// The same looks on the receiving side, but the delete has still to arrive where the row stands.
async fn not_missed(pair: Pair) {
    let mut scene = agreed(
        "p_real",
        pair,
        &[ITEM],
        "",
        "INSERT INTO item VALUES (1, 'x', 0, 'old')",
    )
    .await;
    apart(
        &mut scene,
        "UPDATE item SET n = 1 WHERE id = 1",
        "UPDATE item SET n = 1 WHERE id = 1; UPDATE item SET n = 2 WHERE id = 1; DELETE FROM item WHERE id = 1",
    )
    .await;
    let noted = format!("tidelock.missed_bump WHERE sync = '{}'", scene.sync);
    until("the note to be dropped", async || {
        count(&scene, Side::B, &noted).await == 0
    })
    .await;
    scene.wait_equal().await;
    assert_eq!(count(&scene, Side::A, "item").await, 0);
}

const PAPER: Table = Table {
    name: "paper",
    body: "id int NOT NULL PRIMARY KEY, body {text}, note varchar(40)",
    key: &["id"],
    columns: &["body", "note"],
};

/// A session in which no trigger stamps anything.
async fn silently(scene: &Scene, side: Side, statements: &[&str]) {
    let mut session = scene.db(side).admin().await;
    let silent = match scene.db(side).kind().is_postgres() {
        true => "SET session_replication_role = replica",
        false => "SET @tidelock_apply = 1",
    };
    session.exec(silent).await;
    for statement in statements {
        session.exec(statement).await;
    }
}

/// Stamps that were set by hand, updates that raised none, and a row that the log carries in two parts.
async fn wrong_stamps(pair: Pair) {
    let listen = harness::free_address();
    let large = "SELECT string_agg(md5(n::text), '') FROM generate_series(1, 300) AS n";
    let rows = format!(
        "INSERT INTO item VALUES (1, 'x', 0, 'old'); INSERT INTO item VALUES (2, 'x', 0, 'old'); INSERT INTO paper VALUES (1, ({large}), 'old')"
    );
    let http = format!("\n[http]\nlisten = \"{listen}\"");
    let mut scene = agreed("p_stamps", pair, &[ITEM, PAPER], &http, &rows).await;
    // A row is gone on B and nobody knows; A's update sends its large cell only in the old row, and it comes whole.
    silently(
        &scene,
        Side::B,
        &["SET sql_log_bin = 0", "DELETE FROM paper WHERE id = 1"],
    )
    .await;
    scene
        .exec(Side::A, "UPDATE paper SET note = 'new' WHERE id = 1")
        .await;
    scene.crossed().await;
    let whole = "paper WHERE note = 'new' AND char_length(body) = 9600";
    assert_eq!(count(&scene, Side::B, whole).await, 1);
    scene.stop().await;
    // The stamp that B's own update gets, with other contents.
    silently(
        &scene,
        Side::A,
        &[
            "UPDATE item SET note = 'by hand', tidelock_version = 2, tidelock_origin = 2 WHERE id = 1",
            "UPDATE item SET note = 'not raised' WHERE id = 2",
        ],
    )
    .await;
    scene
        .exec(Side::B, "UPDATE item SET note = 'of b' WHERE id = 1")
        .await;
    scene.run().await;
    scene.crossed().await;
    assert_eq!(waits(&scene, Side::B).await, ["equal_stamps"]);
    assert_eq!(open(&scene, Side::B).await, 1);
    assert_eq!(count(&scene, Side::B, "item WHERE note = 'of b'").await, 1);
    assert_eq!(count(&scene, Side::B, "item WHERE note = 'not raised'").await, 1);
    let series = format!(
        "tidelock_missed_bumps_total{{sync=\"{}\",link=\"a->b\"}} 1.0",
        scene.sync
    );
    until("the update that raised nothing to be counted", async || {
        let metrics = tidelock::http::client::get(listen, "/metrics", LIMIT).await;
        metrics.unwrap().body.contains(&series)
    })
    .await;
    // A write above both ends it.
    scene
        .exec(Side::A, "UPDATE item SET note = 'decided' WHERE id = 1")
        .await;
    settled(&mut scene).await;
    assert_eq!(count(&scene, Side::B, "item WHERE note = 'decided'").await, 1);
}

/// On either side, on both at once, so that each takes the other's row, and in one transaction with an update that raised
/// its version: every such row is touched where it was written, and both sides end with one of the two.
async fn unraised(pair: Pair) {
    let rows = (1..=4).map(|id| format!("INSERT INTO item VALUES ({id}, 'x', 0, 'old')"));
    let rows = rows.collect::<Vec<_>>().join("; ");
    let mut scene = agreed("p_unraised", pair, &[ITEM], "", &rows).await;
    scene.stop().await;
    let silent = |note: &str, ids: &str| format!("UPDATE item SET note = '{note}' WHERE id IN ({ids})");
    silently(&scene, Side::A, &[&silent("a", "1, 3")]).await;
    silently(&scene, Side::B, &[&silent("b", "2, 3")]).await;
    scene.exec(Side::A, "UPDATE item SET n = 1 WHERE id = 4").await;
    silently(&scene, Side::A, &[&silent("a", "4")]).await;
    scene.run().await;
    for side in [Side::A, Side::B] {
        until(&format!("all rows to be raised on {side:?}"), async || {
            count(&scene, side, "item WHERE tidelock_version > 1").await == 4
                && count(&scene, side, "item WHERE id = 4 AND tidelock_version > 2").await == 1
        })
        .await;
    }
    scene.crossed().await;
    settled(&mut scene).await;
    for row in [
        "id = 1 AND note = 'a'",
        "id = 2 AND note = 'b'",
        "id = 3 AND note <> 'old'",
        "id = 4 AND n = 1 AND note = 'a'",
    ] {
        assert_eq!(
            count(&scene, Side::A, &format!("item WHERE {row}")).await,
            1,
            "{row}"
        );
    }
    // The one that lost is told.
    let images: Vec<String> = scene
        .conflicts(Side::A)
        .await
        .iter()
        .chain(&scene.conflicts(Side::B).await)
        .map(|conflict| format!("{conflict:?}"))
        .collect();
    let images = images.join(" ");
    assert!(images.contains("\"a\"") && images.contains("\"b\""), "{images}");
    // Found by one link and touched by the other.
    until("status to tell of them", async || {
        let status = scene.lock.ok(&["status"]).await;
        status.matches(" missed bumps").count() == 2
    })
    .await;
    let noted = format!("tidelock.missed_bump WHERE sync = '{}'", scene.sync);
    for side in [Side::A, Side::B] {
        until("the notes to be dropped", async || {
            count(&scene, side, &noted).await == 0
        })
        .await;
    }
}

async fn bounded(pair: Pair) {
    let mut scene = agreed(
        "p_bound",
        pair,
        &[SEAT],
        "\n[limits]\nparked_rows_max = 1",
        "INSERT INTO seat VALUES (9, 'door')",
    )
    .await;
    scene.stop().await;
    scene
        .exec(
            Side::A,
            "INSERT INTO seat VALUES (1, 'w1'); INSERT INTO seat VALUES (2, 'w2')",
        )
        .await;
    scene
        .exec(
            Side::B,
            "INSERT INTO seat VALUES (3, 'w1'); INSERT INTO seat VALUES (4, 'w2')",
        )
        .await;
    scene.run().await;
    let code = scene.lock.wait(LIMIT).await;
    let log = scene.lock.log();
    assert_eq!(code, 5, "{log}");
    assert!(log.contains("limits.parked_rows_max = 1"), "{log}");
    scene.configure("from:a", "\n[limits]\nparked_rows_max = 10");
    scene.run().await;
    scene.crossed().await;
    for side in [Side::A, Side::B] {
        assert_eq!(waits(&scene, side).await.len(), 2, "{side:?}");
    }
}

const MANY: i64 = 1_000;

/// Statements of the program on B, by the server's own log, while other rows of the table are written: not one for each row
/// that waits.
async fn many(pair: Pair) {
    let log = ["--general-log=1", "--log-output=TABLE"];
    let mut scene = Scene::with_b("p_many", pair, Way::Merge, &[ITEM], &log).await;
    scene.configure("from:a", "on_conflict = \"ask\"");
    let rows = (1..=MANY + 100).map(|id| format!("({id}, 'x', 0, '')"));
    let rows = rows.collect::<Vec<_>>().join(", ");
    scene
        .exec(Side::A, &format!("INSERT INTO item VALUES {rows}"))
        .await;
    scene.start().await;
    scene.wait_equal().await;
    let by = format!(
        "mysql.general_log WHERE user_host LIKE '%{}%'",
        scene.b.run_account()
    );
    let mut said = vec![];
    for is_first in [true, false] {
        let mut admin = scene.b.admin().await;
        admin.exec("TRUNCATE mysql.general_log").await;
        for id in MANY + 1..=MANY + 100 {
            let update = format!("UPDATE item SET n = n + 1 WHERE id = {id}");
            scene.exec(Side::A, &update).await;
        }
        scene.crossed().await;
        let sql = format!("SELECT count(*) FROM {by}");
        let rows = admin.rows(&sql).await;
        said.push(rows[0][0].as_ref().unwrap().parse::<i64>().unwrap());
        if is_first {
            let contest = |note: &str| format!("UPDATE item SET note = '{note}' WHERE id <= {MANY}");
            apart(&mut scene, &contest("a"), &contest("b")).await;
            assert_eq!(waits(&scene, Side::B).await.len(), MANY as usize);
        }
    }
    assert!(said[0] > 20, "the log is empty: {said:?}");
    assert!(said[1] < 2 * said[0] + MANY / 2, "none, {MANY} waiting: {said:?}");
}

/// A user works on the row that a person is to decide about: the rest flows, and the wait ends when he has decided it.
async fn locked(pair: Pair) {
    let rows = "INSERT INTO item VALUES (1, 'x', 0, 'old'); INSERT INTO item VALUES (2, 'x', 0, 'old')";
    let mut scene = agreed("p_locked", pair, &[ITEM], "on_conflict = \"ask\"", rows).await;
    apart(
        &mut scene,
        "UPDATE item SET note = 'a' WHERE id = 1",
        "UPDATE item SET note = 'b' WHERE id = 1",
    )
    .await;
    let mut user = scene.b.session().await;
    user.exec("BEGIN").await;
    user.exec("UPDATE item SET note = 'decided' WHERE id = 1").await;
    // Longer than the time between two looks at what waits.
    let begun = std::time::Instant::now();
    let mut n = 0;
    while begun.elapsed() < std::time::Duration::from_secs(5) {
        n += 1;
        let write = format!("UPDATE item SET n = {n} WHERE id = 2");
        scene.exec(Side::A, &write).await;
        let since = std::time::Instant::now();
        until("what nobody holds to flow", async || {
            count(&scene, Side::B, &format!("item WHERE id = 2 AND n = {n}")).await == 1
        })
        .await;
        assert!(
            since.elapsed() < std::time::Duration::from_secs(4),
            "it waited for the lock"
        );
    }
    assert_eq!(waits(&scene, Side::B).await, ["ask"]);
    user.exec("COMMIT").await;
    settled(&mut scene).await;
    assert_eq!(count(&scene, Side::A, "item WHERE note = 'decided'").await, 1);
}

/// One write above both ends it on both nodes, whichever makes it, and rows that refer to the row follow.
async fn ask(pair: Pair) {
    let rows = "INSERT INTO crew VALUES (1, 'ann', 'old'); INSERT INTO crew VALUES (2, 'bea', 'old'); INSERT INTO crew VALUES (3, 'cas', 'old'); INSERT INTO crew VALUES (4, 'dea', 'old')";
    let mut scene = agreed("p_ask", pair, &[CREW, SHIFT], "on_conflict = \"ask\"", rows).await;
    apart(
        &mut scene,
        "UPDATE crew SET note = 'a' WHERE id IN (1, 2, 4); UPDATE crew SET note = 'flows' WHERE id = 3; INSERT INTO shift VALUES (10, 1, 'mon'); INSERT INTO shift VALUES (30, 3, 'mon')",
        "UPDATE crew SET note = 'b' WHERE id IN (1, 2, 4); INSERT INTO shift VALUES (20, 2, 'mon')",
    )
    .await;
    for (side, own) in [(Side::A, "a"), (Side::B, "b")] {
        assert_eq!(
            waits(&scene, side).await,
            ["ask", "ask", "ask", "waits_for_parent"],
            "{side:?}"
        );
        assert_eq!(open(&scene, side).await, 3, "{side:?}");
        assert_eq!(
            count(&scene, side, &format!("crew WHERE note = '{own}'")).await,
            3,
            "{side:?}"
        );
        assert_eq!(
            count(&scene, side, "crew WHERE note = 'flows'").await,
            1,
            "{side:?}"
        );
        assert_eq!(count(&scene, side, "shift WHERE id = 30").await, 1, "{side:?}");
    }
    scene.lock.kill9().await;
    scene.run().await;
    scene
        .exec(Side::A, "UPDATE crew SET note = 'decided on a' WHERE id = 1")
        .await;
    scene
        .exec(Side::B, "UPDATE crew SET note = 'decided on b' WHERE id = 2")
        .await;
    // One command does the same.
    let number = format!(
        "SELECT number FROM tidelock.conflict WHERE sync = '{}' AND outcome = 'open' AND key_json = '[4]'",
        scene.sync
    );
    let name = format!("b:{}", scene.b.one(&number).await);
    scene
        .lock
        .ok(&["conflicts", "resolve", &name, "--take", "a", "--execute"])
        .await;
    settled(&mut scene).await;
    for side in [Side::A, Side::B] {
        assert_eq!(
            count(&scene, side, "crew WHERE id = 4 AND note = 'a'").await,
            1,
            "{side:?}"
        );
    }
    for side in [Side::A, Side::B] {
        assert_eq!(
            count(&scene, side, "crew WHERE note LIKE 'decided on%'").await,
            2,
            "{side:?}"
        );
        assert_eq!(count(&scene, side, "shift").await, 3, "{side:?}");
    }
}

/// What waits of a row is its last state, with all that was changed before, and that is what a person decides about.
async fn ask_again(pair: Pair) {
    let rows = "INSERT INTO crew VALUES (1, 'ann', 'old'); INSERT INTO crew VALUES (2, 'bea', 'old')";
    let mut scene = agreed("p_askagain", pair, &[CREW], "on_conflict = \"ask\"", rows).await;
    let thrice = ["x", "y", "a"].map(|note| format!("UPDATE crew SET note = '{note}'"));
    // One transaction: the second one by itself would be above both sides, and end what the first one left open.
    let thrice = format!("START TRANSACTION; {}; COMMIT", thrice.join("; "));
    apart(&mut scene, &thrice, "UPDATE crew SET note = 'first'").await;
    // Above the change that waits, below what stands on a.
    scene
        .exec(
            Side::B,
            "UPDATE crew SET nick = 'abe' WHERE id = 1; UPDATE crew SET nick = 'bob' WHERE id = 2",
        )
        .await;
    scene.crossed().await;
    let last = "SELECT incoming_json FROM tidelock.conflict WHERE outcome = 'open' AND sync = ";
    for (side, note) in [(Side::A, "a"), (Side::B, "first")] {
        assert_eq!(waits(&scene, side).await, ["ask", "ask"], "{side:?}");
        assert_eq!(open(&scene, side).await, 2, "{side:?}");
        let own = format!("crew WHERE note = '{note}'");
        assert_eq!(count(&scene, side, &own).await, 2, "{side:?}");
    }
    for row in scene.a.rows(&format!("{last}'{}'", scene.sync)).await {
        let image = row[0].as_deref().unwrap();
        assert!(image.contains("first") && image.contains('b'), "{image}");
    }
    let told = format!(
        "tidelock.conflict WHERE sync = '{}' AND outcome = 'resolved'",
        scene.sync
    );
    assert_eq!(
        count(&scene, Side::A, &told).await,
        2,
        "what waited first is in its record"
    );
    for (id, take) in [(1, "a"), (2, "b")] {
        let number = format!(
            "SELECT number FROM tidelock.conflict WHERE sync = '{}' AND outcome = 'open' AND key_json = '[{id}]'",
            scene.sync
        );
        let name = format!("a:{}", scene.a.one(&number).await);
        scene
            .lock
            .ok(&["conflicts", "resolve", &name, "--take", take, "--execute"])
            .await;
    }
    settled(&mut scene).await;
    for side in [Side::A, Side::B] {
        for row in [
            "id = 1 AND nick = 'ann' AND note = 'a'",
            "id = 2 AND nick = 'bob' AND note = 'first'",
        ] {
            assert_eq!(
                count(&scene, side, &format!("crew WHERE {row}")).await,
                1,
                "{side:?} {row}"
            );
        }
    }
}

async fn ask_of_deletes(pair: Pair) {
    let rows = "INSERT INTO item VALUES (1, 'x', 0, 'old'); INSERT INTO item VALUES (2, 'x', 0, 'old')";
    let mut scene = agreed("p_askdel", pair, &[ITEM], "on_delete_conflict = \"ask\"", rows).await;
    apart(
        &mut scene,
        "DELETE FROM item WHERE id = 1; DELETE FROM item WHERE id = 2",
        "UPDATE item SET note = 'b' WHERE id = 1; UPDATE item SET note = 'b' WHERE id = 2",
    )
    .await;
    for (side, rows) in [(Side::A, 0), (Side::B, 2)] {
        assert_eq!(waits(&scene, side).await, ["ask", "ask"], "{side:?}");
        assert_eq!(count(&scene, side, "item").await, rows, "{side:?}");
    }
    scene
        .exec(
            Side::B,
            "DELETE FROM item WHERE id = 1; UPDATE item SET note = 'stays' WHERE id = 2",
        )
        .await;
    settled(&mut scene).await;
    assert_eq!(count(&scene, Side::A, "item WHERE note = 'stays'").await, 1);
    assert_eq!(count(&scene, Side::A, "item").await, 1);
}

/// Whoever starts `run --once` from time to time has no three seconds.
async fn once(pair: Pair) {
    let mut scene = clash("p_once", pair).await;
    scene.stop().await;
    scene.exec(Side::A, "DELETE FROM seat WHERE id = 1").await;
    scene.lock.ok(&["run", "--once"]).await;
    for side in [Side::A, Side::B] {
        assert_eq!(open(&scene, side).await, 0, "{side:?}");
        assert_eq!(count(&scene, side, "seat WHERE id = 2").await, 1, "{side:?}");
        assert_eq!(count(&scene, side, "seat").await, 1, "{side:?}");
    }
}
