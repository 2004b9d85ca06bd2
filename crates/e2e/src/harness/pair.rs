//! Two gateways with one address, and a router on either side of them that spreads packets over both.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Gateway, wait_for};
use anyhow::{Context, Result, ensure};
use api::http::{Cluster, Drain, path};
use lab::{Brand, Direction, Neighbour, Router, RouterPlan, Site, Target, Topology, Transfer};

/// What all connections leave from.
pub const ADDRESS: &str = "192.0.2.10";
/// Who answers with the caller's address.
pub const HTTP: SocketAddr = target(80);
/// Who sends as much as is wanted.
pub const STREAM: SocketAddr = target(9000);
/// How long something may take that has no time of its own.
pub const PATIENCE: Duration = Duration::from_secs(40);

const fn target(port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 11), port))
}

/// The site, the gateways and the routers.
pub struct Pair {
    /// Where they stand: pod `a1`, gateways `gw1` and `gw2`, target `api`.
    pub site: Site,
    /// Both, in this order.
    pub gateways: Vec<Gateway>,
    routers: Vec<Router>,
}

/// A gateway's policy: all have the same, but for who they are.
fn policy(number: usize, secret: &str) -> String {
    let (asn, own) = (65_011 + number, 1 + number);
    format!(
        "
pools:
  - {{name: shared, addresses: [{ADDRESS}]}}
rules:
  - {{name: all, sources: [10.1.0.0/24], pool: shared}}
cluster:
  name: west
  self: gw{own}
  secret_file: {secret}
  members:
    - {{name: gw1, address: 172.31.1.11}}
    - {{name: gw2, address: 172.31.1.12}}
bfd: {{profiles: [{{name: fast, transmit: 100ms, receive: 100ms}}]}}
bgp:
  as: {asn}
  drain: 10s
  graceful_restart: off
  peers:
    - {{name: outside, address: 172.31.2.1, as: 65000, connect_retry: 1s, bfd: fast}}
    - {{name: inside, address: 172.31.1.1, as: 65001, connect_retry: 1s, bfd: fast, announce: [{{networks: [0.0.0.0/0]}}]}}
"
    )
}

/// Where FRR was unpacked, if somebody said so.
pub fn frr() -> Option<PathBuf> {
    std::env::var_os(Brand::Frr.variable()).map(PathBuf::from)
}

impl Pair {
    /// Starts everything; returns when both gateways own a part, and both routers send to both.
    ///
    /// # Errors
    ///
    /// If that does not come to be.
    pub fn start(name: &str, root: &Path) -> Result<Self> {
        let site = Topology::two_arm(name)
            .pods("10.1.0.0/24", ["a1"])
            .gateway("gw1")
            .gateway("gw2")
            .target(Target::open("api").http(80).stream(9000))
            .external([ADDRESS])
            .routed()
            .build()?;
        let routers = vec![
            router(root, &site, "inside", 65_001, 1)?,
            router(root, &site, "outside", 65_000, 2)?,
        ];
        let gateways = (0..2).map(|number| {
            let host = site.host(["gw1", "gw2"][number])?;
            let secret = host.directory().context("it is a gateway")?.join("secret");
            fs::write(&secret, "the same for both\n")?;
            Gateway::launch(host, &policy(number, &secret.display().to_string()))
        });
        let scene = Self {
            gateways: gateways.collect::<Result<_>>()?,
            site,
            routers,
        };
        scene.shares()?;
        scene.ways(2)?;
        Ok(scene)
    }

    /// The cluster as a gateway sees it.
    ///
    /// # Errors
    ///
    /// If it does not come to be, or cannot be asked.
    pub fn cluster(&self, gateway: usize) -> Result<Cluster> {
        self.gateways[gateway].http().get(path::CLUSTER)?.json()
    }

    /// Waits until all see that the gateways own so many buckets.
    ///
    /// # Errors
    ///
    /// If it does not come to be, or cannot be asked.
    pub fn owns(&self, buckets: [u32; 2]) -> Result<()> {
        self.await_members(0..2, &format!("buckets are owned {buckets:?}"), |owned| {
            owned == buckets
        })
    }

    /// Waits until a gateway sees that it owns all.
    ///
    /// # Errors
    ///
    /// If it does not come to be, or cannot be asked.
    pub fn owner_is(&self, gateway: usize) -> Result<()> {
        self.await_members(gateway..gateway + 1, "one owns everything", |owned| {
            owned.get(gateway) == Some(&256)
        })
    }

    /// Waits until all see that each gateway owns a part.
    ///
    /// # Errors
    ///
    /// If it does not come to be, or cannot be asked.
    pub fn shares(&self) -> Result<()> {
        self.await_members(0..2, "each owns a part", |owned| {
            owned.iter().all(|part| (64..=192).contains(part))
        })
    }

    fn await_members(
        &self,
        viewers: std::ops::Range<usize>,
        what: &str,
        is_so: impl Fn(&[u32]) -> bool,
    ) -> Result<()> {
        let mut last = Vec::new();
        let waited = wait_for(PATIENCE, what, || {
            last.clear();
            for viewer in viewers.clone() {
                last.push(self.cluster(viewer)?);
            }
            let owned =
                |it: &Cluster| -> Vec<u32> { it.members.iter().map(|it| it.owns).collect() };
            let all = last.iter().all(|it| it.settled && is_so(&owned(it)));
            Ok(all.then_some(()))
        });
        waited.with_context(|| format!("{last:#?}"))
    }

    /// Waits until both routers have so many ways.
    ///
    /// # Errors
    ///
    /// If it does not come to be, or cannot be asked.
    pub fn ways(&self, count: usize) -> Result<()> {
        let shown = |host: &str, prefix: &str| -> Result<usize> {
            let shown = self.site.host(host)?.ip(&format!("route show {prefix}"))?;
            Ok(shown.matches("via ").count())
        };
        let both = || {
            let found = [shown("inside", "default")?, shown("outside", ADDRESS)?];
            Ok((found == [count; 2]).then_some(()))
        };
        let logs = || -> String { self.routers.iter().map(Router::log).collect() };
        wait_for(PATIENCE, &format!("{count} ways"), both).with_context(logs)
    }

    /// Has a gateway drained, to its end.
    ///
    /// # Errors
    ///
    /// If it does not come to be, or cannot be asked.
    pub fn drain(&self, gateway: usize) -> Result<()> {
        let http = self.gateways[gateway].http();
        let drain: Drain = http.post(path::DRAIN, b"")?.json()?;
        ensure!(drain.phase == "ebbing", "{drain:?}");
        println!("drained: {:?}", self.drained(gateway)?);
        Ok(())
    }

    /// Waits until a gateway is drained.
    ///
    /// # Errors
    ///
    /// If it does not come to be, or cannot be asked.
    pub fn drained(&self, gateway: usize) -> Result<Drain> {
        let http = self.gateways[gateway].http();
        wait_for(PATIENCE, "the drain", || {
            let drain: Drain = http.get(path::DRAIN)?.json()?;
            Ok((drain.phase == "drained").then_some(drain))
        })
    }

    /// Begins long connections, each at a rate in bytes a second; returns when something has come by each.
    ///
    /// # Errors
    ///
    /// If it does not come to be, or cannot be asked.
    pub fn transfers(&self, count: usize, rate: u64) -> Result<Vec<Transfer>> {
        let pod = self.site.host("a1")?;
        let begin = |_| Transfer::start(pod, STREAM, Direction::Download, Some(rate));
        let transfers: Vec<Transfer> = (0..count).map(begin).collect::<Result<_, _>>()?;
        self.go_on(&transfers, 1)?;
        Ok(transfers)
    }

    /// Waits until so many more bytes have come by each, or it has failed.
    ///
    /// # Errors
    ///
    /// If it does not come to be, or cannot be asked.
    pub fn go_on(&self, transfers: &[Transfer], more: u64) -> Result<()> {
        let enough: Vec<u64> = transfers.iter().map(|it| it.bytes() + more).collect();
        let has = |(it, enough): (&Transfer, &u64)| it.bytes() >= *enough || it.has_failed();
        wait_for(PATIENCE, "the transfers go on", || {
            Ok(transfers.iter().zip(&enough).all(has).then_some(()))
        })
    }

    /// Has it serve again.
    ///
    /// # Errors
    ///
    /// If it does not come to be, or cannot be asked.
    pub fn undrain(&self, gateway: usize) -> Result<()> {
        let http = self.gateways[gateway].http();
        let drain: Drain = http.exchange("DELETE", path::DRAIN, b"")?.json()?;
        ensure!(drain.phase == "serving", "{drain:?}");
        Ok(())
    }

    /// Stops everything in order.
    ///
    /// # Errors
    ///
    /// If something is left.
    pub fn finish(self) -> Result<()> {
        drop(self.routers);
        self.gateways.into_iter().try_for_each(Gateway::finish)
    }

    /// The same, and says when the site itself is gone.
    ///
    /// # Errors
    ///
    /// If something is left.
    pub fn down(self) -> Result<()> {
        drop(self.routers);
        self.gateways.into_iter().try_for_each(Gateway::finish)?;
        Ok(self.site.down()?)
    }

    /// Removes everything of what was broken off, as well as can be.
    pub fn discard(self) {
        drop(self.routers);
        for gateway in self.gateways {
            if let Err(error) = gateway.discard() {
                eprintln!("{error:#}");
            }
        }
    }
}

fn router(root: &Path, site: &Site, host: &str, asn: u32, third: u8) -> Result<Router> {
    let neighbours = (0..2u8).map(|number| {
        let address = Ipv4Addr::new(172, 31, third, 11 + number);
        let mut neighbour = Neighbour::new(address, 65_011 + u32::from(number));
        neighbour.bfd = Some(Duration::from_millis(100));
        neighbour
    });
    let plan = RouterPlan {
        asn,
        id: Ipv4Addr::new(10, 0, 0, third),
        neighbours: neighbours.collect(),
    };
    Ok(Router::start(Brand::Frr, root, site.host(host)?, &plan)?)
}
