//! Where the program is attached: one pinned link for each interface.
//!
//! A pinned link stays attached while no daemon runs, and another program takes its place between
//! two packets.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use crate::{state::State, sys};

const FLAGS_GENERIC: u32 = 1 << 1;
const FLAGS_NATIVE: u32 = 1 << 2;

/// Who runs the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The driver, before the kernel makes a buffer of its own.
    Native,
    /// The kernel, after that: several times slower.
    Generic,
}

impl Mode {
    /// The word in pins, logs and tables.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// An interface the program is attached to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attached {
    /// Its index.
    pub ifindex: u32,
    /// Who runs the program.
    pub mode: Mode,
}

/// Why the program could not be attached, detached or replaced.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The driver does not do XDP.
    #[error(
        "the driver of interface {ifindex} cannot run XDP programs; \
         `mode: native-or-generic` lets the kernel run it instead, several times slower"
    )]
    NoNative {
        /// Which interface.
        ifindex: u32,
    },
    /// Somebody else's program is there.
    #[error(
        "another XDP program is attached to interface {ifindex}; \
         `ip link show` names it, `ip link set dev … xdp off` removes it"
    )]
    Busy {
        /// Which interface.
        ifindex: u32,
    },
    /// The kernel refused.
    #[error("cannot attach to interface {ifindex} in {} mode", mode.label())]
    Attach {
        /// Which interface.
        ifindex: u32,
        /// How.
        mode: Mode,
        /// Why.
        source: io::Error,
    },
    /// A pin could not be made, read or removed.
    #[error("cannot use the pinned link {}", path.display())]
    Pin {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Puts `program` into every pinned link, each between two packets. Pins of interfaces that are gone
/// are removed. Returns what is attached now.
///
/// # Errors
///
/// The first link that cannot be updated; those before it run the new program, the others the old.
pub fn adopt(state: &State, program: BorrowedFd<'_>) -> Result<Vec<Attached>, AttachError> {
    let mut attached = Vec::new();
    let directory = state.links();
    let failed = |source| AttachError::Pin {
        path: directory.clone(),
        source,
    };
    for entry in fs::read_dir(&directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let failed = |source| AttachError::Pin {
            path: path.clone(),
            source,
        };
        let link = sys::open_pinned(&path).map_err(failed)?;
        let ifindex = sys::link_ifindex(link.as_fd()).map_err(failed)?;
        match (ifindex, parse(&path)) {
            (Some(ifindex), Some(found)) if found.ifindex == ifindex => {
                sys::link_update(link.as_fd(), program).map_err(failed)?;
                attached.push(found);
            }
            (Some(_) | None, _) => fs::remove_file(&path).map_err(failed)?,
        }
    }
    Ok(attached)
}

/// Attaches the program to an interface and pins the link.
///
/// # Errors
///
/// See [`AttachError`]; nothing stays attached.
pub fn attach(
    state: &State,
    program: BorrowedFd<'_>,
    ifindex: u32,
    mode: Mode,
) -> Result<Attached, AttachError> {
    let flags = match mode {
        Mode::Native => FLAGS_NATIVE,
        Mode::Generic => FLAGS_GENERIC,
    };
    let link = sys::link_xdp(program, ifindex, flags).map_err(|source| {
        match (source.raw_os_error(), mode) {
            (Some(libc::EOPNOTSUPP), Mode::Native) => AttachError::NoNative { ifindex },
            (Some(libc::EBUSY | libc::EEXIST), _) => AttachError::Busy { ifindex },
            (Some(_) | None, _) => AttachError::Attach {
                ifindex,
                mode,
                source,
            },
        }
    })?;
    let attached = Attached { ifindex, mode };
    let path = pin_path(state, attached);
    sys::pin(link.as_fd(), &path).map_err(|source| AttachError::Pin { path, source })?;
    Ok(attached)
}

/// Takes the program off an interface; it is off when this returns.
///
/// # Errors
///
/// If the pin cannot be opened or removed.
pub fn detach(state: &State, attached: Attached) -> Result<(), AttachError> {
    let path = pin_path(state, attached);
    unpin(&path).map_err(|source| AttachError::Pin { path, source })
}

/// Detaches a pinned link and removes its pin.
pub(crate) fn unpin(path: &Path) -> io::Result<()> {
    let link = sys::open_pinned(path)?;
    sys::link_detach(link.as_fd())?;
    fs::remove_file(path)
}

fn pin_path(state: &State, attached: Attached) -> PathBuf {
    state
        .links()
        .join(format!("{}-{}", attached.ifindex, attached.mode.label()))
}

fn parse(path: &Path) -> Option<Attached> {
    let (ifindex, mode) = path.file_name()?.to_str()?.split_once('-')?;
    let mode = [Mode::Native, Mode::Generic]
        .into_iter()
        .find(|known| known.label() == mode)?;
    Some(Attached {
        ifindex: ifindex.parse().ok()?,
        mode,
    })
}
