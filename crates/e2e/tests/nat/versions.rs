//! A site that has IPv6 beside IPv4: what the gateway knows of it, and what it asks of its host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use anyhow::{Context, Result};
use e2e::harness::{Gateway, wait_for};
use lab::{Direction, Host, Site, Topology, Transfer, mirror};

use crate::{API, DB, SOON, count, name, site};

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

const POOL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

/// A site of both versions, and a gateway that translates within and between them.
fn both(test: &str) -> Result<(Site, Gateway)> {
    let site = site(Topology::two_arm(&name(test)).ipv6())?;
    let gateway = Gateway::launch(site.host("gw")?, BOTH)?;
    Ok((site, gateway))
}

/// What the well-known prefix makes of an IPv4 address (RFC 6052 §2.1).
fn embedded(address: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = address.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low)
}

/// Reaches a target by TCP and UDP, in both directions and in fragments; returns whom it saw.
pub fn reach(pod: &Host, target: Ipv6Addr) -> Result<IpAddr> {
    assert!(pod.ping(target)?, "an echo comes back");
    let seen: SocketAddr = pod.curl(&format!("http://[{target}]/"))?.trim().parse()?;
    for direction in [Direction::Upload, Direction::Download] {
        let transfer = Transfer::start(pod, (target, 9000), direction, None)?;
        wait_for(SOON, "ten million bytes came", || {
            Ok((transfer.bytes() > 10_000_000).then_some(()))
        })?;
        assert_eq!(transfer.finish()?.wrong_at, None, "{direction:?}");
    }

    for length in [1, 1200, 4000] {
        let data: Vec<u8> = (0..length).map(|index| index as u8).collect();
        let answer = pod.ask6(SocketAddrV6::new(target, 53, 0, 0), &data)?;
        assert_eq!(answer.payload, data, "{length} bytes and back");
        assert_eq!(answer.seen.ip(), seen.ip());
    }
    Ok(seen.ip())
}

#[test]
fn clients_of_ipv6_reach_targets_of_ipv6_from_an_address_of_the_pool() -> Result<()> {
    let (site, gateway) = both("six")?;

    // The guarded target lets in nobody else.
    let seen = reach(site.host("a1")?, mirror(DB))?;

    assert_eq!(seen, IpAddr::from(mirror(POOL)));
    gateway.finish()
}

#[test]
fn clients_of_ipv6_reach_targets_of_ipv4_from_an_address_of_the_pool() -> Result<()> {
    let (site, gateway) = both("nat64")?;

    let seen = reach(site.host("a1")?, embedded(DB))?;

    assert_eq!(seen, IpAddr::from(POOL));
    gateway.finish()
}

/// Neither side's stack knows that the other's way is narrower; both learn it by the gateway, from what
/// the router behind it says in the other version.
#[test]
fn paths_that_are_narrower_behind_the_gateway_are_found_by_clients_of_ipv6() -> Result<()> {
    let (site, _gateway) = both("nat64-mtu")?;
    for (host, route) in [("gw", mirror(DB).to_string()), ("gw", DB.to_string())] {
        let host = site.host(host)?;
        let way = host.ip(&format!("route get {route}"))?;
        let via = way.split_once(" via ").context("a route")?.1;
        let via = via.split_whitespace().next().context("a next hop")?;
        host.ip(&format!(
            "route add {route} via {via} dev out0 mtu lock 1300"
        ))?;
    }

    for target in [mirror(DB), embedded(DB)] {
        let pod = site.host("a1")?;
        let transfer = Transfer::start(pod, (target, 9000), Direction::Upload, None)?;
        wait_for(SOON, "ten million bytes came", || {
            Ok((transfer.bytes() > 10_000_000).then_some(()))
        })?;
        assert_eq!(transfer.finish()?.wrong_at, None);
    }
    Ok(())
}

/// A client of IPv4 and one of IPv6 have one pool; each reaches the other by its external port.
#[test]
fn clients_of_both_versions_reach_each_other_by_their_external_ports() -> Result<()> {
    let (site, gateway) = both("hairpins")?;
    let (four, six) = (site.host("a1")?, site.host("a2")?);
    let socket = |pod: &Host, local: SocketAddr| -> Result<UdpSocket> {
        let socket = pod.enter(|| UdpSocket::bind(local))??;
        socket.set_read_timeout(Some(SOON))?;
        Ok(socket)
    };
    let ours = socket(four, (four.address()?, 7000).into())?;
    let theirs = socket(six, (six.address6()?, 7001).into())?;
    let external = |socket: &UdpSocket, service: IpAddr| -> Result<u16> {
        socket.send_to(b"who am I?", (service, 53))?;
        let mut buffer = [0; 200];
        let (length, _) = socket.recv_from(&mut buffer)?;
        let text = std::str::from_utf8(&buffer[..length])?;
        let seen: SocketAddr = text.lines().next().context("a line")?.parse()?;
        assert_eq!(seen.ip(), IpAddr::from(POOL));
        Ok(seen.port())
    };
    let our_port = external(&ours, API.into())?;
    let their_port = external(&theirs, embedded(API).into())?;

    // Each lets the other in by sending to it (address-dependent filtering).
    ours.send_to(b"knock", (POOL, their_port))?;
    theirs.send_to(b"hello", (embedded(POOL), our_port))?;
    let mut buffer = [0; 200];
    let (length, from) = ours.recv_from(&mut buffer)?;
    assert_eq!(&buffer[..length], b"hello");
    assert_eq!(from, SocketAddr::from((POOL, their_port)));
    ours.send_to(b"welcome", from)?;
    let answered = loop {
        let (length, from) = theirs.recv_from(&mut buffer)?;
        if &buffer[..length] == b"welcome" {
            break from;
        }
    };
    assert_eq!(answered, SocketAddr::from((embedded(POOL), our_port)));
    gateway.finish()
}

/// A gateway learns of IPv6 by a reload: its flows go on, and its programs for IPv6 are loaded then.
#[test]
fn ipv6_can_be_added_while_the_gateway_runs() -> Result<()> {
    let site = site(Topology::two_arm(&name("add-ipv6")).ipv6())?;
    let gateway = Gateway::launch(site.host("gw")?, crate::POLICY)?;
    let pod = site.host("a1")?;
    let before = gateway.status()?.program.instructions;
    let open = Transfer::start(pod, (DB, 9000), Direction::Download, Some(1 << 20))?;
    assert!(pod.curl(&format!("http://[{}]/", mirror(DB))).is_err());
    assert!(count(&gateway, "ipv6")? > 0, "IPv6 is the kernel's");

    gateway.apply(BOTH)?;

    assert_eq!(reach(pod, embedded(DB))?, IpAddr::from(POOL));
    assert!(!open.has_failed());
    assert_eq!(open.finish()?.wrong_at, None);
    println!(
        "verified instructions: {before:?} without IPv6, {:?} with it",
        gateway.status()?.program.instructions
    );
    gateway.finish()
}
