//! A schema that means harm: reserved words, quotes of every kind, backslashes, dots, blanks, comments, letters beyond
//! ASCII, names at their limit and names of our own making, in schemas, tables, columns, keys and values.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use std::time::Duration;

use harness::{Db, Kind};
use scenario::{LIMIT, Pair, Scene, Side, Way};

all_pairs! {
    merge => |pair| hostile(pair, Way::Merge);
    to_b => |pair| hostile(pair, Way::AToB);
    to_a => |pair| hostile(pair, Way::BToA);
}

/// Values and keys. MySQL's ordinary text keys take `a` and `a ` for one, so no key ends in a blank.
const TEXTS: [&str; 18] = [
    "",
    "'; DROP TABLE \"order\"; --",
    "\\",
    "\\'",
    "\\N",
    "\\x41",
    "a\"b`c'd",
    "𝒳🌊é\u{200d}日本",
    "NULL",
    "{\"a\",NULL}",
    "$1 ? :x %s $$ ${a} $tidelock$",
    "line\nbreak\ttab\rreturn",
    "x'00'",
    " lead",
    "/* c */ -- d # e",
    "\u{feff}bom",
    "%_",
    "0",
];

/// Columns beside the key. `v o c0 t x` are what our own statements call things.
const COLUMNS: [&str; 9] = [
    "group by",
    "q\"u'o`t\\e",
    "per%cent $1 ? $$",
    "--/*",
    "v",
    "o",
    "c0",
    "x",
    "dotted.Name é日",
];
const KEY: [&str; 2] = ["order", "s'e\"l`ect"];

struct Hostile {
    schema: String,
    tables: Vec<String>,
    columns: Vec<String>,
}

impl Hostile {
    fn new(pair: Pair, unique: &str) -> Self {
        let postgres = pair.0.is_postgres() || pair.1.is_postgres();
        let only_postgres = pair.0.is_postgres() && pair.1.is_postgres();
        let mut tables: Vec<String> = [
            "select",
            "q\"u'o`t\\e",
            "a.b. c",
            "MixedCase",
            "mixedcase",
            "per%cent $$ -- /* # ; ? $1",
            "tidelock",
            "ünï 日本",
        ]
        .map(str::to_owned)
        .to_vec();
        // PostgreSQL counts 63 bytes, MySQL 64 characters, none beyond the basic plane.
        tables.push("n".repeat(63));
        tables.push(if postgres {
            "é".repeat(31)
        } else {
            "é".repeat(64)
        });
        let mut columns = COLUMNS.map(str::to_owned).to_vec();
        columns.push(if postgres {
            "ö".repeat(31)
        } else {
            "ö".repeat(64)
        });
        if only_postgres {
            tables.extend(["🌊 \u{1f600}", "blank at end "].map(str::to_owned));
            // MySQL takes these for one.
            columns.extend(["Mixed", "mixed"].map(str::to_owned));
        }
        Self {
            schema: format!("s.c h'e\"m`a$$ % {unique}"),
            tables,
            columns,
        }
    }

    fn all_columns(&self) -> Vec<&str> {
        KEY.into_iter()
            .chain(self.columns.iter().map(String::as_str))
            .collect()
    }

    fn name(&self, kind: Kind, table: &str) -> String {
        format!("{}.{}", quote(kind, &self.schema), quote(kind, table))
    }

    /// The schema, and on MySQL what a DBA does for the owner: a database is not made by just anybody.
    async fn create(&self, db: &Db) {
        let kind = db.kind();
        let schema = quote(kind, &self.schema);
        if kind.is_postgres() {
            db.exec(&format!("CREATE SCHEMA {schema}")).await;
        } else {
            let owner = db.one("SELECT substring_index(current_user(), '@', 1)").await;
            let mut admin = db.admin().await;
            admin.exec(&format!("CREATE DATABASE {schema}")).await;
            admin
                .exec(&format!("GRANT ALL ON {schema}.* TO {owner} WITH GRANT OPTION"))
                .await;
        }
        let text = match kind.is_postgres() {
            true => "text",
            false => "varchar(99) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        };
        let key = KEY.map(|name| quote(kind, name));
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|name| format!("{} {text}", quote(kind, name)))
            .collect();
        for table in &self.tables {
            db.exec(&format!(
                "CREATE TABLE {} ({} int NOT NULL, {} {text} NOT NULL, {}, PRIMARY KEY ({}))",
                self.name(kind, table),
                key[0],
                key[1],
                columns.join(", "),
                key.join(", ")
            ))
            .await;
        }
    }

    async fn remove(&self, db: &Db) {
        if !db.kind().is_postgres() {
            let schema = quote(db.kind(), &self.schema);
            db.admin().await.exec(&format!("DROP DATABASE {schema}")).await;
        }
    }

    /// A row per text, with the other texts in its cells.
    async fn insert(&self, db: &Db, number: usize) {
        let kind = db.kind();
        let names: Vec<String> = self
            .all_columns()
            .into_iter()
            .map(|name| quote(kind, name))
            .collect();
        let rows = (0..TEXTS.len()).map(|n| {
            let cells = (0..self.columns.len()).map(|c| literal(kind, TEXTS[(n + c) % TEXTS.len()]));
            let cells: Vec<String> = cells.collect();
            format!("({number}, {}, {})", literal(kind, TEXTS[n]), cells.join(", "))
        });
        let rows: Vec<String> = rows.collect();
        for table in &self.tables {
            let sql = format!(
                "INSERT INTO {} ({}) VALUES {}",
                self.name(kind, table),
                names.join(", "),
                rows.join(", ")
            );
            db.exec(&sql).await;
        }
    }

    /// Every way to change a row, a statement per table and text: each finds its row by the hostile key.
    async fn change(&self, db: &Db, number: usize) {
        let kind = db.kind();
        let key = KEY.map(|name| quote(kind, name));
        let column = |n: usize| quote(kind, &self.columns[n % self.columns.len()]);
        for table in &self.tables {
            let table = self.name(kind, table);
            let mut session = db.session().await;
            session.exec("BEGIN").await;
            for (n, text) in TEXTS.iter().enumerate() {
                let here = format!("{} = {number} AND {} = {}", key[0], key[1], literal(kind, text));
                let sql = match n % 4 {
                    0 => format!("DELETE FROM {table} WHERE {here}"),
                    1 => format!(
                        "UPDATE {table} SET {} = {}, {} = NULL WHERE {here}",
                        column(n),
                        literal(kind, TEXTS[n - 1]),
                        column(n + 1)
                    ),
                    2 => format!(
                        "UPDATE {table} SET {} = concat({}, '-moved') WHERE {here}",
                        key[1], key[1]
                    ),
                    _ => continue,
                };
                session.exec(&sql).await;
            }
            session.exec("COMMIT").await;
        }
    }

    /// The first table that differs, and where; stamps count.
    async fn difference(&self, scene: &Scene) -> Option<String> {
        let mut wanted = self.all_columns();
        if scene.way == Way::Merge {
            wanted.extend(["tidelock_version", "tidelock_origin"]);
        }
        for table in &self.tables {
            let mut sides = Vec::new();
            for side in [Side::A, Side::B] {
                let db = scene.db(side);
                let names: Vec<String> = wanted.iter().map(|name| quote(db.kind(), name)).collect();
                let sql = format!("SELECT {} FROM {}", names.join(", "), self.name(db.kind(), table));
                let mut rows = db.rows(&sql).await;
                rows.sort();
                sides.push(rows);
            }
            assert!(!sides[0].is_empty() || !sides[1].is_empty(), "{table} is empty");
            if sides[0] != sides[1] {
                let at = sides[0].iter().zip(&sides[1]).position(|(a, b)| a != b);
                let rows = at.map(|at| (&sides[0][at], &sides[1][at]));
                return Some(format!(
                    "{table}: {}/{} rows: {rows:?}",
                    sides[0].len(),
                    sides[1].len()
                ));
            }
        }
        None
    }

    async fn equal(&self, scene: &mut Scene) {
        scene.crossed().await;
        let limit = tokio::time::Instant::now() + LIMIT;
        while let Some(difference) = self.difference(scene).await {
            scene.assert_running();
            assert!(tokio::time::Instant::now() < limit, "not equal: {difference}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn quote(kind: Kind, name: &str) -> String {
    match kind.is_postgres() {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => format!("`{}`", name.replace('`', "``")),
    }
}

fn literal(kind: Kind, text: &str) -> String {
    let text = text.replace('\'', "''");
    match kind.is_postgres() {
        true => format!("'{text}'"),
        false => format!("'{}'", text.replace('\\', "\\\\")),
    }
}

async fn hostile(pair: Pair, way: Way) {
    let mut scene = Scene::new("hostile", pair, way, &[]).await;
    let unique = scene.sync.replace("hostile", "");
    let hostile = Hostile::new(pair, &unique);
    // The longest name a sync may have.
    scene.sync = format!("{unique:-<32}").trim_start_matches('_').to_owned();
    scene.sync = format!("{:-<32}", scene.sync);
    for side in [Side::A, Side::B] {
        hostile.create(scene.db(side)).await;
    }
    let pattern = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    scene.more_tables = hostile
        .tables
        .iter()
        .map(|table| format!("{}.{}", pattern(&hostile.schema), pattern(table)))
        .collect();
    let seeder = way.sources()[0];
    scene.configure(if seeder == Side::A { "from:a" } else { "from:b" }, "");
    hostile.insert(scene.db(seeder), 0).await;
    scene.start().await;
    hostile.equal(&mut scene).await;
    for (number, side) in [(1, Side::A), (2, Side::B)] {
        if way.sources().contains(&side) {
            hostile.insert(scene.db(side), number).await;
            hostile.change(scene.db(side), number).await;
        }
    }
    let last = *way.sources().last().unwrap();
    hostile.change(scene.db(last), 0).await;
    hostile.equal(&mut scene).await;
    scene.assert_no_conflicts().await;
    if way == Way::Merge {
        contested(&mut scene, &hostile).await;
    }
    scene.lock.ok(&["check"]).await;
    scene.lock.ok(&["status"]).await;
    scene.stop().await;
    scene.lock.ok(&["teardown", "--execute"]).await;
    for side in [Side::A, Side::B] {
        hostile.remove(scene.db(side)).await;
    }
}

/// Both sides change what both have, under every name and key.
async fn contested(scene: &mut Scene, hostile: &Hostile) {
    scene.stop().await;
    for (side, word) in [(Side::A, "of 'a"), (Side::B, "of \"b")] {
        let db = scene.db(side);
        let kind = db.kind();
        for table in &hostile.tables {
            let (column, key) = (quote(kind, &hostile.columns[1]), quote(kind, KEY[0]));
            let word = literal(kind, word);
            db.exec(&format!(
                "UPDATE {} SET {column} = {word} WHERE {key} = 1",
                hostile.name(kind, table)
            ))
            .await;
        }
    }
    scene.run().await;
    hostile.equal(scene).await;
    for side in [Side::A, Side::B] {
        let found = scene.conflicts(side).await;
        for table in &hostile.tables {
            let of = found.iter().filter(|conflict| conflict.table == *table);
            // Of the rows of number 1 those at every fourth place were deleted.
            let expected = TEXTS.len() - TEXTS.len().div_ceil(4);
            assert_eq!(of.count(), expected, "conflicts of {table:?} on {side:?}");
        }
    }
    let list = scene.lock.ok(&["conflicts", "list", "--json"]).await;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert!(!list["conflicts"].as_array().unwrap().is_empty(), "{list}");
    scene.lock.ok(&["conflicts", "list"]).await;
}
