//! What the daemon answers: the bodies of the API, read from the tables and the driver's picture.
//!
//! No HTTP here, and nothing is kept: every question is read anew. Reading blocks, for as long as
//! the kernel takes; whoever asks from the event loop asks on another thread. The metrics are read
//! here too, so that they and the API cannot disagree.
//!
//! - [`status`]: how the daemon is.
//! - [`flows`]: the flow table, through a [`selection`]; one flow by its [`tuple`].
//! - [`owner`]: which member of a cluster serves a flow.
//! - [`who`]: who had an external endpoint, from the session log and the flow table.
//! - [`pools`]: ports and traffic. [`exits`]: what became of every packet.
//! - [`mappings`]: external ports that somebody asked for.
//! - [`routing`]: what routers are told, and how it is with them.
//! - [`words`]: the API's words for what the tables hold.

pub mod cluster;
pub mod exits;
pub mod flows;
pub mod mappings;
pub mod owner;
pub mod pools;
pub mod routing;
pub mod selection;
pub mod status;
pub mod tuple;
pub mod who;
pub mod words;

use std::io;

/// A table that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the table {table}: {source}")]
pub struct ReadError {
    /// Which.
    pub table: &'static str,
    /// Why.
    pub source: io::Error,
}

/// Says of which table an error is.
pub fn of<T>(table: &'static str, result: io::Result<T>) -> Result<T, ReadError> {
    result.map_err(|source| ReadError { table, source })
}
