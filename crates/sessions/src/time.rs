//! Wall-clock time as the log has it.

use std::{fmt, str::FromStr, time::Duration};

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Microseconds since 1970-01-01 in UTC: as fine as a timestamp of RFC 5424 can be.
///
/// Shown as RFC 3339 has it, always with six digits behind the second, so that times that are
/// sorted as text are sorted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(u64);

/// The last second of the year 9998: beyond it no calendar of ours goes.
const MICROS_MAX: u64 = 253_370_764_799 * 1_000_000;

const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

impl Time {
    /// The first moment.
    pub const MIN: Self = Self(0);
    /// The last moment.
    pub const MAX: Self = Self(MICROS_MAX);

    /// A moment by its microseconds; those beyond the calendar are its end.
    pub const fn from_micros(micros: u64) -> Self {
        Self(if micros > MICROS_MAX {
            MICROS_MAX
        } else {
            micros
        })
    }

    /// A moment by its nanoseconds, of which the last three digits do not count.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self::from_micros(nanos / 1000)
    }

    /// A moment by its seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self::from_micros(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since 1970.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> u64 {
        self.0 / 1000
    }

    /// Seconds since 1970, of which 32 bits last until 2106.
    pub const fn secs(self) -> u32 {
        let seconds = self.0 / 1_000_000;
        if seconds > u32::MAX as u64 {
            return u32::MAX;
        }
        seconds as u32
    }

    /// The next whole second; the same if it is one.
    pub const fn secs_up(self) -> u32 {
        Self::from_micros(self.0.saturating_add(999_999)).secs()
    }

    /// Later by this much.
    pub const fn plus(self, duration: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(micros(duration)))
    }

    /// Earlier by this much, but not before 1970.
    pub const fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// How long it is from an earlier moment to this one; nothing from a later one.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The same for the calendar.
    fn timestamp(self) -> Timestamp {
        i64::try_from(self.0)
            .ok()
            .and_then(|micros| Timestamp::from_microsecond(micros).ok())
            .unwrap_or(Timestamp::MAX)
    }

    /// `20261103T140500.123456Z`: fit for the name of a file, and sorted as text.
    pub fn compact(self) -> String {
        self.to_string().replace(['-', ':'], "")
    }
}

const fn micros(duration: Duration) -> u64 {
    let micros = duration.as_micros();
    if micros > MICROS_MAX as u128 {
        return MICROS_MAX;
    }
    micros as u64
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PRINTER
            .print_timestamp(&self.timestamp(), jiff::fmt::StdFmtWrite(f))
            .map_err(|_| fmt::Error)
    }
}

impl FromStr for Time {
    type Err = jiff::Error;

    /// Reads RFC 3339. What lies before 1970 is 1970.
    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        let timestamp: Timestamp = text.parse()?;
        let micros = u64::try_from(timestamp.as_microsecond()).unwrap_or(0);
        Ok(Self::from_micros(micros))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Rfc3339)
    }
}

struct Rfc3339;

impl de::Visitor<'_> for Rfc3339 {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time as RFC 3339 has it")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
        text.parse().map_err(E::custom)
    }
}
