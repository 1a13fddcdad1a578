//! Both sides changed the same rows while Tidelock was away: who wins, and what is on record.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use scenario::{Conflict, ITEM, LIMIT, Pair, SEAT, Scene, Side, Table, Way};
use serde_json::json;

all_pairs! {
    both_inserted => both_inserted;
    both_updated => both_updated;
    update_met_delete => update_met_delete;
    later_delete_met_update => later_delete_met_update;
    both_deleted => both_deleted;
    source_of_truth_a => |pair| source_of_truth(pair, "a", Side::A);
    source_of_truth_b => |pair| source_of_truth(pair, "b", Side::B);
    inserted_again => inserted_again;
    nothing_echoes => nothing_echoes;
    unique_clash_stays_open => unique_clash_stays_open;
    rows_trade_unique_values_beside_a_clash => rows_trade_unique_values_beside_a_clash;
    the_newest_number_of_each_stands_on_both_sides => the_newest_number_of_each_stands_on_both_sides;
}

pair_tests! {
    postgres18_twice, scenario::ONE_SERVER,
    rows_trade_what_an_exclusion_constraint_keeps_apart => rows_trade_what_an_exclusion_constraint_keeps_apart;
}

/// Both sides hold rows 1 to 5 and nothing has been contested.
async fn agreed(hint: &str, pair: Pair, more: &str) -> Scene {
    let mut scene = Scene::new(hint, pair, Way::Merge, &[ITEM, SEAT]).await;
    scene.configure("from:a", more);
    let rows: Vec<String> = (1..=5)
        .map(|n| format!("INSERT INTO item VALUES ({n}, 'item', 0, 'agreed')"))
        .collect();
    scene.exec(Side::A, &rows.join(";")).await;
    scene.start().await;
    scene.wait_equal().await;
    scene.assert_no_conflicts().await;
    scene
}

async fn note(scene: &Scene, side: Side, id: i64) -> String {
    let rows = scene
        .db(side)
        .rows(&format!("SELECT note FROM item WHERE id = {id}"))
        .await;
    rows.into_iter()
        .next()
        .map_or("(none)".to_owned(), |mut row| row.remove(0).unwrap_or_default())
}

/// The only conflict on a side, with its kind and outcome.
async fn only(scene: &Scene, side: Side, kind: &str, outcome: &str) -> Conflict {
    let found = scene.conflicts(side).await;
    assert_eq!(found.len(), 1, "conflicts on {side:?}: {found:?}");
    let conflict = found.into_iter().next().unwrap();
    assert_eq!(
        (conflict.kind.as_str(), conflict.outcome.as_str()),
        (kind, outcome),
        "{side:?}: {conflict:?}"
    );
    conflict
}

fn note_of(image: &Option<serde_json::Value>) -> Option<&str> {
    image.as_ref()?.get("note")?.as_str()
}

/// Equal versions: the node of the greater rank wins.
async fn both_inserted(pair: Pair) {
    let mut scene = agreed("m_insert", pair, "").await;
    scene
        .apart(
            "INSERT INTO item VALUES (9, 'x', 1, 'from a')",
            "INSERT INTO item VALUES (9, 'y', 2, 'from b')",
        )
        .await;
    assert_eq!(note(&scene, Side::A, 9).await, "from b");
    let lost = only(&scene, Side::A, "insert_exists", "applied").await;
    assert_eq!(
        (note_of(&lost.local), note_of(&lost.incoming)),
        (Some("from a"), Some("from b"))
    );
    assert_eq!((lost.key, lost.table.as_str()), (json!([9]), "item"));
    let won = only(&scene, Side::B, "insert_exists", "kept").await;
    assert_eq!(
        (note_of(&won.local), note_of(&won.incoming)),
        (Some("from b"), Some("from a"))
    );
}

/// The version decides before the rank: two updates beat one. (In one transaction, so that they are one change of
/// one group: apart, each may meet the other side's row and be recorded.)
async fn both_updated(pair: Pair) {
    let mut scene = agreed("m_update", pair, "").await;
    scene
        .apart(
            "BEGIN; UPDATE item SET note = 'a 1' WHERE id = 1; UPDATE item SET note = 'a 2' WHERE id = 1; COMMIT; UPDATE item SET note = 'a' WHERE id = 2",
            "UPDATE item SET note = 'b 1' WHERE id = 1; UPDATE item SET note = 'b' WHERE id = 2",
        )
        .await;
    assert_eq!(note(&scene, Side::B, 1).await, "a 2");
    assert_eq!(note(&scene, Side::A, 2).await, "b");
    for side in [Side::A, Side::B] {
        let found = scene.conflicts(side).await;
        assert!(
            found.iter().all(|c| c.kind == "update_origin_differs"),
            "{found:?}"
        );
        let of = |id: i64| found.iter().filter(|c| c.key == json!([id])).collect::<Vec<_>>();
        assert_eq!((of(1).len(), of(2).len()), (1, 1), "{side:?}: {found:?}");
        let a_wins = side == Side::A;
        assert_eq!(of(1)[0].outcome, if a_wins { "kept" } else { "applied" });
        assert_eq!(of(2)[0].outcome, if a_wins { "applied" } else { "kept" });
        // Base, local and incoming are all there, so that a person can decide otherwise later.
        let (local, incoming) = if a_wins { ("a", "b") } else { ("b", "a") };
        let images = (
            note_of(&of(2)[0].base),
            note_of(&of(2)[0].local),
            note_of(&of(2)[0].incoming),
        );
        assert_eq!(images, (Some("agreed"), Some(local), Some(incoming)));
    }
}

/// One step each: the update has the greater version, so the row lives.
async fn update_met_delete(pair: Pair) {
    let mut scene = agreed("m_upddel", pair, "").await;
    scene
        .apart(
            "DELETE FROM item WHERE id = 1",
            "UPDATE item SET note = 'b' WHERE id = 1",
        )
        .await;
    assert_eq!(note(&scene, Side::A, 1).await, "b");
    let deleted_here = only(&scene, Side::A, "update_deleted", "applied").await;
    assert_eq!(
        (deleted_here.operation.as_str(), note_of(&deleted_here.incoming)),
        ("update", Some("b"))
    );
    let updated_here = only(&scene, Side::B, "delete_origin_differs", "kept").await;
    assert_eq!(
        (note_of(&updated_here.base), note_of(&updated_here.local)),
        (Some("agreed"), Some("b"))
    );
    // And the other way round.
    scene
        .apart(
            "UPDATE item SET note = 'a' WHERE id = 2",
            "DELETE FROM item WHERE id = 2",
        )
        .await;
    assert_eq!(note(&scene, Side::B, 2).await, "a");
}

/// A delete of the same version beats a write.
async fn later_delete_met_update(pair: Pair) {
    let mut scene = agreed("m_delupd", pair, "").await;
    scene
        .apart(
            "UPDATE item SET note = 'a' WHERE id = 1; DELETE FROM item WHERE id = 1",
            "UPDATE item SET note = 'b' WHERE id = 1",
        )
        .await;
    assert_eq!(note(&scene, Side::A, 1).await, "(none)");
    let kept = only(&scene, Side::A, "update_deleted", "kept").await;
    assert_eq!(note_of(&kept.incoming), Some("b"));
    let found = scene.conflicts(Side::B).await;
    let last = found.last().unwrap();
    assert_eq!(
        (last.kind.as_str(), last.outcome.as_str()),
        ("delete_origin_differs", "applied"),
        "{found:?}"
    );
    assert_eq!(note_of(&last.local), Some("b"), "{found:?}");
}

async fn both_deleted(pair: Pair) {
    let mut scene = agreed("m_deldel", pair, "").await;
    scene
        .apart("DELETE FROM item WHERE id = 1", "DELETE FROM item WHERE id = 1")
        .await;
    assert_eq!(note(&scene, Side::A, 1).await, "(none)");
    for side in [Side::A, Side::B] {
        let found = scene.conflicts(side).await;
        assert!(found.iter().all(|c| c.kind == "delete_missing"), "{found:?}");
    }
    // Whoever inserts next has seen both.
    scene
        .exec(Side::B, "INSERT INTO item VALUES (1, 'x', 1, 'reborn')")
        .await;
    scene.wait_equal().await;
    assert_eq!(note(&scene, Side::A, 1).await, "reborn");
}

/// The truth's row stands and reaches the other side, however often the other side wrote.
async fn source_of_truth(pair: Pair, node: &str, truth: Side) {
    let hint = format!("m_truth_{node}");
    let mut scene = agreed(&hint, pair, &format!("on_conflict = \"source-of-truth:{node}\"")).await;
    let own = "UPDATE item SET note = 'truth' WHERE id = 1; INSERT INTO item VALUES (9, 'x', 1, 'truth'); UPDATE item SET note = 'truth' WHERE id = 2; DELETE FROM item WHERE id = 3";
    let foreign = "UPDATE item SET note = 'f1' WHERE id = 1; UPDATE item SET note = 'f2' WHERE id = 1; UPDATE item SET note = 'f3' WHERE id = 1;
        INSERT INTO item VALUES (9, 'y', 2, 'f'); UPDATE item SET note = 'f' WHERE id = 9;
        UPDATE item SET note = 'f' WHERE id = 2; DELETE FROM item WHERE id = 2;
        UPDATE item SET note = 'f' WHERE id = 3; UPDATE item SET note = 'f again' WHERE id = 3;
        UPDATE item SET note = 'uncontested' WHERE id = 4";
    let (on_a, on_b) = if truth == Side::A {
        (own, foreign)
    } else {
        (foreign, own)
    };
    scene.stop().await;
    scene.exec(Side::A, on_a).await;
    scene.exec(Side::B, on_b).await;
    scene.run().await;
    for (id, expected) in [
        (1, "truth"),
        (9, "truth"),
        (2, "truth"),
        (3, "(none)"),
        (4, "uncontested"),
    ] {
        harness::eventually(
            LIMIT,
            &format!("row {id} to be {expected} on both sides"),
            async || {
                note(&scene, Side::A, id).await == expected && note(&scene, Side::B, id).await == expected
            },
        )
        .await;
    }
    scene.wait_equal().await;
    let found = scene.conflicts(truth).await;
    for id in [1, 9, 2, 3] {
        let of: Vec<_> = found.iter().filter(|c| c.key == json!([id])).collect();
        assert!(
            !of.is_empty() && of.iter().all(|c| c.outcome == "kept"),
            "row {id}: {found:?}"
        );
    }
    assert!(!found.iter().any(|c| c.key == json!([4])), "{found:?}");
}

/// Delete and insert again on either side, seen or not seen by the other: the newest row lives.
async fn inserted_again(pair: Pair) {
    let mut scene = agreed("m_again", pair, "").await;
    for (side, other) in [(Side::A, Side::B), (Side::B, Side::A)] {
        scene.exec(side, "DELETE FROM item WHERE id = 1").await;
        scene.wait_equal().await;
        scene
            .exec(other, "INSERT INTO item VALUES (1, 'x', 1, 'by the other')")
            .await;
        scene.wait_equal().await;
        assert_eq!(note(&scene, side, 1).await, "by the other");
        scene
            .exec(
                side,
                "DELETE FROM item WHERE id = 1; INSERT INTO item VALUES (1, 'x', 1, 'by itself')",
            )
            .await;
        scene.wait_equal().await;
        assert_eq!(note(&scene, other, 1).await, "by itself");
    }
    scene.assert_no_conflicts().await;
    // One side deletes and inserts twice, the other updates once: the later life wins on both.
    scene
        .apart(
            "DELETE FROM item WHERE id = 2; INSERT INTO item VALUES (2, 'x', 1, 'life 2'); DELETE FROM item WHERE id = 2; INSERT INTO item VALUES (2, 'x', 1, 'life 3')",
            "UPDATE item SET note = 'life 1' WHERE id = 2",
        )
        .await;
    assert_eq!(note(&scene, Side::B, 2).await, "life 3");
}

/// A change is written once on the other side and never comes back: the link back has nothing to apply, so its
/// checkpoint moves for the other side's own changes only.
async fn nothing_echoes(pair: Pair) {
    let mut scene = agreed("m_echo", pair, "").await;
    scene
        .exec(
            Side::A,
            "UPDATE item SET note = 'a' WHERE id = 1; INSERT INTO item VALUES (11, 'x', 1, 'a')",
        )
        .await;
    scene
        .exec(
            Side::B,
            "UPDATE item SET note = 'b' WHERE id = 2; INSERT INTO item VALUES (12, 'x', 1, 'b')",
        )
        .await;
    scene.wait_equal().await;
    for (side, other, id) in [(Side::A, Side::B, 4), (Side::B, Side::A, 5)] {
        // The other side's change is behind the echoes in its log: when it has crossed, they have been read.
        let before = applied(&scene, side).await;
        for n in 1..=3 {
            scene
                .exec(
                    side,
                    &format!("UPDATE item SET n = {n}, note = 'echo' WHERE id = {id}"),
                )
                .await;
            arrived(&scene, other, id, n).await;
        }
        scene
            .exec(other, &format!("UPDATE item SET n = 9 WHERE id = {id}"))
            .await;
        arrived(&scene, side, id, 9).await;
        assert_eq!(
            applied(&scene, side).await,
            before + 1,
            "groups applied on {side:?}"
        );
    }
    let stamps =
        "SELECT id, tidelock_version, tidelock_origin FROM item WHERE id IN (1, 2, 11, 12) ORDER BY id";
    let expected = [
        ["1", "2", "1"],
        ["2", "2", "2"],
        ["11", "1", "1"],
        ["12", "1", "2"],
    ];
    for side in [Side::A, Side::B] {
        let rows = scene.db(side).rows(stamps).await;
        let rows: Vec<Vec<String>> = rows
            .into_iter()
            .map(|row| row.into_iter().flatten().collect())
            .collect();
        assert_eq!(rows, expected, "{side:?}");
    }
    scene.assert_no_conflicts().await;
}

/// How many groups a side has been given.
async fn applied(scene: &Scene, side: Side) -> i64 {
    let sql = format!(
        "SELECT seq FROM tidelock.checkpoint WHERE sync = '{}'",
        scene.sync
    );
    let link = if side == Side::A { "b->a" } else { "a->b" };
    scene
        .db(side)
        .one(&format!("{sql} AND link = '{link}'"))
        .await
        .parse()
        .unwrap()
}

async fn arrived(scene: &Scene, side: Side, id: i64, n: i64) {
    harness::eventually(LIMIT, &format!("n = {n} of row {id} on {side:?}"), async || {
        scene
            .db(side)
            .count(&format!("item WHERE id = {id} AND n = {n}"))
            .await
            == 1
    })
    .await;
}

/// Two rows want one unique value. Nobody can decide that by stamps: it stays open, and the rest flows.
async fn unique_clash_stays_open(pair: Pair) {
    let mut scene = agreed("m_unique", pair, "").await;
    scene.stop().await;
    let a = "BEGIN; INSERT INTO item VALUES (21, 'x', 1, 'beside a'); INSERT INTO seat VALUES (1, 'window'); INSERT INTO seat VALUES (3, 'a free one'); COMMIT; INSERT INTO item VALUES (22, 'x', 1, 'behind a')";
    let b = "BEGIN; INSERT INTO item VALUES (31, 'x', 1, 'beside b'); INSERT INTO seat VALUES (2, 'window'); INSERT INTO seat VALUES (4, 'b free one'); COMMIT; INSERT INTO item VALUES (32, 'x', 1, 'behind b')";
    scene.exec(Side::A, a).await;
    scene.exec(Side::B, b).await;
    scene.run().await;
    scene.crossed().await;
    harness::wait_equal(&scene.a, &scene.b, "item", &["id"], &["note"], LIMIT).await;
    for (side, mine, theirs) in [(Side::A, "1", "2"), (Side::B, "2", "1")] {
        let open = only(&scene, side, "multiple_unique_conflicts", "open").await;
        assert_eq!(open.key, json!([theirs.parse::<i64>().unwrap()]));
        let rows = scene.db(side).rows("SELECT id FROM seat ORDER BY id").await;
        let ids: Vec<String> = rows.into_iter().flatten().flatten().collect();
        assert_eq!(ids, [mine, "3", "4"], "{side:?}");
    }
    // Freed by hand, the way a person would settle it: the value goes to the row of b.
    scene.exec(Side::A, "DELETE FROM seat WHERE id = 1").await;
    scene
        .exec(Side::B, "UPDATE seat SET place = 'window seat' WHERE id = 2")
        .await;
    scene.wait_equal().await;
}

/// What one side trades goes in, whoever clashes in the same transaction: a row that is kept out, and one that wanted
/// its place, keep nobody else from trading. Those two wait, and go in when the value is given up.
async fn rows_trade_unique_values_beside_a_clash(pair: Pair) {
    let mut scene = agreed("m_trade", pair, "").await;
    let seats: Vec<String> = (1..=6)
        .map(|id| format!("INSERT INTO seat VALUES ({id}, 'p{id}')"))
        .collect();
    scene.exec(Side::A, &seats.join(";")).await;
    scene.wait_equal().await;
    // 1, 2, 3 go round; 4 takes what b gives to 6, and 5 the place of 4.
    let places = [(1, "p2"), (2, "p3"), (3, "p1"), (4, "window"), (5, "p4")];
    let mut a = vec!["UPDATE seat SET place = NULL WHERE id < 6".to_owned()];
    a.extend(places.map(|(id, place)| format!("UPDATE seat SET place = '{place}' WHERE id = {id}")));
    let a = format!("BEGIN; {}; COMMIT", a.join(";"));
    scene.stop().await;
    scene.exec(Side::A, &a).await;
    scene
        .exec(Side::B, "UPDATE seat SET place = 'window' WHERE id = 6")
        .await;
    scene.run().await;
    scene.crossed().await;
    let told = scene.db(Side::B).rows("SELECT place FROM seat ORDER BY id").await;
    let told: Vec<String> = told.into_iter().flatten().flatten().collect();
    assert_eq!(told, ["p2", "p3", "p1", "p4", "p5", "window"]);
    let mut open = scene.conflicts(Side::B).await;
    open.sort_by_key(|conflict| conflict.key.to_string());
    let open: Vec<_> = open
        .iter()
        .map(|c| (&*c.kind, &*c.outcome, c.key.to_string()))
        .collect();
    let waits = |id: i64| ("multiple_unique_conflicts", "open", json!([id]).to_string());
    assert_eq!(open, [waits(4), waits(5)]);
    scene
        .exec(Side::B, "UPDATE seat SET place = 'door' WHERE id = 6")
        .await;
    scene.wait_equal().await;
    scene.stop().await;
}

const STAY: Table = Table {
    name: "stay",
    body: "id int NOT NULL PRIMARY KEY, days int4range, CONSTRAINT stay_days EXCLUDE USING gist (days WITH &&)",
    key: &["id"],
    columns: &["days"],
};

/// What an exclusion constraint keeps apart is traded, and clashes, like a unique value.
async fn rows_trade_what_an_exclusion_constraint_keeps_apart(pair: Pair) {
    let mut scene = Scene::new("m_exclude", pair, Way::Merge, &[ITEM, STAY]).await;
    scene.configure("from:a", "");
    let rows = "INSERT INTO stay VALUES (1, '[1,3)'); INSERT INTO stay VALUES (2, '[5,8)')";
    scene.exec(Side::A, rows).await;
    scene.start().await;
    scene.wait_equal().await;
    let trade =
        "BEGIN; UPDATE stay SET days = NULL WHERE id = 1; UPDATE stay SET days = '[2,4)' WHERE id = 2;
        UPDATE stay SET days = '[5,6)' WHERE id = 1; COMMIT";
    scene.exec(Side::A, trade).await;
    scene.wait_equal().await;
    scene.assert_no_conflicts().await;
    scene.stop().await;
    scene
        .exec(Side::A, "INSERT INTO stay VALUES (3, '[20,30)')")
        .await;
    scene
        .exec(Side::B, "INSERT INTO stay VALUES (4, '[25,26)')")
        .await;
    scene.run().await;
    scene.crossed().await;
    for side in [Side::A, Side::B] {
        only(&scene, side, "multiple_unique_conflicts", "open").await;
    }
    scene.exec(Side::B, "DELETE FROM stay WHERE id = 4").await;
    scene.wait_equal().await;
    scene.stop().await;
}

/// Jane's number is newer on a, John's on b: each newest one stands on both sides as its node wrote it, with that
/// node's version, and is sent nowhere again.
async fn the_newest_number_of_each_stands_on_both_sides(pair: Pair) {
    let mut scene = agreed("m_phone", pair, "").await;
    let (jane, john) = (1, 2);
    let set = |id: i64, number: &str| format!("UPDATE item SET note = '{number}' WHERE id = {id}");
    let on_a = [set(jane, "030-1"), set(jane, "030-2"), set(john, "040-1")].join(";");
    let on_b = [set(jane, "030-9"), set(john, "040-8"), set(john, "040-9")].join(";");
    scene.apart(&on_a, &on_b).await;
    for side in [Side::A, Side::B] {
        assert_eq!(note(&scene, side, jane).await, "030-2", "{side:?}");
        assert_eq!(note(&scene, side, john).await, "040-9", "{side:?}");
        // Version 1 was the first copy's.
        assert_eq!(stamp(&scene, side, jane).await, (3, 1), "{side:?}");
        assert_eq!(stamp(&scene, side, john).await, (3, 2), "{side:?}");
    }
    // What was applied lies in both logs before this: whatever would be sent again would be applied first.
    let before = (applied(&scene, Side::A).await, applied(&scene, Side::B).await);
    scene.crossed().await;
    let after = (applied(&scene, Side::A).await, applied(&scene, Side::B).await);
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 1), "groups applied");
    scene.stop().await;
}

async fn stamp(scene: &Scene, side: Side, id: i64) -> (i64, i64) {
    let sql = format!("SELECT tidelock_version, tidelock_origin FROM item WHERE id = {id}");
    let row = scene.db(side).rows(&sql).await.remove(0);
    let cell = |at: usize| row[at].as_ref().unwrap().parse().unwrap();
    (cell(0), cell(1))
}
