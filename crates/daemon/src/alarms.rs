//! Tells the log when the packet path refuses what it should be able to serve.
//!
//! The packet path only counts. Here a count that rises becomes a line that says so once for each
//! interval, however many packets it was.

use std::{collections::BTreeMap, time::Duration};

use abi::{Counter, Reason};

/// The shortest time between two lines about the same reason.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// The reasons that an operator must hear of: something is full, empty or broken.
const ALARMING: [Reason; 8] = [
    Reason::PortsExhausted,
    Reason::FlowTableFull,
    Reason::PoolEmpty,
    Reason::QuotaTableFull,
    Reason::NoRoute,
    Reason::Collision,
    Reason::Internal,
    Reason::FragmentsFull,
];

/// What was told already.
#[derive(Clone, Debug, Default)]
pub struct Alarms {
    told: BTreeMap<Reason, (u64, u64)>,
}

/// A count that rose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alarm {
    /// Why packets were dropped.
    pub reason: Reason,
    /// How many since the last line.
    pub packets: u64,
}

impl Alarms {
    /// Starts from these counts: what a predecessor counted it also told.
    pub fn new(count: impl Fn(Reason) -> Counter) -> Self {
        let told = ALARMING
            .into_iter()
            .map(|reason| (reason, (count(reason).packets, 0)));
        Self {
            told: told.collect(),
        }
    }

    /// What there is to tell at `now`, nanoseconds of `CLOCK_MONOTONIC`.
    pub fn check(&mut self, now: u64, count: impl Fn(Reason) -> Counter) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        for (reason, (told, quiet_until)) in &mut self.told {
            let packets = count(*reason).packets;
            if packets > *told && now >= *quiet_until {
                alarms.push(Alarm {
                    reason: *reason,
                    packets: packets - *told,
                });
                *told = packets;
                *quiet_until = now + INTERVAL.as_nanos() as u64;
            }
        }
        alarms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(packets: u64) -> impl Fn(Reason) -> Counter {
        move |reason| {
            let packets = if reason == Reason::PortsExhausted {
                packets
            } else {
                0
            };
            Counter { packets, bytes: 0 }
        }
    }

    #[test]
    fn a_count_that_rises_is_told_once_for_each_interval() {
        let mut alarms = Alarms::new(counted(5));
        let alarm = |packets| {
            [Alarm {
                reason: Reason::PortsExhausted,
                packets,
            }]
        };
        let later = INTERVAL.as_nanos() as u64;

        assert_eq!(alarms.check(1, counted(5)), []);
        assert_eq!(alarms.check(2, counted(7)), alarm(2));
        assert_eq!(alarms.check(3, counted(900)), []);
        assert_eq!(alarms.check(2 + later, counted(1000)), alarm(993));
        assert_eq!(alarms.check(3 + 2 * later, counted(1000)), []);
    }
}
