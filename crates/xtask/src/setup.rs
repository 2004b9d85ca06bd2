//! Set-up: what is missing is installed, and said with its reason; what is there costs nothing.
//!
//! In three steps: [`look`] at the machine, [`plan`] what is missing (a pure function, tested),
//! carry the plan out. Afterwards the machine is looked at again, because an installation that
//! claims success and leaves something missing must not surface later as a riddle.

use std::{env, fs, os::unix::fs::MetadataExt, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    process,
    toolchain::{self, LINKER, LLVM_PREFIX, Toolchain},
};

mod plan;
#[cfg(test)]
mod tests;

use plan::{Found, Host, Plan, Step, plan};

/// The cargo-fuzz that is installed where there is none.
const CARGO_FUZZ: &str = "0.13.2";

/// A thing to be set up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Building the BPF programs.
    Bpf,
    /// Network namespaces with hosts that talk to each other.
    Lab,
    /// Fuzzing.
    Fuzz,
}

/// Something apt can install, and what for.
#[derive(Debug, PartialEq, Eq)]
pub struct Package {
    pub name: &'static str,
    pub why: &'static str,
}

/// The Rust that builds the BPF programs, where rustup has none that can.
static DEBIAN_RUST: [Package; 3] = [
    Package {
        name: "rustc-web",
        why: "a Rust that has the sources of its core library",
    },
    Package {
        name: "cargo-web",
        why: "the cargo of that Rust",
    },
    Package {
        name: "rust-web-src",
        why: "those sources: core is built for BPF from them",
    },
];

/// What `cargo install bpf-linker` compiles against.
static LINKER_LIBRARIES: [Package; 5] = [
    Package {
        name: "llvm-22-dev",
        why: "bpf-linker is LLVM with a small main program",
    },
    Package {
        name: "libpolly-22-dev",
        why: "LLVM 22 names it among the libraries it links",
    },
    Package {
        name: "libzstd-dev",
        why: "the same",
    },
    Package {
        name: "zlib1g-dev",
        why: "the same",
    },
    CPP,
];

const CPP: Package = Package {
    name: "g++",
    why: "LLVM and libFuzzer are C++",
};

/// A program that must be there, and the package that brings it.
#[derive(Debug, PartialEq, Eq)]
pub struct Tool {
    pub program: &'static str,
    pub package: Package,
}

/// What the lab, the demo and the end-to-end tests call. Add a line here and nowhere else.
static LAB_TOOLS: [Tool; 6] = [
    tool(
        "ip",
        "iproute2",
        "makes network namespaces, links, addresses and routes",
    ),
    tool(
        "nft",
        "nftables",
        "the targets' access lists, and what the benchmark compares with",
    ),
    tool(
        "ethtool",
        "ethtool",
        "turns off offloads that veth has and real hardware has not",
    ),
    tool("ping", "iputils-ping", "ICMP through the gateway"),
    tool(
        "curl",
        "curl",
        "HTTP through the gateway, and the daemon's own HTTP",
    ),
    tool(
        "pip3",
        "python3-pip",
        "fetches scapy, which makes and judges packets in the end-to-end tests",
    ),
];

const fn tool(program: &'static str, package: &'static str, why: &'static str) -> Tool {
    Tool {
        program,
        package: Package { name: package, why },
    }
}

/// Refuses to go on as an ordinary user, and says how to go on.
///
/// # Errors
///
/// If this is not root.
pub fn require_root(given: &[String], why: &str) -> Result<()> {
    if is_root()? {
        return Ok(());
    }
    let command = given.join(" ");
    // sudo has a search path of its own, in which rustup's cargo is not.
    bail!(
        "this needs root: {why}. Run\n\n    sudo -E env \"PATH=$PATH\" cargo xtask {command}\n\n\
         (`cargo xtask check` needs no root.)"
    )
}

/// Returns the toolchain for BPF programs, installed if need be.
///
/// # Errors
///
/// If there is none and none can be installed; the error is the command to run.
pub fn bpf_toolchain() -> Result<Toolchain> {
    ensure(&[Part::Bpf])?.context("setting up for BPF programs finds a toolchain or fails")
}

/// Installs what these parts need and the machine has not; returns the BPF toolchain if asked for.
///
/// # Errors
///
/// If something cannot be installed; the error says what to do.
pub fn ensure(parts: &[Part]) -> Result<Option<Toolchain>> {
    let found = look(parts)?;
    let Plan { toolchain, steps } = plan(parts, &found)?;
    if steps.is_empty() {
        say(&toolchain, "nothing to install");
        return Ok(toolchain);
    }
    if !found.root && steps.iter().any(Step::wants_root) {
        bail!(
            "something is missing that only root can install. Run\n\n{}",
            as_typed(&steps)
        );
    }

    for step in &steps {
        carry_out(step)?;
    }

    let Plan { toolchain, steps } = plan(parts, &look(parts)?)?;
    if !steps.is_empty() {
        bail!(
            "everything was installed, and yet this is still missing:\n\n{}",
            as_typed(&steps)
        );
    }
    say(&toolchain, "done");
    Ok(toolchain)
}

fn say(toolchain: &Option<Toolchain>, what: &str) {
    match toolchain {
        Some(chosen) => println!("set-up: {what}; BPF is built by {}", chosen.describe()),
        None => println!("set-up: {what}"),
    }
}

/// Looks at the machine. Files and two version questions only, no package manager: this runs
/// before every command and must not be felt.
fn look(parts: &[Part]) -> Result<Found> {
    let wanted = |part| parts.contains(&part);
    let debian = wanted(Part::Bpf).then(toolchain::find_debian).flatten();
    let nightly = wanted(Part::Bpf).then(toolchain::find_nightly).flatten();
    let linker = wanted(Part::Bpf).then(toolchain::find_linker).flatten();
    Ok(Found {
        root: is_root()?,
        host: host(),
        debian,
        nightly,
        linker,
        cargo_fuzz: exists("cargo-fuzz"),
        cpp: exists("c++"),
        absent: LAB_TOOLS
            .iter()
            .filter(|tool| !exists(tool.program))
            .collect(),
    })
}

fn exists(program: &str) -> bool {
    toolchain::tools(program).next().is_some()
}

/// Whether this process is root. Its directory in /proc belongs to its effective user.
fn is_root() -> Result<bool> {
    let own = fs::metadata("/proc/self").context("cannot read /proc/self to learn who I am")?;
    Ok(own.uid() == 0)
}

/// Whether this is Debian itself, and not only something with apt.
pub fn is_debian() -> bool {
    host() == Host::Debian
}

fn host() -> Host {
    if !Path::new("/usr/bin/apt-get").exists() {
        return Host::WithoutApt;
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if release.lines().any(|line| line == "ID=debian") {
        Host::Debian
    } else {
        Host::OtherApt
    }
}

fn carry_out(step: &Step) -> Result<()> {
    println!("set-up: installing");
    for (name, why) in step.reasons() {
        println!("  {name:16} {why}");
    }
    commands(step).iter_mut().try_for_each(process::run)
}

/// What a step runs.
fn commands(step: &Step) -> Vec<Command> {
    match step {
        Step::Apt(packages) => {
            let mut update = Command::new("apt-get");
            // A fresh machine has no list of packages, or one from the day its image was made.
            update.args(["-q", "-o", "Acquire::Retries=3", "update"]);
            let mut install = Command::new("apt-get");
            // Another apt may be at work on a machine that has just booted. And nothing of the
            // user's may be removed to make room.
            install
                .env("DEBIAN_FRONTEND", "noninteractive")
                .args([
                    "-q",
                    "-y",
                    "-o",
                    "Acquire::Retries=3",
                    "-o",
                    "DPkg::Lock::Timeout=120",
                ])
                .args(["install", "--no-remove", "--no-install-recommends"])
                .args(packages.iter().map(|package| package.name));
            vec![update, install]
        }
        Step::Linker => {
            let path = env::var("PATH").unwrap_or_default();
            let mut install = cargo_install("bpf-linker", LINKER);
            install
                .args(["--no-default-features", "--features", "llvm-22"])
                .env("LLVM_PREFIX", LLVM_PREFIX)
                .env("LLVM_SYS_221_PREFIX", LLVM_PREFIX)
                .env("PATH", format!("{LLVM_PREFIX}/bin:{path}"));
            vec![install]
        }
        Step::CargoFuzz => vec![cargo_install("cargo-fuzz", CARGO_FUZZ)],
    }
}

fn cargo_install(name: &str, version: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["install", "--locked", name, "--version", version]);
    command
}

/// The same commands for a person to type, each with the rights it needs.
fn as_typed(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        let rights = if step.wants_root() { "sudo " } else { "" };
        for command in commands(step) {
            text += &format!("    {rights}{}\n", process::shown(&command));
        }
    }
    text
}
