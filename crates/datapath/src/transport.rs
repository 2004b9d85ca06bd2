//! The transport header: ports and checksum become what a flow says. The same for every version of IP.

use abi::{Flow, Live, Port, Protocol, Side};

use crate::{
    Arrival, Piece,
    checksum::{patch, patch_udp},
    frame::{Icmp, Packet, Tcp, Udp},
};

/// Edits the transport header; `false` if there is none.
#[inline(always)]
pub fn rewrite<A: Copy, P: Packet>(
    packet: &mut P,
    arrival: &Arrival<A>,
    flow: &Flow<Live, A>,
) -> bool {
    let (source, target) = (flow.to.source_port, flow.to.target_port);
    match arrival.protocol {
        // Its first fragment has the transport header, and the checksum of the whole.
        _ if matches!(arrival.piece, Piece::Later) => {}
        Protocol::Sctp | Protocol::Gre | Protocol::Esp => {}
        Protocol::Tcp => {
            let Some(tcp) = packet.at::<Tcp>(arrival.l4) else {
                return false;
            };
            tcp.source = source;
            tcp.target = target;
            tcp.check = patch(tcp.check, flow.l4_delta);
        }
        Protocol::Udp => {
            let Some(udp) = packet.at::<Udp>(arrival.l4) else {
                return false;
            };
            udp.source = source;
            udp.target = target;
            udp.check = patch_udp(udp.check, flow.l4_delta);
        }
        Protocol::Icmp => {
            let Some(icmp) = packet.at::<Icmp>(arrival.l4) else {
                return false;
            };
            icmp.id = identifier(flow);
            icmp.check = patch(icmp.check, flow.l4_delta);
        }
    }
    true
}

/// The identifier of a query or its answer as it leaves: the one port of the two that is not zero.
#[inline(always)]
pub fn identifier<A: Copy>(flow: &Flow<Live, A>) -> Port {
    match flow.side() {
        Side::Outbound => flow.to.source_port,
        Side::Inbound => flow.to.target_port,
    }
}
