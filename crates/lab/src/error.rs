//! What can go wrong in the lab: what was attempted, on what, and why it failed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why the lab could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant is its documentation"
)]
pub enum Error {
    #[error("building network namespaces needs root; run the same command with sudo")]
    NotRoot,
    #[error("{name:?} cannot name a {what}: {rule}")]
    Name {
        what: &'static str,
        name: String,
        rule: &'static str,
    },
    #[error("{text:?} is not an IPv4 prefix, write it like 10.1.0.0/24")]
    Prefix { text: String },
    #[error("{prefix} has no room for host number {number}")]
    PrefixFull { prefix: String, number: u32 },
    #[error("the plan of site {site} is not sound: {why}")]
    Plan { site: String, why: String },

    #[error(
        "site {site} exists and is held by the running process {pid}; stop that, or use another name"
    )]
    Held { site: String, pid: u32 },
    #[error("site {site} is up; type `cargo xtask lab down {site}` first, or use another name")]
    Up { site: String },
    #[error("there is no site {site}; `cargo xtask lab list` shows those that are up")]
    NoSite { site: String },
    #[error("site {site} has no host {host}; it has {hosts}")]
    NoHost {
        site: String,
        host: String,
        hosts: String,
    },
    #[error(
        "network namespace {namespace} exists and is not of this site; remove it if it is not needed"
    )]
    Occupied { namespace: String },
    #[error(
        "the state file of site {site} names {thing}, which no lab can have made; nothing of it was touched"
    )]
    Foreign { site: String, thing: String },
    #[error("cannot understand the state file {path}")]
    State {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("the background process of site {site} did not start serving: {why}\n{log}")]
    Serving {
        site: String,
        why: String,
        log: String,
    },
    #[error("site {site} could not be removed entirely: {failures}")]
    Removal { site: String, failures: String },

    #[error("`{program}` is not installed; type `apt-get install {package}`")]
    ToolMissing {
        program: String,
        package: &'static str,
    },
    #[error("cannot run `{command}`")]
    ToolSpawn { command: String, source: io::Error },
    #[error("`{command}` failed ({status}): {stderr}")]
    Tool {
        command: String,
        status: ExitStatus,
        stderr: String,
    },
    #[error("{host} has no directory for a router's files: give it the role of one")]
    NoRouter { host: String },
    #[error("{program} on {host} does not answer\n{log}")]
    RouterSilent {
        program: String,
        host: String,
        log: String,
    },
    #[error("`{command}` printed something unexpected: {output}")]
    ToolOutput { command: String, output: String },

    #[error("cannot {attempt} {path}")]
    File {
        attempt: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cannot enter network namespace {namespace}")]
    Enter {
        namespace: String,
        source: io::Error,
    },
    #[error("cannot start a thread in network namespace {namespace}")]
    Thread {
        namespace: String,
        source: io::Error,
    },

    #[error("cannot {attempt} {address} on {host}")]
    Socket {
        attempt: &'static str,
        address: SocketAddr,
        host: String,
        source: io::Error,
    },
    #[error("cannot {attempt} on interface {interface} of {host}")]
    Interface {
        attempt: &'static str,
        interface: String,
        host: String,
        source: io::Error,
    },
    #[error("{host} has no interface {interface}")]
    NoInterface { host: String, interface: String },
    #[error("{host} has no address")]
    NoAddress { host: String },
    #[error("{host} cannot reach {target}: its next hop {next_hop} does not answer ARP")]
    NextHop {
        host: String,
        target: Ipv4Addr,
        next_hop: Ipv4Addr,
    },
    #[error("{host} got no answer from {target} within {waited_ms} ms")]
    NoAnswer {
        host: String,
        target: SocketAddr,
        waited_ms: u128,
    },
    #[error("the transfer with {peer} failed after {bytes} bytes")]
    Transfer {
        peer: SocketAddr,
        bytes: u64,
        source: io::Error,
    },
    #[error("{peer} answered a transfer with {answer:?}, which is not a report")]
    Report { peer: SocketAddr, answer: String },
    #[error("no frame can be built from that: {why}")]
    Frame { why: String },
    #[error("the {what} is wrong")]
    Checksum { what: &'static str },
}

impl Error {
    /// Wraps a failed file operation; `attempt` is a verb.
    pub(crate) fn file(
        attempt: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            attempt,
            path,
            source,
        }
    }
}
