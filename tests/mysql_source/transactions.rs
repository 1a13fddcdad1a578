//! Transactions, markers, bounds, restarts and the first copy's hand-over.

use super::harness::{Kind, Options as Server};
use super::*;

pub(super) async fn transactions_come_whole_and_in_order(db: &Db) {
    db.exec("CREATE TABLE a (id int PRIMARY KEY, v varchar(20)); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY)")
        .await;
    let options = options(db, &["a", "b"]).await;
    let mut source = source(&options).await;
    db.exec("BEGIN; INSERT INTO a VALUES (1, 'x'), (2, 'y'); INSERT INTO b VALUES (7); UPDATE a SET v = 'z' WHERE id = 1; COMMIT").await;
    // Rolled back, empty, of no interest.
    db.exec("BEGIN; INSERT INTO a VALUES (3, 'gone'); ROLLBACK; BEGIN; COMMIT; INSERT INTO other VALUES (1)")
        .await;
    db.exec("BEGIN; INSERT INTO a VALUES (4, ''); SAVEPOINT s; INSERT INTO a VALUES (5, ''); ROLLBACK TO s; INSERT INTO a VALUES (6, ''); COMMIT").await;
    db.exec("UPDATE a SET id = 20 WHERE id = 2; UPDATE a SET v = v; DELETE FROM a WHERE id = 20")
        .await;
    db.exec("ALTER TABLE a ADD COLUMN w int DEFAULT 5; UPDATE a SET v = 'q' WHERE id = 1")
        .await;
    db.exec("TRUNCATE TABLE b; CREATE TABLE c AS SELECT 1 AS one")
        .await;

    let parts = parts(&mut source, &options).await;
    let by_transaction: Vec<Vec<String>> = parts
        .iter()
        .map(|part| told(std::slice::from_ref(part)))
        .collect();
    assert_eq!(
        by_transaction,
        [
            vec!["+1", "+2", "+7", "~1>1"],
            vec!["+4", "+6"],
            vec!["~2>20"],
            vec!["-20"],
            vec!["~1>1"],
            vec!["truncate"],
        ]
    );
    assert!(
        parts
            .iter()
            .all(|part| part.end.is_some() && part.writer == Writer::User && part.first == 0)
    );
    let table = |part: usize, change: usize| parts[part].changes[change].table.clone();
    assert!(
        Arc::ptr_eq(&table(0, 0), &table(1, 0)),
        "unchanged tables share one description"
    );
    assert_eq!(table(0, 0).columns.len(), 2);
    assert_eq!(table(4, 0).columns.len(), 3);
    assert_eq!(table(4, 0).key, [0]);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_micros() as i64;
    assert!((now - parts[0].head.committed_at_us).abs() < 60_000_000);
}

#[tokio::test]
async fn mysql_transactions() {
    transactions_come_whole_and_in_order(&database(Kind::Mysql, "tx").await).await;
}

#[tokio::test]
async fn mariadb_transactions() {
    transactions_come_whole_and_in_order(&database(Kind::Mariadb, "tx").await).await;
}

/// The checkpoint's statement, as the target writes it.
fn checkpoint(sync: &str, seq: i64, segment: i16, number: i32) -> String {
    format!(
        "INSERT INTO tidelock.checkpoint (sync, link, lane, epoch, seq, position, origin, hop, segment, \
         segment_number, config_hash, source_identity) VALUES ('{sync}', 'pg->my', 0, 1, {seq}, 'lsn:0/1', 2, 1, \
         {segment}, {number}, 'h', 'i') ON DUPLICATE KEY UPDATE seq = VALUES(seq), segment = VALUES(segment), \
         segment_number = VALUES(segment_number);"
    )
}

pub(super) async fn markers_open_segments(db: &Db) {
    db.make_control_schema().await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let options = options(db, &["t"]).await;
    let mut source = source(&options).await;
    let sync = db.name();
    db.exec(&format!(
        "BEGIN; {} INSERT INTO t VALUES (1), (2); {} INSERT INTO t VALUES (3); COMMIT",
        checkpoint(sync, 1, 0, 0),
        checkpoint(sync, 1, 1, 1)
    ))
    .await;
    // Nothing but the marker; a user's own write.
    db.exec(&format!("BEGIN; {} COMMIT", checkpoint(sync, 2, 0, 0)))
        .await;
    db.exec("INSERT INTO t VALUES (4)").await;
    // A segment without rows between two markers is told too.
    db.exec(&format!(
        "BEGIN; {} {} INSERT INTO t VALUES (5); COMMIT",
        checkpoint(sync, 3, 0, 0),
        checkpoint(sync, 3, 1, 1)
    ))
    .await;
    db.exec(&format!("DELETE FROM tidelock.checkpoint WHERE sync = '{sync}'"))
        .await;

    let parts = parts(&mut source, &options).await;
    let seen: Vec<_> = parts
        .iter()
        .map(|part| {
            let writer = match &part.writer {
                Writer::User => None,
                Writer::Tidelock(marker) => Some((marker.seq, marker.segment)),
            };
            (
                writer,
                part.first,
                told(std::slice::from_ref(part)),
                part.end.is_some(),
            )
        })
        .collect();
    let rows = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        seen,
        [
            (Some((1, Segment::Applied)), 0, rows(&["+1", "+2"]), false),
            (Some((1, Segment::Own)), 2, rows(&["+3"]), true),
            (Some((2, Segment::Applied)), 0, rows(&[]), true),
            (None, 0, rows(&["+4"]), true),
            (Some((3, Segment::Applied)), 0, rows(&[]), false),
            (Some((3, Segment::Own)), 0, rows(&["+5"]), true),
        ]
    );
    let Writer::Tidelock(marker) = &parts[0].writer else {
        unreachable!()
    };
    assert_eq!(
        (marker.link.as_str(), marker.position.as_str(), marker.origin),
        ("pg->my", "lsn:0/1", 2)
    );
}

#[tokio::test]
async fn mysql_markers() {
    markers_open_segments(&database(Kind::Mysql, "markers").await).await;
}

#[tokio::test]
async fn mariadb_markers() {
    markers_open_segments(&database(Kind::Mariadb, "markers").await).await;
}

pub(super) async fn a_large_transaction_comes_in_bounded_parts_and_a_restart_loses_nothing(db: &Db) {
    db.exec("CREATE TABLE t (id int PRIMARY KEY, v varchar(100)); CREATE TABLE ten (n int); INSERT INTO ten VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)")
        .await;
    let options = options(db, &["t"]).await;
    let from = start_position(&options).await.unwrap();
    let mut source = Source::open(options.clone(), &from).await.unwrap();
    db.exec(
        "INSERT INTO t SELECT a.n + 10*b.n + 100*c.n + 1000*d.n + 10000*e.n, REPEAT('x', 50) \
         FROM ten a, ten b, ten c, ten d, ten e",
    )
    .await;
    db.exec("INSERT INTO t VALUES (-1, 'after')").await;
    let parts = parts(&mut source, &options).await;
    let (last, large) = parts.split_last().unwrap();
    assert_eq!(told(std::slice::from_ref(last)), ["+-1"]);
    assert!(large.len() >= 20, "{} parts", large.len());
    let mut ordinal = 0;
    for part in large {
        assert_eq!(part.first, ordinal);
        assert!(part.changes.len() <= 5_000 && part.bytes <= 2 << 20);
        ordinal += part.changes.len() as u64;
    }
    assert_eq!(ordinal, 100_000);
    let ends: Vec<&Position> = large.iter().filter_map(|part| part.end.as_ref()).collect();
    assert_eq!(ends.len(), 1);
    drop(source);
    // From the middle on: exactly what comes after; from the start: everything again.
    let mut again = Source::open(options.clone(), ends[0]).await.unwrap();
    assert_eq!(told(&self::parts(&mut again, &options).await), ["+-1"]);
    let mut whole = Source::open(options.clone(), &from).await.unwrap();
    assert_eq!(changes(&self::parts(&mut whole, &options).await).len(), 100_001);
}

#[tokio::test]
async fn mysql_large_transaction() {
    a_large_transaction_comes_in_bounded_parts_and_a_restart_loses_nothing(
        &database(Kind::Mysql, "large").await,
    )
    .await;
}

#[tokio::test]
async fn mariadb_large_transaction() {
    a_large_transaction_comes_in_bounded_parts_and_a_restart_loses_nothing(
        &database(Kind::Mariadb, "large").await,
    )
    .await;
}

pub(super) async fn a_copy_and_its_stream_leave_no_gap(db: &Db) {
    db.exec("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE e (id int PRIMARY KEY)")
        .await;
    db.exec("INSERT INTO t VALUES (1, 0), (2, 0)").await;
    let options = options(db, &["t", "e"]).await;
    let mut snapshot = Snapshot::open(&options).await.unwrap();
    db.exec("INSERT INTO t VALUES (3, 0); UPDATE t SET v = 1 WHERE id = 1")
        .await;
    assert_eq!(copy(&mut snapshot, &options, 0).await.len(), 2);
    assert!(copy(&mut snapshot, &options, 1).await.is_empty());
    let start = snapshot.start().clone();
    if let Some(settle) = snapshot.close().await.unwrap() {
        assert!(settle.covers(&start).unwrap() && settle != start);
    }
    let mut source = Source::open(options.clone(), &start).await.unwrap();
    assert_eq!(told(&parts(&mut source, &options).await), ["+3", "~1>1"]);
}

#[tokio::test]
async fn mysql_copy() {
    a_copy_and_its_stream_leave_no_gap(&database(Kind::Mysql, "copy").await).await;
}

#[tokio::test]
async fn mariadb_copy() {
    a_copy_and_its_stream_leave_no_gap(&database(Kind::Mariadb, "copy").await).await;
}

/// Transactions named by a tag, which have another event and their own numbers.
#[tokio::test]
async fn mysql_tagged_transactions() {
    let db = private(Kind::Mysql, &Server::default()).await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let options = options(&db, &["t"]).await;
    let mut source = source(&options).await;
    db.as_dba("SET gtid_next = 'AUTOMATIC:blue'; INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); SET gtid_next = 'AUTOMATIC'; INSERT INTO t VALUES (3)").await;
    let seen = parts(&mut source, &options).await;
    assert_eq!(told(&seen), ["+1", "+2", "+3"]);
    assert!(
        seen[0].head.transaction.ends_with(":blue:1"),
        "{}",
        seen[0].head.transaction
    );
    let middle = seen[0].end.clone().unwrap();
    let mut again = Source::open(options.clone(), &middle).await.unwrap();
    assert_eq!(told(&parts(&mut again, &options).await), ["+2", "+3"]);
}
