//! The flow table, as it is listed.

use std::{
    fmt::{self, Display},
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use super::Protocol;

/// Which flows to list. Everything that is given must hold.
///
/// An endpoint is an address (`10.1.2.3`, `2001:db8::1`), a prefix (`10.1.0.0/16`, `2001:db8::/32`), an
/// address and a port (`10.1.2.3:443`, `[2001:db8::1]:443`), or a port alone (`:443`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema, utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields, default)]
pub struct FlowsQuery {
    /// The internal endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The external endpoint that stands for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<String>,
    /// The endpoint that the client talks to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// The state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<FlowState>,
    /// The pool that the external address is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// At most this many flows are listed; absent, all that match. Zero only counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Which flow to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema, utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct FlowQuery {
    /// Protocol, source and destination of any packet of the flow, apart by blanks, on its way out
    /// or back, before or after translation. An ICMP query has its identifier as the port of the
    /// side that asks, and the other side has none.
    #[cfg_attr(
        feature = "openapi",
        param(example = "tcp 10.0.0.1:4242 198.51.100.9:5432")
    )]
    pub tuple: String,
}

/// The flows that matched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Flows {
    /// As many as the query's limit allowed.
    pub flows: Vec<Flow>,
    /// How many matched.
    pub matched: u64,
    /// How many there are.
    pub total: u64,
    /// Whether more matched than are listed.
    pub truncated: bool,
}

/// One flow, both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Flow {
    /// The protocol.
    pub protocol: Protocol,
    /// How far it is.
    pub state: FlowState,
    /// Who started it, by its internal address.
    pub client: Endpoint,
    /// What the remote sees instead of the client.
    pub external: Endpoint,
    /// Whom the client talks to, as it knows them.
    pub remote: Endpoint,
    /// Who that is, if it is somebody else: the target of an endpoint, the IPv4 address that the remote's
    /// stands for, the internal host behind an external port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Endpoint>,
    /// The pool that the external address is from; absent if that pool is gone.
    pub pool: Option<String>,
    /// The rule that it began under; absent if nothing is known of that rule any more.
    pub rule: Option<String>,
    /// Seconds since its first packet.
    pub age_seconds: u64,
    /// Seconds since its last packet.
    pub idle_seconds: u64,
    /// Seconds until it is removed, if no packet comes.
    pub expires_in_seconds: u64,
    /// Packets from the client.
    pub packets_out: u64,
    /// Bytes of them, whole frames.
    pub bytes_out: u64,
    /// Packets to the client.
    pub packets_in: u64,
    /// Bytes of them, whole frames.
    pub bytes_in: u64,
    /// The interface towards the remote; absent if the next hop is not known at present.
    pub interface_out: Option<String>,
    /// The interface towards the client; absent if the next hop is not known at present.
    pub interface_in: Option<String>,
}

/// An address and a port. An ICMP query has its identifier as the client's port, and zero as the
/// remote's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Endpoint {
    /// The address.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "192.0.2.1"))]
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Through a string, so that a table can give it a width.
        f.pad(&SocketAddr::new(self.address, self.port).to_string())
    }
}

/// How far a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum FlowState {
    /// TCP, opened by one side only.
    Opening,
    /// TCP, opened by both sides.
    Established,
    /// TCP, closed or reset by a side.
    Closing,
    /// UDP or ICMP, which have no states.
    Active,
}

impl FlowState {
    /// All of them, in the order in which a flow passes through them.
    pub const ALL: [Self; 4] = [
        Self::Opening,
        Self::Established,
        Self::Closing,
        Self::Active,
    ];

    /// The word in tables, labels and queries.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Established => "established",
            Self::Closing => "closing",
            Self::Active => "active",
        }
    }
}
