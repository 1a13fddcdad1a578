//! The forms in which a server may write its log: compressed, without GTIDs, with large events, over several files, cut
//! by a crash. The same transactions must come out of each.

use super::harness::{Kind, Options as Server, eventually};
use super::transactions::*;
use super::*;

async fn server(kind: Kind, extra: &[&str]) -> Db {
    let options = Server {
        extra: extra.iter().map(ToString::to_string).collect(),
        ..Server::default()
    };
    private(kind, &options).await
}

async fn everything_as_in_a_plain_log(db: &Db) {
    transactions_come_whole_and_in_order(db).await;
    db.exec("DROP TABLE a, b, c, other").await;
    markers_open_segments(db).await;
    db.exec("DROP TABLE t").await;
    a_large_transaction_comes_in_bounded_parts_and_a_restart_loses_nothing(db).await;
    db.exec("DROP TABLE t, ten").await;
    a_copy_and_its_stream_leave_no_gap(db).await;
}

#[tokio::test]
async fn mysql_compressed_transactions() {
    let db = server(Kind::Mysql, &["--binlog-transaction-compression=ON"]).await;
    everything_as_in_a_plain_log(&db).await;
    // They were compressed indeed.
    let found = db
        .rows("SHOW BINLOG EVENTS")
        .await
        .into_iter()
        .filter(|row| row[2].as_deref() == Some("Transaction_payload"))
        .count();
    assert!(found > 10, "{found} compressed transactions");
}

/// What a session compresses, whatever the server does; levels and sizes of its own.
#[tokio::test]
async fn mysql_sessions_that_compress() {
    let db = database(Kind::Mysql, "session").await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY, v longtext)").await;
    let options = options(&db, &["t"]).await;
    let mut source = source(&options).await;
    let mut wanted = Vec::new();
    for (number, level) in [(1, 1), (2, 3), (3, 19), (4, 22)] {
        let mut session = db.admin().await;
        session
            .exec(&format!(
                "SET SESSION binlog_transaction_compression = ON; SET SESSION \
                 binlog_transaction_compression_level_zstd = {level}; INSERT INTO t VALUES ({number}, REPEAT('x', {}))",
                100 + number * 3_000_000
            ))
            .await;
        session
            .exec(&format!(
                "SET SESSION binlog_transaction_compression = OFF; INSERT INTO t VALUES (-{number}, 'plain')"
            ))
            .await;
        wanted.extend([format!("+{number}"), format!("+-{number}")]);
    }
    let parts = parts(&mut source, &options).await;
    assert_eq!(told(&parts), wanted);
    for (number, change) in changes(&parts).iter().enumerate().step_by(2) {
        let Op::Insert { new } = &change.op else { panic!() };
        let Some(Value::Text(text)) = new.get(1) else {
            panic!()
        };
        assert_eq!(text.len(), 100 + (number / 2 + 1) * 3_000_000);
    }
}

#[tokio::test]
async fn mariadb_compressed_events() {
    let extra = ["--log-bin-compress=ON", "--log-bin-compress-min-len=10"];
    let db = server(Kind::Mariadb, &extra).await;
    everything_as_in_a_plain_log(&db).await;
    let kinds: Vec<String> = db
        .rows("SHOW BINLOG EVENTS")
        .await
        .into_iter()
        .map(|row| row[2].clone().unwrap())
        .collect();
    for kind in [
        "Write_rows_compressed_v1",
        "Update_rows_compressed_v1",
        "Delete_rows_compressed_v1",
        "Query_compressed",
    ] {
        assert!(kinds.iter().any(|found| found == kind), "no {kind} in {kinds:?}");
    }
}

/// The server refuses rows above its `max_allowed_packet`, but logs an event that holds two of them.
async fn events_above_the_limit_of_the_server(kind: Kind) {
    let db = server(
        kind,
        &["--max-allowed-packet=16M", "--loose-innodb-log-file-size=256M"],
    )
    .await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY, a longtext, b longtext, c longtext)")
        .await;
    let options = options(&db, &["t"]).await;
    let mut source = source(&options).await;
    db.exec(
        "INSERT INTO t VALUES (1, REPEAT('a', 14000000), REPEAT('b', 14000000), REPEAT('c', 14000000)); \
         UPDATE t SET a = REPEAT('d', 13999999)",
    )
    .await;
    let parts = parts(&mut source, &options).await;
    assert_eq!(told(&parts), ["+1", "~1>1"]);
    let changes = changes(&parts);
    let Op::Update { old: Some(old), new } = &changes[1].op else {
        panic!()
    };
    let len = |row: &Row, column: usize| match row.get(column) {
        Some(Value::Text(text)) => text.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        (len(old, 1), len(new, 1), len(new, 3)),
        (14_000_000, 13_999_999, 14_000_000)
    );
}

#[tokio::test]
async fn mysql_large_events() {
    events_above_the_limit_of_the_server(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_large_events() {
    events_above_the_limit_of_the_server(Kind::Mariadb).await;
}

/// Files end, checksums come and go, and a reader that is behind meets all of it.
async fn rotation_and_checksums(kind: Kind) {
    let db = server(kind, &["--max-binlog-size=4096"]).await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY, v varchar(500))")
        .await;
    let options = options(&db, &["t"]).await;
    let from = start_position(&options).await.unwrap();
    let mut live = Source::open(options.clone(), &from).await.unwrap();
    let mut wanted = Vec::new();
    for round in 0..4 {
        let checksum = if round % 2 == 0 { "NONE" } else { "CRC32" };
        db.as_dba(&format!("SET GLOBAL binlog_checksum = {checksum}"))
            .await;
        for number in 0..20 {
            let id = round * 20 + number;
            db.exec(&format!("INSERT INTO t VALUES ({id}, REPEAT('v', 400))"))
                .await;
            wanted.push(format!("+{id}"));
        }
        if round == 1 {
            db.as_dba("FLUSH BINARY LOGS; FLUSH BINARY LOGS").await;
        }
    }
    assert!(db.rows("SHOW BINARY LOGS").await.len() > 10);
    assert_eq!(told(&parts(&mut live, &options).await), wanted);
    let mut late = Source::open(options.clone(), &from).await.unwrap();
    assert_eq!(told(&parts(&mut late, &options).await), wanted);
}

#[tokio::test]
async fn mysql_rotation() {
    rotation_and_checksums(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_rotation() {
    rotation_and_checksums(Kind::Mariadb).await;
}

/// A reader that does not read for longer than the server's `net_write_timeout` goes on where it was.
async fn a_slow_reader_keeps_its_dump(kind: Kind) {
    let db = server(kind, &["--net-write-timeout=1"]).await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY, v longtext)").await;
    let options = options(&db, &["t"]).await;
    let mut source = source(&options).await;
    for id in 0..10 {
        db.exec(&format!("INSERT INTO t VALUES ({id}, REPEAT('v', 4000000))"))
            .await;
    }
    // More than the sockets hold, for longer than the timeout: this is what is tested, not a wait for luck.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(told(&parts(&mut source, &options).await).len(), 10);
}

#[tokio::test]
async fn mysql_slow_reader() {
    a_slow_reader_keeps_its_dump(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_slow_reader() {
    a_slow_reader_keeps_its_dump(Kind::Mariadb).await;
}

/// The dump's own login: by the account's plugin, with the password known to the server's cache or not, by every way.
async fn the_dump_logs_in_by_every_way(kind: Kind) {
    let mut db = private(
        kind,
        &Server {
            tls: true,
            ..Server::default()
        },
    )
    .await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let plain = options(&db, &["t"]).await;
    let from = start_position(&plain).await.unwrap();
    let ca_file = db.server().ca_file();
    let mut accounts = vec![db.run_account().to_owned()];
    let plugins = match kind {
        Kind::Mysql => vec!["caching_sha2_password"],
        _ => vec!["mysql_native_password"],
    };
    for plugin in plugins {
        let user = format!("u_{plugin}");
        let how = match kind {
            Kind::Mysql => format!("IDENTIFIED WITH {plugin} BY '{user}'"),
            _ => format!("IDENTIFIED VIA {plugin} USING PASSWORD('{user}')"),
        };
        db.as_dba(&format!(
            "CREATE USER {user} {how}; GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {user}; GRANT SELECT ON *.* TO {user}"
        ))
        .await;
        accounts.push(user);
    }
    let socket = db.server().socket_dir().join("mysql.sock").display().to_string();
    let host = plain.access.host.clone();
    let ways = [
        (TlsMode::Disable, host.clone()),
        (TlsMode::Require, host.clone()),
        (TlsMode::VerifyCa, host.clone()),
        (TlsMode::VerifyFull, host),
        (TlsMode::Disable, socket),
    ];
    let mut id = 0;
    for user in accounts {
        for (tls, host) in &ways {
            for is_known in [false, true] {
                if !is_known {
                    db.as_dba("FLUSH PRIVILEGES").await;
                }
                let mut options = plain.clone();
                options.access.user.clone_from(&user);
                options.access.secret = Secret::Plain(user.clone().into());
                (options.access.tls, options.access.host) = (*tls, host.clone());
                options.access.ca_file.clone_from(&ca_file);
                let mut source = source(&options).await;
                id += 1;
                db.exec(&format!("INSERT INTO t VALUES ({id})")).await;
                assert_eq!(
                    told(&parts(&mut source, &options).await),
                    [format!("+{id}")],
                    "{user} {tls:?} {host}"
                );
            }
        }
    }
    // The place of the certificate is compared for the dump too.
    let mut wrong = plain.clone();
    wrong.access.tls = TlsMode::VerifyFull;
    assert!(!refused(&wrong, &from).await.is_transient());
}

#[tokio::test]
async fn mysql_dump_logins() {
    the_dump_logs_in_by_every_way(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_dump_logins() {
    the_dump_logs_in_by_every_way(Kind::Mariadb).await;
}

/// The most memory this process has had, in MiB. Each test is a process of its own.
fn most_memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// A transaction of 400 MB that takes a few MB of log: neither is held.
#[tokio::test]
async fn mysql_a_large_compressed_transaction_takes_little_memory() {
    let db = server(Kind::Mysql, &["--binlog-transaction-compression=ON"]).await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY, v varchar(4000)); CREATE TABLE ten (n int); INSERT INTO ten VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)")
        .await;
    let options = options(&db, &["t"]).await;
    let mut source = source(&options).await;
    db.exec(
        "INSERT INTO t SELECT a.n + 10*b.n + 100*c.n + 1000*d.n + 10000*e.n, REPEAT('x', 4000) \
         FROM ten a, ten b, ten c, ten d, ten e",
    )
    .await;
    let before = most_memory_mib();
    let mut rows = 0;
    loop {
        let Step::Part(part) = next(&mut source).await.unwrap() else {
            continue;
        };
        rows += part.changes.len();
        if part.end.is_some() {
            break;
        }
    }
    assert_eq!(rows, 100_000);
    let more = most_memory_mib() - before;
    assert!(more < 24, "{more} MiB for a transaction of 400 MB");
}

/// The log's file ends while a large transaction is held back and most of it lies on disk.
async fn files_end_while_a_transaction_is_held(kind: Kind) {
    let db = server(kind, &["--max-binlog-size=4096"]).await;
    db.exec(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(2000)); CREATE TABLE ten (n int);
             INSERT INTO ten VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)",
    )
    .await;
    let options = options(&db, &["t"]).await;
    let from = start_position(&options).await.unwrap();
    let mut live = Source::open(options.clone(), &from).await.unwrap();
    let fill = "INSERT INTO t SELECT a.n + 10*b.n + 100*c.n + 1000*d.n, REPEAT('x', 1800) FROM ten a, ten b, ten c, ten d";
    if kind == Kind::Mysql {
        // MySQL hands rows on at once, except those of a transaction that is decided later.
        let mut session = db.session().await;
        session.exec("XA START 'x'").await;
        session.exec(fill).await;
        session.exec("XA END 'x'").await;
        session.exec("XA PREPARE 'x'").await;
        drop(session);
        for id in 0..5 {
            db.as_dba(&format!(
                "FLUSH BINARY LOGS; INSERT INTO t VALUES ({}, 'between')",
                20_000 + id
            ))
            .await;
        }
        let decided = async || db.try_exec("XA COMMIT 'x'").await.is_ok();
        eventually(
            Duration::from_secs(20),
            "the session of the XA transaction has ended",
            decided,
        )
        .await;
    } else {
        let mut session = db.session().await;
        session.exec("BEGIN").await;
        session.exec(fill).await;
        db.as_dba("FLUSH BINARY LOGS; INSERT INTO t VALUES (20000, 'before')")
            .await;
        session.exec("COMMIT").await;
    }
    db.exec("INSERT INTO t VALUES (30000, 'after')").await;
    let others = if kind == Kind::Mysql { 6 } else { 2 };
    for source in [
        &mut live,
        &mut Source::open(options.clone(), &from).await.unwrap(),
    ] {
        let all = told(&parts(source, &options).await);
        assert_eq!(all.len(), 10_000 + others);
        let large: Vec<&String> = all.iter().filter(|told| told.len() <= 5).collect();
        assert_eq!(large.len(), 10_000);
        assert_eq!(all.last().unwrap(), "+30000");
    }
    assert_eq!(options.spill.used(), (0, 0), "what was held is given back");
}

#[tokio::test]
async fn mysql_rotation_in_a_held_transaction() {
    files_end_while_a_transaction_is_held(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_rotation_in_a_held_transaction() {
    files_end_while_a_transaction_is_held(Kind::Mariadb).await;
}
