//! Packets that no flow wants: begin a flow, answer, refuse, or leave them to the kernel.

mod mappings;
mod place;
mod redirect;
mod spare;

use abi::{
    Action, Address, Admits, Behaviour, Blocks, ClassKey, Dependence, External, Flow, FlowKey, Ip4,
    Ip6, Live, MappingKey, NextHop, Port, Prefix64, Protocol, Reason, Side, Slot, Tuple,
    blocks::{NOBODY, Ranks},
    policy,
};

use crate::{
    Arrival,
    checksum::{Sum, TTL_DECREMENT},
    classify::{Wish, classify},
    cluster::is_from_inside,
    embedded::{embed, embedded, forbidden},
    frame::{Icmp, Link, Packet, Tcp},
    has_ipv6,
    ip::Translate,
    ports,
    route::{self, next_hop},
    world::{InsertError, Route, RouteQuery, Tables, World},
};
pub use {mappings::known_port, place::start, redirect::redirect, spare::choose};

use mappings::{is_asked_for, is_permitted, map, mapped, permit};
use place::{claim, no_port, place};

/// What is to be done with a packet that no flow wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Begin a flow.
    Begin,
    /// Answer it with RST.
    Answer,
    /// It is for somebody who has IPv6.
    Cross,
    /// It goes to another member of the cluster.
    Relay,
    /// It leaves for this reason.
    Leave(Reason),
}

/// Which way a flow begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From the internal to the external realm.
    Out,
    /// From outside to an external port that an internal endpoint has.
    In,
    /// From one internal endpoint to another by its external port (RFC 4787 REQ-9).
    Hairpin,
    /// The same, but the other one's filter lets nobody in. Its own filter lets the other in then.
    Knock,
}

/// What a new flow is made from, beside its first packet.
pub struct Beginning<A> {
    /// Why the packet leaves if there is no flow.
    pub(crate) reason: Reason,
    pub(crate) way: Way,
    pool: u8,
    /// Whether `hop` is filled in.
    is_routed: bool,
    /// Whether the flow is the first of its mapping.
    pub(crate) is_new: bool,
    /// Whether the flow is charged to its rule as a whole.
    pub(crate) is_charged: bool,
    /// The number of the rule it begins under; zero if it has none.
    pub(crate) rule: u16,
    /// Where that stands, of a flow from inside.
    rule_index: u32,
    /// The slot of the client that it is charged to; zero if it is not.
    pub(crate) client: u32,
    /// The external port of a flow from inside.
    port: Port,
    generation: u32,
    /// Where the pool stands whose address the flow gets.
    place: u32,
    pub(crate) seed: u64,
    /// [`abi::Config::key`].
    pub(crate) key: u64,
    /// Whether there are other members, and by whom its port is given: [`abi::cluster::Giver::word`].
    pub(crate) is_clustered: bool,
    giver: u16,
    pub(crate) behaviour: Behaviour,
    /// That of the external address that is called.
    called: Behaviour,
    /// In which bitmap the port was claimed, if the flow is the first of its mapping.
    bitmap: u32,
    /// The port that was found, or [`NO_PORT`](ports::NO_PORT).
    found: u32,
    /// The external address of a flow from inside.
    slot: Slot<A>,
    /// The number of its client among those of the pool that have a block of ports, or
    /// [`NOBODY`].
    ordinal: u32,
    /// The ports of that block, as [`Blocks::block`] has them; none if it has none.
    block: (u32, u64),
    /// The ports of the pool that are in no block.
    rest: Ranks,
    /// Whom the packet is to: where an IPv6 address stands for an IPv4 one, that one; where it is an
    /// endpoint's, whom that leads to.
    pub(crate) target: A,
    target_port: Port,
    /// The prefix by which it does, as an index.
    prefix: u16,
    /// The prefix by which whoever has the external port knows IPv4 addresses.
    known_by: Prefix64,
    /// Whose the external port is that a flow is to.
    pub(crate) internal: A,
    internal_port: Port,
    /// The remote that they sent to first.
    first: A,
    /// Who may call it.
    admits: Admits,
    /// Whether they have IPv4 and the packet's sender has not, so that their mapping is in the other
    /// tables.
    is_elsewhere: bool,
    hop: NextHop,
    /// What the packet becomes.
    sent: Tuple<A>,
    /// The key of the flow's other direction.
    back: FlowKey<A>,
}

impl<A: Address> Beginning<A> {
    /// To be filled in. It is not cleared for the next packet, because on BPF that goes byte by byte:
    /// each step writes what the next ones read.
    pub const EMPTY: Self = Self {
        reason: Reason::Internal,
        way: Way::Out,
        pool: 0,
        is_routed: false,
        is_new: false,
        is_charged: false,
        rule: 0,
        rule_index: 0,
        client: 0,
        port: Port([0; 2]),
        generation: 0,
        place: 0,
        seed: 0,
        key: 0,
        is_clustered: false,
        giver: 0,
        behaviour: Behaviour::STRICTEST,
        called: Behaviour::STRICTEST,
        bitmap: 0,
        found: 0,
        slot: Slot::empty(A::NONE),
        ordinal: NOBODY,
        block: (0, 0),
        rest: Blocks::NONE.rest,
        target: A::NONE,
        target_port: Port([0; 2]),
        prefix: 0,
        known_by: Prefix64::NONE,
        internal: A::NONE,
        internal_port: Port([0; 2]),
        first: A::NONE,
        admits: Admits::Filtered,
        is_elsewhere: false,
        hop: NextHop::EMPTY,
        sent: Tuple::NONE,
        back: FlowKey::new(Protocol::Udp, Tuple::NONE),
    };

    /// Whether the external port may be several flows', each to a remote of its own. Such a port has
    /// no mapping, because it is nobody's alone.
    #[inline(always)]
    pub(crate) const fn shares_ports(&self, protocol: Protocol) -> bool {
        self.slot.planes != 0 && matches!(protocol, Protocol::Tcp)
    }
}

/// Decides about a packet without a flow; fills in `beginning` if it is to begin one.
#[inline(never)]
pub fn judge<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A>>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Step {
    let Some(config) = world.config() else {
        return Step::Leave(Reason::Internal);
    };
    let version = config.version;
    if version == 0 {
        return Step::Leave(Reason::Unconfigured);
    }
    let Some(interface) = world.interface(packet.ingress()) else {
        return Step::Leave(Reason::NotForUs);
    };
    match packet.at::<Link>(0) {
        Some(link) if link.destination() == interface.mac => {}
        _ => return Step::Leave(Reason::NotForUs),
    }

    let tuple = &arrival.key.tuple;
    (beginning.target, beginning.prefix) = (tuple.target, 0);
    beginning.target_port = tuple.target_port;
    if let Some((index, address)) = embedded(&config.prefixes, &tuple.target) {
        (beginning.target, beginning.prefix) = (A::of_ip4(address), index);
    }
    let addresses = (tuple.source, beginning.target);
    let service = (arrival.protocol as u8, tuple.target_port);
    let wish = classify(world, version, addresses, service);
    let (pool, rule) = match wish {
        Wish::Do(Action::Translate { pool, rule }, index) if is_from_inside(world, &interface) => {
            beginning.rule_index = index;
            (Some(pool), rule)
        }
        Wish::Do(..) | Wish::Nothing | Wish::Broken => (None, 0),
    };
    let external = external(world, beginning.target);
    if external.is_none() && pool.is_none() {
        return Step::Leave(match wish {
            Wish::Nothing => Reason::NoRule,
            Wish::Do(Action::Pass, _) => Reason::RulePass,
            Wish::Do(Action::Translate { .. }, _) => Reason::ExternalRealm,
            Wish::Broken => Reason::Internal,
        });
    }
    let target = (&beginning.target, beginning.prefix);
    if let Some(reason) = forbidden(&config.prefixes, tuple, target) {
        return Step::Leave(reason);
    }
    beginning.way = Way::Out;
    beginning.is_new = false;
    beginning.is_routed = false;
    beginning.is_elsewhere = false;
    beginning.is_charged = false;
    beginning.rule = rule;
    beginning.client = 0;
    beginning.is_clustered = config.is_clustered();
    (beginning.seed, beginning.key) = (config.seed, config.key);
    beginning.generation = route::generation(config.generation, world.now());
    beginning.known_by = Prefix64::NONE;
    if let Some(external) = &external {
        if is_wide(world, arrival) {
            return Step::Cross;
        }
        beginning.way = match pool {
            Some(_) => Way::Hairpin,
            None => Way::In,
        };
        beginning.pool = external.pool;
        (beginning.behaviour, beginning.called) = (external.behaviour, external.behaviour);
    }
    if let Some(pool) = pool {
        beginning.pool = pool;
        beginning.place = policy::pool_index(version, pool);
    }
    Step::Begin
}

/// Whether a packet may begin a flow, by what it is.
///
/// Asked last, because a segment of this host's own connections must not be answered.
#[inline(always)]
pub fn may_begin<A: Address>(arrival: &Arrival<A>, beginning: &Beginning<A>) -> Step {
    match arrival.protocol {
        Protocol::Udp | Protocol::Sctp | Protocol::Gre | Protocol::Esp => Step::Begin,
        Protocol::Icmp => match (beginning.way, arrival.flags) {
            (Way::Out, Icmp::ECHO) | (Way::In, _) => Step::Begin,
            (Way::Out | Way::Hairpin | Way::Knock, _) => Step::Leave(Reason::NotAQuery),
        },
        Protocol::Tcp if is_syn(arrival) => Step::Begin,
        Protocol::Tcp => stray(arrival),
    }
}

#[inline(always)]
fn is_syn<A>(arrival: &Arrival<A>) -> bool {
    arrival.flags & (Tcp::SYN | Tcp::ACK | Tcp::RST | Tcp::FIN) == Tcp::SYN
}

/// What we know of an address as an external one.
#[inline(always)]
pub fn external<A: Address, W: World + Tables<A>>(
    world: &W,
    address: A,
) -> Option<W::Ref<'_, External>> {
    match address.ip4() {
        Some(address) => world.external(&address),
        None => world.external(&address),
    }
}

/// Fills in a slot of a pool, for whom it is to reach such a target; `false` if there is none.
#[inline(always)]
fn fill_slot<A: Address, W: World + Tables<A>>(
    world: &W,
    pool: u32,
    index: usize,
    beginning: &mut Beginning<A>,
) -> bool {
    if beginning.target.ip4().is_none() {
        let Some(slot) = Tables::<A>::slot(world, pool, index) else {
            return false;
        };
        beginning.slot = slot;
        return true;
    }
    let Some(slot) = Tables::<Ip4>::slot(world, pool, index) else {
        return false;
    };
    beginning.slot = slot.with(A::of_ip4(slot.address));
    true
}

/// Whether an IPv4 packet belongs to somebody who has IPv6.
#[inline(never)]
pub fn is_wide<A: Address, W: World>(world: &W, arrival: &Arrival<A>) -> bool {
    if A::LENGTH != Ip4::LENGTH || !has_ipv6(world) {
        return false;
    }
    if has_wide_flow(world, &arrival.key) {
        return true;
    }
    let key = arrival.key.wide();
    let end = (key.tuple.target, key.tuple.target_port);
    Tables::<Ip6>::mapping(world, &MappingKey::inward(arrival.protocol, end)).is_some()
}

/// Whether an IPv4 packet's flow is somebody's who has IPv6.
#[inline(always)]
pub fn has_wide_flow<A: Address, W: World>(world: &W, key: &FlowKey<A>) -> bool {
    A::LENGTH == Ip4::LENGTH && Tables::<Ip6>::flow(world, &key.wide()).is_some()
}

/// Fills in what a flow has that a rule sends through a pool.
#[inline(never)]
pub fn from_inside<V: Translate<A>, A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Step {
    if let Way::In = beginning.way {
        return Step::Begin;
    }
    let Some(pool) = world.pool(beginning.place) else {
        return Step::Leave(Reason::Internal);
    };
    beginning.behaviour = pool.behaviour;
    let index = place::<V, _>(&pool, arrival.key.tuple.source, beginning);
    if !fill_slot(world, beginning.place, index, beginning) {
        return Step::Leave(Reason::Internal);
    }
    match beginning.slot.filled {
        0 => Step::Leave(Reason::PoolEmpty),
        _ => Step::Begin,
    }
}

/// Fills in whose the external port is that a packet is for.
#[inline(never)]
pub fn call<V: Translate<A>, A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Step {
    if let Way::Out = beginning.way {
        return Step::Begin;
    }
    find::<V, _, _>(world, arrival, beginning)
}

/// The same, or why there is nobody.
#[inline(always)]
fn find<V: Translate<A>, A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Step {
    let (tuple, protocol) = (&arrival.key.tuple, arrival.protocol);
    let is_hairpin = matches!(beginning.way, Way::Hairpin);
    if is_hairpin && !beginning.called.hairpins() {
        return Step::Leave(Reason::Hairpin);
    }
    // Who asks for an echo names no port of ours.
    let is_question = protocol as u8 == Protocol::Icmp as u8 && arrival.flags == Icmp::ECHO;
    // Whose an address is for a protocol without ports of ours, only a flow says.
    if is_question || protocol.is_by_address() {
        return unsolicited(arrival);
    }
    let end = (beginning.target, tuple.target_port);
    let key = MappingKey::inward(protocol, end);
    let rule;
    if let Some(mapping) = Tables::<A>::mapping(world, &key) {
        beginning.internal = mapping.internal;
        beginning.internal_port = mapping.port;
        beginning.first = mapping.remote;
        beginning.admits = mapping.admits();
        rule = mapping.rule();
        if let Some(config) = world.config()
            && let Some(prefix) = config.prefixes.get(mapping.prefix())
        {
            beginning.known_by = *prefix;
        }
    } else if let (true, Some(key)) = (V::Own::LENGTH != Ip4::LENGTH, key.narrow())
        && let Some(mapping) = Tables::<Ip4>::mapping(world, &key)
    {
        beginning.is_elsewhere = true;
        beginning.internal = A::of_ip4(mapping.internal);
        beginning.internal_port = mapping.port;
        beginning.first = A::of_ip4(mapping.remote);
        beginning.admits = mapping.admits();
        rule = mapping.rule();
    } else {
        return unsolicited(arrival);
    }
    if !is_hairpin {
        beginning.rule = rule;
    }
    // The two directions of such a flow would be one.
    let is_itself =
        beginning.internal.is(tuple.source) && beginning.internal_port.0 == tuple.source_port.0;
    if is_hairpin && is_itself {
        return Step::Leave(Reason::Hairpin);
    }
    Step::Begin
}

/// What is done with a packet that nobody asked for.
#[inline(always)]
fn unsolicited<A>(arrival: &Arrival<A>) -> Step {
    match arrival.protocol {
        Protocol::Tcp if arrival.flags & (Tcp::SYN | Tcp::ACK | Tcp::RST) != Tcp::SYN => {
            stray(arrival)
        }
        Protocol::Tcp
        | Protocol::Udp
        | Protocol::Icmp
        | Protocol::Sctp
        | Protocol::Gre
        | Protocol::Esp => Step::Leave(Reason::Unsolicited),
    }
}

/// Asks the filter of the address that was called whether it lets the packet in (RFC 4787 §5).
#[inline(never)]
pub fn filter<V: Translate<A>, A: Address, W: World + Tables<A> + Tables<V::Own>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Step {
    if let Way::Out = beginning.way {
        return Step::Begin;
    }
    let (tuple, protocol) = (&arrival.key.tuple, arrival.protocol);
    let is_hairpin = matches!(beginning.way, Way::Hairpin);
    match beginning.admits {
        Admits::Filtered => {}
        Admits::Everyone => return Step::Begin,
        Admits::Listed(list) => {
            let caller = ClassKey::caller(list, tuple.source, A::LENGTH);
            return match Tables::<A>::class(world, &caller) {
                Some(_) => Step::Begin,
                None => filtered(arrival),
            };
        }
    }
    let mut remote = (tuple.source, tuple.source_port);
    if is_hairpin {
        let port = known_port::<V, _, _>(world, arrival, beginning);
        remote = (beginning.slot.address, port);
    }
    let dependence = beginning.called.filtering(protocol);
    match dependence {
        Dependence::Endpoint => return Step::Begin,
        Dependence::Address if beginning.first.is(remote.0) => return Step::Begin,
        Dependence::Address => remote.1 = Port::new(0),
        Dependence::AddressAndPort => {}
    }
    // Zero is nobody's port: it stands for all of an address, from when the pool filtered by that.
    let is_nobody = matches!(dependence, Dependence::AddressAndPort)
        && protocol as u8 != Protocol::Icmp as u8
        && remote.1.get() == 0;
    let end = (beginning.target, tuple.target_port);
    if !is_nobody && is_permitted(world, protocol, end, remote, beginning.is_elsewhere) {
        return Step::Begin;
    }
    if is_hairpin {
        beginning.way = Way::Knock;
        return Step::Begin;
    }
    filtered(arrival)
}

/// What becomes of a packet that no filter lets in.
#[inline(always)]
fn filtered<A>(arrival: &Arrival<A>) -> Step {
    let step = unsolicited(arrival);
    if let Step::Leave(Reason::Unsolicited) = step {
        return Step::Leave(Reason::Filtered);
    }
    step
}

/// Asks where the flow's packets would go.
#[inline(never)]
pub fn aim<A: Address, W: World + Tables<A>>(
    ingress: u32,
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Step {
    readdress(arrival, beginning);
    let query = RouteQuery {
        ingress,
        tuple: beginning.sent,
        protocol: arrival.protocol as u8,
    };
    match next_hop(world, &query, &mut beginning.hop) {
        Route::Known => beginning.is_routed = true,
        Route::Unresolved | Route::Elsewhere => beginning.is_routed = false,
        Route::Local if matches!(beginning.way, Way::Out) => {
            return Step::Leave(Reason::LocalDestination);
        }
        Route::Local | Route::Nowhere => return Step::Leave(Reason::NoRoute),
    }
    Step::Begin
}

/// Whether the port of an external address that is called is one that its pool has, or that somebody asked
/// for. Any other is the kernel's, if the address is this host's own. Otherwise the kernel would only send
/// the packet back to where it came from.
#[inline(never)]
pub fn own_port<A: Address, W: World + Tables<A>>(
    ingress: u32,
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Step {
    let (protocol, port) = (arrival.protocol, arrival.key.tuple.target_port);
    let has_port = matches!(protocol, Protocol::Tcp | Protocol::Udp);
    if matches!(beginning.way, Way::Out) || !has_port {
        return Step::Begin;
    }
    let is_owned = external(world, beginning.target).is_some_and(|external| external.owns(port));
    if is_owned || is_asked_for(world, protocol, (beginning.target, port)) {
        return Step::Begin;
    }
    let query = RouteQuery {
        ingress,
        tuple: arrival.key.tuple,
        protocol: protocol as u8,
    };
    match world.route(&query, &mut beginning.hop) {
        Route::Local => Step::Leave(Reason::NotOurPort),
        Route::Known | Route::Unresolved | Route::Elsewhere | Route::Nowhere => {
            Step::Leave(Reason::Unsolicited)
        }
    }
}

/// A TCP segment that belongs to nothing. An RST is never answered (RFC 9293 §3.10.7.1).
#[inline(always)]
fn stray<A>(arrival: &Arrival<A>) -> Step {
    match arrival.flags & Tcp::RST {
        0 => Step::Answer,
        _ => Step::Leave(Reason::NoFlow),
    }
}

/// Another CPU was faster with the same flow, or with another one of the same endpoint; or there is
/// no room.
#[inline(always)]
const fn refused(error: InsertError) -> Reason {
    match error {
        InsertError::Exists => Reason::Collision,
        InsertError::Full => Reason::FlowTableFull,
    }
}

/// Fills in what a flow's packets become, but for the external port that they leave from.
#[inline(always)]
fn readdress<A: Address>(arrival: &Arrival<A>, beginning: &mut Beginning<A>) {
    let asked = &arrival.key.tuple;
    let mut source = asked.source;
    beginning.sent.source_port = asked.source_port;
    beginning.sent.target = beginning.target;
    beginning.sent.target_port = beginning.target_port;
    if !matches!(beginning.way, Way::In) {
        source = beginning.slot.address;
    }
    if !matches!(beginning.way, Way::Out) {
        beginning.sent.target = beginning.internal;
        beginning.sent.target_port = beginning.internal_port;
    }
    beginning.sent.source = source;
    // Who has IPv6 sees an IPv6 address that stands for it.
    if let (Some(source), None) = (source.ip4(), beginning.sent.target.ip4()) {
        embed(&beginning.known_by, source, &mut beginning.sent.source);
    }
}

/// Finds the external port that the sender of a flow from inside has already, if it need not be a new
/// one.
#[inline(never)]
pub fn recall<V: Translate<A>, A: Address, W: World + Tables<V::Own>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Option<Reason> {
    if let Way::In = beginning.way {
        return None;
    }
    if arrival.protocol.is_by_address() {
        beginning.port = arrival.key.tuple.source_port;
        return None;
    }
    if let Some(port) = mapped::<V, _, _>(world, arrival, beginning) {
        beginning.port = port;
        return None;
    }
    // Nobody would come to use the port.
    if beginning.shares_ports(arrival.protocol) && matches!(beginning.way, Way::Knock) {
        return Some(Reason::Filtered);
    }
    beginning.is_new = true;
    None
}

/// Makes sure of the external port that a flow from inside leaves from, or says why there is none.
#[inline(never)]
pub fn reserve<V: Translate<A>, A: Address, W: World + Tables<A> + Tables<V::Own>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Option<Reason> {
    if let Way::In = beginning.way {
        return None;
    }
    if !beginning.is_new {
        beginning.sent.source_port = beginning.port;
        let is_permitted = permit::<V, _, _>(world, arrival, beginning);
        return (!is_permitted).then_some(Reason::MappingTableFull);
    }
    match claim(world, arrival, beginning) {
        Some(port) => {
            beginning.port = port;
            beginning.sent.source_port = port;
            None
        }
        None => Some(no_port(world, arrival, beginning)),
    }
}

/// Inserts the mapping of a flow that was inserted, if it is a new one, or takes the flow away again
/// and says why.
///
/// It comes last: until then nobody else can have come to use the port.
#[inline(never)]
pub fn publish<V: Translate<A>, A: Address, W: World + Tables<A> + Tables<V::Own>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &Beginning<A>,
) -> Option<Reason> {
    let is_flow = !matches!(beginning.way, Way::Knock);
    if beginning.is_new
        && let Err(reason) = map::<V, _, _>(world, arrival, beginning)
    {
        if is_flow {
            world.remove_flow(&arrival.key);
            world.remove_flow(&beginning.back);
        }
        return Some(reason);
    }
    if !is_flow {
        return Some(Reason::Filtered);
    }
    world.count_opened(beginning.pool, arrival.protocol.space());
    if let Way::In = beginning.way {
        let external = arrival.key.tuple.reversed();
        world.opened(&beginning.back, &external, beginning.pool);
    } else {
        world.opened(&arrival.key, &beginning.sent, beginning.pool);
    }
    None
}

/// Inserts both directions of a flow, or neither and says why.
///
/// The two entries are made one after the other in the same room, because the stack has none for them.
#[inline(never)]
pub fn insert<A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
    flow: &mut Flow<Live, A>,
) -> Option<Reason> {
    if let Way::Knock = beginning.way {
        return None;
    }
    beginning.back = FlowKey::new(arrival.protocol, beginning.sent.reversed());
    back(world, arrival, beginning, flow);
    let mut result = world.insert_flow(&beginning.back, flow);
    let is_back_new = result.is_ok();
    if is_back_new {
        forth(world, arrival, beginning, flow);
        if beginning.is_routed {
            flow.remember(&beginning.hop, beginning.generation);
        }
        result = world.insert_flow(&arrival.key, flow);
        if result.is_err() {
            world.remove_flow(&beginning.back);
        }
    }
    let error = result.err()?;
    // Nobody else has come to know the port. But if a flow has it already, from before its pool was
    // overloaded or from while it was, then it stays taken, and who tries again gets another one.
    if beginning.is_new && (is_back_new || matches!(error, InsertError::Full)) {
        ports::release(world, beginning.bitmap, beginning.port);
    }
    Some(refused(error))
}

/// Makes the entry of the packet's own direction.
#[inline(never)]
fn forth<A: Address, W: World>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &Beginning<A>,
    flow: &mut Flow<Live, A>,
) {
    let (from, to) = (&arrival.key.tuple, &beginning.sent);
    let side = match beginning.way {
        Way::In => Side::Inbound,
        Way::Out | Way::Hairpin | Way::Knock => Side::Outbound,
    };
    let deltas = deltas(arrival.protocol, from, to);
    flow.to.source = to.source;
    flow.to.target = to.target;
    flow.to.source_port = to.source_port;
    flow.to.target_port = to.target_port;
    flow.begin((side, beginning.pool, beginning.rule), deltas, world.now());
}

/// Makes the entry of the direction of the answers to it.
#[inline(never)]
fn back<A: Address, W: World>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &Beginning<A>,
    flow: &mut Flow<Live, A>,
) {
    let (from, to) = (&beginning.back.tuple, &arrival.key.tuple);
    let side = match beginning.way {
        Way::In => Side::Outbound,
        Way::Out | Way::Hairpin | Way::Knock => Side::Inbound,
    };
    flow.to.source = to.target;
    flow.to.target = to.source;
    flow.to.source_port = to.target_port;
    flow.to.target_port = to.source_port;
    let deltas = deltas(arrival.protocol, from, &flow.to);
    flow.begin((side, beginning.pool, beginning.rule), deltas, world.now());
}

/// What turning one tuple into another adds to the IP header's sum, with the TTL's decrement, and
/// to the transport header's.
#[inline(always)]
fn deltas<A: Address>(protocol: Protocol, from: &Tuple<A>, to: &Tuple<A>) -> (u16, u16) {
    let addresses = Sum::ZERO
        .swap(from.source, to.source)
        .swap(from.target, to.target);
    let ports = match protocol {
        // Only ICMPv6 has a pseudo-header. The identifier is the one port that is not zero.
        Protocol::Icmp => pseudo(from, to),
        Protocol::Tcp | Protocol::Udp => addresses,
        // Their checksums do not cover the addresses, and nothing else changes.
        Protocol::Sctp | Protocol::Gre | Protocol::Esp => Sum::ZERO,
    };
    let ports = ports
        .swap2(from.source_port.0, to.source_port.0)
        .swap2(from.target_port.0, to.target_port.0);
    (addresses.add2(TTL_DECREMENT).fold(), ports.fold())
}

/// What turning one tuple into another adds to the sum of the addresses that ICMPv6 covers, and ICMP
/// does not.
#[inline(always)]
fn pseudo<A: Address>(from: &Tuple<A>, to: &Tuple<A>) -> Sum {
    let mut sum = Sum::ZERO;
    if !from.is_ip4() {
        sum = sum.remove(from.source).remove(from.target);
    }
    if !to.is_ip4() {
        sum = sum.add(to.source).add(to.target);
    }
    sum
}
