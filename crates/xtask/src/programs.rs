//! The release binaries: building them, and becoming one of them.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{
    ebpf, process,
    setup::{self, Part},
    workspace::Workspace,
};

/// The packages that are built and tested in release, always together.
///
/// One selection for every command: cargo unites features over what is selected, so another
/// selection would compile the same dependencies again with other features.
pub const PACKAGES: [&str; 5] = [
    "egret-daemon",
    "egret-cli",
    "egret-kernel",
    "egret-lab",
    "egret-e2e",
];

/// Returns `cargo VERB` for all of them in release.
pub fn cargo(workspace: &Workspace, verb: &str) -> Command {
    let mut cargo = process::cargo(workspace);
    cargo.args([verb, "--release"]);
    cargo.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    cargo
}

/// Returns the folder of one of our packages: its name without the prefix.
pub fn folder(workspace: &Workspace, package: &str) -> PathBuf {
    workspace
        .root()
        .join("crates")
        .join(package.trim_start_matches("egret-"))
}

/// Builds every program.
///
/// # Errors
///
/// If one does not compile.
pub fn build(workspace: &Workspace) -> Result<()> {
    process::run(cargo(workspace, "build").arg("--bins"))
}

/// Says where the programs for users are.
pub fn say_where(workspace: &Workspace) {
    println!();
    for name in ["egretd", "egret"] {
        println!("{}", workspace.program(name).display());
    }
}

/// Sets the machine up, builds everything and turns into one of the programs.
///
/// # Errors
///
/// If something on the way fails; otherwise this does not return.
pub fn become_program(
    workspace: &Workspace,
    name: &str,
    arguments: &[String],
    provide: impl FnOnce(&mut Command),
) -> Result<()> {
    if let Some(toolchain) = setup::ensure(&[Part::Bpf, Part::Lab])? {
        ebpf::build(workspace, &toolchain)?;
    }
    build(workspace)?;
    let mut program = Command::new(workspace.program(name));
    program.args(arguments);
    provide(&mut program);
    process::become_command(&mut program)
}

/// Builds the simulator, which needs nothing but a compiler, and turns into it.
///
/// # Errors
///
/// If it does not compile; otherwise this does not return.
pub fn become_simulator(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    let mut cargo = process::cargo(workspace);
    process::run(cargo.args(["build", "--profile", "sim", "--package", "egret-sim"]))?;
    let mut program = Command::new(workspace.program_of("sim", "egret-sim"));
    program.args(arguments);
    process::become_command(&mut program)
}
