//! The last round of a link that does not run all the time: an image that was swapped in, or a burst of the log.
//!
//! Owns: what a round was, as the target keeps it, and when the next one is due. Pure. When that is follows from the
//! frequency that is configured now, so that a new one counts at once.

use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// By the target's clock, in microseconds.
    pub began_us: i64,
    /// Since it began, by the same clock.
    pub age_ms: u64,
    pub took_ms: u64,
    /// Where the source's log stood, and the source's time then: the moment that the target shows.
    pub position: String,
    pub source_us: i64,
    /// Of an image; a burst names none.
    pub tables: Vec<Imaged>,
}

/// One table of an image, by the target's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imaged {
    pub table: String,
    /// The image's, and how many of the target's were written because they differed.
    pub rows: u64,
    pub written: u64,
    /// The target's columns that the image filled.
    pub columns: Vec<String>,
}

impl Round {
    /// How long until the next one; nothing where it is due.
    pub fn left(&self, every: Duration) -> Duration {
        every.saturating_sub(Duration::from_millis(self.age_ms))
    }

    /// When the next one is due, by the target's clock, in microseconds.
    pub fn next_us(&self, every: Duration) -> i64 {
        let every = i64::try_from(every.as_micros()).unwrap_or(i64::MAX);
        self.began_us.saturating_add(every)
    }

    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    pub fn written(&self) -> u64 {
        self.tables.iter().map(|table| table.written).sum()
    }
}

/// A length of time as it is written in the configuration.
pub fn told(every: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut rest = every.as_secs();
    let mut out = String::new();
    for (seconds, unit) in UNITS {
        if rest >= seconds {
            out.push_str(&format!("{}{unit}", rest / seconds));
            rest %= seconds;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_due_by_the_frequency_of_now() {
        let round = Round {
            began_us: 1_000_000,
            age_ms: 4_000,
            took_ms: 500,
            position: String::new(),
            source_us: 0,
            tables: Vec::new(),
        };
        assert_eq!(round.left(Duration::from_secs(10)), Duration::from_secs(6));
        assert_eq!(round.left(Duration::from_secs(3)), Duration::ZERO);
        assert_eq!(round.next_us(Duration::from_secs(10)), 11_000_000);
    }

    #[test]
    fn times_are_told_as_they_are_written() {
        for (seconds, text) in [
            (0, "0s"),
            (10, "10s"),
            (900, "15m"),
            (5_430, "1h30m30s"),
            (604_800, "7d"),
        ] {
            assert_eq!(told(Duration::from_secs(seconds)), text);
        }
    }
}
