//! Which member of a cluster holds which flows, as a machine: how the members stand goes in, what the
//! packet path is to know comes out.
//!
//! ```text
//! names ─► an order of members for each bucket ─┐
//! BFD: up, leaving, down ───────────────────────┼─► who owns it, who held it before
//! this one: drains, or not ─────────────────────┘   which of its ports are ours to give
//! ```
//!
//! Every member computes the same from the same names, and nobody is asked. The order of a bucket is by
//! rendezvous hashing of its number with each name, so that buckets of a member that goes are spread over all
//! others, and no other bucket moves.
//!
//! **Ports are divided by rank, not by who is there.** Of each bucket's ports the first in its order gives
//! most, the others share [the reserve](RESERVE), whoever is alive at that moment. So two members that each
//! believe the other one gone never give the same port away.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use abi::{
    cluster::{BUCKETS, Division, Holder, NOBODY},
    hash::hash,
    ports::CLASS_WORDS,
};

/// One of so many ports of a bucket is for those who own it only when the first in its order does not.
pub const RESERVE: u32 = 8;
/// How long a member that starts waits for others of which it knows nothing yet: BFD needs two to three
/// seconds, because it is slow before it is up (RFC 5880 §6.8.3).
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long a member that said that it goes is taken to forward all the same when it falls silent: its
/// packet path goes on while its daemon is replaced.
pub const ABSENCE: Duration = Duration::from_secs(30);

/// A member as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Unique; a DNS label.
    pub name: String,
    /// Where packets are sent that are handed to it; no other member's.
    pub address: Ipv4Addr,
}

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing has been heard of it since this one started.
    Unknown,
    /// It forwards, and takes new flows.
    Up,
    /// It forwards the flows that it has, and takes no new ones.
    Leaving,
    /// It does not forward.
    Down,
    /// It does not forward, and said so: nothing of it is left to be asked for.
    Gone,
}

impl Standing {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Leaving => "leaving",
            Self::Down | Self::Gone => "down",
        }
    }

    const fn forwards(self) -> bool {
        matches!(self, Self::Up | Self::Leaving)
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// These are the members, and this one is at `me` among them.
    Configure {
        /// At most [`MEMBERS_MAX`](abi::limits::MEMBERS_MAX), sorted by name.
        members: Vec<Member>,
        /// The index of this one.
        me: usize,
    },
    /// BFD says how a member stands.
    Heard(Ipv4Addr, Standing),
    /// This one is to take no new flows.
    Leave,
    /// It is to take them again.
    Stay,
    /// The deadline has come.
    Tick,
}

#[derive(Clone, Debug)]
struct Peer {
    member: Member,
    standing: Standing,
    /// When it fell silent after it had said that it goes.
    left_at: Option<Instant>,
}

/// The cluster, as one member sees it.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    peers: Vec<Peer>,
    me: usize,
    /// For each bucket the members, the first one first.
    order: Vec<Vec<u8>>,
    holders: Option<Box<[Holder; BUCKETS]>>,
    /// Until when others are waited for.
    patience: Option<Instant>,
}

impl Cluster {
    /// Takes in what happened; returns what the packet path is to know if that is something else than
    /// before. Until it is known who is there, nothing.
    pub fn handle(&mut self, event: Event, now: Instant) -> Option<Division> {
        match event {
            Event::Configure { members, me } => self.configure(members, me, now),
            Event::Heard(address, standing) => self.hear(address, standing, now),
            Event::Leave => self.stand(Standing::Leaving),
            Event::Stay => self.stand(Standing::Up),
            Event::Tick => {}
        }
        if self.patience.is_some_and(|at| at <= now) {
            self.patience = None;
            for peer in &mut self.peers {
                if peer.standing == Standing::Unknown {
                    peer.standing = Standing::Down;
                }
            }
        }
        for peer in &mut self.peers {
            if peer.left_at.is_some_and(|at| at + ABSENCE <= now) {
                (peer.standing, peer.left_at) = (Standing::Down, None);
            }
        }
        if self.patience.is_some() && self.peers.iter().all(|it| it.standing != Standing::Unknown) {
            self.patience = None;
        }
        self.settle()
    }

    /// When [`Event::Tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let absences = self.peers.iter().filter_map(|it| it.left_at);
        let absences = absences.map(|at| at + ABSENCE);
        self.patience.into_iter().chain(absences).min()
    }

    /// Whether it is known who holds what; where there is no cluster it is.
    pub fn is_settled(&self) -> bool {
        self.peers.is_empty() || self.holders.is_some()
    }

    /// The members and how they stand, in their order.
    pub fn members(&self) -> impl Iterator<Item = (&Member, Standing)> {
        self.peers.iter().map(|it| (&it.member, it.standing))
    }

    /// The index of this one.
    pub fn me(&self) -> usize {
        self.me
    }

    /// Who holds each bucket, if that is known.
    pub fn holders(&self) -> Option<&[Holder; BUCKETS]> {
        self.holders.as_deref()
    }

    /// The members of a bucket, the first one first.
    pub fn order(&self, bucket: u8) -> &[u8] {
        self.order
            .get(usize::from(bucket))
            .map_or(&[], Vec::as_slice)
    }

    fn configure(&mut self, members: Vec<Member>, me: usize, now: Instant) {
        let is_new = self.peers.is_empty();
        let is_same = self.me == me && self.peers.iter().map(|it| &it.member).eq(&members);
        if is_same {
            return;
        }
        let peers = members.into_iter().enumerate().map(|(index, member)| {
            let mut known = self.peers.iter().filter(|it| it.member == member);
            let known = known.next().cloned();
            let standing = match index == me {
                true => Standing::Up,
                false => Standing::Unknown,
            };
            known.unwrap_or(Peer {
                member,
                standing,
                left_at: None,
            })
        });
        let peers: Vec<Peer> = peers.collect();
        (self.peers, self.me) = (peers, me);
        self.order = (0..BUCKETS)
            .map(|bucket| order(&self.peers, bucket))
            .collect();
        // Whoever held what goes by numbers that may mean others now.
        self.holders = None;
        let is_waiting = self.peers.iter().any(|it| it.standing == Standing::Unknown);
        self.patience = match is_new || is_waiting {
            true if !self.peers.is_empty() => Some(now + PATIENCE),
            true | false => None,
        };
    }

    fn hear(&mut self, address: Ipv4Addr, standing: Standing, now: Instant) {
        let me = self.me;
        let mut others = self.peers.iter_mut().enumerate();
        let found = others.find(|(index, it)| *index != me && it.member.address == address);
        let Some((_, peer)) = found else {
            return;
        };
        match (peer.standing, standing) {
            // It said that it goes, and is gone now, or its daemon is.
            (Standing::Leaving, Standing::Down) => peer.left_at = peer.left_at.or(Some(now)),
            (_, standing) => {
                (peer.standing, peer.left_at) = (standing, None);
            }
        }
    }

    fn stand(&mut self, standing: Standing) {
        if let Some(peer) = self.peers.get_mut(self.me) {
            peer.standing = standing;
        }
    }

    /// Computes who holds what; returns it if it is something else than before.
    fn settle(&mut self) -> Option<Division> {
        if self.peers.is_empty() || self.patience.is_some() {
            return None;
        }
        let holders = std::array::from_fn(|bucket| self.holder(bucket));
        if self.holders.as_deref() == Some(&holders) {
            return None;
        }
        self.holders = Some(Box::new(holders));
        let members = self.peers.len();
        Some(Division {
            holders,
            ranks: std::array::from_fn(|bucket| self.rank(bucket, &holders)),
            withheld: std::array::from_fn(|rank| share(rank, members).map(|word| !word)),
        })
    }

    fn holder(&self, bucket: usize) -> Holder {
        let order = self.order.get(bucket).map_or(&[][..], Vec::as_slice);
        let standing = |member: u8| {
            let peer = self.peers.get(usize::from(member));
            peer.map_or(Standing::Down, |it| it.standing)
        };
        let first = |wanted: &dyn Fn(u8) -> bool| order.iter().copied().find(|it| wanted(*it));
        let owner = first(&|it| standing(it) == Standing::Up)
            .or_else(|| first(&|it| standing(it).forwards()))
            .unwrap_or(NOBODY);
        let known = self.holders.as_deref().and_then(|it| it.get(bucket));
        let before = match known {
            None if usize::from(owner) == self.me => {
                // Whoever would hold it if this one were not there has held it until now.
                first(&|it| it != owner && standing(it).forwards()).unwrap_or(NOBODY)
            }
            None => NOBODY,
            Some(known) if known.owner == owner => known.before,
            Some(known) => known.owner,
        };
        let is_there = before != owner && standing(before).forwards();
        Holder {
            owner,
            before: if is_there { before } else { NOBODY },
        }
    }

    /// By which rank we give ports of a bucket, if we do.
    fn rank(&self, bucket: usize, holders: &[Holder; BUCKETS]) -> u8 {
        let me = self.me as u8;
        let is_ours = holders.get(bucket).is_some_and(|it| it.owner == me);
        let order = self.order.get(bucket).map_or(&[][..], Vec::as_slice);
        match order.iter().position(|it| *it == me) {
            Some(rank) if is_ours => rank as u8,
            Some(_) | None => NOBODY,
        }
    }
}

/// The ports of a bucket that a rank gives away, see [`abi::ports::place`]: of each eight neighbours seven
/// are the first one's, and the eighths are the others' in turn.
fn share(rank: usize, members: usize) -> [u64; CLASS_WORDS] {
    let is_reserved = |bit: u32| bit % RESERVE == RESERVE - 1;
    let is_ours = |word: usize, bit: u32| match (rank, members) {
        (_, ..=1) => true,
        (0, _) => !is_reserved(bit),
        (rank, members) => {
            let number = word * (64 / RESERVE) as usize + (bit / RESERVE) as usize;
            is_reserved(bit) && number % (members - 1) == rank - 1
        }
    };
    std::array::from_fn(|word| {
        let ours = (0..64).filter(|bit| is_ours(word, *bit));
        ours.fold(0, |bits, bit| bits | 1 << bit)
    })
}

/// The order of members for a bucket.
fn order(peers: &[Peer], bucket: usize) -> Vec<u8> {
    let weight = |peer: &Peer| hash(bucket as u64, number(&peer.member.name), 0);
    let mut order: Vec<(u64, u8)> = peers
        .iter()
        .enumerate()
        .map(|(index, peer)| (weight(peer), index as u8))
        .collect();
    order.sort_unstable_by(|a, b| b.cmp(a));
    order.into_iter().map(|(_, member)| member).collect()
}

/// A name in one word.
fn number(name: &str) -> u64 {
    name.as_bytes().chunks(8).fold(0, |number, chunk| {
        let word = chunk
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash(number, word, chunk.len() as u64)
    })
}

#[cfg(test)]
mod tests;
