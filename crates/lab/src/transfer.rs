//! A long TCP transfer between a host and a stream service, running beside whatever a test does.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use crate::service::stream::{Direction, Received};

use crate::service::stream;
use crate::{Error, Host};

/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Bytes of a report; the real ones have about 150.
const REPORT_MAX: u64 = 4096;

/// A transfer under way. Dropping it without [`finish`](Self::finish) breaks it off.
pub struct Transfer {
    stream: TcpStream,
    local: SocketAddr,
    peer: SocketAddr,
    shared: Arc<Shared>,
    direction: Direction,
    /// Taken by whoever ends the transfer.
    worker: Option<JoinHandle<Result<Received, Error>>>,
}

#[derive(Default)]
struct Shared {
    progress: AtomicU64,
    enough: AtomicBool,
}

impl Transfer {
    /// Connects from a host to a stream service and starts the transfer, at `rate` bytes a second
    /// if given. On few cores give one: a transfer that takes all the CPU stalls by itself.
    pub fn start(
        host: &Host,
        target: impl Into<SocketAddr>,
        direction: Direction,
        rate: Option<u64>,
    ) -> Result<Self, Error> {
        let peer: SocketAddr = target.into();
        let failed = |source| host.socket_error("connect to", peer, source);
        let connect = || TcpStream::connect_timeout(&peer, CONNECT_LIMIT);
        let mut stream = host.enter(connect)?.map_err(failed)?;
        let local = stream.local_addr().map_err(failed)?;
        stream::request(&mut stream, direction, rate).map_err(failed)?;
        let shared = Arc::new(Shared::default());

        let (worker_stream, progress) = (stream.try_clone().map_err(failed)?, Arc::clone(&shared));
        let work = move || match direction {
            Direction::Download => download(worker_stream, peer, &progress),
            Direction::Upload => upload(worker_stream, peer, rate, &progress),
        };
        let worker = thread::Builder::new()
            .name("transfer".to_owned())
            .spawn(work);
        let worker = Some(worker.map_err(failed)?);
        Ok(Self {
            stream,
            local,
            peer,
            shared,
            direction,
            worker,
        })
    }

    /// Returns the client's own address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Returns the service's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Returns how many bytes this side has sent or received so far.
    pub fn bytes(&self) -> u64 {
        self.shared.progress.load(Ordering::Relaxed)
    }

    /// Says whether the transfer has ended by itself, which it only does when it failed.
    pub fn has_failed(&self) -> bool {
        self.worker.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends the transfer in order and returns what the receiving side saw, everything included
    /// that was under way.
    pub fn finish(mut self) -> Result<Received, Error> {
        match self.direction {
            // The service sees our half closed, sends no more and closes its own.
            Direction::Download => {
                // If the connection broke, the worker has the reason.
                let _ = self.stream.shutdown(Shutdown::Write);
            }
            // The worker closes our half after its last chunk.
            Direction::Upload => self.shared.enough.store(true, Ordering::Relaxed),
        }
        let worker = self
            .worker
            .take()
            .expect("invariant: only finish and drop take the worker");
        worker.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            // One that the peer has reset is closed already; the result is nobody's any more.
            let _ = self.stream.shutdown(Shutdown::Both);
            let _ = worker.join();
        }
    }
}

fn download(mut stream: TcpStream, peer: SocketAddr, shared: &Shared) -> Result<Received, Error> {
    let received = stream::receive(&mut stream, &shared.progress);
    received.map_err(|source| shared.failed(peer, source))
}

fn upload(
    mut stream: TcpStream,
    peer: SocketAddr,
    rate: Option<u64>,
    shared: &Shared,
) -> Result<Received, Error> {
    let failed = |source| shared.failed(peer, source);
    let enough = || shared.enough.load(Ordering::Relaxed);
    stream::send(&mut stream, rate, &shared.progress, enough).map_err(failed)?;
    stream.shutdown(Shutdown::Write).map_err(failed)?;
    let mut report = Vec::new();
    stream
        .take(REPORT_MAX)
        .read_to_end(&mut report)
        .map_err(failed)?;
    serde_json::from_slice(&report).map_err(|_| {
        let answer = String::from_utf8_lossy(&report).into_owned();
        Error::Report { peer, answer }
    })
}

impl Shared {
    fn failed(&self, peer: SocketAddr, source: io::Error) -> Error {
        Error::Transfer {
            peer,
            bytes: self.progress.load(Ordering::Relaxed),
            source,
        }
    }
}
