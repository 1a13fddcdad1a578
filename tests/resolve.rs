//! Conflicts decided by a person from the command line: both sides follow, and the record tells it.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::{Output, eventually};
use scenario::{ITEM, LIMIT, NEW, Pair, SEAT, Scene, Side, Table, Way};
use serde_json::Value as Json;

long_pairs! {
    a_delete_is_taken_and_taken_back => a_delete_is_taken_and_taken_back;
}

pairs! {
    an_override_long_after_reaches_both_sides => an_override_long_after_reaches_both_sides;
    a_merge_keeps_what_each_side_changed => a_merge_keeps_what_each_side_changed;
    a_row_that_moved_on_needs_consent => a_row_that_moved_on_needs_consent;
    a_unique_clash_is_resolved_for_either_side => a_unique_clash_is_resolved_for_either_side;
    a_refused_value_is_replaced => a_refused_value_is_replaced;
    what_is_decided_is_not_merged_again => what_is_decided_is_not_merged_again;
    what_is_decided_is_not_answered_later => what_is_decided_is_not_answered_later;
    an_open_record_of_a_one_way_sync_is_dismissed => an_open_record_of_a_one_way_sync_is_dismissed;
    masked_columns_are_nowhere => masked_columns_are_nowhere;
    old_conflicts_are_removed_and_open_ones_stay => old_conflicts_are_removed_and_open_ones_stay;
}

// Nothing of these is the pair's own.
pair_tests!(one_pair, NEW,
    a_clash_in_other_letters_is_resolved_for_either_side => a_clash_in_other_letters_is_resolved_for_either_side;
    other_rules_decide_as_they_would_have => other_rules_decide_as_they_would_have;
);

pair_tests!(postgres18_postgres15, scenario::POSTGRES,
    an_override_long_after_reaches_both_sides => an_override_long_after_reaches_both_sides;
    a_unique_clash_is_resolved_for_either_side => a_unique_clash_is_resolved_for_either_side;
);
pair_tests!(mysql_mariadb, scenario::FLAVORS,
    an_override_long_after_reaches_both_sides => an_override_long_after_reaches_both_sides;
    a_unique_clash_is_resolved_for_either_side => a_unique_clash_is_resolved_for_either_side;
);

const DATED: Table = Table {
    name: "dated",
    body: "id int NOT NULL PRIMARY KEY, d date",
    key: &["id"],
    columns: &["d"],
};

/// Both sides hold rows 1 to 5 and nothing has been contested.
async fn agreed(hint: &str, pair: Pair, tables: &[Table], more: &str) -> Scene {
    let mut scene = Scene::new(hint, pair, Way::Merge, tables).await;
    scene.configure("from:a", more);
    for n in 1..=5 {
        let sql = format!("INSERT INTO item VALUES ({n}, 'name', 0, 'seedling')");
        scene.exec(Side::A, &sql).await;
    }
    scene.start().await;
    scene.wait_equal().await;
    scene.assert_no_conflicts().await;
    scene
}

async fn note(scene: &Scene, side: Side, id: i64) -> String {
    let sql = format!("SELECT note FROM item WHERE id = {id}");
    let rows = scene.db(side).rows(&sql).await;
    let cell = rows.into_iter().next().map(|mut row| row.remove(0));
    cell.map_or("(none)".to_owned(), |cell| cell.unwrap_or_default())
}

/// `a:7`: what a side recorded of a row last.
async fn name(scene: &Scene, side: Side, table: &str, id: i64) -> String {
    let sql = format!(
        "SELECT max(number) FROM tidelock.conflict WHERE sync = '{}' AND table_name = '{table}' AND key_json = '[{id}]'",
        scene.sync
    );
    let number = scene.db(side).one(&sql).await;
    assert_ne!(number, "NULL", "{side:?} recorded nothing of {table} {id}");
    format!("{}:{number}", if side == Side::A { "a" } else { "b" })
}

async fn conflicts(scene: &Scene, arguments: &str) -> Output {
    let arguments: Vec<&str> = std::iter::once("conflicts").chain(arguments.split(' ')).collect();
    scene.lock.run(&arguments).await
}

async fn done(scene: &Scene, arguments: &str) -> String {
    let output = conflicts(scene, arguments).await;
    assert_eq!(output.code, 0, "{arguments}: {}{}", output.stdout, output.stderr);
    output.stdout
}

/// Refused by a gate, and says so.
async fn refused(scene: &Scene, arguments: &str, words: &str) {
    let output = conflicts(scene, arguments).await;
    assert_eq!(output.code, 5, "{arguments}: {}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains(words), "{words}: {}", output.stderr);
}

async fn document(scene: &Scene, arguments: &str) -> Json {
    serde_json::from_str(&done(scene, &format!("{arguments} --json")).await).unwrap()
}

async fn stamp(scene: &Scene, side: Side, id: i64) -> (i64, i64) {
    let sql = format!("SELECT tidelock_version, tidelock_origin FROM item WHERE id = {id}");
    let row = scene.db(side).rows(&sql).await.remove(0);
    let cell = |at: usize| row[at].as_ref().unwrap().parse().unwrap();
    (cell(0), cell(1))
}

/// Makes every record of the sync older.
async fn age(scene: &Scene, days: u32) {
    for side in [Side::A, Side::B] {
        let ago = match scene.db(side).kind().is_postgres() {
            true => format!("recorded_at - interval '{days} days'"),
            false => format!("recorded_at - INTERVAL {days} DAY"),
        };
        let sql = format!(
            "UPDATE tidelock.conflict SET recorded_at = {ago} WHERE sync = '{}'",
            scene.sync
        );
        scene.exec(side, &sql).await;
    }
}

async fn audit(scene: &Scene, side: Side) -> Vec<String> {
    let sql = format!(
        "SELECT action, detail FROM tidelock.audit WHERE sync = '{}' ORDER BY number",
        scene.sync
    );
    let rows = scene.db(side).rows(&sql).await;
    rows.into_iter()
        .map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" "))
        .collect()
}

/// Of each record of a row: outcome and how it was settled.
async fn settled(scene: &Scene, side: Side, id: i64) -> Vec<String> {
    let sql = format!(
        "SELECT outcome, coalesce(settled_how, '-') FROM tidelock.conflict WHERE sync = '{}' AND key_json = '[{id}]' \
         ORDER BY number",
        scene.sync
    );
    let rows = scene.db(side).rows(&sql).await;
    rows.into_iter()
        .map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(": "))
        .collect()
}

/// Of equal versions the node of the greater rank wins: b.
async fn both_updated(scene: &mut Scene, id: i64) {
    let update = |side: &str| format!("UPDATE item SET note = 'of {side}' WHERE id = {id}");
    scene.apart(&update("a"), &update("b")).await;
    assert_eq!(note(scene, Side::A, id).await, "of b");
}

async fn an_override_long_after_reaches_both_sides(pair: Pair) {
    let mut scene = agreed("r_override", pair, &[ITEM], "").await;
    both_updated(&mut scene, 1).await;
    both_updated(&mut scene, 2).await;
    age(&scene, 2).await;
    let shown = document(
        &scene,
        &format!("show {}", name(&scene, Side::A, "item", 1).await),
    )
    .await;
    let conflict = &shown["conflict"];
    assert_eq!(
        (&conflict["winner"], &conflict["outcome"]),
        (&"b".into(), &"applied".into())
    );
    for position in ["source_position", "target_position"] {
        assert_ne!(conflict[position], "", "{position}");
    }

    // What other rules would have made of the two, each counted once.
    for (rule, field) in [
        ("newest", "same"),
        ("source-of-truth:a", "other"),
        ("ask", "person"),
    ] {
        let would = document(&scene, &format!("whatif --rule {rule}")).await;
        let line = &would["tables"][0];
        assert_eq!(
            (&line["conflicts"], &line[field]),
            (&2.into(), &2.into()),
            "{rule}: {would}"
        );
        assert_eq!(
            would["examples"].as_array().unwrap().is_empty(),
            rule == "newest",
            "{would}"
        );
    }
    assert_eq!(conflicts(&scene, "whatif --rule oldest").await.code, 1);

    // Told by either side's record; first as a plan.
    for (id, side) in [(1, Side::A), (2, Side::B)] {
        let conflict = name(&scene, side, "item", id).await;
        let before = stamp(&scene, Side::A, id).await;
        let plan = conflicts(&scene, &format!("override {conflict} --take a")).await;
        assert_eq!(plan.code, 0, "{}", plan.stderr);
        assert!(
            plan.stdout.contains("would write on a: update"),
            "{}",
            plan.stdout
        );
        assert!(plan.stderr.contains("nothing was changed"), "{}", plan.stderr);
        assert_eq!(stamp(&scene, Side::A, id).await, before);
        assert_eq!(
            settled(&scene, side, id).await.last().unwrap().split(": ").nth(1),
            Some("-")
        );
        refused(
            &scene,
            &format!("resolve {conflict} --take a"),
            "decided by its rule",
        )
        .await;

        done(&scene, &format!("override {conflict} --take a --execute")).await;
        scene.wait_equal().await;
        for side in [Side::A, Side::B] {
            assert_eq!(note(&scene, side, id).await, "of a", "{side:?}");
            let told = settled(&scene, side, id).await;
            assert_eq!(told.len(), 1, "an override is no new conflict: {told:?}");
            assert!(told[0].contains("take a; written with version"), "{told:?}");
            assert!(!told[0].starts_with("resolved"), "{told:?}");
        }
        assert_eq!(stamp(&scene, Side::B, id).await, (before.0 + 1, 1));
    }
    let audit = audit(&scene, Side::A).await;
    assert_eq!(audit.len(), 2, "{audit:?}");
    assert!(audit[0].starts_with("override "), "{audit:?}");
    // And once more, the other way.
    let conflict = name(&scene, Side::A, "item", 1).await;
    refused(
        &scene,
        &format!("override {conflict} --take b --execute"),
        "moved on",
    )
    .await;
    done(&scene, &format!("override {conflict} --take b --force --execute")).await;
    scene.wait_equal().await;
    assert_eq!(note(&scene, Side::A, 1).await, "of b");
    scene.stop().await;
}

async fn a_delete_is_taken_and_taken_back(pair: Pair) {
    let mut scene = agreed("r_delete", pair, &[ITEM], "").await;
    scene
        .apart(
            "DELETE FROM item WHERE id = 1",
            "UPDATE item SET note = 'of b', name = NULL WHERE id = 1",
        )
        .await;
    assert_eq!(note(&scene, Side::A, 1).await, "of b");
    let conflict = name(&scene, Side::A, "item", 1).await;
    let taken = document(&scene, &format!("override {conflict} --take a --execute")).await;
    assert_eq!(taken["writes"][0]["operation"], "delete");
    scene.wait_equal().await;
    for side in [Side::A, Side::B] {
        assert_eq!(note(&scene, side, 1).await, "(none)", "{side:?}");
    }
    // It stands nowhere any more, and days later not even its tombstone: it comes back from the record, with what is set
    // besides.
    age(&scene, 2).await;
    scene.all_collected("item").await;
    let taken = document(
        &scene,
        &format!("override {conflict} --take b --set n=7 --force --execute"),
    )
    .await;
    assert_eq!(taken["writes"][0]["operation"], "insert");
    scene.wait_equal().await;
    let told = settled(&scene, Side::A, 1).await;
    assert!(told.iter().all(|how| how.contains("take b")), "{told:?}");
    for side in [Side::A, Side::B] {
        let row = scene
            .db(side)
            .rows("SELECT name, n, note FROM item WHERE id = 1")
            .await;
        assert_eq!(
            row,
            [[None, Some("7".to_owned()), Some("of b".to_owned())]],
            "{side:?}"
        );
    }
    scene.stop().await;
}

async fn a_merge_keeps_what_each_side_changed(pair: Pair) {
    let mut scene = agreed("r_merge", pair, &[ITEM], "").await;
    scene
        .apart(
            "UPDATE item SET name = 'of a', n = 1 WHERE id = 1",
            "UPDATE item SET note = 'of b', n = 2 WHERE id = 1",
        )
        .await;
    let conflict = name(&scene, Side::B, "item", 1).await;
    done(&scene, &format!("override {conflict} --merge --execute")).await;
    scene.wait_equal().await;
    for side in [Side::A, Side::B] {
        let row = scene
            .db(side)
            .rows("SELECT name, n, note FROM item WHERE id = 1")
            .await;
        let row: Vec<String> = row.into_iter().flatten().flatten().collect();
        assert_eq!(row, ["of a", "2", "of b"], "{side:?}");
    }
    scene.stop().await;
}

async fn a_row_that_moved_on_needs_consent(pair: Pair) {
    let mut scene = agreed("r_moved", pair, &[ITEM], "").await;
    both_updated(&mut scene, 1).await;
    scene
        .exec(Side::B, "UPDATE item SET note = 'later' WHERE id = 1")
        .await;
    scene.wait_equal().await;
    let conflict = name(&scene, Side::A, "item", 1).await;
    let plan = done(&scene, &format!("override {conflict} --take a")).await;
    assert!(
        plan.contains("the row moved on since: a holds version 3 of b"),
        "{plan}"
    );
    refused(
        &scene,
        &format!("override {conflict} --take a --execute"),
        "--force",
    )
    .await;
    assert_eq!(note(&scene, Side::A, 1).await, "later");

    // What is typed is held against the column, and never told.
    for (wrong, code) in [
        ("n=many", 1),
        ("n=99999999999", 1),
        ("id=9", 5),
        ("tidelock_version=9", 5),
        ("nn=1", 1),
    ] {
        let output = conflicts(
            &scene,
            &format!("override {conflict} --set {wrong} --force --execute"),
        )
        .await;
        assert_eq!(output.code, code, "{wrong}: {}", output.stderr);
        assert!(
            !output.stderr.contains("many") && !output.stderr.contains("99999"),
            "{}",
            output.stderr
        );
    }
    let output = conflicts(&scene, &format!("override {conflict} --null n --force --execute")).await;
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(output.stderr.contains("NOT NULL"), "{}", output.stderr);
    assert_eq!(audit(&scene, Side::A).await, [] as [&str; 0]);

    let set = "--set n=42 --set name=a';--=x --null note";
    done(&scene, &format!("override {conflict} {set} --force --execute")).await;
    scene.wait_equal().await;
    for side in [Side::A, Side::B] {
        let row = scene
            .db(side)
            .rows("SELECT name, n, note FROM item WHERE id = 1")
            .await;
        assert_eq!(
            row,
            [[Some("a';--=x".to_owned()), Some("42".to_owned()), None]],
            "{side:?}"
        );
    }
    scene.stop().await;
}

/// Each side took another row's unique value for its own.
async fn clashed(hint: &str, pair: Pair) -> Scene {
    let mut scene = agreed(hint, pair, &[ITEM, SEAT], "").await;
    scene.stop().await;
    scene.exec(Side::A, "INSERT INTO seat VALUES (1, 'window')").await;
    scene.exec(Side::B, "INSERT INTO seat VALUES (2, 'window')").await;
    scene.run().await;
    scene.crossed().await;
    for side in [Side::A, Side::B] {
        eventually(LIMIT, "an open conflict on each side", async || {
            open(&scene, side).await == 1
        })
        .await;
    }
    let listed = done(&scene, "list --open").await;
    let both = listed.matches("multiple_unique_conflicts").count() == 2;
    assert!(both, "{listed}");
    scene
}

async fn open(scene: &Scene, side: Side) -> i64 {
    let of = format!(
        "tidelock.conflict WHERE sync = '{}' AND outcome = 'open'",
        scene.sync
    );
    scene.db(side).count(&of).await
}

async fn seats(scene: &Scene, side: Side) -> Vec<String> {
    let rows = scene
        .db(side)
        .rows("SELECT id, place FROM seat ORDER BY id")
        .await;
    rows.into_iter()
        .map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" "))
        .collect()
}

async fn a_unique_clash_is_resolved_for_either_side(pair: Pair) {
    for (choice, left) in [
        ("--take a", &["1 window"][..]),
        ("--take b", &["2 window"]),
        ("--set place=aisle", &["1 aisle", "2 window"]),
    ] {
        let mut scene = clashed("r_unique", pair).await;
        // What b could not write: row 1 of a.
        let conflict = name(&scene, Side::B, "seat", 1).await;
        refused(
            &scene,
            &format!("override {conflict} {choice} --execute"),
            "none to override",
        )
        .await;
        done(&scene, &format!("resolve {conflict} {choice} --execute")).await;
        scene.wait_equal().await;
        for side in [Side::A, Side::B] {
            eventually(LIMIT, &format!("{choice}: {left:?} on {side:?}"), async || {
                seats(&scene, side).await == left
            })
            .await;
        }
        assert_eq!(open(&scene, Side::B).await, 0, "{choice}");
        refused(
            &scene,
            &format!("resolve {conflict} {choice} --execute"),
            "resolved already",
        )
        .await;
        scene.stop().await;
    }
}

const TALLY: Table = Table {
    name: "tally",
    body: "id int NOT NULL PRIMARY KEY, n smallint NOT NULL, note varchar(20)",
    key: &["id"],
    columns: &["n", "note"],
};

/// Differences whose sum the column cannot hold. Whatever is decided stands, to the unit: it is not added to what the
/// decision was about; and what comes later is.
async fn what_is_decided_is_not_merged_again(pair: Pair) {
    let rules = "[sync.table.tally]\ncolumn.n = { on_conflict = \"delta\" }";
    let mut scene = agreed("r_tally", pair, &[ITEM, TALLY], rules).await;
    let rows: Vec<String> = (1..=4)
        .map(|id| format!("INSERT INTO tally VALUES ({id}, 100, '')"))
        .collect();
    scene.exec(Side::A, &rows.join(";")).await;
    scene.wait_equal().await;
    scene.stop().await;
    scene.exec(Side::A, "UPDATE tally SET n = n + 32000").await;
    scene
        .exec(Side::B, "UPDATE tally SET n = n + 32001, note = 'b'")
        .await;
    scene.run().await;
    scene.crossed().await;
    assert_eq!((open(&scene, Side::A).await, open(&scene, Side::B).await), (4, 0));
    for (id, choice) in [
        (1, "--take a"),
        (2, "--take b"),
        (3, "--set n=5"),
        (4, "--merge --set n=7"),
    ] {
        let conflict = name(&scene, Side::A, "tally", id).await;
        done(&scene, &format!("resolve {conflict} {choice} --execute")).await;
    }
    let tally = async |scene: &Scene, side: Side| {
        let rows = scene.db(side).rows("SELECT n, note FROM tally ORDER BY id").await;
        rows.into_iter()
            .map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    let decided = ["32100 ", "32101 b", "5 b", "7 b"];
    for side in [Side::A, Side::B] {
        eventually(LIMIT, &format!("the decisions on {side:?}"), async || {
            tally(&scene, side).await == decided
        })
        .await;
    }
    let later = "UPDATE tally SET n = n - 1";
    scene.apart(later, later).await;
    for side in [Side::A, Side::B] {
        assert_eq!(
            tally(&scene, side).await,
            ["32098 ", "32099 b", "3 b", "5 b"],
            "{side:?}"
        );
        assert_eq!(open(&scene, side).await, 0, "{side:?}");
        let waits = format!("tidelock.parked WHERE sync = '{}'", scene.sync);
        assert_eq!(scene.db(side).count(&waits).await, 0, "{side:?}");
    }
    scene.stop().await;
}

/// The arbiter would have lifted the row over its delete, but another row holds its unique value. Decided for the delete,
/// it does not come back when that value is free again.
async fn what_is_decided_is_not_answered_later(pair: Pair) {
    let mut scene = agreed("r_later", pair, &[ITEM, SEAT], "on_delete_conflict = \"update\"").await;
    let rows = "INSERT INTO seat VALUES (1, 'window'); INSERT INTO seat VALUES (2, 'aisle')";
    scene.exec(Side::A, rows).await;
    scene.wait_equal().await;
    scene.stop().await;
    let places =
        ["door", "stairs", "window"].map(|place| format!("UPDATE seat SET place = '{place}' WHERE id = 1"));
    let a = format!(
        "{}; DELETE FROM seat WHERE id = 1; UPDATE seat SET place = 'corner' WHERE id = 2",
        places.join(";")
    );
    scene.exec(Side::A, &a).await;
    scene
        .exec(Side::B, "UPDATE seat SET place = 'corner' WHERE id = 1")
        .await;
    scene.run().await;
    scene.crossed().await;
    let conflict = name(&scene, Side::A, "seat", 1).await;
    assert_eq!(open(&scene, Side::A).await, 1);
    done(&scene, &format!("resolve {conflict} --take a --execute")).await;
    let waits = format!("tidelock.parked WHERE sync = '{}'", scene.sync);
    assert_eq!(scene.db(Side::A).count(&waits).await, 0);
    // What waits is tried again when its table was written to.
    scene
        .exec(Side::A, "UPDATE seat SET place = 'front' WHERE id = 2")
        .await;
    scene.wait_equal().await;
    scene.stop().await;
    scene.run().await;
    scene.wait_equal().await;
    for side in [Side::A, Side::B] {
        assert_eq!(seats(&scene, side).await, ["2 front"], "{side:?}");
    }
    scene.stop().await;
}

/// MySQL and MariaDB have no infinite date.
async fn a_refused_value_is_replaced(pair: Pair) {
    let mut scene = agreed("r_refused", pair, &[ITEM, DATED], "").await;
    scene
        .exec(Side::A, "INSERT INTO dated VALUES (1, 'infinity')")
        .await;
    eventually(LIMIT, "an open conflict", async || {
        open(&scene, Side::B).await == 1
    })
    .await;
    let conflict = name(&scene, Side::B, "dated", 1).await;
    refused(
        &scene,
        &format!("dismiss {conflict} --reason no --execute"),
        "waits for its decision",
    )
    .await;
    done(
        &scene,
        &format!("resolve {conflict} --set d=2026-01-31 --execute"),
    )
    .await;
    scene.wait_equal().await;
    assert_eq!(
        scene.b.one("SELECT d FROM dated WHERE id = 1").await,
        "2026-01-31"
    );
    assert_eq!(open(&scene, Side::B).await, 0);

    // Or the side that could not take it: there the row is missing, so it goes.
    scene
        .exec(Side::A, "INSERT INTO dated VALUES (2, 'infinity')")
        .await;
    eventually(LIMIT, "an open conflict", async || {
        open(&scene, Side::B).await == 1
    })
    .await;
    let conflict = name(&scene, Side::B, "dated", 2).await;
    done(&scene, &format!("resolve {conflict} --take b --execute")).await;
    scene.wait_equal().await;
    assert_eq!(scene.a.count("dated").await, 1);
    scene.stop().await;
}

const BADGE: Table = Table {
    name: "badge",
    body: "",
    key: &["id"],
    columns: &["code"],
};

/// The servers' unique keys take two spellings for one value.
async fn a_clash_in_other_letters_is_resolved_for_either_side(pair: Pair) {
    for (choice, left) in [("--take a", "1 Window"), ("--take b", "2 wINDOW")] {
        let mut scene = Scene::new("r_letters", pair, Way::Merge, &[BADGE]).await;
        for side in [Side::A, Side::B] {
            let (before, word) = match scene.db(side).kind().is_postgres() {
                true => (
                    "CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);",
                    "varchar(20) COLLATE any_case",
                ),
                false => ("", "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"),
            };
            let made = format!(
                "{before} CREATE TABLE badge (id int NOT NULL PRIMARY KEY, code {word} NOT NULL UNIQUE)"
            );
            scene.exec(side, &made).await;
        }
        scene.start().await;
        scene.stop().await;
        scene
            .exec(Side::A, "INSERT INTO badge VALUES (1, 'Window')")
            .await;
        scene
            .exec(Side::B, "INSERT INTO badge VALUES (2, 'wINDOW')")
            .await;
        scene.run().await;
        scene.crossed().await;
        for side in [Side::A, Side::B] {
            eventually(LIMIT, &format!("an open conflict on {side:?}"), async || {
                open(&scene, side).await == 1
            })
            .await;
        }
        let conflict = name(&scene, Side::B, "badge", 1).await;
        done(&scene, &format!("resolve {conflict} {choice} --execute")).await;
        for side in [Side::A, Side::B] {
            eventually(LIMIT, &format!("{choice}: {left:?} on {side:?}"), async || {
                let rows = scene.db(side).rows("SELECT id, code FROM badge").await;
                rows == [left
                    .split(' ')
                    .map(|cell| Some(cell.to_owned()))
                    .collect::<Vec<_>>()]
            })
            .await;
            eventually(LIMIT, "nothing open", async || open(&scene, side).await == 0).await;
        }
        scene.wait_equal().await;
        scene.stop().await;
    }
}

/// MySQL and MariaDB have no infinite date: the source's row is mended, and the record is closed by a person.
async fn an_open_record_of_a_one_way_sync_is_dismissed(pair: Pair) {
    let mut scene = Scene::new("r_dismiss", pair, Way::AToB, &[DATED]).await;
    scene.start().await;
    scene
        .exec(Side::A, "INSERT INTO dated VALUES (1, 'infinity')")
        .await;
    eventually(LIMIT, "an open conflict", async || {
        open(&scene, Side::B).await == 1
    })
    .await;
    let conflict = name(&scene, Side::B, "dated", 1).await;
    scene
        .exec(Side::A, "UPDATE dated SET d = '2026-01-31' WHERE id = 1")
        .await;
    scene.wait_equal().await;
    assert_eq!(open(&scene, Side::B).await, 1);
    refused(
        &scene,
        &format!("resolve {conflict} --take a --execute"),
        "conflicts dismiss",
    )
    .await;
    let shown = document(&scene, &format!("show {conflict}")).await;
    let next = shown["next_steps"][0].as_str().unwrap();
    assert!(next.contains("dismiss"), "{shown}");
    assert_eq!(
        conflicts(&scene, &format!("dismiss {conflict}")).await.code,
        2,
        "a reason"
    );
    let plan = document(&scene, &format!("dismiss {conflict} --reason mended")).await;
    assert_eq!(plan["executed"], false);
    assert_eq!(open(&scene, Side::B).await, 1);
    done(&scene, &format!("dismiss {conflict} --reason mended --execute")).await;
    assert_eq!(
        settled(&scene, Side::B, 1).await,
        ["resolved: dismissed: mended", "applied: -"],
        "the row came by its next change"
    );
    let audit = audit(&scene, Side::B).await;
    assert!(audit.last().unwrap().starts_with("dismiss "), "{audit:?}");
    refused(
        &scene,
        &format!("dismiss {conflict} --reason again --execute"),
        "resolved already",
    )
    .await;
    scene.stop().await;
}

/// How many conflicts of each kind of field, over all kinds.
async fn would(scene: &Scene, rules: &str) -> [i64; 5] {
    let told = document(scene, &format!("whatif {rules}")).await;
    let lines = told["tables"].as_array().unwrap();
    ["same", "other", "merged", "person", "no_rule"]
        .map(|field| lines.iter().map(|line| line[field].as_i64().unwrap()).sum())
}

/// Decided with the rows, by column, as the table's configuration and the command have it.
async fn other_rules_decide_as_they_would_have(pair: Pair) {
    let mut scene = agreed("r_whatif", pair, &[ITEM], "").await;
    scene
        .apart(
            "UPDATE item SET name = 'of a' WHERE id = 1; UPDATE item SET n = n + 1 WHERE id = 2; DELETE FROM item WHERE id = 3",
            "UPDATE item SET note = 'of b' WHERE id = 1; UPDATE item SET n = n + 2 WHERE id = 2; UPDATE item SET n = 7 WHERE id = 3",
        )
        .await;
    scene.stop().await;
    for (rules, expected) in [
        ("--rule newest", [3, 0, 0, 0, 0]),
        // Row 1 is of both; n of row 2 and the delete go by the version.
        ("--rule columns", [2, 0, 1, 0, 0]),
        ("--table item --column n=delta", [2, 0, 1, 0, 0]),
        ("--rule columns --table item --column n=delta", [1, 0, 2, 0, 0]),
        ("--rule columns --table item --column note=row", [2, 0, 1, 0, 0]),
        ("--on-delete delete", [2, 1, 0, 0, 0]),
        ("--rule source-of-truth:a", [0, 3, 0, 0, 0]),
        ("--rule source-of-truth:a --on-delete update", [1, 2, 0, 0, 0]),
        ("--rule newest --on-delete ask", [2, 0, 0, 1, 0]),
    ] {
        assert_eq!(would(&scene, rules).await, expected, "{rules}");
    }
    // What the table says of its columns holds beside another rule, and what is masked is as different as it was.
    scene.configure(
        "from:a",
        "[sync.table.item]\non_delete_conflict = \"delete\"\ncolumn.n = { on_conflict = \"delta\" }\ncolumn.note = { mask = true }",
    );
    assert_eq!(would(&scene, "--rule newest").await, [1, 1, 1, 0, 0]);
    assert_eq!(would(&scene, "--rule columns").await, [0, 1, 2, 0, 0]);
    for (wrong, code) in [
        ("", 2),
        ("--rule oldest", 1),
        ("--column n=delta", 2),
        ("--table item --column n=most", 2),
        ("--table item --column nn=delta", 1),
        ("--table item --column id=row", 1),
    ] {
        let arguments = format!("whatif {wrong}");
        assert_eq!(conflicts(&scene, arguments.trim()).await.code, code, "{wrong}");
    }

    // A row that was deleted outside of the filter gives way.
    let mut scene = agreed(
        "r_whatif_f",
        pair,
        &[ITEM],
        "[sync.table.item]\nwhere = \"n < 10\"",
    )
    .await;
    scene.stop().await;
    scene
        .exec(
            Side::A,
            "UPDATE item SET n = 50 WHERE id = 1; DELETE FROM item WHERE id = 1",
        )
        .await;
    scene
        .exec(Side::B, "UPDATE item SET note = 'of b' WHERE id = 1")
        .await;
    scene.run().await;
    scene.crossed().await;
    eventually(LIMIT, "the row to stand on a", async || {
        note(&scene, Side::A, 1).await == "of b"
    })
    .await;
    let told = would(&scene, "--rule newest").await;
    assert!(told[0] >= 1 && told[1..] == [0; 4], "{told:?}");
    scene.stop().await;
}

const MASK: &str = "[sync.table.item]\ncolumn.note = { mask = true }";

async fn masked_columns_are_nowhere(pair: Pair) {
    let mut scene = agreed("r_mask", pair, &[ITEM], MASK).await;
    let secret = |side: &str| format!("UPDATE item SET note = 'secret {side}', n = 1 WHERE id = 1");
    scene.apart(&secret("a"), &secret("b")).await;
    scene
        .apart(
            "UPDATE item SET name = 'a' WHERE id = 2",
            "UPDATE item SET name = 'b' WHERE id = 2",
        )
        .await;
    for side in [Side::A, Side::B] {
        let sql = format!("SELECT * FROM tidelock.conflict WHERE sync = '{}'", scene.sync);
        let stored = format!("{:?}", scene.db(side).rows(&sql).await);
        assert!(stored.contains("masked"), "{stored}");
        assert!(
            !stored.contains("secret") && !stored.contains("seedling"),
            "{stored}"
        );
    }
    let (one, two) = (
        name(&scene, Side::A, "item", 1).await,
        name(&scene, Side::A, "item", 2).await,
    );
    let (shown, same) = (
        done(&scene, &format!("show {one}")).await,
        done(&scene, &format!("show {two}")).await,
    );
    let line = |screen: &str| {
        screen
            .lines()
            .find(|line| line.starts_with("note"))
            .unwrap()
            .to_owned()
    };
    assert!(
        line(&shown).contains("(masked)") && line(&shown).contains('≠'),
        "{shown}"
    );
    assert!(
        line(&same).contains("(masked)") && !line(&same).contains('≠'),
        "{same}"
    );
    let mut said = shown + &same;
    for arguments in ["list", "list --json", "export", "export --format csv"] {
        said += &done(&scene, arguments).await;
    }
    said += &done(&scene, &format!("show {one} --json")).await;

    // What was masked and lost is in no record: it has to be given. What stands can be taken, and what did not differ.
    let lost = conflicts(&scene, &format!("override {one} --take a --execute")).await;
    assert_eq!(lost.code, 5, "{}", lost.stderr);
    assert!(
        lost.stderr.contains("\"note\" is masked") && lost.stderr.contains("--set"),
        "{}",
        lost.stderr
    );
    said += &lost.stderr;
    said += &done(&scene, &format!("override {two} --take a --execute")).await;
    scene.wait_equal().await;
    assert_eq!(scene.b.one("SELECT name FROM item WHERE id = 2").await, "a");
    let given = conflicts(
        &scene,
        &format!("override {one} --take a --set note=secret-c --execute"),
    )
    .await;
    assert_eq!(given.code, 0, "{}", given.stderr);
    said += &(given.stdout + &given.stderr);
    scene.wait_equal().await;
    assert_eq!(note(&scene, Side::B, 1).await, "secret-c");
    said += &format!(
        "{:?}{:?}",
        audit(&scene, Side::A).await,
        settled(&scene, Side::A, 1).await
    );
    said += &scene.lock.log();
    assert!(!said.contains("secret") && !said.contains("seedling"), "{said}");
    scene.stop().await;

    // Also in records that were made before.
    let plain = "UPDATE tidelock.conflict SET local_json = '{\"id\":1,\"note\":\"secret\"}' WHERE sync";
    scene.exec(Side::A, &format!("{plain} = '{}'", scene.sync)).await;
    let shown = done(&scene, &format!("show {one}")).await + &done(&scene, "export").await;
    assert!(!shown.contains("secret"), "{shown}");
    // A key cannot be masked, and a column that is not there neither.
    for (column, words) in [("id", "part of the key"), ("nte", "there is none")] {
        scene.configure("from:a", &MASK.replace("note", column));
        let found = scene.lock.run(&["check"]).await;
        assert_eq!(found.code, 3, "{column}: {}", found.stdout);
        assert!(found.stdout.contains(words), "{}", found.stdout);
    }
}

async fn old_conflicts_are_removed_and_open_ones_stay(pair: Pair) {
    let mut scene = agreed("r_keep", pair, &[ITEM, DATED], "keep_conflicts = \"20d\"").await;
    both_updated(&mut scene, 1).await;
    scene
        .exec(Side::A, "INSERT INTO dated VALUES (1, 'infinity')")
        .await;
    eventually(LIMIT, "an open conflict", async || {
        open(&scene, Side::B).await == 1
    })
    .await;
    age(&scene, 21).await;
    // A row of dated stays different: it is open.
    scene.stop().await;
    scene
        .exec(Side::A, "UPDATE item SET note = 'of a' WHERE id = 2")
        .await;
    scene
        .exec(Side::B, "UPDATE item SET note = 'of b' WHERE id = 2")
        .await;
    scene.run().await;
    scene.crossed().await;
    // A run looks when it starts.
    let of = format!("tidelock.conflict WHERE sync = '{}'", scene.sync);
    for (side, left) in [(Side::A, 1), (Side::B, 2)] {
        eventually(LIMIT, "the old ones to go", async || {
            scene.db(side).count(&of).await == left
        })
        .await;
    }
    assert_eq!(open(&scene, Side::B).await, 1);
    assert_eq!(settled(&scene, Side::A, 2).await, ["applied: -"]);
    let exported = done(&scene, "export").await;
    assert_eq!(exported.lines().count(), 3, "{exported}");
    assert!(
        exported
            .lines()
            .all(|line| serde_json::from_str::<Json>(line).is_ok()),
        "{exported}"
    );
    assert_eq!(done(&scene, "export --open").await.lines().count(), 1);
    assert_eq!(
        done(&scene, "export --since 1h --format csv")
            .await
            .lines()
            .count(),
        3
    );
    scene.stop().await;
}
