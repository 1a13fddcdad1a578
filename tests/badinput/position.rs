//! Logs that do not hold any more what comes next, and servers that are not the recorded ones: code 7, never on
//! silently, and the way back ends with both sides equal.

use crate::harness::{Db, Options, Session, eventually, private};
use crate::on_both_pairs;
use crate::stage::{NOTICED, Pair, Stage, Way, mend};

on_both_pairs!(
    slot_dropped,
    slot_ahead,
    slot_invalidated,
    binlog_purged,
    binlog_reset,
    other_server,
    identity_changed,
    publication_lost_a_table,
    seed_refused_first,
);

/// The server notices only after a moment that a reader has left.
async fn slot(stage: &Stage) -> String {
    let active = format!(
        "pg_replication_slots WHERE active AND database = '{}'",
        stage.a.name()
    );
    eventually(NOTICED, "nobody reads the slot", async || {
        stage.a.count(&active).await == 0
    })
    .await;
    let sql = format!(
        "SELECT slot_name FROM pg_replication_slots WHERE database = '{}'",
        stage.a.name()
    );
    stage.a.one(&sql).await
}

async fn slot_dropped(pair: Pair) {
    let mut stage = Stage::new("dropped", pair, Way::Merge).await;
    stage.begin().await;
    let name = slot(&stage).await;
    stage
        .a
        .exec(&format!("SELECT pg_drop_replication_slot('{name}')"))
        .await;
    stage.write().await;
    let said = stage
        .refused_run(7, &["a: could not", &name, "does not exist"])
        .await;
    stage.renew(&said, "a").await;
}

async fn slot_ahead(pair: Pair) {
    let mut stage = Stage::new("ahead", pair, Way::AToB).await;
    stage.begin().await;
    stage.write().await;
    // Only what is on disk can be passed over.
    stage.a.as_dba("CHECKPOINT").await;
    let name = slot(&stage).await;
    let sql = format!("SELECT pg_replication_slot_advance('{name}', pg_current_wal_insert_lsn())");
    stage.a.exec(&sql).await;
    let said = stage
        .refused_run(7, &["a: could not", &name, "the slot is ahead"])
        .await;
    stage.renew(&said, "a").await;
    // Made anew by hand it is ahead too.
    let name = slot(&stage).await;
    stage.write().await;
    stage
        .a
        .exec(&format!("SELECT pg_drop_replication_slot('{name}')"))
        .await;
    stage
        .a
        .exec(&format!(
            "SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')"
        ))
        .await;
    let said = stage
        .refused_run(7, &["a: could not", &name, "the slot is ahead"])
        .await;
    stage.renew(&said, "a").await;
}

async fn slot_invalidated(pair: Pair) {
    let options = Options {
        extra: [
            "max_slot_wal_keep_size=1MB",
            "max_wal_size=32MB",
            "min_wal_size=32MB",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..Options::default()
    };
    let mut stage = Stage::own_a("short", pair, Way::AToB, &options).await;
    stage.begin().await;
    stage.write().await;
    let name = slot(&stage).await;
    let lost = format!("SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{name}'");
    for _ in 0..20 {
        stage.a.as_dba("SELECT pg_switch_wal()").await;
        stage
            .a
            .exec("CREATE TABLE filler AS SELECT repeat('x', 100) FROM generate_series(1, 1000)")
            .await;
        stage.a.exec("DROP TABLE filler").await;
        stage.a.as_dba("CHECKPOINT").await;
        if stage.a.one(&lost).await == "lost" {
            break;
        }
    }
    assert_eq!(stage.a.one(&lost).await, "lost");
    let said = stage
        .refused_run(7, &["a: could not", &name, "max_slot_wal_keep_size"])
        .await;
    stage.renew(&said, "a").await;
}

async fn binlog_purged(pair: Pair) {
    for way in [Way::BToA, Way::Merge] {
        let mut stage = Stage::own_b("purged", pair, way, &Options::default()).await;
        stage.begin().await;
        stage.write().await;
        stage.b.as_dba("FLUSH BINARY LOGS").await;
        stage.write().await;
        let status = if stage.mariadb() {
            "SHOW MASTER STATUS"
        } else {
            "SHOW BINARY LOG STATUS"
        };
        let newest = stage.b.rows(status).await[0][0].clone().unwrap();
        stage.b.as_dba("FLUSH BINARY LOGS").await;
        // MariaDB keeps what a reader that has left may still be reading.
        eventually(NOTICED, "the old logs are gone", async || {
            stage.b.as_dba(&format!("PURGE BINARY LOGS TO '{newest}'")).await;
            stage.b.rows("SHOW BINARY LOGS").await[0][0].as_ref() == Some(&newest)
        })
        .await;
        let said = stage.refused_run(7, &["b: could not", "binlog"]).await;
        stage.renew(&said, "a").await;
    }
}

async fn binlog_reset(pair: Pair) {
    let mut stage = Stage::own_b("reset", pair, Way::Merge, &Options::default()).await;
    stage.begin().await;
    stage.write().await;
    let reset = if stage.mariadb() {
        "RESET MASTER"
    } else {
        "RESET BINARY LOGS AND GTIDS"
    };
    stage.b.as_dba(reset).await;
    stage.write().await;
    let said = stage.refused_run(7, &["b: could not", "reset"]).await;
    stage.renew(&said, "a").await;
}

/// The same address, another server behind it, empty or with a copy of the user's tables.
async fn other_server(pair: Pair) {
    for on_a in [true, false] {
        let mut stage = Stage::new("other", pair, Way::Merge).await;
        stage.begin().await;
        stage.start().await;
        let (code, _) = stage.lock.term().await;
        assert_eq!(code, 0);
        let old = (stage.node_a.clone(), stage.node_b.clone());
        let kind = if on_a { pair.0 } else { pair.1 };
        let fresh = private(kind, &Options::default()).await;
        let here = stage.side(on_a);
        here.found_by(&mut fresh.admin().await).await;
        let there = |line: &str| line.replace(&port(&here.url()), &port(&fresh.url()));
        copy_rows(here, &mut Session::open(kind, &there(&here.owner_url())).await).await;
        let line = there(&here.node());
        match on_a {
            true => stage.node_a = line,
            false => stage.node_b = line,
        }
        stage.configure();
        let node = if on_a { "a: " } else { "b: " };
        // Nothing of ours is there: it is told, and setting up does not lead past the proof of identity.
        stage.refused_run(3, &[node, "tidelock setup --execute"]).await;
        let set_up = stage.lock.run(&["setup", "--execute"]).await;
        assert_eq!(set_up.code, 0, "{}", set_up.stderr);
        stage.refused_run(7, &["not the server"]).await;
        // Back to the recorded one.
        (stage.node_a, stage.node_b) = old;
        stage.configure();
        stage.runs().await;
    }
}

/// `:1234/` of a URL.
fn port(url: &str) -> String {
    let url: url::Url = url.parse().unwrap();
    format!(":{}/", url.port().unwrap())
}

async fn copy_rows(from: &Db, to: &mut Session) {
    to.exec("CREATE TABLE item (id int NOT NULL PRIMARY KEY, word varchar(60) NOT NULL)")
        .await;
    for row in from.rows("SELECT id, word FROM item").await {
        let cell = |index: usize| row[index].clone().unwrap();
        to.exec(&format!("INSERT INTO item VALUES ({}, '{}')", cell(0), cell(1)))
            .await;
    }
}

async fn identity_changed(pair: Pair) {
    let mut stage = Stage::new("identity", pair, Way::Merge).await;
    stage.begin().await;
    // Inserted rows are whole whatever the identity: the mend is enough.
    stage.start().await;
    stage.a.exec("ALTER TABLE item REPLICA IDENTITY DEFAULT").await;
    stage.a.exec("INSERT INTO item VALUES (70, 'seventy')").await;
    stage
        .ends(
            3,
            &[
                "a: could not go on",
                "item",
                "replica identity",
                "tidelock setup --execute",
            ],
        )
        .await;
    stage
        .refused_run(
            3,
            &["a: could not start", "item", "replica identity", "tidelock setup"],
        )
        .await;
    stage.lock.ok(&["setup", "--execute"]).await;
    stage.runs().await;
    assert_eq!(
        stage.b.one("SELECT word FROM item WHERE id = 70").await,
        "seventy"
    );
    // A changed row has left no old image.
    stage.start().await;
    stage.a.exec("ALTER TABLE item REPLICA IDENTITY NOTHING").await;
    stage.a.exec("ALTER TABLE item REPLICA IDENTITY DEFAULT").await;
    stage
        .a
        .exec("UPDATE item SET word = 'unseen' WHERE id = 70")
        .await;
    let said = stage
        .ends(
            7,
            &[
                "a: table public.item",
                "replica identity is not FULL",
                "REPLICA IDENTITY FULL",
            ],
        )
        .await;
    assert_eq!(
        stage.b.one("SELECT word FROM item WHERE id = 70").await,
        "seventy"
    );
    mend(&stage.a, &said.hint).await;
    let said = stage
        .refused_run(7, &["a: table public.item", "replica identity is not FULL"])
        .await;
    stage.renew(&said, "a").await;
    assert_eq!(stage.b.one("SELECT word FROM item WHERE id = 70").await, "unseen");
}

/// What is written while a table is outside the publication is never sent, not even after it is back.
async fn publication_lost_a_table(pair: Pair) {
    let mut stage = Stage::new("outside", pair, Way::Merge).await;
    stage.begin().await;
    let name = stage.a.one("SELECT pubname FROM pg_publication").await;
    stage.start().await;
    stage
        .a
        .exec(&format!("ALTER PUBLICATION {name} DROP TABLE item"))
        .await;
    stage.a.exec("INSERT INTO item VALUES (80, 'unseen')").await;
    stage.ends(7, &["a: ", "item", "publication", "not sent"]).await;
    assert_eq!(stage.b.count("item WHERE id = 80").await, 0);
    let said = stage
        .refused_run(7, &["a: ", "item", "publication", "not sent"])
        .await;
    assert_eq!(
        said.hint,
        stage.finding("a", "E408", &["item", "publication"]).await
    );
    // Putting it back would only hide what is missing.
    stage
        .refused(
            &["setup", "--execute"],
            7,
            &["a: ", "item", "publication", "not sent"],
        )
        .await;
    stage.renew(&said, "a").await;
    assert_eq!(stage.b.one("SELECT word FROM item WHERE id = 80").await, "unseen");
}

/// A first copy refuses tables with rows; emptying them then, as told, is no TRUNCATE to be carried back.
async fn seed_refused_first(pair: Pair) {
    let mut stage = Stage::new("full", pair, Way::Merge).await;
    stage.b.exec("INSERT INTO item VALUES (9, 'nine')").await;
    stage.lock.ok(&["setup", "--execute"]).await;
    for _ in 0..2 {
        let said = stage
            .refused_run(
                5,
                &["b: table", "item", "already holds rows", "empty tables only"],
            )
            .await;
        assert!(
            said.hint.contains("TRUNCATE TABLE") && said.hint.contains("seed = \"none\""),
            "{said:?}"
        );
    }
    let said = stage.refused_run(5, &["already holds rows"]).await;
    mend(&stage.b, &said.hint).await;
    stage.runs().await;
    assert_eq!(stage.a.count("item WHERE id = 9").await, 0);
}
