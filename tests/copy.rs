//! The first copy while things die and users write: it goes on with what is not done, and is right in the end.
//!
//! A copy is stopped at a known place by a row that somebody else has inserted into the target and not committed: the
//! chunk that brings the same key waits for it.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::{Kind, Options, Rows, Session, eventually};
use scenario::{LIMIT, NEW, OLD, POSTGRES, Pair, Scene, Side, Table, Way, numbers};

pairs! {
    killed_copy_goes_on => killed_copy_goes_on;
    killed_copy_of_a_merge_goes_on => killed_copy_of_a_merge_goes_on;
    keys_of_all_orders_are_cut => keys_of_all_orders_are_cut;
    rows_in_the_way_are_decided => rows_in_the_way_are_decided;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_in_the_way_between_postgresql() {
    rows_in_the_way_are_decided(POSTGRES).await;
}

const SEAT: Table = Table {
    name: "seat",
    body: "id bigint NOT NULL PRIMARY KEY, place int UNIQUE, body {text}, n int",
    key: &["id"],
    columns: &["place", "body", "n"],
};

/// Keys that each server orders in its own way.
const WORD: Table = Table {
    name: "word",
    body: "w varchar(40) NOT NULL, n decimal(12,3) NOT NULL, d date NOT NULL, PRIMARY KEY (w, n, d)",
    key: &["w", "n", "d"],
    columns: &[],
};

const ONE_BY_ONE: &str = "[limits]\ncopy_workers = 1\nchunk_rows_max = 100";

/// 1000 seats, in ten chunks; on PostgreSQL with a column that the log leaves out where it did not change.
async fn fill(scene: &Scene, from: Side) {
    if scene.db(from).kind().is_postgres() {
        scene
            .exec(from, "ALTER TABLE seat ALTER COLUMN body SET STORAGE EXTERNAL")
            .await;
    }
    let rows = format!(
        "INSERT INTO seat SELECT i + 1, i + 1, repeat('x', 3000), 0 FROM {}",
        numbers(1000)
    );
    scene.exec(from, &rows).await;
}

/// Keeps the chunk of row 550 from being done.
async fn obstacle(scene: &Scene, to: Side) -> Session {
    let mut session = scene.db(to).session().await;
    if !scene.db(to).kind().is_postgres() {
        // Nothing but its row is locked, by no trigger of ours and by no gap.
        session.exec("SET @tidelock_apply = 1").await;
        session
            .exec("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            .await;
    }
    session.exec("BEGIN").await;
    session
        .exec("INSERT INTO seat VALUES (550, -1, 'obstacle', 0)")
        .await;
    session
}

/// Runs until the chunks before row 550 are done, and returns them.
async fn run_into(scene: &mut Scene, to: Side) -> Rows {
    scene.run().await;
    wait_done(scene, to, 5).await;
    done(scene, to).await
}

async fn wait_done(scene: &mut Scene, to: Side, count: usize) {
    eventually(LIMIT, "chunks are done", async || {
        done(scene, to).await.len() >= count
    })
    .await;
}

async fn done(scene: &Scene, to: Side) -> Rows {
    let sql = format!(
        "SELECT table_name, number, copied_rows, epoch, done_at FROM tidelock.chunk \
         WHERE sync = '{}' AND state = 'done' ORDER BY 1, 2",
        scene.sync
    );
    scene.db(to).rows(&sql).await
}

/// All chunks are done, and those that were done before are as they were.
async fn assert_went_on(scene: &Scene, to: Side, before: &Rows) {
    let after = done(scene, to).await;
    assert_eq!(
        after.len(),
        12,
        "ten chunks of seats, an empty last one, and one of probes"
    );
    for chunk in before {
        assert!(after.contains(chunk), "done again: {chunk:?}, now {after:?}");
    }
    let open = "SELECT count(*) FROM tidelock.chunk WHERE state <> 'done' AND sync = ";
    let open = format!("{open}'{}'", scene.sync);
    assert_eq!(scene.db(to).one(&open).await, "0");
}

/// What users do between the death of a copy and its going on. Every unique value that moves here is read twice, by a
/// chunk before the death and by one after it.
const MEANWHILE: &str = "UPDATE seat SET place = 100005 WHERE id = 5; UPDATE seat SET place = 5 WHERE id = 800;
    UPDATE seat SET place = -1 WHERE id = 6; UPDATE seat SET place = 6 WHERE id = 801;
    UPDATE seat SET place = 801 WHERE id = 6; UPDATE seat SET n = n + 1 WHERE id IN (5, 6, 800, 801);
    DELETE FROM seat WHERE id = 7; INSERT INTO seat VALUES (3000, 7, 'new', 7);
    UPDATE seat SET id = 4000 WHERE id = 8; UPDATE seat SET n = 4 WHERE id = 4000;
    DELETE FROM seat WHERE id = 150; UPDATE seat SET id = 150 WHERE id = 900; UPDATE seat SET n = 9 WHERE id = 150;
    DELETE FROM seat WHERE id = 901; UPDATE seat SET place = 901 WHERE id = 9; UPDATE seat SET place = 9 WHERE id = 902;
    DELETE FROM seat WHERE id = 10; INSERT INTO seat VALUES (10, 100010, 'again', 1);
    INSERT INTO seat VALUES (5000, 10, 'of ten', 1); DELETE FROM seat WHERE id = 5000; INSERT INTO seat VALUES (5001, 10, 'x', 1)";

/// Seen by a second process: what is done, and how much there is.
async fn assert_told(scene: &Scene) {
    let told = scene.lock.run(&["status", "--json"]).await;
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    let links = told["links"].as_array().unwrap();
    let copies = links.iter().flat_map(|link| link["copy"].as_array().unwrap());
    let seats: Vec<_> = copies
        .filter(|copy| copy["table"].as_str().unwrap().ends_with(".seat"))
        .collect();
    assert_eq!(seats.len(), 1, "{told}");
    let figure = |name: &str| seats[0][name].as_u64().unwrap_or_default();
    assert_eq!(
        (figure("chunks"), figure("chunks_done"), figure("rows")),
        (11, 5, 500),
        "{told}"
    );
    assert!(figure("bytes") > 500 * 3000, "{told}");
    let shown = scene.lock.run(&["status"]).await.stdout;
    assert!(
        shown.contains("copied 500") && shown.contains("5 of 12 chunks"),
        "{shown}"
    );
}

async fn killed(pair: Pair, way: Way, from: Side) {
    let to = from.other();
    let mut scene = Scene::new("copykill", pair, way, &[SEAT]).await;
    let seed = if from == Side::A { "from:a" } else { "from:b" };
    scene.configure(seed, ONE_BY_ONE);
    fill(&scene, from).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let mut obstacle = obstacle(&scene, to).await;
    let before = run_into(&mut scene, to).await;
    assert_told(&scene).await;
    scene.lock.kill9().await;
    scene.exec(from, MEANWHILE).await;
    obstacle.exec("ROLLBACK").await;
    scene.run().await;
    scene.wait_equal().await;
    assert_went_on(&scene, to, &before).await;
    assert_eq!(scene.db(to).count("seat").await, 999);
    scene.assert_no_conflicts().await;
    // What is written from now on goes on as ever.
    scene
        .exec(
            from,
            "UPDATE seat SET n = 77 WHERE id = 5; DELETE FROM seat WHERE id = 801",
        )
        .await;
    scene.wait_equal().await;
    scene.assert_no_conflicts().await;
    scene.stop().await;
}

async fn killed_copy_goes_on(pair: Pair) {
    killed(pair, Way::AToB, Side::A).await;
    killed(pair, Way::BToA, Side::B).await;
}

/// From A alone: PostgreSQL's slot of the way back would wait for the obstacle.
async fn killed_copy_of_a_merge_goes_on(pair: Pair) {
    killed(pair, Way::Merge, Side::A).await;
}

/// Chunks of a few rows by keys of texts, decimals and dates: each row is in just one of them.
async fn keys_of_all_orders_are_cut(pair: Pair) {
    for (way, from) in [(Way::AToB, Side::A), (Way::BToA, Side::B)] {
        let mut scene = Scene::new("copykeys", pair, way, &[WORD]).await;
        let seed = if from == Side::A { "from:a" } else { "from:b" };
        scene.configure(seed, "[limits]\ncopy_workers = 3\nchunk_rows_max = 7");
        let words = [
            "", "a", "B", "it''s", "Zz", "a b", "a-b", "é", "zebra", "🌊", "10", "9",
        ];
        let mut rows = Vec::new();
        for word in words {
            for (n, d) in [
                ("-5.5", "2020-01-01"),
                ("0", "1999-12-31"),
                ("10", "2020-01-01"),
                ("9.125", "2020-01-02"),
            ] {
                rows.push(format!("('{word}', {n}, '{d}')"));
                rows.push(format!("('{word}', {n}, '2021-05-05')"));
            }
        }
        scene
            .db(from)
            .exec(&format!("INSERT INTO word VALUES {}", rows.join(", ")))
            .await;
        scene.start().await;
        scene.wait_equal().await;
        let to = from.other();
        let copied =
            "SELECT sum(copied_rows), count(*) FROM tidelock.chunk WHERE table_name = 'word' AND sync = ";
        let copied = scene.db(to).rows(&format!("{copied}'{}'", scene.sync)).await;
        let cells: Vec<&str> = copied[0].iter().map(|cell| cell.as_deref().unwrap()).collect();
        assert_eq!(cells, [rows.len().to_string().as_str(), "14"]);
        scene.assert_no_conflicts().await;
    }
}

/// Rows of the target's users are there when a piece brings their key, or a unique value of theirs: these are decided like
/// changes, and the rest of the piece arrives.
async fn rows_in_the_way_are_decided(pair: Pair) {
    for (way, from) in [(Way::AToB, Side::A), (Way::BToA, Side::B)] {
        let to = from.other();
        let mut scene = Scene::new("copyway", pair, way, &[SEAT]).await;
        fill(&scene, from).await;
        scene.lock.ok(&["setup", "--execute"]).await;
        let mut user = scene.db(to).session().await;
        user.exec("BEGIN").await;
        user.exec("INSERT INTO seat VALUES (550, -1, 'in the way', 0), (5000, 700, 'so is this', 0)")
            .await;
        scene.run().await;
        let planned = format!("tidelock.chunk WHERE sync = '{}'", scene.sync);
        eventually(LIMIT, "the copy has begun", async || {
            scene.db(to).count(&planned).await > 0
        })
        .await;
        user.exec("COMMIT").await;
        scene.streaming().await;
        let found = scene.conflicts(to).await;
        let mut found: Vec<_> = found
            .iter()
            .map(|conflict| {
                (
                    conflict.key.to_string(),
                    conflict.kind.as_str(),
                    conflict.outcome.as_str(),
                )
            })
            .collect();
        found.sort();
        let seats = "SELECT count(*), sum(place), sum(n) FROM seat WHERE id <= 1000 AND body <> 'in the way'";
        let seats = scene.db(to).rows(seats).await.remove(0);
        let seats: Vec<_> = seats.iter().map(|cell| cell.as_deref().unwrap()).collect();
        if scene.db(from).kind() == Kind::Mysql {
            // Its images are not of one moment: what is in the way may be an earlier place of another row, and is looked
            // up at the source.
            assert_eq!((found.len(), seats), (0, vec!["1000", "500500", "0"]), "{way:?}");
        } else {
            let expected = [
                ("[550]".to_owned(), "insert_exists", "applied"),
                ("[700]".to_owned(), "multiple_unique_conflicts", "open"),
            ];
            assert_eq!(found, expected, "{way:?}");
            assert_eq!(seats, ["999", "499800", "0"], "{way:?}");
        }
        scene.stop().await;
    }
}

/// Both servers die while a copy runs, one after the other; the program goes on by itself.
async fn servers_killed(pair: Pair, way: Way, from: Side) {
    let to = from.other();
    let options = Options {
        durable: true,
        ..Options::default()
    };
    let mut scene = Scene::private(pair, way, &[SEAT], &options).await;
    let seed = if from == Side::A { "from:a" } else { "from:b" };
    scene.configure(seed, ONE_BY_ONE);
    fill(&scene, from).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let _obstacle = obstacle(&scene, to).await;
    let before = run_into(&mut scene, to).await;
    for side in [from, to] {
        let db = if side == Side::A {
            &mut scene.a
        } else {
            &mut scene.b
        };
        // The obstacle goes with the target.
        db.server().kill().await;
        db.server().restart().await.unwrap();
        if side == from {
            scene.exec(from, MEANWHILE).await;
        }
    }
    scene.wait_equal().await;
    assert_went_on(&scene, to, &before).await;
    scene.assert_no_conflicts().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_a_copy_to_mysql_killed() {
    servers_killed(NEW, Way::AToB, Side::A).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_a_copy_from_mariadb_killed() {
    servers_killed(OLD, Way::BToA, Side::B).await;
}

/// A slot that is gone takes the position with it: the copy does not go on, and says how to begin anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn position_lost_in_the_middle_is_told() {
    let mut scene = Scene::new("copylost", NEW, Way::AToB, &[SEAT]).await;
    scene.configure("from:a", ONE_BY_ONE);
    fill(&scene, Side::A).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let mut obstacle = obstacle(&scene, Side::B).await;
    run_into(&mut scene, Side::B).await;
    scene.lock.kill9().await;
    obstacle.exec("ROLLBACK").await;
    let drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()";
    let mut admin = scene.a.admin().await;
    eventually(LIMIT, "the slot is dropped", async || {
        admin.try_rows(drop).await.is_ok()
    })
    .await;
    let output = scene.lock.run(&["run", "--once"]).await;
    assert_ne!(output.code, 0);
    for word in ["does not exist", "teardown", "empty the tables", "setup"] {
        assert!(output.stderr.contains(word), "{word}: {}", output.stderr);
    }
    assert_eq!(scene.b.count("seat").await, 500, "what is done stays");
    // What was said: it begins anew.
    scene.lock.ok(&["teardown", "--execute"]).await;
    scene.exec(Side::B, "DELETE FROM seat").await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.lock.ok(&["run", "--once"]).await;
    scene.assert_equal().await;
}

/// A commit that waits for a standby is in the log before anybody sees it. A copy that opens a window in the log, reads
/// the rows and leaves out what was logged before the window loses it; ours begins when it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_commit_is_not_lost() {
    let mut scene = Scene::private(NEW, Way::AToB, &[SEAT], &Options::default()).await;
    scene
        .exec(Side::A, "INSERT INTO seat VALUES (1, 10, 'x', 10)")
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let mut admin = scene.a.admin().await;
    for statement in [
        "CREATE PUBLICATION naive FOR TABLE public.seat",
        "SELECT pg_create_logical_replication_slot('naive', 'pgoutput')",
        "ALTER SYSTEM SET synchronous_commit = 'local'",
        "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
        "SELECT pg_reload_conf()",
    ] {
        admin.exec(statement).await;
    }
    eventually(LIMIT, "commits wait", async || {
        admin.one("SHOW synchronous_standby_names").await == "nobody"
    })
    .await;
    let mut session = scene.a.session().await;
    let writer = tokio::spawn(async move {
        session.exec("SET synchronous_commit = 'on'").await;
        session.exec("UPDATE seat SET n = 99 WHERE id = 1").await;
    });
    let stalled = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    eventually(LIMIT, "the commit is stalled", async || {
        admin.one(stalled).await == "1"
    })
    .await;
    assert_eq!(
        naive_copy(&mut admin).await,
        "10",
        "the naive copy loses the update"
    );
    scene.run().await;
    let waits = "SELECT count(*) FROM pg_replication_slots WHERE slot_name <> 'naive'";
    eventually(LIMIT, "the copy wants its start", async || {
        admin.one(waits).await == "1"
    })
    .await;
    assert_eq!(
        scene.b.count("seat").await,
        0,
        "nothing is read before it is over"
    );
    admin.exec("ALTER SYSTEM RESET synchronous_standby_names").await;
    admin.exec("SELECT pg_reload_conf()").await;
    writer.await.unwrap();
    scene.wait_equal().await;
    assert_eq!(scene.b.one("SELECT n FROM seat WHERE id = 1").await, "99");
    admin.exec("SELECT pg_drop_replication_slot('naive')").await;
}

/// The row's `n` after a copy by watermarks: the log up to the low one, then the chunk, less what the log changes
/// between the two.
async fn naive_copy(admin: &mut Session) -> String {
    let low = admin.one("SELECT pg_current_wal_insert_lsn()::text").await;
    let updates = |condition: &str| {
        format!(
            "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('naive', NULL, NULL, 'proto_version', '1', \
             'publication_names', 'naive') WHERE get_byte(data, 0) = ascii('U') AND lsn {condition} '{low}'"
        )
    };
    let chunk = admin.one("SELECT n::text FROM public.seat WHERE id = 1").await;
    assert_eq!(admin.one(&updates("<")).await, "1", "the log has told it before");
    match admin.one(&updates(">=")).await.as_str() {
        "0" => chunk,
        _ => "99".to_owned(),
    }
}
