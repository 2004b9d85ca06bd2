//! What an index says of one record, as forty bytes in the order of the search.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Endpoint, Event, Kind, Protocol, Record, Time};

/// Bytes of an entry, and of the header.
pub const ENTRY_BYTES: usize = 40;

/// An entry as it is stored.
pub type Packed = [u8; ENTRY_BYTES];

/// Whose port it was: the endpoint that remotes saw.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// The external endpoint.
    pub external: Endpoint,
    /// The protocol.
    pub protocol: Protocol,
}

impl Key {
    /// The key of a record.
    pub const fn of(record: &Record) -> Self {
        Self {
            external: record.flow.external,
            protocol: record.flow.protocol,
        }
    }
}

/// Under what lines stand that are of no flow: an endpoint that is nobody's.
const NOBODY: Key = Key {
    external: Endpoint {
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        port: 0,
    },
    protocol: Protocol(0),
};

/// What an index says of one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Under what it is found.
    pub key: Key,
    /// Whether the flow began or ended.
    pub kind: Kind,
    /// The second of the record, rounded up if it is of an end.
    pub second: u32,
    /// The second in which the flow began.
    pub opened: u32,
    /// A digest of client and remote: tells flows of one external endpoint apart.
    pub flow: u32,
    /// Where in the segment the record's line begins.
    pub offset: u64,
}

impl Entry {
    /// The entry of a record whose line begins at `offset`.
    pub fn of(record: &Record, offset: u64) -> Self {
        let second = match &record.event {
            Event::Opened => record.time.secs(),
            Event::Closed(_) => record.time.secs_up(),
        };
        Self {
            key: Key::of(record),
            kind: record.kind(),
            second,
            opened: record.opened().secs(),
            flow: digest(&record.flow.client, &record.flow.remote),
            offset,
        }
    }

    /// The entry of a line of blocks, in force since `time`.
    pub const fn of_blocks(time: Time, offset: u64) -> Self {
        Self {
            key: NOBODY,
            kind: Kind::Blocks,
            second: time.secs(),
            opened: time.secs(),
            flow: 0,
            offset,
        }
    }

    /// The least or the greatest entry of blocks in a second.
    pub(super) const fn bound_blocks(second: u32, fill: u32) -> Self {
        Self::bound(NOBODY, Kind::Blocks, second, fill)
    }

    /// The least or the greatest entry of a key and kind in a second.
    pub(super) const fn bound(key: Key, kind: Kind, second: u32, fill: u32) -> Self {
        Self {
            key,
            kind,
            second,
            opened: fill,
            flow: fill,
            offset: if fill == 0 { 0 } else { u64::MAX },
        }
    }

    /// As it is stored.
    pub fn pack(&self) -> Packed {
        let kind = match self.kind {
            Kind::Opened => 0,
            Kind::Closed => 1,
            Kind::Blocks => 2,
        };
        let mut packed = [0; ENTRY_BYTES];
        let mut rest = packed.as_mut_slice();
        put(&mut rest, &wide(self.key.external.address).octets());
        put(&mut rest, &self.key.external.port.to_be_bytes());
        put(&mut rest, &[self.key.protocol.0, kind]);
        put(&mut rest, &self.second.to_be_bytes());
        put(&mut rest, &self.opened.to_be_bytes());
        put(&mut rest, &self.flow.to_be_bytes());
        put(&mut rest, &self.offset.to_be_bytes());
        packed
    }

    /// From how it is stored; nothing if it cannot be.
    pub fn unpack(packed: &Packed) -> Option<Self> {
        let mut rest = packed.as_slice();
        let address = Ipv6Addr::from(take::<16>(&mut rest)?).to_canonical();
        let port = u16::from_be_bytes(take(&mut rest)?);
        let [protocol, kind] = take(&mut rest)?;
        let kind = match kind {
            0 => Kind::Opened,
            1 => Kind::Closed,
            2 => Kind::Blocks,
            _ => return None,
        };
        Some(Self {
            key: Key {
                external: Endpoint { address, port },
                protocol: Protocol(protocol),
            },
            kind,
            second: u32::from_be_bytes(take(&mut rest)?),
            opened: u32::from_be_bytes(take(&mut rest)?),
            flow: u32::from_be_bytes(take(&mut rest)?),
            offset: u64::from_be_bytes(take(&mut rest)?),
        })
    }
}

pub(super) fn put(rest: &mut &mut [u8], bytes: &[u8]) {
    let (now, later) = std::mem::take(rest).split_at_mut(bytes.len());
    now.copy_from_slice(bytes);
    *rest = later;
}

pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (now, later) = rest.split_first_chunk::<N>()?;
    *rest = later;
    Some(*now)
}

/// An address of either family in one form: IPv4 as IPv6 maps it (RFC 4291 §2.5.5.2).
const fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// FNV-1a over client and remote, folded to 32 bits.
pub fn digest(client: &Endpoint, remote: &Endpoint) -> u32 {
    let parts = [client, remote].map(|it| (wide(it.address).octets(), it.port.to_be_bytes()));
    let bytes = parts
        .iter()
        .flat_map(|(address, port)| address.iter().chain(port));
    let hash = fnv(bytes);
    (hash >> 32) as u32 ^ hash as u32
}

pub(super) fn fnv<'a>(bytes: impl Iterator<Item = &'a u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
