//! The gateways that share external addresses, as one of them sees them.

use serde::{Deserialize, Serialize};

/// The cluster, as this member sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cluster {
    /// Its name; absent where a gateway is alone.
    pub name: Option<String>,
    /// Which of the members this gateway is.
    #[serde(rename = "self")]
    pub own: Option<String>,
    /// Whether it is known who holds which flows. Until then none is begun.
    pub settled: bool,
    /// Into how many buckets flows are divided.
    pub buckets: u32,
    /// Whether flows are copied to other members.
    pub copied: bool,
    /// Until when this member's certificate is good, as RFC 3339; absent where none is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_until: Option<String>,
    /// The members, by name.
    pub members: Vec<ClusterMember>,
}

/// A gateway of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterMember {
    /// Its name.
    pub name: String,
    /// Where packets go that are handed to it.
    pub address: String,
    /// `unknown`, `starting`, `up`, `leaving` or `down`, as this gateway sees it.
    pub state: String,
    /// In how many buckets it begins flows.
    pub owns: u32,
    /// In how many more it serves flows that it began before another came to own them.
    pub serves: u32,
    /// How flows are copied between it and this gateway; absent of this one, and where none are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copies: Option<Copies>,
}

/// How flows are copied between this gateway and another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Copies {
    /// What the other one is told.
    pub sent: Sent,
    /// What it tells.
    pub kept: Kept,
}

/// What another member is told of this one's flows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Sent {
    /// Whether there is a connection by which it is told.
    pub connected: bool,
    /// Of how many buckets it is told.
    pub buckets: u32,
    /// Of how many of them it knows all flows, but for what it lags behind.
    pub complete: u32,
    /// Changes that it has not acknowledged.
    pub lag: u64,
    /// For how long the oldest of them has waited, in milliseconds.
    pub lag_ms: u64,
    /// Changes that it was told, since the daemon began.
    pub changes: u64,
    /// Changes that were left out because too many waited; the bucket is told of anew then.
    pub skipped: u64,
}

/// What another member tells of its flows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Kept {
    /// Whether there is a connection by which it tells.
    pub connected: bool,
    /// Of how many buckets it tells.
    pub buckets: u32,
    /// Of how many of them all flows are here.
    pub complete: u32,
    /// Changes that came, since the daemon began.
    pub changes: u64,
    /// Bytes that came.
    pub bytes: u64,
    /// Flows that came to stand here, or were told again.
    pub flows: u64,
    /// Flows whose external address is none of this gateway's.
    pub refused: u64,
    /// Flows whose packets another flow of this gateway has.
    pub contradicted: u64,
    /// Flows for which the tables had no room.
    pub full: u64,
    /// What is no flow.
    pub malformed: u64,
}
