//! Fuzzing: each target of `fuzz/` for its share of the time.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    process,
    setup::{self, Part},
    stages::{Report, Tally},
    workspace::Workspace,
};

/// More memory than any input of ours can honestly take, in MiB.
const MEMORY_MAX: u32 = 2048;

/// Sets up and fuzzes one target or all of them.
///
/// # Errors
///
/// If there is no such target, or one found something.
pub fn run(workspace: &Workspace, target: Option<&str>, seconds: u32) -> Result<()> {
    setup::ensure(&[Part::Fuzz])?;
    let all = targets(workspace)?;
    let chosen = match target {
        None => all,
        Some(target) if all.iter().any(|name| name == target) => vec![target.to_owned()],
        Some(target) => bail!(
            "there is no target `{target}`; there are: {}",
            all.join(", ")
        ),
    };
    let mut report = Report::default();
    stages(&mut report, workspace, &chosen, seconds);
    report.finish()
}

/// Adds one stage for each target.
pub fn stages(report: &mut Report, workspace: &Workspace, targets: &[String], seconds: u32) {
    let seconds = share(seconds, targets.len());
    for target in targets {
        report.stage(&format!("fuzz {target}"), &[], || {
            process::run(&mut command(workspace, target, seconds)?)?;
            Ok(Tally::ONE_PASSED)
        });
    }
}

/// Returns the names of all targets.
///
/// # Errors
///
/// If cargo-fuzz cannot list them, or there is none.
pub fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let output = cargo_fuzz(workspace)
        .arg("list")
        .output()
        .context("cannot start `cargo fuzz list`")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("`cargo fuzz list` failed: {}", why.trim());
    }
    let names = String::from_utf8_lossy(&output.stdout);
    let names = names.lines().map(|line| line.trim().to_owned());
    let names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        bail!("there is no fuzz target in fuzz/");
    }
    Ok(names)
}

/// Returns the seconds for each of so many targets; at least one, or libFuzzer would never stop.
fn share(seconds: u32, targets: usize) -> u32 {
    let targets = u32::try_from(targets).unwrap_or(u32::MAX).max(1);
    (seconds / targets).max(1)
}

/// Returns the command that fuzzes one target.
///
/// What is found interesting goes to a folder below `target/`; the corpus in the tree is read and
/// grows only when somebody means it to.
fn command(workspace: &Workspace, target: &str, seconds: u32) -> Result<Command> {
    let grown = format!("fuzz/target/corpus/{target}");
    let kept = format!("fuzz/corpus/{target}");
    let folder = workspace.root().join(&grown);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;

    let mut cargo = cargo_fuzz(workspace);
    cargo.args(["run", target, &grown]);
    if workspace.root().join(&kept).is_dir() {
        cargo.arg(kept);
    }
    cargo.arg("--").arg(format!("-max_total_time={seconds}"));
    cargo.arg(format!("-rss_limit_mb={MEMORY_MAX}"));
    Ok(cargo)
}

fn cargo_fuzz(workspace: &Workspace) -> Command {
    let mut cargo = process::cargo(workspace);
    // Sanitizers are still a nightly option; the stable compiler has them all the same.
    cargo.env("RUSTC_BOOTSTRAP", "1").arg("fuzz");
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_shared_and_nobody_gets_none() {
        assert_eq!(share(60, 4), 15);
        assert_eq!(share(60, 1), 60);
        assert_eq!(share(2, 5), 1);
        assert_eq!(share(60, 0), 60);
    }
}
