//! Answers a TCP segment that belongs to nothing, so that its sender reconnects instead of hanging
//! (RFC 9293 §3.10.7.1).

use abi::{Address, Ip6, Protocol, Reason};

use crate::{
    Arrival,
    checksum::Sum,
    cross::Header6,
    frame::{Ipv4, Ipv6, Link, Packet, Tcp, Wire, ethertype},
};

/// Hops an answer may take.
pub const TTL: u8 = 64;

/// Turns the IPv4 segment, which must not be an RST, into its answer.
///
/// There is none for a segment that contradicts itself, nor for one that no host or many can have
/// sent.
#[inline(never)]
pub fn answer<A, P: Packet>(packet: &mut P, arrival: &Arrival<A>) -> Reason {
    let (Some(macs), Some(ip)) = (
        packet.at::<Link>(0).map(|link| link.answer()),
        copy::<Ipv4, _>(packet, Link::LEN),
    ) else {
        return Reason::Internal;
    };
    let Some(tcp) = copy::<Tcp, _>(packet, arrival.l4) else {
        return Reason::Internal;
    };
    let headers = ip.header_len() + tcp.header_len();
    let total = ip.total() as usize;
    if tcp.header_len() < Tcp::LEN || headers > total || !ip.source.is_one_host() {
        return Reason::NoFlow;
    }
    if !packet.resize(Link::LEN + Ipv4::LEN + Tcp::LEN) {
        return Reason::Internal;
    }
    let answer = reset(
        &tcp,
        total - headers,
        Sum::ZERO.add(ip.target).add(ip.source),
    );
    let header = header((ip.target, ip.source), Protocol::Tcp, Tcp::LEN, 0);
    let link = Link::of(macs, ethertype::IPV4);
    let written = put(packet, 0, link)
        && put(packet, Link::LEN, header)
        && put(packet, Link::LEN + Ipv4::LEN, answer);
    if written {
        Reason::ResetSent
    } else {
        Reason::Internal
    }
}

/// The same of an IPv6 segment.
#[inline(never)]
pub fn answer6<A, P: Packet>(packet: &mut P, arrival: &Arrival<A>) -> Reason {
    let (Some(macs), Some(ip)) = (
        packet.at::<Link>(0).map(|link| link.answer()),
        copy::<Ipv6, _>(packet, Link::LEN),
    ) else {
        return Reason::Internal;
    };
    let Some(tcp) = copy::<Tcp, _>(packet, arrival.l4) else {
        return Reason::Internal;
    };
    let headers = arrival.l4 - Link::LEN + tcp.header_len();
    let total = ip.total();
    if tcp.header_len() < Tcp::LEN || headers > total || ip.source.is(Ip6::NONE) {
        return Reason::NoFlow;
    }
    if !packet.resize(Link::LEN + Ipv6::LEN + Tcp::LEN) {
        return Reason::Internal;
    }
    let answer = reset(
        &tcp,
        total - headers,
        Sum::ZERO.add(ip.target).add(ip.source),
    );
    let header = Header6 {
        class: 0,
        payload: Tcp::LEN as u16,
        next: Protocol::Tcp as u8,
        hops: TTL,
    };
    let link = Link::of(macs, ethertype::IPV6);
    let written = put(packet, 0, link)
        && put(packet, Link::LEN, header.bytes((ip.target, ip.source)))
        && put(packet, Link::LEN + Ipv6::LEN, answer);
    if written {
        Reason::ResetSent
    } else {
        Reason::Internal
    }
}

/// What answers a segment that carries so many bytes, between addresses of this sum.
#[inline(always)]
fn reset(tcp: &Tcp, data: usize, addresses: Sum) -> Tcp {
    let (seq, ack, flags) = if tcp.flags & Tcp::ACK != 0 {
        (tcp.ack, [0; 4], Tcp::RST)
    } else {
        let control = (tcp.flags & Tcp::SYN != 0) as u32 + (tcp.flags & Tcp::FIN != 0) as u32;
        let next = u32::from_be_bytes(tcp.seq)
            .wrapping_add(data as u32)
            .wrapping_add(control);
        ([0; 4], next.to_be_bytes(), Tcp::RST | Tcp::ACK)
    };
    let mut answer = Tcp {
        source: tcp.target,
        target: tcp.source,
        seq,
        ack,
        offset: ((Tcp::LEN / 4) << 4) as u8,
        flags,
        window: [0; 2],
        check: [0; 2],
        urgent: [0; 2],
    };
    answer.check = addresses
        .add2([0, Protocol::Tcp as u8])
        .add2([0, Tcp::LEN as u8])
        .add2(answer.source.0)
        .add2(answer.target.0)
        .add4(seq)
        .add4(ack)
        .add2([answer.offset, flags])
        .checksum();
    answer
}

/// The IP header of a message of our own, with its checksum.
#[inline(always)]
pub fn header(
    (source, target): (abi::Ip4, abi::Ip4),
    protocol: Protocol,
    payload: usize,
    tos: u8,
) -> Ipv4 {
    let total = ((Ipv4::LEN + payload) as u16).to_be_bytes();
    Ipv4 {
        version_ihl: 0x45,
        tos,
        total,
        id: [0; 2],
        fragment: [0x40, 0],
        ttl: TTL,
        protocol: protocol as u8,
        check: [0; 2],
        source,
        target,
    }
    .sealed()
}

#[inline(always)]
pub fn copy<T: Wire + Copy, P: Packet>(packet: &mut P, offset: usize) -> Option<T> {
    packet.at::<T>(offset).copied()
}

#[inline(always)]
pub fn put<T: Wire, P: Packet>(packet: &mut P, offset: usize, value: T) -> bool {
    match packet.at::<T>(offset) {
        Some(place) => {
            *place = value;
            true
        }
        None => false,
    }
}
