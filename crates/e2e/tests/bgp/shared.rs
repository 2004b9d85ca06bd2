//! Two gateways behind routers that spread over both: each carries traffic, and one leaves while it flows.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result, ensure};
use api::http::{Drain, path};
use e2e::harness::{Gateway, wait_for};
use lab::{Brand, Neighbour, Router, RouterPlan, Site, Target, Topology};

use super::scene::{PATIENCE, root};

const GATEWAYS: [&str; 2] = ["gw1", "gw2"];

/// A gateway's policy: an external address of its own, so that answers come back to it.
fn policy(number: usize) -> String {
    let asn = 65_011 + number;
    format!(
        "
pools:
  - {{name: own, addresses: [192.0.2.{}]}}
rules:
  - {{name: own, sources: [10.1.0.0/24], pool: own}}
bfd: {{profiles: [{{name: fast, transmit: 100ms, receive: 100ms}}]}}
bgp:
  as: {asn}
  drain: 20s
  peers:
    - {{name: outside, address: 172.31.2.1, as: 65000, connect_retry: 1s, bfd: fast}}
    - {{name: inside, address: 172.31.1.1, as: 65001, connect_retry: 1s, bfd: fast, announce: [{{networks: [0.0.0.0/0]}}]}}
",
        10 + number
    )
}

fn router(site: &Site, host: &str, asn: u32, third: u8) -> Result<Router> {
    let neighbours = (0..GATEWAYS.len()).map(|number| {
        let last = u8::try_from(11 + number).unwrap_or_default();
        let asn = 65_011 + u32::try_from(number).unwrap_or_default();
        let mut neighbour = Neighbour::new(Ipv4Addr::new(172, 31, third, last), asn);
        neighbour.bfd = Some(Duration::from_millis(100));
        neighbour
    });
    let plan = RouterPlan {
        asn,
        id: Ipv4Addr::new(10, 0, 0, third),
        neighbours: neighbours.collect(),
    };
    let router = Router::start(Brand::Frr, &root(Brand::Frr)?, site.host(host)?, &plan)?;
    Ok(router)
}

/// How many ways a router's kernel has to somewhere.
fn ways(site: &Site, host: &str, prefix: &str) -> Result<usize> {
    let shown = site.host(host)?.ip(&format!("route show {prefix}"))?;
    Ok(shown.matches("via ").count())
}

/// Fetches something many times; returns how often from each address, and how often it failed.
fn fetch(site: &Site, times: usize) -> Result<(BTreeMap<String, usize>, usize)> {
    let (mut seen, mut failed) = (BTreeMap::new(), 0);
    for _ in 0..times {
        match site.host("a1")?.curl("http://198.51.100.11/") {
            Ok(answer) => {
                let address = answer.split(':').next().unwrap_or_default().to_owned();
                *seen.entry(address).or_insert(0) += 1;
            }
            Err(_) => failed += 1,
        }
    }
    Ok((seen, failed))
}

#[test]
fn two_gateways_carry_traffic_and_one_leaves_while_it_flows() -> Result<()> {
    let site = Topology::two_arm(&format!("bgp-two-{}", std::process::id()))
        .pods("10.1.0.0/24", ["a1"])
        .gateway("gw1")
        .gateway("gw2")
        .target(Target::open("api").http(80))
        .external(["192.0.2.10", "192.0.2.11"])
        .routed()
        .build()?;
    let inside = router(&site, "inside", 65_001, 1)?;
    let outside = router(&site, "outside", 65_000, 2)?;
    let start = |number: usize, name: &str| Gateway::launch(site.host(name)?, &policy(number));
    let first = start(0, "gw1")?;
    let second = start(1, "gw2")?;
    wait_for(PATIENCE, "two ways out", || {
        let ready = ways(&site, "inside", "default")? == 2
            && ways(&site, "outside", "192.0.2.10")? == 1
            && ways(&site, "outside", "192.0.2.11")? == 1;
        Ok(ready.then_some(()))
    })
    .with_context(|| format!("{}\n{}", inside.log(), outside.log()))?;

    let (seen, failed) = fetch(&site, 40)?;
    println!("both: {seen:?}, {failed} failed");
    ensure!(seen.len() == 2 && failed == 0, "{seen:?}, {failed} failed");

    let drain: Drain = first.http().post(path::DRAIN, b"")?.json()?;
    ensure!(drain.phase == "ebbing", "{drain:?}");
    let mut lost = 0;
    let drained = wait_for(PATIENCE, "the drain", || {
        lost += fetch(&site, 10)?.1;
        let drain: Drain = first.http().get(path::DRAIN)?.json()?;
        Ok((drain.phase == "drained").then_some(drain))
    })?;
    println!("drained: {drained:?}; {lost} new connections failed meanwhile");
    ensure!(drained.ended.as_deref() == Some("ebbed"), "{drained:?}");
    // One that is open when the route changes goes on through a gateway that does not know it.
    ensure!(lost <= 1, "{lost} connections failed");
    let (seen, failed) = fetch(&site, 20)?;
    ensure!(seen.len() == 1 && failed == 0, "{seen:?}, {failed} failed");
    ensure!(ways(&site, "inside", "default")? == 1);
    // It may be stopped now, and nobody notices.
    first.finish()?;
    let (seen, failed) = fetch(&site, 20)?;
    ensure!(
        seen.contains_key("192.0.2.11") && failed == 0,
        "{seen:?}, {failed} failed"
    );

    drop((inside, outside));
    second.finish()
}
