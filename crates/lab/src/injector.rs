//! Frames out of an interface of a host exactly as given, past the host's own stack.

use std::thread;

use crate::packet_socket::PacketSocket;
use crate::{Error, Host};

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

    /// Sends all of the frames, in order; waits for room while the interface is full.
    pub fn send(&self, frames: &[impl AsRef<[u8]>]) -> Result<(), Error> {
        let mut rest = frames;
        while !rest.is_empty() {
            let sent = self.socket.send(rest).map_err(|source| Error::Interface {
                attempt: "send frames",
                interface: self.interface.clone(),
                host: self.host.clone(),
                source,
            })?;
            if sent == 0 {
                // Whoever empties the interface needs the CPU.
                thread::yield_now();
            }
            rest = &rest[sent..];
        }
        Ok(())
    }
}
