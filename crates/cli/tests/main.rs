//! The command as people run it: the built binary against a socket, files, pipes and a terminal.
//!
//! What stands behind the socket is a thin fake. It proves how the command speaks HTTP and ends;
//! that the real daemon's answers are understood is the business of `e2e`.

mod certificates;
mod check;
mod drain;
mod ends;
mod fake;
mod roll;
mod transport;
mod watch;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// The command, as it is built.
fn egret(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_egret"));
    command
        .args(arguments)
        .env_remove("EGRET_SOCKET")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null());
    command
}

/// What the command said, and how it ended.
#[derive(Debug)]
struct Said {
    stdout: String,
    stderr: String,
    exit: Option<i32>,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            exit: output.status.code(),
        }
    }
}

/// Runs the command to its end.
fn run(arguments: &[&str]) -> Said {
    egret(arguments).output().unwrap().into()
}

/// A directory that goes with its owner.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Not below `target`: the path of a unix socket has at most 107 bytes.
        let path = std::env::temp_dir().join(format!(
            "egret-cli-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file, and returns how a command line names it.
    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        word(&path).to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A directory that stays is a nuisance, a panic while another unwinds is worse.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn word(path: &Path) -> &str {
    path.to_str().unwrap()
}
