//! IPv6: no checksum changes, because a prefix's other end has the same sum (RFC 6296 §2.1), so that
//! nothing behind the IP header is looked at.

use abi::{FlowKey, Ip6, NextHop, Protocol, Reason, Tuple};

use super::{Ends, Renumber};
use crate::{
    checksum::{Sum, patch},
    frame::{Icmp, Ipv6, Link, Packet, Wire, icmp6},
    icmp6 as answers,
    ip6::{V6, readdress},
    quoted::{Error, ICMP6, QUOTE6},
    world::World,
};

/// Where the addresses' interface identifiers begin in an IP header.
const SOURCE_IID: u16 = 16;
const TARGET_IID: u16 = 32;

impl Renumber<Ip6> for V6 {
    #[inline(always)]
    fn length<P: Packet>(packet: &mut P) -> Option<(u16, bool)> {
        Some((packet.at::<Ipv6>(Link::LEN)?.total() as u16, true))
    }

    #[inline(never)]
    fn renumber<P: Packet>(
        packet: &mut P,
        ends: &Ends<Ip6>,
        hop: Option<&NextHop>,
    ) -> Option<Reason> {
        match readdress(packet, (&ends.source, &ends.target), hop) {
            Some(()) => None,
            None => Some(Reason::Internal),
        }
    }

    #[inline(never)]
    fn read_quote<P: Packet>(packet: &mut P, error: &mut Error<Ip6>) -> bool {
        let Some(ip) = packet.at::<Ipv6>(Link::LEN) else {
            return false;
        };
        let (next, total, sender) = (ip.next, ip.total(), ip.source);
        // Behind extension headers it is left as it is.
        if next != icmp6::NUMBER || QUOTE6 + Ipv6::LEN > Link::LEN + total {
            return false;
        }
        let Some(quoted) = packet.at::<Ipv6>(QUOTE6) else {
            return false;
        };
        if !quoted.is_version_6() {
            return false;
        }
        error.icmp = ICMP6 as u16;
        error.quote = QUOTE6 as u16;
        error.l4 = (QUOTE6 + Ipv6::LEN) as u16;
        error.total = total as u16;
        error.source = sender;
        // Nobody looks for a flow by it.
        error.protocol = Protocol::Udp;
        let answer = Tuple {
            source: quoted.target,
            target: quoted.source,
            ..Tuple::NONE
        };
        error.key = FlowKey::new(Protocol::Udp, answer);
        true
    }

    #[inline(never)]
    fn renumber_error<P: Packet>(
        packet: &mut P,
        _: &Error<Ip6>,
        (ends, quoted): (&Ends<Ip6>, &Ends<Ip6>),
        hop: Option<&NextHop>,
    ) -> Option<Reason> {
        match requote(packet, ends, quoted)
            .and_then(|()| readdress(packet, (&ends.source, &ends.target), hop))
        {
            Some(()) => None,
            None => Some(Reason::Internal),
        }
    }

    #[inline(always)]
    fn too_long<P: Packet, W: World>(packet: &mut P, world: &W, mtu: u16) -> Reason {
        answers::too_big(packet, world, mtu)
    }

    #[inline(always)]
    fn untranslatable<P: Packet, W: World>(
        packet: &mut P,
        world: &W,
        why: Reason,
        is_target: bool,
    ) -> bool {
        if why as u8 != Reason::PrefixZero as u8 {
            return answers::unreachable(packet, world);
        }
        let place = if is_target { TARGET_IID } else { SOURCE_IID };
        answers::problem(packet, world, place)
    }
}

/// Gives the quoted packet its addresses. Its checksums are what they were, but not the error's where a
/// router hides behind another address.
#[inline(always)]
fn requote<P: Packet>(packet: &mut P, ends: &Ends<Ip6>, quoted: &Ends<Ip6>) -> Option<()> {
    let inner = packet.at::<Ipv6>(QUOTE6)?;
    let sum = Sum::ZERO
        .swap(inner.source, quoted.source)
        .swap(inner.target, quoted.target);
    inner.source = quoted.source;
    inner.target = quoted.target;
    let ip = packet.at::<Ipv6>(Link::LEN)?;
    let outer = Sum::ZERO
        .swap(ip.source, ends.source)
        .swap(ip.target, ends.target);
    let sum = sum.add2(outer.fold().to_ne_bytes());
    let icmp = packet.at::<Icmp>(ICMP6)?;
    icmp.check = patch(icmp.check, sum.fold());
    Some(())
}
