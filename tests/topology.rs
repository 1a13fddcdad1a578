//! Syncs that grow and shrink while their nodes are written to: a hub and a mesh of mixed engines, a node that is down for
//! a while, one that is added (and killed on the way), one that is taken out; in the end all that stay are equal, and a
//! change was written as often as the topology implies.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

#[path = "topology/net.rs"]
mod net;

use harness::{Kind, eventually};
use net::{Net, Way};
use scenario::{ITEM, LIMIT, Random, Table, numbers};

/// Rows enough to be killed while they are copied.
const BULK: Table = Table {
    name: "bulk",
    body: "id bigint NOT NULL PRIMARY KEY, n int NOT NULL",
    key: &["id"],
    columns: &["n"],
};

/// Statements over a few hot keys, each its own transaction.
fn hot(random: &mut Random, node: usize, count: usize) -> Vec<String> {
    let each = (0..count).map(|n| {
        let id = random.below(8) + 1;
        match random.below(10) {
            0 | 1 => format!("DELETE FROM item WHERE id = {id}"),
            2 => format!("UPDATE item SET id = {} WHERE id = {id}", random.below(8) + 1),
            3 | 4 => format!("INSERT INTO item VALUES ({id}, 'x', {n}, 'new by {node}')"),
            _ => format!("UPDATE item SET n = n + 1, note = '{n} by {node}' WHERE id = {id}"),
        }
    });
    each.collect()
}

/// Users of all these nodes at once. Keys that exist, or do not, are part of the game.
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

/// A change of one node is written once on each of the others: at a hub once there and once on each other spoke.
async fn each_change_is_written_once(net: &mut Net, nodes: &[usize], above: i64) {
    const CHANGES: i64 = 5;
    for writer in nodes {
        net.wait_equal().await;
        let before = net.writes("item").await;
        let first = above + 100 * *writer as i64;
        for id in first..first + CHANGES {
            net.exec(
                *writer,
                &format!("INSERT INTO item VALUES ({id}, 'x', 0, 'counted')"),
            )
            .await;
        }
        net.everywhere(
            &format!("item WHERE id BETWEEN {first} AND {}", first + CHANGES - 1),
            CHANGES,
        )
        .await;
        let after = net.writes("item").await;
        for node in nodes {
            assert_eq!(
                after[node] - before[node],
                CHANGES,
                "rows written on n{node} for {CHANGES} of n{writer}"
            );
        }
    }
}

/// Three nodes; a fourth joins and is killed on the way; the third is down for a while; the second leaves.
async fn grows_and_shrinks(hint: &str, way: Way, kinds: [Kind; 4], down: usize) {
    let t0 = std::time::Instant::now();
    let mut random = Random::new(hint);
    let mut net = Net::new(hint, way, kinds, &[down], &[ITEM, BULK]).await;
    eprintln!("T 1 {:?}", t0.elapsed());
    let rows: Vec<String> = (1..=8)
        .map(|n| format!("INSERT INTO item VALUES ({n}, 'item', 0, 'agreed')"))
        .collect();
    net.exec(0, &rows.join(";")).await;
    eprintln!("T 2 {:?}", t0.elapsed());
    net.exec(
        0,
        &format!("INSERT INTO bulk SELECT i, 0 FROM {}", numbers(60_000)),
    )
    .await;
    eprintln!("T 3 {:?}", t0.elapsed());
    net.start(&[0, 1, 2]).await;
    eprintln!("T 4 {:?}", t0.elapsed());
    net.wait_equal().await;
    eprintln!("T 5 {:?}", t0.elapsed());
    play(&net, &mut random, &[0, 1, 2], 60).await;
    eprintln!("T 6 {:?}", t0.elapsed());
    net.db_mut(down).server().stop().await.unwrap();
    let others: Vec<usize> = [0, 1, 2].into_iter().filter(|node| *node != down).collect();
    play(&net, &mut random, &others, 60).await;
    eprintln!("T 7 {:?}", t0.elapsed());
    net.db_mut(down).server().restart().await.unwrap();
    play(&net, &mut random, &[0, 1, 2], 20).await;
    eprintln!("T 8 {:?}", t0.elapsed());

    // The fourth comes, while everybody writes, and the program dies in the middle of its copy.
    net.configure(&[0, 1, 2, 3], &[], "");
    net.lock.ok(&["setup", "--execute"]).await;
    eprintln!("T 9 {:?}", t0.elapsed());
    net.reload().await;
    eprintln!("T 10 {:?}", t0.elapsed());
    eventually(LIMIT, "the copy of the new node to begin", async || {
        net.db(3).count("bulk").await > 0
    })
    .await;
    eprintln!("T 11 {:?}", t0.elapsed());
    net.lock.kill9().await;
    eprintln!("T 12 {:?}", t0.elapsed());
    play(&net, &mut random, &[0, 1, 2], 20).await;
    eprintln!("T 13 {:?}", t0.elapsed());
    net.lock.spawn();
    play(&net, &mut random, &[0, 1, 2], 40).await;
    eprintln!("T 14 {:?}", t0.elapsed());
    net.streams().await;
    eprintln!("T 15 {:?}", t0.elapsed());
    play(&net, &mut random, &[0, 1, 2, 3], 60).await;
    eprintln!("T 16 {:?}", t0.elapsed());
    net.wait_equal().await;
    eprintln!("T 17 {:?}", t0.elapsed());
    each_change_is_written_once(&mut net, &[0, 1, 2, 3], 10_000).await;
    eprintln!("T 18 {:?}", t0.elapsed());

    // The second goes, while the others write.
    play(&net, &mut random, &[0, 1, 2, 3], 40).await;
    eprintln!("T 19 {:?}", t0.elapsed());
    net.configure(&[0, 2, 3], &[], "");
    let mut others = random.fork();
    let (said, ()) = tokio::join!(
        net.lock.run(&["setup", "--execute"]),
        play(&net, &mut others, &[0, 2, 3], 200)
    );
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert!(said.stderr.contains("n1: taken out of sync"), "{}", said.stderr);
    assert!(
        said.stderr.contains("all that it wrote has arrived everywhere"),
        "{}",
        said.stderr
    );
    assert!(said.stderr.contains("n1: torn down"), "{}", said.stderr);
    net.assert_running();
    play(&net, &mut random, &[0, 2, 3], 20).await;
    eprintln!("T 20 {:?}", t0.elapsed());
    net.wait_equal().await;
    eprintln!("T 21 {:?}", t0.elapsed());
    net.reload().await;
    eprintln!("T 22 {:?}", t0.elapsed());
    play(&net, &mut random, &[0, 2, 3], 40).await;
    eprintln!("T 23 {:?}", t0.elapsed());
    net.wait_equal().await;
    eprintln!("T 24 {:?}", t0.elapsed());
    each_change_is_written_once(&mut net, &[0, 2, 3], 20_000).await;
    eprintln!("T 25 {:?}", t0.elapsed());
    net.forgot(1).await;
    eprintln!("T 26 {:?}", t0.elapsed());
    net.all_collected("item").await;
    eprintln!("T 27 {:?}", t0.elapsed());
    net.stop().await;
    eprintln!("T 28 {:?}", t0.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_grows_and_shrinks() {
    let kinds = [Kind::Postgres18, Kind::Mysql, Kind::Mariadb, Kind::Postgres15];
    grows_and_shrinks("t_hub", Way::Hub, kinds, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mesh_grows_and_shrinks() {
    let kinds = [Kind::Mysql, Kind::Postgres18, Kind::Postgres15, Kind::Mariadb];
    grows_and_shrinks("t_mesh", Way::Mesh, kinds, 2).await;
}
