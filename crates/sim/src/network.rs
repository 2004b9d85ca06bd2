//! The links between members, and those between members and routers: how long they take, what they lose, and
//! which of them are cut.

use std::time::Duration;

use crate::random::Random;

/// How links are that are not cut.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// The shortest time that a packet takes.
    pub delay: Duration,
    /// By how much it takes longer at most: what was sent later may come earlier.
    pub jitter: Duration,
    /// How many of a million are lost.
    pub loss: u32,
    /// How many of a million come twice.
    pub twice: u32,
}

/// A side of the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Realm {
    /// Where clients are.
    Inside,
    /// Where servers are.
    Outside,
}

impl Realm {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Inside, Self::Outside];
}

/// What becomes of a packet on a link: when it arrives, once or twice or never.
pub type Arrivals = Vec<Duration>;

/// All links.
#[derive(Debug)]
pub struct Network {
    members: usize,
    quality: Quality,
    /// How many reasons there are for each pair, in this direction, not to hear each other.
    cuts: Vec<u32>,
    /// The same of members and routers.
    router_cuts: Vec<u32>,
    /// What links lose beside what they always do, in millionths.
    burst: u32,
}

impl Network {
    /// Links that all are up.
    pub fn new(members: usize, quality: Quality) -> Self {
        Self {
            members,
            quality,
            cuts: vec![0; members * members],
            router_cuts: vec![0; members],
            burst: 0,
        }
    }

    /// Cuts the link from one member to another, in this direction.
    pub fn cut(&mut self, from: usize, to: usize) {
        if let Some(cuts) = self.cuts.get_mut(from * self.members + to) {
            *cuts += 1;
        }
    }

    /// Takes one reason away to be cut.
    pub fn mend(&mut self, from: usize, to: usize) {
        if let Some(cuts) = self.cuts.get_mut(from * self.members + to) {
            *cuts = cuts.saturating_sub(1);
        }
    }

    /// Cuts a member off the routers, on both sides.
    pub fn cut_router(&mut self, member: usize) {
        if let Some(cuts) = self.router_cuts.get_mut(member) {
            *cuts += 1;
        }
    }

    /// Takes one reason away for that.
    pub fn mend_router(&mut self, member: usize) {
        if let Some(cuts) = self.router_cuts.get_mut(member) {
            *cuts = cuts.saturating_sub(1);
        }
    }

    /// Loses so many of a million packets more than links do by themselves.
    pub fn lose(&mut self, burst: u32) {
        self.burst = burst;
    }

    /// Whether packets of one member reach another.
    pub fn is_open(&self, from: usize, to: usize) -> bool {
        let cuts = self.cuts.get(from * self.members + to);
        cuts.is_some_and(|it| *it == 0)
    }

    /// Whether a member and the routers hear each other.
    pub fn is_routed(&self, member: usize) -> bool {
        self.router_cuts.get(member).is_some_and(|it| *it == 0)
    }

    /// When a packet arrives that sets out from one member to another now.
    pub fn between(
        &self,
        (from, to): (usize, usize),
        now: Duration,
        random: &mut Random,
    ) -> Arrivals {
        match self.is_open(from, to) {
            true => self.arrivals(now, random),
            false => Vec::new(),
        }
    }

    /// The same of a packet that is not lost as long as the link is not cut.
    pub fn surely(&self, pair: (usize, usize), now: Duration, random: &mut Random) -> Arrivals {
        let arrivals = self.between(pair, now, random);
        match arrivals.is_empty() && self.is_open(pair.0, pair.1) {
            true => vec![now + self.quality.delay],
            false => arrivals,
        }
    }

    /// When a packet arrives that sets out now from a router to a member, or the other way.
    pub fn by_router(&self, member: usize, now: Duration, random: &mut Random) -> Arrivals {
        match self.is_routed(member) {
            true => self.arrivals(now, random),
            false => Vec::new(),
        }
    }

    /// How long bytes of a stream take: those that are lost are sent again.
    pub fn delay_of_stream(&self, pair: (usize, usize), random: &mut Random) -> Duration {
        let mut waited = Duration::ZERO;
        let mut again = Duration::from_millis(200);
        for _ in 0..8 {
            if self.is_open(pair.0, pair.1)
                && let Some(arrives) = self.arrivals(waited, random).first()
            {
                return *arrives;
            }
            waited += again;
            again *= 2;
            if !self.is_open(pair.0, pair.1) {
                break;
            }
        }
        waited + self.quality.delay
    }

    fn arrivals(&self, now: Duration, random: &mut Random) -> Arrivals {
        let Quality {
            delay,
            jitter,
            loss,
            twice,
        } = self.quality;
        if random.happens(loss) || random.happens(self.burst) {
            return Vec::new();
        }
        let mut arrivals = vec![now + random.time(delay, delay + jitter)];
        if random.happens(twice) {
            arrivals.push(now + random.time(delay, delay + jitter));
        }
        arrivals
    }
}
