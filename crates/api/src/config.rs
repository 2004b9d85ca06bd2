//! The configuration as a person writes it: one model for the file, for Kubernetes objects and for
//! API calls.
//!
//! Values stand as they were written, and every field may be absent: which ones may not, and what
//! the defaults are, is decided in one place, `gateway::intent`. The reference for operators is
//! `docs/operate/configuration.md`.

mod cluster;
mod routing;

use serde::{Deserialize, Serialize};

pub use cluster::{Cluster, Member, Replication};
pub use routing::{
    Announcement, Bfd, BfdAuthentication, BfdProfile, BfdSession, Bgp, BgpPeer, TcpAo, TcpAoKey,
};

/// Everything one gateway is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The interfaces to listen on.
    pub interfaces: Option<Vec<Interface>>,
    /// External addresses, by the name that rules use.
    pub pools: Option<Vec<Pool>>,
    /// Which flows are translated; the first rule that matches decides.
    pub rules: Option<Vec<Rule>>,
    /// Addresses that clients dial and that lead to targets elsewhere.
    pub endpoints: Option<Vec<Endpoint>>,
    /// Prefixes whose addresses are translated one to one.
    pub prefixes: Option<Vec<Prefix>>,
    /// How IPv6 clients reach IPv4 targets.
    pub nat64: Nat64,
    /// The gateways that this one shares its external addresses with.
    pub cluster: Option<Cluster>,
    /// What routers are told.
    pub bgp: Option<Bgp>,
    /// How it is noticed within milliseconds that a way is gone.
    pub bfd: Bfd,
    /// How long a silent flow is kept.
    pub timeouts: Timeouts,
    /// Sizes of tables.
    pub limits: Limits,
    /// Where the daemon is asked and told.
    pub api: Api,
    /// Where Prometheus scrapes.
    pub metrics: Metrics,
    /// What is written down.
    pub log: Log,
    /// The bpffs directory in which maps, programs and links are pinned, `/sys/fs/bpf/egret`.
    pub state: Option<String>,
}

/// An interface that packets come in by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Interface {
    /// The kernel's name for it, `eth0`.
    pub name: Option<String>,
    /// `internal`, `external`, or `both` for a gateway on one arm.
    pub realm: Option<String>,
    /// `native`, `native-or-generic` or `generic` XDP.
    pub mode: Option<String>,
}

/// External addresses that flows leave from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    /// What rules call it.
    pub name: Option<String>,
    /// Addresses, and prefixes of which every address is used.
    pub addresses: Option<Vec<String>>,
    /// The external ports, `1024-65535`.
    pub ports: Option<String>,
    /// Ports that are one client's own, so that its flows need not be written down.
    pub blocks: Option<Blocks>,
    /// What of the remote an external port depends on, by protocol.
    pub mapping: Modes,
    /// Which remotes may send to an external port, by protocol.
    pub filtering: Modes,
    /// `on` or `off`: whether clients reach each other by their external addresses.
    pub hairpinning: Option<String>,
    /// `on` or `off`: whether a TCP port serves several flows, as long as their remotes differ.
    pub overload: Option<String>,
    /// `on` or `off`: whether external ports have the parity of internal ones.
    pub parity: Option<String>,
    /// How long a port that was freed is given out only if there are no others: `120s`.
    pub hold_down: Option<String>,
    /// How many ports of an address and protocol are held back so at one time, at most.
    pub held_ports: Option<u64>,
    /// The largest TCP segment that both sides may agree on, in bytes.
    pub mss: Option<u64>,
    /// `icmp`, `reset` or `silent`: how clients are told that there is no room for a flow.
    pub refusal: Option<String>,
    /// `sctp`, `gre`, `esp`: which protocols are translated by address alone; absent is all of them.
    pub by_address: Option<Vec<String>>,
    /// How long its flows are kept; what it leaves out is as for all pools.
    pub timeouts: Timeouts,
    /// External ports through which internal hosts are reached from outside.
    pub forwards: Option<Vec<Forward>>,
}

/// Blocks of external ports, each of which is one client's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Blocks {
    /// IPv4 prefixes of which every address has a block, in this order.
    pub clients: Option<Vec<String>>,
    /// Ports of a block: a power of two from 256 to 16384.
    pub size: Option<u64>,
}

/// External ports of a pool through which an internal host is reached from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Forward {
    /// What reports call it.
    pub name: Option<String>,
    /// The external ports: `tcp/443`, `udp/5000-5099`.
    pub service: Option<String>,
    /// Which of the pool's addresses; a pool of one address need not say.
    pub address: Option<String>,
    /// The internal host, `10.0.0.5`, and the port that the first external one stands for,
    /// `10.0.0.5:8443`, `[2001:db8::5]:8443`; without, they are the same.
    pub to: Option<String>,
    /// Prefixes that callers are in; absent is everybody.
    pub from: Option<Vec<String>>,
}

/// A behaviour by protocol: `endpoint-independent`, `address-dependent` or
/// `address-and-port-dependent`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Modes {
    /// TCP.
    pub tcp: Option<String>,
    /// UDP.
    pub udp: Option<String>,
    /// ICMP queries.
    pub icmp: Option<String>,
}

/// Which flows, and what becomes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// What reports call it.
    pub name: Option<String>,
    /// Prefixes that the client is in.
    pub sources: Option<Vec<String>>,
    /// Prefixes that the target is in; absent is any.
    pub destinations: Option<Vec<String>>,
    /// `tcp/443`, `tcp/8000-8999`, `udp`, `icmp`, `sctp`, `gre`, `esp`; absent is any.
    pub services: Option<Vec<String>>,
    /// Translate, from this pool. A rule has either this or an `action`.
    pub pool: Option<String>,
    /// `pass`: leave the packets to the kernel, untouched.
    pub action: Option<String>,
    /// How much its clients may have together, and each.
    pub quota: Quota,
}

/// An address that clients dial and that leads to a target elsewhere, from a pool's address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoint {
    /// What reports call it.
    pub name: Option<String>,
    /// The address that clients dial; nobody's otherwise.
    pub address: Option<String>,
    /// What they ask for there: `tcp/5432`, `udp/5000-5099`, `tcp`; absent is anything.
    pub service: Option<String>,
    /// The target, `203.0.113.20`, and the port that the first one of `service` stands for,
    /// `203.0.113.20:5433`; without, they are the same.
    pub to: Option<String>,
    /// Prefixes that the client is in.
    pub sources: Option<Vec<String>>,
    /// The pool that the flows leave from.
    pub pool: Option<String>,
    /// How much its clients may have together, and each.
    pub quota: Quota,
}

/// How much the clients of a rule may have; what it leaves out is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Flows of all clients together.
    pub flows: Option<u64>,
    /// External ports of all clients together.
    pub ports: Option<u64>,
    /// Each client.
    pub client: ClientQuota,
}

/// How much each client of a rule may have; what it leaves out is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientQuota {
    /// Flows.
    pub flows: Option<u64>,
    /// External ports.
    pub ports: Option<u64>,
    /// New flows a second in the long run.
    pub rate: Option<u64>,
    /// New flows at once after a pause; absent is as many as `rate`.
    pub burst: Option<u64>,
}

/// A prefix whose addresses are translated one to one, in both directions and without state: of IPv4,
/// or of IPv6 (RFC 6296).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prefix {
    /// What reports call it.
    pub name: Option<String>,
    /// The addresses that hosts inside have, `10.1.0.0/24`.
    pub internal: Option<String>,
    /// The addresses that they have outside, `198.51.100.0/24`.
    pub external: Option<String>,
    /// Remotes with whom it is not translated; absent is none.
    pub except: Option<Vec<String>>,
}

/// Translation of IPv6 clients' flows to IPv4 targets (RFC 6146).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nat64 {
    /// The prefixes whose addresses stand for IPv4 ones (RFC 6052): `64:ff9b::/96`.
    pub prefixes: Option<Vec<String>>,
    /// Bytes of the longest IPv6 packet that an IPv4 one becomes whose sender may not know how long it can
    /// be (RFC 7915 §4.1): `1500`.
    pub lowest_mtu: Option<u64>,
}

/// How long a flow is kept after its last packet: `2h4m`, `90s`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// A TCP connection that both sides opened (RFC 5382 REQ-5).
    pub tcp_established: Option<String>,
    /// A TCP connection that is opening (RFC 5382 REQ-5, RFC 7857 §2.1).
    pub tcp_opening: Option<String>,
    /// A TCP connection that is closing (RFC 5382 REQ-5, RFC 7857 §2.1).
    pub tcp_closing: Option<String>,
    /// A UDP flow (RFC 4787 REQ-5).
    pub udp: Option<String>,
    /// An ICMP query (RFC 5508 REQ-2).
    pub icmp: Option<String>,
    /// An SCTP association.
    pub sctp: Option<String>,
    /// A GRE tunnel.
    pub gre: Option<String>,
    /// An ESP tunnel.
    pub esp: Option<String>,
    /// Open flows to certain ports at the remote; the first that matches decides.
    pub services: Option<Vec<ServiceTimeout>>,
}

/// How long an open flow to certain ports is kept after its last packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceTimeout {
    /// `tcp/5432`, `udp/8000-8999`.
    pub service: Option<String>,
    /// `12h`.
    pub timeout: Option<String>,
}

/// Sizes of tables. The kernel's memory for them is taken at start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Flows at one time that have IPv4 addresses only.
    pub flows: Option<u64>,
    /// Flows at one time that have an IPv6 address on one side or both.
    pub flows6: Option<u64>,
    /// ICMP errors of the gateway's own that each CPU sends in 1.07 s.
    pub icmp_errors: Option<u64>,
}

/// The daemon's HTTP API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    /// The unix socket it listens on, `/run/egret/egret.sock`.
    pub socket: Option<String>,
}

/// Metrics in the Prometheus text format.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// The address and TCP port for `/metrics`; absent, only the API's socket serves them.
    pub listen: Option<String>,
}

/// What is written down beside the daemon's own log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Who had which external address and port; absent, nobody writes it down.
    pub sessions: Option<SessionLog>,
}

/// Which flows began and ended, and where that is written. At least one place is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionLog {
    /// `opened`, `closed`; absent is both.
    pub events: Option<Vec<String>>,
    /// The file of JSON lines, which `egret who` answers from: `/var/log/egret/sessions.jsonl`.
    pub file: Option<String>,
    /// When the file goes on in a new one, and how many are kept.
    pub rotate: Rotate,
    /// An RFC 5424 receiver: `udp://192.0.2.5:514`, `tcp://192.0.2.5:601`, `unix:///dev/log`.
    pub syslog: Option<String>,
    /// An IPFIX collector.
    pub ipfix: Option<Ipfix>,
}

/// When a file goes on in a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rotate {
    /// When it is this large: `128MiB`.
    pub size: Option<String>,
    /// When its first record is this old: `1d`.
    pub age: Option<String>,
    /// How many old ones are kept.
    pub keep: Option<u64>,
}

/// An IPFIX collector (RFC 7011), told the NAT events of RFC 8158 over UDP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ipfix {
    /// Its address and UDP port, `192.0.2.6:4739`.
    pub collector: Option<String>,
    /// The observation domain of this gateway.
    pub domain: Option<u64>,
}
