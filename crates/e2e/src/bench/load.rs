//! The load: datagrams of a number of flows from a packet socket, sent and counted on one core.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{FlowSink, Flows, Generator, Replies};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::figures::Samples;
use super::lane::Lane;

/// Makes a frame of 60 bytes: 64 on a wire, where a checksum of its own follows.
pub(super) const PAYLOAD: usize = 18;

/// Frames from one generator before the next has its turn.
const BATCH: u64 = 64;

/// Times that flows which have not arrived are sent again until all are established.
const TRIES_MAX: usize = 20;

/// How long flows that were sent may take to arrive.
const ARRIVAL_LIMIT: Duration = Duration::from_millis(300);

/// Many flows towards the sink of one lane.
pub(super) struct Load {
    generators: Vec<Generator>,
    families: Vec<Family>,
    next: u64,
}

/// Flows towards one port of the sink.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// The first client.
    pub(super) first: Ipv4Addr,
    /// Clients.
    pub(super) clients: u32,
    /// Ports of each client.
    pub(super) ports: u16,
    /// The sink's port.
    pub(super) target: u16,
}

/// What became of what was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    /// Packets that arrived in a second.
    pub(super) rate: f64,
    /// The share of those sent that did not arrive.
    pub(super) lost: f64,
}

impl Family {
    /// How many flows there are.
    pub(super) fn count(&self) -> u64 {
        u64::from(self.clients) * u64::from(self.ports)
    }

    fn flows(&self, lane: &Lane) -> Result<Flows> {
        Ok(self.shape(Flows::udp(self.first, self.target(lane)?)))
    }

    pub(super) fn target(&self, lane: &Lane) -> Result<SocketAddrV4> {
        Ok(SocketAddrV4::new(lane.target()?, self.target))
    }

    /// Gives flows these clients and ports.
    pub(super) fn shape(&self, flows: Flows) -> Flows {
        flows
            .sources(self.clients)
            .ports(20_000, self.ports)
            .payload(PAYLOAD)
    }
}

impl Load {
    /// Prepares a load of some families, in turn.
    pub(super) fn new(lane: &Lane, families: &[Family]) -> Result<Self> {
        let host = lane.host("generator")?;
        let generators = families
            .iter()
            .map(|family| Ok(Generator::new(host, family.flows(lane)?)?))
            .collect::<Result<_>>()?;
        Ok(Self {
            generators,
            families: families.to_vec(),
            next: 0,
        })
    }

    /// Establishes all flows and checks that each arrives, and from where the contender says.
    pub(super) fn establish(&mut self, lane: &Lane) -> Result<()> {
        if !lane.contender.delivers() {
            return Ok(());
        }
        let sink = lane.host("sink")?;
        for (generator, family) in self.generators.iter_mut().zip(&self.families) {
            let heard = FlowSink::start(sink, family.target, Replies::None)?;
            let mut missing: Vec<u64> = (0..family.count()).collect();
            for _ in 0..TRIES_MAX {
                generator.send_each(missing.iter().copied())?;
                heard.wait_for(family.count(), ARRIVAL_LIMIT);
                missing = heard.missing(0..family.count());
                if missing.is_empty() {
                    break;
                }
            }
            let contender = lane.contender.label();
            ensure!(
                missing.is_empty(),
                "{contender}: {} of {} flows do not arrive",
                missing.len(),
                family.count()
            );
            for source in heard.addresses() {
                ensure!(
                    lane.contender.sends_from(source),
                    "{contender}: packets arrive from {source}"
                );
            }
        }
        Ok(())
    }

    /// Sends for some time from one core, on which everything then happens, and counts at the end
    /// of the lane.
    pub(super) fn pass(&mut self, lane: &Lane, core: usize, window: Duration) -> Result<Passed> {
        let before = lane.arrived_in_the_end()?;
        let (sent, elapsed) = on_core(core, || self.send_for(window))?;
        let arrived = lane.arrived_in_the_end()? - before;
        Ok(Passed::new(arrived, sent, elapsed))
    }

    fn send_for(&mut self, window: Duration) -> Result<(u64, Duration)> {
        let started = Instant::now();
        let mut sent = 0;
        while started.elapsed() < window {
            for generator in &mut self.generators {
                sent += generator.send(self.next..self.next + BATCH)?.packets;
            }
            self.next += BATCH;
        }
        Ok((sent, started.elapsed()))
    }
}

impl Passed {
    /// The rates of all turns.
    pub(super) fn rates(turns: &[Self]) -> Samples {
        turns.iter().map(|it| it.rate).collect()
    }

    /// The losses of all turns, in percent.
    pub(super) fn lost_percent(turns: &[Self]) -> Samples {
        turns.iter().map(|it| 100.0 * it.lost).collect()
    }

    pub(super) fn new(arrived: u64, sent: u64, elapsed: Duration) -> Self {
        Self {
            rate: arrived as f64 / elapsed.as_secs_f64(),
            lost: 1.0 - arrived as f64 / sent.max(1) as f64,
        }
    }
}

/// Does some work on a thread that stays on one core. What its packets cause happens there too:
/// the kernel handles them in the sender's name.
pub(super) fn on_core<T: Send>(core: usize, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let pinned = scope.spawn(|| {
            stay_on(core)?;
            work()
        });
        pinned.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Keeps this thread on one core.
pub(super) fn stay_on(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores
        .set(core)
        .with_context(|| format!("there is no core {core}"))?;
    sched_setaffinity(Pid::from_raw(0), &cores)
        .with_context(|| format!("cannot stay on core {core}"))
}
