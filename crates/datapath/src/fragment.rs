//! Packets in fragments (RFC 4787 §11): only the first one has ports, so what it was is remembered for
//! the others.
//!
//! What of a packet has passed is remembered too, because fragments that overlap are made to get
//! past filters (RFC 1858, RFC 5722).

use abi::{FlowKey, FragmentKey, Fragments, Ip4, Protocol, Reason, Tick, Tuple};

use crate::{
    Arrival, Piece,
    frame::{Ipv4, Link, Packet, Wire},
    hit,
    ip4::V4,
    part,
    world::World,
};

/// Ticks after its first fragment in which a packet's others are awaited; its receiver waits for at
/// most about as long (RFC 1122 §3.3.2).
const LASTING: u32 = 30;

/// Remembers the ports of a packet whose first fragment this is. An identification that comes again
/// is a new packet's.
#[inline(never)]
pub fn remember<P: Packet, W: World>(packet: &mut P, world: &W, arrival: &Arrival<Ip4>) {
    let Some(ip) = packet.at::<Ipv4>(Link::LEN) else {
        return;
    };
    let key = key(ip);
    let (_, end) = span(ip);
    let tuple = &arrival.key.tuple;
    let ports = (tuple.source_port, tuple.target_port);
    world.put_fragments(&key, &Fragments::new(ports, end, world.now()));
}

/// What all fragments of a packet have in common.
#[inline(always)]
const fn key(ip: &Ipv4) -> FragmentKey<Ip4> {
    let [high, low] = ip.id;
    FragmentKey::new(ip.source, ip.target, [0, 0, high, low], ip.protocol)
}

/// The units of eight bytes that a fragment carries: the first, and the one after the last.
#[inline(always)]
fn span(ip: &Ipv4) -> (u16, u16) {
    let bytes = ip.total().wrapping_sub(ip.header_len() as u16);
    let start = ip.offset();
    (start, start.wrapping_add(bytes.div_ceil(8)))
}

/// Translates a later fragment as its first one was, or leaves it to the kernel as that was.
#[inline(always)]
pub fn follow<P: Packet, W: World>(packet: &mut P, world: &W, bytes: u64) -> (Reason, u32) {
    let ingress = packet.ingress();
    let mut arrival = Arrival {
        key: FlowKey::new(Protocol::Udp, Tuple::default()),
        protocol: Protocol::Udp,
        l4: 0,
        total: 0,
        bytes,
        flags: 0,
        piece: Piece::Later,
    };
    let refused = match find(packet, world, &mut arrival) {
        Found::First => match world.flow(&arrival.key) {
            Some(flow) => return hit::<V4, _, _, _>(packet, world, &arrival, &flow),
            None => part::refuse(packet, world, Reason::Fragment, Some(&arrival.key)),
        },
        Found::Nothing => part::refuse(packet, world, Reason::Fragment, None),
        Found::Overlap => part::refuse(packet, world, Reason::FragmentOverlap, None),
    };
    (refused, ingress)
}

/// What is known of a later fragment.
enum Found {
    /// What its first one was.
    First,
    /// Nothing.
    Nothing,
    /// That it repeats what has passed.
    Overlap,
}

/// Fills in what a later fragment does not say itself.
#[inline(never)]
fn find<P: Packet, W: World>(packet: &mut P, world: &W, arrival: &mut Arrival<Ip4>) -> Found {
    let Some(ip) = packet.at::<Ipv4>(Link::LEN) else {
        return Found::Nothing;
    };
    let Some(protocol) = Protocol::from_number(ip.protocol) else {
        return Found::Nothing;
    };
    let key = key(ip);
    let ((start, end), total) = (span(ip), ip.total());
    let Some(known) = world.fragments(&key) else {
        return Found::Nothing;
    };
    if is_old(known.created, world.now()) {
        return Found::Nothing;
    }
    let tuple = Tuple {
        source: key.source,
        target: key.target,
        source_port: known.source_port,
        target_port: known.target_port,
    };
    arrival.key = FlowKey::new(protocol, tuple);
    arrival.protocol = protocol;
    arrival.total = total;
    match add(&known, start, end) {
        true => Found::First,
        false => Found::Overlap,
    }
}

#[inline(always)]
const fn is_old(created: Tick, now: Tick) -> bool {
    now.0.wrapping_sub(created.0) > LASTING
}

/// Adds a run to those that have passed; `false` if it overlaps one, is none, or would leave more
/// gaps than are remembered.
#[inline(always)]
fn add(known: &Fragments, start: u16, end: u16) -> bool {
    if end <= start {
        return false;
    }
    let mut place = usize::MAX;
    let mut index = 0;
    while index < abi::fragment::RUNS {
        let run = known.runs[index].get();
        let (first, after) = (run as u16, (run >> 16) as u16);
        if after == 0 || after == start {
            // The last one that fits: a run that this one continues, or else a free place.
            if place == usize::MAX || after == start {
                place = index;
            }
        }
        if start < after && first < end {
            return false;
        }
        index += 1;
    }
    if place >= abi::fragment::RUNS {
        return false;
    }
    let run = known.runs[place].get();
    let first = if run >> 16 == 0 { start } else { run as u16 };
    known.runs[place].set((end as u32) << 16 | first as u32);
    true
}
