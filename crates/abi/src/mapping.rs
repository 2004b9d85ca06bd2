//! Mappings: the external port that an internal endpoint has, whomever it talks to (RFC 4787 REQ-1).

use crate::{Ip4, Port, Protocol, Tick};

/// An internal endpoint and the external address its rule gave it.
///
/// The address is part of the key, because two rules may send the same endpoint through two pools.
#[repr(C, align(4))]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MappingKey {
    /// Internal address.
    pub internal: Ip4,
    /// External address.
    pub external: Ip4,
    /// Internal port or ICMP identifier.
    pub port: Port,
    /// The number in the IP header.
    pub protocol: u8,
    _pad: u8,
}

impl MappingKey {
    /// The key of an endpoint.
    #[inline(always)]
    pub const fn new(protocol: Protocol, internal: Ip4, port: Port, external: Ip4) -> Self {
        Self {
            internal,
            external,
            port,
            protocol: protocol as u8,
            _pad: 0,
        }
    }
}

/// What an internal endpoint has outside.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// External port or ICMP identifier.
    pub port: Port,
    _pad: u16,
    /// When it was made.
    pub created: Tick,
}

impl Mapping {
    /// A mapping made now.
    #[inline(always)]
    pub const fn new(port: Port, created: Tick) -> Self {
        Self {
            port,
            _pad: 0,
            created,
        }
    }
}

const _: () = assert!(size_of::<MappingKey>() == 12);
const _: () = assert!(size_of::<Mapping>() == 8);
