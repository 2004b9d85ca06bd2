//! ICMP errors from others about packets of our flows (RFC 5508 §4): translated with the packet they
//! quote, so that each side recognises what it sent itself.
//!
//! An error changes nothing of the flow it is about: anybody can send one.

use abi::{
    Address, Flow, FlowKey, Live, NextHop, Port, Prefix64, Protocol, Reason, Stage, Tuple,
    limits::PREFIXES64_MAX,
};

use crate::{
    Left,
    checksum::{Sum, patch, patch_udp},
    cluster,
    embedded::{embed, embedded},
    frame::{Icmp, Link, Packet, Wire, icmp6},
    ip::Translate,
    open, part,
    route::next_hop,
    world::{Room, Route, RouteQuery, Tables, World},
};

mod crossing;
mod v4;
mod v6;

pub use crossing::{GROWTH, to_ip4, to_ip6};
pub use v6::{ICMP as ICMP6, QUOTE as QUOTE6};

/// What an error must quote of a transport header (RFC 792).
const QUOTED: usize = 8;

/// Where things are in an error, and what it is about.
#[derive(Clone, Copy)]
pub struct Error<A> {
    /// Its own header.
    pub icmp: u16,
    /// The packet it quotes. Not derived from `icmp` where it is used, because the verifier refuses
    /// pointers into a packet that are found by going back.
    pub quote: u16,
    /// The transport header of that.
    pub l4: u16,
    /// Length of the IP packet.
    pub total: u16,
    pub protocol: Protocol,
    /// Where it comes from.
    pub source: A,
    /// The flow's entry is under the tuple that an answer to the quoted packet would have.
    pub key: FlowKey<A>,
}

/// No header begins behind this; but the verifier knows a bound only when it sees it.
const PLACE_MASK: usize = 0xff;

impl<A: Address> Error<A> {
    /// To be filled in.
    pub const NOTHING: Self = Self {
        icmp: 0,
        quote: 0,
        l4: 0,
        total: 0,
        protocol: Protocol::Udp,
        source: A::NONE,
        key: FlowKey::new(Protocol::Udp, Tuple::NONE),
    };

    /// Where its own header begins in the frame, in bytes.
    #[inline(always)]
    pub const fn icmp(&self) -> usize {
        self.icmp as usize & PLACE_MASK
    }

    /// Where the packet begins that it quotes.
    #[inline(always)]
    pub const fn quote(&self) -> usize {
        self.quote as usize & PLACE_MASK
    }

    /// Where the transport header of that begins.
    #[inline(always)]
    pub const fn l4(&self) -> usize {
        self.l4 as usize & PLACE_MASK
    }

    /// Where the frame's bytes of the error end.
    #[inline(always)]
    pub const fn end(&self) -> usize {
        Link::LEN + self.total as usize
    }
}

/// What an error becomes.
#[derive(Clone, Copy)]
pub struct Translated<A> {
    /// Its addresses.
    pub source: A,
    pub target: A,
    /// The quoted packet's, as its sender knows them.
    pub quoted: Tuple<A>,
    pub hop: NextHop,
    /// Whether we send it; otherwise the kernel counts the hop itself.
    pub is_sent: bool,
}

impl<A: Address> Translated<A> {
    /// To be filled in.
    pub const NOTHING: Self = Self {
        source: A::NONE,
        target: A::NONE,
        quoted: Tuple::NONE,
        hop: NextHop::EMPTY,
        is_sent: false,
    };

    /// Where it goes next, if we send it.
    #[inline(always)]
    pub const fn hop(&self) -> Option<&NextHop> {
        match self.is_sent {
            true => Some(&self.hop),
            false => None,
        }
    }
}

/// Translates an ICMP error and sends it on; one that is about no flow is refused if it is ours.
#[inline(never)]
pub fn translate<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A> + Tables<V::Own>>(
    packet: &mut P,
    world: &W,
    left: &mut Left,
) -> Option<Stage> {
    let mut room = Tables::<A>::room(world)?;
    if V::read_error(packet, &mut room.error) {
        if let Some(flow) = Tables::<A>::flow(world, &room.error.key) {
            left.reason = about::<V, A, _, _>(packet, world, &mut room, &flow, left);
            return None;
        }
        if open::has_wide_flow(world, &room.error.key) {
            return Some(Stage::Cross);
        }
    } else {
        room.error.total = 0;
    }
    left.reason = part::refuse::<V, _, _>(packet, world, Reason::IcmpError, None);
    // Looked at last, and in memory, so that to the verifier all that comes before is one way.
    let error = &room.error;
    let is_read = *core::hint::black_box(&error.total) != 0;
    let is_ours = left.reason as u8 == Reason::IcmpError as u8;
    let is_elsewhere =
        is_ours && is_read && cluster::is_elsewhere(world, error.protocol, &error.key);
    is_elsewhere.then_some(Stage::Relay)
}

/// Translates an error about this flow, and says by which interface it leaves if not by the one that it
/// came by.
#[inline(always)]
fn about<V: Translate<A>, A: Address, P: Packet, W: World + Tables<A>>(
    packet: &mut P,
    world: &W,
    room: &mut Room<A>,
    flow: &Flow<Live, A>,
    left: &mut Left,
) -> Reason {
    let Room {
        error, translated, ..
    } = room;
    match V::hops(packet) {
        Some(2..) => {}
        Some(_) => return Reason::TtlExceeded,
        None => return Reason::Malformed,
    }
    let route = aim(left.ifindex, world, error, translated, flow);
    let reason = match route {
        Route::Known if V::error_leaving(error, flow) <= translated.hop.mtu => {
            Reason::ErrorTranslated
        }
        Route::Known | Route::Unresolved | Route::Elsewhere => Reason::ErrorKernelSends,
        Route::Local | Route::Nowhere => return Reason::NoRoute,
    };
    if !V::is_whole_error(packet, error) {
        return Reason::IcmpError;
    }
    translated.is_sent = matches!(reason, Reason::ErrorTranslated);
    if let Some(refused) = V::rewrite_error(packet, error, translated) {
        return refused;
    }
    if translated.is_sent {
        left.ifindex = translated.hop.ifindex;
    }
    reason
}

/// Fills in what an error becomes, and asks where that goes.
#[inline(never)]
fn aim<A: Address, W: World + Tables<A>>(
    ingress: u32,
    world: &W,
    error: &Error<A>,
    translated: &mut Translated<A>,
    flow: &Flow<Live, A>,
) -> Route {
    let Some(config) = world.config() else {
        return Route::Nowhere;
    };
    let (from, to) = (&error.key.tuple.source, &flow.to);
    let ends = (from, &to.source);
    source(
        &config.prefixes,
        &error.source,
        ends,
        &mut translated.source,
    );
    translated.target = to.target;
    translated.quoted = to.reversed();
    translated.hop = NextHop::EMPTY;
    let query = RouteQuery {
        ingress,
        tuple: Tuple {
            source: translated.source,
            target: translated.target,
            source_port: Port::new(0),
            target_port: Port::new(0),
        },
        protocol: Protocol::Icmp as u8,
    };
    next_hop(world, &query, &mut translated.hop)
}

/// Fills in where an error seems to come from on the other side: whoever is hidden stays hidden, be it
/// the flow's end or a router before it (RFC 5508 REQ-4).
#[inline(always)]
fn source<A: Address>(
    prefixes: &[Prefix64; PREFIXES64_MAX],
    sender: &A,
    (from, to): (&A, &A),
    source: &mut A,
) {
    *source = *to;
    if from.is(*to) {
        *source = *sender;
    } else if let Some((prefix, address)) = embedded(prefixes, to)
        // The same address, as those know it who have IPv6: so they know its routers.
        && A::of_ip4(address).is(*from)
        && let Some(sender) = sender.ip4()
        && let Some(prefix) = prefixes.get(prefix as usize)
    {
        embed(prefix, sender, source);
    }
}

/// Whether a sum of words folds to one's complement zero, as of what carries its own checksum.
#[inline(always)]
const fn is_all_ones(sum: u64) -> bool {
    sum == 0xffff
}

/// Gives the transport header that is quoted at `l4` the ports that its sender knows, and mends its
/// checksum as far as it is quoted, of which the addresses' part is `covered`. Returns what that adds
/// to a sum over it.
#[inline(always)]
fn requote<P: Packet, A: Address>(
    packet: &mut P,
    error: &Error<A>,
    (source, target): (Port, Port),
    covered: Sum,
) -> Option<Sum> {
    if error.protocol.is_by_address() {
        return Some(Sum::ZERO);
    }
    let ports = packet.at::<[u8; QUOTED]>(error.l4())?;
    let [a, b, c, d, e, f, g, h] = *ports;
    let mut changed = Sum::ZERO;
    match error.protocol {
        Protocol::Tcp | Protocol::Udp => {
            let ([i, j], [k, l]) = (source.0, target.0);
            changed = changed.swap2([a, b], [i, j]).swap2([c, d], [k, l]);
            [ports[0], ports[1], ports[2], ports[3]] = [i, j, k, l];
        }
        Protocol::Icmp => {
            // One of them is zero.
            let [i, j] = if Icmp::is_query(a) || a == icmp6::ECHO {
                source.0
            } else {
                target.0
            };
            changed = changed.swap2([e, f], [i, j]);
            [ports[4], ports[5]] = [i, j];
        }
        Protocol::Sctp | Protocol::Gre | Protocol::Esp => {}
    }
    let mut sum = Sum::ZERO.add2(changed.fold().to_ne_bytes());
    let covered = changed.add2(covered.fold().to_ne_bytes());
    match error.protocol {
        Protocol::Icmp => {
            let new = patch([c, d], covered.fold());
            [ports[2], ports[3]] = new;
            sum = sum.swap2([c, d], new);
        }
        Protocol::Udp => {
            let new = patch_udp([g, h], covered.fold());
            [ports[6], ports[7]] = new;
            sum = sum.swap2([g, h], new);
        }
        Protocol::Tcp => {
            // Most errors quote no more than eight bytes.
            if error.l4() + 18 <= error.end()
                && let Some(check) = packet.at::<[u8; 2]>(error.l4() + 16)
            {
                let new = patch(*check, covered.fold());
                sum = sum.swap2(*check, new);
                *check = new;
            }
        }
        Protocol::Sctp | Protocol::Gre | Protocol::Esp => {}
    }
    Some(sum)
}

/// The ports of a quoted transport header, as an answer to it would have them: target, then source.
#[inline(always)]
fn answered<P: Packet>(packet: &mut P, protocol: Protocol, l4: usize) -> Option<(Port, Port)> {
    let bytes = packet.at::<[u8; QUOTED]>(l4)?;
    let [a, b, c, d, e, f, ..] = *bytes;
    Some(match (protocol, a) {
        (Protocol::Tcp | Protocol::Udp | Protocol::Sctp, _) => (Port([c, d]), Port([a, b])),
        (Protocol::Gre | Protocol::Esp, _) => (Port::new(0), Port::new(0)),
        (Protocol::Icmp, icmp6::ECHO) => (Port::new(0), Port([e, f])),
        (Protocol::Icmp, icmp6::ECHO_REPLY) => (Port([e, f]), Port::new(0)),
        (Protocol::Icmp, kind) if Icmp::is_query(kind) => (Port::new(0), Port([e, f])),
        (Protocol::Icmp, kind) if Icmp::is_reply(kind) => (Port([e, f]), Port::new(0)),
        (Protocol::Icmp, _) => return None,
    })
}
