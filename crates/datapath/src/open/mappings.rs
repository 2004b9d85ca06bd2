//! What stands in the tables of mappings about a packet without a flow, and what it adds to them.
//!
//! Mappings stand in the tables of who has them: also those of a client of IPv4 that reaches one of IPv6,
//! so that it has the same external ports for all. So its own are among those of the packet's version,
//! `V::Own`, and those of whom it calls among either.

use abi::{Address, Dependence, Ip4, Mapping, MappingKey, Port, Protocol, Reason};

use super::{Beginning, Way};
use crate::{
    Arrival,
    ip::Translate,
    ports,
    world::{InsertError, Tables, World},
};

/// Whether somebody asked for the external port that the packet is for: it may be one that the pool
/// does not give out.
#[inline(never)]
pub fn is_asked_for<A: Address, W: World + Tables<A>>(
    world: &W,
    protocol: Protocol,
    end: (A, Port),
) -> bool {
    let key = MappingKey::inward(protocol, end);
    if let Some(mapping) = Tables::<A>::mapping(world, &key) {
        return mapping.is_asked_for();
    }
    if A::LENGTH == Ip4::LENGTH {
        return false;
    }
    let Some(key) = key.narrow() else {
        return false;
    };
    let inward = Tables::<Ip4>::mapping(world, &key);
    inward.is_some_and(|mapping| mapping.is_asked_for())
}

/// Whether a remote may send to the external end of a mapping, which may be of IPv4 alone.
#[inline(always)]
pub fn is_permitted<A: Address, W: World + Tables<A>>(
    world: &W,
    protocol: Protocol,
    end: (A, Port),
    remote: (A, Port),
    is_elsewhere: bool,
) -> bool {
    let key = MappingKey::permit(protocol, end, remote);
    if A::LENGTH == Ip4::LENGTH || !is_elsewhere {
        return Tables::<A>::mapping(world, &key).is_some();
    }
    key.narrow()
        .is_some_and(|key| Tables::<Ip4>::mapping(world, &key).is_some())
}

/// The external port that the packet's sender has already, if that does not depend on whom it
/// sends to; else zero, which is nobody's.
#[inline(always)]
pub fn known_port<V: Translate<A>, A: Address, W: World + Tables<V::Own>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &Beginning<A>,
) -> Port {
    match world.mapping(&outward::<V, _>(arrival, beginning, V::Own::NONE)) {
        Some(mapping) => mapping.port,
        None => Port::new(0),
    }
}

/// The external port that an internal endpoint has, whomever it talks to (RFC 4787 REQ-1): because it
/// was asked for, or else because its flows have it, unless the pool says that it depends.
#[inline(always)]
pub fn mapped<V: Translate<A>, A: Address, W: World + Tables<V::Own>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &Beginning<A>,
) -> Option<Port> {
    let depends = beginning.behaviour.mapping(arrival.protocol);
    if let Some(mapping) = world.mapping(&outward::<V, _>(arrival, beginning, V::Own::NONE))
        && (mapping.is_asked_for() || matches!(depends, Dependence::Endpoint))
    {
        return Some(mapping.port);
    }
    match depends {
        Dependence::Endpoint | Dependence::AddressAndPort => None,
        Dependence::Address => {
            let outward = outward::<V, _>(arrival, beginning, V::own(beginning.target));
            world.mapping(&outward).map(|mapping| mapping.port)
        }
    }
}

/// The key of the internal end of a mapping that a flow from inside uses, if it depends on this remote,
/// or on none.
#[inline(always)]
fn outward<V: Translate<A>, A: Address>(
    arrival: &Arrival<A>,
    beginning: &Beginning<A>,
    remote: V::Own,
) -> MappingKey<V::Own> {
    let asked = &arrival.key.tuple;
    let from = (V::own(asked.source), asked.source_port);
    let external = V::own(beginning.slot.address);
    MappingKey::outward(arrival.protocol, from, external, remote)
}

/// Inserts both ends of a new mapping, or neither.
///
/// If only the second does not fit, the port stays taken: somebody may have come to use it through
/// the first meanwhile. Whoever sweeps frees it when nobody does.
#[inline(always)]
pub fn map<V: Translate<A>, A: Address, W: World + Tables<V::Own>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &Beginning<A>,
) -> Result<(), Reason> {
    let (asked, protocol, now) = (&arrival.key.tuple, arrival.protocol, world.now());
    if beginning.shares_ports(protocol) {
        return Ok(());
    }
    let (external, port) = (V::own(beginning.slot.address), beginning.port);
    let (from, first) = (V::own(asked.source), V::own(beginning.target));
    let depends = beginning.behaviour.mapping(protocol);
    let remote = match depends {
        Dependence::Address => first,
        Dependence::Endpoint | Dependence::AddressAndPort => V::Own::NONE,
    };
    let outward = outward::<V, _>(arrival, beginning, remote);
    let is_one_flows = matches!(depends, Dependence::AddressAndPort);
    let mut mapping = Mapping::outward(port, now);
    if !is_one_flows && let Err(error) = world.insert_mapping(&outward, &mapping) {
        ports::release(world, beginning.bitmap, port);
        return Err(match error {
            InsertError::Exists => Reason::Collision,
            InsertError::Full => Reason::MappingTableFull,
        });
    }
    let inward = MappingKey::inward(protocol, (external, port));
    mapping = Mapping::inward((from, asked.source_port), first, now)
        .under(beginning.rule, beginning.prefix);
    world.insert_mapping(&inward, &mapping).map_err(|error| {
        // What stands there otherwise is another mapping's.
        if !is_one_flows {
            world.remove_mapping(&outward);
        }
        match error {
            // Somebody asked for the port just now.
            InsertError::Exists => Reason::Collision,
            InsertError::Full => Reason::MappingTableFull,
        }
    })
}

/// Lets the remote in that a client sends to from a port it has already; `false` if there is no
/// room to remember it.
#[inline(always)]
pub fn permit<V: Translate<A>, A: Address, W: World + Tables<V::Own>>(
    world: &W,
    arrival: &Arrival<A>,
    beginning: &Beginning<A>,
) -> bool {
    let (asked, protocol) = (&arrival.key.tuple, arrival.protocol);
    let end = (V::own(beginning.slot.address), beginning.port);
    let remote = V::own(beginning.target);
    let remote_port = match beginning.behaviour.filtering(protocol) {
        Dependence::Endpoint => return true,
        Dependence::Address => Port::new(0),
        // A flow lets its own remote in, so only one that does not come to be has to be remembered.
        Dependence::AddressAndPort if matches!(beginning.way, Way::Knock) => asked.target_port,
        Dependence::AddressAndPort => return true,
    };
    if let Dependence::Address = beginning.behaviour.filtering(protocol)
        && let Some(inward) = world.mapping(&MappingKey::inward(protocol, end))
        && inward.remote.is(remote)
    {
        return true;
    }
    let key = MappingKey::permit(protocol, end, (remote, remote_port));
    let entry = Mapping::permit(world.now());
    !matches!(world.insert_mapping(&key, &entry), Err(InsertError::Full))
}
