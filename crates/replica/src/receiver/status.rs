//! How a receiver stands, for its user.

use std::fmt;

use crate::buckets::Buckets;

/// How a receiver stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// There is a connection.
    pub is_connected: bool,
    /// The version of the protocol that was agreed on; none until then.
    pub version: Option<u16>,
    /// The sender's instance whose changes were applied; none until one was.
    pub instance: Option<u64>,
    /// The number of the last change that was applied; zero if none was.
    pub applied: u64,
    /// Changes that were applied, since the start.
    pub changes: u64,
    /// Bytes that came, since the start.
    pub bytes: u64,
    /// Buckets that began to come.
    pub begun: Buckets,
    /// Those that came whole, and of which nothing was left out since.
    pub complete: Buckets,
}

/// What is worth a line in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Both sides said who they are.
    Agreed {
        /// The version of the protocol.
        version: u16,
    },
    /// The stream begins: everything comes.
    Started {
        /// How many are assigned.
        buckets: u32,
    },
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agreed { version } => write!(f, "we speak version {version} of the protocol"),
            Self::Started { buckets } => {
                write!(f, "the stream begins; all of {buckets} buckets comes")
            }
        }
    }
}
