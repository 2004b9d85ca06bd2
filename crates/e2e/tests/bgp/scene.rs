//! A gateway and a router that speak BGP.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use api::http::{Bgp, BgpPeer, Drain, path};
use e2e::harness::{Gateway, wait_for};
use lab::{Brand, Neighbour, RoutePath, Router, RouterPlan, Site, Target, Topology};

/// The gateway's, which does not fit into two bytes.
pub const ASN: u32 = 4_200_000_010;
pub const ROUTER_ASN: u32 = 65_000;
pub const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 31, 2, 1));
pub const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 31, 2, 11));

/// How long something may take that has no time of its own: GoBGP calls every five seconds.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Scene {
    pub site: Site,
    pub gateway: Gateway,
    pub router: Router,
}

/// The pools and rules of every scene.
const POLICY: &str = "
pools:
  - {name: web, addresses: [192.0.2.8/30, '2001:db8:9::8']}
  - {name: mail, addresses: [192.0.2.25]}
rules:
  - {name: web, sources: [10.1.0.0/24, '2001:db8::10.1.0.0/120'], pool: web}
  - {name: mail, sources: [10.2.0.0/24], pool: mail}
";

/// A policy with one peer: `more` are its other fields, `section` those of `bgp`.
pub fn policy(more: &str, section: &str) -> String {
    format!(
        "{POLICY}
bgp:
  as: {ASN}
  router_id: 10.0.0.11
  {section}
  peers:
    - {{name: router, address: {ROUTER}, as: {ROUTER_ASN}, connect_retry: 1s, hold_time: 9s{more}}}
"
    )
}

/// What the router is told of the gateway.
pub fn neighbour() -> Neighbour {
    Neighbour::new(GATEWAY, ASN)
}

impl Scene {
    /// Starts both; the router first, unless nobody calls it.
    pub fn start(brand: Brand, neighbour: Neighbour, policy: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let site = Topology::two_arm(&format!("bgp-{number}-{}", std::process::id()))
            .pods("10.1.0.0/24", ["a1"])
            .gateway("gw")
            .target(Target::open("api"))
            .external(["192.0.2.8/30"])
            .ipv6()
            .routed()
            .build()?;
        let plan = RouterPlan {
            asn: ROUTER_ASN,
            id: Ipv4Addr::new(10, 0, 0, 1),
            neighbours: vec![neighbour],
        };
        let router = Router::start(brand, &root(brand)?, site.host("outside")?, &plan)?;
        let gateway = Gateway::launch(site.host("gw")?, policy)?;
        Ok(Self {
            site,
            gateway,
            router,
        })
    }

    /// How the gateway sees the router.
    pub fn peer(&self) -> Result<BgpPeer> {
        let bgp: Bgp = self.gateway.http().get(path::BGP)?.json()?;
        bgp.peers.into_iter().next().context("there is no peer")
    }

    /// Where the gateway's drain stands.
    pub fn drain(&self) -> Result<Drain> {
        self.gateway.http().get(path::DRAIN)?.json()
    }

    /// Waits until both say that there is a session.
    pub fn established(&self) -> Result<()> {
        let both = || -> Result<Option<()>> {
            let ours = self.peer()?.state == "established";
            let theirs = self.router.session(GATEWAY)?.is_established;
            Ok((ours && theirs).then_some(()))
        };
        let waited = wait_for(PATIENCE, "no session", both);
        self.explained(waited)
    }

    /// What the router knows of the gateway's prefixes.
    pub fn paths(&self) -> Result<Vec<RoutePath>> {
        let paths = self.router.paths()?;
        let ours = |it: &RoutePath| it.as_path.split(' ').next() == Some(&ASN.to_string());
        Ok(paths.into_iter().filter(ours).collect())
    }

    /// Waits until the router knows these prefixes and no others; returns what it knows.
    pub fn knows(&self, prefixes: &[&str]) -> Result<Vec<RoutePath>> {
        self.knows_within(PATIENCE, prefixes)
    }

    /// The same within a time.
    pub fn knows_within(&self, limit: Duration, prefixes: &[&str]) -> Result<Vec<RoutePath>> {
        let mut last = Vec::new();
        let waited = wait_for(limit, "the router knows other prefixes", || {
            last = self.paths()?;
            let known: Vec<&str> = last.iter().map(|it| it.prefix.as_str()).collect();
            Ok((known == prefixes).then(|| last.clone()))
        });
        let waited = waited.with_context(|| format!("{last:#?} instead of {prefixes:?}"));
        self.explained(waited)
    }

    /// Adds to a failure what both say.
    pub fn explained<T>(&self, result: Result<T>) -> Result<T> {
        result.with_context(|| {
            let peer = self.peer();
            let session = self.router.session(GATEWAY);
            let log = self.router.log();
            format!("the gateway says {peer:#?}\nthe router says {session:?}\n{log}")
        })
    }

    pub fn finish(self) -> Result<()> {
        drop(self.router);
        self.gateway.finish()
    }
}

/// Where a router was unpacked.
pub fn root(brand: Brand) -> Result<PathBuf> {
    match std::env::var_os(brand.variable()) {
        Some(folder) => Ok(folder.into()),
        None => bail!(
            "{} says where {} is; `cargo xtask e2e bgp` brings it",
            brand.variable(),
            brand.name()
        ),
    }
}
