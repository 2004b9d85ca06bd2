//! Two hundred thousand flows at once over four external addresses: begun as fast as the machine
//! can, all of them listed, all of them gone after their timeout, every port free again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::http::{Endpoint, Flows as Listed, Pools, Protocol};
use e2e::harness::{Gateway, wait_for};
use lab::{FlowSink, Flows, Generator, Replies, Site, Target, Topology};

const FLOWS: u64 = 200_000;

/// The clients: many addresses with some ports each, as a large cluster has them.
const CLIENTS: u32 = 4_000;

const EXTERNAL: [&str; 4] = ["192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.13"];

const DB: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 11), 53);

/// Ports of an address that are given out, those below 1024 left out.
const PORTS: u32 = 64_512;

/// How long everything may take that depends on how fast the machine is.
const LONG: Duration = Duration::from_secs(60);

fn policy(udp: &str) -> String {
    format!(
        "
pools:
  - {{name: all, addresses: [{}]}}
rules:
  - {{name: out, sources: [10.0.0.0/8], destinations: [198.51.100.0/24], pool: all}}
timeouts: {{udp: {udp}}}
",
        EXTERNAL.join(", ")
    )
}

#[test]
fn two_hundred_thousand_flows_come_are_listed_and_go() -> Result<()> {
    let site = Topology::two_arm(&format!("scale-{}", std::process::id()))
        .pods("10.1.0.0/24", ["a1"])
        .clients("a1", "10.2.0.0/16")
        .gateway("gw")
        .target(Target::guarded("db"))
        .external(EXTERNAL)
        .build()?;
    let gateway = Gateway::launch(site.host("gw")?, &policy("10m"))?;
    let sink = FlowSink::start(site.host("db")?, DB.port(), Replies::None)?;

    let took = begin(&site, &sink)?;
    println!(
        "{FLOWS} flows began in {took:?}: {:.0} a second, each seen at the target",
        FLOWS as f64 / took.as_secs_f64()
    );
    let listed = list(&gateway)?;
    check_listed(&listed, &sink)?;
    check_pools(&gateway, &listed)?;
    check_swept(&gateway)?;

    // From now on they have been silent for longer than they may, each and every one.
    gateway.apply(&policy("2s"))?;
    check_gone(&gateway)?;
    println!(
        "the daemon used {} MiB of memory at most",
        peak_memory(gateway.status()?.pid)? >> 10
    );
    gateway.finish()
}

/// Begins all flows; what a full queue of the lab has lost is sent again, as a client would.
fn begin(site: &Site, sink: &FlowSink) -> Result<Duration> {
    let flows = Flows::udp(Ipv4Addr::new(10, 2, 0, 1), DB);
    let flows = flows
        .sources(CLIENTS)
        .ports(10_000, (FLOWS / u64::from(CLIENTS)) as u16);
    assert_eq!(flows.count(), FLOWS);
    let mut generator = Generator::new(site.host("a1")?, flows)?;

    let began = Instant::now();
    let sent = generator.send(0..FLOWS)?;
    println!("{} datagrams were sent in {:?}", sent.packets, sent.elapsed);
    let mut again = 0;
    wait_for(LONG, "every flow arrives", || {
        if sink.wait_for(FLOWS, Duration::from_millis(500)) == FLOWS {
            return Ok(Some(()));
        }
        again += generator.send_each(sink.missing(0..FLOWS))?.packets;
        Ok(None)
    })?;
    println!("{again} of them had to be sent again");
    Ok(began.elapsed())
}

/// `egret flows --json`, as an operator's script reads it.
fn list(gateway: &Gateway) -> Result<Listed> {
    let began = Instant::now();
    let text = gateway.egret(&["--json", "flows"])?;
    let took = began.elapsed();
    println!(
        "`egret flows --json` printed {} MiB in {took:?}",
        text.len() >> 20
    );
    serde_json::from_str(&text).context("`egret flows --json` printed no such JSON")
}

/// Each flow once, each with a port of its own, each client with one address.
fn check_listed(listed: &Listed, sink: &FlowSink) -> Result<()> {
    assert_eq!(
        (listed.matched, listed.total, listed.truncated),
        (FLOWS, FLOWS, false)
    );
    assert_eq!(listed.flows.len() as u64, FLOWS);
    let mut clients = HashSet::new();
    let mut externals = HashSet::new();
    let mut address_of: BTreeMap<IpAddr, BTreeSet<IpAddr>> = BTreeMap::new();
    for flow in &listed.flows {
        ensure!(flow.protocol == Protocol::Udp, "{flow:?}");
        ensure!(flow.remote.address == IpAddr::V4(*DB.ip()), "{flow:?}");
        ensure!(flow.packets_out >= 1 && flow.packets_in == 0, "{flow:?}");
        ensure!(clients.insert(flow.client), "{flow:?} is listed twice");
        ensure!(
            externals.insert(flow.external),
            "two flows have {}",
            flow.external
        );
        let addresses = address_of.entry(flow.client.address).or_default();
        addresses.insert(flow.external.address);
    }
    assert_eq!(address_of.len() as u32, CLIENTS);
    let several = address_of.values().filter(|it| it.len() > 1).count();
    assert_eq!(several, 0, "clients with more than one address");

    // The target has seen exactly what is listed.
    assert_eq!(sink.externals(), FLOWS);
    assert_eq!(sink.moved().len(), 0);
    for number in (0..FLOWS).step_by(997) {
        let seen = sink.external_of(number).context("every flow arrived")?;
        let seen = Endpoint {
            address: IpAddr::V4(*seen.ip()),
            port: seen.port(),
        };
        ensure!(externals.contains(&seen), "{seen} is not listed");
    }
    Ok(())
}

/// `egret pools`: as many ports are used as there are flows, by address and in all.
fn check_pools(gateway: &Gateway, listed: &Listed) -> Result<()> {
    let mut flows_of: BTreeMap<IpAddr, u32> = BTreeMap::new();
    for flow in &listed.flows {
        *flows_of.entry(flow.external.address).or_default() += 1;
    }
    let pools: Pools = gateway.egret_json(&["pools"])?;
    let addresses = pools.pools.iter().flat_map(|pool| &pool.addresses);
    let mut used = 0;
    for address in addresses {
        println!("{}: {:?}", address.address, address.udp);
        assert_eq!(
            address.udp.used + address.udp.free,
            PORTS,
            "{}",
            address.address
        );
        assert_eq!(
            Some(&address.udp.used),
            flows_of.get(&address.address),
            "{}",
            address.address
        );
        assert_eq!((address.tcp.used, address.icmp.used), (0, 0));
        used += u64::from(address.udp.used);
    }
    assert_eq!(used, FLOWS);
    assert_eq!(pools.pools[0].new_flows_total.udp, FLOWS);
    Ok(())
}

/// The sweep comes to the same number, and says what it took.
fn check_swept(gateway: &Gateway) -> Result<()> {
    let passes = gateway.status()?.sweep.passes_total;
    let status = wait_for(LONG, "one more whole sweep", || {
        let status = gateway.status()?;
        Ok((status.sweep.passes_total >= passes + 2).then_some(status))
    })?;
    println!(
        "a sweep of the full table took {:.0} ms",
        status.sweep.last_duration_seconds.unwrap_or_default() * 1000.0
    );
    assert_eq!(status.flows.active, FLOWS);
    assert_eq!(status.flows.by_protocol.udp, FLOWS);
    assert_eq!(status.sweep.expired_total, 0);
    Ok(())
}

/// All flows go, then all ports are free; what that took is counted from the moment they were due.
fn check_gone(gateway: &Gateway) -> Result<()> {
    let due = Instant::now();
    wait_for(LONG, "every flow is gone", || {
        Ok((gateway.status()?.flows.active == 0).then_some(()))
    })?;
    let flows_gone = due.elapsed();
    assert_eq!(gateway.count_flows()?, 0);
    wait_for(LONG, "every port is free", || {
        let pools: Pools = gateway.egret_json(&["pools"])?;
        let mut addresses = pools.pools.iter().flat_map(|pool| &pool.addresses);
        Ok(addresses
            .all(|it| (it.udp.used, it.udp.free) == (0, PORTS))
            .then_some(()))
    })?;
    println!(
        "all flows were gone {flows_gone:?} after they were due, all ports free after {:?}",
        due.elapsed()
    );
    let status = gateway.status()?;
    assert_eq!(status.sweep.expired_total, FLOWS);
    let expired =
        gateway.metric("egret_pool_flows_expired_total{pool=\"all\",protocol=\"udp\"}")?;
    assert_eq!(expired as u64, FLOWS);
    Ok(())
}

/// The most memory a process has had, in KiB.
fn peak_memory(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .context("VmHWM")?;
    Ok(kibibytes.trim().parse()?)
}
