//! The site of the demo and the policy of its gateway.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;

use anyhow::{Context, Result};
use lab::{Host, Site, Target, Topology};

use super::Narrator;

/// The external addresses of team a, whose pods are in 10.1.0.0/24.
pub(super) const TEAM_A: [&str; 2] = ["192.0.2.10", "192.0.2.11"];

/// The external address of team b, whose pods are in 10.2.0.0/24.
pub(super) const TEAM_B: [&str; 1] = ["192.0.2.20"];

/// What the gateway is told, apart from its interfaces and where its socket and state are.
pub(super) const POLICY: &str = "\
pools:
  - {name: team-a, addresses: [192.0.2.10, 192.0.2.11]}
  - {name: team-b, addresses: [192.0.2.20]}
rules:
  - {name: inside-stays-inside, sources: [10.0.0.0/8], destinations: [10.0.0.0/8], action: pass}
  - {name: team-a, sources: [10.1.0.0/24], pool: team-a}
  - {name: team-b, sources: [10.2.0.0/24], pool: team-b}
";

/// Where the database serves each protocol.
const HTTP: u16 = 80;
const DATAGRAMS: u16 = 53;
const STREAM: u16 = 9000;

/// How long a ping may take to be answered.
const PING_SECONDS: &str = "1";

pub(super) fn build(name: &str) -> Result<Site> {
    let site = Topology::two_arm(name)
        .pods("10.1.0.0/24", ["a1", "a2"])
        .pods("10.2.0.0/24", ["b1"])
        .gateway("gw")
        .target(
            Target::guarded("db")
                .http(HTTP)
                .datagrams(DATAGRAMS)
                .stream(STREAM),
        )
        .external(TEAM_A.into_iter().chain(TEAM_B))
        .build()?;
    Ok(site)
}

pub(super) fn introduce(site: &Site, narrator: &mut Narrator) -> Result<()> {
    let address = |name: &str| -> Result<Ipv4Addr> { Ok(site.host(name)?.address()?) };
    println!("Egret, the demo: two teams, a gateway, and a database that trusts addresses.");
    narrator.act("A site on this machine")?;
    narrator.say(&format!(
        "
team a  a1 {} ─┐
        a2 {} ─┼─ inside ══ in0 gw out0 ══ outside ── db {}
team b  b1 {} ─┘

Every host is a network namespace with the kernel's own TCP stack, joined by virtual
Ethernet. The firewall of db lets in {} (team a),
{} (team b), and nobody else.",
        address("a1")?,
        address("a2")?,
        address("db")?,
        address("b1")?,
        TEAM_A.join(" and "),
        TEAM_B.join(" and "),
    ));
    Ok(())
}

/// The database, as pods reach it.
pub(super) struct Database<'a> {
    pub(super) host: &'a Host,
    pub(super) address: Ipv4Addr,
}

impl<'a> Database<'a> {
    pub(super) fn of(site: &'a Site) -> Result<Self> {
        let host = site.host("db")?;
        Ok(Self {
            host,
            address: host.address()?,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(super) fn datagrams(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, DATAGRAMS)
    }

    pub(super) fn stream(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, STREAM)
    }

    /// Pings it once from a pod. Returns whether it answers, and how ping puts that.
    pub(super) fn pinged(&self, pod: &Host) -> Result<(bool, String)> {
        let mut ping = Command::new("ping");
        ping.args([
            "-n",
            "-c",
            "1",
            "-W",
            PING_SECONDS,
            &self.address.to_string(),
        ]);
        let output = pod.run(ping)?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let summary = printed.lines().find(|line| line.contains("transmitted"));
        let summary = summary.with_context(|| format!("ping says only {printed:?}"))?;
        Ok((output.status.success(), summary.to_owned()))
    }

    /// Fetches its page from a pod: the pod's address as the database sees it.
    pub(super) fn sees(&self, pod: &Host) -> Result<SocketAddrV4> {
        Ok(pod.curl(&self.url())?.trim().parse()?)
    }
}
