//! A model of the NAT: plain maps in the words of RFC 4787, 5382, 5508 and 7857. Written from these and
//! from the reference of the configuration, and from nothing that the packet path decides by, so that it
//! finds what the two understand differently.
//!
//! It takes what the gateway takes: packets, time, sweeps, configurations. It says why each packet must
//! leave and as what. Where the gateway is free to choose, the model is told the choice and asserts that
//! it was allowed: which address of a pool a client is paired with, which port an endpoint is given, when
//! exactly within a few seconds something silent is swept away.
//!
//! What it leaves to others' tests: bytes and checksums, hops and sizes, fragments, rates.

mod connection;
pub mod ports;
pub mod sweep;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use abi::{Behaviour, Dependence, Protocol, Reason};
use gateway::intent::{Action, Intent, Rule, Service};

use super::sketch::{ACK, FIN, RST, SYN};
use connection::Connection;
use ports::Life;

/// An address and a port; of ICMP the identifier at the end that asks, and zero at the other.
pub type End = SocketAddrV4;

/// For how long a client that called somebody in vain may count on being reached back (the time in
/// which a caller tries again).
const HOPE: Duration = Duration::from_secs(30);

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
    /// What it is seen as.
    pub external: End,
    /// Whom it talks to: another client, if they see each other by their external endpoints.
    pub peer: End,
    pool: String,
    /// The filtering under which the internal endpoint let the remote in; nothing if it did not begin.
    lets_in: Option<Dependence>,
    connection: Connection,
    /// When a packet last kept it alive.
    last: Duration,
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
    made: Duration,
    /// Whom the internal endpoint has sent to from there, and when last in vain.
    called: BTreeMap<End, Option<Call>>,
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

/// Whether somebody may send to an external endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entry {
    Must,
    /// The client has sent to them, but they have had nothing to do with each other since.
    May,
    MustNot,
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
    /// Ports that were held back at the last sweep.
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
    address: Ipv4Addr,
    behaviour: Behaviour,
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

    /// Mappings there are, each with its internal endpoint.
    pub fn mappings(&self) -> impl ExactSizeIterator<Item = ((Protocol, End), End)> {
        let mappings = self.mappings.iter();
        mappings.map(|(external, mapping)| (*external, mapping.internal))
    }

    /// External addresses there are.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.addresses.keys().copied()
    }

    /// Another policy is in force; no session notices.
    pub fn configure(&mut self, intent: &Intent) {
        for address in self.addresses.values_mut() {
            if !std::mem::replace(&mut address.is_draining, true) {
                address.quiet = 0;
            }
        }
        for pool in &intent.pools {
            let before = self.intent.pools.iter().find(|it| it.name == pool.name);
            if before.is_none_or(|before| before.addresses != pool.addresses) {
                self.paired.retain(|(of, _), _| *of != pool.name);
            }
            let ports = (pool.ports.first, pool.ports.last);
            for at in &pool.addresses {
                let known = self.addresses.get(at);
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
                self.addresses.insert(*at, address);
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
            mapping.called.entry(session.seen).or_insert(None);
        }
        Fate { reason, sent }
    }

    /// Decides about a packet that no session has: how it begins one, or why not.
    fn judge(&mut self, packet: &Packet, made: &dyn Choices) -> Result<Beginning, Reason> {
        let rule = self.rule(packet).cloned();
        let wanted = rule.as_ref().and_then(|rule| match &rule.action {
            Action::Translate { pool } if packet.is_inside => Some(pool),
            Action::Translate { .. } | Action::Pass => None,
        });
        let called = self.addresses.get(packet.target.ip()).cloned();
        if called.is_none() && wanted.is_none() {
            return Err(match rule.map(|rule| rule.action) {
                None => Reason::NoRule,
                Some(Action::Pass) => Reason::RulePass,
                Some(Action::Translate { .. }) => Reason::ExternalRealm,
            });
        }
        if let Some(called) = &called
            && packet.protocol != Protocol::Icmp
            && !(called.ports.0..=called.ports.1).contains(&packet.target.port())
        {
            return Err(match (self.routes)(*packet.target.ip()) {
                Way::Local => Reason::NotOurPort,
                Way::Sent | Way::KernelSends | Way::Unresolved | Way::Nowhere => {
                    Reason::Unsolicited
                }
            });
        }
        let pooled = wanted.map(|pool| self.pooled(pool, *packet.source.ip(), made));
        let beginning = match (called, pooled) {
            (Some(called), pooled) => self.to_a_mapping(packet, &called, pooled, made)?,
            (None, Some(pooled)) => match (self.routes)(*packet.target.ip()) {
                Way::Local => return Err(Reason::LocalDestination),
                Way::Nowhere => return Err(Reason::NoRoute),
                Way::Sent | Way::KernelSends | Way::Unresolved => {
                    Beginning::Out(pooled, packet.target)
                }
            },
            (None, None) => unreachable!("it is nobody's, see above"),
        };
        match (packet.what, &beginning) {
            (What::Datagram, _) => Ok(beginning),
            (What::Segment(flags), _) if opens(flags) => Ok(beginning),
            (What::Segment(flags), _) => Err(stray(flags)),
            // Whoever outside answers a question may be another than was asked.
            (What::Question, Beginning::Out(_, to)) if *to == packet.target => Ok(beginning),
            (What::Reply, Beginning::In(_)) => Ok(beginning),
            (What::Question | What::Reply, _) => Err(Reason::NotAQuery),
        }
    }

    /// The first rule that matches.
    fn rule(&self, packet: &Packet) -> Option<&Rule> {
        let (source, target) = (packet.source.ip(), packet.target.ip());
        let port = packet.target.port();
        self.intent.rules.iter().find(|rule| {
            rule.sources.iter().any(|net| net.contains(source))
                && rule.destinations.iter().any(|net| net.contains(target))
                && rule.services.iter().any(|service| match *service {
                    Service::Any => true,
                    Service::Protocol(protocol) => protocol == packet.protocol,
                    Service::Ports(protocol, first, last) => {
                        protocol == packet.protocol && (first..=last).contains(&port)
                    }
                })
        })
    }

    /// What a rule gives a client. A client keeps its address of a pool (RFC 4787 REQ-2).
    fn pooled(&mut self, pool: &str, client: Ipv4Addr, made: &dyn Choices) -> Pooled {
        let wanted = self.intent.pools.iter().find(|it| it.name == pool);
        let wanted = wanted.expect("rules name pools that are");
        let address = made.address(pool, client);
        assert!(
            wanted.addresses.contains(&address),
            "{client} has {address}, which is not of pool {pool}"
        );
        let pair = self.paired.entry((pool.to_owned(), client));
        assert_eq!(*pair.or_insert(address), address, "{client} keeps its address");
        Pooled {
            pool: pool.to_owned(),
            address,
            behaviour: wanted.behaviour,
        }
    }

    /// Decides about a packet for a port of an external address: whose it is, and whether it lets the
    /// sender in (RFC 4787 §5 and §6).
    fn to_a_mapping(
        &self,
        packet: &Packet,
        called: &Address,
        pooled: Option<Pooled>,
        made: &dyn Choices,
    ) -> Result<Beginning, Reason> {
        if pooled.is_some() && !called.behaviour.hairpins() {
            return Err(Reason::Hairpin);
        }
        let refused = |reason| match packet.what {
            What::Segment(flags) if flags & (SYN | ACK | RST) != SYN => stray(flags),
            What::Segment(_) | What::Datagram | What::Question | What::Reply => reason,
        };
        // A question names no port of ours.
        let end = (packet.protocol, packet.target);
        let mapping = self.mappings.get(&end);
        let Some(mapping) = mapping.filter(|_| packet.what != What::Question) else {
            return Err(refused(Reason::Unsolicited));
        };
        if pooled.is_some() && mapping.internal == packet.source {
            return Err(Reason::Hairpin);
        }
        let (sender, port) = match &pooled {
            None => (*packet.source.ip(), Some(packet.source.port())),
            Some(pooled) => {
                let port = self.mapped(packet, pooled).map(|end| end.port());
                (pooled.address, port)
            }
        };
        let is_let_in = match self.entry(end, called, (sender, port)) {
            Entry::Must => true,
            Entry::MustNot => false,
            Entry::May => made.reason() != Reason::Filtered,
        };
        if let Way::Local | Way::Nowhere = (self.routes)(*mapping.internal.ip()) {
            return Err(Reason::NoRoute);
        }
        match (pooled, is_let_in) {
            (None, false) => Err(refused(Reason::Filtered)),
            (None, true) => Ok(Beginning::In(mapping.internal)),
            (Some(pooled), true) => Ok(Beginning::Out(pooled, mapping.internal)),
            (Some(pooled), false) => Ok(Beginning::Call(pooled)),
        }
    }

    /// Whether the internal endpoint behind an external one lets this sender in.
    fn entry(
        &self,
        end: (Protocol, End),
        called: &Address,
        (sender, port): (Ipv4Addr, Option<u16>),
    ) -> Entry {
        let filtering = called.behaviour.filtering(end.0);
        let is_sender = |whom: &End| {
            *whom.ip() == sender
                && match filtering {
                    Dependence::Endpoint | Dependence::Address => true,
                    Dependence::AddressAndPort => Some(whom.port()) == port,
                }
        };
        if filtering == Dependence::Endpoint {
            return Entry::Must;
        }
        let mapping = &self.mappings[&end];
        let talks =
            |it: &Session| it.lets_in == Some(filtering) && is_sender(&it.seen);
        let own = self.sessions.values().filter(|it| {
            (it.protocol, it.external) == end && it.inside == mapping.internal
        });
        let is_in_use = own.clone().next().is_some();
        let is_hoped_for = mapping.called.iter().any(|(whom, call)| {
            let is_fresh = call.is_some_and(|call| {
                call.filtering == filtering && self.now - call.at < HOPE
            });
            is_fresh && is_in_use && is_sender(whom)
        });
        let is_talked_to = own.clone().any(talks);
        if is_talked_to || is_hoped_for {
            return Entry::Must;
        }
        match mapping.called.keys().any(is_sender) {
            true => Entry::May,
            false => Entry::MustNot,
        }
    }

    /// The external endpoint that the sender of a packet has already for this target.
    fn mapped(&self, packet: &Packet, pooled: &Pooled) -> Option<End> {
        let wanted = match pooled.behaviour.mapping(packet.protocol) {
            Dependence::Endpoint => Whom::All,
            Dependence::Address => Whom::Address(*packet.target.ip()),
            Dependence::AddressAndPort => return None,
        };
        let mut mappings = self.mappings.iter();
        let found = mappings.find(|((protocol, external), mapping)| {
            *protocol == packet.protocol
                && *external.ip() == pooled.address
                && mapping.internal == packet.source
                && mapping.whom == wanted
        });
        found.map(|((_, external), _)| *external)
    }

    /// Whether TCP ports of this pool serve several sessions.
    fn is_shared(protocol: Protocol, behaviour: &Behaviour) -> bool {
        protocol == Protocol::Tcp && behaviour.overloads()
    }

    /// Makes a session, and whatever it needs; or says why there is no room for it.
    fn begin(
        &mut self,
        packet: &Packet,
        beginning: Beginning,
        made: &dyn Choices,
    ) -> Result<(), Reason> {
        let protocol = packet.protocol;
        let (pooled, peer) = match beginning {
            Beginning::In(inside) => {
                let pool = self.addresses[packet.target.ip()].pool.clone();
                return self.insert(Session {
                    protocol,
                    inside,
                    seen: packet.source,
                    external: packet.target,
                    peer: packet.source,
                    pool,
                    lets_in: None,
                    connection: Connection::default(),
                    last: self.now,
                });
            }
            Beginning::Out(pooled, peer) => (pooled, Some(peer)),
            Beginning::Call(pooled) => (pooled, None),
        };
        let is_shared = Self::is_shared(protocol, &pooled.behaviour);
        let mapped = self.mapped(packet, &pooled);
        if mapped.is_none() && peer.is_none() && is_shared {
            return Err(Reason::Filtered);
        }
        if made.reason() == Reason::MappingTableFull {
            self.may_be_full();
            self.taken_in_vain(pooled.address);
            return Err(Reason::MappingTableFull);
        }
        let external = match mapped {
            Some(external) => external,
            None => {
                self.refused_with_a_port(protocol, pooled.address, peer, made)?;
                self.claimed(packet, (pooled.address, &pooled.behaviour), peer, made)?
            }
        };
        if let Some(peer) = peer {
            let begun = self.insert(Session {
                protocol,
                inside: packet.source,
                seen: packet.target,
                external,
                peer,
                pool: pooled.pool.clone(),
                lets_in: Some(pooled.behaviour.filtering(protocol)),
                connection: Connection::default(),
                last: self.now,
            });
            if let Err(reason) = begun {
                if let Some(mapping) = self.mappings.get_mut(&(protocol, external)) {
                    mapping.called.entry(packet.target).or_insert(None);
                }
                return Err(reason);
            }
        }
        if !is_shared {
            self.call(packet, (external, mapped.is_none()), &pooled, peer.is_none());
        }
        match peer {
            Some(_) => Ok(()),
            None => Err(Reason::Filtered),
        }
    }

    /// Notes that an internal endpoint sends to somebody from an external one, which may be new.
    fn call(
        &mut self,
        packet: &Packet,
        (external, is_new): (End, bool),
        pooled: &Pooled,
        is_in_vain: bool,
    ) {
        let whom = match pooled.behaviour.mapping(packet.protocol) {
            Dependence::Endpoint => Whom::All,
            Dependence::Address => Whom::Address(*packet.target.ip()),
            Dependence::AddressAndPort => Whom::One,
        };
        let mapping = self.mappings.entry((packet.protocol, external));
        let mapping = mapping.or_insert_with(|| Mapping {
            internal: packet.source,
            whom,
            made: self.now,
            called: BTreeMap::new(),
        });
        // Nobody can know the port of an endpoint that has only ever called in vain.
        let call = (is_in_vain && !is_new).then(|| Call {
            at: self.now,
            filtering: pooled.behaviour.filtering(packet.protocol),
        });
        let called = mapping.called.entry(packet.target).or_insert(None);
        // Remembered once for each time: it is not made longer by calling again.
        if called.is_none() {
            *called = call;
        }
    }

    /// Inserts a session, unless another has one of its tuples, or there are too many.
    fn insert(&mut self, session: Session) -> Result<(), Reason> {
        let Session {
            protocol,
            inside,
            seen,
            external,
            peer,
            ..
        } = session;
        let is_known = |source, target| self.translated(protocol, source, target).is_some();
        if is_known(inside, seen) || is_known(peer, external) {
            return Err(Reason::Collision);
        }
        if self.sessions.len() >= self.room {
            return Err(Reason::FlowTableFull);
        }
        self.inward
            .insert((protocol, peer, external), (inside, seen));
        self.sessions.insert((protocol, inside, seen), session);
        Ok(())
    }

    /// A session that got a port may be refused all the same; nobody knows which port that was.
    fn refused_with_a_port(
        &mut self,
        protocol: Protocol,
        address: Ipv4Addr,
        peer: Option<End>,
        made: &dyn Choices,
    ) -> Result<(), Reason> {
        let Some(peer) = peer else { return Ok(()) };
        if made.reason() == Reason::FlowTableFull {
            assert!(self.sessions.len() >= self.room, "there is room");
            return Err(Reason::FlowTableFull);
        }
        if made.reason() == Reason::Collision {
            let mut sessions = self.sessions.values();
            let is_in_the_way = sessions.any(|it| {
                (it.protocol, it.external.ip(), it.peer) == (protocol, &address, peer)
            });
            assert!(is_in_the_way, "{address} has no session with {peer}");
            self.taken_in_vain(address);
            return Err(Reason::Collision);
        }
        Ok(())
    }

    /// Some port of an address was taken for nobody, until sweeps have seen that.
    fn taken_in_vain(&mut self, address: Ipv4Addr) {
        let address = self.addresses.get_mut(&address).expect("it is a pool's");
        address.in_vain = ports::SWEEPS;
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

    /// Asserts that so much is mapped that there may be no room for more: twice as many entries as
    /// sessions, of which a mapping takes two, and each further remote that was sent to one.
    fn may_be_full(&self) {
        let mappings = self.mappings.values();
        let entries: usize = mappings.map(|mapping| 2 + mapping.called.len()).sum();
        assert!(
            entries + 2 >= 2 * self.room,
            "there is room for more than {entries} entries of mappings"
        );
    }
}

/// Whether a segment begins a connection.
fn opens(flags: u8) -> bool {
    flags & (SYN | ACK | RST | FIN) == SYN
}

/// What becomes of a segment that belongs to nothing: an RST is never answered.
fn stray(flags: u8) -> Reason {
    match flags & RST {
        0 => Reason::ResetSent,
        _ => Reason::NoFlow,
    }
}
