//! Blocks of ports that are one client's own (after RFC 7422): whose an external endpoint is by
//! computing, so that flows from it need no records.
//!
//! The clients of a pool are counted in the order of their prefixes. So many of them in a row share one
//! of the pool's addresses, in the order of these, and each has the next `size` ports from `first` on.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use ipnet::Ipv4Net;

use crate::{
    Endpoint, Protocol, Record, Time, index,
    json::Said,
    segment::said_at,
    who::{Question, Segment},
};

/// Lines of blocks that are looked at in one file of the log: the latest. There are as many as pools
/// with blocks for each change of the configuration.
pub const LINES_MAX: usize = 4096;

/// The blocks of one pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blocks {
    /// The pool.
    pub pool: Arc<str>,
    /// Who has a block each, in the order in which they are counted.
    pub clients: Vec<Ipv4Net>,
    /// The addresses, in their order, as the fewest prefixes.
    pub addresses: Vec<Ipv4Net>,
    /// How many clients share an address.
    pub sharing: u32,
    /// The first port of the first block.
    pub first: u16,
    /// Ports of a block.
    pub size: u16,
}

impl Blocks {
    /// Whose the ports are that one of an address is among, and which these are; nobody's if it is in no
    /// block.
    pub fn owner(&self, address: Ipv4Addr, port: u16) -> Option<Owner> {
        let place = place_of(&self.addresses, address)?;
        let block = port.checked_sub(self.first)? / self.size.max(1);
        if u32::from(block) >= self.sharing {
            return None;
        }
        let ordinal = place * u64::from(self.sharing) + u64::from(block);
        let first = self.first + block * self.size;
        Some(Owner {
            client: at_place(&self.clients, ordinal)?,
            pool: Arc::clone(&self.pool),
            address,
            first,
            last: first + (self.size - 1),
        })
    }

    /// The block of a client, if it has one; the inverse of [`Self::owner`].
    pub fn of(&self, client: Ipv4Addr) -> Option<Owner> {
        let ordinal = place_of(&self.clients, client)?;
        let sharing = u64::from(self.sharing.max(1));
        let address = at_place(&self.addresses, ordinal / sharing)?;
        let block = u16::try_from(ordinal % sharing).ok()?;
        self.owner(
            address,
            self.first.checked_add(block.checked_mul(self.size)?)?,
        )
    }
}

/// A client and the ports that are its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// Who.
    pub client: Ipv4Addr,
    /// By which pool.
    pub pool: Arc<str>,
    /// The external address.
    pub address: Ipv4Addr,
    /// The first of its ports.
    pub first: u16,
    /// The last of them.
    pub last: u16,
}

/// The blocks of all pools, from a time on until the next ones.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Assignment {
    /// Since when they are in force.
    pub time: Time,
    /// Those of each pool that has some; none from then on if there are none.
    pub pools: Vec<Blocks>,
}

impl Assignment {
    /// Whose an endpoint is.
    pub fn owner(&self, external: Endpoint, protocol: Protocol) -> Option<Owner> {
        let IpAddr::V4(address) = external.address else {
            return None;
        };
        let mut pools = self.pools.iter().filter(|_| has_ports(protocol));
        pools.find_map(|pool| pool.owner(address, external.port))
    }
}

/// Whether a protocol has ports, or identifiers instead: those of the others are in no block.
const fn has_ports(protocol: Protocol) -> bool {
    matches!(protocol.0, 1 | 6 | 17)
}

/// Tells flows that need no record from those that do.
#[derive(Clone, Debug, Default)]
pub struct Sieve {
    assignment: Arc<Assignment>,
    /// Which pool has an address.
    pools: HashMap<Ipv4Addr, usize>,
}

impl Sieve {
    /// Of the blocks that are in force.
    pub fn new(assignment: Arc<Assignment>) -> Self {
        let mut pools = HashMap::new();
        for (index, pool) in assignment.pools.iter().enumerate() {
            let addresses = pool.addresses.iter().copied().flat_map(whole);
            pools.extend(addresses.map(|address| (address, index)));
        }
        Self { assignment, pools }
    }

    /// The blocks.
    pub const fn assignment(&self) -> &Arc<Assignment> {
        &self.assignment
    }

    /// Whether a flow's client follows from its external endpoint: it began while these blocks were in
    /// force, and leaves from its client's own.
    pub fn spares(&self, record: &Record) -> bool {
        let flow = &record.flow;
        let (IpAddr::V4(address), IpAddr::V4(client)) =
            (flow.external.address, flow.client.address)
        else {
            return false;
        };
        let pool = self.pools.get(&address);
        let Some(pool) = pool.and_then(|index| self.assignment.pools.get(*index)) else {
            return false;
        };
        has_ports(flow.protocol)
            && record.opened() >= self.assignment.time
            && pool
                .owner(address, flow.external.port)
                .is_some_and(|owner| owner.client == client)
    }
}

/// Whose an endpoint was, and since when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owned {
    /// Since when at least.
    pub since: Time,
    /// Whose.
    pub owner: Owner,
}

/// The blocks that were in force during a time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History(BTreeMap<Time, Vec<Blocks>>);

impl History {
    /// Adds blocks that the log need not say: those that are in force now.
    pub fn add(&mut self, assignment: &Assignment) {
        self.0.insert(assignment.time, assignment.pools.clone());
    }

    /// Whose an endpoint was, in the order of time.
    pub fn owners(self, question: &Question) -> Vec<Owned> {
        let Question { key, since, until } = question;
        let first = self.0.range(..=since).next_back().map(|(time, _)| *time);
        let mut owned: Vec<Owned> = Vec::new();
        let mut last = None;
        for (time, pools) in self.0.range(first.unwrap_or(Time::MIN)..=*until) {
            let pools = pools.clone();
            let assignment = Assignment { time: *time, pools };
            let owner = assignment.owner(key.external, key.protocol);
            if owner != last
                && let Some(owner) = owner.clone()
            {
                let since = *time;
                owned.push(Owned { since, owner });
            }
            last = owner;
        }
        owned
    }
}

/// Finds the blocks that were in force during the time of a question, from the last segment to the
/// first: back to those that were when it begins.
///
/// # Errors
///
/// If the log cannot be read. Lines that are damaged are skipped.
pub fn history(question: &Question, segments: &[Segment<'_>]) -> io::Result<History> {
    let mut history = History::default();
    for segment in segments.iter().rev() {
        let until = question.until.secs();
        let lines = index::blocks_until(segment.entries, until, LINES_MAX)?;
        let mut found: BTreeMap<Time, Vec<Blocks>> = BTreeMap::new();
        for entry in lines.iter().rev() {
            match said_at(segment.lines, entry.offset) {
                Ok(Said::Blocks(time, blocks)) if time <= question.until => {
                    let is_before = |known: &Time| *known <= question.since && time < *known;
                    if found.keys().any(is_before) {
                        break;
                    }
                    let pools = found.entry(time).or_default();
                    let is_new = |blocks: &Blocks| !pools.contains(blocks);
                    if let Some(blocks) = blocks.filter(is_new) {
                        pools.push(blocks);
                    }
                }
                Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        for (time, pools) in found {
            history.0.entry(time).or_insert(pools);
        }
        if history.0.keys().any(|time| *time <= question.since) {
            break;
        }
    }
    Ok(history)
}

/// Every address of a prefix.
fn whole(net: Ipv4Net) -> impl Iterator<Item = Ipv4Addr> {
    (u32::from(net.network())..=u32::from(net.broadcast())).map(Ipv4Addr::from)
}

/// How many addresses of these come before one of them.
fn place_of(nets: &[Ipv4Net], address: Ipv4Addr) -> Option<u64> {
    let mut before = 0;
    for net in nets {
        if net.contains(&address) {
            let offset = u32::from(address) - u32::from(net.network());
            return Some(before + u64::from(offset));
        }
        before += size(net);
    }
    None
}

/// The address before which so many come; the inverse of [`place_of`].
fn at_place(nets: &[Ipv4Net], place: u64) -> Option<Ipv4Addr> {
    let mut left = place;
    for net in nets {
        match u32::try_from(left) {
            Ok(offset) if left < size(net) => {
                return Some((u32::from(net.network()) + offset).into());
            }
            Ok(_) | Err(_) => left -= size(net),
        }
    }
    None
}

/// How many addresses a prefix has.
fn size(net: &Ipv4Net) -> u64 {
    1 << (32 - u32::from(net.prefix_len()))
}

#[cfg(test)]
mod tests;
