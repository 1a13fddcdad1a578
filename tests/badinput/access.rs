//! Wrong host, port, database, user and password, on either node: code 6, and it runs with the right URL.

use crate::harness::Db;
use crate::on_both_pairs;
use crate::stage::{Pair, Stage, Way};

on_both_pairs!(wrong_urls, wrong_schema_of_urls);

/// The wrong part in place of the right one, and what must be said of it.
fn mistakes(db: &Db) -> Vec<(String, Vec<&'static str>)> {
    let (url, user) = (db.run_url(), db.run_account());
    let port = url
        .rsplit(':')
        .next()
        .unwrap()
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let closed = url.replace(&format!(":{port}/"), ":1/");
    let unknown = url.replace("127.0.0.1", "no-such-host.invalid");
    // A name that leaves the machine is asked for TLS; this is about the name.
    let unknown = format!("{unknown}?sslmode=disable");
    let postgres = db.kind().is_postgres();
    // MySQL and MariaDB say so to none who has no right on it.
    let database = if postgres { url.clone() } else { db.url() };
    let database = database.replace(db.name(), "no_such_database");
    let login = if postgres {
        "password authentication failed"
    } else {
        "Access denied"
    };
    let missing = if postgres {
        "database \"no_such_database\" does not exist"
    } else {
        "Unknown database 'no_such_database'"
    };
    vec![
        (closed, vec!["127.0.0.1:1,", "refused", "port"]),
        (unknown, vec!["no-such-host.invalid", "host"]),
        (database, vec![missing, "database"]),
        (db.url_as(user, "wrong-word"), vec![login, "password"]),
        // MySQL does not say so, lest somebody tries names.
        (
            db.url_as("nobody", "tidelock"),
            vec!["\"nobody\"", "user", "password"],
        ),
    ]
}

async fn wrong_urls(pair: Pair) {
    let mut stage = Stage::new("url", pair, Way::Merge).await;
    stage.more = "[limits]\nonce_wait_s = 1\n".to_owned();
    stage.lock.ok(&["setup", "--execute"]).await;
    let (right_a, right_b) = (stage.node_a.clone(), stage.node_b.clone());
    for node in ["a", "b"] {
        let db = if node == "a" { &stage.a } else { &stage.b };
        for (url, words) in mistakes(db) {
            let line = format!("url = \"{url}\"");
            match node {
                "a" => stage.node_a = line,
                _ => stage.node_b = line,
            }
            stage.configure();
            let prefix = format!("{node}: could not connect");
            let mut words = words.clone();
            words.push(&prefix);
            let said = stage.refused_run(6, &words).await;
            assert!(
                !format!("{said:?}").contains("wrong-word"),
                "a password: {said:?}"
            );
            let fix = stage.finding(node, "E001", &words[..1]).await;
            assert_eq!(fix, said.hint, "check says the same");
            (stage.node_a, stage.node_b) = (right_a.clone(), right_b.clone());
        }
        for command in [["setup"], ["status"]] {
            let output = stage.lock.run(&command).await;
            assert_eq!(output.code, 6, "{command:?}: {}{}", output.stdout, output.stderr);
        }
    }
    stage.configure();
    stage.runs().await;
}

/// What the file itself shows to be wrong is told with line and caret, before anything is connected to.
async fn wrong_schema_of_urls(pair: Pair) {
    let mut stage = Stage::new("form", pair, Way::Merge).await;
    let right = stage.config();
    let (url, password) = (stage.a.run_url(), format!(":{}@", stage.a.run_account()));
    for (wrong, words) in [
        (
            right.replace("[node.a]\nurl", "[node.a]\nurI"),
            ["3 |", "^", "did you mean \"url\"?"],
        ),
        (
            right.replace("seed = ", "sead = "),
            ["sead = ", "^", "did you mean \"seed\"?"],
        ),
        (
            right.replace("postgres://", "oracle://"),
            ["3 |", "^", "known are postgres"],
        ),
        (
            right.replace(&url, &format!("{url}?sslmod=require")),
            ["3 |", "^", "did you mean \"sslmode\"?"],
        ),
        (
            right.replace(&password, ":tide@lock@"),
            ["3 |", "^", "percent-encoded"],
        ),
        (
            right.replace("from:a", "from:c"),
            ["seed = \"from:c\"", "^", "\"c\""],
        ),
        (
            right.replace("\"merge\"", "\"both\""),
            ["mode = \"both\"", "^", "transactional"],
        ),
        (format!("{right}\n[[sync]\n"), ["[[sync]", "^", "tidelock.toml"]),
    ] {
        assert_ne!(wrong, right);
        stage.lock.configure(&wrong);
        for command in [
            &["run", "--once"][..],
            &["check"],
            &["setup"],
            &["config", "check"],
        ] {
            let output = stage.lock.run(command).await;
            assert_eq!(output.code, 78, "{command:?}: {}", output.stderr);
            for word in words {
                assert!(
                    output.stderr.contains(word),
                    "{word:?} is not in:\n{}",
                    output.stderr
                );
            }
            assert!(
                !output.stderr.contains("tide@lock"),
                "a password: {}",
                output.stderr
            );
        }
    }
    stage.configure();
    stage.begin().await;
}
