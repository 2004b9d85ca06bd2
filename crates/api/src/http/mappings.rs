//! External ports that somebody asked for: in the configuration, or of the daemon while it runs.

use serde::{Deserialize, Serialize};

use super::{Endpoint, Protocol};

/// Everything that was asked for and has not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Mappings {
    /// First what the configuration forwards, in its order, then what was granted.
    pub mappings: Vec<Mapping>,
}

/// External ports through which an internal endpoint is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Mapping {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The external endpoint; of a range, the first one.
    pub external: Endpoint,
    /// The internal endpoint; of a range, the first one.
    pub internal: Endpoint,
    /// How many ports there are from there on: one, unless the configuration forwards a range.
    pub ports: u32,
    /// The pool that the external address is from.
    pub pool: Option<String>,
    /// The name of the forward, if the configuration has it.
    pub forward: Option<String>,
    /// Prefixes of those who may call; none is everybody.
    pub from: Vec<String>,
    /// Who may renew and withdraw what was granted; absent is anybody.
    pub owner: Option<String>,
    /// When it ends unless it is renewed; absent, it stands as long as the configuration says so.
    pub expires_in_seconds: Option<u64>,
    /// Whether it is in force; if not, there was no room for it, and it is tried again.
    pub standing: bool,
}

/// Asks for an external port, or for more time for the one that the internal endpoint was granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MappingRequest {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The internal endpoint, of a client that the rules give a pool.
    #[cfg_attr(feature = "openapi", schema(example = "10.0.0.5:8443"))]
    pub internal: String,
    /// The external endpoint that would be best: an address, a port (`:8443`), or both. Another one is
    /// granted if it cannot be had, of the same version of IP. `0.0.0.0` and `[::]` are any address of their
    /// version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "192.0.2.1:8443"))]
    pub external: Option<String>,
    /// Whether others than that will not do (RFC 6887 §13.2).
    #[serde(default)]
    pub prefer_failure: bool,
    /// For how long: 7200 if absent, 86400 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u64>,
    /// A name, 32 bytes at most. Only who gives it again renews or withdraws the mapping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// Withdraws what was granted to an internal endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema, utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct WithdrawQuery {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The internal endpoint.
    #[cfg_attr(feature = "openapi", param(example = "10.0.0.5:8443"))]
    pub internal: String,
    /// The name that was given when it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}
