//! The state directory: where maps and links are pinned, and whether what is there is ours to use.

use std::{
    ffi::CString,
    fs::{self, File, TryLockError},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use abi::LAYOUT;

use crate::links;

/// `BPF_FS_MAGIC` of `statfs(2)`.
const BPF_FS: i64 = 0xcafe_4a11;
/// Where distributions mount the BPF file system.
const USUAL_MOUNT: &str = "/sys/fs/bpf";

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A directory could not be made or read.
    #[error("cannot use the state directory {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The BPF file system could not be mounted.
    #[error("cannot mount a BPF file system at {}", path.display())]
    Mount {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process uses it.
    #[error(
        "another egretd uses {}; stop it first, or give each daemon a `state` of its own",
        path.display()
    )]
    InUse {
        /// The state directory.
        path: PathBuf,
    },
    /// Another version left tables that this one cannot read.
    #[error(
        "{} holds the tables of layout {found}, and this version uses layout {LAYOUT}. \
         They are left as they are, and packets go on as that version translated them. \
         Run the version that made them, or drop its flows with `egretd --uninstall` of either version",
        path.display()
    )]
    OtherLayout {
        /// The state directory.
        path: PathBuf,
        /// The other layout's name.
        found: String,
    },
}

/// A state directory that exists, is of our layout, and is nobody else's as long as this lives.
#[derive(Clone, Debug)]
pub struct State {
    root: PathBuf,
    _lock: Arc<File>,
}

impl State {
    /// Makes the directory if it is missing, on a BPF file system that is mounted if it is missing.
    ///
    /// # Errors
    ///
    /// See [`StateError`]; nothing is changed when another layout is found.
    pub fn open(root: &Path) -> Result<Self, StateError> {
        mount_if_missing(root)?;
        make(root)?;
        let state = Self {
            root: root.to_owned(),
            _lock: Arc::new(lock(root)?),
        };
        if let Some(found) = state.other_layout()? {
            return Err(StateError::OtherLayout {
                path: root.to_owned(),
                found,
            });
        }
        make(&state.layout())?;
        make(&state.maps())?;
        make(&state.links())?;
        make(&state.stages())?;
        Ok(state)
    }

    /// Where maps are pinned.
    pub fn maps(&self) -> PathBuf {
        self.layout().join("maps")
    }

    /// Where links are pinned.
    pub fn links(&self) -> PathBuf {
        self.layout().join("links")
    }

    /// Where the stages of programs are pinned, one map for each load.
    pub fn stages(&self) -> PathBuf {
        self.layout().join("stages")
    }

    fn layout(&self) -> PathBuf {
        self.root.join(format!("layout-{LAYOUT}"))
    }

    fn other_layout(&self) -> Result<Option<String>, StateError> {
        let ours = format!("layout-{LAYOUT}");
        for entry in entries(&self.root)? {
            let name = entry
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            match name {
                Some(name) if name.starts_with("layout-") && name != ours => {
                    return Ok(Some(name.trim_start_matches("layout-").to_owned()));
                }
                Some(_) | None => {}
            }
        }
        Ok(None)
    }

    /// Removes everything that any version pinned under `root`: first the links, so that the program
    /// is detached before its tables go. Returns what was removed, for people.
    ///
    /// # Errors
    ///
    /// The first file that cannot be removed.
    pub fn remove(root: &Path) -> Result<Vec<PathBuf>, StateError> {
        let mut removed = Vec::new();
        if !root.exists() {
            return Ok(removed);
        }
        let lock = lock(root)?;
        let layouts: Vec<_> = entries(root)?
            .into_iter()
            .filter(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("layout-"))
            })
            .collect();
        for folder in ["links", "stages", "maps"] {
            for directory in layouts.iter().map(|layout| layout.join(folder)) {
                if directory.exists() {
                    for pin in entries(&directory)? {
                        removed_or(&pin, unpin(folder, &pin))?;
                        removed.push(pin);
                    }
                    removed_or(&directory, fs::remove_dir(&directory))?;
                }
            }
        }
        for layout in layouts {
            removed_or(&layout, fs::remove_dir(&layout))?;
        }
        // An open directory keeps its file system busy.
        drop(lock);
        if is_mount_point(root) && root != Path::new(USUAL_MOUNT) {
            // We mounted it here ourselves, because nothing above it was a BPF file system.
            unmount(root)?;
        }
        if entries(root)?.is_empty() && root != Path::new(USUAL_MOUNT) {
            removed_or(root, fs::remove_dir(root))?;
        }
        Ok(removed)
    }
}

/// Holds the directory against other processes, until the file is closed, in whatever way.
fn lock(root: &Path) -> Result<File, StateError> {
    let failed = |source| StateError::Directory {
        path: root.to_owned(),
        source,
    };
    let file = File::open(root).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StateError::InUse {
            path: root.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Removes a pin. A program is taken off its interface before that, and not some time later.
fn unpin(folder: &str, pin: &Path) -> io::Result<()> {
    match folder {
        "links" => links::unpin(pin),
        _ => fs::remove_file(pin),
    }
}

fn make(path: &Path) -> Result<(), StateError> {
    fs::create_dir_all(path).map_err(|source| StateError::Directory {
        path: path.to_owned(),
        source,
    })
}

fn entries(path: &Path) -> Result<Vec<PathBuf>, StateError> {
    let failed = |source| StateError::Directory {
        path: path.to_owned(),
        source,
    };
    fs::read_dir(path)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()).map_err(failed))
        .collect()
}

fn removed_or(path: &Path, result: io::Result<()>) -> Result<(), StateError> {
    result.map_err(|source| StateError::Directory {
        path: path.to_owned(),
        source,
    })
}

fn mount_if_missing(root: &Path) -> Result<(), StateError> {
    let nearest = root
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    if is_bpf_fs(nearest) {
        return Ok(());
    }
    let place = if root.starts_with(USUAL_MOUNT) {
        Path::new(USUAL_MOUNT)
    } else {
        root
    };
    make(place)?;
    let failed = |source| StateError::Mount {
        path: place.to_owned(),
        source,
    };
    let target = c_string(place).map_err(failed)?;
    // SAFETY: all strings are NUL-terminated and live for the call.
    let result = unsafe {
        libc::mount(
            c"bpf".as_ptr(),
            target.as_ptr(),
            c"bpf".as_ptr(),
            0,
            c"mode=0700".as_ptr().cast(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(failed(io::Error::last_os_error()))
    }
}

fn unmount(path: &Path) -> Result<(), StateError> {
    let failed = |source| StateError::Mount {
        path: path.to_owned(),
        source,
    };
    let target = c_string(path).map_err(failed)?;
    // SAFETY: the string is NUL-terminated and lives for the call.
    let result = unsafe { libc::umount2(target.as_ptr(), 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(failed(io::Error::last_os_error()))
    }
}

fn is_bpf_fs(path: &Path) -> bool {
    let Ok(path) = c_string(path) else {
        return false;
    };
    // SAFETY: integers and arrays of them; all zero is a valid value.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the string is NUL-terminated; `stat` is writable.
    let result = unsafe { libc::statfs(path.as_ptr(), &raw mut stat) };
    result == 0 && stat.f_type == BPF_FS
}

fn is_mount_point(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Some(parent), Ok(here)) = (path.parent(), fs::metadata(path)) else {
        return false;
    };
    fs::metadata(parent).is_ok_and(|above| above.dev() != here.dev())
}

fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}
