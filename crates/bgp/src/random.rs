//! Numbers that look random, from a seed: for jitter, which nobody gains from guessing.

use std::time::Duration;

/// A sequence (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From three quarters of a time to all of it (RFC 4271 §10).
    pub fn jitter(&mut self, time: Duration) -> Duration {
        let part = u32::try_from(self.next() % 251).unwrap_or_default();
        time.saturating_mul(750 + part) / 1000
    }
}
