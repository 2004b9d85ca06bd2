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
    Address, FlowKey, FragmentKey, Fragments, Protocol, Reason, Shared, Tuple,
    fragment::RUNS,
    hash::hash,
    limits::{HELD_FRAME_MAX, HELD_SHARE, HELD_SHARES},
};

use crate::{
    Arrival, Piece,
    frame::Packet,
    ip::{Identity, Translate, Version},
    world::{Tables, World},
};

/// Remembers the ports of a packet whose first fragment this was, and has those sent through that came
/// before it. An identification that comes again is a new packet's.
///
/// To be called when there is the flow that the others are to find.
#[inline(never)]
pub fn remember<V: Translate<A>, A: Address, W: World + Tables<V::Own>>(
    world: &W,
    arrival: &Arrival<A>,
) {
    let tuple = &arrival.key.tuple;
    let addresses = (V::own(tuple.source), V::own(tuple.target));
    let protocol = arrival.protocol as u8;
    let key = FragmentKey::new(addresses.0, addresses.1, arrival.begun.id, protocol);
    let ports = (tuple.source_port, tuple.target_port);
    world.put_fragments(&key, ports, arrival.begun.end as u16);
    let key = key.wide();
    if world.stop_awaiting(&key) {
        world.first_passed(&key);
    }
}

/// What all fragments of a packet have in common.
#[inline(always)]
const fn key<A: Address>(identity: &Identity<A>) -> FragmentKey<A> {
    FragmentKey::new(
        identity.source,
        identity.target,
        identity.id,
        identity.protocol,
    )
}

/// Hands over a fragment that came before the first one of its packet, or with an `mtu` a packet that is
/// to be cut up; says what came of that.
#[inline(never)]
pub fn hold<V: Version, P: Packet, W: World + Tables<V::Own>>(
    packet: &mut P,
    world: &W,
    mtu: u16,
) -> Reason {
    let Some(identity) = V::identify(packet, world) else {
        return Reason::Malformed;
    };
    let key = key(&identity).wide();
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
    if mtu == 0 {
        world.await_first(&key);
    }
    match (world.hold(packet, &key, mtu), mtu) {
        (true, 0) => Reason::FragmentHeld,
        (true, _) => Reason::CutUp,
        (false, _) => Reason::FragmentsFull,
    }
}

/// What is known of a later fragment.
#[derive(Clone, Copy)]
pub enum Found {
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

impl Found {
    /// Why such a fragment cannot be treated as its first one.
    #[inline(always)]
    pub const fn refusal(self) -> Option<Reason> {
        match self {
            Self::First => None,
            Self::Broken => Some(Reason::Fragment),
            Self::Nothing => Some(Reason::FragmentHeld),
            Self::Overlap => Some(Reason::FragmentOverlap),
            Self::Gaps => Some(Reason::FragmentGaps),
            Self::Foreign => Some(Reason::Protocol),
        }
    }
}

/// Fills in what a later fragment does not say itself.
#[inline(never)]
pub fn find<V: Translate<A>, A: Address, P: Packet, W: World + Tables<V::Own>>(
    packet: &mut P,
    world: &W,
    arrival: &mut Arrival<A>,
) -> Found {
    let Some(identity) = V::identify(packet, world) else {
        return Found::Broken;
    };
    let Some(protocol) = Protocol::from_number(identity.protocol) else {
        return Found::Foreign;
    };
    if identity.end <= identity.start {
        return Found::Broken;
    }
    let known = match world.fragments(&key(&identity)) {
        Some(known) if !known.is_old(world.now()) => known,
        Some(_) | None if identity.start == 0 => return Found::Broken,
        Some(_) | None => return Found::Nothing,
    };
    let tuple = Tuple {
        source: V::wide(identity.source),
        target: V::wide(identity.target),
        source_port: known.source_port,
        target_port: known.target_port,
    };
    arrival.key = FlowKey::new(protocol, tuple);
    arrival.protocol = protocol;
    arrival.total = identity.total;
    arrival.fragment = identity.fragment;
    arrival.l4 = identity.l4;
    Found::First
}

/// Whether the first one of a fragment's packet was a flow's.
#[inline(never)]
pub fn is_known<V: Version, P: Packet, W: World + Tables<V::Own>>(
    packet: &mut P,
    world: &W,
) -> bool {
    let Some(identity) = V::identify(packet, world) else {
        return false;
    };
    let known = world.fragments(&key(&identity));
    known.is_some_and(|known| !known.is_old(world.now()))
}

/// Notes that a packet of a flow passes, if it is in fragments; or says why it does not.
#[inline(always)]
pub fn note<V: Translate<A>, A: Address, P: Packet, W: World + Tables<V::Own>>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival<A>,
) -> Option<Reason> {
    match arrival.piece {
        Piece::Whole => None,
        Piece::First => {
            remember::<V, _, _>(world, arrival);
            None
        }
        Piece::Later => pass::<V, _, _>(packet, world).refusal(),
    }
}

/// Notes that a later fragment passes, or says why it does not.
#[inline(never)]
fn pass<V: Version, P: Packet, W: World + Tables<V::Own>>(packet: &mut P, world: &W) -> Found {
    let Some(identity) = V::identify(packet, world) else {
        return Found::Broken;
    };
    match world.fragments(&key(&identity)) {
        Some(known) => add(world, &known, identity.start, identity.end),
        None => Found::Broken,
    }
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
