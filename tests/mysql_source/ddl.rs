//! ALTER TABLE as servers log it: what may have changed rows unseen stops, what keeps every value goes on.

use super::*;

const TABLE: &str =
    "(id int PRIMARY KEY, v varchar(50), w varchar(50), n int, m varchar(20) CHARACTER SET utf8mb3)";

async fn table(db: &Db, name: &str) {
    let rows = "(1, 'x', 'w1', 100, 'm'), (2, NULL, 'w2', 1000, '日本')";
    db.exec(&format!(
        "CREATE TABLE {name} {TABLE}; INSERT INTO {name} VALUES {rows}"
    ))
    .await;
}

/// Statements of one session, and a word of what is said of the last.
const STOPS: [(&str, &str); 12] = [
    (
        "ALTER TABLE {t} DROP COLUMN v, ADD COLUMN v longtext AFTER id",
        "another one had the name",
    ),
    (
        "ALTER TABLE {t} DROP COLUMN v; ALTER TABLE {t} ADD COLUMN v longtext",
        "another one had the name",
    ),
    (
        "ALTER TABLE {t} CHANGE v w varchar(50), CHANGE w v varchar(50)",
        "another one had the name",
    ),
    (
        "ALTER TABLE {t} RENAME COLUMN v TO x; ALTER TABLE {t} RENAME COLUMN w TO v",
        "another one had the name",
    ),
    (
        "SET sql_mode = ''; ALTER TABLE {t} MODIFY n tinyint",
        "another type",
    ),
    (
        "ALTER TABLE {t} MODIFY n bigint; SET sql_mode = ''; ALTER TABLE {t} MODIFY n int",
        "another type",
    ),
    (
        "SET sql_mode = ''; ALTER TABLE {t} MODIFY v varchar(50) CHARACTER SET ascii",
        "character set",
    ),
    (
        "SET sql_mode = ''; ALTER TABLE {t} MODIFY v varchar(50) NOT NULL",
        "NOT NULL",
    ),
    (
        "SET sql_mode = ''; ALTER TABLE {t} MODIFY v varchar(60) NOT NULL DEFAULT ''; UPDATE {t} SET n = 1",
        "NOT NULL",
    ),
    (
        "ALTER TABLE {t} DROP COLUMN n, ADD n int GENERATED ALWAYS AS (id * 2) STORED",
        "another one had",
    ),
    (
        "SET sql_mode = ''; ALTER TABLE {t} CONVERT TO CHARACTER SET latin1",
        "texts are converted",
    ),
    (
        "ALTER TABLE {t} MODIFY n int COMMENT 'x' PRIMARY KEY, DROP PRIMARY KEY",
        "definition of column",
    ),
];

const KEEPS: [&str; 11] = [
    "ALTER TABLE {t} ADD COLUMN x varchar(20) DEFAULT 'MODIFY n tinyint', ADD INDEX i (v)",
    "CREATE INDEX j ON {t} (w); DROP INDEX i ON {t}",
    "ALTER TABLE {t} MODIFY n bigint; ALTER TABLE {t} MODIFY n bigint DEFAULT 5, ALGORITHM=COPY",
    "ALTER TABLE {t} MODIFY v varchar(200); UPDATE {t} SET n = n + 1 WHERE id = 1; ALTER TABLE {t} MODIFY v text",
    "ALTER TABLE {t} MODIFY m varchar(20) CHARACTER SET utf8mb4",
    "ALTER TABLE {t} RENAME COLUMN w TO y, ADD CONSTRAINT c CHECK (n > 0)",
    "ALTER TABLE {t} DROP COLUMN y, ALGORITHM=COPY, LOCK=SHARED",
    "ALTER TABLE {t} CONVERT TO CHARACTER SET utf8mb4",
    "ALTER TABLE {t} ENGINE=InnoDB, COMMENT='a', ROW_FORMAT=DYNAMIC; OPTIMIZE TABLE {t}; ALTER TABLE {t} FORCE",
    "ALTER TABLE {t} ALTER COLUMN n SET DEFAULT 7; ALTER TABLE {t} MODIFY n int",
    "ALTER TABLE {t} ADD z int GENERATED ALWAYS AS (id * 2) STORED",
];

/// Heartbeats come for ever.
async fn stopped_in_time(source: &mut Source) -> (Vec<Part>, Error) {
    let stopped = tokio::time::timeout(LIMIT, stopped(source)).await;
    stopped.expect("nothing stopped it")
}

async fn statements(db: &Db, name: &str, statements: &str) {
    let mut session = db.session().await;
    session.exec(&statements.replace("{t}", name)).await;
}

async fn alter_table(kind: Kind) {
    let db = database(kind, "alter").await;
    for (number, (text, word)) in STOPS.into_iter().enumerate() {
        let name = format!("t{number}");
        table(&db, &name).await;
        let options = options(&db, &[&name]).await;
        let mut source = source(&options).await;
        statements(&db, &name, text).await;
        let (told, error) = stopped_in_time(&mut source).await;
        assert!(changes(&told).is_empty(), "{text}: rows behind it were handed on");
        assert!(
            error.is_of_ddl() && error.alone_table().is_some(),
            "{text}: {error}"
        );
        assert!(error.to_string().contains(word), "{text}: {error}");
        assert!(
            error
                .hint_text()
                .unwrap()
                .contains("`tidelock skip` this transaction")
        );
    }
    table(&db, "kept").await;
    let options = options(&db, &["kept"]).await;
    let mut source = source(&options).await;
    for text in KEEPS {
        statements(&db, "kept", text).await;
        parts(&mut source, &options).await;
    }
}

#[tokio::test]
async fn mysql_alter_table() {
    alter_table(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_alter_table() {
    alter_table(Kind::Mariadb).await;
}

/// What stands in the log before the catalog was read is judged by the log alone.
async fn statements_older_than_the_catalog(kind: Kind) {
    let db = database(kind, "older").await;
    for (name, text, stops) in [
        // After it the catalog shows bigint, and nobody knows what was before.
        ("blind", "ALTER TABLE {t} MODIFY n bigint", true),
        (
            "shown",
            "UPDATE {t} SET n = 5 WHERE id = 1; ALTER TABLE {t} MODIFY n bigint",
            false,
        ),
        ("plain", "ALTER TABLE {t} ADD x int, DROP COLUMN v", false),
    ] {
        table(&db, name).await;
        let from = start_position(&options(&db, &[name]).await).await.unwrap();
        statements(&db, name, text).await;
        let options = options(&db, &[name]).await;
        let mut source = Source::open(options.clone(), &from).await.unwrap();
        if stops {
            let (_, error) = stopped_in_time(&mut source).await;
            assert!(error.to_string().contains("is not known"), "{error}");
        } else {
            parts(&mut source, &options).await;
        }
    }
}

#[tokio::test]
async fn mysql_statements_older_than_the_catalog() {
    statements_older_than_the_catalog(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_statements_older_than_the_catalog() {
    statements_older_than_the_catalog(Kind::Mariadb).await;
}

/// A server whose sessions do not commit by themselves: the dump leaves no transaction open, and another sync starts.
async fn sessions_that_do_not_commit(kind: Kind) {
    let db = private(kind, &harness::Options::default()).await;
    db.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    db.make_control_schema().await;
    let mut options = options(&db, &["t"]).await;
    let from = start_position(&options).await.unwrap();
    let mut watcher = db.admin().await;
    watcher.exec_of_a_dba("SET GLOBAL autocommit = 0").await;
    let mut sources = Vec::new();
    for link in ["first", "second"] {
        options.access.session = Some(tidelock::model::operation::SessionName {
            sync: link.to_owned(),
            link: link.to_owned(),
            instance: "one".to_owned(),
        });
        sources.push(Source::open(options.clone(), &from).await.unwrap());
    }
    let open = "SELECT count(*) FROM information_schema.innodb_trx x JOIN information_schema.processlist p
                  ON p.ID = x.trx_mysql_thread_id WHERE p.COMMAND LIKE 'Binlog Dump%'";
    assert_eq!(watcher.one(open).await, "0");
    let noted = "SELECT count(*) FROM tidelock.session s JOIN information_schema.processlist p ON p.ID = s.id
                  WHERE p.COMMAND LIKE 'Binlog Dump%'";
    assert_eq!(
        watcher.one(noted).await,
        "2",
        "no dump session was noted: nothing is tried here"
    );
    watcher.exec_of_a_dba("SET GLOBAL autocommit = 1").await;
}

#[tokio::test]
async fn mysql_sessions_that_do_not_commit() {
    sessions_that_do_not_commit(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_sessions_that_do_not_commit() {
    sessions_that_do_not_commit(Kind::Mariadb).await;
}

/// A statement that was logged as text is told by what it is, and by a table only where it names just one.
async fn logged_as_text(kind: Kind) {
    let db = private(kind, &harness::Options::default()).await;
    db.exec("CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE o (id int PRIMARY KEY, n int)")
        .await;
    let options = options(&db, &["a", "o"]).await;
    for (text, verb, table) in [
        ("UPDATE a SET n = 4711", "UPDATE", Some("a")),
        (
            "DELETE a FROM a JOIN o ON a.id = o.id WHERE a.n = 4711",
            "DELETE",
            None,
        ),
    ] {
        let mut source = source(&options).await;
        let mut session = db.admin().await;
        session
            .exec(&format!("INSERT INTO a VALUES (1, 1) ON DUPLICATE KEY UPDATE n = 4711; INSERT IGNORE INTO o VALUES (1, 1);
                SET SESSION binlog_format = 'STATEMENT'; {text}"))
            .await;
        let (_, error) = stopped_in_time(&mut source).await;
        let said = error.to_string();
        assert!(
            said.contains(verb) && said.contains(db.name()) && !said.contains("4711"),
            "{said}"
        );
        let named = |name: &str| said.contains(&format!("table {}.{name}", db.name()));
        assert_eq!((named("a"), named("o")), (table == Some("a"), false), "{said}");
    }
}

#[tokio::test]
async fn mysql_logged_as_text() {
    logged_as_text(Kind::Mysql).await;
}

#[tokio::test]
async fn mariadb_logged_as_text() {
    logged_as_text(Kind::Mariadb).await;
}
