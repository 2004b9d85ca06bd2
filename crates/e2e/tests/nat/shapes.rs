//! Pods reach what only the external addresses may reach, in both shapes, by every protocol.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::http::{AttachMode, FlowsQuery, Protocol};
use e2e::harness::{Gateway, wait_for};
use lab::{Direction, Host, Topology, Transfer};

use crate::{A1, A2, DB, POLICY, SOON, at, count, is_external, name, of_client, site};

/// Bytes a second of a transfer: well below what the slowest machine can do.
const RATE: u64 = 8 << 20;

#[test]
fn pods_pass_a_gateway_with_two_arms() -> Result<()> {
    check(Topology::two_arm(&name("two")), &["in0", "out0"])
}

#[test]
fn pods_pass_a_gateway_with_one_arm() -> Result<()> {
    check(Topology::one_arm(&name("one")), &["eth0"])
}

/// Everything that pods do passes; the target sees the pool and nobody else.
fn check(topology: Topology, interfaces: &[&str]) -> Result<()> {
    let site = site(topology)?;
    let db = site.host("db")?;
    assert!(
        !site.host("a1")?.ping(DB)?,
        "the target lets in pods without any gateway"
    );
    let refused = db.admissions()?.refused;

    let gateway = Gateway::launch(site.host("gw")?, POLICY)?;

    check_native(&gateway, interfaces)?;
    for (name, address) in [("a1", A1), ("a2", A2)] {
        check_pod(&gateway, site.host(name)?, address)?;
    }
    for direction in [Direction::Download, Direction::Upload] {
        check_transfer(site.host("a1")?, direction)?;
    }
    assert_eq!(
        db.admissions()?.refused,
        refused,
        "something reached the target untranslated"
    );
    let (out, back) = (
        count(&gateway, "translated_out")?,
        count(&gateway, "translated_in")?,
    );
    println!("{out} packets were translated on their way out, {back} on their way back");
    assert!(out > 1000 && back > 1000, "{out} out, {back} back");
    gateway.finish()
}

/// The program hangs on every interface in the driver, and the kernel agrees.
fn check_native(gateway: &Gateway, interfaces: &[&str]) -> Result<()> {
    let status = gateway.status()?;
    let shown: Vec<&str> = status
        .interfaces
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(shown, interfaces);
    for interface in &status.interfaces {
        assert!(interface.attached && interface.pinned, "{interface:?}");
        assert_eq!(interface.mode, Some(AttachMode::Native), "{interface:?}");
        let link = gateway
            .host()
            .ip(&format!("-details link show dev {}", interface.name))?;
        assert!(
            link.contains(" xdp ") && !link.contains("xdpgeneric"),
            "{link}"
        );
    }
    Ok(())
}

/// One pod, by every protocol, from the very first packet on, always from the same address.
fn check_pod(gateway: &Gateway, pod: &Host, address: Ipv4Addr) -> Result<()> {
    let began = Instant::now();
    ensure!(pod.ping(DB)?, "{}'s first ping is not answered", pod.name());
    let first_ping = began.elapsed();

    let mut externals = Vec::new();
    for _ in 0..4 {
        let began = Instant::now();
        let seen: SocketAddr = pod.curl(&format!("http://{DB}/"))?.trim().parse()?;
        let took = began.elapsed();
        // A lost SYN is sent again after a second.
        assert!(took < Duration::from_secs(1), "curl took {took:?}");
        externals.push(seen.ip());
        let answer = pod.ask(at(DB, 53), b"who am I?")?;
        assert_eq!(answer.payload, b"who am I?");
        externals.push((*answer.seen.ip()).into());
    }
    let pings = FlowsQuery {
        protocol: Some(Protocol::Icmp),
        ..of_client(address)
    };
    let ping = gateway.only_flow(&pings)?;
    assert_eq!((ping.packets_out, ping.packets_in), (1, 1), "{ping:?}");
    externals.push(ping.external.address.into());
    externals.dedup();

    println!(
        "{} is seen as {externals:?}; its first ping took {first_ping:?}",
        pod.name()
    );
    assert_eq!(externals.len(), 1, "one client has one address");
    assert!(is_external(ping.external.address), "{externals:?}");
    assert_eq!(resent(pod)?, 0, "{} had to send segments again", pod.name());
    Ok(())
}

/// A transfer arrives as it was sent, and its flow ends as TCP does.
fn check_transfer(pod: &Host, direction: Direction) -> Result<()> {
    let transfer = Transfer::start(pod, at(DB, 9000), direction, Some(RATE))?;
    wait_for(SOON, "8 MiB arrive", || {
        Ok((transfer.bytes() > 8 << 20).then_some(()))
    })?;

    let received = transfer.finish()?;

    println!(
        "{direction:?}: {} bytes in {:?}, longest stall {:?}",
        received.bytes, received.elapsed, received.longest_stall
    );
    assert!(received.bytes >= 8 << 20);
    assert_eq!(received.wrong_at, None);
    Ok(())
}

/// How many TCP segments a host's kernel had to send a second time.
fn resent(host: &Host) -> Result<u64> {
    let path = "/proc/thread-self/net/snmp";
    let table = host.enter(|| std::fs::read_to_string(path))??;
    let mut rows = table.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = rows.next().zip(rows.next()).context("two rows of TCP")?;
    let mut columns = names.split(' ').zip(values.split(' '));
    let (_, value) = columns
        .find(|(name, _)| *name == "RetransSegs")
        .context("a column RetransSegs")?;
    Ok(value.parse()?)
}
