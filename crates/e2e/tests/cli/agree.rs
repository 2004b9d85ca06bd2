//! Numbers: what was sent is what every view of the gateway says.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::http::{Counters, Flows as Listed, FlowsQuery, Pools, Protocol};
use e2e::harness::{Gateway, wait_for};
use lab::{FlowSink, Flows, Generator, Replies};

use crate::{DB, launched};

/// Flows that are sent several packets each, all alike.
const FLOWS: u64 = 100;
const ROUNDS: u64 = 7;

/// Bytes of such a frame: Ethernet, IP, UDP, payload.
const FRAME: u64 = 14 + 20 + 8 + 100;

const SOON: Duration = Duration::from_secs(10);

#[test]
fn counters_metrics_pools_and_flows_agree_with_what_was_sent() -> Result<()> {
    let (site, gateway) = launched("agree")?;
    let sink = FlowSink::start(site.host("db")?, 7, Replies::Echo)?;
    let target = std::net::SocketAddrV4::new(DB, 7);
    let flows = Flows::udp(Ipv4Addr::new(10, 2, 0, 1), target)
        .sources(10)
        .ports(3000, 10);
    let flows = flows.payload(100);
    assert_eq!(flows.count(), FLOWS);
    // The pods' kernel has no socket for these: it would answer each echo with an error.
    site.host("a2")?.nft(
        "table ip quiet { chain input { type filter hook input priority 0; \
         ip daddr 10.2.0.0/16 drop; }; }",
    )?;
    let mut generator = Generator::new(site.host("a2")?, flows)?;
    // The first packets of all may leave by the kernel; they are not counted here.
    generator.send(0..FLOWS)?;
    settled(&gateway, &sink, FLOWS)?;
    let before = Totals::read(&gateway)?;

    for round in 2..=ROUNDS + 1 {
        generator.send(0..FLOWS)?;
        settled(&gateway, &sink, round * FLOWS)?;
    }

    let after = Totals::read(&gateway)?;
    let sent = ROUNDS * FLOWS;
    println!("{sent} datagrams of {FRAME} bytes were sent, and as many came back");
    let wanted = (sent, sent * FRAME);
    assert_eq!(
        after.since(&before, |it| it.exits["translated_out"]),
        wanted
    );
    assert_eq!(after.since(&before, |it| it.exits["translated_in"]), wanted);
    assert_eq!(after.since(&before, |it| it.metrics_out), wanted);
    assert_eq!(after.since(&before, |it| it.metrics_in), wanted);
    assert_eq!(after.since(&before, |it| it.pool_out), wanted);
    assert_eq!(after.since(&before, |it| it.pool_in), wanted);
    assert_eq!(after.since(&before, |it| it.flows_out), wanted);
    assert_eq!(after.since(&before, |it| it.flows_in), wanted);
    assert_eq!(after.opened, (FLOWS, FLOWS));
    for (reason, value) in &after.exits {
        let is_ours = reason.starts_with("translated");
        let may_be = is_ours || ["not_ip", "not_for_us"].contains(&reason.as_str());
        ensure!(
            may_be || *value == before.exits[reason],
            "{reason} went to {value:?}"
        );
    }
    gateway.finish()
}

/// Waits until everything that was sent has come back.
fn settled(gateway: &Gateway, sink: &FlowSink, sent: u64) -> Result<()> {
    wait_for(SOON, "everything is echoed", || {
        let back: u64 = gateway
            .all_flows()?
            .flows
            .iter()
            .map(|flow| flow.packets_in)
            .sum();
        Ok((sink.packets() >= sent && back >= sent).then_some(()))
    })
}

/// Packets and bytes, as each view has them.
type Sum = (u64, u64);

struct Totals {
    exits: BTreeMap<String, Sum>,
    metrics_out: Sum,
    metrics_in: Sum,
    pool_out: Sum,
    pool_in: Sum,
    flows_out: Sum,
    flows_in: Sum,
    /// Flows begun: as the pool has it, and as the metric has it.
    opened: Sum,
}

impl Totals {
    fn read(gateway: &Gateway) -> Result<Self> {
        let counters: Counters = gateway.egret_json(&["counters"])?;
        let exits = counters.counters.into_iter();
        let pools: Pools = gateway.egret_json(&["pools"])?;
        let pool = pools.pools.first().context("a pool")?;
        let listed: Listed = gateway.flows(&FlowsQuery {
            protocol: Some(Protocol::Udp),
            ..FlowsQuery::default()
        })?;
        let page = Page::of(&gateway.egret(&["metrics"])?)?;
        let traffic = |direction: &str| {
            let labels = [("pool", "team-a"), ("direction", direction)];
            Ok::<Sum, anyhow::Error>((
                page.value("egret_pool_packets_total", &labels)?,
                page.value("egret_pool_bytes_total", &labels)?,
            ))
        };
        let exits: BTreeMap<String, Sum> = exits
            .map(|it| (it.reason, (it.packets, it.bytes)))
            .collect();
        for (reason, value) in &exits {
            let labels = [("reason", reason.as_str())];
            let shown = (
                page.value("egret_exit_packets_total", &labels)?,
                page.value("egret_exit_bytes_total", &labels)?,
            );
            // ARP comes when it likes, between the one reading and the other.
            ensure!(
                shown == *value || reason == "not_ip",
                "{reason}: {value:?} is {shown:?}"
            );
        }
        let udp = [("pool", "team-a"), ("protocol", "udp")];
        Ok(Self {
            exits,
            metrics_out: traffic("out")?,
            metrics_in: traffic("in")?,
            pool_out: (pool.out.packets, pool.out.bytes),
            pool_in: (pool.inward.packets, pool.inward.bytes),
            flows_out: listed.flows.iter().fold((0, 0), |(packets, bytes), flow| {
                (packets + flow.packets_out, bytes + flow.bytes_out)
            }),
            flows_in: listed.flows.iter().fold((0, 0), |(packets, bytes), flow| {
                (packets + flow.packets_in, bytes + flow.bytes_in)
            }),
            opened: (
                pool.new_flows_total.udp,
                page.value("egret_pool_flows_opened_total", &udp)?,
            ),
        })
    }

    fn since(&self, before: &Self, of: impl Fn(&Self) -> Sum) -> Sum {
        let (now, then) = (of(self), of(before));
        (now.0 - then.0, now.1 - then.1)
    }
}

/// A page of metrics, taken apart by its grammar
/// (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
struct Page {
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Page {
    fn of(text: &str) -> Result<Self> {
        ensure!(text.ends_with('\n'), "the last line has no end");
        let mut types = BTreeMap::new();
        let mut samples = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').context(line.to_owned())?;
                ensure!(["counter", "gauge"].contains(&kind), "{line}");
                ensure!(
                    types.insert(name.to_owned(), kind.to_owned()).is_none(),
                    "twice: {line}"
                );
            } else if !line.starts_with("# HELP ") {
                let sample = sample(line).with_context(|| format!("no sample: {line}"))?;
                ensure!(types.contains_key(&sample.0), "no type for {line}");
                samples.push(sample);
            }
        }
        Ok(Self { samples })
    }

    /// The one sample that has these labels, and perhaps others.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Result<u64> {
        let matches = self.samples.iter().filter(|(found, its, _)| {
            let has = |(label, value): &(&str, &str)| its.get(*label).is_some_and(|it| it == value);
            found == name && labels.iter().all(has)
        });
        match matches.collect::<Vec<_>>().as_slice() {
            [(_, _, value)] => Ok(*value as u64),
            several => anyhow::bail!("{} samples are {name} {labels:?}", several.len()),
        }
    }
}

/// `name{label="value",…} number`; none of our values needs a backslash.
fn sample(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let labels = labels.split_terminator("\",").map(|label| {
        let (label, value) = label.split_once("=\"")?;
        Some((label.to_owned(), value.trim_end_matches('"').to_owned()))
    });
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let is_sound = !name.is_empty() && name.chars().all(is_name);
    is_sound.then_some((
        name.to_owned(),
        labels.collect::<Option<_>>()?,
        value.parse().ok()?,
    ))
}
