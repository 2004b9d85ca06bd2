//! What outlives the daemon: flows, counters and packets, through every way in which a daemon can
//! end, start, be refused, or be told something else.

mod acceptance;
mod ends;
mod policies;
mod pools;
mod states;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Result, ensure};
use api::http::FlowsQuery;
use e2e::harness::{Gateway, wait_for};
use lab::{Direction, Host, Site, Target, Topology, Transfer};

/// All external addresses that any policy here uses; the target lets in only these.
const EXTERNAL: [&str; 4] = ["192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.13"];

/// The policy that most tests begin with.
const POLICY: &str = "
pools:
  - {name: team-a, addresses: [192.0.2.10, 192.0.2.11]}
rules:
  - {name: out, sources: [10.1.0.0/24, 10.2.0.0/16], destinations: [198.51.100.0/24], pool: team-a}
";

/// The first pod.
const A1: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 11);

/// The target.
const DB: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);

/// Where the target serves streams.
const STREAM: SocketAddrV4 = SocketAddrV4::new(DB, 9000);

/// Bytes a second of a transfer: enough to notice a gap, and little enough not to make one.
const RATE: u64 = 4 << 20;

/// How long something may take that takes moments.
const SOON: Duration = Duration::from_secs(5);

/// Some sweeps, each of which may find something idle that the one before it did not.
const SWEPT: Duration = Duration::from_secs(20);

fn site(test: &str) -> Result<Site> {
    let site = Topology::two_arm(&format!("restart-{test}-{}", std::process::id()))
        .pods("10.1.0.0/24", ["a1", "a2"])
        .clients("a2", "10.2.0.0/16")
        .gateway("gw")
        .target(Target::guarded("db").http(80).stream(9000))
        .external(EXTERNAL)
        .build()?;
    Ok(site)
}

fn launched(test: &str, policy: &str) -> Result<(Site, Gateway)> {
    let site = site(test)?;
    let gateway = Gateway::launch(site.host("gw")?, policy)?;
    Ok((site, gateway))
}

/// Starts a transfer from a pod to the target and waits until it moves.
fn started(pod: &Host, direction: Direction) -> Result<Transfer> {
    let transfer = Transfer::start(pod, STREAM, direction, Some(RATE))?;
    moves_on(&transfer)?;
    Ok(transfer)
}

/// Waits until another half MiB has arrived.
fn moves_on(transfer: &Transfer) -> Result<()> {
    let before = transfer.bytes();
    wait_for(SOON, "the transfer goes on", || {
        ensure!(!transfer.has_failed(), "the transfer broke");
        Ok((transfer.bytes() > before + (1 << 19)).then_some(()))
    })
}

/// The address that the target sees a pod by.
fn seen(pod: &Host) -> Result<IpAddr> {
    let seen: SocketAddr = pod.curl(&format!("http://{DB}/"))?.trim().parse()?;
    Ok(seen.ip())
}

/// The flow of a transfer.
fn of(transfer: &Transfer) -> FlowsQuery {
    FlowsQuery {
        client: Some(transfer.local().to_string()),
        ..FlowsQuery::default()
    }
}
