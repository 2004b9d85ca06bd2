//! Loads the programs, over the tables that are pinned already or over new ones.
//!
//! One program is attached; the others are its stages, which it calls by the numbers of a map that
//! belongs to this load. That map is pinned too: the kernel empties it when no user space holds it,
//! and the programs must go on without a daemon.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    thread,
};

use abi::{
    LAYOUT, Stage,
    limits::CLIENTS_MAX,
    map,
    stage::{self, ENTRY},
};
use aya::{
    Ebpf, EbpfLoader,
    maps::{MapError, MapInfo, ProgramArray},
    pin::PinError,
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
    /// The kernel refused a program.
    #[error("the kernel refused the program {name}{advice}")]
    Program {
        /// Which program.
        name: &'static str,
        /// What the kernel lacks.
        advice: Advice,
        /// What it said.
        source: Box<ProgramError>,
    },
    /// The programs could not be joined.
    #[error("cannot put the program {name} behind the first one")]
    Stage {
        /// Which program.
        name: &'static str,
        /// Why.
        source: Box<MapError>,
    },
    /// The stages could not be pinned, or those of an earlier load not be removed.
    #[error("cannot use the pinned stages {}", path.display())]
    Pin {
        /// Which pin.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The loaded programs.
pub struct Program {
    ebpf: Ebpf,
    /// Where their stages are pinned.
    stages: PathBuf,
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
    /// Loads the programs. Tables that are pinned are taken over as they are; missing ones are made
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
            .map_max_entries(map::MAPPINGS, 2 * flows)
            .map_max_entries(map::CLIENTS, flows.min(CLIENTS_MAX as u32));
        let mut ebpf = loader.load(OBJECT).map_err(|source| LoadError::Tables {
            advice: Advice::ask(),
            source: Box::new(source),
        })?;
        let tables = Tables::open(&maps)?;

        load_programs(&mut ebpf)?;
        let stages = join(state, &mut ebpf)?;
        Ok(Loaded {
            program: Self { ebpf, stages },
            tables,
            adopted,
        })
    }

    /// Lets go of the stages of earlier loads. To be called when every link runs this one.
    ///
    /// # Errors
    ///
    /// If a pin cannot be removed.
    pub fn retire_others(&self, state: &State) -> Result<(), LoadError> {
        let directory = state.stages();
        let failed = |path: &PathBuf, source: io::Error| LoadError::Pin {
            path: path.clone(),
            source: source.into(),
        };
        for entry in fs::read_dir(&directory).map_err(|source| failed(&directory, source))? {
            let pin = entry.map_err(|source| failed(&directory, source))?.path();
            if pin != self.stages {
                fs::remove_file(&pin).map_err(|source| failed(&pin, source))?;
            }
        }
        Ok(())
    }

    /// The descriptor of the program to attach.
    ///
    /// # Errors
    ///
    /// Only if the program is not loaded, which [`Program::load`] excludes.
    pub fn fd(&self) -> Result<BorrowedFd<'_>, LoadError> {
        let fd = self.as_xdp()?.fd().map_err(refused(ENTRY))?;
        Ok(fd.as_fd())
    }

    /// The program to attach as aya sees it, for test runs.
    ///
    /// # Errors
    ///
    /// As [`Program::fd`].
    pub fn as_xdp(&self) -> Result<&Xdp, LoadError> {
        self.xdp(ENTRY)
    }

    fn xdp(&self, name: &'static str) -> Result<&Xdp, LoadError> {
        self.ebpf
            .program(name)
            .ok_or(LoadError::Missing { name })?
            .try_into()
            .map_err(refused(name))
    }

    /// Instructions that the verifier walked, in all programs together.
    pub fn verified_instructions(&self) -> Option<u32> {
        Some(self.verified()?.into_iter().map(|(_, count)| count).sum())
    }

    /// Instructions that the verifier walked in each program, if the kernel says (5.16 and later).
    pub fn verified(&self) -> Option<Vec<(&'static str, u32)>> {
        let walked = |name| {
            let info = self.xdp(name).ok()?.info().ok()?;
            Some((name, info.verified_instruction_count()?))
        };
        stage::programs().map(walked).collect()
    }

    /// The kernel's digest of the program to attach, as `bpftool prog` shows it.
    pub fn tag(&self) -> Option<String> {
        let info = self.as_xdp().ok()?.info().ok()?;
        Some(format!("{:016x}", info.tag()))
    }
}

fn refused(name: &'static str) -> impl FnOnce(ProgramError) -> LoadError {
    move |source| LoadError::Program {
        name,
        advice: Advice::ask(),
        source: Box::new(source),
    }
}

/// Has the kernel verify all programs at once: that is most of the time that a start takes.
fn load_programs(ebpf: &mut Ebpf) -> Result<(), LoadError> {
    let mut found: BTreeMap<_, _> = ebpf.programs_mut().collect();
    let mut programs = Vec::new();
    for name in stage::programs() {
        let program = found.remove(name).ok_or(LoadError::Missing { name })?;
        let program: &mut Xdp = program.try_into().map_err(refused(name))?;
        programs.push((name, program));
    }
    let load = |(name, program): (_, &mut Xdp)| program.load().map_err(refused(name));
    thread::scope(|scope| {
        let loads: Vec<_> = programs
            .into_iter()
            .map(|program| scope.spawn(move || load(program)))
            .collect();
        loads.into_iter().try_for_each(|loaded| {
            loaded
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

/// Puts the stages behind the first program, and pins the map that does; returns the pin.
fn join(state: &State, ebpf: &mut Ebpf) -> Result<PathBuf, LoadError> {
    const MISSING: LoadError = LoadError::Missing { name: map::STAGES };
    let failed = |name| {
        move |source| LoadError::Stage {
            name,
            source: Box::new(source),
        }
    };
    let map = ebpf.take_map(map::STAGES).ok_or(MISSING)?;
    let mut stages = ProgramArray::try_from(map).map_err(failed(map::STAGES))?;
    for stage in Stage::ALL {
        let name = stage.program();
        let program: &Xdp = ebpf
            .program(name)
            .ok_or(LoadError::Missing { name })?
            .try_into()
            .map_err(refused(name))?;
        let fd = program.fd().map_err(refused(name))?;
        stages.set(stage as u32, fd, 0).map_err(failed(name))?;
    }
    let entry: &Xdp = ebpf
        .program(ENTRY)
        .ok_or(LoadError::Missing { name: ENTRY })?
        .try_into()
        .map_err(refused(ENTRY))?;
    let id = entry.info().map_err(refused(ENTRY))?.id();
    let path = state.stages().join(id.to_string());
    stages
        .pin(&path)
        .map_err(|source: PinError| LoadError::Pin {
            path: path.clone(),
            source: source.into(),
        })?;
    Ok(path)
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
