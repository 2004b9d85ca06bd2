//! Both twins, side by side.

use std::{collections::BTreeMap, path::Path, rc::Rc, thread, time::Duration};

use abi::{
    Counter, Flow, FlowKey, Held, Layout, Member, Needs, Picture, PoolCounters, Reason, Tick, Told,
    Use, ports::BITMAPS, quota::SLOTS,
};
use anyhow::{Context, Result, ensure};
use aya::programs::{TestRun, TestRunOptions};
use datapath::{
    Exit,
    native::{Frame, Kind},
};
use kernel::{
    Program, Sizes, State, Tables,
    held::Ring,
    links::{self, Mode},
    tables::{In, Table},
};
use nix::{net::if_::if_nametoindex, time::ClockId};

use crate::{
    frames::Frames,
    place::INTERFACES,
    rig::{Site, keeper::record},
};

/// Frames after which counters are compared, so that a difference is found near its cause.
const COUNTERS_EVERY: u32 = 2_000;

/// The kernel's number of the loopback interface in any namespace.
const LOOPBACK: u32 = 1;

/// How long both twins may take for a frame, under an emulator too, in nanoseconds.
const FRAME_NANOS: u64 = 50_000_000;

/// What the twins agree about.
pub struct Agreed {
    /// Flows in their tables in the end.
    pub flows: usize,
    /// What packets left for.
    pub reasons: Vec<Reason>,
}

/// One run of the kernel's program.
pub struct Run {
    /// What the hook returned.
    pub verdict: u32,
    /// The frame as it became.
    pub bytes: Vec<u8>,
    /// How long a packet took.
    pub duration: Duration,
}

/// The native build and the kernel's program, each with tables of its own.
pub struct Twins {
    pub native: Site,
    pub program: Program,
    pub tables: Tables,
    /// The kernel's number of each interface of ours.
    numbers: BTreeMap<u32, u32>,
    /// What the kernel's program hands to who holds fragments.
    ring: Ring,
}

impl Twins {
    /// Loads the program for so many flows and fills its tables from the native twin's; `spoil`
    /// changes its key.
    pub fn new(state: &Path, native: Site, flows: usize, spoil: u64) -> Result<Self> {
        let state = State::open(state)?;
        let flows = flows as u32;
        let sizes = Sizes {
            flows,
            flows6: flows,
        };
        let config = **native.memory.config.borrow();
        let needs = Needs {
            ipv6: config.ipv6 != 0,
            fixed: config.fixed != 0 || config.fixed6 != 0,
            cluster: config.members != 0,
        };
        let loaded = Program::load(&state, sizes, needs)?;
        // A test run of a program that hangs nowhere patches the kernel's text before and after;
        // one that hangs on a loopback without addresses costs what its packets cost.
        links::attach(&state, loaded.program.fd()?, LOOPBACK, Mode::Generic)?;
        let mut numbers = BTreeMap::new();
        for (index, interface) in INTERFACES {
            numbers.insert(index, if_nametoindex(interface)?);
        }
        let twins = Self {
            native,
            program: loaded.program,
            tables: loaded.tables,
            numbers,
            ring: Ring::open(&state)?,
        };
        twins.fill(spoil)?;
        Ok(twins)
    }

    fn fill(&self, spoil: u64) -> Result<()> {
        let (memory, tables) = (&self.native.memory, &self.tables);
        // What was counted until now was counted by one of them only.
        memory.counters.borrow_mut().fill(Counter::default());
        memory
            .pool_counters
            .borrow_mut()
            .fill(PoolCounters::default());
        while record(memory).is_some() {}
        let mut config = **memory.config.borrow();
        config.key ^= spoil;
        tables.config.put(&0, &config)?;
        for (number, member) in memory.members.all() {
            let member = Member::at(member.address);
            tables.members.put(&number.into(), &member)?;
        }
        let (ours, kernels) = (&memory.buckets, tables.buckets.at(0));
        for (ours, kernels) in ours.holders.iter().zip(&kernels.holders) {
            kernels.set(ours.get());
        }
        for (ours, kernels) in ours.givers.iter().zip(&kernels.givers) {
            kernels.set(ours.get());
        }
        let withheld = kernels.withheld.iter().flatten();
        for (ours, kernels) in ours.withheld.iter().flatten().zip(withheld) {
            kernels.set(ours.get());
        }
        for (ours, kernels) in ours.unknown.iter().zip(&kernels.unknown) {
            kernels.set(ours.get());
        }
        copy(memory.v4.externals.all(), &tables.externals)?;
        copy(memory.v4.classes.all(), &tables.classes)?;
        copy(memory.v4.fixed.all(), &tables.fixed)?;
        copy(memory.v6.fixed.all(), &tables.fixed6)?;
        copy(memory.rules.all(), &tables.rules)?;
        copy(memory.pools.all(), &tables.pools)?;
        for (index, value) in memory.interfaces.all() {
            tables.interfaces.put(&self.numbers[&index], &value)?;
        }
        copy(memory.v6.externals.all(), &tables.externals6)?;
        copy(memory.v6.classes.all(), &tables.classes6)?;
        copy(memory.pools6.all(), &tables.pools6)?;
        fill(&memory.v4, tables)?;
        fill(&memory.v6, tables)?;
        for (number, value) in memory.numbered.all() {
            tables.numbered.put(&number.into(), &value)?;
        }
        copy(memory.clients.all(), &tables.clients)?;
        for (slot, ours) in memory.uses.borrow().iter() {
            let kernels = tables.uses.at(*slot);
            kernels.held.set(ours.held.get());
            kernels.bucket.set(ours.bucket.get());
            kernels.refused.set(ours.refused.get());
            kernels.taken.set(ours.taken.get());
        }
        memory.told.borrow_mut().fill(0);
        for bitmap in 0..BITMAPS as u32 {
            let words = memory.bitmap(bitmap);
            for (ours, kernels) in words.iter().zip(tables.ports.words(bitmap)) {
                kernels.taken.set(ours.taken.get());
                kernels.held.set(ours.held.get());
            }
        }
        Ok(())
    }

    /// Shows both so many frames and compares everything.
    pub fn agree(mut self, mut frames: Frames, count: u32) -> Result<Agreed> {
        for number in 0..count {
            let frame = frames.next();
            self.native.memory.now.set(far_from_the_next_tick());
            let mut native = frame.clone();
            let exit = datapath::process(&mut native, &self.native.memory);
            let Run { verdict, bytes, .. } = self.run(&frame, 1)?;
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
                self.held().with_context(shown)?;
            }
        }
        let reasons = self.counters()?;
        self.held()?;
        let memory = &self.native.memory;
        let flows = self.flows(&memory.v4)? + self.flows(&memory.v6)?;
        self.mappings(&memory.v4)?;
        self.mappings(&memory.v6)?;
        self.ports()?;
        self.uses()?;
        Ok(Agreed { flows, reasons })
    }

    /// One run of the kernel's program, over the frame as it left it if it is repeated.
    pub fn run(&self, frame: &Frame, repeat: u32) -> Result<Run> {
        let length = frame.bytes.len() as u32;
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context = [0, length, 0, self.numbers[&frame.ingress], 0, 0];
        let context: Vec<u8> = context.into_iter().flat_map(u32::to_ne_bytes).collect();
        let mut out = vec![0; 4096];
        let mut options = TestRunOptions::new();
        options.data_in = Some(&frame.bytes);
        options.data_out = Some(&mut out);
        options.ctx_in = Some(&context);
        options.repeat = repeat;
        let result = self.program.as_xdp()?.test_run(options)?;
        out.truncate(result.data_size_out as usize);
        Ok(Run {
            verdict: result.return_value,
            bytes: out,
            duration: result.duration,
        })
    }

    /// Compares all counters; returns the reasons that were met.
    fn counters(&self) -> Result<Vec<Reason>> {
        let mut met = Vec::new();
        for reason in Reason::ALL {
            let kernels = self.tables.counters.get(*reason as u32)?;
            let kernels = kernels.into_iter().fold(Counter::default(), Counter::plus);
            let ours = self.native.memory.counted(*reason);
            ensure!(
                kernels == ours,
                "{} differs: {kernels:?}, {ours:?}",
                reason.label()
            );
            if ours.packets > 0 {
                met.push(*reason);
            }
        }
        for (pool, ours) in self.native.memory.pool_counters.borrow().iter().enumerate() {
            let kernels = self.tables.pool_counters.get(pool as u32)?;
            let kernels = kernels
                .into_iter()
                .fold(PoolCounters::default(), |a, b| a.plus(b));
            ensure!(
                kernels == *ours,
                "pool {pool} differs: {kernels:?}, {ours:?}"
            );
        }
        Ok(met)
    }

    /// Compares what was handed to who holds fragments since the last time, but for its times.
    fn held(&mut self) -> Result<()> {
        while let Some((ours, frame)) = record(&self.native.memory) {
            let kernels = self.ring.take().context("the kernel handed over less")?;
            let ingress = self.numbers.get(&ours.ingress).copied().unwrap_or(0);
            let wanted = Held {
                at: kernels.0.at,
                ingress,
                ..ours
            };
            ensure!(
                kernels == (wanted, frame),
                "handed over differs: {kernels:02x?}, {wanted:?}"
            );
        }
        ensure!(self.ring.take().is_none(), "the kernel handed over more");
        Ok(())
    }

    /// Compares all flow entries but for their times; returns how many flows there are.
    fn flows<A: In>(&self, kind: &Kind<A>) -> Result<usize> {
        let ours: BTreeMap<FlowKey<A>, Flow<Picture, A>> = (kind.flows.all().into_iter())
            .map(|(key, flow)| (key, flow.picture()))
            .collect();
        let kernels = A::flows(&self.tables).all()?;
        let kernels: BTreeMap<_, _> = kernels.into_iter().collect();
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
            let what = |flow: &Flow<Picture, A>| {
                let rewrite = (flow.to, flow.ip_delta, flow.l4_delta);
                (
                    rewrite,
                    flow.pool(),
                    flow.side(),
                    flow.seen,
                    flow.packets(),
                    flow.rule(),
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

    /// Compares what rules and clients have, and how clients were told.
    fn uses(&self) -> Result<()> {
        let memory = &self.native.memory;
        let ours: BTreeMap<_, _> = memory.clients.all().into_iter().collect();
        let ours: BTreeMap<_, _> = ours.into_iter().map(|(key, slot)| (key, *slot)).collect();
        let kernels: BTreeMap<_, _> = self.tables.clients.all()?.into_iter().collect();
        ensure!(ours == kernels, "clients differ");
        for slot in 0..SLOTS as u32 {
            let (ours, kernels) = (memory.in_use(slot), self.tables.uses.at(slot));
            let what = |it: &Use| (it.held.get(), it.refused.get(), it.taken.get());
            ensure!(what(&ours) == what(kernels), "slot {slot} differs");
        }
        for told in Told::ALL {
            let kernels: u64 = self.tables.told.get(told as u32)?.into_iter().sum();
            let ours = memory.told(told);
            ensure!(ours == kernels, "{told:?}: {kernels}, {ours}");
        }
        Ok(())
    }

    fn mappings<A: In>(&self, kind: &Kind<A>) -> Result<()> {
        let ours = kind.mappings.all();
        let ours: BTreeMap<_, _> = ours
            .into_iter()
            .map(|(key, value)| (key, (value.port, value.rule())))
            .collect();
        let kernels = A::mappings(&self.tables).all()?;
        let kernels: BTreeMap<_, _> = kernels
            .into_iter()
            .map(|(key, it)| (key, (it.port, it.rule())))
            .collect();
        ensure!(ours == kernels, "mappings differ");
        Ok(())
    }

    fn ports(&self) -> Result<()> {
        for bitmap in 0..BITMAPS as u32 {
            let words = self.native.memory.bitmap(bitmap);
            for (ours, kernels) in words.iter().zip(self.tables.ports.words(bitmap)) {
                let is_same = ours.taken.get() == kernels.taken.get();
                ensure!(is_same, "bitmap {bitmap} differs");
            }
        }
        Ok(())
    }
}

/// Copies flows and mappings of one kind of address.
fn fill<A: In>(kind: &Kind<A>, tables: &Tables) -> Result<()> {
    for (key, value) in kind.flows.all() {
        A::flows(tables).put(&key, &value.picture())?;
    }
    copy(kind.mappings.all(), A::mappings(tables))
}

/// Copies entries as they are.
fn copy<K: Layout, V: Layout>(entries: Vec<(K, Rc<V>)>, table: &Table<K, V>) -> Result<()> {
    for (key, value) in entries {
        table.put(&key, &value)?;
    }
    Ok(())
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

/// What the kernel's program takes for now; when that is not about to change, so that what one twin finds
/// old is old for the other.
fn far_from_the_next_tick() -> Tick {
    loop {
        let now = ClockId::CLOCK_MONOTONIC_COARSE.now();
        let now = Duration::from(now.expect("a clock that every kernel has")).as_nanos() as u64;
        let tick = Tick::from_nanos(now);
        let left = tick.nanos() + Tick::NANOS - now;
        if left > FRAME_NANOS {
            return tick;
        }
        thread::sleep(Duration::from_nanos(left));
    }
}
