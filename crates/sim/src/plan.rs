//! What is drawn from a seed before a run begins: the site, its clocks and links, and everything that happens
//! to it.

use std::time::Duration;

use crate::{clock::Clock, faults::Fault, network::Quality, random::Random};

/// What kind of run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Only what operators do: drains, upgrades, configurations. No connection may be lost.
    Gentle,
    /// One gateway dies and comes back.
    Crash,
    /// One gateway is out of reach for a while and comes back with its tables.
    Rejoin,
    /// Everything, also several things at once.
    Harsh,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Gentle, Self::Crash, Self::Rejoin, Self::Harsh];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gentle => "gentle",
            Self::Crash => "crash",
            Self::Rejoin => "rejoin",
            Self::Harsh => "harsh",
        }
    }
}

/// When traffic begins: everybody has found everybody by then.
pub const TRAFFIC_FROM: Duration = Duration::from_secs(12);
/// For so long traffic goes on after the last fault is over.
pub const CALM: Duration = Duration::from_secs(24);

/// A run, before it has begun.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The number that all this comes from.
    pub seed: u64,
    /// What kind of run it is.
    pub profile: Profile,
    /// How many gateways there are.
    pub members: usize,
    /// Their clocks.
    pub clocks: Vec<Clock>,
    /// When each is switched on.
    pub boots: Vec<Duration>,
    /// How links are.
    pub quality: Quality,
    /// How far apart BFD's control packets are.
    pub interval: Duration,
    /// How long routers take to notice that a gateway is gone, at most.
    pub detection: Duration,
    /// The same of one that has come.
    pub learning: Duration,
    /// Whether routers keep their routes while a daemon is away that said so.
    pub keeps_routes: bool,
    /// The highest port of the pools.
    pub last_port: u16,
    /// Whether some clients share TCP ports.
    pub is_overloaded: bool,
    /// How long ports go behind others that were freed.
    pub hold_seconds: u64,
    /// The key of the cluster.
    pub key: u64,
    /// How many clients there are.
    pub clients: usize,
    /// How many servers.
    pub servers: usize,
    /// How far apart connections begin on average.
    pub pace: Duration,
    /// What happens, and when.
    pub faults: Vec<(Duration, Fault)>,
    /// When everything that went wrong is put right.
    pub healed_at: Duration,
    /// Whether gateways copy flows to each other.
    pub copies_flows: bool,
}

impl Plan {
    /// The run of a seed; of this kind, or of one that is drawn too.
    pub fn of(seed: u64, profile: Option<Profile>) -> Self {
        let mut random = Random::new(seed).branch(1);
        let drawn = random.one_of(
            Profile::Gentle,
            &[
                Profile::Crash,
                Profile::Rejoin,
                Profile::Harsh,
                Profile::Harsh,
            ],
        );
        let profile = profile.unwrap_or(drawn);
        let members = random.one_of(2, &[2, 3, 3, 4, 5]);
        let clocks = (0..members).map(|_| clock(&mut random)).collect();
        let boots = (0..members).map(|_| random.millis(0, 1500)).collect();
        let quality = Quality {
            delay: random.time(Duration::from_micros(50), Duration::from_millis(8)),
            jitter: random.time(Duration::from_micros(10), Duration::from_millis(30)),
            loss: random.one_of(0, &[0, 500, 2000]),
            twice: random.one_of(0, &[500, 20_000]),
        };
        // Ports enough for everybody's share of the reserve, or so few that all come to be used again.
        let each = 8 * (members as u16 - 1) + 8;
        let last_port = random.one_of(65_535, &[1023 + 256 * each]);
        let mut plan = Self {
            seed,
            profile,
            members,
            clocks,
            boots,
            quality,
            interval: Duration::from_millis(random.one_of(100, &[200, 300])),
            detection: random.millis(100, 3000),
            learning: random.millis(100, 3000),
            keeps_routes: !random.once_in(3),
            last_port,
            is_overloaded: random.once_in(5),
            hold_seconds: random.one_of(0, &[3, 120]),
            key: random.word(),
            clients: 4 + random.below(20),
            servers: 1 + random.below(3),
            pace: random.millis(60, 400),
            faults: Vec::new(),
            healed_at: Duration::ZERO,
            copies_flows: false,
        };
        plan.draw_faults(&mut random);
        plan.copies_flows = !random.once_in(6);
        plan
    }

    /// For how long after a change everybody must have come to terms with it.
    pub fn settling(&self) -> Duration {
        // BFD is slow before it is up, and a daemon that starts waits for others.
        Duration::from_secs(10)
            .max(self.detection * 2)
            .max(self.learning * 2)
    }

    fn draw_faults(&mut self, random: &mut Random) {
        let mut at = TRAFFIC_FROM + random.millis(2000, 15_000);
        match self.profile {
            Profile::Gentle => {
                for number in 0..1 + random.below(5) {
                    let fault = Fault::gentle(self.members, number, random);
                    self.faults.push((at, fault));
                    at += fault.time() + self.settling() + random.millis(0, 10_000);
                }
            }
            Profile::Crash => {
                let fault = Fault::Crash {
                    member: random.below(self.members),
                    away: random.millis(300, 40_000),
                };
                self.faults.push((at, fault));
                at += fault.time() + self.settling();
            }
            Profile::Rejoin => {
                let (member, time) = (random.below(self.members), random.millis(300, 40_000));
                let fault = match random.once_in(3) {
                    true => Fault::Freeze { member, time },
                    false => Fault::Isolate { member, time },
                };
                self.faults.push((at, fault));
                at += fault.time() + self.settling();
            }
            Profile::Harsh => {
                for number in 0..2 + random.below(7) {
                    let fault = Fault::any(self.members, number, random);
                    self.faults.push((at, fault));
                    let waits = random.once_in(2);
                    let over = fault.time() * u32::from(waits);
                    at += over + random.millis(100, 15_000);
                }
            }
        }
        let ends = self.faults.iter().map(|(at, fault)| *at + fault.time());
        self.healed_at = ends.max().unwrap_or(at).max(at) + random.millis(0, 3000);
    }
}

fn clock(random: &mut Random) -> Clock {
    let offset = random.time(Duration::from_secs(100), Duration::from_secs(5_000_000));
    let drift = random.below(1001) as i64 - 500;
    Clock { offset, drift }
}
