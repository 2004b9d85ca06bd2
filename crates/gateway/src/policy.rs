//! Compiles rules into the sets of rules that the packet path ands (see [`abi::policy`]).

use std::collections::BTreeMap;

use abi::{
    Address, Behaviour, Blocks, ClassKey, Dimension, External, Ip4, Ip6, Numbered,
    Pool as PoolEntry, Port, Protocol, Quota, Rule as RuleEntry, RuleSet, Slot, Slots6,
    limits::{NAME_BYTES, POOLS_MAX},
    policy,
};
use ipnet::IpNet;

use crate::{
    intent::{Action, Intent, Pool, Rule, Service, Target},
    numbers::Numbers,
    slots,
};

/// Everything that one version of a policy puts into the tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The version its entries carry.
    pub version: u32,
    /// Prefixes of IPv4 addresses and services, and the rules that want them.
    pub classes: BTreeMap<ClassKey, RuleSet>,
    /// The same of IPv6 addresses.
    pub classes6: BTreeMap<ClassKey<Ip6>, RuleSet>,
    /// Rules, in the bank of the version.
    pub rules: Vec<(u32, RuleEntry)>,
    /// Pools, in the bank of the version, each with its IPv6 addresses.
    pub pools: Vec<(u32, Box<PoolEntry>, Box<Slots6>)>,
}

/// Compiles an intent whose pools and addresses have these numbers.
pub fn compile(intent: &Intent, numbers: &Numbers, version: u32) -> Policy {
    let (mut classes, mut classes6) = (BTreeMap::new(), BTreeMap::new());
    for (dimension, of) in DIMENSIONS {
        let (v4, v6) = address_prefixes(&intent.rules, of);
        for (prefix, set) in nest(v4) {
            let address = Ip4(((prefix.value >> 96) as u32).to_be_bytes());
            let bits = u32::from(prefix.bits);
            classes.insert(ClassKey::address(version, dimension, address, bits), set);
        }
        for (prefix, set) in nest(v6) {
            let address = Ip6(prefix.value.to_be_bytes());
            let bits = u32::from(prefix.bits);
            classes6.insert(ClassKey::address(version, dimension, address, bits), set);
        }
    }
    for (prefix, set) in nest(service_prefixes(&intent.rules)) {
        classes.insert(service_key(version, prefix), set);
    }
    for (key, set) in touched(version, &intent.rules) {
        classes.insert(key, set);
    }
    let rules = intent.rules.iter().enumerate().map(|(index, rule)| {
        let index = policy::rule_index(version, index as u32);
        let entry = RuleEntry::encode(action(rule, numbers));
        let entry = match rule.target {
            Some(Target { address, shift }) => entry.leading_to(address.into(), shift),
            None => entry,
        };
        (index, entry)
    });
    Policy {
        version,
        classes,
        classes6,
        rules: rules.collect(),
        pools: pools(intent, numbers, version),
    }
}

/// Prefixes of addresses that a rule has.
type Nets = fn(&Rule) -> &Vec<IpNet>;

/// The dimensions that are addresses, and what a rule says of them.
const DIMENSIONS: [(Dimension, Nets); 2] = [
    (Dimension::Source, |rule| &rule.sources),
    (Dimension::Destination, |rule| &rule.destinations),
];

fn action(rule: &Rule, numbers: &Numbers) -> abi::Action {
    match &rule.action {
        Action::Pass => abi::Action::Pass,
        Action::Translate { pool } => match numbers.pools.get(pool) {
            Some(number) => abi::Action::Translate {
                pool: *number,
                rule: numbers.rules.get(&rule.name).copied().unwrap_or(0),
            },
            // An intent's rules name its own pools, and all of those have numbers.
            None => abi::Action::Pass,
        },
    }
}

/// An entry for every number: pools that drain keep their names, without an address to give, for the
/// daemon that comes after; and no name of an older policy stays where it could be taken for one.
fn pools(
    intent: &Intent,
    numbers: &Numbers,
    version: u32,
) -> Vec<(u32, Box<PoolEntry>, Box<Slots6>)> {
    let entries = |number: u8| {
        let name = numbers.pool_name(number);
        let wanted = intent
            .pools
            .iter()
            .find(|pool| Some(pool.name.as_str()) == name);
        let blocks = wanted.and_then(|pool| pool.blocks.as_ref());
        let slots = || {
            let all = wanted.into_iter().flat_map(|pool| &pool.addresses);
            all.filter_map(|address| {
                let address = Ip6::from(*address);
                let External { index, planes, .. } = *numbers.externals.get(&address)?;
                Some(Slot::new(address, index, planes))
            })
        };
        let v4: Vec<_> = slots()
            .filter_map(|slot| Some(slot.with(slot.address.ip4()?)))
            .collect();
        let v6: Vec<_> = slots()
            .filter(|slot| slot.address.ip4().is_none())
            .collect();
        let pool = PoolEntry {
            name: name_bytes(name.unwrap_or("")),
            behaviour: wanted.map_or(Behaviour::STRICTEST, |pool| behaviour(intent, pool)),
            blocks: blocks.map_or(Blocks::NONE, |blocks| blocks.entry),
            slots: match blocks {
                Some(_) => *slots::in_turn(&v4),
                None => *slots::spread(&v4),
            },
        };
        (
            policy::pool_index(version, number),
            Box::new(pool),
            Box::new(Slots6(*slots::spread(&v6))),
        )
    };
    (0..POOLS_MAX as u8).map(entries).collect()
}

/// How a pool translates. Packets between members of a cluster have an outer header, for which TCP leaves
/// room.
fn behaviour(intent: &Intent, pool: &Pool) -> Behaviour {
    let mut behaviour = pool.behaviour;
    if let Some(cluster) = &intent.cluster {
        let wanted = Some(behaviour.mss).filter(|mss| *mss != 0);
        behaviour.mss = wanted.map_or(cluster.mss(), |mss| mss.min(cluster.mss()));
    }
    behaviour
}

/// A pool's name as the tables hold it; [`name`] reads it back.
pub(crate) fn name_bytes(name: &str) -> [u8; NAME_BYTES] {
    let mut bytes = [0; NAME_BYTES];
    for (byte, letter) in bytes.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    bytes
}

/// The name in a pool's entry; nothing in an entry that was never written.
pub fn name(entry: &PoolEntry) -> Option<String> {
    text(&entry.name)
}

/// The name of the rule whose number an entry stands under; nothing if it is no rule's.
pub fn rule_name(entry: &Numbered) -> Option<String> {
    text(&entry.name)
}

fn text(name: &[u8; NAME_BYTES]) -> Option<String> {
    let bytes = name.iter().copied().take_while(|byte| *byte != 0);
    String::from_utf8(bytes.collect())
        .ok()
        .filter(|name| !name.is_empty())
}

/// What stands under the numbers of rules: names, and what the wanted ones allow. A rule that is gone
/// allows everything: nothing begins under it any more.
pub fn numbered(rules: &[Rule], numbers: &Numbers) -> BTreeMap<u16, Numbered> {
    let entry = |(name, number): (&String, &u16)| {
        let wanted = rules.iter().find(|rule| rule.name == *name);
        let entry = Numbered {
            name: name_bytes(name),
            quota: wanted.map_or(Quota::NONE, |rule| rule.quota),
        };
        (*number, entry)
    };
    numbers.rules.iter().map(entry).collect()
}

/// Bits that are the same in all values of a class, from the highest: a value that has fewer than
/// these begins at the highest too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Prefix {
    value: u128,
    bits: u8,
}

impl Prefix {
    /// The first bits of a value of 32.
    fn of_word(value: u32, bits: u8) -> Self {
        Self {
            value: u128::from(value) << 96,
            bits,
        }
    }

    fn covers(self, other: Self) -> bool {
        let mask = u128::MAX
            .checked_shl(128 - u32::from(self.bits))
            .unwrap_or(0);
        self.bits <= other.bits && (self.value ^ other.value) & mask == 0
    }
}

/// Prefixes, each with the rule that wants it.
type Wishes = Vec<(Prefix, usize)>;

/// For each prefix the rules that want all of it: its own and those of every prefix around it.
fn nest(prefixes: Wishes) -> Vec<(Prefix, RuleSet)> {
    let mut own: BTreeMap<Prefix, RuleSet> = BTreeMap::new();
    for (prefix, rule) in prefixes {
        include(own.entry(prefix).or_insert(RuleSet::EMPTY), rule);
    }
    let mut around: Vec<(Prefix, RuleSet)> = Vec::new();
    let mut nested = Vec::with_capacity(own.len());
    // In this order every prefix comes after all that cover it.
    for (prefix, mut set) in own {
        while around
            .last()
            .is_some_and(|(outer, _)| !outer.covers(prefix))
        {
            around.pop();
        }
        if let Some((_, outer)) = around.last() {
            for (word, more) in set.0.iter_mut().zip(outer.0) {
                *word |= more;
            }
        }
        around.push((prefix, set));
        nested.push((prefix, set));
    }
    nested
}

fn include(set: &mut RuleSet, rule: usize) {
    if let Some(word) = set.0.get_mut(rule / 64) {
        *word |= 1 << (rule % 64);
    }
}

/// The prefixes of all rules, those of IPv4 and those of IPv6.
fn address_prefixes(rules: &[Rule], of: Nets) -> (Wishes, Wishes) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for (index, rule) in rules.iter().enumerate() {
        for net in of(rule) {
            match net {
                IpNet::V4(net) => {
                    let prefix = Prefix::of_word(net.network().into(), net.prefix_len());
                    v4.push((prefix, index));
                }
                IpNet::V6(net) => {
                    let (value, bits) = (net.network().into(), net.prefix_len());
                    v6.push((Prefix { value, bits }, index));
                }
            }
        }
    }
    (v4, v6)
}

/// Services as prefixes of protocol, zero, port.
fn service_prefixes(rules: &[Rule]) -> Wishes {
    let mut all = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        for service in &rule.services {
            match service {
                Service::Any => all.push((Prefix::of_word(0, 0), index)),
                Service::Protocol(protocol) => {
                    let value = u32::from(*protocol as u8) << 24;
                    all.push((Prefix::of_word(value, 16), index));
                }
                Service::Ports(protocol, first, last) => {
                    let lead = u32::from(*protocol as u8) << 24;
                    let ports = port_prefixes(*first, *last).into_iter();
                    all.extend(ports.map(|(port, bits)| {
                        let value = lead | u32::from(port);
                        (Prefix::of_word(value, 16 + bits), index)
                    }));
                }
            }
        }
    }
    all
}

/// The fewest prefixes that make up a range of ports; thirty at most.
fn port_prefixes(first: u16, last: u16) -> Vec<(u16, u8)> {
    let (mut at, end) = (u32::from(first), u32::from(last) + 1);
    let mut prefixes = Vec::new();
    while at < end {
        let by_place = at.trailing_zeros().min(16);
        let by_size = (end - at).ilog2();
        let free = by_place.min(by_size);
        prefixes.push((at as u16, (16 - free) as u8));
        at += 1 << free;
    }
    prefixes
}

fn service_key(version: u32, prefix: Prefix) -> ClassKey {
    let [protocol, _, high, low, ..] = prefix.value.to_be_bytes();
    match prefix.bits.checked_sub(16) {
        None => ClassKey::protocol(version, None),
        Some(0) => ClassKey::protocol(version, Protocol::from_number(protocol)),
        Some(bits) => ClassKey::service(version, protocol, Port([high, low]), u32::from(bits)),
    }
}

/// For each protocol the rules that translate it on some port or on all.
fn touched(version: u32, rules: &[Rule]) -> Vec<(ClassKey, RuleSet)> {
    let set = |wanted: Option<Protocol>| {
        let mut set = RuleSet::EMPTY;
        for (index, rule) in rules.iter().enumerate() {
            if rule.action == Action::Pass {
                continue;
            }
            let is_touched = rule.services.iter().any(|service| match service {
                Service::Any => true,
                Service::Protocol(protocol) | Service::Ports(protocol, ..) => {
                    Some(*protocol) == wanted
                }
            });
            if is_touched {
                include(&mut set, index);
            }
        }
        set
    };
    let protocols = Protocol::ALL.into_iter().map(|protocol| {
        (
            ClassKey::touched(version, protocol as u8),
            set(Some(protocol)),
        )
    });
    protocols
        .chain([(ClassKey::touched_any(version), set(None))])
        .collect()
}

#[cfg(test)]
mod tests;
