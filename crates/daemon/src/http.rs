//! The HTTP API and the metrics, on the unix socket and where else the configuration says.

use std::io;

use gateway::intent::Intent;

use crate::view::Shared;

/// The sockets that are listened on.
pub struct Listeners;

/// Opens the sockets.
///
/// # Errors
///
/// If one cannot be bound.
pub fn listen(_intent: &Intent) -> io::Result<Listeners> {
    Ok(Listeners)
}

/// Serves them in the background.
pub fn serve(_listeners: Listeners, _shared: Shared) {}
