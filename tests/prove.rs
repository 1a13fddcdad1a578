//! `check` puts the rows of both sides through their mapping, and names those that would be refused.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use scenario::{Pair, Scene, Side, Way, numbers};
use serde_json::Value as Json;

pairs! {
    rows_that_do_not_come_back_are_named => rows_that_do_not_come_back_are_named;
    one_way_values_are_proven_where_they_come_from => one_way;
    nothing_is_read_that_need_not_be => left_out;
}

const WORDS: &str = "column.status.b = { values = { open = 1, closed = 0 } }\n";
const NAMES: &str = "to.b.first = \"SPLIT_PART(name, ' ', 1)\"\nto.b.last = \"SPLIT_PART(name, ' ', 2)\"\n\
                     to.a.name = \"first || ' ' || last\"\n";
const SUMS: &str = "to.b.gross = \"net + tax\"\nto.a.tax = \"gross - net\"\n";

fn configure(scene: &Scene, section: &str) {
    let (mode, seed) = match scene.way {
        Way::Merge => ("mode = \"merge\"", "union"),
        Way::AToB | Way::BToA => ("mode = \"transactional\"\nfrom = \"a\"", "from:a"),
    };
    scene.lock.configure(&format!(
        "version = 1\n[node.a]\n{}\n[node.b]\n{}\n[[sync]]\nname = \"{}\"\nnodes = [\"a\", \"b\"]\n{mode}\n\
         tables = [\"client\", \"probe\"]\nseed = \"{seed}\"\n[sync.table.client]\n{section}",
        scene.a.node(),
        scene.b.node(),
        scene.sync,
    ));
}

/// 10,000 rows on both sides; the run accounts may read them, as they may after set-up.
async fn clients(hint: &str, pair: Pair, way: Way) -> Scene {
    let scene = Scene::new(hint, pair, way, &[]).await;
    let head = "id int PRIMARY KEY, status";
    scene
        .exec(Side::A, &format!("CREATE TABLE client ({head} varchar(10), name varchar(80), net numeric(8,2), tax numeric(8,2))"))
        .await;
    scene
        .exec(
            Side::B,
            &format!("CREATE TABLE client ({head} smallint, first varchar(80), last varchar(80), net decimal(8,2), gross decimal(12,3))"),
        )
        .await;
    let from = numbers(10_000);
    scene
        .exec(
            Side::A,
            &format!(
                "INSERT INTO client SELECT i, CASE i % 2 WHEN 0 THEN 'open' ELSE 'closed' END, 'Jane Doe', 10.50, 2.25 FROM {from}"
            ),
        )
        .await;
    scene
        .exec(
            Side::B,
            &format!("INSERT INTO client SELECT i, i % 2, 'Jane', 'Doe', 10.50, 12.750 FROM {from}"),
        )
        .await;
    for side in [Side::A, Side::B] {
        let db = scene.db(side);
        db.exec(&format!("GRANT SELECT ON client TO {}", db.run_account()))
            .await;
        db.exec(&format!("GRANT SELECT ON probe TO {}", db.run_account()))
            .await;
    }
    scene
}

/// A handful of each kind.
async fn spoil(scene: &Scene) {
    scene
        .exec(
            Side::A,
            "UPDATE client SET status = 'strange' WHERE id IN (17, 4711); UPDATE client SET status = 'Open' WHERE id = 18;
             UPDATE client SET name = 'Anna Maria Berg' WHERE id IN (33, 9999); UPDATE client SET net = NULL WHERE id = 5000",
        )
        .await;
    scene
        .exec(
            Side::B,
            "UPDATE client SET status = 7 WHERE id IN (20, 21, 22, 23, 24, 25, 26);
             UPDATE client SET first = 'Anna Maria' WHERE id = 60; UPDATE client SET gross = 10.005 WHERE id = 7777",
        )
        .await;
}

async fn check(scene: &Scene, more: &[&str]) -> Json {
    let output = scene.lock.run(&[&["check", "--json"], more].concat()).await;
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Node, column, rows and keys of what would be refused.
fn refused(document: &Json) -> Vec<String> {
    let rows = document["tables"][0]["rows"].as_array().unwrap();
    let reasons = rows.iter().flat_map(|proof| {
        let reasons = proof["reasons"].as_array().unwrap().iter();
        reasons.map(|reason| {
            let keys = reason["keys"].as_array().unwrap().iter();
            let mut keys: Vec<&str> = keys.filter_map(Json::as_str).collect();
            // They are named as they are met.
            keys.sort_by_key(|key| key["id = ".len()..].parse::<u32>().unwrap());
            format!(
                "{} {} {}: {}",
                proof["node"].as_str().unwrap(),
                reason["column"].as_str().unwrap(),
                reason["rows"],
                keys.join(", ")
            )
        })
    });
    let mut refused: Vec<String> = reasons.collect();
    refused.sort();
    refused
}

fn findings<'a>(document: &'a Json, code: &str) -> Vec<&'a Json> {
    let found = document["tables"][0]["findings"].as_array().unwrap().iter();
    found.filter(|finding| finding["code"] == code).collect()
}

async fn rows_that_do_not_come_back_are_named(pair: Pair) {
    let scene = clients("prove", pair, Way::Merge).await;
    spoil(&scene).await;
    let all = format!("{WORDS}{NAMES}{SUMS}");
    configure(&scene, &all);
    let expected = [
        "a name 2: id = 33, id = 9999",
        "a status 3: id = 17, id = 18, id = 4711",
        "a tax 1: id = 5000",
        "b first 1: id = 60",
        "b status 7: id = 20, id = 21, id = 22, id = 23, id = 24",
        "b tax 1: id = 7777",
    ];
    // Before set-up, when no table has a stamp, and after it.
    for is_set_up in [false, true] {
        if is_set_up {
            scene.lock.ok(&["setup", "--execute"]).await;
        }
        let document = check(&scene, &[]).await;
        assert_eq!(refused(&document), expected, "{is_set_up}: {document}");
        let proofs = document["tables"][0]["rows"].as_array().unwrap();
        assert!(
            proofs.iter().all(|proof| proof["rows"] == 10_000) && proofs.len() == 2,
            "{proofs:?}"
        );
        let told = findings(&document, "E361");
        assert_eq!(told.len(), expected.len(), "{document}");
        let on_a = told
            .iter()
            .find(|finding| finding["what"].as_str().unwrap().contains("id = 17"));
        let line = &on_a.unwrap()["line"];
        assert!(
            line["text"].as_str().unwrap().starts_with("column.status.b"),
            "{line}"
        );
        let text = document.to_string();
        assert!(
            !text.contains("strange") && !text.contains("Anna") && !text.contains("10.005"),
            "no cell: {text}"
        );
    }
    // Nothing was written.
    let count = "SELECT count(*) FROM client WHERE status IS NULL";
    assert_eq!(
        (scene.a.one(count).await, scene.b.one(count).await),
        ("0".into(), "0".into())
    );
    // What the filter leaves out is not looked at.
    configure(&scene, &format!("where = \"id < 30\"\n{all}"));
    let document = check(&scene, &[]).await;
    assert_eq!(
        refused(&document),
        [
            "a status 2: id = 17, id = 18",
            "b status 7: id = 20, id = 21, id = 22, id = 23, id = 24"
        ]
    );
    assert!(
        document["tables"][0]["rows"]
            .as_array()
            .unwrap()
            .iter()
            .all(|proof| proof["rows"] == 30)
    );
    configure(&scene, &all);
    mend(&scene).await;
    let document = check(&scene, &[]).await;
    assert_eq!(refused(&document), [""; 0]);
    assert_eq!(
        (document["ok"].clone(), findings(&document, "E361").len()),
        (true.into(), 0),
        "{document}"
    );
}

async fn mend(scene: &Scene) {
    scene
        .exec(
            Side::A,
            "UPDATE client SET status = 'open', name = 'Jane Doe', net = 1 WHERE id IN (17, 18, 33, 4711, 5000, 9999)",
        )
        .await;
    scene
        .exec(
            Side::B,
            "UPDATE client SET status = 1 WHERE status = 7; UPDATE client SET first = 'Anna', gross = 11 WHERE id IN (60, 7777)",
        )
        .await;
}

async fn one_way(pair: Pair) {
    let scene = clients("prove_one", pair, Way::AToB).await;
    scene.exec(Side::B, "DELETE FROM client").await;
    spoil(&scene).await;
    // One way nothing has to come back: two blanks in a name and a sum of nothing are no matter.
    configure(&scene, &format!("{WORDS}{NAMES_THERE}"));
    let document = check(&scene, &[]).await;
    assert_eq!(
        refused(&document),
        ["a status 3: id = 17, id = 18, id = 4711"],
        "{document}"
    );
    scene
        .exec(
            Side::A,
            "UPDATE client SET status = 'open' WHERE id IN (17, 18); DELETE FROM client WHERE id = 4711",
        )
        .await;
    let document = check(&scene, &[]).await;
    assert_eq!(refused(&document), [""; 0], "{document}");
    // NULL has no word, and needs none, where it may stand.
    scene
        .exec(Side::A, "UPDATE client SET status = NULL WHERE id = 1")
        .await;
    assert_eq!(refused(&check(&scene, &[]).await), [""; 0]);
    scene
        .exec(Side::B, "ALTER TABLE client MODIFY status smallint NOT NULL")
        .await;
    assert_eq!(refused(&check(&scene, &[]).await), ["a status 1: id = 1"]);
}

const NAMES_THERE: &str = "to.b.first = \"SPLIT_PART(name, ' ', 1)\"\nto.b.last = \"SPLIT_PART(name, ' ', 2)\"\n\
                           to.b.gross = \"net + tax\"\ncolumn.name = { skip = false }\ncolumn.tax = { skip = false }\n";

async fn left_out(pair: Pair) {
    let scene = clients("prove_out", pair, Way::Merge).await;
    spoil(&scene).await;
    configure(&scene, WORDS_ALONE);
    // Without rights on the rows they are not read, which is said.
    let account = scene.a.run_account().to_owned();
    scene
        .a
        .exec(&format!("REVOKE SELECT ON client FROM {account}"))
        .await;
    let document = check(&scene, &[]).await;
    let unread = findings(&document, "W362");
    assert_eq!((unread.len(), &unread[0]["node"]), (1, &"a".into()), "{document}");
    assert!(
        refused(&document).iter().all(|line| line.starts_with("b ")),
        "{document}"
    );
    let document = check(&scene, &["--no-rows"]).await;
    assert_eq!(document["tables"][0]["rows"], Json::Array(Vec::new()));
    assert!(document.to_string().contains("not read: rows"), "{document}");
    let output = scene.lock.run(&["check"]).await;
    assert!(
        output.stdout.contains("id = 20, id = 21") && output.stdout.contains("column.status.b = { values"),
        "{}",
        output.stdout
    );
    // Of a table without mapped values nothing is read.
    configure(&scene, "column.status = { skip = true }\n");
    let document = check(&scene, &["--no-rows"]).await;
    assert!(!document.to_string().contains("not read"), "{document}");
}

const WORDS_ALONE: &str = "column.status.b = { values = { open = 1, closed = 0 } }\nskip = [\"name\", \"tax\", \"first\", \"last\", \"gross\"]\n";
