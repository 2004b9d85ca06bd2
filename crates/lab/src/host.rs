//! One host of a site that is up: run programs in it, enter it, ask what it sees.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::str::FromStr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::acl::{self, Acl, Admissions};
use crate::mirror::mirror;
use crate::namespace::Namespace;
use crate::plan::{HostPlan, Plan, Role};
use crate::service::datagrams;
use crate::tool::{self, Place};
use crate::{Error, Process};

/// How long one try of a client lasts before it counts as unanswered.
const PATIENCE: Duration = Duration::from_secs(2);

/// A host of a site. Cheap to clone; all clones are the same host.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    name: String,
    role: Role,
    namespace: Namespace,
    address: Option<Ipv4Addr>,
    has_ipv6: bool,
    interfaces: Vec<(String, [u8; 6])>,
    directory: Option<PathBuf>,
}

/// What an interface has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the kernel's own")]
pub struct InterfaceCounters {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_dropped: u64,
}

/// What a datagram service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<S = SocketAddrV4> {
    /// The sender as the service saw it.
    pub seen: S,
    /// The payload, as it arrived there and came back.
    pub payload: Vec<u8>,
}

impl Host {
    /// Opens a host whose namespace exists already.
    pub(crate) fn open(
        plan: &Plan,
        host: &HostPlan,
        namespace: &str,
        directory: Option<PathBuf>,
    ) -> Result<Self, Error> {
        let interfaces = plan.interfaces(&host.name);
        let with_mac = interfaces.filter_map(|it| Some((it.to_owned(), plan.mac(&host.name, it)?)));
        Ok(Self(Arc::new(Inner {
            name: host.name.clone(),
            role: host.role,
            namespace: Namespace::open(namespace)?,
            address: host.addresses.first().map(|(_, prefix)| prefix.address()),
            has_ipv6: plan.ipv6,
            interfaces: with_mac.collect(),
            directory,
        })))
    }

    /// Returns the host's name within the site.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns what the host is for.
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// Returns the name that `ip netns` knows the host by.
    pub fn namespace(&self) -> &str {
        self.0.namespace.name()
    }

    /// Returns the host's own address, the first the plan gave it.
    pub fn address(&self) -> Result<Ipv4Addr, Error> {
        self.0.address.ok_or_else(|| Error::NoAddress {
            host: self.name().to_owned(),
        })
    }

    /// Returns the [mirror](crate::mirror) of that address, which the host has if its site has IPv6.
    pub fn address6(&self) -> Result<Ipv6Addr, Error> {
        if self.0.has_ipv6 {
            return self.address().map(mirror);
        }
        Err(Error::NoAddress {
            host: self.name().to_owned(),
        })
    }

    /// Returns the names of the host's links, in the plan's order.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.0.interfaces.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the MAC address of one of the host's links.
    pub fn mac(&self, interface: &str) -> Result<[u8; 6], Error> {
        let found = self.0.interfaces.iter().find(|(name, _)| name == interface);
        found
            .map(|(_, mac)| *mac)
            .ok_or_else(|| self.no_interface(interface))
    }

    /// Returns a gateway's or router's own directory, for its configuration and sockets; gone with the
    /// site.
    pub fn directory(&self) -> Option<&Path> {
        self.0.directory.as_deref()
    }

    /// Returns where a gateway's own bpffs is mounted.
    pub fn bpffs(&self) -> Option<PathBuf> {
        let directory = self.directory().filter(|_| self.role() == Role::Gateway);
        directory.map(|directory| directory.join(BPFFS))
    }

    /// Runs `work` inside the host, on a thread of its own, and returns what it returned.
    ///
    /// Sockets made in there stay in there: they may be returned and used from any thread.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        self.0.namespace.enter(work)
    }

    /// Starts a thread inside the host and does not wait for it.
    pub fn thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, Error> {
        self.0.namespace.thread(work)
    }

    /// Starts a program inside the host. It is killed when the returned value is dropped, and
    /// also when this process is killed.
    pub fn spawn(&self, command: Command) -> Result<Process, Error> {
        Process::spawn(&self.0.namespace, command)
    }

    /// Runs a program inside the host to its end, successful or not, and returns what it printed.
    pub fn run(&self, command: Command) -> Result<Output, Error> {
        tool::finish(self.place(), command, "")
    }

    /// Runs a program inside the host that has to succeed; returns its output.
    pub fn succeed<'a>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = &'a str>,
    ) -> Result<String, Error> {
        let args: Vec<&str> = args.into_iter().collect();
        tool::run(self.place(), program, &args, "")
    }

    /// Runs one `ip` command, written as one line: `route add default via 10.0.0.1`.
    pub fn ip(&self, line: &str) -> Result<String, Error> {
        self.succeed("ip", line.split_whitespace())
    }

    /// Loads an nftables ruleset, written as for `nft -f`.
    pub fn nft(&self, ruleset: &str) -> Result<(), Error> {
        tool::run(self.place(), "nft", &["-f", "-"], ruleset).map(drop)
    }

    /// Sets a sysctl below `net`, by path: `ipv4/ip_forward`.
    pub fn sysctl(&self, path: &str, value: &str) -> Result<(), Error> {
        let path = Path::new("/proc/sys/net").join(path);
        self.enter(|| std::fs::write(&path, value))?
            .map_err(Error::file("set", &path))
    }

    /// Lets in only whom the list names, in place of an earlier list.
    pub fn enforce(&self, acl: &Acl) -> Result<(), Error> {
        acl::enforce(&self.0.namespace, acl)
    }

    /// Returns how many packets the host's list has let in and refused.
    pub fn admissions(&self) -> Result<Admissions, Error> {
        acl::admissions(&self.0.namespace)
    }

    /// Returns what an interface has counted.
    pub fn counters(&self, interface: &str) -> Result<InterfaceCounters, Error> {
        let path = "/proc/thread-self/net/dev";
        let table = self
            .enter(|| std::fs::read_to_string(path))?
            .map_err(Error::file("read", path))?;
        parse_counters(&table, interface).ok_or_else(|| self.no_interface(interface))
    }

    /// Says whether one ping is answered.
    pub fn ping(&self, target: impl Into<IpAddr>) -> Result<bool, Error> {
        let target: IpAddr = target.into();
        let mut command = Command::new("ping");
        let wait = PATIENCE.as_secs().to_string();
        command.args(["-n", "-q", "-c", "1", "-W", &wait, &target.to_string()]);
        Ok(self.run(command)?.status.success())
    }

    /// Fetches a URL and returns the body; an HTTP error is an error.
    pub fn curl(&self, url: &str) -> Result<String, Error> {
        let limit = PATIENCE.as_secs().to_string();
        self.succeed(
            "curl",
            [
                "--silent",
                "--show-error",
                "--fail",
                "--max-time",
                &limit,
                url,
            ],
        )
    }

    /// Sends one datagram to a datagram service and returns its answer.
    pub fn ask(&self, target: SocketAddrV4, payload: &[u8]) -> Result<Answer, Error> {
        self.ask_at(target.into(), payload)
    }

    /// The same over IPv6; what the service saw may be IPv4 all the same.
    pub fn ask6(&self, target: SocketAddrV6, payload: &[u8]) -> Result<Answer<SocketAddr>, Error> {
        self.ask_at(target.into(), payload)
    }

    fn ask_at<S: FromStr>(&self, target: SocketAddr, payload: &[u8]) -> Result<Answer<S>, Error> {
        let failed = |attempt| move |source| self.socket_error(attempt, target, source);
        let any: IpAddr = match target {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = self.enter(|| UdpSocket::bind((any, 0)))?;
        let socket = socket.map_err(failed("open a socket towards"))?;
        socket.connect(target).map_err(failed("reach"))?;
        socket
            .set_read_timeout(Some(PATIENCE))
            .map_err(failed("wait for"))?;
        socket.send(payload).map_err(failed("send to"))?;
        let mut buffer = vec![0; datagrams::ANSWER_MAX];
        let answer = match socket.recv(&mut buffer) {
            Ok(length) => datagrams::parse(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                None
            }
            Err(error) => return Err(failed("hear from")(error)),
        };
        answer.ok_or_else(|| self.no_answer(target))
    }

    pub(crate) fn place(&self) -> Place<'_> {
        Place::In(&self.0.namespace)
    }

    pub(crate) fn no_interface(&self, interface: &str) -> Error {
        Error::NoInterface {
            host: self.name().to_owned(),
            interface: interface.to_owned(),
        }
    }

    pub(crate) fn socket_error(
        &self,
        attempt: &'static str,
        address: impl Into<SocketAddr>,
        source: io::Error,
    ) -> Error {
        Error::Socket {
            attempt,
            address: address.into(),
            host: self.name().to_owned(),
            source,
        }
    }

    fn no_answer(&self, target: SocketAddr) -> Error {
        let waited_ms = PATIENCE.as_millis();
        Error::NoAnswer {
            host: self.name().to_owned(),
            target,
            waited_ms,
        }
    }
}

/// The name of a gateway's bpffs in its directory.
pub(crate) const BPFFS: &str = "bpf";

/// Reads one row of `/proc/net/dev`, whose columns are fixed: eight received, eight transmitted.
fn parse_counters(table: &str, interface: &str) -> Option<InterfaceCounters> {
    let mut rows = table.lines().filter_map(|line| line.split_once(':'));
    let (_, row) = rows.find(|(name, _)| name.trim() == interface)?;
    let columns: Vec<u64> = row
        .split_whitespace()
        .filter_map(|it| it.parse().ok())
        .collect();
    let [
        rx_bytes,
        rx_packets,
        _,
        rx_dropped,
        _,
        _,
        _,
        _,
        tx_bytes,
        tx_packets,
        _,
        tx_dropped,
        ..,
    ] = columns.as_slice()
    else {
        return None;
    };
    Some(InterfaceCounters {
        rx_bytes: *rx_bytes,
        rx_packets: *rx_packets,
        rx_dropped: *rx_dropped,
        tx_bytes: *tx_bytes,
        tx_packets: *tx_packets,
        tx_dropped: *tx_dropped,
    })
}
