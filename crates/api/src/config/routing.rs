//! How routers learn where the external addresses are, and that a gateway or a router is gone.

use serde::{Deserialize, Serialize};

/// What routers are told by BGP; without peers, nobody is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bgp {
    /// This gateway's autonomous system: from 1 to 4294967294, and not 23456 or 65535.
    #[serde(rename = "as")]
    pub asn: Option<u64>,
    /// The BGP identifier, written as an IPv4 address; absent, the first IPv4 address of the interfaces.
    pub router_id: Option<String>,
    /// The TCP port on which peers are waited for.
    pub port: Option<u64>,
    /// How long peers keep the routes while the daemon restarts (RFC 4724): `2m`; `off`: they do not.
    pub graceful_restart: Option<String>,
    /// How long a drain waits at most until traffic has ebbed: `30s`.
    pub drain: Option<String>,
    /// The routers.
    pub peers: Option<Vec<BgpPeer>>,
}

/// A router that is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BgpPeer {
    /// What reports call it.
    pub name: Option<String>,
    /// Its address. A peer has this, an `interface` or a `range`.
    pub address: Option<String>,
    /// The interface behind which it is the only router, known by its link-local address.
    pub interface: Option<String>,
    /// A prefix: whoever connects from there is such a peer.
    pub range: Option<String>,
    /// Its autonomous system; `external` is any other than ours, `internal` is ours.
    #[serde(rename = "as")]
    pub asn: Option<String>,
    /// The TCP port on which it is called.
    pub port: Option<u64>,
    /// The address that it is called from.
    pub source: Option<String>,
    /// The network device whose routes lead to it, such as a VRF.
    pub device: Option<String>,
    /// How many routers away it may be; absent, it is on a link of ours.
    pub multihop: Option<u64>,
    /// `on`: what did not come from so near is not taken (RFC 5082).
    pub ttl_security: Option<String>,
    /// The file whose first line is the password of TCP-MD5 (RFC 2385).
    pub password_file: Option<String>,
    /// By which keys its segments are signed (RFC 5925), instead of a password.
    pub tcp_ao: Option<TcpAo>,
    /// `on`: it calls, we do not.
    pub passive: Option<String>,
    /// How long it may be silent: `9s`; `0s` is for ever.
    pub hold_time: Option<String>,
    /// How long to wait before it is called again: `5s`.
    pub connect_retry: Option<String>,
    /// How far apart announcements are at least: `0s`.
    pub advertisement_interval: Option<String>,
    /// `ipv4`, `ipv6`; absent, those that there is something to announce of.
    pub families: Option<Vec<String>>,
    /// The addresses that it is told to send to, one for a version; absent, ours on the way to it.
    pub next_hops: Option<Vec<String>>,
    /// The BFD profile by which its loss is noticed.
    pub bfd: Option<String>,
    /// How many prefixes it may announce to us before it is disconnected.
    pub prefixes_max: Option<u64>,
    /// `count` what it announces to us, or `keep` it to be looked at.
    pub received: Option<String>,
    /// What it is told; absent is everything, without attributes.
    pub announce: Option<Vec<Announcement>>,
}

/// Which external addresses a peer is told of, and with what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Announcement {
    /// Pools by name. Neither pools, prefixes nor networks is all pools and prefixes.
    pub pools: Option<Vec<String>>,
    /// Prefixes that are translated one to one, by name.
    pub prefixes: Option<Vec<String>>,
    /// What is behind this gateway for the peer, such as `0.0.0.0/0` for a router of the clients.
    pub networks: Option<Vec<String>>,
    /// `prefixes`: the fewest that hold these addresses and no others; `hosts`: each by itself.
    pub form: Option<String>,
    /// `65000:100`, `no-export`, `no-advertise`, `no-peer`, `blackhole`.
    pub communities: Option<Vec<String>>,
    /// `65000:1:2`.
    pub large_communities: Option<Vec<String>>,
    /// The multi-exit discriminator.
    pub med: Option<u64>,
    /// The local preference, for peers of our own autonomous system.
    pub local_preference: Option<u64>,
    /// How many times more our autonomous system stands in the path.
    pub prepend: Option<u64>,
}

/// How it is noticed within milliseconds that a way is gone (RFC 5880).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bfd {
    /// Timers, by the name that peers and sessions use.
    pub profiles: Option<Vec<BfdProfile>>,
    /// Sessions with somebody who is no BGP peer.
    pub sessions: Option<Vec<BfdSession>>,
}

/// By which keys the segments of a session are signed (RFC 5925).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TcpAo {
    /// The keys; with the first one sessions begin.
    pub keys: Option<Vec<TcpAoKey>>,
}

/// A key of TCP-AO that both sides have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TcpAoKey {
    /// Its number in segments that we send, from 0 to 255: the other side's `receive_id`.
    pub send_id: Option<u64>,
    /// Its number in segments that we get, from 0 to 255: the other side's `send_id`.
    pub receive_id: Option<u64>,
    /// `hmac-sha1`, `aes-128-cmac` or `hmac-sha256`.
    pub algorithm: Option<String>,
    /// The file whose first line is the secret, of 1 to 80 bytes.
    pub secret_file: Option<String>,
}

/// Timers of sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BfdProfile {
    /// What peers and sessions call it.
    pub name: Option<String>,
    /// How far apart our packets are: `100ms`.
    pub transmit: Option<String>,
    /// How far apart the other side's packets may be at least: `100ms`.
    pub receive: Option<String>,
    /// After how many packets that did not come the way is gone.
    pub multiplier: Option<u64>,
    /// `on`: the other side begins.
    pub passive: Option<String>,
    /// How packets prove whose they are.
    pub authentication: Option<BfdAuthentication>,
}

/// How BFD packets prove whose they are (RFC 5880 §6.7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BfdAuthentication {
    /// `sha1` or `meticulous-sha1`.
    pub kind: Option<String>,
    /// The number of the key, from 0 to 255.
    pub key: Option<u64>,
    /// The file whose first line is the secret, of 1 to 20 bytes.
    pub secret_file: Option<String>,
}

/// A session with somebody who is no BGP peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BfdSession {
    /// What reports call it.
    pub name: Option<String>,
    /// The other side.
    pub address: Option<String>,
    /// The interface that it is behind; required of a link-local address.
    pub interface: Option<String>,
    /// The address that packets are sent from; required with `multihop`.
    pub source: Option<String>,
    /// How many routers away it may be (RFC 5883); absent, it is on a link of ours (RFC 5881).
    pub multihop: Option<u64>,
    /// The profile.
    pub profile: Option<String>,
}
