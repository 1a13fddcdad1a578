//! A database of 500 tables of many shapes, copied and merged while users write to all of them and things die.
//!
//! Prints how long commands take and how many sessions there are, so that what grows with the number of tables is seen:
//! `TABLES=125 make trial ARGS=many_tables` beside the whole.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Db, eventually};
use crate::kills::Kills;
use crate::scenario::{Loader, NEW, Random, Scene, Side, Table, Way, numbers};
use crate::{LIMIT, at_rest, data, server};

const PAUSE: Duration = Duration::from_millis(15);
/// Rows that users insert begin here, those of B higher.
const NEW_ROWS: u64 = 1_000_000;
/// Tables without a key, beside the others.
const KEYLESS: u64 = 10;

/// A kind of table. `{i}`: the number of a row; `{parent}`: the table that it refers to.
struct Shape {
    body: &'static str,
    key: &'static [&'static str],
    columns: &'static [&'static str],
    cells: &'static str,
    /// Finds a row.
    row: &'static str,
}

const SHAPES: [Shape; 8] = [
    Shape {
        body: "id int NOT NULL PRIMARY KEY, name varchar(60) NOT NULL, n int NOT NULL, tag varchar(20)",
        key: &["id"],
        columns: &["name", "n", "tag"],
        cells: "{i}, concat('name ', {i}), 0, NULL",
        row: "id = {i}",
    },
    Shape {
        body: "a int NOT NULL, b {word} NOT NULL, n int NOT NULL, tag varchar(20), PRIMARY KEY (a, b)",
        key: &["a", "b"],
        columns: &["n", "tag"],
        cells: "{i}, concat('b', {i} % 7), 0, NULL",
        row: "a = {i}",
    },
    Shape {
        body: "w {word} NOT NULL PRIMARY KEY, price decimal(14,4) NOT NULL, n int NOT NULL, tag varchar(20)",
        key: &["w"],
        columns: &["price", "n", "tag"],
        cells: "concat('w', {i}), {i} + 0.125, 0, NULL",
        row: "w = 'w{i}'",
    },
    Shape {
        body: "id int NOT NULL PRIMARY KEY, parent int NOT NULL, n int NOT NULL, tag varchar(20), \
               FOREIGN KEY (parent) REFERENCES {parent} (id)",
        key: &["id"],
        columns: &["parent", "n", "tag"],
        cells: "{i}, {i} % 50, 0, NULL",
        row: "id = {i}",
    },
    // Empty.
    Shape {
        body: "id bigint NOT NULL PRIMARY KEY, n int NOT NULL, tag varchar(20)",
        key: &["id"],
        columns: &["n", "tag"],
        cells: "{i}, 0, NULL",
        row: "id = {i}",
    },
    Shape {
        body: "id int NOT NULL PRIMARY KEY, a smallint, b bigint, c double precision, d date, e decimal(20,6), f char(10), \
               g varchar(200), h {text}, i smallint, j bigint, k varchar(30), l int, m int, n int NOT NULL, tag varchar(20), \
               CONSTRAINT {name}_l UNIQUE (l)",
        key: &["id"],
        columns: &[
            "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "tag",
        ],
        cells: "{i}, {i} % 30000, {i} * 4, {i} * 0.5, DATE '2020-02-29', {i} * 1.25, 'f', 'g', NULL, NULL, {i}, 'é', {i}, 7, 0, NULL",
        row: "id = {i}",
    },
    Shape {
        body: "id int NOT NULL PRIMARY KEY, body {text} NOT NULL, raw {bytes}, n int NOT NULL, tag varchar(20)",
        key: &["id"],
        columns: &["body", "raw", "n", "tag"],
        cells: "{i}, repeat(concat('text ', {i}), 300), NULL, 0, NULL",
        row: "id = {i}",
    },
    Shape {
        body: "id int NOT NULL PRIMARY KEY, boss int, n int NOT NULL, tag varchar(20), FOREIGN KEY (boss) REFERENCES {name} (id)",
        key: &["id"],
        columns: &["boss", "n", "tag"],
        cells: "{i}, CASE WHEN {i} = 0 THEN NULL ELSE {i} / 2 END, 0, NULL",
        row: "id = {i}",
    },
];
const CHILD: u64 = 3;
const EMPTY: u64 = 4;
const SELF: u64 = 7;

fn shape(number: u64) -> &'static Shape {
    &SHAPES[(number % 8) as usize]
}

fn name(number: u64) -> String {
    format!("t{number:03}")
}

fn rows(number: u64) -> u64 {
    match (number % 8, number % 50) {
        (EMPTY, _) => 0,
        (_, 0 | 1) => 10_000,
        _ => 60 + number % 200,
    }
}

/// The tables of a test live as long as it.
fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

fn table(number: u64) -> Table {
    let shape = shape(number);
    let parent = name(number.saturating_sub(CHILD));
    let body = shape
        .body
        .replace("{name}", &name(number))
        .replace("{parent}", &parent);
    Table {
        name: leak(&name(number)),
        body: leak(&body),
        key: shape.key,
        columns: shape.columns,
    }
}

fn insert(number: u64, row: &str, from: &str) -> String {
    format!(
        "INSERT INTO {} SELECT {} FROM {from}",
        name(number),
        shape(number).cells.replace("{i}", row)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make trial"]
async fn many_tables() {
    let count = std::env::var("TABLES").map_or(500, |text| text.parse().expect("TABLES is a number"));
    let (a, b) = tokio::join!(server(NEW.0), server(NEW.1));
    let mut tables: Vec<Table> = (0..count).map(table).collect();
    tables.push(data::DONE);
    let mut scene = Scene::on(a, b, Way::Merge, &tables).await;
    for number in (0..count).filter(|number| rows(*number) > 0) {
        let from = format!("{} WHERE i < {}", numbers(10_000), rows(number));
        scene.a.exec(&insert(number, "i", &from)).await;
    }
    for number in 0..KEYLESS {
        for db in [&scene.a, &scene.b] {
            db.exec(&format!(
                "CREATE TABLE keyless_{number} (id int, name varchar(20))"
            ))
            .await;
        }
    }
    scene
        .a
        .exec(if scene.a.kind().is_postgres() {
            "ANALYZE"
        } else {
            "SELECT 1"
        })
        .await;
    println!(
        "\nmany_tables: {count} tables, {} rows",
        (0..count).map(rows).sum::<u64>()
    );

    keyless_are_refused(&scene).await;
    configure(&scene, "\"*\", \"!keyless_*\"");
    timed(&scene, &["check"], 3).await;
    timed(&scene, &["setup", "--execute"], 0).await;
    timed(&scene, &["setup", "--execute"], 0).await;
    timed(&scene, &["check"], 0).await;
    let statements = timed(&scene, &["status"], 0).await;
    assert!(
        statements < 50 + count / 10,
        "status asks table by table, and gives a server seconds"
    );
    copied(&mut scene, count).await;
    scene.stop().await;
    println!("  many_tables: PASS");
}

fn configure(scene: &Scene, tables: &str) {
    scene.lock.configure(&format!(
        "version = 1\n[node.a]\n{}\n[node.b]\n{}\n[[sync]]\nname = \"{}\"\nnodes = [\"a\", \"b\"]\nmode = \"merge\"\n\
         tables = [{tables}]\nseed = \"from:a\"\n",
        scene.a.node(),
        scene.b.node(),
        scene.sync
    ));
}

/// A pattern that takes them in is refused, table by table; nothing is set up.
async fn keyless_are_refused(scene: &Scene) {
    configure(scene, "\"*\"");
    let told = scene.lock.run(&["check"]).await;
    assert_eq!(told.code, 3, "{told:?}");
    for number in 0..KEYLESS {
        let name = format!("keyless_{number}");
        assert!(told.stdout.contains(&name), "{name} is not told: {}", told.stdout);
    }
}

/// How long it takes, and how much it asks.
async fn timed(scene: &Scene, command: &[&str], code: i32) -> u64 {
    let (begun, before) = (Instant::now(), asked(scene).await);
    let told = scene.lock.run(command).await;
    assert_eq!(told.code, code, "{command:?}: {}{}", told.stdout, told.stderr);
    let (seconds, statements) = (begun.elapsed().as_secs_f64(), asked(scene).await - before);
    println!(
        "  {}: {seconds:.1} s, {statements} statements on {}",
        command.join(" "),
        scene.b.kind()
    );
    statements
}

/// Statements that MySQL was given since it started, by whomever.
async fn asked(scene: &Scene) -> u64 {
    let told = scene.b.rows("SHOW GLOBAL STATUS LIKE 'Questions'").await;
    told[0][1].as_ref().unwrap().parse().unwrap()
}

/// Sessions of the run accounts on both servers.
async fn sessions(scene: &Scene) -> [i64; 2] {
    let mut counts = [0; 2];
    for (count, db) in counts.iter_mut().zip([&scene.a, &scene.b]) {
        let account = db.run_account();
        let sql = match db.kind().is_postgres() {
            true => format!("pg_stat_activity WHERE usename = '{account}'"),
            false => format!("information_schema.processlist WHERE user = '{account}'"),
        };
        let mut admin = db.admin().await;
        *count = admin
            .one(&format!("SELECT count(*) FROM {sql}"))
            .await
            .parse()
            .unwrap();
    }
    counts
}

async fn copied(scene: &mut Scene, count: u64) {
    let mut random = Random::new("many_tables");
    let stop = Arc::new(AtomicBool::new(false));
    let start = |side: Side, db: &Db, random: Random| {
        let user = User {
            side,
            random,
            loader: Loader::new(db.kind(), db.owner_url(), "done"),
            tables: count,
            number: 0,
        };
        tokio::spawn(user.go_on(Arc::clone(&stop)))
    };
    let on_a = start(Side::A, &scene.a, random.fork());
    let (begun, before) = (Instant::now(), asked(scene).await);
    scene.run().await;
    let mut kills = Kills::planned(scene, Side::A).await;
    println!(
        "  from start to the plan of the copy: {:.1} s, {} statements on {}",
        begun.elapsed().as_secs_f64(),
        asked(scene).await - before,
        scene.b.kind()
    );
    let on_b = start(Side::B, &scene.b, random.fork());
    println!("  sessions while it copies: {:?}", sessions(scene).await);
    kills.make_all(scene, &mut random).await;
    kills.copied(scene).await;
    let copied = begun.elapsed();
    scene.streaming().await;
    timed(scene, &["status"], 0).await;
    timed(scene, &["check"], 0).await;
    println!("  sessions while it streams: {:?}", sessions(scene).await);
    scene.crossed_within(LIMIT).await;
    scene.lock.kill9().await;
    let begun = Instant::now();
    scene.run().await;
    scene.crossed_within(LIMIT).await;
    println!(
        "  from start to the first change that crosses: {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    stop.store(true, Ordering::Relaxed);
    let written = on_a.await.unwrap() + on_b.await.unwrap();
    scene.crossed_within(LIMIT).await;
    kills.print(scene, copied).await;
    eventually(LIMIT, "every transaction is on both sides", async || {
        scene.a.count("done").await == written && scene.b.count("done").await == written
    })
    .await;
    let begun = Instant::now();
    scene.assert_equal().await;
    let seconds = begun.elapsed().as_secs_f64();
    println!("  equal: every row of {count} tables, each cell as its server prints it ({seconds:.1} s)");
    scene.assert_no_conflicts().await;
    audit(scene, count).await;
    println!("  no conflict; {written} transactions of users did on both sides what they say");
    at_rest(scene).await;
}

/// Writes to rows of its own: the existing ones with even numbers are A's.
struct User {
    side: Side,
    random: Random,
    loader: Loader,
    tables: u64,
    number: u64,
}

impl User {
    /// Returns the number of transactions.
    async fn go_on(mut self, stop: Arc<AtomicBool>) -> i64 {
        while !stop.load(Ordering::Relaxed) {
            self.write().await;
            tokio::time::sleep(PAUSE).await;
        }
        self.number as i64
    }

    async fn write(&mut self) {
        self.number += 1;
        let base = NEW_ROWS * (1 + u64::from(self.side == Side::B));
        let id = base + self.number;
        let table = self.random.below(self.tables);
        let tag = format!("{:?}{}", self.side, self.number);
        let existing = self.random.below(30) * 2 + u64::from(self.side == Side::B);
        let found = shape(table).row.replace("{i}", &existing.to_string());
        let (what, statements) = match self.random.below(10) {
            0..6 => (
                "count",
                vec![format!(
                    "UPDATE {} SET n = n + 1, tag = '{tag}' WHERE {found}",
                    name(table)
                )],
            ),
            6..9 => ("insert", vec![self.new_row(table, id, &tag)]),
            _ => {
                // A row that comes and goes is counted while it is there.
                ("brief", vec![self.new_row(table, id, &tag)])
            }
        };
        let mut all = statements;
        all.push(format!(
            "UPDATE done SET what = '{what}', row_key = {table}, hits = (SELECT count(*) FROM {} WHERE tag = '{tag}' AND {}) \
             WHERE id = {id}",
            name(table),
            match what {
                "count" => found,
                _ => shape(table).row.replace("{i}", &id.to_string()),
            }
        ));
        if what == "brief" {
            let row = shape(table).row.replace("{i}", &id.to_string());
            all.push(format!("DELETE FROM {} WHERE {row}", name(table)));
        }
        self.loader.once(id, &all).await;
    }

    /// Children only of a parent that has arrived.
    fn new_row(&self, table: u64, id: u64, tag: &str) -> String {
        let parent = match table % 8 {
            CHILD => format!("{} WHERE id = {}", name(table - CHILD), id % 50),
            SELF => format!("{} WHERE id = 1", name(table)),
            _ => "(SELECT 1 AS x) one".to_owned(),
        };
        let mut statement = insert(table, &id.to_string(), &parent);
        if table % 8 == SELF {
            statement = statement.replace(&format!("{id} / 2"), "1");
        }
        let end = statement.rfind("NULL FROM").expect("the tag is the last cell");
        let mut written = String::new();
        let _ = write!(written, "{}'{tag}'{}", &statement[..end], &statement[end + 4..]);
        written
    }
}

/// By table: increments and rows are those of the journal, on both sides.
async fn audit(scene: &Scene, count: u64) {
    for db in [&scene.a, &scene.b] {
        let told = "SELECT what, row_key, sum(hits) FROM done GROUP BY what, row_key";
        let told = db.rows(told).await;
        let sum = |what: &str, table: u64| -> u64 {
            let is_it = |row: &&Vec<Option<String>>| {
                row[0].as_deref() == Some(what) && row[1].as_deref() == Some(table.to_string().as_str())
            };
            let sum = told.iter().find(is_it).and_then(|row| row[2].clone());
            sum.map_or(0, |sum| sum.parse().unwrap())
        };
        for table in 0..count {
            let found = db
                .rows(&format!(
                    "SELECT count(*), coalesce(sum(n), 0) FROM {}",
                    name(table)
                ))
                .await;
            let cells: Vec<u64> = found[0]
                .iter()
                .map(|cell| cell.as_ref().unwrap().parse().unwrap())
                .collect();
            let expected = [rows(table) + sum("insert", table), sum("count", table)];
            assert_eq!(cells, expected, "{} on {}", name(table), db.kind());
        }
    }
}
