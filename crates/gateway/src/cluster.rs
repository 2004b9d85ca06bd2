//! Which member of a cluster holds which flows, as a machine: how the members stand goes in, what the
//! packet path is to know comes out.
//!
//! ```text
//! names ─► an order of members for each bucket ─┐
//! BFD: up, leaving, down ───────────────────────┼─► who owns it, who held it before
//! this one: drains, or not ─────────────────────┤   which of its ports are ours to give
//! copies: held, copied, flushed ────────────────┘   to whom its flows are copied, whose are kept
//! ```
//!
//! Every member computes the same from the same names, and nobody is asked. The order of a bucket is by
//! rendezvous hashing of its number with each name, so that buckets of a member that goes are spread over all
//! others, and no other bucket moves.
//!
//! **Ports are divided by rank, not by who is there.** Of each bucket's ports the first in its order gives
//! most, the others share [the reserve](RESERVE), whoever is alive at that moment. So two members that each
//! believe the other one gone never give the same port away.
//!
//! **Where flows are copied** ([`Event::Copies`]), the owner of a bucket copies its flows to the member that
//! would own it next, and who held it before hands them over to the owner:
//!
//! ```text
//! before: serves, copies ─► complete at the owner ─► serves no more, hands on what it is sent
//!                               ─► all that it still said has arrived ─► is not asked any more
//! ```
//!
//! Ports that the owner gave before it went may be in use by flows that live on elsewhere: until it has them all, it
//! gives none, and new flows are begun by who held the bucket before, with ports of that one's rank.
//!
//! Whoever owns a bucket whose flows may live at a member that fell silent, and did not copy all of them to this one,
//! tells nobody that there is no such flow: until that one is heard again, or is given up.
//!
//! All others do the same when an owner comes up, whether they know that they held the bucket before or not: what
//! each believed of the others until then may not have been the same.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use abi::{
    cluster::{BUCKETS, Division, Giver, Holder, NOBODY, SET_WORDS},
    hash::hash,
    ports::CLASS_WORDS,
};

mod custody;
mod moves;

pub use custody::{BLINDNESS, Custody, HAND_OVER, Role, SILENCE};
use custody::{Copying, bit};
pub use moves::Moves;

/// One of so many ports of a bucket is for those who own it only when the first in its order does not.
pub const RESERVE: u32 = 8;
/// How long a member that starts waits for others of which it knows nothing yet: BFD needs two to three
/// seconds, because it is slow before it is up (RFC 5880 §6.8.3).
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long, if it knows nothing of its own past either, and others may have kept flows of that, with ports that it would
/// give again. Whoever is not heard may be there all the same, and serve.
pub const PATIENCE_ANEW: Duration = Duration::from_secs(30);
/// How long a member that said that it goes is taken to forward all the same when it falls silent: its
/// packet path goes on while its daemon is replaced.
pub const ABSENCE: Duration = Duration::from_secs(30);

/// A member as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Unique; a DNS label.
    pub name: String,
    /// Where packets are sent that are handed to it; no other member's.
    pub address: IpAddr,
}

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing has been heard of it since this one started.
    Unknown,
    /// It is there, and does not know yet who holds what: it neither forwards nor takes new flows.
    Starting,
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
            Self::Starting => "starting",
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
    /// A daemon before this one left this in the packet path: what it had to do with which flows, that is so still.
    Found {
        /// Who held each bucket.
        holders: Box<[Holder; BUCKETS]>,
        /// The addresses of the members, by their numbers then.
        members: BTreeMap<u8, IpAddr>,
        /// See [`Division::unknown`].
        unknown: [u64; SET_WORDS],
    },
    /// These are the members, and this one is at `me` among them.
    Configure {
        /// At most [`MEMBERS_MAX`](abi::limits::MEMBERS_MAX), sorted by name.
        members: Vec<Member>,
        /// The index of this one.
        me: usize,
    },
    /// BFD says how a member stands.
    Heard(IpAddr, Standing),
    /// This one is to take no new flows.
    Leave,
    /// It is to take them again.
    Stay,
    /// Whether members copy flows to each other.
    Copies(bool),
    /// There is a stream by which a member tells of flows, or none any more.
    Hears {
        /// The number of the member.
        from: u8,
        /// Whether there is.
        is_heard: bool,
    },
    /// A member has begun to copy a bucket's flows to this one.
    Held {
        /// Which bucket.
        bucket: u8,
        /// The number of the member.
        from: u8,
    },
    /// All of a bucket's flows that a member had when it began are here.
    Completed {
        /// Which bucket.
        bucket: u8,
        /// The number of the member.
        from: u8,
    },
    /// That member copies them no more, and all that it said of them has come.
    Forgotten {
        /// Which bucket.
        bucket: u8,
        /// The number of the member.
        from: u8,
        /// Whether that is all that it had. It is not if its daemon has started anew.
        is_all: bool,
    },
    /// All of a bucket's flows that this one has are at another member.
    Copied {
        /// Which bucket.
        bucket: u8,
        /// The number of the member.
        to: u8,
        /// The turn of the custody by which that was found.
        turn: u64,
    },
    /// That member also knows what became of them until this one served them no more.
    Flushed {
        /// Which bucket.
        bucket: u8,
        /// The turn of the custody by which that was found.
        turn: u64,
    },
    /// The deadline has come.
    Tick,
}

#[derive(Clone, Debug)]
struct Peer {
    member: Member,
    standing: Standing,
    /// When it fell silent after it had said that it goes.
    left_at: Option<Instant>,
    /// It forwards again, and nobody has asked yet what it has from when it was taken to be gone.
    is_back: bool,
}

/// What a daemon before this one left.
#[derive(Clone, Debug)]
struct Found {
    /// Who held each bucket.
    holders: Box<[Holder; BUCKETS]>,
    /// The members' addresses by their numbers then.
    members: BTreeMap<u8, IpAddr>,
    /// See [`Division::unknown`].
    unknown: [u64; SET_WORDS],
}

/// The cluster, as one member sees it.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    peers: Vec<Peer>,
    me: usize,
    /// For each bucket the members, the first one first.
    order: Vec<Vec<u8>>,
    holders: Option<Box<[Holder; BUCKETS]>>,
    /// See [`Event::Found`]; until it is known who holds what.
    found: Option<Found>,
    /// See [`Division::unknown`], as the packet path knows it.
    unknown: [u64; SET_WORDS],
    /// Since when others are waited for.
    waits_since: Option<Instant>,
    /// When it is looked again whether owners have waited in vain.
    looks_at: Option<Instant>,
    /// What the packet path is to be told whatever it was told before.
    is_untold: bool,
    copying: Copying,
}

impl Cluster {
    /// Takes in what happened; returns what the packet path is to know if that is something else than
    /// before. Until it is known who is there, nothing.
    pub fn handle(&mut self, event: Event, now: Instant) -> Option<Division> {
        self.handle_all([event], now)
    }

    /// Takes in all that happened at once: a hand-over is told bucket by bucket, and computed once.
    pub fn handle_all(
        &mut self,
        events: impl IntoIterator<Item = Event>,
        now: Instant,
    ) -> Option<Division> {
        for event in events {
            self.take(event, now);
        }
        self.conclude(now)
    }

    fn take(&mut self, event: Event, now: Instant) {
        match event {
            Event::Found {
                holders,
                members,
                unknown,
            } => {
                self.found = Some(Found {
                    holders,
                    members,
                    unknown,
                });
            }
            Event::Configure { members, me } => self.configure(members, me, now),
            Event::Heard(address, standing) => self.hear(address, standing, now),
            Event::Leave => self.stand(Standing::Leaving),
            Event::Stay => self.stand(Standing::Up),
            Event::Copies(are_made) => self.copying.are_made = are_made,
            Event::Hears { from, is_heard } => self.copying.hear(from, is_heard),
            Event::Held { bucket, from } => self.copying.hold(bucket, from),
            Event::Completed { bucket, from } => self.completed(bucket, from),
            Event::Forgotten {
                bucket,
                from,
                is_all,
            } => self.forgotten(bucket, from, is_all),
            Event::Copied { bucket, to, turn } => {
                if self.copying.is_meant(bucket, turn) {
                    self.copied(bucket, to);
                }
            }
            Event::Flushed { bucket, turn } => {
                if self.copying.is_meant(bucket, turn) {
                    self.copying.flushed(bucket);
                }
            }
            Event::Tick => {}
        }
    }

    /// Does what has become due, and computes what follows from all that was taken in.
    fn conclude(&mut self, now: Instant) -> Option<Division> {
        if self.patience().is_some_and(|at| at <= now) {
            self.waits_since = None;
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
        self.copying.give_up(now);
        if self.peers.iter().all(|it| it.standing != Standing::Unknown) {
            self.waits_since = None;
        }
        if self.looks_at.is_some_and(|at| at <= now) {
            (self.looks_at, self.is_untold) = (None, true);
        }
        if self.waits_since.is_none() {
            self.is_untold |= self.copying.end_anew(now);
        }
        let division = self.settle(now);
        let again = self.looks_at.unwrap_or(now + SILENCE);
        self.looks_at = self.copying.is_unsure().then_some(again);
        self.copying.serve(self.me, self.holders.as_deref(), now);
        division
    }

    /// When [`Event::Tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let absences = self.peers.iter().filter_map(|it| it.left_at);
        let absences = absences.map(|at| at + ABSENCE);
        let anew = self
            .copying
            .anew_until
            .filter(|_| self.waits_since.is_none());
        let deadlines = [
            self.patience(),
            self.looks_at,
            anew,
            self.copying.gives_up_at(),
        ];
        deadlines.into_iter().flatten().chain(absences).min()
    }

    /// Whether it is known who holds what; where there is no cluster it is.
    pub fn is_settled(&self) -> bool {
        self.peers.is_empty() || self.holders.is_some()
    }

    /// The members and how they stand, in their order.
    pub fn members(&self) -> impl Iterator<Item = (&Member, Standing)> {
        self.peers.iter().map(|it| (&it.member, it.standing))
    }

    /// Whether a member said that it goes, and has not come back since.
    pub fn is_leaving(&self, address: IpAddr) -> bool {
        let mut peers = self.peers.iter();
        let found = peers.find(|it| it.member.address == address);
        found.is_some_and(|it| it.standing == Standing::Leaving)
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

    /// What this one has to do with flows that are copied; nothing where none are.
    pub fn custody(&self) -> Option<Custody> {
        let holders = self.holders.as_deref()?;
        let members = self.peers.iter().map(|it| it.member.clone());
        let successor = |bucket, owner| self.successor(bucket, owner);
        self.copying
            .custody((members.collect(), self.me), holders, successor)
    }

    /// Who would own a bucket if its owner did not; [`NOBODY`] if none would.
    fn successor(&self, bucket: usize, owner: u8) -> u8 {
        let order = self.order.get(bucket).map_or(&[][..], Vec::as_slice);
        let mut others = order.iter().copied().filter(|it| *it != owner);
        let is_up = |it: &u8| {
            let peer = self.peers.get(usize::from(*it));
            peer.is_some_and(|it| it.standing == Standing::Up)
        };
        others.find(is_up).unwrap_or(NOBODY)
    }

    fn configure(&mut self, members: Vec<Member>, me: usize, now: Instant) {
        let is_new = self.peers.is_empty();
        let is_same = self.me == me && self.peers.iter().map(|it| &it.member).eq(&members);
        if is_same {
            return;
        }
        let numbers = renumbered(&self.peers, &members);
        let peers = members.into_iter().enumerate().map(|(index, member)| {
            let mut known = self.peers.iter().filter(|it| it.member == member);
            let known = known.next().cloned();
            let standing = match (index == me, is_new) {
                (true, _) => Standing::Up,
                (false, true) => Standing::Unknown,
                // Nobody waits for one that is added: it gets its part when it is up.
                (false, false) => Standing::Down,
            };
            known.unwrap_or(Peer {
                member,
                standing,
                left_at: None,
                is_back: false,
            })
        });
        let peers: Vec<Peer> = peers.collect();
        (self.peers, self.me) = (peers, me);
        self.order = (0..BUCKETS)
            .map(|bucket| order(&self.peers, bucket))
            .collect();
        if let Some(holders) = &mut self.holders {
            for holder in holders.iter_mut() {
                holder.owner = numbers(holder.owner);
                holder.before = numbers(holder.before);
            }
        }
        self.copying.renumber(numbers);
        self.is_untold = true;
        self.waits_since = (is_new && !self.peers.is_empty()).then_some(now);
        if is_new {
            let knows = (0..BUCKETS).any(|bucket| self.known(bucket).is_some());
            self.copying
                .begin_anew((!knows).then_some(now + PATIENCE_ANEW));
        }
        if self.peers.is_empty() {
            *self = Self::default();
        }
    }

    /// Until when others are waited for.
    fn patience(&self) -> Option<Instant> {
        let since = self.waits_since?;
        let is_anew = self.copying.is_anew(since);
        Some(since + if is_anew { PATIENCE_ANEW } else { PATIENCE })
    }

    fn hear(&mut self, address: IpAddr, standing: Standing, now: Instant) {
        let me = self.me;
        let mut others = self.peers.iter_mut().enumerate();
        let found = others.find(|(index, it)| *index != me && it.member.address == address);
        let Some((number, peer)) = found else {
            return;
        };
        match (peer.standing, standing) {
            // It said that it goes, and is gone now, or its daemon is.
            (Standing::Leaving, Standing::Down) => peer.left_at = peer.left_at.or(Some(now)),
            (before, standing) => {
                peer.is_back |= !before.forwards() && standing.forwards();
                let is_lost = before.forwards() && !standing.forwards();
                (peer.standing, peer.left_at) = (standing, None);
                if is_lost {
                    self.lose(number as u8, standing, now);
                }
            }
        }
    }

    /// A member does not forward any more.
    fn lose(&mut self, member: u8, standing: Standing, now: Instant) {
        if let (Standing::Down, Some(holders)) = (standing, &self.holders) {
            let held = |it: &Holder| [it.owner, it.before].contains(&member);
            for (bucket, _) in holders.iter().enumerate().filter(|(_, it)| held(it)) {
                self.copying.miss(bucket, member, now);
            }
        } else {
            (0..BUCKETS).for_each(|bucket| self.copying.find(bucket, member));
        }
        self.copying.lose(member);
    }

    /// All that the other one had of a bucket when it began is here: which of its ports are in use is known.
    fn completed(&mut self, bucket: u8, from: u8) {
        self.copying.complete(bucket, from);
        let holder = self.holder_mut(bucket).copied();
        self.is_untold |= holder.is_some_and(|it| it.before == from);
        // Who has nothing to do with a bucket knows nothing of it.
        let knows = |it: Holder| it.before == NOBODY || [it.owner, it.before].contains(&from);
        if holder.is_none_or(knows) {
            self.is_untold |= self.copying.tell(bucket);
        }
    }

    /// All that the other one had of a bucket is here, or it has begun anew.
    fn forgotten(&mut self, bucket: u8, from: u8, is_all: bool) {
        if !self.copying.forget(bucket, from, is_all) {
            return;
        }
        let me = self.me;
        if let Some(holder) = self.holder_mut(bucket)
            && usize::from(holder.owner) == me
            && holder.before == from
        {
            holder.before = NOBODY;
            self.is_untold = true;
        }
    }

    /// All that this one has of a bucket is at its owner, which serves it from now on.
    fn copied(&mut self, bucket: u8, to: u8) {
        let me = self.me;
        let Some(holder) = self.holder_mut(bucket).filter(|it| it.owner == to) else {
            return;
        };
        if usize::from(holder.before) == me {
            holder.before = NOBODY;
            self.is_untold = true;
        }
        self.copying.switch(bucket, to);
    }

    fn holder_mut(&mut self, bucket: u8) -> Option<&mut Holder> {
        self.holders.as_deref_mut()?.get_mut(usize::from(bucket))
    }

    fn stand(&mut self, standing: Standing) {
        if let Some(peer) = self.peers.get_mut(self.me) {
            peer.standing = standing;
        }
    }

    /// Computes who holds what; returns it if it is something else than before.
    fn settle(&mut self, now: Instant) -> Option<Division> {
        if self.peers.is_empty() || self.waits_since.is_some() {
            return None;
        }
        let holders = std::array::from_fn(|bucket| self.holder(bucket));
        self.owe(&holders, now);
        for peer in &mut self.peers {
            peer.is_back = false;
        }
        for (bucket, holder) in holders.iter().enumerate() {
            if usize::from(holder.owner) != self.me {
                self.copying.mind_not(bucket);
            }
        }
        let is_known =
            self.holders.as_deref() == Some(&holders) && self.unknown == self.copying.unknown();
        if is_known && !std::mem::take(&mut self.is_untold) {
            return None;
        }
        self.is_untold = false;
        self.found = None;
        self.holders = Some(Box::new(holders));
        let members = self.peers.len();
        let givers = std::array::from_fn(|bucket| self.giver(bucket, &holders, now));
        for (bucket, (giver, holder)) in givers.iter().zip(&holders).enumerate() {
            if giver.rank != NOBODY {
                self.copying.give(bucket, holder.before);
            }
        }
        self.unknown = self.copying.unknown();
        Some(Division {
            holders,
            givers,
            withheld: std::array::from_fn(|rank| share(rank, members).map(|word| !word)),
            unknown: self.unknown,
        })
    }

    /// Takes note of owners that may not know of what there is here.
    fn owe(&mut self, holders: &[Holder; BUCKETS], now: Instant) {
        let mut is_new = true;
        for (bucket, holder) in holders.iter().enumerate() {
            let known = self.known(bucket);
            self.copying.meet(bucket, self.unheard(bucket), now);
            let is_asked =
                holder.before != NOBODY && known.map(|it| it.before) != Some(holder.before);
            if is_asked && usize::from(holder.owner) == self.me {
                self.copying.doubt(bucket, now);
            }
            let before = known.map(|it| it.owner);
            let owner = self.peers.get(usize::from(holder.owner));
            // A daemon that starts over tables goes on where the one before it was. What it only kept is old by now:
            // the owner knows better.
            let is_first = self.holders.is_none();
            let is_back = owner.is_some_and(|it| it.is_back) && !is_first;
            if before != Some(holder.owner) || is_back {
                if std::mem::take(&mut is_new) {
                    self.copying.turn();
                }
                let is_mine = usize::from(holder.owner) == self.me || holder.owner == NOBODY;
                let was_another = before.filter(|it| *it != holder.owner);
                self.copying.owe(bucket, (is_mine, was_another));
            }
        }
    }

    /// Which members may have flows of a bucket that this one hears of only now, as bits.
    fn unheard(&self, bucket: usize) -> u16 {
        let others = |is_wanted: &dyn Fn(&Peer) -> bool| {
            let others = self.peers.iter().enumerate();
            let others = others.filter(|(index, it)| *index != self.me && is_wanted(it));
            others.fold(0, |all, (index, _)| all | bit(index as u8))
        };
        if self.holders.is_some() {
            return others(&|it| it.is_back);
        }
        match &self.found {
            Some(found) if is_in(&found.unknown, bucket) => others(&|_| true),
            Some(_) => 0,
            None => match others(&|it| it.standing.forwards()) {
                0 => others(&|_| true),
                forwarding => forwarding,
            },
        }
    }

    /// Who held a bucket until now, as this member knows or found it.
    fn known(&self, bucket: usize) -> Option<Holder> {
        if let Some(holders) = &self.holders {
            return holders.get(bucket).copied();
        }
        let Found {
            holders, members, ..
        } = self.found.as_ref()?;
        let number = |number: u8| {
            let address = members.get(&number);
            let place = self
                .peers
                .iter()
                .position(|it| Some(&it.member.address) == address);
            place.map_or(NOBODY, |it| it as u8)
        };
        let Holder { owner, before } = holders.get(bucket).copied()?;
        let (owner, before) = (number(owner), number(before));
        (owner != NOBODY).then_some(Holder { owner, before })
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
        let known = self.known(bucket);
        // Whoever would hold it if its owner were not there.
        let next = first(&|it| it != owner && standing(it).forwards()).unwrap_or(NOBODY);
        let is_back = |member: u8| {
            let peer = self.peers.get(usize::from(member));
            peer.is_some_and(|it| it.is_back)
        };
        let unless_handed = |member: u8| match self.copying.has_handed(bucket, member) {
            true => NOBODY,
            false => member,
        };
        let before = match known {
            // Has held it until now, for all that we know; we have not, who know nothing of it.
            None if usize::from(owner) == self.me => unless_handed(next),
            None => NOBODY,
            Some(known) if known.owner != owner => known.owner,
            // Took us to be gone as we took it to be, and has flows from that time.
            Some(_) if usize::from(owner) == self.me && is_back(next) => unless_handed(next),
            Some(known) => known.before,
        };
        // Others tell only each other when they have handed it over.
        let is_ours = [owner, before].map(usize::from).contains(&self.me);
        let is_there = before != owner && standing(before).forwards() && is_ours;
        Holder {
            owner,
            before: if is_there { before } else { NOBODY },
        }
    }

    /// By which rank we give ports of a bucket, if we do, and who would serve their flows after us.
    fn giver(&self, bucket: usize, holders: &[Holder; BUCKETS], now: Instant) -> Giver {
        let me = self.me as u8;
        let Holder { owner, before } = holders.get(bucket).copied().unwrap_or(Holder::NONE);
        let gives = match owner == me {
            true if before == NOBODY => self.copying.is_told(bucket, now),
            true => self.copying.may_give(bucket, before, now),
            // Until the owner knows what is in use.
            false => before == me && self.copying.are_made && self.copying.is_told(bucket, now),
        };
        let order = self.order.get(bucket).map_or(&[][..], Vec::as_slice);
        let next = match (self.copying.are_made, owner == me) {
            (false, _) => NOBODY,
            (true, true) => self.successor(bucket, me),
            (true, false) => owner,
        };
        match order.iter().position(|it| *it == me) {
            Some(rank) if gives => Giver {
                rank: rank as u8,
                next,
            },
            Some(_) | None => Giver::NONE,
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

/// Whether a bucket is in a set.
fn is_in(set: &[u64; SET_WORDS], bucket: usize) -> bool {
    let word = set.get(bucket / 64).copied().unwrap_or(0);
    word >> (bucket % 64) & 1 != 0
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

/// What became of the numbers of members; of one that is none any more, [`NOBODY`].
fn renumbered(peers: &[Peer], members: &[Member]) -> impl Fn(u8) -> u8 + use<> {
    let place = |it: &Peer| members.iter().position(|member| *member == it.member);
    let numbers: Vec<u8> = peers
        .iter()
        .map(|it| place(it).map_or(NOBODY, |at| at as u8))
        .collect();
    move |number| numbers.get(usize::from(number)).copied().unwrap_or(NOBODY)
}

/// A name in one word.
pub(crate) fn number(name: &str) -> u64 {
    name.as_bytes().chunks(8).fold(0, |number, chunk| {
        let word = chunk
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash(number, word, chunk.len() as u64)
    })
}

#[cfg(test)]
mod tests;
