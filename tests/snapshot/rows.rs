//! What an image writes: what differs, and nothing else; whatever a text's case, a unique value's owner or a missing key.

use super::{images, target};
use crate::harness::Rows;
use crate::scenario::{self, Pair, Scene, Side, Table, Way};

crate::pairs! {
    only_what_differs_is_written => |pair| differing(pair, Way::AToB);
    only_what_differs_is_written_back => |pair| differing(pair, Way::BToA);
    tables_that_differ => mapped;
}

const PRICE: Table = Table {
    name: "price",
    body: "code {word} NOT NULL PRIMARY KEY, label {word}, rank_no int UNIQUE, amount decimal(10,2), note {text}",
    key: &["code"],
    columns: &["label", "rank_no", "amount", "note"],
};

const TALLY: Table = Table {
    name: "tally",
    body: "word {word}, n int",
    key: &[],
    columns: &["word", "n"],
};

/// Of each table: its rows, and how many of them the last image wrote.
async fn rounds(scene: &Scene) -> Vec<(u64, u64)> {
    scene.lock.ok(&["run", "--once"]).await;
    let sql = format!("SELECT tables FROM tidelock.round WHERE sync = '{}'", scene.sync);
    let tables: serde_json::Value = serde_json::from_str(&target(scene).one(&sql).await).unwrap();
    let count = |table: &serde_json::Value, key: &str| table[key].as_u64().unwrap();
    let tables = tables.as_array().unwrap().iter();
    tables
        .map(|table| (count(table, "rows"), count(table, "written")))
        .collect()
}

/// Where the server says that a row was written: PostgreSQL keeps who wrote it; elsewhere a column of the target's own does.
async fn marks(scene: &Scene, codes: &str) -> Rows {
    let db = target(scene);
    let mark = if db.kind().is_postgres() {
        "xmin::text"
    } else {
        "seen"
    };
    db.rows(&format!(
        "SELECT code, {mark} FROM price WHERE code IN ({codes}) ORDER BY code"
    ))
    .await
}

async fn differing(pair: Pair, way: Way) {
    let scene = Scene::new("differing", pair, way, &[PRICE, TALLY]).await;
    let (from, to) = (scene.way.sources()[0], scene.way.sources()[0].other());
    images(&scene, "\"price\", \"tally\"", "1h", "");
    if !target(&scene).kind().is_postgres() {
        let seen = "ALTER TABLE price ADD seen timestamp(6) NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)";
        scene.exec(to, seen).await;
        let blind =
            "ALTER TABLE price MODIFY label varchar(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci";
        scene.exec(to, blind).await;
        // Where rows have something of their own they are not taken away to be put back.
        scene.exec(to, "ALTER TABLE price DROP INDEX rank_no").await;
    }
    scene
        .exec(
            from,
            "INSERT INTO price VALUES ('a', 'one', 1, 1.50, NULL), ('A', 'two', 2, 2.00, 'x'), ('b', 'three', 3, NULL, ''), \
             ('c', 'four', NULL, 0, 'same'); INSERT INTO tally VALUES ('x', 1), ('x', 1), ('X', 1), (NULL, NULL)",
        )
        .await;
    // What the target had before is not the source's.
    scene
        .exec(to, "INSERT INTO price (code, label) VALUES ('gone', 'away'), ('c', 'other'); INSERT INTO tally VALUES ('y', 9)")
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    assert_eq!(rounds(&scene).await, [(4, 5), (4, 1 + 4)]);
    same(&scene).await;
    assert_eq!(
        rounds(&scene).await,
        [(4, 0), (4, 0)],
        "nothing changed at the source"
    );
    let before = marks(&scene, "'A', 'b', 'c'").await;
    scene
        .exec(
            from,
            "UPDATE price SET label = 'ONE' WHERE code = 'a'; DELETE FROM tally WHERE word = 'X'",
        )
        .await;
    assert_eq!(rounds(&scene).await, [(4, 1), (3, 4 + 3)]);
    assert_eq!(
        marks(&scene, "'A', 'b', 'c'").await,
        before,
        "rows that are the same were written"
    );
    same(&scene).await;
    if !target(&scene).kind().is_postgres() {
        scene
            .exec(
                to,
                "ALTER TABLE price DROP COLUMN seen; ALTER TABLE price ADD UNIQUE KEY rank_no (rank_no)",
            )
            .await;
        scene.lock.ok(&["setup", "--execute"]).await;
    }
    // A key in another spelling, two rows that trade a unique value, a value that becomes NULL, a row that goes.
    scene
        .exec(
            from,
            "UPDATE price SET code = 'B' WHERE code = 'b'; UPDATE price SET rank_no = 9 WHERE code = 'a'; \
             UPDATE price SET rank_no = 1 WHERE code = 'A'; UPDATE price SET rank_no = 2 WHERE code = 'a'; \
             UPDATE price SET note = NULL WHERE code = 'c'; INSERT INTO price VALUES ('d', NULL, 4, 7, 'new')",
        )
        .await;
    rounds(&scene).await;
    same(&scene).await;
    scene.exec(from, "DELETE FROM price; DELETE FROM tally").await;
    assert_eq!(rounds(&scene).await.iter().map(|(rows, _)| *rows).sum::<u64>(), 0);
    same(&scene).await;
    assert_eq!(rounds(&scene).await, [(0, 0), (0, 0)]);
}

async fn same(scene: &Scene) {
    crate::harness::equal(&scene.a, &scene.b, PRICE.name, PRICE.key, PRICE.columns).await;
    let rows = async |side: Side| {
        let mut rows = scene.db(side).rows("SELECT word, n FROM tally").await;
        rows.sort();
        rows
    };
    assert_eq!(rows(Side::A).await, rows(Side::B).await);
}

/// Other names, rows by a condition, columns that stay, what the target has of its own; views and keys stay in place.
async fn mapped(pair: Pair) {
    let scene = Scene::new("imagemap", pair, Way::AToB, &[]).await;
    scene
        .exec(
            Side::A,
            "CREATE TABLE client (id bigint PRIMARY KEY, full_name varchar(60), region varchar(10), secret varchar(10)); \
             INSERT INTO client VALUES (1, 'Ann', 'CA', 's'), (2, 'Bob', 'US', 's'), (3, 'Cid', 'CA', 's')",
        )
        .await;
    scene
        .exec(
            Side::B,
            "CREATE TABLE customer (id bigint PRIMARY KEY, name varchar(60), region varchar(10), mine varchar(10) DEFAULT 'new'); \
             CREATE TABLE visit (id bigint PRIMARY KEY, customer bigint REFERENCES customer (id)); \
             CREATE VIEW names AS SELECT name FROM customer; \
             INSERT INTO customer VALUES (1, 'Anne', 'CA', 'kept'), (9, 'Old', 'CA', 'old'); INSERT INTO visit VALUES (1, 1)",
        )
        .await;
    images(
        &scene,
        "\"client\"",
        "1h",
        "[sync.table.client]\nnames = { b = \"customer\" }\nwhere = \"region = 'CA'\"\nskip = [\"secret\"]\n\
         column.full_name = { b = \"name\" }",
    );
    scene.lock.ok(&["setup", "--execute"]).await;
    assert_eq!(rounds(&scene).await, [(2, 3)]);
    let rows = scene.b.rows("SELECT name, mine FROM customer ORDER BY id").await;
    let cells: Vec<Option<&str>> = rows.iter().flatten().map(Option::as_deref).collect();
    assert_eq!(cells, [Some("Ann"), Some("kept"), Some("Cid"), Some("new")]);
    assert_eq!(scene.b.one("SELECT count(*) FROM names").await, "2");
    assert_eq!(scene.b.one("SELECT count(*) FROM visit").await, "1");
    scene
        .exec(
            Side::A,
            "UPDATE client SET region = 'US' WHERE id = 3; UPDATE client SET secret = 't'",
        )
        .await;
    assert_eq!(rounds(&scene).await, [(1, 1)]);
}
