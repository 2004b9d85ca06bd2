//! IPv4: how its packets are read and rewritten (RFC 791, RFC 3022 §4).

use abi::{Flow, FlowKey, Ip4, Live, NextHop, Port, Protocol, Reason, Side, Tuple};

use crate::{
    Arrival, Begun, Piece,
    checksum::{Sum, TTL_DECREMENT, patch, patch_udp},
    frame::{Icmp, Ipv4, Link, Packet, Tcp, Udp, Wire, ethertype},
    icmp,
    ip::{Translate, Unusual, Version},
    reset,
    world::World,
};

/// See the module.
pub struct V4;

impl Version for V4 {
    type Own = Ip4;

    #[inline(always)]
    fn parse<P: Packet>(packet: &mut P, bytes: u64) -> Result<Arrival<Ip4>, Unusual> {
        let Some(link) = packet.at::<Link>(0) else {
            return Err(Unusual::Leaves(Reason::Malformed));
        };
        if link.ethertype != ethertype::IPV4 {
            return Err(Unusual::Leaves(match link.ethertype {
                ethertype::VLAN | ethertype::QINQ => Reason::VlanTagged,
                _ => Reason::NotIpv4,
            }));
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
            None => return Err(Unusual::Part(Reason::Protocol)),
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
    fn hops<P: Packet>(packet: &mut P) -> Option<u8> {
        packet.at::<Ipv4>(Link::LEN).map(|ip| ip.ttl)
    }

    #[inline(always)]
    fn forbids_fragments<P: Packet>(packet: &mut P) -> bool {
        packet
            .at::<Ipv4>(Link::LEN)
            .is_some_and(|ip| ip.dont_fragment())
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

impl Translate<Ip4> for V4 {
    #[inline(always)]
    fn arrival<P: Packet>(packet: &mut P, bytes: u64) -> Result<Arrival<Ip4>, Unusual> {
        Self::parse(packet, bytes)
    }

    #[inline(always)]
    fn leaving(arrival: &Arrival<Ip4>, _: &Flow) -> u16 {
        arrival.total
    }

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
        match arrival.protocol {
            // Its first fragment has the transport header, and the checksum of the whole.
            _ if matches!(arrival.piece, Piece::Later) => {}
            Protocol::Tcp => {
                let Some(tcp) = packet.at::<Tcp>(arrival.l4) else {
                    return false;
                };
                tcp.source = to.source_port;
                tcp.target = to.target_port;
                tcp.check = patch(tcp.check, flow.l4_delta);
            }
            Protocol::Udp => {
                let Some(udp) = packet.at::<Udp>(arrival.l4) else {
                    return false;
                };
                udp.source = to.source_port;
                udp.target = to.target_port;
                udp.check = patch_udp(udp.check, flow.l4_delta);
            }
            Protocol::Icmp => {
                let Some(icmp) = packet.at::<Icmp>(arrival.l4) else {
                    return false;
                };
                icmp.id = match flow.side() {
                    Side::Outbound => to.source_port,
                    Side::Inbound => to.target_port,
                };
                icmp.check = patch(icmp.check, flow.l4_delta);
            }
        }
        true
    }

    #[inline(always)]
    fn too_big<P: Packet, W: World>(
        packet: &mut P,
        world: &W,
        _: &Flow<Live, Ip4>,
        mtu: u16,
    ) -> Reason {
        icmp::too_big(packet, world, mtu)
    }

    #[inline(always)]
    fn reset<P: Packet>(packet: &mut P, arrival: &Arrival<Ip4>) -> Reason {
        reset::answer(packet, arrival)
    }
}
