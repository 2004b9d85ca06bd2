//! A model of the NAT: plain maps in the words of RFC 4787, 5382, 5508 and 7857. Written from these and
//! from the reference of the configuration, and from nothing that the packet path decides by, so that it
//! finds what the two understand differently.
//!
//! It takes what the gateway takes: packets, time, sweeps, configurations. It says why each packet must
//! leave and as what. Where the gateway is free to choose, the model is told the choice and asserts that
//! it was allowed: which address of a pool a client is paired with, which port an endpoint is given, when
//! exactly within a few seconds something silent is swept away.
//!
//! What it knows: TCP, UDP and ICMP echo over IPv4; mapping, filtering, hairpinning, parity, pairing,
//! hold-down, overload, quotas of flows and ports, timeouts, ICMP errors, full tables, policies that change
//! under all of this, and daemons that die.
//!
//! What it does not know, and leaves to others' tests: IPv6 and NAT64, ports that are forwarded or asked for,
//! fragments, rates, bytes and checksums, hops and sizes. Of an overloaded port it says that no two sessions
//! share a tuple and when one must be found, and not which port is held back towards whom. Two CPUs at once
//! are `races.rs`'s.

mod begin;
pub mod connection;
mod judge;
mod ports;
pub mod sweep;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use abi::{Behaviour, Dependence, Protocol, Reason};
use gateway::intent::Intent;

use connection::{Connection, Stage};
use ports::Life;

/// An address and a port; of ICMP the identifier at the end that asks, and zero at the other.
pub type End = SocketAddrV4;

/// A packet, as far as a NAT looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub protocol: Protocol,
    pub source: End,
    pub target: End,
    pub what: What,
    /// Whether it came by an interface that clients are behind.
    pub is_inside: bool,
}

/// What a packet says beside its ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    Datagram,
    /// An ICMP query.
    Question,
    /// An answer to one.
    Reply,
    /// A TCP segment with these flags.
    Segment(u8),
}

/// What must become of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fate {
    pub reason: Reason,
    /// Its ends when it leaves, if it is translated.
    pub sent: Option<(End, End)>,
}

impl From<Reason> for Fate {
    fn from(reason: Reason) -> Self {
        Self { reason, sent: None }
    }
}

/// Where the routing tables send a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    Sent,
    KernelSends,
    Unresolved,
    Local,
    Nowhere,
}

/// What the gateway chose where it is free to.
pub trait Choices {
    /// The address of a pool that a client has.
    fn address(&self, pool: &str, client: Ipv4Addr) -> Ipv4Addr;
    /// The port that the packet's sender was given, if it was given one.
    fn port(&self) -> Option<u16>;
    /// Why the packet left.
    fn reason(&self) -> Reason;
}

/// One internal endpoint's exchange with one remote.
#[derive(Clone, Debug)]
pub struct Session {
    pub protocol: Protocol,
    /// The internal endpoint.
    pub inside: End,
    /// Whom it talks to, as it sees them.
    pub seen: End,
    /// Whom its mapping and its filter know: another client by its external endpoint, of an endpoint the
    /// target that it leads to.
    remote: End,
    /// What it is seen as.
    pub external: End,
    /// Whom it talks to: another client, if they see each other by their external endpoints.
    pub peer: End,
    pool: String,
    /// The rule that it counts for.
    rule: String,
    /// The filtering under which the internal endpoint let the remote in; nothing if it did not begin.
    lets_in: Option<Dependence>,
    connection: Connection,
    /// When a packet last kept it alive.
    last: Duration,
}

impl Session {
    /// How far its connection has come, if it is one.
    pub fn stage(&self) -> Stage {
        self.connection.stage()
    }

    /// Whether an external endpoint is one of its own: of a hairpinned session both ends are ours.
    fn uses(&self, protocol: Protocol, end: End) -> bool {
        self.protocol == protocol && self.ours().any(|own| own == end)
    }

    fn ours(&self) -> impl Iterator<Item = End> + use<> {
        let called = (self.remote != self.peer).then_some(self.remote);
        [self.external].into_iter().chain(called)
    }
}

/// For which remotes an internal endpoint has an external port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Whom {
    All,
    Address(Ipv4Addr),
    /// One session's alone.
    One,
}

/// An internal endpoint's external endpoint.
#[derive(Clone, Debug)]
struct Mapping {
    internal: End,
    whom: Whom,
    /// The rule that it counts for.
    rule: String,
    made: Duration,
    /// Whom the internal endpoint has sent to from there, and when last in vain.
    called: BTreeMap<End, Option<Call>>,
    /// When it last sent to anybody without a session coming of that.
    in_vain: Duration,
}

/// A packet to another client that its filter kept out.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Call {
    at: Duration,
    filtering: Dependence,
}

/// What an external address is for.
#[derive(Clone, Debug)]
struct Address {
    pool: String,
    ports: (u16, u16),
    behaviour: Behaviour,
    is_draining: bool,
    /// When anything of this was another way last.
    changed: Duration,
    /// The life of ports that it had not had before: as if they had been in use until then.
    ports_life: Option<Life>,
    /// Sweeps since anybody used it.
    quiet: u32,
    /// Sweeps until a port is free again that was taken for a session that did not come to be.
    in_vain: u32,
}

/// The NAT.
pub struct Nat {
    intent: Intent,
    routes: fn(Ipv4Addr) -> Way,
    now: Duration,
    /// How many sessions there is room for.
    room: usize,
    addresses: BTreeMap<Ipv4Addr, Address>,
    /// Which address of a pool a client has (paired pooling).
    paired: BTreeMap<(String, Ipv4Addr), Ipv4Addr>,
    /// By internal endpoint and whom it sees.
    sessions: BTreeMap<(Protocol, End, End), Session>,
    /// The same sessions, by who sends to them from the other side, and to where.
    inward: BTreeMap<(Protocol, End, End), (End, End)>,
    /// By external endpoint.
    mappings: BTreeMap<(Protocol, End), Mapping>,
    /// Ports that somebody had.
    ports: BTreeMap<(Protocol, End), Life>,
    /// Ports that are held back.
    held: BTreeSet<(Protocol, End)>,
    /// When so many ports of an address came free that not all can have been held back.
    crowded: BTreeMap<(Protocol, Ipv4Addr), Duration>,
}

/// How a session begins.
enum Beginning {
    /// From inside, to the outside or to another client; what the sender has in its pool.
    Out(Pooled, End),
    /// Another client is called, but lets nobody in.
    Call(Pooled),
    /// From outside, to this internal endpoint.
    In(End),
}

/// What a sender has by the rule that wants its packet.
struct Pooled {
    pool: String,
    rule: String,
    address: Ipv4Addr,
    behaviour: Behaviour,
    /// Whom it goes to from there, see [`Session::remote`].
    remote: End,
}

impl Nat {
    /// A NAT under this policy, with room for so many sessions.
    pub fn new(intent: &Intent, room: usize, routes: fn(Ipv4Addr) -> Way) -> Self {
        let mut nat = Self {
            intent: intent.clone(),
            routes,
            now: Duration::ZERO,
            room,
            addresses: BTreeMap::new(),
            paired: BTreeMap::new(),
            sessions: BTreeMap::new(),
            inward: BTreeMap::new(),
            mappings: BTreeMap::new(),
            ports: BTreeMap::new(),
            held: BTreeSet::new(),
            crowded: BTreeMap::new(),
        };
        nat.configure(intent);
        nat
    }

    /// Time passes.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Sessions there are.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = &Session> {
        self.sessions.values()
    }

    /// For how long nothing has kept a session alive.
    pub fn silent(&self, session: &Session) -> Duration {
        self.now - session.last
    }

    /// Mappings there are, each with its internal endpoint.
    pub fn mappings(&self) -> impl ExactSizeIterator<Item = ((Protocol, End), End)> {
        let mappings = self.mappings.iter();
        mappings.map(|(external, mapping)| (*external, mapping.internal))
    }

    /// Internal endpoints that are to be known again by an external one, and towards which remote
    /// address, if that matters.
    pub fn known(&self) -> impl Iterator<Item = ((Protocol, End), (End, Option<Ipv4Addr>))> {
        self.mappings.iter().filter_map(|(external, mapping)| {
            let remote = match mapping.whom {
                Whom::All => None,
                Whom::Address(remote) => Some(remote),
                Whom::One => return None,
            };
            Some((*external, (mapping.internal, remote)))
        })
    }

    /// External addresses there are.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.addresses.keys().copied()
    }

    /// Another policy is in force; no session notices.
    pub fn configure(&mut self, intent: &Intent) {
        let named = |of: &Intent, name: &str| of.pools.iter().find(|it| it.name == name).cloned();
        for address in self.addresses.values_mut() {
            if !std::mem::replace(&mut address.is_draining, true) {
                address.quiet = 0;
            }
            if named(&self.intent, &address.pool) != named(intent, &address.pool) {
                address.changed = self.now;
            }
        }
        for pool in &intent.pools {
            let before = named(&self.intent, &pool.name);
            let before = before.as_ref();
            if before.is_none_or(|before| before.addresses != pool.addresses) {
                self.paired.retain(|(of, _), _| *of != pool.name);
            }
            let ports = (pool.ports.first, pool.ports.last);
            let of_ipv4 = |address: &IpAddr| match address {
                IpAddr::V4(address) => Some(*address),
                IpAddr::V6(_) => None,
            };
            for at in pool.addresses.iter().filter_map(of_ipv4) {
                let known = self.addresses.get(&at);
                let is_same = before == Some(pool)
                    && known.is_some_and(|it| it.pool == pool.name && it.ports == ports);
                let is_moved = known.is_some_and(|it| it.ports != ports);
                let ports_life = match (is_moved, known) {
                    (true, _) => Some(Life::new(self.now)),
                    (false, known) => known.and_then(|it| it.ports_life),
                };
                let changed = match (is_same, known) {
                    (true, Some(known)) => known.changed,
                    (_, _) => self.now,
                };
                let address = Address {
                    pool: pool.name.clone(),
                    ports,
                    behaviour: pool.behaviour,
                    is_draining: false,
                    changed,
                    ports_life,
                    quiet: 0,
                    in_vain: known.map_or(0, |it| it.in_vain),
                };
                self.addresses.insert(at, address);
            }
        }
        self.intent = intent.clone();
    }

    /// An ICMP error quotes a packet with these ends, as it left. Says with which ends its sender sent
    /// it; nothing if it is no session's.
    pub fn quoted(&self, protocol: Protocol, source: End, target: End) -> Option<(End, End)> {
        let (as_seen, sender) = self.translated(protocol, target, source)?;
        Some((sender, as_seen))
    }

    /// A packet arrives.
    pub fn packet(&mut self, packet: &Packet, made: &dyn Choices) -> Fate {
        if self.has(packet) {
            return self.carry(packet);
        }
        let beginning = match self.judge(packet, made) {
            Ok(beginning) => beginning,
            Err(reason) => return reason.into(),
        };
        match self.begin(packet, beginning, made) {
            Ok(()) => self.carry(packet),
            Err(reason) => reason.into(),
        }
    }

    fn has(&self, packet: &Packet) -> bool {
        self.translated(packet.protocol, packet.source, packet.target)
            .is_some()
    }

    /// What a packet of a session leaves as.
    fn translated(&self, protocol: Protocol, source: End, target: End) -> Option<(End, End)> {
        if let Some(session) = self.sessions.get(&(protocol, source, target)) {
            return Some((session.external, session.peer));
        }
        let (inside, seen) = self.inward.get(&(protocol, source, target))?;
        Some((*seen, *inside))
    }

    /// Takes a packet of a session through.
    fn carry(&mut self, packet: &Packet) -> Fate {
        let Packet {
            protocol,
            source,
            target,
            ..
        } = *packet;
        let sent = self.translated(protocol, source, target);
        let (to_source, to_target) = sent.expect("only packets of sessions are carried");
        let is_out = self.sessions.contains_key(&(protocol, source, target));
        let reason = match (self.routes)(*to_target.ip()) {
            Way::Sent if is_out => Reason::TranslatedOut,
            Way::Sent => Reason::TranslatedIn,
            Way::KernelSends => Reason::KernelSends,
            Way::Unresolved => Reason::Unresolved,
            Way::Local | Way::Nowhere => return Reason::NoRoute.into(),
        };
        let key = match is_out {
            true => (protocol, source, target),
            false => (protocol, to_target, to_source),
        };
        let session = self.sessions.get_mut(&key).expect("it has both directions");
        let is_alive = match packet.what {
            What::Segment(flags) => session.connection.hear(is_out, flags),
            What::Datagram | What::Question | What::Reply => true,
        };
        if is_alive {
            session.last = self.now;
        }
        if is_out
            && let Some(mapping) = self.mappings.get_mut(&(protocol, session.external))
            && mapping.internal == session.inside
        {
            mapping.called.entry(session.remote).or_insert(None);
        }
        Fate { reason, sent }
    }

    /// The daemon begins anew: what it remembered from one sweep to the next is lost.
    pub fn restart(&mut self) {
        let addresses = self.addresses.values_mut();
        let new = addresses.filter_map(|address| address.ports_life.as_mut());
        self.ports.values_mut().chain(new).for_each(Life::restart);
        for address in self.addresses.values_mut() {
            address.quiet = 0;
            if address.in_vain > 0 {
                address.in_vain = ports::SWEEPS;
            }
        }
    }
}
