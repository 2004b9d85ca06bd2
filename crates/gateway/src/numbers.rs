//! The numbers that stand for pools, rules and addresses in the tables.
//!
//! A number never changes while something uses it: a flow names its pool and its rule by number, and
//! an address its port bitmaps. So numbers are read back from the tables before new ones are given.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use abi::{
    External, ExternalState, Ip6, Port,
    limits::{ADDRESSES_MAX, OVERLOADED_MAX, POOLS_MAX, RULE_NUMBERS},
};

use crate::intent::{Action, Pool, Rule};

/// Pools by name and addresses by value, each with its number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    /// The number of each pool that is wanted or still draining.
    pub pools: BTreeMap<String, u8>,
    /// The number of each rule that translates, or of which flows or ports are left; never zero.
    pub rules: BTreeMap<String, u16>,
    /// Every external address of both versions, serving or draining.
    pub externals: BTreeMap<Ip6, External>,
}

/// Why numbers could not be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumbersError {
    /// Pools that drain still hold theirs.
    #[error(
        "no number is left for pool {0}: {POOLS_MAX} pools are in use or still draining; \
         wait until the flows of removed pools have ended"
    )]
    Pools(usize),
    /// Rules that are gone still hold theirs.
    #[error(
        "no number is left for rule {0}: {RULE_NUMBERS} rules are in use or still have flows; \
         wait until the flows of removed rules have ended"
    )]
    Rules(usize),
    /// Addresses that drain still hold theirs.
    #[error(
        "no port tables are left for address {0}: {ADDRESSES_MAX} addresses are in use or still \
         draining; wait until the flows of removed addresses have ended"
    )]
    Addresses(IpAddr),
    /// Overloaded addresses that drain still hold theirs.
    #[error(
        "no port tables are left to overload address {0}: {OVERLOADED_MAX} overloaded addresses are \
         in use or still draining; wait until the flows of removed addresses have ended"
    )]
    Planes(IpAddr),
}

impl Numbers {
    /// The numbers for these pools: old ones where there are, new ones else. What is no longer
    /// wanted is kept, draining.
    ///
    /// # Errors
    ///
    /// If too much is draining to give new numbers.
    pub fn assign(&self, pools: &[Pool]) -> Result<Self, NumbersError> {
        let mut next = self.draining();
        // First, because another address may get its planes.
        let plain = pools.iter().filter(|pool| !pool.behaviour.overloads());
        for address in plain.flat_map(|pool| &pool.addresses) {
            if let Some(external) = next.externals.get_mut(&Ip6::from(*address)) {
                external.planes = 0;
            }
        }
        for (position, pool) in pools.iter().enumerate() {
            let number = match next.pools.get(&pool.name) {
                Some(number) => *number,
                None => free(0..POOLS_MAX as u8, |number| {
                    next.pools.values().any(|taken| taken == number)
                })
                .ok_or(NumbersError::Pools(position))?,
            };
            next.pools.insert(pool.name.clone(), number);
            for address in &pool.addresses {
                next.serve(number, *address, pool)?;
            }
        }
        Ok(next)
    }

    /// The same with numbers for the rules of these that translate: old ones where there are, new
    /// ones else.
    ///
    /// # Errors
    ///
    /// If too many that are gone still have flows to give new numbers.
    pub fn assign_rules(mut self, rules: &[Rule]) -> Result<Self, NumbersError> {
        let mut taken: BTreeSet<u16> = self.rules.values().copied().collect();
        let translating = |(_, rule): &(usize, &Rule)| match rule.action {
            Action::Translate { .. } => !self.rules.contains_key(&rule.name),
            Action::Pass => false,
        };
        let new: Vec<_> = rules.iter().enumerate().filter(translating).collect();
        for (position, rule) in new {
            let number = free(1..RULE_NUMBERS as u16, |number| taken.contains(number))
                .ok_or(NumbersError::Rules(position))?;
            taken.insert(number);
            self.rules.insert(rule.name.clone(), number);
        }
        Ok(self)
    }

    /// Forgets the rules that are not wanted and of which nothing is left, as `is_idle` says. Returns
    /// their numbers.
    pub fn forget_rules(&mut self, wanted: &[Rule], is_idle: impl Fn(u16) -> bool) -> Vec<u16> {
        let mut forgotten = Vec::new();
        self.rules.retain(|name, number| {
            let is_kept = wanted.iter().any(|rule| rule.name == *name) || !is_idle(*number);
            if !is_kept {
                forgotten.push(*number);
            }
            is_kept
        });
        forgotten
    }

    /// The name of a rule.
    pub fn rule_name(&self, number: u16) -> Option<&str> {
        self.rules
            .iter()
            .find(|(_, taken)| **taken == number)
            .map(|(name, _)| name.as_str())
    }

    fn serve(&mut self, pool: u8, address: IpAddr, wanted: &Pool) -> Result<(), NumbersError> {
        let key = Ip6::from(address);
        let index = match self.externals.get(&key) {
            Some(external) => external.index,
            None => free(0..ADDRESSES_MAX as u16, |index| {
                self.externals
                    .values()
                    .any(|external| external.index == *index)
            })
            .ok_or(NumbersError::Addresses(address))?,
        };
        let planes = match wanted.behaviour.overloads() {
            true => self.planes(key).ok_or(NumbersError::Planes(address))?,
            false => 0,
        };
        let ports = (Port::new(wanted.ports.first), Port::new(wanted.ports.last));
        let place = (index, pool);
        let external = External::new(place, ExternalState::Serving, ports, wanted.behaviour);
        self.externals.insert(key, external.with_planes(planes));
        Ok(())
    }

    /// The planes that an address has, or could have.
    fn planes(&self, address: Ip6) -> Option<u8> {
        let has = self.externals.get(&address).map(|it| it.planes);
        has.filter(|planes| *planes != 0).or_else(|| {
            free(1..=OVERLOADED_MAX as u8, |planes| {
                self.externals.values().any(|it| it.planes == *planes)
            })
        })
    }

    fn draining(&self) -> Self {
        let externals = self.externals.iter().map(|(address, external)| {
            let External {
                index,
                pool,
                first,
                last,
                behaviour,
                planes,
                ..
            } = *external;
            let place = (index, pool);
            let draining = External::new(place, ExternalState::Draining, (first, last), behaviour);
            (*address, draining.with_planes(planes))
        });
        Self {
            pools: self.pools.clone(),
            rules: self.rules.clone(),
            externals: externals.collect(),
        }
    }

    /// Forgets the draining addresses that `is_idle` says nothing uses. Returns them.
    pub fn forget(&mut self, is_idle: impl Fn(&Ip6) -> bool) -> Vec<Ip6> {
        let forgotten: Vec<_> = self
            .externals
            .iter()
            .filter(|(address, external)| {
                external.state() == Some(ExternalState::Draining) && is_idle(address)
            })
            .map(|(address, _)| *address)
            .collect();
        for address in &forgotten {
            self.externals.remove(address);
        }
        forgotten
    }

    /// Forgets the pools that are not wanted, have no address, and are no flow's, as `is_idle` says.
    pub fn forget_pools(&mut self, wanted: &[Pool], is_idle: impl Fn(u8) -> bool) {
        let externals = &self.externals;
        self.pools.retain(|name, number| {
            wanted.iter().any(|pool| pool.name == *name)
                || externals.values().any(|external| external.pool == *number)
                || !is_idle(*number)
        });
    }

    /// The name of a pool.
    pub fn pool_name(&self, number: u8) -> Option<&str> {
        self.pools
            .iter()
            .find(|(_, taken)| **taken == number)
            .map(|(name, _)| name.as_str())
    }
}

fn free<N: Copy>(mut all: impl Iterator<Item = N>, is_taken: impl Fn(&N) -> bool) -> Option<N> {
    all.find(|number| !is_taken(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::{HoldDown, PortRange};

    fn pool(name: &str, addresses: &[[u8; 4]]) -> Pool {
        Pool {
            name: name.to_owned(),
            addresses: addresses.iter().map(|it| IpAddr::from(*it)).collect(),
            ports: PortRange {
                first: 1024,
                last: 65535,
            },
            blocks: None,
            behaviour: Pool::BEHAVIOUR_DEFAULT,
            hold: HoldDown::DEFAULT,
            timeouts: None,
            services: Vec::new(),
            forwards: Vec::new(),
        }
    }

    fn key(address: [u8; 4]) -> Ip6 {
        IpAddr::from(address).into()
    }

    const A: [u8; 4] = [192, 0, 2, 1];
    const B: [u8; 4] = [192, 0, 2, 2];

    #[test]
    fn a_number_stays_when_pools_before_it_go() {
        let before = Numbers::default().assign(&[pool("a", &[A]), pool("b", &[B])]);
        let before = before.expect("numbers are free");

        let after = before.assign(&[pool("b", &[B])]).expect("numbers are free");

        assert_eq!(after.pools["b"], before.pools["b"]);
        assert_eq!(after.externals[&key(B)], before.externals[&key(B)]);
    }

    #[test]
    fn an_address_that_was_taken_away_drains_until_it_is_idle() {
        let before = Numbers::default()
            .assign(&[pool("a", &[A, B])])
            .expect("numbers are free");

        let mut after = before.assign(&[pool("a", &[A])]).expect("numbers are free");
        assert_eq!(
            after.externals[&key(B)].state(),
            Some(ExternalState::Draining)
        );
        assert!(after.forget(|_| false).is_empty());
        assert_eq!(after.forget(|_| true), [key(B)]);

        assert!(!after.externals.contains_key(&key(B)));
        assert!(after.externals.contains_key(&key(A)));
    }

    /// As many addresses as planes, which go from one pool to another in one change.
    #[test]
    fn planes_are_an_addresss_own_while_it_is_overloaded_and_then_anothers() {
        let range = |third: u8| (0..OVERLOADED_MAX as u8).map(move |last| [198, 18, third, last]);
        let [few, many]: [Vec<_>; 2] = [range(1).collect(), range(2).collect()];
        let overloading = |pool: Pool| Pool {
            behaviour: pool.behaviour.overloading(),
            ..pool
        };
        let pools = [pool("a", &few), overloading(pool("b", &many))];
        let before = Numbers::default().assign(&pools).expect("planes are free");
        let planes = |numbers: &Numbers, all: &[[u8; 4]]| -> Vec<u8> {
            let of = |address| numbers.externals[&key(address)].planes;
            all.iter().copied().map(of).collect()
        };
        let mut given = planes(&before, &many);
        given.sort_unstable();
        assert!(given.into_iter().eq(1..=OVERLOADED_MAX as u8));
        assert!(planes(&before, &few).iter().all(|planes| *planes == 0));
        let same = before.assign(&pools).expect("they have theirs");
        assert_eq!(same, before);

        let swapped = [overloading(pool("a", &few)), pool("b", &many)];
        let after = before.assign(&swapped).expect("planes are given back");
        assert!(planes(&after, &many).iter().all(|planes| *planes == 0));
        assert!(!planes(&after, &few).contains(&0));

        let gone = [overloading(pool("b", &[A]))];
        let refusal = after.assign(&gone).expect_err("all drain");
        assert_eq!(refusal, NumbersError::Planes(A.into()));
    }

    #[test]
    fn a_pool_that_went_keeps_its_number_until_its_addresses_and_flows_are_gone() {
        let before = Numbers::default()
            .assign(&[pool("a", &[A])])
            .expect("numbers are free");
        let wanted = [pool("b", &[B])];

        let mut after = before.assign(&wanted).expect("numbers are free");
        assert_ne!(after.pools["b"], after.pools["a"]);
        after.forget_pools(&wanted, |_| true);
        assert!(after.pools.contains_key("a"), "its address drains");
        after.forget(|_| true);
        after.forget_pools(&wanted, |_| false);
        assert!(after.pools.contains_key("a"), "a flow is its own");
        after.forget_pools(&wanted, |_| true);

        assert!(!after.pools.contains_key("a"));
    }
}
