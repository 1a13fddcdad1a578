//! How fast a copy may read, so that the users of its source do not notice.
//!
//! Owns: the pace of all workers of one copy together. Refuses: holding up the stream of changes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Time that was not used is made up for, this much of it.
const BURST_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Throttle {
    /// 0 = no limit.
    bytes_per_second: u64,
    /// What was read so far is paid for then.
    paid: Mutex<Instant>,
}

impl Throttle {
    pub(crate) fn new(bytes_per_second: u64) -> Throttle {
        Throttle {
            bytes_per_second,
            paid: Mutex::new(Instant::now()),
        }
    }

    /// Waits until so many bytes more are within the limit.
    pub(crate) async fn spend(&self, bytes: u64) {
        if self.bytes_per_second > 0 {
            tokio::time::sleep_until(self.due(bytes, Instant::now())).await;
        }
    }

    fn due(&self, bytes: u64, now: Instant) -> Instant {
        // In 128 bits, so that no product overflows; a day is more than anybody waits for.
        let micros = u128::from(bytes) * 1_000_000 / u128::from(self.bytes_per_second.max(1));
        let micros = u64::try_from(micros).unwrap_or(u64::MAX).min(86_400_000_000);
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST_MAX).unwrap_or(now);
        *paid = (*paid).max(earliest) + Duration::from_micros(micros);
        *paid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_one_pace_and_a_pause_is_made_up_for_once() {
        let throttle = Throttle::new(1_000);
        let start = Instant::now() + BURST_MAX;
        *throttle.paid.lock().unwrap_or_else(PoisonError::into_inner) = start;
        let second = Duration::from_secs(1);
        assert_eq!(throttle.due(1_000, start), start + second);
        assert_eq!(throttle.due(500, start), start + second * 3 / 2);
        let later = start + second * 100;
        assert_eq!(throttle.due(3_000, later), later + second * 2);
        assert!(throttle.due(u64::MAX, later) > later);
    }
}
