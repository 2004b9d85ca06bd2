//! Gateways with one address, and a router on either side of them that spreads packets over all of them.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{Gateway, program, wait_for};
use anyhow::{Context, Result, ensure};
use api::http::{Cluster, Drain, path};
use lab::{Brand, Direction, Neighbour, Router, RouterPlan, Site, Target, Topology, Transfer};

/// What all connections leave from.
pub const ADDRESS: &str = "192.0.2.10";
/// Who answers with the caller's address.
pub const HTTP: SocketAddr = target(80);
/// The port by which members copy flows to each other.
const COPIES: u16 = 3473;
/// Who sends as much as is wanted.
pub const STREAM: SocketAddr = target(9000);
/// How long something may take that has no time of its own.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// The routers, each with a bridge that joins the gateways.
const SEGMENTS: [&str; 2] = ["inside", "outside"];
/// A gateway's interfaces.
const CABLES: [&str; 2] = ["in0", "out0"];

const fn target(port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 11), port))
}

/// The site, the gateways and the routers.
pub struct Members {
    /// All of them, in this order. Before the site, in which their logs are.
    pub gateways: Vec<Gateway>,
    /// Where they stand: pod `a1`, gateways `gw1`, `gw2` and so on, target `api`.
    pub site: Site,
    routers: Vec<Router>,
    /// Those that are cut off, with the routes that went with their links.
    gone: BTreeMap<usize, String>,
}

/// By what gateways reach each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Underlay {
    /// IPv4, the addresses that they have there anyway.
    Four,
    /// IPv6, on the same wire.
    Six,
}

impl Underlay {
    /// The address of the gateway with this number, which is counted from one.
    fn address(self, number: usize) -> String {
        match self {
            Self::Four => format!("172.31.1.{}", 10 + number),
            Self::Six => format!("fd0a::{}", 10 + number),
        }
    }
}

/// A gateway's policy: all have the same, but for who they are.
fn policy(number: usize, (count, underlay): (usize, Underlay), files: &Path) -> String {
    let (asn, own, files) = (65_011 + number, 1 + number, files.display());
    let member = |it| {
        format!(
            "    - {{name: gw{it}, address: \"{}\"}}\n",
            underlay.address(it)
        )
    };
    let members: String = (1..=count).map(member).collect();
    format!(
        "
pools:
  - {{name: shared, addresses: [{ADDRESS}]}}
rules:
  - {{name: all, sources: [10.1.0.0/24], pool: shared}}
cluster:
  name: west
  self: gw{own}
  secret_file: {files}/secret
  replication:
    port: {COPIES}
    ca_file: {files}/ca.pem
    certificate_file: {files}/gw{own}.pem
    key_file: {files}/gw{own}.key
  members:
{members}
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

/// Makes what all members have in common: a secret, and certificates by the command that users have.
fn common(directory: &Path, count: usize) -> Result<()> {
    fs::write(directory.join("secret"), "the same for all\n")?;
    let names = (1..=count).map(|it| format!("gw{it}"));
    let made = Command::new(program("egret")?)
        .args(["cluster", "certificates", "--name", "west", "--directory"])
        .arg(directory)
        .args(names)
        .output()?;
    ensure!(made.status.success(), "{made:?}");
    Ok(())
}

/// Routers, and where they were unpacked.
#[derive(Clone, Debug)]
pub struct Routers {
    brand: Brand,
    root: PathBuf,
}

/// FRR, if somebody said where it was unpacked.
pub fn frr() -> Option<Routers> {
    routers(Brand::Frr)
}

/// Routers that a brand makes, if somebody said where they were unpacked.
pub fn routers(brand: Brand) -> Option<Routers> {
    let root = std::env::var_os(brand.variable())?.into();
    Some(Routers { brand, root })
}

impl Members {
    /// Starts everything; returns when each gateway owns a part and knows all flows that it is to know, and both
    /// routers send to all.
    ///
    /// # Errors
    ///
    /// If that does not come to be.
    pub fn start(name: &str, of: &Routers, count: usize) -> Result<Self> {
        Self::start_over(name, of, (count, Underlay::Four))
    }

    /// The same, where they reach each other so.
    ///
    /// # Errors
    ///
    /// If that does not come to be.
    pub fn start_over(
        name: &str,
        of: &Routers,
        (count, underlay): (usize, Underlay),
    ) -> Result<Self> {
        let names: Vec<String> = (1..=count).map(|it| format!("gw{it}")).collect();
        let mut topology = Topology::two_arm(name).pods("10.1.0.0/24", ["a1"]);
        for name in &names {
            topology = topology.gateway(name);
        }
        let site = topology
            .target(Target::open("api").http(80).stream(9000))
            .external([ADDRESS])
            .routed()
            .build()?;
        let routers = vec![
            router(of, &site, "inside", (65_001, 1), count)?,
            router(of, &site, "outside", (65_000, 2), count)?,
        ];
        let first = site.host("gw1")?;
        let files = first.directory().context("it is a gateway")?.to_owned();
        common(&files, count)?;
        if underlay == Underlay::Six {
            for (number, name) in names.iter().enumerate() {
                let address = underlay.address(number + 1);
                let host = site.host(name)?;
                host.sysctl("ipv6/conf/in0/disable_ipv6", "0")?;
                host.ip(&format!("address add {address}/64 dev in0 nodad"))?;
            }
        }
        let gateways = names.iter().enumerate().map(|(number, name)| {
            let policy = policy(number, (count, underlay), &files);
            Gateway::launch(site.host(name)?, &policy)
        });
        let scene = Self {
            gateways: gateways.collect::<Result<_>>()?,
            site,
            routers,
            gone: BTreeMap::new(),
        };
        scene.shares()?;
        scene.ways(count)?;
        scene.synced()?;
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
    pub fn owns(&self, buckets: &[u32]) -> Result<()> {
        self.await_members(
            &self.here(),
            &format!("buckets are owned {buckets:?}"),
            |owned| owned == buckets,
        )
    }

    /// Has a gateway die: its cables are cut first, so that it says nothing more, and nothing is left of what it
    /// knew.
    ///
    /// # Errors
    ///
    /// If it cannot be killed.
    pub fn kill(&mut self, gateway: usize) -> Result<()> {
        self.unplug(gateway)?;
        self.gateways[gateway].kill()?;
        self.gateways[gateway].uninstall()
    }

    /// Brings back a gateway that died.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn revive(&mut self, gateway: usize) -> Result<()> {
        self.plug(gateway)?;
        self.gateways[gateway].start()
    }

    /// Cuts a gateway's cables. It lives on, and nobody hears of it.
    ///
    /// # Errors
    ///
    /// If they cannot be cut.
    pub fn unplug(&mut self, gateway: usize) -> Result<()> {
        let host = self.site.host(&format!("gw{}", gateway + 1))?;
        self.gone.insert(gateway, host.ip("route show")?);
        for interface in CABLES {
            host.ip(&format!("link set {interface} down"))?;
        }
        Ok(())
    }

    /// Mends the cables of one that was cut off.
    ///
    /// # Errors
    ///
    /// If they cannot be mended.
    pub fn plug(&mut self, gateway: usize) -> Result<()> {
        let host = self.site.host(&format!("gw{}", gateway + 1))?;
        for interface in CABLES {
            host.ip(&format!("link set {interface} up"))?;
        }
        // Routes go with the link that they lead to.
        let routes = self.gone.remove(&gateway).unwrap_or_default();
        for route in routes.lines().filter(|it| !it.contains("proto kernel")) {
            host.ip(&format!("route replace {}", route.trim()))?;
        }
        Ok(())
    }

    /// Cuts everything between two gateways of each pair; the routers reach both as before. Returns when either
    /// side takes the other for dead.
    ///
    /// # Errors
    ///
    /// If it cannot be cut, or they go on seeing each other.
    pub fn part(&self, pairs: &[[usize; 2]]) -> Result<()> {
        let rule = |from: usize, to: usize| {
            format!("iifname gateways_{from} oifname gateways_{to} drop\n")
        };
        let both = |&[one, other]: &[usize; 2]| rule(one, other) + &rule(other, one);
        let rules: String = pairs.iter().map(both).collect();
        for router in SEGMENTS {
            self.site.host(router)?.nft(&format!(
                "table bridge parted {{ chain forward {{\ntype filter hook forward priority 0\n{rules}}}\n}}"
            ))?;
        }
        for [one, other] in pairs {
            self.sees_nothing_of(*one, *other)?;
            self.sees_nothing_of(*other, *one)?;
        }
        Ok(())
    }

    /// Joins again what was parted.
    ///
    /// # Errors
    ///
    /// If it cannot.
    pub fn join(&self) -> Result<()> {
        let heal = |router| self.site.host(router)?.nft("delete table bridge parted");
        SEGMENTS.into_iter().try_for_each(heal)?;
        Ok(())
    }

    /// Those that are not cut off.
    fn here(&self) -> Vec<usize> {
        let all = 0..self.gateways.len();
        all.filter(|it| !self.gone.contains_key(it)).collect()
    }

    fn sees_nothing_of(&self, viewer: usize, gateway: usize) -> Result<()> {
        self.await_members(&[viewer], "one owns nothing", |owned| {
            owned.get(gateway) == Some(&0)
        })
    }

    /// Waits until all others see that a gateway owns nothing.
    ///
    /// # Errors
    ///
    /// If it does not come to be, or cannot be asked.
    pub fn owner_is_not(&self, gateway: usize) -> Result<()> {
        let mut others = self.here();
        others.retain(|it| *it != gateway);
        let see = |viewer| self.sees_nothing_of(viewer, gateway);
        others.into_iter().try_for_each(see)
    }

    /// Waits until a gateway sees that it owns all.
    ///
    /// # Errors
    ///
    /// If it does not come to be, or cannot be asked.
    pub fn owner_is(&self, gateway: usize) -> Result<()> {
        self.await_members(&[gateway], "one owns everything", |owned| {
            owned.get(gateway) == Some(&256)
        })
    }

    /// Waits until all that are not cut off see that each of them owns a part.
    ///
    /// # Errors
    ///
    /// If it does not come to be, or cannot be asked.
    pub fn shares(&self) -> Result<()> {
        let here = self.here();
        let least = 128 / here.len() as u32;
        self.await_members(&here, "each owns a part", |owned| {
            here.iter()
                .all(|it| owned.get(*it).is_some_and(|part| *part >= least))
        })
    }

    /// Makes sure that a gateway serves nothing now that others own.
    ///
    /// # Errors
    ///
    /// If it does, or cannot be asked.
    pub fn serves_nothing(&self, gateway: usize) -> Result<()> {
        let seen = self.cluster(gateway)?;
        let own = seen
            .members
            .iter()
            .find(|it| seen.own.as_ref() == Some(&it.name));
        ensure!(own.is_some_and(|it| it.serves == 0), "{seen:#?}");
        Ok(())
    }

    /// Waits until no bucket is handed over any more, and whoever is to know flows knows them.
    ///
    /// # Errors
    ///
    /// If it does not come to be, or cannot be asked.
    pub fn synced(&self) -> Result<()> {
        let is_synced = |it: &Cluster| {
            let sent = it.members.iter().filter_map(|it| it.copies.as_ref());
            let told: u32 = sent.clone().map(|it| it.sent.buckets).sum();
            let owns = it
                .members
                .iter()
                .find(|member| it.own.as_ref() == Some(&member.name));
            it.members.iter().all(|it| it.serves == 0)
                && sent.clone().all(|it| it.sent.complete == it.sent.buckets)
                && owns.is_some_and(|it| it.owns == told)
        };
        let mut last = Vec::new();
        let waited = wait_for(PATIENCE, "flows are copied", || {
            last = self
                .here()
                .into_iter()
                .map(|it| self.cluster(it))
                .collect::<Result<_>>()?;
            Ok(last.iter().all(is_synced).then_some(()))
        });
        waited.with_context(|| format!("{last:#?}"))
    }

    fn await_members(
        &self,
        viewers: &[usize],
        what: &str,
        is_so: impl Fn(&[u32]) -> bool,
    ) -> Result<()> {
        let mut last = Vec::new();
        let waited = wait_for(PATIENCE, what, || {
            last.clear();
            for viewer in viewers {
                last.push(self.cluster(*viewer)?);
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
        self.stop().map(drop)
    }

    /// The same, and says when the site itself is gone.
    ///
    /// # Errors
    ///
    /// If something is left.
    pub fn down(self) -> Result<()> {
        Ok(self.stop()?.down()?)
    }

    fn stop(self) -> Result<Site> {
        drop(self.routers);
        self.gateways.into_iter().try_for_each(Gateway::finish)?;
        Ok(self.site)
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

fn router(
    of: &Routers,
    site: &Site,
    host: &str,
    (asn, third): (u32, u8),
    count: usize,
) -> Result<Router> {
    let neighbours = (0..count as u8).map(|number| {
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
    Ok(Router::start(of.brand, &of.root, site.host(host)?, &plan)?)
}
