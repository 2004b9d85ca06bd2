//! One network namespace: threads and programs are started in it, and only in it.
//!
//! Entering changes the network namespace of one thread and nothing else. In particular the mount
//! namespace stays shared, so a program started here sees the same bpffs as everybody; `ip netns
//! exec` would give it a private one, in which pins vanish with the program.

use std::fs::File;
use std::io;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, setns};

use crate::Error;

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";

/// A named network namespace that is open.
pub(crate) struct Namespace {
    name: String,
    handle: File,
    /// Taken only when the namespace is dropped.
    keeper: Option<(Sender<Order>, JoinHandle<()>)>,
}

/// A program to start, and where to say how that went.
type Order = (Command, Sender<io::Result<Child>>);

impl Namespace {
    /// Opens an existing namespace by name.
    pub(crate) fn open(name: &str) -> Result<Self, Error> {
        let path = Path::new(NAMES).join(name);
        let handle = File::open(&path).map_err(Error::file("open", path))?;
        let mut namespace = Self {
            name: name.to_owned(),
            handle,
            keeper: None,
        };
        let (orders, inbox) = channel();
        let keeper = namespace.thread(move || keep(&inbox))?;
        namespace.keeper = Some((orders, keeper));
        Ok(namespace)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Says whether a namespace of that name exists.
    pub(crate) fn exists(name: &str) -> bool {
        Path::new(NAMES).join(name).exists()
    }

    /// Runs `work` on a thread of its own inside the namespace and waits for it; a panic in it
    /// goes on in the caller.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        thread::scope(|scope| {
            let inside = move || setns(&self.handle, CloneFlags::CLONE_NEWNET).map(|()| work());
            let thread = thread::Builder::new()
                .name(self.name.clone())
                .spawn_scoped(scope, inside);
            let thread = thread.map_err(|source| self.no_thread(source))?;
            let result = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            result.map_err(|errno| self.not_entered(errno.into()))
        })
    }

    /// Starts `work` on a thread of its own inside the namespace.
    pub(crate) fn thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, Error> {
        let thread = thread::Builder::new().name(self.name.clone());
        // A new thread inherits the namespace of the thread that starts it.
        self.enter(move || thread.spawn(work))?
            .map_err(|source| self.no_thread(source))
    }

    /// Starts a program inside the namespace.
    ///
    /// It is the child of a thread that lives as long as this value, so a program that is to die
    /// with its parent thread dies no earlier than the namespace is given up.
    pub(crate) fn spawn(&self, command: Command) -> io::Result<Child> {
        let gone = || io::Error::other("the namespace's keeper thread is gone");
        let (orders, _) = self.keeper.as_ref().ok_or_else(gone)?;
        let (reply, outcome) = channel();
        orders.send((command, reply)).map_err(|_| gone())?;
        outcome.recv().map_err(|_| gone())?
    }

    fn no_thread(&self, source: io::Error) -> Error {
        Error::Thread {
            namespace: self.name.clone(),
            source,
        }
    }

    fn not_entered(&self, source: io::Error) -> Error {
        Error::Enter {
            namespace: self.name.clone(),
            source,
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Some((orders, keeper)) = self.keeper.take() {
            drop(orders);
            // A keeper that panicked has nothing left to wait for.
            let _ = keeper.join();
        }
    }
}

/// Starts programs until nobody can order any more. A forked child inherits the network namespace
/// of the thread that forks it, so nothing has to run between fork and exec to move it.
fn keep(inbox: &Receiver<Order>) {
    for (mut command, reply) in inbox {
        // Whoever ordered may have given up; the child then runs on, as it would have.
        let _ = reply.send(command.spawn());
    }
}
