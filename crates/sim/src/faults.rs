//! What goes wrong in a run, or is done to gateways on purpose.

use std::time::Duration;

use crate::random::Random;

/// One thing that happens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A gateway loses its power, and with it what its memory holds; after a while it starts again.
    Crash {
        /// Which.
        member: usize,
        /// How long it is away.
        away: Duration,
    },
    /// A gateway stands still, as a virtual machine that is moved, and goes on as if nothing had been.
    Freeze {
        /// Which.
        member: usize,
        /// For how long.
        time: Duration,
    },
    /// Nobody reaches a gateway, and it nobody; it keeps its flows.
    Isolate {
        /// Which.
        member: usize,
        /// For how long.
        time: Duration,
    },
    /// A gateway's daemon ends and another one takes its tables over.
    Restart {
        /// Whose.
        member: usize,
        /// How long there is none.
        away: Duration,
        /// Whether it said that it goes.
        is_said: bool,
    },
    /// Members do not hear each other, and routers reach all of them.
    Partition {
        /// One bit for each member that is on one side.
        side: u8,
        /// Whether only one of the two sides does not hear the other.
        is_one_way: bool,
        /// For how long.
        time: Duration,
    },
    /// Two members do not hear each other, and all others do.
    CutPair {
        /// Whom the other does not hear.
        from: usize,
        /// Who does not hear it.
        to: usize,
        /// Whether the first does hear the other.
        is_one_way: bool,
        /// For how long.
        time: Duration,
    },
    /// A gateway is drained and comes back.
    Drain {
        /// Which.
        member: usize,
        /// After how long routers send nothing to it any more.
        ebb: Duration,
        /// For how long.
        time: Duration,
        /// How long it is away then, if no flow is left and it is to start anew; zero if it is not.
        away: Duration,
    },
    /// All links lose packets.
    Loss {
        /// How many of a million.
        in_a_million: u32,
        /// For how long.
        time: Duration,
    },
    /// Another configuration is put in force, on one gateway after the other.
    Configure {
        /// Which.
        version: usize,
        /// From the first to the last.
        spread: Duration,
    },
}

/// What kinds there are, for those who count.
pub const KINDS: [&str; 9] = [
    "crashes",
    "freezes",
    "isolations",
    "restarts",
    "partitions",
    "cut pairs",
    "drains",
    "losses",
    "configurations",
];

impl Fault {
    /// Which of [`KINDS`] it is.
    pub const fn kind(&self) -> usize {
        match self {
            Self::Crash { .. } => 0,
            Self::Freeze { .. } => 1,
            Self::Isolate { .. } => 2,
            Self::Restart { .. } => 3,
            Self::Partition { .. } => 4,
            Self::CutPair { .. } => 5,
            Self::Drain { .. } => 6,
            Self::Loss { .. } => 7,
            Self::Configure { .. } => 8,
        }
    }

    /// The gateway that it is about, if it is about one.
    pub const fn member(&self) -> Option<usize> {
        match self {
            Self::Crash { member, .. }
            | Self::Freeze { member, .. }
            | Self::Isolate { member, .. }
            | Self::Restart { member, .. }
            | Self::Drain { member, .. } => Some(*member),
            Self::Partition { .. }
            | Self::CutPair { .. }
            | Self::Loss { .. }
            | Self::Configure { .. } => None,
        }
    }

    /// From its begin to its end.
    pub fn time(&self) -> Duration {
        match self {
            Self::Crash { away, .. } | Self::Restart { away, .. } => *away,
            Self::Freeze { time, .. }
            | Self::Isolate { time, .. }
            | Self::Partition { time, .. }
            | Self::CutPair { time, .. }
            | Self::Loss { time, .. } => *time,
            Self::Drain { time, away, .. } => time.saturating_add(*away),
            Self::Configure { spread, .. } => *spread,
        }
    }

    /// Whether it must cost no connection.
    pub const fn is_gentle(&self) -> bool {
        match self {
            Self::Drain { .. } | Self::Configure { .. } => true,
            Self::Restart { is_said, .. } => *is_said,
            Self::Crash { .. }
            | Self::Freeze { .. }
            | Self::Isolate { .. }
            | Self::Partition { .. }
            | Self::CutPair { .. }
            | Self::Loss { .. } => false,
        }
    }

    /// One that costs no connection.
    pub fn gentle(members: usize, number: usize, random: &mut Random) -> Self {
        let member = random.below(members);
        match random.below(5) {
            0 | 1 => Self::Drain {
                member,
                ebb: random.millis(100, 4000),
                time: random.millis(5000, 25_000),
                away: random.millis(2000, 40_000) * u32::from(random.once_in(2)),
            },
            2 | 3 => Self::Restart {
                member,
                away: random.millis(50, 15_000),
                is_said: true,
            },
            _ => Self::Configure {
                version: number,
                spread: random.millis(0, 6000),
            },
        }
    }

    /// Any.
    pub fn any(members: usize, number: usize, random: &mut Random) -> Self {
        let (member, time) = (random.below(members), random.millis(200, 25_000));
        let other = (member + 1 + random.below(members - 1)) % members;
        match random.below(13) {
            0 | 1 => Self::Crash { member, away: time },
            2 => Self::Freeze { member, time },
            3 | 4 => Self::Isolate { member, time },
            5 => Self::Restart {
                member,
                away: time,
                is_said: false,
            },
            6 | 7 => Self::Partition {
                side: 1 + random.below((1 << members) - 2) as u8,
                is_one_way: random.once_in(3),
                time,
            },
            8 => Self::CutPair {
                from: member,
                to: other,
                is_one_way: random.once_in(2),
                time,
            },
            9 => Self::Loss {
                in_a_million: random.one_of(20_000, &[100_000, 300_000, 600_000]),
                time: random.millis(200, 6000),
            },
            _ => Self::gentle(members, number, random),
        }
    }
}
