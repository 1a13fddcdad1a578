//! `tidelock resync TABLE --where`: some rows are compared, and of all others nothing is lost and nothing hidden.

use super::harness::{Kind, eventually};
use super::scenario::{ITEM, LIMIT, Pair, Scene, Side, Way};
use super::{fill, lose, over};

const SMALL: &str = "n < 100";

/// One way from PostgreSQL, or from MariaDB.
fn way(pair: Pair) -> (Way, Side) {
    match pair.0 {
        Kind::Postgres18 => (Way::AToB, Side::A),
        _ => (Way::BToA, Side::B),
    }
}

async fn ask(scene: &Scene, table: &str, condition: &str) -> String {
    let asked = ["resync", table, "--where", condition, "--execute"];
    scene.lock.ok(&asked).await
}

async fn expect(scene: &Scene, side: Side, wanted: &[(&str, i64)]) {
    for (what, count) in wanted {
        let found = scene.db(side).count(&format!("item WHERE {what}")).await;
        assert_eq!(found, *count, "{what} on {side:?}");
    }
}

/// A row that the condition takes on either side is made what the source has; others stay, and the stream goes on for all.
pub(crate) async fn rows_of_a_condition_are_level_and_no_others(pair: Pair) {
    let (way, source) = way(pair);
    let target = source.other();
    let mut scene = Scene::new("resync_where", pair, way, &[ITEM]).await;
    fill(&scene, source).await;
    scene.start().await;
    scene.wait_equal().await;
    let drift = "UPDATE item SET n = -1 WHERE id = 5; DELETE FROM item WHERE id = 6; UPDATE item SET n = 5000 WHERE id = 7;
        UPDATE item SET n = 50 WHERE id = 500; UPDATE item SET name = 'drift' WHERE id = 501; DELETE FROM item WHERE id = 502;
        INSERT INTO item VALUES (9998, 'no', 1, NULL), (9999, 'no', 5000, NULL)";
    scene.exec(target, drift).await;
    let (link, schema) = match target {
        Side::A => ("b->a", "public".to_owned()),
        Side::B => ("a->b", scene.b.name().to_owned()),
    };
    let mark = format!(
        "INSERT INTO tidelock.out_of_sync (sync, link, schema_name, table_name, position) \
         VALUES ('{}', '{link}', '{schema}', 'item', 'x')",
        scene.sync
    );
    scene.exec(target, &mark).await;
    let plan = scene.lock.ok(&["resync", "item", "--where", SMALL]).await;
    assert!(
        plan.contains("where n < 100") && plan.contains("stays marked"),
        "{plan}"
    );
    ask(&scene, "item", SMALL).await;
    // Rows that it does not look at, before and after the table is held: one at a time, so that some fall between.
    let under_way = format!("tidelock.resync WHERE sync = '{}'", scene.sync);
    let (mut touched, limit) = (0, tokio::time::Instant::now() + LIMIT);
    while scene.db(target).count(&under_way).await > 0 {
        assert!(tokio::time::Instant::now() < limit, "it does not end");
        let touch = format!("UPDATE item SET n = n + 10000 WHERE id = {}", 600 + touched % 390);
        scene.exec(source, &touch).await;
        touched += 1;
    }
    scene.crossed().await;
    let touches = "SELECT sum(n) FROM item WHERE id >= 600 AND id < 990";
    let level = [
        ("id = 5 AND n = 5", 1),
        ("id = 6", 1),
        ("id = 7 AND n = 7", 1),
        ("id = 500 AND n = 500", 1),
        ("id = 501 AND name = 'drift'", 1),
        ("id = 502", 0),
        ("id = 9998", 0),
        ("id = 9999 AND n = 5000", 1),
    ];
    expect(&scene, target, &level).await;
    let (here, there) = (
        scene.db(source).one(touches).await,
        scene.db(target).one(touches).await,
    );
    assert_eq!(here, there, "what happened to others arrives, once");
    let mut kinds: Vec<(String, String)> = scene
        .conflicts(target)
        .await
        .iter()
        .map(|found| (found.key.to_string(), found.kind.clone()))
        .collect();
    kinds.sort();
    let differed = |key: &str| (key.to_owned(), "insert_exists".to_owned());
    let gone = ("[9998]".to_owned(), "delete_origin_differs".to_owned());
    assert_eq!(kinds, [differed("[500]"), differed("[5]"), differed("[7]"), gone]);
    let marks = format!("tidelock.out_of_sync WHERE sync = '{}'", scene.sync);
    assert_eq!(
        scene.db(target).count(&marks).await,
        1,
        "some rows do not tell that a table is level"
    );
    scene.lock.ok(&["resync", "item", "--execute"]).await;
    over(&mut scene).await;
    scene.wait_equal().await;
    assert_eq!(scene.db(target).count(&marks).await, 0);
}

/// Some rows of every table are not every row: what the link has not read yet is not given up.
pub(crate) async fn the_place_in_the_log_stays(pair: Pair) {
    let (way, source) = way(pair);
    let mut scene = Scene::new("resync_place", pair, way, &[ITEM]).await;
    fill(&scene, source).await;
    scene.start().await;
    scene.wait_equal().await;
    scene.stop().await;
    scene
        .exec(source, "UPDATE item SET n = n + 10000 WHERE id > 900")
        .await;
    ask(&scene, "item", SMALL).await;
    ask(&scene, "probe", "id < 0").await;
    let told = scene.lock.run(&["status"]).await.stdout;
    assert!(told.contains("item where n < 100"), "{told}");
    scene.run().await;
    over(&mut scene).await;
    scene.wait_equal().await;
}

/// While a table catches up, what is read of rows that were not looked at meets drift as always.
pub(crate) async fn drift_of_others_is_told_in_the_catch_up(pair: Pair) {
    let (way, source) = way(pair);
    let target = source.other();
    let mut scene = Scene::new("resync_drift", pair, way, &[ITEM]).await;
    fill(&scene, source).await;
    scene.start().await;
    scene.wait_equal().await;
    let drift = "INSERT INTO item VALUES (9000, 'mine', 5000, NULL)";
    scene.exec(target, drift).await;
    ask(&scene, "item", SMALL).await;
    let held = format!(
        "tidelock.resync WHERE sync = '{}' AND state <> 'asked'",
        scene.sync
    );
    let (db, mut rounds) = (scene.db(target), 0);
    eventually(LIMIT, "the table is held", async || db.count(&held).await == 1).await;
    // It is copied or catches up: what is written until then is read again, and later things by the stream as ever.
    scene
        .exec(source, "INSERT INTO item VALUES (9000, 'new', 6000, NULL)")
        .await;
    while scene.db(target).count(&held).await > 0 && rounds < 2000 {
        rounds += 1;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    scene.wait_equal().await;
    let found = scene.conflicts(target).await;
    let found: Vec<(&str, String)> = found
        .iter()
        .map(|found| (found.kind.as_str(), found.key.to_string()))
        .collect();
    assert_eq!(found, [("insert_exists", "[9000]".to_owned())]);
}

/// Two ways: versions and tombstones decide for the rows that the condition takes, and no others are looked at.
pub(crate) async fn a_merge_makes_up_for_some_rows(pair: Pair) {
    let mut scene = Scene::new("resync_some", pair, Way::Merge, &[ITEM]).await;
    fill(&scene, Side::A).await;
    scene.start().await;
    scene.wait_equal().await;
    scene.stop().await;
    let missed = "UPDATE item SET n = -5 WHERE id = 10; UPDATE item SET n = 5000 WHERE id = 15; DELETE FROM item WHERE id = 20;
        UPDATE item SET n = 1 WHERE id = 800; UPDATE item SET name = 'missed' WHERE id = 900; DELETE FROM item WHERE id = 700";
    scene.exec(Side::A, missed).await;
    lose(&scene).await;
    scene
        .exec(Side::B, "UPDATE item SET n = 6, note = 'b' WHERE id = 6")
        .await;
    scene.run().await;
    scene.crossed().await;
    ask(&scene, "item", SMALL).await;
    over(&mut scene).await;
    scene.crossed().await;
    let level = [
        ("id = 10 AND n = -5", 1),
        ("id = 15 AND n = 5000", 1),
        ("id = 20", 0),
        ("id = 800 AND n = 1", 1),
        ("id = 900 AND name = 'missed'", 0),
        ("id = 700", 1),
        ("id = 6 AND note = 'b'", 1),
    ];
    expect(&scene, Side::B, &level).await;
    expect(
        &scene,
        Side::A,
        &[("id IN (20, 700)", 0), ("id = 6 AND note = 'b'", 1)],
    )
    .await;
}

/// What cannot be judged, or would leave something undone, is told before anything is asked for.
pub(crate) async fn conditions_are_judged_before_they_are_asked(pair: Pair) {
    let mut scene = Scene::new("resync_judged", pair, Way::AToB, &[ITEM]).await;
    scene.configure(
        "from:a",
        "[sync.table.item]\nskip = [\"note\"]\ncolumn.name = { mask = true }",
    );
    scene.start().await;
    for (condition, wanted) in [
        ("n << 5", "--where:1:"),
        ("m = 5", "column \"m\" cannot be asked for"),
        ("m = 5", "id, n"),
        ("note IS NULL", "column \"note\" cannot be asked for"),
        ("name = 'x'", "column \"name\" cannot be asked for"),
        ("n = 'x'", "n: here it meets a number without quotes"),
    ] {
        let run = scene.lock.run(&["resync", "item", "--where", condition]).await;
        assert_eq!(run.code, 1, "{condition}: {run:?}");
        assert!(
            run.stderr.contains(wanted) && run.stderr.contains('^'),
            "{condition}: {run:?}"
        );
    }
    let run = scene.lock.run(&["resync", "--all", "--where", "n = 1"]).await;
    assert_eq!(run.code, 2, "{run:?}");
    scene.stop().await;
    // Nobody runs it, so the first stays asked for.
    scene.lock.ok(&["resync", "item", "--execute"]).await;
    let run = scene
        .lock
        .run(&["resync", "item", "--where", "n = 1", "--execute"])
        .await;
    assert_eq!(run.code, 5, "{run:?}");
    assert!(
        run.stderr.contains("a new copy of all its rows is asked for"),
        "{run:?}"
    );
}

/// `--from` limits the direction; what the plan says makes rows win does so.
pub(crate) async fn from_limits_the_direction(pair: Pair) {
    let mut scene = Scene::new("resync_from", pair, Way::Merge, &[ITEM]).await;
    fill(&scene, Side::A).await;
    scene.start().await;
    scene.wait_equal().await;
    scene.stop().await;
    scene.exec(Side::A, "UPDATE item SET n = -5 WHERE id < 10").await;
    lose(&scene).await;
    let twice = "UPDATE item SET n = -6 WHERE id = 3; UPDATE item SET n = -7 WHERE id = 3";
    scene.exec(Side::B, twice).await;
    scene.run().await;
    scene.crossed().await;
    let plan = scene.lock.ok(&["resync", "item", "--from", "a"]).await;
    assert!(plan.contains("a->b") && !plan.contains("b->a"), "{plan}");
    assert!(plan.contains("It does not make them win"), "{plan}");
    let told = plan.split_once("with that number as N: ").unwrap().1;
    let raise = told.split_once(" WHERE").unwrap().0;
    scene
        .lock
        .ok(&["resync", "item", "--from", "a", "--execute"])
        .await;
    over(&mut scene).await;
    scene.wait_equal().await;
    expect(&scene, Side::B, &[("n = -5", 9), ("id = 3 AND n = -7", 1)]).await;
    let asks = plan.split_once("SELECT max(").unwrap().1;
    let asks = asks.split_once(';').unwrap().0;
    let greatest: i64 = scene.b.one(&format!("SELECT max({asks}")).await.parse().unwrap();
    let raise = raise.replace("N + 1", &format!("{}", greatest + 1));
    scene
        .exec(
            Side::A,
            &format!("UPDATE item SET n = -9 WHERE id = 3; {raise} WHERE id = 3"),
        )
        .await;
    scene.wait_equal().await;
    expect(&scene, Side::B, &[("id = 3 AND n = -9", 1)]).await;
}
