//! Random numbers with a printed seed, so that a failed run can be made again.

use std::time::{SystemTime, UNIX_EPOCH};

pub struct Random(u64);

impl Random {
    /// From `TIDELOCK_TEST_SEED`, else from the clock; a failed test shows it.
    pub fn new(what: &str) -> Self {
        let seed = std::env::var("TIDELOCK_TEST_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            u64::from(now.subsec_nanos()) ^ (now.as_secs() << 20)
        });
        eprintln!("{what}: TIDELOCK_TEST_SEED={seed}");
        Self(seed)
    }

    /// The same sequence each time, where only variety matters.
    pub fn fixed(seed: u64) -> Self {
        Self(seed)
    }

    /// Another sequence that follows from this one's seed.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
