//! Opens the sockets.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use gateway::intent::Intent;
use tokio::net::{TcpListener, UnixListener};

/// Who may do everything: the daemon's user and group.
const SOCKET_MODE: u32 = 0o660;

/// The sockets that are listened on.
#[derive(Debug)]
pub struct Listeners {
    /// The API, and everything else.
    pub api: UnixListener,
    /// The metrics alone, if the configuration says where.
    pub metrics: Option<TcpListener>,
}

/// Why a socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The socket's directory.
    #[error("cannot make the directory {} for the API's socket (`api.socket`)", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is in the socket's place, and it is not for us to remove.
    #[error(
        "cannot listen on {}: there is a file of another kind; \
         move it away, or name another place in `api.socket`",
        path.display()
    )]
    InTheWay {
        /// Which.
        path: PathBuf,
    },
    /// A socket that a process before this one left.
    #[error("cannot remove the old socket {}", path.display())]
    Stale {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The API's socket.
    #[error(
        "cannot listen on {}; make its directory writable, or name another place in `api.socket`",
        path.display()
    )]
    Api {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The metrics' address.
    #[error(
        "cannot listen on {address}; {}, or change `metrics.listen`",
        remedy(source)
    )]
    Metrics {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Opens the sockets that a configuration asks for. A socket that a process before this one left
/// is replaced: whoever calls makes sure that there is no other daemon.
///
/// # Errors
///
/// See [`ListenError`].
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn listen(intent: &Intent) -> Result<Listeners, ListenError> {
    Ok(Listeners {
        api: api(&intent.api_socket)?,
        metrics: intent.metrics.map(metrics).transpose()?,
    })
}

/// Removes a socket that nobody listens on any more, so that who asks hears that there is no daemon.
///
/// # Errors
///
/// If it is there and cannot be removed. A file of another kind is left alone.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn api(path: &Path) -> Result<UnixListener, ListenError> {
    let named = || path.to_owned();
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(|source| ListenError::Directory {
            path: directory.to_owned(),
            source,
        })?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path).map_err(|source| {
            let path = named();
            ListenError::Stale { path, source }
        })?,
        Ok(_) => return Err(ListenError::InTheWay { path: named() }),
        // Binding says what is wrong, if anything but its absence is.
        Err(_) => {}
    }
    let failed = |source| ListenError::Api {
        path: named(),
        source,
    };
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
    Ok(listener)
}

fn metrics(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let failed = |source| ListenError::Metrics { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    TcpListener::from_std(listener).map_err(failed)
}

fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        "stop the program that has it"
    } else if error.kind() == io::ErrorKind::AddrNotAvailable {
        "give this host the address"
    } else {
        "see that it is free and may be used"
    }
}

#[cfg(test)]
mod tests;
