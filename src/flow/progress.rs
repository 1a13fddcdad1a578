//! How far a copy is, per table and in all, how fast it goes and how long it still takes.
//!
//! Owns: the sums over chunks that are done, and what of them this process did since it began, which tells the pace. A
//! chunk counts by the source's estimate of its bytes, so that what is left is measured as what is done. Refuses: knowing
//! more than whole chunks. Pure: whoever asks brings the moment.

use crate::chunk::Chunk;
use crate::model::origin::CONTROL;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A pace from less than this would be a guess.
const PACED_AFTER: Duration = Duration::from_secs(1);

/// A copy that this process makes.
#[derive(Debug)]
pub(crate) struct Progress {
    since: Instant,
    /// By the source's names; tombstones go with all, and are no table of a user's.
    tables: BTreeMap<String, Part>,
    others: Part,
}

#[derive(Debug, Default, Clone)]
struct Part {
    chunks: u64,
    chunks_done: u64,
    rows: u64,
    /// `None`: the server has never counted.
    rows_estimated: Option<u64>,
    bytes: u64,
    bytes_estimated: u64,
    weight: u64,
    weight_done: u64,
    /// Since when this process copies it, and what it did.
    begun: Option<Instant>,
    own_rows: u64,
    own_weight: u64,
}

/// For people and dashboards. `*_estimated`: by the source's statistics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pace {
    /// Empty: of all.
    pub table: String,
    pub chunks: u64,
    pub chunks_done: u64,
    pub rows: u64,
    pub rows_estimated: Option<u64>,
    pub bytes: u64,
    pub bytes_estimated: u64,
    pub rows_per_second: f64,
    /// An estimate; `None` before there is a pace.
    pub seconds_left: Option<u64>,
    /// Of one thousand, by the estimate of bytes.
    pub done_permille: u64,
}

/// Of all, and of the tables that are begun and not done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Copying {
    pub all: Pace,
    pub tables: Vec<Pace>,
}

fn weight(chunk: &Chunk) -> u64 {
    chunk.estimated_bytes.max(1)
}

impl Progress {
    pub(crate) fn new(chunks: &[Chunk], now: Instant) -> Progress {
        let mut progress = Progress {
            since: now,
            tables: BTreeMap::new(),
            others: Part::default(),
        };
        for chunk in chunks {
            let part = progress.part(chunk);
            part.chunks += 1;
            part.bytes_estimated += chunk.estimated_bytes;
            part.weight += weight(chunk);
            if let Some(rows) = chunk.estimated_rows {
                *part.rows_estimated.get_or_insert_default() += rows;
            }
            if chunk.is_done {
                part.done(chunk);
            }
        }
        progress
    }

    fn part(&mut self, chunk: &Chunk) -> &mut Part {
        match chunk.table.schema == CONTROL {
            true => &mut self.others,
            false => self.tables.entry(chunk.table.to_string()).or_default(),
        }
    }

    pub(crate) fn begins(&mut self, chunk: &Chunk, now: Instant) {
        self.part(chunk).begun.get_or_insert(now);
    }

    /// With its rows and bytes as they were copied.
    pub(crate) fn done(&mut self, chunk: &Chunk) {
        let part = self.part(chunk);
        part.done(chunk);
        part.own_rows += chunk.copied_rows;
        part.own_weight += weight(chunk);
    }

    pub(crate) fn told(&self, now: Instant) -> Copying {
        let mut all = self.others.clone();
        for part in self.tables.values() {
            all.add(part);
        }
        all.begun = Some(self.since);
        let is_open = |part: &&Part| part.begun.is_some() && part.chunks_done < part.chunks;
        let tables = self.tables.iter().filter(|(_, part)| is_open(part));
        Copying {
            all: all.pace("", now),
            tables: tables.map(|(table, part)| part.pace(table, now)).collect(),
        }
    }
}

impl Part {
    fn done(&mut self, chunk: &Chunk) {
        self.chunks_done += 1;
        self.rows += chunk.copied_rows;
        self.bytes += chunk.copied_bytes;
        self.weight_done += weight(chunk);
    }

    fn add(&mut self, other: &Part) {
        self.chunks += other.chunks;
        self.chunks_done += other.chunks_done;
        self.rows += other.rows;
        if let Some(rows) = other.rows_estimated {
            *self.rows_estimated.get_or_insert_default() += rows;
        }
        self.bytes += other.bytes;
        self.bytes_estimated += other.bytes_estimated;
        self.weight += other.weight;
        self.weight_done += other.weight_done;
        self.own_rows += other.own_rows;
        self.own_weight += other.own_weight;
    }

    fn pace(&self, table: &str, now: Instant) -> Pace {
        let spent = self.begun.map(|begun| now.saturating_duration_since(begun));
        let spent = spent.filter(|spent| *spent >= PACED_AFTER && self.own_weight > 0);
        let left = self.weight.saturating_sub(self.weight_done);
        let seconds = spent.map(|spent| spent.as_secs_f64());
        Pace {
            table: table.to_owned(),
            chunks: self.chunks,
            chunks_done: self.chunks_done,
            rows: self.rows,
            rows_estimated: self.rows_estimated,
            bytes: self.bytes,
            bytes_estimated: self.bytes_estimated,
            rows_per_second: seconds.map_or(0.0, |seconds| self.own_rows as f64 / seconds),
            seconds_left: seconds
                .map(|seconds| (seconds * left as f64 / self.own_weight as f64).ceil() as u64),
            done_permille: self.weight_done.saturating_mul(1_000) / self.weight.max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Range;
    use crate::model::schema::TableId;

    fn chunk(table: &str, number: i64, bytes: u64, is_done: bool) -> Chunk {
        Chunk {
            table: TableId::new("s", table),
            number,
            range: Range::default(),
            is_done,
            estimated_rows: Some(100),
            estimated_bytes: bytes,
            copied_rows: if is_done { 90 } else { 0 },
            copied_bytes: if is_done { 50 } else { 0 },
        }
    }

    #[test]
    fn what_is_left_is_measured_by_what_this_process_did() {
        let start = Instant::now();
        // A fourth was done before this process came.
        let chunks = [
            chunk("a", 0, 1_000, true),
            chunk("a", 1, 1_000, false),
            chunk("b", 0, 1_000, false),
            chunk("b", 1, 1_000, false),
        ];
        let mut progress = Progress::new(&chunks, start);
        let told = progress.told(start + Duration::from_secs(10));
        assert_eq!((told.all.seconds_left, told.all.done_permille), (None, 250));
        assert_eq!(told.tables, []);
        progress.begins(&chunks[1], start);
        progress.begins(&chunks[2], start + Duration::from_secs(5));
        let done = Chunk {
            copied_rows: 200,
            copied_bytes: 80,
            ..chunks[2].clone()
        };
        progress.done(&done);
        let told = progress.told(start + Duration::from_secs(10));
        // In all half is left, and a fourth took ten seconds.
        assert_eq!(told.all.seconds_left, Some(20));
        assert_eq!(
            (told.all.rows, told.all.bytes, told.all.done_permille),
            (290, 130, 500)
        );
        assert_eq!(
            (told.all.rows_estimated, told.all.rows_per_second),
            (Some(400), 20.0)
        );
        let of = |place: usize| {
            let pace = &told.tables[place];
            (
                pace.table.as_str(),
                pace.rows,
                pace.rows_per_second,
                pace.seconds_left,
            )
        };
        assert_eq!(of(0), ("s.a", 90, 0.0, None));
        assert_eq!(of(1), ("s.b", 200, 40.0, Some(5)));
        progress.done(&chunks[3]);
        let told = progress.told(start + Duration::from_secs(10));
        assert_eq!(told.tables.len(), 1, "what is done is told no more");
    }

    #[test]
    fn nothing_is_told_of_a_moment() {
        let start = Instant::now();
        let chunks = [chunk("a", 0, 0, false), chunk("a", 1, 0, false)];
        let mut progress = Progress::new(&chunks, start);
        progress.begins(&chunks[0], start);
        progress.done(&chunks[0]);
        let told = progress.told(start + Duration::from_millis(10));
        assert_eq!((told.all.seconds_left, told.all.rows_per_second), (None, 0.0));
        assert_eq!(
            told.all.done_permille, 500,
            "without statistics chunks count alike"
        );
    }
}
