//! TLS that is demanded and not there, that is there and not to be trusted, and that works.

use crate::harness::{Db, Kind, Options, private};
use crate::on_both_pairs;
use crate::stage::{Pair, Stage, Way};

on_both_pairs!(demanded_of_servers_without, trusted_or_not);

async fn demanded_of_servers_without(pair: Pair) {
    // MySQL makes itself a certificate at its first start; MariaDB has none.
    let options = Options {
        extra: if pair.1 == Kind::Mysql {
            vec!["--tls-version=".to_owned()]
        } else {
            vec!["--skip-ssl".to_owned()]
        },
        ..Options::default()
    };
    let mut stage = Stage::own_b("notls", pair, Way::Merge, &options).await;
    stage.lock.ok(&["setup", "--execute"]).await;
    let right = (stage.node_a.clone(), stage.node_b.clone());
    let mut hints = vec![];
    for node in ["a", "b"] {
        let url = if node == "a" {
            stage.a.run_url()
        } else {
            stage.b.run_url()
        };
        for mode in ["require", "verify-full"] {
            let line = format!("url = \"{url}?sslmode={mode}\"");
            match node {
                "a" => stage.node_a = line,
                _ => stage.node_b = line,
            }
            stage.configure();
            let prefix = format!("{node}: could not connect");
            let said = stage
                .refused_run(6, &[&prefix, "TLS", "127.0.0.1", "sslmode=disable"])
                .await;
            stage.finding(node, "E001", &["TLS"]).await;
            hints.push(said.hint);
        }
        (stage.node_a, stage.node_b) = right.clone();
    }
    // What the hint offers.
    let mend = |db: &Db| format!("url = \"{}?sslmode=disable\"", db.run_url());
    (stage.node_a, stage.node_b) = (mend(&stage.a), mend(&stage.b));
    stage.configure();
    stage.runs().await;
}

fn with_tls(extra: &str) -> Options {
    Options {
        tls: true,
        // Reached as 127.0.0.2 too, a name that the certificate does not carry.
        extra: vec![extra.to_owned()],
        ..Options::default()
    }
}

async fn trusted_or_not(pair: Pair) {
    let (open_a, open_b) = (
        with_tls("listen_addresses=127.0.0.1,127.0.0.2"),
        with_tls("--bind-address=0.0.0.0"),
    );
    let (a, b) = tokio::join!(private(pair.0, &open_a), private(pair.1, &open_b));
    let (a, b) = tokio::join!(a.with_accounts(), b.with_accounts());
    let mut stage = Stage::on(a, b, Way::Merge).await;
    let (ca_a, ca_b) = (
        stage.a.server().ca_file().unwrap(),
        stage.b.server().ca_file().unwrap(),
    );
    let (ca_a, ca_b) = (ca_a.display().to_string(), ca_b.display().to_string());
    // Only TLS from here on: what connects without is refused by the server itself.
    stage.lock.ok(&["setup", "--execute"]).await;
    only_over_tls(&stage).await;
    let url_b = stage.b.url_as(stage.b.run_account(), "se%20cret");
    let full = |url: &str, ca: &str| format!("url = \"{url}?sslmode=verify-full&sslrootcert={ca}\"");
    let right = (full(&stage.a.run_url(), &ca_a), full(&url_b, &ca_b));
    let folder = stage.lock.folder().display().to_string();
    std::fs::write(stage.lock.folder().join("empty.pem"), "").unwrap();
    let elsewhere = |url: &str| url.replace("127.0.0.1", "127.0.0.2");
    for (node, url, own, other) in [
        ("a", stage.a.run_url(), &ca_a, &ca_b),
        ("b", url_b.clone(), &ca_b, &ca_a),
    ] {
        let prefix = format!("{node}: could not");
        for (line, code, words) in [
            (full(&url, other), 6, ["connect", "certificate", "sslrootcert"]),
            (full(&elsewhere(&url), own), 6, ["connect", "127.0.0.2", "name"]),
            (
                full(&url, &format!("{folder}/nowhere.pem")),
                78,
                ["nowhere.pem", "CA", "sslrootcert"],
            ),
            (
                full(&url, &format!("{folder}/empty.pem")),
                78,
                ["empty.pem", "no certificate", "sslrootcert"],
            ),
        ] {
            (stage.node_a, stage.node_b) = right.clone();
            match node {
                "a" => stage.node_a = line,
                _ => stage.node_b = line,
            }
            stage.configure();
            stage
                .refused_run(code, &[&[prefix.as_str()], &words[..]].concat())
                .await;
        }
    }
    // The server demands it and we do not offer it.
    stage.node_a = right.0.clone();
    stage.node_b = format!("url = \"{url_b}?sslmode=disable\"");
    stage.configure();
    stage
        .refused_run(6, &["b: could not connect", "Access denied"])
        .await;

    for (mode_a, mode_b) in [
        ("verify-full", "verify-full"),
        ("require", "require"),
        ("verify-ca", "verify-ca"),
    ] {
        let line = |url: &str, ca: &str, mode: &str| match mode {
            "require" => format!("url = \"{url}?sslmode=require\""),
            _ => format!("url = \"{url}?sslmode={mode}&sslrootcert={ca}\""),
        };
        stage.node_a = line(&stage.a.run_url(), &ca_a, mode_a);
        stage.node_b = line(&url_b, &ca_b, mode_b);
        stage.configure();
        stage.runs().await;
    }
    (stage.node_a, stage.node_b) = right;
    stage.configure();
    stage.start().await;
    encrypted(&stage.a).await;
    let (code, _) = stage.lock.term().await;
    assert_eq!(code, 0);
}

/// The run account may log in over TLS only from now on; on PostgreSQL the file of rules says so.
async fn only_over_tls(stage: &Stage) {
    let plugin = if stage.mariadb() {
        "IDENTIFIED VIA mysql_native_password USING PASSWORD('se cret')"
    } else {
        "IDENTIFIED WITH caching_sha2_password BY 'se cret'"
    };
    let user = stage.b.run_account();
    stage
        .b
        .as_dba(&format!("ALTER USER {user} {plugin} REQUIRE SSL"))
        .await;
}

/// All of the program's sessions, the one that reads the log included.
async fn encrypted(db: &Db) {
    let sql = "SELECT s.ssl, count(*), bool_or(a.backend_type = 'walsender') FROM pg_stat_ssl s \
               JOIN pg_stat_activity a USING (pid) WHERE a.application_name LIKE 'tidelock%' GROUP BY 1";
    let found = db.admin().await.rows(sql).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0][0].as_deref(), found[0][2].as_deref()),
        (Some("t"), Some("t")),
        "{found:?}"
    );
}
