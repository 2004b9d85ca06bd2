//! How a speaker is, for people and metrics.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use ipnet::IpNet;

use crate::{Family, PeerId, message::Kind};

/// How it stands with a peer (RFC 4271 §8.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nobody is called or let in.
    Idle,
    /// It is being called.
    Connect,
    /// It is waited for: until it calls, or until it is called again.
    Active,
    /// Our OPEN is sent, and its is waited for.
    OpenSent,
    /// Both are there, and agreed to.
    OpenConfirm,
    /// Prefixes are exchanged.
    Established,
}

impl State {
    /// The word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connect => "connect",
            Self::Active => "active",
            Self::OpenSent => "open-sent",
            Self::OpenConfirm => "open-confirm",
            Self::Established => "established",
        }
    }
}

/// One peer.
#[derive(Clone, Debug)]
pub struct PeerSnapshot {
    /// Which one.
    pub id: PeerId,
    /// From where it called, if it is one of a range.
    pub address: Option<IpAddr>,
    /// How it stands.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// How often a session was established.
    pub established_times: u64,
    /// Why the last one ended or did not begin, and when.
    pub last_down: Option<(Instant, String)>,
    /// The last NOTIFICATION that came, in words.
    pub notification_received: Option<String>,
    /// The last one that we sent.
    pub notification_sent: Option<String>,
    /// Its autonomous system, if there is a session.
    pub remote_as: Option<u32>,
    /// Its BGP identifier, if there is a session.
    pub remote_id: Option<Ipv4Addr>,
    /// How long both may be silent, as agreed.
    pub hold_time: Option<Duration>,
    /// What both can, in words.
    pub capabilities: Vec<String>,
    /// What was exchanged.
    pub families: Vec<FamilySnapshot>,
    /// Messages.
    pub messages: Vec<Counted>,
    /// What it was told.
    pub announced: Vec<Kept>,
    /// What it said, if that is kept.
    pub received: Vec<Kept>,
    /// What happened last, oldest first.
    pub history: Vec<Moment>,
}

/// What was exchanged of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilySnapshot {
    /// Which.
    pub family: Family,
    /// Prefixes that the peer was told.
    pub announced: usize,
    /// Prefixes that it said and has not taken back.
    pub received: usize,
}

/// Messages of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Which.
    pub kind: Kind,
    /// How many were sent.
    pub sent: u64,
    /// How many came.
    pub received: u64,
}

/// A prefix and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The prefix.
    pub prefix: IpNet,
    /// Where to.
    pub next_hop: Option<IpAddr>,
    /// The autonomous systems behind it.
    pub as_path: String,
    /// Large ones too.
    pub communities: Vec<String>,
    /// The multi-exit discriminator.
    pub med: Option<u32>,
    /// The local preference.
    pub local_preference: Option<u32>,
    /// Whether the peer is away, and this kept until it is back (RFC 4724).
    pub is_stale: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: Instant,
    /// What, in one line.
    pub what: String,
}
