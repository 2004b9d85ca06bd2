//! Packets that are no flow's and whose ports cannot be read: fragments, other protocols, ICMP
//! errors, cut headers.

use abi::{Action, Address, NextHop, Port, Reason, Tuple};

use crate::{
    classify::{Wish, classify, classify_part},
    cluster::is_from_inside,
    embedded::seen,
    frame::{Link, Packet},
    ip::Version,
    open::external,
    world::{Route, RouteQuery, Tables, World},
};

/// Drops the packet for `reason` if it is ours, because sent on untranslated it would show a wrong
/// address; leaves it to the kernel if it is not.
///
/// Its ports are `known` if it is a later fragment whose first one has come.
#[inline(never)]
pub fn refuse<V: Version, P: Packet, W: World + Tables<V::Own>>(
    packet: &mut P,
    world: &W,
    reason: Reason,
    known: Option<&(Port, Port)>,
) -> Reason {
    let Some(config) = world.config() else {
        return Reason::Internal;
    };
    let version = config.version;
    if version == 0 {
        return Reason::Unconfigured;
    }
    let Some(interface) = world.interface(packet.ingress()) else {
        return Reason::NotForUs;
    };
    match packet.at::<Link>(0) {
        Some(link) if link.destination() == interface.mac => {}
        _ => return Reason::NotForUs,
    }
    let Some((source, target, protocol)) = V::addresses(packet, world) else {
        return Reason::Malformed;
    };
    let addresses = (source, seen(&config.prefixes, &target));
    if external(world, addresses.1).is_some() {
        return reason;
    }
    if !is_from_inside(world, &interface) {
        return Reason::NoRule;
    }
    let (wish, source_port, target_port) = match known {
        Some(&(source_port, target_port)) => {
            let wish = classify(world, version, addresses, (protocol, target_port));
            (wish, source_port, target_port)
        }
        None => {
            let wish = classify_part(world, version, addresses, protocol);
            (wish, Port::new(0), Port::new(0))
        }
    };
    match wish {
        Wish::Nothing => Reason::NoRule,
        Wish::Do(Action::Pass, _) => Reason::RulePass,
        Wish::Do(Action::Translate { .. }, _) => {
            let tuple = Tuple {
                source,
                target,
                source_port,
                target_port,
            };
            let query = RouteQuery {
                ingress: packet.ingress(),
                tuple,
                protocol,
            };
            unless_local(world, &query, reason)
        }
        Wish::Broken => Reason::Internal,
    }
}

/// What this host itself is told must reach it, whatever the rules want.
#[inline(never)]
fn unless_local<A: Address, W: World + Tables<A>>(
    world: &W,
    query: &RouteQuery<A>,
    reason: Reason,
) -> Reason {
    let mut hop = NextHop::EMPTY;
    match world.route(query, &mut hop) {
        Route::Local => Reason::LocalDestination,
        Route::Known | Route::Unresolved | Route::Elsewhere | Route::Nowhere => reason,
    }
}
