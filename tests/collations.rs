//! Keys of PostgreSQL that MySQL's collation takes for one are found before a first copy would lose them.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use scenario::{Pair, Scene, Side, Table, Way};

pairs! {
    keys_that_are_one_there_are_counted => keys_that_are_one_there_are_counted;
}

const WORD: Table = Table {
    name: "word",
    body: "",
    key: &["k"],
    columns: &["u"],
};

async fn keys_that_are_one_there_are_counted(pair: Pair) {
    let scene = Scene::new("collation", pair, Way::AToB, &[WORD]).await;
    scene
        .exec(
            Side::A,
            "CREATE TABLE word (k varchar(20) PRIMARY KEY, u text UNIQUE)",
        )
        .await;
    let there =
        "CREATE TABLE word (k varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY,
        u varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin UNIQUE)";
    scene.exec(Side::B, there).await;
    let rows = "INSERT INTO word VALUES ('Secret', 'x'), ('secret', 'x '), ('SÉCRET ', NULL), ('other', NULL), ('öther', 'X')";
    scene.exec(Side::A, rows).await;
    scene.lock.ok(&["setup", "--execute"]).await;

    let told = scene.lock.run(&["check"]).await.stdout;
    let lines: Vec<&str> = told.lines().collect();
    let found: Vec<usize> = (0..lines.len())
        .filter(|at| lines[*at].contains("W516"))
        .collect();
    assert_eq!(found.len(), 2, "{told}");
    assert!(lines[found[0]].contains("5 rows have the same (k)"), "{told}");
    assert!(lines[found[1]].contains("2 rows have the same (u)"), "{told}");
    assert!(
        !told.to_lowercase().contains("secret"),
        "a value was told: {told}"
    );
    let (_, list) = lines[found[0] + 1].split_once("change them: ").unwrap();
    let listed = scene.a.rows(list).await;
    assert_eq!(listed.len(), 5, "{listed:?}");

    // Where the other side compares them as they are, nothing is told.
    let exact = if scene.b.kind() == harness::Kind::Mysql {
        "utf8mb4_0900_bin"
    } else {
        "utf8mb4_nopad_bin"
    };
    let sql = format!(
        "ALTER TABLE word MODIFY k varchar(20) CHARACTER SET utf8mb4 COLLATE {exact} NOT NULL;
         ALTER TABLE word MODIFY u varchar(40) CHARACTER SET utf8mb4 COLLATE {exact}"
    );
    scene.exec(Side::B, &sql).await;
    let told = scene.lock.run(&["check"]).await.stdout;
    assert!(!told.contains("W516"), "{told}");
}
