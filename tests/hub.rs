//! Syncs of three nodes, as a hub with spokes and as a mesh: every change reaches every node, and each once.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

#[path = "hub/net.rs"]
mod net;

use harness::{Kind, eventually};
use net::{Net, Shape};
use scenario::{ITEM, LIMIT, Random, SEAT, Table, numbers};
use std::time::Duration;

const HUB: Shape = Shape::Hub([Kind::Postgres18, Kind::Mysql, Kind::Postgres15]);
const MYSQL_HUB: Shape = Shape::Hub([Kind::Mysql, Kind::Postgres18, Kind::Mariadb]);
const MESH: Shape = Shape::Mesh([Kind::Postgres18, Kind::Mysql, Kind::Mariadb]);

macro_rules! shapes {
    ($($name:ident => $scenario:expr;)+) => {
        shapes!(@one postgres_hub, HUB, $($name => $scenario;)+);
        shapes!(@one mysql_hub, MYSQL_HUB, $($name => $scenario;)+);
        shapes!(@one mesh, MESH, $($name => $scenario;)+);
    };
    (@one $module:ident, $shape:expr, $($name:ident => $scenario:expr;)+) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                use super::*;
                ($scenario)($shape).await;
            })+
        }
    };
}

#[path = "hub/rules.rs"]
mod rules;

shapes! {
    every_change_reaches_every_node_once => every_change_reaches_every_node_once;
    contested_rows_end_equal => contested_rows_end_equal;
    killed_in_between => killed_in_between;
    run_once_ends_when_all_has_arrived => run_once_ends_when_all_has_arrived;
    equal_nodes_need_no_copy => equal_nodes_need_no_copy;
}

shapes!(@one one_mesh, MESH, tombstones_wait_for_every_node => tombstones_wait_for_every_node;);

/// Three nodes with the rows 1 to 9.
async fn agreed(hint: &str, shape: Shape) -> Net {
    let net = Net::new(hint, shape, &[ITEM, SEAT]).await;
    seeded(net).await
}

async fn seeded(mut net: Net) -> Net {
    let rows: Vec<String> = (1..=9)
        .map(|n| format!("INSERT INTO item VALUES ({n}, 'item', 0, 'agreed')"))
        .collect();
    net.exec(0, &rows.join(";")).await;
    net.start().await;
    net.wait_equal().await;
    net
}

/// Insert, update, change of key and delete on each node; groups are counted by the checkpoints on the servers.
async fn every_change_reaches_every_node_once(shape: Shape) {
    let mut net = seeded(Net::with_private("h_once", shape, &[0, 1, 2], &[ITEM]).await).await;
    let before = net.groups().await;
    let mut written = [0_i64; 3];
    for (node, groups) in written.iter_mut().enumerate() {
        let (id, new) = (node as i64 + 1, 100 + node as i64);
        for (statement, seen) in [
            (
                format!("INSERT INTO item VALUES ({new}, 'new', 1, 'by {node}')"),
                format!("item WHERE id = {new} AND note = 'by {node}'"),
            ),
            (
                format!("UPDATE item SET note = 'changed by {node}' WHERE id = {id}"),
                format!("item WHERE id = {id} AND note = 'changed by {node}'"),
            ),
            (
                format!("UPDATE item SET id = {} WHERE id = {id}", id + 50),
                format!("item WHERE id = {} AND note = 'changed by {node}'", id + 50),
            ),
        ] {
            net.exec(node, &statement).await;
            net.everywhere(&seen, 1).await;
            *groups += 1;
        }
        net.everywhere(&format!("item WHERE id = {id}"), 0).await;
        net.exec(node, &format!("DELETE FROM item WHERE id = {}", id + 3))
            .await;
        net.everywhere(&format!("item WHERE id = {}", id + 3), 0).await;
        *groups += 1;
    }
    net.wait_equal().await;
    net.assert_no_conflicts().await;
    let after = net.groups().await;
    for ((source, target), groups) in &after {
        // A link carries what its source wrote; a hub's also what the other spoke wrote.
        let others = match shape {
            Shape::Hub(_) if *source == 0 => written.iter().sum::<i64>() - written[*target],
            Shape::Hub(_) | Shape::Mesh(_) => written[*source],
        };
        // And the probes of `wait_equal`, one for each node.
        let probes = match shape {
            Shape::Hub(_) if *source == 0 => 2,
            Shape::Hub(_) | Shape::Mesh(_) => 1,
        };
        // And checkpoints that the collection of tombstones wished for.
        let wished = 2;
        let done = groups - before[&(*source, *target)];
        assert!(
            (others..=others + probes + wished).contains(&done),
            "{source}->{target}: {done} groups for {others} changes"
        );
    }
    // Nothing answers anything: once the tombstones are collected, an idle net stays as it is.
    let mut looked = after;
    eventually(LIMIT, "an idle net to write nothing for 12 s", async || {
        tokio::time::sleep(Duration::from_secs(12)).await;
        let before = std::mem::replace(&mut looked, net.groups().await);
        looked == before
    })
    .await;
    let stamps = "SELECT id, tidelock_version, tidelock_origin FROM item WHERE id >= 100 ORDER BY id";
    for node in 0..3 {
        let rows = net.db(node).rows(stamps).await;
        let rows: Vec<String> = rows
            .into_iter()
            .map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(rows, ["100 1 1", "101 1 2", "102 1 3"], "stamps on node {node}");
    }
}

/// Statements over a few hot keys, each its own transaction.
fn hot(random: &mut Random, node: usize, count: usize) -> Vec<String> {
    let each = (0..count).map(|n| {
        let id = random.below(6) + 1;
        match random.below(10) {
            0 | 1 => format!("DELETE FROM item WHERE id = {id}"),
            2 => format!("UPDATE item SET id = {} WHERE id = {id}", random.below(6) + 1),
            3 | 4 => format!("INSERT INTO item VALUES ({id}, 'x', {n}, 'new by {node}')"),
            _ => format!("UPDATE item SET n = n + 1, note = '{n} by {node}' WHERE id = {id}"),
        }
    });
    each.collect()
}

/// Keys that exist, or do not, are part of the game.
async fn play(net: &Net, node: usize, statements: Vec<String>) {
    let mut session = net.db(node).session().await;
    for statement in statements {
        let _ = session.try_exec(&statement).await;
    }
}

async fn contested_rows_end_equal(shape: Shape) {
    let mut net = agreed("h_hot", shape).await;
    let mut random = Random::new("contested_rows_end_equal");
    for _ in 0..4 {
        let mut plays = [0, 1, 2].map(|node| hot(&mut random, node, 60));
        let [a, b, c] = plays.each_mut().map(std::mem::take);
        tokio::join!(play(&net, 0, a), play(&net, 1, b), play(&net, 2, c));
        net.wait_equal().await;
    }
    // While nothing runs all is concurrent.
    net.stop().await;
    for node in 0..3 {
        play(&net, node, hot(&mut random, node, 80)).await;
    }
    net.run();
    net.wait_equal().await;
}

async fn killed_in_between(shape: Shape) {
    let mut net = agreed("h_kill", shape).await;
    let mut random = Random::new("killed_in_between");
    for round in 0..3 {
        let mut plays = [0, 1, 2].map(|node| hot(&mut random, node, 120));
        let [a, b, c] = plays.each_mut().map(std::mem::take);
        let wait = Duration::from_millis(100 + random.below(400));
        let kill = async {
            tokio::time::sleep(wait).await;
        };
        let mut lock = std::mem::replace(&mut net.lock, harness::Tidelock::new(""));
        let kill = async {
            kill.await;
            lock.kill9().await;
            lock.spawn();
        };
        tokio::join!(play(&net, 0, a), play(&net, 1, b), play(&net, 2, c), kill);
        net.lock = lock;
        let (id, node) = (1_000 + round, round as usize);
        net.exec(
            node,
            &format!("INSERT INTO item VALUES ({id}, 'x', 0, 'after the kill')"),
        )
        .await;
        net.everywhere(&format!("item WHERE id = {id}"), 1).await;
        net.wait_equal().await;
    }
}

/// What one spoke wrote has arrived at the other, too.
async fn run_once_ends_when_all_has_arrived(shape: Shape) {
    let mut net = agreed("h_run1", shape).await;
    net.stop().await;
    for node in 0..3 {
        net.exec(
            node,
            &format!("UPDATE item SET note = 'by {node}' WHERE id = {}", node + 1),
        )
        .await;
        net.exec(node, &format!("DELETE FROM item WHERE id = {}", node + 4))
            .await;
    }
    net.lock.ok(&["run", "--once"]).await;
    net.assert_equal().await;
    let status = net.lock.ok(&["status"]).await;
    for link in net.links() {
        assert!(status.contains(&link), "{link} in: {status}");
    }
}

/// `seed = "none"`: refused while one of the nodes differs, and then without a trace.
async fn equal_nodes_need_no_copy(shape: Shape) {
    let mut net = Net::new("h_none", shape, &[ITEM]).await;
    net.configure("none", "");
    for node in 0..3 {
        let note = if node == 2 { "other" } else { "same" };
        net.exec(node, &format!("INSERT INTO item VALUES (1, 'x', 1, '{note}')"))
            .await;
    }
    net.lock.ok(&["setup", "--execute"]).await;
    let refused = net.lock.run(&["run", "--once"]).await;
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("they are not the same rows"),
        "{}",
        refused.stderr
    );
    net.lock.ok(&["teardown", "--execute"]).await;
    net.exec(2, "UPDATE item SET note = 'same'").await;
    for node in 0..3 {
        net.exec(
            node,
            "ALTER TABLE item DROP COLUMN tidelock_version, DROP COLUMN tidelock_origin",
        )
        .await;
    }
    net.start().await;
    for node in 0..3 {
        net.exec(
            node,
            &format!("INSERT INTO item VALUES ({}, 'x', 1, 'new')", node + 10),
        )
        .await;
    }
    net.everywhere("item WHERE note = 'new'", 3).await;
    net.wait_equal().await;
    net.assert_no_conflicts().await;
}

/// A delete that finds no row at the hub, and whose stamp beats what stands on another spoke.
mod tombstones {
    use super::*;

    async fn only_a_tombstone_changes(shape: Shape) {
        let mut net = agreed("h_stone", shape).await;
        let held = ["n0->n1", "n2->n0", "n0->n2"];
        net.pause(&held).await;
        net.exec(0, "DELETE FROM item WHERE id = 1").await;
        net.exec(
            1,
            // One transaction is one change of the row for the hub: a delete of version 3.
            "BEGIN; UPDATE item SET n = 1 WHERE id = 1; UPDATE item SET n = 2 WHERE id = 1; DELETE FROM item WHERE id = 1; \
             COMMIT",
        )
        .await;
        net.exec(
            2,
            "UPDATE item SET note = 'greater than the first delete' WHERE id = 1",
        )
        .await;
        // Behind it in the log of the first spoke.
        net.exec(1, "INSERT INTO item VALUES (77, 'x', 1, 'behind')")
            .await;
        eventually(LIMIT, "the spoke's delete to be at the hub", async || {
            net.db(0).count("item WHERE id = 77").await == 1
        })
        .await;
        net.resume(&held).await;
        net.wait_equal().await;
        net.everywhere("item WHERE id = 1", 0).await;
        // Whoever inserts next starts above all of them.
        net.exec(2, "INSERT INTO item VALUES (1, 'x', 1, 'reborn')").await;
        net.everywhere("item WHERE id = 1 AND note = 'reborn'", 1).await;
        net.wait_equal().await;
    }

    /// The hub's row had a lower version than the delete that took it away.
    async fn a_delete_keeps_its_own_version(shape: Shape) {
        let mut net = agreed("h_version", shape).await;
        let held = ["n0->n1", "n2->n0", "n0->n2"];
        net.pause(&held).await;
        // One transaction is one change of the row for the hub: from version 1 to a delete of version 4.
        net.exec(
            1,
            "BEGIN; UPDATE item SET n = 1 WHERE id = 2; UPDATE item SET n = 2 WHERE id = 2; UPDATE item SET n = 3 WHERE id = 2; \
             DELETE FROM item WHERE id = 2; COMMIT",
        )
        .await;
        net.exec(2, "UPDATE item SET note = 'version 2' WHERE id = 2; UPDATE item SET note = 'version 3' WHERE id = 2")
            .await;
        eventually(LIMIT, "the spoke's delete to be at the hub", async || {
            net.db(0).count("item WHERE id = 2").await == 0
        })
        .await;
        net.resume(&held).await;
        net.wait_equal().await;
        net.everywhere("item WHERE id = 2", 0).await;
    }

    /// Two rows trade a unique value at once: the hub takes them away and puts them back.
    async fn traded_values_are_no_deletes(shape: Shape) {
        let mut net = agreed("h_trade", shape).await;
        net.exec(
            1,
            "INSERT INTO seat VALUES (1, 'aisle'); INSERT INTO seat VALUES (2, 'window')",
        )
        .await;
        net.everywhere("seat", 2).await;
        net.exec(
            1,
            "BEGIN; UPDATE seat SET place = NULL WHERE id = 1; UPDATE seat SET place = 'aisle' WHERE id = 2; \
             UPDATE seat SET place = 'window' WHERE id = 1; COMMIT",
        )
        .await;
        net.everywhere("seat WHERE id = 1 AND place = 'window'", 1).await;
        net.wait_equal().await;
        net.everywhere("seat", 2).await;
        net.assert_no_conflicts().await;
    }

    shapes!(@one postgres, HUB,
        only_a_tombstone_changes => only_a_tombstone_changes;
        a_delete_keeps_its_own_version => a_delete_keeps_its_own_version;
        traded_values_are_no_deletes => traded_values_are_no_deletes;
    );
    shapes!(@one mysql, MYSQL_HUB,
        only_a_tombstone_changes => only_a_tombstone_changes;
        a_delete_keeps_its_own_version => a_delete_keeps_its_own_version;
        traded_values_are_no_deletes => traded_values_are_no_deletes;
    );
}

/// Rows enough to be killed while they are copied.
const BULK: Table = Table {
    name: "bulk",
    body: "id bigint NOT NULL PRIMARY KEY, n int NOT NULL",
    key: &["id"],
    columns: &["n"],
};

/// The first spoke has its copy and will be told of the delete; the second gets its copy after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_copy_takes_deletes_along() {
    let mut net = Net::new("h_copies", HUB, &[ITEM, BULK]).await;
    net.exec(
        0,
        &format!(
            "INSERT INTO item VALUES (1, 'x', 1, 'to go'); INSERT INTO bulk SELECT i, 0 FROM {}",
            numbers(100_000)
        ),
    )
    .await;
    net.lock.ok(&["setup", "--execute"]).await;
    net.run();
    let limit = tokio::time::Instant::now() + LIMIT;
    while !net.groups().await.contains_key(&(0, 1)) {
        assert!(tokio::time::Instant::now() < limit, "no copy of the first spoke");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    net.lock.kill9().await;
    assert!(
        !net.groups().await.contains_key(&(0, 2)),
        "the second spoke has its copy already"
    );
    net.exec(0, "DELETE FROM item WHERE id = 1").await;
    net.start().await;
    net.everywhere("item", 0).await;
    net.exec(2, "INSERT INTO item VALUES (1, 'x', 1, 'new')").await;
    net.everywhere("item WHERE note = 'new'", 1).await;
    net.wait_equal().await;
    net.assert_no_conflicts().await;
}

/// A spoke that is away holds up nobody else, and gets all of it when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spoke_that_was_down_catches_up() {
    let mut net = Net::with_private("h_down", HUB, &[1], &[ITEM]).await;
    net.exec(0, "INSERT INTO item VALUES (1, 'x', 1, 'first')").await;
    net.start().await;
    net.wait_equal().await;
    net.db_mut(1).server().stop().await.unwrap();
    for (node, id) in [(0, 10), (2, 12)] {
        net.exec(
            node,
            &format!("INSERT INTO item VALUES ({id}, 'x', 1, 'meanwhile')"),
        )
        .await;
    }
    net.exec(
        2,
        "UPDATE item SET note = 'changed by the other spoke' WHERE id = 1",
    )
    .await;
    eventually(LIMIT, "the others to go on", async || {
        net.db(0).count("item").await == 3 && net.db(2).count("item").await == 3
    })
    .await;
    net.db_mut(1).server().restart().await.unwrap();
    net.exec(1, "INSERT INTO item VALUES (11, 'x', 1, 'back')").await;
    net.everywhere("item", 4).await;
    net.wait_equal().await;
}

/// A delete that one node has not heard of yet is remembered by those that would keep a late change of its out.
async fn tombstones_wait_for_every_node(shape: Shape) {
    let mut net = agreed("h_stones", shape).await;
    let link = match shape {
        Shape::Hub(_) => "n0->n2",
        Shape::Mesh(_) => "n1->n2",
    };
    net.pause(&[link]).await;
    net.exec(1, "DELETE FROM item WHERE id = 1").await;
    eventually(LIMIT, "the delete on n0", async || {
        net.db(0).count("item WHERE id = 1").await == 0
    })
    .await;
    let waits = format!(
        "SELECT waits_for FROM tidelock.collection WHERE sync = '{}'",
        net.sync
    );
    let expected = format!("link {link} has not applied the deletes of node {}", &link[..2]);
    eventually(LIMIT, &format!("n0 to say that {expected}"), async || {
        let told = net.db(0).rows(&waits).await;
        told.into_iter()
            .flatten()
            .flatten()
            .any(|told| told.contains(&expected))
    })
    .await;
    let stones = async |net: &Net, node: usize| {
        let name = format!(
            "SELECT tombstones FROM tidelock.table_state WHERE sync = '{}' AND table_name = 'item'",
            net.sync
        );
        let name = net.db(node).one(&name).await;
        net.db(node).count(&format!("tidelock.{name}")).await
    };
    assert_eq!(stones(&net, 0).await, 1, "dropped before n2 could know");
    net.resume(&[link]).await;
    for node in 0..3 {
        eventually(LIMIT, &format!("no tombstone on n{node}"), async || {
            stones(&net, node).await == 0
        })
        .await;
    }
    net.wait_equal().await;
    net.everywhere("item WHERE id = 1", 0).await;
    net.stop().await;
}
