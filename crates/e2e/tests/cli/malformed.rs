//! Configurations that are none, each with its error as a user sees it: from the command, and from
//! the daemon itself.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::harness::program;

use crate::Said;

/// How many there must be at least.
const FILES_MIN: usize = 20;

/// Where the malformed configurations stand, each with what is to be said about it.
fn folder(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path)
}

fn yaml_files(folder: &PathBuf) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        files.extend(name.ends_with(".yaml").then_some(name));
    }
    files.sort();
    Ok(files)
}

#[test]
fn every_malformed_configuration_is_explained_by_command_and_daemon() -> Result<()> {
    let folder = folder("gateway/tests/malformed");
    let files = yaml_files(&folder)?;
    ensure!(
        files.len() >= FILES_MIN,
        "only {} malformed configurations",
        files.len()
    );

    for file in &files {
        let wanted = fs::read_to_string(folder.join(file).with_extension("stderr"))?;
        let wanted = wanted.trim_end();
        let run = |command: &mut Command| -> Result<Said> {
            Ok(Said::from(command.current_dir(&folder).output()?))
        };

        let checked = run(Command::new(program("egret")?).args(["check", file]))?;
        assert_eq!(
            checked.status,
            Some(1),
            "egret check {file}\n{}",
            checked.err
        );
        assert_eq!(checked.err.trim_end(), wanted, "egret check {file}");
        assert_eq!(checked.out, "", "egret check {file}");

        let json = run(Command::new(program("egret")?).args(["--json", "check", file]))?;
        assert_eq!(json.status, Some(1), "egret --json check {file}");
        let report: serde_json::Value = serde_json::from_str(&json.out)?;
        assert_eq!(report["files"][0]["valid"], false, "{report}");
        let problems = report["files"][0]["problems"]
            .as_array()
            .context("problems")?;
        ensure!(!problems.is_empty(), "egret --json check {file}: {report}");

        let daemon = run(Command::new(program("egretd")?).args(["--check", "--config", file]))?;
        assert_eq!(
            daemon.status,
            Some(1),
            "egretd --check {file}\n{}",
            daemon.err
        );
        assert!(
            daemon.err.trim_end().ends_with(wanted),
            "egretd --check {file} says\n{}\nand not\n{wanted}",
            daemon.err
        );
    }
    println!(
        "{} malformed configurations, each explained three times",
        files.len()
    );
    Ok(())
}

#[test]
fn every_example_is_good() -> Result<()> {
    let folder = folder("../deploy/examples");
    let files = yaml_files(&folder)?;
    ensure!(!files.is_empty(), "there are no examples");

    for file in &files {
        let path = folder.join(file);
        let checked: Said = Command::new(program("egret")?)
            .arg("check")
            .arg(&path)
            .output()?
            .into();
        assert_eq!(checked.status, Some(0), "{}", checked.err);
        let daemon: Said = Command::new(program("egretd")?)
            .arg("--check")
            .arg("--config")
            .arg(&path)
            .output()?
            .into();
        assert_eq!(daemon.status, Some(0), "{}", daemon.err);
        assert!(daemon.err.contains("is valid"), "{}", daemon.err);
    }
    println!("{} examples are good", files.len());
    Ok(())
}
