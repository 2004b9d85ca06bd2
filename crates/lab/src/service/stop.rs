//! How a server's threads are told to end, and waited for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// A running server; ends when dropped.
pub(crate) struct Server {
    stop: Arc<Stop>,
    /// What else has to happen for the thread to end, such as closing connections.
    wake: Box<dyn Fn() + Send + Sync>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn new(
        stop: Arc<Stop>,
        thread: JoinHandle<()>,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self {
            stop,
            wake: Box::new(wake),
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.request();
        (self.wake)();
        if let Some(thread) = self.thread.take() {
            // A server that panicked has said so on stderr, and is over.
            let _ = thread.join();
        }
    }
}

/// A request to end, which can be waited for together with a socket.
pub(crate) struct Stop(EventFd);

impl Stop {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Arc::new(Self(EventFd::from_flags(flags)?)))
    }

    /// Waits until there is something to read: true; or until the end is requested: false.
    pub(crate) fn readable(&self, socket: &impl AsFd) -> bool {
        loop {
            let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut fds: [PollFd; 2] = [watch(self.fd()), watch(socket.as_fd())];
            // Only a signal can interrupt this, and then it is asked again.
            if poll(&mut fds, PollTimeout::NONE).is_ok() {
                return !fds[0].any().unwrap_or(true);
            }
        }
    }

    fn request(&self) {
        // The counter can only overflow after 2⁶⁴ requests.
        let _ = self.0.write(1);
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
