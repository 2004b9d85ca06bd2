//! Blocks of ports that are a client's own (after RFC 7422): which clients have them, and where.

use std::net::{IpAddr, Ipv4Addr};

use abi::{
    Ip4, Port,
    blocks::{NOBODY, Ranks, has},
};
use ipnet::Ipv4Net;

use super::PortRange;

/// Blocks of ports that are a client's own; valid by construction.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocks {
    /// In the order in which clients are counted; none overlaps another.
    pub clients: Vec<Ipv4Net>,
    /// Ports of a block.
    pub size: u16,
    /// As the packet path has them.
    pub entry: abi::Blocks,
}

/// Why clients cannot have blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// There are more of them than blocks.
    Clients {
        /// How many clients there are.
        clients: u64,
        /// How many blocks an address has.
        each: u32,
        /// How many all addresses have.
        all: u64,
    },
    /// There are more prefixes of them than fit, or a block of no such size.
    Shape,
}

impl Blocks {
    /// Gives each of these clients a block of `size` of these ports, so that as few as can be share one
    /// of the addresses: the more ports are left to whoever needs them.
    pub fn lay_out(
        clients: Vec<Ipv4Net>,
        size: u16,
        addresses: u32,
        ports: PortRange,
    ) -> Result<Self, Misfit> {
        let wide = u32::from(size);
        let first = u32::from(ports.first).next_multiple_of(wide.max(1));
        let each = (u32::from(ports.last) + 1).saturating_sub(first) / wide.max(1);
        let all = u64::from(each) * u64::from(addresses);
        let count: u64 = clients.iter().map(size_of).sum();
        if count > all || count == 0 {
            let clients = count;
            return Err(Misfit::Clients { clients, each, all });
        }
        // Not more than `each`, as the blocks suffice.
        let sharing = count.div_ceil(u64::from(addresses)) as u32;
        let ranges: Vec<_> = clients
            .iter()
            .map(|net| (Ip4(net.network().octets()), size_of(net) as u32))
            .collect();
        let first = u16::try_from(first).map_err(|_| Misfit::Shape)?;
        let entry = abi::Blocks::new(&ranges, sharing, (Port::new(first), size));
        Ok(Self {
            clients,
            size,
            entry: entry.ok_or(Misfit::Shape)?,
        })
    }

    /// The ports of a client's own block, the first and the last, and which of the pool's addresses
    /// they are of; nothing if it has none.
    pub fn of(&self, client: Ipv4Addr) -> Option<(usize, PortRange)> {
        let ordinal = self.entry.ordinal(Ip4(client.octets()));
        if ordinal == NOBODY {
            return None;
        }
        let (first, last) = self.entry.ports(ordinal)?;
        let (first, last) = (first.get(), last.get());
        let address = self.entry.address(ordinal) as usize;
        Some((address, PortRange { first, last }))
    }

    /// How many clients share an address.
    pub const fn sharing(&self) -> u32 {
        self.entry.sharing()
    }

    /// All ports of an address that are in blocks.
    pub fn all(&self) -> PortRange {
        let taken = |port: &u16| !has(&self.entry.rest, Port::new(*port));
        // At least one client has a block.
        PortRange {
            first: (1..=u16::MAX).find(taken).unwrap_or(u16::MAX),
            last: (1..=u16::MAX).rev().find(taken).unwrap_or(u16::MAX),
        }
    }

    /// The ports that a client may have on an address: those of its own block, if that is there, and
    /// those of nobody's.
    pub fn ranks(&self, client: IpAddr, address: Option<usize>) -> [Option<Ranks>; 2] {
        // Only clients of IPv4 have blocks.
        let ordinal = match client {
            IpAddr::V4(client) => self.entry.ordinal(Ip4(client.octets())),
            IpAddr::V6(_) => NOBODY,
        };
        let is_own = ordinal != NOBODY && address == Some(self.entry.address(ordinal) as usize);
        let own = is_own.then(|| self.entry.own(ordinal));
        [own, Some(self.entry.rest)]
    }
}

/// How many clients a prefix has: every address of it, because what is behind it is not our business.
fn size_of(net: &Ipv4Net) -> u64 {
    1 << (32 - u32::from(net.prefix_len()))
}
