//! `cargo xtask`: the one door for every developer command.
//!
//! This program is thin on purpose. It sets the machine up, builds, and then runs what it built:
//! the demo, the lab, the tests and the benchmarks live in their own crates. So the first
//! `cargo xtask …` on a fresh machine compiles in seconds and says at once what happens next.
//!
//! Reading order: [`arguments`] (what was asked) → [`setup`] and [`toolchain`] (what the machine
//! needs) → [`ebpf`], [`programs`] (building) → [`proof`], [`suites`], [`kernels`], [`fuzz`],
//! [`tidy`] (checking) → [`stages`] (what is reported).

mod arguments;
mod ebpf;
mod fuzz;
mod kernels;
mod object;
mod process;
mod programs;
mod proof;
mod setup;
mod stages;
mod suites;
mod tidy;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;

use arguments::{Command, HELP};
use setup::Part;
use stages::NotPassed;
use workspace::Workspace;

/// The exit status for a command line that makes no sense, as `getopt` programs have it.
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let command = match arguments::parse(&given) {
        Ok(command) => command,
        Err(misuse) => {
            eprintln!("xtask: {misuse}\nTo see what there is: cargo xtask help");
            return ExitCode::from(MISUSED);
        }
    };
    match run(command, &given) {
        Ok(status) => status,
        Err(error) if error.is::<NotPassed>() => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, given: &[String]) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let needs_root = |why: &str| setup::require_root(given, why);
    let done = match command {
        Command::Help => {
            print!("{HELP}");
            Ok(())
        }
        Command::Setup => setup::ensure(&[Part::Bpf, Part::Lab]).map(drop),
        Command::Ebpf => {
            let object = ebpf::build(&workspace, &setup::bpf_toolchain()?)?;
            ebpf::report(&object)
        }
        Command::Build => {
            let object = ebpf::build(&workspace, &setup::bpf_toolchain()?)?;
            ebpf::report(&object)?;
            programs::build(&workspace)?;
            programs::say_where(&workspace);
            Ok(())
        }
        Command::Tidy => tidy::run(&workspace),
        Command::Check => proof::check(&workspace),
        Command::Test { fuzz_seconds } => {
            needs_root("it loads BPF programs and makes network namespaces")?;
            proof::test(&workspace, fuzz_seconds)
        }
        Command::E2eList => suites::list(&workspace),
        Command::E2e {
            suite,
            filter,
            is_full,
        } => {
            needs_root("the suites load BPF programs and make network namespaces")?;
            suites::run(&workspace, suite.as_deref(), &filter, is_full)
        }
        Command::Kernels { kernel } => kernels::run(&workspace, kernel.as_deref()),
        // As with the programs below: the exit status is the command's own.
        Command::Guest { kernel, command } => {
            return kernels::run_in_guest(&kernel, &command).map(ExitCode::from);
        }
        Command::Fuzz { target, seconds } => fuzz::run(&workspace, target.as_deref(), seconds),
        Command::Demo { arguments } => {
            needs_root("it makes network namespaces and loads BPF programs")?;
            programs::become_program(&workspace, "egret-demo", &arguments, |program| {
                suites::provide("demo", program)
            })
        }
        Command::Lab { arguments } => {
            needs_root("it makes network namespaces")?;
            programs::become_program(&workspace, "egret-lab", &arguments, |_| {})
        }
        Command::Bench { arguments } => {
            needs_root("it makes network namespaces and loads BPF programs")?;
            programs::become_program(&workspace, "egret-bench", &arguments, |_| {})
        }
        Command::Sim { arguments } => programs::become_simulator(&workspace, &arguments),
    };
    done.map(|()| ExitCode::SUCCESS)
}
