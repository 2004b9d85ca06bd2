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

pub mod leases;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use abi::{
    Address, Admits, ClassKey, End, ExternalState, Ip4, Lease, Mapping, MappingKey, Port, Protocol,
    RuleSet, Tick, blocks::has,
};

use crate::{
    intent::{self, Forward, Intent, Rule, Service},
    machine::Action,
    numbers::Numbers,
};

pub use leases::{Ask, Denied, Granted, Owner, Withdraw};

/// Prefixes of callers, as keys of a list without a number.
type Callers = BTreeSet<ClassKey>;

/// What was asked for, and what stands of it.
#[derive(Clone, Debug, Default)]
pub struct Mappings {
    /// Entries of the mapping table that were asked for.
    standing: BTreeMap<MappingKey, Mapping>,
    /// Entries that should stand and could not be written.
    missing: BTreeSet<MappingKey>,
    /// The lists of callers in the tables.
    lists: BTreeMap<u16, Callers>,
    /// What was granted, by the external end.
    leases: BTreeMap<MappingKey, Granted>,
    /// Leases in the tables that are of nothing.
    stale: Vec<MappingKey>,
}

/// What should stand.
#[derive(Default)]
struct Wanted {
    entries: BTreeMap<MappingKey, Mapping>,
    lists: BTreeMap<u16, Callers>,
}

impl Mappings {
    /// What a predecessor left: entries that were asked for, lists of callers, and leases.
    pub fn found(
        standing: BTreeMap<MappingKey, Mapping>,
        callers: impl IntoIterator<Item = ClassKey>,
        leases: BTreeMap<MappingKey, Lease>,
    ) -> Self {
        let mut lists: BTreeMap<u16, Callers> = BTreeMap::new();
        for key in callers {
            if let Some(list) = key.list() {
                lists.entry(list).or_default().insert(key.of_list(0));
            }
        }
        let (mut granted, mut stale) = (BTreeMap::new(), Vec::new());
        for (key, lease) in leases {
            let mapping = standing.get(&key);
            match mapping.and_then(|mapping| Granted::found(&key, mapping, lease)) {
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
            missing: BTreeSet::new(),
            standing,
            lists,
        }
    }

    /// What was granted and has not ended.
    pub fn leases(&self) -> impl Iterator<Item = &Granted> {
        self.leases.values()
    }

    /// Entries that should stand and could not be written; they are tried again.
    pub fn missing(&self) -> &BTreeSet<MappingKey> {
        &self.missing
    }

    /// Whether an entry stands in the tables, as far as is known.
    pub fn stands(&self, key: &MappingKey) -> bool {
        self.standing.contains_key(key)
    }

    /// An entry could not be written.
    pub fn not_written(&mut self, key: &MappingKey) {
        if self.standing.remove(key).is_some() {
            self.missing.insert(*key);
        }
    }

    /// Only these entries were found. Returns whether that is all that should stand; if not,
    /// [`Mappings::reconcile`] has what is missing written again.
    pub fn seen(&mut self, found: &BTreeSet<MappingKey>) -> bool {
        let before = self.standing.len();
        self.standing.retain(|key, _| found.contains(key));
        self.standing.len() == before && self.missing.is_empty()
    }

    /// Says what must be done so that what should stand does.
    pub fn reconcile(&mut self, intent: &Intent, numbers: &Numbers, actions: &mut Vec<Action>) {
        let stale = std::mem::take(&mut self.stale);
        actions.extend(stale.into_iter().map(Action::RemoveLease));
        self.yield_leases(intent, numbers, actions);
        let wanted = self.wanted(intent, numbers);
        let added = difference(&wanted.lists, &self.lists);
        if !added.is_empty() {
            let entries = added.into_iter().map(|key| (key, RuleSet::EMPTY));
            actions.push(Action::PutClasses(entries.collect()));
        }
        for (key, mapping) in &self.standing {
            if !wanted.entries.contains_key(key) {
                let withdrawn = mapping.admitting(Admits::Filtered).under(0, 0);
                actions.push(Action::PutMapping(*key, withdrawn));
            }
        }
        // The external ends first: an internal one may only lead to one that leads back.
        let is_inward = |key: &MappingKey| matches!(key.what(), Some(End::Inward { .. }));
        let (inward, outward): (Vec<_>, Vec<_>) =
            wanted.entries.iter().partition(|(key, _)| is_inward(key));
        for (key, mapping) in inward.into_iter().chain(outward) {
            let before = self.standing.get(key);
            if before.is_none() {
                actions.extend(take(key, numbers));
            }
            if before != Some(mapping) {
                actions.push(Action::PutMapping(*key, *mapping));
            }
        }
        let removed = difference(&self.lists, &wanted.lists);
        if !removed.is_empty() {
            actions.push(Action::RemoveClasses(removed));
        }
        self.standing = wanted.entries;
        self.missing.clear();
        self.lists = wanted.lists;
    }

    /// Lets go of leases that the configuration leaves no place for: their address serves no more, or
    /// their port is forwarded, or in another client's block.
    fn yield_leases(&mut self, intent: &Intent, numbers: &Numbers, actions: &mut Vec<Action>) {
        let forwarded: BTreeSet<_> = forwards(intent).flat_map(ends).collect();
        self.leases.retain(|key, granted| {
            let external = numbers.externals.get(&key.external.wide());
            let is_served = external.and_then(|it| it.state()) == Some(ExternalState::Serving);
            let (client, address) = (*granted.internal.ip(), *granted.external.ip());
            let ranks = intent.ranks(client, address);
            let port = Port::new(granted.external.port());
            let is_allowed = ranks.iter().flatten().any(|ranks| has(ranks, port));
            let stays = is_served && is_allowed && !forwarded.contains(&granted.end());
            if !stays {
                actions.push(Action::RemoveLease(*key));
            }
            stays
        });
    }

    fn wanted(&self, intent: &Intent, numbers: &Numbers) -> Wanted {
        let mut wanted = Wanted::default();
        for forward in forwards(intent) {
            let (address, port) = forward.target;
            let rule = rule(
                intent,
                numbers,
                (forward.protocol, address, forward.address),
            );
            let how = (self.admits(forward, &mut wanted), rule);
            for (offset, end) in ends(forward).enumerate() {
                let port = Port::new(port.saturating_add(offset as u16));
                wanted.map(end, (Ip4(address.octets()), port), how);
            }
        }
        for granted in self.leases.values() {
            let (client, external) = (*granted.internal.ip(), *granted.external.ip());
            let rule = rule(intent, numbers, (granted.protocol, client, external));
            let how = (Admits::Everyone, rule);
            wanted.map(granted.end(), granted.internal(), how);
        }
        wanted
    }

    /// Whom a forward admits; a list of callers that is new gets a number that none of the others has
    /// and none had until now, because entries with the old number are written one by one.
    fn admits(&self, forward: &Forward, wanted: &mut Wanted) -> Admits {
        if forward.callers.is_empty() {
            return Admits::Everyone;
        }
        let key = |net: &ipnet::Ipv4Net| {
            ClassKey::caller(0, Ip4(net.network().octets()), net.prefix_len().into())
        };
        let callers: Callers = forward.callers.iter().map(key).collect();
        let known = |lists: &BTreeMap<u16, Callers>| {
            let mut found = lists.iter().filter(|(_, known)| **known == callers);
            found.next().map(|(number, _)| *number)
        };
        let is_free =
            |number: &u16| !self.lists.contains_key(number) && !wanted.lists.contains_key(number);
        let number = known(&wanted.lists)
            .or_else(|| known(&self.lists))
            .or_else(|| (1..=Admits::LIST_MAX).find(is_free));
        match number {
            Some(number) => {
                wanted.lists.insert(number, callers);
                Admits::Listed(number)
            }
            // There are more numbers than forwards of two configurations.
            None => Admits::Filtered,
        }
    }
}

impl Wanted {
    fn map(
        &mut self,
        (protocol, address, port): (Protocol, Ip4, Port),
        internal: (Ip4, Port),
        (admits, rule): (Admits, u16),
    ) {
        let inward = MappingKey::inward(protocol, (address, port));
        let entry = Mapping::inward(internal, Ip4::NONE, Tick::default()).under(rule, 0);
        self.entries.insert(inward, entry.admitting(admits));
        let outward = MappingKey::outward(protocol, internal, address, Ip4::NONE);
        let entry = Mapping::outward(port, Tick::default());
        let entry = entry.admitting(Admits::Everyone);
        self.entries.entry(outward).or_insert(entry);
    }
}

/// The external end that must lead back before an internal one may lead to it, and to where. Without
/// it there is no room for the internal end either.
pub fn leads_back(key: &MappingKey, mapping: &Mapping) -> Option<(MappingKey, (Ip4, Port))> {
    let protocol = Protocol::from_number(key.protocol)?;
    match key.what()? {
        End::Outward { internal, .. } => {
            let end = (key.external, mapping.port);
            Some((MappingKey::inward(protocol, end), internal))
        }
        End::Inward { .. } | End::Permit { .. } => None,
    }
}

/// The entries that may have to go before an inward entry becomes another endpoint's: the internal
/// ends of the one that had the port. They go only if they have `port` indeed.
pub fn displaced(key: &MappingKey, before: &Mapping, after: &Mapping) -> Option<Displaced> {
    let Some(End::Inward { port }) = key.what() else {
        return None;
    };
    let protocol = Protocol::from_number(key.protocol)?;
    let (old, new) = ((before.internal, before.port), (after.internal, after.port));
    let outward = |remote| MappingKey::outward(protocol, old, key.external, remote);
    (old != new).then(|| Displaced {
        port,
        outward: [outward(Ip4::NONE), outward(before.remote)],
    })
}

/// See [`displaced`].
pub struct Displaced {
    /// The port that they had.
    pub port: Port,
    /// Where they may stand.
    pub outward: [MappingKey; 2],
}

/// The rules that give a client a pool, the first one first, each with the name of the pool.
fn rules_of(
    intent: &Intent,
    client: Ipv4Addr,
    protocol: Protocol,
) -> impl Iterator<Item = (&Rule, &str)> {
    let rules = intent.rules.iter().filter(move |rule| {
        rule.sources
            .iter()
            .any(|net| net.contains(&IpAddr::V4(client)))
            && rule.services.iter().any(|service| match service {
                Service::Any => true,
                Service::Protocol(of) | Service::Ports(of, ..) => *of == protocol,
            })
    });
    rules.filter_map(|rule| match &rule.action {
        intent::Action::Translate { pool } => Some((rule, pool.as_str())),
        intent::Action::Pass => None,
    })
}

/// The number of the rule that gives an internal host the pool that an external address is from; zero
/// if there is none.
fn rule(
    intent: &Intent,
    numbers: &Numbers,
    (protocol, host, external): (Protocol, Ipv4Addr, Ipv4Addr),
) -> u16 {
    let pools = || intent.pools.iter();
    let pool = pools().find(|pool| pool.addresses.contains(&external.into()));
    let mut rules = rules_of(intent, host, protocol);
    let rule = rules.find(|(_, name)| pool.is_some_and(|pool| pool.name == *name));
    let number = rule.and_then(|(rule, _)| numbers.rules.get(&rule.name));
    number.copied().unwrap_or(0)
}

fn forwards(intent: &Intent) -> impl Iterator<Item = &Forward> {
    intent.pools.iter().flat_map(|pool| &pool.forwards)
}

/// The external ends of a forward, port by port.
fn ends(forward: &Forward) -> impl Iterator<Item = (Protocol, Ip4, Port)> + use<> {
    let (protocol, address) = (forward.protocol, Ip4(forward.address.octets()));
    let ports = forward.ports.first..=forward.ports.last;
    ports.map(move |port| (protocol, address, Port::new(port)))
}

/// Keeps the port of an external end from the packet path.
fn take(key: &MappingKey, numbers: &Numbers) -> Option<Action> {
    let Some(End::Inward { port }) = key.what() else {
        return None;
    };
    let protocol = Protocol::from_number(key.protocol)?;
    let external = numbers.externals.get(&key.external.wide())?;
    Some(Action::TakePort(
        external.bitmaps_of(protocol).collect(),
        port,
    ))
}

/// What lists have that others have not.
fn difference(lists: &BTreeMap<u16, Callers>, others: &BTreeMap<u16, Callers>) -> Vec<ClassKey> {
    let empty = Callers::new();
    let numbered = lists.iter().flat_map(|(number, callers)| {
        let others = others.get(number).unwrap_or(&empty);
        let left = callers.difference(others);
        left.map(|key| key.of_list(*number)).collect::<Vec<_>>()
    });
    numbered.collect()
}

#[cfg(test)]
mod tests;
