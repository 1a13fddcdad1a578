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

fn section(spokes: usize) -> String {
    let held = HELD[..spokes].iter().enumerate();
    let held = held.map(|(place, condition)| format!("n{} = \"{condition}\"", place + 1));
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
            let (has, holds) = (rows(net, *spoke, "id >= 0").await, rows(net, 0, HELD[*spoke - 1]).await);
            if has == holds {
                break;
            }
            net.assert_running();
            if tokio::time::Instant::now() > end {
                for node in 0..4 {
                    let sql = format!("SELECT number, link, key_json, kind, operation, outcome, detail, base_json, local_json, incoming_json, local_version, local_origin, incoming_version, incoming_origin FROM tidelock.conflict WHERE sync = '{}' ORDER BY number", net.sync);
                    let sql = if net.db(node).kind().is_postgres() { format!("SELECT to_jsonb(c) FROM tidelock.conflict c WHERE sync = '{}' ORDER BY recorded_at", net.sync) } else { sql };
                    for row in net.db(node).rows(&sql).await { eprintln!("XX n{node} {row:?}"); }
                    let stones = net.db(node).one(&format!("SELECT tombstones FROM tidelock.table_state WHERE sync = '{}' AND table_name = 'request'", net.sync)).await;
                    for row in net.db(node).rows(&format!("SELECT * FROM tidelock.{stones}")).await { eprintln!("STONE n{node} {row:?}"); }
                    for row in net.db(node).rows("SELECT * FROM request").await { eprintln!("ROW n{node} {row:?}"); }
                }
                }
            assert!(tokio::time::Instant::now() < end, "n{spoke} has {has:?}, and holds {holds:?}");
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
    net.configure(&[0, 1, 2], &[], &section(2));
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

    net.configure(&[0, 1, 2, 3], &[], &section(3));
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
