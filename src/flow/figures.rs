//! What a process says of one link: over HTTP, and to everybody else in the row of the link's lease.
//!
//! Owns: the fields and their units. Refuses: measuring (see `pulse` and `lag`). A reader of another version skips
//! fields it does not know and has the default for those that are missing.

use super::lag::Lag;
use super::progress::Copying;
use super::pulse::Pulse;
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering::Relaxed;

/// What a running process knows of a link.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    pub state: String,
    pub why: String,
    pub state_ms: u64,
    pub lag_ms: Option<u64>,
    pub lag_bytes: Option<u64>,
    pub lag_bytes_estimated: bool,
    pub oldest_unapplied_at: Option<String>,
    pub oldest_unapplied_ms: Option<u64>,
    pub oldest_unapplied_estimated: bool,
    pub position: Option<String>,
    pub rows: u64,
    pub rows_per_second: f64,
    pub copied_rows: u64,
    /// The copy that the process makes now, first or new.
    pub copying: Option<Copying>,
    pub transactions: u64,
    pub conflicts: u64,
    pub missed_bumps: u64,
    pub undone: u64,
    pub queue_bytes: u64,
    pub queue_capacity_bytes: u64,
    pub is_throttled: bool,
    pub reconnects: u64,
    pub retries: u64,
    /// When the next round is due, while the link rests, by its process's clock.
    pub next_at: Option<String>,
}

impl Figures {
    pub fn of(pulse: &Pulse) -> Self {
        let (condition, lag) = (pulse.condition(), pulse.lag());
        let Lag {
            age_ms,
            bytes,
            bytes_estimated,
            oldest_commit_us,
            oldest_age_ms,
            oldest_estimated,
        } = lag;
        let (queue_bytes, queue_capacity_bytes) = pulse.queued();
        let figures = &pulse.figures;
        Figures {
            state: condition.state.name().to_owned(),
            why: condition.why,
            state_ms: u64::try_from(condition.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            lag_ms: age_ms,
            lag_bytes: bytes,
            lag_bytes_estimated: bytes_estimated,
            oldest_unapplied_at: oldest_commit_us.map(moment),
            oldest_unapplied_ms: oldest_age_ms,
            oldest_unapplied_estimated: oldest_estimated,
            position: pulse.read_position(),
            rows: figures.rows.load(Relaxed),
            rows_per_second: pulse.rows_per_second(),
            copied_rows: figures.copied_rows.load(Relaxed),
            copying: pulse.copying(),
            transactions: figures.transactions.load(Relaxed),
            conflicts: pulse.conflicts().values().sum(),
            missed_bumps: figures.missed_bumps.load(Relaxed),
            undone: figures.undone.load(Relaxed),
            queue_bytes,
            queue_capacity_bytes,
            is_throttled: figures.is_throttled.load(Relaxed),
            reconnects: figures.reconnects.load(Relaxed),
            retries: figures.retries.load(Relaxed),
            next_at: pulse.rounds().next_us.map(moment),
        }
    }
}

/// RFC 3339 in UTC.
pub fn moment(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).map_or_else(|_| "out of range".to_owned(), |at| at.to_string())
}
