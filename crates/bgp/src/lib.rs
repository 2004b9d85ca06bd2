//! The BGP-4 speaker as a machine: messages, sessions, what is announced (RFC 4271).
//!
//! Knows messages and time. Does not know sockets, BFD, or what a gateway does when a peer is lost.
//!
//! It announces a few prefixes to each peer. What peers announce is checked and counted, kept if that is
//! wanted, and never used. In the order of the modules:
//!
//! ```text
//! bytes ─► message: header, OPEN, UPDATE (attributes, prefixes), NOTIFICATION, ROUTE-REFRESH
//!             │
//!             ▼
//! connection: one TCP connection, from its OPEN on, and what both sides agreed on
//!             │
//!             ▼
//! peer: calls, is called, keeps one connection of two, says again, waits ─► outbound: what it is told
//!             │                                                        └─► inbound: what it says
//!             ▼
//! Speaker::handle(event, now) ─► Actions: Connect, Send, Close, Changed
//! ```
#![forbid(unsafe_code)]

pub mod attributes;
pub mod capability;
pub mod family;
pub mod message;

mod connection;
mod history;
mod inbound;
mod outbound;
mod peer;
mod random;
mod reader;
mod settings;
mod snapshot;
mod speaker;

pub use family::Family;
pub use message::notification::Notification;
pub use peer::Why;
pub use settings::{Config, Ends, PeerSettings, RemoteAs, Restart, Route, Table};
pub use snapshot::{Counted, FamilySnapshot, Kept, Moment, PeerSnapshot, State};
pub use speaker::{Action, ConnectionId, Event, Farewell, PeerId, Speaker};
