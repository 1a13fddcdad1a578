//! Rules beyond the order of versions: columns merged one by one, differences added, deletes that win or lose.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use scenario::{Conflict, LIMIT, Pair, Random, Scene, Side, Table, Way};
use serde_json::json;

pairs! {
    phone_and_mail => phone_and_mail;
    truth_and_columns => truth_and_columns;
    counters_add_up => counters_add_up;
    what_waited_is_merged_with_what_it_was_made_on => what_waited_is_merged_with_what_it_was_made_on;
    two_that_wait_are_merged_as_one => two_that_wait_are_merged_as_one;
    deleted_stays_deleted => deleted_stays_deleted;
    updated_lives => updated_lives;
    wrong_columns_are_refused => wrong_columns_are_refused;
}

const PERSON: Table = Table {
    name: "person",
    body: "id int NOT NULL PRIMARY KEY, phone varchar(40), mail varchar(40), note {text}",
    key: &["id"],
    columns: &["phone", "mail", "note"],
};

const STOCK: Table = Table {
    name: "stock",
    body: "id int NOT NULL PRIMARY KEY, units int NOT NULL, worth decimal(12,2) NOT NULL, note {text}",
    key: &["id"],
    columns: &["units", "worth", "note"],
};

/// Both sides hold the rows, and nothing has been contested.
async fn agreed(hint: &str, pair: Pair, table: Table, rows: &str, more: &str) -> Scene {
    let mut scene = Scene::new(hint, pair, Way::Merge, &[table]).await;
    scene.configure("from:a", more);
    scene
        .exec(Side::A, &format!("INSERT INTO {} VALUES {rows}", table.name))
        .await;
    scene.start().await;
    scene.wait_equal().await;
    scene.assert_no_conflicts().await;
    scene
}

/// Waits until the query says so on both sides, with its rows as texts joined by blanks.
async fn both_say(scene: &Scene, sql: &str, expected: &str) {
    let said = async |side: Side| {
        let rows = scene.db(side).rows(sql).await;
        let cells = rows
            .into_iter()
            .flatten()
            .map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
        cells.collect::<Vec<_>>().join(" ")
    };
    let mut last = (String::new(), String::new());
    let limit = tokio::time::Instant::now() + LIMIT;
    while tokio::time::Instant::now() < limit {
        last = (said(Side::A).await, said(Side::B).await);
        if last.0 == expected && last.1 == expected {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("expected {expected:?}, found {last:?}");
}

async fn of_row(scene: &Scene, side: Side, id: i64) -> Vec<Conflict> {
    let mut found = scene.conflicts(side).await;
    found.retain(|conflict| conflict.key == json!([id]));
    found
}

const PEOPLE: &str = "(1, 'p0', 'm0', 'n'), (2, 'p0', 'm0', 'n'), (3, 'p0', 'm0', 'n'), (4, 'p0', 'm0', 'n')";

/// Jane's number is newer on a, her address on b: both stay. What both changed goes by the row's rule.
async fn phone_and_mail(pair: Pair) {
    let mut scene = agreed("r_columns", pair, PERSON, PEOPLE, "on_conflict = \"columns\"").await;
    scene
        .apart(
            "UPDATE person SET phone = 'pa' WHERE id = 1; UPDATE person SET phone = 'pa' WHERE id = 2;
             UPDATE person SET phone = 'pa', mail = 'ma' WHERE id = 3; UPDATE person SET note = 'na' WHERE id = 4",
            "UPDATE person SET mail = 'mb' WHERE id = 1; UPDATE person SET phone = 'pb' WHERE id = 2;
             UPDATE person SET mail = 'mb', note = 'nb' WHERE id = 3;
             UPDATE person SET phone = 'p1' WHERE id = 4; UPDATE person SET phone = 'p2', mail = 'm2' WHERE id = 4",
        )
        .await;
    let all = "SELECT phone, mail, note FROM person ORDER BY id";
    // Of equal versions the node of the greater rank wins: b.
    both_say(&scene, all, "pa mb n pb m0 n pa mb nb p2 m2 na").await;
    scene.wait_equal().await;
    let merged = of_row(&scene, Side::A, 1).await;
    assert_eq!(
        (merged.len(), merged[0].outcome.as_str(), merged[0].kind.as_str()),
        (1, "merged", "update_origin_differs"),
        "{merged:?}"
    );
    assert!(
        merged[0]
            .detail
            .contains("mail of the incoming row; phone of the standing row"),
        "{merged:?}"
    );
    assert_eq!(of_row(&scene, Side::A, 2).await[0].outcome, "applied");
    // Nothing is on its way any more: what is written now is uncontested.
    let before = scene.conflicts(Side::A).await.len() + scene.conflicts(Side::B).await.len();
    scene.exec(Side::B, "UPDATE person SET note = 'later'").await;
    scene.wait_equal().await;
    let after = scene.conflicts(Side::A).await.len() + scene.conflicts(Side::B).await.len();
    assert_eq!(before, after);
}

/// One column is merged; the rest of a row that both changed is the truth's.
async fn truth_and_columns(pair: Pair) {
    let more = "on_conflict = \"source-of-truth:a\"\n[sync.table.person]\ncolumn.mail = { on_conflict = \"columns\" }";
    let mut scene = agreed("r_truth", pair, PERSON, PEOPLE, more).await;
    scene
        .apart(
            "UPDATE person SET phone = 'pa' WHERE id = 1",
            "UPDATE person SET mail = 'm1', note = 'n1' WHERE id = 1; UPDATE person SET mail = 'mb' WHERE id = 1;
             UPDATE person SET phone = 'pb' WHERE id = 2",
        )
        .await;
    let all = "SELECT phone, mail, note FROM person WHERE id IN (1, 2) ORDER BY id";
    both_say(&scene, all, "pa mb n pb m0 n").await;
    scene.wait_equal().await;
}

/// Both sides raise the same counters at once: what stands in the end is the sum.
async fn counters_add_up(pair: Pair) {
    const KEYS: u64 = 4;
    const WRITES: usize = 150;
    let more = "[sync.table.stock]\ncolumn.units = { on_conflict = \"delta\" }\ncolumn.worth = { on_conflict = \"delta\" }";
    let rows = (0..KEYS)
        .map(|id| format!("({id}, 0, 0, 'n')"))
        .collect::<Vec<_>>();
    let mut scene = agreed("r_delta", pair, STOCK, &rows.join(", "), more).await;
    let mut sums = [(0_i64, 0_i64); 4];
    let mut writers = Vec::new();
    for side in [Side::A, Side::B] {
        let mut random = Random::new("counters_add_up");
        let mut writes = Vec::new();
        for n in 0..WRITES {
            let (key, units) = (random.below(KEYS), random.below(9) as i64 - 3);
            let cents = random.below(500) as i64;
            sums[key as usize].0 += units;
            sums[key as usize].1 += cents;
            writes.push(format!(
                "UPDATE stock SET units = units + {units}, worth = worth + {}.{:02}, note = '{side:?} {n}' WHERE id = {key}",
                cents / 100,
                cents % 100
            ));
        }
        let mut session = scene.db(side).session().await;
        writers.push(tokio::spawn(async move {
            for write in writes {
                // Two that update one row on one server wait; they do not fail.
                while session.try_exec(&write).await.is_err() {}
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let expected = sums
        .iter()
        .map(|(units, cents)| format!("{units} {}.{:02}", cents / 100, cents % 100));
    let expected = expected.collect::<Vec<_>>().join(" ");
    both_say(&scene, "SELECT units, worth FROM stock ORDER BY id", &expected).await;
    scene.wait_equal().await;
    let found = scene.conflicts(Side::A).await;
    let merged = found.iter().filter(|conflict| conflict.outcome == "merged");
    assert!(
        merged.count() > 0,
        "nothing was contested: {} records",
        found.len()
    );
}

const SHELF: Table = Table {
    name: "shelf",
    body: "id int NOT NULL PRIMARY KEY, place {word} UNIQUE, units int NOT NULL, phone varchar(40), mail varchar(40)",
    key: &["id"],
    columns: &["place", "units", "phone", "mail"],
};

/// A contested change waits at the arbiter because another row holds its unique value, and later ones of its row go on from
/// it: what all of them changed is merged when the value is free.
async fn what_waited_is_merged_with_what_it_was_made_on(pair: Pair) {
    let more = "on_conflict = \"columns\"\n[sync.table.shelf]\ncolumn.units = { on_conflict = \"delta\" }";
    let rows = (1..=5).map(|id| format!("({id}, 'p{id}', 10, 'p', 'm')"));
    let rows = rows.collect::<Vec<_>>().join(", ");
    let mut scene = agreed("r_waits", pair, SHELF, &rows, more).await;
    scene.stop().await;
    scene
        .exec(
            Side::A,
            "UPDATE shelf SET place = 'x' WHERE id = 2; UPDATE shelf SET units = units + 5 WHERE id IN (1, 3); \
             UPDATE shelf SET place = 'z' WHERE id = 5; UPDATE shelf SET units = units + 4 WHERE id = 4; \
             UPDATE shelf SET units = units + 1 WHERE id = 4",
        )
        .await;
    scene
        .exec(
            Side::B,
            "UPDATE shelf SET place = 'x', units = units + 3, phone = 'pb' WHERE id = 1; \
             UPDATE shelf SET units = units + 3 WHERE id = 3; UPDATE shelf SET place = 'z', units = units + 3 WHERE id = 4",
        )
        .await;
    scene.run().await;
    scene.crossed().await;
    let waits = format!(
        "tidelock.parked WHERE sync = '{}' AND kind = 'unique'",
        scene.sync
    );
    assert_eq!(scene.a.count(&waits).await, 2);
    // Through a restart, in two further groups. Row 4 is meanwhile on b as a sent it: what b makes on that is no part of what
    // waits, and is applied at once.
    for (column, n) in [("phone = 'pb', mail", 2), ("mail", 1)] {
        let later = format!(
            "UPDATE shelf SET {column} = 'mb{n}', units = units + {n} WHERE id = 1; \
             UPDATE shelf SET units = units + {n} WHERE id = 4"
        );
        scene.exec(Side::B, &later).await;
        scene.crossed().await;
        scene.lock.kill9().await;
        scene.run().await;
    }
    assert_eq!(scene.a.count(&waits).await, 2);
    let applied = "shelf WHERE id = 4 AND units = 18 AND place = 'p4'";
    assert_eq!(scene.a.count(applied).await, 1);
    scene
        .exec(
            Side::A,
            "UPDATE shelf SET place = 'y' WHERE id = 2; UPDATE shelf SET place = 'w' WHERE id = 5",
        )
        .await;
    let all = "SELECT place, units, phone, mail FROM shelf ORDER BY id";
    let expected = "x 21 pb mb1 y 10 p m p3 18 p m z 21 p m w 10 p m";
    both_say(&scene, all, expected).await;
    scene.wait_equal().await;
    let open = format!(
        "tidelock.conflict WHERE sync = '{}' AND outcome = 'open'",
        scene.sync
    );
    for side in [Side::A, Side::B] {
        assert_eq!(scene.db(side).count(&open).await, 0, "{side:?}");
    }
}

/// An update on one side and a delete on the other, either way round and however often the update was made.
/// A second change was made on what the arbiter sent meanwhile, and cannot be applied either: both wait as one, with what is
/// made on them later, and all that the three changed is there in the end. Its columns go above the stamp it came with.
async fn two_that_wait_are_merged_as_one(pair: Pair) {
    let more = "on_conflict = \"columns\"\n[sync.table.shelf]\ncolumn.units = { on_conflict = \"delta\" }";
    let mut scene = agreed("r_one", pair, SHELF, "(1, 'p1', 10, 'p', 'm')", more).await;
    scene.stop().await;
    scene
        .exec(
            Side::A,
            "ALTER TABLE shelf ADD CONSTRAINT no_z CHECK (place <> 'z'); UPDATE shelf SET units = units + 100; \
             UPDATE shelf SET units = units + 100",
        )
        .await;
    scene
        .exec(
            Side::B,
            "UPDATE shelf SET place = 'z', units = units + 1, phone = 'first'",
        )
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.run().await;
    scene.crossed().await;
    let waits = format!(
        "tidelock.parked WHERE sync = '{}' AND kind = 'value_refused'",
        scene.sync
    );
    let open = format!(
        "tidelock.conflict WHERE sync = '{}' AND outcome = 'open'",
        scene.sync
    );
    assert_eq!(scene.a.count(&waits).await, 1);
    assert_eq!(
        scene
            .b
            .count("shelf WHERE id = 1 AND units = 210 AND phone = 'p'")
            .await,
        1
    );
    // The second is made on what a sent, the third on the second.
    for second in [
        "UPDATE shelf SET place = 'z', units = units + 2, mail = 'second'",
        "UPDATE shelf SET units = units + 4, mail = 'third'",
    ] {
        scene.exec(Side::B, second).await;
        scene.crossed().await;
        scene.lock.kill9().await;
        scene.run().await;
        assert_eq!(scene.a.count(&waits).await, 1);
        assert_eq!(scene.a.count(&open).await, 1);
    }
    assert_eq!(scene.a.count("shelf WHERE id = 1 AND units = 210").await, 1);
    scene.crossed().await;
    scene.stop().await;
    scene
        .exec(
            Side::A,
            "UPDATE shelf SET units = units + 1000; ALTER TABLE shelf DROP CONSTRAINT no_z",
        )
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.run().await;
    let first = "SELECT place, units, phone, mail FROM shelf WHERE id = 1";
    both_say(&scene, first, "z 1217 first third").await;
    scene.wait_equal().await;
    for side in [Side::A, Side::B] {
        assert_eq!(scene.db(side).count(&open).await, 0, "{side:?}");
        assert_eq!(scene.db(side).count(&waits).await, 0, "{side:?}");
    }
}

async fn contest_deletes(scene: &mut Scene) {
    let often = "UPDATE person SET note = 'u1' WHERE id = {}; UPDATE person SET note = 'u2' WHERE id = {}";
    let often = |id: i64| often.replace("{}", &id.to_string());
    let once = |id: i64| {
        format!(
            "BEGIN; UPDATE person SET mail = 'x' WHERE id = {id}; DELETE FROM person WHERE id = {id}; COMMIT"
        )
    };
    let on_a = format!(
        "{}; DELETE FROM person WHERE id = 2; UPDATE person SET note = 'u2' WHERE id = 3; {}",
        often(1),
        once(4)
    );
    let on_b = format!(
        "DELETE FROM person WHERE id = 1; {}; {}; UPDATE person SET note = 'u2' WHERE id = 4",
        often(2),
        once(3)
    );
    scene.apart(&on_a, &on_b).await;
}

async fn deleted_stays_deleted(pair: Pair) {
    let mut scene = agreed("r_gone", pair, PERSON, PEOPLE, "on_delete_conflict = \"delete\"").await;
    contest_deletes(&mut scene).await;
    both_say(&scene, "SELECT id FROM person ORDER BY id", "").await;
    scene.wait_equal().await;
    let found = of_row(&scene, Side::A, 1).await;
    assert!(
        found
            .iter()
            .any(|conflict| conflict.detail.contains("the row stays deleted")),
        "{found:?}"
    );
    // A row that comes again has seen the delete.
    scene
        .exec(Side::B, "INSERT INTO person VALUES (1, 'p', 'm', 'reborn')")
        .await;
    both_say(&scene, "SELECT id, note FROM person", "1 reborn").await;
}

async fn updated_lives(pair: Pair) {
    let mut scene = agreed("r_lives", pair, PERSON, PEOPLE, "on_delete_conflict = \"update\"").await;
    contest_deletes(&mut scene).await;
    both_say(
        &scene,
        "SELECT id, note FROM person ORDER BY id",
        "1 u2 2 u2 3 u2 4 u2",
    )
    .await;
    scene.wait_equal().await;
    let found = of_row(&scene, Side::A, 4).await;
    assert!(
        found
            .iter()
            .any(|conflict| conflict.detail.contains("the row lives")),
        "{found:?}"
    );
    // A delete that has seen the row is none of that.
    scene.exec(Side::B, "DELETE FROM person WHERE id = 4").await;
    both_say(&scene, "SELECT id FROM person ORDER BY id", "1 2 3").await;
}

async fn wrong_columns_are_refused(pair: Pair) {
    let mut scene = Scene::new("r_refused", pair, Way::Merge, &[PERSON]).await;
    let section = "[sync.table.person]\n";
    for (line, expected) in [
        (
            "column.id = { on_conflict = \"columns\" }",
            "it is of the primary key",
        ),
        (
            "column.mail = { on_conflict = \"delta\" }",
            "it is no exact number",
        ),
        (
            "column.fax = { on_conflict = \"columns\" }",
            "the table has no such column",
        ),
    ] {
        scene.configure("from:a", &format!("{section}{line}"));
        let output = scene.lock.run(&["check"]).await;
        let told = format!("{}{}", output.stdout, output.stderr);
        assert!(told.contains("E470") && told.contains(expected), "{line}: {told}");
    }
}
