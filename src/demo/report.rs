//! What the demo found: one JSON document, or the same for a reader.
//!
//! Owns: the document's fields (added to, never renamed) and every text that goes to stdout.

use super::conflict::{Image, Stamp, Told};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

#[derive(Serialize)]
pub(super) struct Document {
    schema: u8,
    pairs: Vec<Pair>,
    next_steps: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Pair {
    pub nodes: [String; 2],
    pub rows_crossed: Crossed,
    pub conflicts: usize,
    pub echoes_applied: u64,
    pub idle_writes: u64,
    pub converged: bool,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub example: Example,
}

#[derive(Serialize, Clone, Copy)]
pub(super) struct Crossed {
    pub a_to_b: u64,
    pub b_to_a: u64,
}

/// The conflict that was made on purpose.
#[derive(Serialize)]
pub(super) struct Example {
    id: String,
    kind: String,
    rule: String,
    /// The node whose row stands on both sides.
    winner: Option<String>,
}

impl Example {
    pub(super) fn of(told: &Told, nodes: &[String; 2]) -> Example {
        let field = |field: fn(&super::conflict::Record) -> &String| {
            told.records.first().map(field).cloned().unwrap_or_default()
        };
        Example {
            id: field(|record| &record.id),
            kind: field(|record| &record.kind),
            rule: field(|record| &record.rule),
            winner: told.winner.map(|node| nodes[node].clone()),
        }
    }
}

pub(super) fn document(pair: Pair, next_steps: Vec<String>) -> Document {
    Document {
        schema: 1,
        pairs: vec![pair],
        next_steps,
    }
}

/// The figures, each with what it means.
pub(super) fn summary(pair: &Pair, idle_seconds: u64) -> String {
    let [a, b] = &pair.nodes;
    let good = |good: bool| if good { "ok" } else { "WRONG" };
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "  {name:<18} {value}");
    };
    line("nodes", format!("{a} <-> {b}"));
    let Crossed { a_to_b, b_to_a } = pair.rows_crossed;
    line("rows crossed", format!("{a_to_b} ->   {b_to_a} <-"));
    line(
        "conflicts",
        format!("{}, each recorded where it was met", pair.conflicts),
    );
    line(
        "echoes applied",
        format!(
            "{}  {}: nothing came back to where it was written",
            pair.echoes_applied,
            good(pair.echoes_applied == 0)
        ),
    );
    line(
        "idle writes",
        format!(
            "{}  {}: rows changed in {idle_seconds} s without users",
            pair.idle_writes,
            good(pair.idle_writes == 0)
        ),
    );
    line(
        "converged",
        format!(
            "{}  every row and every stamp compared",
            if pair.converged { "yes" } else { "NO" }
        ),
    );
    line(
        "commit to visible",
        format!(
            "{} ms median, {} ms at the 99th percentile",
            pair.p50_ms, pair.p99_ms
        ),
    );
    out
}

/// How the conflict came about and ended.
pub(super) fn conflict(told: &Told, nodes: &[String; 2]) -> String {
    let mut out = String::new();
    let Some(record) = told.records.first() else {
        return out;
    };
    let _ = writeln!(
        out,
        "conflict: customers {} was changed on both sides before either had seen the other's change \
         (attempt {}, id {})",
        record.key, told.attempts, record.id
    );
    let width = nodes
        .iter()
        .map(String::len)
        .max()
        .unwrap_or_default()
        .max("before".len());
    let mut row = |name: &str, image: &Image| {
        let stamp = image.stamp.map_or_else(|| "-".to_owned(), stamp_text);
        let _ = writeln!(
            out,
            "    {name:<width$}  {stamp:<6}  {:<8}  {}",
            image.city, image.note
        );
    };
    if let Some(before) = &told.before {
        row("before", before);
    }
    for (name, image) in nodes.iter().zip(&told.written) {
        if let Some(image) = image {
            row(name, image);
        }
    }
    let winner = told.winner.map_or("nobody", |node| nodes[node].as_str());
    let cell = |place: usize| told.stands[0].get(place).cloned().flatten().unwrap_or_default();
    let _ = writeln!(
        out,
        "  decided by the rule {}: the greatest stamp, version@rank of the node, wins: {winner}'s row stands on both sides: {}, {}@{}",
        record.rule,
        cell(0),
        cell(2),
        cell(3)
    );
    for record in &told.records {
        let _ = writeln!(
            out,
            "  recorded on {:<width$}  {}, {}: {}",
            nodes[record.node], record.kind, record.outcome, record.detail
        );
    }
    out
}

fn stamp_text(stamp: Stamp) -> String {
    format!("{}@{}", stamp.version, stamp.origin)
}

/// Commands for somebody who wants to try it by hand.
pub(super) fn by_hand(urls: &[String; 2], ports: [u16; 2], account: &str, config: &Path) -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "tidelock".into());
    let tidelock = format!("{} -c {}", program.display(), config.display());
    let postgres = format!("psql '{}' -c", urls[0]);
    let mysql = format!(
        "mysql -h 127.0.0.1 -P {} -u {account} -p{account} shop -e",
        ports[1]
    );
    let city = |name: &str| format!("\"UPDATE customers SET city = '{name}' WHERE id = 1\"");
    let look = "\"SELECT id, city, tidelock_version, tidelock_origin FROM customers WHERE id = 1\"";
    format!(
        "Connect to both, write, and watch it arrive:\n  {}\n  {}\n\n\
         Change a row on one side and look at the other:\n  {postgres} {}\n  {mysql} {look}\n\n\
         Change it on both at once, and see the conflict:\n  {postgres} {} & {mysql} {}; wait\n  \
         {tidelock} conflicts list\n\n\
         The configuration, and every other command:\n  {}\n  {tidelock} status\n  {tidelock} check\n",
        urls[0],
        urls[1],
        city("Roma"),
        city("Wien"),
        city("Bern"),
        config.display()
    )
}
