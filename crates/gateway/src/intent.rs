//! From what an operator wrote to what a gateway believes: the one door between the two.
//!
//! [`parse`] reads a configuration, finds everything that is wrong with it at once, each with its
//! place and with what to write instead, and either refuses it as a whole or returns an [`Intent`].
//! Nothing behind an `Intent` checks again. The daemon, `egretd --check`, `egret check` and the API
//! all come through here, so they agree about every file.
//!
//! The way of a file:
//!
//! ```text
//! text ─ yaml ─► tree of words with their places ─ shape ─► api::Config ─ judge ─► Intent
//!                                                     └────────┴─► report: problems, by field
//! ```
//!
//! - `yaml` knows the language, and refuses what is not that language, or too much of it.
//! - `shape` knows the model's fields: it finds unknown, repeated and empty ones.
//! - `judge` knows what values mean, with `words` for single values and `shadow` for rules that
//!   can never match.

pub mod blocks;
pub mod cluster;
mod judge;
mod near;
mod report;
pub mod routing;
mod shadow;
mod shape;
mod words;
mod yaml;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use abi::blocks::Ranks;
pub use abi::{Behaviour, Dependence, Needs, Prefix64, Protocol, Quota, Realm, Refusal};
use api::{Problem, Problems};
use ipnet::IpNet;

pub use blocks::Blocks;
pub use judge::STATE_DEFAULT;
use report::Report;

/// Bytes of a configuration. A policy of [`abi::limits::RULES_MAX`] rules with ten prefixes each is
/// a third of it; much more is a file given by mistake.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;

/// What one gateway is to do. Valid by construction: only [`parse`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// The interfaces to listen on; at least one faces each realm.
    pub interfaces: Vec<Interface>,
    /// The pools, in the order of the configuration.
    pub pools: Vec<Pool>,
    /// The rules; the first that matches decides. Those of endpoints are before all others.
    pub rules: Vec<Rule>,
    /// Prefixes whose addresses are translated one to one: none overlaps another or a pool's address; at
    /// most [`abi::limits::FIXED_MAX`].
    pub fixed: Vec<FixedPrefix>,
    /// The prefixes whose addresses stand for IPv4 ones: none overlaps another, none holds a pool's
    /// address; at most [`abi::limits::PREFIXES64_MAX`].
    pub prefixes: Vec<Prefix64>,
    /// The longest IPv6 packet that an IPv4 one becomes whose sender may not know how long it can be, in
    /// bytes: at least 1280.
    pub lowest_mtu6: u16,
    /// The gateways that this one shares its external addresses with, if there are such.
    pub cluster: Option<cluster::Cluster>,
    /// What routers are told, if they are.
    pub bgp: Option<routing::Bgp>,
    /// How it is noticed that a way is gone.
    pub bfd: routing::Bfd,
    /// How long silent flows are kept.
    pub timeouts: Timeouts,
    /// The same of open flows to certain ports; the first that matches decides.
    pub services: Vec<ServiceTimeout>,
    /// Sizes of tables.
    pub limits: Limits,
    /// The unix socket of the API.
    pub api_socket: PathBuf,
    /// Where metrics are served beside the API's socket.
    pub metrics: Option<SocketAddr>,
    /// Where it is written down who had which external port, if it is.
    pub log: Option<SessionLog>,
    /// The bpffs directory in which maps, programs and links are pinned.
    pub state: PathBuf,
}

impl Intent {
    /// The cluster, if its members copy flows to each other.
    pub fn copying(&self) -> Option<&cluster::Cluster> {
        let cluster = self.cluster.as_ref();
        cluster.filter(|it| it.replication.is_some())
    }

    /// Whether anything is to be done with IPv6.
    pub fn has_ipv6(&self) -> bool {
        let is_ipv6 = |prefix: &FixedPrefix| matches!(prefix.internal, IpNet::V6(_));
        uses_ipv6(&self.pools, &self.prefixes) || self.fixed.iter().any(is_ipv6)
    }

    /// Which programs it needs.
    pub fn needs(&self) -> Needs {
        Needs {
            ipv6: self.has_ipv6(),
            fixed: !self.fixed.is_empty(),
            cluster: self.cluster.is_some(),
        }
    }

    /// The ports that a client may have on an address of a pool: those of its own block, if it has one
    /// there, and those of nobody's.
    pub fn ranks(&self, client: IpAddr, address: IpAddr) -> [Option<Ranks>; 2] {
        let mut pools = self.pools.iter();
        let pool = pools.find(|pool| pool.addresses.contains(&address));
        match pool.and_then(|pool| Some((pool, pool.blocks.as_ref()?))) {
            Some((pool, blocks)) => blocks.ranks(client, pool.index_of(address)),
            None => [None, Some(abi::Blocks::NONE.rest)],
        }
    }
}

/// Whether any flow may have an IPv6 address.
fn uses_ipv6(pools: &[Pool], prefixes: &[Prefix64]) -> bool {
    !prefixes.is_empty() || pools.iter().any(|pool| pool.has(IpAddr::is_ipv6))
}

/// An interface to listen on.
#[derive(Clone, Debug, PartialEq)]
pub struct Interface {
    /// The kernel's name for it; unique.
    pub name: String,
    /// The realm it faces.
    pub realm: Realm,
    /// How the program may hang on it.
    pub mode: Mode,
}

/// How a program may hang on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, or not at all.
    Native,
    /// In the driver if it can, otherwise behind it.
    NativeOrGeneric,
    /// Behind the driver, even if it could do better.
    Generic,
}

/// External addresses that flows leave from.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Unique; a DNS label.
    pub name: String,
    /// Of both versions: sorted, not empty, and in no other pool.
    pub addresses: Vec<IpAddr>,
    /// The ports that are given out on each address.
    pub ports: PortRange,
    /// Which of these are one client's own, if some are.
    pub blocks: Option<Blocks>,
    /// How it translates.
    pub behaviour: Behaviour,
    /// How long a port that was freed goes behind others.
    pub hold: HoldDown,
    /// How long its silent flows are kept, if not as all pools' are.
    pub timeouts: Option<Timeouts>,
    /// The same of open flows to certain ports, before [`Intent::services`].
    pub services: Vec<ServiceTimeout>,
    /// External ports through which internal endpoints are reached; none is another's.
    pub forwards: Vec<Forward>,
}

/// External ports through which internal endpoints are reached from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Unique; a DNS label.
    pub name: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// One of its pool's addresses: an IPv6 one only if the target has IPv6 as well.
    pub address: IpAddr,
    /// The external ports, also such as the pool does not give out.
    pub ports: PortRange,
    /// The internal address, and the port that the first of the external ones stands for; it is in no
    /// pool, and there are as many ports from there on.
    pub target: (IpAddr, u16),
    /// Sorted and unique: who may call; empty is everybody.
    pub callers: Vec<IpNet>,
}

impl Pool {
    /// How a pool translates that says nothing: endpoint-independent mapping (RFC 4787 REQ-1),
    /// address-dependent filtering (REQ-8), hairpinning (REQ-9), and all protocols that there are.
    pub const BEHAVIOUR_DEFAULT: Behaviour =
        Behaviour::new([Dependence::Endpoint; 3], [Dependence::Address; 3], true, 0)
            .with_by_address(Protocol::Sctp)
            .with_by_address(Protocol::Gre)
            .with_by_address(Protocol::Esp);
}

impl Pool {
    /// Whether it has an address that flows of this kind can leave from.
    pub fn has(&self, is_wanted: impl Fn(&IpAddr) -> bool) -> bool {
        self.addresses.iter().any(is_wanted)
    }

    /// Which of its IPv4 addresses one is, in their order.
    pub fn index_of(&self, address: IpAddr) -> Option<usize> {
        let mut own = self.addresses.iter().filter(|it| it.is_ipv4());
        own.position(|it| *it == address)
    }
}

/// A prefix whose addresses are translated one to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedPrefix {
    /// Unique; a DNS label.
    pub name: String,
    /// The addresses that hosts inside have.
    pub internal: IpNet,
    /// Those that they have outside: of the same version and length.
    pub external: IpNet,
    /// Sorted and unique: remotes with whom it is not translated, of the same version.
    pub except: Vec<IpNet>,
}

/// How long a port that was freed is given out only if there are no others (RFC 6888 REQ-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldDown {
    /// Whole seconds; none is not at all.
    pub time: Duration,
    /// How many ports of one address and protocol are held back at one time, at most.
    pub ports: u32,
}

impl HoldDown {
    /// As the RFC has it, and as many ports as there are.
    pub const DEFAULT: Self = Self {
        time: Duration::from_secs(120),
        ports: 65_536,
    };

    /// No port is ever held back.
    pub const OFF: Self = Self {
        time: Duration::ZERO,
        ports: 0,
    };

    /// As long as the longer of the two, and as many ports as the one that holds more.
    pub fn at_least(self, other: Self) -> Self {
        Self {
            time: self.time.max(other.time),
            ports: self.ports.max(other.ports),
        }
    }

    /// Whether no port is ever held back.
    pub const fn is_off(self) -> bool {
        self.time.is_zero() || self.ports == 0
    }
}

/// Ports from `first` to `last`, both included; never zero, never backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

/// Which flows, and what becomes of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Unique; a DNS label.
    pub name: String,
    /// Sorted, unique, not empty. Of a rule that translates, none holds a pool's address.
    pub sources: Vec<IpNet>,
    /// Sorted, unique, not empty: any destination is both versions' prefix of length zero. An IPv4
    /// one is also what an address of [`Intent::prefixes`] stands for.
    pub destinations: Vec<IpNet>,
    /// Sorted, unique, not empty: any service is [`Service::Any`].
    pub services: Vec<Service>,
    /// What becomes of them.
    pub action: Action,
    /// Whom they go to, if the rule is an endpoint's.
    pub target: Option<Target>,
    /// How much its clients may have; of a rule that passes, everything.
    pub quota: Quota,
}

/// Whom the flows go to that dial an endpoint, of the version of the endpoint's address or of IPv4; in no
/// pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The target.
    pub address: IpAddr,
    /// What makes the port of the target from the one that is dialled; it wraps. Zero where not all flows
    /// have ports.
    pub shift: u16,
}

/// What becomes of the flows that a rule matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// They leave from an address of a pool.
    Translate {
        /// The name of one of [`Intent::pools`].
        pool: String,
    },
    /// The kernel gets their packets, untouched.
    Pass,
}

/// What a flow asks for at its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Every protocol.
    Any,
    /// Everything of one protocol.
    Protocol(Protocol),
    /// TCP or UDP to ports from the first to the last, both included; never zero, never backwards.
    Ports(Protocol, u16, u16),
}

/// How long a flow is kept after its last packet: whole seconds, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, opened by both sides.
    pub tcp_established: Duration,
    /// TCP that one side has not opened yet.
    pub tcp_opening: Duration,
    /// TCP that both sides have closed, or one has reset.
    pub tcp_closing: Duration,
    /// UDP.
    pub udp: Duration,
    /// ICMP queries.
    pub icmp: Duration,
    /// SCTP.
    pub sctp: Duration,
    /// GRE.
    pub gre: Duration,
    /// ESP.
    pub esp: Duration,
}

/// How long an open flow to certain ports at the remote is kept after its last packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceTimeout {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The ports.
    pub ports: PortRange,
    /// Whole seconds, at least one.
    pub timeout: Duration,
}

/// Sizes of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Flows of IPv4 at one time, each with both directions.
    pub flows: u32,
    /// The same of flows that have an IPv6 address on one side or both.
    pub flows6: u32,
    /// ICMP errors of our own that one CPU sends in one tick.
    pub icmp_errors: u32,
}

/// Which events of flows are written down, and where: in one place at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLog {
    /// That flows began.
    pub opened: bool,
    /// That flows ended; one of the two at least.
    pub closed: bool,
    /// A file of JSON lines.
    pub file: Option<LogFile>,
    /// A receiver of syslog messages.
    pub syslog: Option<Syslog>,
    /// An IPFIX collector.
    pub ipfix: Option<Collector>,
}

/// A file that goes on in a new one when it is large or old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes after which it goes on in a new one.
    pub size: u64,
    /// Time after which it goes on in a new one.
    pub age: Duration,
    /// Old ones that are kept.
    pub keep: usize,
}

/// A receiver of syslog messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Syslog {
    /// RFC 5426.
    Udp(SocketAddr),
    /// RFC 6587, with counted messages.
    Tcp(SocketAddr),
    /// A datagram socket of this host.
    Unix(PathBuf),
}

/// An IPFIX collector, over UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Where it listens.
    pub address: SocketAddr,
    /// The observation domain that it knows this gateway by.
    pub domain: u32,
}

/// A configuration that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// What it asks for.
    pub intent: Intent,
    /// What it probably does not mean, in the order of its lines.
    pub warnings: Vec<Problem>,
}

/// Reads a configuration.
///
/// `file_name` is only for messages: nothing is opened.
///
/// # Errors
///
/// Everything that is wrong, warnings among it, in the order of its lines. What is wrong with the
/// YAML itself comes alone, because the rest cannot be known.
pub fn parse(file_name: &str, text: &str) -> Result<Parsed, Problems> {
    if text.len() > CONFIG_BYTES_MAX {
        let complaint = words::complaint(
            format!(
                "the configuration has {} bytes; at most {CONFIG_BYTES_MAX} are read",
                text.len()
            ),
            "check that this is the file you mean; merge rules that differ only in their prefixes",
        );
        return Err(Report::single(
            file_name,
            text,
            yaml::Place::START,
            complaint,
        ));
    }
    let tree = match yaml::read(text) {
        Ok(tree) => tree,
        Err(error) => {
            return Err(Report::single(
                file_name,
                text,
                error.place,
                error.complaint,
            ));
        }
    };
    let mut report = Report::new(file_name, text, &tree);
    let config = shape::fill(&tree, &mut report);
    let intent = judge::judge(&config, &mut report);
    report.finish().map(|warnings| Parsed { intent, warnings })
}

/// Reads a configuration of which it is not yet known that it is text, as it comes out of a file.
///
/// # Errors
///
/// As [`parse`], and when the bytes are not UTF-8.
pub fn parse_bytes(file_name: &str, bytes: &[u8]) -> Result<Parsed, Problems> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(file_name, text),
        Err(error) => {
            let (good, _) = bytes.split_at(error.valid_up_to());
            let text = String::from_utf8_lossy(bytes);
            let place = yaml::Place::end_of(&String::from_utf8_lossy(good));
            let complaint = words::complaint(
                "the configuration is not text: here stands a byte that is not UTF-8",
                "save the file as UTF-8, and check that it is the file you mean",
            );
            Err(Report::single(file_name, &text, place, complaint))
        }
    }
}

#[cfg(test)]
mod tests;
