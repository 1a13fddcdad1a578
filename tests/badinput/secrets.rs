//! Passwords by file, variable and command: each can be wrong in its own way, and each works.

use std::fs;

use crate::harness::Db;
use crate::on_both_pairs;
use crate::stage::{Pair, Stage, Way};

on_both_pairs!(secrets, accounts_of_mysql);

/// The URL without its password.
fn open_url(db: &Db) -> String {
    let user = db.run_account();
    db.run_url()
        .replacen(&format!("{user}:{user}@"), &format!("{user}@"), 1)
}

async fn secrets(pair: Pair) {
    let mut stage = Stage::new("secret", pair, Way::Merge).await;
    stage.lock.ok(&["setup", "--execute"]).await;
    // One word for both.
    for db in [&stage.a, &stage.b] {
        let user = db.run_account();
        db.as_dba(&match db.kind().is_postgres() {
            true => format!("ALTER ROLE {user} PASSWORD 'tidelock'"),
            false => format!("ALTER USER {user} IDENTIFIED BY 'tidelock'"),
        })
        .await;
    }
    let line = |db: &Db| format!("url = \"{}\"", db.url_as(db.run_account(), "tidelock"));
    (stage.node_a, stage.node_b) = (line(&stage.a), line(&stage.b));
    let file = stage.lock.folder().join("word");
    fs::write(&file, "tidelock\nnot this\n").unwrap();
    stage.lock.env("TIDELOCK_TEST_GOOD", "tidelock");
    stage.lock.env("TIDELOCK_TEST_BAD", "wrong-word");
    let nodes = [("a", open_url(&stage.a)), ("b", open_url(&stage.b))];
    for (node, url) in &nodes {
        let right = (stage.node_a.clone(), stage.node_b.clone());
        let prefix = format!("{node}: could not");
        for (secret, code, words) in [
            (
                "password_file = \"nowhere\"",
                78,
                ["nowhere", "No such file", "password_file"],
            ),
            (
                "password_env = \"TIDELOCK_TEST_NONE\"",
                78,
                ["TIDELOCK_TEST_NONE", "not set", "export"],
            ),
            (
                "password_command = \"echo wrong-word; exit 3\"",
                78,
                ["password_command", "exit status: 3", "by hand"],
            ),
            (
                "password_command = \"no-such-program-here\"",
                78,
                ["password_command", "exit status: 127", "by hand"],
            ),
            (
                "password_command = \"true\"",
                78,
                ["password_command", "printed nothing", "one line"],
            ),
            (
                "password_env = \"TIDELOCK_TEST_BAD\"",
                6,
                ["connect", "password", "user"],
            ),
            ("", 6, ["connect", "password", "password_file"]),
        ] {
            let lines = format!("url = \"{url}\"\n{secret}");
            match *node {
                "a" => stage.node_a = lines,
                _ => stage.node_b = lines,
            }
            stage.configure();
            let said = stage
                .refused_run(code, &[&[prefix.as_str()], &words[..]].concat())
                .await;
            assert!(
                !format!("{said:?}").contains("wrong-word"),
                "a password: {said:?}"
            );
        }
        let check = stage.lock.run(&["check"]).await;
        assert_eq!(check.code, 6, "check: {}{}", check.stdout, check.stderr);
        (stage.node_a, stage.node_b) = right;
    }
    for secret in [
        "password_file = \"word\"",
        "password_env = \"TIDELOCK_TEST_GOOD\"",
        "password_command = \"printf 'tide'; printf 'lock\\\\n'\"",
    ] {
        stage.node_a = format!("url = \"{}\"\n{secret}", nodes[0].1);
        stage.node_b = format!("url = \"{}\"\n{secret}", nodes[1].1);
        stage.configure();
        stage.runs().await;
    }
}

/// The servers' usual ways to log in, without TLS (`tls` has them with it).
async fn accounts_of_mysql(pair: Pair) {
    let mut stage = Stage::new("plugin", pair, Way::Merge).await;
    let user = stage.b.run_account().to_owned();
    let plugin = if stage.mariadb() {
        format!("ALTER USER {user} IDENTIFIED VIA mysql_native_password USING PASSWORD('se cret')")
    } else {
        // Not in the server's cache: the first login sends the password under the server's RSA key.
        format!("ALTER USER {user} IDENTIFIED WITH caching_sha2_password BY 'se cret'")
    };
    stage.b.as_dba(&plugin).await;
    stage.node_b = format!(
        "url = \"{}\"\nsetup_url = \"{}\"",
        stage.b.url_as(&user, "se%20cret"),
        stage.b.owner_url()
    );
    stage.configure();
    stage.begin().await;
    let sql = format!(
        "SELECT rolpassword FROM pg_authid WHERE rolname = '{}'",
        stage.a.run_account()
    );
    let word = stage.a.admin().await.one(&sql).await;
    assert!(word.starts_with("SCRAM-SHA-256$"));
    stage.b.as_dba(&format!("DROP USER {user}")).await;
    stage
        .refused_run(6, &["b: could not connect", "check", "user", &user])
        .await;
}
