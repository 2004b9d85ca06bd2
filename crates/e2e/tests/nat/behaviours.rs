//! Hairpinning, filtering and ICMP errors between the kernel's own sockets.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::process::Command;

use anyhow::{Context, Result, bail};
use e2e::harness::Gateway;
use lab::{Host, Site, Topology};

use crate::{A1, A2, API, DB, SOON, at, count, ip4, is_external, name, of_client, site};

/// Everything of the pods leaves from the pool, what they say to each other's external ports too.
const EVERYWHERE: &str = "
pools:
  - {name: team-a, addresses: [192.0.2.10, 192.0.2.11]}
rules:
  - {name: out, sources: [10.1.0.0/24], pool: team-a}
";

/// A pod's socket.
struct Socket(UdpSocket);

impl Socket {
    fn bind(host: &Host) -> Result<Self> {
        let socket = host.enter(|| UdpSocket::bind("0.0.0.0:0"))??;
        socket.set_read_timeout(Some(SOON))?;
        Ok(Self(socket))
    }

    fn send(&self, to: SocketAddrV4, said: &[u8]) -> Result<()> {
        self.0.send_to(said, to)?;
        Ok(())
    }

    /// What is heard next, and from whom.
    fn hear(&self) -> Result<(Vec<u8>, SocketAddrV4)> {
        let mut heard = [0; 512];
        let (length, from) = self.0.recv_from(&mut heard)?;
        let SocketAddr::V4(from) = from else {
            bail!("heard from {from}")
        };
        Ok((heard.get(..length).unwrap_or(&[]).to_vec(), from))
    }
}

fn two_arm(test: &str) -> Result<(Site, Gateway)> {
    let site = site(Topology::two_arm(&name(test)))?;
    let gateway = Gateway::launch(site.host("gw")?, EVERYWHERE)?;
    Ok((site, gateway))
}

/// The external endpoint of a client's only flow.
fn external(gateway: &Gateway, client: Ipv4Addr) -> Result<SocketAddrV4> {
    let external = gateway.only_flow(&of_client(client))?.external;
    Ok(ip4(external))
}

/// RFC 4787 REQ-9, and the filter in its way: each lets in whom it has sent to.
#[test]
fn two_pods_talk_by_their_external_endpoints() -> Result<()> {
    let (site, gateway) = two_arm("hairpin")?;
    let (one, other) = (
        Socket::bind(site.host("a1")?)?,
        Socket::bind(site.host("a2")?)?,
    );
    for socket in [&one, &other] {
        socket.send(at(API, 53), b"?")?;
        socket.hear()?;
    }
    let (first, second) = (external(&gateway, A1)?, external(&gateway, A2)?);

    other.send(first, b"may I?")?;
    one.send(second, b"hello")?;
    let heard = other.hear()?;
    other.send(first, b"and you")?;
    let answered = one.hear()?;

    assert_eq!(heard, (b"hello".to_vec(), first));
    assert_eq!(answered, (b"and you".to_vec(), second));
    assert_eq!(count(&gateway, "filtered")?, 1, "who asked before");
    gateway.finish()
}

/// A socket learns at once that nobody listens where it sends to.
#[test]
fn a_closed_port_is_reported_to_the_pod_that_sent_there() -> Result<()> {
    let (site, gateway) = two_arm("closed")?;
    let socket = Socket::bind(site.host("a1")?)?.0;
    socket.connect(at(API, 9999))?;

    socket.send(b"anybody?")?;
    let error = socket.recv(&mut [0; 16]).err();
    let error = error.context("nobody listens there")?;

    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(count(&gateway, "icmp_error_translated")?, 1);
    gateway.finish()
}

/// The same the other way: a remote learns that a pod's socket is gone, from the external address.
#[test]
fn a_socket_that_is_gone_is_reported_to_the_remote() -> Result<()> {
    let (site, gateway) = two_arm("gone")?;
    let remote = Socket::bind(site.host("api")?)?.0;
    let port = remote.local_addr()?.port();
    let pod = Socket::bind(site.host("a1")?)?;
    pod.send(at(API, port), b"hello")?;
    let (_, from) = remote.recv_from(&mut [0; 16])?;
    assert!(matches!(from, SocketAddr::V4(from) if is_external(*from.ip())));
    drop(pod);

    remote.connect(from)?;
    remote.send(b"are you there?")?;
    let error = remote.recv(&mut [0; 16]).err();

    let error = error.context("nobody is there")?;
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    gateway.finish()
}

/// Each hop says that it is one, also those behind the gateway.
#[test]
fn a_pod_sees_every_hop_of_its_way() -> Result<()> {
    let (site, gateway) = two_arm("hops")?;
    let mut hops = Vec::new();
    for ttl in 1..=8 {
        let mut ping = Command::new("ping");
        ping.args([
            "-n",
            "-c",
            "1",
            "-W",
            "2",
            "-t",
            &ttl.to_string(),
            &DB.to_string(),
        ]);
        let output = site.host("a1")?.run(ping)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("ttl {ttl}: {}", said.lines().nth(1).unwrap_or(""));
        if output.status.success() {
            break;
        }
        let hop = said
            .lines()
            .find_map(|line| line.strip_prefix("From ")?.split([' ', ':']).next())
            .with_context(|| format!("hop {ttl} says nothing: {said}"))?;
        hops.push(hop.to_owned());
    }

    assert!(
        hops.len() >= 3,
        "the router inside, the gateway, the router outside: {hops:?}"
    );
    assert!(count(&gateway, "icmp_error_translated")? >= 1);
    assert_eq!(count(&gateway, "time_exceeded_sent")?, 1);
    gateway.finish()
}
