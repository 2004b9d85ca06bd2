//! A drain: from the wish to go until nothing comes any more.
//!
//! Routers are first asked to prefer others (RFC 8326), then it is waited until packets have ebbed, or
//! until the time is over that was given for it; then everything is withdrawn, and after a last moment for
//! what is on its way nothing is left to wait for.

use std::time::{Duration, Instant};

/// For so long traffic is waited for at least: a router has to choose other ways, and tell others.
pub const EBB_MIN: Duration = Duration::from_secs(2);
/// For so long packets are on their way that were sent before a route was withdrawn.
pub const AFTERGLOW: Duration = Duration::from_secs(1);
/// Packets a second that are no traffic: keepalives, and strangers that knock.
pub const EBBED_RATE: f64 = 10.0;
/// The part of what there was at the beginning that is no traffic.
pub const EBBED_PART: f64 = 0.01;
/// How far apart traffic is looked at.
pub const LOOK: Duration = Duration::from_millis(500);

/// Where a drain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nobody wants to go.
    Serving,
    /// Routers were asked to prefer others.
    Ebbing,
    /// Everything is withdrawn, and what is on its way is waited for.
    Withdrawing,
    /// Nothing comes any more.
    Drained,
}

impl Phase {
    /// The word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Ebbing => "ebbing",
            Self::Withdrawing => "withdrawing",
            Self::Drained => "drained",
        }
    }
}

/// Why routes were withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Traffic had ebbed.
    Ebbed,
    /// The time for it was over.
    TimeOver,
}

/// A drain, or that there is none.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    state: State,
}

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    Serving,
    Ebbing(Ebb),
    Withdrawing {
        until: Instant,
        why: Ended,
        left: f64,
    },
    Drained {
        why: Ended,
        left: f64,
    },
}

#[derive(Clone, Debug)]
struct Ebb {
    since: Instant,
    until: Instant,
    /// The last look: when, and packets until then.
    last: Option<(Instant, u64)>,
    /// Packets a second between the first two looks.
    first_rate: Option<f64>,
    rate: Option<f64>,
}

impl Drain {
    /// Begins, unless one goes on; `patience` is how long traffic is waited for at most.
    pub fn begin(&mut self, patience: Duration, now: Instant) {
        if matches!(self.state, State::Serving) {
            self.state = State::Ebbing(Ebb {
                since: now,
                until: now + patience,
                last: None,
                first_rate: None,
                rate: None,
            });
        }
    }

    /// Begins where no router sends anything here: there is nothing to wait for.
    pub fn begin_unheard(&mut self, now: Instant) {
        if matches!(self.state, State::Serving) {
            self.state = State::Withdrawing {
                until: now,
                why: Ended::Ebbed,
                left: 0.0,
            };
        }
    }

    /// Serves again.
    pub fn end(&mut self) {
        self.state = State::Serving;
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Serving => Phase::Serving,
            State::Ebbing(_) => Phase::Ebbing,
            State::Withdrawing { .. } => Phase::Withdrawing,
            State::Drained { .. } => Phase::Drained,
        }
    }

    /// Packets a second when it was last looked at, as far as that is known.
    pub fn rate(&self) -> Option<f64> {
        match &self.state {
            State::Serving => None,
            State::Ebbing(ebb) => ebb.rate,
            State::Withdrawing { left, .. } | State::Drained { left, .. } => Some(*left),
        }
    }

    /// Why routes were withdrawn, if they were.
    pub fn ended(&self) -> Option<Ended> {
        match self.state {
            State::Serving | State::Ebbing(_) => None,
            State::Withdrawing { why, .. } | State::Drained { why, .. } => Some(why),
        }
    }

    /// When it is to be looked at again.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Serving | State::Drained { .. } => None,
            State::Ebbing(ebb) => {
                let next = ebb.last.map_or(ebb.since, |(at, _)| at + LOOK);
                Some(next.min(ebb.until))
            }
            State::Withdrawing { until, .. } => Some(*until),
        }
    }

    /// Looks: `packets` were translated until `now`. Returns whether it stands elsewhere then.
    pub fn look(&mut self, packets: u64, now: Instant) -> bool {
        match &mut self.state {
            State::Serving | State::Drained { .. } => false,
            State::Ebbing(ebb) => {
                let Some(why) = ebb.look(packets, now) else {
                    return false;
                };
                self.state = State::Withdrawing {
                    until: now + AFTERGLOW,
                    why,
                    left: ebb.rate.unwrap_or_default(),
                };
                true
            }
            State::Withdrawing { until, why, left } => {
                if now < *until {
                    return false;
                }
                self.state = State::Drained {
                    why: *why,
                    left: *left,
                };
                true
            }
        }
    }
}

impl Ebb {
    fn look(&mut self, packets: u64, now: Instant) -> Option<Ended> {
        match self.last {
            None => self.last = Some((now, packets)),
            Some((at, before)) if now >= at + LOOK => {
                let rate = packets.saturating_sub(before) as f64 / (now - at).as_secs_f64();
                self.first_rate.get_or_insert(rate);
                self.rate = Some(rate);
                self.last = Some((now, packets));
            }
            Some(_) => {}
        }
        let was = self.first_rate.unwrap_or_default();
        let is_ebbed = self
            .rate
            .is_some_and(|it| it <= EBBED_RATE.max(was * EBBED_PART));
        if is_ebbed && now >= self.since + EBB_MIN {
            return Some(Ended::Ebbed);
        }
        (now >= self.until).then_some(Ended::TimeOver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Drains under a traffic that is `rate(seconds since the beginning)` packets a second, looked at
    /// whenever it wants to be; returns how long it took until withdrawal and until the end, and why.
    fn drained(rate: impl Fn(f64) -> f64) -> (Duration, Duration, Ended) {
        let begin = Instant::now();
        let (mut drain, mut now, mut packets) = (Drain::default(), begin, 0.0);
        drain.begin(PATIENCE, now);
        let mut withdrawn = None;
        while let Some(next) = drain.deadline() {
            let next = next.max(now + Duration::from_millis(1));
            packets += rate((now - begin).as_secs_f64()) * (next - now).as_secs_f64();
            now = next;
            if drain.look(packets as u64, now) && drain.phase() == Phase::Withdrawing {
                withdrawn = Some(now - begin);
            }
        }
        assert_eq!(drain.phase(), Phase::Drained);
        (withdrawn.unwrap(), now - begin, drain.ended().unwrap())
    }

    #[test]
    fn without_traffic_it_takes_as_long_as_routers_need() {
        let (withdrawn, end, why) = drained(|_| 0.0);

        assert_eq!(why, Ended::Ebbed);
        assert!(
            withdrawn >= EBB_MIN && withdrawn <= EBB_MIN + LOOK,
            "{withdrawn:?}"
        );
        assert!(end >= withdrawn + AFTERGLOW, "{end:?}");
    }

    #[test]
    fn traffic_that_goes_elsewhere_is_waited_for() {
        let (withdrawn, _, why) = drained(|at| if at < 7.0 { 50_000.0 } else { 3.0 });

        assert_eq!(why, Ended::Ebbed);
        let seconds = withdrawn.as_secs_f64();
        assert!((7.0..8.6).contains(&seconds), "{seconds}");
    }

    #[test]
    fn a_hundredth_of_what_was_is_no_traffic() {
        let (withdrawn, _, why) = drained(|at| if at < 4.0 { 50_000.0 } else { 400.0 });

        assert_eq!(why, Ended::Ebbed);
        assert!(withdrawn < Duration::from_secs(6), "{withdrawn:?}");
    }

    #[test]
    fn traffic_that_stays_is_left_when_the_time_is_over() {
        let (withdrawn, _, why) = drained(|_| 50_000.0);

        assert_eq!((withdrawn, why), (PATIENCE, Ended::TimeOver));
    }

    #[test]
    fn where_no_router_sends_anything_there_is_nothing_to_wait_for() {
        let now = Instant::now();
        let mut drain = Drain::default();
        drain.begin_unheard(now);
        assert_eq!(drain.deadline(), Some(now));

        assert!(drain.look(0, now));
        assert_eq!(
            (drain.phase(), drain.ended()),
            (Phase::Drained, Some(Ended::Ebbed))
        );
    }

    #[test]
    fn whoever_changes_their_mind_serves_again_at_once() {
        let begin = Instant::now();
        let mut drain = Drain::default();
        drain.begin(PATIENCE, begin);
        assert_eq!(drain.phase(), Phase::Ebbing);

        drain.end();

        assert_eq!(drain.phase(), Phase::Serving);
        assert_eq!(drain.deadline(), None);
        assert!(!drain.look(1_000_000, begin + PATIENCE * 2));
    }

    #[test]
    fn a_second_wish_does_not_begin_it_anew() {
        let begin = Instant::now();
        let mut drain = Drain::default();
        drain.begin(PATIENCE, begin);
        let first = drain.deadline();

        drain.begin(PATIENCE * 2, begin + Duration::from_secs(1));

        assert_eq!(drain.deadline(), first);
    }
}
