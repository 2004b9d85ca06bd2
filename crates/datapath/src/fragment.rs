//! Packets in fragments (RFC 4787 §11): only the first one has ports, so what it was is remembered for
//! the others.
//!
//! What of a packet has passed is remembered too, because fragments that overlap are made to get
//! past filters (RFC 1858, RFC 5722).

use abi::{Address, FlowKey, FragmentKey, Fragments, Tick, Tuple};

use crate::{
    Arrival,
    frame::Packet,
    ip::{Identity, Version},
    world::{Tables, World},
};

/// Ticks after its first fragment in which a packet's others are awaited; its receiver waits for at
/// most about as long (RFC 1122 §3.3.2).
const LASTING: u32 = 30;

/// Remembers the ports of a packet whose first fragment this is. An identification that comes again
/// is a new packet's.
#[inline(never)]
pub fn remember<V: Version, P: Packet, W: World + Tables<V::Own>>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival<V::Own>,
) {
    let Some(identity) = V::identify(packet, world) else {
        return;
    };
    let tuple = &arrival.key.tuple;
    let ports = (tuple.source_port, tuple.target_port);
    let known = Fragments::new(ports, identity.end, world.now());
    world.put_fragments(&key(&identity), &known);
}

/// What all fragments of a packet have in common.
#[inline(always)]
fn key<A: Address>(identity: &Identity<A>) -> FragmentKey<A> {
    FragmentKey::new(
        identity.source,
        identity.target,
        identity.id,
        identity.protocol as u8,
    )
}

/// Fills in what a later fragment does not say itself; `false` if its first one is not known.
#[inline(never)]
pub fn find<V: Version, P: Packet, W: World + Tables<V::Own>>(
    packet: &mut P,
    world: &W,
    arrival: &mut Arrival<V::Own>,
) -> bool {
    let Some(identity) = V::identify(packet, world) else {
        return false;
    };
    let Some(known) = world.fragments(&key(&identity)) else {
        return false;
    };
    if is_old(known.created, world.now()) {
        return false;
    }
    let tuple = Tuple {
        source: identity.source,
        target: identity.target,
        source_port: known.source_port,
        target_port: known.target_port,
    };
    arrival.key = FlowKey::new(identity.protocol, tuple);
    arrival.protocol = identity.protocol;
    arrival.total = identity.total;
    arrival.fragment = identity.fragment;
    arrival.l4 = identity.l4;
    true
}

/// Notes that a later fragment passes; `false` if it repeats what has passed, or leaves more gaps than
/// are remembered.
#[inline(never)]
pub fn pass<V: Version, P: Packet, W: World + Tables<V::Own>>(packet: &mut P, world: &W) -> bool {
    let Some(identity) = V::identify(packet, world) else {
        return false;
    };
    match world.fragments(&key(&identity)) {
        Some(known) => add(&known, identity.start, identity.end),
        None => false,
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
