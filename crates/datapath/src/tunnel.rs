//! Packets that members of a cluster hand each other: whole, in an outer IPv4 header (RFC 2003).
//!
//! What a member must know beside the packet is the identification of the outer header: a
//! [note](abi::cluster::Note), how often the packet may still be handed on, and the sender's number.

use abi::{
    Address, Ip4, Port, Reason, Stage, Tuple,
    cluster::{Came, Note, Sent},
    limits::MEMBERS_MAX,
};

use crate::{
    Left, Next, cluster,
    frame::{Ipv4, Ipv6, Link, Packet, Wire, ethertype},
    icmp, icmp6, leave,
    reset::put,
    route::{self, next_hop},
    unless_fixed,
    world::{Route, RouteQuery, World},
};

/// IPv4 in IPv4 (RFC 2003).
const IPIP: u8 = 4;
/// IPv6 in IPv4 (RFC 4213).
const SIX_IN_FOUR: u8 = 41;
/// What the outer header adds to a packet, in bytes.
pub const OVERHEAD: usize = Ipv4::LEN;
/// Hops of the network between two members.
const TTL: u8 = 64;
/// Don't Fragment: what is too large is told to its sender, and none is put together again.
const WHOLE: [u8; 2] = [0x40, 0];

/// Unpacks what a member handed over; it goes on as if it had come without the outer header. What no member
/// sent goes the way of other protocols.
#[inline(always)]
pub fn unpack<P: Packet, W: World>(packet: &mut P, world: &W) -> Result<Came, Next> {
    let Some((came, ethertype)) = accept(packet, world) else {
        return Err(cluster::go(
            world,
            Came::DIRECT,
            unless_fixed::<Ip4, _>(world, Stage::Part),
        ));
    };
    let macs = match packet.at::<Link>(0) {
        Some(link) => link.words(),
        None => return Err(internal(packet, world)),
    };
    if !packet.advance(OVERHEAD) {
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

/// Says how a packet came and what it carries, if a member sent it, to us, by the interface that leads to
/// that member. So who is not in the network between the members cannot pass for one.
#[inline(never)]
fn accept<P: Packet, W: World>(packet: &mut P, world: &W) -> Option<(Came, [u8; 2])> {
    let ingress = packet.ingress();
    let config = world.config()?;
    let interface = world.interface(ingress)?;
    if packet.at::<Link>(0)?.destination() != interface.mac {
        return None;
    }
    let outer = packet.at::<Ipv4>(Link::LEN)?;
    let (source, target, protocol) = (outer.source, outer.target, outer.protocol);
    let [note, path] = outer.id;
    let (hops, sender) = (path >> 4, path & 0xf);
    if outer.header_len() != OVERHEAD || outer.is_fragment() {
        return None;
    }
    let ethertype = match protocol {
        IPIP => ethertype::IPV4,
        SIX_IN_FOUR => ethertype::IPV6,
        _ => return None,
    };
    let me = world.member(config.me as u8 % MEMBERS_MAX as u8)?;
    let note = Note(note);
    if !target.is(me.address) || !note.is_known() {
        return None;
    }
    let is_member = world.member(sender)?.address.is(source) && !source.is(me.address);
    if !is_member || way(world, ingress, sender)? != ingress {
        return None;
    }
    Some((Came::by_member(hops, note), ethertype))
}

/// The interface that leads to a member; makes sure that the way there is known.
#[inline(always)]
fn way<W: World>(world: &W, ingress: u32, number: u8) -> Option<u32> {
    let config = world.config()?;
    let generation = route::generation(config.generation, world.now());
    let member = world.member(number)?;
    if !member.is_resolved(generation) {
        let mut hop = abi::NextHop::EMPTY;
        let me = world.member(config.me as u8 % MEMBERS_MAX as u8)?;
        let query = RouteQuery {
            tuple: Tuple {
                source: me.address,
                target: member.address,
                source_port: Port::new(0),
                target_port: Port::new(0),
            },
            ingress,
            protocol: IPIP,
        };
        match next_hop(world, &query, &mut hop) {
            Route::Known => member.remember(&hop, generation),
            Route::Unresolved | Route::Elsewhere | Route::Local | Route::Nowhere => return None,
        }
    }
    Some(member.next_hop().ifindex)
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
    if total + OVERHEAD > hop.mtu as usize {
        let mtu = hop.mtu.saturating_sub(OVERHEAD as u16);
        left.reason = too_big(packet, world, mtu);
        return;
    }
    // An outer header says how long it is, so what pads a short frame must not become part of it.
    if packet.len() > Link::LEN + total && !packet.resize(Link::LEN + total) {
        return;
    }
    if !packet.prepend(OVERHEAD) {
        return;
    }
    let outer = Ipv4 {
        version_ihl: 0x45,
        tos: 0,
        total: ((total + OVERHEAD) as u16).to_be_bytes(),
        id: [note.0, hops << 4 | me],
        fragment: WHOLE,
        ttl: TTL,
        protocol,
        check: [0; 2],
        source,
        target,
    };
    let is_put = put(packet, 0, Link::of(hop.macs, ethertype::IPV4))
        && put(packet, Link::LEN, outer.sealed());
    if is_put {
        *left = Left::new(Reason::Relayed, hop.ifindex);
    }
}

/// The number by which an outer header says what it carries, and how long that is, in bytes.
#[inline(always)]
fn carried<P: Packet>(packet: &mut P) -> Option<(u8, usize)> {
    match packet.at::<Link>(0)?.ethertype {
        ethertype::IPV6 => Some((SIX_IN_FOUR, packet.at::<Ipv6>(Link::LEN)?.total())),
        _ => Some((IPIP, packet.at::<Ipv4>(Link::LEN)?.total() as usize)),
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

/// Whether a packet of this protocol may be one that a member handed over.
#[inline(always)]
pub fn may_be_one<P: Packet>(packet: &mut P) -> bool {
    packet
        .at::<Ipv4>(Link::LEN)
        .is_some_and(|ip| matches!(ip.protocol, IPIP | SIX_IN_FOUR))
}
