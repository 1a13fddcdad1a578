//! Two databases that differ: tables chosen by patterns, other names of tables and columns, columns that stay behind,
//! rows that only one side has.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::{Rows, eventually};
use scenario::{LIMIT, Pair, Random, Scene, Side, Table, Way};

pairs! {
    patterns_choose_tables => patterns;
    another_schema_and_another_name => schemas;
    other_names_merge => |pair| renamed("map_names", pair, Way::Merge);
    other_names_to_b => |pair| renamed("map_names_b", pair, Way::AToB);
    other_names_to_a => |pair| renamed("map_names_a", pair, Way::BToA);
    rows_move_in_and_out_merge => moving;
    rows_move_in_and_out_to_b => |pair| moving_one_way("map_rows_b", pair, Way::AToB);
    rows_move_in_and_out_to_a => |pair| moving_one_way("map_rows_a", pair, Way::BToA);
    rows_that_leave_are_kept => kept;
    wrong_mappings_are_findings => wrong;
    equal_where_it_matches => equal_rows;
    skip_answers_a_missing_right => rights;
    values_have_other_words_merge => |pair| worded("map_words", pair, Way::Merge);
    values_have_other_words_to_b => |pair| worded("map_words_b", pair, Way::AToB);
    values_have_other_words_to_a => |pair| worded("map_words_a", pair, Way::BToA);
    words_that_do_not_fit_are_findings => wrong_words;
    a_filter_is_said_in_each_nodes_words => filtered_words;
}

const fn plain(name: &'static str) -> Table {
    Table {
        name,
        body: "id bigint NOT NULL PRIMARY KEY, n int NOT NULL",
        key: &["id"],
        columns: &["n"],
    }
}

/// The keys of the sync but for its nodes; `tables` and what follows are the test's own.
fn configure(scene: &Scene, keys: &str) {
    let way = match scene.way {
        Way::Merge => "mode = \"merge\"\nseed = \"from:a\"",
        Way::AToB => "mode = \"transactional\"\nfrom = \"a\"\nseed = \"from:a\"",
        Way::BToA => "mode = \"transactional\"\nfrom = \"b\"\nseed = \"from:b\"",
    };
    let way = match keys.contains("seed =") {
        true => way.split("\nseed").next().unwrap(),
        false => way,
    };
    scene.lock.configure(&format!(
        "version = 1\n[node.a]\n{}\n[node.b]\n{}\n[[sync]]\nname = \"{}\"\nnodes = [\"a\", \"b\"]\n{way}\n{keys}\n",
        scene.a.node(),
        scene.b.node(),
        scene.sync,
    ));
}

/// Codes of the findings of `check` that are not Ok.
async fn findings(scene: &Scene) -> Vec<(String, String)> {
    let output = scene.lock.run(&["check", "--json"]).await;
    let document: serde_json::Value = serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", output.stdout, output.stderr));
    let of = |list: &str| -> Vec<serde_json::Value> {
        let parts = document[list].as_array().unwrap().iter();
        parts
            .flat_map(|part| part["findings"].as_array().unwrap().clone())
            .collect()
    };
    let text = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    of("nodes")
        .into_iter()
        .chain(of("tables"))
        .filter(|finding| finding["level"] != "ok")
        .map(|finding| (text(&finding, "code"), text(&finding, "what")))
        .collect()
}

async fn patterns(pair: Pair) {
    let tables = [plain("alpha"), plain("beta"), plain("tmp_x"), plain("odd_1")];
    let mut scene = Scene::new("map_pattern", pair, Way::Merge, &tables).await;
    let quote = |side: Side| if side == Side::A { '"' } else { '`' };
    for side in [Side::A, Side::B] {
        let q = quote(side);
        scene
            .exec(side, &format!("CREATE TABLE {q}dot.star*{q} (id bigint NOT NULL PRIMARY KEY, n int); CREATE VIEW seen AS SELECT id FROM alpha"))
            .await;
    }
    scene
        .exec(
            Side::A,
            "INSERT INTO alpha VALUES (1, 1); INSERT INTO tmp_x VALUES (1, 1)",
        )
        .await;
    configure(
        &scene,
        "tables = [\"*\", \"!tmp_*\", \"!\\\"dot.star*\\\"\", '\"dot.star*\"', \"nothing_*\"]",
    );
    scene.start().await;
    scene.exec(Side::A, "INSERT INTO alpha VALUES (2, 2)").await;
    scene
        .exec(
            Side::B,
            "INSERT INTO beta VALUES (3, 3); INSERT INTO odd_1 VALUES (4, 4)",
        )
        .await;
    for (side, q) in [(Side::A, '"'), (Side::B, '`')] {
        let id = if side == Side::A { 5 } else { 6 };
        scene
            .exec(side, &format!("INSERT INTO {q}dot.star*{q} VALUES ({id}, 1)"))
            .await;
    }
    scene.crossed().await;
    assert_eq!(scene.b.one("SELECT count(*) FROM alpha").await, "2");
    assert_eq!(scene.a.one("SELECT count(*) FROM beta").await, "1");
    assert_eq!(scene.a.one("SELECT count(*) FROM odd_1").await, "1");
    assert_eq!(scene.a.one("SELECT count(*) FROM \"dot.star*\"").await, "2");
    assert_eq!(scene.b.one("SELECT count(*) FROM `dot.star*`").await, "2");
    assert_eq!(scene.b.one("SELECT count(*) FROM tmp_x").await, "0");
    newcomer(&mut scene).await;
    left(&mut scene).await;
}

/// A table that comes to match is told, and neither carried nor in the way before `setup`.
async fn newcomer(scene: &mut Scene) {
    for side in [Side::A, Side::B] {
        scene
            .exec(side, "CREATE TABLE gamma (id bigint NOT NULL PRIMARY KEY, n int)")
            .await;
    }
    scene.exec(Side::A, "INSERT INTO gamma VALUES (1, 1)").await;
    scene.crossed().await;
    let found = findings(scene).await;
    assert!(found.iter().any(|(code, _)| code == "W352"), "{found:?}");
    assert!(
        found
            .iter()
            .any(|(code, what)| code == "W357" && what.contains("nothing_*")),
        "{found:?}"
    );
    assert!(found.iter().all(|(code, _)| code.starts_with('W')), "{found:?}");
    let planned = scene.lock.ok(&["setup"]).await;
    assert!(
        planned.contains("gamma") && planned.contains("tidelock.resync"),
        "it would join, and its rows be copied: {planned}"
    );
    scene.lock.term().await;
    scene.run().await;
    scene.crossed().await;
    assert!(scene.lock.log().contains("W352"), "{}", scene.lock.log());
    assert_eq!(scene.b.one("SELECT count(*) FROM gamma").await, "0");
}

/// A pattern that no longer matches takes its tables out by `setup`; teardown removes what was set up in any case.
async fn left(scene: &mut Scene) {
    scene.lock.term().await;
    configure(scene, "tables = [\"alpha\", \"probe\", \"b*\"]");
    let found = findings(scene).await;
    assert!(
        found.iter().any(|(code, _)| code == "E402" || code == "E403"),
        "{found:?}"
    );
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.run().await;
    scene.crossed().await;
    scene
        .exec(
            Side::A,
            "INSERT INTO odd_1 VALUES (9, 9); INSERT INTO beta VALUES (9, 9)",
        )
        .await;
    scene.crossed().await;
    assert_eq!(scene.b.one("SELECT count(*) FROM odd_1").await, "1");
    assert_eq!(scene.b.one("SELECT count(*) FROM beta").await, "2");
    scene.lock.term().await;
    configure(scene, "tables = [\"zz*\"]");
    let found = findings(scene).await;
    assert!(found.iter().any(|(code, _)| code == "E351"), "{found:?}");
    scene.lock.ok(&["teardown", "--execute"]).await;
    let triggers = "SELECT count(*) FROM information_schema.triggers WHERE trigger_name LIKE '%tidelock_%' AND event_object_table IN ('alpha', 'beta', 'odd_1')";
    assert_eq!(scene.a.one(triggers).await, "0");
    let here = format!("{triggers} AND event_object_schema = '{}'", scene.b.name());
    assert_eq!(scene.b.one(&here).await, "0");
}

/// A schema that has another name on the other node, and a table that lies elsewhere there.
async fn schemas(pair: Pair) {
    let mut scene = Scene::new("map_schema", pair, Way::Merge, &[]).await;
    scene
        .exec(Side::A, "CREATE SCHEMA sales; CREATE TABLE sales.item (id int NOT NULL PRIMARY KEY, n int); CREATE TABLE sales.person (id int NOT NULL PRIMARY KEY, n int)")
        .await;
    scene
        .exec(Side::B, "CREATE TABLE item (id int NOT NULL PRIMARY KEY, n int); CREATE TABLE client (id int NOT NULL PRIMARY KEY, n int)")
        .await;
    let database = scene.b.name().to_owned();
    configure(
        &scene,
        &format!(
            "tables = [\"sales.*\", \"probe\", \"!{database}.tidelock*\"]\nschemas = {{ a = \"sales\", b = \"{database}\" }}\n\
             [sync.table.\"sales.person\"]\nnames = {{ b = \"client\" }}"
        ),
    );
    // Every table of b's database is in it too: its probe would be sales.probe.
    let found = findings(&scene).await;
    assert!(
        found.iter().any(|(code, _)| code == "E353" || code == "E302"),
        "{found:?}"
    );
    configure(
        &scene,
        &format!(
            "tables = [\"sales.*\", \"!sales.probe\", \"probe\"]\nschemas = {{ a = \"sales\", b = \"{database}\" }}\n\
             [sync.table.\"sales.person\"]\nnames = {{ b = \"client\" }}"
        ),
    );
    scene.start().await;
    scene
        .exec(
            Side::A,
            "INSERT INTO sales.item VALUES (1, 1); INSERT INTO sales.person VALUES (1, 1)",
        )
        .await;
    scene
        .exec(
            Side::B,
            "INSERT INTO item VALUES (2, 2); INSERT INTO client VALUES (2, 2)",
        )
        .await;
    scene.crossed().await;
    for (side, table) in [
        (Side::A, "sales.item"),
        (Side::A, "sales.person"),
        (Side::B, "item"),
        (Side::B, "client"),
    ] {
        assert_eq!(
            scene.db(side).one(&format!("SELECT count(*) FROM {table}")).await,
            "2",
            "{table}"
        );
    }
}

const RENAMED: &str = "tables = [\"customer\", \"probe\"]\n[sync.table.customer]\nnames = { b = \"client\" }\n\
    column.email = { b = \"mail\" }\ncolumn.id = { b = \"number\" }\ncolumn.ssn = { skip = true }\ncolumn.score = { skip = true }";

/// Both sides' rows in one form.
async fn both(scene: &Scene) -> (Rows, Rows) {
    let here = "SELECT id, name, email FROM customer ORDER BY id";
    let there = "SELECT number, name, mail FROM client ORDER BY number";
    (scene.a.rows(here).await, scene.b.rows(there).await)
}

async fn same_customers(scene: &mut Scene) {
    scene.crossed().await;
    let scene = &*scene;
    eventually(LIMIT, "both sides hold the same customers", async || {
        let (here, there) = both(scene).await;
        here == there && !here.is_empty()
    })
    .await;
}

async fn renamed(hint: &str, pair: Pair, way: Way) {
    let mut scene = Scene::new(hint, pair, way, &[]).await;
    scene
        .exec(Side::A, "CREATE TABLE customer (id int NOT NULL PRIMARY KEY, name varchar(40), email varchar(60) UNIQUE, ssn varchar(20))")
        .await;
    scene
        .exec(Side::B, "CREATE TABLE client (number int NOT NULL PRIMARY KEY, score int NOT NULL DEFAULT 7, mail varchar(60) UNIQUE, name varchar(40))")
        .await;
    configure(&scene, RENAMED);
    let seeder = way.sources()[0];
    let insert = |side: Side, id: i64, name: &str, mail: &str| match side {
        Side::A => format!("INSERT INTO customer VALUES ({id}, '{name}', '{mail}', 'secret-{id}')"),
        Side::B => format!("INSERT INTO client VALUES ({id}, 40, '{mail}', '{name}')"),
    };
    let rows: Vec<String> = (1..=30)
        .map(|id| insert(seeder, id, "seeded", &format!("m{id}")))
        .collect();
    scene.exec(seeder, &rows.join(";")).await;
    scene.start().await;
    same_customers(&mut scene).await;
    for side in way.sources() {
        let base = if *side == Side::A { 100 } else { 200 };
        let (table, id, mail) = match side {
            Side::A => ("customer", "id", "email"),
            Side::B => ("client", "number", "mail"),
        };
        let new: Vec<String> = (1..=20)
            .map(|n| insert(*side, base + n, "new", &format!("n{}", base + n)))
            .collect();
        // Two rows trade a unique value, which is only possible by way of a third.
        let (one, two, three, four, moved) = (base + 1, base + 2, base + 3, base + 4, base + 50);
        let new = new.join(";");
        let steps = format!(
            "{new}; UPDATE {table} SET name = 'renamed' WHERE {id} < 5; UPDATE {table} SET {mail} = 'free' WHERE {id} = {one};
             UPDATE {table} SET {mail} = 'n{one}' WHERE {id} = {two}; UPDATE {table} SET {mail} = 'n{two}' WHERE {id} = {one};
             DELETE FROM {table} WHERE {id} = {three}; UPDATE {table} SET {id} = {moved} WHERE {id} = {four}"
        );
        scene.exec(*side, &steps).await;
        scene.crossed().await;
    }
    same_customers(&mut scene).await;
    skipped_stays(&mut scene, seeder).await;
}

/// What is skipped is in no row and in no record of the other side, and stays as it is there.
async fn skipped_stays(scene: &mut Scene, seeder: Side) {
    if seeder == Side::A {
        assert_eq!(
            scene
                .b
                .one("SELECT min(score) FROM client WHERE number <= 30")
                .await,
            "7"
        );
        scene.exec(Side::B, "UPDATE client SET score = 1000").await;
        scene
            .exec(
                Side::A,
                "UPDATE customer SET name = 'again', ssn = 'other' WHERE id = 1",
            )
            .await;
        same_customers(scene).await;
        assert_eq!(
            scene.b.one("SELECT score FROM client WHERE number = 1").await,
            "1000"
        );
    } else {
        assert_eq!(scene.a.one("SELECT count(ssn) FROM customer").await, "0");
        scene.exec(Side::A, "UPDATE customer SET ssn = 'mine'").await;
        scene
            .exec(Side::B, "UPDATE client SET name = 'again' WHERE number = 1")
            .await;
        same_customers(scene).await;
        assert_eq!(scene.a.one("SELECT ssn FROM customer WHERE id = 1").await, "mine");
    }
    if scene.way == Way::Merge {
        scene
            .apart(
                "UPDATE customer SET email = 'of a', ssn = 'secret-now' WHERE id = 2",
                "UPDATE client SET mail = 'of b' WHERE number = 2",
            )
            .await;
        same_customers(scene).await;
    }
    let images = "SELECT count(*) FROM tidelock.conflict WHERE concat(coalesce(base_json, ''), coalesce(incoming_json, '')) LIKE '%secret%'";
    if seeder == Side::A {
        let own = format!("{images} AND sync = '{}'", scene.sync);
        assert_eq!(scene.b.one(&own).await, "0", "a skipped column is in the record");
    }
}

const PERSON: Table = Table {
    name: "person",
    body: "id int NOT NULL PRIMARY KEY, region varchar(10), n int NOT NULL, note varchar(40)",
    key: &["id"],
    columns: &["region", "n", "note"],
};
const FILTER: &str =
    "tables = [\"person\", \"probe\"]\n[sync.table.person]\nwhere = \"region IN ('EU', 'UK') AND n >= 0\"";
/// Texts are compared byte by byte, whatever the collation says.
fn matching(scene: &Scene, side: Side) -> String {
    let region = match scene.db(side).kind().is_postgres() {
        true => "region",
        false => "CAST(region AS BINARY)",
    };
    format!("SELECT id, region, n, note FROM person WHERE {region} IN ('EU', 'UK') AND n >= 0 ORDER BY id")
}
const KEYS: u64 = 300;

/// One random change of a row, which may move it in or out.
fn change(random: &mut Random, tag: &str) -> String {
    let id = random.below(KEYS);
    let region = ["'EU'", "'UK'", "'US'", "NULL", "'eu'"][random.below(5) as usize];
    let note = format!("{tag} {}", random.below(1_000_000));
    match random.below(20) {
        0 => format!("DELETE FROM person WHERE id = {id}"),
        1 | 2 => format!(
            "INSERT INTO person SELECT {id}, {region}, 1, '{note}' FROM (SELECT 1 AS x) AS one WHERE NOT EXISTS (SELECT 1 FROM person WHERE id = {id})"
        ),
        3 => format!("UPDATE person SET n = -n, note = '{note}' WHERE id = {id}"),
        4..=8 => format!("UPDATE person SET note = '{note}' WHERE id = {id}"),
        _ => format!("UPDATE person SET region = {region}, note = '{note}' WHERE id = {id}"),
    }
}

async fn storm(scene: &Scene, side: Side, mut random: Random, changes: usize) {
    let tag = if side == Side::A { "a" } else { "b" };
    let mut session = scene.db(side).session().await;
    let mut left = changes;
    while left > 0 {
        let size = (1 + random.below(12) as usize).min(left);
        let steps: Vec<String> = (0..size).map(|_| change(&mut random, tag)).collect();
        // The peer's change may hold one of the rows, or have inserted it a moment ago: that is not what is tested.
        let sql = format!("BEGIN; {}; COMMIT", steps.join("; "));
        while let Err(error) = session.try_exec(&sql).await {
            let raced = ["deadlock", "40001", "duplicate"];
            assert!(
                raced.iter().any(|word| error.to_lowercase().contains(word)),
                "{error}"
            );
            session.exec("ROLLBACK").await;
        }
        left -= size;
    }
}

/// Ten thousand changes on both sides at once: whatever matches on one side is the same on the other.
async fn moving(pair: Pair) {
    let mut scene = Scene::new("map_rows", pair, Way::Merge, &[PERSON]).await;
    configure(&scene, FILTER);
    let mut random = Random::new("rows that move in and out");
    let rows: Vec<String> = (0..KEYS)
        .map(|id| {
            format!(
                "INSERT INTO person VALUES ({id}, '{}', {id}, 'first')",
                ["EU", "US"][id as usize % 2]
            )
        })
        .collect();
    scene.exec(Side::A, &rows.join(";")).await;
    scene.start().await;
    assert_eq!(
        scene.b.count("person").await,
        KEYS as i64 / 2,
        "the first copy takes what matches"
    );
    let (on_a, on_b) = (random.fork(), random.fork());
    tokio::join!(
        storm(&scene, Side::A, on_a, 5_000),
        storm(&scene, Side::B, on_b, 5_000)
    );
    // What one side answers crosses too.
    for _ in 0..3 {
        scene.crossed().await;
    }
    let (here, there) = (
        scene.a.rows(&matching(&scene, Side::A)).await,
        scene.b.rows(&matching(&scene, Side::B)).await,
    );
    let differ: Vec<_> = here
        .iter()
        .filter(|row| !there.contains(row))
        .chain(there.iter().filter(|row| !here.contains(row)))
        .collect();
    assert!(
        differ.is_empty(),
        "{} rows match on one side only or differ: {differ:?}",
        differ.len()
    );
    assert!(here.len() > 20, "{} rows match at the end", here.len());
    eprintln!(
        "{} rows match, {} and {} are each side's own",
        here.len(),
        scene.a.count("person").await - here.len() as i64,
        scene.b.count("person").await - here.len() as i64
    );
}

async fn moving_one_way(hint: &str, pair: Pair, way: Way) {
    let mut scene = Scene::new(hint, pair, way, &[PERSON]).await;
    configure(&scene, FILTER);
    let source = way.sources()[0];
    let target = scene.targets()[0];
    let rows: Vec<String> = (0..KEYS)
        .map(|id| {
            format!(
                "INSERT INTO person VALUES ({id}, '{}', {id}, 'first')",
                ["EU", "US"][id as usize % 2]
            )
        })
        .collect();
    scene.exec(source, &rows.join(";")).await;
    scene.start().await;
    let mut random = Random::new("rows that move in and out, one way");
    storm(&scene, source, random.fork(), 4_000).await;
    scene
        .exec(source, "UPDATE person SET id = id + 1000 WHERE id < 20")
        .await;
    scene.crossed().await;
    let wanted = scene.db(source).rows(&matching(&scene, source)).await;
    let all = scene
        .db(target)
        .rows("SELECT id, region, n, note FROM person ORDER BY id")
        .await;
    assert_eq!(all, wanted, "the target holds exactly the rows that match");
    scene.assert_no_conflicts().await;
    scene.lock.term().await;
    changed_filter(&scene, source).await;
}

/// Another filter would need rows that were never sent.
async fn changed_filter(scene: &Scene, source: Side) {
    configure(scene, &FILTER.replace("'UK'", "'US'"));
    let found = findings(scene).await;
    assert!(
        found
            .iter()
            .any(|(code, what)| code == "E409" && what.contains("filter")),
        "{found:?}"
    );
    assert_ne!(scene.lock.run(&["setup", "--execute"]).await.code, 0);
    configure(scene, FILTER);
    scene.lock.ok(&["teardown", "--execute"]).await;
    if source == Side::A {
        let identity = scene
            .a
            .one("SELECT relreplident FROM pg_class WHERE relname = 'person'")
            .await;
        assert_eq!(identity, "d", "teardown leaves the replica identity as it was");
    }
}

async fn kept(pair: Pair) {
    let mut scene = Scene::new("map_keep", pair, Way::AToB, &[PERSON]).await;
    configure(&scene, &format!("{FILTER}\non_filter_exit = \"keep\""));
    scene
        .exec(
            Side::A,
            "INSERT INTO person VALUES (1, 'EU', 1, 'x'), (2, 'EU', 2, 'x'), (3, 'US', 3, 'x')",
        )
        .await;
    scene.start().await;
    scene
        .exec(
            Side::A,
            "UPDATE person SET region = 'US', note = 'left' WHERE id = 1",
        )
        .await;
    scene
        .exec(Side::A, "UPDATE person SET note = 'unseen' WHERE id = 1")
        .await;
    scene.crossed().await;
    assert_eq!(scene.b.one("SELECT note FROM person WHERE id = 1").await, "x");
    scene
        .exec(
            Side::A,
            "UPDATE person SET region = 'UK', note = 'back' WHERE id = 1; DELETE FROM person WHERE id = 2",
        )
        .await;
    scene.crossed().await;
    let rows = scene.b.rows("SELECT id, note FROM person").await;
    assert_eq!(rows, [[Some("1".to_owned()), Some("back".to_owned())]]);
    scene.assert_no_conflicts().await;
}

async fn wrong(pair: Pair) {
    let scene = Scene::new("map_wrong", pair, Way::Merge, &[PERSON]).await;
    // The run account sees tables only once it has rights on them.
    scene.lock.ok(&["setup", "--execute"]).await;
    for (section, code, words) in [
        ("where = \"nothing = 1\"", "E355", "no such column"),
        ("where = \"region = 5\"", "E355", "'text'"),
        ("where = \"n = 'x'\"", "E355", "number"),
        ("column.nothing = { b = \"x\" }", "E356", "no such column"),
        ("column.id = { skip = true }", "E356", "primary key"),
        ("column.id = { b = \"number\" }", "E356", "no such column"),
        (
            "column.region = { b = \"note\" }\ncolumn.note = { b = \"region2\" }",
            "E356",
            "no such column",
        ),
        ("column.region = { b = \"note\" }", "E356", "would both be column"),
        ("column.n = { skip = true }", "E505", "no default"),
    ] {
        configure(
            &scene,
            &format!("tables = [\"person\", \"probe\"]\n[sync.table.person]\n{section}"),
        );
        let found = findings(&scene).await;
        assert!(
            found
                .iter()
                .any(|(found, what)| found == code && what.contains(words)),
            "{section}: {code} {words}: {found:?}"
        );
    }
}

/// With `seed = "none"` only rows that match have to be the same.
async fn equal_rows(pair: Pair) {
    let mut scene = Scene::new("map_equal", pair, Way::Merge, &[PERSON]).await;
    let keys = FILTER.replace("\n[sync", "\nseed = \"none\"\n[sync");
    configure(&scene, &keys);
    scene
        .exec(
            Side::A,
            "INSERT INTO person VALUES (1, 'EU', 1, 'x'), (2, 'US', 2, 'of a')",
        )
        .await;
    scene
        .exec(
            Side::B,
            "INSERT INTO person VALUES (1, 'EU', 1, 'x'), (2, 'US', 2, 'of b'), (3, 'US', 3, 'of b')",
        )
        .await;
    scene.start().await;
    scene
        .exec(
            Side::A,
            "UPDATE person SET note = 'private' WHERE id = 2; UPDATE person SET note = 'shared' WHERE id = 1",
        )
        .await;
    scene.crossed().await;
    assert_eq!(
        scene.b.one("SELECT note FROM person WHERE id = 1").await,
        "shared"
    );
    assert_eq!(
        scene.b.one("SELECT note FROM person WHERE id = 2").await,
        "of b",
        "what does not match is not touched"
    );
}

/// The run account may not write a column that is skipped, and on PostgreSQL not read it.
async fn rights(pair: Pair) {
    let table = Table {
        name: "staff",
        body: "id int NOT NULL PRIMARY KEY, name varchar(40), salary int DEFAULT 5",
        key: &["id"],
        columns: &["name"],
    };
    let mut scene = Scene::new("map_rights", pair, Way::Merge, &[table]).await;
    let keys = "tables = [\"staff\", \"probe\"]\n[sync.table.staff]\nskip = [\"salary\"]";
    configure(&scene, keys);
    scene.lock.ok(&["setup", "--execute"]).await;
    let stamps = "tidelock_version, tidelock_origin";
    for side in [Side::A, Side::B] {
        let db = scene.db(side);
        let url = db.run_url();
        let user = url.split("//").nth(1).unwrap().split(':').next().unwrap();
        let mut admin = db.admin().await;
        // MySQL and MariaDB hide a column from whoever may not SELECT it.
        let statements = match db.kind().is_postgres() {
            true => [
                format!("REVOKE SELECT, INSERT, UPDATE ON public.staff FROM {user}"),
                format!(
                    "GRANT SELECT (id, name, {stamps}, tableoid, ctid), INSERT (id, name, {stamps}), UPDATE (id, name, {stamps}) ON public.staff TO {user}"
                ),
            ],
            false => [
                format!("REVOKE INSERT, UPDATE ON {}.staff FROM '{user}'@'%'", db.name()),
                format!(
                    "GRANT INSERT (id, name, {stamps}), UPDATE (id, name, {stamps}) ON {}.staff TO '{user}'@'%'",
                    db.name()
                ),
            ],
        };
        for statement in statements {
            admin.exec(&statement).await;
        }
    }
    let found = findings(&scene).await;
    assert!(found.iter().all(|(code, _)| code.starts_with('W')), "{found:?}");
    configure(&scene, "tables = [\"staff\", \"probe\"]");
    let found = findings(&scene).await;
    assert!(
        found
            .iter()
            .any(|(code, what)| code == "E105" && what.contains("salary")),
        "{found:?}"
    );
    configure(&scene, keys);
    scene
        .exec(
            Side::A,
            "INSERT INTO staff VALUES (1, 'first', 100), (2, 'second', 200)",
        )
        .await;
    scene.run().await;
    scene.streaming().await;
    scene.exec(Side::B, "INSERT INTO staff (id, name, salary) VALUES (3, 'third', 300); UPDATE staff SET name = 'of b' WHERE id = 1").await;
    scene
        .exec(
            Side::A,
            "DELETE FROM staff WHERE id = 2; UPDATE staff SET salary = 1",
        )
        .await;
    scene.wait_equal().await;
    scene
        .apart(
            "UPDATE staff SET name = 'contested a' WHERE id = 1",
            "UPDATE staff SET name = 'contested b' WHERE id = 1",
        )
        .await;
    assert_eq!(scene.b.one("SELECT salary FROM staff WHERE id = 1").await, "5");
    assert_eq!(scene.a.one("SELECT salary FROM staff WHERE id = 3").await, "5");
}

/// Statuses are words on a and numbers on b, yes and no the other way round.
async fn worded(hint: &str, pair: Pair, way: Way) {
    let mut scene = Scene::new(hint, pair, way, &[]).await;
    scene
        .exec(
            Side::A,
            "CREATE TABLE client (id int PRIMARY KEY, status varchar(20), vip smallint NOT NULL, note text)",
        )
        .await;
    scene
        .exec(
            Side::B,
            "CREATE TABLE client (id int PRIMARY KEY, state smallint, vip varchar(3) NOT NULL, note text)",
        )
        .await;
    configure(
        &scene,
        "tables = [\"client\", \"probe\"]\n[sync.table.client]\n\
         column.status.b = { name = \"state\", values = { active = 1, closed = 0, \"on hold\" = -2 } }\n\
         column.vip = { a = { values = { yes = 1, no = 0 } } }",
    );
    let rows = |side: Side, base: u32| match side {
        Side::A => format!(
            "INSERT INTO client VALUES ({}, 'active', 1, 'x'), ({}, 'on hold', 0, NULL), ({}, NULL, 0, 'z')",
            base,
            base + 1,
            base + 2
        ),
        Side::B => format!(
            "INSERT INTO client VALUES ({}, 1, 'yes', 'x'), ({}, -2, 'no', NULL), ({}, NULL, 'no', 'z')",
            base,
            base + 1,
            base + 2
        ),
    };
    let first = if way == Way::BToA { Side::B } else { Side::A };
    scene.exec(first, &rows(first, 0)).await;
    scene.start().await;
    let writers: &[Side] = if way == Way::Merge {
        &[Side::A, Side::B]
    } else {
        std::slice::from_ref(&first)
    };
    let mut keys = vec![0];
    for (number, side) in (1..).zip(writers) {
        let (base, side) = (number * 10, *side);
        scene.exec(side, &rows(side, base)).await;
        let column = if side == Side::A {
            "status = 'closed', vip = 1"
        } else {
            "state = 0, vip = 'yes'"
        };
        scene
            .exec(
                side,
                &format!("UPDATE client SET {column} WHERE id = {}", base + 2),
            )
            .await;
        keys.push(base);
    }
    let line = |row: &[&str; 4]| {
        row.map(|cell| Some(cell.to_owned()).filter(|cell| cell != "-"))
            .to_vec()
    };
    let expected = |side: Side| -> Rows {
        let of = |base: u32| {
            let is_first = base == 0;
            let [on, hold, closed] = if side == Side::A {
                ["active", "on hold", "closed"]
            } else {
                ["1", "-2", "0"]
            };
            let [yes, no] = if side == Side::A {
                ["1", "0"]
            } else {
                ["yes", "no"]
            };
            let last = if is_first { ["-", no] } else { [closed, yes] };
            let [a, b, c] = [base, base + 1, base + 2].map(|id| id.to_string());
            [
                line(&[&a, on, yes, "x"]),
                line(&[&b, hold, no, "-"]),
                line(&[&c, last[0], last[1], "z"]),
            ]
        };
        keys.iter().flat_map(|base| of(*base)).collect()
    };
    for side in [Side::A, Side::B] {
        let status = if side == Side::A { "status" } else { "state" };
        let sql = format!("SELECT id, {status}, vip, note FROM client ORDER BY id");
        eventually(LIMIT, &format!("{side:?} has its words"), async || {
            scene.db(side).rows(&sql).await == expected(side)
        })
        .await;
    }
    // What has no word there is refused, and the rest goes on.
    let value = if first == Side::A {
        "status = 'else'"
    } else {
        "state = 7"
    };
    scene
        .exec(
            first,
            &format!("UPDATE client SET {value} WHERE id = 1; UPDATE client SET note = 'on' WHERE id = 0"),
        )
        .await;
    let there = if first == Side::A { Side::B } else { Side::A };
    eventually(LIMIT, "the rest goes on", async || {
        scene.db(there).count("client WHERE id = 0 AND note = 'on'").await == 1
    })
    .await;
    let found = scene.conflicts(there).await;
    let refused = found
        .iter()
        .find(|conflict| conflict.kind == "value_refused")
        .unwrap();
    assert!(refused.detail.contains("not among values"), "{refused:?}");
}

/// The condition has the configuration's words; on each node it means that node's.
async fn filtered_words(pair: Pair) {
    let mut scene = Scene::new("map_words_where", pair, Way::Merge, &[]).await;
    for (side, ty) in [(Side::A, "varchar(20)"), (Side::B, "smallint")] {
        scene
            .exec(
                side,
                &format!("CREATE TABLE client (id int PRIMARY KEY, status {ty}, n int)"),
            )
            .await;
    }
    configure(
        &scene,
        "tables = [\"client\", \"probe\"]\n[sync.table.client]\n\
         column.status.b = { values = { active = 1, closed = 0, held = 2 } }\n\
         where = \"n > 5 AND (status IN ('active', 'held') OR status IS NULL) AND status <> 'held'\"",
    );
    scene
        .exec(
            Side::A,
            "INSERT INTO client VALUES (1, 'active', 9), (2, 'closed', 9), (3, 'held', 9), (4, 'active', 1)",
        )
        .await;
    scene.start().await;
    scene.crossed().await;
    assert_eq!(
        scene.b.rows("SELECT id, status FROM client ORDER BY id").await,
        lines("1 1")
    );
    // In and out, on both sides.
    scene
        .exec(Side::A, "UPDATE client SET status = 'active' WHERE id = 2")
        .await;
    scene
        .exec(
            Side::B,
            "INSERT INTO client VALUES (11, 1, 9), (12, 0, 9), (13, 2, 9), (14, 1, 1)",
        )
        .await;
    scene.crossed().await;
    let (on_a, on_b) = (
        "SELECT id, status FROM client WHERE n > 5 AND status = 'active' ORDER BY id",
        "SELECT id, status FROM client WHERE n > 5 AND status = 1 ORDER BY id",
    );
    assert_eq!(scene.a.rows(on_a).await, lines("1 active\n2 active\n11 active"));
    assert_eq!(scene.b.rows(on_b).await, lines("1 1\n2 1\n11 1"));
    scene
        .exec(
            Side::B,
            "UPDATE client SET status = 0 WHERE id IN (1, 11); UPDATE client SET status = 1 WHERE id = 12",
        )
        .await;
    scene.crossed().await;
    assert_eq!(scene.a.rows(on_a).await, lines("2 active\n12 active"));
    assert_eq!(scene.a.one("SELECT count(*) FROM client").await, "4");
    scene.assert_no_conflicts().await;
}

fn lines(text: &str) -> Rows {
    let cells = |line: &str| line.split(' ').map(|cell| Some(cell.to_owned())).collect();
    text.lines().map(cells).collect()
}

async fn wrong_words(pair: Pair) {
    let scene = Scene::new("map_words_bad", pair, Way::Merge, &[]).await;
    for side in [Side::A, Side::B] {
        scene
            .exec(
                side,
                "CREATE TABLE client (id int PRIMARY KEY, status varchar(4), level smallint)",
            )
            .await;
    }
    configure(&scene, "tables = [\"client\", \"probe\"]");
    scene.lock.ok(&["setup", "--execute"]).await;
    for (section, what) in [
        ("column.level.b = { values = { 1 = \"one\" } }", "no whole number"),
        (
            "column.status.b = { values = { active = \"on\" } }",
            "holds 4 characters",
        ),
        ("column.id.b = { values = { 1 = 2 } }", "part of the primary key"),
        ("column.stat.b = { values = { 1 = 2 } }", "no such column"),
    ] {
        configure(
            &scene,
            &format!("tables = [\"client\", \"probe\"]\n[sync.table.client]\n{section}"),
        );
        let found = findings(&scene).await;
        let told = found
            .iter()
            .any(|(code, told)| code == "E358" && told.contains(what));
        assert!(told, "{section}: {found:?}");
    }
    // Of the same file, without a database.
    configure(
        &scene,
        "tables = [\"client\"]\n[sync.table.client]\ncolumn.status.b = { values = { on = 1, off = 1 } }",
    );
    let output = scene.lock.run(&["config", "check"]).await;
    assert!(
        output.stderr.contains("stands for two values"),
        "{}{}",
        output.stdout,
        output.stderr
    );
}
