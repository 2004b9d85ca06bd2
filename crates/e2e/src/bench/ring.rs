//! Rings of flows: what a packet of one becomes is a packet of the next.

use std::net::{Ipv4Addr, SocketAddrV4};

use abi::{Flow, FlowKey, Ip4, Picture, Port, Protocol, Side, Tick, Tuple};
use anyhow::{Context, Result, ensure};
use kernel::Tables;
use lab::{Frame, verify_checksums};

use super::load::PAYLOAD;

/// Flows of a ring with one port of the target; the next have the next port.
const FLOWS_PER_PORT: u32 = 50_000;
/// The first port of the client.
const CLIENT_PORT: u32 = 2_000;

/// The TTL that a packet begins with.
const TTL: u8 = 255;
/// What decrementing the TTL adds to a header's checksum: the TTL is the first byte of its word.
const TTL_DECREMENT: [u8; 2] = [0xfe, 0xff];

/// Some flows of UDP, one after the other. A ring of one flow becomes itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ring {
    /// Which way its packets go.
    pub(super) side: Side,
    /// How many flows there are.
    pub(super) flows: u32,
    /// The client, whose address stays as it is.
    pub(super) client: Ipv4Addr,
    /// The target; its port keeps the rings apart.
    pub(super) target: SocketAddrV4,
}

impl Ring {
    /// Writes its flows into the table. They know no next hop; the first packet of each asks.
    pub(super) fn write(&self, tables: &Tables) -> Result<()> {
        let now = Tick::from_nanos(kernel::now());
        let keys: Vec<FlowKey> = (0..self.flows)
            .map(|number| FlowKey::new(Protocol::Udp, self.tuple(number)))
            .collect();
        let flows: Vec<Flow<Picture>> = (0..self.flows)
            .map(|number| self.flow(number, now).picture())
            .collect();
        tables
            .flows
            .put_all(&keys, &flows)
            .with_context(|| format!("cannot write {} flows", self.flows))
    }

    /// A packet of a flow.
    pub(super) fn frame(&self, number: u32) -> Result<Vec<u8>> {
        let Tuple {
            source,
            target,
            source_port,
            target_port,
        } = self.tuple(number);
        let end = |address: Ip4, port: Port| SocketAddrV4::new(address.0.into(), port.get());
        let mut frame = Frame::udp(end(source, source_port), end(target, target_port));
        frame.ttl = TTL;
        Ok(frame.payload(&[0; PAYLOAD]).build()?)
    }

    /// Checks what so many runs have made of a packet of a flow: a packet of the flow that many
    /// places on.
    pub(super) fn check(&self, after: &[u8], number: u32, runs: u32) -> Result<()> {
        verify_checksums(after).context("the program leaves a wrong checksum")?;
        let expected = self.frame((number + runs) % self.flows)?;
        let (addresses, ports) = (26..34, 34..38);
        for place in [addresses, ports] {
            ensure!(
                after[place.clone()] == expected[place.clone()],
                "the program leaves a packet of another flow: {after:x?}, not {expected:x?}"
            );
        }
        let ttl = after[22];
        ensure!(
            u32::from(ttl) + runs == u32::from(TTL),
            "after {runs} runs the TTL is {ttl}"
        );
        Ok(())
    }

    fn tuple(&self, number: u32) -> Tuple {
        let port = |first: u32, more: u32| Port::new((first + more) as u16);
        let outbound = Tuple {
            source: Ip4(self.client.octets()),
            target: Ip4(self.target.ip().octets()),
            source_port: port(CLIENT_PORT, number % FLOWS_PER_PORT),
            target_port: port(self.target.port().into(), number / FLOWS_PER_PORT),
        };
        match self.side {
            Side::Outbound => outbound,
            Side::Inbound => outbound.reversed(),
        }
    }

    fn flow(&self, number: u32, now: Tick) -> Flow {
        let (from, to) = (self.tuple(number), self.tuple((number + 1) % self.flows));
        let ports = [
            (from.source_port, to.source_port),
            (from.target_port, to.target_port),
        ];
        let deltas = (u16::from_ne_bytes(TTL_DECREMENT), difference(&ports));
        Flow::new(self.side, 0, to, deltas, now)
    }
}

/// What replacing ports adds to a checksum (RFC 1624 §3).
fn difference(ports: &[(Port, Port)]) -> u16 {
    let word = |port: Port| u32::from(u16::from_ne_bytes(port.0));
    let sum: u32 = ports
        .iter()
        .map(|(old, new)| (word(*old) ^ 0xffff) + word(*new))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(flows: u32) -> Ring {
        Ring {
            side: Side::Outbound,
            flows,
            client: Ipv4Addr::new(10, 2, 200, 1),
            target: SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 11), 7000),
        }
    }

    #[test]
    fn a_ring_leads_through_all_its_flows_and_back_to_the_first() {
        let ring = ring(100_000);
        let mut seen = std::collections::HashSet::new();

        let mut tuple = ring.tuple(0);
        for number in 0..ring.flows {
            assert!(seen.insert(tuple), "flow {number} comes twice");
            tuple = ring.flow(number, Tick(1)).to;
        }

        assert_eq!(tuple, ring.tuple(0));
    }

    #[test]
    fn a_ring_of_one_flow_changes_nothing_but_the_ttl() {
        let flow = ring(1).flow(0, Tick(1));

        assert_eq!(flow.to, ring(1).tuple(0));
        assert_eq!(flow.ip_delta, u16::from_ne_bytes(TTL_DECREMENT));
        // Minus zero: in one's complement that is nothing, too.
        assert_eq!(flow.l4_delta, 0xffff);
    }
}
