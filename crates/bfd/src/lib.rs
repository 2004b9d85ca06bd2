//! The BFD session as a machine (RFC 5880): packets, timers, states.
//!
//! Knows packets and time. Does not know sockets, BGP, or what a gateway does when a peer is lost.
//!
//! ```text
//! bytes ─► packet (and authentication) ─► Sessions: which one ─► Session: states, timers, polls
//!                                                                   └─► Actions: Send, Changed
//! ```
//!
//! **A machine that has too much to do must not say that a way is gone.** Detection goes by when the kernel
//! took a packet, and not by when somebody came to read it: whoever drives this reads every datagram that
//! waits before each [`Event::Tick`]. And a tick that comes so late that packets may wait which were not read
//! is answered by [one more look](sessions::LATE), before anything is declared down.
#![forbid(unsafe_code)]

mod authentication;
mod packet;
mod session;
pub mod sessions;

pub use authentication::{Authentication, Digest, Secret, SecretError};
pub use packet::{Diagnostic, Packet, PacketError, State};
pub use session::{Outgoing, Settings, Status};
pub use sessions::{Action, Datagram, Event, Hops, Key, Refused, Sessions};
