//! A conflict made on purpose, and how it was decided, as the databases tell it.
//!
//! Owns: changing one customer on both sides at the same moment, and reading the record of it from both control
//! schemas. Fails: when no conflict comes about, or the row does not settle.

use super::side::{Cells, Side};
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Both sides must commit before either has seen the other: nearly always at the first attempt.
const ATTEMPTS_MAX: u32 = 50;
const CUSTOMER: u64 = 17;
const CITIES: [&str; 2] = ["Lisboa", "Zürich"];
const POLL: Duration = Duration::from_millis(20);
const SETTLES_MAX: Duration = Duration::from_secs(15);

/// One side's record of the conflict.
pub(super) struct Record {
    /// Index of the node that met it.
    pub node: usize,
    pub id: String,
    pub kind: String,
    pub rule: String,
    pub outcome: String,
    pub detail: String,
    pub key: String,
    base: Option<String>,
    images: [(Option<String>, Stamp); 2],
}

/// Version and origin rank, as stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Stamp {
    pub version: u64,
    pub origin: u64,
}

/// The same conflict as both sides recorded it, and the row it ended in.
pub(super) struct Told {
    pub attempts: u32,
    pub records: Vec<Record>,
    /// What each side had written, in the order of the nodes.
    pub written: [Option<Image>; 2],
    pub before: Option<Image>,
    /// City and note of the row as both sides hold it now.
    pub stands: [Cells; 2],
    pub winner: Option<usize>,
}

/// The cells that the demonstration changes.
pub(super) struct Image {
    pub stamp: Option<Stamp>,
    pub city: String,
    pub note: String,
}

/// Lets both sides change the same customer until they meet.
pub(super) async fn provoke(sides: &mut [Side; 2], ranks: [u64; 2]) -> Result<Told> {
    for attempt in 1..=ATTEMPTS_MAX {
        let known: BTreeSet<String> = ids(sides).await?;
        let [a, b] = sides;
        let (ours, theirs) = (change(attempt, 0), change(attempt, 1));
        tokio::try_join!(a.exec(&ours), b.exec(&theirs))?;
        let stands = settled(sides).await?;
        let new: Vec<String> = ids(sides).await?.difference(&known).cloned().collect();
        if let Some(id) = new.first() {
            return told(sides, ranks, id, attempt, stands).await;
        }
    }
    Err(Error::definite("show a conflict").why(format!(
        "both sides changed one row {ATTEMPTS_MAX} times and never met"
    )))
}

fn change(attempt: u32, node: usize) -> String {
    let city = CITIES[node];
    format!(
        "UPDATE customers SET city = '{city}', note = 'moved to {city}, call {attempt}' WHERE id = {CUSTOMER}"
    )
}

/// Waits until both sides show the same row under the same stamp.
async fn settled(sides: &mut [Side; 2]) -> Result<[Cells; 2]> {
    let sql =
        format!("SELECT city, note, tidelock_version, tidelock_origin FROM customers WHERE id = {CUSTOMER}");
    let begin = Instant::now();
    let [a, b] = sides;
    loop {
        let rows = [a.rows(&sql).await?.concat(), b.rows(&sql).await?.concat()];
        if rows[0] == rows[1] {
            return Ok(rows);
        }
        if begin.elapsed() > SETTLES_MAX {
            return Err(Error::definite("settle a conflict")
                .table("customers")
                .why(format!("the two sides differ after {} s", SETTLES_MAX.as_secs()))
                .hint("run the demo with -v to see what the links say"));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The conflicts that either side has recorded.
pub(super) async fn ids(sides: &mut [Side; 2]) -> Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    for side in sides {
        let rows = side.rows("SELECT id FROM tidelock.conflict").await?;
        ids.extend(rows.into_iter().flatten().flatten());
    }
    Ok(ids)
}

async fn told(
    sides: &mut [Side; 2],
    ranks: [u64; 2],
    id: &str,
    attempts: u32,
    stands: [Cells; 2],
) -> Result<Told> {
    // The side whose row stands records it too, when the other's change reaches it.
    let begin = Instant::now();
    let records = loop {
        let records = records(sides, id).await?;
        if records.len() == sides.len() || begin.elapsed() > SETTLES_MAX {
            break records;
        }
        tokio::time::sleep(POLL).await;
    };
    let first = records.first();
    let image = |rank: u64| {
        let (image, stamp) = first?.images.iter().find(|(_, stamp)| stamp.origin == rank)?;
        Some(Image::of(image.as_deref()?, Some(*stamp)))
    };
    let written = ranks.map(image);
    let before = first
        .and_then(|record| record.base.as_deref())
        .map(|base| Image::of(base, None));
    let origin = stands[0]
        .get(3)
        .and_then(|cell| cell.as_deref()?.parse::<u64>().ok());
    let winner = ranks.iter().position(|rank| Some(*rank) == origin);
    Ok(Told {
        attempts,
        records,
        written,
        before,
        stands,
        winner,
    })
}

async fn records(sides: &mut [Side; 2], id: &str) -> Result<Vec<Record>> {
    let sql = format!(
        "SELECT kind, rule, outcome, detail, key_json, base_json, local_json, local_version, local_origin, \
         incoming_json, incoming_version, incoming_origin FROM tidelock.conflict WHERE id = '{id}'"
    );
    let mut records = Vec::new();
    for (node, side) in sides.iter_mut().enumerate() {
        for row in side.rows(&sql).await? {
            records.extend(Record::of(node, id, row));
        }
    }
    Ok(records)
}

impl Record {
    fn of(node: usize, id: &str, row: Cells) -> Option<Record> {
        let [
            kind,
            rule,
            outcome,
            detail,
            key,
            base,
            local,
            version,
            origin,
            incoming,
            its_version,
            its_origin,
        ] = <[Option<String>; 12]>::try_from(row).ok()?;
        let number = |cell: Option<String>| cell.and_then(|text| text.parse().ok()).unwrap_or(0);
        Some(Record {
            node,
            id: id.to_owned(),
            kind: kind?,
            rule: rule?,
            outcome: outcome?,
            detail: detail?,
            key: key?,
            base,
            images: [
                (
                    local,
                    Stamp {
                        version: number(version),
                        origin: number(origin),
                    },
                ),
                (
                    incoming,
                    Stamp {
                        version: number(its_version),
                        origin: number(its_origin),
                    },
                ),
            ],
        })
    }
}

impl Image {
    fn of(json: &str, stamp: Option<Stamp>) -> Image {
        let row: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
        let number = |name: &str| match row.get(name) {
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        let in_row = || {
            Some(Stamp {
                version: number("tidelock_version")?,
                origin: number("tidelock_origin")?,
            })
        };
        Image {
            stamp: stamp.or_else(in_row),
            city: text("city"),
            note: text("note"),
        }
    }
}
