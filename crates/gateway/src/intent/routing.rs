//! What routers are told, and how the loss of a way is noticed: the part of an intent that BGP and BFD
//! carry out.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;

/// What routers are told by BGP.
#[derive(Clone, Debug, PartialEq)]
pub struct Bgp {
    /// Our autonomous system; never zero, 23456 (RFC 6793 §9) or 4294967295 (RFC 7300).
    pub asn: u32,
    /// The BGP identifier; without one, the first IPv4 address of the interfaces.
    pub router_id: Option<Ipv4Addr>,
    /// The TCP port on which peers are waited for.
    pub port: u16,
    /// How long peers keep the routes while the daemon restarts, in whole seconds below 4096 (RFC 4724 §3).
    pub graceful_restart: Option<Duration>,
    /// How long a drain waits at most until traffic has ebbed.
    pub drain: Duration,
    /// The routers, in the order of the configuration; at most [`PEERS_MAX`].
    pub peers: Vec<Peer>,
}

/// Routers that one gateway tells. A rack has two, a fabric some; each costs two sockets.
pub const PEERS_MAX: usize = 64;

/// A router that is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Unique; a DNS label.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// Which autonomous system it is of.
    pub remote: RemoteAs,
    /// The TCP port on which it is called.
    pub port: u16,
    /// The address that it is called from, of its own version.
    pub source: Option<IpAddr>,
    /// The network device whose routes lead to it.
    pub device: Option<String>,
    /// How far away it may be.
    pub distance: Distance,
    /// The file whose first line is the password of TCP-MD5.
    pub password: Option<PathBuf>,
    /// The keys of TCP-AO, the first one to begin with; none if there is a password, and at most [`KEYS_MAX`].
    pub keys: Vec<TcpAoKey>,
    /// Whether only it calls.
    pub is_passive: bool,
    /// How long it may be silent: none for ever, otherwise from 3 s (RFC 4271 §4.2).
    pub hold_time: Duration,
    /// How long to wait before it is called again.
    pub connect_retry: Duration,
    /// How far apart announcements are at least.
    pub advertisement_interval: Duration,
    /// Whether prefixes of IPv4 and of IPv6 are exchanged; both if nothing was said.
    pub families: Families,
    /// What it is told to send to, one address for a version; without, ours on the way to it.
    pub next_hop4: Option<IpAddr>,
    /// The same for prefixes of IPv6.
    pub next_hop6: Option<IpAddr>,
    /// The name of one of [`Bfd::profiles`].
    pub bfd: Option<String>,
    /// How many prefixes it may announce.
    pub prefixes_max: u32,
    /// Whether what it announces is kept to be looked at.
    pub keeps_received: bool,
    /// What it is told; where two of them name a prefix, the first decides.
    pub announce: Vec<Announcement>,
}

/// Keys of TCP-AO that a peer has: the one in use, and others that it is exchanged for.
pub const KEYS_MAX: usize = 8;

/// A key by which segments are signed (RFC 5925).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpAoKey {
    /// Its number in segments that we send; unique among a peer's.
    pub send_id: u8,
    /// Its number in segments that we get; unique among a peer's.
    pub receive_id: u8,
    /// What it is used with.
    pub algorithm: TcpAoAlgorithm,
    /// The file whose first line is the secret.
    pub secret: PathBuf,
}

/// How segments are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpAoAlgorithm {
    /// HMAC-SHA-1-96 (RFC 5926).
    HmacSha1,
    /// AES-128-CMAC-96 (RFC 5926).
    Aes128Cmac,
    /// HMAC-SHA-256, cut to 96 bits.
    HmacSha256,
}

/// Where a peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this address.
    Address(IpAddr),
    /// The only other router behind this interface.
    Interface(String),
    /// Anywhere in this prefix; it calls.
    Range(IpNet),
}

/// Which autonomous system a peer is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteAs {
    /// This one.
    Number(u32),
    /// Ours.
    Internal,
    /// Any but ours.
    External,
}

/// How far away a peer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distance {
    /// Links to it at most; one is a link of ours.
    pub hops: u8,
    /// Whether what came further is not taken (RFC 5082).
    pub is_secured: bool,
}

/// Versions of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub ipv4: bool,
    /// IPv6.
    pub ipv6: bool,
}

/// External addresses that a peer is told of, and with what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// Names of [`Intent::pools`](super::Intent::pools).
    pub pools: Vec<String>,
    /// Names of [`Intent::fixed`](super::Intent::fixed).
    pub prefixes: Vec<String>,
    /// What else is behind this gateway for the peer.
    pub networks: Vec<IpNet>,
    /// Whether each address is announced by itself.
    pub by_host: bool,
    /// Communities (RFC 1997), sorted and unique.
    pub communities: Vec<u32>,
    /// Large communities (RFC 8092), sorted and unique.
    pub large_communities: Vec<[u32; 3]>,
    /// The multi-exit discriminator.
    pub med: Option<u32>,
    /// The local preference, for peers of our own autonomous system.
    pub local_preference: Option<u32>,
    /// How many times more our autonomous system stands in the path.
    pub prepend: u8,
}

/// How the loss of a way is noticed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bfd {
    /// Timers, by name.
    pub profiles: Vec<BfdProfile>,
    /// Sessions with somebody who is no BGP peer; at most [`SESSIONS_MAX`].
    pub sessions: Vec<BfdSession>,
}

/// Sessions of BFD. At three packets in 30 ms, these are 25,000 packets a second both ways.
pub const SESSIONS_MAX: usize = 256;

/// Timers of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdProfile {
    /// Unique; a DNS label.
    pub name: String,
    /// How far apart our packets are, from 10 ms.
    pub transmit: Duration,
    /// How far apart the other side's may be at least, from 10 ms.
    pub receive: Duration,
    /// After how many packets that did not come the way is gone; never zero.
    pub multiplier: u8,
    /// Whether the other side begins.
    pub is_passive: bool,
    /// How packets prove whose they are.
    pub authentication: Option<BfdAuthentication>,
}

impl BfdProfile {
    /// What members of a cluster have if they do not say otherwise: a third of a second, so that a busy
    /// machine is not taken for a dead one, and connections notice little.
    pub fn of_members() -> Self {
        Self {
            name: "cluster".to_owned(),
            transmit: Duration::from_millis(100),
            receive: Duration::from_millis(100),
            multiplier: 3,
            is_passive: false,
            authentication: None,
        }
    }
}

/// How packets prove whose they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdAuthentication {
    /// Whether each packet has a number of its own (RFC 5880 §6.7.4).
    pub is_meticulous: bool,
    /// The number of the key.
    pub key: u8,
    /// The file whose first line is the secret.
    pub secret: PathBuf,
}

/// A session with somebody who is no BGP peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdSession {
    /// Unique; a DNS label.
    pub name: String,
    /// The other side.
    pub address: IpAddr,
    /// The interface that it is behind.
    pub interface: Option<String>,
    /// The address that packets are sent from; there is one where `hops` is more than one.
    pub source: Option<IpAddr>,
    /// Links to it at most; one is a link of ours.
    pub hops: u8,
    /// The name of one of [`Bfd::profiles`].
    pub profile: String,
}
