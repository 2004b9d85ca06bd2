//! ICMPv6 errors of our own (RFC 4443): hop limit exceeded, packet too big, refused.
//!
//! As ICMP's, they go to nobody but the sender of the packet that they quote, as it arrived.

use abi::{Address, Ip6, Reason, limits::MTU6_MIN};

use crate::{
    checksum::{Sum, sum_of},
    cross::Header6,
    frame::{Icmp, Ipv6, Link, Packet, Wire, ethertype, icmp6},
    icmp::{DSCP, may_send},
    reset::{TTL, put},
    world::World,
};

/// What is in front of the quotation.
const HEAD: usize = Ipv6::LEN + Icmp::LEN;
/// The longest quotation: with what is in front of it, it fits every link (RFC 4443 §2.4 (c)).
const QUOTED_MAX: usize = MTU6_MIN as usize - HEAD;

/// Tells the sender that its packet ran out of hops.
#[inline(never)]
pub fn time_exceeded<P: Packet, W: World>(packet: &mut P, world: &W) -> Reason {
    match tell(packet, world, icmp6::TIME_EXCEEDED, 0, 0) {
        true => Reason::TimeExceededSent,
        false => Reason::TtlExceeded,
    }
}

/// Tells the sender that its packet is larger than `mtu`.
#[inline(never)]
pub fn too_big<P: Packet, W: World>(packet: &mut P, world: &W, mtu: u16) -> Reason {
    match tell(packet, world, icmp6::TOO_BIG, 0, mtu) {
        true => Reason::TooBigSent,
        false => Reason::TooBig,
    }
}

/// Tells the sender that its flow was refused: communication administratively prohibited
/// (RFC 4443 §3.1).
#[inline(never)]
pub fn prohibited<P: Packet, W: World>(packet: &mut P, world: &W) -> bool {
    tell(packet, world, icmp6::UNREACHABLE, 1, 0)
}

/// Tells the sender that there is no way to where its packet was sent (RFC 4443 §3.1).
#[inline(never)]
pub fn unreachable<P: Packet, W: World>(packet: &mut P, world: &W) -> bool {
    tell(packet, world, icmp6::UNREACHABLE, 0, 0)
}

/// Tells the sender that its packet's header has a value that cannot be, so many bytes behind its
/// beginning (RFC 4443 §3.4).
#[inline(never)]
pub fn problem<P: Packet, W: World>(packet: &mut P, world: &W, place: u16) -> bool {
    tell(packet, world, icmp6::PARAMETER_PROBLEM, 0, place)
}

/// Turns the packet into an error about it; `false` if that cannot be done, or was done too often
/// (RFC 4443 §2.4 (f)).
#[inline(always)]
fn tell<P: Packet, W: World>(packet: &mut P, world: &W, kind: u8, code: u8, rest: u16) -> bool {
    let Some(own) = world
        .interface(packet.ingress())
        .and_then(|interface| interface.address6())
    else {
        return false;
    };
    let Some(macs) = packet.at::<Link>(0).map(|link| link.answer()) else {
        return false;
    };
    let Some(ip) = packet.at::<Ipv6>(Link::LEN) else {
        return false;
    };
    let (source, class, quoted) = (ip.source, ip.class(), ip.total());
    // In words until they are written, see [`Link::words`].
    let (own, sender) = (own.words(), source.words());
    if source.is(Ip6::NONE) || !may_send(world, source) {
        return false;
    }
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
        class: class & DSCP,
        payload: length as u16,
        next: icmp6::NUMBER,
        hops: TTL,
    };
    let [high, low] = rest.to_be_bytes();
    let message = Icmp {
        kind,
        code,
        check: [0; 2],
        id: abi::Port([0; 2]),
        seq: [high, low],
    };
    let link = Link::of(macs, ethertype::IPV6);
    let icmp = Link::LEN + Ipv6::LEN;
    let (own, source) = (
        Ip6::of_words(own.0, own.1),
        Ip6::of_words(sender.0, sender.1),
    );
    let is_written = put(packet, 0, link)
        && put(packet, Link::LEN, header.bytes((own, source)))
        && put(packet, icmp, message);
    is_written && seal(packet, icmp, length, (own, source))
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
