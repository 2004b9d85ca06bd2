//! `check` and `test`: everything that proves the tree, in stages.
//!
//! Two builds and no third. What needs no kernel is tested as `cargo test` does it, unoptimised
//! and with every assertion on. What becomes a program, or needs root, is tested in release,
//! beside the binaries that the end-to-end suites start.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use crate::{
    ebpf, fuzz, process, programs,
    setup::{self, Part},
    stages::{Report, Tally},
    suites, tidy,
    workspace::Workspace,
};

/// The packages that `check` leaves out: they embed the BPF object, or their tests need root.
const NEED_KERNEL: [&str; 4] = ["egret-daemon", "egret-kernel", "egret-lab", "egret-e2e"];

/// What needs neither root nor the BPF toolchain.
///
/// # Errors
///
/// If anything does not pass.
pub fn check(workspace: &Workspace) -> Result<()> {
    let mut report = Report::default();
    text_stages(&mut report, workspace);
    report.stage("clippy", &[], || clippy(workspace, &NEED_KERNEL));
    report.stage("pure tests", &[], || pure_tests(workspace, &NEED_KERNEL));
    report.finish()
}

/// Everything.
///
/// # Errors
///
/// If anything does not pass.
pub fn test(workspace: &Workspace, fuzz_seconds: Option<u32>) -> Result<()> {
    let mut report = Report::default();
    let mut parts = vec![Part::Bpf, Part::Lab];
    parts.extend(fuzz_seconds.map(|_| Part::Fuzz));

    let toolchain = report.step("set-up", &[], || {
        setup::ensure(&parts)?.context("setting up for BPF programs finds a toolchain or fails")
    });
    text_stages(&mut report, workspace);
    report.step("BPF object", &["set-up"], || {
        let toolchain = toolchain
            .as_ref()
            .context("set-up passed, so there is a toolchain")?;
        ebpf::report(&ebpf::build(workspace, toolchain)?)
    });
    // The lints want the object: `kernel` embeds it.
    report.stage("clippy", &["BPF object"], || clippy(workspace, &[]));
    report.stage("pure tests", &[], || {
        pure_tests(workspace, &programs::PACKAGES)
    });
    report.step("programs", &["BPF object"], || programs::build(workspace));
    report.stage("program tests", &["programs"], || program_tests(workspace));
    e2e_stages(&mut report, workspace);
    if let Some(seconds) = fuzz_seconds {
        fuzz_stages(&mut report, workspace, seconds);
    }
    report.finish()
}

fn text_stages(report: &mut Report, workspace: &Workspace) {
    report.stage("tidy", &[], || {
        tidy::run(workspace).map(|()| Tally::ONE_PASSED)
    });
    report.stage("format", &[], || format(workspace));
}

fn format(workspace: &Workspace) -> Result<Tally> {
    let mut cargo = process::cargo(workspace);
    process::run(cargo.args(["fmt", "--all", "--check", "--", "-l"]))?;
    // The workspaces beside ours are not among `--all`.
    for manifest in ["crates/ebpf/Cargo.toml", "fuzz/Cargo.toml"] {
        if workspace.root().join(manifest).exists() {
            let mut cargo = process::cargo(workspace);
            process::run(cargo.args(["fmt", "--manifest-path", manifest, "--check", "--", "-l"]))?;
        }
    }
    Ok(Tally::ONE_PASSED)
}

fn clippy(workspace: &Workspace, without: &[&str]) -> Result<Tally> {
    let mut cargo = process::cargo(workspace);
    cargo
        .args(["clippy", "--workspace"])
        .args(excluded(without));
    process::run(cargo.args(["--all-targets", "--", "-D", "warnings"]))?;
    Ok(Tally::ONE_PASSED)
}

fn pure_tests(workspace: &Workspace, without: &[&str]) -> Result<Tally> {
    let mut cargo = process::cargo(workspace);
    process::run_tests(
        cargo
            .args(["test", "--no-fail-fast", "--workspace"])
            .args(excluded(without)),
    )
}

fn excluded<'a>(packages: &'a [&str]) -> impl Iterator<Item = &'a str> {
    packages.iter().flat_map(|package| ["--exclude", package])
}

/// Unit and integration tests of the programs, the end-to-end suites apart.
fn program_tests(workspace: &Workspace) -> Result<Tally> {
    let mut cargo = programs::cargo(workspace, "test");
    cargo.args(["--no-fail-fast", "--lib", "--bins"]);
    let mut tests = BTreeSet::new();
    for package in programs::PACKAGES {
        let folder = programs::folder(workspace, package).join("tests");
        let names = suites::integration_tests(&folder)
            .with_context(|| format!("cannot list {}", folder.display()))?;
        if package != suites::PACKAGE {
            tests.extend(names);
        }
    }
    cargo.args(tests.iter().flat_map(|name| ["--test", name]));
    process::run_tests(&mut cargo)
}

fn e2e_stages(report: &mut Report, workspace: &Workspace) {
    let names = report.step("find suites", &[], || suites::names(workspace));
    for name in names.unwrap_or_default() {
        report.stage(&suites::stage_name(&name), &["programs"], || {
            process::run_tests(&mut suites::command(workspace, &name, &[]))
        });
    }
}

fn fuzz_stages(report: &mut Report, workspace: &Workspace, seconds: u32) {
    let targets = report.step("find fuzz targets", &["set-up"], || {
        fuzz::targets(workspace)
    });
    fuzz::stages(report, workspace, &targets.unwrap_or_default(), seconds);
}
