//! Loads the programs, over the tables that are pinned already or over new ones.
//!
//! One program is attached; the others are its stages, which it calls by the numbers of a map that
//! belongs to this load. That map is pinned too: the kernel empties it when no user space holds it,
//! and the programs must go on without a daemon.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    thread,
};

use abi::{
    Flow, FlowKey, Ip6, LAYOUT, Needs, Picture, Stage,
    limits::{CLIENTS_MAX, FRAGMENTS_MAX},
    map,
    stage::ENTRY,
};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData, MapError, MapInfo, ProgramArray},
    pin::PinError,
    programs::{ProgramError, Xdp},
};

use crate::{
    probe::Advice,
    state::State,
    tables::{Table, Tables},
};

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
    /// A pinned map that is empty could not be looked into or removed, to be made in another size.
    #[error("cannot make the map {name} in its new size")]
    Resize {
        /// Which map.
        name: &'static str,
        /// Why.
        source: io::Error,
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
    /// What joins them.
    stages: ProgramArray<MapData>,
    /// Where that is pinned.
    pin: PathBuf,
    /// What it has programs for.
    has: Needs,
}

/// How large tables are to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Flows with IPv4 addresses only.
    pub flows: u32,
    /// Flows with an IPv6 address on one side or both.
    pub flows6: u32,
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
    /// in these sizes and pinned. Those of flows with IPv6 addresses are made anew in another size if
    /// there is no such flow, so that a gateway that is only now told of IPv6 has room for it.
    ///
    /// The programs for IPv6 are most of what the kernel has to verify. They are loaded if they are
    /// needed, or if there is such a flow; so are those of prefixes that are translated one to one.
    ///
    /// # Errors
    ///
    /// See [`LoadError`]. Nothing that was pinned is changed.
    pub fn load(state: &State, sizes: Sizes, needs: Needs) -> Result<Loaded, LoadError> {
        let maps = state.maps();
        let adopted = maps.join(map::CONFIG).exists();
        if adopted {
            resize6(&maps, sizes.flows6)?;
        }
        let mut loader = EbpfLoader::new();
        for name in map::ALL {
            loader.map_pin_path(name, maps.join(name));
        }
        loader
            .map_max_entries(map::FLOWS, 2 * sizes.flows)
            .map_max_entries(map::MAPPINGS, 2 * sizes.flows)
            .map_max_entries(map::FLOWS6, 2 * sizes.flows6)
            .map_max_entries(map::MAPPINGS6, 2 * sizes.flows6)
            .map_max_entries(map::FRAGMENTS6, sizes.flows6.min(FRAGMENTS_MAX as u32))
            .map_max_entries(
                map::CLIENTS,
                sizes.flows.max(sizes.flows6).min(CLIENTS_MAX as u32),
            );
        let mut ebpf = loader.load(OBJECT).map_err(|source| LoadError::Tables {
            advice: Advice::ask(),
            source: Box::new(source),
        })?;
        let tables = Tables::open(&maps)?;

        let unread = |source| LoadError::Open {
            name: map::FLOWS6,
            source,
        };
        let has = Needs {
            ipv6: needs.ipv6 || !tables.flows6.is_empty().map_err(unread)?,
            ..needs
        };
        load_programs(&mut ebpf, programs(has))?;
        let mut stages = stages(&mut ebpf)?;
        join(&ebpf, &mut stages, stages_for(has))?;
        let (stages, pin) = pin(state, &ebpf, stages)?;
        Ok(Loaded {
            program: Self {
                ebpf,
                stages,
                pin,
                has,
            },
            tables,
            adopted,
        })
    }

    /// What there are programs for.
    pub fn needs(&self) -> Needs {
        self.has
    }

    /// Loads the programs for these needs as well, if they are not there.
    ///
    /// # Errors
    ///
    /// See [`LoadError`]; the others go on, and it can be tried again.
    pub fn load_more(&mut self, needs: Needs) -> Result<(), LoadError> {
        let (had, has) = (self.has, self.has.and(needs));
        let more = || stages_for(has).filter(move |stage| !stage.is_needed(had));
        load_programs(&mut self.ebpf, more().map(Stage::program))?;
        join(&self.ebpf, &mut self.stages, more())?;
        self.has = has;
        Ok(())
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
            if pin != self.pin {
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
        xdp(&self.ebpf, name)
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
        programs(self.has).map(walked).collect()
    }

    /// The kernel's digest of the program to attach, as `bpftool prog` shows it.
    pub fn tag(&self) -> Option<String> {
        let info = self.as_xdp().ok()?.info().ok()?;
        Some(format!("{:016x}", info.tag()))
    }
}

/// Lets go of the tables of flows with IPv6 addresses if they have another size and are empty. The
/// program of an earlier daemon keeps its own until it is replaced, a moment later; a flow that begins
/// in that moment begins again.
fn resize6(maps: &Path, flows6: u32) -> Result<(), LoadError> {
    let flows: Table<FlowKey<Ip6>, Flow<Picture, Ip6>> = Table::open(maps, map::FLOWS6)?;
    if flows.max() == 2 * flows6 {
        return Ok(());
    }
    let failed = |name| move |source| LoadError::Resize { name, source };
    if flows.is_empty().map_err(failed(map::FLOWS6))? {
        for name in [map::FLOWS6, map::MAPPINGS6, map::FRAGMENTS6] {
            fs::remove_file(maps.join(name)).map_err(failed(name))?;
        }
    }
    Ok(())
}

fn refused(name: &'static str) -> impl FnOnce(ProgramError) -> LoadError {
    move |source| LoadError::Program {
        name,
        advice: Advice::ask(),
        source: Box::new(source),
    }
}

fn xdp<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<&'a Xdp, LoadError> {
    ebpf.program(name)
        .ok_or(LoadError::Missing { name })?
        .try_into()
        .map_err(refused(name))
}

/// The stages of a gateway with these needs.
fn stages_for(needs: Needs) -> impl Iterator<Item = Stage> {
    let all = Stage::ALL.into_iter();
    all.filter(move |stage| stage.is_needed(needs))
}

/// The names of its programs, the first one first.
fn programs(needs: Needs) -> impl Iterator<Item = &'static str> {
    let stages = stages_for(needs).map(Stage::program);
    [ENTRY].into_iter().chain(stages)
}

/// Has the kernel verify these programs, all at once: that is most of the time that a start takes. Those
/// that it has taken already, before it refused another, are left alone.
fn load_programs(
    ebpf: &mut Ebpf,
    names: impl Iterator<Item = &'static str>,
) -> Result<(), LoadError> {
    let mut found: BTreeMap<_, _> = ebpf.programs_mut().collect();
    let mut programs = Vec::new();
    for name in names {
        let program = found.remove(name).ok_or(LoadError::Missing { name })?;
        let program: &mut Xdp = program.try_into().map_err(refused(name))?;
        if program.fd().is_err() {
            programs.push((name, program));
        }
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

/// What joins the programs.
fn stages(ebpf: &mut Ebpf) -> Result<ProgramArray<MapData>, LoadError> {
    const MISSING: LoadError = LoadError::Missing { name: map::STAGES };
    let map = ebpf.take_map(map::STAGES).ok_or(MISSING)?;
    ProgramArray::try_from(map).map_err(|source| LoadError::Stage {
        name: map::STAGES,
        source: Box::new(source),
    })
}

/// Puts stages behind the first program.
fn join(
    ebpf: &Ebpf,
    stages: &mut ProgramArray<MapData>,
    joined: impl Iterator<Item = Stage>,
) -> Result<(), LoadError> {
    for stage in joined {
        let name = stage.program();
        let fd = xdp(ebpf, name)?.fd().map_err(refused(name))?;
        let failed = |source| LoadError::Stage {
            name,
            source: Box::new(source),
        };
        stages.set(stage as u32, fd, 0).map_err(failed)?;
    }
    Ok(())
}

/// Pins what joins the programs by the first one's number; returns it, and the pin.
fn pin(
    state: &State,
    ebpf: &Ebpf,
    stages: ProgramArray<MapData>,
) -> Result<(ProgramArray<MapData>, PathBuf), LoadError> {
    let id = xdp(ebpf, ENTRY)?.info().map_err(refused(ENTRY))?.id();
    let path = state.stages().join(id.to_string());
    let failed = |source| LoadError::Pin {
        path: path.clone(),
        source,
    };
    stages
        .pin(&path)
        .map_err(|error: PinError| failed(error.into()))?;
    let pinned = MapData::from_pin(&path).map_err(|error| failed(error.into()))?;
    let pinned = Map::ProgramArray(pinned).try_into();
    let stages = pinned.map_err(|error: MapError| failed(error.into()))?;
    Ok((stages, path))
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
