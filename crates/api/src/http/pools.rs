//! What the pools have given and have left.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{ByProtocol, Traffic};

/// All pools, those that are draining among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pools {
    /// In the order of the configuration, then what it no longer names.
    pub pools: Vec<Pool>,
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Whether the configuration no longer has it, and only the flows it had go on.
    pub draining: bool,
    /// The first external port that is given out.
    pub first_port: u16,
    /// The last external port that is given out.
    pub last_port: u16,
    /// Its addresses.
    pub addresses: Vec<PoolAddress>,
    /// Sent towards the external realm.
    pub out: Traffic,
    /// Sent towards the internal realm.
    #[serde(rename = "in")]
    pub inward: Traffic,
    /// Flows started since the counters exist.
    pub new_flows_total: ByProtocol<u64>,
}

/// One external address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PoolAddress {
    /// The address.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "192.0.2.1"))]
    pub address: Ipv4Addr,
    /// Whether new flows may use it.
    pub state: AddressState,
    /// TCP ports.
    pub tcp: Ports,
    /// UDP ports.
    pub udp: Ports,
    /// ICMP identifiers.
    pub icmp: Ports,
    /// Flows that leave from it at present, as the last sweep counted them.
    pub flows: u64,
}

/// What an external address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum AddressState {
    /// New flows may use it.
    Serving,
    /// The configuration no longer has it, and only the flows it had go on.
    Draining,
}

/// Ports of one protocol on one address; TCP ports of an overloaded address count once for each flow
/// that they can serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ports {
    /// Taken.
    pub used: u32,
    /// Left; none on an address that drains.
    pub free: u32,
    /// Of those that are left, how many were freed lately and go behind all others.
    pub held: u32,
}
