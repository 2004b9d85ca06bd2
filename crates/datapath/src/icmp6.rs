//! ICMPv6 errors of our own (RFC 4443): hop limit exceeded, packet too big.
//!
//! As ICMP's, they go to nobody but the sender of the packet that they quote, as it arrived.

use abi::{Ip6, Reason};

use crate::{
    checksum::{Sum, sum_of},
    cross::Header6,
    frame::{Icmp, Ipv6, Link, Packet, Wire, ethertype, icmp6},
    reset::{TTL, copy, put},
    world::World,
};

/// What is in front of the quotation.
const HEAD: usize = Ipv6::LEN + Icmp::LEN;
/// The longest quotation: with what is in front of it, it fits every link (RFC 4443 §2.4 (c)).
const QUOTED_MAX: usize = 1280 - HEAD;

/// Tells the sender that its packet ran out of hops.
#[inline(never)]
pub fn time_exceeded<P: Packet, W: World>(packet: &mut P, world: &W) -> Reason {
    match tell(packet, world, icmp6::TIME_EXCEEDED, 0) {
        true => Reason::TimeExceededSent,
        false => Reason::TtlExceeded,
    }
}

/// Tells the sender that its packet is larger than `mtu`.
#[inline(never)]
pub fn too_big<P: Packet, W: World>(packet: &mut P, world: &W, mtu: u16) -> Reason {
    match tell(packet, world, icmp6::TOO_BIG, mtu) {
        true => Reason::TooBigSent,
        false => Reason::TooBig,
    }
}

#[inline(always)]
fn tell<P: Packet, W: World>(packet: &mut P, world: &W, kind: u8, mtu: u16) -> bool {
    let Some(own) = world
        .interface(packet.ingress())
        .and_then(|interface| interface.address6())
    else {
        return false;
    };
    let (Some(link), Some(ip)) = (
        copy::<Link, _>(packet, 0),
        copy::<Ipv6, _>(packet, Link::LEN),
    ) else {
        return false;
    };
    let quoted = ip.total();
    let quoted = if quoted < QUOTED_MAX {
        quoted
    } else {
        QUOTED_MAX
    };
    if !packet.resize(Link::LEN + quoted) || !packet.prepend(HEAD) {
        return false;
    }
    let length = Icmp::LEN + quoted;
    let header = Header6 {
        class: ip.class(),
        payload: length as u16,
        next: icmp6::NUMBER,
        hops: TTL,
    };
    let [high, low] = mtu.to_be_bytes();
    let message = Icmp {
        kind,
        code: 0,
        check: [0; 2],
        id: abi::Port([0; 2]),
        seq: [high, low],
    };
    let link = Link {
        ethertype: ethertype::IPV6,
        ..link.answered()
    };
    let icmp = Link::LEN + Ipv6::LEN;
    let is_written = put(packet, 0, link)
        && put(packet, Link::LEN, header.bytes((own, ip.source)))
        && put(packet, icmp, message);
    is_written && seal(packet, icmp, length, (own, ip.source))
}

/// Writes the checksum of an ICMPv6 message of this length, which has zero there.
#[inline(always)]
pub fn seal<P: Packet>(
    packet: &mut P,
    icmp: usize,
    length: usize,
    (source, target): (Ip6, Ip6),
) -> bool {
    let Ok(sum) = u16::try_from(sum_of(packet, icmp, icmp + length)) else {
        return false;
    };
    let check = Sum::ZERO
        .add(source)
        .add(target)
        .add2((length as u16).to_be_bytes())
        .add2([0, icmp6::NUMBER])
        .add2(sum.to_ne_bytes())
        .checksum();
    let Some(message) = packet.at::<Icmp>(icmp) else {
        return false;
    };
    message.check = check;
    true
}
