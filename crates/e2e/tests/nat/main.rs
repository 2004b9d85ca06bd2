//! What a gateway does with packets, with the kernel's own stacks at both ends, and at its very
//! edges with single frames.

mod behaviours;
mod edges;
mod endpoints;
mod errors;
mod forwards;
mod fragments;
mod neighbours;
mod one_arm;
mod outsiders;
mod prefixes;
mod quotas;
mod routes;
mod rules;
mod shapes;
mod stun;
mod untouched;
mod versions;

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::Result;
use api::http::{Endpoint, FlowsQuery};
use e2e::harness::Gateway;
use lab::{Role, Site, Target, Topology};

/// The addresses of the pool; guarded targets let in only these.
const EXTERNAL: [&str; 2] = ["192.0.2.10", "192.0.2.11"];

/// The pods leave from the pool towards the targets, and towards nobody else.
const POLICY: &str = "
pools:
  - {name: team-a, addresses: [192.0.2.10, 192.0.2.11]}
rules:
  - {name: out, sources: [10.1.0.0/24], destinations: [198.51.100.0/24], pool: team-a}
";

/// The pods of every site.
const A1: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 11);
const A2: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 12);

/// The targets of every site.
const DB: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);
const API: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 12);

/// Addresses that nobody has: what arrives for them can be looked at, and nobody answers it.
const NOBODY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 99);
const NOBODY_INSIDE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 99);

/// How long something may take that takes moments.
const SOON: Duration = Duration::from_secs(5);

/// A name that no other test, and no other run of this one, uses.
fn name(test: &str) -> String {
    format!("nat-{test}-{}", std::process::id())
}

/// Fills a shape with two pods, a gateway, a guarded target and an open one.
fn site(topology: Topology) -> Result<Site> {
    let site = topology
        .pods("10.1.0.0/24", ["a1", "a2"])
        .gateway("gw")
        .target(Target::guarded("db").http(80).datagrams(53).stream(9000))
        .target(Target::open("api").http(80).datagrams(53).stream(9000))
        .external(EXTERNAL)
        .build()?;
    // Single frames come from and go to beyond the site; its routers say nothing about them.
    for router in site.hosts_of(Role::Router) {
        router.ip("route add blackhole 203.0.113.0/24")?;
    }
    Ok(site)
}

/// A site with two arms, and a gateway in it with the policy of this suite.
fn two_arm(test: &str) -> Result<(Site, Gateway)> {
    let site = site(Topology::two_arm(&name(test)))?;
    let gateway = Gateway::launch(site.host("gw")?, POLICY)?;
    Ok((site, gateway))
}

fn is_external(address: impl Into<IpAddr>) -> bool {
    let address = address.into();
    EXTERNAL.contains(&address.to_string().as_str())
}

/// A query for the flows of a client.
fn of_client(client: Ipv4Addr) -> FlowsQuery {
    FlowsQuery {
        client: Some(client.to_string()),
        ..FlowsQuery::default()
    }
}

/// How many packets took one way out of the packet path.
fn count(gateway: &Gateway, reason: &str) -> Result<u64> {
    Ok(gateway.counter(reason)?.packets)
}

/// An endpoint of a flow of IPv4.
fn ip4(endpoint: Endpoint) -> SocketAddrV4 {
    match endpoint.address {
        IpAddr::V4(address) => at(address, endpoint.port),
        IpAddr::V6(address) => panic!("{address} is IPv6"),
    }
}

/// An address with a port.
fn at(address: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(address, port)
}
