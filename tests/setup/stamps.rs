//! What the triggers write for each kind of a user's statement.

use crate::harness::{Kind, Session};
use crate::node::Node;
use crate::on_every_server;

const DDL: &str =
    "CREATE TABLE t (id int PRIMARY KEY, word varchar(20), number double precision, UNIQUE (word))";

async fn node(kind: Kind) -> Node {
    let mut node = Node::new(kind, "stamps", DDL, &["t"]).await;
    node.setup().await;
    node
}

/// `version@origin` of the row; `-` without one.
async fn stamp(node: &Node, id: i32) -> String {
    let sql = format!("SELECT tidelock_version, tidelock_origin FROM t WHERE id = {id}");
    text(node.db.rows(&sql).await)
}

async fn tombstone(node: &Node, id: i32) -> String {
    let name = tombstones(node).await;
    let sql = format!("SELECT tidelock_version, tidelock_origin FROM tidelock.{name} WHERE id = {id}");
    text(node.db.rows(&sql).await)
}

async fn tombstones(node: &Node) -> String {
    let sql = format!(
        "SELECT tombstones FROM tidelock.table_state WHERE sync = '{}'",
        node.scope.sync
    );
    node.db.one(&sql).await
}

fn text(rows: Vec<Vec<Option<String>>>) -> String {
    match rows.as_slice() {
        [] => "-".to_owned(),
        [row] => format!("{}@{}", row[0].as_deref().unwrap(), row[1].as_deref().unwrap()),
        more => panic!("{} rows", more.len()),
    }
}

async fn inserts_updates_and_deletes(kind: Kind) {
    let node = node(kind).await;
    node.exec("INSERT INTO t (id, word, number) VALUES (1, 'a', 1.5), (2, 'b', 0)")
        .await;
    assert_eq!(stamp(&node, 1).await, "1@3");
    node.exec("UPDATE t SET word = 'c' WHERE id = 1").await;
    assert_eq!(stamp(&node, 1).await, "2@3");
    // Nothing changes, by one statement or another.
    node.exec("UPDATE t SET word = 'c', number = 1.5 WHERE id = 1")
        .await;
    node.exec("UPDATE t SET word = word").await;
    assert_eq!(stamp(&node, 1).await, "2@3");
    assert_eq!(stamp(&node, 2).await, "1@3");
    // Text that a collation takes for the same.
    node.exec("UPDATE t SET word = 'C' WHERE id = 1").await;
    assert_eq!(stamp(&node, 1).await, "3@3");
    node.exec("UPDATE t SET word = 'C ' WHERE id = 1").await;
    assert_eq!(stamp(&node, 1).await, "4@3");
    node.exec("UPDATE t SET word = NULL WHERE id = 1").await;
    assert_eq!(stamp(&node, 1).await, "5@3");
    node.exec("DELETE FROM t WHERE id = 1").await;
    assert_eq!(
        (stamp(&node, 1).await, tombstone(&node, 1).await),
        ("-".into(), "5@3".into())
    );
    node.exec("INSERT INTO t (id, word) VALUES (1, 'again')").await;
    assert_eq!(stamp(&node, 1).await, "6@3");
    node.exec("DELETE FROM t").await;
    assert_eq!(
        (tombstone(&node, 1).await, tombstone(&node, 2).await),
        ("6@3".into(), "1@3".into())
    );
}

async fn explicit_versions_only_raise(kind: Kind) {
    let node = node(kind).await;
    node.exec("INSERT INTO t (id, tidelock_version, tidelock_origin) VALUES (1, 50, 9)")
        .await;
    assert_eq!(stamp(&node, 1).await, "50@3");
    node.exec("UPDATE t SET tidelock_version = 90 WHERE id = 1").await;
    assert_eq!(stamp(&node, 1).await, "90@3");
    node.exec("UPDATE t SET tidelock_version = 2, word = 'x' WHERE id = 1")
        .await;
    assert_eq!(stamp(&node, 1).await, "91@3");
    node.exec("DELETE FROM t").await;
    node.exec("INSERT INTO t (id, tidelock_version) VALUES (1, 5)")
        .await;
    assert_eq!(stamp(&node, 1).await, "92@3");
}

async fn a_moved_row_leaves_a_tombstone_and_starts_above_the_new_key(kind: Kind) {
    let node = node(kind).await;
    node.exec("INSERT INTO t (id, tidelock_version) VALUES (1, 7), (2, 40)")
        .await;
    node.exec("DELETE FROM t WHERE id = 2").await;
    node.exec("UPDATE t SET id = 2 WHERE id = 1").await;
    assert_eq!(
        (stamp(&node, 2).await, tombstone(&node, 1).await),
        ("41@3".into(), "7@3".into())
    );
    node.exec("UPDATE t SET id = 3 WHERE id = 2").await;
    assert_eq!(
        (stamp(&node, 3).await, tombstone(&node, 2).await),
        ("42@3".into(), "41@3".into())
    );
}

async fn inserts_start_above_the_floor(kind: Kind) {
    let node = node(kind).await;
    let sql = format!(
        "UPDATE tidelock.table_state SET floor = 20 WHERE sync = '{}'",
        node.scope.sync
    );
    node.exec(&sql).await;
    node.exec("INSERT INTO t (id) VALUES (1)").await;
    assert_eq!(stamp(&node, 1).await, "21@3");
    node.exec("UPDATE t SET id = 2").await;
    assert_eq!(stamp(&node, 2).await, "22@3");
}

async fn upserts_go_on_from_the_row(kind: Kind) {
    let node = node(kind).await;
    node.exec("INSERT INTO t (id, word) VALUES (1, 'a')").await;
    let upsert = match node.is_postgres() {
        true => {
            "INSERT INTO t (id, word) VALUES (1, 'b') ON CONFLICT (id) DO UPDATE SET word = excluded.word"
        }
        false => "INSERT INTO t (id, word) VALUES (1, 'b') ON DUPLICATE KEY UPDATE word = VALUES(word)",
    };
    node.exec(upsert).await;
    assert_eq!(stamp(&node, 1).await, "2@3");
    node.exec(upsert).await;
    assert_eq!(stamp(&node, 1).await, "2@3");
    if node.is_postgres() {
        let again =
            "WITH gone AS (DELETE FROM t RETURNING *) INSERT INTO t SELECT id + 1, word, number FROM gone";
        node.exec(again).await;
        assert_eq!(
            (stamp(&node, 2).await, tombstone(&node, 1).await),
            ("1@3".into(), "2@3".into())
        );
        return;
    }
    node.exec("REPLACE INTO t (id, word) VALUES (1, 'c')").await;
    assert_eq!(
        (stamp(&node, 1).await, tombstone(&node, 1).await),
        ("3@3".into(), "2@3".into())
    );
    // It takes the place of a row with another key.
    node.exec("REPLACE INTO t (id, word) VALUES (2, 'c')").await;
    assert_eq!(
        (stamp(&node, 2).await, tombstone(&node, 1).await),
        ("1@3".into(), "3@3".into())
    );
}

async fn bulk_statements_stamp_each_row(kind: Kind) {
    let node = node(kind).await;
    let numbers = match node.is_postgres() {
        true => "SELECT n FROM generate_series(1, 500) n",
        false => {
            "WITH RECURSIVE s AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM s WHERE n < 500) SELECT n FROM s"
        }
    };
    node.exec(&format!("INSERT INTO t (id) {numbers}")).await;
    node.exec("UPDATE t SET number = id WHERE id <= 200").await;
    node.exec("DELETE FROM t WHERE id > 400").await;
    assert_eq!(
        node.db
            .one("SELECT count(*) FROM t WHERE tidelock_version = 2 AND tidelock_origin = 3")
            .await,
        "200"
    );
    let name = tombstones(&node).await;
    assert_eq!(
        node.db
            .one(&format!("SELECT count(*) FROM tidelock.{name}"))
            .await,
        "100"
    );
}

async fn apply_sessions_are_not_stamped(kind: Kind) {
    let node = node(kind).await;
    let mut session: Session = node.db.run_session().await;
    let silent = match node.is_postgres() {
        true => "SET session_replication_role = replica",
        false => "SET @tidelock_apply = 1",
    };
    session.exec(silent).await;
    session
        .exec("INSERT INTO t (id, tidelock_version, tidelock_origin) VALUES (1, 5, 8), (2, 6, 8)")
        .await;
    assert_eq!(stamp(&node, 1).await, "5@8");
    session.exec("UPDATE t SET word = 'x' WHERE id = 1").await;
    assert_eq!(stamp(&node, 1).await, "5@8");
    session.exec("UPDATE t SET id = 3 WHERE id = 1").await;
    session.exec("DELETE FROM t WHERE id = 2").await;
    assert_eq!(
        (tombstone(&node, 1).await, tombstone(&node, 2).await),
        ("-".into(), "-".into())
    );
}

on_every_server!(
    inserts_updates_and_deletes,
    explicit_versions_only_raise,
    a_moved_row_leaves_a_tombstone_and_starts_above_the_new_key,
    inserts_start_above_the_floor,
    upserts_go_on_from_the_row,
    bulk_statements_stamp_each_row,
    apply_sessions_are_not_stamped,
);

#[tokio::test]
async fn automatic_keys_and_replaced_ones() {
    for kind in [Kind::Mysql, Kind::Mariadb] {
        let ddl = "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, word varchar(20))";
        let mut node = Node::new(kind, "auto", ddl, &["t"]).await;
        node.setup().await;
        node.exec("INSERT INTO t (word) VALUES ('a'), ('b')").await;
        assert_eq!(
            (stamp(&node, 1).await, stamp(&node, 2).await),
            ("1@3".into(), "1@3".into())
        );
        // The counter begins anew: the rows of old keys start above what was deleted.
        node.exec("UPDATE t SET word = 'c'; UPDATE t SET word = 'd'; DELETE FROM t; ALTER TABLE t AUTO_INCREMENT = 1")
            .await;
        node.exec("INSERT INTO t (word) VALUES ('e'), ('f')").await;
        assert_eq!(
            (stamp(&node, 1).await, stamp(&node, 2).await),
            ("4@3".into(), "4@3".into()),
            "{kind}"
        );
        node.exec("INSERT INTO t VALUES (9, 'g')").await;
        assert_eq!(stamp(&node, 9).await, "1@3", "{kind}");
    }
}

#[tokio::test]
async fn generated_columns_change_nothing_by_themselves() {
    for kind in [Kind::Postgres18, Kind::Postgres15, Kind::Mysql, Kind::Mariadb] {
        let ddl = "CREATE TABLE t (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a + 1) STORED)";
        let mut node = Node::new(kind, "generated", ddl, &["t"]).await;
        node.setup().await;
        node.exec("INSERT INTO t (id, a) VALUES (1, 1)").await;
        node.exec("UPDATE t SET a = 1").await;
        assert_eq!(stamp(&node, 1).await, "1@3", "{kind}");
        node.exec("UPDATE t SET a = 2").await;
        assert_eq!(stamp(&node, 1).await, "2@3", "{kind}");
    }
}

#[tokio::test]
async fn partitions_are_stamped_and_moved() {
    for kind in [Kind::Postgres18, Kind::Postgres15] {
        let ddl = "CREATE TABLE t (id int PRIMARY KEY, word text) PARTITION BY RANGE (id);
                   CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (0) TO (100);
                   CREATE TABLE t_high PARTITION OF t FOR VALUES FROM (100) TO (200)";
        let mut node = Node::new(kind, "partitions", ddl, &["t"]).await;
        node.setup().await;
        node.exec("INSERT INTO t VALUES (1, 'a')").await;
        node.exec("UPDATE t SET id = 150").await;
        assert_eq!(
            (stamp(&node, 150).await, tombstone(&node, 1).await),
            ("2@3".into(), "1@3".into())
        );
        node.exec("DELETE FROM t").await;
        assert_eq!(tombstone(&node, 150).await, "2@3");
        assert!(node.setup_sql().await.is_empty());
        node.exec("CREATE TABLE public.t_new PARTITION OF t FOR VALUES FROM (200) TO (300)")
            .await;
        assert_eq!(
            node.setup_sql().await,
            ["ALTER TABLE \"public\".\"t_new\" REPLICA IDENTITY FULL"]
        );
    }
}
