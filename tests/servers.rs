//! The harness itself: servers of each kind start, survive a kill and give fresh databases fast.
#![allow(clippy::unwrap_used)]

mod harness;

use std::time::{Duration, Instant};

use harness::{Kind, Options, Session, database, difference, equal, eventually, private, wait_equal};

/// Far above what it takes, far below what would make a test suite slow.
const START_LIMIT: Duration = Duration::from_secs(20);

async fn starts_keeps_its_rows_and_restarts(kind: Kind) {
    let start = Instant::now();
    let mut db = private(
        kind,
        &Options {
            durable: true,
            ..Options::default()
        },
    )
    .await;
    assert!(
        start.elapsed() < START_LIMIT,
        "{kind} took {:?} to start",
        start.elapsed()
    );
    db.exec("CREATE TABLE t (id int PRIMARY KEY, word varchar(20)); INSERT INTO t VALUES (1, 'naïve 🌊')")
        .await;
    let version = db.one("SELECT version()").await;

    db.server().kill().await;
    assert!(
        db.try_exec_alone("SELECT 1").await.is_err(),
        "{kind} answers although it was killed"
    );
    db.server().restart().await.unwrap();
    db.exec("INSERT INTO t VALUES (2, NULL)").await;
    db.server().restart().await.unwrap();
    let rows = db.rows("SELECT id, word FROM t ORDER BY id").await;
    assert_eq!(
        rows,
        [
            [Some("1".to_owned()), Some("naïve 🌊".to_owned())],
            [Some("2".to_owned()), None]
        ]
    );
    eprintln!("{kind}: {version}");
}

impl harness::Db {
    /// On a connection of its own, which fails instead of being opened again.
    async fn try_exec_alone(&self, sql: &str) -> Result<(), String> {
        Session::try_open(self.kind(), &self.url())
            .await?
            .try_exec(sql)
            .await
    }
}

#[tokio::test]
async fn postgres18_survives_a_kill() {
    starts_keeps_its_rows_and_restarts(Kind::Postgres18).await;
}

#[tokio::test]
async fn postgres15_survives_a_kill() {
    starts_keeps_its_rows_and_restarts(Kind::Postgres15).await;
}

#[tokio::test]
async fn mysql_survives_a_kill() {
    starts_keeps_its_rows_and_restarts(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_survives_a_kill() {
    starts_keeps_its_rows_and_restarts(Kind::Mariadb).await;
}

#[tokio::test]
async fn two_private_servers_have_different_identities() {
    for (kind, identity) in [
        (
            Kind::Postgres18,
            "SELECT system_identifier FROM pg_control_system()",
        ),
        (Kind::Mysql, "SELECT @@server_uuid"),
        (Kind::Mariadb, "SELECT @@server_id"),
    ] {
        let options = Options::default();
        let (a, b) = tokio::join!(private(kind, &options), private(kind, &options));
        assert_ne!(a.one(identity).await, b.one(identity).await, "{kind}");
    }
}

#[tokio::test]
async fn servers_offer_tls_with_their_own_authority() {
    for kind in Kind::USUAL {
        let mut db = private(
            kind,
            &Options {
                tls: true,
                ..Options::default()
            },
        )
        .await;
        let on = if kind.is_postgres() {
            "SHOW ssl"
        } else {
            "SELECT @@ssl_cert <> ''"
        };
        assert!(["on", "1"].contains(&db.one(on).await.as_str()), "{kind}");
        assert!(db.server().ca_file().unwrap().exists());
    }
}

#[tokio::test]
async fn settings_that_replication_needs_are_on() {
    for kind in [Kind::Postgres18, Kind::Postgres15] {
        assert_eq!(
            database(kind, "settings").await.one("SHOW wal_level").await,
            "logical"
        );
    }
    for kind in [Kind::Mysql, Kind::Mariadb] {
        let db = database(kind, "settings").await;
        let rows = db
            .rows("SELECT @@log_bin, @@binlog_row_image, @@binlog_row_metadata, @@sync_binlog")
            .await;
        let cells: Vec<_> = rows[0].iter().flatten().map(String::as_str).collect();
        assert_eq!(cells, ["1", "FULL", "FULL", "0"], "{kind}");
    }
    let db = database(Kind::Mysql, "settings").await;
    assert_eq!(db.one("SELECT @@gtid_mode").await, "ON");
    assert_eq!(
        db.one("SELECT plugin FROM mysql.user WHERE user = 'tidelock'")
            .await,
        "caching_sha2_password"
    );
}

#[tokio::test]
async fn a_fresh_database_takes_milliseconds_and_leaves_nothing() {
    for kind in Kind::USUAL {
        // The first one may have to start a server.
        let first = database(kind, "fresh").await;
        let start = Instant::now();
        let second = database(kind, "fresh").await;
        let took = start.elapsed();
        assert!(
            took < Duration::from_secs(2),
            "{kind} took {took:?} for a database"
        );
        eprintln!("{kind}: a fresh database in {took:?}");
        if !kind.is_postgres() || std::env::var_os("TIDELOCK_TEST_POSTGRES18").is_none() {
            continue;
        }
        let name = second.name().to_owned();
        second
            .exec("SELECT pg_create_logical_replication_slot(current_database(), 'pgoutput')")
            .await;
        drop(second);
        let left = format!("SELECT count(*) FROM pg_replication_slots WHERE database = '{name}'");
        assert_eq!(first.one(&left).await, "0");
    }
}

#[tokio::test]
async fn comparing_sees_through_spelling_and_finds_differences() {
    let a = database(Kind::Postgres18, "compare").await;
    let b = database(Kind::Mysql, "compare").await;
    a.exec(
        "CREATE TABLE t (id int PRIMARY KEY, f real, d double precision, yes boolean, n numeric, s text, j jsonb, \
         raw bytea, at timestamptz, bits bit(10)); \
         INSERT INTO t VALUES (1, 16777217.1, 0.1, true, 1.50, 'x', '{\"b\": [1, 2], \"a\": null}', '\\x00ff', \
         '2024-02-29 12:00:00.5+02', B'0000000101'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    )
    .await;
    b.exec(
        "CREATE TABLE t (id int PRIMARY KEY, f float, d double, yes boolean, n decimal(10, 4), s text, j json, \
         raw blob, at timestamp(6) NULL, bits bit(10)); \
         INSERT INTO t VALUES (1, 16777217.1, 0.1, true, 1.5, 'x', '{\"a\": null, \"b\": [1, 2]}', x'00ff', \
         '2024-02-29 10:00:00.500', b'101'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    )
    .await;
    let columns = ["f", "d", "yes", "n", "s", "j", "raw", "at", "bits"];
    equal(&a, &b, "t", &["id"], &columns).await;

    b.exec("UPDATE t SET s = 'y' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t (id) VALUES (3)")
        .await;
    let told = difference(&a, &b, "t", &["id"], &columns).await.unwrap();
    assert!(
        told.contains("3 of 2/2 rows differ") && told.contains("differs"),
        "{told}"
    );
    let mend = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        a.exec(
            "UPDATE t SET s = 'y' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t (id) VALUES (3)",
        )
        .await;
    };
    tokio::join!(
        mend,
        wait_equal(&a, &b, "t", &["id"], &columns, Duration::from_secs(10))
    );
    eventually(Duration::from_secs(5), "the row to be seen", async || {
        a.count("t").await == 2
    })
    .await;
}
