//! Rows and what they refer to, where a copy meets rows: sessions of Tidelock run with the servers' own checks off.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::eventually;
use scenario::{LIMIT, Pair, Scene, Side, Table, Way, numbers};

pairs! {
    a_union_keeps_what_rows_refer_to => a_union_keeps_what_rows_refer_to;
    families_that_were_deleted_meanwhile_are_gone => families_that_were_deleted_meanwhile_are_gone;
    filtered_families_that_were_deleted_meanwhile_are_gone => filtered_families_that_were_deleted_meanwhile_are_gone;
    a_family_that_is_deleted_during_a_copy_is_gone => a_family_that_is_deleted_during_a_copy_is_gone;
    children_go_on_while_their_parents_are_copied => children_go_on_while_their_parents_are_copied;
    a_holder_that_rows_refer_to_is_not_taken_away => a_holder_that_rows_refer_to_is_not_taken_away;
    what_waited_is_decided_by_the_new_copy => what_waited_is_decided_by_the_new_copy;
}

const HEAD: Table = Table {
    name: "head",
    body: "id int NOT NULL PRIMARY KEY, name varchar(60), CONSTRAINT head_name UNIQUE (name)",
    key: &["id"],
    columns: &["name"],
};
const LINE: Table = Table {
    name: "line",
    body: "id int NOT NULL PRIMARY KEY, head int, n int, CONSTRAINT line_head FOREIGN KEY (head) REFERENCES head (id)",
    key: &["id"],
    columns: &["head", "n"],
};

const DETAIL: Table = Table {
    name: "detail",
    body: "id int NOT NULL PRIMARY KEY, line int, CONSTRAINT detail_line FOREIGN KEY (line) REFERENCES line (id)",
    key: &["id"],
    columns: &["line"],
};
/// Read by the filter, and not in a tombstone.
const FILTER: &str = "[sync.table.head]\nwhere = \"name <> 'nobody'\"\n";
const SMALL: &str = "[limits]\nchunk_rows_max = 20";
/// So slow that there is time.
const SLOW: &str = "[limits]\nchunk_rows_max = 20\ncopy_workers = 1\ncopy_bytes_per_second = 15000";

/// 20 heads; 400 lines, 20 of each.
async fn fill(scene: &Scene, side: Side, has_lines: bool) {
    let heads = format!(
        "INSERT INTO head SELECT i, concat('head ', i) FROM {} WHERE i BETWEEN 1 AND 20",
        numbers(100)
    );
    scene.exec(side, &heads).await;
    if has_lines {
        let lines = format!(
            "INSERT INTO line SELECT i, i % 20 + 1, i FROM {} WHERE i BETWEEN 1 AND 400",
            numbers(1000)
        );
        scene.exec(side, &lines).await;
    }
}

async fn no_orphans(scene: &Scene) {
    for side in [Side::A, Side::B] {
        let orphans =
            "line WHERE head IS NOT NULL AND NOT EXISTS (SELECT 1 FROM head WHERE head.id = line.head)";
        assert_eq!(scene.db(side).count(orphans).await, 0, "{side:?}");
    }
}

/// A delete is above the rows of before `setup`, and still does not take from rows what they refer to.
async fn a_union_keeps_what_rows_refer_to(pair: Pair) {
    let mut scene = Scene::new("family_union", pair, Way::Merge, &[HEAD, LINE]).await;
    fill(&scene, Side::A, true).await;
    fill(&scene, Side::B, false).await;
    scene.configure("union", SMALL);
    scene.lock.ok(&["setup", "--execute"]).await;
    scene
        .exec(Side::B, "DELETE FROM head WHERE id IN (1, 2, 7)")
        .await;
    scene
        .exec(
            Side::A,
            "DELETE FROM line WHERE head = 7; DELETE FROM line WHERE head = 8; DELETE FROM head WHERE id = 8",
        )
        .await;
    scene.run().await;
    scene.streaming().await;
    scene.wait_equal().await;
    no_orphans(&scene).await;
    for (what, count) in [
        ("head WHERE id IN (1, 2)", 2),
        ("head WHERE id IN (7, 8)", 0),
        ("line", 360),
    ] {
        assert_eq!(scene.b.count(what).await, count, "{what}");
    }
}

/// Parents and children that are gone are found gone on the other side too, whichever is copied first; a parent that got
/// a child there meanwhile stays.
async fn families_that_were_deleted_meanwhile_are_gone(pair: Pair) {
    families_gone(pair, "", &["resync", "--all", "--execute"]).await;
}

/// A tombstone has no cells that a filter could read.
async fn filtered_families_that_were_deleted_meanwhile_are_gone(pair: Pair) {
    let from = ["resync", "--all", "--from", "a", "--execute"];
    families_gone(pair, FILTER, &from).await;
}

async fn families_gone(pair: Pair, filter: &str, resync: &[&str]) {
    let mut scene = Scene::new("family_missed", pair, Way::Merge, &[HEAD, LINE]).await;
    scene.configure("from:a", &format!("{filter}{SMALL}"));
    fill(&scene, Side::A, true).await;
    scene.start().await;
    scene.wait_equal().await;
    scene.stop().await;
    scene
        .exec(
            Side::A,
            "DELETE FROM line WHERE head <= 6; DELETE FROM head WHERE id <= 6",
        )
        .await;
    scene.exec(Side::B, "INSERT INTO line VALUES (5000, 6, 1)").await;
    scene.lock.ok(resync).await;
    scene.run().await;
    over(&mut scene).await;
    scene.wait_equal().await;
    no_orphans(&scene).await;
    for (what, count) in [
        ("head WHERE id <= 5", 0),
        ("head WHERE id = 6", 1),
        ("line WHERE head <= 6", 1),
    ] {
        assert_eq!(scene.b.count(what).await, count, "{what}");
    }
}

async fn over(scene: &mut Scene) {
    for side in scene.targets() {
        let left = format!("tidelock.resync WHERE sync = '{}'", scene.sync);
        eventually(LIMIT, "the new copy is over", async || {
            scene.db(side).count(&left).await == 0
        })
        .await;
    }
}

fn waits(scene: &Scene) -> String {
    format!("tidelock.parked WHERE sync = '{}'", scene.sync)
}

/// A table is copied anew, and slowly.
async fn copying(scene: &mut Scene, table: &str) -> String {
    scene.stop().await;
    scene.configure("from:a", SLOW);
    scene.run().await;
    scene.streaming().await;
    scene
        .lock
        .ok(&["resync", table, "--from", "a", "--execute"])
        .await;
    let copying = format!(
        "tidelock.resync WHERE sync = '{}' AND state = 'copying'",
        scene.sync
    );
    eventually(LIMIT, "the copy begins", async || {
        scene.b.count(&copying).await > 0
    })
    .await;
    copying
}

/// The deletes of children wait while their table is copied; the deletes of their parents, and of those' parents, must not
/// take them for rows that stand.
async fn a_family_that_is_deleted_during_a_copy_is_gone(pair: Pair) {
    let mut scene = Scene::new("family_during", pair, Way::Merge, &[HEAD, LINE, DETAIL]).await;
    fill(&scene, Side::A, true).await;
    scene
        .exec(Side::A, "INSERT INTO detail SELECT id, id FROM line")
        .await;
    scene.start().await;
    scene.wait_equal().await;
    let copying = copying(&mut scene, "detail").await;
    scene
        .exec(
            Side::A,
            "DELETE FROM detail WHERE line % 20 + 1 = 9; DELETE FROM line WHERE head = 9; DELETE FROM head WHERE id = 9",
        )
        .await;
    scene.crossed().await;
    assert_eq!(scene.b.count(&copying).await, 1, "it is still under way");
    over(&mut scene).await;
    scene.wait_equal().await;
    no_orphans(&scene).await;
    assert_eq!(scene.b.count("head WHERE id = 9").await, 0);
    assert_eq!(scene.b.count(&waits(&scene)).await, 0);
}

/// While the parents' table is behind, rows may refer to what comes with it.
async fn children_go_on_while_their_parents_are_copied(pair: Pair) {
    let mut scene = Scene::new("family_parents", pair, Way::Merge, &[HEAD, LINE]).await;
    fill(&scene, Side::A, true).await;
    let more = format!(
        "INSERT INTO head SELECT i, concat('head ', i) FROM {} WHERE i BETWEEN 100 AND 600",
        numbers(1000)
    );
    scene.exec(Side::A, &more).await;
    scene.start().await;
    scene.wait_equal().await;
    let copying = copying(&mut scene, "head").await;
    scene
        .exec(
            Side::A,
            "INSERT INTO head VALUES (700, 'new'); INSERT INTO line VALUES (7000, 700, 1)",
        )
        .await;
    eventually(LIMIT, "the child is there", async || {
        scene.b.count("line WHERE id = 7000").await == 1
    })
    .await;
    assert_eq!(scene.b.count(&copying).await, 1, "it is still under way");
    assert_eq!(scene.b.count(&waits(&scene)).await, 0);
    over(&mut scene).await;
    scene.wait_equal().await;
    no_orphans(&scene).await;
}

/// What holds a unique value of a copied row is gone at the source, but not nobody's: both wait, and nothing is torn.
async fn a_holder_that_rows_refer_to_is_not_taken_away(pair: Pair) {
    let mut scene = Scene::new("family_holder", pair, Way::Merge, &[HEAD, LINE]).await;
    fill(&scene, Side::A, true).await;
    scene.start().await;
    scene.wait_equal().await;
    scene.stop().await;
    let on_a = "DELETE FROM line WHERE head = 6; DELETE FROM head WHERE id = 6; INSERT INTO head VALUES (100, 'head 6')";
    scene.exec(Side::A, on_a).await;
    scene.exec(Side::B, "INSERT INTO line VALUES (5000, 6, 1)").await;
    scene.lock.ok(&["resync", "--all", "--execute"]).await;
    scene.run().await;
    over(&mut scene).await;
    scene.crossed().await;
    assert_eq!(scene.b.count("line WHERE id = 5000").await, 1);
    assert_eq!(scene.b.count("head WHERE id = 6").await, 1, "its child stands");
    // A person says which of the two has the name.
    scene
        .exec(Side::A, "UPDATE head SET name = 'another' WHERE id = 100")
        .await;
    scene.wait_equal().await;
    no_orphans(&scene).await;
}

async fn what_waited_is_decided_by_the_new_copy(pair: Pair) {
    let mut scene = Scene::new("family_waits", pair, Way::Merge, &[HEAD]).await;
    scene.configure("from:a", "on_conflict = \"ask\"");
    fill(&scene, Side::A, false).await;
    scene.start().await;
    scene.wait_equal().await;
    scene.stop().await;
    for (side, name) in [(Side::A, "of a"), (Side::B, "of b")] {
        let rename = format!("UPDATE head SET name = '{name}' WHERE id = 3");
        scene.exec(side, &rename).await;
    }
    scene.run().await;
    let waits = waits(&scene);
    eventually(LIMIT, "it waits for a person", async || {
        scene.a.count(&waits).await + scene.b.count(&waits).await == 2
    })
    .await;
    scene.lock.ok(&["resync", "head", "--execute"]).await;
    over(&mut scene).await;
    scene.wait_equal().await;
    assert_eq!(scene.a.count("head WHERE name = 'of b'").await, 1);
    assert_eq!(scene.a.count(&waits).await + scene.b.count(&waits).await, 0);
}
