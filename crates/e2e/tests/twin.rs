//! Twins: the kernel's program and the native build take the same frames and agree, in verdict, in
//! every byte, in every counter, and in the tables they leave behind.
//!
//! The kernel's twin stands in a network namespace whose routes and neighbours answer as the native
//! one's function does. What may differ is time, and the kernel's numbers for interfaces.

#[path = "../../datapath/tests/rig/mod.rs"]
#[expect(dead_code, reason = "the rig has more than twins need")]
mod rig;

use std::collections::BTreeMap;

use abi::{Counter, FlowKey, Picture, Protocol, Reason, ports::BITMAPS};
use anyhow::{Context, Result, ensure};
use aya::programs::{TestRun, TestRunOptions};
use datapath::{Exit, native::Frame};
use kernel::{Program, State, Tables};
use lab::{Plan, Role};
use nix::net::if_::if_nametoindex;
use rig::{
    Site, Sketch,
    site::{ARM, INSIDE, NARROW_MTU, OUTSIDE, UNLISTED, own_mac, peer_mac, tuple, usual},
    sketch::{ACK, FIN, RST, SYN, read},
};

/// Frames that both twins take.
const FRAMES: u32 = 60_000;
/// Flows that fit; more are asked for, so that full tables are met too.
const FLOWS: usize = 2048;
/// Frames after which counters are compared, so that a difference is found near its cause.
const COUNTERS_EVERY: u32 = 2_000;
/// The kernel's smallest frame for a test run.
const FRAME_MIN: usize = 14;

const INTERFACES: [(u32, &str); 4] = [
    (INSIDE, "inside"),
    (OUTSIDE, "outside"),
    (ARM, "arm"),
    (UNLISTED, "unlisted"),
];

#[test]
fn the_kernel_program_and_the_native_build_agree() {
    let agreed = play("twin", |seed| seed).expect("the twins agree");

    println!(
        "twin: {FRAMES} frames agree, {} flows, {} reasons",
        agreed.flows, agreed.reasons
    );
    assert!(agreed.flows > 500, "only {} flows", agreed.flows);
    assert!(
        agreed.reasons > 25,
        "only {} reasons to leave were met",
        agreed.reasons
    );
}

#[test]
fn a_difference_between_the_twins_is_found() {
    let error = match play("twin-other", |seed| seed ^ 1) {
        Ok(_) => panic!("another seed gives other ports"),
        Err(error) => format!("{error:#}"),
    };

    assert!(error.contains("bytes differ"), "{error}");
}

#[derive(Clone, Copy)]
struct Agreed {
    flows: usize,
    reasons: usize,
}

/// Builds the namespace and lets both twins take all frames; `seed` spoils the kernel's.
fn play(site: &str, seed: fn(u64) -> u64) -> Result<Agreed> {
    let site = plan(site).build()?;
    let host = site.host("gw")?;
    // No address of the loopback range: the native routes know none.
    host.ip("addr flush dev lo")?;
    let state = host.bpffs().context("a gateway has a bpffs")?.join("egret");
    let agreed = host.enter(|| Twins::new(&state, seed)?.agree())?;
    State::remove(&host.bpffs().context("a gateway has a bpffs")?.join("egret"))?;
    agreed
}

/// Routes and neighbours that answer as `rig::site::route` does.
fn plan(name: &str) -> Plan {
    let mut plan = Plan::new(name);
    for (_, interface) in INTERFACES {
        plan.link(("gw", interface), ("peer", interface));
    }
    let gw = plan.host("gw").role(Role::Gateway);
    for (index, interface) in INTERFACES {
        let (own, peer) = (mac(own_mac(index)), mac(peer_mac(index)));
        gw.ip(&format!("link set {interface} address {own}"));
        gw.ip(&format!(
            "neigh replace 169.254.{index}.1 lladdr {peer} dev {interface} nud permanent"
        ));
    }
    for (index, interface) in &INTERFACES[..3] {
        gw.ip(&format!("addr add 10.255.255.{index}/32 dev {interface}"));
    }
    gw.ip("addr add 192.0.2.1/32 dev arm");
    let via = |prefix: &str, index: u32, more: &str| {
        let interface = INTERFACES[index as usize - 1].1;
        format!("route add {prefix} via 169.254.{index}.1 dev {interface} onlink {more}")
    };
    gw.ip(&via("10.0.0.0/8", INSIDE, ""));
    gw.ip(&via("172.16.0.0/12", INSIDE, ""));
    gw.ip(&via(
        "203.0.113.0/24",
        OUTSIDE,
        &format!("mtu lock {NARROW_MTU}"),
    ));
    gw.ip("route add 198.18.0.0/24 via 169.254.2.99 dev outside onlink");
    gw.ip("route add unreachable 198.18.1.0/24");
    gw.ip(&via("198.18.2.0/24", ARM, ""));
    gw.ip(&via("198.18.3.0/24", UNLISTED, ""));
    gw.ip(&via("default", OUTSIDE, ""));
    plan
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

struct Twins {
    native: Site,
    program: Program,
    tables: Tables,
    /// The kernel's number of each interface of ours.
    numbers: BTreeMap<u32, u32>,
}

impl Twins {
    /// Loads the program and fills its tables from the native twin's.
    fn new(state: &std::path::Path, seed: fn(u64) -> u64) -> Result<Self> {
        let native = Site::new(usual(), FLOWS);
        let loaded = Program::load(&State::open(state)?, FLOWS as u32)?;
        println!(
            "twin: {:?} instructions verified",
            loaded.program.verified_instructions()
        );
        let mut numbers = BTreeMap::new();
        for (index, interface) in INTERFACES {
            numbers.insert(index, if_nametoindex(interface)?);
        }
        let twins = Self {
            native,
            program: loaded.program,
            tables: loaded.tables,
            numbers,
        };
        twins.fill(seed)?;
        Ok(twins)
    }

    fn fill(&self, seed: fn(u64) -> u64) -> Result<()> {
        let (memory, tables) = (&self.native.memory, &self.tables);
        let mut config = **memory.config.borrow();
        config.seed = seed(config.seed);
        tables.config.put(&0, &config)?;
        for (key, value) in memory.externals.all() {
            tables.externals.put(&key, &value)?;
        }
        for (key, value) in memory.classes.all() {
            tables.classes.put(&key, &value)?;
        }
        for (key, value) in memory.rules.all() {
            tables.rules.put(&key, &value)?;
        }
        for (key, value) in memory.pools.all() {
            tables.pools.put(&key, &value)?;
        }
        for (index, value) in memory.interfaces.all() {
            tables.interfaces.put(&self.numbers[&index], &value)?;
        }
        for bitmap in 0..BITMAPS as u32 {
            let words = memory.bitmap(bitmap);
            for (ours, kernels) in words.iter().zip(tables.ports.words(bitmap)) {
                kernels.store(ours.get(), std::sync::atomic::Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn agree(self) -> Result<Agreed> {
        let mut frames = Frames::new();
        for number in 0..FRAMES {
            let frame = frames.next();
            let mut native = frame.clone();
            let exit = datapath::process(&mut native, &self.native.memory);
            let (verdict, bytes) = self.run(&frame)?;
            let shown = || format!("frame {number} by {}: {:02x?}", frame.ingress, frame.bytes);
            ensure!(
                verdict == action(exit),
                "verdicts differ: {verdict}, {exit:?}; {}",
                shown()
            );
            ensure!(
                bytes == native.bytes,
                "bytes differ: {bytes:02x?}, {native:02x?}; {}",
                shown()
            );
            if matches!(exit, Exit::Transmit | Exit::Redirect(_)) {
                frames.saw(native);
            }
            if number % COUNTERS_EVERY == 0 {
                self.counters().with_context(shown)?;
            }
        }
        let reasons = self.counters()?;
        let flows = self.flows()?;
        self.mappings_and_ports()?;
        Ok(Agreed { flows, reasons })
    }

    /// One run of the kernel's program.
    fn run(&self, frame: &Frame) -> Result<(u32, Vec<u8>)> {
        let length = frame.bytes.len() as u32;
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context = [0, length, 0, self.numbers[&frame.ingress], 0, 0];
        let context: Vec<u8> = context.into_iter().flat_map(u32::to_ne_bytes).collect();
        let mut out = vec![0; 4096];
        let mut options = TestRunOptions::new();
        options.data_in = Some(&frame.bytes);
        options.data_out = Some(&mut out);
        options.ctx_in = Some(&context);
        let result = self.program.as_xdp()?.test_run(options)?;
        out.truncate(result.data_size_out as usize);
        Ok((result.return_value, out))
    }

    /// Compares all counters; returns how many reasons were met.
    fn counters(&self) -> Result<usize> {
        let mut met = 0;
        for reason in Reason::ALL {
            let kernels = self.tables.counters.get(*reason as u32)?;
            let kernels = kernels.into_iter().fold(Counter::default(), Counter::plus);
            let ours = self.native.memory.counted(*reason);
            ensure!(
                kernels == ours,
                "{} differs: {kernels:?}, {ours:?}",
                reason.label()
            );
            met += usize::from(ours.packets > 0);
        }
        for (pool, ours) in self.native.memory.pool_counters.borrow().iter().enumerate() {
            let kernels = self.tables.pool_counters.get(pool as u32)?;
            let kernels = kernels
                .into_iter()
                .fold(abi::PoolCounters::default(), |a, b| a.plus(b));
            ensure!(
                kernels == *ours,
                "pool {pool} differs: {kernels:?}, {ours:?}"
            );
        }
        Ok(met)
    }

    /// Compares all flow entries but for their times; returns how many flows there are.
    fn flows(&self) -> Result<usize> {
        let ours: BTreeMap<FlowKey, abi::Flow<Picture>> = self
            .native
            .memory
            .flows
            .all()
            .into_iter()
            .map(|(key, flow)| (key, flow.picture()))
            .collect();
        let kernels: BTreeMap<_, _> = self.tables.flows.all()?.into_iter().collect();
        ensure!(
            ours.len() == kernels.len(),
            "{} entries, {}",
            kernels.len(),
            ours.len()
        );
        for (key, ours) in &ours {
            let kernels = kernels
                .get(key)
                .with_context(|| format!("the kernel has no {key:?}"))?;
            let what = |flow: &abi::Flow<Picture>| {
                let rewrite = (flow.to, flow.ip_delta, flow.l4_delta);
                (
                    rewrite,
                    flow.pool(),
                    flow.side(),
                    flow.seen,
                    flow.packets,
                    flow.bytes,
                )
            };
            ensure!(
                what(kernels) == what(ours),
                "{key:?} differs: {kernels:?}, {ours:?}"
            );
            let number = self.numbers.get(&ours.ifindex()).copied().unwrap_or(0);
            ensure!(
                kernels.ifindex() == number,
                "{key:?} leaves by another interface"
            );
        }
        Ok(ours.len() / 2)
    }

    fn mappings_and_ports(&self) -> Result<()> {
        let ours = self.native.memory.mappings.all();
        let ours: BTreeMap<_, _> = ours
            .into_iter()
            .map(|(key, value)| (key, value.port))
            .collect();
        let kernels = self.tables.mappings.all()?;
        let kernels: BTreeMap<_, _> = kernels
            .into_iter()
            .map(|(key, it)| (key, it.port))
            .collect();
        ensure!(ours == kernels, "mappings differ");
        for bitmap in 0..BITMAPS as u32 {
            let words = self.native.memory.bitmap(bitmap);
            for (ours, kernels) in words.iter().zip(self.tables.ports.words(bitmap)) {
                let kernels = kernels.load(std::sync::atomic::Ordering::Relaxed);
                ensure!(ours.get() == kernels, "bitmap {bitmap} differs");
            }
        }
        Ok(())
    }
}

/// The number that XDP has for an exit.
fn action(exit: Exit) -> u32 {
    match exit {
        Exit::Drop => 1,
        Exit::Pass => 2,
        Exit::Transmit => 3,
        Exit::Redirect(_) => 4,
    }
}

/// All kinds of frames, in an order that is always the same.
struct Frames {
    random: u64,
    sent: Vec<Frame>,
    seen: Vec<Frame>,
}

impl Frames {
    fn new() -> Self {
        Self {
            random: 0x9e37_79b9_7f4a_7c15,
            sent: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Xorshift64: enough to be varied, and always the same.
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let index = self.random(of.len().max(1) as u64) as usize;
        of.get(index).cloned()
    }

    /// A frame that a twin sent: what others would answer.
    fn saw(&mut self, frame: Frame) {
        if self.seen.len() < 4096 {
            self.seen.push(frame);
        } else {
            let index = self.random(4096) as usize;
            self.seen[index] = frame;
        }
    }

    fn next(&mut self) -> Frame {
        let sent = self.sent.clone();
        let frame = match self.random(16) {
            0 => self.noise(),
            1..=3 => self.pick(&sent).unwrap_or_else(|| self.sketched()),
            4..=6 => self.answer().unwrap_or_else(|| self.sketched()),
            7..=9 => self.damaged(),
            _ => self.sketched(),
        };
        if self.sent.len() < 64 {
            self.sent.push(frame.clone());
        } else {
            let index = self.random(64) as usize;
            self.sent[index] = frame.clone();
        }
        frame
    }

    fn noise(&mut self) -> Frame {
        let length = FRAME_MIN + self.random(120) as usize;
        let mut bytes: Vec<u8> = (0..length).map(|_| self.random(256) as u8).collect();
        let ingress = 1 + self.random(4) as u32;
        if self.random(2) == 0 {
            bytes[..6].copy_from_slice(&own_mac(ingress));
            bytes[12..14].copy_from_slice(&[8, 0]);
        }
        Frame { bytes, ingress }
    }

    /// A frame in which everything is in order but what is meant to be odd.
    fn sketched(&mut self) -> Frame {
        let protocol = self.pick(&Protocol::ALL).unwrap_or(Protocol::Udp);
        let ingress = [INSIDE, INSIDE, INSIDE, OUTSIDE, ARM, UNLISTED][self.random(6) as usize];
        let source = match self.random(8) {
            0 => [10, 7, 0, self.random(4) as u8],
            1 => [192, 168, 0, 1],
            _ => [10, 1, self.random(2) as u8, self.random(64) as u8],
        };
        let target = match self.random(16) {
            0 => [203, 0, 113, 1],
            1 => [198, 18, self.random(4) as u8, 1],
            2 => [192, 0, 2, self.random(11) as u8],
            3 => [10, 255, 255, 1],
            4 => [10, 2, 0, 1],
            last => [198, 51, 100, last as u8],
        };
        let port = 4000 + self.random(64) as u16;
        let remote = if protocol == Protocol::Icmp {
            0
        } else {
            440 + self.random(8) as u16
        };
        let mut sketch = Sketch::first(protocol, tuple((source, port), (target, remote)));
        sketch.ingress = ingress;
        sketch.to = own_mac(ingress);
        sketch.ttl = [0, 1, 2, 64, 64, 64, 64, 255][self.random(8) as usize];
        sketch.dont_fragment = self.random(2) == 0;
        let payload = [0, 1, 5, 64, 600, 1400][self.random(6) as usize];
        sketch.payload = vec![0x5a; payload];
        match self.random(12) {
            0 => sketch.options = vec![1; 4 * (1 + self.random(10) as usize)],
            1 => sketch.part = (self.random(2) == 0, self.random(3) as u16 * 16),
            2 => sketch.padding = self.random(20) as usize,
            3 => sketch.to = [0xff; 6],
            4 | 5 => {
                let flags = [ACK, RST, RST | ACK, FIN | ACK, SYN | ACK, 0, FIN];
                let flags = self.pick(&flags).unwrap_or(ACK);
                sketch = sketch.flags(flags);
            }
            _ => {}
        }
        sketch.frame()
    }

    /// What the receiver of a frame that was sent would answer.
    fn answer(&mut self) -> Option<Frame> {
        let seen = std::mem::take(&mut self.seen);
        let frame = self.pick(&seen);
        self.seen = seen;
        let (protocol, tuple) = read(&frame?.bytes)?;
        let mut sketch = Sketch::answer(protocol, tuple.reversed());
        sketch.ingress = if self.random(8) == 0 { ARM } else { OUTSIDE };
        sketch.to = own_mac(sketch.ingress);
        sketch.ttl = [1, 2, 64, 64][self.random(4) as usize];
        let flags = [SYN | ACK, ACK, FIN | ACK, RST];
        let flags = self.pick(&flags).unwrap_or(ACK);
        Some(sketch.flags(flags).frame())
    }

    /// A frame with some bytes that are others, or cut short.
    fn damaged(&mut self) -> Frame {
        let mut frame = if self.random(3) == 0 {
            self.answer()
        } else {
            None
        }
        .unwrap_or_else(|| self.sketched());
        for _ in 0..=self.random(3) {
            let place = (12 + self.random(46) as usize).min(frame.bytes.len() - 1);
            frame.bytes[place] = match self.random(3) {
                0 => frame.bytes[place] ^ 1 << self.random(8),
                1 => frame.bytes[place].wrapping_add(1),
                _ => self.random(256) as u8,
            };
        }
        if self.random(6) == 0 {
            let length =
                FRAME_MIN + self.random((frame.bytes.len() - FRAME_MIN) as u64 + 1) as usize;
            frame.bytes.truncate(length);
        }
        frame
    }
}
