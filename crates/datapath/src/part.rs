//! Packets that are no flow's and whose ports cannot be read: fragments, other protocols, ICMP
//! errors, cut headers.

use abi::{Action, Ip4, NextHop, Port, Reason, Tuple};

use crate::{
    Arrival,
    classify::{Wish, classify, classify_part},
    frame::{Ipv4, Link, Packet, Wire},
    world::{Route, RouteQuery, World},
};

/// Drops the packet for `reason` if it is ours, because sent on untranslated it would show a wrong
/// address; leaves it to the kernel if it is not.
#[inline(never)]
pub fn refuse<P: Packet, W: World>(packet: &mut P, world: &W, reason: Reason) -> Reason {
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
    let Some(ip) = packet.at::<Ipv4>(Link::LEN) else {
        return Reason::Malformed;
    };
    let (source, target, protocol): (Ip4, Ip4, u8) = (ip.source, ip.target, ip.protocol);
    if world.external(&target).is_some() {
        return reason;
    }
    if !interface.is_internal() {
        return Reason::NoRule;
    }
    match classify_part(world, version, (source, target), protocol) {
        Wish::Nothing => Reason::NoRule,
        Wish::Do(Action::Pass) => Reason::RulePass,
        Wish::Do(Action::Translate { .. }) => {
            let (source_port, target_port) = (Port::new(0), Port::new(0));
            let tuple = Tuple {
                source,
                target,
                source_port,
                target_port,
            };
            unless_local(
                world,
                &RouteQuery {
                    ingress: packet.ingress(),
                    tuple,
                    protocol,
                },
                reason,
            )
        }
        Wish::Broken => Reason::Internal,
    }
}

/// What becomes of a later fragment whose first one belongs to no flow: what became of that one, but
/// that it is no beginning.
#[inline(never)]
pub fn refuse_known<P: Packet, W: World>(packet: &mut P, world: &W, arrival: &Arrival) -> Reason {
    let Some(config) = world.config() else {
        return Reason::Internal;
    };
    let version = config.version;
    if version == 0 {
        return Reason::Unconfigured;
    }
    let tuple = &arrival.key.tuple;
    if world.external(&tuple.target).is_some() {
        return Reason::Fragment;
    }
    match world.interface(packet.ingress()) {
        Some(interface) if interface.is_internal() => {}
        Some(_) => return Reason::NoRule,
        None => return Reason::NotForUs,
    }
    let service = (arrival.protocol as u8, tuple.target_port);
    match classify(world, version, (tuple.source, tuple.target), service) {
        Wish::Nothing => Reason::NoRule,
        Wish::Do(Action::Pass) => Reason::RulePass,
        Wish::Do(Action::Translate { .. }) => {
            let query = RouteQuery {
                ingress: packet.ingress(),
                tuple: *tuple,
                protocol: arrival.protocol as u8,
            };
            unless_local(world, &query, Reason::Fragment)
        }
        Wish::Broken => Reason::Internal,
    }
}

/// What this host itself is told must reach it, whatever the rules want.
#[inline(always)]
fn unless_local<W: World>(world: &W, query: &RouteQuery, reason: Reason) -> Reason {
    let mut hop = NextHop::EMPTY;
    match world.route(query, &mut hop) {
        Route::Local => Reason::LocalDestination,
        Route::Known | Route::Unresolved | Route::Elsewhere | Route::Nowhere => reason,
    }
}
