//! The session log: who had which external address and port, and when.
//!
//! A gateway that hides many clients behind one address must be able to say later which of them it
//! was (RFC 6888 §4). This crate knows what is said about a flow, how it is written down, and how
//! it is found again. It does no I/O: no files, no sockets, no clock; the daemon has those.
//!
//! The way of a record, in the order of the modules:
//!
//! ```text
//! packet path: opened ─┐
//! sweep: closed ───────┴─► Record ─► Queue ─┬─ json ─► rotation: segments ─► index ─┐
//!                                           ├─ syslog                               ▼
//!                                           └─ ipfix                 who: one answer from all
//! ```
#![forbid(unsafe_code)]

pub mod record;
pub mod time;

pub mod queue;

pub mod ipfix;
pub mod json;
pub mod syslog;

pub mod index;
pub mod rotation;
pub mod segment;
pub mod who;

pub mod blocks;

#[cfg(test)]
mod samples;

pub use blocks::{Assignment, Blocks, Sieve};
pub use queue::Queue;
pub use record::{Closed, Endpoint, Event, Flow, Kind, Protocol, Reason, Record, Traffic};
pub use time::Time;
