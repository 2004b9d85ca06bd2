//! What the kernel program takes for a packet, measured by the kernel.

use std::time::Duration;

use abi::{
    Config, Flow, FlowKey, Picture, Protocol, Side, Tick,
    cluster::{Holder, NOBODY},
    ports::WORDS,
};
use anyhow::{Result, ensure};
use datapath::native::Frame;

use crate::{
    rig::{
        Sketch,
        site::{INSIDE, own_mac, tuple},
        sketch::ACK,
    },
    twins::Twins,
};

/// Packets of one run. The kernel feeds a frame back in as the program left it, so its TTL counts
/// down from 255.
const REPEAT: u32 = 200;
/// Runs of which the median is shown.
const RUNS: usize = 1001;
/// New flows of which the median is shown, for each share of ports in use.
const NEW_FLOWS: u16 = 301;
/// Shares of ports in use, of a thousand, at which flows are begun.
const SHARES: [u64; 5] = [0, 500, 900, 990, 999];
/// What the hook returns for a frame that is redirected.
const REDIRECT: u32 = 4;
/// What it returns for one that is passed.
const PASS: u32 = 2;

impl Twins {
    /// Says what a packet costs.
    pub fn costs(self) -> Result<String> {
        let established = tuple(([10, 1, 0, 1], 4000), ([198, 51, 100, 1], 443));
        let mut lines = vec![format!(
            "instructions verified: {:?}",
            self.program.verified().unwrap_or_default()
        )];
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            // A flow that becomes itself: so the frame hits it again when it is fed back.
            let key = FlowKey::new(protocol, established);
            let counted_down = u16::from_ne_bytes([0xfe, 0xff]);
            let flow = Flow::new(Side::Outbound, 0, established, (counted_down, 0), Tick(1));
            let flow: Flow<Picture> = flow.picture();
            self.tables.flows.put(&key, &flow)?;
            let mut sketch = Sketch::first(protocol, established).flags(ACK).ttl(255);
            (sketch.ingress, sketch.to) = (INSIDE, own_mac(INSIDE));
            let [alone, member] = self.alone_and_in_a_cluster(&sketch.frame())?;
            let ratio = member.as_secs_f64() / alone.as_secs_f64();
            lines.push(format!(
                "{protocol:?}, established: {} ns, where a member owns it: {} ns ({ratio:.3})",
                alone.as_nanos(),
                member.as_nanos()
            ));
        }
        let mut foreign = Sketch::first(Protocol::Udp, established).frame();
        foreign.bytes[12..14].copy_from_slice(&[0x08, 0x06]);
        foreign.ingress = INSIDE;
        let cost = self.median(&foreign, PASS)?;
        lines.push(format!("ARP, passed: {} ns", cost.as_nanos()));
        Ok(format!(
            "{} (BPF_PROG_TEST_RUN, median of {RUNS} runs of {REPEAT} packets)",
            lines.join("; ")
        ))
    }

    /// Says what the first packet of a flow costs, by how many of an address's ports are in use, and
    /// whether the rest is held back.
    pub fn costs_of_beginning(self) -> Result<String> {
        let externals = self.native.gateway.numbers().externals.values();
        let udp = externals.flat_map(|it| it.bitmaps_of(Protocol::Udp));
        let bitmaps: Vec<_> = udp.collect();
        let mut lines = Vec::new();
        let mut client = 0;
        for (share, is_held) in SHARES.into_iter().flat_map(|it| [(it, false), (it, true)]) {
            let taken = taken(share);
            let mut costs = Vec::new();
            for _ in 0..NEW_FLOWS {
                for words in bitmaps
                    .iter()
                    .map(|bitmap| self.tables.ports.words(*bitmap))
                {
                    for (word, taken) in words.iter().zip(taken.iter()) {
                        word.taken.set(*taken);
                        word.held.set(if is_held { u64::MAX } else { 0 });
                    }
                }
                client += 1;
                let [high, low] = u16::to_be_bytes(client);
                let asked = tuple(([10, 1, high, low], 4000), ([198, 51, 100, 1], 443));
                let mut sketch = Sketch::first(Protocol::Udp, asked);
                (sketch.ingress, sketch.to) = (INSIDE, own_mac(INSIDE));
                let run = self.run(&sketch.frame(), 1)?;
                ensure!(
                    run.verdict == REDIRECT,
                    "the program returned {}",
                    run.verdict
                );
                costs.push(run.duration);
                // Its port is free again, so nobody may have it.
                for (key, _) in self.tables.flows.all()? {
                    self.tables.flows.remove(&key)?;
                }
                for (key, _) in self.tables.mappings.all()? {
                    self.tables.mappings.remove(&key)?;
                }
            }
            costs.sort_unstable();
            let (median, held) = (
                costs[costs.len() / 2],
                if is_held { ", the rest held" } else { "" },
            );
            let share = share as f64 / 10.0;
            lines.push(format!(
                "{share} % of ports in use{held}: {} ns",
                median.as_nanos()
            ));
        }
        Ok(lines.join("; "))
    }

    /// What a packet of a flow costs a gateway that is alone, and the member of a cluster that owns it: in turns,
    /// because what disturbs one disturbs both.
    fn alone_and_in_a_cluster(&self, frame: &Frame) -> Result<[Duration; 2]> {
        let buckets = self.tables.buckets.at(0);
        let mine = Holder {
            owner: 0,
            before: NOBODY,
        };
        let holders = buckets.holders.iter();
        holders.for_each(|holder| holder.set(mine.word()));
        let alone = **self.native.memory.config.borrow();
        let member = Config {
            members: 2,
            me: 0,
            ..alone
        };
        let mut costs = [const { Vec::new() }; 2];
        for _ in 0..RUNS {
            for (config, costs) in [alone, member].iter().zip(&mut costs) {
                self.tables.config.put(&0, config)?;
                costs.push(self.once(frame, REDIRECT)?);
            }
        }
        self.tables.config.put(&0, &alone)?;
        Ok(costs.map(median))
    }

    fn median(&self, frame: &Frame, verdict: u32) -> Result<Duration> {
        let costs = (0..RUNS).map(|_| self.once(frame, verdict));
        Ok(median(costs.collect::<Result<_>>()?))
    }

    fn once(&self, frame: &Frame, verdict: u32) -> Result<Duration> {
        let run = self.run(frame, REPEAT)?;
        ensure!(
            run.verdict == verdict,
            "the program returned {}",
            run.verdict
        );
        Ok(run.duration)
    }
}

fn median(mut costs: Vec<Duration>) -> Duration {
    costs.sort_unstable();
    costs.get(costs.len() / 2).copied().unwrap_or_default()
}

/// A bitmap in which so many of a thousand ports are taken, in no order.
fn taken(share: u64) -> Box<[u64; WORDS]> {
    let mut words = Box::new([0; WORDS]);
    let mut state = 7_u64;
    for word in words.iter_mut() {
        for bit in 0..64 {
            // Marsaglia's xorshift.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *word |= u64::from(state % 1000 < share) << bit;
        }
    }
    words
}
