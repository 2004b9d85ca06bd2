//! IPv6: how its packets are read and rewritten (RFC 8200).
//!
//! Most packets have their transport header behind the IP header. Those that have something in between
//! are read by a walk of its own, which the first program for IPv6 does without.

use abi::{
    Address, Flow, FlowKey, Ip6, Live, NextHop, Port, Protocol, Reason, Tuple, limits::MTU6_MIN,
};

use crate::{
    Arrival, Begun, Piece, cross,
    frame::{Fragment, Icmp, Ipv6, Link, Packet, Sctp, Tcp, Udp, Wire, extension, icmp6},
    icmp6 as answers,
    ip::{Detour, Identity, Translate, Unusual, Version},
    quoted::{self, Error, Translated},
    reset, transport,
    world::World,
};

/// See the module.
pub struct V6;

/// Where what follows the IP header begins in a frame.
const BODY: usize = Link::LEN + Ipv6::LEN;

/// Headers between the IP and the transport header, at most; hosts send one or two.
const EXTENSIONS_MAX: usize = 8;
/// Bytes that they take, less one, at most.
const EXTENSIONS_MASK: usize = 0xff;

/// What the IP header says, but for the addresses.
struct Header {
    next: u8,
    total: u16,
}

#[inline(always)]
fn header<P: Packet>(packet: &mut P, bytes: u64) -> Result<Header, Unusual> {
    let Some(link) = packet.at::<Link>(0) else {
        return Err(Unusual::Leaves(Reason::Malformed));
    };
    if link.is_multicast() {
        return Err(Unusual::Leaves(Reason::NotForUs));
    }
    let Some(ip) = packet.at::<Ipv6>(Link::LEN) else {
        return Err(Unusual::Leaves(Reason::Malformed));
    };
    let total = ip.total();
    let is_whole = ip.is_version_6() && Link::LEN + total <= bytes as usize;
    if !is_whole || total > u16::MAX as usize {
        return Err(Unusual::Leaves(Reason::Malformed));
    }
    // In our tables such an address would be an IPv4 one; nobody sends it.
    if ip.source.ip4().is_some() || ip.target.ip4().is_some() {
        return Err(Unusual::Leaves(Reason::Malformed));
    }
    if is_of_the_link(&ip.source) || is_of_the_link(&ip.target) {
        return Err(Unusual::Leaves(Reason::NotForUs));
    }
    Ok(Header {
        next: ip.next,
        total: total as u16,
    })
}

/// Whether an address means something on its link only (RFC 4291 §2.5.6), or is no host's.
#[inline(always)]
const fn is_of_the_link(address: &Ip6) -> bool {
    let [first, second, ..] = address.0;
    first == 0xff || (first == 0xfe && second & 0xc0 == 0x80)
}

/// A packet whose transport header follows the IP header.
#[inline(always)]
pub fn plain<P: Packet>(packet: &mut P, bytes: u64) -> Result<Arrival<Ip6>, Unusual> {
    let header = header(packet, bytes)?;
    read(packet, header, bytes, BODY, Piece::Whole)
}

/// Reads the transport header at `l4`.
#[inline(always)]
fn read<P: Packet>(
    packet: &mut P,
    header: Header,
    bytes: u64,
    l4: usize,
    piece: Piece,
) -> Result<Arrival<Ip6>, Unusual> {
    let cut = match piece {
        Piece::Whole => Reason::Protocol,
        Piece::First | Piece::Later => Reason::Fragment,
    };
    let end = Link::LEN + header.total as usize;
    let (protocol, source_port, target_port, flags) = match header.next {
        6 => match packet.at::<Tcp>(l4) {
            Some(tcp) if l4 + Tcp::LEN <= end => (Protocol::Tcp, tcp.source, tcp.target, tcp.flags),
            _ => return Err(Unusual::Part(cut)),
        },
        17 => match packet.at::<Udp>(l4) {
            Some(udp) if l4 + Udp::LEN <= end => (Protocol::Udp, udp.source, udp.target, 0),
            _ => return Err(Unusual::Part(cut)),
        },
        icmp6::NUMBER => match packet.at::<Icmp>(l4) {
            Some(icmp) if l4 + Icmp::LEN <= end => match icmp.kind {
                icmp6::ECHO => (Protocol::Icmp, icmp.id, Port::new(0), Icmp::ECHO),
                icmp6::ECHO_REPLY => (Protocol::Icmp, Port::new(0), icmp.id, 0),
                kind if icmp6::is_of_the_link(kind) => {
                    return Err(Unusual::Leaves(Reason::NotForUs));
                }
                kind if icmp6::is_error(kind) => return Err(Unusual::Part(Reason::IcmpError)),
                _ => return Err(Unusual::Part(Reason::NotAQuery)),
            },
            _ => return Err(Unusual::Part(cut)),
        },
        132 => match packet.at::<Sctp>(l4) {
            Some(sctp) if l4 + Sctp::LEN <= end => (Protocol::Sctp, sctp.source, sctp.target, 0),
            _ => return Err(Unusual::Part(cut)),
        },
        47 if l4 < end => (Protocol::Gre, Port::new(0), Port::new(0), 0),
        50 if l4 < end => (Protocol::Esp, Port::new(0), Port::new(0), 0),
        _ => return Err(Unusual::Part(Reason::Protocol)),
    };
    let Some(ip) = packet.at::<Ipv6>(Link::LEN) else {
        return Err(Unusual::Leaves(Reason::Internal));
    };
    let tuple = Tuple {
        source: ip.source,
        target: ip.target,
        source_port,
        target_port,
    };
    Ok(Arrival {
        key: FlowKey::new(protocol, tuple),
        protocol,
        l4,
        fragment: 0,
        total: header.total,
        bytes,
        flags,
        piece,
        begun: Begun { id: [0; 4], end: 0 },
    })
}

/// The units of eight bytes that follow a fragment header, which is what is in fragments.
#[inline(always)]
const fn units(total: u16, fragment: usize) -> u16 {
    let before = (fragment - Link::LEN + Fragment::LEN) as u16;
    total.wrapping_sub(before).div_ceil(8)
}

/// A protocol's number as tables know it: ICMPv6 is ICMP, and ICMP, which no IPv6 packet carries, is
/// nothing.
#[inline(always)]
const fn number(next: u8) -> u8 {
    match next {
        icmp6::NUMBER => Protocol::Icmp as u8,
        1 => icmp6::NUMBER,
        next => next,
    }
}

/// What a walk over the extension headers found.
#[derive(Clone, Copy)]
struct Walked {
    /// The transport's number, or that of the header at which the walk ended.
    next: u8,
    /// Where that begins behind the IP header, in bytes.
    length: usize,
    /// The same of a fragment header, counted from one; zero if there is none.
    fragment: usize,
    /// Whether the headers end in the fragment's first packet, or there is no fragment header.
    has_transport: bool,
}

impl Walked {
    // In one word, because a function that is not inlined returns no more.
    const NOTHING: u64 = u64::MAX;
    /// Has every bit that a place can have, one header behind the last.
    const BOUND: usize = 2 * EXTENSIONS_MASK + 1;

    #[inline(always)]
    const fn word(self) -> u64 {
        let transport = self.has_transport as u64;
        self.next as u64
            | (self.length as u64) << 8
            | (self.fragment as u64) << 24
            | transport << 40
    }

    #[inline(always)]
    const fn of(word: u64) -> Option<Self> {
        if word == Self::NOTHING {
            return None;
        }
        Some(Self {
            next: word as u8,
            // No walk is that long; but the verifier knows a bound only when it sees it.
            length: (word >> 8) as usize & Self::BOUND,
            fragment: (word >> 24) as usize & Self::BOUND,
            has_transport: word >> 40 & 1 != 0,
        })
    }
}

/// Walks over the extension headers; [`Walked::NOTHING`] if they make no sense, are too many, or ask
/// for another node to be visited first (RFC 7915 §5.1).
#[inline(never)]
fn walk<P: Packet, W: World>(packet: &mut P, world: &W, first: u8) -> u64 {
    let Some(place) = world.place() else {
        return Walked::NOTHING;
    };
    place.set(0);
    let (mut next, mut fragment) = (first, 0);
    let mut step = 0;
    while step < EXTENSIONS_MAX {
        let at = place.get() as usize & EXTENSIONS_MASK;
        let is_extension = matches!(
            next,
            extension::HOP_BY_HOP
                | extension::ROUTING
                | extension::DESTINATION
                | extension::FRAGMENT
        );
        if !is_extension {
            return Walked {
                next,
                length: at,
                fragment,
                has_transport: true,
            }
            .word();
        }
        let Some(header) = packet.at::<Fragment>(BODY + at) else {
            return Walked::NOTHING;
        };
        let mut length = 8;
        if next == extension::FRAGMENT {
            fragment = at + 1;
            if header.offset() != 0 {
                return Walked {
                    next: header.next,
                    length: at + 8,
                    fragment,
                    has_transport: false,
                }
                .word();
            }
        } else {
            // What a fragment header calls reserved is the length here, and of a routing header its
            // fourth byte how many nodes are left.
            let [_, left] = header.offset;
            if next == extension::ROUTING && left != 0 {
                return Walked::NOTHING;
            }
            length += 8 * header.reserved as usize;
        }
        if at + length > EXTENSIONS_MASK {
            return Walked::NOTHING;
        }
        place.set((at + length) as u32);
        next = header.next;
        step += 1;
    }
    Walked::NOTHING
}

impl Version for V6 {
    type Own = Ip6;

    #[inline(always)]
    fn parse<P: Packet, W: World>(
        packet: &mut P,
        world: &W,
        bytes: u64,
    ) -> Result<Arrival<Ip6>, Unusual> {
        let mut header = header(packet, bytes)?;
        let Some(walked) = Walked::of(walk(packet, world, header.next)) else {
            return Err(Unusual::Part(Reason::Protocol));
        };
        if !walked.has_transport {
            return Err(Unusual::Part(Reason::Fragment));
        }
        let (mut fragment, mut piece) = (0, Piece::Whole);
        let mut begun = Begun { id: [0; 4], end: 0 };
        if walked.fragment != 0 {
            fragment = BODY + walked.fragment - 1;
            let Some(found) = packet.at::<Fragment>(fragment) else {
                return Err(Unusual::Leaves(Reason::Malformed));
            };
            begun = Begun {
                id: found.id,
                end: units(header.total, fragment) as u32,
            };
            if found.has_more() {
                piece = Piece::First;
            }
        }
        header.next = walked.next;
        let mut arrival = read(packet, header, bytes, BODY + walked.length, piece)?;
        arrival.fragment = fragment;
        arrival.begun = begun;
        Ok(arrival)
    }

    #[inline(always)]
    fn identify<P: Packet, W: World>(packet: &mut P, world: &W) -> Option<Identity<Ip6>> {
        let ip = packet.at::<Ipv6>(Link::LEN)?;
        let (source, target, first, total) = (ip.source, ip.target, ip.next, ip.total() as u16);
        let walked = Walked::of(walk(packet, world, first))?;
        let protocol = number(walked.next);
        if walked.fragment == 0 {
            return None;
        }
        let fragment = BODY + walked.fragment - 1;
        let header = packet.at::<Fragment>(fragment)?;
        let start = header.offset();
        let end = start.wrapping_add(units(total, fragment));
        Some(Identity {
            source,
            target,
            id: header.id,
            protocol,
            start,
            end,
            fragment,
            l4: fragment + Fragment::LEN,
            total,
        })
    }

    #[inline(always)]
    fn addresses<P: Packet, W: World>(packet: &mut P, world: &W) -> Option<(Ip6, Ip6, u8)> {
        let ip = packet.at::<Ipv6>(Link::LEN)?;
        let (source, target, first) = (ip.source, ip.target, ip.next);
        let next = Walked::of(walk(packet, world, first)).map_or(first, |walked| walked.next);
        Some((source, target, number(next)))
    }

    #[inline(always)]
    fn hops<P: Packet>(packet: &mut P) -> Option<u8> {
        packet.at::<Ipv6>(Link::LEN).map(|ip| ip.hops)
    }

    #[inline(always)]
    fn time_exceeded<P: Packet, W: World>(packet: &mut P, world: &W) -> Reason {
        answers::time_exceeded(packet, world)
    }

    #[inline(always)]
    fn prohibited<P: Packet, W: World>(packet: &mut P, world: &W) -> bool {
        answers::prohibited(packet, world)
    }
}

impl Translate<Ip6> for V6 {
    #[inline(always)]
    fn wide(address: Ip6) -> Ip6 {
        address
    }

    #[inline(always)]
    fn own(address: Ip6) -> Ip6 {
        address
    }

    #[inline(always)]
    fn leaving(arrival: &Arrival<Ip6>, flow: &Flow<Live, Ip6>) -> u16 {
        match flow.to.is_ip4() {
            true => cross::length4(arrival),
            false => arrival.total,
        }
    }

    /// As IPv4 a packet may be fragmented if it is so short that it needs no Don't Fragment
    /// (RFC 7915 §5.1).
    #[inline(always)]
    fn forbids_fragments<P: Packet>(
        _: &mut P,
        arrival: &Arrival<Ip6>,
        flow: &Flow<Live, Ip6>,
    ) -> bool {
        !flow.to.is_ip4() || !cross::may_fragment(arrival)
    }

    /// IPv4 has no headers that could stand in all fragments but the first (RFC 7915 §5.1.1).
    #[inline(always)]
    fn detour<P: Packet, W: World>(
        _: &mut P,
        _: &W,
        arrival: &Arrival<Ip6>,
        flow: &Flow<Live, Ip6>,
    ) -> Detour {
        let is_between = arrival.fragment != 0 && arrival.l4 > arrival.fragment + Fragment::LEN;
        match is_between && flow.to.is_ip4() {
            true => Detour::Refused(Reason::Protocol),
            false => Detour::None,
        }
    }

    #[inline(always)]
    fn rewrite<P: Packet>(
        packet: &mut P,
        arrival: &Arrival<Ip6>,
        flow: &Flow<Live, Ip6>,
        hop: Option<&NextHop>,
    ) -> Option<Reason> {
        if flow.to.is_ip4() {
            return cross::to_ip4(packet, arrival, flow, hop);
        }
        match rewrite(packet, arrival, flow, hop) {
            true => None,
            false => Some(Reason::Internal),
        }
    }

    #[inline(always)]
    fn too_big<P: Packet, W: World>(
        packet: &mut P,
        world: &W,
        _: &Arrival<Ip6>,
        flow: &Flow<Live, Ip6>,
        mtu: u16,
    ) -> Reason {
        let mut mtu = mtu;
        if flow.to.is_ip4() {
            mtu = mtu.saturating_add(cross::GROWTH as u16);
            // Nobody believes in less (RFC 8201 §4), and what is as short may be fragmented as IPv4.
            if mtu < MTU6_MIN {
                mtu = MTU6_MIN;
            }
        }
        answers::too_big(packet, world, mtu)
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
    fn error_leaving(error: &Error<Ip6>, flow: &Flow<Live, Ip6>) -> u16 {
        match flow.to.is_ip4() {
            true => error.total.saturating_sub(quoted::GROWTH),
            false => error.total,
        }
    }

    #[inline(always)]
    fn rewrite_error<P: Packet>(
        packet: &mut P,
        error: &Error<Ip6>,
        translated: &Translated<Ip6>,
    ) -> Option<Reason> {
        match translated.target.ip4() {
            Some(_) => quoted::to_ip4(packet, error, translated),
            None => Self::requote(packet, error, translated),
        }
    }

    #[inline(always)]
    fn reset<P: Packet>(packet: &mut P, arrival: &Arrival<Ip6>) -> Reason {
        reset::answer6(packet, arrival)
    }
}

/// Gives the IP header its addresses, and the frame its next hop if we send it; nothing if the frame ends
/// before that.
#[inline(always)]
pub fn readdress<P: Packet>(
    packet: &mut P,
    (source, target): (&Ip6, &Ip6),
    hop: Option<&NextHop>,
) -> Option<()> {
    let ip = packet.at::<Ipv6>(Link::LEN)?;
    ip.source = *source;
    ip.target = *target;
    if let Some(hop) = hop {
        ip.hops -= 1;
        packet.at::<Link>(0)?.readdress(hop);
    }
    Some(())
}

/// Edits the headers of a flow's packet; `false` if it has none.
#[inline(always)]
fn rewrite<P: Packet>(
    packet: &mut P,
    arrival: &Arrival<Ip6>,
    flow: &Flow<Live, Ip6>,
    hop: Option<&NextHop>,
) -> bool {
    let to = &flow.to;
    readdress(packet, (&to.source, &to.target), hop).is_some()
        && transport::rewrite(packet, arrival, flow)
}
