//! Filters of each direction beside the other things that a merge does: new copies, stamps beside, foreign keys, unique
//! values.

use super::*;
use crate::harness::eventually;

const VISIT: Table = Table {
    name: "visit",
    body: "id int NOT NULL PRIMARY KEY, contact int, n int NOT NULL, FOREIGN KEY (contact) REFERENCES contact (id)",
    key: &["id"],
    columns: &["contact", "n"],
};
const SEAT: Table = Table {
    name: "contact",
    body: "id int NOT NULL PRIMARY KEY, region varchar(10) NOT NULL, note varchar(40) NOT NULL UNIQUE",
    key: &["id"],
    columns: &["region", "note"],
};

async fn parked(scene: &Scene, side: Side) -> i64 {
    let own = format!("tidelock.parked WHERE sync = '{}'", scene.sync);
    scene.db(side).count(&own).await
}

async fn waiting(scene: &Scene, side: Side, wanted: i64) {
    let what = format!("{wanted} rows that wait on {side:?}");
    eventually(LIMIT, &what, async || parked(scene, side).await == wanted).await;
}

async fn assert_right(scene: &Scene) {
    let rows = quiet(scene).await;
    let wrong = wrong(&rows);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Moves in and out that never arrived are made up for by a new copy, both ways.
pub(crate) async fn a_new_copy_levels_what_each_sends(pair: Pair) {
    let mut scene = start("dir_resync", pair).await;
    let rows: Vec<String> = (0..80)
        .map(|id| format!("({id}, '{}', 'first')", REGIONS[id as usize % 4]))
        .collect();
    let rows = format!("INSERT INTO contact VALUES {}", rows.join(", "));
    scene.exec(A, &rows).await;
    scene.start().await;
    settled(&mut scene).await;
    scene.stop().await;
    // By four: CA, US, BOTH, XX. Each of the four goes to each other one, and some are deleted.
    let missed = "UPDATE contact SET region = 'XX', note = 'a' WHERE id < 20 AND id % 4 = 0;
        UPDATE contact SET region = 'US', note = 'a' WHERE id BETWEEN 20 AND 39 AND id % 4 IN (0, 2);
        UPDATE contact SET region = 'CA', note = 'a' WHERE id BETWEEN 40 AND 59 AND id % 4 IN (2, 3);
        DELETE FROM contact WHERE id IN (60, 61, 62, 63); INSERT INTO contact VALUES (100, 'CA', 'a');
        UPDATE contact SET note = 'a' WHERE id IN (64, 66, 67)";
    scene.exec(A, missed).await;
    let end = scene.a.one("SELECT pg_current_wal_insert_lsn()").await;
    let lost = format!(
        "UPDATE tidelock.checkpoint SET position = 'lsn:{end}' WHERE sync = '{}'",
        scene.sync
    );
    scene.exec(B, &lost).await;
    let here = "UPDATE contact SET note = 'b' WHERE id IN (0, 4, 20, 22, 42, 64, 66);
        UPDATE contact SET region = 'US', note = 'b' WHERE id IN (8, 26, 46, 68); DELETE FROM contact WHERE id IN (12, 30)";
    scene.exec(B, here).await;
    scene.run().await;
    scene.crossed().await;
    assert!(
        !wrong(&[all(&scene, A).await, all(&scene, B).await]).is_empty(),
        "nothing was missed"
    );
    scene.lock.ok(&["resync", "contact", "--execute"]).await;
    for side in [A, B] {
        let what = format!("the new copy on {side:?}");
        eventually(LIMIT, &what, async || {
            let asked = format!("tidelock.resync WHERE sync = '{}'", scene.sync);
            scene.db(side).count(&asked).await == 0
        })
        .await;
    }
    settled(&mut scene).await;
    assert_right(&scene).await;
}

/// A child waits for a parent that its node does not send, and a parent does not leave its children behind.
pub(crate) async fn children_wait_for_parents_that_are_not_sent(pair: Pair) {
    let mut scene = Scene::new("dir_family", pair, Way::Merge, &[CONTACT, VISIT]).await;
    configure(&mut scene, "from:a");
    scene
        .exec(
            A,
            "INSERT INTO contact VALUES (1, 'CA', 'a'), (2, 'BOTH', 'a'); INSERT INTO visit VALUES (1, 1, 0), (2, 2, 0)",
        )
        .await;
    scene.start().await;
    scene
        .exec(
            A,
            "INSERT INTO contact VALUES (3, 'XX', 'a'); INSERT INTO visit VALUES (3, 3, 0)",
        )
        .await;
    waiting(&scene, B, 1).await;
    scene
        .exec(
            A,
            "UPDATE visit SET n = 1 WHERE id IN (1, 3); UPDATE contact SET region = 'CA' WHERE id = 3",
        )
        .await;
    waiting(&scene, B, 0).await;
    settled(&mut scene).await;
    assert_right(&scene).await;
    // The parent is taken away from under a child that B has.
    scene
        .exec(A, "UPDATE contact SET region = 'XX' WHERE id = 1")
        .await;
    settled(&mut scene).await;
    let orphans = "visit v WHERE NOT EXISTS (SELECT 1 FROM contact c WHERE c.id = v.contact)";
    assert_eq!(scene.b.count(orphans).await, 0, "a child without its parent");
    scene
        .exec(B, "UPDATE contact SET note = 'b' WHERE id IN (1, 2)")
        .await;
    scene
        .exec(
            A,
            "UPDATE contact SET region = 'BOTH', note = 'back' WHERE id = 1",
        )
        .await;
    settled(&mut scene).await;
    for side in [A, B] {
        waiting(&scene, side, 0).await;
        assert_eq!(scene.db(side).count(orphans).await, 0);
    }
    assert_right(&scene).await;
    let visits = "SELECT id, contact, n FROM visit ORDER BY id";
    assert_eq!(scene.a.rows(visits).await, scene.b.rows(visits).await);
}

/// A value that a row of the other side's own holds: what comes waits until it is free, and the rest goes on.
pub(crate) async fn a_value_that_an_own_row_holds_is_waited_for(pair: Pair) {
    let mut scene = Scene::new("dir_unique", pair, Way::Merge, &[SEAT]).await;
    configure(&mut scene, "from:a");
    scene.start().await;
    scene
        .exec(
            B,
            "INSERT INTO contact VALUES (10, 'XX', 'one'), (11, 'CA', 'two')",
        )
        .await;
    scene
        .exec(
            A,
            "INSERT INTO contact VALUES (1, 'CA', 'one'), (2, 'BOTH', 'two'), (3, 'CA', 'three')",
        )
        .await;
    waiting(&scene, B, 2).await;
    eventually(LIMIT, "the row that nobody holds up", async || {
        scene.b.count("contact WHERE id = 3").await == 1
    })
    .await;
    // Later changes wait behind, leaving included.
    scene
        .exec(A, "UPDATE contact SET note = 'two and more' WHERE id = 2")
        .await;
    waiting(&scene, B, 1).await;
    scene
        .exec(B, "UPDATE contact SET note = 'free' WHERE id = 10")
        .await;
    waiting(&scene, B, 0).await;
    settled(&mut scene).await;
    assert_right(&scene).await;
    assert_eq!(scene.b.count("contact").await, 5);
}

/// The stamps of such a table are in one of their own.
pub(crate) async fn with_stamps_beside(pair: Pair) {
    let mut scene = start("dir_beside", pair).await;
    scene.configure(
        "from:a",
        "[sync.table.contact]\nstamps = \"beside\"\n[sync.table.contact.where]\na = \"region IN ('CA', 'BOTH')\"\nb = \"region IN ('US', 'BOTH')\"",
    );
    cases(&mut scene).await;
}
