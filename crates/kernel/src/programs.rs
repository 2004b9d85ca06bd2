//! Loads the program, over the tables that are pinned already or over new ones.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use abi::{LAYOUT, PROGRAM, map};
use aya::{
    Ebpf, EbpfLoader,
    maps::MapInfo,
    programs::{ProgramError, Xdp},
};

use crate::{probe::Advice, state::State, tables::Tables};

/// The object that `cargo xtask ebpf` built.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/egret.o"));

/// Why the program was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A pinned map is not what this layout says. Never happens to files only Egret wrote.
    #[error(
        "the pinned map {name} has {what} {found}, where layout {LAYOUT} has {expected}. \
         It is left as it is; `egretd --uninstall` removes it, with all flows"
    )]
    Mismatch {
        /// Which map.
        name: &'static str,
        /// What differs.
        what: &'static str,
        /// What the pinned map has.
        found: u32,
        /// What it should have.
        expected: u32,
    },
    /// The object lacks a map or the program; it and this program are not of one build.
    #[error("the built-in kernel object has no {name}")]
    Missing {
        /// What is missing.
        name: &'static str,
    },
    /// The kernel refused a map.
    #[error("the kernel refused the tables{advice}")]
    Tables {
        /// What the kernel lacks.
        advice: Advice,
        /// What it said.
        source: Box<aya::EbpfError>,
    },
    /// A map could not be opened.
    #[error("cannot open the map {name}")]
    Open {
        /// Which map.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused the program.
    #[error("the kernel refused the program{advice}")]
    Program {
        /// What the kernel lacks.
        advice: Advice,
        /// What it said.
        source: Box<ProgramError>,
    },
}

impl LoadError {
    fn tables(source: aya::EbpfError) -> Self {
        Self::Tables {
            advice: Advice::ask(),
            source: Box::new(source),
        }
    }

    fn program(source: ProgramError) -> Self {
        Self::Program {
            advice: Advice::ask(),
            source: Box::new(source),
        }
    }
}

/// The loaded program.
pub struct Program {
    ebpf: Ebpf,
}

/// What loading found and made.
pub struct Loaded {
    /// The program.
    pub program: Program,
    /// Its tables.
    pub tables: Tables,
    /// Whether the tables were there already.
    pub adopted: bool,
}

impl Program {
    /// Loads the program. Tables that are pinned are taken over as they are; missing ones are made
    /// for `flows` flows and pinned.
    ///
    /// # Errors
    ///
    /// See [`LoadError`]. Nothing that was pinned is changed.
    pub fn load(state: &State, flows: u32) -> Result<Loaded, LoadError> {
        let maps = state.maps();
        let adopted = maps.join(map::CONFIG).exists();
        let mut loader = EbpfLoader::new();
        for name in map::ALL {
            loader.map_pin_path(name, maps.join(name));
        }
        loader
            .map_max_entries(map::FLOWS, 2 * flows)
            .map_max_entries(map::MAPPINGS, flows);
        let mut ebpf = loader.load(OBJECT).map_err(LoadError::tables)?;
        let tables = Tables::open(&maps)?;

        let program: &mut Xdp = ebpf
            .program_mut(PROGRAM)
            .ok_or(LoadError::Missing { name: PROGRAM })?
            .try_into()
            .map_err(LoadError::program)?;
        program.load().map_err(LoadError::program)?;
        Ok(Loaded {
            program: Self { ebpf },
            tables,
            adopted,
        })
    }

    fn xdp(&self) -> Result<&Xdp, LoadError> {
        self.ebpf
            .program(PROGRAM)
            .ok_or(LoadError::Missing { name: PROGRAM })?
            .try_into()
            .map_err(LoadError::program)
    }

    /// The program's descriptor.
    ///
    /// # Errors
    ///
    /// Only if the program is not loaded, which [`Program::load`] excludes.
    pub fn fd(&self) -> Result<BorrowedFd<'_>, LoadError> {
        let fd = self.xdp()?.fd().map_err(LoadError::program)?;
        Ok(fd.as_fd())
    }

    /// The program as aya sees it, for test runs.
    ///
    /// # Errors
    ///
    /// As [`Program::fd`].
    pub fn as_xdp(&self) -> Result<&Xdp, LoadError> {
        self.xdp()
    }

    /// Every program of the object, by name, with the instructions that the verifier walked, or
    /// nothing if it is not loaded or the kernel does not say.
    pub fn all(&self) -> impl Iterator<Item = (&str, Option<u32>)> {
        self.ebpf.programs().map(|(name, program)| {
            let info = program.info().ok();
            let verified = info.and_then(|info| info.verified_instruction_count());
            (name, verified)
        })
    }

    /// Instructions that the verifier walked, if the kernel says (5.16 and later).
    pub fn verified_instructions(&self) -> Option<u32> {
        self.xdp().ok()?.info().ok()?.verified_instruction_count()
    }

    /// The kernel's digest of the program, as `bpftool prog` shows it.
    pub fn tag(&self) -> Option<String> {
        let info = self.xdp().ok()?.info().ok()?;
        Some(format!("{:016x}", info.tag()))
    }
}

/// Compares a pinned map with what the layout says.
pub(crate) fn check(
    name: &'static str,
    info: &MapInfo,
    key: usize,
    value: usize,
) -> Result<(), LoadError> {
    for (what, found, expected) in [
        ("keys of size", info.key_size(), key),
        ("values of size", info.value_size(), value),
    ] {
        if found as usize != expected {
            return Err(LoadError::Mismatch {
                name,
                what,
                found,
                expected: expected as u32,
            });
        }
    }
    Ok(())
}
