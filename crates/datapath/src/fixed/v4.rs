//! IPv4: the header has a checksum, and those of some transports cover the addresses.

use abi::{FlowKey, Ip4, NextHop, Protocol, Reason, Tuple};

use super::{DCCP, Ends, Renumber, checksum_at};
use crate::{
    checksum::{Sum, patch, patch_udp},
    frame::{Icmp, Ipv4, Link, Packet, Wire},
    icmp,
    ip4::{V4, readdress},
    quoted::Error,
    world::World,
};

impl Renumber<Ip4> for V4 {
    #[inline(always)]
    fn length<P: Packet>(packet: &mut P) -> Option<(u16, bool)> {
        let ip = packet.at::<Ipv4>(Link::LEN)?;
        Some((ip.total(), ip.dont_fragment()))
    }

    #[inline(never)]
    fn renumber<P: Packet>(
        packet: &mut P,
        ends: &Ends<Ip4>,
        hop: Option<&NextHop>,
    ) -> Option<Reason> {
        let Some(ip) = packet.at::<Ipv4>(Link::LEN) else {
            return Some(Reason::Internal);
        };
        let header = ip.header_len();
        let (protocol, is_later, has_more) = (ip.protocol, ip.offset() != 0, ip.has_more());
        let end = Link::LEN + ip.total() as usize;
        let difference = Sum::ZERO
            .swap(ip.source, ends.source)
            .swap(ip.target, ends.target);
        if !is_later
            && let Some(at) = checksum_at(protocol)
            && !mend(packet, (protocol, Link::LEN + header + at), end, difference)
        {
            // Whoever mends it later could not know what by (RFC 1858 §3).
            return Some(match has_more {
                true => Reason::Fragment,
                false => Reason::Protocol,
            });
        }
        match readdress(packet, (ends.source, ends.target), hop) {
            Some(()) => None,
            None => Some(Reason::Internal),
        }
    }

    #[inline(never)]
    fn read_quote<P: Packet>(packet: &mut P, error: &mut Error<Ip4>) -> bool {
        let Some(ip) = packet.at::<Ipv4>(Link::LEN) else {
            return false;
        };
        let (header, total, sender) = (ip.header_len(), ip.total(), ip.source);
        let quote = Link::LEN + header + Icmp::LEN;
        let Some(quoted) = packet.at::<Ipv4>(quote) else {
            return false;
        };
        let inner = quoted.header_len();
        if !quoted.is_version_4() || inner < Ipv4::LEN {
            return false;
        }
        if (total as usize) < header + Icmp::LEN + inner {
            return false;
        }
        let answer = Tuple {
            source: quoted.target,
            target: quoted.source,
            ..Tuple::NONE
        };
        *error = Error {
            icmp: (Link::LEN + header) as u16,
            quote: quote as u16,
            l4: (quote + inner) as u16,
            total,
            source: sender,
            // Nobody looks for a flow by it.
            key: FlowKey::new(Protocol::Udp, answer),
            protocol: Protocol::Udp,
        };
        true
    }

    #[inline(never)]
    fn renumber_error<P: Packet>(
        packet: &mut P,
        error: &Error<Ip4>,
        (ends, quoted): (&Ends<Ip4>, &Ends<Ip4>),
        hop: Option<&NextHop>,
    ) -> Option<Reason> {
        match requote(packet, error, quoted)
            .and_then(|()| readdress(packet, (ends.source, ends.target), hop))
        {
            Some(()) => None,
            None => Some(Reason::Internal),
        }
    }

    #[inline(always)]
    fn too_long<P: Packet, W: World>(packet: &mut P, world: &W, mtu: u16) -> Reason {
        icmp::too_big(packet, world, mtu)
    }

    /// Every IPv4 address has a counterpart.
    #[inline(always)]
    fn untranslatable<P: Packet, W: World>(_: &mut P, _: &W, _: Reason, _: bool) -> bool {
        false
    }
}

/// Mends the checksum of a transport header, if the packet is as long as that; `false` if it is not.
#[inline(always)]
fn mend<P: Packet>(
    packet: &mut P,
    (protocol, at): (u8, usize),
    end: usize,
    difference: Sum,
) -> bool {
    if at + 2 > end {
        return false;
    }
    let Some(check) = packet.at::<[u8; 2]>(at) else {
        return false;
    };
    *check = mended(protocol, *check, difference);
    true
}

/// UDP may have none, and says so by a zero that none comes out as; so is it with UDP-Lite's.
#[inline(always)]
const fn mended(protocol: u8, check: [u8; 2], difference: Sum) -> [u8; 2] {
    match protocol {
        super::TCP | DCCP => patch(check, difference.fold()),
        _ => patch_udp(check, difference.fold()),
    }
}

/// Gives the quoted packet its addresses, and mends every checksum on the way out: the transport's as
/// far as it is quoted, the quoted header's, the error's.
#[inline(always)]
fn requote<P: Packet>(packet: &mut P, error: &Error<Ip4>, ends: &Ends<Ip4>) -> Option<()> {
    let quoted = packet.at::<Ipv4>(error.quote())?;
    let addresses = Sum::ZERO
        .swap(quoted.source, ends.source)
        .swap(quoted.target, ends.target);
    let difference = addresses.fold();
    (quoted.source, quoted.target) = (ends.source, ends.target);
    let check = quoted.check;
    quoted.check = patch(check, difference);
    let mut sum = addresses.swap2(check, quoted.check);
    let (protocol, is_later) = (quoted.protocol, quoted.offset() != 0);
    if !is_later
        && let Some(at) = checksum_at(protocol)
        // Most errors quote no more than eight bytes.
        && error.l4() + at + 2 <= error.end()
        && let Some(check) = packet.at::<[u8; 2]>(error.l4() + at)
    {
        let new = mended(protocol, *check, addresses);
        sum = sum.swap2(*check, new);
        *check = new;
    }
    let icmp = packet.at::<Icmp>(error.icmp())?;
    icmp.check = patch(icmp.check, sum.fold());
    Some(())
}
