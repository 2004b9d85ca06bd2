//! Time as it stands in maps.

/// Coarse time: `CLOCK_MONOTONIC` in units of 2³⁰ ns (1.07 s).
///
/// A power of two, because the packet path reads the clock for every packet and a shift costs
/// nothing where a division does. 32 bits last 146 years.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tick(pub u32);

impl Tick {
    /// Nanoseconds in a tick.
    pub const NANOS: u64 = 1 << 30;

    /// The tick that `nanos` of `CLOCK_MONOTONIC` fall into.
    #[inline(always)]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self((nanos >> 30) as u32)
    }

    /// The nanosecond at which this tick began.
    pub const fn nanos(self) -> u64 {
        (self.0 as u64) << 30
    }
}
