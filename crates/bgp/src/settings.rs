//! What is wanted of a speaker.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use ipnet::IpNet;

use crate::{Family, PeerId};

/// What is wanted, as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Our autonomous system.
    pub asn: u32,
    /// Our BGP identifier.
    pub id: Ipv4Addr,
    /// What peers are told of restarts; nothing if they are to keep nothing.
    pub restart: Option<Restart>,
    /// The peers.
    pub peers: BTreeMap<PeerId, PeerSettings>,
}

/// What peers are told of restarts (RFC 4724).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// How long they keep routes, below 4096 seconds.
    pub time: Duration,
    /// Whether packets go on while we are away.
    pub keeps_forwarding: bool,
}

/// What is wanted of one peer, or of all that call from a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// The autonomous system that it must be of.
    pub remote: RemoteAs,
    /// Whether it is called; whoever is in a prefix never is.
    pub is_called: bool,
    /// Whether several may call, each from an address of its own.
    pub is_range: bool,
    /// How long it may be silent; zero is for ever, otherwise at least three seconds.
    pub hold_time: Duration,
    /// How long to wait before it is called again.
    pub connect_retry: Duration,
    /// How far apart announcements are at least.
    pub advertisement_interval: Duration,
    /// What is exchanged.
    pub families: BTreeSet<Family>,
    /// Where IPv4 packets go to; without, our address on the way to the peer.
    pub next_hop4: Option<IpAddr>,
    /// The same of IPv6 packets.
    pub next_hop6: Option<IpAddr>,
    /// How many prefixes it may announce.
    pub prefixes_max: u32,
    /// Whether what it announces is kept to be looked at.
    pub keeps_received: bool,
}

impl PeerSettings {
    /// Whether a session must begin anew for this.
    pub(crate) fn needs_new_session(&self, after: &Self) -> bool {
        let same = Self {
            advertisement_interval: after.advertisement_interval,
            connect_retry: after.connect_retry,
            is_called: after.is_called,
            next_hop4: after.next_hop4,
            next_hop6: after.next_hop6,
            keeps_received: after.keeps_received,
            prefixes_max: after.prefixes_max,
            ..self.clone()
        };
        same != *after
    }
}

/// Which autonomous system a peer must be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteAs {
    /// This one.
    Number(u32),
    /// Ours.
    Internal,
    /// Any but ours.
    External,
}

impl RemoteAs {
    /// Whether a peer may be of this one, where `ours` is ours.
    pub fn admits(self, asn: u32, ours: u32) -> bool {
        match self {
            Self::Number(number) => asn == number,
            Self::Internal => asn == ours,
            Self::External => asn != ours,
        }
    }
}

/// What is said of a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Communities (RFC 1997), sorted.
    pub communities: Vec<u32>,
    /// Large communities (RFC 8092), sorted.
    pub large_communities: Vec<[u32; 3]>,
    /// The multi-exit discriminator.
    pub med: Option<u32>,
    /// The local preference, for internal peers; they are told 100 otherwise.
    pub local_preference: Option<u32>,
    /// How many times more our autonomous system stands in the path, for external peers.
    pub prepend: u8,
}

/// What a peer is to be told.
pub type Table = BTreeMap<IpNet, Route>;

/// Our addresses on the way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Our end of the connection.
    pub local: IpAddr,
    /// An address of the other version on the same interface.
    pub other: Option<IpAddr>,
    /// Our address on the link, if the peer is on it and has IPv6.
    pub link_local: Option<Ipv6Addr>,
}
