//! A TCP server with one thread per connection, and a limit on those.

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::{Server, Stop, caller};
use crate::{Error, Host};

/// Connections one server handles at a time; more wait in the listen queue.
const CONNECTIONS_MAX: usize = 1024;

/// Stack of a connection's thread: it holds one buffer and little else.
const STACK_BYTES: usize = 256 * 1024;

/// What to do with a connection; it is closed when this returns.
type Handler = fn(TcpStream, SocketAddr);

/// Listens in a host and hands each connection to `handle`, until the server is dropped.
pub(crate) fn start(host: &Host, address: SocketAddr, handle: Handler) -> Result<Server, Error> {
    let failed = |source| host.socket_error("listen on", address, source);
    let listener = host.enter(|| TcpListener::bind(address))?.map_err(failed)?;
    // A client may give up between the poll and the accept, which must not block then.
    listener.set_nonblocking(true).map_err(failed)?;
    let stop = Stop::new().map_err(failed)?;
    let connections = Arc::new(Connections::default());

    let (requested, open) = (Arc::clone(&stop), Arc::clone(&connections));
    let thread = host.thread(move || accept(&listener, &requested, &open, handle))?;
    Ok(Server::new(stop, thread, move || connections.close()))
}

fn accept(listener: &TcpListener, stop: &Stop, connections: &Arc<Connections>, handle: Handler) {
    while stop.readable(listener) {
        connections.wait_for_room();
        let Ok((stream, peer)) = listener.accept() else {
            continue;
        };
        let Ok(open) = Open::new(connections, &stream) else {
            continue;
        };
        let serve = move || {
            handle(stream, caller(peer));
            drop(open);
        };
        // Without a thread the connection is dropped, so the client sees a reset.
        let _ = thread::Builder::new().stack_size(STACK_BYTES).spawn(serve);
    }
    connections.close();
    connections.wait_for_end();
}

/// The connections that are open, so that they can be ended from outside.
#[derive(Default)]
struct Connections {
    streams: Mutex<Streams>,
    ended: Condvar,
}

#[derive(Default)]
struct Streams {
    by_number: BTreeMap<u64, TcpStream>,
    next: u64,
}

impl Connections {
    fn wait_for_room(&self) {
        self.wait_while(|streams| streams.by_number.len() >= CONNECTIONS_MAX);
    }

    fn wait_for_end(&self) {
        self.wait_while(|streams| !streams.by_number.is_empty());
    }

    fn close(&self) {
        for stream in self.lock().by_number.values() {
            // One that the peer has reset is closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn wait_while(&self, condition: impl Fn(&Streams) -> bool) {
        let waited = self
            .ended
            .wait_while(self.lock(), |streams| condition(streams));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// The map is whole between any two statements, so a panic elsewhere cannot have spoilt it.
    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One entry among the open connections, gone when dropped.
struct Open {
    connections: Arc<Connections>,
    number: u64,
}

impl Open {
    fn new(connections: &Arc<Connections>, stream: &TcpStream) -> std::io::Result<Self> {
        stream.set_nonblocking(false)?;
        let stream = stream.try_clone()?;
        let mut streams = connections.lock();
        let number = streams.next;
        streams.next += 1;
        streams.by_number.insert(number, stream);
        Ok(Self {
            connections: Arc::clone(connections),
            number,
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.lock().by_number.remove(&self.number);
        self.connections.ended.notify_all();
    }
}
