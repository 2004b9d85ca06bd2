//! How the daemon is, in one body.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::ByProtocol;
use crate::Problems;

/// What `egret status` shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// The commit it was built from, if the build knew it.
    pub build: Option<String>,
    /// The daemon's process.
    pub pid: u32,
    /// When the process started, RFC 3339 in UTC.
    pub started_at: String,
    /// Seconds since then.
    pub uptime_seconds: u64,
    /// Whether it took over the flows and counters of a process before it.
    pub adopted: bool,
    /// The configuration in force.
    pub config: ConfigStatus,
    /// The interfaces it listens on.
    pub interfaces: Vec<InterfaceStatus>,
    /// The flow table.
    pub flows: ActiveFlows,
    /// Pools in force.
    pub pools: u32,
    /// Rules in force.
    pub rules: u32,
    /// The removal of flows that timed out.
    pub sweep: Sweep,
    /// The packet path that is loaded.
    pub program: Program,
    /// What an operator should know and no other field says, in sentences.
    pub notes: Vec<String>,
}

/// The configuration in force, and the last one that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfigStatus {
    /// The file it came from, or `api` if it was applied and never saved.
    pub source: String,
    /// When it took effect, RFC 3339 in UTC.
    pub loaded_at: String,
    /// A digest of its text: equal digests, equal configurations.
    pub digest: String,
    /// Whether the file holds it, so that a restart finds it again.
    pub saved: bool,
    /// Why the last attempt to replace it changed nothing; absent if the last attempt succeeded.
    pub last_error: Option<Problems>,
}

/// Which realm an interface faces (RFC 2663).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Realm {
    /// The clients.
    Internal,
    /// The world.
    External,
    /// Both: a gateway on one arm.
    Both,
}

/// How a program hangs on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum AttachMode {
    /// In the driver, before the kernel allocates anything.
    Native,
    /// Behind the driver: works everywhere, and is several times slower.
    Generic,
}

/// One interface of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InterfaceStatus {
    /// The kernel's name for it.
    pub name: String,
    /// The kernel's number for it; absent if there is no such interface at present.
    pub ifindex: Option<u32>,
    /// The realm it faces.
    pub realm: Realm,
    /// How the program hangs on it; absent if it does not.
    pub mode: Option<AttachMode>,
    /// Whether the program hangs on it.
    pub attached: bool,
    /// Whether the program stays there when the daemon ends.
    pub pinned: bool,
    /// The interface's own addresses.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub addresses: Vec<IpAddr>,
}

/// The flow table. A flow is counted once, though each direction has an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActiveFlows {
    /// Flows at present, as the last sweep counted them.
    pub active: u64,
    /// Flows that fit and have IPv4 addresses only.
    pub max: u64,
    /// Those flows that have an IPv6 address on one side or both.
    pub active6: u64,
    /// Flows with an IPv6 address that fit.
    pub max6: u64,
    /// Those flows, by protocol.
    pub by_protocol: ByProtocol<u64>,
    /// Those flows, by state.
    pub by_state: ByState,
}

/// A number of flows for each [`FlowState`](super::FlowState).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ByState {
    /// TCP connections that only one side has opened.
    pub opening: u64,
    /// TCP connections that both sides have opened.
    pub established: u64,
    /// TCP connections that one side has closed or reset.
    pub closing: u64,
    /// UDP flows and ICMP queries.
    pub active: u64,
}

/// The removal of flows that timed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Sweep {
    /// Passes over the table since the daemon started.
    pub passes_total: u64,
    /// Flows removed since the daemon started.
    pub expired_total: u64,
    /// How long the last pass took; absent before the first.
    pub last_duration_seconds: Option<f64>,
    /// How long after its timeout the latest flow was removed in the last pass.
    pub lag_seconds: f64,
}

/// The packet path that is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Program {
    /// Instructions that the kernel's verifier walked through; absent if the kernel does not say.
    pub instructions: Option<u64>,
    /// The kernel's digest of the program, as `bpftool prog` shows it.
    pub tag: String,
}
