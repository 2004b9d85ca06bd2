//! The words of a cluster: gateways that share external addresses.

use serde::{Deserialize, Serialize};

/// Gateways that share external addresses. All of them have the same pools and rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// What reports call it.
    pub name: Option<String>,
    /// Which of the members this gateway is.
    #[serde(rename = "self")]
    pub own: Option<String>,
    /// The file whose first line all members have alike.
    pub secret_file: Option<String>,
    /// The gateways.
    pub members: Option<Vec<Member>>,
    /// The BFD profile by which members watch each other.
    pub bfd: Option<String>,
    /// How many routers may be between two members; absent, they are on one link.
    pub multihop: Option<u64>,
    /// The MTU of the network between the members, in bytes: 1500.
    pub mtu: Option<u64>,
}

/// A gateway of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Member {
    /// What reports call it.
    pub name: Option<String>,
    /// Its own IPv4 address, which the others send to.
    pub address: Option<String>,
}
