//! Packets that no flow wants: begin a flow, answer, refuse, or leave them to the kernel.

use abi::{
    Action, Flow, FlowKey, Ip4, Mapping, MappingKey, NextHop, Port, Protocol, Reason, Side, Slot,
    Tick, Tuple, limits::SLOTS, policy, ports::bitmap,
};

use crate::{
    Arrival,
    checksum::{Sum, TTL_DECREMENT},
    classify::{Wish, classify},
    frame::{Icmp, Link, Packet, Tcp},
    hash::hash,
    ports,
    route::{self, next_hop},
    world::{InsertError, Route, RouteQuery, World},
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

/// What a new flow is made from, beside its first packet.
pub struct Beginning {
    pool: u8,
    /// Whether `hop` is filled in.
    is_routed: bool,
    generation: u32,
    seed: u64,
    slot: Slot,
    hop: NextHop,
}

impl Beginning {
    /// To be filled in by [`judge`].
    pub const EMPTY: Self = Self {
        pool: 0,
        is_routed: false,
        generation: 0,
        seed: 0,
        slot: Slot {
            address: Ip4([0; 4]),
            index: 0,
            filled: 0,
        },
        hop: NextHop::EMPTY,
    };
}

/// Decides about a packet without a flow; fills in `beginning` if it is to begin one.
#[inline(never)]
pub fn judge<P: Packet, W: World>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival,
    beginning: &mut Beginning,
) -> Step {
    let Some(config) = world.config() else {
        return Step::Leave(Reason::Internal);
    };
    let version = config.version;
    beginning.seed = config.seed;
    beginning.generation = route::generation(config.generation, world.now());
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
    if let Some(external) = world.external(&tuple.target) {
        let has_port = arrival.protocol as u8 != Protocol::Icmp as u8;
        if has_port && !external.owns(tuple.target_port) {
            return foreign_port(packet, world, arrival, beginning);
        }
        return unasked(arrival, wish);
    }
    beginning.pool = match wish {
        Wish::Nothing => return Step::Leave(Reason::NoRule),
        Wish::Do(Action::Pass) => return Step::Leave(Reason::RulePass),
        Wish::Broken => return Step::Leave(Reason::Internal),
        Wish::Do(Action::Translate { pool }) => pool,
    };
    if !interface.is_internal() {
        return Step::Leave(Reason::ExternalRealm);
    }
    match slot(world, version, beginning.pool, tuple.source) {
        Some(slot) => beginning.slot = slot,
        None => return Step::Leave(Reason::PoolEmpty),
    }
    let query = RouteQuery {
        ingress: packet.ingress(),
        tuple: Tuple {
            source: beginning.slot.address,
            ..*tuple
        },
        protocol: arrival.protocol as u8,
    };
    // Before the packet is judged by what it says, because a segment of this host's own connections
    // must not be answered.
    match next_hop(world, &query, &mut beginning.hop) {
        Route::Local => return Step::Leave(Reason::LocalDestination),
        Route::Nowhere => return Step::Leave(Reason::NoRoute),
        Route::Known => beginning.is_routed = true,
        Route::Unresolved | Route::Elsewhere => beginning.is_routed = false,
    }
    match arrival.protocol {
        Protocol::Udp => Step::Begin,
        Protocol::Icmp if arrival.flags == Icmp::ECHO => Step::Begin,
        Protocol::Icmp => Step::Leave(Reason::NotAQuery),
        Protocol::Tcp => {
            let control = arrival.flags & (Tcp::SYN | Tcp::ACK | Tcp::RST | Tcp::FIN);
            if control == Tcp::SYN {
                Step::Begin
            } else {
                stray(arrival)
            }
        }
    }
}

/// A packet for a port of an external address that its pool does not have: the kernel's, if the
/// address is this host's own. Otherwise the kernel would only send it back to where it came from.
#[inline(always)]
fn foreign_port<P: Packet, W: World>(
    packet: &P,
    world: &W,
    arrival: &Arrival,
    beginning: &mut Beginning,
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

/// A packet for an external address that belongs to no flow.
///
/// A SYN is not answered, because it may be half of a simultaneous open (RFC 5382 REQ-4).
#[inline(always)]
fn unasked(arrival: &Arrival, wish: Wish) -> Step {
    if let Wish::Do(Action::Translate { .. }) = wish {
        return Step::Leave(Reason::Hairpin);
    }
    let is_syn = arrival.flags & (Tcp::SYN | Tcp::ACK | Tcp::RST) == Tcp::SYN;
    match arrival.protocol {
        Protocol::Tcp if !is_syn => stray(arrival),
        Protocol::Tcp | Protocol::Udp | Protocol::Icmp => Step::Leave(Reason::Unsolicited),
    }
}

/// A TCP segment that belongs to nothing. An RST is never answered (RFC 9293 §3.10.7.1).
#[inline(always)]
fn stray(arrival: &Arrival) -> Step {
    match arrival.flags & Tcp::RST {
        0 => Step::Answer,
        _ => Step::Leave(Reason::NoFlow),
    }
}

/// The slot of a client: always the same one, so that a client keeps one address over all its
/// flows (RFC 4787 REQ-2) on every gateway that has the same pool.
#[inline(always)]
fn slot<W: World>(world: &W, version: u32, pool: u8, client: Ip4) -> Option<Slot> {
    let pool = world.pool(policy::pool_index(version, pool))?;
    let index = hash(0, u32::from_be_bytes(client.0) as u64, 0) as usize % SLOTS;
    let slot = pool.slots[index];
    (slot.filled != 0).then_some(slot)
}

/// Inserts both directions of a flow and its mapping, or leaves nothing behind and says why.
///
/// The mapping comes last: until then nobody else can have come to use the port, so that it can be
/// given back if something does not fit.
#[inline(never)]
pub fn begin<W: World>(world: &W, arrival: &Arrival, beginning: &Beginning) -> Option<Reason> {
    let now = world.now();
    let (asked, protocol, slot) = (&arrival.key.tuple, arrival.protocol, &beginning.slot);
    let key = MappingKey::new(protocol, asked.source, asked.source_port, slot.address);
    // An internal endpoint has one external port, whomever it talks to (RFC 4787 REQ-1).
    let mapped = world.mapping(&key).map(|mapping| mapping.port);
    let (port, is_new) = match mapped {
        Some(port) => (port, false),
        None => match claim(world, arrival, beginning) {
            Some(port) => (port, true),
            None => return Some(Reason::PortsExhausted),
        },
    };
    let sent = Tuple {
        source: slot.address,
        source_port: port,
        ..*asked
    };
    let back = FlowKey::new(protocol, sent.reversed());
    let mut result = insert(world, arrival, beginning, &sent, &back, now);
    if is_new && result.is_ok() {
        result = world.insert_mapping(&key, &Mapping::new(port, now));
        if result.is_err() {
            world.remove_flow(&arrival.key);
            world.remove_flow(&back);
        }
    }
    let reason = match result {
        Ok(()) => {
            world.count_opened(beginning.pool, protocol.space());
            world.opened(&arrival.key, &sent, beginning.pool);
            return None;
        }
        // Another CPU was faster with the same flow, or with another one of the same endpoint.
        Err(InsertError::Exists) => Reason::Collision,
        Err(InsertError::Full) => Reason::FlowTableFull,
    };
    if is_new {
        ports::release(world, bitmap(slot.index, protocol), port);
    }
    Some(reason)
}

/// Claims a port for the packet's source.
#[inline(always)]
fn claim<W: World>(world: &W, arrival: &Arrival, beginning: &Beginning) -> Option<Port> {
    let Tuple {
        source,
        source_port,
        ..
    } = arrival.key.tuple;
    let bitmap = bitmap(beginning.slot.index, arrival.protocol);
    let start = ports::start(beginning.seed, source, source_port, arrival.protocol);
    ports::claim(world, bitmap, start, source_port)
}

/// Inserts both directions of a flow, or neither.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "inlined; a struct of them would be stack"
)]
fn insert<W: World>(
    world: &W,
    arrival: &Arrival,
    beginning: &Beginning,
    sent: &Tuple,
    back: &FlowKey,
    now: Tick,
) -> Result<(), InsertError> {
    let (asked, protocol) = (&arrival.key.tuple, arrival.protocol);
    let returned = asked.reversed();
    // One variable for both entries, because the kernel counts the stack of each.
    let mut flow = Flow::new(
        Side::Inbound,
        beginning.pool,
        returned,
        deltas(protocol, &back.tuple, &returned),
        now,
    );
    world.insert_flow(back, &flow)?;
    flow = Flow::new(
        Side::Outbound,
        beginning.pool,
        *sent,
        deltas(protocol, asked, sent),
        now,
    );
    if beginning.is_routed {
        flow.remember(&beginning.hop, beginning.generation);
    }
    let result = world.insert_flow(&arrival.key, &flow);
    if result.is_err() {
        world.remove_flow(back);
    }
    result
}

/// What turning one tuple into another adds to the IP header's sum, with the TTL's decrement, and
/// to the transport header's.
#[inline(always)]
fn deltas(protocol: Protocol, from: &Tuple, to: &Tuple) -> (u16, u16) {
    let addresses = Sum::ZERO
        .swap4(from.source.0, to.source.0)
        .swap4(from.target.0, to.target.0);
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
