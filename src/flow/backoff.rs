//! How long to wait after an error that passes by itself, and when `run --once` waits no longer.
//!
//! Owns: pauses that double up to a cap, spread at random so that many links do not knock in step.
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
/// What ran this long has recovered: its next failure starts with the shortest pause again.
const RECOVERED_AFTER: Duration = Duration::from_secs(10);

pub(super) struct Backoff {
    pause: Duration,
    /// After so long without success `run --once` gives up.
    patience: Option<Duration>,
    /// When the attempt that is under way began.
    started: Instant,
    /// Since when no attempt has worked.
    failing_since: Option<Instant>,
}

impl Backoff {
    /// `patience`: for ever where there is none.
    pub(super) fn new(patience: Option<Duration>) -> Self {
        Backoff {
            pause: PAUSE_MIN,
            patience,
            started: Instant::now(),
            failing_since: None,
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
        let pause = self.pause_after(&error);
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

    /// `None`: it is not to be tried again.
    fn pause_after(&mut self, error: &Error) -> Option<Duration> {
        if !error.is_transient() {
            return None;
        }
        if self.started.elapsed() > RECOVERED_AFTER {
            self.pause = PAUSE_MIN;
            self.failing_since = None;
        }
        let since = *self.failing_since.get_or_insert(self.started);
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
}
