//! What the daemon tells the packet path beside its policy.

use crate::{Address, Ip4, Ip6, Prefix64, limits::PREFIXES64_MAX};

/// The words that every packet may need.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// Keys every hash, so that outsiders can guess neither ports nor addresses (RFC 6056).
    /// Drawn once, when the maps are made.
    pub seed: u64,
    /// Counts changes of the routing and neighbour tables; next hops of another generation are
    /// asked for again. Never zero once configured.
    pub generation: u32,
    /// The policy in force; zero is none, and then every packet is the kernel's.
    pub version: u32,
    /// ICMP errors of our own that one CPU sends in one tick.
    pub errors: u32,
    /// How many of these one sender gets.
    pub errors_each: u32,
    /// Not zero where there are programs for packets of IPv6; else those are the kernel's.
    pub ipv6: u32,
    /// The longest IPv6 packet that an IPv4 one becomes whose sender may not know how long it can be
    /// (RFC 7915 §4.1: lowest-ipv6-mtu), in bytes.
    pub lowest_mtu6: u32,
    /// The version of [`crate::map::FIXED`] in force; zero is none. Not zero only where there is a
    /// program for it.
    pub fixed: u32,
    /// The same of [`crate::map::FIXED6`].
    pub fixed6: u32,
    /// Keys what all members of a cluster must find alike: the bucket of a client. Where a gateway is alone,
    /// [`Config::seed`].
    pub key: u64,
    /// How many members the cluster has; zero where a gateway is alone.
    pub members: u32,
    /// Which of them this one is, counted from zero.
    pub me: u32,
    /// The prefixes whose addresses stand for IPv4 ones: packets for them are translated between
    /// the versions (RFC 6146).
    pub prefixes: [Prefix64; PREFIXES64_MAX],
}

impl Config {
    /// Whether there are other members.
    #[inline(always)]
    pub const fn is_clustered(&self) -> bool {
        self.members != 0
    }
}

/// Which realm an interface faces (RFC 2663).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Realm {
    /// Clients are behind it: flows may begin here.
    Internal,
    /// The world is behind it.
    External,
    /// Both are: a gateway on one arm.
    Both,
}

/// An interface we listen on, as a map value.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its own IPv4 address, which our ICMP errors come from; all zero if it has none.
    pub address: Ip4,
    /// The same of IPv6.
    pub address6: Ip6,
    /// Its MAC address: frames for another one are not ours.
    pub mac: [u8; 6],
    realm: u8,
    flags: u8,
}

/// The interface takes no frames that XDP redirects to it.
const NO_REDIRECT: u8 = 1;

impl Interface {
    /// The value of an interface.
    pub const fn new(address: Option<Ip4>, mac: [u8; 6], realm: Realm) -> Self {
        let address = match address {
            Some(address) => address,
            None => Ip4([0; 4]),
        };
        let realm = match realm {
            Realm::Internal => 1,
            Realm::External => 2,
            Realm::Both => 3,
        };
        Self {
            address,
            address6: Ip6([0; 16]),
            mac,
            realm,
            flags: 0,
        }
    }

    /// The same, with an IPv6 address of its own.
    pub const fn with_address6(self, address6: Ip6) -> Self {
        Self { address6, ..self }
    }

    /// The same, for an interface that takes no frames that XDP redirects to it.
    pub const fn without_redirect(self) -> Self {
        Self {
            flags: self.flags | NO_REDIRECT,
            ..self
        }
    }

    /// Whether it takes frames that XDP redirects to it.
    #[inline(always)]
    pub const fn takes_redirects(&self) -> bool {
        self.flags & NO_REDIRECT == 0
    }

    /// Whether flows may begin here.
    #[inline(always)]
    pub const fn is_internal(&self) -> bool {
        self.realm & 1 != 0
    }

    /// Its own IPv6 address, if it has one.
    #[inline(always)]
    pub fn address6(&self) -> Option<Ip6> {
        (!self.address6.is(Ip6::NONE)).then_some(self.address6)
    }

    /// Its own IPv4 address, if it has one.
    #[inline(always)]
    pub const fn address(&self) -> Option<Ip4> {
        match self.address.0 {
            [0, 0, 0, 0] => None,
            bytes => Some(Ip4(bytes)),
        }
    }
}

const _: () = assert!(size_of::<Config>() == 136);
const _: () = assert!(size_of::<Interface>() == 28);
