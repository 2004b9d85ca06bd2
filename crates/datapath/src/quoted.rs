//! ICMP errors from others about packets of our flows (RFC 5508 §4): translated with the packet they
//! quote, so that each side recognises what it sent itself.
//!
//! An error changes nothing of the flow it is about: anybody can send one.

use abi::{FlowKey, NextHop, Port, Protocol, Reason, Tuple};

use crate::{
    checksum::{Sum, TTL_DECREMENT, patch, patch_udp},
    frame::{Icmp, Ipv4, Link, Packet, Wire},
    part,
    route::next_hop,
    world::{Route, RouteQuery, World},
};

/// What an error must quote of a transport header (RFC 792).
const QUOTED: usize = 8;
/// The longest error whose checksum is checked, in words of four bytes: as much as fits into an
/// Ethernet frame. RFC 1812 §4.3.2.3 allows 576 bytes.
const WORDS_MAX: usize = 1500 / 4;

/// Where things are in an error.
#[derive(Clone, Copy)]
struct Error {
    /// Its own header.
    icmp: usize,
    /// The packet it quotes. Not derived from `icmp` where it is used, because the verifier refuses
    /// pointers into a packet that are found by going back.
    quote: usize,
    /// The transport header of that.
    l4: usize,
    /// Length of the IP packet.
    total: u16,
    /// The flow's entry is under the tuple that an answer to the quoted packet would have.
    key: FlowKey,
    protocol: Protocol,
}

/// Translates an ICMP error and sends it on; one that is about no flow is refused if it is ours.
#[inline(always)]
pub fn translate<P: Packet, W: World>(packet: &mut P, world: &W) -> (Reason, u32) {
    let ingress = packet.ingress();
    let mut error = Error {
        icmp: 0,
        quote: 0,
        l4: 0,
        total: 0,
        key: FlowKey::new(Protocol::Udp, Tuple::default()),
        protocol: Protocol::Udp,
    };
    if !read(packet, &mut error) {
        return (
            part::refuse(packet, world, Reason::IcmpError, None),
            ingress,
        );
    }
    let Some(flow) = world.flow(&error.key) else {
        return (
            part::refuse(packet, world, Reason::IcmpError, None),
            ingress,
        );
    };
    let (from, to) = (error.key.tuple, flow.to);
    let Some(ip) = packet.at::<Ipv4>(Link::LEN) else {
        return (Reason::Malformed, ingress);
    };
    if ip.ttl <= 1 {
        return (Reason::TtlExceeded, ingress);
    }
    // Whoever is hidden stays hidden, be it the flow's end or a router before it (RFC 5508 REQ-4).
    let source = if from.source.0 == to.source.0 {
        ip.source
    } else {
        to.source
    };
    let query = RouteQuery {
        ingress,
        tuple: Tuple {
            source,
            target: to.target,
            source_port: Port::new(0),
            target_port: Port::new(0),
        },
        protocol: Protocol::Icmp as u8,
    };
    let mut hop = NextHop::EMPTY;
    let reason = match next_hop(world, &query, &mut hop) {
        Route::Known if error.total <= hop.mtu => Reason::ErrorTranslated,
        Route::Known | Route::Unresolved | Route::Elsewhere => Reason::ErrorKernelSends,
        Route::Local | Route::Nowhere => return (Reason::NoRoute, ingress),
    };
    if !is_whole(packet, &error) {
        return (Reason::IcmpError, ingress);
    }
    if !rewrite_quote(packet, &error, &to.reversed()) {
        return (Reason::Internal, ingress);
    }
    let is_sent = matches!(reason, Reason::ErrorTranslated);
    let Some(ip) = packet.at::<Ipv4>(Link::LEN) else {
        return (Reason::Internal, ingress);
    };
    let mut sum = Sum::ZERO
        .swap4(ip.source.0, source.0)
        .swap4(ip.target.0, to.target.0);
    (ip.source, ip.target) = (source, to.target);
    if is_sent {
        ip.ttl -= 1;
        sum = sum.add2(TTL_DECREMENT);
    }
    ip.check = patch(ip.check, sum.fold());
    if !is_sent {
        return (reason, ingress);
    }
    let Some(link) = packet.at::<Link>(0) else {
        return (Reason::Internal, ingress);
    };
    link.readdress(&hop);
    (reason, hop.ifindex)
}

/// Finds out what an error is about; `false` if that cannot be one of our flows.
#[inline(never)]
fn read<P: Packet>(packet: &mut P, error: &mut Error) -> bool {
    let Some(ip) = packet.at::<Ipv4>(Link::LEN) else {
        return false;
    };
    let (header, total) = (ip.header_len(), ip.total());
    let Some(icmp) = packet.at::<Icmp>(Link::LEN + header) else {
        return false;
    };
    // A redirect is about the sender's own link; source quench means nothing any more (RFC 6633).
    if matches!(icmp.kind, Icmp::REDIRECT | Icmp::SOURCE_QUENCH) {
        return false;
    }
    let quote = Link::LEN + header + Icmp::LEN;
    let Some(quoted) = packet.at::<Ipv4>(quote) else {
        return false;
    };
    let inner = quoted.header_len();
    if !quoted.is_version_4() || inner < Ipv4::LEN || quoted.offset() != 0 {
        return false;
    }
    if (total as usize) < header + Icmp::LEN + inner + QUOTED {
        return false;
    }
    let Some(protocol) = Protocol::from_number(quoted.protocol) else {
        return false;
    };
    let (source, target) = (quoted.source, quoted.target);
    let l4 = quote + inner;
    let Some(bytes) = packet.at::<[u8; QUOTED]>(l4) else {
        return false;
    };
    let [a, b, c, d, e, f, ..] = *bytes;
    let (source_port, target_port) = match (protocol, a) {
        (Protocol::Tcp | Protocol::Udp, _) => (Port([a, b]), Port([c, d])),
        (Protocol::Icmp, kind) if Icmp::is_query(kind) => (Port([e, f]), Port::new(0)),
        (Protocol::Icmp, kind) if Icmp::is_reply(kind) => (Port::new(0), Port([e, f])),
        (Protocol::Icmp, _) => return false,
    };
    let answered = Tuple {
        source: target,
        target: source,
        source_port: target_port,
        target_port: source_port,
    };
    *error = Error {
        icmp: Link::LEN + header,
        quote,
        l4,
        total,
        key: FlowKey::new(protocol, answered),
        protocol,
    };
    true
}

/// Whether the error's checksum and that of the quoted IP header are right (RFC 5508 REQ-3).
#[inline(never)]
fn is_whole<P: Packet>(packet: &mut P, error: &Error) -> bool {
    let icmp = error.icmp;
    let end = Link::LEN + error.total as usize;
    let mut sum = 0u64;
    let mut index = 0;
    while index < WORDS_MAX {
        let at = icmp + 4 * index;
        if at + 4 > end {
            break;
        }
        let Some(word) = packet.at::<[u8; 4]>(at) else {
            return false;
        };
        sum += u32::from_ne_bytes(*word) as u64;
        index += 1;
    }
    let mut at = icmp + 4 * index;
    if at + 2 <= end {
        let Some(word) = packet.at::<[u8; 2]>(at) else {
            return false;
        };
        sum += u16::from_ne_bytes(*word) as u64;
        at += 2;
    }
    if at < end {
        let Ok(last) = u8::try_from(second_of(packet, at - 1)) else {
            return false;
        };
        sum += u16::from_ne_bytes([last, 0]) as u64;
        at += 1;
    }
    if at != end || !is_all_ones(sum) {
        return false;
    }
    let mut sum = 0u64;
    let mut index = 0;
    while index < 15 {
        let at = error.quote + 4 * index;
        if at >= error.l4 {
            break;
        }
        let Some(word) = packet.at::<[u8; 4]>(at) else {
            return false;
        };
        sum += u32::from_ne_bytes(*word) as u64;
        index += 1;
    }
    is_all_ones(sum)
}

/// The second of two bytes; more than a byte can be if the frame ends before it.
///
/// A function of its own, because the verifier does not understand the check for a single byte that
/// the compiler would make of it.
#[inline(never)]
fn second_of<P: Packet>(packet: &mut P, at: usize) -> u32 {
    match packet.at::<[u8; 2]>(at) {
        Some(bytes) => bytes[1] as u32,
        None => u32::MAX,
    }
}

/// Whether a sum of words of any size folds to one's complement zero, as of what carries its own
/// checksum.
#[inline(always)]
const fn is_all_ones(sum: u64) -> bool {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum == 0xffff
}

/// Gives the quoted packet the tuple that its sender knows it by, and mends every checksum on the way
/// out: the transport's as far as it is quoted, the quoted header's, the error's.
#[inline(never)]
fn rewrite_quote<P: Packet>(packet: &mut P, error: &Error, known: &Tuple) -> bool {
    let Some(quoted) = packet.at::<Ipv4>(error.quote) else {
        return false;
    };
    let addresses = Sum::ZERO
        .swap4(quoted.source.0, known.source.0)
        .swap4(quoted.target.0, known.target.0);
    (quoted.source, quoted.target) = (known.source, known.target);
    let check = quoted.check;
    quoted.check = patch(check, addresses.fold());
    let mut sum = addresses.swap2(check, quoted.check);

    let Some(ports) = packet.at::<[u8; QUOTED]>(error.l4) else {
        return false;
    };
    let [a, b, c, d, e, f, g, h] = *ports;
    let mut changed = Sum::ZERO;
    match error.protocol {
        Protocol::Tcp | Protocol::Udp => {
            let ([i, j], [k, l]) = (known.source_port.0, known.target_port.0);
            changed = changed.swap2([a, b], [i, j]).swap2([c, d], [k, l]);
            [ports[0], ports[1], ports[2], ports[3]] = [i, j, k, l];
        }
        Protocol::Icmp => {
            // One of them is zero.
            let [i, j] = if Icmp::is_query(a) {
                known.source_port.0
            } else {
                known.target_port.0
            };
            changed = changed.swap2([e, f], [i, j]);
            [ports[4], ports[5]] = [i, j];
        }
    }
    sum = sum.add2(changed.fold().to_ne_bytes());
    // The transport's own checksum covers addresses too, but ICMP's.
    let covered = changed.add2(addresses.fold().to_ne_bytes());
    match error.protocol {
        Protocol::Icmp => {
            let new = patch([c, d], changed.fold());
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
            let end = Link::LEN + error.total as usize;
            if error.l4 + 18 <= end
                && let Some(check) = packet.at::<[u8; 2]>(error.l4 + 16)
            {
                let new = patch(*check, covered.fold());
                sum = sum.swap2(*check, new);
                *check = new;
            }
        }
    }
    let Some(icmp) = packet.at::<Icmp>(error.icmp) else {
        return false;
    };
    icmp.check = patch(icmp.check, sum.fold());
    true
}
