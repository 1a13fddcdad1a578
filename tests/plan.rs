//! `plan`: what setup and the first start would do, told without doing any of it.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::Output;
use scenario::{Pair, Scene, Side, Table, Way};
use serde_json::Value;

pairs! {
    a_plan_follows_what_is_left_to_do => a_plan_follows_what_is_left_to_do;
    a_plan_names_what_would_stop_the_start => a_plan_names_what_would_stop_the_start;
    a_lost_way_back_is_no_copy_to_make => a_lost_way_back_is_no_copy_to_make;
    an_account_without_rights_plans_what_it_may_see => an_account_without_rights_plans_what_it_may_see;
}

const PLAIN: Table = Table {
    name: "plain",
    body: "id int NOT NULL PRIMARY KEY, name varchar(40)",
    key: &["id"],
    columns: &["name"],
};

/// Made by the test, with a column that is narrower on b.
const NARROW: Table = Table {
    name: "narrow",
    body: "",
    key: &["id"],
    columns: &[],
};

async fn scene(hint: &str, pair: Pair) -> Scene {
    let scene = Scene::new(hint, pair, Way::Merge, &[PLAIN, NARROW]).await;
    for (side, ty) in [(Side::A, "decimal(20,6)"), (Side::B, "decimal(10,2)")] {
        let sql = format!("CREATE TABLE narrow (id int NOT NULL PRIMARY KEY, amount {ty})");
        scene.exec(side, &sql).await;
    }
    scene
}

async fn plan(scene: &Scene) -> (i32, Value) {
    let output = scene.lock.run(&["plan", "--exit-code", "--json"]).await;
    let document = serde_json::from_str(&output.stdout);
    (
        output.code,
        document.unwrap_or_else(|_| panic!("{}", output.stderr)),
    )
}

fn statements(document: &Value) -> Vec<&Value> {
    let nodes = document["nodes"].as_array().unwrap();
    nodes.iter().map(|node| &node["statements"]).collect()
}

fn table<'a>(document: &'a Value, name: &str) -> &'a Value {
    let tables = document["syncs"][0]["tables"].as_array().unwrap();
    let found = tables
        .iter()
        .find(|table| table["table"].as_str().unwrap().ends_with(name));
    found.unwrap_or_else(|| panic!("{name} is not in {tables:?}"))
}

async fn a_plan_follows_what_is_left_to_do(pair: Pair) {
    let mut scene = scene("plan", pair).await;
    let rows: Vec<String> = (0..300).map(|id| format!("({id}, 'name {id}')")).collect();
    let rows = format!("INSERT INTO plain VALUES {}", rows.join(", "));
    let flush = "SELECT pg_stat_force_next_flush()";
    // A session reports what it wrote later than ANALYZE counts it: the server's own count is twice too high then.
    let (before, after): (&[&str], &[&str]) = match scene.a.kind().is_postgres() {
        true => (&[flush], &["ANALYZE plain", flush]),
        false => (&[], &["ANALYZE TABLE plain"]),
    };
    let mut session = scene.a.session().await;
    for statement in [before, &[&rows], after].concat() {
        session.exec(statement).await;
    }

    // Before setup.
    let (code, before) = plan(&scene).await;
    assert_eq!((code, before["changes"].as_bool()), (4, Some(true)));
    let sync = &before["syncs"][0];
    assert_eq!(
        (sync["mode"].as_str(), sync["links"].to_string()),
        (Some("merge"), "[\"a->b\",\"b->a\"]".to_owned())
    );
    let setup: Value = serde_json::from_str(&scene.lock.ok(&["setup", "--json"]).await).unwrap();
    assert_eq!(statements(sync), statements(&setup), "one source of truth");
    assert!(
        statements(sync)
            .iter()
            .all(|list| !list.as_array().unwrap().is_empty())
    );
    for node in sync["nodes"].as_array().unwrap() {
        let locks = node["locks"].to_string();
        assert!(
            locks.contains("ALTER TABLE") && locks.contains("TRIGGER"),
            "{locks}"
        );
    }
    let start = &sync["start"];
    assert_eq!(
        (start["done"].as_bool(), start["copy_from"].as_str()),
        (Some(false), Some("a"))
    );
    assert_eq!(table(&before, "plain")["version"], "counter");
    let rows = table(&before, "plain")["rows_estimated"].as_u64().unwrap();
    assert!((200..=400).contains(&rows), "{rows} of 300 rows");
    assert!(start["bytes_estimated"].as_u64().unwrap() >= 8_192, "{start}");
    let (plain, narrow) = (table(&before, "plain"), table(&before, "narrow"));
    assert_eq!(
        (plain["exact"].as_bool(), narrow["exact"].as_bool()),
        (Some(true), Some(false))
    );
    assert_eq!(narrow["findings"][0]["code"], "W512");
    let said = scene.lock.run(&["plan"]).await;
    assert_eq!(said.code, 0, "{}", said.stderr);
    for words in [
        "first copy a->b: ~",
        "not exact, see below",
        "W512",
        "setup runs ",
        "locks: ",
    ] {
        assert!(said.stdout.contains(words), "{words:?} is not in {}", said.stdout);
    }
    assert!(
        said.stderr.contains("nothing was changed") && said.stderr.contains("next: tidelock setup --execute")
    );
    let again: Value = serde_json::from_str(&scene.lock.ok(&["setup", "--json"]).await).unwrap();
    assert_eq!(statements(&again), statements(&setup), "a plan changed something");

    // After setup.
    scene.lock.ok(&["setup", "--execute"]).await;
    let (code, after) = plan(&scene).await;
    assert_eq!((code, after["next_steps"][0].as_str()), (4, Some("tidelock run")));
    for node in after["syncs"][0]["nodes"].as_array().unwrap() {
        let left = node["statements"].as_array().unwrap().len() as u64 - node["repeated"].as_u64().unwrap();
        assert_eq!(left, 0, "{node}");
    }

    // After the first copy.
    scene.run().await;
    scene.streaming().await;
    scene.wait_equal().await;
    let (code, done) = plan(&scene).await;
    assert_eq!((code, done["changes"].as_bool()), (0, Some(false)), "{done}");
    assert_eq!(done["syncs"][0]["start"]["done"], true);
    let said = scene.lock.ok(&["plan", "--exit-code"]).await;
    assert!(said.contains("first copy from a: done"), "{said}");
    scene.stop().await;
}

fn refused(output: &Output, code: i32, words: &str) {
    assert_eq!(output.code, code, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains(words), "{}", output.stderr);
}

async fn a_plan_names_what_would_stop_the_start(pair: Pair) {
    let scene = scene("planned", pair).await;
    scene
        .exec(Side::B, "INSERT INTO plain VALUES (1, 'in the way')")
        .await;
    let (_, document) = plan(&scene).await;
    let found = &table(&document, "plain")["findings"][0];
    assert_eq!(
        (found["code"].as_str(), found["node"].as_str()),
        (Some("E460"), Some("b"))
    );
    assert_eq!(document["next_steps"][0], "tidelock check");
    // It is what `run` says.
    scene.lock.ok(&["setup", "--execute"]).await;
    refused(&scene.lock.run(&["run", "--once"]).await, 5, "already holds rows");
    // A table that is missing is told, not stumbled over.
    scene.exec(Side::B, "DROP TABLE narrow").await;
    let (_, document) = plan(&scene).await;
    let found = table(&document, "narrow")["findings"].to_string();
    assert!(found.contains("E302"), "{found}");
    refused(
        &scene.lock.run(&["plan", "--sync", "other"]).await,
        1,
        "no such sync",
    );
}

/// b->a has lost its checkpoint and a->b has not: nothing is to be copied into b, and nothing to be emptied.
async fn a_lost_way_back_is_no_copy_to_make(pair: Pair) {
    let mut scene = scene("halflost", pair).await;
    scene
        .exec(Side::A, "INSERT INTO plain VALUES (1, 'copied')")
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.run().await;
    scene.streaming().await;
    scene.wait_equal().await;
    scene.stop().await;
    scene
        .exec(Side::A, "DELETE FROM tidelock.checkpoint WHERE link = 'b->a'")
        .await;
    let (code, document) = plan(&scene).await;
    let found = table(&document, "plain")["findings"].to_string();
    assert!(!found.contains("E460"), "{found}");
    let start = &document["syncs"][0]["start"];
    let why = start["refused"].as_str().unwrap();
    assert_eq!((code, start["done"].as_bool()), (4, Some(false)));
    assert!(why.contains("start link b->a: it has no checkpoint"), "{why}");
    let step = document["next_steps"][0].as_str().unwrap();
    assert!(
        step.starts_with("tidelock teardown --sync ") && step.ends_with(" --execute"),
        "{step}"
    );
    // It is what `run` says, and the way out is told for this sync alone.
    let run = scene.lock.run(&["run", "--once"]).await;
    refused(&run, 7, "start link b->a: it has no checkpoint");
    assert!(run.stderr.contains(&format!("`{step}`")), "{}", run.stderr);
    let said = scene.lock.run(&["plan"]).await;
    assert!(said.stdout.contains("run would refuse: "), "{}", said.stdout);
}

/// The run account alone, of which nobody has heard yet.
async fn an_account_without_rights_plans_what_it_may_see(pair: Pair) {
    let scene = scene("poor", pair).await;
    let text = std::fs::read_to_string(scene.lock.config_path()).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("setup_url"))
        .collect();
    scene.lock.configure(&lines.join("\n"));
    let (code, document) = plan(&scene).await;
    assert_eq!(
        (code, document["next_steps"][0].as_str()),
        (4, Some("tidelock check"))
    );
    // PostgreSQL's catalogs are open to everybody; elsewhere a table without rights is no table.
    let nodes = &document["syncs"][0]["nodes"];
    assert_eq!(nodes[0]["refused"], Value::Null);
    assert!(!nodes[0]["statements"].as_array().unwrap().is_empty());
    assert!(
        nodes[1]["refused"].as_str().unwrap().contains("E302"),
        "{}",
        nodes[1]
    );
    let said = scene.lock.ok(&["plan"]).await;
    assert!(
        said.contains("setup would refuse: ") && said.contains("may not see it"),
        "{said}"
    );
}
