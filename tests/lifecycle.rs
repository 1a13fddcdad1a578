//! Coming and going: set-up, status, the record of conflicts, SIGTERM, a second copy, teardown.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use std::time::Duration;

use harness::{Tidelock, eventually};
use scenario::{ITEM, LIMIT, Pair, SEAT, Scene, Side, Way};
use serde_json::Value as Json;

all_pairs! {
    leaves_on_sigterm_under_load => leaves_on_sigterm_under_load;
    setup_twice_and_teardown => setup_twice_and_teardown;
    status_and_conflicts_tell => status_and_conflicts_tell;
}

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in: {text}"))
}

/// One JSON document on stdout.
async fn document(lock: &Tidelock, arguments: &[&str]) -> Json {
    let document = json(&lock.ok(&[arguments, &["--json"]].concat()).await);
    assert_eq!(document["schema"], 1, "{document}");
    document
}

/// A writer on each side until told to stop; returns how many rows each has inserted.
struct Writers {
    over: tokio_util::sync::CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<i64>>,
}

impl Writers {
    async fn start(scene: &Scene) -> Self {
        let over = tokio_util::sync::CancellationToken::new();
        let mut tasks = vec![];
        for (side, base) in [(Side::A, 0_i64), (Side::B, 1_000_000)] {
            let (mut session, over) = (scene.db(side).session().await, over.clone());
            tasks.push(tokio::spawn(async move {
                let mut count = 0;
                while !over.is_cancelled() {
                    count += 1;
                    let id = base + count;
                    session
                        .exec(&format!("INSERT INTO item VALUES ({id}, 'load', 0, NULL)"))
                        .await;
                    session
                        .exec(&format!(
                            "UPDATE item SET n = n + 1 WHERE id > {id} - 5 AND id <= {id}"
                        ))
                        .await;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                count
            }));
        }
        Self { over, tasks }
    }

    async fn stop(self) -> i64 {
        self.over.cancel();
        let mut sum = 0;
        for task in self.tasks {
            sum += task.await.unwrap();
        }
        sum
    }
}

async fn leaves_on_sigterm_under_load(pair: Pair) {
    let mut scene = Scene::new("term", pair, Way::Merge, &[ITEM]).await;
    scene.start().await;
    let writers = Writers::start(&scene).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        scene.stop().await;
        scene.run().await;
    }
    let inserted = writers.stop().await;
    scene.wait_equal().await;
    assert_eq!(scene.a.count("item").await, inserted);
    scene.assert_no_conflicts().await;
    scene.stop().await;
}

async fn setup_twice_and_teardown(pair: Pair) {
    let mut scene = Scene::new("setup", pair, Way::Merge, &[ITEM, SEAT]).await;
    scene
        .exec(Side::A, "INSERT INTO item VALUES (1, 'a', 1, 'x')")
        .await;
    // Without --execute it is a plan.
    let plan = document(&scene.lock, &["setup"]).await;
    assert_eq!(plan["executed"], false);
    assert_eq!(ours(&scene).await, [0, 0], "a plan has changed something");
    let script = scene.lock.ok(&["setup", "--print-sql"]).await;
    assert!(
        script.contains("tidelock_version") && script.contains("TRIGGER"),
        "{script}"
    );
    let early = scene.lock.run(&["run", "--once"]).await;
    assert!(
        early.code == 3 && early.stderr.contains("tidelock setup"),
        "{}: {}",
        early.code,
        early.stderr
    );

    scene.lock.ok(&["setup", "--execute"]).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let plan = document(&scene.lock, &["setup"]).await;
    for node in plan["nodes"].as_array().unwrap() {
        let mut statements = node["statements"].as_array().unwrap().clone();
        // An owner who may not look into `mysql.user` cannot see what others hold, so it is granted again.
        if !node["server"].as_str().unwrap().starts_with("PostgreSQL") {
            statements.retain(|sql| !sql.as_str().unwrap().starts_with("GRANT "));
        }
        assert!(
            statements.is_empty(),
            "a second set-up finds nothing to do: {statements:?}"
        );
    }
    scene.lock.ok(&["check"]).await;
    scene.lock.ok(&["run", "--once"]).await;
    scene.assert_equal().await;

    scene.lock.spawn();
    eventually(LIMIT, "a copy to run the links", async || {
        let status = document(&scene.lock, &["status"]).await;
        status["links"][0]["run_by"].is_string()
    })
    .await;
    let refused = scene.lock.run(&["teardown", "--execute"]).await;
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(refused.stderr.contains("runs link "), "{}", refused.stderr);
    scene.lock.term().await;
    let plan = document(&scene.lock, &["teardown"]).await;
    assert_eq!(plan["executed"], false);
    assert_ne!(ours(&scene).await, [0, 0]);
    scene.lock.ok(&["teardown", "--execute"]).await;
    assert_eq!(ours(&scene).await, [0, 0], "teardown left something behind");
    scene.lock.ok(&["teardown", "--execute"]).await;
    for side in [Side::A, Side::B] {
        assert_eq!(
            scene
                .db(side)
                .rows("SELECT id, name, n, note FROM item")
                .await
                .len(),
            1
        );
        scene.exec(side, "INSERT INTO item VALUES (2, 'b', 2, NULL); UPDATE item SET n = 5; DELETE FROM item WHERE id = 1").await;
    }
    // And anew, from the first copy on.
    scene.exec(Side::B, "DELETE FROM item").await;
    scene.start().await;
    scene.wait_equal().await;
    scene
        .exec(Side::B, "INSERT INTO item VALUES (3, 'c', 3, NULL)")
        .await;
    scene.wait_equal().await;
    scene.assert_no_conflicts().await;
}

/// Slots, publications and triggers of this sync, and its rows in the control tables, on each side.
async fn ours(scene: &Scene) -> [i64; 2] {
    let sync = &scene.sync;
    let mut counts = [0, 0];
    let number = async |side: Side, sql: String| scene.db(side).one(&sql).await.parse::<i64>().unwrap();
    for (index, side) in [Side::A, Side::B].into_iter().enumerate() {
        let db = scene.db(side);
        let queries = match db.kind().is_postgres() {
            true => vec![
                "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()".to_owned(),
                "SELECT count(*) FROM pg_publication".to_owned(),
                "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal".to_owned(),
            ],
            false => vec![format!(
                "SELECT count(*) FROM information_schema.triggers WHERE trigger_schema = '{}'",
                db.name()
            )],
        };
        for sql in queries {
            counts[index] += number(side, sql).await;
        }
        for table in ["checkpoint", "node", "table_state"] {
            let exists = format!(
                "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'tidelock' AND table_name = '{table}'"
            );
            if number(side, exists).await == 1 {
                counts[index] += number(
                    side,
                    format!("SELECT count(*) FROM tidelock.{table} WHERE sync = '{sync}'"),
                )
                .await;
            }
        }
    }
    counts
}

async fn status_and_conflicts_tell(pair: Pair) {
    let mut scene = Scene::new("status", pair, Way::Merge, &[ITEM]).await;
    let before = document(&scene.lock, &["status"]).await;
    assert_eq!(before["links"][0]["state"], "not set up", "{before}");
    scene
        .exec(
            Side::A,
            "INSERT INTO item VALUES (1, 'a', 1, 'agreed'); INSERT INTO item VALUES (2, 'a', 1, 'agreed')",
        )
        .await;
    scene.start().await;
    scene.wait_equal().await;
    let none = document(&scene.lock, &["conflicts", "list"]).await;
    assert_eq!(none["conflicts"], serde_json::json!([]));
    scene
        .apart(
            "UPDATE item SET note = 'of a' WHERE id = 1",
            "UPDATE item SET note = 'of b' WHERE id = 1",
        )
        .await;

    eventually(LIMIT, "both links to be alive in status", async || {
        let status = document(&scene.lock, &["status"]).await;
        let links = status["links"].as_array().unwrap();
        let alive = |link: &Json| {
            ["running", "in step", "moving", "streaming"].contains(&link["state"].as_str().unwrap())
        };
        links.len() == 2 && links.iter().all(alive)
    })
    .await;
    let status = document(&scene.lock, &["status"]).await;
    for (index, name) in [(0, "a->b"), (1, "b->a")] {
        let link = &status["links"][index];
        assert_eq!(
            (&link["link"], &link["sync"]),
            (&name.into(), &scene.sync.as_str().into()),
            "{status}"
        );
        assert_eq!(
            (&link["conflicts_open"], &link["conflicts_total"]),
            (&0.into(), &1.into()),
            "{status}"
        );
        assert!(
            link["position"].is_string() && link["seq"].as_i64().unwrap() >= 0,
            "{status}"
        );
    }
    let text = scene.lock.ok(&["status"]).await;
    assert!(
        text.contains("a->b") && text.contains("b->a") && text.contains("0 open of 1"),
        "{text}"
    );

    let list = document(&scene.lock, &["conflicts", "list"]).await;
    let found = list["conflicts"].as_array().unwrap();
    assert_eq!(found.len(), 2, "one on each side: {list}");
    assert_eq!(
        found[0]["id"], found[1]["id"],
        "one conflict has one id on all nodes"
    );
    for conflict in found {
        assert_eq!(
            (&conflict["kind"], &conflict["key"]),
            (&"update_origin_differs".into(), &serde_json::json!([1]))
        );
    }
    let of_a = found.iter().find(|c| c["node"] == "a").unwrap();
    assert_eq!(
        (&of_a["outcome"], &of_a["rule"]),
        (&"applied".into(), &"newest".into()),
        "{of_a}"
    );
    let name = format!("a:{}", of_a["number"]);
    let shown = document(&scene.lock, &["conflicts", "show", &name]).await;
    let rows = &shown["conflict"];
    let notes = [
        &rows["base"]["note"],
        &rows["local"]["note"],
        &rows["incoming"]["note"],
    ];
    assert_eq!(notes, ["agreed", "of a", "of b"], "{shown}");
    let text = scene.lock.ok(&["conflicts", "list"]).await;
    assert!(
        text.contains(&name) && text.contains("update_origin_differs"),
        "{text}"
    );
    let text = scene.lock.ok(&["conflicts", "show", &name]).await;
    assert!(
        ["agreed", "of a", "of b"].iter().all(|note| text.contains(note)),
        "{text}"
    );
    let unknown = scene.lock.run(&["conflicts", "show", "a:999999999"]).await;
    assert!(
        unknown.code != 0 && unknown.stderr.contains("hint:"),
        "{}",
        unknown.stderr
    );

    scene.stop().await;
    // It gave its leases back, on every engine.
    let status = document(&scene.lock, &["status"]).await;
    for link in status["links"].as_array().unwrap() {
        assert_eq!(link["state"], "stopped", "{status}");
        let why = link["why"].as_str().unwrap();
        assert!(why.contains("nobody runs it: the lease of"), "{why}");
    }
    // Killed, it could not: its leases run out.
    scene.run().await;
    scene.streaming().await;
    scene.wait_equal().await;
    scene.lock.kill9().await;
    eventually(LIMIT, "both links to be told as stopped", async || {
        let status = document(&scene.lock, &["status"]).await;
        let links = status["links"].as_array().unwrap();
        links.iter().all(|link| link["state"] == "stopped")
    })
    .await;
}
