//! Flows as the members of a cluster copy them to each other: what is said of one, and what entries of the
//! tables another member makes of that. [`Exchange`] is the machine that tells and takes in.
//!
//! ```text
//! sweep ─► Shadow: new, or in another state ─┐                       ┌─► both directions of the flow
//! the packet path: begun ────────────────────┴─► copy ═ bytes ═ copy ┼─► its mapping, a permit
//!                                                        with Terms ─┘   the port that it uses
//! ```
//!
//! Numbers of pools, rules and addresses are each member's own, so none is said: the external address says the
//! pool, and a rule is said by its name. What mappings there are follows from the flows and the behaviour of
//! their pool.

mod adopt;
mod entries;
pub mod exchange;
mod shadow;
mod told;
mod wire;

use std::collections::{BTreeMap, HashMap};

use abi::{
    Address, External, FlowKey, Ip4, Ip6, Port, Prefix64, Protocol, Tick, Tuple, cluster::bucket_of,
};

pub use adopt::{Flows, Outcome, Put, Shelf, Store, adopt, let_go};
pub use entries::{Entries, Entry, Refused};
pub use exchange::Exchange;
pub use shadow::Shadow;
pub use told::{changes, record};
pub use wire::{Any, FORMAT, Malformed, Which, key};

use crate::{cluster, intent::Intent, numbers::Numbers, sweep::Joined};

/// What numbers mean on this member.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    externals: BTreeMap<Ip6, External>,
    /// What stands for the name of a rule among members, by its number.
    names: HashMap<u16, u64>,
    rules: HashMap<u64, u16>,
    prefixes: Vec<Prefix64>,
    seed: u64,
}

impl Terms {
    /// What numbers mean, where the packet path's hashes have this key.
    pub fn new(intent: &Intent, numbers: &Numbers, seed: u64) -> Self {
        let rules = numbers.rules.iter();
        let names: HashMap<u16, u64> = rules
            .map(|(name, number)| (*number, cluster::number(name)))
            .collect();
        Self {
            externals: numbers.externals.clone(),
            rules: names
                .iter()
                .map(|(number, name)| (*name, *number))
                .collect(),
            names,
            prefixes: intent.prefixes.clone(),
            seed,
        }
    }

    /// The address that is meant: the IPv4 one that an IPv6 one stands for, if it does.
    fn meant<A: Address>(&self, address: A) -> A {
        if A::LENGTH == Ip4::LENGTH {
            return address;
        }
        let mut prefixes = self.prefixes.iter();
        let meant = prefixes.find_map(|prefix| prefix.extract(&address.wide()));
        meant.map_or(address, A::of_ip4)
    }

    /// By which prefix somebody knows this address, as an index; zero if by none.
    fn prefix_of<A: Address>(&self, address: A) -> u16 {
        let knows = |prefix: &Prefix64| prefix.extract(&address.wide()).is_some();
        let place = self.prefixes.iter().position(knows);
        place.and_then(|at| u16::try_from(at).ok()).unwrap_or(0)
    }
}

/// All that one member tells another of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowCopy<A: Address = Ip4> {
    /// Its protocol.
    pub protocol: Protocol,
    /// What its packets towards the external realm carry when they come.
    pub asked: Tuple<A>,
    /// What these carry when they leave.
    pub sent: Tuple<A>,
    /// What translating adds to the sums of the IP and the transport header; outbound, then inbound.
    pub deltas: [(u16, u16); 2],
    /// TCP flags seen, outbound, then inbound; see [`abi::Seen`].
    pub seen: [u8; 2],
    /// Ticks since it began.
    pub age: u32,
    /// What stands for the name of the rule that it began under; zero if it has none.
    pub rule: u64,
}

impl<A: Address> FlowCopy<A> {
    /// What is to be told of a flow.
    pub fn of(flow: &Joined<A>, terms: &Terms, now: Tick) -> Self {
        let (key, outbound) = &flow.outbound;
        let inbound = &flow.inbound.1;
        Self {
            protocol: flow.protocol,
            asked: key.tuple,
            sent: outbound.to,
            deltas: [
                (outbound.ip_delta, outbound.l4_delta),
                (inbound.ip_delta, inbound.l4_delta),
            ],
            seen: [outbound.seen, inbound.seen],
            age: now.0.saturating_sub(outbound.created.0),
            rule: terms.names.get(&outbound.rule()).copied().unwrap_or(0),
        }
    }

    /// The bucket that it is of.
    pub fn bucket(&self) -> u8 {
        bucket(self.protocol, &self.sent)
    }

    /// The key of its way out.
    pub fn outbound(&self) -> FlowKey<A> {
        FlowKey::new(self.protocol, self.asked)
    }

    /// The key of its way back.
    pub fn inbound(&self) -> FlowKey<A> {
        FlowKey::new(self.protocol, self.sent.reversed())
    }
}

/// The bucket of a flow whose packets leave as this.
pub fn bucket<A>(protocol: Protocol, sent: &Tuple<A>) -> u8 {
    match protocol.is_by_address() {
        true => bucket_of(Port::new(0)),
        false => bucket_of(sent.source_port),
    }
}
