//! Who had an external address and port, as the session log has it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Whose external endpoint, and when.
///
/// A time is RFC 3339 (`2026-11-03T14:05:00Z`), or how long ago it was (`-10m`, `-2h4m`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema, utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields, default)]
pub struct WhoQuery {
    /// The external endpoint and its protocol; of an ICMP query, the identifier is the port.
    #[cfg_attr(feature = "openapi", param(example = "192.0.2.10:40000/tcp"))]
    pub external: String,
    /// At this moment; absent, now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// At any moment from this one on; not together with `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// At any moment until this one, included; absent, now. Not together with `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// Who it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Who {
    /// The endpoint that was asked about.
    pub external: Party,
    /// Its protocol, by name or number.
    pub protocol: String,
    /// The beginning of the time that was asked about, RFC 3339 in UTC.
    pub since: String,
    /// Its end; the same for one moment.
    pub until: String,
    /// Every flow that had the endpoint then, by its beginning. Flows from a client's own block of ports
    /// are here only while they are open.
    pub sessions: Vec<Session>,
    /// Whose own the port was then, by the blocks that were configured, in the order of time.
    pub blocks: Vec<Block>,
    /// Whether there are more, which are not listed.
    pub truncated: bool,
    /// When the first flow of the log began, RFC 3339 in UTC; absent if there is no log, or nothing
    /// in it. About earlier times it says nothing.
    pub log_begins: Option<String>,
    /// What else one should know of the answer, in sentences.
    pub notes: Vec<String>,
}

/// A client's own block of ports, from which its flows are not logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Block {
    /// Who it was.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "100.64.0.7"))]
    pub client: IpAddr,
    /// The pool that gave it the block.
    pub pool: String,
    /// The external address.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "192.0.2.10"))]
    pub address: IpAddr,
    /// The first port of the block.
    pub first: u16,
    /// The last one.
    pub last: u16,
    /// Since when at least, RFC 3339 in UTC.
    pub since: String,
}

/// A flow that had the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Session {
    /// Who it was.
    pub client: Party,
    /// Whom the client talked to.
    pub remote: Party,
    /// The pool that the external address was from, if its name is known.
    pub pool: Option<String>,
    /// Whether it goes on.
    pub state: SessionState,
    /// When it began, RFC 3339 in UTC.
    pub opened: String,
    /// When it ended and the port became free; absent if it goes on, or the log does not say.
    pub closed: Option<String>,
    /// When its last packet passed, to a second; absent if the log does not say.
    pub last_packet: Option<String>,
    /// Why it ended: `idle`, `finished`, `reset`, `removed`.
    pub reason: Option<String>,
    /// Packets from the client.
    pub packets_out: Option<u64>,
    /// Bytes of them, whole frames.
    pub bytes_out: Option<u64>,
    /// Packets to the client.
    pub packets_in: Option<u64>,
    /// Bytes of them, whole frames.
    pub bytes_in: Option<u64>,
}

/// Whether a flow goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// It goes on.
    Open,
    /// It has ended.
    Closed,
    /// It does not go on, and the log does not say when it ended.
    Unknown,
}

impl SessionState {
    /// The word in tables.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Unknown => "unknown",
        }
    }
}

/// An address of either family and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Party {
    /// The address.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "192.0.2.10"))]
    pub address: IpAddr,
    /// The port; of an ICMP query, its identifier on the client's side and zero on the remote's.
    pub port: u16,
}

impl std::fmt::Display for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Through a string, so that a table can give it a width.
        f.pad(&std::net::SocketAddr::new(self.address, self.port).to_string())
    }
}
