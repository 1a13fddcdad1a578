//! The run account lacks a right: each is told with its GRANT, and with that it runs.

use crate::on_both_pairs;
use crate::stage::{Pair, Stage, Way, mend};

on_both_pairs!(missing_grants);

/// A least-privilege account on each side, and the owner's for set-up.
async fn with_run_accounts(stage: &mut Stage) -> String {
    let user = format!(
        "run_{}",
        stage.a.name().rsplit_once('_').unwrap().0.replace('_', "")
    );
    let user = user[..user.len().min(30)].to_owned();
    stage
        .a
        .exec(&format!("CREATE ROLE {user} LOGIN REPLICATION PASSWORD 'word'"))
        .await;
    stage
        .b
        .exec(&format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'word'"))
        .await;
    stage.node_a = format!(
        "url = \"{}\"\nsetup_url = \"{}\"",
        stage.a.url_as(&user, "word"),
        stage.a.url()
    );
    stage.node_b = format!(
        "url = \"{}\"\nsetup_url = \"{}\"",
        stage.b.url_as(&user, "word"),
        stage.b.url()
    );
    stage.configure();
    user
}

async fn missing_grants(pair: Pair) {
    let mut stage = Stage::new("grant", pair, Way::Merge).await;
    let user = with_run_accounts(&mut stage).await;
    // Nothing is granted yet: setup does what it can, and each missing grant is told too.
    let words = [
        "a: could not start",
        "E401",
        "E105",
        &user,
        "tidelock setup --execute",
    ];
    stage.refused_run(3, &words).await;
    stage.lock.ok(&["setup", "--execute"]).await;
    stage.runs().await;

    let (a, b) = (format!("\"{user}\""), format!("'{user}'@'%'"));
    let database = stage.b.name().to_owned();
    for (on_a, revoke, code, words) in [
        (
            true,
            format!("REVOKE SELECT ON item FROM {a}"),
            "E105",
            ["item", "SELECT"],
        ),
        (
            true,
            format!("REVOKE UPDATE ON item FROM {a}"),
            "E105",
            ["item", "UPDATE"],
        ),
        (
            true,
            format!("ALTER ROLE {a} NOREPLICATION"),
            "E102",
            ["replicate", "REPLICATION"],
        ),
        (
            true,
            format!("REVOKE SET ON PARAMETER session_replication_role FROM {a}"),
            "E104",
            ["session_replication_role", "GRANT SET ON PARAMETER"],
        ),
        (
            false,
            format!("REVOKE SELECT ON {database}.item FROM {b}"),
            "E105",
            ["item", "SELECT"],
        ),
        (
            false,
            format!("REVOKE INSERT ON {database}.item FROM {b}"),
            "E105",
            ["item", "INSERT"],
        ),
        (
            false,
            format!("REVOKE REPLICATION SLAVE ON *.* FROM {b}"),
            "E102",
            ["lacks", "REPLICATION SLAVE"],
        ),
    ] {
        stage.side(on_a).exec(&revoke).await;
        let node = if on_a { "a" } else { "b" };
        let place = format!("{node}: could not start");
        let words = [&[place.as_str(), code, user.as_str()], &words[..]].concat();
        let said = stage.refused_run(3, &words).await;
        assert_eq!(said.hint, stage.finding(node, code, &[&user]).await);
        mend(stage.side(on_a), &said.hint).await;
    }
    stage.runs().await;

    // While it runs.
    stage.start().await;
    stage
        .b
        .exec(&format!("REVOKE INSERT ON {database}.item FROM {b}"))
        .await;
    stage.a.exec("INSERT INTO item VALUES (90, 'ninety')").await;
    stage.ends(1, &["b: ", "item", "denied"]).await;
    let said = stage
        .refused_run(3, &["b: could not start", "E105", "INSERT"])
        .await;
    mend(&stage.b, &said.hint).await;
    stage.runs().await;
    assert_eq!(stage.b.one("SELECT word FROM item WHERE id = 90").await, "ninety");
    stage.start().await;
    stage.a.exec(&format!("REVOKE UPDATE ON item FROM {a}")).await;
    stage
        .b
        .exec("UPDATE item SET word = 'ninety-one' WHERE id = 90")
        .await;
    stage.ends(1, &["a: ", "item", "permission denied"]).await;
    let said = stage
        .refused_run(3, &["a: could not start", "E105", "UPDATE"])
        .await;
    mend(&stage.a, &said.hint).await;
    stage.runs().await;
    assert_eq!(
        stage.a.one("SELECT word FROM item WHERE id = 90").await,
        "ninety-one"
    );

    stage.lock.ok(&["teardown", "--execute"]).await;
    stage.b.exec(&format!("DROP USER {b}")).await;
    stage.a.exec(&format!("DROP OWNED BY {a}; DROP ROLE {a}")).await;
}
