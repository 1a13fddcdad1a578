//! What the databases do not have of a configuration is told with the line that says it; what the file alone tells is told
//! before any database is asked.

use crate::on_both_pairs;
use crate::stage::{Pair, Stage, Way};
use serde_json::Value as Json;

on_both_pairs!(
    what_does_not_fit_has_its_line,
    what_the_file_tells_has_its_line,
    rows_without_parents,
    columns_that_may_not_be_written
);

/// Findings of `check`, of nodes and of tables.
async fn findings(stage: &Stage) -> Vec<Json> {
    let output = stage.lock.run(&["check", "--json"]).await;
    let document: Json =
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let parts = ["nodes", "tables"]
        .into_iter()
        .flat_map(|part| document[part].as_array().unwrap().clone());
    parts
        .flat_map(|part| part["findings"].as_array().unwrap().clone())
        .collect()
}

/// `FILE:LINE` of the first line that begins so, as a finding tells it.
fn place(stage: &Stage, begins: &str) -> String {
    let config = stage.config();
    let line = config.lines().position(|line| line.trim().starts_with(begins));
    format!(
        "tidelock.toml:{}",
        line.unwrap_or_else(|| panic!("{begins}: {config}")) + 1
    )
}

fn told(found: &[Json], code: &str, node: &str, place: &str, begins: &str) -> bool {
    found.iter().any(|finding| {
        let line = |key: &str| finding["line"][key].as_str().unwrap_or_default();
        finding["code"] == code
            && finding["node"] == node
            && line("place").ends_with(place)
            && line("text").starts_with(begins)
    })
}

async fn what_does_not_fit_has_its_line(pair: Pair) {
    let mut stage = Stage::new("lines", pair, Way::Merge).await;
    stage.lock.ok(&["setup", "--execute"]).await;
    for (section, code, node, begins) in [
        ("where = \"nothing = 1\"", "E355", "a", "where"),
        ("where = \"word = 5\"", "E355", "b", "where"),
        ("column.nothing = { b = \"x\" }", "E356", "a", "column.nothing"),
        ("column.word = { b = \"x\" }", "E356", "b", "column.word"),
        ("skip = [\"id\"]", "E356", "a", "skip"),
        ("column.word = { owner = \"a\" }", "E357", "a", "column.word"),
        ("column.wrod = { owner = \"a\" }", "E357", "a", "column.wrod"),
        (
            "column.word = { mask = true }\ncolumn.id.b = { values = { 1 = 2 } }",
            "E358",
            "a",
            "column.id",
        ),
        (
            "to.b.word = \"wrod\"\nto.a.wrod = \"word\"",
            "E359",
            "b",
            "to.b.word",
        ),
        ("column.wrod = { mask = true }", "E601", "a", "column.wrod"),
        (
            "column.word = { on_conflict = \"delta\" }",
            "E470",
            "b",
            "column.word",
        ),
        (
            "version = \"timestamp:wrod\"",
            "E610",
            "a",
            "version = \"timestamp",
        ),
        ("skip = [\"word\"]", "E505", "b", "skip"),
    ] {
        stage.more = format!("[sync.table.item]\n{section}\n");
        stage.configure();
        let found = findings(&stage).await;
        let at = place(&stage, begins);
        assert!(
            told(&found, code, node, &at, begins),
            "{section}: {code} {at}: {found:#?}"
        );
    }
    // People see the line too.
    let output = stage.lock.run(&["check"]).await;
    assert!(
        output.stdout.contains(" | skip = [\"word\"]"),
        "{}",
        output.stdout
    );
    // A table of no section has the line that names it.
    stage.more = String::new();
    for (tables, code) in [
        ("\"item\", \"nowhere\"", "E302"),
        ("\"item\", \"zz*\"", "W357"),
        ("\"zz*\"", "E351"),
    ] {
        tables.clone_into(&mut stage.tables);
        stage.configure();
        let found = findings(&stage).await;
        assert!(
            told(&found, code, "a", &place(&stage, "tables"), "tables"),
            "{code}: {found:#?}"
        );
    }
}

/// Nothing of it needs a database.
async fn what_the_file_tells_has_its_line(pair: Pair) {
    let mut stage = Stage::new("file", pair, Way::Merge).await;
    for (section, what, begins) in [
        (
            "column.word.b = { values = { x = 1, y = 1 } }",
            "stands for two values",
            "column.word.b",
        ),
        ("where = \"word = 'x'\"\nskip = [\"word\"]", "word", "where"),
        ("where = \"word / 2 = 1\"", "where", "where"),
        (
            "to.b.word = \"word / 2\"\nto.a.word = \"word\"",
            "to.b.word",
            "to.b.word",
        ),
        (
            "to.b.word = \"other\"\ncolumn.word = { skip = true }",
            "two rules for one column",
            "to.b.word",
        ),
        (
            "to.b.word = \"other\"\ncolumn.word.b = { values = { x = 1 } }",
            "two rules for one column",
            "to.b.word",
        ),
        (
            "column.word = { owner = \"a\", on_conflict = \"columns\" }",
            "has an owner",
            "column.word",
        ),
    ] {
        stage.more = format!("[sync.table.item]\n{section}\n");
        stage.configure();
        for command in [&["config", "check"][..], &["check"], &["setup", "--execute"]] {
            let output = stage.lock.run(command).await;
            let at = place(&stage, begins);
            assert_eq!(output.code, 78, "{section}: {}", output.stderr);
            assert!(
                output.stderr.contains(&format!("{at}:")) && output.stderr.contains(what),
                "{section}: {at}: {}",
                output.stderr
            );
        }
    }
    // Round and round.
    let mut ring = stage.config();
    ring.truncate(ring.find("[[sync]]").unwrap());
    for (name, from, to) in [("there", "a", "b"), ("back", "b", "a")] {
        ring.push_str(&format!(
            "[[sync]]\nname = \"{name}\"\nnodes = [\"a\", \"b\"]\nmode = \"transactional\"\nfrom = \"{from}\"\n\
             tables = [\"item\"] # to {to}\nseed = \"from:{from}\"\n"
        ));
    }
    stage.lock.configure(&ring);
    let output = stage.lock.run(&["check"]).await;
    assert_eq!(output.code, 78, "{}", output.stderr);
    assert!(
        output.stderr.contains("tidelock.toml:") && output.stderr.contains("item"),
        "{}",
        output.stderr
    );
}

/// A foreign key to a table that nobody carries.
async fn rows_without_parents(pair: Pair) {
    let mut stage = Stage::new("parents", pair, Way::Merge).await;
    stage.tables = "\"item\", \"part\"".to_owned();
    stage.configure();
    for db in [&stage.a, &stage.b] {
        db.exec("CREATE TABLE kind (id int NOT NULL PRIMARY KEY)").await;
        db.exec(
            "CREATE TABLE part (id int NOT NULL PRIMARY KEY, kind int, CONSTRAINT of_kind FOREIGN KEY (kind) REFERENCES kind (id))",
        )
        .await;
    }
    stage.lock.ok(&["setup", "--execute"]).await;
    let found = findings(&stage).await;
    for node in ["a", "b"] {
        assert!(
            told(&found, "W363", node, &place(&stage, "tables"), "tables"),
            "{node}: {found:#?}"
        );
    }
    let found = format!("{found:?}");
    assert!(
        found.contains("of_kind") && found.contains(".kind, which is not in the sync"),
        "{found}"
    );
    stage.tables.push_str(", \"kind\"");
    stage.configure();
    stage.lock.ok(&["setup", "--execute"]).await;
    let found = findings(&stage).await;
    assert!(
        found.iter().all(|finding| finding["code"] != "W363"),
        "{found:#?}"
    );
}

/// Rights on some of the columns are not rights on the table.
async fn columns_that_may_not_be_written(pair: Pair) {
    let stage = Stage::new("columns", pair, Way::Merge).await;
    stage.lock.ok(&["setup", "--execute"]).await;
    for (db, node) in [(&stage.a, "a"), (&stage.b, "b")] {
        let account = db.run_account();
        db.exec(&format!("REVOKE UPDATE, INSERT ON item FROM {account}"))
            .await;
        db.exec(&format!(
            "GRANT UPDATE (id), INSERT (id, word) ON item TO {account}"
        ))
        .await;
        let fix = stage.finding(node, "E105", &["item", "UPDATE"]).await;
        db.exec(fix.split("; or").next().unwrap()).await;
        let found = findings(&stage).await;
        let is_left = |finding: &Json| finding["code"] == "E105" && finding["node"] == node;
        assert!(!found.iter().any(is_left), "{found:#?}");
    }
}
