//! What a first copy reads is what the log goes on from: rows that a rewritten table hides, commits that are logged
//! before they are visible, and keys that are no proper dates are in it.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::{Db, Kind, Options, Session, access, eventually};
use scenario::copying::{ONE_BY_ONE, SEATS};
use scenario::{FLAVORS, LIMIT, MYSQL, NEW, OLD, Scene, Side, Table, Way};
use std::sync::Arc;
use std::time::Duration;
use tidelock::access::SourceOptions;
use tidelock::chunk::Range;
use tidelock::model::position::Position;
use tidelock::model::schema::TableId;
use tidelock::model::sync::Mode;
use tidelock::model::value::Value;
use tidelock::{mysql, postgres};

const LATER: Table = Table {
    name: "later",
    body: "id int NOT NULL PRIMARY KEY, n bigint",
    key: &["id"],
    columns: &["n"],
};

/// Made by the test, on each side in its own way.
const PARTED: Table = Table {
    name: "parted",
    body: "",
    ..LATER
};

/// Tables that are rewritten after the image was made and before it is read. The rows are in no log.
async fn rewritten(scene: &mut Scene, from: Side) {
    let to = from.other();
    scene.copies_from(from, ONE_BY_ONE);
    scene.fill_seats(from).await;
    let is_postgres = scene.db(from).kind().is_postgres();
    let (narrow, widen) = match is_postgres {
        true => ("ALTER COLUMN n TYPE int", "ALTER COLUMN n TYPE bigint"),
        false => ("MODIFY n int", "MODIFY n bigint"),
    };
    for table in ["later", "parted"] {
        scene.exec(from, &format!("ALTER TABLE {table} {narrow}")).await;
        let rows = format!("INSERT INTO {table} VALUES (1, 10), (2, 20), (300, 30)");
        scene.exec(from, &rows).await;
    }
    scene.lock.ok(&["setup", "--execute"]).await;
    let mut obstacle = scene.obstacle(to).await;
    let before = scene.run_into(to).await;
    let mut user = scene.db(from).session().await;
    match is_postgres {
        true => {
            // It is waited for, and not in one piece. Partitions that are rewritten are refused (E408).
            user.exec("BEGIN").await;
            user.exec(&format!("ALTER TABLE later {widen}")).await;
            scene
                .exec(
                    from,
                    "CREATE TABLE parted_9 PARTITION OF parted FOR VALUES FROM (900) TO (1000)",
                )
                .await;
        }
        false => {
            for table in ["later", "parted"] {
                user.exec(&format!("ALTER TABLE {table} {widen}")).await;
            }
        }
    }
    obstacle.exec("ROLLBACK").await;
    if is_postgres {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'later'::regclass";
        for granted in ["1", "0", "1"] {
            eventually(LIMIT, "our lock is waited for", async || {
                scene.db(from).one(waiting).await == granted
            })
            .await;
        }
        user.exec("COMMIT").await;
    }
    // The definition is another one, which is refused until somebody has looked at it.
    assert_ne!(scene.lock.wait(LIMIT).await, 0);
    let log = scene.lock.log();
    let all_is_there = async |scene: &Scene| {
        for table in ["later", "parted"] {
            assert_eq!(scene.db(to).count(table).await, 3, "{table}");
        }
    };
    if log.contains("could not go on past an ALTER TABLE") {
        // A busy server took so long that the copy began from a newer image, and ended: the log tells of the ALTER then,
        // and what is to be done about it (`tests/ddl.rs`).
        return all_is_there(scene).await;
    }
    let is_told = ["it was rewritten since", "ERROR 1412"];
    assert!(is_told.iter().any(|told| log.contains(told)), "{log}");
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.run().await;
    scene.wait_equal().await;
    all_is_there(scene).await;
    scene.assert_went_on(to, &before).await;
    scene.assert_no_conflicts().await;
    assert!(scene.lock.log().contains("going on with the first copy"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_rewritten_before_they_are_read_postgres() {
    let mut scene = Scene::new("imagepg", NEW, Way::AToB, &[SEATS, LATER, PARTED]).await;
    scene
        .exec(
            Side::A,
            "CREATE TABLE parted (id int NOT NULL PRIMARY KEY, n bigint) PARTITION BY RANGE (id);
             CREATE TABLE parted_0 PARTITION OF parted FOR VALUES FROM (0) TO (100);
             CREATE TABLE parted_3 PARTITION OF parted FOR VALUES FROM (300) TO (400)",
        )
        .await;
    scene
        .exec(
            Side::B,
            &Table {
                name: "parted",
                ..LATER
            }
            .create(Kind::Mysql),
        )
        .await;
    rewritten(&mut scene, Side::A).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_rewritten_before_they_are_read_mariadb() {
    let parted = Table {
        name: "parted",
        ..LATER
    };
    let mut scene = Scene::new("imagemy", OLD, Way::BToA, &[SEATS, LATER, parted]).await;
    rewritten(&mut scene, Side::B).await;
}

/// Commits of a server are logged, and not visible, until they are let go.
async fn stall(db: &Db, stalled: bool) {
    let mut admin = db.admin().await;
    let statements: &[&str] = match (db.kind(), stalled) {
        (Kind::Mysql, true) => &[
            "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
            "SET GLOBAL rpl_semi_sync_source_timeout = 3600000",
            "SET GLOBAL rpl_semi_sync_source_enabled = ON",
        ],
        (Kind::Mysql, false) => &["SET GLOBAL rpl_semi_sync_source_enabled = OFF"],
        (Kind::Mariadb, true) => &[
            "SET GLOBAL rpl_semi_sync_master_wait_point = 'AFTER_SYNC'",
            "SET GLOBAL rpl_semi_sync_master_timeout = 3600000",
            "SET GLOBAL rpl_semi_sync_master_enabled = ON",
        ],
        (Kind::Mariadb, false) => &["SET GLOBAL rpl_semi_sync_master_enabled = OFF"],
        (_, true) => &[
            // Whoever does not ask for it does not wait.
            "ALTER SYSTEM SET synchronous_commit = 'local'",
            "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
            "SELECT pg_reload_conf()",
        ],
        (_, false) => &[
            "ALTER SYSTEM RESET synchronous_standby_names",
            "SELECT pg_reload_conf()",
        ],
    };
    for statement in statements {
        admin.exec(statement).await;
    }
    if stalled && db.kind().is_postgres() {
        eventually(LIMIT, "commits wait", async || {
            admin.one("SHOW synchronous_standby_names").await == "nobody"
        })
        .await;
    }
}

/// Somebody commits this, which is logged and not visible.
async fn stalled_write(db: &Db, statement: &str) -> tokio::task::JoinHandle<()> {
    let (mut session, statement) = (db.session().await, statement.to_owned());
    if db.kind().is_postgres() {
        session.exec("SET synchronous_commit = 'on'").await;
    }
    let writer = tokio::spawn(async move { session.exec(&statement).await });
    let waits = match db.kind() {
        Kind::Mysql | Kind::Mariadb => {
            "SELECT count(*) FROM information_schema.processlist WHERE state LIKE '%semi%sync ACK%'"
        }
        _ => "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
    };
    let mut admin = db.admin().await;
    eventually(LIMIT, "the commit is stalled", async || {
        admin.one(waits).await == "1"
    })
    .await;
    writer
}

fn without_gtids() -> Options {
    let off = ["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"];
    Options {
        extra: off.iter().map(ToString::to_string).collect(),
        ..Options::default()
    }
}

/// The log's end names a commit that no image shows yet: what begins to read there would lose it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_commit_without_gtids_is_in_the_image() {
    let db = harness::private(Kind::Mysql, &without_gtids())
        .await
        .with_accounts()
        .await;
    db.make_control_schema().await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY, n int)").await;
    db.exec("INSERT INTO t VALUES (1, 10)").await;
    let access = access("node", &db.url());
    let mut conn = mysql::connect(&access).await.unwrap();
    let id = TableId::new(db.name(), "t");
    let found = mysql::catalog::tables(&mut conn, std::slice::from_ref(&id))
        .await
        .unwrap();
    let table = found.into_iter().next().flatten().unwrap();
    let options = SourceOptions {
        access,
        sync: "s".to_owned(),
        target: "pg".to_owned(),
        tables: vec![Arc::new(table.clone())],
        mode: Mode::Transactional,
        onward: None,
        fresh: true,
        spill: tidelock::spill::Space::default(),
        stream: true,
        keep: None,
    };
    stall(&db, true).await;
    let writer = stalled_write(&db, "UPDATE t SET n = 99 WHERE id = 1").await;
    let opening = tokio::spawn(async move { mysql::snapshot::Snapshot::open(&options).await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!opening.is_finished(), "an image was made before it is over");
    stall(&db, false).await;
    writer.await.unwrap();
    let mut image = opening.await.unwrap().unwrap();
    assert!(matches!(image.start(), Position::File(_)));
    image
        .open_table(&table.table, &Range::default(), None)
        .await
        .unwrap();
    let rows = image.rows(10).await.unwrap();
    assert_eq!(rows[0].get(1), Some(&Value::Int(99)));
}

/// As far as the server's log goes.
async fn logged(db: &Db) -> Position {
    let mut admin = db.admin().await;
    match db.kind() {
        Kind::Mariadb => Position::MariaGtid(
            admin
                .one("SELECT @@GLOBAL.gtid_binlog_pos")
                .await
                .parse()
                .unwrap(),
        ),
        _ if admin.one("SELECT @@GLOBAL.gtid_mode").await == "ON" => {
            // The stalled one is in no set that the server tells.
            let executed = admin.one("SELECT @@GLOBAL.gtid_executed").await;
            let set = Position::Gtid(executed.parse().unwrap());
            let source = admin.one("SELECT @@GLOBAL.server_uuid").await;
            let last: u64 = executed.rsplit(['-', ':']).next().unwrap().parse().unwrap();
            set.after(&format!("{source}:{}", last + 1)).unwrap()
        }
        _ => Position::File("binlog.000001:4@0".parse().unwrap()),
    }
}

/// Who waits for what is logged sees it.
async fn waits_until_visible(db: Db) {
    let db = db.with_accounts().await;
    db.make_control_schema().await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY, n int)").await;
    db.exec("INSERT INTO t VALUES (1, 10)").await;
    stall(&db, true).await;
    let writer = stalled_write(&db, "UPDATE t SET n = 99 WHERE id = 1").await;
    let access = access("node", &db.url());
    let schema = if db.kind().is_postgres() {
        "public"
    } else {
        db.name()
    };
    let wait = match db.kind().is_postgres() {
        true => {
            let table = TableId::new(schema, "t");
            tokio::spawn(async move { postgres::visible::wait(&access, &table).await })
        }
        false => {
            let position = logged(&db).await;
            tokio::spawn(async move { mysql::visible::wait(&access, &position).await })
        }
    };
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!wait.is_finished(), "it was not waited for: {:?}", wait.await);
    let mut reader: Session = db.session().await;
    assert_eq!(reader.one("SELECT n FROM t").await, "10");
    stall(&db, false).await;
    wait.await.unwrap().unwrap();
    assert_eq!(reader.one("SELECT n FROM t").await, "99");
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_logged_is_waited_for() {
    let (plain, no_gtids) = (Options::default(), without_gtids());
    let (gtids, file, mariadb, postgres) = tokio::join!(
        harness::private(Kind::Mysql, &plain),
        harness::private(Kind::Mysql, &no_gtids),
        harness::private(Kind::Mariadb, &plain),
        harness::private(Kind::Postgres18, &plain),
    );
    tokio::join!(
        waits_until_visible(gtids),
        waits_until_visible(file),
        waits_until_visible(mariadb),
        waits_until_visible(postgres),
    );
}

/// A change that is applied before it is visible at its source: a row that is read anew there would be from before it,
/// and the log does not come past it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_change_is_not_undone_by_a_row_read_anew() {
    let mut scene = Scene::private(NEW, Way::AToB, &[SEATS], &Options::default()).await;
    scene.copies_from(Side::A, ONE_BY_ONE);
    scene.fill_seats(Side::A).await;
    scene.lock.ok(&["setup", "--execute"]).await;
    let mut obstacle = scene.obstacle(Side::B).await;
    scene.run_into(Side::B).await;
    scene.lock.kill9().await;
    stall(&scene.a, true).await;
    let writer = stalled_write(&scene.a, "UPDATE seat SET place = -77, n = 99 WHERE id = 5").await;
    obstacle.exec("ROLLBACK").await;
    scene
        .exec(Side::B, "INSERT INTO seat VALUES (9000, -77, 'in the way', 0)")
        .await;
    scene.run().await;
    let mut admin = scene.a.admin().await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tidelock%' \
                 AND query LIKE '%FROM pg_locks WHERE virtualtransaction%'";
    eventually(LIMIT, "it waits, or has applied it", async || {
        admin.one(waits).await == "1" || scene.b.count("seat WHERE id = 9000").await == 0
    })
    .await;
    stall(&scene.a, false).await;
    writer.await.unwrap();
    scene.wait_equal().await;
    assert_eq!(scene.b.one("SELECT n FROM seat WHERE id = 5").await, "99");
}

/// Keys of MySQL that are no dates, or only in part, and the ends of its ranges: whatever cuts the table, each row is
/// copied once.
const ODD: Table = Table {
    name: "odd",
    body: "d date NOT NULL, t time(6) NOT NULL, at datetime(6) NOT NULL, stamp timestamp(6) NOT NULL, y year NOT NULL, \
           PRIMARY KEY (d, t, at, stamp, y)",
    key: &["d", "t", "at", "stamp", "y"],
    columns: &[],
};

async fn odd_keys(way: Way, from: Side, pair: scenario::Pair) {
    let mut scene = Scene::new("imageodd", pair, way, &[ODD]).await;
    scene.copies_from(from, "[limits]\ncopy_workers = 2\nchunk_rows_max = 1");
    let mut session = scene.db(from).session().await;
    session.exec("SET sql_mode = 'ALLOW_INVALID_DATES'").await;
    let rows = [
        "('0000-00-00', '00:00:00', '0000-00-00', '0000-00-00', 0)",
        "('0000-00-00', '-838:59:59', '0000-00-00', '0000-00-00', 0)",
        "('0000-00-00', '-838:59:59', '0000-00-01 00:00:00.5', '0000-00-00', 0)",
        "('0000-00-00', '838:59:59', '0000-00-00', '0000-00-00', 0)",
        "('0000-00-01', '-00:00:00.5', '2020-00-00 10:00:00', '0000-00-00', 1901)",
        "('2020-00-00', '-00:00:00.5', '2020-01-00 00:00:00.000001', '1970-01-01 00:00:01', 1901)",
        "('2020-01-00', '-00:00:00.499999', '2020-02-31 23:59:59.999999', '1970-01-01 00:00:01', 0)",
        "('2020-02-31', '838:59:58.999999', '2020-02-31 23:59:59.999999', '2038-01-19 03:14:07.999999', 2155)",
        "('2020-02-31', '838:59:59', '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07.999999', 2155)",
        "('9999-12-31', '838:59:59', '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07.999999', 2155)",
    ];
    session
        .exec(&format!("INSERT INTO odd VALUES {}", rows.join(", ")))
        .await;
    scene.start().await;
    scene.wait_equal().await;
    let copied = "SELECT sum(copied_rows), count(*) FROM tidelock.chunk WHERE table_name = 'odd' AND sync = ";
    let copied = scene
        .db(from.other())
        .rows(&format!("{copied}'{}'", scene.sync))
        .await;
    let cells: Vec<&str> = copied[0].iter().map(|cell| cell.as_deref().unwrap()).collect();
    assert_eq!(cells, ["10", "11"], "rows, chunks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_no_dates_are_copied() {
    odd_keys(Way::AToB, Side::A, MYSQL).await;
    odd_keys(Way::BToA, Side::B, FLAVORS).await;
}
