//! The bodies of the daemon's HTTP API, version 1, and the paths they stand under.
//!
//! `egretd` fills them, `egret` prints them, and `--json` prints them unchanged. Within version 1
//! fields are added, never renamed or removed; whoever reads a body ignores what it does not know.
//!
//! A request that cannot be served is answered with an [`ApiError`]; a configuration that does not
//! validate with status 422 and [`Problems`](crate::Problems).

mod apply;
mod cluster;
mod counters;
mod flows;
mod mappings;
mod owner;
mod pools;
mod routing;
mod status;
mod who;

pub use apply::{Applied, ApplyRequest};
pub use cluster::{Cluster, ClusterMember, Copies, Kept, Sent};
pub use counters::{Counters, Drops, Exit, Verdict};
pub use flows::{Endpoint, Flow, FlowQuery, FlowState, Flows, FlowsQuery};
pub use mappings::{Mapping, MappingRequest, Mappings, WithdrawQuery};
pub use owner::{Owner, OwnerMember, OwnerQuery};
pub use pools::{AddressState, Pool, PoolAddress, Pools, Ports};
pub use routing::{
    Announced, Bfd, BfdSession, Bgp, BgpAsk, BgpPeer, BgpRequest, Drain, Family, HandOver,
    Messages, Moment, Moving, Refused,
};
pub use status::{
    ActiveFlows, AttachMode, ByState, ConfigStatus, InterfaceStatus, Program, Realm, Status, Sweep,
};
pub use who::{Block, Party, Session, SessionState, Who, WhoQuery};

use serde::{Deserialize, Serialize};

/// The unix socket that the daemon listens on, unless its configuration says otherwise.
pub const SOCKET: &str = "/run/egret/egret.sock";

/// Where each body is found on the socket.
pub mod path {
    /// `GET` answers [`Status`](super::Status).
    pub const STATUS: &str = "/v1/status";
    /// `GET` with a [`FlowsQuery`](super::FlowsQuery) answers [`Flows`](super::Flows).
    pub const FLOWS: &str = "/v1/flows";
    /// `GET` with a [`FlowQuery`](super::FlowQuery) answers [`Flow`](super::Flow), or 404.
    pub const FLOW: &str = "/v1/flow";
    /// `GET` with a [`WhoQuery`](super::WhoQuery) answers [`Who`](super::Who).
    pub const WHO: &str = "/v1/who";
    /// `GET` answers [`Pools`](super::Pools).
    pub const POOLS: &str = "/v1/pools";
    /// `GET` answers [`Mappings`](super::Mappings). `POST` a
    /// [`MappingRequest`](super::MappingRequest), answers the [`Mapping`](super::Mapping) that is
    /// granted. `DELETE` with a [`WithdrawQuery`](super::WithdrawQuery) answers the one that was.
    pub const MAPPINGS: &str = "/v1/mappings";
    /// `GET` answers [`Bgp`](super::Bgp). `POST` a [`BgpRequest`](super::BgpRequest) asks something of the
    /// session with a peer.
    pub const BGP: &str = "/v1/bgp";
    /// `GET` answers [`Bfd`](super::Bfd).
    pub const BFD: &str = "/v1/bfd";
    /// `GET` answers [`Cluster`](super::Cluster).
    pub const CLUSTER: &str = "/v1/cluster";
    /// `GET` with an [`OwnerQuery`](super::OwnerQuery) answers [`Owner`](super::Owner).
    pub const OWNER: &str = "/v1/owner";
    /// `GET` answers [`Drain`](super::Drain). `POST` begins to drain, `DELETE` serves again; both answer how
    /// it stands then.
    pub const DRAIN: &str = "/v1/drain";
    /// `GET` answers [`Drops`](super::Drops).
    pub const DROPS: &str = "/v1/drops";
    /// `GET` answers [`Counters`](super::Counters).
    pub const COUNTERS: &str = "/v1/counters";
    /// `POST` an [`ApplyRequest`](super::ApplyRequest), answers [`Applied`](super::Applied). `GET`
    /// answers the configuration in force as it was written.
    pub const CONFIG: &str = "/v1/config";
    /// `GET` answers the OpenAPI document of all this.
    pub const OPENAPI: &str = "/v1/openapi.json";
    /// `GET` answers the metrics in the Prometheus text format.
    pub const METRICS: &str = "/metrics";
    /// `GET` answers 200 as long as the daemon lives.
    pub const HEALTHY: &str = "/healthz";
    /// `GET` answers 200 if packets can be sent to the gateway, otherwise 503.
    pub const READY: &str = "/readyz";
}

/// Why a request was not served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiError {
    /// What was attempted, on what, and why it failed.
    pub error: String,
    /// What to do about it.
    pub help: String,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\nhelp: {}", self.error, self.help)
    }
}

impl std::error::Error for ApiError {}

/// The protocols that are translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 792; queries only.
    Icmp,
    /// RFC 9260; by address.
    Sctp,
    /// RFC 2784; by address.
    Gre,
    /// RFC 4303; by address.
    Esp,
}

impl Protocol {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 6] = [
        Self::Tcp,
        Self::Udp,
        Self::Icmp,
        Self::Sctp,
        Self::Gre,
        Self::Esp,
    ];

    /// The word in tables, labels and queries.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Sctp => "sctp",
            Self::Gre => "gre",
            Self::Esp => "esp",
        }
    }
}

/// One value for each protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ByProtocol<T> {
    /// Of TCP.
    pub tcp: T,
    /// Of UDP.
    pub udp: T,
    /// Of ICMP.
    pub icmp: T,
    /// Of SCTP.
    pub sctp: T,
    /// Of GRE.
    pub gre: T,
    /// Of ESP.
    pub esp: T,
}

impl<T> ByProtocol<T> {
    /// The value of one protocol.
    pub const fn of(&self, protocol: Protocol) -> &T {
        match protocol {
            Protocol::Tcp => &self.tcp,
            Protocol::Udp => &self.udp,
            Protocol::Icmp => &self.icmp,
            Protocol::Sctp => &self.sctp,
            Protocol::Gre => &self.gre,
            Protocol::Esp => &self.esp,
        }
    }

    /// The value of one protocol, to be changed.
    pub const fn of_mut(&mut self, protocol: Protocol) -> &mut T {
        match protocol {
            Protocol::Tcp => &mut self.tcp,
            Protocol::Udp => &mut self.udp,
            Protocol::Icmp => &mut self.icmp,
            Protocol::Sctp => &mut self.sctp,
            Protocol::Gre => &mut self.gre,
            Protocol::Esp => &mut self.esp,
        }
    }
}

/// Packets and bytes of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes, whole frames.
    pub bytes: u64,
}

#[cfg(test)]
mod tests;
