//! Rules that can never match, because one rule before them takes everything they want.
//!
//! What only several rules together take is not found: that would be a search, and the common
//! mistake is one wide rule above a narrow one.

use ipnet::Ipv4Net;

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
    sources: Ranges,
    destinations: Ranges,
    every_protocol: bool,
    /// By [`Protocol::space`].
    ports: [Ranges; 3],
}

impl Reach {
    fn of(rule: &Rule) -> Self {
        let ports = Protocol::ALL.map(|wanted| {
            Ranges::of(rule.services.iter().filter_map(|service| match *service {
                Service::Any => Some((0, u32::MAX)),
                Service::Protocol(protocol) => (protocol == wanted).then_some((0, u32::MAX)),
                Service::Ports(protocol, first, last) => {
                    (protocol == wanted).then_some((first.into(), last.into()))
                }
            }))
        });
        Self {
            sources: Ranges::of(rule.sources.iter().map(bounds)),
            destinations: Ranges::of(rule.destinations.iter().map(bounds)),
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

fn bounds(net: &Ipv4Net) -> (u32, u32) {
    (net.network().into(), net.broadcast().into())
}

/// Numbers, as ranges that are sorted and do not touch.
struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    fn of(ranges: impl Iterator<Item = (u32, u32)>) -> Self {
        let mut sorted: Vec<(u32, u32)> = ranges.collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::new();
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
