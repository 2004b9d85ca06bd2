//! Packets that no flow wants: begin a flow, answer, refuse, or leave them to the kernel.

use abi::{
    Action, Address, Behaviour, Dependence, Flow, FlowKey, Mapping, MappingKey, NextHop, Port,
    Protocol, Reason, Side, Slot, Tuple, hash::hash, limits::SLOTS, policy, ports::bitmap_towards,
};

use crate::{
    Arrival,
    checksum::{Sum, TTL_DECREMENT},
    classify::{Wish, classify},
    frame::{Icmp, Link, Packet, Tcp},
    ports,
    route::{self, next_hop},
    world::{InsertError, Route, RouteQuery, Tables, World},
};

/// What is to be done with a packet that no flow wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Begin a flow.
    Begin,
    /// Answer it with RST.
    Answer,
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
    /// The slot of the client that it is charged to; zero if it is not.
    pub(crate) client: u32,
    /// The external port of a flow from inside.
    port: Port,
    generation: u32,
    pub(crate) seed: u64,
    pub(crate) behaviour: Behaviour,
    /// In which bitmap the port was claimed, if the flow is the first of its mapping.
    bitmap: u32,
    /// The external address of a flow from inside.
    slot: Slot<A>,
    /// Whose the external port is that a flow is to.
    pub(crate) internal: A,
    internal_port: Port,
    hop: NextHop,
}

impl<A: Address> Beginning<A> {
    /// To be filled in by [`judge`].
    pub const EMPTY: Self = Self {
        way: Way::Out,
        pool: 0,
        is_routed: false,
        is_new: false,
        is_charged: false,
        rule: 0,
        client: 0,
        port: Port([0; 2]),
        generation: 0,
        seed: 0,
        behaviour: Behaviour::STRICTEST,
        bitmap: 0,
        slot: Slot {
            address: A::NONE,
            index: 0,
            planes: 0,
            filled: 0,
        },
        internal: A::NONE,
        internal_port: Port([0; 2]),
        hop: NextHop::EMPTY,
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
pub fn judge<A: Address, P: Packet, W: World + Tables<A>>(
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
    let addresses = (tuple.source, tuple.target);
    let service = (arrival.protocol as u8, tuple.target_port);
    let wish = classify(world, version, addresses, service);
    let (pool, rule) = match wish {
        Wish::Do(Action::Translate { pool, rule }) if interface.is_internal() => (Some(pool), rule),
        Wish::Do(_) | Wish::Nothing | Wish::Broken => (None, 0),
    };
    let external = world.external(&tuple.target);
    if external.is_none() && pool.is_none() {
        return Step::Leave(match wish {
            Wish::Nothing => Reason::NoRule,
            Wish::Do(Action::Pass) => Reason::RulePass,
            Wish::Do(Action::Translate { .. }) => Reason::ExternalRealm,
            Wish::Broken => Reason::Internal,
        });
    }
    // Not for every packet: it is long, and on BPF cleared byte by byte.
    *beginning = Beginning {
        seed: config.seed,
        generation: route::generation(config.generation, world.now()),
        rule,
        ..Beginning::EMPTY
    };
    if let Some(external) = &external {
        let has_port = arrival.protocol as u8 != Protocol::Icmp as u8;
        if has_port && !external.owns(tuple.target_port) {
            return foreign_port(packet, world, arrival, beginning);
        }
        beginning.way = match pool {
            Some(_) => Way::Hairpin,
            None => Way::In,
        };
        beginning.pool = external.pool;
        beginning.behaviour = external.behaviour;
    }
    if let Some(pool) = pool
        && let Some(reason) = from_inside(world, version, pool, tuple.source, beginning)
    {
        return Step::Leave(reason);
    }
    if let Some(external) = &external
        && let Some(step) = to_a_mapping(world, arrival, &external.behaviour, beginning)
    {
        return step;
    }
    // Before the packet is judged by what it says, because a segment of this host's own connections
    // must not be answered.
    if let Some(reason) = aim(packet.ingress(), world, arrival, beginning) {
        return Step::Leave(reason);
    }
    match arrival.protocol {
        Protocol::Udp => Step::Begin,
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

/// Fills in what a flow has that a rule sends through a pool.
#[inline(always)]
fn from_inside<A: Address, W: World + Tables<A>>(
    world: &W,
    version: u32,
    number: u8,
    client: A,
    beginning: &mut Beginning<A>,
) -> Option<Reason> {
    let pool = policy::pool_index(version, number);
    // Always the same slot, so that a client keeps one address over all its flows (RFC 4787 REQ-2)
    // on every gateway that has the same pool.
    let index = hash(0, client.words().0, client.words().1) as usize % SLOTS;
    beginning.slot = world.slot(pool, index)?;
    beginning.pool = number;
    beginning.behaviour = world.pool(pool)?.behaviour;
    (beginning.slot.filled == 0).then_some(Reason::PoolEmpty)
}

/// Fills in whose the external port is that a packet is for, if the filter of the address that was
/// `called` lets the packet in (RFC 4787 §5).
#[inline(always)]
fn to_a_mapping<A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    called: &Behaviour,
    beginning: &mut Beginning<A>,
) -> Option<Step> {
    let (tuple, protocol) = (&arrival.key.tuple, arrival.protocol);
    let is_hairpin = matches!(beginning.way, Way::Hairpin);
    if is_hairpin && !called.hairpins() {
        return Some(Step::Leave(Reason::Hairpin));
    }
    let unsolicited = match protocol {
        Protocol::Tcp if arrival.flags & (Tcp::SYN | Tcp::ACK | Tcp::RST) != Tcp::SYN => {
            stray(arrival)
        }
        Protocol::Tcp | Protocol::Udp | Protocol::Icmp => Step::Leave(Reason::Unsolicited),
    };
    // Who asks for an echo names no port of ours.
    let is_question = protocol as u8 == Protocol::Icmp as u8 && arrival.flags == Icmp::ECHO;
    if is_question {
        return Some(unsolicited);
    }
    let end = (tuple.target, tuple.target_port);
    let Some(inward) = world.mapping(&MappingKey::inward(protocol, end)) else {
        return Some(unsolicited);
    };
    beginning.internal = inward.internal;
    beginning.internal_port = inward.port;
    if !is_hairpin {
        beginning.rule = inward.rule;
    }
    // The two directions of such a flow would be one.
    let is_itself = inward.internal.is(tuple.source) && inward.port.0 == tuple.source_port.0;
    if is_hairpin && is_itself {
        return Some(Step::Leave(Reason::Hairpin));
    }
    let first = inward.remote;
    let remote = if is_hairpin {
        (
            beginning.slot.address,
            known_port(world, arrival, beginning),
        )
    } else {
        (tuple.source, tuple.source_port)
    };
    let permit = match called.filtering(protocol) {
        Dependence::Endpoint => return None,
        Dependence::Address if first.is(remote.0) => return None,
        Dependence::Address => MappingKey::permit(protocol, end, (remote.0, Port::new(0))),
        Dependence::AddressAndPort => MappingKey::permit(protocol, end, remote),
    };
    if world.mapping(&permit).is_some() {
        return None;
    }
    if is_hairpin {
        beginning.way = Way::Knock;
        return None;
    }
    Some(match unsolicited {
        Step::Leave(Reason::Unsolicited) => Step::Leave(Reason::Filtered),
        Step::Leave(_) | Step::Answer | Step::Begin => unsolicited,
    })
}

/// The external port that the packet's sender has already, if that does not depend on whom it
/// sends to; else zero, which is nobody's.
#[inline(always)]
fn known_port<A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &Beginning<A>,
) -> Port {
    let tuple = &arrival.key.tuple;
    let from = (tuple.source, tuple.source_port);
    let outward = MappingKey::outward(arrival.protocol, from, beginning.slot.address, A::NONE);
    match world.mapping(&outward) {
        Some(mapping) => mapping.port,
        None => Port::new(0),
    }
}

/// Asks where the flow's packets would go.
#[inline(always)]
fn aim<A: Address, W: World + Tables<A>>(
    ingress: u32,
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Option<Reason> {
    let query = RouteQuery {
        ingress,
        tuple: readdressed(arrival, beginning),
        protocol: arrival.protocol as u8,
    };
    match next_hop(world, &query, &mut beginning.hop) {
        Route::Known => beginning.is_routed = true,
        Route::Unresolved | Route::Elsewhere => beginning.is_routed = false,
        Route::Local if matches!(beginning.way, Way::Out) => return Some(Reason::LocalDestination),
        Route::Local | Route::Nowhere => return Some(Reason::NoRoute),
    }
    None
}

/// A packet for a port of an external address that its pool does not have: the kernel's, if the
/// address is this host's own. Otherwise the kernel would only send it back to where it came from.
#[inline(always)]
fn foreign_port<A: Address, P: Packet, W: World + Tables<A>>(
    packet: &P,
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Step {
    let query = RouteQuery {
        ingress: packet.ingress(),
        tuple: arrival.key.tuple,
        protocol: arrival.protocol as u8,
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

/// What a flow's packets become, but for the external port that they leave from.
#[inline(always)]
fn readdressed<A: Address>(arrival: &Arrival<A>, beginning: &Beginning<A>) -> Tuple<A> {
    let mut tuple = arrival.key.tuple;
    if !matches!(beginning.way, Way::In) {
        tuple.source = beginning.slot.address;
    }
    if !matches!(beginning.way, Way::Out) {
        tuple.target = beginning.internal;
        tuple.target_port = beginning.internal_port;
    }
    tuple
}

/// What a flow's packets become.
#[inline(always)]
fn sent<A: Address>(arrival: &Arrival<A>, beginning: &Beginning<A>) -> Tuple<A> {
    let mut sent = readdressed(arrival, beginning);
    if !matches!(beginning.way, Way::In) {
        sent.source_port = beginning.port;
    }
    sent
}

/// Finds the external port that the sender of a flow from inside has already, if it need not be a new
/// one.
#[inline(never)]
pub fn recall<A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Option<Reason> {
    if let Way::In = beginning.way {
        return None;
    }
    // An internal endpoint has one external port, whomever it talks to (RFC 4787 REQ-1), unless the
    // pool says that it depends.
    let mapped = match beginning.behaviour.mapping(arrival.protocol) {
        Dependence::AddressAndPort => None,
        Dependence::Endpoint | Dependence::Address => {
            let outward = outward(arrival, beginning);
            world.mapping(&outward).map(|mapping| mapping.port)
        }
    };
    if let Some(port) = mapped {
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
pub fn reserve<A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Option<Reason> {
    if let Way::In = beginning.way {
        return None;
    }
    if !beginning.is_new {
        let is_permitted = permit(world, arrival, beginning);
        return (!is_permitted).then_some(Reason::MappingTableFull);
    }
    match claim(world, arrival, beginning) {
        Some(port) => {
            beginning.port = port;
            None
        }
        None => Some(Reason::PortsExhausted),
    }
}

/// The key of the internal end of the mapping that a flow from inside uses.
#[inline(always)]
fn outward<A: Address>(arrival: &Arrival<A>, beginning: &Beginning<A>) -> MappingKey<A> {
    let (asked, protocol) = (&arrival.key.tuple, arrival.protocol);
    let remote = match beginning.behaviour.mapping(protocol) {
        Dependence::Address => asked.target,
        Dependence::Endpoint | Dependence::AddressAndPort => A::NONE,
    };
    let from = (asked.source, asked.source_port);
    MappingKey::outward(protocol, from, beginning.slot.address, remote)
}

/// Inserts the mapping of a flow that was inserted, if it is a new one, or takes the flow away again
/// and says why.
///
/// It comes last: until then nobody else can have come to use the port.
#[inline(never)]
pub fn publish<A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &Beginning<A>,
) -> Option<Reason> {
    let is_flow = !matches!(beginning.way, Way::Knock);
    if beginning.is_new
        && let Err(reason) = map(world, arrival, beginning)
    {
        if is_flow {
            world.remove_flow(&arrival.key);
            let sent = sent(arrival, beginning);
            world.remove_flow(&FlowKey::new(arrival.protocol, sent.reversed()));
        }
        return Some(reason);
    }
    if !is_flow {
        return Some(Reason::Filtered);
    }
    world.count_opened(beginning.pool, arrival.protocol.space());
    let sent = sent(arrival, beginning);
    if let Way::In = beginning.way {
        let outbound = FlowKey::new(arrival.protocol, sent.reversed());
        let external = arrival.key.tuple.reversed();
        world.opened(&outbound, &external, beginning.pool);
    } else {
        world.opened(&arrival.key, &sent, beginning.pool);
    }
    None
}

/// Inserts both ends of a new mapping, or neither.
///
/// If only the second does not fit, the port stays taken: somebody may have come to use it through
/// the first meanwhile. Whoever sweeps frees it when nobody does.
#[inline(always)]
fn map<A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &Beginning<A>,
) -> Result<(), Reason> {
    let (asked, protocol, now) = (&arrival.key.tuple, arrival.protocol, world.now());
    if beginning.shares_ports(protocol) {
        return Ok(());
    }
    let (slot, port) = (&beginning.slot, beginning.port);
    let depends = matches!(
        beginning.behaviour.mapping(protocol),
        Dependence::AddressAndPort
    );
    let outward = outward(arrival, beginning);
    let mut mapping = Mapping::outward(port, now);
    if !depends && let Err(error) = world.insert_mapping(&outward, &mapping) {
        ports::release(world, beginning.bitmap, port);
        return Err(match error {
            InsertError::Exists => Reason::Collision,
            InsertError::Full => Reason::MappingTableFull,
        });
    }
    let inward = MappingKey::inward(protocol, (slot.address, port));
    mapping =
        Mapping::inward((asked.source, asked.source_port), asked.target, now).under(beginning.rule);
    world.insert_mapping(&inward, &mapping).map_err(|_| {
        world.remove_mapping(&outward);
        Reason::MappingTableFull
    })
}

/// Lets the remote in that a client sends to from a port it has already; `false` if there is no
/// room to remember it.
#[inline(always)]
fn permit<A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &Beginning<A>,
) -> bool {
    let (asked, protocol) = (&arrival.key.tuple, arrival.protocol);
    let end = (beginning.slot.address, beginning.port);
    let remote_port = match beginning.behaviour.filtering(protocol) {
        Dependence::Endpoint => return true,
        Dependence::Address => Port::new(0),
        // A flow lets its own remote in, so only one that does not come to be has to be remembered.
        Dependence::AddressAndPort if matches!(beginning.way, Way::Knock) => asked.target_port,
        Dependence::AddressAndPort => return true,
    };
    if let Dependence::Address = beginning.behaviour.filtering(protocol)
        && let Some(inward) = world.mapping(&MappingKey::inward(protocol, end))
        && inward.remote.is(asked.target)
    {
        return true;
    }
    let key = MappingKey::permit(protocol, end, (asked.target, remote_port));
    let entry = Mapping::permit(world.now());
    !matches!(world.insert_mapping(&key, &entry), Err(InsertError::Full))
}

/// Claims a port for the packet's source.
#[inline(always)]
fn claim<A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Option<Port> {
    let (asked, protocol, seed) = (&arrival.key.tuple, arrival.protocol, beginning.seed);
    let hash = ports::start(seed, asked.source, asked.source_port, protocol);
    let start = match beginning.behaviour.keeps_parity() {
        true => ports::like(hash, asked.source_port),
        false => hash,
    };
    let sent = readdressed(arrival, beginning);
    let address = (beginning.slot.index, beginning.slot.planes);
    let remote = (sent.target, sent.target_port);
    beginning.bitmap = bitmap_towards(seed, address, protocol, remote);
    ports::claim(world, beginning.bitmap, start)
}

/// Inserts both directions of a flow, or neither and says why.
#[inline(never)]
pub fn insert<A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &Beginning<A>,
) -> Option<Reason> {
    if let Way::Knock = beginning.way {
        return None;
    }
    let (asked, protocol, now) = (&arrival.key.tuple, arrival.protocol, world.now());
    let sent = sent(arrival, beginning);
    let (side, other) = match beginning.way {
        Way::In => (Side::Inbound, Side::Outbound),
        Way::Out | Way::Hairpin | Way::Knock => (Side::Outbound, Side::Inbound),
    };
    let back = FlowKey::new(protocol, sent.reversed());
    let returned = asked.reversed();
    // One variable for both entries, because the kernel counts the stack of each.
    let mut flow = Flow::new(
        other,
        beginning.pool,
        returned,
        deltas(protocol, &back.tuple, &returned),
        now,
    )
    .under(beginning.rule);
    let mut result = world.insert_flow(&back, &flow);
    let is_back_new = result.is_ok();
    if is_back_new {
        flow = Flow::new(
            side,
            beginning.pool,
            sent,
            deltas(protocol, asked, &sent),
            now,
        )
        .under(beginning.rule);
        if beginning.is_routed {
            flow.remember(&beginning.hop, beginning.generation);
        }
        result = world.insert_flow(&arrival.key, &flow);
        if result.is_err() {
            world.remove_flow(&back);
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

/// What turning one tuple into another adds to the IP header's sum, with the TTL's decrement, and
/// to the transport header's.
#[inline(always)]
fn deltas<A: Address>(protocol: Protocol, from: &Tuple<A>, to: &Tuple<A>) -> (u16, u16) {
    let addresses = Sum::ZERO
        .swap(from.source, to.source)
        .swap(from.target, to.target);
    let ports = match protocol {
        // No pseudo-header, and the identifier is the one port that is not zero.
        Protocol::Icmp => Sum::ZERO,
        Protocol::Tcp | Protocol::Udp => addresses,
    };
    let ports = ports
        .swap2(from.source_port.0, to.source_port.0)
        .swap2(from.target_port.0, to.target_port.0);
    (addresses.add2(TTL_DECREMENT).fold(), ports.fold())
}
