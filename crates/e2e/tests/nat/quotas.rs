//! A client at its quota, with the kernel's own TCP at both ends: it hears of it at once, and nobody
//! else notices.

use std::io::ErrorKind;
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use e2e::harness::{Gateway, wait_for};
use lab::{Host, Topology};

use crate::{DB, count, name, site};

/// How long a client would wait for an answer that does not come: far longer than one that is told.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a client that is told takes at most, on a machine that does other things too.
const AT_ONCE: Duration = Duration::from_secs(5);

fn policy(refusal: &str) -> String {
    format!(
        "
pools:
  - {{name: team-a, addresses: [192.0.2.10, 192.0.2.11], refusal: {refusal}}}
rules:
  - name: few
    sources: [10.1.0.0/24]
    destinations: [198.51.100.0/24]
    pool: team-a
    quota: {{client: {{flows: 3, ports: 3}}}}
"
    )
}

/// Connects from a pod, or says how that failed and how long it took.
fn connect(pod: &Host) -> Result<Result<TcpStream, (ErrorKind, Duration)>> {
    let target = SocketAddr::V4(SocketAddrV4::new(DB, 9000));
    let began = Instant::now();
    let connected = pod.enter(|| TcpStream::connect_timeout(&target, PATIENCE))?;
    Ok(connected.map_err(|error| (error.kind(), began.elapsed())))
}

/// Connects as often as its quota allows, and once more; returns the connections, and how the last
/// one failed.
fn fill(pod: &Host) -> Result<(Vec<TcpStream>, ErrorKind)> {
    let mut open = Vec::new();
    for _ in 0..3 {
        match connect(pod)? {
            Ok(stream) => open.push(stream),
            Err((kind, _)) => bail!("connection {}: {kind}", open.len()),
        }
    }
    let Err((kind, took)) = connect(pod)? else {
        bail!("a client got more than its quota");
    };
    println!("the fourth connection fails with {kind} after {took:?}");
    assert!(took < AT_ONCE, "it was not told");
    Ok((open, kind))
}

#[test]
fn a_client_at_its_quota_is_told_at_once_and_others_do_not_notice() -> Result<()> {
    for (refusal, told) in [
        ("icmp", ErrorKind::HostUnreachable),
        ("reset", ErrorKind::ConnectionRefused),
    ] {
        let site = site(Topology::two_arm(&name(&format!("quota-{refusal}"))))?;
        let gateway = Gateway::launch(site.host("gw")?, &policy(refusal))?;
        let (first, second) = (site.host("a1")?, site.host("a2")?);

        let (open, kind) = fill(first)?;
        assert_eq!(kind, told);
        let (others, kind) = fill(second)?;
        assert_eq!(kind, told);

        assert!(count(&gateway, "quota_flows")? >= 2);
        let how = format!("egret_refusals_told_packets_total{{how=\"{refusal}\"}}");
        assert!(gateway.metric(&how)? >= 2.0);
        assert!(gateway.metric("egret_rule_refused_packets_total{rule=\"few\"}")? >= 2.0);
        wait_for(PATIENCE, "the metrics count the flows", || {
            let flows = gateway.metric("egret_rule_flows{rule=\"few\"}")?;
            Ok((flows == 6.0).then_some(()))
        })?;
        wait_for(PATIENCE, "the log names both clients", || {
            let log = gateway.log();
            let is_named = |client: &str| {
                let mut lines = log.lines();
                lines.any(|line| line.contains("quota") && line.contains(client))
            };
            Ok((is_named("10.1.0.11") && is_named("10.1.0.12")).then_some(()))
        })?;
        for stream in open.iter().chain(&others) {
            let error = stream.take_error().context("asking a connection")?;
            assert!(error.is_none(), "what was open stays open");
        }
        let flow = gateway.all_flows()?.flows.pop().context("there are six")?;
        assert_eq!(flow.rule.as_deref(), Some("few"));
        gateway.finish()?;
    }
    Ok(())
}

/// The daemon is killed and its successor counts on from what it finds.
#[test]
fn a_quota_holds_over_a_restart_and_frees_with_the_flows() -> Result<()> {
    let site = site(Topology::two_arm(&name("quota-restart")))?;
    let policy =
        policy("reset") + "timeouts: {tcp_established: 3s, tcp_opening: 2s, tcp_closing: 2s}\n";
    let mut gateway = Gateway::launch(site.host("gw")?, &policy)?;
    let pod = site.host("a1")?;
    let (open, _) = fill(pod)?;

    gateway.kill()?;
    gateway.start()?;
    assert!(connect(pod)?.is_err(), "the quota is as it was");
    drop(open);

    let (_open, waited) = wait_for(PATIENCE, "the flows end and make room", || {
        let began = Instant::now();
        Ok(connect(pod)?.ok().map(|stream| (stream, began.elapsed())))
    })?;
    println!("connected again, in {waited:?}");
    gateway.finish()
}
