//! Who may do what: the program's accounts are no superusers, people may write with any account that may write, and
//! one server of MySQL is one node.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::{Db, Kind, Session, Tidelock, database};
use scenario::{ITEM, Pair, SEAT, Scene, Side, Way};

all_pairs! {
    nobody_is_a_superuser => nobody_is_a_superuser;
    people_may_use_the_run_account => people_may_use_the_run_account;
    people_need_no_more_than_the_tables => people_need_no_more_than_the_tables;
}

async fn nobody_is_a_superuser(pair: Pair) {
    let mut scene = Scene::new("nobody", pair, Way::Merge, &[ITEM]).await;
    scene.start().await;
    for side in [Side::A, Side::B] {
        let db = scene.db(side);
        for mut session in [db.session().await, db.run_session().await] {
            if db.kind().is_postgres() {
                let sql = "SELECT rolsuper OR rolcreaterole OR rolbypassrls FROM pg_roles WHERE rolname = current_user";
                assert_eq!(session.one(sql).await, "f", "{side:?}");
                continue;
            }
            let grants: Vec<String> = session
                .rows("SHOW GRANTS")
                .await
                .into_iter()
                .flatten()
                .flatten()
                .collect();
            let of_the_server: Vec<&String> =
                grants.iter().filter(|line| line.contains(" ON *.* ")).collect();
            // Lists prepared transactions, which the first position of a server without GTIDs needs: reading only.
            let harmless = "XA_RECOVER_ADMIN";
            let strong = ["SUPER", "ALL PRIVILEGES", "_ADMIN", "CREATE USER", "INSERT"];
            let found = of_the_server.iter().any(|line| {
                let line = line.replace(harmless, "");
                strong.iter().any(|word| line.contains(word))
            });
            assert!(!found, "{side:?}: {of_the_server:?}");
        }
    }
}

/// It is the marker that tells Tidelock's writes, not the account.
async fn people_may_use_the_run_account(pair: Pair) {
    let mut scene = Scene::new("person", pair, Way::Merge, &[ITEM]).await;
    scene.start().await;
    for (side, id, rank) in [(Side::A, 1, "1"), (Side::B, 2, "2")] {
        let mut person = scene.db(side).run_session().await;
        write(&mut person, id).await;
        scene.wait_equal().await;
        let stamp = format!("SELECT tidelock_version, tidelock_origin FROM item WHERE id = {id}");
        for there in [Side::A, Side::B] {
            let rows = scene.db(there).rows(&stamp).await;
            assert_eq!(
                rows,
                [[Some("2".to_owned()), Some(rank.to_owned())]],
                "{side:?} on {there:?}"
            );
        }
    }
    scene.assert_no_conflicts().await;
}

/// The triggers do what they must in the name of the owner.
async fn people_need_no_more_than_the_tables(pair: Pair) {
    let mut scene = Scene::new("people", pair, Way::Merge, &[ITEM, SEAT]).await;
    scene.start().await;
    for (side, id) in [(Side::A, 1), (Side::B, 2)] {
        let db = scene.db(side);
        let app = format!("app_{}", db.run_account());
        let (create, grant) = match db.kind().is_postgres() {
            true => (
                format!("CREATE ROLE {app} LOGIN PASSWORD 'app'"),
                format!("GRANT SELECT, INSERT, UPDATE, DELETE ON item, seat TO {app}"),
            ),
            false => (
                format!("CREATE USER {app} IDENTIFIED BY 'app'"),
                format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {}.* TO {app}", db.name()),
            ),
        };
        let mut admin = db.admin().await;
        admin.exec(&create).await;
        admin.exec(&grant).await;
        let mut person = Session::open(db.kind(), &db.url_as(&app, "app")).await;
        write(&mut person, id).await;
        person
            .exec(&format!("UPDATE item SET id = {id} + 10 WHERE id = {id}"))
            .await;
        person
            .exec(&format!("DELETE FROM item WHERE id = {id} + 10"))
            .await;
        write(&mut person, id).await;
        drop(person);
        scene.wait_equal().await;
        let db = scene.db(side);
        db.admin()
            .await
            .exec(&match db.kind().is_postgres() {
                true => format!("DROP OWNED BY {app}; DROP ROLE {app}"),
                false => format!("DROP USER {app}"),
            })
            .await;
    }
    scene.assert_no_conflicts().await;
}

async fn write(person: &mut Session, id: i64) {
    person
        .exec(&format!("INSERT INTO item VALUES ({id}, 'person', 1, 'x')"))
        .await;
    person
        .exec(&format!("UPDATE item SET n = 2 WHERE id = {id}"))
        .await;
}

/// Two databases of one server share its log and our database, so they cannot be kept apart.
async fn one_server_is_one_node(kind: Kind) {
    let (a, b) = (database(kind, "one").await, database(kind, "one").await);
    for db in [&a, &b] {
        db.exec("CREATE TABLE item (id int PRIMARY KEY)").await;
    }
    let lock = Tidelock::new(&config(&a, &a.url(), &b.url()));
    let output = lock.run(&["check"]).await;
    assert_eq!(output.code, 78, "{}", output.stderr);
    assert!(output.stderr.contains("are one server"), "{}", output.stderr);
    // By another name of the same host only the server itself can tell; MariaDB has a name once it was set up.
    lock.configure(&config(&a, &a.url(), &b.url().replace("127.0.0.1", "localhost")));
    let output = lock.run(&["setup", "--execute", "--node", "a"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    let output = lock.run(&["check"]).await;
    assert_eq!(output.code, 3, "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("E002"), "{}", output.stdout);
    let output = lock.run(&["setup", "--execute", "--node", "b"]).await;
    assert!(output.stderr.contains("was set up as node"), "{}", output.stderr);
    lock.ok(&["teardown", "--execute", "--node", "a"]).await;
}

fn config(a: &Db, url_a: &str, url_b: &str) -> String {
    format!(
        "version = 1\n[node.a]\nurl = \"{url_a}\"\n[node.b]\nurl = \"{url_b}\"\n[[sync]]\nname = \"{}\"\n\
         nodes = [\"a\", \"b\"]\nmode = \"merge\"\ntables = [\"item\"]\nseed = \"from:a\"\n",
        a.name()
    )
}

#[tokio::test]
async fn one_mysql_server_is_one_node() {
    one_server_is_one_node(Kind::Mysql).await;
}

#[tokio::test]
async fn one_mariadb_server_is_one_node() {
    one_server_is_one_node(Kind::Mariadb).await;
}
