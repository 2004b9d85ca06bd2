//! The HTTP API and the metrics, on the unix socket and where else the configuration says.
//!
//! Who may open the unix socket may do everything; the address that metrics are served on serves
//! nothing else. HTTP/1.1 without TLS: the one is a file, and the other says nothing secret.
//!
//! - [`sockets`] binds, [`connections`] serves what comes, a bounded number at a time and none
//!   without end; [`patience`] is for those who do not read.
//! - [`routes`] says what stands where, and is the OpenAPI document. What is answered is in
//!   [`crate::answers`] and [`crate::metrics`]; a refusal is a [`failure`].
//! - [`listing`] streams the flow table, which may be larger than memory.

pub mod connections;
pub mod failure;
pub mod listing;
pub mod patience;
pub mod request;
pub mod routes;
pub mod sockets;

pub use connections::serve;
pub use routes::document;
pub use sockets::{ListenError, Listeners, listen, remove};
