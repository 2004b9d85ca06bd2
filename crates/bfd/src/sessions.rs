//! All sessions: which one a packet is of, and which one is due.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Instant,
};

pub use crate::session::{LATE, LOOK, SLOW};
use crate::{
    packet::{Diagnostic, HEADER, Packet, PacketError, State},
    session::{Change, Outgoing, Refusal, Session, Settings, Status},
};

/// Which session: by its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The other side.
    pub peer: IpAddr,
    /// Our address, if it is one that was chosen.
    pub local: Option<IpAddr>,
    /// The index of the interface that the other side is behind, if it was chosen.
    pub interface: Option<u32>,
    /// How far it is.
    pub hops: Hops,
}

/// How far the other side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hops {
    /// On a link of ours (RFC 5881).
    Single,
    /// Behind other routers (RFC 5883).
    Multi,
}

/// A datagram to a port of BFD.
#[derive(Clone, Debug)]
pub struct Datagram<'a> {
    /// What it says.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub from: IpAddr,
    /// To which address.
    pub to: IpAddr,
    /// By which interface it came.
    pub interface: u32,
    /// The time to live that it came with.
    pub ttl: u8,
    /// To which port it was: 3784 or 4784.
    pub hops: Hops,
    /// When the kernel took it; before `now` on a machine that has much to do.
    pub arrived: Instant,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// These sessions are wanted, and no others.
    Configure(BTreeMap<Key, Settings>),
    /// A datagram came.
    Received(Datagram<'a>),
    /// The deadline has come, and every datagram that waited was read before.
    Tick,
}

/// What must be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a packet.
    Send {
        /// To whom.
        key: Key,
        /// What.
        packet: Outgoing,
    },
    /// A session stands otherwise.
    Changed {
        /// Which.
        key: Key,
        /// How it stood.
        from: State,
        /// How it stands.
        to: State,
        /// Why it went down last.
        diagnostic: Diagnostic,
        /// How the other side stands, as it says.
        remote_state: State,
        /// Why the other side went down last, or what it says of what lies behind it.
        remote_diagnostic: Diagnostic,
    },
    /// The other side of a session that is up says otherwise whether what lies behind it is there (RFC 5880 §6.8.17).
    Behind {
        /// Which.
        key: Key,
        /// Whether it is not.
        is_cut: bool,
    },
}

/// Why a datagram was not taken, in the order of RFC 5880 §6.8.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refused {
    /// It is no packet to be looked at.
    #[error("{0}")]
    Packet(#[from] PacketError),
    /// It came from further away than it may.
    #[error("a time to live that is too low")]
    Distance,
    /// It is of no session.
    #[error("no such session")]
    NoSession,
    /// It does not prove whose it is.
    #[error("wrong authentication")]
    Unauthenticated,
    /// Its session is not wanted now.
    #[error("the session is administratively down")]
    AdminDown,
}

/// All sessions of a daemon.
#[derive(Clone, Debug)]
pub struct Sessions {
    sessions: BTreeMap<u32, (Key, Session)>,
    numbers: BTreeMap<Key, u32>,
    /// When each is due, if it ever is.
    due: BTreeSet<(Instant, u32)>,
    refused: BTreeMap<Refused, u64>,
    random: u64,
}

impl Sessions {
    /// None yet; `seed` is for numbers and jitter.
    pub fn new(seed: u64) -> Self {
        Self {
            sessions: BTreeMap::new(),
            numbers: BTreeMap::new(),
            due: BTreeSet::new(),
            refused: BTreeMap::new(),
            random: seed,
        }
    }

    /// Takes in what happened and says what must be done.
    pub fn handle(&mut self, event: Event<'_>, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Configure(wanted) => self.configure(wanted, now, &mut actions),
            Event::Received(datagram) => {
                if let Err(refused) = self.receive(&datagram, now, &mut actions) {
                    *self.refused.entry(refused).or_default() += 1;
                }
            }
            Event::Tick => self.tick(now, &mut actions),
        }
        actions
    }

    /// When [`Event::Tick`] is due; one that comes for nothing does no harm.
    pub fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// How each session is.
    pub fn snapshot(&self) -> Vec<(Key, Status)> {
        let numbers = self.numbers.iter();
        let each = numbers.filter_map(|(key, mine)| {
            let (_, session) = self.sessions.get(mine)?;
            Some((*key, session.status()))
        });
        each.collect()
    }

    /// Datagrams that were not taken, by why.
    pub fn refused(&self) -> &BTreeMap<Refused, u64> {
        &self.refused
    }

    fn configure(
        &mut self,
        wanted: BTreeMap<Key, Settings>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let gone: Vec<Key> = self
            .numbers
            .keys()
            .filter(|key| !wanted.contains_key(*key))
            .copied()
            .collect();
        for key in gone {
            if let Some(mine) = self.numbers.remove(&key) {
                self.with(mine, actions, |session| session.leave(now));
            }
        }
        for (key, settings) in wanted {
            // One that was just given up, and is told so, is taken up again.
            let leaving = || {
                let mut all = self.sessions.iter();
                all.find(|(_, (other, _))| *other == key).map(|it| *it.0)
            };
            let known = self.numbers.get(&key).copied().or_else(leaving);
            let mine = known.unwrap_or_else(|| self.number());
            self.numbers.insert(key, mine);
            if known.is_some() {
                self.with(mine, actions, |session| session.configure(settings, now));
                continue;
            }
            let sequence = u32::try_from(self.random() >> 32).unwrap_or_default();
            let session = Session::new(settings, mine, sequence, now);
            self.sessions.insert(mine, (key, session));
            self.with(mine, actions, |_| None);
        }
    }

    fn receive(
        &mut self,
        datagram: &Datagram<'_>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Result<(), Refused> {
        let (packet, behind) = Packet::read(datagram.bytes)?;
        let mine = match packet.yours {
            0 => self.find(datagram),
            yours => Some(yours),
        };
        let found = mine.and_then(|mine| self.sessions.get(&mine));
        let (key, session) = found.ok_or(Refused::NoSession)?;
        // A number that was guessed does not make a stranger the other side.
        if key.peer != datagram.from || key.hops != datagram.hops {
            return Err(Refused::NoSession);
        }
        if datagram.ttl < session.settings().lowest_ttl {
            return Err(Refused::Distance);
        }
        let mine = session.mine();
        let header = datagram.bytes.first_chunk::<HEADER>();
        let header = header.ok_or(Refused::Packet(PacketError::Length))?;
        let mut refusal = None;
        let arrived = datagram.arrived.min(now);
        self.with(mine, actions, |session| {
            let taken = session.receive(&packet, (header, behind), (arrived, now));
            taken.unwrap_or_else(|error| {
                refusal = Some(error);
                None
            })
        });
        match refusal {
            Some(Refusal::Unauthenticated) => return Err(Refused::Unauthenticated),
            Some(Refusal::AdminDown) => return Err(Refused::AdminDown),
            None => {}
        }
        if packet.is_poll
            && let Some((key, session)) = self.sessions.get_mut(&mine)
        {
            let (key, packet) = (*key, session.answer());
            actions.push(Action::Send { key, packet });
        }
        Ok(())
    }

    /// The session that a packet is of which does not know our number: the one that fits best.
    fn find(&self, datagram: &Datagram<'_>) -> Option<u32> {
        let fits = |key: &Key| {
            key.peer == datagram.from
                && key.hops == datagram.hops
                && key.local.is_none_or(|it| it == datagram.to)
                && key.interface.is_none_or(|it| it == datagram.interface)
        };
        let fitting = self.numbers.iter().filter(|(key, _)| fits(key));
        let best = fitting.max_by_key(|(key, _)| (key.interface.is_some(), key.local.is_some()));
        best.map(|(_, mine)| *mine)
    }

    fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        // Each at most once: what is due again at once waits for the next tick.
        let due: Vec<u32> = self
            .due
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, mine)| *mine)
            .collect();
        for mine in due {
            let jitter = self.random();
            let mut sent = None;
            self.with(mine, actions, |session| {
                let (packet, change) = session.tick(now, jitter);
                sent = packet;
                change
            });
            let Some((key, session)) = self.sessions.get(&mine) else {
                continue;
            };
            if let Some(packet) = sent {
                actions.push(Action::Send { key: *key, packet });
            }
            if session.is_gone(now) {
                self.forget(mine);
            }
        }
    }

    /// Does something with a session, says what changed, and notes when it is due.
    fn with(
        &mut self,
        mine: u32,
        actions: &mut Vec<Action>,
        act: impl FnOnce(&mut Session) -> Option<Change>,
    ) {
        let Some((key, session)) = self.sessions.get_mut(&mine) else {
            return;
        };
        let before = session.deadline();
        let was_cut = session.is_cut_behind();
        let change = act(session);
        let (remote_state, remote_diagnostic) = session.remote();
        let is_cut = session.is_cut_behind();
        if let (Some(was), Some(is_cut)) = (was_cut, is_cut)
            && was != is_cut
        {
            actions.push(Action::Behind { key: *key, is_cut });
        }
        if let Some(Change {
            from,
            to,
            diagnostic,
        }) = change
        {
            actions.push(Action::Changed {
                key: *key,
                from,
                to,
                diagnostic,
                remote_state,
                remote_diagnostic,
            });
        }
        let after = session.deadline();
        if let Some(at) = before {
            self.due.remove(&(at, mine));
        }
        self.due.extend(after.map(|at| (at, mine)));
    }

    fn forget(&mut self, mine: u32) {
        if let Some((_, session)) = self.sessions.remove(&mine)
            && let Some(at) = session.deadline()
        {
            self.due.remove(&(at, mine));
        }
    }

    /// A number that no session has; never zero.
    fn number(&mut self) -> u32 {
        loop {
            let number = u32::try_from(self.random() >> 32).unwrap_or_default();
            if number != 0 && !self.sessions.contains_key(&number) {
                return number;
            }
        }
    }

    /// The next number of a sequence that looks random (splitmix64).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
