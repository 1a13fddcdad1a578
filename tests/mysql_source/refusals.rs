//! What would lose rows is refused, says what mends it, and is read on once mended.

use super::harness::{Kind, Options as Server, eventually};
use super::*;

/// Reads on until something is refused.
async fn fails(source: &mut Source) -> Error {
    loop {
        if let Err(error) = next(source).await {
            return error;
        }
    }
}

/// Sessions change what the checks at the start have seen: each is caught in the event that has it.
async fn what_would_lose_rows_stops_the_stream(kind: Kind) {
    let db = private(kind, &Server::default()).await;
    let filled = "CREATE TABLE t (id int PRIMARY KEY, v int, w int, j json);
                  INSERT INTO t VALUES (1, 1, 1, '{\"a\": 1, \"b\": \"a text that is worth leaving out of the log\"}')";
    db.exec(filled).await;
    let options = options(&db, &["t"]).await;
    let mut cases = vec![
        (
            "SET SESSION binlog_format = 'STATEMENT'; UPDATE t SET v = v + 1",
            "",
            "binlog_format = 'ROW'",
        ),
        (
            "SET SESSION binlog_row_image = 'MINIMAL'; UPDATE t SET v = v + 1",
            "",
            "binlog_row_image = 'FULL'",
        ),
        (
            "SET GLOBAL binlog_row_metadata = 'MINIMAL'; UPDATE t SET v = v + 1",
            "SET GLOBAL binlog_row_metadata = 'FULL'",
            "binlog_row_metadata = FULL",
        ),
        ("DROP TABLE t", filled, "make a new copy"),
    ];
    if kind == Kind::Mysql {
        cases.push((
            "SET SESSION binlog_row_value_options = 'PARTIAL_JSON'; UPDATE t SET j = JSON_SET(j, '$.a', 2)",
            "",
            "SET GLOBAL binlog_row_value_options = ''",
        ));
    }
    if kind == Kind::Mariadb {
        // The text of it does not begin as that of a statement which writes rows.
        cases.push((
            "SET SESSION binlog_format = 'STATEMENT'; SET STATEMENT max_statement_time = 100 FOR UPDATE t SET v = v + 1",
            "",
            "binlog_format = 'ROW'",
        ));
        cases.push((
            "XA START 'x'; UPDATE t SET v = v + 1; XA END 'x'; XA PREPARE 'x'",
            "XA COMMIT 'x'",
            "XA COMMIT .. ONE PHASE",
        ));
    }
    for (statements, undo, hint) in cases {
        let mut source = source(&options).await;
        let mut session = db.admin().await;
        session.exec(statements).await;
        let error = fails(&mut source).await;
        assert_eq!(error.class(), Class::Definite, "{statements}: {error}");
        let told = error.hint_text().unwrap_or_default();
        assert!(told.contains(hint), "{statements}: {error}; hint {told}");
        drop(session);
        if !undo.is_empty() {
            // A prepared XA transaction is free for others only when its session has really ended.
            let mended = async || db.admin().await.try_exec(undo).await.is_ok();
            eventually(Duration::from_secs(10), undo, mended).await;
        }
        // What was mended is read again from there on.
        let mut source = self::source(&options).await;
        db.exec("UPDATE t SET v = 0 WHERE id = 1; UPDATE t SET v = 1 WHERE id = 1")
            .await;
        assert_eq!(told_len(&mut source, &options).await, 2, "after {statements}");
    }
}

async fn told_len(source: &mut Source, options: &Options) -> usize {
    changes(&parts(source, options).await).len()
}

#[tokio::test]
async fn mysql_settings_in_the_stream() {
    what_would_lose_rows_stops_the_stream(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_settings_in_the_stream() {
    what_would_lose_rows_stops_the_stream(Kind::Mariadb).await;
}

async fn settings_at_the_start_and_lost_positions_are_refused(kind: Kind) {
    let db = private(kind, &Server::default()).await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
        .await;
    let options = options(&db, &["t"]).await;
    let from = start_position(&options).await.unwrap();
    for (name, wrong, right) in [
        ("binlog_format", "MIXED", "ROW"),
        ("binlog_row_image", "MINIMAL", "FULL"),
        ("binlog_row_metadata", "MINIMAL", "FULL"),
    ] {
        db.as_dba(&format!("SET GLOBAL {name} = '{wrong}'")).await;
        let error = refused(&options, &from).await;
        let hint = error.hint_text().unwrap_or_default().to_owned();
        assert!(
            hint.contains(&format!("SET GLOBAL {name} = '{right}'")),
            "{error} {hint}"
        );
        db.as_dba(&hint).await;
        Source::open(options.clone(), &from).await.unwrap();
    }
    // Ahead of the server: another one, or one that was reset.
    let ahead: Position = match &from {
        Position::Gtid(_) => "gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".parse().unwrap(),
        _ => "mariadb:0-1-99999".parse().unwrap(),
    };
    let error = refused(&options, &ahead).await;
    assert_eq!(
        (error.class(), error.reason_kind()),
        (Class::Definite, Reason::PositionLost),
        "{error}"
    );
    let error = refused(&options, &Position::Lsn(5)).await;
    assert_eq!(error.reason_kind(), Reason::PositionLost, "{error}");
    // Purged: the position is older than the oldest log.
    db.as_dba("INSERT INTO t VALUES (2); FLUSH LOGS; INSERT INTO t VALUES (3); FLUSH LOGS")
        .await;
    purge_old_logs(&db).await;
    let error = refused(&options, &from).await;
    assert_eq!(
        (error.class(), error.reason_kind()),
        (Class::Definite, Reason::PositionLost),
        "{error}"
    );
    assert!(error.hint_text().is_some());
    let now = start_position(&options).await.unwrap();
    let mut source = Source::open(options.clone(), &now).await.unwrap();
    db.exec("INSERT INTO t VALUES (4)").await;
    assert_eq!(told(&parts(&mut source, &options).await), ["+4"]);
}

#[tokio::test]
async fn mysql_refusals_at_the_start() {
    settings_at_the_start_and_lost_positions_are_refused(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_refusals_at_the_start() {
    settings_at_the_start_and_lost_positions_are_refused(Kind::Mariadb).await;
}

async fn our_database_kept_out_of_the_log_is_refused(kind: Kind) {
    let server = Server {
        extra: vec!["--binlog-ignore-db=tidelock".to_owned()],
        ..Server::default()
    };
    let db = private(kind, &server).await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let options = options(&db, &["t"]).await;
    let error = start_position(&options)
        .await
        .expect_err("the filter was not seen");
    assert!(error.to_string().contains("binlog_ignore_db"), "{error}");
}

#[tokio::test]
async fn mysql_log_filters() {
    our_database_kept_out_of_the_log_is_refused(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_log_filters() {
    our_database_kept_out_of_the_log_is_refused(Kind::Mariadb).await;
}

/// Columns that are not read stop the link with the ALTER that mends them, after which it goes on.
async fn columns_that_are_not_read_are_refused(kind: Kind) {
    let db = database(kind, "refused").await;
    db.grant(&[], false).await;
    db.exec(&format!(
        "GRANT SELECT ON {}.* TO {}",
        db.name(),
        db.run_account()
    ))
    .await;
    let mut cases = vec![(
        "v varchar(10) character set koi8r",
        "CONVERT TO CHARACTER SET utf8mb4",
    )];
    if kind == Kind::Mariadb {
        cases.push(("v text compressed", "without COMPRESSED"));
        cases.push(("v varchar(100) compressed", "without COMPRESSED"));
    }
    for (number, (column, hint)) in cases.into_iter().enumerate() {
        let table = format!("t{number}");
        db.exec(&format!(
            "CREATE TABLE {table} (id int PRIMARY KEY, {column}, w text)"
        ))
        .await;
        let options = granted(&db, &[&table]).await;
        let mut source = source(&options).await;
        db.exec(&format!("INSERT INTO {table} VALUES (1, 'a', 'b')"))
            .await;
        let error = fails(&mut source).await;
        assert!(error.hint_text().unwrap_or_default().contains(hint), "{error}");
    }
}

#[tokio::test]
async fn mysql_refused_columns() {
    columns_that_are_not_read_are_refused(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_refused_columns() {
    columns_that_are_not_read_are_refused(Kind::Mariadb).await;
}

/// A write that no transaction can take back and that the log's cache has no room for: the server logs an incident.
async fn an_incident_is_a_lost_position(kind: Kind) {
    let db = private(kind, &Server::default()).await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE plain (v text) ENGINE=MyISAM")
        .await;
    let options = options(&db, &["t"]).await;
    let mut source = source(&options).await;
    db.exec("INSERT INTO t VALUES (1, 1)").await;
    db.as_dba("SET GLOBAL max_binlog_stmt_cache_size = 4096; SET GLOBAL binlog_stmt_cache_size = 4096")
        .await;
    let rows = vec!["(REPEAT('x', 3000))"; 40].join(", ");
    let mut session = db.session().await;
    let refused = session
        .try_exec(&format!("INSERT INTO plain VALUES {rows}"))
        .await;
    assert!(refused.is_err(), "the statement was logged");
    db.exec("INSERT INTO t VALUES (2, 2)").await;
    let error = fails(&mut source).await;
    assert_eq!(error.reason_kind(), Reason::PositionLost, "{error}");
    assert!(error.to_string().contains("incident"), "{error}");
}

#[tokio::test]
async fn mysql_incident() {
    an_incident_is_a_lost_position(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_incident() {
    an_incident_is_a_lost_position(Kind::Mariadb).await;
}

/// The log has a statement in the bytes of its client: what is read of them is the right table, or stops the link.
async fn statements_of_clients_with_other_character_sets(kind: Kind) {
    // On a server of its own: whatever else reads this log stops at it too.
    let db = private(kind, &Server::default()).await;
    // As Latin-1 and GBK read the bytes of é and éé.
    db.exec("CREATE TABLE `Ã©` (id int PRIMARY KEY); CREATE TABLE `茅茅` (id int PRIMARY KEY)")
        .await;
    let options = options(&db, &["Ã©", "茅茅"]).await;
    let mut source = source(&options).await;
    let mut session = db.session().await;
    session
        .exec("SET NAMES latin1; TRUNCATE TABLE `é`; SET NAMES gbk; CREATE TABLE `éé_` (id int)")
        .await;
    assert_eq!(told(&parts(&mut source, &options).await), ["truncate"]);
    session.exec("DROP TABLE `éé`").await;
    let error = loop {
        if let Err(error) = next(&mut source).await {
            break error;
        }
    };
    assert!(error.to_string().contains("character set"), "{kind:?}: {error}");
    assert!(error.halt().is_some() && error.hint_text().unwrap().contains("skip"));
}

#[tokio::test]
async fn mysql_clients_with_other_character_sets() {
    statements_of_clients_with_other_character_sets(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_clients_with_other_character_sets() {
    statements_of_clients_with_other_character_sets(Kind::Mariadb).await;
}
