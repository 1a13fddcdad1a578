//! The run account lacks a right: each is told with its GRANT, and with that it runs.

use crate::harness::Db;
use crate::on_both_pairs;
use crate::stage::{Pair, Stage, Way, mend};
use serde_json::Value as Json;

on_both_pairs!(
    missing_grants,
    every_grant_is_needed,
    grants_on_columns,
    row_level_security,
    a_person_with_our_role_is_replicated
);

/// Of the run accounts on both sides.
fn names(stage: &Stage) -> (String, String) {
    (stage.a.run_account().to_owned(), stage.b.run_account().to_owned())
}

/// As its DBA where the owner of the tables may not.
async fn revoke(db: &Db, statement: &str) {
    match ["ALTER ROLE", " ON PARAMETER ", " ON *.*"]
        .iter()
        .any(|words| statement.contains(words))
    {
        true => db.as_dba(statement).await,
        false => db.exec(statement).await,
    }
}

async fn missing_grants(pair: Pair) {
    let mut stage = Stage::new("grant", pair, Way::Merge).await;
    let (user_a, user_b) = names(&stage);
    // Nothing is granted yet: setup does what it can, and each missing grant is told too.
    let words = [
        "a: could not start",
        "E401",
        "E105",
        &user_a,
        "tidelock setup --execute",
    ];
    stage.refused_run(3, &words).await;
    stage.lock.ok(&["setup", "--execute"]).await;
    stage.runs().await;

    let (a, b) = (format!("\"{user_a}\""), format!("'{user_b}'@'%'"));
    let database = stage.b.name().to_owned();
    for (on_a, statement, code, words) in [
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
        revoke(stage.side(on_a), &statement).await;
        let (node, user) = if on_a { ("a", &user_a) } else { ("b", &user_b) };
        let place = format!("{node}: could not start");
        let words = [&[place.as_str(), code, user.as_str()], &words[..]].concat();
        let said = stage.refused_run(3, &words).await;
        assert_eq!(said.hint, stage.finding(node, code, &[user]).await);
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
}

/// What `check` finds to be wrong, as (node, code, table, what, fix).
async fn blockers(stage: &Stage) -> Vec<[String; 5]> {
    let output = stage.lock.run(&["check", "--json"]).await;
    let document: Json = serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", output.stdout, output.stderr));
    let nodes = document["nodes"].as_array().unwrap();
    let all = nodes.iter().flat_map(|node| node["findings"].as_array().unwrap());
    all.filter(|finding| finding["level"] == "blocker")
        .map(|finding| {
            ["node", "code", "table", "what", "fix"]
                .map(|name| finding[name].as_str().unwrap_or_default().to_owned())
        })
        .collect()
}

/// The statements of the plan that give the run account something: (node, statement).
async fn printed(stage: &Stage) -> Vec<(bool, String)> {
    let output = stage.lock.ok(&["setup", "--json"]).await;
    let document: Json = serde_json::from_str(&output).unwrap();
    let mut found = vec![];
    for node in document["nodes"].as_array().unwrap() {
        for statement in node["statements"].as_array().unwrap() {
            let text = statement.as_str().unwrap();
            if text.starts_with("GRANT ") || text.starts_with("ALTER ROLE ") {
                found.push((node["node"] == "a", text.to_owned()));
            }
        }
    }
    found
}

/// What takes each privilege of a statement away again, with words that its finding must have.
fn revokes(statement: &str) -> Vec<(String, String)> {
    if let Some(role) = statement.strip_prefix("ALTER ROLE ") {
        let role = role.trim_end_matches(" REPLICATION");
        return vec![(format!("ALTER ROLE {role} NOREPLICATION"), "replicate".to_owned())];
    }
    let rest = statement.strip_prefix("GRANT ").unwrap();
    let (privileges, rest) = rest.split_once(" ON ").unwrap();
    let (object, role) = rest.rsplit_once(" TO ").unwrap();
    privileges
        .split(", ")
        .map(|privilege| {
            let word = match privilege {
                "USAGE" => "may not use schema",
                "SET" => "session_replication_role",
                other => other,
            };
            (
                format!("REVOKE {privilege} ON {object} FROM {role}"),
                word.to_owned(),
            )
        })
        .collect()
}

/// Each grant that set-up prints is needed, `check` names exactly the one that is missing, and what it says gives it
/// back; with all of them everything runs.
async fn every_grant_is_needed(pair: Pair) {
    for way in [Way::Merge, Way::AToB, Way::BToA] {
        let mut stage = Stage::new("each", pair, way).await;
        let (user_a, user_b) = names(&stage);
        let name = stage.b.name().to_owned();
        // So much that looking is possible at all.
        stage
            .b
            .exec(&format!("GRANT SELECT ON {name}.item TO {user_b}"))
            .await;
        // What a superuser gave it already is printed too where it lacks.
        let given = [
            (
                format!("ALTER ROLE {user_a} NOREPLICATION"),
                format!("ALTER ROLE {user_a} REPLICATION"),
            ),
            (
                format!("REVOKE SET ON PARAMETER session_replication_role FROM {user_a}"),
                format!("GRANT SET ON PARAMETER session_replication_role TO {user_a}"),
            ),
        ];
        for (taken, _) in &given {
            stage.a.as_dba(taken).await;
        }
        let printed = printed_by(&stage).await;
        for (_, back) in &given {
            stage.a.as_dba(back).await;
        }
        stage.lock.ok(&["setup", "--execute"]).await;
        stage.runs().await;
        assert_eq!(blockers(&stage).await, Vec::<[String; 5]>::new());
        let mut tried = 0;
        // One way our own schema needs the same.
        let printed = printed
            .iter()
            .filter(|(_, statement)| way == Way::Merge || !statement.contains("tidelock"));
        for (on_a, statement) in printed {
            let user = if *on_a { &user_a } else { &user_b };
            for (revoke, word) in revokes(statement) {
                self::revoke(stage.side(*on_a), &revoke).await;
                let found = blockers(&stage).await;
                assert_eq!(found.len(), 1, "{way:?} after {revoke}: {found:?}");
                let [node, code, _, what, fix] = &found[0];
                assert_eq!(node, if *on_a { "a" } else { "b" }, "{revoke}: {found:?}");
                assert!(what.contains(user), "{revoke}: {found:?}");
                if code == "E001" {
                    // The account's only right in that database: it cannot even log in to it.
                    assert!(fix.contains("tidelock setup --execute"), "{revoke}: {found:?}");
                    stage.lock.ok(&["setup", "--execute"]).await;
                } else {
                    assert!(
                        code.starts_with("E10") && what.contains(&word),
                        "{revoke}: {found:?}"
                    );
                    mend(stage.side(*on_a), fix).await;
                }
                tried += 1;
            }
        }
        assert!(tried >= 5, "{way:?}: {tried}");
        // That only one was missing each time shows that the one before was given back; this is about the last.
        assert_eq!(blockers(&stage).await, Vec::<[String; 5]>::new());
        stage.runs().await;
        stage.lock.ok(&["teardown", "--execute"]).await;
    }
}

/// What is granted already before set-up is given again, so that the list is whole.
async fn printed_by(stage: &Stage) -> Vec<(bool, String)> {
    let mut printed = printed(stage).await;
    let database = stage.b.name();
    let user = &printed
        .iter()
        .find(|(on_a, _)| !on_a)
        .unwrap()
        .1
        .rsplit_once(" TO ")
        .unwrap()
        .1
        .to_owned();
    printed.push((false, format!("GRANT SELECT ON `{database}`.`item` TO {user}")));
    printed
}

/// A right that stops at a column is told with the column, and with the other answer: to leave it out.
async fn grants_on_columns(pair: Pair) {
    let mut stage = Stage::new("cols", pair, Way::Merge).await;
    let (user_a, user_b) = names(&stage);
    stage.lock.ok(&["setup", "--execute"]).await;
    stage.runs().await;
    let database = stage.b.name().to_owned();
    let rest = "tidelock_version, tidelock_origin";
    for (on_a, revoke, grant, words) in [
        (
            true,
            format!("REVOKE INSERT, UPDATE ON item FROM {user_a}"),
            format!("GRANT INSERT (id, {rest}), UPDATE (id, {rest}) ON item TO {user_a}"),
            [
                "INSERT on column word; UPDATE on column word",
                "INSERT (\"word\"), UPDATE (\"word\")",
            ],
        ),
        (
            true,
            format!("REVOKE SELECT ON item FROM {user_a}"),
            format!("GRANT SELECT (id, {rest}) ON item TO {user_a}"),
            [
                "SELECT on column word, tableoid, ctid",
                "SELECT (\"word\", \"tableoid\", \"ctid\")",
            ],
        ),
        (
            false,
            format!("REVOKE INSERT, UPDATE ON {database}.item FROM {user_b}"),
            format!("GRANT INSERT (id, {rest}), UPDATE (id, {rest}) ON {database}.item TO {user_b}"),
            [
                "INSERT on column word; UPDATE on column word",
                "INSERT (`word`), UPDATE (`word`)",
            ],
        ),
    ] {
        stage.side(on_a).exec(&revoke).await;
        stage.side(on_a).exec(&grant).await;
        let (node, user) = if on_a { ("a", &user_a) } else { ("b", &user_b) };
        let skip = "skip = [\"word\"] in [sync.table.\"item\"]";
        let fix = stage
            .finding(node, "E105", &["item", user, words[0], words[1], skip])
            .await;
        stage.refused_run(3, &["E105", words[0]]).await;
        // The other answer stands behind the statement.
        let (grant, _) = fix.split_once("; or leave").unwrap();
        stage.side(on_a).exec(grant).await;
        assert!(blockers(&stage).await.is_empty());
        // Granted column by column it is enough to run with.
        stage.runs().await;
    }
}

/// Rows that a policy would hide are not missed in silence, before and while it runs.
async fn row_level_security(pair: Pair) {
    let mut stage = Stage::new("rls", pair, Way::Merge).await;
    let (user, _) = names(&stage);
    stage.lock.ok(&["setup", "--execute"]).await;
    let policy = format!(
        "CREATE POLICY few ON item TO \"{user}\" USING (id = 1); ALTER TABLE item ENABLE ROW LEVEL SECURITY"
    );
    stage.a.exec(&policy).await;
    let words = ["item", &user, "row-level security", "BYPASSRLS"];
    let fix = stage.finding("a", "E250", &words).await;
    stage.refused_run(3, &["a: could not start", "E250", &user]).await;
    assert_eq!(stage.b.count("item").await, 0);
    mend(&stage.a, &fix).await;
    stage.runs().await;
    stage.start().await;
    stage
        .a
        .as_dba(&format!("ALTER ROLE \"{user}\" NOBYPASSRLS"))
        .await;
    // A session keeps the plans that it made while it could see all rows; no row was deleted so far.
    stage.b.exec("DELETE FROM item WHERE id = 2").await;
    stage
        .ends(1, &["a: ", "item", "row-level security", "tidelock check"])
        .await;
    let said = stage.refused_run(3, &["a: could not start", "E250"]).await;
    mend(&stage.a, &said.hint).await;
    stage.runs().await;
    assert_eq!(stage.a.count("item WHERE id = 2").await, 0);
}

/// What a person writes with the run account carries no marker, and is replicated like anybody's.
async fn a_person_with_our_role_is_replicated(pair: Pair) {
    let mut stage = Stage::new("person", pair, Way::Merge).await;
    stage.lock.ok(&["setup", "--execute"]).await;
    stage.runs().await;
    stage.start().await;
    for (on_a, id) in [(true, 71), (false, 72)] {
        let db = stage.side(on_a);
        let mut person = db.run_session().await;
        person
            .exec(&format!(
                "INSERT INTO item (id, word) VALUES ({id}, 'by hand'), ({id} + 5, 'by hand')"
            ))
            .await;
        person
            .exec(&format!("UPDATE item SET word = 'by hand again' WHERE id = {id}"))
            .await;
        person
            .exec(&format!("DELETE FROM item WHERE id = {id} + 5"))
            .await;
        stage.wait_equal().await;
        let other = stage.side(!on_a);
        let found = other.one(&format!("SELECT word FROM item WHERE id = {id}")).await;
        assert_eq!(found, "by hand again");
        assert_eq!(other.count(&format!("item WHERE id = {id} + 5")).await, 0);
    }
    let (code, _) = stage.lock.term().await;
    assert_eq!(code, 0);
}
