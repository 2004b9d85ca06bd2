//! The site that a run is about: addresses, and the configuration that all gateways have.

use std::net::{IpAddr, Ipv4Addr};

use abi::{Ip4, NextHop};
use datapath::world::{Route, RouteQuery};
use gateway::{
    Link,
    intent::{self, Intent},
};

use crate::{
    frame::{own_mac, peer_mac},
    plan::Plan,
};

/// The interface that faces the clients, and by which members reach each other.
pub const INSIDE: u32 = 1;
/// The interface that faces the servers.
pub const OUTSIDE: u32 = 2;

/// The address of a gateway in the network between the members.
pub fn member(index: usize) -> IpAddr {
    Ipv4Addr::new(172, 31, 1, 11 + index as u8).into()
}

/// Which gateway has that address.
pub fn index_of(address: Ip4) -> Option<usize> {
    match address.0 {
        [172, 31, 1, last] => usize::from(last).checked_sub(11),
        _ => None,
    }
}

/// A client. Of every four, one is of those who share TCP ports with others.
pub fn client(number: usize) -> Ip4 {
    let network = if number % 4 == 3 { 2 } else { 1 };
    Ip4([10, network, 0, 1 + number as u8])
}

/// A server.
pub fn server(number: usize) -> Ip4 {
    Ip4([198, 51, 100, 1 + number as u8])
}

/// Whether an address is a client's.
pub fn is_inside(address: Ip4) -> bool {
    matches!(address.0, [10, ..])
}

/// Whether an address is one of those that the gateways share.
pub fn is_external(address: Ip4) -> bool {
    matches!(address.0, [192, 0, 2, 2 | 3])
}

/// Whether TCP flows from this external address may share ports, as long as their remotes differ.
pub fn is_shared(address: Ip4) -> bool {
    address.0 == [192, 0, 2, 3]
}

/// What a gateway is to do. `version` counts configurations that were put in force one after the other, and
/// that differ in what touches no flow.
///
/// # Panics
///
/// If what is written here is no configuration.
pub fn intent(plan: &Plan, me: usize, version: usize) -> Intent {
    let members: String = (0..plan.members)
        .map(|index| format!("\n    - {{name: gw{index}, address: {}}}", member(index)))
        .collect();
    let more: String = (0..version % 3)
        .map(|number| {
            format!("\n  - {{name: more-{number}, sources: [10.9.{number}.0/24], pool: usual}}")
        })
        .collect();
    let files = "{ca_file: /ca.pem, certificate_file: /gw.pem, key_file: /gw.key}";
    let replication = match plan.copies_flows {
        true => format!("\n  replication: {files}"),
        false => String::new(),
    };
    let (last, hold) = (plan.last_port, plan.hold_seconds);
    let (overload, dependence) = match plan.is_overloaded {
        true => ("on", "address-and-port-dependent"),
        false => ("off", "endpoint-independent"),
    };
    let text = format!(
        "interfaces:
  - {{name: eth1, realm: internal}}
  - {{name: eth2, realm: external}}
pools:
  - {{name: usual, addresses: [192.0.2.2], ports: 1024-{last}, hold_down: {hold}s}}
  - {{name: shared, addresses: [192.0.2.3], ports: 1024-{last}, hold_down: {hold}s,
     overload: {overload}, mapping: {{tcp: {dependence}}}}}
rules:
  - {{name: all, sources: [10.1.0.0/16], pool: usual}}
  - {{name: shared, sources: [10.2.0.0/16], pool: shared}}{more}
timeouts:
  tcp_established: 30s
  tcp_opening: 12s
  tcp_closing: 6s
  udp: 15s
  icmp: 12s
cluster:
  name: west
  self: gw{me}
  secret_file: /secret{replication}
  members:{members}
"
    );
    match intent::parse("gateway.yaml", &text) {
        Ok(parsed) => parsed.intent,
        Err(problems) => panic!("the configuration of a run is refused:\n{problems}"),
    }
}

/// The interfaces of a gateway.
pub fn links() -> Vec<Link> {
    let link = |ifindex: u32| Link {
        ifindex,
        name: format!("eth{ifindex}"),
        mac: Some(own_mac(ifindex)),
        addresses: vec![[10, 255, 255, ifindex as u8].into()],
        addresses6: Vec::new(),
    };
    [INSIDE, OUTSIDE].map(link).to_vec()
}

/// Where a gateway's routing table sends a packet.
pub fn route(query: &RouteQuery) -> Result<NextHop, Route> {
    let hop = |ifindex| NextHop::new(ifindex, 1500, peer_mac(ifindex), own_mac(ifindex));
    match query.tuple.target.0 {
        [10, 255, ..] => Err(Route::Local),
        [10, ..] | [172, 31, ..] => Ok(hop(INSIDE)),
        _ => Ok(hop(OUTSIDE)),
    }
}
