//! One run: gateways, flows that are held open, short connections beside them, and what they noticed.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::harness::{
    herd::{Echo, Herd, LIMIT, Noticed, Wanted},
    load::Load,
    members::{self, Members},
};
use lab::Brand;

/// A worst wait that is still no failure.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// What is older is promised to survive.
const YOUNG: Duration = Duration::from_secs(1);
/// Short connections in a second.
const RATE: u32 = 100;

/// How much is asked of the cluster.
#[derive(Clone, Copy)]
pub struct Size {
    pub flows: Wanted,
    /// How often a gateway is killed.
    pub times: usize,
    /// How long members do not see each other.
    pub apart: Duration,
}

/// Says whether everything is to be run, as it is promised.
pub fn is_full() -> bool {
    std::env::var_os("EGRET_FULL").is_some()
}

impl Size {
    pub fn asked() -> Self {
        let [tcp, udp, times, apart] = match is_full() {
            true => [5000, 1000, 20, 60],
            false => [500, 100, 1, 8],
        };
        Self {
            flows: Wanted {
                tcp: number("EGRET_TCP", tcp),
                udp: number("EGRET_UDP", udp),
                limit: LIMIT,
            },
            times: number("EGRET_TIMES", times),
            apart: Duration::from_secs(apart as u64),
        }
    }
}

/// A number from the environment, or the usual one.
fn number(variable: &str, usual: usize) -> usize {
    let written = std::env::var(variable).ok();
    written.and_then(|it| it.parse().ok()).unwrap_or(usual)
}

/// All runs so far.
#[derive(Default)]
struct Total {
    runs: u32,
    flows: usize,
    lost: usize,
    worst: Duration,
}

static TOTAL: Mutex<Total> = Mutex::new(Total {
    runs: 0,
    flows: 0,
    lost: 0,
    worst: Duration::ZERO,
});

/// Gateways under flows that are held open, and older than what may be lost.
pub struct Run {
    pub scene: Members,
    pub echo: Echo,
    pub herd: Herd,
    what: String,
    began: Instant,
}

impl Run {
    /// Starts so many gateways behind FRR, and what goes through them.
    pub fn start(what: &str, count: usize, flows: Wanted) -> Result<Self> {
        Self::behind(Brand::Frr, what, count, flows)
    }

    /// The same behind other routers.
    pub fn behind(brand: Brand, what: &str, count: usize, flows: Wanted) -> Result<Self> {
        let routers = members::routers(brand);
        let routers = routers.context("`cargo xtask e2e failover` says where routers are")?;
        println!("--- {what}");
        let began = Instant::now();
        let scene = Members::start(&format!("failover-{}", std::process::id()), &routers, count)?;
        let echo = Echo::start(&scene.site)?;
        let herd = echo.herd(&scene.site, flows)?;
        herd.is_older_than(YOUNG)?;
        let run = Self {
            scene,
            echo,
            herd,
            what: what.to_owned(),
            began,
        };
        run.goes_on(2)?;
        Ok(run)
    }

    /// Begins short connections.
    pub fn load(&self) -> Result<Load> {
        Load::start(&self.scene.site, RATE)
    }

    /// Waits until all see each other, the routers all of them, and copies are complete.
    pub fn is_whole(&self, count: usize) -> Result<()> {
        self.scene.shares()?;
        self.scene.ways(count)?;
        self.scene.synced()
    }

    /// Waits until each flow has had so many more answers; none is lost.
    pub fn goes_on(&self, more: u64) -> Result<()> {
        self.herd.go_on(more)?;
        println!(
            "the longest wait so far: {} ms",
            self.herd.worst().as_millis()
        );
        let lost = self.herd.lost();
        ensure!(lost == 0, "{}: {lost} flows were lost", self.what);
        Ok(())
    }

    /// Ends the flows; none was lost, and none waited for long.
    pub fn end(self) -> Result<()> {
        self.end_within(WAIT_MAX)
    }

    /// The same, and this is no long wait.
    pub fn end_within(self, wait: Duration) -> Result<()> {
        let noticed = self.herd.stop()?;
        self.echo.stop()?;
        for (kind, noticed) in ["TCP", "UDP"].into_iter().zip(&noticed) {
            println!("{kind}: {noticed}");
        }
        total(&noticed);
        println!("{} took {:.0?}", self.what, self.began.elapsed());
        for noticed in &noticed {
            ensure!(noticed.lost == 0, "{}: {noticed}", self.what);
            ensure!(noticed.stall(1.0) < wait, "{}: {noticed}", self.what);
        }
        self.scene.finish()
    }
}

/// Adds a run, and says what is true of all so far.
fn total(noticed: &[Noticed]) {
    let mut total = TOTAL.lock().unwrap_or_else(|it| it.into_inner());
    total.runs += 1;
    for noticed in noticed {
        total.flows += noticed.flows;
        total.lost += noticed.lost;
        total.worst = total.worst.max(noticed.stall(1.0));
    }
    println!(
        "so far: {} runs, {} flows, {} lost, worst wait {} ms",
        total.runs,
        total.flows,
        total.lost,
        total.worst.as_millis()
    );
}

/// Ends short connections; returns how many were lost.
pub fn end_short(load: Load) -> Result<u64> {
    let seen = load.stop()?;
    println!("short connections: {seen}");
    ensure!(seen.done > 0, "{seen}");
    Ok(seen.failed)
}
