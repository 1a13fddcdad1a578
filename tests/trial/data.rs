//! The tables of the trial: the workload table that docs measure with, orders with their lines, a key of text, and a few
//! large values. Filled by the server itself, with rows that say their number.

use crate::scenario::{Scene, Side, Table, numbers};

pub(crate) const BENCH: Table = Table {
    name: "bench",
    body: "id bigint NOT NULL PRIMARY KEY, k int NOT NULL, c char(120) NOT NULL, pad char(60) NOT NULL, \
           note varchar(80) NOT NULL, n int NOT NULL, tag varchar(20)",
    key: &["id"],
    columns: &["k", "c", "pad", "note", "n", "tag"],
};

pub(crate) const ORDERS: Table = Table {
    name: "orders",
    body: "id bigint NOT NULL PRIMARY KEY, customer varchar(60) NOT NULL, total decimal(12,2) NOT NULL, day date NOT NULL",
    key: &["id"],
    columns: &["customer", "total", "day"],
};

pub(crate) const LINE: Table = Table {
    name: "line",
    body: "ord bigint NOT NULL, pos int NOT NULL, qty int NOT NULL, tag varchar(20), PRIMARY KEY (ord, pos), \
           FOREIGN KEY (ord) REFERENCES orders (id)",
    key: &["ord", "pos"],
    columns: &["qty", "tag"],
};

pub(crate) const WORD: Table = Table {
    name: "word",
    body: "w {word} NOT NULL PRIMARY KEY, n int NOT NULL, tag varchar(20)",
    key: &["w"],
    columns: &["n", "tag"],
};

pub(crate) const DOC: Table = Table {
    name: "doc",
    body: "id bigint NOT NULL PRIMARY KEY, title varchar(100) NOT NULL, body {text}, raw {bytes}, n int NOT NULL, tag varchar(20)",
    key: &["id"],
    columns: &["title", "body", "raw", "n", "tag"],
};

/// The journal of all users: what each transaction did to which row, and whether that row was there.
pub(crate) const DONE: Table = Table {
    name: "done",
    body: "id bigint NOT NULL PRIMARY KEY, what varchar(8), row_key bigint, hits int",
    key: &["id"],
    columns: &["what", "row_key", "hits"],
};

pub(crate) const TABLES: [Table; 6] = [BENCH, ORDERS, LINE, WORD, DOC, DONE];

/// Documents of a size that no chunk has two of.
const HUGE: u64 = 3;
/// Rows of one statement.
const BATCH: u64 = 100_000;

/// How many rows each table has before the copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) bench: u64,
    pub(crate) orders: u64,
    pub(crate) lines: u64,
    pub(crate) words: u64,
    pub(crate) docs: u64,
}

impl Sizes {
    pub(crate) fn of(rows: u64) -> Self {
        Self {
            bench: rows * 6 / 10,
            orders: rows / 10,
            lines: rows / 10 * 2,
            words: rows / 10,
            docs: (rows / 10_000).max(20),
        }
    }

    pub(crate) fn rows(self) -> u64 {
        self.bench + self.orders + self.lines + self.words + self.docs
    }
}

/// As the users spell it.
pub(crate) fn word(number: u64) -> String {
    format!("w{number:09}")
}

pub(crate) async fn fill(scene: &Scene, from: Side, sizes: Sizes) {
    for side in [Side::A, Side::B] {
        scene.exec(side, "CREATE INDEX bench_k ON bench (k)").await;
    }
    let day = "DATE '2020-01-01'";
    let bytes = match scene.db(from).kind().is_postgres() {
        true => "decode(repeat('00ff27', 2000), 'hex')",
        false => "unhex(repeat('00ff27', 2000))",
    };
    let huge = sizes.docs - HUGE;
    // {i}: the number of the row, from 0.
    let all = [
        (
            "bench",
            sizes.bench,
            "{i}, {i} % 100000, lpad(concat({i}, '-', {i} % 7919), 110, 'abcdefghij'), lpad(concat({i}), 50, 'klmno'), \
             concat('note ', {i} % 997, ' of a row that is no longer than others'), 0, NULL"
                .to_owned(),
        ),
        (
            "orders",
            sizes.orders,
            format!("{{i}}, concat('customer ', {{i}} % 5000), {{i}} % 100000 + 0.25, {day}"),
        ),
        ("line", sizes.orders, "{i}, 1, {i} % 50, NULL".to_owned()),
        ("line", sizes.orders, "{i}, 2, {i} % 60, NULL".to_owned()),
        (
            "word",
            sizes.words,
            "concat('w', lpad(concat({i}), 9, '0')), 0, NULL".to_owned(),
        ),
        (
            "doc",
            sizes.docs,
            format!(
                "{{i}}, concat('title ', {{i}}), \
                 CASE WHEN {{i}} < {huge} THEN repeat(concat('text ', {{i}}, ' '), 4000) ELSE repeat('0123456789abcdef', 524288) END, \
                 {bytes}, 0, NULL"
            ),
        ),
    ];
    for (table, rows, cells) in all {
        for first in (0..rows).step_by(BATCH as usize) {
            let count = BATCH.min(rows - first);
            let cells = cells.replace("{i}", &format!("({first} + i)"));
            let numbers = numbers(BATCH);
            let insert = format!("INSERT INTO {table} SELECT {cells} FROM {numbers} WHERE i < {count}");
            scene.db(from).exec(&insert).await;
        }
        let analyze = match scene.db(from).kind().is_postgres() {
            true => format!("ANALYZE {table}"),
            false => format!("ANALYZE TABLE {table}"),
        };
        scene.db(from).exec(&analyze).await;
    }
}
