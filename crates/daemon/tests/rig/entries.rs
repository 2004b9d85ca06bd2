//! Flows in the tables, as the packet path writes them.

use std::{collections::BTreeMap, net::SocketAddr};

use abi::{
    Address, Flow, FlowKey, Ip6, Mapping, MappingKey, Picture, Port, Protocol, Seen, Side, Tick,
    Tuple,
    ports::{bitmap, place},
};
use kernel::{Tables, tables::Table};

/// A flow to be written.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its internal endpoint.
    pub client: SocketAddr,
    /// What stands for it outside; an address of the configuration.
    pub external: SocketAddr,
    /// Whom it talks to, by the client's word.
    pub remote: SocketAddr,
    /// Whom that is outside.
    pub reached: SocketAddr,
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
            reached: remote.parse().unwrap(),
            seen: OPEN,
            ages: (0, 0),
        }
    }

    /// Both directions, each under the tuple as it arrives.
    fn halves(&self) -> [(FlowKey<Ip6>, Flow<Picture, Ip6>); 2] {
        let out = tuple(self.client, self.remote);
        let translated = tuple(self.external, self.reached);
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

    /// The same of a flow whose addresses are all IPv4.
    fn narrow_halves(&self) -> Option<[(FlowKey, Flow<Picture>); 2]> {
        let [out, back] = self.halves();
        let narrow = |(key, flow): (FlowKey<Ip6>, Flow<Picture, Ip6>)| {
            let mut picture =
                Flow::new(flow.side(), 0, flow.to.narrow()?, (0, 0), flow.created).picture();
            (picture.seen, picture.last_seen) = (flow.seen, flow.last_seen);
            picture.bytes = flow.bytes;
            let picture = picture.with_packets(flow.packets());
            Some((FlowKey::new(self.protocol, key.tuple.narrow()?), picture))
        };
        Some([narrow(out)?, narrow(back)?])
    }
}

fn tuple(source: SocketAddr, target: SocketAddr) -> Tuple<Ip6> {
    Tuple {
        source: Ip6::from(source.ip()),
        target: Ip6::from(target.ip()),
        source_port: Port::new(source.port()),
        target_port: Port::new(target.port()),
    }
}

/// Writes flows with all that belongs to them: port, mapping, both directions.
pub fn write(tables: &Tables, entries: &[Entry]) {
    let v4 = tables.externals.all().unwrap().into_iter();
    let externals: BTreeMap<Ip6, _> = v4
        .map(|(address, external)| (address.wide(), external))
        .chain(tables.externals6.all().unwrap())
        .collect();
    let (mut narrow, mut wide) = (Vec::new(), Vec::new());
    for entry in entries {
        let sent = tuple(entry.external, entry.reached);
        let (word, bit) = place(sent.source_port);
        let bitmap = bitmap(externals[&sent.source].index, entry.protocol);
        tables.ports.words(bitmap)[word].taken.fetch_or(1 << bit);
        let client = tuple(entry.client, entry.remote);
        match entry.narrow_halves() {
            Some(halves) => {
                let ends = sent.narrow().zip(client.narrow());
                map(&tables.mappings, entry.protocol, ends.unwrap());
                narrow.extend(halves);
            }
            None => {
                map(&tables.mappings6, entry.protocol, (sent, client));
                wide.extend(entry.halves());
            }
        }
    }
    let (keys, flows): (Vec<_>, Vec<_>) = narrow.into_iter().unzip();
    tables.flows.put_all(&keys, &flows).unwrap();
    let (keys, flows): (Vec<_>, Vec<_>) = wide.into_iter().unzip();
    tables.flows6.put_all(&keys, &flows).unwrap();
}

fn map<A: Address>(
    mappings: &Table<MappingKey<A>, Mapping<A>>,
    protocol: Protocol,
    (sent, client): (Tuple<A>, Tuple<A>),
) {
    let now = Tick::from_nanos(kernel::now());
    let from = (client.source, client.source_port);
    let key = MappingKey::outward(protocol, from, sent.source, A::NONE);
    let mapping = Mapping::outward(sent.source_port, now);
    mappings.put(&key, &mapping).unwrap();
    let key = MappingKey::inward(protocol, (sent.source, sent.source_port));
    let mapping = Mapping::inward(from, sent.target, now);
    mappings.put(&key, &mapping).unwrap();
}
