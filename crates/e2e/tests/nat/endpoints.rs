//! Endpoints: dialling an address reaches a target elsewhere, between the kernel's own sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use e2e::harness::{Gateway, wait_for};
use lab::{Direction, Site, Topology, Transfer, mirror};

use crate::{API, DB, SOON, at, count, name, site, versions::reach};

/// What pods dial; nobody has it.
const DIALLED: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 10);
const POOL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

/// One pod's way to the guarded target by another port, a datagram's, and a way of IPv6; no rule beside.
const POLICY: &str = "
pools:
  - {name: team-a, addresses: [192.0.2.10, '2001:db8::192.0.2.10']}
endpoints:
  - {name: db, address: 10.99.0.10, service: tcp/5432, to: '198.51.100.11:80', sources: [10.1.0.11], pool: team-a}
  - {name: stream, address: 10.99.0.10, service: tcp/9000, to: 198.51.100.11, sources: [10.1.0.11], pool: team-a}
  - {name: time, address: 10.99.0.10, service: udp/5353, to: '198.51.100.11:53', sources: [10.1.0.11], pool: team-a}
  - {name: six, address: 'fd99::10', to: '2001:db8::198.51.100.11', sources: ['2001:db8::10.1.0.11'], pool: team-a}
  - {name: cross, address: 'fd99::11', to: 198.51.100.11, sources: ['2001:db8::10.1.0.11'], pool: team-a}
nat64: {prefixes: ['64:ff9b::/96']}
";

fn endpoints(test: &str) -> Result<(Site, Gateway)> {
    let site = site(Topology::two_arm(&name(test)).ipv6())?;
    let gateway = Gateway::launch(site.host("gw")?, POLICY)?;
    Ok((site, gateway))
}

#[test]
fn a_pod_that_dials_an_endpoint_reaches_its_target_from_the_pool() -> Result<()> {
    let (site, gateway) = endpoints("endpoint")?;
    let pod = site.host("a1")?;

    // The guarded target lets in nobody else.
    let seen: SocketAddr = pod
        .curl(&format!("http://{DIALLED}:5432/"))?
        .trim()
        .parse()?;
    assert_eq!(seen.ip(), IpAddr::from(POOL));
    for length in [1, 1200, 4000] {
        let data: Vec<u8> = (0..length).map(|index| index as u8).collect();
        let answer = pod.ask(at(DIALLED, 5353), &data)?;
        assert_eq!(answer.payload, data, "{length} bytes and back");
        assert_eq!(answer.seen.ip(), &POOL);
    }
    for direction in [Direction::Upload, Direction::Download] {
        let transfer = Transfer::start(pod, (DIALLED, 9000), direction, None)?;
        wait_for(SOON, "ten million bytes came", || {
            Ok((transfer.bytes() > 10_000_000).then_some(()))
        })?;
        assert_eq!(transfer.finish()?.wrong_at, None, "{direction:?}");
    }
    gateway.finish()
}

#[test]
fn who_no_endpoint_is_for_gets_nowhere_by_it() -> Result<()> {
    let (site, gateway) = endpoints("endpoint-other")?;

    let answer = site.host("a2")?.curl(&format!("http://{DIALLED}:5432/"));

    assert!(answer.is_err(), "{answer:?}");
    assert!(
        count(&gateway, "no_rule")? > 0,
        "it is the kernel's, which has no such route"
    );
    assert_eq!(gateway.all_flows()?.total, 0);
    gateway.finish()
}

#[test]
fn a_pod_of_ipv6_reaches_endpoints_whose_targets_have_either_version() -> Result<()> {
    let (site, gateway) = endpoints("endpoint-six")?;
    let pod = site.host("a1")?;

    for (dialled, from) in [
        ("fd99::10", IpAddr::from(mirror(POOL))),
        ("fd99::11", IpAddr::from(POOL)),
    ] {
        assert_eq!(reach(pod, dialled.parse()?)?, from, "{dialled}");
    }
    gateway.finish()
}

#[test]
fn a_flow_goes_on_when_its_endpoint_leads_elsewhere_and_new_ones_go_there() -> Result<()> {
    let (site, mut gateway) = endpoints("endpoint-moved")?;
    let pod = site.host("a1")?;
    let old = Transfer::start(pod, (DIALLED, 9000), Direction::Download, None)?;

    gateway.write_policy(&POLICY.replace(
        "to: 198.51.100.11, sources: [10.1.0.11]",
        "to: 198.51.100.12, sources: [10.1.0.11]",
    ))?;
    gateway.reload()?;
    let before = old.bytes();
    wait_for(SOON, "it goes on", || {
        Ok((old.bytes() > before + 1_000_000).then_some(()))
    })?;
    let new = Transfer::start(pod, (DIALLED, 9000), Direction::Download, None)?;
    let flows = gateway.all_flows()?.flows;

    let remotes: Vec<IpAddr> = (flows.iter())
        .filter_map(|flow| Some(flow.target.as_ref()?.address))
        .collect();
    assert!(
        remotes.contains(&DB.into()) && remotes.contains(&API.into()),
        "{remotes:?}"
    );
    assert_eq!(old.finish()?.wrong_at, None);
    assert_eq!(new.finish()?.wrong_at, None);
    gateway.finish().context("everything is taken away")
}
