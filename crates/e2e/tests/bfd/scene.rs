//! A gateway and a router that watch the way between them.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use api::http::{Bfd, BfdSession, Bgp, BgpPeer, path};
use e2e::harness::{Gateway, wait_for};
use lab::{Brand, Neighbour, Router, RouterPlan, Site, Target, Topology};

pub const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 31, 2, 1));
pub const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 31, 2, 11));
/// How long something may take that has no time of its own.
pub const PATIENCE: Duration = Duration::from_secs(30);
const ASN: u32 = 65_010;
const ROUTER_ASN: u32 = 65_000;

pub struct Scene {
    pub gateway: Gateway,
    pub router: Router,
    pub site: Site,
}

/// A policy with one peer, watched in this interval or not at all.
pub fn policy(interval: Option<Duration>) -> String {
    let (bfd, profile) = match interval {
        None => (String::new(), String::new()),
        Some(interval) => {
            let ms = interval.as_millis();
            let profile = format!(
                "bfd: {{profiles: [{{name: fast, transmit: {ms}ms, receive: {ms}ms, multiplier: 3}}]}}"
            );
            (", bfd: fast".to_owned(), profile)
        }
    };
    format!(
        "
pools:
  - {{name: web, addresses: [192.0.2.10]}}
rules:
  - {{name: web, sources: [10.1.0.0/24], pool: web}}
{profile}
bgp:
  as: {ASN}
  router_id: 10.0.0.11
  peers:
    - {{name: router, address: {ROUTER}, as: {ROUTER_ASN}, connect_retry: 1s{bfd}}}
"
    )
}

impl Scene {
    pub fn start(brand: Brand, interval: Duration) -> Result<Self> {
        Self::start_with(brand, interval, &policy(Some(interval)))
    }

    pub fn start_with(brand: Brand, interval: Duration, policy: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let site = Topology::two_arm(&format!("bfd-{number}-{}", std::process::id()))
            .pods("10.1.0.0/24", ["a1"])
            .gateway("gw")
            .target(Target::open("api"))
            .external(["192.0.2.10"])
            .routed()
            .build()?;
        let mut neighbour = Neighbour::new(GATEWAY, ASN);
        neighbour.bfd = Some(interval);
        neighbour.hold_time = Duration::from_secs(90);
        let plan = RouterPlan {
            asn: ROUTER_ASN,
            id: Ipv4Addr::new(10, 0, 0, 1),
            neighbours: vec![neighbour],
        };
        let Some(root) = std::env::var_os(brand.variable()) else {
            bail!("`cargo xtask e2e bfd` says where {} is", brand.name());
        };
        let router = Router::start(brand, root.as_ref(), site.host("outside")?, &plan)?;
        let gateway = Gateway::launch(site.host("gw")?, policy)?;
        Ok(Self {
            gateway,
            router,
            site,
        })
    }

    pub fn sessions(&self) -> Result<Vec<BfdSession>> {
        let bfd: Bfd = self.gateway.http().get(path::BFD)?.json()?;
        Ok(bfd.sessions)
    }

    pub fn session(&self) -> Result<BfdSession> {
        self.sessions()?.pop().context("there is no session")
    }

    pub fn peer(&self) -> Result<BgpPeer> {
        let bgp: Bgp = self.gateway.http().get(path::BGP)?.json()?;
        bgp.peers.into_iter().next().context("there is no peer")
    }

    /// Waits until BGP and BFD are up on both sides.
    pub fn up(&self) -> Result<()> {
        self.established()?;
        let waited = wait_for(PATIENCE, "no BFD session", || {
            let both = self.session()?.state == "up" && self.router.is_bfd_up(GATEWAY)?;
            Ok(both.then_some(()))
        });
        self.explained(waited)
    }

    pub fn established(&self) -> Result<()> {
        let waited = wait_for(PATIENCE, "no BGP session", || {
            let ours = self.peer()?.state == "established";
            let both = ours && self.router.session(GATEWAY)?.is_established;
            Ok(both.then_some(()))
        });
        self.explained(waited)
    }

    /// Waits until the router has the gateway's routes, or until it has them no longer.
    pub fn knows_routes(&self, wanted: bool) -> Result<()> {
        let waited = wait_for(PATIENCE, "the router's routes", || {
            Ok((self.router.paths()?.is_empty() != wanted).then_some(()))
        });
        self.explained(waited)
    }

    fn explained<T>(&self, result: Result<T>) -> Result<T> {
        result.with_context(|| {
            let (peer, session) = (self.peer(), self.sessions());
            format!("{peer:#?}\n{session:#?}\n{}", self.router.log())
        })
    }

    pub fn finish(self) -> Result<()> {
        drop(self.router);
        self.gateway.finish()
    }
}
