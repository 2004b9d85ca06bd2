//! Set-up on machines that are not this one.

use super::*;
use crate::toolchain::{Linker, Rust};
use plan::Impossible;

/// A freshly installed Debian: cargo, and nothing of what we need.
fn fresh() -> Found {
    Found {
        root: true,
        host: Host::Debian,
        debian: None,
        nightly: None,
        linker: None,
        cargo_fuzz: false,
        cpp: false,
        absent: LAB_TOOLS.iter().collect(),
    }
}

/// The same, after set-up.
fn complete() -> Found {
    Found {
        debian: Some(debian()),
        linker: Some(linker()),
        cargo_fuzz: true,
        cpp: true,
        absent: Vec::new(),
        ..fresh()
    }
}

fn debian() -> Rust {
    Rust::Debian {
        release: "1.96.0".to_owned(),
    }
}

fn nightly() -> Rust {
    Rust::Nightly {
        name: "nightly-x86_64-unknown-linux-gnu".to_owned(),
    }
}

fn linker() -> Linker {
    Linker {
        path: "/root/.cargo/bin/bpf-linker".into(),
        release: LINKER.to_owned(),
    }
}

const ALL: [Part; 3] = [Part::Bpf, Part::Lab, Part::Fuzz];

/// What would be typed, one command a line, or the error.
#[track_caller]
fn typed(parts: &[Part], found: &Found) -> Vec<String> {
    let plan = plan(parts, found).expect("the plan is possible");
    as_typed(&plan.steps)
        .lines()
        .map(|line| line.trim().to_owned())
        .collect()
}

#[track_caller]
fn chosen(found: &Found) -> Rust {
    let plan = plan(&[Part::Bpf], found).expect("the plan is possible");
    plan.toolchain.expect("a toolchain was chosen").rust
}

#[test]
fn a_fresh_debian_gets_packages_first_and_then_what_is_compiled_against_them() {
    let lines = typed(&ALL, &fresh());

    assert_eq!(lines[0], "sudo apt-get -q -o Acquire::Retries=3 update");
    assert!(
        lines[1].starts_with("sudo DEBIAN_FRONTEND=noninteractive apt-get -q -y"),
        "{lines:?}"
    );
    for package in [
        "rustc-web",
        "rust-web-src",
        "llvm-22-dev",
        "iproute2",
        "nftables",
        "g++",
    ] {
        assert!(lines[1].contains(package), "{package} in {}", lines[1]);
    }
    assert!(
        lines[2].contains("LLVM_SYS_221_PREFIX=/usr/lib/llvm-22"),
        "{lines:?}"
    );
    assert!(
        lines[2].contains("cargo install --locked bpf-linker --version 0.13.0"),
        "{lines:?}"
    );
    assert!(
        lines[3].contains("cargo install --locked cargo-fuzz --version"),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 4);
}

#[test]
fn a_machine_that_was_set_up_gets_nothing() {
    let Plan { toolchain, steps } = plan(&ALL, &complete()).expect("nothing to do is possible");

    assert_eq!(steps, []);
    assert_eq!(
        toolchain,
        Some(Toolchain {
            rust: debian(),
            linker: linker()
        })
    );
}

#[test]
fn a_part_nobody_asked_for_is_not_installed() {
    assert_eq!(
        typed(
            &[Part::Lab],
            &Found {
                absent: Vec::new(),
                ..fresh()
            }
        ),
        Vec::<String>::new()
    );
    assert_eq!(
        plan(&[Part::Lab], &complete()).expect("possible").toolchain,
        None
    );
}

#[test]
fn only_the_missing_program_is_installed() {
    let nft = LAB_TOOLS
        .iter()
        .find(|tool| tool.program == "nft")
        .into_iter()
        .collect();
    let lines = typed(
        &ALL,
        &Found {
            absent: nft,
            ..complete()
        },
    );

    assert!(lines[1].ends_with(" nftables"), "{lines:?}");
    assert_eq!(lines.len(), 2);
}

#[test]
fn debians_rust_without_a_linker_gets_the_linker_only() {
    let lines = typed(
        &[Part::Bpf],
        &Found {
            linker: None,
            ..complete()
        },
    );

    assert!(!lines[1].contains("rustc-web"), "{lines:?}");
    assert!(lines[1].contains("llvm-22-dev"), "{lines:?}");
    assert!(lines[2].contains("bpf-linker"), "{lines:?}");
}

#[test]
fn debians_rust_is_preferred_and_a_nightly_taken_where_it_is_not() {
    let both = Found {
        nightly: Some(nightly()),
        ..complete()
    };
    let only_nightly = Found {
        nightly: Some(nightly()),
        linker: Some(linker()),
        ..fresh()
    };

    assert_eq!(chosen(&both), debian());
    assert_eq!(chosen(&only_nightly), nightly());
}

#[test]
fn without_any_toolchain_the_error_is_the_command_to_run() {
    let foreign = Found {
        host: Host::OtherApt,
        ..fresh()
    };
    let half = Found {
        nightly: Some(nightly()),
        host: Host::WithoutApt,
        ..fresh()
    };

    let nothing = plan(&[Part::Bpf], &foreign)
        .expect_err("no toolchain")
        .to_string();
    let no_linker = plan(&[Part::Bpf], &half)
        .expect_err("no linker")
        .to_string();

    assert!(
        nothing.contains("rustup toolchain install nightly --component rust-src"),
        "{nothing}"
    );
    assert!(
        nothing.contains("cargo binstall --no-confirm bpf-linker@0.13.0"),
        "{nothing}"
    );
    assert!(
        !no_linker.contains("rustup toolchain install"),
        "{no_linker}"
    );
    assert!(no_linker.contains("bpf-linker@0.13.0"), "{no_linker}");
}

#[test]
fn without_apt_the_missing_programs_are_named() {
    let ip = LAB_TOOLS
        .iter()
        .filter(|tool| tool.program == "ip")
        .collect();
    let found = Found {
        host: Host::WithoutApt,
        absent: ip,
        ..complete()
    };

    assert_eq!(
        plan(&[Part::Lab], &found),
        Err(Impossible::NoApt {
            programs: vec!["ip"]
        })
    );
}

#[test]
fn every_package_comes_with_a_reason() {
    let lab = LAB_TOOLS.iter().map(|tool| &tool.package);
    for package in DEBIAN_RUST.iter().chain(&LINKER_LIBRARIES).chain(lab) {
        assert!(!package.why.is_empty(), "{}", package.name);
    }
}
