//! What is missing: a pure function of what is wanted and what was found.

use std::fmt;

use super::{CARGO_FUZZ, CPP, DEBIAN_RUST, LINKER_LIBRARIES, Package, Part, Tool};
use crate::toolchain::{LINKER, Linker, Rust, Toolchain};

/// What the machine has.
#[derive(Debug)]
pub struct Found {
    pub root: bool,
    pub host: Host,
    pub debian: Option<Rust>,
    pub nightly: Option<Rust>,
    pub linker: Option<Linker>,
    pub cargo_fuzz: bool,
    pub cpp: bool,
    /// The lab's tools that are not there.
    pub absent: Vec<&'static Tool>,
}

/// What can be installed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Anything, Debian's own newest Rust included.
    Debian,
    /// Ordinary packages; Debian's newest Rust is not among them.
    OtherApt,
    /// Nothing by us.
    WithoutApt,
}

/// One thing to install.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Apt(Vec<&'static Package>),
    Linker,
    CargoFuzz,
}

impl Step {
    /// Whether it changes the system and not only the user's own ~/.cargo.
    pub fn wants_root(&self) -> bool {
        match self {
            Self::Apt(_) => true,
            Self::Linker => false,
            Self::CargoFuzz => false,
        }
    }

    /// What it brings, and what for.
    pub fn reasons(&self) -> Vec<(String, &'static str)> {
        match self {
            Self::Apt(packages) => packages
                .iter()
                .map(|package| (package.name.to_owned(), package.why))
                .collect(),
            Self::Linker => vec![(
                format!("bpf-linker {LINKER}"),
                "links Rust's LLVM bitcode into a BPF object (compiles for a minute)",
            )],
            Self::CargoFuzz => {
                vec![(
                    format!("cargo-fuzz {CARGO_FUZZ}"),
                    "runs the fuzz targets of fuzz/",
                )]
            }
        }
    }
}

/// The BPF toolchain, if it is wanted and there, and what is still to install.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub toolchain: Option<Toolchain>,
    pub steps: Vec<Step>,
}

/// Why set-up has to be done by hand.
#[derive(Debug, PartialEq, Eq)]
pub enum Impossible {
    /// There is no toolchain for BPF programs, and only rustup could bring one.
    NoToolchain { nightly: bool, linker: bool },
    /// There is no package manager we know.
    NoApt { programs: Vec<&'static str> },
}

impl std::error::Error for Impossible {}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoToolchain { nightly, linker } => {
                writeln!(
                    f,
                    "no Rust toolchain on this machine can build BPF programs. Run\n"
                )?;
                if !nightly {
                    writeln!(
                        f,
                        "    rustup toolchain install nightly --component rust-src"
                    )?;
                }
                if !linker {
                    writeln!(f, "    cargo install cargo-binstall")?;
                    writeln!(f, "    cargo binstall --no-confirm bpf-linker@{LINKER}")?;
                }
                Ok(())
            }
            Self::NoApt { programs } => {
                let programs = programs.join(", ");
                write!(
                    f,
                    "please install what brings these programs, there is no apt: {programs}"
                )
            }
        }
    }
}

/// Decides what to install.
pub fn plan(parts: &[Part], found: &Found) -> Result<Plan, Impossible> {
    let mut plan = Plan::default();
    let mut packages: Vec<&'static Package> = Vec::new();
    let mut tools = Vec::new();
    for part in parts {
        match part {
            Part::Bpf => match bpf(found)? {
                Bpf::There(toolchain) => plan.toolchain = Some(toolchain),
                Bpf::Missing { rust, linker } => {
                    packages.extend(rust);
                    if linker {
                        packages.extend(&LINKER_LIBRARIES);
                        tools.push(Step::Linker);
                    }
                }
            },
            Part::Lab => packages.extend(found.absent.iter().map(|tool| &tool.package)),
            Part::Fuzz => {
                packages.extend((!found.cpp).then_some(&CPP));
                tools.extend((!found.cargo_fuzz).then_some(Step::CargoFuzz));
            }
        }
    }

    if !packages.is_empty() && found.host == Host::WithoutApt {
        let programs = found.absent.iter().map(|tool| tool.program);
        let cpp = (!found.cpp && parts.contains(&Part::Fuzz)).then_some("c++");
        return Err(Impossible::NoApt {
            programs: programs.chain(cpp).collect(),
        });
    }
    // Packages first: the tools are compiled against them.
    plan.steps
        .extend((!packages.is_empty()).then_some(Step::Apt(packages)));
    plan.steps.extend(tools);
    Ok(plan)
}

enum Bpf {
    There(Toolchain),
    Missing {
        rust: &'static [Package],
        linker: bool,
    },
}

/// Debian's Rust before a nightly, because it does not change from one day to the next; but what
/// is complete before what is not.
fn bpf(found: &Found) -> Result<Bpf, Impossible> {
    let rusts = [&found.debian, &found.nightly];
    if let Some(linker) = &found.linker
        && let Some(rust) = rusts.into_iter().flatten().next()
    {
        return Ok(Bpf::There(Toolchain {
            rust: rust.clone(),
            linker: linker.clone(),
        }));
    }
    match found.host {
        Host::Debian => Ok(Bpf::Missing {
            rust: if found.debian.is_some() {
                &[]
            } else {
                &DEBIAN_RUST
            },
            linker: found.linker.is_none(),
        }),
        Host::OtherApt | Host::WithoutApt => Err(Impossible::NoToolchain {
            nightly: rusts.into_iter().flatten().next().is_some(),
            linker: found.linker.is_some(),
        }),
    }
}
