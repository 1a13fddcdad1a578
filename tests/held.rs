//! One table of a merge stops: it is held, the others go on, and it catches up without a change lost or doubled.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use std::time::{Duration, Instant};

use harness::eventually;
use scenario::{COUNTER, DONE, ITEM, LIMIT, Loader, Pair, Scene, Side, Table, Way};

pairs! {
    a_table_lacking_a_column_to_b => |pair| lacking_column("held_to_b", pair, Side::A);
    a_table_lacking_a_column_to_a => |pair| lacking_column("held_to_a", pair, Side::B);
    one_way_every_change_once_to_b => |pair| counted("counted_to_b", pair, Way::AToB);
    one_way_every_change_once_to_a => |pair| counted("counted_to_a", pair, Way::BToA);
    truncate_is_skipped_for_its_table => truncate_is_skipped;
    killed_while_held_and_while_catching_up => killed;
    a_purged_log_is_refused_for_the_table_alone => purged;
}

/// The table that stops.
const WIDE: Table = Table {
    name: "wide",
    body: "id int NOT NULL PRIMARY KEY, n int NOT NULL",
    key: &["id"],
    columns: &["n"],
};

const ON_STOP: &str = "on_stop = \"table\"";
const ALTER: &str = "ALTER TABLE wide ADD COLUMN more int";

fn link(source: Side) -> &'static str {
    if source == Side::A { "a->b" } else { "b->a" }
}

async fn held(scene: &Scene, target: Side) -> u64 {
    let sql = format!(
        "SELECT count(*) FROM tidelock.held_table WHERE sync = '{}' AND NOT resumed",
        scene.sync
    );
    scene.db(target).one(&sql).await.parse().unwrap()
}

async fn until_held(scene: &mut Scene, target: Side, count: u64) {
    let limit = Instant::now() + LIMIT;
    while held(scene, target).await != count {
        scene.assert_running();
        assert!(
            Instant::now() < limit,
            "it never holds {count} tables: {}",
            scene.lock.log()
        );
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

async fn until_level(scene: &Scene, target: Side) {
    let sql = format!(
        "SELECT count(*) FROM tidelock.held_table WHERE sync = '{}'",
        scene.sync
    );
    eventually(LIMIT, "no table is held", async || {
        scene.db(target).one(&sql).await == "0"
    })
    .await;
}

/// Fills both tables with rows of a side.
async fn fill(scene: &Scene, side: Side, base: i64) {
    let rows: Vec<String> = (base..base + 20).map(|id| format!("({id}, 0)")).collect();
    let rows = rows.join(", ");
    let statements =
        format!("INSERT INTO wide (id, n) VALUES {rows}; INSERT INTO counter (id, n) VALUES {rows}");
    scene.exec(side, &statements).await;
}

/// Each transaction raises a row of each table, so that both show how often it was applied.
async fn raise(scene: &Scene, side: Side, base: i64, times: i64) {
    let mut session = scene.db(side).session().await;
    for turn in 0..times {
        let id = base + turn % 20;
        for statement in [
            "BEGIN".to_owned(),
            format!("UPDATE wide SET n = n + 1 WHERE id = {id}"),
            format!("UPDATE counter SET n = n + 1 WHERE id = {id}"),
            "COMMIT".to_owned(),
        ] {
            session.exec(&statement).await;
        }
    }
}

async fn sum(scene: &Scene, side: Side, table: &str) -> String {
    scene.db(side).one(&format!("SELECT sum(n) FROM {table}")).await
}

/// What the table's own session of DDL asks for, as an operator would run it.
async fn mend(scene: &Scene, target: Side) {
    scene.exec(target, ALTER).await;
    scene.lock.ok(&["setup", "--execute"]).await;
}

/// After DDL on MySQL and MariaDB the triggers are old, which ends a run until `setup` has made them anew.
async fn altered(scene: &mut Scene, source: Side) {
    scene.stop().await;
    scene.exec(source, ALTER).await;
    scene.lock.ok(&["setup", "--execute"]).await;
}

async fn lacking_column(hint: &str, pair: Pair, source: Side) {
    let target = source.other();
    let mut scene = Scene::new(hint, pair, Way::Merge, &[COUNTER, WIDE]).await;
    let key = "ALTER TABLE counter ADD FOREIGN KEY (id) REFERENCES wide (id)";
    scene.exec(target, key).await;
    scene.configure("from:a", ON_STOP);
    scene.start().await;
    fill(&scene, Side::A, 0).await;
    fill(&scene, Side::B, 100).await;
    scene.wait_equal().await;

    altered(&mut scene, source).await;
    scene.run().await;
    raise(&scene, source, if source == Side::A { 0 } else { 100 }, 40).await;
    until_held(&mut scene, target, 1).await;
    // The other table of the same transactions goes on, both tables of the other direction do.
    raise(&scene, target, if target == Side::A { 0 } else { 100 }, 40).await;
    raise(&scene, source, if source == Side::A { 0 } else { 100 }, 20).await;
    scene.crossed().await;
    assert_eq!(sum(&scene, target, "counter").await, "100");
    assert_eq!(sum(&scene, source, "counter").await, "100");
    assert_eq!(sum(&scene, source, "wide").await, "100");
    assert_eq!(
        sum(&scene, target, "wide").await,
        "40",
        "the held table was written"
    );
    told(&scene, source).await;

    // Held all through a restart.
    scene.stop().await;
    scene.run().await;
    raise(&scene, source, if source == Side::A { 0 } else { 100 }, 20).await;
    scene.crossed().await;
    assert_eq!(sum(&scene, target, "counter").await, "120");
    assert_eq!(
        sum(&scene, target, "wide").await,
        "40",
        "a restart took the held table up"
    );

    // Taken up without having been mended: it is held again, and nothing is lost.
    scene.lock.ok(&["resume", link(source), "--table", "wide"]).await;
    until_held(&mut scene, target, 1).await;
    scene.stop().await;
    mend(&scene, target).await;
    scene.run().await;
    let load = raise(&scene, source, if source == Side::A { 0 } else { 100 }, 40);
    let resume = async {
        scene.lock.ok(&["resume", link(source), "--table", "wide"]).await;
    };
    tokio::join!(load, resume);
    raise(&scene, target, if target == Side::A { 0 } else { 100 }, 20).await;
    until_level(&scene, target).await;
    scene.wait_equal().await;
    for side in [source, target] {
        assert_eq!(sum(&scene, side, "wide").await, "180");
        assert_eq!(sum(&scene, side, "counter").await, "180");
    }
    scene.assert_no_conflicts().await;
    scene.stop().await;
}

async fn told(scene: &Scene, source: Side) {
    let status = scene.lock.ok(&["status"]).await;
    let resume = format!("tidelock resume '{}/{}' --table", scene.sync, link(source));
    for word in ["wide is held since", "ADD COLUMN", &resume, "counter refer to it"] {
        assert!(status.contains(word), "{word} is not in {status}");
    }
    let check = scene.lock.run(&["check"]).await;
    assert!(check.stdout.contains("W451"), "{}{}", check.stdout, check.stderr);
}

/// One way nothing but the position says what is applied: each change once, in any number of steps.
async fn counted(hint: &str, pair: Pair, way: Way) {
    let source = way.sources()[0];
    let target = source.other();
    let mut scene = Scene::new(hint, pair, way, &[COUNTER, WIDE, ITEM]).await;
    let seed = if source == Side::A { "from:a" } else { "from:b" };
    scene.configure(seed, ON_STOP);
    scene.start().await;
    // Rows without a row before them: a second time would be a conflict, and a lost one a hole.
    fill(&scene, source, 0).await;
    scene.wait_equal().await;
    scene.exec(source, ALTER).await;
    raise(&scene, source, 0, 30).await;
    until_held(&mut scene, target, 1).await;
    // A second table stops, at another place.
    scene.exec(source, "ALTER TABLE item ADD COLUMN more int; INSERT INTO item (id, name, n, more) VALUES (1, 'x', 1, 5)").await;
    until_held(&mut scene, target, 2).await;
    raise(&scene, source, 0, 30).await;
    scene
        .exec(
            source,
            "INSERT INTO item (id, name, n, more) VALUES (2, 'y', 1, 5); DELETE FROM item WHERE id = 1",
        )
        .await;
    scene.crossed().await;
    assert_eq!(sum(&scene, target, "counter").await, "60");
    assert_eq!(sum(&scene, target, "wide").await, "0");
    assert_eq!(scene.db(target).count("item").await, 0);

    scene.stop().await;
    scene.exec(target, "ALTER TABLE item ADD COLUMN more int").await;
    mend(&scene, target).await;
    scene.run().await;
    for table in ["wide", "item"] {
        scene.lock.ok(&["resume", link(source), "--table", table]).await;
    }
    raise(&scene, source, 0, 30).await;
    until_level(&scene, target).await;
    scene.wait_equal().await;
    assert_eq!(sum(&scene, target, "wide").await, "90");
    assert_eq!(scene.db(target).count("item").await, 1);
    scene.assert_no_conflicts().await;
    scene.stop().await;
}

async fn truncate_is_skipped(pair: Pair) {
    let mut scene = Scene::new("held_skip", pair, Way::Merge, &[COUNTER, WIDE]).await;
    scene.configure("from:a", ON_STOP);
    scene.start().await;
    for source in [Side::A, Side::B] {
        let (target, base) = (source.other(), if source == Side::A { 0 } else { 100 });
        fill(&scene, source, base).await;
        scene.wait_equal().await;
        scene.exec(source, "TRUNCATE TABLE wide").await;
        scene
            .exec(source, "INSERT INTO wide (id, n) VALUES (999, 1)")
            .await;
        until_held(&mut scene, target, 1).await;
        scene.crossed().await;
        let before = scene.db(target).count("wide").await;
        assert!(before >= 20, "{before}");

        scene.stop().await;
        let once = scene.lock.run(&["run", "--once"]).await;
        assert_eq!(
            once.code, 1,
            "a run that leaves a table behind says so: {}",
            once.stderr
        );
        let at = once
            .stderr
            .split("--at '")
            .nth(1)
            .unwrap()
            .split('\'')
            .next()
            .unwrap()
            .to_owned();
        let plan = scene.lock.ok(&["skip", link(source), "--at", &at]).await;
        assert!(plan.contains("would skip") && plan.contains("wide"), "{plan}");
        scene.run().await;
        scene
            .lock
            .ok(&["skip", link(source), "--at", &at, "--execute"])
            .await;
        until_level(&scene, target).await;
        let twice = scene
            .lock
            .run(&["skip", link(source), "--at", &at, "--execute"])
            .await;
        assert_eq!(twice.code, 5, "{}", twice.stderr);
        let rows = scene.db(target).count("wide").await;
        assert_eq!(
            rows,
            before + 1,
            "the skipped TRUNCATE was applied, or what follows it was not"
        );
        // Made equal by hand.
        scene.exec(target, "DELETE FROM wide").await;
        scene.wait_equal().await;
    }
    scene.stop().await;
}

/// Sudden death at any place: while the table is held, while it catches up, and while it stops again.
async fn killed(pair: Pair) {
    let mut scene = Scene::new("held_killed", pair, Way::AToB, &[COUNTER, WIDE, DONE]).await;
    scene.configure(
        "from:a",
        &format!("{ON_STOP}\n[limits]\ngroup_rows_max = 30\nlease_ttl_s = 2"),
    );
    scene.start().await;
    fill(&scene, Side::A, 0).await;
    scene.wait_equal().await;
    altered(&mut scene, Side::A).await;
    scene.run().await;
    let load = tokio::spawn({
        let mut loader = Loader::new(scene.a.kind(), scene.a.owner_url(), "done");
        async move {
            for turn in 0..300_u64 {
                let id = turn % 20;
                let raise = |table| format!("UPDATE {table} SET n = n + 1 WHERE id = {id}");
                // A second time these would be conflicts.
                let new = format!("INSERT INTO wide (id, n) VALUES ({}, 0)", 10_000 + turn);
                let old = format!("DELETE FROM wide WHERE id = {}", 9_997 + turn);
                let statements = [raise("wide"), raise("counter"), new, old];
                loader.once(1_000 + turn, &statements).await;
            }
        }
    });
    for _ in 0..3 {
        scene.lock.kill9().await;
        scene.run().await;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    until_held(&mut scene, Side::B, 1).await;
    scene.lock.kill9().await;
    scene.exec(Side::B, ALTER).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.run().await;
    scene.lock.ok(&["resume", "a->b", "--table", "wide"]).await;
    let mut kills = 0;
    let sql = format!(
        "SELECT count(*) FROM tidelock.held_table WHERE sync = '{}'",
        scene.sync
    );
    while kills < 12 && scene.b.one(&sql).await != "0" {
        tokio::time::sleep(Duration::from_millis(150 + 90 * kills)).await;
        scene.lock.kill9().await;
        scene.run().await;
        kills += 1;
    }
    assert!(kills >= 3, "it caught up before it was killed: {kills}");
    load.await.unwrap();
    until_level(&scene, Side::B).await;
    scene.wait_equal().await;
    assert_eq!(sum(&scene, Side::B, "wide").await, "300");
    scene.assert_no_conflicts().await;
    scene.stop().await;
}

/// The log that the table needs is gone: it is never taken up from a later place, and the others go on.
async fn purged(pair: Pair) {
    let mut scene = Scene::with_b("held_purged", pair, Way::BToA, &[COUNTER, WIDE], &[]).await;
    scene.configure("from:b", ON_STOP);
    scene.start().await;
    fill(&scene, Side::B, 0).await;
    scene.wait_equal().await;
    altered(&mut scene, Side::B).await;
    scene.run().await;
    raise(&scene, Side::B, 0, 10).await;
    until_held(&mut scene, Side::A, 1).await;
    scene.b.admin().await.exec("FLUSH BINARY LOGS").await;
    raise(&scene, Side::B, 0, 10).await;
    scene.crossed().await;
    scene.stop().await;
    let mut admin = scene.b.admin().await;
    let logs = admin.rows("SHOW BINARY LOGS").await;
    let last = logs.last().and_then(|row| row[0].clone()).unwrap();
    // A file that a session reads is left alone, and ours takes a moment to end.
    eventually(LIMIT, "the log is purged", async || {
        admin.exec(&format!("PURGE BINARY LOGS TO '{last}'")).await;
        admin
            .rows("SHOW BINARY LOGS")
            .await
            .first()
            .and_then(|row| row[0].clone())
            == Some(last.clone())
    })
    .await;
    mend(&scene, Side::A).await;
    scene.lock.ok(&["resume", "b->a", "--table", "wide"]).await;
    scene.run().await;
    until_held(&mut scene, Side::A, 1).await;
    raise(&scene, Side::B, 0, 10).await;
    scene.crossed().await;
    assert_eq!(sum(&scene, Side::A, "counter").await, "30");
    assert_eq!(
        sum(&scene, Side::A, "wide").await,
        "0",
        "a later part of the log was applied"
    );
    let status = scene.lock.ok(&["status"]).await;
    assert!(status.contains("only a new copy helps"), "{status}");
    let teardown = format!("tidelock teardown --sync {} --execute", scene.sync);
    assert!(status.contains(&teardown), "{status}");
    scene.stop().await;
}
