//! What `check` finds before anything is written, what stops a round, and what an operator sees between rounds.

use super::{LEFT, images, target};
use crate::harness::{Kind, eventually};
use crate::scenario::{self, LIMIT, NEW, Pair, Scene, Side, Table, Way};
use serde_json::Value as Json;
use std::time::Duration;

crate::pairs! {
    check_finds_it => check_finds_it;
    a_restart_waits_for_its_time => a_restart_waits_for_its_time;
    a_lost_column_stops_the_link => a_lost_column_stops_the_link;
}

const STRICT: Table = Table {
    name: "strict_one",
    body: "id bigint NOT NULL PRIMARY KEY, n int",
    key: &["id"],
    columns: &["n"],
};

async fn codes(scene: &Scene) -> Vec<String> {
    let output = scene.lock.run(&["check", "--json"]).await;
    let document: Json =
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let mut codes: Vec<String> = ["nodes", "tables"]
        .iter()
        .flat_map(|part| document[*part].as_array().unwrap())
        .flat_map(|part| part["findings"].as_array().unwrap())
        .filter(|finding| finding["level"] != "ok")
        .map(|finding| finding["code"].as_str().unwrap().to_owned())
        .collect();
    codes.sort();
    codes.dedup();
    codes
}

/// No log is asked for, no key, no trigger; what the image could not fill is told.
async fn check_finds_it(pair: Pair) {
    let scene = Scene::new("imagecheck", pair, Way::AToB, &[STRICT]).await;
    for side in [Side::A, Side::B] {
        scene.exec(side, "CREATE TABLE keyless (n int)").await;
    }
    images(&scene, "\"strict_one\", \"keyless\"", "15m", "");
    scene.lock.ok(&["setup", "--execute"]).await;
    assert_eq!(codes(&scene).await, Vec::<String>::new());
    let slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'tidelock_imagecheck%'";
    assert_eq!(scene.a.one(slots).await, "0");
    scene
        .exec(Side::B, "ALTER TABLE strict_one ADD must int NOT NULL")
        .await;
    scene.exec(Side::A, "DROP TABLE keyless").await;
    let found = codes(&scene).await;
    for code in ["E302", "E505"] {
        assert!(found.iter().any(|found| found == code), "{code}: {found:?}");
    }
    let output = scene.lock.run(&["run", "--once"]).await;
    assert_eq!(output.code, 3, "{output:?}");
    scene.lock.ok(&["teardown", "--execute"]).await;
}

/// Images lie in temporary tables, which an administrator may have taken from everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn temporary_tables_are_a_right() {
    let scene = Scene::new(
        "imagetemp",
        Pair(Kind::Mysql, Kind::Postgres18),
        Way::AToB,
        &[STRICT],
    )
    .await;
    images(&scene, "\"strict_one\"", "15m", "");
    let (database, run) = (scene.b.name().to_owned(), scene.b.run_account().to_owned());
    scene
        .b
        .as_dba(&format!("REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC"))
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    // Setup has granted it.
    assert_eq!(codes(&scene).await, Vec::<String>::new());
    scene.lock.ok(&["run", "--once"]).await;
    scene
        .b
        .as_dba(&format!("REVOKE TEMPORARY ON DATABASE {database} FROM {run}"))
        .await;
    assert_eq!(codes(&scene).await, ["E109"]);
}

async fn status(scene: &Scene) -> Json {
    let output = scene.lock.run(&["status", "--json"]).await;
    let document: Json =
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    document["links"][0].clone()
}

async fn count(scene: &Scene) -> i64 {
    target(scene).count("left_side").await
}

async fn a_restart_waits_for_its_time(pair: Pair) {
    let mut scene = Scene::new("imagerest", pair, Way::AToB, &[LEFT]).await;
    images(&scene, "\"left_side\"", "1h", "[limits]\nlease_ttl_s = 2");
    scene
        .exec(Side::A, "INSERT INTO left_side VALUES (1, 1, 'x')")
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    assert_eq!(status(&scene).await["state"], "never started");
    let resting = async |scene: &Scene| status(scene).await["state"] == "resting";
    scene.run().await;
    eventually(LIMIT, "it rests", async || resting(&scene).await).await;
    let said = status(&scene).await;
    assert_eq!(
        (&said["round"]["rows"], &said["round"]["written"]),
        (&1.into(), &1.into()),
        "{said}"
    );
    assert!(said["why"].as_str().unwrap().starts_with("next at "), "{said}");
    assert_eq!(
        (&said["every"], &said["lag_ms"]),
        (&"1h".into(), &Json::Null),
        "{said}"
    );
    scene
        .exec(Side::A, "INSERT INTO left_side VALUES (2, 2, 'y')")
        .await;
    scene.lock.kill9().await;
    scene.run().await;
    eventually(LIMIT, "it rests again", async || resting(&scene).await).await;
    eventually(LIMIT, "it says so", async || {
        scene.lock.log().matches("rests until its next round").count() == 2
    })
    .await;
    assert_eq!(count(&scene).await, 1, "a restart made another image");
    let link = format!("{}/a->b", scene.sync);
    scene.lock.ok(&["pause", &link]).await;
    eventually(LIMIT, "it is paused", async || {
        status(&scene).await["state"] == "paused"
    })
    .await;
    scene.lock.ok(&["resume", &link]).await;
    eventually(LIMIT, "it rests after a pause", async || resting(&scene).await).await;
    scene.stop().await;
    assert_eq!(status(&scene).await["state"], "stopped");
    // Whoever asks for one gets it at once.
    scene.lock.ok(&["run", "--once"]).await;
    assert_eq!(count(&scene).await, 2);
    // A shorter time counts from the last image on.
    images(&scene, "\"left_side\"", "1s", "");
    scene
        .exec(
            Side::A,
            "TRUNCATE TABLE left_side; INSERT INTO left_side VALUES (3, 3, 'z')",
        )
        .await;
    scene.run().await;
    eventually(LIMIT, "the next image", async || count(&scene).await == 1).await;
    scene.stop().await;
    let shown = scene.lock.ok(&["status"]).await;
    assert!(
        shown.contains("image of 20") && shown.contains("1 rows"),
        "{shown}"
    );
    scene.lock.ok(&["teardown", "--execute"]).await;
}

/// While it runs; at a start `check` finds the changed table first.
async fn a_lost_column_stops_the_link(pair: Pair) {
    let mut scene = Scene::new("imagelost", pair, Way::AToB, &[LEFT]).await;
    images(&scene, "\"left_side\"", "1s", "");
    scene
        .exec(Side::A, "INSERT INTO left_side VALUES (1, 1, 'x')")
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.run().await;
    eventually(LIMIT, "the first image", async || count(&scene).await == 1).await;
    scene
        .exec(
            Side::A,
            "ALTER TABLE left_side DROP COLUMN word; INSERT INTO left_side VALUES (2, 2)",
        )
        .await;
    assert_ne!(scene.lock.wait(LIMIT).await, 0);
    let log = scene.lock.log();
    assert!(log.contains("was filled by the last image"), "{log}");
    assert_eq!(count(&scene).await, 1, "half an image");
    scene
        .exec(Side::B, "ALTER TABLE left_side DROP COLUMN word")
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.lock.ok(&["run", "--once"]).await;
    assert_eq!(count(&scene).await, 2);
}

/// A value that the target cannot hold: the old image stays, and the reason names the column, not the value.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_too_large_leaves_the_old_image() {
    let scene = Scene::new("imagelarge", NEW, Way::BToA, &[]).await;
    scene
        .exec(Side::B, "CREATE TABLE wide (id bigint PRIMARY KEY, made date)")
        .await;
    scene
        .exec(Side::A, "CREATE TABLE wide (id bigint PRIMARY KEY, made date)")
        .await;
    images(&scene, "\"wide\"", "1h", "");
    scene
        .exec(Side::B, "INSERT INTO wide VALUES (1, '2026-01-01')")
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.lock.ok(&["run", "--once"]).await;
    scene
        .b
        .exec("SET SESSION sql_mode = ''; INSERT INTO wide VALUES (2, '0000-00-00')")
        .await;
    let output = tokio::time::timeout(Duration::from_secs(60), scene.lock.run(&["run", "--once"]))
        .await
        .unwrap();
    assert_ne!(output.code, 0, "{output:?}");
    assert!(
        output.stderr.contains("made") && !output.stderr.contains("0000-00-00"),
        "{output:?}"
    );
    assert_eq!(scene.a.count("wide").await, 1);
}
