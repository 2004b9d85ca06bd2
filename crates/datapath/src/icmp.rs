//! ICMP errors of our own: TTL ran out (RFC 792), too big (RFC 1191), refused (RFC 5508 REQ-8).
//!
//! The error quotes the packet as it arrived, so its sender recognises it whichever realm it is in,
//! and goes back the way the packet came, in the class that the packet was in (RFC 5508 REQ-10d).
//! Errors are few: each CPU sends so many in a tick, and no sender gets more than a share of them
//! (RFC 1812 §4.3.2.8).

use abi::{Address, Port, Protocol, Reason, Tick, hash::hash, limits::ERROR_BUCKETS};

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
/// The differentiated services code point in the field that was once the type of service (RFC 2474).
pub const DSCP: u8 = 0xfc;
/// Where errors to all senders are counted, behind those to each.
const ALL: u32 = ERROR_BUCKETS as u32;

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

/// Tells the sender that its flow was refused: communication administratively prohibited
/// (RFC 1812 §5.2.7.1).
#[inline(never)]
pub fn prohibited<P: Packet, W: World>(packet: &mut P, world: &W) -> bool {
    tell(packet, world, Icmp::UNREACHABLE, 13, [0; 2])
}

/// Turns the packet into an error about it; `false` if that cannot be done, or was done too often.
///
/// Not to or about an address that no host or many have (RFC 1812 §4.3.2.7). Not about ICMP errors or later fragments, which never get here, nor about packets with IP options, whose
/// eight bytes of transport header would not be quoted.
#[inline(always)]
fn tell<P: Packet, W: World>(packet: &mut P, world: &W, kind: u8, code: u8, mtu: [u8; 2]) -> bool {
    let Some(interface) = world.interface(packet.ingress()) else {
        return false;
    };
    let Some(own) = interface.address() else {
        return false;
    };
    let (Some(macs), Some(ip)) = (
        packet.at::<Link>(0).map(|link| link.answer()),
        copy::<Ipv4, _>(packet, Link::LEN),
    ) else {
        return false;
    };
    if ip.header_len() != Ipv4::LEN || !ip.source.is_one_host() || !ip.target.is_one_host() {
        return false;
    }
    if !may_send(world, ip.source) {
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
    let header = header(
        (own, ip.source),
        Protocol::Icmp,
        Icmp::LEN + QUOTED,
        ip.tos & DSCP,
    );
    put(packet, 0, Link::of(macs, ethertype::IPV4))
        && put(packet, Link::LEN, header)
        && put(packet, Link::LEN + Ipv4::LEN, message)
}

/// Counts an error to this sender, unless there have been enough in this tick.
#[inline(always)]
pub fn may_send<A: Address, W: World>(world: &W, sender: A) -> bool {
    let Some(config) = world.config() else {
        return false;
    };
    let now = world.now();
    let (high, low) = sender.words();
    let bucket = hash(config.seed, high, low) as u32 % ALL;
    count(world, bucket, now, config.errors_each) && count(world, ALL, now, config.errors)
}

#[inline(always)]
fn count<W: World>(world: &W, bucket: u32, now: Tick, most: u32) -> bool {
    let Some(word) = world.errors(bucket) else {
        return false;
    };
    let (tick, sent) = ((word.get() >> 32) as u32, word.get() as u32);
    let sent = if tick == now.0 { sent } else { 0 };
    if sent >= most {
        return false;
    }
    word.set((now.0 as u64) << 32 | (sent + 1) as u64);
    true
}
