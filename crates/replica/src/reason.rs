//! Why a connection is closed, in words.

use std::{ops::RangeInclusive, time::Duration};

use crate::{frame::Malformed, greeting::Name};

/// Why a connection is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No version of the protocol is known to both.
    #[error("we speak versions {ours:?} of the protocol and the other side {theirs:?}")]
    Version {
        /// Ours.
        ours: RangeInclusive<u16>,
        /// The other side's.
        theirs: RangeInclusive<u16>,
    },
    /// The other side is of another cluster.
    #[error("we are of the cluster {ours} and the other side is of {theirs}")]
    Cluster {
        /// Ours.
        ours: Name,
        /// The other side's.
        theirs: Name,
    },
    /// The other side is another member.
    #[error("the other side should be {expected} and says that it is {theirs}")]
    Member {
        /// Who it should be.
        expected: Name,
        /// Who it says that it is.
        theirs: Name,
    },
    /// Keys and values are of another format.
    #[error("our records are of format {ours} and those of the other side of {theirs}")]
    Format {
        /// Ours.
        ours: u32,
        /// The other side's.
        theirs: u32,
    },
    /// Both send, or both receive.
    #[error("both sides are {0}")]
    Role(&'static str),
    /// Nothing came for too long.
    #[error("nothing came for {0:?}")]
    Silence(Duration),
    /// It did not say who it is in time.
    #[error("no hello came within {0:?}")]
    NoHello(Duration),
    /// Bytes that are no frame.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// A frame that this side is never sent, or not at this time.
    #[error("a frame came that may not come here: {0}")]
    Unexpected(&'static str),
    /// It was acknowledged what was not sent.
    #[error("change {acknowledged} was acknowledged, and {sent} is the last that was sent")]
    Acknowledged {
        /// Which was acknowledged.
        acknowledged: u64,
        /// Which was sent last on this connection.
        sent: u64,
    },
    /// A change does not follow on the one before.
    #[error("change {came} came where {awaited} is the next")]
    Gap {
        /// The number that should have come.
        awaited: u64,
        /// The number that came.
        came: u64,
    },
    /// The other side began anew and goes on where nothing was.
    #[error("changes of another start of the sender came without a beginning")]
    NoBeginning,
    /// Something of a bucket that was not begun.
    #[error("{what} of bucket {bucket} came, which was not begun")]
    NotBegun {
        /// Which bucket.
        bucket: u8,
        /// What came.
        what: &'static str,
    },
}
