//! The commands a newcomer types, in order, on real servers of both engines.
#![allow(clippy::unwrap_used)]

mod harness;

use harness::{Db, Kind, Options, database, private};
use harness::{Tidelock, eventually};
use std::process::Command;
use std::time::Duration;

/// A server of its own, with the two accounts.
async fn node(kind: Kind) -> Db {
    private(kind, &Options::default()).await.with_accounts().await
}

struct Shop {
    folder: tempfile::TempDir,
}

struct Answer {
    code: i32,
    out: String,
    err: String,
}

impl Shop {
    fn text(a: &Db, b: &Db) -> String {
        let schema = |db: &Db| {
            if db.kind().is_postgres() {
                "schema = \"public\"\n"
            } else {
                ""
            }
        };
        format!(
            "version = 1\n[node.a]\n{}\n{}[node.b]\n{}\n{}[[sync]]\nname = \"shop\"\n\
             nodes = [\"a\", \"b\"]\nmode = \"merge\"\ntables = [\"customer\"]\nseed = \"from:a\"\n",
            a.node(),
            schema(a),
            b.node(),
            schema(b)
        )
    }

    fn new(a: &Db, b: &Db) -> Self {
        let text = Self::text(a, b);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tidelock.toml"), text).unwrap();
        Shop { folder }
    }

    fn run(&self, arguments: &str) -> Answer {
        let output = Command::new(env!("CARGO_BIN_EXE_tidelock"))
            .args(arguments.split(' '))
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let answer = Answer {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        eprintln!(
            "$ tidelock {arguments} -> {}\n{}{}",
            answer.code, answer.out, answer.err
        );
        answer
    }

    fn json(&self, arguments: &str) -> serde_json::Value {
        serde_json::from_str(&self.run(&format!("{arguments} --json")).out).unwrap()
    }
}

async fn newcomer(first: Kind, second: Kind) {
    let a = node(first).await;
    let b = node(second).await;
    let shop = Shop::new(&a, &b);
    a.exec("CREATE TABLE customer (id int NOT NULL PRIMARY KEY, name varchar(40))")
        .await;

    if !first.is_postgres() {
        // MySQL and MariaDB show nobody a table that he has no right on, which is told; setup sees to it.
        let hidden = shop.run("check");
        assert_eq!(hidden.code, 3);
        for words in ["E302", "E105", "may not see it before `tidelock setup"] {
            assert!(hidden.out.contains(words), "{words}: {}", hidden.out);
        }
        assert_eq!(shop.run("setup --execute --node a").code, 0);
    }
    let missing = shop.run("check");
    assert_eq!(missing.code, 3);
    assert!(missing.out.contains("E302"), "{}", missing.out);
    // The mend that `check` prints is one that works.
    let told = shop.json("check");
    let findings = told["tables"][0]["findings"].as_array().unwrap();
    let missing = findings.iter().find(|finding| finding["code"] == "E302").unwrap();
    b.exec(missing["fix"].as_str().unwrap()).await;

    assert_eq!(shop.json("status")["links"][0]["state"], "not set up");
    let plan = shop.run("setup");
    assert_eq!(plan.code, 0);
    assert!(plan.err.contains("nothing was changed"), "{}", plan.err);
    assert_eq!(shop.json("status")["links"][0]["state"], "not set up");
    let sql = shop.run("setup --print-sql --node b");
    assert!(
        sql.out.contains("tidelock_version") && sql.err.is_empty(),
        "{}",
        sql.err
    );

    assert_eq!(shop.run("setup --execute").code, 0);
    let again = shop.json("setup");
    for node in again["nodes"].as_array().unwrap() {
        // An owner on MySQL or MariaDB cannot see what the run account holds already.
        let is_left = |sql: &&serde_json::Value| !sql.as_str().unwrap().starts_with("GRANT ");
        let left = node["statements"].as_array().unwrap().iter().filter(is_left);
        assert_eq!(left.count(), 0, "{node}");
    }
    let passed = shop.run("check");
    assert_eq!(passed.code, 0);
    let checked = shop.json("check");
    assert_eq!(checked["summary"]["unreachable"], 0);
    let differences = checked["tables"][0]["findings"].as_array().unwrap();
    assert!(
        differences.iter().all(|finding| finding["level"] == "ok"),
        "{differences:?}"
    );
    assert_eq!(shop.json("status")["links"][1]["state"], "not seeded");
    assert_eq!(
        shop.json("conflicts list")["conflicts"].as_array().unwrap().len(),
        0
    );
    assert_eq!(shop.run("conflicts show b:1").code, 1);

    assert_eq!(shop.run("teardown --execute").code, 0);
    assert_eq!(shop.json("status")["links"][0]["state"], "not set up");
    assert_eq!(a.one("SELECT count(*) FROM customer").await, "0");
}

#[tokio::test]
async fn a_newcomer_sets_up_postgres_and_mysql() {
    newcomer(Kind::Postgres18, Kind::Mysql).await;
}

#[tokio::test]
async fn a_newcomer_sets_up_mariadb_and_postgres() {
    newcomer(Kind::Mariadb, Kind::Postgres15).await;
}

#[tokio::test]
async fn run_drains_on_sigterm_and_status_says_who_runs() {
    let a = node(Kind::Postgres18).await;
    let b = node(Kind::Mysql).await;
    for db in [&a, &b] {
        db.exec("CREATE TABLE customer (id int NOT NULL PRIMARY KEY, name varchar(40))")
            .await;
    }
    let mut tidelock = Tidelock::new(&Shop::text(&a, &b));
    tidelock.ok(&["setup", "--execute"]).await;
    tidelock.spawn();
    a.exec("INSERT INTO customer VALUES (1, 'Ann')").await;
    eventually(Duration::from_secs(20), "the row to cross", async || {
        b.count("customer").await == 1
    })
    .await;
    // The row may have come with the first copy, before the stream.
    eventually(Duration::from_secs(20), "the link to stream", async || {
        tidelock.ok(&["status"]).await.contains("a->b  streaming")
    })
    .await;
    let (code, seconds) = tidelock.term().await;
    assert!(
        code == 0 && seconds < 10.0,
        "{code} after {seconds} s: {}",
        tidelock.log()
    );
    let status = tidelock.ok(&["status"]).await;
    assert!(
        status.contains("a->b  stopped") && status.contains("nobody runs it: the lease of"),
        "{status}"
    );
}

#[tokio::test]
async fn a_server_that_is_down_is_6_and_the_other_one_is_still_looked_at() {
    let a = node(Kind::Postgres18).await;
    let mut b = node(Kind::Mysql).await;
    b.server().stop().await.unwrap();
    let shop = Shop::new(&a, &b);
    let answer = shop.run("check");
    assert_eq!(answer.code, 6);
    assert!(
        answer.out.contains("E001") && answer.out.contains("PostgreSQL 18"),
        "{}",
        answer.out
    );
    assert_eq!(shop.run("status").code, 6);
    assert_eq!(shop.run("plan --exit-code").code, 6);
    assert_eq!(shop.run("setup --execute").code, 6);
    assert_eq!(
        a.one("SELECT count(*) FROM pg_namespace WHERE nspname = 'tidelock'")
            .await,
        "0"
    );
}

/// `again` is `a` under another address, which the servers alone can tell.
#[tokio::test]
async fn a_ring_over_two_addresses_of_one_server_is_refused() {
    let a = database(Kind::Postgres18, "ring").await.with_accounts().await;
    let b = database(Kind::Mysql, "ring").await.with_accounts().await;
    for (db, table) in [(&a, "item"), (&b, "item"), (&a, "other"), (&b, "other")] {
        db.exec(&format!("CREATE TABLE {table} (id int NOT NULL PRIMARY KEY)"))
            .await;
    }
    let nodes = format!(
        "version = 1\n[node.a]\n{}\n[node.b]\n{}\n[node.again]\n{}\n",
        a.node(),
        b.node(),
        a.node().replace("127.0.0.1", "localhost")
    );
    let (there, back) = (a.name().to_owned(), format!("{}-back", a.name()));
    let sync = |name: &str, from: &str, to: &str, tables: &str| {
        format!(
            "[[sync]]\nname = \"{name}\"\nnodes = [\"{from}\", \"{to}\"]\nmode = \"transactional\"\n\
             from = \"{from}\"\ntables = [{tables}]\nseed = \"none\"\n"
        )
    };
    let first = sync(&there, "a", "b", "\"item\"");
    let second = |tables: &str| sync(&back, "b", "again", tables);
    let lock = Tidelock::new(&format!("{nodes}{first}{}", second("\"*\", \"!item\"")));
    // Apart from each other they are two syncs like any.
    lock.ok(&["setup", "--execute"]).await;
    lock.ok(&["check"]).await;
    lock.ok(&["run", "--once"]).await;
    lock.ok(&["teardown", "--execute"]).await;
    // Each alone may be set up, and then they do not run together.
    lock.configure(&format!("{nodes}{first}"));
    lock.ok(&["setup", "--execute"]).await;
    lock.configure(&format!("{nodes}{}", second("\"*\"")));
    lock.ok(&["setup", "--execute"]).await;
    lock.configure(&format!("{nodes}{first}{}", second("\"*\"")));
    lock.ok(&["config", "check"]).await;
    for arguments in [
        &["check"][..],
        &["check", "--sync", &there],
        &["check", "--sync", &back],
    ] {
        let found = lock.run(arguments).await;
        assert_eq!(found.code, 3, "{arguments:?} {}{}", found.stdout, found.stderr);
        for words in ["E462", "item", "a ring", "nodes a and again are one database"] {
            assert!(found.stdout.contains(words), "{words}: {}", found.stdout);
        }
    }
    for arguments in [
        &["setup"][..],
        &["setup", "--sync", &back],
        &["run", "--once"],
        &["run"],
    ] {
        let found = lock.run(arguments).await;
        assert_eq!(found.code, 3, "{arguments:?} {}{}", found.stdout, found.stderr);
        for words in ["E462", "item", "hint: take it out"] {
            assert!(found.stderr.contains(words), "{words}: {}", found.stderr);
        }
    }
}
