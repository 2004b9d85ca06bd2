//! Why a command did not do what was asked, and the number it ends with.

use std::{io, path::PathBuf, process::ExitCode};

use api::Problems;
use thiserror::Error;

use crate::daemon::CallError;

/// What a program that runs `egret` learns from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Fine = 0,
    /// The daemon said no, or there are problems in a configuration.
    Refused = 1,
    /// The command line, or a file that it names, cannot be used.
    Usage = 2,
    /// The daemon cannot be asked.
    Unreachable = 3,
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        exit as Self
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(u8::from(exit))
    }
}

/// What went wrong.
#[derive(Debug, Error)]
pub enum Failure {
    /// The daemon could not be asked, or refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A configuration has problems. They are shown by then: under `--json` as the answer itself.
    #[error("{}", summary(*.files))]
    Invalid {
        /// How many files have them.
        files: usize,
    },
    /// A configuration has problems that are still to be shown.
    #[error("{0}")]
    Problems(Problems),
    /// A file on the command line cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Man pages cannot be written.
    #[error("cannot write man pages to {}", directory.display())]
    Manual {
        /// Where to.
        directory: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The terminal cannot be made a screen.
    #[error("cannot take over the terminal")]
    Terminal(#[source] io::Error),
    /// The process cannot wait for sockets or signals.
    #[error("cannot set up waiting for {what}")]
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
