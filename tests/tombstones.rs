//! Tombstones go when every node knows of the deletes, and not before.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::eventually;
use scenario::{ITEM, LIMIT, NEW, Pair, SEAT, Scene, Side, Table, Way};
use std::sync::Arc;
use std::time::Duration;
use tidelock::engine::Node;
use tidelock::model::collection::{Batch, Dropped, Holder};
use tidelock::model::schema::{Engine, TableId};

long_pairs! {
    held_while_a_link_rests => held_while_a_link_rests;
    inserted_again_above_the_floor => inserted_again_above_the_floor;
    an_idle_pair_writes_nothing => an_idle_pair_writes_nothing;
    raised_after_the_mark => raised_after_the_mark;
}

pairs! {
    collected_when_both_know => collected_when_both_know;
    killed_between_mark_and_drop => killed_between_mark_and_drop;
    a_row_below_its_tombstone_is_raised => a_row_below_its_tombstone_is_raised;
}

// Both engines are sides of it.
pair_tests!(one_pair, NEW,
    kept_while_a_change_waits_or_a_table_is_held => kept_while_a_change_waits_or_a_table_is_held;
    another_copy_drops_nothing => another_copy_drops_nothing;
);

/// Both sides hold rows 1 to 9.
async fn agreed(hint: &str, pair: Pair) -> Scene {
    let mut scene = Scene::new(hint, pair, Way::Merge, &[ITEM]).await;
    let rows: Vec<String> = (1..=9)
        .map(|n| format!("INSERT INTO item VALUES ({n}, 'item', 0, 'agreed')"))
        .collect();
    scene.exec(Side::A, &rows.join(";")).await;
    scene.start().await;
    scene.wait_equal().await;
    scene
}

/// Where the tombstones of a table are.
async fn stones_of(scene: &Scene, side: Side, table: &str) -> String {
    let sql = format!(
        "SELECT tombstones FROM tidelock.table_state WHERE sync = '{}' AND table_name = '{table}'",
        scene.sync
    );
    format!("tidelock.{}", scene.db(side).one(&sql).await)
}

async fn stones(scene: &Scene, side: Side) -> String {
    stones_of(scene, side, "item").await
}

async fn count(scene: &Scene, side: Side, condition: &str) -> i64 {
    let from = stones(scene, side).await;
    scene.db(side).count(&format!("{from} WHERE {condition}")).await
}

/// What the tombstones of a node wait for.
async fn waits_for(scene: &Scene, side: Side) -> String {
    let sql = format!(
        "SELECT waits_for FROM tidelock.collection WHERE sync = '{}'",
        scene.sync
    );
    let rows = scene.db(side).rows(&sql).await;
    rows.into_iter().flatten().flatten().collect()
}

async fn floor(scene: &Scene, side: Side) -> i64 {
    let sql = format!(
        "SELECT floor FROM tidelock.table_state WHERE sync = '{}' AND table_name = 'item'",
        scene.sync
    );
    scene.db(side).one(&sql).await.parse().unwrap()
}

async fn version(scene: &Scene, side: Side, id: u64) -> i64 {
    let sql = format!("SELECT tidelock_version FROM item WHERE id = {id}");
    scene.db(side).one(&sql).await.parse().unwrap()
}

async fn all_gone(scene: &Scene) {
    for side in [Side::A, Side::B] {
        eventually(LIMIT, &format!("no tombstone on {side:?}"), async || {
            count(scene, side, "1 = 1").await == 0
        })
        .await;
    }
}

async fn state(scene: &Scene, side: Side) -> Option<String> {
    let sql = format!(
        "SELECT state FROM tidelock.collection WHERE sync = '{}'",
        scene.sync
    );
    scene
        .db(side)
        .rows(&sql)
        .await
        .into_iter()
        .flatten()
        .next()
        .flatten()
}

/// From here on nothing that A writes reaches B, until that link is resumed.
async fn rest(scene: &Scene) -> String {
    let link = format!("{}/a->b", scene.sync);
    scene.lock.ok(&["pause", &link]).await;
    // The process learns of it when it renews its lease.
    eventually(LIMIT, "the link to rest", async || {
        scene.lock.log().contains("\"event\":\"paused\"")
    })
    .await;
    link
}

async fn collected_when_both_know(pair: Pair) {
    let mut scene = agreed("t_both", pair).await;
    scene
        .exec(
            Side::A,
            "UPDATE item SET note = 'x' WHERE id = 1; DELETE FROM item WHERE id = 1",
        )
        .await;
    scene
        .exec(
            Side::B,
            "DELETE FROM item WHERE id = 2; UPDATE item SET id = 30 WHERE id = 3",
        )
        .await;
    scene.wait_equal().await;
    assert!(
        count(&scene, Side::A, "id = 1").await == 1,
        "dropped before anybody could know"
    );
    all_gone(&scene).await;
    // The floor is what they were: version 2 of row 1.
    for side in [Side::A, Side::B] {
        assert_eq!(floor(&scene, side).await, 2, "{side:?}");
    }
    scene.assert_equal().await;
    scene.assert_no_conflicts().await;
}

async fn held_while_a_link_rests(pair: Pair) {
    let mut scene = agreed("t_rest", pair).await;
    let link = rest(&scene).await;
    scene.exec(Side::A, "DELETE FROM item WHERE id = 1").await;
    eventually(LIMIT, "the tombstone to be marked", async || {
        count(&scene, Side::A, "tidelock_generation IS NOT NULL").await == 1
    })
    .await;
    // B writes the row that A has deleted, and its log comes to A: that says nothing yet.
    scene
        .exec(Side::B, "UPDATE item SET note = 'b' WHERE id = 2")
        .await;
    eventually(LIMIT, "B's write to come", async || {
        scene.a.count("item WHERE note = 'b'").await == 1
    })
    .await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(count(&scene, Side::A, "1 = 1").await, 1, "dropped before B knew");
    // A second process tells it.
    let told = scene.lock.ok(&["status", "--json"]).await;
    assert!(
        told.contains("link a->b has not applied the deletes of node a"),
        "{told}"
    );
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let links = told["links"].as_array().unwrap().iter();
    let mut into_a = links.filter(|link| link["link"] == "b->a");
    let told = &into_a.next().unwrap()["tombstones"];
    assert_eq!(told["count"], 1, "{told}");
    assert!(told["oldest_ms"].as_u64().unwrap() > 10_000, "{told}");
    let screen = scene.lock.ok(&["status"]).await;
    assert!(
        screen.contains("TOMBSTONES") && screen.contains("1, 1"),
        "{screen}"
    );
    // Once it takes long, also what holds them.
    let old = format!(
        "UPDATE {} SET deleted_at = clock_timestamp() - interval '20 minutes'",
        stones(&scene, Side::A).await
    );
    scene.a.as_dba(&old).await;
    let screen = scene.lock.ok(&["status"]).await;
    assert!(
        screen.contains("tombstones wait: link a->b has not applied"),
        "{screen}"
    );
    // An update that does not know of the delete meets it.
    scene
        .exec(Side::B, "UPDATE item SET note = 'late' WHERE id = 1")
        .await;
    scene.lock.ok(&["resume", &link]).await;
    scene.wait_equal().await;
    all_gone(&scene).await;
    scene.assert_equal().await;
    assert_eq!(scene.conflicts(Side::A).await.len(), 1);
}

async fn inserted_again_above_the_floor(pair: Pair) {
    let mut scene = agreed("t_floor", pair).await;
    for note in 1..=4 {
        scene
            .exec(
                Side::A,
                &format!("UPDATE item SET note = 'n{note}' WHERE id IN (1, 2)"),
            )
            .await;
    }
    scene.exec(Side::A, "DELETE FROM item WHERE id IN (1, 2)").await;
    scene.wait_equal().await;
    all_gone(&scene).await;
    scene
        .exec(Side::A, "INSERT INTO item VALUES (1, 'x', 1, 'again on a')")
        .await;
    scene
        .exec(Side::B, "INSERT INTO item VALUES (2, 'x', 1, 'again on b')")
        .await;
    scene.wait_equal().await;
    assert_eq!(version(&scene, Side::B, 1).await, 6);
    assert_eq!(version(&scene, Side::A, 2).await, 6);
    scene.assert_no_conflicts().await;
    // And on one side while the other still has its tombstones.
    scene.exec(Side::A, "DELETE FROM item WHERE id = 1").await;
    scene.wait_equal().await;
    scene
        .exec(Side::B, "INSERT INTO item VALUES (1, 'x', 1, 'before')")
        .await;
    scene.wait_equal().await;
    all_gone(&scene).await;
    assert_eq!(version(&scene, Side::A, 1).await, 7);
    scene.assert_equal().await;
    scene.assert_no_conflicts().await;
}

async fn killed_between_mark_and_drop(pair: Pair) {
    let mut scene = agreed("t_kill", pair).await;
    scene
        .exec(Side::A, "DELETE FROM item WHERE id IN (1, 2, 3)")
        .await;
    scene.exec(Side::B, "DELETE FROM item WHERE id = 4").await;
    eventually(LIMIT, "a generation that waits", async || {
        state(&scene, Side::A).await.is_some()
    })
    .await;
    scene.lock.kill9().await;
    let marked = count(&scene, Side::A, "tidelock_generation IS NOT NULL").await;
    assert!(marked >= 3, "{marked} are marked");
    scene.run().await;
    scene.wait_equal().await;
    all_gone(&scene).await;
    scene
        .exec(Side::B, "INSERT INTO item VALUES (1, 'x', 1, 'again')")
        .await;
    scene.wait_equal().await;
    scene.assert_equal().await;
}

/// What our schema writes is the renewal of leases, and nothing of tombstones.
async fn an_idle_pair_writes_nothing(pair: Pair) {
    let mut scene = agreed("t_idle", pair).await;
    scene.exec(Side::A, "DELETE FROM item WHERE id = 1").await;
    scene.exec(Side::B, "DELETE FROM item WHERE id = 2").await;
    scene.wait_equal().await;
    all_gone(&scene).await;
    let settled = async |side: Side| {
        let collection = format!(
            "SELECT generation, state, waits_for, marked_at FROM tidelock.collection WHERE sync = '{}'",
            scene.sync
        );
        let checkpoint = format!(
            "SELECT seq, position FROM tidelock.checkpoint WHERE sync = '{}'",
            scene.sync
        );
        let db = scene.db(side);
        (db.rows(&collection).await, db.rows(&checkpoint).await)
    };
    for side in [Side::A, Side::B] {
        eventually(LIMIT, "nothing to wait", async || {
            state(&scene, side).await.is_none()
        })
        .await;
    }
    let mut before = (settled(Side::A).await, settled(Side::B).await);
    // The last idle checkpoints may still come.
    let limit = tokio::time::Instant::now() + LIMIT;
    loop {
        tokio::time::sleep(Duration::from_secs(12)).await;
        let now = (settled(Side::A).await, settled(Side::B).await);
        if now == before {
            break;
        }
        assert!(
            tokio::time::Instant::now() < limit,
            "an idle pair goes on writing: {before:?}, then {now:?}"
        );
        before = now;
    }
    scene.assert_running();
}

async fn raised_after_the_mark(pair: Pair) {
    let mut scene = agreed("t_raise", pair).await;
    let link = rest(&scene).await;
    scene.exec(Side::A, "DELETE FROM item WHERE id IN (1, 2)").await;
    eventually(LIMIT, "the tombstones to be marked", async || {
        count(&scene, Side::A, "tidelock_generation IS NOT NULL").await == 2
    })
    .await;
    scene
        .exec(
            Side::A,
            "INSERT INTO item VALUES (1, 'x', 1, 'again'); DELETE FROM item WHERE id = 1",
        )
        .await;
    assert_eq!(
        count(&scene, Side::A, "id = 1 AND tidelock_generation IS NULL").await,
        1,
        "a raised tombstone is of no generation"
    );
    // By an apply too: B's later write and delete of row 2 raise A's tombstone of it.
    scene
        .exec(
            Side::B,
            "UPDATE item SET note = 'b' WHERE id = 2; UPDATE item SET note = 'c' WHERE id = 2; DELETE FROM item WHERE id = 2",
        )
        .await;
    eventually(LIMIT, "B's delete to come", async || {
        count(
            &scene,
            Side::A,
            "id = 2 AND tidelock_version = 3 AND tidelock_generation IS NULL",
        )
        .await
            == 1
    })
    .await;
    scene.lock.ok(&["resume", &link]).await;
    scene.wait_equal().await;
    all_gone(&scene).await;
    assert_eq!(floor(&scene, Side::A).await, 3);
    scene.assert_equal().await;
}

/// As a race leaves it behind: a row that was inserted while the delete of its key arrived.
async fn a_row_below_its_tombstone_is_raised(pair: Pair) {
    let mut scene = agreed("t_below", pair).await;
    scene.stop().await;
    // Of a delete that B has forgotten: one that it knows would make it ask A for a touch.
    let from = stones(&scene, Side::A).await;
    let buried = format!("INSERT INTO {from} (id, tidelock_version, tidelock_origin) VALUES (50, 7, 2)");
    scene.a.as_dba(&buried).await;
    let mut session = scene.a.admin().await;
    let silent = match scene.a.kind().is_postgres() {
        true => "SET session_replication_role = replica",
        false => "SET @tidelock_apply = 1",
    };
    session.exec(silent).await;
    session
        .exec("INSERT INTO item (id, name, n, note, tidelock_version, tidelock_origin) VALUES (50, 'x', 1, 'low', 3, 1)")
        .await;
    scene.run().await;
    eventually(LIMIT, "the row on B", async || {
        scene.b.count("item WHERE id = 50 AND note = 'low'").await == 1
    })
    .await;
    all_gone(&scene).await;
    scene.wait_equal().await;
    assert_eq!(version(&scene, Side::B, 50).await, 8);
    let told = scene.conflicts(Side::A).await;
    let is_told = |c: &scenario::Conflict| c.kind == "update_deleted" && c.detail.contains("stood below it");
    assert!(told.iter().any(is_told), "{told:?}");
}

const WIDE: Table = Table {
    name: "wide",
    body: "id int NOT NULL PRIMARY KEY, n int NOT NULL",
    key: &["id"],
    columns: &["n"],
};

/// What waits, and what a held table has not seen, may have been written below a delete.
async fn kept_while_a_change_waits_or_a_table_is_held(pair: Pair) {
    let mut scene = Scene::new("t_kept", pair, Way::Merge, &[ITEM, SEAT, WIDE]).await;
    scene.configure("from:a", "on_stop = \"table\"");
    for id in 1..=3 {
        let rows = format!(
            "INSERT INTO item VALUES ({id}, 'item', 0, ''); INSERT INTO seat VALUES ({id}, 's{id}'); INSERT INTO wide VALUES ({id}, 0)"
        );
        scene.exec(Side::A, &rows).await;
    }
    scene.start().await;
    scene.wait_equal().await;
    scene.stop().await;
    // A clash in one table; the other lacks a column on B.
    scene
        .exec(
            Side::A,
            "INSERT INTO seat VALUES (11, 'window'); ALTER TABLE wide ADD COLUMN more int",
        )
        .await;
    scene
        .exec(Side::B, "INSERT INTO seat VALUES (12, 'window')")
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.run().await;
    scene.exec(Side::A, "UPDATE wide SET n = 1 WHERE id = 1").await;
    let held = format!("tidelock.held_table WHERE sync = '{}'", scene.sync);
    eventually(LIMIT, "the table to be held", async || {
        scene.b.count(&held).await == 1
    })
    .await;
    for (table, why) in [
        ("seat", "has parked changes on node"),
        ("wide", "is held by link a->b"),
    ] {
        let delete = format!("DELETE FROM {table} WHERE id = 3; DELETE FROM item WHERE id = 3");
        scene.exec(Side::B, &delete).await;
        for side in [Side::A, Side::B] {
            eventually(
                LIMIT,
                &format!("{side:?} to say that {table} {why}"),
                async || waits_for(&scene, side).await.contains(why),
            )
            .await;
            // Others go meanwhile.
            eventually(LIMIT, "the other table's to go", async || {
                count(&scene, side, "1 = 1").await == 0
            })
            .await;
            let stones = stones_of(&scene, side, table).await;
            assert_eq!(scene.db(side).count(&stones).await, 1, "{table} on {side:?}");
        }
        match table {
            "seat" => {
                let apart = "UPDATE seat SET place = 'aisle' WHERE id = 12";
                scene.exec(Side::B, apart).await;
            }
            _ => {
                scene.stop().await;
                scene.exec(Side::B, "ALTER TABLE wide ADD COLUMN more int").await;
                scene.lock.ok(&["setup", "--execute"]).await;
                scene.run().await;
                scene.lock.ok(&["resume", "a->b", "--table", "wide"]).await;
            }
        }
        for side in [Side::A, Side::B] {
            let stones = stones_of(&scene, side, table).await;
            eventually(
                LIMIT,
                &format!("those of {table} to go on {side:?}"),
                async || scene.db(side).count(&stones).await == 0,
            )
            .await;
        }
    }
    scene.wait_equal().await;
}

/// A copy that lost its lease while it looked, and drops now.
async fn another_copy_drops_nothing(pair: Pair) {
    let scene = agreed("t_fenced", pair).await;
    rest(&scene).await;
    scene.exec(Side::A, "DELETE FROM item WHERE id = 1").await;
    scene.exec(Side::B, "DELETE FROM item WHERE id = 2").await;
    for (side, id, link) in [(Side::A, 1, "b->a"), (Side::B, 2, "a->b")] {
        let db = scene.db(side);
        let stones = stones(&scene, side).await;
        let marked = format!("{stones} WHERE id = {id} AND tidelock_generation IS NOT NULL");
        eventually(
            LIMIT,
            &format!("the tombstone to be marked on {side:?}"),
            async || db.count(&marked).await == 1,
        )
        .await;
        let number = format!("SELECT tidelock_generation FROM {stones} WHERE id = {id}");
        let number: i64 = db.one(&number).await.parse().unwrap();
        let lease = format!(
            "SELECT instance FROM tidelock.lease WHERE sync = '{}' AND link = '{link}'",
            scene.sync
        );
        let holder = db.one(&lease).await;
        let (engine, schema) = match db.kind().is_postgres() {
            true => (Engine::Postgres, "public"),
            false => (Engine::Mysql, db.name()),
        };
        let access = harness::access("here", &db.run_url());
        let mut node = Node::connect(&access, engine).await.unwrap();
        node.open_collection().await.unwrap();
        let table = TableId::new(schema, "item");
        let found = node.catalog(std::slice::from_ref(&table)).await.unwrap();
        let batch = Batch {
            table: Arc::new(found[0].as_ref().unwrap().table.clone()),
            stones: stones.replace("tidelock.", ""),
            number,
            me: 1,
            at_us: 0,
        };
        let stone = format!("{stones} WHERE id = {id}");
        for (instance, gone) in [("another", false), (holder.as_str(), true)] {
            let holder = Holder {
                sync: &scene.sync,
                link,
                instance,
            };
            let before = floor(&scene, side).await;
            let dropped = node.drop_tombstones(&batch, holder).await.unwrap();
            assert_eq!(dropped == Dropped::Fenced, !gone, "{instance}: {dropped:?}");
            assert_eq!(db.count(&stone).await, i64::from(!gone), "{instance} on {side:?}");
            assert_eq!(floor(&scene, side).await > before, gone, "{instance} on {side:?}");
        }
    }
}
