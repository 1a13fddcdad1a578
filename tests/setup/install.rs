//! Setup brings everything there, once; teardown takes it away.

use crate::harness::{Kind, Options, access, private};
use crate::node::{Engine, Node, codes};
use crate::on_every_server;
use tidelock::model::schema::TableId;
use tidelock::model::sync::Mode;
use tidelock::mysql::target::Target;

/// Names that need every kind of quoting, and a key of two columns.
const ODD: &str = "we'ird \" t{able}";

fn odd_ddl(kind: Kind) -> String {
    match kind.is_postgres() {
        true => "CREATE TABLE \"we'ird \"\" t{able}\" (\"the\"\"Key\" numeric(10,2), b text, \"order\" text, PRIMARY KEY (b, \"the\"\"Key\"))".to_owned(),
        false => "CREATE TABLE `we'ird \" t{able}` (`the\"Key` decimal(10,2), b varchar(20) CHARACTER SET latin1, `order` enum('a','it''s'), PRIMARY KEY (b, `the\"Key`))".to_owned(),
    }
}

async fn the_second_setup_has_nothing_to_do(kind: Kind) {
    let mut node = Node::new(kind, "twice", &odd_ddl(kind), &[ODD]).await;
    node.exec("CREATE TABLE plain (id bigint PRIMARY KEY)").await;
    let mut plain = node.scope.tables[0].clone();
    plain.name = "plain".to_owned();
    node.scope.tables.push(plain);
    node.let_look().await;
    let before = codes(&node.check().await).join(" ");
    // Where the run account may not even look into our database, that is what it tells.
    let wanted = if node.is_postgres() { "E402 E403" } else { "E108" };
    assert!(before.contains(wanted), "{before}");
    assert!(!node.setup().await.is_empty());
    assert_eq!(node.setup_sql().await, [] as [&str; 0]);
    let after = codes(&node.check().await).join(" ");
    assert_eq!(after.replace("W308", ""), "", "after setup");
    assert_eq!(codes(&node.settings().await), [] as [&str; 0]);
    let (insert, update, delete) = match node.is_postgres() {
        true => (
            "INSERT INTO \"we'ird \"\" t{able}\" VALUES (1.5, 'b', 'c')",
            "UPDATE \"we'ird \"\" t{able}\" SET \"the\"\"Key\" = 2",
            "DELETE FROM \"we'ird \"\" t{able}\"",
        ),
        false => (
            "INSERT INTO `we'ird \" t{able}` VALUES (1.5, 'b', 'a')",
            "UPDATE `we'ird \" t{able}` SET `the\"Key` = 2",
            "DELETE FROM `we'ird \" t{able}`",
        ),
    };
    for sql in [insert, update, delete] {
        node.exec(sql).await;
    }
    node.teardown().await;
}

async fn teardown_leaves_usable_tables_and_nothing_else(kind: Kind) {
    let ddl =
        "CREATE TABLE t (id int PRIMARY KEY, word varchar(20)); CREATE TABLE other (id int PRIMARY KEY)";
    let mut node = Node::new(kind, "teardown", ddl, &["t"]).await;
    node.setup().await;
    let mut second = Node {
        scope: node.scope.clone(),
        engine: Engine::open(&node.db, node.db.owner()).await,
        db: node.db,
    };
    second.scope.sync.push_str("_second");
    second.scope.tables[0].name = "other".to_owned();
    second.setup().await;
    let first = node.scope;
    second.db.exec("INSERT INTO t (id) VALUES (1)").await;

    // The second sync still uses our schema.
    let scope = std::mem::replace(&mut second.scope, first);
    let done = second.teardown().await;
    assert!(
        done.iter().any(|sql| sql.starts_with("-- kept: stamp columns")),
        "{done:?}"
    );
    assert_eq!(second.teardown().await, [] as [&str; 0]);
    second
        .db
        .exec("UPDATE t SET word = 'x'; DELETE FROM t; INSERT INTO t (id) VALUES (1)")
        .await;
    assert_eq!(second.db.one("SELECT tidelock_version FROM t").await, "1");
    second.scope = scope;
    assert_eq!(second.setup_sql().await, [] as [&str; 0]);
    second.teardown().await;
    assert_eq!(second.teardown().await, [] as [&str; 0]);
    if second.is_postgres() {
        assert_eq!(
            second
                .db
                .one("SELECT count(*) FROM pg_namespace WHERE nspname = 'tidelock'")
                .await,
            "0"
        );
        assert_eq!(
            second
                .db
                .one("SELECT count(*) FROM pg_class WHERE relreplident = 'f'")
                .await,
            "0"
        );
        assert_eq!(second.db.one("SELECT count(*) FROM pg_publication").await, "0");
    }
}

async fn who_may_not_look_is_told_so(kind: Kind) {
    let mut node = Node::new(kind, "blind", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    node.setup().await;
    let user = format!("blind_{}", node.db.run_account());
    let create = match node.is_postgres() {
        true => format!("CREATE ROLE {user} LOGIN PASSWORD '{user}'"),
        false => format!(
            "CREATE USER {user} IDENTIFIED BY '{user}'; GRANT SELECT, TRIGGER ON {}.* TO {user}",
            node.db.name()
        ),
    };
    node.db.as_dba(&create).await;
    let owner = std::mem::replace(&mut node.engine, Engine::open(&node.db, &user).await);
    let error = node.try_teardown().await.unwrap_err();
    let (said, hint) = (error.to_string(), error.hint_text().unwrap());
    assert!(said.contains(&user) && said.contains("may not look"), "{said}");
    assert!(hint.contains("setup_url"), "{hint}");
    assert_eq!(error.exit_code(), 3);
    if !node.is_postgres() {
        // The statement of the hint is one.
        node.db.as_dba(&hint[hint.find("GRANT").unwrap()..]).await;
        assert_ne!(node.try_teardown_sql().await.unwrap(), [] as [&str; 0]);
    }
    node.engine = owner;
    let drop = if node.is_postgres() { "ROLE" } else { "USER" };
    node.db.as_dba(&format!("DROP {drop} {user}")).await;
    assert_ne!(node.teardown().await, [] as [&str; 0]);
}

/// On MySQL and MariaDB the control database is the server's, so this needs a server of its own.
#[tokio::test]
async fn the_last_teardown_drops_the_control_database() {
    for kind in [Kind::Mysql, Kind::Mariadb] {
        let db = private(kind, &Options::default()).await;
        let mut node = Node::on(db, "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
        node.setup().await;
        node.teardown().await;
        let sql = "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'tidelock'";
        assert_eq!(node.db.one(sql).await, "0");
        assert_eq!(node.teardown().await, [] as [&str; 0]);
    }
}

/// What a former version of Tidelock set up is found out of date, brought up to date, and keeps its rows.
#[tokio::test]
async fn an_older_control_schema_is_upgraded() {
    for kind in [Kind::Postgres18, Kind::Mysql, Kind::Mariadb] {
        let db = private(kind, &Options::default()).await;
        let mut node = Node::on(db, "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
        node.setup().await;
        let sessions = if kind.is_postgres() {
            ""
        } else {
            ", tidelock.session"
        };
        let tables = "tidelock.lease, tidelock.link_state, tidelock.out_of_sync, tidelock.audit, tidelock.held_table, \
             tidelock.parked, tidelock.missed_bump";
        let (files, published): (&[(i64, &str)], _) = match kind.is_postgres() {
            true => (&tidelock::postgres::setup::CONTROL_FILES, ", tidelock.published"),
            false => (&tidelock::mysql::setup::CONTROL_FILES, ""),
        };
        let newest = files.last().unwrap().0.to_string();
        node.exec(&format!("DROP TABLE {tables}{sessions}{published}"))
            .await;
        node.exec("DELETE FROM tidelock.schema_version WHERE version > 1")
            .await;
        assert_eq!(codes(&node.check().await), ["E401"]);
        let done = node.setup().await;
        assert!(
            !done.is_empty() && done.iter().all(|sql| !sql.contains("INTO tidelock.node ")),
            "{done:?}"
        );
        assert_eq!(node.setup_sql().await, [] as [&str; 0]);
        assert_eq!(codes(&node.check().await), [] as [&str; 0]);
        assert_eq!(
            node.db
                .one("SELECT MAX(version) FROM tidelock.schema_version")
                .await,
            newest
        );
        node.teardown().await;
        assert_eq!(node.teardown().await, [] as [&str; 0]);
    }
}

async fn transactional_setup_leaves_the_table_alone(kind: Kind) {
    let mut node = Node::new(kind, "oneway", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    node.scope.mode = Mode::Transactional;
    node.scope.is_target = false;
    let done = node.setup().await.join("\n");
    let altered = done.matches("ALTER TABLE").count() - done.matches("ALTER TABLE tidelock.").count();
    assert!(!done.contains("TRIGGER") && altered == 0, "{done}");
    assert_eq!(node.setup_sql().await, [] as [&str; 0]);
    assert_eq!(codes(&node.check().await), [] as [&str; 0]);
}

async fn another_rank_or_server_is_refused(kind: Kind) {
    let mut node = Node::new(kind, "ranks", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    node.setup().await;
    node.scope.rank = 5;
    let error = node.try_setup().await.unwrap_err();
    assert!(error.to_string().contains("rank"), "{error}");
    assert_eq!(codes(&node.check().await), ["E409"]);
    node.scope.rank = 3;
    let sql = format!(
        "UPDATE tidelock.node SET identity = 'x' WHERE sync = '{}' AND is_self",
        node.scope.sync
    );
    node.exec(&sql).await;
    let error = node.try_setup().await.unwrap_err();
    assert!(
        error.to_string().contains("not the one that was set up"),
        "{error}"
    );
}

async fn a_table_that_joins_a_started_sync_is_to_be_copied(kind: Kind) {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE late (id int PRIMARY KEY)";
    let mut node = Node::new(kind, "late", ddl, &["t"]).await;
    node.setup().await;
    let sync = node.scope.sync.clone();
    let checkpoint = format!(
        "INSERT INTO tidelock.checkpoint (sync, link, lane, epoch, seq, position, origin, hop, segment, \
         segment_number, config_hash, source_identity) \
         VALUES ('{sync}', 'there->here', 0, 1, 0, 'lsn:0/1', 4, 1, 0, 0, 'hash', 'x')"
    );
    node.exec(&checkpoint).await;
    let late = TableId::new(node.scope.tables[0].schema.clone(), "late");
    node.scope.tables.push(late);
    node.setup().await;
    let asked =
        format!("SELECT link, table_name, state, operator FROM tidelock.resync WHERE sync = '{sync}'");
    let asked = node.db.rows(&asked).await;
    let wanted = ["there->here", "late", "asked", "setup"].map(|cell| Some(cell.to_owned()));
    assert_eq!(asked, [wanted.to_vec()]);
    // Once: a copy that is over is not asked for again.
    node.exec(&format!("DELETE FROM tidelock.resync WHERE sync = '{sync}'"))
        .await;
    node.setup().await;
    node.teardown().await;
}

async fn another_key_is_refused(kind: Kind) {
    let ddl = "CREATE TABLE t (id int NOT NULL, other int NOT NULL, CONSTRAINT the_key PRIMARY KEY (id))";
    let mut node = Node::new(kind, "rekeyed", ddl, &["t"]).await;
    node.setup().await;
    let alter = match node.is_postgres() {
        true => "ALTER TABLE t DROP CONSTRAINT the_key, ADD PRIMARY KEY (other)",
        false => "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (other)",
    };
    node.exec(alter).await;
    let error = node.try_setup().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("was (id) when it was set up and is (other) now"),
        "{error}"
    );
    assert_eq!(codes(&node.check().await), ["E409"]);
    node.teardown().await;
    node.setup().await;
    assert_eq!(node.setup_sql().await, [] as [&str; 0]);
}

async fn changed_tables_are_set_up_again(kind: Kind) {
    let ddl = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE gone (id int PRIMARY KEY)";
    let mut node = Node::new(kind, "altered", ddl, &["t", "gone"]).await;
    node.setup().await;
    let alter = match node.is_postgres() {
        true => "ALTER TABLE t ALTER COLUMN id TYPE bigint",
        false => "ALTER TABLE t MODIFY id bigint",
    };
    node.exec(alter).await;
    node.exec("ALTER TABLE t ADD COLUMN extra varchar(10)").await;
    node.scope.tables.pop();
    assert_eq!(codes(&node.check().await)[0], "E403");
    node.setup().await;
    assert_eq!(node.setup_sql().await, [] as [&str; 0]);
    node.exec("INSERT INTO t (id) VALUES (5000000000); UPDATE t SET extra = 'x'; DELETE FROM t")
        .await;
    node.exec("INSERT INTO gone (id) VALUES (1); DELETE FROM gone")
        .await;
}

async fn syncs_are_set_up_at_the_same_time(kind: Kind) {
    let ddl = "CREATE TABLE t0 (id int PRIMARY KEY); CREATE TABLE t1 (id int PRIMARY KEY); CREATE TABLE t2 (id int PRIMARY KEY)";
    let node = Node::new(kind, "together", ddl, &["t0"]).await;
    let mut running = Vec::new();
    for number in 0..3 {
        let mut scope = node.scope.clone();
        scope.sync = format!("{}_{number}", scope.sync);
        scope.tables[0].name = format!("t{number}");
        let mut engine = Engine::open(&node.db, node.db.owner()).await;
        running.push(tokio::spawn(async move {
            match &mut engine {
                Engine::Postgres(client) => {
                    tidelock::postgres::setup::setup(client, &scope, &[])
                        .await
                        .unwrap();
                    tidelock::postgres::setup::teardown(client, &scope).await.unwrap();
                }
                Engine::Mysql(conn) => {
                    tidelock::mysql::setup::setup(conn, &scope, &[]).await.unwrap();
                    tidelock::mysql::setup::teardown(conn, &scope).await.unwrap();
                }
            }
        }));
    }
    for task in running {
        task.await.unwrap();
    }
}

async fn the_run_account_gets_what_it_needs(kind: Kind) {
    let mut node = Node::new(kind, "account", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    let user = std::mem::replace(&mut node.scope.run_user, "no_such_account".to_owned());
    let error = node.try_setup().await.unwrap_err();
    assert!(error.hint_text().unwrap().starts_with("CREATE "), "{error}");
    node.scope.run_user = user;
    let done = node.setup().await.join("\n");
    assert!(done.contains("GRANT "), "{done}");
    assert_eq!(node.setup_sql().await, [] as [&str; 0]);
    assert_eq!(codes(&node.check().await), [] as [&str; 0]);
    assert_eq!(codes(&node.settings().await), [] as [&str; 0]);
    node.teardown().await;
}

on_every_server!(
    the_second_setup_has_nothing_to_do,
    teardown_leaves_usable_tables_and_nothing_else,
    who_may_not_look_is_told_so,
    transactional_setup_leaves_the_table_alone,
    another_rank_or_server_is_refused,
    a_table_that_joins_a_started_sync_is_to_be_copied,
    another_key_is_refused,
    changed_tables_are_set_up_again,
    syncs_are_set_up_at_the_same_time,
    the_run_account_gets_what_it_needs,
);

/// What stands in the way of a target is told by its own cause: a right that is missing is not a missing setup.
#[tokio::test]
async fn a_target_that_may_not_be_read_is_no_target_without_setup() {
    for kind in [Kind::Mysql, Kind::Mariadb] {
        let node = Node::new(kind, "closed", "CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
        let opened = Target::open(&access("here", &node.db.run_url()), false).await;
        let Err(error) = opened else {
            panic!("{kind:?}: it opened")
        };
        let hint = error.hint_text().unwrap_or_default();
        assert!(hint.contains("tidelock check"), "{kind:?}: {error}: {hint}");
    }
}
