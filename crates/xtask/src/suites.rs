//! The end-to-end suites: every file in `crates/e2e/tests` is one, named like the file.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    ebpf,
    kernels::image::Cache,
    process, programs,
    setup::{self, Part},
    stages::Report,
    toolchain,
    workspace::Workspace,
};

/// The package whose integration tests are the suites.
pub const PACKAGE: &str = "egret-e2e";

/// The scapy that the suite of that name is written for, and what its file is known by.
const SCAPY: &str =
    "scapy==2.6.1 --hash=sha256:88a998572049b511a1f3e44f4aa7c62dd39c6ea2aa1bb58434f503956641789d";

/// Returns the names of the suites, sorted.
///
/// # Errors
///
/// If the folder cannot be read, or there is none: no suite at all must not look like success.
pub fn names(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = programs::folder(workspace, PACKAGE).join("tests");
    let names =
        integration_tests(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    if names.is_empty() {
        bail!("there is no suite in {}", folder.display());
    }
    Ok(names)
}

/// Returns the names of a package's integration tests, by cargo's own rule: `tests/NAME.rs` and
/// `tests/NAME/main.rs`. A package without the folder has none; where there is `tests/main.rs`,
/// the other files are modules of it.
pub fn integration_tests(folder: &Path) -> io::Result<Vec<String>> {
    if folder.join("main.rs").is_file() {
        return Ok(vec!["main".to_owned()]);
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    paths.retain(|path| {
        path.extension().is_some_and(|extension| extension == "rs")
            || path.join("main.rs").is_file()
    });
    let name = |path: &PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<String> = paths.iter().filter_map(name).collect();
    names.sort();
    Ok(names)
}

/// Prints the names.
///
/// # Errors
///
/// If they cannot be found.
pub fn list(workspace: &Workspace) -> Result<()> {
    for name in names(workspace)? {
        println!("{name}");
    }
    Ok(())
}

/// Sets up, builds, and runs one suite or all of them, showing what they print; in full size if it is asked for.
///
/// # Errors
///
/// If there is no such suite, or one did not pass.
pub fn run(
    workspace: &Workspace,
    suite: Option<&str>,
    filter: &[String],
    is_full: bool,
) -> Result<()> {
    let names = chosen(names(workspace)?, suite)?;
    if let Some(toolchain) = setup::ensure(&[Part::Bpf, Part::Lab])? {
        ebpf::build(workspace, &toolchain)?;
    }
    programs::build(workspace)?;

    let mut report = Report::default();
    for name in names {
        report.stage(&stage_name(&name), &[], || {
            let mut command = command(workspace, &name, filter);
            if is_full {
                command.env("EGRET_FULL", "1");
            }
            process::run_tests(&mut command)
        });
    }
    report.finish()
}

fn chosen(names: Vec<String>, suite: Option<&str>) -> Result<Vec<String>> {
    match suite {
        None => Ok(names),
        Some(suite) if names.iter().any(|name| name == suite) => Ok(vec![suite.to_owned()]),
        Some(suite) => bail!(
            "there is no suite `{suite}`; there are: {}",
            names.join(", ")
        ),
    }
}

/// What a suite needs beside the lab's tools.
struct Need {
    suites: &'static [&'static str],
    /// Says in the suite's environment where it is.
    variable: &'static str,
    /// Where it is; nothing if this machine has it where everybody looks.
    find: fn() -> Result<Option<PathBuf>>,
}

static NEEDS: [Need; 5] = [
    Need {
        suites: &["nat"],
        variable: "EGRET_COTURN",
        find: coturn,
    },
    Need {
        suites: &["scapy"],
        variable: "EGRET_SCAPY",
        find: scapy,
    },
    Need {
        suites: &["bgp", "bfd", "cluster", "failover", "demo"],
        variable: "EGRET_FRR",
        find: || router("frr"),
    },
    Need {
        suites: &["bgp", "bfd", "failover"],
        variable: "EGRET_BIRD",
        find: || router("bird2"),
    },
    Need {
        suites: &["bgp"],
        variable: "EGRET_GOBGP",
        find: || router("gobgpd"),
    },
];

/// Fetches what a suite needs, and says by the environment where it is. What cannot be fetched is said;
/// then the tests that need it fail.
pub fn provide(suite: &str, command: &mut Command) {
    for need in NEEDS.iter().filter(|need| need.suites.contains(&suite)) {
        match (need.find)() {
            Ok(Some(folder)) => {
                command.env(need.variable, folder);
            }
            Ok(None) => {}
            Err(error) => eprintln!("xtask: {error:#}"),
        }
    }
}

fn coturn() -> Result<Option<PathBuf>> {
    if toolchain::tools("turnutils_natdiscovery").next().is_some() {
        return Ok(None);
    }
    let why = "a STUN server, and what asks it how a NAT behaves";
    Cache::find()?.package("coturn", why).map(Some)
}

/// Whatever Python has of its own: the tests are written for this one.
fn scapy() -> Result<Option<PathBuf>> {
    let why = "makes packets and takes them apart, without a line of ours";
    Cache::find()?.wheel("scapy", SCAPY, why).map(Some)
}

/// Whatever this machine has of its own: its service would be in the way, and is in nobody's.
fn router(package: &str) -> Result<Option<PathBuf>> {
    let why = "a router that is told by BGP, as its users have it";
    Cache::find()?.package(package, why).map(Some)
}

/// What a suite is called in a report.
pub fn stage_name(suite: &str) -> String {
    format!("e2e {suite}")
}

/// Returns the command that runs one suite.
///
/// One test after the other, because they measure, and what they measure is printed.
pub fn command(workspace: &Workspace, suite: &str, filter: &[String]) -> Command {
    let mut cargo = programs::cargo(workspace, "test");
    provide(suite, &mut cargo);
    cargo
        .args(["--test", suite, "--", "--nocapture", "--test-threads=1"])
        .args(filter);
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn no_name_means_all_suites_and_a_wrong_name_is_answered_with_the_right_ones() {
        let all = names(&["nat", "restart"]);

        assert_eq!(chosen(all.clone(), None).expect("all"), all);
        assert_eq!(
            chosen(all.clone(), Some("nat")).expect("one"),
            names(&["nat"])
        );
        let error = chosen(all, Some("nta"))
            .expect_err("no such suite")
            .to_string();
        assert_eq!(error, "there is no suite `nta`; there are: nat, restart");
    }

    #[test]
    fn suites_are_files_and_folders_with_a_main() {
        let folder = std::env::temp_dir().join(format!("egret-suites-{}", std::process::id()));
        for path in ["twin.rs", "nat/main.rs", "common/mod.rs", "notes.md"] {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("inside the folder")).expect("made");
            fs::write(path, "").expect("written");
        }

        let found = integration_tests(&folder).expect("readable");
        fs::write(folder.join("main.rs"), "").expect("written");
        let one = integration_tests(&folder).expect("readable");
        fs::remove_dir_all(&folder).expect("cleaned up");

        assert_eq!(found, names(&["nat", "twin"]));
        assert_eq!(one, names(&["main"]));
        assert_eq!(
            integration_tests(&folder).expect("absent is empty"),
            names(&[])
        );
    }
}
