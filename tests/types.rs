//! Every ordinary type of both engines, through the first copy and through the stream, in both directions.
//!
//! What a literal means is not written down here: it is put into a reference table on the other server by that
//! server's own hand, and what came across must read the same there.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use std::collections::{BTreeMap, BTreeSet};

use harness::{Db, eventually};
use scenario::cases::{Case, POSTGRES_TYPES, cases};
use scenario::{ITEM, LIMIT, Pair, Scene, Side, Table, Way};

pairs! {
    copied_from_postgres => |pair| types("types_a", pair, Side::A);
    copied_from_mysql => |pair| types("types_b", pair, Side::B);
}

/// Between two servers of one kind, types known only as text are keys where equal values have one text.
const KEYED: Table = Table {
    name: "keyed",
    body: "",
    key: &["id"],
    columns: &["word"],
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_arrays_and_ranges_are_keys() {
    let table = "CREATE TABLE keyed (ip inet, tags text[], span int4range, id int NOT NULL, word varchar(60) NOT NULL,
                                     PRIMARY KEY (ip, tags, span))";
    let rows = [
        "'10.0.0.1/32', '{}', '[1,5]'",
        "'10.0.0.1/8', '{\"a b\",NULL,\"\"}', 'empty'",
        "'::ffff:1.2.3.4', '[0:1]={x,\"{y}\"}', '(,3)'",
    ];
    keys(scenario::POSTGRES, table, "ip, tags, span", &rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_of_mariadb_are_keys() {
    let table = "CREATE TABLE keyed (ip inet6, four inet4, id int NOT NULL, word varchar(60) NOT NULL,
                                     PRIMARY KEY (ip, four))";
    let rows = [
        "'::1', '0.0.0.0'",
        "'2001:DB8:0::ff', '10.0.0.1'",
        "'::ffff:1.2.3.4', '255.255.255.255'",
    ];
    keys(scenario::MARIADB, table, "ip, four", &rows).await;
}

/// A type that was made on one server only is named with what to make; another type in its place is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_that_the_other_server_lacks_are_told() {
    let scene = Scene::new("lacking", scenario::POSTGRES, Way::AToB, &[KEYED]).await;
    let types = "CREATE TYPE mood AS ENUM ('low', 'high'); CREATE TYPE place AS (x int, y int)";
    let keyed = "CREATE TABLE keyed (id int PRIMARY KEY, word varchar(60), m mood, p place)";
    scene.exec(Side::A, &format!("{types}; {keyed}")).await;
    scene
        .exec(
            Side::B,
            "CREATE TABLE keyed (id int PRIMARY KEY, word varchar(60), p text)",
        )
        .await;
    let check = scene.lock.run(&["check"]).await.stdout;
    for words in [
        "E504",
        "public.mood",
        "CREATE TYPE, CREATE EXTENSION",
        "E507",
        "public.place /* x integer, y integer */ does not go into text",
    ] {
        assert!(check.contains(words), "{words} is not in {check}");
    }
    // Its text would be read field by field.
    let swapped = "ALTER TABLE keyed DROP COLUMN p; CREATE TYPE place AS (y int, x int); ALTER TABLE keyed ADD COLUMN p place[]";
    scene.exec(Side::B, swapped).await;
    scene
        .exec(
            Side::A,
            "ALTER TABLE keyed ALTER COLUMN p TYPE place[] USING NULL",
        )
        .await;
    let check = scene.lock.run(&["check"]).await.stdout;
    for words in [
        "E507",
        "x integer, y integer",
        "y integer, x integer",
        "declared alike",
    ] {
        assert!(check.contains(words), "{words} is not in {check}");
    }
    let mend = "ALTER TABLE keyed DROP COLUMN p; DROP TYPE place; CREATE TYPE mood AS ENUM ('low', 'high'); CREATE TYPE place AS (x int, y int);
                ALTER TABLE keyed ADD COLUMN m mood, ADD COLUMN p place[]";
    scene.exec(Side::B, mend).await;
    let check = scene.lock.run(&["check"]).await.stdout;
    assert!(!check.contains("E504") && !check.contains("E507"), "{check}");
}

/// Copied, written, changed, deleted, moved and contested by its key.
async fn keys(pair: Pair, table: &str, key: &str, rows: &[&str]) {
    let mut scene = Scene::new("keyed", pair, Way::Merge, &[KEYED]).await;
    for side in [Side::A, Side::B] {
        run(scene.db(side), &[table.to_owned()]).await;
    }
    let insert = |row: &str, id: usize, word: &str| {
        format!("INSERT INTO keyed ({key}, id, word) VALUES ({row}, {id}, '{word}')")
    };
    run(&scene.a, &[insert(rows[0], 0, "copied")]).await;
    scene.start().await;
    for (id, row) in rows.iter().enumerate().skip(1) {
        run(&scene.a, &[insert(row, id, "streamed")]).await;
    }
    scene.wait_equal().await;
    run(
        &scene.b,
        &["UPDATE keyed SET word = 'changed' WHERE id <> 1".to_owned()],
    )
    .await;
    scene.wait_equal().await;
    run(&scene.b, &["DELETE FROM keyed WHERE id = 0".to_owned()]).await;
    scene.wait_equal().await;
    scene.stop().await;
    run(&scene.a, &[insert(rows[0], 7, "of a")]).await;
    run(&scene.b, &[insert(rows[0], 7, "of b")]).await;
    scene.run().await;
    scene.wait_equal().await;
    assert_eq!(scene.a.count("keyed").await, i64::try_from(rows.len()).unwrap());
    let found = scene.conflicts(Side::B).await;
    assert!(
        found.iter().any(|conflict| conflict.kind == "insert_exists"),
        "{found:?}"
    );
    scene.stop().await;
}

/// Ids of a node's rows: by the way they take. The refused ones come last.
const COPIED: usize = 100;
const INSERTED: usize = 200;
const UPDATED: usize = 300;
const REFUSED_COPY: usize = 500;
const REFUSED_INSERT: usize = 600;
const REFUSED_UPDATE: usize = 700;
const OF_B: usize = 1_000;

struct Column {
    case: Case,
    table: Table,
}

impl Column {
    fn name(&self) -> &'static str {
        self.table.name
    }

    fn values(&self, side: Side) -> Vec<&'static str> {
        self.case
            .values
            .iter()
            .map(|value| if side == Side::A { value.0 } else { value.1 })
            .collect()
    }

    /// What this side holds and the other cannot.
    fn refused(&self, side: Side) -> &'static [&'static str] {
        if side == Side::A {
            self.case.refused_by_mysql
        } else {
            self.case.refused_by_postgres
        }
    }

    fn declared(&self, side: Side) -> &'static str {
        if side == Side::A {
            self.case.postgres
        } else {
            self.case.mysql
        }
    }
}

async fn types(hint: &str, pair: Pair, seeder: Side) {
    let columns: Vec<Column> = cases(pair.1)
        .into_iter()
        .enumerate()
        .map(|(n, case)| Column {
            case,
            table: table(n),
        })
        .collect();
    let tables: Vec<Table> = columns.iter().map(|column| column.table).chain([ITEM]).collect();
    let mut scene = Scene::new(hint, pair, Way::Merge, &tables).await;
    scene.configure(if seeder == Side::A { "from:a" } else { "from:b" }, "");
    scene.exec(Side::A, POSTGRES_TYPES).await;
    for side in [Side::A, Side::B] {
        let create = |column: &Column| {
            let (name, declared) = (column.name(), column.declared(side));
            format!(
                "CREATE TABLE {name} (id int NOT NULL PRIMARY KEY, v {declared}); CREATE TABLE ref_{name} (id int NOT NULL PRIMARY KEY, v {declared})"
            )
        };
        run(scene.db(side), &columns.iter().map(create).collect::<Vec<_>>()).await;
    }
    run(scene.db(seeder), &copied(&columns, seeder)).await;
    scene.start().await;
    for side in [Side::A, Side::B] {
        run(scene.db(side), &streamed(&columns, side)).await;
        let from = offset(side);
        scene
            .exec(
                side,
                &format!("INSERT INTO item VALUES ({from}, 'behind everything', 1, NULL)"),
            )
            .await;
    }
    for side in [Side::A, Side::B] {
        eventually(LIMIT, &format!("what {side:?} wrote last"), async || {
            scene.assert_running();
            scene
                .db(side.other())
                .count(&format!("item WHERE id = {}", offset(side)))
                .await
                == 1
        })
        .await;
    }
    let mut wrong = vec![];
    for side in [Side::A, Side::B] {
        run(scene.db(side.other()), &reference(&columns, side, side == seeder)).await;
        for column in &columns {
            wrong.extend(differences(&scene, column, side, side == seeder).await);
        }
        wrong.extend(refusals(&scene, &columns, side, side == seeder).await);
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    heal(&mut scene, &columns).await;
}

fn table(number: usize) -> Table {
    Table {
        name: Box::leak(format!("t{number:02}").into_boxed_str()),
        body: "",
        key: &["id"],
        columns: &["v"],
    }
}

fn offset(side: Side) -> usize {
    if side == Side::A { 0 } else { OF_B }
}

/// One by one, with the lax rules under which odd values came to be.
async fn run(db: &Db, statements: &[String]) {
    let mut session = db.session().await;
    if !db.kind().is_postgres() {
        session
            .exec("SET sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'")
            .await;
    }
    for statement in statements {
        session.exec(statement).await;
    }
}

fn insert(table: &str, id: usize, literal: &str) -> String {
    format!("INSERT INTO {table} (id, v) VALUES ({id}, {literal})")
}

/// Rows of the first copy. `NULL` is a value of every type.
fn copied(columns: &[Column], side: Side) -> Vec<String> {
    let mut list = vec![];
    for column in columns {
        let rows = with_null(column, side);
        list.extend(
            rows.iter()
                .enumerate()
                .map(|(n, literal)| insert(column.name(), offset(side) + COPIED + n, literal)),
        );
        let refused = column.refused(side).iter().enumerate();
        list.extend(
            refused.map(|(n, literal)| insert(column.name(), offset(side) + REFUSED_COPY + n, literal)),
        );
    }
    list
}

fn with_null(column: &Column, side: Side) -> Vec<&'static str> {
    column.values(side).into_iter().chain(["NULL"]).collect()
}

/// The same by inserts and by updates, and the refused ones with rows beside them in their transactions.
fn streamed(columns: &[Column], side: Side) -> Vec<String> {
    let mut list = vec![];
    let from = offset(side);
    for (number, column) in columns.iter().enumerate() {
        let name = column.name();
        let first = column.values(side)[0];
        for (n, literal) in with_null(column, side).iter().enumerate() {
            list.push(insert(name, from + INSERTED + n, literal));
            let before = if *literal == "NULL" { first } else { "NULL" };
            list.push(insert(name, from + UPDATED + n, before));
            list.push(format!(
                "UPDATE {name} SET v = {literal} WHERE id = {}",
                from + UPDATED + n
            ));
        }
        for (n, literal) in column.refused(side).iter().enumerate() {
            list.push(insert(name, from + REFUSED_UPDATE + n, first));
            let beside = from + 10_000 + number * 20 + n;
            list.push("BEGIN".to_owned());
            list.push(format!("INSERT INTO item VALUES ({beside}, 'beside', 1, NULL)"));
            list.push(insert(name, from + REFUSED_INSERT + n, literal));
            list.push(format!(
                "UPDATE {name} SET v = {literal} WHERE id = {}",
                from + REFUSED_UPDATE + n
            ));
            list.push("COMMIT".to_owned());
        }
    }
    list
}

/// What must have come from `side`, in the words of the side it came to: id and literal of each row.
fn arrivals(column: &Column, side: Side, copied: bool) -> Vec<(usize, &'static str)> {
    let ways = if copied {
        [COPIED, INSERTED, UPDATED].as_slice()
    } else {
        &[INSERTED, UPDATED]
    };
    let literals = with_null(column, side.other());
    let mut list: Vec<_> = ways
        .iter()
        .flat_map(|way| {
            literals
                .iter()
                .enumerate()
                .map(move |(n, literal)| (offset(side) + way + n, *literal))
        })
        .collect();
    // A row whose update was refused stays as it was.
    let first = column.values(side.other())[0];
    list.extend((0..column.refused(side).len()).map(|n| (offset(side) + REFUSED_UPDATE + n, first)));
    list
}

fn reference(columns: &[Column], side: Side, copied: bool) -> Vec<String> {
    let rows = |column: &Column| {
        let name = format!("ref_{}", column.name());
        arrivals(column, side, copied)
            .into_iter()
            .map(move |(id, literal)| insert(&name, id, literal))
            .collect::<Vec<_>>()
    };
    columns.iter().flat_map(rows).collect()
}

/// What came from `side` against the reference, as the other server prints both.
async fn differences(scene: &Scene, column: &Column, side: Side, copied: bool) -> Vec<String> {
    let db = scene.db(side.other());
    let expected = content(db, &format!("ref_{}", column.name()), column, side).await;
    let found = content(db, column.name(), column, side).await;
    let ids: BTreeSet<usize> = expected.keys().chain(found.keys()).copied().collect();
    assert_eq!(expected.len(), arrivals(column, side, copied).len());
    let types = format!(
        "{} {} -> {} ({side:?})",
        column.name(),
        column.declared(side),
        column.declared(side.other())
    );
    ids.into_iter()
        .filter(|id| expected.get(id) != found.get(id))
        .map(|id| {
            format!(
                "{types} row {id}: expected {:.200?}, found {:.200?}",
                expected.get(&id),
                found.get(&id)
            )
        })
        .collect()
}

async fn content(db: &Db, table: &str, column: &Column, from: Side) -> BTreeMap<usize, Option<String>> {
    let is_float = column.declared(from.other()).starts_with("float");
    // Printed as it is, MySQL's FLOAT is rounded to six digits.
    let cell = if is_float { "v + 0e0" } else { "v" };
    let (low, high) = (offset(from), offset(from) + OF_B);
    let rows = db
        .rows(&format!(
            "SELECT id, {cell} FROM {table} WHERE id >= {low} AND id < {high}"
        ))
        .await;
    let is_json = column.case.postgres.starts_with("json");
    rows.into_iter()
        .map(|mut row| {
            let cell = row
                .remove(1)
                .map(|text| if is_json { compact(&text) } else { text });
            (row.remove(0).unwrap().parse().unwrap(), cell)
        })
        .collect()
}

/// Blanks outside of strings and the order of keys have no meaning. Numbers stay as they are written.
fn compact(text: &str) -> String {
    let (mut out, mut quoted, mut escaped) = (String::new(), false, false);
    for c in text.chars() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ' ' if !quoted => continue,
            _ => {}
        }
        escaped = quoted && c == '\\' && !escaped;
        out.push(c);
    }
    let mut letters: Vec<char> = out.chars().collect();
    letters.sort_unstable();
    letters.into_iter().collect()
}

/// Each refused value is on record on the side that refused it, and open.
async fn refusals(scene: &Scene, columns: &[Column], side: Side, copied: bool) -> Vec<String> {
    let mut expected = BTreeSet::new();
    for column in columns {
        for n in 0..column.refused(side).len() {
            let ways = [REFUSED_INSERT, REFUSED_UPDATE]
                .into_iter()
                .chain(copied.then_some(REFUSED_COPY));
            expected.extend(ways.map(|way| (column.name().to_owned(), (offset(side) + way + n) as i64)));
        }
    }
    let mut wrong = vec![];
    let mut found = BTreeSet::new();
    for conflict in scene.conflicts(side.other()).await {
        let key = conflict.key[0].as_i64().unwrap_or(-1);
        if conflict.kind != "value_refused"
            || conflict.outcome != "open"
            || !conflict.detail.contains("column")
        {
            wrong.push(format!("conflict on {:?}: {conflict:?}", side.other()));
        }
        found.insert((conflict.table, key));
    }
    let literal = |(table, id): &(String, i64)| {
        let column = columns.iter().find(|column| column.name() == table);
        column.and_then(|column| column.refused(side).get(*id as usize % 100).copied())
    };
    let missing = expected
        .difference(&found)
        .map(|row| format!("{row:?} was not refused: {:?}", literal(row)));
    wrong.extend(missing);
    wrong.extend(
        found
            .difference(&expected)
            .map(|row| format!("{row:?} from {side:?} was refused")),
    );
    let count: usize = columns.iter().map(|column| column.refused(side).len()).sum();
    let beside = scene
        .db(side.other())
        .count(&format!(
            "item WHERE name = 'beside' AND id >= {0} AND id < {0} + 15000",
            offset(side) + 10_000
        ))
        .await;
    if beside < count as i64 {
        wrong.push(format!(
            "{beside} of {count} rows beside refused ones came from {side:?}"
        ));
    }
    wrong
}

/// A value that can be carried, written over one that could not, brings the row across after all.
async fn heal(scene: &mut Scene, columns: &[Column]) {
    for side in [Side::A, Side::B] {
        for column in columns {
            let good = column.values(side)[0];
            for way in [REFUSED_COPY, REFUSED_INSERT, REFUSED_UPDATE] {
                let from = offset(side) + way;
                let sql = format!(
                    "UPDATE {} SET v = {good} WHERE id >= {from} AND id < {from} + 100",
                    column.name()
                );
                run(scene.db(side), &[sql]).await;
            }
        }
    }
    for column in columns {
        let ids = format!("SELECT id FROM {} ORDER BY id", column.name());
        eventually(
            LIMIT,
            &format!("all rows of {} on both sides", column.name()),
            async || {
                scene.assert_running();
                scene.a.rows(&ids).await == scene.b.rows(&ids).await
            },
        )
        .await;
    }
}
