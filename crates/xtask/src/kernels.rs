//! The same programs on other kernels: each of these boots as a guest, loads every program and runs
//! the twins and what asks a kernel for keys of TCP-AO, all at the same time.
//!
//! Reading order: the table here → [`archive`] (packages by name) → [`image`] (what boots) →
//! [`guest`] (one command in one guest). A suite comes into a guest as cargo's runner: cargo starts
//! `xtask guest KERNEL TEST-BINARY …` where it would start the test binary.

mod archive;
mod guest;
pub mod image;

use std::{
    env, fmt,
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    ebpf, process, programs, setup,
    stages::{self, NotPassed, Tally},
    workspace::Workspace,
};
use image::{Cache, Image};

/// What runs in every guest.
const SUITE: &str = "twin";
/// What else runs there: keys of TCP-AO, which one of these kernels has and most others have not.
const KEYS: [&str; 9] = [
    "test",
    "--release",
    "--package",
    "egret-kernel",
    "--lib",
    "--",
    "--nocapture",
    "--test-threads=1",
    "tcp::ao",
];
/// What says nothing of a kernel: what a packet costs under an emulator, and that the suite would
/// find a difference. Each takes another load, seconds of an emulated verifier.
const SKIPPED: [&str; 2] = [
    "what_a_packet_of_an_established_flow_costs",
    "a_difference_between_the_twins_is_found",
];

/// A kernel to run on.
#[derive(Debug)]
pub struct Kernel {
    /// What it is called on the command line.
    name: &'static str,
    /// Where Debian has it.
    suite: &'static str,
}

/// The oldest that Egret runs on, the one most machines have, and the newest.
static KERNELS: [Kernel; 3] = [
    Kernel {
        name: "6.1",
        suite: "bookworm-security",
    },
    Kernel {
        name: "6.12",
        suite: "trixie-security",
    },
    Kernel {
        name: "7.x",
        suite: "trixie-backports",
    },
];

/// One that is too old, to see what Egret says there.
static TOO_OLD: Kernel = Kernel {
    name: "5.10",
    suite: "bullseye-security",
};

/// Says why this machine cannot run guests, if it cannot.
pub fn impossible() -> Option<String> {
    match (env::consts::ARCH, setup::is_debian()) {
        ("x86_64", true) => None,
        ("x86_64", false) => Some("their kernels come from Debian's archive by apt".to_owned()),
        (other, _) => Some(format!("they are amd64, and this machine is {other}")),
    }
}

/// Runs the twins on all kernels, or on one, and prints a table.
///
/// Where no guest can run, that is said: it is a failure of who asked for one kernel, and none of who
/// runs all that there is to run, as CI does.
///
/// # Errors
///
/// If something could not be made ready, or did not pass.
pub fn run(workspace: &Workspace, name: Option<&str>) -> Result<()> {
    let kernels: Vec<&'static Kernel> = match name {
        None => KERNELS.iter().collect(),
        Some(name) => vec![find(name)?],
    };
    match (impossible(), name) {
        (None, _) => {}
        (Some(why), None) => {
            println!("no other kernel was tried: this machine cannot run guests: {why}");
            return Ok(());
        }
        (Some(why), Some(_)) => bail!("this machine cannot run guests: {why}"),
    }
    ebpf::build(workspace, &setup::bpf_toolchain()?)?;
    let tally = prove(workspace, &kernels)?;
    if tally.failed > 0 {
        return Err(NotPassed.into());
    }
    Ok(())
}

/// Runs a command in a guest and returns its exit status.
///
/// # Errors
///
/// If there is no such kernel, or no guest, or it gave no status.
pub fn run_in_guest(name: &str, command: &[String]) -> Result<u8> {
    let kernel = if name == TOO_OLD.name {
        &TOO_OLD
    } else {
        find(name)?
    };
    if let Some(why) = impossible() {
        bail!("this machine cannot run guests: {why}");
    }
    guest::run(kernel, command)
}

fn find(name: &str) -> Result<&'static Kernel> {
    match KERNELS.iter().find(|kernel| kernel.name == name) {
        Some(kernel) => Ok(kernel),
        None => {
            let names: Vec<&str> = KERNELS.iter().map(|kernel| kernel.name).collect();
            bail!(
                "there is no kernel `{name}`; there are: {}",
                names.join(", ")
            )
        }
    }
}

/// What a kernel said.
struct Outcome {
    name: &'static str,
    release: String,
    loaded: Vec<Loaded>,
    tally: Result<Tally>,
    took: Duration,
}

fn prove(workspace: &Workspace, kernels: &[&'static Kernel]) -> Result<Tally> {
    // Here and once, not in each of the guests at the same time.
    process::run(programs::cargo(workspace, "test").args(["--no-run", "--test", SUITE]))?;
    let built = KEYS.iter().take_while(|it| **it != "--");
    process::run(process::cargo(workspace).args(built).arg("--no-run"))?;
    let cache = Cache::find()?;
    cache.qemu()?;
    // One after the other, as apt and the cache are one. A kernel that cannot be had fails alone.
    let images: Vec<Result<Image>> = kernels.iter().map(|kernel| cache.image(kernel)).collect();

    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let running: Vec<_> = kernels
            .iter()
            .zip(images)
            .map(|(kernel, image)| scope.spawn(|| twins(workspace, kernel, image)))
            .collect();
        running
            .into_iter()
            .map(|running| running.join().expect("invariant: nothing panics there"))
            .collect()
    });

    println!();
    print!("{}", Table(&outcomes));
    let mut sum = Tally::default();
    for outcome in outcomes {
        sum += outcome.tally.unwrap_or(Tally::ONE_FAILED);
    }
    println!("\n{} passed, {} failed", sum.passed, sum.failed);
    Ok(sum)
}

fn twins(workspace: &Workspace, kernel: &Kernel, image: Result<Image>) -> Outcome {
    let started = Instant::now();
    let (found, programs) = mpsc::channel();
    let (release, tally) = match image {
        Ok(image) => (image.release, suite_in_guest(workspace, kernel.name, found)),
        Err(error) => (String::new(), Err(error)),
    };
    Outcome {
        name: kernel.name,
        release,
        loaded: programs.try_iter().collect(),
        tally,
        took: started.elapsed(),
    }
}

/// Runs the suites on a kernel, and sends what the first says of the programs it loaded.
fn suite_in_guest(
    workspace: &Workspace,
    name: &'static str,
    found: mpsc::Sender<Loaded>,
) -> Result<Tally> {
    let mut tally = process::run_tests_showing(&mut twin(workspace, name)?, move |line| {
        println!("{name:5}| {line}");
        if let Some(loaded) = Loaded::of_line(line) {
            // Nobody stops listening before the last line.
            let _ = found.send(loaded);
        }
    })?;
    let mut keys = process::cargo(workspace);
    keys.args(["--config", &runner(name)?]).args(KEYS);
    tally += process::run_tests_showing(&mut keys, move |line| println!("{name:5}| {line}"))?;
    Ok(tally)
}

/// The suite as it always runs, but in a guest.
fn twin(workspace: &Workspace, kernel: &str) -> Result<Command> {
    let mut cargo = programs::cargo(workspace, "test");
    cargo.args(["--config", &runner(kernel)?, "--test", SUITE, "--"]);
    cargo.args(["--nocapture", "--test-threads=1"]);
    cargo.args(SKIPPED.iter().flat_map(|name| ["--skip", name]));
    Ok(cargo)
}

/// Has cargo start tests in a guest: what it is configured with.
fn runner(kernel: &str) -> Result<String> {
    let own = env::current_exe().context("cannot tell where this program is")?;
    Ok(format!(
        "target.'cfg(all())'.runner = ['{}', 'guest', '{kernel}']",
        own.display()
    ))
}

/// A program that a kernel took.
#[derive(Debug, PartialEq, Eq)]
struct Loaded {
    name: String,
    instructions: String,
}

impl Loaded {
    /// Reads what the suite says of each program it loads.
    fn of_line(line: &str) -> Option<Self> {
        let (_, said) = line.split_once("program ")?;
        let (name, instructions) = said.split_once(": ")?;
        Some(Self {
            name: name.to_owned(),
            instructions: instructions
                .strip_suffix(" instructions verified")?
                .to_owned(),
        })
    }
}

struct Table<'a>(&'a [Outcome]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![
            [
                "kernel",
                "",
                "loaded, instructions verified",
                "twins",
                "time",
            ]
            .map(str::to_owned),
        ];
        for outcome in self.0 {
            let loaded: Vec<String> = outcome
                .loaded
                .iter()
                .map(|Loaded { name, instructions }| format!("{name} {instructions}"))
                .collect();
            rows.push([
                outcome.name.to_owned(),
                outcome.release.clone(),
                if loaded.is_empty() {
                    "NO".to_owned()
                } else {
                    loaded.join(", ")
                },
                match &outcome.tally {
                    Ok(tally) if tally.failed == 0 => format!("{} passed", tally.passed),
                    Ok(tally) => format!("{} passed, {} FAILED", tally.passed, tally.failed),
                    Err(error) => format!("FAILED: {error:#}"),
                },
                stages::spoken(outcome.took),
            ]);
        }
        let widths = [0, 1, 2, 3].map(|column| {
            let lengths = rows.iter().map(|row| row[column].chars().count());
            lengths.max().unwrap_or(0)
        });
        for [kernel, release, loaded, twins, time] in &rows {
            let [a, b, c, d] = widths;
            writeln!(
                f,
                "{kernel:a$}  {release:b$}  {loaded:c$}  {twins:d$}  {time}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_answered_with_the_right_ones() {
        let error = find("5.15").expect_err("too old").to_string();
        assert_eq!(
            error,
            "there is no kernel `5.15`; there are: 6.1, 6.12, 7.x"
        );
    }

    #[test]
    fn what_the_suite_says_of_a_program_is_understood() {
        let said = "test every_program_is_loaded ... program egret: 307942 instructions verified";
        let loaded = Loaded {
            name: "egret".to_owned(),
            instructions: "307942".to_owned(),
        };

        assert_eq!(Loaded::of_line(said), Some(loaded));
        assert_eq!(Loaded::of_line("test a_program ... ok"), None);
        assert_eq!(Loaded::of_line("the program is loaded: yes"), None);
    }

    #[test]
    fn the_table_has_a_row_for_each_kernel_whatever_became_of_it() {
        let outcome = |name, loaded, tally| Outcome {
            name,
            release: format!("{name}.0"),
            loaded,
            tally,
            took: Duration::from_secs(40),
        };
        let egret = Loaded {
            name: "egret".to_owned(),
            instructions: "534873".to_owned(),
        };
        let passed = Tally {
            passed: 3,
            failed: 0,
        };
        let outcomes = [
            outcome("6.1", vec![egret], Ok(passed)),
            outcome("7.x", Vec::new(), Err(anyhow::anyhow!("no exit status"))),
        ];

        let table = Table(&outcomes).to_string();

        let rows: Vec<&str> = table.lines().skip(1).collect();
        assert_eq!(
            rows,
            [
                "6.1     6.1.0  egret 534873                   3 passed                40.0 s",
                "7.x     7.x.0  NO                             FAILED: no exit status  40.0 s",
            ]
        );
    }
}
