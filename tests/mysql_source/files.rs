//! MySQL without GTIDs: a file and an offset as the position, and every way in which they can stop to mean what they did.

use super::harness::{Kind, Options as Server};
use super::transactions::*;
use super::*;
use tidelock::mysql::status;

async fn server(mode: &str, extra: &[&str]) -> Db {
    let mut all = vec![format!("--gtid-mode={mode}")];
    if mode == "OFF" {
        all.push("--enforce-gtid-consistency=OFF".to_owned());
    }
    all.extend(extra.iter().map(ToString::to_string));
    let options = Server {
        extra: all,
        ..Server::default()
    };
    private(Kind::Mysql, &options).await
}

#[tokio::test]
async fn every_mode_without_gtids() {
    for (mode, extra) in [
        ("OFF", vec![]),
        ("OFF_PERMISSIVE", vec!["--binlog-transaction-compression=ON"]),
        ("ON_PERMISSIVE", vec!["--binlog-checksum=NONE"]),
    ] {
        let db = server(mode, &extra).await;
        transactions_come_whole_and_in_order(&db).await;
        db.exec("DROP TABLE a, b, c, other").await;
        markers_open_segments(&db).await;
        db.exec("DROP TABLE t").await;
        a_large_transaction_comes_in_bounded_parts_and_a_restart_loses_nothing(&db).await;
        db.exec("DROP TABLE t, ten").await;
        a_copy_and_its_stream_leave_no_gap(&db).await;
        db.exec("DROP TABLE t, e").await;
        the_name_of_a_transaction_leads_past_it(&db).await;
    }
}

async fn the_name_of_a_transaction_leads_past_it(db: &Db) {
    db.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let options = options(db, &["t"]).await;
    let from = start_position(&options).await.unwrap();
    db.exec("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)")
        .await;
    let mut source = Source::open(options.clone(), &from).await.unwrap();
    let all = parts(&mut source, &options).await;
    assert_eq!(told(&all), ["+1", "+2"]);
    let name = &all[0].head.transaction;
    let past = from
        .after(name)
        .unwrap_or_else(|| panic!("{name} cannot be skipped"));
    let mut rest = Source::open(options.clone(), &past).await.unwrap();
    assert_eq!(told(&parts(&mut rest, &options).await), ["+2"]);
}

/// From every transaction's end on exactly the rest comes, whichever file it is in.
#[tokio::test]
async fn every_position_leads_on_over_many_files() {
    let db = server("OFF", &["--max-binlog-size=4096"]).await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY, v varchar(500))")
        .await;
    let options = options(&db, &["t"]).await;
    let mut source = source(&options).await;
    for id in 0..30 {
        db.exec(&format!("INSERT INTO t VALUES ({id}, REPEAT('v', 300))"))
            .await;
    }
    assert!(db.rows("SHOW BINARY LOGS").await.len() > 3);
    let all = parts(&mut source, &options).await;
    assert_eq!(all.len(), 30);
    let mut conn = connect(&options.access).await.unwrap();
    let first = all[0].end.as_ref().unwrap();
    let kept = status::retained(&mut conn, first).await.unwrap();
    assert!(kept.left_seconds.is_some(), "{kept:?}");
    db.as_dba("SET GLOBAL binlog_expire_logs_auto_purge = OFF").await;
    let kept = status::retained(&mut conn, first).await.unwrap();
    assert_eq!((kept.left_seconds, kept.limit.as_str()), (None, "no limit"));
    for (number, part) in all.iter().enumerate() {
        let end = part.end.clone().unwrap();
        assert!(end.to_string().starts_with("file:binlog.0"), "{end}");
        assert_eq!(end.to_string().parse::<Position>().unwrap(), end);
        let mut rest = Source::open(options.clone(), &end).await.unwrap();
        let wanted: Vec<String> = (number + 1..30).map(|id| format!("+{id}")).collect();
        assert_eq!(told(&parts(&mut rest, &options).await), wanted, "after {end}");
        assert!(!status::retained(&mut conn, &end).await.unwrap().lost);
    }
    // The log ends in a fresh file: a reader follows there, so that the file before may be purged.
    db.as_dba("FLUSH BINARY LOGS").await;
    let mut late = Source::open(options.clone(), all[29].end.as_ref().unwrap())
        .await
        .unwrap();
    assert!(parts(&mut late, &options).await.is_empty());
    purge_old_logs(&db).await;
    let error = refused(&options, all[29].end.as_ref().unwrap()).await;
    assert_eq!(error.reason_kind(), Reason::PositionLost, "{error}");
    assert!(
        status::retained(&mut conn, all[29].end.as_ref().unwrap())
            .await
            .unwrap()
            .lost
    );
}

#[tokio::test]
async fn a_log_that_was_reset_is_noticed() {
    let db = server("OFF", &[]).await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    let options = options(&db, &["t"]).await;
    db.exec("INSERT INTO t VALUES (1, REPEAT('x', 1000))").await;
    let from = start_position(&options).await.unwrap();
    // Shorter than what was read.
    db.as_dba("RESET BINARY LOGS AND GTIDS").await;
    let error = refused(&options, &from).await;
    assert_eq!(error.reason_kind(), Reason::PositionLost, "{error}");
    // Longer again, with the same name; files are told apart by the second in which they were made.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    db.as_dba("RESET BINARY LOGS AND GTIDS").await;
    for id in 2..20 {
        db.exec(&format!("INSERT INTO t VALUES ({id}, REPEAT('x', 1000))"))
            .await;
    }
    let error = refused(&options, &from).await;
    assert_eq!(error.reason_kind(), Reason::PositionLost, "{error}");
    assert!(error.to_string().contains("reset"), "{error}");
    let mut source = source(&options).await;
    db.exec("INSERT INTO t VALUES (50, '')").await;
    assert_eq!(told(&parts(&mut source, &options).await), ["+50"]);
}

/// The mode is part of what a position means: the link stops, says so, and goes on when it is as it was.
#[tokio::test]
async fn a_mode_that_was_changed_is_refused_and_can_be_set_back() {
    let db = server("ON_PERMISSIVE", &[]).await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let options = options(&db, &["t"]).await;
    let by_file = start_position(&options).await.unwrap();
    db.as_dba("INSERT INTO t VALUES (1); SET GLOBAL gtid_mode = ON; INSERT INTO t VALUES (2)")
        .await;
    let error = refused(&options, &by_file).await;
    assert_eq!(error.reason_kind(), Reason::Blocked, "{error}");
    let hint = error.hint_text().unwrap().to_owned();
    assert!(hint.contains("SET GLOBAL gtid_mode = ON_PERMISSIVE"), "{hint}");
    let by_set = start_position(&options).await.unwrap();
    let mut with_set = Source::open(options.clone(), &by_set).await.unwrap();
    db.as_dba("SET GLOBAL gtid_mode = ON_PERMISSIVE; INSERT INTO t VALUES (3)")
        .await;
    assert_eq!(refused(&options, &by_set).await.reason_kind(), Reason::Blocked);
    let mut source = Source::open(options.clone(), &by_file).await.unwrap();
    assert_eq!(told(&parts(&mut source, &options).await), ["+1", "+2", "+3"]);
    // The one that read by its set meets a transaction without a GTID.
    db.as_dba("SET GLOBAL gtid_mode = OFF_PERMISSIVE; INSERT INTO t VALUES (4)")
        .await;
    let (_, error) = stopped(&mut with_set).await;
    assert_eq!(error.class(), Class::Definite, "{error}");
}

#[tokio::test]
async fn two_phases_stop_the_link_before_the_rows() {
    let db = server("OFF", &[]).await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let options = options(&db, &["t"]).await;
    let mut source = source(&options).await;
    db.exec("XA START 'a'; INSERT INTO t VALUES (1); XA END 'a'; XA COMMIT 'a' ONE PHASE")
        .await;
    assert_eq!(told(&parts(&mut source, &options).await), ["+1"]);
    let mut session = db.session().await;
    session
        .exec("XA START 'b'; INSERT INTO t VALUES (2); XA END 'b'; XA PREPARE 'b'")
        .await;
    let (before, error) = stopped(&mut source).await;
    assert!(before.is_empty(), "{before:?}");
    assert_eq!(error.class(), Class::Definite, "{error}");
    assert!(error.hint_text().unwrap().contains("ONE PHASE"), "{error}");
}
