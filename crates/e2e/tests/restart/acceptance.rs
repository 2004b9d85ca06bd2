//! The promise of the whole: thirty seconds of TCP, while the daemon is killed, started again and
//! told something else, ten times over. Nothing stalls, nothing is lost.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::http::{ByProtocol, Endpoint, Flow, FlowsQuery, Protocol};
use e2e::harness::{Gateway, wait_for};
use lab::{Direction, FlowSink, Flows, Generator, Host, Replies, Transfer};

use crate::{DB, POLICY, RATE, SOON, launched, of, started};

/// How often the daemon is killed, started and told something else.
const CYCLES: u64 = 10;

/// How long the transfers go on: three seconds for each cycle.
const SECONDS: u64 = 3 * CYCLES;

/// What a user may notice, at most.
const STALL_MAX: Duration = Duration::from_millis(200);

/// Flows that are there and silent all the time: only the tables know of them.
const SILENT: u64 = 1000;

/// The policies that take turns. Under each of them the flows that exist must go on, whether or
/// not it would have let them begin.
const TURNS: [&str; 5] = [
    "
pools:
  - {name: team-a, addresses: [192.0.2.10, 192.0.2.11]}
rules:
  - {name: renamed, sources: [10.0.0.0/8], services: [tcp], pool: team-a}
timeouts: {udp: 10m}
",
    "
pools:
  - {name: team-b, addresses: [192.0.2.12]}
  - {name: team-a, addresses: [192.0.2.11, 192.0.2.10, 192.0.2.13]}
rules:
  - {name: first, sources: [10.1.0.11], services: [tcp/9000], pool: team-b}
  - {name: out, sources: [10.1.0.0/24, 10.2.0.0/16], pool: team-a}
",
    "
pools:
  - {name: team-a, addresses: [192.0.2.13]}
rules:
  - {name: out, sources: [10.1.0.0/24, 10.2.0.0/16], pool: team-a}
",
    "
pools: []
rules: []
",
    POLICY,
];

#[test]
fn thirty_seconds_of_tcp_outlive_ten_kills_and_ten_policies() -> Result<()> {
    let (site, mut gateway) = launched("acceptance", POLICY)?;
    let (pod, clients, db) = (site.host("a1")?, site.host("a2")?, site.host("db")?);
    let sink = FlowSink::start(db, 53, Replies::None)?;
    let mut generator = silent_flows(&gateway, clients, &sink)?;
    let download = started(pod, Direction::Download)?;
    let upload = started(pod, Direction::Upload)?;
    let began = Instant::now();
    let before = Picture::take(&gateway, [&download, &upload])?;

    let mut starts = Vec::new();
    for cycle in 1..=CYCLES {
        gateway.kill()?;
        let at_the_kill = (download.bytes(), upload.bytes());
        wait_for(SOON, "packets flow without a daemon", || {
            let (down, up) = (download.bytes(), upload.bytes());
            Ok((down > at_the_kill.0 + RATE / 8 && up > at_the_kill.1 + RATE / 8).then_some(()))
        })?;

        let start = Instant::now();
        gateway.start()?;
        starts.push(start.elapsed());
        let status = gateway.status()?;
        assert!(status.adopted, "cycle {cycle}: {status:?}");

        let policy = TURNS[(cycle - 1) as usize % TURNS.len()];
        let digest = status.config.digest;
        gateway.write_policy(policy)?;
        gateway.reload()?;
        let config = gateway.status()?.config;
        assert_eq!(config.last_error, None, "cycle {cycle}");
        assert_ne!(config.digest, digest, "cycle {cycle}: nothing was reloaded");

        let now = Picture::take(&gateway, [&download, &upload])?;
        now.continues(&before)
            .with_context(|| format!("cycle {cycle}"))?;

        // The pace of the transfer is the clock.
        wait_for(4 * SOON, "three seconds' worth of bytes arrive", || {
            ensure!(
                !download.has_failed() && !upload.has_failed(),
                "a transfer broke"
            );
            Ok((download.bytes() >= cycle * 3 * RATE).then_some(()))
        })?;
    }
    let (download, upload) = (download.finish()?, upload.finish()?);

    println!(
        "{CYCLES} kills and reloads in {:?}; starting took {:?} at most",
        began.elapsed(),
        starts.iter().max().context("there were cycles")?,
    );
    for (direction, received) in [("download", &download), ("upload", &upload)] {
        println!(
            "{direction}: {} bytes in {:?}, longest stall {:?} after {} bytes",
            received.bytes, received.elapsed, received.longest_stall, received.stalled_at
        );
        assert_eq!(received.wrong_at, None, "{direction}");
        assert!(
            received.bytes >= (SECONDS - 3) * RATE,
            "{direction}: {received:?}"
        );
        assert!(
            received.longest_stall <= STALL_MAX,
            "{direction}: {received:?}"
        );
    }
    // The silent ones speak once more: still from where they spoke before.
    let heard = sink.packets();
    generator.send(0..SILENT)?;
    wait_for(SOON, "every silent flow speaks again", || {
        Ok((sink.packets() >= heard + SILENT).then_some(()))
    })?;
    assert_eq!(sink.moved().len(), 0, "flows changed their external port");
    gateway.finish()
}

/// Begins the flows that are silent afterwards.
fn silent_flows(gateway: &Gateway, clients: &Host, sink: &FlowSink) -> Result<Generator> {
    let target = std::net::SocketAddrV4::new(DB, 53);
    let flows = Flows::udp(Ipv4Addr::new(10, 2, 0, 1), target)
        .sources(50)
        .ports(20_000, 20);
    assert_eq!(flows.count(), SILENT);
    let mut generator = Generator::new(clients, flows)?;
    wait_for(SOON, "every silent flow has begun", || {
        generator.send_each(sink.missing(0..SILENT))?;
        Ok((sink.wait_for(SILENT, Duration::from_millis(200)) == SILENT).then_some(()))
    })?;
    assert_eq!(gateway.all_flows()?.total, SILENT);
    Ok(generator)
}

/// What must not change, and what must not go back.
struct Picture {
    silent: BTreeMap<(Endpoint, Endpoint), Endpoint>,
    transfers: Vec<Flow>,
    new_flows: ByProtocol<u64>,
    packets: BTreeMap<String, u64>,
    pool: (u64, u64),
    opened_metric: f64,
}

impl Picture {
    fn take(gateway: &Gateway, transfers: [&Transfer; 2]) -> Result<Self> {
        let silent = gateway.flows(&FlowsQuery {
            protocol: Some(Protocol::Udp),
            ..FlowsQuery::default()
        })?;
        let silent = silent
            .flows
            .into_iter()
            .map(|it| ((it.client, it.remote), it.external));
        let pools = gateway.pools()?.pools;
        let team_a = pools.iter().find(|pool| pool.name == "team-a");
        let team_a = team_a.with_context(|| format!("no pool team-a in {pools:#?}"))?;
        let counters = gateway.counters()?.counters;
        Ok(Self {
            silent: silent.collect(),
            transfers: transfers
                .into_iter()
                .map(|transfer| gateway.only_flow(&of(transfer)))
                .collect::<Result<_>>()?,
            new_flows: team_a.new_flows_total,
            packets: counters
                .into_iter()
                .map(|it| (it.reason, it.packets))
                .collect(),
            pool: (team_a.out.packets, team_a.inward.packets),
            opened_metric: sum_of(&gateway.metrics()?, "egret_pool_flows_opened_total{"),
        })
    }

    fn continues(&self, before: &Self) -> Result<()> {
        ensure!(
            self.silent.len() == SILENT as usize,
            "{} silent flows",
            self.silent.len()
        );
        ensure!(
            self.silent == before.silent,
            "a silent flow changed its external port"
        );
        for (now, then) in self.transfers.iter().zip(&before.transfers) {
            ensure!(now.external == then.external, "{then:?} became {now:?}");
            ensure!(
                now.age_seconds >= then.age_seconds,
                "{then:?} began anew as {now:?}"
            );
            ensure!(
                now.packets_out > then.packets_out,
                "{then:?} stands still as {now:?}"
            );
            ensure!(
                now.bytes_in > then.bytes_in,
                "{then:?} stands still as {now:?}"
            );
        }
        ensure!(
            self.new_flows == before.new_flows,
            "{:?} new flows became {:?}",
            before.new_flows,
            self.new_flows
        );
        ensure!(
            (self.opened_metric - before.opened_metric).abs() < 0.5,
            "the metric of new flows went from {} to {}",
            before.opened_metric,
            self.opened_metric
        );
        for (reason, packets) in &before.packets {
            let now = self.packets.get(reason).copied().unwrap_or(0);
            ensure!(
                now >= *packets,
                "{reason} went back from {packets} to {now}"
            );
        }
        ensure!(
            self.pool > before.pool && self.pool.1 > before.pool.1,
            "the pool's packets went from {:?} to {:?}",
            before.pool,
            self.pool
        );
        Ok(())
    }
}

/// The sum of all samples that begin so.
fn sum_of(metrics: &str, prefix: &str) -> f64 {
    let samples = metrics.lines().filter(|line| line.starts_with(prefix));
    let values = samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.sum()
}
