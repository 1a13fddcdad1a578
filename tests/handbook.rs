//! Every example of docs/conflicts.md, run as it stands there on PostgreSQL 18 (a) and MySQL (b).
//!
//! Blocks of a section run in their order: `sql a` and `sql b` while Tidelock is stopped; `text conflicts` is what both
//! nodes recorded of the row; `sql check` is asked of both nodes, and `text result` is what both answer, also after each
//! `sh` command. `a:1` and `b:last` name conflicts: numbers count in a database, and MySQL's is shared by tests.
#![allow(clippy::unwrap_used)]

mod harness;
mod scenario;

use std::collections::BTreeSet;

use harness::eventually;
use scenario::{LIMIT, NEW, Scene, Side, Table, Way};

const BOOK: &str = include_str!("../docs/conflicts.md");

const TABLES: [Table; 5] = [
    Table {
        name: "customer",
        body: "",
        key: &["id"],
        columns: &["name", "phone"],
    },
    Table {
        name: "seat",
        body: "",
        key: &["id"],
        columns: &["place"],
    },
    Table {
        name: "party",
        body: "",
        key: &["id"],
        columns: &["day"],
    },
    Table {
        name: "invoice",
        body: "",
        key: &["id"],
        columns: &["customer"],
    },
    Table {
        name: "stock",
        body: "",
        key: &["id"],
        columns: &["units"],
    },
];

struct Block {
    label: String,
    text: String,
}

/// The blocks under a heading, up to the next of its level.
fn blocks(section: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in section.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(label), None) => {
                open = Some(Block {
                    label: label.to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.text.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    blocks
}

fn sections() -> Vec<(&'static str, &'static str)> {
    BOOK.split("\n## ")
        .map(|text| text.split_once('\n').unwrap())
        .collect()
}

fn section(name: &str) -> Vec<Block> {
    let all = sections();
    let heading = |heading: &&str| heading.trim_matches('`') == name;
    let found = all.iter().find(|(title, _)| heading(title));
    blocks(
        found
            .unwrap_or_else(|| panic!("the handbook has no section {name}"))
            .1,
    )
}

fn common(label: &str) -> String {
    let first = blocks(sections()[0].1);
    first.into_iter().find(|block| block.label == label).unwrap().text
}

struct Reader {
    scene: Scene,
    check: String,
}

impl Reader {
    async fn open(hint: &str, blocks: &[Block]) -> Reader {
        let mut scene = Scene::new(hint, NEW, Way::Merge, &TABLES).await;
        if let Some(keys) = blocks.iter().find(|block| block.label == "toml sync") {
            scene.configure("from:a", &keys.text);
        }
        for side in [Side::A, Side::B] {
            scene.exec(side, &common("sql tables")).await;
        }
        scene.exec(Side::A, &common("sql rows")).await;
        scene.start().await;
        scene.wait_equal().await;
        scene.stop().await;
        Reader {
            scene,
            check: String::new(),
        }
    }

    /// What both nodes recorded: node, kind, outcome, table, key.
    async fn recorded(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (side, name) in [(Side::A, "a"), (Side::B, "b")] {
            for conflict in self.scene.conflicts(side).await {
                found.insert(format!(
                    "{name} {} {} {} {}",
                    conflict.kind, conflict.outcome, conflict.table, conflict.key
                ));
            }
        }
        found
    }

    async fn answer(&self, side: Side) -> Vec<String> {
        let rows = self.scene.db(side).rows(self.check.trim()).await;
        let line = |row: Vec<Option<String>>| {
            let cells: Vec<String> = row
                .into_iter()
                .map(|cell| cell.unwrap_or("NULL".to_owned()))
                .collect();
            cells.join(" | ")
        };
        rows.into_iter().map(line).collect()
    }

    async fn command(&self, line: &str) {
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        assert_eq!(words.remove(0), "tidelock", "{line}");
        for word in &mut words {
            if let Some(node) = word.strip_suffix(":last") {
                let side = if node == "a" { Side::A } else { Side::B };
                let sql = format!(
                    "SELECT max(number) FROM tidelock.conflict WHERE sync = '{}'",
                    self.scene.sync
                );
                *word = format!("{node}:{}", self.scene.db(side).one(&sql).await);
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.scene.lock.ok(&words).await;
    }

    async fn read(&mut self, blocks: Vec<Block>) -> usize {
        let mut checked = 0;
        for block in blocks {
            match block.label.as_str() {
                "sql a" => self.scene.exec(Side::A, &block.text).await,
                "sql b" => self.scene.exec(Side::B, &block.text).await,
                "text conflicts" => {
                    self.running().await;
                    let told: BTreeSet<String> = block.text.lines().map(str::to_owned).collect();
                    eventually(LIMIT, &format!("the records to be {told:?}"), async || {
                        self.recorded().await == told
                    })
                    .await;
                    checked += 1;
                }
                "sql check" => {
                    self.running().await;
                    self.check = block.text;
                }
                "sh" => {
                    for line in block.text.lines() {
                        self.command(line).await;
                    }
                }
                "text result" => {
                    let told: Vec<String> = block.text.lines().map(str::to_owned).collect();
                    for side in [Side::A, Side::B] {
                        eventually(LIMIT, &format!("{side:?} to hold {told:?}"), async || {
                            self.answer(side).await == told
                        })
                        .await;
                    }
                    self.scene.wait_equal().await;
                    checked += 1;
                }
                // Read when the scene was opened.
                "toml sync" => {}
                other => panic!("nobody runs a block {other:?}"),
            }
        }
        checked
    }

    async fn running(&mut self) {
        if !self.scene.lock.running() {
            self.scene.run().await;
            self.scene.crossed().await;
        }
    }
}

async fn example(hint: &str, name: &str) {
    let blocks = section(name);
    let mut reader = Reader::open(hint, &blocks).await;
    let checked = reader.read(blocks).await;
    assert!(checked > 0, "section {name} checks nothing");
    reader.scene.stop().await;
}

macro_rules! examples {
    ($($test:ident => $section:expr;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                example(concat!("hb_", stringify!($test)), $section).await;
            }
        )+
        const RUN: &[&str] = &[$($section),+];
    };
}

examples! {
    numbers => "Who wins";
    inserted => "insert_exists";
    updated => "update_origin_differs";
    taken => "update_exists";
    missing => "update_missing";
    deleted => "update_deleted";
    differs => "delete_origin_differs";
    both_gone => "delete_missing";
    unique => "multiple_unique_conflicts";
    refused => "value_refused";
    foreign => "foreign_write";
    moved => "key_moved";
    parents => "fk_missing";
    asked => "Left to a person";
    columns => "Column by column";
    sums => "Differences";
    truth => "A source of truth";
    stays_deleted => "What was deleted stays deleted";
}

/// A new section with an example has to be run, too.
#[test]
fn every_example_is_run() {
    for (title, text) in sections().into_iter().skip(1) {
        let name = title.trim_matches('`');
        let has_example = blocks(text).iter().any(|block| block.label.starts_with("sql"));
        assert_eq!(has_example, RUN.contains(&name), "section {name}");
        if title.starts_with('`') {
            assert!(has_example, "kind {name} has no example");
        }
    }
}
