//! Not every node may write all of a table: what another node owns is undone where it was written, counted and recorded.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::eventually;
use scenario::{LIMIT, Pair, Random, Scene, Side, Table, Way};
use serde_json::json;
use std::collections::BTreeMap;

pairs! {
    each_column_ends_with_its_owners_value => each_column_ends_with_its_owners_value;
    columns_are_merged_but_for_what_has_an_owner => columns_are_merged_but_for_what_has_an_owner;
    rows_come_and_go_by_their_owner => rows_come_and_go_by_their_owner;
    a_new_row_comes_without_what_its_writer_does_not_own => a_new_row_comes_without_what_its_writer_does_not_own;
    owners_that_do_not_fit_are_findings => owners_that_do_not_fit_are_findings;
}

/// The price is a's, the stock is b's, the note everybody's.
const ITEM: Table = Table {
    name: "item",
    body: "id int NOT NULL PRIMARY KEY, price decimal(10,2), stock int, note varchar(40)",
    key: &["id"],
    columns: &["price", "stock", "note"],
};
const OWNED: &str = "[sync.table.item]\ncolumn.price = { owner = \"a\" }\ncolumn.stock = { owner = \"b\" }";

async fn agreed(hint: &str, pair: Pair, rows: u64, more: &str) -> Scene {
    let mut scene = Scene::new(hint, pair, Way::Merge, &[ITEM]).await;
    scene.configure("from:a", more);
    let rows: Vec<String> = (0..rows).map(|id| format!("({id}, 0, 0, 'n')")).collect();
    let insert = format!("INSERT INTO item VALUES {}", rows.join(", "));
    scene.exec(Side::A, &insert).await;
    scene.start().await;
    scene.wait_equal().await;
    scene
}

async fn undone(scene: &Scene, side: Side) -> usize {
    let found = scene.conflicts(side).await;
    found
        .iter()
        .filter(|conflict| conflict.kind == "foreign_write")
        .count()
}

/// Both sides write all columns at random; what each node wrote last into its own column is what both have in the end.
async fn written_at_random(scene: &mut Scene, hint: &str) {
    const ROWS: u64 = 12;
    let mut random = Random::new(hint);
    let (mut prices, mut stocks) = (BTreeMap::new(), BTreeMap::new());
    for number in 1..=240_u64 {
        let (id, side) = (
            random.below(ROWS),
            if random.below(2) == 0 { Side::A } else { Side::B },
        );
        let (price, stock) = (random.below(2) == 0, random.below(2) == 0);
        let mut set = vec![format!("note = 'n{number}'")];
        set.extend(price.then(|| format!("price = {number}.25")));
        set.extend(stock.then(|| format!("stock = {number}")));
        let update = format!("UPDATE item SET {} WHERE id = {id}", set.join(", "));
        scene.exec(side, &update).await;
        match side {
            Side::A if price => drop(prices.insert(id, format!("{number}.25"))),
            Side::B if stock => drop(stocks.insert(id, number.to_string())),
            Side::A | Side::B => {}
        }
    }
    scene.wait_equal().await;
    let last = |written: &BTreeMap<u64, String>, id, first: &str| {
        let found = written.get(&id).cloned();
        found.unwrap_or_else(|| first.to_owned())
    };
    let expected: Vec<[String; 2]> = (0..ROWS)
        .map(|id| [last(&prices, id, "0.00"), last(&stocks, id, "0")])
        .collect();
    for side in [Side::A, Side::B] {
        let rows = scene
            .db(side)
            .rows("SELECT price, stock FROM item ORDER BY id")
            .await;
        let found: Vec<[String; 2]> = rows
            .into_iter()
            .map(|row| [row[0].clone().unwrap(), row[1].clone().unwrap()])
            .collect();
        assert_eq!(found, expected, "{side:?}");
        assert!(undone(scene, side).await > 0, "{side:?} undid nothing");
    }
}

async fn each_column_ends_with_its_owners_value(pair: Pair) {
    let mut scene = agreed("owner_random", pair, 12, OWNED).await;
    written_at_random(&mut scene, "owners at random").await;
    // Nothing answers anything any more.
    let version = "SELECT sum(tidelock_version) FROM item";
    let before = scene.a.one(version).await;
    scene.crossed().await;
    scene.crossed().await;
    assert_eq!(scene.a.one(version).await, before);
}

async fn columns_are_merged_but_for_what_has_an_owner(pair: Pair) {
    let more = format!("on_conflict = \"columns\"\n{OWNED}");
    let mut scene = agreed("owner_merge", pair, 12, &more).await;
    scene
        .apart(
            "UPDATE item SET price = 9.5 WHERE id = 1; UPDATE item SET stock = 7, note = 'a' WHERE id = 2",
            "UPDATE item SET note = 'b', stock = 3 WHERE id = 1; UPDATE item SET price = 1 WHERE id = 2",
        )
        .await;
    let all = "SELECT id FROM item WHERE (id, price, stock, note) IN ((1, 9.5, 3, 'b'), (2, 0, 0, 'a')) ORDER BY id";
    for side in [Side::A, Side::B] {
        let rows = scene.db(side).rows(all).await;
        assert_eq!(rows.len(), 2, "{side:?}: {rows:?}");
    }
    written_at_random(&mut scene, "owners merged at random").await;
}

async fn rows_come_and_go_by_their_owner(pair: Pair) {
    let more = "[sync.table.item]\ninserts = \"a\"\ndeletes = \"a\"";
    let mut scene = agreed("owner_rows", pair, 4, more).await;
    scene
        .exec(
            Side::B,
            "INSERT INTO item VALUES (100, 1, 1, 'mine'); DELETE FROM item WHERE id = 1",
        )
        .await;
    for side in [Side::A, Side::B] {
        eventually(
            LIMIT,
            &format!("{side:?} has what a's users made of it"),
            async || {
                let ids = scene.db(side).rows("SELECT id FROM item ORDER BY id").await;
                let ids: Vec<_> = ids.into_iter().flatten().flatten().collect();
                ids == ["0", "1", "2", "3"]
            },
        )
        .await;
    }
    scene.wait_equal().await;
    assert_eq!(undone(&scene, Side::A).await, 2);
    // What is b's to write goes on crossing, and so does what a inserts and deletes.
    scene
        .exec(Side::B, "UPDATE item SET note = 'b' WHERE id = 1")
        .await;
    scene
        .exec(
            Side::A,
            "INSERT INTO item VALUES (5, 5, 5, 'a'); DELETE FROM item WHERE id = 0",
        )
        .await;
    scene.wait_equal().await;
    assert_eq!(scene.a.one("SELECT note FROM item WHERE id = 1").await, "b");
    assert_eq!(
        scene.b.one("SELECT count(*) FROM item WHERE id IN (0, 5)").await,
        "1"
    );
    // Many writes of one that must not be: the last of them goes too.
    scene.exec(
        Side::B,
        "INSERT INTO item VALUES (7, 1, 1, 'x'); UPDATE item SET note = 'y' WHERE id = 7; UPDATE item SET note = 'z' WHERE id = 7",
    ).await;
    eventually(LIMIT, "b's row is gone from b", async || {
        scene.b.count("item WHERE id = 7").await == 0
    })
    .await;
    scene.wait_equal().await;
}

async fn a_new_row_comes_without_what_its_writer_does_not_own(pair: Pair) {
    let mut scene = agreed("owner_new", pair, 1, OWNED).await;
    let before = undone(&scene, Side::A).await;
    scene
        .exec(Side::B, "INSERT INTO item (id, stock, note) VALUES (10, 4, 'b')")
        .await;
    scene.wait_equal().await;
    assert_eq!(
        undone(&scene, Side::A).await,
        before,
        "nothing was written that is not b's"
    );
    scene
        .exec(Side::B, "INSERT INTO item VALUES (11, 99, 4, 'b')")
        .await;
    eventually(LIMIT, "b's price is gone", async || {
        scene
            .b
            .count("item WHERE id = 11 AND price IS NULL AND stock = 4")
            .await
            == 1
    })
    .await;
    scene.wait_equal().await;
    let conflicts = scene.conflicts(Side::A).await;
    let found = conflicts
        .iter()
        .find(|conflict| conflict.key == json!([11]))
        .unwrap();
    assert_eq!(
        (found.kind.as_str(), found.outcome.as_str()),
        ("foreign_write", "applied")
    );
}

async fn owners_that_do_not_fit_are_findings(pair: Pair) {
    const STRICT: Table = Table {
        name: "strict",
        body: "id int NOT NULL PRIMARY KEY, price int NOT NULL, stock int NOT NULL",
        key: &["id"],
        columns: &["price", "stock"],
    };
    let mut scene = Scene::new("owner_bad", pair, Way::Merge, &[STRICT]).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let told = async |scene: &mut Scene, section: &str| {
        scene.configure("from:a", &format!("[sync.table.strict]\n{section}"));
        let output = scene.lock.run(&["check"]).await;
        let told = output.stdout.contains("E357");
        (told, output.stdout)
    };
    for (section, word) in [
        ("column.id = { owner = \"a\" }", "part of the primary key"),
        ("column.prise = { owner = \"a\" }", "no such column"),
        ("column.price = { owner = \"a\" }", "only its owner writes it"),
    ] {
        let (is_told, text) = told(&mut scene, section).await;
        assert!(is_told && text.contains(word), "{section}: {text}");
    }
    let (is_told, text) = told(&mut scene, "inserts = \"a\"\ncolumn.price = { owner = \"a\" }").await;
    assert!(!is_told, "{text}");
    assert!(text.contains("column price is written by a alone"), "{text}");
    assert!(text.contains("rows are inserted by a alone"), "{text}");
}
