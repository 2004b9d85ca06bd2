//! Which external address a flow gets that has no port there: the client's own, if that has no such flow
//! with the same remote, else the first of the pool's others that has none.

use abi::{
    Address, FlowKey, Ip4, Reason, Tuple,
    limits::{SLOTS, SPARE_TRIES},
};

use super::{Beginning, Step, Way, fill_slot};
use crate::{
    Arrival,
    world::{Tables, World},
};

/// Chooses the external address of a flow that is translated by address.
///
/// Addresses are tried in the order of the pool's slots ([`abi::Slot::next`]), each once, and no more than
/// [`SPARE_TRIES`]. Two packets may
/// still choose the same at the same moment: only one of their flows can be inserted.
#[inline(never)]
pub fn choose<A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> Step {
    if !arrival.protocol.is_by_address() || !matches!(beginning.way, Way::Out) {
        return Step::Begin;
    }
    // An IPv4 address would have flows of clients of both versions, in two tables.
    let is_between_versions = A::LENGTH != Ip4::LENGTH && beginning.target.ip4().is_some();
    if is_between_versions || !beginning.behaviour.translates(arrival.protocol) {
        return Step::Leave(Reason::Protocol);
    }
    let first = beginning.slot.index;
    let mut tried = 0;
    while tried < SPARE_TRIES {
        if is_spare(world, arrival, beginning) {
            return Step::Begin;
        }
        let next = beginning.slot.next as usize % SLOTS;
        if !fill_slot(world, beginning.place, next, beginning) {
            return Step::Leave(Reason::Internal);
        }
        if beginning.slot.index == first {
            return Step::Leave(Reason::NoSpareAddress);
        }
        tried += 1;
    }
    Step::Leave(Reason::NoSpareAddress)
}

/// Whether no flow has what the answers to this one would have.
#[inline(never)]
fn is_spare<A: Address, W: World + Tables<A>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &mut Beginning<A>,
) -> bool {
    let asked = &arrival.key.tuple;
    let answer = Tuple {
        source: beginning.target,
        target: beginning.slot.address,
        source_port: beginning.target_port,
        target_port: asked.source_port,
    };
    beginning.back = FlowKey::new(arrival.protocol, answer);
    world.flow(&beginning.back).is_none()
}
