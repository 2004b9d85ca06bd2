//! Packets whose ports cannot be read: fragments, other protocols, ICMP errors, cut headers.

use abi::{Action, Ip4, NextHop, Port, Reason, Tuple};

use crate::{
    classify::{Wish, classify_part},
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

/// What this host itself is told must reach it, whatever the rules want.
#[inline(always)]
fn unless_local<W: World>(world: &W, query: &RouteQuery, reason: Reason) -> Reason {
    let mut hop = NextHop::EMPTY;
    match world.route(query, &mut hop) {
        Route::Local => Reason::LocalDestination,
        Route::Known | Route::Unresolved | Route::Elsewhere | Route::Nowhere => reason,
    }
}
