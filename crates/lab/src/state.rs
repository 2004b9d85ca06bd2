//! Which sites exist, who holds them and what they made, in one file each; so whatever a killed
//! builder left behind can be found and removed by whoever comes next.
//!
//! A file is written before anything it names is made, and removed after everything it names is
//! gone. Its holder keeps it locked: the kernel lets go of the lock when the holder dies in
//! whatever way, so no process id has to be trusted. A detached site is held by nobody and says
//! so in its file.
//!
//! Removal touches only what a file names, and only if the names are such as a lab gives.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::host::BPFFS;
use crate::namespace::Namespace;
use crate::plan::{Plan, Role};
use crate::tool::{self, Place};
use crate::{Error, plan, wait};

/// Where the state files and run directories of all sites are.
pub const ROOT: &str = "/run/egret-lab";

/// Everything a lab names in the system begins with this.
const PREFIX: &str = "egret-";

/// How long the lock of a dead builder may still be held: a child that it was about to start has
/// the lock until it notices.
const LAST_CHILD_LIMIT: Duration = Duration::from_secs(1);

/// One site's file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub site: String,
    pub holder: Holder,
    pub made: Made,
    /// Kept unparsed: removal must work on files of other versions, whose plans may differ.
    plan: serde_json::Value,
}

/// Who a site depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Holder {
    /// The process that built it. What counts is the lock; this says whose death to wait out.
    Builder { builder: ProcessId },
    /// Nobody: the site stays until it is taken down, along with the process that serves in it.
    Nobody { server: ProcessId },
}

/// A process, told apart from a later one of the same number by when it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub pid: u32,
    started_ticks: u64,
}

/// What there is of a site outside its namespaces, and the namespaces.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub namespaces: Vec<String>,
    mounts: Vec<PathBuf>,
    directory: PathBuf,
}

/// The right to a site's name, held while this lives.
#[derive(Debug)]
pub(crate) struct Claim {
    site: String,
    /// Locked; see the module's documentation.
    _lock: File,
}

/// The right to look at and change state files, held while this lives.
pub(crate) struct Registry {
    _lock: File,
}

impl Registry {
    /// Waits for its turn.
    pub(crate) fn open() -> Result<Self, Error> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::NotRoot);
        }
        fs::create_dir_all(ROOT).map_err(Error::file("create", ROOT))?;
        let path = Path::new(ROOT).join("lock");
        let lock = File::create(&path).map_err(Error::file("create", &path))?;
        lock.lock().map_err(Error::file("lock", path))?;
        Ok(Self { _lock: lock })
    }

    /// Takes a free name, after removing what dead builders left.
    pub(crate) fn claim(&self, plan: &Plan) -> Result<Claim, Error> {
        self.sweep()?;
        let site = plan.site.clone();
        if let Some(state) = self.find(&site)? {
            return Err(match state.holder {
                Holder::Builder { builder } => Error::Held {
                    site,
                    pid: builder.pid,
                },
                Holder::Nobody { .. } => Error::Up { site },
            });
        }
        let made = Made::of(plan);
        if let Some(namespace) = made.namespaces.iter().find(|name| Namespace::exists(name)) {
            return Err(Error::Occupied {
                namespace: namespace.clone(),
            });
        }
        let unwritable = |source| Error::State {
            path: path_of(&site),
            source,
        };
        let document = serde_json::to_value(plan).map_err(unwritable)?;
        let builder = ProcessId::this()?;
        let holder = Holder::Builder { builder };
        let lock = write(&State {
            site: site.clone(),
            holder,
            made,
            plan: document,
        })?;
        Ok(Claim { site, _lock: lock })
    }

    /// Gives up a claim but not the site, which from here on stays until it is taken down.
    pub(crate) fn detach(&self, claim: Claim, server: ProcessId) -> Result<(), Error> {
        let mut state = read(&path_of(&claim.site))?;
        state.holder = Holder::Nobody { server };
        write(&state).map(drop)
    }

    /// Returns a site's state, whether somebody holds it or not.
    pub(crate) fn find(&self, site: &str) -> Result<Option<State>, Error> {
        plan::check_site_name(site)?;
        let path = path_of(site);
        if path.exists() {
            read(&path).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Returns every site's state; files that cannot be understood are left alone and left out.
    pub(crate) fn all(&self) -> Result<Vec<State>, Error> {
        let mut states = Vec::new();
        for entry in fs::read_dir(ROOT).map_err(Error::file("list", ROOT))? {
            let path = entry.map_err(Error::file("list", ROOT))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                states.extend(
                    read(&path)
                        .ok()
                        .filter(|state| path_of(&state.site) == path),
                );
            }
        }
        states.sort_by(|one, other| one.site.cmp(&other.site));
        Ok(states)
    }

    /// Removes the sites whose builders are dead, and returns their names.
    pub(crate) fn sweep(&self) -> Result<Vec<String>, Error> {
        let mut swept = Vec::new();
        for state in self.all()? {
            if self.is_dead(&state)? {
                self.remove(&state)?;
                swept.push(state.site);
            }
        }
        Ok(swept)
    }

    fn is_dead(&self, state: &State) -> Result<bool, Error> {
        match state.holder {
            Holder::Builder { builder } => {
                let path = path_of(&state.site);
                let file = File::open(&path).map_err(Error::file("open", &path))?;
                let look = || match file.try_lock() {
                    Ok(()) => Some(Ok(true)),
                    Err(TryLockError::WouldBlock) if builder.is_running() => Some(Ok(false)),
                    Err(TryLockError::WouldBlock) => None,
                    Err(TryLockError::Error(source)) => Some(Err(source)),
                };
                let dead = wait::until(LAST_CHILD_LIMIT, look).unwrap_or(Ok(false));
                dead.map_err(Error::file("lock", &path))
            }
            // A machine that was restarted kept the file, perhaps, but no namespace.
            Holder::Nobody { .. } => Ok(!state
                .made
                .namespaces
                .iter()
                .any(|name| Namespace::exists(name))),
        }
    }

    /// Removes everything the file names, then the file. What fails is reported, and the file
    /// stays, so that it can be tried again.
    pub(crate) fn remove(&self, state: &State) -> Result<(), Error> {
        state.made.check(&state.site)?;
        if let Holder::Nobody { server } = state.holder {
            server.kill();
        }
        let failures = state.made.remove();
        if !failures.is_empty() {
            let failures = failures.join("; ");
            return Err(Error::Removal {
                site: state.site.clone(),
                failures,
            });
        }
        let path = path_of(&state.site);
        fs::remove_file(&path).map_err(Error::file("remove", path))
    }
}

impl State {
    pub(crate) fn plan(&self) -> Result<Plan, Error> {
        let unreadable = |source| Error::State {
            path: path_of(&self.site),
            source,
        };
        serde_json::from_value(self.plan.clone()).map_err(unreadable)
    }
}

impl Made {
    fn of(plan: &Plan) -> Self {
        let directory = directory_of(&plan.site);
        let gateways = plan.hosts.iter().filter(|host| host.role == Role::Gateway);
        let mounts = gateways
            .map(|host| directory.join(&host.name).join(BPFFS))
            .collect();
        let namespaces = plan
            .hosts
            .iter()
            .map(|host| namespace_of(&plan.site, &host.name));
        Self {
            namespaces: namespaces.collect(),
            mounts,
            directory,
        }
    }

    /// Makes sure that a damaged or doctored file cannot make us remove something else.
    fn check(&self, site: &str) -> Result<(), Error> {
        plan::check_site_name(site)?;
        let prefix = namespace_of(site, "");
        let foreign = |thing: String| Error::Foreign {
            site: site.to_owned(),
            thing,
        };
        for name in &self.namespaces {
            if !name.starts_with(&prefix) || name.contains('/') {
                return Err(foreign(format!("the network namespace {name}")));
            }
        }
        if self.directory != directory_of(site) {
            return Err(foreign(format!(
                "the directory {}",
                self.directory.display()
            )));
        }
        for mount in &self.mounts {
            let climbs = mount.components().any(|part| part.as_os_str() == "..");
            if climbs || !mount.starts_with(&self.directory) {
                return Err(foreign(format!("the mount {}", mount.display())));
            }
        }
        Ok(())
    }

    fn remove(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for mount in self.mounts.iter().filter(|mount| is_mounted(mount)) {
            // Detached, so that a program that still looks at its pins does not keep it busy.
            if let Err(errno) = umount2(mount.as_path(), MntFlags::MNT_DETACH) {
                failures.push(format!("cannot unmount {}: {errno}", mount.display()));
            }
        }
        if failures.is_empty()
            && self.directory.exists()
            && let Err(error) = fs::remove_dir_all(&self.directory)
        {
            failures.push(format!(
                "cannot remove {}: {error}",
                self.directory.display()
            ));
        }
        let namespaces = self
            .namespaces
            .iter()
            .filter(|name| Namespace::exists(name));
        let lines: Vec<String> = namespaces.map(|name| format!("netns del {name}")).collect();
        // Forced: one that would not go must not keep the others.
        let removed = tool::run(
            Place::Here,
            "ip",
            &["-force", "-batch", "-"],
            &lines.join("\n"),
        );
        failures.extend(removed.err().map(|error| error.to_string()));
        failures
    }
}

impl ProcessId {
    /// Returns the id of a process that runs.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses and may contain anything.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        // One that has ended may stay listed until its parent asks.
        fields.next().filter(|state| !matches!(*state, "Z" | "X"))?;
        let started_ticks = fields.nth(18)?.parse().ok()?;
        Some(Self { pid, started_ticks })
    }

    /// Returns the id of this process.
    pub(crate) fn this() -> Result<Self, Error> {
        let unreadable = || Error::file("read", "/proc/self/stat")(ErrorKind::InvalidData.into());
        Self::of(std::process::id()).ok_or_else(unreadable)
    }

    /// Says whether that very process still runs.
    pub(crate) fn is_running(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    fn kill(self) {
        let Ok(pid) = i32::try_from(self.pid) else {
            return;
        };
        if self.is_running() {
            // The only way to fail is that it ended in between.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Returns the name of a host's network namespace.
pub(crate) fn namespace_of(site: &str, host: &str) -> String {
    format!("{PREFIX}{site}-{host}")
}

/// Returns the run directory of a site.
pub(crate) fn directory_of(site: &str) -> PathBuf {
    Path::new(ROOT).join(site)
}

fn path_of(site: &str) -> PathBuf {
    Path::new(ROOT).join(format!("{site}.json"))
}

fn read(path: &Path) -> Result<State, Error> {
    let text = fs::read(path).map_err(Error::file("read", path))?;
    serde_json::from_slice(&text).map_err(|source| Error::State {
        path: path.to_owned(),
        source,
    })
}

/// Puts a state file in place whole, and returns it locked: nobody ever sees half of one, nor one
/// that is not held yet.
fn write(state: &State) -> Result<File, Error> {
    let path = path_of(&state.site);
    let draft = path.with_extension("draft");
    let text = serde_json::to_vec_pretty(state).map_err(|source| Error::State {
        path: path.clone(),
        source,
    })?;
    let put = || -> io::Result<File> {
        let mut file = File::create(&draft)?;
        file.lock()?;
        file.write_all(&text)?;
        fs::rename(&draft, &path)?;
        Ok(file)
    };
    put().map_err(Error::file("write", path.clone()))
}

fn is_mounted(path: &Path) -> bool {
    // Without the list, trying to unmount is how to find out.
    let Ok(mounts) = fs::read_to_string("/proc/self/mounts") else {
        return true;
    };
    mounts.lines().any(|line| {
        line.split(' ')
            .nth(1)
            .is_some_and(|point| Path::new(point) == path)
    })
}

#[cfg(test)]
mod tests;
