//! The replication of flows from one member to another, as two machines: a sender and a receiver.
//!
//! Knows buckets, keys, values, bytes and time. Does not know sockets, TLS, what a flow is, which member owns
//! a bucket, or what becomes of records when their sender dies.
//!
//! ```text
//!            Changed ─► queue, a change for each key ─┐
//! table ─►                                            ├─► batches ─► window ─► Send ─► Receiver ─► Put, Remove
//!            Need ─► Snapshot ─► Begin, Put, Complete ┘                ▲                  │       Begin, Complete
//!                                                                      └───── Ack ◄───────┘       Forget
//! ```
//!
//! There is one stream for each ordered pair of members, over a connection that may break at any byte. Every
//! change has a number. What was sent is kept until it is acknowledged, so a stream that breaks goes on where
//! it was; only if the receiver does not know this stream (one of the two began anew) is everything sent again.
//!
//! **A bucket is right in the end whatever happens between.** It comes whole by a snapshot: its records between
//! [`receiver::Action::Begin`] and [`receiver::Action::Complete`], after which whatever was not put since is
//! gone. Changes that come while its snapshot is read go behind it, because what was read may be older than
//! they are. So at its completion the receiver has a picture of some moment, and every change after that
//! moment follows. Changes wait in a queue that has one for each key, the latest, and is bounded. A bucket of
//! which it left out a change is complete at neither side until it got another snapshot, when there is room.
#![forbid(unsafe_code)]

mod buckets;
pub mod frame;
mod greeting;
mod limits;
mod queue;
mod reason;
pub mod receiver;
pub mod sender;
mod snapshots;
mod window;

pub use buckets::Buckets;
pub use greeting::{Name, NameError, Settings, VERSIONS, negotiate};
pub use limits::{FRAME_MAX, KEY_MAX, Limits, NAME_MAX, RECORD_MAX, VALUE_MAX};
pub use queue::{Change, Importance, Record, What};
pub use reason::Reason;
pub use receiver::Receiver;
pub use sender::Sender;
