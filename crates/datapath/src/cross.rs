//! Packets from one version of IP to the other (RFC 7915), as a flow says that has IPv6 on one side
//! (RFC 6146).
//!
//! The transport header stays where it is; the headers before it are written anew in front of it.

use abi::{Flow, Ip4, Ip6, Live, NextHop, Protocol, Reason};

use crate::{
    Arrival, Piece,
    checksum::{Sum, patch, sum_of},
    frame::{Fragment, Icmp, Ipv4, Ipv6, Link, Packet, Udp, Wire, ethertype, extension, icmp6},
    reset::put,
    transport,
};

/// Bytes by which an IPv6 header without extensions is longer than an IPv4 one without options.
pub const GROWTH: usize = Ipv6::LEN - Ipv4::LEN;

/// The longest IPv4 packet that leaves without Don't Fragment: as IPv6 it fits every link
/// (RFC 7915 §5.1).
const FRAGMENTABLE: u16 = 1260;

/// Bytes from the transport header on.
#[inline(always)]
const fn payload<A>(arrival: &Arrival<A>) -> usize {
    (Link::LEN + arrival.total as usize).saturating_sub(arrival.l4)
}

/// Length of the IPv4 packet that a packet becomes.
#[inline(always)]
pub const fn length4<A>(arrival: &Arrival<A>) -> u16 {
    (Ipv4::LEN + payload(arrival)) as u16
}

/// Length of the IPv6 packet that a packet becomes.
#[inline(always)]
pub const fn length6<A>(arrival: &Arrival<A>) -> u16 {
    let fragment = match arrival.piece {
        Piece::Whole => 0,
        Piece::First | Piece::Later => Fragment::LEN,
    };
    (Ipv6::LEN + fragment + payload(arrival)) as u16
}

/// Whether an IPv6 packet becomes an IPv4 packet without Don't Fragment.
#[inline(always)]
pub const fn may_fragment<A>(arrival: &Arrival<A>) -> bool {
    arrival.fragment != 0 || length4(arrival) <= FRAGMENTABLE
}

/// Makes an IPv4 packet of an IPv6 one; says why not otherwise.
#[inline(never)]
pub fn to_ip4<P: Packet>(
    packet: &mut P,
    arrival: &Arrival<Ip6>,
    flow: &Flow<Live, Ip6>,
    hop: Option<&NextHop>,
) -> Option<Reason> {
    let (source, target) = (flow.to.source.unmapped(), flow.to.target.unmapped());
    if let (Protocol::Icmp, Piece::First | Piece::Later) = (arrival.protocol, arrival.piece) {
        return Some(Reason::IcmpFragment);
    }
    let Some(link) = packet.at::<Link>(0) else {
        return Some(Reason::Internal);
    };
    let macs = match hop {
        Some(hop) => hop.macs,
        None => link.words(),
    };
    let Some(ip) = packet.at::<Ipv6>(Link::LEN) else {
        return Some(Reason::Internal);
    };
    let (tos, hops) = (ip.class(), ip.hops);
    let total = length4(arrival);
    let (id, fragment) = match arrival.fragment {
        0 if total <= FRAGMENTABLE => (number(flow), [0; 2]),
        0 => ([0; 2], [0x40, 0]),
        at => {
            let Some(header) = packet.at::<Fragment>(at) else {
                return Some(Reason::Internal);
            };
            header.in_ip4()
        }
    };
    if !transport4(packet, arrival, flow) {
        return Some(Reason::Internal);
    }
    let header = Header4 {
        tos,
        total,
        id,
        fragment,
        ttl: hops - hop.is_some() as u8,
        protocol: arrival.protocol,
        addresses: (source, target),
    };
    if !packet.advance(arrival.l4 - Link::LEN - Ipv4::LEN) {
        return Some(Reason::Internal);
    }
    let link = Link::of(macs, ethertype::IPV4);
    let is_written = put(packet, 0, link) && put(packet, Link::LEN, header.bytes());
    (!is_written).then_some(Reason::Internal)
}

/// An IPv4 header to be written.
pub struct Header4 {
    pub tos: u8,
    pub total: u16,
    pub id: [u8; 2],
    pub fragment: [u8; 2],
    pub ttl: u8,
    pub protocol: Protocol,
    pub addresses: (Ip4, Ip4),
}

impl Header4 {
    /// The header, with its checksum.
    #[inline(always)]
    pub fn bytes(&self) -> Ipv4 {
        let (source, target) = self.addresses;
        Ipv4 {
            version_ihl: 0x45,
            tos: self.tos,
            total: self.total.to_be_bytes(),
            id: self.id,
            fragment: self.fragment,
            ttl: self.ttl,
            protocol: self.protocol as u8,
            check: [0; 2],
            source,
            target,
        }
        .sealed()
    }
}

/// An identification for a packet that may be fragmented: unlike those of the flow's packets before
/// it and, as likely as not, of its neighbours' (RFC 7915 §5.1, RFC 6864 §4.3).
#[inline(always)]
fn number(flow: &Flow<Live, Ip6>) -> [u8; 2] {
    let count = flow.passed() as u16;
    let offset = flow.to.source_port.get().wrapping_mul(40_503);
    count.wrapping_add(offset).to_be_bytes()
}

/// Ports and checksum of a packet that becomes IPv4.
#[inline(always)]
fn transport4<P: Packet>(packet: &mut P, arrival: &Arrival<Ip6>, flow: &Flow<Live, Ip6>) -> bool {
    match arrival.protocol {
        // TCP and UDP have the same pseudo-header in both versions but for the addresses.
        Protocol::Tcp | Protocol::Udp => transport::rewrite(packet, arrival, flow),
        // No such flow begins between the versions.
        Protocol::Sctp | Protocol::Gre | Protocol::Esp => false,
        Protocol::Icmp => {
            let length = payload(arrival) as u16;
            let Some(icmp) = packet.at::<Icmp>(arrival.l4) else {
                return false;
            };
            let kind = match icmp.kind {
                icmp6::ECHO => Icmp::ECHO,
                _ => Icmp::ECHO_REPLY,
            };
            // Its pseudo-header goes: the addresses are in the flow's difference.
            let sum = Sum::ZERO
                .swap2([icmp.kind, icmp.code], [kind, icmp.code])
                .swap2(length.to_be_bytes(), [0; 2])
                .swap2([0, icmp6::NUMBER], [0; 2]);
            icmp.kind = kind;
            icmp.id = transport::identifier(flow);
            icmp.check = patch(patch(icmp.check, flow.l4_delta), sum.fold());
            true
        }
    }
}

/// Makes an IPv6 packet of an IPv4 one; says why not otherwise.
#[inline(never)]
pub fn to_ip6<P: Packet>(
    packet: &mut P,
    arrival: &Arrival<Ip6>,
    flow: &Flow<Live, Ip6>,
    hop: Option<&NextHop>,
) -> Option<Reason> {
    if let (Protocol::Icmp, Piece::First | Piece::Later) = (arrival.protocol, arrival.piece) {
        return Some(Reason::IcmpFragment);
    }
    let Some(link) = packet.at::<Link>(0) else {
        return Some(Reason::Internal);
    };
    let macs = match hop {
        Some(hop) => hop.macs,
        None => link.words(),
    };
    let Some(ip) = packet.at::<Ipv4>(Link::LEN) else {
        return Some(Reason::Internal);
    };
    let (class, hops, [high, low]) = (ip.tos, ip.ttl, ip.id);
    let (is_fragment, offset, has_more) = (ip.is_fragment(), ip.offset(), ip.has_more());
    let refused = transport6(packet, arrival, flow);
    if refused.is_some() {
        return refused;
    }
    let next = match arrival.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Icmp => icmp6::NUMBER,
        Protocol::Sctp | Protocol::Gre | Protocol::Esp => return Some(Reason::Internal),
    };
    let before = Ipv6::LEN + if is_fragment { Fragment::LEN } else { 0 };
    let header = Header6 {
        class,
        payload: length6(arrival) - Ipv6::LEN as u16,
        next: if is_fragment {
            extension::FRAGMENT
        } else {
            next
        },
        hops: hops - hop.is_some() as u8,
    };
    if !make_room(packet, arrival.l4, Link::LEN + before) {
        return Some(Reason::Internal);
    }
    let link = Link::of(macs, ethertype::IPV6);
    let mut is_written = put(packet, 0, link)
        && put(
            packet,
            Link::LEN,
            header.bytes((flow.to.source, flow.to.target)),
        );
    if is_fragment {
        let fragment = Fragment {
            next,
            reserved: 0,
            offset: (offset << 3 | has_more as u16).to_be_bytes(),
            id: [0, 0, high, low],
        };
        is_written &= put(packet, Link::LEN + Ipv6::LEN, fragment);
    }
    (!is_written).then_some(Reason::Internal)
}

/// Moves the beginning of the frame so that what was at `before` is at `after`.
#[inline(always)]
pub fn make_room<P: Packet>(packet: &mut P, before: usize, after: usize) -> bool {
    if after > before {
        packet.prepend(after - before)
    } else {
        packet.advance(before - after)
    }
}

/// An IPv6 header to be written.
pub struct Header6 {
    pub class: u8,
    pub payload: u16,
    pub next: u8,
    pub hops: u8,
}

impl Header6 {
    /// The header, with a flow label of zero.
    #[inline(always)]
    pub const fn bytes(&self, (source, target): (Ip6, Ip6)) -> Ipv6 {
        Ipv6 {
            first: [0x60 | self.class >> 4, self.class << 4, 0, 0],
            payload: self.payload.to_be_bytes(),
            next: self.next,
            hops: self.hops,
            source,
            target,
        }
    }
}

/// Ports and checksum of a packet that becomes IPv6.
#[inline(always)]
fn transport6<P: Packet>(
    packet: &mut P,
    arrival: &Arrival<Ip6>,
    flow: &Flow<Live, Ip6>,
) -> Option<Reason> {
    let length = payload(arrival) as u16;
    match arrival.protocol {
        _ if matches!(arrival.piece, Piece::Later) => None,
        Protocol::Udp => {
            let Some(udp) = packet.at::<Udp>(arrival.l4) else {
                return Some(Reason::Internal);
            };
            if udp.check != [0; 2] {
                return (!transport::rewrite(packet, arrival, flow)).then_some(Reason::Internal);
            }
            // IPv6 wants a checksum where IPv4 does not (RFC 7915 §4.5). Of one fragment it cannot be told;
            // such do not get here.
            if let Piece::First | Piece::Later = arrival.piece {
                return Some(Reason::NoChecksum);
            }
            (udp.source, udp.target) = (flow.to.source_port, flow.to.target_port);
            let data = sum_of(packet, arrival.l4, Link::LEN + arrival.total as usize);
            let Ok(data) = u16::try_from(data) else {
                return Some(Reason::NoChecksum);
            };
            let sum = Sum::ZERO
                .add(flow.to.source)
                .add(flow.to.target)
                .add2(length.to_be_bytes())
                .add2([0, Protocol::Udp as u8])
                .add2(data.to_ne_bytes());
            let Some(udp) = packet.at::<Udp>(arrival.l4) else {
                return Some(Reason::Internal);
            };
            udp.check = match sum.checksum() {
                [0, 0] => [0xff, 0xff],
                check => check,
            };
            None
        }
        Protocol::Sctp | Protocol::Gre | Protocol::Esp => Some(Reason::Internal),
        Protocol::Tcp => (!transport::rewrite(packet, arrival, flow)).then_some(Reason::Internal),
        Protocol::Icmp => {
            let Some(icmp) = packet.at::<Icmp>(arrival.l4) else {
                return Some(Reason::Internal);
            };
            let kind = match icmp.kind {
                Icmp::ECHO => icmp6::ECHO,
                Icmp::ECHO_REPLY => icmp6::ECHO_REPLY,
                // There is no other query in ICMPv6 (RFC 7915 §4.2).
                _ => return Some(Reason::NotAQuery),
            };
            let sum = Sum::ZERO
                .swap2([icmp.kind, icmp.code], [kind, icmp.code])
                .add2(length.to_be_bytes())
                .add2([0, icmp6::NUMBER]);
            icmp.kind = kind;
            icmp.id = transport::identifier(flow);
            icmp.check = patch(patch(icmp.check, flow.l4_delta), sum.fold());
            None
        }
    }
}
