//! ICMP errors from one version of IP to the other (RFC 7915 §4.2, §4.3, §5.2, §5.3).
//!
//! The transport header that is quoted stays where it is; everything before it is written anew.

use abi::{Ip6, Port, Protocol, Reason, limits::MTU6_MIN};

use super::{Error, Translated, requote};
use crate::{
    checksum::{Sum, sum_of},
    cross::{self, Header4, Header6, make_room},
    frame::{Fragment, Icmp, Ipv4, Ipv6, Link, Packet, Wire, ethertype, icmp6},
    icmp6::seal,
    reset::{copy, put},
};

/// Where a quoted transport header is, as IPv4 without options.
const L4_IN_4: usize = Link::LEN + 2 * Ipv4::LEN + Icmp::LEN;
/// The same as IPv6.
const L4_IN_6: usize = Link::LEN + 2 * Ipv6::LEN + Icmp::LEN;
/// The longest ICMPv6 error (RFC 4443 §2.4 (c)).
const LONGEST: usize = MTU6_MIN as usize;

/// By how much an error without options becomes longer as IPv6.
pub const GROWTH: u16 = (L4_IN_6 - L4_IN_4) as u16;

/// Type, code and the four bytes behind the checksum.
#[derive(Clone, Copy)]
struct Message {
    kind: u8,
    code: u8,
    rest: [u8; 4],
}

/// Makes an ICMPv6 error of an ICMP one; says why not otherwise.
#[inline(never)]
pub fn to_ip6<P: Packet>(
    packet: &mut P,
    error: &Error<Ip6>,
    translated: &Translated<Ip6>,
) -> Option<Reason> {
    match crossed6(packet, error, translated) {
        Some(true) => None,
        Some(false) => Some(Reason::IcmpError),
        None => Some(Reason::Internal),
    }
}

/// `false` if such an error means nothing on the other side.
#[inline(always)]
fn crossed6<P: Packet>(
    packet: &mut P,
    error: &Error<Ip6>,
    translated: &Translated<Ip6>,
) -> Option<bool> {
    let macs = match translated.is_sent {
        true => translated.hop.macs,
        false => packet.at::<Link>(0)?.words(),
    };
    let ip = copy::<Ipv4, _>(packet, Link::LEN)?;
    let icmp = copy::<Icmp, _>(packet, error.icmp())?;
    let quoted = copy::<Ipv4, _>(packet, error.quote())?;
    let known = &translated.quoted;
    let payload = quoted.total().saturating_sub(quoted.header_len() as u16);
    let Some(mut message) = message6(&icmp, quoted.total(), translated) else {
        return Some(false);
    };
    let next = match error.protocol {
        Protocol::Tcp | Protocol::Udp | Protocol::Sctp | Protocol::Gre | Protocol::Esp => {
            quoted.protocol
        }
        Protocol::Icmp => icmp6::NUMBER,
    };
    let mut covered = Sum::ZERO.add(known.source).add(known.target);
    if let Protocol::Icmp = error.protocol {
        let kind = packet.at::<[u8; 2]>(error.l4())?;
        let [old, code] = *kind;
        let new = match old {
            Icmp::ECHO => icmp6::ECHO,
            Icmp::ECHO_REPLY => icmp6::ECHO_REPLY,
            _ => return Some(false),
        };
        kind[0] = new;
        covered = covered
            .swap2([old, code], [new, code])
            .add2(payload.to_be_bytes())
            .add2([0, icmp6::NUMBER]);
    } else {
        covered = covered.remove(quoted.source).remove(quoted.target);
    }
    requote(
        packet,
        error,
        (known.source_port, known.target_port),
        covered,
    )?;

    // From the quoted transport header on.
    let mut rest = error.end().checked_sub(error.l4())?;
    // What follows the quotation, where ICMP says how long that is (RFC 4884): in ICMPv6 only some errors
    // do, and it must be whole words of eight bytes. Else what follows is cut off.
    let words = icmp.id.0[1] as usize;
    if words != 0 && !matches!(icmp.kind, Icmp::UNREACHABLE if icmp.code == 4) {
        let length = (4 * words).saturating_sub(quoted.header_len()) + Ipv6::LEN;
        let says_so = matches!(message.kind, icmp6::UNREACHABLE | icmp6::TIME_EXCEEDED);
        if says_so && length % 8 == 0 {
            message.rest[0] = (length / 8) as u8;
        } else if length - Ipv6::LEN < rest {
            rest = length - Ipv6::LEN;
        }
    }
    if rest > LONGEST - (L4_IN_6 - Link::LEN) {
        rest = LONGEST - (L4_IN_6 - Link::LEN);
    }
    if !make_room(packet, error.l4(), L4_IN_6) || !packet.resize(L4_IN_6 + rest) {
        return None;
    }
    let length = Icmp::LEN + Ipv6::LEN + rest;
    let header = Header6 {
        class: ip.tos,
        payload: length as u16,
        next: icmp6::NUMBER,
        hops: ip.ttl - translated.is_sent as u8,
    };
    let inner = Header6 {
        class: quoted.tos,
        payload,
        next,
        hops: quoted.ttl,
    };
    let addresses = (translated.source, translated.target);
    let icmp = Link::LEN + Ipv6::LEN;
    let is_written = put(packet, 0, Link::of(macs, ethertype::IPV6))
        && put(packet, Link::LEN, header.bytes(addresses))
        && put(packet, icmp, message.bytes())
        && put(
            packet,
            icmp + Icmp::LEN,
            inner.bytes((known.source, known.target)),
        );
    (is_written && seal(packet, icmp, length, addresses)).then_some(true)
}

/// Makes an ICMP error of an ICMPv6 one; says why not otherwise.
#[inline(never)]
pub fn to_ip4<P: Packet>(
    packet: &mut P,
    error: &Error<Ip6>,
    translated: &Translated<Ip6>,
) -> Option<Reason> {
    match crossed4(packet, error, translated) {
        Some(true) => None,
        Some(false) => Some(Reason::IcmpError),
        None => Some(Reason::Internal),
    }
}

/// `false` if such an error means nothing on the other side.
#[inline(always)]
fn crossed4<P: Packet>(
    packet: &mut P,
    error: &Error<Ip6>,
    translated: &Translated<Ip6>,
) -> Option<bool> {
    let addresses = (translated.source.unmapped(), translated.target.unmapped());
    let known = (
        translated.quoted.source.unmapped(),
        translated.quoted.target.unmapped(),
    );
    let macs = match translated.is_sent {
        true => translated.hop.macs,
        false => packet.at::<Link>(0)?.words(),
    };
    let ip = copy::<Ipv6, _>(packet, Link::LEN)?;
    let icmp = copy::<Icmp, _>(packet, error.icmp())?;
    let quoted = copy::<Ipv6, _>(packet, error.quote())?;
    let mut payload = u16::from_be_bytes(quoted.payload);
    let before = error.l4().checked_sub(error.quote())?;
    let mut covered = Sum::ZERO.remove(quoted.source).remove(quoted.target);
    if let Protocol::Icmp = error.protocol {
        if before > Ipv6::LEN {
            return Some(false);
        }
        let kind = packet.at::<[u8; 2]>(error.l4())?;
        let [old, code] = *kind;
        let new = match old {
            icmp6::ECHO => Icmp::ECHO,
            _ => Icmp::ECHO_REPLY,
        };
        kind[0] = new;
        covered = covered
            .swap2([old, code], [new, code])
            .swap2(payload.to_be_bytes(), [0; 2])
            .swap2([0, icmp6::NUMBER], [0; 2]);
    } else {
        covered = covered.add(known.0).add(known.1);
    }
    let ports = (translated.quoted.source_port, translated.quoted.target_port);
    requote(packet, error, ports, covered)?;

    let shrinks = before.checked_sub(Ipv4::LEN)?;
    let Some(mut message) = message4(&icmp, translated, shrinks as u16) else {
        return Some(false);
    };
    let (mut id, mut fragment) = ([0; 2], [0x40, 0]);
    if before > Ipv6::LEN {
        let header = packet.at::<Fragment>(error.quote() + Ipv6::LEN)?;
        payload = payload.saturating_sub(Fragment::LEN as u16);
        (id, fragment) = header.in_ip4();
    }
    // What follows the quotation begins at a multiple of eight bytes, so also of four.
    let eights = icmp.id.0[0] as usize;
    let says_so = matches!(icmp.kind, icmp6::UNREACHABLE | icmp6::TIME_EXCEEDED);
    if says_so && eights * 2 > shrinks / 4 {
        message.rest[1] = (eights * 2 - shrinks / 4) as u8;
    }
    let rest = error.end().checked_sub(error.l4())?;
    let end = L4_IN_4 + rest;
    let header = Header4 {
        tos: ip.class(),
        total: (end - Link::LEN) as u16,
        id: icmp.check,
        fragment: [0; 2],
        ttl: ip.hops - translated.is_sent as u8,
        protocol: Protocol::Icmp,
        addresses,
    };
    let inner = Header4 {
        tos: quoted.class(),
        total: payload.saturating_add(Ipv4::LEN as u16),
        id,
        fragment,
        ttl: quoted.hops,
        protocol: error.protocol,
        addresses: known,
    };
    if !make_room(packet, error.l4(), L4_IN_4) || !packet.resize(end) {
        return None;
    }
    let icmp = Link::LEN + Ipv4::LEN;
    let is_written = put(packet, 0, Link::of(macs, ethertype::IPV4))
        && put(packet, Link::LEN, header.bytes())
        && put(packet, icmp, message.bytes())
        && put(packet, icmp + Icmp::LEN, inner.bytes());
    let sum = u16::try_from(sum_of(packet, icmp, end)).ok()?;
    packet.at::<Icmp>(icmp)?.check = (!sum).to_ne_bytes();
    is_written.then_some(true)
}

impl Message {
    #[inline(always)]
    const fn new(kind: u8, code: u8) -> Self {
        Self {
            kind,
            code,
            rest: [0; 4],
        }
    }

    /// The message, without its checksum.
    #[inline(always)]
    const fn bytes(&self) -> Icmp {
        let [a, b, c, d] = self.rest;
        Icmp {
            kind: self.kind,
            code: self.code,
            check: [0; 2],
            id: Port([a, b]),
            seq: [c, d],
        }
    }
}

/// What an ICMP error is in ICMPv6 (RFC 7915 §4.2).
#[inline(always)]
fn message6(icmp: &Icmp, quoted: u16, translated: &Translated<Ip6>) -> Option<Message> {
    let (no_route, prohibited, port) = (0, 1, 4);
    Some(match (icmp.kind, icmp.code) {
        (Icmp::UNREACHABLE, 2) => Message {
            // The field that says which protocol follows.
            rest: [0, 0, 0, 6],
            ..Message::new(icmp6::PARAMETER_PROBLEM, 1)
        },
        (Icmp::UNREACHABLE, 3) => Message::new(icmp6::UNREACHABLE, port),
        (Icmp::UNREACHABLE, 4) => {
            let told = match u16::from_be_bytes(icmp.seq) {
                0 => plateau(quoted),
                mtu => mtu,
            };
            let mut mtu = told.saturating_add(cross::GROWTH as u16);
            if translated.is_sent && translated.hop.mtu < mtu {
                mtu = translated.hop.mtu;
            }
            let mtu = if mtu < LONGEST as u16 {
                LONGEST as u16
            } else {
                mtu
            };
            let [high, low] = mtu.to_be_bytes();
            Message {
                rest: [0, 0, high, low],
                ..Message::new(icmp6::TOO_BIG, 0)
            }
        }
        (Icmp::UNREACHABLE, 9 | 10 | 13 | 15) => Message::new(icmp6::UNREACHABLE, prohibited),
        (Icmp::UNREACHABLE, 0 | 1 | 5..=8 | 11 | 12) => Message::new(icmp6::UNREACHABLE, no_route),
        (Icmp::TIME_EXCEEDED, code) => Message::new(icmp6::TIME_EXCEEDED, code),
        (Icmp::PARAMETER_PROBLEM, 0 | 2) => {
            let pointer = match icmp.id.0[0] {
                0 => 0,
                1 => 1,
                2 | 3 => 4,
                8 => 7,
                9 => 6,
                12..=15 => 8,
                16..=19 => 24,
                _ => return None,
            };
            Message {
                rest: [0, 0, 0, pointer],
                ..Message::new(icmp6::PARAMETER_PROBLEM, 0)
            }
        }
        _ => return None,
    })
}

/// What the next link's MTU is likely to be if a packet of this length was too big for it and its
/// router does not say (RFC 1191 §7.1).
#[inline(always)]
const fn plateau(length: u16) -> u16 {
    match length {
        32_001.. => 32_000,
        17_915.. => 17_914,
        8_167.. => 8_166,
        4_353.. => 4_352,
        2_003.. => 2_002,
        1_493.. => 1_492,
        1_007.. => 1_006,
        509.. => 508,
        297.. => 296,
        _ => 68,
    }
}

/// What an ICMPv6 error is in ICMP, about a packet that shrinks by so many bytes as IPv4 (RFC 7915 §5.2).
#[inline(always)]
fn message4(icmp: &Icmp, translated: &Translated<Ip6>, shrinks: u16) -> Option<Message> {
    let (host, protocol, port, prohibited) = (1, 2, 3, 10);
    Some(match (icmp.kind, icmp.code) {
        (icmp6::UNREACHABLE, 0 | 2 | 3) => Message::new(Icmp::UNREACHABLE, host),
        (icmp6::UNREACHABLE, 1) => Message::new(Icmp::UNREACHABLE, prohibited),
        (icmp6::UNREACHABLE, 4) => Message::new(Icmp::UNREACHABLE, port),
        (icmp6::TOO_BIG, _) => {
            let ([a, b], [c, d]) = (icmp.id.0, icmp.seq);
            let told = u32::from_be_bytes([a, b, c, d]);
            let told = if told < u16::MAX as u32 {
                told as u16
            } else {
                u16::MAX
            };
            let mut mtu = told.saturating_sub(shrinks);
            if translated.is_sent && translated.hop.mtu < mtu {
                mtu = translated.hop.mtu;
            }
            let [high, low] = mtu.to_be_bytes();
            Message {
                rest: [0, 0, high, low],
                ..Message::new(Icmp::UNREACHABLE, 4)
            }
        }
        (icmp6::TIME_EXCEEDED, code) => Message::new(Icmp::TIME_EXCEEDED, code),
        (icmp6::PARAMETER_PROBLEM, 0) => {
            let ([a, b], [c, d]) = (icmp.id.0, icmp.seq);
            let pointer = match u32::from_be_bytes([a, b, c, d]) {
                0 => 0,
                1 => 1,
                4 | 5 => 2,
                6 => 9,
                7 => 8,
                8..=23 => 12,
                24..=39 => 16,
                _ => return None,
            };
            Message {
                rest: [pointer, 0, 0, 0],
                ..Message::new(Icmp::PARAMETER_PROBLEM, 0)
            }
        }
        (icmp6::PARAMETER_PROBLEM, 1) => Message::new(Icmp::UNREACHABLE, protocol),
        _ => return None,
    })
}
