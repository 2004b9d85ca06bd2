//! Two gateways behind routers that spread over both: the site, what each is told, and how traffic goes.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use lab::{Brand, Neighbour, Router, RouterPlan, Site, Target, Topology};

use super::{Gateway, wait_for};

/// Two gateways and the routers at both their sides.
pub struct Pair {
    /// At the pods' side.
    pub inside: Router,
    /// At the other.
    pub outside: Router,
}

/// Where FRR was unpacked, if somebody said so.
pub fn frr() -> Option<PathBuf> {
    std::env::var_os(Brand::Frr.variable()).map(PathBuf::from)
}

/// Builds the site.
///
/// # Errors
///
/// If it cannot be built.
pub fn build(name: &str) -> Result<Site> {
    let site = Topology::two_arm(name)
        .pods("10.1.0.0/24", ["a1"])
        .gateway("gw1")
        .gateway("gw2")
        .target(Target::open("api").http(80))
        .external(["192.0.2.10", "192.0.2.11"])
        .routed()
        .build()?;
    Ok(site)
}

impl Pair {
    /// Starts both routers.
    ///
    /// # Errors
    ///
    /// If one does not start.
    pub fn start(root: &Path, site: &Site) -> Result<Self> {
        Ok(Self {
            inside: router(root, site, "inside", 65_001, 1)?,
            outside: router(root, site, "outside", 65_000, 2)?,
        })
    }

    /// Waits until the routers have two ways out, and one back to each gateway.
    ///
    /// # Errors
    ///
    /// If that takes too long; with what the routers wrote.
    pub fn converge(&self, site: &Site, limit: Duration) -> Result<()> {
        wait_for(limit, "two ways out", || {
            let ready = ways(site, "inside", "default")? == 2
                && ways(site, "outside", "192.0.2.10")? == 1
                && ways(site, "outside", "192.0.2.11")? == 1;
            Ok(ready.then_some(()))
        })
        .with_context(|| format!("{}\n{}", self.inside.log(), self.outside.log()))
    }
}

/// Starts the daemon of `gw1` or `gw2`, the number 0 or 1.
///
/// # Errors
///
/// If it does not serve.
pub fn launch(site: &Site, number: usize) -> Result<Gateway> {
    Gateway::launch(site.host(&format!("gw{}", number + 1))?, &policy(number))
}

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

fn router(root: &Path, site: &Site, host: &str, asn: u32, third: u8) -> Result<Router> {
    let neighbours = [(11, 65_011), (12, 65_012)].map(|(last, asn)| {
        let mut neighbour = Neighbour::new(Ipv4Addr::new(172, 31, third, last), asn);
        neighbour.bfd = Some(Duration::from_millis(100));
        neighbour
    });
    let plan = RouterPlan {
        asn,
        id: Ipv4Addr::new(10, 0, 0, third),
        neighbours: neighbours.into(),
    };
    Ok(Router::start(Brand::Frr, root, site.host(host)?, &plan)?)
}

/// How many ways a router's kernel has to somewhere.
///
/// # Errors
///
/// If it cannot be asked.
pub fn ways(site: &Site, host: &str, prefix: &str) -> Result<usize> {
    let shown = site.host(host)?.ip(&format!("route show {prefix}"))?;
    Ok(shown.matches("via ").count())
}

/// Fetches something many times; returns how often from each address, and how often it failed.
///
/// # Errors
///
/// If the site has no such host.
pub fn fetch(site: &Site, times: usize) -> Result<(BTreeMap<String, usize>, usize)> {
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
