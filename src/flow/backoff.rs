//! How long to wait after an error that passes by itself, and when `run --once` waits no longer.
//!
//! Owns: pauses that double up to a cap, spread at random so that many links do not knock in step. Patience runs from
//! the first failure since a checkpoint was last committed: neither good work before it nor the time that an attempt
//! itself takes (a connect timeout) changes that.
//! Fails: with the error itself, when it is not of that kind or the patience of `run --once` is at its end.

use super::pulse::Pulse;
use crate::error::{Error, Result};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

const PAUSE_MIN: Duration = Duration::from_millis(200);
/// A server that is back is used again after this long at most.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// After an attempt this long nobody knocks too often: the next pause is the shortest again.
const RECOVERED_AFTER: Duration = Duration::from_secs(10);

pub(super) struct Backoff {
    pause: Duration,
    /// After so long without progress `run --once` gives up.
    patience: Option<Duration>,
    /// When the attempt that is under way began.
    started: Instant,
    /// The first failure since the last progress.
    failing_since: Option<Instant>,
    /// Checkpoints committed before that failure.
    committed: u64,
}

impl Backoff {
    /// `patience`: for ever where there is none.
    pub(super) fn new(patience: Option<Duration>) -> Self {
        Backoff {
            pause: PAUSE_MIN,
            patience,
            started: Instant::now(),
            failing_since: None,
            committed: 0,
        }
    }

    /// Waits before the next attempt of `name`, which shows in `pulses`. `false`: told to stop meanwhile.
    pub(super) async fn wait(
        &mut self,
        name: &str,
        error: Error,
        pulses: &[Arc<Pulse>],
        stop: &CancellationToken,
    ) -> Result<bool> {
        let committed = pulses.iter().map(|pulse| pulse.committed_groups()).sum();
        let pause = self.pause_after(&error, committed);
        pulses.iter().for_each(|pulse| pulse.failed(&error, pause));
        let Some(pause) = pause else { return Err(error) };
        warn!(
            name, %error, hint = error.hint_text(), retry_in_ms = pause.as_millis() as u64,
            "interrupted: tried again until it works"
        );
        tokio::select! {
            () = stop.cancelled() => return Ok(false),
            () = tokio::time::sleep(pause) => {}
        }
        self.started = Instant::now();
        Ok(true)
    }

    /// `None`: it is not to be tried again. `committed`: checkpoints so far, which only grow.
    fn pause_after(&mut self, error: &Error, committed: u64) -> Option<Duration> {
        if !error.is_transient() {
            return None;
        }
        if self.started.elapsed() > RECOVERED_AFTER {
            self.pause = PAUSE_MIN;
        }
        if committed > self.committed {
            (self.committed, self.failing_since) = (committed, None);
        }
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let mut pause = self.pause.mul_f64(spread());
        if let Some(patience) = self.patience {
            let left = patience.saturating_sub(since.elapsed());
            if left.is_zero() {
                return None;
            }
            pause = pause.min(left);
        }
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Some(pause)
    }
}

/// A factor from 0.75 to 1.25.
fn spread() -> f64 {
    let random = std::hash::RandomState::new().build_hasher().finish();
    0.75 + (random % 1000) as f64 / 2000.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::flow::pulse::Conflicts;
    use crate::model::position::Position;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_cap_and_begin_anew_after_a_recovery() {
        let stop = CancellationToken::new();
        let mut backoff = Backoff::new(None);
        let pause = async |backoff: &mut Backoff| {
            let start = Instant::now();
            assert!(
                backoff
                    .wait("x", Error::transient("x"), &[], &stop)
                    .await
                    .unwrap()
            );
            start.elapsed()
        };
        let mut last = Duration::ZERO;
        for _ in 0..12 {
            last = pause(&mut backoff).await;
            assert!(
                last <= PAUSE_MAX.mul_f64(1.25) + Duration::from_millis(2),
                "{last:?}"
            );
        }
        assert!(last >= PAUSE_MAX.mul_f64(0.75), "{last:?}");
        tokio::time::sleep(RECOVERED_AFTER * 2).await;
        assert!(pause(&mut backoff).await < Duration::from_millis(300));
    }

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn once_gives_up_and_a_run_does_not() {
        let stop = CancellationToken::new();
        let start = Instant::now();
        let mut backoff = Backoff::new(Some(PATIENCE));
        while backoff.wait("x", Error::transient("x"), &[], &stop).await.is_ok() {}
        assert!(start.elapsed() < PATIENCE * 2, "{:?}", start.elapsed());
        let mut backoff = Backoff::new(None);
        for _ in 0..100 {
            assert!(
                backoff
                    .wait("x", Error::transient("x"), &[], &stop)
                    .await
                    .unwrap()
            );
        }
        assert!(backoff.wait("x", Error::definite("x"), &[], &stop).await.is_err());
        stop.cancel();
        assert!(
            !backoff
                .wait("x", Error::transient("x"), &[], &stop)
                .await
                .unwrap()
        );
    }

    /// Attempts of `each` that fail; so many were made, and so long it took, until it gave up.
    async fn attempts(backoff: &mut Backoff, each: Duration, pulses: &[Arc<Pulse>]) -> (u32, Duration) {
        let (stop, start) = (CancellationToken::new(), Instant::now());
        for count in 1.. {
            tokio::time::sleep(each).await;
            let waited = backoff.wait("x", Error::transient("x"), pulses, &stop).await;
            if waited.is_err() {
                return (count, start.elapsed());
            }
            assert!(start.elapsed() < PATIENCE * 100, "it never gives up");
        }
        unreachable!()
    }

    #[tokio::test(start_paused = true)]
    async fn slow_attempts_use_patience_up_and_good_work_does_not() {
        // Each attempt takes a connect timeout longer than the patience: the second failure is the last.
        let mut backoff = Backoff::new(Some(PATIENCE));
        let (count, _) = attempts(&mut backoff, PATIENCE + Duration::from_secs(2), &[]).await;
        assert_eq!(count, 2);
        // Good work before the first failure counts for nothing.
        let mut backoff = Backoff::new(Some(PATIENCE));
        tokio::time::sleep(PATIENCE - Duration::from_secs(1)).await;
        let (count, took) = attempts(&mut backoff, Duration::from_millis(10), &[]).await;
        assert!(
            count > 3 && took >= PATIENCE && took < PATIENCE * 2,
            "{count} {took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_committed_checkpoint_begins_the_patience_anew() {
        let (stop, pulse) = (
            CancellationToken::new(),
            Arc::new(Pulse::new("s", "a->b", String::new(), String::new())),
        );
        let pulses = [Arc::clone(&pulse)];
        let mut backoff = Backoff::new(Some(PATIENCE));
        for _ in 0..5 {
            tokio::time::sleep(PATIENCE * 2).await;
            pulse.committed(&Position::Lsn(1), 0, &Conflicts::default());
            let waited = backoff.wait("x", Error::transient("x"), &pulses, &stop).await;
            assert!(waited.unwrap());
        }
        tokio::time::sleep(PATIENCE * 2).await;
        let waited = backoff.wait("x", Error::transient("x"), &pulses, &stop).await;
        assert!(waited.is_err());
    }
}
