//! A site that has IPv6 beside IPv4: what the gateway knows of it, and what it asks of its host.

use std::net::IpAddr;

use anyhow::{Context, Result};
use e2e::harness::{Gateway, wait_for};
use lab::{Host, Topology, mirror};

use crate::{SOON, name, site};

/// Clients of both versions, and a prefix for IPv4 targets.
const BOTH: &str = "
pools:
  - {name: both, addresses: [192.0.2.10, '2001:db8::192.0.2.10']}
rules:
  - {name: both, sources: [10.1.0.0/24, '2001:db8::10.1.0.0/120'], pool: both}
nat64: {prefixes: ['64:ff9b::/96']}
";

fn read(host: &Host, setting: &str) -> Result<String> {
    let path = format!("/proc/sys/net/ipv6/conf/{setting}");
    let text = host.enter(|| std::fs::read_to_string(&path))?;
    Ok(text.with_context(|| path.clone())?.trim().to_owned())
}

#[test]
fn a_gateway_of_both_versions_knows_its_addresses_and_lets_its_host_forward() -> Result<()> {
    let site = site(Topology::two_arm(&name("versions")).ipv6())?;
    let host = site.host("gw")?;
    host.sysctl("ipv6/conf/all/forwarding", "0")?;
    host.sysctl("ipv6/conf/in0/accept_ra", "1")?;

    let gateway = Gateway::launch(host, BOTH)?;

    assert_eq!(read(host, "all/forwarding")?, "1");
    assert_eq!(read(host, "in0/accept_ra")?, "2", "announced routes stay");
    let addresses = |interface: &str| -> Result<Vec<IpAddr>> {
        let interfaces = gateway.status()?.interfaces;
        let found = interfaces.into_iter().find(|it| it.name == interface);
        Ok(found.context("it is listened on")?.addresses)
    };
    let own = IpAddr::from(mirror("172.31.1.11".parse()?));
    assert!(addresses("in0")?.contains(&own), "{:?}", addresses("in0")?);
    let is_link_local = |it: &IpAddr| matches!(it, IpAddr::V6(it) if it.is_unicast_link_local());
    assert!(!addresses("in0")?.iter().any(is_link_local));

    host.ip("address add 2001:db8:ffff::1/64 dev out0 nodad")?;
    let more: IpAddr = "2001:db8:ffff::1".parse()?;
    wait_for(SOON, "the new address is known", || {
        Ok(addresses("out0")?.contains(&more).then_some(()))
    })
}

#[test]
fn a_gateway_of_ipv4_alone_leaves_ipv6_of_its_host_as_it_is() -> Result<()> {
    let site = site(Topology::two_arm(&name("version-4")).ipv6())?;
    let host = site.host("gw")?;
    host.sysctl("ipv6/conf/all/forwarding", "0")?;

    let _gateway = Gateway::launch(host, crate::POLICY)?;

    assert_eq!(read(host, "all/forwarding")?, "0");
    Ok(())
}
