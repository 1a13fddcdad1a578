//! Lag: how far what is applied is behind the source, as age, bytes and oldest commit.
//!
//! The end of the source's log is looked at every few seconds on a connection of its own. A moment of which the log
//! is applied lies behind us; the oldest that is not says how old the lag is. So nothing need be written to measure,
//! an idle link has no lag, and whatever hangs (target, sender, we) makes all three figures grow.
//! Owns: the samples and what follows from them. Refuses: looking at a log (see `poll`); it reads the clock and nothing
//! else. Fails: never: what is not known is `None`, and a source that says nothing falls behind.

use crate::model::log::LogEnd;
use crate::model::position::Position;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Samples kept; when there are more, every second one goes and the resolution is halved.
const SAMPLES_MAX: usize = 128;
/// A source that has not told its log's end for so long may have written anything.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(10);
/// A log that is flushed to the end of a page may end inside of a record, which nobody can send: so near to what is
/// taken, that is no lag.
const PAGE_BYTES: u64 = 8_192;
const TAIL_BYTES_MAX: u64 = 8 * PAGE_BYTES;
/// Log that the source does not send for so long, though the link could take it, is worth a word.
const QUIET_AFTER: Duration = Duration::from_secs(5);

/// How far a link is behind. `None`: not known (yet).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lag {
    /// For so long what is applied has not been the present; 0 = everything that the source has is applied.
    pub age_ms: Option<u64>,
    pub bytes: Option<u64>,
    /// `bytes` is an estimate, or an upper bound.
    pub bytes_estimated: bool,
    /// Commit time of the oldest transaction that is not applied, by the source's clock.
    pub oldest_commit_us: Option<i64>,
    pub oldest_age_ms: Option<u64>,
    /// That transaction has not been received: it committed at that time at the latest.
    pub oldest_estimated: bool,
}

#[derive(Debug, Clone)]
struct Sample {
    position: Position,
    bytes: u64,
    at: Instant,
    source_now_us: i64,
}

#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Not covered yet, oldest first.
    waiting: VecDeque<Sample>,
    /// The end of the log when it was last looked at.
    last: Option<Sample>,
    /// On the scale of the samples' bytes: where the link stands for certain.
    covered_bytes: Option<u64>,
    covered_is_estimate: bool,
}

impl Meter {
    /// Where the link stood when measuring began.
    pub(super) fn begins(&mut self, position: &Position, is_estimate: bool) {
        self.waiting.clear();
        self.last = None;
        self.covered_bytes = Some(match position {
            Position::Lsn(lsn) => *lsn,
            _ => 0,
        });
        self.covered_is_estimate = is_estimate;
    }

    pub(super) fn sampled(&mut self, end: &LogEnd, bytes: u64, taken: Option<&Position>) {
        self.settle(taken);
        let sample = Sample {
            position: end.position.clone(),
            bytes,
            at: Instant::now(),
            source_now_us: end.now_us,
        };
        self.last = Some(sample.clone());
        let is_known = self
            .waiting
            .back()
            .is_some_and(|back| back.position == sample.position);
        let is_tail = matches!(end.position, Position::Lsn(lsn) if lsn.is_multiple_of(PAGE_BYTES))
            && self
                .covered_bytes
                .is_some_and(|covered| bytes.saturating_sub(covered) < TAIL_BYTES_MAX);
        if is_known || is_tail {
            return;
        }
        self.waiting.push_back(sample);
        if self.waiting.len() > SAMPLES_MAX {
            let mut keep = false;
            self.waiting.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// Lets go of what is applied.
    fn settle(&mut self, taken: Option<&Position>) {
        let Some(taken) = taken else { return };
        while let Some(front) = self.waiting.front() {
            if !taken.covers(&front.position).unwrap_or(false) {
                break;
            }
            self.covered_bytes = Some(front.bytes);
            self.covered_is_estimate = false;
            self.waiting.pop_front();
        }
        if let Position::Lsn(lsn) = taken {
            self.covered_bytes = Some(*lsn);
            self.covered_is_estimate = false;
        }
    }

    /// `oldest_us`: the oldest commit that was received and is not applied.
    pub(super) fn lag(&mut self, taken: Option<&Position>, oldest_us: Option<i64>) -> Lag {
        self.settle(taken);
        let Some(last) = &self.last else {
            return Lag::default();
        };
        let source_now_us = last.source_now_us + micros(last.at.elapsed());
        let unseen = Some(last.at.elapsed()).filter(|age| *age > SILENT_AFTER);
        let first = self.waiting.front();
        let waited = first.map(|first| first.at.elapsed());
        // A group in flight is younger than any sample at most times: it counts by its commit.
        let known = oldest_us.map(|at| Duration::from_micros(u64::try_from(source_now_us - at).unwrap_or(0)));
        let age = [waited, unseen, known].into_iter().flatten().max();
        let oldest = oldest_us.or_else(|| first.map(|first| first.source_now_us));
        let oldest = oldest.or_else(|| unseen.map(|_| last.source_now_us));
        Lag {
            age_ms: Some(age.map_or(0, millis)),
            bytes: self.covered_bytes.map(|covered| match first {
                Some(_) => last.bytes.saturating_sub(covered),
                None => 0,
            }),
            bytes_estimated: first.is_some() && self.covered_is_estimate,
            oldest_commit_us: oldest,
            oldest_age_ms: oldest.map(|at| u64::try_from((source_now_us - at) / 1_000).unwrap_or(0)),
            oldest_estimated: oldest.is_some() && oldest_us.is_none(),
        }
    }

    /// For how long the source has kept log to itself, or (`true`) said nothing at all.
    pub(super) fn quiet(&mut self, taken: Option<&Position>, is_busy: bool) -> Option<(Duration, bool)> {
        self.settle(taken);
        let last = self.last.as_ref()?.at.elapsed();
        if last > SILENT_AFTER {
            return Some((last, true));
        }
        let waited = self.waiting.front().map(|front| front.at.elapsed())?;
        (!is_busy && waited > QUIET_AFTER).then_some((waited, false))
    }
}

fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

fn micros(age: Duration) -> i64 {
    i64::try_from(age.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::log::Place;

    fn end(lsn: u64, now_us: i64) -> LogEnd {
        LogEnd {
            position: Position::Lsn(lsn),
            place: Place::Lsn(lsn),
            now_us,
        }
    }

    #[test]
    fn an_idle_link_has_no_lag() {
        let mut meter = Meter::default();
        assert_eq!(meter.lag(Some(&Position::Lsn(5)), None), Lag::default());
        meter.begins(&Position::Lsn(5), false);
        meter.sampled(&end(5, 1_000), 5, None);
        let lag = meter.lag(Some(&Position::Lsn(5)), None);
        assert_eq!(
            (lag.age_ms, lag.bytes, lag.oldest_commit_us),
            (Some(0), Some(0), None)
        );
    }

    #[test]
    fn what_is_not_taken_grows_old() {
        let mut meter = Meter::default();
        meter.begins(&Position::Lsn(5), false);
        meter.sampled(&end(105, 1_000_000), 105, None);
        std::thread::sleep(Duration::from_millis(20));
        meter.sampled(&end(205, 1_020_000), 205, None);
        let lag = meter.lag(Some(&Position::Lsn(5)), None);
        assert!(lag.age_ms.unwrap() >= 20, "{lag:?}");
        assert_eq!((lag.bytes, lag.oldest_commit_us), (Some(200), Some(1_000_000)));
        assert!(lag.oldest_estimated);
        // A received commit is known better than a look at the log's end.
        let known = meter.lag(Some(&Position::Lsn(5)), Some(400_000));
        assert_eq!(
            (known.oldest_commit_us, known.oldest_estimated),
            (Some(400_000), false)
        );
        assert!(known.age_ms.unwrap() >= 620, "{known:?}");
        let half = meter.lag(Some(&Position::Lsn(150)), None);
        assert_eq!((half.bytes, half.oldest_commit_us), (Some(55), Some(1_020_000)));
        assert_eq!(meter.lag(Some(&Position::Lsn(205)), None).age_ms, Some(0));
    }

    /// What it wrote since it was last heard of is not known: that is a lag which grows, not none.
    #[test]
    fn a_source_that_is_silent_falls_behind() {
        let mut meter = Meter::default();
        let there = Position::Lsn(5);
        meter.begins(&there, false);
        meter.sampled(&end(5, 1_000), 5, Some(&there));
        assert_eq!(meter.lag(Some(&there), None).age_ms, Some(0));
        let silence = SILENT_AFTER + Duration::from_secs(1);
        if let Some(last) = &mut meter.last {
            last.at = last.at.checked_sub(silence).unwrap();
        }
        let lag = meter.lag(Some(&there), None);
        assert!(lag.age_ms.unwrap() >= 11_000, "{lag:?}");
        assert_eq!((lag.oldest_commit_us, lag.oldest_estimated), (Some(1_000), true));
        assert_eq!(meter.quiet(Some(&there), false).map(|(_, mute)| mute), Some(true));
    }

    #[test]
    fn samples_are_bounded_and_keep_the_oldest() {
        let mut meter = Meter::default();
        meter.begins(&Position::Lsn(0), false);
        for number in 1..=1_000 {
            meter.sampled(&end(number, number as i64), number, None);
        }
        assert!(meter.waiting.len() <= SAMPLES_MAX);
        let lag = meter.lag(Some(&Position::Lsn(0)), None);
        assert_eq!((lag.bytes, lag.oldest_commit_us), (Some(1_000), Some(1)));
    }
}
