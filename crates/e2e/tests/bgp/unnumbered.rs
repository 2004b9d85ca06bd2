//! A router of which only the interface is known, and that knows as much of the gateway: each hears of the other
//! by router advertisements (RFC 4861), and the session is between their link-local addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, ensure};
use api::http::{Bgp, path};
use e2e::harness::{Gateway, wait_for};
use lab::{Brand, Neighbour, Router, RouterPlan, Target, Topology};

use super::scene::{ASN, PATIENCE, ROUTER_ASN, root};

#[test]
fn a_router_behind_an_interface_finds_the_gateway_and_is_told_without_any_address() -> Result<()> {
    meet(false)
}

#[test]
fn a_router_behind_an_interface_that_calls_nobody_is_found_and_called() -> Result<()> {
    meet(true)
}

fn meet(is_passive: bool) -> Result<()> {
    let site = Topology::two_arm(&format!("bgp-found-{}", std::process::id()))
        .pods("10.1.0.0/24", ["a1"])
        .gateway("gw")
        .target(Target::open("api").http(80))
        .external(["192.0.2.8/30"])
        .ipv6()
        .routed()
        .build()?;
    let outside = site.host("outside")?;
    let towards = interface(&outside.ip("-o -4 addr show")?).context("a link to the gateway")?;
    let mut neighbour = Neighbour::new(Ipv6Addr::UNSPECIFIED, ASN);
    (neighbour.interface, neighbour.is_passive) = (Some(towards), is_passive);
    let plan = RouterPlan {
        asn: ROUTER_ASN,
        id: Ipv4Addr::new(10, 0, 0, 1),
        neighbours: vec![neighbour],
    };
    let router = Router::start(Brand::Frr, &root(Brand::Frr)?, outside, &plan)?;
    let policy = format!(
        "
pools:
  - {{name: web, addresses: [192.0.2.8/30, '2001:db8:9::8']}}
rules:
  - {{name: web, sources: [10.1.0.0/24, '2001:db8::10.1.0.0/120'], pool: web}}
bgp:
  as: {ASN}
  router_id: 10.0.0.11
  peers:
    - {{name: router, interface: out0, as: external, connect_retry: 1s}}
"
    );
    let gateway = Gateway::launch(site.host("gw")?, &policy)?;

    let found = wait_for(PATIENCE, "a session", || {
        let bgp: Bgp = gateway.http().get(path::BGP)?.json()?;
        let mut peers = bgp.peers.into_iter();
        Ok(peers.find(|it| it.state == "established"))
    })
    .with_context(|| router.log())?;
    println!("{found:?}");
    let routes = wait_for(PATIENCE, "routes of both versions", || {
        let shown = router.paths()?;
        let prefixes: Vec<String> = shown.iter().map(|it| it.prefix.clone()).collect();
        Ok((prefixes == ["192.0.2.8/30", "2001:db8:9::8/128"]).then_some(shown))
    })
    .with_context(|| router.log())?;
    println!("{routes:#?}");
    // The kernel of the router sends there.
    wait_for(PATIENCE, "the router's kernel has the route", || {
        let shown = outside.ip("route show 192.0.2.8/30")?;
        Ok(shown.contains("via").then_some(()))
    })?;
    // Inside nobody speaks BGP.
    let inside = site.host("inside")?;
    inside.ip("route replace default via 172.31.1.11")?;
    let answer = site.host("a1")?.curl("http://198.51.100.11/");
    println!("{answer:?}");
    ensure!(
        answer.is_ok_and(|it| it.starts_with("192.0.2.")),
        "no answer comes back"
    );

    drop(router);
    gateway.finish()
}

/// The interface that has the router's address towards gateways.
fn interface(shown: &str) -> Option<String> {
    let line = shown.lines().find(|line| line.contains("172.31.2."))?;
    line.split_whitespace().nth(1).map(str::to_owned)
}
