//! Frames out of an interface of a host exactly as given, past the host's own stack.

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use crate::packet_socket::PacketSocket;
use crate::{Error, Host};

/// How long an interface may be full before it counts as stuck.
const FULL_MAX: Duration = Duration::from_secs(5);

/// An open way to send frames.
pub struct Injector {
    socket: PacketSocket,
    host: String,
    interface: String,
}

impl Injector {
    /// Opens an interface for sending.
    pub fn open(host: &Host, interface: &str) -> Result<Self, Error> {
        let socket = PacketSocket::sender(host, interface)?;
        Ok(Self {
            socket,
            host: host.name().to_owned(),
            interface: interface.to_owned(),
        })
    }

    /// Sends all of the frames, in order; waits while the interface is full.
    pub fn send(&self, frames: &[impl AsRef<[u8]>]) -> Result<(), Error> {
        let failed = |source| Error::Interface {
            attempt: "send frames",
            interface: self.interface.clone(),
            host: self.host.clone(),
            source,
        };
        let mut rest = frames;
        let mut full_since = None;
        while !rest.is_empty() {
            let sent = self.socket.send(rest).map_err(failed)?;
            if sent > 0 {
                full_since = None;
            } else if full_since.get_or_insert_with(Instant::now).elapsed() > FULL_MAX {
                return Err(failed(ErrorKind::TimedOut.into()));
            } else {
                // Whoever empties the interface needs the CPU.
                thread::yield_now();
            }
            rest = &rest[sent..];
        }
        Ok(())
    }
}
