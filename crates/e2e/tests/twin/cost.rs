//! What the kernel program takes for a packet, measured by the kernel.

use std::time::Duration;

use abi::{Flow, FlowKey, Picture, Protocol, Side, Tick};
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
            let cost = self.median(&sketch.frame(), REDIRECT)?;
            lines.push(format!("{protocol:?}, established: {} ns", cost.as_nanos()));
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

    fn median(&self, frame: &Frame, verdict: u32) -> Result<Duration> {
        let mut costs = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            let run = self.run(frame, REPEAT)?;
            ensure!(
                run.verdict == verdict,
                "the program returned {}",
                run.verdict
            );
            costs.push(run.duration);
        }
        costs.sort_unstable();
        Ok(costs[RUNS / 2])
    }
}
