//! Lists of those who may call a forwarded port, as the tables of prefixes have them.
//!
//! Where a port leads to somebody who has IPv6, callers of IPv4 are looked for by their mapped addresses,
//! as in all tables of both versions.

use std::collections::{BTreeMap, BTreeSet};

use abi::{Address, Admits, ClassKey, Ip4, Ip6};
use ipnet::IpNet;

use crate::intent::Forward;

/// Prefixes of callers, as keys of a list without a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Callers {
    v4: BTreeSet<ClassKey>,
    v6: BTreeSet<ClassKey<Ip6>>,
}

impl Callers {
    /// Those of a forward.
    fn of(forward: &Forward) -> Self {
        let mut callers = Self::default();
        let is_narrow = forward.target.0.is_ipv4();
        for net in &forward.callers {
            let bits = u32::from(net.prefix_len());
            match net {
                IpNet::V4(net) if is_narrow => {
                    let key = ClassKey::caller(0, Ip4(net.network().octets()), bits);
                    callers.v4.insert(key);
                }
                IpNet::V4(net) => {
                    let address = Ip6::mapped(Ip4(net.network().octets()));
                    let before = Ip6::LENGTH - Ip4::LENGTH;
                    callers
                        .v6
                        .insert(ClassKey::caller(0, address, before + bits));
                }
                IpNet::V6(net) => {
                    let key = ClassKey::caller(0, Ip6(net.network().octets()), bits);
                    callers.v6.insert(key);
                }
            }
        }
        callers
    }
}

/// Lists by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists(BTreeMap<u16, Callers>);

impl Lists {
    /// What a predecessor left.
    pub fn found(
        v4: impl IntoIterator<Item = ClassKey>,
        v6: impl IntoIterator<Item = ClassKey<Ip6>>,
    ) -> Self {
        let mut lists: BTreeMap<u16, Callers> = BTreeMap::new();
        for key in v4 {
            if let Some(list) = key.list() {
                lists.entry(list).or_default().v4.insert(key.of_list(0));
            }
        }
        for key in v6 {
            if let Some(list) = key.list() {
                lists.entry(list).or_default().v6.insert(key.of_list(0));
            }
        }
        Self(lists)
    }

    /// Whom a forward admits; a list of callers that is new gets a number that none of the others has
    /// and none had `before`, because entries with the old number are written one by one.
    pub fn admits(&mut self, forward: &Forward, before: &Self) -> Admits {
        if forward.callers.is_empty() {
            return Admits::Everyone;
        }
        let callers = Callers::of(forward);
        let known = |lists: &Self| {
            let mut found = lists.0.iter().filter(|(_, known)| **known == callers);
            found.next().map(|(number, _)| *number)
        };
        let is_free = |number: &u16| !before.0.contains_key(number) && !self.0.contains_key(number);
        let number = known(self)
            .or_else(|| known(before))
            .or_else(|| (1..=Admits::LIST_MAX).find(is_free));
        match number {
            Some(number) => {
                self.0.insert(number, callers);
                Admits::Listed(number)
            }
            // There are more numbers than forwards of two configurations.
            None => Admits::Filtered,
        }
    }

    /// What they have that others have not.
    pub fn beyond(&self, others: &Self) -> (Vec<ClassKey>, Vec<ClassKey<Ip6>>) {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let empty = Callers::default();
        for (number, callers) in &self.0 {
            let others = others.0.get(number).unwrap_or(&empty);
            let numbered = |key: &ClassKey| key.of_list(*number);
            v4.extend(callers.v4.difference(&others.v4).map(numbered));
            let numbered = |key: &ClassKey<Ip6>| key.of_list(*number);
            v6.extend(callers.v6.difference(&others.v6).map(numbered));
        }
        (v4, v6)
    }
}
