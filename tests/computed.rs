//! What MySQL and MariaDB compute in our sessions is what they compute in their users': MySQL reads the expressions of
//! generated columns and checks anew in the mode of each session that opens the table.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use scenario::{LIMIT, Pair, Scene, Side, Table, Way};

pairs! {
    expressions_with_backslashes_mean_the_same => expressions_with_backslashes_mean_the_same;
}

const NOTE: Table = Table {
    name: "note",
    body: "",
    key: &["id"],
    columns: &["v"],
};

async fn expressions_with_backslashes_mean_the_same(pair: Pair) {
    let mut scene = Scene::new("computed", pair, Way::Merge, &[NOTE]).await;
    scene
        .exec(Side::A, "CREATE TABLE note (id int PRIMARY KEY, v varchar(40))")
        .await;
    let there = r"CREATE TABLE note (id int PRIMARY KEY, v varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
        slashes varchar(40) AS (REPLACE(v, '\\', '/')) STORED, quoted varchar(60) AS (CONCAT(v, ' it\'s')) STORED,
        broken varchar(60) AS (CONCAT(v, '\n')) VIRTUAL, CHECK (v <> 'no\\way'))";
    scene.b.exec(there).await;
    scene
        .a
        .exec(r"INSERT INTO note VALUES (1, 'x\y'), (2, 'it''s')")
        .await;
    let skip = "[sync.table.note]\nskip = [\"slashes\", \"quoted\", \"broken\"]";
    scene.configure("from:a", skip);
    // Whoever opens the table first: the definition is read anew.
    scene.b.as_dba("FLUSH TABLES").await;
    scene.start().await;
    scene
        .exec(Side::A, r"INSERT INTO note VALUES (3, 'p\q\\r')")
        .await;
    scene
        .exec(Side::A, r"INSERT INTO note VALUES (4, 'no\way')")
        .await;
    scene
        .b
        .exec(r"INSERT INTO note (id, v) VALUES (5, 'c:\\d\'')")
        .await;
    scene.crossed().await;

    let sql = r"SELECT id, v, slashes, quoted, HEX(broken) = HEX(CONCAT(v, '\n')) FROM note ORDER BY id";
    let rows = scene.b.rows(sql).await;
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| row.into_iter().map(Option::unwrap).collect())
        .collect();
    assert_eq!(
        rows,
        [
            ["1", r"x\y", "x/y", r"x\y it's", "1"],
            ["2", "it's", "it's", "it's it's", "1"],
            ["3", r"p\q\\r", "p/q//r", r"p\q\\r it's", "1"],
            ["5", r"c:\d'", "c:/d'", r"c:\d' it's", "1"],
        ]
    );
    let refused = scene.conflicts(Side::B).await;
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].kind, "value_refused");
    harness::eventually(LIMIT, "the row of b on a", async || {
        scene.a.one("SELECT v FROM note WHERE id = 5").await == r"c:\d'"
    })
    .await;
}
