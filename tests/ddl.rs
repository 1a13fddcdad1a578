//! TRUNCATE and DDL in mid-stream: carried where that is safe, else the link stops and goes on after what it printed.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use harness::Kind;
use scenario::{ITEM, LIMIT, ORDER_HEAD, ORDER_LINE, Pair, SEAT, Scene, Side, Table, Way, numbers};

pairs! {
    truncate_from_postgres => |pair| truncate("truncate_to_b", pair, Way::AToB);
    truncate_to_postgres => |pair| truncate("truncate_to_a", pair, Way::BToA);
    truncate_in_a_merge_stops_right_before_it => truncate_merge;
    a_reader_never_sees_a_refilled_table_empty => refilled;
    goes_on_from_postgres => |pair| goes_on("goes_to_b", pair, Way::AToB);
    goes_on_to_postgres => |pair| goes_on("goes_to_a", pair, Way::BToA);
    stops_from_postgres => |pair| stops_with_the_statement("stops_to_b", pair, Way::AToB);
    stops_to_postgres => |pair| stops_with_the_statement("stops_to_a", pair, Way::BToA);
    altered_while_away_from_postgres => |pair| altered_while_away("away_to_b", pair, Way::AToB);
    altered_while_away_to_postgres => |pair| altered_while_away("away_to_a", pair, Way::BToA);
    a_new_label_from_postgres => |pair| label_added("label_to_b", pair, Way::AToB);
    a_new_label_to_postgres => |pair| label_added("label_to_a", pair, Way::BToA);
    a_table_swapped_in_stops => renamed_table;
    values_changed_unseen_stop => values_changed;
    a_widened_column_is_not_judged_twice => settles;
    a_foreign_key_that_cascades_stops => cascade;
}

fn rows(from: i64, to: i64) -> String {
    let rows: Vec<String> = (from..=to)
        .map(|n| format!("({n}, 'item {n}', {n}, NULL)"))
        .collect();
    format!("INSERT INTO item VALUES {}", rows.join(", "))
}

async fn truncate(hint: &str, pair: Pair, way: Way) {
    let tables = [ITEM, SEAT, ORDER_HEAD, ORDER_LINE];
    let mut scene = Scene::new(hint, pair, way, &tables).await;
    let source = way.sources()[0];
    scene.exec(source, &rows(1, 20)).await;
    scene.start().await;
    let orders = "INSERT INTO order_head VALUES (1, 'c'), (2, 'd'); INSERT INTO order_line VALUES (1, 1, 5), (2, 2, 6)";
    scene.exec(source, orders).await;
    scene.wait_equal().await;

    scene.exec(source, "TRUNCATE TABLE item").await;
    scene.wait_equal().await;
    assert_eq!(scene.db(scene.targets()[0]).count("item").await, 0);
    // Before, after and between, all in the log at once.
    let steps = |base: i64| {
        let (one, two) = (base + 1, base + 2);
        [
            rows(base, base + 9),
            format!("UPDATE item SET n = 0 WHERE id = {one}"),
            "TRUNCATE item".to_owned(),
            "TRUNCATE TABLE item".to_owned(),
            rows(base + 5, base + 20),
            format!("DELETE FROM item WHERE id = {}", base + 6),
            "INSERT INTO seat VALUES (1, 'x'), (2, 'y')".to_owned(),
            "TRUNCATE TABLE seat".to_owned(),
            format!("INSERT INTO item VALUES ({one}, 'again', 1, NULL), ({two}, 'again', 1, NULL)"),
        ]
        .join(";")
    };
    scene.exec(source, &steps(100)).await;
    scene.wait_equal().await;
    assert_eq!(scene.db(scene.targets()[0]).count("item").await, 17);
    scene.stop().await;
    scene.exec(source, &steps(200)).await;
    scene.exec(source, &several(pair, source)).await;
    scene.lock.ok(&["run", "--once"]).await;
    scene.assert_equal().await;
    // A row that only the target has goes too: the source's rows are all there are.
    scene
        .exec(
            scene.targets()[0],
            "INSERT INTO item VALUES (9999, 'stray', 1, NULL)",
        )
        .await;
    scene.exec(source, "TRUNCATE TABLE item").await;
    scene.exec(source, &rows(300, 310)).await;
    scene.lock.ok(&["run", "--once"]).await;
    scene.assert_equal().await;
    assert_eq!(scene.b.count("item").await, 11);
    scene.assert_no_conflicts().await;
}

/// Several tables at once, those that others point to, and within transactions larger than a group.
fn several(pair: Pair, source: Side) -> String {
    let many = numbers(20_000);
    let fill =
        |base: i64| format!("INSERT INTO item SELECT {base} + i, concat('row ', i), i, NULL FROM {many}");
    let kind = if source == Side::A { pair.0 } else { pair.1 };
    if kind.is_postgres() {
        [
            "BEGIN; INSERT INTO seat VALUES (7, 'kept'); TRUNCATE item; ROLLBACK".to_owned(),
            "TRUNCATE order_head RESTART IDENTITY CASCADE".to_owned(),
            "INSERT INTO order_head VALUES (3, 'e'); INSERT INTO order_line VALUES (3, 3, 7)".to_owned(),
            "BEGIN; INSERT INTO seat VALUES (8, 'gone'); TRUNCATE seat, order_line; INSERT INTO seat VALUES (9, 'stays'); COMMIT".to_owned(),
            format!("BEGIN; {}; TRUNCATE item; {}; UPDATE item SET n = 7 WHERE id < 50100; COMMIT", fill(10_000), fill(50_000)),
            "BEGIN; INSERT INTO item VALUES (1, 'a', 1, NULL); SAVEPOINT s; TRUNCATE item; ROLLBACK TO SAVEPOINT s; INSERT INTO item VALUES (2, 'b', 1, NULL); COMMIT".to_owned(),
        ]
        .join(";")
    } else {
        [
            "SET foreign_key_checks = 0; TRUNCATE TABLE order_head; TRUNCATE order_line; SET foreign_key_checks = 1".to_owned(),
            "INSERT INTO order_head VALUES (3, 'e'); INSERT INTO order_line VALUES (3, 3, 7)".to_owned(),
            fill(10_000),
            "TRUNCATE /* all */ `item`".to_owned(),
            fill(50_000),
        ]
        .join(";")
    }
}

/// Two ways nothing is emptied: what came before is applied, and the other side keeps its rows.
async fn truncate_merge(pair: Pair) {
    let mut scene = Scene::new("truncate_merge", pair, Way::Merge, &[ITEM]).await;
    scene.start().await;
    scene.exec(Side::A, &rows(1, 5)).await;
    scene.wait_equal().await;
    for (source, target, node) in [(Side::A, Side::B, "a"), (Side::B, Side::A, "b")] {
        scene.stop().await;
        let before = scene.db(target).count("item").await;
        let base = if source == Side::A { 50 } else { 60 };
        scene
            .exec(
                source,
                &format!(
                    "{}; TRUNCATE TABLE item; {}",
                    rows(base, base),
                    rows(base + 1, base + 1)
                ),
            )
            .await;
        let said = scene.lock.run(&["run", "--once"]).await;
        assert_eq!(said.code, 1, "{}", said.stderr);
        for word in [
            "item",
            "TRUNCATE",
            &format!("tidelock skip '{}/{node}->", scene.sync),
            "--at '",
            "--execute",
        ] {
            assert!(said.stderr.contains(word), "{word} is not in {}", said.stderr);
        }
        let status = scene.lock.run(&["status"]).await.stderr;
        assert!(
            status.contains("next: `tidelock skip '") && !status.contains("next: tidelock run"),
            "{status}"
        );
        let found = scene.db(target).count("item").await;
        assert_eq!(
            found,
            before + 1,
            "what came before the TRUNCATE is applied, and nothing removed"
        );
        // The rest of the way is a new copy.
        scene.lock.ok(&["teardown", "--execute"]).await;
        for side in [Side::A, Side::B] {
            scene.exec(side, "DELETE FROM item; DELETE FROM probe").await;
        }
        scene.exec(Side::A, &rows(1, 5)).await;
        scene.start().await;
        scene.wait_equal().await;
    }
}

/// TRUNCATE and new rows in one transaction of PostgreSQL are one moment on the target.
async fn refilled(pair: Pair) {
    let mut scene = Scene::new("refilled", pair, Way::AToB, &[ITEM]).await;
    scene.exec(Side::A, &rows(1, 10)).await;
    scene.start().await;
    scene.wait_equal().await;
    let mut reader = scene.b.session().await;
    let over = tokio_util::sync::CancellationToken::new();
    let stop = over.clone();
    let reading = tokio::spawn(async move {
        let mut looks = 0_u32;
        while !stop.is_cancelled() {
            let found = reader.one("SELECT count(*) FROM item").await;
            assert_eq!(found, "10");
            looks += 1;
        }
        looks
    });
    for _ in 0..50 {
        scene
            .exec(Side::A, &format!("BEGIN; TRUNCATE item; {}; COMMIT", rows(1, 10)))
            .await;
    }
    scene.wait_equal().await;
    over.cancel();
    let looks = tokio::time::timeout(LIMIT, reading).await.unwrap().unwrap();
    assert!(looks > 5, "{looks}");
    scene.assert_no_conflicts().await;
}

/// What users do to a table: on the target first, then on the source, in either dialect (PostgreSQL, then MySQL), and
/// rows after it. `{t}` is the table.
struct Case {
    table: &'static str,
    target: [&'static str; 2],
    source: [&'static str; 2],
    rows: &'static str,
    compared: &'static [&'static str],
    /// Words of what stops the link; none = it goes on. Then the statement of the hint that begins so is run.
    stops: &'static [&'static str],
    mend: &'static str,
}

const SAME: [&str; 2] = ["", ""];
const BODY: &str = "id int NOT NULL PRIMARY KEY, a varchar(40), n int";

const GOES: [Case; 8] = [
    Case {
        table: "added",
        target: ["ALTER TABLE {t} ADD COLUMN extra varchar(40)"; 2],
        source: ["ALTER TABLE {t} ADD COLUMN extra varchar(40)"; 2],
        rows: "INSERT INTO {t} VALUES (2, 'b', 2, 'more'); UPDATE {t} SET extra = 'now' WHERE id = 1",
        compared: &["a", "n", "extra"],
        stops: &[],
        mend: "",
    },
    Case {
        table: "decorated",
        target: SAME,
        source: [
            "CREATE INDEX decorated_n ON {t} (n); ALTER TABLE {t} ALTER COLUMN n SET DEFAULT 7; COMMENT ON TABLE {t} IS 'x'",
            "CREATE INDEX decorated_n ON {t} (n); ALTER TABLE {t} ALTER COLUMN n SET DEFAULT 7; ALTER TABLE {t} COMMENT 'x'",
        ],
        rows: "INSERT INTO {t} (id, a) VALUES (2, 'b'); UPDATE {t} SET n = 3 WHERE id = 1",
        compared: &["a", "n"],
        stops: &[],
        mend: "",
    },
    Case {
        table: "widened",
        target: [
            "ALTER TABLE {t} ALTER COLUMN n TYPE bigint",
            "ALTER TABLE {t} MODIFY n bigint",
        ],
        source: [
            "ALTER TABLE {t} ALTER COLUMN n TYPE bigint",
            "ALTER TABLE {t} MODIFY n bigint",
        ],
        rows: "INSERT INTO {t} VALUES (2, 'b', 5000000000); UPDATE {t} SET n = 6000000000 WHERE id = 1",
        compared: &["a", "n"],
        stops: &[],
        mend: "",
    },
    Case {
        table: "lengthened",
        target: [
            "ALTER TABLE {t} ALTER COLUMN a TYPE varchar(80)",
            "ALTER TABLE {t} MODIFY a varchar(80)",
        ],
        source: [
            "ALTER TABLE {t} ALTER COLUMN a TYPE varchar(80)",
            "ALTER TABLE {t} MODIFY a varchar(80)",
        ],
        rows: "INSERT INTO {t} VALUES (2, '123456789012345678901234567890123456789012345678901234567890', 2)",
        compared: &["a", "n"],
        stops: &[],
        mend: "",
    },
    Case {
        table: "dropped",
        target: SAME,
        source: ["ALTER TABLE {t} DROP COLUMN a"; 2],
        rows: "INSERT INTO {t} VALUES (2, 2); UPDATE {t} SET n = 9 WHERE id = 1",
        compared: &["n"],
        stops: &[],
        mend: "",
    },
    Case {
        table: "renamed_on_both",
        target: ["ALTER TABLE {t} RENAME COLUMN a TO b"; 2],
        source: ["ALTER TABLE {t} RENAME COLUMN a TO b"; 2],
        rows: "INSERT INTO {t} VALUES (2, 'x', 2); UPDATE {t} SET b = 'y' WHERE id = 1",
        compared: &["b", "n"],
        stops: &[],
        mend: "",
    },
    Case {
        table: "narrowed_on_both",
        target: [
            "ALTER TABLE {t} ALTER COLUMN n TYPE smallint",
            "ALTER TABLE {t} MODIFY n smallint",
        ],
        source: [
            "ALTER TABLE {t} ALTER COLUMN n TYPE smallint",
            "ALTER TABLE {t} MODIFY n smallint",
        ],
        rows: "INSERT INTO {t} VALUES (2, 'x', 200)",
        compared: &["a", "n"],
        stops: &[],
        mend: "",
    },
    Case {
        table: "refilled",
        target: SAME,
        source: [
            "ALTER TABLE {t} DROP COLUMN a; ALTER TABLE {t} ADD COLUMN c int",
            "ALTER TABLE {t} DROP COLUMN a",
        ],
        rows: "TRUNCATE TABLE {t}; INSERT INTO {t} (id, n) VALUES (3, 3)",
        compared: &["n"],
        // On PostgreSQL the new column is seen too: that case is among those that stop.
        stops: &[],
        mend: "",
    },
];

const STOPS: [Case; 4] = [
    Case {
        table: "added_here",
        target: SAME,
        source: ["ALTER TABLE {t} ADD COLUMN extra varchar(40)"; 2],
        rows: "INSERT INTO {t} VALUES (2, 'b', 2, 'more'); UPDATE {t} SET extra = 'now' WHERE id = 1",
        compared: &["a", "n", "extra"],
        stops: &[
            "column \"extra\" does not exist on the target",
            "ADD COLUMN",
            "varchar(40)",
            "tidelock setup --execute",
        ],
        mend: "ALTER TABLE",
    },
    Case {
        table: "renamed_here",
        target: SAME,
        source: ["ALTER TABLE {t} RENAME COLUMN a TO b"; 2],
        rows: "INSERT INTO {t} VALUES (2, 'x', 2); UPDATE {t} SET b = 'y' WHERE id = 1",
        compared: &["b", "n"],
        stops: &["RENAME COLUMN", "renamed", "tidelock setup --execute"],
        mend: "ALTER TABLE",
    },
    Case {
        table: "narrowed_here",
        target: SAME,
        source: [
            "ALTER TABLE {t} ALTER COLUMN n TYPE smallint",
            "ALTER TABLE {t} MODIFY n smallint",
        ],
        rows: "INSERT INTO {t} VALUES (2, 'x', 200)",
        compared: &["a", "n"],
        stops: &[
            "column \"n\"",
            "smallint",
            "in no log",
            "tidelock setup --execute",
        ],
        mend: "ALTER TABLE",
    },
    Case {
        table: "keyed_here",
        target: SAME,
        source: [
            "ALTER TABLE {t} DROP CONSTRAINT keyed_here_pkey, ADD PRIMARY KEY (id, n)",
            "ALTER TABLE {t} DROP PRIMARY KEY, ADD PRIMARY KEY (id, n)",
        ],
        rows: "INSERT INTO {t} VALUES (2, 'x', 2), (2, 'y', 3)",
        compared: &["a"],
        stops: &[
            "the primary key is (id)",
            "(id, n)",
            "ADD PRIMARY KEY",
            "tidelock setup --execute",
        ],
        mend: "ALTER TABLE",
    },
];

const fn table_of(name: &'static str) -> Table {
    Table {
        name,
        body: BODY,
        key: &["id"],
        columns: &["a", "n"],
    }
}

impl Case {
    fn sql(&self, kind: Kind, dialects: &[&str; 2]) -> String {
        dialects[usize::from(!kind.is_postgres())].replace("{t}", self.table)
    }

    async fn alter(&self, scene: &Scene) {
        let (source, target) = (scene.way.sources()[0], scene.targets()[0]);
        for (side, dialects) in [(target, &self.target), (source, &self.source)] {
            scene.exec(side, &self.sql(scene.db(side).kind(), dialects)).await;
        }
        scene.exec(source, &self.rows.replace("{t}", self.table)).await;
    }

    async fn wait_equal(&self, scene: &mut Scene) {
        scene.crossed().await;
        let key = if self.table == "keyed_here" {
            &["id", "n"][..]
        } else {
            &["id"]
        };
        crate::harness::wait_equal(&scene.a, &scene.b, self.table, key, self.compared, LIMIT).await;
    }
}

async fn with_tables(hint: &str, pair: Pair, way: Way, cases: &[Case]) -> Scene {
    let tables: Vec<Table> = cases.iter().map(|case| table_of(case.table)).collect();
    let mut scene = Scene::new(hint, pair, way, &tables).await;
    for case in cases {
        let row = format!("INSERT INTO {} VALUES (1, 'a', 1)", case.table);
        scene.exec(way.sources()[0], &row).await;
    }
    scene.start().await;
    // Each table has been seen in the log.
    for case in cases {
        let change = format!("UPDATE {} SET n = n + 1", case.table);
        scene.exec(way.sources()[0], &change).await;
    }
    scene.wait_equal().await;
    scene
}

/// What leaves rows as they are, or was done on the target before, does not stop the link.
async fn goes_on(hint: &str, pair: Pair, way: Way) {
    let mut scene = with_tables(hint, pair, way, &GOES).await;
    for case in &GOES {
        if case.table == "refilled" && way == Way::AToB {
            continue;
        }
        case.alter(&scene).await;
        case.wait_equal(&mut scene).await;
    }
    scene.assert_running();
    scene.assert_no_conflicts().await;
    // Set-up takes the new definitions, and it starts again.
    scene.stop().await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.run().await;
    for case in &GOES {
        if case.table != "refilled" || way != Way::AToB {
            case.wait_equal(&mut scene).await;
        }
    }
}

/// What may have changed rows unseen, or has no place on the target, stops it once, with the statement that mends it.
async fn stops_with_the_statement(hint: &str, pair: Pair, way: Way) {
    let mut scene = with_tables(hint, pair, way, &STOPS).await;
    let target = scene.targets()[0];
    for case in &STOPS {
        // What it is now is compared with what the log has shown since the start.
        let change = format!("UPDATE {} SET n = n + 1", case.table);
        scene.exec(way.sources()[0], &change).await;
        scene.crossed().await;
        case.alter(&scene).await;
        let code = scene.lock.wait(LIMIT).await;
        let log = scene.lock.log();
        let (_, said) = log.rsplit_once("error: ").unwrap();
        assert_eq!(code, 1, "{}: {said}", case.table);
        for word in case.stops {
            assert!(said.contains(word), "{}: {word:?} is not in {said}", case.table);
        }
        let start = said.find(case.mend).unwrap();
        let (statement, _) = said[start..].split_once(';').unwrap();
        scene.exec(target, statement).await;
        scene.lock.ok(&["setup", "--execute"]).await;
        scene.run().await;
        case.wait_equal(&mut scene).await;
    }
    scene.assert_no_conflicts().await;
}

/// Rows of before and after an ALTER that were written while the link was away.
async fn altered_while_away(hint: &str, pair: Pair, way: Way) {
    let mut scene = with_tables(hint, pair, way, &GOES[..3]).await;
    let source = way.sources()[0];
    scene.stop().await;
    for case in &GOES[..3] {
        let rows = format!(
            "INSERT INTO {0} VALUES (7, 'before', 7); UPDATE {0} SET n = 8 WHERE id = 7",
            case.table
        );
        scene.exec(source, &rows).await;
        case.alter(&scene).await;
    }
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.run().await;
    for case in &GOES[..3] {
        case.wait_equal(&mut scene).await;
    }
    scene.assert_no_conflicts().await;
}

/// A new label of an enum: PostgreSQL's log does not say that there is one.
async fn label_added(hint: &str, pair: Pair, way: Way) {
    let table = Table {
        name: "mood",
        body: "",
        key: &["id"],
        columns: &["m"],
    };
    let mut scene = Scene::new(hint, pair, way, &[table]).await;
    scene
        .exec(
            Side::A,
            "CREATE TYPE m AS ENUM ('ok', 'sad'); CREATE TABLE mood (id int PRIMARY KEY, m m)",
        )
        .await;
    scene
        .exec(
            Side::B,
            "CREATE TABLE mood (id int PRIMARY KEY, m enum('ok','sad'))",
        )
        .await;
    scene.start().await;
    let source = way.sources()[0];
    scene.exec(source, "INSERT INTO mood VALUES (1, 'ok')").await;
    scene.wait_equal().await;
    let new = [
        (Side::A, "ALTER TYPE m ADD VALUE 'glad' BEFORE 'sad'"),
        (Side::B, "ALTER TABLE mood MODIFY m enum('ok','glad','sad')"),
    ];
    for (side, sql) in new {
        scene.exec(side, sql).await;
    }
    scene
        .exec(source, "INSERT INTO mood VALUES (2, 'glad'), (3, 'sad')")
        .await;
    scene.wait_equal().await;
    scene.assert_no_conflicts().await;
}

/// A name that goes to another table: what that one holds has passed by under another name.
async fn renamed_table(pair: Pair) {
    let tables = [ITEM, SEAT];
    let mut scene = Scene::new("renamed", pair, Way::BToA, &tables).await;
    scene.exec(Side::B, &rows(1, 3)).await;
    scene.start().await;
    scene.wait_equal().await;
    let swap = "CREATE TABLE _item_gho LIKE item; INSERT INTO _item_gho SELECT * FROM item;
        RENAME TABLE item TO _item_del, _item_gho TO item";
    scene.exec(Side::B, swap).await;
    scene.exec(Side::B, &rows(4, 4)).await;
    let code = scene.lock.wait(LIMIT).await;
    let log = scene.lock.log();
    let (_, said) = log.rsplit_once("error: ").unwrap();
    assert_eq!(code, 1, "{said}");
    for word in [
        "item",
        "_item_gho",
        "renamed",
        "online schema change",
        "tidelock skip",
        "new copy",
    ] {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
    assert_eq!(scene.a.count("item").await, 3);
    // At each start again, until it is decided.
    let again = scene.lock.run(&["run", "--once"]).await;
    assert!(
        again.code == 1 && again.stderr.contains("_item_gho"),
        "{}",
        again.stderr
    );
}

/// The command of a message that passes the transaction over.
async fn skip(scene: &Scene, said: &str) {
    let start = said.find("tidelock skip '").unwrap();
    let (command, _) = said[start..].split_once('`').unwrap();
    let words: Vec<&str> = command.split_whitespace().skip(1).collect();
    let words: Vec<&str> = words.iter().map(|word| word.trim_matches('\'')).collect();
    scene.lock.ok(&words).await;
}

/// MySQL, MariaDB: values of rows that were there are others, and the log has only the statement.
async fn values_changed(pair: Pair) {
    let mut scene = Scene::new("values", pair, Way::BToA, &[ITEM]).await;
    scene.exec(Side::B, &rows(1, 3)).await;
    scene.start().await;
    scene.wait_equal().await;
    // The checkpoint goes past the first statement.
    let gone = "ALTER TABLE item DROP COLUMN n; UPDATE item SET name = 'x' WHERE id = 3";
    scene.exec(Side::B, gone).await;
    scene.crossed().await;
    let again =
        "ALTER TABLE item ADD COLUMN n int NOT NULL DEFAULT 0 AFTER name; UPDATE item SET n = 7 WHERE id = 1";
    scene.exec(Side::B, again).await;
    let code = scene.lock.wait(LIMIT).await;
    let log = scene.lock.log();
    let (_, said) = log.rsplit_once("error: ").unwrap();
    assert_eq!(code, 1, "{said}");
    for word in ["item", "\"n\"", "in no log", "compare", "tidelock skip '"] {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
    assert_eq!(
        scene.a.one("SELECT n FROM item WHERE id = 1").await,
        "1",
        "a row behind it was applied"
    );
    // At each start again, until somebody has looked. The definition is what it was.
    let again = scene.lock.run(&["run", "--once"]).await;
    assert!(
        again.code == 1 && again.stderr.contains("in no log"),
        "{}",
        again.stderr
    );
    skip(&scene, &again.stderr).await;
    let checked = scene.lock.run(&["check"]).await;
    assert!(checked.stdout.contains("W441"), "{}", checked.stdout);
    scene.exec(Side::A, "UPDATE item SET n = 0").await;
    scene.run().await;
    scene.wait_equal().await;
}

/// What was judged by what the link had seen is behind its checkpoint, where a later start knows less.
async fn settles(pair: Pair) {
    let mut scene = Scene::new("settles", pair, Way::BToA, &[ITEM]).await;
    scene.start().await;
    scene.exec(Side::B, &rows(1, 3)).await;
    scene.wait_equal().await;
    let at = format!(
        "SELECT seq FROM tidelock.checkpoint WHERE sync = '{}'",
        scene.sync
    );
    let before = scene.a.one(&at).await;
    scene
        .exec(Side::A, "ALTER TABLE item ALTER COLUMN n TYPE bigint")
        .await;
    scene
        .exec(Side::B, "ALTER TABLE item MODIFY n bigint NOT NULL")
        .await;
    harness::eventually(LIMIT, "the checkpoint moves", async || {
        scene.a.one(&at).await != before
    })
    .await;
    scene.stop().await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.run().await;
    scene
        .exec(Side::B, "INSERT INTO item VALUES (9, 'i', 5000000000, NULL)")
        .await;
    scene.wait_equal().await;
    scene.assert_running();
}

/// What InnoDB does for a foreign key has no stamp, and on many servers is in no log: seen in the log, and by the look.
async fn cascade(pair: Pair) {
    let parent = Table {
        name: "parent",
        body: "id int NOT NULL PRIMARY KEY",
        key: &["id"],
        columns: &[],
    };
    let child = Table {
        name: "child",
        body: "id int NOT NULL PRIMARY KEY, p int NOT NULL, CONSTRAINT cfk FOREIGN KEY (p) REFERENCES parent (id)",
        key: &["id"],
        columns: &["p"],
    };
    let key = |action: &str| {
        format!(
            "ALTER TABLE child DROP FOREIGN KEY cfk;
             ALTER TABLE child ADD CONSTRAINT cfk FOREIGN KEY (p) REFERENCES parent (id) ON DELETE {action}"
        )
    };
    let mut scene = Scene::new("cascade", pair, Way::Merge, &[parent, child]).await;
    scene.start().await;
    scene
        .exec(
            Side::A,
            "INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (1, 1), (2, 2)",
        )
        .await;
    scene.wait_equal().await;
    // Unseen by the log.
    let unlogged = format!("SET SESSION sql_log_bin = 0; {}", key("CASCADE"));
    scene.b.as_dba(&unlogged).await;
    let code = scene.lock.wait(LIMIT).await;
    let log = scene.lock.log();
    let (_, said) = log.rsplit_once("error: ").unwrap();
    assert_eq!(code, 3, "{said}");
    for word in ["E305", "cfk", "; since 20", "compare", "child"] {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
    scene
        .b
        .as_dba(&format!("SET SESSION sql_log_bin = 0; {}", key("RESTRICT")))
        .await;
    scene.lock.ok(&["setup", "--execute"]).await;
    scene.run().await;
    scene.exec(Side::A, "INSERT INTO child VALUES (3, 1)").await;
    scene.wait_equal().await;
    // Logged, and mended before anybody looks.
    scene.stop().await;
    scene.exec(Side::B, &key("CASCADE")).await;
    scene.exec(Side::B, "DELETE FROM parent WHERE id = 2").await;
    scene.exec(Side::B, &key("RESTRICT")).await;
    let said = scene.lock.run(&["run", "--once"]).await;
    assert_eq!(said.code, 1, "{}", said.stderr);
    for word in [
        "child",
        "CASCADE",
        "E305",
        "since 20",
        "compare",
        "tidelock skip '",
    ] {
        assert!(said.stderr.contains(word), "{word:?} is not in {}", said.stderr);
    }
    assert_eq!(scene.a.count("parent").await, 2, "a row behind it was applied");
    skip(&scene, &said.stderr).await;
}
