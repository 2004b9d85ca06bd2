//! Rules that can never match, because one rule before them takes everything they want.
//!
//! What only several rules together take is not found: that would be a search, and the common
//! mistake is one wide rule above a narrow one.

use std::net::Ipv4Addr;

use abi::PROTOCOLS;
use ipnet::IpNet;

use super::{Protocol, Rule, Service};

/// A rule that can never match, and why; both by their number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shadow {
    pub rule: usize,
    /// The first rule that takes it all.
    pub by: usize,
}

/// Finds every rule that can never match.
pub(super) fn find<'r>(rules: impl IntoIterator<Item = &'r Rule>) -> Vec<Shadow> {
    let mut above: Vec<Reach> = Vec::new();
    let mut shadows = Vec::new();
    for (index, rule) in rules.into_iter().enumerate() {
        let reach = Reach::of(rule);
        if let Some(by) = above.iter().position(|wider| wider.covers(&reach)) {
            shadows.push(Shadow { rule: index, by });
        }
        above.push(reach);
    }
    shadows
}

/// What a rule matches, as numbers.
struct Reach {
    sources: Addresses,
    destinations: Addresses,
    every_protocol: bool,
    /// By [`Protocol::space`].
    ports: [Ranges; PROTOCOLS],
}

impl Reach {
    fn of(rule: &Rule) -> Self {
        let ports = Protocol::ALL.map(|wanted| {
            Ranges::of(rule.services.iter().filter_map(|service| match *service {
                Service::Any => Some((0, u128::MAX)),
                Service::Protocol(protocol) => (protocol == wanted).then_some((0, u128::MAX)),
                Service::Ports(protocol, first, last) => {
                    (protocol == wanted).then_some((first.into(), last.into()))
                }
            }))
        });
        Self {
            sources: Addresses::of(&rule.sources),
            destinations: Addresses::of(&rule.destinations),
            every_protocol: rule.services.contains(&Service::Any),
            ports,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        (self.every_protocol || !other.every_protocol)
            && self
                .ports
                .iter()
                .zip(&other.ports)
                .all(|(wide, narrow)| wide.cover(narrow))
            && self.destinations.cover(&other.destinations)
            && self.sources.cover(&other.sources)
    }
}

/// Addresses of both versions.
struct Addresses {
    v4: Ranges,
    v6: Ranges,
}

impl Addresses {
    fn of(nets: &[IpNet]) -> Self {
        let v4 = nets.iter().filter_map(|net| match net {
            IpNet::V4(net) => Some((bits(net.network()), bits(net.broadcast()))),
            IpNet::V6(_) => None,
        });
        let v6 = nets.iter().filter_map(|net| match net {
            IpNet::V4(_) => None,
            IpNet::V6(net) => Some((net.network().into(), net.broadcast().into())),
        });
        Self {
            v4: Ranges::of(v4),
            v6: Ranges::of(v6),
        }
    }

    fn cover(&self, other: &Self) -> bool {
        self.v4.cover(&other.v4) && self.v6.cover(&other.v6)
    }
}

fn bits(address: Ipv4Addr) -> u128 {
    u32::from(address).into()
}

/// Numbers, as ranges that are sorted and do not touch.
struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    fn of(ranges: impl Iterator<Item = (u128, u128)>) -> Self {
        let mut sorted: Vec<(u128, u128)> = ranges.collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::new();
        for (first, last) in sorted {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                Some(_) | None => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// Whether every number of the other is one of these.
    fn cover(&self, other: &Self) -> bool {
        other.0.iter().all(|(first, last)| {
            let before = self.0.partition_point(|(start, _)| start <= first);
            let holder = before.checked_sub(1).and_then(|index| self.0.get(index));
            holder.is_some_and(|(_, end)| end >= last)
        })
    }
}

#[cfg(test)]
mod tests;
