//! ICMP errors of IPv4.

use abi::{Address, FlowKey, Ip4, Protocol, Reason, Tuple};

use super::{Error, QUOTED, Translated, answered, is_all_ones, requote};
use crate::{
    checksum::{Sum, patch, sum_of},
    frame::{Icmp, Ipv4, Link, Packet, Wire},
    ip4::{V4, readdress},
};

impl V4 {
    /// Finds out what an error is about; `false` if that cannot be one of our flows.
    #[inline(never)]
    pub fn read<P: Packet, A: Address>(packet: &mut P, error: &mut Error<A>) -> bool {
        let Some(ip) = packet.at::<Ipv4>(Link::LEN) else {
            return false;
        };
        let (header, total, sender) = (ip.header_len(), ip.total(), ip.source);
        let Some(icmp) = packet.at::<Icmp>(Link::LEN + header) else {
            return false;
        };
        // A redirect is about the sender's own link; source quench means nothing any more (RFC 6633).
        if matches!(icmp.kind, Icmp::REDIRECT | Icmp::SOURCE_QUENCH) {
            return false;
        }
        let quote = Link::LEN + header + Icmp::LEN;
        let Some(quoted) = packet.at::<Ipv4>(quote) else {
            return false;
        };
        let inner = quoted.header_len();
        if !quoted.is_version_4() || inner < Ipv4::LEN || quoted.offset() != 0 {
            return false;
        }
        if (total as usize) < header + Icmp::LEN + inner + QUOTED {
            return false;
        }
        let Some(protocol) = Protocol::from_number(quoted.protocol) else {
            return false;
        };
        let (source, target) = (quoted.source, quoted.target);
        let l4 = quote + inner;
        let Some((source_port, target_port)) = answered(packet, protocol, l4) else {
            return false;
        };
        let answer = Tuple {
            source: A::of_ip4(target),
            target: A::of_ip4(source),
            source_port,
            target_port,
        };
        *error = Error {
            icmp: (Link::LEN + header) as u16,
            quote: quote as u16,
            l4: l4 as u16,
            total,
            source: A::of_ip4(sender),
            key: FlowKey::new(protocol, answer),
            protocol,
        };
        true
    }

    /// Whether the error's checksum and that of the quoted IP header are right (RFC 5508 REQ-3).
    #[inline(always)]
    pub fn is_whole<P: Packet, A: Address>(packet: &mut P, error: &Error<A>) -> bool {
        let end = error.end();
        is_all_ones(sum_of(packet, error.icmp(), end))
            && is_all_ones(sum_of(packet, error.quote(), error.l4()))
    }

    /// Gives the quoted packet the tuple that its sender knows it by, the error its new addresses, and
    /// mends every checksum on the way out: the transport's as far as it is quoted, the quoted
    /// header's, the error's.
    #[inline(never)]
    pub fn requote<P: Packet>(
        packet: &mut P,
        error: &Error<Ip4>,
        translated: &Translated<Ip4>,
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
    error: &Error<Ip4>,
    translated: &Translated<Ip4>,
) -> Option<()> {
    let known = &translated.quoted;
    let quoted = packet.at::<Ipv4>(error.quote())?;
    let addresses = Sum::ZERO
        .swap(quoted.source, known.source)
        .swap(quoted.target, known.target);
    (quoted.source, quoted.target) = (known.source, known.target);
    let check = quoted.check;
    quoted.check = patch(check, addresses.fold());
    let mut sum = addresses.swap2(check, quoted.check);
    let covered = match error.protocol {
        Protocol::Icmp | Protocol::Sctp | Protocol::Gre | Protocol::Esp => Sum::ZERO,
        Protocol::Tcp | Protocol::Udp => addresses,
    };
    let ports = (known.source_port, known.target_port);
    let changed = requote(packet, error, ports, covered)?;
    sum = sum.add2(changed.fold().to_ne_bytes());
    let icmp = packet.at::<Icmp>(error.icmp())?;
    icmp.check = patch(icmp.check, sum.fold());

    let ends = (translated.source, translated.target);
    readdress(packet, ends, translated.hop())
}
