//! Users who write on one side while it is copied, and what they say they did.
//!
//! Owns: the kinds of writes, each a transaction that is done once whatever dies meanwhile ([`Loader`]) and journals in
//! `done` whether it found its row: on the side that is being filled many rows are still to come. Existing rows belong to
//! one side by the last digit of their number, but for a few that both write to; so all else has one right outcome, which
//! [`audit`] holds against the tables by counting in the server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::data::{Sizes, word};
use crate::harness::Db;
use crate::scenario::{Loader, Random, Side};

const PAUSE: Duration = Duration::from_millis(15);
/// A row whose key changes goes this far away.
const MOVED: u64 = 100_000_000_000;
/// Both sides' users write to those with this number and nine times ten, twenty and so on.
const CONTESTED: u64 = 50;
/// Above the contested ones.
const FREE: u64 = 10 * CONTESTED;
/// A tenth of these is updated by one statement.
const BULK: u64 = 5_000;

/// By kind of write: transactions that were committed.
pub(crate) type Tally = BTreeMap<&'static str, u64>;

pub(crate) struct Users {
    task: JoinHandle<Tally>,
    stop: Arc<AtomicBool>,
}

impl Users {
    pub(crate) fn start(side: Side, db: &Db, sizes: Sizes, random: Random) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut user = User {
            side,
            sizes,
            random,
            loader: Loader::new(db.kind(), db.owner_url(), "done"),
            number: 0,
            bench: vec![],
            orders: vec![],
            tally: Tally::new(),
        };
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                user.write().await;
                tokio::time::sleep(PAUSE).await;
            }
            user.tally
        });
        Self { task, stop }
    }

    pub(crate) async fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// Numbers of a side's transactions and new rows begin here.
fn base(side: Side) -> u64 {
    match side {
        Side::A => 10_000_000_000,
        Side::B => 20_000_000_000,
    }
}

struct User {
    side: Side,
    sizes: Sizes,
    random: Random,
    loader: Loader,
    number: u64,
    /// Rows that it inserted and has not deleted.
    bench: Vec<u64>,
    orders: Vec<u64>,
    tally: Tally,
}

impl User {
    async fn write(&mut self) {
        self.number += 1;
        let id = base(self.side) + self.number;
        let (what, row, statements) = self.choose(id);
        let tag = self.tag();
        let mut all = statements.before;
        all.push(format!(
            "UPDATE done SET what = '{what}', row_key = {row}, \
             hits = (SELECT count(*) FROM {}) WHERE id = {id}",
            statements.hit.replace("{tag}", &tag)
        ));
        all.extend(statements.after);
        let all: Vec<String> = all
            .into_iter()
            .map(|statement| statement.replace("{tag}", &tag))
            .collect();
        self.loader.once(id, &all).await;
        *self.tally.entry(what).or_default() += 1;
    }

    fn tag(&self) -> String {
        format!("{:?}{}", self.side, self.number)
    }

    /// An existing row of this side: the digits are A's, B's are one above.
    fn own(&mut self, of: u64, digits: &[u64]) -> u64 {
        let digit = digits[self.random.below(digits.len() as u64) as usize];
        let digit = digit + u64::from(self.side == Side::B);
        self.random.below(of / 10) * 10 + digit
    }

    fn choose(&mut self, id: u64) -> (&'static str, u64, Statements) {
        match self.random.below(100) {
            0..2 => {
                let digit = u64::from(self.side == Side::B);
                let (low, of) = (FREE, self.sizes.bench.saturating_sub(FREE + BULK).max(1));
                let low = low + self.random.below(of);
                let rows = format!("id >= {low} AND id < {low} + {BULK} AND id % 10 = {digit}");
                let what = format!("UPDATE bench SET n = n + 1, tag = '{{tag}}' WHERE {rows}");
                (
                    "bulk",
                    low,
                    Statements::one(what, format!("bench WHERE {rows} AND tag = '{{tag}}'")),
                )
            }
            2..5 => {
                let row = self.own(self.sizes.orders, &[8]);
                ("family", row, Statements::family(row, id))
            }
            5..30 => {
                let row = self.own(self.sizes.bench, &[2, 4]);
                let what = format!("UPDATE bench SET n = n + 1, tag = '{{tag}}' WHERE id = {row}");
                ("count", row, Statements::one(what, tagged("bench", "id", row)))
            }
            30..40 => {
                let row = 10 * self.random.below(CONTESTED);
                let what = format!("UPDATE bench SET pad = '{{tag}}', tag = '{{tag}}' WHERE id = {row}");
                ("contest", row, Statements::one(what, tagged("bench", "id", row)))
            }
            40..48 => {
                let row = self.own(self.sizes.bench, &[8]);
                let end = format!("DELETE FROM bench WHERE id = {row} AND tag = '{{tag}}'");
                ("delete", row, Statements::tag("bench", "id", row, end))
            }
            48..56 => {
                let row = self.own(self.sizes.bench, &[6]);
                let end = format!("UPDATE bench SET id = id + {MOVED} WHERE id = {row} AND tag = '{{tag}}'");
                ("move", row, Statements::tag("bench", "id", row, end))
            }
            56..68 => {
                self.bench.push(id);
                let what = format!("INSERT INTO bench VALUES ({id}, 1, 'c', 'pad', 'new', 0, '{{tag}}')");
                ("insert", id, Statements::one(what, tagged("bench", "id", id)))
            }
            68..74 if !self.bench.is_empty() => {
                let row = pick(&mut self.bench, &mut self.random);
                let end = format!("DELETE FROM bench WHERE id = {row}");
                ("undo", row, Statements::tag("bench", "id", row, end))
            }
            74..80 => {
                self.orders.push(id);
                let what = format!(
                    "INSERT INTO orders VALUES ({id}, 'new', 12.5, DATE '2024-02-29'); \
                     INSERT INTO line VALUES ({id}, 1, 1, '{{tag}}'), ({id}, 2, 2, NULL), ({id}, 3, 3, NULL)"
                );
                ("order", id, Statements::one(what, tagged("line", "ord", id)))
            }
            80..84 if !self.orders.is_empty() => {
                let row = pick(&mut self.orders, &mut self.random);
                let end = format!("DELETE FROM line WHERE ord = {row}; DELETE FROM orders WHERE id = {row}");
                let hit = format!("orders WHERE id = {row}");
                (
                    "cancel",
                    row,
                    Statements {
                        before: vec![],
                        hit,
                        after: cut(&end),
                    },
                )
            }
            84..89 => {
                let (row, pos) = (self.own(self.sizes.orders, &[0, 2]), 10 + self.number);
                let what =
                    format!("INSERT INTO line SELECT id, {pos}, 7, '{{tag}}' FROM orders WHERE id = {row}");
                ("line", row, Statements::one(what, tagged("line", "ord", row)))
            }
            89..93 => {
                let (row, pos) = (self.own(self.sizes.orders, &[4, 6]), 1_000_000 + self.number);
                let what =
                    format!("UPDATE line SET pos = {pos}, tag = '{{tag}}' WHERE ord = {row} AND pos = 1");
                ("shift", row, Statements::one(what, tagged("line", "ord", row)))
            }
            93..96 => {
                let row = self.own(self.sizes.words, &[4]);
                let is_it = format!("w = '{}'", word(row));
                let what = format!("UPDATE word SET n = n + 1, tag = '{{tag}}' WHERE {is_it}");
                let hit = format!("word WHERE {is_it} AND tag = '{{tag}}'");
                ("word", row, Statements::one(what, hit))
            }
            96..98 => {
                let row = self.own(self.sizes.words, &[2]);
                let (old, new) = (word(row), format!("{}x{}", word(row), self.number));
                let what = format!("UPDATE word SET w = '{new}', tag = '{{tag}}' WHERE w = '{old}'");
                (
                    "rename",
                    row,
                    Statements::one(what, format!("word WHERE w = '{new}'")),
                )
            }
            98 => {
                let row = self.own(self.sizes.docs, &[0, 2]);
                let what =
                    format!("UPDATE doc SET title = 'new', n = n + 1, tag = '{{tag}}' WHERE id = {row}");
                ("title", row, Statements::one(what, tagged("doc", "id", row)))
            }
            _ => {
                let row = self.own(self.sizes.docs, &[4, 6]);
                let body = "repeat('{tag} writes. ', 5000)";
                let what =
                    format!("UPDATE doc SET body = {body}, n = n + 1, tag = '{{tag}}' WHERE id = {row}");
                ("body", row, Statements::one(what, tagged("doc", "id", row)))
            }
        }
    }
}

fn pick(from: &mut Vec<u64>, random: &mut Random) -> u64 {
    let place = random.below(from.len() as u64) as usize;
    from.swap_remove(place)
}

fn tagged(table: &str, key: &str, row: u64) -> String {
    format!("{table} WHERE {key} = {row} AND tag = '{{tag}}'")
}

fn cut(statements: &str) -> Vec<String> {
    statements.split("; ").map(str::to_owned).collect()
}

/// Between `before` and `after` the rows are counted that were hit; `{tag}` is the transaction's own.
struct Statements {
    before: Vec<String>,
    hit: String,
    after: Vec<String>,
}

impl Statements {
    fn one(what: String, hit: String) -> Self {
        Self {
            before: cut(&what),
            hit,
            after: vec![],
        }
    }

    /// An order with its lines, where all of it is there; of one that is still to come, the lines that are. Ones: lines;
    /// tens: orders.
    fn family(row: u64, id: u64) -> Self {
        let before = format!(
            "UPDATE orders SET customer = '{{tag}}' WHERE id = {row}; UPDATE line SET tag = '{{tag}}' WHERE ord = {row}"
        );
        let order = format!("orders WHERE id = {row} AND customer = '{{tag}}'");
        let hit = format!(
            "{}) + 10 * (SELECT count(*) FROM {order}",
            tagged("line", "ord", row)
        );
        let lines = tagged("line", "ord", row);
        let whole = format!("12 = (SELECT hits FROM done WHERE id = {id})");
        Self {
            before: cut(&before),
            hit,
            after: cut(&format!("DELETE FROM {lines}; DELETE FROM {order} AND {whole}")),
        }
    }

    /// Tags a row, so that what was not there when it was counted is not ended either.
    fn tag(table: &str, key: &str, row: u64, end: String) -> Self {
        let tag = format!("UPDATE {table} SET tag = '{{tag}}' WHERE {key} = {row}");
        Self {
            before: vec![tag],
            hit: tagged(table, key, row),
            after: cut(&end),
        }
    }
}

/// Every write of every user did what it said, on this node. Returns how many statements were held against the rows.
pub(crate) async fn audit(db: &Db, sizes: Sizes, tallies: &[(Side, Tally)]) -> usize {
    let mut told: Vec<(String, String, String)> = vec![];
    for (side, tally) in tallies {
        let first = base(*side);
        for (what, count) in tally {
            let journal = format!(
                "SELECT count(*) FROM done WHERE what = '{what}' AND id BETWEEN {first} AND {first} * 2 - 1"
            );
            told.push((format!("{what} of {side:?}"), journal, format!("SELECT {count}")));
        }
    }
    let sum: u64 = tallies.iter().flat_map(|(_, tally)| tally.values()).sum();
    told.push((
        "all".to_owned(),
        "SELECT count(*) FROM done".to_owned(),
        format!("SELECT {sum}"),
    ));
    let hits = |what: &str| format!("(SELECT coalesce(sum(hits), 0) FROM done WHERE what IN ({what}))");
    let joined = |what: &str, with: &str| {
        format!("SELECT count(*) FROM done JOIN {with} WHERE what = '{what}' AND hits > 0")
    };
    let none = "SELECT 0";
    let Sizes {
        bench,
        orders,
        lines,
        words,
        docs,
    } = sizes;
    let mut add = |name: &str, found: String, expected: String| told.push((name.to_owned(), found, expected));
    let each = "SELECT count(*) FROM (SELECT row_key, sum(hits) AS s FROM done WHERE what = 'count' GROUP BY row_key) d \
                LEFT JOIN bench ON id = row_key WHERE s > 0 AND (id IS NULL OR n <> s)";
    add("each counter", each.to_owned(), none.to_owned());
    add(
        "all counters",
        "SELECT sum(n) FROM bench".to_owned(),
        format!("SELECT {}", hits("'count', 'bulk'")),
    );
    add(
        "deleted",
        joined("delete", "bench b ON b.id = row_key"),
        none.to_owned(),
    );
    add(
        "moved away",
        joined("move", "bench b ON b.id = row_key"),
        none.to_owned(),
    );
    let there = joined("move", &format!("bench b ON b.id = row_key + {MOVED}"));
    add("moved there", there, format!("SELECT {}", hits("'move'")));
    let rows = format!(
        "SELECT {bench} - {} + {} - {}",
        hits("'delete'"),
        hits("'insert'"),
        hits("'undo'")
    );
    add("rows", "SELECT count(*) FROM bench".to_owned(), rows);
    let family = |what: &str| format!("(SELECT coalesce(sum({what}), 0) FROM done WHERE what = 'family')");
    let ended = family("CASE WHEN hits = 12 THEN 1 ELSE 0 END");
    let left = format!(
        "SELECT {orders} + {} - {} - {ended}",
        hits("'order'"),
        hits("'cancel'")
    );
    add("orders", "SELECT count(*) FROM orders".to_owned(), left);
    let (new, gone, more) = (hits("'order'"), hits("'cancel'"), hits("'line'"));
    let ended = family("hits % 10");
    let left = format!("SELECT {lines} + 3 * {new} - 3 * {gone} + {more} - {ended}");
    let orphans = "SELECT count(*) FROM line WHERE NOT EXISTS (SELECT 1 FROM orders WHERE orders.id = ord)";
    add("orphans", orphans.to_owned(), none.to_owned());
    add("lines", "SELECT count(*) FROM line".to_owned(), left);
    add(
        "shifted away",
        joined("shift", "line l ON l.ord = row_key AND l.pos = 1"),
        none.to_owned(),
    );
    let shifted = "SELECT count(*) FROM line WHERE pos >= 1000000".to_owned();
    add("shifted there", shifted, format!("SELECT {}", hits("'shift'")));
    add(
        "words",
        "SELECT count(*) FROM word".to_owned(),
        format!("SELECT {words}"),
    );
    add(
        "counted words",
        "SELECT sum(n) FROM word".to_owned(),
        format!("SELECT {}", hits("'word'")),
    );
    let renamed = "SELECT count(*) FROM word WHERE w LIKE '%x%'".to_owned();
    add("renamed words", renamed, format!("SELECT {}", hits("'rename'")));
    add(
        "documents",
        "SELECT count(*) FROM doc".to_owned(),
        format!("SELECT {docs}"),
    );
    let written = format!("SELECT {}", hits("'title', 'body'"));
    add("written documents", "SELECT sum(n) FROM doc".to_owned(), written);
    for (name, found, expected) in &told {
        let (found, expected) = (db.one(found).await, db.one(expected).await);
        assert_eq!(found, expected, "{name} on {}", db.kind());
    }
    told.len()
}

/// May both sides have written to this row of `bench`?
pub(crate) fn is_contested(key: u64) -> bool {
    key.is_multiple_of(10) && key < FREE
}
