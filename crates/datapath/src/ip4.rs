//! IPv4: how its packets are read and rewritten (RFC 791, RFC 3022 §4).

use abi::{
    Address, Flow, FlowKey, Ip4, Ip6, Live, NextHop, Port, Protocol, Reason, Tuple,
    limits::{HELD_FRAME_MAX, MTU6_MIN},
};

use crate::{
    Arrival, Begun, Piece,
    checksum::{Sum, TTL_DECREMENT, patch},
    cross,
    frame::{Icmp, Ipv4, Link, Packet, Sctp, Tcp, Udp, Wire, ethertype},
    icmp,
    ip::{Detour, Identity, Translate, Unusual, Version},
    options::Options,
    quoted::{self, Error, Translated},
    reset, transport,
    world::World,
};

/// See the module.
pub struct V4;

impl Version for V4 {
    type Own = Ip4;

    #[inline(always)]
    fn parse<P: Packet, W: World>(
        packet: &mut P,
        _: &W,
        bytes: u64,
    ) -> Result<Arrival<Ip4>, Unusual> {
        read(packet, bytes, true)
    }

    #[inline(always)]
    fn identify<P: Packet, W: World>(packet: &mut P, _: &W) -> Option<Identity<Ip4>> {
        let ip = packet.at::<Ipv4>(Link::LEN)?;
        let [high, low] = ip.id;
        let (header, start) = (ip.header_len(), ip.offset());
        let bytes = ip.total().wrapping_sub(header as u16);
        Some(Identity {
            source: ip.source,
            target: ip.target,
            id: [0, 0, high, low],
            protocol: ip.protocol,
            start,
            end: start.wrapping_add(bytes.div_ceil(8)),
            fragment: 0,
            l4: Link::LEN + header,
            total: ip.total(),
        })
    }

    #[inline(always)]
    fn addresses<P: Packet, W: World>(packet: &mut P, _: &W) -> Option<(Ip4, Ip4, u8)> {
        let ip = packet.at::<Ipv4>(Link::LEN)?;
        Some((ip.source, ip.target, ip.protocol))
    }

    #[inline(always)]
    fn hops<P: Packet>(packet: &mut P) -> Option<u8> {
        packet.at::<Ipv4>(Link::LEN).map(|ip| ip.ttl)
    }

    #[inline(always)]
    fn time_exceeded<P: Packet, W: World>(packet: &mut P, world: &W) -> Reason {
        icmp::time_exceeded(packet, world)
    }

    #[inline(always)]
    fn prohibited<P: Packet, W: World>(packet: &mut P, world: &W) -> bool {
        icmp::prohibited(packet, world)
    }
}

/// Reads a packet whose protocol's flows have ports of their own, which nearly all have.
#[inline(always)]
pub fn plain<P: Packet>(packet: &mut P, bytes: u64) -> Result<Arrival<Ip4>, Unusual> {
    read(packet, bytes, false)
}

/// Reads the headers; of protocols that are translated by address only if they are wanted `by_address`.
#[inline(always)]
fn read<P: Packet>(packet: &mut P, bytes: u64, by_address: bool) -> Result<Arrival<Ip4>, Unusual> {
    let Some(link) = packet.at::<Link>(0) else {
        return Err(Unusual::Leaves(Reason::Malformed));
    };
    if link.ethertype != ethertype::IPV4 {
        return Err(match link.ethertype {
            ethertype::IPV6 => Unusual::Other,
            ethertype::VLAN | ethertype::QINQ => Unusual::Leaves(Reason::VlanTagged),
            _ => Unusual::Leaves(Reason::NotIp),
        });
    }
    if link.is_multicast() {
        return Err(Unusual::Leaves(Reason::NotForUs));
    }
    let Some(ip) = packet.at::<Ipv4>(Link::LEN) else {
        return Err(Unusual::Leaves(Reason::Malformed));
    };
    let (header, total) = (ip.header_len(), ip.total());
    let (source, target, id) = (ip.source, ip.target, ip.id);
    if !ip.is_version_4() || header < Ipv4::LEN {
        return Err(Unusual::Leaves(Reason::Malformed));
    }
    if (total as usize) < header || Link::LEN as u64 + total as u64 > bytes {
        return Err(Unusual::Leaves(Reason::Malformed));
    }
    let piece = match (ip.is_fragment(), ip.offset()) {
        (false, _) => Piece::Whole,
        (true, 0) => Piece::First,
        (true, _) => return Err(Unusual::Part(Reason::Fragment)),
    };
    let number = ip.protocol;

    // A first fragment has its whole transport header or is no beginning (RFC 1858 §3).
    let cut = match piece {
        Piece::Whole => Reason::Protocol,
        Piece::First | Piece::Later => Reason::Fragment,
    };
    let l4 = Link::LEN + header;
    let room = total as usize - header;
    let (protocol, (source_port, target_port), flags) = match Protocol::from_number(number) {
        Some(it @ Protocol::Tcp) => match packet.at::<Tcp>(l4) {
            Some(tcp) if room >= Tcp::LEN => (it, (tcp.source, tcp.target), tcp.flags),
            _ => return Err(Unusual::Part(cut)),
        },
        Some(it @ Protocol::Udp) => match packet.at::<Udp>(l4) {
            Some(udp) if room >= Udp::LEN => (it, (udp.source, udp.target), 0),
            _ => return Err(Unusual::Part(cut)),
        },
        Some(it @ Protocol::Icmp) => match packet.at::<Icmp>(l4) {
            // All queries share their identifiers: an answer is of its question's kind anyhow.
            Some(icmp) if room >= Icmp::LEN => match icmp.kind {
                kind if Icmp::is_query(kind) => (it, (icmp.id, Port::new(0)), Icmp::ECHO),
                kind if Icmp::is_reply(kind) => (it, (Port::new(0), icmp.id), 0),
                _ if icmp.is_error() => return Err(Unusual::Part(Reason::IcmpError)),
                _ => return Err(Unusual::Part(Reason::NotAQuery)),
            },
            _ => return Err(Unusual::Part(cut)),
        },
        Some(it @ Protocol::Sctp) if by_address => match packet.at::<Sctp>(l4) {
            Some(sctp) if room >= Sctp::LEN => (it, (sctp.source, sctp.target), 0),
            _ => return Err(Unusual::Part(cut)),
        },
        Some(it @ (Protocol::Gre | Protocol::Esp)) if by_address => {
            (it, (Port::new(0), Port::new(0)), 0)
        }
        Some(Protocol::Sctp | Protocol::Gre | Protocol::Esp) | None => {
            return Err(Unusual::Part(Reason::Protocol));
        }
    };
    let tuple = Tuple {
        source,
        target,
        source_port,
        target_port,
    };
    let key = FlowKey::new(protocol, tuple);
    Ok(Arrival {
        key,
        protocol,
        l4,
        fragment: 0,
        total,
        bytes,
        flags,
        piece,
        begun: Begun {
            id: [0, 0, id[0], id[1]],
            end: room.div_ceil(8) as u32,
        },
    })
}

#[inline(always)]
fn dont_fragment<P: Packet>(packet: &mut P) -> bool {
    packet
        .at::<Ipv4>(Link::LEN)
        .is_some_and(|ip| ip.dont_fragment())
}

/// Whether it is the first of a datagram's fragments, and that has no checksum: IPv6 wants one, which takes
/// all of them (RFC 6146 §3.4).
#[inline(always)]
fn lacks_checksum<P: Packet>(packet: &mut P, arrival: &Arrival<Ip6>) -> bool {
    let is_first = matches!(arrival.piece, Piece::First);
    is_first
        && matches!(arrival.protocol, Protocol::Udp)
        && packet
            .at::<Udp>(arrival.l4)
            .is_some_and(|udp| udp.check == [0; 2])
}

/// The longest IPv6 packet that the packet's pieces may become, in bytes, if it must be cut up; else zero.
///
/// A sender that does not forbid fragments does not listen to who says that its packets are too long:
/// they must fit whatever link is on the way (RFC 7915 §4). Fragments of ICMP could not be translated
/// (RFC 7915 §1.2), so it is left whole.
#[inline(always)]
fn cuts<P: Packet, W: World>(
    packet: &mut P,
    world: &W,
    arrival: &Arrival<Ip6>,
    flow: &Flow<Live, Ip6>,
) -> u16 {
    let Some(config) = world.config() else {
        return 0;
    };
    let (length, mtu) = (cross::length6(arrival), config.lowest_mtu6 as u16);
    let mtu = match flow.mtu() {
        next @ MTU6_MIN.. if next < mtu => next,
        _ => mtu,
    };
    let may_be_cut = arrival.protocol as u8 != Protocol::Icmp as u8
        && flow.to.target.ip4().is_none()
        && !dont_fragment(packet);
    match length > mtu && may_be_cut {
        true => mtu,
        false => 0,
    }
}

/// Whether an option names routers that the packet has not come to yet (RFC 791 §3.1).
#[inline(never)]
fn has_source_route<P: Packet, W: World>(packet: &mut P, world: &W) -> bool {
    let Some(ip) = packet.at::<Ipv4>(Link::LEN) else {
        return false;
    };
    let options = Options {
        header: Link::LEN,
        first: Ipv4::LEN,
        end: ip.header_len(),
    };
    let is_route = |[kind, length]: [u8; 2]| matches!(kind, 131 | 137) && length > 2;
    let Some(at) = options.find(packet, world, is_route) else {
        return false;
    };
    let Some([_, length, next, _]) = packet.at::<[u8; 4]>(Link::LEN + at).copied() else {
        return false;
    };
    next <= length
}

impl Translate<Ip4> for V4 {
    #[inline(always)]
    fn wide(address: Ip4) -> Ip4 {
        address
    }

    #[inline(always)]
    fn own(address: Ip4) -> Ip4 {
        address
    }

    #[inline(always)]
    fn leaving(arrival: &Arrival<Ip4>, _: &Flow) -> u16 {
        arrival.total
    }

    #[inline(always)]
    fn forbids_fragments<P: Packet>(packet: &mut P, _: &Arrival<Ip4>, _: &Flow) -> bool {
        dont_fragment(packet)
    }

    #[inline(always)]
    fn rewrite<P: Packet>(
        packet: &mut P,
        arrival: &Arrival<Ip4>,
        flow: &Flow,
        hop: Option<&NextHop>,
    ) -> Option<Reason> {
        match rewrite(packet, arrival, flow, hop) {
            true => None,
            false => Some(Reason::Internal),
        }
    }

    #[inline(always)]
    fn too_big<P: Packet, W: World>(
        packet: &mut P,
        world: &W,
        _: &Arrival<Ip4>,
        _: &Flow,
        mtu: u16,
    ) -> Reason {
        icmp::too_big(packet, world, mtu)
    }

    #[inline(always)]
    fn read_error<P: Packet>(packet: &mut P, error: &mut Error<Ip4>) -> bool {
        Self::read(packet, error)
    }

    #[inline(always)]
    fn is_whole_error<P: Packet>(packet: &mut P, error: &Error<Ip4>) -> bool {
        Self::is_whole(packet, error)
    }

    #[inline(always)]
    fn error_leaving(error: &Error<Ip4>, _: &Flow<Live, Ip4>) -> u16 {
        error.total
    }

    #[inline(always)]
    fn rewrite_error<P: Packet>(
        packet: &mut P,
        error: &Error<Ip4>,
        translated: &Translated<Ip4>,
    ) -> Option<Reason> {
        Self::requote(packet, error, translated)
    }

    #[inline(always)]
    fn reset<P: Packet>(packet: &mut P, arrival: &Arrival<Ip4>) -> Reason {
        reset::answer(packet, arrival)
    }
}

/// For those who have IPv6 on the other side.
impl Translate<Ip6> for V4 {
    #[inline(always)]
    fn wide(address: Ip4) -> Ip6 {
        Ip6::mapped(address)
    }

    #[inline(always)]
    fn own(address: Ip6) -> Ip4 {
        address.unmapped()
    }

    #[inline(always)]
    fn leaving(arrival: &Arrival<Ip6>, _: &Flow<Live, Ip6>) -> u16 {
        cross::length6(arrival)
    }

    /// No router fragments IPv6.
    #[inline(always)]
    fn forbids_fragments<P: Packet>(_: &mut P, _: &Arrival<Ip6>, _: &Flow<Live, Ip6>) -> bool {
        true
    }

    #[inline(always)]
    fn detour<P: Packet, W: World>(
        packet: &mut P,
        world: &W,
        arrival: &Arrival<Ip6>,
        flow: &Flow<Live, Ip6>,
    ) -> Detour {
        // IPv6 has nothing that says what a source route does (RFC 7915 §4.1).
        let has_options = arrival.l4 > Link::LEN + Ipv4::LEN;
        if has_options && has_source_route(packet, world) {
            return Detour::Refused(Reason::SourceRoute);
        }
        if lacks_checksum(packet, arrival) {
            return match packet.len() {
                ..=HELD_FRAME_MAX => Detour::Complete,
                _ => Detour::Refused(Reason::NoChecksum),
            };
        }
        match cuts(packet, world, arrival, flow) {
            0 => Detour::None,
            mtu => Detour::Cut(mtu),
        }
    }

    #[inline(always)]
    fn rewrite<P: Packet>(
        packet: &mut P,
        arrival: &Arrival<Ip6>,
        flow: &Flow<Live, Ip6>,
        hop: Option<&NextHop>,
    ) -> Option<Reason> {
        cross::to_ip6(packet, arrival, flow, hop)
    }

    #[inline(always)]
    fn too_big<P: Packet, W: World>(
        packet: &mut P,
        world: &W,
        arrival: &Arrival<Ip6>,
        _: &Flow<Live, Ip6>,
        mtu: u16,
    ) -> Reason {
        // Who did not forbid fragments does not listen to what is too big.
        if !dont_fragment(packet) {
            return Reason::TooBig;
        }
        let growth = cross::length6(arrival) - arrival.total;
        icmp::too_big(packet, world, mtu.saturating_sub(growth))
    }

    #[inline(always)]
    fn read_error<P: Packet>(packet: &mut P, error: &mut Error<Ip6>) -> bool {
        Self::read(packet, error)
    }

    #[inline(always)]
    fn is_whole_error<P: Packet>(packet: &mut P, error: &Error<Ip6>) -> bool {
        Self::is_whole(packet, error)
    }

    #[inline(always)]
    fn error_leaving(error: &Error<Ip6>, _: &Flow<Live, Ip6>) -> u16 {
        error.total.saturating_add(quoted::GROWTH)
    }

    #[inline(always)]
    fn rewrite_error<P: Packet>(
        packet: &mut P,
        error: &Error<Ip6>,
        translated: &Translated<Ip6>,
    ) -> Option<Reason> {
        quoted::to_ip6(packet, error, translated)
    }

    #[inline(always)]
    fn reset<P: Packet>(packet: &mut P, arrival: &Arrival<Ip6>) -> Reason {
        reset::answer(packet, arrival)
    }
}

/// Gives the IP header its addresses, and the frame its next hop if we send it; nothing if the frame ends
/// before that.
#[inline(always)]
pub fn readdress<P: Packet>(
    packet: &mut P,
    (source, target): (Ip4, Ip4),
    hop: Option<&NextHop>,
) -> Option<()> {
    let ip = packet.at::<Ipv4>(Link::LEN)?;
    let mut sum = Sum::ZERO.swap(ip.source, source).swap(ip.target, target);
    (ip.source, ip.target) = (source, target);
    if hop.is_some() {
        ip.ttl -= 1;
        sum = sum.add2(TTL_DECREMENT);
    }
    ip.check = patch(ip.check, sum.fold());
    if let Some(hop) = hop {
        packet.at::<Link>(0)?.readdress(hop);
    }
    Some(())
}

/// Edits the headers of a flow's packet; `false` if it has none.
#[inline(always)]
fn rewrite<P: Packet>(
    packet: &mut P,
    arrival: &Arrival<Ip4>,
    flow: &Flow,
    hop: Option<&NextHop>,
) -> bool {
    if let Some(hop) = hop {
        let Some(link) = packet.at::<Link>(0) else {
            return false;
        };
        link.readdress(hop);
    }
    let to = flow.to;
    let Some(ip) = packet.at::<Ipv4>(Link::LEN) else {
        return false;
    };
    ip.source = to.source;
    ip.target = to.target;
    match hop {
        Some(_) => {
            ip.ttl -= 1;
            ip.check = patch(ip.check, flow.ip_delta);
        }
        None => {
            let undone = Sum::ZERO
                .add2(flow.ip_delta.to_ne_bytes())
                .swap2(TTL_DECREMENT, [0, 0]);
            ip.check = patch(ip.check, undone.fold());
        }
    }
    transport::rewrite(packet, arrival, flow)
}
