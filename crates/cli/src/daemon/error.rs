//! Why a question has no answer, and what to do about it.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use api::{Problems, http::ApiError};
use hyper::StatusCode;
use thiserror::Error;

use crate::{
    failure::Exit,
    text::{excerpt, printable},
};

/// Why a question has no answer.
#[derive(Debug, Error)]
pub enum CallError {
    /// The question cannot be put into a request.
    #[error("cannot ask {request}")]
    Ask {
        /// The question.
        request: String,
        /// Why not.
        source: hyper::http::Error,
    },
    /// Nobody took the call.
    #[error("cannot reach egretd on {}: {found}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// What is there instead.
        found: Found,
        /// What the kernel says.
        source: io::Error,
    },
    /// The call broke off.
    #[error("egretd did not finish its answer to {request} on {}", socket.display())]
    Exchange {
        /// The question.
        request: String,
        /// The socket.
        socket: PathBuf,
        /// Whether the question asked for a change.
        changes: bool,
        /// What happened.
        source: hyper::Error,
    },
    /// Nothing was heard for too long.
    #[error(
        "egretd said nothing for {} seconds after {request} on {}",
        limit.as_secs(),
        socket.display()
    )]
    Silent {
        /// The question.
        request: String,
        /// The socket.
        socket: PathBuf,
        /// How long was waited.
        limit: Duration,
        /// Whether the question asked for a change.
        changes: bool,
    },
    /// The answer is not of the type that this version knows.
    #[error("cannot understand egretd's answer to {request}")]
    Understand {
        /// The question.
        request: String,
        /// What is not understood.
        source: serde_json::Error,
    },
    /// The answer is longer than what is held in memory.
    #[error("egretd's answer to {request} is longer than {limit} bytes")]
    TooLong {
        /// The question.
        request: String,
        /// The limit.
        limit: usize,
    },
    /// The daemon says no, and why.
    #[error("{}", printable(&.0.error))]
    Refused(ApiError),
    /// The daemon found problems in a configuration.
    #[error("{0}")]
    Problems(Problems),
    /// Something says no that does not speak like the daemon.
    #[error("{request} was answered with {status}: {}", excerpt(body))]
    Unexplained {
        /// The question.
        request: String,
        /// The status.
        status: StatusCode,
        /// What was said.
        body: String,
    },
}

impl CallError {
    /// Nobody took the call: looks what is there.
    pub fn connect(socket: &Path, source: io::Error) -> Self {
        Self::Connect {
            socket: socket.to_owned(),
            found: Found::at(socket, &source),
            source,
        }
    }

    /// What the process ends with.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Ask { .. } => Exit::Usage,
            Self::Connect { .. } => Exit::Unreachable,
            Self::Exchange { .. } => Exit::Unreachable,
            Self::Silent { .. } => Exit::Unreachable,
            Self::Understand { .. } => Exit::Unreachable,
            Self::TooLong { .. } => Exit::Refused,
            Self::Refused(_) => Exit::Refused,
            Self::Problems(_) => Exit::Refused,
            Self::Unexplained { .. } => Exit::Refused,
        }
    }

    /// Whether the daemon could not be asked, as opposed to saying no.
    pub fn is_unreachable(&self) -> bool {
        self.exit() == Exit::Unreachable
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Ask { .. } => "shorten the filters, or the tuple".to_owned(),
            Self::Connect { found, .. } => found.help(),
            Self::Exchange { changes, .. } | Self::Silent { changes, .. } => {
                let log = "`journalctl --unit egretd` shows what it was doing";
                if *changes {
                    format!("whether it took effect is not known: `egret status` tells; {log}")
                } else {
                    format!("ask again; {log}")
                }
            }
            Self::Understand { .. } => format!(
                "this egret is version {}: `egret status --json` shows the daemon's; use the same",
                env!("CARGO_PKG_VERSION")
            ),
            Self::TooLong { .. } => {
                "ask for less with filters or --limit; with --json there is no such limit"
                    .to_owned()
            }
            Self::Refused(error) => printable(&error.help),
            Self::Problems(_) => "correct the configuration".to_owned(),
            Self::Unexplained { .. } => {
                "is it egretd that listens there? `ss --listening --unix --processes` tells"
                    .to_owned()
            }
        }
    }
}

/// What is where the daemon's socket should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Found {
    /// Nothing.
    #[error("there is no such socket")]
    Nothing,
    /// A file of another kind.
    #[error("there is a file, but it is no socket")]
    Another,
    /// A socket that nobody listens on.
    #[error("the socket exists, but nobody listens on it")]
    Abandoned,
    /// A socket that this user may not use.
    #[error(
        "the socket exists, but this user may not use it (owner {user}, group {group}, mode {mode:04o})"
    )]
    Locked {
        /// Whose it is.
        user: u32,
        /// Whose it also is.
        group: u32,
        /// Who may use it.
        mode: u32,
    },
    /// A directory that this user may not look into.
    #[error("this user may not look whether the socket exists")]
    Hidden,
    /// A socket like it should be.
    #[error("the socket exists, but does not take the call")]
    Unwilling,
}

impl Found {
    fn at(socket: &Path, error: &io::Error) -> Self {
        let refused = error.kind() == io::ErrorKind::ConnectionRefused;
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        match fs::metadata(socket) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Self::Hidden,
            Err(_) => Self::Nothing,
            Ok(file) if !file.file_type().is_socket() => Self::Another,
            Ok(_) if refused => Self::Abandoned,
            Ok(file) if denied => Self::Locked {
                user: file.uid(),
                group: file.gid(),
                mode: file.mode() & 0o7777,
            },
            Ok(_) => Self::Unwilling,
        }
    }

    fn help(self) -> String {
        let help = match self {
            Self::Nothing => {
                "is egretd running? `systemctl status egretd` tells. If its configuration sets \
                 api.socket, name that with --socket or EGRET_SOCKET"
            }
            Self::Another => {
                "name the daemon's socket, api.socket in its configuration, with --socket or \
                 EGRET_SOCKET"
            }
            Self::Abandoned => {
                "egretd has ended: `systemctl start egretd` starts it, `journalctl --unit egretd` \
                 shows why it ended. Packets flow meanwhile"
            }
            Self::Locked { .. } | Self::Hidden => {
                "run this as root, or as a member of the socket's group"
            }
            Self::Unwilling => "ask again; `journalctl --unit egretd` shows what egretd is doing",
        };
        help.to_owned()
    }
}
