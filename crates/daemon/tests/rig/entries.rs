//! Flows in the tables, as the packet path writes them.

use std::net::SocketAddrV4;

use abi::{
    Flow, FlowKey, Ip4, Mapping, MappingKey, Picture, Port, Protocol, Seen, Side, Tick, Tuple,
    ports::{bitmap, place},
};
use kernel::Tables;

/// A flow to be written.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its internal endpoint.
    pub client: SocketAddrV4,
    /// What stands for it outside; an address of the configuration.
    pub external: SocketAddrV4,
    /// Whom it talks to.
    pub remote: SocketAddrV4,
    /// The flags seen from the client and from the remote.
    pub seen: (u8, u8),
    /// How long ago it began and last had a packet, in ticks.
    pub ages: (u32, u32),
}

/// The flags of an open connection.
pub const OPEN: (u8, u8) = (Seen::SYN | Seen::ACK, Seen::SYN | Seen::ACK);

impl Entry {
    /// A TCP connection that was opened just now.
    pub fn tcp(client: &str, external: &str, remote: &str) -> Self {
        Self {
            protocol: Protocol::Tcp,
            client: client.parse().unwrap(),
            external: external.parse().unwrap(),
            remote: remote.parse().unwrap(),
            seen: OPEN,
            ages: (0, 0),
        }
    }

    /// Both directions, each under the tuple as it arrives.
    fn halves(&self) -> [(FlowKey, Flow<Picture>); 2] {
        let out = tuple(self.client, self.remote);
        let translated = tuple(self.external, self.remote);
        let half = |side, key, to, seen| {
            let now = Tick::from_nanos(kernel::now());
            let began = Tick(now.0.saturating_sub(self.ages.0));
            let mut flow = Flow::new(side, 0, to, (0, 0), began).picture();
            flow.seen = seen;
            flow.last_seen = now.0.saturating_sub(self.ages.1);
            let packets;
            (packets, flow.bytes) = match side {
                Side::Outbound => (4, 400),
                Side::Inbound => (3, 300),
            };
            (FlowKey::new(self.protocol, key), flow.with_packets(packets))
        };
        [
            half(Side::Outbound, out, translated, self.seen.0),
            half(
                Side::Inbound,
                translated.reversed(),
                out.reversed(),
                self.seen.1,
            ),
        ]
    }
}

fn tuple(source: SocketAddrV4, target: SocketAddrV4) -> Tuple {
    Tuple {
        source: Ip4(source.ip().octets()),
        target: Ip4(target.ip().octets()),
        source_port: Port::new(source.port()),
        target_port: Port::new(target.port()),
    }
}

/// Writes flows with all that belongs to them: port, mapping, both directions.
pub fn write(tables: &Tables, entries: &[Entry]) {
    let externals: std::collections::BTreeMap<_, _> =
        tables.externals.all().unwrap().into_iter().collect();
    for entry in entries {
        let Tuple {
            source,
            source_port,
            ..
        } = tuple(entry.external, entry.remote);
        let (word, bit) = place(source_port);
        let bitmap = bitmap(externals[&source].index, entry.protocol);
        tables.ports.words(bitmap)[word].taken.fetch_or(1 << bit);
        let internal = tuple(entry.client, entry.remote);
        let from = (internal.source, internal.source_port);
        let now = Tick::from_nanos(kernel::now());
        let key = MappingKey::outward(entry.protocol, from, source, Ip4([0; 4]));
        let mapping = Mapping::outward(source_port, now);
        tables.mappings.put(&key, &mapping).unwrap();
        let key = MappingKey::inward(entry.protocol, (source, source_port));
        let mapping = Mapping::inward(from, internal.target, now);
        tables.mappings.put(&key, &mapping).unwrap();
    }
    let halves = entries.iter().flat_map(Entry::halves);
    let (keys, flows): (Vec<_>, Vec<_>) = halves.unzip();
    tables.flows.put_all(&keys, &flows).unwrap();
}
