//! Tables that are missing, have no key, are emptied or altered behind the program's back, or lost their triggers.

use crate::on_both_pairs;
use crate::stage::{Pair, Stage, Way, mend};

on_both_pairs!(
    missing_table,
    missing_key,
    dropped_trigger,
    unguarded_trigger,
    truncated,
    added_column,
    added_column_merge
);

async fn missing_table(pair: Pair) {
    let mut stage = Stage::new("nowhere", pair, Way::Merge).await;
    stage.tables = "\"item\", \"extra\"".to_owned();
    stage.configure();
    for node in ["a", "b"] {
        stage.finding(node, "E302", &["extra"]).await;
        let said = stage
            .refused(&["setup", "--execute"], 3, &["extra", "does not exist"])
            .await;
        assert!(said.hint.contains("create it"), "{said:?}");
        let body = "CREATE TABLE extra (id int NOT NULL PRIMARY KEY, n int)";
        let db = stage.side(node == "a");
        db.exec(body).await;
    }
    stage.begin().await;
    // And while it is away.
    for node in ["a", "b"] {
        let db = stage.side(node == "a");
        db.exec("ALTER TABLE extra RENAME TO hidden").await;
        let said = stage
            .refused_run(3, &[&format!("{node}: "), "extra", "does not exist"])
            .await;
        assert!(said.hint.contains("create it"), "{said:?}");
        db.exec("ALTER TABLE hidden RENAME TO extra").await;
    }
    // A binlog tells that the name was away and came back, not what was written to the table meanwhile: the person
    // who knows that nothing was passes both over.
    for what in ["it was renamed to", "was renamed to it"] {
        let said = stage.refused_run(1, &["b: ", "extra", what]).await;
        let skip = said
            .hint
            .split('`')
            .find(|word| word.starts_with("tidelock skip "));
        let skip = skip.unwrap_or_else(|| panic!("no command: {said:?}")).to_owned();
        let words: Vec<&str> = skip
            .split(' ')
            .skip(1)
            .map(|word| word.trim_matches('\''))
            .collect();
        stage.lock.ok(&words).await;
    }
    stage.runs().await;
}

async fn missing_key(pair: Pair) {
    let mut stage = Stage::new("keyless", pair, Way::Merge).await;
    stage.tables = "\"item\", \"plain\"".to_owned();
    stage.configure();
    for db in [&stage.a, &stage.b] {
        db.exec("CREATE TABLE plain (id int NOT NULL, n int)").await;
        db.exec("CREATE UNIQUE INDEX plain_id ON plain (id)").await;
    }
    stage.a.exec("INSERT INTO plain VALUES (1, 1)").await;
    // MySQL and MariaDB show a table to none who has no right on it, which set-up would give.
    let grant = format!("GRANT SELECT ON plain TO {}", stage.b.run_account());
    stage.b.exec(&grant).await;
    for node in ["a", "b"] {
        let db = stage.side(node == "a");
        let words = ["plain", "no primary key", "ADD PRIMARY KEY"];
        let fix = stage.finding(node, "E301", &words).await;
        stage
            .refused(
                &["setup", "--execute"],
                3,
                &["plain", "primary key", "ADD PRIMARY KEY"],
            )
            .await;
        mend(db, &fix).await;
    }
    stage.begin().await;
    crate::harness::equal(&stage.a, &stage.b, "public.plain", &["id"], &["n"]).await;
}

/// A write without a trigger has no stamp: not one may go by unseen.
async fn dropped_trigger(pair: Pair) {
    let mut stage = Stage::new("trigger", pair, Way::Merge).await;
    stage.begin().await;
    let (a, b) = (triggers(&stage, true).await, triggers(&stage, false).await);
    assert_eq!((a.len(), b.len() >= 3), (3, true), "{a:?} {b:?}");
    let drop_a = format!("DROP TRIGGER {} ON item", a[0]);
    stage.a.exec(&drop_a).await;
    stage.finding("a", "E403", &["item", "trigger"]).await;
    let said = stage
        .refused_run(3, &["a: ", "item", "trigger", "tidelock setup"])
        .await;
    assert!(said.message.contains("trigger"), "{said:?}");
    stage.lock.ok(&["setup", "--execute"]).await;
    stage.runs().await;

    stage.b.exec(&format!("DROP TRIGGER {}", b[0])).await;
    stage.finding("b", "E403", &["item", "trigger"]).await;
    stage
        .refused_run(3, &["b: ", "item", "trigger", "tidelock setup"])
        .await;
    stage.lock.ok(&["setup", "--execute"]).await;
    stage.runs().await;

    // While it runs.
    stage.start().await;
    stage.a.exec(&drop_a).await;
    stage.ends(3, &["a: ", "item", "trigger", "tidelock setup"]).await;
    stage.lock.ok(&["setup", "--execute"]).await;
    stage.start().await;
    stage
        .a
        .exec(&format!("ALTER TABLE item DISABLE TRIGGER {}", a[1]))
        .await;
    let said = stage.ends(3, &["a: ", "item", "trigger", "ENABLE TRIGGER"]).await;
    mend(&stage.a, &said.hint).await;
    stage.start().await;
    stage.b.exec(&format!("DROP TRIGGER {}", b[1])).await;
    stage.ends(3, &["b: ", "item", "trigger", "tidelock setup"]).await;
    stage.lock.ok(&["setup", "--execute"]).await;
    stage.runs().await;
}

/// A user's trigger that fires when Tidelock writes has written where no log tells it: since when, and what to compare.
async fn unguarded_trigger(pair: Pair) {
    let mut stage = Stage::new("unguarded", pair, Way::Merge).await;
    stage.begin().await;
    let name = "CREATE TRIGGER audited AFTER INSERT ON item FOR EACH ROW";
    let words = [
        "item",
        "audited",
        "also fires when Tidelock writes",
        "it was not there ",
        "compare the tables",
    ];
    for (node, create) in [
        (
            "a: ",
            format!(
                "CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
                 BEGIN; {name} EXECUTE FUNCTION audit(); ALTER TABLE item ENABLE ALWAYS TRIGGER audited; COMMIT"
            ),
        ),
        ("b: ", format!("{name} SET @audited = NEW.id")),
    ] {
        stage.start().await;
        stage.side(node == "a: ").exec(&create).await;
        let said = stage.ends(3, &[&[node], &words[..]].concat()).await;
        assert!(!said.hint.is_empty(), "{said:?}");
        let on = if node == "a: " { " ON item" } else { "" };
        stage.side(node == "a: ").exec(&format!("DROP TRIGGER audited{on}")).await;
        stage.runs().await;
    }
}

async fn triggers(stage: &Stage, on_a: bool) -> Vec<String> {
    let rows = if on_a {
        let sql =
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'item'::regclass AND NOT tgisinternal ORDER BY 1";
        stage.a.rows(sql).await
    } else {
        let sql = "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = database() ORDER BY 1";
        stage.b.rows(sql).await
    };
    rows.into_iter().map(|mut row| row.remove(0).unwrap()).collect()
}

async fn truncated(pair: Pair) {
    let mut stage = Stage::new("truncate", pair, Way::Merge).await;
    stage.begin().await;
    let words = ["item", "TRUNCATE", "tidelock teardown --sync ", "DELETE instead"];
    for on_a in [true, false] {
        stage.start().await;
        let rows = stage.side(!on_a).count("item").await;
        stage.side(on_a).exec("TRUNCATE TABLE item").await;
        stage.ends(1, &words).await;
        let kept = stage.side(!on_a).count("item").await;
        assert_eq!(kept, rows, "the other side keeps its rows");
        stage.refused_run(1, &words).await;
        // As the hint says: both sides, then anew.
        stage.side(!on_a).exec("TRUNCATE TABLE item").await;
        stage.lock.ok(&["teardown", "--execute"]).await;
        stage
            .a
            .exec("INSERT INTO item VALUES (1, 'one'), (2, 'two')")
            .await;
        stage.anew().await;
    }
}

async fn added_column(pair: Pair) {
    for way in [Way::AToB, Way::BToA] {
        column_added(pair, way).await;
    }
}

async fn added_column_merge(pair: Pair) {
    column_added(pair, Way::Merge).await;
}

/// The stream stops before the first row with the new column, and goes on when the other side has it too.
async fn column_added(pair: Pair, way: Way) {
    let mut stage = Stage::new("alter", pair, way).await;
    stage.begin().await;
    stage.start().await;
    stage
        .seeder()
        .exec("ALTER TABLE item ADD COLUMN extra varchar(40)")
        .await;
    stage
        .seeder()
        .exec("INSERT INTO item (id, word, extra) VALUES (50, 'fifty', 'more')")
        .await;
    let target = if way == Way::BToA { "a" } else { "b" };
    let prefix = format!("{target}: table");
    let words = [
        &prefix,
        "item",
        "column \"extra\" does not exist",
        "tidelock check",
    ];
    stage.ends(1, &words).await;
    assert_eq!(stage.copied().count("item WHERE id = 50").await, 0);
    // Setting up again takes the new definition; then the other side lacks the column, until it has it.
    let (from, to) = if way == Way::BToA { ("b", "a") } else { ("a", "b") };
    let changed = |node: &str| format!("{node}: could not start");
    stage
        .refused_run(
            3,
            &[
                &changed(from),
                "item",
                "definition changed",
                "tidelock setup --execute",
            ],
        )
        .await;
    stage.lock.ok(&["setup", "--execute"]).await;
    let said = stage.refused_run(3, &[&changed(to), "E504", "extra"]).await;
    let fix = stage.finding(to, "E504", &["extra", "ADD COLUMN"]).await;
    assert_eq!(said.hint, fix);
    mend(stage.copied(), &fix).await;
    stage
        .refused_run(
            3,
            &[
                &changed(to),
                "item",
                "definition changed",
                "tidelock setup --execute",
            ],
        )
        .await;
    stage.lock.ok(&["setup", "--execute"]).await;
    stage.runs().await;
    crate::harness::equal(&stage.a, &stage.b, "public.item", &["id"], &["word", "extra"]).await;
    assert_eq!(
        stage.copied().one("SELECT extra FROM item WHERE id = 50").await,
        "more"
    );
}
