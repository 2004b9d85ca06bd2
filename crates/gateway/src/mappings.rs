//! Mappings that somebody asked for: configured forwards, and what was granted while the gateway ran.
//!
//! In the packet path such a mapping is the two entries that packets make as well ([`abi::mapping`]),
//! but they stand whether flows use them or not, and say whom they admit. Here it is known which of
//! them should stand and which do; the difference is what must be done. One that is withdrawn becomes
//! what packets would have made: it goes with the last of its flows, and its port is then held back as
//! any other.
//!
//! Its flows are charged to the rule that gives its host the pool, if there is one; its port is not.
//!
//! Several ports may be forwarded to one internal endpoint. The flows that it begins itself leave from
//! the first.

mod callers;
mod entries;
pub mod leases;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use abi::{
    Address, Admits, ExternalState, Ip4, Ip6, Lease, Mapping, MappingKey, Port, Protocol, RuleSet,
    Tick, blocks::has,
};

use crate::{
    intent::{self, Forward, Intent, Rule, Service},
    machine::Action,
    numbers::Numbers,
};

use entries::{Standing, Wanted};

pub use callers::Lists;
pub use entries::{Entries, Kept, Keys, put};
pub use leases::{Ask, Denied, Granted, Owner, Withdraw};

/// What was asked for, and what stands of it.
#[derive(Clone, Debug, Default)]
pub struct Mappings {
    /// For those who have IPv4 alone.
    v4: Standing<Ip4>,
    /// For those who have IPv6.
    v6: Standing<Ip6>,
    /// The lists of callers in the tables.
    lists: Lists,
    /// What was granted, by the external end.
    leases: BTreeMap<MappingKey<Ip6>, Granted>,
    /// Leases in the tables that are of nothing.
    stale: Vec<MappingKey<Ip6>>,
}

/// What should stand.
#[derive(Default)]
struct Wish {
    v4: Wanted<Ip4>,
    v6: Wanted<Ip6>,
    lists: Lists,
}

impl Mappings {
    /// What a predecessor left: entries that were asked for of both tables, lists of callers, and leases.
    pub fn found(
        v4: BTreeMap<MappingKey, Mapping>,
        v6: BTreeMap<MappingKey<Ip6>, Mapping<Ip6>>,
        lists: Lists,
        leases: BTreeMap<MappingKey<Ip6>, Lease>,
    ) -> Self {
        let (mut granted, mut stale) = (BTreeMap::new(), Vec::new());
        for (key, lease) in leases {
            let narrow = || {
                let mapping = v4.get(&key.narrow()?)?;
                Some((mapping.internal.wide(), mapping.port))
            };
            let wide = v6.get(&key).map(|it| (it.internal, it.port));
            match wide
                .or_else(narrow)
                .and_then(|internal| Granted::found(&key, internal, lease))
            {
                Some(it) => {
                    granted.insert(key, it);
                }
                // Whoever wrote it was killed before the mapping stood, and told nobody.
                None => stale.push(key),
            }
        }
        Self {
            leases: granted,
            stale,
            v4: Standing {
                entries: v4,
                missing: BTreeSet::new(),
            },
            v6: Standing {
                entries: v6,
                missing: BTreeSet::new(),
            },
            lists,
        }
    }

    /// What was granted and has not ended.
    pub fn leases(&self) -> impl Iterator<Item = &Granted> {
        self.leases.values()
    }

    /// Entries that should stand and could not be written; they are tried again.
    pub fn missing(&self) -> Keys {
        Keys {
            v4: self.v4.missing.clone(),
            v6: self.v6.missing.clone(),
        }
    }

    /// Whether the external end of what was granted stands in the tables, as far as is known.
    pub fn stands(&self, granted: &Granted) -> bool {
        let key = granted.key();
        match granted.internal.ip() {
            IpAddr::V4(_) => (key.narrow()).is_some_and(|key| self.v4.entries.contains_key(&key)),
            IpAddr::V6(_) => self.v6.entries.contains_key(&key),
        }
    }

    /// An entry could not be written.
    pub fn not_written(&mut self, key: &MappingKey) {
        self.v4.not_written(key);
    }

    /// The same of the table of IPv6.
    pub fn not_written6(&mut self, key: &MappingKey<Ip6>) {
        self.v6.not_written(key);
    }

    /// Only these entries were found. Returns whether that is all that should stand; if not,
    /// [`Mappings::reconcile`] has what is missing written again.
    pub fn seen(&mut self, found: &Keys) -> bool {
        let are_there = (self.v4.seen(&found.v4), self.v6.seen(&found.v6));
        are_there == (true, true)
    }

    /// Says what must be done so that what should stand does.
    pub fn reconcile(&mut self, intent: &Intent, numbers: &Numbers, actions: &mut Vec<Action>) {
        let stale = std::mem::take(&mut self.stale);
        actions.extend(stale.into_iter().map(Action::RemoveLease));
        self.yield_leases(intent, numbers, actions);
        let wish = self.wish(intent, numbers);
        let (added, added6) = wish.lists.beyond(&self.lists);
        if !added.is_empty() {
            let entries = added.into_iter().map(|key| (key, RuleSet::EMPTY));
            actions.push(Action::PutClasses(entries.collect()));
        }
        if !added6.is_empty() {
            let entries = added6.into_iter().map(|key| (key, RuleSet::EMPTY));
            actions.push(Action::PutClasses6(entries.collect()));
        }
        // In both before any is put: a port may come to lead to somebody in the other table.
        self.v4.withdraw(&wish.v4, actions);
        self.v6.withdraw(&wish.v6, actions);
        self.v4.put(wish.v4, numbers, actions);
        self.v6.put(wish.v6, numbers, actions);
        let (removed, removed6) = self.lists.beyond(&wish.lists);
        if !removed.is_empty() {
            actions.push(Action::RemoveClasses(removed));
        }
        if !removed6.is_empty() {
            actions.push(Action::RemoveClasses6(removed6));
        }
        self.lists = wish.lists;
    }

    /// Lets go of leases that the configuration leaves no place for: their address serves no more, or
    /// their port is forwarded, or in another client's block, or no prefix stands for their callers.
    fn yield_leases(&mut self, intent: &Intent, numbers: &Numbers, actions: &mut Vec<Action>) {
        let forwarded: BTreeSet<_> = forwards(intent)
            .flat_map(|forward| ends(forward).map(|external| (forward.protocol, external)))
            .collect();
        self.leases.retain(|key, granted| {
            let external = numbers.externals.get(&key.external);
            let is_served = external.and_then(|it| it.state()) == Some(ExternalState::Serving);
            let (internal, external) = (granted.internal, granted.external);
            let ranks = intent.ranks(internal.ip(), external.ip());
            let port = Port::new(external.port());
            let is_allowed = ranks.iter().flatten().any(|ranks| has(ranks, port));
            let is_crossing = internal.is_ipv6() && external.is_ipv4();
            let stays = is_served
                && is_allowed
                && !(is_crossing && intent.prefixes.is_empty())
                && !forwarded.contains(&(granted.protocol, external));
            if !stays {
                actions.push(Action::RemoveLease(*key));
            }
            stays
        });
    }

    fn wish(&self, intent: &Intent, numbers: &Numbers) -> Wish {
        let mut wish = Wish::default();
        for forward in forwards(intent) {
            let (host, port) = forward.target;
            let rule = rule(intent, numbers, (forward.protocol, host, forward.address));
            let how = (wish.lists.admits(forward, &self.lists), rule);
            for (offset, external) in (0..).zip(ends(forward)) {
                let internal = SocketAddr::new(host, port.saturating_add(offset));
                wish.map(forward.protocol, external, internal, how);
            }
        }
        for granted in self.leases.values() {
            let (internal, external) = (granted.internal, granted.external);
            let ends = (granted.protocol, internal.ip(), external.ip());
            let how = (Admits::Everyone, rule(intent, numbers, ends));
            wish.map(granted.protocol, external, internal, how);
        }
        wish
    }
}

impl Wish {
    /// Wants a mapping, in the table of whom it leads to.
    fn map(
        &mut self,
        protocol: Protocol,
        external: SocketAddr,
        internal: SocketAddr,
        how: (Admits, u16),
    ) {
        let ports = (Port::new(external.port()), Port::new(internal.port()));
        match (external.ip(), internal.ip()) {
            (IpAddr::V4(external), IpAddr::V4(internal)) => {
                let addresses = (Ip4(external.octets()), Ip4(internal.octets()));
                map(&mut self.v4, protocol, addresses, ports, how);
            }
            (external, internal) => {
                let addresses = (Ip6::from(external), Ip6::from(internal));
                map(&mut self.v6, protocol, addresses, ports, how);
            }
        }
    }
}

/// Wants both ends of a mapping. Whoever has IPv6 knows callers of IPv4 by the first prefix.
fn map<A: Address>(
    wanted: &mut Wanted<A>,
    protocol: Protocol,
    (external, internal): (A, A),
    (port, internal_port): (Port, Port),
    (admits, rule): (Admits, u16),
) {
    let internal = (internal, internal_port);
    let inward = MappingKey::inward(protocol, (external, port));
    let entry = Mapping::inward(internal, A::NONE, Tick::default()).under(rule, 0);
    wanted.insert(inward, entry.admitting(admits));
    let outward = MappingKey::outward(protocol, internal, external, A::NONE);
    let entry = Mapping::outward(port, Tick::default());
    let entry = entry.admitting(Admits::Everyone);
    wanted.entry(outward).or_insert(entry);
}

/// The rules that give a client a pool, the first one first, each with the name of the pool. An endpoint
/// gives it for one target only, and nobody else could call.
fn rules_of(
    intent: &Intent,
    client: IpAddr,
    protocol: Protocol,
) -> impl Iterator<Item = (&Rule, &str)> {
    let rules = intent.rules.iter().filter(move |rule| {
        rule.sources.iter().any(|net| net.contains(&client))
            && rule.services.iter().any(|service| match service {
                Service::Any => true,
                Service::Protocol(of) | Service::Ports(of, ..) => *of == protocol,
            })
    });
    rules.filter_map(|rule| match &rule.action {
        intent::Action::Translate { pool } if rule.target.is_none() => Some((rule, pool.as_str())),
        intent::Action::Translate { .. } | intent::Action::Pass => None,
    })
}

/// The number of the rule that gives an internal host the pool that an external address is from; zero
/// if there is none.
fn rule(
    intent: &Intent,
    numbers: &Numbers,
    (protocol, host, external): (Protocol, IpAddr, IpAddr),
) -> u16 {
    let pools = || intent.pools.iter();
    let pool = pools().find(|pool| pool.addresses.contains(&external));
    let mut rules = rules_of(intent, host, protocol);
    let rule = rules.find(|(_, name)| pool.is_some_and(|pool| pool.name == *name));
    let number = rule.and_then(|(rule, _)| numbers.rules.get(&rule.name));
    number.copied().unwrap_or(0)
}

fn forwards(intent: &Intent) -> impl Iterator<Item = &Forward> {
    intent.pools.iter().flat_map(|pool| &pool.forwards)
}

/// The external ends of a forward, port by port.
fn ends(forward: &Forward) -> impl Iterator<Item = SocketAddr> + use<> {
    let address = forward.address;
    let ports = forward.ports.first..=forward.ports.last;
    ports.map(move |port| SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests;
