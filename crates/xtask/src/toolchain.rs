//! The Rust that can build BPF programs: which kinds there are, and which one this machine has.
//!
//! Building for `bpfel-unknown-none` takes the compiler's own `core` sources and `bpf-linker`. The
//! toolchain that builds everything else usually has neither, so this is a second one beside it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The oldest Rust the BPF programs are built with (major, minor).
pub const RUST_MIN: (u32, u32) = (1, 96);

/// The LLVM of Debian's Rust. `bpf-linker` is built against the same one, or it could not read
/// what the compiler wrote.
pub const LLVM: u32 = 22;

/// The bpf-linker that is installed where there is none.
pub const LINKER: &str = "0.13.0";

/// The oldest bpf-linker that knows LLVM 22 and its `allows-misaligned-mem-access`.
pub const LINKER_MIN: (u32, u32) = (0, 13);

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_CORE: &str = "/usr/lib/rustlib/src/rust/library/core/Cargo.toml";

/// Where Debian's LLVM of that version lives.
pub const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// Cargo settings of the toolchain that runs *this* program. They would steer the other one wrong.
const FOREIGN_SETTINGS: [&str; 9] = [
    "CARGO",
    "RUSTUP_TOOLCHAIN",
    "RUSTC",
    "RUSTDOC",
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "LD_LIBRARY_PATH",
];

/// A Rust with the sources of `core`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rust {
    /// Debian's `rustc-web`, its newest Rust, with `rust-web-src`.
    Debian { release: String },
    /// A nightly of rustup, by its full name, with the component rust-src.
    Nightly { name: String },
}

/// The linker, and what it says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linker {
    pub path: PathBuf,
    pub release: String,
}

/// What builds the BPF object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    pub rust: Rust,
    pub linker: Linker,
}

impl Toolchain {
    /// Says in one line which toolchain was chosen.
    pub fn describe(&self) -> String {
        let rust = match &self.rust {
            Rust::Debian { release } => format!("Debian's Rust {release} (LLVM {LLVM})"),
            Rust::Nightly { name } => format!("rustup's {name}"),
        };
        let Linker { path, release } = &self.linker;
        format!("{rust} and bpf-linker {release} ({})", path.display())
    }

    /// Returns this toolchain's cargo, with nothing of the calling toolchain left in its
    /// environment.
    pub fn cargo(&self) -> Command {
        let mut command = match &self.rust {
            Rust::Debian { .. } => Command::new(DEBIAN_CARGO),
            Rust::Nightly { name } => {
                let mut command = Command::new("rustup");
                command.args(["run", name, "cargo"]);
                command
            }
        };
        for name in FOREIGN_SETTINGS {
            command.env_remove(name);
        }
        match &self.rust {
            Rust::Debian { .. } => {
                // Not a nightly, yet `-Z build-std` is needed; these are the sources it shipped with.
                command
                    .env("RUSTC", DEBIAN_RUSTC)
                    .env("RUSTC_BOOTSTRAP", "1");
            }
            Rust::Nightly { .. } => {}
        }
        command.env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker.path);
        command
    }
}

/// Looks for Debian's Rust: new enough, with the right LLVM and its sources.
pub fn find_debian() -> Option<Rust> {
    let complete = [DEBIAN_CARGO, DEBIAN_CORE]
        .iter()
        .all(|path| Path::new(path).exists());
    if !complete || !Path::new(DEBIAN_RUSTC).exists() {
        return None;
    }
    let mut rustc = Command::new(DEBIAN_RUSTC);
    debian(&said(rustc.arg("-vV").env_remove("LD_LIBRARY_PATH"))?)
}

/// Judges what `rustc -vV` said.
fn debian(versions: &str) -> Option<Rust> {
    let field = |name| versions.lines().find_map(|line| line.strip_prefix(name));
    let release = field("release: ")?;
    let (llvm, _) = major_minor(field("LLVM version: ")?)?;
    let suits = major_minor(release)? >= RUST_MIN && llvm == LLVM;
    suits.then(|| Rust::Debian {
        release: release.to_owned(),
    })
}

/// Looks for a nightly of rustup that has the component rust-src.
pub fn find_nightly() -> Option<Rust> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup")))?;
    let toolchains = fs::read_dir(home.join("toolchains")).ok()?;
    let with_sources = toolchains
        .flatten()
        .filter(|entry| {
            entry
                .path()
                .join("lib/rustlib/src/rust/library/core/Cargo.toml")
                .exists()
        })
        .filter_map(|entry| entry.file_name().into_string().ok());
    nightly(with_sources)
}

/// Chooses among toolchains by name: the undated nightly if there is one, else the latest dated.
fn nightly(names: impl Iterator<Item = String>) -> Option<Rust> {
    // A date starts with a digit and the host's name with a letter, which sorts behind.
    let name = names.filter(|name| name.starts_with("nightly")).max()?;
    Some(Rust::Nightly { name })
}

/// Looks for a bpf-linker that runs and is new enough.
pub fn find_linker() -> Option<Linker> {
    tools("bpf-linker").find_map(|path| {
        let said = said(
            Command::new(&path)
                .arg("--version")
                .env_remove("LD_LIBRARY_PATH"),
        )?;
        linker(path, &said)
    })
}

/// Judges what `bpf-linker --version` said.
fn linker(path: PathBuf, said: &str) -> Option<Linker> {
    let release = said.trim().strip_prefix("bpf-linker ")?;
    let suits = major_minor(release)? >= LINKER_MIN;
    suits.then(|| Linker {
        path,
        release: release.to_owned(),
    })
}

/// Returns the places where a program of this name is: in `PATH`, where cargo installs, and where
/// a user's `PATH` often does not lead but root's does.
pub fn tools(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    env::split_paths(&path)
        .chain(cargo_home.map(|home| home.join("bin")))
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .filter(|path| path.is_file())
        .collect::<Vec<_>>()
        .into_iter()
}

/// What a program prints, if it runs and succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn major_minor(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rustc(release: &str, llvm: &str) -> Option<Rust> {
        debian(&format!(
            "rustc {release}\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n\
             release: {release}\nLLVM version: {llvm}\n"
        ))
    }

    #[test]
    fn debians_rust_suits_when_new_enough_and_of_the_linkers_llvm() {
        let suits = |release: &str| {
            Some(Rust::Debian {
                release: release.to_owned(),
            })
        };

        assert_eq!(rustc("1.96.0", "22.1.8"), suits("1.96.0"));
        assert_eq!(rustc("1.100.0", "22.1.9"), suits("1.100.0"));
        assert_eq!(rustc("1.85.0", "22.1.8"), None);
        assert_eq!(rustc("1.63.0", "14.0.6"), None);
        assert_eq!(rustc("1.99.0", "23.1.0"), None);
        assert_eq!(debian("rustc: command not found"), None);
    }

    #[test]
    fn the_undated_nightly_is_preferred() {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let chosen = |given: &[&str]| nightly(names(given).into_iter());
        let undated = "nightly-x86_64-unknown-linux-gnu";
        let dated = "nightly-2026-10-01-x86_64-unknown-linux-gnu";
        let older = "nightly-2026-01-01-x86_64-unknown-linux-gnu";

        assert_eq!(
            chosen(&[older, undated, dated]),
            Some(Rust::Nightly {
                name: undated.into()
            })
        );
        assert_eq!(
            chosen(&[dated, older]),
            Some(Rust::Nightly { name: dated.into() })
        );
        assert_eq!(chosen(&["stable-x86_64-unknown-linux-gnu"]), None);
    }

    #[test]
    fn a_linker_older_than_our_llvm_does_not_suit() {
        let at = |said| linker(PathBuf::from("/bin/bpf-linker"), said).map(|found| found.release);

        assert_eq!(at("bpf-linker 0.13.0\n"), Some("0.13.0".to_owned()));
        assert_eq!(at("bpf-linker 0.9.15\n"), None);
        assert_eq!(at("something else"), None);
    }

    #[test]
    fn the_bpf_cargo_hears_nothing_of_the_calling_toolchain() {
        let toolchain = Toolchain {
            rust: Rust::Debian {
                release: "1.96.0".to_owned(),
            },
            linker: Linker {
                path: "/opt/bpf-linker".into(),
                release: "0.13.0".to_owned(),
            },
        };

        let command = toolchain.cargo();
        let setting = |wanted: &str| {
            let mut settings = command.get_envs();
            settings
                .find(|(name, _)| *name == wanted)
                .and_then(|(_, value)| value)
        };

        assert_eq!(command.get_program(), "/usr/bin/cargo");
        assert_eq!(setting("RUSTC"), Some("/usr/bin/rustc".as_ref()));
        assert_eq!(setting("RUSTC_BOOTSTRAP"), Some("1".as_ref()));
        assert!(
            command
                .get_envs()
                .any(|entry| entry == ("RUSTUP_TOOLCHAIN".as_ref(), None))
        );
    }
}
