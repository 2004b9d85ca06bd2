//! What the figures were measured on: without it they say nothing.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// For how long the machine is watched before anything is started on it.
const WATCH: Duration = Duration::from_millis(500);

/// The machine, and what was measured on it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The day, in UTC.
    pub day: String,
    /// What `uname -sr` says.
    pub kernel: String,
    /// The processor's name.
    pub processor: String,
    /// Its processors as the kernel numbers them.
    pub cores: usize,
    /// The commit that was measured.
    pub commit: String,
    /// Percent of all cores that others used before the run.
    pub others_percent: f64,
    /// Runnable tasks, on average over the minute before the run.
    pub load: String,
}

impl Machine {
    /// Looks at the machine and at what else it does at present.
    pub fn look() -> Result<Self> {
        let cpuinfo = read("/proc/cpuinfo")?;
        let field = |name: &str| {
            let of_name = |line: &&str| line.split(':').next().map(str::trim) == Some(name);
            let (_, value) = cpuinfo.lines().find(of_name)?.split_once(':')?;
            Some(value.trim().to_owned())
        };
        let before = Times::read()?;
        thread::sleep(WATCH);
        let others_percent = Times::read()?.busy_percent_since(&before);
        let load = read("/proc/loadavg")?;
        Ok(Self {
            day: said_by("date", &["-u", "+%Y-%m-%d"])?,
            kernel: said_by("uname", &["-sr"])?,
            processor: match (field("model name"), field("model")) {
                (Some(name), Some(model)) => format!("{name}, model {model}"),
                (Some(name), None) => name,
                (None, _) => "unknown".to_owned(),
            },
            cores: cpuinfo
                .lines()
                .filter(|it| it.starts_with("processor"))
                .count(),
            commit: commit(),
            others_percent,
            load: load.split(' ').next().unwrap_or("unknown").to_owned(),
        })
    }

    /// The core on which everything happens that is measured on one core. The last, because
    /// interrupts and housekeeping prefer the first.
    pub fn core(&self) -> usize {
        self.cores.saturating_sub(1)
    }
}

/// Jiffies of all cores since the machine started.
struct Times {
    all: u64,
    idle: u64,
}

impl Times {
    fn read() -> Result<Self> {
        let text = read("/proc/stat")?;
        let line = text.lines().next().unwrap_or_default();
        let times: Vec<u64> = line
            .split_whitespace()
            .filter_map(|it| it.parse().ok())
            .collect();
        let [_, _, _, idle, waiting, ..] = times.as_slice() else {
            anyhow::bail!("/proc/stat begins with {line:?}");
        };
        Ok(Self {
            all: times.iter().sum(),
            idle: idle + waiting,
        })
    }

    fn busy_percent_since(&self, before: &Self) -> f64 {
        let (all, idle) = (self.all - before.all, self.idle - before.idle);
        100.0 * all.saturating_sub(idle) as f64 / all.max(1) as f64
    }
}

/// The commit this was built from, as far as the tree tells: the tree stands where it was built.
fn commit() -> String {
    let tree = env!("CARGO_MANIFEST_DIR");
    let git = |args: &[&str]| said_by("git", &[&["-C", tree], args].concat());
    match git(&["rev-parse", "--short=12", "HEAD"]) {
        Ok(commit) => match git(&["status", "--porcelain", "--untracked-files=no"]) {
            Ok(changes) if changes.is_empty() => commit,
            Ok(_) | Err(_) => format!("{commit}, with changes that are not committed"),
        },
        Err(_) => "unknown".to_owned(),
    }
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(Path::new(path)).with_context(|| format!("cannot read {path}"))
}

fn said_by(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{program} ended with {}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
