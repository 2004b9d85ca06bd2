//! What routers are told by this gateway, and how they and the ways to them are watched.

use serde::{Deserialize, Serialize};

/// What BGP says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Bgp {
    /// Our autonomous system; absent if the configuration has no `bgp`.
    #[serde(rename = "as")]
    pub asn: Option<u32>,
    /// Our BGP identifier.
    pub router_id: Option<String>,
    /// Whether routes are announced, and if not, why.
    pub drain: Drain,
    /// The routers, in the order of the configuration.
    pub peers: Vec<BgpPeer>,
    /// What an operator should know and nothing else says.
    pub notes: Vec<String>,
}

/// Whether this gateway is on its way out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Drain {
    /// `serving`, `ebbing`: routers were asked to prefer others, `withdrawing`, or `drained`.
    pub phase: String,
    /// Whether the packet path can serve what is announced; if not, nothing is.
    pub ready: bool,
    /// Packets a second that still come, while it drains.
    pub packets_per_second: Option<f64>,
    /// `ebbed` or `time over`: why routes were withdrawn.
    pub ended: Option<String>,
    /// How far flows are handed over, in a cluster; absent where a gateway is alone, and in what is said of BGP.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hand_over: Option<HandOver>,
}

/// How far flows are on their way between this member of a cluster and the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HandOver {
    /// Whether flows are copied between members; if not, none is ever handed over.
    pub copied: bool,
    /// Whether this member takes no new flows.
    pub leaving: bool,
    /// Whether nothing is left to be waited for: of one that leaves, that all others have what they need of it, of
    /// one that does not, that it has what it needs of them.
    pub done: bool,
    /// In how many buckets it begins flows.
    pub owns: u32,
    /// What others do not have yet of this member's flows.
    pub going: Vec<Moving>,
    /// What this member does not have yet of others' flows.
    pub coming: Vec<Moving>,
}

/// Buckets of flows that are on their way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Moving {
    /// The member at the other side; absent where no member is there to take them.
    pub member: Option<String>,
    /// How that one stands, in the words of `cluster`.
    pub state: String,
    /// How many buckets.
    pub buckets: u32,
    /// Whether there is a connection by which they go.
    pub connected: bool,
    /// Changes of flows that were said and are not acknowledged.
    pub waiting: u64,
}

/// A router that is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BgpPeer {
    /// Its name in the configuration; of one that called from a range, with its address.
    pub name: String,
    /// Its address, as far as it is known.
    pub address: Option<String>,
    /// Its autonomous system, as far as it is known.
    #[serde(rename = "as")]
    pub asn: Option<u32>,
    /// Its BGP identifier, while there is a session.
    pub router_id: Option<String>,
    /// `idle`, `connect`, `active`, `open-sent`, `open-confirm` or `established` (RFC 4271 §8.2.2).
    pub state: String,
    /// For how long.
    pub since_seconds: u64,
    /// Sessions that were established since the daemon started.
    pub established_times: u64,
    /// Why the last session ended, or could not begin.
    pub last_down: Option<String>,
    /// The last NOTIFICATION that it sent, in words.
    pub notification_received: Option<String>,
    /// The last one that we sent.
    pub notification_sent: Option<String>,
    /// How long both may be silent, as agreed; 0 is for ever.
    pub hold_time_seconds: Option<u64>,
    /// What both can, as agreed.
    pub capabilities: Vec<String>,
    /// What was exchanged, by version of IP.
    pub families: Vec<Family>,
    /// Messages by kind.
    pub messages: Vec<Messages>,
    /// What it is told, while there is a session.
    pub announced: Vec<Announced>,
    /// What it announced to us, if the configuration says `received: keep`.
    pub received: Vec<Announced>,
    /// What happened last, oldest first: a hundred lines at most.
    pub history: Vec<Moment>,
    /// How the way to it is watched, if it is.
    pub bfd: Option<String>,
}

/// What was exchanged of a version of IP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Family {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Prefixes that it is told.
    pub announced: u64,
    /// Prefixes that it has announced to us and not withdrawn.
    pub received: u64,
}

/// How many messages of a kind there were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Messages {
    /// `open`, `update`, `notification`, `keepalive` or `route-refresh`.
    pub kind: String,
    /// How many were sent.
    pub sent: u64,
    /// How many were received.
    pub received: u64,
}

/// A prefix and what is said with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Announced {
    /// The prefix.
    pub prefix: String,
    /// Where to; absent of ours where it is the address on the way to the peer.
    pub next_hop: Option<String>,
    /// The autonomous systems behind it.
    pub as_path: Option<String>,
    /// Communities, large ones too.
    pub communities: Vec<String>,
    /// The multi-exit discriminator.
    pub med: Option<u32>,
    /// The local preference.
    pub local_preference: Option<u32>,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Moment {
    /// When.
    pub at: String,
    /// What, in one line.
    pub what: String,
}

/// What BFD says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Bfd {
    /// The sessions, by name.
    pub sessions: Vec<BfdSession>,
    /// Whether packets are sent by a thread with real-time priority.
    pub realtime: bool,
    /// Datagrams that belonged to no session or were wrong, by why.
    pub refused: Vec<Refused>,
    /// What an operator should know and nothing else says.
    pub notes: Vec<String>,
}

/// Datagrams that were not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Refused {
    /// Why.
    pub reason: String,
    /// How many.
    pub packets: u64,
}

/// A way that is watched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BfdSession {
    /// The name of the peer or the session.
    pub name: String,
    /// The other side.
    pub address: String,
    /// Our own address, if it was given.
    pub source: Option<String>,
    /// Whether other routers may be between.
    pub multihop: bool,
    /// `admin-down`, `down`, `init` or `up` (RFC 5880 §6.2).
    pub state: String,
    /// What the other side says of itself.
    pub remote_state: String,
    /// For how long.
    pub since_seconds: u64,
    /// Why it went down last, in the RFC's words.
    pub diagnostic: String,
    /// The same from the other side.
    pub remote_diagnostic: String,
    /// How many times it went down.
    pub downs: u64,
    /// How far apart our packets are, as agreed, in milliseconds.
    pub transmit_ms: f64,
    /// How far apart the other side's are, as agreed, in milliseconds.
    pub receive_ms: f64,
    /// After how much silence the way is gone, in milliseconds.
    pub detection_ms: f64,
    /// Packets sent.
    pub sent: u64,
    /// Packets received and taken.
    pub received: u64,
    /// The longest time between two of its packets since it came up, in milliseconds.
    pub longest_gap_ms: Option<f64>,
    /// How often this machine woke so late that it looked once more before it said that the way is gone.
    pub late_ticks: u64,
    /// The discriminators, ours and the other side's.
    pub discriminators: [u32; 2],
}

/// What is asked of a peer's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum BgpAsk {
    /// End it, and begin another.
    Reset,
    /// Say everything again, and ask the peer to.
    Refresh,
}

/// Asks something of the session with a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BgpRequest {
    /// The peer's name.
    pub peer: String,
    /// What.
    pub ask: BgpAsk,
}
