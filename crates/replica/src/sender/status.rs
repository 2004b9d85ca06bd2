//! How a sender stands, for its user.

use std::{fmt, time::Duration};

use crate::buckets::Buckets;

/// How a sender stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// There is a connection.
    pub is_connected: bool,
    /// The version of the protocol that was agreed on; none until then.
    pub version: Option<u16>,
    /// What the receiver does not have yet, as far as is known.
    pub lag: Lag,
    /// Changes that wait in the queue.
    pub queued: usize,
    /// Bytes that were sent, at least once, and are not acknowledged.
    pub window_bytes: usize,
    /// Records of snapshots that wait to be sent.
    pub snapshot_records: usize,
    /// Bytes that the transport was given and did not take.
    pub untaken_bytes: usize,
    /// The number of the last change that was sent.
    pub sent: u64,
    /// The number of the last change that was acknowledged.
    pub acknowledged: u64,
    /// Changes that the full queue left out, since the start.
    pub skipped: u64,
    /// Records that are too long to be sent, since the start; one counts each time that it comes.
    pub refused: u64,
    /// Snapshots of buckets that were sent, since the start.
    pub snapshots_done: u64,
    /// Snapshots of buckets that are to be sent.
    pub snapshots_to_do: u32,
    /// Buckets that the receiver is to hold.
    pub assigned: Buckets,
    /// Those that it holds as they were at its last acknowledgement, with nothing left out.
    pub complete: Buckets,
}

/// What the receiver does not have yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Changes that are not acknowledged, sent or not.
    pub changes: u64,
    /// Their bytes.
    pub bytes: usize,
    /// How long the oldest of them waits.
    pub age: Duration,
}

/// What is worth a line in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Both sides said who they are.
    Agreed {
        /// The version of the protocol.
        version: u16,
    },
    /// The receiver knows this stream: it goes on, and these are sent again.
    Resumed {
        /// Changes that it has not acknowledged.
        changes: u64,
    },
    /// The receiver does not know this stream: everything is sent.
    Started {
        /// How many are assigned.
        buckets: u32,
    },
    /// The queue is full, and changes are left out.
    Short,
    /// Half of the queue is free again.
    Relieved {
        /// Changes that were left out, since the start.
        skipped: u64,
    },
    /// A record is too long to be sent; the first one.
    Refused {
        /// Of which bucket.
        bucket: u8,
        /// Bytes of its key.
        key: usize,
        /// Bytes of its value.
        value: usize,
    },
    /// A snapshot came faster than it may and is asked for again.
    Overrun {
        /// Of which bucket.
        bucket: u8,
    },
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agreed { version } => write!(f, "we speak version {version} of the protocol"),
            Self::Resumed { changes } => {
                write!(f, "the stream goes on; {changes} changes are sent again")
            }
            Self::Started { buckets } => {
                write!(f, "the stream begins; all of {buckets} buckets is sent")
            }
            Self::Short => write!(f, "the queue is full, and changes are left out"),
            Self::Relieved { skipped } => {
                write!(
                    f,
                    "the queue has room again; {skipped} changes were left out since the start"
                )
            }
            Self::Refused { bucket, key, value } => write!(
                f,
                "a record of bucket {bucket} is too long to be sent: a key of {key} bytes and a value of {value}"
            ),
            Self::Overrun { bucket } => {
                write!(f, "the snapshot of bucket {bucket} came faster than it may")
            }
        }
    }
}
