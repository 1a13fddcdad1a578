//! `schema create` and `schema diff`: tables made from one engine's on another, there and back again.
#![allow(clippy::unwrap_used)]

mod harness;
#[path = "schema/shop.rs"]
mod shop;
#[path = "schema/texts.rs"]
mod texts;

use harness::{Db, Kind, Tidelock, database, equal, peer};
use serde_json::Value;

/// A one-way sync from the first node to the second.
fn configure(lock: &Tidelock, nodes: [(&str, &Db); 2], tables: &[&str], more: &str) {
    let [(source, a), (target, b)] = nodes;
    let tables: Vec<String> = tables.iter().map(|table| format!("\"{table}\"")).collect();
    lock.configure(&format!(
        "version = 1\n[node.{source}]\n{}\n[node.{target}]\n{}\n[[sync]]\nname = \"{}\"\nnodes = [\"{source}\", \
         \"{target}\"]\nmode = \"transactional\"\nfrom = \"{source}\"\nseed = \"from:{source}\"\ntables = [{}]\n{more}\n",
        a.node(),
        b.node(),
        a.name(),
        tables.join(", "),
    ));
}

async fn document(lock: &Tidelock, arguments: &[&str], code: i32) -> Value {
    let output = lock.run(&[arguments, &["--json"]].concat()).await;
    assert_eq!(output.code, code, "{}\n{}", output.stdout, output.stderr);
    serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{}", output.stderr))
}

/// Tables and foreign keys.
async fn create(lock: &Tidelock, on: &str) -> Value {
    document(
        lock,
        &["schema", "create", "--on", on, "--execute", "--after-copy"],
        0,
    )
    .await
}

/// `severity node kind: other-node table: what`
fn differences(document: &Value) -> Vec<String> {
    let word = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    let lines = document["differences"].as_array().unwrap().iter();
    let mut lines: Vec<String> = lines
        .map(|line| {
            let table = word(line, "table");
            let table = table.rsplit('.').next().unwrap();
            format!(
                "{} {} {}: {} {table}: {}",
                word(line, "severity"),
                word(line, "node"),
                word(line, "kind"),
                word(line, "with"),
                word(line, "what")
            )
        })
        .collect();
    lines.sort();
    lines
}

fn findings(document: &Value) -> Vec<String> {
    let tables = document["syncs"][0]["tables"].as_array().unwrap().iter();
    let all = tables.flat_map(|table| table["findings"].as_array().unwrap());
    all.map(|finding| {
        let text = |key: &str| finding[key].as_str().unwrap();
        let table = text("table").rsplit('.').next().unwrap();
        format!("{} {table}: {}", text("code"), text("what"))
    })
    .collect()
}

async fn two(kinds: [Kind; 2], hint: &str) -> [Db; 2] {
    let second = async {
        match kinds[0] == kinds[1] {
            true => peer(kinds[1], hint).await,
            false => database(kinds[1], hint).await,
        }
    };
    let (a, b) = tokio::join!(database(kinds[0], hint), second);
    let (a, b) = tokio::join!(a.with_accounts(), b.with_accounts());
    [a, b]
}

/// Rows through the tables that were made.
async fn carry(lock: &Tidelock, a: &Db, b: &Db, tables: &[shop::Columns]) {
    lock.ok(&["setup", "--execute"]).await;
    lock.ok(&["run", "--once"]).await;
    for (table, key, columns) in tables {
        assert!(a.count(table).await > 0, "{table} is empty");
        equal(a, b, table, key, columns).await;
    }
    lock.ok(&["teardown", "--execute"]).await;
}

#[tokio::test]
async fn postgres_to_mysql_and_back() {
    let [first, middle] = two([Kind::Postgres18, Kind::Mysql], "schemapg").await;
    let last = database(Kind::Postgres18, "schemapglast")
        .await
        .with_accounts()
        .await;
    first.exec(shop::POSTGRES).await;
    first.exec(shop::POSTGRES_ROWS).await;
    let lock = Tidelock::new("");
    configure(&lock, [("first", &first), ("middle", &middle)], &shop::TABLES, "");
    // A plan changes nothing.
    let plan = lock.run(&["schema", "create", "--on", "middle"]).await;
    assert_eq!(plan.code, 0, "{}", plan.stderr);
    assert!(
        plan.stdout.contains("CREATE TABLE") && plan.stderr.contains("nothing was changed"),
        "{}",
        plan.stdout
    );
    let made = create(&lock, "middle").await;
    assert_eq!(findings(&made), shop::TO_MYSQL);
    // Nothing is left to be made, and what is there is left alone.
    let again = create(&lock, "middle").await;
    let states = again["syncs"][0]["tables"].as_array().unwrap().iter();
    assert!(
        states.into_iter().all(|table| table["state"] == "exists"),
        "{again}"
    );
    assert_eq!(
        again["syncs"][0]["after_copy"].as_array().unwrap().len(),
        0,
        "{again}"
    );
    let differs = document(&lock, &["schema", "diff"], 0).await;
    assert_eq!(differences(&differs), [""; 0]);
    carry(&lock, &first, &middle, shop::ROWS).await;

    configure(&lock, [("middle", &middle), ("last", &last)], &shop::TABLES, "");
    let made = create(&lock, "last").await;
    assert_eq!(findings(&made), shop::BACK_TO_POSTGRES);
    configure(&lock, [("first", &first), ("last", &last)], &shop::TABLES, "");
    let differs = document(&lock, &["schema", "diff"], 4).await;
    assert_eq!(differences(&differs), shop::LOST_ON_THE_WAY);
    carry(&lock, &first, &last, shop::ROWS).await;
}

#[tokio::test]
async fn mysql_to_postgres_to_mariadb() {
    let [first, middle] = two([Kind::Mysql, Kind::Postgres15], "schemamy").await;
    let last = database(Kind::Mariadb, "schemamylast")
        .await
        .with_accounts()
        .await;
    first.exec(shop::MYSQL).await;
    first.exec(shop::MYSQL_ROWS).await;
    let lock = Tidelock::new("");
    configure(
        &lock,
        [("first", &first), ("middle", &middle)],
        &shop::MYSQL_TABLES,
        "",
    );
    let made = create(&lock, "middle").await;
    assert_eq!(findings(&made), shop::MYSQL_TO_POSTGRES);
    let differs = document(&lock, &["schema", "diff"], 0).await;
    assert_eq!(differences(&differs), [""; 0]);
    carry(&lock, &first, &middle, shop::MYSQL_CARRIED).await;

    configure(
        &lock,
        [("middle", &middle), ("last", &last)],
        &shop::MYSQL_TABLES,
        "",
    );
    let made = create(&lock, "last").await;
    assert_eq!(findings(&made), shop::POSTGRES_TO_MARIADB);
    configure(
        &lock,
        [("first", &first), ("last", &last)],
        &shop::MYSQL_TABLES,
        "",
    );
    let differs = document(&lock, &["schema", "diff"], 4).await;
    assert_eq!(differences(&differs), shop::LOST_ON_THE_WAY_TO_MARIADB);
}

/// Between servers of one engine nothing is lost.
async fn same_engine(kind: Kind, sql: &str, rows: &str, tables: &[&str], carried: &[shop::Columns]) {
    let [a, b] = two([kind, kind], "schemasame").await;
    a.exec(sql).await;
    a.exec(rows).await;
    let lock = Tidelock::new("");
    configure(&lock, [("a", &a), ("b", &b)], tables, "");
    let made = create(&lock, "b").await;
    assert_eq!(findings(&made), [""; 0]);
    let differs = document(&lock, &["schema", "diff"], 0).await;
    assert_eq!(differences(&differs), [""; 0]);
    if !kind.is_postgres() {
        let sql = "SELECT TABLE_NAME, COLUMN_NAME, COLLATION_NAME, COLUMN_TYPE, COLUMN_DEFAULT, EXTRA, COLUMN_COMMENT
                     FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1, ORDINAL_POSITION";
        assert_eq!(a.rows(sql).await, b.rows(sql).await);
    }
    carry(&lock, &a, &b, carried).await;
}

#[tokio::test]
async fn postgres_to_postgres() {
    let sql = format!("{}; {}", shop::POSTGRES, shop::POSTGRES_ONLY);
    let tables = [&shop::TABLES[..], &["measure"]].concat();
    let rows = format!(
        "{}; INSERT INTO measure VALUES (1, '2026-02-01', '[1,2)')",
        shop::POSTGRES_ROWS
    );
    same_engine(Kind::Postgres18, &sql, &rows, &tables, shop::ROWS).await;
}

#[tokio::test]
async fn mysql_to_mysql() {
    same_engine(
        Kind::Mysql,
        shop::MYSQL,
        shop::MYSQL_ROWS,
        &shop::MYSQL_TABLES,
        shop::MYSQL_CARRIED,
    )
    .await;
}

#[tokio::test]
async fn mariadb_to_mariadb() {
    // It logs no cascades, so `check` refuses them.
    let sql = shop::MYSQL
        .replace("utf8mb4_0900_ai_ci", "utf8mb4_general_ci")
        .replace(" ON UPDATE CASCADE", "")
        .replace(" ON DELETE CASCADE", "");
    same_engine(
        Kind::Mariadb,
        &sql,
        shop::MYSQL_ROWS,
        &shop::MYSQL_TABLES,
        shop::MYSQL_CARRIED,
    )
    .await;
}

#[tokio::test]
async fn a_diff_names_what_each_side_lacks() {
    let [a, b] = two([Kind::Postgres18, Kind::Mysql], "schemadiff").await;
    a.exec(
        "CREATE TABLE parent (id int PRIMARY KEY); COMMENT ON TABLE parent IS 'theirs'; \
         CREATE TABLE item (id int PRIMARY KEY, code varchar(9) NOT NULL UNIQUE, qty int DEFAULT 7 CHECK (qty > 0), \
         extra int, parent int REFERENCES parent)",
    )
    .await;
    b.exec(
        "CREATE TABLE parent (id int PRIMARY KEY); \
         CREATE TABLE item (id int PRIMARY KEY, code varchar(9), qty bigint, parent int, KEY of_qty (qty))",
    )
    .await;
    let lock = Tidelock::new("");
    configure(&lock, [("a", &a), ("b", &b)], &["parent", "item"], "");
    let differs = document(&lock, &["schema", "diff"], 4).await;
    assert_eq!(
        differences(&differs),
        [
            "blocks b column: a item: column extra is missing",
            "cosmetic a index: b item: no index on (qty)",
            "cosmetic b comment: a parent: the table's comment differs",
            "cosmetic b default: a item: column qty has no DEFAULT 7",
            "cosmetic b type: a item: column qty is bigint, and made from the other side it would be int",
            "refuses b check: a item: no CHECK ((`qty` > 0))",
            "refuses b foreign_key: a item: no foreign key (parent) to X.parent",
            "refuses b not_null: a item: column code takes NULL, and the other side does not",
            "refuses b unique: a item: no unique index on (code)",
        ]
        .map(|line| line.replace("X.", &format!("{}.", b.name())))
    );
    // Its statements mend it.
    for line in differs["differences"].as_array().unwrap() {
        let fix = line["fix"].as_str().unwrap();
        let node = if line["node"] == "a" { &a } else { &b };
        node.try_exec(fix)
            .await
            .unwrap_or_else(|error| panic!("{fix}: {error}"));
    }
    let differs = document(&lock, &["schema", "diff"], 0).await;
    assert_eq!(differences(&differs), [""; 0]);
}

#[tokio::test]
async fn names_and_skipped_columns_of_the_mapping_hold() {
    let [a, b] = two([Kind::Postgres18, Kind::Mysql], "schemamap").await;
    a.exec(
        "CREATE TABLE item (id int PRIMARY KEY, name varchar(20), secret int CHECK (secret > 0), qty int CHECK (qty > 0)); \
         CREATE INDEX by_name ON item (name); CREATE INDEX by_secret ON item (secret)",
    )
    .await;
    let lock = Tidelock::new("");
    let more = "[sync.table.item]\nnames = { b = \"goods\" }\ncolumn.name = { b = \"title\" }\ncolumn.secret = { skip = true }";
    configure(&lock, [("a", &a), ("b", &b)], &["item"], more);
    let made = create(&lock, "b").await;
    assert_eq!(
        findings(&made),
        [
            "W701 goods: left out: index by_secret: column secret is not there",
            "W701 goods: left out: check item_secret_check ((secret > 0)): MySQL has no like of it, or a column of it is \
             not there",
        ]
    );
    b.exec("INSERT INTO goods (id, title, qty) VALUES (1, 'x', 1)")
        .await;
    assert!(
        b.try_exec("INSERT INTO goods (id, title, qty) VALUES (2, 'x', 0)")
            .await
            .is_err()
    );
    let differs = document(&lock, &["schema", "diff"], 0).await;
    assert_eq!(differences(&differs), [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_made_is_said() {
    let [a, b] = two([Kind::Mysql, Kind::Postgres18], "schemabad").await;
    a.exec("CREATE TABLE fine (id int PRIMARY KEY, spot point, n int, CONSTRAINT loose CHECK (n > 0) NOT ENFORCED)")
        .await;
    let lock = Tidelock::new("");
    configure(&lock, [("a", &a), ("b", &b)], &["fine", "nowhere"], "");
    let made = document(&lock, &["schema", "create", "--on", "b", "--execute"], 3).await;
    assert_eq!(
        findings(&made),
        [
            "W701 fine: left out: column spot: PostgreSQL has no type for point",
            "W701 fine: left out: check loose ((`n` > 0)), which is NOT ENFORCED",
            "E302 nowhere: no node that it could be made from has the table",
        ]
    );
    assert_eq!(b.count("fine").await, 0, "the table that can be made is there");
    for (arguments, words) in [
        (
            vec!["schema", "create", "--on", "elsewhere"],
            "no chosen sync has such a node",
        ),
        (
            vec!["schema", "create", "--on", "b", "--from", "b"],
            "no such node beside b",
        ),
    ] {
        let output = lock.run(&arguments).await;
        assert_eq!(output.code, 1, "{}", output.stderr);
        assert!(output.stderr.contains(words), "{}", output.stderr);
    }
}

/// Without the right to create anything: what failed, on what, and how to go on.
#[tokio::test]
async fn an_account_without_rights_is_told_what_failed() {
    for kinds in [[Kind::Mysql, Kind::Postgres18], [Kind::Postgres18, Kind::Mysql]] {
        let [a, b] = two(kinds, "schemarights").await;
        a.exec("CREATE TABLE item (id int PRIMARY KEY)").await;
        let lock = Tidelock::new("");
        configure(&lock, [("a", &a), ("b", &b)], &["item"], "");
        if !b.kind().is_postgres() {
            b.as_dba(&format!("GRANT SELECT ON {}.* TO {}", b.name(), b.run_account()))
                .await;
        }
        let config = std::fs::read_to_string(lock.config_path()).unwrap();
        lock.configure(&config.replace(&b.owner_url(), &b.run_url()));
        let output = lock.run(&["schema", "create", "--on", "b", "--execute"]).await;
        assert_eq!(output.code, 1, "{}", output.stderr);
        for words in [
            "make table",
            "item",
            "CREATE TABLE",
            "nothing is made so far",
            "run the same command again",
        ] {
            assert!(
                output.stderr.contains(words),
                "{words:?} is not in {}",
                output.stderr
            );
        }
    }
}
