//! The difference of two samples.

use std::{cmp::Reverse, net::IpAddr, time::Instant};

use api::http::{
    ActiveFlows, ByProtocol, Drops, Pool, PoolAddress, Pools, Ports, Protocol, Status, Traffic,
};
use serde::Serialize;

/// What the daemon said at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When the counters were read.
    pub taken: Instant,
    /// How the daemon was.
    pub status: Status,
    /// What the pools had given.
    pub pools: Pools,
    /// What was dropped.
    pub drops: Drops,
}

/// What changed between two samples, and how things are at the later one.
#[derive(Clone, Debug, Serialize)]
pub struct Rates {
    /// The daemon's version.
    pub version: String,
    /// How long the daemon runs.
    pub uptime_seconds: u64,
    /// How far the samples are apart; zero for one sample, of which no rate is known.
    pub interval_seconds: f64,
    /// Towards the external realm.
    pub out: TrafficRate,
    /// Towards the internal realm.
    #[serde(rename = "in")]
    pub inward: TrafficRate,
    /// Flows started.
    pub new_flows_per_second: ByProtocol<f64>,
    /// Flows at present.
    pub flows: ActiveFlows,
    /// The pools, in the daemon's order.
    pub pools: Vec<PoolUse>,
    /// Reasons that ever occurred, the most frequent at present first.
    pub drops: Vec<DropRate>,
}

/// What flows in one direction.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct TrafficRate {
    /// Packets.
    pub packets_per_second: f64,
    /// Bits of whole frames.
    pub bits_per_second: f64,
}

/// What one pool has given and has left.
#[derive(Clone, Debug, Serialize)]
pub struct PoolUse {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: usize,
    /// Flows at present.
    pub flows: u64,
    /// Ports of all addresses.
    pub ports: PortUses,
    /// The address whose ports run out first; absent if no port is used. A client keeps to one
    /// address, so that it is this one that refuses flows, however much the others have left.
    pub fullest: Option<Fullest>,
}

/// Ports of the protocols that have some.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PortUses {
    /// Of TCP.
    pub tcp: PortUse,
    /// Of UDP.
    pub udp: PortUse,
    /// Identifiers of ICMP.
    pub icmp: PortUse,
}

/// Ports of one protocol.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PortUse {
    /// Taken.
    pub used: u64,
    /// Left.
    pub free: u64,
}

/// An address, and the protocol of which it has least left.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Fullest {
    /// The address.
    pub address: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// Its ports there.
    #[serde(flatten)]
    pub ports: PortUse,
}

/// What is dropped for one reason.
#[derive(Clone, Debug, Serialize)]
pub struct DropRate {
    /// The reason.
    pub reason: String,
    /// Packets at present.
    pub packets_per_second: f64,
    /// Packets since the counters exist.
    pub packets: u64,
}

impl Rates {
    /// What one sample alone tells.
    pub fn at(sample: &Sample) -> Self {
        Self::between(sample, sample)
    }

    /// What two samples tell.
    pub fn between(before: &Sample, after: &Sample) -> Self {
        let interval = after.taken.saturating_duration_since(before.taken);
        let per = PerSecond(interval.as_secs_f64());
        let new_flows = |protocol: Protocol| {
            let total = |pool: &Pool| *pool.new_flows_total.of(protocol);
            per.rate(grown(&before.pools, &after.pools, total))
        };
        Self {
            version: after.status.version.clone(),
            uptime_seconds: after.status.uptime_seconds,
            interval_seconds: per.0,
            out: per.traffic(&before.pools, &after.pools, |pool| pool.out),
            inward: per.traffic(&before.pools, &after.pools, |pool| pool.inward),
            new_flows_per_second: ByProtocol {
                tcp: new_flows(Protocol::Tcp),
                udp: new_flows(Protocol::Udp),
                icmp: new_flows(Protocol::Icmp),
                sctp: new_flows(Protocol::Sctp),
                gre: new_flows(Protocol::Gre),
                esp: new_flows(Protocol::Esp),
            },
            flows: after.status.flows,
            pools: after.pools.pools.iter().map(pool_use).collect(),
            drops: drops(&before.drops, &after.drops, per),
        }
    }

    /// Packets dropped, whatever the reason.
    pub fn drops_per_second(&self) -> f64 {
        self.drops.iter().map(|drop| drop.packets_per_second).sum()
    }

    /// Flows started, whatever the protocol.
    pub fn all_new_flows_per_second(&self) -> f64 {
        Protocol::ALL
            .iter()
            .map(|protocol| self.new_flows_per_second.of(*protocol))
            .sum()
    }
}

/// The seconds between two samples.
#[derive(Clone, Copy)]
struct PerSecond(f64);

impl PerSecond {
    fn rate(self, count: u64) -> f64 {
        if self.0 <= 0.0 {
            return 0.0;
        }
        let count = count as f64;
        count / self.0
    }

    fn traffic(self, before: &Pools, after: &Pools, of: fn(&Pool) -> Traffic) -> TrafficRate {
        TrafficRate {
            packets_per_second: self.rate(grown(before, after, |pool| of(pool).packets)),
            bits_per_second: self.rate(grown(before, after, |pool| of(pool).bytes)) * 8.0,
        }
    }
}

/// How much a counter of the pools grew, over all pools that are in both samples.
///
/// Pool by pool, because one that is gone takes its counts with it, and what a new one counted
/// before it was first seen did not happen in this interval.
fn grown(before: &Pools, after: &Pools, count: impl Fn(&Pool) -> u64) -> u64 {
    let growth = |pool: &Pool| {
        let earlier = before.pools.iter().find(|other| other.name == pool.name)?;
        Some(count(pool).saturating_sub(count(earlier)))
    };
    after
        .pools
        .iter()
        .filter_map(growth)
        .fold(0, u64::saturating_add)
}

fn drops(before: &Drops, after: &Drops, per: PerSecond) -> Vec<DropRate> {
    let mut shown: Vec<(u64, DropRate)> = after
        .drops
        .iter()
        .filter(|drop| drop.packets > 0)
        .map(|drop| {
            let earlier = before
                .drops
                .iter()
                .find(|other| other.reason == drop.reason);
            let growth = earlier.map_or(0, |earlier| drop.packets.saturating_sub(earlier.packets));
            let shown = DropRate {
                reason: drop.reason.clone(),
                packets_per_second: per.rate(growth),
                packets: drop.packets,
            };
            (growth, shown)
        })
        .collect();
    shown.sort_by_key(|(growth, drop)| Reverse((*growth, drop.packets)));
    shown.into_iter().map(|(_, drop)| drop).collect()
}

fn pool_use(pool: &Pool) -> PoolUse {
    let ports = |of: fn(&PoolAddress) -> Ports| {
        pool.addresses
            .iter()
            .map(|address| PortUse::from(of(address)))
            .fold(PortUse::default(), PortUse::plus)
    };
    PoolUse {
        name: pool.name.clone(),
        addresses: pool.addresses.len(),
        flows: pool
            .addresses
            .iter()
            .map(|address| address.flows)
            .fold(0, u64::saturating_add),
        ports: PortUses {
            tcp: ports(|address| address.tcp),
            udp: ports(|address| address.udp),
            icmp: ports(|address| address.icmp),
        },
        fullest: fullest(&pool.addresses),
    }
}

fn fullest(addresses: &[PoolAddress]) -> Option<Fullest> {
    let candidates = addresses.iter().flat_map(|address| {
        [
            (Protocol::Tcp, address.tcp),
            (Protocol::Udp, address.udp),
            (Protocol::Icmp, address.icmp),
        ]
        .map(|(protocol, ports)| Fullest {
            address: address.address,
            protocol,
            ports: ports.into(),
        })
    });
    candidates
        .filter(|candidate| candidate.ports.used > 0)
        .max_by(|a, b| a.ports.share().total_cmp(&b.ports.share()))
}

impl From<Ports> for PortUse {
    fn from(ports: Ports) -> Self {
        Self {
            used: ports.used.into(),
            free: ports.free.into(),
        }
    }
}

impl PortUse {
    /// Ports that there are.
    pub const fn all(self) -> u64 {
        self.used.saturating_add(self.free)
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            used: self.used.saturating_add(other.used),
            free: self.free.saturating_add(other.free),
        }
    }

    fn share(self) -> f64 {
        self.used as f64 / self.all().max(1) as f64
    }
}
