//! Chance that is no chance: everything that a run draws comes from its seed.

use std::time::Duration;

/// A sequence that looks random (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence of its own for one part of a run, so that what one part draws changes no other.
    pub fn branch(&self, number: u64) -> Self {
        let mut branch = Self(self.0 ^ number.wrapping_mul(0xa076_1d64_78bd_642f));
        Self(branch.word())
    }

    /// The next number.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; zero if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        match u64::try_from(end) {
            Ok(end) if end > 0 => usize::try_from(self.word() % end).unwrap_or(0),
            Ok(_) | Err(_) => 0,
        }
    }

    /// Whether something happens that happens so often in a million.
    pub fn happens(&mut self, in_a_million: u32) -> bool {
        in_a_million > 0 && self.word() % 1_000_000 < u64::from(in_a_million)
    }

    /// Whether something happens that happens once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A time from `least` to `most`.
    pub fn time(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least).as_nanos();
        let span = u64::try_from(span).unwrap_or(u64::MAX).saturating_add(1);
        least + Duration::from_nanos(self.word() % span)
    }

    /// The same in milliseconds.
    pub fn millis(&mut self, least: u64, most: u64) -> Duration {
        self.time(Duration::from_millis(least), Duration::from_millis(most))
    }

    /// One of several things.
    pub fn one_of<T: Copy>(&mut self, first: T, others: &[T]) -> T {
        match self.below(others.len() + 1).checked_sub(1) {
            None => first,
            Some(index) => others.get(index).copied().unwrap_or(first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..9).map(|_| random.word()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn what_one_part_draws_changes_no_other() {
        let random = Random::new(3);
        let mut first = random.branch(1);
        let before = random.branch(2).word();
        first.word();
        assert_eq!(random.branch(2).word(), before);
        assert_ne!(random.branch(1).word(), before);
    }

    #[test]
    fn times_stay_within_their_bounds() {
        let mut random = Random::new(1);
        for _ in 0..1000 {
            let time = random.millis(3, 5);
            assert!(time >= Duration::from_millis(3) && time <= Duration::from_millis(5));
        }
        assert_eq!(random.below(0), 0);
    }
}
