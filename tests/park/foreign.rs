//! Foreign keys beyond the plain one: to other columns than the parent's key, added while a link runs, and in a circle.

use super::harness::eventually;
use super::scenario::{LIMIT, Pair, Scene, Side, Table};
use super::{CREW, SHIFT, agreed, apart, count, open, settled, until, waits};

const TEAM: Table = Table {
    name: "team",
    body: "id int NOT NULL PRIMARY KEY, code {word} NOT NULL, note varchar(40), CONSTRAINT team_code UNIQUE (code)",
    key: &["id"],
    columns: &["code", "note"],
};

const MEMBER: Table = Table {
    name: "member",
    body: "id int NOT NULL PRIMARY KEY, team {word}, CONSTRAINT member_team FOREIGN KEY (team) REFERENCES team (code)",
    key: &["id"],
    columns: &["team"],
};

/// A parent that goes comes back; one that gives up what is referred to waits until nobody refers to it any more.
pub(super) async fn to_other_columns(pair: Pair) {
    let rows = "INSERT INTO team VALUES (1, 'red', ''); INSERT INTO team VALUES (2, 'blue', ''); INSERT INTO team VALUES (3, 'green', ''); INSERT INTO team VALUES (4, 'grey', '')";
    let mut scene = agreed("p_other", pair, &[TEAM, MEMBER], "", rows).await;
    apart(
        &mut scene,
        "DELETE FROM team WHERE id = 1; UPDATE team SET code = 'navy' WHERE id = 2; UPDATE team SET code = 'lime' WHERE id = 3; DELETE FROM team WHERE id = 4",
        "INSERT INTO member VALUES (10, 'red'); INSERT INTO member VALUES (20, 'blue'); UPDATE team SET note = 'seen' WHERE id = 3",
    )
    .await;
    for side in [Side::A, Side::B] {
        until(&format!("team 1 with its member on {side:?}"), async || {
            count(&scene, side, "team WHERE id = 1").await == 1
                && count(&scene, side, "member WHERE id = 10").await == 1
        })
        .await;
        assert_eq!(waits(&scene, side).await, ["fk_missing"], "{side:?}");
        assert_eq!(open(&scene, side).await, 1, "{side:?}");
        assert_eq!(count(&scene, side, "team WHERE id = 4").await, 0, "{side:?}");
    }
    assert_eq!(count(&scene, Side::B, "team WHERE code = 'blue'").await, 1);
    assert_eq!(count(&scene, Side::A, "team WHERE code = 'navy'").await, 1);
    // Nobody refers to the old code any more: the new one goes in.
    scene.exec(Side::B, "DELETE FROM member WHERE id = 20").await;
    settled(&mut scene).await;
    assert_eq!(count(&scene, Side::B, "team WHERE code = 'navy'").await, 1);
    assert_eq!(count(&scene, Side::B, "member").await, 1);
}

/// The truth takes a parent away, and from another the value that it is known by: a touch might be answered, so both and
/// their children wait, each on its node.
pub(super) async fn to_other_columns_of_the_truth(pair: Pair) {
    let rows = "INSERT INTO team VALUES (1, 'red', ''); INSERT INTO team VALUES (2, 'blue', '')";
    let truth = "on_conflict = \"source-of-truth:a\"";
    let mut scene = agreed("p_othertruth", pair, &[TEAM, MEMBER], truth, rows).await;
    apart(
        &mut scene,
        "DELETE FROM team WHERE id = 1; UPDATE team SET code = 'navy' WHERE id = 2",
        "INSERT INTO member VALUES (10, 'red'); INSERT INTO member VALUES (20, 'blue')",
    )
    .await;
    for side in [Side::A, Side::B] {
        assert_eq!(waits(&scene, side).await, ["fk_missing"; 2], "{side:?}");
        assert_eq!(open(&scene, side).await, 2, "{side:?}");
    }
    // Taken as they are they would wait again.
    let number = format!(
        "SELECT number FROM tidelock.conflict WHERE sync = '{}' AND outcome = 'open' AND key_json = '[10]'",
        scene.sync
    );
    let name = format!("a:{}", scene.a.one(&number).await);
    let resolve = ["conflicts", "resolve", &name, "--take", "b", "--execute"];
    let told = scene.lock.run(&resolve).await;
    assert_eq!(told.code, 5, "{}", told.stderr);
    assert!(
        told.stderr.contains("it would only wait again"),
        "{}",
        told.stderr
    );
    // One goes after all, the other's parent gets its old name again.
    scene.exec(Side::B, "DELETE FROM member WHERE id = 10").await;
    scene
        .exec(
            Side::A,
            "UPDATE team SET code = 'blue', note = 'again' WHERE id = 2",
        )
        .await;
    settled(&mut scene).await;
    for side in [Side::A, Side::B] {
        assert_eq!(count(&scene, side, "team").await, 1, "{side:?}");
        assert_eq!(
            count(&scene, side, "team WHERE note = 'again'").await,
            1,
            "{side:?}"
        );
        assert_eq!(count(&scene, side, "member WHERE id = 20").await, 1, "{side:?}");
        assert_eq!(count(&scene, side, "member").await, 1, "{side:?}");
    }
}

/// A parent waits, and so do its children; then it gets another key and they refer to that.
pub(super) async fn parent_moves(pair: Pair) {
    let rows = "INSERT INTO crew VALUES (9, 'zoe', '')";
    let mut scene = agreed("p_moves", pair, &[CREW, SHIFT], "", rows).await;
    apart(
        &mut scene,
        "INSERT INTO crew VALUES (1, 'ann', '')",
        "INSERT INTO crew VALUES (2, 'ann', ''); INSERT INTO shift VALUES (10, 2, 'mon')",
    )
    .await;
    assert_eq!(waits(&scene, Side::A).await, ["unique", "waits_for_parent"]);
    for statement in [
        "UPDATE shift SET crew = NULL WHERE id = 10",
        "UPDATE crew SET id = 3 WHERE id = 2",
        "UPDATE shift SET crew = 3 WHERE id = 10",
    ] {
        scene.exec(Side::B, statement).await;
        scene.crossed().await;
    }
    assert_eq!(waits(&scene, Side::A).await, ["unique", "waits_for_parent"]);
    assert_eq!(count(&scene, Side::A, "shift WHERE crew IS NULL").await, 1);
    scene
        .exec(Side::A, "UPDATE crew SET nick = 'bea' WHERE id = 1")
        .await;
    settled(&mut scene).await;
    for side in [Side::A, Side::B] {
        assert_eq!(
            count(&scene, side, "crew WHERE id = 3 AND nick = 'ann'").await,
            1,
            "{side:?}"
        );
        assert_eq!(count(&scene, side, "crew WHERE id = 2").await, 0, "{side:?}");
        assert_eq!(count(&scene, side, "shift WHERE crew = 3").await, 1, "{side:?}");
    }
}

/// Children know their parents by a code. One parent gets another key and keeps its code, which is nothing to them; the other
/// has given its code up, its child waits, and so does the change on the child's node, when it gets another key as well.
pub(super) async fn known_parent_moves(pair: Pair) {
    let rows = "INSERT INTO team VALUES (1, 'red', ''); INSERT INTO team VALUES (2, 'blue', '')";
    let mut scene = agreed("p_knownmoves", pair, &[TEAM, MEMBER], "", rows).await;
    apart(
        &mut scene,
        "UPDATE team SET id = 7 WHERE id = 1; UPDATE team SET code = 'navy' WHERE id = 2",
        "INSERT INTO member VALUES (10, 'red'); INSERT INTO member VALUES (20, 'blue')",
    )
    .await;
    for side in [Side::A, Side::B] {
        assert_eq!(waits(&scene, side).await, ["fk_missing"], "{side:?}");
        assert_eq!(
            count(&scene, side, "team WHERE id = 7 AND code = 'red'").await,
            1,
            "{side:?}"
        );
        assert_eq!(count(&scene, side, "member WHERE id = 10").await, 1, "{side:?}");
    }
    // The delete that is in this finds the child, whose parent comes back under its old key.
    scene.exec(Side::A, "UPDATE team SET id = 8 WHERE id = 2").await;
    settled(&mut scene).await;
    for side in [Side::A, Side::B] {
        for row in [
            "id = 2 AND code = 'blue'",
            "id = 7 AND code = 'red'",
            "id = 8 AND code = 'navy'",
        ] {
            assert_eq!(
                count(&scene, side, &format!("team WHERE {row}")).await,
                1,
                "{side:?} {row}"
            );
        }
        assert_eq!(count(&scene, side, "member").await, 2, "{side:?}");
    }
}

const TASK: Table = Table {
    name: "task",
    body: "id int NOT NULL PRIMARY KEY, crew int",
    key: &["id"],
    columns: &["crew"],
};

/// The link that has to heed it began before there was a foreign key.
pub(super) async fn added_later(pair: Pair) {
    let rows = "INSERT INTO crew VALUES (1, 'ann', ''); INSERT INTO crew VALUES (2, 'bea', '')";
    let mut scene = agreed("p_later", pair, &[CREW, TASK], "", rows).await;
    let key = "ALTER TABLE task ADD CONSTRAINT task_crew FOREIGN KEY (crew) REFERENCES crew (id)";
    for side in [Side::A, Side::B] {
        scene.exec(side, key).await;
    }
    let (noticed, mut writes) = (r#""event":"foreign_key_added","link":"b->a""#, 0);
    until("the foreign key to be noticed", async || {
        writes += 1;
        let write = format!("UPDATE crew SET note = '{writes}' WHERE id = 2");
        scene.exec(Side::B, &write).await;
        scene.lock.log().contains(noticed)
    })
    .await;
    // A's delete does not come to B, while what B writes comes to A.
    let link = format!("{}/a->b", scene.sync);
    scene.lock.ok(&["pause", &link]).await;
    eventually(LIMIT, "the link to rest", async || {
        scene.lock.log().contains("\"event\":\"paused\"")
    })
    .await;
    scene.exec(Side::A, "DELETE FROM crew WHERE id = 1").await;
    scene
        .exec(
            Side::B,
            "INSERT INTO task VALUES (10, 1); INSERT INTO task VALUES (20, 2)",
        )
        .await;
    until("what has its parent to come", async || {
        count(&scene, Side::A, "task WHERE id = 20").await == 1
    })
    .await;
    assert_eq!(waits(&scene, Side::A).await, ["fk_missing"]);
    assert_eq!(count(&scene, Side::A, "task").await, 1);
    scene.lock.ok(&["resume", &link]).await;
    settled(&mut scene).await;
    for side in [Side::A, Side::B] {
        assert_eq!(count(&scene, side, "crew").await, 2, "{side:?}");
        assert_eq!(count(&scene, side, "task").await, 2, "{side:?}");
    }
}

const NUT: Table = Table {
    name: "nut",
    body: "id int NOT NULL PRIMARY KEY, bolt int, nick {word} NOT NULL UNIQUE",
    key: &["id"],
    columns: &["bolt", "nick"],
};

const BOLT: Table = Table {
    name: "bolt",
    body: "id int NOT NULL PRIMARY KEY, nut int, CONSTRAINT bolt_nut FOREIGN KEY (nut) REFERENCES nut (id)",
    key: &["id"],
    columns: &["nut"],
};

/// Neither can go in alone.
pub(super) async fn in_a_circle(pair: Pair) {
    let mut scene = Scene::new("p_circle", pair, super::Way::Merge, &[NUT, BOLT]).await;
    let key = "ALTER TABLE nut ADD CONSTRAINT nut_bolt FOREIGN KEY (bolt) REFERENCES bolt (id)";
    for side in [Side::A, Side::B] {
        scene.exec(side, key).await;
    }
    scene.start().await;
    apart(
        &mut scene,
        "INSERT INTO nut VALUES (1, NULL, 'ann')",
        "BEGIN; INSERT INTO nut VALUES (2, NULL, 'ann'); INSERT INTO bolt VALUES (2, 2); UPDATE nut SET bolt = 2 WHERE id = 2; COMMIT",
    )
    .await;
    assert_eq!(waits(&scene, Side::A).await, ["unique", "waits_for_parent"]);
    // Two more, which first wait for these, and then only for each other.
    for statement in [
        "INSERT INTO nut VALUES (3, 2, 'cas')",
        "INSERT INTO bolt VALUES (3, 3)",
        "UPDATE nut SET bolt = 3 WHERE id = 3",
    ] {
        scene.exec(Side::B, statement).await;
        scene.crossed().await;
    }
    until("those that wait for each other alone to go in", async || {
        count(&scene, Side::A, "nut WHERE id = 3 AND bolt = 3").await == 1
    })
    .await;
    assert_eq!(waits(&scene, Side::A).await, ["unique", "waits_for_parent"]);
    assert_eq!(open(&scene, Side::A).await, 1);
    scene
        .exec(Side::A, "UPDATE nut SET nick = 'bea' WHERE id = 1")
        .await;
    settled(&mut scene).await;
    for side in [Side::A, Side::B] {
        let both = "nut WHERE bolt = id AND id IN (2, 3)";
        assert_eq!(count(&scene, side, both).await, 2, "{side:?}");
        assert_eq!(count(&scene, side, "bolt").await, 2, "{side:?}");
    }
}

/// The winner of a contest refers to a parent that the other side has left and deleted. Its own change was about another
/// column, so nothing but the row that it is written over tells: shift 10 over the standing row, and shift 20, which the
/// arbiter lifts over its tombstone.
pub(super) async fn put_back(pair: Pair) {
    let rows = "INSERT INTO crew VALUES (1, 'ann', ''); INSERT INTO crew VALUES (2, 'bea', ''); INSERT INTO crew VALUES (3, 'cas', ''); INSERT INTO shift VALUES (10, 1, ''); INSERT INTO shift VALUES (20, 3, '')";
    let rules = "on_delete_conflict = \"update\"\n[sync.table.crew]\non_delete_conflict = \"delete\"";
    let mut scene = agreed("p_back", pair, &[CREW, SHIFT], rules, rows).await;
    apart(
        &mut scene,
        "START TRANSACTION; UPDATE shift SET crew = 2 WHERE id = 10; DELETE FROM crew WHERE id = 1; UPDATE shift SET day = 'su' WHERE id = 20; UPDATE shift SET day = 'sa' WHERE id = 20; DELETE FROM shift WHERE id = 20; DELETE FROM crew WHERE id = 3; COMMIT",
        "START TRANSACTION; UPDATE shift SET day = 'mo' WHERE id = 10; UPDATE shift SET day = 'tu' WHERE id = 10; UPDATE shift SET day = 'we' WHERE id = 20; COMMIT",
    )
    .await;
    let orphans = "shift s WHERE crew IS NOT NULL AND NOT EXISTS (SELECT 1 FROM crew c WHERE c.id = s.crew)";
    for (side, kinds) in [(Side::A, vec!["fk_missing"; 2]), (Side::B, vec!["fk_missing"])] {
        assert_eq!(count(&scene, side, orphans).await, 0, "{side:?}");
        assert_eq!(waits(&scene, side).await, kinds, "{side:?}");
    }
    scene
        .exec(Side::B, "UPDATE shift SET crew = 2 WHERE id = 10")
        .await;
    scene
        .exec(Side::A, "INSERT INTO crew VALUES (3, 'cas', '')")
        .await;
    settled(&mut scene).await;
    for side in [Side::A, Side::B] {
        assert_eq!(
            count(&scene, side, "shift WHERE day IN ('tu', 'we')").await,
            2,
            "{side:?}"
        );
        assert_eq!(count(&scene, side, "crew").await, 2, "{side:?}");
    }
}

/// `on_delete_conflict = "delete"` has the arbiter delete what the other side deleted, against a greater stamp; not while
/// rows refer to it.
pub(super) async fn own_delete(pair: Pair) {
    let rows = "INSERT INTO crew VALUES (1, 'ann', ''); INSERT INTO crew VALUES (2, 'bea', '')";
    let rules = "on_delete_conflict = \"delete\"";
    let mut scene = agreed("p_own", pair, &[CREW, SHIFT], rules, rows).await;
    apart(
        &mut scene,
        "UPDATE crew SET note = 'x'; UPDATE crew SET note = 'y'; INSERT INTO shift VALUES (10, 1, 'mo')",
        "DELETE FROM crew",
    )
    .await;
    scene.crossed().await;
    assert_eq!(waits(&scene, Side::A).await, ["fk_missing"]);
    for side in [Side::A, Side::B] {
        assert_eq!(count(&scene, side, "crew WHERE id = 1").await, 1, "{side:?}");
        assert_eq!(count(&scene, side, "crew WHERE id = 2").await, 0, "{side:?}");
        assert_eq!(count(&scene, side, "shift").await, 1, "{side:?}");
    }
    scene.exec(Side::B, "DELETE FROM shift").await;
    settled(&mut scene).await;
    assert_eq!(count(&scene, Side::B, "crew").await, 0);
}
