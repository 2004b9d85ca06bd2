//! The tables of prefixes that are translated one to one, and how they become others: as a policy is
//! replaced, the new version is written beside the one in force, which is removed before the next.

use std::collections::BTreeMap;

use abi::{Address, Config, Fixed, FixedKey, Ip4, Ip6, fixed::VERSION_MAX};
use ipnet::IpNet;

use crate::{intent::FixedPrefix, machine::Action};

/// What is in the tables of both versions of IP.
#[derive(Clone, Debug, Default)]
pub struct FixedTables {
    /// What is wanted; nothing until that is known.
    wanted: Option<Vec<FixedPrefix>>,
    /// The version that was written last.
    version: u32,
    keys: Vec<FixedKey>,
    keys6: Vec<FixedKey<Ip6>>,
}

impl FixedTables {
    /// With what a predecessor left.
    pub fn found(config: &Config, keys: Vec<FixedKey>, keys6: Vec<FixedKey<Ip6>>) -> Self {
        let versions = keys.iter().map(FixedKey::version);
        let versions = versions.chain(keys6.iter().map(FixedKey::version));
        let version = match in_force(config) {
            0 => versions.max().unwrap_or(0),
            version => version,
        };
        Self {
            wanted: None,
            version,
            keys,
            keys6,
        }
    }

    /// Has these prefixes written, if they are others, and puts their version into the words that come
    /// into force next.
    pub fn change(
        &mut self,
        wanted: &[FixedPrefix],
        config: &mut Config,
        actions: &mut Vec<Action>,
    ) {
        if self.wanted.as_deref() == Some(wanted) {
            return;
        }
        self.wanted = Some(wanted.to_owned());
        // Also what an interrupted predecessor left of the version that is written now.
        let outdated = outdated(&mut self.keys, in_force(config));
        if !outdated.is_empty() {
            actions.push(Action::RemoveFixed(outdated));
        }
        let outdated6 = self::outdated(&mut self.keys6, in_force(config));
        if !outdated6.is_empty() {
            actions.push(Action::RemoveFixed6(outdated6));
        }
        self.version = self.version % VERSION_MAX + 1;
        let (v4, v6) = compile(wanted, self.version);
        self.keys.extend(v4.keys());
        self.keys6.extend(v6.keys());
        let word = |is_empty| if is_empty { 0 } else { self.version };
        (config.fixed, config.fixed6) = (word(v4.is_empty()), word(v6.is_empty()));
        if !v4.is_empty() {
            actions.push(Action::PutFixed(v4.into_iter().collect()));
        }
        if !v6.is_empty() {
            actions.push(Action::PutFixed6(v6.into_iter().collect()));
        }
    }
}

/// Both versions of IP have the same number, where they have one.
fn in_force(config: &Config) -> u32 {
    config.fixed.max(config.fixed6)
}

/// Takes the keys of other versions out.
fn outdated<A: Address>(keys: &mut Vec<FixedKey<A>>, version: u32) -> Vec<FixedKey<A>> {
    let (kept, others) = std::mem::take(keys)
        .into_iter()
        .partition(|key| key.version() == version);
    *keys = kept;
    others
}

type Entries<A> = BTreeMap<FixedKey<A>, Fixed>;

/// The entries of a version.
fn compile(wanted: &[FixedPrefix], version: u32) -> (Entries<Ip4>, Entries<Ip6>) {
    let (mut v4, mut v6) = (BTreeMap::new(), BTreeMap::new());
    for (number, prefix) in (0..).zip(wanted) {
        let bits = u32::from(prefix.internal.prefix_len());
        let has_exceptions = !prefix.except.is_empty();
        match (
            address(prefix.internal).ip4(),
            address(prefix.external).ip4(),
        ) {
            (Some(internal), Some(external)) => {
                let directions = (Fixed::to_ip4(external, bits), Fixed::to_ip4(internal, bits));
                let directions = numbered(directions, number, has_exceptions);
                put(&mut v4, version, (internal, external, bits), directions);
            }
            _ => {
                let ends = (address(prefix.internal), address(prefix.external));
                let directions = (
                    Fixed::to_ip6(ends.0, ends.1, bits),
                    Fixed::to_ip6(ends.1, ends.0, bits),
                );
                let directions = numbered(directions, number, has_exceptions);
                put(&mut v6, version, (ends.0, ends.1, bits), directions);
            }
        }
        for net in &prefix.except {
            let (remote, bits) = (address(*net), u32::from(net.prefix_len()));
            match remote.ip4() {
                Some(remote) => {
                    let key = FixedKey::except(version, number, remote, bits);
                    v4.insert(key, Fixed::EXCEPTION);
                }
                None => {
                    let key = FixedKey::except(version, number, remote, bits);
                    v6.insert(key, Fixed::EXCEPTION);
                }
            }
        }
    }
    (v4, v6)
}

fn address(net: IpNet) -> Ip6 {
    net.network().into()
}

fn numbered((out, back): (Fixed, Fixed), number: u16, has_exceptions: bool) -> (Fixed, Fixed) {
    (
        out.numbered(number, has_exceptions),
        back.numbered(number, has_exceptions),
    )
}

fn put<A: Address>(
    entries: &mut Entries<A>,
    version: u32,
    (internal, external, bits): (A, A, u32),
    (out, back): (Fixed, Fixed),
) {
    entries.insert(FixedKey::internal(version, internal, bits), out);
    entries.insert(FixedKey::external(version, external, bits), back);
}

#[cfg(test)]
mod tests;
