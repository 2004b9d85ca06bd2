//! Frames that arrive at an interface of a host, for tests to look at.
//!
//! With GRO on, as it is everywhere but on gateways, consecutive segments of one TCP stream may
//! arrive merged. Everything else is as it was on the wire.

use std::io;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::packet_socket::PacketSocket;
use crate::{Error, Host};

/// An open capture; holds what has arrived since it was opened.
pub struct Capture {
    socket: PacketSocket,
    host: String,
    interface: String,
    buffer: Vec<u8>,
}

impl Capture {
    /// Starts to capture what arrives at an interface.
    pub fn open(host: &Host, interface: &str) -> Result<Self, Error> {
        let socket = PacketSocket::receiver(host, interface)?;
        let (host, interface) = (host.name().to_owned(), interface.to_owned());
        Ok(Self {
            socket,
            host,
            interface,
            buffer: Vec::new(),
        })
    }

    /// Waits for the next frame for which `wanted` returns something, at most `limit`, and
    /// returns that; other frames are discarded.
    pub fn find<T>(
        &mut self,
        limit: Duration,
        mut wanted: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let deadline = Instant::now() + limit;
        loop {
            while let Some(frame) = self.receive()? {
                if let Some(found) = wanted(&frame) {
                    return Ok(Some(found));
                }
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(None);
            }
            self.wait(rest)?;
        }
    }

    /// Returns every frame that has arrived so far and was not returned or discarded yet.
    pub fn drain(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        let mut frames = Vec::new();
        while let Some(frame) = self.receive()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    fn receive(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let received = self.socket.receive(&mut self.buffer);
        received.map_err(|source| self.error(source))
    }

    fn wait(&self, limit: Duration) -> Result<(), Error> {
        // Rounded up, or the last millisecond would be spent asking again and again.
        let limit = limit + Duration::from_millis(1);
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(
            std::os::fd::AsFd::as_fd(&self.socket),
            PollFlags::POLLIN,
        )];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(self.error(errno.into())),
        }
    }

    fn error(&self, source: io::Error) -> Error {
        let (host, interface) = (self.host.clone(), self.interface.clone());
        Error::Interface {
            attempt: "receive frames",
            interface,
            host,
            source,
        }
    }
}
