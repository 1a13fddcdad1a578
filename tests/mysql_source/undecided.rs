//! Transactions whose end may not come: XA, which is decided after its rows, and what a crash of the server cut off.

use super::harness::{Kind, Options as Server, Session, eventually};
use super::*;
use std::collections::BTreeSet;

async fn server(kind: Kind) -> Db {
    let db = private(kind, &Server::default()).await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY, v varchar(300)); CREATE TABLE other (id int PRIMARY KEY)")
        .await;
    db
}

async fn prepare(db: &Db, xid: &str, statement: &str) {
    let mut session = db.session().await;
    session
        .exec(&format!(
            "XA START '{xid}'; {statement}; XA END '{xid}'; XA PREPARE '{xid}'"
        ))
        .await;
}

/// A prepared transaction is free for others only when its session has really ended.
async fn decide(db: &Db, verb: &str, xid: &str) {
    let decided = async || db.try_exec(&format!("XA {verb} '{xid}'")).await.is_ok();
    eventually(Duration::from_secs(10), "the XA transaction is decided", decided).await;
}

fn end(parts: &[Part]) -> Position {
    parts.last().unwrap().end.clone().unwrap()
}

/// Steps up to the first transaction with changes: what waits for a decision keeps the position behind the log's end.
async fn one(source: &mut Source) -> Vec<Part> {
    let mut parts = Vec::new();
    loop {
        if let Step::Part(part) = next(source).await.unwrap() {
            let is_end = part.end.is_some();
            parts.push(part);
            if is_end {
                return parts;
            }
        }
    }
}

#[tokio::test]
async fn mysql_xa_is_applied_when_it_is_decided() {
    let db = server(Kind::Mysql).await;
    let options = options(&db, &["t"]).await;
    let mut source = source(&options).await;
    // More than a spill keeps in memory.
    prepare(&db, "large", "INSERT INTO t WITH RECURSIVE n AS (SELECT 1000 id UNION ALL SELECT id + 1 FROM n WHERE id < 60999) SELECT /*+ SET_VAR(cte_max_recursion_depth = 100000) */ id, REPEAT('x', 300) FROM n").await;
    prepare(&db, "gone", "INSERT INTO t VALUES (2, 'never')").await;
    db.exec("INSERT INTO t VALUES (3, 'between')").await;
    let between = one(&mut source).await;
    assert_eq!(told(&between), ["+3"], "what is prepared has not happened");
    decide(&db, "ROLLBACK", "gone").await;
    decide(&db, "COMMIT", "large").await;
    let large = parts(&mut source, &options).await;
    assert_eq!(changes(&large).len(), 60_000);
    assert_eq!(end(&large), start_position(&options).await.unwrap());
    // In one phase, with and without rows of interest; one that only reads.
    db.exec(
        "XA START 'one'; INSERT INTO t VALUES (4, ''); XA END 'one'; XA COMMIT 'one' ONE PHASE; \
         XA START 'two'; INSERT INTO other VALUES (4); XA END 'two'; XA COMMIT 'two' ONE PHASE; \
         XA START 'three'; SELECT * FROM other; XA END 'three'; XA PREPARE 'three'; XA COMMIT 'three'",
    )
    .await;
    let mut session = db.session().await;
    session
        .exec("XA START 'back'; INSERT INTO t VALUES (5, ''); XA END 'back'; XA ROLLBACK 'back'")
        .await;
    assert_eq!(told(&parts(&mut source, &options).await), ["+4"]);
}

/// A restart of ours, and a crash of the server, between the rows and the decision.
#[tokio::test]
async fn mysql_xa_over_restarts() {
    let mut db = server(Kind::Mysql).await;
    let options = options(&db, &["t"]).await;
    let mut source = source(&options).await;
    prepare(&db, "a", "INSERT INTO t VALUES (1, 'a'), (2, 'a')").await;
    prepare(&db, "b", "INSERT INTO other VALUES (1)").await;
    db.exec("INSERT INTO t VALUES (3, '')").await;
    let between = end(&one(&mut source).await);
    drop(source);
    db.server().kill().await;
    db.server().restart().await.unwrap();
    db.as_dba("FLUSH BINARY LOGS; INSERT INTO t VALUES (4, '')").await;
    let mut source = Source::open(options.clone(), &between).await.unwrap();
    let later = one(&mut source).await;
    assert_eq!(told(&later), ["+4"]);
    decide(&db, "COMMIT", "a").await;
    decide(&db, "COMMIT", "b").await;
    assert_eq!(told(&parts(&mut source, &options).await), ["+1", "+2"]);
    // Decided before we are back: the rows and the decision are both read.
    let mut late = Source::open(options.clone(), &between).await.unwrap();
    assert_eq!(told(&parts(&mut late, &options).await), ["+4", "+1", "+2"]);
    // Purged before the decision was read: the rows are lost, which is said.
    purge_old_logs(&db).await;
    let error = refused(&options, &end(&later)).await;
    assert_eq!(error.reason_kind(), Reason::PositionLost, "{error}");
}

/// A first position would lie between the rows and the decision.
async fn nothing_begins_while_something_is_prepared(kind: Kind) {
    let db = server(kind).await;
    let options = options(&db, &["t"]).await;
    if kind == Kind::Mysql {
        // With GTIDs `setup` does not give this right: there the decision in the log tells.
        db.as_dba(&format!("GRANT XA_RECOVER_ADMIN ON *.* TO {}", db.run_account()))
            .await;
    }
    prepare(&db, "a", "INSERT INTO t VALUES (1, '')").await;
    let error = start_position(&options).await.unwrap_err();
    assert_eq!(error.reason_kind(), Reason::Blocked, "{error}");
    assert!(error.hint_text().unwrap().contains("XA RECOVER"), "{error}");
    let Err(error) = Snapshot::open(&options).await else {
        panic!("the copy began")
    };
    assert_eq!(error.reason_kind(), Reason::Blocked, "{error}");
    decide(&db, "COMMIT", "a").await;
    let mut snapshot = Snapshot::open(&options).await.unwrap();
    assert_eq!(copy(&mut snapshot, &options, 0).await.len(), 1);
}

#[tokio::test]
async fn mysql_prepared_at_the_start() {
    nothing_begins_while_something_is_prepared(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_prepared_at_the_start() {
    nothing_begins_while_something_is_prepared(Kind::Mariadb).await;
}

/// An account that may not look, as the run account with GTIDs, meets the decision in the log.
#[tokio::test]
async fn mysql_a_decision_without_rows_stops_the_link() {
    let db = server(Kind::Mysql).await;
    let options = options(&db, &["t"]).await;
    prepare(&db, "a", "INSERT INTO t VALUES (1, '')").await;
    let mut source = source(&options).await;
    decide(&db, "COMMIT", "a").await;
    let (_, error) = stopped(&mut source).await;
    assert_eq!(error.reason_kind(), Reason::PositionLost, "{error}");
}

/// A decision that cannot be read: whoever skips it is past the prepare as well, which no restart reads again.
#[tokio::test]
async fn mysql_skipping_a_decision_passes_its_prepare() {
    let db = server(Kind::Mysql).await;
    let options = options(&db, &["t"]).await;
    let mut source = source(&options).await;
    let mut session = db.admin().await;
    session
        .exec(
            "SET binlog_row_image = MINIMAL; XA START 'a'; INSERT INTO t (id) VALUES (1); XA END 'a'; XA PREPARE 'a'",
        )
        .await;
    drop(session);
    db.exec("INSERT INTO t VALUES (2, '')").await;
    assert_eq!(told(&one(&mut source).await), ["+2"]);
    decide(&db, "COMMIT", "a").await;
    let error = loop {
        if let Err(error) = next(&mut source).await {
            break error;
        }
    };
    let past = error.halt().and_then(|halt| halt.past.clone()).unwrap();
    let past: Position = past.parse().unwrap();
    assert_eq!(past, start_position(&options).await.unwrap(), "{error}");
    db.exec("INSERT INTO t VALUES (3, '')").await;
    let mut rest = Source::open(options.clone(), &past).await.unwrap();
    assert_eq!(told(&parts(&mut rest, &options).await), ["+3"]);
}

/// Rows of no interest may be prepared and decided; one phase is an ordinary commit.
#[tokio::test]
async fn mariadb_xa_that_loses_nothing() {
    let db = server(Kind::Mariadb).await;
    let options = options(&db, &["t"]).await;
    let mut source = source(&options).await;
    prepare(&db, "a", "INSERT INTO other VALUES (1)").await;
    prepare(&db, "b", "INSERT INTO other VALUES (2)").await;
    decide(&db, "COMMIT", "a").await;
    decide(&db, "ROLLBACK", "b").await;
    db.exec("XA START 'c'; INSERT INTO t VALUES (1, ''); XA END 'c'; XA COMMIT 'c' ONE PHASE")
        .await;
    assert_eq!(told(&parts(&mut source, &options).await), ["+1"]);
}

/// Transactions of some megabytes until the server dies.
async fn load(mut session: Session, first: u32) {
    for number in first.. {
        let statement = format!(
            "INSERT INTO t SELECT {number} * 100000 + a.n + 10 * b.n + 100 * c.n + 1000 * d.n, REPEAT('x', 250) \
             FROM ten a, ten b, ten c, ten d"
        );
        if session.try_exec(&statement).await.is_err() {
            return;
        }
    }
}

/// What the log gives after crashes in the middle of large transactions is exactly what the server has.
async fn a_crash_inside_of_a_transaction(kind: Kind) {
    let mut db = server(kind).await;
    db.exec("CREATE TABLE ten (n int); INSERT INTO ten VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)")
        .await;
    let options = options(&db, &["t"]).await;
    let from = start_position(&options).await.unwrap();
    let mut position = from.clone();
    let mut live = Vec::new();
    for round in 0..4 {
        let mut source = Source::open(options.clone(), &position).await.unwrap();
        let writers = [0, 1].map(|writer| 1 + round * 2_000 + writer * 1_000);
        let sessions = [db.session().await, db.session().await];
        let tasks: Vec<_> = writers
            .into_iter()
            .zip(sessions)
            .map(|(first, session)| tokio::spawn(load(session, first)))
            .collect();
        let mut count = 0;
        let mut open = Vec::new();
        // The crash comes after so many transactions have been read, then what was sent is read to its end.
        loop {
            match next(&mut source).await {
                Ok(Step::Idle { position: now, .. }) => position = now,
                Ok(Step::Part(part)) => {
                    let end = part.end.clone();
                    open.push(part);
                    if let Some(end) = end {
                        position = end;
                        live.append(&mut open);
                        count += 1;
                        if count == 3 + round {
                            db.server().kill().await;
                        }
                    }
                }
                Err(error) => {
                    assert!(error.is_transient(), "{error}");
                    break;
                }
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
        db.server().restart().await.unwrap();
    }
    let mut source = Source::open(options.clone(), &position).await.unwrap();
    live.extend(parts(&mut source, &options).await);
    let mut again = Source::open(options.clone(), &from).await.unwrap();
    let all = parts(&mut again, &options).await;
    let there: BTreeSet<String> = db
        .rows("SELECT CONCAT('+', id) FROM t")
        .await
        .into_iter()
        .map(|mut row| row.remove(0).unwrap())
        .collect();
    assert!(there.len() >= 100_000, "{} rows", there.len());
    for (what, parts) in [("as it happened", live), ("read again", all)] {
        let told = told(&parts);
        let seen: BTreeSet<String> = told.iter().cloned().collect();
        assert_eq!(seen.len(), told.len(), "{what}: rows came twice");
        let (lost, extra) = (there.difference(&seen).count(), seen.difference(&there).count());
        assert_eq!((lost, extra), (0, 0), "{what}: (lost, too many)");
    }
}

#[tokio::test]
async fn mysql_crashes() {
    a_crash_inside_of_a_transaction(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_crashes() {
    a_crash_inside_of_a_transaction(Kind::Mariadb).await;
}

/// The size of the newest binlog file.
fn log_size(folder: &std::path::Path) -> (std::path::PathBuf, u64) {
    let files = std::fs::read_dir(folder.join("data"))
        .unwrap()
        .map(|file| file.unwrap().path());
    let is_log = |path: &std::path::PathBuf| {
        path.file_stem().is_some_and(|stem| stem == "binlog")
            && path
                .extension()
                .is_some_and(|end| end != "index" && end != "state")
    };
    let newest = files.filter(is_log).max().unwrap();
    let size = std::fs::metadata(&newest).unwrap().len();
    (newest, size)
}

/// The server dies while it copies a transaction into its binlog: the begin of it stays there on MariaDB.
async fn a_transaction_that_the_log_cuts(kind: Kind) {
    let mut db = server(kind).await;
    db.exec("CREATE TABLE ten (n int); INSERT INTO ten VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)")
        .await;
    let options = options(&db, &["t"]).await;
    let from = start_position(&options).await.unwrap();
    db.exec("INSERT INTO t VALUES (-1, 'before')").await;
    let folder = db.server().socket_dir().to_owned();
    let (file, before) = log_size(&folder);
    let session = db.session().await;
    let task = tokio::spawn(async move {
        let mut session = session;
        let rows = "SELECT a.n + 10*b.n + 100*c.n + 1000*d.n + 10000*e.n + 100000*f.n, REPEAT('x', 290) FROM ten a, ten b, ten c, ten d, ten e, ten f WHERE f.n < 4";
        let _ = session.try_exec(&format!("INSERT INTO t {rows}")).await;
    });
    let deadline = std::time::Instant::now() + LIMIT * 3;
    while std::fs::metadata(&file).unwrap().len() < before + (8 << 20) {
        assert!(std::time::Instant::now() < deadline, "nothing was logged");
        std::thread::yield_now();
    }
    db.server().kill().await;
    task.await.unwrap();
    let cut = std::fs::metadata(&file).unwrap().len() - before;
    assert!(cut < 116_000_000, "all of it was logged: {cut} bytes");
    db.server().restart().await.unwrap();
    db.exec("INSERT INTO t VALUES (-2, 'after')").await;
    assert_eq!(db.count("t").await, 2, "the server took it back");
    let mut source = Source::open(options.clone(), &from).await.unwrap();
    assert_eq!(told(&parts(&mut source, &options).await), ["+-1", "+-2"]);
}

// The loop that watches the file takes a thread of its own.
#[tokio::test(flavor = "multi_thread")]
async fn mysql_cut() {
    a_transaction_that_the_log_cuts(Kind::Mysql).await;
}

// The loop that watches the file takes a thread of its own.
#[tokio::test(flavor = "multi_thread")]
async fn mariadb_cut() {
    a_transaction_that_the_log_cuts(Kind::Mariadb).await;
}
