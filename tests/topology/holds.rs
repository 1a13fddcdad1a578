//! A hub whose spokes hold some of its rows each: random writes everywhere, rows that move between them, one that is down
//! for a while and one that is added; in the end each has exactly its rows, and was told of no other.

use crate::harness::{Kind, eventually};
use crate::net::{Net, Way};
use crate::scenario::{LIMIT, Random, Table};

/// `lab` is the hub's, `result` and `note` are anybody's.
const REQUEST: Table = Table {
    name: "request",
    body: "id bigint NOT NULL PRIMARY KEY, lab varchar(10) NOT NULL, result varchar(40), note varchar(40)",
    key: &["id"],
    columns: &["lab", "result", "note"],
};
/// What n1, n2 and n3 hold; rows of `ab` are of two of them, those of `x` of none.
const HELD: [&str; 3] = ["lab IN ('a', 'ab')", "lab IN ('b', 'ab')", "lab = 'c'"];
const LABS: [&str; 5] = ["a", "b", "ab", "c", "x"];

fn section(spokes: &[usize]) -> String {
    let held = spokes.iter();
    let held = held.map(|spoke| format!("n{spoke} = \"{}\"", HELD[spoke - 1]));
    format!(
        "[sync.table.request]\ninserts = \"n0\"\ncolumn.lab = {{ owner = \"n0\" }}\nholds = {{ {} }}",
        held.collect::<Vec<_>>().join(", ")
    )
}

/// Statements over a few hot keys, each its own transaction. A spoke does what it may, and at times what it may not.
fn hot(random: &mut Random, node: usize, count: usize) -> Vec<String> {
    let each = (0..count).map(|n| {
        let id = random.below(12) + 1;
        let lab = LABS[usize::try_from(random.below(5)).unwrap()];
        let update = format!("UPDATE request SET result = '{n} by {node}' WHERE id = {id}");
        let insert = format!("INSERT INTO request VALUES ({id}, '{lab}', NULL, 'new by {node}')");
        let moved = format!("UPDATE request SET lab = '{lab}', note = '{n} by {node}' WHERE id = {id}");
        match (random.below(12), node) {
            (0, _) => format!("DELETE FROM request WHERE id = {id}"),
            (1..=3, 0) => insert,
            (4..=7, 0) => moved,
            (1, _) => insert,
            (2, _) => moved,
            (3, _) => format!("UPDATE request SET id = {} WHERE id = {id}", random.below(12) + 1),
            _ => update,
        }
    });
    each.collect()
}

async fn play(net: &Net, random: &mut Random, nodes: &[usize], count: usize) {
    let plays = nodes.iter().map(|node| (*node, hot(random, *node, count)));
    let each = plays.map(async |(node, statements)| {
        let mut session = net.db(node).session().await;
        for statement in statements {
            let _ = session.try_exec(&statement).await;
        }
    });
    futures_util::future::join_all(each).await;
}

/// Stamps too.
async fn rows(net: &Net, node: usize, condition: &str) -> Vec<Vec<Option<String>>> {
    let sql = format!(
        "SELECT id, lab, result, note, tidelock_version, tidelock_origin FROM request WHERE {condition} ORDER BY id"
    );
    net.db(node).rows(&sql).await
}

/// After all that was committed so far has crossed, and its answers.
async fn each_holds_its_rows(net: &mut Net, spokes: &[usize]) {
    net.cross().await;
    for spoke in spokes {
        let end = tokio::time::Instant::now() + LIMIT;
        loop {
            let (has, holds) = (
                rows(net, *spoke, "id >= 0").await,
                rows(net, 0, HELD[*spoke - 1]).await,
            );
            if has == holds {
                break;
            }
            net.assert_running();
            assert!(
                tokio::time::Instant::now() < end,
                "n{spoke} has {has:?}, and holds {holds:?}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

/// What the hub writes goes to who holds it, once.
async fn each_is_told_of_its_own(net: &mut Net, spokes: &[usize]) {
    each_holds_its_rows(net, spokes).await;
    let before = net.writes("request").await;
    for (id, lab) in (100..).zip(LABS) {
        let insert = format!("INSERT INTO request VALUES ({id}, '{lab}', NULL, 'counted')");
        let update = format!("UPDATE request SET note = 'twice' WHERE id = {id}");
        net.exec(0, &format!("{insert}; {update}")).await;
    }
    each_holds_its_rows(net, spokes).await;
    let first = net.writes("request").await;
    for spoke in spokes {
        // A group may take both statements as one.
        let (rows, told) = (if *spoke == 3 { 1 } else { 2 }, first[spoke] - before[spoke]);
        assert!(
            (rows..=2 * rows).contains(&told),
            "rows written on n{spoke}: {told}"
        );
    }
    net.exec(0, "DELETE FROM request WHERE id >= 100").await;
    each_holds_its_rows(net, spokes).await;
    for spoke in spokes {
        let sql = format!(
            "SELECT tombstones FROM tidelock.table_state WHERE sync = '{}' AND table_name = 'request'",
            net.sync
        );
        let stones = format!("tidelock.{} WHERE id >= 100", net.db(*spoke).one(&sql).await);
        let (most, found) = (
            if *spoke == 3 { 1 } else { 2 },
            net.db(*spoke).count(&stones).await,
        );
        assert!(found <= most, "n{spoke} has {found} tombstones of {most} rows");
    }
}

async fn holds(hint: &str, kinds: [Kind; 4]) {
    let down = 2;
    let mut random = Random::new(hint);
    let own: Vec<usize> = (0..4).filter(|node| !kinds[*node].is_postgres()).collect();
    let mut net = Net::new(hint, Way::Hub, &kinds, &own, &[REQUEST]).await;
    for id in 1..=12_usize {
        let lab = LABS[id % 5];
        let insert = format!("INSERT INTO request VALUES ({id}, '{lab}', NULL, 'agreed')");
        net.exec(0, &insert).await;
    }
    net.configure(&[0, 1, 2], &[], &section(&[1, 2]));
    net.lock.ok(&["setup", "--execute"]).await;
    net.lock.spawn();
    net.streams().await;
    each_holds_its_rows(&mut net, &[1, 2]).await;
    play(&net, &mut random, &[0, 1, 2], 80).await;
    each_holds_its_rows(&mut net, &[1, 2]).await;
    net.db_mut(down).server().stop().await.unwrap();
    play(&net, &mut random, &[0, 1], 80).await;
    net.db_mut(down).server().restart().await.unwrap();
    play(&net, &mut random, &[0, 1, 2], 40).await;

    net.configure(&[0, 1, 2, 3], &[], &section(&[1, 2, 3]));
    net.lock.ok(&["setup", "--execute"]).await;
    net.reload().await;
    play(&net, &mut random, &[0, 1, 2], 80).await;
    net.streams().await;
    play(&net, &mut random, &[0, 1, 2, 3], 80).await;
    each_is_told_of_its_own(&mut net, &[1, 2, 3]).await;
    let undone = format!(
        "SELECT count(*) FROM tidelock.conflict WHERE sync = '{}' AND kind = 'foreign_write'",
        net.sync
    );
    assert_ne!(net.db(0).one(&undone).await, "0");

    // All is compared, both ways, while everybody writes; and one goes.
    net.lock.ok(&["resync", "--all", "--execute"]).await;
    play(&net, &mut random, &[0, 1, 2, 3], 80).await;
    each_holds_its_rows(&mut net, &[1, 2, 3]).await;
    net.configure(&[0, 1, 3], &[], &section(&[1, 3]));
    let said = net.lock.run(&["setup", "--execute"]).await;
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    net.reload().await;
    play(&net, &mut random, &[0, 1, 3], 40).await;
    each_holds_its_rows(&mut net, &[1, 3]).await;
    net.stop().await;
}

/// Anybody's, of requests.
const REMARK: Table = Table {
    name: "remark",
    body: "id bigint NOT NULL PRIMARY KEY, request bigint NOT NULL, FOREIGN KEY (request) REFERENCES request (id)",
    key: &["id"],
    columns: &["request"],
};

async fn waiting(net: &Net, count: i64) {
    let parked = format!("tidelock.parked WHERE sync = '{}'", net.sync);
    eventually(LIMIT, &format!("{count} rows to wait on n1"), async || {
        net.db(1).count(&parked).await == count
    })
    .await;
}

/// Until what it refers to is there, and until nothing refers to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_refer_to_rows_that_are_not_held_wait() {
    let kinds = [Kind::Postgres18, Kind::Mysql];
    let mut net = Net::new("t_holds_fk", Way::Hub, &kinds, &[], &[REQUEST, REMARK]).await;
    net.exec(0, "INSERT INTO request VALUES (1, 'b', NULL, NULL)")
        .await;
    net.configure(&[0, 1], &[], &section(&[1]));
    net.lock.ok(&["setup", "--execute"]).await;
    net.lock.spawn();
    net.streams().await;
    net.exec(0, "INSERT INTO remark VALUES (1, 1)").await;
    waiting(&net, 1).await;
    assert_eq!(net.db(1).count("remark").await, 0);
    net.exec(0, "UPDATE request SET lab = 'a' WHERE id = 1").await;
    net.everywhere("remark", 1).await;
    each_holds_its_rows(&mut net, &[1]).await;
    waiting(&net, 0).await;
    net.exec(0, "UPDATE request SET lab = 'b' WHERE id = 1").await;
    waiting(&net, 1).await;
    assert_eq!(net.db(1).count("request").await, 1);
    net.exec(0, "DELETE FROM remark WHERE id = 1").await;
    each_holds_its_rows(&mut net, &[1]).await;
    waiting(&net, 0).await;
    assert_eq!(net.db(0).count("request").await, 1);
    net.stop().await;
}

/// A spoke that never heard that a row is its no more is told by a new copy from the hub.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_copy_takes_rows_that_left_away() {
    let mut net = Net::new(
        "t_left",
        Way::Hub,
        &[Kind::Postgres18, Kind::Mysql],
        &[],
        &[REQUEST],
    )
    .await;
    net.exec(
        0,
        "INSERT INTO request VALUES (1, 'a', NULL, NULL), (2, 'a', NULL, NULL), (3, 'x', NULL, NULL)",
    )
    .await;
    net.configure(&[0, 1], &[], &section(&[1]));
    net.lock.ok(&["setup", "--execute"]).await;
    net.lock.spawn();
    net.streams().await;
    each_holds_its_rows(&mut net, &[1]).await;
    net.stop().await;
    net.exec(
        0,
        "UPDATE request SET lab = 'x' WHERE id = 1; UPDATE request SET lab = 'a' WHERE id = 3",
    )
    .await;
    let end = net.db(0).one("SELECT pg_current_wal_insert_lsn()").await;
    let lost = format!(
        "UPDATE tidelock.checkpoint SET position = 'lsn:{end}' WHERE sync = '{}'",
        net.sync
    );
    net.exec(1, &lost).await;
    net.lock.spawn();
    net.cross().await;
    assert_eq!(
        net.db(1).count("request WHERE id = 1").await,
        1,
        "nothing was missed"
    );
    net.lock
        .ok(&["resync", "request", "--from", "n0", "--execute"])
        .await;
    each_holds_its_rows(&mut net, &[1]).await;
    net.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spokes_of_a_postgres_hub_hold_their_rows() {
    let kinds = [Kind::Postgres18, Kind::Mysql, Kind::Mariadb, Kind::Postgres15];
    holds("t_holds", kinds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spokes_of_a_mysql_hub_hold_their_rows() {
    let kinds = [Kind::Mysql, Kind::Postgres18, Kind::Mariadb, Kind::Postgres15];
    holds("t_holds_my", kinds).await;
}
