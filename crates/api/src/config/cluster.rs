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
    /// How flows are copied to the other members; absent, they are not.
    pub replication: Option<Replication>,
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

/// How flows are copied to the other members of the cluster: over TCP between the members' addresses, with TLS
/// by which each shows the other who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Replication {
    /// The TCP port that all members listen on: 3473.
    pub port: Option<u64>,
    /// The file with the certificate of who signs the members', in PEM.
    pub ca_file: Option<String>,
    /// The file with this member's certificate in PEM, and those between it and the one in `ca_file`.
    pub certificate_file: Option<String>,
    /// The file with the key of this member's certificate, in PEM.
    pub key_file: Option<String>,
}
