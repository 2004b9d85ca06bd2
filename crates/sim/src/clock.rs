//! Virtual time, and what the clocks of gateways say at such a time.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// A gateway's monotonic clock: it began at another moment than those of others, and goes at a slightly
/// other rate.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What it said when the run began.
    pub offset: Duration,
    /// How much too fast it goes, in millionths; negative is too slow.
    pub drift: i64,
}

impl Clock {
    /// One that began with the run and goes right.
    pub const RIGHT: Self = Self {
        offset: Duration::ZERO,
        drift: 0,
    };

    /// Nanoseconds that it shows at a virtual time.
    pub fn nanos(&self, now: Duration) -> u64 {
        let passed = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX);
        let offset = i128::try_from(self.offset.as_nanos()).unwrap_or(0);
        let shown = offset + passed + passed * i128::from(self.drift) / 1_000_000;
        u64::try_from(shown).unwrap_or(0)
    }

    /// What machines are told at a virtual time.
    pub fn instant(&self, now: Duration) -> Instant {
        origin() + Duration::from_nanos(self.nanos(now))
    }

    /// The first virtual time at which it shows `at`, or later.
    pub fn when(&self, at: Instant) -> Duration {
        let shown = at.saturating_duration_since(origin());
        let passed = i128::try_from(shown.saturating_sub(self.offset).as_nanos()).unwrap_or(0);
        let guess = passed * 1_000_000 / (1_000_000 + i128::from(self.drift));
        let guess = Duration::from_nanos(u64::try_from(guess).unwrap_or(0));
        let near = (0..4).map(|more| guess + Duration::from_nanos(more));
        let mut right = near.filter(|time| self.instant(*time) >= at);
        right.next().unwrap_or(guess + Duration::from_nanos(4))
    }
}

/// Where all clocks count from: machines want an `Instant`, which cannot be made of nothing. Only
/// differences to it are ever looked at, so it does not matter when this is.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_found_again_by_a_clock_that_goes_wrong() {
        for drift in [-2000, -1, 0, 1, 777, 2000] {
            let offset = Duration::from_secs(5000);
            let clock = Clock { offset, drift };
            for step in 0..2000_u64 {
                let now = Duration::from_nanos(step * 1_234_567_891);
                let at = clock.instant(now);
                let when = clock.when(at);
                assert!(clock.instant(when) >= at, "it is not too early");
                assert!(when <= now + Duration::from_nanos(4), "{when:?} {now:?}");
            }
        }
    }
}
