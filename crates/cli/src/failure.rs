//! Why a command did not do what was asked, and the number it ends with.

use std::{io, path::PathBuf, process::ExitCode};

use api::Problems;
use thiserror::Error;

use crate::{
    commands::{CertificatesError, RollError},
    daemon::CallError,
    text::{excerpt, printable},
};

/// What a program that runs `egret` learns from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Fine = 0,
    /// The daemon said no, or a configuration has problems.
    Refused = 1,
    /// The command line, or a file that it names, cannot be used.
    Usage = 2,
    /// The daemon cannot be asked.
    Unreachable = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What went wrong.
#[derive(Debug, Error)]
pub enum Failure {
    /// The daemon could not be asked, or said no.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A configuration has problems, and they say everything.
    #[error("{0}")]
    Problems(Problems),
    /// Nobody has the name that the command line gives to a peer.
    #[error("there is no BGP peer `{peer}`")]
    NoPeer {
        /// The name.
        peer: String,
    },
    /// A file that the command line names cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Certificates cannot be made.
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    /// A roll cannot begin.
    #[error(transparent)]
    Roll(#[from] RollError),
    /// Man pages cannot be written.
    #[error("cannot write man pages to {}", directory.display())]
    Manual {
        /// Where they should be.
        directory: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The terminal cannot be made a screen.
    #[error("cannot take over the terminal")]
    Screen(#[source] io::Error),
    /// The process cannot wait for sockets, time or signals.
    #[error("cannot wait for {what}")]
    Wait {
        /// For what.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The answer cannot be printed.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

impl Failure {
    /// What the process ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Call(error) => error.exit(),
            Self::Problems(_) => Exit::Refused,
            Self::NoPeer { .. } => Exit::Refused,
            Self::Read { .. } => Exit::Usage,
            Self::Certificates(_) => Exit::Usage,
            Self::Roll(_) => Exit::Usage,
            Self::Manual { .. } => Exit::Usage,
            Self::Screen(_) => Exit::Usage,
            Self::Wait { .. } => Exit::Unreachable,
            // Whoever read the output has had enough, like `head`.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Fine,
            Self::Output(_) => Exit::Refused,
        }
    }

    /// What to print about it: nothing, if nothing went wrong.
    pub fn message(&self) -> String {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => String::new(),
            Self::Problems(problems) => format!("{problems}\n"),
            Self::Call(error) => format!("error: {}\nhelp: {}\n", chain(error), error.help()),
            Self::Certificates(error) => {
                format!(
                    "error: {}\nhelp: {}\n",
                    printable(&chain(error)),
                    error.help()
                )
            }
            Self::Roll(error) => {
                format!(
                    "error: {}\nhelp: {}\n",
                    excerpt(&chain(error)),
                    error.help()
                )
            }
            Self::NoPeer { .. } => {
                format!(
                    "error: {}\nhelp: `egret bgp` lists them\n",
                    excerpt(&chain(self))
                )
            }
            Self::Read { .. }
            | Self::Manual { .. }
            | Self::Screen(_)
            | Self::Wait { .. }
            | Self::Output(_) => format!("error: {}\n", chain(self)),
        }
    }
}

/// The error and everything that caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let because = error.to_string();
        // Some libraries repeat the cause in the error itself.
        if !text.ends_with(&because) {
            text = format!("{text}: {because}");
        }
        cause = error.source();
    }
    text
}
