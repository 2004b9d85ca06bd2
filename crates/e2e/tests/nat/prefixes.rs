//! Prefixes that are translated one to one, between the kernel's own stacks.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result};
use e2e::harness::{Gateway, wait_for};
use lab::{Direction, Host, Site, Topology, Transfer, mirror};

use crate::{API, DB, SOON, at, count, name, site, two_arm, versions::reach};

/// The pods' addresses, and those that they have outside: the first pod's is let in by the guarded
/// target.
const PREFIX: &str = "
prefixes:
  - {name: pods, internal: 10.1.0.8/29, external: 192.0.2.8/29}
";
/// Of the second pod alone, beside the pool's addresses.
const PREFIX_OF_A2: &str = "
prefixes:
  - {name: pods, internal: 10.1.0.12/31, external: 192.0.2.12/31}
";
const A1_OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
const A2_OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 12);

/// The example of RFC 6296.
const PREFIX6: &str = "
prefixes:
  - {name: office, internal: 'fd01:203:405::/48', external: '2001:db8:1::/48'}
";
const HOST6: &str = "fd01:203:405:1::1234";
const HOST6_OUTSIDE: &str = "2001:db8:1:d550::1234";

/// A gateway with both pods behind a prefix.
fn pods(test: &str) -> Result<(Site, Gateway)> {
    let site = site(Topology::two_arm(&name(test)))?;
    lead_outside(&site)?;
    let gateway = Gateway::launch(site.host("gw")?, PREFIX)?;
    Ok((site, gateway))
}

/// Has the second pod's address outside lead to the gateway, as the first one's does.
fn lead_outside(site: &Site) -> Result<()> {
    let outside = site.host("outside")?;
    outside.ip(&format!("route add {A2_OUTSIDE} via 172.31.2.11"))?;
    Ok(())
}

/// One connection from a host to a listener on another: who called, as the listener saw it.
fn call(from: &Host, to: &Host, dialled: IpAddr) -> Result<IpAddr> {
    let any: IpAddr = match dialled {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let listener = to.enter(|| TcpListener::bind((any, 7000)))??;
    let dialled = SocketAddr::from((dialled, 7000));
    let mut caller = from.enter(|| TcpStream::connect_timeout(&dialled, SOON))??;
    let (mut called, peer) = listener.accept()?;
    caller.write_all(b"hello")?;
    let mut heard = [0; 5];
    called.read_exact(&mut heard)?;
    called.write_all(&heard)?;
    caller.read_exact(&mut heard)?;
    assert_eq!(&heard, b"hello");
    Ok(peer.ip())
}

#[test]
fn a_pod_reaches_and_is_reached_by_its_external_address_without_a_flow() -> Result<()> {
    let (site, gateway) = pods("prefix")?;
    let (a1, a2, api) = (site.host("a1")?, site.host("a2")?, site.host("api")?);

    assert!(a1.ping(DB)?);
    let seen: SocketAddr = a1.curl(&format!("http://{DB}/"))?.trim().parse()?;
    assert_eq!(seen.ip(), A1_OUTSIDE);
    for length in [1, 1200, 4000] {
        let data: Vec<u8> = (0..length).map(|index| index as u8).collect();
        let answer = a1.ask(at(DB, 53), &data)?;
        assert_eq!(answer.payload, data, "{length} bytes and back");
        assert_eq!(*answer.seen.ip(), A1_OUTSIDE);
    }
    let transfer = Transfer::start(a1, (DB, 9000), Direction::Download, None)?;
    wait_for(SOON, "ten million bytes came", || {
        Ok((transfer.bytes() > 10_000_000).then_some(()))
    })?;
    assert_eq!(transfer.finish()?.wrong_at, None);

    assert!(api.ping(A1_OUTSIDE)?);
    assert_eq!(call(api, a1, A1_OUTSIDE.into())?, IpAddr::from(API));
    assert_eq!(call(api, a2, A2_OUTSIDE.into())?, IpAddr::from(API));
    // Two pods, each known to the other by its external address.
    assert_eq!(call(a1, a2, A2_OUTSIDE.into())?, IpAddr::from(A1_OUTSIDE));

    assert!(count(&gateway, "prefix_out")? > 0);
    assert!(count(&gateway, "prefix_in")? > 0);
    assert_eq!(count(&gateway, "translated_out")?, 0);
    gateway.finish()
}

#[test]
fn a_prefix_can_be_added_and_taken_away_while_the_gateway_runs() -> Result<()> {
    let (site, gateway) = two_arm("prefix-later")?;
    lead_outside(&site)?;
    let a1 = site.host("a1")?;
    let open = Transfer::start(a1, (DB, 9000), Direction::Download, Some(1 << 20))?;
    wait_for(SOON, "bytes came", || Ok((open.bytes() > 0).then_some(())))?;

    let both = format!("{}{PREFIX_OF_A2}", crate::POLICY);
    gateway.apply(&both)?;

    let a2 = site.host("a2")?;
    assert_eq!(
        call(site.host("api")?, a2, A2_OUTSIDE.into())?,
        IpAddr::from(API)
    );
    assert!(count(&gateway, "prefix_in")? > 0);

    gateway.apply(crate::POLICY)?;

    let before = count(&gateway, "prefix_out")?;
    assert!(a2.ping(API)?, "by the pool again");
    assert_eq!(count(&gateway, "prefix_out")?, before);
    assert!(!open.has_failed());
    assert_eq!(open.finish()?.wrong_at, None);
    gateway.finish()
}

#[test]
fn a_narrower_path_behind_the_gateway_is_found_through_a_prefix() -> Result<()> {
    let (site, _gateway) = pods("prefix-mtu")?;
    let outside = site.host("outside")?;
    let way = outside.ip(&format!("route get {DB}"))?;
    let interface = way.split_once(" dev ").context("a route")?.1;
    let interface = interface
        .split_whitespace()
        .next()
        .context("an interface")?;
    outside.ip(&format!("route add {DB} dev {interface} mtu lock 1300"))?;

    let transfer = Transfer::start(site.host("a1")?, (DB, 9000), Direction::Upload, None)?;
    wait_for(SOON, "ten million bytes came", || {
        Ok((transfer.bytes() > 10_000_000).then_some(()))
    })?;
    assert_eq!(transfer.finish()?.wrong_at, None);
    Ok(())
}

/// RFC 6296: a host of unique local addresses, known outside by global ones; what it sends in TCP, UDP
/// and ICMP is understood although no checksum was touched.
#[test]
fn a_host_of_ipv6_reaches_and_is_reached_by_its_external_prefix() -> Result<()> {
    let site = site(Topology::two_arm(&name("prefix6")).ipv6())?;
    let a1 = site.host("a1")?;
    let way = a1.ip("-6 route show default")?;
    let way = way.lines().next().context("a default route")?;
    let (via, dev) = {
        let word = |before: &str| {
            let rest = way.split_once(before).map(|(_, rest)| rest);
            rest.and_then(|rest| rest.split_whitespace().next())
        };
        (
            word("via ").context("a hop")?,
            word("dev ").context("an interface")?,
        )
    };
    a1.ip(&format!("address add {HOST6}/128 dev {dev} nodad"))?;
    a1.ip(&format!(
        "-6 route replace default via {via} dev {dev} src {HOST6}"
    ))?;
    let inner = mirror("172.31.1.1".parse()?);
    let (pod, gw) = (a1.address6()?, mirror("172.31.2.11".parse()?));
    site.host("inside")?
        .ip(&format!("route add fd01:203:405::/48 via {pod}"))?;
    site.host("gw")?
        .ip(&format!("route add fd01:203:405::/48 via {inner}"))?;
    site.host("outside")?
        .ip(&format!("route add 2001:db8:1::/48 via {gw}"))?;
    let gateway = Gateway::launch(site.host("gw")?, PREFIX6)?;

    let seen = reach(a1, mirror(API))?;
    assert_eq!(seen, HOST6_OUTSIDE.parse::<IpAddr>()?);
    let called = call(site.host("api")?, a1, HOST6_OUTSIDE.parse()?)?;
    assert_eq!(called, IpAddr::from(mirror(API)));

    assert!(count(&gateway, "prefix_out")? > 0);
    assert!(count(&gateway, "prefix_in")? > 0);
    gateway.finish()
}
