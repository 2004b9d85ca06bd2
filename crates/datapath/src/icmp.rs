//! ICMP errors of our own: TTL ran out (RFC 792), too big (RFC 1191).
//!
//! The error quotes the packet as it arrived, so its sender recognises it whichever realm it is in,
//! and goes back the way the packet came. Errors are not rate-limited: each is caused by one packet, is
//! at most 70 bytes long, and goes to nobody but that packet's sender.

use abi::{Port, Protocol, Reason};

use crate::{
    checksum::Sum,
    frame::{Icmp, Ipv4, Link, Packet, Wire, ethertype},
    reset::{copy, header, put},
    world::World,
};

/// What an error quotes: an IP header without options and eight bytes (RFC 792).
const QUOTED: usize = Ipv4::LEN + 8;
/// Where the quotation begins in the finished frame.
const QUOTE: usize = Link::LEN + Ipv4::LEN + Icmp::LEN;

/// Tells the sender that its packet's TTL ran out.
#[inline(never)]
pub fn time_exceeded<P: Packet, W: World>(packet: &mut P, world: &W) -> Reason {
    match tell(packet, world, Icmp::TIME_EXCEEDED, 0, [0; 2]) {
        true => Reason::TimeExceededSent,
        false => Reason::TtlExceeded,
    }
}

/// Tells the sender that its packet is larger than `mtu`.
#[inline(never)]
pub fn too_big<P: Packet, W: World>(packet: &mut P, world: &W, mtu: u16) -> Reason {
    match tell(packet, world, Icmp::UNREACHABLE, 4, mtu.to_be_bytes()) {
        true => Reason::TooBigSent,
        false => Reason::TooBig,
    }
}

/// Turns the packet into an error about it; `false` if that cannot be done.
///
/// Not about ICMP errors or later fragments, which never get here, nor about packets with IP options, whose
/// eight bytes of transport header would not be quoted.
#[inline(always)]
fn tell<P: Packet, W: World>(packet: &mut P, world: &W, kind: u8, code: u8, mtu: [u8; 2]) -> bool {
    let Some(interface) = world.interface(packet.ingress()) else {
        return false;
    };
    let Some(own) = interface.address() else {
        return false;
    };
    let (Some(link), Some(ip)) = (
        copy::<Link, _>(packet, 0),
        copy::<Ipv4, _>(packet, Link::LEN),
    ) else {
        return false;
    };
    if ip.header_len() != Ipv4::LEN {
        return false;
    }
    if !packet.resize(Link::LEN + QUOTED) || !packet.prepend(QUOTE - Link::LEN) {
        return false;
    }

    let Some(quoted) = packet.at::<[u8; QUOTED]>(QUOTE) else {
        return false;
    };
    let mut sum = Sum::ZERO.add2([kind, code]).add2(mtu);
    let mut index = 0;
    while index < QUOTED {
        sum = sum.add2([quoted[index], quoted[index + 1]]);
        index += 2;
    }
    let message = Icmp {
        kind,
        code,
        check: sum.checksum(),
        id: Port::new(0),
        seq: mtu,
    };
    let header = header((own, ip.source), Protocol::Icmp, Icmp::LEN + QUOTED);
    put(
        packet,
        0,
        Link {
            ethertype: ethertype::IPV4,
            ..link.answered()
        },
    ) && put(packet, Link::LEN, header)
        && put(packet, Link::LEN + Ipv4::LEN, message)
}
