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
    /// `unknown`, `up`, `leaving` or `down`, as this gateway sees it.
    pub state: String,
    /// In how many buckets it begins flows.
    pub owns: u32,
    /// In how many more it serves flows that it began before another came to own them.
    pub serves: u32,
}
