//! The hit path: next hop, rewrite, account. What is rare here is a function of its own.

use abi::{Address, Flow, Live, NextHop, Protocol, Reason, Seen, Side, Tick, Verdict};

use crate::{
    Arrival, Piece,
    frame::{Packet, Tcp},
    ip::Translate,
    mss,
    route::next_hop,
    world::{Route, RouteQuery, Tables, World},
};

/// Translates a packet of a known flow and says why and by which interface it leaves.
#[inline(always)]
pub fn hit<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A>>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival<A>,
    flow: &Flow<Live, A>,
    (now, generation): (Tick, u32),
) -> (Reason, u32) {
    let ingress = packet.ingress();
    let Some(hops) = V::hops(packet) else {
        return (Reason::Malformed, ingress);
    };
    // No error is sent about a later fragment (RFC 1812 §4.3.2.7).
    let is_later = matches!(arrival.piece, Piece::Later);
    if hops <= 1 {
        return match is_later {
            true => (Reason::TtlExceeded, ingress),
            false => (V::time_exceeded(packet, world), ingress),
        };
    }
    let mut reason = match flow.side() {
        Side::Outbound => Reason::TranslatedOut,
        Side::Inbound => Reason::TranslatedIn,
    };
    if !flow.is_resolved(generation) {
        match resolve(world, ingress, arrival.protocol, flow, generation) {
            Route::Known => {}
            Route::Unresolved => reason = Reason::Unresolved,
            Route::Elsewhere => reason = Reason::KernelSends,
            Route::Local | Route::Nowhere => return (Reason::NoRoute, ingress),
        }
    }
    let is_whole = matches!(arrival.piece, Piece::Whole);
    if !is_whole && flow.next_hop().ifindex == ingress && !takes_redirects(world, ingress) {
        // It may have been held, and what comes again by such an interface cannot be sent back by it.
        reason = Reason::KernelSends;
    }
    if reason as u8 != Reason::Unresolved as u8 && V::leaving(arrival, flow) > flow.mtu() {
        if V::forbids_fragments(packet, arrival, flow) {
            return match is_later {
                true => (Reason::TooBig, ingress),
                false => (
                    V::too_big(packet, world, arrival, flow, flow.mtu()),
                    ingress,
                ),
            };
        }
        if reason as u8 != Reason::KernelSends as u8 {
            reason = Reason::Fragmenting;
        }
    }

    // Noted and counted at once: a flag that is kept until the end is a second way through the rewrite
    // to the verifier.
    if arrival.protocol as u8 != Protocol::Tcp as u8 || note_flags(flow, arrival.flags) {
        note_time(flow, now);
    }
    if arrival.protocol as u8 == Protocol::Tcp as u8 && arrival.flags & Tcp::SYN != 0 {
        mss::clamp(packet, world, arrival, flow.pool());
    }
    // Read no earlier than it is written: so it is copied from the flow into the frame at once.
    let hop = match reason.verdict() {
        Verdict::Send => Some(flow.next_hop()),
        Verdict::Pass | Verdict::Drop => None,
    };
    if let Some(refused) = V::rewrite(packet, arrival, flow, hop.as_ref()) {
        return (refused, ingress);
    }
    account(world, flow, arrival.bytes);
    (reason, hop.map_or(ingress, |hop| hop.ifindex))
}

#[inline(always)]
fn takes_redirects<W: World>(world: &W, ifindex: u32) -> bool {
    let interface = world.interface(ifindex);
    interface.is_some_and(|interface| interface.takes_redirects())
}

/// Asks where the flow's packets go and remembers the answer.
#[inline(never)]
fn resolve<A: Address, W: World + Tables<A>>(
    world: &W,
    ingress: u32,
    protocol: Protocol,
    flow: &Flow<Live, A>,
    generation: u32,
) -> Route {
    let mut hop = NextHop::EMPTY;
    let query = RouteQuery {
        ingress,
        tuple: flow.to,
        protocol: protocol as u8,
    };
    let route = next_hop(world, &query, &mut hop);
    match route {
        Route::Known => flow.remember(&hop, generation),
        // Asked for again with the next packet; only its MTU is of use until then.
        Route::Elsewhere => flow.remember(&hop, 0),
        Route::Unresolved | Route::Local | Route::Nowhere => {}
    }
    route
}

/// Notes which TCP flags this direction has shown. A SYN after the end is a new beginning; anything
/// else but another RST behind an RST shows that the RST was not the sender's, or not heeded
/// (RFC 7857 §2.2).
///
/// Returns whether the segment shows that the connection is alive: not if it is one more RST, which
/// only answers what still comes from the other side (RFC 7857 §7.1).
#[inline(always)]
fn note_flags<A: Copy>(flow: &Flow<Live, A>, flags: u8) -> bool {
    // Nearly all segments show nothing new.
    const ENDS: u8 = Tcp::SYN | Tcp::FIN | Tcp::RST;
    let seen = flow.seen.get();
    if flags & ENDS == 0 && seen & (Seen::ACK | Seen::RST) == Seen::ACK {
        return true;
    }
    let is_ack = flags & (Tcp::SYN | Tcp::ACK) == Tcp::ACK;
    let note = |is_shown: bool, bit: u8| if is_shown { bit } else { 0 };
    let shown = note(flags & Tcp::SYN != 0, Seen::SYN)
        | note(is_ack, Seen::ACK)
        | note(flags & Tcp::FIN != 0, Seen::FIN)
        | note(flags & Tcp::RST != 0, Seen::RST);
    let had_rst = seen & !shown & Seen::RST;
    let is_life = seen & shown & Seen::RST == 0;
    if shown & !seen == 0 && shown & Seen::SYN == 0 && had_rst == 0 {
        return is_life;
    }
    let begins_again = shown & Seen::SYN != 0 && seen & (Seen::FIN | Seen::RST) != 0;
    flow.seen.set(if begins_again {
        shown
    } else {
        (seen & !had_rst) | shown
    });
    is_life
}

#[inline(always)]
fn note_time<A>(flow: &Flow<Live, A>, now: Tick) {
    if flow.last_seen.get() != now.0 {
        flow.last_seen.set(now.0);
    }
}

#[inline(always)]
fn account<A: Copy, W: World>(world: &W, flow: &Flow<Live, A>, bytes: u64) {
    flow.count(bytes);
    world.count_pool(flow.pool(), flow.side(), bytes);
}
