//! A program running inside a host, which never outlives the lab.
//!
//! The one `unsafe` here runs two system calls between fork and exec.

#![expect(unsafe_code, reason = "Command::pre_exec is unsafe to call")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, getppid};

use crate::namespace::Namespace;
use crate::{Error, tool, wait};

/// A running program; killed when dropped, and by the kernel when the lab is killed.
#[derive(Debug)]
pub struct Process {
    command: String,
    child: Child,
}

impl Process {
    pub(crate) fn spawn(namespace: &Namespace, mut command: Command) -> Result<Self, Error> {
        let text = tool::describe(&command);
        let program = command.get_program().to_string_lossy().into_owned();
        tie_to_lab(&mut command);
        match namespace.spawn(command) {
            Ok(child) => Ok(Self {
                command: text,
                child,
            }),
            Err(source) => Err(tool::spawn_failure(&program, &text, source)),
        }
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the command as a person would type it.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        // Until it is waited for, an ended child keeps its id, so the signal cannot hit another.
        if self.ended()?.is_some() {
            return Ok(());
        }
        let id = i32::try_from(self.child.id()).map_err(io::Error::other);
        let sent = id.and_then(|id| kill(Pid::from_raw(id), signal).map_err(io::Error::from));
        sent.map_err(|source| self.error(source))
    }

    /// Returns how the program ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child.try_wait().map_err(|source| self.error(source))
    }

    /// Waits for the program's end, at most `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>, Error> {
        wait::until(limit, || self.ended().transpose()).transpose()
    }

    /// Kills the program at once and waits until it is gone.
    pub fn kill(&mut self) -> Result<ExitStatus, Error> {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        ended.map_err(|source| self.error(source))
    }

    /// Takes the writing end of the program's input, if the command asked for a pipe.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Takes the reading end of the program's output, if the command asked for a pipe.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Takes the reading end of the program's errors, if the command asked for a pipe.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    fn error(&self, source: io::Error) -> Error {
        Error::ToolSpawn {
            command: self.command.clone(),
            source,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is only waited for, which is all there is left to do.
        let _ = self.kill();
    }
}

/// Makes the kernel kill a program when the thread that started it ends, in whatever way.
pub(crate) fn tie_to_lab(command: &mut Command) {
    let lab = getpid();
    // SAFETY: the closure runs in the forked child of a threaded process, so it may only do what
    // is async-signal-safe: it makes two system calls and neither allocates nor locks.
    unsafe {
        command.pre_exec(move || {
            set_pdeathsig(Signal::SIGKILL)?;
            // If the lab died before the line above, its death will not be signalled again.
            if getppid() == lab {
                Ok(())
            } else {
                Err(Errno::ESRCH.into())
            }
        });
    }
}
