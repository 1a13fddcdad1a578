//! The first copy while things die and users write: it goes on with what is not done, and is right in the end.
//! How a copy is stopped at a known place, `scenario::copying` says.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::{Kind, Options, Session, eventually};
use scenario::copying::{ONE_BY_ONE, SEATS};
use scenario::{LIMIT, NEW, OLD, POSTGRES, Pair, Scene, Side, Table, Way};

pairs! {
    killed_copy_goes_on => killed_copy_goes_on;
    killed_copy_of_a_merge_goes_on => killed_copy_of_a_merge_goes_on;
    keys_of_all_orders_are_cut => keys_of_all_orders_are_cut;
    a_users_row_in_the_way_is_recorded => a_users_row_in_the_way_is_recorded;
    rows_in_the_way_are_decided => rows_in_the_way_are_decided;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_in_the_way_between_postgresql() {
    rows_in_the_way_are_decided(POSTGRES).await;
}

/// Keys that each server orders in its own way.
const WORD: Table = Table {
    name: "word",
    body: "w varchar(40) NOT NULL, n decimal(12,3) NOT NULL, d date NOT NULL, PRIMARY KEY (w, n, d)",
    key: &["w", "n", "d"],
    columns: &[],
};

/// Ten of seats, an empty last one, and one of probes.
const CHUNKS: usize = 12;

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
    let mut scene = Scene::new("copykill", pair, way, &[SEATS]).await;
    scene.copies_from(from, ONE_BY_ONE);
    scene.fill_seats(from).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let mut obstacle = scene.obstacle(to).await;
    let before = scene.run_into(to).await;
    assert_told(&scene).await;
    scene.lock.kill9().await;
    scene.exec(from, MEANWHILE).await;
    obstacle.exec("ROLLBACK").await;
    scene.run().await;
    scene.wait_equal().await;
    let after = scene.assert_went_on(to, &before).await;
    assert_eq!(after.len(), CHUNKS);
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

/// One way, a row of the target's own users that holds a value which a copied row needs goes, and is kept in the record;
/// rows of the copy that go because the source has them no more are not.
async fn a_users_row_in_the_way_is_recorded(pair: Pair) {
    for (way, from) in [(Way::AToB, Side::A), (Way::BToA, Side::B)] {
        let to = from.other();
        let mut scene = Scene::new("copyusers", pair, way, &[SEATS]).await;
        scene.copies_from(from, ONE_BY_ONE);
        scene.fill_seats(from).await;
        scene.lock.ok(&["setup", "--execute"]).await;
        let mut obstacle = scene.obstacle(to).await;
        scene.run_into(to).await;
        scene.lock.kill9().await;
        scene.exec(from, MEANWHILE).await;
        scene
            .exec(from, "UPDATE seat SET place = -77 WHERE id = 950")
            .await;
        obstacle.exec("ROLLBACK").await;
        scene
            .exec(to, "INSERT INTO seat VALUES (9000, -77, 'mine', 5)")
            .await;
        scene.run().await;
        scene.wait_equal().await;
        let found = scene.conflicts(to).await;
        assert_eq!(found.len(), 1, "{found:?}");
        let of_user = &found[0];
        assert_eq!(
            (
                of_user.kind.as_str(),
                of_user.outcome.as_str(),
                of_user.operation.as_str()
            ),
            ("multiple_unique_conflicts", "applied", "delete")
        );
        let image = of_user.local.as_ref().unwrap().to_string();
        assert!(image.contains("mine") && image.contains("9000"), "{image}");
        assert_eq!((&of_user.base, &of_user.incoming), (&None, &None));
    }
}

/// Whose value an index over an expression keeps apart, nobody can name: such a row is not looked for, and recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clash_by_an_expression_is_recorded() {
    let seats = Table {
        body: "id bigint NOT NULL PRIMARY KEY, place int, body {text}, n int",
        ..SEATS
    };
    let mut scene = Scene::new("copyexpr", NEW, Way::AToB, &[seats]).await;
    for side in [Side::A, Side::B] {
        scene
            .exec(side, "CREATE UNIQUE INDEX seat_place ON seat ((place + 0))")
            .await;
    }
    scene.copies_from(Side::A, ONE_BY_ONE);
    scene.fill_seats(Side::A).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let mut obstacle = scene.obstacle(Side::B).await;
    scene.run_into(Side::B).await;
    scene.lock.kill9().await;
    scene
        .exec(
            Side::A,
            "UPDATE seat SET place = 100005 WHERE id = 5; UPDATE seat SET place = 5 WHERE id = 800",
        )
        .await;
    obstacle.exec("ROLLBACK").await;
    scene.run().await;
    scene.wait_equal().await;
    let found = scene.conflicts(Side::B).await;
    let told: Vec<_> = found
        .iter()
        .map(|one| (one.kind.as_str(), one.key.to_string()))
        .collect();
    assert_eq!(told, [("multiple_unique_conflicts", "[800]".to_owned())]);
}

/// Chunks of a few rows by keys of texts, decimals and dates: each row is in just one of them.
async fn keys_of_all_orders_are_cut(pair: Pair) {
    for (way, from) in [(Way::AToB, Side::A), (Way::BToA, Side::B)] {
        let mut scene = Scene::new("copykeys", pair, way, &[WORD]).await;
        scene.copies_from(from, "[limits]\ncopy_workers = 3\nchunk_rows_max = 7");
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
        let mut scene = Scene::new("copyway", pair, way, &[SEATS]).await;
        scene.fill_seats(from).await;
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
            assert_eq!((found.len(), seats), (1, vec!["1000", "500500", "0"]), "{way:?}");
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
    let mut scene = Scene::private(pair, way, &[SEATS], &options).await;
    scene.copies_from(from, ONE_BY_ONE);
    scene.fill_seats(from).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let _obstacle = scene.obstacle(to).await;
    let before = scene.run_into(to).await;
    for side in [from, to] {
        let db = scene.db_mut(side);
        // The obstacle goes with the target.
        db.server().kill().await;
        db.server().restart().await.unwrap();
        if side == from {
            scene.exec(from, MEANWHILE).await;
        }
    }
    scene.wait_equal().await;
    let after = scene.assert_went_on(to, &before).await;
    assert_eq!(after.len(), CHUNKS);
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
    let mut scene = Scene::new("copylost", NEW, Way::AToB, &[SEATS]).await;
    scene.copies_from(Side::A, ONE_BY_ONE);
    scene.fill_seats(Side::A).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let mut obstacle = scene.obstacle(Side::B).await;
    scene.run_into(Side::B).await;
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

/// A row that somebody keeps locked for longer than the server lets anybody wait holds up its chunk, and no other: the
/// image is kept, and what was done is not looked at again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunk_that_loses_is_tried_again() {
    let impatient = ["--innodb-lock-wait-timeout=1"];
    let mut scene = Scene::with_b("copytries", NEW, Way::AToB, &[SEATS], &impatient).await;
    scene.copies_from(Side::A, "[limits]\ncopy_workers = 2\nchunk_rows_max = 100");
    scene.fill_seats(Side::A).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let mut obstacle = scene.obstacle(Side::B).await;
    scene.run().await;
    eventually(LIMIT, "all but one are done", async || {
        scene.chunks_done(Side::B).await.len() == CHUNKS - 1
    })
    .await;
    let before = scene.chunks_done(Side::B).await;
    eventually(LIMIT, "it is tried again and again", async || {
        scene.lock.log().matches("the chunk is tried again").count() >= 2
    })
    .await;
    obstacle.exec("ROLLBACK").await;
    scene.wait_equal().await;
    scene.assert_went_on(Side::B, &before).await;
    assert!(!scene.lock.log().contains("interrupted"), "{}", scene.lock.log());
}

/// A commit that waits for a standby is in the log before anybody sees it. A copy that opens a window in the log, reads
/// the rows and leaves out what was logged before the window loses it; ours begins when it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_commit_is_not_lost() {
    let mut scene = Scene::private(NEW, Way::AToB, &[SEATS], &Options::default()).await;
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
