//! Packets that members of a cluster hand each other: whole, in an outer header of IPv4 (RFC 2003) or IPv6 (RFC 2473),
//! as their own addresses are.
//!
//! What a member must know beside the packet is the identification of the outer header, or the last two bytes of its
//! flow label: a [note](abi::cluster::Note), how often the packet may still be handed on, and the sender's number.

use abi::{
    Address, Ip4, Ip6, NextHop, Port, Reason, Stage, Tuple,
    cluster::{Came, Note, Sent},
    limits::MEMBERS_MAX,
};

use crate::{
    Left, Next, as_it_came, cluster,
    frame::{Ipv4, Ipv6, Link, Packet, Wire, ethertype},
    has_ipv6, icmp, icmp6, leave,
    reset::put,
    route::{self, next_hop},
    unless_fixed,
    world::{Route, RouteQuery, Tables, World},
};

/// An IPv4 packet (RFC 2003).
const FOUR: u8 = 4;
/// An IPv6 packet (RFC 2473, RFC 4213).
const SIX: u8 = 41;
/// Hops of the network between two members.
const TTL: u8 = 64;
/// Don't Fragment: what is too large is told to its sender, and none is put together again.
const WHOLE: [u8; 2] = [0x40, 0];

/// Unpacks what a member handed over; it goes on as if it had come without the outer header. What no member
/// sent goes the way of other protocols.
#[inline(always)]
pub fn unpack<P: Packet, W: World>(packet: &mut P, world: &W) -> Result<Came, Next> {
    let Some((came, ethertype, overhead)) = accept(packet, world) else {
        return Err(decline(packet, world));
    };
    let macs = match packet.at::<Link>(0) {
        Some(link) => link.words(),
        None => return Err(internal(packet, world)),
    };
    if !packet.advance(overhead) {
        return Err(internal(packet, world));
    }
    match packet.at::<Link>(0) {
        Some(link) => *link = Link::of(macs, ethertype),
        None => return Err(internal(packet, world)),
    }
    match ethertype {
        ethertype::IPV6 => Err(cluster::go(world, came, Stage::Six)),
        _ => Ok(came),
    }
}

/// What no member sent goes on as if there were no members.
#[inline(always)]
fn decline<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    let stage = match packet.at::<Link>(0) {
        Some(link) if link.ethertype != ethertype::IPV6 => {
            unless_fixed::<Ip4, _>(world, Stage::Part)
        }
        Some(_) if has_ipv6(world) => Stage::Six,
        Some(_) => return as_it_came(packet, world, Reason::Ipv6),
        None => return internal(packet, world),
    };
    cluster::go(world, Came::DIRECT, stage)
}

/// An outer header, of either version.
struct Outer {
    /// The addresses, those of IPv4 as [`Ip6::mapped`].
    source: Ip6,
    target: Ip6,
    /// What follows.
    protocol: u8,
    /// See the module.
    said: [u8; 2],
    /// Its length in bytes.
    length: usize,
}

/// Reads an outer header, if there may be one.
#[inline(always)]
fn outer<P: Packet>(packet: &mut P) -> Option<Outer> {
    if let ethertype::IPV6 = packet.at::<Link>(0)?.ethertype {
        let header = packet.at::<Ipv6>(Link::LEN)?;
        let [_, _, note, path] = header.first;
        return Some(Outer {
            source: header.source,
            target: header.target,
            protocol: header.next,
            said: [note, path],
            length: Ipv6::LEN,
        });
    }
    let header = packet.at::<Ipv4>(Link::LEN)?;
    if header.header_len() != Ipv4::LEN || header.is_fragment() {
        return None;
    }
    Some(Outer {
        source: Ip6::mapped(header.source),
        target: Ip6::mapped(header.target),
        protocol: header.protocol,
        said: header.id,
        length: Ipv4::LEN,
    })
}

/// Says how a packet came, what it carries and how long its outer header is, if a member sent it, to us, by the interface that leads to
/// that member. So who is not in the network between the members cannot pass for one.
#[inline(never)]
fn accept<P: Packet, W: World>(packet: &mut P, world: &W) -> Option<(Came, [u8; 2], usize)> {
    let ingress = packet.ingress();
    let config = world.config()?;
    let interface = world.interface(ingress)?;
    if packet.at::<Link>(0)?.destination() != interface.mac {
        return None;
    }
    let outer = outer(packet)?;
    let [note, path] = outer.said;
    let (hops, sender) = (path >> 4, path & 0xf);
    let ethertype = match outer.protocol {
        FOUR => ethertype::IPV4,
        SIX => ethertype::IPV6,
        _ => return None,
    };
    let me = world.member(config.me as u8 % MEMBERS_MAX as u8)?;
    let note = Note(note);
    if !outer.target.is(me.address) || !note.is_known() {
        return None;
    }
    let is_member = world.member(sender)?.address.is(outer.source) && !outer.source.is(me.address);
    if !is_member || way(world, ingress, sender)? != ingress {
        return None;
    }
    Some((Came::by_member(hops, note), ethertype, outer.length))
}

/// The interface that leads to a member; makes sure that the way there is known.
#[inline(always)]
fn way<W: World>(world: &W, ingress: u32, number: u8) -> Option<u32> {
    let config = world.config()?;
    let generation = route::generation(config.generation, world.now());
    let member = world.member(number)?;
    if !member.is_resolved(generation) {
        let mut hop = NextHop::EMPTY;
        let me = world.member(config.me as u8 % MEMBERS_MAX as u8)?;
        let is_known = match (me.address.ip4(), member.address.ip4()) {
            (Some(source), Some(target)) => leads(world, ingress, (source, target), &mut hop),
            _ => leads(world, ingress, (me.address, member.address), &mut hop),
        };
        if !is_known {
            return None;
        }
        member.remember(&hop, generation);
    }
    Some(member.next_hop().ifindex)
}

/// Whether there is a way from one address to another; fills in where it begins.
#[inline(never)]
fn leads<A: Address, W: World + Tables<A>>(
    world: &W,
    ingress: u32,
    (source, target): (A, A),
    hop: &mut NextHop,
) -> bool {
    let query = RouteQuery {
        tuple: Tuple {
            source,
            target,
            source_port: Port::new(0),
            target_port: Port::new(0),
        },
        ingress,
        protocol: FOUR,
    };
    matches!(next_hop(world, &query, hop), Route::Known)
}

/// Hands the packet at hand to the member that the program before said.
#[inline(always)]
pub fn relay<P: Packet, W: World>(packet: &mut P, world: &W) -> Next {
    let bytes = packet.len() as u64;
    let mut left = Left::new(Reason::Internal, packet.ingress());
    hand(packet, world, &mut left);
    Next::Leave(leave(packet, world, bytes, left))
}

/// The same; says why and by which interface it leaves, if it can.
#[inline(never)]
fn hand<P: Packet, W: World>(packet: &mut P, world: &W, left: &mut Left) {
    let (Some(config), Some(trip)) = (world.config(), world.trip()) else {
        return;
    };
    let hops = Came::of(trip.came.get()).hops();
    let Sent { to, note } = Sent::of(trip.to.get());
    if hops == 0 {
        left.reason = Reason::RelayHops;
        return;
    }
    let (me, to) = (config.me as u8 % MEMBERS_MAX as u8, to % MEMBERS_MAX as u8);
    if way(world, left.ifindex, to).is_none() {
        left.reason = Reason::RelayUnreachable;
        return;
    }
    let (Some(member), Some(own)) = (world.member(to), world.member(me)) else {
        return;
    };
    let (hop, source, target) = (member.next_hop(), own.address, member.address);
    let Some((protocol, total)) = carried(packet) else {
        return;
    };
    let is_six = target.ip4().is_none();
    let overhead = if is_six { Ipv6::LEN } else { Ipv4::LEN };
    if total + overhead > hop.mtu as usize {
        let mtu = hop.mtu.saturating_sub(overhead as u16);
        left.reason = too_big(packet, world, mtu);
        return;
    }
    // An outer header says how long it is, so what pads a short frame must not become part of it.
    if packet.len() > Link::LEN + total && !packet.resize(Link::LEN + total) {
        return;
    }
    if !packet.prepend(overhead) {
        return;
    }
    let said = [note.0, hops << 4 | me];
    let is_put = match is_six {
        true => {
            let outer = Ipv6 {
                first: [0x60, 0, said[0], said[1]],
                payload: (total as u16).to_be_bytes(),
                next: protocol,
                hops: TTL,
                source,
                target,
            };
            put(packet, Link::LEN, outer) && put(packet, 0, Link::of(hop.macs, ethertype::IPV6))
        }
        false => {
            let outer = Ipv4 {
                version_ihl: 0x45,
                tos: 0,
                total: ((total + overhead) as u16).to_be_bytes(),
                id: said,
                fragment: WHOLE,
                ttl: TTL,
                protocol,
                check: [0; 2],
                source: source.unmapped(),
                target: target.unmapped(),
            };
            put(packet, Link::LEN, outer.sealed())
                && put(packet, 0, Link::of(hop.macs, ethertype::IPV4))
        }
    };
    if is_put {
        *left = Left::new(Reason::Relayed, hop.ifindex);
    }
}

/// The number by which an outer header says what it carries, and how long that is, in bytes.
#[inline(always)]
fn carried<P: Packet>(packet: &mut P) -> Option<(u8, usize)> {
    match packet.at::<Link>(0)?.ethertype {
        ethertype::IPV6 => Some((SIX, packet.at::<Ipv6>(Link::LEN)?.total())),
        _ => Some((FOUR, packet.at::<Ipv4>(Link::LEN)?.total() as usize)),
    }
}

/// Tells the sender how large a packet may be that is handed to another member.
#[inline(always)]
fn too_big<P: Packet, W: World>(packet: &mut P, world: &W, mtu: u16) -> Reason {
    let is_six = match packet.at::<Link>(0) {
        Some(link) => link.ethertype == ethertype::IPV6,
        None => return Reason::Malformed,
    };
    let may_be_told = is_six
        || packet
            .at::<Ipv4>(Link::LEN)
            .is_some_and(|ip| ip.dont_fragment());
    if !may_be_told {
        return Reason::RelayTooBig;
    }
    let reason = match is_six {
        true => icmp6::too_big(packet, world, mtu),
        false => icmp::too_big(packet, world, mtu),
    };
    if let Reason::TooBig = reason {
        return Reason::RelayTooBig;
    }
    reason
}

#[inline(always)]
fn internal<P: Packet, W: World>(packet: &P, world: &W) -> Next {
    let left = Left::new(Reason::Internal, packet.ingress());
    Next::Leave(leave(packet, world, packet.len() as u64, left))
}

/// Whether an IPv4 packet may be one that a member handed over.
#[inline(always)]
pub fn may_be_one<P: Packet>(packet: &mut P) -> bool {
    packet
        .at::<Ipv4>(Link::LEN)
        .is_some_and(|ip| matches!(ip.protocol, FOUR | SIX))
}

/// The same of an IPv6 packet.
#[inline(always)]
pub fn may_be_one6<P: Packet>(packet: &mut P) -> bool {
    packet
        .at::<Ipv6>(Link::LEN)
        .is_some_and(|ip| matches!(ip.next, FOUR | SIX))
}
