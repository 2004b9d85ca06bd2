//! What the daemon tells its service manager (`sd_notify(3)`): the condition to wait for when it
//! starts or reloads.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Bytes of one message; the daemon's have about fifty.
const MESSAGE_MAX: usize = 4096;

/// The socket that `NOTIFY_SOCKET` names. A socket with a path is reachable from every network
/// namespace.
#[derive(Debug)]
pub(super) struct NotifySocket {
    path: PathBuf,
    socket: UnixDatagram,
}

impl NotifySocket {
    /// Listens at a path; an earlier socket there is replaced, and its messages with it.
    pub(super) fn listen(path: PathBuf) -> Result<Self> {
        let bind = || -> io::Result<UnixDatagram> {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let socket = UnixDatagram::bind(&path)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = bind().with_context(|| format!("cannot listen on {}", path.display()))?;
        Ok(Self { path, socket })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Forgets what has been said and not been heard.
    pub(super) fn drain(&self) -> Result<()> {
        while self.message()?.is_some() {}
        Ok(())
    }

    /// Says whether `state`, such as `READY=1`, is among the messages that wait; reads no further
    /// than that.
    pub(super) fn heard(&self, state: &str) -> Result<bool> {
        while let Some(message) = self.message()? {
            if message.lines().any(|line| line == state) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn message(&self) -> Result<Option<String>> {
        let mut buffer = [0; MESSAGE_MAX];
        match self.socket.recv(&mut buffer) {
            Ok(length) => Ok(Some(
                String::from_utf8_lossy(&buffer[..length]).into_owned(),
            )),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => {
                Err(error).with_context(|| format!("cannot read from {}", self.path.display()))
            }
        }
    }
}
