//! Why a session ended, or did not begin.

use std::{fmt, io::ErrorKind};

use crate::message::notification::Notification;

/// Why a session ended, or did not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nobody took our call.
    CallFailed(ErrorKind),
    /// Nobody answered it.
    CallTimedOut,
    /// The TCP connection ended; with an error, or because the peer closed it.
    ConnectionLost(Option<ErrorKind>),
    /// The peer said so.
    Received(Notification),
    /// We said so, because of what came or did not come.
    Sent(Notification),
    /// BFD says that the way is gone.
    PathDown,
    /// The peer called anew while a session was established: it has restarted.
    PeerRestarted,
    /// The other one of two connections was kept.
    Collision,
    /// The peer called again before its first call came to anything.
    CalledAgain,
    /// The configuration is another.
    Configured,
    /// The configuration has it no longer.
    Deconfigured,
    /// An operator wanted it.
    Reset,
    /// The daemon ends for good.
    Stopped,
    /// The daemon comes back.
    Restarting,
}

impl Why {
    /// Whether what was announced is to be forgotten at once, also by who keeps it through a restart.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Deconfigured | Self::Stopped | Self::PathDown => true,
            Self::CallFailed(_)
            | Self::CallTimedOut
            | Self::ConnectionLost(_)
            | Self::Received(_)
            | Self::Sent(_)
            | Self::PeerRestarted
            | Self::Collision
            | Self::CalledAgain
            | Self::Configured
            | Self::Reset
            | Self::Restarting => false,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CallFailed(kind) => write!(f, "cannot connect: {kind}"),
            Self::CallTimedOut => f.write_str("cannot connect: nobody answers"),
            Self::ConnectionLost(None) => f.write_str("the peer closed the connection"),
            Self::ConnectionLost(Some(kind)) => write!(f, "the connection broke: {kind}"),
            Self::Received(notification) => write!(f, "the peer said {notification}"),
            Self::Sent(notification) => write!(f, "we said {notification}"),
            Self::PathDown => f.write_str("BFD says that the way is gone"),
            Self::PeerRestarted => f.write_str("the peer has restarted"),
            Self::Collision => f.write_str("the other one of two connections was kept"),
            Self::CalledAgain => f.write_str("the peer called again"),
            Self::Configured => f.write_str("the configuration is another"),
            Self::Deconfigured => f.write_str("the configuration has it no longer"),
            Self::Reset => f.write_str("an operator wanted it"),
            Self::Stopped => f.write_str("this gateway stops"),
            Self::Restarting => f.write_str("the daemon restarts"),
        }
    }
}
