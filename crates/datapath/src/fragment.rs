//! Packets in fragments (RFC 4787 §11): only the first one has ports, so what it was is remembered for
//! the others, and those that come before it are handed over, to be sent through again behind it.
//!
//! What of a packet has passed is remembered too, because fragments that overlap are made to get
//! past filters (RFC 1858, RFC 5722).
//!
//! A fragment and its first one may meet on two CPUs. One of them always sees the other: the first is
//! remembered before it is asked whether it is awaited, and the other is awaited before it is handed
//! over to somebody who asks whether the first has come.

use abi::{
    Address, FlowKey, FragmentKey, Fragments, Ip4, Protocol, Reason, Shared, Tuple,
    fragment::RUNS,
    hash::hash,
    limits::{HELD_FRAME_MAX, HELD_SHARE, HELD_SHARES},
};

use crate::{
    Arrival, Begun, Piece,
    frame::{Ipv4, Link, Packet, Wire},
    hit,
    ip4::V4,
    part,
    world::{Tables, World},
};

/// Remembers the ports of a packet whose first fragment this was, and has those sent through that came
/// before it. An identification that comes again is a new packet's.
///
/// To be called when there is the flow that the others are to find.
#[inline(never)]
pub fn remember<A: Address, W: World + Tables<A>>(world: &W, arrival: &Arrival<A>) {
    let tuple = &arrival.key.tuple;
    let protocol = arrival.protocol as u8;
    let key = FragmentKey::new(tuple.source, tuple.target, arrival.begun.id, protocol);
    let ports = (tuple.source_port, tuple.target_port);
    world.put_fragments(&key, ports, arrival.begun.end as u16);
    let key = key.wide();
    if world.stop_awaiting(&key) {
        world.first_passed(&key);
    }
}

/// What all fragments of a packet have in common.
#[inline(always)]
const fn key(ip: &Ipv4) -> FragmentKey {
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

/// Translates a later fragment as its first one was, or leaves it to the kernel as that was, or hands
/// it over until that comes.
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
        begun: Begun { id: [0; 4], end: 0 },
    };
    let (reason, known) = match find(packet, world, &mut arrival) {
        Found::First => match world.flow(&arrival.key) {
            Some(flow) => return hit::<V4, _, _, _>(packet, world, &arrival, &flow),
            None => (Reason::Fragment, Some(&arrival.key)),
        },
        Found::Nothing => (Reason::FragmentHeld, None),
        Found::Overlap => (Reason::FragmentOverlap, None),
        Found::Gaps => (Reason::FragmentGaps, None),
        Found::Foreign => (Reason::Protocol, None),
        Found::Broken => (Reason::Fragment, None),
    };
    let mut refused = part::refuse(packet, world, reason, known);
    if matches!(refused, Reason::FragmentHeld) {
        refused = hold(packet, world);
    }
    (refused, ingress)
}

/// Hands over a fragment that came before the first one of its packet; says what came of that.
#[inline(never)]
fn hold<P: Packet, W: World>(packet: &mut P, world: &W) -> Reason {
    let Some(ip) = packet.at::<Ipv4>(Link::LEN) else {
        return Reason::Malformed;
    };
    let key = key(ip).wide();
    if packet.len() > HELD_FRAME_MAX {
        return Reason::Fragment;
    }
    let Some(config) = world.config() else {
        return Reason::Internal;
    };
    let (high, low) = key.source.words();
    let sender = hash(config.seed, high, low);
    let Some(taken) = world.held_by(sender as u32 % HELD_SHARES as u32) else {
        return Reason::Internal;
    };
    if taken.get() >= HELD_SHARE {
        return Reason::FragmentsFull;
    }
    taken.set(taken.get() + 1);
    world.await_first(&key);
    match world.hold(packet, &key) {
        true => Reason::FragmentHeld,
        false => Reason::FragmentsFull,
    }
}

/// What is known of a later fragment.
enum Found {
    /// What its first one was.
    First,
    /// Nothing yet.
    Nothing,
    /// That it repeats what has passed.
    Overlap,
    /// That it would leave more gaps than are remembered.
    Gaps,
    /// That it is of a protocol that has no first one for us.
    Foreign,
    /// That it is none: it carries nothing, or is a first one without a whole transport header.
    Broken,
}

/// Fills in what a later fragment does not say itself.
#[inline(never)]
fn find<P: Packet, W: World>(packet: &mut P, world: &W, arrival: &mut Arrival<Ip4>) -> Found {
    let Some(ip) = packet.at::<Ipv4>(Link::LEN) else {
        return Found::Broken;
    };
    let Some(protocol) = Protocol::from_number(ip.protocol) else {
        return Found::Foreign;
    };
    let key = key(ip);
    let ((start, end), total) = (span(ip), ip.total());
    if end <= start {
        return Found::Broken;
    }
    let known = match world.fragments(&key) {
        Some(known) if !known.is_old(world.now()) => known,
        Some(_) | None if start == 0 => return Found::Broken,
        Some(_) | None => return Found::Nothing,
    };
    let tuple = Tuple {
        source: key.source,
        target: key.target,
        source_port: known.source_port,
        target_port: known.target_port,
    };
    arrival.key = FlowKey::new(protocol, tuple);
    arrival.protocol = protocol;
    arrival.total = total;
    add(world, &known, start, end)
}

/// Marks a place that was found, in a byte whose low five bits are the place.
const FOUND: u32 = 0x80;
/// The bits of a place. Masked, the verifier knows it to be in bounds.
const PLACE: u32 = RUNS as u32 - 1;

/// Adds a run to those that have passed, and joins those that it stands between.
#[inline(always)]
fn add<W: World>(world: &W, known: &Fragments, start: u16, end: u16) -> Found {
    // The run before this one, the one behind it, and a free place, a byte each. Not in registers,
    // because the verifier would walk what follows once for each way they can have come about.
    let Some(places) = world.place() else {
        return Found::Gaps;
    };
    places.set(0);
    let mut index = 0;
    while index < RUNS {
        let run = known.runs[index].get();
        let (first, after) = (run as u16, (run >> 16) as u16);
        if start < after && first < end {
            return Found::Overlap;
        }
        let found = FOUND | index as u32;
        if after == 0 {
            places.set(places.get() & !0xff_0000 | found << 16);
        } else if after == start {
            places.set(places.get() & !0xff | found);
        } else if first == end {
            places.set(places.get() & !0xff00 | found << 8);
        }
        index += 1;
    }
    let places = places.get();
    let is_found = |shift: u32| places >> shift & FOUND != 0;
    let at = |shift: u32| &known.runs[(places >> shift & PLACE) as usize];
    let first_of = |run: &Shared<u32>| run.get() as u16;
    let after_of = |run: &Shared<u32>| (run.get() >> 16) as u16;
    let run = |first: u16, after: u16| (after as u32) << 16 | first as u32;
    let (before, behind, free) = (at(0), at(8), at(16));
    match (is_found(0), is_found(8), is_found(16)) {
        (true, true, _) => {
            let after = after_of(behind);
            behind.set(0);
            before.set(run(first_of(before), after));
        }
        (true, false, _) => before.set(run(first_of(before), end)),
        (false, true, _) => behind.set(run(start, after_of(behind))),
        (false, false, true) => free.set(run(start, end)),
        (false, false, false) => return Found::Gaps,
    }
    Found::First
}

const _: () = assert!(RUNS == 32, "a place has five bits");
