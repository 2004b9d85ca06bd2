//! Counts what a [`Generator`](crate::Generator)'s datagrams became on their way: how many came,
//! which flows, and from which external address and port each.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBufForce;

use crate::service::{Server, Stop};
use crate::{Error, Host, wait};

/// Bytes the kernel may queue while the sink is busy counting.
const RECEIVE_QUEUE_BYTES: usize = 64 << 20;

/// Bytes of a datagram that are looked at and answered.
const DATAGRAM_MAX: usize = 2048;

/// Datagrams read before the sink looks again whether it shall stop: many, so that looking costs
/// nothing, and not all there are, or a flood would keep it forever.
const DATAGRAMS_PER_WAKE_MAX: usize = 1024;

/// Whether a sink answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    /// Nothing is sent back.
    None,
    /// Each datagram is sent back as it came.
    Echo,
}

/// A counting receiver; stops when dropped.
pub struct FlowSink {
    seen: Arc<Mutex<Seen>>,
    _server: Server,
}

#[derive(Default)]
struct Seen {
    packets: u64,
    flows: HashMap<u64, SocketAddrV4>,
    /// Flows that came from more than one external address or port.
    moved: BTreeSet<u64>,
}

impl FlowSink {
    /// Starts to receive on a port of a host.
    pub fn start(host: &Host, port: u16, replies: Replies) -> Result<Self, Error> {
        let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        let failed = |source| host.socket_error("listen on", address, source);
        let socket = host.enter(|| UdpSocket::bind(address))?.map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        setsockopt(&socket, RcvBufForce, &RECEIVE_QUEUE_BYTES)
            .map_err(|errno| failed(errno.into()))?;
        let stop = Stop::new().map_err(failed)?;
        let seen = Arc::new(Mutex::new(Seen::default()));

        let (requested, counting) = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = host.thread(move || receive(&socket, &requested, &counting, replies))?;
        Ok(Self {
            seen,
            _server: Server::new(stop, thread, || {}),
        })
    }

    /// Returns how many datagrams have arrived.
    pub fn packets(&self) -> u64 {
        self.lock().packets
    }

    /// Returns how many different flows have arrived.
    pub fn flows(&self) -> u64 {
        self.lock().flows.len() as u64
    }

    /// Returns the external address and port that a flow came from last.
    pub fn external_of(&self, number: u64) -> Option<SocketAddrV4> {
        self.lock().flows.get(&number).copied()
    }

    /// Returns how many different external addresses and ports flows came from.
    pub fn externals(&self) -> u64 {
        let seen = self.lock();
        seen.flows.values().collect::<HashSet<_>>().len() as u64
    }

    /// Returns the external addresses flows came from.
    pub fn addresses(&self) -> BTreeSet<Ipv4Addr> {
        self.lock()
            .flows
            .values()
            .map(|external| *external.ip())
            .collect()
    }

    /// Returns the flows that changed their external address or port under way.
    pub fn moved(&self) -> BTreeSet<u64> {
        self.lock().moved.clone()
    }

    /// Returns which flows of a range have not arrived.
    pub fn missing(&self, numbers: Range<u64>) -> Vec<u64> {
        let seen = self.lock();
        numbers
            .filter(|number| !seen.flows.contains_key(number))
            .collect()
    }

    /// Waits until that many different flows have arrived, at most `limit`; returns how many have.
    pub fn wait_for(&self, flows: u64, limit: Duration) -> u64 {
        wait::until(limit, || Some(self.flows()).filter(|found| *found >= flows))
            .unwrap_or_else(|| self.flows())
    }

    /// Forgets everything that has arrived.
    pub fn forget(&self) {
        *self.lock() = Seen::default();
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

fn receive(socket: &UdpSocket, stop: &Stop, seen: &Mutex<Seen>, replies: Replies) {
    let mut buffer = [0; DATAGRAM_MAX];
    while stop.readable(socket) {
        for _ in 0..DATAGRAMS_PER_WAKE_MAX {
            let Ok((length, SocketAddr::V4(peer))) = socket.recv_from(&mut buffer) else {
                break;
            };
            let datagram = &buffer[..length];
            lock(seen).count(datagram, peer);
            match replies {
                Replies::None => {}
                // What cannot be sent is lost, as datagrams are.
                Replies::Echo => drop(socket.send_to(datagram, peer)),
            }
        }
    }
}

impl Seen {
    fn count(&mut self, datagram: &[u8], peer: SocketAddrV4) {
        self.packets += 1;
        let Some(number) = datagram
            .first_chunk()
            .map(|bytes| u64::from_be_bytes(*bytes))
        else {
            return;
        };
        if self
            .flows
            .insert(number, peer)
            .is_some_and(|earlier| earlier != peer)
        {
            self.moved.insert(number);
        }
    }
}

/// The counts are whole between any two statements, so a panic elsewhere cannot have spoilt them.
fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
