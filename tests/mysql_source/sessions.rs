//! Logins, TLS, grants, silence and dead servers.

use super::harness::{Kind, Options as Server, eventually};
use super::*;
use tidelock::model::operation::SessionName;
use tidelock::mysql::waits;

/// Silence is told apart from a dead server; a restarted one is read on without a gap.
async fn idle_and_dead_servers(kind: Kind) {
    let mut db = private(
        kind,
        &Server {
            durable: true,
            ..Server::default()
        },
    )
    .await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY)")
        .await;
    let options = options(&db, &["t"]).await;
    let mut source = source(&options).await;
    db.exec("INSERT INTO other VALUES (1), (2)").await;
    let mut foreign = 0;
    let mut last = None;
    for _ in 0..3 {
        match next(&mut source).await.unwrap() {
            Step::Idle {
                position,
                foreign_bytes,
            } => {
                foreign += foreign_bytes;
                last = Some(position);
            }
            Step::Part(part) => panic!("{part:?}"),
        }
    }
    assert!(foreign > 100, "{foreign}");
    db.exec("INSERT INTO t VALUES (1)").await;
    db.server().kill().await;
    let error = loop {
        match next(&mut source).await {
            Ok(Step::Part(part)) => last = part.end,
            Ok(Step::Idle { position, .. }) => last = Some(position),
            Err(error) => break error,
        }
    };
    assert!(error.is_transient(), "{error}");
    let last = last.unwrap();
    let Err(error) = Source::open(options.clone(), &last).await else {
        panic!("the server is dead")
    };
    assert!(
        error.is_transient() && error.reason_kind() == Reason::Unreachable,
        "{error}"
    );
    db.server().restart().await.unwrap();
    let mut source = Source::open(options.clone(), &last).await.unwrap();
    db.exec("INSERT INTO t VALUES (2)").await;
    let told = told(&parts(&mut source, &options).await);
    assert!(told == ["+2"] || told == ["+1", "+2"], "{told:?}");
}

#[tokio::test]
async fn mysql_silence() {
    idle_and_dead_servers(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_silence() {
    idle_and_dead_servers(Kind::Mariadb).await;
}

/// Only what `setup` grants: reading the log needs no more than REPLICATION SLAVE, the copy no more than SELECT.
async fn a_reader_needs_few_grants(kind: Kind) {
    let db = private(kind, &Server::default()).await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
        .await;
    db.as_dba(&format!(
        "CREATE USER r IDENTIFIED BY 'p'; GRANT SELECT ON {}.* TO r",
        db.name()
    ))
    .await;
    let mut options = options(&db, &["t"]).await;
    let from = start_position(&options).await.unwrap();
    options.access.user = "r".to_owned();
    options.access.secret = Secret::Plain("p".to_owned().into());
    let error = refused(&options, &from).await;
    assert!(
        error
            .hint_text()
            .unwrap_or_default()
            .contains("GRANT REPLICATION SLAVE"),
        "{error}"
    );
    db.as_dba("GRANT REPLICATION SLAVE ON *.* TO r").await;
    let mut snapshot = Snapshot::open(&options).await.unwrap();
    assert_eq!(copy(&mut snapshot, &options, 0).await.len(), 1);
    let mut source = Source::open(options.clone(), snapshot.start()).await.unwrap();
    snapshot.close().await.unwrap();
    db.exec("INSERT INTO t VALUES (2)").await;
    assert_eq!(told(&parts(&mut source, &options).await), ["+2"]);
}

#[tokio::test]
async fn mysql_grants() {
    a_reader_needs_few_grants(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_grants() {
    a_reader_needs_few_grants(Kind::Mariadb).await;
}

async fn logins_and_tls(kind: Kind) {
    let mut db = private(
        kind,
        &Server {
            tls: true,
            ..Server::default()
        },
    )
    .await;
    let ca_file = db.server().ca_file();
    let plain = access(&db);
    let with = |tls: TlsMode, ca: bool| Access {
        tls,
        ca_file: ca_file.clone().filter(|_| ca),
        ..plain.clone()
    };
    let cipher = async |access: &Access| -> String {
        use mysql_async::prelude::Queryable;
        let mut conn = connect(access).await.unwrap();
        let row: Option<(String, String)> = conn
            .query_first("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
            .await
            .unwrap();
        row.unwrap().1
    };
    assert_eq!(cipher(&with(TlsMode::Disable, false)).await, "");
    assert_ne!(cipher(&with(TlsMode::Require, false)).await, "");
    assert_ne!(cipher(&with(TlsMode::VerifyFull, true)).await, "");
    assert_ne!(cipher(&with(TlsMode::VerifyCa, true)).await, "");
    let unknown = connect(&with(TlsMode::VerifyFull, false)).await.unwrap_err();
    assert_eq!(unknown.class(), Class::Definite, "{unknown}");
    assert!(unknown.hint_text().is_some(), "{unknown}");
    let wrong = Access {
        secret: Secret::Plain("wrong".to_owned().into()),
        ..plain.clone()
    };
    let error = connect(&wrong).await.unwrap_err();
    assert_eq!(
        (error.class(), error.reason_kind()),
        (Class::Definite, Reason::Unreachable),
        "{error}"
    );
    assert!(
        error.to_string().contains("1045") && error.hint_text().is_some(),
        "{error}"
    );
    let closed = Access {
        port: 1,
        ..plain.clone()
    };
    let error = connect(&closed).await.unwrap_err();
    assert_eq!(
        (error.class(), error.reason_kind()),
        (Class::Transient, Reason::Unreachable),
        "{error}"
    );
    // Whoever has rights on all databases is told that this one is not there.
    let missing = Access {
        database: "not_there".to_owned(),
        user: "tidelock".to_owned(),
        secret: Secret::Plain("tidelock".to_owned().into()),
        ..plain
    };
    let error = connect(&missing).await.unwrap_err();
    assert_eq!(
        (error.class(), error.reason_kind()),
        (Class::Definite, Reason::Unreachable),
        "{error}"
    );
}

#[tokio::test]
async fn mysql_logins() {
    logins_and_tls(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_logins() {
    logins_and_tls(Kind::Mariadb).await;
}

/// Which server it is: MySQL says so itself, MariaDB only after `setup` has given it a name.
async fn servers_are_told_apart(kind: Kind) {
    use tidelock::mysql::{flavor, server};
    let db = private(kind, &Server::default()).await;
    let mut conn = connect(&access(&db)).await.unwrap();
    let flavor = flavor(&mut conn).await.unwrap();
    let first = server(&mut conn, &flavor).await.unwrap();
    assert_eq!(first.engine, kind.name());
    assert_eq!(first.identity.is_empty(), kind == Kind::Mariadb);
    db.make_control_schema().await;
    db.exec("INSERT INTO tidelock.server_id VALUES (1, 'me')").await;
    db.grant(&[], false).await;
    let second = server(&mut conn, &flavor).await.unwrap();
    let expected = if kind == Kind::Mariadb {
        "me"
    } else {
        &first.identity
    };
    assert_eq!(second.identity, expected);
}

#[tokio::test]
async fn mysql_identity() {
    servers_are_told_apart(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_identity() {
    servers_are_told_apart(Kind::Mariadb).await;
}

/// MySQL fails to show its sessions by `information_schema.processlist` while one of them runs a statement with a 4-byte
/// character: none of what is asked of them may need that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_seen_beside_statements_of_any_character() {
    let db = database(Kind::Mysql, "sessions").await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut options = options(&db, &["t"]).await;
    let mut sleeper = db.run_session().await;
    let sleeping = tokio::spawn(async move { sleeper.try_exec("SELECT SLEEP(60), '🌊'").await });
    let mut admin = db.admin().await;
    let broken = "SELECT count(*) FROM information_schema.processlist";
    eventually(LIMIT, "the server cannot show it", async || {
        admin
            .try_rows(broken)
            .await
            .is_err_and(|error| error.contains("3854"))
    })
    .await;
    options.access.session = Some(SessionName {
        sync: db.name().to_owned(),
        link: "my->pg".to_owned(),
        instance: "me".to_owned(),
    });
    let noted = format!("tidelock.session WHERE sync = '{}'", db.name());
    let source = source(&options).await;
    let dumps = "SHOW PROCESSLIST";
    let sessions = admin.rows(dumps).await;
    let is_dump = |row: &Vec<Option<String>>| {
        row[1].as_deref() == Some(db.run_account())
            && row[4].as_deref().is_some_and(|what| what.contains("Binlog Dump"))
    };
    let dump = sessions.into_iter().find(is_dump).unwrap().remove(0).unwrap();
    assert_eq!(
        admin
            .one(&format!("SELECT count(*) FROM {noted} AND id = {dump}"))
            .await,
        "1"
    );
    drop(source);
    // Somebody waits for a lock, and is told for whom.
    db.exec("INSERT INTO t VALUES (1)").await;
    let (mut holder, mut waiter) = (db.session().await, db.admin().await);
    for statement in ["BEGIN", "SELECT * FROM t FOR UPDATE"] {
        holder.exec(statement).await;
    }
    let waiting = tokio::spawn(async move { waiter.try_exec("DELETE FROM t").await });
    let mut conn = connect(&super::harness::access("my", &db.url())).await.unwrap();
    eventually(LIMIT, "the wait is seen", async || {
        waits::waiting_for(&mut conn).await.unwrap().is_some()
    })
    .await;
    holder.exec("ROLLBACK").await;
    waiting.await.unwrap().unwrap();
    conn.disconnect().await.unwrap();
    sleeping.abort();
}
