//! Rules beyond the order of versions on a hub with two spokes of other engines: the hub answers for them, and every node
//! ends with what it decided.

use super::*;
use crate::scenario::account::{account, truth_stands};
use crate::scenario::contest::{self, HOT, Load, Log, MERGED, Until};

const MIXED: Shape = Shape::Hub([Kind::Postgres18, Kind::Mysql, Kind::Mariadb]);

macro_rules! hubs {
    ($($name:ident => $scenario:expr;)+) => {
        shapes!(@one postgres, MIXED, $($name => $scenario;)+);
        shapes!(@one mysql, MYSQL_HUB, $($name => $scenario;)+);
    };
}

hubs! {
    columns_and_counters_lose_nothing => columns_and_counters_lose_nothing;
    what_the_hub_wrote_last_stands => what_the_hub_wrote_last_stands;
    deletes_win_or_lose_by_the_rule => deletes_win_or_lose_by_the_rule;
    one_command_ends_what_waits_on_three_nodes => one_command_ends_what_waits_on_three_nodes;
    a_unique_clash_of_two_spokes_ends_everywhere => a_unique_clash_of_two_spokes_ends_everywhere;
    a_spoke_overrides_for_all => a_spoke_overrides_for_all;
}

const CREW: Table = Table {
    name: "crew",
    body: "id int NOT NULL PRIMARY KEY, nick {word} NOT NULL UNIQUE, note varchar(40)",
    key: &["id"],
    columns: &["nick", "note"],
};

const SHIFT: Table = Table {
    name: "shift",
    body: "id int NOT NULL PRIMARY KEY, crew int, day varchar(20), CONSTRAINT shift_crew FOREIGN KEY (crew) REFERENCES crew (id)",
    key: &["id"],
    columns: &["crew", "day"],
};

/// All nodes hold the rows, and nothing has been contested.
async fn ruled(hint: &str, shape: Shape, tables: &[Table], more: &str, rows: &str) -> Net {
    let mut net = Net::new(hint, shape, tables).await;
    net.configure("from:n0", more);
    net.exec(0, rows).await;
    net.start().await;
    net.wait_equal().await;
    net
}

/// What users do on each node while Tidelock is away; returns when all of it has been met everywhere.
async fn apart(net: &mut Net, on: [&str; 3]) {
    net.stop().await;
    write(net, on).await;
    net.run();
    net.crossed().await;
}

async fn write(net: &Net, on: [&str; 3]) {
    for (node, statements) in on.into_iter().enumerate() {
        net.exec(node, statements).await;
    }
}

/// Three nodes write the same keys: first while Tidelock is away, then while it catches up, once through a kill.
async fn fight(net: &mut Net, what: &str) -> Log {
    let (mut random, mut log) = (Random::new(what), Log::default());
    let load = Load {
        keys: 60,
        until: Until::Written(500),
        writers: 1,
        pause_ms: 0,
    };
    contest::plant(&net.field(), load.keys, &mut log).await;
    net.start().await;
    for round in 0..2 {
        net.stop().await;
        contest::write(&net.field(), load, &mut random, &mut log).await;
        net.run();
        contest::write(&net.field(), load, &mut random, &mut log).await;
        if round == 0 {
            net.lock.kill9().await;
            net.run();
        }
        net.crossed().await;
    }
    net.wait_equal().await;
    log
}

async fn columns_and_counters_lose_nothing(shape: Shape) {
    let mut net = Net::new("h_merge", shape, &[HOT]).await;
    net.configure("from:n0", MERGED);
    let log = fight(&mut net, "columns_and_counters_lose_nothing").await;
    let account = account(&net.field(), &log, true).await;
    eprintln!("{account:?}");
    assert!(
        account.merged > 20 && account.plain_sums > 10 && account.sums_by_record > 20,
        "too tame: {account:?}"
    );
}

async fn what_the_hub_wrote_last_stands(shape: Shape) {
    let mut net = Net::new("h_truth", shape, &[HOT]).await;
    net.configure("from:n0", "on_conflict = \"source-of-truth:n0\"");
    let log = fight(&mut net, "what_the_hub_wrote_last_stands").await;
    let account = account(&net.field(), &log, false).await;
    let stands = truth_stands(&net.field(), &log).await;
    eprintln!("{account:?}, {stands} rows of the truth");
    assert!(account.recorded > 20 && stands > 20, "too tame: {account:?}");
}

/// `delete` on one table, `update` on the other, each contested both ways round between a spoke and each other node.
async fn deletes_win_or_lose_by_the_rule(shape: Shape) {
    const GONE: Table = Table { name: "gone", ..ITEM };
    let more = "[sync.table.gone]\non_delete_conflict = \"delete\"\n[sync.table.item]\non_delete_conflict = \"update\"";
    let tables = ["item", "gone"];
    let statements = |of: &dyn Fn(&str) -> String| tables.map(of).join(";");
    let rows = statements(&|table| {
        let rows = (1..=4)
            .map(|id| format!("({id}, 'x', 0, 'old')"))
            .collect::<Vec<_>>();
        format!("INSERT INTO {table} VALUES {}", rows.join(", "))
    });
    let mut net = ruled("h_delete", shape, &[ITEM, GONE], more, &rows).await;
    let delete = |id: i64| statements(&|table| format!("DELETE FROM {table} WHERE id = {id}"));
    let update = |id: i64| {
        let once =
            |n: i64| statements(&|table| format!("UPDATE {table} SET n = {n}, note = 'new' WHERE id = {id}"));
        [once(1), once(2)].join(";")
    };
    let on = [
        [delete(1), update(2)].join(";"),
        [update(1), delete(3), update(4)].join(";"),
        [delete(2), update(3), delete(4)].join(";"),
    ];
    apart(&mut net, on.each_ref().map(String::as_str)).await;
    net.everywhere("item WHERE note = 'new'", 4).await;
    net.everywhere("gone", 0).await;
    net.wait_equal().await;
}

/// What waits, and is open, on a node.
async fn waits(net: &Net, node: usize) -> (Vec<String>, i64) {
    let parked = format!(
        "SELECT kind FROM tidelock.parked WHERE sync = '{}' ORDER BY kind",
        net.sync
    );
    let open = format!(
        "tidelock.conflict WHERE sync = '{}' AND outcome = 'open'",
        net.sync
    );
    let kinds = net.db(node).rows(&parked).await;
    (
        kinds.into_iter().flatten().flatten().collect(),
        net.db(node).count(&open).await,
    )
}

/// Nothing waits, nothing is open, and every table is equal.
async fn settled(net: &mut Net) {
    for node in 0..3 {
        let limit = tokio::time::Instant::now() + LIMIT;
        loop {
            let left = waits(net, node).await;
            if left == (vec![], 0) {
                break;
            }
            net.assert_running();
            assert!(
                tokio::time::Instant::now() < limit,
                "on n{node} there is still {left:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    net.wait_equal().await;
}

/// `n1:7`: a record of that node of a row, and with this outcome.
async fn record(net: &Net, node: usize, table: &str, id: i64, outcome: &str) -> String {
    let sql = format!(
        "SELECT max(number) FROM tidelock.conflict WHERE sync = '{}' AND table_name = '{table}' AND key_json = '[{id}]' \
         AND outcome LIKE '{outcome}'",
        net.sync
    );
    let number = net.db(node).one(&sql).await;
    assert_ne!(
        number, "NULL",
        "n{node} recorded nothing of {table} {id} that is {outcome}"
    );
    format!("n{node}:{number}")
}

/// Three nodes change one row, and two spokes another, in a table that asks.
async fn one_command_ends_what_waits_on_three_nodes(shape: Shape) {
    let rows = "INSERT INTO crew VALUES (1, 'ann', 'old'); INSERT INTO crew VALUES (2, 'bea', 'old'); \
                INSERT INTO crew VALUES (3, 'cas', 'old'); INSERT INTO crew VALUES (4, 'dea', 'old')";
    let more = "on_conflict = \"ask\"";
    let mut net = ruled("h_ask", shape, &[CREW, SHIFT], more, rows).await;
    apart(
        &mut net,
        [
            "UPDATE crew SET note = 'n0' WHERE id = 1; INSERT INTO shift VALUES (10, 1, 'mon')",
            "UPDATE crew SET note = 'n1' WHERE id IN (1, 2); UPDATE crew SET note = 'flows' WHERE id = 3; \
             INSERT INTO shift VALUES (11, 1, 'mon'); INSERT INTO shift VALUES (31, 3, 'mon'); DELETE FROM crew WHERE id = 4",
            "UPDATE crew SET note = 'n2' WHERE id IN (1, 2); INSERT INTO shift VALUES (12, 1, 'mon'); \
             INSERT INTO shift VALUES (22, 2, 'mon'); INSERT INTO shift VALUES (32, 3, 'mon'); \
             UPDATE crew SET note = 'n2' WHERE id = 4",
        ],
    )
    .await;
    // The rest flows; what three nodes changed is on each as its own users left it.
    net.everywhere("crew WHERE note = 'flows'", 1).await;
    net.everywhere("shift WHERE crew = 3", 2).await;
    for node in 0..3 {
        let own = format!("crew WHERE id = 1 AND note = 'n{node}'");
        assert_eq!(net.db(node).count(&own).await, 1, "n{node}");
        assert_eq!(
            net.db(node).count("shift WHERE crew = 1").await,
            1,
            "children on n{node}"
        );
        let (kinds, open) = waits(&net, node).await;
        assert!(
            open > 0
                && kinds.iter().any(|kind| kind == "ask")
                && kinds.iter().any(|kind| kind == "waits_for_parent"),
            "n{node}: {kinds:?}, {open} open"
        );
    }
    let listed = net.lock.ok(&["conflicts", "list", "--open"]).await;
    assert!(listed.contains("update_origin_differs"), "{listed}");
    // Nothing is forgotten.
    net.lock.kill9().await;
    net.run();
    // One command for each row, by the record of any node; a third version, which the record does not tell of, is not
    // overwritten unasked.
    let name = record(&net, 1, "crew", 1, "open").await;
    let resolve = ["conflicts", "resolve", &name, "--take", "n1", "--execute"];
    let refused = net.lock.run(&resolve).await;
    assert!(
        refused.code == 5 && refused.stderr.contains("n2 holds version 2 of n2"),
        "{}",
        refused.stderr
    );
    net.lock.ok(&[&resolve[..], &["--force"]].concat()).await;
    for id in [2, 4] {
        let name = record(&net, 0, "crew", id, "open").await;
        net.lock
            .ok(&["conflicts", "resolve", &name, "--take", "n2", "--execute"])
            .await;
    }
    settled(&mut net).await;
    net.everywhere("crew WHERE id = 1 AND note = 'n1'", 1).await;
    net.everywhere("crew WHERE id IN (2, 4) AND note = 'n2'", 2).await;
    net.everywhere("shift", 6).await;
}

async fn a_unique_clash_of_two_spokes_ends_everywhere(shape: Shape) {
    let rows = "INSERT INTO crew VALUES (9, 'zoe', '')";
    let mut net = ruled("h_clash", shape, &[CREW, SHIFT], "", rows).await;
    apart(
        &mut net,
        [
            "UPDATE crew SET note = 'flows' WHERE id = 9",
            "INSERT INTO crew VALUES (1, 'ann', 'n1'); INSERT INTO shift VALUES (11, 1, 'mon')",
            "INSERT INTO crew VALUES (2, 'ann', 'n2'); INSERT INTO shift VALUES (22, 2, 'mon'); \
             UPDATE shift SET day = 'tue' WHERE id = 22",
        ],
    )
    .await;
    net.everywhere("crew WHERE note = 'flows'", 1).await;
    // Whose row came to the hub first stands there.
    let first = net.db(0).one("SELECT id FROM crew WHERE id < 9").await;
    let (id, stays) = if first == "1" { (2, 1) } else { (1, 2) };
    let (kinds, open) = waits(&net, 0).await;
    assert_eq!(
        (kinds.as_slice(), open),
        (["unique", "waits_for_parent"].map(str::to_owned).as_slice(), 1)
    );
    let name = record(&net, 0, "crew", id, "open").await;
    net.lock
        .ok(&["conflicts", "resolve", &name, "--set", "nick=bea", "--execute"])
        .await;
    settled(&mut net).await;
    net.everywhere(&format!("crew WHERE id = {id} AND nick = 'bea'"), 1)
        .await;
    net.everywhere(&format!("crew WHERE id = {stays} AND nick = 'ann'"), 1)
        .await;
    net.everywhere("shift", 2).await;
}

/// What the rule decided is decided otherwise long after, when the tombstones are gone, from any node's record.
async fn a_spoke_overrides_for_all(shape: Shape) {
    let rows = "INSERT INTO item VALUES (1, 'x', 0, 'old'); INSERT INTO item VALUES (2, 'x', 0, 'old'); \
                INSERT INTO item VALUES (3, 'x', 0, 'old')";
    let mut net = ruled("h_over", shape, &[ITEM], "", rows).await;
    // What n1 wrote comes by the hub to n2 before the hub has seen what n2 wrote, so n2 meets it.
    net.stop().await;
    let last = format!("{}/n2->n0", net.sync);
    net.lock.ok(&["pause", &last]).await;
    write(
        &net,
        [
            "UPDATE item SET note = 'n0' WHERE id = 1",
            "UPDATE item SET note = 'n1' WHERE id = 1; UPDATE item SET n = 1 WHERE id = 2; DELETE FROM item WHERE id = 2; \
             UPDATE item SET note = 'n1' WHERE id = 3",
            "UPDATE item SET note = 'n2' WHERE id = 1; UPDATE item SET note = 'n2' WHERE id = 2; \
             UPDATE item SET note = 'n2' WHERE id = 3",
        ],
    )
    .await;
    net.run();
    let met = format!(
        "tidelock.conflict WHERE sync = '{}' AND key_json = '[3]'",
        net.sync
    );
    eventually(LIMIT, "n2 meets what n1 wrote", async || {
        net.db(2).count(&met).await == 1
    })
    .await;
    net.lock.ok(&["resume", &last]).await;
    net.wait_equal().await;
    net.everywhere("item WHERE id = 2", 0).await;
    net.age(2).await;
    // It takes its time, so one of the two hubs shows it.
    if net.db(0).kind().is_postgres() {
        net.all_collected("item").await;
    }
    // Each node's record serves; the last row is taken back from the record alone.
    for (node, id, taken) in [(1, 1, "n1"), (2, 3, "n1"), (2, 2, "n2")] {
        let name = record(&net, node, "item", id, "%").await;
        net.lock
            .ok(&[
                "conflicts",
                "override",
                &name,
                "--take",
                taken,
                "--force",
                "--execute",
            ])
            .await;
        net.everywhere(&format!("item WHERE id = {id} AND note = '{taken}'"), 1)
            .await;
        let sql = format!(
            "SELECT settled_how FROM tidelock.conflict WHERE sync = '{}' AND key_json = '[{id}]' AND settled_how IS NOT NULL",
            net.sync
        );
        let told = net.db(node).rows(&sql).await;
        assert!(
            told.iter()
                .flatten()
                .flatten()
                .any(|how| how.contains(&format!("take {taken}"))),
            "the override is not in the record of n{node}: {told:?}"
        );
    }
    net.wait_equal().await;
    let written = net.conflicts().await;
    net.exec(1, "UPDATE item SET n = 7").await;
    net.wait_equal().await;
    assert_eq!(net.conflicts().await, written, "what follows is uncontested");
}

/// The whole refusal as a person gets it: exit code, place, reason and what to write instead.
#[tokio::test]
async fn what_a_hub_or_a_mesh_does_not_have_is_refused() {
    let hub = "topology = \"hub:n0\"\nseed = \"from:n0\"";
    let mesh = "topology = \"mesh\"\nseed = \"from:n0\"";
    let section = "[sync.table.item]\n";
    let of_mesh = (
        "in a mesh of three nodes and more only \"newest\" is offered",
        "a change can arrive before the one that it was based on",
    );
    let of_hub = (
        "with a hub it is the hub that answers for the rules",
        "name the hub as the arbiter and the source of truth",
    );
    let asks = (
        "columns cannot be merged in a table that asks",
        "take on_conflict off the columns",
    );
    let cases = [
        (hub, "on_conflict = \"source-of-truth:n1\"".to_owned(), of_hub),
        (
            hub,
            "on_conflict = \"columns\"\narbiter = \"n2\"".to_owned(),
            of_hub,
        ),
        (
            hub,
            format!("arbiter = \"n1\"\n{section}column.n = {{ on_conflict = \"delta\" }}"),
            of_hub,
        ),
        (
            hub,
            "arbiter = \"n1\"\non_delete_conflict = \"update\"".to_owned(),
            of_hub,
        ),
        (
            hub,
            format!("{section}on_conflict = \"source-of-truth:n2\""),
            of_hub,
        ),
        (
            hub,
            "on_conflict = \"source-of-truth:n0\"\narbiter = \"n1\"".to_owned(),
            (
                "the arbiter is not the table's source of truth",
                "name the truth in arbiter, or remove it",
            ),
        ),
        (
            hub,
            format!("on_conflict = \"ask\"\n{section}column.n = {{ on_conflict = \"delta\" }}"),
            asks,
        ),
        (mesh, "on_conflict = \"source-of-truth:n0\"".to_owned(), of_mesh),
        (mesh, "on_conflict = \"columns\"".to_owned(), of_mesh),
        (mesh, "on_conflict = \"ask\"".to_owned(), of_mesh),
        (mesh, "on_delete_conflict = \"delete\"".to_owned(), of_mesh),
        (mesh, "on_delete_conflict = \"update\"".to_owned(), of_mesh),
        (mesh, "on_delete_conflict = \"ask\"".to_owned(), of_mesh),
        (
            mesh,
            format!("{section}column.n = {{ on_conflict = \"delta\" }}"),
            of_mesh,
        ),
        (
            mesh,
            format!("{section}column.n = {{ on_conflict = \"columns\" }}"),
            of_mesh,
        ),
    ];
    let nodes =
        ["n0", "n1", "n2"].map(|name| format!("[node.{name}]\nurl = \"postgres://u@{name}.example/d\"\n"));
    for (shape, lines, (reason, fix)) in cases {
        let config = format!(
            "version = 1\n{}[[sync]]\nname = \"s\"\nnodes = [\"n0\", \"n1\", \"n2\"]\nmode = \"merge\"\n\
             tables = [\"item\"]\n{shape}\n{lines}\n",
            nodes.concat()
        );
        let told = harness::Tidelock::new(&config).run(&["check"]).await;
        let all = format!("{lines}: {} {}{}", told.code, told.stdout, told.stderr);
        assert_eq!(told.code, 78, "{all}");
        assert!(
            all.contains(reason) && all.contains(fix) && all.contains(".toml:"),
            "{all}"
        );
    }
}
