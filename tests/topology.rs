//! Syncs that grow and shrink while their nodes are written to: a hub and a mesh of mixed engines, a node that is down for
//! a while, one that is added (and killed on the way), one that is taken out; in the end all that stay are equal, and a
//! change was written as often as the topology implies.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

#[path = "topology/holds.rs"]
mod holds;
#[path = "topology/net.rs"]
mod net;

use harness::{Kind, Tidelock, database, eventually};
use net::{Net, Way};
use scenario::{ITEM, LIMIT, Random, Table, numbers};

/// Rows enough to be killed while they are copied, at the pace of `net`.
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
async fn grows_and_shrinks(hint: &str, way: Way, kinds: [Kind; 4]) {
    let down = 2;
    let mut random = Random::new(hint);
    let counting = (0..4).filter(|node| !kinds[*node].is_postgres());
    let own: Vec<usize> = counting.collect();
    let mut net = Net::new(hint, way, &kinds, &own, &[ITEM, BULK]).await;
    let rows: Vec<String> = (1..=8)
        .map(|n| format!("INSERT INTO item VALUES ({n}, 'item', 0, 'agreed')"))
        .collect();
    net.exec(0, &rows.join(";")).await;
    net.exec(
        0,
        &format!("INSERT INTO bulk SELECT i, 0 FROM {}", numbers(6_000)),
    )
    .await;
    net.start(&[0, 1, 2]).await;
    net.wait_equal().await;
    play(&net, &mut random, &[0, 1, 2], 60).await;
    net.db_mut(down).server().stop().await.unwrap();
    let others: Vec<usize> = [0, 1, 2].into_iter().filter(|node| *node != down).collect();
    play(&net, &mut random, &others, 60).await;
    net.db_mut(down).server().restart().await.unwrap();
    play(&net, &mut random, &[0, 1, 2], 20).await;

    // The fourth comes, while everybody writes, and the program dies in the middle of its copy.
    net.configure(&[0, 1, 2, 3], &[], "");
    net.lock.ok(&["setup", "--execute"]).await;
    net.reload().await;
    eventually(LIMIT, "the copy of the new node to begin", async || {
        net.db(3).count("bulk").await > 0
    })
    .await;
    net.lock.kill9().await;
    play(&net, &mut random, &[0, 1, 2], 20).await;
    net.lock.spawn();
    play(&net, &mut random, &[0, 1, 2], 40).await;
    net.streams().await;
    play(&net, &mut random, &[0, 1, 2, 3], 60).await;
    net.wait_equal().await;
    each_change_is_written_once(&mut net, &[0, 1, 2, 3], 10_000).await;

    // The second goes, while the others write.
    play(&net, &mut random, &[0, 1, 2, 3], 40).await;
    net.configure(&[0, 2, 3], &[], "");
    let mut others = random.fork();
    let (said, ()) = tokio::join!(
        net.lock.run(&["setup", "--execute"]),
        play(&net, &mut others, &[0, 2, 3], 200)
    );
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert!(said.stderr.contains("n1: taken out of sync"), "{}", said.stderr);
    // A checkpoint that nothing but the collection wished for may move meanwhile: then a mesh cannot be sure, and compares.
    let is_sure = said.stderr.contains("all that it wrote has arrived everywhere");
    let is_compared = said.stderr.contains("compare their tables") && way == Way::Mesh;
    assert!(is_sure || is_compared, "{}", said.stderr);
    assert!(said.stderr.contains("n1: torn down"), "{}", said.stderr);
    net.assert_running();
    play(&net, &mut random, &[0, 2, 3], 20).await;
    net.wait_equal().await;
    net.reload().await;
    play(&net, &mut random, &[0, 2, 3], 40).await;
    net.wait_equal().await;
    each_change_is_written_once(&mut net, &[0, 2, 3], 20_000).await;
    net.forgot(1).await;
    net.assert_equal("bulk").await;
    net.all_collected("item").await;
    net.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_grows_and_shrinks() {
    let kinds = [Kind::Postgres18, Kind::Postgres15, Kind::Mariadb, Kind::Mysql];
    grows_and_shrinks("t_hub", Way::Hub, kinds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mesh_grows_and_shrinks() {
    let kinds = [Kind::Mysql, Kind::Postgres18, Kind::Mariadb, Kind::Postgres15];
    grows_and_shrinks("t_mesh", Way::Mesh, kinds).await;
}

/// What the new node's seeder had not applied yet is not in its image, and the link from whoever wrote it begins later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_mesh_comes_while_its_seeder_is_behind() {
    let kinds = [Kind::Mysql, Kind::Postgres18, Kind::Mariadb];
    let mut net = Net::new("t_behind", Way::Mesh, &kinds, &[], &[ITEM]).await;
    net.exec(0, "INSERT INTO item VALUES (1, 'item', 0, 'agreed')")
        .await;
    net.start(&[0, 1]).await;
    let mut user = net.db(0).session().await;
    user.exec("BEGIN").await;
    user.rows("SELECT id FROM item WHERE id = 1 FOR UPDATE").await;
    net.exec(
        1,
        "UPDATE item SET n = 5 WHERE id = 1; INSERT INTO item VALUES (2, 'new', 2, 'of n1')",
    )
    .await;
    net.configure(&[0, 1, 2], &[], "");
    net.lock.ok(&["setup", "--execute"]).await;
    net.reload().await;
    net.says("waiting until n0 has applied the log of n1 up to here")
        .await;
    user.exec("ROLLBACK").await;
    net.streams().await;
    net.wait_equal().await;
    assert_eq!(net.db(2).count("item WHERE n IN (2, 5)").await, 2);
    net.stop().await;
}

/// What a node had told one of two others is brought to the other when it dies: rows, changes and deletes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_mesh_dies_for_ever() {
    let kinds = [Kind::Postgres18, Kind::Mysql, Kind::Postgres15];
    let mut net = Net::new("t_dies", Way::Mesh, &kinds, &[2], &[ITEM]).await;
    net.exec(
        0,
        "INSERT INTO item VALUES (1, 'a', 1, 'agreed'); INSERT INTO item VALUES (2, 'b', 2, 'agreed')",
    )
    .await;
    net.start(&[0, 1, 2]).await;
    net.wait_equal().await;
    net.lock.ok(&["pause", &format!("{}/n2->n1", net.sync)]).await;
    eventually(LIMIT, "n2->n1 to rest", async || {
        let log = net.lock.log();
        log.lines()
            .any(|line| line.contains("\"event\":\"paused\"") && line.contains("n2->n1"))
    })
    .await;
    net.exec(
        2,
        "INSERT INTO item VALUES (3, 'c', 3, 'told to one'); UPDATE item SET note = 'told to one' WHERE id = 1; \
         DELETE FROM item WHERE id = 2",
    )
    .await;
    eventually(LIMIT, "n0 to have been told", async || {
        net.db(0).count("item WHERE note = 'told to one'").await == 2 && net.db(0).count("item").await == 2
    })
    .await;
    assert_eq!(
        net.db(1).count("item WHERE note = 'agreed'").await,
        2,
        "n1 was told"
    );
    net.db_mut(2).server().stop().await.unwrap();
    // While the file says where it is, it is not given up.
    net.configure(&[0, 1], &[], "");
    let refused = net.lock.run(&["setup", "--execute"]).await;
    assert_ne!(refused.code, 0);
    assert!(
        refused.stderr.contains("take [node.n2] out of the file too"),
        "{}",
        refused.stderr
    );
    net.configure(&[0, 1], &[2], "");
    let said = net.lock.run(&["setup", "--execute"]).await;
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("compare their tables"), "{}", said.stderr);
    assert!(
        said.stderr.contains("what setup made there stays"),
        "{}",
        said.stderr
    );
    net.exec(1, "INSERT INTO item VALUES (4, 'd', 4, 'after it died')")
        .await;
    net.everywhere("item WHERE note = 'told to one'", 2).await;
    net.everywhere("item WHERE id = 2", 0).await;
    net.everywhere("item", 3).await;
    net.reload().await;
    net.wait_equal().await;
    net.stop().await;
}

/// What the third had told the hub, and the hub not yet the second, is told when the third has gone and nobody is a hub any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_becomes_a_hub_and_a_pair_again() {
    let kinds = [Kind::Postgres18, Kind::Mysql, Kind::Postgres15];
    let mut net = Net::new("t_pair", Way::Hub, &kinds, &[], &[ITEM]).await;
    net.exec(
        0,
        "INSERT INTO item VALUES (1, 'a', 1, 'agreed'); INSERT INTO item VALUES (2, 'b', 2, 'agreed')",
    )
    .await;
    net.start(&[0, 1]).await;
    net.exec(1, "DELETE FROM item WHERE id = 2").await;
    net.wait_equal().await;
    net.configure(&[0, 1, 2], &[], "");
    net.lock.ok(&["setup", "--execute"]).await;
    net.exec(1, "INSERT INTO item VALUES (2, 'b', 3, 'again')").await;
    net.reload().await;
    net.streams().await;
    net.wait_equal().await;
    net.lock.ok(&["pause", &format!("{}/n0->n1", net.sync)]).await;
    net.says("the link rests until").await;
    net.exec(
        2,
        "UPDATE item SET note = 'from the third' WHERE id = 1; DELETE FROM item WHERE id = 2",
    )
    .await;
    eventually(LIMIT, "the hub to be told", async || {
        net.db(0).count("item WHERE note = 'from the third'").await == 1 && net.db(0).count("item").await == 1
    })
    .await;
    net.configure(&[0, 1], &[], "");
    let said = net.lock.run(&["setup", "--execute"]).await;
    assert_eq!(said.code, 0, "{}", said.stderr);
    net.reload().await;
    net.lock.ok(&["resume", &format!("{}/n0->n1", net.sync)]).await;
    net.everywhere("item WHERE note = 'from the third'", 1).await;
    net.everywhere("item", 1).await;
    net.wait_equal().await;
    net.stop().await;
}

/// One source and its targets: one comes while it runs, one goes, and the source itself may not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_come_and_go() {
    let kinds = [Kind::Postgres18, Kind::Mysql, Kind::Postgres15];
    let mut net = Net::new("t_fan", Way::Fan, &kinds, &[], &[ITEM]).await;
    net.exec(0, "INSERT INTO item VALUES (1, 'a', 1, 'agreed')").await;
    net.start(&[0, 1]).await;
    net.configure(&[0, 1, 2], &[], "");
    net.lock.ok(&["setup", "--execute"]).await;
    net.exec(0, "INSERT INTO item VALUES (2, 'b', 2, 'before')").await;
    net.reload().await;
    net.streams().await;
    net.exec(0, "INSERT INTO item VALUES (3, 'c', 3, 'after')").await;
    net.everywhere("item", 3).await;
    net.configure(&[0, 2], &[], "");
    let planned = net.lock.run(&["plan"]).await;
    assert!(
        planned.stdout.contains("node n1 leaves"),
        "{}{}",
        planned.stdout,
        planned.stderr
    );
    net.lock.ok(&["setup", "--execute"]).await;
    net.reload().await;
    net.exec(0, "INSERT INTO item VALUES (4, 'd', 4, 'without the first')")
        .await;
    net.everywhere("item", 4).await;
    assert_eq!(net.db(1).count("item").await, 3);
    net.forgot(1).await;
    net.stop().await;
}

/// Who may not come or go: each with the reason, and nobody else is held up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_says_why() {
    let kinds = [Kind::Postgres18, Kind::Mysql, Kind::Postgres15, Kind::Postgres18];
    let mut net = Net::new("t_refused", Way::Hub, &kinds, &[], &[ITEM]).await;
    net.exec(0, "INSERT INTO item VALUES (1, 'a', 1, 'agreed')").await;
    net.start(&[0, 1, 2]).await;
    let refused = async |net: &Net, expected: &str| {
        let output = net.lock.run(&["setup", "--execute"]).await;
        assert_ne!(output.code, 0, "{expected}: {}", output.stdout);
        assert!(output.stderr.contains(expected), "{expected}: {}", output.stderr);
    };
    // The hub.
    net.configure(&[1, 2], &[], "");
    refused(&net, "a hub, or a source, cannot be taken out").await;
    // The rank is the place in nodes, where the file says no other.
    net.ranked = false;
    net.configure(&[0, 2], &[], "");
    refused(&net, "rank = 3 in [node.n2]").await;
    net.ranked = true;
    // One node's part of it.
    net.configure(&[0, 1], &[], "");
    let one = net.lock.run(&["setup", "--execute", "--node", "n0"]).await;
    assert!(
        one.stderr.contains("every node that stays has to forget it"),
        "{}",
        one.stderr
    );
    // A node that holds rows is not let in, and the others go on; then it is, by itself.
    net.configure(&[0, 1, 2, 3], &[], "");
    net.exec(3, "INSERT INTO item VALUES (9, 'x', 9, 'in the way')")
        .await;
    net.lock.ok(&["setup", "--execute"]).await;
    net.reload().await;
    net.says("it already holds rows").await;
    net.exec(1, "UPDATE item SET note = 'goes on' WHERE id = 1").await;
    eventually(LIMIT, "the others to go on", async || {
        net.db(2).count("item WHERE note = 'goes on'").await == 1
    })
    .await;
    net.exec(3, "TRUNCATE TABLE item").await;
    net.streams().await;
    net.wait_equal().await;
    // A rank is given once.
    net.configure(&[0, 1, 3], &[], "");
    net.lock.ok(&["setup", "--execute"]).await;
    net.reload().await;
    net.configure(&[0, 1, 2, 3], &[], "");
    refused(&net, "write rank = 5 in [node.n2]").await;
    net.configure(&[0, 1, 3], &[], "");
    net.wait_equal().await;
    net.stop().await;
}

/// Two syncs in a row: what the first brings to the node in the middle the second carries on, one way into two ways and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn syncs_in_a_row() {
    let one_way = "mode = \"transactional\"\nfrom";
    let merge = "mode = \"merge\"\nseed";
    for (name, first, second) in [
        (
            "t_row1",
            format!("{one_way} = \"a\"\nseed = \"from:a\""),
            format!("{merge} = \"from:b\""),
        ),
        (
            "t_row2",
            format!("{merge} = \"from:a\""),
            format!("{one_way} = \"b\"\nseed = \"from:b\""),
        ),
    ] {
        let (a, b, c) = tokio::join!(
            database(Kind::Postgres18, name),
            database(Kind::Mysql, name),
            database(Kind::Postgres15, name)
        );
        for db in [&a, &b, &c] {
            db.exec(&ITEM.create(db.kind())).await;
        }
        let sync = |number: usize, nodes: &str, keys: &str| {
            let name = format!("{name}_{number}_{}", std::process::id());
            format!("[[sync]]\nname = \"{name}\"\nnodes = [{nodes}]\ntables = [\"item\"]\n{keys}\n")
        };
        let mut lock = Tidelock::new(&format!(
            "version = 1\n[node.a]\nurl = \"{}\"\n[node.b]\nurl = \"{}\"\n[node.c]\nurl = \"{}\"\n{}{}",
            a.url(),
            b.url(),
            c.url(),
            sync(1, "\"a\", \"b\"", &first),
            sync(2, "\"b\", \"c\"", &second),
        ));
        if name == "t_row2" {
            // One way all columns of the source go along, the stamps of its merge too.
            c.exec(
                "ALTER TABLE item ADD COLUMN tidelock_version bigint, ADD COLUMN tidelock_origin smallint",
            )
            .await;
        }
        a.exec("INSERT INTO item VALUES (1, 'one', 1, 'first')").await;
        lock.ok(&["setup", "--execute"]).await;
        lock.spawn();
        // Past both first copies, whichever of the two was made first.
        for db in [&b, &c] {
            let begun = format!("tidelock.checkpoint WHERE sync LIKE '{name}%' AND lane = 0 AND seq >= 0");
            eventually(LIMIT, "the links to begin", async || db.count(&begun).await > 0).await;
        }
        for (statement, seen, count) in [
            (
                "INSERT INTO item VALUES (2, 'two', 2, 'second')",
                "item WHERE n = 2",
                1,
            ),
            (
                "UPDATE item SET note = 'again' WHERE id = 1",
                "item WHERE note = 'again'",
                1,
            ),
            (
                "UPDATE item SET note = 'and again' WHERE id = 1",
                "item WHERE note = 'and again'",
                1,
            ),
            ("DELETE FROM item WHERE id = 2", "item WHERE id = 2", 0),
        ] {
            a.exec(statement).await;
            eventually(LIMIT, &format!("{name}: {statement}"), async || {
                c.count(seen).await == count
            })
            .await;
        }
        assert_eq!(lock.term().await.0, 0);
    }
}
