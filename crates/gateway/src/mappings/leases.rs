//! Mappings that clients, or somebody for them, ask for while the gateway runs, as RFC 6887's MAP does:
//! an external port for an internal endpoint, for a time, by whom it may be renewed and withdrawn.
//!
//! An internal endpoint has one at most. If its flows have an external port already, it is granted that
//! one, because an endpoint is seen from outside by one port (RFC 4787 REQ-1). Else the port that was
//! suggested, if it is free; else, unless only that one is wanted, another one.
//!
//! Who has IPv6 is granted a port of an IPv6 address, or of an IPv4 one if that is suggested, or is all
//! that the rules lead to.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    ops::Deref,
    time::Duration,
};

use abi::{
    Address, End, External, Ip6, Lease, MappingKey, Port, PortWord, Protocol,
    blocks::has,
    hash::hash,
    limits::{LEASES_MAX, LEASES_OF_CLIENT_MAX, OWNER_BYTES},
    ports::WORDS,
};
use ipnet::IpNet;

use super::{Mappings, ends, forwards, rules_of};
use crate::{
    bitmaps,
    intent::{Forward, Intent, Pool},
    machine::Action,
    numbers::Numbers,
};

/// The longest time for which a mapping is granted at once (RFC 6887 §15 recommends it).
pub const LIFETIME_MAX: Duration = Duration::from_secs(86_400);
/// Who asks for less would have to ask again before the answer is there.
pub const LIFETIME_MIN: Duration = Duration::from_secs(1);
/// For how long, if nothing is said of that.
pub const LIFETIME_DEFAULT: Duration = Duration::from_secs(7_200);

/// Who may renew and withdraw a mapping; no name is anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Owner([u8; OWNER_BYTES]);

impl Owner {
    /// An owner by a name; nothing if it is too long, or has a zero in it.
    pub fn named(name: &str) -> Option<Self> {
        let mut bytes = [0; OWNER_BYTES];
        bytes
            .get_mut(..name.len())?
            .copy_from_slice(name.as_bytes());
        (!name.contains('\0')).then_some(Self(bytes))
    }

    /// Its name; empty if it has none.
    pub fn name(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0);
        let bytes = self.0.get(..end.unwrap_or(OWNER_BYTES)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// Somebody asks for an external port, or for more time for the one there is.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The internal endpoint.
    pub internal: SocketAddr,
    /// The external address that would be best; an unspecified one is any of its version.
    pub address: Option<IpAddr>,
    /// The external port that would be best.
    pub port: Option<u16>,
    /// Whether others than these will not do.
    pub prefer_failure: bool,
    /// For how long; see [`LIFETIME_MAX`].
    pub lifetime: Duration,
    /// Who asks.
    pub owner: Owner,
}

/// Somebody does not need a mapping any more.
#[derive(Clone, Copy, Debug)]
pub struct Withdraw {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The internal endpoint.
    pub internal: SocketAddr,
    /// Who says so.
    pub owner: Owner,
}

/// A mapping that was granted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Granted {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The internal endpoint.
    pub internal: SocketAddr,
    /// The external one.
    pub external: SocketAddr,
    /// When it ends, in nanoseconds of `CLOCK_MONOTONIC`.
    pub until: u64,
    /// Who asked for it.
    pub owner: Owner,
}

impl Granted {
    /// What a lease is about, as the tables have it; nothing for what no lease can be about.
    pub(super) fn found(
        key: &MappingKey<Ip6>,
        (internal, internal_port): (Ip6, Port),
        lease: Lease,
    ) -> Option<Self> {
        let Some(End::Inward { port }) = key.what() else {
            return None;
        };
        Some(Self {
            protocol: Protocol::from_number(key.protocol)?,
            internal: SocketAddr::new(internal.into(), internal_port.get()),
            external: SocketAddr::new(key.external.into(), port.get()),
            until: lease.until,
            owner: Owner(lease.owner),
        })
    }

    /// What its lease stands under: the external end, as tables for both versions hold it.
    pub fn key(&self) -> MappingKey<Ip6> {
        MappingKey::inward(self.protocol, end(self.external))
    }

    fn lease(&self) -> Lease {
        Lease {
            until: self.until,
            owner: self.owner.0,
        }
    }
}

/// Why somebody does not get what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nothing is configured yet.
    #[error("no configuration is in force")]
    Unconfigured,
    /// Only ports can be mapped.
    #[error("a mapping is of a TCP or UDP port; ICMP has none")]
    NoPorts,
    /// The rules do not translate what this client sends.
    #[error("no rule gives {client} a pool for {protocol:?}, so there is nothing to map it to")]
    NoPool {
        /// The client.
        client: IpAddr,
        /// The protocol.
        protocol: Protocol,
    },
    /// The address that is wanted is in no pool of this client.
    #[error("{address} is no external address of a pool that the rules give {client}")]
    NotItsAddress {
        /// The address.
        address: IpAddr,
        /// The client.
        client: IpAddr,
    },
    /// The configuration has an answer already.
    #[error("the configuration forwards {external} to {internal} already")]
    Forwarded {
        /// The internal endpoint.
        internal: SocketAddr,
        /// The external one.
        external: SocketAddr,
    },
    /// It is another's.
    #[error("the mapping of {internal} belongs to another owner")]
    NotYours {
        /// The internal endpoint.
        internal: SocketAddr,
    },
    /// The endpoint has another external port, and only the one that is wanted would do.
    #[error("{internal} is mapped to {external} already, and would be seen by two ports")]
    Elsewhere {
        /// The internal endpoint.
        internal: SocketAddr,
        /// The external one that it has.
        external: SocketAddr,
    },
    /// The port that is wanted is in use, was until lately, or is none of the pool's.
    #[error("port {port} of {address} is not free")]
    NotFree {
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// There is no free port.
    #[error("no port of {address} is free")]
    Exhausted {
        /// The address.
        address: IpAddr,
    },
    /// There are too many.
    #[error("{LEASES_MAX} mappings were granted and have not ended; more do not fit")]
    TooMany,
    /// One client has too many.
    #[error("{client} was granted {LEASES_OF_CLIENT_MAX} mappings; a client does not get more")]
    TooManyOfClient {
        /// The client.
        client: IpAddr,
    },
    /// Flows took all the room.
    #[error("the mapping table is full")]
    TableFull,
    /// There is nothing to withdraw.
    #[error("{internal} has no mapping that was asked for")]
    NoMapping {
        /// The internal endpoint.
        internal: SocketAddr,
    },
}

/// What somebody who asks is judged by.
pub(crate) struct Circumstances<'a> {
    /// What is configured.
    pub intent: &'a Intent,
    /// The numbers of pools and addresses.
    pub numbers: &'a Numbers,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub now: u64,
    /// The key of hashes.
    pub seed: u64,
}

impl Mappings {
    /// Grants a mapping, or more time for it. The port is taken then; [`Mappings::reconcile`] says what
    /// else must be done.
    ///
    /// `slot` is the address that a client has in a pool, of IPv6 or not, `port_of` the port that an
    /// internal end has in its table, see [`MappingKey::narrow`], and `words` the bitmaps of ports.
    pub(crate) fn ask<W: Deref<Target = [PortWord; WORDS]>>(
        &mut self,
        ask: &Ask,
        at: &Circumstances<'_>,
        (slot, port_of, words): (
            impl Fn(&Pool, IpAddr, bool) -> Option<IpAddr>,
            impl Fn(&MappingKey<Ip6>) -> Option<Port>,
            impl Fn(u32) -> W,
        ),
        actions: &mut Vec<Action>,
    ) -> Result<Granted, Denied> {
        let until = at.now + ask.lifetime.clamp(LIFETIME_MIN, LIFETIME_MAX).as_nanos() as u64;
        if !matches!(ask.protocol, Protocol::Tcp | Protocol::Udp) {
            return Err(Denied::NoPorts);
        }
        let granted = match self.of(ask.protocol, ask.internal, ask.owner)? {
            Some(granted) => {
                ask.accepts(granted.external)?;
                Granted { until, ..granted }
            }
            None => {
                self.has_room(ask)?;
                let (address, external) = ask.address(at, slot)?;
                is_forwarded(ask, address, at.intent)?;
                let port = ask.port(address, external, at, (port_of, words))?;
                Granted {
                    protocol: ask.protocol,
                    internal: ask.internal,
                    external: SocketAddr::new(address, port.get()),
                    until,
                    owner: ask.owner,
                }
            }
        };
        self.leases.insert(granted.key(), granted);
        actions.push(Action::PutLease(granted.key(), granted.lease()));
        Ok(granted)
    }

    /// Withdraws a mapping that was granted; [`Mappings::reconcile`] says what else must be done.
    pub(crate) fn withdraw(
        &mut self,
        withdraw: &Withdraw,
        actions: &mut Vec<Action>,
    ) -> Result<Granted, Denied> {
        let Withdraw {
            protocol,
            internal,
            owner,
        } = *withdraw;
        let granted = self.of(protocol, internal, owner)?;
        let granted = granted.ok_or(Denied::NoMapping { internal })?;
        self.leases.remove(&granted.key());
        actions.push(Action::RemoveLease(granted.key()));
        Ok(granted)
    }

    /// Lets go of what has ended.
    pub(crate) fn expire(&mut self, now: u64, actions: &mut Vec<Action>) {
        self.leases.retain(|key, granted| {
            let stays = granted.until > now;
            if !stays {
                actions.push(Action::RemoveLease(*key));
            }
            stays
        });
    }

    /// What was granted to an internal endpoint, if this owner may have to do with it.
    fn of(
        &self,
        protocol: Protocol,
        internal: SocketAddr,
        owner: Owner,
    ) -> Result<Option<Granted>, Denied> {
        let mut all = self.leases.values();
        let found = all.find(|it| it.protocol == protocol && it.internal == internal);
        match found {
            Some(it) if it.owner != Owner::default() && it.owner != owner => {
                Err(Denied::NotYours { internal })
            }
            found => Ok(found.copied()),
        }
    }

    fn has_room(&self, ask: &Ask) -> Result<(), Denied> {
        if self.leases.len() >= LEASES_MAX {
            return Err(Denied::TooMany);
        }
        let client = ask.internal.ip();
        let own = (self.leases.values()).filter(|it| it.internal.ip() == client);
        match own.count() < LEASES_OF_CLIENT_MAX {
            true => Ok(()),
            false => Err(Denied::TooManyOfClient { client }),
        }
    }
}

impl Ask {
    /// Whether the external endpoint that there is already will do.
    fn accepts(&self, external: SocketAddr) -> Result<(), Denied> {
        let is_it = |wanted: IpAddr| match wanted.is_unspecified() {
            true => wanted.is_ipv4() == external.is_ipv4(),
            false => wanted == external.ip(),
        };
        let is_same = self.address.is_none_or(is_it)
            && self.port.is_none_or(|wanted| wanted == external.port());
        match is_same || !self.prefer_failure {
            true => Ok(()),
            false => Err(Denied::Elsewhere {
                internal: self.internal,
                external,
            }),
        }
    }

    /// The external address: the suggested one, if the client may have it, else the one that it has in
    /// the first pool that the rules give it, of the suggested version.
    fn address<'a>(
        &self,
        at: &Circumstances<'a>,
        slot: impl Fn(&Pool, IpAddr, bool) -> Option<IpAddr>,
    ) -> Result<(IpAddr, &'a External), Denied> {
        let (client, protocol) = (self.internal.ip(), self.protocol);
        let mut ways = ways_of(at.intent, client, protocol);
        let nothing = Denied::NoPool { client, protocol };
        if ways.is_empty() {
            return Err(nothing);
        }
        let refused = |address| Denied::NotItsAddress { address, client };
        let mut suggested = None;
        if let Some(address) = self.address {
            ways.retain(|(_, is_ipv6)| *is_ipv6 == address.is_ipv6());
            let is_own = ways
                .iter()
                .any(|(pool, _)| pool.addresses.contains(&address));
            let will_do = is_own || address.is_unspecified() || !self.prefer_failure;
            if ways.is_empty() || !will_do {
                return Err(refused(address));
            }
            suggested = is_own.then_some(address);
        }
        let usual = || {
            let (pool, is_ipv6) = ways.first()?;
            slot(pool, client, *is_ipv6)
        };
        let found = suggested.or_else(usual).and_then(|address| {
            let external = at.numbers.externals.get(&Ip6::from(address))?;
            Some((address, external))
        });
        found.ok_or(nothing)
    }

    /// Takes an external port.
    fn port<W: Deref<Target = [PortWord; WORDS]>>(
        &self,
        address: IpAddr,
        external: &External,
        at: &Circumstances<'_>,
        (port_of, words): (impl Fn(&MappingKey<Ip6>) -> Option<Port>, impl Fn(u32) -> W),
    ) -> Result<Port, Denied> {
        let (internal, on) = (end(self.internal), Ip6::from(address));
        let wanted = at.intent.ranks(self.internal.ip(), address);
        let outward = MappingKey::outward(self.protocol, internal, on, Ip6::NONE);
        if let Some(port) = port_of(&outward) {
            self.accepts(SocketAddr::new(address, port.get()))?;
            return Ok(port);
        }
        let bitmaps: Vec<u32> = external.bitmaps_of(self.protocol).collect();
        let is_wanted = |port| wanted.iter().flatten().any(|ranks| has(ranks, port));
        let take = |port| {
            let is_taken = is_wanted(port) && bitmaps::take_if_free(&bitmaps, port, &words);
            is_taken.then_some(port)
        };
        if let Some(port) = self.port.map(Port::new) {
            match take(port) {
                Some(port) => return Ok(port),
                None if self.prefer_failure => {
                    let port = port.get();
                    return Err(Denied::NotFree { address, port });
                }
                None => {}
            }
        }
        if let Some(port) = take(internal.1) {
            return Ok(port);
        }
        let (high, low) = internal.0.words();
        let start = hash(
            at.seed,
            high,
            low.rotate_left(24) ^ u64::from(internal.1.get()),
        );
        let parity = (external.behaviour.keeps_parity()).then_some(internal.1);
        let mut wanted = wanted.iter().flatten();
        let found = wanted.find_map(|it| bitmaps::take_any(&bitmaps, start, (parity, it), &words));
        found.ok_or(Denied::Exhausted { address })
    }
}

/// The pools that the rules give a client, the first one first, and of which version of IP it gets an
/// address there: of IPv6 before IPv4, if the rule leads to both.
fn ways_of(intent: &Intent, client: IpAddr, protocol: Protocol) -> Vec<(&Pool, bool)> {
    let mut seen = BTreeSet::new();
    let mut ways = Vec::new();
    for (rule, name) in rules_of(intent, client, protocol) {
        let mut pools = intent.pools.iter();
        let Some(pool) = pools.find(|pool| pool.name == name) else {
            continue;
        };
        let leads = |is_ipv6: bool| {
            let is_of = |net: &IpNet| matches!(net, IpNet::V6(_)) == is_ipv6;
            let can_reach = match (client, is_ipv6) {
                (IpAddr::V4(_), false) | (IpAddr::V6(_), true) => true,
                (IpAddr::V4(_), true) => false,
                (IpAddr::V6(_), false) => !intent.prefixes.is_empty(),
            };
            can_reach
                && rule.destinations.iter().any(is_of)
                && pool.has(|address| address.is_ipv6() == is_ipv6)
        };
        let led = [true, false].into_iter().filter(|it| leads(*it));
        ways.extend(
            led.filter(|it| seen.insert((name, *it)))
                .map(|it| (pool, it)),
        );
    }
    ways
}

/// An endpoint that the configuration forwards to has its external port already, of that version.
fn is_forwarded(ask: &Ask, address: IpAddr, intent: &Intent) -> Result<(), Denied> {
    let (host, port) = (ask.internal.ip(), ask.internal.port());
    let is_alike =
        |it: &&Forward| it.protocol == ask.protocol && it.address.is_ipv4() == address.is_ipv4();
    for forward in forwards(intent).filter(is_alike) {
        let (target, first) = forward.target;
        let offset = port.checked_sub(first).filter(|_| target == host);
        if let Some(external) = offset.and_then(|offset| ends(forward).nth(usize::from(offset))) {
            return Err(Denied::Forwarded {
                internal: ask.internal,
                external,
            });
        }
    }
    Ok(())
}

fn end(endpoint: SocketAddr) -> (Ip6, Port) {
    (Ip6::from(endpoint.ip()), Port::new(endpoint.port()))
}
