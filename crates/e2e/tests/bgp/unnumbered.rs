//! A router of which only the interface is known, and that knows as much of the gateway: each hears of the other
//! by router advertisements (RFC 4861), and the session is between their link-local addresses.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use api::http::{Bfd, Bgp, BgpPeer, path};
use e2e::harness::{Gateway, wait_for};
use lab::{Brand, Neighbour, Router, RouterPlan, Signal, Site, Target, Topology};

use super::scene::{ASN, PATIENCE, ROUTER_ASN, root};

#[test]
fn a_router_behind_an_interface_finds_the_gateway_and_is_told_without_any_address() -> Result<()> {
    meet(false)
}

#[test]
fn a_router_behind_an_interface_that_calls_nobody_is_found_and_called() -> Result<()> {
    meet(true)
}

#[test]
fn a_router_behind_an_interface_is_watched_and_missed_within_the_detection_time() -> Result<()> {
    let mut neighbour = Neighbour::new(Ipv6Addr::UNSPECIFIED, ASN);
    (neighbour.bfd, neighbour.hold_time) = (Some(INTERVAL), Duration::from_secs(90));
    let (site, mut router, mut gateway) = start("watched", neighbour, ", bfd: fast")?;
    let shown = site.host("gw")?.ip("-o -6 addr show dev out0 scope link")?;
    let own = link_local(&shown).context("the gateway has no address on its link")?;
    watched(&gateway, &router, own)?;
    let sessions: Bfd = gateway.http().get(path::BFD)?.json()?;
    println!("{sessions:?}");

    router.signal(Signal::SIGSTOP)?;
    let begin = Instant::now();
    let peer = wait_for(PATIENCE, "BGP goes on", || {
        let peer = peer(&gateway)?;
        Ok((peer.state != "established").then_some(peer))
    })?;
    let waited = begin.elapsed();
    println!("BGP ended {waited:?} after the router fell silent");
    ensure!(waited <= DETECTION + SLACK, "{waited:?}");
    let why = peer.last_down.unwrap_or_default();
    ensure!(why == "BFD says that the way is gone", "{why}");
    router.signal(Signal::SIGCONT)?;
    watched(&gateway, &router, own)?;

    // Without the peer nothing is watched.
    gateway.write_policy(&policy(""))?;
    gateway.reload()?;
    wait_for(PATIENCE, "the BFD session to go", || {
        let bfd: Bfd = gateway.http().get(path::BFD)?.json()?;
        Ok(bfd.sessions.is_empty().then_some(()))
    })?;
    drop(router);
    gateway.finish()
}

const INTERVAL: Duration = Duration::from_millis(100);
/// Three times the interval.
const DETECTION: Duration = Duration::from_millis(300);
/// What a machine may add that shares its cores with everything else; BGP alone would take 90 s.
const SLACK: Duration = Duration::from_secs(2);

/// Waits until BGP and BFD are up, BFD on both sides.
fn watched(gateway: &Gateway, router: &Router, own: Ipv6Addr) -> Result<()> {
    let waited = wait_for(PATIENCE, "a session that is watched", || {
        let bfd: Bfd = gateway.http().get(path::BFD)?.json()?;
        let is_up = bfd.sessions.iter().any(|it| it.state == "up");
        let is_up = is_up && peer(gateway)?.state == "established";
        Ok((is_up && router.is_bfd_up(own.into())?).then_some(()))
    });
    waited.with_context(|| {
        let bfd = gateway
            .http()
            .get(path::BFD)
            .and_then(|it| it.json::<Bfd>());
        format!("{bfd:#?}\n{:#?}\n{}", peer(gateway), router.log())
    })
}

fn peer(gateway: &Gateway) -> Result<BgpPeer> {
    let bgp: Bgp = gateway.http().get(path::BGP)?.json()?;
    bgp.peers.into_iter().next().context("there is no peer")
}

fn link_local(shown: &str) -> Option<Ipv6Addr> {
    let mut words = shown.split_whitespace();
    words.find_map(|word| word.strip_suffix("/64")?.parse().ok())
}

/// A policy with one peer behind an interface: `more` are its other fields.
fn policy(more: &str) -> String {
    format!(
        "
pools:
  - {{name: web, addresses: [192.0.2.8/30, '2001:db8:9::8']}}
rules:
  - {{name: web, sources: [10.1.0.0/24, '2001:db8::10.1.0.0/120'], pool: web}}
bfd: {{profiles: [{{name: fast, transmit: 100ms, receive: 100ms, multiplier: 3}}]}}
bgp:
  as: {ASN}
  router_id: 10.0.0.11
  peers:
    - {{name: router, interface: out0, as: external, connect_retry: 1s{more}}}
"
    )
}

/// Starts a router and a gateway that know nothing of each other but the interface.
fn start(what: &str, mut neighbour: Neighbour, more: &str) -> Result<(Site, Router, Gateway)> {
    let site = Topology::two_arm(&format!("bgp-{what}-{}", std::process::id()))
        .pods("10.1.0.0/24", ["a1"])
        .gateway("gw")
        .target(Target::open("api").http(80))
        .external(["192.0.2.8/30"])
        .ipv6()
        .routed()
        .build()?;
    let outside = site.host("outside")?;
    let towards = interface(&outside.ip("-o -4 addr show")?).context("a link to the gateway")?;
    neighbour.interface = Some(towards);
    let plan = RouterPlan {
        asn: ROUTER_ASN,
        id: Ipv4Addr::new(10, 0, 0, 1),
        neighbours: vec![neighbour],
    };
    let router = Router::start(Brand::Frr, &root(Brand::Frr)?, outside, &plan)?;
    let gateway = Gateway::launch(site.host("gw")?, &policy(more))?;
    Ok((site, router, gateway))
}

fn meet(is_passive: bool) -> Result<()> {
    let mut neighbour = Neighbour::new(Ipv6Addr::UNSPECIFIED, ASN);
    neighbour.is_passive = is_passive;
    let (site, router, gateway) = start("found", neighbour, "")?;
    let outside = site.host("outside")?;

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
