//! ICMPv6 errors.

use abi::{FlowKey, Ip6, Protocol, Reason, Tuple};

use super::{Error, QUOTED, Translated, answered, is_all_ones, requote};
use crate::{
    checksum::{Sum, patch, sum_of},
    frame::{Fragment, Icmp, Ipv6, Link, Packet, Wire, extension, icmp6},
    ip6::{V6, readdress},
};

/// Where an error begins that has no extension headers before it.
pub const ICMP: usize = Link::LEN + Ipv6::LEN;
/// What it quotes.
pub const QUOTE: usize = ICMP + Icmp::LEN;

impl V6 {
    /// Finds out what an error is about; `false` if that cannot be one of our flows. Errors behind
    /// extension headers, and about packets with others than a first fragment's, are nobody's.
    #[inline(never)]
    pub fn read<P: Packet>(packet: &mut P, error: &mut Error<Ip6>) -> bool {
        let Some(ip) = packet.at::<Ipv6>(Link::LEN) else {
            return false;
        };
        let (total, sender) = (ip.total(), ip.source);
        if ip.next != icmp6::NUMBER {
            return false;
        }
        let Some(quoted) = packet.at::<Ipv6>(QUOTE) else {
            return false;
        };
        let (source, target, mut next) = (quoted.source, quoted.target, quoted.next);
        if !quoted.is_version_6() {
            return false;
        }
        let mut l4 = QUOTE + Ipv6::LEN;
        if next == extension::FRAGMENT {
            let Some(fragment) = packet.at::<Fragment>(l4) else {
                return false;
            };
            if fragment.offset() != 0 {
                return false;
            }
            next = fragment.next;
            l4 += Fragment::LEN;
        }
        let protocol = match next {
            6 => Protocol::Tcp,
            17 => Protocol::Udp,
            icmp6::NUMBER => Protocol::Icmp,
            47 => Protocol::Gre,
            50 => Protocol::Esp,
            132 => Protocol::Sctp,
            _ => return false,
        };
        if Link::LEN + total < l4 + QUOTED {
            return false;
        }
        let Some((source_port, target_port)) = answered(packet, protocol, l4) else {
            return false;
        };
        let answer = Tuple {
            source: target,
            target: source,
            source_port,
            target_port,
        };
        *error = Error {
            icmp: ICMP as u16,
            quote: QUOTE as u16,
            l4: l4 as u16,
            total: total as u16,
            source: sender,
            key: FlowKey::new(protocol, answer),
            protocol,
        };
        true
    }

    /// Whether the error's checksum is right.
    #[inline(always)]
    pub fn is_whole<P: Packet>(packet: &mut P, error: &Error<Ip6>) -> bool {
        let end = error.end();
        let Ok(sum) = u16::try_from(sum_of(packet, ICMP, end)) else {
            return false;
        };
        let Some(ip) = packet.at::<Ipv6>(Link::LEN) else {
            return false;
        };
        let sum = Sum::ZERO
            .add(ip.source)
            .add(ip.target)
            .add2(ip.payload)
            .add2([0, icmp6::NUMBER])
            .add2(sum.to_ne_bytes());
        is_all_ones(sum.fold() as u64)
    }

    /// Gives the quoted packet the tuple that its sender knows it by, the error its new addresses, and
    /// mends every checksum on the way out.
    #[inline(never)]
    pub fn requote<P: Packet>(
        packet: &mut P,
        error: &Error<Ip6>,
        translated: &Translated<Ip6>,
    ) -> Option<Reason> {
        match requoted(packet, error, translated) {
            Some(()) => None,
            None => Some(Reason::Internal),
        }
    }
}

#[inline(always)]
fn requoted<P: Packet>(
    packet: &mut P,
    error: &Error<Ip6>,
    translated: &Translated<Ip6>,
) -> Option<()> {
    let known = &translated.quoted;
    let quoted = packet.at::<Ipv6>(QUOTE)?;
    let addresses = Sum::ZERO
        .swap(quoted.source, known.source)
        .swap(quoted.target, known.target);
    (quoted.source, quoted.target) = (known.source, known.target);
    let ports = (known.source_port, known.target_port);
    let changed = requote(packet, error, ports, addresses)?;

    let ip = packet.at::<Ipv6>(Link::LEN)?;
    let outer = Sum::ZERO
        .swap(ip.source, translated.source)
        .swap(ip.target, translated.target);
    let sum = addresses
        .add2(changed.fold().to_ne_bytes())
        .add2(outer.fold().to_ne_bytes());
    let icmp = packet.at::<Icmp>(ICMP)?;
    icmp.check = patch(icmp.check, sum.fold());
    let ends = (&translated.source, &translated.target);
    readdress(packet, ends, translated.hop())
}
