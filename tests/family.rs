//! Rows and what they refer to, where a copy meets rows: sessions of Tidelock run with the servers' own checks off.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::eventually;
use scenario::{LIMIT, Pair, Scene, Side, Table, Way, numbers};

pairs! {
    a_union_keeps_what_rows_refer_to => a_union_keeps_what_rows_refer_to;
    families_that_were_deleted_meanwhile_are_gone => families_that_were_deleted_meanwhile_are_gone;
    a_family_that_is_deleted_during_a_copy_is_gone => a_family_that_is_deleted_during_a_copy_is_gone;
}

const HEAD: Table = Table {
    name: "head",
    body: "id int NOT NULL PRIMARY KEY, name varchar(60)",
    key: &["id"],
    columns: &["name"],
};
const LINE: Table = Table {
    name: "line",
    body: "id int NOT NULL PRIMARY KEY, head int, n int, CONSTRAINT line_head FOREIGN KEY (head) REFERENCES head (id)",
    key: &["id"],
    columns: &["head", "n"],
};

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
    scene.configure("union", "[limits]\nchunk_rows_max = 20");
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
    let mut scene = Scene::new("family_missed", pair, Way::Merge, &[HEAD, LINE]).await;
    scene.configure("from:a", "[limits]\nchunk_rows_max = 20");
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
    scene.lock.ok(&["resync", "--all", "--execute"]).await;
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

/// The deletes of children wait while their table is copied; the delete of their parent must not take them for rows that
/// stand.
async fn a_family_that_is_deleted_during_a_copy_is_gone(pair: Pair) {
    let mut scene = Scene::new("family_during", pair, Way::Merge, &[HEAD, LINE]).await;
    scene.configure("from:a", "[limits]\nchunk_rows_max = 20\ncopy_workers = 1");
    fill(&scene, Side::A, true).await;
    scene.start().await;
    scene.wait_equal().await;
    scene.stop().await;
    // So slow that there is time.
    scene.configure(
        "from:a",
        "[limits]\nchunk_rows_max = 20\ncopy_workers = 1\ncopy_bytes_per_second = 15000",
    );
    scene.run().await;
    scene.streaming().await;
    scene
        .lock
        .ok(&["resync", "line", "--from", "a", "--execute"])
        .await;
    let copying = format!(
        "tidelock.resync WHERE sync = '{}' AND state = 'copying'",
        scene.sync
    );
    eventually(LIMIT, "the copy begins", async || {
        scene.b.count(&copying).await > 0
    })
    .await;
    scene
        .exec(
            Side::A,
            "DELETE FROM line WHERE head = 9; DELETE FROM head WHERE id = 9",
        )
        .await;
    scene.crossed().await;
    assert_eq!(scene.b.count(&copying).await, 1, "it is still under way");
    over(&mut scene).await;
    scene.wait_equal().await;
    no_orphans(&scene).await;
    assert_eq!(scene.b.count("head WHERE id = 9").await, 0);
}
